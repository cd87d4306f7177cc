"""Messages written by hand in the shapes of the v5 documentation; named after topic or endpoint."""

import json

T0 = 1_735_689_600_000

KLINE_OPEN = {
    "topic": "kline.1.BTCUSDT",
    "type": "snapshot",
    "ts": T0 + 31_500,
    "data": [
        {
            "start": T0,
            "end": T0 + 59_999,
            "interval": "1",
            "open": "100.5",
            "close": "101",
            "high": "102",
            "low": "99.5",
            "volume": "7.316",
            "turnover": "735.258",
            "confirm": False,
            "timestamp": T0 + 31_500,
        }
    ],
}
TICKER_SNAPSHOT = {
    "topic": "tickers.BTCUSDT",
    "type": "snapshot",
    "data": {
        "symbol": "BTCUSDT",
        "tickDirection": "PlusTick",
        "price24hPcnt": "0.017103",
        "lastPrice": "100.50",
        "prevPrice24h": "98.80",
        "highPrice24h": "103.00",
        "lowPrice24h": "97.10",
        "prevPrice1h": "100.00",
        "markPrice": "100.47",
        "indexPrice": "100.40",
        "openInterest": "68744.761",
        "openInterestValue": "6906785.14",
        "turnover24h": "15703831.9434",
        "volume24h": "157052.7600",
        "nextFundingTime": str(T0 + 28_800_000),
        "fundingRate": "0.0001",
        "bid1Price": "100.40",
        "bid1Size": "84.489",
        "ask1Price": "100.50",
        "ask1Size": "83.020",
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
        "fundingIntervalHour": "8",
        "fundingCap": "0.005",
    },
    "cs": 24987956059,
    "ts": T0 + 100,
}
TICKER_DELTA = {
    "topic": "tickers.BTCUSDT",
    "type": "delta",
    "data": {"symbol": "BTCUSDT", "lastPrice": "100.60", "bid1Price": "100.50", "volume24h": "157052.8600"},
    "cs": 24987956060,
    "ts": T0 + 200,
}
BOOK_TOP = {
    "topic": "orderbook.1.BTCUSDT",
    "type": "snapshot",
    "ts": T0 + 300,
    "data": {"s": "BTCUSDT", "b": [["100.4", "1.5"]], "a": [["100.5", "0.25"]], "u": 7, "seq": 99},
    "cts": T0 + 298,
}
SUBSCRIBED = {"success": True, "ret_msg": "", "conn_id": "c-1", "req_id": "1", "op": "subscribe"}
PONG = {"success": True, "ret_msg": "pong", "conn_id": "c-1", "req_id": "2", "op": "ping"}

ORDER = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "orderId": "f0468cbc-0000-4667-9620-998f3e9f387c",
    "orderLinkId": "bot7-12-e",
    "blockTradeId": "",
    "side": "Buy",
    "positionIdx": 0,
    "orderStatus": "PartiallyFilled",
    "cancelType": "UNKNOWN",
    "rejectReason": "EC_NoError",
    "timeInForce": "GTC",
    "isLeverage": "",
    "price": "100.5",
    "qty": "0.015",
    "avgPrice": "100.5",
    "leavesQty": "0.010",
    "leavesValue": "1.005",
    "cumExecQty": "0.005",
    "cumExecValue": "0.5025",
    "cumExecFee": "0.0001005",
    "orderType": "Limit",
    "stopOrderType": "",
    "triggerPrice": "",
    "takeProfit": "",
    "stopLoss": "",
    "triggerBy": "",
    "triggerDirection": 0,
    "lastPriceOnCreated": "100.6",
    "closeOnTrigger": False,
    "reduceOnly": False,
    "smpGroup": 0,
    "createType": "CreateByUser",
    "createdTime": str(T0 + 1),
    "updatedTime": str(T0 + 5),
    "closedPnl": "0",
    "cumFeeDetail": {"USDT": "0.0001005"},
}
EXECUTION = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "closedSize": "0",
    "execFee": "0.0001005",
    "execId": "3fb94d67-0000-58a5-91a4-154777511c1c",
    "execPrice": "100.5",
    "execQty": "0.005",
    "execType": "Trade",
    "execValue": "0.5025",
    "feeRate": "0.0002",
    "markPrice": "100.47",
    "leavesQty": "0.010",
    "orderId": ORDER["orderId"],
    "orderLinkId": "bot7-12-e",
    "orderPrice": "100.5",
    "orderQty": "0.015",
    "orderType": "Limit",
    "stopOrderType": "UNKNOWN",
    "side": "Buy",
    "execTime": str(T0 + 5),
    "isMaker": True,
    "seq": 4242,
    "createType": "CreateByUser",
    "feeCurrency": "USDT",
    "extraFees": [
        {"feeCoin": "USDT", "feeType": "GST", "subFeeType": "IND_GST", "feeRate": "0.00003", "fee": "0.00001"}
    ],
}
POSITION = {
    "positionIdx": 0,
    "riskId": 1,
    "riskLimitValue": "2000000",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "size": "0.005",
    "entryPrice": "100.5",
    "leverage": "10",
    "positionValue": "0.5025",
    "markPrice": "100.47",
    "liqPrice": "",
    "takeProfit": "0",
    "stopLoss": "95",
    "trailingStop": "0",
    "unrealisedPnl": "-0.00015",
    "curRealisedPnl": "-0.0001005",
    "cumRealisedPnl": "12.5",
    "category": "linear",
    "positionStatus": "Normal",
    "adlRankIndicator": 2,
    "autoAddMargin": 0,
    "createdTime": str(T0),
    "updatedTime": str(T0 + 5),
    "seq": 4242,
    "isReduceOnly": False,
}
COIN = {
    "coin": "USDT",
    "equity": "10000.5",
    "usdValue": "10000.1",
    "walletBalance": "10000.6",
    "totalOrderIM": "0.1",
    "totalPositionIM": "0.05",
    "totalPositionMM": "0.0025",
    "unrealisedPnl": "-0.1",
    "cumRealisedPnl": "12.5",
    "collateralSwitch": True,
    "marginCollateral": True,
}
WALLET = {
    "accountType": "UNIFIED",
    "totalEquity": "10000.1",
    "totalWalletBalance": "10000.2",
    "totalMarginBalance": "10000.1",
    "totalAvailableBalance": "9999.9",
    "totalPerpUPL": "-0.1",
    "totalInitialMargin": "0.15",
    "totalMaintenanceMargin": "0.0025",
    "accountIMRate": "0.0001",
    "accountMMRate": "0",
    "coin": [COIN],
}
AUTH_OK = {"success": True, "ret_msg": "", "op": "auth", "conn_id": "c-2"}
PRIVATE_PONG = {"req_id": "3", "op": "pong", "args": [str(T0)], "conn_id": "c-2"}


