"""``bot help exit-codes``: from the tree of errors."""

from collections.abc import Iterator

from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import first_words
from bot.domain import errors
from bot.domain.errors import BotError

MEANINGS = {
    0: "done; also a clean stop by SIGTERM",
    1: "failure",
    2: "the command line is wrong",
    3: "a setting is wrong",
    4: "exchange or authentication",
    5: "data or model is missing or damaged",
    6: "halted by risk",
    130: "interrupted by Ctrl-C",
}


def page() -> Page:
    """Return every exit code with the errors that end so."""
    entries = []
    for code, words in MEANINGS.items():
        found = [f"{each.__name__}: {first_words(each)}" for each in all_errors() if each.exit_code == code]
        entries.append(Entry(str(code), "\n".join(found), {"meaning": words}))
    return Page(
        "exit-codes",
        "An error is one line on stderr: what, where, what to do. `-vv` adds the traceback.",
        [Section("Exit codes", entries)],
    )


def all_errors() -> Iterator[type[BotError]]:
    """Yield every error that the program raises on purpose."""
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, BotError) and value is not BotError:
            yield value
