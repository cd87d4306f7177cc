"""One close: mark the account, forecast, ask the strategies, and follow what they want. Pure.

mark → equity → breaker → forecast → strategy → sizing → risk → order: ``CloseHandler.on_bars`` is this line.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Literal

import msgspec

from bot.domain.errors import StrategyFailed, UnusableNumber
from bot.domain.market import Bar
from bot.domain.messages import BarsClosed, Effect, StrategyFailure, StrategyStopped
from bot.engine.forecasting import Forecaster
from bot.engine.orders.activity import IDLE
from bot.engine.orders.trader import Trader
from bot.engine.state import EngineState, SymbolState
from bot.strategy.failing import failure_of
from bot.strategy.portfolio import Portfolio
from bot.strategy.signal import SizedTarget, Target
from bot.strategy.sized import quantity_of

_NOTHING: tuple[Effect, ...] = ()

_NO_VOLATILITY_SOURCE = (
    "Target.volatility needs a volatility: set needs_forecast = True or volatility_hours = 240 on the class"
)
WARM_UP, LATE = "warm_up", "catching_up"
"""``refusals`` counts the positions asked for at closes that are only shown: before the start, or too old."""


class CloseHandler:
    """Applies the bars of a close for the engine, on the engine's state.

    Args:
        state: what changes.
        trader: sends what follows.
        forecasters: by interval.
        trade_from_ms: closes before this only warm up.
        venue_prices: True if closes come from another market than the one traded.
        redact: takes secrets out of the words of a strategy that raises.
    """

    def __init__(
        self,
        state: EngineState,
        trader: Trader,
        forecasters: Mapping[int, Forecaster],
        *,
        trade_from_ms: int,
        venue_prices: bool,
        redact: Callable[[str], str],
    ) -> None:
        self._state = state
        self._trader = trader
        self._forecasters = forecasters
        self._trade_from_ms = trade_from_ms
        self._venue_prices = venue_prices
        self._redact = redact

    def on_bars(self, event: BarsClosed) -> Sequence[Effect]:
        """Apply one close and return what follows from it."""
        state, close_ms, live = self._state, event.close_ms, event.live
        closed = self._take_closes(event)
        effects: list[Effect] = []
        moved = live and state.judge(state.now_ms)
        if moved:
            effects += self._trader.breaker_moved(moved)
        if closed and (self._forecasters or state.indicators):
            effects += self._show_asked(event, closed)
        flattening = (state.flattening or state.breaker.state == "halted") and self._trader.wants_flat()
        trading, equity = close_ms >= self._trade_from_ms, state.equity
        pursuing, unusual = trading and live, self._venue_prices or not live
        for sym in closed:
            view = sym.view
            view.equity = equity
            view.live = pursuing
            if sym.position_base:
                view.bars_held += 1
                if unusual:
                    self._see_held(sym, close_ms)
        if state.portfolio is not None and closed:
            effects += self._ask_portfolio(state.portfolio, closed, close_ms, pursuing, flattening)
        for sym in closed:
            try:
                target = sym.on_bar(sym.view)
            except UnusableNumber:  # a target that is not a number is counted and never traded
                state.refusals["not_finite"] += 1
                target = None
            except Exception as error:  # the code of a user may raise anything
                effects += self._stop_strategy(sym, error)
                target = None
            if not pursuing:
                sym.let_pass(trading)
                self._count_dropped(target, close_ms)
            elif target is None and sym.activity is IDLE and not flattening:  # nearly every bar
                sym.refused = False
                if not sym.position_base:
                    sym.count_flat("no_signal" if sym.view.warm else "cold")
            else:
                effects += self._follow(sym, target, close_ms, flattening)
        if (live and (flattening or state.working)) or state.expiring or state.taking:
            effects += self._trader.at_close(event, flatten=flattening and live and not moved)
        return effects

    def _ask_portfolio(
        self,
        portfolio: Portfolio,
        closed: list[SymbolState],
        close_ms: int,
        pursuing: bool,
        flattening: bool,
    ) -> Sequence[Effect]:
        """Ask the one strategy of all symbols, and put those symbols first that it makes smaller.

        What it wants of symbols without a bar at this close is pursued here.
        """
        state = self._state
        if len(state.stopped) == len(state.symbols):
            return _NOTHING
        seen, equity = [sym.view for sym in closed], state.equity
        try:
            targets = portfolio.ask(seen, close_ms, equity, live=pursuing)
        except UnusableNumber:  # a target that is not a number is counted and never traded
            state.refusals["not_finite"] += 1
            return _NOTHING
        except Exception as error:  # the code of a user may raise anything
            return self._stop_strategy(closed[0], error)
        if not targets:
            return _NOTHING
        closed.sort(key=lambda sym: not _shrinks(sym, targets.get(sym.symbol), equity))  # exits free margin
        missing = targets.keys() - {sym.symbol for sym in closed} - state.stopped.keys()
        effects: list[Effect] = []
        for sym, target in ((state.symbols[each], targets[each]) for each in sorted(missing)):
            if target is None:
                continue
            if not pursuing:
                self._count_dropped(target, close_ms)
            elif not flattening and (known := self._with_quantity(sym, target)[0]) is not None:
                effects += self._pursue(sym, known, close_ms)
        return effects

    def _count_dropped(self, target: Target | None, close_ms: int) -> None:
        """Count a position that was asked for at a close that is only shown."""
        if isinstance(target, Target) and target.qty:
            self._state.refusals[LATE if close_ms >= self._trade_from_ms else WARM_UP] += 1

    def _forecast(self, interval_ms: int, closed: Sequence[SymbolState]) -> Sequence[Effect]:
        """Show the symbols that ask for it the forecasts of this close.

        A model of the user's own that raises stops the strategies that ask for forecasts.
        """
        forecaster = self._forecasters.get(interval_ms)
        if forecaster is None:
            return _NOTHING
        bars = [sym.view.bar for sym in closed]
        effects: list[Effect] = []
        try:
            forecasts = forecaster.step(bars, funding_rates(self._state, bars))
        except StrategyFailed as error:
            forecasts = [None] * len(bars)
            for sym in closed:
                if sym.needs_forecast and sym.symbol not in self._state.stopped:
                    effects += self._stop_strategy(sym, error)
        for sym, forecast in zip(closed, forecasts, strict=True):
            if sym.needs_forecast:
                sym.view.forecast = forecast
                sym.view.warm = forecast is not None
        return effects

    def _judge_drift(self) -> Sequence[Effect]:
        """Stop entries while a model has drifted; they may leave again once it has not."""
        state, beyond = self._state, self._state.drift_beyond()
        if not beyond and not state.breaker.reducing:  # nearly always
            return _NOTHING
        moved = state.breaker.drifted(beyond)
        state.note_causes()
        return self._trader.breaker_moved(moved)

    def _stop_strategy(self, sym: SymbolState, error: Exception) -> Sequence[Effect]:
        """Ask a strategy that raised nothing more; its symbols take no entries, exits and stops go on."""
        method: Literal["on_bar", "on_close"] = "on_bar" if self._state.portfolio is None else "on_close"
        return self.stopped(sym, failure_of(sym.strategy, error, sym.view.bar, self._redact, method))

    def _show_asked(self, event: BarsClosed, closed: Sequence[SymbolState]) -> Sequence[Effect]:
        """Show strategies the forecasts and indicators that they ask for; judge the model's drift.

        An indicator that is a function of the user's own stops its strategy if it raises.
        """
        state = self._state
        effects: list[Effect] = []
        if self._forecasters:
            effects += self._forecast(event.interval_ms, closed)
            if event.live:
                effects += self._judge_drift()
        for sym in closed:
            view = sym.view
            shown = state.indicators.get(sym.symbol)
            if shown is None:
                continue
            known = shown.take(view.bar, sym.funding_rate)
            if sym.symbol not in state.stopped:
                try:
                    known = shown.ask() and known
                except Exception as error:  # the code of a user may raise anything
                    known = False
                    effects += self._stop_strategy(sym, error)
            view.warm = known and not (sym.needs_forecast and view.forecast is None)
        return effects

    def stopped(self, sym: SymbolState, failure: StrategyFailure) -> Sequence[Effect]:
        """Ask the strategy of a symbol, and of those traded with it, nothing more; say so."""
        effects: list[Effect] = []
        for each in self._state.traded_with(sym):
            self._state.stop(each, failure)
            effects += (
                StrategyStopped(self._state.now_ms, each.symbol, failure),
                *self._trader.give_up(each),
            )
        return effects

    def _see_held(self, sym: SymbolState, close_ms: int) -> None:
        """Correct the view of a position at a late close, or for closes of another market."""
        view = sym.view
        if close_ms <= self._state.adopted_ms:  # before the account was read: the position may be younger
            view.bars_held -= 1
        if self._venue_prices and sym.mark == sym.mark:  # the strategy sees the feed's prices
            ratio = sym.mark / view.bar.close
            view.position = sym.position_base * ratio
            view.entry_price = sym.entry_quote / sym.position_base / ratio

    def _follow(
        self, sym: SymbolState, target: Target | None, decided_ms: int, flattening: bool
    ) -> Sequence[Effect]:
        """Pursue a target or an active exit target, and count why a bar is spent flat."""
        kind = type(target)  # a struct's own instance check is slow
        if target is not None and kind is not Target and not issubclass(kind, Target):
            return self._stop_strategy(sym, TypeError(f"on_bar must return a Target or None, was {target!r}"))
        effects: Sequence[Effect] = _NOTHING
        unknown = ""
        if kind is SizedTarget and isinstance(target, SizedTarget):
            if target.by == "volatility" and not (
                sym.needs_forecast or sym.symbol in self._state.volatilities
            ):
                return self._stop_strategy(sym, TypeError(_NO_VOLATILITY_SOURCE))
            target, unknown = self._with_quantity(sym, target)
        sym.refused = flattening
        if target is None and (active := sym.activity.exit) is not None:
            effects = self._trader.send_exit_again(sym, decided_ms) if not flattening else _NOTHING
            target = active if effects else None
        elif target is not None and not flattening:
            effects = self._pursue(sym, target, decided_ms)
        if not sym.position_base:
            sym.count_flat(unknown or self._why_flat(sym, target))
        return effects

    def _with_quantity(self, sym: SymbolState, target: Target) -> tuple[Target | None, str]:
        """Return a target with its quantity; or None, and why it is not known."""
        if not isinstance(target, SizedTarget):
            return target, ""
        known, unknown = quantity_of(target, sym.view, self._state.equity)
        if unknown:
            self._state.refusals[unknown] += 1
        return known, unknown

    def _pursue(self, sym: SymbolState, target: Target, decided_ms: int) -> Sequence[Effect]:
        """Turn a target of a strategy into orders, in the venue's prices."""
        there = _in_prices_of(sym, target) if self._venue_prices else target
        if there is None or sym.mark != sym.mark:  # NaN: it has had no bar yet
            self._state.refusals["no_mark"] += 1
            return _NOTHING
        return self._trader.pursue(sym, there, decided_ms)

    def _take_closes(self, event: BarsClosed) -> list[SymbolState]:
        """Mark the account at the closes; show and return the symbols that decide now."""
        state, close_ms, interval_ms = self._state, event.close_ms, event.interval_ms
        state.closes_tell_time = not event.seen_ms
        symbols, venue_prices = state.symbols, self._venue_prices
        closed: list[SymbolState] = []
        for bar in self._unseen(event) if event.seen_ms or not event.live else event.bars:
            sym = symbols.get(bar.symbol)
            if sym is None:  # not traded here
                continue
            if close_ms >= sym.last_data_ms and not venue_prices:  # bars may come after newer quotes
                sym.mark = bar.close
                sym.last_data_ms = close_ms
            if sym.interval_ms == interval_ms:
                sym.view.bar = bar
                closed.append(sym)
        if state.longer or state.volatilities:  # few strategies ask for these
            for sym in closed:
                state.follow_declared(sym)
        if close_ms > state.now_ms:
            state.now_ms = close_ms
        state.remark()
        return closed

    def _unseen(self, event: BarsClosed) -> tuple[Bar, ...]:
        """Set the time to when a live close was seen; return those of its bars that are new."""
        self._state.now_ms = max(self._state.now_ms, event.seen_ms)
        symbols = self._state.symbols
        fresh = tuple(
            bar
            for bar in event.bars
            if (sym := symbols.get(bar.symbol)) is None
            or sym.interval_ms != event.interval_ms
            or bar.start_ms > sym.view.bar.start_ms
        )
        if len(fresh) < len(event.bars):
            self._state.refusals["repeated_bar"] += len(event.bars) - len(fresh)
        return fresh

    def _why_flat(self, sym: SymbolState, target: Target | None) -> str:
        """Return the first reason that holds: risk, cold, entering, too small an entry, the target's own."""
        if sym.refused:
            return "risk"
        if not sym.view.warm:
            return "cold"
        if target is None:
            return "no_signal"
        if target.qty:
            under_way = sym in self._state.turning or self._state.orders.of(sym.symbol)
            return "entering" if under_way else "below_minimum"
        return target.reason or "no_signal"


