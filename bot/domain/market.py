"""Bars, instruments and interval arithmetic.

One convention everywhere: a bar is named by its open time ``start_ms`` (UTC, Bybit's ``start``) and covers
``[start_ms, start_ms + interval_ms)``. A ``Bar`` is closed; a candle that is still open is a ``Candle`` (see
``messages.py``).
"""

from collections.abc import Iterable
from decimal import Decimal
from math import inf
from typing import Literal, Self

import msgspec

from bot.domain.errors import BadBar, BadInput
from bot.domain.money import ZERO
from bot.domain.words import utc_words

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

INTERVALS_MS: dict[str, int] = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
}
"""Interval name (as in file names) → milliseconds. Weeks and months have no fixed length: not traded."""


def interval_name(interval_ms: int) -> str:
    """Return the file-name form of an interval: ``300_000`` → ``"5m"``.

    Raises:
        BadInput: no interval has this length.
    """
    for name, ms in INTERVALS_MS.items():
        if ms == interval_ms:
            return name
    raise BadInput(f"no interval has {interval_ms} ms; known: {', '.join(INTERVALS_MS)}")


class Bar(msgspec.Struct, frozen=True, gc=False):
    """One closed candle, covering ``[start_ms, start_ms + interval_ms)``.

    Prices are quote per base, ``volume`` is in base, ``turnover`` is in quote (None if the source has none).

    Raises:
        BadBar: a price is not positive and finite; ``high``/``low`` do not enclose ``open``/``close``;
            ``volume`` or ``turnover`` is negative or not finite; or ``start_ms`` is not a multiple of
            ``interval_ms``.
    """

    symbol: str
    """Such as ``BTCUSDT``."""
    interval_ms: int
    """Length of the bar, ms."""
    start_ms: int
    """Open time, ms since 1970 (UTC)."""
    open: float
    """First price, quote per base."""
    high: float
    """Highest price, quote per base."""
    low: float
    """Lowest price, quote per base."""
    close: float
    """Last price, quote per base."""
    volume: float
    """In base."""
    turnover: float | None = None
    """In quote; None if the source has none."""

    def __post_init__(self) -> None:
        # Written as "valid only if": a NaN makes a comparison false, so a bar with a NaN is refused.
        low, high = self.low, self.high
        if (
            0.0 < low <= self.open <= high < inf
            and low <= self.close <= high
            and 0.0 <= self.volume < inf
            and self.start_ms % self.interval_ms == 0
            and (self.turnover is None or 0.0 <= self.turnover < inf)
        ):
            return
        raise BadBar(_why_bad(self))

    @property
    def close_ms(self) -> int:
        """First millisecond after the bar: the earliest time at which the bot may act on the bar."""
        return self.start_ms + self.interval_ms


def _why_bad(bar: Bar) -> str:
    name = f"{bar.symbol} bar {bar.start_ms} ({utc_words(bar.start_ms)})"
    for field in ("open", "high", "low", "close"):
        price = getattr(bar, field)
        if not 0.0 < price < inf:
            return f"{name}: {field} must be positive and finite, {_was(price)}"
    if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
        return f"{name}: low {bar.low} and high {bar.high} must enclose open {bar.open} and close {bar.close}"
    if not 0.0 <= bar.volume < inf:
        return f"{name}: volume must be >= 0 and finite, {_was(bar.volume)}"
    if bar.start_ms % bar.interval_ms:
        return f"{name}: start_ms is not a multiple of the interval ({bar.interval_ms} ms)"
    return f"{name}: turnover must be >= 0 and finite, was {bar.turnover}"


def _was(value: float) -> str:
    return f"was {value}" if value == value else "but is empty or no number"


class RiskTier(msgspec.Struct, frozen=True):
    """One row of Bybit's risk limits: the rules for a position value of up to ``limit_quote``.

    Maintenance margin = position value × ``maintenance_frac`` − ``deduction_quote``.
    """

    limit_quote: Decimal
    maintenance_frac: Decimal
    deduction_quote: Decimal
    max_leverage: Decimal


Market = Literal["linear", "spot"]
"""A contract settled in quote (USDT), or the coin itself, bought with one's own money and never short."""
InstrumentStatus = Literal["PreLaunch", "Trading", "Delivering", "Closed"]