def private(topic: str, *rows: object) -> dict[str, object]:
    """A push of the private stream."""
    return {"id": f"1_{topic}_{T0}", "topic": topic, "creationTime": T0 + 6, "data": list(rows)}


TRADE_AUTH_OK = {"retCode": 0, "retMsg": "OK", "op": "auth", "connId": "c-3"}
TRADE_PONG = {"retCode": 0, "retMsg": "OK", "op": "pong", "data": [str(T0)], "connId": "c-3"}
TRADE_CREATED = {
    "reqId": "r-1",
    "retCode": 0,
    "retMsg": "OK",
    "op": "order.create",
    "data": {"orderId": ORDER["orderId"], "orderLinkId": "bot7-12-e"},
    "retExtInfo": {},
    "header": {
        "X-Bapi-Limit": "10",
        "X-Bapi-Limit-Status": "9",
        "X-Bapi-Limit-Reset-Timestamp": str(T0 + 7),
        "Traceid": "505e2284d27bf2611898da734151119a",
        "Timenow": str(T0 + 7),
    },
    "connId": "c-3",
}
TRADE_REFUSED_BY_GATE = {
    "reqId": "r-2",
    "retCode": 10005,
    "retMsg": "Permission denied for current apikey",
    "op": "order.create",
    "connId": "c-3",
}
TRADE_REQUEST = {
    "reqId": "r-1",
    "header": {"X-BAPI-TIMESTAMP": str(T0), "X-BAPI-RECV-WINDOW": "5000"},
    "op": "order.create",
    "args": [
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": "Buy",
            "orderType": "Limit",
            "qty": "0.2",
            "price": "99",
        }
    ],
}

INSTRUMENT = {
    "symbol": "BTCUSDT",
    "symbolId": 5,
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "launchTime": "1585526400000",
    "deliveryTime": "0",
    "priceScale": "2",
    "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
    "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
    "lotSizeFilter": {
        "maxOrderQty": "1190.000",
        "minOrderQty": "0.001",
        "qtyStep": "0.001",
        "maxMktOrderQty": "500.000",
        "minNotionalValue": "5",
    },
    "unifiedMarginTrade": True,
    "fundingInterval": 480,
    "settleCoin": "USDT",
    "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
}
RISK = {
    "id": 1,
    "symbol": "BTCUSDT",
    "riskLimitValue": "2000000",
    "maintenanceMargin": "0.005",
    "initialMargin": "0.01",
    "isLowestRisk": 1,
    "maxLeverage": "100.00",
    "mmDeduction": "",
}


def text(message: object) -> str:
    """As it travels: compact."""
    return json.dumps(message, separators=(",", ":"))


def answer(result: object, code: int = 0, message: str = "OK") -> bytes:
    """A REST answer."""
    return text({"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": T0}).encode()


def listed(*rows: object, cursor: str = "") -> bytes:
    """A REST answer with a list."""
    return answer({"category": "linear", "nextPageCursor": cursor, "list": list(rows)})
