"""Engine and venue, joined by the driver, agree on what we have, whatever is wished and whenever."""

import random
from collections.abc import Iterable, Sequence
from decimal import Decimal

import numpy as np
import pytest

from bot.adapters.files.candles import Candles, Funding
from bot.domain.errors import StoreFailed
from bot.domain.market import HOUR_MS
from bot.domain.messages import (
    Command,
    Effect,
    Event,
    MarketEvent,
    OrderCancelled,
    PlaceOrder,
    VenueEffect,
    VenueEvent,
)
from bot.engine.core import Assignment, Engine
from bot.engine.orders.activity import Replacing, Resting
from bot.engine.orders.execution import ExecutionPolicy
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue
from bot.risk.limits import Limits
from bot.service.backtest.history import History
from bot.service.backtest.run import Run, measure
from bot.service.backtest.tape import RunTape
from bot.service.driver import Driver
from bot.strategy.signal import Target, View
from tests.engine.scripted import engine as scripted
from tests.engine.scripted import fill_of, long_at
from tests.helpers import T0, bar, instrument

FIVE_MS = 300_000
EQUITY = Decimal(10_000)


class Whim:
    """Any wish: market or limit, in, out, more, less, the other side, with and without stops."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def on_bar(self, view: View) -> Target | None:
        rng, close = self.rng, view.bar.close
        if rng.random() < 0.6:
            return None
        qty = rng.choice([0.0, 0.0, rng.uniform(-60, 60), view.position, -view.position, view.position / 2])
        side = 1 if qty >= 0 else -1
        return Target(
            qty,
            "whim",
            limit_price=close * (1 + rng.uniform(-0.01, 0.01)) if rng.random() < 0.4 else None,
            stop_loss=close * (1 - side * rng.uniform(0.001, 0.02)) if rng.random() < 0.5 else None,
            take_profit=close * (1 + side * rng.uniform(0.001, 0.02)) if rng.random() < 0.3 else None,
        )


def market(symbol: str, interval_ms: int, bars: int, seed: int) -> tuple[Candles, Funding]:
    """A jumpy walk with little volume, some of it none, and holes; funding every hour."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.004, bars)))
    opened = np.concatenate(([100.0], close[:-1])) * (1 + rng.normal(0, 0.0005, bars))
    wicks = np.abs(rng.normal(0, 0.002, (2, bars)))
    high, low = np.maximum(opened, close) * (1 + wicks[0]), np.minimum(opened, close) * (1 - wicks[1])
    volume = rng.gamma(0.7, 400.0, bars) * (rng.random(bars) > 0.1)
    rows = np.column_stack([opened, high, low, close, volume]).round(4)
    start_ms = T0 + interval_ms * np.arange(bars, dtype=np.int64)
    there = rng.random(bars) > 0.03
    settled_ms = np.arange(T0, start_ms[-1] + interval_ms, HOUR_MS, dtype=np.int64)
    return (
        Candles.make(symbol, interval_ms, start_ms[there], rows[there]),
        Funding(symbol, settled_ms, rng.normal(0, 0.0003, len(settled_ms))),
    )


def agree(run: Run) -> None:
    state, venue = run.engine.state, run.venue
    assert state.cash.balance == venue.wallet_quote
    assert set(state.orders.live) == {order.order_id for order in venue.open_orders}
    for sym in state.symbols.values():
        assert sym.position == venue.positions.get(sym.symbol, type(sym.position)())
        assert sym.stops.at_venue == venue.stops(sym.symbol)
        assert not isinstance(sym.activity, Replacing) or any(state.orders.of(sym.symbol))
        assert sym.activity.exit is None or sym.position.qty
        assert isinstance(sym.activity, Resting) == (sym in state.working)


