"""Lines of the journal: what was written is read, what was torn is cut, what was changed is refused."""

import math
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.account import AccountSnapshot, Holding
from bot.domain.messages import (
    Command,
    Effect,
    Event,
    Filled,
    FundingPaid,
    FundingRate,
    InstrumentChanged,
    Line,
    LinkDown,
    MarkPrice,
    OrderRejected,
    PlaceOrder,
    ProcessStarted,
    Quote,
    RejectCause,
    RiskChanged,
    SetStops,
    StartHalt,
    StopsChanged,
    Synced,
    Verdict,
)
from bot.domain.orders import Approved, Refused
from bot.journal.entries import (
    EVENTS,
    Answer,
    Closed,
    Effects,
    Entry,
    Header,
    Marked,
    Quarantined,
    decode,
    encode,
)
from bot.journal.lines import Damaged, check_lines, line_of, read_lines
from tests.helpers import T0, bar, closed, fill, instrument, intent

EVENT_EXAMPLES: list[Event] = [
    closed(bar(0)),
    Quote(T0, "BTCUSDT", 1.0, 2.0),
    MarkPrice(T0, "BTCUSDT", 1e-7),
    FundingRate(T0, "BTCUSDT", Decimal("0.0001")),
    InstrumentChanged(T0, instrument()),
    LinkDown(T0, Line.FEED),
    Command(T0, "flatten"),
    ProcessStarted(T0, 3, (StartHalt("poison", "entry 7"),)),
    Filled(fill()),
    FundingPaid(T0, "BTCUSDT", Decimal("-1.5")),
    OrderRejected(T0, "bot1-2-0", 110007, "no money", RejectCause.VENUE),
    StopsChanged(T0, "BTCUSDT", Decimal(90), None),
    Synced(T0, AccountSnapshot(Decimal(1), (Holding("BTCUSDT", Decimal(1), Decimal(2)),)), first=True),
]
EFFECTS: tuple[Effect, ...] = (
    Verdict(T0, Approved(intent())),
    Verdict(T0, Refused(intent(), "cold")),
    PlaceOrder("bot1-1-0", Approved(intent())),
    SetStops("BTCUSDT", Decimal(90), None),
    RiskChanged(T0, "halted", "operator"),
)
ENTRIES: list[Entry] = [
    Header(
        format=1, account="paper-1", segment=1, process=1, ts_ms=T0, code="0", arguments=msgspec.Raw(b"{}")
    ),
    *EVENT_EXAMPLES,
    Answer(Filled(fill())),
    Effects(EFFECTS),
    Marked(T0, 1.0, None, "ab", {"BTCUSDT": ("0x1p+0",)}),
    Quarantined(1, 2, "KeyError: 'x'"),
    Closed(T0, "stopped", "SIGTERM"),
]


def written(entries: list[Entry], crc: int = 0, number: int = 1) -> bytes:
    lines = []
    for index, entry in enumerate(entries):
        line, crc = line_of(encode(entry), number + index, crc)
        lines.append(line)
    return b"".join(lines)


def read(data: bytes) -> list[Entry]:
    """What is in the lines; a check without reading must come to the same end."""
    found = list(read_lines(data, 0, 1))
    assert check_lines(data, 0, 1) == ((found[-1].number, found[-1].crc) if found else (0, 0))
    return [each.entry for each in found]


@pytest.mark.parametrize("entry", ENTRIES[1:], ids=lambda entry: type(entry).__name__)
def test_every_kind_is_read_as_it_was_written(entry: Entry) -> None:
    assert decode(encode(entry)) == entry


def test_every_kind_of_event_is_known_to_the_journal() -> None:
    assert set(EVENTS) == set(Event.__args__)


@given(st.floats(), st.floats(allow_nan=False))
def test_a_price_that_is_not_a_number_is_kept_as_it_came(one: float, two: float) -> None:
    kept = decode(encode(Quote(T0, "BTCUSDT", one, two)))
    assert isinstance(kept, Quote)
    assert kept.bid == one or math.isnan(kept.bid) is math.isnan(one)
    assert kept.ask == two


def test_cut_at_every_byte_of_the_last_line_the_entry_is_there_or_not() -> None:
    data = written(ENTRIES)
    last = data[:-1].rfind(b"\n") + 1
    for cut in range(last, len(data)):
        whole = cut == len(data) - 1  # without its line end it is still all there
        assert len(read(data[:cut])) == len(ENTRIES) - (0 if whole else 1), cut
        assert len(read(data[:cut] + b"\0" * 100)) == len(ENTRIES) - (0 if whole else 1), cut


@pytest.mark.fault(62)
@pytest.mark.invariant(15)
def test_every_flipped_bit_anywhere_is_refused() -> None:
    data = written(ENTRIES[1:8])
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            with pytest.raises(Damaged):
                read(bytes(changed))
            with pytest.raises(Damaged):
                check_lines(bytes(changed), 0, 1)


@pytest.mark.surface("journal")
@pytest.mark.parametrize("change", ["left out", "twice", "swapped"])
def test_a_line_left_out_repeated_or_moved_is_refused(change: str) -> None:
    lines = written(ENTRIES[1:6]).splitlines(keepends=True)
    changed = {
        "left out": [*lines[:2], *lines[3:]],
        "twice": [*lines[:2], lines[1], *lines[2:]],
        "swapped": [lines[0], lines[2], lines[1], *lines[3:]],
    }[change]
    with pytest.raises(Damaged, match=r"line [23]"):
        read(b"".join(changed))


def test_lines_of_another_journal_are_refused() -> None:
    with pytest.raises(Damaged, match="line 1"):
        read(written(ENTRIES[1:3], crc=5))
    with pytest.raises(Damaged, match="entry 1 was expected"):
        read(written(ENTRIES[1:3], number=2))


def test_an_entry_of_a_later_version_is_refused_by_its_line() -> None:
    line, _ = line_of(b'{"type":"Wormhole"}', 1, 0)
    with pytest.raises(Damaged, match=r"line 1 \(byte 0\): written by another version"):
        read(line)
