"""Fills, positions and cash: Decimal arithmetic that always balances.

Two identities hold exactly: ``equity = cash + Σ (qty × mark − entry_value)`` and ``cash = initial + realised
− fees + funding + adjusted``. They hold because each amount is rounded once, to the grid of
``money.to_money``, and the same rounded number leaves one account and enters the other.
"""

import hashlib
from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

import msgspec

from bot.domain.money import ZERO, plain, to_money
from bot.domain.orders import Side

FillCause = Literal["order", "stop_loss", "take_profit", "liquidation", "adl", "settle"]


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One execution. ``fee_quote`` > 0 is paid, < 0 is a rebate. ``exec_id`` is unique at the venue.

    ``cause`` says where the fill came from: ``order`` (our order, or a foreign order on the same account),
    ``stop_loss`` or ``take_profit`` (a protective order that the venue held for us), ``liquidation``, ``adl``
    (auto-deleveraging), or ``settle`` (the end of a backtest).
    """

    ts_ms: int
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    fee_quote: Decimal
    order_id: str
    exec_id: str
    maker: bool = False
    cause: FillCause = "order"
    slippage_quote: Decimal = ZERO
    """Cost of half-spread and impact, against the price without them; >= 0; used by the cost report."""
    fee_known: bool = True
    """False if the venue did not tell the fee: ``fee_quote`` is 0 until a reading of the wallet shows it."""


def fills_digest(fills: Iterable[Fill]) -> str:
    """Return the sha256 of the ordered fills as ``ts_ms,symbol,side,qty,price,fee``.

    Ids and trailing zeros are left out, so two runs with the same decisions have the same digest, even if
    their order ids differ.
    """
    digest = hashlib.sha256()
    for fill in fills:
        digest.update(fill_line(fill))
    return digest.hexdigest()


def fill_line(fill: Fill) -> bytes:
    """Return the bytes that ``fills_digest`` hashes for one fill, for callers that keep a running hash."""
    numbers = ",".join(plain(each) for each in (fill.qty, fill.price, fill.fee_quote))
    return f"{fill.ts_ms},{fill.symbol},{fill.side},{numbers}\n".encode()


class Position(msgspec.Struct):
    """A signed position: ``qty`` in base (short < 0), ``entry_value`` = Σ qty × price of the open part.

    ``qty`` is exact while quantities have at most 28 digits. No real quantity step comes near this limit.
    """

    qty: Decimal = ZERO
    entry_value: Decimal = ZERO

    @property
    def entry_price(self) -> Decimal | None:
        """Average entry price; None when flat."""
        return self.entry_value / self.qty if self.qty else None

    def apply(self, side: Side, qty: Decimal, price: Decimal) -> Decimal:
        """Book one execution and return the realised profit in quote (0 for an opening fill).

        A fill that goes through zero is split: the part that closes realises profit, the rest opens at
        ``price``.
        """
        signed = qty if side == "Buy" else -qty
        value = to_money(signed * price)
        if not self.qty or (signed > ZERO) == (self.qty > ZERO):
            self.qty += signed
            self.entry_value += value
            return ZERO
        if qty < abs(self.qty):
            removed = to_money(self.entry_value * qty / abs(self.qty))
            self.qty += signed
            self.entry_value -= removed
            return -value - removed
        removed = self.entry_value
        self.qty += signed
        self.entry_value = to_money(self.qty * price)
        return self.entry_value - value - removed

    def unrealised(self, mark: Decimal) -> Decimal:
        """Return the profit of the open position at ``mark``, in quote."""
        return self.qty * mark - self.entry_value


class Cash(msgspec.Struct):
    """Quote currency, and where it came from and went. ``balance`` is what the venue's wallet would show."""

    initial: Decimal
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    """Funding received minus funding paid."""
    adjusted: Decimal = ZERO
    """The rest of the venue's wallet: rounding differences and transfers that the bot did not make."""

    @property
    def balance(self) -> Decimal:
        return self.initial + self.realised - self.fees + self.funding + self.adjusted
