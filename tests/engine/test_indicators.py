"""Indicators that a strategy declares: what it sees, live and in a history, over holes and restarts."""

from collections.abc import Mapping
from decimal import Decimal
from math import isnan

import msgspec
import numpy as np
import pytest

from bot.domain.errors import BadInput, BadUsage
from bot.domain.market import Bar
from bot.domain.messages import FundingRate, StrategyStopped
from bot.engine.core import Assignment, Engine
from bot.engine.indicators import Indicators, rates_at
from bot.features.indicators import Past, close, ema, high, lag, macd, past, rsi, sma, volume
from bot.features.ops import FUNDING, Input
from bot.risk.limits import Limits
from bot.strategy import Target, View
from bot.strategy.indicators import indicator_warmup_bars
from tests.helpers import bar, closed, instrument, walk

FIVE = 300_000
DECLARED = {
    "fast": ema(close, 5),
    "trend": ema(close, 5) - sma(close, 12),
    "rsi": rsi(close, 4),
    "line": macd(close, 3, 6, 3).line,
    "funding": FUNDING,
    "swing": past(np.ptp, 7),
    "tilt": past(lambda a, b: float((a * b).sum()), 3, lag(close), volume),
}


def closes(count: int, seed: int = 5) -> list[float]:
    return (100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, count)))).tolist()


class Watcher:
    """Notes what it sees, and wants what has its name in ``wish``."""

    indicators: Mapping[str, object] = DECLARED

    def __init__(self) -> None:
        self.seen: list[tuple[bool, dict[str, float]]] = []

    def on_bar(self, view: View) -> Target | None:
        self.seen.append((view.warm, dict(view.ind)))
        return None


def engine(strategy: object, computed: Mapping[str, Indicators] | None = None) -> Engine:
    assignment = Assignment(instrument(), FIVE, strategy, 11.0)  # type: ignore[arg-type]
    return Engine([assignment], Decimal(10_000), Limits(), indicators=computed)


def seen(one: Engine, bars: list[Bar]) -> list[tuple[bool, dict[str, float]]]:
    strategy = one.state.symbols["BTCUSDT"].strategy
    already = len(strategy.seen)  # type: ignore[attr-defined]
    for index, each in enumerate(bars):
        if not index % 10:
            one.handle(FundingRate(each.start_ms, "BTCUSDT", Decimal(index) / 10_000))
        one.handle(closed(each))
    return strategy.seen[already:]  # type: ignore[attr-defined,no-any-return]


def with_hole(count: int = 260, at: int = 150) -> list[Bar]:
    bars = walk(closes(count))
    return bars[:at] + [msgspec.structs.replace(b, start_ms=b.start_ms + 3 * FIVE) for b in bars[at:]]


def test_what_is_streamed_is_to_the_bit_what_is_computed_for_the_whole_history() -> None:
    bars = with_hole()
    start_ms = np.array([b.start_ms for b in bars])
    ohlcv = np.array([(b.open, b.high, b.low, b.close, b.volume) for b in bars])
    funding = rates_at(start_ms + FIVE, start_ms[::10], np.arange(0, 260, 10) / 10_000)
    computed = Indicators(Watcher(), FIVE, (start_ms, ohlcv, funding))
    streamed = seen(engine(Watcher()), bars)
    assert repr(seen(engine(Watcher(), {"BTCUSDT": computed}), bars)) == repr(streamed)
    assert streamed[-1][0]


def test_warm_is_said_from_the_bar_on_that_the_declaration_names() -> None:
    need = indicator_warmup_bars(Watcher)
    told = seen(engine(Watcher()), walk(closes(need + 3)))
    assert [warm for warm, _ in told] == [False] * (need - 1) + [True] * 4
    assert any(isnan(value) for value in told[need - 2][1].values())
    assert not any(isnan(value) for value in told[need - 1][1].values())


def test_a_hole_makes_every_indicator_unknown_again_that_reads_a_past() -> None:
    told = seen(engine(Watcher()), with_hole())
    assert told[149][0]
    assert not told[150][0]
    assert {name for name, value in told[150][1].items() if not isnan(value)} == {"funding"}
    fresh = seen(engine(Watcher()), with_hole()[150:])
    assert repr([ind["trend"] for _, ind in told[150:]]) == repr([ind["trend"] for _, ind in fresh])
    assert repr([ind["tilt"] for _, ind in told[150:]]) == repr([ind["tilt"] for _, ind in fresh])


def test_a_function_of_past_closes_sees_its_window_and_nothing_else() -> None:
    prices = closes(30)
    told = seen(engine(Watcher()), walk(prices))
    assert isnan(told[5][1]["swing"])
    assert [ind["swing"] for _, ind in told[6:]] == [np.ptp(prices[i - 6 : i + 1]) for i in range(6, 30)]


def test_the_future_cannot_change_what_a_strategy_has_seen() -> None:
    prices = closes(120)
    other = prices[:80] + [3.0 * each for each in prices[80:]]
    one, two = (seen(engine(Watcher()), walk(each)) for each in (prices, other))
    assert repr(one[:80]) == repr(two[:80])
    assert repr(one[80]) != repr(two[80])


