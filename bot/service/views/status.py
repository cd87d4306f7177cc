"""The JSON of ``bot status``, and the state in it."""

import math
from collections.abc import Iterable, Mapping
from typing import assert_never

import msgspec

from bot.domain.messages import Line
from bot.domain.money import plain, plain_or_none
from bot.domain.orders import OrderState
from bot.engine.core import Engine
from bot.engine.drift import DriftWatch
from bot.engine.state import EngineState
from bot.risk.breaker import Breaker, Cause
from bot.risk.entries import entry_block
from bot.risk.usage import limits_used
from bot.risk.words import what_to_do, words_of
from bot.service.moments import clock_words, failure_words
from bot.service.readiness import State, Word
from bot.service.record import RunTotals

_WORDS: Mapping[Word, tuple[str, Line | None, str]] = {
    Word.STOPPING: ("stopping", Line.STOPPING, "entries are taken back"),
    Word.STARTING: ("starting", Line.START, "the tasks do not run yet"),
    Word.RECOVERING: ("recovering", Line.START, "the venue's account is being read"),
    Word.WARMING: ("warming", Line.START, "closed bars are being read until the strategy is warm"),
    Word.CATCHING_UP: ("catching up", Line.START, "older events are still being taken; entries wait"),
    Word.STALLED: (
        "held back: the process stood still",
        Line.STALL,
        "exits only until the next close in time",
    ),
    Word.FEED_DOWN: ("held back: feed down", Line.FEED, "exits only until its data are back"),
    Word.COLD: ("held back: no symbol is warm after a hole in the bars", None, "exits only"),
    Word.TRADING: ("trading", None, "entries and exits are sent"),
}
"""Word → what holds, the line that is down since then, and what it means."""


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


def state_word(state: EngineState, word: Word) -> State:
    """Return the word for this state: nothing trades while the strategies of all symbols are stopped."""
    said = state_of(state.breaker, word)
    return "reducing" if said == "trading" and state.symbols.keys() <= state.stopped.keys() else said


def readiness(state: EngineState, word: Word, now_ms: int) -> dict[str, object]:
    """Return the finer word, the state in words for people, and each cause with its time.

    Times in words are UTC; of another day than ``now_ms`` they carry their date.
    """
    return {
        "readiness": word.value,
        "state_words": state_words(state, word, now_ms),
        "causes": [
            {
                "cause": cause,
                "words": words_of(cause, state.breaker),
                "since_ms": state.causes_ms.get(cause),
                "to_do": what_to_do(cause),
                "halts": cause in state.breaker.halting,
            }
            for cause in (*state.breaker.halting, *state.breaker.reducing)
        ],
        "strategies_stopped": [
            {"symbol": symbol, "words": failure_words(symbol, failure), "bar_ms": failure.bar_ms}
            for symbol, failure in state.stopped.items()
        ],
    }


def state_words(state: EngineState, word: Word, now_ms: int) -> str:
    """Return the state with its cause and time, and what it means, in one line for people."""
    said, stopped = _breaker_words(state, word, now_ms), list(state.stopped)
    if not stopped:
        return said
    if state_word(state, word) == "reducing" and state_of(state.breaker, word) == "trading":
        said = "held back: no strategy is left; exits only"
    named = ", ".join(stopped[:3]) + (f" and {len(stopped) - 3} more" if len(stopped) > 3 else "")
    first = failure_words(stopped[0], state.stopped[stopped[0]])
    return f"{said}; the strategy of {named} has raised, so no entries there until `bot unhalt`: {first}"


def _breaker_words(state: EngineState, word: Word, now_ms: int) -> str:
    breaker = state.breaker
    shown = state_of(breaker, word)
    if shown == "halted":
        causes = _words(state, breaker.halting, now_ms)
        return f"halted{causes}; no entries until `bot unhalt`"
    if shown == "paused":
        since = _since(state, Cause.PAUSED.value, now_ms)
        others = [cause for cause in breaker.reducing if Cause.of(cause) is not Cause.PAUSED]
        also = f"; also{_words(state, others, now_ms)}" if others else ""
        return f"paused by the operator{since}; exits only until `bot resume`{also}"
    if shown == "reducing" and word is Word.TRADING:
        return f"held back{_words(state, breaker.reducing, now_ms)}; exits only"
    words, line, meaning = _WORDS[word]
    return f"{words}{_since(state, Cause.LINK_DOWN.named(line) if line else '', now_ms)}; {meaning}"


def _words(state: EngineState, causes: Iterable[str], now_ms: int) -> str:
    return ": " + "; ".join(
        f"{words_of(cause, state.breaker)}{_since(state, cause, now_ms)} ({cause})" for cause in causes
    )


def _since(state: EngineState, cause: str, now_ms: int) -> str:
    since_ms = state.causes_ms.get(cause)
    return f" since {clock_words(since_ms, now_ms)}" if since_ms else ""


def day(state: EngineState, now_ms: int) -> dict[str, object]:
    """Return the result of the UTC day so far, open positions included, and the trades it closed.

    An account that was never read has no result. Money that was paid in or taken out is none.
    """
    base = state.day.base_at(now_ms, state.breaker) if state.account_known else None
    result = None if base is None else number(state.equity - base)
    return {
        "day_pnl": result,
        "day_pnl_frac": result / base if result is not None and base else None,
        "trades_today": state.day.trades_at(now_ms),
    }


