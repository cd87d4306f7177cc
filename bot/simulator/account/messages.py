"""Messages of an account on its private streams: events grouped as Bybit groups them.

Orders and executions of one match share a message id ``{uid}_{symbol}_{seq}``; then come positions (both
sides of a symbol in hedge mode), then the wallet. Several fills of one order come in one message, and an
order that passes two states at once comes in two. https://bybit-exchange.github.io/docs/v5/websocket/private/order
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from bot.bybit.wire import ExecutionPush, OrderPush, PositionPush, WalletRow
from bot.exchange.events import ExchangeEvent, Executed, OrderChanged, PositionChanged, WalletChanged
from bot.simulator.account.rows import execution_push, order_row

Kind = Literal["order", "execution", "position", "wallet"]
Rows = Sequence[OrderPush] | Sequence[ExecutionPush] | Sequence[PositionPush] | Sequence[WalletRow]


class AccountPush(msgspec.Struct, frozen=True):
    """One push without its topic: subscribers call it ``order`` or ``order.linear``."""

    kind: Kind
    push_id: str
    created_ms: int
    rows: Rows


class Views(msgspec.Struct, frozen=True):
    """The present account, for the pushes of positions and wallet."""

    positions: Callable[[str], Sequence[PositionPush]]
    wallet: Callable[[], WalletRow]
    new_id: Callable[[], str]


def messages(
    events: Iterable[ExchangeEvent],
    uid: int,
    now_ms: int,
    views: Views,
    *,
    position_first: bool = True,
) -> list[AccountPush]:
    """Return the messages of one operation, in the order in which they leave."""
    orders: list[tuple[str, list[OrderPush]]] = []
    executions: dict[str, list[ExecutionPush]] = {}
    sequence: list[tuple[Kind, str, Rows]] = []
    symbols: dict[str, None] = {}
    wallet = False
    for event in events:
        match event:
            case OrderChanged(order=order, match_seq=seq):
                name = f"{uid}_{order.symbol}_{seq}" if seq is not None else views.new_id()
                row = order_row(OrderPush, order)
                if orders and orders[-1][0] == name and all(r.orderId != row.orderId for r in orders[-1][1]):
                    orders[-1][1].append(row)
                else:
                    orders.append((name, [row]))
                    sequence.append(("order", name, orders[-1][1]))
            case Executed(execution=execution, match_seq=seq):
                name = f"{uid}_{execution.symbol}_{seq}"
                if name not in executions:
                    executions[name] = []
                    sequence.append(("execution", name, executions[name]))
                executions[name].append(execution_push(execution))
            case PositionChanged(symbol=symbol):
                symbols[symbol] = None
            case WalletChanged():
                wallet = True
    first = [AccountPush(kind, name, now_ms, rows) for kind, name, rows in sequence]
    after = [
        AccountPush("position", f"{uid}_position_{now_ms}", now_ms, views.positions(symbol))
        for symbol in symbols
    ]
    if wallet:
        paid = AccountPush("wallet", f"{uid}_wallet_{now_ms}", now_ms, [views.wallet()])
        after.insert(len(after) if position_first else 0, paid)
    return first + after


CATEGORISED: Mapping[str, Kind | None] = {
    "order": "order",
    "execution": "execution",
    "execution.fast": "execution",
    "position": "position",
    "wallet": "wallet",
    "greeks": None,
}
"""The topics without their category, and the kind of message that feeds each."""
_CATEGORIES = ("linear", "inverse", "spot", "option")


def topic_kind(topic: str) -> tuple[str, str] | None:
    """Return base and category of a topic: ``order.linear`` is (``order``, ``linear``); None if unknown."""
    if topic in CATEGORISED:
        return topic, ""
    base, _, category = topic.rpartition(".")
    if base in CATEGORISED and base not in ("wallet", "greeks") and category in _CATEGORIES:
        return base, category
    return None
