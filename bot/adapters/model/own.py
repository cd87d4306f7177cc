"""Models of the user's own as one model of forecasts: each part forecasts one field, and remembers nothing.

``own_history`` predicts a history in one call a part; the engine then gets these forecasts bar by bar.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite, nan

import numpy as np

from bot.adapters.model.predictor import complete, forecast_of, own_columns
from bot.domain.errors import BadInput, BadUsage, StrategyFailed
from bot.domain.horizons import HOUR, Horizons, span_of
from bot.domain.market import Forecast, interval_name
from bot.features.bridge import NO_BRIDGE
from bot.features.fitted import Fitted
from bot.features.ops import Op
from bot.features.spec import FeatureSet
from bot.features.unfitted import Unfitted
from bot.model.drift import DriftReference
from bot.ports import Floats, Slots
from bot.strategy.failing import place_of

Part = Fitted | Unfitted


@dataclass(frozen=True)
class OwnModel:
    """Fitted models of one interval. With unfitted ones it can be planned with, but makes no forecasts."""

    parts: tuple[Part, ...]
    interval_ms: int
    drift: DriftReference | None = dataclasses.field(default=None, compare=False, repr=False)
    """What the rows looked like that the parts were fitted on."""
    horizons: Horizons = HOUR
    """How far ahead the parts forecast."""

    bridge = NO_BRIDGE
    """A hole in a symbol's bars is not filled."""

    @property
    def hash(self) -> str:
        """Names the fitted models."""
        named = [each.hash if isinstance(each, Fitted) else repr(each) for each in self.parts]
        return named[0] if len(named) == 1 else hashlib.sha256(" ".join(named).encode()).hexdigest()

    @property
    def warmup_bars(self) -> int:
        """Unbroken bars until all features of all parts are known."""
        return max(each.warmup for each in self.parts)

    @property
    def trained_to_ms(self) -> int | None:
        """Closes up to this time were used to fit a part; None: nothing was fitted yet."""
        return max((each.trained_to_ms or 0 for each in self.parts if isinstance(each, Fitted)), default=None)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a forecast that the parts give; the others are NaN."""
        return tuple(each.forecasts for each in self.parts if each.forecasts is not None)

    @cached_property
    def feature_set(self) -> FeatureSet:
        """The features of all parts; one that two parts share is computed once."""
        ops = dict.fromkeys(op for each in self.parts for op in each.sources)
        return FeatureSet("own", self.interval_ms, tuple((repr(op), op) for op in ops))

    def with_drift(self, reference: DriftReference | None) -> "OwnModel":
        """Return the same model with another reference for its drift."""
        return replace(self, drift=reference)

    def columns(self, part: Part) -> list[int]:
        """Return the places of a part's features in the rows of ``feature_set``."""
        places: dict[Op, int] = {op: at for at, (_, op) in enumerate(self.feature_set.columns)}
        return [places[op] for op in part.sources]


def own_model(parts: Sequence[Part], interval_ms: int) -> OwnModel:
    """Return models of the user's own as one.

    Raises:
        BadUsage: a part forecasts nothing, two forecast the same, one was fitted on other bars, or their
            horizons do not go together.
    """
    seen: dict[str, Part] = {}
    for each in parts:
        if each.forecasts is None:
            raise BadUsage(
                f"model: {each!r} has a target of your own, which is no forecast; fit it with a target such "
                f"as {', '.join(HOUR.targets)}, or declare it as an indicator"
            )
        if each.forecasts in seen:
            raise BadUsage(f"model: two models forecast {each.forecasts}; give one")
        seen[each.forecasts] = each
        if isinstance(each, Fitted) and each.interval_ms != interval_ms:
            raise BadUsage(
                f"model: {each!r} was fitted on bars of {interval_name(each.interval_ms)}, these are of "
                f"{interval_name(interval_ms)}; fit it on such bars"
            )
    made = OwnModel(tuple(parts), interval_ms, horizons=_horizons(tuple(seen), interval_ms))
    return made.with_drift(_reference(made))


def _horizons(targets: tuple[str, ...], interval_ms: int) -> Horizons:
    """Return the horizons of targets; one that no target has is a bar, or two bars.

    Raises:
        BadUsage: there are more than two, or the variance is over the shorter one.
    """
    if set(targets) <= set(HOUR.targets):
        return HOUR
    spans_ms = sorted({span_of(name) for name in targets})
    if len(spans_ms) == 1:
        spans_ms = [interval_ms, spans_ms[0] if spans_ms[0] > interval_ms else 2 * interval_ms]
    if len(spans_ms) == 2:
        found = Horizons(*spans_ms)
        if set(targets) <= set(found.targets):
            return found
    raise BadUsage(
        f"model: cannot forecast {', '.join(targets)} together: a forecast has returns over two horizons and "
        "the variance over the longer; declare the others as indicators"
    )


