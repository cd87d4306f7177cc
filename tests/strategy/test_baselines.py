from math import nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import BadInput, BadUsage
from bot.strategy import SHIPPED, BuyAndHold, EmaCross, Flat, MeanReversion, RandomSignal, Target, build
from tests.helpers import bar
from tests.strategy.views import forecast, targets, view

CLOSES = (100 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.002, 900)))).tolist()


def ema_cross_by_the_book(closes: list[float], fast: int, slow: int) -> list[float | None]:
    """Compute crossover(f, s) = f[-2] < s[-2] and f[-1] > s[-1] on whole series."""

    def ema(n: int) -> list[float]:
        out, a = closes[:1], 2 / (n + 1)
        for x in closes[1:]:
            out.append((1 - a) * out[-1] + a * x)
        return out

    f, s = ema(fast), ema(slow)
    quantities: list[float | None] = [None]
    for i in range(1, len(closes)):
        up, down = f[i - 1] < s[i - 1] and f[i] > s[i], f[i - 1] > s[i - 1] and f[i] < s[i]
        quantities.append(1.0 if up else 0.0 if down else None)
    return quantities


def test_the_ema_cross_matches_a_textbook_implementation() -> None:
    made = targets(EmaCross(12, 26), CLOSES)
    assert [t if t is None else t.qty for t in made] == ema_cross_by_the_book(CLOSES, 12, 26)
    assert sum(t is not None for t in made) > 20


def test_the_ema_cross_agrees_with_two_other_programs_on_a_long_walk() -> None:
    # 100,000 bars, 0.055 % a side, filled at the next open (= this close): 1,763 trades, net -172.8855.
    closes = (100 * np.exp(np.cumsum(np.random.default_rng(7).normal(0, 0.0004, 100_000)))).tolist()
    strategy, seen, price, trades, net = EmaCross(), view(), None, 0, 0.0
    for close in closes:
        seen.bar = _Close(close)  # type: ignore[assignment]
        target = strategy.on_bar(seen)
        if target is None:
            continue
        if target.qty:
            price = close
        elif price is not None:
            net += close - price - 0.00055 * (close + price)
            price, trades = None, trades + 1
    assert (trades, price) == (1_763, None)
    assert net == pytest.approx(-172.8855, abs=5e-5)


class _Close:
    """The only fields of a bar that a moving average reads."""

    def __init__(self, close: float) -> None:
        self.close = close


def test_equal_averages_are_not_a_cross() -> None:
    assert targets(EmaCross(1, 2), [100, 100, 101, 100, 100]) == [
        None,
        None,
        None,
        Target(0.0, "cross_down"),
        None,
    ]


def test_mean_reversion_goes_against_a_stretched_move_and_leaves_when_it_is_over() -> None:
    quiet = [100 + 0.1 * (i % 2) for i in range(40)]
    made = targets(MeanReversion(lookback=4, vol_bars=20), [*quiet, 99.0, *[99.0, 99.1] * 5])
    assert [t.reason for t in made[:20] if t] == ["cold"] * 20
    first = made[40]
    assert first == Target(10_000.0 / 99.0, "stretched")
    assert Target(0.0, "no_signal") in made[41:]


def test_buy_and_hold_repeats_its_target_until_the_position_exists() -> None:
    strategy = BuyAndHold(leverage=0.5)
    assert strategy.on_bar(view(100.0)) == Target(50.0, "hold")
    assert strategy.on_bar(view(125.0)) == Target(40.0, "hold")
    assert strategy.on_bar(view(125.0, position=40.0)) is None
    assert strategy.on_bar(view(125.0, position=0.0)) is None


def test_flat_never_holds_a_position() -> None:
    assert Flat().on_bar(view(position=3.0)) == Target(0.0)


def test_the_coin_depends_on_seed_symbol_and_time_alone() -> None:
    def tosses(seed: int) -> list[float]:
        return [t.qty for t in targets(RandomSignal(seed), [100.0] * 1200) if t]

    assert len(tosses(1)) == 100
    assert tosses(1) == tosses(1)
    assert tosses(1) != tosses(2)
    heads = sum(q > 0 for q in tosses(1) + tosses(2) + tosses(3))
    assert abs(heads - 150) < 3 * sqrt(300) / 2
    one = [RandomSignal().on_bar(view(index=i)) for i in range(0, 600, 12)]
    other = [RandomSignal().on_bar(view(bar=bar(i, symbol="ETHUSDT"))) for i in range(0, 600, 12)]
    assert one != other


