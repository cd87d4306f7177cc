"""Prices of quiet symbols are thinned; no decision misses the latest one."""

from bot.domain.messages import Event, MarkPrice, Quote
from bot.service.quiet import QuietMarkets
from bot.strategy.signal import Target
from tests.engine.scripted import engine, long_at
from tests.helpers import T0, bar, closed


def quote(ms: int, bid: float = 100.0) -> Quote:
    return Quote(T0 + ms, "BTCUSDT", bid, bid + 0.1)


def given(quiet: QuietMarkets, *events: Event) -> list[Event]:
    return [each for event in events for each in quiet.give_out(event)]


def test_a_quiet_symbol_gives_one_price_of_a_kind_in_a_while() -> None:
    quiet = QuietMarkets(engine({}).state, 1_000)
    prices = [quote(ms) for ms in range(0, 3_000, 100)]
    assert given(quiet, *prices) == [quote(0), quote(1_000), quote(2_000)]
    assert quiet.held_back == 24
    assert given(quiet, MarkPrice(T0 + 2_100, "BTCUSDT", 1.0)) == [MarkPrice(T0 + 2_100, "BTCUSDT", 1.0)]


def test_the_latest_price_held_back_comes_before_any_other_event() -> None:
    quiet = QuietMarkets(engine({}).state, 1_000)
    close = closed(bar(0))
    assert given(quiet, quote(0), quote(100), quote(200, 101.0), close) == [
        quote(0),
        quote(200, 101.0),
        close,
    ]
    assert given(quiet, close) == [close]


def test_every_price_of_a_symbol_with_a_position_is_given_out() -> None:
    one = engine({0: Target(1.0)})
    long_at(one)
    quiet = QuietMarkets(one.state, 1_000)
    prices = [quote(ms) for ms in range(0, 1_000, 100)]
    assert given(quiet, *prices) == prices


def test_a_price_from_before_the_last_one_is_not_held_back_for_ever() -> None:
    quiet = QuietMarkets(engine({}).state, 1_000)
    assert given(quiet, quote(5_000), quote(4_000)) == [quote(5_000), quote(4_000)]


def test_nothing_is_thinned_at_0() -> None:
    quiet = QuietMarkets(engine({}).state, 0)
    prices = [quote(ms) for ms in range(3)]
    assert given(quiet, *prices) == prices
