"""Convert the exchange's orders, executions, positions and wallet to rows in Bybit's format.

Amounts are cut to 8 decimals and account rates to 4, as recorded messages are; prices and sizes have no
trailing zeros. An execution's price, size and fee keep every digit, so that a client's books and the
account's wallet agree exactly.
"""

from decimal import ROUND_DOWN, Decimal
from typing import TypeVar

import msgspec

from bot.bybit.wire import (
    ClosedPnlRow,
    CoinRow,
    ExecutionPush,
    ExecutionRow,
    FastExecution,
    OrderPush,
    OrderRow,
    PositionPush,
    PositionRow,
    TransactionRow,
    WalletRow,
)
from bot.domain.market import Instrument
from bot.domain.money import ZERO, plain
from bot.exchange.events import Execution, PositionView, WalletView
from bot.exchange.orders import ExchangeOrder

_AMOUNT = Decimal("1e-8")
_RATE = Decimal("1e-4")
COIN = "USDT"
OrderKind = TypeVar("OrderKind", OrderPush, OrderRow)
_EXECUTION_FIELDS = ExecutionRow.__struct_fields__


def amount(value: Decimal) -> str:
    """An amount of money, cut to 8 decimals."""
    return plain(value.quantize(_AMOUNT, rounding=ROUND_DOWN))


def rate(part: Decimal, whole: Decimal) -> str:
    """``part / whole`` cut to 4 decimals; 0 if ``whole`` is 0."""
    return plain((part / whole).quantize(_RATE, rounding=ROUND_DOWN)) if whole > ZERO else "0"


def _set(value: Decimal, unset: str) -> str:
    return plain(value) if value else unset


def order_row(kind: type[OrderKind], order: ExchangeOrder) -> OrderKind:
    """A row of the order stream (``OrderPush``) or of the order queries (``OrderRow``)."""
    given = order.tpsl_mode
    fields = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderLinkId": order.link_id,
        "side": order.side,
        "positionIdx": order.position_idx,
        "orderStatus": order.status,
        "cancelType": order.cancel_type,
        "rejectReason": order.reject_reason if order.reject_reason.startswith("EC_") else "EC_Others",
        "timeInForce": order.time_in_force,
        "price": plain(order.price),
        "qty": plain(order.qty),
        "avgPrice": "" if order.avg_price is None else amount(order.avg_price),
        "leavesQty": plain(order.leaves_qty),
        "leavesValue": amount(order.leaves_qty * order.price),
        "cumExecQty": plain(order.cum_exec_qty),
        "cumExecValue": plain(order.cum_exec_value),
        "cumExecFee": plain(order.cum_exec_fee),
        "orderType": order.order_type,
        "stopOrderType": order.stop_order_type,
        "triggerPrice": _set(order.trigger_price, ""),
        "takeProfit": _set(order.take_profit, ""),
        "stopLoss": _set(order.stop_loss, ""),
        "triggerBy": order.trigger_by if order.trigger_price else "",
        "tpTriggerBy": order.tp_trigger_by if order.take_profit else "",
        "slTriggerBy": order.sl_trigger_by if order.stop_loss else "",
        "triggerDirection": order.trigger_direction,
        "lastPriceOnCreated": _set(order.last_price_on_created, ""),
        "closeOnTrigger": order.close_on_trigger,
        "reduceOnly": order.reduce_only,
        "slLimitPrice": plain(order.sl_limit_price),
        "tpLimitPrice": plain(order.tp_limit_price),
        "createType": order.create_type,
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
        "cumFeeDetail": {COIN: plain(order.cum_exec_fee)} if order.cum_exec_qty else {},
        "parentOrderLinkId": order.parent_link_id,
        "slippageToleranceType": order.slippage_type or "UNKNOWN",
        "slippageTolerance": plain(order.slippage),
    }
    if kind is OrderPush:
        fields["tpslMode"] = given or "UNKNOWN"
        fields["closedPnl"] = amount(order.closed_pnl)
    else:
        fields["tpslMode"] = given
    return msgspec.convert(fields, kind)


