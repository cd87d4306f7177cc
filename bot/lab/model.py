"""A model in Python: ``load_model``, ``train``, ``evaluate``, and the forecasts it makes."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bot.adapters.files.candles import Candles
from bot.adapters.files.columns import to_table
from bot.app.inputs import load_model as load_checked
from bot.app.places import check_writable
from bot.app.times import read_time
from bot.domain.errors import BadUsage
from bot.domain.horizons import Horizons
from bot.domain.market import INTERVALS_MS, interval_name
from bot.lab.calling import Time, context_of, one_line, one_of, path_of, utc_ms
from bot.lab.candles import Source, candles_or_files
from bot.service.moments import minute_words

if TYPE_CHECKING:
    import pyarrow as pa

    from bot.adapters.model.checkpoint import Checkpoint
    from bot.adapters.model.own import OwnModel
    from bot.app.models.training import TrainingProgress
    from bot.features.fitted import Fitted
    from bot.features.unfitted import Unfitted
    from bot.metrics import Metrics
    from bot.web.figure import Figure


class Model:
    """A trained model: what it was trained on, its measured skill, and its forecasts."""

    def __init__(self, checkpoint: "Checkpoint") -> None:
        self._checkpoint = checkpoint

    @property
    def hash(self) -> str:
        """SHA-256 of the weights: the model's name in records."""
        return self._checkpoint.hash

    @property
    def interval(self) -> str:
        """Length of the bars that it forecasts, such as ``5m``."""
        return interval_name(self._checkpoint.interval_ms)

    @property
    def trained_to_ms(self) -> int:
        """Bars before this time, in ms since 1970, were used to fit or choose the model."""
        return self._checkpoint.trained_to_ms

    @property
    def warmup_bars(self) -> int:
        """Unbroken bars before its first forecast counts."""
        return self._checkpoint.warmup_bars

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols that it was trained on."""
        return tuple(self._checkpoint.manifest.symbols)

    @property
    def skill(self) -> dict[str, Any]:
        """Skill on bars after ``trained_to_ms``, measured when it was trained, with intervals."""
        return self._checkpoint.manifest.skill

    def predict(
        self,
        candles: Source,
        *,
        funding: str | Path | None = None,
        form: Literal["bulk", "step"] = "bulk",
    ) -> "pa.Table":
        """Return an Arrow table, one row a bar: ``start_ms`` and the forecasts made at the bar's close.

        A row is null while the model is cold: before ``warmup_bars`` unbroken bars. ``bot help forecasts``
        explains each column and its unit.

        Args:
            candles: of ``read_candles``, or a file.
            funding: a file of settled rates, or ``none``. Default: the file beside the candles' file.
            form: ``bulk``: in chunks; ``step``: one bar at a time, as a live stream; equal to rounding.

        Raises:
            BadModel: bars of another interval.
            BadFile: a file that is not as documented.
        """
        return _predict(self._checkpoint, candles, None if funding is None else str(funding), form)

    def __repr__(self) -> str:
        return (
            f"<Model {self.hash[:12]}: {self.interval} bars of {len(self.symbols)} symbols, trained to "
            f"{minute_words(self.trained_to_ms)}, warm after {self.warmup_bars:,} bars>"
        )


@one_line
def _predict(
    checkpoint: "Checkpoint", candles: Source, funding: str | None, form: Literal["bulk", "step"]
) -> "pa.Table":
    from bot.app.models.forecasting import make_forecasts

    one_of(form, ("bulk", "step"), "form")
    return to_table(make_forecasts(checkpoint, one_series(candles), form, funding))


def one_series(candles: Source) -> Candles:
    """Return candles as they are, or those of a file.

    Raises:
        BadUsage: several, or a table.
        BadFile, BadBar: the file is not as documented.
    """
    from bot.app.inputs import read_history

    return read_history(candles_or_files(candles)[:1], "none").candles[0]


def model_of(given: object) -> "Checkpoint | Path | tuple[Fitted | Unfitted, ...] | None":
    """Return what a plan takes: a loaded model, a directory, models of the user's own, or None.

    Raises:
        BadUsage: something else.
    """
    if given is None or isinstance(given, Model):
        return None if given is None else given._checkpoint
    if isinstance(given, str | Path):
        return Path(given)
    from bot.features.fitted import Fitted  # it loads a compiler
    from bot.features.unfitted import Unfitted

    parts = tuple(given) if isinstance(given, list | tuple) else (given,)
    wrong = next((each for each in parts if not isinstance(each, Fitted | Unfitted)), None)
    if wrong is not None or not parts:
        named = "an empty list" if wrong is None else f"a {type(wrong).__name__}"
        raise BadUsage(
            f"model: cannot take {named}; give a model, its directory, or what bot.fit returns for a target "
            "that is named"
        )
    return parts


@one_line
def load_model(path: str | Path | None = None) -> Model:
    """Load a model directory, or the shipped model.

    ``bot.load_model().predict(candles)``

    Args:
        path: the name or the directory. Default: the shipped model.

    Raises:
        BadModel: it is incomplete, altered, or made for features that this version does not have.
    """
    found = context_of(None).model_dir(None if path is None else Path(path))
    return Model(load_checked(found, ()))


@one_line
def train(
    candles: Source | Sequence[Source],
    out: str | Path,
    *,
    cut: Time | None = None,
    valid_until: Time | None = None,
    stop_days: int | None = None,
    epochs: int = 12,
    seed: int = 0,
    device: str = "cpu",
    threads: int = 1,
    lr: float = 3e-3,
    lanes: int = 8,
    window: int = 512,
    d_model: int = 64,
    layers: int = 2,
    features: int = 16,
    half_lives: Sequence[float] = (16.0, 64.0, 256.0, 1024.0),
    patience: int = 4,
    dropout: float = 0.1,
    trials: int = 1,
    force: bool = False,
    definition: str | Path | Mapping[str, object] | None = None,
    interval: str | None = None,
    horizons: Sequence[int] | None = None,
    progress: "Callable[[TrainingProgress], None] | None" = None,
) -> Model:
    """Train a model on candles of one interval, write its directory and return it, as ``bot train`` does.

    The split is by time alone: the epoch is chosen on days before ``cut``, skill is measured after it.

    Args:
        candles: of ``read_candles``, or files; a list for several symbols.
        out: the directory to write.
        cut: fit and choose on bars before, validate after. Default: the last 15 %.
        valid_until: no bar after it is used. Default: the end of the data.
        stop_days: days before the cut to choose the epoch on.
        epochs: passes over the data.
        seed: same seed, same weights.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``: cuda where there is one, else cpu.
        threads: of torch on the CPU.
        lr: peak rate.
        lanes: streams read in parallel.
        window: bars between updates.
        d_model: width.
        layers: depth.
        features: random features a head.
        half_lives: of each head, in bars.
        patience: epochs without a better one, then stop.
        dropout: share of values left out in training.
        trials: configurations tried so far, for the record.
        force: replace a model that is in ``out`` already.
        definition: features, horizons and half-lives of your own: a TOML file, or its keys in a dict, such
            as ``{"targets": {"minutes": [30, 240]}, "features": {"add": {"gap": "close / open"}}}``.
            What is added may also be an indicator of ``bot.features.indicators``, such as
            ``close / sma(close, 48)``. The manifest records it as text.
        interval: join the bars to longer ones, such as ``"1h"``, and train on these.
        horizons: minutes ahead of the two returns, the shorter first, such as ``[240, 1440]``. Default: the
            definition's, else 15 and 60.
        progress: called after each step and each epoch.

    Raises:
        BadUsage: a cut outside the data, or a model in ``out`` without ``force``.
        BadSettings: a definition that names what there is not; says file, line and key.
        BadFile, BadModel: files that are not candles, or a place that cannot hold a model.
        BotError: the training diverged or learned nothing; nothing is written.
    """
    from bot.app.models.training import TrainingJob

    if interval is not None:
        one_of(interval, tuple(INTERVALS_MS), "interval")
    context_of(None)
    job = TrainingJob(
        candles_or_files(candles),
        Path(out),
        cut=utc_ms(cut, "cut"),
        valid_until=utc_ms(valid_until, "valid_until"),
        stop_days=stop_days,
        half_lives=",".join(map(str, half_lives)),
        trials=trials,
        force=force,
        definition=Path(definition) if isinstance(definition, str) else definition,
        interval_ms=None if interval is None else INTERVALS_MS[interval],
        horizons=None if horizons is None else ",".join(map(str, horizons)),
        epochs=epochs,
        seed=seed,
        device=device,
        threads=threads,
        lr=lr,
        lanes=lanes,
        window=window,
        d_model=d_model,
        layers=layers,
        features=features,
        patience=patience,
        dropout=dropout,
    )
    job.fit(progress or _say_nothing)
    job.save()
    return Model(load_checked(Path(out), ()))


def _say_nothing(progress: "TrainingProgress") -> None:
    """Show no progress."""


class Evaluation:
    """Skill of a model and the baselines on the same rows. ``numbers`` is the JSON of ``bot evaluate``."""

    def __init__(self, numbers: dict[str, Any]) -> None:
        self.numbers = numbers
        self._names = Horizons.of_minutes(numbers["horizons_minutes"]).figures

    @cached_property
    def table(self) -> "pa.Table":
        """One row for each symbol, forecaster and figure: the value, and its 95 % day-bootstrap interval.

        ``qlike_minus`` and ``diebold_mariano_…`` of a baseline compare the model with it: ours minus theirs.
        ``var_…`` are shares of hours beyond the VaR and the p-values of their tests, ``band_…`` shares of
        hours inside a band of the variance. Their quantiles move with the hours that have ended;
        ``…_fixed_…`` beside them are those of quantiles that stay, and ``followed_minus_fixed`` compares the
        losses of the two. See ``months``, too.
        """
        import pyarrow as pa

        rows = [
            {"symbol": one["symbol"], "forecaster": name, "figure": figure, **_interval(told)}
            for one in self.numbers["files"]
            for name, figures in _figures_of(one, self._names).items()
            for figure, told in figures.items()
        ]
        kinds: dict[str, pa.DataType] = dict.fromkeys(("symbol", "forecaster", "figure"), pa.string())
        kinds |= dict.fromkeys(("value", "low", "high"), pa.float64())
        return pa.Table.from_pylist(rows, pa.schema(kinds))

    @cached_property
    def months(self) -> "pa.Table":
        """One row for each symbol, month and forecaster: ``qlike_rv_60m``, and the model's ``ic_ret_60m``.

        For other horizons they are named after these.
        """
        import pyarrow as pa

        qlike, _, _, ic_long, _ = self._names
        rows = []
        for one in self.numbers["files"]:
            for month in one["months"]:
                at = {"symbol": one["symbol"], "month": month["month"], "rows": month["rows"]}
                ours = {name: _interval(month[name])["value"] for name in (qlike, ic_long)}
                rows.append({**at, "forecaster": "model", **ours})
                rows += [
                    {**at, "forecaster": name, qlike: figure} for name, figure in month["baselines"].items()
                ]
        kinds: dict[str, pa.DataType] = {
            **dict.fromkeys(("symbol", "month"), pa.string()), "rows": pa.int64(), "forecaster": pa.string(),
            **dict.fromkeys((qlike, ic_long), pa.float64()),
        }  # fmt: skip
        return pa.Table.from_pylist(rows, pa.schema(kinds))

    @property
    def metrics(self) -> "dict[str, Metrics]":
        """The model's figures by symbol, without their intervals; None: undefined."""
        return {
            one["symbol"]: {name: _interval(one[name])["value"] for name in self._names}
            for one in self.numbers["files"]
        }

    def report(self, path: str | Path) -> Path:
        """Write the page of ``bot evaluate --report``, one file that needs no network; return its path.

        Raises:
            BadUsage: the file cannot be written.
        """
        return _write(self, path)

    def plot(self) -> "Figure":
        """Return QLIKE of each month, the model's beside that of ``har_hour``; smaller is better.

        ``bot.evaluate(candles).plot().save("skill.svg")`` writes it.
        """
        from bot.web.figure import figure_of_months, figure_of_nothing

        qlike = self._names[0]
        months = sorted({month["month"] for one in self.numbers["files"] for month in one["months"]})
        titles, pairs = [], []
        for one in self.numbers["files"]:
            by_month = {each["month"]: each for each in one["months"]}
            rows = [by_month.get(name, {qlike: None, "baselines": {}}) for name in months]
            ours = np.array([_interval(row[qlike])["value"] for row in rows], np.float64)
            theirs = np.array([row["baselines"].get(_BESIDE) for row in rows], np.float64)
            if np.isfinite(ours).any():
                pairs.append((ours, theirs))
                titles.append(f"{one['symbol']}: {qlike} by month")
        if len(months) < 2 or not pairs:
            return figure_of_nothing("Fewer than two months with a figure: nothing to draw.")
        return figure_of_months(titles, np.array([read_time(f"{each}-01") for each in months]), pairs)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>{self.plot()._repr_html_()}"

    def __repr__(self) -> str:
        lines = [f"<Evaluation of model {self.numbers['model_hash'][:12]}; value [95 % interval]"]
        for one in self.numbers["files"]:
            told = (
                f"{figure} {_words(one[figure])} (har_hour {_words(one['baselines'][_BESIDE][figure])})"
                if _BESIDE in one["baselines"]
                else f"{figure} {_words(one[figure])}"
                for figure in self._names
            )
            lines.append(f" {one['symbol']} {one['interval']}, {one['rows']:,} rows")
            lines += [f"  {each}" for each in told]
            lines += [f"  LEAK ALARM: {leak}" for leak in one["leak_alarm"]]
        if self.numbers["in_sample"]:
            lines.append(" some of these bars were fitted or chosen on: these figures are in-sample")
        return "\n".join(lines) + ">"


