"""What orders do inside a bar. Arithmetic stands beside each expected figure."""

from decimal import ROUND_HALF_UP

import numpy as np
import pytest

from bot.domain.messages import FundingRate, OrderCancelled, StopsChanged
from bot.domain.money import to_decimal
from bot.exchange import Terms
from bot.exchange.bars.path import path
from bot.synth import MarketRecipe, market
from tests.exchange.bars.desk import FREE, BarDesk, D, exact, free, holding, opened
from tests.helpers import T0, bar, instrument

FIVE = 300_000


# Market orders


def test_a_market_order_fills_at_the_next_open_exactly_when_slippage_is_nothing() -> None:
    desk = opened(BarDesk(), 100)
    desk.buy("2")
    desk.bar(bar(1, 104, open=101.3))
    assert (desk.last.price, desk.last.qty, desk.last.ts_ms) == (D("101.3"), D(2), T0 + FIVE)
    assert desk.last.slippage_quote == 0


def test_an_entry_does_not_outlive_a_hole_in_the_bars_and_an_exit_does() -> None:
    desk = opened(BarDesk())
    desk.buy("1")
    (cancelled,) = desk.bar(bar(7, 120))
    assert isinstance(cancelled, OrderCancelled)
    assert cancelled.reason == "NoMarketData"
    desk.buy("1")
    desk.bar(bar(8, 120))
    desk.sell("1", reduce_only=True)
    desk.bar(bar(20, 130))
    assert (desk.last.side, desk.last.ts_ms) == ("Sell", T0 + 20 * FIVE)


@pytest.mark.parametrize(("side", "price"), [("Buy", "100.1"), ("Sell", "99.9")])
def test_half_the_spread_is_paid_away_from_us(side: str, price: str) -> None:
    desk = opened(BarDesk(free(default_half_spread_bps=10.0)))
    desk.send(side, "3")  # type: ignore[arg-type]
    desk.bar(bar(1, 100))
    assert desk.last.price == D(price)  # 100 ± 10 bps
    assert desk.last.slippage_quote == D("0.3")  # 3 × 0.1


def test_a_symbols_own_spread_goes_before_the_default() -> None:
    desk = opened(BarDesk(free(default_half_spread_bps=10.0, half_spread_bps={"BTCUSDT": 20.0})))
    desk.buy("1")
    desk.bar(bar(1, 100))
    assert desk.last.price == D("100.2")


@pytest.mark.parametrize(("side", "price"), [("Buy", "100.1"), ("Sell", "99.9")])
def test_a_price_between_ticks_is_rounded_against_us(side: str, price: str) -> None:
    desk = opened(BarDesk(free(default_half_spread_bps=0.1)))  # 100 ± 0.001 on a tick of 0.1
    desk.send(side, "1")  # type: ignore[arg-type]
    desk.bar(bar(1, 100))
    assert desk.last.price == D(price)


def test_impact_is_the_square_root_law() -> None:
    # σ = ln(110/100) / (2 sqrt(ln 2)) = 0.0953102 / 1.6651092 = 0.0572396
    # sqrt(40 / 1000) = 0.2; impact = 1 × 0.0572396 × 0.2 = 0.0114479 → 105 × 1.0114479 = 106.20203
    desk = opened(BarDesk(free(impact_frac=1.0), instruments=[exact()]))
    desk.buy("40")
    desk.bar(bar(1, 105, open=105, high=110, low=100, volume=1000))
    assert float(desk.last.price) == pytest.approx(106.20203, abs=1e-5)


def test_four_times_the_quantity_moves_the_price_twice_as_far() -> None:
    moves = []
    for qty in ("10", "40"):
        desk = opened(BarDesk(free(impact_frac=1.0), instruments=[exact()]))
        desk.buy(qty)
        desk.bar(bar(1, 100, high=101, low=99))
        moves.append(float(desk.last.price) - 100)
    assert moves[1] / moves[0] == pytest.approx(2.0)


