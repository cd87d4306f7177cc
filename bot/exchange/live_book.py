"""What the live exchange holds for one symbol: prices as they came, orders, and one or two positions."""

from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from math import inf, nan

import msgspec

from bot.domain.ledger import Position
from bot.domain.market import Instrument
from bot.domain.money import ZERO, ceil_to, floor_to
from bot.domain.orders import Side
from bot.exchange.book import held_at, tier_rows
from bot.exchange.depth import NO_DEPTH, Depth
from bot.exchange.live_orders import LiveOrder, StopOrderType

_PROTECTION = Decimal("0.05")
_PREMIUM_MS = 30_000
_MARKS_MAX = 64
_HISTORY_MAX = 256


class Band(msgspec.Struct, frozen=True):
    """How far a limit price may lie from mark and index: Bybit's priceLimitRatioX and Y."""

    x: Decimal = Decimal("0.05")
    y: Decimal = Decimal("0.1")


class Pocket:
    """One position: a symbol in one-way mode, or one of its two sides in hedge mode."""

    __slots__ = (
        "added_quote",
        "book",
        "changes",
        "created_ms",
        "cum_realised",
        "cur_realised",
        "ended",
        "entry",
        "exit_fee",
        "idx",
        "key",
        "leverage",
        "open_fees",
        "opened_ms",
        "position",
        "safe_high",
        "safe_low",
        "seq",
        "size",
        "updated_ms",
    )

    def __init__(self, book: "LiveBook", idx: int, leverage: Decimal) -> None:
        self.book = book
        self.idx = idx
        self.key = f"{book.symbol}/{idx}"
        self.leverage = leverage
        self.position = Position()
        self.added_quote = ZERO
        self.size = self.entry = self.exit_fee = 0.0
        self.safe_low, self.safe_high = -inf, inf
        self.cum_realised = self.cur_realised = self.open_fees = ZERO
        self.created_ms = self.updated_ms = self.opened_ms = self.seq = 0
        self.ended = False
        """Whether the position went to or through zero in this match: its protective orders go."""
        self.changes: deque[tuple[int, Decimal]] = deque(maxlen=_HISTORY_MAX)
        """(time of a fill, position before it)."""

    @property
    def orders(self) -> Iterator[LiveOrder]:
        """Its orders."""
        return (order for order in self.book.orders.values() if order.position_idx == self.idx)

    @property
    def tiers(self) -> list[tuple[Decimal, Decimal, Decimal]]:
        """Of the symbol."""
        return self.book.tiers

    @property
    def tiers_rough(self) -> list[tuple[float, float, float]]:
        """Of the symbol."""
        return self.book.tiers_rough

    @property
    def closing_side(self) -> Side:
        """The side of an order that reduces it."""
        return "Sell" if self.position.qty > ZERO else "Buy"

    def mark(self) -> float:
        """The symbol's mark, the last price before there is one."""
        if self.book.mark is not None:
            return self.book.mark_rough
        price = self.book.price()
        return float(price) if price is not None else nan

    def watch(self) -> None:
        """The calm range is read where it stands."""

    def held_at(self, ts_ms: int) -> Decimal:
        """The signed position just before ``ts_ms``."""
        return held_at(self.changes, self.position.qty, ts_ms)

    def protective(self, kind: StopOrderType) -> LiveOrder | None:
        """Its full-size stop loss, take profit or trailing stop."""
        return next((order for order in self.orders if order.stop_order_type == kind), None)


