"""A daemon as a program: it takes a promoted model while it runs, and goes back after a rollback."""

from pathlib import Path

from bot.adapters.control.client import ask
from bot.adapters.model import checkpoint
from bot.adapters.model.lineage import Attempt, Lineage
from bot.app.context import Context
from bot.app.runs.parity import exchange_process
from bot.app.state import journals
from bot.domain.market import MINUTE_MS
from tests.cli.exchanges import daemon
from tests.research import series

BARS = 1_200


def status(place: Path) -> dict:
    return dict(ask(place / ".data/control.sock", "GET", "/status", timeout_s=10.0))


def test_a_running_daemon_takes_a_promoted_model_and_goes_back_after_a_rollback(tmp_path: Path) -> None:
    market = series.candles(BARS, 3)
    file = series.saved_candles(tmp_path, market)
    base = checkpoint.load(series.saved_model(tmp_path / "base"))
    newer = checkpoint.load(series.saved_model(tmp_path / "newer", seed=1))
    start = str(series.T0 + 1_000 * 15 * MINUTE_MS)
    lineage = Lineage(tmp_path / ".data/models")
    market_words = ["--data", str(file), "--start", start, "--no-funding", "--speed", "600"]
    with exchange_process(Context(), market_words) as url:
        words = [
            "--feed", "local", "--exchange", url, "--venue", "paper", "--strategy", "vol_target",
            "--symbol", "BTCUSDT", "--interval", "15m", "--fills", "bars",
            "--model", str(tmp_path / "base/model"),
        ]  # fmt: skip
        with daemon(tmp_path, *words) as running:
            running.until("trading")
            attempt = Attempt(ts_ms=0, verdict="promoted", reason="", incumbent=base.hash)
            lineage.promote(base, newer, tmp_path / "newer/model", attempt, keep=5)
            said = running.until("model_swapped")
            assert (said["before"], said["model"]) == (base.hash, newer.hash)
            assert status(tmp_path)["model_hash"] == newer.hash
            running.until("close")
            lineage.roll_back(base.hash, 1, "")
            assert running.until("model_swapped")["model"] == base.hash
            running.until("close")
            code, _ = running.end()
            assert code == 0
    journal = journals.choose_journal(tmp_path / ".data", None)
    assert {each.difference for each in journals.replay(journal)} == {None}
