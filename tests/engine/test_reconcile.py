from decimal import Decimal

import pytest

from bot.domain.account import AccountSnapshot, Holding, OpenOrder
from bot.domain.ledger import Fill
from bot.domain.messages import (
    CancelOrder,
    Command,
    Filled,
    FundingPaid,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    Quote,
    Reconciled,
    Synced,
)
from bot.domain.orders import OrderState
from bot.engine.core import Engine
from bot.risk.breaker import Breaker
from bot.risk.limits import Limits
from bot.strategy.signal import Target
from tests.engine.scripted import (
    cancels,
    engine,
    fill_of,
    holding,
    late,
    long_at,
    moves,
    orders,
    reading,
    remote,
    stranger,
    working,
)
from tests.helpers import T0, bar, closed

LATER = T0 + 10 * 300_000


def facts(effects: object) -> list[Reconciled]:
    return [each for each in effects if isinstance(each, Reconciled)]  # type: ignore[attr-defined]


def test_the_first_reading_is_adopted_to_the_last_digit() -> None:
    one = remote({})
    one.handle(
        reading("7654.321098765432", holding("-0.3", "98765.4", "99000"), orders=(working(),), first=True)
    )
    sym = one.state.symbols["BTCUSDT"]
    assert one.state.cash.balance == Decimal("7654.321098765432")
    assert (sym.position.qty, sym.position.entry_price) == (Decimal("-0.3"), Decimal("98765.4"))
    assert sym.stops.at_venue == (Decimal(99000), None)
    assert one.state.orders.resting_qty("BTCUSDT") == (Decimal(2), Decimal(0))
    assert one.state.equity == pytest.approx(7654.321098765432)


def test_nothing_is_entered_before_the_account_is_read() -> None:
    one = remote({0: Target(1.0), 1: Target(1.0)})
    assert not orders(one.handle(closed(bar(0))))
    assert one.state.refusals == {"breaker": 1}
    assert moves(one.handle(reading(first=True))) == ["active "]
    assert orders(one.handle(closed(bar(1))))


def test_equity_is_not_judged_by_the_settings_account_before_the_venues_is_read() -> None:
    one = remote({})
    one.handle(closed(bar(0)))
    one.handle(Quote(T0, "BTCUSDT", 99.0, 101.0))
    one.handle(reading("5000", first=True))
    assert one.state.breaker.state == "active"
    assert one.state.breaker.peak_equity == 5000.0


def test_the_peak_of_an_earlier_run_is_kept() -> None:
    breaker = Breaker()
    breaker.on_equity(T0, 10_000.0)
    restored = Breaker.restore(breaker.encode(), Limits())
    one = remote({}, breaker=restored)
    assert moves(one.handle(reading("7999", first=True))) == ["halted drawdown"]
    assert one.state.breaker.peak_equity == 10_000.0


@pytest.mark.fault(49)
def test_executions_told_before_the_first_reading_are_in_it_and_booked_no_more() -> None:
    one = remote({})
    told = stranger("Buy", "2")
    one.handle(told)
    one.handle(FundingPaid(T0, "BTCUSDT", Decimal("-3")))
    one.handle(reading("10000", holding("2"), first=True))
    one.handle(told)
    one.handle(FundingPaid(T0, "BTCUSDT", Decimal("-3")))
    assert one.state.symbols["BTCUSDT"].position.qty == 2
    assert one.state.cash.balance == 10_000
    assert one.state.breaker.state == "active"


@pytest.mark.fault(42)
def test_all_fourteen_working_orders_are_known_after_a_restart() -> None:
    one = remote({})
    made = tuple(working(f"t0-{n}-0", qty="2", filled="0.5", price=f"{90 + n}") for n in range(14))
    one.handle(reading(orders=made, first=True))
    assert len(one.state.orders.live) == 14
    order = one.state.orders.live["t0-3-0"]
    assert (order.state, order.leaves_qty, order.intent.price) == (
        OrderState.PARTIAL,
        Decimal("1.5"),
        Decimal(93),
    )
    one.handle(OrderCancelled(LATER, "t0-3-0", "CancelByUser"))
    assert len(one.state.orders.live) == 13


