"""Each cause of the breaker in words: what happened, the number, the limit, and what to do."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from bot.domain.money import plain
from bot.domain.spans import span_with_ms
from bot.risk.breaker import Breaker, Cause
from bot.risk.limits import Limits


def words_of(kept: str, breaker: Breaker) -> str:
    """Return the words of a cause as the breaker keeps it."""
    return _WORDS[Cause.of(kept)](breaker, kept.partition(": ")[2])


def what_to_do(kept: str) -> str:
    """Return what a person should do about a cause; empty if it passes by itself."""
    return _TO_DO.get(Cause.of(kept), "")


def _drawdown(breaker: Breaker, _: str) -> str:
    equity, peak = breaker.last_equity, breaker.peak_equity
    return (
        f"drawdown: equity {equity:.2f} is {loss_frac(equity, peak):.4f} below its peak {peak:.2f}, "
        f"limit {breaker.limits.max_drawdown_frac}"
    )


def _daily_loss(breaker: Breaker, _: str) -> str:
    equity, start = breaker.last_equity, breaker.day_start_equity
    loss = loss_frac(equity, start)
    return (
        f"daily loss: equity {equity:.2f} is {loss:.4f} below the day's start {start:.2f}, "
        f"limit {breaker.limits.max_daily_loss_frac}"
    )


def loss_frac(equity: float, base: float) -> float:
    """Return the loss from ``base`` to ``equity`` as a fraction of ``base``; 0 without a base."""
    return 1.0 - equity / base if base else 0.0


def _rejects(breaker: Breaker, _: str) -> str:
    limits = breaker.limits
    return (
        f"{breaker.consecutive_rejects} orders refused in a row, limit {limits.max_consecutive_rejects} "
        f"within {span_with_ms(limits.reject_window_ms)}; the last: {breaker.last_reject or 'not known'}"
    )


def _unknown_order(breaker: Breaker, order_id: str) -> str:
    limits = breaker.limits
    return (
        f"order {order_id}: nobody knows what became of it; limits "
        f"{span_with_ms(limits.unknown_order_reduce_ms)} until entries stop, "
        f"{span_with_ms(limits.unknown_order_halt_ms)} until the halt"
    )


def _drift(_: Breaker, detail: str) -> str:
    name, _comma, numbers = detail.partition(", ")
    return f"{_DRIFTS.get(name, name)} ({numbers})"


_DRIFTS = {
    "inputs": "the market no longer looks like the model's training data",
    "volatility": "the model forecasts volatility worse than har_hour does",
    "bands": "outcomes do not fall into the model's bands as often as they should",
}
_WORDS: Mapping[Cause, Callable[[Breaker, str], str]] = {
    Cause.PAUSED: lambda _, __: "paused by the operator",
    Cause.LINK_DOWN: lambda _, what: f"the line {what} is down",
    Cause.ACCOUNT_UNREAD: lambda _, __: "the venue's account has not been read yet",
    Cause.UNPROTECTED: lambda _, symbol: f"the position in {symbol} has no stop, and the venue accepts none",
    Cause.UNKNOWN_ORDER: _unknown_order,
    Cause.DRIFT: _drift,
    Cause.DAILY_LOSS: _daily_loss,
    Cause.DRAWDOWN: _drawdown,
    Cause.BAD_EQUITY: lambda _, __: "the account's value is not a positive number",
    Cause.REJECTS: _rejects,
    Cause.OPERATOR: lambda _, __: "halted by the operator",
    Cause.LIQUIDATION: lambda _, what: f"the venue liquidated a position: {what}",
    Cause.ADL: lambda _, what: f"the venue reduced a position by auto-deleveraging: {what}",
    Cause.FOREIGN: lambda _, what: f"an order that is not ours traded a symbol of ours: {what}",
    Cause.RECONCILE: lambda _, what: f"the account differs from our books: {what}",
    Cause.CRASH_LOOP: lambda _, __: "the bot crashed too often within ten minutes",
    Cause.POISON: lambda _, what: f"handling an event raised, so it was left out: {what}",
    Cause.REPLAY: lambda _, what: f"a replay of the journal decided otherwise: {what}",
}
_UNHALT = "look at the account, then `bot unhalt`"
_TO_DO: Mapping[Cause, str] = {
    Cause.UNPROTECTED: "set a stop at the venue, or close the position",
    Cause.UNKNOWN_ORDER: "look the order up at the venue; after a halt `bot unhalt`",
    Cause.DRIFT: "entries wait until it is gone; train a newer model, or set drift.on_drift = tell",
    Cause.DAILY_LOSS: "entries wait for the next UTC day; after a halt `bot unhalt`",
    Cause.DRAWDOWN: "check strategy and market, then `bot unhalt`: the peak begins at the present equity",
    Cause.BAD_EQUITY: "check the prices of the open positions, then `bot unhalt`",
    Cause.REJECTS: "mend what the venue refuses (its code says what), then `bot unhalt`",
    Cause.OPERATOR: "`bot unhalt` when trading may go on",
    Cause.LIQUIDATION: _UNHALT,
    Cause.ADL: _UNHALT,
    Cause.FOREIGN: "see who else trades this account, then `bot unhalt`",
    Cause.RECONCILE: _UNHALT,
    Cause.CRASH_LOOP: "read the last errors of the log, then `bot unhalt`",
    Cause.POISON: _UNHALT,
    Cause.REPLAY: _UNHALT,
}


SIZES = ("max_order_notional_quote", "max_position_notional_quote", "max_total_notional_quote")
"""Limits in quote currency: they do not grow with the account."""
SMALL_LIMITS_DO = "trade a smaller share of the equity, or set each of them to what you want to risk"


def default_sizes(limits: Limits) -> dict[str, Decimal]:
    """Return the limits of size that nobody has set. One that somebody has set is meant as it is."""
    default = Limits()
    return {name: getattr(limits, name) for name in SIZES if getattr(limits, name) == getattr(default, name)}


def small_limits(equity: float, limits: Limits) -> str:
    """Say which default limits refuse an entry worth the whole equity; empty if none does.

    Strategies ask for shares of the equity, so an account that outgrows these limits stops entering.
    """
    below = [(name, bound) for name, bound in default_sizes(limits).items() if equity > float(bound)]
    if not below:
        return ""
    named = ", ".join(f"risk.{name} = {plain(bound)}" for name, bound in below)
    return f"an entry worth the whole equity ({equity:,.0f} USDT) is refused by the defaults {named}"
