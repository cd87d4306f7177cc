from decimal import Decimal
from math import nan

import msgspec
import pytest

from bot.domain.ledger import Fill
from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Command,
    Filled,
    FundingPaid,
    FundingRate,
    Gap,
    LinkDown,
    LinkUp,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    Quote,
    RejectCause,
    RiskChanged,
    SetStops,
    StopsChanged,
    StrategyStopped,
    Verdict,
)
from bot.domain.orders import Approved, Refused, Side
from bot.engine.core import Assignment, Engine
from bot.engine.venue_events import FUNDING_SEEN_MAX
from bot.risk.breaker import Breaker
from bot.risk.limits import Limits
from bot.strategy.signal import Target, View
from tests.engine.scripted import Script, engine, fill_of, limit_engine, long_at, orders, turn
from tests.helpers import T0, bar, closed, instrument, patient


def test_a_wish_becomes_a_verdict_and_an_order_whose_name_is_computed() -> None:
    effects = engine({0: Target(2.0)}).handle(closed(bar(0)))
    verdict, order = effects
    assert isinstance(verdict, Verdict)
    assert isinstance(verdict.verdict, Approved)
    assert isinstance(order, PlaceOrder)
    assert (order.order_id, order.intent.side, order.intent.qty) == ("t-1-0", "Buy", Decimal(2))


def test_a_position_changes_only_when_a_fill_is_handled() -> None:
    one = engine({0: Target(2.0)})
    (order,) = orders(one.handle(closed(bar(0))))
    assert one.state.symbols["BTCUSDT"].position.qty == 0
    one.handle(fill_of(order))
    assert one.state.symbols["BTCUSDT"].position.qty == 2
    assert one.state.cash.balance == Decimal("9999.99")


def test_an_execution_told_twice_is_booked_once() -> None:
    one = engine({0: Target(2.0)})
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(fill_of(order))
    one.handle(fill_of(order))
    assert one.state.symbols["BTCUSDT"].position.qty == 2


def test_through_zero_takes_a_close_and_an_entry() -> None:
    one = engine({0: Target(2.0), 1: Target(-1.0)})
    long_at(one)
    close, entry = turn(one, closed(bar(1)))
    assert (close.intent.side, close.intent.qty, close.intent.reduce_only) == ("Sell", Decimal(2), True)
    assert (entry.intent.side, entry.intent.qty, entry.intent.reduce_only) == ("Sell", Decimal(1), False)
    assert close.order_id != entry.order_id


def test_a_wish_to_be_flat_stands_until_it_is_so() -> None:
    one = engine({0: Target(2.0), 1: Target(0.0)})
    long_at(one)
    (close,) = orders(one.handle(closed(bar(1))))
    one.handle(fill_of(close, qty="0.5"))
    one.handle(OrderCancelled(T0, close.order_id, "EC_NoImmediateQtyToFill"))
    (rest,) = orders(one.handle(closed(bar(2))))
    assert rest.intent.qty == Decimal("1.5")
    one.handle(fill_of(rest))
    assert not orders(one.handle(closed(bar(3))))


def test_nothing_is_sent_while_an_order_of_the_symbol_is_unknown() -> None:
    one = engine({0: Target(2.0), 1: Target(4.0), 2: Target(4.0)}, patient())
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderUnknown(T0, order.order_id))
    assert not one.handle(closed(bar(1)))
    one.handle(fill_of(order))
    assert orders(one.handle(closed(bar(2))))[0].intent.qty == 2


def test_a_resting_limit_order_is_kept_while_the_wish_is_the_same_and_taken_back_when_it_changes() -> None:
    wishes = {
        0: Target(2.0, limit_price=99.0),
        1: Target(2.0, limit_price=99.0),
        2: Target(2.0, limit_price=98.0),
    }
    one = engine(wishes)
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(T0, order.order_id))
    assert not one.handle(closed(bar(1)))
    assert list(one.handle(closed(bar(2)))) == [CancelOrder(order.order_id, "BTCUSDT")]


