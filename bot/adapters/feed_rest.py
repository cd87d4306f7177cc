"""What a feed asks REST for: instruments, stretches of bars, settled rates; many symbols, few at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import TypeVar

from bot.adapters.fetch import PublicRest, fetch_bars, fetch_funding
from bot.bybit.orders import Page, Request, parse_instruments, parse_risk_limits
from bot.bybit.orders import instruments as instruments_page
from bot.bybit.orders import risk_limits as risk_page
from bot.bybit.rest import KLINE_LIMIT
from bot.bybit.wire import InstrumentRow, RiskRow
from bot.domain.errors import BadInput, BadSettings, VenueError
from bot.domain.market import MINUTE_MS, Bar, Instrument, InstrumentStatus, RiskTier
from bot.domain.messages import FundingRate
from bot.domain.money import ZERO, to_decimal

AT_ONCE = 8
"""Requests under way at a time; the pace of ``PublicRest`` bounds them too."""
MAX_PAGES = 1_000
TIERS_BY_SYMBOL_UP_TO = 40
"""More symbols' margin tiers are read as one list, 15 symbols a page."""

T = TypeVar("T")

_STATUS: dict[str, InstrumentStatus] = {
    "PreLaunch": "PreLaunch",
    "Trading": "Trading",
    "Delivering": "Delivering",
    "Closed": "Closed",
}


async def each(symbols: Iterable[str], work: Callable[[str], Awaitable[None]]) -> None:
    """``work`` for every symbol, ``AT_ONCE`` at a time; the first error ends all.

    Raises:
        VenueError: the first that ``work`` raised.
    """
    left = iter(symbols)
    failed: list[VenueError] = []

    async def worker() -> None:
        for symbol in left:
            if failed:
                return
            try:
                await work(symbol)
            except VenueError as error:
                failed.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())
    if failed:
        raise failed[0]


async def fetch_span(
    rest: PublicRest, symbol: str, interval_ms: int, span: tuple[int, int], *, repeats: int
) -> list[Bar]:
    """The closed bars that open in ``[from, to)``, oldest first.

    Raises:
        VenueError: refused, or still failing after the last retry.
    """
    bars: list[Bar] = []
    from_ms, to_ms = span
    for first_ms in range(from_ms, to_ms, KLINE_LIMIT * interval_ms):
        last_ms = min(first_ms + KLINE_LIMIT * interval_ms, to_ms) - interval_ms
        bars += await fetch_bars(rest, symbol, interval_ms, first_ms, last_ms, repeats=repeats)
    return bars


async def fetch_rates(rest: PublicRest, symbol: str, from_ms: int, to_ms: int) -> list[FundingRate]:
    """The rates settled in ``[from_ms, to_ms)``, oldest first.

    Raises:
        VenueError: refused, or still failing after the last retry.
    """
    found = await fetch_funding(rest, symbol, from_ms, to_ms)
    if found is None:
        return []
    pairs = zip(found.start_ms.tolist(), found.rate.tolist(), strict=True)
    return [FundingRate(ts_ms, symbol, to_decimal(rate)) for ts_ms, rate in pairs]


async def fetch_instruments(
    rest: PublicRest, symbols: Sequence[str] | None = None, *, tiers: bool = True
) -> dict[str, Instrument]:
    """The rules of ``symbols`` (None: of all that trade), by symbol.

    Without ``tiers`` each carries one careful tier instead of the venue's.

    Raises:
        BadSettings: a symbol that is no linear USDT perpetual there, or does not trade.
        VenueError: refused, or still failing after the last retry.
    """
    rows = {row.symbol: row for row in await _instrument_rows(rest)}
    wanted = sorted(rows) if symbols is None else list(symbols)
    unknown = [symbol for symbol in wanted if symbol not in rows]
    if unknown:
        raise BadSettings(
            f"feed.symbols: {rest.base_url} trades no linear USDT perpetual {', '.join(unknown[:5])}"
            + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        )
    risks: dict[str, list[RiskRow]] = {}
    if tiers:
        several = len(wanted) > TIERS_BY_SYMBOL_UP_TO
        for risk in await _risk_rows(rest, None if several else wanted):
            risks.setdefault(risk.symbol, []).append(risk)
    found = {}
    for symbol in wanted:
        try:
            found[symbol] = to_instrument(rows[symbol], risks.get(symbol, ()))
        except (BadInput, InvalidOperation) as error:
            if symbols is not None:
                raise VenueError(f"{rest.base_url}: the rules of {symbol} cannot be read: {error}") from error
    return found


async def _instrument_rows(rest: PublicRest) -> list[InstrumentRow]:
    found: list[InstrumentRow] = []
    async for page in pages(rest, instruments_page, parse_instruments):
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

    await each(symbols, of)
    return found


async def pages(
    rest: PublicRest, ask: Callable[[str], Request], parse: Callable[[bytes], Page[T]]
) -> AsyncIterator[Page[T]]:
    """All pages of a list: it ends with an empty page, an empty cursor, or one that was there before.

    Raises:
        VenueError: refused, still failing after the last retry, or a list without end.
    """
    cursor, seen = "", {""}
    for _ in range(MAX_PAGES):
        page = await rest.get(ask(cursor), parse)
        yield page
        cursor = page.cursor
        if not page.rows or cursor in seen:
            return
        seen.add(cursor)
    raise VenueError(f"{rest.base_url}: a list of more than {MAX_PAGES} pages")


def _is_perpetual(row: InstrumentRow) -> bool:
    return row.contractType == "LinearPerpetual" and row.settleCoin == "USDT" and row.status in _STATUS


def to_instrument(row: InstrumentRow, risks: Iterable[RiskRow] = ()) -> Instrument:
    """The wire's rules as ours.

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
        status=_STATUS[row.status],
    )
    positive = (found.tick_size, found.qty_step, found.min_qty, found.max_qty, leverage)
    if not all(figure.is_finite() and figure > 0 for figure in positive) or row.fundingInterval <= 0:
        raise BadInput(f"{row.symbol}: a figure of its rules is not above 0")
    return found


def _tiers(risks: Iterable[RiskRow]) -> tuple[RiskTier, ...]:
    """Margin tiers by rising limit. Deductions follow from the fractions: margin does not jump at a limit.

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
