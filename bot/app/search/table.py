"""All trials of a search as one table, CSV or Parquet: a column for each parameter and each figure."""

from pathlib import Path

from bot.app.search.sweep import Sweep
from bot.domain.errors import BadUsage


def check_table(path: Path) -> None:
    """Refuse a file that cannot be written as a table.

    Raises:
        BadUsage: the name ends in neither ``.csv`` nor ``.parquet``.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise BadUsage(f"--out {path}: must end in .csv or .parquet")


def write_table(path: Path, found: Sweep) -> None:
    """Write the trials in the order of their numbers."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    names = list(dict.fromkeys(name for each in found.outcomes for name in each.figures))
    columns: dict[str, list[object]] = {"trial": [each.index for each in found.outcomes]}
    for axis in found.search.axes:
        columns[f"param_{axis.name}"] = [each.params[axis.name] for each in found.outcomes]
    for name in names:
        columns[name] = [_real(each.figures.get(name)) for each in found.outcomes]
    for name in ("halted", "error", "fills_sha256"):
        columns[name] = [getattr(each, name) for each in found.outcomes]
    table = pa.table(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    csv.write_csv(table, path) if path.suffix == ".csv" else parquet.write_table(table, path)


def _real(value: float | None) -> float | None:
    return None if value is None else float(value)
