"""A venue of this process as bytes and back: account, orders, prices and everything it remembers.

Each record has the fields of the class it is named after. What is missing there is an argument of the venue
or follows from the rest; ``LEFT_OUT`` says which. A snapshot is taken between two events, when the ledger has
published every match and no bar is walked.
"""

from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from bot.domain.errors import BadInput, BadUsage, Broken
from bot.domain.ledger import Cash, Position
from bot.domain.market import Bar, Instrument
from bot.domain.messages import FundingRate, VenueEffect
from bot.domain.snapshots import Real, overlay, record_of, seal, to_real, unseal
from bot.exchange.ids import NumberedIds
from bot.exchange.ledger.book import PositionSlot, SymbolBook
from bot.exchange.ledger.booking import Ledger, SimulationFacts
from bot.exchange.ledger.margin import MarginAccount
from bot.exchange.orders import ExchangeOrder, MarginMode
from bot.exchange.quotes.depth import Depth
from bot.exchange.quotes.past_marks import PastMarks
from bot.exchange.touch import Seen, Touch

if TYPE_CHECKING:  # the venues make their snapshots from these records
    from bot.exchange.bars.book import BarBook
    from bot.exchange.bars.exchange import BarExchange
    from bot.exchange.paper import PaperVenue
    from bot.exchange.quotes.book import QuoteBook
    from bot.exchange.quotes.exchange import QuoteExchange
    from bot.exchange.venue import BarVenue

PAPER_FORM = "bot-paper-venue-1"
BAR_FORM = "bot-bar-venue-1"
"""Names and versions of the two forms.

A new field needs a default that is right for older snapshots. A field that goes, or whose meaning changes,
needs a new number: older snapshots are then refused.
"""


