"""Conditional orders, TP/SL and trailing stops behind quotes and trades."""

import pytest

from bot.exchange.events import OrderChanged
from tests.exchange.quotes.desk import D, QuoteDesk, depth, holding, opened
from tests.exchange.quotes.test_orders import code

# Conditional orders


def test_a_conditional_order_waits_and_becomes_an_order_at_its_trigger() -> None:
    desk = opened()
    assert desk.buy("1", trigger_price="105", trigger_direction=1) is None
    order = desk.last("o1")
    assert (order.status, order.stop_order_type, order.price) == ("Untriggered", "Stop", 0)
    desk.trade("104.9")
    assert desk.history("o1") == ["Untriggered"]
    desk.market("104.9", "105.1")
    assert desk.history("o1") == ["Untriggered", "Triggered", "Filled"]
    assert desk.fills() == [("1", "105.1")]


def test_a_triggered_limit_order_may_rest() -> None:
    desk = opened()
    desk.buy("1", trigger_price="95", trigger_direction=2, price="94")
    desk.market("94.5", "95.5")
    assert desk.history("o1") == ["Untriggered", "Triggered", "New"]
    assert desk.last("o1").price == 94


@pytest.mark.parametrize(
    ("direction", "trigger", "expected"),
    [(1, "95", 110092), (1, "100", 110092), (2, "105", 110093), (2, "100", 110093), (3, "105", 10001)],
)
def test_a_trigger_must_lie_ahead(direction: int, trigger: str, expected: int) -> None:
    assert code(opened().buy("1", trigger_price=trigger, trigger_direction=direction)) == expected


def test_a_trigger_without_a_direction_goes_by_its_side() -> None:
    desk = opened()
    desk.buy("1", trigger_price="105")
    desk.buy("1", trigger_price="95")
    assert [o.trigger_direction for o in desk.waiting("Stop")] == [1, 2]


def test_a_conditional_order_may_look_at_the_mark_or_the_index() -> None:
    desk = opened()
    desk.buy("1", trigger_price="105", trigger_by="MarkPrice")
    desk.buy("1", trigger_price="105", trigger_by="IndexPrice")
    desk.trade("106")
    assert desk.fills() == []
    desk.x.mark("BTCUSDT", desk.tick(), D(105), D(104))
    desk.x.mark("BTCUSDT", desk.tick(), D(104), D(105))
    desk.trade("106", "0")
    assert [e.order_id for e in desk.executions] == ["o1", "o2"]


def test_a_conditional_order_binds_no_margin_until_it_triggers() -> None:
    desk = opened("100")
    desk.buy("20", trigger_price="105")
    assert desk.x.wallet().order_im_quote == 0
    desk.market("104.5", "105.5")
    assert desk.history("o1") == ["Untriggered", "Triggered", "Cancelled"]


def test_ten_conditional_orders_are_the_most() -> None:
    desk = opened()
    for _ in range(10):
        assert desk.buy("0.1", trigger_price="105") is None
    assert code(desk.buy("0.1", trigger_price="105")) == 110009


def test_a_conditional_order_that_is_cancelled_is_deactivated() -> None:
    desk = opened()
    desk.buy("1", trigger_price="105")
    desk.cancel("o1")
    assert (desk.last("o1").status, desk.last("o1").cancel_type) == ("Deactivated", "CancelByUser")


def test_a_reducing_conditional_order_without_a_position_ends_at_its_trigger() -> None:
    desk = opened()
    assert desk.sell("1", trigger_price="95", reduce_only=True) is None
    desk.trade("94")
    assert (desk.last("o1").status, desk.last("o1").cancel_type) == ("Cancelled", "CancelByReduceOnly")


def test_a_trigger_can_be_amended_and_keeps_its_side() -> None:
    desk = opened()
    desk.buy("1", trigger_price="105", trigger_direction=1)
    assert code(desk.amend("o1", trigger_price="99")) == 110092
    assert desk.amend("o1", trigger_price="103") is None
    desk.trade("103")
    assert desk.last("o1").status == "Filled"


# TP/SL


def protected(**changes: object) -> QuoteDesk:
    desk = opened()
    assert desk.buy("4", **({"stop_loss": "95", "take_profit": "110"} | changes)) is None
    return desk


def test_stops_of_an_order_wait_beside_the_position_it_opened() -> None:
    desk = protected()
    view = desk.position()
    assert (view.stop_loss, view.take_profit) == (95, 110)
    (stop,), (target,) = desk.waiting("StopLoss"), desk.waiting("TakeProfit")
    assert (stop.status, stop.side, stop.qty, stop.trigger_direction) == ("Untriggered", "Sell", 4, 2)
    assert (target.create_type, target.trigger_direction) == ("CreateByTakeProfit", 1)
    assert stop.reduce_only
    assert stop.close_on_trigger
    assert (stop.link_id, stop.parent_link_id, stop.tpsl_mode) == ("", "o1", "Full")


