"""A snapshot in pieces is the snapshot as a whole."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.snapshots import Sealing, pieces_of, unseal

PIECE_MAX = 1 << 19


class Inner(msgspec.Struct):
    text: str
    long: bytes


class Heavy(msgspec.Struct):
    by_number: dict[int, Inner]
    none: dict[str, Inner]


class Whole(Heavy):
    seq: int
    names: tuple[str, ...]


sizes = st.sampled_from([0, 1, 196_607, 196_608, 196_609, 1_000_000])
inners = st.tuples(st.text(), sizes, st.integers(0, 255))


@given(st.dictionaries(st.integers(), inners, max_size=2))
def test_the_pieces_of_a_value_are_its_json(drawn: dict[int, tuple[str, int, int]]) -> None:
    inner = {number: Inner(text, bytes([byte]) * size) for number, (text, size, byte) in drawn.items()}
    value = Heavy(inner, {})
    pieces = list(pieces_of(value))
    assert b"".join(pieces) == msgspec.json.encode(value)
    assert max(map(len, pieces)) < PIECE_MAX


def test_two_parts_are_one_snapshot() -> None:
    heavy = Heavy({5: Inner("ä", bytes(300_000))}, {})
    sealing = Sealing("x")
    first = b"".join(sealing.first(heavy))
    whole = unseal("x", first + sealing.rest(Whole({}, {}, 7, ("BTCUSDT",)), ("by_number", "none")), Whole)
    assert (whole.by_number, whole.seq, whole.names) == (heavy.by_number, 7, ("BTCUSDT",))
