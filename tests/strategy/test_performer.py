from math import exp, sqrt

import pytest

from bot.strategy import PerformerStrategy, Target, VolTarget
from bot.strategy.signal import View
from tests.strategy.views import CALM, forecast, view

# With costs of 12 bps a round trip: in above 18 bps, out below 3.
IN, OUT = 30e-4, 3e-4
FULL = 0.2 / sqrt(CALM * 24 * 365)
"""Leverage for 20 % a year when volatility is CALM: 0.712."""


def ask(ret: float, strategy: PerformerStrategy | None = None, **changes: object) -> Target | None:
    return (strategy or PerformerStrategy()).on_bar(seen(ret, **changes))


def seen(ret: float, rv: float = CALM, **changes: object) -> View:
    return view(forecast=forecast(ret, rv), **changes)


@pytest.mark.parametrize(
    ("ret", "reason"),
    [(0.0, "no_signal"), (0.4e-4, "no_signal"), (0.6e-4, "cost"), (-29.9e-4, "cost"), (30.1e-4, "edge")],
)
def test_most_bars_end_flat_and_the_reason_says_why(ret: float, reason: str) -> None:
    assert ask(ret).reason == reason
    assert bool(ask(ret).qty) is (reason == "edge")


def test_without_a_forecast_the_target_is_flat_even_with_a_position() -> None:
    assert PerformerStrategy().on_bar(view(warm=False, forecast=forecast(0.01), position=5.0)) == Target(
        0.0, "cold"
    )
    assert PerformerStrategy().on_bar(view(position=5.0)) == Target(0.0, "no_signal")
    assert ask(0.01, rv=0.0, position=5.0) == Target(0.0, "no_signal")


@pytest.mark.parametrize("sign", [1, -1])
def test_the_size_is_the_volatility_target_over_forecast_volatility(sign: int) -> None:
    assert ask(sign * 0.01).qty == pytest.approx(sign * FULL * 10_000 / 100)
    assert ask(sign * 0.01, rv=4 * CALM).qty == pytest.approx(sign * FULL / 2 * 10_000 / 100)
    assert ask(sign * 0.01, rv=CALM / 100).qty == pytest.approx(sign * 1.0 * 10_000 / 100)


def test_stops_lie_a_multiple_of_the_deviation_of_the_holding_time_away() -> None:
    # Three round trips are 36 bps; at 30 bps an hour that takes (36/30)² = 1.44 hours: 36 bps of deviation.
    strategy = PerformerStrategy(stop_k=2.0, take_k=3.0)
    long, short = ask(0.01, strategy), ask(-0.01, strategy)
    assert (long.stop_loss, long.take_profit) == pytest.approx((100 * exp(-72e-4), 100 * exp(108e-4)))
    assert (short.stop_loss, short.take_profit) == pytest.approx((100 * exp(72e-4), 100 * exp(-108e-4)))
    assert ask(0.01, PerformerStrategy(stop_k=0.0)).stop_loss is None
    assert ask(0.01).take_profit is None


def test_a_position_stays_with_a_smaller_edge_than_an_entry_needs() -> None:
    held = {"position": FULL * 100, "bars_held": 3}
    assert ask(IN - 1e-5).qty == 0.0
    assert ask(IN - 1e-5, **held) is None
    assert ask(OUT + 1e-5, **held) is None
    assert ask(OUT - 1e-5, **held) == Target(0.0, "cost")


def test_the_other_side_needs_the_full_edge() -> None:
    held = {"position": FULL * 100, "bars_held": 3}
    assert ask(-IN + 1e-5, **held) == Target(0.0, "cost")
    assert ask(-IN - 1e-5, **held).qty < 0.0


def test_after_the_holding_time_a_position_needs_the_entry_edge_again() -> None:
    # 1.44 hours of 12 bars are 17.28 bars.
    held = {"position": FULL * 100}
    assert ask(OUT + 1e-5, **held, bars_held=17) is None
    assert ask(OUT + 1e-5, **held, bars_held=18) == Target(0.0, "cost")
    assert ask(IN + 1e-5, **held, bars_held=18) is None


@pytest.mark.parametrize(("rv", "bars"), [(100 * CALM, 12), (CALM / 100, 96)])
def test_the_holding_time_is_an_hour_at_least_and_bounded(rv: float, bars: int) -> None:
    leverage = min(1.0, 0.2 / sqrt(rv * 24 * 365))
    held = {"position": leverage * 100, "rv": rv}
    assert ask(OUT + 1e-5, **held, bars_held=bars - 1) is None
    assert ask(OUT + 1e-5, **held, bars_held=bars) == Target(0.0, "cost")


def test_a_position_is_resized_only_when_it_is_off_by_more_than_the_band() -> None:
    qty = FULL * 100
    assert ask(0.01, position=qty * 0.76) is None
    assert ask(0.01, position=qty * 1.24) is None
    assert ask(0.01, position=qty * 0.74).qty == pytest.approx(qty)
    assert ask(0.01, position=qty * 1.26).qty == pytest.approx(qty)


def test_the_short_horizon_reads_the_quarter_hour() -> None:
    assert ask(4 * IN - 1e-4, PerformerStrategy(horizon="15m")).reason == "cost"
    assert ask(4 * IN + 1e-4, PerformerStrategy(horizon="15m")).reason == "edge"