def funding_rates(state: EngineState, bars: Sequence[Bar]) -> list[float]:
    """Return the last funding rate of each bar's symbol; NaN if none is known."""
    return [state.symbols[bar.symbol].funding_rate for bar in bars]


def _shrinks(sym: SymbolState, target: Target | None, equity: float) -> bool:
    """Return True if the target makes the position smaller, or turns it."""
    if isinstance(target, SizedTarget):
        target, _ = quantity_of(target, sym.view, equity)
    if target is None or not sym.position_base:
        return False
    return target.qty * sym.position_base <= 0.0 or abs(target.qty) < abs(sym.position_base)


def _in_prices_of(sym: SymbolState, target: Target) -> Target | None:
    """Return the target for the same fraction of equity in the venue's prices; None if those are unknown."""
    if not 0.0 < sym.mark < inf:
        return None
    ratio = sym.mark / sym.view.bar.close

    def there(price: float | None) -> float | None:
        return None if price is None else price * ratio

    return msgspec.structs.replace(
        target,
        qty=target.qty / ratio,
        limit_price=there(target.limit_price),
        stop_loss=there(target.stop_loss),
        take_profit=there(target.take_profit),
        trailing_stop=there(target.trailing_stop),
        trailing_from=there(target.trailing_from),
        takes=None if target.takes is None else tuple((price * ratio, part) for price, part in target.takes),
    )
