"""Indicators as text: ``close / ema(close, 48) - 1``. A model's manifest holds its own features in this form.

Only numbers, ``+ - * /``, inputs and the functions named here are read; nothing of a text is executed.
"""

import ast
import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from math import isfinite
from typing import Any

from bot.domain.errors import BadInput, BadUsage
from bot.features import indicators, ops, spec
from bot.features.ops import Clip, Log, Max, Min, Op, OrZero, Sqrt

TEXT_MAX = 4_000
"""Characters of one text: the longest indicator of TA-Lib takes 1,600, written out in operators."""
_SHOWN = 200
DEPTH_MAX = 40
"""Levels of brackets, signs and operations inside each other."""
WARMUP_MAX_BARS = 100_000
"""Bars until an indicator is known: a slip of the pen must not ask for all memory."""

INPUTS: Mapping[str, Op] = {
    **{name: getattr(indicators, name) for name in ("open", "high", "low", "close", "volume")},
    "funding": OrZero(ops.FUNDING),
}
"""Names of the values of a bar; ``funding`` is the last settled rate, 0 while none is known."""

_OTHERS = {*INPUTS, "Bands", "Macd", "Past", "past"}
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(indicators, name) for name in indicators.__all__ if name not in _OTHERS},
    "log": Log,
    "sqrt": Sqrt,
    "clip": Clip,
    "largest": Max,
    "smallest": Min,
    "log_return": spec.log_return,
}
"""Names of functions: those of ``bot.features.indicators``, and a few of plain arithmetic."""
_OPERATORS = {
    each.__name__: each
    for each in (ops.Affine, ops.Deviation, ops.Ema, ops.Ratio, ops.Sign, ops.Std, ops.Sum)
}
"""What ``writing.write`` has no function for."""


def parse(text: str) -> Op:
    """Return the indicator of a text.

    Raises:
        BadInput: it is no such text; says where and what is known.
    """
    if len(text) > TEXT_MAX:
        raise BadInput(f"has {len(text):,} characters, at most {TEXT_MAX:,} are read")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadInput(f"{_short(text)} is no formula ({getattr(error, 'msg', error)})") from error
    if _depth(tree) > DEPTH_MAX:
        raise BadInput(f"has more than {DEPTH_MAX} levels of brackets and signs; write it in parts")
    try:
        found = _value(tree)
    except (BadUsage, TypeError, ZeroDivisionError) as error:
        raise BadInput(f"{_short(text)}: {error}") from error
    if isinstance(found, tuple):
        raise BadInput(
            f"{_short(text)} is {len(found)} indicators; choose one: .{' or .'.join(_fields(found))}"
        )
    if not isinstance(found, Op):
        raise BadInput(f"{_short(text)} is {found!r}, which reads no bar")
    if found.warmup > WARMUP_MAX_BARS:
        raise BadInput(f"{_short(text)} needs {found.warmup:,} bars, at most {WARMUP_MAX_BARS:,} are kept")
    return found


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _depth(tree: ast.expr) -> int:
    depth, level = 0, [tree]
    while level:
        depth += 1
        level = [
            child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)
        ]
    return depth


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=bool()):
            raise BadInput(f"{ast.unparse(node)} is no number")
        case ast.Constant(value=int() | float() as number) if isfinite(number):
            return number
        case ast.Name(id=name):
            if name in INPUTS:
                return INPUTS[name]
            raise BadInput(_unknown(name, "()" if name in FUNCTIONS else ""))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_one(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _one(left) + _one(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _one(left) - _one(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _one(left) * _one(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _one(left) / _one(right)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            return _called(name, args, keywords)
        case ast.Attribute(value=ast.Call() as call, attr=field):
            found = _value(call)
            if field not in _fields(found):
                raise BadInput(
                    f"{ast.unparse(call)} has no .{field}; it has {', '.join(_fields(found)) or '-'}"
                )
            return getattr(found, field)
        case _:
            raise BadInput(f"{ast.unparse(node)}: only numbers, + - * /, inputs and functions are read")


def _called(name: str, args: list[ast.expr], keywords: list[ast.keyword]) -> Any:
    function = FUNCTIONS.get(name) or _OPERATORS.get(name)
    if function is None:
        raise BadInput(_unknown(name, "()"))
    named = {each.arg: _one(each.value) for each in keywords if each.arg is not None}
    if len(named) < len(keywords):
        raise BadInput(f"{name}: ** is not read")
    signature = inspect.signature(function, eval_str=True)
    try:
        given = signature.bind(*map(_one, args), **named).arguments
    except TypeError as error:
        takes = ", ".join(signature.parameters)
        raise BadInput(f"{name}({takes}): {error}") from error
    for argument, value in given.items():
        kind = signature.parameters[argument].annotation
        if kind is Op and not isinstance(value, Op):
            raise BadInput(f"{name}: {argument} is an indicator such as close, was {value!r}")
        if kind is not Op and (isinstance(value, Op) or (kind is int and not _is_length(value))):
            wanted = "a whole number of bars, 1 or more" if kind is int else "a number"
            shown = "an indicator" if isinstance(value, Op) else repr(value)
            raise BadInput(f"{name}: {argument} is {wanted}, was {shown}")
        if kind is bool:
            given[argument] = bool(value)
    return function(**given)


def _is_length(value: object) -> bool:
    return type(value) is int and value >= 1


def _one(node: ast.expr) -> Any:
    """Return a number or one indicator."""
    found = _value(node)
    if isinstance(found, tuple):
        raise BadInput(
            f"{ast.unparse(node)} is {len(found)} indicators; choose one: .{' or .'.join(_fields(found))}"
        )
    return found


def _fields(found: object) -> tuple[str, ...]:
    fields: tuple[str, ...] = getattr(found, "_fields", ())
    return fields


def _unknown(name: str, call: str) -> str:
    if name in FUNCTIONS and not call:
        return f"{name} is a function"
    if name in FUNCTIONS:
        return f"{name} is a function; write {name}(...)"
    near = get_close_matches(name, [*INPUTS, *FUNCTIONS], n=1)
    hint = f"did you mean {near[0]}?" if near else f"inputs are {', '.join(INPUTS)}"
    return f"{name}{call} is not known; {hint}"