def test_a_side_that_is_not_allowed_is_no_signal() -> None:
    assert ask(0.01, PerformerStrategy(direction="short")) == Target(0.0, "no_signal")
    assert ask(-0.01, PerformerStrategy(direction="long")) == Target(0.0, "no_signal")
    assert ask(0.01, PerformerStrategy(direction="long")).qty > 0.0
    assert ask(-0.01, PerformerStrategy(direction="short")).qty < 0.0


def test_without_costs_an_edge_below_the_minimum_is_no_signal() -> None:
    assert ask(0.4e-4, round_trip_bps=0.0).reason == "no_signal"
    assert ask(0.6e-4, round_trip_bps=0.0).qty > 0.0


def follow(
    strategy: VolTarget, closes: list[float], rvs: list[float], position: float = 0.0
) -> list[Target | None]:
    made = []
    for index, (close, rv) in enumerate(zip(closes, rvs, strict=True)):
        seen_now = view(close, index, forecast=forecast(rv=rv), bars_per_hour=1.0, position=position)
        made.append(strategy.on_bar(seen_now))
        position = made[-1].qty if made[-1] is not None else position
    return made


def test_a_constant_base_is_the_target_over_forecast_volatility() -> None:
    (target,) = follow(VolTarget(base="constant"), [100.0], [CALM])
    assert (target.qty, target.reason, target.stop_loss) == (pytest.approx(FULL * 100), "base", None)
    (target,) = follow(VolTarget(base="constant", direction="short"), [100.0], [CALM])
    assert target.qty == pytest.approx(-FULL * 100)
    (target,) = follow(VolTarget(base="constant", max_leverage=0.5), [100.0], [CALM])
    assert target.qty == pytest.approx(50.0)


def test_the_forecast_moves_the_position_when_it_moves_enough() -> None:
    strategy = VolTarget(base="constant", smooth_hours=0.0, band=0.25)
    made = follow(strategy, [100.0] * 4, [CALM, 1.2 * CALM, 4 * CALM, 4 * CALM])
    assert [t and round(t.qty, 4) for t in made] == [round(FULL * 100, 4), None, round(FULL * 50, 4), None]


def test_smoothing_keeps_the_hour_of_the_day_from_trading() -> None:
    day = [CALM * (1 if hour < 12 else 2) for hour in range(24)] * 30
    trades = [
        sum(
            t is not None for t in follow(VolTarget(base="constant", smooth_hours=s), [100.0] * len(day), day)
        )
        for s in (0.0, 48.0)
    ]
    assert trades[0] > 50
    assert trades[1] < 5


def test_a_trend_is_followed_on_both_sides_and_waits_until_it_is_known() -> None:
    rise = [100 * exp(0.01 * i) for i in range(40)]
    made = follow(VolTarget(trend_hours=10.0), rise, [CALM] * 40)
    assert [t.reason for t in made[:10]] == ["cold"] * 10
    assert made[10].qty > 0.0
    fall = [1 / price for price in rise]
    assert follow(VolTarget(trend_hours=10.0), fall, [CALM] * 40)[10].qty < 0.0
    assert follow(VolTarget(trend_hours=10.0, direction="long"), fall, [CALM] * 40)[10] == Target(
        0.0, "no_signal"
    )


def test_a_weak_trend_is_weakly_held() -> None:
    flat_then_up = [100.0] * 30 + [100.3]
    last = follow(VolTarget(trend_hours=10.0, band=0.0), flat_then_up, [CALM] * 31)[-1]
    assert 0.0 < last.qty < 0.5 * FULL * 10_000 / 100.3
    # Within the band of the full position it is not worth an order: flat stays flat and says so.
    assert follow(VolTarget(trend_hours=10.0, band=0.5), flat_then_up, [CALM] * 31)[-1] == Target(
        0.0, "no_signal"
    )
    strategy = VolTarget(trend_hours=10.0, band=0.5)
    follow(strategy, flat_then_up[:-1], [CALM] * 30)
    weak = view(100.3, 30, forecast=forecast(), bars_per_hour=1.0, position=1.0)
    assert strategy.on_bar(weak) is None


def test_a_forbidden_side_closes_what_is_held() -> None:
    fall = [100 * exp(-0.01 * i) for i in range(12)]
    assert follow(VolTarget(trend_hours=10.0, direction="long"), fall, [CALM] * 12, 1e-3)[-1].qty == 0.0


def test_vol_target_is_flat_without_a_forecast_and_forgets_old_variance() -> None:
    strategy = VolTarget(base="constant", smooth_hours=1000.0)
    strategy.on_bar(view(forecast=forecast(rv=100 * CALM)))
    assert strategy.on_bar(view(warm=False, position=5.0)) == Target(0.0, "cold")
    assert strategy.on_bar(view(position=5.0)) == Target(0.0, "no_signal")
    assert strategy.on_bar(view(forecast=forecast())).qty == pytest.approx(FULL * 100)


def test_the_stop_of_vol_target_is_a_multiple_of_a_day_s_deviation() -> None:
    (target,) = follow(VolTarget(base="constant", stop_k=2.0), [100.0], [CALM])
    assert target.stop_loss == pytest.approx(100 * exp(-2 * 0.003 * sqrt(24)))
    (target,) = follow(VolTarget(base="constant", direction="short", stop_k=2.0), [100.0], [CALM])
    assert target.stop_loss == pytest.approx(100 * exp(2 * 0.003 * sqrt(24)))
