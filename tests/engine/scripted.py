"""An engine whose wishes are written down by the bar, and the venue's words about its orders."""

from collections.abc import Sequence
from decimal import Decimal

from bot.domain.account import AccountSnapshot, Holding, OpenOrder
from bot.domain.ledger import Fill
from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Effect,
    Event,
    Filled,
    OrderAccepted,
    PlaceOrder,
    RiskChanged,
    SetStops,
    Synced,
)
from bot.engine.core import Assignment, Engine
from bot.risk.limits import Limits
from bot.strategy.signal import Target, View
from tests.helpers import T0, bar, closed, instrument


class Script:
    """Wishes by the bar's number; None where it says nothing."""

    def __init__(self, wishes: dict[int, Target]) -> None:
        self.wishes = wishes
        self.seen = 0

    def on_bar(self, view: View) -> Target | None:
        self.seen += 1
        return self.wishes.get(self.seen - 1)


def engine(wishes: dict[int, Target], limits: Limits | None = None, **changes: object) -> Engine:
    assignment = Assignment(instrument(**changes), 300_000, Script(wishes), round_trip_bps=12.0)
    return Engine([assignment], Decimal(10_000), limits or Limits(), name="t")


def orders(effects: Sequence[Effect]) -> list[PlaceOrder]:
    return [effect for effect in effects if isinstance(effect, PlaceOrder)]


def fill_of(
    order: PlaceOrder, price: str = "100", qty: str | None = None, exec_id: str | None = None
) -> Filled:
    intent = order.intent
    made = Fill(
        ts_ms=intent.decided_ms,
        symbol=intent.symbol,
        side=intent.side,
        qty=Decimal(qty) if qty else intent.qty,
        price=Decimal(price),
        fee_quote=Decimal("0.01"),
        order_id=order.order_id,
        exec_id=exec_id or f"x-{order.order_id}",
    )
    return Filled(made)


def long_at(one: Engine, price: str = "100") -> PlaceOrder:
    """Handle bar 0, whose wish is an entry, and fill it."""
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(T0, order.order_id))
    one.handle(fill_of(order, price))
    return order


def limit_engine(wishes: dict[int, Target]) -> tuple[Engine, PlaceOrder]:
    """An engine whose wish at bar 0 was a limit order, which rests."""
    one = engine(wishes)
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(T0, order.order_id))
    return one, order


def remote(wishes: dict[int, Target], **changes: object) -> Engine:
    """An engine whose account is a remote venue's, not read yet."""
    assignment = Assignment(instrument(), 300_000, Script(wishes), round_trip_bps=12.0)
    values: dict[str, object] = {"name": "t", "awaits_account": True, "limits": Limits()} | changes
    limits = values.pop("limits")
    return Engine([assignment], Decimal(10_000), limits, **values)  # type: ignore[arg-type]


def reading(
    wallet: str = "10000",
    *held: Holding,
    orders: tuple[OpenOrder, ...] = (),
    ts_ms: int = T0,
    first: bool = False,
) -> Synced:
    return Synced(ts_ms, AccountSnapshot(Decimal(wallet), held, orders), first)


def holding(
    qty: str = "2",
    entry: str = "100",
    stop: str | None = None,
    symbol: str = "BTCUSDT",
    own: str | None = None,
) -> Holding:
    """A position at the venue; by default orders of ours opened all of it."""
    stop_loss = Decimal(stop) if stop else None
    return Holding(symbol, Decimal(qty), Decimal(entry), stop_loss, own_qty=Decimal(own or qty))


def working(order_id: str = "t0-5-0", qty: str = "2", filled: str = "0", price: str = "99") -> OpenOrder:
    return OpenOrder(
        order_id, "BTCUSDT", "Buy", "Limit", Decimal(qty), Decimal(filled), Decimal(price), False
    )


def stranger(side: str = "Sell", qty: str = "1", cause: str = "order", symbol: str = "BTCUSDT") -> Filled:
    """An execution that no order of ours led to."""
    name, amount = f"f-{side}{qty}", Decimal(qty)
    made = Fill(T0, symbol, side, amount, Decimal(100), Decimal(0), "theirs", name, cause=cause)  # type: ignore[arg-type]
    return Filled(made)


def late(*bars: object) -> BarsClosed:
    made = closed(*bars)  # type: ignore[arg-type]
    return BarsClosed(made.close_ms, made.interval_ms, made.bars, live=False)


def cancels(effects: Sequence[Effect]) -> list[str]:
    return [effect.order_id for effect in effects if isinstance(effect, CancelOrder)]


def stops(effects: Sequence[Effect]) -> list[SetStops]:
    return [effect for effect in effects if isinstance(effect, SetStops)]


def turn(one: Engine, event: Event) -> tuple[PlaceOrder, PlaceOrder]:
    """Handle an event that changes sides: the exit, and the entry that follows once the exit is accepted."""
    (close,) = orders(one.handle(event))
    (entry,) = orders(one.handle(OrderAccepted(one.state.now_ms, close.order_id)))
    return close, entry


def moves(effects: Sequence[Effect]) -> list[str]:
    """What the breaker became, and why."""
    return [f"{each.state} {each.reason}" for each in effects if isinstance(each, RiskChanged)]
