"""Margin, liquidation, funding, modes and settings behind quotes and trades."""

from decimal import ROUND_HALF_UP

import pytest

from bot.domain.market import RiskTier
from bot.exchange import Depth, QuoteExchange
from bot.exchange.events import Executed, OrderChanged, WalletChanged
from bot.exchange.orders import AddMargin, NewOrder, SetLeverage
from bot.exchange.rulebook.price_band import PriceBand
from tests.exchange.quotes.desk import D, QuoteDesk, depth, holding, opened, rules
from tests.exchange.quotes.test_orders import code


def shown(value: object) -> object:
    """To eight digits, as the venue rounds margins."""
    return D(str(value)).quantize(D("1e-8"), rounding=ROUND_HALF_UP)


# Recorded numbers


def xrp() -> QuoteDesk:
    tiers = (RiskTier(D(250_000), D("0.0075"), D(0), D(75)),)
    desk = QuoteDesk("1000", rules("XRPUSDT", tick_size=D("0.0001"), qty_step=D("0.1"), tiers=tiers))
    return desk.market("2.7862", "2.7862", symbol="XRPUSDT")


def test_position_margin_is_the_recorded_one() -> None:
    desk = xrp()
    desk.buy("4", symbol="XRPUSDT")
    view = desk.position(symbol="XRPUSDT")
    assert shown(view.im_quote) == D("1.11999668")
    assert shown(view.mm_quote) == D("0.08910268")
    assert (view.value_quote, view.avg_price) == (D("11.1448"), D("2.7862"))
    desk.mark("3.1342", "XRPUSDT")
    assert desk.position(symbol="XRPUSDT").upl_quote == D("1.392")
    assert desk.position(symbol="XRPUSDT").liq_price is None


def test_order_margin_is_the_recorded_one() -> None:
    desk = xrp()
    desk.buy("10", price="2.5293", symbol="XRPUSDT")
    wallet = desk.x.wallet()
    assert shown(wallet.order_im_quote) == D("2.55573119")
    assert wallet.available_quote == 1000 - wallet.order_im_quote
    assert wallet.equity_quote == 1000


def test_break_even_covers_the_closing_fee() -> None:
    desk = QuoteDesk("10000").market("100", "100")
    desk.buy("1")
    price = desk.position().break_even_price
    assert abs((price - 100) - D("0.055") - price * D("0.00055")) < D("1e-20")


# Liquidation


def test_isolated_liquidation_costs_the_margin_and_never_more() -> None:
    desk = holding("4", margin_mode="isolated")
    level = desk.position().liq_price
    assert level == D("90.5")  # 100 − (10 − 0.5)
    margin, before = desk.position().im_quote, desk.x.wallet().wallet_quote
    desk.buy("1", price="80")
    desk.mark("90.6")
    assert desk.position().size == 4
    desk.mark("90.5")
    assert desk.position().size == 0
    (order,) = [h.order for h in desk.said if isinstance(h, OrderChanged) and not h.order.link_id]
    assert order.create_type == "CreateByTakeOver_PassThrough"
    assert (desk.executions[-1].exec_type, desk.executions[-1].price) == ("BustTrade", 90)
    assert desk.last("o2").cancel_type == "CancelByPrepareLiq"
    assert before - desk.x.wallet().wallet_quote == margin
    assert desk.x.facts.liquidations == 1


def test_added_margin_moves_the_liquidation_price() -> None:
    desk = holding("4", margin_mode="isolated")
    before = desk.x.wallet().available_quote
    assert desk.x.add_margin(AddMargin("BTCUSDT", 0, D(8)), 9_000) is None
    assert desk.position().liq_price == D("88.5")
    assert desk.x.wallet().available_quote == before - 8
    assert code(desk.x.add_margin(AddMargin("BTCUSDT", 0, D(-9)), 9_000)) == 110007
    desk.mark("90.5").mark("88.5")
    assert desk.executions[-1].price == 88


