"""Margin and liquidation, by hand and against the venue's recorded figures."""

from decimal import ROUND_HALF_EVEN

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.ledger import Position
from bot.domain.margin import liquidation_price, maintenance
from bot.domain.market import RiskTier
from bot.domain.messages import MarkPrice
from bot.exchange.ledger.book import tier_rows
from bot.exchange.ledger.margin import (
    bankruptcy_price,
    closing_fee,
    order_margin,
    position_margin,
)
from bot.exchange.orders import SetLeverage
from bot.exchange.rulebook.admission import max_leverage
from bot.exchange.rulebook.refusals import Refusal
from tests.exchange.bars.desk import BarDesk, D, free, holding, opened
from tests.helpers import T0, bar, instrument

TAKER = D("0.00055")
TIERS = (
    RiskTier(D(1000), D("0.01"), D(0), D(50)),
    RiskTier(D(5000), D("0.02"), D(10), D(25)),  # 1000 × (0.02 − 0.01)
    RiskTier(D(100000), D("0.05"), D(160), D(10)),  # 10 + 5000 × 0.03
)
EXACT, ROUGH = tier_rows(TIERS)
LOOSE = (RiskTier(D("1e12"), D("0.01"), D(0), D(100)),)


def eight(value: D) -> D:
    return value.quantize(D("1e-8"), ROUND_HALF_EVEN)


# Formulas


def test_the_recorded_position_margin_of_four_xrp() -> None:
    # 4 × 2.7862 / 10 = 1.11448; bankruptcy 2.7862 × 0.9 = 2.50758; 4 × 2.50758 × 0.00055 = 0.005516676
    position = Position(D(4), D("11.1448"))
    assert bankruptcy_price(D("2.7862"), D(10), True) == D("2.50758")
    assert eight(position_margin(position, D("11.1448"), D(10), TAKER)) == D("1.11999668")
    # positionMM 0.08910268: 11.1448 × 0.0075 = 0.083586, and the same fee
    assert eight(D("11.1448") * D("0.0075") + closing_fee(position, D(10), TAKER)) == D("0.08910268")


def test_the_recorded_order_margin_of_ten_xrp() -> None:
    # 25.293 / 10 = 2.5293; × 0.00055 = 0.01391115; × 0.9 × 0.00055 = 0.012520035
    assert order_margin(D(10), D("2.5293"), D(10), TAKER, "Buy") == D("2.555731185")


def test_a_short_is_bankrupt_above_its_entry() -> None:
    assert bankruptcy_price(D(100), D(10), False) == D(110)
    assert closing_fee(Position(D(-2), D(-200)), D(10), TAKER) == D("0.121")  # 220 × 0.00055


@pytest.mark.parametrize(
    ("value", "margin"),
    [("500", "5"), ("1000", "10"), ("1001", "10.02"), ("5000", "90"), ("6000", "140"), ("200000", "9840")],
)
def test_maintenance_goes_up_in_tiers(value: str, margin: str) -> None:
    assert maintenance(D(value), EXACT) == D(margin)


@given(st.floats(0.01, 2e5))
def test_maintenance_in_floats_is_maintenance(value: float) -> None:
    exact = float(maintenance(D(value), EXACT))
    assert maintenance(value, ROUGH) == pytest.approx(exact)


@given(st.integers(1, 10**7), st.integers(1, 1000))
def test_maintenance_never_falls_and_never_jumps(cents: int, more: int) -> None:
    low, high = D(cents) / 100, D(cents + more) / 100
    rise = maintenance(high, EXACT) - maintenance(low, EXACT)
    assert 0 < rise <= (high - low) * D("0.05")


def test_a_larger_position_allows_less_leverage_until_none_does() -> None:
    assert [max_leverage(D(v), TIERS) for v in (1000, 1001, 100000, 100001)] == [50, 25, 10, None]


def test_the_isolated_liquidation_price() -> None:
    loose, _ = tier_rows(LOOSE)
    # 100 × (1 − 1/10 + 0.01) = 91; 100 × (1 + 1/10 − 0.01) = 109
    assert liquidation_price(Position(D(2), D(200)), D(10), loose) == D(91)
    assert liquidation_price(Position(D(-2), D(-200)), D(10), loose) == D(109)
    # With tiers: value 2000, MM = 2000 × 0.02 − 10 = 30, IM = 200: 100 − (200 − 30) / 20 = 91.5
    assert liquidation_price(Position(D(20), D(2000)), D(10), EXACT) == D("91.5")
    assert liquidation_price(Position(), D(10), EXACT) is None


# Isolated


