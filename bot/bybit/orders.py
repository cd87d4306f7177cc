"""Account requests as values, for REST and for the trade stream, and the parsers of their answers.

Covers linear USDT perpetuals in one-way mode. ``parse_answer`` reads the answer to a write; ``codes.meaning``
explains its code. A refused query raises its error of ``codes.py``. A page of orders, executions, positions
or wallets with an unreadable row is refused as a whole, because part of an account is not a basis for
decisions. https://bybit-exchange.github.io/docs/v5/order/create-order
"""

from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from bot.bybit.codes import SECRET_TEXT, error_for, printable
from bot.bybit.decode import MAX_REST_BYTES, UNDECODABLE, decode, decoder, rows
from bot.bybit.trade import TradeResponse
from bot.bybit.wire import (
    ExecutionRow,
    InstrumentRow,
    OrderIds,
    OrderRow,
    PositionRow,
    RiskRow,
    TickerRow,
    TransactionRow,
    WalletRow,
)
from bot.domain.errors import BadInput
from bot.domain.messages import PlaceOrder, SetStops, SetTrailing
from bot.domain.orders import Intent

T = TypeVar("T")

SETTLE_COIN = "USDT"
ORDER_PAGE, EXECUTION_PAGE, POSITION_PAGE, INSTRUMENT_PAGE, LOG_PAGE = 50, 100, 200, 1000, 50


class Request(msgspec.Struct, frozen=True):
    """One request.

    ``query`` and ``body`` are the bytes that are signed and sent; they are never encoded again.

    ``op`` and ``arg`` are the same request on the trade stream, if it exists there. ``cost`` is its group in
    ``rate_limits.QUOTAS``. ``urgent`` requests may use the reserve.
    """

    method: Literal["GET", "POST"]
    path: str
    cost: str
    query: str = ""
    body: bytes = b""
    op: str | None = None
    arg: dict[str, object] | None = None
    urgent: bool = False
    signed: bool = True

    @property
    def target(self) -> str:
        """Path and query as they are sent."""
        return f"{self.path}?{self.query}" if self.query else self.path


# Writes


def create_order(order: PlaceOrder, category: str = "linear") -> Request:
    """Send an order, with its stops for the whole position.

    An order that only reduces carries no stops: Bybit does not allow them there. A market order's slippage
    tolerance is 0.01 to 10 per cent from the best price at its arrival.
    """
    return create_by(order.intent, order.order_id, order.approved.max_slippage_bps, category)


def create_by(intent: Intent, order_id: str, max_slippage_bps: int = 0, category: str = "linear") -> Request:
    """Send an order that no risk check has approved: only ``bot check venue`` does this, see its package."""
    arg: dict[str, object] = {
        "category": category,
        "symbol": intent.symbol,
        "side": intent.side,
        "orderType": intent.order_type,
        "qty": number(intent.qty),
        "timeInForce": intent.time_in_force,
        "positionIdx": 0,
        "orderLinkId": order_id,
        "reduceOnly": intent.reduce_only,
    }
    if intent.order_type == "Limit" and intent.price is not None:
        arg["price"] = number(intent.price)
    if max_slippage_bps and intent.order_type == "Market":
        arg["slippageToleranceType"] = "Percent"
        arg["slippageTolerance"] = number(Decimal(max_slippage_bps) / 100)
    stops = {"stopLoss": intent.stop_loss, "takeProfit": intent.take_profit}
    given = {name: number(price) for name, price in stops.items() if price is not None}
    if given and not intent.reduce_only:
        arg |= {**given, "tpslMode": "Full"}
    return _post("/v5/order/create", arg, "create", op="order.create")


def cancel_order(symbol: str, link_id: str = "", *, order_id: str = "") -> Request:
    """Cancel the rest of an order, by our id or by the venue's id."""
    arg = {"category": "linear", "symbol": symbol, **_ids(link_id, order_id)}
    return _post("/v5/order/cancel", arg, "cancel", op="order.cancel", urgent=True)


def amend_order(
    symbol: str, link_id: str, *, qty: Decimal | None = None, price: Decimal | None = None
) -> Request:
    """Change an open order. ``qty`` is the new total, including the filled part."""
    arg: dict[str, object] = {"category": "linear", "symbol": symbol, "orderLinkId": link_id}
    arg |= {name: number(value) for name, value in (("qty", qty), ("price", price)) if value is not None}
    return _post("/v5/order/amend", arg, "amend", op="order.amend")


