"""Settings of an account at the live exchange: leverage, position mode, margin mode, added margin."""

from collections.abc import Mapping
from decimal import Decimal

from bot.domain.money import ZERO
from bot.exchange import rules
from bot.exchange.account import Account, Mode, max_leverage
from bot.exchange.live_book import LiveBook, Pocket
from bot.exchange.live_clearing import LiveClearing
from bot.exchange.rules import Refusal

SAME_MODE = Refusal(110025, "Position mode is not modified")
MODE_HAS_POSITION = Refusal(110024, "You have an existing position, so the position mode cannot be switched")
MODE_HAS_ORDERS = Refusal(110028, "You have existing open orders, so the position mode cannot be switched")
SAME_MARGIN_MODE = Refusal(110026, "Cross/isolated margin mode is not modified")
MARGIN_MODE_FAILED = Refusal(3400045, "Set margin mode failed")
LEVERAGE_STEP = Decimal("0.01")
"""Of every contract (``leverageFilter.leverageStep``)."""
OFF_STEP = Refusal(10001, f"params error: leverage is not a multiple of {LEVERAGE_STEP}")
ONE_LEVERAGE = Refusal(10001, "buy leverage must equal sell leverage in one-way mode")
NOT_ISOLATED = Refusal(10001, "margin can only be added to an isolated position")
NO_POSITION = Refusal(10001, "position not exists")


class Setup:
    """Changes settings where positions and margin allow it; a refused change leaves all as it was."""

    def __init__(self, account: Account[Pocket], clearing: LiveClearing) -> None:
        self._account = account
        self._clearing = clearing

    def set_leverage(self, book: LiveBook, buy: Decimal, sell: Decimal, now_ms: int) -> Refusal | None:
        """Of a symbol; both must be equal in one-way mode."""
        if not book.hedge and buy != sell:
            return ONE_LEVERAGE
        if buy % LEVERAGE_STEP or sell % LEVERAGE_STEP:
            return OFF_STEP
        wanted = dict(zip(book.pockets, (buy, sell), strict=False))
        before = {pocket: pocket.leverage for pocket in wanted}
        if wanted == before:
            return rules.SAME_LEVERAGE
        for pocket, leverage in wanted.items():
            highest = max_leverage(abs(pocket.position.entry_value), book.instrument.tiers)
            if not 1 <= leverage <= book.instrument.max_leverage or highest is None or leverage > highest:
                return rules.LEVERAGE_RANGE
        self._lever(wanted)
        if any(wanted[p] < before[p] for p in wanted) and self._account.available_quote < ZERO:
            self._lever(before)
            return rules.NO_BALANCE
        for pocket in wanted:
            self._clearing.touch(pocket)
        self._clearing.publish(now_ms)
        return None

    def _lever(self, wanted: Mapping[Pocket, Decimal]) -> None:
        for pocket, leverage in wanted.items():
            pocket.leverage = leverage
            self._account.revalue(pocket)
            for order in pocket.orders:
                if order.margin_quote:
                    order.margin_quote = self._account.opening_margin(
                        pocket, order.side, order.qty, order.price, pocket.position.qty
                    )

    def set_margin_mode(self, mode: Mode, now_ms: int) -> Refusal | None:
        """Of the account."""
        account = self._account
        before = account.mode
        if mode == before:
            return SAME_MARGIN_MODE
        account.mode = mode
        if account.held and account.available_quote < ZERO:
            account.mode = before
            return MARGIN_MODE_FAILED
        for pocket in account.held.values():
            self._clearing.touch(pocket)
        self._clearing.publish(now_ms)
        return None

    def add_margin(self, pocket: Pocket, amount: Decimal, now_ms: int) -> Refusal | None:
        """To an isolated position."""
        if not pocket.position.qty:
            return NO_POSITION
        if self._account.mode != "isolated":
            return NOT_ISOLATED
        if amount > self._account.available_quote or pocket.added_quote + amount < ZERO:
            return rules.NO_BALANCE
        pocket.added_quote += amount
        self._clearing.touch(pocket)
        self._clearing.publish(now_ms)
        return None


def switch_mode(book: LiveBook, hedge: bool) -> Refusal | None:
    """Hold long and short of a symbol apart, or not: only while flat and without orders."""
    if book.hedge == hedge:
        return SAME_MODE
    if any(pocket.position.qty for pocket in book.pockets):
        return MODE_HAS_POSITION
    if book.orders:
        return MODE_HAS_ORDERS
    leverage = book.pockets[0].leverage
    book.pockets = [Pocket(book, idx, leverage) for idx in ((1, 2) if hedge else (0,))]
    return None
