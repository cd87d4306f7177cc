"""Backtest = paced replay = another process: on the same bars the same fills, to the bit."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bot.adapters.files.candles import Candles, Funding, write_candles, write_funding
from bot.adapters.files.replay import ReplayFeed
from bot.adapters.state.clock import ReplayClock
from bot.app.inputs import choose_instruments, choose_strategy, load_model
from bot.app.runs.backtest import compare_forms, run_plan
from bot.app.runs.results import conclude
from bot.app.wiring import Form, RunPlan, assemble
from bot.domain.market import MINUTE_MS
from bot.service.backtest.history import History
from bot.settings import load
from bot.synth import MarketRecipe, funding, market

INTERVAL_MS = 5 * MINUTE_MS
TRADED = 1_500
PRICES = {"BTCUSDT": 90_000.0, "ETHUSDT": 3_000.0}


def invent(bars: int, seed: int = 5) -> History:
    recipe = MarketRecipe(interval_ms=INTERVAL_MS, bars=bars, start_ms=1_772_323_200_000)
    candles, rates = [], []
    for symbol, price in PRICES.items():
        series = market(msgspec.structs.replace(recipe, price=price), PRICES, seed)[symbol]
        candles.append(Candles.make(symbol, INTERVAL_MS, series.start_ms, series.ohlcv, series.turnover))
        rates.append(Funding(symbol, *funding(series, seed)))
    return History(tuple(candles), tuple(rates))


def part(candles: Candles, rows: np.ndarray) -> Candles:
    return Candles.make(candles.symbol, INTERVAL_MS, candles.start_ms[rows], candles.ohlcv[rows])


@pytest.fixture(scope="module")
def plan() -> RunPlan:
    model = load_model(None, ())
    history = invent(model.warmup_bars + TRADED)
    return RunPlan(
        settings=load(environ={}, dotenv=Path(os.devnull)),
        history=history,
        instruments=choose_instruments(history.symbols, None),
        strategy=choose_strategy("vol_target"),
        strategy_name="vol_target",
        params={"trend_hours": "24", "band": "0.1", "stop_k": "0.3"},
        model=model,
        start_ms=history.candles[0].end_ms - TRADED * INTERVAL_MS,
    )


def files(plan: RunPlan, place: Path) -> list[str]:
    options = ["--strategy", plan.strategy_name, "--start", str(plan.start_ms)]
    for candles, rates in zip(plan.history.candles, plan.history.funding, strict=True):
        path = place / f"synth_linear_{candles.symbol}_5m.parquet"
        write_candles(path, candles)
        write_funding(place / f"synth_linear_{candles.symbol}_funding.parquet", rates)
        options += ["--data", str(path)]
    return options + [word for name, value in plan.params.items() for word in ("--param", f"{name}={value}")]


def command(arguments: Sequence[str], hash_seed: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "bot", *arguments, "--json"],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_the_run_that_is_compared_does_trade_and_its_stops_fire(plan: RunPlan) -> None:
    fills = run_plan(plan).run.tape.fills
    assert len(fills) > 20
    assert {fill.symbol for fill in fills} == set(PRICES)
    assert {fill.cause for fill in fills} >= {"order", "stop_loss"}


def test_a_paced_replay_makes_the_fills_of_the_backtest(plan: RunPlan) -> None:
    run = assemble(plan)
    events = plan.history.events(plan.read_from_ms, plan.end_ms)
    driver = run.driver
    asyncio.run(driver.run(ReplayFeed(events, ReplayClock())))
    run.finish(driver)
    backtest = run_plan(plan)
    assert conclude(plan, run).digest == backtest.digest
    assert run.engine.state.digest() == backtest.run.engine.state.digest()


@pytest.mark.fault(81)
def test_processes_and_hash_seeds_and_the_daemon_agree_to_the_bit(plan: RunPlan, tmp_path: Path) -> None:
    options = files(plan, tmp_path)
    expected = run_plan(plan).digest
    for hash_seed, what in (("1", ["backtest"]), ("2", ["backtest", "--form", "step"])):
        assert command([*what, *options], hash_seed)["fills_sha256"] == expected
    paced = ["run", "--feed", "replay", "--speed", "5e6"]
    assert command([*paced, *options], "3")["fills_sha256"] == expected


def test_the_bulk_form_says_how_often_it_decided_differently(plan: RunPlan) -> None:
    streamed, bulk = run_plan(plan), run_plan(replace(plan, form="bulk"))
    said = compare_forms(streamed, bulk)
    assert said["closes"] == TRADED
    assert isinstance(said["closes_with_another_position"], int)
    assert said["closes_with_another_position"] <= TRADED // 100  # rounding next to a decision is rare


class Silent:
    """Asks for forecasts and never trades: every close without a forecast is counted as cold."""

    needs_forecast = True

    def on_bar(self, view: object) -> None:
        return None


def with_holes(plan: RunPlan) -> tuple[RunPlan, int]:
    """Holes of 1, 1 and 4 bars in every symbol; the closes without a forecast that the manifest expects."""
    assert plan.model is not None
    holes, candles = {-900: 1, -700: 1, -500: 4}, []
    for each in plan.history.candles:
        missing = [place + bar for place, bars in holes.items() for bar in range(bars)]
        candles.append(part(each, np.delete(np.arange(len(each)), missing)))
    cost = sum(plan.model.bridge.rewarm_bars[bars - 1] for bars in holes.values())
    return replace(plan, history=History(tuple(candles), plan.history.funding)), len(candles) * cost


@pytest.mark.parametrize("form", ["step", "bulk"])
def test_bridged_holes_cost_a_backtest_the_bars_of_the_manifest(plan: RunPlan, form: Form) -> None:
    holed, cost = with_holes(plan)
    runs = [run_plan(replace(each, strategy=Silent, params={}, form=form)) for each in (plan, holed)]
    cold = [sum(sym.flat_bars["cold"] for sym in run.run.engine.state.symbols.values()) for run in runs]
    assert cold[1] - cold[0] == cost


def test_streamed_and_bulk_backtests_decide_alike_over_bridged_holes(plan: RunPlan) -> None:
    holed, _ = with_holes(plan)
    said = compare_forms(run_plan(holed), run_plan(replace(holed, form="bulk")))
    assert said["closes"] == TRADED - 6
    assert isinstance(said["closes_with_another_position"], int)
    assert said["closes_with_another_position"] <= TRADED // 100


@pytest.mark.fault(80)
def test_the_future_cannot_change_the_past(plan: RunPlan) -> None:
    cut_ms = plan.history.candles[0].end_ms - 300 * INTERVAL_MS
    changed = []
    for candles in plan.history.candles:
        ohlcv = candles.ohlcv.copy()
        ohlcv[-300:, :4] *= 1.5
        changed.append(Candles.make(candles.symbol, INTERVAL_MS, candles.start_ms, ohlcv))
    one = run_plan(plan).run.tape.fills
    two = run_plan(replace(plan, history=History(tuple(changed), plan.history.funding))).run.tape.fills
    before = [fill for fill in one if fill.ts_ms < cut_ms]
    assert before == [fill for fill in two if fill.ts_ms < cut_ms]
    assert before
    assert one != two


def test_what_one_symbol_is_told_does_not_depend_on_its_company(plan: RunPlan) -> None:
    alone = replace(plan, history=History(plan.history.candles[:1], plan.history.funding[:1]))
    symbol = alone.history.symbols[0]
    small = {"vol_target": "0.01"}  # so small that equity, which is shared, rounds away
    one = run_plan(replace(alone, params={**plan.params, **small})).run.engine.state.symbols[symbol]
    both = run_plan(replace(plan, params={**plan.params, **small})).run.engine.state.symbols[symbol]
    assert one.flat_bars == both.flat_bars
    assert one.view.forecast == both.view.forecast


@pytest.mark.fault(2)
def test_after_a_hole_the_model_is_cold_and_nothing_is_entered(plan: RunPlan) -> None:
    whole = plan.history.candles[0]
    rows = np.flatnonzero(np.abs(np.arange(len(whole)) - (len(whole) - 700)) > 5)
    holed = History((part(whole, rows),), plan.history.funding[:1])
    result = run_plan(replace(plan, history=holed))
    hole_ms = int(whole.start_ms[len(whole) - 700])
    entered = [t for t in result.trades if t.entry_ms > hole_ms]
    assert not entered
    assert result.flat_bars["cold"] >= 690


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_stopped_daemon_says_what_it_did(plan: RunPlan, tmp_path: Path, number: int, code: int) -> None:
    arguments = ["run", "--feed", "replay", "--speed", "300", *files(plan, tmp_path), "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "bot", "--log-format", "json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as daemon:
        assert daemon.stderr is not None
        assert any('"close"' in line for line in daemon.stderr)  # it is under way
        started = time.monotonic()
        daemon.send_signal(number)
        stdout, _ = daemon.communicate(timeout=30)
    assert daemon.returncode == code
    assert json.loads(stdout)["strategy"] == "vol_target"
    assert time.monotonic() - started < 30