def closes(state: EngineState, now_ms: int) -> dict[str, int | None]:
    """Return the bar length and the next close that is decided on; the shortest of several lengths."""
    interval_ms = min((sym.interval_ms for sym in state.symbols.values()), default=None)
    return {
        "interval_ms": interval_ms,
        "next_close_ms": (now_ms // interval_ms + 1) * interval_ms if interval_ms else None,
    }


def limits(engine: Engine, now_ms: int) -> list[dict[str, object]]:
    """Return the limits that are in force, with what is used of each."""
    return [
        {**msgspec.structs.asdict(row), "used_frac": row.used_frac}
        for row in limits_used(engine.usage(now_ms), engine.state.breaker)
    ]


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
                "qty": plain(sym.position.qty),
                "entry_price": number(sym.view.entry_price),
                "mark": number(sym.mark),
                "unrealised": number(sym.position_base * sym.mark - sym.entry_quote),
                "since_ms": state.opened_ms.get(sym.symbol),
                "stop_loss": plain_or_none(sym.stops.at_venue[0]),
                "take_profit": plain_or_none(sym.stops.at_venue[1]),
                "trailing_stop": plain_or_none(sym.stops.trail_at_venue or None),
            }
            for sym in state.symbols.values()
            if sym.position.qty
        ],
        "open_orders": [
            {
                "order_id": order.order_id,
                "symbol": order.intent.symbol,
                "side": order.intent.side,
                "qty": plain(order.intent.qty),
                "filled_qty": plain(order.filled_qty),
                "price": plain_or_none(order.intent.price),
                "reduce_only": order.intent.reduce_only,
                "expires_ms": state.expiring.get(order.order_id),
                "reason": order.intent.reason,
                "state": order.state.value,
            }
            for order in live
        ],
        "unknown_orders": sum(order.state is OrderState.UNKNOWN for order in live),
        "unknown_for_ms": max((state.now_ms - each.since_ms for each in state.unknown.values()), default=0),
        "foreign_orders": state.foreign_orders,
        "foreign_positions": [{"symbol": sym.symbol, "qty": plain(sym.foreign_qty)} for sym in state.foreign],
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
        "on_halt": breaker.limits.on_halt,
        "held_back_by": [*breaker.halting, *breaker.reducing],
        "refused": dict(sorted(engine.state.refusals.items())),
    }


def drift(engine: Engine) -> dict[str, object] | None:
    """Return the measures of the model's drift with their bounds; None without a model.

    A measure is None while too little is known of it, and always without a reference in the model. One of the
    user's own has ``bands`` never, and ``qlike`` only if it forecasts the variance.
    """
    watch = next((each.drift for each in engine.state.forecasters.values() if each.drift is not None), None)
    if watch is None:
        return None
    told, bounds = watch.measures(), watch.bounds
    return {
        "words": drift_words(watch),
        "state": "beyond" if watch.beyond else "unknown" if told.psi is None else "within",
        "beyond": dict(watch.beyond),
        "has_reference": watch.reference is not None,
        "has_bands": watch.has_bands,
        "reduces": bounds.reduces,
        "hours": told.hours,
        "min_hours": bounds.min_days * 24.0,
        "matured": told.matured,
        "psi": told.psi,
        "max_psi": bounds.max_psi,
        "worst_features": [{"feature": name, "psi": value} for name, value in told.worst],
        "qlike": told.qlike,
        "qlike_har_hour": told.qlike_har,
        "qlike_excess": told.qlike_excess,
        "max_qlike_excess": bounds.max_qlike_excess,
        "not_positive_frac": told.not_positive_frac,
        "bands": [msgspec.structs.asdict(each) for each in told.bands],
        "band_gap_frac": told.band_gap_frac,
        "max_band_gap_frac": bounds.max_band_gap_frac,
    }


def drift_words(watch: DriftWatch) -> str:
    """Return the drift in one line for people: the state, and each measure beside its bound."""
    told, bounds = watch.measures(), watch.bounds
    parts = [
        f"{what} {value:.3f} of {bound:g}"
        for what, value, bound in (
            ("inputs PSI", told.psi, bounds.max_psi),
            ("QLIKE above har_hour", told.qlike_excess, bounds.max_qlike_excess),
        )
        if value is not None
    ]
    if watch.reference is not None and watch.reference.har_weights is None:
        parts.append("skill unknown: it forecasts no variance, or learned from too few hours")
    if told.not_positive_frac:
        parts.append(f"{told.not_positive_frac:.0%} of its variances are 0 or less, which QLIKE counts hard")
    if told.bands:
        inside = ", ".join(f"{each.returns:.0%} in {each.level:.0%}" for each in told.bands)
        parts.append(f"returns in their bands {inside}")
    if watch.reference is None:
        parts.append("what the training data looked like is not known")
    elif not parts:
        parts.append(f"{told.hours:.0f} of {24.0 * bounds.min_days:g} hours of evidence")
    if not watch.has_bands:
        parts.append("only told, as the model is your own")
    state = "beyond its bounds" if watch.beyond else "unknown" if told.psi is None else "within its bounds"
    return "; ".join((state, *parts))


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


def json_facts(facts: Mapping[str, object]) -> dict[str, object]:
    """Return facts of a feed or venue as JSON values."""
    return {
        name: number(value) if isinstance(value, float) else value
        for name, value in facts.items()
        if value is None or isinstance(value, bool | int | float | str | list | dict)
    }
