"""The fault map: each entry of the catalogue with its tests, its reason, or what is open."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults.catalogue import KINDS, Entry, entries
from tests.faults.markers import Mark, marks


@dataclass(frozen=True, slots=True)
class Row:
    """An entry and the tests that show it."""

    entry: Entry
    tests: tuple[str, ...]

    @property
    def state(self) -> str:
        """``T`` tested, ``R`` a reason instead of a test, ``–`` open."""
        return "T" if self.tests else "R" if self.entry.reason else "–"


def rows(given: Sequence[Mark] | None = None) -> list[Row]:
    """Join the catalogue with the markers of the tests."""
    told = marks() if given is None else given
    return [
        Row(entry, tuple(sorted({mark.test for mark in told if (mark.kind, mark.id) == key})))
        for key, entry in entries().items()
    ]


def problems(given: Sequence[Mark] | None = None) -> Iterator[str]:
    """Yield what is wrong with markers and catalogue, a line each."""
    told = marks() if given is None else given
    known = entries()
    for mark in told:
        if (mark.kind, mark.id) not in known:
            yield f"{mark.test}: there is no {mark.kind} {mark.id} in catalogue.toml"
    for row in rows(told):
        entry = row.entry
        says = [word for word in (entry.reason, entry.open) if word] + list(row.tests[:1])
        if not says:
            yield f"{entry.kind} {entry.id} ({entry.what}) has no test any more: mark one"
        if len(says) > 1:
            yield f"{entry.kind} {entry.id} has a test: take {' / '.join(says[:-1])!r} out of catalogue.toml"


def counts(given: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Count the states of each kind, and of the starred faults."""
    groups = {
        "faults": [row for row in given if row.entry.kind == "fault"],
        "starred": [row for row in given if row.entry.star],
        "invariants": [row for row in given if row.entry.kind == "invariant"],
        "surfaces": [row for row in given if row.entry.kind == "surface"],
    }
    return {
        name: {"all": len(group), **dict(sorted(Counter(row.state for row in group).items()))}
        for name, group in groups.items()
    }


def lines(given: Sequence[Row]) -> Iterator[str]:
    """Yield the map as Markdown."""
    yield "# Fault map"
    yield ""
    yield "T: a test shows it. R: a reason instead of a test. –: open, with what is missing."
    yield ""
    for name, states in counts(given).items():
        yield f"- {name}: " + ", ".join(f"{count} {state}" for state, count in states.items())
    for kind in KINDS:
        yield f"\n## {kind.capitalize()}s\n\n| id | | what | tests |\n|---|---|---|---|"
        for row in given:
            if row.entry.kind == kind:
                star = "★" if row.entry.star else ""
                shown = "<br>".join(row.tests) or row.entry.reason or f"open: {row.entry.open}"
                yield f"| {row.entry.id}{star} | {row.state} | {row.entry.what} | {shown} |"
