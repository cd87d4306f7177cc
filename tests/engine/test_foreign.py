"""Positions that are not ours: named, counted, never managed; what a known account books and compares."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.account import AccountSnapshot
from bot.domain.ledger import Fill
from bot.domain.messages import (
    Filled,
    FundingPaid,
    InstrumentChanged,
    Line,
    LinkUp,
    OrderAccepted,
    OrderCancelled,
    OrderResized,
    ProcessStarted,
    Quote,
    Reconciled,
    StopsChanged,
    Synced,
    Transferred,
)
from bot.domain.netting import split
from bot.engine.core import Assignment, Engine
from bot.engine.exposure import risk_view
from bot.engine.state import SymbolState
from bot.risk.limits import Limits
from bot.strategy.signal import Target
from tests.engine.scripted import (
    Script,
    cancels,
    fill_of,
    holding,
    limit_engine,
    long_at,
    moves,
    orders,
    reading,
    remote,
    stops,
    stranger,
    working,
)
from tests.helpers import T0, bar, closed, instrument

LATER = T0 + 10 * 300_000
WISHES = dict.fromkeys(range(9), Target(2.0))
D = Decimal


def facts(effects: object) -> list[str]:
    return [
        words
        for each in effects  # type: ignore[attr-defined]
        if isinstance(each, Reconciled)
        for words in each.differences
    ]


def first(one: Engine, *held: object, **changes: object) -> Engine:
    one.handle(reading("10000", *held, first=True, **changes))  # type: ignore[arg-type]
    return one


def btc(one: Engine) -> SymbolState:
    return one.state.symbols["BTCUSDT"]


def parts(one: Engine) -> tuple[Decimal, Decimal]:
    return btc(one).position.qty, btc(one).foreign_qty


def executed(side: str, qty: str, ts_ms: int, exec_id: str, order_id: str = "theirs") -> Filled:
    made = msgspec.structs.replace(stranger(side, qty).fill, ts_ms=ts_ms, exec_id=exec_id, order_id=order_id)
    return Filled(made)


# The rule


@given(
    st.lists(st.tuples(st.booleans(), st.integers(-9, 9).filter(bool)), max_size=30),
)
def test_the_parts_never_stand_on_opposite_sides_and_their_sum_is_the_venues(
    executions: list[tuple[bool, int]],
) -> None:
    ours = theirs = venue = D(0)
    for is_ours, qty in executions:
        signed = D(qty)
        venue += signed
        if is_ours:
            mine, other = split(signed, ours, theirs)
        else:
            other, mine = split(signed, theirs, ours)
        ours, theirs = ours + mine, theirs + other
        assert ours + theirs == venue
        assert ours * theirs >= 0


# The first reading of an account


@pytest.mark.fault(41)
def test_a_position_made_by_hand_before_the_start_is_named_and_left_alone() -> None:
    one = remote(WISHES, protective_stop_frac=D("0.1"))
    effects = one.handle(reading("10000", holding("0.5", own="0"), first=True))
    assert facts(effects) == ["BTCUSDT foreign 0.5: not ours, no entries in BTCUSDT"]
    assert parts(one) == (0, D("0.5"))
    for index in range(3):
        effects += one.handle(closed(bar(index)))  # type: ignore[operator]
        effects += one.handle(StopsChanged(T0, "BTCUSDT", None, None))  # type: ignore[operator]
    assert not orders(effects)
    assert not stops(effects)
    assert one.state.refusals == {"foreign_position": 3}
    assert one.state.breaker.state == "active"


def test_when_a_foreign_position_is_gone_its_symbol_trades_again() -> None:
    one = first(remote(WISHES), holding("0.5", own="0"))
    effects = one.handle(executed("Sell", "0.5", T0 + 1, "x1"))
    assert facts(effects) == ["BTCUSDT foreign 0: entries are allowed again"]
    assert orders(one.handle(closed(bar(0))))


@pytest.mark.fault(41)
def test_a_foreign_position_counts_in_the_limits_of_the_other_symbols() -> None:
    one = first(remote({}, limits=Limits(max_total_notional_quote=D(1_000))), holding("9", own="0"))
    at = risk_view(one.state, Limits(), btc(one), 0)
    assert at.exposure.worst_notional_quote == 900
    assert at.exposure.worst_qty("Buy", D(1)) == 10


def test_a_foreign_position_in_one_symbol_counts_against_the_next_entry_in_another() -> None:
    pair = [Assignment(instrument(s), 300_000, Script(WISHES), 12.0) for s in ("BTCUSDT", "ETHUSDT")]
    limits = Limits(max_total_notional_quote=D(1_000))
    one = Engine(pair, D(10_000), limits, name="t", awaits_account=True)
    one.handle(reading("10000", holding("9", own="0", symbol="ETHUSDT"), first=True))
    assert not orders(one.handle(closed(bar(0))))
    assert one.state.refusals == {"total_notional": 1}


def test_the_part_that_our_orders_opened_is_ours_and_only_the_rest_foreign() -> None:
    one = first(remote({}), holding("2.5", own="2"))
    assert parts(one) == (2, D("0.5"))
    assert btc(one).position.entry_price == 100


def test_with_adopt_all_of_the_position_becomes_ours() -> None:
    one = first(remote({}, adopts_positions=True), holding("2.5", own="2"))
    assert parts(one) == (D("2.5"), 0)


# While trading


def long(**changes: object) -> Engine:
    one = first(remote({0: Target(2.0)}, protective_stop_frac=D("0.1"), **changes))
    long_at(one)
    return one


@pytest.mark.fault(41)
def test_a_trade_by_hand_beside_our_position_holds_back_its_symbol_and_halts_nothing() -> None:
    one = long()
    effects = one.handle(executed("Buy", "1", T0 + 1, "x1"))
    assert facts(effects) == ["BTCUSDT foreign 1: not ours, no entries in BTCUSDT"]
    assert moves(effects) == []
    assert parts(one) == (2, 1)


@pytest.mark.fault(95)
def test_a_trade_by_hand_against_our_position_closes_ours_and_halts() -> None:
    one = long()
    assert moves(one.handle(executed("Sell", "3", T0 + 1, "x1"))) == ["halted foreign: BTCUSDT Sell 3"]
    assert parts(one) == (0, -1)


def test_our_exit_closes_our_part_and_takes_its_stop_away_from_the_rest() -> None:
    one = long()
    one.handle(StopsChanged(T0, "BTCUSDT", D(90), None))
    one.handle(executed("Buy", "1", T0 + 1, "x1"))
    one.handle(closed(bar(1)))
    (exit_,) = orders(one._trader.close(btc(one)))
    assert (exit_.intent.qty, exit_.intent.reduce_only) == (2, True)
    effects = one.handle(fill_of(exit_, "101"))
    assert parts(one) == (0, 1)
    assert [(each.stop_loss, each.take_profit) for each in stops(effects)] == [(None, None)]
    assert stops(one.handle(reading("10000", holding("1", stop="90"), ts_ms=LATER)))  # lost: asked again
    one.handle(StopsChanged(LATER, "BTCUSDT", None, None))
    assert not stops(one.handle(reading("10000", holding("1"), ts_ms=LATER + 1)))


def test_a_stop_that_somebody_sets_on_his_own_position_stays() -> None:
    one = first(remote({}, protective_stop_frac=D("0.1")), holding("1", own="0", stop="90"))
    assert not stops(one.handle(StopsChanged(T0, "BTCUSDT", D(95), None)))
    assert not stops(one.handle(reading("10000", holding("1", own="0", stop="95"), ts_ms=LATER)))


def test_an_entry_on_its_way_meets_a_foreign_position_and_opens_what_is_left() -> None:
    one = first(remote({0: Target(-2.0)}))
    (entry,) = orders(one.handle(closed(bar(0))))
    one.handle(executed("Buy", "0.5", T0 + 1, "x1"))
    one.handle(fill_of(entry))
    assert parts(one) == (D("-1.5"), 0)


def test_a_resting_entry_is_taken_back_when_somebody_trades_its_symbol() -> None:
    one = first(remote({0: Target(2.0, limit_price=99.0)}))
    (entry,) = orders(one.handle(closed(bar(0))))
    assert cancels(one.handle(executed("Buy", "1", T0 + 1, "x1"))) == [entry.order_id]


def test_a_difference_in_a_flat_symbol_is_foreign_and_halts_nothing() -> None:
    one = first(remote(WISHES))
    effects = one.handle(reading("10000", holding("1.5"), ts_ms=LATER))
    assert facts(effects) == ["BTCUSDT foreign 1.5: not ours, no entries in BTCUSDT"]
    assert one.state.breaker.state == "active"
    assert list(one.handle(reading("10000", holding("1.5"), ts_ms=LATER + 1))) == []


def test_funding_of_a_foreign_part_is_no_result_of_ours() -> None:
    one = long()
    one.handle(executed("Buy", "2", T0 + 1, "x1"))
    one.handle(FundingPaid(LATER, "BTCUSDT", D("-3")))
    assert (one.state.cash.funding, one.state.cash.adjusted) == (D("-1.5"), D("-1.5"))


def test_a_contract_that_ends_is_named_with_what_it_holds() -> None:
    one = long()
    ended = msgspec.structs.replace(btc(one).instrument, status="Closed")
    assert facts(one.handle(InstrumentChanged(LATER, ended))) == ["BTCUSDT is Closed: no entries; it holds 2"]
    assert facts(one.handle(InstrumentChanged(LATER, ended))) == []


def test_a_start_names_what_nobody_will_trade() -> None:
    one = remote({})
    sym = btc(one)
    sym.instrument = msgspec.structs.replace(sym.instrument, status="Closed")
    effects = one.handle(reading("10000", holding(), holding("900", "1", symbol="XRPUSDT"), first=True))
    assert facts(effects) == [
        "XRPUSDT 900: not traded here, counted as risk",
        "BTCUSDT is Closed: no entries; it holds 2",
    ]


# Executions that come after the position


def entered() -> tuple[Engine, object]:
    one = first(remote({0: Target(2.0)}))
    (entry,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(T0, entry.order_id))
    return one, entry


def test_a_position_that_a_live_order_explains_waits_for_its_executions() -> None:
    one, entry = entered()
    for step in range(3):  # its fee has left the wallet already
        assert list(one.handle(reading("9999.99", holding("2"), ts_ms=LATER + step))) == []
    assert parts(one) == (0, 0)
    one.handle(fill_of(entry))  # type: ignore[arg-type]
    assert parts(one) == (2, 0)
    assert one.state.cash.balance == D("9999.99")
    assert list(one.handle(reading("9999.99", holding("2"), ts_ms=LATER + 9))) == []
    assert one.state.breaker.state == "active"


@pytest.mark.fault(33)
def test_executions_of_an_order_that_was_given_up_are_ours_and_not_counted_twice() -> None:
    one, entry = entered()
    one.handle(OrderCancelled(T0, entry.order_id, "NeverExisted"))  # type: ignore[attr-defined]
    one.handle(reading("9999.99", holding("2"), ts_ms=LATER))
    assert parts(one) == (0, 2)
    one.handle(fill_of(entry))  # type: ignore[arg-type]
    assert parts(one) == (2, 0)
    assert one.state.breaker.state == "active"


def test_a_foreign_execution_that_a_reading_showed_already_counts_once() -> None:
    one = first(remote({}))
    one.handle(reading("10000", holding("1.5"), ts_ms=LATER))
    one.handle(executed("Buy", "1.5", LATER - 1, "x1"))
    assert parts(one) == (0, D("1.5"))
    one.handle(executed("Buy", "1", LATER + 1, "x2"))
    assert parts(one) == (0, D("2.5"))


def stopped(one: Engine, ts_ms: int) -> Filled:
    made = Fill(ts_ms, "BTCUSDT", "Sell", D(2), D(90), D("0.02"), "s", "stop1", cause="stop_loss")
    return Filled(made)


def test_a_stop_whose_execution_comes_late_is_waited_for_and_booked_once() -> None:
    one = long()
    one.handle(StopsChanged(T0, "BTCUSDT", D(90), None))
    assert list(one.handle(reading("9979.97", ts_ms=LATER))) == []
    assert parts(one) == (2, 0)
    one.handle(stopped(one, LATER - 1))
    assert parts(one) == (0, 0)
    assert list(one.handle(reading("9979.97", ts_ms=LATER + 1))) == []
    assert one.state.breaker.state == "active"


def test_what_a_reading_took_from_us_is_not_taken_again_by_its_execution() -> None:
    one = long()
    one.handle(StopsChanged(T0, "BTCUSDT", D(90), None))
    for ts_ms in (LATER, LATER + 29_999):
        assert not moves(one.handle(reading("9979.97", ts_ms=ts_ms)))
    gone = one.handle(reading("9979.97", ts_ms=LATER + 30_000))
    assert moves(gone) == ["halted reconcile: BTCUSDT ours 2 venue 0"]
    one.handle(stopped(one, LATER - 1))
    assert parts(one) == (0, 0)
    assert one.state.cash.balance == D("9979.97")


@pytest.mark.fault(33)
def test_an_order_that_shows_more_than_its_executions_waits_for_them() -> None:
    one = first(remote({0: Target(2.0, limit_price=99.0)}))
    (entry,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderAccepted(T0, entry.order_id))
    half = working(entry.order_id, filled="0.5")
    assert list(one.handle(reading("10000", holding("0.5"), orders=(half,), ts_ms=LATER))) == []
    for n, qty in enumerate(("0.5", "1.5")):
        one.handle(fill_of(entry, "99", qty, exec_id=f"e{n}"))
    assert parts(one) == (2, 0)


@pytest.mark.fault(29)
def test_an_entry_that_comes_back_after_its_end_is_counted_cancelled_and_named() -> None:
    one = first(remote({0: Target(2.0, limit_price=99.0)}))
    (entry,) = orders(one.handle(closed(bar(0))))
    one.handle(OrderCancelled(T0, entry.order_id, "NeverExisted"))
    effects = one.handle(reading(orders=(working(entry.order_id),), ts_ms=LATER))
    assert facts(effects) == [f"order {entry.order_id} ours none venue Buy 2"]
    assert cancels(effects) == [entry.order_id]
    assert one.state.orders.resting_qty("BTCUSDT") == (2, 0)


# A known account


def restarted(one: Engine) -> Engine:
    """The same engine in its next process."""
    one.handle(ProcessStarted(one.state.now_ms, 2))
    for line in (Line.START, Line.FEED):
        one.handle(LinkUp(one.state.now_ms, line))
    return one


def test_what_happened_while_we_were_away_is_booked_once_and_then_compared() -> None:
    one = restarted(long())
    seen = one.state.symbols["BTCUSDT"].position
    stop = Fill(LATER, "BTCUSDT", "Sell", D(2), D(90), D("0.02"), "s", "stop1", cause="stop_loss")
    for _ in range(2):
        one.handle(FundingPaid(LATER - 1, "BTCUSDT", D("-0.5")))
        one.handle(Filled(stop))
    assert seen.qty == 0
    cash = one.state.cash
    assert (cash.realised, cash.fees, cash.funding) == (D(-20), D("0.03"), D("-0.5"))
    effects = one.handle(reading("9979.47", ts_ms=LATER + 5, first=True))
    assert facts(effects) == []
    assert moves(effects) == ["active "]
    assert (cash.balance, cash.adjusted) == (D("9979.47"), 0)
    assert one.state.cash.initial == 10_000


def test_a_known_account_is_not_adopted_anew() -> None:
    one = restarted(long())
    effects = one.handle(reading("9999.99", holding("2.5", own="0"), ts_ms=LATER, first=True))
    assert facts(effects) == ["BTCUSDT foreign 0.5: not ours, no entries in BTCUSDT"]
    assert parts(one) == (2, D("0.5"))


def test_nothing_is_entered_before_the_first_reading_of_the_next_process() -> None:
    one = restarted(first(remote(WISHES)))
    assert not orders(one.handle(closed(bar(0))))
    one.handle(reading("10000", ts_ms=bar(0).close_ms, first=True))
    assert orders(one.handle(closed(bar(1))))


def test_what_the_next_process_must_know() -> None:
    one = remote({0: Target(2.0)})
    assert one.state.known_account() is None
    one.handle(Synced(T0, AccountSnapshot(D(10_000), uid="7"), first=True))
    long_at(one)
    one.handle(executed("Buy", "1", T0 + 1, "x1"))
    known = one.state.known_account()
    assert known is not None
    assert (known.read_ms, known.wallet_quote, known.uid) == (T0, 10_000, "7")
    assert known.positions == {"BTCUSDT": D(3)}
    assert known.executions[-1] == "x1"


# Money


def with_levels() -> Engine:
    one = first(remote({}))
    one.handle(Quote(T0, "BTCUSDT", 99.0, 101.0))
    return one


@pytest.mark.parametrize("amount", ["-3000", "5000"])
def test_a_transfer_is_no_loss_and_no_profit(amount: str) -> None:
    one = with_levels()
    moved = Transferred(LATER, D(amount), "t1", "TRANSFER_OUT")
    effects = one.handle(moved)
    assert facts(effects) == [f"TRANSFER_OUT {D(amount):+f}"]
    assert not one.handle(moved)
    after = 10_000.0 + float(amount)
    assert not moves(one.handle(reading(str(D(10_000) + D(amount)), ts_ms=LATER + 1)))
    breaker = one.state.breaker
    assert (one.state.equity, breaker.peak_equity, breaker.day_start_equity) == (after, after, after)


def test_a_loss_before_a_transfer_is_the_same_fraction_after_it() -> None:
    one = with_levels()
    one.handle(reading("9600", ts_ms=LATER))
    one.handle(Transferred(LATER + 1, D(-4_800), "t1"))
    breaker = one.state.breaker
    assert breaker.peak_equity == pytest.approx(5_000.0)
    assert breaker.state == "active"


def test_another_account_begins_anew_and_says_so() -> None:
    one = with_levels()
    why = "account 8, was 7"
    effects = one.handle(Synced(LATER, AccountSnapshot(D(5_000), uid="8", replaced=why), first=True))
    assert facts(effects) == ["account 8, was 7; levels of loss begin anew"]
    assert not moves(effects)
    assert (one.state.cash.initial, one.state.breaker.peak_equity) == (5_000, 5_000.0)


def test_an_order_that_somebody_made_larger_counts_in_the_limits_and_is_taken_back() -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0)})
    effects = one.handle(OrderResized(LATER, order.order_id, D(5)))
    assert cancels(effects) == [order.order_id]
    assert facts(effects) == [f"BTCUSDT order {order.order_id} was made larger, 5: taken back"]
    assert one.state.orders.resting_qty("BTCUSDT") == (D(5), D(0))
    one.handle(fill_of(order, "99", "5"))
    assert (one.state.symbols["BTCUSDT"].position.qty, one.state.orders.live) == (D(5), {})


def test_an_order_that_somebody_made_smaller_stays() -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0)})
    assert one.handle(OrderResized(LATER, order.order_id, D(1))) == ()
    assert one.state.orders.resting_qty("BTCUSDT") == (D(1), D(0))
