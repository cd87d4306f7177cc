"""Commands of the page: each needs its word, each is in the journal with who gave it."""

import asyncio
from pathlib import Path

import pytest

from bot.adapters.state.directory import HaltFile
from bot.adapters.state.journal import Journal
from bot.domain.messages import Command
from bot.domain.money import plain
from bot.service.commands import ask
from bot.strategy import Target, View
from tests.web.server.bench import serving, trading, until


def commands(place: Path) -> list[tuple[str, str, str]]:
    """What the journal says was commanded: what, symbol, by whom."""
    segments = Journal(place / "journal" / "paper-1").all()
    found = (each.entry for segment in segments for each in segment.entries)
    return [(each.what, each.symbol, each.by) for each in found if isinstance(each, Command)]


@pytest.mark.surface("http")
@pytest.mark.parametrize("action", ["pause", "resume", "flatten", "kill", "unhalt", "close"])
@pytest.mark.parametrize(
    "body", [{}, {"confirm": ""}, {"confirm": "yes"}, {"confirm": 1}, {"confirm": "x", "by": "me"}]
)
async def test_without_the_word_nothing_happens(action: str, body: dict[str, object], tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        status, words = await page.refused("POST", f"api/{action}", json=body)
        assert status == 400
        assert "confirm" in words
        assert page.killed == []
        assert not HaltFile(tmp_path).is_set()


@pytest.mark.surface("http")
async def test_a_form_of_another_page_is_no_command(tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        answer = await page.refused("POST", "api/pause", data='{"confirm": "pause"}')
        assert answer == (415, "send JSON")
        assert (await page.refused("GET", "api/pause"))[0] == 405
        assert (await page.refused("POST", "api/pause", json={"confirm": "p" * 5000}))[0] == 413


@pytest.mark.surface("http")
async def test_each_command_is_in_the_journal_with_who_gave_it(tmp_path: Path) -> None:
    async with trading(tmp_path) as (daemon, _), serving(tmp_path) as page:
        assert (await page.post("pause", confirm="pause"))["done"] == "The bot is paused."
        assert (await page.post("resume", confirm="resume"))["state"] == "trading"
        await asyncio.to_thread(ask, tmp_path, "pause")
        await page.watch.look(status_within_s=0.0)
        assert (await page.get("api/status"))["state"] == "paused"
        told = await page.post("kill", confirm="kill")
        assert told["done"] == "Halted. Entries left at the venue: none."
        assert daemon.engine.state.breaker.state == "halted"
        assert HaltFile(tmp_path).is_set()
        assert (await page.post("unhalt", confirm="unhalt"))["state"] == "paused"
        assert not HaltFile(tmp_path).is_set()
    given = [("pause", "", "page"), ("resume", "", "page"), ("pause", "", "terminal"), ("halt", "", "page")]
    assert commands(tmp_path) == [*given, ("unhalt", "", "page")]


@pytest.mark.surface("http")
async def test_one_position_is_closed_and_no_other_symbol_is_named(tmp_path: Path) -> None:
    async with trading(tmp_path) as (daemon, _), serving(tmp_path) as page:
        sym = daemon.engine.state.symbols["BTCUSDT"]
        assert sym.position.qty
        status, words = await page.refused(
            "POST", "api/close", json={"confirm": "close", "symbol": "ETHUSDT"}
        )
        assert (status, words) == (409, "no position of ours in ETHUSDT; open are BTCUSDT")
        assert (await page.refused("POST", "api/close", json={"confirm": "close"}))[0] == 400
        done = await page.post("close", confirm="close", symbol="BTCUSDT")
        assert done["done"] == "The exit of BTCUSDT is on its way."
        assert sym.activity.exit is not None  # the next bar fills it
    assert commands(tmp_path) == [("close", "BTCUSDT", "page")]


@pytest.mark.surface("http")
async def test_a_flatten_says_what_it_will_do(tmp_path: Path) -> None:
    async with trading(tmp_path) as (daemon, _), serving(tmp_path) as page:
        action = (await page.get("api/status"))["actions"]["flatten"]
        qty = plain(daemon.engine.state.symbols["BTCUSDT"].position.qty)
        assert action["will"] == (
            f"Cancels 0 live orders, closes 1 position (BTCUSDT {qty}) at the market, and stays paused."
        )
        assert "Positions left" in (await page.post("flatten", confirm=action["confirm"]))["done"]
        assert daemon.engine.state.flattening


class Raises:
    """A strategy whose third close is too much for it."""

    def __init__(self) -> None:
        self.asked = 0

    def on_bar(self, view: View) -> Target | None:
        self.asked += 1
        if self.asked == 3:
            raise ValueError("this strategy divides by zero at times")
        return None


@pytest.mark.surface("http")
async def test_an_unhalt_is_offered_for_a_stopped_strategy_and_lifts_only_that(tmp_path: Path) -> None:
    async with trading(tmp_path, strategy=Raises()) as (daemon, _), serving(tmp_path) as page:
        assert daemon.engine.state.breaker.state == "active"
        status = await page.get("api/status")
        offered = {name for name, action in status["actions"].items() if action["offered"]}
        assert offered == {"pause", "flatten", "kill", "unhalt", "close"}
        assert status["actions"]["unhalt"]["will"] == (
            "Asks the stopped strategy of BTCUSDT again from the next close on. "
            "Loss limits stay as they are. Entries may leave again."
        )
        (row,) = await page.get("api/symbols")
        assert (row["state"], "divides by zero" in row["why"]) == ("stopped", True)
        peak = daemon.engine.state.breaker.peak_equity
        assert (await page.post("unhalt", confirm="unhalt"))["state"] == "trading"
        assert daemon.engine.state.breaker.peak_equity == peak
        status = await page.get("api/status")
        assert not status["actions"]["unhalt"]["offered"]
        assert status["actions"]["unhalt"]["will"].startswith("Lifts nothing")
        await page.watch.look(status_within_s=0.0)
        (row,) = await page.get("api/symbols")
        assert (row["state"], row["why"]) != ("stopped", "")
        await page.post("pause", confirm="pause")
        await page.post("kill", confirm="kill")
        status = await page.get("api/status")
        assert status["actions"]["unhalt"]["offered"]
        will = status["actions"]["unhalt"]["will"]
        assert will.startswith("Lifts the halt (operator). Losses count from the present equity.")
        assert will.endswith("Entries wait until you resume.")


@pytest.mark.surface("http")
async def test_a_kill_works_where_no_daemon_answers_and_other_commands_say_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        status, words = await page.refused("POST", "api/pause", json={"confirm": "pause"})
        assert (status, "no daemon runs on" in words) == (409, True)
        told = await page.post("kill", confirm="kill")
        assert HaltFile(tmp_path).is_set()
        assert told["done"].startswith("Halted. no daemon runs on")
        await until(lambda: page.killed)
