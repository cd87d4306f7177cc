"""Output on stdout: one JSON object for programs, aligned columns for people."""

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

import click


def emit_json(value: Mapping[str, object]) -> None:
    """Print one JSON object on one line. Decimals become numbers; NaN and infinity become null.

    Raises:
        TypeError: JSON cannot hold the value.
    """
    click.echo(json.dumps(_plain(value), allow_nan=False, ensure_ascii=False))


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return _plain(value.tolist())
    return value


def emit_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns; numbers to the right, texts to the left, None as an empty cell."""
    texts = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    right = [bool(rows) and isinstance(rows[0][i], int | float | Decimal) for i in range(len(header))]
    for row in texts:
        cells = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(row, widths, right, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)
