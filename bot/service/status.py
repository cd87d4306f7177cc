"""The JSON of ``bot status``, and the state in it."""

import math
from collections.abc import Iterable, Mapping
from typing import Literal, assert_never

from bot.domain.orders import OrderState
from bot.engine.core import Engine
from bot.risk.breaker import Breaker
from bot.risk.entries import entry_block
from bot.risk.words import words_of
from bot.service.readiness import Word
from bot.service.record import RunTotals

State = Literal[
    "starting",
    "recovering",
    "warming",
    "trading",
    "paused",
    "reducing",
    "halted",
    "stalled",
    "stopping",
]

_WORDS: Mapping[Word, str] = {
    Word.STOPPING: "a stop was asked for; entries are taken back",
    Word.STARTING: "the tasks do not run yet",
    Word.RECOVERING: "the venue's account is being read",
    Word.WARMING: "closed bars are being read until the strategy is warm",
    Word.CATCHING_UP: "older events are still being taken; entries wait",
    Word.STALLED: "the process stood still; exits only until the next close in time",
    Word.FEED_DOWN: "the feed has lost its data; exits only until they are back",
    Word.COLD: "no symbol is warm after a hole in the bars; exits only",
    Word.TRADING: "entries and exits are sent",
}


def state_of(breaker: Breaker, word: Word) -> State:
    """Return the one word of ``bot status``: a halt first, then the start and the stop, then what pauses.

    "trading" is said only while an entry may leave.
    """
    if breaker.state == "halted":
        return "halted"
    match word:
        case Word.STARTING:
            return "starting"
        case Word.RECOVERING:
            return "recovering"
        case Word.WARMING | Word.CATCHING_UP:
            return "warming"
        case Word.STOPPING:
            return "stopping"
        case Word.STALLED | Word.FEED_DOWN | Word.COLD | Word.TRADING if breaker.is_paused:
            return "paused"
        case Word.STALLED:
            return "stalled"
        case Word.COLD:
            return "warming"
        case Word.FEED_DOWN:
            return "reducing"
        case Word.TRADING:
            return "trading" if entry_block(breaker.state) is None else "reducing"
    assert_never(word)


def readiness(breaker: Breaker, word: Word) -> dict[str, object]:
    """Return the finer word, and the state in words for people."""
    state = state_of(breaker, word)
    if state == "halted":
        words = f"halted: {_words(breaker, breaker.halting)}; no entries until `bot unhalt`"
    elif state == "paused":
        words = "paused by the operator; exits only until `bot resume`"
    elif state == "reducing" and word is Word.TRADING:
        words = f"held back: {_words(breaker, breaker.reducing)}; exits only"
    else:
        words = _WORDS[word]
    return {"readiness": word.value, "state_words": words}


def _words(breaker: Breaker, causes: Iterable[str]) -> str:
    return "; ".join(f"{words_of(cause, breaker)} ({cause})" for cause in causes)


def account(engine: Engine) -> dict[str, object]:
    """Return the engine's positions and orders as plain JSON values without NaN.

    An account that was never read shows no money: the setting's equity is not its own.
    """
    state = engine.state
    live = state.orders.live.values()
    return {
        "equity": number(state.equity) if state.account_known else None,
        "cash": float(state.cash.balance) if state.account_known else None,
        "net_notional": number(state.net_notional),
        "positions": [
            {
                "symbol": sym.symbol,
                "qty": str(sym.position.qty),
                "entry_price": number(sym.view.entry_price),
                "mark": number(sym.mark),
                "unrealised": number(sym.position_base * sym.mark - sym.entry_quote),
                "stop_loss": None if sym.stops.at_venue[0] is None else str(sym.stops.at_venue[0]),
                "take_profit": None if sym.stops.at_venue[1] is None else str(sym.stops.at_venue[1]),
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
        "unknown_for_ms": max((state.now_ms - each.since_ms for each in state.unknown.values()), default=0),
        "foreign_orders": state.foreign_orders,
        "foreign_positions": [{"symbol": sym.symbol, "qty": str(sym.foreign_qty)} for sym in state.foreign],
        "foreign_notional": number(float(state.foreign_notional_quote)),
        "execution": execution(engine),
    }


def execution(engine: Engine) -> dict[str, object]:
    """Return what trading cost against the price at each decision, without fees."""
    costs = engine.state.costs
    return {
        "maker_frac": costs.maker_frac,
        "shortfall_bps": costs.shortfall_bps,
        "shortfall_quote": costs.shortfall_quote,
        "reprices": costs.reprices,
        "deadlines": costs.deadlines,
    }


def risk(engine: Engine) -> dict[str, object]:
    """Return the breaker's state and causes, and the refused intents by reason."""
    breaker = engine.state.breaker
    return {
        "risk_state": breaker.state,
        "halt_reason": breaker.reason if breaker.state == "halted" else None,
        "held_back_by": [*breaker.halting, *breaker.reducing],
        "refused": dict(sorted(engine.state.refusals.items())),
    }


def sums(totals: RunTotals) -> dict[str, object]:
    """Return the run's totals so far."""
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
    """Return a number that JSON has: None for NaN and infinity."""
    return value if math.isfinite(value) else None


def plain(facts: Mapping[str, object]) -> dict[str, object]:
    """Return facts of a feed or venue as JSON values."""
    return {
        name: number(value) if isinstance(value, float) else value
        for name, value in facts.items()
        if value is None or isinstance(value, bool | int | float | str | list | dict)
    }
