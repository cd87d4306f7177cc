"""How far ahead a model forecasts, and the names that its forecasts have for that reason."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from bot.domain.errors import BadInput
from bot.domain.market import DAY_MS, HOUR_MS, MINUTE_MS, interval_name
from bot.domain.spans import span_words

_TARGET = re.compile(r"(?P<what>rv|ret)_(?P<minutes>[1-9]\d{0,6})m")
LONGEST_MS = 7 * DAY_MS
"""Beyond it a variance could be above its cap (``model.config.RV_MAX``)."""


@dataclass(frozen=True)
class Horizons:
    """Returns are forecast over ``short_ms`` and ``long_ms`` after a close, the variance over ``long_ms``.

    Raises:
        BadInput: they are not two different numbers of whole minutes, the shorter one first, to 7 days.
    """

    short_ms: int
    long_ms: int

    def __post_init__(self) -> None:
        if self.short_ms % MINUTE_MS or self.long_ms % MINUTE_MS:
            raise BadInput("targets.minutes: must be whole minutes")
        if not 0 < self.short_ms < self.long_ms <= LONGEST_MS:
            raise BadInput(
                f"targets.minutes: must be two different horizons, the shorter first, from 1 to "
                f"{LONGEST_MS // MINUTE_MS:,} minutes (7 days), were {_listed(self.minutes)}"
            )

    @classmethod
    def of_minutes(cls, minutes: Sequence[int]) -> Self:
        """Return two horizons in minutes as one object; see the class for what is refused."""
        if len(minutes) != 2:
            raise BadInput(
                f"targets.minutes: must be two horizons such as [30, 240], were {len(minutes)}: returns are "
                "forecast over both, the variance over the longer"
            )
        return cls(minutes[0] * MINUTE_MS, minutes[1] * MINUTE_MS)

    @classmethod
    def of_target(cls, name: str) -> Self:
        """Return horizons that have a target of this name, such as ``rv_240m`` or ``ret_30m``.

        Raises:
            BadInput: no target has such a name, or it reaches too far.
        """
        found = _TARGET.fullmatch(name)
        if found is None:
            raise BadInput(
                "must be a function, or the name of a variance or return over so many minutes such as rv_60m "
                f"or ret_30m, was {name!r}"
            )
        minutes, longest = int(found["minutes"]), LONGEST_MS // MINUTE_MS
        if minutes > longest:
            raise BadInput(f"reaches at most {longest:,} minutes (7 days), was {name!r}")
        if minutes > 1:
            return cls(MINUTE_MS, minutes * MINUTE_MS)
        if found["what"] == "rv":
            raise BadInput("a variance is over 2 minutes or more, was 'rv_1m'")
        return cls(MINUTE_MS, 2 * MINUTE_MS)

    @property
    def minutes(self) -> tuple[int, int]:
        """The shorter and the longer horizon in minutes."""
        return self.short_ms // MINUTE_MS, self.long_ms // MINUTE_MS

    @property
    def short_share(self) -> float:
        """Expected share of the longer horizon's variance that falls into the shorter one."""
        return self.short_ms / self.long_ms

    @cached_property
    def targets(self) -> tuple[str, str, str]:
        """Names of the targets: variance, return over the shorter horizon, return over the longer."""
        short, long = self.minutes
        return f"rv_{long}m", f"ret_{short}m", f"ret_{long}m"

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the six columns of a forecast, in order."""
        variance, short, long = self.targets
        return variance, "rv_log_sd", short, long, f"{short}_scale", f"{long}_scale"

    @cached_property
    def figures(self) -> tuple[str, str, str, str, str]:
        """Names of the figures of skill: two of the variance, two correlations of returns, a direction."""
        variance, short, long = self.targets
        return f"qlike_{variance}", f"r2_log_{variance}", f"ic_{short}", f"ic_{long}", f"direction_{short}"

    @property
    def words(self) -> str:
        """The longer horizon in words."""
        return "an hour" if self.long_ms == HOUR_MS else span_words(self.long_ms)

    def require_bars(self, interval_ms: int) -> None:
        """Check that each horizon is a whole number of bars of this length.

        Raises:
            BadInput: a horizon is shorter than a bar, or no multiple of it.
        """
        for minutes, span_ms in zip(self.minutes, (self.short_ms, self.long_ms), strict=True):
            if span_ms % interval_ms:
                what = "shorter than a bar" if span_ms < interval_ms else "no multiple of the bars"
                raise BadInput(
                    f"targets.minutes: {minutes} is {what} of {interval_name(interval_ms)}; give multiples "
                    f"of {interval_ms // MINUTE_MS}, or train on other bars"
                )


def span_of(target: str) -> int:
    """Return how far a target of this name reaches after the close, ms.

    Raises:
        BadInput: no target has such a name.
    """
    horizons = Horizons.of_target(target)
    return horizons.short_ms if target == horizons.targets[1] else horizons.long_ms


HOUR = Horizons(15 * MINUTE_MS, HOUR_MS)
"""15 and 60 minutes: the targets of the shipped models, and of training without a definition of others."""


def _listed(minutes: tuple[int, int]) -> str:
    return f"[{minutes[0]}, {minutes[1]}]"
