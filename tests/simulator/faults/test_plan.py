"""Fault plans: read from files, drawn from seeds, refused with the place and the reason."""

import json
from pathlib import Path
from typing import get_args

import pytest

from bot.domain.errors import BadFile, BadInput
from bot.simulator.faults.plan import (
    KINDS,
    Fault,
    FaultPlan,
    Kind,
    RunningFault,
    first,
    parse_fault,
    read_plan,
)


def kinds() -> set[str]:
    return {name for part in get_args(Kind) for name in get_args(part) or (part,)}


def running(**fields: object) -> RunningFault:
    return RunningFault(parse_fault({"kind": "drop", **fields}), "f0", "7", 100.0)


def test_every_kind_says_what_it_does() -> None:
    assert set(KINDS) == kinds()


def test_toml_and_json_hold_the_same_plan(tmp_path: Path) -> None:
    toml, as_json = tmp_path / "plan.toml", tmp_path / "plan.json"
    toml.write_text('seed = 7\n[[fault]]\nkind = "drop"\non = "private"\nrate = 0.1\n')
    as_json.write_text(json.dumps({"seed": 7, "fault": [{"kind": "drop", "on": "private", "rate": 0.1}]}))
    assert (
        read_plan(toml)
        == read_plan(as_json)
        == FaultPlan(seed=7, fault=(Fault(kind="drop", on="private", rate=0.1),))
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[[fault]]\nkind = "dorp"\n', "dorp"),
        ('[[fault]]\nkind = "drop"\nratte = 1\n', "ratte"),
        ('[[fault]]\nkind = "drop"\nrate = 2.0\n', "rate"),
        ('[[fault]]\nkind = "drop"\nfrom_s = nan\n', "finite"),
        ('[[fault]]\nkind = "status"\n', "symbol"),
        ("seed = ", "plan.toml"),
    ],
)
def test_a_plan_that_is_none_is_refused_in_one_line(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(BadFile, match=word) as caught:
        read_plan(path)
    assert str(path) in str(caught.value)


def test_a_plan_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot be read"):
        read_plan(tmp_path / "none.toml")


def test_a_fault_happens_inside_its_window_only() -> None:
    fault = running(from_s=1.0, for_s=2.0)
    assert [fault.strikes(now_s, "public", "x") for now_s in (100.9, 101.0, 102.9, 103.0)] == [
        False,
        True,
        True,
        False,
    ]


def test_a_fault_happens_where_it_is_meant_to() -> None:
    fault = running(on="public", match="kline.*")
    assert fault.strikes(100.0, "public", "kline.1.BTCUSDT")
    assert not fault.strikes(100.0, "public", "tickers.BTCUSDT")
    assert not fault.strikes(100.0, "private", "kline.1.BTCUSDT")


def test_a_count_ends_a_fault() -> None:
    fault = running(count=2)
    assert [fault.strikes(100.0, "rest", "/v5/market/time") for _ in range(3)] == [True, True, False]


def test_a_rate_is_kept_and_the_seed_repeats_it() -> None:
    drawn = [
        [fault.strikes(100.0, "rest", "x") for _ in range(2000)]
        for fault in (running(rate=0.1), running(rate=0.1))
    ]
    assert drawn[0] == drawn[1]
    assert 140 < sum(drawn[0]) < 260


def test_another_fault_does_not_reshuffle_this_one() -> None:
    alone, beside = running(rate=0.5), running(rate=0.5)
    other = RunningFault(Fault(kind="delay", rate=0.5), "f1", "7", 100.0)
    a = [alone.strikes(100.0, "rest", "x") for _ in range(50)]
    b = []
    for _ in range(50):
        other.strikes(100.0, "rest", "x")
        b.append(beside.strikes(100.0, "rest", "x"))
    assert a == b


def test_the_first_fault_that_strikes_is_the_one() -> None:
    quiet = RunningFault(Fault(kind="drop", on="rest"), "f0", "7", 0.0)
    loud = RunningFault(Fault(kind="delay"), "f1", "7", 0.0)
    assert first([quiet, loud], frozenset({"drop", "delay"}), 1.0, "public", "x") is loud


def test_a_posted_fault_of_the_wrong_kind_is_bad_input() -> None:
    with pytest.raises(BadInput, match="kinds are"):
        parse_fault({"kind": "meteor"})
