"""`bot help`: nothing of the program is missing in it, and nothing stands in it that the program lacks."""

import ast
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import get_args

import click
import pytest
from click.testing import CliRunner

import bot
from bot.adapters.files.candles import CANDLE_COLUMNS, FUNDING_COLUMNS
from bot.adapters.model.predictor import FORECAST_COLUMNS
from bot.adapters.state.trials import FOLDER as SWEEPS
from bot.app.context import Context
from bot.app.inputs import choose_strategy
from bot.app.search.screens import FOLDER as SCREENS
from bot.app.topics import TOPICS, WRITTEN, limits, log, read, settings, written
from bot.app.topics.codes import MEANINGS, all_errors
from bot.app.topics.faults import EXAMPLE
from bot.app.topics.page import Page
from bot.cli import COMMANDS, root
from bot.cli.help import commands, commands_page
from bot.domain.alerts import KINDS
from bot.domain.ledger import FillCause
from bot.domain.market import Bar
from bot.domain.messages import Effect, Event
from bot.domain.refusals import SETTINGS
from bot.journal.entries import Entry
from bot.research.search.selection import Selection
from bot.risk.breaker import Cause
from bot.risk.limits import CHECKS
from bot.settings import FIELDS
from bot.settings.models import FOLDER as MODELS
from bot.simulator.faults.plan import KINDS as FAULTS
from bot.simulator.faults.plan import read_plan
from bot.strategy import SHIPPED, Target, View
from bot.strategy.memory import Remembering
from bot.strategy.portfolio import PortfolioStrategy, PortfolioView
from bot.strategy.signal import Strategy
from bot.web.server.metrics import METRICS, OWN

