"""Everything that changes in the engine. Only ``Engine.handle`` changes it.

The floats ``position_base``, ``entry_quote`` and ``cash_quote`` are copies of Decimals in the ledger. They
are recomputed after every change of the ledger and never flow back into it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from math import nan
from typing import TYPE_CHECKING

from bot.domain.account import KnownAccount
from bot.domain.ledger import Cash, Position
from bot.domain.market import Instrument
from bot.domain.messages import StrategyFailure
from bot.domain.money import ZERO
from bot.domain.orders import Side
from bot.engine import snapshot
from bot.engine.forecasting import Forecaster
from bot.engine.orders.activity import IDLE, Activity, ActivityEvent, Resting, Turning, advance
from bot.engine.orders.execution import ExecutionCosts
from bot.engine.orders.open_orders import OpenOrders
from bot.engine.orders.protection import ProtectiveStops
from bot.engine.orders.retry import ExitRetry
from bot.engine.orders.takes import TakePlan
from bot.engine.orders.unknown import UnknownOrder, next_due_ms
from bot.engine.told import Day
from bot.risk.breaker import Breaker
from bot.strategy.failing import no_target
from bot.strategy.indicators import indicators_of
from bot.strategy.longer import longer_bars
from bot.strategy.portfolio import AnyStrategy, portfolio_of
from bot.strategy.signal import Target, View
from bot.strategy.sized import trailing_volatility

if TYPE_CHECKING:  # a run without indicators does not load the compiler behind them
    from bot.engine.indicators import Indicators

_REASONS_MAX = 64
"""Different reasons counted for a symbol; further reasons of a strategy are counted as ``other``."""
_QUOTE_AGE_MS = 10_000
"""Bid and ask older than this are not used; tickers bring them several times a second."""


class SymbolState:
    """One symbol: its rules, strategy, position and what is known of its market."""

    __slots__ = (
        "activity",
        "ask",
        "bid",
        "compared_ms",
        "due_qty",
        "entry_quote",
        "flat_bars",
        "flat_reason",
        "foreign_qty",
        "funding_rate",
        "funding_seen",
        "instrument",
        "interval_ms",
        "last_data_ms",
        "last_fill_ms",
        "mark",
        "needs_forecast",
        "on_bar",
        "position",
        "position_base",
        "quote_ms",
        "refused",
        "stops",
        "strategy",
        "symbol",
        "taken_ms",
        "taken_qty",
        "takes",
        "trade_quote",
        "view",
        "waiting_ms",
    )

    def __init__(self, interval_ms: int, instrument: Instrument, strategy: AnyStrategy, view: View) -> None:
        self.symbol = instrument.symbol
        self.interval_ms = interval_ms
        self.instrument = instrument
        self.strategy = strategy
        self.on_bar: Callable[[View], Target | None] = no_target
        """Returns the target of a close; see ``EngineState.bind_strategies``."""
        self.needs_forecast = bool(getattr(strategy, "needs_forecast", False))
        self.position = Position()
        """Our part of the venue's position."""
        self.foreign_qty = Decimal(0)
        """The part of the venue's position that is not ours, signed; ``domain/netting.py`` has the rule."""
        self.due_qty = Decimal(0)
        """What the last reading showed of our live orders before their executions came, signed."""
        self.waiting_ms = 0
        """Since which reading a part of our position is missing whose executions may still come; 0: none."""
        self.taken_qty = Decimal(0)
        """What a reading took from our position though no execution had come, signed; it is not booked again
        if an execution from before ``taken_ms`` comes after all."""
        self.taken_ms = 0
        self.compared_ms = 0
        """When the last reading began that this symbol was compared with; foreign trades before are in it."""
        self.position_base = 0.0
        self.entry_quote = 0.0
        self.mark = nan
        self.last_data_ms = 0
        self.last_fill_ms = 0
        self.bid = self.ask = nan
        self.quote_ms = 0
        """Time of the last bid and ask."""
        self.funding_rate = 0.0
        self.funding_seen: list[int] = []
        """Times of the last settlements that were paid or are part of the account as read; rising."""
        self.stops = ProtectiveStops()
        self.takes = TakePlan()
        """Profits to take in parts; ``takes.py`` has the rules."""
        self.trade_quote = Decimal(0)
        """Net result of the open trade: realised − fees + funding since the symbol was last flat."""
        self.activity: Activity = IDLE
        """What the symbol is busy with; changed by ``EngineState.advance`` alone."""
        self.refused = False
        self.flat_bars: Counter[str] = Counter()
        self.flat_reason = ""
        """Why the last bar was spent flat, for people; "" while a position is held or before a bar."""
        self.view = view

    @property
    def side(self) -> Side:
        """The side that opened the position; "Sell" without one."""
        return "Buy" if self.position.qty > ZERO else "Sell"

    def count_flat(self, reason: str) -> None:
        """Count one more bar without a position, and why."""
        if reason not in self.flat_bars and len(self.flat_bars) >= _REASONS_MAX:
            reason = "other"
        self.flat_reason = reason
        self.flat_bars[reason] = self.flat_bars.get(reason, 0) + 1

    def let_pass(self, counted: bool) -> None:
        """Count a close that came late: strategies see it, no order follows."""
        if counted and not self.position_base:
            self.count_flat("catching_up")

    def touch(self, now_ms: int) -> tuple[float, float]:
        """Return best bid and ask; the mark for both if they are too old."""
        if self.quote_ms and abs(now_ms - self.quote_ms) <= _QUOTE_AGE_MS:
            return self.bid, self.ask
        return self.mark, self.mark

    def rebook(self) -> None:
        """Recompute the copied floats after the ledger changed."""
        base = self.position_base = float(self.position.qty)
        self.entry_quote = float(self.position.entry_value)
        self.view.position = base
        self.view.entry_price = self.entry_quote / base if base else nan


