"""Order actions as REST and the trade socket both offer them: names, quotas, answers."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bot.bybit.wire import OrderIds
from bot.simulator.account.access import RequestRefused
from bot.simulator.account.account import Account, Item

Params = Mapping[str, Any]
TOO_OFTEN = "Too many visits. Exceeded the API Rate Limit."


class OrderAnswer(msgspec.Struct, frozen=True):
    """The answer of an endpoint."""

    result: Any = None
    ext: Any = None
    text: str = "OK"


class BatchRow(msgspec.Struct, frozen=True):
    """One order of an amend or cancel batch; its id is empty when it failed."""

    category: str
    symbol: str
    orderId: str  # noqa: N815 (the wire's word)
    orderLinkId: str  # noqa: N815


class CreateRow(msgspec.Struct, frozen=True):
    """One order of a create batch."""

    category: str
    symbol: str
    orderId: str  # noqa: N815
    orderLinkId: str  # noqa: N815
    createAt: str  # noqa: N815


class OrderAction(msgspec.Struct, frozen=True):
    """An order action: its quota, its effect on one order, and whether it takes many."""

    group: str
    each: Callable[[Account, Params], OrderIds]
    batch: bool = False
    creates: bool = False

    @property
    def name(self) -> str:
        """The trade socket's ``op``."""
        return f"order.{self.group}"


ACTIONS: dict[str, OrderAction] = {
    "order.create": OrderAction("create", Account.create, creates=True),
    "order.amend": OrderAction("amend", Account.amend),
    "order.cancel": OrderAction("cancel", Account.cancel),
    "order.create-batch": OrderAction("create-batch", Account.create, batch=True, creates=True),
    "order.amend-batch": OrderAction("amend-batch", Account.amend, batch=True),
    "order.cancel-batch": OrderAction("cancel-batch", Account.cancel, batch=True),
}
"""By the trade socket's ``op``; REST has the same names after ``/v5/order/``."""


def cost_of(action: OrderAction, params: Params) -> int:
    """Return the units of the quota: one for each order."""
    requests = params.get("request") if action.batch else None
    return max(1, len(requests)) if isinstance(requests, list) else 1


def act(account: Account, action: OrderAction, params: Params, granted: int) -> OrderAnswer:
    """Carry out an order action, unless a fault refuses it.

    Raises:
        RequestRefused: a single order's refusal, a malformed batch, or nothing granted (10006).
    """
    if granted < 1:
        raise RequestRefused(10006, TOO_OFTEN)
    refusal = account.refuses(action.name)
    if refusal is not None:
        raise RequestRefused(*refusal)
    if not action.batch:
        return OrderAnswer(action.each(account, params))
    items = account.batch(params, lambda request: action.each(account, request), granted)
    return OrderAnswer(
        {"list": [_row(action, item) for item in items]},
        {"list": [{"code": item.code, "msg": item.text} for item in items]},
    )


def _row(action: OrderAction, item: Item) -> msgspec.Struct:
    ids = item.ids
    if action.creates:
        return CreateRow("linear", item.symbol, ids.orderId, ids.orderLinkId, item.created)
    return BatchRow("linear", item.symbol, ids.orderId, ids.orderLinkId)
