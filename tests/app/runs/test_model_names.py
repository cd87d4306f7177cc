"""Forecasts and orders carry the hash of their model; a journal whose orders name none goes on."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from bot.adapters.model import checkpoint
from bot.adapters.state.index import JournalIndex
from bot.app.state import journals
from bot.domain.market import MINUTE_MS, Bar
from bot.domain.messages import BarsClosed
from bot.journal.entries import Marked
from bot.strategy.signal import Target, View
from tests.app.runs.lives import Life, live, plan_on
from tests.research import series


class Turning:
    """Turns its position around every few bars, once it has forecasts."""

    needs_forecast: ClassVar[bool] = True

    def on_bar(self, view: View) -> Target | None:
        if not view.warm or view.bar.start_ms // view.bar.interval_ms % 4:
            return None
        return Target(-1.0 if view.position > 0.0 else 1.0)


def closes(first: int, last: int) -> list[BarsClosed]:
    """Closes of two symbols, as a feed hands them over."""
    walks = {symbol: series.candles(last, 3, symbol=symbol) for symbol in ("BTCUSDT", "ETHUSDT")}
    closed = []
    for at in range(first, last):
        bars = tuple(
            Bar(symbol, each.interval_ms, int(each.start_ms[at]), *each.ohlcv[at].tolist())
            for symbol, each in walks.items()
        )
        closed.append(BarsClosed(bars[0].close_ms, 15 * MINUTE_MS, bars, seen_ms=bars[0].close_ms))
    return closed


def orders(life: Life) -> list[str]:
    named = JournalIndex(life.standing.writer.journal).columns("orders")["model"]
    return [str(each) for each in named]


async def test_a_journal_whose_orders_name_no_model_goes_on_with_orders_that_do(tmp_path: Path) -> None:
    place = series.saved_model(tmp_path)
    model = checkpoint.load(place)
    plan = plan_on(
        tmp_path / "state",
        strategy="tests.app.runs.test_model_names:Turning",
        feed__interval="15m",
        model__path=place,
        venue__fills="bars",
    )
    first = live(replace(plan, names_model=False))  # as an older program
    first.see(closes(0, model.warmup_bars + 20))
    first.kill()
    assert set(orders(first)) == {""}
    second = live(plan)
    assert (second.standing.known, second.standing.halts) == (True, [])
    assert second.standing.engine.state.forecasters[plan.interval_ms].is_warm("BTCUSDT")  # no new warm-up
    old = len(orders(first))
    second.see(closes(model.warmup_bars + 20, model.warmup_bars + 40))
    second.stop()
    assert set(orders(second)[old:]) == {model.hash}
    kept = [each.entry for s in second.standing.writer.journal.all() for each in s.entries]
    assert {each.model for each in kept if isinstance(each, Marked) and each.forecasts} == {"", model.hash}
    done = journals.replay(journals.choose_journal(plan.settings.state_dir, None))
    assert {each.difference for each in done} == {None}
