"""The page of a bot that retrains its model and trades a symbol of another script, in a real browser."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from bot.app.context import Context
from bot.app.runs.parity import exchange_process
from bot.domain.market import DAY_MS
from bot.service.retraining.kept import KeptTimetable
from bot.service.retraining.timetable import Timetable
from tests.cli.daemon.test_run_retrain import BARS, CHANGE, END_MS, ENV, RECIPE, SPEED
from tests.cli.exchanges import daemon
from tests.research import series
from tests.web.browser.cockpit import Cockpit, Looker

SYMBOL = "币安人生USDT"
LONGEST_S = 240.0
"""A retraining of two symbols takes half a minute on two busy cores."""


@pytest.fixture(scope="module")
def bot(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cockpit]:
    """It missed a retraining while it was down."""
    place = tmp_path_factory.mktemp("page")
    files = [
        str(series.saved_candles(place, series.changing(BARS, CHANGE, seed, symbol=symbol)))
        for seed, symbol in enumerate(("BTCUSDT", SYMBOL))
    ]
    series.saved_model(place / "base", settings=RECIPE)
    missed_ms = END_MS - 2 * DAY_MS
    table = Timetable(schedule="12h", since_ms=missed_ms, done_ms=missed_ms)
    KeptTimetable(place / ".data/models").write(table)
    market = [
        *(word for file in files for word in ("--data", file)),
        "--start",
        str(END_MS),
        "--no-funding",
        "--speed",
        str(SPEED),
    ]
    with exchange_process(Context(), market) as url:
        words = [
            *("--feed", "local", "--exchange", url, "--venue", "paper", "--strategy", "vol_target"),
            *("--symbol", "BTCUSDT", "--symbol", SYMBOL, "--interval", "15m", "--fills", "bars"),
            *("--model", str(place / "base/model"), "--retrain", "12h", "--web-port", "0"),
        ]
        with daemon(place, *words, env={**ENV, "PYTHONPATH": str(Path(__file__).parents[3])}) as process:
            yield Cockpit(place, process, int(str(process.until("web")["port"])))


def test_the_page_says_when_the_model_is_fitted_again_and_what_came_of_the_last_time(
    browser: Browser, bot: Cockpit
) -> None:
    end_s = time.monotonic() + LONGEST_S
    while not bot.ask("status")["retrain"]["counts"]["promoted"]:
        assert time.monotonic() < end_s, bot.ask("status")["retrain"]
        time.sleep(0.5)
    look = Looker(browser, bot).enter()
    words = look.until_text("#model-body", "Retraining")
    assert re.search(
        "12h, (next|runs since) .*; the last one promoted .*: (better than .* on \\d days|too few)", words
    )
    assert (look.errors, look.foreign()) == ([], [])
    look.close()


def test_a_symbol_of_another_script_has_its_page_and_its_address(browser: Browser, bot: Cockpit) -> None:
    look = Looker(browser, bot).enter()
    page = look.page
    page.click(f"#market >> text={SYMBOL}")
    look.until_text("#symbol", SYMBOL)
    look.until_text("#symbol-price", r"\d")
    look.until(lambda: " from " in str(page.get_attribute("#candles", "aria-label")), "candles")
    page.go_back()
    page.wait_for_selector("#market", state="visible")
    for written in (SYMBOL, quote(SYMBOL)):  # as a person writes it, and as a browser copies it
        page.goto("about:blank")
        page.goto(f"{bot.origin}/#/s/{written}")
        look.until_text("#symbol", SYMBOL)
        look.until_text("#symbol-price", r"\d")
    page.click("#symbol-back")
    page.wait_for_selector("#market", state="visible")
    assert (look.errors, look.foreign()) == ([], [])
    look.close()
