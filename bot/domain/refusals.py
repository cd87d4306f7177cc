"""Refusals of risk, and reasons of bars without a position, in words for people. Pure."""

from collections.abc import Mapping

from bot.domain.orders import Refused

ENTERING = "entering"
"""Reason of a bar that was spent flat because an order to enter was live."""


def refusal_words(refused: Refused) -> str:
    """Return why risk refused an order, with what it wanted and what is allowed where that is known."""
    words, unit = REFUSALS.get(refused.reason, (refused.reason, ""))
    if refused.wanted is None or refused.allowed is None:
        return f"{words} ({refused.reason})"
    wanted, allowed = f"{float(refused.wanted):.8g}", f"{float(refused.allowed):.8g}"
    return f"{words}: {wanted}{unit}, allowed {allowed}{unit} ({refused.reason})"


def refusals_words(count: int, first: Refused) -> str:
    """Return how often risk refused by one check, with the first refusal's numbers, and the limit's key."""
    key = SETTINGS.get(first.reason)
    times = f"{count:,} {'entry' if count == 1 else 'entries'} refused"
    return f"{times}: {refusal_words(first)}" + (f"; the limit is risk.{key}" if key else "")


def flat_words(reason: str) -> str:
    """Return why a bar was spent without a position; a strategy's own reason stays as it is."""
    return FLAT.get(reason, reason)


def dropped_words(name: str) -> str:
    """Return what the engine counts under a name and does not use."""
    return _DROPPED.get(name, name)


REFUSALS: Mapping[str, tuple[str, str]] = {
    "not_finite": ("a price or quantity of the order is not a number", ""),
    "symbol": ("the order is of another symbol than its account", ""),
    "not_a_reduction": ("the exit would not reduce the position", ""),
    "status": ("the contract is not traded now", ""),
    "price_step": ("a price is not on the contract's grid", ""),
    "qty_step": ("the quantity is not on the contract's grid", ""),
    "min_qty": ("the quantity is below the contract's minimum", ""),
    "max_qty": ("the quantity is above the contract's maximum", ""),
    "min_notional": ("the value is below the contract's minimum", ""),
    "stop_side": ("a stop or target is on the wrong side of the price", ""),
    "account_not_finite": ("the account or the price is not known", ""),
    "stop_liquidation": (
        "in isolated margin at account.leverage the position is liquidated before its stop",
        "",
    ),
    "spot_short": ("spot cannot be sold short", ""),
    "spot_borrowed": ("spot is bought with the account's own money alone", " times equity"),
    "breaker": ("entries are held back", ""),
    "foreign_position": ("a position that is not ours is open in this symbol", ""),
    "daily_loss": ("the equity is below the floor of the day's loss", ""),
    "drawdown": ("the equity is below the floor of the drawdown", ""),
    "rejects": ("the venue has refused too many orders in a row", ""),
    "loss_streak": ("entries pause after losing trades in a row", ""),
    "cold": ("the model is still warming up", ""),
    "strategy_stopped": ("the symbol's strategy has raised an error", ""),
    "stale_data": ("the market data are too old", " ms"),
    "stale_signal": ("the decision is too old", " ms"),
    "price_collar": ("the price is too far from the mark", " of it"),
    "order_rate": ("too many entries within a minute", ""),
    "order_notional": ("the order's value is above its limit", ""),
    "daily_notional": ("the day's entries would be above their limit", ""),
    "position_notional": ("the position would be above its limit", ""),
    "total_notional": ("all positions together would be above their limit", ""),
    "leverage": ("the leverage would be above its limit", " times equity"),
}
"""Check → what it means when it refuses, and the unit of its numbers; in step with ``limits.CHECKS``."""

SETTINGS: Mapping[str, str] = {
    "daily_loss": "max_daily_loss_frac",
    "drawdown": "max_drawdown_frac",
    "rejects": "max_consecutive_rejects",
    "loss_streak": "max_consecutive_losses",
    "stale_data": "max_data_age_ms",
    "stale_signal": "max_signal_age_ms",
    "price_collar": "price_collar_frac",
    "order_rate": "max_orders_per_minute",
    "order_notional": "max_order_notional_quote",
    "daily_notional": "max_daily_notional_quote",
    "position_notional": "max_position_notional_quote",
    "total_notional": "max_total_notional_quote",
    "leverage": "max_leverage",
}
"""Name of a check → the key of ``[risk]`` that bounds it."""

FLAT: Mapping[str, str] = {
    "": "",
    "cost": "the expected gain is below the cost of a round trip",
    "no_signal": "the strategy has no signal",
    "cold": "features or model are still warming up",
    "risk": "risk refused the order",
    ENTERING: "an entry is under way",
    "below_minimum": "the position asked for is below the contract's minimum",
    "catching_up": "older bars are being read",
    "no_forecast": "there is no forecast",
    "no_equity": "the equity is not known",
    "no_volatility": "the volatility is not known yet",
    "operator": "closed by the operator",
    "halt": "closed by a halt",
}
"""Reason of a bar without a position → what it means."""

_DROPPED: Mapping[str, str] = {
    "not_finite": "targets with a quantity or price that is not a number",
    "no_mark": "targets of a symbol whose price was not known",
    "no_equity": "targets by fraction or volatility while the equity was not known",
    "no_volatility": "targets by volatility while it was not known",
    "stop_side": "stops on the wrong side of the price",
    "stop_liquidation": "stops moved to where an isolated position is liquidated before",
    "stops": "stops that the venue refused",
    "takes": "orders to take profit that the venue refused",
    "take_below_minimum": "parts to take that were below the contract's minimum and went to another price",
    "repeated_bar": "bars that came twice",
    "bad_quote": "quotes of an empty or crossed order book",
    "bad_mark": "prices that are not positive numbers",
    "warm_up": "positions asked for in the warm-up",
    "catching_up": "positions asked for at bars that came too late",
}
