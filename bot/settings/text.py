"""Text files that people write: UTF-8, or what an editor marked as something else by a byte order mark."""

import codecs
from pathlib import Path


def read_text(path: Path) -> str:
    """Return the text of a file, without the byte order mark that some editors put in front.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not text.
    """
    body = path.read_bytes()
    if body[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and len(body) > 2:
        return body.decode("utf-16")
    return body.decode("utf-8-sig")
