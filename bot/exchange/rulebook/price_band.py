"""How far a price may lie from the market: the band of limit orders, the protective price of market orders.

Bybit's formulas for futures since 2026-05 (price limits of perpetual contracts).
"""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from bot.domain.market import Instrument
from bot.domain.money import ZERO, ceil_to, floor_to
from bot.domain.orders import Side
from bot.exchange.orders import ExchangeOrder
from bot.exchange.rulebook.refusals import Refusal

PREMIUM_MS = 30_000
"""The premium is the mean of mid − mark over this time."""
_PROTECTION = Decimal("0.05")


def in_range(price: Decimal, instrument: Instrument) -> Refusal | None:
    """Whether a price is inside the instrument's range and on its grid."""
    if not instrument.min_price <= price <= instrument.max_price:
        return Refusal(110003, "Order price exceeds the allowable range")
    if instrument.tick_size and price % instrument.tick_size:
        return Refusal(10001, f"params error: price {price} is not a multiple of {instrument.tick_size}")
    return None


class PriceBand(msgspec.Struct, frozen=True):
    """How far a limit price may lie from mark and index: Bybit's priceLimitRatioX and Y."""

    x: Decimal = Decimal("0.05")
    y: Decimal = Decimal("0.1")


class Bounds(msgspec.Struct, frozen=True):
    """Highest limit price of a buyer and lowest of a seller; None before the first mark."""

    highest: Decimal | None
    lowest: Decimal | None


UNBOUNDED = Bounds(None, None)


def bounds(band: PriceBand, mark: Decimal, index: Decimal, premium: Decimal, tick: Decimal) -> Bounds:
    """min(mark(1+Y), max(index, mark(1+X) + max(0, premium))) and its mirror, on the tick grid inside."""
    highest = min(mark * (1 + band.y), max(index, mark * (1 + band.x) + max(ZERO, premium)))
    lowest = max(mark * (1 - band.y), min(index, mark * (1 - band.x) + min(ZERO, premium)))
    return Bounds(floor_to(highest, tick), ceil_to(lowest, tick))


def mean_premium(seen: Iterable[tuple[int, Decimal, Decimal, Decimal]], now_ms: int) -> Decimal:
    """Mean of mid − mark over the last 30 s of ``seen``: (time, mark, bid, ask)."""
    since_ms = now_ms - PREMIUM_MS
    premiums = [(bid + ask) / 2 - mark for ts_ms, mark, bid, ask in seen if ts_ms >= since_ms]
    return sum(premiums, ZERO) / len(premiums) if premiums else ZERO


def banded(side: Side, price: Decimal, limits: Bounds) -> Decimal:
    """Return a limit price moved into the bounds: futures orders are adjusted, not refused."""
    if side == "Buy":
        return price if limits.highest is None else min(price, limits.highest)
    return price if limits.lowest is None else max(price, limits.lowest)


def protective_price(
    order: ExchangeOrder, last: Decimal, best: Decimal | None, limits: Bounds, tick: Decimal
) -> Decimal:
    """The limit of a market order: 5 % beyond the last price, on the tick inside, and in the bounds.

    The bounds do not hold for orders that close on a trigger: a gap must not leave them unfilled. ``best``
    is the best offer; a market order's slippage tolerance is its largest distance from ``best``.
    """
    buy = order.side == "Buy"
    price = floor_to(last * (1 + _PROTECTION), tick) if buy else ceil_to(last * (1 - _PROTECTION), tick)
    if not order.close_on_trigger:
        price = banded(order.side, price, limits)
    if best is None or not order.slippage_type:
        return price
    off = order.slippage * tick if order.slippage_type == "TickSize" else best * order.slippage / 100
    return min(price, floor_to(best + off, tick)) if buy else max(price, ceil_to(best - off, tick))