def test_margin_cannot_be_added_in_cross_mode_or_without_a_position() -> None:
    desk = holding("4")
    assert code(desk.x.add_margin(AddMargin("BTCUSDT", 0, D(8)), 9_000)) == 10001
    assert code(opened().x.add_margin(AddMargin("BTCUSDT", 0, D(8)), 9_000)) == 10001


def test_a_cross_account_goes_when_equity_meets_maintenance() -> None:
    desk = QuoteDesk("1000", rules(), rules("ETHUSDT")).market("100", "100", "1000")
    desk.market("50", "50", "1000", "ETHUSDT")
    desk.buy("80")
    desk.buy("1", symbol="ETHUSDT")
    desk.buy("1", price="40", symbol="ETHUSDT")
    level = desk.position().liq_price
    assert level is not None
    desk.mark(str(round(level + D("0.01"), 2)))
    assert desk.position().size == 80
    desk.mark(str(round(level - D("0.01"), 2)))
    assert [(v.symbol, v.size) for v in desk.x.positions()] == [("ETHUSDT", 1)]
    assert desk.last("o3").cancel_type == "CancelAllBeforeLiq"
    assert (desk.executions[-1].exec_type, desk.executions[-1].create_type) == ("Trade", "CreateByLiq")


def test_the_ladder_of_cross_liquidation_stops_when_equity_covers_maintenance() -> None:
    # Tiers end at 100,000 (0.5 %) and 1,000,000 (1 %, less 500). Long 6,000 at 100 with 13,000, at 98.8:
    # equity 13,000 − 330 (fee) − 7,200 = 5,470; maintenance 592,800 × 1 % − 500 + 323.4 (fee) = 5,751.4.
    desk = QuoteDesk("13000", leverage=D(50)).market("100", "100", "100000")
    assert desk.buy("6000") is None
    desk.x.quote("BTCUSDT", desk.tick(), depth("98.8", "99.5", "100000"))
    desk.mark("98.8")
    (closed,) = desk.executions[1:]
    assert (closed.qty, closed.create_type) == (D("4987.855"), "CreateByLiq")  # above 100,000 / 98.8
    assert desk.position().size == D("1012.145")
    assert desk.x.facts.liquidations == 1
    wallet = desk.x.wallet()
    assert wallet.equity_quote > wallet.mm_quote


def test_the_ladder_takes_the_position_with_the_largest_maintenance_first() -> None:
    desk = QuoteDesk("1000", rules(), rules("ETHUSDT")).market("100", "100", "1000")
    desk.market("50", "50", "1000", "ETHUSDT")
    desk.buy("60")
    desk.buy("60", symbol="ETHUSDT")
    desk.market("90", "90", "1000").market("44.5", "44.5", "1000", "ETHUSDT")
    assert len(desk.executions) == 2
    desk.mark("44", "ETHUSDT")  # equity 1,000 − 4.95 − 600 − 360 = 35; maintenance 27 + 13.2 + 4.5
    assert [(e.symbol, e.qty, e.price) for e in desk.executions[2:]] == [("BTCUSDT", 60, 90)]
    assert desk.position(symbol="ETHUSDT").size == 60


def test_cross_profit_of_one_symbol_carries_another() -> None:
    desk = QuoteDesk("1000", rules(), rules("ETHUSDT")).market("100", "100", "1000")
    desk.market("50", "50", "1000", "ETHUSDT")
    desk.buy("80")
    desk.buy("20", symbol="ETHUSDT")
    desk.mark("70", "ETHUSDT").mark("88")
    assert desk.position().size == 80
    desk.mark("50", "ETHUSDT")
    assert [(v.symbol, v.size) for v in desk.x.positions()] == [("ETHUSDT", 20)]


def test_a_plan_may_liquidate_and_deleverage() -> None:
    desk = holding("4")
    fees = desk.x.account.cash.fees
    desk.x.adl("BTCUSDT", 0, D(1), 9_000)
    (told,) = [h for h in desk.x.drain() if isinstance(h, Executed)]
    assert (told.execution.exec_type, told.execution.price, told.execution.fee_quote) == ("AdlTrade", 100, 0)
    assert (desk.position().size, desk.x.account.cash.fees) == (3, fees)
    desk.x.liquidate("BTCUSDT", 0, 9_001)
    assert desk.position().size == 0


