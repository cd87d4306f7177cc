"""Queries about an account: orders, executions, positions, money, settings.

Categories other than linear exist and are empty, because clients query all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bot.bybit.serve import listing
from bot.bybit.wire import FeeRow, PositionRow
from bot.domain.margin import maintenance
from bot.domain.money import ZERO, plain
from bot.exchange.ledger.margin import order_margin
from bot.simulator.account import order_forms as forms
from bot.simulator.account import rows
from bot.simulator.account.access import RequestRefused
from bot.simulator.account.account import Account
from bot.simulator.account.actions import OrderAnswer
from bot.simulator.account.paging import limit_of
from bot.simulator.http.account_facts import api_key, coin_info, collateral, dcp

Params = Mapping[str, Any]
_CATEGORIES = ("linear", "inverse", "spot", "option")


def _category(params: Params) -> str:
    category = params.get("category")
    if category not in _CATEGORIES:
        raise forms.bad("category invalid")
    return str(category)


def _listed(rows_: Sequence[object], cursor: str, category: str) -> OrderAnswer:
    return OrderAnswer(listing(rows_, cursor, category))


def realtime(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    """``GET /v5/order/realtime``."""
    if (category := _category(params)) != "linear":
        return _listed([], "", category)
    found, cursor = account.ledger.orders.realtime(params)
    return _listed(account.order_rows(found), cursor, category)


def order_history(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    """``GET /v5/order/history``."""
    if (category := _category(params)) != "linear":
        return _listed([], "", category)
    found, cursor = account.ledger.orders.history(params, now_ms)
    return _listed(account.order_rows(found), cursor, category)


def executions(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    """``GET /v5/execution/list``."""
    if (category := _category(params)) != "linear":
        return _listed([], "", category)
    found, cursor = account.ledger.execution_list(params, now_ms)
    return _listed([rows.execution_row(push) for push in found], cursor, category)


def closed_pnl(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    """``GET /v5/position/closed-pnl``."""
    if (category := _category(params)) != "linear":
        return _listed([], "", category)
    found, cursor = account.ledger.closed_list(params, now_ms)
    return _listed(found, cursor, category)


def transaction_log(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    """``GET /v5/account/transaction-log``."""
    found, cursor = account.ledger.transactions(params, now_ms)
    return OrderAnswer(listing(found, cursor))


def positions(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    """``GET /v5/position/list``: of a symbol also when flat, of a settle coin the open ones."""
    if (category := _category(params)) != "linear":
        return _listed([], "", category)
    symbol, limit = forms.text(params, "symbol"), limit_of(params, 200, 20)
    settle, base = forms.text(params, "settleCoin"), forms.text(params, "baseCoin")
    if symbol:
        _known(account, symbol)
        return _listed(account.position_rows(symbol), "", category)
    if not settle and not base:
        raise forms.bad("symbol or settleCoin is required")
    held = [] if settle not in ("", rows.COIN) else account.position_rows(None)
    held = sorted(
        (row for row in held if not base or row.symbol == f"{base}USDT"),
        key=lambda row: (row.symbol, row.positionIdx),
    )
    return _listed(*_position_page(held, forms.text(params, "cursor"), limit), category)


def _position_page(held: Sequence[PositionRow], cursor: str, limit: int) -> tuple[Sequence[PositionRow], str]:
    """Return a page by the number of rows before it; the cursor of the last page is empty here."""
    first = cursor.rpartition("=")[2].rpartition("%3D")[2]
    if cursor and not first.isdecimal():
        raise forms.bad("cursor invalid")
    start = int(first) if cursor else 0
    end = start + limit
    return held[start:end], f"offset%3D{end}" if end < len(held) else ""


def symbol_info(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    """``GET /v5/position/symbol-info``: leverage without a position."""
    if (category := _category(params)) != "linear":
        return OrderAnswer(listing([], category=category))
    symbol = forms.text(params, "symbol")
    names = [symbol] if symbol else list(account.instruments)
    for name in names:
        _known(account, name)
    found = [
        {
            "symbol": view.symbol,
            "leverage": plain(view.leverage),
            "side": view.side,
            "positionIdx": view.idx,
        }
        for name in names
        for view in account.engine.positions(name)
    ]
    return OrderAnswer(listing(found, category=category))


def wallet(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    """``GET /v5/account/wallet-balance``: the coin held, and a row of nothing for each other one asked."""
    if forms.text(params, "accountType") != "UNIFIED":
        raise forms.bad("accountType must be UNIFIED")
    row = account.wallet_row()
    wanted = [coin for coin in forms.text(params, "coin").split(",") if coin]
    if wanted:
        held = {coin.coin: coin for coin in row.coin}
        row.coin = [held.get(name) or rows.no_coin(name) for name in wanted]
    return OrderAnswer({"list": [row]})


def account_info(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    """``GET /v5/account/info``: a unified account of the second kind."""
    isolated = account.engine.account.mode == "isolated"
    return OrderAnswer(
        {
            "marginMode": "ISOLATED_MARGIN" if isolated else "REGULAR_MARGIN",
            "updatedTime": str(account.opened_ms),
            "unifiedMarginStatus": 6,
            "dcpStatus": "OFF",
            "timeWindow": 10,
            "smpGroup": 0,
            "isMasterTrader": False,
            "spotHedgingStatus": "OFF",
        }
    )


def fee_rate(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    """``GET /v5/account/fee-rate`` of a symbol or of all; without a category of futures.

    The documented request has no category, and clients ask so.
    https://bybit-exchange.github.io/docs/v5/account/fee-rate
    """
    if "category" in params and _category(params) != "linear":
        return OrderAnswer({"list": []})
    symbol, base = forms.text(params, "symbol"), forms.text(params, "baseCoin")
    if symbol:
        _known(account, symbol)
    taker, maker = (plain(each) for each in account.fees)
    names = (
        [symbol] if symbol else [name for name in account.instruments if not base or name == f"{base}USDT"]
    )
    return OrderAnswer({"list": [FeeRow(name, taker, maker) for name in names]})


def pre_check(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    """``POST /v5/order/pre-check``: the account's rates, in 1/10,000, before the order and if it filled."""
    forms.category_of(params)
    new = forms.new_order(params, account.new_id())
    _known(account, new.symbol)
    account.prices(new.symbol)
    view = account.engine.positions(new.symbol)[0]
    wallet = account.engine.wallet()
    price = new.price if new.price is not None else view.mark_price
    value = new.qty * price
    tiers = [
        (tier.limit_quote, tier.maintenance_frac, tier.deduction_quote)
        for tier in account.instruments[new.symbol].tiers
    ]
    opens = ZERO if new.reduce_only else value
    im = order_margin(new.qty, price, view.leverage, account.fees[0], new.side) if opens else ZERO
    mm = maintenance(opens, tiers) + opens * account.fees[0]
    equity = wallet.equity_quote

    def e4(amount: object) -> int:
        return int(amount / equity * 10_000) if equity > ZERO else 0  # type: ignore[operator]

    return OrderAnswer(
        {
            "orderId": new.order_id,
            "orderLinkId": new.link_id,
            "preImrE4": e4(wallet.im_quote),
            "preMmrE4": e4(wallet.mm_quote),
            "postImrE4": e4(wallet.im_quote + im),
            "postMmrE4": e4(wallet.mm_quote + mm),
        }
    )


