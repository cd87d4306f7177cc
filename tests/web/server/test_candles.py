"""A chart's data: bars, the band of the forecasts, stops and executions."""

from decimal import Decimal
from math import exp, sqrt

import pytest

from bot.adapters.state.chart import BARS_MIN, ChartBar, ChartForecast, ChartIndex
from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import JournalWriter
from bot.domain.market import HOUR_MS
from bot.domain.messages import Filled, PlaceOrder, StopsChanged
from bot.domain.orders import Approved
from bot.journal.entries import Answer, Effects, Marked
from bot.web.server.candles import BAND_Z, band, candles
from tests.helpers import T0, bar, closed, fill, intent


def told(writer: JournalWriter, limit: int = 100) -> dict[str, object]:
    return candles(JournalIndex(writer.journal), ChartIndex(writer.journal), "BTCUSDT", limit)


def test_the_band_lies_where_an_hour_later_nine_of_ten_prices_are_expected() -> None:
    bars = [ChartBar(T0, 100.0, 101.0, 99.0, 100.0, 1.0)]
    forecast = ChartForecast(T0 + 300_000, 0.0004, 0.5, 0.001)
    ((ts_ms, low, high),) = band(bars, [forecast], 300_000)
    assert ts_ms == T0 + 300_000 + HOUR_MS
    assert (low, high) == pytest.approx((100 * exp(0.001 - BAND_Z * 0.02), 100 * exp(0.001 + BAND_Z * 0.02)))
    assert band([], [forecast], 300_000) == []


def test_forecasts_of_the_journal_become_the_band(writer: JournalWriter) -> None:
    writer.append(closed(bar(0, 100.0), bar(0, 7.0, symbol="ETHUSDT")))
    values = tuple(value.hex() for value in (0.0001, 0.4, 0.0, 0.002, 0.001, 0.002))
    writer.append(Marked(bar(0).close_ms, 1.0, 0.0, "", {"BTCUSDT": values}))
    answer = told(writer)
    assert answer["interval_ms"] == 300_000
    assert answer["bars"] == [(T0, 100.0, 100.0, 100.0, 100.0, 1000.0)]
    ((_, low, high),) = answer["band"]  # type: ignore[misc]
    assert sqrt(low * high) == pytest.approx(100 * exp(0.002))


def test_stops_begin_with_the_one_in_force_and_fills_say_why(writer: JournalWriter) -> None:
    for index in range(4):
        writer.append(closed(bar(index)))
    writer.append(Answer(StopsChanged(T0 + 1, "BTCUSDT", Decimal(95), None)))
    writer.append(Answer(StopsChanged(T0 + 2, "BTCUSDT", Decimal(96), None)))
    writer.append(StopsChanged(bar(3).start_ms, "BTCUSDT", None, None))
    writer.append(Effects((PlaceOrder("bot1-1-0", Approved(intent(reason="cross"))),)))
    writer.append(Filled(fill(order_id="bot1-1-0", ts_ms=bar(2).start_ms)))
    answer = told(writer, limit=2)
    from_ms = bar(2).start_ms
    assert answer["stops"] == [[from_ms, "96"], [bar(3).start_ms, None]]
    (execution,) = answer["fills"]  # type: ignore[misc]
    assert execution == {
        "ts_ms": from_ms, "side": "Buy", "qty": "1", "price": "100", "reason": "cross", "is_entry": True,
    }  # fmt: skip


def test_the_chart_is_bounded_and_keeps_the_stop_in_force(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.adapters.state.chart.BARS_MAX", 10)
    monkeypatch.setattr("bot.adapters.state.chart.BARS_MIN", 5)
    monkeypatch.setattr("bot.adapters.state.chart._TIDY_ROWS", 3)
    assert BARS_MIN > 100
    writer.append(StopsChanged(T0, "BTCUSDT", Decimal(90), None))
    for index in range(40):
        writer.append(closed(bar(index)))
    chart = ChartIndex(writer.journal)
    for index in range(40, 45):
        writer.append(closed(bar(index)))
        chart.refresh()
    bars = chart.bars("BTCUSDT", 1000)
    assert 10 <= len(bars) <= 16
    assert bars[-1].start_ms == bar(44).start_ms
    assert chart.stops("BTCUSDT", bars[0].start_ms) == [(T0, "90")]
    assert chart.closes_at(bar(44).close_ms) == {"BTCUSDT": 100.0}


def test_an_unknown_symbol_has_nothing(writer: JournalWriter) -> None:
    answer = candles(JournalIndex(writer.journal), ChartIndex(writer.journal), "NOPE", 10)
    assert answer == {"interval_ms": None, "bars": [], "band": [], "fills": [], "stops": []}
