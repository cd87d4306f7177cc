"""Every cause of the breaker has words, and those of a limit have the number and the limit."""

from decimal import Decimal

import pytest

from bot.risk.breaker import Breaker, Cause
from bot.risk.limits import Limits
from bot.risk.words import what_to_do, words_of
from tests.helpers import T0


def tried() -> Breaker:
    breaker = Breaker()
    breaker.use(Limits(max_drawdown_frac=Decimal("0.2"), max_daily_loss_frac=Decimal("0.05")))
    breaker.on_equity(T0, 10_000.0)
    for _ in range(5):
        breaker.on_reject(T0 + 1, "10001 params error: qty invalid")
    breaker.on_equity(T0 + 2, 7_900.0)
    return breaker


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_words_with_its_detail(cause: Cause) -> None:
    assert words_of(cause.named(), tried())
    if cause.value in ("unknown_order", "unprotected", "link_down", "foreign", "reconcile"):
        assert "BTCUSDT 7" in words_of(cause.named("BTCUSDT 7"), tried())


@pytest.mark.parametrize(
    ("cause", "parts"),
    [
        ("drawdown", ["7900.00", "0.2100", "10000.00", "limit 0.2"]),
        ("daily_loss", ["7900.00", "0.2100", "10000.00", "limit 0.05"]),
        ("rejects", ["5 orders", "limit 5", "3600000 ms", "10001 params error: qty invalid"]),
        ("unknown_order: bot1-7-0", ["bot1-7-0", "30000 ms", "300000 ms"]),
    ],
)
def test_a_limit_says_number_and_limit(cause: str, parts: list[str]) -> None:
    words = words_of(cause, tried())
    assert [part for part in parts if part not in words] == []


def test_every_halt_says_what_to_do() -> None:
    breaker = tried()
    assert {each.partition(":")[0] for each in breaker.halting} == {"rejects", "drawdown"}
    quiet = {Cause.PAUSED, Cause.LINK_DOWN, Cause.ACCOUNT_UNREAD}
    assert all(what_to_do(cause.named()) for cause in set(Cause) - quiet)
