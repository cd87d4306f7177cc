# ruff: noqa: N815  (the attributes have Bybit's names)
"""Rows as Bybit sends them: one struct per kind, with Bybit's field names, order and types.

Prices, sizes and money are decimal text. Times inside rows are milliseconds as text; times of envelopes and
candles are numbers. "" and "0" both mean "none" where Bybit says so (``unset``). A field without a default is
required. The other fields have as default the value that Bybit sends if nothing is set, or "" where a missing
number means "unknown". So a server encodes a full row, and a client reads a row with missing or additional
fields. A field that some answers lack is
``UNSET`` there and is then not sent. https://bybit-exchange.github.io/docs/v5/enum
"""

import msgspec
from msgspec import UNSET, UnsetType

from bot.bybit.wire_market import (
    BookRow,
    Count,
    FundingRow,
    InstrumentRow,
    KlineRow,
    Level,
    LeverageFilter,
    LotSizeFilter,
    OpenInterestRow,
    PriceFilter,
    RecentTradeRow,
    RestBook,
    RiskParameters,
    RiskRow,
    Text,
    TickerRow,
    TradeRow,
)

__all__ = [
    "BookRow",
    "ClosedPnlRow",
    "CoinRow",
    "Count",
    "ExecutionFields",
    "ExecutionPush",
    "ExecutionRow",
    "ExtraFee",
    "FastExecution",
    "FeeRow",
    "FundingRow",
    "InstrumentRow",
    "KlineRow",
    "Level",
    "LeverageFilter",
    "LotSizeFilter",
    "OpenInterestRow",
    "OrderFields",
    "OrderIds",
    "OrderPush",
    "OrderRow",
    "PositionFields",
    "PositionPush",
    "PositionRow",
    "PriceFilter",
    "RecentTradeRow",
    "RestBook",
    "RiskParameters",
    "RiskRow",
    "Text",
    "TickerRow",
    "TradeRow",
    "TransactionRow",
    "WalletRow",
    "unset",
]


def unset(text: str | UnsetType | None) -> bool:
    """Return True if ``text`` means "nothing" at Bybit: missing, empty, ``UNKNOWN``, or any form of zero."""
    return not isinstance(text, str) or text == "UNKNOWN" or not text.strip("0.")


# Orders and executions


class ExtraFee(msgspec.Struct, kw_only=True, frozen=True):
    """A local tax on one execution."""

    feeCoin: str = ""
    feeType: str = ""
    subFeeType: str = ""
    feeRate: str = ""
    fee: str = ""


class OrderFields(msgspec.Struct, kw_only=True):
    """The fields that the order stream and the order queries share.

    https://bybit-exchange.github.io/docs/v5/websocket/private/order
    """

    symbol: str
    orderId: str
    orderLinkId: str = ""
    blockTradeId: str = ""
    side: str
    positionIdx: int = 0
    orderStatus: str
    cancelType: str = "UNKNOWN"
    rejectReason: str = "EC_NoError"
    timeInForce: str = "GTC"
    isLeverage: str = ""
    price: str = "0"
    qty: str
    avgPrice: str = ""
    leavesQty: str = "0"
    leavesValue: str = "0"
    cumExecQty: str = ""
    cumExecValue: str = "0"
    cumExecFee: str = "0"
    orderType: str
    stopOrderType: str = ""
    orderIv: str = ""
    triggerPrice: str = ""
    takeProfit: str = ""
    stopLoss: str = ""
    triggerBy: str = ""
    tpTriggerBy: str = ""
    slTriggerBy: str = ""
    triggerDirection: int = 0
    placeType: str = ""
    lastPriceOnCreated: str = ""
    closeOnTrigger: bool = False
    reduceOnly: bool = False
    smpGroup: int = 0
    smpType: str = "None"
    smpOrderId: str = ""
    slLimitPrice: str = "0"
    tpLimitPrice: str = "0"
    tpslMode: str = ""
    createType: str = "CreateByUser"
    createdTime: str = ""
    updatedTime: str = ""
    slippageTolerance: str = "0"
    slippageToleranceType: str = "UNKNOWN"
    cumFeeDetail: dict[str, str] = {}
    parentOrderLinkId: str = ""
    rpiTakerAccess: bool = False
    rpiMatchedQty: str = "0"


