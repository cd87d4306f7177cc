from decimal import Decimal

import numpy as np

from bot.adapters.files.candles import Candles, Funding
from bot.domain.messages import BarsClosed, FundingRate
from bot.service.backtest.history import History
from tests.helpers import T0

FIVE_MS = 300_000


def candles(symbol: str = "BTCUSDT", bars: int = 4, first: int = 0, interval_ms: int = FIVE_MS) -> Candles:
    start_ms = T0 + interval_ms * np.arange(first, first + bars, dtype=np.int64)
    return Candles.make(symbol, interval_ms, start_ms, np.tile([100.0, 101.0, 99.0, 100.0, 5.0], (bars, 1)))


def rates(*closes: int, symbol: str = "BTCUSDT") -> Funding:
    """Rates settled at the close of the bars of these numbers."""
    start_ms = T0 + FIVE_MS * (np.array(closes, dtype=np.int64) + 1)
    return Funding(symbol, start_ms, np.full(len(closes), 0.0001))


def seen(history: History, from_ms: int = 0, to_ms: int | None = None) -> list[str]:
    """``b2`` = bar 2 closed, ``f2`` = the rate settled at that close."""
    return [
        ("b" if isinstance(event, BarsClosed) else "f") + str((event.ts_ms - T0) // FIVE_MS - 1)
        for event in history.events(from_ms, to_ms)
    ]


def test_a_rate_comes_after_the_close_it_settles_at_and_before_the_next() -> None:
    assert seen(History((candles(),), (rates(1),))) == ["b0", "b1", "f1", "b2", "b3"]


def test_a_rate_settled_at_the_last_close_is_still_paid_and_a_later_one_is_not() -> None:
    assert seen(History((candles(),), (rates(3, 4),))) == ["b0", "b1", "b2", "b3", "f3"]
    assert seen(History((candles(),), (rates(1, 2),)), to_ms=T0 + 2 * FIVE_MS) == ["b0", "b1", "f1"]


def test_the_last_rate_before_the_first_bar_is_known_from_the_start() -> None:
    later = T0 + 2 * FIVE_MS
    first, *_ = History((candles(),), (rates(-2, 0),)).events(later)
    assert first == FundingRate(T0 + FIVE_MS, "BTCUSDT", Decimal("0.0001"))


def test_bars_of_one_close_and_interval_come_together_in_symbol_order() -> None:
    both = History((candles("ETHUSDT"), candles("BTCUSDT", first=2), candles("XUSDT", 1, 0, 4 * FIVE_MS)))
    events = [(each.interval_ms // FIVE_MS, [bar.symbol for bar in each.bars]) for each in both.events()]  # type: ignore[union-attr]
    assert events == [
        (1, ["ETHUSDT"]),
        (1, ["ETHUSDT"]),
        (1, ["BTCUSDT", "ETHUSDT"]),
        (1, ["BTCUSDT", "ETHUSDT"]),
        (4, ["XUSDT"]),
        (1, ["BTCUSDT"]),
        (1, ["BTCUSDT"]),
    ]
