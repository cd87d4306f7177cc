"""No line of the product runs or unpickles what it is given."""

import ast
import builtins
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import bot

ROOT = Path(bot.__file__).parent

MODULES = {
    *("_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve", "yaml"),
    *("code", "codeop", "pty", "runpy", "ctypes", "torch.hub", "torch.package", "torch.serialization"),
}
"""Modules that unpickle, run text as code, or reach past Python."""
NAMES = {
    *("builtins.eval", "builtins.exec", "builtins.compile", "builtins.__import__", "builtins.breakpoint"),
    *("os.system", "os.popen", "os.startfile", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("asyncio.create_subprocess_shell", "asyncio.subprocess.create_subprocess_shell"),
    *("torch.load", "torch.save", "torch.jit.load", "torch.compile", "torch.export.load"),
    *("numpy.load", "numpy.fromfile", "numpy.lib.format.read_array", "pandas.read_pickle"),
    *("multiprocessing.reduction.ForkingPickler", "distributed.Client"),
    *("importlib.import_module", "importlib.util.spec_from_file_location"),
}
PREFIXES = ("os.exec", "os.spawn", "os.posix_spawn")
KEYWORDS = {"shell": False, "allow_pickle": False, "weights_only": True}
"""Keyword arguments that may only be this."""
KNOWN = {
    ("cli/__init__.py", "importlib.import_module"): "the modules of a fixed table of commands",
    ("settings/__init__.py", "importlib.import_module"): "the modules of a fixed table of names",
    ("app/topics/__init__.py", "importlib.import_module"): "the modules of a fixed table of topics",
    ("__init__.py", "importlib.import_module"): "the modules of a fixed table of public names",
    ("app/inputs.py", "importlib.util.spec_from_file_location"): "a strategy file that the user names",
    ("app/inputs.py", "importlib.import_module"): "a strategy of the user's own, named on the command line",
    (
        "app/checks/subjects.py",
        "importlib.import_module",
    ): "features that the user names",
    (
        "app/search/processes/portable.py",
        "multiprocessing.reduction.ForkingPickler",
    ): "workers that the user began",
    (
        "app/search/processes/cluster.py",
        "distributed.Client",
    ): "a cluster that the user names, and that must be trusted",
    ("adapters/files/diverted.py", "ctypes"): "inotify of the C library, which Python does not offer",
}
"""Places that may use such a name, and what for."""


def imported(tree: ast.AST) -> dict[str, str]:
    """Each local name that an import makes, with what it stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                short = alias.name.partition(".")[0]
                names[alias.asname or short] = alias.name if alias.asname else short
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def spelled(node: ast.AST, names: Mapping[str, str]) -> str:
    """``np.load`` as ``numpy.load``; nothing for what is no name of an import or of Python."""
    match node:
        case ast.Name(name) if name in names:
            return names[name]
        case ast.Name(name) if hasattr(builtins, name):
            return f"builtins.{name}"
        case ast.Attribute(value, name):
            inner = spelled(value, names)
            return f"{inner}.{name}" if inner else ""
    return ""


def dangers(source: str) -> Iterator[str]:
    """What a reviewer would stop at."""
    tree = ast.parse(source)
    names = imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            asked = [alias.name for alias in node.names]
            full = asked if isinstance(node, ast.Import) else [node.module or "", *imported(node).values()]
            yield from sorted({module for module in full if is_within(module, MODULES)})
        name = spelled(node, names)
        if name in NAMES or name.startswith(PREFIXES):
            yield name
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                safe = KEYWORDS.get(keyword.arg or "")
                given = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if keyword.arg in KEYWORDS and given is not safe:
                    yield f"{keyword.arg}="


def is_within(module: str, modules: set[str]) -> bool:
    parts = module.split(".")
    return any(".".join(parts[:end]) in modules for end in range(1, len(parts) + 1))


@pytest.mark.fault(84, 85)
@pytest.mark.surface("code")
def test_no_line_of_the_product_runs_what_it_is_given() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), danger)
        for path in sorted(ROOT.rglob("*.py"))
        for danger in dangers(path.read_text(encoding="utf-8"))
    }
    assert found == set(KNOWN)


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "run = exec",
        "import builtins as b; b.eval('1')",
        "def f():\n    import pickle",
        "from pickle import loads",
        "import yaml; yaml.load('x')",
        "from yaml import load",
        "import torch; torch.load('x')",
        "from torch import load as read; read('x')",
        "import torch.hub",
        "from torch import hub",
        "import numpy as np; np.load('x', allow_pickle=False)",
        "from anything import read; read('x', allow_pickle=given)",
        "from anything import run; run('x', shell=1)",
        "import subprocess; subprocess.run('x', shell=True)",
        "import os; os.execv('x', [])",
        "import os as o; o.system('x')",
        "import asyncio; asyncio.create_subprocess_shell('x')",
        "from importlib import import_module as get; get('x')",
        "import marshal",
    ],
)
def test_each_way_to_run_what_is_given_is_seen(source: str) -> None:
    assert list(dangers(source))


@pytest.mark.parametrize(
    "source",
    [
        "import re; re.compile('x')",
        "import safetensors.torch; safetensors.torch.load(b'')",
        "model.eval()",
        "import msgspec; msgspec.json.decode(b'')",
        "import subprocess; subprocess.run(['x'], shell=False)",
    ],
)
def test_what_only_looks_like_it_is_left_alone(source: str) -> None:
    assert not list(dangers(source))
