"""A model with horizons of its own: trained by a definition, shown, judged, and read by a strategy."""

import json
from math import nan
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

import bot
from bot.adapters.model import checkpoint
from bot.adapters.model.predictor import KernelPredictor, TorchPredictor, forecast_table
from bot.app.models.training import horizons_of
from bot.app.state import journals
from bot.cli import main
from bot.cli.models.evaluate import _print as print_evaluation
from bot.domain.errors import BadSettings, BadUsage
from bot.domain.horizons import HOUR, Horizons
from bot.domain.market import HOUR_MS, MINUTE_MS, Bar, Forecast
from bot.domain.messages import BarsClosed
from bot.engine.snapshot import ForecastRecord, _forecast, _forecast_record
from bot.research.device import find_device
from bot.research.skill.baselines import BASELINES
from bot.service.journaling import forecasts_digest
from bot.settings.definition import read_definition
from bot.web.evaluation import render_evaluation
from tests.app.runs.lives import live, plan_on
from tests.research import series
from tests.research.test_commands import TINY

COLUMNS = ("rv_240m", "rv_log_sd", "ret_60m", "ret_240m", "ret_60m_scale", "ret_240m_scale")
BARS = 3000


class FourHours:
    """Holds one unit while the next four hours look quiet."""

    needs_forecast: ClassVar[bool] = True
    forecast_fields: ClassVar[tuple[str, ...]] = ("rv_240m", "ret_60m")

    def on_bar(self, view: bot.View) -> bot.Target | None:
        forecast = view.forecast
        if forecast is None:  # not warm yet
            return None
        assert forecast.ret_60m == forecast["ret_60m"]
        assert np.isnan(forecast.rv_60m)
        assert np.isnan(forecast.rv_log_sd)
        return bot.Target(1.0 if forecast["rv_240m"] < 2e-4 else 0.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("horizons")
    data = series.saved_candles(place, series.candles(BARS))
    (place / "my.toml").write_text("[targets]\nminutes = [60, 240]\n")
    words = [
        "train",
        "--data",
        str(data),
        "--out",
        str(place / "model"),
        *TINY,
        "--epochs",
        "1",
        "--device",
        "auto",
    ]
    assert main([*words, "--definition", str(place / "my.toml")]) == 0
    return place


def test_the_manifest_records_the_horizons_and_they_are_shown(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = checkpoint.load(place / "model")
    assert model.config.horizons_minutes == (60, 240)
    assert model.manifest.settings["device"] == find_device("auto")
    assert {"r2_log_rv_240m", "ic_ret_60m", "ic_ret_240m", "direction_ret_60m"} < set(model.manifest.skill)
    assert main(["model", "show", str(place / "model")]) == 0
    shown = capsys.readouterr().out
    assert "forecasts          rv_240m, ret_60m, ret_240m" in shown
    assert "ic_ret_240m" in shown
    assert main(["model", "show", str(place / "model"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["qlike_rv_60m"] is None
    assert told["qlike_rv_240m"] > 0.0


def test_predict_and_evaluate_name_what_they_tell_by_the_horizons(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model = str(next(place.glob("*.parquet"))), str(place / "model")
    assert main(["predict", "--data", data, "--model", model, "--out", str(place / "p.parquet")]) == 0
    assert tuple(pq.read_schema(place / "p.parquet").names) == ("start_ms", *COLUMNS)
    late = series.candles(BARS)
    told = bot.evaluate(late.between(int(late.start_ms[1700]), late.end_ms), bot.load_model(model))
    assert told.numbers["horizons_minutes"] == [60, 240]
    (one,) = told.numbers["files"]
    capsys.readouterr()
    print_evaluation(one, Horizons.of_minutes((60, 240)))
    printed = capsys.readouterr().out
    for words in ("qlike_rv_240m", "direction_ret_60m", "VaR of 4 h"):
        assert words in printed
    assert "rv_60m" not in printed
    assert "QLIKE of rv_240m" in render_evaluation(told.numbers)
    assert set(one["ic_beyond_reversal"]) == {"ret_60m", "ret_240m"}
    assert one["var"]["long_95"]["rows"] == pytest.approx(one["rows"] / 16, abs=1)  # none overlaps another
    assert "qlike_rv_240m" in repr(told)
    assert {"qlike_rv_240m", "ic_ret_240m"} < set(told.table["figure"].to_pylist())


def test_a_strategy_reads_the_columns_by_name_in_every_form(place: Path) -> None:
    data, model = next(place.glob("*.parquet")), bot.load_model(place / "model")
    runs = [
        bot.backtest(data, FourHours, model=model, instrument="exact", form=form)  # type: ignore[arg-type]
        for form in ("step", "bulk")
    ]
    assert runs[0].fills.num_rows > 2
    assert runs[0].fills.equals(runs[1].fills)


def test_a_strategy_that_reads_a_horizon_that_the_model_lacks_is_refused(place: Path) -> None:
    with pytest.raises(BadUsage) as error:
        bot.backtest(next(place.glob("*.parquet")), "performer", model=bot.load_model(place / "model"))
    words = str(error.value)
    assert "performer reads rv_60m" in words
    assert "forecasts rv_240m, ret_60m, ret_240m" in words


def test_a_volatility_target_takes_the_variance_of_any_horizon_by_the_hour(place: Path) -> None:
    told = Forecast.of([nan] * 6, (("rv_log_sd", 0.5), ("rv_240m", 8e-4), ("ret_60m", 0.0)))
    assert told.hourly_variance == 2e-4
    assert Forecast.of([3e-4, 0.5, 0.0, 0.0, 1.0, 1.0]).hourly_variance == 3e-4
    assert np.isnan(Forecast.of([nan] * 6).hourly_variance)
    data, model = next(place.glob("*.parquet")), bot.load_model(place / "model")
    params = {"base": "constant"}
    done = bot.backtest(data, "vol_target", params=params, model=model, instrument="exact")
    assert done.fills.num_rows > 0


def test_no_forecast_reads_a_later_bar(place: Path) -> None:
    model, whole = checkpoint.load(place / "model"), series.candles(BARS)
    other = series.candles(BARS, seed=9)
    cut = 2500
    bars = np.vstack((whole.ohlcv[:cut], other.ohlcv[cut:]))
    mixed = whole.make("BTCUSDT", whole.interval_ms, whole.start_ms, bars)
    for form in ("step", "bulk"):
        one, two = (forecast_table(model, each, None, form=form) for each in (whole, mixed))
        np.testing.assert_array_equal(one[:cut], two[:cut])
        assert not np.array_equal(one[cut:], two[cut:])


def test_the_streaming_forms_agree_and_know_their_names(place: Path) -> None:
    model = checkpoint.load(place / "model")
    rows = series.rows(series.candles(800)).features[-5:]
    slots = np.zeros(1, np.int64)
    kernel, torch_ = KernelPredictor(model, 1), TorchPredictor(model, 1)
    for row in rows:
        (one,), (two,) = kernel.step(row[None], slots), torch_.step(row[None], slots)
        assert one is not None
        assert two is not None
        assert tuple(name for name, _ in one.own) == COLUMNS
        np.testing.assert_allclose(one.numbers, two.numbers, rtol=1e-5, atol=1e-9)
    with pytest.raises(KeyError, match="rv_60m: the model forecasts rv_240m"):
        one["rv_60m"]  # type: ignore[index]


def test_every_baseline_forecasts_over_the_horizons_of_the_rows() -> None:
    long = Horizons.of_minutes((240, 1440))
    rows = series.rows(series.candles(BARS), long)
    sample = [(rows, rows.warm & rows.known)]
    for name in ("zero", "last_hour", "har", "har_hour", "har_rolling", "ridge"):
        made = BASELINES[name](sample)(rows)
        known = np.isfinite(made) & rows.known[:, None]
        assert known.any()
        if known[:, 0].any():
            level = np.median(made[known[:, 0], 0]) / np.median(rows.targets[known[:, 0], 0])
            assert 0.5 < level < 2.0, name


def refused(text: str, interval_ms: int = series.INTERVAL_MS) -> str:
    path = Path("my.toml")
    path.write_text(text)
    with pytest.raises((BadSettings, BadUsage)) as error:
        horizons_of(read_definition(path), series.candles(10, interval_ms=interval_ms))
    return str(error.value)


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        ("[10, 60]", "my.toml:3: targets.minutes: 10 is shorter than a bar of 15m; give multiples of 15"),
        ("[15, 100]", "my.toml:3: targets.minutes: 100 is no multiple of the bars of 15m"),
        ("[60, 60]", "must be two different horizons, the shorter first, from 1 to 10,080 minutes"),
        ("[240, 60]", "the shorter first"),
        ("[0, 60]", "were [0, 60]"),
        ("[60, 10095]", "(7 days), were [60, 10095]"),
        ("[60]", "must be two horizons such as [30, 240], were 1"),
        ("[15, 60, 240]", "were 3"),
        ('["1h", "4h"]', "my.toml:3: targets.minutes.0: Input should be a valid integer"),
    ],
)
def test_horizons_that_cannot_be_are_one_line_with_file_line_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(f"\n[targets]\nminutes = {minutes}")


def test_bars_longer_than_an_hour_are_trained_on_with_longer_horizons_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    four = 4 * HOUR_MS
    assert "with --definition ([targets] minutes)" in refused("half_lives = [8]", four)
    given = read_definition({"targets": {"minutes": [240, 1440]}})
    bars = series.candles(900, interval_ms=four)
    assert horizons_of(given, bars) == Horizons.of_minutes((240, 1440))
    assert horizons_of(None, series.candles(10)) == HOUR


def test_too_little_data_for_a_long_horizon_says_how_much_it_needs(tmp_path: Path) -> None:
    data = series.saved_candles(tmp_path, series.candles(900))
    with pytest.raises(bot.BotError, match="before it and 7 d after it; give at least"):
        bot.train(data, tmp_path / "model", definition={"targets": {"minutes": [15, 10_080]}})


def test_a_snapshot_and_the_journal_keep_every_column() -> None:
    own = (("rv_240m", 1e-4), ("rv_log_sd", 0.5), ("ret_15m", 0.1), ("ret_240m", 0.2))
    made = Forecast.of([nan, nan, 0.1, nan, nan, nan], own)
    record = msgspec.json.decode(msgspec.json.encode(_forecast_record(made)), type=ForecastRecord)
    assert _forecast(record).own == own
    assert _forecast(record)["rv_240m"] == 1e-4
    digests = {forecasts_digest({"BTCUSDT": each}) for each in (made, msgspec.structs.replace(made, own=()))}
    assert len(digests) == 2


async def test_a_killed_run_goes_on_with_its_forecasts_and_its_journal_replays(
    place: Path, tmp_path: Path
) -> None:
    bars = series.candles(BARS)
    each = zip(bars.start_ms.tolist(), bars.ohlcv.tolist(), strict=True)
    seen = [Bar("BTCUSDT", 15 * MINUTE_MS, start_ms, *row) for start_ms, row in each]
    closes = [BarsClosed(bar.close_ms, 15 * MINUTE_MS, (bar,), seen_ms=bar.close_ms) for bar in seen[:760]]
    plan = plan_on(
        tmp_path,
        strategy="tests.research.test_horizons:FourHours",
        model__path=place / "model",
        feed__interval="15m",
        feed__symbols=["BTCUSDT"],
        venue__fills="bars",
    )
    first = live(plan)
    first.see(closes[:740])
    first.kill()
    second = live(plan)
    assert second.standing.known
    second.see(closes[740:])
    shown = second.standing.engine.state.symbols["BTCUSDT"].view.forecast
    second.stop()
    table = forecast_table(checkpoint.load(place / "model"), bars.head(760), None, form="step")
    assert shown is not None
    assert [value for _, value in shown.own] == table[-1].tolist()
    assert {each.difference for each in journals.replay(journals.choose_journal(tmp_path, None))} == {None}
