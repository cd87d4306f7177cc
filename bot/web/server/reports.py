"""Reports beside the page: HTML files of backtests and runs in the state directory.

A report carries its own scripts and styles, so it is served in a sandbox: its scripts run without the page's
origin, and so without its cookie; they can ask for nothing.
"""

import re
from html import unescape
from pathlib import Path

FOLDERS = ("reports", "demo")
"""Where reports are looked for, below the state directory."""
LISTED_MAX = 200
HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts allow-downloads; default-src 'none'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'",
    "Cache-Control": "no-store",
}
"""In place of the page's own policy."""
_HEAD_BYTES = 4096
"""The title stands in so much of a report."""
_TITLE = re.compile(r"<title>([^<]{1,200})</title>")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}\.html")


def listed(state_dir: Path) -> list[dict[str, object]]:
    """Return the reports that can be opened, newest first: path, title, file, bytes and time of each."""
    found = []
    for folder in FOLDERS:
        for path in (state_dir / folder).glob("*.html"):
            if _NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                told = path.stat()
                written_ms = int(told.st_mtime * 1000)
                row = {
                    "path": f"/reports/{folder}/{path.name}",
                    "name": _title(path) or path.stem,
                    "file": path.name,
                    "bytes": told.st_size,
                    "written_ms": written_ms,
                }
                found.append((written_ms, row))
    return [row for _, row in sorted(found, key=lambda each: -each[0])[:LISTED_MAX]]


def _title(path: Path) -> str:
    """Return the title of a report; empty if it has none."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES).decode(errors="replace")
    found = _TITLE.search(head)
    return " ".join(unescape(found[1]).split()) if found is not None else ""


def read(state_dir: Path, folder: str, name: str) -> bytes | None:
    """Return a report's bytes; None if there is no such report."""
    path = state_dir / folder / name
    if folder not in FOLDERS or not _NAME.fullmatch(name) or path.is_symlink() or not path.is_file():
        return None
    return path.read_bytes()
