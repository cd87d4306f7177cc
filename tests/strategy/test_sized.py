"""Targets by fraction of equity and by volatility."""

import inspect
from decimal import Decimal
from math import inf, isnan, log, nan, sqrt
from typing import Any

import numpy as np
import pytest

import bot
from bot.domain.errors import BadInput, BadUsage, StrategyFailed
from bot.domain.messages import Effect
from bot.engine.core import Assignment, Engine
from bot.risk.limits import Limits
from bot.strategy.portfolio import PortfolioView
from bot.strategy.signal import SizedTarget, Target, View
from bot.strategy.sized import NO_EQUITY, NO_VOLATILITY, TrailingVolatility, quantity_of
from tests.engine.scripted import Script, fill_of, late, orders
from tests.helpers import bar, closed, instrument
from tests.lab.market import candles
from tests.strategy.views import forecast, view


def qty(target: Target, equity: float = 10_000.0, **seen: Any) -> float:
    assert isinstance(target, SizedTarget)
    known, why = quantity_of(target, view(**seen), equity)
    assert known is not None, why
    assert type(known) is Target
    return known.qty


def why_not(target: Target, equity: float = 10_000.0, **seen: Any) -> str:
    assert isinstance(target, SizedTarget)
    known, why = quantity_of(target, view(**seen), equity)
    assert known is None
    return why


# How much it is


def test_a_fraction_is_of_the_equity_at_the_close() -> None:
    assert qty(Target.fraction(0.5), close=100.0) == 50.0  # half of 10,000 at 100 each
    assert qty(Target.fraction(-2.0), close=50.0) == -400.0


def test_a_volatility_is_that_of_the_equity_in_a_year() -> None:
    # 20 % a year at 40 % a year: half the equity. An hour's variance of 0.4²/8760 is 40 % a year.
    seen = {"close": 100.0, "trailing_volatility": 0.4}
    assert qty(Target.volatility(0.2), **seen) == pytest.approx(50.0)
    assert qty(Target.volatility(-0.2), **seen) == pytest.approx(-50.0)
    told = forecast(rv=0.1**2 / 8760)
    assert qty(Target.volatility(0.2, max_leverage=5.0), forecast=told, **seen) == pytest.approx(200.0)
    assert qty(Target.volatility(0.2), forecast=forecast(rv=0.01**2 / 8760)) == pytest.approx(
        200.0
    )  # the cap


def test_nothing_of_it_is_flat() -> None:
    for target in (Target.fraction(0.0, "out"), Target.volatility(0.0, "out")):
        assert target == Target(0.0, "out")


def test_other_terms_are_kept() -> None:
    made = Target.fraction(0.5, "in", limit_price=99.0, stop_loss=90.0, take_profit=120.0)
    assert isinstance(made, SizedTarget)
    assert quantity_of(made, view(), 10_000.0)[0] == Target(50.0, "in", 99.0, 90.0, 120.0)


def test_a_position_within_the_band_stays_and_one_outside_of_it_or_on_the_other_side_does_not() -> None:
    for held in (45.5, 50.0, 54.9):
        assert qty(Target.fraction(0.5), position=held) == held
    for held in (44.9, 55.1, -50.0, 0.0):
        assert qty(Target.fraction(0.5), position=held) == 50.0
    assert qty(Target.fraction(0.5, band=0.0), position=49.0) == 50.0
    assert qty(Target.fraction(-0.5), position=-49.0) == pytest.approx(-49.0)


# What is not known


@pytest.mark.parametrize("equity", [nan, 0.0, -5.0, inf])
def test_without_an_equity_there_is_no_quantity(equity: float) -> None:
    assert why_not(Target.fraction(0.5), equity) == NO_EQUITY
    assert why_not(Target.volatility(0.5), equity, trailing_volatility=0.4) == NO_EQUITY


@pytest.mark.parametrize("rv", [None, 0.0, nan, inf, -1.0])
def test_without_a_volatility_there_is_no_quantity(rv: float | None) -> None:
    told = None if rv is None else forecast(rv=rv)
    assert why_not(Target.volatility(0.2), forecast=told) == NO_VOLATILITY
    assert qty(Target.volatility(0.2), forecast=told, trailing_volatility=0.4) == pytest.approx(50.0)


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_size_that_is_no_number_is_refused(value: float) -> None:
    for make in (Target.fraction, Target.volatility):
        with pytest.raises(BadInput, match="must be finite"):
            make(value)


