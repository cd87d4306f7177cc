"""``bot help packages``: the rooms of the program, from the first lines of their own docstrings."""

import ast
from importlib.resources import files
from importlib.resources.abc import Traversable

from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import plain_words

_INTRO = (
    "Where a reader of the code finds what. Imports point downwards: `cli` and `lab` stand on `app`, this on "
    "`service`, `simulator`, `research` and `web`, these on `adapters`, and all on what neither waits nor "
    "reads a clock, a file or a socket. Contracts in pyproject.toml keep it so; `./scripts/test` checks them."
)


def page() -> Page:
    """Return each package and each module that stands alone, with what its docstring says of it."""
    root = files("bot")
    named = [(each.name, each.joinpath("__init__.py")) for each in root.iterdir() if each.is_dir()]
    named += [(each.name, each) for each in root.iterdir() if each.name.endswith(".py")]
    told = {name: _told(place) for name, place in sorted(named) if place.is_file()}
    entries = [Entry(f"bot/{name}", words) for name, words in told.items() if words and name[0] != "_"]
    return Page("packages", _INTRO, [Section("Packages and modules", entries)])


def _told(place: Traversable) -> str:
    return plain_words(ast.get_docstring(ast.parse(place.read_text("utf-8"))) or "")
