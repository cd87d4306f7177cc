"""What really happened: the local exchange's own history, and what the bot says about it. No code of the bot.

``differences`` compares the two; an empty list means that the bot knows exactly what happened.
"""

import hashlib
import hmac
import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

KEY, SECRET = "test-key", "test-secret"
TOO_MANY = 10006
Row = dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """What the exchange holds of one bot: ``orders`` and ``executions`` carry its prefix.

    The bot also hears of executions of others; they must move neither its position nor its money.
    """

    prefix: str
    orders: list[Row]
    executions: list[Row]
    position: Decimal
    stop_loss: str
    wallet: Decimal

    @property
    def open(self) -> dict[str, Decimal]:
        """Prices of the orders that rest, by their names."""
        resting = [each for each in self.orders if each["orderStatus"] in ("New", "PartiallyFilled")]
        return {each["orderLinkId"]: Decimal(each["price"]) for each in resting}


def truth(url: str, prefix: str, symbol: str) -> Truth:
    """Read the account."""
    position = Decimal(0)
    stop_loss = ""
    for row in _rows(url, "/v5/position/list", symbol=symbol):
        position += Decimal(row["size"]) * (-1 if row["side"] == "Sell" else 1)
        stop_loss = row["stopLoss"]
    (account,) = _rows(url, "/v5/account/wallet-balance", accountType="UNIFIED")
    wallet = sum(Decimal(coin["walletBalance"]) for coin in account["coin"] if coin["coin"] == "USDT")
    found = [
        *_rows(url, "/v5/order/realtime", symbol=symbol),
        *_rows(url, "/v5/order/history", symbol=symbol),
    ]
    orders = {row["orderId"]: row for row in found if row["orderLinkId"].startswith(prefix)}
    executions = {
        row["execId"]: row
        for row in _rows(url, "/v5/execution/list", symbol=symbol)
        if row["orderLinkId"].startswith(prefix)
    }
    return Truth(
        prefix, list(orders.values()), list(executions.values()), position, stop_loss, Decimal(wallet)
    )


def last(url: str, symbol: str) -> Decimal:
    """Return the last price."""
    with urllib.request.urlopen(f"{url}/v5/market/tickers?category=linear&symbol={symbol}") as answer:
        return Decimal(json.load(answer)["result"]["list"][0]["lastPrice"])


def now_ms(url: str) -> int:
    """Return the exchange's time."""
    with urllib.request.urlopen(f"{url}/v5/market/time") as answer:
        return int(json.load(answer)["time"])


def journal(folder: Path) -> list[Row]:
    """Return the journal's entries as plain values, oldest first; an unfinished line at its end is none."""
    entries: list[Row] = []
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_bytes().split(b"\n")[:-1]
        entries += [json.loads(line.split(b" ", 3)[3]) for line in lines]
    return entries


def sent(entries: list[Row]) -> list[Row]:
    """Return the orders that the journal says were decided."""
    effects = (each for entry in entries if entry["type"] == "Effects" for each in entry["effects"])
    return [each for each in effects if each["type"] == "PlaceOrder"]


def unwritten(real: Truth, entries: list[Row]) -> list[str]:
    """Name what left without having been written first, twice, or for an intent that had an order."""
    ids = Counter(each["order_id"] for each in sent(entries))
    at_venue = Counter(row["orderLinkId"] for row in real.orders)
    return [
        *(f"{name} left unwritten" for name in at_venue if name not in ids),
        *(f"{name} is written {n} times" for name, n in ids.items() if n > 1),
        *(f"{name} is at the venue {n} times" for name, n in at_venue.items() if n > 1),
    ]


