"""What the README shows works as it is shown."""

import glob
import json
import os
import re
import shlex
import shutil
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from bot.app.context import Context
from bot.cli import COMMANDS, root
from bot.risk.limits import CHECKS
from bot.strategy import SHIPPED

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)


def bot(*words: str) -> str:
    done = CliRunner().invoke(root, list(words), obj=Context(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def make_the_market_of_the_examples() -> None:
    """Run the one line that makes what the Python examples read, as it stands there."""
    text = README.read_text(encoding="utf-8")
    (line,) = [each for each in lines() if each.startswith("bot data synth")]
    made = text.index(line)
    bot(*shlex.split(line)[1:])
    for path in re.findall(r'read_candles\("([^"]+)"', text):
        assert Path(path).exists(), path
        assert text.index(path) > made


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_strategy_of_the_readme_is_short_and_trades(workplace: Path) -> None:
    (source,) = [block for block in blocks("python") if "class Breakout" in block]
    assert len(source.strip().splitlines()) <= 25
    example = files("bot.strategy").joinpath("example.py").read_text("utf-8")
    assert example.endswith(source)  # the one that `bot help strategy` shows
    (workplace / "breakout.py").write_text(source)
    (shown,) = [line for block in blocks("sh") for line in block.splitlines() if "breakout:" in line]
    bot("data", "synth", "--symbol", "BTCUSDT", "--price", "90000", "--days", "30", "--out", ".data/demo")
    words = shlex.split(shown.split("#")[0])[1:]
    answer = json.loads(bot(*words, "--json"))
    assert answer["trades"] > 3


def test_the_rotation_of_the_help_is_short_and_turns_over_five_symbols(workplace: Path) -> None:
    source = files("bot.strategy").joinpath("rotation.py").read_text("utf-8").split('"""\n\n', 1)[1]
    assert sum(bool(line) for line in source.splitlines()) <= 25
    (workplace / "rotation.py").write_text(source)
    (shown,) = [line for block in blocks("sh") for line in block.splitlines() if "rotation:" in line]
    symbols = [word for coin in ("ADA", "BTC", "ETH", "SOL", "XRP") for word in ("--symbol", f"{coin}USDT")]
    bot("data", "synth", "--days", "40", "--interval", "1h", "--out", ".data/candles", *symbols)
    words = shlex.split(shown.split("#")[0])[1:]
    at = words.index(".data/candles/*_1h.parquet")
    words[at : at + 1] = sorted(glob.glob(words[at]))
    answer = json.loads(bot(*words, "--json"))
    assert len(answer["data"]) == 5
    assert answer["trades"] > 3
    assert answer["refused"] == {}


def test_the_indicators_of_the_readme_trade(workplace: Path) -> None:
    (source,) = [block for block in blocks("python") if "class Trend" in block]
    (workplace / "trend.py").write_text(source)
    bot("data", "synth", "--symbol", "BTCUSDT", "--price", "90000", "--days", "20", "--out", "candles")
    data = ("--data", "candles/synth_linear_BTCUSDT_5m.parquet")
    answer = json.loads(bot("backtest", *data, "--strategy", "trend.py:Trend", "--json"))
    assert answer["trades"] > 3


def test_the_model_of_the_readme_is_judged_on_what_it_has_not_seen(workplace: Path) -> None:
    pytest.importorskip("lightgbm", reason="the example needs lightgbm")
    (example,) = [block for block in blocks("python") if "import lightgbm" in block]
    (workplace / "boosted.py").write_text(example)
    make_the_market_of_the_examples()
    data = ("--data", "candles/synth_linear_BTCUSDT_5m.parquet")
    answer = json.loads(bot("backtest", *data, "--strategy", "boosted.py:Boosted", "--json").splitlines()[-1])
    assert answer["trained_to_ms"] == 1_736_640_000_000
    assert answer["in_sample"]["to_ms"] == answer["trained_to_ms"]


def test_the_python_example_of_the_readme_runs_and_is_short(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (strategy,) = [block for block in blocks("python") if "class Breakout" in block]
    (example,) = [block for block in blocks("python") if "from breakout" in block]
    (search,) = [block for block in blocks("python") if "bot.sweep" in block]
    (screen,) = [block for block in blocks("python") if "bot.screen" in block]
    assert sum(bool(line) for line in example.splitlines()) <= 20
    (workplace / "breakout.py").write_text(strategy)
    monkeypatch.syspath_prepend(workplace)
    monkeypatch.delitem(sys.modules, "breakout", raising=False)
    make_the_market_of_the_examples()
    ran: dict[str, Any] = {}
    exec(example, ran)
    exec(search, ran)
    exec(screen, ran)
    assert ran["search"].table.num_rows == 3
    assert ran["walk"].table.num_rows == 3
    assert (ran["found"].trials, ran["found"].confirmed.num_rows) == (400, 3)
    assert ran["result"].numbers["trades"] > 3
    assert "breakdown" in capsys.readouterr().out
    assert ran["later"].fills.num_rows
    assert ran["rows"].matrix.shape == (8640, len(ran["rows"].names))
    assert ran["forecasts"].num_rows == 8640
    assert (workplace / "breakout.html").stat().st_size > 10_000 < (workplace / "breakout.svg").stat().st_size


RUN = (
    "bot data synth",
    "bot data verify",
    "bot backtest --data .data/candles/bybit",
    "bot sweep",
    "bot walkforward",
    "bot predict",
    "bot help",
    "bot completion",
)
"""Lines that run here as they stand, in a folder with candles of twenty days."""
PARSED_ONLY = {
    "./scripts/": "installs; the scripts themselves are tests of the repository",
    "source ": "belongs to the shell",
    "export ": "belongs to the shell",
    "bot data fetch": "needs the network",
    "bot data import": "reads a file of the reader; tests/cli/test_data.py imports some",
    "bot record": "needs the network",
    "bot notify test": "sends messages",
    "bot run --feed mainnet": "needs the network",
    "bot run --feed replay": "is paced: hours; tests/cli/daemon/test_run.py runs a faster one",
    "bot -c config/local.toml run": "does not end; tests/cli/daemon/test_run_live.py runs it",
    "bot run --feed local": "does not end; tests/app/runs/test_overlay.py runs it",
    "bot exchange": "does not end; tests/cli/exchanges.py starts it",
    "bot check parity": "takes a minute; tests/parity run it",
    "bot train": "takes minutes; tests/research train",
    "bot evaluate": "needs weeks of candles; tests/research evaluate",
    "bot backtest --data .data/demo": "a test above runs it",
    "bot backtest --data .data/candles/*_1h": "a test above runs it",
    "bot report": "tests/app/runs/test_overlay.py runs it",
}
"""Beginning of a line → why only its options are checked here."""


def lines() -> list[str]:
    return [
        line.partition("  #")[0].strip()
        for block in blocks("sh")
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip()
    ]


def parse(words: list[str]) -> None:
    """Check a command line as click does before it calls the command."""
    command: click.Command = root
    ctx = root.make_context("bot", list(words), obj=Context())
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
        assert found is not None, words
        command, ctx = found, found.make_context(name, rest, parent=ctx)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the README's reader has it after a download: settings and twenty days of candles."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(README.parent / "config", folder / "config")
    bot("data", "synth", "--symbol", "BTCUSDT", "--price", "90000", "--days", "20", "--out", str(folder))
    place = folder / ".data" / "candles"
    place.mkdir(parents=True)
    for path in folder.glob("synth_*"):
        path.rename(place / path.name.replace("synth", "bybit"))
    return folder


def test_every_line_of_a_shell_block_runs_or_says_why_not() -> None:
    known = (*RUN, *PARSED_ONLY)
    assert [line for line in lines() if not line.startswith(known)] == []


@pytest.mark.parametrize("line", lines())
def test_a_line_of_the_readme_works_as_it_is_written(
    line: str, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    words = [each for word in shlex.split(line) for each in (sorted(glob.glob(word)) or [word])]
    if line.startswith(RUN):
        bot(*words[1:])
        written = [Path(word) for word in words if word.endswith((".html", ".parquet"))]
        assert all(path.stat().st_size for path in written)
    elif words[0] == "bot":
        parse(words[1:])
    elif words[0].startswith("./"):
        assert os.access(README.parent / words[0], os.X_OK)


def test_every_command_in_the_text_can_be_typed_as_it_stands(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    named = set(re.findall(r"`(bot [^`\n]+)`", README.read_text(encoding="utf-8")))
    assert len(named) > 30
    for text in sorted(named):
        words = shlex.split(text)[1:]
        with_arguments = [*words, "--help"]  # a group, or arguments that stand elsewhere
        try:
            parse(words)
        except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
            done = CliRunner().invoke(root, with_arguments, obj=Context())
            assert done.exit_code == 0, text


def test_every_command_and_every_shipped_strategy_is_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    missing = [name for name in COMMANDS if f"`bot {name}" not in text]
    missing += [name for name in SHIPPED if f"`{name}`" not in text]
    assert not missing


def test_the_drawing_says_how_many_checks_an_order_passes() -> None:
    assert f"({len(CHECKS)} checks)" in README.read_text(encoding="utf-8")