def test_orders_of_one_close_have_different_names_whatever_their_symbols() -> None:
    pair = [
        Assignment(instrument(symbol), 300_000, Script({0: Target(2.0)}), 12.0)
        for symbol in ("BTCUSDT", "ETHUSDT")
    ]
    one = Engine(pair, Decimal(10_000), Limits(), name="t")
    placed = orders(one.handle(closed(bar(0), bar(0, symbol="ETHUSDT"))))
    assert [order.order_id for order in placed] == ["t-1-0", "t-1-1"]


@pytest.mark.fault(57)
def test_the_order_rate_counts_entries_of_the_last_minute_and_no_exits() -> None:
    pair = [
        Assignment(
            instrument(symbol), 300_000, Script({0: Target(1.0), 1: Target(0.0), 2: Target(1.0)}), 12.0
        )
        for symbol in ("BTCUSDT", "ETHUSDT")
    ]
    one = Engine(pair, Decimal(10_000), Limits(max_orders_per_minute=1), name="t")
    placed = []
    for index in range(3):
        placed.append(orders(one.handle(closed(bar(index), bar(index, symbol="ETHUSDT")))))
        for order in placed[-1]:
            one.handle(fill_of(order))
    assert [len(each) for each in placed] == [1, 1, 1]  # an entry, its exit, and a minute later an entry
    assert one.state.refusals == {"order_rate": 2}


def test_a_refusal_is_recorded_counted_and_places_nothing() -> None:
    one = engine({0: Target(2.0)}, Limits(max_order_notional_quote=Decimal(100)))
    (effect,) = one.handle(closed(bar(0)))
    assert isinstance(effect, Verdict)
    assert isinstance(effect.verdict, Refused)
    assert one.state.refusals == {"order_notional": 1}
    assert one.state.symbols["BTCUSDT"].flat_bars == {"risk": 1}


def test_flat_bars_are_counted_by_what_the_strategy_said() -> None:
    one = engine({0: Target(0.0, reason="cost")})
    for index in range(3):
        one.handle(closed(bar(index)))
    assert one.state.symbols["BTCUSDT"].flat_bars == {"cost": 1, "no_signal": 2}


def test_worst_case_exposure_counts_what_was_approved_a_moment_ago() -> None:
    limits = Limits(max_total_notional_quote=Decimal(250), max_leverage=Decimal(100))
    pair = [
        Assignment(instrument(symbol), 300_000, Script({0: Target(2.0)}), 12.0)
        for symbol in ("BTCUSDT", "ETHUSDT")
    ]
    one = Engine(pair, Decimal(10_000), limits, name="t")
    effects = one.handle(closed(bar(0), bar(0, symbol="ETHUSDT")))
    assert [order.intent.symbol for order in orders(effects)] == ["BTCUSDT"]
    assert one.state.refusals == {"total_notional": 1}


def test_a_drawdown_halts_and_flattens_and_keeps_trying_until_flat() -> None:
    one = engine({0: Target(90.0)}, Limits(max_drawdown_frac=Decimal("0.1"), on_halt="flatten"))
    long_at(one)
    effects = one.handle(closed(bar(1, close=85.0)))
    assert any(isinstance(each, RiskChanged) and each.state == "halted" for each in effects)
    (close,) = orders(effects)
    assert close.intent.reduce_only
    one.handle(OrderCancelled(T0, close.order_id, "EC_NoImmediateQtyToFill"))
    (again,) = orders(one.handle(closed(bar(2, close=85.0))))
    assert again.intent.qty == 90


def test_a_halt_outlives_the_process() -> None:
    one = engine({0: Target(90.0)}, Limits(max_drawdown_frac=Decimal("0.1")))
    long_at(one)
    one.handle(closed(bar(1, close=85.0)))
    stored = msgspec.json.encode(one.state.breaker)
    assignment = Assignment(instrument(), 300_000, Script({0: Target(1.0)}), round_trip_bps=12.0)
    restored = msgspec.json.decode(stored, type=Breaker)
    again = Engine([assignment], Decimal(10_000), Limits(), breaker=restored, name="t2")
    assert not orders(again.handle(closed(bar(5))))
    assert again.state.refusals == {"breaker": 1}


