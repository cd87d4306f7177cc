"""Tests of forecasts by name: Diebold-Mariano for two forecasts, Kupiec and Christoffersen for VaR. Pure."""

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bot.ports import Floats

Mask = NDArray[np.bool_]


class LossTest(msgspec.Struct, frozen=True, kw_only=True):
    """Whether two forecasts have the same expected loss. ``statistic`` below 0: ours has the smaller loss."""

    rows: int
    lags: int
    """Lags of the autocovariance that the variance includes, in rows."""
    mean: float
    """Mean of our loss minus theirs."""
    statistic: float
    """The mean over its standard error; standard normal if the losses are equal in expectation."""
    p_value: float
    """Two-sided."""


class CoverageTest(msgspec.Struct, frozen=True, kw_only=True):
    """Whether losses beyond a VaR come as often as they should, and not in clusters."""

    rows: int
    expected: float
    """Rows beyond the VaR that are expected: ``rows`` times the tail probability."""
    beyond: int
    kupiec: float
    """Likelihood ratio of the frequency; chi-squared with 1 degree of freedom."""
    kupiec_p: float
    christoffersen: float | None
    """Likelihood ratio of frequency and independence; chi-squared with 2. None: no two rows follow."""
    christoffersen_p: float | None


def diebold_mariano(difference: Floats, horizon_rows: int) -> LossTest | None:
    """Test whether the mean of a loss difference (ours minus theirs) is 0. Missing rows are ignored.

    DM = mean(d) / sqrt(V / T), with V = γ₀ + 2·Σ_k (1 - k/(L+1))·γ_k over k = 1…L and γ_k the
    autocovariance of d at lag k (divided by T). Diebold and Mariano 1995, doi
    10.1080/07350015.1995.10524599; the weights of V are those of Newey and West 1987, doi 10.2307/1913610,
    so that V is never negative. L is at least the overlap of neighbouring targets, and T^(1/3) at least,
    because losses of volatility forecasts are correlated for longer than their targets overlap.

    Args:
        difference: our loss minus theirs of each row in order of time, ``(T,)``.
        horizon_rows: rows that a target spans; neighbours overlap in one fewer.

    Returns:
        The test; None if there are fewer than 10 rows for each lag, or the difference never varies.
    """
    d = difference[np.isfinite(difference)]
    rows = len(d)
    lags = max(horizon_rows - 1, math.ceil(rows ** (1 / 3)))
    if rows < 10 * (lags + 1):
        return None
    mean = float(d.mean())
    off = d - mean
    covariance = [float(off[k:] @ off[: rows - k]) / rows for k in range(lags + 1)]
    variance = covariance[0] + 2.0 * sum((1.0 - k / (lags + 1)) * covariance[k] for k in range(1, lags + 1))
    if not variance > 1e-24 * max(1.0, mean * mean):
        return None
    statistic = mean / math.sqrt(variance / rows)
    p_value = math.erfc(abs(statistic) / math.sqrt(2.0))
    return LossTest(rows=rows, lags=lags, mean=mean, statistic=statistic, p_value=p_value)


def var_coverage(beyond: Mask, follows: Mask, tail_frac: float) -> CoverageTest | None:
    """Test how often and how closely together losses exceed a VaR. None without rows.

    Kupiec 1995 (The Journal of Derivatives 3, 73-84), with x of n rows beyond and p the tail probability:
    LR = -2·ln[(1-p)^(n-x)·p^x] + 2·ln[(1-x/n)^(n-x)·(x/n)^x]. Christoffersen 1998, doi 10.2307/2527341,
    adds the ratio of independence over the pairs of rows that follow each other. With n_ij pairs from state
    i to state j (1: beyond), π_i = n_i1/(n_i0+n_i1) and π the share of all pairs with j = 1:
    LR_ind = -2·ln[(1-π)^(n00+n10)·π^(n01+n11)] + 2·ln[(1-π_0)^n00·π_0^n01·(1-π_1)^n10·π_1^n11].
    The second figure of the result is LR + LR_ind.

    Args:
        beyond: whether the loss of a row exceeds its VaR, ``(T,)``. Rows must not overlap in time.
        follows: whether the row before is the one directly before in time, ``(T,)``.
        tail_frac: probability of a loss beyond the VaR, 0.05 for a VaR of 95 %.
    """
    rows, count = len(beyond), int(beyond.sum())
    if not rows:
        return None
    kupiec = _ratio(_likelihood(rows - count, count, tail_frac), _best(rows - count, count))
    pairs = follows[1:]
    n00, n01, n10, n11 = (
        int((pairs & (beyond[:-1] == before) & (beyond[1:] == after)).sum())
        for before in (False, True)
        for after in (False, True)
    )
    both = None
    if pairs.any():
        both = kupiec + _ratio(_best(n00 + n10, n01 + n11), _best(n00, n01) + _best(n10, n11))
    return CoverageTest(
        rows=rows,
        expected=rows * tail_frac,
        beyond=count,
        kupiec=kupiec,
        kupiec_p=math.erfc(math.sqrt(kupiec / 2.0)),  # the upper tail of chi-squared, 1 degree
        christoffersen=both,
        christoffersen_p=None if both is None else math.exp(-both / 2.0),  # the same of 2 degrees
    )


def _ratio(restricted: float, free: float) -> float:
    return max(0.0, 2.0 * (free - restricted))


def _likelihood(inside: int, beyond: int, tail_frac: float) -> float:
    """Return ln[(1-p)^inside · p^beyond], where 0·ln 0 is 0."""
    low = inside * math.log1p(-tail_frac) if inside else 0.0
    return low + (beyond * math.log(tail_frac) if beyond else 0.0)


def _best(inside: int, beyond: int) -> float:
    """Return the largest value of ``_likelihood`` over p."""
    return _likelihood(inside, beyond, beyond / (inside + beyond)) if inside + beyond else 0.0


def verdict_json(verdict: LossTest | CoverageTest | None) -> dict[str, Any] | None:
    """Return a test as JSON, or null for None."""
    return None if verdict is None else dict(msgspec.to_builtins(verdict))
