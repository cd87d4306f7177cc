"""Each fill of ours as one line, and each closed trade with its result.

The amounts are the engine's own: what changed in its state between before a fill and after it. A fill that
the engine did not book (a report that came twice, an execution of somebody else) changes nothing and is not
said.
"""

from decimal import Decimal

import msgspec

from bot.domain.ledger import Fill
from bot.domain.messages import Event, Filled
from bot.domain.money import ZERO, plain
from bot.domain.spans import span_words
from bot.engine.state import EngineState, SymbolState
from bot.service.alarms.money import signed
from bot.service.alarms.voice import Voice


class _Before(msgspec.Struct, frozen=True):
    """What stood in the books before a fill."""

    fill: Fill
    sym: SymbolState
    reason: str
    qty: Decimal
    entry_price: Decimal | None
    trade_quote: Decimal
    bars_held: int
    realised: Decimal
    fees: Decimal


class FillWatch:
    """Looks at the books before a fill, and again once the engine has booked it."""

    def __init__(self, state: EngineState, voice: Voice) -> None:
        self._state = state
        self._voice = voice
        self._before: _Before | None = None

    def event(self, event: Event) -> None:
        """Say the fill before this event; remember the books if this one is a fill."""
        if self._before is not None:
            self.settle()
        if type(event) is Filled and (sym := self._state.symbols.get(event.fill.symbol)) is not None:
            self._before = self._look(event.fill, sym)

    def settle(self) -> None:
        """Say the fill that the engine has booked since, if there is one."""
        before, self._before = self._before, None
        if before is None:
            return
        cash, sym = self._state.cash, before.sym
        fee = cash.fees - before.fees
        if sym.position.qty == before.qty and not fee:
            return
        net = cash.realised - before.realised - fee
        was, now = before.qty, sym.position.qty
        closed = bool(was) and (not now or (was > ZERO) != (now > ZERO))
        trade_quote = before.trade_quote + net
        self._say_fill(before, fee, trade_quote)
        if closed:
            self._say_trade(before, trade_quote)

    def _look(self, fill: Fill, sym: SymbolState) -> _Before:
        state, order = self._state, self._state.orders.live.get(fill.order_id)
        reason = order.intent.reason if order is not None else ""
        return _Before(
            fill=fill,
            sym=sym,
            reason=reason if fill.cause == "order" else fill.cause,
            qty=sym.position.qty,
            entry_price=sym.position.entry_price,
            trade_quote=sym.trade_quote,
            bars_held=sym.view.bars_held,
            realised=state.cash.realised,
            fees=state.cash.fees,
        )

    def _say_fill(self, before: _Before, fee: Decimal, trade_quote: Decimal) -> None:
        fill, cash, now = before.fill, self._state.cash, before.sym.position.qty
        total = cash.realised - cash.fees + cash.funding
        verb = "bought" if fill.side == "Buy" else "sold"
        why = f" ({before.reason})" if before.reason else ""
        words = (
            f"{fill.symbol}: {verb} {plain(fill.qty)} at {plain(fill.price)}{why}, fee {fee:.2f}; position "
            f"{plain(now)}, result of this trade so far {signed(trade_quote)}, of the account {signed(total)}"
        )
        self._voice.say(
            fill.ts_ms,
            "info",
            "fill",
            words,
            symbol=fill.symbol,
            side=fill.side,
            qty=plain(fill.qty),
            price=plain(fill.price),
            reason=before.reason,
            fee_quote=plain(fee),
            position=plain(now),
            trade_quote=plain(trade_quote),
            total_quote=plain(total),
            order_id=fill.order_id,
        )

    def _say_trade(self, before: _Before, result: Decimal) -> None:
        fill, sym = before.fill, before.sym
        side = "long" if before.qty > ZERO else "short"
        held_ms = before.bars_held * sym.interval_ms
        held = f", held {span_words(held_ms)}" if held_ms else ""
        entry = "unknown" if before.entry_price is None else f"{float(before.entry_price):.8g}"
        share = float(result) / self._state.equity if self._state.equity > 0.0 else 0.0
        words = (
            f"{fill.symbol}: {side} closed with {signed(result)} after costs ({share:+.2%} of the equity): "
            f"in at {entry}, out at {plain(fill.price)}{f' ({before.reason})' if before.reason else ''}{held}"
        )
        self._voice.say(
            fill.ts_ms,
            "info",
            "trade_closed",
            words,
            symbol=fill.symbol,
            side=side,
            result_quote=plain(result),
            held_ms=held_ms,
            reason=before.reason,
        )