@pytest.mark.parametrize(
    "terms", [{"band": -0.1}, {"band": nan}, {"stop_loss": nan}, {"max_leverage": 0.0}, {"max_leverage": nan}]
)
def test_terms_that_cannot_be_are_refused(terms: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        Target.volatility(0.2, **terms)
    with pytest.raises(TypeError, match="stoploss"):
        Target.fraction(0.5, stoploss=1.0)


def test_its_quantity_is_not_a_number_before_it_is_known() -> None:
    assert isnan(Target.fraction(0.5).qty)


# The trailing volatility


def test_it_is_that_of_numpy_over_its_first_bars_and_unknown_before() -> None:
    rng, seen = np.random.default_rng(3), view()
    closes = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.001, 50)))
    one = TrailingVolatility(24)
    told = []
    for index, close in enumerate(closes.tolist()):
        seen.bar = bar(index, close)
        one.follow(seen)
        told.append(seen.trailing_volatility)
    assert all(map(isnan, told[:24]))
    squares = np.diff(np.log(closes)) ** 2
    plain = float(np.mean(squares[:24]))
    assert told[24] == pytest.approx(sqrt(plain * 12 * 8760), rel=1e-12)
    later = plain + 2 / 25 * (float(squares[24]) - plain)
    assert told[25] == pytest.approx(sqrt(later * 12 * 8760), rel=1e-12)
    assert not any(map(isnan, told[24:]))


def test_the_return_across_a_missing_bar_is_left_out() -> None:
    one, seen = TrailingVolatility(2), view()
    for index, close in [(0, 100.0), (1, 101.0), (3, 500.0), (4, 505.0)]:
        seen.bar = bar(index, close)
        one.follow(seen)
    assert seen.trailing_volatility == pytest.approx(log(1.01) * sqrt(12 * 8760), rel=1e-9)


def test_prices_that_do_not_move_have_no_volatility() -> None:
    one, seen = TrailingVolatility(2), view()
    for index in range(9):
        seen.bar = bar(index)
        one.follow(seen)
    assert isnan(seen.trailing_volatility)


# In the engine


class Measured(Script):
    volatility_hours = 1.0

    def state(self) -> int:
        return self.seen

    def restore(self, state: int) -> None:
        self.seen = state


def engine(strategy: object, *symbols: str) -> Engine:
    assigned = [
        Assignment(instrument(each), 300_000, strategy, 12.0)  # type: ignore[arg-type]
        for each in symbols or ("BTCUSDT",)
    ]
    return Engine(assigned, Decimal(10_000), Limits(), name="t")


def sizes(effects: list[Effect]) -> list[Decimal]:
    return [each.intent.qty for each in orders(effects)]


def test_an_order_of_the_fraction_follows_and_the_band_keeps_it() -> None:
    one = engine(Script({index: Target.fraction(0.5) for index in range(3)}))
    effects = one.handle(closed(bar(0)))
    assert sizes(list(effects)) == [Decimal(50)]
    one.handle(fill_of(orders(effects)[0]))
    assert sizes(list(one.handle(closed(bar(1, 104.0))))) == []
    assert sizes(list(one.handle(closed(bar(2, 150.0))))) != []


def test_a_kept_position_is_no_order_without_steps_of_quantity_either() -> None:
    class Half:
        def on_bar(self, view: View) -> Target:
            return Target.fraction(0.5)

    result = bot.backtest(candles(300), Half, instrument="exact", limits={"max_leverage": 5})
    assert result.fills.num_rows > 1
    assert min(result.fills["qty"].to_pylist()) > Decimal("0.001")


def test_while_the_volatility_is_unknown_nothing_is_ordered_and_the_reason_is_told() -> None:
    one = engine(Measured({index: Target.volatility(0.2) for index in range(30)}))
    sym = one.state.symbols["BTCUSDT"]
    made = [sizes(list(one.handle(closed(bar(index, 100.0 + index % 2))))) for index in range(12)]
    assert made == [[]] * 12
    assert sym.flat_bars == {"no_volatility": 12}
    assert one.state.refusals == {"no_volatility": 12}
    (wanted,) = sizes(list(one.handle(closed(bar(12)))))
    # Each of the 12 returns is ±ln(1.01): 3.2 a year, so a position of 0.2 / 3.2 of the equity.
    assert float(wanted) == pytest.approx(10_000.0 * 0.2 / (log(1.01) * sqrt(12 * 8760)) / 100.0, rel=1e-3)


