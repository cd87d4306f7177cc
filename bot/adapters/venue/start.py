"""Checks before anything is traded: the key works and is harmless, the clock is right, the account fits.

Each failed check is one line that says what is wrong and what to do. Nothing of the account is changed except
the leverage, which the settings name and which is read back.
"""

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping
from decimal import Decimal

import msgspec

from bot.adapters.net.signed_rest import SignedRest
from bot.adapters.venue.account import balance_of, pages, read_position
from bot.adapters.venue.config import VenueConfig
from bot.bybit import orders, wire
from bot.bybit.account.rows import number
from bot.bybit.codes import Forbidden
from bot.bybit.instruments import ended_contract, instrument_of, status_of
from bot.domain.errors import BadInput, BadSettings, Rejected, VenueError
from bot.domain.market import Instrument, InstrumentStatus
from bot.domain.money import ZERO

UNIFIED = frozenset({3, 4, 5, 6})
_MARGIN_MODES = {"isolated": "ISOLATED_MARGIN", "cross": "REGULAR_MARGIN"}
AT_ONCE = 8
"""Symbols prepared at a time."""
_TIERS_PER_PAGE = 15


async def check_clock(rest: SignedRest, limit_ms: int) -> None:
    """Refuse a clock further than ``limit_ms`` of machine time from the venue's.

    Raises:
        VenueError: it is, or the venue does not tell its time.
    """
    offset_ms = await rest.measure()
    if abs(offset_ms) > limit_ms:
        side = "behind" if offset_ms > 0 else "ahead of"
        raise VenueError(
            f"this machine's clock is {abs(offset_ms):.0f} ms {side} the venue's, at most {limit_ms} ms are "
            "allowed (venue.max_clock_offset_ms); set it, for example with NTP"
        )


async def check_key(rest: SignedRest) -> str:
    """Refuse a key that cannot trade, or that could take money out; return the name of its account.

    Raises:
        VenueError: so it is, or the venue does not know the key.
    """
    key = await rest.ask(orders.query_api(), orders.parse_query_api)
    if key.read_only:
        raise VenueError("the API key is read-only; make one that may trade contracts, and nothing else")
    if key.can_withdraw:
        raise VenueError(
            "the API key may withdraw money; make one that may trade contracts, and nothing else"
        )
    if not key.can_trade:
        raise VenueError("the API key may not trade contracts; give it the rights Orders and Positions")
    return str(key.user_id or "")


async def check_account(rest: SignedRest, config: VenueConfig) -> None:
    """Refuse an account that is not unified, or whose margin mode is not the one of the settings.

    Raises:
        VenueError: not a unified account, or no answer.
        BadSettings: another margin mode.
    """
    account = await rest.ask(orders.account_info(), orders.parse_account_info)
    if account.unified_margin_status not in UNIFIED:
        raise VenueError("the account is not a unified trading account; upgrade it at the venue")
    if account.margin_mode != _MARGIN_MODES[config.margin_mode]:
        raise BadSettings(f"account.margin_mode: {_modes_differ(config, account)}; change one of them")


async def check_margin_mode(rest: SignedRest, config: VenueConfig) -> None:
    """Refuse an account whose margin mode is not the one of the settings any more: it liquidates otherwise.

    Raises:
        VenueError: so it is, or no answer.
    """
    account = await rest.ask(orders.account_info(), orders.parse_account_info)
    if account.margin_mode != _MARGIN_MODES[config.margin_mode]:
        raise VenueError(f"{_modes_differ(config, account)}; entries wait until the mode is changed back")


def _modes_differ(config: VenueConfig, account: orders.AccountInfo) -> str:
    return f"the settings say {config.margin_mode}, the account is in {account.margin_mode}"


async def check_wallet(rest: SignedRest) -> None:
    """Refuse an account without a balance in the settle coin: size, margin and loss are counted in it.

    A balance that the venue does not tell is left to the readings, which wait for it.

    Raises:
        VenueError: the account has none of it or owes some, or no answer.
    """
    coin = orders.SETTLE_COIN
    try:
        balance = balance_of(await rest.ask(orders.wallet(), orders.parse_wallet))
    except BadInput:
        return
    if balance < ZERO:
        raise VenueError(
            f"the account owes {-balance:f} {coin}; the bot counts size, margin and loss in {coin} and does "
            f"not trade on other coins as collateral: pay in or convert to {coin}"
        )
    if not balance:
        raise VenueError(
            f"the account has no {coin}; the bot trades with {coin} alone: pay in or convert some"
        )


