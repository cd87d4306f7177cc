"""One rule, computed by programs that share no code: backtesting.py and jesse agree on these figures."""

from decimal import Decimal

import numpy as np

from bot.adapters.files.candles import Candles
from bot.domain.market import Instrument
from bot.engine.core import Assignment, Engine
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue
from bot.risk.limits import Limits
from bot.service.backtest.history import History
from bot.service.backtest.run import Run, measure, replay
from bot.service.backtest.tape import RunTape
from bot.strategy import EmaCross


def walk(n: int) -> Candles:
    """The random walk of scripts/bench/backtest.py: open[t + 1] = close[t], one-minute bars from 100."""
    rng = np.random.default_rng(7)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.0004, n)))
    opened = np.concatenate(([100.0], close[:-1]))
    wicks = np.abs(rng.normal(0, 0.0002, (2, n)))
    high, low = np.maximum(opened, close) * (1 + wicks[0]), np.minimum(opened, close) * (1 - wicks[1])
    ohlcv = np.column_stack([opened, high, low, close, rng.gamma(2.0, 5.0, n)])
    return Candles.make("WALK", 60_000, 1_704_067_200_000 + 60_000 * np.arange(n, dtype=np.int64), ohlcv)


def test_an_ema_cross_makes_the_trades_and_the_loss_that_two_other_programs_make() -> None:
    candles = walk(100_000)
    rules, equity = Instrument.exact("WALK"), Decimal(1_000_000)
    terms = Terms(default_half_spread_bps=0.0, impact_frac=0.0, liquidity="full")
    engine = Engine([Assignment(rules, 60_000, EmaCross(12, 26, 1.0), 11.0)], equity, Limits())
    run = Run(engine, BarVenue({"WALK": rules}, equity, terms), RunTape())
    replay(run, History((candles,)))
    result = measure(run, [candles], trained_to_ms=None, warnings=())
    assert len(result.trades) == 1_763
    assert round(engine.state.cash.balance - equity, 4) == Decimal("-172.8855")
    assert not engine.state.refusals