def test_a_signal_without_skill_loses_its_costs() -> None:
    rng = np.random.default_rng(11)
    cost, gross, net = 12e-4 / 2, [], []
    for seed in range(20):
        closes = (100 * np.exp(np.cumsum(rng.normal(0, 0.001, 2400)))).tolist()
        made = targets(RandomSignal(seed), closes)
        held = np.array([t.qty if t else nan for t in made][::12]) * closes[0] / 10_000
        side = np.sign(held)
        moves = np.diff(closes[::12]) / closes[:-12:12]
        paid = cost * np.abs(np.diff(side, prepend=0.0)).sum()
        gross.append((side[:-1] * moves).sum())
        net.append(gross[-1] - paid)
    error = np.std(gross, ddof=1) / sqrt(20)
    assert abs(np.mean(gross)) < 3 * error
    # Half the tosses change sides, which costs a round trip: 200 tosses, 100 round trips of 12 bps.
    assert np.mean(net) == pytest.approx(-0.12, abs=3 * error + 0.01)


def targets_of(name: str, closes: list[float]) -> list[Target | None]:
    strategy, seen = build(SHIPPED[name], {}), view(bars_per_hour=1.0)
    made = []
    for index, close in enumerate(closes):
        seen.bar = bar(index, close)
        seen.forecast = forecast(ret=0.004 * np.sin(close), rv=1e-5 * (1 + close % 3))
        made.append(strategy.on_bar(seen))
        if made[-1] is not None:
            seen.position = made[-1].qty
    return made


@pytest.mark.parametrize("name", SHIPPED)
def test_the_future_cannot_change_the_past(name: str) -> None:
    changed = CLOSES[:700] + [close * 2 for close in CLOSES[700:]]
    assert targets_of(name, CLOSES)[:700] == targets_of(name, changed)[:700]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_same_bars_give_the_same_targets(name: str) -> None:
    assert targets_of(name, CLOSES) == targets_of(name, CLOSES)


extreme = st.sampled_from([5e-324, 1e-300, 1e-9, 1.0, 1e9, 1e300, 1e308])
anything = st.floats(allow_nan=True, allow_infinity=True) | extreme


@pytest.mark.parametrize("name", SHIPPED)
@given(data=st.data())
def test_any_number_gives_a_target_or_a_refusal(name: str, data: st.DataObject) -> None:
    strategy = build(SHIPPED[name], {})
    for index in range(3):
        seen = view(
            index=index * 12,
            close=data.draw(extreme),
            equity=data.draw(anything),
            position=data.draw(anything),
            forecast=forecast(data.draw(anything), data.draw(anything)),
            round_trip_bps=data.draw(anything),
        )
        try:
            target = strategy.on_bar(seen)
        except BadInput:
            continue
        assert target is None or isinstance(target, Target)


@pytest.mark.parametrize("name", ["performer", "vol_target", "mean_reversion", "buy_and_hold", "random"])
@pytest.mark.parametrize("equity", [0.0, -100.0, nan])
def test_without_equity_the_target_is_flat_or_none(name: str, equity: float) -> None:
    strategy = build(SHIPPED[name], {})
    for index, close in enumerate(CLOSES):
        target = strategy.on_bar(
            view(close, index, equity=equity, forecast=forecast(0.01), bars_per_hour=1.0)
        )
        assert target is None or target.qty == 0.0


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("ema_cross", {"fast": "26", "slow": "26"}),
        ("ema_cross", {"fast": "0"}),
        ("ema_cross", {"size": "-1"}),
        ("mean_reversion", {"exit_z": "3"}),
        ("buy_and_hold", {"leverage": "0"}),
        ("random", {"hold_bars": "0"}),
        ("performer", {"k_out": "3"}),
        ("performer", {"vol_target": "0"}),
        ("performer", {"stop_k": "-1"}),
        ("vol_target", {"trend_hours": "0"}),
        ("vol_target", {"band": "-1"}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(name: str, params: dict[str, str]) -> None:
    with pytest.raises(BadUsage):
        build(SHIPPED[name], params)
