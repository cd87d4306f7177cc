"""The page of a search in a browser: trials are sorted and filtered, and the lines follow."""

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
    page.get_by_label("fast").select_option("3")
    assert set(column(page, "fast")) == {"3"}
    assert lines(page) == 6
    page.get_by_label("fast").select_option("")
    page.get_by_label("How it ended").select_option("no result")
    assert (column(page, "Trial"), lines(page)) == (["59"], 0)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert isinstance(width, int)
    assert width <= 380
    assert wrong == []
    page.close()
