"""Sums and records of a run: exact and bounded."""

from decimal import Decimal
from pathlib import Path

import pytest

from bot.domain.ledger import fills_digest
from bot.domain.messages import BarsClosed, Filled, FundingPaid, RiskChanged
from bot.engine.core import Engine
from bot.service.record import RunRecord, RunTotals, bars_digest
from tests.helpers import T0, bar, closed, fill
from tests.service.daemons import make_parts


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return make_parts(tmp_path, []).engine


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


def test_a_record_has_a_line_for_each_decision(engine: Engine) -> None:
    record = RunRecord(engine)
    record.event(closed(bar(0)))
    record.effects([RiskChanged(T0, "halted", "drawdown")])
    record.marked(T0, 1.0, 0.0)
    assert [line["kind"] for line in record.lines] == ["bars", "risk"]
    assert record.lines[1]["reason"] == "drawdown"