def test_a_halt_that_holds_sends_nothing() -> None:
    one = engine({0: Target(90.0), 2: Target(100.0)}, Limits(max_drawdown_frac=Decimal("0.1")))
    long_at(one)
    one.handle(closed(bar(1, close=85.0)))
    assert not orders(one.handle(closed(bar(2, close=85.0))))
    assert one.state.refusals["breaker"] == 1


def test_entries_wait_while_a_link_is_down_and_exits_do_not() -> None:
    one = engine({0: Target(2.0), 1: Target(3.0), 2: Target(0.0)})
    long_at(one)
    one.handle(LinkDown(T0, "private"))
    assert not orders(one.handle(closed(bar(1))))
    (close,) = orders(one.handle(closed(bar(2))))
    assert close.intent.reduce_only
    one.handle(LinkUp(T0, "private"))
    assert one.state.breaker.state == "active"


@pytest.mark.fault(57)
def test_rejects_in_a_row_halt() -> None:
    one = engine(dict.fromkeys(range(9), Target(2.0)), Limits(max_consecutive_rejects=3))
    for index in range(3):
        (order,) = orders(one.handle(closed(bar(index))))
        one.handle(OrderRejected(T0, order.order_id, 110007, "balance"))
    assert one.state.breaker.state == "halted"
    assert not orders(one.handle(closed(bar(3))))


def test_the_days_entries_count_what_is_filled_live_and_unknown_and_no_exits() -> None:
    targets = {0: Target(2.0), 1: Target(0.0), 2: Target(2.0), 3: Target(2.0), 4: Target(1.0)}
    one = engine(targets, msgspec.structs.replace(patient(), max_daily_notional_quote=Decimal(500)))
    long_at(one)
    one.handle(fill_of(orders(one.handle(closed(bar(1))))[0]))
    (second,) = orders(one.handle(closed(bar(2))))
    one.handle(OrderUnknown(T0, second.order_id))
    assert not orders(one.handle(closed(bar(3))))
    one.handle(OrderCancelled(T0, second.order_id, "NeverExisted"))
    (third,) = orders(one.handle(closed(bar(4))))  # 200 filled and nothing live: 100 more are within 500
    assert third.intent.notional_quote == 100
    assert one.state.breaker.entered_today(one.state.now_ms) == 200


@pytest.mark.fault(59)
def test_an_entry_beyond_the_days_notional_is_refused_until_midnight() -> None:
    day = 288  # bars
    wishes = {0: Target(2.0), 1: Target(3.5), day: Target(3.5)}
    one = engine(wishes | dict.fromkeys(range(2, day)), Limits(max_daily_notional_quote=Decimal(300)))
    long_at(one)
    for index in range(1, day):
        assert not orders(one.handle(closed(bar(index))))
    assert one.state.refusals == {"daily_notional": 1}
    (more,) = orders(one.handle(closed(bar(day))))
    assert more.intent.qty == Decimal("1.5")


def test_orders_that_missed_the_market_never_halt() -> None:
    one = engine(dict.fromkeys(range(9), Target(2.0)), Limits(max_consecutive_rejects=3))
    for index in range(6):
        (order,) = orders(one.handle(closed(bar(index))))
        one.handle(OrderRejected(T0, order.order_id, 10001, "sl past base_price", RejectCause.MISSED))
    assert one.state.breaker.state == "active"


def test_the_operator_flattens_and_nothing_is_reopened() -> None:
    one = engine({0: Target(2.0), 1: Target(3.0)})
    long_at(one)
    (close,) = orders(one.handle(Command(T0, "flatten")))
    one.handle(fill_of(close))
    assert not orders(one.handle(closed(bar(1))))
    assert one.state.symbols["BTCUSDT"].position.qty == 0


@pytest.mark.fault(49)
def test_funding_is_booked_once_a_settlement() -> None:
    one = engine({0: Target(2.0)})
    long_at(one)
    for _ in range(2):
        one.handle(FundingPaid(T0 + 1, "BTCUSDT", Decimal("-0.5")))
    assert one.state.cash.funding == Decimal("-0.5")


