"""A recording made ready to be an exchange's market: its symbols, their rules, its first and last moment."""

from collections.abc import Mapping
from decimal import Decimal
from itertools import islice
from pathlib import Path

import msgspec

from bot.adapters.files.shipped import instruments as shipped_instruments
from bot.adapters.files.shipped import read_instruments
from bot.adapters.recordings.files import RecordedFile
from bot.adapters.recordings.rows import FRAME, STATE
from bot.bybit.public import INTERVALS_MS
from bot.domain.errors import BadUsage
from bot.domain.market import MINUTE_MS, Instrument, interval_name
from bot.domain.words import utc_words
from bot.simulator.market.candle_trades import Contract
from bot.simulator.market.invented import rules_for
from bot.simulator.market.recorded.player import Contents, Player, check_topics, contents
from bot.simulator.market.recorded.symbol import RecordedSymbol
from bot.simulator.market.recorded.tape import RecordedTape
from bot.simulator.market.symbol import MarketSymbol
from bot.simulator.market.tape import FileTape, MarketTape

_LOOKED_AT = 200_000
"""Rows at the beginning that are searched for a first price of each symbol."""


class _Book(msgspec.Struct):
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _BookFrame(msgspec.Struct):
    topic: str
    data: _Book


_books = msgspec.json.Decoder(_BookFrame)


class RecordingReplay:
    """One recording: its tapes, and the symbols that play it.

    Args:
        of: what the recording holds.
        rules: by symbol.
        prices: a first price by symbol.
        settles: whether funding settles.
    """

    def __init__(
        self, of: Contents, rules: Mapping[str, Instrument], prices: Mapping[str, float], *, settles: bool
    ) -> None:
        self.symbols = of.symbols
        self._of = of
        self._rules = rules
        self._prices = prices
        self._settles = settles
        self._player = Player(of)
        self._made: dict[str, RecordedSymbol] = {}

    def begin_at(self, start_ms: int | None) -> int:
        """Return the moment at which the exchange begins: ``start_ms``, else the recording's first.

        Raises:
            BadUsage: the recording does not hold it.
        """
        of = self._of
        if start_ms is None:
            return of.first_ms
        if not of.first_ms <= start_ms < of.last_ms:
            raise BadUsage(
                f"--start {utc_words(start_ms)}: {of.folder} covers {utc_words(of.first_ms)} to "
                f"{utc_words(of.last_ms)}; choose a time in it"
            )
        return start_ms

    def tapes(self, before: Mapping[str, FileTape]) -> list[MarketTape]:
        """Return a tape for each symbol; ``before`` are candles from files.

        Raises:
            BadUsage: candles of another length than the recorded ones.
        """
        found: list[MarketTape] = []
        for symbol in self.symbols:
            interval_ms, file = self._interval_ms(symbol), before.get(symbol)
            if file is not None and file.interval_ms != interval_ms:
                raise BadUsage(
                    f"--data: candles of {symbol} are {interval_name(file.interval_ms)}, the recorded ones "
                    f"{interval_name(interval_ms)}; give candles of {interval_name(interval_ms)}"
                )
            of = self._of
            found.append(RecordedTape(self._rules[symbol], interval_ms, of.first_ms, of.last_ms, file))
        return found

    def make(self, tape: MarketTape, contract: Contract, number: int) -> MarketSymbol | None:
        """Return the symbol of one of our tapes; None for a tape of others."""
        if not isinstance(tape, RecordedTape):
            return None
        topics = tuple(topic for topic in self._of.topics if topic.rpartition(".")[2] == tape.symbol)
        made = RecordedSymbol(
            tape, contract, number, topics, self._player, self._prices[tape.symbol], settles=self._settles
        )
        self._made[tape.symbol] = made
        return made

    def begin(self, start_ms: int) -> None:
        """Play up to ``start_ms``: whoever connects then finds the books of that moment.

        Raises:
            BadFile: a damaged file.
        """
        self._player.hearers = self._made
        for symbol in self._made.values():
            symbol.advance(start_ms)
            symbol.frames(start_ms)

    def _interval_ms(self, symbol: str) -> int:
        """Return the length of the shortest recorded candles; a minute where trades make them."""
        names = [topic.split(".")[1] for topic in self._of.topics if topic.startswith("kline.")]
        of_symbol = [name for name in names if f"kline.{name}.{symbol}" in self._of.topics]
        return min((INTERVALS_MS[name] for name in of_symbol if name in INTERVALS_MS), default=MINUTE_MS)


def open_replay(folder: Path, instruments: Path | None, *, settles: bool) -> RecordingReplay:
    """Look into a recording and find its rules: those of a file, the recorded, or the shipped ones.

    Raises:
        BadFile: no recording, or a damaged one.
        BadUsage: it lacks what an exchange needs.
    """
    of = contents(folder)
    for symbol in of.symbols:
        check_topics(of, symbol)
    ladders = _first_books(of)
    absent = [symbol for symbol in of.symbols if symbol not in ladders]
    if absent:
        raise BadUsage(f"--data {folder}: no order book of {', '.join(absent)} has come; record for longer")
    given = read_instruments(instruments) if instruments is not None else {}
    known = {**shipped_instruments(), **of.rules, **given}
    prices = {symbol: float(levels[0][0]) for symbol, levels in ladders.items()}
    rules = {symbol: known.get(symbol) or _derived(symbol, levels) for symbol, levels in ladders.items()}
    return RecordingReplay(of, rules, prices, settles=settles)


def _first_books(of: Contents) -> dict[str, list[tuple[str, str]]]:
    """Return the levels of the first book of each symbol."""
    found: dict[str, list[tuple[str, str]]] = {}
    rows = (row for path in of.files for row in RecordedFile(path))
    for row in islice(rows, _LOOKED_AT):
        if len(found) == len(of.symbols):
            break
        if row.sort not in (FRAME, STATE) or b'"orderbook.' not in row.text[:60]:
            continue
        frame = _books.decode(row.text)
        levels = frame.data.b + frame.data.a
        symbol = frame.topic.rpartition(".")[2]
        if levels and symbol in of.symbols:
            found.setdefault(symbol, levels)
    return found


def _derived(symbol: str, levels: list[tuple[str, str]]) -> Instrument:
    """Return rules for a symbol without known ones: a tick that fits its prices, sizes worth BTCUSDT's."""
    places = max(len(price.partition(".")[2]) for price, _ in levels)
    return rules_for(symbol, float(levels[0][0]), Decimal(1).scaleb(-places))
