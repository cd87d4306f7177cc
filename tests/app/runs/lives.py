"""Processes of a paper bot without a network: each takes the journal over, sees a tape, and ends."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

from bot.adapters.net.stopwatch import Stopwatch
from bot.adapters.state.clock import ReplayClock
from bot.adapters.state.disk import THIS_DISK, Disk
from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import Journal
from bot.app.context import Context
from bot.app.runs.live.arguments import arguments_of
from bot.app.runs.live.plan import LivePlan, make_live_plan
from bot.app.runs.live.recovery import Standing, account_folder, order_name, take_over
from bot.domain.ledger import fills_digest
from bot.domain.market import Bar
from bot.domain.messages import (
    BarsClosed,
    Candle,
    Event,
    Line,
    LinkUp,
    MarketEvent,
    MarkPrice,
    Quote,
    VenueEffect,
    VenueEvent,
)
from bot.service.driver import Driver
from bot.service.journaling import JournalKeeper, JournalParts
from tests.helpers import T0, instrument

MINUTE = 60_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def plan_on(
    place: Path, *, strategy: str = "random", params: dict[str, str] | None = None, **changes: Any
) -> LivePlan:
    """A paper bot at 1m bars on ``place``; ``changes`` are settings, ``__`` for the dot."""
    settings = {
        "state_dir": place,
        "feed.kind": "local",
        "feed.symbols": SYMBOLS,
        "feed.interval": "1m",
        "venue.kind": "paper",
        "risk.max_daily_loss_frac": Decimal("0.9"),
        "venue.protective_stop_frac": Decimal("0.01"),
    }
    settings |= {name.replace("__", "."): value for name, value in changes.items()}
    fresh = bool(settings.pop("fresh", False))
    params = (
        {"hold_bars": "2", "leverage": "0.3"} if params is None and strategy == "random" else params or {}
    )
    return make_live_plan(Context().settings(settings), strategy=strategy, params=params, fresh=fresh)


def tape(minutes: int, seed: int = 1, *, quotes: int = 3) -> list[Event]:
    """A made-up market of two symbols: quotes, candles, marks and closes."""
    rng = random.Random(seed)
    prices = {"BTCUSDT": 100.0, "ETHUSDT": 50.0}
    events: list[Event] = []
    for minute in range(minutes):
        start_ms = T0 + minute * MINUTE
        opens = dict(prices)
        highs, lows = dict(prices), dict(prices)
        for part in range(quotes):
            ts_ms = start_ms + (part + 1) * MINUTE // quotes - 1_000
            for symbol in SYMBOLS:
                price = prices[symbol] = round(prices[symbol] * (1 + rng.gauss(0, 0.002)), 1)
                highs[symbol], lows[symbol] = max(highs[symbol], price), min(lows[symbol], price)
                events.append(Quote(ts_ms, symbol, round(price - 0.1, 1), price))
                events.append(
                    Candle(
                        ts_ms,
                        symbol,
                        MINUTE,
                        start_ms,
                        opens[symbol],
                        highs[symbol],
                        lows[symbol],
                        price,
                        10.0,
                    )
                )
                events.append(MarkPrice(ts_ms, symbol, price))
        bars = tuple(
            Bar(s, MINUTE, start_ms, opens[s], highs[s], lows[s], prices[s], 1_000.0) for s in SYMBOLS
        )
        events.append(BarsClosed(start_ms + MINUTE, MINUTE, bars, seen_ms=start_ms + MINUTE))
    return events


_hours = count(T0, 60 * MINUTE)
_now_ms: dict[Path, int] = {}
"""The time at which the last process of an account saw its last event."""


@dataclass
class Life:
    """One process."""

    standing: Standing
    keeper: JournalKeeper
    driver: Driver
    digests: list[str] = field(default_factory=list)

    def see(self, events: Iterable[Event]) -> None:
        for event in events:
            self.driver.take(event)
            self.keeper.after(event)
            _now_ms[self.standing.writer.journal.folder] = self.standing.engine.state.now_ms

    def kill(self) -> None:
        """SIGKILL: no finally-block of ours runs; what was written is with the system."""
        self.keeper.release()

    def stop(self) -> None:
        """SIGTERM."""
        self.keeper.close(T0, "stopped", "SIGTERM")
        self.keeper.release()

    @property
    def account(self) -> dict[str, object]:
        """What an operator would call the account: money, positions, orders, stops, risk."""
        state = self.standing.engine.state
        breaker = state.breaker
        return {
            "cash": state.cash,
            "equity": state.equity,
            "positions": {sym.symbol: sym.position for sym in state.symbols.values()},
            "stops": {sym.symbol: sym.stops.at_venue for sym in state.symbols.values()},
            "orders": dict(state.orders.live),
            "flattening": state.flattening,
            "peak": breaker.peak_equity,
            "day": (breaker.day_start_equity, breaker.day_end_ms),
            "halting": breaker.halting,
            "paused": breaker.is_paused,
        }


class Elsewhere:
    """A remote venue: what it does comes as events."""

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        return ()

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        return ()


def live(
    plan: LivePlan,
    *,
    now_ms: int | None = None,
    wall_ms: int | None = None,
    halted: bool = False,
    disk: Disk = THIS_DISK,
    segment_bytes: int = 8 << 20,
    spoil: Callable[[Standing], None] = lambda standing: None,
    up: bool = True,
) -> Life:
    """Begin a process as the program does, with its lines up; by default an hour after the last one."""
    now_ms = _now_ms.get(account_folder(plan), T0) if now_ms is None else now_ms
    wall_ms = next(_hours) if wall_ms is None else wall_ms
    rules = {symbol: instrument(symbol) for symbol in plan.symbols}
    name = order_name("bot", account_folder(plan))
    arguments = arguments_of(plan, rules, ReplayClock(T0), name)
    standing = take_over(plan, arguments, now_ms=now_ms, wall_ms=wall_ms, halted_by_file=halted, disk=disk)
    spoil(standing)
    venue = standing.venue
    keeping = JournalParts(
        writer=standing.writer,
        header=standing.header,
        venue_snapshot=None if venue is None else venue.snapshot,
        wall_s=lambda: T0 / 1000.0,
        history_closes=plan.warmup_bars,
        history=standing.history,
        segment_bytes=segment_bytes,
    )
    keeper = JournalKeeper(keeping, standing.engine, Stopwatch())
    driver = Driver(standing.engine, venue or Elsewhere(), standing.totals, keeper)
    keeper.begin(standing.quarantined)
    life = Life(standing, keeper, driver)
    life.see(standing.opening)
    if up:
        now_ms = standing.engine.state.now_ms
        life.see([LinkUp(now_ms, Line.START), LinkUp(now_ms, Line.FEED)])
    return life


def fills_of(plan: LivePlan) -> str:
    """The hash of every execution in the account's journal."""
    folder = account_folder(plan)
    return fills_digest(JournalIndex(Journal(folder)).fills())
