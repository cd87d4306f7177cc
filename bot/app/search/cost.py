"""What a search will cost, from trials on a slice of its bars: `--plan` of `bot sweep` and `bot walkforward`.

CPU of a trial     CPU of the slice / bars of the slice x bars of a trial
time               trials x CPU of a trial / workers
memory of a worker the program + bytes of a bar that was read x all bars + bytes that a trial keeps of a bar
                   x bars of the longest trial
log                trials x bytes of a line, which grows with the days
"""

import resource
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from bot.app.runs.backtest import bars_to_trade
from bot.app.search.search import Search
from bot.app.search.trial import Job, Outcome, attempt
from bot.domain.errors import BadUsage, BotError
from bot.domain.market import DAY_MS

SLICE_BARS = 20_000
"""Bars of all symbols together that are tried."""
READ_BYTES = 200
"""A bar after its file was read: 56 bytes of numbers, and what reading leaves with the process (measured)."""


@dataclass(frozen=True)
class Size:
    """How large a search is: ``symbols`` with ``days`` of bars each."""

    symbols: int
    days: float


@dataclass(frozen=True)
class Load:
    """The trials of a search: how many, and the days of all together and of the longest one."""

    trials: int
    days: float
    longest_days: float


LoadOf = Callable[[float], Load]
"""The trials of a search over so many days of data."""


def load_of_sweep(search: Search) -> LoadOf:
    """Return the trials of a sweep: each trades all days."""
    return lambda days: Load(search.count, search.count * days, days)


@dataclass(frozen=True)
class Cost:
    """What a search will take.

    Attributes:
        trials: how many backtests.
        bars: bars of one backtest, over all symbols; the mean of all.
        longest_bars: bars of the longest one.
        held_bars: bars that a worker reads.
        workers: processes at the same time.
        slice_bars: bars of the slice that was tried.
        slice_cpu_s: CPU seconds of one backtest of it, the shorter of two.
        trial_bytes: memory that such a backtest takes, at its peak.
        program_bytes: memory of a process before its candles.
        line_bytes: one line of the log.
    """

    trials: int
    bars: float
    longest_bars: float
    held_bars: float
    workers: int
    slice_bars: int
    slice_cpu_s: float
    trial_bytes: int
    program_bytes: int
    line_bytes: float

    @property
    def bar_cpu_us(self) -> float:
        """CPU of one bar of one symbol in one trial, microseconds."""
        return 1e6 * self.slice_cpu_s / self.slice_bars

    @property
    def cpu_s(self) -> float:
        """CPU of all trials."""
        return self.trials * self.bars * self.bar_cpu_us / 1e6

    @property
    def wall_s(self) -> float:
        """Time, if each worker has a core of its own."""
        return self.cpu_s / self.workers

    @property
    def worker_bytes(self) -> float:
        """Memory of one worker."""
        kept = self.longest_bars * (self.bar_bytes - READ_BYTES)
        return self.program_bytes + self.held_bars * READ_BYTES + kept

    @property
    def bar_bytes(self) -> float:
        """Memory of one bar of one symbol in a worker that trades it."""
        return READ_BYTES + self.trial_bytes / self.slice_bars

    @property
    def log_bytes(self) -> float:
        """Disk of the log of all trials, at most: a trial that is halted has fewer days."""
        return self.trials * self.line_bytes

    def numbers(self) -> dict[str, object]:
        """Return the JSON for programs."""
        return {
            "kind": "plan",
            **msgspec.to_builtins(self),
            "bar_cpu_us": self.bar_cpu_us,
            "cpu_s": self.cpu_s,
            "wall_s": self.wall_s,
            "bar_bytes": self.bar_bytes,
            "worker_bytes": self.worker_bytes,
            "log_bytes": self.log_bytes,
        }


