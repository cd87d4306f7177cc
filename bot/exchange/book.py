"""What the venue holds for one symbol: orders, protective stops, the position and where it wakes up."""

from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import inf, nan

from bot.domain.ledger import Position
from bot.domain.market import Bar, Instrument
from bot.domain.messages import FundingRate
from bot.domain.money import ZERO, to_decimal
from bot.domain.orders import Order

_HISTORY_MAX = 256


def held_at(changes: Iterable[tuple[int, Decimal]], qty: Decimal, ts_ms: int) -> Decimal:
    """The signed position just before ``ts_ms``, from (time of a fill, position before) and ``qty`` now."""
    for when, before in changes:
        if when >= ts_ms:
            return before
    return qty


def tier_rows(
    instrument: Instrument,
) -> tuple[list[tuple[Decimal, Decimal, Decimal]], list[tuple[float, float, float]]]:
    """Risk tiers as (limit, maintenance fraction, deduction), in Decimal and in float."""
    exact = [(t.limit_quote, t.maintenance_frac, t.deduction_quote) for t in instrument.tiers]
    return exact, [(float(limit), float(frac), float(less)) for limit, frac, less in exact]


class Working:
    """An order the venue has and has not finished: when it becomes active, and whether it rests."""

    __slots__ = ("active_ms", "buy", "cancel_ms", "limit", "margin_quote", "order", "price", "resting")

    def __init__(self, order: Order, active_ms: int, margin_quote: Decimal) -> None:
        self.order = order
        self.active_ms = active_ms
        self.margin_quote = margin_quote
        """Margin held for the whole order; released in proportion as it fills."""
        self.buy = order.intent.side == "Buy"
        self.limit = order.intent.price if order.intent.price is not None else ZERO
        """The limit price, in Decimal and as a float; without meaning for a market order."""
        self.price = float(self.limit)
        self.resting = False
        self.cancel_ms: int | None = None

    @property
    def reserved_quote(self) -> Decimal:
        """Margin still held for what has not been filled."""
        return self.margin_quote * self.order.leaves_qty / self.order.intent.qty

    def fillable(self, position_qty: Decimal) -> Decimal:
        """What is left of the order; a reduce-only order is cut to the position it would reduce."""
        order = self.order
        leaves = order.intent.qty - order.filled_qty
        if not order.intent.reduce_only:
            return leaves
        return min(leaves, max(-position_qty if self.buy else position_qty, ZERO))