# Funding


@pytest.mark.parametrize(("qty", "amount"), [("4", "-0.04"), ("-4", "0.04")])
def test_funding_is_paid_on_the_value_at_the_mark_once_a_stamp(qty: str, amount: str) -> None:
    desk = holding(qty)
    before = desk.x.wallet().wallet_quote
    for _ in range(2):
        desk.x.settle_funding("BTCUSDT", desk.ts_ms + 10, D("0.0001"))
    assert desk.x.wallet().wallet_quote - before == D(amount)
    (told,) = [h for h in desk.x.drain() if isinstance(h, Executed)]
    assert (told.execution.exec_type, told.execution.order_type) == ("Funding", "UNKNOWN")
    assert (told.execution.fee_quote, told.order) == (-D(amount), None)


def test_funding_is_for_those_who_held_at_the_stamp() -> None:
    desk = opened()
    stamp = desk.tick()
    desk.buy("4")
    desk.x.settle_funding("BTCUSDT", stamp, D("0.0001"))
    assert desk.x.drain() == []
    late = desk.tick()
    desk.sell("4")
    desk.x.settle_funding("BTCUSDT", late, D("0.0001"))
    assert desk.x.account.cash.funding == D("-0.04")


# Hedge mode


def hedged() -> QuoteDesk:
    desk = opened()
    assert desk.x.switch_mode("BTCUSDT", hedge=True) is None
    desk.buy("4", position_idx=1)
    desk.sell("3", position_idx=2)
    return desk


def test_hedge_mode_holds_both_sides_apart() -> None:
    desk = hedged()
    assert [(v.side, v.size) for v in desk.x.positions("BTCUSDT")] == [("Buy", 4), ("Sell", 3)]
    desk.sell("1", position_idx=1)
    desk.buy("3", position_idx=2)
    assert [(v.side, v.size) for v in desk.x.positions("BTCUSDT")] == [("Buy", 3), ("", 0)]


def test_in_hedge_mode_the_closing_side_only_reduces() -> None:
    desk = hedged()
    desk.sell("9", position_idx=1)
    assert desk.position(1).size == 0
    assert code(desk.sell("1", position_idx=1)) == 110017
    assert code(desk.buy("1")) == 10001


def test_each_side_has_its_own_stops() -> None:
    desk = hedged()
    desk.stops(1, stop_loss="95")
    desk.stops(2, stop_loss="105")
    desk.market("94", "95")
    assert [(v.side, v.size) for v in desk.x.positions("BTCUSDT")] == [("", 0), ("Sell", 3)]
    desk.market("105", "106")
    assert desk.x.positions() == []


def test_the_position_mode_changes_only_while_nothing_is_open() -> None:
    desk = hedged()
    assert code(desk.x.switch_mode("BTCUSDT", hedge=True)) == 110025
    assert code(desk.x.switch_mode("BTCUSDT", hedge=False)) == 110024
    desk = opened()
    desk.buy("1", price="90")
    assert code(desk.x.switch_mode("BTCUSDT", hedge=True)) == 110028


# Settings


def test_leverage_is_checked_and_moves_the_margin() -> None:
    desk = holding("4")
    before = desk.position().im_quote
    assert code(desk.x.set_leverage(SetLeverage("BTCUSDT", D(10), D(10)), 9_000)) == 110043
    assert code(desk.x.set_leverage(SetLeverage("BTCUSDT", D(20), D(10)), 9_000)) == 10001
    assert code(desk.x.set_leverage(SetLeverage("BTCUSDT", D(101), D(101)), 9_000)) == 110013
    assert code(desk.x.set_leverage(SetLeverage("BTCUSDT", D("7.777"), D("7.777")), 9_000)) == 10001
    assert desk.x.set_leverage(SetLeverage("BTCUSDT", D(20), D(20)), 9_000) is None
    assert desk.position().im_quote < before
    assert desk.position().leverage == 20


