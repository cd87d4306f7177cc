"""When a limit acted on the account: time, number, limit and its key, for a result and a report."""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from bot.risk.breaker import Breaker, Cause
from bot.risk.words import loss_frac, words_of

Forces = Literal["halted", "reducing"]


class LimitAct(msgspec.Struct, frozen=True, kw_only=True):
    """One act of the breaker, or one that it would have done (``observing.Observer``).

    ``number`` is what was measured and ``limit`` its bound; None where a cause compares no numbers.
    ``setting`` is the limit's key in ``[risk]``, None if no setting bounds the cause.
    """

    ts_ms: int
    cause: str
    """A ``Cause``."""
    forces: Forces
    """``halted``: no entries until the operator lifts it. ``reducing``: no entries for a while."""
    words: str
    number: float | None
    limit: float | None
    setting: str | None


def act_of(kept: str, breaker: Breaker, ts_ms: int, forces: Forces) -> LimitAct:
    """Describe a cause, as the breaker keeps it, with the breaker's present numbers."""
    cause = Cause.of(kept)
    setting, numbers = _NUMBERS.get(cause, (None, _no_numbers))
    number, limit = numbers(breaker)
    return LimitAct(
        ts_ms=ts_ms,
        cause=cause.value,
        forces=forces,
        words=words_of(kept, breaker),
        number=number,
        limit=limit,
        setting=None if setting is None else f"risk.{setting}",
    )


_Numbers = tuple[float | None, float | None]


def _no_numbers(_: Breaker) -> _Numbers:
    return None, None


_NUMBERS: Mapping[Cause, tuple[str, Callable[[Breaker], _Numbers]]] = {
    Cause.DRAWDOWN: (
        "max_drawdown_frac",
        lambda b: (loss_frac(b.last_equity, b.peak_equity), float(b.limits.max_drawdown_frac)),
    ),
    Cause.DAILY_LOSS: (
        "max_daily_loss_frac",
        lambda b: (loss_frac(b.last_equity, b.day_start_equity), float(b.limits.max_daily_loss_frac)),
    ),
    Cause.REJECTS: (
        "max_consecutive_rejects",
        lambda b: (float(b.consecutive_rejects), float(b.limits.max_consecutive_rejects)),
    ),
    Cause.LIQUIDATION: ("on_liquidation", _no_numbers),
    Cause.ADL: ("on_liquidation", _no_numbers),
}
