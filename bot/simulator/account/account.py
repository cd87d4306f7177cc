"""One account at the exchange: its requests, its records, its messages.

REST and the trade socket call the same methods. An action is checked and executed at once. Its events are
written to the ledger and passed to ``emit`` as messages; these leave after the request's answer.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from random import Random

import msgspec

from bot.bybit.wire import ClosedPnlRow, OrderIds, OrderRow, PositionPush, PositionRow, WalletRow
from bot.domain.market import Instrument
from bot.domain.money import ZERO
from bot.domain.orders import Side
from bot.exchange.bars.exchange import BarExchange
from bot.exchange.events import ExchangeEvent, Executed, Execution, OrderChanged
from bot.exchange.orders import Cancel, ExchangeOrder, NewOrder
from bot.exchange.quotes.exchange import QuoteExchange
from bot.exchange.rulebook.refusals import ABOVE_BAND, BELOW_BAND, SAME_MARGIN_MODE, Refusal
from bot.simulator.account import order_forms as forms
from bot.simulator.account import rows
from bot.simulator.account.access import Key, RequestRefused
from bot.simulator.account.fee_coins import FeeCoins
from bot.simulator.account.ledger import AccountRecords
from bot.simulator.account.messages import AccountPush, Views, messages
from bot.simulator.config import AccessRules

Params = Mapping[str, object]
BATCH_MAX = 20
CANCEL_ALL_MAX = 500
_MONEY_MAX: Mapping[str, int] = {"USDT": 100_000}
_CLOSING_KEPT = 1_000


class Item(msgspec.Struct, frozen=True):
    """The answer for one order of a batch: its ids, its retCode and its message."""

    ids: OrderIds
    code: int
    text: str
    symbol: str
    created: str = ""


class Account:
    """An account behind one key.

    Args:
        key: the key of the account.
        engine: the rules and the money.
        rules: choices where the documentation is silent.
        fees: taker and maker, fractions.
        now_ms: the market's time.
        prices: brings the engine's prices of a symbol up to now.
        instruments: rules by symbol, those of new symbols included.
        rng: makes ids.
        emit: takes the messages of one operation.
        refuses: returns the code and words with which a fault refuses an order action.
    """

    def __init__(
        self,
        key: Key,
        engine: BarExchange | QuoteExchange,
        rules: AccessRules,
        *,
        fees: tuple[Decimal, Decimal],
        now_ms: Callable[[], int],
        prices: Callable[[str], None],
        instruments: Mapping[str, Instrument],
        rng: Random,
        emit: Callable[[list[AccountPush]], None],
        refuses: Callable[[str], tuple[int, str] | None] = lambda op: None,
    ) -> None:
        self.key = key
        self.engine = engine
        self.ledger = AccountRecords()
        self.instruments = instruments
        self.fees = fees
        self.prices = prices
        self.refuses = refuses
        self.opened_ms = now_ms()
        self._rules = rules
        self._now_ms = now_ms
        self._rng = rng
        self._emit = emit
        self._closing: dict[str, tuple[ClosedPnlRow, int]] = {}
        self._fee_coins = FeeCoins()
        self._sizes: dict[tuple[str, int], Decimal] = {}
        self._balance = engine.wallet().wallet_quote
        self._views = Views(self.position_pushes, self.wallet_row, self.new_id)

    def new_id(self) -> str:
        """A fresh UUID, the same in every run with the same seed."""
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    # -- orders ----------------------------------------------------------------------------------------------

    def create(self, params: Params) -> OrderIds:
        """``order/create``.

        Raises:
            RequestRefused: with the code of the rule that the order breaks.
        """
        forms.category_of(params)
        new = self._new(params)
        self.prices(new.symbol)
        self._check_phase(new.symbol)
        if new.trigger_price is None:
            self._check_band(new.symbol, new.side, new.price)
        _check(self.engine.place(new, self._now_ms()))
        self.settle()
        return OrderIds(new.order_id, new.link_id)

    def _new(self, params: Params) -> NewOrder:
        """Parse an order; a BBO order takes its price from the book now."""
        offer = forms.best_offer(params)
        if offer is None:
            return forms.new_order(params, self.new_id())
        symbol, side = forms.symbol_of(params), forms.side_of(params)
        self.prices(symbol)
        resting: Side = side if offer[0] == "Queue" else "Sell" if side == "Buy" else "Buy"
        price = self.engine.offer(symbol, resting, offer[1]) if symbol in self.instruments else None
        if price is None:
            raise forms.bad("the book has no such level")
        new = forms.new_order({**params, "price": str(price)}, self.new_id())
        return msgspec.structs.replace(new, create_type="CreateByBboOrder")

    def amend(self, params: Params) -> OrderIds:
        """``order/amend``.

        Raises:
            RequestRefused: 110001 no such open order, or the rule that the change breaks.
        """
        forms.category_of(params)
        order = self._open_order(params, "replace")
        asked = forms.amend(params, order.symbol, order.order_id)
        self.prices(order.symbol)
        if not order.conditional:
            self._check_band(order.symbol, order.side, asked.price)
        _check(self.engine.amend(asked, self._now_ms()))
        self.settle()
        return OrderIds(order.order_id, order.link_id)

    def cancel(self, params: Params) -> OrderIds:
        """``order/cancel``.

        Raises:
            RequestRefused: 110001 no such open order.
        """
        forms.category_of(params)
        order = self._open_order(params, "cancel")
        _check(self.engine.cancel(Cancel(order.symbol, order.order_id), self._now_ms()))
        self.settle()
        return OrderIds(order.order_id, order.link_id)

    def _check_phase(self, symbol: str) -> None:
        instrument = self.instruments.get(symbol)
        if self._rules.demo and instrument is not None and instrument.status == "PreLaunch":
            raise RequestRefused(110100, "Pre-market contracts are not supported in demo trading")

    def _check_band(self, symbol: str, side: Side, price: Decimal | None) -> None:
        """Refuse a limit price beyond the band, if the account is set so; by default the price is moved."""
        if price is None or self._rules.limit_price_action == "adjust":
            return
        if self.engine.banded(symbol, side, price) != price:
            _check(ABOVE_BAND if side == "Buy" else BELOW_BAND)

    def set_limit_action(self, params: Params) -> None:
        """``account/set-limit-px-action``: whether limit prices beyond the band are refused.

        Raises:
            RequestRefused: 10001, no such category, or ``modifyEnable`` is missing.
        """
        if forms.text(params, "category") not in ("linear", "inverse"):
            raise forms.bad("category invalid")
        if params.get("modifyEnable") is None:
            raise forms.bad("modifyEnable is required")
        moved = forms.flag(params, "modifyEnable")
        self.set_rules(limit_price_action="adjust" if moved else "reject")

    @property
    def rules(self) -> AccessRules:
        """The present choices and switches of this account."""
        return self._rules

    def set_rules(self, **changes: object) -> None:
        """Change choices and switches while the exchange runs."""
        self._rules = msgspec.structs.replace(self._rules, **changes)

    def _open_order(self, params: Params, what: str) -> ExchangeOrder:
        symbol = forms.symbol_of(params)
        order_id, link_id = forms.text(params, "orderId"), forms.text(params, "orderLinkId")
        if not order_id and not link_id:
            raise forms.bad("orderId or orderLinkId is required")
        order = self.ledger.orders.find(order_id, link_id)
        if order is None or not order.open or order.symbol != symbol:
            raise RequestRefused(110001, f"order not exists or too late to {what}")
        return order

    def cancel_all(self, params: Params) -> list[OrderIds]:
        """``order/cancel-all``: of a symbol, a base coin, or all of a settle coin.

        Raises:
            RequestRefused: 10001 neither is given.
        """
        forms.category_of(params)
        symbol, base = forms.text(params, "symbol"), forms.text(params, "baseCoin")
        settle = forms.text(params, "settleCoin")
        if not symbol and not base and not settle:
            raise forms.bad("one of symbol, baseCoin, settleCoin is required")
        kind = forms.choice(params, "orderFilter", ("", "Order", "StopOrder", "OpenOrder"), "")
        if symbol:
            chosen = [symbol]
        elif base:
            chosen = [f"{base}USDT"]
        else:
            chosen = list(self.instruments) if settle == rows.COIN else []
        known = [s for s in chosen if s in self.instruments]
        gone = self.engine.cancel_all(known, self._now_ms(), kind, choose=self._cancellable)
        self.settle()
        return [OrderIds(order.order_id, order.link_id) for order in gone]

    def _cancellable(self, found: list[ExchangeOrder]) -> list[ExchangeOrder]:
        """Return what one cancel-all takes: of more than 500 orders, 500 at random."""
        return found if len(found) <= CANCEL_ALL_MAX else self._rng.sample(found, CANCEL_ALL_MAX)

    def batch(self, params: Params, each: Callable[[Params], OrderIds], granted: int) -> list[Item]:
        """Execute a batch, order by order; the orders beyond ``granted`` are refused with 10006.

        Raises:
            RequestRefused: 10001 no list, or too long.
        """
        category = forms.category_of(params)
        requests = params.get("request")
        if not isinstance(requests, list) or not requests or not all(isinstance(w, dict) for w in requests):
            raise forms.bad("request must be a list of orders")
        if len(requests) > BATCH_MAX:
            raise forms.bad(f"at most {BATCH_MAX} orders in a batch")
        return [
            self._item({**request, "category": category}, each, n < granted)
            for n, request in enumerate(requests)
        ]

    def _item(self, request: Params, each: Callable[[Params], OrderIds], granted: bool) -> Item:
        symbol = str(request.get("symbol") or "")
        try:
            if not granted:
                raise RequestRefused(10006, "Too many visits. Exceeded the API Rate Limit.")
            return Item(each(request), 0, "OK", symbol, str(self._now_ms()))
        except RequestRefused as refused:
            return Item(
                OrderIds("", str(request.get("orderLinkId") or "")), refused.code, refused.text, symbol
            )

    # -- positions and money ---------------------------------------------------------------------------------

    def trading_stop(self, params: Params) -> None:
        """``position/trading-stop``.

        Raises:
            RequestRefused: 34040 nothing changes, 10001 no position or a stop on the wrong side.
        """
        forms.category_of(params)
        symbol = forms.symbol_of(params)
        asked = forms.trading_stop(params, self.instruments.get(symbol))
        self.prices(symbol)
        _check(self.engine.trading_stop(asked, self._now_ms()))
        self.settle()

    def set_leverage(self, params: Params) -> None:
        """``position/set-leverage``.

        Raises:
            RequestRefused: 110043 it is already set, 110013 too high, 10001 two values in one-way mode.
        """
        forms.category_of(params)
        asked = forms.set_leverage(params)
        self.prices(asked.symbol)
        _check(self.engine.set_leverage(asked, self._now_ms()))
        self.settle()

    def switch_mode(self, params: Params) -> None:
        """``position/switch-mode`` of a symbol or of all: 0 one-way, 3 hedge.

        Raises:
            RequestRefused: 110025 it is already set, 110024 a position, 110028 open orders.
        """
        forms.category_of(params)
        hedge = forms.small_int(params, "mode", (0, 3), 0) == 3
        symbol, coin = forms.text(params, "symbol"), forms.text(params, "coin")
        if not symbol and coin != rows.COIN:
            raise forms.bad("symbol or coin is required")
        refusals = [
            self.engine.switch_mode(name, hedge) for name in ([symbol] if symbol else list(self.instruments))
        ]
        # A request for a whole coin ignores symbols that are already in this mode.
        counted = [r for r in refusals if r is not None and (symbol or r.code != 110025)]
        _check(counted[0] if counted else None)
        self.settle()

    def set_margin_mode(self, params: Params) -> None:
        """``account/set-margin-mode``; the mode that is set already is accepted.

        Raises:
            RequestRefused: 3400045 with reasons, 10001 a mode that is not offered.
        """
        mode = forms.text(params, "setMarginMode")
        if mode not in ("REGULAR_MARGIN", "ISOLATED_MARGIN"):
            raise forms.bad("setMarginMode must be REGULAR_MARGIN or ISOLATED_MARGIN here")
        refusal = self.engine.set_margin_mode(
            "cross" if mode == "REGULAR_MARGIN" else "isolated", self._now_ms()
        )
        if refusal is not None and refusal != SAME_MARGIN_MODE:
            reason = {"reasonCode": str(refusal.code), "reasonMsg": refusal.reason}
            raise RequestRefused(3400045, "Set margin mode failed", result={"reasons": [reason]})
        self.settle()

    def set_auto_margin(self, params: Params) -> None:
        """``position/set-auto-add-margin``: accept "off", which is always set.

        Raises:
            RequestRefused: 10001 the request says "on".
        """
        forms.category_of(params)
        forms.symbol_of(params)
        if forms.small_int(params, "autoAddMargin", (0, 1), 0):
            raise forms.bad("adding margin automatically is not offered by this exchange")

    def add_margin(self, params: Params) -> tuple[str, int]:
        """``position/add-margin``: more (or, negative, less) isolated margin. Returns the position's name.

        Raises:
            RequestRefused: cross margin, no position, not enough.
        """
        forms.category_of(params)
        asked = forms.add_margin(params)
        self.prices(asked.symbol)
        _check(self.engine.add_margin(asked, self._now_ms()))
        self.settle()
        return asked.symbol, asked.position_idx

    def apply_money(self, params: Params) -> None:
        """``account/demo-apply-money``: add (0) or take back (1) toy USDT.

        Raises:
            RequestRefused: 10001 another coin, too much, or more than there is.
        """
        taken = forms.small_int(params, "adjustType", (0, 1), 0) == 1
        requests = params.get("utaDemoApplyMoney")
        if not isinstance(requests, list) or not requests:
            raise forms.bad("utaDemoApplyMoney must be a list")
        total = ZERO
        for request in requests:
            coin = str(request.get("coin")) if isinstance(request, dict) else ""
            part = forms.number(request, "amountStr") if isinstance(request, dict) else None
            if coin not in _MONEY_MAX or part is None or not ZERO < part <= _MONEY_MAX[coin]:
                raise forms.bad(f"{coin or 'coin'}: 1 to 100000 USDT can be had here")
            total += part
        change = -total if taken else total
        if self.engine.wallet().available_quote + change < ZERO:
            raise forms.bad("more than can be taken")
        self.engine.adjust_wallet(change, self._now_ms())
        self._balance += change
        row = rows.money_row(self.new_id(), self._now_ms(), change, self._balance)
        self.ledger.log.note(self._now_ms(), row)
        self.settle()

    # -- what is shown ---------------------------------------------------------------------------------------

    def order_rows(self, found: Sequence[ExchangeOrder]) -> list[OrderRow]:
        """The query rows of orders."""
        shown = [rows.order_row(OrderRow, order) for order in found]
        self._fee_coins.show(shown)
        return shown

    def position_pushes(self, symbol: str) -> list[PositionPush]:
        """The push rows of a symbol's positions: one row, or one per side in hedge mode."""
        views = self.engine.positions(symbol)
        hedge = len(views) > 1
        return [rows.position_push(view, self.instruments[symbol], hedge=hedge) for view in views]

    def position_rows(self, symbol: str | None) -> list[PositionRow]:
        """The rows of a query of a symbol's positions; None: all open positions."""
        views = self.engine.positions(symbol)
        return [rows.position_row(view, self.instruments[view.symbol]) for view in views]

    def wallet_row(self) -> WalletRow:
        """The present wallet row."""
        return self._fee_coins.wallet(rows.wallet_row(self.engine.wallet()), self._rules.fee_coin)

    # -- what came of it -------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Record the events since the last call and emit their messages."""
        events = self.engine.drain()
        if not events:
            return
        if self._rules.post_only_refused == "Rejected":
            for event in events:
                _reject_post_only(event)
        if self._rules.fee_coin:
            self._fee_coins.take(self._rules.fee_coin, events)
        self._write(events)
        told = messages(
            events,
            self.key.uid,
            self._now_ms(),
            self._views,
            position_first=self._rules.position_before_wallet,
        )
        for message in told:
            self._fee_coins.show(message.rows)
        self._emit(told)

    def _write(self, events: Sequence[ExchangeEvent]) -> None:
        for event in events:
            if isinstance(event, OrderChanged):
                self.ledger.orders.note(event.order)
            elif isinstance(event, Executed):
                self._executed(event.execution, event.order)

    def _executed(self, execution: Execution, order: ExchangeOrder | None) -> None:
        pushed = rows.execution_push(execution)
        self._fee_coins.show([pushed])
        self.ledger.executions.note(execution.ts_ms, pushed)
        place = (execution.symbol, execution.position_idx)
        if execution.exec_type == "Funding":
            change = -execution.fee_quote
        else:
            signed = execution.qty if execution.side == "Buy" else -execution.qty
            self._sizes[place] = self._sizes.get(place, ZERO) + signed
            change = execution.pnl_quote - execution.fee_quote
        self._balance += change
        size = self._sizes.get(place, ZERO)
        self.ledger.log.note(execution.ts_ms, rows.log_row(execution, self.key.uid, size, self._balance))
        if order is not None and execution.closed_size:
            self._closed(execution, order)

    def _closed(self, execution: Execution, order: ExchangeOrder) -> None:
        """Keep one closed-PnL row per order: created at its first closing fill, updated at each later one."""
        leverage = next(
            v.leverage for v in self.engine.positions(order.symbol) if v.idx == order.position_idx
        )
        known = self._closing.get(order.order_id)
        fills = 1 if known is None else known[1] + 1
        row = rows.closed_pnl_row(order, leverage, execution.exec_type, fills)
        if known is None:
            self.ledger.closed.note(execution.ts_ms, row)
        else:
            for name in row.__struct_fields__:
                setattr(known[0], name, getattr(row, name))
            row = known[0]
        self._closing[order.order_id] = (row, fills)
        while len(self._closing) > _CLOSING_KEPT:
            del self._closing[next(iter(self._closing))]


def _check(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise RequestRefused(refusal.code, refusal.reason)


def _reject_post_only(event: ExchangeEvent) -> None:
    """Show a PostOnly order that would have taken as Rejected (a switch of ``AccessRules``)."""
    if isinstance(event, OrderChanged) and event.order.reject_reason == "EC_PostOnlyWillTakeLiquidity":
        event.order.status = "Rejected"
