"""A venue and the few words tests say to it."""

from collections.abc import Sequence
from decimal import Decimal

from bot.domain.ledger import Fill
from bot.domain.market import Bar, Instrument
from bot.domain.messages import (
    CancelOrder,
    Filled,
    FundingPaid,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    PlaceOrder,
    SetStops,
    StopsRejected,
    VenueEvent,
)
from bot.domain.orders import Approved, Side
from bot.exchange import BarVenue, Terms
from tests.helpers import bar, closed, instrument, intent

FREE = Terms(
    taker_fee_frac=Decimal(0),
    maker_fee_frac=Decimal(0),
    default_half_spread_bps=0.0,
    impact_frac=0.0,
    liquidity="full",
    leverage=Decimal(10),
)
"""No fees, no slippage, any volume: what is left is the rule a test is about."""

D = Decimal


def free(**changes: object) -> Terms:
    values = {name: getattr(FREE, name) for name in Terms.__struct_fields__}
    return Terms(**(values | changes))


class BarDesk:
    """One exchange, the numbers of its orders, and everything it said."""

    def __init__(self, terms: Terms = FREE, wallet: str = "10000", **options: object) -> None:
        instruments = options.pop("instruments", None) or [instrument()]
        assert isinstance(instruments, list)
        self.venue = BarVenue({i.symbol: i for i in instruments}, D(wallet), terms, **options)  # type: ignore[arg-type]
        self.said: list[VenueEvent] = []
        self.count = 0

    def bar(self, *bars: Bar) -> list[VenueEvent]:
        return self._note(self.venue.advance(closed(*bars)))

    def see(self, event: object) -> list[VenueEvent]:
        return self._note(self.venue.advance(event))  # type: ignore[arg-type]

    def send(self, side: Side, qty: str, **changes: object) -> VenueEvent:
        """Place an order o1, o2, …; a ``price`` makes it a GTC limit order."""
        self.count += 1
        if "price" in changes:
            changes = {"order_type": "Limit", "time_in_force": "GTC"} | changes
        decimals = {
            name: D(value) if isinstance(value, str) and name in _PRICES else value
            for name, value in changes.items()
        }
        order = PlaceOrder(f"o{self.count}", Approved(intent(side, qty, **decimals)))
        return self._note(self.venue.submit(order))[0]

    def buy(self, qty: str, **changes: object) -> VenueEvent:
        return self.send("Buy", qty, **changes)

    def sell(self, qty: str, **changes: object) -> VenueEvent:
        return self.send("Sell", qty, **changes)

    def cancel(self, order_id: str) -> list[VenueEvent]:
        return self._note(self.venue.submit(CancelOrder(order_id, "BTCUSDT")))

    def stops(self, stop_loss: str | None, take_profit: str | None = None) -> VenueEvent:
        levels = [D(level) if level is not None else None for level in (stop_loss, take_profit)]
        return self._note(self.venue.submit(SetStops("BTCUSDT", *levels)))[0]

    def settle(self, ts_ms: int = 0) -> list[VenueEvent]:
        return self._note(self.venue.settle(ts_ms))

    def _note(self, events: Sequence[VenueEvent]) -> list[VenueEvent]:
        self.said.extend(events)
        return list(events)

    @property
    def fills(self) -> list[Fill]:
        return [event.fill for event in self.said if isinstance(event, Filled)]

    @property
    def last(self) -> Fill:
        return self.fills[-1]

    @property
    def qty(self) -> Decimal:
        position = self.venue.positions.get("BTCUSDT")
        return position.qty if position else D(0)

    @property
    def wallet(self) -> Decimal:
        return self.venue.wallet_quote

    def paid(self) -> list[FundingPaid]:
        return [event for event in self.said if isinstance(event, FundingPaid)]

    def ends(self) -> list[tuple[str, str]]:
        """(order id, reason) of each cancel."""
        return [(e.order_id, e.reason) for e in self.said if isinstance(e, OrderCancelled)]


_PRICES = {"price", "stop_loss", "take_profit", "ref_price"}


def opened(desk: BarDesk, close: float = 100.0) -> BarDesk:
    """``desk`` after its first bar, which closes at ``close``."""
    desk.bar(bar(0, close))
    return desk


def holding(
    qty: str, terms: Terms = FREE, *, price: float = 100.0, wallet: str = "10000", **options: object
) -> BarDesk:
    """A desk that entered ``qty`` (negative: short) at ``price`` at the open of bar 1."""
    desk = opened(BarDesk(terms, wallet, **options), price)
    desk.send("Sell" if qty.startswith("-") else "Buy", qty.lstrip("-"))
    desk.bar(bar(1, price))
    assert desk.qty == D(qty)
    return desk


def code(event: VenueEvent) -> int:
    """0 if accepted, else the retCode."""
    if isinstance(event, OrderAccepted):
        return 0
    assert isinstance(event, OrderRejected | StopsRejected)
    return event.code


def exact() -> Instrument:
    return Instrument.exact("BTCUSDT")
