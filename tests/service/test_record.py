"""Sums and records of a run: exact, bounded, and never the reason that a run ends."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from bot.domain.ledger import fills_digest
from bot.domain.messages import BarsClosed, Filled, FundingPaid, RiskChanged
from bot.engine.core import Engine
from bot.service.record import RunRecord, RunTotals, bars_digest, read_record
from tests.helpers import T0, bar, closed, fill
from tests.service.daemons import make_parts


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    parts = make_parts(tmp_path, [])
    parts.store.close()  # type: ignore[attr-defined]
    return parts.engine


def test_totals_are_the_sums_of_all_executions() -> None:
    totals = RunTotals()
    fills = [fill(qty=f"{n}", fee="0.25", exec_id=f"x{n}", ts_ms=T0 + n) for n in range(1, 500)]
    for each in fills:
        totals.event(Filled(each))
    totals.event(FundingPaid(T0, "BTCUSDT", Decimal("-1.5")))
    assert (totals.fills, totals.fees, totals.funding) == (499, Decimal("124.75"), Decimal("-1.5"))
    assert totals.fills_sha256 == fills_digest(fills)


def test_only_live_closes_count_as_bars_of_the_run() -> None:
    totals = RunTotals()
    totals.event(BarsClosed(T0, 300_000, (bar(0),), live=False))
    totals.event(closed(bar(1)))
    assert (totals.bars, totals.closes, totals.first_ms) == (1, 1, bar(1).close_ms)


def test_a_digest_of_bars_knows_every_bit() -> None:
    same, other = closed(bar(0, 100.0)), closed(bar(0, 100.00000000000001))
    assert bars_digest(same) == bars_digest(closed(bar(0, 100.0)))
    assert bars_digest(same) != bars_digest(other)


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path, engine: Engine) -> None:
    record = RunRecord(tmp_path / "runs" / "1.jsonl", engine)
    record.begin({"run": 1})
    record.event(closed(bar(0)))
    record.effects([RiskChanged(T0, "halted", "drawdown")])
    record.marked(T0, 1.0, 0.0)
    record.end({"reason": "test"})
    lines = list(read_record(tmp_path / "runs" / "1.jsonl"))
    assert [line["kind"] for line in lines] == ["run", "bars", "risk", "end"]
    assert lines[2]["reason"] == "drawdown"


def test_it_rotates_and_keeps_the_newest(tmp_path: Path, engine: Engine) -> None:
    path = tmp_path / "1.jsonl"
    record = RunRecord(path, engine, max_bytes=2_000)
    record.begin({})
    for number in range(1000):
        record.write({"n": number})
    record.end({})
    assert sum(each.stat().st_size for each in tmp_path.glob("1*.jsonl")) < 4_100
    kept = [line["n"] for line in read_record(path) if "n" in line]
    assert kept == list(range(1000 - len(kept), 1000))
    assert len(kept) > 100


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    path.write_text(json.dumps({"n": 1}) + "\n" + '{"n": 2')
    assert list(read_record(path)) == [{"n": 1}]


def test_a_place_that_cannot_be_written_costs_lines_not_the_run(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "file").write_text("")
    record = RunRecord(tmp_path / "file" / "1.jsonl", engine)
    record.begin({})
    record.event(closed(bar(0)))
    record.marked(T0, 1.0, 0.0)
    record.end({})
    assert record.dropped


def test_a_full_disk_costs_lines_not_the_run(engine: Engine) -> None:
    record = RunRecord(Path("/dev/full"), engine)
    record.begin({})
    for _ in range(3):
        record.event(closed(bar(0)))
        record.marked(T0, 1.0, 0.0)
    record.end({})
    assert record.dropped


def test_old_records_go(tmp_path: Path, engine: Engine) -> None:
    for number in range(60):
        record = RunRecord(tmp_path / f"{number}.jsonl", engine)
        record.begin({})
        record.end({})
    assert 20 <= len(list(tmp_path.glob("*.jsonl"))) <= 40
    assert (tmp_path / "59.jsonl").exists()
