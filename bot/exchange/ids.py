"""Ids that the venue chooses when nobody gives it a source: numbers in a fixed form."""

from collections.abc import Iterator


class NumberedIds(Iterator[str]):
    """Ids that count up from 1, in the form of a format string; ``made`` is the number of the last one."""

    def __init__(self, form: str) -> None:
        self._form = form
        self.made = 0

    def __next__(self) -> str:
        """Return the next id."""
        self.made += 1
        return self._form.format(self.made)


def counted_ids() -> NumberedIds:
    """Return UUID-shaped ids that count up."""
    return NumberedIds("00000000-0000-4000-8000-{:012x}")
