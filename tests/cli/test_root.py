import importlib
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bot.cli
from bot.cli import COMMANDS, main
from bot.cli.exchange import exchange
from bot.cli.terminal.words import FILLS
from bot.domain import errors
from bot.settings import load

HEAVY = ("torch", "numba", "numpy", "pyarrow", "pydantic", "structlog", "rich", "aiohttp", "asyncio")


def run(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("BOT_")}
    return subprocess.run(
        [sys.executable, "-m", "bot", *args],
        capture_output=True,
        text=True,
        env=clean | environ,
        timeout=60,
        check=False,
    )


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> "Failing":
    return Failing(monkeypatch)


class Failing:
    """A command ``data`` that raises what it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def main(self, error: BaseException, *options: str) -> int:
        @click.command()
        def data() -> None:
            raise error

        self.monkeypatch.setattr(bot.cli, "importlib", self)
        self.data = data
        return main([*options, "data"])

    def import_module(self, name: str) -> "Failing":
        return self


@pytest.mark.parametrize(
    ("args", "code"), [(["--help"], 0), (["status"], 1), (["kill", "--venue", "paper"], 0)], ids=str
)
def test_what_must_be_fast_imports_nothing_heavy(tmp_path: Path, args: list[str], code: int) -> None:
    program = (
        f"import sys, time; from bot.cli import main; code = main({args});"
        f"print(code, [m for m in {HEAVY} if m in sys.modules], time.process_time(), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-X", "frozen_modules=on", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if not key.startswith("BOT_")},
    )
    told = done.stderr.splitlines()[-1]
    assert told.startswith(f"{code} [] "), done.stderr
    # Interpreter, click and our own few modules: 0.07 s here; the bound leaves room for a slow machine.
    assert float(told.split()[-1]) < 0.5


def test_help_names_every_command() -> None:
    told = run("--help").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in told


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_where_the_table_says(name: str) -> None:
    module, _, function = COMMANDS[name][0].partition(":")
    command = getattr(importlib.import_module(module), function)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help


@pytest.mark.parametrize("name", ["data", "journal", "check", "config"])
def test_the_help_of_a_group_says_each_of_its_commands_whole(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    lines = capsys.readouterr().out.partition("Commands:")[2]
    assert lines
    assert "..." not in lines


def test_the_version_is_the_packages() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"bot, version {bot.__version__}\n")


@given(st.sampled_from(sorted(COMMANDS)), st.data())
def test_a_one_letter_typo_names_the_command(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(name) - 1))
    typo = name[:place] + "z" + name[place + 1 :]
    with pytest.raises(click.UsageError, match=f"no command '{typo}'; did you mean '{name}'"):
        bot.cli.root.main([typo], standalone_mode=False, obj=bot.cli.Context())


def test_usage_errors_are_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    for args, words in (
        (["backtst"], "did you mean 'backtest'?"),
        (["--confg", "x"], "--config"),
        (["--log-format", "xml"], "xml"),
        (["config", "shw"], "show"),
        (["data", "verify", "--jsn"], "--json"),
    ):
        assert main(args) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("error: ")
        assert shown.err.count("\n") == 1
        assert words in shown.err


LEAVES = [
    leaf for leaf in vars(errors).values() if isinstance(leaf, type) and issubclass(leaf, errors.BotError)
]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_every_error_of_ours_is_one_line_and_its_exit_code(
    leaf: type[errors.BotError], failing: Failing, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing.main(leaf("what\nwhere what to do")) == leaf.exit_code
    assert capsys.readouterr().err == "error: what where what to do\n"


def test_anything_else_is_one_line_and_exit_1(failing: Failing, capsys: pytest.CaptureFixture[str]) -> None:
    assert failing.main(ZeroDivisionError("division by zero")) == 1
    shown = capsys.readouterr().err
    assert shown == "error: ZeroDivisionError: division by zero; `bot -vv …` shows where\n"


def test_a_place_that_cannot_be_written_is_named(
    failing: Failing, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    nowhere = tmp_path / "none/x.html"
    assert failing.main(FileNotFoundError(2, "No such file or directory", str(nowhere))) == 1
    assert capsys.readouterr().err == f"error: {nowhere}: No such file or directory; name another place\n"
    assert failing.main(OSError(28, "Error writing bytes to file")) == 1
    assert "a file: cannot be written (No space left on device); free space" in capsys.readouterr().err


def test_a_traceback_only_with_vv(failing: Failing, capsys: pytest.CaptureFixture[str]) -> None:
    failing.main(errors.BadFile("no such file"), "-v")
    assert "Traceback" not in capsys.readouterr().err
    failing.main(errors.BadFile("no such file"), "-vv")
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("error: no such file\n")


def test_an_interrupt_is_130(failing: Failing) -> None:
    assert failing.main(KeyboardInterrupt()) == 130


@pytest.mark.parametrize(("signal_", "code"), [(KeyboardInterrupt(), 130), (SystemExit(0), 0)])
def test_a_signal_while_a_module_makes_a_class_is_no_failure(
    failing: Failing, signal_: BaseException, code: int
) -> None:
    wrapped = RuntimeError("Error calling __set_name__")  # Python 3.11's words for it
    wrapped.__cause__ = signal_
    assert failing.main(wrapped) == code


def test_sigterm_is_a_clean_stop(failing: Failing) -> None:
    class Stop(click.Command):
        def invoke(self, ctx: click.Context) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()

    failing.monkeypatch.setattr(bot.cli, "importlib", failing)
    failing.data = Stop("data")
    with pytest.raises(SystemExit) as stopped:
        main(["data"])
    assert stopped.value.code == 0


def test_a_reader_that_leaves_early_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"'{sys.executable}' -m bot config show | head -c 10"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={key: value for key, value in os.environ.items() if not key.startswith("BOT_")},
    )
    assert (done.returncode, done.stderr) == (0, "")


CANARY = "canary/secret+0123456789"


@pytest.mark.fault(83)
def test_a_secret_is_in_no_output(tmp_path: Path) -> None:
    for args in (["-vv", "config", "show"], ["config", "show", "--json"]):
        done = run(*args, BOT_VENUE__API_KEY=CANARY, BOT_VENUE__API_SECRET=CANARY[::-1])
        assert done.returncode == 0
        assert CANARY not in done.stdout + done.stderr
        assert CANARY[::-1] not in done.stdout + done.stderr
    config = tmp_path / "bot.toml"
    config.write_text(f'[venue]\napi_secret = "{CANARY}"\n')
    done = run("-vv", "-c", str(config), "config", "show")
    assert done.returncode == 3
    assert CANARY not in done.stdout + done.stderr


def test_an_error_that_repeats_a_secret_is_shown_without_it(
    failing: Failing, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = bot.cli.Context()
    context.redactor.hide(CANARY)
    monkeypatch.setattr(bot.cli, "Context", lambda: context)
    failing.main(RuntimeError(f"header {CANARY}"), "-vv")
    shown = capsys.readouterr().err
    assert CANARY not in shown
    assert shown.count("[redacted]") >= 2


@pytest.mark.fault(92)
def test_exit_codes_of_the_real_program(tmp_path: Path) -> None:
    assert run("data", "verify", str(tmp_path / "bybit_linear_BTCUSDT_5m.parquet")).returncode == 5
    misspelt = run("config", "show", BOT_RISK__MAX_LEVRAGE="2")
    assert misspelt.returncode == 3
    assert misspelt.stderr == (
        "error: BOT_RISK__MAX_LEVRAGE: no such setting; did you mean BOT_RISK__MAX_LEVERAGE?\n"
    )


def test_an_old_word_of_an_option_is_taken_and_told_by_its_new_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert FILLS.convert("book", None, None) == "quotes"
    assert "book is called option quotes now" in capsys.readouterr().err
    assert FILLS.convert("bars", None, None) == "bars"
    assert capsys.readouterr().err == ""


def test_one_position_may_have_the_whole_wallet_of_a_fresh_local_exchange_and_of_a_backtest() -> None:
    (wallet,) = [each.default for each in exchange.params if each.name == "wallet"]
    settings = load(environ={}, dotenv=Path("no such file"))
    risk = settings.risk
    assert Decimal(wallet) == settings.account.equity_quote
    assert wallet <= min(risk.max_order_notional_quote, risk.max_position_notional_quote)