def test_a_stop_closes_the_position_and_its_target_is_cleared() -> None:
    desk = protected()
    target = desk.waiting("TakeProfit")[0].order_id
    desk.market("94", "95")
    assert desk.position().size == 0
    assert desk.fills()[-1] == ("4", "94")
    assert desk.executions[-1].create_type == "CreateByStopLoss"
    ended = desk.last(target)
    assert (ended.status, ended.cancel_type) == ("Deactivated", "CancelByTpSlTsClear")
    assert desk.x.open_orders("BTCUSDT") == []


def test_stops_of_a_short_lie_the_other_way_round() -> None:
    desk = opened()
    desk.sell("4", stop_loss="105", take_profit="90")
    desk.market("89", "90")
    assert (desk.position().size, desk.fills()[-1]) == (0, ("4", "9E+1"))


def test_stops_follow_the_size_of_the_position() -> None:
    desk = protected()
    desk.buy("2")
    assert desk.waiting("StopLoss")[0].qty == 6
    desk.sell("5")
    assert desk.waiting("StopLoss")[0].qty == 1


def test_stops_appear_with_the_first_fill_of_a_resting_order() -> None:
    desk = opened()
    desk.buy("4", price="99", stop_loss="95")
    assert desk.waiting("StopLoss") == []
    desk.trade("98.5", "1")
    assert desk.waiting("StopLoss")[0].qty == 1
    desk.trade("98.5", "3")
    assert [o.qty for o in desk.waiting("StopLoss")] == [4]


def test_a_position_that_turns_takes_the_stops_of_the_order_that_turned_it() -> None:
    desk = protected()
    desk.sell("6", stop_loss="105")
    view = desk.position()
    assert (view.side, view.size, view.stop_loss, view.take_profit) == ("Sell", 2, 105, 0)


def test_stops_of_an_order_must_lie_on_their_sides() -> None:
    desk = opened()
    assert code(desk.buy("1", stop_loss="101")) == 10001
    assert code(desk.buy("1", take_profit="99")) == 10001
    desk.buy("1")
    assert code(desk.sell("1", reduce_only=True, stop_loss="105")) == 10001


def test_what_the_depth_cannot_close_stays_behind_the_same_stop() -> None:
    desk = holding("100")
    desk.stops(stop_loss="95")
    desk.market("94", "95", "30")
    assert desk.position().size == 40
    assert (desk.position().stop_loss, desk.waiting("StopLoss")[0].qty) == (95, 40)
    desk.market("93", "94", "30")
    assert desk.position().size == 0


def test_partial_stops_have_sizes_of_their_own() -> None:
    desk = holding("4")
    assert code(desk.stops(tpsl_mode="Partial", take_profit="110")) == 10001
    limit = {"tp_order_type": "Limit", "tp_limit_price": "111"}
    assert desk.stops(tpsl_mode="Partial", take_profit="110", tp_size="1", **limit) is None
    assert desk.stops(tpsl_mode="Partial", stop_loss="95", sl_size="2") is None
    assert desk.position().stop_loss == 0
    desk.market("110", "110.5")
    (target,) = desk.waiting("PartialTakeProfit")
    assert (target.status, target.order_type, target.price) == ("New", "Limit", 111)
    desk.market("94", "95")
    assert desk.position().size == 2


def test_partial_stops_of_an_order_grow_with_its_fills() -> None:
    desk = opened()
    desk.buy("4", price="99", stop_loss="95", tpsl_mode="Partial")
    desk.trade("98.5", "1")
    desk.trade("98.5", "3")
    assert [o.qty for o in desk.waiting("PartialStopLoss")] == [4]


def test_twenty_partial_stops_are_the_most() -> None:
    desk = holding("4")
    for _ in range(20):
        assert desk.stops(tpsl_mode="Partial", stop_loss="95", sl_size="0.1") is None
    assert code(desk.stops(tpsl_mode="Partial", stop_loss="95", sl_size="0.1")) == 110061


@pytest.mark.parametrize("size", ["-1", "0.0005", "0.0015"])
def test_a_partial_stop_has_a_size_that_can_be_traded(size: str) -> None:
    desk = holding("4")
    assert code(desk.stops(tpsl_mode="Partial", stop_loss="95", sl_size=size)) == 10001
    assert desk.x.open_orders("BTCUSDT") == []
    assert desk.stops(tpsl_mode="Partial", stop_loss="95", sl_size="1") is None
    order = desk.waiting("PartialStopLoss")[0]
    assert code(desk.amend(order.order_id, qty=size)) in (10001, 110064)
    assert order.qty == 1


