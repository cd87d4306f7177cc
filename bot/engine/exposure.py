"""What is at risk: positions, and orders under way, as the limits read them. Pure."""

from collections.abc import Iterable
from decimal import Decimal

from bot.domain.market import MINUTE_MS
from bot.domain.money import ZERO, to_decimal
from bot.engine.state import EngineState, SymbolState
from bot.risk.limits import Exposure, Limits, RiskView
from bot.risk.usage import Usage


def usage(state: EngineState, now_ms: int) -> Usage:
    """Return how much of each limit is used at ``now_ms``; see ``risk.usage``."""
    values = {sym.symbol: exposure_of(state, sym).worst_notional_quote for sym in _busy(state)}
    silences = [now_ms - sym.last_data_ms for sym in state.symbols.values() if sym.last_data_ms]
    return Usage(
        positions_quote=values,
        total_quote=sum(values.values(), state.foreign_notional_quote),
        entered_today_quote=_entered_today(state),
        entries_last_minute=sum(ms > now_ms - MINUTE_MS for ms in state.entries_ms),
        silence_ms=max(silences, default=None),
        unknown_ms=max((now_ms - each.since_ms for each in state.unknown.values()), default=0),
        equity_quote=state.equity if state.account_known else None,
    )


def risk_view(state: EngineState, limits: Limits, sym: SymbolState, until_ms: int) -> RiskView:
    """Return what a limit may look at when an order of a symbol is judged."""
    minute_ago = state.now_ms - MINUTE_MS
    state.entries_ms = [ms for ms in state.entries_ms if ms > minute_ago]
    held = state.foreign_notional_quote
    for other in _busy(state):
        if other is not sym and (exposure := exposure_of(state, other)).worst_qty():
            held += exposure.worst_notional_quote
    return RiskView(
        now_ms=state.now_ms,
        instrument=sym.instrument,
        exposure=exposure_of(state, sym),
        equity_quote=state.equity,
        last_data_ms=sym.last_data_ms,
        breaker=state.breaker,
        others_notional_quote=held,
        entries_last_minute=len(state.entries_ms),
        entered_today_quote=_entered_today(state) if limits.max_daily_notional_quote else ZERO,
        warm=sym.view.warm,
        stopped=sym.symbol in state.stopped,
        entry_value_quote=sym.position.entry_value,
        stop_at_venue=sym.stops.at_venue[0],
        target_until_ms=until_ms,
    )


def _entered_today(state: EngineState) -> Decimal:
    """Return the value of today's entries, with live and unknown ones as if they were filled."""
    entered = state.breaker.entered_today(state.now_ms)
    for order in state.orders.live.values():
        intent = order.intent
        if not intent.reduce_only:
            entered += order.leaves_qty * (intent.ref_price if intent.price is None else intent.price)
    return entered


def _busy(state: EngineState) -> Iterable[SymbolState]:
    """Return the symbols with a position, ours or foreign, or live orders: a few of hundreds."""
    busy = {sym.symbol: sym for sym in state.open}
    busy |= {sym.symbol: sym for sym in state.foreign}
    for order in state.orders.live.values():
        symbol = order.intent.symbol
        if symbol not in busy and symbol in state.symbols:
            busy[symbol] = state.symbols[symbol]
    return busy.values()


def exposure_of(state: EngineState, sym: SymbolState) -> Exposure:
    """Return what is held of a symbol and what is under way."""
    buys, sells = state.orders.resting_qty(sym.symbol)
    mark = to_decimal(sym.mark) if sym.mark == sym.mark else Decimal("NaN")
    return Exposure(sym.symbol, sym.position.qty, mark, buys, sells, sym.foreign_qty)
