"""Refuses a file that cannot be written before the work whose result it would hold, and not after it."""

from pathlib import Path

from bot.adapters.files.whole import FULL, why_not, write_text
from bot.domain.errors import BadUsage

__all__ = ["FULL", "check_table", "check_writable", "why_not", "write_text"]


def check_table(out: Path, option: str) -> None:
    """Refuse a table's file of another ending than .csv and .parquet, or that cannot be written.

    Raises:
        BadUsage: with ``option`` (how the user named the file), the file and the reason.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise BadUsage(f"{option} {out}: must end in .csv or .parquet")
    check_writable(out, option)


def check_writable(out: Path, option: str) -> None:
    """Refuse a file that cannot be written; missing folders are made.

    Raises:
        BadUsage: with ``option`` (how the user named the file), the file and the reason.
    """
    existed = out.exists()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("ab").close()
        if not existed:
            out.unlink()
    except OSError as error:
        raise BadUsage(f"{option} {out}: {why_not(error)}") from error
