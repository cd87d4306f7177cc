"""Limit and market orders behind quotes and trades: executions, ends, refusals, amendments."""

import msgspec
import pytest

from bot.domain.market import RiskTier
from bot.exchange import QuoteExchange
from bot.exchange import exchange as live
from bot.exchange.events import Executed, OrderChanged, PositionChanged, WalletChanged
from bot.exchange.orders import NewOrder
from bot.exchange.quotes.depth import Depth
from bot.exchange.rulebook.price_band import PriceBand
from tests.exchange.quotes.desk import D, QuoteDesk, holding, opened, rules


def code(refusal: object) -> int:
    return 0 if refusal is None else refusal.code  # type: ignore[attr-defined]


def test_a_market_order_takes_the_levels_each_at_its_price() -> None:
    desk = opened()
    assert desk.buy("15") is None
    assert desk.fills() == [("1E+1", "100.5"), ("5", "101")]
    order = desk.last("o1")
    assert (order.status, order.time_in_force, order.leaves_qty) == ("Filled", "IOC", 0)
    assert order.avg_price == (D("1005") + D("505")) / 15


def test_what_was_taken_is_gone_until_the_next_quote() -> None:
    desk = opened()
    desk.buy("10")
    desk.buy("2")
    desk.market("99.5", "100.5")
    desk.buy("2")
    assert desk.fills()[1:] == [("2", "101"), ("2", "100.5")]


def test_a_market_order_that_the_depth_cannot_fill_loses_its_rest() -> None:
    desk = opened("1000000")
    desk.buy("25")
    order = desk.last("o1")
    assert (order.status, order.reject_reason) == ("Cancelled", "EC_NoImmediateQtyToFill")
    assert (order.cum_exec_qty, order.leaves_qty) == (20, 0)


@pytest.mark.parametrize(
    ("side", "last", "price"), [("Buy", "64617.3", "67848.1"), ("Sell", "64809.6", "61569.2")]
)
def test_the_protective_price_of_a_market_order_is_the_recorded_one(side: str, last: str, price: str) -> None:
    desk = QuoteDesk("100000").market(last, last)
    desk.send(side, "0.001")
    assert desk.last("o1").price == D(price)
    assert desk.last("o1").last_price_on_created == D(last)


def test_the_protective_price_stays_inside_the_band() -> None:
    exchange = QuoteExchange(
        {"BTCUSDT": rules()}, D(10_000), bands={"BTCUSDT": PriceBand(D("0.01"), D("0.02"))}
    )
    exchange.quote("BTCUSDT", 1, Depth.touch(D(100), D("101.6")))
    exchange.mark("BTCUSDT", 1, D(100), D(100))
    exchange.trade("BTCUSDT", 1, D(100), D(1))
    order = NewOrder(order_id="a", symbol="BTCUSDT", side="Buy", order_type="Market", qty=D(1))
    assert exchange.place(order, 2) is None
    changed = [h.order for h in exchange.drain() if isinstance(h, OrderChanged)][-1]
    assert changed.price == D("101.8")  # 100 × 1.01 + mean premium 0.8
    exchange.quote("BTCUSDT", 1, Depth.touch(D(100), D("103")))
    exchange.mark("BTCUSDT", 31_000, D(100), D(100))
    exchange.place(msgspec.structs.replace(order, order_id="b"), 31_001)
    changed = [h.order for h in exchange.drain() if isinstance(h, OrderChanged)][-1]
    assert (changed.price, changed.status) == (D(102), "Cancelled")  # 100 × 1.02 at most


def test_a_limit_price_outside_the_band_is_brought_to_its_edge() -> None:
    exchange = QuoteExchange(
        {"BTCUSDT": rules()}, D(10_000), bands={"BTCUSDT": PriceBand(D("0.01"), D("0.02"))}
    )
    exchange.quote("BTCUSDT", 1, Depth.touch(D("99.9"), D("100.1")))
    exchange.mark("BTCUSDT", 1, D(100), D(100))
    for number, (side, price) in enumerate((("Sell", "90"), ("Buy", "110"))):
        order = NewOrder(
            order_id=f"o{number}",
            symbol="BTCUSDT",
            side=side,  # type: ignore[arg-type]
            order_type="Limit",
            qty=D(1),
            price=D(price),
        )
        assert exchange.place(order, 2) is None
    changed = [h.order for h in exchange.drain() if isinstance(h, OrderChanged)]
    assert [order.price for order in changed] == [D(99), D(101)]
    assert [order.avg_price for order in changed] == [D("99.9"), D("100.1")]


