"""The equity curve: nothing that matters is lost, and money paid in is no gain."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import JournalWriter
from bot.domain.messages import ProcessStarted, Transferred
from bot.journal.entries import Marked
from bot.web.server.equity import Equity, drawdown, thinned
from tests.helpers import T0


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=400), st.integers(10, 60))
def test_a_thinned_curve_keeps_every_extreme_and_both_ends(values: list[float], points: int) -> None:
    equity = np.array(values)
    below = drawdown(np.arange(len(equity)), equity, [])
    kept = thinned(equity, below, points)
    assert len(kept) <= max(points, 4) + 2
    assert list(kept) == sorted(set(kept.tolist()))
    assert equity[kept].max() == equity.max()
    assert equity[kept].min() == equity.min()
    assert below[kept].min() == below.min()
    assert (kept[0], kept[-1]) == (0, len(equity) - 1)


def test_drawdown_is_the_loss_from_the_peak_before_it() -> None:
    below = drawdown(np.arange(4), np.array([100.0, 80.0, 120.0, 90.0]), [])
    assert below.tolist() == pytest.approx([0.0, -0.2, 0.0, -0.25])


def test_money_paid_out_is_no_loss_and_paid_in_no_gain() -> None:
    # 100 → 90 (−10 %); 45 taken out; 50 is the old peak; 100 paid in: 150; a tenth lost: 135.
    ts_ms, equity = np.arange(6), np.array([100.0, 90.0, 45.0, 50.0, 150.0, 135.0])
    below = drawdown(ts_ms, equity, [(2, -45.0), (4, 100.0)])
    assert below.tolist() == pytest.approx([0.0, -0.1, -0.1, 0.0, 0.0, -0.1])


def test_the_whole_life_is_there_restarts_included_and_what_is_new_is_added(writer: JournalWriter) -> None:
    equity, index = Equity(), None
    for process in (1, 2, 3):
        writer.append(ProcessStarted(T0 + process, process))
        writer.append(Marked(T0 + process, 100.0 - process, 0.0))
        writer.append(Marked(T0 + process, None, 0.0))  # not known: no point
        index = index or JournalIndex(writer.journal)
        index.refresh()
        told = equity.curve(index, 100)
    assert told["points"] == [[T0 + 1, 99.0, 0.0], [T0 + 2, 98.0, 98 / 99 - 1], [T0 + 3, 97.0, 97 / 99 - 1]]
    assert told["restarts_ms"] == [T0 + 2, T0 + 3]
    writer.append(Transferred(T0 + 4, Decimal("-48.5"), "t"))
    writer.append(Marked(T0 + 4, 48.5, 0.0))
    assert index is not None
    index.refresh()
    assert equity.curve(index, 100)["points"][-1] == [T0 + 4, 48.5, 97 / 99 - 1]  # type: ignore[index]
