"""A chart's data: bars, the band of the forecasts, stops and executions."""

from decimal import Decimal
from math import exp, nan, sqrt
from pathlib import Path

import msgspec
import pytest

from bot.adapters.state.chart import BARS_MIN, ChartBar, ChartForecast, ChartIndex
from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import JournalWriter
from bot.domain.market import HOUR_MS, Forecast
from bot.domain.messages import Filled, PlaceOrder, StopsChanged
from bot.domain.orders import Approved
from bot.journal.entries import Answer, Effects, Marked
from bot.strategy import Target, View
from bot.web.server.candles import BAND_Z, CandleChart, band, candles
from tests.helpers import T0, bar, closed, fill, intent
from tests.web.server.bench import serving, trading


def told(writer: JournalWriter, limit: int = 100) -> dict[str, object]:
    found = candles(JournalIndex(writer.journal), ChartIndex(writer.journal), "BTCUSDT", limit)
    return msgspec.structs.asdict(found)


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


@pytest.mark.parametrize(("rv_60m", "has_band"), [(0.0001, True), (nan, False)])
def test_a_model_of_other_horizons_has_a_band_if_it_forecasts_the_hour(
    rv_60m: float, has_band: bool, writer: JournalWriter
) -> None:
    writer.append(closed(bar(0, 100.0)))
    own = (("rv_240m", 0.0009), ("ret_240m", 0.002))
    made = Forecast.of((rv_60m, nan, nan, nan, nan, nan), own)
    values = tuple(value.hex() for value in made.numbers)
    writer.append(Marked(bar(0).close_ms, 1.0, 0.0, "", {"BTCUSDT": values}))
    assert bool(told(writer)["band"]) == has_band


class Foretells:
    """Writes the forecast that a model would have given it."""

    def on_bar(self, view: View) -> Target | None:
        view.forecast = Forecast(1e-4, 0.4, 0.0, 0.002, 1e-3, 2e-3)
        return None


@pytest.mark.surface("http")
@pytest.mark.parametrize("held", [0, 32])
async def test_what_the_journal_holds_only_a_hash_of_is_asked_of_the_daemon(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zero as the bound: the one symbol of this daemon counts as many."""
    for module in ("views.forecasts", "journaling"):
        monkeypatch.setattr(f"bot.service.{module}.FULL_SYMBOLS", held)
    monkeypatch.setattr("bot.web.server.candles.FULL_SYMBOLS", held)
    async with trading(tmp_path, closes=4, strategy=Foretells()), serving(tmp_path) as page:
        told = await page.get("api/candles?symbol=BTCUSDT")
        times = [row[0] for row in told["band"]]
        closes = [start_ms + told["interval_ms"] for start_ms, *_ in told["bars"]]
        assert times == [close + HOUR_MS for close in closes[-4:]]
        assert ("the running bot remembers" in told["note"]) == (held == 0)
        journaled = await page.history.do(lambda books: books.chart.forecasts("BTCUSDT", 0), None)
        assert len(journaled) == (0 if held == 0 else 4)


@pytest.mark.surface("http")
async def test_a_chart_without_a_band_says_why(tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        async with trading(tmp_path):
            assert "asks for no forecast" in (await page.get("api/candles?symbol=BTCUSDT"))["note"]
        page.watch.symbols.clear()
        assert "does not answer" in (await page.get("api/candles?symbol=BTCUSDT"))["note"]


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
    assert answer == CandleChart(interval_ms=None, bars=[], band=[], fills=[], stops=[])
    assert answer.unknown_from_ms is None
