"""``bot.screen``: the path of a rule without the engine, and what the engine makes of the best points."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bot
from bot.adapters.files.candles import Candles
from bot.domain.errors import BotError
from bot.features.indicators import close, ema, lag, past, rsi, sma
from bot.research.search.screen import walk
from tests.lab.market import Breakout, candles, part

GRID = {"fast": [4, 8, 12], "slow": range(24, 60, 12)}
CROSS = bot.Rule(lambda p: (ema(close, p["fast"]), ema(close, p["slow"])))
EXACT = {"liquidity": "full", "instrument": "exact", "risk": "observe"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of a market that orders do not move, as the screen assumes."""
    path = tmp_path_factory.mktemp("settings") / "plain.toml"
    path.write_text("[costs]\nimpact_frac = 0\n")
    return path


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path / "state"))


def slow_walk(
    opens: list[float],
    closes: list[float],
    late: list[bool],
    pairs: list[list[float]],
    other: int,
    fee: float,
    half: float,
) -> tuple[list[float], int]:
    """The same path as a list of values, written once more from the docstring of ``walk``."""
    values, cash, qty, wanted, side, closed = [1.0], 1.0, 0.0, 0.0, 0, 0
    for t, (opened, last) in enumerate(zip(opens, closes, strict=True)):
        if wanted != qty and late[t]:
            wanted = 0.0  # only what closes is left
        if wanted != qty:
            price = opened * (1 + half if wanted > qty else 1 - half)
            cash -= (wanted - qty) * price + abs(wanted - qty) * price * fee
            closed += qty != 0
            qty = wanted
        values.append(cash + qty * last)
        a, b, c, d = (column[t] for column in pairs)
        new = 1 if a > b else other if c > d else side
        if new != side:
            side, wanted = new, new * 0.5 * values[-1] / last
    if qty:
        closed += 1
        values[-1] -= abs(qty) * closes[-1] * fee
    return values, closed


@pytest.mark.parametrize("other", [0, -1])
def test_the_path_of_each_point_equals_a_plain_loop(other: int) -> None:
    rng = np.random.default_rng(3)
    opens, closes = (100 * np.exp(np.cumsum(rng.normal(0, 0.01, 400))) for _ in range(2))
    columns = rng.normal(0, 1, (5, 400))
    columns[rng.random((5, 400)) < 0.2] = np.nan
    late = rng.random(400) < 0.1
    points = np.array([[0, 1, 1, 0], [2, 3, 4, 0], [4, 4, 4, 4]])
    kept = np.arange(401)
    found, closed = walk(
        opens[None], closes[None], late[None], columns[None], points, other, 0.5, 6e-4, np.array([1e-4]), kept
    )
    for k, four in enumerate(points):
        own, count = slow_walk(
            opens.tolist(),
            closes.tolist(),
            late.tolist(),
            [columns[i].tolist() for i in four],
            other,
            6e-4,
            1e-4,
        )
        np.testing.assert_allclose(found[k], own, rtol=1e-12)
        assert closed[k] == count
    assert closed[0] > 20 < closed[1]
    assert closed[2] == 0


@pytest.mark.parametrize("other", [0, -1])
def test_later_bars_change_no_earlier_equity(other: int) -> None:
    rng = np.random.default_rng(4)
    opens, closes = (100 * np.exp(np.cumsum(rng.normal(0, 0.01, 300))) for _ in range(2))
    columns, kept = rng.normal(0, 1, (2, 300)), np.arange(301)
    points = np.array([[0, 1, 1, 0]])
    half, late = np.array([1e-4]), np.zeros((1, 300), np.bool_)
    before, _ = walk(opens[None], closes[None], late, columns[None], points, other, 0.5, 6e-4, half, kept)
    for changed in (opens, closes, *columns):
        changed[200:] = 3 * changed[200:] + 1.0
    after, _ = walk(opens[None], closes[None], late, columns[None], points, other, 0.5, 6e-4, half, kept)
    np.testing.assert_array_equal(before[0, :201], after[0, :201])
    assert before[0, 250] != after[0, 250]


@pytest.mark.parametrize(
    "rule",
    [
        CROSS,
        bot.Rule(CROSS.enter, short=True),
        bot.Rule(lambda p: (45, rsi(close, p["fast"])), lambda p: (close, lag(sma(close, p["slow"])))),
    ],
    ids=["flat", "short", "two pairs"],
)
def test_the_engine_agrees_to_nine_digits_where_nothing_is_ignored(rule: bot.Rule, plain: Path) -> None:
    whole = candles(1500)
    rows = np.r_[0:700, 705:1500]  # a hole: indicators begin anew
    holed = type(whole).make(whole.symbol, whole.interval_ms, whole.start_ms[rows], whole.ohlcv[rows])
    found = bot.screen(holed, rule, GRID, top=9, config=plain, **EXACT)  # type: ignore[arg-type]
    assert found.table.num_rows == found.trials == 9
    for name in ("total_return", "sharpe", "max_drawdown", "trades"):
        off = np.abs(found.confirmed[f"{name}_off"].to_numpy())
        assert off.max() < 1e-9 * max(1.0, np.abs(found.confirmed[f"engine_{name}"].to_numpy()).max()), name
    assert found.confirmed["engine_trades"].to_numpy().min() > 5