def test_an_adopted_order_is_replaced_by_the_next_wish() -> None:
    one = remote({0: Target(1.0, limit_price=98.0)})
    one.handle(reading(orders=(working(),), first=True))
    assert cancels(one.handle(closed(bar(0)))) == ["t0-5-0"]
    (order,) = orders(one.handle(OrderCancelled(bar(0).close_ms, "t0-5-0", "CancelByUser")))
    assert order.intent.price == 98


def test_adopted_entries_are_taken_back_where_entries_are_not_allowed() -> None:
    breaker = Breaker()
    breaker.halt()
    one = remote({}, breaker=breaker)
    assert cancels(one.handle(reading(orders=(working(),), first=True))) == ["t0-5-0"]


def test_a_halt_that_flattens_closes_what_is_adopted() -> None:
    breaker = Breaker()
    breaker.halt()
    one = remote({}, breaker=breaker, limits=Limits(on_halt="flatten"))
    (close,) = orders(one.handle(reading("10000", holding("2"), first=True)))
    assert (close.intent.side, close.intent.qty, close.intent.reduce_only) == ("Sell", Decimal(2), True)


def test_the_operators_flatten_before_the_reading_is_not_lost() -> None:
    one = remote({})
    one.handle(Command(T0, "flatten"))
    one.handle(late(bar(0)))
    assert orders(one.handle(reading("10000", holding("2"), first=True)))[0].intent.reduce_only


def test_orders_of_ours_in_symbols_no_longer_traded_are_taken_back() -> None:
    one = remote({})
    old = OpenOrder("t0-1-0", "XRPUSDT", "Buy", "Limit", Decimal(5), Decimal(0), Decimal(1), False)
    assert CancelOrder("t0-1-0", "XRPUSDT") in one.handle(reading(orders=(old,), first=True))
    assert not one.state.orders.live


def test_positions_elsewhere_count_as_risk() -> None:
    one = remote({0: Target(2.0)}, limits=Limits(max_total_notional_quote=Decimal(1000)))
    one.handle(reading("10000", holding("900", "1", symbol="XRPUSDT"), first=True))
    assert not orders(one.handle(closed(bar(0))))
    assert one.state.refusals == {"total_notional": 1}


def synced_long(**changes: object) -> Engine:
    one = remote({0: Target(2.0)}, **changes)
    one.handle(reading(first=True))
    long_at(one)
    return one


def test_a_reading_that_agrees_leads_to_nothing() -> None:
    one = synced_long()
    assert list(one.handle(reading("9999.99", holding("2"), ts_ms=LATER))) == []
    assert (one.state.cash.adjusted, one.state.reconciled) == (0, {})


@pytest.mark.parametrize("drift", ["0.00000001", "-0.009"])
def test_rounding_of_the_wallet_is_booked_counted_and_named(drift: str) -> None:
    one = synced_long()
    (fact,) = one.handle(reading(str(Decimal("9999.99") + Decimal(drift)), holding("2"), ts_ms=LATER))
    assert fact == Reconciled(LATER, False, (), Decimal(drift))
    assert one.state.cash.balance == Decimal("9999.99") + Decimal(drift)
    assert one.state.cash.adjusted == Decimal(drift)
    assert one.state.reconciled == {"rounding": 1}


def test_a_wallet_that_nothing_explains_is_adopted_and_told() -> None:
    one = synced_long()
    (fact,) = one.handle(reading("9899.99", holding("2"), ts_ms=LATER))
    assert isinstance(fact, Reconciled)
    assert fact.differences == ("wallet ours 9999.99 venue 9899.99",)
    assert one.state.cash.balance == Decimal("9899.99")
    assert one.state.equity == pytest.approx(9899.99)
    assert one.state.breaker.state == "active"


