"""What is promised about the repository itself: the lock, the dependencies, the scripts, the layout."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import bot

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SCRIPTS = (
    ".ci/run",
    "config/systemd/botctl",
    "scripts/demo",
    "scripts/install",
    "scripts/test",
    "scripts/update-lock",
)
TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "NOTICE",
    "bot",
    "config",
    "tests",
    "scripts",
}
FILE_BYTES_MAX = 2_500_000


def requirements(*extras: str) -> list[Requirement]:
    lines = PROJECT["dependencies"] + [
        line for extra in extras for line in PROJECT["optional-dependencies"][extra]
    ]
    return [Requirement(line) for line in lines]


def names(found: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in found}


def locked(*files: str) -> list[Requirement]:
    text = "".join((ROOT / "scripts/lock" / file).read_text() for file in files)
    return [Requirement(line.rstrip(" \\")) for line in re.findall(r"^[A-Za-z0-9].*", text, re.MULTILINE)]


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for path in listed.stdout.split("\0") if (ROOT / path).is_file()]


def imported(folder: str) -> Iterator[tuple[str, str]]:
    """(distribution, file) of every third-party import in the Python files of a folder."""
    owners = packages_distributions()
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [str(node.module)]
            for top in (
                {module.split(".")[0] for module in modules} - sys.stdlib_module_names - {"bot", "tests"}
            ):
                yield canonicalize_name(owners.get(top, [top])[0]), str(path.relative_to(ROOT))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_the_lock_holds_one_fitting_version_of_each_dependency(python: str, platform: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": platform}
    versions: dict[str, list[str]] = {}
    for pin in locked("core.txt", "test.txt", "torch.txt"):
        if pin.marker is None or Marker(str(pin.marker)).evaluate(environment):
            versions.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier).removeprefix("=="))
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
    for wanted in requirements("test"):
        (version,) = versions[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(Version(version)), f"{wanted} is locked at {version}"


def test_what_the_core_needs_is_in_the_core_lock() -> None:
    assert names(requirements()) <= names(locked("core.txt", "torch.txt"))


@pytest.mark.parametrize("extra", ["notify", "cluster"])
def test_the_lock_of_an_extra_holds_what_it_needs_in_the_versions_of_the_tests(extra: str) -> None:
    found = locked(f"{extra}.txt")
    assert names(requirements(extra)) <= names(found) | names(locked("core.txt", "torch.txt"))
    tested = {pin.name: pin.specifier for pin in locked("test.txt")}
    assert {pin.name: pin.specifier for pin in found}.items() <= tested.items()


def test_each_locked_package_has_a_hash_and_no_address() -> None:
    for file in ("core.txt", "notify.txt", "cluster.txt", "test.txt"):
        text = (ROOT / "scripts/lock" / file).read_text()
        blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
        assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
        assert "://" not in text


def test_the_lock_leaves_torch_and_its_cuda_packages_to_the_installer() -> None:
    found = names(locked("core.txt", "notify.txt", "cluster.txt", "test.txt"))
    assert {name for name in found if re.match(r"torch$|triton|cuda-|nvidia-", name)} == set()


def test_what_is_installed_agrees_with_itself() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


def test_the_product_imports_only_what_it_declares() -> None:
    declared = names(requirements(*(set(PROJECT["optional-dependencies"]) - {"test", "bench"})))
    assert {found for found in imported("bot") if found[0] not in declared} == set()


def test_the_tests_import_only_what_the_test_extra_installs() -> None:
    declared = names(requirements("test"))
    assert {found for found in imported("tests") if found[0] not in declared} == set()


def test_every_core_dependency_is_imported() -> None:
    assert names(requirements()) - {name for name, _ in imported("bot")} == set()


def test_the_import_contracts_cover_every_package() -> None:
    layers, below_the_line, torch_free, *_ = PYPROJECT["tool"]["importlinter"]["contracts"]
    lines = [re.sub(r"\(\w+\)", "", line) for line in layers["layers"]]  # in parentheses: may be absent
    bottom = next(index for index, line in enumerate(lines) if "engine" in line)
    packages = {f"bot.{name}" for line in lines for name in re.findall(r"\w+", line)}
    pure = {f"bot.{name}" for line in lines[bottom:] for name in re.findall(r"\w+", line)}
    pure_in_the_shell = {"bot.service.readiness"}
    assert set(below_the_line["source_modules"]) == pure | pure_in_the_shell
    assert set(torch_free["source_modules"]) == packages - {"bot.model", "bot.research"} | {
        "bot.model.kernel"
    }
    assert [line for line in layers["layers"] if "(" in line] == []


def test_the_readme_gives_a_reason_for_every_core_dependency() -> None:
    section = (ROOT / "README.md").read_text().split("\n## Dependencies\n", 1)[1].split("\n## ", 1)[0]
    reasons = dict(re.findall(r"^- \*\*([^*]+)\*\*: (.{20,})$", section, re.MULTILINE))
    assert set(reasons) == names(requirements())


def test_the_package_version_is_the_programs_version() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "bot", "--version"], capture_output=True, text=True, check=True
    )
    assert bot.__version__ == PROJECT["version"]
    assert bot.__version__ in shown.stdout.split(), shown.stderr


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_top_level_holds_only_what_is_agreed() -> None:
    top = {path.split("/")[0] for path in tracked()}
    assert {name for name in top if name not in TOP_LEVEL and not name.startswith(".")} == set()


def test_no_tracked_file_is_large() -> None:
    assert [path for path in tracked() if (ROOT / path).stat().st_size > FILE_BYTES_MAX] == []


def test_data_files_of_the_product_are_packaged() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["bot"]
    packaged = {
        path.relative_to(ROOT).as_posix() for pattern in patterns for path in (ROOT / "bot").glob(pattern)
    }
    assert {
        path for path in tracked() if path.startswith("bot/") and not path.endswith(".py")
    } - packaged == set()


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_are_executable_and_sound(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / script], check=True)
    shellcheck = Path(sys.executable).parent / "shellcheck"
    found = subprocess.run([shellcheck, ROOT / script], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_continuous_integration_runs_what_a_developer_runs() -> None:
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("\nexec ./scripts/test")