@pytest.mark.invariant(13)
def test_funding_that_was_missed_is_booked_after_a_later_one_and_once() -> None:
    one = engine({0: Target(2.0)})
    long_at(one)
    for hour, amount in ((3, "-0.3"), (1, "-0.1"), (2, "-0.2"), (1, "-0.1"), (3, "-0.3")):
        one.handle(FundingPaid(T0 + hour, "BTCUSDT", Decimal(amount)))
    assert one.state.cash.funding == Decimal("-0.6")


def test_settlements_remembered_are_bounded_and_an_older_one_is_never_booked() -> None:
    one = engine({0: Target(2.0)})
    long_at(one)
    for hour in range(1, FUNDING_SEEN_MAX + 11):
        one.handle(FundingPaid(T0 + hour, "BTCUSDT", Decimal("-1")))
    one.handle(FundingPaid(T0, "BTCUSDT", Decimal("-1")))
    assert one.state.cash.funding == -(FUNDING_SEEN_MAX + 10)
    assert len(one.state.symbols["BTCUSDT"].funding_seen) == FUNDING_SEEN_MAX


def test_equity_is_marked_between_closes_too() -> None:
    one = engine({0: Target(2.0)})
    long_at(one)
    one.handle(Quote(T0 + 1, "BTCUSDT", 109.0, 111.0))
    assert one.state.equity == pytest.approx(9_999.99 + 2 * 10.0)


def test_new_protective_prices_follow_the_venues_word() -> None:
    one = engine({0: Target(2.0), 1: Target(2.0, stop_loss=95.04), 2: Target(2.0, stop_loss=95.04)})
    long_at(one)
    assert list(one.handle(closed(bar(1)))) == [SetStops("BTCUSDT", Decimal("95.0"), None)]
    one.handle(StopsChanged(T0, "BTCUSDT", Decimal("95.0"), None))
    assert not one.handle(closed(bar(2)))


def test_a_hole_that_cannot_be_filled_leads_to_no_order() -> None:
    one = engine({0: Target(2.0)})
    long_at(one)
    before = one.state.symbols["BTCUSDT"].position.qty, one.state.equity
    assert not one.handle(Gap(T0, "BTCUSDT", 300_000, T0, T0 + 600_000))
    assert (one.state.symbols["BTCUSDT"].position.qty, one.state.equity) == before


@pytest.mark.fault(76)
def test_a_mark_that_is_not_a_number_halts_and_never_trades() -> None:
    one = engine({0: Target(2.0), 1: Target(3.0)})
    long_at(one)
    one.handle(Quote(T0 + 1, "BTCUSDT", nan, 100.0))
    assert one.state.breaker.state == "halted"
    assert not orders(one.handle(closed(bar(1))))


def test_a_wish_that_is_no_target_is_the_strategys_mistake_and_named_as_that() -> None:
    class Wrong:
        def on_bar(self, view: View) -> object:
            return 5

    one = Engine([Assignment(instrument(), 300_000, Wrong(), 12.0)], Decimal(10_000), Limits())  # type: ignore[arg-type]
    (stopped,) = one.handle(closed(bar(0)))
    assert isinstance(stopped, StrategyStopped)
    assert stopped.failure.strategy == "Wrong"
    assert stopped.failure.error == "TypeError: on_bar must return a Target or None, was 5"


def test_a_wish_that_is_no_number_is_counted_and_never_traded() -> None:
    class Broken:
        def on_bar(self, view: View) -> Target | None:
            return Target(nan)

    one = Engine([Assignment(instrument(), 300_000, Broken(), 12.0)], Decimal(10_000), Limits())
    assert not one.handle(closed(bar(0)))
    assert one.state.refusals == {"not_finite": 1}


