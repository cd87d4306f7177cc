"""The venue changes its rules between two readings of them: its refusal is what tells."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.domain.messages import InstrumentChanged
from tests.adapters.venue.live import exchange_with, venue_at

HOURS_MS = 3_600_000
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a coarser step": ({"qty_step": Decimal("0.1"), "min_qty": Decimal("0.1")}, {"qty": "0.15"}),
    "a larger minimum": ({"min_qty": Decimal("0.5")}, {"qty": "0.2"}),
    "a larger notional": ({"min_notional_quote": Decimal(1_000_000)}, {"qty": "0.2"}),
    "a coarser price": ({"tick_size": Decimal(1000)}, {"qty": "0.2"}),
    "no trading": ({"status": "Closed"}, {"qty": "0.2"}),
}


@pytest.mark.fault(38)
@pytest.mark.parametrize(("changes", "order"), CHANGES.values(), ids=CHANGES)
async def test_a_refusal_that_speaks_of_the_rules_has_them_read_at_once(
    changes: dict[str, Any], order: dict[str, Any], tmp_path: Path
) -> None:
    async with (
        exchange_with() as exchange,
        venue_at(exchange, tmp_path, instruments_ms=HOURS_MS) as trader,
    ):
        before = len(trader.told(InstrumentChanged))
        rules = msgspec.structs.replace(exchange.market.instrument("BTCUSDT"), **changes)
        exchange.market.set_instrument(rules)
        trader.place(trader.limit(**order))  # refused; what can be rounded is sent again
        await trader.until(lambda: len(trader.told(InstrumentChanged)) > before)
        told = {each.instrument.symbol: each.instrument for each in trader.told(InstrumentChanged)}["BTCUSDT"]
        assert {name: getattr(told, name) for name in changes} == changes