def user_settings(account: Account) -> dict[str, bool]:
    """``GET /v5/account/user-setting-config``: limit prices beyond the band, and fees in another coin."""
    refuses = account.rules.limit_price_action == "reject"
    return {"lpaSpot": False, "lpaPerp": refuses, "smsef": False, "fmsef": bool(account.rules.fee_coin)}


NOT_IN_DEMO = frozenset(
    {
        "/v5/account/fee-rate",
        "/v5/order/pre-check",
        "/v5/account/user-setting-config",
        "/v5/user/query-api",
        "/v5/account/query-dcp-info",
        "/v5/order/disconnected-cancel-all",
        "/v5/asset/coin/query-info",
    }
)
"""Paths that demo trading does not have. https://bybit-exchange.github.io/docs/v5/demo"""


def _known(account: Account, symbol: str) -> None:
    if symbol not in account.instruments:
        raise RequestRefused(10001, "Not supported symbols")


def _fixed(
    result: Callable[[Account, Params], object], text: str = "OK"
) -> Callable[[Account, Params, int], OrderAnswer]:
    return lambda account, params, now_ms: OrderAnswer(result(account, params), text=text)


QUERIES: dict[str, tuple[str, Callable[[Account, Params, int], OrderAnswer]]] = {
    "/v5/order/realtime": ("realtime", realtime),
    "/v5/order/history": ("history", order_history),
    "/v5/order/pre-check": ("pre-check", pre_check),
    "/v5/execution/list": ("executions", executions),
    "/v5/position/list": ("positions", positions),
    "/v5/position/closed-pnl": ("closed-pnl", closed_pnl),
    "/v5/position/symbol-info": ("symbol-info", symbol_info),
    "/v5/account/wallet-balance": ("wallet", wallet),
    "/v5/account/info": ("account-info", account_info),
    "/v5/account/fee-rate": ("fee-rate", fee_rate),
    "/v5/account/transaction-log": ("transaction-log", transaction_log),
    "/v5/account/collateral-info": ("collateral", _fixed(lambda account, params: {"list": [collateral()]})),
    "/v5/account/query-dcp-info": ("settings", _fixed(lambda account, params: dcp(), "success")),
    "/v5/account/smp-group": ("settings", _fixed(lambda account, params: {"smpGroup": 0}, "success")),
    "/v5/account/user-setting-config": (
        "settings",
        _fixed(lambda account, params: user_settings(account)),
    ),
    "/v5/user/query-api": ("query-api", _fixed(lambda account, params: api_key(account.key), "")),
    "/v5/asset/coin/query-info": (
        "coin-info",
        _fixed(lambda account, params: coin_info(forms.text(params, "coin")), "success"),
    ),
}
"""Path → (quota, answer)."""
