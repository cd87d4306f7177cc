"""One symbol moved by quotes, trades and marks: depth, last trade, mark, and the prices where orders act."""

from collections import deque
from decimal import Decimal
from math import nan

from bot.domain.market import Instrument
from bot.domain.money import ZERO
from bot.domain.orders import Side
from bot.exchange.ledger.book import Level, SymbolBook
from bot.exchange.orders import ExchangeOrder
from bot.exchange.quotes.depth import NO_DEPTH, Depth, crosses
from bot.exchange.quotes.past_marks import PastMarks
from bot.exchange.rulebook import price_band
from bot.exchange.rulebook.price_band import PriceBand
from bot.exchange.rulebook.triggers import FALL
from bot.exchange.terms import UNLIMITED

_MARKS_MAX = 64


class QuoteBook(SymbolBook):
    """A symbol moved by quotes, trades and marks.

    ``wakes`` is False while nobody has orders or a position: then prices are only kept. Between
    ``trade_low`` and ``trade_high`` a trade does nothing to an order; the same holds for the bid below
    ``quote_high`` and the ask above ``quote_low``.
    """

    def __init__(self, instrument: Instrument, leverage: Decimal, band: PriceBand) -> None:
        super().__init__(instrument, leverage, band)
        self.depth: Depth = NO_DEPTH
        self.last: Decimal | None = None
        self.marks: deque[tuple[int, Decimal, Decimal, Decimal]] = deque(maxlen=_MARKS_MAX)
        """(time, mark, bid, ask) of the last marks, for the mean premium."""
        self.past = PastMarks()
        self.wakes = False
        self.trade_low: Decimal | None = None
        self.trade_high: Decimal | None = None
        self.quote_low: Decimal | None = None
        self.quote_high: Decimal | None = None
        self._mark: Decimal | None = None
        self._mark_rough = nan
        self._index: Decimal | None = None

    # Prices

    def price(self) -> Decimal | None:
        """The last price, else the middle of the depth, else the mark, else the only side that has offers."""
        if self.last is not None:
            return self.last
        depth = self.depth
        seen = (depth.mid(), self._mark, depth.best("Sell"), depth.best("Buy"))
        return next((price for price in seen if price is not None), None)

    def mark(self) -> Decimal | None:
        """The mark price, None before the first."""
        return self._mark

    def index(self) -> Decimal | None:
        """The index price, None before the first mark."""
        return self._index

    def mark_rough(self) -> float:
        """The mark as a float, the last price before there is one."""
        if self._mark is not None:
            return self._mark_rough
        price = self.price()
        return float(price) if price is not None else nan

    def move_mark(self, mark: Decimal, index: Decimal | None) -> None:
        """Take mark and index; without an index the mark is the index."""
        self._mark = mark
        self._mark_rough = float(mark)
        self._index = index if index is not None else mark

    def set_mark(self, ts_ms: int, mark: Decimal, index: Decimal | None) -> None:
        """Take mark and index, and remember them for the premium with the touch of that time."""
        self.move_mark(mark, index)
        self.past.note(ts_ms, mark)
        depth = self.depth
        if depth.bids and depth.asks:
            self.marks.append((ts_ms, mark, depth.bids[0][0], depth.asks[0][0]))

    def mark_at(self, ts_ms: int) -> Decimal | None:
        """The mark price at a past time; the present one if no mark that old is remembered."""
        past = self.past.at(ts_ms)
        return past if past is not None else self.mark_or_price()

    def premium(self) -> Decimal:
        """Mean of mid − mark over the last 30 s of marks."""
        return price_band.mean_premium(self.marks, self.marks[-1][0]) if self.marks else ZERO

    # What others offer

    def has_offer(self, side: Side) -> bool:
        """Return True if the other side of the depth has a level."""
        return bool(self.depth.against(side))

    def best(self, side: Side) -> Decimal | None:
        """The best price that an order of ``side`` could take at."""
        return self.depth.best(side)

    def crosses(self, order: ExchangeOrder) -> bool:
        """Whether an order's limit reaches the other side of the depth."""
        return crosses(order.side, order.price, self.depth.best(order.side))

    def offered(self, order: ExchangeOrder) -> Decimal:
        """Base offered at the order's limit or better."""
        return self.depth.within(order.side, order.price)

    def take(self, order: ExchangeOrder, qty: Decimal) -> list[Level]:
        """Take the levels of the depth, each at its price; taken quantity is gone until the next quote."""
        return self._take(order.side, qty, order.price)

    def take_at_market(self, side: Side, qty: Decimal) -> list[Level]:
        """Take the levels of the depth at any price."""
        return self._take(side, qty, UNLIMITED if side == "Buy" else ZERO)

    def _take(self, side: Side, qty: Decimal, limit: Decimal) -> list[Level]:
        parts = list(self.depth.takes(side, qty, limit))
        self.depth = self.depth.without(side, sum((part for _, part in parts), ZERO))
        return parts

    def base(self) -> Decimal | None:
        """The middle of the touch."""
        return self.depth.mid()

    # What wakes it

    def watch(self) -> None:
        """Recompute the price ranges in which trades and quotes do nothing to this symbol's orders."""
        self.wakes = self.busy
        buys = [o.price for o in self.orders.values() if o.status != "Untriggered" and o.side == "Buy"]
        sells = [o.price for o in self.orders.values() if o.status != "Untriggered" and o.side == "Sell"]
        self.quote_low = max(buys, default=None)
        self.quote_high = min(sells, default=None)
        for order in self.orders.values():
            if order.status != "Untriggered" or order.trigger_by != "LastPrice":
                continue
            falls = order.trigger_direction == FALL
            behind, ahead = (buys, sells) if falls else (sells, buys)
            if order.active_price:
                ahead.append(order.active_price)
                continue
            behind.append(order.trigger_price)
            if order.trailing_quote:  # it follows every price better than the best seen
                ahead.append(order.trigger_price + (order.trailing_quote if falls else -order.trailing_quote))
        self.trade_low, self.trade_high = max(buys, default=None), min(sells, default=None)

    def is_crossed(self) -> bool:
        """Whether the depth crosses a resting order."""
        bids, asks = self.depth.bids, self.depth.asks
        low, high = self.quote_low, self.quote_high
        return (low is not None and bool(asks) and asks[0][0] <= low) or (
            high is not None and bool(bids) and bids[0][0] >= high
        )

    def is_moved_by(self, price: Decimal) -> bool:
        """Whether a trade at ``price`` reaches an order or a trigger."""
        low, high = self.trade_low, self.trade_high
        return (low is not None and price <= low) or (high is not None and price >= high)
