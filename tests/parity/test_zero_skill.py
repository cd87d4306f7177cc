"""What no skill must lose and planted skill must earn, net of every cost."""

from decimal import Decimal

import numpy as np
import pytest

from bot.adapters.files.candles import Candles
from bot.domain.market import MINUTE_MS, Instrument
from bot.engine.core import Assignment, Engine
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue
from bot.service.backtest.history import History
from bot.service.backtest.run import Run, replay
from bot.service.backtest.tape import RunTape
from bot.strategy import MeanReversion, RandomSignal, Strategy
from bot.synth import MarketRecipe, market
from tests.helpers import unlimited

EQUITY = Decimal(1_000_000)
FEE_FRAC, HALF_SPREAD_BPS = Decimal("0.00055"), 2.0


def invented(seed: int, *, daily_vol: float, predictability: float = 0.0) -> Candles:
    recipe = MarketRecipe(
        interval_ms=5 * MINUTE_MS, bars=12_000, daily_vol=daily_vol, predictability=predictability
    )
    made = market(recipe, ["AUSDT"], seed)["AUSDT"]
    return Candles.make("AUSDT", made.interval_ms, made.start_ms, made.ohlcv, made.turnover)


def traded(candles: Candles, strategy: Strategy) -> Run:
    rules = Instrument.exact("AUSDT")
    terms = Terms(default_half_spread_bps=HALF_SPREAD_BPS, impact_frac=0.0, taker_fee_frac=FEE_FRAC)
    engine = Engine([Assignment(rules, candles.interval_ms, strategy, 15.0)], EQUITY, unlimited())
    run = Run(engine, BarVenue({"AUSDT": rules}, EQUITY, terms), RunTape())
    replay(run, History((candles,)))
    return run


def test_a_coin_loses_its_fees_and_the_spread_and_nothing_more_or_less() -> None:
    before_costs = []
    for seed in range(12):
        run = traded(invented(seed, daily_vol=0.01), RandomSignal(seed=seed, hold_bars=12, leverage=0.05))
        fills, cash = run.tape.fills, run.engine.state.cash
        value = sum(float(fill.qty * fill.price) for fill in fills)
        slippage = sum(float(fill.slippage_quote) for fill in fills)
        assert float(cash.fees) == pytest.approx(value * 0.00055, rel=1e-9)
        crossed = sum(float(fill.qty * fill.price) for fill in fills if fill.cause == "order")
        assert slippage == pytest.approx(crossed * 2e-4, rel=1e-4)
        net = float(cash.balance - EQUITY)
        before_costs.append((net + float(cash.fees) + slippage) / value)
        assert net < 0
    # What is left without costs is luck: its mean over seeds lies within three standard errors of nothing.
    error = np.std(before_costs, ddof=1) / np.sqrt(len(before_costs))
    assert abs(np.mean(before_costs)) < 3 * error
    assert error < 2e-4  # small against the 7.5 bps a side that the costs are


def test_planted_reversion_is_found_and_earns_after_costs() -> None:
    rule = {"lookback": 12, "vol_bars": 288, "entry_z": 1.0, "exit_z": 0.0, "leverage": 0.5}
    planted = traded(invented(3, daily_vol=0.03, predictability=-0.35), MeanReversion(**rule))  # type: ignore[arg-type]
    plain = traded(invented(3, daily_vol=0.03), MeanReversion(**rule))  # type: ignore[arg-type]
    assert planted.engine.state.cash.balance > EQUITY * Decimal("1.1")
    assert plain.engine.state.cash.balance < EQUITY
