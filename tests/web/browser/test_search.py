"""The page of a search in a browser: trials are sorted and filtered, and the lines follow."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from bot.web.search.pages import render_sweep
from tests.web.searches import sweep


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("search") / "sweep.html"
    path.write_text(render_sweep(sweep()), encoding="utf-8")
    return path.as_uri()


def column(page: Page, name: str) -> list[str]:
    heads = page.locator("table.sortable thead th").all_text_contents()
    found: list[str] = page.locator("table.sortable tbody").evaluate(
        "(body, at) => [...body.rows].map(row => row.cells[at].textContent)", heads.index(name)
    )
    return found


def lines(page: Page) -> int:
    return page.locator("path[data-trial]:not([hidden])").count()


SHARPES = [*(f"{at // 6 - at % 6:.2f}".replace("-", "−") for at in range(59)), "–"]


def known(text: str) -> float:
    return math.nan if text == "–" else float(text.replace("−", "-"))


FILTERS: dict[str, Callable[[str], bool]] = {
    ">= 2": lambda text: known(text) >= 2,
    "<-1": lambda text: known(text) < -1,
    "-1..1.5": lambda text: -1 <= known(text) <= 1.5,
    "..0": lambda text: known(text) <= 0,
    "=3": lambda text: known(text) == 3,
    "−4": lambda text: "−4" in text,
    ">": lambda text: True,
}


def test_trials_are_sorted_and_filtered_and_their_lines_with_them(browser: Browser, file: str) -> None:
    page, wrong = browser.new_page(viewport={"width": 380, "height": 800}), list[str]()
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(file)
    assert len(column(page, "Trial")) == 60
    assert lines(page) == 59
    page.get_by_title("Sort by slow").click()
    assert column(page, "slow") == [str(10 * j) for j in range(6) for _ in range(10)]
    page.get_by_title("Sort by Sharpe").click()
    page.get_by_title("Sort by Sharpe").click()
    assert (column(page, "Sharpe")[0], column(page, "Sharpe")[-1]) == ("−5.00", "–")
    page.get_by_label("Filter fast").select_option("3")
    assert set(column(page, "fast")) == {"3"}
    assert lines(page) == 6
    page.get_by_title("Show all rows").click()
    page.get_by_label("Filter How it ended").select_option("no result")
    assert (column(page, "Trial"), lines(page)) == (["59"], 0)
    page.get_by_label("Filter How it ended").select_option("")
    for text, holds in FILTERS.items():
        page.get_by_label("Filter Sharpe").fill(text)
        shown = column(page, "Sharpe")
        assert sorted(shown) == sorted(each for each in SHARPES if holds(each)), text
        assert lines(page) == len([each for each in shown if each != "–"])
    width = page.evaluate("document.documentElement.scrollWidth")
    assert isinstance(width, int)
    assert width <= 380
    assert wrong == []
    page.close()


def test_the_keyboard_sorts_filters_and_walks_the_rows_whose_lines_light_up(
    browser: Browser, file: str
) -> None:
    page = browser.new_page()
    page.goto(file)
    given = column(page, "Trial")
    page.get_by_title("Sort by slow").focus()
    for _ in range(3):  # one way, the other way, and as given
        page.keyboard.press("Enter")
    assert column(page, "Trial") == given
    page.get_by_label("Filter Why").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    hot = page.locator("path.hot")
    assert (hot.count(), hot.get_attribute("data-trial")) == (1, given[1])
    page.keyboard.press("Shift+Tab")
    assert hot.count() == 0
    page.close()