class OrderRow(OrderFields, kw_only=True):
    """A row of ``GET /v5/order/realtime`` and ``history``. The category is in the answer, not in the row."""

    extraFees: str | list[ExtraFee] = ""


class OrderPush(OrderFields, kw_only=True):
    """A row of the private ``order`` stream."""

    category: str = "linear"
    marketUnit: str = ""
    feeCurrency: str = ""
    closedPnl: str = "0"
    tpslMode: str = "UNKNOWN"


class ExecutionFields(msgspec.Struct, kw_only=True):
    """The fields that the execution stream and the execution query share. ``execFee`` > 0 is paid.

    https://bybit-exchange.github.io/docs/v5/websocket/private/execution
    """

    symbol: str
    closedSize: str = ""
    execFee: str = ""
    execId: str
    execPrice: str
    execQty: str
    execType: str
    execValue: str = ""
    feeRate: str = ""
    tradeIv: str = ""
    markIv: str = ""
    blockTradeId: str = ""
    markPrice: str = ""
    indexPrice: str = ""
    underlyingPrice: str = ""
    leavesQty: str = "0"
    orderId: str
    orderLinkId: str = ""
    orderPrice: str = ""
    orderQty: str = ""
    orderType: str = "UNKNOWN"
    stopOrderType: str = "UNKNOWN"
    side: str
    execTime: str
    isMaker: bool = False
    seq: Count = 0
    createType: str = ""
    extraFees: str | list[ExtraFee] = ""
    feeCurrency: str = ""


class ExecutionRow(ExecutionFields, kw_only=True):
    """A row of ``GET /v5/execution/list``. The category is in the answer, not in the row."""


class ExecutionPush(ExecutionFields, kw_only=True):
    """A row of the private ``execution`` stream."""

    category: str = "linear"
    isLeverage: str = "0"
    marketUnit: str = ""
    execPnl: str = "0"


class FastExecution(msgspec.Struct, kw_only=True):
    """A row of ``execution.fast``. The same ``execId`` comes again on ``execution``."""

    category: str = "linear"
    symbol: str
    execId: str
    execPrice: str
    execQty: str
    orderId: str
    isMaker: bool = False
    orderLinkId: str = ""
    side: str
    execTime: str
    seq: Count = 0


# Positions and the account


class PositionFields(msgspec.Struct, kw_only=True):
    """The fields that the position stream and ``GET /v5/position/list`` share. ``side`` is "" when flat.

    https://bybit-exchange.github.io/docs/v5/websocket/private/position
    """

    positionIdx: int = 0
    tradeMode: int = 0
    riskId: int = 0
    riskLimitValue: str = ""
    symbol: str
    side: str
    size: str
    sessionAvgPrice: str = ""
    leverage: str = ""
    breakEvenPrice: str = ""
    positionValue: str = ""
    positionBalance: str = "0"
    markPrice: str = ""
    positionIM: str = ""
    positionMM: str = ""
    positionIMByMp: str = ""
    positionMMByMp: str = ""
    takeProfit: str = "0"
    stopLoss: str = "0"
    trailingStop: str = "0"
    unrealisedPnl: str = ""
    cumRealisedPnl: str = ""
    curRealisedPnl: str = ""
    createdTime: str = ""
    updatedTime: str = ""
    openTime: int | UnsetType = UNSET
    tpslMode: str = "Full"
    liqPrice: str = ""
    bustPrice: str = ""
    positionStatus: str = "Normal"
    adlRankIndicator: int = 0
    autoAddMargin: int = 0
    leverageSysUpdatedTime: str = ""
    mmrSysUpdatedTime: str = ""
    seq: Count = 0
    isReduceOnly: bool = False


