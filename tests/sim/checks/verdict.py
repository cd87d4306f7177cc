"""What a check says when something does not hold."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """An invariant of the list that did not hold at ``at_s``; ``number`` 0: the simulation itself failed."""

    number: int
    at_s: float
    words: str

    def __str__(self) -> str:
        return f"invariant {self.number} at {self.at_s:.3f} s: {self.words}"
