"""Order actions as REST and the trade socket both offer them: names, quotas, answers."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bot.bybit.wire import OrderIds
from bot.simulator.account.access import Refused
from bot.simulator.account.desk import Desk, Item

Params = Mapping[str, Any]
TOO_OFTEN = "Too many visits. Exceeded the API Rate Limit."


class Answer(msgspec.Struct, frozen=True):
    """What an endpoint answers with."""

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


class Action(msgspec.Struct, frozen=True):
    """An order action: its quota, what it does to one order, whether it takes many."""

    group: str
    each: Callable[[Desk, Params], OrderIds]
    batch: bool = False
    creates: bool = False


ACTIONS: dict[str, Action] = {
    "order.create": Action("create", Desk.create, creates=True),
    "order.amend": Action("amend", Desk.amend),
    "order.cancel": Action("cancel", Desk.cancel),
    "order.create-batch": Action("create-batch", Desk.create, batch=True, creates=True),
    "order.amend-batch": Action("amend-batch", Desk.amend, batch=True),
    "order.cancel-batch": Action("cancel-batch", Desk.cancel, batch=True),
}
"""By the trade socket's ``op``; REST has the same names after ``/v5/order/``."""


def cost_of(action: Action, params: Params) -> int:
    """Units of the quota: one an order."""
    wishes = params.get("request") if action.batch else None
    return max(1, len(wishes)) if isinstance(wishes, list) else 1


def act(desk: Desk, action: Action, params: Params, granted: int) -> Answer:
    """Carry it out.

    Raises:
        Refused: a single order's refusal, a malformed batch, or nothing granted (10006).
    """
    if granted < 1:
        raise Refused(10006, TOO_OFTEN)
    if not action.batch:
        return Answer(action.each(desk, params))
    items = desk.batch(params, lambda wish: action.each(desk, wish), granted)
    return Answer(
        {"list": [_row(action, item) for item in items]},
        {"list": [{"code": item.code, "msg": item.text} for item in items]},
    )


def _row(action: Action, item: Item) -> msgspec.Struct:
    ids = item.ids
    if action.creates:
        return CreateRow("linear", item.symbol, ids.orderId, ids.orderLinkId, item.created)
    return BatchRow("linear", item.symbol, ids.orderId, ids.orderLinkId)
