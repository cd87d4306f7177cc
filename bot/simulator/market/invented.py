"""An invented market for symbols without candle files: endless prices, and contract rules that fit them."""

from decimal import Decimal
from math import floor, log10
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.shipped import instruments as shipped_instruments
from bot.domain.market import DAY_MS, Instrument, RiskTier
from bot.exchange.bars.path import uniform
from bot.simulator.market.tape import WEEK_MS, Loop, LoopTape
from bot.synth import MarketRecipe, Series, funding, market

Floats = NDArray[np.float64]

WEEKS = 3
"""Length of a loop. It is longer than the shipped model's warm-up, so no window sees a candle twice."""
ORIGINALS = 40
"""Further symbols share the loop of an earlier one, at another place and another price."""
HISTORY_DAYS = 400
_KNOWN_PRICES = {"BTCUSDT": 100_000.0, "ETHUSDT": 3_500.0, "SOLUSDT": 180.0}
_KNOWN_TURNOVER = {"BTCUSDT": 1e10, "ETHUSDT": 5e9, "SOLUSDT": 2e9}
_RECIPE_PRICE = 100.0
_PLACE_STEP_MS = 40 * 3_600_000
"""Distance of two symbols on one loop; a multiple of eight hours."""


def symbols(count: int) -> tuple[str, ...]:
    """Return the first ``count`` names: three real symbols, then invented ones."""
    known = tuple(_KNOWN_PRICES)
    return (known + tuple(f"X{i:03d}USDT" for i in range(count)))[:count]


def tapes(names: tuple[str, ...], interval_ms: int, seed: int, now_ms: int) -> list[LoopTape]:
    """Return one endless tape a symbol; the same seed gives the same prices at the same moment."""
    bars = WEEKS * WEEK_MS // interval_ms
    recipe = MarketRecipe(interval_ms=interval_ms, bars=bars, price=_RECIPE_PRICE, turnover_per_day=1e8)
    originals = [_rounded(each, seed) for each in market(recipe, names[:ORIGINALS], seed).values()]
    first_ms = (now_ms // DAY_MS - HISTORY_DAYS) * DAY_MS
    made = []
    for i, name in enumerate(names):
        instrument, price, turnover = _contract(name, seed)
        loop = originals[i % ORIGINALS]
        if i < ORIGINALS:
            loop = originals[i] = _in_steps(loop, instrument, price, turnover)
        offset = i // ORIGINALS * _PLACE_STEP_MS // interval_ms
        made.append(LoopTape(loop, instrument, interval_ms, first_ms, offset))
    return made


def rules_for(symbol: str, price: float, tick: Decimal | None = None) -> Instrument:
    """Return rules like BTCUSDT's for a contract that costs ``price``: the same values in quote currency."""
    digit = floor(log10(price))
    tick = tick if tick is not None else Decimal(1).scaleb(digit - 4)
    step = Decimal(1).scaleb(min(0, 1 - digit))
    shortest = max(step, Decimal(1).scaleb(-8))
    most = Decimal(1).scaleb(max(2, 8 - digit))
    return Instrument(
        symbol=symbol,
        tick_size=tick,
        qty_step=shortest,
        min_qty=shortest,
        max_qty=most,
        max_market_qty=most / 4,
        min_notional_quote=Decimal(5),
        min_price=tick,
        max_price=tick * 19_999_998,
        max_leverage=Decimal(50),
        tiers=_TIERS,
    )


_TIERS = (
    RiskTier(Decimal(200_000), Decimal("0.01"), Decimal(0), Decimal(50)),
    RiskTier(Decimal(1_000_000), Decimal("0.02"), Decimal(2_000), Decimal(25)),
    RiskTier(Decimal(10_000_000), Decimal("0.05"), Decimal(32_000), Decimal(10)),
)


def _contract(name: str, seed: int) -> tuple[Instrument, float, float]:
    """Return rules, typical price and daily turnover of a symbol."""
    shipped = shipped_instruments().get(name)
    if shipped is not None:
        price = _KNOWN_PRICES.get(name, float(shipped.tick_size) * 25_000)
        return shipped, price, _KNOWN_TURNOVER.get(name, 2e8)
    chance = uniform(seed, crc32(name.encode()), name)
    price = 10.0 ** (4.0 * chance - 1.0)  # 0.1 to 1000, evenly in its logarithm
    return rules_for(name, price), price, 5e7


def _rounded(series: Series, seed: int) -> Loop:
    """Bend a series so that it ends where it began: prices against ``_RECIPE_PRICE``, volume in quote."""
    ohlc = series.ohlcv[:, :4] / _RECIPE_PRICE
    bars = len(ohlc)
    bend = np.exp(-np.log(ohlc[-1, 3] / ohlc[0, 0]) * np.arange(2 * bars + 1) / (2 * bars))
    before, within, after = bend[0:-1:2], bend[1::2], bend[2::2]
    open_, close = ohlc[:, 0] * before, ohlc[:, 3] * after
    high = np.maximum(ohlc[:, 1] * within, np.maximum(open_, close))
    low = np.minimum(ohlc[:, 2] * within, np.minimum(open_, close))
    rates = funding(series, seed)[1]
    return Loop(np.column_stack((open_, high, low, close)), series.ohlcv[:, 4] * _RECIPE_PRICE, rates)


def _in_steps(loop: Loop, instrument: Instrument, price: float, turnover_per_day: float) -> Loop:
    """Return the loop in ticks and quantity steps of ``instrument``, at about ``price``."""
    ticks = np.maximum(np.rint(loop.ticks * (price / float(instrument.tick_size))), 1.0)
    quote = loop.steps * (turnover_per_day / 1e8)
    steps = np.maximum(np.rint(quote / (loop.ticks[:, 3] * price) / float(instrument.qty_step)), 1.0)
    return Loop(ticks, steps, loop.rates)