def isolated(qty: str, **options: object) -> BarDesk:
    terms = free(margin_mode="isolated", taker_fee_frac=TAKER)
    return holding(qty, terms, instruments=[instrument(tiers=LOOSE)], wallet="1000", **options)


@pytest.mark.parametrize(
    ("qty", "close", "safe"),
    [("10", 91.1, True), ("10", 91.0, False), ("-10", 108.9, True), ("-10", 109.0, False)],
)
def test_isolated_liquidation_happens_at_its_price_and_not_before(qty: str, close: float, safe: bool) -> None:
    desk = isolated(qty)
    desk.bar(bar(2, close, open=100))
    assert (desk.qty == 0) is not safe


@pytest.mark.parametrize(("qty", "close"), [("10", 80.0), ("-10", 130.0)])
def test_isolated_liquidation_costs_the_margin_even_over_a_gap(qty: str, close: float) -> None:
    desk = isolated(qty)
    before, margin = desk.wallet, desk.venue.account.margin_of(desk.venue.account.held["BTCUSDT/0"])
    desk.buy("1", price="50")
    desk.bar(bar(2, 100))
    desk.bar(bar(3, close))
    # 1000 / 10 + the closing fee at 90 or 110, the bankruptcy price
    assert (desk.last.cause, desk.last.price) == ("liquidation", D(90) if qty == "10" else D(110))
    assert before - desk.wallet == margin
    assert desk.ends() == [("o2", "CancelByPrepareLiq")]
    assert desk.venue.facts.liquidations == 1
    assert desk.venue.facts.bankruptcies == 0


@given(st.integers(1, 400), st.integers(1_000, 9_999), st.sampled_from([2, 3, 7, 10, 25]), st.booleans())
def test_isolated_liquidation_never_costs_more_than_the_margin(
    lots: int, tenths: int, leverage: int, long: bool
) -> None:
    price = tenths / 10
    terms = free(margin_mode="isolated", taker_fee_frac=TAKER, leverage=D(leverage))
    desk = BarDesk(terms, "1e9", instruments=[instrument(tiers=LOOSE)])
    opened(desk, price)
    desk.send("Buy" if long else "Sell", str(D(lots) / 1000))
    desk.bar(bar(1, price))
    before, margin = desk.wallet, desk.venue.account.margin_of(desk.venue.account.held["BTCUSDT/0"])
    desk.bar(bar(2, price * (0.2 if long else 3.0)))
    assert desk.last.cause == "liquidation"
    assert before - desk.wallet <= margin


def test_isolated_liquidation_looks_at_mark_prices_where_there_are_some() -> None:
    calm = {bar(i).start_ms: bar(i, 99) for i in range(2, 5)}
    desk = isolated("10", mark_bars={"BTCUSDT": calm})
    desk.bar(bar(2, 80, open=100))
    assert desk.qty == 10
    assert desk.venue.liquidation_on == {"BTCUSDT": "mark"}
    wild = {bar(2).start_ms: bar(2, 99, low=90)}
    desk = isolated("10", mark_bars={"BTCUSDT": wild})
    desk.bar(bar(2, 100))
    assert desk.last.cause == "liquidation"


def test_a_missing_mark_candle_falls_back_to_the_last_price_and_is_counted() -> None:
    desk = isolated("10", mark_bars={"BTCUSDT": {}})
    counted = desk.venue.facts.mark_missing_bars
    desk.bar(bar(2, 80))
    assert desk.last.cause == "liquidation"
    assert desk.venue.facts.mark_missing_bars == counted + 1


def test_mark_prices_of_a_stream_liquidate_with_the_bar_they_fell_in() -> None:
    desk = isolated("10")
    for offset, price in ((1, 99.0), (2, 90.5), (3, 99.0)):
        desk.see(MarkPrice(T0 + 600_000 + offset, "BTCUSDT", price))
    desk.bar(bar(2, 100))
    assert desk.last.cause == "liquidation"


def test_a_mark_price_after_a_bars_close_does_not_belong_to_it() -> None:
    desk = isolated("10")
    for ts_ms, price in ((900_000 - 1, 99.0), (900_000, 80.0)):  # bar 2 ends at 900 s
        desk.see(MarkPrice(T0 + ts_ms, "BTCUSDT", price))
    desk.bar(bar(2, 100))
    assert desk.qty == 10
    desk.bar(bar(3, 100))
    assert desk.last.cause == "liquidation"


def test_a_bars_mark_prices_are_kept_until_the_bar_is_told() -> None:
    desk = isolated("10")
    for ts_ms, price in ((900_000 - 1, 80.0), (900_000, 99.0)):
        desk.see(MarkPrice(T0 + ts_ms, "BTCUSDT", price))
    desk.bar(bar(2, 100))
    assert desk.last.cause == "liquidation"