def execution_push(execution: Execution) -> ExecutionPush:
    """A row of the execution stream; also what the ledger keeps."""
    return ExecutionPush(
        symbol=execution.symbol,
        closedSize=plain(execution.closed_size),
        execFee=plain(execution.fee_quote),
        execId=execution.exec_id,
        execPrice=plain(execution.price),
        execQty=plain(execution.qty),
        execType=execution.exec_type,
        execValue=plain(execution.value_quote),
        feeRate=plain(execution.fee_frac),
        markPrice=plain(execution.mark_price),
        leavesQty=plain(execution.leaves_qty),
        orderId=execution.order_id,
        orderLinkId=execution.link_id,
        orderPrice=plain(execution.order_price),
        orderQty=plain(execution.order_qty),
        orderType=execution.order_type,
        stopOrderType=execution.stop_order_type or "UNKNOWN",
        side=execution.side,
        execTime=str(execution.ts_ms),
        isMaker=execution.maker,
        seq=execution.match_seq,
        createType=execution.create_type,
        feeCurrency=COIN,
        execPnl=amount(execution.pnl_quote),
    )


def execution_row(push: ExecutionPush) -> ExecutionRow:
    """The same execution as a row of ``GET /v5/execution/list``."""
    return ExecutionRow(**{name: getattr(push, name) for name in _EXECUTION_FIELDS})


def fast_execution(push: ExecutionPush) -> FastExecution:
    """The same execution as a row of ``execution.fast``: a maker's link id is left out."""
    return FastExecution(
        symbol=push.symbol,
        execId=push.execId,
        execPrice=push.execPrice,
        execQty=push.execQty,
        orderId=push.orderId,
        isMaker=push.isMaker,
        orderLinkId="" if push.isMaker else push.orderLinkId,
        side=push.side,
        execTime=push.execTime,
        seq=push.seq,
    )


def position_push(view: PositionView, instrument: Instrument, *, hedge: bool) -> PositionPush:
    """A row of the position stream. A flat side of hedge mode has no margins, not zero ones."""
    fields = _position(view, instrument)
    if not view.size and hedge:
        fields |= dict.fromkeys(("positionIM", "positionMM", "positionIMByMp", "positionMMByMp"), "")
    return msgspec.convert(fields | {"entryPrice": amount(view.avg_price)}, PositionPush)


def position_row(view: PositionView, instrument: Instrument) -> PositionRow:
    """A row of ``GET /v5/position/list``; a flat one has empty value, profit and stops."""
    fields = _position(view, instrument)
    if not view.size:
        fields |= dict.fromkeys(("positionValue", "unrealisedPnl", "liqPrice"), "")
    for name in ("takeProfit", "stopLoss"):
        fields[name] = "" if fields[name] == "0" else fields[name]
    return msgspec.convert(fields | {"avgPrice": amount(view.avg_price)}, PositionRow)


def _position(view: PositionView, instrument: Instrument) -> dict[str, object]:
    tier = next(
        (n for n, t in enumerate(instrument.tiers) if view.value_quote <= t.limit_quote),
        len(instrument.tiers) - 1,
    )
    open_ = bool(view.size)
    im, mm = amount(view.im_quote), amount(view.mm_quote)
    return {
        "positionIdx": view.idx,
        "riskId": tier + 1,
        "riskLimitValue": plain(instrument.tiers[tier].limit_quote),
        "symbol": view.symbol,
        "side": view.side,
        "size": plain(view.size),
        "leverage": plain(view.leverage),
        "breakEvenPrice": amount(view.break_even_price) if open_ else "",
        "positionValue": amount(view.value_quote),
        "positionBalance": amount(view.added_quote),
        "markPrice": plain(view.mark_price),
        "positionIM": im,
        "positionMM": mm,
        "positionIMByMp": im,
        "positionMMByMp": mm,
        "takeProfit": plain(view.take_profit),
        "stopLoss": plain(view.stop_loss),
        "trailingStop": plain(view.trailing_stop),
        "unrealisedPnl": amount(view.upl_quote),
        "cumRealisedPnl": amount(view.cum_realised_quote),
        "curRealisedPnl": amount(view.cur_realised_quote),
        "createdTime": str(view.created_ms),
        "updatedTime": str(view.updated_ms),
        "openTime": view.opened_ms,
        "liqPrice": "0" if not open_ else "" if view.liq_price is None else amount(view.liq_price),
        "adlRankIndicator": 2 if open_ else 0,
        "seq": view.seq,
    }


