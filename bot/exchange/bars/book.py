"""One symbol moved by closed bars: its last bar, its marks, orders on their way, its quiet price range."""

from collections.abc import Mapping
from decimal import Decimal
from math import inf, nan
from typing import TYPE_CHECKING

from bot.domain.market import Bar, Instrument
from bot.domain.messages import FundingRate
from bot.domain.money import to_decimal
from bot.domain.orders import Side
from bot.exchange.bars.queue import Pace
from bot.exchange.ledger.book import Level, PositionSlot, SymbolBook
from bot.exchange.orders import ExchangeOrder
from bot.exchange.rulebook import price_band
from bot.exchange.rulebook.price_band import UNBOUNDED, PriceBand
from bot.exchange.rulebook.triggers import FALL
from bot.exchange.terms import Terms, taker_price

if TYPE_CHECKING:
    from bot.exchange.bars.walk import BarWalk


class BarBook(SymbolBook):
    """A symbol moved by bars. While a bar is walked, ``walk`` says where the market stands in it.

    ``calm_low`` and ``calm_high`` are the fast path: while a bar's low stays above the one and its high
    below the other, nothing here can happen, and no Decimal is touched. They are floats; a tie always
    counts as "look closer".
    """

    def __init__(
        self,
        instrument: Instrument,
        leverage: Decimal,
        band: PriceBand,
        terms: Terms,
        mark_bars: Mapping[int, Bar] | None,
    ) -> None:
        super().__init__(instrument, leverage, band)
        self.terms = terms
        self.spread_frac = terms.half_spread_frac(instrument.symbol)
        self.mark_bars = mark_bars
        self.last: Bar | None = None
        self.first_price: Decimal | None = None
        """A price from outside, for orders that come before the first bar."""
        self.walk: BarWalk | None = None
        self.next_ms = 0
        """A bar that starts earlier is stale."""
        self.pending: dict[str, int] = {}
        """When each order on its way reaches the book, by order id."""
        self.cancels: dict[str, int] = {}
        """When each cancel on its way reaches the book, by order id."""
        self.marked = mark_bars is not None
        """Whether mark prices are known, so that liquidation looks at them and not at last prices."""
        self.mark_ms = -1
        self.mark_price = nan
        """The last mark price of a stream, and when."""
        self.mark_seen: dict[int, Bar] = {}
        """Mark candles of bars not closed yet, in the making."""
        self.due: list[FundingRate] = []
        """Rates whose time lies inside a bar not seen yet."""
        self.pace = Pace()
        """How fast the symbol trades; noted only where ``terms.limit_fills`` is queue."""
        self.trade_low = self.safe_low = self.calm_low = -inf
        self.trade_high = self.safe_high = self.calm_high = inf

    # Prices

    def price(self) -> Decimal | None:
        """The price at the walk's place inside the bar; between bars the last close."""
        if self.walk is not None:
            return self.walk.base
        return to_decimal(self.last.close) if self.last is not None else self.first_price

    def mark(self) -> Decimal | None:
        """The mark price at the walk's place; the last price if no marks are known."""
        if not self.marked:
            return self.walk.base if self.walk is not None else self.price()
        rough = self.mark_rough()
        return to_decimal(rough) if rough == rough else None

    def index(self) -> Decimal | None:
        """Return the mark price, because bars carry no index price."""
        return self.mark()

    def mark_and_index(self) -> tuple[Decimal | None, Decimal | None]:
        """Mark and index price, which are one."""
        mark = self.mark()
        return mark, mark

    def mark_rough(self) -> float:
        """The mark price as a float; the last price if no marks are known; NaN before the first bar."""
        if self.walk is not None:
            return self.walk.mark(self.walk.place)
        return self.last_mark()

    def last_mark(self) -> float:
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
        """Add a mark price of a stream to the mark candle of the bar that contains its time."""
        self.marked = True
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

    # What others offer

    def has_offer(self, side: Side) -> bool:
        """Return True: a bar always offers something; the quantity is known when an order arrives."""
        return True

    def best(self, side: Side) -> Decimal | None:
        """The price at the walk's place, made worse by half the spread."""
        base = self.price()
        if base is None:
            return None
        return taker_price(base, side, self.spread_frac, self.instrument.tick_size)

    def crosses(self, order: ExchangeOrder) -> bool:
        """Return True if an order's limit reaches the touch; a market order always does."""
        if order.order_type == "Market":
            return True
        touch = self.best(order.side)
        assert touch is not None, "orders arrive inside a bar"
        return order.price >= touch if order.side == "Buy" else order.price <= touch

    def offered(self, order: ExchangeOrder) -> Decimal:
        """The base quantity that orders may still fill in this bar."""
        assert self.walk is not None, "orders arrive inside a bar"
        return self.walk.capacity

    def take(self, order: ExchangeOrder, qty: Decimal) -> list[Level]:
        """Take up to the bar's remaining volume, at one price made worse by half the spread and impact."""
        walk = self.walk
        assert walk is not None, "orders arrive inside a bar"
        qty = min(qty, walk.capacity)
        if not qty:
            return []
        price = self._worsened(order.side, qty)
        if order.order_type == "Limit":
            price = min(price, order.price) if order.side == "Buy" else max(price, order.price)
        elif order.slippage_type and (price > order.price if order.side == "Buy" else price < order.price):
            return []
        walk.capacity -= qty
        return [(price, qty)]

    def protective_price(self, order: ExchangeOrder) -> Decimal:
        """The limit of a market order, for display only: a bar fills the order up to its volume at any price.

        The price band is left out because it cannot stop a fill here. A slippage tolerance can.
        """
        last = self.price()
        assert last is not None, "orders arrive inside a bar"
        best = self.best(order.side) if order.slippage_type else None
        return price_band.protective_price(order, last, best, UNBOUNDED, self.instrument.tick_size)

    def take_at_market(self, side: Side, qty: Decimal) -> list[Level]:
        """Take the whole ``qty``, even beyond the bar's volume."""
        return [(self._worsened(side, qty), qty)]

    def base(self) -> Decimal | None:
        """The price at the walk's place, without spread and impact."""
        return self.price()

    def _worsened(self, side: Side, qty: Decimal) -> Decimal:
        base, slip = self.price(), self.spread_frac
        assert base is not None, "something is taken where the market stands"
        if self.walk is not None:
            slip += self.terms.impact(self.walk.bar, qty)
        return taker_price(base, side, slip, self.instrument.tick_size)

    def queue_ahead(self) -> Decimal | None:
        """Base that stands before a limit order which begins to rest now; None: unknown."""
        return self.pace.volume_of(self.terms.queue_ahead_ms)

    # Orders on their way

    def under_way(self, order: ExchangeOrder) -> bool:
        """Whether an accepted order has not reached the book yet."""
        return order.order_id in self.pending

    def forget(self, order: ExchangeOrder) -> None:
        """Drop an order that has ended."""
        self.orders.pop(order.order_id, None)
        if self.pending:
            self.pending.pop(order.order_id, None)
        if self.cancels:
            self.cancels.pop(order.order_id, None)

    def prospective_qty(self, slot: PositionSlot) -> Decimal:
        """The signed position after all market orders under way: what a venue would already hold."""
        qty = slot.position.qty
        for order_id in self.pending:
            order = self.orders[order_id]
            if order.order_type == "Market" and order.position_idx == slot.idx:
                leaves = order.fillable(qty)
                qty += leaves if order.side == "Buy" else -leaves
        return qty

    # What wakes it

    def watch(self) -> None:
        """Recompute the quiet range: the prices at which no order acts and no position is liquidated."""
        low, high = -inf, inf
        if self.due or self.pending or self.cancels:
            self.trade_low = self.calm_low = inf
            return
        for order in self.orders.values():
            if order.status != "Untriggered":
                if order.side == "Buy":
                    low = max(low, float(order.price))
                else:
                    high = min(high, float(order.price))
                continue
            if order.trigger_by != "LastPrice" and self.marked:
                low = inf
                continue
            falls = order.trigger_direction == FALL
            if order.active_price:
                behind, ahead = None, float(order.active_price)
            else:
                behind, ahead = float(order.trigger_price), None
                if order.trailing_quote:  # it follows every price better than the best seen
                    ahead = float(
                        order.trigger_price + (order.trailing_quote if falls else -order.trailing_quote)
                    )
            below, above = (behind, ahead) if falls else (ahead, behind)
            if below is not None:
                low = max(low, below)
            if above is not None:
                high = min(high, above)
        self.trade_low, self.trade_high = low, high
        self._join()

    def margin_watch(self) -> None:
        """Update the range of marks in which no position of this symbol can be liquidated."""
        first, *more = self.slots
        self.safe_low, self.safe_high = first.safe_low, first.safe_high
        for slot in more:
            self.safe_low = max(self.safe_low, slot.safe_low)
            self.safe_high = min(self.safe_high, slot.safe_high)
        self._join()

    def _join(self) -> None:
        """Join both ranges. If marks are known, a symbol with an open position is walked in every bar."""
        if self.marked and any(slot.size for slot in self.slots):
            self.calm_low, self.calm_high = inf, -inf
            return
        low, high, safe_low, safe_high = self.trade_low, self.trade_high, self.safe_low, self.safe_high
        self.calm_low = low if low > safe_low else safe_low
        self.calm_high = high if high < safe_high else safe_high
