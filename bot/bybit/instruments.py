"""Converts the venue's rows about a contract to the domain's ``Instrument``.

https://bybit-exchange.github.io/docs/v5/market/instrument
https://bybit-exchange.github.io/docs/v5/market/risk-limit
"""

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import cast, get_args

import msgspec

from bot.bybit.codes import printable
from bot.bybit.wire import InstrumentRow, RiskRow
from bot.domain.errors import BadInput
from bot.domain.market import MINUTE_MS, Instrument, InstrumentStatus, RiskTier
from bot.domain.money import ZERO

NOT_TRADED_MS = MINUTE_MS
"""How often rules are read while a contract is not traded: the venue tells nobody that it is traded again."""
_STATUSES = get_args(InstrumentStatus)


def any_not_traded(rules: Iterable[Instrument]) -> bool:
    """Return True if one of the contracts is not traded now; it may be again."""
    return any(each.status != "Trading" for each in rules)


def instrument_of(row: InstrumentRow, tiers: Iterable[RiskRow]) -> Instrument:
    """Return one contract with its margin tiers. Tiers of other symbols are ignored.

    Raises:
        BadInput: a value is not a number or out of its range, the status is unknown, or there is no tier.
    """
    status = status_of(row)
    if row.fundingInterval <= 0:
        raise BadInput(f"{row.symbol}: fundingInterval must be > 0 minutes, was {row.fundingInterval}")
    lots, prices = row.lotSizeFilter, row.priceFilter
    most = _number(row, "maxOrderQty", lots.maxOrderQty)
    found = Instrument(
        symbol=row.symbol,
        tick_size=_number(row, "tickSize", prices.tickSize),
        qty_step=_number(row, "qtyStep", lots.qtyStep),
        min_qty=_number(row, "minOrderQty", lots.minOrderQty),
        max_qty=most,
        # A maximum of 0 is none: an exit could never be sent.
        max_market_qty=_number(row, "maxMktOrderQty", lots.maxMktOrderQty or "0") or most,
        min_notional_quote=_number(row, "minNotionalValue", lots.minNotionalValue or "0"),
        min_price=_number(row, "minPrice", prices.minPrice),
        max_price=_number(row, "maxPrice", prices.maxPrice),
        max_leverage=_number(row, "maxLeverage", row.leverageFilter.maxLeverage),
        tiers=_tiers(row, tiers),
        funding_interval_ms=row.fundingInterval * MINUTE_MS,
        status=status,
    )
    if not (found.tick_size > ZERO and found.qty_step > ZERO and found.max_leverage >= 1):
        raise BadInput(f"{row.symbol}: tickSize and qtyStep must be > 0, maxLeverage >= 1")
    return found


def status_of(row: InstrumentRow) -> InstrumentStatus:
    """Return the status. A perpetual whose end is announced (``deliveryTime``) takes exits only from then on.

    Raises:
        BadInput: the status is unknown.
    """
    if row.status not in _STATUSES:
        raise BadInput(f"{row.symbol}: unknown status {printable(row.status, 30)!r}")
    ends = row.deliveryTime not in ("", "0")
    return "Delivering" if ends and row.status == "Trading" else cast(InstrumentStatus, row.status)


def ended_contract(symbol: str) -> Instrument:
    """Return a contract that the venue lists no more: only its name is known, and no order passes."""
    return msgspec.structs.replace(Instrument.exact(symbol), status="Closed")


def _tiers(row: InstrumentRow, tiers: Iterable[RiskRow]) -> tuple[RiskTier, ...]:
    found = [_tier(row, tier) for tier in tiers if tier.symbol == row.symbol]
    found.sort(key=lambda tier: tier.limit_quote)
    if not found:
        raise BadInput(f"{row.symbol} has no margin tier")
    return tuple(found)


def _tier(row: InstrumentRow, tier: RiskRow) -> RiskTier:
    """Convert one tier. Margins are fractions or percents: initial margin × leverage is then 1 or 100."""
    leverage = _number(row, "maxLeverage", tier.maxLeverage)
    scale = 100 if _number(row, "initialMargin", tier.initialMargin) * leverage > 10 else 1
    return RiskTier(
        limit_quote=_number(row, "riskLimitValue", tier.riskLimitValue),
        maintenance_frac=_number(row, "maintenanceMargin", tier.maintenanceMargin) / scale,
        deduction_quote=_number(row, "mmDeduction", tier.mmDeduction or "0"),
        max_leverage=leverage,
    )


def _number(row: InstrumentRow, name: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise BadInput(f"{row.symbol}: {name} {printable(text, 30)!r} is not a number") from error
    if not (value.is_finite() and value >= ZERO):
        raise BadInput(f"{row.symbol}: {name} must be >= 0 and finite, was {printable(text, 30)}")
    return value
