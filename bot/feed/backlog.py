"""The backlog of a feed: which symbols lack data, when to ask for it again, and what counts as not existing.

Pure: the caller fetches and passes the answers in, with its own clock and its own random draws. All symbols
that lack data at one moment are fetched before anything is emitted, so that the bars of an outage come out
together, close by close.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bot.domain.market import Bar
from bot.domain.messages import FundingRate, Gap
from bot.feed.sequencer import FeedSequencer, MissingData

FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 5.0
LAST_RATE_PAUSE_S = 30.0
GAP_AFTER_ANSWERS = 5
"""Answers without the missing bars before those bars may count as not existing."""


@dataclass
class Fetched:
    """What REST answered for one symbol. ``answered``: it was asked for bars and did not fail.

    ``rates_asked_ms``: when it was asked for rates, None if it was not or failed.
    """

    bars: list[Bar] = field(default_factory=list)
    rates: list[FundingRate] = field(default_factory=list)
    answered: bool = False
    rates_asked_ms: int | None = None


@dataclass
class _Want:
    """A symbol whose missing data are asked for until they come; seconds are the caller's."""

    before_ms: int
    since_s: float
    next_s: float
    answers: int = 0
    tries: int = 0


class Backlog:
    """Decides what to fetch next and judges the answers.

    Args:
        sequencer: the bars and rates that are here.
        gap_after_ms: how long REST must answer without a bar before that bar counts as not existing.
        draw: returns a number in [0, 1), for pauses of different length.
    """

    def __init__(self, sequencer: FeedSequencer, gap_after_ms: float, draw: Callable[[], float]) -> None:
        self._sequencer = sequencer
        self._gap_after_ms = gap_after_ms
        self._draw = draw
        self._wants: dict[str, _Want] = {}

    def want(self, symbols: Iterable[str], before_ms: int, now_s: float) -> None:
        """Ask for bars of ``symbols`` that open before ``before_ms``, and for their rates that are due."""
        for symbol in symbols:
            want = self._wants.get(symbol)
            if want is None:
                self._wants[symbol] = _Want(before_ms, now_s, now_s)
            else:
                want.before_ms = max(want.before_ms, before_ms)
                want.next_s = min(want.next_s, now_s + FIRST_PAUSE_S)

    def due(self, now_s: float) -> list[str]:
        """Return the symbols to ask for now."""
        return [symbol for symbol, want in self._wants.items() if want.next_s <= now_s]

    @property
    def next_s(self) -> float | None:
        """When the next symbol is due; None if nothing is missing."""
        return min((want.next_s for want in self._wants.values()), default=None)

    def missing_of(self, symbol: str, now_ms: int) -> MissingData | None:
        """Return what a due symbol lacks; None, and it leaves the backlog, if nothing is missing any more."""
        missing = self._sequencer.missing_of(symbol, self._wants[symbol].before_ms, now_ms)
        if missing is None:
            del self._wants[symbol]
        return missing

    def take(self, fetched: Mapping[str, Fetched], now_s: float, now_ms: int) -> list[Gap]:
        """Take one round of answers; return the gaps: bars that do not exist."""
        before_ms = {symbol: self._sequencer.next_ms(symbol) for symbol in fetched}
        for symbol, found in fetched.items():
            self._sequencer.fetched(found.bars)
            self._sequencer.settled(symbol, found.rates, found.rates_asked_ms)
        gaps = []
        for symbol, found in fetched.items():
            want = self._wants[symbol]
            want.answers += found.answered
            moved = self._sequencer.next_ms(symbol) > before_ms[symbol]
            gap = self._judge(symbol, want, now_s, now_ms, moved=moved)
            if gap is not None:
                gaps.append(gap)
        return gaps

    def _judge(self, symbol: str, want: _Want, now_s: float, now_ms: int, *, moved: bool) -> Gap | None:
        """Drop the want, or say when to ask again; return a gap if the missing bars do not exist."""
        # A doubt alone is not asked again: it would keep this symbol out of step with the others.
        missing = self._sequencer.missing_of(symbol, want.before_ms, now_ms, doubts=False)
        if missing is None:
            del self._wants[symbol]
            return None
        if moved:
            want.answers = want.tries = 0
            want.since_s = want.next_s = now_s
            return None
        gap = None
        waited_ms = (now_s - want.since_s) * 1000.0
        if missing.bars and want.answers >= GAP_AFTER_ANSWERS and waited_ms >= self._gap_after_ms:
            gap = self._sequencer.give_up(symbol, missing.bars[1])
            want.answers = 0
            want.since_s = now_s
        last_s = LAST_PAUSE_S if missing.bars else LAST_RATE_PAUSE_S
        bound_s = min(FIRST_PAUSE_S * 2 ** min(want.tries, 16), last_s)
        want.tries += 1
        want.next_s = now_s + (0.5 + 0.5 * self._draw()) * bound_s
        return gap