def test_a_deposit_is_no_profit_and_raises_the_floors() -> None:
    one = synced_long()
    one.handle(Quote(LATER - 1, "BTCUSDT", 99.0, 101.0))
    one.handle(reading("19999.99", holding("2"), ts_ms=LATER))
    assert one.state.breaker.peak_equity == pytest.approx(20_000.0, abs=0.02)
    assert one.state.breaker.day_start_equity == pytest.approx(20_000.0, abs=0.02)


def test_executions_that_came_in_another_order_leave_the_venues_entry_price_and_no_difference() -> None:
    """At the venue: 1 of 2 sold at 110, then 1 bought at 109. Here the purchase came first."""
    one = remote({0: Target(3.0)})
    one.handle(reading("10000", holding("2"), first=True))
    (order,) = orders(one.handle(closed(bar(0))))
    sale = Fill(T0, "BTCUSDT", "Sell", Decimal(1), Decimal(110), Decimal(0), "v", "x", cause="take_profit")
    for filled in (fill_of(order, "109"), Filled(sale)):
        one.handle(filled)
    sym, equity = one.state.symbols["BTCUSDT"], one.state.equity
    assert one.state.cash.balance == Decimal("10006.99")
    effects = one.handle(reading("10009.99", holding("2", "104.5"), ts_ms=LATER))
    assert not facts(effects)
    assert (one.state.cash.balance, one.state.cash.adjusted) == (Decimal("10009.99"), 0)
    assert (sym.position.entry_price, sym.view.entry_price) == (Decimal("104.5"), 104.5)
    assert one.state.equity == one.state.breaker.peak_equity == pytest.approx(equity, abs=1e-6)


def test_an_entry_price_that_does_not_explain_the_wallet_is_left() -> None:
    one = remote({})
    one.handle(reading("10000", holding("2"), first=True))
    (fact,) = facts(one.handle(reading("9990", holding("2", "104.5"), ts_ms=LATER)))
    assert fact.adjusted_quote == -10
    assert one.state.symbols["BTCUSDT"].position.entry_price == 100


def test_money_that_is_gone_counts_as_a_loss() -> None:
    one = synced_long()
    one.handle(Quote(LATER - 1, "BTCUSDT", 99.0, 101.0))
    assert "halted drawdown" in moves(one.handle(reading("7000", holding("2"), ts_ms=LATER)))


@pytest.mark.fault(95)
@pytest.mark.parametrize(
    ("held", "says", "left"),
    [((holding("1.5"),), "1.5", "1.5"), ((), "0", "0"), ((holding("-2"),), "-2", "0")],
)
def test_a_position_of_ours_that_somebody_took_away_halts(
    held: tuple[Holding, ...], says: str, left: str
) -> None:
    one = synced_long()
    effects = one.handle(reading("9999.99", *held, ts_ms=LATER))
    assert moves(effects) == [f"halted reconcile: BTCUSDT ours 2 venue {says}"]
    assert facts(effects)[0].differences[0] == f"BTCUSDT ours 2 venue {says}"
    sym = one.state.symbols["BTCUSDT"]
    assert sym.position.qty == Decimal(left)
    assert sym.foreign_qty == Decimal(says) - Decimal(left)
    assert list(one.handle(reading("9999.99", *held, ts_ms=LATER + 1))) == []


def test_a_fill_younger_than_the_reading_is_no_difference() -> None:
    one = remote({0: Target(2.0)})
    one.handle(reading(first=True))
    (order,) = orders(one.handle(closed(bar(0))))
    began_ms = order.intent.decided_ms
    one.handle(fill_of(order))
    one.handle(reading("10000", ts_ms=began_ms))
    assert one.state.breaker.state == "active"
    assert one.state.symbols["BTCUSDT"].position.qty == 2
    assert one.state.cash.balance == Decimal("9999.99")
    assert one.state.reconciled == {"raced": 1}


def limit_order() -> tuple[Engine, str]:
    one = remote({0: Target(2.0, limit_price=99.0)})
    one.handle(reading(first=True))
    (order,) = orders(one.handle(closed(bar(0))))
    return one, order.order_id


