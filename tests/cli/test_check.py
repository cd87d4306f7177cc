"""``bot check parity``: the same bars lived three times over real sockets; what is said of differences."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bot.app.runs.comparison import Story, compare, explain, story_of
from bot.cli import main
from tests.helpers import T0, fill


@pytest.mark.fault(52)
@pytest.mark.invariant(23)
@pytest.mark.parametrize(
    ("strategy", "bars", "more"),
    [
        ("Brackets", "12", {}),
        ("BracketsOfAll", "8", {}),
        ("Brackets", "8", {"LIMIT_FILLS": "queue", "QUEUE_AHEAD_MS": "100"}),
    ],
    ids=["one", "all", "queue"],
)
def test_the_daemon_on_paper_and_at_the_exchange_repeats_the_backtest_to_the_bit(
    strategy: str,
    bars: str,
    more: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of a strategy for each symbol, of one for all of them with indicators, and with estimated queues."""
    monkeypatch.chdir(tmp_path)
    kinds = ["--strategy", f"tests.sim.strategies:{strategy}"]
    for name, value in more.items():
        monkeypatch.setenv(f"BOT_COSTS__{name}", value)
    if more:
        kinds += ["--venue", "local"]  # an exchange that has seen other bars; paper has the backtest's venue
    assert main(["check", "parity", "--json", "--bars", bars, *kinds]) == 0, capsys.readouterr().out
    told = json.loads(capsys.readouterr().out)
    assert told["equal"] is True
    for run in told["runs"]:
        assert run["fills"] > 2
        assert run["fills_sha256"] == run["backtest_fills_sha256"]
        assert run["warmup_bars"] >= 1000
    assert not (tmp_path / ".data").exists()


STORY = Story("paper", T0, T0, T0, {T0: "a"}, {(T0, "BTCUSDT"): ("0x1p+0",)}, (("1",),), (fill(),))


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("bars", replace(STORY, bars={T0: "b"})),
        ("bars", replace(STORY, bars={T0: "a", T0 - 1: "more"})),
        ("forecasts", replace(STORY, forecasts={(T0, "BTCUSDT"): ("0x1.0000000000001p+0",)})),
        ("forecasts", replace(STORY, forecasts={})),
        ("intents", replace(STORY, intents=())),
        ("intents", replace(STORY, intents=(("1",), ("2",)))),
        ("fills", replace(STORY, fills=(fill(price="100.1"),))),
    ],
)
def test_every_kind_of_difference_is_found_and_only_that(what: str, other: Story) -> None:
    assert compare(STORY, STORY).equal
    compared = compare(STORY, other)
    assert {name for name, found in compared.differences.items() if found} == {what}


def test_trailing_zeros_are_no_difference() -> None:
    assert compare(STORY, replace(STORY, fills=(fill(price="100.00", qty="1.0"),))).equal


def test_what_a_book_costs_is_told_in_bps_and_ms() -> None:
    bought = fill(price="101", fee="0.05", ts_ms=T0 + 700)
    told = explain(replace(STORY, fills=(bought,)), replace(STORY, fills=(fill(price="100", fee="0.04"),)))
    assert told["matched"] == 1
    assert told["shortfall_bps_mean"] == pytest.approx(100.0)
    assert told["late_ms_mean"] == 700
    assert (told["fees"], told["backtest_fees"]) == (0.05, 0.04)


def test_too_few_candles_are_said_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--start", "2026-01-01", "--strategy", "flat"]
    assert main(["check", "parity", *words]) == 2
    assert "1000 bars of warm-up and 40 to compare fit only between" in capsys.readouterr().err


def test_a_story_ends_before_the_runs_last_close_and_counts_orders_without_an_answer() -> None:
    bars = [{"kind": "bars", "close_ms": ms, "live": True, "sha256": str(ms)} for ms in (1, 2, 3)]
    orders = [{"kind": "order", "order_id": f"o{ms}", "decided_ms": ms} for ms in (1, 2, 3)]
    intents = [{"kind": "intent", "decided_ms": ms} for ms in (1, 2, 3)]
    answer = {"kind": "order_accepted", "order_id": "o1", "ts_ms": 2}
    story = story_of("live", [*bars, *orders, *intents, answer])
    assert (story.first_ms, story.last_ms, [*story.bars], len(story.intents)) == (1, 2, [1, 2], 2)
    assert (story.waits_ms, story.unanswered) == ([1], 1)
