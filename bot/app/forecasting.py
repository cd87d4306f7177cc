"""Forecasts of a model on candle files: its skill against baselines, and its forecasts as a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bot.adapters.files import shipped
from bot.adapters.files.candles import funding_beside, read_candles, read_funding
from bot.adapters.files.columns import write_columns
from bot.adapters.model import checkpoint
from bot.adapters.model.checkpoint import Checkpoint
from bot.adapters.model.predictor import FORECAST_COLUMNS, forecast_table, settled_forecasts
from bot.adapters.state.clock import WallClock
from bot.app.enough import longest_stretch, too_few
from bot.domain.errors import BadUsage, TooFewBars
from bot.domain.market import DAY_MS
from bot.domain.spans import span_words
from bot.research import holes
from bot.research.dataset import HORIZON_MS, read_rows
from bot.research.evaluate import Forecasts, forecast_all, report
from bot.service.moments import minute_words

_DAYS_MIN = 2
"""Days with rows below which a day-bootstrap has no interval."""


def evaluate_model(
    data: Sequence[Path],
    model: Path | None,
    start_ms: int | None,
    end_ms: int | None,
    *,
    funding: bool,
    seed: int,
) -> dict[str, Any]:
    """Score the model and every baseline on the same rows; baselines are fitted before ``trained_to``.

    Raises:
        TooFewBars: a file has less than two days of rows to score.
    """
    loaded = checkpoint.load(model if model is not None else shipped.model_path())
    now_ms = WallClock().now_ms()
    rates = "beside" if funding else None
    files = [read_rows(path, loaded.feature_set, rates, bridge=loaded.bridge, now_ms=now_ms) for path in data]
    from_ms = start_ms or loaded.trained_to_ms
    to_ms = end_ms or max(int(rows.close_ms[-1]) for rows in files)
    forecasts, skipped = forecast_all(
        files,
        lambda rows: settled_forecasts(loaded, rows.start_ms, rows.features, rows.withheld)[:, [0, 2, 3]],
        loaded.trained_to_ms,
        from_ms,
        to_ms,
    )
    for one in forecasts:
        _require_days(one, loaded, from_ms, to_ms)
    return {
        "model_hash": loaded.hash,
        "trained_to_ms": loaded.trained_to_ms,
        "in_sample": from_ms < loaded.trained_to_ms,
        "skipped_baselines": skipped,
        "files": [report(one, seed) for one in forecasts],
    }


def _require_days(forecasts: Forecasts, model: Checkpoint, from_ms: int, to_ms: int) -> None:
    """Refuse to score a file without two days of rows: there would be no interval, or no figure at all.

    Raises:
        TooFewBars: says what is there and what is needed.
    """
    rows, scored = forecasts.rows, forecasts.rows.close_ms[forecasts.mask]
    days = len(np.unique(scored // DAY_MS))
    if days >= _DAYS_MIN:
        return
    known = int(rows.close_ms[-1]) <= model.trained_to_ms
    hint = (
        "; its bars lie before the model's trained_to, so --start scores them as in-sample" if known else ""
    )
    need = model.warmup_bars + (_DAYS_MIN * DAY_MS + HORIZON_MS) // model.interval_ms
    raise TooFewBars(
        f"{rows.path}: {len(scored):,} rows to score on {days} days from {minute_words(from_ms)} to "
        f"{minute_words(to_ms)}, it needs {_DAYS_MIN} days; the file has bars from "
        f"{minute_words(int(rows.start_ms[0]))} to {minute_words(int(rows.close_ms[-1]))}. A row needs "
        f"{model.warmup_bars:,} unbroken bars before it and {span_words(HORIZON_MS)} after it: give {need:,} "
        f"bars ({span_words(need * model.interval_ms)}) that end "
        f"{span_words(_DAYS_MIN * DAY_MS + HORIZON_MS)} after --start or later{hint}"
    )


def measure_holes(
    data: Sequence[Path],
    model: Path | None,
    start_ms: int | None,
    end_ms: int | None,
    *,
    funding: bool,
    seed: int,
    write: bool,
) -> dict[str, Any]:
    """Measure what holes cost the model's forecasts; with ``write`` the bridge goes into its manifest.

    Raises:
        BadUsage: bars that the model was fitted or chosen on, too few bars, or a model that is read-only.
    """
    path = model if model is not None else shipped.model_path()
    loaded = checkpoint.load(path)
    from_ms = start_ms or loaded.trained_to_ms
    if from_ms < loaded.trained_to_ms:
        raise BadUsage("--start: lies before the model's trained_to; holes are measured on later bars")
    now_ms = WallClock().now_ms()
    files = []
    for file in data:
        candles = read_candles(file, now_ms=now_ms)
        rates = funding_beside(file) if funding else None
        known = None if rates is None else read_funding(rates)
        files.append(holes.series(loaded, candles, known, from_ms, end_ms or candles.end_ms))
    bridge, figures = holes.measure(loaded, [one for one in files if one is not None], seed)
    if write:
        checkpoint.rewrite_manifest(path, loaded.with_bridge(bridge, figures).manifest)
    return {
        "model_hash": loaded.hash,
        "bridge_bars": bridge.bars,
        "rewarm_bars": list(bridge.rewarm_bars),
        "repay_bars": bridge.repay_bars,
        "warmup_bars": loaded.warmup_bars,
        "bridge": figures,
    }


def write_forecasts(
    data: Path, out: Path, model: Path | None, form: Literal["bulk", "step"], funding: str | None
) -> tuple[list[str], int, int]:
    """Write the forecast made at each close; return warnings, bars and forecasts.

    Raises:
        BadUsage: ``out`` is the candle file itself.
        BadFile, BadModel: the files are not as documented.
        TooFewBars: not one forecast can be made; nothing is written.
    """
    if out.resolve() == data.resolve():
        raise BadUsage(f"--out {out}: is the candle file itself; name another file")
    loaded = checkpoint.load(model if model is not None else shipped.model_path())
    candles = read_candles(data, now_ms=WallClock().now_ms())
    longest = longest_stretch(candles, loaded.bridge.bars, None, None)
    if candles.interval_ms == loaded.interval_ms and longest < loaded.warmup_bars:
        raise TooFewBars(too_few(candles, loaded, longest))
    path = funding_beside(data) if funding is None else Path(funding)
    rates = None if path is None or funding == "none" else read_funding(path)
    table = forecast_table(loaded, candles, rates, form=form)
    made = int((table[:, 0] == table[:, 0]).sum())
    if not made:
        raise TooFewBars(
            f"{data}: holes left no {loaded.warmup_bars:,} bars in a row, which the first forecast needs; "
            f"`bot data verify {data}` names them"
        )
    columns = dict(zip(FORECAST_COLUMNS, table.T, strict=True))
    write_columns(out, {"start_ms": candles.start_ms, **columns})
    return list(candles.warnings), len(candles), made