class Instrument(msgspec.Struct, frozen=True):
    """The trading rules of one linear perpetual: steps, minima, margin tiers (Bybit ``instruments-info``).

    A step of 0 means "no grid"; a minimum of 0 means "no minimum" (see ``exact``). ``market`` is ``spot``
    only in backtests of spot candles.
    """

    symbol: str
    tick_size: Decimal
    qty_step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    max_market_qty: Decimal
    min_notional_quote: Decimal
    min_price: Decimal
    max_price: Decimal
    max_leverage: Decimal
    tiers: tuple[RiskTier, ...]
    funding_interval_ms: int = 8 * HOUR_MS
    status: InstrumentStatus = "Trading"
    delivery_ms: int = 0
    """When the local exchange takes the contract off its list; 0: no such date. Of Bybit's rows the status is
    enough: a contract with such a date takes exits only (``bybit.instruments.status_of``)."""
    market: Market = "linear"

    @classmethod
    def exact(cls, symbol: str) -> "Instrument":
        """Return an instrument without steps, minima or maxima, for bars whose prices are on no tick grid."""
        huge = Decimal("1e30")
        return cls(
            symbol=symbol,
            tick_size=ZERO,
            qty_step=ZERO,
            min_qty=ZERO,
            max_qty=huge,
            max_market_qty=huge,
            min_notional_quote=ZERO,
            min_price=ZERO,
            max_price=huge,
            max_leverage=Decimal(100),
            tiers=(RiskTier(huge, Decimal("0.005"), ZERO, Decimal(100)),),
        )


class Forecast(msgspec.Struct, frozen=True, gc=False):
    """The model's forecast at the close of one bar. All values are finite; the predictor checks this.

    A model of the user's own leaves the fields that it does not forecast NaN. One with horizons of its own
    has columns of other names as well: ``forecast["rv_240m"]`` reads each column by its name.
    """

    rv_60m: float
    """Mean of the sum of squared one-bar log returns of the next 60 minutes, each clipped at ±0.1."""
    rv_log_sd: float
    """Standard deviation of the natural logarithm of ``rv_60m``."""
    ret_15m: float
    """Mean log return of the next 15 minutes (0.01 is about 1 %)."""
    ret_60m: float
    """Mean log return of the next 60 minutes."""
    ret_15m_scale: float
    """Scale of the Student-t (4 degrees of freedom) around ``ret_15m``, log return; √2 times it is its
    standard deviation."""
    ret_60m_scale: float
    """The same around ``ret_60m``."""
    own: tuple[tuple[str, float], ...] = ()
    """Names and values of the columns of a model with horizons of its own; empty for 15 and 60 minutes."""

    @classmethod
    def of(cls, values: Iterable[float], own: tuple[tuple[str, float], ...] = ()) -> Self:
        """Return a forecast with these six values, in the order of the fields."""
        rv_60m, rv_log_sd, ret_15m, ret_60m, ret_15m_scale, ret_60m_scale = values
        return cls(rv_60m, rv_log_sd, ret_15m, ret_60m, ret_15m_scale, ret_60m_scale, own)

    def __getitem__(self, name: str) -> float:
        """Return a column by its name.

        Raises:
            KeyError: the model has no such column.
        """
        for own, value in self.own:
            if own == name:
                return value
        if self.own or name not in FORECAST_FIELDS:
            known = [own for own, _ in self.own] or FORECAST_FIELDS
            raise KeyError(f"{name}: the model forecasts {', '.join(known)}")
        return float(getattr(self, name))

    @property
    def hourly_variance(self) -> float:
        """``rv_60m``; of a model with a longer or shorter horizon its variance per hour, such as rv_240m / 4.

        NaN where no variance is forecast.
        """
        for name, value in self.own:
            if name != "rv_log_sd" and name.startswith("rv_"):
                return value * 60.0 / int(name[len("rv_") : -len("m")])
        return self.rv_60m

    @property
    def numbers(self) -> tuple[float, ...]:
        """All values: six, and those of ``own`` behind them."""
        values: tuple[float, ...] = msgspec.structs.astuple(self)[:-1]
        return (*values, *(value for _, value in self.own)) if self.own else values


FORECAST_FIELDS = tuple(name for name in Forecast.__struct_fields__ if name != "own")
"""The fields of a forecast over 15 and 60 minutes, in order."""
