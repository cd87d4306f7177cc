"""The map of faults and tests: markers name what exists, and nothing that matters has lost its test."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.catalogue import KINDS, entries
from tests.faults.markers import ROOT, BadMarker, Mark, marks
from tests.faults.table import problems, rows


def test_the_catalogue_has_97_faults_28_invariants_and_17_surfaces() -> None:
    known = entries()
    assert [key for kind, key in known if kind == "fault"] == list(range(1, 98))
    assert [key for kind, key in known if kind == "invariant"] == list(range(1, 29))
    assert sum(kind == "surface" for kind, _ in known) == 17
    assert sum(entry.star for entry in known.values()) == 20


def test_every_entry_has_a_test_a_reason_or_says_what_is_missing() -> None:
    assert list(problems()) == []


def test_a_starred_fault_or_an_invariant_that_loses_its_last_test_is_named() -> None:
    told = marks()
    for row in rows(told):
        if row.tests and (row.entry.star or row.entry.kind == "invariant"):
            fewer = [mark for mark in told if (mark.kind, mark.id) != (row.entry.kind, row.entry.id)]
            (line,) = problems(fewer)
            assert f"{row.entry.kind} {row.entry.id} " in line


def test_a_marker_of_what_does_not_exist_is_named() -> None:
    told = [*marks(), Mark("fault", 98, "tests/x.py::test_x"), Mark("surface", "log", "tests/x.py::test_x")]
    assert [line.split(": ")[1] for line in problems(told)] == [
        "there is no fault 98 in catalogue.toml",
        "there is no surface log in catalogue.toml",
    ]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{m}.fault(1)\ndef helper(): ...", "decorates no test"),
        ("{m}.fault(1)\nclass TestX: ...", "decorates no test"),
        ("pytestmark = pytest.mark.fault(1)", "decorates no test"),
        ("{m}.fault\ndef test_x(): ...", "takes one or more int"),
        ("{m}.fault(N)\ndef test_x(): ...", "takes one or more int"),
        ("{m}.fault('1')\ndef test_x(): ...", "takes one or more int"),
        ("{m}.surface(1)\ndef test_x(): ...", "takes one or more str"),
        ("{m}.skip('x')\n{m}.fault(1)\ndef test_x(): ...", "a test marked skip shows nothing"),
        ("{m}.fault(1)\n{m}.xfail\nasync def test_x(): ...", "a test marked xfail shows nothing"),
    ],
)
def test_a_marker_that_shows_nothing_is_refused(source: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "test_made.py").write_text(source.replace("{m}", "@pytest.mark"))
    with pytest.raises(BadMarker, match=words):
        marks(tmp_path)


def test_a_marker_is_read_with_all_its_ids(tmp_path: Path) -> None:
    (tmp_path / "test_made.py").write_text(
        "@pytest.mark.fault(1, 2)\n@pytest.mark.surface('logs')\nasync def test_x(): ..."
    )
    told = {(mark.kind, mark.id, mark.test) for mark in marks(tmp_path)}
    name = "test_made.py::test_x"
    assert told == {("fault", 1, name), ("fault", 2, name), ("surface", "logs", name)}


def test_pytest_knows_the_markers(pytestconfig: pytest.Config) -> None:
    known = {line.partition("(")[0] for line in pytestconfig.getini("markers")}
    assert set(KINDS) <= known


def test_the_command_prints_the_map() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.faults"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("\n| ") == 3 + 97 + 28 + 17
    assert "- starred: 20 all" in told.stdout
