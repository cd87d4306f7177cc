"""Money of the account that no trade moved: the meaning of rows of the transaction log. Pure.

The log is the venue's own account of the wallet: the wallet before, plus the changes of the rows in between,
is the wallet after. https://bybit-exchange.github.io/docs/v5/enum#typeuta-translog
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from bot.bybit import wire
from bot.bybit.account.rows import number, number_or_none, time_ms
from bot.domain.messages import Transferred
from bot.domain.money import ZERO

SEEN_MAX = 4_096
"""Ids of rows kept to recognise them when the log is read again."""
ROUNDING_QUOTE = Decimal("0.01")
"""Wallet and log may differ by so much."""
_MOVED = frozenset({"AIRDROP", "BONUS", "BONUS_RECOLLECT", "CURRENCY_BUY", "CURRENCY_SELL"})


def is_transfer(row: wire.TransactionRow) -> bool:
    """True if the row is money that came or left without a trade. An unknown kind may be a loss: False."""
    return row.type.startswith(("TRANSFER_IN", "TRANSFER_OUT")) or row.type in _MOVED


def leads(rows: Sequence[wire.TransactionRow], before: Decimal, after: Decimal) -> bool:
    """True if the log leads from one wallet to the other, or does not tell.

    The oldest rows may be contained in ``before``.

    Raises:
        BadInput: a change is no number.
    """
    total = ZERO
    sums = [total]
    for row in sorted(rows, key=lambda each: time_ms(each.transactionTime), reverse=True):
        change = number_or_none(row.change)
        if change is None:
            return True
        total += change
        sums.append(total)
    return any(abs(before + each - after) <= ROUNDING_QUOTE for each in sums)


class MoneyLog:
    """The rows of the log that were seen: each transfer is emitted once."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}

    def skip(self, rows: Iterable[wire.TransactionRow]) -> None:
        """Note rows that a wallet contains which is taken over as it is."""
        for row in rows:
            self._is_new(row)

    def take(self, rows: Iterable[wire.TransactionRow]) -> list[Transferred]:
        """Return the transfers among new rows, oldest first.

        Raises:
            BadInput: an amount is no number.
        """
        found = [row for row in rows if is_transfer(row) and number(row.change) and self._is_new(row)]
        found.sort(key=lambda row: time_ms(row.transactionTime))
        return [
            Transferred(time_ms(row.transactionTime), number(row.change), _name(row), row.type)
            for row in found
        ]

    def _is_new(self, row: wire.TransactionRow) -> bool:
        name = _name(row)
        if name in self._seen:
            return False
        self._seen[name] = None
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        return True


def _name(row: wire.TransactionRow) -> str:
    """Name a row. The venue may repeat an id, so the time and the amount belong to the name."""
    return "-".join((row.id, row.transactionTime, row.change))
