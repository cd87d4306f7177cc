"""Indicators by TA-Lib's names: their values, their warm-up, and that no later bar changes one."""

import numpy as np
import pytest
import talib
from numpy.lib.stride_tricks import sliding_window_view

from bot.domain.errors import BadUsage
from bot.features import indicators as ta
from bot.features.indicators import Op, close, high, low, volume
from bot.features.spec import FeatureSet
from tests.features.series import M5, Series, candles

BARS = 1500
SERIES = candles(BARS)
_, H, L, C, V = SERIES.ohlcv.T


def windows(x: np.ndarray, n: int) -> np.ndarray:
    """The last n values at each bar; NaN before there are n."""
    return np.vstack([np.full((n - 1, n), np.nan), sliding_window_view(x, n)])


def before(x: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([np.full(n, np.nan), x[:-n]])


def mean_of(x: np.ndarray, n: int, alpha: float) -> np.ndarray:
    """An exponential mean in a plain loop, seeded with the mean of the first n known values."""
    out = np.full(len(x), np.nan)
    first = int(np.flatnonzero(~np.isnan(x))[0]) + n - 1
    out[first] = x[first - n + 1 : first + 1].mean()
    for i in range(first + 1, len(x)):
        out[i] = out[i - 1] + alpha * (x[i] - out[i - 1])
    return out


def wilder(x: np.ndarray, n: int) -> np.ndarray:
    return mean_of(x, n, 1.0 / n)


def ema(x: np.ndarray, n: int) -> np.ndarray:
    return mean_of(x, n, 2.0 / (n + 1))


RANGE = np.maximum(H, before(C, 1)) - np.minimum(L, before(C, 1))
RISE, FALL = H - before(H, 1), before(L, 1) - L
UP, DOWN = (
    np.where(np.isnan(a), np.nan, np.where((a > b) & (a > 0.0), a, 0.0))
    for a, b in ((RISE, FALL), (FALL, RISE))
)
PLUS, MINUS = (100.0 * wilder(x, 14) / wilder(RANGE, 14) for x in (UP, DOWN))
DX = 100.0 * np.abs(PLUS - MINUS) / (PLUS + MINUS)
MOVE = C - before(C, 1)
LINE = ema(C, 12) - ema(C, 26)

CASES: dict[str, tuple[Op, np.ndarray, np.ndarray | None]] = {
    "lag": (ta.lag(close, 3), before(C, 3), None),
    "sma": (ta.sma(close, 20), windows(C, 20).mean(axis=1), talib.SMA(C, 20)),
    "ema": (ta.ema(close, 20), ema(C, 20), talib.EMA(C, 20)),
    "rsi": (
        ta.rsi(close, 14),
        100.0 * wilder(np.maximum(MOVE, 0.0), 14) / wilder(np.abs(MOVE), 14),
        talib.RSI(C, 14),
    ),
    "macd": (ta.macd(close).line, LINE, talib.MACD(C)[0]),
    "macd signal": (ta.macd(close).signal, ema(LINE, 9), talib.MACD(C)[1]),
    "macd histogram": (ta.macd(close).histogram, LINE - ema(LINE, 9), talib.MACD(C)[2]),
    "upper band": (
        ta.bbands(close, 20).upper,
        windows(C, 20).mean(axis=1) + 2.0 * windows(C, 20).std(axis=1),
        talib.BBANDS(C, 20)[0],
    ),
    "lower band": (
        ta.bbands(close, 20, 1.5).lower,
        windows(C, 20).mean(axis=1) - 1.5 * windows(C, 20).std(axis=1),
        talib.BBANDS(C, 20, 1.5, 1.5)[2],
    ),
    "stddev": (ta.stddev(close, 20, 2.0), 2.0 * windows(C, 20).std(axis=1), talib.STDDEV(C, 20, 2.0)),
    "mom": (ta.mom(close, 10), C - before(C, 10), talib.MOM(C, 10)),
    "roc": (ta.roc(close, 10), 100.0 * (C - before(C, 10)) / before(C, 10), talib.ROC(C, 10)),
    "lowest": (ta.lowest(low, 30), windows(L, 30).min(axis=1), talib.MIN(L, 30)),
    "highest": (ta.highest(high, 30), windows(H, 30).max(axis=1), talib.MAX(H, 30)),
    "willr": (
        ta.willr(14),
        -100.0 * (windows(H, 14).max(axis=1) - C) / (windows(H, 14).max(axis=1) - windows(L, 14).min(axis=1)),
        talib.WILLR(H, L, C, 14),
    ),
    "trange": (ta.trange(), RANGE, talib.TRANGE(H, L, C)),
    "atr": (ta.atr(14), wilder(RANGE, 14), talib.ATR(H, L, C, 14)),
    "natr": (ta.natr(14), 100.0 * wilder(RANGE, 14) / C, talib.NATR(H, L, C, 14)),
    "plus_di": (ta.plus_di(14), PLUS, talib.PLUS_DI(H, L, C, 14)),
    "minus_di": (ta.minus_di(14), MINUS, talib.MINUS_DI(H, L, C, 14)),
    "dx": (ta.dx(14), DX, talib.DX(H, L, C, 14)),
    "adx": (ta.adx(14), wilder(DX, 14), talib.ADX(H, L, C, 14)),
    "arithmetic": (
        2.0 * (ta.lag(close) - 1.0) / (close + high) - (3.0 - volume) * -low,
        2.0 * (before(C, 1) - 1.0) / (C + H) - (3.0 - V) * -L,
        None,
    ),
}
SET = FeatureSet("all", M5, tuple((name, op) for name, (op, _, _) in CASES.items()))


def column(series: Series, name: str) -> np.ndarray:
    return series.replay(SET)[:, SET.names.index(name)]


@pytest.mark.parametrize("name", CASES)
def test_an_indicator_is_what_a_plain_loop_says_once_it_is_known(name: str) -> None:
    op, plain, theirs = CASES[name]
    ours = column(SERIES, name)
    known = ~np.isnan(ours)
    assert known.argmax() == op.warmup - 1
    assert known[op.warmup - 1 :].all()
    # Seeds differ; what is left of one is below 1e-6 of it. Values near 0 are judged by the usual size.
    scale = np.nanmean(np.abs(plain))
    np.testing.assert_allclose(ours[known], plain[known], rtol=0.0, atol=3e-6 * scale)
    if theirs is not None:
        np.testing.assert_allclose(ours[known], theirs[known], rtol=0.0, atol=3e-6 * scale)


def test_streamed_and_vectorised_values_agree() -> None:
    streamed, vectorised = SERIES.replay(SET), SERIES.compute(SET)
    scale = np.nanmean(np.abs(streamed), axis=0)
    assert np.nanmax(np.abs(streamed - vectorised) / scale) < 1e-10
    np.testing.assert_array_equal(np.isnan(streamed), np.isnan(vectorised))


def test_the_future_cannot_change_the_past() -> None:
    cut = 1200
    changed = candles(BARS)
    changed.ohlcv[cut:] *= 3.0
    np.testing.assert_array_equal(changed.replay(SET)[:cut], SERIES.replay(SET)[:cut])


def test_a_market_that_does_not_move_has_finite_values() -> None:
    still = candles(BARS)
    still.ohlcv[:, :4] = 100.0
    assert np.isfinite(still.replay(SET)[-1]).all()
    assert column(still, "rsi")[-1] == 50.0
    assert column(still, "willr")[-1] == 0.0
    assert column(still, "adx")[-1] == 0.0


def test_a_quotient_keeps_its_sign_and_is_0_where_the_divisor_is_0() -> None:
    move = ta.mom(close, 1)
    one = FeatureSet("quotient", M5, (("q", close / move), ("move", move)))
    still = candles(50)
    still.ohlcv[20:, :4] = 100.0
    quotient, moved = still.replay(one).T
    np.testing.assert_allclose(quotient[1:20], still.ohlcv[1:20, 3] / moved[1:20])
    assert (quotient[21:] == 0.0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ta.ema(close, 1),
        lambda: ta.sma(close, 0),
        lambda: ta.rsi(close, 2.5),  # type: ignore[arg-type]
        lambda: ta.atr(-3),
        lambda: ta.past(np.ptp, 0, close),
        lambda: ta.past(np.ptp, 5, 3.0),  # type: ignore[arg-type]
    ],
)
def test_a_length_that_cannot_be_is_refused_with_its_value(make: object) -> None:
    with pytest.raises(BadUsage, match=r"was (given )?[-\d.]+$"):
        make()  # type: ignore[operator]
