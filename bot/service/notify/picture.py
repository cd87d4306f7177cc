"""The equity of a day as a small PNG, for a phone.

Drawn with numpy and zlib, which are here anyway: matplotlib would add 60 MB and a second of start-up for one
line, Pillow a package with its own decoders of foreign files. The line is drawn three times as large and
averaged, which smooths it; numbers come from a font of 5 × 7 dots.
"""

import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""Rows × columns × red, green, blue."""
WIDTH, HEIGHT = 480, 200
_FINER = 3
_TOP, _BOTTOM, _SIDE = 30, 24, 10
"""Pixels above, below and beside the curve."""
_PAPER, _INK, _GRID = (22, 26, 33), (214, 219, 226), (58, 66, 78)
_GAIN, _LOSS = (64, 176, 128), (224, 92, 92)
_THICK = 3.0
_DOTS = 2
"""Pixels of one dot of the font."""
_FONT = {
    "0": "0E11191513110E", "1": "040C040404040E", "2": "0E11010204081F", "3": "1F02040201110E",
    "4": "02060A121F0202", "5": "1F101E0101110E", "6": "0608101E11110E", "7": "1F010204080808",
    "8": "0E11110E11110E", "9": "0E11110F01020C", ".": "00000000000C0C", ",": "000000000C0408",
    "+": "0004041F040400", "-": "0000001F000000", "%": "18190204081303", ":": "000C0C000C0C00",
    " ": "00000000000000",
}  # fmt: skip
"""Each sign as seven rows of five dots, a byte a row in hexadecimal."""


def equity_picture(points: Sequence[tuple[int, float | None]]) -> bytes | None:
    """Return a PNG of (time ms, equity) in order of time; None for less than two known values.

    A value that is not known interrupts the line. The dashed line is the first value.
    """
    known = [(ts_ms, value) for ts_ms, value in points if value is not None]
    if len(known) < 2 or known[0][0] == known[-1][0]:
        return None
    first, last = known[0][1], known[-1][1]
    low, high = min(value for _, value in known), max(value for _, value in known)
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    image[:] = _PAPER
    span = (high - low) or max(abs(high), 1.0) * 1e-4
    middle = (high + low) / 2.0
    frame = _Frame(known[0][0], known[-1][0], middle - span / 2.0, middle + span / 2.0)
    row = round(frame.row(first))
    image[row, _SIDE : WIDTH - _SIDE : 6] = image[row, _SIDE + 1 : WIDTH - _SIDE : 6] = _GRID
    _blend(image, _curve(points, frame), _GAIN if last >= first else _LOSS)
    change = f"{last / first - 1.0:+.2%}" if first > 0.0 else ""
    _write(image, f"{last:,.2f}  {change}", _SIDE, 8, _INK)
    _write(image, f"{low:,.2f} - {high:,.2f}", _SIDE, HEIGHT - 18, _INK)
    return _png(image)


class _Frame:
    """Where a time and a value lie in the picture, in pixels."""

    def __init__(self, from_ms: int, to_ms: int, low: float, high: float) -> None:
        self._from_ms, self._ms = from_ms, to_ms - from_ms
        self._high, self._span = high, high - low

    def column(self, ts_ms: int) -> float:
        return _SIDE + (ts_ms - self._from_ms) / self._ms * (WIDTH - 2 * _SIDE - 1)

    def row(self, value: float) -> float:
        return _TOP + (self._high - value) / self._span * (HEIGHT - _TOP - _BOTTOM - 1)


def _curve(points: Sequence[tuple[int, float | None]], frame: _Frame) -> NDArray[np.float64]:
    """Return how much of each pixel the line covers."""
    rows = np.arange(HEIGHT * _FINER)[:, None]
    covered = np.zeros((HEIGHT * _FINER, WIDTH * _FINER), bool)
    for (ts_a, a), (ts_b, b) in pairwise(points):
        if a is None or b is None:
            continue
        left, right = frame.column(ts_a) * _FINER, frame.column(ts_b) * _FINER
        columns = np.arange(int(left), int(right) + 1)
        ends = np.clip(np.stack((columns, columns + 1.0)), left, right)
        share = (ends - left) / max(right - left, 1e-9)
        line = (frame.row(a) + share * (frame.row(b) - frame.row(a))) * _FINER
        low, high = line.min(axis=0) - _THICK, line.max(axis=0) + _THICK
        covered[:, columns] |= (rows >= low) & (rows <= high)
    share_of: NDArray[np.float64] = covered.reshape(HEIGHT, _FINER, WIDTH, _FINER).mean(axis=(1, 3))
    return share_of


def _blend(image: Image, share: NDArray[np.float64], colour: tuple[int, int, int]) -> None:
    mixed = image + (np.array(colour) - image) * share[:, :, None]
    image[:] = np.rint(mixed).astype(np.uint8)


def _write(image: Image, text: str, left: int, top: int, colour: tuple[int, int, int]) -> None:
    for index, sign in enumerate(text):
        dots = np.unpackbits(np.frombuffer(bytes.fromhex(_FONT[sign]), np.uint8)[:, None], axis=1)[:, 3:]
        large = np.kron(dots, np.ones((_DOTS, _DOTS), np.uint8)).astype(bool)
        at = left + index * 6 * _DOTS
        place = image[top : top + large.shape[0], at : at + large.shape[1]]
        place[large[:, : place.shape[1]]] = colour


def _png(image: Image) -> bytes:
    """Return an 8-bit RGB image as PNG: https://www.w3.org/TR/png/ (each row begins with its filter, 0)."""
    height, width, _ = image.shape
    rows = np.concatenate((np.zeros((height, 1), np.uint8), image.reshape(height, width * 3)), axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
