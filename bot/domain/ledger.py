"""Fills, positions and cash: Decimal arithmetic that always balances.

The identity every test leans on: ``equity = cash + Σ (qty × mark − entry_value)`` and
``cash = initial + realised − fees + funding + adjusted``, in exact decimals: every amount is rounded once
to the grid of ``money.to_money``, and the same rounded number leaves one side and enters the other.
"""

import hashlib
from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

import msgspec

from bot.domain.money import ZERO, to_money
from bot.domain.orders import Side

FillCause = Literal["order", "stop_loss", "take_profit", "liquidation", "adl", "settle"]


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One execution. ``fee_quote`` > 0 is paid, < 0 is a rebate. ``exec_id`` is unique at the venue.

    ``cause`` says who asked: an order (ours, or somebody else's on the same account), a protective order
    the venue held for us, the liquidation engine, auto-deleveraging, or the end of a backtest (``settle``).
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
    """What half-spread and impact cost against the price without them; >= 0, for the cost report."""


def fills_digest(fills: Iterable[Fill]) -> str:
    """sha256 of the ordered fills as ``ts_ms,symbol,side,qty,price,fee``, without ids and trailing zeros.

    Two runs that decided the same have the same digest, whatever they called their orders.
    """
    digest = hashlib.sha256()
    for fill in fills:
        digest.update(fill_line(fill))
    return digest.hexdigest()


def fill_line(fill: Fill) -> bytes:
    """What ``fills_digest`` hashes of one fill, for who keeps a running hash instead of the fills."""
    numbers = ",".join(_plain(each) for each in (fill.qty, fill.price, fill.fee_quote))
    return f"{fill.ts_ms},{fill.symbol},{fill.side},{numbers}\n".encode()


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f") if value else "0"


class Position(msgspec.Struct):
    """A signed position: ``qty`` in base (short < 0), ``entry_value`` = Σ qty × price of what is open.

    ``qty`` is exact while quantities span at most 28 digits, which no quantity step comes near.
    """

    qty: Decimal = ZERO
    entry_value: Decimal = ZERO

    @property
    def entry_price(self) -> Decimal | None:
        """Average entry price, None when flat."""
        return self.entry_value / self.qty if self.qty else None

    def apply(self, side: Side, qty: Decimal, price: Decimal) -> Decimal:
        """Book one execution; returns the realised profit in quote (0 for an opening fill).

        A fill through zero is split: the closed part realises, the rest opens at ``price``.
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
        """Profit of the open part at ``mark``, in quote."""
        return self.qty * mark - self.entry_value


class Cash(msgspec.Struct):
    """Quote currency and where it went. ``balance`` is what the venue's wallet would show."""

    initial: Decimal
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    """Received minus paid."""
    adjusted: Decimal = ZERO
    """What the venue's wallet had beyond all of this: rounding, and transfers by somebody else."""

    @property
    def balance(self) -> Decimal:
        """``initial + realised − fees + funding + adjusted``."""
        return self.initial + self.realised - self.fees + self.funding + self.adjusted
