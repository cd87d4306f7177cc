import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bot

HEAVY = ("torch", "numba", "pyarrow", "numpy", "pandas", "pydantic", "aiohttp", "msgspec", "sqlite3")


def loaded_by(code: str) -> set[str]:
    told = f"{code}; import sys; print(*sorted(set(sys.modules) & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_bot_loads_nothing_heavy() -> None:
    assert loaded_by("import bot; dir(bot); bot.__version__") == set()


def test_a_backtest_without_a_model_loads_neither_torch_nor_numba_nor_pandas() -> None:
    assert not loaded_by("import bot; bot.backtest; bot.read_candles") & {"torch", "numba", "pandas"}


def test_each_public_name_is_told_to_editors_from_where_it_is_at_run_time() -> None:
    tree = ast.parse(Path(str(bot.__file__)).read_text("utf-8"))
    (block,) = [each for each in tree.body if isinstance(each, ast.If)]
    told = {
        alias.name: each.module
        for each in block.body
        if isinstance(each, ast.ImportFrom)
        for alias in each.names
    }
    assert told.keys() == set(bot.__all__)
    homes = {name: f"bot.{home}" for name, home in bot._HOMES.items()}
    assert homes | {"features": "bot.lab.features"} == told
    assert set(dir(bot)) == {*bot.__all__, "__version__"}
    assert all(getattr(bot, name).__doc__ for name in bot.__all__)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'backtes'"):
        _ = bot.backtes  # type: ignore[attr-defined]


def test_features_is_a_function_before_and_after_its_package_is_imported() -> None:
    code = "import bot; f = bot.features; import bot.features.spec; assert callable(f) and f is bot.features"
    assert "torch" not in loaded_by(code)


@pytest.mark.parametrize(
    "kind", [bot.BacktestResult, bot.SweepResult, bot.WalkForwardResult, bot.ScreenResult, bot.Evaluation]
)
def test_every_result_is_read_and_shown_by_the_same_names(kind: type) -> None:
    missing = {"metrics", "table", "report", "plot", "_repr_html_", "__repr__"} - {*dir(kind)}
    assert missing == set()
    assert all(getattr(kind, name).__doc__ for name in ("metrics", "table", "report", "plot"))