def test_leverage_that_the_wallet_cannot_carry_is_refused() -> None:
    desk = QuoteDesk("100").market("100", "100")
    desk.buy("9")
    assert code(desk.x.set_leverage(SetLeverage("BTCUSDT", D(2), D(2)), 9_000)) == 110007
    assert desk.position().leverage == 10


def test_the_margin_mode_is_the_accounts() -> None:
    desk = holding("4")
    assert code(desk.x.set_margin_mode("cross", 9_000)) == 110026
    assert desk.x.set_margin_mode("isolated", 9_000) is None
    assert desk.position().liq_price == D("90.5")
    desk.mark("90.5")
    assert desk.position().size == 0


def test_money_can_be_given() -> None:
    desk = opened()
    desk.x.adjust_wallet(D(500), 9_000)
    assert desk.x.wallet().wallet_quote == 10_500
    assert desk.x.wallet().cum_realised_quote == 0
    assert desk.x.drain() == [WalletChanged(9_000)]


def test_new_rules_hold_from_then_on() -> None:
    desk = opened()
    desk.x.change(rules(status="Delivering"), desk.ts_ms)
    assert code(desk.buy("1")) == 110023
    desk.x.change(rules("ETHUSDT"), desk.ts_ms)
    desk.market("9", "10", symbol="ETHUSDT")
    assert desk.buy("1", symbol="ETHUSDT") is None


def test_added_margin_goes_back_with_the_position() -> None:
    desk = holding("4", margin_mode="isolated")
    desk.x.add_margin(AddMargin("BTCUSDT", 0, D(8)), 9_000)
    desk.sell("4")
    assert desk.x.wallet().available_quote == desk.x.wallet().wallet_quote
    assert desk.position().added_quote == 0


def test_leverage_moves_the_margin_of_orders() -> None:
    desk = opened()
    desk.buy("1", price="90")
    before = desk.x.wallet().order_im_quote
    desk.x.set_leverage(SetLeverage("BTCUSDT", D(20), D(20)), 9_000)
    assert desk.x.wallet().order_im_quote < before * D("0.6")


def test_funding_counts_as_realised() -> None:
    desk = holding("4")
    before = desk.position().cum_realised_quote
    desk.x.settle_funding("BTCUSDT", desk.ts_ms + 10, D("0.0001"))
    assert desk.position().cum_realised_quote - before == D("-0.04")
    assert desk.position().cur_realised_quote - before == D("-0.04")


def test_what_the_depth_cannot_take_of_a_liquidation_goes_at_its_last_price() -> None:
    desk = QuoteDesk("1000").market("100", "100", "1000")
    desk.buy("80")
    desk.x.quote("BTCUSDT", desk.tick(), depth("88", "89", "10"))
    desk.mark("87")
    assert desk.fills()[1:] == [("1E+1", "88"), ("1E+1", "87.5"), ("6E+1", "87.5")]
    assert desk.position().size == 0


def test_the_band_forgets_premiums_after_thirty_seconds() -> None:
    exchange = QuoteExchange(
        {"BTCUSDT": rules()}, D(10_000), bands={"BTCUSDT": PriceBand(D("0.01"), D("0.05"))}
    )
    exchange.quote("BTCUSDT", 0, Depth.touch(D(101), D(103)))
    exchange.mark("BTCUSDT", 0, D(100), D(100))
    exchange.quote("BTCUSDT", 30_001, Depth.touch(D(100), D(101)))
    exchange.mark("BTCUSDT", 30_001, D(100), D(100))
    order = NewOrder(order_id="a", symbol="BTCUSDT", side="Buy", order_type="Limit", qty=D(1), price=D(110))
    exchange.place(order, 30_002)
    (told,) = [h for h in exchange.drain() if isinstance(h, OrderChanged)]
    assert told.order.price == D("101.5")
