"""A foreign client, Bybit's own Python SDK, trades at the local exchange over real sockets."""

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pybit._websocket_trading as trading
import pybit.unified_trading as pybit
import pytest
from pybit.exceptions import InvalidRequestError

Row = dict[str, Any]
WAIT_S = 10.0
BITCOIN = {"category": "linear", "symbol": "BTCUSDT"}


class Told:
    """Messages of one topic, and waiting for one of them."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._changed = threading.Condition()

    def take(self, message: Row) -> None:
        with self._changed:
            self._rows += message["data"]
            self._changed.notify_all()

    def wait(self, wanted: Callable[[Row], bool]) -> Row:
        """The first row that is wanted, told or yet to be told."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(map(wanted, self._rows)), WAIT_S), self._rows[-3:]
            return next(filter(wanted, self._rows))


class Client:
    """pybit's three faces, pointed at one exchange."""

    def __init__(self, at: Row) -> None:
        pybit.PUBLIC_WSS = at["ws"] + "/v5/public/{CHANNEL_TYPE}"
        pybit.PRIVATE_WSS = at["ws"] + "/v5/private"
        trading.TRADE_WSS = at["ws"] + "/v5/trade"
        self.keys = {"api_key": at["key"], "api_secret": at["secret"]}
        self.url = at["http"]
        self.http = self.session(**self.keys)
        self.private = pybit.WebSocket(
            channel_type="private", testnet=False, private_auth_expire=10, retries=2, **self.keys
        )
        until = time.monotonic() + WAIT_S
        while not self.private.auth and time.monotonic() < until:
            time.sleep(0.01)
        self.told = {name: Told() for name in ("order", "execution", "position", "wallet")}
        for name, told in self.told.items():
            getattr(self.private, f"{name}_stream")(callback=told.take)

    def session(self, **keys: str) -> Any:
        made = pybit.HTTP(retry_codes={-1}, **keys)  # an empty set would mean pybit's own, with pauses
        made.endpoint = self.url
        return made

    def ask(self, name: str, **params: object) -> Row:
        return dict(getattr(self.http, name)(**BITCOIN, **params)["result"])

    def refused(self, name: str, **params: object) -> int:
        with pytest.raises(InvalidRequestError) as caught:
            self.ask(name, **params)
        return int(caught.value.status_code)

    def rows(self, name: str, **params: object) -> list[Row]:
        return list(self.ask(name, **params)["list"])


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    logging.getLogger("pybit").setLevel(logging.CRITICAL)
    # pybit registers for an answer after it has asked: on one machine the answer must wait for that.
    command = [
        sys.executable,
        "-m",
        "bot",
        "exchange",
        "--port",
        "0",
        "--symbols",
        "1",
        "--ack-delay-ms",
        "20",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as exchange:
        assert exchange.stdout is not None
        made = Client(json.loads(exchange.stdout.readline()))
        yield made
        made.private.exit()
        made.http.client.close()
        exchange.terminate()
        exchange.wait(WAIT_S)


@pytest.fixture(scope="module")
def last(client: Client) -> Decimal:
    return Decimal(client.rows("get_tickers")[0]["lastPrice"])


def tick(price: Decimal) -> str:
    return str(price.quantize(Decimal("0.1")))


@pytest.fixture(scope="module")
def limit(client: Client, last: Decimal) -> Row:
    """A resting order that no test fills."""
    price = tick(last * Decimal("0.8"))
    ids = client.ask(
        "place_order", side="Buy", orderType="Limit", qty="0.002", price=price, orderLinkId="rests"
    )
    return {**ids, "price": price}


def test_its_clock_is_ours(client: Client) -> None:
    assert abs(client.http.get_server_time()["time"] - time.time() * 1000) < 2000


def test_the_open_candle_comes_first(client: Client) -> None:
    rows = client.rows("get_kline", interval="1", limit=3)
    starts = [int(row[0]) for row in rows]
    assert starts == [starts[0], starts[0] - 60_000, starts[0] - 120_000]


def test_wrong_secrets_and_keys_have_their_codes(client: Client) -> None:
    for keys, code in (
        ({"api_key": "test-key", "api_secret": "wrong"}, 10004),
        ({"api_key": "nobody", "api_secret": "test-secret"}, 10003),
    ):
        stranger = client.session(**keys)
        with pytest.raises(InvalidRequestError) as caught:
            stranger.get_account_info()
        stranger.client.close()
        assert caught.value.status_code == code


def test_an_order_is_told_and_found(client: Client, limit: Row) -> None:
    told = client.told["order"].wait(lambda row: row["orderId"] == limit["orderId"])
    assert (told["orderStatus"], told["leavesQty"], told["category"]) == ("New", "0.002", "linear")
    found = client.rows("get_open_orders", orderLinkId="rests")
    assert [row["orderId"] for row in found] == [limit["orderId"]]
    client.told["wallet"].wait(lambda row: Decimal(row["coin"][0]["totalOrderIM"]) > 0)


def test_a_link_id_is_used_once(client: Client, limit: Row) -> None:
    again = {"side": "Buy", "orderType": "Limit", "qty": "0.002", "price": limit["price"]}
    assert client.refused("place_order", orderLinkId="rests", **again) == 110072


def test_an_amended_order_keeps_its_id(client: Client, limit: Row) -> None:
    price = tick(Decimal(limit["price"]) - 1)
    assert client.ask("amend_order", orderId=limit["orderId"], price=price)["orderId"] == limit["orderId"]
    client.told["order"].wait(lambda row: Decimal(row["price"]) == Decimal(price))


def test_a_cancelled_order_is_gone_and_in_the_history(client: Client, limit: Row) -> None:
    client.ask("cancel_order", orderLinkId="rests")
    told = client.told["order"].wait(lambda row: row["orderStatus"] == "Cancelled")
    assert (told["cancelType"], told["leavesQty"]) == ("CancelByUser", "0")
    assert client.refused("cancel_order", orderId=limit["orderId"]) == 110001
    assert client.rows("get_order_history", orderId=limit["orderId"])[0]["orderStatus"] == "Cancelled"


def test_a_fill_is_told_on_four_topics_and_in_three_queries(client: Client) -> None:
    order_id = client.ask("place_order", side="Buy", orderType="Market", qty="0.004")["orderId"]
    order = client.told["order"].wait(lambda row: row["orderId"] == order_id)
    assert (order["orderStatus"], order["timeInForce"], order["cumExecQty"]) == ("Filled", "IOC", "0.004")
    execution = client.told["execution"].wait(lambda row: row["orderId"] == order_id)
    assert execution["isMaker"] is False
    position = client.told["position"].wait(lambda row: row["size"] == "0.004")
    assert position["side"] == "Buy"
    client.told["wallet"].wait(lambda row: Decimal(row["coin"][0]["totalPositionIM"]) > 0)
    executed = sum(Decimal(row["execQty"]) for row in client.rows("get_executions", orderId=order_id))
    assert executed == Decimal("0.004")
    assert client.rows("get_positions")[0]["avgPrice"] == position["entryPrice"]
    fee = Decimal(execution["execValue"]) * Decimal("0.00055")
    assert abs(Decimal(execution["execFee"]) - fee) < Decimal("1e-8")


def test_stops_wait_beside_the_position(client: Client, last: Decimal) -> None:
    stop = {"tpslMode": "Full", "positionIdx": 0, "stopLoss": tick(last * Decimal("0.9"))}
    client.ask("set_trading_stop", **stop)
    waiting = [r for r in client.rows("get_open_orders") if r["orderStatus"] == "Untriggered"]
    assert [row["stopOrderType"] for row in waiting] == ["StopLoss"]
    assert client.refused("set_trading_stop", **stop) == 34040


def test_a_closed_position_ends_its_stop_and_has_a_profit(client: Client) -> None:
    client.ask("place_order", side="Sell", orderType="Market", qty="0.004", reduceOnly=True)
    client.told["position"].wait(lambda row: row["side"] == "" and row["size"] == "0")
    stop = client.told["order"].wait(lambda row: row["cancelType"] == "CancelByTpSlTsClear")
    assert stop["orderStatus"] == "Deactivated"
    assert client.rows("get_closed_pnl")[0]["closedSize"] == "0.004"


def test_the_trade_socket_answers_each_request(client: Client, last: Decimal) -> None:
    socket = pybit.WebSocketTrading(testnet=False, private_auth_expire=10, retries=2, **client.keys)
    until = time.monotonic() + WAIT_S
    while not socket.auth and time.monotonic() < until:
        time.sleep(0.01)
    answers = Told()

    def answered(message: Row) -> None:
        answers.take({"data": [message]})

    order = {"side": "Buy", "orderType": "Limit", "qty": "0.002", "price": tick(last * Decimal("0.8"))}
    socket.place_order(answered, error_callback=answered, orderLinkId="by-socket", **BITCOIN, **order)
    made = answers.wait(lambda row: row["op"] == "order.create")
    assert (made["retCode"], made["data"]["orderLinkId"]) == (0, "by-socket")
    for code in (0, 110001):
        socket.cancel_order(answered, error_callback=answered, orderLinkId="by-socket", **BITCOIN)
        answers.wait(lambda row, code=code: row["op"] == "order.cancel" and row["retCode"] == code)
    socket.exit()
