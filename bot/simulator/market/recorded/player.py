"""Reads a recording in order and hands out its frames, a little ahead of the market's time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from bot.adapters.recordings.files import RecordedFile, last_rows, recording_files
from bot.adapters.recordings.rows import (
    FORMAT,
    FRAME,
    MARK,
    STATE,
    Back,
    Begin,
    End,
    Lost,
    Missed,
    Row,
    Rules,
)
from bot.bybit.decode import explain
from bot.domain.errors import BadFile, BadUsage
from bot.domain.market import Instrument

AHEAD_MS = 3_000
"""Frames are read so long before their time: a candle is confirmed after its end, and belongs to it."""


class Head(msgspec.Struct):
    """What every frame has."""

    topic: str
    ts: int


_heads = msgspec.json.Decoder(Head)


class Hearer(Protocol):
    """A symbol of the recording."""

    def hear(self, head: Head, text: bytes, *, made: bool) -> None:
        """Take a frame ahead of its time; ``made``: a snapshot that the recorder made where a file begins."""

    def lose(self, ts_ms: int, topics: tuple[str, ...]) -> None:
        """Nothing is known of these topics from ``ts_ms`` on, until their next snapshot."""


class Contents(msgspec.Struct, frozen=True):
    """What a recording holds. Times are the exchange's, in ms."""

    folder: Path
    files: tuple[Path, ...]
    symbols: tuple[str, ...]
    topics: tuple[str, ...]
    rules: dict[str, Instrument]
    first_ms: int
    last_ms: int


def contents(folder: Path) -> Contents:
    """Look into a recording: the first rows of each file, and the last.

    Raises:
        BadFile: no recording, one without frames, or one of another version.
    """
    files = recording_files(folder)
    symbols, topics, rules = dict[str, None](), dict[str, None](), dict[str, Instrument]()
    for path in files:
        for row in RecordedFile(path):
            match row.mark() if row.sort == MARK else None:
                case Begin() as begin:
                    if begin.format != FORMAT:
                        raise BadFile(f"{path}: format {begin.format}; this version reads {FORMAT}")
                    symbols |= dict.fromkeys(begin.symbols)
                    topics |= dict.fromkeys(begin.topics)
                case Rules(instruments):
                    rules |= {each.symbol: each for each in instruments}
                case _:
                    break
    stamps = _first_ms(files), _last_ms(files)
    if stamps[0] is None or stamps[1] is None:
        raise BadFile(f"{folder}: no recording with frames there; `bot record --out {folder}` makes one")
    return Contents(folder, tuple(files), tuple(symbols), tuple(topics), rules, stamps[0], stamps[1])


def _first_ms(files: list[Path]) -> int | None:
    return next(
        (_head(path, row).ts for path in files for row in RecordedFile(path) if row.sort == FRAME), None
    )


def _last_ms(files: list[Path]) -> int | None:
    for path in reversed(files):
        stamps = [_head(path, row).ts for row in last_rows(path) if row.sort == FRAME]
        if stamps:
            return max(stamps)
    return None


def _head(path: Path, row: Row) -> Head:
    try:
        return _heads.decode(row.text)
    except msgspec.DecodeError as error:
        raise BadFile(f"{path}: a frame that cannot be read: {explain(error)}") from error


class Player:
    """Plays a recording once, from its beginning.

    ``hearers``: the symbols by name; frames of other symbols are passed over.
    """

    def __init__(self, of: Contents) -> None:
        self.of = of
        self.hearers: Mapping[str, Hearer] = {}
        self._rows = _all_rows(of.files)
        self._read_ms = 0
        """The highest time of the frames that were handed out."""
        self._ahead_us = 0
        """How far the recorder's clock was ahead of the exchange's at the last frame, travel included."""
        self._done = False

    def play(self, to_ms: int) -> None:
        """Hand out what was recorded up to ``AHEAD_MS`` after ``to_ms``.

        Raises:
            BadFile: a damaged file.
        """
        until_ms = to_ms + AHEAD_MS
        while not self._done and self._read_ms <= until_ms:
            step = next(self._rows, None)
            if step is None:
                self._done = True
                return
            self._give(*step)

    def _give(self, path: Path, row: Row) -> None:
        if row.sort == MARK:
            self._mark(row)
            return
        head = _head(path, row)
        hearer = self.hearers.get(head.topic.rpartition(".")[2])
        if row.sort == FRAME:
            self._read_ms = max(self._read_ms, head.ts)
            self._ahead_us = row.received_us - head.ts * 1000
        if hearer is not None:
            hearer.hear(head, row.text, made=row.sort == STATE)

    def _mark(self, row: Row) -> None:
        match row.mark():
            case Lost(topics):
                self._lose(topics, row)
            case Missed(topic):
                self._lose((topic,), row)
            case Begin(topics=topics, part=1):  # another process recorded from here on
                self._lose(topics, row)
            case Begin() | Rules() | Back() | End():
                pass

    def _lose(self, topics: tuple[str, ...], row: Row) -> None:
        """Tell the symbols; a mark has no time of the exchange, so it is estimated."""
        ts_ms = max(self._read_ms, (row.received_us - self._ahead_us) // 1000)
        for symbol, hearer in self.hearers.items():
            gone = tuple(topic for topic in topics if topic.rpartition(".")[2] == symbol)
            if gone:
                hearer.lose(ts_ms, gone)


def _all_rows(files: tuple[Path, ...]) -> Iterator[tuple[Path, Row]]:
    for path in files:
        for row in RecordedFile(path):
            yield path, row


def check_topics(of: Contents, symbol: str) -> None:
    """Refuse a symbol that orders cannot be matched for.

    Raises:
        BadUsage: no order book, or no trades, was recorded.
    """
    books = [topic for topic in of.topics if topic.startswith("orderbook.") and topic.endswith(f".{symbol}")]
    lacks = [] if books else ["order book"]
    lacks += [] if f"publicTrade.{symbol}" in of.topics else ["trades"]
    if lacks:
        raise BadUsage(
            f"--data {of.folder}: holds no {' and no '.join(lacks)} of {symbol}; an exchange needs both, "
            "record them with `bot record --topics kline,trades,book,tickers`"
        )
