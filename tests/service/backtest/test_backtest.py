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
from bot.service.backtest.history import History
from bot.service.backtest.run import Result, Run, measure, replay
from bot.service.backtest.tape import RunTape
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
    return measure(run, [bars], trained_to_ms=trained_to_ms, warnings=())


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


# Buy and hold pays like everybody

COSTLY = Terms(
    taker_fee_frac=Decimal("0.001"), default_half_spread_bps=5.0, impact_frac=0.0, liquidity="full"
)


def walked(bars: int, seed: int = 5) -> Candles:
    return candles((100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.003, bars)))).tolist())


def rates_of(bars: Candles, rate: float) -> Funding:
    # The second bar's open is where buy and hold enters: a settlement there comes before it.
    times = np.union1d(bars.start_ms[1:2], bars.start_ms[::96]) if rate else bars.start_ms[:1]
    return Funding("BTCUSDT", np.append(times, bars.end_ms), np.full(len(times) + 1, rate))


def run_of(bars: Candles, terms: Terms, rates: Funding, leverage: float) -> Result:
    rules = Instrument.exact("BTCUSDT")
    engine = Engine([Assignment(rules, FIVE_MS, BuyAndHold(leverage), 0.0)], Decimal(1_000), Limits())
    run = Run(engine, BarVenue({"BTCUSDT": rules}, Decimal(1_000), terms), RunTape())
    replay(run, History((bars,), (rates,)))
    return measure(run, [bars], trained_to_ms=None, funding=(rates,), warnings=())


@pytest.mark.parametrize("terms", [FREE, DEAR, COSTLY], ids=["free", "fee", "fee and spread"])
@pytest.mark.parametrize("rate", [0.0, 0.002, -0.001])
def test_buy_and_hold_is_worth_what_the_engine_makes_of_it(terms: Terms, rate: float) -> None:
    bars = walked(600)
    result = run_of(bars, msgspec.structs.replace(terms, leverage=Decimal(10)), rates_of(bars, rate), 1.0)
    np.testing.assert_allclose(result.whole.hold, result.whole.equity, rtol=1e-9)
    for name in ("total_return", "fees", "slippage", "funding", "max_drawdown_intraday"):
        assert result.whole.buy_and_hold[name] == pytest.approx(result.whole.metrics[name], abs=1e-6), name


def test_a_part_of_a_run_pays_only_the_entry_of_buy_and_hold_unless_the_run_ends_there() -> None:
    bars = candles([100.0] * 6)
    run = held(bars, DEAR)
    replay(run, History((bars,)))
    result = measured(run, bars, trained_to_ms=T0 + 3 * FIVE_MS)
    assert result.in_sample is not None
    assert result.in_sample.buy_and_hold["fees"] == pytest.approx(1.0)  # 1,000 at 0.1 %
    # The account has 999.5 then, and pays for the entry and for the exit.
    assert result.unseen.buy_and_hold["fees"] == pytest.approx(2 * 0.9995)


def test_the_curve_begins_with_the_first_bar_so_that_its_day_is_whole() -> None:
    day = 288
    bars = walked(3 * day)
    assert bars.first_ms % 86_400_000 == 0
    result = run_of(bars, FREE, rates_of(bars, 0.0), 0.5)
    assert result.whole.ts_ms[0] == bars.first_ms
    assert result.whole.metrics["days"] == 3
    assert (result.whole.bars, len(result.whole.ts_ms)) == (3 * day, 3 * day + 1)
