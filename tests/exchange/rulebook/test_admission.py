"""What the venue refuses, and with which retCode."""

import pytest

from bot.domain.messages import InstrumentChanged, StopsRejected
from tests.exchange.bars.desk import FREE, BarDesk, D, code, free, holding, opened
from tests.exchange.bars.test_margin import TIERS
from tests.helpers import T0, bar, instrument

STRICT = instrument(
    tick_size=D("0.5"),
    qty_step=D("0.01"),
    min_qty=D("0.02"),
    max_qty=D(50),
    max_market_qty=D(20),
    min_notional_quote=D(5),
    min_price=D("0.5"),
    max_price=D(1000),
)


def strict(wallet: str = "10000") -> BarDesk:
    return opened(BarDesk(FREE, wallet, instruments=[STRICT]))


@pytest.mark.parametrize(
    ("qty", "changes", "expected"),
    [
        ("1", {}, 0),
        ("1", {"symbol": "NOUSDT"}, 10001),
        ("0.01", {}, 10001),  # below the minimum
        ("0.025", {}, 10001),  # off the step
        ("20.01", {}, 10001),  # above the maximum of a market order
        ("20.01", {"price": "100"}, 0),
        ("50.01", {"price": "100"}, 10001),
        ("Infinity", {}, 10001),
        ("0.04", {}, 110094),  # 0.04 × 100 = 4 < 5
        ("0.05", {}, 0),
        ("0.05", {"price": "99"}, 110094),  # 4.95
        ("1", {"price": "1000.5"}, 110003),
        ("1", {"price": "0.4"}, 110003),
        ("1", {"price": "99.7"}, 10001),  # off the tick
        ("1", {"reduce_only": True}, 110017),  # nothing to reduce
        ("1", {"stop_loss": "99"}, 0),
        ("1", {"stop_loss": "100"}, 10001),
        ("1", {"stop_loss": "100.5"}, 10001),
        ("1", {"take_profit": "100"}, 10001),
        ("1", {"take_profit": "99"}, 10001),
        ("1", {"stop_loss": "98.7"}, 10001),  # off the tick
        ("1", {"take_profit": "Infinity"}, 110003),
        ("1", {"price": "90", "stop_loss": "95"}, 10001),  # judged from the order's own price
        ("1", {"price": "90", "stop_loss": "85"}, 0),
        ("20", {"ref_price": "1"}, 0),
    ],
)
def test_a_buy_is_judged(qty: str, changes: dict[str, object], expected: int) -> None:
    assert code(strict().buy(qty, **changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stop_loss": "101"}, 0),
        ({"stop_loss": "100"}, 10001),
        ({"take_profit": "99"}, 0),
        ({"take_profit": "101"}, 10001),
    ],
)
def test_a_sell_has_its_stop_above_and_its_target_below(changes: dict[str, object], expected: int) -> None:
    assert code(strict().sell("1", **changes)) == expected


def test_an_order_id_is_used_once_for_ever() -> None:
    desk = strict()
    desk.buy("1")
    desk.bar(bar(1))
    desk.count = 0
    assert code(desk.buy("1")) == 110072


def test_a_refused_id_may_be_used_again() -> None:
    desk = strict()
    assert code(desk.buy("0.01")) == 10001
    desk.count = 0
    assert code(desk.buy("1")) == 0


def test_there_is_no_order_without_balance() -> None:
    desk = strict("100")
    assert code(desk.buy("10.01")) == 110007  # 1001 / 10 > 100
    assert code(desk.buy("10")) == 0


def test_fees_are_part_of_the_margin() -> None:
    desk = opened(BarDesk(free(taker_fee_frac=D("0.00055")), "1000", instruments=[STRICT]))
    # 100 units at 100, leverage 10: 1000 + 5.5 + 4.95
    assert code(desk.buy("20", price="100")) == 0
    assert code(desk.buy("50", price="100")) == 0
    assert code(desk.buy("30", price="100")) == 110007
    assert code(desk.buy("28.9", price="100")) == 0  # Σ 98.9 × 10.1045 = 999.34


