"""What a day was, from the journal: closed trades, costs, and the curve of the equity."""

from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from pathlib import Path

from bot import metrics
from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import Journal
from bot.domain.market import DAY_MS
from bot.domain.money import ZERO
from bot.domain.words import counted

_POINTS_MAX = 600


@dataclass(frozen=True)
class AccountDay:
    """One UTC day of an account. ``points`` are (time ms, equity), None where it was not a number."""

    trades: int
    won: int
    result_quote: Decimal
    fills: int
    fees_quote: Decimal
    funding_quote: Decimal
    points: tuple[tuple[int, float | None], ...]

    @property
    def words(self) -> str:
        """The day in one line."""
        costs = f"fees {self.fees_quote:,.2f}, funding {self.funding_quote:+,.2f}"
        if not self.fills:
            return f"no fills; {costs}"
        result = f" ({self.won} won, {self.result_quote:+,.2f} after costs)" if self.trades else ""
        return f"{counted(self.trades, 'trade')} closed{result}, {counted(self.fills, 'fill')}, {costs}"


def day_of(folder: Path, end_ms: int) -> AccountDay:
    """Return the day that ends at ``end_ms``, from the journal of an account in ``folder``.

    Brings the index of the journal up to date, which takes a while the first time.

    Raises:
        StoreFailed: the journal is damaged, or the index cannot be written.
    """
    index = JournalIndex(Journal(folder))
    from_ms = end_ms - DAY_MS
    fills, funding = index.fills(), index.funding()
    trades = [
        trade for trade in metrics.round_trips(fills, funding=funding) if from_ms < trade.exit_ms <= end_ms
    ]
    today = [fill for fill in fills if from_ms < fill.ts_ms <= end_ms]
    equity = index.columns("equity")
    points = [
        (ts_ms, value if isinstance(value, float) and isfinite(value) else None)
        for ts_ms, value in zip(equity["ts_ms"], equity["equity"], strict=True)
        if isinstance(ts_ms, int) and from_ms <= ts_ms <= end_ms
    ]
    return AccountDay(
        trades=len(trades),
        won=sum(trade.pnl_quote > ZERO for trade in trades),
        result_quote=sum((trade.pnl_quote for trade in trades), ZERO),
        fills=len(today),
        fees_quote=sum((fill.fee_quote for fill in today), ZERO),
        funding_quote=sum((paid.amount_quote for paid in funding if from_ms < paid.ts_ms <= end_ms), ZERO),
        points=tuple(_thinned(points)),
    )


def _thinned(points: list[tuple[int, float | None]]) -> list[tuple[int, float | None]]:
    """Return at most about ``_POINTS_MAX`` points; of each run the lowest and the highest stay."""
    step = -(-len(points) * 2 // _POINTS_MAX)
    if step <= 2:
        return points
    kept: list[tuple[int, float | None]] = []
    for first in range(0, len(points), step):
        run = points[first : first + step]
        known = [point for point in run if point[1] is not None]
        ends = (
            {min(known, key=lambda p: p[1] or 0.0), max(known, key=lambda p: p[1] or 0.0)} if known else set()
        )
        kept += sorted(ends | {run[0], run[-1]}, key=lambda point: point[0])
    return kept
