"""What only happens live: closes that come late, strangers' executions, odd quotes, other prices."""

from decimal import Decimal
from math import inf, nan

import msgspec
import pytest

from bot.domain.messages import (
    BarsClosed,
    Candle,
    Command,
    Filled,
    FundingPaid,
    MarkPrice,
    OrderCancelled,
    OrderRejected,
    Quote,
    RejectCause,
    StopsChanged,
)
from bot.engine.core import Assignment, Engine
from bot.risk.limits import Limits
from bot.strategy.signal import Target, View
from tests.engine.scripted import (
    Script,
    engine,
    fill_of,
    late,
    limit_engine,
    long_at,
    moves,
    orders,
    reading,
    remote,
    stranger,
    working,
)
from tests.helpers import T0, bar, closed, instrument, unlimited

WISHES = dict.fromkeys(range(9), Target(2.0))


def test_a_late_close_is_seen_by_the_strategy_and_not_traded_on() -> None:
    one = engine(WISHES)
    assert not one.handle(late(bar(0)))
    sym = one.state.symbols["BTCUSDT"]
    assert sym.view.bar.start_ms == T0
    assert sym.flat_bars == {"catching_up": 1}
    assert orders(one.handle(closed(bar(1))))


def test_a_late_close_does_not_judge_the_account() -> None:
    one = engine({0: Target(90.0)})
    long_at(one)
    assert not one.handle(late(bar(1, close=50.0)))
    assert moves(one.handle(closed(bar(2, close=50.0)))) == ["halted drawdown"]


def test_a_symbol_late_for_its_close_moves_its_own_slot_alone() -> None:
    seen: list[tuple[str, int]] = []

    class Note:
        def on_bar(self, view: View) -> Target | None:
            seen.append((view.symbol, view.bar.start_ms))
            return None

    pair = [Assignment(instrument(s), 300_000, Note(), 12.0) for s in ("BTCUSDT", "ETHUSDT")]
    one = Engine(pair, Decimal(10_000), Limits())
    one.handle(closed(bar(0), bar(0, symbol="ETHUSDT")))
    one.handle(closed(bar(1)))
    before = one.state.symbols["BTCUSDT"].view.bars_held, one.state.symbols["BTCUSDT"].mark
    one.handle(late(bar(1, 70.0, symbol="ETHUSDT")))
    assert seen == [("BTCUSDT", T0), ("ETHUSDT", T0), ("BTCUSDT", T0 + 300_000), ("ETHUSDT", T0 + 300_000)]
    assert (one.state.symbols["BTCUSDT"].view.bars_held, one.state.symbols["BTCUSDT"].mark) == before
    assert one.state.symbols["ETHUSDT"].mark == 70.0


def test_a_bar_that_a_feed_repeats_is_used_once() -> None:
    one = engine({})
    first = closed(bar(0))
    for _ in range(3):
        one.handle(BarsClosed(first.close_ms, 300_000, first.bars, seen_ms=first.close_ms + 7))
        one.handle(late(bar(0)))
    assert one.state.symbols["BTCUSDT"].strategy.seen == 1  # type: ignore[attr-defined]
    assert one.state.refusals == {"repeated_bar": 5}


@pytest.mark.fault(59)
@pytest.mark.parametrize(("seen_after_ms", "entered"), [(1_500, True), (15_000, True), (15_001, False)])
def test_the_age_of_a_signal_counts_from_the_close_to_when_it_was_seen(
    seen_after_ms: int, entered: bool
) -> None:
    one = engine(WISHES)
    first = closed(bar(0))
    seen = BarsClosed(first.close_ms, 300_000, first.bars, seen_ms=first.close_ms + seen_after_ms)
    assert bool(orders(one.handle(seen))) is entered
    assert one.state.now_ms == first.close_ms + seen_after_ms


# Executions that are not ours