@pytest.mark.parametrize(
    "wrong", [{"qty": "1"}, {"qty": None}, {"qty": 1.0, "limit_price": "9"}, {"qty": 1.0, "expires_bars": 0}]
)
def test_a_wish_that_no_data_can_make_is_the_strategys_mistake(wrong: dict[str, object]) -> None:
    class Wrong:
        def on_bar(self, view: View) -> Target:
            return Target(**wrong)  # type: ignore[arg-type]

    one = Engine([Assignment(instrument(), 300_000, Wrong(), 12.0)], Decimal(10_000), Limits())
    (stopped,) = one.handle(closed(bar(0)))
    assert isinstance(stopped, StrategyStopped)
    assert (stopped.failure.file, stopped.failure.strategy) == ("test_core.py", "Wrong")
    assert not one.state.refusals


def test_wishes_before_trading_starts_are_ignored() -> None:
    assignment = Assignment(instrument(), 300_000, Script(dict.fromkeys(range(5), Target(2.0))), 12.0)
    one = Engine([assignment], Decimal(10_000), Limits(), name="t", trade_from_ms=T0 + 3 * 300_000)
    placed = [bool(orders(one.handle(closed(bar(index))))) for index in range(3)]
    assert placed == [False, False, True]


def test_the_same_events_give_the_same_state() -> None:
    digests = set()
    for _ in range(2):
        one = engine({0: Target(2.0), 3: Target(-1.0)})
        long_at(one)
        for index in range(1, 6):
            for order in orders(one.handle(closed(bar(index)))):
                one.handle(fill_of(order))
        digests.add(one.state.digest())
    assert len(digests) == 1


@pytest.mark.parametrize("side", ["Buy", "Sell"])
def test_a_stop_the_venue_ran_leaves_us_flat_and_is_no_foreign_fill(side: Side) -> None:
    one = engine({0: Target(2.0 if side == "Sell" else -2.0)})
    long_at(one)
    stopped = Fill(
        T0, "BTCUSDT", side, Decimal(2), Decimal(95), Decimal(0), "BTCUSDT-sl-1", "s1", cause="stop_loss"
    )
    one.handle(Filled(stopped))
    assert one.state.symbols["BTCUSDT"].position.qty == 0
    assert not one.handle(closed(bar(1)))


def test_a_funding_rate_is_seen_by_the_closes_after_it() -> None:
    one = engine({})
    one.handle(FundingRate(T0, "BTCUSDT", Decimal("0.0003")))
    assert one.state.symbols["BTCUSDT"].funding_rate == 0.0003


def test_a_partly_filled_limit_order_keeps_resting_while_the_wish_is_the_same() -> None:
    one, order = limit_engine(dict.fromkeys(range(2), Target(2.0, limit_price=99.0)))
    one.handle(fill_of(order, "99", "0.5"))
    assert not one.handle(closed(bar(1)))


def test_a_changed_limit_order_is_sent_as_soon_as_the_old_one_is_gone() -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0), 1: Target(2.0, limit_price=98.0)})
    assert list(one.handle(closed(bar(1)))) == [CancelOrder(order.order_id, "BTCUSDT")]
    (changed,) = orders(one.handle(OrderCancelled(bar(1).close_ms, order.order_id, "CancelByUser")))
    assert (changed.intent.price, changed.intent.decided_ms) == (Decimal("98.0"), bar(1).close_ms)


@pytest.mark.fault(59)
def test_an_entry_that_waited_too_long_for_a_cancel_is_a_stale_signal() -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0), 1: Target(2.0, limit_price=98.0)})
    one.handle(closed(bar(1)))
    one.handle(OrderCancelled(bar(1).close_ms + 60_000, order.order_id, "CancelByUser"))
    assert one.state.refusals == {"stale_signal": 1}


def test_an_exit_does_not_wait_a_bar_for_the_entry_that_rests() -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0), 1: Target(0.0)})
    one.handle(fill_of(order, "99", "0.5"))
    assert list(one.handle(closed(bar(1)))) == [CancelOrder(order.order_id, "BTCUSDT")]
    (exit_,) = orders(one.handle(OrderCancelled(bar(1).close_ms, order.order_id, "CancelByUser")))
    assert (exit_.intent.qty, exit_.intent.reduce_only) == (Decimal("0.5"), True)


