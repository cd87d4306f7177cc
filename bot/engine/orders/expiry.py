"""Entries with an end: what is left of them is cancelled at the close at which they expire. Pure.

The strategy decides first at that close, so the same target there begins the count again. If the close comes
too late to be decided on, or not at all because a stream is down, the cancel is sent as soon as no decision
of that close can come any more. ``EngineState.expiring`` is in the snapshot, so a restart forgets nothing; a
cancel waits for the first reading of a remote venue's account.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from bot.domain.messages import CancelOrder
from bot.domain.orders import Intent, Order, OrderState
from bot.engine.state import EngineState

CANCEL_AGAIN_MS = 5_000
"""An unanswered cancel is sent again after so long."""


def with_expiry(intents: Iterable[Intent], expires_ms: int) -> tuple[Intent, ...]:
    """Return the intents; those that enter at a limit price expire at ``expires_ms``."""
    return tuple(
        intent
        if intent.reduce_only or intent.price is None
        else msgspec.structs.replace(intent, expires_ms=expires_ms)
        for intent in intents
    )


def renew(state: EngineState, orders: Sequence[Order], intents: Sequence[Intent]) -> None:
    """Let live orders expire as the intents say that ask for the same again."""
    for order, intent in zip(orders, intents, strict=True):
        if intent.expires_ms:
            state.expiring[order.order_id] = intent.expires_ms
        else:
            state.expiring.pop(order.order_id, None)


def cancelling(state: EngineState, orders: Iterable[Order]) -> None:
    """Note that orders are being cancelled for another target: those that expire need no other cancel now."""
    for order in orders:
        if order.order_id in state.expiring:
            state.expiring[order.order_id] = state.now_ms + CANCEL_AGAIN_MS


def cancel_expired(state: EngineState, interval_ms: int) -> list[CancelOrder]:
    """Cancel what has expired, after the decisions of a close of ``interval_ms``."""
    return _cancel(
        state, state.now_ms, lambda order: state.symbols[order.intent.symbol].interval_ms == interval_ms
    )


def cancel_missed(state: EngineState, max_signal_age_ms: int) -> list[CancelOrder]:
    """Cancel what expired at a close that can no longer be decided on."""
    return _cancel(state, state.now_ms - max_signal_age_ms, lambda _: True)


def _cancel(state: EngineState, until_ms: int, concerns: Callable[[Order], bool]) -> list[CancelOrder]:
    """Cancel the orders that expired by ``until_ms``, those of unknown fate once it is known."""
    effects: list[CancelOrder] = []
    for order_id, expires_ms in list(state.expiring.items()):
        order = state.orders.live.get(order_id)
        if order is None:
            del state.expiring[order_id]
        elif state.synced and expires_ms <= until_ms and concerns(order):
            state.expiring[order_id] = state.now_ms + CANCEL_AGAIN_MS
            if order.state is not OrderState.UNKNOWN:
                effects.append(CancelOrder(order_id, order.intent.symbol))
    return effects
