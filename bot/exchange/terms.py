"""What trading costs: fees, spread, impact, the share of volume, and the grid of prices."""

from collections.abc import Mapping
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from math import log, sqrt
from typing import Literal

import msgspec

from bot.domain.errors import BadInput
from bot.domain.market import Bar, Instrument
from bot.domain.money import ZERO, ceil_to, floor_to, to_decimal
from bot.domain.orders import Side

_PARKINSON = 2.0 * sqrt(log(2.0))
_SLIP_MAX = Decimal("0.5")
_QTY_STEP = Decimal("1e-12")
FEE_STEP = Decimal("1e-8")
"""Fees are booked in multiples of this, in quote."""
UNLIMITED = Decimal("Infinity")


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The costs of trading, and how the venue behaves inside a candle.

    A taker pays half the spread and the square-root impact of ``impact_frac``; with both at 0 a market
    order at a bar's open fills exactly at the open.

    ``participation_frac`` of a bar's volume is the most that all orders of a symbol together may fill in
    that bar (``liquidity="full"`` lifts this). ``intrabar="worst"`` is a stress: inside each bar the price
    goes against an open position first. ``leverage`` is the setting of every symbol until it is changed.

    Raises:
        BadInput: a figure out of its range.
    """

    taker_fee_frac: Decimal = Decimal("0.00055")
    maker_fee_frac: Decimal = Decimal("0.0002")
    half_spread_bps: Mapping[str, float] = msgspec.field(default_factory=dict)
    """Per symbol; ``default_half_spread_bps`` for the rest."""
    default_half_spread_bps: float = 1.0
    impact_frac: float = 1.0
    """Y of the square-root law, see ``impact``; of order 1 in the literature, 0 = none."""
    liquidity: Literal["volume", "full"] = "volume"
    participation_frac: float = 0.1
    latency_ms: int = 0
    limit_fills: Literal["through", "queue"] = "through"
    """When closed bars fill a resting limit order: once a price goes beyond it, or by ``bars.queue``."""
    queue_ahead_ms: int = 60_000
    """The queue before a new limit order: what trades in this time on average."""
    intrabar: Literal["path", "worst"] = "path"
    margin_mode: Literal["cross", "isolated"] = "cross"
    leverage: Decimal = Decimal(10)

    def __post_init__(self) -> None:
        spreads = (self.default_half_spread_bps, *self.half_spread_bps.values())
        if not all(0.0 <= spread < 5_000.0 for spread in spreads):
            raise BadInput("a half-spread must be in [0, 5000) bps")
        if not 0.0 <= self.impact_frac < 100.0:
            raise BadInput(f"impact_frac must be in [0, 100), was {self.impact_frac}")
        if not 0.0 < self.participation_frac <= 1.0:
            raise BadInput(f"participation_frac must be in (0, 1], was {self.participation_frac}")
        if self.latency_ms < 0:
            raise BadInput(f"latency_ms must be >= 0, was {self.latency_ms}")
        if self.queue_ahead_ms < 0:
            raise BadInput(f"queue_ahead_ms must be >= 0, was {self.queue_ahead_ms}")
        if self.limit_fills == "queue" and self.liquidity == "full":
            raise BadInput("limit_fills queue counts the bars' volume, liquidity full ignores it; set one")
        if not self.leverage >= 1:
            raise BadInput(f"leverage must be >= 1, was {self.leverage}")
        if not (abs(self.taker_fee_frac) < 1 and abs(self.maker_fee_frac) < 1):
            raise BadInput("fees are fractions of the value, between -1 and 1")

    def half_spread_frac(self, symbol: str) -> Decimal:
        """Half the spread of ``symbol`` as a fraction of the price."""
        return to_decimal(self.half_spread_bps.get(symbol, self.default_half_spread_bps)) / 10_000

    def fee_frac(self, maker: bool) -> Decimal:
        """The fee rate of a maker or a taker."""
        return self.maker_fee_frac if maker else self.taker_fee_frac

    def fee_quote(self, value_quote: Decimal, maker: bool) -> Decimal:
        """Fee of one execution of that value, as it is booked; > 0 is paid."""
        return booked_fee(value_quote * (self.maker_fee_frac if maker else self.taker_fee_frac))

    def impact(self, bar: Bar, qty: Decimal) -> Decimal:
        """Fraction of the price by which ``qty`` moves it: Y × σ × sqrt(qty / volume).

        The square-root law (Tóth et al. 2011, Phys. Rev. X 1, 021006, eq. 1; Almgren et al. 2005). σ is the
        bar's own volatility from its range, ln(high / low) / (2 sqrt(ln 2)) (Parkinson 1980, J. Business
        53), so σ and volume cover the same time and the law needs no further scaling.
        """
        if not self.impact_frac or bar.high == bar.low:
            return ZERO
        share = float(qty) / bar.volume if bar.volume else 1.0
        return to_decimal(self.impact_frac * log(bar.high / bar.low) / _PARKINSON * sqrt(share))

    def capacity(self, bar: Bar, instrument: Instrument) -> Decimal:
        """Most base that all orders together may fill in ``bar``, on the quantity grid."""
        if self.liquidity == "full":
            return UNLIMITED
        share = to_decimal(bar.volume * self.participation_frac)
        return (
            floor_to(share, instrument.qty_step)
            if instrument.qty_step
            else share.quantize(_QTY_STEP, rounding=ROUND_DOWN)
        )


def booked_fee(fee_quote: Decimal) -> Decimal:
    """A fee as Bybit books it, on 1e-8, half up: 64.6273 × 0.00055 is recorded as 0.03554502."""
    return fee_quote.quantize(FEE_STEP, rounding=ROUND_HALF_UP)


def taker_price(base: Decimal, side: Side, slip_frac: Decimal, tick: Decimal) -> Decimal:
    """``base`` made worse by ``slip_frac`` (half the price at most) and rounded to the tick, away from us."""
    if not slip_frac:
        return round_against(base, side, tick) if tick else base
    slip = base * min(slip_frac, _SLIP_MAX)
    return round_against(base + slip if side == "Buy" else base - slip, side, tick)


def round_against(price: Decimal, side: Side, tick: Decimal) -> Decimal:
    """``price`` on the tick grid, rounded up for a buyer and down for a seller; 17 digits without a grid."""
    if not tick:
        return to_decimal(float(price))
    return ceil_to(price, tick) if side == "Buy" else max(floor_to(price, tick), tick)
