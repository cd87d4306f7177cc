from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.adapters.files import shipped
from bot.adapters.model.checkpoint import Checkpoint, load
from bot.adapters.model.predictor import KernelPredictor
from bot.domain.errors import BadInput
from bot.domain.market import Bar, Forecast
from bot.engine.forecasting import Forecaster, ForecasterRecord
from bot.features.bridge import Bridge
from bot.features.stream import FeatureStream
from tests.helpers import walk
from tests.research import series


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    return load(shipped.model_path())


@pytest.fixture(scope="module")
def bars(model: Checkpoint) -> list[Bar]:
    rng = np.random.default_rng(4)
    return walk((100.0 * np.exp(np.cumsum(rng.normal(0, 0.001, model.warmup_bars + 20)))).tolist())


def warm(model: Checkpoint, bars: list[Bar]) -> Forecaster:
    """A forecaster that has seen what it needs, and the bar after it."""
    made = Forecaster(["BTCUSDT"], FeatureStream(model.feature_set, 1), KernelPredictor(model, 1))
    for bar in bars[: model.warmup_bars]:
        forecast = step(made, bar)
        assert (forecast is not None) == (bar is bars[model.warmup_bars - 1])
    return made


def step(forecaster: Forecaster, bar: Bar) -> Forecast | None:
    return forecaster.step([bar], [0.0])[0]


@pytest.mark.fault(12)
def test_a_forecast_is_given_from_the_last_warm_up_bar_on_and_again_after_a_hole(
    model: Checkpoint, bars: list[Bar]
) -> None:
    one, at = warm(model, bars), model.warmup_bars
    assert step(one, bars[at]) is not None
    assert step(one, bars[at + 2]) is None
    assert not one.is_warm("BTCUSDT")


def test_peeking_says_what_the_close_will_say_and_changes_nothing(model: Checkpoint, bars: list[Bar]) -> None:
    one, bar = warm(model, bars), bars[model.warmup_bars]
    peeked = [one.peek([bar], [0.0])[0] for _ in range(2)]
    assert peeked == [step(one, bar)] * 2
    assert peeked[0] is not None


def test_a_candle_told_late_or_after_a_hole_is_not_scored(model: Checkpoint, bars: list[Bar]) -> None:
    one, at = warm(model, bars), model.warmup_bars
    assert one.peek([bars[at - 1]], [0.0]) == [None]
    assert one.peek([bars[at + 1]], [0.0]) == [None]


# What survives the process

SYMBOLS = ["AUSDT", "BUSDT"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A small model that is warm after some 770 bars."""
    place: Path = tmp_path_factory.mktemp("tiny")
    return load(series.saved_model(place))


def made(model: Checkpoint, symbols: list[str] = SYMBOLS) -> Forecaster:
    count = len(symbols)
    bridge = Bridge(rewarm_bars=(0, 2), repay_bars=3)
    return Forecaster(symbols, FeatureStream(model.feature_set, count), KernelPredictor(model, count), bridge)


def reborn(model: Checkpoint, old: Forecaster) -> Forecaster:
    """A new forecaster that got the old one's record as JSON."""
    body = msgspec.json.encode(old.record())
    new = made(model)
    new.restore(msgspec.json.decode(body, type=ForecasterRecord))
    assert new.record().digest() == old.record().digest()
    return new


def closes(model: Checkpoint, count: int, holes: set[tuple[int, int]]) -> list[list[Bar]]:
    """Bars of both symbols by close; ``holes`` are (symbol, close) without a bar."""
    candles = [series.candles(count, seed) for seed in range(2)]
    made = []
    for at in range(count):
        bars = [
            Bar(symbol, model.interval_ms, int(each.start_ms[at]), *map(float, each.ohlcv[at]))
            for number, (symbol, each) in enumerate(zip(SYMBOLS, candles, strict=True))
            if (number, at) not in holes
        ]
        if bars:
            made.append(bars)
    return made


@settings(max_examples=12, deadline=None)
@given(
    cuts=st.frozensets(st.integers(1, 1599), min_size=1, max_size=5),
    holes=st.sets(st.tuples(st.integers(0, 1), st.integers(0, 1599)), max_size=3),
)
def test_forecasts_after_a_restore_are_equal_to_the_bit(
    tiny: Checkpoint, cuts: frozenset[int], holes: set[tuple[int, int]]
) -> None:
    whole, cut = made(tiny), made(tiny)
    given = 0
    for at, bars in enumerate(closes(tiny, 1600, holes)):
        rates = [0.0001 * (at % 3)] * len(bars)
        if at in cuts:
            cut = reborn(tiny, cut)
            assert cut.peek(bars, rates) == whole.peek(bars, rates)
        expected = whole.step(bars, rates)
        assert cut.step(bars, rates) == expected
        given += sum(each is not None for each in expected)
    assert cut.record().digest() == whole.record().digest()
    assert given


@pytest.mark.parametrize("at", [0, 5, 771, 772, 773])
def test_the_warm_up_goes_on_counting_where_it_was(tiny: Checkpoint, at: int) -> None:
    whole, cut = made(tiny), made(tiny)
    first = []
    for index, bars in enumerate(closes(tiny, tiny.warmup_bars + 3, set())):
        expected = whole.step(bars, [0.0, 0.0])
        assert cut.step(bars, [0.0, 0.0]) == expected
        if expected[0] is not None:
            first.append(index)
        if index == at:
            cut = reborn(tiny, cut)
    assert first[0] == tiny.warmup_bars - 1


def test_a_record_that_does_not_fit_is_refused(tiny: Checkpoint, model: Checkpoint) -> None:
    record = made(tiny).record()
    with pytest.raises(BadInput, match="forecasts were of AUSDT, BUSDT, not of BUSDT, AUSDT"):
        made(tiny, ["BUSDT", "AUSDT"]).restore(record)
    with pytest.raises(BadInput, match="another feature set"):
        made(model).restore(record)
    for broken in (
        {"features": b"123"},
        {"predictor": record.predictor[:-1]},
        {"bars_seen": (0,)},
        {"last_close": ()},
    ):
        with pytest.raises(BadInput):
            made(tiny).restore(msgspec.structs.replace(record, **broken))
