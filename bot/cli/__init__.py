"""The command line: one thin module per group of commands. It parses, calls ``bot.app`` and prints.

``main`` is the entry point. A command's module, and with it torch or pyarrow, is imported only when
that command is called: add a line to ``COMMANDS`` and a click command of that name. Every error ends as
one line on stderr and the exit code of its class in ``bot.domain.errors``. May import ``bot.app``.
Start with ``bot/app/context.py`` (what a command is given) and ``terminal/output.py`` (what it prints).
"""

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from types import FrameType

import click
from click.shell_completion import CompletionItem, shell_complete

import bot
from bot.app.compiler import prepare_compiler
from bot.app.context import Context
from bot.app.places import FULL, why_not
from bot.cli.terminal.everywhere import add_global_options, global_options
from bot.domain.errors import BotError
from bot.logs import guarded_stderr
from bot.service.process.private import forbid_core_dump

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("bot.cli.demo:demo", "Trade an invented market, backtest it, open the page; offline"),
    "run": ("bot.cli.daemon.run:run", "The daemon: candles in, decisions, orders out"),
    "exchange": ("bot.cli.exchange:exchange", "A local Bybit v5 exchange with toy money, on loopback"),
    "backtest": ("bot.cli.backtest:backtest", "Replay candle files through the same engine"),
    "sweep": ("bot.cli.sweep:sweep", "Many parameters, the best of them, and how much of that is luck"),
    "walkforward": ("bot.cli.walkforward:walkforward", "Choose on the past, trade what follows, move on"),
    "data": ("bot.cli.data:data", "Candle files: fetch, import, list, verify, synth"),
    "record": ("bot.cli.record:record", "Public frames into files: candles, trades, order book, tickers"),
    "train": ("bot.cli.models.train:train", "Train a model directory from candle files"),
    "predict": ("bot.cli.models.predict:predict", "One forecast row a bar, no look-ahead"),
    "model": ("bot.cli.models.model:model", "Models: list, show, retrain, roll back"),
    "evaluate": ("bot.cli.models.evaluate:evaluate", "A model's skill against the baselines"),
    "status": ("bot.cli.daemon.control:status", "What the daemon is doing"),
    "pause": ("bot.cli.daemon.control:pause", "No entries until resume; positions and stops stay"),
    "resume": ("bot.cli.daemon.control:resume", "Entries again after pause or flatten"),
    "flatten": ("bot.cli.daemon.control:flatten", "Close every position, then stay paused"),
    "kill": ("bot.cli.daemon.control:kill", "Halt, cancel every order, say what survived; needs no daemon"),
    "unhalt": ("bot.cli.daemon.control:unhalt", "Lift a halt"),
    "journal": ("bot.cli.state.journal:journal", "What the bot has kept: show, verify, replay, export"),
    "report": ("bot.cli.state.report:report", "A run as a page, alone or over a backtest of the same bars"),
    "trades": ("bot.cli.state.journal:trades", "The latest closed trades"),
    "orders": ("bot.cli.state.journal:orders", "The latest orders"),
    "equity": ("bot.cli.state.journal:equity", "The account's value at the latest closes"),
    "backup": ("bot.cli.state.backup:backup", "The state directory as one file, also while the daemon runs"),
    "restore": ("bot.cli.state.backup:restore", "Put a backup back"),
    "web": ("bot.cli.daemon.web:web", "The page in the browser, for a daemon that runs or has run"),
    "guard": ("bot.cli.daemon.guard:guard", "Watch the daemon; cancel its entries when it is dead or frozen"),
    "check": (
        "bot.cli.check:check",
        "Proofs on your own data and settings: look-ahead, warm-up, parity, config",
    ),
    "notify": ("bot.cli.daemon.notify:notify", "Messages to your phone or chat: test every address"),
    "doctor": (
        "bot.cli.daemon.doctor:doctor",
        "What is wrong with this machine and these settings, and what to do",
    ),
    "config": ("bot.cli.config:config", "Show the effective settings, or write a commented file"),
    "help": ("bot.cli.help:show_help", "The reference: settings, strategy, limits, events, metrics, runbook"),
    "completion": ("bot.cli.completion:completion", "Let bash, zsh or fish complete commands and options"),
}
"""Command → where it lives ("module:function") and its line in ``bot --help``."""