def cost_of(search: Search, workers: int, load_of: LoadOf, size: Size | None = None) -> Cost:
    """Try the first point of a search on a slice, and extrapolate.

    Args:
        search: what is to be tried.
        workers: processes at the same time.
        load_of: the trials of the search.
        size: of the data of another search of the same kind. None: this one.

    Raises:
        BotError: the trial has no result.
    """
    candles = search.plan.history.candles
    bars = bars_to_trade(search.plan)
    first_ms = min(each.between(search.plan.start_ms, search.plan.end_ms).first_ms for each in candles)
    end_ms = max(each.between(search.plan.start_ms, search.plan.end_ms).end_ms for each in candles)
    part = min(1.0, SLICE_BARS / bars)
    from_ms = end_ms - int((end_ms - first_ms) * part)
    from_ms = max(from_ms, search.plan.start_ms or 0)
    job = Job(index=0, params=dict(search.asking().ask()[0]), start_ms=from_ms, end_ms=end_ms)
    read_ms = replace(search.plan, start_ms=from_ms).read_from_ms  # bars before the slice cost CPU, too
    slice_bars = sum(int(((each.start_ms >= read_ms) & (each.start_ms < end_ms)).sum()) for each in candles)
    peak_bytes = _peak_bytes()  # of the reference, which is a trial, too
    timed = [_cpu_s(lambda: attempt(search.plan, job)) for _ in range(2)]
    outcome = timed[0][1]
    if outcome.error is not None:
        raise BotError(f"--plan: the trial on a slice has no result: {outcome.error}")
    tracemalloc.start()
    try:
        attempt(search.plan, job)
        trial_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    held_bars = sum(len(each) for each in candles)
    line, days = len(msgspec.json.encode(outcome)), (end_ms - first_ms) / DAY_MS
    returns = len(msgspec.json.encode(outcome.returns))
    by_day = returns / max(1, len(outcome.returns))
    wanted = Size(len(candles), days) if size is None else size
    load, bars_a_day = load_of(wanted.days), bars / (len(candles) * days) * wanted.symbols
    return Cost(
        trials=load.trials,
        bars=bars_a_day * load.days / load.trials,
        longest_bars=bars_a_day * load.longest_days,
        held_bars=bars_a_day * wanted.days,
        workers=workers,
        slice_bars=slice_bars,
        slice_cpu_s=min(each for each, _ in timed),
        trial_bytes=trial_bytes,
        program_bytes=max(0, peak_bytes - int(held_bars * (READ_BYTES + trial_bytes / slice_bars))),
        line_bytes=line - returns + by_day * load.days / load.trials,
    )


def parse_size(text: str) -> Size | None:
    """Read ``SYMBOLSxDAYS``, such as ``1000x1826``; nothing means the search itself.

    Raises:
        BadUsage: the text is another.
    """
    if not text:
        return None
    symbols, _, days = text.partition("x")
    if not (symbols.isascii() and symbols.isdigit() and days.isascii() and days.isdigit()):
        raise BadUsage(f"--plan {text}: must be SYMBOLSxDAYS, such as 1000x1826")
    return Size(int(symbols), int(days))


def _cpu_s(run: Callable[[], Outcome]) -> tuple[float, Outcome]:
    before_s = time.process_time()
    outcome = run()
    return time.process_time() - before_s, outcome


def _peak_bytes() -> int:
    """Return the most memory that this process has had."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def cost_lines(cost: Cost) -> list[str]:
    """Say what a search will cost, and how that was found."""
    mean = " (the mean of all)" if cost.longest_bars > cost.bars else ""
    return [
        f"{cost.trials:,} trials of {cost.bars:,.0f} bars{mean}: {_time(cost.cpu_s)} of CPU, "
        f"{_time(cost.wall_s)} on {cost.workers:,} workers with a core each",
        f"memory of a worker: {_size(cost.worker_bytes)}; log of the trials: up to {_size(cost.log_bytes)}",
        f"measured on {cost.slice_bars:,} bars: {cost.bar_cpu_us:.2f} µs of CPU a bar; "
        f"{cost.bar_bytes:,.0f} bytes of memory a bar, over {_size(cost.program_bytes)} of the program",
        "CPU = trials x bars x CPU a bar; time = CPU / workers; memory = the program + bars x bytes a bar",
    ]


def _time(s: float) -> str:
    for unit, length in (("days", 86_400.0), ("hours", 3_600.0), ("min", 60.0)):
        if s >= 2 * length:
            return f"{s / length:,.1f} {unit}"
    return f"{s:.1f} s"


def _size(found: float) -> str:
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if found >= length:
            return f"{found / length:,.1f} {unit}"
    return f"{found / 1e3:,.1f} kB"
