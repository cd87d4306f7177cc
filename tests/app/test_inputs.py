"""`--strategy` with a mistake: the error names what is wrong and how it is written."""

import sys
from pathlib import Path

import pytest

from bot.adapters.files.candles import write_candles, write_funding
from bot.app.inputs import choose_strategy, read_history
from bot.domain.errors import BadFile, BadUsage
from tests.adapters.files.test_candles import funding
from tests.adapters.series import NAME, candles

SOURCE = "class Dip:\n    def on_bar(self, view):\n        return None\n\n\nclass Half:\n    pass\n"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    (tmp_path / "walk_mine.py").write_text(SOURCE)
    (tmp_path / "walk_folder").mkdir()
    (tmp_path / "walk_folder/inner.py").write_text(SOURCE)
    return tmp_path


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("walk_mine:Dipp", "walk_mine has no class Dipp; did you mean Dip?"),
        ("walk_mine:Other", "walk_mine has no class Other; it has Dip"),
        ("walk_mine:Half", "Half must be a class with a method on_bar(view)"),
        ("walk_mnie:Dip", "; did you mean walk_mine?"),
        ("walk_mine", "(your own is written walk_mine:Class)"),
        ("walk_mine.py", "(your own is written walk_mine:Class)"),
        ("walk_mine.Dip", "(your own is written walk_mine:Dip)"),
        ("walk_folder/inner:Dip", "or its file with .py: --strategy walk_folder.inner:Dip"),
        ("./walk_mine.py:Dipp", "./walk_mine.py has no class Dipp; did you mean Dip?"),
        ("./walk_mine.py:Other", "./walk_mine.py has no class Other; it has Dip"),
        ("/nowhere/mine.py:Dip", "/nowhere/mine.py:Dip: no such file"),
    ],
)
def test_a_strategy_that_is_written_wrongly_is_told_how_it_is_written(written: str, words: str) -> None:
    with pytest.raises(BadUsage) as told:
        choose_strategy(written)
    assert words in str(told.value)


def test_a_module_that_is_not_found_names_the_folder_that_was_searched(workplace: Path) -> None:
    with pytest.raises(BadUsage, match="looked in") as told:
        choose_strategy("walk_nowhere:Dip")
    assert str(workplace) in str(told.value)
    assert choose_strategy("walk_mine:Dip").__name__ == "Dip"


def test_a_file_is_read_each_time_wherever_it_lies_and_hides_no_module(workplace: Path) -> None:
    before = set(sys.modules)
    assert choose_strategy("walk_folder/inner.py:Dip").__name__ == "Dip"
    assert choose_strategy(f"{workplace}/walk_mine.py:Dip").__name__ == "Dip"
    (workplace / "walk_mine.py").write_text(SOURCE.replace("Dip", "Rip"))
    assert choose_strategy("./walk_mine.py:Rip").__name__ == "Rip"
    assert set(sys.modules) - before <= {"strategy_file_inner", "strategy_file_walk_mine"}


def test_a_pattern_may_match_the_funding_beside_the_candles(tmp_path: Path) -> None:
    path, rates = tmp_path / NAME, tmp_path / "bybit_linear_BTCUSDT_funding.parquet"
    write_candles(path, candles())
    write_funding(rates, funding([0.0001]))
    history = read_history([path, rates], None)
    assert ([each.symbol for each in history.candles], len(history.funding)) == (["BTCUSDT"], 1)
    with pytest.raises(BadFile, match="holds funding rates, not candles"):
        read_history([rates], None)
