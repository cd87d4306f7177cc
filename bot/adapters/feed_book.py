"""What may be told, and in which order: bars and funding rates of all symbols of a feed. No I/O.

Order of one instant T, as ``domain.messages`` fixes it: ``BarsClosed`` at T, then ``FundingRate`` settled at
T. A symbol's bar is only told after all its earlier ones, so a live close never misses history.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bot.bybit.bars import BarCounts, BarSequence, CloseBarrier
from bot.domain.market import Bar
from bot.domain.messages import BarsClosed, Event, FundingRate, Gap

CLOCK_SLACK_MS = 1_000
"""A confirmed candle may be stamped by a clock this much behind the one that closed it."""


@dataclass(frozen=True, slots=True)
class Owed:
    """What is missing of a symbol: bars that open in ``bars``, and rates settled after ``rates_after_ms``."""

    symbol: str
    bars: tuple[int, int] | None
    rates_after_ms: int | None


class FeedBook:
    """Where every symbol stands.

    Args:
        funding_ms: symbol → time between two settlements.
        interval_ms: of the bars.
        from_ms: start of the first bar that is wanted.
        tell: takes events, in order.
    """

    def __init__(
        self, funding_ms: Mapping[str, int], interval_ms: int, from_ms: int, tell: Callable[[Event], None]
    ) -> None:
        self.disputed: list[Bar] = []
        """Bars that were used and then told again with other numbers; for the caller to look into."""
        self.bars_live = self.bars_late = self.closes_live = self.rates_told = 0
        self._interval_ms = interval_ms
        self._tell_event = tell
        self._sequences = {symbol: BarSequence(symbol, interval_ms, from_ms) for symbol in sorted(funding_ms)}
        self._barrier = CloseBarrier(dict.fromkeys(self._sequences, from_ms), interval_ms, decided_ms=from_ms)
        self._funding_ms = dict(funding_ms)
        self._rates_ms = dict.fromkeys(funding_ms, from_ms)  # settlements up to here are known
        self._rates: list[FundingRate] = []  # known, not told
        self._told_ms = from_ms  # the latest close that was told
        self._held: tuple[int, set[str]] = (0, set())

    @property
    def decided_ms(self) -> int:
        """Closes up to here are decided."""
        return self._barrier.decided_ms

    def next_ms(self, symbol: str) -> int:
        """Start of the next bar of ``symbol``."""
        return self._sequences[symbol].next_ms

    def counts(self) -> BarCounts:
        """What came that was not simply the next bar, of all symbols."""
        return sum((sequence.counts for sequence in self._sequences.values()), BarCounts())

    def missing(self, close_ms: int) -> list[str]:
        """Symbols without their bar of this close."""
        return self._barrier.missing(close_ms)

    # What came

    def confirmed(self, bar: Bar, said_ms: int) -> None:
        """The stream confirmed a bar at the venue's ``said_ms``."""
        sequence = self._sequences[bar.symbol]
        conflicts = sequence.counts.conflicts
        self._barrier.add(sequence.take(bar, said_ms + CLOCK_SLACK_MS))
        if sequence.counts.conflicts > conflicts and sequence.used(bar.start_ms) is not None:
            self.disputed.append(bar)

    def fetched(self, bars: Iterable[Bar]) -> None:
        """REST says these bars of one symbol are closed; oldest first."""
        run = list(bars)
        if run:
            self._barrier.add(self._sequences[run[0].symbol].take_all(run))

    def settled(self, symbol: str, rates: Iterable[FundingRate]) -> None:
        """Rates of a symbol; those known already are passed over."""
        known_ms = self._rates_ms[symbol]
        fresh = sorted((rate for rate in rates if rate.ts_ms > known_ms), key=lambda rate: rate.ts_ms)
        self._add_rates(symbol, fresh)

    def settled_before(self, rate: FundingRate) -> None:
        """The last rate settled at or before the first bar: it is known from the start."""
        self._keep_rates([rate])

    def used(self, bar: Bar) -> Bar | None:
        """The bar that was used in the place of ``bar``, if that is recent."""
        return self._sequences[bar.symbol].used(bar.start_ms)

    # What is missing

    def owed(self, symbol: str, before_ms: int, now_ms: int) -> Owed | None:
        """What of ``symbol`` is missing: bars that open before ``before_ms``, rates settled by ``now_ms``."""
        bars = self._sequences[symbol].missing(before_ms)
        known_ms = self._rates_ms[symbol]
        due = self._next_rate_ms(symbol) <= now_ms
        return Owed(symbol, bars, known_ms if due else None) if bars or due else None

    def rates_due(self, now_ms: int) -> list[str]:
        """Symbols with a settlement since the last one known."""
        return [symbol for symbol in self._sequences if self._next_rate_ms(symbol) <= now_ms]

    def give_up(self, symbol: str, to_ms: int) -> Gap | None:
        """The bars before ``to_ms`` do not exist; returns what was given up."""
        sequence = self._sequences[symbol]
        from_ms = sequence.next_ms
        if to_ms <= from_ms:
            return None
        released = sequence.skip_to(to_ms)
        self._barrier.skip(symbol, to_ms)
        self._barrier.add(released)
        return Gap(to_ms, symbol, self._interval_ms, from_ms, to_ms)

    # What is told

    def flush(self, seen_ms: int) -> None:
        """Tell what is late, then the closes that are complete."""
        self.tell_late()
        close_ms = self._barrier.waited_for
        if close_ms is not None and not self._waits_for_rates(close_ms):
            self._tell(self._barrier.complete(seen_ms))
        self._tell_rates(self._told_ms + self._interval_ms - 1)

    def tell_late(self) -> None:
        """Tell what came after its close was decided."""
        self._tell(self._barrier.late())

    def decide(self, until_ms: int, seen_ms: int, *, live: bool = True) -> None:
        """Tell what is late and every close up to ``until_ms``, complete or not."""
        self.tell_late()
        self._tell(self._barrier.decide(until_ms, seen_ms, live=live))
        self._tell_rates(self._told_ms + self._interval_ms - 1)

    def _tell(self, closes: Iterable[BarsClosed]) -> None:
        for closed in closes:
            if self._rates:
                self._tell_rates(closed.close_ms - 1)
            self._tell_event(closed)
            self._told_ms = max(self._told_ms, closed.close_ms)
            self.closes_live += closed.live
            if closed.live:
                self.bars_live += len(closed.bars)
            else:
                self.bars_late += len(closed.bars)

    def _tell_rates(self, until_ms: int) -> None:
        """Rates settled up to ``until_ms`` of symbols whose bars up to the settlement are here."""
        rates, step = self._rates, self._interval_ms
        if not rates or rates[0].ts_ms > until_ms:
            return
        later: list[FundingRate] = []
        for index, rate in enumerate(rates):
            if rate.ts_ms > until_ms:
                later += rates[index:]
                break
            if self.next_ms(rate.symbol) >= rate.ts_ms // step * step:
                self._tell_event(rate)
                self.rates_told += 1
            else:
                later.append(rate)
        self._rates = later

    def _waits_for_rates(self, close_ms: int) -> bool:
        """Whether a rate that settled in this bar is to be told before it; the barrier bounds the wait."""
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
        period_ms = self._funding_ms[symbol]
        return (self._rates_ms[symbol] // period_ms + 1) * period_ms
