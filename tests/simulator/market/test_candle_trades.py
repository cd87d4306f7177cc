from hypothesis import given
from hypothesis import strategies as st

from bot.domain.market import MINUTE_MS, Bar
from bot.simulator.market.candle_trades import CandleTrades, PartialCandle
from tests.simulator.bench import candle_trades


@st.composite
def roads(draw: st.DrawFn) -> CandleTrades:
    low = draw(st.integers(900, 1000))
    high = draw(st.integers(low, 1100))
    inside = st.integers(low, high)
    lots = draw(st.integers(0, 5_000))
    bar = Bar(
        "BTCUSDT", MINUTE_MS, 10 * MINUTE_MS, draw(inside) * 1.0, high * 1.0, low * 1.0, draw(inside) * 1.0,
        lots / 1000, lots * 1.5,
    )  # fmt: skip
    return candle_trades(
        bar, every_ms=draw(st.sampled_from([70, 1000, 7_000, 400_000])), seed=draw(st.integers(0, 9))
    )


@given(roads())
def test_a_candle_that_has_ended_is_the_bar_to_the_last_digit(road: CandleTrades) -> None:
    bar = road.bar
    assert road.candle(road.end_ms) == PartialCandle(
        bar.start_ms, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover, road.end_ms
    )


@given(roads())
def test_the_trades_of_a_candle_make_the_candle(road: CandleTrades) -> None:
    trades, bar = road.trades(0, 1 << 50), road.bar
    assert [trade.ts_ms for trade in trades] == sorted({trade.ts_ms for trade in trades})
    if bar.volume < 0.02:
        return  # moments without volume trade only where the price moved
    prices = [trade.price for trade in trades]
    assert max([*prices, bar.open]) == bar.high
    assert min([*prices, bar.open]) == bar.low
    assert trades[-1].price == bar.close
    extra = round(sum(trade.qty for trade in trades) - bar.volume, 9)
    assert 0.0 <= extra <= 0.001 * len(trades)  # a price that moved without volume trades one lot


@given(roads(), st.integers(0, MINUTE_MS - 1))
def test_an_open_candle_is_made_of_the_trades_so_far(road: CandleTrades, into_ms: int) -> None:
    now_ms = road.start_ms + into_ms
    candle, last = road.candle(now_ms), road.latest_trade(now_ms)
    seen = [road.price(at) for at in road.moments(0, now_ms)]
    assert last <= now_ms
    assert candle.close == road.price(last) == seen[-1]
    assert (candle.high, candle.low) == (max(seen), min(seen))
    assert candle.volume <= road.bar.volume


@given(roads(), st.integers(0, MINUTE_MS - 1))
def test_trades_told_in_two_parts_are_those_told_at_once(road: CandleTrades, cut_ms: int) -> None:
    cut = road.start_ms + cut_ms
    assert road.trades(0, cut) + road.trades(cut, 1 << 50) == road.trades(0, 1 << 50)


@given(roads())
def test_finer_candles_cut_from_one_have_its_prices_and_volume(road: CandleTrades) -> None:
    step, end = 20_000, road.end_ms
    pieces = [road.piece(at, at + step, end) for at in range(road.start_ms, end, step)]
    bar = road.bar
    assert (pieces[0].open, pieces[-1].close) == (bar.open, bar.close)
    assert max(piece.high for piece in pieces) == bar.high
    assert min(piece.low for piece in pieces) == bar.low
    assert abs(sum(piece.volume for piece in pieces) - bar.volume) < 1e-9


def test_prices_off_the_tick_stay_within_the_candle() -> None:
    road = candle_trades(
        Bar("BTCUSDT", MINUTE_MS, 0, 100.3, 100.4, 100.2, 100.3, 60.0, 6_000.0), every_ms=500
    )
    assert {road.price(at) for at in road.moments(-1, MINUTE_MS)} <= {100.2, 100.3, 100.4}


def test_a_buyer_takes_where_the_price_rises() -> None:
    bar = Bar("BTCUSDT", MINUTE_MS, 0, 100.0, 110.0, 100.0, 110.0, 60.0, 6_300.0)
    trades = candle_trades(bar, before=100.0).trades(-1, MINUTE_MS)
    rising = [trade for trade in trades if trade.direction == "PlusTick"]
    assert rising
    assert {trade.side for trade in rising} == {"Buy"}
