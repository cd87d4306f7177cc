"""What limits do to a backtest: a halt ends the figures, and an observing risk manager lets the run go on."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest

from bot.adapters.files.candles import Candles
from bot.domain.market import Instrument
from bot.engine.core import Assignment, Engine
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue
from bot.risk.limits import Limits
from bot.risk.observing import Observer
from bot.service.backtest.history import History
from bot.service.backtest.run import Result, Run, measure, replay
from bot.service.backtest.tape import RunTape
from bot.strategy import Target, View
from tests.helpers import T0

HOUR_MS = 3_600_000
DAY_BARS = 24
FREE = Terms(taker_fee_frac=Decimal(0), default_half_spread_bps=0.0, impact_frac=0.0, liquidity="full")


class Always:
    """Wants the same value in every bar, whatever happened."""

    def __init__(self, leverage: float = 1.0) -> None:
        self.leverage = leverage

    def on_bar(self, view: View) -> Target | None:
        return None if view.position else Target(view.worth(self.leverage))


def candles(closes: Sequence[float]) -> Candles:
    opens = [closes[0], *closes[:-1]]
    rows = [[a, max(a, b), min(a, b), b, 1e6] for a, b in zip(opens, closes, strict=True)]
    return Candles.make(
        "BTCUSDT", HOUR_MS, T0 + HOUR_MS * np.arange(len(rows), dtype=np.int64), np.array(rows)
    )


def days(*changes: float) -> list[float]:
    """Hourly closes from 100 whose price changes by these fractions on successive days, hour by hour."""
    closes = [100.0]
    for change in changes:
        closes += (closes[-1] * np.geomspace(1.0, 1.0 + change, DAY_BARS + 1)[1:]).tolist()
    return closes[1:]


def played(
    closes: Sequence[float],
    limits: Limits,
    *,
    leverage: float = 1.0,
    observer: Observer | None = None,
    rules: Instrument | None = None,
    trained_to_ms: int | None = None,
) -> Result:
    bars, rules = candles(closes), rules or Instrument.exact("BTCUSDT")
    chosen = {} if observer is None else {"breaker": observer.breaker, "check": observer.check}
    engine = Engine(
        [Assignment(rules, HOUR_MS, Always(leverage), 0.0)],
        Decimal(1_000),
        limits,
        **chosen,  # type: ignore[arg-type]
    )
    run = Run(engine, BarVenue({"BTCUSDT": rules}, Decimal(1_000), FREE), RunTape(), observer=observer)
    replay(run, History((bars,)))
    return measure(run, [bars], trained_to_ms=trained_to_ms, warnings=())


# A fall of 4 % a day, so that only the drawdown acts; a rise of a third after it.
FALL = days(0.02, -0.04, -0.04, -0.04, -0.04, -0.04, -0.04, 0.1, 0.1, 0.1)


@pytest.mark.parametrize("on_halt", ["hold", "flatten"])
def test_a_halt_ends_the_figures_and_is_told_with_date_cause_number_and_limit(on_halt: str) -> None:
    result = played(FALL, Limits(on_halt=on_halt))  # type: ignore[arg-type]
    halt = result.halt
    assert halt is not None
    assert (halt.cause, halt.forces, halt.limit, halt.setting) == (
        "drawdown",
        "halted",
        0.2,
        "risk.max_drawdown_frac",
    )
    assert halt.number == pytest.approx(0.2, abs=0.003)  # of one hour at 4 % a day
    assert halt.number > 0.2
    told = result.numbers()
    assert next(iter(told)) == "halt"
    # ln 0.8 / ln 0.96 = 5.47 days after the first one.
    assert told["halt"]["time"] == "2025-01-07T12:00Z"  # type: ignore[index]
    # The figures are those of the span, and no later bar moves them.
    late_ms = 0 if on_halt == "hold" else HOUR_MS  # closing takes the next bar
    assert result.unseen.to_ms == halt.ts_ms + late_ms
    assert result.unseen.metrics["total_return"] == pytest.approx(0.8 * 1.02 - 1.0, abs=0.005)
    assert result.after_halt is not None
    assert result.after_halt.bars + result.unseen.bars == len(FALL)
    assert result.held_at_halt == (("BTCUSDT",) if on_halt == "hold" else ())


@pytest.mark.parametrize("later", [(), (0.2,), (-0.2,), (0.1, 0.1, -0.3)])
def test_what_comes_after_a_halt_changes_no_headline_figure(later: tuple[float, ...]) -> None:
    fall = days(0.02, -0.04, -0.04, -0.04, -0.04, -0.04, -0.04)
    one, other = (played([*fall, *more], Limits()) for more in ([fall[-1]], days(*later) or [fall[-1]] * 2))
    assert one.halt == other.halt
    assert one.halt is not None
    assert one.unseen.metrics == other.unseen.metrics
    assert one.unseen.buy_and_hold == other.unseen.buy_and_hold


def test_a_run_that_no_limit_touches_has_no_halt_and_all_its_bars_count() -> None:
    result = played(days(0.01, -0.01), Limits())
    assert result.halt is None
    assert result.after_halt is None
    assert result.unseen is result.whole
    assert result.limits_noted == []


def test_a_daily_loss_is_counted_with_its_numbers_and_ends_nothing() -> None:
    result = played(days(0.0, -0.07, 0.0, -0.06), Limits())
    (row,) = result.limits_noted
    assert (row["limit"], row["count"], row["setting"]) == ("daily_loss", 2, "risk.max_daily_loss_frac")
    assert row["number"] == pytest.approx(0.05, abs=0.004)
    assert result.unseen is result.whole


def test_a_fall_through_both_limits_in_one_day_is_one_act_of_each() -> None:
    result = played(days(0.0, -0.3), Limits())
    assert [(act.cause, act.forces) for act in result.limits_acted] == [
        ("daily_loss", "reducing"),
        ("drawdown", "halted"),
    ]


def test_a_daily_loss_that_halts_ends_the_figures_like_any_halt() -> None:
    result = played(days(0.0, -0.07, 0.2), Limits(on_daily_loss="halt"))
    assert result.halt is not None
    assert (result.halt.cause, result.halt.limit) == ("daily_loss", 0.05)
    assert result.unseen.to_ms == result.halt.ts_ms


def test_a_liquidation_ends_the_figures_and_is_named() -> None:
    closes = [100.0, 100.0, 100.0, 55.0, 55.0, 60.0]
    result = played(
        closes, Limits(max_drawdown_frac=Decimal(5), max_daily_loss_frac=Decimal(5)), leverage=2.5
    )
    assert result.halt is not None
    assert result.halt.cause == "liquidation"
    assert "BTCUSDT" in result.halt.words
    assert result.unseen.bars < len(closes)


def test_a_halt_before_the_end_of_the_training_data_leaves_no_unseen_figures_and_says_so() -> None:
    result = played(FALL, Limits(), trained_to_ms=T0 + 8 * DAY_BARS * HOUR_MS)
    assert result.halt is not None
    assert result.unseen.bars == 0
    assert result.unseen.metrics["total_return"] is None
    assert any("before the model's trained_to" in line for line in result.warnings)


# Observing


@pytest.mark.parametrize("limits", [Limits(), Limits(max_drawdown_frac=Decimal("0.1"))])
def test_observed_limits_let_the_run_go_on_and_tell_the_same_first_act(limits: Limits) -> None:
    enforced, seen = played(FALL, limits), played(FALL, limits, observer=Observer())
    free = played(FALL, Limits(max_drawdown_frac=Decimal(9), max_daily_loss_frac=Decimal(9)))
    assert seen.digest == free.digest
    assert seen.halt is None
    assert seen.unseen is seen.whole
    assert seen.unseen.metrics == free.unseen.metrics
    assert seen.limits_acted[0] == enforced.limits_acted[0] == enforced.halt


def test_after_an_observed_halt_losses_are_measured_from_there() -> None:
    closes = days(*[-0.04] * 12)  # ends at 61 %: from 80 % it loses less than another fifth… twice
    seen = played(closes, Limits(), observer=Observer())
    (row,) = [row for row in seen.limits_noted if row["limit"] == "drawdown"]
    assert row["count"] == 2  # at 80 % and at 64 %
    assert row["times_ms"] == sorted(row["times_ms"])  # type: ignore[type-var, arg-type]


def test_an_observed_daily_loss_is_told_once_a_day() -> None:
    seen = played(days(0.0, -0.09, 0.0, -0.06, 0.0), Limits(), observer=Observer())
    (row,) = [row for row in seen.limits_noted if row["limit"] == "daily_loss"]
    assert row["count"] == 2
    assert seen.run.engine.state.breaker.state == "active"


@pytest.mark.parametrize(
    ("limits", "leverage", "name", "wanted", "allowed"),
    [
        (Limits(max_order_notional_quote=Decimal(500)), 1.0, "order_notional", 1_000.0, 500.0),
        (Limits(max_position_notional_quote=Decimal(400)), 1.0, "position_notional", 1_000.0, 400.0),
        (Limits(max_leverage=Decimal(2)), 2.5, "leverage", 2.5, 2.0),
        (Limits(max_daily_notional_quote=Decimal(300)), 1.0, "daily_notional", 1_000.0, 300.0),
    ],
)
def test_an_entry_beyond_a_limit_is_made_and_noted_with_wanted_and_allowed(
    limits: Limits, leverage: float, name: str, wanted: float, allowed: float
) -> None:
    closes = days(0.0, 0.01)
    assert played(closes, limits, leverage=leverage).run.tape.orders == 0
    seen = played(closes, limits, leverage=leverage, observer=Observer())
    assert seen.run.tape.orders == 1
    (row,) = seen.limits_noted
    assert (row["limit"], row["count"], row["forces"]) == (name, 1, "refused")
    assert (row["number"], row["bound"]) == (pytest.approx(wanted), pytest.approx(allowed))


def test_observed_or_not_the_contract_has_its_rules() -> None:
    ended = Instrument.exact("BTCUSDT")
    ended = Instrument(
        **{name: getattr(ended, name) for name in ended.__struct_fields__} | {"status": "Closed"}
    )
    seen = played(days(0.0), Limits(), rules=ended, observer=Observer())
    assert seen.run.tape.orders == 0
    assert seen.refusals[0]["reason"] == "status"


def test_a_losing_streak_is_noted_and_begins_no_cooldown() -> None:
    observer = Observer()
    observer.breaker.use(Limits(max_consecutive_losses=2))
    for at_ms in (1, 2, 3, 4):
        observer.breaker.on_closed_trade(Decimal(-1), at_ms)
    assert observer.breaker.cooldowns_ms == [2, 4]
    assert observer.breaker.cooldown_until_ms == 0


def test_rejects_in_a_row_are_noted_and_halt_nothing() -> None:
    observer = Observer()
    for at_ms in range(5):
        assert not observer.breaker.on_reject(at_ms, "110007")
    (act,) = observer.acts
    assert (act.cause, act.number, act.limit, act.ts_ms) == ("rejects", 5.0, 5.0, 4)
    assert observer.breaker.state == "active"


def test_an_account_without_equity_halts_even_if_risk_only_observes() -> None:
    observer = Observer()
    observer.breaker.on_equity(T0, 100.0)
    observer.breaker.on_equity(T0 + 1, -1.0)
    assert observer.breaker.reason == "bad_equity"
