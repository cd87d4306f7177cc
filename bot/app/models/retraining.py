"""Retraining: fit the model in use again on newer bars, judge the result, promote it only if it is better.

::

    |<-------------- window_days -------------->|
    | fit ............... | choose |   judge     |      the judged model never saw the days to judge
    | fit again on every bar                    |      retrain.promote = refitted: this one is promoted

The model in use has not seen the days to judge either: they begin after its own training at the earliest.
The recipe (features, sizes, epochs) is that of the model in use. The same data and seed give the same
candidate, to the bit.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bot.adapters.files import shipped
from bot.adapters.files.candles import Candles, read_candles
from bot.adapters.files.joining import join_candles
from bot.adapters.model import checkpoint
from bot.adapters.model.checkpoint import Checkpoint
from bot.adapters.model.lineage import Attempt, Lineage
from bot.adapters.model.predictor import settled_forecasts, settled_rows
from bot.adapters.state.clock import WallClock
from bot.app.candles.fresh import Fresh
from bot.app.models.listing import find_twin
from bot.app.models.training import TrainingJob, TrainingProgress
from bot.app.state.journals import models_in_journals
from bot.domain.errors import BadModel, BadUsage, BotError, NotPromoted, TooFewBars
from bot.domain.horizons import HOUR
from bot.domain.market import DAY_MS, interval_name
from bot.ports import Floats
from bot.research.dataset import LabelledRows, label_rows
from bot.research.skill.succession import Judge, Judgement, words
from bot.research.train import TrainingSettings
from bot.service.moments import minute_words
from bot.settings import Settings
from bot.settings.models import FOLDER, model_for, twin_place

_NAMED = 3
"""Symbols that a reason names; it counts the others."""


@dataclass(frozen=True)
class Promotion:
    """A candidate that is now the current model: where it lies, why, and the figures of the judgement."""

    model: Checkpoint
    path: Path
    reason: str
    figures: dict[str, Any]


def lineage_of(settings: Settings) -> Lineage:
    """Return the models that retraining made in the state directory of these settings."""
    return Lineage(settings.state_dir / FOLDER)


def base_of(settings: Settings) -> Checkpoint:
    """Return the model that the settings name: the first of its line.

    Raises:
        BadModel: there is none, or it is damaged.
    """
    return checkpoint.load(settings.model.path or shipped.model_path())


class RetrainJob:
    """One retraining: what is retrained, on which bars, and on which days it is judged.

    Args:
        data: candle files or candles, several of one symbol are joined; empty: those of ``data_dir``.
        until_ms: bars that close later are left out; None: the end of the data.
        seed: of the training and of the draws of days.
        epochs: passes over the data; None: as many as the model in use had.
        candidate: a model that was trained elsewhere: judge it instead of training one.
        began_ms: when a daemon began it by its schedule; None: it was asked for by hand.
        fetch: returns the candle files in place of ``data`` once it is its turn, and which symbols have no
            new bars; it may write into the folder that it is given.

    Raises:
        BadModel, BadFile: the model in use or the bars are damaged.
        BadUsage: there are no bars.
    """

    def __init__(
        self,
        settings: Settings,
        data: Sequence[Path | Candles] = (),
        *,
        until_ms: int | None = None,
        seed: int = 0,
        epochs: int | None = None,
        candidate: Path | None = None,
        began_ms: int | None = None,
        fetch: Callable[[Path], Fresh] | None = None,
    ) -> None:
        self._chosen = settings.retrain
        self._refits = settings.retrain.promote == "refitted"
        self._seed, self._epochs, self._given = seed, epochs, candidate
        self._began_ms = began_ms
        self.lineage = lineage_of(settings)
        self._state_dir = settings.state_dir
        self._traded = settings.feed.symbols
        self.base = base_of(settings)
        self.incumbent, self.trouble = self.lineage.current(self.base)
        self._until_ms = until_ms
        self._fetch = fetch
        self._data = data
        self._lacking: dict[str, str] = {}
        self._absent: list[str] = []
        if not data and fetch is None:
            self._data = files_of(settings, self.incumbent.interval_ms)

    def run(
        self,
        on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
        say: Callable[[str], None] = lambda line: None,
    ) -> Promotion:
        """Retrain, judge and promote; every end is noted in the record.

        Raises:
            NotPromoted: the candidate is not better than the model in use beyond noise, or it is leaky.
            BadModel: the candidate is broken, or has another interval or other features.
            TooFewBars: the model in use has not been trained long enough ago, or the bars do not reach.
            BotError: the training failed, another one runs, or the state directory cannot be written.
        """
        with self.lineage.locked():
            try:
                return self._promoted(on_progress, say)
            except BotError as error:
                self._note(verdict_of(error), self.told(str(error)))
                raise

    def told(self, reason: str) -> str:
        """Return a reason with the symbols that the retraining had to do without, and why."""
        stale = [symbol for symbol in self._lacking if symbol not in self._absent]
        words = [reason]
        if self._absent:
            words.append(f"without any bars of {_named(self._absent)}")
        if stale:
            words.append(f"without new bars of {_named(stale)}")
        return "; ".join([*words, *list(self._lacking.values())[:_NAMED]])

    def _promoted(
        self, on_progress: Callable[[TrainingProgress], None], say: Callable[[str], None]
    ) -> Promotion:
        self._hash, self._figures = "", {}
        if self._fetch is not None:
            fresh = self._fetch(self.lineage.work)
            self._data, self._lacking = fresh.files, fresh.lacking
        candles = self._candles()
        self._compare_symbols({each.symbol for each in candles}, say)
        from_ms, to_ms = self._days(candles)
        say(
            f"judge: {minute_words(from_ms)} to {minute_words(to_ms)}, against {self.incumbent.hash[:12]} "
            f"(trained to {self.incumbent.manifest.trained_to})"
        )
        place = self.lineage.work / "candidate"
        judged = self._made(candles, from_ms, to_ms, place, on_progress, say)
        candidate = checkpoint.load(place)
        self._hash = candidate.hash
        self._check_kind(candidate)
        if candidate.hash == self.incumbent.hash:
            raise NotPromoted(f"candidate {candidate.hash[:12]} is the model in use: nothing has changed")
        if self._was_given_up(candidate.hash):
            raise NotPromoted(
                f"candidate {candidate.hash[:12]} was rolled back before: retrain on other bars, or "
                "name it in model.path"
            )
        if judged.trained_to_ms > from_ms:
            raise NotPromoted(
                f"candidate {candidate.hash[:12]} is leaky: it was trained on bars to "
                f"{judged.manifest.trained_to}, and the days to judge begin {minute_words(from_ms)}"
            )
        say("judging ...")
        judgement = self._judgement(candles, judged, from_ms, to_ms)
        self._figures = judgement.to_json()
        if judgement.refusal is not None:
            raise self._refused(judgement, candidate)
        reason = self.told(
            f"better than {self.incumbent.hash[:12]} on {judgement.days} days, QLIKE minus its own "
            f"{words(judgement.minus['incumbent'])}"
        )
        attempt = self._attempt("promoted", reason)
        path = self.lineage.promote(self.base, candidate, place, attempt, self._chosen.keep)
        self.lineage.sweep(models_in_journals(self._state_dir))
        return Promotion(checkpoint.load(path), path, reason, self._figures)

    def _was_given_up(self, candidate: str) -> bool:
        attempts = self.lineage.line(self.base.hash).attempts
        return any(each.verdict == "rolled back" and each.candidate == candidate for each in attempts)

    # The bars

    def _candles(self) -> list[Candles]:
        """Return the bars of the window, one series a symbol.

        Raises:
            BadModel: bars of another interval than the model's.
        """
        now_ms = WallClock().now_ms()
        parts: dict[str, list[Candles]] = {}
        for given in self._data:
            each = given if isinstance(given, Candles) else read_candles(given, now_ms=now_ms)
            if each.interval_ms != self.incumbent.interval_ms:
                raise BadModel(
                    f"{each.path or each.symbol}: bars of {interval_name(each.interval_ms)}, but the model "
                    f"in use is for {interval_name(self.incumbent.interval_ms)}; give files of that "
                    f"interval, or {model_for(each.interval_ms, 'set model.path to')}"
                )
            parts.setdefault(each.symbol, []).append(each)
        joined = [join_candles(each) for _, each in sorted(parts.items())]
        end_ms = max(each.end_ms for each in joined)
        if self._until_ms is not None:
            end_ms = min(end_ms, self._until_ms)
        begin_ms = end_ms - self._chosen.window_days * DAY_MS
        inside = [each for each in joined if each.first_ms < end_ms and each.end_ms > begin_ms]
        if not inside:
            raise TooFewBars(f"no bar closes before {minute_words(end_ms)}; give newer files")
        return [each.between(begin_ms, end_ms) for each in inside]

    def _compare_symbols(self, given: Collection[str], say: Callable[[str], None]) -> None:
        """Note which symbols of ``feed.symbols`` are not judged, for the model will forecast them, too.

        Raises:
            BadUsage: none of them is.
        """
        missing = sorted(set(self._traded) - set(given))
        if len(missing) == len(set(self._traded)):
            raise BadUsage(
                f"the bars are of {', '.join(sorted(given))}, but feed.symbols is {', '.join(missing)}: the "
                "model would be judged on none of them; give their files, or set feed.symbols"
            )
        self._absent = missing
        if missing:
            say(f"no bars of {', '.join(missing)} (feed.symbols): the candidate is not judged on them")

    def _days(self, candles: Sequence[Candles]) -> tuple[int, int]:
        """Return the span to judge on: the newest days that the model in use has not seen.

        Raises:
            TooFewBars: it has seen nearly all of them.
        """
        chosen, to_ms = self._chosen, max(each.end_ms for each in candles)
        seen_ms = -(-self.incumbent.trained_to_ms // DAY_MS) * DAY_MS
        from_ms = max(to_ms - chosen.judge_days * DAY_MS, seen_ms)
        if to_ms - from_ms < chosen.judge_days_min * DAY_MS:
            raise TooFewBars(
                f"too few days to judge: the bars end {minute_words(to_ms)}, the model in use was trained to "
                f"{self.incumbent.manifest.trained_to}, and retrain.judge_days_min is "
                f"{chosen.judge_days_min}; retrain later"
            )
        return from_ms, to_ms

    # The candidate

    def _made(
        self,
        candles: Sequence[Candles],
        from_ms: int,
        to_ms: int,
        place: Path,
        on_progress: Callable[[TrainingProgress], None],
        say: Callable[[str], None],
    ) -> Checkpoint:
        """Put the candidate into ``place``; return the model that is judged for it: itself, or its twin.

        Raises:
            BadModel: a given candidate is damaged or has no twin although it has seen every bar.
            BotError: the training failed.
        """
        if self._given is not None:
            return self._copied(self._given, place)
        incumbent = self.incumbent
        recipe = recipe_of(incumbent) | {"seed": self._seed, "threads": 1, "device": "cpu"}
        if self._epochs is not None:
            recipe["epochs"] = self._epochs
        if recipe["teacher"] != "none" and not _has_lightgbm():
            say("LightGBM is not installed: the candidate learns without its teacher")
            recipe["teacher"] = "none"
        lives = recipe.pop("half_lives")
        recipe.pop("heads")
        job = TrainingJob(
            candles,
            place,
            cut=from_ms,
            valid_until=to_ms,
            stop_days=None,
            half_lives=",".join(map(str, lives)),
            trials=1,
            refitted=self._refits,
            definition=self._definition(),
            **recipe,
        )
        for line in job.plan_lines():
            say(line)
        job.fit(on_progress)
        say("measuring skill and warm-up ...")
        job.save()
        judged = checkpoint.load(twin_place(place) if self._refits else place)
        self._inherit_bridge(place)
        return judged

    def _definition(self) -> dict[str, Any]:
        """Return the definition of the model in use, of features and horizons."""
        kept, horizons = self.incumbent.feature_set, self.incumbent.horizons
        features = {"base": kept.name} if kept.definition is None else kept.definition
        targets = {} if horizons == HOUR else {"targets": {"minutes": list(horizons.minutes)}}
        return {"features": features, **targets}

    def _inherit_bridge(self, place: Path) -> None:
        """Give the candidate the bridge of the model in use: the same recipe forgets a hole as fast."""
        if self.incumbent.bridge.bars:
            of = {"inherited_from": self.incumbent.hash}
            model = checkpoint.load(place).with_bridge(self.incumbent.bridge, of)
            checkpoint.rewrite_manifest(place, model.manifest)

    def _copied(self, given: Path, place: Path) -> Checkpoint:
        model = checkpoint.load(given)
        checkpoint.save(place, model.manifest, model.weights)
        twin = model.manifest.twin
        if twin is None:
            return model
        found = find_twin(model, given, self._state_dir)
        if found is None:
            raise BadModel(
                f"{given}: its twin {twin.hash[:12]} is neither in {twin_place(given)} nor a model with a "
                "name; a refitted model is judged by its twin, so put that there"
            )
        return found

    def _check_kind(self, candidate: Checkpoint) -> None:
        """Refuse a model that cannot take the place of the one in use.

        Raises:
            BadModel: other bars or other features.
        """
        ours, theirs = candidate.manifest, self.incumbent.manifest
        if ours.interval_ms != theirs.interval_ms:
            raise BadModel(
                f"candidate {candidate.hash[:12]} is for {interval_name(ours.interval_ms)} bars, the model "
                f"in use for {interval_name(theirs.interval_ms)}"
            )
        if candidate.horizons != self.incumbent.horizons:
            raise BadModel(
                f"candidate {candidate.hash[:12]} forecasts {', '.join(candidate.horizons.targets)}, the "
                f"model in use {', '.join(self.incumbent.horizons.targets)}"
            )
        if ours.features.hash != theirs.features.hash:
            raise BadModel(
                f"candidate {candidate.hash[:12]} reads other features ({ours.features.name}) than the model "
                f"in use ({theirs.features.name}); name it in model.path instead"
            )

    def _judgement(
        self, candles: Sequence[Candles], judged: Checkpoint, from_ms: int, to_ms: int
    ) -> Judgement:
        bridge = self.incumbent.bridge
        features, horizons = self.incumbent.feature_set, self.incumbent.horizons
        files = [label_rows(each, features, bridge=bridge, horizons=horizons) for each in candles]

        def due(rows: LabelledRows) -> Floats:
            settled = settled_rows(rows.start_ms, rows.interval_ms, judged.warmup_bars)
            return np.asarray(settled & rows.warm & ~rows.withheld, np.float64)

        judge = Judge(files=files, from_ms=from_ms, to_ms=to_ms, seed=self._seed)
        return judge.compare(_forecast(judged), _forecast(self.incumbent), judged.trained_to_ms, due)

    def _refused(self, judgement: Judgement, candidate: Checkpoint) -> BotError:
        assert judgement.refusal is not None
        cause, why = judgement.refusal
        line = f"candidate {candidate.hash[:12]} is {cause}: {why}"
        return BadModel(line) if cause == "broken" else NotPromoted(line)

    # The record

    def _attempt(self, verdict: Literal["promoted", "refused", "failed"], reason: str) -> Attempt:
        return Attempt(
            ts_ms=WallClock().now_ms(),
            verdict=verdict,
            reason=reason,
            candidate=self._hash,
            incumbent=self.incumbent.hash,
            figures=self._figures,
            began_ms=self._began_ms,
        )

    def _note(self, verdict: Literal["refused", "failed"], reason: str) -> None:
        self.lineage.note(self.base.hash, self._attempt(verdict, reason))


def verdict_of(error: BotError) -> Literal["refused", "failed"]:
    """Return what became of a retraining that ended by an error.

    Refused: the candidate does not do, or there are too few new days. Failed: it could not be found out.
    """
    return "refused" if isinstance(error, NotPromoted | TooFewBars | BadModel) else "failed"


def _named(symbols: Sequence[str]) -> str:
    more = f" and {len(symbols) - _NAMED} more" if len(symbols) > _NAMED else ""
    return ", ".join(symbols[:_NAMED]) + more


def roll_back(settings: Settings) -> tuple[str, str]:
    """Make the model before the current one current again; return the hashes of the old and the new one.

    Raises:
        BadUsage: no retrained model is in use.
        BadModel, StoreFailed: the one before is damaged, or the record cannot be written.
    """
    now_ms, why = WallClock().now_ms(), "asked for by `bot model rollback`"
    return lineage_of(settings).roll_back(base_of(settings).hash, now_ms, why)


def recipe_of(model: Checkpoint) -> dict[str, Any]:
    """Return the ``TrainingSettings`` that a model was made with, by name; shapes are those of its config."""
    known = {each.name for each in fields(TrainingSettings)}
    made_with = {name: value for name, value in model.manifest.settings.items() if name in known}
    config = model.config
    shapes = {
        "d_model": config.d_model,
        "heads": config.heads,
        "layers": config.layers,
        "features": config.features,
        "mlp_ratio": config.mlp_ratio,
        "half_lives": tuple(config.half_lives),
        "dropout": config.dropout,
    }
    defaults = {each.name: each.default for each in fields(TrainingSettings)}
    return defaults | made_with | shapes


def files_of(settings: Settings, interval_ms: int) -> list[Path]:
    """Return the candle files of ``data_dir`` that hold the symbols of ``feed.symbols``.

    Raises:
        BadUsage: one is missing.
    """
    name = interval_name(interval_ms)
    found = []
    for symbol in settings.feed.symbols:
        path = settings.data_dir / f"bybit_linear_{symbol}_{name}.parquet"
        if not path.is_file():
            raise BadUsage(
                f"{path}: is missing; give --data, or `bot data fetch --symbol {symbol} --interval {name}`"
            )
        found.append(path)
    return found


def _forecast(model: Checkpoint) -> Callable[[LabelledRows], Floats]:
    def forecast(rows: LabelledRows) -> Floats:
        return settled_forecasts(model, rows.start_ms, rows.features, rows.withheld)[:, [0, 2, 3]]

    return forecast


def _has_lightgbm() -> bool:
    from importlib.util import find_spec

    return find_spec("lightgbm") is not None
