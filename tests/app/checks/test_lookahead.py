"""``bot check lookahead``: every planted leak is found, and told with its bar, field and values."""

import json
from pathlib import Path

import numpy as np
import pytest

from bot.adapters.files.candles import Candles, Funding, read_candles, write_candles, write_funding
from bot.app.checks.copies import bent, copied, ended, read_sources
from bot.app.checks.running import cuts_for
from bot.app.checks.subjects import FunctionSubject, StrategySubject
from bot.app.context import Context
from bot.cli import main
from bot.strategy import SHIPPED
from tests.lab.market import candles, part

NAME = "bybit_linear_BTCUSDT_5m.parquet"
BARS = 300

STRATEGIES = '''
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import bot
from bot.strategy import Target

FILE = Path(__file__).parent / "{name}"
TABLE = pq.read_table(FILE).to_pydict()
CLOSES = dict(zip(TABLE["start_ms"], TABLE["close"]))
LAST_MS = {last_ms}


class Clean:
    """Long above the close of ten bars ago."""

    def __init__(self):
        self.closes = []

    def on_bar(self, view):
        self.closes.append(view.bar.close)
        rises = len(self.closes) > 10 and self.closes[-1] > self.closes[-11]
        return Target(view.worth(0.5) if rises else 0.0)


class ModuleData:
    """Looks the next close up in a table that its module has read."""

    def on_bar(self, view):
        later = CLOSES.get(view.bar.start_ms + view.bar.interval_ms, 0.0)
        return Target(view.worth(0.5) if later > view.bar.close else 0.0)


class Scaler:
    """Buys below the mean of the whole file, read in its constructor."""

    def __init__(self):
        self.mean = float(bot.read_candles(FILE).ohlcv[:, 3].mean())

    def on_bar(self, view):
        return Target(view.worth(0.5) if view.bar.close < self.mean else 0.0)


class Bytes:
    """Reads the file by another way: it ends early where the file does."""

    def __init__(self):
        self.size = len(FILE.read_bytes())

    def on_bar(self, view):
        return Target(0.0, reason=str(self.size))


class Rare:
    """Peeks at every 50th bar only."""

    def __init__(self):
        self.bars = 0

    def on_bar(self, view):
        self.bars += 1
        if self.bars % 50:
            return None
        later = CLOSES.get(view.bar.start_ms + 3 * view.bar.interval_ms, 0.0)
        return Target(view.worth(0.5) if later > view.bar.close else 0.0)


class Fails:
    """Cannot do without the bar that comes next."""

    def on_bar(self, view):
        if view.bar.start_ms == LAST_MS:
            return None
        return Target(view.worth(0.1) if CLOSES[view.bar.start_ms + view.bar.interval_ms] > 0 else 0.0)


class FailsWhenMade:
    """Wants the last bar of the file, known to be there."""

    def __init__(self):
        self.last = CLOSES[LAST_MS]

    def on_bar(self, view):
        return Target(0.0)


class ReadsThePast:
    """Opens the file, and uses no bar that is not closed."""

    def on_bar(self, view):
        before = CLOSES.get(view.bar.start_ms - view.bar.interval_ms, 0.0)
        return Target(view.worth(0.5) if view.bar.close > before else 0.0)


class Both:
    """Trades all symbols of a close, and peeks for one of them."""

    def on_close(self, view):
        later = CLOSES.get(view.close_ms, 0.0)
        btc = view.closed["BTCUSDT"]
        return {
            "BTCUSDT": Target(btc.worth(0.2) if later > btc.bar.close else 0.0),
            "ETHUSDT": Target(view.closed["ETHUSDT"].worth(0.1)),
        }


class Chance:
    def on_bar(self, view):
        return Target(view.worth(0.5) if random.random() > 0.5 else 0.0)


class Seeded:
    def __init__(self):
        self.rng = random.Random(7)

    def on_bar(self, view):
        return Target(view.worth(0.5) if self.rng.random() > 0.5 else 0.0)


class Leftover:
    seen = []

    def on_bar(self, view):
        self.seen.append(view.symbol)
        return Target(view.worth(0.5) if len(self.seen) % 7 > 3 else 0.0)
'''