def test_what_a_tenth_of_the_volume_cannot_fill_is_cancelled() -> None:
    desk = opened(BarDesk(free(liquidity="volume")))
    desk.buy("15")
    desk.bar(bar(1, 100, volume=87.65))  # 10 % = 8.765
    assert desk.last.qty == D("8.765")
    assert desk.ends() == [("o1", "EC_NoImmediateQtyToFill")]


def test_the_orders_of_a_bar_share_its_volume() -> None:
    desk = opened(BarDesk(free(liquidity="volume")))
    desk.buy("6")
    desk.buy("6")
    desk.bar(bar(1, 100, volume=100))
    assert [fill.qty for fill in desk.fills] == [D(6), D(4)]


def test_a_bar_without_volume_fills_nothing_unless_liquidity_is_full() -> None:
    for liquidity, count in (("volume", 0), ("full", 1)):
        desk = opened(BarDesk(free(liquidity=liquidity)))
        desk.buy("1")
        desk.bar(bar(1, 100, volume=0))
        assert len(desk.fills) == count


def test_latency_inside_a_bar_fills_at_that_place_of_its_path() -> None:
    desk = opened(BarDesk(free(latency_ms=FIVE // 6), instruments=[exact()]))
    desk.buy("1")
    b = bar(1, 100, open=100, high=106, low=94)
    desk.bar(b)
    # A sixth of the bar is half of the first of three segments: halfway to the first extreme.
    assert float(desk.last.price) == pytest.approx((100 + path(b, 0)[1]) / 2)
    assert desk.last.ts_ms == T0 + FIVE + FIVE // 6


def test_latency_longer_than_a_bar_waits_for_the_bar_it_ends_in() -> None:
    desk = opened(BarDesk(free(latency_ms=2 * FIVE)))
    desk.buy("1")
    assert desk.bar(bar(1, 101)) == []
    assert desk.bar(bar(2, 102)) == []
    desk.bar(bar(3, 103))
    assert (desk.last.price, desk.last.ts_ms) == (D(103), T0 + 3 * FIVE)


# Limit orders


def test_a_limit_order_that_is_only_touched_does_not_fill() -> None:
    desk = opened(BarDesk())
    desk.buy("1", price="99")
    desk.bar(bar(1, 100, low=99))
    assert desk.fills == []
    desk.bar(bar(2, 100, low=98.9))
    assert (desk.last.price, desk.last.maker) == (D(99), True)


def test_a_sell_limit_fills_when_the_price_goes_above_it() -> None:
    desk = opened(BarDesk())
    desk.sell("1", price="101")
    desk.bar(bar(1, 100, high=101))
    assert desk.fills == []
    desk.bar(bar(2, 100, high=101.1))
    assert (desk.last.price, desk.last.side, desk.last.maker) == (D(101), "Sell", True)


def test_a_maker_pays_the_makers_fee_and_a_taker_the_takers() -> None:
    desk = opened(BarDesk(free(taker_fee_frac=D("0.00055"), maker_fee_frac=D("0.0002"))))
    desk.buy("1", price="99")
    desk.buy("1")
    desk.bar(bar(1, 100, low=98))
    fees = {fill.maker: fill.fee_quote for fill in desk.fills}
    assert fees == {False: D("0.055"), True: D("0.0198")}  # 100 × 0.00055, 99 × 0.0002


@pytest.mark.fault(48)
def test_a_rebate_is_a_negative_fee_and_raises_the_wallet() -> None:
    desk = opened(BarDesk(free(maker_fee_frac=D("-0.0001"))))
    desk.buy("1", price="99")
    desk.bar(bar(1, 98, open=100))
    assert desk.wallet == D("10000.0099")


def test_a_marketable_limit_takes_at_the_better_price() -> None:
    desk = opened(BarDesk())
    desk.buy("1", price="105")
    desk.bar(bar(1, 100, open=101))
    assert (desk.last.price, desk.last.maker) == (D(101), False)


def test_a_marketable_limit_never_pays_more_than_its_limit() -> None:
    desk = opened(BarDesk(free(impact_frac=1.0)))
    desk.buy("40", price="100.2")
    desk.bar(bar(1, 100, open=100, high=110, low=95))
    assert desk.last.price == D("100.2")


def test_a_limit_inside_the_spread_rests() -> None:
    desk = opened(BarDesk(free(default_half_spread_bps=10.0)))  # the ask is 100.1
    desk.buy("1", price="100")
    desk.bar(bar(1, 100))
    assert desk.fills == []
    assert len(desk.venue.open_orders) == 1


def test_a_resting_order_fills_by_volume_bar_after_bar() -> None:
    desk = opened(BarDesk(free(liquidity="volume")))
    desk.buy("25", price="99")
    for index in (1, 2, 3):
        desk.bar(bar(index, 98, open=100 if index == 1 else 98, high=100, volume=100))
    assert [fill.qty for fill in desk.fills] == [D(10), D(10), D(5)]
    assert {fill.price for fill in desk.fills} == {D(99)}
    assert desk.venue.open_orders == []


@pytest.mark.parametrize("high", [98.0, 99.5])
def test_a_resting_order_in_a_gap_fills_at_its_own_price_as_makers_do(high: float) -> None:
    desk = opened(BarDesk())
    desk.buy("1", price="99")
    desk.bar(bar(1, 100))
    desk.bar(bar(2, 97, open=98, high=high))
    assert (desk.last.price, desk.last.maker) == (D(99), True)


@pytest.mark.parametrize(
    ("force", "reason"),
    [("IOC", "EC_NoImmediateQtyToFill"), ("FOK", "EC_CancelForNoFullFill")],
)
def test_ioc_and_fok_do_not_wait(force: str, reason: str) -> None:
    desk = opened(BarDesk())
    desk.buy("1", price="99", time_in_force=force)
    desk.bar(bar(1, 98, open=100))
    assert desk.fills == []
    assert desk.ends() == [("o1", reason)]


def test_ioc_takes_what_there_is_and_fok_all_or_nothing() -> None:
    for force, qty in (("IOC", [D(10)]), ("FOK", [])):
        desk = opened(BarDesk(free(liquidity="volume")))
        desk.buy("15", price="101", time_in_force=force)
        desk.bar(bar(1, 100, volume=100))
        assert [fill.qty for fill in desk.fills] == qty
        assert len(desk.ends()) == 1


def test_fok_fills_whole_when_it_can() -> None:
    desk = opened(BarDesk(free(liquidity="volume")))
    desk.buy("10", price="101", time_in_force="FOK")
    desk.bar(bar(1, 100, volume=100))
    assert desk.qty == 10
    assert desk.ends() == []


def test_post_only_is_cancelled_when_it_would_take_and_rests_otherwise() -> None:
    desk = opened(BarDesk())
    desk.buy("1", price="100", time_in_force="PostOnly")
    desk.buy("1", price="99", time_in_force="PostOnly")
    desk.bar(bar(1, 98, open=100))
    assert desk.ends() == [("o1", "EC_PostOnlyWillTakeLiquidity")]
    assert (desk.last.order_id, desk.last.maker) == ("o2", True)


def test_a_cancelled_order_fills_no_more() -> None:
    desk = opened(BarDesk())
    desk.buy("1", price="99")
    desk.bar(bar(1, 100))
    assert desk.cancel("o1") == [OrderCancelled(T0 + 2 * FIVE, "o1", "CancelByUser")]
    desk.bar(bar(2, 90))
    assert desk.fills == []


def test_a_cancel_of_an_order_that_is_gone_is_answered_with_nothing() -> None:
    desk = opened(BarDesk())
    desk.buy("1")
    desk.bar(bar(1, 100))
    assert desk.cancel("o1") == []
    assert desk.cancel("never") == []


def test_a_cancel_takes_as_long_as_an_order() -> None:
    desk = opened(BarDesk(free(latency_ms=FIVE)))
    desk.buy("1", price="99")
    desk.bar(bar(1, 100))
    desk.bar(bar(2, 100))
    assert desk.cancel("o1") == []
    desk.bar(bar(3, 98, open=100))  # under way for the whole of this bar
    assert desk.qty == 1


def test_a_cancel_on_its_way_ends_the_order_when_it_arrives() -> None:
    desk = opened(BarDesk(free(latency_ms=1000)))
    desk.buy("1", price="99")
    desk.bar(bar(1, 100))
    desk.cancel("o1")
    assert desk.bar(bar(2, 100)) == [OrderCancelled(T0 + 2 * FIVE + 1000, "o1", "CancelByUser")]


def test_a_second_cancel_does_not_put_off_the_first() -> None:
    desk = opened(BarDesk(free(latency_ms=FIVE + 1000)))
    desk.buy("1", price="99")
    for number in (1, 2, 3):
        desk.bar(bar(number, 100))
    desk.cancel("o1")
    assert desk.bar(bar(4, 100)) == []
    assert desk.cancel("o1") == []
    assert desk.bar(bar(5, 100)) == [OrderCancelled(T0 + 5 * FIVE + 1000, "o1", "CancelByUser")]


# Reduce-only and dust


def test_a_reduce_only_order_is_cut_to_the_position() -> None:
    desk = holding("2")
    desk.sell("5", reduce_only=True)
    desk.bar(bar(2, 100))
    assert desk.qty == 0
    assert desk.last.qty == 2
    assert desk.ends() == [("o2", "CancelByReduceOnly")]


def test_a_resting_reduce_only_order_goes_with_its_position() -> None:
    desk = holding("2")
    desk.sell("2", price="120", reduce_only=True)
    desk.sell("2")
    desk.bar(bar(2, 100))
    assert desk.ends() == [("o2", "CancelByReduceOnly")]


def test_a_sell_without_reduce_only_goes_through_zero() -> None:
    desk = holding("2")
    desk.sell("5")
    desk.bar(bar(2, 100))
    assert desk.qty == -3


@pytest.mark.fault(36)
def test_dust_below_every_minimum_can_be_closed() -> None:
    rules = instrument(min_qty=D("0.01"), min_notional_quote=D(5))
    desk = holding("0.1", instruments=[rules])
    desk.venue.positions["BTCUSDT"].qty = D("0.0004")  # what a partial fill elsewhere left
    desk.venue.positions["BTCUSDT"].entry_value = D("0.04")
    desk.sell("0.0004", reduce_only=True)
    desk.bar(bar(2, 100))
    assert desk.qty == 0


# Stops and targets


def test_a_stop_loses_what_it_says_plus_spread() -> None:
    desk = opened(BarDesk(free(default_half_spread_bps=10.0)))
    desk.buy("1", stop_loss="95")
    desk.bar(bar(1, 100))
    desk.bar(bar(2, 90, open=100))
    assert desk.last.price == D("94.9")  # 95 − 9.5 bps of… 95 × 0.001 = 0.095 → 94.905, down to the tick
    assert (desk.last.cause, desk.last.slippage_quote) == ("stop_loss", D("0.1"))


@pytest.mark.parametrize(
    ("qty", "stop", "open_", "close"), [("1", "95", 93.0, 94.0), ("-1", "105", 107.0, 106.0)]
)
def test_a_gap_over_the_stop_fills_at_the_open_not_at_the_stop(
    qty: str, stop: str, open_: float, close: float
) -> None:
    desk = holding(qty)
    desk.stops(stop)
    desk.bar(bar(2, close, open=open_))
    assert desk.last.price == to_decimal(open_)
    assert desk.last.ts_ms == T0 + 2 * FIVE


def test_a_gap_over_the_target_fills_at_the_open() -> None:
    desk = holding("1")
    desk.stops(None, "110")
    desk.bar(bar(2, 115))
    assert (desk.last.price, desk.last.cause) == (D(115), "take_profit")


def test_a_touch_triggers_stop_and_target() -> None:
    for stop, target, low, high, price in (
        ("95", "105", 95.0, 101.0, "95"),
        ("95", "105", 99.0, 105.0, "105"),
    ):
        desk = holding("1")
        desk.stops(stop, target)
        desk.bar(bar(2, 100, low=low, high=high))
        assert desk.last.price == D(price)


def test_the_stop_guards_the_entrys_own_bar() -> None:
    desk = opened(BarDesk())
    desk.buy("1", stop_loss="95", take_profit="200")
    desk.bar(bar(1, 100, low=90))
    assert [fill.cause for fill in desk.fills] == ["order", "stop_loss"]
    assert desk.last.price == D(95)


def test_a_stop_sees_only_the_path_after_the_entry() -> None:
    desk = opened(BarDesk())
    desk.buy("1", price="96", stop_loss="93")
    low_first = next(i for i in range(1, 99) if path(bar(i, 99, open=100, high=101, low=94), 0)[1] == 94)
    desk.bar(bar(low_first, 99, open=100, high=101, low=94))
    assert (desk.qty, desk.venue.stops("BTCUSDT")) == (1, (D(93), None))
    # A sell stop-out above the entry that lies before it on the path is not met: the high came first.
    desk = opened(BarDesk())
    desk.buy("1", price="96", take_profit="100.5")
    high_first = next(i for i in range(1, 99) if path(bar(i, 99, open=100, high=101, low=94), 0)[1] == 101)
    desk.bar(bar(high_first, 99, open=100, high=101, low=94))
    assert desk.qty == 1


def test_the_path_decides_between_stop_and_target_and_worst_takes_the_stop() -> None:
    causes = set()
    for seed in range(20):
        desk = holding("1", seed=seed)
        desk.stops("95", "105")
        desk.bar(bar(2, 100, low=90, high=110))
        causes.add(desk.last.cause)
    assert causes == {"stop_loss", "take_profit"}
    for qty, stop, target in (("1", "95", "105"), ("-1", "105", "95")):
        for seed in range(20):
            desk = holding(qty, free(intrabar="worst"), seed=seed)
            desk.stops(stop, target)
            desk.bar(bar(2, 100, low=90, high=110))
            assert desk.last.cause == "stop_loss"


def test_finer_candles_decide_what_a_bar_cannot() -> None:
    coarse = bar(2, 100, low=90, high=110)
    minutes = [  # up first, then down: the target is met before the stop
        bar(10, 110, open=100, interval_ms=60_000),
        bar(11, 100, open=110, interval_ms=60_000),
        bar(12, 90, open=100, interval_ms=60_000),
        bar(13, 100, open=90, interval_ms=60_000),
        bar(14, 100, interval_ms=60_000),
    ]
    for order, cause in ((minutes, "take_profit"), (minutes[:4], None)):
        causes = set()
        for seed in range(12):
            desk = holding("1", seed=seed, detail={"BTCUSDT": {coarse.start_ms: order}})
            desk.stops("95", "105")
            desk.bar(coarse)
            causes.add(desk.last.cause)
        assert causes == ({cause} if cause else {"stop_loss", "take_profit"})
    assert desk.venue.facts.detail_missing_bars == 2  # the entry's bar and this one


def test_finer_candles_that_disagree_are_counted_and_not_used() -> None:
    coarse = bar(2, 100, low=90, high=110)
    wrong = [bar(10 + i, 100, interval_ms=60_000) for i in range(5)]
    desk = holding("1", detail={"BTCUSDT": {coarse.start_ms: wrong}})
    desk.stops("95")
    desk.bar(coarse)
    assert desk.last.cause == "stop_loss"
    assert desk.venue.facts.detail_mismatch_bars == 1


def test_stops_are_told_when_set_changed_and_gone() -> None:
    desk = opened(BarDesk())
    desk.buy("1", stop_loss="95")
    desk.bar(bar(1, 100))
    desk.stops("96", "120")
    desk.sell("1", reduce_only=True)
    desk.bar(bar(2, 100))
    told = [(e.stop_loss, e.take_profit) for e in desk.said if isinstance(e, StopsChanged)]
    assert told == [(D(95), None), (D(96), D(120)), (None, None)]


def test_an_order_without_stops_keeps_those_of_the_position_and_a_flip_drops_them() -> None:
    desk = holding("1")
    desk.stops("90")
    desk.buy("1")
    desk.bar(bar(2, 100))
    assert desk.venue.stops("BTCUSDT") == (D(90), None)
    desk.sell("5")
    desk.bar(bar(3, 100))
    assert desk.venue.stops("BTCUSDT") == (None, None)


def test_a_later_fill_of_an_order_does_not_bring_its_first_stop_back() -> None:
    desk = opened(BarDesk(free(liquidity="volume")))
    desk.buy("15", price="99", stop_loss="80")
    desk.bar(bar(1, 98, open=100, volume=100))
    desk.stops("90")
    desk.bar(bar(2, 98, volume=100))
    assert (desk.qty, desk.venue.stops("BTCUSDT")) == (15, (D(90), None))


def test_stops_attached_to_a_flip_protect_the_new_side() -> None:
    desk = holding("1")
    desk.stops("90")
    desk.sell("3", stop_loss="110")
    desk.bar(bar(2, 100))
    assert (desk.qty, desk.venue.stops("BTCUSDT")) == (-2, (D(110), None))


def test_what_the_volume_cannot_close_stays_behind_the_same_stop() -> None:
    desk = opened(BarDesk(free(liquidity="volume")))
    desk.buy("20", stop_loss="95")
    desk.bar(bar(1, 100, volume=200))
    desk.bar(bar(2, 94, open=100, volume=50))  # 5 at the stop
    assert desk.qty == 15
    desk.bar(bar(3, 92, open=93, volume=1000))  # the rest at the open
    assert [fill.price for fill in desk.fills[1:]] == [D(95), D(93)]
    assert desk.qty == 0


def test_a_close_sent_before_the_bar_goes_before_the_stop_at_its_open() -> None:
    desk = holding("1")
    desk.stops("95")
    desk.sell("1")
    desk.bar(bar(2, 93))
    assert [fill.cause for fill in desk.fills] == ["order", "order"]
    assert desk.qty == 0


# Funding


def rate(value: str, index: int = 2) -> FundingRate:
    return FundingRate(T0 + index * FIVE, "BTCUSDT", D(value))


def test_a_long_pays_a_positive_rate_and_a_short_receives_it() -> None:
    for qty, amount in (("100", "-1"), ("-100", "1")):  # 100 × 100 × 0.0001 = 1
        desk = holding(qty)
        desk.see(rate("0.0001"))
        assert [(p.ts_ms, p.amount_quote) for p in desk.paid()] == [(T0 + 2 * FIVE, D(amount))]
        assert desk.wallet == 10000 + D(amount)


def test_the_documented_funding_example() -> None:
    # Bybit's transaction log: long 100 XRP at 0.3676, rate 0.0001 → −0.003676
    rules = instrument(tick_size=D("0.0001"))
    desk = holding("100", price=0.3676, instruments=[rules])
    desk.see(rate("0.0001"))
    assert desk.paid()[0].amount_quote == D("-0.003676")


def test_funding_is_paid_once_a_stamp_and_not_when_flat() -> None:
    desk = holding("1")
    desk.see(rate("0.0001"))
    desk.see(rate("0.0001"))
    assert len(desk.paid()) == 1
    desk.sell("1")
    desk.bar(bar(2, 100))
    desk.see(rate("0.0001", 3))
    assert len(desk.paid()) == 1


def test_funding_counts_the_position_before_the_orders_of_its_instant() -> None:
    desk = opened(BarDesk())
    desk.buy("1")
    desk.see(rate("0.01", 1))  # at the open the order fills at
    desk.bar(bar(1, 100))
    assert desk.paid() == []
    desk.sell("1")
    desk.see(rate("0.01", 2))
    desk.bar(bar(2, 100))
    assert len(desk.paid()) == 1


def test_funding_inside_a_long_bar_is_settled_at_its_time_with_what_is_held_then() -> None:
    desk = opened(BarDesk())
    desk.buy("1", price="95", stop_loss="85")
    stamp = FundingRate(T0 + FIVE + FIVE // 2, "BTCUSDT", D("0.001"))
    assert desk.see(stamp) == []  # the bar around it is not known yet
    low_first = next(s for s in range(99) if path(bar(1, 96, open=100, high=101, low=90), s)[1] == 90)
    desk.venue._seed = low_first
    said = desk.bar(bar(1, 96, open=100, high=101, low=90))
    assert [type(event).__name__ for event in said] == ["Filled", "StopsChanged", "FundingPaid"]
    assert desk.paid()[0].ts_ms == stamp.ts_ms


def test_a_late_rate_settles_what_was_held_at_its_stamp() -> None:
    desk = holding("1")
    desk.sell("1")
    desk.bar(bar(2, 100))
    desk.see(rate("0.01", 2))  # the sale was at this very instant, hence after it
    assert desk.paid()[0].amount_quote == -1


def test_funding_uses_the_mark_price_where_one_is_known() -> None:
    marks = {i: bar(i, 110) for i in range(4)}
    desk = holding("1", mark_bars={"BTCUSDT": {b.start_ms: b for b in marks.values()}})
    desk.see(rate("0.01"))
    assert desk.paid()[0].amount_quote == D("-1.1")


# The end, repeats, identity


def test_settling_cancels_orders_and_closes_at_the_last_close_with_a_takers_fee() -> None:
    desk = holding("2", free(taker_fee_frac=D("0.001")))
    desk.buy("1", price="50")
    desk.bar(bar(2, 103))
    desk.settle(T0 + 3 * FIVE)
    assert desk.ends() == [("o2", "CancelBySettle")]
    assert (desk.last.cause, desk.last.price, desk.last.fee_quote) == ("settle", D(103), D("0.206"))
    # 2 × (103 − 100) − 0.2 − 0.206
    assert desk.wallet == D("10005.594")
    assert desk.venue.positions == {}


def test_a_repeated_or_overlapping_bar_changes_nothing() -> None:
    desk = holding("1")
    desk.stops("95")
    again = bar(1, 90, low=80)
    assert desk.bar(again) == []
    assert desk.bar(bar(0, 90, low=80, interval_ms=2 * FIVE)) == []
    assert desk.venue.facts.stale_bars == 2


def test_the_same_bar_object_twice_moves_nothing_the_second_time() -> None:
    desk = holding("1", free(liquidity="volume"))
    desk.stops("99")
    b = bar(2, 98, open=100, volume=1)
    desk.bar(b)
    assert desk.bar(b) == []
    assert desk.qty == D("0.9")


def test_execution_ids_are_never_repeated() -> None:
    desk = opened(BarDesk(free(liquidity="volume")))
    for index in range(1, 9):
        desk.send("Buy" if index % 2 else "Sell", "3")
        desk.bar(bar(index, 100, volume=10 + index))
    ids = [fill.exec_id for fill in desk.fills]
    assert len(ids) == 8 == len(set(ids))


def test_free_terms_are_free() -> None:
    assert FREE.half_spread_frac("BTCUSDT") == 0
    assert Terms().taker_fee_frac == D("0.00055")


def test_a_crossing_rule_earns_what_it_earns_without_a_venue() -> None:
    """Two moving averages over invented bars: the venue's wallet against ten lines of plain arithmetic."""
    series = market(MarketRecipe(interval_ms=FIVE, bars=3_000, start_ms=T0), ["BTCUSDT"], 11)["BTCUSDT"]
    bars, fee = list(series.bars()), D("0.00055")

    def booked(amount: D) -> D:
        return amount.quantize(D("0.00000001"), rounding=ROUND_HALF_UP)

    fast, slow = (np.convolve(series.ohlcv[:, 3], np.ones(n) / n, mode="full")[:3_000] for n in (8, 21))
    desk = BarDesk(free(taker_fee_frac=fee), "100000", instruments=[exact()])
    expected, bought, trades = D(100_000), None, 0
    for index, b in enumerate(bars):
        desk.bar(b)
        if index + 1 == len(bars) or (fast[index] > slow[index]) == (bought is not None):
            continue
        price = to_decimal(bars[index + 1].open)
        expected += (price - bought if bought is not None else 0) - booked(price * fee)
        trades += bought is not None
        desk.send("Buy" if bought is None else "Sell", "1")
        bought = price if bought is None else None
    if bought is not None:
        expected += (last := to_decimal(bars[-1].close)) - bought - booked(last * fee)
    desk.settle(bars[-1].close_ms)
    assert trades > 50
    assert abs(desk.wallet - expected) < D("1e-9")
