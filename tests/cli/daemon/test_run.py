"""``bot run`` and ``bot backtest`` as programs: what they print, where, and the code they end with."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bot.adapters.files.candles import Candles, Funding, write_candles, write_funding
from bot.cli import main
from tests.helpers import T0

FIVE_MS = 300_000
REPLAY = ["run", "--feed", "replay", "--speed", "1e9", "--strategy", "buy_and_hold"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory: no settings of anybody."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def candle_file(
    place: Path, closes: np.ndarray, rates: Funding | None = None, symbol: str = "BTCUSDT"
) -> str:
    opens = np.concatenate((closes[:1], closes[:-1]))
    rows = np.column_stack(
        [opens, np.maximum(opens, closes), np.minimum(opens, closes), closes, np.full(len(closes), 1e6)]
    )
    path = place / f"made_linear_{symbol}_5m.parquet"
    start_ms = T0 + FIVE_MS * np.arange(len(closes), dtype=np.int64)
    write_candles(path, Candles.make(symbol, FIVE_MS, start_ms, rows.round(1)))
    if rates is not None:
        write_funding(place / "made_linear_BTCUSDT_funding.parquet", rates)
    return str(path)


FALL = np.concatenate((np.full(5, 50_000.0), np.linspace(50_000.0, 35_000.0, 40), np.full(5, 35_000.0)))


def test_a_run_that_risk_has_halted_says_all_and_ends_with_6(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = candle_file(place, FALL)
    assert main([*REPLAY, "--data", path, "--json"]) == 6
    out, err = capsys.readouterr()
    assert json.loads(out)["risk_state"] == "halted"
    assert err.splitlines()[-1].startswith("error: risk halted the run (drawdown)")


def test_a_backtest_that_risk_has_halted_is_a_result_like_any(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = candle_file(place, FALL)
    assert main(["backtest", "--strategy", "buy_and_hold", "--data", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["risk_state"] == "halted"


@pytest.mark.parametrize("command", [REPLAY, ["backtest", "--strategy", "buy_and_hold"]])
def test_stdout_is_one_json_object_and_nothing_else(
    command: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = candle_file(place, np.full(20, 50_000.0))
    assert main([*command, "--data", path, "--json", "--report", "r.html"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["bars"] == 20
    assert Path("r.html").stat().st_size > 0


def test_rates_that_do_not_cover_the_candles_are_said(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = Funding("BTCUSDT", np.array([T0 + 86_400_000]), np.array([0.0001]))
    path = candle_file(place, np.full(400, 50_000.0), known)
    assert main(["backtest", "--strategy", "flat", "--data", path, "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    said = "BTCUSDT has rates from 2025-01-02 00:00 UTC to 2025-01-02 00:00 UTC only"
    assert any(said in warning for warning in warnings)


def test_a_symbol_whose_candles_end_before_the_others_is_said(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [candle_file(place, np.full(n, 50_000.0), symbol=s) for n, s in ((9, "BTCUSDT"), (20, "ETHUSDT"))]
    assert main(["backtest", "--strategy", "flat", "--data", *paths, "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert [w for w in warnings if "candles end" in w] == [
        "BTCUSDT: candles end at 2025-01-01 00:45 UTC, before the others'; "
        "what was held then kept its last price to the end"
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_replay_behind_its_time_can_be_stopped(place: Path, number: int, code: int) -> None:
    path = candle_file(place, np.full(300_000, 50_000.0))
    words = ["--log-format", "json", *REPLAY, "--data", path, "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "bot", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stderr is not None
        assert any('"close"' in line for line in daemon.stderr)  # it is under way
        os.kill(daemon.pid, number)
        stdout, _ = daemon.communicate(timeout=60)
    assert daemon.returncode == code
    numbers = json.loads(stdout)
    assert 0 < numbers["bars"] < 300_000
    assert numbers["final_equity"] == pytest.approx(10_000 + numbers["net_pnl"])
    assert any("stopped with open positions in BTCUSDT" in warning for warning in numbers["warnings"])


BROKEN = """
from bot.strategy import Target


class Broken:
    def on_bar(self, view):
        return Target(1.0 / (view.bar.close - 101.0))
"""
INIT = """class Init:
    def __init__(self):
        [][1]

    def on_bar(self, view):
        return None
