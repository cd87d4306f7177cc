"""The ticker of a symbol: the same figures for the stream and for REST."""

from decimal import Decimal

from bot.domain.market import HOUR_MS
from bot.domain.money import to_decimal
from bot.exchange.rulebook.price_band import PriceBand, bounds
from bot.simulator.market.digits import at_least, shortest
from bot.simulator.market.symbol import FUNDING_CAP, MarketSymbol

BAND = PriceBand(Decimal("0.01"), Decimal("0.02"))
"""Bybit's price limit ratios of BTCUSDT, here of every contract."""
PHASE = "CallAuction"
"""The phase of a contract in status PreLaunch."""


def price_limits(symbol: MarketSymbol, now_ms: int) -> dict[str, str]:
    """Return the highest price of a buyer and the lowest of a seller, as ``priceLimit.{symbol}`` does."""
    mark = symbol.mark(now_ms)
    bid, ask = symbol.touch(now_ms)
    tick, places = symbol.contract.tick, symbol.contract.price_places
    premium = to_decimal((tick.value(bid) + tick.value(ask)) / 2.0 - mark)
    step, index = symbol.instrument.tick_size, to_decimal(symbol.index_at(now_ms))
    limits = bounds(BAND, to_decimal(mark), index, premium, step)
    assert limits.highest is not None, "there is a mark"
    assert limits.lowest is not None, "there is a mark"
    return {
        "symbol": symbol.name,
        "buyLmt": at_least(float(limits.highest), places),
        "sellLmt": at_least(float(limits.lowest), places),
    }


def ticker(symbol: MarketSymbol, now_ms: int) -> dict[str, str]:
    """Return all fields of ``tickers.{symbol}`` at ``now_ms``, in Bybit's order."""
    places = symbol.contract.price_places
    last = symbol.last(now_ms)
    window = symbol.window(now_ms)
    candle = symbol.base_candle(now_ms)
    high, low = max(window.high, last.price), min(window.low, last.price)
    volume, turnover = window.volume, window.turnover
    if candle is not None:
        high, low = max(high, candle.high), min(low, candle.low)
        volume, turnover = volume + candle.volume, turnover + candle.turnover
    day_ago = window.prev_24h or last.price
    held = symbol.open_interest(now_ms)
    next_ms = symbol.next_funding_ms(now_ms)
    tick = symbol.contract.tick
    bid, ask = symbol.touch_of(last)
    bids, asks = symbol.book(now_ms, 1)
    computed = {
        "symbol": symbol.name,
        "tickDirection": last.direction,
        "price24hPcnt": f"{last.price / day_ago - 1.0:.6f}",
        "lastPrice": at_least(last.price, places),
        "prevPrice24h": at_least(day_ago, places),
        "highPrice24h": at_least(high, places),
        "lowPrice24h": at_least(low, places),
        "prevPrice1h": at_least(window.prev_1h or last.price, places),
        "markPrice": at_least(symbol.mark(now_ms), places),
        "indexPrice": at_least(symbol.index_at(now_ms), places),
        "openInterest": shortest(held),
        "openInterestValue": f"{held * last.price:.2f}",
        "singleOpenInterest": shortest(held),
        "singleOpenInterestValue": f"{held * last.price:.2f}",
        "turnover24h": f"{turnover:.4f}",
        "volume24h": f"{volume:.4f}",
        "fundingIntervalHour": str(symbol.instrument.funding_interval_ms // HOUR_MS),
        "fundingCap": FUNDING_CAP,
        "nextFundingTime": str(next_ms),
        "fundingRate": format(symbol.rate(next_ms), "f"),
        "bid1Price": at_least(tick.value(bid), places),
        "bid1Size": bids[0][1] if bids else "",
        "ask1Price": at_least(tick.value(ask), places),
        "ask1Size": asks[0][1] if asks else "",
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": PHASE if symbol.instrument.status == "PreLaunch" else "",
    }
    return {**computed, **symbol.told_fields(now_ms)}
