"""Wallet, margin and liquidation prices of a unified account that holds USDT only.

The formulas are Bybit's for linear contracts (position and wallet documentation; the numbers of
``position_margin`` and ``order_margin`` agree with recorded answers to eight digits):

- bankruptcy price: entry × (1 ∓ 1 / leverage), minus for a long;
- position margin: value / leverage + the taker fee of closing at the bankruptcy price;
- maintenance: value × tier's fraction − tier's deduction + the same fee;
- isolated: liquidated when the loss at the mark reaches margin − maintenance, both at the entry value,
  and taken over at the bankruptcy price, so that it costs the position margin and never more;
- cross: liquidated when equity < Σ maintenance at mark values.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from math import inf

from bot.domain.ledger import Cash, Position
from bot.domain.margin import liquidation_price, maintenance
from bot.domain.money import ZERO, to_decimal
from bot.domain.orders import Side
from bot.exchange.ledger.book import PositionSlot
from bot.exchange.orders import MarginMode
from bot.exchange.terms import FEE_STEP, booked_fee

_SAFETY = 0.999
_TIE = 1e-9
_FEE_ROUNDING = float(FEE_STEP)
"""A booked fee differs from its float by at most half of this."""


def bankruptcy_price(entry: Decimal, leverage: Decimal, long: bool) -> Decimal:
    """The price at which the initial margin is gone."""
    return entry - entry / leverage if long else entry + entry / leverage


def closing_fee(position: Position, leverage: Decimal, taker_frac: Decimal) -> Decimal:
    """The taker fee of closing the whole position at its bankruptcy price, rounded as booked fees are."""
    value = abs(position.entry_value)
    long = position.qty > ZERO
    return booked_fee(bankruptcy_price(value, leverage, long) * taker_frac)


def position_margin(position: Position, value: Decimal, leverage: Decimal, taker_frac: Decimal) -> Decimal:
    """Initial margin (positionIM) of a position worth ``value``: at entry if isolated, at mark if cross."""
    return value / leverage + closing_fee(position, leverage, taker_frac)


def order_margin(qty: Decimal, price: Decimal, leverage: Decimal, taker_frac: Decimal, side: Side) -> Decimal:
    """Margin of an order (totalOrderIM): value / leverage + fee to open + fee to close if bankrupt."""
    value = qty * price
    initial = value / leverage
    bankrupt = value - initial if side == "Buy" else value + initial
    return initial + value * taker_frac + bankrupt * taker_frac


class MarginAccount:
    """The account's cash, and the positions that it covers.

    ``active`` are the slots with open orders or a position, by key; ``held`` those with a position.
    """

    def __init__(self, cash: Cash, mode: MarginMode, taker_frac: Decimal) -> None:
        self.cash = cash
        self.mode: MarginMode = mode
        self.taker_frac = taker_frac
        self._taker_rough = float(taker_frac)
        self.active: dict[str, PositionSlot] = {}
        self.held: dict[str, PositionSlot] = {}

    @property
    def wallet_quote(self) -> Decimal:
        """Wallet balance: money moved, without open profit."""
        return self.cash.balance

    @property
    def equity_quote(self) -> Decimal:
        """Wallet plus the open profit at the marks."""
        return self.wallet_quote + self._unrealised(self.marks()) if self.held else self.wallet_quote

    def marks(self) -> dict[str, Decimal]:
        """The price of every held slot that margin is computed with."""
        return {key: to_decimal(slot.book.mark_rough()) for key, slot in self.held.items()}

    def _unrealised(self, marks: Mapping[str, Decimal]) -> Decimal:
        return sum((slot.position.unrealised(marks[key]) for key, slot in self.held.items()), ZERO)

    @property
    def initial_margin_quote(self) -> Decimal:
        """Σ margin of positions and of orders."""
        total = sum((self.margin_of(slot) for slot in self.held.values()), ZERO)
        for slot in self.active.values():
            for order in slot.orders:
                if order.margin_quote:
                    total += order.reserved_quote
        return total

    def margin_of(self, slot: PositionSlot) -> Decimal:
        """Initial margin of one position: at its entry value if isolated, at the mark if cross."""
        position = slot.position
        if self.mode == "isolated":
            value = abs(position.entry_value)
        else:
            value = abs(position.qty) * to_decimal(slot.book.mark_rough())
        return position_margin(position, value, slot.leverage, self.taker_frac) + slot.added_quote

    def maintenance_of(self, slot: PositionSlot) -> Decimal:
        """Maintenance margin with the fee to close: at the entry value if isolated, at the mark if cross."""
        position, mark = slot.position, slot.book.mark()
        value = abs(position.entry_value)
        if self.mode == "cross" and mark is not None:
            value = abs(position.qty) * mark
        fee = closing_fee(position, slot.leverage, self.taker_frac)
        return maintenance(value, slot.book.tiers) + fee

    def opening_margin(
        self, slot: PositionSlot, side: Side, qty: Decimal, price: Decimal, held_qty: Decimal
    ) -> Decimal:
        """Margin that an order needs: of the part that opens beside ``held_qty``, less freed margin."""
        after = held_qty + (qty if side == "Buy" else -qty)
        opening = max(abs(after) - abs(held_qty), ZERO) if held_qty * after > ZERO else abs(after)
        if not opening:
            return ZERO
        needed = order_margin(opening, price, slot.leverage, self.taker_frac, side)
        if slot.position.qty * after < ZERO:  # the position it would replace goes first
            needed -= self.margin_of(slot)
        return max(needed, ZERO)

    @property
    def available_quote(self) -> Decimal:
        """Money that new orders may reserve: in cross margin with open profit, in isolated without."""
        base = self.wallet_quote if self.mode == "isolated" else self.equity_quote
        return base - self.initial_margin_quote

    def maintenance_quote(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Σ maintenance margin of all positions at ``marks``, fees included."""
        return sum(
            (
                maintenance(abs(slot.position.qty) * marks[key], slot.book.tiers)
                + closing_fee(slot.position, slot.leverage, self.taker_frac)
                for key, slot in self.held.items()
            ),
            ZERO,
        )

    def slack(self, price: Callable[[PositionSlot], float]) -> float:
        """Equity − maintenance with marks from ``price``; below 0 a cross account is liquidated.

        In floats where the sign is clear, in Decimal where it is not.
        """
        rough = float(self.wallet_quote)
        scale = abs(rough)
        for slot in self.held.values():
            mark = price(slot)
            value = abs(slot.size) * mark
            rough += slot.size * mark - slot.entry - slot.exit_fee
            rough -= maintenance(value, slot.book.tiers_rough)
            scale += value + abs(slot.entry)
        if abs(rough) > _TIE * scale + len(self.held) * _FEE_ROUNDING:
            return rough
        marks = {key: to_decimal(price(slot)) for key, slot in self.held.items()}
        return float(self.wallet_quote + self._unrealised(marks) - self.maintenance_quote(marks))

    def revalue(self, slot: PositionSlot) -> None:
        """Recompute the floats of a slot; call this after its position or its leverage changed."""
        position = slot.position
        slot.size, slot.entry = float(position.qty), float(position.entry_value)
        if position.qty:
            self.held[slot.key] = slot
            value, kept = abs(slot.entry), 1.0 / float(slot.leverage)
            bankrupt = value * (1.0 - kept if slot.size > 0.0 else 1.0 + kept)
            slot.exit_fee = bankrupt * self._taker_rough
        else:
            self.held.pop(slot.key, None)

    def watch_margin(self, slots: Iterable[PositionSlot]) -> None:
        """Set the prices between which no liquidation can happen.

        Isolated: the liquidation price. Cross: each of k positions may use 1/k of the account's slack, so
        while all stay inside, their losses together cannot reach it.
        """
        if self.mode == "isolated":
            for slot in slots:
                level = liquidation_price(slot.position, slot.leverage, slot.book.tiers, slot.added_quote)
                slot.safe_low, slot.safe_high = _beyond(slot, float(level) if level is not None else inf)
                slot.book.margin_watch()
            return
        held = len(self.held)
        share = self.slack(mark_of) * _SAFETY / held if held else inf
        for slot in slots:
            if not slot.size:
                slot.safe_low, slot.safe_high = -inf, inf
            elif share <= 0.0:
                slot.safe_low, slot.safe_high = inf, -inf
            else:
                steepest = 1.0 + slot.book.tiers_rough[-1][1]
                room = share / (slot.size * steepest)
                slot.safe_low, slot.safe_high = _beyond(slot, slot.book.mark_rough() - room)
            slot.book.margin_watch()


def mark_of(slot: PositionSlot) -> float:
    """The price that margin is computed with."""
    return slot.book.mark_rough()


def _beyond(slot: PositionSlot, level: float) -> tuple[float, float]:
    """Return the safe range (low, high) of a position that is liquidated beyond ``level``."""
    if not slot.size:
        return -inf, inf
    return (level, inf) if slot.size > 0.0 else (-inf, level)
