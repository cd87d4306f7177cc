# ruff: noqa: N815  (the attributes have Bybit's names)
"""Rows of market data as Bybit sends them.

``wire.py`` explains how rows are written and exports these too.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

Text = str | UnsetType
"""Text that may be missing."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A time in ms or a sequence number."""


class KlineRow(msgspec.Struct, frozen=True, gc=False):
    """One candle of ``kline.{interval}.{symbol}``. ``end`` is the last millisecond inside the candle.

    https://bybit-exchange.github.io/docs/v5/websocket/public/kline
    """

    start: Count
    end: Count
    interval: str
    open: str
    close: str
    high: str
    low: str
    volume: str
    turnover: str
    confirm: bool
    timestamp: Count


class TickerRow(msgspec.Struct, kw_only=True):
    """Linear ticker: the stream's snapshot (all fields), its delta (only changed fields), or the REST row.

    https://bybit-exchange.github.io/docs/v5/websocket/public/ticker
    """

    symbol: str
    tickDirection: Text = UNSET
    price24hPcnt: Text = UNSET
    lastPrice: Text = UNSET
    prevPrice24h: Text = UNSET
    highPrice24h: Text = UNSET
    lowPrice24h: Text = UNSET
    prevPrice1h: Text = UNSET
    markPrice: Text = UNSET
    indexPrice: Text = UNSET
    openInterest: Text = UNSET
    openInterestValue: Text = UNSET
    singleOpenInterest: Text = UNSET
    singleOpenInterestValue: Text = UNSET
    turnover24h: Text = UNSET
    volume24h: Text = UNSET
    fundingIntervalHour: Text = UNSET
    fundingCap: Text = UNSET
    nextFundingTime: Text = UNSET
    fundingRate: Text = UNSET
    bid1Price: Text = UNSET
    bid1Size: Text = UNSET
    ask1Price: Text = UNSET
    ask1Size: Text = UNSET
    preOpenPrice: Text = UNSET
    preQty: Text = UNSET
    curPreListingPhase: Text = UNSET
    # For perpetuals only REST sends these, empty:
    predictedDeliveryPrice: Text = UNSET
    basisRate: Text = UNSET
    basisRateYear: Text = UNSET
    basis: Text = UNSET
    deliveryFeeRate: Text = UNSET
    deliveryTime: Text = UNSET


Level = tuple[str, str]
"""Price and size of one book level. Size "0" in a delta removes the level."""


class BookRow(msgspec.Struct, frozen=True):
    """``orderbook.{depth}.{symbol}``: bids fall, asks rise; ``u`` rises by 1 per message of one depth."""

    s: str
    b: list[Level]
    a: list[Level]
    u: Count
    seq: Count


class RestBook(msgspec.Struct, frozen=True):
    """``GET /v5/market/orderbook``: a ``BookRow`` with its times."""

    s: str
    b: list[Level]
    a: list[Level]
    ts: Count
    u: Count
    seq: Count
    cts: Count


class TradeRow(msgspec.Struct, kw_only=True, frozen=True):
    """One trade of ``publicTrade.{symbol}``. ``S`` is the taker's side, ``i`` the trade's id."""

    T: Count
    s: str
    S: str
    v: str
    p: str
    L: str = "ZeroPlusTick"
    i: str
    BT: bool = False
    RPI: bool = False
    seq: Count = 0


class RecentTradeRow(msgspec.Struct, kw_only=True, frozen=True):
    """One row of ``GET /v5/market/recent-trade``."""

    execId: str
    symbol: str
    price: str
    size: str
    side: str
    time: str
    isBlockTrade: bool = False
    isRPITrade: bool = False
    seq: str = "0"


class FundingRow(msgspec.Struct, frozen=True):
    """One settled funding rate of ``GET /v5/market/funding/history``."""

    symbol: str
    fundingRate: str
    fundingRateTimestamp: str


class OpenInterestRow(msgspec.Struct, kw_only=True, frozen=True):
    """One row of ``GET /v5/market/open-interest``."""

    openInterest: str
    singleOpenInterest: Text = UNSET
    timestamp: str


class LeverageFilter(msgspec.Struct, kw_only=True, frozen=True):
    """The leverage that a contract allows."""

    minLeverage: str
    maxLeverage: str
    leverageStep: str


class PriceFilter(msgspec.Struct, kw_only=True, frozen=True):
    """The price range and tick size of a contract."""

    minPrice: str
    maxPrice: str
    tickSize: str


class LotSizeFilter(msgspec.Struct, kw_only=True, frozen=True):
    """Order sizes of a contract in base: ``maxOrderQty`` for limit, ``maxMktOrderQty`` for market orders."""

    maxOrderQty: str
    minOrderQty: str
    qtyStep: str
    postOnlyMaxOrderQty: str = ""
    maxMktOrderQty: str = ""
    minNotionalValue: str = ""


class RiskParameters(msgspec.Struct, kw_only=True, frozen=True):
    """Largest distance of a limit price from the mark, as fractions."""

    priceLimitRatioX: str
    priceLimitRatioY: str


class InstrumentRow(msgspec.Struct, kw_only=True, frozen=True):
    """One linear contract of ``GET /v5/market/instruments-info``. ``fundingInterval`` is in minutes."""

    symbol: str
    symbolId: int = 0
    contractType: str = "LinearPerpetual"
    status: str
    baseCoin: str
    quoteCoin: str
    launchTime: str = "0"
    deliveryTime: str = "0"
    deliveryFeeRate: str = ""
    priceScale: str = ""
    leverageFilter: LeverageFilter
    priceFilter: PriceFilter
    lotSizeFilter: LotSizeFilter
    unifiedMarginTrade: bool = True
    fundingInterval: int = 480
    settleCoin: str = "USDT"
    copyTrading: str = "none"
    upperFundingRate: str = ""
    lowerFundingRate: str = ""
    isPreListing: bool = False
    preListingInfo: dict[str, object] | None = None
    riskParameters: RiskParameters | UnsetType = UNSET
    displayName: str = ""
    forbidUplWithdrawal: bool = False
    symbolType: str = ""


class RiskRow(msgspec.Struct, kw_only=True, frozen=True):
    """One tier of ``GET /v5/market/risk-limit``. ``maintenanceMargin`` and ``initialMargin`` are fractions.

    The docs' example shows percents. ``initialMargin * maxLeverage`` is 1 for fractions and 100 for percents.
    """

    id: int
    symbol: str
    riskLimitValue: str
    maintenanceMargin: str
    initialMargin: str
    isLowestRisk: int = 0
    maxLeverage: str
    mmDeduction: str = ""