def trading_stop(stops: SetStops) -> Request:
    """Set the protective orders of a whole position, or remove them ("0").

    https://bybit-exchange.github.io/docs/v5/position/trading-stop
    """
    arg: dict[str, object] = {
        "category": "linear",
        "symbol": stops.symbol,
        "positionIdx": 0,
        "tpslMode": "Full",
        "stopLoss": "0" if stops.stop_loss is None else number(stops.stop_loss),
        "takeProfit": "0" if stops.take_profit is None else number(stops.take_profit),
    }
    return _post("/v5/position/trading-stop", arg, "stops", urgent=True)


def trailing_stop(stop: SetTrailing) -> Request:
    """Set the trailing stop of a whole position, or remove it ("0"); stop loss and take profit stay.

    https://bybit-exchange.github.io/docs/v5/position/trading-stop
    """
    arg: dict[str, object] = {
        "category": "linear",
        "symbol": stop.symbol,
        "positionIdx": 0,
        "tpslMode": "Full",
        "trailingStop": number(stop.distance),
    }
    if stop.from_price is not None:
        arg["activePrice"] = number(stop.from_price)
    return _post("/v5/position/trading-stop", arg, "stops", urgent=True)


def set_leverage(symbol: str, leverage: Decimal) -> Request:
    """Set a symbol's leverage. The answer 110043 means that it is set already."""
    text = number(leverage)
    arg: dict[str, object] = {
        "category": "linear",
        "symbol": symbol,
        "buyLeverage": text,
        "sellLeverage": text,
    }
    return _post("/v5/position/set-leverage", arg, "setup")


def switch_mode(symbol: str, *, hedge: bool = False) -> Request:
    """Set one-way or hedge mode. The answer 110025 means that it is set already."""
    arg: dict[str, object] = {"category": "linear", "symbol": symbol, "mode": 3 if hedge else 0}
    return _post("/v5/position/switch-mode", arg, "setup")


# Queries


def open_orders(symbol: str | None = None, cursor: str = "", order_filter: str | None = None) -> Request:
    """Request the working orders of one symbol or of all, newest first.

    Without a filter stops are included.
    """
    where = {"symbol": symbol} if symbol else {"settleCoin": SETTLE_COIN}
    if order_filter:
        where["orderFilter"] = order_filter
    return _get("/v5/order/realtime", "orders", cursor, **where, openOnly="0", limit=str(ORDER_PAGE))


def order_by_link(symbol: str, link_id: str = "", *, order_id: str = "") -> Request:
    """Request one order that is open or was closed recently. A restart of the venue forgets closed ones."""
    return _get("/v5/order/realtime", "orders", symbol=symbol, **_ids(link_id, order_id))


def history_by_link(symbol: str, link_id: str = "", *, order_id: str = "") -> Request:
    """Request one closed order. It may appear late. If it has no fills, Bybit keeps it for one day."""
    return _get("/v5/order/history", "orders", symbol=symbol, **_ids(link_id, order_id))


def executions(start_ms: int, cursor: str = "", *, end_ms: int | None = None) -> Request:
    """Request executions from ``start_ms`` on, newest first, at most 7 days of them."""
    times = {"startTime": str(start_ms), **({} if end_ms is None else {"endTime": str(end_ms)})}
    return _get("/v5/execution/list", "orders", cursor, **times, limit=str(EXECUTION_PAGE))


def executions_by_link(symbol: str, link_id: str = "", *, order_id: str = "", cursor: str = "") -> Request:
    """Request the executions of one order."""
    ids = _ids(link_id, order_id)
    return _get("/v5/execution/list", "orders", cursor, symbol=symbol, **ids, limit=str(EXECUTION_PAGE))


def positions(cursor: str = "") -> Request:
    """Request every open position that settles in USDT."""
    return _get("/v5/position/list", "positions", cursor, settleCoin=SETTLE_COIN, limit=str(POSITION_PAGE))


def position_of(symbol: str) -> Request:
    """Request a symbol's position, also when flat. It has the leverage, and two rows in hedge mode."""
    return _get("/v5/position/list", "positions", symbol=symbol)


def wallet() -> Request:
    """Request the unified account's wallet: all coins that are not zero."""
    return Request("GET", "/v5/account/wallet-balance", "account", "accountType=UNIFIED", urgent=True)