async def prepare_symbols(
    rest: SignedRest, config: VenueConfig, rules: Mapping[str, Instrument]
) -> list[str]:
    """For every symbol, check one-way mode, set the leverage if it differs, and read it back.

    Returns the symbols whose leverage was set.

    Raises:
        VenueError: hedge mode, or the venue keeps another leverage.
    """
    turns, changed = asyncio.Semaphore(AT_ONCE), []

    async def prepare(symbol: str) -> None:
        async with turns:
            if rules[symbol].status == "Closed":
                return
            wanted = min(config.leverage, rules[symbol].max_leverage)
            if await _leverage(rest, symbol) == wanted:
                return
            request = orders.set_leverage(symbol, wanted)
            outcome = await rest.do(request, "setup")
            if outcome.kind not in ("ok", "already_so"):
                raise rest.error(request, outcome)
            now = await _leverage(rest, symbol)
            if now != wanted:
                raise VenueError(f"{symbol}: leverage {wanted} was set, the venue shows {now}")
            changed.append(symbol)

    await _all(prepare(symbol) for symbol in config.symbols)
    return sorted(changed)


async def read_rules(
    rest: SignedRest,
    symbols: tuple[str, ...],
    known: Mapping[str, Instrument] | None = None,
    *,
    traded_before: Collection[str] = (),
) -> dict[str, Instrument]:
    """Read the contracts' rules. A ``known`` contract that is not listed any more keeps only its status.

    One of ``traded_before`` may be missing at the start if others are listed: it has ended.

    Raises:
        BadSettings: a symbol that the venue does not trade.
        VenueError: no answer.
    """
    rows = {row.symbol: row for row in await pages(rest, orders.instruments, orders.parse_instruments)}
    known = known or {}
    ended = {symbol: await _ended(rest, known[symbol]) for symbol in known if symbol not in rows}
    missing = [symbol for symbol in symbols if symbol not in rows and symbol not in ended]
    if missing and len(missing) < len(symbols) and set(missing) <= set(traded_before):
        ended |= {symbol: ended_contract(symbol) for symbol in missing}
    elif missing:
        raise BadSettings(f"feed.symbols: {', '.join(missing[:5])} cannot be traded at {rest.base_url}")
    listed = tuple(symbol for symbol in symbols if symbol in rows)
    tiers = await _tiers(rest, listed)
    try:
        return {symbol: instrument_of(rows[symbol], tiers) for symbol in listed} | ended
    except BadInput as error:
        raise VenueError(f"{rest.base_url}: {error}") from error


async def read_rule(rest: SignedRest, known: Instrument) -> Instrument:
    """Read the rules of one contract: two requests, however many contracts there are.

    Raises:
        VenueError: no answer, or not a contract.
    """
    symbol = known.symbol
    rows = (await rest.ask(orders.instruments(symbol=symbol), orders.parse_instruments)).rows
    found = next((row for row in rows if row.symbol == symbol), None)
    if found is None:
        return msgspec.structs.replace(known, status="Closed")
    try:
        return instrument_of(found, await _tiers(rest, (symbol,)))
    except BadInput as error:
        raise VenueError(f"{rest.base_url}: {error}") from error


async def _ended(rest: SignedRest, rule: Instrument) -> Instrument:
    """Return a contract that is not listed, with the status that the venue gives when asked for it alone.

    One that the venue does not know has ended.
    """
    try:
        rows = (await rest.ask(orders.instruments(symbol=rule.symbol), orders.parse_instruments)).rows
        found = next((row for row in rows if row.symbol == rule.symbol), None)
        status: InstrumentStatus = "Closed" if found is None else status_of(found)
    except Forbidden:
        raise
    except Rejected:
        status = "Closed"
    except BadInput:
        return rule
    return msgspec.structs.replace(rule, status=status)


async def _tiers(rest: SignedRest, symbols: tuple[str, ...]) -> list[wire.RiskRow]:
    if len(symbols) > _TIERS_PER_PAGE:
        return await pages(rest, orders.risk_limits, orders.parse_risk_limits)
    found: list[wire.RiskRow] = []
    for symbol in symbols:
        found += (await rest.ask(orders.risk_limits("", symbol), orders.parse_risk_limits)).rows
    return found


async def _leverage(rest: SignedRest, symbol: str) -> Decimal:
    rows = await read_position(rest, symbol)
    if any(row.positionIdx for row in rows):
        raise VenueError(
            f"{symbol} is in hedge mode; close its positions, cancel its orders and switch it to one-way mode"
        )
    if len(rows) != 1:
        raise VenueError(f"{symbol}: the venue shows {len(rows)} positions for it")
    return number(rows[0].leverage)


async def _all(tasks: Iterable[Coroutine[None, None, None]]) -> None:
    """Run all tasks at once; the first error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
