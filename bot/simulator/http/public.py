"""The public REST endpoints: a query in, a ``result`` out. Nothing here waits.

https://bybit-exchange.github.io/docs/v5/market/kline and its neighbours.
"""

from collections.abc import Callable, Mapping
from itertools import islice

from bot.bybit.serve import listing
from bot.bybit.wire import (
    FundingRow,
    InstrumentRow,
    LeverageFilter,
    LotSizeFilter,
    OpenInterestRow,
    PriceFilter,
    RecentTradeRow,
    RestBook,
    RiskParameters,
    RiskRow,
)
from bot.domain.market import DAY_MS, HOUR_MS, MINUTE_MS, Instrument
from bot.simulator.account.access import RequestRefused
from bot.simulator.market.candle_trades import PartialCandle, trade_id
from bot.simulator.market.depth import MAX_BOOK
from bot.simulator.market.digits import at_least, shortest
from bot.simulator.market.history import INTERVALS
from bot.simulator.market.loop import Market
from bot.simulator.market.symbol import FUNDING_CAP, MarketSymbol
from bot.simulator.market.tickers import BAND, PHASE, price_limits, ticker

Query = Mapping[str, str]
Handler = Callable[[Query], object]

CATEGORIES = ("linear", "inverse", "spot", "option")
PRICE_LIMITS = RiskParameters(priceLimitRatioX=str(BAND.x), priceLimitRatioY=str(BAND.y))
_OI_STEPS = {
    "5min": 5 * MINUTE_MS,
    "15min": 15 * MINUTE_MS,
    "30min": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "4h": 4 * HOUR_MS,
    "1d": DAY_MS,
}
_RISK_SYMBOLS_A_PAGE = 15


