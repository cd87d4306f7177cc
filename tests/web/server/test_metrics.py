"""Metrics: text that Prometheus reads, documented names, bounded labels, nothing old shown as new."""

import json
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from bot.risk.limits import CHECKS
from bot.web.server import metrics
from bot.web.server.metrics import METRICS, OWN, SYMBOLS_MAX
from tests.web.server.bench import serving, trading

DASHBOARD = Path(__file__).parents[3] / "config" / "grafana" / "bot.json"


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_text_is_read_by_its_own_parser_and_holds_every_documented_name(tmp_path: Path) -> None:
    async with trading(tmp_path) as (daemon, _), serving(tmp_path) as page:
        text = await page.text("metrics")
        families = {family.name: family for family in text_string_to_metric_families(text)}
        documented = {each.name.removesuffix("_total"): each for each in METRICS}
        assert set(families) == {*OWN, *documented}
        for name, described in documented.items():
            assert families[name].type == described.kind
            assert families[name].documentation == described.words
        found = samples(text)
        state = daemon.engine.state
        assert found["bot_up", ()] == 1.0
        assert found["bot_equity_quote", ()] == state.equity
        assert found["bot_fills_total", ()] == daemon.totals.fills == 1
        assert found["bot_state", ("trading",)] == 1.0
        assert sum(value for (name, _), value in found.items() if name == "bot_state") == 1.0
        sym = state.symbols["BTCUSDT"]
        assert found["bot_position_quote", ("BTCUSDT",)] == sym.position_base * sym.mark
        assert 0 < found["bot_limit_used_frac", ("max_leverage",)] < 1


async def test_without_a_daemon_no_number_of_it_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        async with trading(tmp_path):
            before = samples(await page.text("metrics"))
        page.watch._status_s = float("-inf")
        after = samples(await page.text("metrics"))
        assert {name for name, _ in after} <= set(OWN)
        assert after["bot_up", ()] == 0.0
        seen = ("bot_seen_timestamp_seconds", ())
        assert after[seen] >= before[seen]


def test_labels_are_bounded_and_hostile_texts_stay_inside_their_quotes() -> None:
    row: dict[str, Any] = {"qty": "1", "mark": 2.0, "unrealised": 0.0}
    status = {
        "positions": [{**row, "symbol": f"S{number}"} for number in range(3 * SYMBOLS_MAX)],
        "refused": {each.name: 1 for each in CHECKS},
        "strategy": 'x"} 1\nbot_up 0\n' + "y" * 500,
    }
    found = samples(metrics.text(status, 1, 0).decode())
    assert len([name for name, _ in found if name == "bot_position_quote"]) == SYMBOLS_MAX
    assert len([name for name, _ in found if name == "bot_refused_total"]) == len(CHECKS)
    assert found["bot_up", ()] == 1.0
    assert all(len(label) <= 64 for _, labels in found for label in labels)


def test_a_schedule_of_retrainings_tells_its_verdicts_and_how_old_the_last_judgement_is() -> None:
    counts = {"promoted": 2, "refused": 5, "failed": 0}
    retrain = {"running_since_ms": None, "judged_ms": 1_000, "counts": counts}
    found = samples(metrics.text({"now_ms": 61_000, "retrain": retrain}, 1, 0).decode())
    assert found["bot_retrain_judged_seconds", ()] == 60.0
    assert found["bot_retrain_running", ()] == 0.0
    assert found["bot_retrain_attempts_total", ("refused",)] == 5.0
    assert found["bot_retrain_attempts_total", ("failed",)] == 0.0
    without = {name for name, _ in samples(metrics.text({"now_ms": 61_000}, 1, 0).decode())}
    assert not any(name.startswith("bot_retrain") for name in without)


def test_a_number_that_is_not_known_is_left_out() -> None:
    found = samples(metrics.text({"equity": None, "day_pnl": float("nan"), "bars": 3}, None, 0).decode())
    assert ("bot_equity_quote", ()) not in found
    assert ("bot_day_pnl_quote", ()) not in found
    assert found["bot_bars_total", ()] == 3.0


def test_the_dashboard_asks_for_exported_names_only_and_for_all_of_them() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = set(_names(board))
    exported = {*OWN, *(each.name for each in METRICS)}
    assert asked == exported
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    sources = {panel["datasource"]["uid"] for panel in board["panels"] if "targets" in panel}
    assert sources == {"${datasource}"}


def _names(value: object) -> list[str]:
    """Every name that begins with ``bot_`` in the expressions of a dashboard."""
    import re

    if isinstance(value, dict):
        own = re.findall(r"\bbot_\w+", value["expr"]) if "expr" in value else []
        return own + [name for each in value.values() for name in _names(each)]
    return [name for each in value for name in _names(each)] if isinstance(value, list) else []