def test_a_mark_price_that_is_no_price_is_ignored() -> None:
    desk = isolated("10")
    desk.see(MarkPrice(T0 + 600_001, "BTCUSDT", float("nan")))
    desk.see(MarkPrice(T0 + 600_001, "NOUSDT", 1.0))
    assert desk.venue.liquidation_on == {"BTCUSDT": "last"}


# Cross


def crossed(qty: str, wallet: str, **options: object) -> BarDesk:
    return holding(
        qty, free(taker_fee_frac=D(0)), instruments=[instrument(tiers=LOOSE)], wallet=wallet, **options
    )


def test_cross_is_liquidated_when_equity_falls_below_maintenance() -> None:
    # wallet 150, long 10 at 100: equity 150 + 10 (m − 100), maintenance 10 m × 0.01: equal at
    # m = 850 / 9.9 = 85.8586
    desk = crossed("10", "150")
    desk.buy("0.1", price="50")
    desk.bar(bar(2, 85.9, open=100))
    assert desk.qty == 10
    desk.bar(bar(3, 85.8, open=85.9))
    assert (desk.last.cause, desk.qty) == ("liquidation", 0)
    assert desk.last.price == D("85.8")  # the tick below
    assert desk.ends() == [("o2", "CancelAllBeforeLiq")]


def test_a_short_in_cross_is_liquidated_above() -> None:
    # equity 150 + 10 (100 − m), maintenance 0.1 m: equal at m = 1150 / 10.1 = 113.861
    desk = crossed("-10", "150")
    desk.bar(bar(2, 113.8, open=100))
    assert desk.qty == -10
    desk.bar(bar(3, 113.9, open=113.8))
    assert desk.qty == 0


def test_cross_at_exactly_its_maintenance_is_not_liquidated_yet() -> None:
    # 109 + 10 × (90 − 100) = 9 = 10 × 90 × 0.01
    desk = crossed("10", "109")
    desk.bar(bar(2, 90, open=100))
    assert desk.qty == 10
    desk.bar(bar(3, 90))
    assert desk.qty == 10
    desk.bar(bar(4, 89.9, open=90))
    assert (desk.qty, desk.last.price) == (0, D(90))


def test_a_gap_can_bankrupt_a_cross_account_and_it_says_so() -> None:
    desk = crossed("10", "150")
    desk.bar(bar(2, 80))
    assert desk.wallet == D(-50)  # 150 + 10 × (80 − 100)
    assert (desk.venue.facts.bankruptcies, desk.venue.facts.shortfall_quote) == (1, D(50))


def both(qty: str, other: str, wallet: str) -> BarDesk:
    rules = [instrument(tiers=LOOSE), instrument("ETHUSDT", tiers=LOOSE)]
    desk = BarDesk(free(taker_fee_frac=D(0), leverage=D(20)), wallet, instruments=rules)
    desk.bar(bar(0), bar(0, symbol="ETHUSDT"))
    desk.send("Sell" if qty.startswith("-") else "Buy", qty.lstrip("-"))
    desk.send("Sell" if other.startswith("-") else "Buy", other.lstrip("-"), symbol="ETHUSDT")
    desk.bar(bar(1), bar(1, symbol="ETHUSDT"))
    return desk


def test_in_cross_one_symbols_profit_carries_the_others_loss() -> None:
    desk = both("10", "-10", "150")
    for index, price in enumerate((95.0, 88.0, 80.0, 70.0), start=2):
        desk.bar(bar(index, price), bar(index, price, symbol="ETHUSDT"))
    assert len(desk.venue.positions) == 2
    assert desk.venue.equity_quote == D(150)


def test_in_cross_losses_of_all_symbols_add_up() -> None:
    # each alone would survive 92: 150 − 80 = 70 > 9.2; together 150 − 160 < 0
    desk = both("10", "10", "150")
    desk.bar(bar(2, 96, open=100), bar(2, 96, open=100, symbol="ETHUSDT"))
    assert len(desk.venue.positions) == 2
    desk.bar(bar(3, 92, open=96), bar(3, 92, open=96, symbol="ETHUSDT"))
    assert desk.venue.positions == {}
    # 150 − 20 (100 − m) = 20 m × 0.01 → m = 1850 / 19.8 = 93.434, the tick below: 93.4; then
    # 150 − 66 − 10 (100 − m) = 10 m × 0.01 → m = 916 / 9.9 = 92.525
    assert [fill.price for fill in desk.fills[2:]] == [D("93.4"), D("92.5")]