def test_several_symbols_share_an_account_as_the_engine_has_it(plain: Path) -> None:
    btc, eth = part(candles(1500), 0, 1400), candles(1500, "ETHUSDT", seed=5)
    rule = bot.Rule(CROSS.enter, short=True)
    (whole,) = bot.screen(eth, rule, {"fast": [4], "slow": [24]}, config=plain, **EXACT).runs  # type: ignore[arg-type]
    filled = int(np.searchsorted(eth.start_ms, whole.fills["ts_ms"].to_numpy()[20]))
    rows = np.r_[40:filled, filled + 5 : 1500]  # listed later, and the bar that fills an order is missing
    eth = type(eth).make(eth.symbol, eth.interval_ms, eth.start_ms[rows], eth.ohlcv[rows] / 10)
    found = bot.screen([btc, eth], rule, GRID, top=9, config=plain, **EXACT)  # type: ignore[arg-type]
    for name in ("total_return", "sharpe", "max_drawdown", "trades"):
        off = np.abs(found.confirmed[f"{name}_off"].to_numpy())
        assert off.max() < 1e-9 * max(1.0, np.abs(found.confirmed[f"engine_{name}"].to_numpy()).max()), name
    assert found.confirmed.num_rows == 9
    alone = [bot.screen(each, rule, GRID, top=1, config=plain, **EXACT) for each in (btc, eth)]  # type: ignore[arg-type]
    trades = [np.array(each.table["trades"]) for each in (found, *alone)]
    assert trades[0].tolist() == (trades[1] + trades[2]).tolist()
    assert "9 points on BTCUSDT, ETHUSDT" in repr(found)
    assert alone[0].earlier_trials == 0  # the same points


def test_differences_are_shown_and_another_order_is_a_warning() -> None:
    dips = bot.Rule(lambda p: (45, rsi(close, p["fast"])), lambda p: (rsi(close, p["fast"]), p["leave"]))
    grid = {"fast": range(4, 12), "leave": [50, 60, 70]}
    found = bot.screen(candles(1500, seed=4), dips, grid, top=6, equity=30_000)
    told = found.confirmed.to_pydict()
    assert told["screen_sharpe"] == sorted(told["screen_sharpe"], reverse=True)
    assert told["engine_sharpe"] != sorted(told["engine_sharpe"], reverse=True)
    for screened, engine, off in zip(
        told["screen_total_return"], told["engine_total_return"], told["total_return_off"], strict=True
    ):
        assert off == engine - screened < -1e-5
    best = told["engine_sharpe"].index(max(told["engine_sharpe"]))
    assert found.best == {name: told[f"param_{name}"][best] for name in grid}
    assert "24 points were tried" in repr(found)
    assert "another order" in found.warnings[-1]


def test_runs_that_the_risk_limits_keep_from_trading_are_a_warning() -> None:
    found = bot.screen(candles(1000), CROSS, GRID, top=2, limits={"max_leverage": 0})
    assert "2 of 2 runs of the engine have no sharpe: see .runs" in found.warnings
    assert found.best is None
    assert found.deflated_sharpe is None


def test_points_that_never_trade_have_no_figure_and_are_not_confirmed() -> None:
    found = bot.screen(candles(600), CROSS, {"fast": [500, 6], "slow": [48]}, top=5)
    assert found.table["trades"].to_pylist() == [0, found.runs[0].metrics["trades"]]
    assert found.table["sharpe"].to_pylist()[0] is None
    assert found.confirmed["param_fast"].to_pylist() == [6]
    none = bot.screen(candles(600), CROSS, {"fast": [500], "slow": [48]})
    assert none.confirmed.num_rows == 0
    assert "no point has the figure sharpe" in repr(none)


def test_more_points_leave_less_of_the_same_sharpe_ratio(plain: Path) -> None:
    few = bot.screen(candles(1500), CROSS, {**GRID, "label": ["a", "b"]}, top=1, config=plain)
    many = bot.screen(candles(1500), CROSS, {**GRID, "label": list("abcdefghij")}, top=1, config=plain)
    assert (few.trials, many.trials) == (18, 90)
    assert (few.earlier_trials, many.earlier_trials) == (0, 0)  # they compare the same
    assert few.best == many.best
    assert 0.0 < (many.deflated_sharpe or 0.0) < 0.9 * (few.deflated_sharpe or 0.0)


