"""A quote exchange and the few words tests say to it: one book of two levels around 100."""

from collections.abc import Sequence
from decimal import Decimal

from bot.domain.market import Instrument, RiskTier
from bot.exchange.events import ExchangeEvent, Executed, Execution, OrderChanged, PositionView
from bot.exchange.orders import Amend, Cancel, ExchangeOrder, NewOrder, TradingStop
from bot.exchange.quotes.depth import Depth
from bot.exchange.quotes.exchange import QuoteExchange
from bot.exchange.rulebook.price_band import PriceBand
from bot.exchange.rulebook.refusals import Refusal
from bot.exchange.terms import Terms
from tests.helpers import instrument

D = Decimal
WIDE = PriceBand(D("0.5"), D("0.9"))
TIERS = (
    RiskTier(D(100_000), D("0.005"), D(0), D(100)),
    RiskTier(D(1_000_000), D("0.01"), D(500), D(50)),
)
_PRICES = {
    "price",
    "qty",
    "trigger_price",
    "stop_loss",
    "take_profit",
    "sl_limit_price",
    "tp_limit_price",
    "trailing_stop",
    "active_price",
    "sl_size",
    "tp_size",
}


def rules(symbol: str = "BTCUSDT", **changes: object) -> Instrument:
    usual = {"tiers": TIERS, "min_qty": D("0.001"), "min_price": D("0.1"), "max_price": D(1_000_000)}
    return instrument(symbol, **(usual | changes))


def depth(bid: str, ask: str, qty: str = "10") -> Depth:
    """Two levels a side, the second a half beyond the first."""
    b, a, q = D(bid), D(ask), D(qty)
    return Depth([(b, q), (b - D("0.5"), q)], [(a, q), (a + D("0.5"), q)])


class QuoteDesk:
    """One account, the numbers of its orders, and everything that happened."""

    def __init__(
        self, wallet: str = "10000", *instruments: Instrument, band: PriceBand = WIDE, **terms: object
    ) -> None:
        known = instruments or (rules(),)
        usual: dict[str, object] = {"leverage": D(10)}
        self.x = QuoteExchange(
            {i.symbol: i for i in known},
            D(wallet),
            Terms(**(usual | terms)),  # type: ignore[arg-type]
            bands={i.symbol: band for i in known},
        )
        self.ts_ms = 1_000
        self.count = 0
        self.said: list[ExchangeEvent] = []

    def tick(self) -> int:
        self.ts_ms += 1
        return self.ts_ms

    def market(self, bid: str, ask: str, qty: str = "10", symbol: str = "BTCUSDT") -> "QuoteDesk":
        """A quote, a mark and a trade of nothing at its middle."""
        mid = (D(bid) + D(ask)) / 2
        self.x.quote(symbol, self.tick(), depth(bid, ask, qty))
        self.x.mark(symbol, self.ts_ms, mid, mid)
        self.x.trade(symbol, self.ts_ms, mid, D(0))
        return self._note()

    def trade(self, price: str, qty: str = "1", symbol: str = "BTCUSDT") -> "QuoteDesk":
        self.x.trade(symbol, self.tick(), D(price), D(qty))
        return self._note()

    def mark(self, price: str, symbol: str = "BTCUSDT") -> "QuoteDesk":
        self.x.mark(symbol, self.tick(), D(price), D(price))
        return self._note()

    def send(self, side: str, qty: str, **changes: object) -> Refusal | None:
        """Place an order o1, o2, … with its id as link id; a ``price`` makes it a limit order."""
        self.count += 1
        values = _decimals(changes)
        kind = "Limit" if "price" in values else "Market"
        usual = {"symbol": "BTCUSDT", "link_id": f"o{self.count}", "order_type": kind}
        order_id = f"o{self.count}"
        new = NewOrder(order_id=order_id, side=side, qty=D(qty), **(usual | values))  # type: ignore[arg-type]
        refusal = self.x.place(new, self.tick())
        self._note()
        return refusal

    def buy(self, qty: str, **changes: object) -> Refusal | None:
        return self.send("Buy", qty, **changes)

    def sell(self, qty: str, **changes: object) -> Refusal | None:
        return self.send("Sell", qty, **changes)

    def amend(self, order_id: str, **changes: object) -> Refusal | None:
        refusal = self.x.amend(Amend(symbol="BTCUSDT", order_id=order_id, **_decimals(changes)), self.tick())  # type: ignore[arg-type]
        self._note()
        return refusal

    def cancel(self, order_id: str) -> Refusal | None:
        refusal = self.x.cancel(Cancel("BTCUSDT", order_id), self.tick())
        self._note()
        return refusal

    def stops(self, idx: int = 0, **changes: object) -> Refusal | None:
        refusal = self.x.trading_stop(
            TradingStop(symbol="BTCUSDT", position_idx=idx, **_decimals(changes)), self.tick()
        )  # type: ignore[arg-type]
        self._note()
        return refusal

    def _note(self) -> "QuoteDesk":
        self.said.extend(self.x.drain())
        return self

    def position(self, idx: int = 0, symbol: str = "BTCUSDT") -> PositionView:
        view = self.x.position(symbol, idx)
        assert view is not None
        return view

    @property
    def executions(self) -> list[Execution]:
        return [h.execution for h in self.said if isinstance(h, Executed)]

    def fills(self, order_id: str = "") -> list[tuple[str, str]]:
        """(qty, price) of executions, of one order or of all."""
        return [
            (str(e.qty.normalize()), str(e.price.normalize()))
            for e in self.executions
            if order_id in ("", e.order_id)
        ]

    def history(self, order_id: str) -> list[str]:
        """Statuses of an order as they were told."""
        return [
            h.order.status for h in self.said if isinstance(h, OrderChanged) and h.order.order_id == order_id
        ]

    def last(self, order_id: str) -> ExchangeOrder:
        """An order as it was told last."""
        return [h.order for h in self.said if isinstance(h, OrderChanged) and h.order.order_id == order_id][
            -1
        ]

    def waiting(self, kind: str) -> list[ExchangeOrder]:
        """Open orders of a stopOrderType."""
        return [order for order in self.x.open_orders("BTCUSDT") if order.stop_order_type == kind]


def opened(wallet: str = "10000", band: PriceBand = WIDE, **terms: object) -> QuoteDesk:
    """A desk that has seen a market of 99.5 / 100.5 around 100."""
    return QuoteDesk(wallet, band=band, **terms).market("99.5", "100.5")


def holding(qty: str, **terms: object) -> QuoteDesk:
    """A desk with a position (negative: short) entered at 100, the market then 99.5 / 100.5."""
    desk = QuoteDesk("10000", **terms).market("100", "100", "1000")
    assert desk.send("Sell" if qty.startswith("-") else "Buy", qty.lstrip("-")) is None
    return desk.market("99.5", "100.5")


def numbers(values: Sequence[Decimal]) -> list[str]:
    return [str(value.normalize()) for value in values]


def _decimals(changes: dict[str, object]) -> dict[str, object]:
    return {name: D(v) if isinstance(v, str) and name in _PRICES else v for name, v in changes.items()}
