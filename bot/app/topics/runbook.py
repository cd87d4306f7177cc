"""``bot help runbook``: what to do in trouble. The text is ``texts/runbook.md``."""

import re

from bot.app.topics import written
from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import plain_words


def text() -> str:
    """Return the runbook as Markdown."""
    return written.text("runbook")


def page() -> Page:
    """Return each case: how it is noticed, what the bot does, what a person does, and the commands."""
    head, *cases = re.split(r"^\*\*(?=[^*]+\.\*\* )", text(), flags=re.MULTILINE)
    return Page("runbook", plain_words(head.partition("\n\n")[2]), [_case(each) for each in cases])


def _case(body: str) -> Section:
    title, _, rest = body.partition(".** ")
    words = rest.partition("\n- ")[0]
    told = re.findall(r"^- ([A-Z][^:\n]*): (.*?)(?=^- |\n\n|\Z)", rest, re.DOTALL | re.MULTILINE)
    commands = "".join(re.findall(r"```sh\n(.*?)```", rest, re.DOTALL)).splitlines()
    entries = [Entry(who, plain_words(what).replace("**", "")) for who, what in told]
    for line in commands:
        command, _, why = line.partition("#")
        entries.append(Entry(f"$ {command.strip()}", why.strip()))
    return Section(title, entries, plain_words(words))
