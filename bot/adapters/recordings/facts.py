"""Facts about a recording: what it holds, how much of the time, and where something is missing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bot.adapters.recordings.files import RecordedFile, recording_files
from bot.adapters.recordings.rows import FORMAT, FRAME, MARK, Back, Begin, End, Lost, Missed, Row, Rules
from bot.bybit.codes import printable
from bot.domain.errors import BadFile

KILLED = "the recorder was killed"


class _Head(msgspec.Struct):
    topic: str = ""


_heads = msgspec.json.Decoder(_Head)


@dataclass(frozen=True)
class Span:
    """A time without some frames, in local µs; ``to_us`` None: until the end of the recording."""

    from_us: int
    to_us: int | None
    topics: tuple[str, ...]
    reason: str


@dataclass(kw_only=True)
class RecordingFacts:
    """Facts about one folder."""

    folder: str
    files: int = 0
    bytes: int = 0
    """On the disk, compressed."""
    frames: int = 0
    first_us: int | None = None
    last_us: int | None = None
    symbols: tuple[str, ...] = ()
    topics: dict[str, int] = field(default_factory=dict)
    """Frames by topic."""
    gaps: list[Span] = field(default_factory=list)
    torn_bytes: int = 0
    """Cut off by kills; nothing that was on the disk before is lost by it."""
    clock_steps: int = 0
    """How often this machine's clock went back."""
    problems: list[str] = field(default_factory=list)


def recording_facts(folder: Path) -> RecordingFacts:
    """Read a whole recording. A file that is damaged is a problem; the others are read on.

    Raises:
        BadFile: the folder holds no recording.
    """
    paths = recording_files(folder)
    if not paths:
        raise BadFile(f"{folder}: no recording there; `bot record --out {folder}` makes one")
    return _Reader(folder).read(paths)


class _Reader:
    """Goes through the rows once."""

    def __init__(self, folder: Path) -> None:
        self._facts = RecordingFacts(folder=str(folder))
        self._topics: Counter[str] = Counter()
        self._lost: dict[str, tuple[int, str]] = {}
        """Topics that are missing now: since when, and why."""
        self._all: tuple[str, ...] = ()
        self._ended: tuple[int, str] | None = None
        """When and why the last process ended, as far as it said so."""

    def read(self, paths: Sequence[Path]) -> RecordingFacts:
        facts = self._facts
        for path in paths:
            file = RecordedFile(path)
            try:
                for row in file:
                    self._row(row)
            except (BadFile, msgspec.DecodeError) as error:
                facts.problems.append(str(error) if isinstance(error, BadFile) else f"{path}: {error}")
                self._lose(self._all, facts.last_us or 0, "the file is damaged")
            facts.files += 1
            facts.bytes += path.stat().st_size
            facts.torn_bytes += file.torn_bytes
        self._find(tuple(self._lost), None)
        facts.topics = dict(sorted(self._topics.items()))
        facts.gaps.sort(key=lambda gap: gap.from_us)
        return facts

    def _row(self, row: Row) -> None:
        facts = self._facts
        facts.first_us = row.received_us if facts.first_us is None else facts.first_us
        if row.sort == FRAME:
            facts.frames += 1
            self._topics[_topic_of(row.text)] += 1
        elif row.sort == MARK:
            self._mark(row)
        facts.clock_steps += facts.last_us is not None and row.received_us < facts.last_us
        facts.last_us = row.received_us

    def _mark(self, row: Row) -> None:
        match row.mark():
            case Begin() as begin:
                self._begin(begin, row.received_us)
            case Lost(topics, reason):
                self._lose(topics, row.received_us, reason)
            case Back(topics):
                self._find(topics, row.received_us)
            case Missed(topic, after, before):
                self._lose((topic,), row.received_us, f"frames {after + 1} to {before - 1} are missing")
            case End(reason):
                self._ended = row.received_us, reason
            case Rules():
                pass

    def _begin(self, begin: Begin, now_us: int) -> None:
        facts = self._facts
        if begin.format != FORMAT:
            raise BadFile(
                f"{facts.folder}: format {begin.format} is not known to this version, which reads {FORMAT}"
            )
        facts.symbols = tuple(sorted({*facts.symbols, *begin.symbols}))
        self._all = begin.topics
        if begin.part == 1 and facts.last_us is not None:  # another process: nothing came between the two
            ended_us, why = self._ended or (facts.last_us, KILLED)
            self._lose(begin.topics, ended_us, f"the recorder was {why}" if self._ended else why)
        self._ended = None

    def _lose(self, topics: Sequence[str], now_us: int, reason: str) -> None:
        for topic in topics:
            self._lost.setdefault(topic, (now_us, reason))

    def _find(self, topics: Sequence[str], now_us: int | None) -> None:
        """Report topics that were missing and are there again; None: they are missing until the end."""
        found: dict[tuple[int, str], list[str]] = {}
        for topic in topics:
            if topic in self._lost:
                found.setdefault(self._lost.pop(topic), []).append(topic)
        for (since_us, reason), names in found.items():
            self._facts.gaps.append(Span(since_us, now_us, tuple(names), printable(reason, 120)))


def _topic_of(text: bytes) -> str:
    try:
        return _heads.decode(text).topic
    except msgspec.DecodeError:
        return ""


def missing_s(gaps: Sequence[Span], last_us: int | None) -> float:
    """Return the seconds in which at least one topic is missing."""
    total, until = 0, 0
    for since, to in sorted(
        (gap.from_us, gap.to_us if gap.to_us is not None else last_us or 0) for gap in gaps
    ):
        total += max(0, to - max(since, until))
        until = max(until, to)
    return total / 1e6
