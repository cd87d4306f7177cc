"""What the daemon says of itself: the state it is in, and the JSON of ``bot status``."""

import math
from collections.abc import Mapping
from typing import Literal

from bot.domain.orders import OrderState
from bot.engine.core import Engine
from bot.service.record import RunTotals

State = Literal["starting", "recovering", "warming", "trading", "paused", "reducing", "halted"]


class Progress:
    """How far the start has come; ``ready`` once: what breaks later is the breaker's business."""

    def __init__(self, *, remote: bool) -> None:
        self.begun = False
        """Tasks run and sockets may be open."""
        self.caught_up = False
        """The feed has handed over all bars until now."""
        self.synced = not remote
        """The venue's account has been read and adopted."""
        self.ready = False

    def may_trade(self, engine: Engine) -> bool:
        """Whether everything that a first decision needs is there."""
        warm = any(sym.view.warm for sym in engine.state.symbols.values())
        return self.caught_up and self.synced and warm


def state_of(engine: Engine, progress: Progress) -> State:
    """The one word; a halt before all, then the start's, then what the breaker holds back."""
    breaker = engine.state.breaker
    if breaker.state == "halted":
        return "halted"
    if not progress.begun:
        return "starting"
    if not progress.synced:
        return "recovering"
    if not progress.ready:
        return "warming"
    if "paused" in breaker.reducing:
        return "paused"
    return "trading" if breaker.state == "active" else "reducing"


def account(engine: Engine) -> dict[str, object]:
    """Positions and orders as the engine has them; plain JSON values, no NaN."""
    state = engine.state
    live = state.orders.live.values()
    return {
        "equity": number(state.equity),
        "cash": float(state.cash.balance),
        "net_notional": number(state.net_notional),
        "positions": [
            {
                "symbol": sym.symbol,
                "qty": str(sym.position.qty),
                "entry_price": number(sym.view.entry_price),
                "mark": number(sym.mark),
                "unrealised": number(sym.position_base * sym.mark - sym.entry_quote),
                "stop_loss": None if sym.stops[0] is None else str(sym.stops[0]),
                "take_profit": None if sym.stops[1] is None else str(sym.stops[1]),
            }
            for sym in state.symbols.values()
            if sym.position.qty
        ],
        "open_orders": [
            {
                "order_id": order.order_id,
                "symbol": order.intent.symbol,
                "side": order.intent.side,
                "qty": str(order.intent.qty),
                "filled_qty": str(order.filled_qty),
                "price": None if order.intent.price is None else str(order.intent.price),
                "reduce_only": order.intent.reduce_only,
                "state": order.state.value,
            }
            for order in live
        ],
        "unknown_orders": sum(order.state is OrderState.UNKNOWN for order in live),
        "foreign_orders": state.foreign_orders,
        "foreign_notional": number(float(state.foreign_notional_quote)),
        "execution": execution(engine),
    }


def execution(engine: Engine) -> dict[str, object]:
    """What trading cost against the price when each wish arose, fees aside."""
    costs = engine.state.costs
    return {
        "maker_frac": costs.maker_frac,
        "shortfall_bps": costs.shortfall_bps,
        "shortfall_quote": costs.shortfall_quote,
        "reprices": costs.reprices,
        "deadlines": costs.deadlines,
    }


def risk(engine: Engine) -> dict[str, object]:
    """What the breaker holds back, and why."""
    breaker = engine.state.breaker
    return {
        "risk_state": breaker.state,
        "halt_reason": breaker.reason if breaker.state == "halted" else None,
        "held_back_by": [*breaker.halting, *breaker.reducing],
        "refused": dict(sorted(engine.state.refusals.items())),
    }


def sums(totals: RunTotals) -> dict[str, object]:
    """What the run has done so far."""
    return {
        "bars": totals.bars,
        "closes": totals.closes,
        "first_bar_ms": totals.first_ms or None,
        "last_bar_ms": totals.last_ms or None,
        "orders": totals.orders,
        "fills": totals.fills,
        "fees": float(totals.fees),
        "funding": float(totals.funding),
        "fills_sha256": totals.fills_sha256,
    }


def number(value: float) -> float | None:
    """A number that JSON has: None for NaN and infinity."""
    return value if math.isfinite(value) else None


def plain(facts: Mapping[str, object]) -> dict[str, object]:
    """Facts of a feed or venue as JSON values."""
    return {
        name: number(value) if isinstance(value, float) else value
        for name, value in facts.items()
        if value is None or isinstance(value, bool | int | float | str | list | dict)
    }
