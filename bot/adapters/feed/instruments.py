"""The venue's contract rules: read over REST, returned as values, written as a file for ``--instrument``."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import get_args

import msgspec

from bot.adapters.feed.requests import for_each, pages
from bot.adapters.files.whole import write_text
from bot.adapters.net.public_rest import PublicRest
from bot.bybit.codes import Forbidden
from bot.bybit.instruments import ended_contract, status_of
from bot.bybit.orders import instruments as instruments_page
from bot.bybit.orders import parse_instruments as parse_rows
from bot.bybit.orders import parse_risk_limits
from bot.bybit.orders import risk_limits as risk_page
from bot.bybit.wire import InstrumentRow, RiskRow
from bot.domain.errors import BadFile, BadInput, BadSettings, Rejected, VenueError
from bot.domain.market import MINUTE_MS, Instrument, InstrumentStatus, RiskTier
from bot.domain.money import ZERO
from bot.domain.symbols import nearest
from bot.exchange.instruments import parse_instruments

TIERS_BY_SYMBOL_UP_TO = 40
"""For more symbols than this, margin tiers are read as one list with 15 symbols a page."""


async def fetch_instruments(
    rest: PublicRest,
    symbols: Sequence[str] | None = None,
    *,
    tiers: bool = True,
    ended: Collection[str] = (),
) -> dict[str, Instrument]:
    """Read the rules of ``symbols`` (None: of all that trade), by symbol.

    Without ``tiers`` each contract gets one cautious margin tier instead of the venue's tiers. The venue
    lists only what trades now, so a symbol of ``ended`` that is not in the list is asked for by name: it may
    trade again. One that is really gone is returned as ``ended_contract``, if another symbol is there.

    Raises:
        BadSettings: a symbol that is no linear USDT perpetual there, or does not trade.
        VenueError: refused, or still failing after the last retry.
    """
    rows = {row.symbol: row for row in await _instrument_rows(rest)}
    wanted = sorted(rows) if symbols is None else list(symbols)
    for symbol in sorted({*wanted} & {*ended} - rows.keys()):
        row = await _row_of(rest, symbol)
        if row is not None and _is_perpetual(row) and status_of(row) != "Closed":
            rows[symbol] = row
    unknown = [symbol for symbol in wanted if symbol not in rows]
    found: dict[str, Instrument] = {}
    if len(unknown) < len(wanted) and set(unknown) <= set(ended):
        found = {symbol: ended_contract(symbol) for symbol in unknown}
        wanted, unknown = [symbol for symbol in wanted if symbol in rows], []
    if unknown:
        raise BadSettings(
            f"feed.symbols: {rest.base_url} trades no linear USDT perpetual {_with_meant(unknown, rows)}"
        )
    risks: dict[str, list[RiskRow]] = {}
    if tiers:
        several = len(wanted) > TIERS_BY_SYMBOL_UP_TO
        for risk in await _risk_rows(rest, None if several else wanted):
            risks.setdefault(risk.symbol, []).append(risk)
    for symbol in wanted:
        try:
            found[symbol] = to_instrument(rows[symbol], risks.get(symbol, ()))
        except (BadInput, InvalidOperation) as error:
            if symbols is not None:
                raise VenueError(f"{rest.base_url}: the rules of {symbol} cannot be read: {error}") from error
    return found


def _with_meant(unknown: Sequence[str], known: Collection[str]) -> str:
    """Return unknown symbols with those that were probably meant, at most five."""
    shown = [(symbol, nearest(symbol, known)) for symbol in unknown[:5]]
    words = ", ".join(f"{symbol} (did you mean {near}?)" if near else symbol for symbol, near in shown)
    return words + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")


async def refresh_instruments(
    rest: PublicRest, known: Mapping[str, Instrument], *, tiers: bool = True
) -> dict[str, Instrument]:
    """Read the rules of known contracts again. A contract that is not listed any more keeps only its status.

    Raises:
        VenueError: refused, or still failing after the last retry.
    """
    listed = await listed_symbols(rest)
    found = dict(known)
    for symbol in known.keys() - listed:
        found[symbol] = msgspec.structs.replace(known[symbol], status=await _status_of(rest, symbol))
    trading = [symbol for symbol in known if symbol in listed]
    return found | await fetch_instruments(rest, trading, tiers=tiers)


async def listed_symbols(rest: PublicRest) -> set[str]:
    """Return the names of all linear USDT perpetuals that the venue lists.

    Raises:
        VenueError: refused, or still failing after the last retry.
    """
    return {row.symbol for row in await _instrument_rows(rest)}


async def _status_of(rest: PublicRest, symbol: str) -> InstrumentStatus:
    """Ask for a contract that the list of all lacks. One that the venue does not know has ended."""
    row = await _row_of(rest, symbol)
    return "Closed" if row is None else status_of(row)


async def _row_of(rest: PublicRest, symbol: str) -> InstrumentRow | None:
    try:
        rows = (await rest.get(instruments_page(symbol=symbol), parse_rows)).rows
    except Forbidden:
        raise
    except Rejected:
        return None
    return next((row for row in rows if row.symbol == symbol), None)


async def _instrument_rows(rest: PublicRest) -> list[InstrumentRow]:
    found: list[InstrumentRow] = []
    async for page in pages(rest, instruments_page, parse_rows):
        found += [row for row in page.rows if _is_perpetual(row)]
    return found


async def _risk_rows(rest: PublicRest, symbols: Sequence[str] | None) -> list[RiskRow]:
    found: list[RiskRow] = []
    if symbols is None:
        async for page in pages(rest, risk_page, parse_risk_limits):
            found += page.rows
        return found

    async def of(symbol: str) -> None:
        found.extend((await rest.get(risk_page(symbol=symbol), parse_risk_limits)).rows)

    await for_each(symbols, of)
    return found


def write_instruments(path: Path, instruments: Mapping[str, Instrument], source: str) -> list[str]:
    """Write rules atomically in the form of ``bot/shipped/instruments.json``; return the symbols left out.

    A contract that a reader of that form would refuse is left out. Rules of other symbols in the file stay.
    """
    entries = [entry for entry in _entries(path) if entry["symbol"] not in instruments]
    refused = []
    for symbol in sorted(instruments):
        entry = {**msgspec.to_builtins(instruments[symbol]), "source": source, "tiers_source": source}
        try:
            parse_instruments(json.dumps({"instruments": [entry]}))
        except BadFile:
            refused.append(symbol)
        else:
            entries.append(entry)
    entries.sort(key=lambda entry: str(entry["symbol"]))
    about = f"Rules of USDT perpetuals: {source}. The venue changes them; fetch again before relying on one."
    write_text(path, json.dumps({"about": about, "instruments": entries}, indent=1) + "\n")
    return refused


def _entries(path: Path) -> list[dict[str, object]]:
    """Return the rules in a file; nothing if the file is missing or cannot be read."""
    try:
        text = path.read_text()
        parse_instruments(text)
    except (OSError, BadFile):
        return []
    found: list[dict[str, object]] = json.loads(text)["instruments"]
    return found


def _is_perpetual(row: InstrumentRow) -> bool:
    return (
        row.contractType == "LinearPerpetual"
        and row.settleCoin == "USDT"
        and row.status in get_args(InstrumentStatus)
    )


def to_instrument(row: InstrumentRow, risks: Iterable[RiskRow] = ()) -> Instrument:
    """Turn the venue's row of a contract into an ``Instrument``.

    Raises:
        BadInput: figures that contradict each other.
        InvalidOperation: a figure that is no number.
    """
    lot, price = row.lotSizeFilter, row.priceFilter
    max_qty = Decimal(lot.maxOrderQty)
    leverage = Decimal(row.leverageFilter.maxLeverage)
    found = Instrument(
        symbol=row.symbol,
        tick_size=Decimal(price.tickSize),
        qty_step=Decimal(lot.qtyStep),
        min_qty=Decimal(lot.minOrderQty),
        max_qty=max_qty,
        max_market_qty=Decimal(lot.maxMktOrderQty or max_qty),
        min_notional_quote=Decimal(lot.minNotionalValue or 0),
        min_price=Decimal(price.minPrice),
        max_price=Decimal(price.maxPrice),
        max_leverage=leverage,
        tiers=_tiers(risks) or (RiskTier(Decimal("1e9"), 1 / (2 * leverage), ZERO, leverage),),
        funding_interval_ms=row.fundingInterval * MINUTE_MS,
        status=status_of(row),
    )
    positive = (found.tick_size, found.qty_step, found.min_qty, found.max_qty, leverage)
    if not all(figure.is_finite() and figure > 0 for figure in positive) or row.fundingInterval <= 0:
        raise BadInput(f"{row.symbol}: a figure of its rules is not above 0")
    return found


def _tiers(risks: Iterable[RiskRow]) -> tuple[RiskTier, ...]:
    """Return margin tiers by rising limit. Deductions follow from the fractions: margin never jumps.

    Raises:
        BadInput: limits and fractions that do not rise together.
    """
    tiers: list[RiskTier] = []
    for risk in sorted(risks, key=lambda risk: Decimal(risk.riskLimitValue)):
        leverage = Decimal(risk.maxLeverage)
        # initialMargin x maxLeverage is 1 where the answer means fractions, 100 where it means percents.
        unit = 100 if Decimal(risk.initialMargin) * leverage > 10 else 1
        tiers.append(
            RiskTier(Decimal(risk.riskLimitValue), Decimal(risk.maintenanceMargin) / unit, ZERO, leverage)
        )
    for index, (below, above) in enumerate(pairwise(tuple(tiers)), start=1):
        if not (below.limit_quote < above.limit_quote and below.maintenance_frac < above.maintenance_frac):
            raise BadInput("margin tiers must rise")
        deduction = tiers[index - 1].deduction_quote + below.limit_quote * (
            above.maintenance_frac - below.maintenance_frac
        )
        tiers[index] = RiskTier(above.limit_quote, above.maintenance_frac, deduction, above.max_leverage)
    return tuple(tiers)