class MarketRest:
    """Answers queries about the market."""

    def __init__(self, market: Market) -> None:
        self._market = market

    def handlers(self) -> dict[str, Handler]:
        """Path → handler."""
        return {
            "/v5/market/time": self.time,
            "/v5/market/instruments-info": self.instruments_info,
            "/v5/market/kline": self.kline,
            "/v5/market/mark-price-kline": self.mark_kline,
            "/v5/market/index-price-kline": self.index_kline,
            "/v5/market/premium-index-price-kline": self.premium_kline,
            "/v5/market/tickers": self.tickers,
            "/v5/market/orderbook": self.orderbook,
            "/v5/market/recent-trade": self.recent_trade,
            "/v5/market/funding/history": self.funding_history,
            "/v5/market/risk-limit": self.risk_limit,
            "/v5/market/open-interest": self.open_interest,
            "/v5/market/price-limit": self.price_limit,
            "/v5/market/delivery-price": self.nothing_delivered,
            "/v5/system/status": self.system_status,
            "/v5/announcements/index": self.no_announcements,
        }

    # -- clock and rules -------------------------------------------------------------------------------------

    def time(self, query: Query) -> object:
        """``/v5/market/time``."""
        now_ms = self._market.clock.now_ms()
        return {"timeSecond": str(now_ms // 1000), "timeNano": str(now_ms * 1_000_000)}

    def instruments_info(self, query: Query) -> object:
        """``/v5/market/instruments-info``: only ``Trading`` rows unless a symbol or a status is asked for."""
        category = _category(query, needed=True)
        limit = min(_limit(query, 500, 1000), self._market.config.rules.page_max)
        if category != "linear":
            return listing([], "", category)
        if "symbol" in query:
            found = [self._symbol(query)]
        else:
            status, coin = query.get("status", "Trading"), query.get("baseCoin")
            found = [
                each
                for each in self._market.symbols.values()
                if each.instrument.status == status and coin in (None, _base(each.name))
            ]
        page, cursor = _page(found, query, limit)
        return listing([instrument_row(each) for each in page], cursor, category)

    def risk_limit(self, query: Query) -> object:
        """``/v5/market/risk-limit``: the tiers of one symbol, or of all, 15 symbols a page."""
        category = _category(query, needed=True)
        found = [self._symbol(query)] if "symbol" in query else list(self._market.symbols.values())
        page, cursor = _page(found if category == "linear" else [], query, _RISK_SYMBOLS_A_PAGE)
        rows = [row for each in page for row in risk_rows(each.instrument)]
        return listing(rows, cursor, category)

    # -- candles ---------------------------------------------------------------------------------------------

    def kline(self, query: Query) -> object:
        """``/v5/market/kline``: seven texts a row, newest first, the open candle among them."""
        symbol, candles = self._candles(query)
        rows = [
            [
                str(each.start_ms),
                shortest(each.open),
                shortest(each.high),
                shortest(each.low),
                shortest(each.close),
                shortest(each.volume),
                shortest(each.turnover),
            ]
            for each in reversed(candles)
        ]
        return {"category": "linear", "symbol": symbol.name, "list": rows}

    def mark_kline(self, query: Query) -> object:
        """``/v5/market/mark-price-kline``: marks are last prices here."""
        symbol, candles = self._candles(query)
        return _price_rows(symbol, candles, lambda price: shortest(price))

    def index_kline(self, query: Query) -> object:
        """``/v5/market/index-price-kline``."""
        symbol, candles = self._candles(query)
        return _price_rows(symbol, candles, lambda price: shortest(symbol.index(price)))

    def premium_kline(self, query: Query) -> object:
        """``/v5/market/premium-index-price-kline``."""
        symbol, candles = self._candles(query)
        return _price_rows(symbol, candles, lambda price: f"{symbol.premium_frac:.6f}")

    def _candles(self, query: Query) -> tuple[MarketSymbol, list[PartialCandle]]:
        _linear(query)
        symbol = self._symbol(query)
        interval = query.get("interval", "")
        if interval not in INTERVALS:
            raise RequestRefused(
                10001, "params error: Invalid period!" if interval else "params error: interval"
            )
        limit = _limit(query, 200, 1000)
        start_ms, end_ms = _number(query, "start"), _number(query, "end")
        return symbol, symbol.history.latest(interval, self._market.now_ms(), limit, start_ms, end_ms)

    # -- prices ----------------------------------------------------------------------------------------------

    def tickers(self, query: Query) -> object:
        """``/v5/market/tickers``: one symbol or all."""
        category = _category(query, needed=True)
        if category != "linear":
            if "symbol" in query:
                raise RequestRefused(10001, "params error: symbol invalid")
            return listing([], None, category)
        found = [self._symbol(query)] if "symbol" in query else list(self._market.symbols.values())
        coin, now_ms = query.get("baseCoin"), self._market.now_ms()
        rows = [_rest_ticker(each, now_ms) for each in found if coin in (None, _base(each.name))]
        return listing(rows, None, category)

    def orderbook(self, query: Query) -> object:
        """``/v5/market/orderbook``."""
        _linear(query, needed=True)
        symbol, limit = self._symbol(query), _limit(query, 25, 1000)
        now_ms, stamp_ms = self._market.now_ms(), self._market.clock.now_ms()
        bids, asks = symbol.book(now_ms, min(limit, MAX_BOOK))
        u, seq = symbol.book_numbers(now_ms)
        return RestBook(symbol.name, bids, asks, stamp_ms, u, seq, stamp_ms - 1)

    def recent_trade(self, query: Query) -> object:
        """``/v5/market/recent-trade``: newest first."""
        category = _linear(query, needed=True)
        symbol, limit = self._symbol(query), _limit(query, 500, 1000)
        trades = symbol.recent_trades(self._market.now_ms(), limit)
        skew_ms, places = self._market.clock.skew_ms, symbol.contract.price_places
        rows = [
            RecentTradeRow(
                execId=each.exec_id or trade_id(symbol.name, each.ts_ms),
                symbol=symbol.name,
                price=at_least(each.price, places),
                size=shortest(each.qty),
                side=each.side,
                time=str(each.ts_ms + skew_ms),
                seq=str(each.ts_ms),
            )
            for each in reversed(trades)
        ]
        return listing(rows, None, category)

    def open_interest(self, query: Query) -> object:
        """``/v5/market/open-interest``: newest first."""
        _linear(query, needed=True)
        symbol, limit = self._symbol(query), _limit(query, 50, 200)
        step_ms = _OI_STEPS.get(query.get("intervalTime", ""))
        if step_ms is None:
            raise RequestRefused(10001, "params error: intervalTime invalid")
        start_ms, end_ms = _number(query, "startTime"), _number(query, "endTime")
        now_ms = self._market.now_ms()
        last_ms = min(now_ms, end_ms if end_ms is not None else now_ms) // step_ms * step_ms
        first_ms = max(symbol.tape.first_ms, start_ms or 0, last_ms - (limit - 1) * step_ms)
        rows = []
        for at_ms in range(last_ms, first_ms - 1, -step_ms):
            text = shortest(symbol.open_interest(at_ms))
            rows.append(OpenInterestRow(openInterest=text, singleOpenInterest=text, timestamp=str(at_ms)))
        return listing(rows, "", "linear", symbol=symbol.name)

    def price_limit(self, query: Query) -> object:
        """``/v5/market/price-limit``: how far limit orders may lie from the mark."""
        _linear(query)
        limits = price_limits(self._symbol(query), self._market.now_ms())
        return limits | {"ts": str(self._market.clock.now_ms())}

    # -- funding ---------------------------------------------------------------------------------------------

    def funding_history(self, query: Query) -> object:
        """``/v5/market/funding/history``: settled rates, newest first; ``startTime`` alone is an error."""
        category = _linear(query, needed=True)
        symbol, limit = self._symbol(query), _limit(query, 200, 200)
        start_ms, end_ms = _number(query, "startTime"), _number(query, "endTime")
        if start_ms is not None and end_ms is None:
            raise RequestRefused(10001, "params error: endTime is required when startTime is given")
        now_ms = self._market.now_ms()
        last_ms = min(now_ms, end_ms if end_ms is not None else now_ms)
        first_ms = max(symbol.tape.first_ms, start_ms or 0)
        stamps = islice(symbol.settlements(first_ms - 1, last_ms), limit)
        rows = [FundingRow(symbol.name, format(symbol.rate(at_ms), "f"), str(at_ms)) for at_ms in stamps]
        return listing(rows, None, category)

    # -- what there is none of -------------------------------------------------------------------------------

    def nothing_delivered(self, query: Query) -> object:
        """``/v5/market/delivery-price``: perpetuals never are."""
        return listing([], "", _category(query, needed=True))

    def system_status(self, query: Query) -> object:
        """``/v5/system/status``: maintenance that was announced, newest first."""
        wanted_id, state = query.get("id"), query.get("state")
        found = self._market.notices.all
        found = [each for each in found if wanted_id in (None, each.id) and state in (None, each.state)]
        return listing(found)

    def no_announcements(self, query: Query) -> object:
        """``/v5/announcements/index``."""
        return listing([], None, None, total=0)

    def _symbol(self, query: Query) -> MarketSymbol:
        name = query.get("symbol", "")
        symbol = self._market.symbols.get(name)
        if symbol is None:
            raise RequestRefused(
                10001, "Not supported symbols" if name else "params error: symbol is required"
            )
        return symbol


def instrument_row(symbol: MarketSymbol) -> InstrumentRow:
    """Return one row of ``instruments-info``; figures keep the digits they were written with."""
    rules = symbol.instrument
    return InstrumentRow(
        symbol=rules.symbol,
        symbolId=symbol.number,
        status=rules.status,
        baseCoin=_base(rules.symbol),
        quoteCoin=_quote(rules.symbol),
        settleCoin=_quote(rules.symbol),
        launchTime=str(symbol.tape.first_ms),
        deliveryTime=str(rules.delivery_ms),
        priceScale=str(symbol.contract.price_places),
        leverageFilter=LeverageFilter(
            minLeverage="1", maxLeverage=f"{rules.max_leverage:.2f}", leverageStep="0.01"
        ),
        priceFilter=PriceFilter(
            minPrice=format(rules.min_price, "f"),
            maxPrice=format(rules.max_price, "f"),
            tickSize=format(rules.tick_size, "f"),
        ),
        lotSizeFilter=LotSizeFilter(
            maxOrderQty=format(rules.max_qty, "f"),
            minOrderQty=format(rules.min_qty, "f"),
            qtyStep=format(rules.qty_step, "f"),
            postOnlyMaxOrderQty=format(rules.max_qty, "f"),
            maxMktOrderQty=format(rules.max_market_qty, "f"),
            minNotionalValue=format(rules.min_notional_quote, "f"),
        ),
        fundingInterval=rules.funding_interval_ms // MINUTE_MS,
        upperFundingRate=FUNDING_CAP,
        lowerFundingRate=f"-{FUNDING_CAP}",
        isPreListing=rules.status == "PreLaunch",
        preListingInfo=_pre_listing(symbol) if rules.status == "PreLaunch" else None,
        riskParameters=PRICE_LIMITS,
        displayName="",
    )


def _pre_listing(symbol: MarketSymbol) -> dict[str, object]:
    """Return the phases of a contract before its launch: an order book exists in the last one only."""
    phases = ("NotStarted", "Finished", "CallAuction", "CallAuctionNoCancel", "CrossMatching")
    rows = [{"phase": phase, "startTime": "", "endTime": ""} for phase in (*phases, "ContinuousTrading")]
    fees = {"auctionFeeRate": "0", "takerFeeRate": "0.001", "makerFeeRate": "0.0004"}
    return {
        "curAuctionPhase": PHASE,
        "phases": rows,
        "auctionFeeInfo": fees,
        "skipCallAuction": False,
    }


def risk_rows(rules: Instrument) -> list[RiskRow]:
    """Return the tiers of one symbol; margins are fractions (``initialMargin × maxLeverage`` is 1)."""
    return [
        RiskRow(
            id=number,
            symbol=rules.symbol,
            riskLimitValue=format(tier.limit_quote, "f"),
            maintenanceMargin=format(tier.maintenance_frac, "f"),
            initialMargin=shortest(round(1.0 / float(tier.max_leverage), 6)),
            isLowestRisk=int(number == 1),
            maxLeverage=f"{tier.max_leverage:.2f}",
            mmDeduction=format(tier.deduction_quote, "f"),
        )
        for number, tier in enumerate(rules.tiers, start=1)
    ]


def _rest_ticker(symbol: MarketSymbol, now_ms: int) -> dict[str, str]:
    empty = ("predictedDeliveryPrice", "basisRate", "basisRateYear", "basis", "deliveryFeeRate")
    leaves = {"deliveryTime": str(symbol.instrument.delivery_ms)}
    return ticker(symbol, now_ms) | dict.fromkeys(empty, "") | leaves


def _price_rows(symbol: MarketSymbol, candles: list[PartialCandle], text: Callable[[float], str]) -> object:
    rows = [
        [str(each.start_ms), text(each.open), text(each.high), text(each.low), text(each.close)]
        for each in reversed(candles)
    ]
    return {"category": "linear", "symbol": symbol.name, "list": rows}


def _category(query: Query, *, needed: bool = False) -> str:
    category = query.get("category", "" if needed else "linear")
    if category not in CATEGORIES:
        raise RequestRefused(
            10001, "params error: Category is invalid" if category else "Category is required"
        )
    return category


def _linear(query: Query, *, needed: bool = False) -> str:
    """Accept linear contracts only; other categories have no symbols."""
    category = _category(query, needed=needed)
    if category != "linear":
        raise RequestRefused(10001, "Not supported symbols")
    return category


def _limit(query: Query, default: int, most: int) -> int:
    limit = _number(query, "limit")
    return default if limit is None or limit < 1 else min(limit, most)


def _number(query: Query, name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.lstrip("-").isdigit() and len(text) <= 18):
        raise RequestRefused(10001, f"params error: {name} invalid")
    return max(0, int(text))


def _page(found: list[MarketSymbol], query: Query, limit: int) -> tuple[list[MarketSymbol], str]:
    """Return a page and the cursor of the next: ``first%3D…%26last%3D…``, raw or escaped once more."""
    cursor = query.get("cursor", "").replace("%25", "%").replace("%3D", "=").replace("%26", "&")
    after = cursor.rpartition("last=")[2].partition("&")[0]
    start = next((i + 1 for i, each in enumerate(found) if each.name == after), 0) if after else 0
    page = found[start : start + limit]
    if start + limit >= len(found) or not page:
        return page, ""
    return page, f"first%3D{page[0].name}%26last%3D{page[-1].name}"


def _base(symbol: str) -> str:
    return symbol.removesuffix(_quote(symbol)) or symbol


def _quote(symbol: str) -> str:
    return next((coin for coin in ("USDT", "USDC") if symbol.endswith(coin)), "USDT")
