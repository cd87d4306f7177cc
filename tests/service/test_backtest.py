from decimal import Decimal

import msgspec
import numpy as np
import pytest

from bot.adapters.files.candles import Candles, Funding
from bot.domain.market import Instrument
from bot.engine.core import Assignment, Engine
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue
from bot.risk.limits import Limits
from bot.service.backtest import Result, Run, measure, replay
from bot.service.history import History
from bot.service.tape import RunTape
from bot.strategy import BuyAndHold
from tests.helpers import T0

FIVE_MS = 300_000
FREE = Terms(
    taker_fee_frac=Decimal(0),
    default_half_spread_bps=0.0,
    impact_frac=0.0,
    liquidity="full",
    leverage=Decimal(1),
)


DEAR = msgspec.structs.replace(FREE, taker_fee_frac=Decimal("0.001"))


def candles(closes: list[float]) -> Candles:
    """Bars that open at the last close and move straight to the next."""
    opens = [closes[0], *closes[:-1]]
    rows = [[a, max(a, b), min(a, b), b, 1e6] for a, b in zip(opens, closes, strict=True)]
    return Candles.make(
        "BTCUSDT", FIVE_MS, T0 + FIVE_MS * np.arange(len(rows), dtype=np.int64), np.array(rows)
    )


def held(bars: Candles, terms: Terms = FREE) -> Run:
    rules = Instrument.exact("BTCUSDT")
    engine = Engine([Assignment(rules, FIVE_MS, BuyAndHold(0.5), 0.0)], Decimal(1_000), Limits())
    return Run(engine, BarVenue({"BTCUSDT": rules}, Decimal(1_000), terms), RunTape())


def measured(run: Run, bars: Candles, trained_to_ms: int | None = None) -> Result:
    return measure(run, [bars], trained_to_ms=trained_to_ms, cost_frac=0.0, warnings=())


def test_funding_settled_at_the_last_close_is_paid_by_what_is_held_until_then() -> None:
    bars = candles([100.0] * 4)
    rates = Funding("BTCUSDT", np.array([bars.end_ms]), np.array([0.01]))
    run = held(bars)
    replay(run, History((bars,), (rates,)))
    # 5 base held at 100, 1 %: 5 quote.
    assert measured(run, bars).numbers()["funding"] == -5.0
    assert measured(run, bars).numbers()["final_equity"] == 995.0


def test_a_run_that_was_stopped_counts_its_bars_and_values_what_is_open() -> None:
    bars = candles([100.0, 100.0, 110.0, 90.0])
    run = held(bars)
    driver = run.driver
    for event in list(History((bars,)).events())[:3]:
        driver.take(event)
    numbers = measured(run, bars).numbers()
    assert (numbers["bars"], numbers["last_ms"]) == (3, bars.first_ms + 2 * FIVE_MS)
    assert numbers["net_pnl"] == numbers["open_pnl"] == pytest.approx(50.0)  # 5 base from 100 to 110
    assert numbers["final_equity"] == pytest.approx(1_050.0)


def test_a_finished_run_has_nothing_open_and_its_last_point_is_what_is_left() -> None:
    bars = candles([100.0, 100.0, 110.0])
    run = held(bars)
    replay(run, History((bars,)))
    numbers = measured(run, bars).numbers()
    assert (numbers["open_pnl"], numbers["final_equity"]) == (0.0, 1_050.0)
    assert run.tape.equity[-1] == 1_050.0 == run.engine.state.equity


def test_headline_figures_begin_with_the_value_at_trained_to() -> None:
    bars = candles([100.0, 100.0, 120.0, 110.0])
    run = held(bars)
    replay(run, History((bars,)))
    result = measured(run, bars, trained_to_ms=T0 + 3 * FIVE_MS)
    assert result.in_sample is not None
    assert result.in_sample.metrics["net_pnl"] == pytest.approx(100.0)
    assert result.unseen.metrics["net_pnl"] == pytest.approx(-50.0)
    assert result.unseen.ts_ms.tolist() == [T0 + 3 * FIVE_MS, T0 + 4 * FIVE_MS]


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_costs_belong_to_the_part_whose_curve_shows_them(cut: int) -> None:
    bars = candles([100.0] * 4)  # the price stands still: what a part loses is what it paid
    at_cut = Funding("BTCUSDT", np.array([T0 + 2 * FIVE_MS]), np.array([0.01]))
    run = held(bars, DEAR)
    replay(run, History((bars,), (at_cut,)))
    result = measured(run, bars, trained_to_ms=T0 + cut * FIVE_MS)
    assert result.in_sample is not None
    parts = [each for each in (result.in_sample, result.unseen) if len(each.ts_ms)]
    for metrics in (part.metrics for part in parts):
        assert metrics["net_pnl"] == pytest.approx(metrics["funding"] - metrics["fees"])  # type: ignore[operator]
    assert sum(len(part.trades) for part in parts) == 1
    assert not (set(result.in_sample.trades) & set(result.unseen.trades))