@pytest.mark.fault(51, 95)
@pytest.mark.parametrize("cause", ["order", "liquidation", "adl"])
def test_a_position_somebody_else_moved_is_booked_and_halts(cause: str) -> None:
    one = engine({0: Target(2.0), 1: Target(2.0)})
    long_at(one)
    kind = "foreign" if cause == "order" else cause
    assert moves(one.handle(stranger("Sell", "2", cause))) == [f"halted {kind}: BTCUSDT Sell 2"]
    assert one.state.symbols["BTCUSDT"].position.qty == 0
    assert not orders(one.handle(closed(bar(1))))  # a position closed by hand is not opened again


@pytest.mark.parametrize("cause", ["stop_loss", "take_profit", "settle"])
def test_our_own_protective_orders_are_no_strangers(cause: str) -> None:
    one = engine({0: Target(2.0)})
    long_at(one)
    one.handle(stranger("Sell", "2", cause))
    assert one.state.breaker.state == "active"


def test_liquidations_do_not_stop_a_run_without_limits() -> None:
    one = engine({0: Target(2.0)}, unlimited())
    long_at(one)
    assert not one.handle(stranger("Sell", "2", "liquidation"))


def test_a_fill_that_overtook_the_end_of_its_order_is_ours() -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0)})
    one.handle(OrderCancelled(T0, order.order_id, "CancelByUser"))
    one.handle(fill_of(order, "99", "0.5"))
    assert one.state.breaker.state == "active"
    assert one.state.symbols["BTCUSDT"].position.qty == Decimal("0.5")


def test_a_late_fill_of_an_adopted_order_is_ours() -> None:
    one = remote({})
    one.handle(reading(orders=(working("t0-5-0"),), first=True))
    one.handle(OrderCancelled(T0, "t0-5-0", "CancelByUser"))
    one.handle(Filled(msgspec.structs.replace(stranger().fill, order_id="t0-5-0")))
    assert one.state.breaker.state == "active"


@pytest.mark.fault(71)
def test_an_execution_under_a_name_of_this_run_that_was_never_sent_is_of_another_bot() -> None:
    one = engine({})
    fill = msgspec.structs.replace(stranger().fill, order_id="t-3-0")
    assert moves(one.handle(Filled(fill))) == ["halted foreign: BTCUSDT Sell 1"]


def test_an_execution_in_a_symbol_not_traded_is_counted_and_kills_nothing() -> None:
    one = engine({})
    assert not one.handle(stranger("Buy", "5", symbol="XRPUSDT"))
    assert one.state.reconciled == {"foreign_fill": 1}
    assert one.state.breaker.state == "active"
    assert not one.handle(FundingPaid(T0, "XRPUSDT", Decimal(1)))
    assert not one.handle(StopsChanged(T0, "XRPUSDT", None, None))


# Quotes


@pytest.mark.parametrize(
    ("bid", "ask"), [(0.0, 100.0), (-1.0, 100.0), (101.0, 99.0), (-inf, 100.0), (nan, 100.0), (99.0, inf)]
)
def test_a_quote_without_a_middle_moves_no_mark(bid: float, ask: float) -> None:
    one = engine({0: Target(2.0)})
    one.handle(closed(bar(0)))
    heard_ms = one.state.symbols["BTCUSDT"].last_data_ms
    one.handle(Quote(heard_ms + 60_000, "BTCUSDT", bid, ask))
    sym = one.state.symbols["BTCUSDT"]
    assert (sym.mark, sym.last_data_ms, sym.quote_ms) == (100.0, heard_ms, 0)
    assert sum(one.state.refusals.values()) == 1


def test_a_crossed_quote_is_no_reason_to_halt_a_position() -> None:
    one = engine({0: Target(2.0)})
    long_at(one)
    assert not one.handle(Quote(T0, "BTCUSDT", 101.0, 99.0))
    assert one.state.breaker.state == "active"


# Another market's candles


def other_market(wishes: dict[int, Target]) -> Engine:
    one = remote(wishes, venue_prices=True)
    one.handle(reading(first=True))
    return one