def wallet_row(view: WalletView) -> WalletRow:
    """The account: totals in USD, one coin, which is worth one USD here."""
    equity, im, mm = amount(view.equity_quote), amount(view.im_quote), amount(view.mm_quote)
    im_rate = rate(view.im_quote, view.equity_quote)
    mm_rate = rate(view.mm_quote, view.equity_quote)
    return WalletRow(
        accountIMRate=im_rate,
        accountMMRate=mm_rate,
        accountIMRateByMp=im_rate,
        accountMMRateByMp=mm_rate,
        totalEquity=equity,
        totalWalletBalance=amount(view.wallet_quote),
        totalMarginBalance=equity,
        totalAvailableBalance=amount(max(view.available_quote, ZERO)),
        totalPerpUPL=amount(view.upl_quote),
        totalInitialMargin=im,
        totalMaintenanceMargin=mm,
        totalInitialMarginByMp=im,
        totalMaintenanceMarginByMp=mm,
        coin=[
            CoinRow(
                coin=COIN,
                equity=equity,
                usdValue=equity,
                walletBalance=amount(view.wallet_quote),
                totalOrderIM=amount(view.order_im_quote),
                totalPositionIM=amount(view.position_im_quote),
                totalPositionMM=mm,
                unrealisedPnl=amount(view.upl_quote),
                cumRealisedPnl=amount(view.cum_realised_quote),
            )
        ],
    )


def no_coin(name: str) -> CoinRow:
    """The wallet row of a requested coin that the account does not hold."""
    return CoinRow(coin=name, equity="0", usdValue="0", walletBalance="0")


def closed_pnl_row(order: ExchangeOrder, leverage: Decimal, exec_type: str, fills: int) -> ClosedPnlRow:
    """A closed-PnL row: the part of a position that one order has closed so far."""
    qty = order.closed_qty
    share = qty / order.cum_exec_qty
    exit_value = order.cum_exec_value * share
    return ClosedPnlRow(
        symbol=order.symbol,
        orderType=order.order_type,
        leverage=plain(leverage),
        updatedTime=str(order.updated_ms),
        side=order.side,
        orderId=order.order_id,
        closedPnl=amount(order.closed_pnl),
        avgEntryPrice=amount(order.cum_entry_value / qty),
        qty=plain(order.qty),
        cumEntryValue=amount(order.cum_entry_value),
        createdTime=str(order.created_ms),
        orderPrice=plain(order.price),
        closedSize=plain(qty),
        avgExitPrice=amount(exit_value / qty),
        execType=exec_type,
        fillCount=str(fills),
        cumExitValue=amount(exit_value),
        closeFee=amount(order.cum_exec_fee * share),
    )


def log_row(execution: Execution, uid: int, size: Decimal, balance: Decimal) -> TransactionRow:
    """A movement of cash by an execution: a trade's profit less its fee, or funding. ``size`` is signed."""
    funding = execution.exec_type == "Funding"
    change = -execution.fee_quote if funding else execution.pnl_quote - execution.fee_quote
    return TransactionRow(
        id=f"{uid}_{execution.symbol}_{execution.match_seq}",
        symbol=execution.symbol,
        side=execution.side,
        funding=plain(change) if funding else "",
        orderLinkId=execution.link_id,
        orderId=execution.order_id,
        fee="0" if funding else plain(execution.fee_quote),
        change=plain(change),
        cashFlow="0" if funding else plain(execution.pnl_quote),
        transactionTime=str(execution.ts_ms),
        type="SETTLEMENT" if funding else "TRADE",
        feeRate=plain(execution.fee_frac),
        size=plain(size),
        qty=plain(execution.qty),
        cashBalance=plain(balance),
        tradePrice=plain(execution.price),
        tradeId=execution.exec_id,
    )


def money_row(name: str, ts_ms: int, change: Decimal, balance: Decimal) -> TransactionRow:
    """Money paid in or out by hand."""
    return TransactionRow(
        id=name,
        side="None",
        change=plain(change),
        cashFlow=plain(change),
        transactionTime=str(ts_ms),
        type="TRANSFER_IN" if change > ZERO else "TRANSFER_OUT",
        cashBalance=plain(balance),
        category="",
    )
