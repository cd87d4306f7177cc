"""The runbook of `bot help runbook`: its commands, alarms and settings are the program's."""

import re
import shlex

import pytest
from click.testing import CliRunner

from bot.app.context import Context
from bot.app.topics import runbook
from bot.cli import root
from bot.domain.alerts import KINDS
from bot.settings import FIELDS

RUNBOOK = runbook.text().partition("\n\n")[2]
CASES = {
    "Halted", "Unknown order", "Stale feed", "Disk full",
    "Clock wrong", "Key revoked", "Venue maintenance", "Delisting",
}  # fmt: skip
OF_THE_SYSTEM = {"df", "timedatectl"}
QUOTED = re.findall(r"`([^`\n]+)`", RUNBOOK)


def commands() -> set[str]:
    """As a person types them: lines of the blocks, and words in the text."""
    lines = [line.partition("#")[0].strip() for block in re.findall(r"```sh\n(.*?)```", RUNBOOK, re.DOTALL)
             for line in block.splitlines()]  # fmt: skip
    return {line for line in lines if line} | {word for word in QUOTED if word.startswith("bot ")}


def test_each_case_says_how_it_is_noticed_what_the_bot_does_and_what_a_person_does() -> None:
    cases = dict(re.findall(r"^\*\*(.+?)\.\*\* (.*?)(?=^\*\*|\Z)", RUNBOOK, re.DOTALL | re.MULTILINE))
    assert set(cases) == CASES
    for name, text in cases.items():
        assert re.findall(r"^- (You notice|The bot|You):", text, re.MULTILINE) == [
            "You notice",
            "The bot",
            "You",
        ], name
        assert "```sh\n" in text, name


@pytest.mark.parametrize("line", sorted(commands()))
def test_each_command_can_be_typed_as_it_stands(line: str) -> None:
    program, *words = shlex.split(line)
    if program in OF_THE_SYSTEM:
        return
    assert program == "bot"
    done = CliRunner().invoke(root, [*words, "--help"], obj=Context(), catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_each_name_is_an_alarm_a_setting_or_a_field_of_the_status() -> None:
    names = {word for word in QUOTED if re.fullmatch(r"[a-z]+_[a-z_]+|halted|ended", word)}
    assert names - KINDS.keys() == {"unknown_orders"}
    settings = {word.split(" = ")[0] for word in QUOTED if re.match(r"[a-z]+\.[a-z_]+( = |$)", word)}
    assert settings
    assert settings <= FIELDS.keys()


def test_every_alarm_that_asks_for_a_person_at_once_about_the_whole_bot_has_a_case() -> None:
    """Trouble with one order or one limit says in its own line what to do."""
    whole = {"halted", "entries_held_back", "order_unknown", "line_down", "journal_lost", "account_unread"}
    assert all(f"`{name}`" in RUNBOOK for name in whole | {"symbol_stopped", "ended"})