class PositionRow(PositionFields, kw_only=True):
    """A row of ``GET /v5/position/list``. The entry price is ``avgPrice`` here."""

    avgPrice: str = ""


class PositionPush(PositionFields, kw_only=True):
    """A row of the private ``position`` stream. The entry price is ``entryPrice`` here."""

    entryPrice: str = ""
    category: str = "linear"


class CoinRow(msgspec.Struct, kw_only=True):
    """One coin of a wallet. Amounts are in this coin, ``usdValue`` is in USD."""

    coin: str
    equity: str = ""
    usdValue: str = ""
    walletBalance: str = ""
    availableToWithdraw: str = ""
    availableToBorrow: str = ""
    borrowAmount: str = "0"
    accruedInterest: str = "0"
    totalOrderIM: str = "0"
    totalPositionIM: str = "0"
    totalPositionMM: str = "0"
    unrealisedPnl: str = "0"
    cumRealisedPnl: str = "0"
    bonus: str = "0"
    collateralSwitch: bool = True
    marginCollateral: bool = True
    locked: str = "0"
    spotHedgingQty: str = "0"
    spotBorrow: str = "0"
    colRes: str = ""


class WalletRow(msgspec.Struct, kw_only=True):
    """A unified account. Totals are in USD; a push lists only the coins that changed.

    https://bybit-exchange.github.io/docs/v5/websocket/private/wallet
    """

    accountIMRate: str = "0"
    accountMMRate: str = "0"
    accountIMRateByMp: str = "0"
    accountMMRateByMp: str = "0"
    totalEquity: str = ""
    totalWalletBalance: str = ""
    totalMarginBalance: str = ""
    totalAvailableBalance: str = ""
    totalPerpUPL: str = "0"
    totalInitialMargin: str = "0"
    totalMaintenanceMargin: str = "0"
    totalInitialMarginByMp: str = "0"
    totalMaintenanceMarginByMp: str = "0"
    coin: list[CoinRow]
    accountLTV: str = "0"
    accountType: str = "UNIFIED"


class ClosedPnlRow(msgspec.Struct, kw_only=True):
    """A row of ``GET /v5/position/closed-pnl``. ``side`` is the side of the closing order."""

    symbol: str
    orderType: str = "Market"
    leverage: str = ""
    updatedTime: str
    side: str
    orderId: str
    closedPnl: str
    avgEntryPrice: str
    qty: str
    cumEntryValue: str = ""
    createdTime: str
    orderPrice: str = ""
    closedSize: str
    avgExitPrice: str
    execType: str = "Trade"
    fillCount: str = "1"
    cumExitValue: str = ""
    openFee: str = ""
    closeFee: str = ""


class TransactionRow(msgspec.Struct, kw_only=True):
    """A row of ``GET /v5/account/transaction-log``: ``change = cashFlow + funding - fee``.

    ``funding`` is positive when received.
    """

    transSubType: str = ""
    id: str
    symbol: str = ""
    side: str = "None"
    funding: str = ""
    orderLinkId: str = ""
    orderId: str = ""
    fee: str = ""
    change: str
    cashFlow: str = ""
    transactionTime: str
    type: str
    feeRate: str = ""
    bonusChange: str = ""
    size: str = ""
    qty: str = ""
    cashBalance: str
    currency: str = "USDT"
    category: str = "linear"
    tradePrice: str = ""
    tradeId: str = ""
    extraFees: str | list[ExtraFee] = ""


class FeeRow(msgspec.Struct, frozen=True):
    """A row of ``GET /v5/account/fee-rate``. Rates are fractions."""

    symbol: str
    takerFeeRate: str
    makerFeeRate: str


class OrderIds(msgspec.Struct, frozen=True):
    """The result of create, amend and cancel."""

    orderId: str = ""
    orderLinkId: str = ""