@pytest.mark.parametrize(
    "wish",
    [
        {"tp_limit_price": "110.05"},
        {"trailing_stop": "100"},
        {"trailing_stop": "0.05"},
        {"trailing_stop": "1", "active_price": "120.05"},
    ],
)
def test_prices_beside_a_position_lie_on_the_grid_and_above_zero(wish: dict[str, str]) -> None:
    desk = holding("4")
    assert code(desk.stops(tpsl_mode="Partial", take_profit="110", tp_size="1", **wish)) == 10001
    assert desk.x.open_orders("BTCUSDT") == []


# position/trading-stop


def test_trading_stop_sets_moves_and_removes_one_pair() -> None:
    desk = holding("4")
    assert desk.stops(stop_loss="95", take_profit="110") is None
    first = desk.waiting("StopLoss")[0].order_id
    assert code(desk.stops(stop_loss="95", take_profit="110")) == 34040
    assert desk.stops(stop_loss="96") is None
    assert desk.waiting("StopLoss")[0].order_id == first
    assert (desk.position().stop_loss, desk.position().take_profit) == (96, 110)
    assert desk.stops(stop_loss="0", take_profit="0") is None
    assert desk.x.open_orders("BTCUSDT") == []
    assert code(desk.stops(stop_loss="0")) == 34040


def test_trading_stop_needs_a_position_and_the_right_side() -> None:
    desk = opened()
    refusal = desk.stops(stop_loss="95")
    assert refusal is not None
    assert refusal.reason == "can not set tp/sl/ts for zero position"
    desk = holding("4")
    assert code(desk.stops(stop_loss="101")) == 10001
    assert code(desk.stops(stop_loss="95", tp_order_type="Limit", tp_limit_price="111")) == 10001


def test_a_stop_may_look_at_the_mark() -> None:
    desk = holding("4")
    desk.stops(stop_loss="95", sl_trigger_by="MarkPrice")
    desk.trade("90", "0")
    assert desk.position().size == 4
    desk.mark("95")
    assert desk.position().size == 0


def test_a_stop_that_a_client_cancels_or_amends_is_gone_or_moved() -> None:
    desk = protected()
    stop = desk.waiting("StopLoss")[0].order_id
    assert desk.amend(stop, trigger_price="96") is None
    assert desk.position().stop_loss == 96
    assert code(desk.amend(stop, trigger_price="101")) == 10001
    desk.cancel(stop)
    assert desk.position().stop_loss == 0


# Trailing stops


def test_a_trailing_stop_follows_the_best_price_and_keeps_its_id() -> None:
    desk = holding("4")
    desk.stops(trailing_stop="2")
    (order,) = desk.waiting("TrailingStop")
    assert (order.trigger_price, desk.position().trailing_stop) == (98, 2)
    desk.trade("103", "0").trade("102", "0")
    assert desk.x.order("BTCUSDT", order.order_id).trigger_price == 101  # type: ignore[union-attr]
    moved = [h for h in desk.said if isinstance(h, OrderChanged) and h.order.order_id == order.order_id]
    assert [(h.order.trigger_price, h.match_seq is None) for h in moved] == [(98, False), (101, True)]
    desk.trade("101", "0")
    assert desk.position().size == 0
    assert desk.executions[-1].create_type == "CreateByTrailingStop"


def test_a_trailing_stop_of_a_short_follows_downwards() -> None:
    desk = holding("-4")
    desk.stops(trailing_stop="2")
    desk.trade("95", "0").trade("96.9", "0")
    assert desk.position().size == 4
    desk.trade("97", "0")
    assert desk.position().size == 0


def test_a_trailing_stop_starts_at_its_active_price() -> None:
    desk = holding("4")
    desk.stops(trailing_stop="2", active_price="105")
    desk.trade("104", "0").trade("90", "0")
    assert desk.position().size == 4
    desk.trade("105", "0")
    assert desk.waiting("TrailingStop")[0].trigger_price == 103
    desk.trade("103", "0")
    assert desk.position().size == 0


def test_the_same_trailing_stop_again_is_not_modified() -> None:
    desk = holding("4")
    desk.stops(trailing_stop="2")
    assert code(desk.stops(trailing_stop="2")) == 34040
    assert desk.stops(trailing_stop="0") is None
    assert desk.position().trailing_stop == 0


def test_an_order_that_fills_on_after_its_stop_hit_protects_the_position_again() -> None:
    desk = opened()
    desk.buy("4", price="99", stop_loss="95")
    desk.trade("98.5", "1")
    stop = desk.waiting("StopLoss")[0].order_id
    desk.stops(stop_loss="98")
    desk.trade("98", "0")
    assert (desk.last(stop).status, desk.position().size) == ("Filled", 0)
    desk.trade("98.5", "1")
    assert (desk.position().size, desk.position().stop_loss) == (1, 95)


