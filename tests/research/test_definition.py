"""A definition of the user's own: what it may say, and a model that is trained, read and run with it."""

import inspect
import json
import re
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest

import bot
from bot.adapters.model import checkpoint
from bot.app.models.training import feature_set_of
from bot.app.topics import written
from bot.cli import main
from bot.domain.errors import BadInput, BadModel, BadSettings, BadUsage
from bot.features import expression, matrix, ops
from bot.features.definition import Definition, own_set
from bot.features.indicators import (
    adx,
    atr,
    bbands,
    close,
    high,
    highest,
    lag,
    macd,
    past,
    rsi,
    sma,
    volume,
)
from bot.features.ops import Op
from bot.features.spec import NEWEST, build, default
from bot.features.stream import FeatureStream
from bot.features.writing import write
from bot.settings.definition import read_definition
from tests.research import series
from tests.research.test_commands import TINY

FIVE = 300_000
GIVEN = """\
half_lives = [8, 32]

[features]
keep = ["har_*", "hour_*", "ret_?"]
drop = ["har_1w"]

[features.add]
rsi_7 = "rsi(close, 7) / 50 - 1"
gap = "log(close / ema(close, 48))"
"""
NO_LIVES = [each for each in TINY if each not in ("--half-lives", "8,32")]


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(BadSettings) as error:
        feature_set_of(read_definition(path), FIVE)
    return str(error.value).removeprefix(f"{path}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("definition")
    data = series.saved_candles(place, series.candles(3000))
    (place / "my.toml").write_text(GIVEN)
    words = ["train", "--data", str(data), "--out", str(place / "model"), *NO_LIVES]
    assert main([*words, "--definition", str(place / "my.toml")]) == 0
    data.rename(place / "bybit_linear_BTCUSDT_15m.parquet")
    return place


def test_a_model_is_trained_on_the_features_of_its_definition_and_its_manifest_records_them(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = checkpoint.load(place / "model")
    names = model.feature_set.names
    assert names[:6] == ("ret_1", "ret_3", "ret_6", "har_15m", "har_1h", "har_4h")
    assert names[-2:] == ("rsi_7", "gap")
    assert "har_1w" not in names
    assert model.config.n_in == len(names)
    assert model.config.half_lives == (8.0, 32.0)
    assert set(model.config.skip_vol) & set(model.config.skip_ret) == {
        names.index("rsi_7"),
        names.index("gap"),
    }
    manifest = json.loads((place / "model" / "manifest.json").read_text("utf-8"))
    assert manifest["features"]["definition"]["add"]["rsi_7"] == "rsi(close, 7) / 50 - 1"
    assert main(["model", "show", str(place / "model"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["definition"] == manifest["features"]["definition"]


def test_it_predicts_in_two_equal_forms_is_judged_and_trades(place: Path) -> None:
    data = place / "bybit_linear_BTCUSDT_15m.parquet"
    model = bot.load_model(place / "model")
    bulk, step = (model.predict(data, form=form) for form in ("bulk", "step"))  # type: ignore[arg-type]
    one, two = (table["rv_60m"].to_numpy()[model.warmup_bars - 1 :] for table in (bulk, step))
    np.testing.assert_allclose(one, two, rtol=1e-5)
    skill = bot.evaluate(data, model).numbers["files"][0]["qlike_rv_60m"]
    assert np.isfinite(skill["value"])
    given = {"params": {"base": "constant"}, "model": model, "instrument": "exact"}
    streamed, computed = (
        bot.backtest(data, "vol_target", form=form, **given)  # type: ignore[arg-type]
        for form in ("step", "bulk")
    )
    assert streamed.fills.num_rows == computed.fills.num_rows > 0
    assert streamed.metrics["total_return"] == pytest.approx(computed.metrics["total_return"], rel=1e-3)


def test_from_python_a_dict_says_the_same(place: Path, tmp_path: Path) -> None:
    features = {
        "keep": ["har_*", "hour_*", "ret_?"],
        "drop": ["har_1w"],
        "add": {"rsi_7": "rsi(close, 7) / 50 - 1", "gap": "log(close / ema(close, 48))"},
    }
    given = feature_set_of(read_definition({"features": features}), series.INTERVAL_MS)
    assert given.hash == checkpoint.load(place / "model").feature_set.hash
    with pytest.raises(
        BadSettings, match=r"definition: features.kep: no such key; did you mean features.keep"
    ):
        bot.train(series.candles(50), tmp_path / "no", definition={"features": {"kep": []}})
    with pytest.raises(BadUsage, match="the definition has half_lives"):
        bot.train(series.candles(50), tmp_path / "no", half_lives=(3.0,), definition={"half_lives": [8.0]})


def test_a_manifest_with_another_formula_is_refused(place: Path, tmp_path: Path) -> None:
    model = checkpoint.load(place / "model")
    given = model.manifest.features
    assert given.definition is not None
    for add, words in (
        ({"rsi_7": "rsi(close, 8)"}, "defined differently"),
        ({"x": "emma(close)"}, "did you mean"),
    ):
        other = msgspec.structs.replace(given, definition={**given.definition, "add": add})
        with pytest.raises((BadModel, bot.BotError), match=words):
            checkpoint.save(
                tmp_path / "x", msgspec.structs.replace(model.manifest, features=other), model.weights
            )


def test_the_default_set_is_unchanged_by_an_empty_definition() -> None:
    given = default(FIVE)
    assert own_set(Definition(base=NEWEST), FIVE).columns == given.columns
    assert given.skips == (given.volatilities + given.hours + given.workdays, given.lags)


def test_a_definition_that_does_not_name_its_set_has_the_columns_of_the_first() -> None:
    """Manifests from before there was a second set."""
    assert own_set(Definition(), FIVE).columns == build("default-v1", FIVE).columns
    with pytest.raises(BadInput, match="no feature set is named 'default-v9'"):
        own_set(Definition(base="default-v9"), FIVE)


def test_a_definition_may_name_an_older_set() -> None:
    named = {"base": "default-v1"}
    assert feature_set_of(read_definition({"features": named}), FIVE) == build("default-v1", FIVE)
    own = feature_set_of(read_definition({"features": {**named, "drop": ["week_*"]}}), FIVE)
    assert own == own_set(Definition(drop=("week_*",)), FIVE)
    newest = feature_set_of(read_definition({"features": {"drop": ["week_*"]}}), FIVE)
    assert newest == own_set(Definition(drop=("week_*",), base=NEWEST), FIVE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n[features]\nbase = 'default-v9'", ":3: features.base: there is no set 'default-v9'; there are"),
        ("half_live = [1]", ":1: half_live: no such key; did you mean half_lives?"),
        ("\n[features]\nkeeps = []", ":3: features.keeps: no such key; did you mean features.keep?"),
        (
            '[features]\nkeep = ["rsi_41"]',
            ":2: features.keep: the default set has no column 'rsi_41'; did you",
        ),
        ("[features]\ndrop = ['*']", "features: 0 columns are left"),
        ("half_lives = [-1]", ":1: half_lives.0: Input should be greater than 0"),
        ("x = ]", ": is no TOML file: Invalid value (at line 1"),
        (
            "[targets]\nrv = 1",
            ":2: targets.rv: the targets are returns over two horizons",
        ),
        (
            "[features.add]\nb = 'close'\na = 'emma(close)'",
            ":3: features.add.a: emma() is not known; did you mean",
        ),
        ("[features.add]\nb = 'close'\na = 'close'", ":3: features.add.a: is the same column as b"),
        (
            "[features.add]\nret_1 = 'close'",
            ":2: features.add.ret_1: the default set has a column of this name",
        ),
        ("[features.add]\n'A b' = 'close'", ":2: features.add.A b: a name has small letters"),
        ("[features.add]\na = 3", ":2: features.add.a: Input should be a valid string"),
    ],
)
def test_a_definition_that_names_what_there_is_not_is_one_line_with_line_and_key(
    tmp_path: Path, text: str, words: str
) -> None:
    assert words in refused(tmp_path, text)


def test_a_definition_in_python_takes_tuples() -> None:
    given = read_definition({"targets": {"minutes": (30, 240)}, "features": {"drop": ("week_*",)}})
    assert (given.keys.targets.minutes, given.keys.features.drop) == ([30, 240], ["week_*"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bbands(close, 20)", "is 3 indicators; choose one: .upper or .middle or .lower"),
        ("ema(close, 2.5)", "ema: n is a whole number of bars, 1 or more, was 2.5"),
        ("sma(3, 5)", "sma: x is an indicator such as close, was 3"),
        ("lag(close, m=2)", "lag(x, n): got an unexpected keyword argument 'm'"),
        ("__import__('os').system('x')", "only numbers, + - * /, inputs and functions are read"),
        ("close.__class__", "only numbers"),
        ("sma(close, 999999999)", "at most 100,000 are kept"),
        ("lag(lag(close, 99999), 99999)", "at most 100,000 are kept"),
        ("1 / 0", "division by zero"),
        ("3 + 4", "reads no bar"),
        ("close if close else 1", "only numbers"),
        ("(" * 4001, "4,001 characters, at most 4,000"),
        ("(" * 400, "is no formula"),
        ("-" * 400 + "close", "more than 40 levels"),
        ("1e999 * close", "only numbers"),
        ("ema", "ema is a function; write ema(...)"),
    ],
)
def test_a_formula_that_cannot_be_read_says_why(text: str, words: str) -> None:
    with pytest.raises(bot.BotError) as error:
        expression.parse(text)
    assert words in str(error.value)


def test_each_function_is_the_same_for_a_history_and_for_a_stream() -> None:
    formulas = {
        "log": "log(close / open)",
        "sqrt": "sqrt(volume)",
        "clip": "clip(close, 90, 110)",
        "largest": "largest(close, open)",
        "smallest": "smallest(close, open)",
        "macd": "macd(close).histogram",
        "bbands": "bbands(close).upper",
        **dict.fromkeys(("adx", "atr", "dx", "minus_di", "natr", "plus_di", "trange", "willr"), ""),
    }
    added = {
        f"x_{name}": formulas.get(name, f"{name}(close, 3)") or f"{name}()" for name in expression.FUNCTIONS
    }
    chosen = own_set(Definition(("ret_1",), (), {**added, "paid": "funding * 1e4"}), FIVE)
    bars = series.candles(chosen.warmup + 50, interval_ms=FIVE)
    known = np.zeros(len(bars))
    rows = matrix.compute_at(chosen, bars.start_ms, bars.ohlcv, known)
    stream = FeatureStream(chosen, 1).replay(0, bars.ohlcv, bars.start_ms, known)
    assert np.isfinite(rows[chosen.warmup - 1 :]).all()
    np.testing.assert_allclose(rows, stream, rtol=1e-9, atol=1e-9)


def test_the_definition_of_the_help_can_be_read() -> None:
    (block,) = [each.code for each in written.page("own-models").sections if each.code]
    names = feature_set_of(read_definition(tomllib.loads(block)), FIVE).names
    assert names[-2:] == ("rsi_7", "gap")


def squared(times: int) -> Op:
    found: Op = close
    for _ in range(times):
        found = found * found
    return found


def deep(levels: int) -> Op:
    found: Op = close
    for _ in range(levels):
        found = found + 1.0
    return found


OBJECTS = {
    "rsi": rsi(close, 7) / 50 - 1,
    "gap": close / sma(close, 48) - 1,
    "flipped": 2.0 - 3.0 * high,
    "adx": adx(14),
    "bands": bbands(close, 20).upper,
    "macd": macd(close).line,
    "range": atr(14) / close,
    "best": highest(volume, 9),
    "paid": expression.INPUTS["funding"],
}


def test_from_python_an_indicator_may_be_an_object_and_is_recorded_as_a_text_that_is_equal_to_it() -> None:
    given = read_definition({"features": {"keep": ["ret_1"], "add": OBJECTS}})
    features = feature_set_of(given, FIVE)
    assert dict(features.columns) | OBJECTS == dict(features.columns)
    assert features.definition is not None
    texts = features.definition["add"]
    assert texts["gap"] == "((close / (Sum(close, 48) * 0.020833333333333332)) + -1.0)"
    again = feature_set_of(read_definition({"features": {"keep": ["ret_1"], "add": texts}}), FIVE)
    assert again.hash == features.hash


@pytest.mark.parametrize("name", sorted({*expression.FUNCTIONS} - {"clip"}))
def test_every_indicator_is_written_as_a_text_that_is_equal_to_it(name: str) -> None:
    function = expression.FUNCTIONS[name]
    takes = inspect.signature(function, eval_str=True).parameters.values()
    given = [close if each.annotation is Op else 9 for each in takes if each.default is each.empty]
    made = function(*given)
    for one in made if isinstance(made, tuple) else (made,):
        assert expression.parse(write(one)) == one


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (past(np.median, 20), "gap: is a function of your own, and a manifest holds no code; build it of"),
        (lambda closes: closes[-1], "gap: is a function of your own"),
        (macd(close), "gap: is 3 indicators; choose one: ."),
        (7, "gap: is 7; give an indicator such as"),
        (ops.NewYork(ops.CLOSE_MS), "gap: cannot be written as text"),
        (close * float("inf"), "gap: cannot be written as text"),
        (lag(ops.Input("other_close")), "gap: cannot be written as text"),
        (squared(40), "gap: has more than 500 operations, or 40 inside each other; add its parts"),
        (deep(3_000), "gap: has more than 500 operations, or 40"),
        (sma(close, 200_000), "needs 200,000 bars, at most"),
    ],
)
def test_what_a_manifest_cannot_hold_is_one_line_that_says_what_to_do(given: object, words: str) -> None:
    with pytest.raises(BadSettings, match=re.escape(words)) as error:
        read_definition({"features": {"add": {"gap": given}}})
    assert str(error.value).startswith("definition: features.add.gap: ")
    assert "\n" not in str(error.value)
