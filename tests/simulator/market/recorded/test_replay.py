"""Orders at a replayed recording: they meet the book, the trades and the marks that were recorded."""

from decimal import Decimal
from pathlib import Path

import pytest

from bot.app.exchange import exchange_config
from bot.domain.errors import BadFile, BadUsage
from bot.domain.market import HOUR_MS, MINUTE_MS
from bot.settings import Settings
from bot.simulator.account.access import RequestRefused
from bot.simulator.market.loop import open_market
from bot.simulator.market.tickers import ticker
from tests.simulator.bench import START_MS, candle_file, candles, config
from tests.simulator.market.recorded.writing import BOOK, SYMBOL, T0, TOPICS, TRADES, Replayed, Tape

D = Decimal
BIDS = {"99999.9": "1.000", "99999.0": "2.000"}
ASKS = {"100000.1": "0.500", "100001.0": "2.000"}


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    """Book and ticker from the beginning; a later frame keeps the recording going."""
    made = Tape(tmp_path / "rec")
    made.book(0, BIDS, ASKS)
    made.ticker(0, "snapshot", lastPrice="100000.0", markPrice="100000.0", indexPrice="100010.0")
    return made


def replay(tape: Tape, **changes: object) -> Replayed:
    tape.book(20 * 60_000, {"5": "1"}, {"6": "1"})
    return Replayed(tape.write(), **changes)


async def test_a_market_order_takes_the_recorded_levels(tape: Tape) -> None:
    desk = replay(tape).at(100)
    order = desk.order("Buy", "1.5")
    assert desk.fills(order) == [(D("100000.1"), D("0.500")), (D("100001.0"), D("1.000"))]


async def test_an_order_meets_the_book_of_its_moment(tape: Tape) -> None:
    tape.book(1_000, {"99999.9": "0"}, {"100000.1": "0", "100000.5": "3"}, "delta")
    desk = replay(tape).at(999)
    assert desk.fills(desk.order("Buy", "0.1")) == [(D("100000.1"), D("0.1"))]
    desk.at(1_000)
    assert desk.fills(desk.order("Buy", "0.1")) == [(D("100000.5"), D("0.1"))]
    assert desk.fills(desk.order("Sell", "0.1")) == [(D("99999.0"), D("0.1"))]


async def test_a_resting_order_fills_at_its_price_when_a_recorded_trade_or_book_passes_it(tape: Tape) -> None:
    tape.trade(1_000, "99950.0", "0.3", "Sell")
    tape.book(1_010, {}, {}, "delta")
    tape.book(2_000, {**dict.fromkeys(BIDS, "0"), "99890.0": "1"}, {"99895.0": "0.2"}, "delta")
    desk = replay(tape).at(100)
    near, far = desk.order("Buy", "0.5", price="99960"), desk.order("Buy", "0.5", price="99900")
    assert desk.at(999).fills() == []
    assert desk.at(1_500).fills() == [(D("99960"), D("0.3"))]  # no more than was traded
    desk.at(2_500)
    assert desk.fills(near) == [(D("99960"), D("0.3")), (D("99960"), D("0.2"))]
    assert desk.fills(far) == []  # the first took what the book offered
    assert desk.status(far) == "New"


async def test_a_stop_meets_the_book_from_after_the_trade_that_triggers_it(tape: Tape) -> None:
    gone = dict.fromkeys(BIDS, "0")
    tape.trade(1_000, "99500.0", "5", "Sell")
    tape.book(1_012, {**gone, "99490.0": "4"}, {}, "delta")
    desk = replay(tape).at(100)
    desk.order("Buy", "0.2")
    stop = desk.order("Sell", "0.2", triggerPrice="99600", triggerDirection=2, reduceOnly=True)
    assert desk.at(1_005).status(stop) == "Untriggered"  # the book after the trade is not here yet
    assert desk.at(1_012).fills(stop) == [(D("99490.0"), D("0.2"))]


async def test_a_trade_without_a_book_soon_after_it_moves_the_touch(tape: Tape) -> None:
    tape.trade(1_000, "99500.0", "5", "Sell")
    desk = replay(tape).at(100)
    desk.order("Buy", "0.2")
    stop = desk.order("Sell", "0.2", triggerPrice="99600", triggerDirection=2, reduceOnly=True)
    assert desk.at(1_900).status(stop) == "Untriggered"
    assert desk.at(3_000).fills(stop) == [(D("99499.9"), D("0.2"))]  # the spread of before, about the trade


async def test_a_stop_by_mark_follows_the_recorded_marks(tape: Tape) -> None:
    tape.ticker(1_000, markPrice="98999.9")
    tape.ticker(500, indexPrice="1.0")
    desk = replay(tape).at(100)
    desk.order("Buy", "0.2")
    stop = desk.order(
        "Sell", "0.2", triggerPrice="99000", triggerDirection=2, triggerBy="MarkPrice", reduceOnly=True
    )
    assert desk.at(999).status(stop) == "Untriggered"
    assert desk.at(1_000).fills(stop) == [(D("99999.9"), D("0.2"))]


async def test_while_nobody_knows_the_book_there_are_no_offers(tape: Tape) -> None:
    tape.trade(900, "100000.0")
    tape.lost(1_000)
    tape.book(5_000, BIDS, ASKS)
    desk = replay(tape).at(950)
    assert desk.market.depth(SYMBOL).bids
    desk.at(2_000)
    assert desk.market.depth(SYMBOL).bids == []
    with pytest.raises(RequestRefused, match="invalid"):
        desk.order("Buy", "0.1")
    desk.at(5_000)
    assert desk.fills(desk.order("Buy", "0.1")) == [(D("100000.1"), D("0.1"))]


