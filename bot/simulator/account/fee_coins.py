"""Fees in another coin: what the account shows when Bybit takes them in MNT (switch ``fmsef``).

The books of the exchange are in USDT. Here a fee that was taken in another coin is shown in that coin, in
executions, in ``cumFeeDetail`` of orders and in the wallet, where USDT has so much more and the coin less.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec

from bot.bybit.wire import CoinRow, ExecutionFields, OrderFields, WalletRow
from bot.domain.money import ZERO, plain
from bot.exchange.events import ExchangeEvent, Executed
from bot.simulator.account.rows import COIN, amount

PRICES: dict[str, Decimal] = {"MNT": Decimal("1.25")}
"""USD of one coin."""
KEPT = 20_000
"""Executions and orders whose fees are remembered, as many as the account's records keep."""
STOCK = Decimal(10_000)
"""Coins that the account holds before it pays the first fee."""


class TakenFee(msgspec.Struct, frozen=True):
    """A fee that was taken in ``coin``; ``quote`` is its worth in USDT."""

    coin: str
    quote: Decimal

    @property
    def text(self) -> str:
        """The amount in the coin."""
        return amount(self.quote / PRICES[self.coin])


class FeeCoins:
    """The fees of one account that were taken in other coins."""

    def __init__(self) -> None:
        self._by_execution: dict[str, TakenFee] = {}
        self._by_order: dict[str, TakenFee] = {}
        self._paid: dict[str, Decimal] = {}
        """Worth of all fees by coin, in USDT."""

    def take(self, coin: str, events: Iterable[ExchangeEvent]) -> None:
        """Take the fees of these trades in ``coin``."""
        for event in events:
            if not isinstance(event, Executed) or event.execution.exec_type != "Trade":
                continue
            done = event.execution
            self._by_execution[done.exec_id] = TakenFee(coin, done.fee_quote)
            before = self._by_order.pop(done.order_id, TakenFee(coin, ZERO))
            self._by_order[done.order_id] = TakenFee(coin, before.quote + done.fee_quote)
            self._paid[coin] = self._paid.get(coin, ZERO) + done.fee_quote
            for kept in (self._by_execution, self._by_order):
                if len(kept) > KEPT:
                    del kept[next(iter(kept))]

    def show(self, rows: Sequence[object]) -> None:
        """Show the fees in rows of executions and orders."""
        for row in rows:
            if isinstance(row, ExecutionFields) and (fee := self._by_execution.get(row.execId)):
                row.execFee, row.feeCurrency = fee.text, fee.coin
            elif isinstance(row, OrderFields) and (fee := self._by_order.get(row.orderId)):
                row.cumFeeDetail, row.cumExecFee = {fee.coin: fee.text}, ""

    def wallet(self, row: WalletRow, coin: str) -> WalletRow:
        """Show the coins that pay fees beside USDT, which then does not pay them; ``coin`` pays now."""
        if coin:
            self._paid.setdefault(coin, ZERO)
        if not self._paid:
            return row
        usdt = row.coin[0]
        paid = sum(self._paid.values(), ZERO)
        for field in ("equity", "usdValue", "walletBalance"):
            setattr(usdt, field, amount(Decimal(getattr(usdt, field)) + paid))
        for name, quote in self._paid.items():
            left = STOCK - quote / PRICES[name]
            worth = amount(left * PRICES[name])
            row.coin.append(CoinRow(coin=name, equity=plain(left), usdValue=worth, walletBalance=plain(left)))
        total = sum((Decimal(each.usdValue) for each in row.coin), ZERO)
        row.totalEquity = row.totalMarginBalance = amount(total)
        others = total - Decimal(usdt.usdValue)
        row.totalWalletBalance = amount(Decimal(row.totalWalletBalance) + others + paid)
        assert usdt.coin == COIN, "the settle coin comes first"
        return row