"""


@pytest.mark.parametrize(
    "command", [["backtest"], ["run", "--feed", "replay", "--speed", "1e9"]], ids=" ".join
)
def test_an_error_of_the_users_strategy_is_one_line_with_its_place_and_exit_1(
    command: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "mine.py").write_text(BROKEN)
    data = candle_file(place, np.array([100.0, 100.5, 101.0, 102.0]))
    words = ["--log-format", "json", *command, "--data", data, "--strategy", "mine:Broken"]
    assert main(words) == 1
    shown = capsys.readouterr().err.splitlines()
    line = "error: mine.py:7: ZeroDivisionError: float division by zero (Broken.on_bar for BTCUSDT, bar of "
    assert shown[-1] == line + "2025-01-01 00:10 UTC)"
    assert not any("Traceback" in each for each in shown)
    assert main([*words, "-vv"]) == 1
    shown = capsys.readouterr().err.splitlines()
    assert "Traceback (most recent call last):" in shown
    assert "  mine.py:7 in on_bar" in shown


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (INIT, "whose.py:3: IndexError: list index out of range (while a Init was made)"),
        ("import json\n\njson.loads('{')\n", "whose.py:3: JSONDecodeError: "),
        ("def f(:\n", "cannot import whose_"),
    ],
    ids=["constructor", "import", "syntax"],
)
def test_an_error_while_a_strategy_is_made_names_its_line(
    text: str, line: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"whose_{abs(hash(text))}"  # a module is imported once
    (place / f"{name}.py").write_text(text)
    data = candle_file(place, np.array([100.0, 100.5]))
    assert main(["backtest", "--data", data, "--strategy", f"{name}:Init"]) in (1, 2)
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said.replace(f"{name}.py", "whose.py")


def test_a_run_whose_entries_are_all_refused_says_by_which_limit(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = candle_file(place, 95_000.0 + 500.0 * np.sin(np.arange(300) / 8.0))
    words = ["backtest", "--strategy", "ema_cross", "--data", data]
    assert main([*words, "--param", "size=1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["trades"] == 0
    (refusal,) = told["refusals"]
    assert (refusal["reason"], refusal["setting"]) == ("order_notional", "risk.max_order_notional_quote")
    assert refusal["wanted"] > refusal["allowed"] == 50_000.0
    assert refusal["count"] == told["refused"]["order_notional"]
    assert "nothing was traded: " in told["warnings"][0]
    assert "allowed 50000 (order_notional); the limit is risk.max_order_notional_quote" in told["warnings"][0]
    assert main([*words, "--json"]) == 0  # by itself it takes what the equity is worth
    assert json.loads(capsys.readouterr().out)["trades"] > 3


WISH = """from bot.strategy import Target

class Wish:
    def __init__(self, qty: float = 0.0, stop: float = 0.0, unknown: bool = False):
        self.qty, self.stop = float("nan") if unknown else qty, stop
    def on_bar(self, view):
        if view.position:
            return Target(0.0, "out")
        return Target(self.qty, "in", stop_loss=self.stop * view.bar.close if self.stop else None)
"""


@pytest.mark.parametrize("mode", ["isolated", "cross"])
def test_an_entry_whose_stop_can_never_act_is_refused_in_a_backtest(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("BOT_ACCOUNT__LEVERAGE", "50")
    monkeypatch.setenv("BOT_ACCOUNT__MARGIN_MODE", mode)
    said = " ".join(backtested(place, capsys, "qty=0.01", "stop=0.97"))
    assert ("account.leverage the position is liquidated before its stop" in said) is (mode == "isolated")


def backtested(place: Path, capsys: pytest.CaptureFixture[str], *params: str) -> list[str]:
    """The lines of a backtest of ``Wish``: in at each close without a position, out at the next."""
    (place / "wishes.py").write_text(WISH)
    data = candle_file(place, 95_000.0 + 500.0 * np.sin(np.arange(600) / 8.0))
    words = [word for each in params for word in ("--param", each)]
    assert main(["backtest", "--strategy", "wishes:Wish", "--data", data, *words]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (["qty=0.00001"], "600 targets were below the contract's minimum; trade more at a time"),
        (["unknown=true"], "the position stayed as it was; return None where a value is unknown"),
        (["qty=0.01", "stop=1.1"], "a stop or target is on the wrong side of the price (stop_side)"),
    ],
)
def test_a_run_without_an_order_says_what_became_of_its_targets(
    place: Path, capsys: pytest.CaptureFixture[str], params: list[str], words: str
) -> None:
    (note,) = [line for line in backtested(place, capsys, *params) if "nothing was traded" in line]
    assert note.endswith(words)


def test_a_backtest_that_risk_has_halted_says_since_when_and_by_which_number(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backtest", "--strategy", "buy_and_hold", "--data", candle_file(place, FALL)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (told,) = [line for line in lines if "halted by risk" in line or line.startswith("note: risk: ")]
    assert re.search(r"halted by risk at 2025-01-01 0\d:\d\d UTC: .*0\.2.*\(risk\.max_drawdown_frac\)$", told)


def test_bars_without_a_position_are_told_in_words_the_most_frequent_first(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = backtested(place, capsys, "qty=0.01")
    assert lines[lines.index("bars without a position:") + 1] == "  300 entering: an entry is under way"


def test_a_backtest_on_bars_that_the_model_knows_shows_their_figures_as_in_sample(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = candle_file(place, 95_000.0 + 500.0 * np.sin(np.arange(5_000) / 8.0))
    assert main(["backtest", "--data", data]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("drift stopped entries once")  # a sine is no market that the model knows
    at = next(at for at, line in enumerate(lines) if line.startswith("in-sample bars only"))
    assert lines[at + 1].startswith("total return")
    assert "–" not in lines[at + 1]
    assert any("no figures on unseen data" in line for line in lines)
