"""The account as the exchange has it: the truth that the bot is measured against.

The exchange's ledger is handed in; only its own rows are read, and no code of the engine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

ZERO = Decimal(0)


@dataclass(frozen=True)
class Execution:
    """One execution."""

    exec_id: str
    link_id: str
    symbol: str
    signed_qty: Decimal
    price: Decimal
    fee: Decimal
    at_ms: int
    kind: str


class VenueTruth:
    """Reads one account of the exchange."""

    def __init__(self, account: Any, prefix: str) -> None:
        self._account = account
        self._prefix = prefix
        self._orders_seen = 0
        self.began_with = self.wallet()
        """Cash at the start, quote."""
        self.strangers: set[str] = set()
        """Symbols in which somebody else traded or acted, or the venue itself did."""
        self.amended: set[str] = set()
        """Orders of the bot whose quantity somebody else changed."""
        self.closed: set[str] = set()
        """Symbols that the venue closed for a while, or whose stop somebody removed."""

    def is_ours(self, link_id: str) -> bool:
        """True if the id of an order is one of the bot's."""
        return link_id.startswith(self._prefix)

    def position(self, symbol: str) -> Decimal:
        """Signed size, base."""
        return sum((_signed(each.side, each.size) for each in self._account.engine.positions(symbol)), ZERO)

    def stop(self, symbol: str) -> Decimal:
        """The position's stop price; 0 without one."""
        return max(
            (each.stop_loss for each in self._account.engine.positions(symbol) if each.size), default=ZERO
        )

    def wallet(self) -> Decimal:
        """Cash, quote."""
        wallet: Decimal = self._account.engine.wallet().wallet_quote
        return wallet

    def open_orders(self, symbol: str) -> list[Any]:
        """Orders that rest or may fill, without the stops of positions."""
        return [
            each
            for each in self._account.engine.open_orders(symbol)
            if not each.stop_order_type and each.status in ("New", "PartiallyFilled", "Untriggered")
        ]

    def worst(self, symbol: str, own_only: bool) -> tuple[Decimal, Decimal]:
        """Return the position if every open buy fills, and if every open sell does."""
        buys = sells = ZERO
        for each in self.open_orders(symbol):
            ours = self.is_ours(each.link_id) and each.link_id not in self.amended
            if each.reduce_only or (own_only and not ours):
                continue
            if each.side == "Buy":
                buys += each.leaves_qty
            else:
                sells += each.leaves_qty
        held = self.position(symbol)
        return held + buys, held - sells

    def orders(self) -> Iterator[Any]:
        """All orders ever, oldest first."""
        for kept in self._account.ledger.orders._all.values():
            yield kept.order

    def newest_orders(self) -> list[Any]:
        """Return the orders that came since the last call."""
        every = list(self._account.ledger.orders._all.values())
        newest, self._orders_seen = every[self._orders_seen :], len(every)
        return [kept.order for kept in newest]

    def executions(self) -> Iterator[Execution]:
        """All executions, oldest first."""
        for row in self._account.ledger.executions:
            yield Execution(
                row.execId,
                row.orderLinkId,
                row.symbol,
                _signed(row.side, Decimal(row.execQty)),
                Decimal(row.execPrice),
                Decimal(row.execFee or "0"),
                int(row.execTime),
                row.execType,
            )

    def funding(self) -> dict[tuple[str, int], Decimal]:
        """Funding by symbol and time; positive was received."""
        return {
            (row.symbol, int(row.transactionTime)): Decimal(row.funding)
            for row in self._account.ledger.log
            if row.type == "SETTLEMENT"
        }


def _signed(side: str, size: Decimal) -> Decimal:
    return size if side == "Buy" else -size if side == "Sell" else ZERO