def transactions(start_ms: int, cursor: str = "", *, end_ms: int | None = None) -> Request:
    """Request the transaction log of the settle coin from ``start_ms`` on, newest first, at most 7 days.

    https://bybit-exchange.github.io/docs/v5/account/transaction-log
    """
    params = {"accountType": "UNIFIED", "currency": SETTLE_COIN, "startTime": str(start_ms)}
    if end_ms is not None:
        params["endTime"] = str(end_ms)
    query = _encoded({**params, "limit": str(LOG_PAGE)}, cursor)
    return Request("GET", "/v5/account/transaction-log", "transactions", query)


def account_info() -> Request:
    """Request the kind of account and its margin mode."""
    return Request("GET", "/v5/account/info", "account")


def query_api() -> Request:
    """Request the permissions of the key."""
    return Request("GET", "/v5/user/query-api", "key")


def server_time() -> Request:
    """Request the venue's clock."""
    return Request("GET", "/v5/market/time", "market", urgent=True, signed=False)


def instruments(cursor: str = "", symbol: str | None = None) -> Request:
    """Request the rules of all contracts that trade (1000 a page), or of one contract in any status."""
    where = {"symbol": symbol} if symbol else {}
    return _public("/v5/market/instruments-info", cursor, **where, limit=str(INSTRUMENT_PAGE))


def risk_limits(cursor: str = "", symbol: str | None = None) -> Request:
    """Request the margin tiers of one symbol or of all (15 symbols a page)."""
    return _public("/v5/market/risk-limit", cursor, **({"symbol": symbol} if symbol else {}))


def tickers(symbol: str | None = None) -> Request:
    """Request last, mark, bid, ask and funding of one symbol or of all."""
    return _public("/v5/market/tickers", **({"symbol": symbol} if symbol else {}))


def number(value: Decimal) -> str:
    """Write a decimal as Bybit accepts it: digits and a point, no exponent."""
    return format(value, "f")


def _ids(link_id: str, order_id: str) -> dict[str, str]:
    if bool(link_id) == bool(order_id):
        raise ValueError("give exactly one id of the order: link_id (ours) or order_id (the venue's)")
    return {"orderLinkId": link_id} if link_id else {"orderId": order_id}


def _post(
    path: str, arg: dict[str, Any], cost: str, *, op: str | None = None, urgent: bool = False
) -> Request:
    body = msgspec.json.encode(arg)
    return Request("POST", path, cost, body=body, op=op, arg=arg if op else None, urgent=urgent)


def _get(path: str, cost: str, cursor: str = "", /, **params: str) -> Request:
    return Request("GET", path, cost, _query(params, cursor), urgent=True)


def _public(path: str, cursor: str = "", /, **params: str) -> Request:
    return Request("GET", path, "market", _query(params, cursor), signed=False)


def _query(params: dict[str, str], cursor: str) -> str:
    return _encoded({"category": "linear", **params}, cursor)


def _encoded(params: dict[str, str], cursor: str) -> str:
    query = urlencode(params)
    # Bybit sends the cursor already escaped. Its "%" must not be escaped again.
    return f"{query}&cursor={quote(cursor, safe='%:,=+/')}" if cursor else query


# Answers


class Page(msgspec.Struct, Generic[T], frozen=True):
    """The rows of one page.

    The cursor may be set on the last page: stop if it is empty, repeats, or rows end.

    ``bad`` describes rows that were left out, on pages where this is harmless.
    """

    rows: list[T]
    cursor: str = ""
    bad: tuple[str, ...] = ()


class AccountInfo(msgspec.Struct, frozen=True, rename="camel"):
    """``unified_margin_status`` 3 to 6 is a unified account. ``margin_mode`` ``REGULAR_MARGIN`` is cross."""

    margin_mode: str
    unified_margin_status: int


class KeyInfo(msgspec.Struct, frozen=True, rename="camel"):
    """The permissions of a key. ``read_only`` 1 cannot trade. ``deadline_day`` is the number of days left.

    ``user_id`` names the account; 0 if the answer lacks it.
    """

    read_only: int
    permissions: dict[str, list[str]] = {}
    ips: list[str] = []
    uta: int = 0
    deadline_day: int | None = None
    expired_at: str = ""
    user_id: int = msgspec.field(name="userID", default=0)

    @property
    def can_trade(self) -> bool:
        """Whether the key may send orders for linear contracts."""
        contract = self.permissions.get("ContractTrade", [])
        return self.read_only == 0 and ("Order" in contract or bool(self.permissions.get("Derivatives")))

    @property
    def can_withdraw(self) -> bool:
        """Whether the key may move money out of the account. A bot's key should not."""
        return "Withdraw" in self.permissions.get("Wallet", [])


