"""A journal of two days, for summaries."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from bot.adapters.state.journal import JournalWriter
from bot.domain.market import DAY_MS, HOUR_MS
from bot.domain.messages import Filled, FundingPaid
from bot.domain.orders import Side
from bot.journal.entries import Header, Marked
from tests.helpers import T0, fill

ARGUMENTS = msgspec.Raw(b'{"name":"bot1"}')
HEADER = Header(format=1, account="", segment=0, process=1, ts_ms=T0, code="0", arguments=ARGUMENTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """On the first day a winner; on the second a loser that began on the first, and an open position."""
    folder = tmp_path / "journal" / "paper-1"
    writer = JournalWriter(folder)
    writer.begin(HEADER)

    def filled(number: int, side: Side, price: str, at_ms: int) -> None:
        order, execution = f"bot1-{number}-0", f"x{number}"
        made = fill(side, "1", price, fee="1", exec_id=execution, order_id=order, ts_ms=at_ms)
        writer.append(Filled(made))

    filled(1, "Buy", "100", T0)
    filled(2, "Sell", "150", T0 + HOUR_MS)
    filled(3, "Buy", "100", T0 + DAY_MS - HOUR_MS)
    writer.append(FundingPaid(T0 + DAY_MS + 1, "BTCUSDT", Decimal("-0.5")))
    filled(4, "Sell", "90", T0 + DAY_MS + HOUR_MS)
    filled(5, "Buy", "80", T0 + DAY_MS + 2 * HOUR_MS)
    for index in range(2 * 1_440):
        value = None if index == 2_000 else 10_000.0 + (900.0 if index == 2_222 else index / 100.0)
        writer.append(Marked(T0 + (index + 1) * 60_000, value, 0.0, "", {}))
    writer.sync()
    writer.close()
    return folder
