"""What an execution cost: in the quote coin, in another coin, with taxes, and where the row does not tell."""

from decimal import Decimal
from typing import Any

import pytest

from bot.bybit import wire
from bot.bybit.account.fees import fee_quote, funding_quote
from bot.bybit.account.order_table import OrderTable
from bot.domain.errors import BadInput
from bot.domain.messages import Filled, FundingPaid
from tests.bybit.account.rows import execution

GST = wire.ExtraFee(feeCoin="USDT", feeType="GST", subFeeType="IND_GST", feeRate="0.000099", fee="0.0099")


@pytest.mark.parametrize(
    ("fields", "paid"),
    [
        ({"fee": "0.055"}, "0.055"),
        ({"fee": "0.055", "feeCurrency": "USDT"}, "0.055"),
        ({"fee": "-0.02", "feeCurrency": "USDT"}, "-0.02"),
        # 1 at 100 costs 0.055, whatever coin it was taken in and however many of them
        ({"fee": "0.4", "feeCurrency": "MNT", "feeRate": "0.00055"}, "0.055"),
        ({"fee": "", "feeRate": "0.00055"}, "0.055"),
        ({"fee": "", "feeCurrency": "MNT", "feeRate": "-0.0001"}, "-0.01"),
        ({"fee": "0.055", "extraFees": ""}, "0.055"),
        ({"fee": "0.055", "extraFees": []}, "0.055"),
        ({"fee": "0.055", "extraFees": [GST]}, "0.0649"),
        ({"fee": "0.4", "feeCurrency": "MNT", "feeRate": "0.00055", "extraFees": [GST, GST]}, "0.0748"),
        # unknown: no amount in the quote coin and no rate
        ({"fee": ""}, None),
        ({"fee": "0.4", "feeCurrency": "MNT"}, None),
        ({"fee": "0.055", "extraFees": [wire.ExtraFee(feeCoin="MNT", fee="1")]}, None),
    ],
)
def test_a_fee_is_booked_at_its_worth_in_the_quote_coin(fields: dict[str, Any], paid: str | None) -> None:
    assert fee_quote(execution(**fields), "USDT") == (None if paid is None else Decimal(paid))


def test_a_fee_that_is_no_number_is_bad_input() -> None:
    with pytest.raises(BadInput):
        fee_quote(execution(fee="much"), "USDT")


def table() -> OrderTable:
    made = OrderTable("bot", ["BTCUSDT"])
    made.adopted = True
    return made


def test_an_unknown_fee_is_counted_and_marked_and_the_fill_is_not_lost() -> None:
    orders = table()
    (event,) = orders.on_execution(execution(link="other", fee="0.4", feeCurrency="MNT"))
    assert isinstance(event, Filled)
    assert (event.fill.qty, event.fill.fee_quote, event.fill.fee_known) == (1, 0, False)
    assert (orders.amounts_unknown, orders.fees_in_other_coins) == (1, 1)


def test_a_known_fee_in_another_coin_is_counted_as_such() -> None:
    orders = table()
    fields = {"fee": "0.4", "feeCurrency": "MNT", "feeRate": "0.00055"}
    (event,) = orders.on_execution(execution(link="other", **fields))
    assert isinstance(event, Filled)
    assert (event.fill.fee_quote, event.fill.fee_known) == (Decimal("0.055"), True)
    assert (orders.amounts_unknown, orders.fees_in_other_coins) == (0, 1)


@pytest.mark.parametrize(
    ("side", "fee", "rate", "received"),
    [
        ("Buy", "0.01", "0.0001", "-0.01"),
        ("Sell", "-0.01", "0.0001", "0.01"),
        ("Buy", "", "0.0001", "-0.01"),  # a long pays 100 × 0.0001
        ("Sell", "", "0.0001", "0.01"),
        ("Buy", "", "-0.0002", "0.02"),
        ("Buy", "", "", None),
    ],
)
def test_funding_without_an_amount_follows_from_its_rate(
    side: str, fee: str, rate: str, received: str | None
) -> None:
    row = execution(link="", side=side, fee=fee, feeRate=rate, execType="Funding")
    assert funding_quote(row) == (None if received is None else Decimal(received))


def test_funding_of_unknown_amount_is_counted_and_not_booked_as_0() -> None:
    orders = table()
    assert orders.on_execution(execution(link="", fee="", execType="Funding")) == []
    assert orders.amounts_unknown == 1
    (paid,) = orders.on_execution(execution("x2", link="", fee="0.5", execType="Funding"))
    assert isinstance(paid, FundingPaid)
    assert paid.amount_quote == Decimal("-0.5")
