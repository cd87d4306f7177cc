"""Whether candles are enough for a model: a run without one forecast is an error, not a result of dashes."""

from collections.abc import Sequence

import numpy as np

from bot.adapters.files.candles import Candles
from bot.adapters.model.checkpoint import Checkpoint
from bot.adapters.model.own import OwnModel
from bot.domain.errors import TooFewBars
from bot.domain.market import interval_name
from bot.domain.spans import span_words


def require_forecasts(
    candles: Sequence[Candles],
    model: Checkpoint | OwnModel,
    from_ms: int | None,
    to_ms: int | None,
    read_from_ms: int,
) -> tuple[str, ...]:
    """Return a warning for each symbol that gets no forecast in ``[from_ms, to_ms)``.

    ``read_from_ms``: where the warm-up begins.

    Raises:
        TooFewBars: no symbol gets one.
    """
    cold = {}
    for each in candles:
        bars = longest_stretch(each, model.bridge.bars, from_ms, to_ms, read_from_ms)
        if bars < model.warmup_bars:
            cold[each.symbol] = too_few(each, model, bars)
    if len(cold) == len(candles):
        raise TooFewBars(next(iter(cold.values())))
    return tuple(f"{words}; {symbol} is not traded" for symbol, words in cold.items())


def require_indicators(
    candles: Sequence[Candles], need: int, from_ms: int | None, to_ms: int | None, read_from_ms: int
) -> None:
    """Refuse candles in which no symbol ever knows all indicators of a strategy that need ``need`` bars.

    Raises:
        TooFewBars: that is so; the message is of the symbol with the most unbroken bars.
    """
    most, each = max(
        ((longest_stretch(each, 0, from_ms, to_ms, read_from_ms), each) for each in candles),
        key=lambda found: found[0],
    )
    if most < need:
        raise TooFewBars(
            f"{each.path or each.symbol}: {most:,} unbroken bars of {interval_name(each.interval_ms)}, but "
            f"the strategy's indicators need {need:,} ({span_words(need * each.interval_ms)}) until all are "
            f"known; give at least {need - most:,} more"
        )


def too_few(candles: Candles, model: Checkpoint | OwnModel, bars: int) -> str:
    """Say how many unbroken bars there are, how many the first forecast needs, and what is missing."""
    need, name = model.warmup_bars, interval_name(model.interval_ms)
    return (
        f"{candles.path or candles.symbol}: {bars:,} unbroken bars of {name}, but the model's first forecast "
        f"needs {need:,} ({span_words(need * model.interval_ms)}); give at least {need - bars:,} more"
    )


def longest_stretch(
    candles: Candles, bridge_bars: int, from_ms: int | None, to_ms: int | None, read_from_ms: int = 0
) -> int:
    """Return the most bars in a row, up to a bar that opens in ``[from_ms, to_ms)``, after ``read_from_ms``.

    A hole of at most ``bridge_bars`` breaks no row; its bars count.
    """
    first, last = np.searchsorted(candles.start_ms, (read_from_ms, _FOREVER if to_ms is None else to_ms))
    start_ms = candles.start_ms[first:last]
    if not len(start_ms):
        return 0
    breaks = np.flatnonzero(np.diff(start_ms) > (bridge_bars + 1) * candles.interval_ms)
    begins = start_ms[np.append(0, breaks + 1)]
    ends = start_ms[np.append(breaks, len(start_ms) - 1)]
    bars = (ends - begins) // candles.interval_ms + 1
    return int(bars[ends >= (from_ms or 0)].max(initial=0))


_FOREVER = 1 << 62
