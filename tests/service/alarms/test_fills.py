"""Each fill is one line, each closed trade has its result, each day its summary."""

from decimal import Decimal

import pytest

from bot.domain.messages import Filled, FundingPaid, OrderAccepted
from bot.engine.core import Engine
from bot.metrics import round_trips
from bot.strategy.signal import Target
from tests.engine.scripted import engine, fill_of, long_at, orders
from tests.helpers import T0, bar, closed, fill
from tests.service.alarms.heard import Heard

DAY_MS = 86_400_000


def long_and_out() -> tuple[Engine, Heard]:
    """Long 2 from 100, with funding received, out at 103 in two fills."""
    one = engine({0: Target(2.0, "breakout"), 2: Target(0.0, "breakdown")})
    heard = Heard(one)
    heard.alarms.look(started=True)
    (entry,) = orders(one.handle(closed(bar(0))))
    heard.take(OrderAccepted(T0, entry.order_id), fill_of(entry))
    heard.take(FundingPaid(T0 + 1, "BTCUSDT", Decimal("0.5")))
    one.handle(closed(bar(1)))
    (exit_,) = orders(one.handle(closed(bar(2, 103.0))))
    heard.take(fill_of(exit_, "103", "0.5", "x1"), fill_of(exit_, "103", "1.5", "x2"))
    return one, heard


def test_each_fill_is_a_line_with_side_size_price_reason_fee_and_result_so_far() -> None:
    _, heard = long_and_out()
    lines = [line for line in heard.lines if line["event"] == "fill"]
    told = [(x["side"], x["qty"], x["price"], x["reason"], x["fee_quote"], x["position"]) for x in lines]
    assert told == [
        ("Buy", "2", "100", "breakout", "0.01", "2"),
        ("Sell", "0.5", "103", "breakdown", "0.01", "1.5"),
        ("Sell", "1.5", "103", "breakdown", "0.01", "0"),
    ]
    # −0.01 fee; +0.5 funding, 0.5 × 3 − 0.01; 1.5 × 3 − 0.01
    assert [line["trade_quote"] for line in lines] == ["-0.01", "1.98", "6.47"]
    assert lines[1]["words"] == (
        "BTCUSDT: sold 0.5 at 103 (breakdown), fee 0.01; position 1.5, result of this trade so far +1.98, "
        "of the account +1.98"
    )
    assert {line["level"] for line in lines} == {"info"}


def test_a_closed_trade_is_said_with_the_result_that_the_list_of_trades_shows() -> None:
    _, heard = long_and_out()
    (said,) = [each for each in heard.hooked if each.name == "trade_closed"]
    fills = [fill("Buy", "2", "100", fee="0.01"), fill("Sell", "2", "103", fee="0.02", ts_ms=T0 + 2)]
    (trade,) = round_trips(fills, funding=[FundingPaid(T0 + 1, "BTCUSDT", Decimal("0.5"))])
    assert said.facts["result_quote"] == str(trade.pnl_quote) == "6.47"
    assert "long closed with +6.47 after costs (+0.06% of the equity): in at 100, out at 103" in said.words
    assert "held 10 min" in said.words


def test_a_trade_that_a_restart_interrupts_keeps_its_result() -> None:
    one = engine({0: Target(2.0)})
    long_at(one)
    again = engine({0: Target(0.0)})
    again.restore(one.snapshot())
    heard = Heard(again)
    (exit_,) = orders(again.handle(closed(bar(1, 104.0))))
    heard.take(fill_of(exit_, "104"))
    assert [each.facts.get("result_quote") for each in heard.hooked][-1] == "7.98"


def test_a_fill_that_is_reported_twice_or_is_not_ours_is_no_line() -> None:
    one = engine({0: Target(2.0)})
    entry = long_at(one)
    heard = Heard(one)
    assert heard.take(fill_of(entry)) == []
    heard.take(Filled(fill("Buy", "1", order_id="somebody", exec_id="y1", ts_ms=T0 + 9)))
    assert [each.name for each in heard.hooked] == ["account_differs"]


@pytest.mark.parametrize(
    ("late", "words"),
    [
        (False, "2025-01-01: equity 10,100.00, the day +100.00 (+1.00%)"),
        (True, "2025-01-01: equity 10,050.00, the day +50.00 (+0.50%)"),
    ],
)
def test_a_day_is_summed_up_once_with_its_first_and_last_value(late: bool, words: str) -> None:
    one = engine({0: Target(10.0)})
    heard = Heard(one)
    (entry,) = orders(one.handle(closed(bar(0))))
    heard.take(Filled(fill("Buy", "10", "100", order_id=entry.order_id, ts_ms=T0 + 1)))
    heard.take(closed(bar(1, 105.0)))
    if late:  # no price comes after midnight
        for minute in range(12):
            heard.alarms.turn(T0 + DAY_MS + minute * 60_000)
    else:
        heard.take(closed(bar(287, 110.0)))
        heard.take(closed(bar(288, 90.0)))
    days = [each for each in heard.hooked if each.name == "daily_summary"]
    assert [day.words.partition("; positions")[0] for day in days] == [words]
    assert days[0].facts["day_end_ms"] == T0 + DAY_MS
