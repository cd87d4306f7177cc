"""How much of each limit is used: what ``bot status`` and a page show beside the bound. Decides nothing.

Limits that judge one order at the moment it is sent (its price, its age) have no use between orders and no
row here.
"""

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Literal

import msgspec

from bot.risk.breaker import Breaker

Unit = Literal["quote", "times", "frac", "count", "ms"]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What counts towards the limits now. Values in quote, as the checks count them."""

    positions_quote: Mapping[str, Decimal]
    """Value of each symbol's position if all its orders on one side were filled; NaN without a price."""
    total_quote: Decimal
    entered_today_quote: Decimal
    entries_last_minute: int
    silence_ms: int | None
    """Longest time since a symbol's last market data; None before the first."""
    unknown_ms: int
    """For how long the fate of an order is unknown; 0: of none."""
    equity_quote: float | None
    """None for an account that was never read."""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """One limit. ``name`` is its key in ``[risk]``, ``words`` say what happens beyond the bound.

    ``used`` is None if it is unknown, ``bound`` is None if the limit is off.
    """

    name: str
    words: str
    used: float | None
    bound: float | None
    unit: Unit

    @property
    def used_frac(self) -> float | None:
        """Share of the bound that is used; None if either is unknown, or the bound is 0."""
        return self.used / self.bound if self.used is not None and self.bound else None


def limits_used(usage: Usage, breaker: Breaker) -> tuple[Used, ...]:
    """Return the limits in force with what is used of each, in the order of importance to a person."""
    limits, equity = breaker.limits, usage.equity_quote
    known = equity is not None and bool(breaker.day_end_ms)
    total = float(usage.total_quote)
    largest = max(map(float, usage.positions_quote.values()), default=0.0)
    pauses = "no entries until 00:00 UTC" if limits.on_daily_loss == "reduce" else "halt"
    lever = total / equity if equity is not None and equity > 0.0 else None
    day_loss = _loss(equity, breaker.day_start_equity) if known else None
    peak_loss = _loss(equity, breaker.peak_equity) if known else None
    rows: tuple[tuple[str, str, float | None, Decimal | int | None, Unit], ...] = (
        ("max_daily_loss_frac", pauses, day_loss, limits.max_daily_loss_frac, "frac"),
        ("max_drawdown_frac", "halt", peak_loss, limits.max_drawdown_frac, "frac"),
        ("max_leverage", "no more entries", lever, limits.max_leverage, "times"),
        ("max_total_notional_quote", "no more entries", total, limits.max_total_notional_quote, "quote"),
        (
            "max_position_notional_quote",
            "no entries in that symbol",
            largest,
            limits.max_position_notional_quote,
            "quote",
        ),
        (
            "max_daily_notional_quote",
            "no entries until 00:00 UTC",
            float(usage.entered_today_quote),
            limits.max_daily_notional_quote or None,
            "quote",
        ),
        (
            "max_orders_per_minute",
            "no entries for a minute",
            usage.entries_last_minute,
            limits.max_orders_per_minute,
            "count",
        ),
        (
            "max_consecutive_rejects",
            "halt",
            breaker.consecutive_rejects,
            limits.max_consecutive_rejects,
            "count",
        ),
        (
            "max_consecutive_losses",
            "no entries for a while",
            breaker.consecutive_losses,
            limits.max_consecutive_losses or None,
            "count",
        ),
        (
            "max_data_age_ms",
            "no entries in that symbol",
            usage.silence_ms,
            limits.max_data_age_ms,
            "ms",
        ),
        (
            "unknown_order_reduce_ms",
            f"no entries; halt after {limits.unknown_order_halt_ms} ms",
            usage.unknown_ms,
            limits.unknown_order_reduce_ms,
            "ms",
        ),
    )
    return tuple(
        Used(
            name=name,
            words=words,
            used=_finite(used),
            bound=None if bound is None else float(bound),
            unit=unit,
        )
        for name, words, used, bound, unit in rows
    )


def _loss(equity: float | None, base: float) -> float | None:
    """Return the loss as a fraction of ``base``; a gain is no use of the limit."""
    return max(0.0, 1.0 - equity / base) if equity is not None and base > 0.0 else None


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and isfinite(value) else None
