"""What happens now reaches every page, and costs the daemon nothing while nobody looks."""

import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bot.domain.messages import Candle
from bot.service.commands import SOCKET
from bot.strategy.signal import Target, View
from bot.web.server import watch
from tests.helpers import bar
from tests.service.daemons import WARM, bars
from tests.web.server.bench import serving, trading, until


class InAndOut:
    """Enters at one close and leaves at the next."""

    def on_bar(self, view: View) -> Target:
        return Target(0.0, "out") if view.position else Target(2.0, "in")


def candle(index: int, close: float) -> Candle:
    closed = bar(index)
    return Candle(
        closed.start_ms + 1000, "BTCUSDT", closed.interval_ms, closed.start_ms, 100.0, 105.0, 99.0, close, 7.0
    )


async def test_a_new_page_is_told_everything_first(tmp_path: Path) -> None:
    async with trading(tmp_path) as (daemon, _), serving(tmp_path) as page, page.stream() as stream:
        status = await stream.next("status")
        assert (status["daemon"], status["state"]) == ("up", "trading")
        assert set(status["actions"]) == {"pause", "resume", "flatten", "kill", "unhalt", "close"}
        (row,) = await stream.next("symbols")
        assert row["symbol"] == "BTCUSDT"
        assert float(row["qty"]) == daemon.engine.state.symbols["BTCUSDT"].position_base > 0
        assert row["since_ms"] == daemon.engine.state.opened_ms["BTCUSDT"]
        assert (await stream.next("beat"))["daemon"] == "up"


async def test_an_open_candle_shows_before_its_close(tmp_path: Path) -> None:
    async with trading(tmp_path) as (_, feed), serving(tmp_path) as page, page.stream() as stream:
        await stream.next("symbols")
        await feed.waiting.put(candle(WARM + 5, 103.5))
        (row,) = await stream.next("symbols", lambda rows: rows[0]["open"])
        assert row["price"] == 103.5
        assert row["open"][1:] == [100.0, 105.0, 99.0, 103.5, 7.0]
        told = await page.get("api/candles?symbol=BTCUSDT&limit=3")
        assert told["open"] == row["open"]
        assert [each[4] for each in told["bars"]] == [100.0] * 3


async def test_an_order_its_fill_and_a_refusal_come_by_themselves(tmp_path: Path) -> None:
    async with (
        trading(tmp_path, strategy=InAndOut()) as (_, feed),
        serving(tmp_path) as page,
        page.stream() as stream,
    ):
        await until(lambda: page.watch.trouble is not None)  # the journal was read: what follows is new
        for event in bars(WARM + 5, WARM + 7):
            await feed.waiting.put(event)
        order = await stream.next("order", lambda row: row["state"] == "filled")
        fill = await stream.next("fill", lambda row: row["order_id"] == order["order_id"])
        assert (fill["reason"], fill["is_entry"]) == (order["reason"], not order["reduce_only"])
        await page.post("pause", confirm="pause")
        event = await stream.next("event", lambda row: row["kind"] == "command")
        assert event["text"] == "pause by the page"


async def test_nobody_asks_the_daemon_while_nobody_looks(tmp_path: Path) -> None:
    asked: list[str] = []
    async with trading(tmp_path) as (daemon, _), serving(tmp_path) as page:
        answer = daemon._live
        daemon._live = lambda since: asked.append(since) or answer(since)  # type: ignore[method-assign]
        async with page.stream() as stream:
            await stream.next("beat")
        await until(lambda: not page.watch.lookers)
        seen = len(asked)
        assert seen
        await asyncio.sleep(4 * watch.EVERY_S)  # as long as four questions take
        assert len(asked) <= seen + 1


async def test_a_daemon_that_dies_is_shown_with_the_time_of_its_last_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        async with AsyncExitStack() as ending, trading(tmp_path), page.stream() as stream:
            await stream.next("beat", lambda beat: beat["daemon"] == "up")
            await ending.enter_async_context(page.silent())
        async with page.stream() as stream:
            status = await stream.next("status", lambda status: status["daemon"] == "down")
            assert status["equity"] is not None  # as it was; the page shows since when
            beat = await stream.next("beat", lambda beat: beat["daemon"] == "down")
            assert beat["seen_ms"] == status["seen_ms"] < beat["now_ms"]
        assert (await page.get("api/trades"))["rows"] == []
        assert (await page.get("api/fills"))["rows"]


async def test_a_daemon_that_hangs_is_told_apart(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / SOCKET))
        hung.listen()
        async with serving(tmp_path) as page:
            assert (await page.get("api/status"))["daemon"] == "hangs"
            assert "hangs" in await _not_ready(page)


async def test_a_restart_is_followed(tmp_path: Path) -> None:
    async with serving(tmp_path) as page, page.stream() as stream:
        for run in (1, 2):
            who = {"run": run, "account": "paper-1"}
            async with AsyncExitStack() as ending, trading(tmp_path, closes=5, identity=who):
                status = await stream.next("status", lambda told, run=run: told.get("run") == run)
                assert status["daemon"] == "up"
                assert await stream.next("symbols", lambda rows: rows)
                await ending.enter_async_context(page.silent())


async def test_so_many_pages_and_no_more(tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        held = [page.watch.looking() for _ in range(watch.LOOKERS_MAX)]
        for each in held:
            each.__enter__()
        assert await page.refused("GET", "api/stream") == (503, "32 pages are open already; close one")
        for each in held:
            each.__exit__(None, None, None)


async def test_a_page_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        with page.watch.looking() as waiting:
            for _ in range(1000):
                page.watch._tell(b"x")
            last = [waiting.get_nowait() for _ in range(waiting.qsize())][-1]
            assert last is None
            assert not page.watch.lookers


async def _not_ready(page: Any) -> str:
    async with page.client.get(page.server.url + "readyz") as answer:
        assert answer.status == 503
        return str(await answer.text())
