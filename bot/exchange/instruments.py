"""Rules and spreads from JSON text: text in, values out. Reading files is the adapters' work."""

from decimal import Decimal
from itertools import pairwise
from math import inf
from typing import TypeVar

import msgspec

from bot.domain.errors import BadFile
from bot.domain.market import Instrument, RiskTier
from bot.domain.money import ZERO

_T = TypeVar("_T")


class Spreads(msgspec.Struct, frozen=True):
    """Half-spreads in bps of the mid: measured per symbol, and a default for all other symbols."""

    half_spread_bps: dict[str, float]
    default_bps: float


class _Entry(Instrument, frozen=True, kw_only=True):
    source: str
    tiers_source: str = ""


class _Instruments(msgspec.Struct, frozen=True):
    instruments: list[_Entry]


def parse_instruments(text: str | bytes, name: str = "instruments") -> dict[str, Instrument]:
    """Rules by symbol from the JSON form of ``instruments.json``; decimals are strings.

    Raises:
        BadFile: the text has another form, a figure is out of its range, or a symbol stands twice.
    """
    instruments: dict[str, Instrument] = {}
    for entry in _decode(text, _Instruments, name).instruments:
        if entry.symbol in instruments:
            raise BadFile(f"{name}: {entry.symbol} is given twice")
        instruments[entry.symbol] = _checked(entry, name)
    return instruments


def parse_spreads(text: str | bytes, name: str = "spreads") -> Spreads:
    """Half-spreads from the JSON form of ``spreads.json``.

    Raises:
        BadFile: the text has another form, or a spread is below 0 or not finite.
    """
    spreads = _decode(text, Spreads, name)
    for symbol, bps in {**spreads.half_spread_bps, "default_bps": spreads.default_bps}.items():
        if not 0.0 <= bps < inf:
            raise BadFile(f"{name}: {symbol}: a half-spread must be >= 0 bps, was {bps}")
    return spreads


def _decode(text: str | bytes, form: type[_T], name: str) -> _T:
    try:
        return msgspec.json.decode(text, type=form)
    except msgspec.DecodeError as error:
        raise BadFile(f"{name}: {error}") from error


def _checked(entry: _Entry, name: str) -> Instrument:
    fields = {field: getattr(entry, field) for field in Instrument.__struct_fields__}
    where = f"{name}: {entry.symbol}"
    for field in ("tick_size", "qty_step", "min_qty", "min_notional_quote", "min_price"):
        _require(fields[field] >= ZERO, f"{where}: {field} must be >= 0, was {fields[field]}")
    for low, high in (("min_qty", "max_qty"), ("min_qty", "max_market_qty"), ("min_price", "max_price")):
        _require(fields[low] < fields[high], f"{where}: {low} must be below {high}")
    _require(entry.max_leverage >= 1, f"{where}: max_leverage must be >= 1, was {entry.max_leverage}")
    _require(entry.funding_interval_ms > 0, f"{where}: funding_interval_ms must be > 0")
    _require(bool(entry.tiers), f"{where}: at least one tier is needed")
    _check_tiers(entry.tiers, where)
    return Instrument(**fields)


def _check_tiers(tiers: tuple[RiskTier, ...], where: str) -> None:
    """Require that limits and fractions rise, leverage falls, and maintenance does not jump at a limit."""
    first = tiers[0]
    _require(ZERO < first.maintenance_frac < 1, f"{where}: maintenance_frac must be in (0, 1)")
    _require(first.deduction_quote == ZERO, f"{where}: the first tier has no deduction")
    for below, above in pairwise(tiers):
        _require(
            below.limit_quote < above.limit_quote
            and below.maintenance_frac < above.maintenance_frac < 1
            and below.max_leverage >= above.max_leverage,
            f"{where}: tiers must rise in limit and maintenance_frac and not in max_leverage",
        )
        step: Decimal = below.limit_quote * (above.maintenance_frac - below.maintenance_frac)
        _require(
            above.deduction_quote == below.deduction_quote + step,
            f"{where}: deduction_quote {above.deduction_quote} makes maintenance jump at {below.limit_quote}",
        )


def _require(fine: bool, message: str) -> None:
    if not fine:
        raise BadFile(message)
