from decimal import Decimal as D

import msgspec
import pytest

from bot.bybit.instruments import instrument_of
from bot.bybit.wire import InstrumentRow, RiskRow
from bot.domain.errors import BadInput
from bot.domain.market import Instrument, RiskTier
from tests.payloads import bybit as payloads


def row(**changes: object) -> InstrumentRow:
    return msgspec.convert({**payloads.INSTRUMENT, **changes}, InstrumentRow)


def tier(**changes: object) -> RiskRow:
    return msgspec.convert({**payloads.RISK, **changes}, RiskRow)


def test_a_contract_and_its_tiers_become_an_instrument() -> None:
    second = tier(
        id=2,
        riskLimitValue="4000000",
        maintenanceMargin="0.0056",
        initialMargin="0.0125",
        maxLeverage="80",
        mmDeduction="1200",
    )
    found = instrument_of(row(), [second, tier(), tier(symbol="ETHUSDT")])
    assert found == Instrument(
        symbol="BTCUSDT",
        tick_size=D("0.10"),
        qty_step=D("0.001"),
        min_qty=D("0.001"),
        max_qty=D("1190.000"),
        max_market_qty=D("500.000"),
        min_notional_quote=D(5),
        min_price=D("0.10"),
        max_price=D("1999999.80"),
        max_leverage=D("100.00"),
        tiers=(
            RiskTier(D(2_000_000), D("0.005"), D(0), D(100)),
            RiskTier(D(4_000_000), D("0.0056"), D(1200), D(80)),
        ),
        funding_interval_ms=28_800_000,
        status="Trading",
    )


@pytest.mark.parametrize("told", ["0", ""])
def test_without_a_maximum_of_market_orders_that_of_all_orders_counts(told: str) -> None:
    lots = {**payloads.INSTRUMENT["lotSizeFilter"], "maxMktOrderQty": told}
    assert instrument_of(row(lotSizeFilter=lots), [tier()]).max_market_qty == D("1190.000")


def test_margins_in_percent_become_fractions() -> None:
    percent = tier(maintenanceMargin="0.5", initialMargin="1")
    assert instrument_of(row(), [percent]).tiers[0].maintenance_frac == D("0.005")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": "Sleeping"}, "status"),
        ({"fundingInterval": 0}, "fundingInterval"),
        ({"priceFilter": {"minPrice": "1", "maxPrice": "2", "tickSize": "0"}}, "tickSize"),
        ({"priceFilter": {"minPrice": "1", "maxPrice": "NaN", "tickSize": "1"}}, "maxPrice"),
        ({"priceFilter": {"minPrice": "-1", "maxPrice": "2", "tickSize": "1"}}, "minPrice"),
        ({"priceFilter": {"minPrice": "x", "maxPrice": "2", "tickSize": "1"}}, "not a number"),
    ],
)
def test_impossible_trading_rules_are_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(BadInput, match=f"BTCUSDT: .*{why}"):
        instrument_of(row(**changes), [tier()])


def test_a_contract_without_tiers_is_refused() -> None:
    with pytest.raises(BadInput, match="no margin tier"):
        instrument_of(row(), [tier(symbol="ETHUSDT")])


@pytest.mark.parametrize(
    ("status", "ends", "becomes"),
    [
        ("Trading", "0", "Trading"),
        ("Trading", "", "Trading"),
        ("Trading", "1795000000000", "Delivering"),
        ("Closed", "1795000000000", "Closed"),
    ],
)
def test_a_perpetual_whose_end_is_announced_takes_exits_only(status: str, ends: str, becomes: str) -> None:
    assert instrument_of(row(status=status, deliveryTime=ends), [tier()]).status == becomes
