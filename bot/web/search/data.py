"""A sweep or a walk-forward as its page needs it: plain values and finished sentences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bot.domain.money import plain
from bot.web.run import DataFile, Floats, Times

State = Literal["whole", "halted", "failed"]
"""A trial that ran to its end, one that risk stopped, one without a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A parameter and the values that were tried: smallest first if all are numbers, else as given."""

    name: str
    values: Sequence[str]
    is_range: bool = False
    """Its values are drawn from a range, so that few trials share one."""

    @classmethod
    def ordered(cls, name: str, values: Sequence[str], *, is_range: bool = False) -> "Axis":
        """Return the axis with its values in order."""
        numbers = [_number(value) for value in values]
        if None in numbers:
            return cls(name=name, values=tuple(values), is_range=is_range)
        return cls(name=name, values=tuple(sorted(values, key=float)), is_range=is_range)

    def label(self, value: str) -> str:
        """Return a value as it stands beside an axis: of a range, three digits."""
        return plain(Decimal(f"{float(value):.3g}")) if self.is_range else value

    def key(self, value: str) -> float:
        """Return what ``value`` is sorted by: itself if it is a number, else its place."""
        number = _number(value)
        return float(self.values.index(value)) if number is None else number


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The figure that was searched for; ``is_small`` means that a small value is good."""

    name: str
    is_small: bool

    def goodness(self, value: float) -> float:
        """Return a number that is large for a good value."""
        return -value if self.is_small else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One figure of the judgement: its name, its value as text, and what that means in a sentence."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What was searched, the verdict, and the judgement."""

    strategy: str
    symbols: Sequence[str]
    from_ms: int
    to_ms: int
    axes: Sequence[Axis]
    objective: Objective
    verdict: str
    judgement: Sequence[Told]
    origin: Sequence[tuple[str, object]]
    files: Sequence[DataFile]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial. ``ended`` says why it was halted or has no result."""

    number: int
    params: Mapping[str, str]
    figures: Mapping[str, float | None]
    state: State
    ended: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """An account and buy and hold, both ``(T,)`` and 1 at the begin."""

    ts_ms: Times
    equity: Floats
    hold: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """The choice of each half of the days: its annual Sharpe ratio there and in the other half.

    ``is_worse``: in the other half it is in the worse half of the trials. All are ``(ways to halve,)``; a
    ratio is NaN if all days earned the same.
    """

    inside: Floats
    outside: Floats
    is_worse: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepData:
    """All trials, the best first; ``best`` is the number of the best one, None if none has the objective.

    ``curve`` is the account of the best one; ``halves``: None if there are too few days or trials.
    """

    head: Head
    trials: Sequence[Trial]
    best: int | None
    curve: Curve | None = None
    halves: Halves | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A point that the engine ran after the screen; ``figures``: what the screen says, and the engine."""

    params: Mapping[str, str]
    figures: Mapping[str, tuple[float | None, float | int | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenData:
    """A screen of ``count`` points: those behind the maps, the best ones, and those that the engine ran.

    ``best`` is the number of the point that the engine found best; ``curve`` is its account.
    """

    head: Head
    drawn: Sequence[Trial]
    listed: Sequence[Trial]
    count: int
    confirmed: Sequence[Confirmed]
    best: int | None
    curve: Curve | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a walk-forward: its test's span, the choice, and the objective in training and test.

    ``overfit`` is the probability of overfitting of the choice, from its training; None: unknown.
    """

    test_from_ms: int
    test_to_ms: int
    params: Mapping[str, str] | None
    trained: float | None
    tested: float | None
    earned: float | None
    overfit: float | None
    ended: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkData:
    """A walk-forward: the joined tests beside buy and hold, and its steps."""

    head: Head
    steps: Sequence[Step]
    curve: Curve
    figures: Sequence[tuple[str, float | None, float | None]]
    """Figure, its value in the tests, and that of buy and hold."""