async def test_a_recording_without_its_oldest_files_begins_with_the_book_as_it_was(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "rec")
    tape.made(0, BIDS, ASKS)
    tape.book(50, {}, {"100000.1": "0"}, "delta")
    desk = replay(tape).at(100)
    assert desk.fills(desk.order("Buy", "0.1")) == [(D("100001.0"), D("0.1"))]


async def test_a_book_with_a_missing_frame_is_not_known(tape: Tape) -> None:
    tape._u += 1
    tape.book(1_000, {"99999.9": "5"}, {}, "delta")
    desk = replay(tape).at(1_500)
    assert desk.market.depth(SYMBOL).bids == []


async def test_funding_is_settled_at_the_rate_that_was_announced_last(tape: Tape) -> None:
    due = str(T0 + 8 * HOUR_MS)
    tape.ticker(100, fundingRate="0.0001", nextFundingTime=due)
    tape.ticker(200, fundingRate="0.0003")
    desk = replay(tape).at(300)
    assert desk.market.symbols[SYMBOL].rate(T0 + 8 * HOUR_MS) == D("0.0003")
    assert desk.market.symbols[SYMBOL].next_funding_ms(T0 + 300) == T0 + 8 * HOUR_MS


async def test_the_ticker_is_the_recorded_one(tape: Tape) -> None:
    tape.ticker(100, price24hPcnt="0.123456", openInterest="54321.5", bid1Size="7")
    desk = replay(tape).at(150)
    told = ticker(desk.market.symbols[SYMBOL], desk.market.now_ms())
    expected = {
        "price24hPcnt": "0.123456",
        "openInterest": "54321.5",
        "bid1Size": "7",
        "markPrice": "100000.0",
    }
    assert {name: told[name] for name in expected} == expected


async def test_candles_are_the_recorded_ones_and_longer_ones_are_joined_from_them(tape: Tape) -> None:
    for minute in range(6):
        start_ms, base = minute * MINUTE_MS, 100 + minute
        tape.kline(start_ms + 30_000, start_ms, f"{base} {base} {base} {base}", confirm=False)
        end = f"{base} {base + 2} {base - 1} {base + 1}"
        tape.kline(start_ms + 60_050, start_ms, end, confirm=True)
    symbol = replay(tape).at(5 * MINUTE_MS).market.symbols[SYMBOL]
    now_ms = T0 + 5 * MINUTE_MS  # the fifth candle is over, its confirmation comes 50 ms later
    minutes = symbol.history.latest("1", now_ms, 10)
    assert [(each.start_ms - T0) // MINUTE_MS for each in minutes] == [0, 1, 2, 3, 4]
    five = symbol.history.candle("5", T0, now_ms)
    assert five is not None
    assert (five.open, five.high, five.low, five.close, five.volume) == (100.0, 106.0, 99.0, 105.0, 25.0)
    now_ms += 40_000
    (still_open,) = symbol.history.latest("1", now_ms, 1)
    assert (still_open.start_ms, still_open.close) == (T0 + 5 * MINUTE_MS, 105.0)
    assert symbol.history.latest("1", now_ms, 10)[:-1] == minutes


async def test_without_recorded_candles_trades_make_them(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "rec", (TRADES, BOOK))
    tape.book(0, BIDS, ASKS)
    for at_ms, price in ((10, "100"), (20, "103"), (59_990, "101"), (60_500, "90"), (61_000, "95")):
        tape.trade(at_ms, price, "2")
    symbol = replay(tape).at(2 * MINUTE_MS).market.symbols[SYMBOL]
    first, second = symbol.history.latest("1", T0 + 2 * MINUTE_MS, 10)
    assert first[:6] == (T0, 100.0, 103.0, 100.0, 101.0, 6.0)
    assert second[:6] == (T0 + MINUTE_MS, 90.0, 95.0, 90.0, 95.0, 4.0)


async def test_a_candle_file_gives_the_candles_before_the_recording(tape: Tape, tmp_path: Path) -> None:
    tape.kline(60_050, 0, "1 1 1 1", confirm=True)
    made = candles(bars=300)
    moved = type(made).make(
        SYMBOL, MINUTE_MS, made.start_ms - START_MS + T0 - 300 * MINUTE_MS, made.ohlcv, made.turnover
    )
    desk = replay(tape, data=(candle_file(tmp_path, moved),)).at(61_000)
    found = desk.market.symbols[SYMBOL].history.latest("1", T0 + 61_000, 1_000)
    starts = [(each.start_ms - T0) // MINUTE_MS for each in found]
    assert starts == list(range(-300, 1))
    assert found[-1].close == 1.0


async def test_what_an_exchange_cannot_do_without_is_named(tmp_path: Path) -> None:
    bare = Tape(tmp_path / "bare", (TOPICS[0], TOPICS[3]))
    bare.ticker(0, "snapshot", lastPrice="1")
    with pytest.raises(BadUsage, match="holds no order book and no trades of BTCUSDT"):
        open_market(config(recording=bare.write()))
    with pytest.raises(BadFile, match="no recording with frames"):
        open_market(config(recording=tmp_path))


async def test_a_start_outside_and_fills_from_bars_are_refused(tape: Tape) -> None:
    out = tape.write()
    with pytest.raises(BadUsage, match="covers"):
        open_market(config(recording=out, start_ms=T0 - 1))
    with pytest.raises(BadUsage, match="--fills bars goes with candle files"):
        exchange_config(Settings(), data=(out,), symbols=None, fills="bars", wallet=1.0, order_quota=10)