FUNCTIONS = """
import numpy as np
import pandas as pd

import bot


def leaks(candles):
    table = candles.to_pandas()
    table.index = pd.to_datetime(table.start_ms, unit="ms")
    close = table.close
    returns = np.log(close).diff()
    spectrum = np.fft.rfft(close.to_numpy())
    spectrum[20:] = 0.0
    return pd.DataFrame({
        "negative_shift": close.pct_change().shift(-1),
        "centred_window": close.rolling(21, center=True).mean(),
        "scaler": (returns - returns.mean()) / returns.std(),
        "maximum": table.volume / table.volume.max(),
        "target": close.shift(-12) > close,
        "resampled": close.resample("1h").last().reindex(table.index, method="ffill"),
        "filled_back": close.where(np.arange(len(close)) % 3 != 0).bfill(),
        "spectrum": np.fft.irfft(spectrum, len(close)),
        "ranked": table.volume.rank(pct=True),
        "ema": close.ewm(span=50, adjust=False).mean(),
        "deviation": close.pct_change().rolling(48).std(),
        "hour": close.resample("1h", label="right").last().shift(1).reindex(table.index, method="ffill"),
    })


def clean(candles):
    return leaks(candles)[["ema", "deviation", "hour"]]


def shipped(candles):
    return bot.features(candles)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    market = candles(BARS)
    write_candles(NAME, market)
    own = STRATEGIES.replace("{name}", NAME).replace("{last_ms}", str(market.start_ms[-1]))
    Path("mine.py").write_text(own)
    Path("feats.py").write_text(FUNCTIONS)
    return tmp_path


def check(capsys: pytest.CaptureFixture[str], *words: str, what: str = "lookahead") -> tuple[int, dict]:
    code = main(["check", what, "--data", NAME, *words, "--json"])
    out = capsys.readouterr()
    assert out.out, out.err
    return code, json.loads(out.out)


@pytest.mark.parametrize("name", ["ModuleData", "Scaler", "Bytes", "Fails", "FailsWhenMade"])
def test_a_strategy_that_peeks_is_found(place: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, told = check(capsys, "--strategy", f"mine.py:{name}", "--cuts", "2")
    assert code == 1
    assert {each["kind"] for each in told["findings"]} == {"future"}
    assert any(NAME in note for note in told["notes"])


def test_what_a_leak_changed_is_told_with_its_close_field_and_values(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, told = check(capsys, "--strategy", "mine.py:ModuleData", "--cuts", "4")
    for finding in told["findings"]:
        changed = [each for each in finding["differences"] if each["field"] == "target.qty"]
        assert [each["ts_ms"] for each in changed] == [finding["cut_ms"]]  # it peeks one bar ahead
        assert {changed[0]["before"] == 0.0, changed[0]["after"] == 0.0} == {True, False}


def test_a_leak_that_acts_rarely_is_found_where_it_acts(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(capsys, "--strategy", "mine.py:Rare", "--cuts", "6")[0] == 1


def test_chance_without_a_seed_and_a_variable_that_outlives_a_run_are_told_as_such(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, kind in (("Chance", "chance"), ("Leftover", "leftover")):
        code, told = check(capsys, "--strategy", f"mine.py:{name}", "--cuts", "1")
        assert (code, [each["kind"] for each in told["findings"]]) == (1, [kind])


@pytest.mark.parametrize("name", ["mine.py:Clean", "mine.py:ReadsThePast", "mine.py:Seeded", "ema_cross"])
def test_a_clean_strategy_ends_with_0_and_says_that_this_is_no_proof(
    place: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, told = check(capsys, "--strategy", name, "--cuts", "2")
    assert (code, told["findings"], len(told["cuts_ms"])) == (0, [], 2)
    assert "no proof" in told["words"]


def test_every_feature_that_peeks_is_found_and_no_other(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = check(capsys, "--features", "feats.py:leaks", "--cuts", "8")
    assert code == 1
    found = {field for finding in told["findings"] for field in finding["counts"]}
    leaks = ("negative_shift", "centred_window", "scaler", "maximum", "target", "resampled", "filled_back")
    assert found == {*leaks, "spectrum", "ranked"}


@pytest.mark.parametrize("name", ["clean", "shipped"])
def test_features_of_the_past_are_clean(place: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert check(capsys, "--features", f"feats.py:{name}", "--cuts", "2")[0] == 0


def test_a_reader_that_cannot_be_diverted_is_told(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("native.py").write_text(
        "import ctypes\nfrom bot.strategy import Target\n\n\nclass Native:\n"
        "    def on_bar(self, view):\n"
        f"        handle = ctypes.CDLL(None).open({str(place / NAME).encode()!r}, 0)\n"
        "        ctypes.CDLL(None).close(handle)\n        return Target(0.0)\n"
    )
    code, told = check(capsys, "--strategy", "native.py:Native", "--cuts", "1")
    assert (code, [each["kind"] for each in told["findings"]]) == (1, ["unseen_read"])


def test_a_table_for_people_says_what_was_and_what_is(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "lookahead", "--data", NAME, "--features", "feats.py:leaks", "--cuts", "2"]) == 1
    out = capsys.readouterr()
    assert "close (UTC)" in out.out
    assert "before" in out.out
    assert out.err.startswith("error: feats.py:leaks:")


def test_a_function_that_has_not_one_row_a_bar_is_a_usage_error(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("short.py").write_text("def rows(candles):\n    return candles.ohlcv[5:, 3]\n")
    assert main(["check", "lookahead", "--data", NAME, "--features", "short.py:rows"]) == 2
    assert "295 rows for 300 bars" in capsys.readouterr().err


def test_another_future_leaves_the_past_and_changes_all_that_follows(place: Path) -> None:
    write_funding(
        "bybit_linear_BTCUSDT_funding.parquet",
        Funding("BTCUSDT", candles(BARS).start_ms[::96], np.full(4, 0.0001)),
    )
    (source,) = read_sources([Path(NAME)], BARS)
    whole = source.candles
    cut_ms = int(whole.start_ms[150])
    for up in (True, False):
        with copied([source], bent(cut_ms, up=up, seed=0)) as files:
            other = read_candles(files.data[0])
        assert len(other) == BARS
        np.testing.assert_array_equal(other.ohlcv[:150], whole.ohlcv[:150])
        assert (np.abs(np.log(other.ohlcv[150:, :4] / whole.ohlcv[150:, :4])) > 0.9).all()
    with copied([source], ended(cut_ms)) as files:
        assert len(read_candles(files.data[0])) == 150
        assert len(files.replaced) == 2


def test_data_in_a_module_beside_the_strategy_is_read_anew(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("prices_of_mine.py").write_text(
        f"import bot\n\nLAST = float(bot.read_candles({str(place / NAME)!r}).ohlcv[-1, 3])\n"
    )
    Path("beside.py").write_text(
        "import prices_of_mine\nfrom bot.strategy import Target\n\n\nclass Mine:\n"
        "    def on_bar(self, view):\n"
        "        return Target(0.01 if view.bar.close < prices_of_mine.LAST else 0.0)\n"
    )
    for name in ("beside.py:Mine", "beside:Mine"):
        assert check(capsys, "--strategy", name, "--cuts", "1")[0] == 1


def test_files_of_one_symbol_that_share_bars_are_one_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = candles(BARS)
    files = [f"bybit_linear_BTCUSDT_5m_{name}.parquet" for name in ("first", "second")]
    write_candles(files[0], part(whole, 0, 160))
    write_candles(files[1], part(whole, 150, BARS))
    Path("feats.py").write_text(FUNCTIONS)
    Path("mine.py").write_text(
        "from bot.strategy import Target\n\n\nclass Mine:\n    def on_bar(self, view):\n"
        "        return Target(0.01 if view.bar.close > view.bar.open else 0.0)\n"
    )
    for words, code in ((("--features", "feats.py:leaks"), 1), (("--features", "feats.py:clean"), 0),
                        (("--strategy", "mine.py:Mine"), 0)):  # fmt: skip
        given = ["--data", files[0], "--data", files[1], *words, "--cuts", "4", "--json"]
        assert main(["check", "lookahead", *given]) == code
        assert json.loads(capsys.readouterr().out)["bars"] == BARS


def test_what_cannot_run_at_all_keeps_its_error(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "lookahead", "--data", NAME, "--strategy", "mine.py:Clean", "--param", "bras=3"]
    assert main(words) == 2
    assert "has no parameter bras" in capsys.readouterr().err


def test_a_strategy_of_all_symbols_that_peeks_for_one_is_found_for_that_one(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other: Candles = candles(BARS, "ETHUSDT", seed=2)
    write_candles("bybit_linear_ETHUSDT_5m.parquet", other)
    words = ["--strategy", "mine.py:Both", "--cuts", "2", "--data", "bybit_linear_ETHUSDT_5m.parquet"]
    code, told = check(capsys, *words)
    assert code == 1
    assert {each["symbol"] for finding in told["findings"] for each in finding["differences"]} == {"BTCUSDT"}


def test_more_closes_are_tried_where_a_run_costs_little() -> None:
    subjects = (FunctionSubject("mine.py:rows"), *(StrategySubject(Context(), name) for name in SHIPPED))
    assert {subject.name: cuts_for(subject) for subject in subjects} == {
        "mine.py:rows": 40,
        **{name: 6 if getattr(cls, "needs_forecast", False) else 16 for name, cls in SHIPPED.items()},
    }