@pytest.mark.parametrize("cut", [1, 3, 40, 149, 150, 152, 199])
def test_a_restart_at_any_bar_changes_no_value(cut: int) -> None:
    bars = with_hole()
    whole, before, after = engine(Watcher()), engine(Watcher()), engine(Watcher())
    told = seen(whole, bars[: cut + 1])
    seen(before, bars[:cut])
    after.restore(before.snapshot())
    assert after.state.digest() == before.state.digest()
    one, two = (each.handle(closed(bars[cut])) for each in (before, after))
    assert one == two
    last = [each.state.symbols["BTCUSDT"].strategy.seen[-1] for each in (before, after)]  # type: ignore[attr-defined]
    assert repr(last[0]) == repr(last[1])
    if cut % 10:  # no new funding rate
        assert repr(last[0]) == repr(told[-1])
    assert after.snapshot() == before.snapshot()


def test_a_snapshot_of_other_indicators_is_refused() -> None:
    class Other(Watcher):
        indicators: Mapping[str, object] = {**DECLARED, "fast": ema(close, 6)}

    before = engine(Watcher())
    seen(before, walk(closes(20)))
    with pytest.raises(BadInput, match="indicators of BTCUSDT were declared otherwise"):
        engine(Other()).restore(before.snapshot())


def test_indicators_may_depend_on_the_parameters_of_the_constructor() -> None:
    class Tuned(Watcher):
        def __init__(self, bars: int) -> None:
            super().__init__()
            self.indicators = {"fast": sma(close, bars)}

    assert indicator_warmup_bars(Tuned(9)) == 9
    told = seen(engine(Tuned(9)), walk(closes(10)))
    assert [warm for warm, _ in told] == [False] * 8 + [True] * 2


def test_a_function_that_raises_stops_the_strategy_once_and_names_its_line() -> None:
    def fails(window: np.ndarray) -> float:
        raise ZeroDivisionError("in my indicator")

    class Failing(Watcher):
        indicators: Mapping[str, object] = {"mine": past(fails, 2), "fast": sma(close, 2)}

    one = engine(Failing())
    effects = [effect for each in walk(closes(5)) for effect in one.handle(closed(each))]
    (stopped,) = [each for each in effects if isinstance(each, StrategyStopped)]
    assert stopped.failure.error == "ZeroDivisionError: in my indicator"
    assert stopped.failure.file == "test_indicators.py"
    assert one.state.symbols["BTCUSDT"].view.ind["fast"] > 0.0  # the windows go on


def test_a_function_that_returns_no_number_is_named() -> None:
    class Wordy(Watcher):
        indicators: Mapping[str, object] = {"mine": past(lambda window: "up", 1)}

    one = engine(Wordy())
    one.handle(closed(*walk([100.0])))
    (failure,) = one.state.stopped.values()
    assert failure.error == "TypeError: indicators['mine'] must return a number, was 'up'"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_unknown(value: float) -> None:
    class Odd(Watcher):
        indicators: Mapping[str, object] = {"mine": past(lambda window: value, 1)}

    ((warm, ind),) = seen(engine(Odd()), walk([100.0]))
    assert not warm
    assert isnan(ind["mine"])


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ([ema(close, 5)], "must be a dict"),
        ({"fast": 12}, "must be made by bot.features.indicators"),
        ({"macd": macd(close)}, r"holds 3 indicators; choose one, such as \.line"),
        ({"other": Input("other_close")}, "a second symbol's bars"),
    ],
)
def test_what_is_no_indicator_is_refused_in_one_line(declared: object, words: str) -> None:
    class Odd(Watcher):
        indicators = declared  # type: ignore[assignment]

    with pytest.raises(BadUsage, match=words):
        engine(Odd())


@pytest.mark.parametrize(
    ("name", "declared", "words"),
    [
        ("swng", DECLARED, "no indicator has this name; did you mean 'swing'?"),
        ("zzz", {"fast": ema(close, 5)}, "no indicator has this name; declared are 'fast'"),
        ("fast", {}, "the strategy declares no indicators"),
    ],
)
def test_a_name_that_was_not_declared_is_an_error_in_one_line(
    name: str, declared: dict[str, object], words: str
) -> None:
    class Misspelt:
        indicators = declared

        def on_bar(self, view: View) -> None:
            assert view.ind[name] is None

    one = engine(Misspelt())
    one.handle(closed(bar(0)))
    assert one.state.stopped["BTCUSDT"].error == f"NotDeclared: view.ind[{name!r}]: {words}"


def test_each_symbol_has_indicators_of_its_own() -> None:
    assignments = [
        Assignment(instrument(symbol), FIVE, Watcher(), 11.0)  # type: ignore[arg-type]
        for symbol in ("BTCUSDT", "ETHUSDT")
    ]
    one = Engine(assignments, Decimal(10_000), Limits())
    for btc, eth in zip(walk(closes(10)), walk(closes(10, seed=6), "ETHUSDT"), strict=True):
        one.handle(closed(btc, eth))
    both = [each.view.ind["swing"] for each in one.state.symbols.values()]
    assert both == [np.ptp(closes(10, seed)[-7:]) for seed in (5, 6)]


def test_the_declaration_says_its_own_warm_up() -> None:
    assert past(np.ptp, 20, sma(high, 5)).warmup == 24
    assert isinstance(DECLARED["swing"], Past)
