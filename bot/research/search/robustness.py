"""How much of one backtest is luck: a permutation test of its signal, and a bootstrap of its trades. Pure."""

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TRADES_MIN = 10
"""Fewer trades say nothing about the next ones."""
BARS_MIN = 50
"""Fewer bars leave too few shifts."""
STEADY = 0.05
"""A position whose deviation is a smaller share of its size is held, not timed."""
DRAWS = 2_000
PERCENTILES = (5, 25, 50, 75, 95)
_CELLS = 2_000_000
"""Numbers that one step of the bootstrap holds at a time."""


class SignalTest(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the moments of the positions matter.

    Attributes:
        earned: sum over bars of position × return, before costs, as a fraction of equity.
        expected: the mean of the same over all shifts: what these positions earn without timing.
        p_value: the share of shifts that earn at least as much.
        shifts: how many shifts there are, the true one included.
    """

    earned: float
    expected: float
    p_value: float
    shifts: int


def judge_signal(positions: Floats, returns: Floats) -> SignalTest | None:
    """Test the signal by shifting the positions in time against the returns; None if there is none to test.

    ``positions`` (T, symbols) is the value held during each bar as a fraction of equity, decided before the
    bar; ``returns`` (T, symbols) are the bars' own. All positions are moved together by s bars, around the
    end, for every s = 0 … T − 1. With S(s) = Σ positions[t] · returns[(t + s) mod T],

        p = #{s : S(s) ≥ S(0)} / T.

    If the positions know nothing of the returns, every shift is as likely as the true one, and p is uniform:
    at most 5 % of strategies without skill have p ≤ 0.05. A shift keeps what is not skill: how much is held,
    how long, on which side, and how quiet and wild times follow each other; so the drift of the market earns
    nothing here. All shifts are taken, so there is no chance in the result and no seed. It is a test of
    timing, before costs.

    Source: Lotwick and Silverman 1982, J. R. Stat. Soc. B 44, 406 (shifts around the end); Aronson 2006,
    Evidence-Based Technical Analysis, ch. 6 (permutation of a rule's positions); Phipson and Smyth 2010,
    Stat. Appl. Genet. Mol. Biol. 9, 39 (the true one counts).
    """
    bars = len(positions)
    size = np.sqrt((positions**2).mean(axis=0))
    if bars < BARS_MIN or not (positions.std(axis=0) > STEADY * size).any():
        return None
    spectrum = np.conj(np.fft.rfft(positions, axis=0)) * np.fft.rfft(returns, axis=0)
    earned = np.fft.irfft(spectrum.sum(axis=1), bars)
    rounding = 1e-12 * float(np.abs(positions).sum() * np.abs(returns).max(initial=0.0)) + 1e-15
    as_good = int(np.count_nonzero(earned >= earned[0] - rounding))
    return SignalTest(
        earned=float(earned[0]), expected=float(earned.mean()), p_value=as_good / bars, shifts=bars
    )


class TradeLuck(msgspec.Struct, frozen=True, kw_only=True):
    """What the same trades could have come to, drawn again.

    Attributes:
        trades: how many trades there are.
        draws: how many histories were drawn.
        total_return: of the drawn histories, by percentile; a fraction.
        max_drawdown: of the drawn histories, by percentile; a fraction below 0.
        loss_probability: the share of histories that lose money.
        deeper_probability: the share with a deeper drawdown than the trades had in their own order.
    """

    trades: int
    draws: int
    total_return: dict[str, float]
    max_drawdown: dict[str, float]
    loss_probability: float
    deeper_probability: float


def resample_trades(returns: Floats, *, seed: int, draws: int = DRAWS) -> TradeLuck | None:
    """Draw as many trades as there are, with replacement, ``draws`` times; None for too few trades.

    ``returns`` (n,) are results after costs over the equity at the entry. A drawn history compounds them:
    equity after k trades is Π (1 + r), its drawdown is measured from trade to trade. Trades are taken as
    independent of each other, and a drawdown inside a trade is not seen, so the truth is rather worse.

    Source: the bootstrap, Efron 1979, Ann. Statist. 7, 1.
    """
    if len(returns) < TRADES_MIN:
        return None
    rng = np.random.default_rng(seed)
    size = max(1, _CELLS // len(returns))
    totals, depths = [], []
    for first in range(0, draws, size):
        picked = rng.integers(0, len(returns), (min(size, draws - first), len(returns)))
        total, depth = _walked(returns[picked])
        totals.append(total)
        depths.append(depth)
    total, depth = np.concatenate(totals), np.concatenate(depths)
    _, own = _walked(returns[None, :])
    return TradeLuck(
        trades=len(returns),
        draws=draws,
        total_return=_percentiles(total),
        max_drawdown=_percentiles(depth),
        loss_probability=float((total < 0.0).mean()),
        deeper_probability=float((depth < own[0] - 1e-12).mean()),
    )


def _walked(returns: Floats) -> tuple[Floats, Floats]:
    """Return total return and deepest drawdown of histories ``(draws, n)`` of trades."""
    grown = np.maximum(1.0 + returns, 0.0).cumprod(axis=1)  # a trade loses all at most
    peak = np.maximum(np.maximum.accumulate(grown, axis=1), 1.0)
    return grown[:, -1] - 1.0, (grown / peak - 1.0).min(axis=1)


def _percentiles(values: Floats) -> dict[str, float]:
    found = np.percentile(values, PERCENTILES)
    return {f"p{each}": float(value) for each, value in zip(PERCENTILES, found, strict=True)}