_BESIDE = "har_hour"


@one_line
def _write(evaluation: Evaluation, path: str | Path) -> Path:
    from bot.app.models.forecasting import write_evaluation

    path = path_of(path, "path")
    check_writable(path, "report")
    write_evaluation(path, evaluation.numbers)
    return path


def _figures_of(
    one: dict[str, Any], names: Sequence[str]
) -> dict[str, dict[str, dict[str, float | None] | None]]:
    """Return the figures of one file by forecaster and name."""
    found: dict[str, dict[str, dict[str, float | None] | None]] = {
        name: {figure: scores[figure] for figure in names}
        for name, scores in {"model": one, **one["baselines"]}.items()
    }
    for name, told in one["vol_target"].items():
        found[name]["vol_target_miss"] = told
    for name, told in one["qlike_minus"].items():
        found[name]["qlike_minus"] = told
    for name, test in one["diebold_mariano"].items():
        figures = {f"diebold_mariano_{key}": (test or {}).get(key) for key in ("statistic", "p_value")}
        found[name] |= _alone(figures)
    ours = found["model"]
    ours |= {f"ic_beyond_reversal_{name}": told for name, told in one["ic_beyond_reversal"].items()}
    for kind in ("var", "var_fixed"):
        for name, test in one[kind].items():
            share = None if test is None else test["beyond"] / test["rows"]
            told = {key: (test or {}).get(key) for key in ("kupiec_p", "christoffersen_p")}
            shares = {"beyond_frac": share, **told}
            ours |= _alone({f"{kind}_{name}_{key}": each for key, each in shares.items()})
    ours["followed_minus_fixed"] = one["followed_minus_fixed"]
    for name, band in (one["bands"] or {}).items():
        ours |= {f"band_{name}": band["followed"], f"band_fixed_{name}": band["fixed"]}
    return found


