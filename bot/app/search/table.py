"""All trials of a search as one table, CSV or Parquet: a column for each parameter and each figure."""

from pathlib import Path
from typing import TYPE_CHECKING

from bot.app.search.sweep import Sweep
from bot.app.search.walk import WalkForward
from bot.domain.errors import BadUsage

if TYPE_CHECKING:
    import pyarrow as pa


def check_table(path: Path) -> None:
    """Refuse a file that cannot be written as a table.

    Raises:
        BadUsage: the name ends in neither ``.csv`` nor ``.parquet``.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise BadUsage(f"--out {path}: must end in .csv or .parquet")


def write_table(path: Path, found: Sweep) -> None:
    """Write the trials in the order of their numbers."""
    from bot.adapters.files import columns

    columns.write_table(path, table_of(found))


def table_of(found: Sweep) -> "pa.Table":
    """Return the trials in the order of their numbers."""
    import pyarrow as pa

    names = list(dict.fromkeys(name for each in found.outcomes for name in each.figures))
    columns: dict[str, list[object]] = {"trial": [each.index for each in found.outcomes]}
    for axis in found.search.axes:
        columns[f"param_{axis.name}"] = [each.params[axis.name] for each in found.outcomes]
    for name in names:
        columns[name] = [_real(each.figures.get(name)) for each in found.outcomes]
    for name in ("halted", "error", "fills_sha256"):
        columns[name] = [getattr(each, name) for each in found.outcomes]
    return pa.table(columns)


def steps_of(found: WalkForward) -> "pa.Table":
    """Return the steps of a walk-forward: spans, the parameters that were chosen, and their figures.

    ``train_NAME`` and ``test_NAME`` are figures of the chosen trial in training and in its test; null where
    nothing was chosen, or a figure is not defined.
    """
    import pyarrow as pa

    spans = ("train_from_ms", "train_to_ms", "test_from_ms", "test_to_ms")
    steps = found.steps
    columns: dict[str, list[object]] = {name: [getattr(each.fold, name) for each in steps] for name in spans}
    for axis in found.search.axes:
        columns[f"param_{axis.name}"] = [
            None if each.chosen is None else each.chosen.params[axis.name] for each in steps
        ]
    for part, outcomes in (("train", [x.chosen for x in steps]), ("test", [x.test for x in steps])):
        names = dict.fromkeys(name for each in outcomes if each is not None for name in each.figures)
        for name in names:
            columns[f"{part}_{name}"] = [
                None if each is None else _real(each.figures.get(name)) for each in outcomes
            ]
    for name in ("halted", "error"):
        columns[name] = [None if each.test is None else getattr(each.test, name) for each in steps]
    return pa.table(columns)


def _real(value: float | None) -> float | None:
    return None if value is None else float(value)
