"""The form of a snapshot: one JSON object with a format, a checksum and a record of exact values.

A *record* is a struct whose fields have the names of the attributes they are read from (``record_of``) and
written back to (``overlay``). JSON has no NaN and no infinity: a float that may be one is a ``Real``.
"""

import hashlib
from binascii import b2a_base64
from collections.abc import Iterator
from functools import cache
from math import isfinite
from typing import Any, Literal, TypeVar, get_type_hints

import msgspec

from bot.domain.errors import BadInput, BotError

Real = float | Literal["nan", "inf", "-inf"]
"""A float as a snapshot holds it."""
R = TypeVar("R", bound=msgspec.Struct)


class _Sealed(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    sha256: str
    state: msgspec.Raw


def to_real(value: float) -> Real:
    """Return a float in the form of a snapshot."""
    if isfinite(value):
        return value
    return "nan" if value != value else "inf" if value > 0.0 else "-inf"


def record_of(kind: type[R], source: object, **given: object) -> R:
    """Return a record of ``source``: each field from the attribute of the same name, except those ``given``.

    The record shares mutable values with ``source``: encode it before ``source`` changes.
    """
    values: dict[str, Any] = dict(given)
    reals = _reals(kind)
    for name in kind.__struct_fields__:
        if name not in given:
            value = getattr(source, name)
            values[name] = to_real(value) if name in reals else value
    return kind(**values)


def overlay(record: msgspec.Struct, target: object, *, apart: tuple[str, ...] = ()) -> None:
    """Set each attribute of ``target`` to the record's field of the same name, except those ``apart``."""
    reals = _reals(type(record))
    for name in record.__struct_fields__:
        if name not in apart:
            value = getattr(record, name)
            setattr(target, name, float(value) if name in reals else value)


def seal(form: str, record: msgspec.Struct) -> bytes:
    """Return a record as the bytes of a snapshot. ``form`` names what it is of, and its version."""
    state = msgspec.json.encode(record)
    return msgspec.json.encode(_Sealed(form, hashlib.sha256(state).hexdigest(), msgspec.Raw(state)))


class Sealing:
    """Makes the bytes of a snapshot in two parts: the fields of one record, then those of another.

    Both parts one after the other are what ``unseal`` reads as a record with all of these fields.
    """

    def __init__(self, form: str) -> None:
        self._form = form
        self._sha = hashlib.sha256()

    def first(self, record: msgspec.Struct) -> Iterator[bytes]:
        """Yield the first part in small pieces; each takes a moment, so a thread holds no other one up."""
        yield b'{"state":'
        for piece in _without_end(record):
            self._sha.update(piece)
            yield piece

    def rest(self, record: msgspec.Struct, apart: tuple[str, ...]) -> bytes:
        """Return the second part: all fields except those of the first, which are ``apart``."""
        kept = {name: getattr(record, name) for name in record.__struct_fields__ if name not in apart}
        fields = b"," + msgspec.json.encode(kept)[1:]
        self._sha.update(fields)
        told = {"format": self._form, "sha256": self._sha.hexdigest()}
        return fields + b"," + msgspec.json.encode(told)[1:]


_PIECE = 3 << 16
"""Bytes of a long value that are encoded at once; a multiple of 3, so that base64 has no end in between."""


def pieces_of(value: object) -> Iterator[bytes]:
    """Yield what ``msgspec.json.encode`` returns, in small pieces where structs and dicts hold long bytes."""
    if isinstance(value, bytes) and len(value) > _PIECE:
        yield b'"'
        whole = memoryview(value)
        for begin in range(0, len(value), _PIECE):
            yield b2a_base64(whole[begin : begin + _PIECE], newline=False)
        yield b'"'
    elif isinstance(value, dict | msgspec.Struct):
        yield from _without_end(value)
        yield b"}"
    else:
        yield msgspec.json.encode(value)


def _without_end(value: "dict[Any, Any] | msgspec.Struct") -> Iterator[bytes]:
    """Yield the pieces of an object without its closing brace."""
    if isinstance(value, msgspec.Struct):
        assert value.__struct_config__.tag is None, "a record has no tag"
        value = {name: getattr(value, name) for name in value.__struct_fields__}
    between = b"{"
    for name, each in value.items():
        yield between + msgspec.json.encode(str(name)) + b":"
        yield from pieces_of(each)
        between = b","
    if not value:
        yield b"{"


def unseal(form: str, body: bytes, kind: type[R]) -> R:
    """Read a snapshot that ``seal`` made.

    Raises:
        BadInput: ``body`` is damaged or of another form.
    """
    try:
        sealed = msgspec.json.decode(body, type=_Sealed)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInput(f"a snapshot of form {form} is damaged: {error}; use an older one") from None
    if sealed.format != form:
        raise BadInput(f"a snapshot has the form {sealed.format!r}, expected {form!r}; use one of this form")
    if hashlib.sha256(sealed.state).hexdigest() != sealed.sha256:
        raise BadInput(f"a snapshot of form {form} is damaged: its checksum does not fit; use an older one")
    try:
        return msgspec.json.decode(sealed.state, type=kind)
    except (msgspec.MsgspecError, BotError) as error:
        raise BadInput(f"a snapshot of form {form} cannot be read: {error}; use an older one") from None


def lost_in(kept: bytes, now: bytes) -> str:
    """Return the first place of a snapshot ``kept`` that the snapshot ``now`` does not hold; empty if none.

    ``now`` may have gained fields: a newer program knows more of a state than the one that wrote it.
    """
    before, after = (msgspec.json.decode(body, type=_Sealed).state for body in (kept, now))
    return _lost(msgspec.json.decode(before), msgspec.json.decode(after), "")


def _lost(kept: object, now: object, place: str) -> str:
    if isinstance(kept, dict) and isinstance(now, dict):
        missing = [key for key in kept if key not in now]
        if missing:
            return f"{place}.{missing[0]}".lstrip(".")
        found = (_lost(value, now[key], f"{place}.{key}") for key, value in kept.items())
    elif isinstance(kept, list) and isinstance(now, list) and len(kept) == len(now):
        found = (_lost(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(kept, now, strict=True)))
    else:
        return "" if kept == now else place.lstrip(".") or "everything"
    return next(filter(None, found), "")


@cache
def _reals(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields of a record that hold a ``Real``."""
    return frozenset(name for name, hint in get_type_hints(kind).items() if hint == Real)
