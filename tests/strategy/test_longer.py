"""Longer bars are made from whole bars as these close, and from nothing else."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bot
from bot.adapters.files.candles import Candles
from bot.domain.errors import BadUsage
from bot.domain.market import DAY_MS, HOUR_MS, Bar
from bot.engine.core import Assignment, Engine
from bot.risk.limits import Limits
from bot.strategy.longer import LongerBar, longer_warmup_bars
from bot.strategy.signal import Target, View
from tests.helpers import bar, closed, instrument
from tests.lab.market import candles, part

FIVE_MS = 300_000


class Notes:
    """Notes what it is shown, and holds while the last two hours rose."""

    longer_bars = ("1h", "2h", "1d")

    def __init__(self) -> None:
        self.shown: list[tuple[int, dict[str, Bar | None]]] = []

    def on_bar(self, view: View) -> Target | None:
        self.shown.append((view.bar.close_ms, dict(view.longer)))
        last = view.longer["2h"]
        return Target(0.01 if last is not None and last.close > last.open else 0.0)


class Keeps(Notes):
    def state(self) -> None:
        return None

    def restore(self, state: None) -> None:
        pass


def shown(market: Candles) -> list[tuple[int, dict[str, Bar | None]]]:
    engine = Engine([Assignment(instrument(), FIVE_MS, notes := Notes(), 12.0)], Decimal(10_000), Limits())
    for each in market.bars(0, len(market)):
        engine.handle(closed(each))
    return notes.shown


def by_pandas(market: Candles, length_ms: int) -> dict[int, tuple[float, ...]]:
    """The whole longer bars by the time of their close."""
    frame = market.to_arrow().to_pandas()
    table = frame.groupby(frame["start_ms"] // length_ms).agg(
        open=("open", "first"), high=("high", "max"), low=("low", "min"), close=("close", "last"),
        volume=("volume", "sum"), count=("close", "size"),
    )  # fmt: skip
    whole = table[table["count"] == length_ms // FIVE_MS]
    return {(int(key) + 1) * length_ms: row[:5] for key, *row in whole.itertuples(name=None)}


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, 699), max_size=6), st.integers(0, 40))
def test_they_are_those_of_pandas_and_none_where_a_bar_is_missing(missing: set[int], first: int) -> None:
    whole = candles(700)
    rows = np.array([row for row in range(first, 700) if row not in missing])
    market = Candles.make("BTCUSDT", FIVE_MS, whole.start_ms[rows], whole.ohlcv[rows])
    for length_ms in (HOUR_MS, 4 * HOUR_MS, DAY_MS):
        one, wanted = LongerBar("", length_ms), by_pandas(market, length_ms)
        for each in market.bars(0, len(market)):
            seen, due = one.add(each), wanted.get(each.close_ms // length_ms * length_ms)
            assert (seen is None) == (due is None)
            if seen is not None and due is not None:
                assert [seen.open, seen.high, seen.low, seen.close] == list(due[:4])
                assert seen.volume == pytest.approx(due[4], rel=1e-12)


def test_a_longer_bar_is_seen_at_the_close_of_its_last_bar_and_not_before() -> None:
    told = dict(shown(candles(30)))
    first_ms = min(told) - FIVE_MS
    assert told[first_ms + HOUR_MS - FIVE_MS]["1h"] is None
    seen = told[first_ms + HOUR_MS]["1h"]
    assert seen is not None
    assert (seen.start_ms, seen.close_ms, seen.symbol) == (first_ms, first_ms + HOUR_MS, "BTCUSDT")


def test_a_hole_hides_the_longer_bar_that_it_is_in_and_no_other() -> None:
    whole = candles(48)
    rows = np.array([row for row in range(48) if row != 17])
    market = Candles.make("BTCUSDT", FIVE_MS, whole.start_ms[rows], whole.ohlcv[rows])
    begins = [None if each is None else each.start_ms for each in (told["1h"] for _, told in shown(market))]
    hour = [int(whole.start_ms[0]) + HOUR_MS * index for index in range(4)]
    assert begins == [None] * 11 + [hour[0]] * 11 + [None] * 12 + [hour[2]] * 12 + [hour[3]]


def test_the_future_cannot_change_the_past() -> None:
    market = candles(400)
    changed = market.ohlcv.copy()
    changed[250:] *= 2.0
    other = Candles.make("BTCUSDT", FIVE_MS, market.start_ms, changed)
    assert shown(market)[:250] == shown(other)[:250]
    whole = bot.backtest(market, Keeps, instrument="exact").fills.to_pylist()
    past = bot.backtest(part(market, 0, 300), Keeps, instrument="exact").fills.to_pylist()
    cut_ms = int(market.start_ms[299])
    assert [each for each in whole if each["ts_ms"] < cut_ms] == [
        each for each in past if each["ts_ms"] < cut_ms
    ]
    assert len(past) > 1


def test_they_survive_a_restart_at_any_bar() -> None:
    market = candles(60)
    told = shown(market)

    def engine() -> tuple[Engine, Notes]:
        one = Keeps()
        return Engine([Assignment(instrument(), FIVE_MS, one, 12.0)], Decimal(10_000), Limits()), one

    cut, notes = engine()
    for index, each in enumerate(market.bars(0, len(market))):
        cut.handle(closed(each))
        assert notes.shown[-1] == told[index]
        body = cut.snapshot()
        digest = cut.state.digest()
        cut, notes = engine()
        cut.restore(body)
        assert cut.state.symbols["BTCUSDT"].view.longer == told[index][1]
        assert (cut.snapshot(), cut.state.digest()) == (body, digest)


def test_a_snapshot_of_other_lengths_leaves_them_as_they_are() -> None:
    class Others(Keeps):
        longer_bars = ("1h",)

    one = Engine([Assignment(instrument(), FIVE_MS, Others(), 12.0)], Decimal(10_000), Limits())
    other = Engine([Assignment(instrument(), FIVE_MS, Keeps(), 12.0)], Decimal(10_000), Limits())
    for index in range(12):
        one.handle(closed(bar(index)))
    other.restore(one.snapshot())
    assert other.state.symbols["BTCUSDT"].view.longer == {"1h": None, "2h": None, "1d": None}


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (("4 h",), "Wrong.longer_bars: there are no bars of '4 h'; did you mean 4h"),
        (("1w",), "there are no bars of '1w'; there are 1m, "),
        ("4h", r"Wrong.longer_bars must be a tuple such as \(\"4h\", \"1d\"\), was '4h'"),
        (("1m",), "1m cannot be made from bars of 5m; give bars that divide it"),
        (5, "must be a tuple"),
        ((7,), "there are no bars of 7"),
    ],
)
def test_a_length_that_cannot_be_is_refused(declared: object, words: str) -> None:
    class Wrong(Notes):
        longer_bars = declared  # type: ignore[assignment]

    with pytest.raises(BadUsage, match=words):
        Engine([Assignment(instrument(), FIVE_MS, Wrong(), 12.0)], Decimal(1), Limits())


def test_bars_that_do_not_divide_a_length_are_refused() -> None:
    class Wrong(Notes):
        longer_bars = ("5m",)

    with pytest.raises(BadUsage, match="5m cannot be made from bars of 3m"):
        Engine([Assignment(instrument(), 180_000, Wrong(), 12.0)], Decimal(1), Limits())


def test_the_warm_up_reaches_back_to_a_whole_one_of_each() -> None:
    assert longer_warmup_bars(Notes, 60_000) == 2 * 24 * 60
    assert longer_warmup_bars(object, 60_000) == 0
    whole = candles(700)
    for first in range(0, 280, 23):
        one = LongerBar("1d", DAY_MS)
        found = [one.add(each) for each in part(whole, first, 700).bars(0, 700 - first)][: 2 * 288]
        assert any(each is not None for each in found)
