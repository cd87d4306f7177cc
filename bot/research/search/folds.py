"""The spans of a walk-forward: learn on the past, try on what follows, move on."""

import msgspec

from bot.domain.errors import BadUsage
from bot.domain.market import DAY_MS


class Fold(msgspec.Struct, frozen=True):
    """One step; each span is ``[from, to)`` in ms."""

    train_from_ms: int
    train_to_ms: int
    test_from_ms: int
    test_to_ms: int


def make_folds(
    first_ms: int, end_ms: int, *, train_ms: int, test_ms: int, gap_ms: int = 0, is_growing: bool = False
) -> list[Fold]:
    """Return the steps that fit whole into ``[first_ms, end_ms)``; tests follow each other without a hole.

    Tests begin and end at midnight UTC. A training span has ``train_ms`` and ends ``gap_ms`` before its test,
    so that nothing that was decided in training, or looks like its last bars, reaches into the test. If
    ``is_growing`` it begins with the first bar.

    Raises:
        BadUsage: the spans are no whole days, or no step fits.
    """
    for name, span_ms in (("train", train_ms), ("test", test_ms)):
        if span_ms <= 0 or span_ms % DAY_MS:
            raise BadUsage(f"--{name}: must be whole days, such as 30d: results are compared by days")
    begin_ms = -(-(first_ms + train_ms + gap_ms) // DAY_MS) * DAY_MS
    folds = []
    while begin_ms + test_ms <= end_ms:
        to_ms = begin_ms - gap_ms
        from_ms = first_ms if is_growing else to_ms - train_ms
        folds.append(Fold(from_ms, to_ms, begin_ms, begin_ms + test_ms))
        begin_ms += test_ms
    if not folds:
        have, need = (end_ms - first_ms) / DAY_MS, (train_ms + gap_ms + test_ms) / DAY_MS
        raise BadUsage(
            f"--train, --test: one step needs {need:,.1f} days and a start at midnight, the bars have "
            f"{have:,.1f}; give shorter spans or more data"
        )
    return folds
