import random

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.market import MINUTE_MS, Bar
from bot.domain.messages import BarsClosed
from bot.feed.barrier import CloseBarrier
from tests.feed.test_sequence import bar, close_ms
from tests.helpers import T0

SYMBOLS = ("ADAUSDT", "BTCUSDT", "ETHUSDT")


def barrier() -> CloseBarrier:
    return CloseBarrier(dict.fromkeys(SYMBOLS, T0), MINUTE_MS, decided_ms=T0)


def bars_of(i: int, *symbols: str) -> list[Bar]:
    return [bar(i, symbol=symbol) for symbol in symbols]


def test_a_close_is_complete_with_its_last_symbol_and_in_symbol_order() -> None:
    gate = barrier()
    gate.add(bars_of(0, "ETHUSDT", "ADAUSDT"))
    assert gate.complete(seen_ms=1) == []
    assert gate.waited_for == close_ms(0)
    assert gate.missing(close_ms(0)) == ["BTCUSDT"]
    gate.add(bars_of(0, "BTCUSDT"))
    assert gate.complete(seen_ms=1) == [
        BarsClosed(close_ms(0), MINUTE_MS, tuple(bars_of(0, *SYMBOLS)), 1, True)
    ]
    assert gate.complete(seen_ms=2) == []


def test_a_symbol_too_late_skips_the_decision_and_is_told_all_the_same() -> None:
    gate = barrier()
    gate.add(bars_of(0, "ADAUSDT", "ETHUSDT"))
    (closed,) = gate.decide(close_ms(0), seen_ms=5, live=True)
    assert closed.bars == tuple(bars_of(0, "ADAUSDT", "ETHUSDT"))
    gate.add(bars_of(0, "BTCUSDT"))
    assert gate.complete(6) == []
    assert gate.late() == [BarsClosed(close_ms(0), MINUTE_MS, tuple(bars_of(0, "BTCUSDT")), 0, False)]
    assert gate.late() == []


def test_a_symbol_that_is_behind_is_not_waited_for() -> None:
    gate = barrier()
    gate.add(bars_of(0, "ADAUSDT", "ETHUSDT"))
    gate.decide(close_ms(0), seen_ms=5, live=True)
    gate.add(bars_of(1, "ADAUSDT", "ETHUSDT"))
    assert [closed.close_ms for closed in gate.complete(7)] == [close_ms(1)]
    gate.add([bar(0, symbol="BTCUSDT"), bar(1, symbol="BTCUSDT")])
    assert [closed.close_ms for closed in gate.late()] == [close_ms(0), close_ms(1)]
    gate.add(bars_of(2, "ADAUSDT", "ETHUSDT"))
    assert gate.complete(8) == []  # in step again: waited for again
    gate.add(bars_of(2, "BTCUSDT"))
    assert len(gate.complete(8)) == 1


def test_a_symbol_given_up_for_a_while_is_not_waited_for() -> None:
    gate = barrier()
    gate.skip("BTCUSDT", bar(5).start_ms)
    gate.add(bars_of(0, "ADAUSDT", "ETHUSDT"))
    assert len(gate.complete(1)) == 1


def test_a_close_without_any_bar_is_decided_by_saying_nothing() -> None:
    gate = barrier()
    assert gate.decide(close_ms(0), 1, live=True) == []
    gate.add(bars_of(0, *SYMBOLS))
    assert [closed.live for closed in gate.late()] == [False]


@given(st.integers(0, 2**32))
def test_whatever_the_arrivals_each_bar_is_told_once_and_closes_rise(seed: int) -> None:
    rng = random.Random(seed)
    gate, closes = barrier(), 12
    left = {symbol: list(range(closes)) for symbol in SYMBOLS}
    told: list[BarsClosed] = []
    while any(left.values()):
        symbol = rng.choice([symbol for symbol, bars in left.items() if bars])
        for _ in range(rng.choice([1, 1, 1, 3])):
            if left[symbol]:
                gate.add([bar(left[symbol].pop(0), symbol=symbol)])
        told += gate.late() + gate.complete(1)
        if rng.random() < 0.1 and gate.waited_for is not None:
            told += gate.decide(gate.waited_for, 1, live=True)
    told += gate.late() + gate.decide(close_ms(closes), 1, live=False)
    for symbol in SYMBOLS:
        starts = [each.start_ms for closed in told for each in closed.bars if each.symbol == symbol]
        assert starts == [bar(i).start_ms for i in range(closes)]
    live = [closed.close_ms for closed in told if closed.live]
    assert live == sorted(set(live))
    assert all(each.close_ms == closed.close_ms for closed in told for each in closed.bars)
