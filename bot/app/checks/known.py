"""Which tables a class or a function in memory knows: a check changes the candles only, not these."""

from collections.abc import Iterator, Mapping, Sequence
from inspect import unwrap
from types import CodeType, FunctionType, ModuleType

from bot.adapters.files.candles import Candles


def tables_known_to(given: object) -> list[str]:
    """Return the names of the tables that a class or a function reads from variables outside itself.

    Variables of its module (of the notebook), of an enclosing function, of the class, and defaults.
    """
    found: dict[str, None] = {}
    owners = [each for each in given.__mro__ if each is not object] if isinstance(given, type) else []
    for owner in owners:
        found |= dict.fromkeys(tables_in(vars(owner)))
    members = [each for owner in owners for each in vars(owner).values()] or [given]
    for function in (_function_of(each) for each in members):
        if function is not None:
            found |= dict.fromkeys(tables_in(_variables(function)))
    return [*found]


def tables_in(values: object) -> list[str]:
    """Return the names of those values of a mapping that are tables; of anything else nothing."""
    return [name for name, each in values.items() if _is_table(each)] if isinstance(values, Mapping) else []


def unchanged_note(names: Sequence[str]) -> list[str]:
    """Return a note about tables that a check leaves as they are; none if there are no tables."""
    if not names:
        return []
    return [
        f"it knows {', '.join(names)}, which this check does not change: later bars that it reads there stay "
        "unseen; take prices from the view or the candles alone"
    ]


def _function_of(member: object) -> FunctionType | None:
    if isinstance(member, property):
        member = member.fget
    inner = unwrap(getattr(member, "__func__", member))  # type: ignore[arg-type]  # any object has none to unwrap
    return inner if isinstance(inner, FunctionType) else None


def _variables(function: FunctionType) -> dict[str, object]:
    """Return the variables from outside that a function names, also those of functions inside it."""
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    outside = {name: function.__globals__[name] for name in names if name in function.__globals__}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    closed = {name: value for name, cell in cells for value in _content(cell)}
    defaults = function.__kwdefaults__ or {}
    last = function.__code__.co_varnames[: function.__code__.co_argcount]
    given = function.__defaults__ or ()
    return {**outside, **closed, **defaults, **dict(zip(last[len(last) - len(given) :], given, strict=True))}


def _content(cell: object) -> Iterator[object]:
    try:
        yield cell.cell_contents  # type: ignore[attr-defined]  # a cell of a closure
    except ValueError:  # it is empty yet
        return


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes(each)


def _is_table(value: object) -> bool:
    if isinstance(value, type | ModuleType):
        return False
    if isinstance(value, Candles):
        return True
    is_like_one = hasattr(value, "__array__") or hasattr(value, "__arrow_c_stream__")
    return is_like_one and hasattr(value, "__len__") and getattr(value, "shape", (1,)) != ()
