"""The entries of ``catalogue.toml``: 97 faults, 28 invariants, 17 surfaces."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

FILE = Path(__file__).with_name("catalogue.toml")

Kind: TypeAlias = Literal["fault", "invariant", "surface"]
KINDS: tuple[Kind, ...] = ("fault", "invariant", "surface")
Id: TypeAlias = int | str
"""A number for faults and invariants, a word for surfaces: as a marker writes it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the catalogue. ``reason``: why no test shows it; ``open``: what is still missing."""

    kind: Kind
    id: Id
    what: str
    star: bool = False
    reason: str | None = None
    open: str | None = None


def entries() -> dict[tuple[Kind, Id], Entry]:
    """Read the catalogue, in its order.

    Raises:
        TypeError: an entry has a key that does not exist, or lacks ``what``.
    """
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    made = [
        Entry(kind, int(name) if kind != "surface" else name, **entry)
        for kind in KINDS
        for name, entry in tables[kind].items()
    ]
    return {(entry.kind, entry.id): entry for entry in made}
