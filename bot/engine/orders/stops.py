"""The stops of a position at the venue: sent with an entry, moved, trailed, sent again when they are lost."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from bot.domain.messages import Effect, SetStops, SetTrailing
from bot.domain.money import ZERO, to_decimal
from bot.domain.orders import Intent
from bot.engine.orders.protection import NO_STOPS, TRIES_MAX, Trail, stop_of, stop_to_restore, trail_of
from bot.engine.state import EngineState, SymbolState
from bot.risk.limits import comes_first, isolated_liquidation
from bot.strategy.signal import Target
from bot.strategy.sizing import round_stops, stops_on_grid

_NOTHING: tuple[Effect, ...] = ()


class StopKeeper:
    """Keeps stop, target and trailing stop of each position at the venue, on the engine's state.

    ``stop_frac`` is the distance of the stop that an entry without one gets; None gives none.
    ``isolated_leverage`` is that of ``Limits``.
    """

    def __init__(self, state: EngineState, stop_frac: Decimal | None, isolated_leverage: Decimal) -> None:
        self._state = state
        self._stop_frac = stop_frac
        self._isolated_leverage = isolated_leverage

    def protect(self, sym: SymbolState, intent: Intent) -> Intent:
        """Give an entry a stop, unless it adds to a position that already has one at the venue."""
        held = sym.position.qty
        adds = bool(held) and (held > ZERO) == (intent.side == "Buy")
        if self._stop_frac is None or (adds and not sym.stops.is_lost):
            return intent
        return msgspec.structs.replace(intent, stop_loss=stop_of(intent, self._stop_frac, sym.instrument))

    def restore(self, sym: SymbolState) -> Sequence[Effect]:
        """Send the stop of an open position again that has none at the venue; count the tries in a row."""
        entry = sym.position.entry_price
        if entry is None or not sym.stops.is_lost:
            return _NOTHING
        side, tick = sym.side, sym.instrument.tick_size
        wanted, held = sym.stops.wanted, sym.stops.at_venue[1]
        stop, target = stops_on_grid(wanted[0], held or wanted[1], side, tick)  # the tick may be a new one
        if stop is None and not self._stop_frac:
            return _NOTHING
        mark = to_decimal(sym.mark)
        stop = stop_to_restore(sym.position.qty, entry, mark, stop, self._stop_frac, sym.instrument)
        if stop is None:
            return _NOTHING
        if target is not None and (target > mark) != (sym.position.qty > ZERO):
            target = None  # the price is past it, so the venue would refuse both
        sym.stops.tries += 1
        sym.stops.sent_ms = self._state.now_ms
        return (SetStops(sym.symbol, stop, target),)

    def drop(self, sym: SymbolState) -> Sequence[Effect]:
        """Take our stop away from a foreign position that is left after ours was closed."""
        if not sym.foreign_qty or sym.position.qty:
            return _NOTHING
        effects: list[Effect] = []
        if sym.stops.at_venue != NO_STOPS:
            effects.append(SetStops(sym.symbol, None, None))
        if sym.stops.trail_at_venue:
            effects.append(SetTrailing(sym.symbol, ZERO))
        return effects

    def trail(self, sym: SymbolState, distance: Decimal, from_price: Decimal | None) -> Sequence[Effect]:
        """Give an open position a trailing stop, unless it has this one."""
        stops, side = sym.stops, sym.side
        trail = trail_of(distance, from_price, side, to_decimal(sym.mark), sym.instrument)
        if trail is None or stops.trails_as(trail):
            return _NOTHING
        stops.trail, stops.trail_tries = trail, 0
        return self._send_trail(sym, trail)

    def restore_trail(self, sym: SymbolState, *, again: bool = False) -> Sequence[Effect]:
        """Send a trailing stop again that the venue lacks, ``TRIES_MAX`` times in a row, or once more."""
        stops = sym.stops
        if not sym.position.qty or not self._state.synced or not stops.is_trail_lost(self._state.now_ms):
            return _NOTHING
        if stops.trail is None or (stops.trail_tries >= TRIES_MAX and not again):
            return _NOTHING
        return self._send_trail(sym, stops.trail)

    def _send_trail(self, sym: SymbolState, trail: Trail) -> Sequence[Effect]:
        """Send a trailing stop; if its first price is passed already, it follows at once."""
        mark = to_decimal(sym.mark)
        trail = trail_of(trail.distance, trail.from_price, sym.side, mark, sym.instrument) or trail
        sym.stops.trail, begins = trail, trail.from_price
        if begins is not None and (mark >= begins if sym.position.qty > ZERO else mark <= begins):
            begins = None
        sym.stops.trail_tries += 1
        sym.stops.trail_sent_ms = self._state.now_ms
        return (SetTrailing(sym.symbol, trail.distance, begins),)

    def move(self, sym: SymbolState, target: Target) -> Sequence[Effect]:
        """Move the protective orders to the target's prices; a target that names none keeps them."""
        if target.stop_loss is None and target.take_profit is None:
            return _NOTHING
        side = sym.side
        stop_loss, take_profit = round_stops(target, side, sym.instrument.tick_size)
        held = sym.stops.at_venue
        moved = (stop_loss or held[0], take_profit or held[1])
        if moved == sym.stops.at_venue:
            return _NOTHING
        moved = stops_on_grid(*moved, side, sym.instrument.tick_size)  # what is held may be on an older grid
        low, high = moved if side == "Buy" else moved[::-1]
        if not ((low is None or low < sym.mark) and (high is None or high > sym.mark)):
            self._state.refusals["stop_side"] += 1  # the price is past it, so the venue would refuse it too
            return _NOTHING
        stop = moved[0]
        liquidation = isolated_liquidation(sym.position, self._isolated_leverage, sym.instrument)
        if stop is not None and stop != held[0] and not comes_first(stop, side, liquidation):
            self._state.refusals["stop_liquidation"] += 1
            return _NOTHING
        sym.stops.wanted = moved
        return (SetStops(sym.symbol, *moved),)
