"""Wallet, margin and liquidation of a unified account that holds USDT only.

The formulas are Bybit's for linear contracts (position and wallet documentation; the numbers of
``position_margin`` and ``order_margin`` agree with recorded answers to eight digits):

- bankruptcy price: entry × (1 ∓ 1 / leverage), minus for a long;
- position margin: value / leverage + the taker fee of closing at the bankruptcy price;
- maintenance: value × tier's fraction − tier's deduction + the same fee;
- isolated: liquidated when the loss at the mark reaches margin − maintenance, both at the entry value,
  and taken over at the bankruptcy price, so that it costs the position margin and never more;
- cross: liquidated when equity < Σ maintenance at mark values.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from math import inf
from typing import Generic, Literal, Protocol, TypeVar

from bot.domain.ledger import Cash, Position
from bot.domain.market import RiskTier
from bot.domain.money import ZERO, to_decimal
from bot.domain.orders import Side

Number = TypeVar("Number", float, Decimal)
Tiers = Sequence[tuple[Decimal, Decimal, Decimal]]
"""(limit, maintenance fraction, deduction), rising."""
Mode = Literal["cross", "isolated"]
_SAFETY = 0.999
_TIE = 1e-9


def bankruptcy_price(entry: Decimal, leverage: Decimal, long: bool) -> Decimal:
    """The price at which the initial margin is gone."""
    return entry - entry / leverage if long else entry + entry / leverage


def closing_fee(position: Position, leverage: Decimal, taker_frac: Decimal) -> Decimal:
    """The taker fee of closing the whole position at its bankruptcy price."""
    value = abs(position.entry_value)
    long = position.qty > ZERO
    return bankruptcy_price(value, leverage, long) * taker_frac


def position_margin(position: Position, value: Decimal, leverage: Decimal, taker_frac: Decimal) -> Decimal:
    """Initial margin (positionIM) of a position worth ``value``: at entry if isolated, at mark if cross."""
    return value / leverage + closing_fee(position, leverage, taker_frac)


def order_margin(qty: Decimal, price: Decimal, leverage: Decimal, taker_frac: Decimal, side: Side) -> Decimal:
    """Margin of an order (totalOrderIM): value / leverage + fee to open + fee to close if bankrupt."""
    value = qty * price
    bankrupt = bankruptcy_price(value, leverage, side == "Buy")
    return value / leverage + value * taker_frac + bankrupt * taker_frac


def maintenance(value: Number, tiers: Sequence[tuple[Number, Number, Number]]) -> Number:
    """Maintenance margin without fees: value × fraction − deduction of the first tier that holds ``value``.

    ``tiers`` are (limit, fraction, deduction), rising; a value above the last limit takes the last tier.
    """
    for limit, fraction, deduction in tiers:
        if value <= limit:
            return value * fraction - deduction
    return value * tiers[-1][1] - tiers[-1][2]


def max_leverage(value: Decimal, tiers: tuple[RiskTier, ...]) -> Decimal | None:
    """The highest leverage allowed for a position worth ``value``; None if no tier is large enough."""
    return next((tier.max_leverage for tier in tiers if value <= tier.limit_quote), None)


def liquidation_price(
    position: Position, leverage: Decimal, tiers: Tiers, added_quote: Decimal = ZERO
) -> Decimal | None:
    """Isolated: entry ∓ (initial + added margin − maintenance) / size, at the entry value without fees.

    The fee to close is in both margins and cancels. None when flat.
    """
    if not position.qty:
        return None
    value = abs(position.entry_value)
    room = value / leverage - maintenance(value, tiers) + added_quote
    return (position.entry_value - room) / position.qty


class Reserves(Protocol):
    """An order that holds margin."""

    @property
    def reserved_quote(self) -> Decimal:
        """Margin held for what has not been filled."""


class Stake(Protocol):
    """One position as the account sees it, and the orders that would change it."""

    size: float
    entry: float
    exit_fee: float
    """The position, its entry value and the fee to close it at bankruptcy, kept by ``Account.revalue``."""
    safe_low: float
    safe_high: float

    @property
    def key(self) -> str:
        """Unique in the account."""

    @property
    def position(self) -> Position:
        """What is held."""

    @property
    def leverage(self) -> Decimal:
        """The setting."""

    @property
    def added_quote(self) -> Decimal:
        """Isolated margin added by hand."""

    @property
    def orders(self) -> Iterable[Reserves]:
        """Orders not finished."""

    @property
    def tiers(self) -> Tiers:
        """Risk tiers in Decimal."""

    @property
    def tiers_rough(self) -> Sequence[tuple[float, float, float]]:
        """The same in floats."""

    def mark(self) -> float:
        """The mark price."""

    def watch(self) -> None:
        """``safe_low`` or ``safe_high`` changed."""


S = TypeVar("S", bound=Stake)


class Account(Generic[S]):
    """Cash and the positions it stands behind."""

    def __init__(self, cash: Cash, mode: Mode, taker_frac: Decimal, books: Mapping[str, S]) -> None:
        self.cash = cash
        self.mode = mode
        self.taker_frac = taker_frac
        self._taker_rough = float(taker_frac)
        self.books = books
        self.held: dict[str, S] = {}
        """Books with an open position."""

    @property
    def wallet_quote(self) -> Decimal:
        """Wallet balance: money moved, without open profit."""
        return self.cash.balance

    @property
    def equity_quote(self) -> Decimal:
        """Wallet plus the open profit at the marks."""
        return self.wallet_quote + self._unrealised(self.marks())

    def marks(self) -> dict[str, Decimal]:
        """The mark of every held symbol."""
        return {symbol: to_decimal(book.mark()) for symbol, book in self.held.items()}

    def _unrealised(self, marks: Mapping[str, Decimal]) -> Decimal:
        return sum((b.position.unrealised(marks[symbol]) for symbol, b in self.held.items()), ZERO)

    @property
    def initial_margin_quote(self) -> Decimal:
        """Σ margin of positions and of orders."""
        total = sum((self.margin_of(book) for book in self.held.values()), ZERO)
        orders = (working for book in self.books.values() for working in book.orders)
        return total + sum((working.reserved_quote for working in orders), ZERO)

    def margin_of(self, book: S) -> Decimal:
        """Initial margin of one position."""
        isolated = self.mode == "isolated"
        value = abs(book.position.entry_value if isolated else book.position.qty * to_decimal(book.mark()))
        return position_margin(book.position, value, book.leverage, self.taker_frac) + book.added_quote

    def opening_margin(self, book: S, side: Side, qty: Decimal, price: Decimal, held_qty: Decimal) -> Decimal:
        """Margin that an order needs: for what it would open beside ``held_qty``, less what it frees."""
        after = held_qty + (qty if side == "Buy" else -qty)
        opening = max(abs(after) - abs(held_qty), ZERO) if held_qty * after > ZERO else abs(after)
        if not opening:
            return ZERO
        needed = order_margin(opening, price, book.leverage, self.taker_frac, side)
        if book.position.qty * after < ZERO:  # the position it would replace goes first
            needed -= self.margin_of(book)
        return max(needed, ZERO)

    @property
    def available_quote(self) -> Decimal:
        """What new orders may bind: cross counts open profit and loss, isolated the wallet only."""
        base = self.wallet_quote if self.mode == "isolated" else self.equity_quote
        return base - self.initial_margin_quote

    def maintenance_quote(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Σ maintenance margin of all positions at ``marks``, fees included."""
        return sum(
            (
                maintenance(abs(b.position.qty) * marks[symbol], b.tiers)
                + closing_fee(b.position, b.leverage, self.taker_frac)
                for symbol, b in self.held.items()
            ),
            ZERO,
        )

    def slack(self, price: Callable[[S], float]) -> float:
        """Equity − maintenance with marks from ``price``; below 0 a cross account is liquidated.

        In floats where the sign is clear, in Decimal where it is not.
        """
        rough = float(self.wallet_quote)
        scale = abs(rough)
        for book in self.held.values():
            mark = price(book)
            value = abs(book.size) * mark
            rough += book.size * mark - book.entry - book.exit_fee
            rough -= maintenance(value, book.tiers_rough)
            scale += value + abs(book.entry)
        if abs(rough) > _TIE * scale:
            return rough
        marks = {symbol: to_decimal(price(book)) for symbol, book in self.held.items()}
        return float(self.wallet_quote + self._unrealised(marks) - self.maintenance_quote(marks))

    def revalue(self, book: S) -> None:
        """Refresh what is kept of a position in floats; to be called when it or its leverage changed."""
        position = book.position
        book.size, book.entry = float(position.qty), float(position.entry_value)
        if position.qty:
            self.held[book.key] = book
            value = abs(book.entry)
            kept = 1.0 / float(book.leverage)
            bankrupt = value * (1.0 - kept if book.size > 0.0 else 1.0 + kept)
            book.exit_fee = bankrupt * self._taker_rough
        else:
            self.held.pop(book.key, None)

    def watch_margin(self, books: Iterable[S]) -> None:
        """Set the prices between which no liquidation can happen: the margin half of the calm range.

        Isolated: the liquidation price. Cross: each of k positions may use 1/k of the account's slack, so
        while all stay inside, their losses together cannot reach it.
        """
        if self.mode == "isolated":
            for book in books:
                level = liquidation_price(book.position, book.leverage, book.tiers, book.added_quote)
                book.safe_low, book.safe_high = _beyond(book, float(level) if level is not None else inf)
                book.watch()
            return
        share = self.slack(_mark) * _SAFETY / len(self.held) if self.held else inf
        for book in books:
            if not book.size:
                book.safe_low, book.safe_high = -inf, inf
            elif share <= 0.0:
                book.safe_low, book.safe_high = inf, -inf
            else:
                steepest = 1.0 + book.tiers_rough[-1][1]
                room = share / (book.size * steepest)
                book.safe_low, book.safe_high = _beyond(book, book.mark() - room)
            book.watch()


def _mark(book: Stake) -> float:
    return book.mark()


def _beyond(book: Stake, level: float) -> tuple[float, float]:
    """The calm range of a position that is in danger beyond ``level``."""
    if not book.size:
        return -inf, inf
    return (level, inf) if book.size > 0.0 else (-inf, level)
