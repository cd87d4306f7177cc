"""One page of ``bot help``: sections of entries, the same for people and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """One name that is explained. ``facts`` are short values beside it, such as its type and its default."""

    name: str
    words: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Section:
    """Entries of one kind under a title; ``words`` say what they have in common, ``code`` shows it."""

    title: str
    entries: Sequence[Entry] = ()
    words: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One topic."""

    topic: str
    words: str
    sections: Sequence[Section]

    def about(self, word: str) -> "Page":
        """Return only the entries whose names contain ``word``, and the sections whose titles do."""
        sought = word.lower()
        kept = []
        for section in self.sections:
            if sought in section.title.lower():
                kept.append(section)
                continue
            found = [each for each in section.entries if sought in each.name.lower()]
            if found:
                kept.append(Section(section.title, found))
        return Page(self.topic, self.words, kept)

    def names(self) -> set[str]:
        """Return the names of all entries."""
        return {entry.name for section in self.sections for entry in section.entries}