def test_an_exit_at_a_limit_rests_there_until_it_fills() -> None:
    one = engine({0: Target(2.0), 1: Target(0.0, limit_price=110.0)})
    long_at(one)
    (exit_,) = orders(one.handle(closed(bar(1))))
    one.handle(OrderAccepted(T0, exit_.order_id))
    one.handle(fill_of(exit_, "110", "0.5"))
    assert not one.handle(closed(bar(2)))
    one.handle(OrderCancelled(T0, exit_.order_id, "CancelByUser"))
    (again,) = orders(one.handle(closed(bar(3))))
    assert (again.intent.qty, again.intent.price) == (Decimal("1.5"), Decimal("110.0"))


def test_a_turn_that_volume_cut_short_is_still_left() -> None:
    one = engine({0: Target(2.0), 1: Target(-1.0)})
    long_at(one)
    close, entry = turn(one, closed(bar(1)))
    one.handle(fill_of(close, qty="0.5"))
    for order in (close, entry):
        one.handle(OrderCancelled(T0, order.order_id, "EC_NoImmediateQtyToFill"))
    (rest,) = orders(one.handle(closed(bar(2))))
    assert (rest.intent.side, rest.intent.qty, rest.intent.reduce_only) == ("Sell", Decimal("1.5"), True)


def test_the_operators_flatten_stands_until_nothing_is_open() -> None:
    one = engine({0: Target(2.0), 1: Target(3.0)})
    long_at(one)
    (close,) = orders(one.handle(Command(T0, "flatten")))
    one.handle(fill_of(close, qty="0.5"))
    (rest,) = orders(one.handle(OrderCancelled(T0, close.order_id, "EC_NoImmediateQtyToFill")))
    assert rest.intent.qty == Decimal("1.5")
    assert not orders(one.handle(OrderCancelled(T0, rest.order_id, "EC_NoImmediateQtyToFill")))
    (again,) = orders(one.handle(closed(bar(1))))  # nobody was there: not at once
    assert again.intent.qty == Decimal("1.5")


def test_an_entry_under_way_when_the_operator_flattens_is_closed_too() -> None:
    one = engine({0: Target(2.0)})
    (entry,) = orders(one.handle(closed(bar(0))))
    assert not orders(one.handle(Command(bar(0).close_ms, "flatten")))
    (close,) = orders(one.handle(fill_of(entry)))
    assert close.intent.reduce_only
    assert not orders(one.handle(closed(bar(1))))


def test_after_flattening_and_resuming_the_bot_trades_again() -> None:
    one = engine({1: Target(3.0)})
    one.handle(Command(T0, "flatten"))
    one.handle(closed(bar(0)))
    one.handle(Command(T0, "resume"))
    assert orders(one.handle(closed(bar(1))))


@pytest.mark.parametrize("word", [Command(T0, "pause"), Command(T0, "halt"), LinkDown(T0, "private")])
def test_an_entry_that_rests_is_taken_back_when_entries_stop(word: Command | LinkDown) -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0)})
    assert CancelOrder(order.order_id, "BTCUSDT") in one.handle(word)


def test_an_exit_that_rests_stays_when_entries_stop() -> None:
    one = engine({0: Target(2.0), 1: Target(0.0, limit_price=110.0)})
    long_at(one)
    one.handle(closed(bar(1)))
    assert not [each for each in one.handle(Command(T0, "pause")) if isinstance(each, CancelOrder)]


def test_a_halt_replaces_an_exit_that_rests_by_one_that_does_not() -> None:
    one = engine({0: Target(2.0), 1: Target(0.0, limit_price=110.0)}, Limits(on_halt="flatten"))
    long_at(one)
    (exit_,) = orders(one.handle(closed(bar(1))))
    assert CancelOrder(exit_.order_id, "BTCUSDT") in one.handle(Command(T0, "halt"))
    (close,) = orders(one.handle(OrderCancelled(T0, exit_.order_id, "CancelByUser")))
    assert close.intent.order_type == "Market"


