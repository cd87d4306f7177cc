"""``bot help TOPIC``: the reference on a terminal or as JSON."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from difflib import get_close_matches

import click

from bot.app.topics import TOPICS, read
from bot.app.topics.page import Entry, Page, Section
from bot.cli.terminal.output import emit_json
from bot.domain.errors import BadUsage

COMMANDS_TOPIC = "commands"
_ABOUT_COMMANDS = "Every command with its options"
_PIPE_COLUMNS = 110
"""Width of what goes to a file or another program."""
_SAYS_ITSELF = frozenset({"type", "unit", "bounds", "meaning", "fields", "level", "variable", "kind"})
"""Facts that people understand without their names."""


@click.command("help")
@click.argument("topic", required=False)
@click.argument("word", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def show_help(ctx: click.Context, topic: str | None, word: str | None, as_json: bool) -> None:
    """The reference by topic: `bot help` lists topics, `bot help settings risk` shows names with "risk".

    The name of a command shows the help of that command.
    """
    from bot.cli import COMMANDS, root

    topics = {COMMANDS_TOPIC: _ABOUT_COMMANDS} | {name: words for name, (_, words) in TOPICS.items()}
    if topic is None:
        _list(topics, as_json)
        return
    if topic in COMMANDS and not as_json:
        _help_of(ctx, topic, word)
        return
    if topic not in topics:
        near = get_close_matches(topic, [*topics, *COMMANDS], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"topics: {', '.join(topics)}"
        raise BadUsage(f"no topic {topic!r}; {hint}")
    page = commands_page(root) if topic == COMMANDS_TOPIC else read(topic)
    if word is not None:
        page = page.about(word)
        if not page.sections:
            raise BadUsage(f"nothing in {topic} is named like {word!r}; `bot help {topic}` shows all of it")
    if as_json:
        emit_json(asdict(page))
    else:
        _show(page)


def _list(topics: Mapping[str, str], as_json: bool) -> None:
    if as_json:
        emit_json({"topics": topics})
        return
    width = max(map(len, topics))
    click.echo("Topics of `bot help TOPIC`; `bot COMMAND --help` explains one command.\n")
    for name, words in topics.items():
        click.echo(f"  {name:{width}}  {words}")
    click.echo("\n`bot help TOPIC WORD` shows only what is named like WORD: `bot help settings web`.")


def _help_of(ctx: click.Context, name: str, word: str | None) -> None:
    from bot.cli import root

    parent = ctx.parent or ctx
    command = root.get_command(parent, name)
    assert command is not None, name
    here = click.Context(command, info_name=name, parent=parent)
    if word is not None:
        inner = command.get_command(here, word) if isinstance(command, click.Group) else None
        if inner is None:
            raise BadUsage(f"`bot {name}` has no command {word!r}; `bot help {name}` lists them")
        command, here = inner, click.Context(inner, info_name=word, parent=here)
    click.echo(command.get_help(here))


# The topic that only the command line knows


def commands_page(root: click.Group) -> Page:
    """Return every command with its options, those of groups under `bot GROUP COMMAND`."""
    ctx = click.Context(root, info_name="bot")
    sections = [_section(each, f"bot {' '.join(path)}", ctx) for path, each in commands(root, ctx)]
    return Page(
        COMMANDS_TOPIC,
        "`bot COMMAND --help` shows the same for one command. -c FILE, -v and --log-format may stand before "
        "or behind a command. Every reading command has --json: one JSON object on stdout, logs on stderr.",
        sections,
    )


def commands(
    group: click.Group, ctx: click.Context, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words that call it."""
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None, name
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, ctx, (*path, name))


def _section(command: click.Command, name: str, ctx: click.Context) -> Section:
    inside = click.Context(command, info_name=name, parent=None)
    common = {option for each in ctx.command.params for option in each.opts}
    usage = " ".join([name, *command.collect_usage_pieces(inside)])
    entries = [
        Entry(*record)
        for each in command.params
        if not common & {*each.opts}
        if (record := _record(each, inside))
    ]
    return Section(usage, entries, " ".join((command.help or "").split()))


def _record(parameter: click.Parameter, ctx: click.Context) -> tuple[str, str] | None:
    if isinstance(parameter, click.Argument):
        return None  # it stands in the usage
    return parameter.get_help_record(ctx)


# For people


def _show(page: Page) -> None:
    text = _text(page)
    if sys.stdout.isatty() and text.count("\n") >= shutil.get_terminal_size().lines:
        click.echo_via_pager(text)
    else:
        click.echo(text)


def _text(page: Page) -> str:
    width = min(shutil.get_terminal_size().columns, _PIPE_COLUMNS) if sys.stdout.isatty() else _PIPE_COLUMNS
    lines = [*_wrapped(page.words, width, "")]
    for section in page.sections:
        lines += ["", section.title, *_wrapped(section.words, width, "  ")]
        lines += textwrap.indent(section.code, "    ").splitlines()
        for entry in section.entries:
            lines += _lines_of(entry, width)
    return "\n".join(lines)


def _lines_of(entry: Entry, width: int) -> list[str]:
    facts = "; ".join(
        value if name in _SAYS_ITSELF else f"{name} {value}" for name, value in entry.facts.items()
    )
    head = f"  {entry.name}"
    if facts and len(head) + 3 + len(facts) <= width:
        return [f"{head}  ({facts})", *_wrapped(entry.words, width, "      ")]
    return [head, *(_wrapped(f"({facts})", width, "      ") if facts else []),
            *_wrapped(entry.words, width, "      ")]  # fmt: skip


def _wrapped(words: str, width: int, indent: str) -> list[str]:
    return [
        line
        for paragraph in words.splitlines()
        for line in textwrap.wrap(
            paragraph, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )
    ]
