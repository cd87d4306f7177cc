"""Forecasts of a model on candle files: its skill against baselines, and its forecasts as a table."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bot.adapters.files import shipped
from bot.adapters.files.candles import LAST_START_MS, Candles, funding_beside, read_candles, read_funding
from bot.adapters.files.columns import Array, write_columns
from bot.adapters.files.joining import refuse_twice
from bot.adapters.files.whole import write_text
from bot.adapters.model import checkpoint
from bot.adapters.model.checkpoint import Checkpoint
from bot.adapters.model.own import OwnModel, own_table
from bot.adapters.model.predictor import forecast_table, settled_forecasts
from bot.adapters.state.clock import WallClock
from bot.app.models.enough import longest_stretch, too_few
from bot.domain.errors import BadFile, BadUsage, TooFewBars
from bot.domain.market import DAY_MS, interval_name
from bot.domain.spans import span_words
from bot.ports import Floats
from bot.research import holes
from bot.research.dataset import RV, LabelledRows, label_rows
from bot.research.record import TARGET_COLUMNS
from bot.research.skill.diagnostics import diagnose, training_alarm
from bot.research.skill.evaluate import Forecasts, forecast_all, report
from bot.research.skill.tails import Tails, fit_tails
from bot.service.moments import minute_words
from bot.settings.models import SHIPPED, model_for, shipped_twin

_LOG_SD_COLUMN = 1
_DAYS_MIN = 2
"""Days with rows below which a day-bootstrap has no interval."""


def evaluate_model(
    data: Sequence[Path | Candles],
    model: Path | Checkpoint | OwnModel | None,
    start_ms: int | None,
    end_ms: int | None,
    *,
    funding: bool,
    seed: int,
) -> dict[str, Any]:
    """Score the model and every baseline on the same rows; baselines are fitted before ``trained_to``.

    Of models of the user's own that do not forecast something its figures are None.

    Without ``start_ms``, bars that a shipped model has seen are judged by its twin.

    Raises:
        TooFewBars: a file has less than two days of rows to score.
    """
    loaded: Checkpoint | OwnModel
    loaded = checkpoint.load(model or shipped.model_path()) if isinstance(model, Path | None) else model
    now_ms = WallClock().now_ms()
    rates = "beside" if funding else None
    candles = [each if isinstance(each, Candles) else read_candles(each, now_ms=now_ms) for each in data]
    refuse_twice(candles)
    _require_bars(candles, loaded)
    twin = shipped_twin(model or shipped.model_path()) if isinstance(model, Path | None) else None
    is_twin = twin is not None and start_ms is None and not _leaves_days(loaded, candles, end_ms)
    if twin is not None and is_twin:
        loaded = checkpoint.load(SHIPPED[twin])
    files = [
        label_rows(each, loaded.feature_set, rates, bridge=loaded.bridge, horizons=loaded.horizons)
        for each in candles
    ]
    trained_to_ms = loaded.trained_to_ms or 0
    from_ms = start_ms or trained_to_ms
    to_ms = end_ms or max(int(rows.close_ms[-1]) for rows in files)
    forecasts, skipped = forecast_all(
        files,
        partial(_targets_of, loaded),
        trained_to_ms,
        from_ms,
        to_ms,
    )
    for one in forecasts:
        _require_days(one, loaded, from_ms, to_ms)
    earlier = fit_tails([(one.rows, one.by_name["model"]) for one in forecasts], from_ms)
    # Without earlier hours it is the distribution that a model of bot.train is trained with.
    tails = None if isinstance(loaded, OwnModel) and not len(earlier.z) else earlier
    return {
        "model_hash": loaded.hash,
        "is_twin": is_twin,
        "twin": twin if is_twin else None,
        "horizons_minutes": list(loaded.horizons.minutes),
        "trained_to_ms": trained_to_ms,
        "in_sample": from_ms < trained_to_ms,
        "skipped_baselines": skipped,
        "files": [_judged(one, trained_to_ms, tails, seed) for one in forecasts],
    }


def _require_bars(candles: Sequence[Candles], model: Checkpoint | OwnModel) -> None:
    """Refuse bars that the model is not for.

    Raises:
        BadFile: names the model that ships for these, if one does.
    """
    needs = interval_name(model.interval_ms)
    for each in candles:
        if each.interval_ms != model.interval_ms:
            raise BadFile(
                f"{each.path or each.symbol}: bars of {interval_name(each.interval_ms)}, but the model needs "
                f"{needs}; {model_for(each.interval_ms)}, or use candles of {needs}"
            )


def _targets_of(model: Checkpoint | OwnModel, rows: LabelledRows) -> Floats:
    """Return the model's forecasts of the targets and ``rv_log_sd`` behind them, ``(T, 4)``.

    NaN where it has none that can be scored.
    """
    columns = [*TARGET_COLUMNS, _LOG_SD_COLUMN]
    if isinstance(model, Checkpoint):
        return settled_forecasts(model, rows.start_ms, rows.features, rows.withheld)[:, columns]
    made = own_table(model, rows.features)[:, columns]
    made[~(made[:, RV] > 0.0), RV] = np.nan  # a variance of 0 or less is none
    return made


def _leaves_days(model: Checkpoint | OwnModel, candles: Sequence[Candles], end_ms: int | None) -> bool:
    """Return whether every file has enough bars to score that the model has not seen."""
    last_ms = min([each.end_ms for each in candles] + [end_ms or LAST_START_MS])
    return last_ms - (model.trained_to_ms or 0) >= _DAYS_MIN * DAY_MS + model.horizons.long_ms


def _judged(one: Forecasts, trained_to_ms: int, tails: Tails | None, seed: int) -> dict[str, Any]:
    """Return scores, diagnostics and leak alarms of one file."""
    told = report(one, seed)
    alarms = [
        *training_alarm(one.rows.close_ms[one.mask], trained_to_ms, one.rows.horizons),
        *told["leak_alarm"],
    ]
    return told | diagnose(one.rows, one.mask, one.by_name, tails, seed) | {"leak_alarm": alarms}


def write_evaluation(path: Path, told: dict[str, Any]) -> None:
    """Write the result of ``evaluate_model`` as a page.

    Raises:
        NotWritten: the place cannot be written.
    """
    from bot.web.evaluation import render_evaluation

    write_text(path, render_evaluation(told))


def _require_days(forecasts: Forecasts, model: Checkpoint | OwnModel, from_ms: int, to_ms: int) -> None:
    """Refuse to score a file without two days of rows: there would be no interval, or no figure at all.

    Raises:
        TooFewBars: says what is there and what is needed.
    """
    rows, scored = forecasts.rows, forecasts.rows.close_ms[forecasts.mask]
    days = len(np.unique(scored // DAY_MS))
    if days >= _DAYS_MIN:
        return
    known = int(rows.close_ms[-1]) <= (model.trained_to_ms or 0)
    hint = (
        "; its bars lie before the model's trained_to, so --start scores them as in-sample" if known else ""
    )
    ahead_ms = model.horizons.long_ms
    need = model.warmup_bars + (_DAYS_MIN * DAY_MS + ahead_ms) // model.interval_ms
    raise TooFewBars(
        f"{rows.path or 'these candles'}: {len(scored):,} rows to score on {days} days from "
        f"{minute_words(from_ms)} to {minute_words(to_ms)}, it needs {_DAYS_MIN} days; there are bars from "
        f"{minute_words(int(rows.start_ms[0]))} to {minute_words(int(rows.close_ms[-1]))}. A row needs "
        f"{model.warmup_bars:,} unbroken bars before it and {span_words(ahead_ms)} after it: give {need:,} "
        f"bars ({span_words(need * model.interval_ms)}) that end "
        f"{span_words(_DAYS_MIN * DAY_MS + ahead_ms)} after --start or later{hint}"
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
    from_ms = start_ms or loaded.judged_from_ms
    if from_ms < loaded.judged_from_ms:
        raise BadUsage("--start: lies before the model's trained_to; holes are measured on later bars")
    now_ms = WallClock().now_ms()
    files = []
    for file in data:
        candles = read_candles(file, now_ms=now_ms)
        _require_bars([candles], loaded)
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
    columns = make_forecasts(loaded, candles, form, funding)
    write_columns(out, columns)
    first = columns[loaded.horizons.columns[0]]
    return list(candles.warnings), len(candles), int((first == first).sum())


def make_forecasts(
    model: Checkpoint, candles: Candles, form: Literal["bulk", "step"], funding: str | None
) -> dict[str, Array]:
    """Return ``start_ms`` and the forecast columns, one row a bar; NaN where no forecast counts.

    ``funding`` as for a backtest: None for the file beside the candles, ``none``, or a file.

    Raises:
        BadFile, BadModel: the rates or the bars do not fit.
        TooFewBars: not one forecast can be made.
    """
    longest = longest_stretch(candles, model.bridge.bars, None, None)
    if candles.interval_ms == model.interval_ms and longest < model.warmup_bars:
        raise TooFewBars(too_few(candles, model, longest))
    path = funding_beside(candles.path) if funding is None else Path(funding)
    rates = None if path is None or funding == "none" else read_funding(path)
    table = forecast_table(model, candles, rates, form=form)
    if np.isnan(table[:, 0]).all():
        name = candles.path or candles.symbol
        raise TooFewBars(
            f"{name}: holes left no {model.warmup_bars:,} bars in a row, which the first forecast needs; "
            f"`bot data verify {name}` names them"
        )
    return {"start_ms": candles.start_ms, **dict(zip(model.horizons.columns, table.T, strict=True))}