def test_a_target_by_volatility_without_a_source_of_it_is_an_error_of_the_strategy() -> None:
    one = engine(Script({0: Target.volatility(0.2)}))
    one.handle(closed(bar(0)))
    assert "set needs_forecast = True or volatility_hours" in one.state.stopped["BTCUSDT"].error

    class Wants:
        def on_bar(self, view: View) -> Target:
            return Target.volatility(0.2)

    with pytest.raises(StrategyFailed, match=r"test_sized.py:\d+: TypeError: Target.volatility needs"):
        bot.backtest(candles(20), Wants, instrument="exact")


def test_a_bar_that_is_only_shown_counts_it() -> None:
    one = engine(Script({0: Target.fraction(0.5)}))
    assert sizes(list(one.handle(late(bar(0))))) == []
    assert one.state.refusals == {"catching_up": 1}


def test_for_all_symbols_what_shrinks_goes_first() -> None:
    class Turns:
        def __init__(self) -> None:
            self.asked = 0

        def on_close(self, view: PortfolioView) -> dict[str, Target]:
            self.asked += 1
            first, second = (0.2, 0.6) if self.asked > 1 else (0.0, 0.8)
            return {"AUSDT": Target.fraction(first), "BUSDT": Target.fraction(second)}

    one = engine(Turns(), "AUSDT", "BUSDT")
    effects = one.handle(closed(bar(0, symbol="AUSDT"), bar(0, symbol="BUSDT")))
    (entry,) = orders(effects)
    one.handle(fill_of(entry))
    effects = one.handle(closed(bar(1, symbol="AUSDT"), bar(1, symbol="BUSDT")))
    assert [(each.intent.symbol, each.intent.side) for each in orders(effects)] == [
        ("BUSDT", "Sell"),
        ("AUSDT", "Buy"),
    ]


def test_the_measured_volatility_survives_a_restart() -> None:
    def made() -> Engine:
        return engine(Measured({index: Target.volatility(0.2) for index in range(99)}))

    whole, cut = made(), made()
    for index in range(40):
        event = closed(bar(index, 100.0 + (index * index) % 7))
        assert cut.handle(event) == whole.handle(event)
        body = cut.snapshot()
        cut = made()
        cut.restore(body)
        views = [each.state.symbols["BTCUSDT"].view.trailing_volatility for each in (cut, whole)]
        assert repr(views[0]) == repr(views[1])
        assert cut.state.digest() == whole.state.digest()


@pytest.mark.parametrize(("hours", "words"), [(0.1, "at least 2 bars"), ("1", "a number"), (nan, "a number")])
def test_hours_that_cannot_be_are_refused(hours: object, words: str) -> None:
    class Wrong(Script):
        volatility_hours = hours

    with pytest.raises(BadUsage, match=words):
        engine(Wrong({}))


def test_the_future_cannot_change_the_past() -> None:
    class Follows:
        volatility_hours = 6.0

        def on_bar(self, view: View) -> Target:
            return Target.volatility(0.3 if view.bar.close > view.bar.open else -0.3, stop_loss=None)

    market = candles(400)
    past = bot.backtest(market, Follows, end="2025-01-01T20:00", instrument="exact").fills.to_pylist()
    whole = bot.backtest(market, Follows, instrument="exact").fills.to_pylist()
    cut_ms = int(market.start_ms[239])
    assert [each for each in whole if each["ts_ms"] < cut_ms] == [
        each for each in past if each["ts_ms"] < cut_ms
    ]
    assert len(past) > 50


@pytest.mark.parametrize("make", [Target.fraction, Target.volatility])
@pytest.mark.parametrize("takes", [(((103.0, 0.5),), None), (None, ((200.0, 0.5),))])
def test_a_sized_target_takes_every_field_of_a_target_by_its_name(make, takes):
    names = [name for name in Target.__struct_fields__ if name not in ("qty", "reason")]
    wanted = inspect.signature(Target).parameters
    for name in names:
        asked = inspect.signature(make).parameters[name]
        assert (asked.kind, asked.default) == (asked.KEYWORD_ONLY, wanted[name].default)
    terms = dict(zip(names, (99.0, 90.0, 120.0, 3, 5.0, 101.0, *takes), strict=True))
    sized = make(0.5, "why", **terms)
    assert {name: getattr(sized, name) for name in names} == terms
    assert make(0.0, "why", **terms) == Target(0.0, "why", **terms)
    with pytest.raises(TypeError, match="stop_los"):
        make(0.5, stop_los=90.0)