PACKAGE = Path(str(bot.__file__)).parent
PACKAGES = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def said(*words: str) -> str:
    done = CliRunner().invoke(root, ["help", *words], obj=Context(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def members(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def entry(page: Page, name: str) -> dict[str, str]:
    (found,) = [each for section in page.sections for each in section.entries if each.name == name]
    return dict(found.facts)


# What must stand in each topic


@pytest.mark.parametrize(
    ("topic", "names"),
    [
        ("settings", set(FIELDS)),
        ("events", {kind.__name__ for kind in (*get_args(Event), *get_args(Effect), *get_args(Entry))}),
        ("log", {*KINDS, *log.EVENTS}),
        ("metrics", {*OWN, *(each.name for each in METRICS)}),
        ("strategy", {*SHIPPED, *members(View), *members(Target), *members(Bar)}),
        ("strategy", {*members(Strategy), *members(Remembering), "needs_forecast"}),
        ("strategy", {*members(PortfolioStrategy), *members(PortfolioView)}),
        ("python", {f"bot.{name}" for name in bot.__all__}),
        ("python", {*members(bot.BacktestResult), *members(bot.Model), *members(bot.FeatureRows)}),
        ("forecasts", {"start_ms", *FORECAST_COLUMNS}),
        ("limits", {*(each.name for each in CHECKS), *Cause}),
        ("files", {*CANDLE_COLUMNS, *FUNDING_COLUMNS, f"{SWEEPS}/", f"{SCREENS}/", f"{MODELS}/"}),
        ("faults", set(FAULTS)),
        ("search", set(Selection.__struct_fields__)),
        ("packages", {f"bot/{name}" for name in {*PACKAGES, "ports.py", "synth.py", "jit.py"}}),
        ("exit-codes", {*map(str, MEANINGS), *(str(each.exit_code) for each in all_errors())}),
    ],
)  # fmt: skip
def test_a_topic_names_all_that_the_program_has(topic: str, names: set[str]) -> None:
    assert names - read(topic).names() == set()


def test_a_default_that_a_factory_makes_is_told_as_what_it_makes() -> None:
    assert entry(read("strategy"), "ind")["default"] == "Values()"


def test_the_commands_topic_has_every_command_and_every_option() -> None:
    ctx = click.Context(root, info_name="bot")
    told = {section.title: section for section in commands_page(root).sections}
    common = {option for each in root.params for option in each.opts}
    for path, command in commands(root, ctx):
        (title,) = [each for each in told if f"{each} ".startswith(f"bot {' '.join(path)} ")
                    and not each.removeprefix(f"bot {' '.join(path)} ")[:1].islower()]  # fmt: skip
        options = " ".join(each.name for each in told[title].entries)
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert {*parameter.opts} & common or parameter.opts[0] in options, (path, parameter.opts)


@pytest.mark.parametrize("topic", TOPICS)
def test_everything_in_a_topic_is_explained(topic: str) -> None:
    page = read(topic)
    assert page.topic == topic
    wordless = [each.name for section in page.sections for each in section.entries if not each.words]
    allowed = {"exit-codes": {"0", "130"}, "faults": set(wordless), "runbook": {"$ bot resume"}}
    assert set(wordless) - allowed.get(topic, set()) == set()
    assert said(topic).startswith(page.words[:40])
    assert json.loads(said(topic, "--json")) == json.loads(json.dumps(asdict(page)))


# What is said of each


def test_a_setting_is_told_with_type_unit_default_bounds_and_variable() -> None:
    assert entry(read("settings"), "risk.max_signal_age_ms") == {
        "type": "whole number",
        "unit": "milliseconds",
        "default": "15000",
        "bounds": ">= 0, <= 3600000",
        "variable": "BOT_RISK__MAX_SIGNAL_AGE_MS",
    }
    for key, field in FIELDS.items():
        told = entry(read("settings"), key)
        assert {"type", "default", "variable"} <= told.keys(), key
        if "number" in told["type"]:
            assert told["unit"], key
            assert field.default is None or isinstance(field.default, int | float | Decimal), key
    assert settings.unit("feed.kind", FIELDS["feed.kind"]) == ""


def test_every_reason_of_a_shipped_strategy_and_of_a_fill_is_in_the_help() -> None:
    reasons = {
        node.args[1].value
        for path in (PACKAGE / "strategy").rglob("*.py")
        if path.name not in ("example.py", "rotation.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Target" and len(node.args) > 1
        if isinstance(node.args[1], ast.Constant)
    }
    assert {"cost", "base", "cross_up"} <= reasons
    told = read("strategy").names()
    assert (reasons | {*get_args(FillCause)} - {"order"}) - told == set()


def test_the_example_can_be_copied_from_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, rest = said("strategy").partition("An example: a file breakout.py\n")
    lines = rest.partition("  --strategy")[0].splitlines()
    (tmp_path / "copied_breakout.py").write_text(textwrap.dedent("\n".join(lines)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    assert choose_strategy("copied_breakout:Breakout").__name__ == "Breakout"


def test_the_example_of_a_fault_plan_is_one(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(EXAMPLE)
    plan = read_plan(tmp_path / "plan.toml")
    assert [each.kind for each in plan.fault] == ["lost_answer", "stall"]
    assert 'kind = "lost_answer"' in said("faults")


def log_names() -> Iterator[tuple[str, str]]:
    """Yield (name, place) of everything that the program logs beside alerts."""
    levels, sayers = {"info", "warning", "error"}, {"_on_note", "note", "_report", "_tell"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=receiver, attr=called), args=args) if (
                    called in levels and "log" in ast.unparse(receiver).lower()
                ) or called in sayers:  # fmt: skip
                    pass
                case ast.Call(func=ast.Name(id=called), args=args) if called in (*sayers, "level"):
                    pass
                case _:
                    continue
            for each in args[:2]:
                if (
                    isinstance(each, ast.Constant)
                    and isinstance(each.value, str)
                    and each.value not in levels
                ):
                    yield each.value, f"{path.name}:{node.lineno}"
                    break


def test_every_event_of_the_log_is_in_the_help() -> None:
    found = dict(log_names())
    assert {"loop_late", "feed_gap", "uncaught", "library", "message_failed"} <= found.keys()
    assert {name: place for name, place in found.items() if name not in read("log").names()} == {}
    text = "".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py") if path.name != "log.py")
    assert [name for name in log.EVENTS if f'"{name}"' not in text] == []
    assert log.ALERTS.keys() == KINDS.keys()


def test_limits_name_settings_that_exist_and_words_for_each_cause() -> None:
    words = " ".join(
        [*map(limits.bound, SETTINGS), *limits.OTHERS, *(told for _, _, told in limits.CAUSES.values())]
    )
    named = {word.strip(".,;") for word in words.split() if word.count(".") and "_" in word}
    assert named
    assert named - FIELDS.keys() == set()
    assert limits.CAUSES.keys() == set(Cause)
    assert limits.LIVE_CHECKS.keys() <= {each.name for each in CHECKS}


# The command


def test_help_lists_topics_and_helps_with_commands_and_typing_errors() -> None:
    listed = said()
    assert all(f"  {topic} " in listed for topic in ("commands", *TOPICS))
    assert set(json.loads(said("--json"))["topics"]) == {"commands", *TOPICS}
    assert "--strategy" in said("backtest")
    assert "verify" in said("journal")
    assert "--out" in said("journal", "export")
    assert "web.port" in said("settings", "web")
    assert "risk.max_leverage" not in said("settings", "web")
    wrong = CliRunner().invoke(root, ["help", "setings"], obj=Context())
    assert "did you mean 'settings'?" in str(wrong.exception)
    nothing = CliRunner().invoke(root, ["help", "settings", "nonsense"], obj=Context())
    assert "nothing in settings is named like 'nonsense'" in str(nothing.exception)
    assert not set(TOPICS) & set(COMMANDS)


def test_help_never_loads_torch_or_a_server() -> None:
    code = (
        "import sys; from click.testing import CliRunner\n"
        "from bot.app.context import Context; from bot.app.topics import TOPICS; from bot.cli import root\n"
        "for topic in ['commands', *TOPICS]:\n"
        "    assert not CliRunner().invoke(root, ['help', topic], obj=Context()).exit_code\n"
        "print(sorted({'torch', 'aiohttp', 'websockets'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# What is said about a backtest


@pytest.fixture(scope="module")
def candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("candles")
    words = ["--symbol", "BTCUSDT", "--price", "90000", "--days", "3", "--out", str(folder)]
    done = CliRunner().invoke(root, ["data", "synth", *words], obj=Context(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (path,) = [each for each in folder.iterdir() if "funding" not in each.name]
    return path


def refused(candles: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str) -> set[str]:
    monkeypatch.chdir(candles.parent)
    monkeypatch.setenv(f"BOT_{key.upper().replace('.', '__')}", value)
    words = ["--data", str(candles), "--strategy", "random", "--json"]
    done = CliRunner().invoke(root, ["backtest", *words], obj=Context(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return set(json.loads(done.stdout)["refused"])


@pytest.mark.parametrize(
    ("check", "value"),
    [
        ("rejects", "0"),
        ("daily_loss", "0"),
        ("drawdown", "0"),
        ("order_rate", "0"),
        ("order_notional", "1"),
        ("daily_notional", "1"),
        ("position_notional", "1"),
        ("total_notional", "1"),
        ("leverage", "0.001"),
        ("stale_data", "0"),
        ("stale_signal", "0"),
    ],
)
def test_a_tight_limit_refuses_in_a_backtest_if_the_help_says_so(
    candles: Path, monkeypatch: pytest.MonkeyPatch, check: str, value: str
) -> None:
    key = limits.bound(check).split()[0].strip(",")
    found = refused(candles, monkeypatch, key, value)
    assert bool(found & {check, "breaker"}) is (limits.acts(check) == limits.BOTH)


@pytest.mark.parametrize("topic", [name for name, (module, _) in TOPICS.items() if module == WRITTEN])
def test_a_text_loses_no_point_and_names_real_settings(topic: str) -> None:
    page, source = read(topic), written.text(topic)
    told, *others = page.sections
    tables = [each for each in others if not each.code]
    assert all(f"\n{each.code}```" in source for each in others if each.code)
    assert 2 * (len(others) - len(tables)) == source.count("```")
    assert len(told.entries) == source.count("\n- ") >= 10
    assert all(each.name and each.words[0] not in ":,." for each in told.entries)
    headings_and_rows = 2 * len(tables) + sum(len(table.entries) for table in tables)
    assert headings_and_rows == len(re.findall(r"^\|", source, re.MULTILINE))
    named = re.findall(r"`((?:venue|journal|log)\.[a-z_.]+)", source)
    assert {*named} <= {*FIELDS}
    assert f"texts/{topic}.md" in Path(bot.__file__).parents[1].joinpath("README.md").read_text()