def test_what_other_screens_compared_on_the_symbol_counts_once(plain: Path) -> None:
    def screened(rule: bot.Rule, grid: dict[str, Any], series: Candles | None = None) -> bot.ScreenResult:
        return bot.screen(series or candles(1500), rule, grid, top=1, config=plain)

    first = screened(CROSS, GRID)
    assert (first.earlier_trials, first.trials) == (0, 9)
    screened(CROSS, {"fast": [4, 5, 6], "slow": [24, 36]})  # of these, (4, 24) and (4, 36) are in the first
    screened(bot.Rule(CROSS.enter, short=True), {"fast": [4], "slow": [24]})
    other = candles(1500)
    other = type(other).make("ETHUSDT", other.interval_ms, other.start_ms, other.ohlcv)
    assert screened(CROSS, {"fast": [9], "slow": [50]}, other).earlier_trials == 0
    again = screened(CROSS, GRID)
    assert again.earlier_trials == 4 + 1
    assert again.log == first.log
    assert (again.deflated_sharpe or 1.0) < (first.deflated_sharpe or 0.0)
    assert "9 points were tried, and 5 others before" in repr(again)


def test_what_sweeps_and_walk_forwards_tried_on_the_symbol_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path))
    series = candles(1500)
    first = bot.screen(series, CROSS, GRID, top=1)
    bot.sweep(series, Breakout, {"bars": [12, 24]}, workers=1)
    bot.walkforward(series, Breakout, {"bars": [24, 36]}, train="1d", test="1d", workers=1)
    other = type(series).make("ETHUSDT", series.interval_ms, series.start_ms, series.ohlcv)
    bot.sweep(other, Breakout, {"bars": [48]}, workers=1)
    again = bot.screen(series, CROSS, GRID, top=1)
    assert (first.searched_trials, again.searched_trials, again.earlier_trials) == (0, 3, 0)
    assert (again.deflated_sharpe or 1.0) < (first.deflated_sharpe or 0.0)
    assert "9 points were tried, and 3 parameters in sweeps and walk-forwards: the best" in repr(again)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"grid": {}}, "grid: must be a dict"),
        ({"grid": {"fast": []}}, "grid['fast']: must be a list of numbers"),
        ({"grid": {"fast": [4, 4]}}, "names a value twice"),
        ({"grid": {"fast": range(2000), "slow": range(2000)}}, "4,000,000 points"),
        ({"grid": {"fats": [4], "slow": [8]}}, "no parameter 'fast'; it has fats, slow"),
        ({"rule": "cross"}, "rule: must be a bot.Rule"),
        ({"rule": bot.Rule(lambda p: close)}, "enter: must return two indicators"),  # type: ignore[arg-type,return-value]
        ({"rule": bot.Rule(lambda p: (close, past(np.median, 5)))}, "past"),  # type: ignore[arg-type,return-value]
        ({"rule": bot.Rule(lambda p: (close, float("nan")))}, "finite numbers"),
        ({"top": 0}, "top=0: must be a whole number"),
        ({"leverage": -1}, "leverage=-1: must be a number above 0"),
        ({"objective": "sharp"}, "did you mean 'sharpe'?"),
        ({"start": "2025-01-02"}, "the candles of the span: bot.read_candles(..., start=...)"),
        ({"form": "bulk"}, "form: the screen does not take it; give it to bot.backtest"),
        ({"fee": 3}, "fee: no such argument"),
    ],
)
def test_bad_arguments_are_one_clear_line(change: dict[str, object], said: str) -> None:
    given = {"rule": CROSS, "grid": GRID, **change}
    with pytest.raises(BotError) as error:
        bot.screen(part(candles(600), 0, 500), **given)  # type: ignore[arg-type]
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_screen_draws_its_best_point_and_writes_its_page(plain: Path, tmp_path: Path) -> None:
    found = bot.screen(candles(), CROSS, GRID, top=3, config=plain, **EXACT)
    assert found.metrics == max((run.metrics for run in found.runs), key=lambda each: each["sharpe"])  # type: ignore[arg-type,return-value]
    assert "RuleStrategy on BTCUSDT" in found.plot().svg
    assert found.plot().svg in found._repr_html_()
    page = found.report(tmp_path / "new" / "screen.html").read_text("utf-8")
    for words in (
        "Best of 9 points by the engine: Sharpe",
        "Confirmed by the engine",
        "Sharpe, screen",
        "Sharpe, engine",
        "(across)</h3>",
        "The best 9 of 9, by the screen alone.",
    ):
        assert words in page
    with pytest.raises(BotError, match=r"/proc/screen\.html"):
        found.report("/proc/screen.html")


def test_maps_of_very_many_points_are_drawn_from_a_part_and_say_so(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.app.search.screen_page.DRAWN_MAX", 4)
    monkeypatch.setattr("bot.app.search.screen_page.LISTED_MAX", 2)
    found = bot.screen(candles(), CROSS, GRID, top=1, config=plain, **EXACT)
    page = found.report(tmp_path / "screen.html").read_text("utf-8")
    assert "Drawn from 4 of them, evenly." in page
    assert "The best 2 of 9, by the screen alone." in page


def test_a_screen_without_a_trade_has_a_page_and_a_drawing_that_say_so(tmp_path: Path) -> None:
    never = bot.Rule(lambda p: (rsi(close, p["n"]), 1000.0))
    found = bot.screen(candles(300), never, {"n": [5, 9]}, **EXACT)
    assert found.metrics is None
    assert "nothing to draw" in found.plot().svg
    assert "None of 2 points has the figure" in found.report(tmp_path / "none.html").read_text("utf-8")
