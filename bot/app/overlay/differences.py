"""Where the fills of a run differ from those of its backtest, and why.

Executions are matched by the bar in which they were filled, symbol and side. The first cause that explains a
difference is named, in the order of ``FillCause``: what the run did not see comes before what it decided, and
what it decided before what the venue did. A difference that nothing of its own explains, after an earlier one
of the same symbol, follows from that one: from then on the two hold other positions, or other equity.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bot.app.overlay.kept import At, KeptRun
from bot.app.runs.comparison import FillGroup, FillKey, grouped
from bot.domain.ledger import fills_digest
from bot.domain.messages import OrderRejected, RejectCause
from bot.domain.orders import Refused
from bot.domain.refusals import refusal_words


class FillCause(StrEnum):
    """Why fills differ."""

    MISSED_BAR = "missed bar"
    LATE_BAR = "late bar"
    OTHER_BAR = "other bar"
    LATE_SIGNAL = "late signal"
    REFUSED = "refused by a limit"
    VENUE = "refused by the venue"
    OPERATOR = "a command"
    PROTECTION = "stop, target or liquidation"
    OTHER_PRICE = "other price"
    OTHER_SIZE = "other size"
    FOLLOWS = "follows another difference"
    PRUNED = "bar gone from the journal"
    ONLY_RUN = "only in the run"
    ONLY_BACKTEST = "only in the backtest"


_LATE = "stale_signal"


@dataclass(frozen=True)
class FillDifference:
    """One difference. ``opened_ms`` opens the bar of the fill; prices are averages, quote per base.

    A quantity is None where that side has no such fill. ``worse_bps`` is how much worse the run's price was.
    """

    opened_ms: int
    symbol: str
    side: str
    cause: FillCause
    words: str
    run_qty: float | None = None
    run_price: float | None = None
    backtest_qty: float | None = None
    backtest_price: float | None = None
    worse_bps: float | None = None


@dataclass(frozen=True)
class Bars:
    """Bars from the first to the last decision: how many both saw, and which the run saw otherwise.

    ``pruned`` counts bars that the journal no longer holds: whether the run saw these is not known.
    """

    same: int
    missed: Sequence[At]
    late: Sequence[At]
    other: Sequence[At]
    pruned: int = 0

    @property
    def equal(self) -> bool:
        """True if the run saw every bar that is known in time, and as the backtest has it."""
        return not (self.missed or self.late or self.other)


@dataclass(frozen=True)
class Overlay:
    """A run over its backtest."""

    run: KeptRun
    backtest: KeptRun
    bars: Bars
    same_fills: int
    """Groups of executions (one for each bar, symbol and side) that are equal to the last digit."""
    differences: Sequence[FillDifference] = field(default_factory=tuple)

    @property
    def equal(self) -> bool:
        """True if bars and fills are the same."""
        return self.bars.equal and not self.differences

    def by_cause(self) -> dict[str, int]:
        """Return how many differences each cause explains."""
        return {c.value: n for c in FillCause if (n := sum(d.cause is c for d in self.differences))}


def lay_over(run: KeptRun, backtest: KeptRun) -> Overlay:
    """Compare a run with its backtest from the first to the last decision of both."""
    bars = _bars(run, backtest)
    closes = sorted({close_ms for close_ms, _ in backtest.bars} | {close_ms for close_ms, _ in run.bars})
    first_ms, last_ms = max(run.first_ms, backtest.first_ms), min(run.last_ms, backtest.last_ms)
    one, two = (_within(each, closes, first_ms, last_ms) for each in (run, backtest))
    seen = _Seen(run, backtest, bars, last_ms)
    same, found = 0, list[FillDifference]()
    for key in sorted(one.keys() | two.keys(), key=seen.order):
        difference = seen.judge(key, one.get(key), two.get(key))
        if difference is None:
            same += 1
        else:
            found.append(difference)
    return Overlay(run, backtest, bars, same, tuple(found))


def _within(run: KeptRun, closes: Sequence[int], first_ms: int, last_ms: int) -> Mapping[FillKey, FillGroup]:
    groups = grouped(run.fills, closes)
    return {key: group for key, group in groups.items() if first_ms <= key[0] < last_ms}


def _bars(run: KeptRun, backtest: KeptRun) -> Bars:
    last_ms = min(run.last_ms, backtest.last_ms)
    traded = [at for at in sorted(backtest.bars) if run.first_ms <= at[0] <= last_ms]
    asked = [at for at in traded if not run.is_pruned(at[0])]
    missed = [at for at in asked if at not in run.bars]
    late = [at for at in asked if at in run.bars and at not in run.live]
    other = [at for at in asked if at in run.bars and not _same_bar(run, backtest, at)]
    odd = {*missed, *late, *other}
    return Bars(len(asked) - len(odd), missed, late, other, len(traded) - len(asked))


def _same_bar(run: KeptRun, backtest: KeptRun, at: At) -> bool:
    one, two = run.bars[at], backtest.bars[at]
    return (one.open, one.high, one.low, one.close, one.volume) == (
        two.open, two.high, two.low, two.close, two.volume,
    )  # fmt: skip


class _Seen:
    """What both runs saw, and which symbols already differ."""

    def __init__(self, run: KeptRun, backtest: KeptRun, bars: Bars, last_ms: int) -> None:
        self._run, self._backtest, self._last_ms = run, backtest, last_ms
        self._missed, self._late, self._odd = set(bars.missed), set(bars.late), set(bars.other)
        self._odd_from_ms = min((at[0] for at in (*bars.missed, *bars.late, *bars.other)), default=1 << 62)
        self._apart: set[str] = set()
        """Symbols with an earlier difference."""

    def order(self, key: FillKey) -> tuple[int, bool, str, str]:
        """Return where a key stands: within a bar, symbols that explain others come first."""
        opened_ms, symbol, side = key
        at = (opened_ms, symbol)
        explains = any(True for _ in self._of_bars(at)) or at in self._run.refused
        return opened_ms, not explains, symbol, side

    def judge(self, key: FillKey, one: FillGroup | None, two: FillGroup | None) -> FillDifference | None:
        """Return the difference of one bar, symbol and side; None if there is none."""
        if one is not None and two is not None and _equal(one, two):
            return None
        cause, words = next(self._causes(key, one, two))
        self._apart.add(key[1])
        opened_ms, symbol, side = key
        return FillDifference(
            opened_ms,
            symbol,
            side,
            cause,
            words,
            run_qty=None if one is None else float(one.qty),
            run_price=None if one is None else one.price,
            backtest_qty=None if two is None else float(two.qty),
            backtest_price=None if two is None else two.price,
            worse_bps=None if one is None or two is None else one.worse_bps(two),
        )

    def _causes(
        self, key: FillKey, one: FillGroup | None, two: FillGroup | None
    ) -> Iterator[tuple[FillCause, str]]:
        """Yield every cause that holds, the deepest first."""
        opened_ms, symbol, side = key
        at = (opened_ms, symbol)
        yield from self._of_bars(at)
        if one is None:
            yield from self._stopped(self._run, "the run", at, side)
        elif two is None:
            yield from self._stopped(self._backtest, "the backtest", at, side)
            yield from self._commanded(at)
            for fill in one.fills:
                if fill.cause != "order":
                    yield FillCause.PROTECTION, f"the run was filled by {fill.cause.replace('_', ' ')}"
        else:
            fewer = self._run if one.qty < two.qty else self._backtest
            if one.qty != two.qty:  # of a turn, the exit alone may have been filled
                yield from self._stopped(fewer, "the run" if fewer is self._run else "the backtest", at, side)
            yield from self._other(opened_ms, one, two)
        if symbol in self._apart:
            yield FillCause.FOLLOWS, "an earlier difference left another position or other equity"
        if self._run.is_pruned(opened_ms):
            yield (
                FillCause.PRUNED,
                "the journal no longer holds the bar that closed here; the run may have missed it",
            )
        if one is None:
            yield (
                FillCause.ONLY_BACKTEST,
                "the run decided otherwise, or its order was not filled in this bar",
            )
        else:
            yield (
                FillCause.ONLY_RUN,
                "the backtest decided otherwise, or its order was not filled in this bar",
            )

    def _of_bars(self, at: At) -> Iterator[tuple[FillCause, str]]:
        if at in self._missed:
            yield FillCause.MISSED_BAR, "the run never got the bar that closed here"
        if at in self._late:
            yield FillCause.LATE_BAR, "the bar that closed here came too late to act on"
        if at in self._odd:
            yield FillCause.OTHER_BAR, "the bar that closed here has other prices or volume in the two"

    def _stopped(self, run: KeptRun, name: str, at: At, side: str) -> Iterator[tuple[FillCause, str]]:
        """Yield what kept an order of a run from being filled."""
        refused = run.refused.get(at)
        if refused is not None:
            yield _refused(refused, name)
        for order_id, order in run.placed.items():
            intent = order.intent
            if (intent.decided_ms, intent.symbol) != at or intent.side != side:
                continue
            ended = run.ended.get(order_id)
            if ended is None:
                continue
            if _LATE in ended.reason:
                yield FillCause.LATE_SIGNAL, f"{name} did not send the order: {ended.reason}"
            elif isinstance(ended, OrderRejected) and ended.cause is not RejectCause.NOT_SENT:
                yield FillCause.VENUE, f"the venue refused the order of {name}: {ended.code} {ended.reason}"
            elif isinstance(ended, OrderRejected):
                yield FillCause.REFUSED, f"{name} did not send the order: {ended.reason}"
            else:
                yield FillCause.VENUE, f"the order of {name} was cancelled: {ended.reason}"

    def _commanded(self, at: At) -> Iterator[tuple[FillCause, str]]:
        opened_ms, symbol = at
        following = min((ms for ms in self._run.ts_ms if ms > opened_ms), default=self._last_ms)
        for given in self._run.commands:
            meant = given.what in ("flatten", "halt") or (given.what == "close" and given.symbol == symbol)
            if meant and opened_ms <= given.ts_ms < following:
                yield FillCause.OPERATOR, f"`{given.what}` was given ({given.by or 'by whom is not known'})"

    def _other(self, opened_ms: int, one: FillGroup, two: FillGroup) -> Iterator[tuple[FillCause, str]]:
        late_ms = one.first_ms - two.first_ms
        when = f", {late_ms} ms after the open" if late_ms > 0 else ""
        if one.qty == two.qty and one.price != two.price:
            worse_bps = one.worse_bps(two)
            word = "worse" if worse_bps > 0.0 else "better"
            yield FillCause.OTHER_PRICE, f"{abs(worse_bps):.2f} bps {word} for the run{when}"
        size = f"{one.qty:f} instead of {two.qty:f}" if one.qty != two.qty else "the same in other parts"
        if self._apart or opened_ms >= self._odd_from_ms:  # all symbols share one equity
            yield FillCause.FOLLOWS, f"{size}: another difference changed position or equity"
        else:
            yield FillCause.OTHER_SIZE, size + when


def _equal(one: FillGroup, two: FillGroup) -> bool:
    return len(one.fills) == len(two.fills) and fills_digest(one.fills) == fills_digest(two.fills)


def _refused(refused: Refused, name: str) -> tuple[FillCause, str]:
    cause = FillCause.LATE_SIGNAL if refused.reason == _LATE else FillCause.REFUSED
    return cause, f"{name} refused it: {refusal_words(refused)}"
