"""Bounded decoding of JSON from outside: a value of the wanted type, or ``BadInput``, and nothing else.

The wanted type limits the shape; unknown fields are skipped. Text such as ``"12"`` is accepted for a number,
because Bybit has changed the types of minor fields before. A number is not accepted for text. ``NaN``,
``Infinity``, integers beyond 64 bits, broken UTF-8 and deep nesting are refused.
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
"""The errors that decoding text from outside can raise."""


def as_bytes(text: str | bytes) -> bytes:
    """Return a message as bytes. Raises one of ``UNDECODABLE`` for text that has no bytes."""
    return text.encode() if isinstance(text, str) else text


def decode(text: str | bytes, kind: type[T], *, limit: int = MAX_WS_BYTES) -> T:
    """Decode ``text`` as a value of type ``kind``.

    Raises:
        BadInput: longer than ``limit``, not JSON, nested too deeply, or not of that shape.
    """
    if len(text) > limit:
        raise BadInput(f"a message of {len(text)} characters; at most {limit} are accepted")
    try:
        value: T = decoder(cast(Hashable, kind)).decode(text)
    except UNDECODABLE as error:
        raise BadInput(f"not the documented JSON: {explain(error)}") from error
    return value


@lru_cache(maxsize=256)
def decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    """Return the lax decoder of a type. Made once per type."""
    return msgspec.json.Decoder(cast("type[Any]", kind), strict=False)


def explain(error: BaseException) -> str:
    """Return what is wrong, in one printable line. Never repeats values of the message."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return printable(str(error), 200)


class DecodedRows(msgspec.Struct, Generic[T], frozen=True):
    """The rows that could be read, and one reason for each row that could not."""

    good: list[T]
    bad: list[str]


def rows(raw: msgspec.Raw | bytes, kind: type[T]) -> DecodedRows[T]:
    """Read the rows of a list one by one: an unreadable row does not affect the others.

    If a field with a default has the wrong type, it is read as unset. If a required field has the wrong type,
    its row is unreadable.

    Raises:
        BadInput: not a list of objects.
    """
    try:
        return DecodedRows(decoder(list[kind]).decode(raw), [])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        pass  # a row is odd: read them one by one
    except UNDECODABLE as error:
        raise BadInput(f"not the documented JSON: {explain(error)}") from error
    found = DecodedRows[T]([], [])
    for fields in decode(bytes(raw), list[dict[str, Any]], limit=MAX_REST_BYTES):
        try:
            found.good.append(msgspec.convert(_without_odd(fields, kind), kind, strict=False))
        except msgspec.ValidationError as error:
            found.bad.append(f"{kind.__name__}: {explain(error)}")
    return found


def _without_odd(fields: dict[str, Any], kind: Any) -> dict[str, Any]:
    """Return ``fields`` without those that have a default and a value of the wrong type."""
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