def _alone(values: dict[str, float | None]) -> dict[str, dict[str, float | None] | None]:
    """Return figures that have no interval."""
    return {name: {"value": value, "low": None, "high": None} for name, value in values.items()}


def _interval(figure: dict[str, float | None] | None) -> dict[str, float | None]:
    return figure if figure is not None else {"value": None, "low": None, "high": None}


def _words(figure: dict[str, float | None] | None) -> str:
    told = _interval(figure)
    value, low, high = told["value"], told["low"], told["high"]
    if value is None:
        return "–"
    return f"{value:.4f}" if low is None or high is None else f"{value:.4f} [{low:.4f}, {high:.4f}]"


@one_line
def evaluate(
    candles: Source | Sequence[Source],
    model: "Model | Fitted | Sequence[Fitted] | str | Path | None" = None,
    *,
    start: Time | None = None,
    end: Time | None = None,
    funding: Literal["beside", "none"] = "beside",
    seed: int = 0,
) -> Evaluation:
    """Score a model and every baseline on the same rows, as ``bot evaluate`` does.

    Baselines are fitted on the bars before the model's ``trained_to_ms``.

    Args:
        candles: of ``read_candles``, or files; a list for several symbols.
        model: a model or its directory, or what ``bot.fit`` returned for a target of a forecast, or several
            of these. What they do not forecast has no figures. Default: the shipped one.
        start: first bar, UTC. Default: the model's ``trained_to_ms``.
        end: bars before this time. Default: the end of the data.
        funding: ``none``: without the rates beside the candles' files.
        seed: of the bootstrap.

    Raises:
        BadFile, BadModel: the data or the model are not as documented.
    """
    from bot.app.models.forecasting import evaluate_model

    one_of(funding, ("beside", "none"), "funding")
    context, given = context_of(None), model_of(model)
    if isinstance(given, tuple):
        scored: Checkpoint | OwnModel | Path | None = _own(given)
    else:
        scored = context.model_dir(given) if isinstance(given, Path) else given
    return Evaluation(
        evaluate_model(
            candles_or_files(candles),
            scored,
            utc_ms(start, "start"),
            utc_ms(end, "end"),
            funding=funding == "beside",
            seed=seed,
        )
    )


def _own(parts: "tuple[Fitted | Unfitted, ...]") -> "OwnModel":
    from bot.adapters.model.own import own_model
    from bot.features.fitted import Fitted

    fitted = [each for each in parts if isinstance(each, Fitted)]
    if len(fitted) < len(parts):
        raise BadUsage("model: was never fitted; give what bot.fit returns")
    return own_model(fitted, fitted[0].interval_ms)
