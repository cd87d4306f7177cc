"""What the owner of the account does by hand, at the venue's page, to what the bot made."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bot.simulator.account.access import RequestRefused
from bot.simulator.account.account import Account
from tests.sim.checks.always import Always

ACTS = (
    "amend_qty",
    "amend_qty",
    "amend_price",
    "cancel",
    "leverage",
    "margin_mode",
    "stop",
    "trail",
    "money",
)
MONEY = Decimal(5_000)
ISOLATED, CROSS = "ISOLATED_MARGIN", "REGULAR_MARGIN"


def act(account: Account, seen: Always, how: Mapping[str, Any], mark: Decimal) -> bool:
    """Do what ``how`` says; False if the venue refuses it, or if there is nothing to do it to."""
    try:
        return _act(account, seen, how, mark)
    except RequestRefused:
        return False


def _act(account: Account, seen: Always, how: Mapping[str, Any], mark: Decimal) -> bool:
    symbol, by = how["symbol"], Decimal(str(how["by"]))
    there: dict[str, Any] = {"category": "linear", "symbol": symbol}
    orders = [each for each in seen.truth.open_orders(symbol) if seen.truth.is_ours(each.link_id)]
    order = orders[0] if orders else None
    rules = account.instruments[symbol]
    match how["what"]:
        case "amend_qty" | "amend_price" | "cancel" if order is None:
            return False
        case "amend_qty":
            qty = max(_on(order.qty * by, rules.qty_step), rules.min_qty)
            seen.truth.amended.add(order.link_id)
            account.amend({**there, "orderId": order.order_id, "qty": f"{qty:f}"})
        case "amend_price":
            price = _on(order.price * (1 + (by - 1) / 1000), rules.tick_size)
            account.amend({**there, "orderId": order.order_id, "price": f"{price:f}"})
        case "cancel":
            account.cancel({**there, "orderId": order.order_id})
        case "leverage":
            leverage = str(max(1, int(by * 3)))
            account.set_leverage({**there, "buyLeverage": leverage, "sellLeverage": leverage})
        case "margin_mode":
            account.set_margin_mode({"setMarginMode": ISOLATED})
        case "stop":
            stop = _on(mark * (1 + (by - 1) / 100), rules.tick_size)
            account.trading_stop({**there, "stopLoss": f"{stop:f}", "positionIdx": 0})
        case "trail":
            distance = _on(mark * by / 1000, rules.tick_size)
            account.trading_stop({**there, "trailingStop": f"{distance:f}", "positionIdx": 0})
        case _:
            kind, amount = (0, MONEY) if by > 1 else (1, -MONEY)
            coins = [{"coin": "USDT", "amountStr": str(MONEY)}]
            account.apply_money({"adjustType": kind, "utaDemoApplyMoney": coins})
            seen.paid_quote += amount
    seen.truth.closed |= {symbol, "TRANSFER"}
    return True


def _on(value: Decimal, step: Decimal) -> Decimal:
    return value // step * step