class _Record(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of the records."""


class SlotRecord(_Record):
    """What ``PositionSlot`` holds."""

    idx: int
    leverage: Decimal
    position: Position
    added_quote: Decimal
    safe_low: Real
    safe_high: Real
    cum_realised: Decimal
    cur_realised: Decimal
    open_fees: Decimal
    created_ms: int
    updated_ms: int
    opened_ms: int
    seq: int
    ended: bool
    changes: list[tuple[int, Decimal]]


class BookRecord(_Record):
    """What both books hold; ``orders`` in order of priority."""

    instrument: Instrument
    orders: list[ExchangeOrder]
    slots: list[SlotRecord]
    paid: list[int]


class QuoteBookRecord(BookRecord):
    """What ``QuoteBook`` holds."""

    depth: Depth
    last: Decimal | None
    marks: list[tuple[int, Decimal, Decimal, Decimal]]
    past: PastMarks
    wakes: bool
    trade_low: Decimal | None
    trade_high: Decimal | None
    quote_low: Decimal | None
    quote_high: Decimal | None
    _mark: Decimal | None
    _mark_rough: Real
    _index: Decimal | None


class BarBookRecord(BookRecord):
    """What ``BarBook`` holds."""

    last: Bar | None
    first_price: Decimal | None
    next_ms: int
    pending: dict[str, int]
    cancels: dict[str, int]
    marked: bool
    mark_ms: int
    mark_price: Real
    mark_seen: dict[int, Bar]
    due: list[FundingRate]
    trade_low: Real
    trade_high: Real
    safe_low: Real
    safe_high: Real
    calm_low: Real
    calm_high: Real
    pace: list[tuple[Real, int]] = []


class AccountRecord(_Record):
    """What ``MarginAccount`` holds; slots by their keys."""

    cash: Cash
    mode: MarginMode
    active: list[str]
    held: list[str]


class LedgerRecord(_Record):
    """What ``Ledger`` holds; ``_ids`` is how many ids were made."""

    facts: SimulationFacts
    seq: int
    _ids: int


class ReportsRecord(_Record):
    """What ``VenueReports`` holds."""

    _asked: dict[str, Decimal]
    _levels: dict[str, tuple[Decimal | None, Decimal | None]]
    _told: dict[str, tuple[Decimal | None, Decimal | None]]
    _trails: dict[str, Decimal] = {}
    _told_trails: dict[str, Decimal] = {}


class QuoteExchangeRecord(_Record):
    """What ``QuoteExchange`` holds."""

    account: AccountRecord
    _ledger: LedgerRecord
    _books: list[QuoteBookRecord]
    _links: dict[str, str]


class BarExchangeRecord(_Record):
    """What ``BarExchange`` holds."""

    account: AccountRecord
    _ledger: LedgerRecord
    _books: list[BarBookRecord]
    _links: dict[str, str]
    _market_ms: int


class TouchRecord(_Record):
    """What ``Touch`` holds; ``seen`` is high, low and volume of the open candle."""

    acted_ms: int
    quoted_ms: int
    left: Decimal
    marked: bool
    start_ms: int
    seen: tuple[Real, Real, Real]


class PaperRecord(_Record):
    """What ``PaperVenue`` holds."""

    exchange: QuoteExchangeRecord
    _reports: ReportsRecord
    _now_ms: int
    _under_way: list[tuple[int, VenueEffect]]
    _touches: dict[str, TouchRecord]


class BarVenueRecord(_Record):
    """What ``BarVenue`` holds."""

    exchange: BarExchangeRecord
    _reports: ReportsRecord


_ARGUMENT = "an argument of the venue"
_RULES = "follows from the instrument"
_OTHERS = "refers to other parts"
_MATCH = "empty between two matches, which is checked"
_POSITION = "follows from the position"
LEFT_OUT: dict[str, dict[str, str]] = {
    "PositionSlot": {
        "book": _OTHERS,
        "key": "follows from symbol and index",
        "size": _POSITION,
        "entry": _POSITION,
        "exit_fee": _POSITION,
    },
    "QuoteBook": {"symbol": _RULES, "tiers": _RULES, "tiers_rough": _RULES, "band": _ARGUMENT},
    "BarBook": {
        "symbol": _RULES,
        "tiers": _RULES,
        "tiers_rough": _RULES,
        "band": _ARGUMENT,
        "terms": _ARGUMENT,
        "spread_frac": _ARGUMENT,
        "mark_bars": _ARGUMENT,
        "walk": "None between two events, which is checked",
    },
    "MarginAccount": {"taker_frac": _ARGUMENT, "_taker_rough": _ARGUMENT},
    "Ledger": {
        "executed": _MATCH,
        "touched": _MATCH,
        "_moved": _MATCH,
        "_orders": _MATCH,
        "_executions": _MATCH,
        "_emitted": _MATCH,
        "_for_client": _ARGUMENT,
        "_terms": _ARGUMENT,
        "_account": _OTHERS,
        "_books": _OTHERS,
    },
    "VenueReports": {"_exchange": _OTHERS},
    "QuoteExchange": {
        "terms": _ARGUMENT,
        "_bands": _ARGUMENT,
        "_protection": _OTHERS,
        "_matching": _OTHERS,
        "_liquidator": _OTHERS,
        "_settings": _OTHERS,
    },
    "BarExchange": {
        "terms": _ARGUMENT,
        "_seed": _ARGUMENT,
        "_detail": _ARGUMENT,
        "_mark_bars": _ARGUMENT,
        "_queues": _ARGUMENT,
        "_protection": _OTHERS,
        "_matching": _OTHERS,
        "_liquidator": _OTHERS,
        "_settings": _OTHERS,
    },
    "Touch": {},
    "PaperVenue": {"terms": _ARGUMENT, "_stale_ms": _ARGUMENT},
    "BarVenue": {},
}
"""Fields that are not in a snapshot, and why. A test allows no others."""


# The two venues


def of_paper(venue: "PaperVenue") -> bytes:
    """Return a paper venue as a snapshot."""
    exchange = venue.exchange
    touches = {
        symbol: record_of(
            TouchRecord,
            touch,
            seen=(to_real(touch.seen.high), to_real(touch.seen.low), to_real(touch.seen.volume)),
        )
        for symbol, touch in venue._touches.items()
    }
    record = record_of(
        PaperRecord,
        venue,
        exchange=record_of(QuoteExchangeRecord, exchange, **_parts(exchange, QuoteBookRecord)),
        _reports=record_of(ReportsRecord, venue._reports),
        _touches=touches,
    )
    return seal(PAPER_FORM, record)


def restore_paper(venue: "PaperVenue", body: bytes, *, moves: bool) -> None:
    """Put a snapshot onto a new paper venue; see ``InnerVenue``."""
    record = unseal(PAPER_FORM, body, PaperRecord)
    (_move_exchange if moves else _restore_exchange)(venue.exchange, record.exchange)
    overlay(record._reports, venue._reports)
    overlay(record, venue, apart=("exchange", "_reports", "_touches"))
    for symbol, kept in record._touches.items():
        if symbol not in venue.exchange.symbols:
            continue
        touch = venue._touches.setdefault(symbol, Touch())
        overlay(kept, touch, apart=("seen",))
        touch.seen = Seen(*map(float, kept.seen))


def of_bars(venue: "BarVenue") -> bytes:
    """Return a bar venue as a snapshot."""
    exchange = venue.exchange
    if any(book.walk is not None for book in exchange._books.values()):
        raise Broken("a snapshot of a venue was asked for while a bar was walked")
    record = BarVenueRecord(
        exchange=record_of(BarExchangeRecord, exchange, **_parts(exchange, BarBookRecord)),
        _reports=record_of(ReportsRecord, venue._reports),
    )
    return seal(BAR_FORM, record)


def restore_bars(venue: "BarVenue", body: bytes, *, moves: bool) -> None:
    """Put a snapshot onto a new bar venue; see ``InnerVenue``."""
    record = unseal(BAR_FORM, body, BarVenueRecord)
    (_move_exchange if moves else _restore_exchange)(venue.exchange, record.exchange)
    venue.exchange._market_ms = record.exchange._market_ms
    overlay(record._reports, venue._reports)


# Their exchange


def _parts(
    exchange: "QuoteExchange | BarExchange", kind: type[QuoteBookRecord] | type[BarBookRecord]
) -> dict[str, object]:
    account: MarginAccount = exchange.account
    return {
        "account": record_of(AccountRecord, account, active=list(account.active), held=list(account.held)),
        "_ledger": _ledger_record(exchange._ledger),
        "_books": [_book_record(kind, book) for book in exchange._books.values()],
        "_links": exchange._links,
    }


def _ledger_record(ledger: Ledger) -> LedgerRecord:
    collected = (ledger.touched, ledger.executed, ledger._orders, ledger._executions, ledger._emitted)
    if any(collected) or ledger._moved:
        raise Broken("a snapshot of a venue was asked for inside a match")
    if not isinstance(ledger._ids, NumberedIds):
        raise BadUsage("a venue whose ids are the caller's has no snapshot: nobody can say which come next")
    return record_of(LedgerRecord, ledger, _ids=ledger._ids.made)


def _book_record(kind: type[QuoteBookRecord] | type[BarBookRecord], book: SymbolBook) -> BookRecord:
    given: dict[str, object] = {
        "orders": list(book.orders.values()),
        "slots": [record_of(SlotRecord, slot, changes=list(slot.changes)) for slot in book.slots],
        "paid": list(book.paid),
    }
    if kind is QuoteBookRecord:
        given["marks"] = list(book.marks)  # type: ignore[attr-defined]
    else:
        bars = book.pace.bars  # type: ignore[attr-defined]
        given["pace"] = [(to_real(volume), length_ms) for volume, length_ms in bars]
    return record_of(kind, book, **given)


def _restore_exchange(
    exchange: "QuoteExchange | BarExchange", record: QuoteExchangeRecord | BarExchangeRecord
) -> None:
    """Put a record onto an exchange that has seen nothing yet.

    Raises:
        BadInput: the exchange has a symbol that the record does not have. Symbols that only the record has
            came later, by ``InstrumentChanged``, and are added.
    """
    kept = {each.instrument.symbol: each for each in record._books}
    missing = [symbol for symbol in exchange.symbols if symbol not in kept]
    if missing:
        raise BadInput(f"the snapshot is of {_names(kept)}; this venue also has {_names(missing)}")
    for symbol, each in kept.items():
        if symbol not in exchange._books:
            exchange._add(each.instrument)
    books = {symbol: exchange._books[symbol] for symbol in kept}
    exchange._books.clear()  # in the order of the record: liquidation goes through them in this order
    exchange._books.update(books)  # type: ignore[arg-type]
    for symbol, each in kept.items():
        books[symbol].set_rules(each.instrument)
        _restore_book(books[symbol], each)
    _restore_money(exchange, record)
    exchange.account.mode = record.account.mode


def _move_exchange(
    exchange: "QuoteExchange | BarExchange", record: QuoteExchangeRecord | BarExchangeRecord
) -> None:
    """Put the account of a record onto an exchange with other symbols, rules, leverage or margin mode.

    A symbol that only the record has is added if it holds a position or an order, else it is left behind.
    """
    for each in record._books:
        symbol = each.instrument.symbol
        if symbol not in exchange._books:
            if not each.orders and not any(slot.position.qty for slot in each.slots):
                continue
            exchange._add(each.instrument)
        book = exchange._books[symbol]
        leverage = book.slots[0].leverage
        _restore_book(book, each)
        for slot in book.slots:
            slot.leverage = leverage
    _restore_money(exchange, record)
    exchange._ledger.watch([slot for book in exchange._books.values() for slot in book.slots])


def _restore_money(
    exchange: "QuoteExchange | BarExchange", record: QuoteExchangeRecord | BarExchangeRecord
) -> None:
    """Put back cash, counters and what belongs to no single symbol, once the books are there."""
    exchange._links = record._links
    overlay(record._ledger, exchange._ledger, apart=("_ids",))
    ids = exchange._ledger._ids
    if not isinstance(ids, NumberedIds):
        raise BadUsage("a venue whose ids are the caller's cannot be restored")
    ids.made = record._ledger._ids
    _restore_account(exchange.account, record.account, exchange._books.values())


def _restore_book(book: "QuoteBook | BarBook", record: QuoteBookRecord | BarBookRecord) -> None:
    book.orders = {order.order_id: order for order in record.orders}
    book.slots = [_restored_slot(book, each) for each in record.slots]
    book.paid = deque(record.paid, maxlen=book.paid.maxlen)
    if isinstance(record, QuoteBookRecord):
        marks = book.marks  # type: ignore[union-attr]
        marks.clear()
        marks.extend(record.marks)
    else:
        bars = [(float(volume), length_ms) for volume, length_ms in record.pace]
        book.pace.bars = bars  # type: ignore[union-attr]
    overlay(record, book, apart=("instrument", "orders", "slots", "paid", "marks", "pace"))


def _restored_slot(book: SymbolBook, record: SlotRecord) -> PositionSlot:
    slot = PositionSlot(book, record.idx, record.leverage)
    overlay(record, slot, apart=("idx", "leverage", "changes"))
    slot.changes.extend(record.changes)
    return slot


def _restore_account(account: MarginAccount, record: AccountRecord, books: Iterable[SymbolBook]) -> None:
    slots = {slot.key: slot for book in books for slot in book.slots}
    unknown = {*record.active, *record.held} - set(slots)
    if unknown:
        raise BadInput(f"the snapshot has positions in {_names(unknown)}, which it has no books for")
    account.cash = record.cash
    for slot in slots.values():
        account.revalue(slot)
    account.active = {key: slots[key] for key in record.active}
    account.held = {key: slots[key] for key in record.held}


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
