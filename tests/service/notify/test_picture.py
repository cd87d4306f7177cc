"""The picture of a day, read back by an independent decoder."""

import struct
import zlib

import numpy as np
import pytest

from bot.service.notify.picture import HEIGHT, WIDTH, equity_picture
from tests.helpers import T0


def pixels(png: bytes) -> np.ndarray:  # type: ignore[type-arg]
    """Decode an 8-bit RGB PNG without filters; every checksum must be right."""
    assert png[:8] == bytes.fromhex("89504E470D0A1A0A")
    at, found = 8, {}
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        name, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size]) == (zlib.crc32(name + body),)
        found[name], at = body, at + 12 + size
    width, height, *rest = struct.unpack(">IIBBBBB", found[b"IHDR"])
    assert rest == [8, 2, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(found[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)


def coloured(image: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Where the curve is: neither grey paper nor grey writing."""
    spread = image.max(axis=2).astype(int) - image.min(axis=2)
    return spread > 60


@pytest.mark.parametrize(("last", "strongest"), [(10_100.0, 1), (9_900.0, 0)])
def test_a_day_is_a_line_from_the_first_to_the_last_value_green_or_red(last: float, strongest: int) -> None:
    png = equity_picture([(T0, 10_000.0), (T0 + 86_400_000, last)])
    assert png is not None
    image = pixels(png)
    assert image.shape == (HEIGHT, WIDTH, 3)
    rows, columns = np.nonzero(coloured(image))
    left, right = rows[columns == columns.min()].mean(), rows[columns == columns.max()].mean()
    assert (left > right) == (last > 10_000.0)
    assert columns.max() - columns.min() > WIDTH - 40
    assert (image[coloured(image)].argmax(axis=1) == strongest).all()
    assert len(png) < 8_000


def test_a_value_that_is_not_known_interrupts_the_line() -> None:
    points = [(T0 + i * 60_000, None if 400 <= i < 600 else 100.0 + i) for i in range(1_000)]
    png = equity_picture(points)
    assert png is not None
    empty = ~coloured(pixels(png)).any(axis=0)
    assert empty[int(WIDTH * 0.45) : int(WIDTH * 0.55)].all()
    assert not empty[20 : int(WIDTH * 0.35)].any()


@pytest.mark.parametrize("points", [[], [(T0, 1.0)], [(T0, 1.0), (T0 + 1, None)], [(T0, 1.0), (T0, 2.0)]])
def test_without_two_values_there_is_no_picture(points: list[tuple[int, float | None]]) -> None:
    assert equity_picture(points) is None


@pytest.mark.parametrize("values", [(1.0, 1.0), (-5.0, 3.0), (1e9, 2e9), (0.0, 0.0)])
def test_no_value_breaks_the_picture(values: tuple[float, float]) -> None:
    assert equity_picture([(T0, values[0]), (T0 + 1000, values[1])]) is not None