def differences(real: Truth, entries: list[Row], status: Row, wallet_before: Decimal) -> list[str]:
    """Name everything that the bot has wrong."""
    wrong = unwritten(real, entries)
    told = [entry["fill"] for entry in entries if entry["type"] == "Filled"]
    booked = [fill for fill in told if fill["order_id"].startswith(real.prefix)]
    mine = Counter(
        (f["exec_id"], _number(f["qty"]), _number(f["price"]), _number(f["fee_quote"])) for f in booked
    )
    theirs = Counter(
        (e["execId"], _number(e["execQty"]), _number(e["execPrice"]), _number(e["execFee"]))
        for e in real.executions
    )
    if mine != theirs:
        wrong.append(f"fills: booked but not real {mine - theirs}, real but not booked {theirs - mine}")
    held = sum((Decimal(each["qty"]) for each in status["positions"]), Decimal(0))
    if held != real.position or held != sum(map(_signed, real.executions), Decimal(0)):
        wrong.append(f"position: {held}, really {real.position}")
    if status["foreign_positions"] or status["foreign_orders"]:
        wrong.append(f"foreign: {status['foreign_positions']}, {status['foreign_orders']} orders")
    orders = {each["order_id"] for each in status["open_orders"]}
    if orders != real.open.keys():
        wrong.append(f"orders: {sorted(orders)}, really {sorted(real.open)}")
    stops = [each["stop_loss"] for each in status["positions"]]
    if real.position and (
        not real.stop_loss or [_number(each or 0) for each in stops] != [_number(real.stop_loss)]
    ):
        wrong.append(f"stops: {stops}, really {real.stop_loss!r}")
    cash = wallet_before + _earned(real.executions)
    if abs(cash - real.wallet) > Decimal("1e-6") or abs(Decimal(status["cash"]) - real.wallet) > Decimal(
        "1e-6"
    ):
        wrong.append(f"cash: {status['cash']}, really {real.wallet}, by executions {cash}")
    if status["unknown_orders"]:
        wrong.append(f"{status['unknown_orders']} orders of unknown fate")
    return wrong


def _earned(executions: list[Row]) -> Decimal:
    """Return realised profit less fees: the position at its average price, execution by execution."""
    held = cost = earned = Decimal(0)
    for row in sorted(executions, key=lambda e: (int(e["execTime"]), int(e.get("seq") or 0))):
        qty, price = _signed(row), Decimal(row["execPrice"])
        earned -= Decimal(row["execFee"])
        closing = max(-abs(held), -abs(qty)).copy_abs() if held * qty < 0 else Decimal(0)
        if closing:
            share = closing / abs(held)
            earned += closing * price * (1 if held > 0 else -1) - cost * share
            cost -= cost * share
        cost += (abs(qty) - closing) * price * (1 if qty > 0 else -1)
        held += qty
    return earned


def _signed(row: Row) -> Decimal:
    return Decimal(row["execQty"]) * (-1 if row["side"] == "Sell" else 1)


def _number(text: object) -> Decimal:
    return Decimal(str(text)).normalize()


def _rows(url: str, path: str, **params: str) -> Iterator[Row]:
    cursor = ""
    while True:
        page = {"category": "linear", "limit": "50", **params} | ({"cursor": cursor} if cursor else {})
        result = _get(url, path, urlencode(page))
        yield from result["list"]
        cursor = result.get("nextPageCursor") or ""
        if not cursor or not result["list"]:
            return


def _get(url: str, path: str, query: str) -> Row:
    stamp = str(now_ms(url))
    signature = hmac.new(SECRET.encode(), f"{stamp}{KEY}5000{query}".encode(), hashlib.sha256).hexdigest()
    headers = {"X-BAPI-API-KEY": KEY, "X-BAPI-TIMESTAMP": stamp, "X-BAPI-RECV-WINDOW": "5000"}
    request = urllib.request.Request(f"{url}{path}?{query}", headers=headers | {"X-BAPI-SIGN": signature})
    with urllib.request.urlopen(request) as answer:
        told: Row = json.load(answer)
    if told["retCode"] == TOO_MANY:
        time.sleep(0.2)
        return _get(url, path, query)
    assert told["retCode"] == 0, told
    result: Row = told["result"]
    return result
