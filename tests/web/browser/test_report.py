"""The report in a browser: all trades are there, sorted and filtered, under the page's own policy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect

from bot.metrics import Trade
from bot.web.report import _cells, render
from bot.web.run import ReportData
from tests.web.page import run


def two_symbols() -> ReportData:
    base = run(round_trips=450)
    trades: list[Trade] = []
    for i, trade in enumerate(base.trades):
        changes: dict[str, Any] = {"mae_frac": None} if i == 7 else {}
        if i % 3 == 0:
            changes |= {"symbol": "ETHUSDT", "side": "Sell", "pnl_quote": -trade.pnl_quote * 1234}
        trades.append(msgspec.structs.replace(trade, **changes))
    return replace(base, trades=trades)


def rows(page: Page) -> list[list[str]]:
    found: list[list[str]] = page.locator("table.trades tbody").evaluate(
        "body => [...body.rows].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def number(row: list[str]) -> float:
    return float(row[7].replace("−", "-").replace(",", ""))


@pytest.fixture(scope="module")
def told() -> ReportData:
    return two_symbols()


@pytest.fixture(scope="module")
def file(told: ReportData, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(told))
    return path.as_uri()


def test_all_trades_are_listed_sorted_and_filtered(browser: Browser, file: str, told: ReportData) -> None:
    page, wrong = browser.new_page(), list[str]()
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(file)
    expected = [_cells(trade) for trade in told.trades]
    first = rows(page)
    page.get_by_title("Later rows").click()
    second = rows(page)
    page.get_by_title("Later rows").click()
    assert first + second + rows(page) == expected

    page.get_by_title("Sort by Net, quote").click()
    net = [number(row) for row in rows(page)]
    assert net == sorted(net, reverse=True)
    assert net[0] == round(max(float(trade.pnl_quote) for trade in told.trades), 2)
    page.get_by_title("Sort by Net, quote").click()
    assert number(rows(page)[0]) == min(map(number, expected))

    page.get_by_label("Filter Symbol").select_option("ETHUSDT")
    page.get_by_label("Filter Net, quote").fill("<0")
    assert {(row[1], row[2], row[7][0]) for row in rows(page)} == {("ETHUSDT", "short", "−")}
    expect(page.locator(".filters .note")).to_contain_text("of 450 trades, net −")
    page.get_by_label("Filter Net, quote").fill("")
    page.get_by_label("Trades that contain").fill(expected[0][0][:10])
    of_the_day = [row for row in expected if row[1] == "ETHUSDT" and expected[0][0][:10] in row[0]]
    assert sorted(rows(page)) == sorted(of_the_day)
    assert wrong == []
    page.close()


def test_without_scripts_the_best_the_worst_and_the_last_are_there(browser: Browser, file: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file)
    expect(page.locator("table.trades")).to_contain_text("Last 12 of 450")
    expect(page.get_by_text("Without scripts only the best")).to_be_visible()
    context.close()
