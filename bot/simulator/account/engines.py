"""What stands behind an account: the face that ``exchange.live.LiveExchange`` and ``BarVenue`` share."""

from collections.abc import Collection
from decimal import Decimal
from typing import Literal, Protocol

from bot.domain.market import Instrument
from bot.domain.orders import Side
from bot.exchange.live_orders import (
    Happening,
    LiveOrder,
    NewOrder,
    PositionView,
    TpslMode,
    TriggerBy,
    WalletView,
)
from bot.exchange.rules import Refusal


class Mode(Protocol):
    """A margin mode."""

    @property
    def mode(self) -> Literal["cross", "isolated"]:
        """One margin for all positions, or one for each."""


class Engine(Protocol):
    """One account's rules and money. Actions return None or why they were refused."""

    def place(self, new: NewOrder, now_ms: int) -> Refusal | None:
        """``order/create``."""

    def amend(
        self,
        symbol: str,
        order_id: str,
        *,
        now_ms: int,
        qty: Decimal | None = None,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
        stop_loss: Decimal | None = None,
        take_profit: Decimal | None = None,
    ) -> Refusal | None:
        """``order/amend``; None leaves a value."""

    def cancel(
        self, symbol: str, order_id: str, now_ms: int, cancel_type: str = "CancelByUser"
    ) -> Refusal | None:
        """``order/cancel``."""

    def cancel_all(self, symbols: Collection[str] | None, now_ms: int, kind: str = "") -> list[LiveOrder]:
        """``order/cancel-all``; ``kind`` is Bybit's orderFilter."""

    def trading_stop(
        self,
        symbol: str,
        position_idx: int,
        *,
        now_ms: int,
        stop_loss: Decimal | None = None,
        take_profit: Decimal | None = None,
        trailing_stop: Decimal | None = None,
        active_price: Decimal | None = None,
        tpsl_mode: TpslMode = "Full",
        sl_size: Decimal | None = None,
        tp_size: Decimal | None = None,
        sl_trigger_by: TriggerBy = "LastPrice",
        tp_trigger_by: TriggerBy = "LastPrice",
        sl_limit_price: Decimal | None = None,
        tp_limit_price: Decimal | None = None,
    ) -> Refusal | None:
        """``position/trading-stop``; None leaves a value, 0 removes it."""

    def set_leverage(self, symbol: str, buy: Decimal, sell: Decimal, now_ms: int) -> Refusal | None:
        """``position/set-leverage``."""

    def switch_mode(self, symbol: str, hedge: bool) -> Refusal | None:
        """``position/switch-mode``."""

    def set_margin_mode(self, mode: Literal["cross", "isolated"], now_ms: int) -> Refusal | None:
        """``account/set-margin-mode``."""

    def add_margin(self, symbol: str, position_idx: int, amount: Decimal, now_ms: int) -> Refusal | None:
        """``position/add-margin``."""

    def adjust_wallet(self, amount: Decimal, now_ms: int) -> None:
        """Money given or taken by hand."""

    def change(self, instrument: Instrument) -> None:
        """New rules of a symbol."""

    def drain(self) -> list[Happening]:
        """What happened since the last call."""

    def offer(self, symbol: str, side: Side, level: int) -> Decimal | None:
        """The price of a level of the side of the book that orders of ``side`` rest in; None: no such."""

    def open_orders(self, symbol: str | None) -> list[LiveOrder]:
        """Open orders of a symbol or of all."""

    def positions(self, symbol: str | None = None) -> list[PositionView]:
        """A symbol's, flat ones too; or the open ones of all symbols."""

    def wallet(self) -> WalletView:
        """The account's money."""

    @property
    def account(self) -> Mode:
        """How positions share the wallet."""
