"""A strategy whose every decision acts one bar later."""

from collections.abc import Callable
from functools import wraps
from types import new_class


def delayed(cls: type) -> type:
    """Return a subclass that answers at each close what ``cls`` answered at the close before.

    The strategy itself sees every bar in time, and its position as it is. The first answer is None.
    """
    methods = {
        name: _delayed(inner)
        for name in ("on_bar", "on_close")
        if callable(inner := getattr(cls, name, None))
    }
    return new_class(cls.__name__, (cls,), {}, lambda body: body.update(methods, __module__=cls.__module__))


def _delayed(inner: Callable[..., object]) -> Callable[..., object]:
    held: dict[int, object] = {}
    """The last answer of each instance, which lives as long as its run."""

    @wraps(inner)
    def method(self: object, view: object) -> object:
        before, held[id(self)] = held.get(id(self)), inner(self, view)
        return before

    return method
