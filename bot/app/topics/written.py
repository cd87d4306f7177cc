"""Topics that are told, not listed: ``texts/NAME.md``, an introduction and points with a bold name each."""

import re
from importlib.resources import files

from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import plain_words


def text(name: str) -> str:
    """Return a text as Markdown."""
    return files("bot.app.topics").joinpath(f"texts/{name}.md").read_text("utf-8")


def page(topic: str) -> Page:
    """Return the points of a topic by their names."""
    title, words, points = text(topic).split("\n\n", 2)
    told = re.findall(r"^- \*\*(.+?)\*\*(.*?)(?=^- |\Z)", points, re.DOTALL | re.MULTILINE)
    entries = [Entry(" ".join(name.split()), plain_words(rest).lstrip(":,. ")) for name, rest in told]
    return Page(topic, plain_words(words), [Section(title.removeprefix("# "), entries)])
