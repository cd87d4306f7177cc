import inspect
import json
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pytest

import bot
from bot.adapters.files.candles import Funding, write_candles, write_funding
from bot.cli import main
from bot.cli.backtest import backtest as command
from bot.lab.calling import in_python
from tests.lab.market import FIVE, T0, Breakout, Broken, candles

HOUR = 3_600_000


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("candles") / "bybit_linear_BTCUSDT_5m.parquet"
    write_candles(path, candles())
    rates = candles(20)
    start_ms = T0 + 8 * HOUR * rates.start_ms.argsort()
    funding = Funding("BTCUSDT", start_ms, 0.0 * start_ms + 1e-4)
    write_funding(path.with_name("bybit_linear_BTCUSDT_funding.parquet"), funding)
    return path


@pytest.fixture(scope="module")
def result(file: Path) -> bot.BacktestResult:
    return bot.backtest(bot.read_candles(file), Breakout, bars=24)


BREAKOUT = "tests.lab.market:Breakout"


@pytest.mark.parametrize(
    ("options", "keywords"),
    [
        ("", {}),
        ("--fee-bps 2 --slippage-bps 0 --equity 25000", {"fee_bps": 2, "slippage_bps": 0, "equity": 25_000}),
        ("--funding none --instrument exact", {"funding": "none", "instrument": "exact"}),
        ("--start 2025-01-03 --end 2025-01-05T12:00", {"start": "2025-01-03", "end": "2025-01-05T12:00"}),
        ("--liquidity full --intrabar worst", {"liquidity": "full", "intrabar": "worst"}),
    ],
)
def test_a_backtest_equals_that_of_the_command_line(
    file: Path, options: str, keywords: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["backtest", "--data", str(file), "--strategy", BREAKOUT, "--param", "bars=24"]
    assert main([*words, *options.split(), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.replace(BREAKOUT, "Breakout"))
    result = bot.backtest(bot.read_candles(file), Breakout, bars=24, **keywords)  # type: ignore[arg-type]
    assert result.fills_sha256 == told["fills_sha256"]
    assert result.metrics == told["metrics"]
    assert result.buy_and_hold == told["buy_and_hold"]
    assert told["trades"] == result.trades.num_rows > 3
    same = {"bars", "first_ms", "last_ms", "net_pnl", "fees", "funding", "settings_hash", "warnings", "data"}
    assert {key: result.numbers[key] for key in same} == {key: told[key] for key in same}
    assert result.numbers.keys() == told.keys()


def test_a_result_that_is_too_good_to_be_true_says_so_in_python_and_once_on_the_page(tmp_path: Path) -> None:
    series = candles(31 * 288)
    close = dict(zip(series.start_ms.tolist(), series.ohlcv[:, 3].tolist(), strict=True))

    class Knows:
        def on_bar(self, view: bot.View) -> bot.Target:
            later = close.get(view.bar.start_ms + FIVE, 0.0)
            return bot.Target(0.1 if later > view.bar.close else 0.0)

    result = bot.backtest(series, Knows, fee_bps=0, slippage_bps=0)
    doubt = "Too good to be true (Sharpe"
    assert sum(warning.startswith(doubt) for warning in result.warnings) == 1
    assert result.report(tmp_path / "page.html").read_text("utf-8").count(doubt) == 1


def test_a_halt_and_refused_orders_are_told_in_python_and_on_the_page(file: Path, tmp_path: Path) -> None:
    class Sizes:
        def on_bar(self, view: bot.View) -> bot.Target:
            return bot.Target((0.05, 0.2)[view.bar.start_ms // FIVE % 2])

    halted = bot.backtest(file, Breakout, bars=24, limits={"max_drawdown_frac": 0.001})
    assert halted.numbers["halt"] is not None
    refused = bot.backtest(file, Sizes, limits={"max_order_notional_quote": 5_000})
    assert refused.numbers["fills"]
    assert refused.numbers["refusals"]
    for result, words in ((halted, "halted by risk at"), (refused, "refused: the order")):
        for shown in ("; ".join(result.warnings), repr(result), result._repr_html_()):
            assert words in shown
        assert words in result.report(tmp_path / "page.html").read_text("utf-8")


def test_without_slippage_the_costs_of_a_result_have_no_impact(file: Path) -> None:
    for slippage_bps, impact_frac in ((0, 0.0), (2, 1.0)):
        told = bot.backtest(file, Breakout, slippage_bps=slippage_bps).numbers
        assert told["costs"]["impact_frac"] == impact_frac


def test_limits_are_settings_of_risk(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = bot.backtest(file, Breakout, limits={"max_leverage": 0.2})
    monkeypatch.setenv("BOT_RISK__MAX_LEVERAGE", "0.2")
    assert given.numbers["settings_hash"] == bot.backtest(file, Breakout).numbers["settings_hash"]
    assert given.numbers["refused"]
    config = tmp_path / "config.toml"
    config.write_text("[costs]\ntaker_bps = 0\n")
    assert bot.backtest(file, Breakout, config=config).numbers["fees"] == 0


def test_every_option_of_the_command_is_a_keyword() -> None:
    options = {each.name for each in command.params} - {"data", "more", "param"}
    of_the_terminal = {"report", "as_json", "trades", "include", "config", "verbose", "log_format"}
    keywords = inspect.signature(bot.backtest).parameters
    assert {str(each) for each in options} - of_the_terminal <= keywords.keys()


def test_a_strategy_is_a_class_an_instance_a_name_or_a_place(
    file: Path, result: bot.BacktestResult, tmp_path: Path
) -> None:
    own = Breakout(bars=24)
    source = tmp_path / "mine.py"
    source.write_text("from tests.lab.market import Breakout as Mine")
    for given in (own, own, BREAKOUT, f"{source}:Mine"):
        params = {} if given is own else {"bars": 24}
        assert bot.backtest(file, given, params=params).fills_sha256 == result.fills_sha256
    assert not own.closes
    shipped = bot.backtest(file, "ema_cross", fast=6, slow=20)
    assert shipped.numbers["strategy"] == "ema_cross"
    assert shipped.fills_sha256 == bot.backtest(file, "ema_cross", fast="6", slow="20").fills_sha256


def test_a_file_of_strategies_is_read_again_and_names_what_it_has(file: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text("from tests.lab.market import Breakout\nclass Mine(Breakout):\n    pass\n")
    before = bot.backtest(file, f"{source}:Mine").numbers["fills"]
    source.write_text("from bot.strategy import Flat\nclass Mine(Flat):\n    pass\n")
    assert before > bot.backtest(file, f"{source}:Mine").numbers["fills"] == 0
    for wrong, words in (("Mone", "did you mean Mine"), ("Xyz", "it has Mine")):
        with pytest.raises(bot.BotError, match=words):
            bot.backtest(file, f"{source}:{wrong}")
    with pytest.raises(bot.BotError, match="no such file"):
        bot.backtest(file, f"{tmp_path}/nowhere.py:Mine")


def test_several_symbols_trade_on_one_account_each_with_its_own_copy() -> None:
    both = [candles(), candles(symbol="ETHUSDT", seed=4)]
    one, other = bot.backtest(both, Breakout(24)), bot.backtest([*reversed(both)], Breakout, bars=24)
    assert one.fills_sha256 == other.fills_sha256
    assert {*one.fills.column("symbol").to_pylist()} == {"BTCUSDT", "ETHUSDT"}


def test_files_of_one_symbol_are_joined(file: Path, result: bot.BacktestResult, tmp_path: Path) -> None:
    whole = bot.read_candles(file)
    months = [tmp_path / f"bybit_linear_BTCUSDT_5m_{name}.csv" for name in "ab"]
    write_candles(months[0], whole.between(None, T0 + 700 * FIVE))
    write_candles(months[1], whole.between(T0 + 700 * FIVE, None))
    rates = file.with_name("bybit_linear_BTCUSDT_funding.parquet")
    (tmp_path / rates.name).write_bytes(rates.read_bytes())
    joined = bot.backtest([*reversed(months)], Breakout, bars=24)
    assert joined.fills_sha256 == result.fills_sha256
    assert joined.numbers["funding"] == result.numbers["funding"] != 0


def test_tables_are_arrow_and_their_money_is_exact(result: bot.BacktestResult) -> None:
    numbers = result.numbers
    tables = (result.trades, result.fills, result.orders, result.equity, result.funding)
    assert all(isinstance(each, pa.Table) for each in tables)
    assert result.equity.num_rows == numbers["bars"] == 1500
    assert (result.orders.num_rows, result.fills.num_rows) == (numbers["orders"], numbers["fills"])
    assert float(sum(result.fills.column("fee_quote").to_pylist())) == numbers["fees"]
    assert float(sum(result.funding.column("amount_quote").to_pylist())) == numbers["funding"]
    made = sum(result.trades.column("pnl_quote").to_pylist())
    assert isinstance(made, Decimal)
    assert float(made) == pytest.approx(numbers["net_pnl"], abs=1e-9)
    frame = result.trades.to_pandas()
    assert isinstance(frame["entry_price"].iloc[0], Decimal)
    assert set(frame["entry_reason"]) == {"breakout"}
    assert result.equity.column_names == ["ts_ms", "equity", "notional", "hold"]


def test_a_notebook_sees_figures_warnings_and_a_drawing(result: bot.BacktestResult, tmp_path: Path) -> None:
    shown, told = result._repr_html_(), repr(result)
    assert ElementTree.fromstring(shown).tag == "div"
    for words in ("Breakout on BTCUSDT: 1,500 bars", "Total return", "buy and hold", "fees"):
        assert words in told
        assert words in shown
    rows = {row["figure"]: row for row in result.table.to_pylist()}
    assert rows["sharpe"]["strategy"] == result.metrics["sharpe"]
    assert rows["total_return"]["buy_and_hold"] == result.buy_and_hold["total_return"]
    svg = ElementTree.fromstring(result.plot()._repr_svg_())
    assert {"Equity", "Drawdown", "BTCUSDT"} <= {*svg.itertext()}
    assert result.plot().save(tmp_path / "new/run.svg").read_text() == result.plot().svg
    assert "Breakout on BTCUSDT" in result.report(tmp_path / "new/run.html").read_text()
    assert "script" not in result.plot().svg


def test_text_of_the_user_is_escaped_in_a_notebook(file: Path) -> None:
    evil = type("<script>x</script>", (Breakout,), {})
    shown = bot.backtest(file, evil)._repr_html_()
    assert "<script>" not in shown
    assert ElementTree.fromstring(shown).tag == "div"


def test_a_run_without_a_trade_can_be_looked_at(file: Path, tmp_path: Path) -> None:
    idle = bot.backtest(file, "flat")
    assert idle.trades.num_rows == idle.fills.num_rows == 0
    assert idle.trades.schema.field("pnl_quote").type == pa.decimal256(58, 18)
    assert "0 trades" in repr(idle)
    assert idle._repr_html_()


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"strategy": "ema_cros"}, "did you mean 'ema_cross'"),
        ({"strategy": 5}, "int must be a class with a method on_bar"),
        ({"strategy": Breakout(3), "bars": 4}, "an instance has its parameters already"),
        ({"strategy": Breakout, "bar": 4}, "no parameter bar; did you mean bars"),
        ({"strategy": Broken}, "market.py:"),
        ({"limits": {"max_levrage": 2}}, "did you mean 'max_leverage'"),
        ({"fee_bps": "x"}, "costs.taker_bps: must be"),
        ({"equity": -1}, "account.equity_quote: must be"),
        ({"start": "soon"}, "start='soon': is no time"),
        ({"start": "2031-01-01"}, "no bar opens"),
        ({"form": "fast"}, "give 'step' or 'bulk' or 'torch'"),
        ({"model": 3, "strategy": "flat"}, "model: cannot take a int"),
        ({"funding": "nowhere.parquet"}, "nowhere.parquet: no such file"),
        ({"candles": pa.table({"a": [1]})}, "bot.read_candles(table, symbol='BTCUSDT')"),
        ({"candles": []}, "got none"),
        ({"candles": candles(symbol="NEWUSDT")}, "give instrument FILE"),
        ({"config": "nowhere.toml"}, "nowhere.toml"),
    ],
)
def test_a_wrong_argument_is_one_line_without_frames_from_inside(
    keywords: dict[str, object], words: str, file: Path
) -> None:
    with pytest.raises(bot.BotError) as caught:
        bot.backtest(**{"candles": file, "strategy": "flat"} | keywords)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(caught.traceback) == 2  # this test, and the public function
    assert caught.value.__suppress_context__
    assert caught.value._render_traceback_() == [f"{type(caught.value).__name__}: {caught.value}"]


def test_a_report_that_cannot_be_written_is_one_line(result: bot.BacktestResult, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(bot.BotError, match="cannot be written"):
        result.report(tmp_path / "file" / "run.html")
    with pytest.raises(bot.BotError, match="name another place"):
        result.plot().save(tmp_path / "file" / "run.svg")


def test_words_of_the_command_line_become_names_of_arguments() -> None:
    words = "--half-lives x: write them, or try `bot data import --repair` and --fee-bps"
    assert in_python(words) == "half_lives x: write them, or try `bot data import --repair` and fee_bps"