class _Envelope(msgspec.Struct, rename="camel"):
    ret_code: int
    ret_msg: str | None = None
    result: msgspec.Raw = msgspec.Raw(b"{}")
    time: int | None = None


class _List(msgspec.Struct, rename="camel"):
    list: msgspec.Raw
    next_page_cursor: str | None = None


class _Time(msgspec.Struct, rename="camel"):
    time_nano: int


def parse_answer(body: bytes, op: str = "") -> TradeResponse:
    """Read the answer to a write, with any code.

    Raises:
        BadInput: not an answer. It is then unknown what became of the request.
    """
    envelope = decode(body, _Envelope, limit=MAX_REST_BYTES)
    try:
        ids: OrderIds = decoder(OrderIds).decode(envelope.result)
    except UNDECODABLE:
        ids = OrderIds()  # a refusal has {}, null or nothing here
    text = "" if envelope.ret_code == SECRET_TEXT else printable(envelope.ret_msg or "")
    return TradeResponse("", op, envelope.ret_code, text, ids.orderId, ids.orderLinkId)


def parse_orders(body: bytes) -> Page[OrderRow]:
    """Read a page of orders.

    Raises:
        BadInput: not the documented answer, or an unreadable row.
        VenueError: the venue's refusal, by ``retCode``.
    """
    return _whole(_page(body, OrderRow))


def parse_executions(body: bytes) -> Page[ExecutionRow]:
    """Read a page of executions. Raises as ``parse_orders``."""
    return _whole(_page(body, ExecutionRow))


def parse_positions(body: bytes) -> Page[PositionRow]:
    """Read a page of positions. Raises as ``parse_orders``."""
    return _whole(_page(body, PositionRow))


def parse_transactions(body: bytes) -> Page[TransactionRow]:
    """Read a page of the transaction log. Raises as ``parse_orders``."""
    return _whole(_page(body, TransactionRow))


def parse_wallet(body: bytes) -> WalletRow:
    """Read the wallet. Raises as ``parse_orders``."""
    page = _whole(_page(body, WalletRow))
    if len(page.rows) != 1:
        raise BadInput(f"the answer must contain one wallet, contained {len(page.rows)}")
    return page.rows[0]


def parse_instruments(body: bytes) -> Page[InstrumentRow]:
    """Read a page of contracts, without unreadable rows. Otherwise raises as ``parse_orders``."""
    return _page(body, InstrumentRow)


def parse_risk_limits(body: bytes) -> Page[RiskRow]:
    """Read a page of margin tiers, without unreadable rows. Otherwise raises as ``parse_orders``."""
    return _page(body, RiskRow)


def parse_tickers(body: bytes) -> Page[TickerRow]:
    """Read tickers, without unreadable rows. Otherwise raises as ``parse_orders``."""
    return _page(body, TickerRow)


def parse_account_info(body: bytes) -> AccountInfo:
    """Read the kind of account. Raises as ``parse_orders``."""
    return _value(body, AccountInfo)


def parse_query_api(body: bytes) -> KeyInfo:
    """Read the permissions of the key. Raises as ``parse_orders``."""
    return _value(body, KeyInfo)


def parse_time(body: bytes) -> int:
    """Read the venue's clock in milliseconds. Raises as ``parse_orders``."""
    return _value(body, _Time).time_nano // 1_000_000


def _result(body: bytes) -> bytes:
    envelope = decode(body, _Envelope, limit=MAX_REST_BYTES)
    if envelope.ret_code != 0:
        raise error_for(envelope.ret_code, envelope.ret_msg or "")
    return bytes(envelope.result)


def _value(body: bytes, kind: type[T]) -> T:
    return decode(_result(body), kind, limit=MAX_REST_BYTES)


def _page(body: bytes, kind: type[T]) -> Page[T]:
    listed = _value(body, _List)
    found = rows(listed.list, kind)
    return Page(found.good, listed.next_page_cursor or "", tuple(found.bad))


def _whole(page: Page[T]) -> Page[T]:
    if page.bad:
        raise BadInput(f"the answer contains an unreadable row: {page.bad[0]}")
    return page
