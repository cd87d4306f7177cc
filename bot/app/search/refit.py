"""Models of the user's own in a walk-forward: fitted anew on each training span.

Nothing is chosen on bars that a model was fitted on. So where parameters are chosen, models are first fitted
on the first two thirds of the days of a training span, and trials trade the last third. For the test they are
fitted again, on the whole span. A row whose target ends after its span is in no fit.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from bot.app.search.processes.portable import NotPortable, to_bytes
from bot.app.search.search import code_hash, code_of
from bot.app.search.trial import Job, Own
from bot.app.wiring import RunPlan
from bot.domain.errors import BadUsage
from bot.domain.market import DAY_MS
from bot.domain.spans import span_words
from bot.features.unfitted import Unfitted
from bot.research.search.folds import Fold
from bot.strategy.indicators import indicators_of


@dataclass(frozen=True)
class Refits:
    """The models of a plan that are not fitted yet: by parameter, and those that make the forecasts."""

    plan: RunPlan
    params: dict[str, Unfitted]
    forecasts: tuple[Unfitted, ...]
    travels: bool = False
    """Whether trials run in other processes."""
    _fits: dict[tuple[int, int], Own] = field(default_factory=dict)

    @property
    def header(self) -> list[object]:
        """What makes two walk-forwards the same."""
        return [self._words(name, each) for name, each in self._named()]

    def gap_ms(self, given_ms: int) -> int:
        """Return the time between a training span and its test: what is given, at least every horizon.

        Raises:
            BadUsage: something is given, and a horizon is longer.
        """
        horizon_ms = max(each.horizon_of(self._interval_ms) for _, each in self._named()) * self._interval_ms
        if 0 < given_ms < horizon_ms:
            raise BadUsage(
                f"--purge, --embargo: {span_words(given_ms)} is less than the horizon of a model, "
                f"{span_words(horizon_ms)}; give as much, or leave both out"
            )
        return max(given_ms, horizon_ms)

    def choice_from_ms(self, fold: Fold) -> int:
        """Return from when on the trials trade that choose parameters.

        Raises:
            BadUsage: the training span has less than two days.
        """
        days = (fold.train_to_ms - fold.train_from_ms) // DAY_MS
        if days < 2:
            raise BadUsage("--train: a model is refitted and parameters are chosen; give 2 days or more")
        return fold.train_from_ms + round(2 * days / 3) * DAY_MS

    def choice_fit_ms(self, fold: Fold) -> tuple[int, int]:
        """Return the bars that models are fitted on before these trials."""
        return fold.train_from_ms, self.choice_from_ms(fold) - (fold.test_from_ms - fold.train_to_ms)

    def spans(self, fold: Fold) -> dict[str, int]:
        """Return up to when the models of a test were fitted, for the JSON."""
        return {"fitted_to_ms": fold.train_to_ms}

    def fitted(self, job: Job) -> Job:
        """Return a job with its models. Each span is fitted once, in this process.

        Raises:
            BadUsage, TooFewBars: see ``runs.fitting.fit_model``; or a fitted model cannot go to a worker.
        """
        assert job.fit_ms is not None
        if job.fit_ms not in self._fits:
            self._fits[job.fit_ms] = self._fit(*job.fit_ms)
            if self.travels:
                self._check_travel(self._fits[job.fit_ms])
        return replace(job, own=self._fits[job.fit_ms])

    def _check_travel(self, own: Own) -> None:
        try:
            to_bytes(own)
        except NotPortable as error:
            raise BadUsage(f"a fitted model: {error}; give workers=1") from error

    def _fit(self, from_ms: int, to_ms: int) -> Own:
        from bot.adapters.model.own import own_model
        from bot.app.runs.fitting import fit_model, fresh

        series = self.plan.history.candles
        made = {name: fit_model(each, fresh(each), series, to_ms, from_ms) for name, each in self._named()}
        parts = [made[f"model[{at}]"] for at in range(len(self.forecasts))]
        return Own(
            {name: made[name] for name in self.params},
            own_model(parts, self._interval_ms) if parts else self.plan.model,
        )

    @property
    def _interval_ms(self) -> int:
        return self.plan.history.candles[0].interval_ms

    def _named(self) -> list[tuple[str, Unfitted]]:
        return [*self.params.items(), *((f"model[{at}]", each) for at, each in enumerate(self.forecasts))]

    def _words(self, name: str, each: Unfitted) -> list[object]:
        from bot.features.spec import FeatureSet

        features = FeatureSet("own", self._interval_ms, each.features).hash
        target = each.forecasts if each.target is None else _function_words(each.target)
        return [name, _model_words(each.model), features, each.horizon_of(self._interval_ms), target]


def refits_of(plan: RunPlan, *, travels: bool = False) -> Refits | None:
    """Return the models of a plan that are to be fitted; None if there is none.

    ``travels``: whether trials run in other processes.

    Raises:
        BadUsage: an indicator on the class is one, or only a part of the forecasts is.
    """
    params = {name: each for name, each in plan.params.items() if isinstance(each, Unfitted)}
    for name, each in indicators_of(plan.strategy).items():
        if isinstance(each, Unfitted):
            raise BadUsage(
                f"{plan.strategy_name}.indicators[{name!r}]: a model that is refitted is a parameter of the "
                "constructor; declare it there, and give params={NAME: bot.unfitted(...)}"
            )
    parts: tuple[object, ...] = getattr(plan.model, "parts", ())
    forecasts = tuple(each for each in parts if isinstance(each, Unfitted))
    if len(forecasts) not in (0, len(parts)):
        raise BadUsage("model: some of these models are fitted and some are not; give bot.unfitted for all")
    return Refits(plan, params, forecasts, travels) if params or forecasts else None


def _model_words(model: object) -> list[object]:
    """Say what a model is made of: its class, the code of that, and its settings."""
    if isinstance(model, partial):
        return [_model_words(model.func), repr(model.args), repr(sorted(model.keywords.items()))]
    if inspect.isfunction(model):
        return _function_words(model)
    kind = model if isinstance(model, type) else type(model)
    if isinstance(model, type):
        return [kind.__qualname__, code_hash(kind)]
    settings = getattr(model, "get_params", lambda: getattr(model, "__dict__", {}))  # scikit-learn's
    return [kind.__qualname__, code_hash(kind), repr(sorted(settings().items()))]


def _function_words(function: Callable[..., object]) -> list[object]:
    code = getattr(function, "__code__", None)
    return [getattr(function, "__qualname__", repr(function)), None if code is None else code_of(code)]