def test_a_reduction_needs_no_margin() -> None:
    desk = holding("99", wallet="1000")
    desk.bar(bar(2, 95, open=100))
    assert code(desk.sell("50")) == 0
    assert code(desk.sell("99", reduce_only=True)) == 0


def test_the_same_side_does_not_reduce() -> None:
    desk = holding("1")
    assert code(desk.buy("1", reduce_only=True)) == 110017


def test_a_close_on_its_way_leaves_nothing_to_reduce() -> None:
    desk = holding("1")
    assert code(desk.sell("1", reduce_only=True)) == 0
    assert code(desk.sell("1", reduce_only=True)) == 110017


def test_a_reduction_takes_no_stops() -> None:
    desk = holding("1")
    assert code(desk.sell("1", reduce_only=True, stop_loss="105")) == 10001


def test_a_reduction_has_a_step_but_no_minimum_value_and_no_maximum() -> None:
    desk = strict()
    desk.buy("20")
    desk.buy("20")
    desk.bar(bar(1))
    assert code(desk.sell("0.03", reduce_only=True)) == 0  # 3 USDT
    assert code(desk.sell("0.025", reduce_only=True)) == 10001
    assert code(desk.sell("0.01", reduce_only=True)) == 10001
    assert code(desk.sell("39.97", reduce_only=True)) == 0  # more than a market order may have


def test_five_hundred_orders_are_enough() -> None:
    desk = opened(BarDesk(FREE, "1e9", instruments=[STRICT]))
    assert {code(desk.buy("1", price="50")) for _ in range(500)} == {0}
    assert code(desk.buy("1", price="50")) == 110020


def test_a_position_must_fit_a_risk_tier_for_its_leverage() -> None:
    desk = opened(BarDesk(free(leverage=D(20)), "1e9", instruments=[instrument(tiers=TIERS)]))
    assert code(desk.buy("50")) == 0  # 5000: up to 25
    assert code(desk.buy("0.01")) == 110090  # 10 only, and 20 is set
    assert code(desk.sell("100")) == 0  # through zero, to 5000 again


@pytest.mark.parametrize(
    ("status", "opening", "closing"),
    [("Closed", 110074, 110074), ("PreLaunch", 110074, 110074), ("Delivering", 110023, 0)],
)
def test_a_symbol_that_is_not_trading_takes_no_entry(status: str, opening: int, closing: int) -> None:
    desk = holding("1")
    desk.see(InstrumentChanged(T0, instrument(status=status)))
    assert code(desk.buy("1")) == opening
    assert code(desk.sell("1", reduce_only=True)) == closing


def test_a_new_symbol_can_be_listed_while_running() -> None:
    desk = strict()
    assert code(desk.buy("1", symbol="ETHUSDT")) == 10001
    desk.see(InstrumentChanged(T0, instrument("ETHUSDT")))
    assert code(desk.buy("1", symbol="ETHUSDT")) == 0


@pytest.mark.parametrize(
    ("stop_loss", "take_profit", "expected"),
    [("100", None, 10001), ("100.5", None, 10001), (None, "100", 10001), ("95.55", None, 10001)],
)
def test_stops_on_the_wrong_side_are_refused_and_the_old_ones_stay(
    stop_loss: str | None, take_profit: str | None, expected: int
) -> None:
    desk = holding("1")
    desk.stops("90", "120")
    said = desk.stops(stop_loss, take_profit)
    assert isinstance(said, StopsRejected)
    assert (said.symbol, said.code) == ("BTCUSDT", expected)
    assert desk.venue.stops("BTCUSDT") == (D(90), D(120))


def test_stops_need_a_position() -> None:
    assert code(opened(BarDesk()).stops("90")) == 10001


def test_none_removes_stops() -> None:
    desk = holding("1")
    desk.stops("90", "120")
    desk.stops(None)
    desk.bar(bar(2, 80, high=130))
    assert desk.qty == 1


def test_refusals_are_counted() -> None:
    desk = strict()
    desk.buy("0.01")
    desk.stops("90")
    assert desk.venue.facts.refusals == 2
