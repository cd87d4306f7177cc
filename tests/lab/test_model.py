from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bot
from bot.adapters.files.candles import write_candles
from bot.adapters.files.joining import coarser
from bot.cli import main
from bot.features.spec import default
from tests.lab.market import FIVE, candles
from tests.research import series

SMALL = {"lanes": 2, "window": 64, "d_model": 8, "layers": 1, "features": 8, "half_lives": (8, 32)}


@pytest.fixture(scope="module")
def bars() -> bot.Candles:
    return candles(6000)


def test_the_shipped_model_forecasts_as_bot_predict_does(bars: bot.Candles, tmp_path: Path) -> None:
    file, out = tmp_path / "bybit_linear_BTCUSDT_5m.parquet", tmp_path / "out.parquet"
    write_candles(file, bars)
    assert main(["predict", "--data", str(file), "--out", str(out)]) == 0
    model = bot.load_model()
    forecasts = model.predict(bars)
    assert forecasts.equals(pq.read_table(out))
    assert forecasts.column("rv_60m").null_count == model.warmup_bars - 1
    assert (model.interval, len(model.hash)) == ("5m", 64)
    assert "5m bars" in repr(model)


def test_features_are_the_rows_that_a_model_is_trained_on(bars: bot.Candles) -> None:
    rows = bot.features(bars)
    assert rows.names == default(FIVE).names
    assert rows.matrix.shape == (6000, len(rows.names))
    assert np.isfinite(rows.matrix[-1]).sum() >= len(rows.names) - 1  # no funding is known
    assert rows.to_arrow().column_names == ["start_ms", *rows.names]
    shorter = bot.features(bars.head(4000)).matrix
    np.testing.assert_array_equal(shorter, rows.matrix[:4000])  # the future changes nothing


def test_a_model_is_trained_on_candles_in_memory_and_evaluated(tmp_path: Path) -> None:
    own, told = series.candles(3000), []
    model = bot.train(own, tmp_path / "model", epochs=2, progress=told.append, **SMALL)  # type: ignore[arg-type]
    assert model.symbols == ("BTCUSDT",)
    assert model.hash == bot.load_model(tmp_path / "model").hash
    assert told[-1].epochs == 2
    judged = bot.evaluate(own, model)
    assert isinstance(judged.table, pa.Table)
    assert {"model", "har_hour", "zero"} <= {*judged.table.column("forecaster").to_pylist()}
    (qlike,) = [
        each["value"]
        for each in judged.table.to_pylist()
        if (each["forecaster"], each["figure"]) == ("model", "qlike_rv_60m")
    ]
    one = judged.numbers["files"][0]
    assert qlike == one["qlike_rv_60m"]["value"]
    rows = {(each["forecaster"], each["figure"]): each for each in judged.table.to_pylist()}
    assert rows["har", "qlike_minus"]["low"] == one["qlike_minus"]["har"]["low"]
    assert rows["har", "diebold_mariano_p_value"]["value"] == one["diebold_mariano"]["har"]["p_value"]
    assert rows["har", "vol_target_miss"]["value"] == one["vol_target"]["har"]["value"]
    assert rows["model", "ic_beyond_reversal_ret_60m"]["high"] == one["ic_beyond_reversal"]["ret_60m"]["high"]
    long_95 = one["var"]["long_95"]
    assert rows["model", "var_long_95_beyond_frac"]["value"] == long_95["beyond"] / long_95["rows"]
    assert rows["model", "var_short_99_kupiec_p"]["value"] == one["var"]["short_99"]["kupiec_p"]
    fixed = one["var_fixed"]["long_95"]
    assert rows["model", "var_fixed_long_95_beyond_frac"]["value"] == fixed["beyond"] / fixed["rows"]
    assert rows["model", "followed_minus_fixed"]["low"] == one["followed_minus_fixed"]["low"]
    for kind, name in (("followed", "band_80"), ("fixed", "band_fixed_80")):
        assert rows["model", name]["value"] == one["bands"]["80"][kind]["value"]
    months = judged.months.to_pylist()
    assert {each["month"] for each in months} == {each["month"] for each in one["months"]}
    assert months[0]["ic_ret_60m"] == one["months"][0]["ic_ret_60m"]["value"]
    assert "har_hour" in repr(judged)
    assert judged.metrics["BTCUSDT"]["qlike_rv_60m"] == qlike
    assert "QLIKE" in judged.report(tmp_path / "skill.html").read_text("utf-8")
    assert judged.plot().svg in judged._repr_html_()
    with pytest.raises(bot.BotError, match="the model is for"):
        bot.backtest(candles(100), "performer", model=model)


def test_a_model_of_longer_bars_and_horizons_is_trained_from_shorter_ones(tmp_path: Path) -> None:
    own = series.candles(9000, interval_ms=FIVE)
    model = bot.train(own, tmp_path / "model", interval="15m", horizons=[30, 120], epochs=4, **SMALL)  # type: ignore[arg-type]
    assert model.interval == "15m"
    assert bot.evaluate(coarser(own, 900_000), model).numbers["horizons_minutes"] == [30, 120]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bot.load_model("nowhere"), "nowhere"),
        (lambda: bot.train(candles(50), "out", half_lives=["x"]), "half_lives x: write bars"),  # type: ignore[list-item]
        (lambda: bot.train(candles(50), "out", interval="1hour"), "interval='1hour': is not known"),
        (lambda: bot.train(candles(50), "out", horizons=[240]), "must be two horizons such as"),
        (lambda: bot.evaluate(candles(50), funding="near"), "give 'beside' or 'none'"),  # type: ignore[arg-type]
        (lambda: bot.load_model().predict("nowhere.csv"), "nowhere.csv: no such file"),
        (lambda: bot.load_model().predict(series.candles(50)), "15m"),
        (lambda: bot.features(3), "cannot take a int"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_argument_is_one_line(call: object, words: str) -> None:
    with pytest.raises(bot.BotError, match=words) as caught:
        call()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_an_evaluation_draws_its_months() -> None:
    def month(name: str, ours: float | None, theirs: float) -> dict[str, object]:
        told = None if ours is None else {"value": ours, "low": 0.1, "high": 0.9}
        return {"month": name, "qlike_rv_60m": told, "baselines": {"har_hour": theirs}}

    months = [month("2025-12", 0.3, 0.4), month("2026-01", None, 0.5), month("2026-02", 0.2, 0.4)]
    told = {"horizons_minutes": [15, 60], "files": [{"symbol": "BTCUSDT", "months": months}]}
    assert "BTCUSDT: qlike_rv_60m by month" in bot.Evaluation(told).plot().svg
    told["files"][0]["months"] = months[:1]  # type: ignore[index]
    assert "nothing to draw" in bot.Evaluation(told).plot().svg
