"""An indicator as the text that ``expression.parse`` reads, so that a manifest can hold one of Python.

Operations that the text has no sign or function for are written by the names of their operators,
``Affine(close, 2.0, 1.0)``.
"""

from collections.abc import Mapping
from dataclasses import fields

from bot.domain.errors import BadInput
from bot.features import indicators, ops
from bot.features.expression import DEPTH_MAX, INPUTS, parse
from bot.features.ops import Add, Affine, Ema, Max, Mul, Op, Ratio, Sign, Sub

_SIGNS: Mapping[type[Op], str] = {Add: "+", Sub: "-", Mul: "*"}
_SIZE_MAX = 500
_NAMES: Mapping[type[Op], str] = {
    ops.Log: "log",
    ops.Sqrt: "sqrt",
    ops.Clip: "clip",
    ops.Max: "largest",
    ops.Min: "smallest",
    ops.Lag: "lag",
    ops.Lowest: "lowest",
    ops.Highest: "highest",
}


def write(given: object) -> str:
    """Return the text of an indicator; parsed, it is equal to it.

    Raises:
        BadInput: it is no indicator, or one that a text cannot hold; says what to do.
    """
    if isinstance(given, indicators.Past) or callable(given):
        raise BadInput(
            "is a function of your own, and a manifest holds no code; build it of "
            "bot.features.indicators, or fit a model on it with bot.fit"
        )
    names = getattr(given, "_fields", ())
    if names:
        raise BadInput(f"is {len(names)} indicators; choose one: .{' or .'.join(names)}")
    if not isinstance(given, Op):
        raise BadInput(f"is {given!r}; give an indicator such as 'close / sma(close, 48) - 1'")
    if _is_large(given):
        raise BadInput(
            f"has more than {_SIZE_MAX} operations, or {DEPTH_MAX} inside each other; add its parts as "
            "features"
        )
    text = _written(given)
    try:
        is_same = parse(text) == given
    except BadInput as error:
        raise BadInput(f"cannot be written as text ({error}); build it of bot.features.indicators") from error
    if not is_same:
        raise BadInput("cannot be written as text; build it of bot.features.indicators")
    return text


def _is_large(root: Op) -> bool:
    """Return True for more than a text holds; an operation that is used twice is written twice."""
    known: dict[int, tuple[int, int]] = {}  # operations and levels
    left = [root]
    while left:
        op = left[-1]
        inputs = op.inputs
        missing = [each for each in inputs if id(each) not in known]
        if not missing:
            below = [known[id(each)] for each in inputs]
            size = 1 + sum(each for each, _ in below)
            level = 1 + max((each for _, each in below), default=0)
            if size > _SIZE_MAX or level > DEPTH_MAX:
                return True
            known[id(left.pop())] = size, level
        elif len(left) > _SIZE_MAX:
            return True
        left += missing
    return False


def _written(op: Op) -> str:
    for name, each in INPUTS.items():
        if op == each:
            return name
    match op:
        case Ratio(Mul(a, Sign(b)), Max(c, Affine(d, -1.0, 0.0))) if b == c == d:
            return f"({_written(a)} / {_written(b)})"
        case Add(a, b) | Sub(a, b) | Mul(a, b):
            return f"({_written(a)} {_SIGNS[type(op)]} {_written(b)})"
        case Affine(x, 1.0, shift):
            return f"({_written(x)} + {shift!r})"
        case Affine(x, scale, 0.0):
            return f"({_written(x)} * {scale!r})"
        case Ema(x, n, False):
            return f"ema({_written(x)}, {n})"
    given = (getattr(op, field.name) for field in fields(op))
    return f"{_NAMES.get(type(op), type(op).__name__)}({', '.join(map(_argument, given))})"


def _argument(value: object) -> str:
    if isinstance(value, Op):
        return _written(value)
    return repr(int(value) if isinstance(value, bool) else value)