def test_a_live_order_the_venue_does_not_list_is_told_kept_and_asked_about() -> None:
    one, order_id = limit_order()
    one.handle(OrderAccepted(T0, order_id))
    effects = one.handle(reading(ts_ms=LATER))
    assert facts(effects)[0].differences == (f"order {order_id} ours Buy 2 venue none",)
    assert cancels(effects) == [order_id]
    assert order_id in one.state.orders.live
    assert one.state.breaker.state == "active"


@pytest.mark.parametrize("word", ["sent", "unknown", "younger", "in_flight"])
def test_an_order_whose_fate_is_open_is_no_difference(word: str) -> None:
    one, order_id = limit_order()
    ts_ms = LATER
    if word == "unknown":
        one.handle(OrderUnknown(LATER, order_id))
    elif word == "in_flight":  # sent, then read, then taken by the venue
        one.handle(OrderAccepted(LATER + 30, order_id))
    elif word == "younger":
        one.handle(OrderAccepted(T0, order_id))
        ts_ms = bar(0).close_ms
    assert list(one.handle(reading(ts_ms=ts_ms))) == []
    assert order_id in one.state.orders.live


def test_an_order_that_ended_while_the_account_was_read_is_not_revived() -> None:
    one, order_id = limit_order()
    one.handle(OrderAccepted(T0, order_id))
    one.handle(OrderCancelled(LATER + 5, order_id, "CancelByUser"))
    assert list(one.handle(reading(orders=(working(order_id),), ts_ms=LATER))) == []
    assert not one.state.orders.live


@pytest.mark.fault(71)
def test_a_working_order_under_a_name_of_this_run_that_was_never_sent_halts() -> None:
    one = synced_long()
    effects = one.handle(reading("9999.99", holding("2"), orders=(working("t-1-0"),), ts_ms=LATER))
    assert moves(effects) == ["halted reconcile: another bot sent t-1-0"]
    assert not one.state.orders.live
    assert not cancels(effects)


def test_an_order_of_ours_that_we_did_not_know_of_is_taken_over_and_told() -> None:
    one = synced_long()
    effects = one.handle(reading("9999.99", holding("2"), orders=(working("t9-1-0"),), ts_ms=LATER))
    assert facts(effects)[0].differences == ("order t9-1-0 ours none venue Buy 2",)
    assert one.state.orders.resting_qty("BTCUSDT") == (Decimal(2), Decimal(0))


def test_differences_of_many_readings_leave_one_cause() -> None:
    one = synced_long()
    for step in range(1, 30):
        one.handle(reading("9999.99", holding(f"{1.9 - step / 100:.2f}"), ts_ms=LATER + step))
    assert one.state.breaker.halting == ("reconcile: BTCUSDT ours 2 venue 1.89",)


@pytest.mark.fault(41)
def test_foreign_orders_are_counted_and_left_alone() -> None:
    one = remote({})
    effects = one.handle(Synced(T0, AccountSnapshot(Decimal(1), foreign_orders=3), first=True))
    assert one.state.foreign_orders == 3
    assert not cancels(effects)


def test_bars_before_the_adoption_are_not_counted_as_held() -> None:
    one = remote({})
    one.handle(reading("10000", holding("2"), ts_ms=bar(3).close_ms, first=True))
    for index in range(6):
        one.handle(late(bar(index)))
    assert one.state.symbols["BTCUSDT"].view.bars_held == 2


def test_a_reading_for_an_engine_that_waits_for_none_is_adopted_too() -> None:
    one = engine({})
    one.handle(reading("123", first=True))
    assert one.state.cash.balance == 123


def test_a_refusal_after_an_acceptance_ends_the_order() -> None:
    one, order_id = limit_order()
    one.handle(OrderAccepted(T0, order_id))
    one.handle(OrderRejected(T0, order_id, 110007, "balance"))
    assert not one.state.orders.live


def test_the_same_refusal_told_twice_counts_once() -> None:
    one, order_id = limit_order()
    for _ in range(2):
        one.handle(OrderRejected(T0, order_id, 110007, "balance"))
    assert one.state.breaker.consecutive_rejects == 1
