"""Order and execution rows in the documented shape (websocket topics ``order`` and ``execution``)."""

from decimal import Decimal
from typing import Any

from bot.bybit import wire
from bot.domain.orders import Intent

ID = "bot1-7-0"
NOW = 1_700_000_000_000


def intent(qty: str = "1", symbol: str = "BTCUSDT", **changes: Any) -> Intent:
    fields: dict[str, Any] = {"side": "Buy", "ref_price": Decimal(100), "decided_ms": NOW}
    return Intent(symbol, qty=Decimal(qty), **(fields | changes))


def order_row(
    status: str = "New",
    link: str = ID,
    *,
    order: str = "v1",
    qty: str = "1",
    cum: str = "0",
    cancel: str = "UNKNOWN",
    reject: str = "EC_NoError",
    symbol: str = "BTCUSDT",
    **fields: Any,
) -> wire.OrderPush:
    return wire.OrderPush(
        symbol=symbol,
        orderId=order,
        orderLinkId=link,
        side=fields.pop("side", "Buy"),
        orderStatus=status,
        qty=qty,
        cumExecQty=cum,
        cancelType=cancel,
        rejectReason=reject,
        orderType=fields.pop("orderType", "Market"),
        createdTime=str(NOW),
        updatedTime=str(NOW),
        **fields,
    )


def execution(
    exec_id: str = "x1",
    link: str = ID,
    *,
    order: str = "v1",
    qty: str = "1",
    price: str = "100",
    fee: str = "0.01",
    time: int | str = NOW,
    symbol: str = "BTCUSDT",
    side: str = "Buy",
    **fields: Any,
) -> wire.ExecutionPush:
    return wire.ExecutionPush(
        symbol=symbol,
        execId=exec_id,
        orderId=order,
        orderLinkId=link,
        execQty=qty,
        execPrice=price,
        execFee=fee,
        execTime=str(time),
        side=side,
        execType=fields.pop("execType", "Trade"),
        **fields,
    )