def test_bars_that_come_late_lead_to_no_entry_and_do_not_turn_time_back() -> None:
    one = engine({0: Target(2.0), 1: Target(2.0)})
    now_ms = bar(1).close_ms + 60_000
    one.handle(Quote(now_ms, "BTCUSDT", 104.0, 106.0))
    for index in range(2):
        assert not orders(one.handle(closed(bar(index))))
    assert one.state.refusals == {"stale_signal": 2}
    assert (one.state.now_ms, one.state.symbols["BTCUSDT"].mark) == (now_ms, 105.0)


def test_market_data_of_a_symbol_that_is_not_traded_changes_nothing() -> None:
    one = engine({0: Target(2.0)})
    stranger = bar(0, symbol="XRPUSDT")
    for event in (
        closed(stranger),
        Quote(T0, "XRPUSDT", 1.0, 2.0),
        FundingRate(T0, "XRPUSDT", Decimal("0.01")),
        Gap(T0, "XRPUSDT", 300_000, T0, T0 + 300_000),
    ):
        assert not one.handle(event)
    assert len(orders(one.handle(BarsClosed(stranger.close_ms, 300_000, (bar(0), stranger))))) == 1


def test_a_bad_mark_halts_and_what_is_open_is_closed_all_the_same() -> None:
    one = engine({0: Target(2.0)}, Limits(on_halt="flatten"))
    long_at(one)
    (close,) = orders(one.handle(Quote(T0 + 1, "BTCUSDT", nan, 100.0)))
    assert (close.intent.qty, close.intent.reduce_only) == (Decimal(2), True)


def test_flat_bars_of_a_halt_that_flattens_are_counted_as_risk() -> None:
    one = engine({}, Limits(on_halt="flatten"))
    one.handle(Command(T0, "halt"))
    one.handle(closed(bar(0)))
    assert one.state.symbols["BTCUSDT"].flat_bars == {"risk": 1}


def test_a_refusal_while_in_a_position_is_no_reason_to_be_flat_later() -> None:
    limits = Limits(max_order_notional_quote=Decimal(250))
    one = engine({0: Target(2.0), 1: Target(9.0), 2: Target(0.0), 3: Target(0.0, "cost")}, limits)
    long_at(one)
    one.handle(closed(bar(1)))
    (close,) = orders(one.handle(closed(bar(2))))
    one.handle(fill_of(close))
    one.handle(closed(bar(3)))
    assert one.state.symbols["BTCUSDT"].flat_bars == {"entering": 1, "cost": 1}


def test_protective_prices_the_market_is_past_are_counted_and_not_sent() -> None:
    one = engine({0: Target(2.0), 1: Target(2.0, stop_loss=105.0)})
    long_at(one)
    assert not one.handle(closed(bar(1)))
    assert one.state.refusals == {"stop_side": 1}


@pytest.mark.parametrize(("leverage", "stop"), [("50", None), ("20", 97.0), ("0", 97.0)])
def test_a_stop_is_not_moved_behind_the_liquidation(leverage: str, stop: float | None) -> None:
    one = engine(
        {0: Target(2.0), 1: Target(2.0, stop_loss=97.0)}, Limits(isolated_leverage=Decimal(leverage))
    )
    long_at(one)
    moved = one.handle(closed(bar(1)))
    assert [each.stop_loss for each in moved if isinstance(each, SetStops)] == ([stop] if stop else [])
    assert one.state.refusals == ({} if stop else {"stop_liquidation": 1})


@pytest.mark.parametrize("named", [99.0, None])
@pytest.mark.parametrize("leverage", ["50", "0"])
def test_an_entry_that_adds_is_judged_with_the_position_and_its_stop(
    leverage: str, named: float | None
) -> None:
    limits = Limits(isolated_leverage=Decimal(leverage))  # 105 on average: liquidated at 103.4
    one = engine({0: Target(2.0), 1: Target(4.0, stop_loss=named)}, limits)
    long_at(one, price="110")
    one.handle(StopsChanged(T0, "BTCUSDT", Decimal(99), None))
    assert bool(orders(one.handle(closed(bar(1))))) is (leverage == "0")


def test_equity_follows_a_fill_at_once() -> None:
    one = engine({0: Target(2.0)})
    long_at(one, price="101")
    assert one.state.equity == pytest.approx(10_000 - 0.01 - 2.0)