def test_only_the_fraction_of_equity_crosses_to_another_market() -> None:
    one = other_market({0: Target(2.0, stop_loss=90.0, take_profit=120.0)})
    one.handle(Quote(bar(0).close_ms, "BTCUSDT", 79.9, 80.1))
    (order,) = orders(one.handle(closed(bar(0))))
    assert order.intent.qty == Decimal("2.5")  # 2 at 100 are worth as much as 2.5 at 80
    assert order.intent.ref_price == 80
    assert (order.intent.stop_loss, order.intent.take_profit) == (Decimal(72), Decimal(96))


def test_candles_of_another_market_move_no_mark_and_are_no_sign_of_life() -> None:
    one = other_market({0: Target(2.0)})
    one.handle(MarkPrice(T0, "BTCUSDT", 80.0))
    one.handle(Candle(T0 + 1, "BTCUSDT", 300_000, T0, 100.0, 100.0, 100.0, 100.0, 1.0))
    assert not orders(one.handle(closed(bar(0))))
    assert one.state.symbols["BTCUSDT"].mark == 80.0
    assert one.state.refusals == {"stale_data": 1}


def test_without_a_price_of_the_venue_nothing_is_entered() -> None:
    one = other_market({0: Target(2.0)})
    assert not one.handle(closed(bar(0)))
    assert one.state.refusals == {"no_mark": 1}


def test_a_strategy_sees_its_position_in_the_prices_it_knows() -> None:
    seen: list[tuple[float, float]] = []

    class Note(Script):
        def on_bar(self, view: View) -> Target | None:
            seen.append((view.position, view.entry_price))
            return super().on_bar(view)

    one = Engine(
        [Assignment(instrument(), 300_000, Note({0: Target(2.0)}), 12.0)],
        Decimal(10_000),
        Limits(),
        name="t",
        venue_prices=True,
    )
    one.handle(Quote(bar(0).close_ms, "BTCUSDT", 80.0, 80.0))
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(fill_of(order, "80"))
    one.handle(closed(bar(1)))
    assert seen[1] == pytest.approx((2.0, 100.0))


# Nothing grows


def test_nothing_in_the_state_grows_with_the_run() -> None:
    class Babbler:
        def __init__(self) -> None:
            self.bars = 0

        def on_bar(self, view: View) -> Target | None:
            self.bars += 1
            return Target(0.0, f"reason {self.bars}")

    one = Engine([Assignment(instrument(), 300_000, Babbler(), 12.0)], Decimal(10_000), Limits(), name="t")
    for index in range(5_000):
        one.handle(closed(bar(index)))
        one.handle(stranger("Buy" if index % 2 else "Sell", f"{index + 1}"))
        one.handle(OrderRejected(T0, f"x{index}", 1, "no"))
        one.handle(Command(T0, "halt"))
    state = one.state
    assert len(state.breaker.halting) <= 6
    assert len(state.orders.live) <= 1
    assert len(state.orders.ended_ms) <= 4096


def test_reasons_that_never_end_are_counted_as_others() -> None:
    wishes = {index: Target(0.0, f"reason {index}") for index in range(100)}
    one = engine(wishes)
    for index in range(100):
        one.handle(closed(bar(index)))
    flat = one.state.symbols["BTCUSDT"].flat_bars
    assert (len(flat), flat["other"], sum(flat.values())) == (65, 36, 100)


def test_what_fills_while_getting_flat_is_closed_at_once() -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0)})
    one.handle(Command(T0, "flatten"))
    (exit_,) = orders(one.handle(fill_of(order, "99", "0.5")))  # the cancel lost the race
    assert (exit_.intent.side, exit_.intent.qty, exit_.intent.reduce_only) == ("Sell", Decimal("0.5"), True)
    assert not orders(one.handle(fill_of(order, "99", "0.7", "x2")))  # one exit at a time
    (rest,) = orders(one.handle(fill_of(exit_, "98")))
    assert rest.intent.qty == Decimal("0.7")


def test_orders_that_never_left_are_no_refusals_of_the_venue() -> None:
    one = engine(WISHES)
    for index in range(8):
        (order,) = orders(one.handle(closed(bar(index))))
        refused = OrderRejected(T0, order.order_id, 0, "its turn came too late", RejectCause.NOT_SENT)
        one.handle(refused)
    assert one.state.breaker.state == "active"