class LiveBook:
    """One symbol. ``busy`` is False while nobody has orders or a position: then prices are only kept.

    Between ``trade_low`` and ``trade_high`` a trade does nothing to an order; the same holds for the bid
    below ``quote_high`` and the ask above ``quote_low``.
    """

    __slots__ = (
        "band",
        "busy",
        "depth",
        "index",
        "instrument",
        "last",
        "mark",
        "mark_rough",
        "marks",
        "orders",
        "paid",
        "pockets",
        "quote_high",
        "quote_low",
        "quoted_ms",
        "tiers",
        "tiers_rough",
        "trade_high",
        "trade_low",
    )

    def __init__(self, instrument: Instrument, leverage: Decimal, band: Band) -> None:
        self.set_rules(instrument)
        self.band = band
        self.depth: Depth = NO_DEPTH
        self.quoted_ms = -1
        self.last: Decimal | None = None
        self.mark: Decimal | None = None
        self.mark_rough = nan
        self.index: Decimal | None = None
        self.marks: deque[tuple[int, Decimal, Decimal, Decimal]] = deque(maxlen=_MARKS_MAX)
        """(time, mark, bid, ask) of the last marks, for the mean premium."""
        self.orders: dict[str, LiveOrder] = {}
        """Open orders by id, in order of priority."""
        self.pockets = [Pocket(self, 0, leverage)]
        self.busy = False
        self.trade_low: Decimal | None = None
        self.trade_high: Decimal | None = None
        self.quote_low: Decimal | None = None
        self.quote_high: Decimal | None = None
        self.paid: deque[int] = deque(maxlen=_HISTORY_MAX)
        """Stamps of funding already paid."""

    def set_rules(self, instrument: Instrument) -> None:
        """Take (new) rules."""
        self.instrument = instrument
        self.tiers, self.tiers_rough = tier_rows(instrument)

    @property
    def symbol(self) -> str:
        """Its name."""
        return self.instrument.symbol

    @property
    def hedge(self) -> bool:
        """Whether long and short are held apart."""
        return len(self.pockets) > 1

    def pocket(self, idx: int) -> Pocket | None:
        """The position of that index; None if the mode has none such."""
        return next((pocket for pocket in self.pockets if pocket.idx == idx), None)

    def of(self, order: LiveOrder) -> Pocket:
        """The position an order belongs to."""
        pocket = self.pocket(order.position_idx)
        assert pocket is not None, "an order was checked against the position mode"
        return pocket

    def price(self) -> Decimal | None:
        """The last price, else the middle of the book, else the mark, else the one side there is."""
        if self.last is not None:
            return self.last
        depth = self.depth
        seen = (depth.mid(), self.mark, depth.best("Sell"), depth.best("Buy"))
        return next((price for price in seen if price is not None), None)

    def price_by(self, trigger_by: str) -> Decimal | None:
        """The price that triggers of a kind look at."""
        if trigger_by == "MarkPrice":
            return self.mark
        if trigger_by == "IndexPrice":
            return self.index
        return self.price()

    def set_mark(self, ts_ms: int, mark: Decimal, index: Decimal | None) -> None:
        """Mark and index; the mark in Decimal and as a float, and with the touch of its time."""
        self.mark = mark
        self.mark_rough = float(mark)
        self.index = index if index is not None else mark
        depth = self.depth
        if depth.bids and depth.asks:
            self.marks.append((ts_ms, mark, depth.bids[0][0], depth.asks[0][0]))

    def bounds(self) -> tuple[Decimal | None, Decimal | None]:
        """(highest price a buyer may ask, lowest a seller may); None before the first mark.

        Bybit's rule for futures since 2026-05: min(mark(1+Y), max(index, mark(1+X) + max(0, premium)))
        and its mirror, premium = mean of mid − mark over 30 s.
        """
        if self.mark is None:
            return None, None
        index = self.index if self.index is not None else self.mark
        x, y, premium = self.band.x, self.band.y, self._premium()
        highest = min(self.mark * (1 + y), max(index, self.mark * (1 + x) + max(ZERO, premium)))
        lowest = max(self.mark * (1 - y), min(index, self.mark * (1 - x) + min(ZERO, premium)))
        tick = self.instrument.tick_size
        return floor_to(highest, tick), ceil_to(lowest, tick)

    def _premium(self) -> Decimal:
        if not self.marks:
            return ZERO
        since_ms = self.marks[-1][0] - _PREMIUM_MS
        seen = [(bid + ask) / 2 - mark for ts_ms, mark, bid, ask in self.marks if ts_ms >= since_ms]
        return sum(seen, ZERO) / len(seen) if seen else ZERO

    def banded(self, side: Side, price: Decimal) -> Decimal:
        """A limit price brought inside the bounds: futures orders are adjusted, not refused."""
        highest, lowest = self.bounds()
        if side == "Buy":
            return min(price, highest) if highest is not None else price
        return max(price, lowest) if lowest is not None else price

    def protective_price(self, order: LiveOrder) -> Decimal:
        """The limit of a market order: 5 % beyond the last price, on the tick inside, and in the bounds.

        The bounds do not hold for orders that close on a trigger: a gap must not leave them unfilled.
        """
        last, tick = self.price(), self.instrument.tick_size
        assert last is not None, "orders are refused before the first price"
        if order.side == "Buy":
            price = floor_to(last * (1 + _PROTECTION), tick)
        else:
            price = ceil_to(last * (1 - _PROTECTION), tick)
        price = price if order.close_on_trigger else self.banded(order.side, price)
        return self._tolerated(order, price)

    def _tolerated(self, order: LiveOrder, price: Decimal) -> Decimal:
        """The protective price, no further from the best offer than the order tolerates."""
        best, tick = self.depth.best(order.side), self.instrument.tick_size
        if best is None or not order.slippage_type:
            return price
        off = order.slippage * tick if order.slippage_type == "TickSize" else best * order.slippage / 100
        if order.side == "Buy":
            return min(price, floor_to(best + off, tick))
        return max(price, ceil_to(best - off, tick))

    def resting(self) -> Iterable[LiveOrder]:
        """Orders in the book, first come first."""
        return [order for order in self.orders.values() if order.status != "Untriggered"]

    def watch(self) -> None:
        """Work out anew which prices concern this symbol."""
        self.busy = bool(self.orders) or any(pocket.position.qty for pocket in self.pockets)
        buys = [o.price for o in self.orders.values() if o.status != "Untriggered" and o.side == "Buy"]
        sells = [o.price for o in self.orders.values() if o.status != "Untriggered" and o.side == "Sell"]
        self.quote_low = max(buys, default=None)
        self.quote_high = min(sells, default=None)
        for order in self.orders.values():
            if order.status != "Untriggered" or order.trigger_by != "LastPrice":
                continue
            falls = order.trigger_direction == 2
            behind, ahead = (buys, sells) if falls else (sells, buys)
            if order.active_price:
                ahead.append(order.active_price)
                continue
            behind.append(order.trigger_price)
            if order.trailing_quote:  # it follows every price better than the best seen
                ahead.append(order.trigger_price + (order.trailing_quote if falls else -order.trailing_quote))
        self.trade_low, self.trade_high = max(buys, default=None), min(sells, default=None)


def closing_order(pocket: Pocket, order_id: str, qty: Decimal, create_type: str, ts_ms: int) -> LiveOrder:
    """A reduce-only market order that the venue itself makes against a position."""
    return LiveOrder(
        order_id=order_id,
        link_id="",
        symbol=pocket.book.symbol,
        side=pocket.closing_side,
        order_type="Market",
        qty=qty,
        leaves_qty=qty,
        price=ZERO,
        time_in_force="IOC",
        position_idx=pocket.idx,
        reduce_only=True,
        close_on_trigger=True,
        create_type=create_type,
        created_ms=ts_ms,
        updated_ms=ts_ms,
        last_price_on_created=pocket.book.price() or ZERO,
    )
