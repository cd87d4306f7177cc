"""A daemon that retrains by schedule, as a program: while it trades, after failures, not beyond its end."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.adapters.control.client import ask
from bot.adapters.files.candles import read_candles
from bot.adapters.model import checkpoint
from bot.adapters.model.lineage import Attempt, Lineage
from bot.adapters.state.alive import Sign
from bot.adapters.state.clock import ReplayClock
from bot.adapters.state.disk import THIS_DISK
from bot.app.context import Context
from bot.app.runs.live.plan import make_live_plan
from bot.app.runs.live.retrainer import retrain
from bot.app.runs.live.scheduled import retraining_of
from bot.app.runs.parity import exchange_process
from bot.app.state import journals
from bot.domain.market import DAY_MS
from bot.service.retraining.kept import KeptTimetable
from bot.service.retraining.pipe import Task
from bot.service.retraining.timetable import Timetable
from tests.cli.exchanges import Daemon, daemon
from tests.research import series

STEP = series.INTERVAL_MS
BARS, CHANGE, BEGINS = 2_880, 1_300, 2_420
"""The market changes, and the daemon begins to trade, at these bars."""
END_MS = series.T0 + BEGINS * STEP
SPEED = 450
RECIPE = {"epochs": 1, "lanes": 2, "window": 64, "warmup_steps": 2, "lr": 3e-3}
"""A model that was never trained, and how it is trained when it is fitted again."""
ENV = {
    "BOT_RETRAIN__WINDOW_DAYS": "24",
    "BOT_RETRAIN__JUDGE_DAYS": "3",
    "BOT_RETRAIN__JUDGE_DAYS_MIN": "2",
    "BOT_VENUE__API_SECRET": "canary-in-the-environment",
}


@contextmanager
def trading(place: Path) -> Iterator[Daemon]:
    """A daemon that missed a retraining while it was down."""
    file = series.saved_candles(place, series.changing(BARS, CHANGE))
    series.saved_model(place / "base", settings=RECIPE)
    missed_ms = END_MS - 2 * DAY_MS
    table = Timetable(schedule="12h", since_ms=missed_ms, done_ms=missed_ms)
    KeptTimetable(place / ".data/models").write(table)
    market = ["--data", str(file), "--start", str(END_MS), "--no-funding", "--speed", str(SPEED)]
    with exchange_process(Context(), market) as url:
        words = [
            "--feed", "local", "--exchange", url, "--venue", "paper", "--strategy", "vol_target",
            "--symbol", "BTCUSDT", "--interval", "15m", "--fills", "bars",
            "--model", str(place / "base/model"), "--retrain", "12h",
        ]  # fmt: skip
        with daemon(place, *words, env=ENV) as running:
            yield running


def status(place: Path) -> dict[str, Any]:
    return dict(ask(place / ".data/control.sock", "GET", "/status", timeout_s=10.0))


def closes(running: Daemon) -> list[int]:
    """The closes in its log."""
    told = [json.loads(line) for line in running.said if '"event": "close"' in line]
    return [each["bar_ms"] for each in told]


def children_of(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("this system does not list the children of a process")
    return [int(word) for word in path.read_text().split()]


def test_it_retrains_beside_the_trading_and_takes_the_promoted_model(tmp_path: Path) -> None:
    base = checkpoint.load(series.saved_model(tmp_path / "base", settings=RECIPE))
    with trading(tmp_path) as running:
        running.until("retrain_began")
        promoted = running.until("retrained")["model"]
        swapped = running.until("model_swapped") if "model_swapped" not in str(running.said) else None
        assert swapped is None or (swapped["before"], swapped["model"]) == (base.hash, promoted)
        running.until("close")
        told = status(tmp_path)
        assert told["model_hash"] == promoted
        assert (told["retrain"]["last_verdict"], told["retrain"]["counts"]["promoted"]) == ("promoted", 1)
        assert told["retrain"]["next_ms"] > told["now_ms"]
        seen = closes(running)
        assert seen == list(range(seen[0], seen[-1] + 1, STEP))  # no close was late or left out
        assert told["steps_cut"] == 0
        code, _ = running.end()
        assert code == 0
    assert "canary" not in "".join(running.said)
    journal = journals.choose_journal(tmp_path / ".data", None)
    assert {each.difference for each in journals.replay(journal)} == {None}


def test_a_failure_is_heard_then_tried_again_and_a_stop_ends_the_process_in_time(tmp_path: Path) -> None:
    lineage = Lineage(tmp_path / ".data/models")
    with trading(tmp_path) as running:
        with lineage.locked():  # somebody retrains by hand
            failed = running.until("retrain_failed")
            assert failed["level"] == "warning"
            running.until("close")
        running.until("retrain_began")  # a quarter of an hour later
        running.until("retrain_said")
        (child,) = children_of(running.process.pid)
        assert os.getpriority(os.PRIO_PROCESS, child) == 19
        assert b"canary" not in Path(f"/proc/{child}/environ").read_bytes()
        code, _ = running.end()
        assert code == 0
        assert not Sign(child, 0).process_exists
    kept = KeptTimetable(tmp_path / ".data/models").read()
    assert kept is not None
    assert (kept.began_ms is not None, kept.counts) == (True, {"failed": 1})
    attempts = [each for line in lineage.lines() for each in line.attempts]
    assert attempts == [] or attempts[-1].verdict != "promoted"


def outcome_on(place: Path, url: str, *symbols: str) -> tuple[str, str]:
    """Retrain in this process, on the files in ``place``; return verdict and reason."""
    base = checkpoint.load(series.saved_model(place / "base", settings=RECIPE))
    settings = {
        "state_dir": str(place / ".data"),
        "data_dir": str(place),
        "model": {"path": str(place / "base/model")},
        "retrain": {"window_days": 24, "judge_days": 3, "judge_days_min": 2},
        "feed": {"symbols": symbols or ("BTCUSDT",), "interval": "15m"},
        "fetch": {"max_retries": 0, "timeout_ms": 5_000, "base_url": url},
    }
    outcome = retrain(Task(settings=settings, base=base.hash, now_ms=END_MS), lambda line: None)
    noted = Lineage(place / ".data/models").line(base.hash).attempts[-1]
    assert (noted.verdict, noted.reason, noted.began_ms) == (outcome.verdict, outcome.reason, END_MS)
    return outcome.verdict, outcome.reason


def test_files_are_brought_up_to_date_first_and_what_keeps_them_from_it_is_a_failure(
    tmp_path: Path,
) -> None:
    (tmp_path / "market").mkdir()
    market = series.changing(BARS, CHANGE)
    whole = series.saved_candles(tmp_path / "market", market)
    file = series.saved_candles(tmp_path, market.between(series.T0, END_MS - 2 * DAY_MS))
    verdict, reason = outcome_on(tmp_path, "http://127.0.0.1:9")
    assert (verdict, "http://127.0.0.1:9" in reason) == ("failed", True)
    words = ["--data", str(whole), "--start", str(END_MS), "--no-funding", "--speed", "1"]
    with exchange_process(Context(), words) as url:
        assert outcome_on(tmp_path, url)[0] == "promoted"
        assert read_candles(file).end_ms == END_MS
        file.write_bytes(file.read_bytes()[:-100])
        verdict, reason = outcome_on(tmp_path, url)
    assert (verdict, file.name in reason) == ("failed", True)


def test_a_symbol_that_cannot_be_fetched_holds_no_other_up_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "market").mkdir()
    market = series.changing(BARS, CHANGE)
    whole = series.saved_candles(tmp_path / "market", market)
    ended = series.changing(BARS, CHANGE, 1, symbol="ETHUSDT")  # the exchange does not know it any more
    series.saved_candles(tmp_path, ended.between(series.T0, END_MS - 10 * DAY_MS))
    broken = series.saved_candles(tmp_path, series.changing(BARS, CHANGE, 2, symbol="SOLUSDT"))
    broken.write_bytes(broken.read_bytes()[:-100])
    words = ["--data", str(whole), "--start", str(END_MS), "--no-funding", "--speed", "1"]
    with exchange_process(Context(), words) as url:
        verdict, reason = outcome_on(tmp_path, url, "BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
        assert verdict == "promoted", reason
        assert "without any bars of SOLUSDT, XRPUSDT" in reason
        assert "without new bars of ETHUSDT" in reason
        assert broken.name in reason  # and what is wrong with it
        assert outcome_on(tmp_path, url, "ETHUSDT", "XRPUSDT")[0] == "failed"  # nothing is left


def test_a_daemon_finds_how_a_retraining_ended_that_it_did_not_see_end(tmp_path: Path) -> None:
    base = checkpoint.load(series.saved_model(tmp_path / "base"))
    settings = {"feed.kind": "local", "feed.interval": "15m", "venue.kind": "paper"}
    settings |= {"state_dir": tmp_path / ".data", "model.path": tmp_path / "base/model"}
    settings |= {"retrain.schedule": "12h", "feed.symbols": ("BTCUSDT",)}
    plan = make_live_plan(Context().settings(settings), strategy="vol_target", params={})
    plan = replace(plan, base=base)
    lineage = Lineage(tmp_path / ".data/models")
    lineage.note(base.hash, Attempt(ts_ms=5, verdict="refused", reason="worse", began_ms=7))
    table = Timetable(schedule="12h", since_ms=1, done_ms=1).begun(7)
    told = []
    for began_ms in (7, 8):
        KeptTimetable(tmp_path / ".data/models").write(msgspec.structs.replace(table, began_ms=began_ms))
        made = retraining_of(
            plan,
            log=None,
            clock=ReplayClock(9),
            disk=THIS_DISK,
            note=lambda name, facts: told.append(name),
            may_begin=lambda: False,
            is_stopping=lambda: False,
            is_rolled_back=lambda model: False,
        )
        assert made is not None
        assert made.table.last is not None
        assert made.table.last.outcome.verdict == ("refused" if began_ms == 7 else "failed")
    assert told == ["retrain_refused"]


def test_a_model_that_was_replaced_behind_the_daemon_is_refused(tmp_path: Path) -> None:
    series.saved_model(tmp_path / "base")
    settings = {"state_dir": str(tmp_path / ".data"), "model": {"path": str(tmp_path / "base/model")}}
    outcome = retrain(Task(settings=settings, base="f" * 64, now_ms=0), lambda line: None)
    assert outcome.verdict == "refused"
    assert "start the daemon again" in outcome.reason
