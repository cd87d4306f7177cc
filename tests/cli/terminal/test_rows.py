"""Rows of the journal as tables: they fit the terminal, and say what matters first."""

from io import StringIO

import pytest
from rich.console import Console

from bot.cli.views.rows import rows_table, total_words
from tests.helpers import T0

TRADES: dict[str, list[object]] = {
    "symbol": ["BTCUSDT", "1000PEPEUSDT"],
    "side": ["Buy", "Sell"],
    "qty": ["0.391", "1200000"],
    "entry_ms": [T0, T0 + 60_000],
    "exit_ms": [T0 + 3 * 3_600_000, T0 + 200_000_000],
    "entry_price": ["97123.4333333333333333333333333", "0.0123"],
    "exit_price": ["97500", "0.0129"],
    "pnl_quote": ["105.25", "-740.1"],
    "fees_quote": ["41.9", "20.1"],
    "entry_reason": ["up", "down"],
    "exit_reason": ["stop_loss", "down"],
}


def drawn(what: str, columns: dict[str, list[object]], width: int = 120, last: int = 20) -> list[str]:
    stream = StringIO()
    console = Console(file=stream, width=width, markup=False, highlight=False)
    console.print(rows_table(what, columns, last, width))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_a_trade_is_one_line_in_the_numbers_people_use() -> None:
    header, first, second = drawn("trades", TRADES)
    assert header.startswith("closed 2025  symbol")
    assert first.split() == (
        [
            "01-01",
            "03:00",
            "BTCUSDT",
            "long",
            "0.391",
            "97,123.43",
            "97,500",
            "+105.25",
            "+0.28",
            "%",
            "41.90",
            "3",
            "h",
            "0",
            "min",
            "stop_loss",
        ]
    )
    assert second.split()[-4:] == ["2", "d", "7", "h", "down"][-4:]
    assert total_words("trades", TRADES) == "all: -634.85 USDT, 1 won, fees 62.00"


@pytest.mark.parametrize("width", [72, 80, 100, 200])
def test_columns_are_left_out_before_any_is_cut(width: int) -> None:
    lines = drawn("trades", TRADES, width)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    assert "result" in lines[0]
    assert ("fees" in lines[0]) == (width >= 100)


def test_equity_shows_its_change_also_from_the_row_before_the_first() -> None:
    columns: dict[str, list[object]] = {
        "ts_ms": [T0, T0 + 60_000, T0 + 120_000],
        "equity": [10_000.0, 10_010.0, None],
        "notional": [0.0, 5_000.0, None],
    }
    lines = drawn("equity", columns, last=2)
    assert lines[1].split() == ["01-01", "00:01", "10,010.00", "+10.00", "5,000.00"]
    assert lines[2].split() == ["01-01", "00:02", "?", "?"]


def test_times_of_several_years_keep_their_year() -> None:
    columns: dict[str, list[object]] = {"ts_ms": [T0 - 1, T0], "text": ["a", "b"]}
    assert drawn("events", columns)[1:] == ["2024-12-31 23:59  a", "2025-01-01 00:00  b"]
