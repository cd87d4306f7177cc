"""Whose part of a position is whose: the one rule, because a one-way account nets all orders of a symbol.

The venue shows one position a symbol. It is the sum of two parts: *ours* and *foreign*.

* What orders of ours execute is ours. It closes our part first, then the foreign part, then opens ours.
* What the venue closes by itself (a stop, a liquidation, ADL, a settlement) closes in the same order.
* Every other execution is foreign: it closes the foreign part first, then ours, then opens foreign.
* So the two parts never stand on opposite sides, and ours is never larger than the venue's position: an exit
  of ours that only reduces is always one that the venue accepts.

The bot manages its own part alone. It never sells the foreign part and sets no stop for it. One limit is the
venue's: a stop belongs to the whole position, so a stop of our part also closes a foreign part of the same
symbol. Once our part is closed, its stop is taken away.
"""

from decimal import Decimal

from bot.domain.money import ZERO


def split(signed: Decimal, first: Decimal, second: Decimal) -> tuple[Decimal, Decimal]:
    """Divide an execution (``signed``, < 0 for a sale) between two parts of one position.

    It closes ``first``, then ``second``; the rest opens ``first``. Returns the changes of the two parts.
    Their sum is ``signed``.
    """
    of_second = closing(signed - closing(signed, first), second)
    return signed - of_second, of_second


def closing(signed: Decimal, held: Decimal) -> Decimal:
    """Return the part of ``signed`` that closes a position ``held``."""
    if signed * held >= ZERO:
        return ZERO
    return max(signed, -held) if signed < ZERO else min(signed, -held)
