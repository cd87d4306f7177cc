import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bot.adapters.model import checkpoint
from bot.cli import main
from bot.domain.market import INTERVALS_MS
from bot.features.bridge import Bridge
from tests.research import series

TINY = [
    "--epochs", "2", "--lanes", "2", "--window", "64", "--d-model", "8", "--layers", "1", "--features", "8",
    "--half-lives", "8,32", "--lr", "0.003",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("commands")
    for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        series.saved_candles(place, series.candles(3000, seed, symbol=symbol))
    return place


@pytest.fixture(scope="module")
def files(place):
    return sorted(str(path) for path in place.glob("*.parquet"))


@pytest.fixture(scope="module")
def model(place, files):
    assert main(["train", "--data", *files, "--out", str(place / "model"), *TINY]) == 0
    return place / "model"


def test_train_writes_a_model_of_all_files_and_prints_its_skill(model, place, files, capsys):
    loaded = checkpoint.load(model)
    assert loaded.manifest.symbols == ["BTCUSDT", "ETHUSDT"]
    assert [one.file for one in loaded.manifest.files] == [path.split("/")[-1] for path in files]
    again = ["train", "--data", files[0], "--data", files[1], "--out", str(place / "again"), *TINY, "--json"]
    assert main(again) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["hash"] == loaded.hash
    assert "validate" in told.err
    assert "tokens/s" in told.err
    assert "\x1b" not in told.err


def test_a_training_that_adds_nothing_to_the_linear_model_says_so(place, files, capsys):
    words = ["train", "--data", *files, "--out", str(place / "linear"), *TINY, "--lr", "1e-12"]
    assert main(words) == 0
    assert "note: no epoch was better" in capsys.readouterr().out


def test_a_refitted_model_has_seen_every_bar_and_shows_the_figures_of_its_twin(model, place, files, capsys):
    out, judged = place / "fresh", place / "fresh-judged"
    words = ["train", "--data", *files, "--out", str(out), *TINY, "--refit"]
    assert main(words) == 0
    refitted, twin = checkpoint.load(out), checkpoint.load(judged)
    assert twin.hash == checkpoint.load(model).hash != refitted.hash
    assert twin.manifest.twin is None
    assert refitted.trained_to_ms == refitted.manifest.validated_to_ms == twin.manifest.validated_to_ms
    assert refitted.manifest.skill == twin.manifest.skill
    assert refitted.manifest.twin.hash == twin.hash
    assert refitted.judged_from_ms == twin.trained_to_ms < refitted.trained_to_ms
    assert main(["model", "show", str(out)]) == 0
    said = f"figures are of     hash {twin.hash[:12]}, trained to {twin.manifest.trained_to} in the same way"
    assert said in capsys.readouterr().out
    out.rename(place / "elsewhere")  # its twin alone is kept too
    assert main(words) == 2
    assert "fresh-judged: a model is there already" in capsys.readouterr().err


def test_a_run_that_fails_writes_nothing_and_exits_1(place, files, tmp_path, capsys):
    noise = series.saved_candles(tmp_path, series.candles(3000, 7, moving=False))
    out = tmp_path / "model"
    assert main(["train", "--data", str(noise), "--out", str(out), *TINY]) == 1
    assert "learned nothing" in capsys.readouterr().err
    assert main(["train", "--data", *files, "--out", str(out), *TINY, "--lr", "1e12"]) == 1
    assert "diverged" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [noise.name]


def test_bad_options_are_usage_errors(files, tmp_path, capsys):
    out = ["--out", str(tmp_path / "model")]
    for options in (["--cut", "2031-01-01"], ["--cut", "soon"], ["--half-lives", "long"], ["--epochs", "0"]):
        assert main(["train", "--data", *files, *out, *options]) == 2
        assert capsys.readouterr().err.count("\n") <= 4


def test_predict_writes_a_row_a_bar_in_two_equal_forms(model, files, tmp_path):
    tables = []
    for form in ("bulk", "step"):
        out = tmp_path / f"{form}.parquet"
        assert (
            main(["predict", "--model", str(model), "--data", files[0], "--out", str(out), "--form", form])
            == 0
        )
        tables.append(pq.read_table(out))
    bulk = tables[0]
    assert bulk.column_names[:2] == ["start_ms", "rv_60m"]
    assert {"ret_15m", "ret_60m", "rv_log_sd"} <= set(bulk.column_names)
    assert bulk.num_rows == 3000
    cold = checkpoint.load(model).warmup_bars - 1
    assert bulk["rv_60m"].null_count == cold
    for name in ("rv_60m", "ret_15m", "ret_60m"):
        one, other = (table[name].to_numpy()[cold:] for table in tables)
        scale = np.abs(one) if name == "rv_60m" else bulk[f"{name}_scale"].to_numpy()[cold:]
        assert (np.abs(one - other) / scale).max() <= 2e-6


def test_predict_does_not_write_over_its_candles(model, files, capsys):
    before = Path(files[0]).read_bytes()
    assert main(["predict", "--model", str(model), "--data", files[0], "--out", files[0]]) == 2
    assert "is the candle file itself" in capsys.readouterr().err
    assert Path(files[0]).read_bytes() == before


def test_train_replaces_nothing_but_a_model_and_says_so_before_the_work(files, tmp_path, capsys):
    (tmp_path / "candles").mkdir()
    (tmp_path / "candles/mine.csv").write_text("precious")
    for out in (tmp_path / "candles", tmp_path / "candles/mine.csv", tmp_path / "candles/mine.csv/model"):
        assert main(["train", "--data", *files, "--out", str(out), *TINY]) == 2
        told = capsys.readouterr().err
        assert str(out) in told
        assert "epoch" not in told
    assert (tmp_path / "candles/mine.csv").read_text() == "precious"


def test_evaluate_refuses_bars_of_another_interval(model, tmp_path, capsys):
    hourly = series.saved_candles(tmp_path, series.candles(50, interval_ms=3_600_000), "1h")
    assert main(["evaluate", "--model", str(model), "--data", str(hourly)]) == 5
    assert "bars of 1h, but the model needs 15m" in capsys.readouterr().err


def test_predict_refuses_bars_of_another_interval(model, tmp_path, capsys):
    hourly = series.saved_candles(tmp_path, series.candles(50, interval_ms=3_600_000), "1h")
    out = tmp_path / "out.parquet"
    assert main(["predict", "--model", str(model), "--data", str(hourly), "--out", str(out)]) == 5
    assert "trained on 15m" in capsys.readouterr().err
    assert not out.exists()


def test_evaluate_reports_model_and_baselines_with_intervals(model, files, capsys):
    assert main(["evaluate", "--model", str(model), "--data", *files, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["symbol"] for one in told["files"]] == ["BTCUSDT", "ETHUSDT"]
    one = told["files"][0]
    assert one["interval"] == "15m"
    assert set(one["qlike_rv_60m"]) == {"value", "low", "high"}
    baselines = {"zero", "last_hour", "har", "har_hour", "har_rolling", "ridge", "mean_reversion", "lightgbm"}
    assert set(one["baselines"]) | set(told["skipped_baselines"]) == baselines
    assert one["start_ms"] >= checkpoint.load(model).trained_to_ms - series.INTERVAL_MS
    assert not told["in_sample"]


def test_evaluate_scores_what_the_models_bridge_allows(model, tmp_path, capsys):
    bridged = tmp_path / "model"
    shutil.copytree(model, bridged)
    loaded = checkpoint.load(bridged)
    checkpoint.rewrite_manifest(bridged, loaded.with_bridge(Bridge((0, 2, 2)), {}).manifest)
    whole = series.candles(3000, 0)
    rows = []
    for place, candles in (("whole", whole), ("holed", series.without(whole, 2900, 2903))):
        (tmp_path / place).mkdir()
        path = series.saved_candles(tmp_path / place, candles)
        assert main(["evaluate", "--model", str(bridged), "--data", str(path), "--json"]) == 0
        rows.append(json.loads(capsys.readouterr().out)["files"][0]["rows"])
    unknown = series.HOUR_MS // series.INTERVAL_MS  # rows whose next hour has the hole in it
    assert rows[1] == rows[0] - 3 - 2 - unknown


def test_evaluate_prints_a_table_and_says_what_is_in_sample(model, files, capsys):
    assert main(["evaluate", "--model", str(model), "--data", files[0], "--start", "2025-01-01"]) == 0
    told = capsys.readouterr().out
    assert "har_hour" in told
    assert "in-sample" in told


def test_evaluate_writes_a_page_of_tests_risk_and_alarms(model, files, tmp_path, capsys):
    page = tmp_path / "new" / "page.html"
    begun = ["evaluate", "--model", str(model), "--data", files[0], "--start", "2025-01-01"]
    assert main([*begun, "--report", str(page), "--json"]) == 0
    one = json.loads(capsys.readouterr().out)["files"][0]
    assert set(one["diebold_mariano"]) >= {"zero", "last_hour", "har", "har_hour", "har_rolling"}
    assert set(one["vol_target"]) == {"model", *one["diebold_mariano"]}
    assert set(one["bands"]) == {"50", "80", "95"}
    assert set(one["var"]) == set(one["var_fixed"])
    assert one["leak_alarm"][0].endswith("the figures are in-sample; score later bars")
    html = page.read_text(encoding="utf-8")
    assert "Leak alarm, BTCUSDT: " in html
    assert html.count("<figure>") == 2  # PIT and calibration
    for words in (
        "Diebold-Mariano",
        "Kupiec p",
        "Christoffersen p",
        "har_rolling",
        "Held if quantiles",
        "dealt out at random",
    ):
        assert words in html


def test_evaluate_says_where_a_page_cannot_go(model, files, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    page = str(tmp_path / "file" / "page.html")
    assert main(["evaluate", "--model", str(model), "--data", files[0], "--report", page]) == 2
    assert f"--report {page}: cannot be written" in capsys.readouterr().err


def test_evaluate_says_why_a_file_has_nothing_to_judge(model, tmp_path, capsys):
    path = str(series.saved_candles(tmp_path, series.candles(1_500)))
    assert main(["evaluate", "--model", str(model), "--data", path]) == 5
    told = capsys.readouterr().err
    assert f"{path}: 0 rows to score" in told
    assert "its bars lie before the model's trained_to" in told


def test_an_altered_model_is_refused_by_every_command(model, files, tmp_path, capsys):
    broken = tmp_path / "model"
    broken.mkdir()
    for path in model.iterdir():
        (broken / path.name).write_bytes(path.read_bytes()[:-3])
    out = str(tmp_path / "out.parquet")
    for command in (["predict", "--data", files[0], "--out", out], ["evaluate", "--data", files[0]]):
        assert main([*command, "--model", str(broken)]) == 5
        assert str(broken) in capsys.readouterr().err


def test_an_interrupt_exits_130_and_leaves_no_half_model(files, tmp_path):
    command = [
        sys.executable,
        "-m",
        "bot",
        "train",
        "--data",
        *files,
        "--out",
        str(tmp_path / "model"),
        *TINY,
    ]
    with subprocess.Popen([*command, "--epochs", "100000"], stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("epoch 1/100000"):
                break
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


# Too little data, a model in the way, bars that are too long


def short(place, bars, **changes):
    return str(series.saved_candles(place, series.candles(bars, **changes)))


@pytest.mark.parametrize("missing", [1, 200])
def test_predict_on_too_few_bars_says_how_many_are_needed_and_writes_nothing(
    model, tmp_path, capsys, missing
):
    need = checkpoint.load(model).warmup_bars
    out = tmp_path / "out.parquet"
    words = ["predict", "--model", str(model), "--out", str(out)]
    assert main([*words, "--data", short(tmp_path, need - missing)]) == 5
    told = capsys.readouterr().err
    assert f"{need - missing:,} unbroken bars of 15m" in told
    assert f"needs {need:,} (" in told
    assert f"give at least {missing:,} more" in told
    assert not out.exists()
    assert main([*words, "--data", short(tmp_path, need)]) == 0
    assert pq.read_table(out)["rv_60m"].null_count == need - 1


def test_holes_break_what_would_be_enough(model, tmp_path, capsys):
    need = checkpoint.load(model).warmup_bars
    holed = series.without(series.candles(2 * need - 10), need - 5, need)
    path = str(series.saved_candles(tmp_path, holed))
    assert main(["predict", "--model", str(model), "--data", path, "--out", str(tmp_path / "o.csv")]) == 5
    assert f"needs {need:,} (" in capsys.readouterr().err


@pytest.mark.parametrize("end", [[], ["--start", "2030-01-01"]])
def test_evaluate_without_two_days_of_rows_says_how_much_is_needed(model, tmp_path, capsys, end):
    need = checkpoint.load(model).warmup_bars
    assert main(["evaluate", "--model", str(model), "--data", short(tmp_path, need + 20), *end]) == 5
    out, told = capsys.readouterr()
    assert not out
    assert "it needs 2 days" in told
    assert f"{need:,} unbroken bars" in told
    assert len(told.splitlines()) == 1


def test_a_backtest_without_one_forecast_is_an_error_that_says_how_much_is_needed(model, tmp_path, capsys):
    need = checkpoint.load(model).warmup_bars
    words = ["backtest", "--model", str(model), "--strategy", "vol_target", "--json"]
    assert main([*words, "--data", short(tmp_path, need - 3)]) == 5
    assert "give at least 3 more" in capsys.readouterr().err
    assert main([*words, "--data", short(tmp_path, need + 100)]) == 0
    cold = json.loads(capsys.readouterr().out)  # warm, but vol_target follows the trend of 960 bars
    assert any("vol_target was warming up in every bar" in line for line in cold["warnings"])
    both = [short(tmp_path, need - 3), short(tmp_path, need + 100, symbol="ETHUSDT")]
    assert main([*words, "--data", *both]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert any("give at least 3 more; BTCUSDT is not traded" in line for line in warnings)


def test_a_backtest_that_starts_behind_a_hole_needs_the_bars_behind_it(model, tmp_path, capsys):
    need = checkpoint.load(model).warmup_bars
    holed = series.without(series.candles(need + 400), need + 100, need + 120)
    path = str(series.saved_candles(tmp_path, holed))
    words = ["backtest", "--model", str(model), "--strategy", "performer", "--data", path, "--json"]
    assert main(words) == 0
    start = np.datetime64(series.T0 + (need + 130) * series.INTERVAL_MS, "ms").astype("datetime64[m]")
    capsys.readouterr()
    assert main([*words, "--start", str(start)]) == 5
    assert "280 unbroken bars of 15m" in capsys.readouterr().err


def test_train_on_too_few_bars_says_how_much_is_needed(tmp_path, capsys):
    out = tmp_path / "model"
    assert main(["train", "--data", short(tmp_path, 900), "--out", str(out), *TINY]) == 5
    told = capsys.readouterr().err
    assert "no rows to" in told
    assert "give at least" in told
    assert not out.exists()


def test_train_replaces_a_model_only_by_force(model, files, tmp_path, capsys):
    out = tmp_path / "model"
    shutil.copytree(model, out)
    before = checkpoint.load(out).hash
    words = ["train", "--data", *files, "--out", str(out), *TINY, "--seed", "5"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "--force" in told
    assert "epoch" not in told
    assert checkpoint.load(out).hash == before
    assert main([*words, "--force"]) == 0
    assert checkpoint.load(out).hash != before


@pytest.mark.parametrize("interval", ["30m", "1h", "4h"])
def test_train_refuses_bars_longer_than_a_horizon(tmp_path, capsys, interval):
    bars = series.candles(50, interval_ms=INTERVALS_MS[interval])
    path = series.saved_candles(tmp_path, bars, interval)
    assert main(["train", "--data", str(path), "--out", str(tmp_path / "model"), *TINY]) == 2
    assert f"bars of {interval} are longer than the horizon of ret_15m (15m)" in capsys.readouterr().err


def test_train_joins_shorter_bars_and_takes_horizons_in_one_command(files, place, capsys):
    out = place / "hours"
    words = ["train", "--data", files[0], "--out", str(out), *TINY, "--interval", "30m"]
    assert main(words) == 2
    assert "--horizons" in capsys.readouterr().err
    assert main([*words, "--horizons", "60,240"]) == 0
    loaded = checkpoint.load(out)
    assert loaded.interval_ms == INTERVALS_MS["30m"]
    assert loaded.horizons.minutes == (60, 240)
    assert loaded.manifest.files[0].bars == 1500


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("four,day", "--horizons four,day: write two numbers of minutes"),
        ("60", "were 1"),
        ("60,100", "no multiple"),
    ],
)
def test_horizons_that_cannot_be_are_refused(given, words, files, place, capsys):
    assert main(["train", "--data", files[0], "--out", str(place / "no"), "--horizons", given]) != 0
    assert words in capsys.readouterr().err


def test_horizons_stand_in_one_place(files, place, capsys):
    path = place / "two.toml"
    path.write_text("half_lives = [8]\n[targets]\nminutes = [15, 60]\n")
    words = ["train", "--data", files[0], "--out", str(place / "no"), "--definition", str(path)]
    assert main([*words, "--horizons", "60,240"]) == 2
    assert "keep one of them" in capsys.readouterr().err