def test_one_match_is_told_as_order_and_execution_then_position_then_wallet() -> None:
    desk = opened()
    desk.buy("15")
    kinds = [type(happening) for happening in desk.said]
    assert kinds == [OrderChanged, Executed, Executed, PositionChanged, WalletChanged]
    assert len({h.match_seq for h in desk.said if isinstance(h, OrderChanged | Executed)}) == 1
    assert [e.leaves_qty for e in desk.executions] == [5, 0]


def test_every_order_event_tells_the_position_and_the_wallet() -> None:
    desk = opened()
    desk.buy("1", price="90")
    desk.amend("o1", price="91")
    desk.cancel("o1")
    kinds = [type(happening) for happening in desk.said]
    assert kinds == [OrderChanged, PositionChanged, WalletChanged] * 3
    assert desk.history("o1") == ["New", "New", "Cancelled"]


def test_a_cancelled_order_says_who_asked() -> None:
    desk = opened()
    desk.buy("1", price="90")
    assert desk.cancel("o1") is None
    order = desk.last("o1")
    assert (order.cancel_type, order.reject_reason) == ("CancelByUser", "EC_PerCancelRequest")
    assert order.leaves_qty == 0
    assert code(desk.cancel("o1")) == 110001


def test_a_resting_order_is_made_at_its_own_price_when_someone_offers_there() -> None:
    desk = opened()
    desk.buy("4", price="99")
    desk.market("98", "99", "3")
    assert desk.fills() == [("3", "99")]
    assert desk.last("o1").status == "PartiallyFilled"
    desk.market("98", "98.5", "3")
    assert desk.fills() == [("3", "99"), ("1", "99")]
    assert all(e.maker for e in desk.executions)
    assert desk.executions[0].fee_quote == D("3") * 99 * D("0.0002")


def test_a_trade_at_the_price_fills_nothing_and_one_through_it_fills_its_size() -> None:
    desk = opened()
    desk.buy("4", price="99")
    desk.trade("99", "100")
    assert desk.fills() == []
    desk.trade("98.9", "1.5")
    assert desk.fills() == [("1.5", "99")]


def test_the_better_price_is_filled_first_then_the_older_order() -> None:
    desk = opened()
    desk.buy("1", price="98")
    desk.buy("1", price="99")
    desk.buy("1", price="99")
    desk.trade("97", "1.5")
    assert [(e.order_id, e.qty) for e in desk.executions] == [("o2", 1), ("o3", D("0.5"))]


def test_a_limit_order_that_crosses_takes_and_rests_with_what_is_left() -> None:
    desk = opened()
    desk.buy("12", price="100.5")
    assert desk.history("o1") == ["PartiallyFilled"]
    assert desk.last("o1").leaves_qty == 2
    assert not desk.executions[0].maker


def test_post_only_that_would_take_is_cancelled() -> None:
    desk = opened()
    assert desk.buy("1", price="100.5", time_in_force="PostOnly") is None
    assert desk.history("o1") == ["Cancelled"]
    assert desk.last("o1").reject_reason == "EC_PostOnlyWillTakeLiquidity"
    desk.buy("1", price="100.4", time_in_force="PostOnly")
    assert desk.history("o2") == ["New"]


@pytest.mark.parametrize(("qty", "status", "filled"), [("10", "Filled", 10), ("11", "Cancelled", 0)])
def test_fill_or_kill_is_whole_or_nothing(qty: str, status: str, filled: int) -> None:
    desk = opened()
    desk.buy(qty, price="100.5", time_in_force="FOK")
    assert (desk.last("o1").status, desk.last("o1").cum_exec_qty) == (status, filled)
    assert desk.last("o1").reject_reason == ("EC_NoError" if filled else "EC_CancelForNoFullFill")


def test_immediate_or_cancel_keeps_what_it_got() -> None:
    desk = opened()
    desk.buy("11", price="100.5", time_in_force="IOC")
    assert (desk.last("o1").status, desk.last("o1").cum_exec_qty) == ("Cancelled", 10)


def test_no_fill_is_worse_than_the_limit() -> None:
    desk = opened()
    desk.buy("15", price="100.5")
    desk.market("90", "91")
    assert all(e.price <= D("100.5") for e in desk.executions)


