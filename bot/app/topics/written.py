"""Topics that are told, not listed: ``texts/NAME.md``, an introduction and points with a bold name each.

More sections may follow under headings of their own: words, then a table or an example in code. A row of a
table is an entry: its first cell is the name, its last the words, those between are facts.
"""

import re
from importlib.resources import files

from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import plain_words


def text(name: str) -> str:
    """Return a text as Markdown."""
    return files("bot.app.topics").joinpath(f"texts/{name}.md").read_text("utf-8")


def page(topic: str) -> Page:
    """Return the points of a topic by their names, the rows of its tables, and its examples."""
    first, *others = re.split(r"^## ", text(topic), flags=re.MULTILINE)
    title, words, points = first.split("\n\n", 2)
    told = re.findall(r"^- \*\*(.+?)\*\*(.*?)(?=^- |\Z)", points, re.DOTALL | re.MULTILINE)
    entries = [Entry(" ".join(name.split()), plain_words(rest).lstrip(":,. ")) for name, rest in told]
    sections = [Section(title.removeprefix("# "), entries), *map(_section, others)]
    return Page(topic, plain_words(words), sections)


def _section(told: str) -> Section:
    """Return an example in code, or a section whose entries are the rows of its table."""
    title, rest = told.split("\n", 1)
    words, fence, code = rest.partition("\n```")
    if fence:
        return Section(title, words=plain_words(words), code=code.partition("\n")[2].partition("```")[0])
    words, lines = rest.split("\n|", 1)
    (_, *heads, _), _, *rows = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in lines.splitlines()
    ]
    entries = [Entry(name, said, dict(zip(heads, facts, strict=True))) for name, *facts, said in rows]
    return Section(title, entries, plain_words(words))