def test_a_calm_symbol_is_closed_where_its_path_stands_when_the_other_breaks_the_account() -> None:
    desk = both("10", "0.1", "150")
    desk.bar(bar(2, 80), bar(2, 101, open=100, symbol="ETHUSDT"))
    assert [(f.symbol, f.price) for f in desk.fills[2:]] == [("BTCUSDT", D(80)), ("ETHUSDT", D(100))]


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_tie_between_equity_and_maintenance_is_seen_exactly(lots: int, entry: int, mark: int) -> None:
    qty, paid, price = D(lots) / 1000, D(entry) / 10, D(mark) / 10
    desk = opened(BarDesk(free(leverage=D(1)), "1e12", instruments=[instrument(tiers=LOOSE)]), float(paid))
    desk.buy(str(qty))
    desk.bar(bar(1, float(paid)))
    account = desk.venue.account
    account.cash.realised = qty * price * D("0.01") - qty * (price - paid) - account.cash.initial
    assert account.slack(lambda _: float(price)) == 0.0


def test_a_symbol_without_a_bar_is_closed_around_its_last_close() -> None:
    desk = both("10", "10", "150")
    desk.bar(bar(2, 80))  # the larger maintenance goes first
    assert [(f.symbol, f.price) for f in desk.fills[2:]] == [("ETHUSDT", D(100)), ("BTCUSDT", D(80))]


@given(
    st.lists(st.tuples(st.floats(0.93, 1.08), st.floats(0.93, 1.08)), min_size=1, max_size=12),
    st.integers(-9, 9),
    st.integers(-9, 9),
)
def test_the_fast_path_misses_no_margin_call(moves: list[tuple[float, float]], qty: int, other: int) -> None:
    if not qty or not other:
        return
    desk = both(str(qty), str(other), "250")
    prices = [100.0, 100.0]
    for index, pair_ in enumerate(moves, start=2):
        opens = list(prices)
        prices = [round(p * m, 1) for p, m in zip(prices, pair_, strict=True)]
        desk.bar(bar(index, prices[0], open=opens[0]), bar(index, prices[1], open=opens[1], symbol="ETHUSDT"))
        account = desk.venue.account
        if account.held:
            marks = account.marks()
            assert desk.venue.equity_quote >= account.maintenance_quote(marks)


# Balance


def test_an_order_needs_its_margin() -> None:
    # 1000 / (100 / 10) = 100 units without fees
    desk = opened(BarDesk(free(), "1000"))
    assert type(desk.buy("100.001")).__name__ == "OrderRejected"
    assert type(desk.buy("100")).__name__ == "OrderAccepted"
    assert type(desk.buy("0.001")).__name__ == "OrderRejected"  # the first still holds its margin


def test_margin_of_a_partly_filled_order_is_released_as_it_fills() -> None:
    desk = opened(BarDesk(free(liquidity="volume"), "1000"))
    desk.buy("100", price="90")
    assert desk.venue.account.initial_margin_quote == 900
    desk.bar(bar(1, 89, open=100, volume=400))  # 40 of 100 at 90
    # order: 60 × 9 = 540; position in cross: 40 × 89 / 10 = 356
    assert desk.venue.account.initial_margin_quote == 896


def test_turning_around_frees_the_margin_of_what_it_closes() -> None:
    desk = holding("90", wallet="1000")
    assert type(desk.sell("180")).__name__ == "OrderAccepted"
    desk.bar(bar(2))
    assert desk.qty == -90
    assert type(desk.buy("190.001")).__name__ == "OrderRejected"  # long 100.001 needs 1000.01
    assert type(desk.buy("190")).__name__ == "OrderAccepted"


def test_available_balance_counts_open_profit_in_cross_only() -> None:
    for mode, available in (("cross", D(1000) + 50 - 105), ("isolated", D(1000) - 100)):
        desk = holding("10", free(margin_mode=mode), wallet="1000")
        desk.bar(bar(2, 105, open=100))
        assert desk.venue.account.available_quote == available


def levered(desk: BarDesk, symbol: str, leverage: D) -> Refusal | None:
    return desk.venue.exchange.set_leverage(SetLeverage(symbol, leverage, leverage), desk.venue.now_ms)


def test_leverage_can_be_set_within_the_rules() -> None:
    desk = holding("90", wallet="1000")
    assert levered(desk, "BTCUSDT", D(10)) == (110043, "leverage not modified")
    assert levered(desk, "BTCUSDT", D(101))[0] == 110013  # type: ignore[index]
    assert levered(desk, "BTCUSDT", D(5))[0] == 110007  # type: ignore[index]
    assert levered(desk, "NOUSDT", D(5))[0] == 10001  # type: ignore[index]
    assert levered(desk, "BTCUSDT", D(20)) is None
    assert desk.venue.account.available_quote == 1000 - 450