# Reduce-only


def test_reduce_only_is_cut_to_the_position() -> None:
    desk = holding("5")
    assert desk.sell("8", reduce_only=True) is None
    assert desk.position().size == 0
    assert desk.last("o2").qty == 5


def test_reduce_only_is_refused_without_a_position_or_on_its_side() -> None:
    desk = opened()
    assert code(desk.sell("1", reduce_only=True)) == 110017
    desk.buy("1")
    assert code(desk.buy("1", reduce_only=True)) == 110017


def test_a_resting_reduce_only_order_ends_with_its_position() -> None:
    desk = holding("5")
    desk.sell("5", price="120", reduce_only=True)
    desk.sell("5")
    assert (desk.last("o2").status, desk.last("o2").cancel_type) == ("Cancelled", "CancelByReduceOnly")


def test_quantity_zero_with_close_on_trigger_closes_the_position() -> None:
    desk = holding("5")
    assert desk.sell("0", reduce_only=True, close_on_trigger=True) is None
    assert desk.position().size == 0
    assert code(desk.sell("0")) == 10001


# Refusals


def test_a_link_id_is_never_free_again() -> None:
    desk = opened()
    desk.buy("1", price="90", link_id="x")
    desk.cancel("o1")
    assert code(desk.buy("1", price="90", link_id="x")) == 110072
    assert desk.x.order_id_of("x") == "o1"


def test_margin_is_checked_and_released() -> None:
    desk = opened("100")
    assert code(desk.buy("11", price="100")) == 110007
    assert desk.buy("9", price="100") is None
    assert code(desk.buy("1", price="100")) == 110007
    desk.cancel("o2")
    assert desk.buy("9", price="100") is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"symbol": "NOPE"}, 10001),
        ({"position_idx": 1}, 10001),
        ({"price": "100.05"}, 10001),
        ({"price": "0"}, 10001),
        ({"price": "2000000"}, 110003),
    ],
)
def test_what_the_venue_refuses(changes: dict[str, object], expected: int) -> None:
    desk = opened()
    assert code(desk.buy("1", **changes)) == expected
    assert desk.said == []
    assert desk.x.facts.refusals == 1


def test_small_orders_are_refused_by_size_and_by_value() -> None:
    desk = QuoteDesk("1000", rules(min_notional_quote=D(5), min_qty=D("0.01"))).market("99.5", "100.5")
    assert code(desk.buy("0.001")) == 10001
    assert code(desk.buy("0.02")) == 110094


def test_without_prices_or_without_offers_nothing_is_taken() -> None:
    desk = QuoteDesk()
    assert code(desk.buy("1")) == 10001
    desk.x.quote("BTCUSDT", 1, Depth([(D(99), D(1))], []))
    assert code(desk.buy("1")) == 10001
    assert desk.buy("1", price="100") is None


def test_five_hundred_active_orders_are_the_most() -> None:
    desk = opened("10000000")
    for _ in range(500):
        assert desk.buy("0.1", price="50") is None
    assert code(desk.buy("0.1", price="50")) == 110020


# Amendments


def test_an_amendment_keeps_the_id_and_loses_the_queue() -> None:
    desk = opened()
    desk.buy("1", price="99")
    desk.buy("1", price="98")
    assert desk.amend("o2", price="99") is None
    desk.trade("98.9", "1")
    assert [e.order_id for e in desk.executions] == ["o1"]


def test_an_amended_price_that_crosses_takes() -> None:
    desk = opened()
    desk.buy("1", price="99")
    desk.amend("o1", price="101")
    assert desk.fills() == [("1", "100.5")]


def test_an_amendment_is_refused_when_it_says_nothing_new_or_comes_late() -> None:
    desk = opened()
    desk.buy("12", price="100.5")
    assert code(desk.amend("o1", price="100.5")) == 10001
    assert code(desk.amend("o1", qty="10")) == 110064
    assert desk.amend("o1", qty="11") is None
    assert desk.last("o1").leaves_qty == 1
    desk.cancel("o1")
    assert code(desk.amend("o1", qty="12")) == 110001


def test_an_amendment_needs_its_margin() -> None:
    desk = opened("100")
    desk.buy("5", price="100")
    assert code(desk.amend("o1", qty="20")) == 110007
    assert desk.x.open_orders("BTCUSDT")[0].qty == 5


# Several