def test_a_partial_stop_is_never_larger_than_the_position() -> None:
    desk = holding("4")
    desk.stops(tpsl_mode="Partial", stop_loss="95", sl_size="3")
    desk.sell("1")
    assert desk.waiting("PartialStopLoss")[0].qty == 3
    desk.sell("2")
    assert desk.waiting("PartialStopLoss")[0].qty == 1


def test_what_a_trailing_stop_could_not_close_is_trailed_on() -> None:
    desk = holding("100")
    desk.stops(trailing_stop="2")
    desk.market("97.5", "98", "30")
    assert (desk.position().size, desk.position().trailing_stop) == (40, 2)


def test_a_triggered_order_binds_its_margin() -> None:
    desk = opened()
    desk.buy("1", trigger_price="95", price="94")
    desk.trade("95", "0")
    assert desk.last("o1").status == "New"
    assert desk.x.wallet().order_im_quote > D("9.4")


def test_a_triggered_limit_price_is_brought_inside_the_band() -> None:
    desk = opened()
    desk.buy("1", trigger_price="95", price="300")
    desk.market("94", "95")
    assert desk.last("o1").price == D("141.7")  # mark 94.5 × 1.5, and the mean premium is 0


def test_a_stop_is_not_held_back_by_the_band() -> None:
    desk = holding("4")
    desk.stops(stop_loss="95")
    desk.x.quote("BTCUSDT", desk.tick(), depth("299", "301"))
    desk.x.mark("BTCUSDT", desk.tick(), D(300), D(300))
    desk.x.quote("BTCUSDT", desk.tick(), depth("94", "95"))
    desk.trade("94", "0")
    assert desk.position().size == 0


def test_a_partial_pair_needs_equal_sizes() -> None:
    desk = holding("2")
    pair = {"tpsl_mode": "Partial", "stop_loss": "95", "take_profit": "110"}
    assert code(desk.stops(**pair, sl_size="1", tp_size="0.5")) == 10001
    assert desk.waiting("PartialStopLoss") == []
    assert desk.stops(**pair, sl_size="1", tp_size="1") is None


# One cancels the other

PAIR = {"tpsl_mode": "Partial", "stop_loss": "95", "take_profit": "110"}


def endings(desk: QuoteDesk) -> dict[str, str]:
    """cancelType by stopOrderType of partial TP/SL orders that were cancelled."""
    orders = [h.order for h in desk.said if isinstance(h, OrderChanged)]
    return {o.stop_order_type: o.cancel_type for o in orders if o.status == "Deactivated"}


@pytest.mark.parametrize(
    ("bid", "ask", "gone", "why"),
    [
        ("94", "95", "PartialTakeProfit", "CancelByOCOTpCanceledBySlTriggered"),
        ("110", "111", "PartialStopLoss", "CancelByOCOSlCanceledByTpTriggered"),
    ],
)
def test_the_half_of_a_partial_pair_that_triggers_cancels_the_other(
    bid: str, ask: str, gone: str, why: str
) -> None:
    desk = holding("4")
    assert desk.stops(**PAIR, sl_size="1", tp_size="1") is None
    desk.market(bid, ask)
    assert endings(desk) == {gone: why}
    assert desk.position().size == 3
    assert [o for o in desk.x.open_orders("BTCUSDT") if o.stop_order_type] == []


def test_two_pairs_do_not_cancel_each_other() -> None:
    desk = holding("4")
    desk.stops(**PAIR, sl_size="1", tp_size="1")
    desk.stops(**(PAIR | {"stop_loss": "90"}), sl_size="1", tp_size="1")
    desk.market("94", "95")
    assert [o.trigger_price for o in desk.waiting("PartialStopLoss")] == [90]
    assert [o.trigger_price for o in desk.waiting("PartialTakeProfit")] == [110]


def test_a_pair_that_an_order_brought_is_a_pair_too() -> None:
    desk = opened()
    desk.buy("2", **PAIR)
    desk.market("94", "95")
    assert endings(desk) == {"PartialTakeProfit": "CancelByOCOTpCanceledBySlTriggered"}


def test_a_limit_take_profit_rests_after_its_trigger_and_its_stop_is_gone() -> None:
    desk = holding("4")
    desk.stops(**PAIR, sl_size="1", tp_size="1", tp_order_type="Limit", tp_limit_price="112")
    desk.market("110", "111")
    (target,) = desk.waiting("PartialTakeProfit")
    assert (target.status, target.price) == ("New", 112)
    assert desk.waiting("PartialStopLoss") == []


@pytest.mark.parametrize("leg", ["sl", "tp"])
def test_full_tpsl_is_closed_at_the_market_only(leg: str) -> None:
    limit = {f"{leg}_order_type": "Limit", f"{leg}_limit_price": "100"}
    assert code(holding("4").stops(stop_loss="95", take_profit="110", **limit)) == 10001
    assert code(opened().buy("1", stop_loss="95", take_profit="110", **limit)) == 10001
