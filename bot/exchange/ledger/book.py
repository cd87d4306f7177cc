"""The account's state in one symbol: open orders, one or two positions, and the prices that they use."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from math import inf

from bot.domain.ledger import Position
from bot.domain.margin import Tiers, exact_tiers
from bot.domain.market import Instrument, RiskTier
from bot.domain.money import ZERO
from bot.domain.orders import Side
from bot.exchange.orders import ExchangeOrder, StopOrderType
from bot.exchange.rulebook import price_band
from bot.exchange.rulebook.price_band import UNBOUNDED, Bounds, PriceBand
from bot.exchange.rulebook.stops import ProtectedPosition

_HISTORY_MAX = 256
Level = tuple[Decimal, Decimal]
"""(price, base quantity); the quantity may be infinite."""
RoughTiers = list[tuple[float, float, float]]


def tier_rows(tiers: Iterable[RiskTier]) -> tuple[Tiers, RoughTiers]:
    """Risk tiers as rows, in Decimal and in float."""
    exact = exact_tiers(tiers)
    return exact, [(float(limit), float(frac), float(less)) for limit, frac, less in exact]


class PositionSlot:
    """Room for one position: a symbol in one-way mode has one slot, in hedge mode one for each side.

    ``size``, ``entry`` and ``exit_fee`` are floats of the position, its entry value and the fee to close it
    at bankruptcy, kept by ``MarginAccount.revalue``. Between ``safe_low`` and ``safe_high`` no mark price
    can liquidate it.
    """

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

    def __init__(self, book: "SymbolBook", idx: int, leverage: Decimal) -> None:
        self.book = book
        self.idx = idx
        self.key = f"{book.symbol}/{idx}"
        self.leverage = leverage
        self.position = Position()
        self.added_quote = ZERO
        """Isolated margin added by hand."""
        self.size = self.entry = self.exit_fee = 0.0
        self.safe_low, self.safe_high = -inf, inf
        self.cum_realised = self.cur_realised = ZERO
        """Realised in all and since last flat, after fees and funding. Quote."""
        self.open_fees = ZERO
        """Fees paid to open what is open now."""
        self.created_ms = self.updated_ms = self.opened_ms = self.seq = 0
        self.ended = False
        """Whether the position went to or through zero in this match: its protective orders end."""
        self.changes: deque[tuple[int, Decimal]] = deque(maxlen=_HISTORY_MAX)
        """(time of a fill, position before it)."""

    @property
    def orders(self) -> Iterable[ExchangeOrder]:
        """The open orders of this position."""
        book = self.book
        if len(book.slots) == 1:
            return book.orders.values()
        return (order for order in book.orders.values() if order.position_idx == self.idx)

    @property
    def closing_side(self) -> Side:
        """The side of an order that reduces the position."""
        return "Sell" if self.position.qty > ZERO else "Buy"

    def held_at(self, ts_ms: int) -> Decimal:
        """The signed position just before ``ts_ms``, without the fills at ``ts_ms`` itself."""
        for when, before in self.changes:
            if when >= ts_ms:
                return before
        return self.position.qty

    def protective(self, kind: StopOrderType) -> ExchangeOrder | None:
        """The position's full-size stop loss, take profit or trailing stop."""
        return next((order for order in self.orders if order.stop_order_type == kind), None)

    def protected(self, sl_trigger_by: str, tp_trigger_by: str) -> ProtectedPosition | None:
        """The position as an argument for the TP/SL rules; None while it is flat or has no price."""
        book, last = self.book, self.book.price()
        if not self.position.qty or last is None:
            return None
        sl_base, tp_base = book.price_by(sl_trigger_by), book.price_by(tp_trigger_by)
        return ProtectedPosition(
            book.instrument,
            self.position.qty,
            last,
            sl_base if sl_base is not None else last,
            tp_base if tp_base is not None else last,
            tuple(self.orders),
        )