class Book:
    """One symbol at the venue.

    ``calm_low`` and ``calm_high`` are the fast path: while a bar's low stays above the one and its high
    below the other, nothing here can happen, and no Decimal is touched. They are floats; a tie always
    counts as "look closer".
    """

    __slots__ = (
        "calm_high",
        "calm_low",
        "changes",
        "due",
        "entry",
        "exit_fee",
        "instrument",
        "last",
        "leverage",
        "mark_bars",
        "mark_ms",
        "mark_price",
        "mark_seen",
        "next_ms",
        "orders",
        "paid",
        "position",
        "safe_high",
        "safe_low",
        "size",
        "spread_frac",
        "stop_loss",
        "take_profit",
        "tiers",
        "tiers_rough",
        "trade_high",
        "trade_low",
    )

    def __init__(
        self,
        instrument: Instrument,
        leverage: Decimal,
        spread_frac: Decimal,
        mark_bars: Mapping[int, Bar] | None,
    ) -> None:
        self.set_rules(instrument)
        self.leverage = leverage
        self.spread_frac = spread_frac
        self.mark_bars = mark_bars
        self.position = Position()
        self.size = self.entry = self.exit_fee = 0.0
        """The position, its entry value and the fee to close it at bankruptcy, for quick looks."""
        self.orders: list[Working] = []
        self.stop_loss: Decimal | None = None
        self.take_profit: Decimal | None = None
        self.last: Bar | None = None
        self.next_ms = 0
        """A bar that starts earlier is stale."""
        self.mark_ms = -1
        self.mark_price = nan
        """The last mark price of a stream, and when."""
        self.mark_seen: dict[int, Bar] = {}
        """Mark candles of bars not closed yet, in the making."""
        self.due: list[FundingRate] = []
        """Rates whose time lies inside a bar not seen yet."""
        self.paid: set[int] = set()
        self.changes: deque[tuple[int, Decimal]] = deque(maxlen=_HISTORY_MAX)
        """(time of a fill, position before it)."""
        self.trade_low = self.safe_low = self.calm_low = -inf
        self.trade_high = self.safe_high = self.calm_high = inf

    def set_rules(self, instrument: Instrument) -> None:
        """Take (new) rules; risk tiers are kept as (limit, fraction, deduction), in Decimal and in float."""
        self.instrument = instrument
        self.tiers, self.tiers_rough = tier_rows(instrument)

    added_quote = ZERO
    """Nobody adds margin by hand here."""

    @property
    def symbol(self) -> str:
        """Its name."""
        return self.instrument.symbol

    @property
    def key(self) -> str:
        """One position a symbol: its name."""
        return self.instrument.symbol

    def held_at(self, ts_ms: int) -> Decimal:
        """The signed position just before ``ts_ms``: fills of that very instant come after."""
        return held_at(self.changes, self.position.qty, ts_ms)

    def prospective_qty(self) -> Decimal:
        """The position once the market orders under way are done: what a real venue would already hold."""
        qty = self.position.qty
        for working in self.orders:
            if working.order.intent.order_type == "Market":
                leaves = working.fillable(qty)
                qty += leaves if working.buy else -leaves
        return qty

    def last_price(self) -> Decimal | None:
        """The last close, None before the first bar."""
        return to_decimal(self.last.close) if self.last else None

    @property
    def marked(self) -> bool:
        """Whether mark prices are known, so that liquidation looks at them and not at last prices."""
        return self.mark_bars is not None or self.mark_ms >= 0

    def mark(self) -> float:
        """The last mark price known, else the last close (NaN before the first bar)."""
        if self.last is None:
            return nan
        if self.mark_ms >= self.last.start_ms:
            return self.mark_price
        candle = self.mark_bars.get(self.last.start_ms) if self.mark_bars is not None else None
        return candle.close if candle is not None else self.last.close

    def mark_candle(self, bar: Bar) -> Bar | None:
        """The mark prices during ``bar``, None where none are known."""
        candles = self.mark_bars if self.mark_bars is not None else self.mark_seen
        return candles.get(bar.start_ms)

    def add_mark(self, ts_ms: int, price: float) -> None:
        """A mark price of a stream; it goes into the mark candle of the bar it falls in."""
        self.mark_ms, self.mark_price = ts_ms, price
        if self.last is None:
            return
        start_ms = ts_ms - ts_ms % self.last.interval_ms
        seen = self.mark_seen.get(start_ms)
        opened, high, low = (seen.open, seen.high, seen.low) if seen else (price, price, price)
        self.mark_seen = {at: candle for at, candle in self.mark_seen.items() if at > self.last.start_ms}
        self.mark_seen[start_ms] = Bar(
            self.symbol,
            self.last.interval_ms,
            start_ms,
            opened,
            max(high, price),
            min(low, price),
            price,
            0.0,
        )

    def watch_trades(self) -> None:
        """Set the prices at which an order or a stop may act: the trade half of the calm range."""
        low, high = -inf, inf
        if self.due:
            low = inf
        for working in self.orders:
            if not working.resting or working.cancel_ms is not None:
                low = inf
            elif working.buy:
                low = max(low, working.price)
            else:
                high = min(high, working.price)
        below, above = self.stop_loss, self.take_profit
        if self.size < 0.0:
            below, above = above, below
        if below is not None:
            low = max(low, float(below))
        if above is not None:
            high = min(high, float(above))
        self.trade_low, self.trade_high = low, high

    def watch(self) -> None:
        """Join both halves; where marks are known, an open position is looked at every bar."""
        if self.size and self.marked:
            self.calm_low, self.calm_high = inf, -inf
        else:
            self.calm_low = max(self.trade_low, self.safe_low)
            self.calm_high = min(self.trade_high, self.safe_high)