def _reference(model: OwnModel) -> DriftReference | None:
    """Return what the rows of all parts looked like; None if a part has none, or was not fitted."""
    looks = [each.training if isinstance(each, Fitted) else None for each in model.parts]
    known = [each for each in looks if each is not None]
    if len(known) < len(looks):
        return None
    edges, shares = {}, {}
    for part, each in zip(model.parts, known, strict=True):
        for at, column in enumerate(model.columns(part)):
            edges[column], shares[column] = each["edges"][at], each["shares"][at]
    har = next((each for each in known if "har_weights" in each), {})
    return DriftReference(
        rows=min(each["rows"] for each in known),
        edges=[edges[column] for column in sorted(edges)],
        shares=[shares[column] for column in sorted(shares)],
        har_weights=har.get("har_weights"),
        har_factor=har.get("har_factor", 1.0),
    )


class OwnPredictor:
    """Forecasts of each row by the parts; nothing is remembered from bar to bar.

    Rows that ``history`` holds were predicted in one call. A row is found there by its value alone, so any
    part of a history may come, in any order; every other row is asked by itself.
    """

    def __init__(
        self, model: OwnModel, history: "ForecastHistory | None" = None, slow: tuple[str, ...] = ()
    ) -> None:
        self._asked = [(each, model.columns(each), each.forecasts) for each in model.parts]
        self._history = history
        self._columns, self._own = model.horizons.columns, own_columns(model.horizons)
        self.warmup_bars = model.warmup_bars
        self.row_by_row = slow
        """Parts that could not predict the history in one call."""

    def step(self, rows: Floats, slots: Slots) -> list[Forecast | None]:
        """See ``ports.Predictor.step``.

        Raises:
            StrategyFailed: the code of the user raised, or a part was never fitted.
        """
        return [self._one(row) for row in rows]

    def peek(self, rows: Floats, slots: Slots) -> list[Forecast | None]:
        """See ``ports.Predictor.peek``. An open candle is only shown: an error waits for its close."""
        try:
            return self.step(rows, slots)
        except StrategyFailed:
            return [None] * len(rows)

    def reset(self, slot: int) -> None:
        """Nothing to do: no part remembers a bar."""

    def state_bytes(self) -> bytes:
        """Nothing is remembered."""
        return b""

    def load_state(self, blob: bytes) -> None:
        """See ``ports.Predictor.load_state``."""
        if blob:
            raise BadInput(f"model state has {len(blob)} bytes, not 0: it is of another model")

    def _one(self, row: Floats) -> Forecast | None:
        known = None if self._history is None else self._history.find(row)
        told = dict.fromkeys(self._columns, nan)
        for at, (part, columns, field) in enumerate(self._asked):
            if not isinstance(part, Fitted) or field is None:
                raise StrategyFailed(f"{part!r} was never fitted: give what bot.fit returns")
            if known is not None:
                told[field] = known[at]
            else:
                try:
                    told[field] = float(part.function(*row[columns, None]))
                except Exception as error:  # the code of a user may raise anything
                    raise StrategyFailed(f"{place_of(error)} (while {part!r} was asked)") from error
            if not isfinite(told[field]):
                return None
        return forecast_of(list(told.values()), self._own)


class ForecastHistory:
    """Rows (N, F) and what each part says of them (N, parts)."""

    def __init__(self, rows: Floats, told: Floats) -> None:
        self._rows, self._told = rows, told
        self._places = {hash(row.tobytes()): at for at, row in enumerate(rows)}

    def find(self, row: Floats) -> list[float] | None:
        """Return what the parts say of a row; None if the history does not hold it, to the last bit."""
        at = self._places.get(hash(row.tobytes()))
        if at is None or not np.array_equal(self._rows[at], row):
            return None
        found: list[float] = self._told[at].tolist()
        return found


def own_table(model: OwnModel, rows: Floats) -> Floats:
    """Return what the parts say of feature rows (T, F), ``(T, 6)`` as ``Horizons.columns``; NaN: nothing.

    Raises:
        StrategyFailed: the code of the user raised, or a part was never fitted.
    """
    warm = complete(rows)
    told = own_history(model, rows).step(rows[warm], np.zeros(int(warm.sum()), np.int64))
    columns = model.horizons.columns
    table = np.full((len(rows), len(columns)), nan)
    known = [(at, each) for at, each in zip(np.flatnonzero(warm), told, strict=True) if each is not None]
    for at, each in known:
        table[at] = [each[name] for name in columns]
    return table


def own_history(model: OwnModel, rows: Floats) -> OwnPredictor:
    """Return a predictor that has asked each part once for all feature rows (T, F) of a history.

    If a part answers otherwise in one call than row by row (``Fitted.predict_all``), it is asked row by row.
    """
    warm = np.ascontiguousarray(rows[complete(rows)])
    told = np.empty((len(warm), len(model.parts)))
    for at, part in enumerate(model.parts):
        if not isinstance(part, Fitted):
            return OwnPredictor(model)  # it says so when it is asked
        made = part.predict_all(warm[:, model.columns(part)])
        if made is None:
            return OwnPredictor(model, slow=(repr(part),))
        told[:, at] = made
    return OwnPredictor(model, ForecastHistory(warm, told))
