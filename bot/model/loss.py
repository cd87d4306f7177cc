"""The training objective: the likelihood of the variance and the returns ahead, and QLIKE.

- variance: Gaussian negative log-likelihood (NLL) of ln rv (the log-normal NLL up to a constant), and
  QLIKE of the mean forecast f, rv/f − ln(rv/f) − 1 (Patton 2011, doi 10.1016/j.jeconom.2010.03.034)
- returns: Student-t NLL (ν = 4) of the return divided by its forecast volatility. No gradient flows
  through that volatility, so the returns cannot make the variance forecast worse.

A missing target is NaN and has no weight.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import lgamma, log, pi
from typing import NamedTuple

import torch
from torch import Tensor

from bot.domain.horizons import HOUR
from bot.model.config import RV_MIN, STUDENT_T_NU
from bot.model.performer import log_rv_mean, volatility

_STUDENT_T_LOG_NORM = lgamma((STUDENT_T_NU + 1) / 2) - lgamma(STUDENT_T_NU / 2) - 0.5 * log(STUDENT_T_NU * pi)


class Targets(NamedTuple):
    """The realised values, each (...,); NaN where missing."""

    rv: Tensor
    """Sum of squared 1-bar log returns over the longer horizon, each clipped at ±0.1."""
    ret_short: Tensor
    """Log return over the shorter horizon."""
    ret_long: Tensor
    """Log return over the longer horizon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """The weight of each term in the total loss."""

    rv_nll: float = 1.0
    rv_qlike: float = 0.5
    ret_short_nll: float = 0.25
    ret_long_nll: float = 0.25


class Loss(NamedTuple):
    """The mean of each term over its known targets (0 if there are none), scalars. ``total`` is weighted."""

    total: Tensor
    rv_nll: Tensor
    rv_qlike: Tensor
    ret_short_nll: Tensor
    ret_long_nll: Tensor


_DEFAULT_WEIGHTS = LossWeights()
Total = Callable[[Tensor], Tensor]


def _no_others(count: Tensor) -> Tensor:
    return count


def loss(
    raw: Tensor,
    targets: Targets,
    weights: LossWeights = _DEFAULT_WEIGHTS,
    mask: Tensor | None = None,
    short_share: float = HOUR.short_share,
    total_of: Total = _no_others,
) -> Loss:
    """Return the loss of raw outputs (..., 6) against ``targets`` (...,).

    ``mask`` (...,), if given, leaves out the places where it is False. ``short_share`` is that of the
    horizons of the targets.
    ``total_of`` turns the number of known targets here into that of all processes that share a batch: each
    then returns its part of the mean, and the parts add up to it.
    """
    rv_known = _known(targets.rv, mask)
    log_rv = torch.where(rv_known, targets.rv, 1.0).clamp(min=RV_MIN).log().to(raw)
    rv_nll = _mean(log_normal_nll(raw[..., 0], raw[..., 1], log_rv), rv_known, total_of)
    rv_qlike = _mean(qlike(log_rv - log_rv_mean(raw)), rv_known, total_of)
    vol = volatility(raw.detach(), short_share)
    returns = []
    for column, target in enumerate((targets.ret_short, targets.ret_long)):
        known = _known(target, mask)
        z = torch.where(known, target, 0.0).to(raw) / vol[..., column]
        returns.append(_mean(student_t_nll(z, raw[..., 2 + column], raw[..., 4 + column]), known, total_of))
    total = (
        weights.rv_nll * rv_nll
        + weights.rv_qlike * rv_qlike
        + weights.ret_short_nll * returns[0]
        + weights.ret_long_nll * returns[1]
    )
    return Loss(total, rv_nll, rv_qlike, returns[0], returns[1])


def lesson_loss(raw: Tensor, log_rv: Tensor, total_of: Total = _no_others) -> Tensor:
    """Return the mean square between the log of the mean forecast and a teacher's (...,), a scalar.

    NaN is no lesson.
    """
    known = log_rv.isfinite()
    apart = log_rv_mean(raw) - torch.where(known, log_rv, 0.0).to(raw)
    return _mean(apart.square(), known, total_of)


def log_normal_nll(mu: Tensor, log_sd: Tensor, log_rv: Tensor) -> Tensor:
    """Return −ln N(ln rv; μ, σ²): the log-normal NLL without its Jacobian ln rv, which is constant."""
    return 0.5 * ((log_rv - mu) * (-log_sd).exp()).square() + log_sd + 0.5 * log(2 * pi)


def qlike(log_ratio: Tensor) -> Tensor:
    """Return e^a − a − 1 for a = ln(rv / forecast): 0 for a perfect forecast, steep if it was too low."""
    return torch.expm1(log_ratio) - log_ratio


def student_t_nll(z: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
    """Return −ln of the Student-t density (ν = 4) of ``z``."""
    standard = (z - location) * (-log_scale).exp()
    tail = (STUDENT_T_NU + 1) / 2 * torch.log1p(standard.square() / STUDENT_T_NU)
    return tail + log_scale - _STUDENT_T_LOG_NORM


def _known(target: Tensor, mask: Tensor | None) -> Tensor:
    known = target.isfinite()
    return known if mask is None else known & mask


def _mean(values: Tensor, known: Tensor, total_of: Total) -> Tensor:
    return torch.where(known, values, 0.0).sum() / total_of(known.sum()).clamp(min=1)
