"""What an execution cost: its fee and its local taxes in the quote coin, or None where that is unknown.

Bybit may take a fee in another coin (MNT), and adds taxes in ``extraFees`` for some countries: "" or a list.
https://bybit-exchange.github.io/docs/v5/websocket/private/execution

The rule for another coin is *worth by rate*: value of the execution × fee rate, because the venue charges the
same rate whatever the coin is. The price of that coin is not needed, so a booked fee never changes later.
"""

from decimal import Decimal

from bot.bybit import wire
from bot.bybit.account.rows import number, number_or_none
from bot.domain.money import ZERO, to_money


def fee_quote(row: wire.ExecutionFields, quote: str) -> Decimal | None:
    """Return fee and taxes of an execution in the coin ``quote``; > 0 is paid. None: the row does not tell.

    Raises:
        BadInput: a text that is no number.
    """
    value = number(row.execQty) * number(row.execPrice)
    parts = [_part(row.execFee, row.feeCurrency, row.feeRate, value, quote)]
    if not isinstance(row.extraFees, str):
        parts += [_part(tax.fee, tax.feeCoin, tax.feeRate, value, quote) for tax in row.extraFees]
    known = [part for part in parts if part is not None]
    return sum(known, ZERO) if len(known) == len(parts) else None


def is_other_coin(row: wire.ExecutionFields, quote: str) -> bool:
    """True if the fee was taken in another coin than ``quote``."""
    return row.feeCurrency not in ("", quote)


def funding_quote(row: wire.ExecutionFields) -> Decimal | None:
    """Return what a funding execution paid to us, below 0 if we paid. None: the row does not tell.

    Without an amount it follows from the rate: a long pays value × rate.

    Raises:
        BadInput: a text that is no number.
    """
    paid = number_or_none(row.execFee)
    if paid is not None:
        return -paid
    rate, qty, mark = number_or_none(row.feeRate), number_or_none(row.execQty), number_or_none(row.execPrice)
    if rate is None or qty is None or mark is None:
        return None
    amount = to_money(qty * mark * rate)
    return -amount if row.side == "Buy" else amount


def _part(fee: str, coin: str, rate: str, value: Decimal, quote: str) -> Decimal | None:
    amount = number_or_none(fee) if coin in ("", quote) else None
    if amount is not None:
        return amount
    frac = number_or_none(rate)
    return None if frac is None else to_money(value * frac)
