"""Training: candle files to a model directory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.adapters.files.candles import Candles, read_candles
from bot.adapters.files.joining import coarser, refuse_twice
from bot.adapters.model import checkpoint
from bot.adapters.model.checkpoint import Manifest
from bot.adapters.state.clock import WallClock
from bot.domain.errors import BadInput, BadUsage
from bot.domain.horizons import HOUR, Horizons
from bot.domain.market import DAY_MS, interval_name
from bot.features.definition import Definition, own_set
from bot.features.spec import NEWEST, SETS, FeatureSet, build
from bot.research import record
from bot.research.dataset import LabelledRows, Split, label_rows
from bot.research.device import find_device, repeatable
from bot.research.processes import join, own_device
from bot.research.record import iso
from bot.research.train import TrainingProgress, TrainingSettings, fit, refit
from bot.service.moments import minute_words
from bot.settings.definition import FeatureColumns, ReadDefinition, TargetHorizons, read_definition
from bot.settings.models import twin_place

__all__ = ["TrainingJob", "TrainingProgress"]

_VALIDATED_SHARE = 0.15
_CHOSEN_SHARE = 0.1


class TrainingJob:
    """One training: files read, split in time, and settings checked.

    Raises:
        BadUsage: a cut outside the data, half-lives that are no numbers, a model that would be replaced
            without ``force``, bars that are longer than a horizon, or a device that is not there.
        BadFile, BadModel: files that are not candles, or a place that cannot hold a model.
    """

    def __init__(
        self,
        data: Sequence[Path | Candles],
        out: Path,
        *,
        cut: int | None,
        valid_until: int | None,
        stop_days: int | None,
        half_lives: str,
        trials: int,
        refitted: bool = False,
        force: bool = False,
        definition: Path | Mapping[str, object] | None = None,
        horizons: str | None = None,
        interval_ms: int | None = None,
        **settings: Any,  # fields of research.train.TrainingSettings as they are
    ) -> None:
        self._twin = twin_place(out) if refitted else None
        self._out = out
        self._trials = trials
        self._processes = join()

        def prepare() -> None:
            for place in (out,) if self._twin is None else (out, self._twin):
                checkpoint.check_place(place)
                if not force:
                    _refuse_to_replace(place)
            defined = _with_horizons(horizons, None if definition is None else read_definition(definition))
            lives = _half_lives(half_lives, defined)
            settings["device"] = own_device(find_device(settings.get("device", "cpu")))
            self._settings = TrainingSettings(half_lives=lives, heads=len(lives), **settings)
            self._processes.lanes_of(self._settings.lanes)
            self._files, self._feature_set = _read(data, defined, interval_ms)
            self._split = _split(self._files, cut, valid_until, stop_days)

        settings["processes"] = self._processes.count
        self._processes.together(prepare, lambda made: self._fingerprint())

    @property
    def speaks(self) -> bool:
        """Whether this process writes and says what there is to say; of several only the first does."""
        return self._processes.is_first

    @property
    def horizons(self) -> Horizons:
        """How far ahead the model forecasts."""
        return self._files[0].horizons

    def plan_lines(self) -> Iterator[str]:
        """Yield which rows are fitted, chosen on and validated on."""
        return _plan_lines(self._files, self._split)

    def fit(self, on_progress: Callable[[TrainingProgress], None]) -> int:
        """Train; return the chosen epoch. To refit, train again on every row.

        Raises:
            BotError: the training diverged or learned nothing.
        """
        given = (self._files, self._feature_set, self._split, self._settings)
        tell = on_progress if self.speaks else _say_nothing
        with repeatable(self._settings.device):
            self._trained = fit(*given, tell, self._processes)
            if self._twin is not None:
                self._refitted = refit(*given, self._trained, tell, self._processes)
        return self._trained.best_epoch

    def save(self) -> Manifest:
        """Measure skill and warm-up, and write the model directory; to refit, the twin's as well.

        Of several processes the first one does it; the others return when it is done.
        """
        try:
            return self._processes.decide(self._save)
        finally:
            self._processes.leave()

    def _fingerprint(self) -> tuple[object, ...]:
        """Return what must be equal in all processes."""
        settings = repr(replace(self._settings, device=""))
        bars = [rows.sha256 for rows in self._files]
        return settings, repr(self._split), repr(self.horizons), self._feature_set.hash, bars

    def _save(self) -> Manifest:
        given = (self._files, self._feature_set, self._split)
        judged = record.manifest(self._trained, *given, self._settings, self._trials)
        weights = record.weights(self._trained.model)
        if self._twin is None:
            return checkpoint.save(self._out, judged, weights).manifest
        twin = checkpoint.save(self._twin, judged, weights).manifest
        manifest = record.refitted(twin, self._refitted, *given)
        return checkpoint.save(self._out, manifest, record.weights(self._refitted.model)).manifest


def _say_nothing(progress: TrainingProgress) -> None:
    """Show no progress."""


def _refuse_to_replace(out: Path) -> None:
    """Keep a model that is there: it cost hours, and nobody may have another copy.

    Raises:
        BadUsage: a model is there.
    """
    if out.is_dir() and any(out.iterdir()):
        raise BadUsage(
            f"--out {out}: a model is there already; name another directory, or give --force to replace it"
        )


def horizons_of(defined: ReadDefinition | None, candles: Candles) -> Horizons:
    """Return how far ahead a model of these bars shall forecast: what the definition says, or an hour.

    Raises:
        BadSettings: the definition's horizons are none, or not whole numbers of bars.
        BadUsage: there is no definition of others, and 15 minutes are less than a bar: no return over them
            would ever be known.
    """
    if defined is not None and "targets" in defined.keys.model_fields_set:
        try:
            horizons = Horizons.of_minutes(defined.keys.targets.minutes)
            horizons.require_bars(candles.interval_ms)
        except BadInput as error:
            raise defined.error(str(error)) from error
        return horizons
    if candles.interval_ms > HOUR.short_ms:
        bar, short = interval_name(candles.interval_ms), interval_name(HOUR.short_ms)
        raise BadUsage(
            f"{candles.path or candles.symbol}: bars of {bar} are longer than the horizon of ret_15m "
            f"({short}), so it can never be learned; train on bars of {short} or less, or give longer "
            "horizons with --horizons, or with --definition ([targets] minutes)"
        )
    return HOUR


def _read(
    data: Sequence[Path | Candles], defined: ReadDefinition | None, interval_ms: int | None
) -> tuple[list[LabelledRows], FeatureSet]:
    now_ms = WallClock().now_ms()
    candles = [each if isinstance(each, Candles) else read_candles(each, now_ms=now_ms) for each in data]
    refuse_twice(candles)
    if interval_ms is not None:
        candles = [coarser(each, interval_ms) for each in candles]
    horizons = horizons_of(defined, candles[0])
    feature_set = feature_set_of(defined, candles[0].interval_ms)
    return [label_rows(each, feature_set, horizons=horizons) for each in candles], feature_set


def feature_set_of(defined: ReadDefinition | None, interval_ms: int) -> FeatureSet:
    """Return the features of a definition; a default set if it changes none of its columns.

    Raises:
        BadSettings: the definition names what there is not.
    """
    columns = FeatureColumns() if defined is None else defined.keys.features
    base = NEWEST if columns.base is None else columns.base
    if defined is not None and base not in SETS:
        raise defined.error(f"features.base: there is no set {base!r}; there are {', '.join(SETS)}")
    if columns == FeatureColumns(base=columns.base):
        return build(base, interval_ms)
    try:
        return own_set(Definition(tuple(columns.keep), tuple(columns.drop), columns.add, base), interval_ms)
    except BadInput as error:
        assert defined is not None
        raise defined.error(str(error)) from error


def _split(
    files: Sequence[LabelledRows], cut: int | None, valid_until: int | None, stop_days: int | None
) -> Split:
    """Return the cuts in time; those not given follow from the span of the data."""
    first_ms = min(int(rows.start_ms[0]) for rows in files)
    valid_ms = valid_until or max(int(rows.close_ms[-1]) for rows in files)
    cut_ms = cut or _midnight(valid_ms - _VALIDATED_SHARE * (valid_ms - first_ms))
    days = stop_days or min(28, max(1, int(_CHOSEN_SHARE * (cut_ms - first_ms) / DAY_MS)))
    if not first_ms < cut_ms - days * DAY_MS < cut_ms < valid_ms:
        raise BadUsage(
            f"--cut {minute_words(cut_ms)}: must lie inside the data ({minute_words(first_ms)} to "
            f"{minute_words(valid_ms)}), with {days} days to choose on between their start and the cut"
        )
    return Split(stop_ms=cut_ms - days * DAY_MS, cut_ms=cut_ms, valid_ms=valid_ms)


def _midnight(ms: float) -> int:
    return int(ms) // DAY_MS * DAY_MS


def _half_lives(text: str, defined: ReadDefinition | None) -> tuple[float, ...]:
    try:
        given = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise BadUsage(f"--half-lives {text}: write bars separated by commas, such as 16,64,256") from error
    if defined is None or defined.keys.half_lives is None:
        return given
    if given != TrainingSettings.half_lives:
        raise BadUsage("--half-lives: the definition has half_lives; keep one of them")
    return tuple(defined.keys.half_lives)


def _with_horizons(text: str | None, defined: ReadDefinition | None) -> ReadDefinition | None:
    """Return the definition with the horizons that were given beside it."""
    if text is None:
        return defined
    try:
        minutes = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise BadUsage(f"--horizons {text}: write two numbers of minutes, such as 240,1440") from error
    if defined is None:
        return read_definition({"targets": {"minutes": minutes}})
    if "targets" in defined.keys.model_fields_set:
        raise BadUsage("--horizons: the definition has targets.minutes; keep one of them")
    keys = defined.keys.model_copy(update={"targets": TargetHorizons(minutes=minutes)})
    return replace(defined, keys=keys)


def _plan_lines(files: Sequence[LabelledRows], split: Split) -> Iterator[str]:
    for what, mask, from_ms, to_ms in (
        ("fit", split.fit, 0, split.stop_ms),
        ("choose", split.choose, split.stop_ms, split.cut_ms),
        ("validate", split.validate, split.cut_ms, split.valid_ms),
    ):
        rows = sum(int(mask(one).sum()) for one in files)
        begin = f"{iso(from_ms)} to " if from_ms else "up to "
        yield f"{what:9}{rows:>10,} rows  {begin}{iso(to_ms)}"
