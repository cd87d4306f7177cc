"""Reads the markers off the tests' source, without importing a test."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.catalogue import KINDS, Id, Kind

ROOT = Path(__file__).parents[2]
_NEVER_RUN = ("skip", "xfail")


class BadMarker(Exception):
    """A marker that says nothing: its place, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What one test says that it shows. ``test`` is its id for pytest, without parameters."""

    kind: Kind
    id: Id
    test: str


def marks(folder: Path = ROOT / "tests") -> list[Mark]:
    """Read the markers of all tests in ``folder``.

    Raises:
        BadMarker: a marker that is not on a test, is on a test that never runs, or names nothing.
    """
    return [mark for path in sorted(folder.rglob("*.py")) for mark in _of_file(path)]


def _of_file(path: Path) -> Iterator[Mark]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    where = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    read = set()
    for name, decorators in _tests(tree.body, path.name.startswith("test_")):
        kinds = [_named(decorator) for decorator in decorators]
        for decorator, kind in zip(decorators, kinds, strict=True):
            if kind not in KINDS:
                continue
            read.add(_marker(decorator))
            if never := [word for word in _NEVER_RUN if word in kinds]:
                raise BadMarker(f"{where}:{decorator.lineno}: a test marked {never[0]} shows nothing")
            yield from (Mark(kind, key, f"{where}::{name}") for key in _ids(decorator, kind, where))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _named(node) in KINDS and node not in read:
            raise BadMarker(f"{where}:{node.lineno}: this marker decorates no test; put it above a test")


def _tests(body: Sequence[ast.stmt], is_test_file: bool) -> Iterator[tuple[str, list[ast.expr]]]:
    for node in body if is_test_file else ():
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and node.name.startswith("test_"):
            yield node.name, node.decorator_list


def _marker(decorator: ast.expr) -> ast.expr:
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def _named(decorator: ast.expr) -> str:
    """Return NAME of ``pytest.mark.NAME`` or ``pytest.mark.NAME(…)``, else nothing."""
    match _marker(decorator):
        case ast.Attribute(ast.Attribute(ast.Name("pytest"), "mark"), name):
            return name
    return ""


def _ids(decorator: ast.expr, kind: Kind, where: str) -> list[Id]:
    given = decorator.args if isinstance(decorator, ast.Call) and not decorator.keywords else []
    ids = [arg.value for arg in given if isinstance(arg, ast.Constant)]
    wanted = str if kind == "surface" else int
    if not ids or len(ids) != len(given) or not all(type(key) is wanted for key in ids):
        raise BadMarker(f"{where}:{decorator.lineno}: {kind} takes one or more {wanted.__name__} written out")
    return ids  # type: ignore[return-value]