class SymbolBook(ABC):
    """One symbol of the account. ``bars`` and ``quotes`` say where its prices come from."""

    def __init__(self, instrument: Instrument, leverage: Decimal, band: PriceBand) -> None:
        self.set_rules(instrument)
        self.band = band
        self.orders: dict[str, ExchangeOrder] = {}
        """Open orders by id, in order of priority."""
        self.slots = [PositionSlot(self, 0, leverage)]
        self.paid: deque[int] = deque(maxlen=_HISTORY_MAX)
        """Stamps of funding already paid."""

    def set_rules(self, instrument: Instrument) -> None:
        """Take the symbol's rules, or new ones."""
        self.instrument = instrument
        self.symbol = instrument.symbol
        self.tiers, self.tiers_rough = tier_rows(instrument.tiers)

    # Prices

    @abstractmethod
    def price(self) -> Decimal | None:
        """The last price, else a substitute; None before any price."""

    @abstractmethod
    def mark(self) -> Decimal | None:
        """The mark price, None before any."""

    @abstractmethod
    def index(self) -> Decimal | None:
        """The index price, None before any."""

    def mark_and_index(self) -> tuple[Decimal | None, Decimal | None]:
        """Mark and index price."""
        return self.mark(), self.index()

    @abstractmethod
    def mark_rough(self) -> float:
        """The price that margin is computed with, as a float; NaN before any price."""

    # What others offer

    @abstractmethod
    def has_offer(self, side: Side) -> bool:
        """Return True if an order of ``side`` could take something now."""

    @abstractmethod
    def best(self, side: Side) -> Decimal | None:
        """The best price that an order of ``side`` could take at now; None if nothing is offered."""

    @abstractmethod
    def crosses(self, order: ExchangeOrder) -> bool:
        """Return True if an order's limit reaches an offer."""

    @abstractmethod
    def offered(self, order: ExchangeOrder) -> Decimal:
        """The base quantity that an order can take at its limit or better."""

    @abstractmethod
    def take(self, order: ExchangeOrder, qty: Decimal) -> list[Level]:
        """Take up to ``qty`` for an order; return (price, base) of each part. Taken offers are gone."""

    @abstractmethod
    def base(self) -> Decimal | None:
        """The price without spread and impact, for the cost report; None if unknown."""

    @abstractmethod
    def take_at_market(self, side: Side, qty: Decimal) -> list[Level]:
        """Take up to ``qty`` at any price, for a liquidation: (price, base) of each part."""

    @abstractmethod
    def watch(self) -> None:
        """Recompute at which prices this symbol needs work; called after orders or positions changed."""

    def margin_watch(self) -> None:  # noqa: B027 (the quotes' book caches no range)
        """Follow a change of ``safe_low`` or ``safe_high`` of a slot."""

    def premium(self) -> Decimal:
        """Mean of mid − mark over the last 30 s; 0 where there is no book."""
        return ZERO

    def mark_or_price(self) -> Decimal | None:
        """The mark price, the last price before there is a mark."""
        mark = self.mark()
        return mark if mark is not None else self.price()

    def mark_at(self, ts_ms: int) -> Decimal | None:
        """The mark price at a past time, as far as this book remembers it; by default the present one."""
        return self.mark_or_price()

    def price_by(self, trigger_by: str) -> Decimal | None:
        """The price that triggers of a kind are compared with."""
        if trigger_by == "MarkPrice":
            return self.mark()
        return self.index() if trigger_by == "IndexPrice" else self.price()

    def bounds(self) -> Bounds:
        """The prices that limit orders may not go beyond."""
        mark = self.mark()
        if mark is None:
            return UNBOUNDED
        index = self.index()
        tick = self.instrument.tick_size
        return price_band.bounds(self.band, mark, index if index is not None else mark, self.premium(), tick)

    def banded(self, side: Side, price: Decimal) -> Decimal:
        """Return a limit price moved into the bounds."""
        return price_band.banded(side, price, self.bounds())

    def protective_price(self, order: ExchangeOrder) -> Decimal:
        """The limit of a market order that arrives now."""
        last = self.price()
        assert last is not None, "orders are refused before the first price"
        limits = UNBOUNDED if order.close_on_trigger else self.bounds()
        best = self.best(order.side) if order.slippage_type else None
        return price_band.protective_price(order, last, best, limits, self.instrument.tick_size)

    # Orders and positions

    @property
    def hedge(self) -> bool:
        """True in hedge mode: long and short are two positions."""
        return len(self.slots) > 1

    def slot(self, idx: int) -> PositionSlot | None:
        """The slot with this index; None if the position mode has no such slot."""
        first = self.slots[0]
        if first.idx == idx:
            return first
        return next((slot for slot in self.slots if slot.idx == idx), None)

    def slot_of(self, order: ExchangeOrder) -> PositionSlot:
        """The slot that an order belongs to."""
        slots = self.slots
        if len(slots) == 1:
            return slots[0]
        slot = self.slot(order.position_idx)
        assert slot is not None, "an order was checked against the position mode"
        return slot

    def prospective_qty(self, slot: PositionSlot) -> Decimal:
        """The signed position after all market orders under way; by default no order is ever under way."""
        return slot.position.qty

    def under_way(self, order: ExchangeOrder) -> bool:
        """Return True if an accepted order has not reached the book yet; by default always False."""
        return False

    def forget(self, order: ExchangeOrder) -> None:
        """Drop an order that has ended."""
        self.orders.pop(order.order_id, None)

    def resting(self) -> list[ExchangeOrder]:
        """Orders in the book, first come first."""
        return [order for order in self.orders.values() if order.status != "Untriggered"]

    @property
    def busy(self) -> bool:
        """True if there is an open order or position."""
        if self.orders:
            return True
        slots = self.slots
        return bool(slots[0].position.qty) or (len(slots) > 1 and bool(slots[1].position.qty))


def closing_order(
    slot: PositionSlot, order_id: str, qty: Decimal, create_type: str, ts_ms: int
) -> ExchangeOrder:
    """A reduce-only market order that the venue itself makes against a position."""
    return ExchangeOrder(
        order_id=order_id,
        link_id="",
        symbol=slot.book.symbol,
        side=slot.closing_side,
        order_type="Market",
        qty=qty,
        leaves_qty=qty,
        price=ZERO,
        time_in_force="IOC",
        position_idx=slot.idx,
        reduce_only=True,
        reduces=True,
        close_on_trigger=True,
        create_type=create_type,
        created_ms=ts_ms,
        updated_ms=ts_ms,
        last_price_on_created=slot.book.price() or ZERO,
    )
