"""``bot help events``: what enters the engine, what leaves it, and what else stands in a journal."""

from collections.abc import Iterable
from typing import get_args

from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import fields_line, first_words
from bot.domain.messages import Effect, Event
from bot.journal.entries import Entry as JournalEntry
from bot.journal.rows import EquityRow, EventRow, FillRow, FundingRow, OrderRow
from bot.metrics import Trade

EVENTS: tuple[type, ...] = get_args(Event)
EFFECTS: tuple[type, ...] = get_args(Effect)
OTHERS = tuple(kind for kind in get_args(JournalEntry) if kind not in EVENTS)
ROWS: dict[str, type] = {
    "trades": Trade,
    "fills": FillRow,
    "orders": OrderRow,
    "equity": EquityRow,
    "funding": FundingRow,
    "events": EventRow,
}
"""Name after ``--what`` → its row."""


def page() -> Page:
    """Return every kind of entry with its fields."""
    return Page(
        "events",
        "The journal is a list of checksummed JSON lines; `type` names the kind of each. Every event is "
        "written before the engine handles it, and every effect before it leaves. Units stand in the names: "
        "_ms is milliseconds since 1970 (UTC), _quote is USDT, _frac is a fraction of 1. `bot journal show` "
        "reads them, `bot journal export --what` writes rows.",
        [
            Section("What enters the engine", _entries(EVENTS)),
            Section("What leaves the engine", _entries(EFFECTS)),
            Section("What else stands in a journal", _entries(OTHERS)),
            Section(
                "Rows of `bot journal export --what`",
                [_entry(name, row) for name, row in ROWS.items()],
                "Prices, quantities and money are exact; equity is a float.",
            ),
        ],
    )


def _entries(kinds: Iterable[type]) -> list[Entry]:
    return [_entry(kind.__name__, kind) for kind in kinds]


def _entry(name: str, kind: type) -> Entry:
    fields = fields_line(kind)
    return Entry(name, first_words(kind), {"fields": fields} if fields else {})