INTERRUPTED = 130
COMPLETE = "_BOT_COMPLETE"
"""Set by a completion script: answer with completions and do nothing else."""


class LazyGroup(click.Group):
    """A group that knows names and help lines of its commands and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command; None for a name that is not in the table."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command), f"{module}:{name} is no click command"
        add_global_options(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, with a did-you-mean for a name that is not in the table."""
        wrong = args and not args[0].startswith("-") and args[0] not in COMMANDS
        if wrong and not ctx.resilient_parsing:  # else the line is still being typed
            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"commands: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of the table, so that no command is imported; options as click does."""
        found = [CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items()]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [item for item in found if item.value.startswith(incomplete)] + options

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help lines of the table, so that ``--help`` imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(bot.__version__, prog_name="bot")
def root() -> None:
    """An event-driven trading bot for Bybit; paper money and testnet only. `bot help` is the reference.

    The first three options may also stand behind the command: `bot run -c FILE`.

    Exit codes: 0 ok, 1 failure, 2 usage, 3 settings, 4 exchange, 5 data or model, 6 halted by risk,
    130 interrupted.
    """


root.params[:0] = global_options()


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; no input of a user ends in a traceback."""
    context = Context()
    forbid_core_dump()
    prepare_compiler(context)
    with guarded_stderr(context.redactor) as context.stderr:
        try:
            return _run(context, args)
        finally:
            context.end_log()


def _run(context: Context, args: Sequence[str] | None) -> int:
    signal.signal(signal.SIGTERM, _stop)
    if instruction := os.environ.get(COMPLETE):
        return shell_complete(root, {"obj": context}, "bot", COMPLETE, instruction)
    try:
        # Not ``root.main``: it turns a reader that left into exit 1.
        given = list(sys.argv[1:] if args is None else args)
        with root.make_context("bot", given, obj=context) as ctx:
            root.invoke(ctx)
        sys.stdout.flush()
        return 0
    except click.exceptions.Exit as done:  # --help, --version
        return done.exit_code
    except BrokenPipeError:
        # The reader has left (``bot … | head``): print nothing, also when the interpreter flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except Exception as error:  # the outermost frame: every failure becomes one line and a code
        if isinstance(error.__cause__, KeyboardInterrupt | SystemExit):  # it came while a class was made
            return INTERRUPTED if isinstance(error.__cause__, KeyboardInterrupt) else 0
        return _report(error, context)


def _stop(signum: int, frame: FrameType | None) -> None:
    """Stop cleanly on SIGTERM; the daemon installs its own handler."""
    raise SystemExit(0)


def _report(error: Exception, context: Context) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if isinstance(error, click.ClickException):
        line, code = error.format_message(), error.exit_code
        if isinstance(error, click.UsageError) and error.ctx is not None:
            line += f" (see `{error.ctx.command_path} --help`)"
    elif isinstance(error, BotError):
        line, code = str(error), error.exit_code
    elif isinstance(error, OSError) and error.errno in FULL:
        line, code = f"{error.filename or 'a file'}: {why_not(error)}", BotError.exit_code
    elif isinstance(error, OSError) and error.filename is not None:
        line, code = f"{error.filename}: {error.strerror}; name another place", BotError.exit_code
    else:
        hint = "" if context.verbose > 1 else "; `bot -vv …` shows where"
        line, code = f"{type(error).__name__}: {error}{hint}", BotError.exit_code
    if context.verbose > 1:
        _say(context, traceback.format_exc().rstrip())
    _say(context, "error: " + " ".join(line.split()))
    return code


def _say(context: Context, text: str) -> None:
    """Say a line on stderr. If it is closed there is nobody to tell, and the exit code says the rest."""
    print(context.redactor(text), file=sys.stderr, flush=True)
