import json

import numpy as np
import pytest

from bot.adapters.model import checkpoint
from bot.cli import main
from bot.domain.market import HOUR_MS
from bot.features.bridge import Bridge
from bot.research import holes
from bot.research.holes import TOLERANCE, Change
from bot.settings.models import SHIPPED
from tests.research import series


def change(rms: float) -> Change:
    return Change(np.full(4, rms), np.zeros(4))


DENSE = {2: change(0.3), 8: change(0.05), 32: change(0.01)}


def test_a_forecast_has_settled_when_no_later_one_is_out_of_tolerance():
    out, within = change(TOLERANCE * 1.01), change(TOLERANCE)
    assert holes._settled({0: within, 1: within}) == 0
    assert holes._settled({0: out, 1: within, 2: out, 3: within, 4: within}) == 3
    assert holes._settled({0: within, 1: out}) is None


def test_the_bridge_ends_before_the_first_length_that_does_not_settle_in_time():
    assert holes._chosen({1: 0, 2: 3, 4: 7, 8: 49, 12: 5}, DENSE) == Bridge((0, 3, 7, 7), 8)
    assert holes._chosen({1: 4, 2: 3, 4: None}, DENSE) == Bridge((4, 4), 8)
    assert holes._chosen({1: None, 2: 0}, DENSE) == Bridge()


def test_nothing_is_bridged_if_single_bars_missing_at_random_are_too_much():
    assert holes._chosen({1: 0}, {2: change(0.3), 8: change(0.2)}) == Bridge()


def test_the_longest_stretch_of_forecasts_is_used():
    assert holes._longest(np.array([True, False, True, True, False])) == (2, 4)
    assert holes._longest(np.zeros(3, np.bool_)) == (0, 0)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holes, "HOLE_BARS", (1, 2, 12))
    monkeypatch.setattr(holes, "FILLED_ONE_IN", (2, 32))


def test_holes_are_measured_and_the_bridge_is_written_only_if_asked(small, monkeypatch, tmp_path, capsys):
    model = series.saved_model(tmp_path, warmup_bars=series.FEATURES.warmup + 20)
    before = (model / checkpoint.MANIFEST).read_bytes()
    files = [
        series.saved_candles(tmp_path, series.candles(3000, 9, symbol=name)) for name in ("AUSDT", "BUSDT")
    ]
    data = [word for path in files for word in ("--data", str(path))]
    ask = ["evaluate", "--model", str(model), *data, "--holes"]
    assert main(ask) == 2
    assert "100 are needed" in capsys.readouterr().err
    monkeypatch.setattr(holes, "MIN_HOLES", 20)
    assert main([*ask, "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    by_length = measured["bridge"]["by_bars_since"]
    first = {bars: table["0"]["rms"] for bars, table in by_length.items()}
    assert first["1"] < first["2"] < first["12"]
    assert all(table["48"]["rms"] < table["0"]["rms"] for table in by_length.values())
    dense = measured["bridge"]["one_bar_missing_in"]
    assert dense["32"]["rms"] < dense["2"]["rms"]
    assert (model / checkpoint.MANIFEST).read_bytes() == before
    assert main([*ask, "--write"]) == 0
    assert "written into the model's manifest" in capsys.readouterr().out
    written = checkpoint.load(model).manifest
    assert written.bridge_bars == measured["bridge_bars"]
    assert written.rewarm_bars == measured["rewarm_bars"]
    assert written.bridge == measured["bridge"]


def test_holes_in_bars_of_an_hour_are_measured_though_a_day_has_fewer_than_are_reported():
    model = checkpoint.load(SHIPPED["performer-1h-judged"])
    walk = series.candles(model.warmup_bars + 2600, interval_ms=HOUR_MS)
    one = holes.series(model, walk, None, walk.first_ms, walk.end_ms)
    measured = holes._after_holes(model.with_bridge(Bridge((0,) * 64), {}), [one], 48)
    assert {0, 1, 2, 3, 6, 12, 24, 48} < measured.keys()
    assert all(np.isfinite(each.log_rv).all() for each in measured.values())


def test_bars_the_model_was_fitted_on_and_a_lonely_write_are_refused(tmp_path, capsys):
    model = series.saved_model(tmp_path)
    file = series.saved_candles(tmp_path, series.candles(900))
    ask = ["evaluate", "--model", str(model), "--data", str(file)]
    assert main([*ask, "--holes", "--start", "2024-12-01"]) == 2
    assert "trained_to" in capsys.readouterr().err
    assert main([*ask, "--write"]) == 2
    assert "--holes" in capsys.readouterr().err