def _indicators(
    symbols: Mapping[str, SymbolState], computed: "Mapping[str, Indicators]"
) -> "dict[str, Indicators]":
    """Return the indicators by symbol: computed ones where there are some, else streams."""
    made = {}
    for symbol, sym in symbols.items():
        if symbol in computed:
            made[symbol] = computed[symbol]
        elif indicators_of(sym.strategy):
            from bot.engine import indicators

            made[symbol] = indicators.Indicators(sym.strategy, sym.interval_ms)
        else:
            continue
        sym.view.ind, sym.view.warm = made[symbol].values, False
    return made


def _by_symbol(sym: SymbolState) -> str:
    return sym.symbol


class EngineState:
    """The engine's state as one value: the same events give the same state and the same ``digest``."""

    __slots__ = (
        "account_known",
        "account_uid",
        "adopted_ms",
        "breaker",
        "cash",
        "cash_quote",
        "causes_ms",
        "closes_tell_time",
        "costs",
        "day",
        "entries_ms",
        "equity",
        "expiring",
        "flattening",
        "forecasters",
        "foreign",
        "foreign_notional_quote",
        "foreign_orders",
        "indicators",
        "legs",
        "longer",
        "net_notional",
        "now_ms",
        "open",
        "opened_ms",
        "orders",
        "portfolio",
        "reconciled",
        "refusals",
        "retries",
        "seq",
        "stopped",
        "symbols",
        "synced",
        "taking",
        "transfers",
        "turning",
        "unknown",
        "volatilities",
        "wallet_ms",
        "wallet_quote",
        "working",
    )

    def __init__(
        self,
        cash_quote: Decimal,
        symbols: dict[str, SymbolState],
        breaker: Breaker,
        forecasters: Mapping[int, Forecaster],
        indicators: "Mapping[str, Indicators] | None" = None,
    ) -> None:
        self.seq = 0
        self.legs = (0, 0)
        """Number of the event that last led to orders, and how many."""
        self.now_ms = 0
        self.closes_tell_time = False
        """True in a replay of bars: the last close came without the time at which a feed saw it."""
        self.cash = Cash(cash_quote)
        self.cash_quote = float(cash_quote)
        self.equity = float(cash_quote)
        self.net_notional = 0.0
        self.symbols = symbols
        self.portfolio = portfolio_of(
            {symbol: each.strategy for symbol, each in symbols.items()},
            {symbol: each.interval_ms for symbol, each in symbols.items()},
            {symbol: each.view for symbol, each in symbols.items()},
        )
        """Asks the one strategy of all symbols; None if each symbol has its own."""
        made = {symbol: longer_bars(each.strategy, each.interval_ms) for symbol, each in symbols.items()}
        self.longer = {symbol: each for symbol, each in made.items() if each is not None}
        """What makes the longer bars of a symbol, where its strategy asks for some."""
        measured = {s: trailing_volatility(each.strategy, each.interval_ms) for s, each in symbols.items()}
        self.volatilities = {symbol: each for symbol, each in measured.items() if each is not None}
        """What measures the trailing volatility of a symbol, where its strategy asks for it."""
        self.show_followed()
        self.forecasters = forecasters
        """Features and model of the symbols by their interval, where a strategy asks for forecasts."""
        self.indicators = _indicators(symbols, indicators or {})
        """What makes the indicators of a symbol, where its strategy declares some."""
        self.open: tuple[SymbolState, ...] = ()
        """The symbols that hold a position, in the order of ``symbols``."""
        self.orders = OpenOrders()
        self.breaker = breaker
        self.flattening = False
        """True while the operator wants to be flat and a position or an order is left."""
        self.entries_ms: list[int] = []
        """Times at which the entries of the last minute were sent."""
        self.refusals: Counter[str] = Counter()
        self.retries: dict[str, ExitRetry] = {}
        """Exits that the venue did not take and that are sent again soon, by symbol."""
        self.unknown: dict[str, UnknownOrder] = {}
        """Orders of unknown fate by id."""
        self.expiring: dict[str, int] = {}
        """When what is left of an order is cancelled, by id; ``expiry.py`` has the rule."""
        self.costs = ExecutionCosts()
        self.working: tuple[SymbolState, ...] = ()
        """The symbols that carry a target out maker first (``Resting``)."""
        self.turning: tuple[SymbolState, ...] = ()
        """The symbols whose entry waits for exits (``Turning``)."""
        self.taking: tuple[SymbolState, ...] = ()
        """The symbols with a plan of takes, or with orders of one."""
        self.synced = True
        """False until a remote venue's account was read; no entry is sent and equity is not judged."""
        self.account_known = True
        """False until a remote venue's account was read for the first time; survives the process."""
        self.account_uid = ""
        """The venue's name of the account, if it tells one."""
        self.wallet_quote = cash_quote
        """The venue's wallet at the last reading."""
        self.wallet_ms = 0
        """When that reading began; 0: none yet."""
        self.transfers: dict[str, None] = {}
        """Ids of the latest transfers booked."""
        self.adopted_ms = 0
        """When the venue's account was adopted; earlier closes do not count as bars held."""
        self.foreign: tuple[SymbolState, ...] = ()
        """The symbols with a foreign position, in the order of ``symbols``."""
        self.foreign_notional_quote = Decimal(0)
        """Value of the account's positions in symbols that are not traded here; risk counts it."""
        self.foreign_orders = 0
        """Working orders of the account that are not ours."""
        self.stopped: dict[str, StrategyFailure] = {}
        """Symbols whose strategy raised; they take no entries until the operator lifts it."""
        self.day = Day()
        self.causes_ms: dict[str, int] = {}
        """Since when each cause of the breaker holds."""
        self.opened_ms: dict[str, int] = {}
        """Since when each open position is held, by symbol; unknown for one from an older version."""
        self.reconciled: Counter[str] = Counter()
        """Differences found between our state and readings of the account, by kind."""
        self.bind_strategies()

    def advance(self, sym: SymbolState, event: ActivityEvent) -> None:
        """Let ``event`` change what a symbol is busy with, by the table in ``activity.py``.

        Raises:
            Broken: the table has no such step; nothing is changed.
        """
        before = sym.activity
        after = sym.activity = advance(before, event)
        if type(before) is not type(after):
            self.working = _busy_with(Resting, self.working, sym)
            self.turning = tuple(sorted(_busy_with(Turning, self.turning, sym), key=_by_symbol))

    def await_account(self) -> None:
        """Send no entry before a remote venue's account was read by this process.

        Executions until then are booked if an earlier process knew the account.
        """
        self.synced = False
        self.breaker.await_account()

    def known_account(self) -> KnownAccount | None:
        """Return what the venue adapter of the next process must know; None for an account never read."""
        if not self.account_known or not self.wallet_ms:
            return None
        held = {sym.symbol: sym.position.qty + sym.foreign_qty for sym in self.symbols.values()}
        return KnownAccount(
            read_ms=self.wallet_ms,
            wallet_quote=self.wallet_quote,
            positions={symbol: qty for symbol, qty in held.items() if qty},
            orders=tuple(self.orders.live.values()),
            executions=tuple(self.orders.seen),
            uid=self.account_uid,
        )

    def judge(self, ts_ms: int) -> bool:
        """Show the breaker the account's value once the account is read; return True if the breaker moved."""
        if not self.synced:
            return False
        moved = self.breaker.on_equity(ts_ms, self.equity)
        if moved or self.breaker.state != "active":
            self.note_causes()
        return moved

    def model_of(self, sym: SymbolState) -> str:
        """Return the hash of the model whose forecasts a symbol's strategy sees; empty if it sees none."""
        forecaster = self.forecasters.get(sym.interval_ms) if sym.needs_forecast else None
        return "" if forecaster is None else forecaster.model

    def drift_beyond(self) -> dict[str, str]:
        """Return the measures of drift that stop entries: name → numbers."""
        return self._drifts(reducing=True)

    def drift_told(self) -> dict[str, str]:
        """Return the measures of drift that are only told: name → numbers."""
        return self._drifts(reducing=False)

    def _drifts(self, *, reducing: bool) -> dict[str, str]:
        beyond: dict[str, str] = {}
        for forecaster in self.forecasters.values():
            watch = forecaster.drift
            if watch is not None and watch.bounds.reduces is reducing:
                beyond |= watch.beyond
        return beyond

    def stop(self, sym: SymbolState, failure: StrategyFailure) -> None:
        """Ask a strategy that raised nothing more, and take no entries in its symbol."""
        self.stopped[sym.symbol] = failure
        self.bind_strategies()

    def follow_declared(self, sym: SymbolState) -> None:
        """Take the bar that a symbol's view has got into what its strategy declares."""
        if (longer := self.longer.get(sym.symbol)) is not None:
            longer.follow(sym.view)
        if (volatility := self.volatilities.get(sym.symbol)) is not None:
            volatility.follow(sym.view)

    def show_followed(self) -> None:
        """Show strategies the longer bars that closed last, and the trailing volatility."""
        for followed in (self.longer, self.volatilities):
            for symbol, each in followed.items():
                each.show(self.symbols[symbol].view)

    def traded_with(self, sym: SymbolState) -> Iterable[SymbolState]:
        """Return the symbols that the strategy of ``sym`` trades: with one strategy for all, all."""
        return (sym,) if self.portfolio is None else self.symbols.values()

    def bind_strategies(self) -> None:
        """Set what each symbol asks at its closes: its strategy, or nothing where that was stopped."""
        for sym in self.symbols.values():
            sym.on_bar = no_target if sym.symbol in self.stopped else self._strategy_call_of(sym)

    def _strategy_call_of(self, sym: SymbolState) -> Callable[[View], Target | None]:
        return sym.strategy.on_bar if self.portfolio is None else self.portfolio.answer  # type: ignore[union-attr]

    def note_causes(self) -> None:
        """Note since when each cause of the breaker holds; call it whenever the breaker may have changed."""
        breaker, held = self.breaker, self.causes_ms
        if breaker.state == "active" and not held:  # nearly always
            return
        causes = (*breaker.halting, *breaker.reducing)
        if causes != tuple(held):
            self.causes_ms = {cause: held.get(cause, self.now_ms) for cause in causes}

    def due_ms(self) -> int | None:
        """Return the next time at which the engine must act without any other event; None if it need not."""
        dues = [retry.due_ms for retry in self.retries.values()] if self.synced else []
        if self.unknown and (due_ms := next_due_ms(self.unknown.values(), self.breaker.limits)) is not None:
            dues.append(due_ms)
        if self.expiring and self.synced:
            dues.append(min(self.expiring.values()) + self.breaker.limits.max_signal_age_ms)
        return min(dues, default=None)

    def next_leg(self) -> int:
        """Return the number of the next order of this event; with ``seq`` it names the order."""
        seq, count = self.legs
        self.legs = (self.seq, count + 1 if seq == self.seq else 1)
        return self.legs[1] - 1

    def rebook(self, sym: SymbolState) -> None:
        """Follow the ledger after a fill: copy cash and one position to floats, and update ``open``."""
        self.cash_quote = float(self.cash.balance)
        sym.rebook()
        if not sym.position_base:
            self.open = tuple(each for each in self.open if each is not sym)
            self.opened_ms.pop(sym.symbol, None)
        elif sym not in self.open:
            self.opened_ms[sym.symbol] = self.now_ms
            self.open = tuple(sorted((*self.open, sym), key=_by_symbol)) if self.open else (sym,)

    def move_foreign(self, sym: SymbolState, signed: Decimal) -> None:
        """Change the foreign part of a symbol's position, and update ``foreign``."""
        if not signed:
            return
        sym.foreign_qty += signed
        if not sym.foreign_qty:
            self.foreign = tuple(each for each in self.foreign if each is not sym)
        elif sym not in self.foreign:
            self.foreign = tuple(sorted((*self.foreign, sym), key=_by_symbol))

    def remark(self) -> None:
        """Recompute equity and the net value of positions, long minus short, from the marks, in quote."""
        equity, net = self.cash_quote, 0.0
        for sym in self.open:
            value = sym.position_base * sym.mark
            equity += value - sym.entry_quote
            net += value
        self.equity, self.net_notional = equity, net

    def digest(self) -> str:
        """Return the sha256 of everything that can change a decision; it names the state.

        That is the snapshot without the figures that only reports read: ``flat_bars``, ``refusals``,
        ``reconciled``, ``costs`` and the number of ended orders by state. Arguments of the engine are not in
        it, nor is the memory of a strategy without ``state()``.

        Raises:
            BadUsage: a strategy's ``state()`` cannot be kept.
        """
        return snapshot.digest(self)


def _busy_with(
    kind: type[Activity], symbols: tuple[SymbolState, ...], sym: SymbolState
) -> tuple[SymbolState, ...]:
    """Return ``symbols`` with ``sym`` at the end if it is busy with ``kind``, else without it."""
    others = tuple(each for each in symbols if each is not sym)
    return (*others, sym) if type(sym.activity) is kind else others
