"""Puts bars and funding rates of all symbols of a feed into the one order in which they are emitted.

At one instant T ``BarsClosed`` comes first, then ``FundingRate`` settled at T (see ``domain.messages``). A
bar is emitted only after all earlier bars of its symbol, so a live close never lacks history.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bot.domain.market import Bar
from bot.domain.messages import BarsClosed, Event, FundingRate, Gap
from bot.feed.barrier import CloseBarrier
from bot.feed.sequence import BarCounts, BarSequence

RATE_LAG_MS = 600_000
"""REST shows a settled rate within this time; a settlement without a rate by then did not happen."""
CLOCK_SLACK_MS = 1_000
"""How far the clock that stamps a confirmed candle may be behind the one that closed it."""

_NEVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class MissingData:
    """What a symbol lacks: bars that open in ``bars``, and rates settled after ``rates_after_ms``."""

    symbol: str
    bars: tuple[int, int] | None
    rates_after_ms: int | None


class FeedSequencer:
    """Takes bars and rates as they come and emits events in order.

    Args:
        funding_ms: symbol → time between two settlements; the venue may change it (``announced``).
        interval_ms: length of a bar.
        from_ms: start of the first wanted bar.
        emit: called with each event, in order.
        seen_ms: symbol → the close up to which its bars were emitted by an earlier process; none of them is
            emitted again.
    """

    def __init__(
        self,
        funding_ms: Mapping[str, int],
        interval_ms: int,
        from_ms: int,
        emit: Callable[[Event], None],
        seen_ms: Mapping[str, int] | None = None,
    ) -> None:
        self.disputed: list[Bar] = []
        """Bars that came again with other numbers after the first was used; the caller asks REST."""
        self.bars_live = self.bars_late = self.closes_live = self.rates_emitted = 0
        self._interval_ms = interval_ms
        self._emit = emit
        seen = seen_ms or {}
        first_ms = {symbol: max(from_ms, seen.get(symbol, 0)) for symbol in sorted(funding_ms)}
        self._sequences = {
            each: BarSequence(each, interval_ms, next_ms) for each, next_ms in first_ms.items()
        }
        self._barrier = CloseBarrier(first_ms, interval_ms, decided_ms=from_ms)
        self._funding_ms = dict(funding_ms)
        self._rates_ms = dict.fromkeys(funding_ms, from_ms)  # settlements up to here are known
        self._checked_ms = dict.fromkeys(funding_ms, from_ms)  # settlements up to here have no other rate
        self._announced: dict[str, list[int]] = {symbol: [] for symbol in funding_ms}  # rates not known yet
        self._doubtful: set[str] = set()  # the venue may have settled without our notice
        self._rates: list[FundingRate] = []  # known, not emitted yet
        self._emitted_ms = from_ms  # the latest close that was emitted
        self._held: tuple[int, set[str]] = (0, set())
        self._ended: set[str] = set()

    def drop(self, symbol: str) -> None:
        """Expect nothing more of a symbol whose contract has ended; ignore what comes all the same."""
        if symbol not in self._ended:
            self._ended.add(symbol)
            self._barrier.drop(symbol)
            self._held[1].discard(symbol)

    @property
    def decided_ms(self) -> int:
        """The latest decided close."""
        return self._barrier.decided_ms

    def next_ms(self, symbol: str) -> int:
        """Return the start of the next bar of ``symbol``; the end of time if its contract has ended."""
        return _NEVER_MS if symbol in self._ended else self._sequences[symbol].next_ms

    def counts(self) -> BarCounts:
        """Return how many bars were not simply the next one, over all symbols."""
        return sum((sequence.counts for sequence in self._sequences.values()), BarCounts())

    def missing(self, close_ms: int) -> list[str]:
        """Return the symbols whose bar of ``close_ms`` has not come."""
        return self._barrier.missing(close_ms)

    # Data in

    def confirmed(self, bar: Bar, said_ms: int) -> None:
        """Take a bar that the stream confirmed at ``said_ms`` of the venue's clock."""
        if bar.symbol in self._ended:
            return
        sequence = self._sequences[bar.symbol]
        conflicts = sequence.counts.conflicts
        self._barrier.add(sequence.take(bar, said_ms + CLOCK_SLACK_MS))
        if sequence.counts.conflicts > conflicts and sequence.used(bar.start_ms) is not None:
            self.disputed.append(bar)

    def fetched(self, bars: Iterable[Bar]) -> None:
        """Take closed bars of one symbol from REST, oldest first."""
        run = list(bars)
        if run and run[0].symbol not in self._ended:
            self._barrier.add(self._sequences[run[0].symbol].take_all(run))

    def settled(self, symbol: str, rates: Iterable[FundingRate], asked_ms: int | None = None) -> None:
        """Take settled rates of a symbol; known ones are skipped.

        With ``asked_ms`` they are all that the venue shows up to that time.
        """
        known_ms = self._rates_ms[symbol]
        fresh = sorted((rate for rate in rates if rate.ts_ms > known_ms), key=lambda rate: rate.ts_ms)
        self._add_rates(symbol, fresh)
        if asked_ms is not None:
            self._doubtful.discard(symbol)
            self._checked_ms[symbol] = max(self._checked_ms[symbol], asked_ms - RATE_LAG_MS)

    def announced(self, symbol: str, next_ms: int, said_ms: int, interval_ms: int | None = None) -> None:
        """Take the venue's word, said at ``said_ms``: the next settlement, and the interval from now on.

        Settlements that were due before stay due. One that was announced for later is replaced.
        """
        due_ms = self._next_rate_ms(symbol)
        kept = {ts_ms for ts_ms in (*self._announced[symbol], due_ms) if ts_ms <= said_ms}
        self._announced[symbol] = sorted(kept | {next_ms})
        if interval_ms is not None:
            self._funding_ms[symbol] = interval_ms

    def set_interval(self, symbol: str, funding_ms: int) -> None:
        """Take another time between two settlements; what was settled before by which is in doubt.

        A symbol that is not followed, such as one whose contract had ended at the start, is ignored.
        """
        if self._funding_ms.get(symbol, funding_ms) != funding_ms:
            self._funding_ms[symbol] = funding_ms
            self._doubtful.add(symbol)

    def doubt(self, symbols: Iterable[str]) -> None:
        """Ask once for the rates of ``symbols``: the venue may have settled without our notice."""
        self._doubtful.update(symbols)

    def settled_before(self, rate: FundingRate) -> None:
        """Take the last rate settled at or before the first bar; it is known from the start."""
        self._keep_rates([rate])

    def used(self, bar: Bar) -> Bar | None:
        """Return the bar that was used instead of ``bar``, if it is still remembered."""
        return self._sequences[bar.symbol].used(bar.start_ms)

    # Data that is missing

    def missing_of(
        self, symbol: str, before_ms: int, now_ms: int, *, doubts: bool = True
    ) -> MissingData | None:
        """Return what ``symbol`` lacks: bars that open before ``before_ms``, rates settled by ``now_ms``.

        ``doubts``: rates whose settlement is only possible count too.
        """
        if symbol in self._ended:
            return None
        bars = self._sequences[symbol].missing(before_ms)
        known_ms = self._rates_ms[symbol]
        due = self._next_rate_ms(symbol) <= now_ms or (doubts and symbol in self._doubtful)
        return MissingData(symbol, bars, known_ms if due else None) if bars or due else None

    def rates_due(self, now_ms: int) -> list[str]:
        """Return the symbols with a settlement by ``now_ms`` whose rate is not known."""
        return [symbol for symbol in self._sequences if self._next_rate_ms(symbol) <= now_ms]

    def give_up(self, symbol: str, to_ms: int) -> Gap | None:
        """Accept that the bars before ``to_ms`` do not exist; return the gap."""
        sequence = self._sequences[symbol]
        from_ms = sequence.next_ms
        if to_ms <= from_ms or symbol in self._ended:
            return None
        released = sequence.skip_to(to_ms)
        self._barrier.skip(symbol, to_ms)
        self._barrier.add(released)
        return Gap(to_ms, symbol, self._interval_ms, from_ms, to_ms)

    # Events out

    def flush(self, seen_ms: int) -> None:
        """Emit late bars, then the complete closes."""
        self.emit_late()
        close_ms = self._barrier.waited_for
        if close_ms is not None and not self._waits_for_rates(close_ms):
            self._emit_closes(self._barrier.complete(seen_ms))
        self._emit_rates(self._emitted_ms + self._interval_ms - 1)

    def emit_late(self) -> None:
        """Emit the bars that came after their close was decided."""
        self._emit_closes(self._barrier.late())

    def decide(self, until_ms: int, seen_ms: int, *, live: bool = True) -> None:
        """Emit late bars, then every close up to ``until_ms``, complete or not."""
        self.emit_late()
        self._emit_closes(self._barrier.decide(until_ms, seen_ms, live=live))
        self._emit_rates(self._emitted_ms + self._interval_ms - 1)

    def _emit_closes(self, closes: Iterable[BarsClosed]) -> None:
        for closed in closes:
            if self._rates:
                self._emit_rates(closed.close_ms - 1)
            self._emit(closed)
            self._emitted_ms = max(self._emitted_ms, closed.close_ms)
            self.closes_live += closed.live
            if closed.live:
                self.bars_live += len(closed.bars)
            else:
                self.bars_late += len(closed.bars)

    def _emit_rates(self, until_ms: int) -> None:
        """Emit rates settled up to ``until_ms`` of symbols whose bars before the settlement are here."""
        rates, step = self._rates, self._interval_ms
        if not rates or rates[0].ts_ms > until_ms:
            return
        later: list[FundingRate] = []
        for index, rate in enumerate(rates):
            if rate.ts_ms > until_ms:
                later += rates[index:]
                break
            if self.next_ms(rate.symbol) >= rate.ts_ms // step * step:
                self._emit(rate)
                self.rates_emitted += 1
            else:
                later.append(rate)
        self._rates = later

    def _waits_for_rates(self, close_ms: int) -> bool:
        """True if a rate settled inside this bar is not known yet; the barrier bounds the wait."""
        if self._held[0] != close_ms:
            first_ms = close_ms - self._interval_ms
            held = {
                symbol
                for symbol, sequence in self._sequences.items()
                if first_ms <= self._next_rate_ms(symbol) < close_ms and sequence.next_ms >= close_ms
            }
            self._held = (close_ms, held)
        return bool(self._held[1])

    def _add_rates(self, symbol: str, fresh: list[FundingRate]) -> None:
        if fresh:
            self._keep_rates(fresh)
            self._rates_ms[symbol] = fresh[-1].ts_ms
            if self._next_rate_ms(symbol) >= self._held[0]:
                self._held[1].discard(symbol)

    def _keep_rates(self, rates: list[FundingRate]) -> None:
        self._rates = sorted(self._rates + rates, key=lambda rate: (rate.ts_ms, rate.symbol))

    def _next_rate_ms(self, symbol: str) -> int:
        """The next settlement whose rate is not known: as announced, else by the interval."""
        if symbol in self._ended:
            return _NEVER_MS
        after_ms = max(self._rates_ms[symbol], self._checked_ms[symbol])
        for ts_ms in self._announced[symbol]:
            if ts_ms > after_ms:
                return ts_ms
        period_ms = self._funding_ms[symbol]
        return (after_ms // period_ms + 1) * period_ms