def test_cancel_all_ends_what_was_asked_for() -> None:
    desk = opened()
    desk.buy("1", price="90")
    desk.buy("1", trigger_price="110")
    assert [o.order_id for o in desk.x.cancel_all(["BTCUSDT"], 9, "StopOrder")] == ["o2"]
    assert desk.x.cancel_all(["ETHUSDT"], 9) == []
    assert [o.order_id for o in desk.x.cancel_all(None, 9)] == ["o1"]
    assert desk.x.open_orders(None) == []


def test_closed_profit_is_price_difference_less_both_fees() -> None:
    # A recorded trade: 0.001 BTC bought at 64809.6, sold at 64627.3.
    desk = QuoteDesk("1000").market("64809.6", "64809.6")
    desk.buy("0.001")
    desk.market("64627.3", "64627.3")
    desk.sell("0.001")
    assert desk.last("o1").cum_exec_fee == D("0.03564528")
    assert round(desk.last("o2").cum_exec_fee, 8) == D("0.03554502")  # the venue cuts at 8 digits
    assert desk.last("o2").closed_pnl.quantize(D("1e-7")) == D("-0.2534903")
    assert desk.executions[1].closed_size == D("0.001")


def test_two_resting_orders_share_what_is_offered() -> None:
    desk = opened()
    desk.buy("3", price="99")
    desk.buy("3", price="99")
    desk.market("98", "99", "4")
    assert [(e.order_id, e.qty) for e in desk.executions] == [("o1", 3), ("o2", 1)]


def test_a_larger_quantity_loses_the_queue_and_a_smaller_one_keeps_it() -> None:
    desk = opened()
    for _ in range(3):
        desk.buy("1", price="99")
    desk.amend("o1", qty="2")
    desk.amend("o2", qty="0.5")
    desk.trade("98.9", "1.5")
    assert [(e.order_id, e.qty) for e in desk.executions] == [("o2", D("0.5")), ("o3", 1)]


def test_an_amendment_needs_only_what_it_adds() -> None:
    desk = opened("100")
    desk.buy("6", price="100")
    assert desk.amend("o1", qty="9") is None


def test_an_amended_order_counts_its_own_fills_once_against_the_tier() -> None:
    tiers = (RiskTier(D(1000), D("0.005"), D(0), D(10)),)
    desk = QuoteDesk("10000", rules(tiers=tiers)).market("99.5", "100")
    desk.buy("9", price="99")
    desk.trade("98.9", "5")
    assert desk.amend("o1", qty="9.5") is None
    assert code(desk.amend("o1", qty="20")) == 110090


def test_closed_profit_of_parts_takes_its_share_of_the_opening_fee() -> None:
    desk = holding("4")
    fee = desk.executions[0].fee_quote
    desk.sell("1")
    assert desk.last("o2").closed_pnl == D("-0.5") - fee / 4 - desk.executions[1].fee_quote
    desk.sell("3")
    assert desk.last("o3").closed_pnl == D("-1.5") - fee * 3 / 4 - desk.executions[2].fee_quote
    assert desk.position().cum_realised_quote == desk.last("o2").closed_pnl + desk.last("o3").closed_pnl


def test_what_is_realised_since_it_was_flat_starts_anew() -> None:
    desk = holding("4")
    assert desk.position().cur_realised_quote == -desk.executions[0].fee_quote
    desk.sell("6")
    assert desk.position().cur_realised_quote == -desk.executions[1].fee_quote / 3
    desk.buy("2")
    assert desk.position().cur_realised_quote == 0


def test_an_idle_symbol_leaves_the_account() -> None:
    desk = holding("4")
    assert list(desk.x.account.active) == ["BTCUSDT/0"]
    desk.sell("4")
    assert list(desk.x.account.active) == []


def test_link_ids_are_remembered_up_to_a_bound_and_those_of_open_orders_always(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "LINKS_KEPT", 3)
    desk = opened()
    assert desk.buy("1", price="90", link_id="open") is None
    for n in range(5):
        assert desk.buy("1", price="90", link_id=f"gone{n}") is None
        assert desk.cancel(f"o{n + 2}") is None
    assert code(desk.buy("1", price="90", link_id="open")) == 110072
    assert code(desk.buy("1", price="90", link_id="gone4")) == 110072
    assert desk.buy("1", price="90", link_id="gone0") is None
    assert len(desk.x._links) <= 3
