"""What the README shows works as it is shown."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.app.context import Context
from bot.cli import COMMANDS, root
from bot.strategy import SHIPPED

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)


def bot(*words: str) -> str:
    done = CliRunner().invoke(root, list(words), obj=Context(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_strategy_of_the_readme_is_short_and_trades(workplace: Path) -> None:
    (source,) = [block for block in blocks("python") if "on_bar" in block]
    assert len(source.strip().splitlines()) <= 25
    (workplace / "breakout.py").write_text(source)
    (shown,) = [line for block in blocks("sh") for line in block.splitlines() if "breakout:" in line]
    bot("data", "synth", "--symbol", "BTCUSDT", "--price", "90000", "--days", "30", "--out", "candles")
    words = shlex.split(shown.split("#")[0])[1:]
    answer = json.loads(bot(*words, "--json"))
    assert answer["trades"] > 3


def test_every_command_and_every_shipped_strategy_is_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    missing = [name for name in COMMANDS if f"`bot {name}" not in text]
    missing += [name for name in SHIPPED if f"`{name}`" not in text]
    assert not missing
