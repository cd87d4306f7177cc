import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.adapters.files.candles import Candles, Funding, write_candles, write_funding
from bot.cli import main
from bot.service.backtest.tape import RunTape
from bot.strategy import Target, View
from tests.helpers import T0

HOUR_MS = 3_600_000


def test_a_report_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "file"
    place.write_text("in the way")
    data = tmp_path / "bybit_linear_BTCUSDT_5m.parquet"
    assert main(["backtest", "--data", str(data), "--report", str(place / "r.html")]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "--report" in err
    assert len(err.splitlines()) == 1


def hourly(
    folder: Path,
    closes: np.ndarray,
    name: str = "bybit_linear_BTCUSDT_1h.parquet",
    volume: float = 1e6,
) -> str:
    """Write hourly candles that open at the last close; return the path."""
    opens = np.append(closes[0], closes[:-1])
    rows = np.column_stack(
        [opens, np.maximum(opens, closes), np.minimum(opens, closes), closes, np.full(len(closes), volume)]
    )
    path = folder / name
    symbol = name.split("_")[2]
    write_candles(path, Candles.make(symbol, HOUR_MS, T0 + HOUR_MS * np.arange(len(closes)), rows))
    return str(path)


def fallen(folder: Path) -> str:
    """A fall of 40 % over twenty days, then the old price again: 4,000 hourly bars."""
    fall, rise = np.geomspace(40_000.0, 24_000.0, 480), np.geomspace(24_000.0, 40_000.0, 3_520)
    return hourly(folder, np.concatenate([fall, rise]).round(1))


HOLD = ["--strategy", "buy_and_hold", "--param", "leverage=0.9", "--funding", "none"]


def test_a_halt_stands_in_the_first_lines_of_terminal_json_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, page = fallen(tmp_path), tmp_path / "halted.html"
    assert main(["backtest", "--data", data, *HOLD, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    halt = told["halt"]
    assert list(told)[:1] == ["halt"]
    assert (halt["cause"], halt["limit"], halt["setting"]) == ("drawdown", 0.2, "risk.max_drawdown_frac")
    assert told["metrics"]["total_return"] == pytest.approx(-0.2, abs=0.003)
    assert told["headline"]["bars"] < 300
    assert told["metrics"]["length_days"] == pytest.approx(told["headline"]["bars"] / 24)
    assert main(["backtest", "--data", data, *HOLD, "--report", str(page)]) == 0
    lines = capsys.readouterr().out.splitlines()
    when = halt["time"].replace("T", " ").removesuffix("Z")
    assert lines[0].startswith(f"halted by risk at {when} UTC: drawdown: equity ")
    assert lines[0].endswith("limit 0.2 (risk.max_drawdown_frac)")
    assert "BTCUSDT stayed open" in lines[1]
    assert "--risk observe" in lines[1]
    html = page.read_text()
    assert html.index(f"halted by risk at {when} UTC: drawdown") < html.index("on 10,000.00 after all costs")


def test_observed_limits_are_told_first_and_the_run_goes_on_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = fallen(tmp_path)
    assert main(["backtest", "--data", data, *HOLD, "--risk", "observe", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["halt"], told["risk"], told["headline"]["bars"]) == (None, "observe", 4_000)
    assert told["metrics"]["total_return"] == pytest.approx(0.0, abs=0.01)
    (drawdown,) = [row for row in told["limits"] if row["limit"] == "drawdown"]
    assert (drawdown["count"], drawdown["bound"], drawdown["forces"]) == (2, 0.2, "halted")  # 0.8, 0.64
    assert main(["backtest", "--data", data, *HOLD, "--risk", "observe"]) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first == "risk only observed; no limit acted:"
    assert second.startswith("risk.max_drawdown_frac would have halted the run 2 times, first at 2025-01-")


# The market in the name


def waves(folder: Path, name: str, bars: int = 600, volume: float = 1e6) -> str:
    return hourly(folder, (60_000.0 * (1.0 + 0.05 * np.sin(np.arange(bars) / 7.0))).round(1), name, volume)


def ran(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert main(["backtest", *words, "--json"]) == code
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


@pytest.mark.parametrize("strategy", ["random", "mean_reversion", "ema_cross", "buy_and_hold"])
@pytest.mark.parametrize("rules", [[], ["--instrument", "exact"]], ids=["shipped", "exact"])
def test_spot_is_never_short_and_never_borrowed_and_shipped_strategies_trade_it(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
    rules: list[str],
) -> None:
    held: list[tuple[float, float]] = []
    keep = RunTape.marked

    def watch(tape: RunTape, ts_ms: int, equity: float, notional: float) -> None:
        held.append((notional, equity))
        keep(tape, ts_ms, equity, notional)

    monkeypatch.setattr(RunTape, "marked", watch)
    data = waves(tmp_path, "bybit_spot_BTCUSDT_1h.parquet")
    told = ran(capsys, "--data", data, "--strategy", strategy, *rules)
    assert told["trades"] > 0
    assert min(notional for notional, _ in held) >= 0.0
    # All the money at one close; the fee and the next open may take a little more.
    assert max(notional / equity for notional, equity in held) < 1.02
    assert told["funding"] == 0.0
    assert not any("funding: none" in line for line in told["warnings"])
    assert any(line.startswith("spot: BTCUSDT is never sold short") for line in told["warnings"])


def test_spot_on_credit_is_refused_and_counted_with_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = waves(tmp_path, "binance_spot_ETHUSDT_1h.parquet")
    told = ran(
        capsys, "--data", data, "--strategy", "buy_and_hold", "--param", "leverage=2", "--risk", "observe"
    )
    assert told["orders"] == 0
    (row,) = told["refusals"]
    assert (row["reason"], row["wanted"], row["allowed"]) == (
        "spot_borrowed",
        pytest.approx(2.0, abs=0.03),  # a step is 0.01
        1.0,
    )


def test_spot_reads_no_funding_and_refuses_a_given_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = waves(tmp_path, "bybit_spot_BTCUSDT_1h.parquet")
    for market in ("spot", "linear"):
        rates = Funding("BTCUSDT", T0 + 8 * HOUR_MS * np.arange(60), np.full(60, 0.001))
        write_funding(tmp_path / f"bybit_{market}_BTCUSDT_funding.parquet", rates)
    assert ran(capsys, "--data", data, "--strategy", "buy_and_hold")["funding"] == 0.0
    given = str(tmp_path / "bybit_linear_BTCUSDT_funding.parquet")
    assert main(["backtest", "--data", data, "--strategy", "buy_and_hold", "--funding", given]) == 2
    assert "are spot, which pays no funding" in capsys.readouterr().err


@pytest.mark.parametrize("market", ["inverse", "cm", "coinm"])
@pytest.mark.parametrize(
    "words",
    [["backtest"], ["train", "--out", "model"], ["evaluate"], ["predict", "--out", "f.csv"]],
    ids=lambda words: words[0],
)
def test_inverse_candles_are_refused_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    market: str,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    data = waves(tmp_path, f"bybit_{market}_BTCUSD_1h.parquet", bars=20)
    assert main([*words, "--data", data]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert f"bybit_{market}_BTCUSD_1h.parquet" in line
    assert "an inverse contract" in line
    assert "give candles of the linear perpetual, or of spot" in line


def test_an_unknown_market_is_taken_for_linear_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = waves(tmp_path, "bybit_option_BTCUSDT_1h.parquet")
    told = ran(capsys, "--data", data, "--strategy", "random")
    assert any("option in the name is no market" in line for line in told["warnings"])


# Refusals are told by limit, with wanted and allowed


def test_a_position_below_the_minimum_is_told_with_the_minimum(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = waves(tmp_path, "bybit_linear_BTCUSDT_1h.parquet")
    told = ran(capsys, "--data", data, "--strategy", "ema_cross", "--param", "size=0.0001")
    assert told["orders"] == 0
    (line,) = [line for line in told["warnings"] if "bars the position wanted" in line]
    assert f"in {told['flat_bars']['below_minimum']} bars the position wanted was below" in line
    assert "0.001 (" in line
    assert "and 5 USDT" in line


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("MAX_ORDER_NOTIONAL_QUOTE", "5000", "order_notional"),
        ("MAX_POSITION_NOTIONAL_QUOTE", "5000", "position_notional"),
        ("MAX_TOTAL_NOTIONAL_QUOTE", "5000", "total_notional"),
        ("MAX_LEVERAGE", "0.5", "leverage"),
    ],
)
def test_refusals_are_counted_by_limit_with_wanted_and_allowed(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
    reason: str,
) -> None:
    monkeypatch.setenv(f"BOT_RISK__{setting}", value)
    data = waves(tmp_path, "bybit_linear_BTCUSDT_1h.parquet")
    told = ran(capsys, "--data", data, "--strategy", "buy_and_hold")
    (row,) = told["refusals"]
    assert (row["reason"], row["count"], row["setting"]) == (
        reason,
        told["refused"][reason],
        f"risk.{setting.lower()}",
    )
    assert row["allowed"] == float(value)
    assert row["wanted"] == pytest.approx(2 * float(value), rel=0.02)  # all of the equity
    assert told["warnings"][0].startswith(f"nothing was traded: {row['count']} entries refused")


# Orders that find no volume


@pytest.mark.parametrize("liquidity", ["volume", "full"])
def test_orders_that_no_volume_fills_are_told_with_their_number_and_the_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], liquidity: str
) -> None:
    words = [
        "--data",
        waves(tmp_path, "bybit_linear_BTCUSDT_1h.parquet", volume=0.0),
        "--strategy",
        "ema_cross",
        "--liquidity",
        liquidity,
    ]
    told = ran(capsys, *words)
    assert told["orders"] > 3
    notes = [note for note in told["warnings"] if "participation_frac" in note]
    if liquidity == "full":
        assert (notes, told["fills"] > 3) == ([], True)
        return
    assert told["fills"] == 0
    orders = told["orders"]
    assert notes == [
        f"nothing was traded: {orders} of {orders} orders found too little volume and were filled in part or "
        "not at all (costs.participation_frac); --liquidity full ignores it"
    ]


def test_an_order_that_the_volume_fills_in_part_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ran(
        capsys,
        "--data",
        waves(tmp_path, "bybit_linear_BTCUSDT_1h.parquet", volume=0.5),
        "--strategy",
        "buy_and_hold",
    )
    assert told["fills"] > 0
    (note,) = [note for note in told["warnings"] if "participation_frac" in note]
    assert note.startswith(f"{told['orders_ended']['cancelled']} of {told['orders']} orders found too little")


# Targets of the warm-up


@pytest.mark.parametrize(
    ("strategy", "asked"), [("buy_and_hold", 100), ("flat", 0), ("random", 9)], ids=lambda each: str(each)
)
def test_positions_asked_for_in_the_warm_up_are_told_once_by_name_and_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], strategy: str, asked: int
) -> None:
    data = waves(tmp_path, "bybit_linear_BTCUSDT_1h.parquet", bars=300)
    start = f"2025-01-{1 + 100 // 24:02d}T{100 % 24:02d}:00"  # 100 bars warm up; random asks each twelfth
    words = ["--data", data, "--strategy", strategy, "--start", start]
    told = [line for line in ran(capsys, *words)["warnings"] if "warm-up" in line]
    when = start.replace("T", " ")
    assert told == (
        [
            f"{strategy} asked for a position {asked} times in the warm-up before {when} UTC; a run trades "
            "from its start on, so these targets were dropped"
        ]
        if asked
        else []
    )
    assert main(["backtest", *words]) == 0
    assert capsys.readouterr().out.count("warm-up") == bool(asked)
    assert main(["backtest", *words[:-2]]) == 0
    assert "warm-up" not in capsys.readouterr().out


class Below:
    """Buys a little at 99 whenever it holds nothing."""

    def on_bar(self, view: View) -> Target | None:
        return Target(1.0, limit_price=99.0, expires_bars=1) if not view.position else None


def test_the_rule_for_limit_orders_decides_and_stands_in_terminal_json_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Prices come to 99 and no further.
    data, page = hourly(tmp_path, np.array([100.0, 99.1, 99.0, 99.0] * 30)), tmp_path / "queue.html"
    words = ["backtest", "--data", data, "--strategy", f"{__name__}:Below", "--funding", "none"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["fills"], told["costs"]["limit_fills"]) == (0, "through")
    assert main([*words, "--limit-fills", "queue", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["fills"] > 0
    assert (told["costs"]["limit_fills"], told["costs"]["queue_ahead_ms"]) == ("queue", 60_000)
    assert main([*words, "--limit-fills", "queue", "--report", str(page)]) == 0
    rule = "fill by an estimated queue: 60 s of average trading before a new one"
    assert f"limit orders {rule}" in capsys.readouterr().out
    assert rule in page.read_text()
