from decimal import Decimal
from typing import Any

import pytest

from bot.bybit.account.absence import ABSENT_ROUNDS, AbsenceProof, is_adjusted, is_as_intended
from tests.bybit.account.rows import intent, order_row


@pytest.mark.fault(28)
@pytest.mark.parametrize(
    ("changes", "equal"),
    [
        ({}, True),
        ({"qty": "1.000"}, True),
        ({"qty": "2"}, False),
        ({"side": "Sell"}, False),
        ({"symbol": "ETHUSDT"}, False),
        ({"price": "99.0"}, True),
        ({"price": "98"}, False),
        ({"orderType": "Market"}, False),
        ({"reduceOnly": True}, False),
    ],
)
def test_a_duplicate_id_is_ours_only_if_the_order_is_as_intended(
    changes: dict[str, Any], equal: bool
) -> None:
    row = order_row("New", **({"price": "99", "orderType": "Limit"} | changes))
    assert is_as_intended(row, intent(order_type="Limit", price=Decimal(99))) is equal


@pytest.mark.fault(29)
@pytest.mark.invariant(8)
def test_absence_takes_spaced_empty_rounds_after_the_last_chance() -> None:
    proof = AbsenceProof(not_before_ms=100, spacing_ms=10)
    verdicts = [proof.empty(now, position_agrees=True) for now in (50, 99, 100, 105, 110, 119, 120)]
    assert verdicts == [False, False, False, False, False, False, True]


@pytest.mark.invariant(8)
@pytest.mark.parametrize("spoil", ["failed", "position"])
def test_absence_is_proven_anew_after_a_round_that_failed_or_a_position_that_differs(spoil: str) -> None:
    proof = AbsenceProof(not_before_ms=0, spacing_ms=1)
    for now in range(1, ABSENT_ROUNDS):
        assert not proof.empty(now, position_agrees=True)
    if spoil == "failed":
        proof.failed()
    else:
        assert not proof.empty(50, position_agrees=False)
    assert not proof.empty(60, position_agrees=True)


@pytest.mark.parametrize(
    ("side", "price", "ours"),
    [("Buy", "99", True), ("Buy", "101", False), ("Sell", "101", True), ("Sell", "99", False)],
)
def test_an_order_whose_price_was_moved_into_the_band_is_still_the_one_we_meant(
    side: str, price: str, ours: bool
) -> None:
    meant = intent(side=side, order_type="Limit", price=Decimal(100))
    row = order_row(side=side, orderType="Limit", price=price)
    assert is_adjusted(row, meant) is ours
    assert not is_as_intended(row, meant)


def test_a_reduction_that_was_cut_to_the_position_is_still_the_one_we_meant() -> None:
    meant = intent("2", side="Sell", reduce_only=True)
    assert is_adjusted(order_row(side="Sell", qty="1.5", reduceOnly=True), meant)
    assert not is_adjusted(order_row(side="Sell", qty="2.5", reduceOnly=True), meant)
    assert not is_adjusted(order_row(qty="0.5"), intent("1"))