@pytest.mark.parametrize("maker", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_engine_and_venue_agree_after_every_event(seed: int, maker: bool) -> None:
    rng = random.Random(seed)
    made = [market("AUSDT", FIVE_MS, 200, seed), market("BUSDT", HOUR_MS, 17, seed + 1)]
    candles = tuple(each for each, _ in made)
    rules = {each.symbol: instrument(each.symbol, max_market_qty=Decimal(20)) for each in candles}
    terms = Terms(latency_ms=rng.choice([0, 500, 400_000]), margin_mode=rng.choice(["cross", "isolated"]))
    limits = Limits(on_halt=rng.choice(["hold", "flatten"]), max_drawdown_frac=Decimal("0.15"))
    traded = [Assignment(rules[each.symbol], each.interval_ms, Whim(rng), 12.0) for each in candles]
    execution = ExecutionPolicy(maker=maker, deadline_ms=rng.choice([20_000, 500_000]))
    stop_frac = Decimal("0.02") if maker else None
    engine = Engine(traded, EQUITY, limits, execution=execution, protective_stop_frac=stop_frac)
    run = Run(engine, BarVenue(rules, EQUITY, terms, seed=seed), RunTape())
    driver = run.driver
    for event in History(candles, tuple(rates for _, rates in made)).events():
        driver.take(event)
        if rng.random() < 0.03:
            word = rng.choice(["pause", "resume", "flatten", "halt", "unhalt"])
            driver.take(Command(event.ts_ms, word))  # type: ignore[arg-type]
        agree(run)
        assert stop_frac is None or all(
            sym.stops.at_venue[0] is not None
            for sym in engine.state.open
            if f"unprotected: {sym.symbol}" not in engine.state.breaker.reducing
        )
    run.finish(driver)
    agree(run)
    trades = measure(run, candles, trained_to_ms=None, warnings=()).trades
    earned = sum((trade.pnl_quote for trade in trades), EQUITY)
    assert abs(earned - run.engine.state.cash.balance) < Decimal("1e-6")


class Diary:
    """Venue, recorder and keeper in one that write down who was called in which order.

    The venue fills half of the first order and cancels the rest, and fills later orders whole.
    """

    def __init__(self, *, disk_full: bool = False) -> None:
        self.lines: list[str] = []
        self._disk_full = disk_full

    def _note(self, what: str, effects: Iterable[Effect]) -> None:
        placed = [effect.order_id for effect in effects if isinstance(effect, PlaceOrder)]
        self.lines += [f"{what} {order_id}" for order_id in placed]

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        return ()

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        assert isinstance(effect, PlaceOrder)
        is_first = not any(line.startswith("send") for line in self.lines)
        self._note("send", (effect,))
        if not is_first:
            return (fill_of(effect),)
        return (fill_of(effect, qty="1"), OrderCancelled(T0, effect.order_id, "EC_NoImmediateQtyToFill"))

    def took(self, event: Event) -> None:
        self.lines.append(f"take {type(event).__name__}")

    def answered(self, event: VenueEvent) -> None:
        self.lines.append(f"answer {type(event).__name__}")

    def keep(self, effects: Sequence[Effect]) -> None:
        if self._disk_full:
            raise StoreFailed("No space left on device")
        self._note("keep", effects)

    def event(self, event: Event) -> None:
        self.lines.append(type(event).__name__)

    def effects(self, effects: Iterable[Effect]) -> None:
        self._note("record", effects)

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        self.lines.append("marked")


def driven(diary: Diary) -> Driver:
    """A driver of an engine that is long 2."""
    one = scripted({0: Target(2.0)})
    long_at(one)
    return Driver(one, diary, diary, diary)


def test_effects_are_kept_and_recorded_before_they_are_sent_and_so_is_what_answers_lead_to() -> None:
    diary = Diary()
    driven(diary).take(Command(bar(0).close_ms, "flatten"))
    first, second = "t-4-0", "t-6-0"
    assert diary.lines == [
        "take Command",
        "Command",
        *(f"{step} {first}" for step in ("keep", "record", "send")),
        "answer Filled",
        "Filled",
        "answer OrderCancelled",
        "OrderCancelled",
        *(f"{step} {second}" for step in ("keep", "record", "send")),
        "answer Filled",
        "Filled",
    ]


def test_what_cannot_be_kept_is_not_sent() -> None:
    diary = Diary(disk_full=True)
    with pytest.raises(StoreFailed):
        driven(diary).take(Command(bar(0).close_ms, "flatten"))
    assert diary.lines == ["take Command", "Command"]
