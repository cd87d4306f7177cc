"""Bounded decoding of foreign JSON: a value of the wanted type, or ``BadInput``, and nothing else.

The wanted type bounds the shape; unknown fields are skipped. Text such as ``"12"`` is taken where a number is
wanted, because Bybit's types of minor fields have changed before; a number where text is wanted is not.
``NaN``, ``Infinity``, integers beyond 64 bits, broken UTF-8 and deep nesting are refused.
"""

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

import msgspec

from bot.bybit.codes import printable
from bot.domain.errors import BadInput

MAX_WS_BYTES = 256 * 1024
MAX_REST_BYTES = 4 * 1024 * 1024

T = TypeVar("T")

UNDECODABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What decoding foreign text can raise."""


def decode(text: str | bytes, kind: type[T], *, limit: int = MAX_WS_BYTES) -> T:
    """The value of type ``kind`` that ``text`` holds.

    Raises:
        BadInput: longer than ``limit``, not JSON, nested too deeply, or not of that shape.
    """
    if len(text) > limit:
        raise BadInput(f"a message of {len(text)} characters; at most {limit} are taken")
    try:
        value: T = decoder(cast(Hashable, kind)).decode(text)
    except UNDECODABLE as error:
        raise BadInput(f"not the documented JSON: {explain(error)}") from error
    return value


@lru_cache(maxsize=256)
def decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    """The lax decoder of a type, made once."""
    return msgspec.json.Decoder(cast("type[Any]", kind), strict=False)


def explain(error: BaseException) -> str:
    """What was wrong, in one printable line; never repeats values of the message."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return printable(str(error), 200)


class Rows(msgspec.Struct, Generic[T], frozen=True):
    """The rows that could be read, and one reason for each that could not."""

    good: list[T]
    bad: list[str]


def rows(raw: msgspec.Raw | bytes, kind: type[T]) -> Rows[T]:
    """The rows of a list, each by itself: a bad one does not take its neighbours with it.

    A minor field (one with a default) of the wrong type is read as unset; a needed one spoils its row.

    Raises:
        BadInput: not a list of objects at all.
    """
    try:
        return Rows(decoder(list[kind]).decode(raw), [])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        pass  # some row is odd: take them one by one
    except UNDECODABLE as error:
        raise BadInput(f"not the documented JSON: {explain(error)}") from error
    found = Rows[T]([], [])
    for fields in decode(bytes(raw), list[dict[str, Any]], limit=MAX_REST_BYTES):
        try:
            found.good.append(msgspec.convert(_without_odd(fields, kind), kind, strict=False))
        except msgspec.ValidationError as error:
            found.bad.append(f"{kind.__name__}: {explain(error)}")
    return found


def _without_odd(fields: dict[str, Any], kind: Any) -> dict[str, Any]:
    """``fields`` without those that have a default and the wrong type."""
    odd = {
        field.encode_name
        for field in msgspec.structs.fields(kind)
        if not field.required
        and field.encode_name in fields
        and not _fits(fields[field.encode_name], field.type)
    }
    return {name: value for name, value in fields.items() if name not in odd}


def _fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return False
    return True
