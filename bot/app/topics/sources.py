"""Reads what the program says about itself: words of a class, of its fields and methods, and their types."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator

from bot.app.topics.page import Entry


def first_words(subject: object) -> str:
    """Return the docstring without its ``Args`` and ``Raises``, each paragraph on one line."""
    text = re.split(r"\n\s*(?:Args|Raises|Attributes):", inspect.getdoc(subject) or "")[0]
    return plain_words(text)


def arguments(function: object) -> Iterator[Entry]:
    """Yield the arguments of a function with the words of its docstring, its types and its defaults."""
    assert callable(function)
    text = inspect.getdoc(function) or ""
    (block,) = re.findall(r"\nArgs:\n(.*?)(?:\n\n|\Z)", text, flags=re.DOTALL) or [""]
    words = dict(re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", block, flags=re.MULTILINE))
    for name, each in inspect.signature(function).parameters.items():
        stars = "*" * ((each.kind is each.VAR_POSITIONAL) + 2 * (each.kind is each.VAR_KEYWORD))
        facts = {"type": type_words(each.annotation)}
        if each.default is not each.empty:
            facts["default"] = repr(each.default)
        yield Entry(stars + name, plain_words(words.get(name, "")), facts)


def plain_words(text: str) -> str:
    """Return a docstring as text for a terminal: no double backticks, each paragraph on one line."""
    paragraphs = re.split(r"\n\s*\n", text.replace("``", "`").strip())
    return "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def type_words(kind: object) -> str:
    """Return a type as its user writes it, without the modules that its parts come from."""
    text = kind if isinstance(kind, str) else kind.__name__ if isinstance(kind, type) else str(kind)
    if getattr(kind, "__args__", None):
        text = str(kind)
    return re.sub(r"(?:\w+\.)+(?=\w)", "", text).replace("NoneType", "None")


def fields_line(cls: type) -> str:
    """Return the fields of a record on one line: ``ts_ms: int, symbol: str``."""
    return ", ".join(f"{name}: {type_words(kind)}" for name, kind in cls.__annotations__.items())


def members(cls: type) -> Iterator[Entry]:
    """Yield fields, properties and methods of a class with the docstrings that stand below them."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    for index, node in enumerate(tree.body):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=default) if name[0] != "_":
                facts = {"type": ast.unparse(kind)} | ({"default": _default(default)} if default else {})
                yield Entry(name, _docstring_at(tree.body, index + 1), facts)
            case ast.FunctionDef(name=name) if not name.startswith("_"):
                words = plain_words(ast.get_docstring(node) or "")
                yield Entry(name, words, {"type": _signature(node)})


def _docstring_at(body: list[ast.stmt], index: int) -> str:
    if index < len(body):
        match body[index]:
            case ast.Expr(value=ast.Constant(value=str() as words)):
                return plain_words(inspect.cleandoc(words))
    return ""


def _default(value: ast.expr) -> str:
    """Return a default as a reader would write it: of a factory's call, what the factory makes."""
    match value:
        case ast.Call(keywords=[ast.keyword(arg="default_factory", value=made)]):
            return f"{ast.unparse(made)}()"
    return ast.unparse(value)


def _signature(node: ast.FunctionDef) -> str:
    returned = ast.unparse(node.returns).strip("'") if node.returns else "None"
    decorators = {each.id for each in node.decorator_list if isinstance(each, ast.Name)}
    if decorators & {"property", "cached_property"}:
        return returned
    arguments = ", ".join(f"{each.arg}: {ast.unparse(each.annotation)}" if each.annotation else each.arg
                          for each in (*node.args.args, *node.args.kwonlyargs)
                          if each.arg not in ("self", "cls"))  # fmt: skip
    return f"({arguments}) -> {returned}"
