"""The forecasts that the daemon remembers where the journal holds only their hash."""

from decimal import Decimal

import pytest

from bot.domain.market import Forecast
from bot.engine.core import Assignment, Engine
from bot.engine.state import EngineState
from bot.risk.limits import Limits
from bot.service.views import forecasts
from bot.service.views.forecasts import FULL_SYMBOLS, ForecastBoard
from bot.strategy.shipped.baselines import BuyAndHold
from tests.helpers import bar, instrument


def state(count: int) -> EngineState:
    names = [f"X{number:02}USDT" for number in range(count)]
    made = [Assignment(instrument(symbol=name), 300_000, BuyAndHold(), 11.0) for name in names]
    return Engine(made, Decimal(10_000), Limits(), name="bot1").state


def close(of: EngineState, board: ForecastBoard, number: int, *, without: str = "") -> int:
    """Let every symbol close with a forecast of its own."""
    for place, (symbol, sym) in enumerate(of.symbols.items()):
        sym.view.bar = bar(number, symbol=symbol)
        variance, ret = 1e-4 * (place + 1), 1e-3 * number
        made = Forecast(
            rv_60m=variance, rv_log_sd=0.5, ret_15m=0.0, ret_60m=ret, ret_15m_scale=1.0, ret_60m_scale=1.0
        )
        sym.view.forecast = None if symbol == without else made
    ts_ms = bar(number).close_ms
    board.closed(ts_ms)
    return ts_ms


def test_of_many_symbols_each_one_s_last_forecasts_are_remembered() -> None:
    of = state(FULL_SYMBOLS + 1)
    board = ForecastBoard(of)
    times = [close(of, board, number, without="X02USDT" if number == 1 else "") for number in range(4)]
    told = board.of("X02USDT", 0)
    assert (told.symbols, [row[0] for row in told.rows]) == (FULL_SYMBOLS + 1, [times[0], *times[2:]])
    assert told.rows[-1] == (times[3], pytest.approx(3e-4), pytest.approx(3e-3))
    assert [row[0] for row in board.of("X02USDT", times[3]).rows] == [times[3]]
    assert board.of("NOPE", 0).rows == []


def test_a_forecast_of_an_earlier_close_is_not_taken_again() -> None:
    of = state(FULL_SYMBOLS + 1)
    board = ForecastBoard(of)
    at = close(of, board, 0)
    board.closed(at + 60_000)  # of another interval: no bar of these symbols
    assert [row[0] for row in board.of("X00USDT", 0).rows] == [at]


def test_what_is_remembered_and_told_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "VALUES_MAX", 10 * (FULL_SYMBOLS + 1))
    monkeypatch.setattr(forecasts, "TOLD_MAX", 4)
    of = state(FULL_SYMBOLS + 1)
    board = ForecastBoard(of)
    times = [close(of, board, number) for number in range(30)]
    assert [row[0] for row in board.of("X00USDT", 0).rows] == times[-4:]
    assert len(board._closes) == 10


def test_what_the_journal_holds_is_not_remembered_twice() -> None:
    of = state(FULL_SYMBOLS)
    board = ForecastBoard(of)
    close(of, board, 0)
    assert board.of("X00USDT", 0).rows == []
