"""``fit`` and ``unfitted``: a model of the user's own, such as one of scikit-learn or LightGBM."""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.candles import Candles
from bot.app.inputs import read_history
from bot.app.runs.fitting import check_unfitted, fit_model, fresh
from bot.domain.errors import BadInput, BadUsage
from bot.domain.horizons import HOUR, Horizons
from bot.features.fitted import Fitted
from bot.features.ops import Op
from bot.features.unfitted import Unfitted
from bot.lab.calling import Time, context_of, one_line, utc_ms
from bot.lab.candles import Source, candles_or_files

Floats = NDArray[np.float64]
Target = Callable[[Candles], Sequence[float] | Floats]


class Learner(Protocol):
    """What ``fit`` takes: the two methods of scikit-learn's regressors."""

    def fit(self, rows: Any, targets: Any) -> Any:
        """Learn from rows ``(n, features)`` and targets ``(n,)``."""

    def predict(self, rows: Any) -> Any:
        """Return ``(n,)`` for rows ``(n, features)``."""


@one_line
def fit(
    model: Learner | type[Learner],
    candles: Source | Sequence[Source],
    features: Mapping[str, Op],
    *,
    horizon_bars: int | None = None,
    target: Target | str | None = None,
    until: Time | None = None,
) -> Fitted:
    """Fit a model of your own on closed bars, and return it as an indicator or as the model of forecasts.

    ``indicators = {"edge": bot.fit(LGBMRegressor(), candles, {"rsi": rsi(close)}, until="2025-06-01")}``

    The indicator is the model's ``predict`` for the row of the bar that has just closed. Fitted on a target
    that is named, it also forecasts: ``bot.backtest(candles, "vol_target", model=bot.fit(..., target=
    "rv_60m"))``. A backtest that uses it holds out all closes up to ``until``: its headline figures begin
    there. No later bar reaches ``fit``: a row is left out if its target ends after ``until``, or if a hole
    lies inside its target.

    Args:
        model: any object with ``fit(rows, targets)`` and ``predict(rows)``, which is fitted in place; or its
            class. A history is predicted in one call where that answers as a call for each row does.
        candles: of ``read_candles``, or files; a list for several symbols of one interval.
        features: indicators by name, one column of the rows each.
        horizon_bars: bars after a row's close that its target is made of. Default: 12.
        target: the name of a column of a forecast (``bot help forecasts``), which has its own horizon:
            ``"rv_60m"``, ``"ret_60m"``, ``"ret_15m"``, or over other minutes such as ``"rv_240m"``, which
            ``view.forecast["rv_240m"]`` reads; or a function of candles that returns one number a bar, NaN
            where it is not known; it may use bars up to ``horizon_bars`` after its own. Default: the log
            return over ``horizon_bars``.
        until: closes after this time are not used, UTC. Default: the end of the candles.

    Raises:
        BadUsage: no features, something that is no indicator or reads funding, two intervals, a target of
            another length, or one that changes with bars after its ``horizon_bars``.
        TooFewBars: no bar has both its features and its target before ``until``.
    """
    context_of(None)
    given = _unfitted(model, features, horizon_bars, target)
    series = read_history(candles_or_files(candles), "none").candles
    given_ms = utc_ms(until, "until")
    until_ms = max(each.end_ms for each in series) if given_ms is None else given_ms
    in_place = hasattr(model, "fit") and not isinstance(model, type)
    return fit_model(given, model if in_place else fresh(given), series, until_ms)


@one_line
def unfitted(
    model: Learner | Callable[[], Learner],
    features: Mapping[str, Op],
    *,
    horizon_bars: int | None = None,
    target: Target | str | None = None,
) -> Unfitted:
    """Return a model of your own for ``walkforward``, which fits it anew on each training span.

    ``bot.walkforward(candles, Follow, {}, params={"model": bot.unfitted(LGBMRegressor(), features)}, ...)``

    It stands where what ``fit`` returns stands: as a parameter of the strategy, or, with a target that is
    named, as ``model=``. The other arguments are those of ``fit``.

    Args:
        model: an object with ``fit(rows, targets)`` and ``predict(rows)``, of which each span fits a copy; or
            its class, or a function that makes one, such as a ``functools.partial``.
        features: indicators by name, one column of the rows each.
        horizon_bars: bars after a row's close that its target is made of. Default: 12.
        target: a name or a function, as for ``fit``.

    Raises:
        BadUsage: no features, something that is no indicator or reads funding, or no model.
    """
    return _unfitted(model, features, horizon_bars, target)


def _unfitted(
    model: object, features: Mapping[str, Op], horizon_bars: int | None, target: Target | str | None
) -> Unfitted:
    if isinstance(target, str):
        try:
            Horizons.of_target(target)
        except BadInput as error:
            near = get_close_matches(target, HOUR.targets, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise BadUsage(f"target: {error}{hint}") from error
    found = Unfitted(
        model=model,
        features=tuple(features.items()),
        horizon_bars=horizon_bars,
        target=None if isinstance(target, str) else target,
        forecasts=target if isinstance(target, str) else None,
    )
    check_unfitted(found)
    return found
