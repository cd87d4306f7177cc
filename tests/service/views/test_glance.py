"""The live line: what it shows, and that it changes and delays nothing."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from bot.cli.views.glance import glance_line
from bot.domain.market import Forecast
from bot.domain.messages import Candle
from bot.engine.core import Engine
from bot.service.views import glance as glance_module
from bot.service.views.glance import Glance, glance_at, glances, is_close_near
from bot.service.views.live import LiveBoard
from bot.strategy.signal import Target
from tests.engine.scripted import engine, long_at
from tests.helpers import T0, bar, closed

BAR_MS = 300_000


def seen(one: Engine, *candles: Candle) -> Glance:
    board = LiveBoard(one, 1)
    for each in candles:
        board.saw(each)
    return glance_at(one, board, 0, state="trading", state_words="trading; …", now_ms=T0 + BAR_MS + 99_000)


def candle(start_ms: int = T0 + BAR_MS, close: float = 101.0) -> Candle:
    return Candle(start_ms + 1, "BTCUSDT", BAR_MS, start_ms, 100.0, 102.0, 99.5, close, 3.0)


def holding() -> Engine:
    one = engine({0: Target(2.0)})
    long_at(one)
    return one


def test_the_open_candle_the_position_and_the_next_close_are_one_line() -> None:
    one = holding()
    digest = one.state.digest()
    line = glance_line(seen(one, candle()), 200)
    assert line == (
        "BTCUSDT 101 +1.00 % · closes in 3:21 · long 2 +0.00 · open 100 high 102 low 99.5 · equity 9,999.99"
    )
    assert one.state.digest() == digest


def test_without_an_open_candle_the_last_close_is_the_price() -> None:
    assert glance_line(seen(engine({})), 200).startswith("BTCUSDT ? · closes in")
    assert "BTCUSDT 100 · " in glance_line(seen(holding(), candle(start_ms=T0)), 200)  # that one has closed


def test_the_forecast_of_the_candle_as_it_stands_is_the_hour_ahead() -> None:
    forecast = Forecast(0.0049**2, 1.0, 0.0, 0.0012, 0.01, 0.01)
    glance = glance_with(forecast=forecast)
    assert "next hour +0.12 % ± 0.49 %" in glance_line(glance, 200)


def test_a_bot_that_does_not_trade_says_so_first() -> None:
    line = glance_line(
        glance_with(state="reducing", state_words="held back: feed down since 12:44:29 UTC; exits only"), 200
    )
    assert line.split(" · ")[2] == "held back: feed down since 12:44:29 UTC"


@pytest.mark.parametrize("columns", [20, 40, 79])
def test_a_narrow_terminal_gets_the_first_parts(columns: int) -> None:
    line = glance_line(seen(holding(), candle()), columns)
    assert len(line) <= columns
    assert line.startswith("BTCUSDT 101")


def glance_with(**changes: Any) -> Glance:
    values: dict[str, Any] = {"now_ms": T0, "state": "trading", "state_words": "", "symbol": "BTCUSDT"}
    values |= {"symbols": 1, "price": 100.0, "open": None, "forecast": None, "next_close_ms": T0 + 1}
    return Glance(**(values | {"qty": Decimal(0), "unrealised": None, "equity": None} | changes))


@pytest.mark.parametrize(
    ("left_ms", "speed", "near"),
    [(51, 1.0, False), (49, 1.0, True), (4_000, 100.0, True), (6_000, 100.0, False)],
)
def test_nobody_looks_shortly_before_a_close(left_ms: int, speed: float, near: bool) -> None:
    assert is_close_near(T0, T0 + left_ms, speed) == near


async def test_a_look_waits_while_events_wait_and_a_failure_ends_only_the_looking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(glance_module, "EVERY_S", 0.0)
    shown: list[Glance] = []
    warned: list[str] = []

    class Busy:
        asked = 0

        def may_glance(self) -> bool:
            self.asked += 1
            return self.asked > 3

        def glance(self, count: int) -> Glance:
            if count == 2:
                raise ZeroDivisionError
            return glance_with()

    class Log:
        def warning(self, event: str, **facts: object) -> None:
            warned.append(event)

    busy = Busy()
    task = asyncio.create_task(glances(lambda: busy, shown.append, Log())())
    async with asyncio.timeout(5):
        while not warned:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert (len(shown), warned, task.done()) == (2, ["glance_failed"], False)
    task.cancel()


def test_a_line_of_a_symbol_says_how_many_there_are() -> None:
    one = engine({})
    one.handle(closed(bar(0)))
    one.state.symbols["ETHUSDT"] = one.state.symbols["BTCUSDT"]
    assert glance_line(seen(one), 200).startswith("BTCUSDT (1 of 2) 100")
