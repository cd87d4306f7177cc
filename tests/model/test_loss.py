import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bot.model.loss import LossWeights, Targets, log_normal_nll, loss, qlike, student_t_nll
from bot.model.performer import forecast
from tests.model.builders import noise


def targets(rows: int = 50) -> Targets:
    rv = (noise(rows, seed=1) - 10).exp()
    return Targets(rv, noise(rows, seed=2) * rv.sqrt() / 2, noise(rows, seed=3) * rv.sqrt())


def raws(rows: int = 50) -> Tensor:
    return noise(rows, 6, seed=4) * 0.2 + torch.tensor([-10.0, -0.3, 0.0, 0.0, -0.3, -0.3])


def test_the_gaussian_nll_is_that_of_its_density() -> None:
    want = -torch.distributions.Normal(-9.0, 0.5).log_prob(torch.tensor(-8.2))
    torch.testing.assert_close(
        log_normal_nll(torch.tensor(-9.0), torch.tensor(0.5).log(), torch.tensor(-8.2)), want
    )


def test_the_student_t_nll_is_that_of_its_density() -> None:
    want = -torch.distributions.StudentT(4.0, 0.1, 0.7).log_prob(torch.tensor(1.3))
    torch.testing.assert_close(
        student_t_nll(torch.tensor(1.3), torch.tensor(0.1), torch.tensor(0.7).log()), want
    )


def test_qlike_is_zero_at_the_truth_and_worse_when_too_low() -> None:
    assert qlike(torch.tensor(0.0)) == 0
    assert qlike(torch.tensor(math.log(2.0))).item() == pytest.approx(2 - math.log(2) - 1)
    assert qlike(torch.tensor(math.log(2.0))) > qlike(torch.tensor(-math.log(2.0)))


def test_qlike_is_scored_on_the_mean_forecast() -> None:
    t = targets()
    ratio = t.rv.double() / forecast(raws())[:, 0]
    want = float((ratio - ratio.log() - 1).mean())
    assert loss(raws(), t).rv_qlike.item() == pytest.approx(want, rel=1e-5)


def test_the_total_is_the_weighted_sum() -> None:
    found = loss(raws(), targets(), LossWeights(rv_nll=1, rv_qlike=2, ret_short_nll=3, ret_long_nll=4))
    want = found.rv_nll + 2 * found.rv_qlike + 3 * found.ret_short_nll + 4 * found.ret_long_nll
    torch.testing.assert_close(found.total, want)


def test_returns_are_scored_in_units_of_their_forecast_volatility() -> None:
    t, r = targets(), raws()
    f = forecast(r)
    z = t.ret_short / (f[:, 0].sqrt() / 2)
    want = -torch.distributions.StudentT(4.0, r[:, 2].double(), r[:, 4].double().exp()).log_prob(z).mean()
    assert loss(r, t).ret_short_nll.item() == pytest.approx(want.item(), rel=1e-5)


def test_a_missing_target_has_no_weight_and_gradients_stay_finite() -> None:
    r = raws().requires_grad_()
    full = targets()
    holed = Targets(*(x.clone() for x in full))
    for x in holed:
        x[10:] = torch.nan
    found = loss(r, holed)
    for got, want in zip(found, loss(r[:10], Targets(*(x[:10] for x in full))), strict=True):
        torch.testing.assert_close(got, want)
    (gradient,) = torch.autograd.grad(found.total, r)
    assert gradient[:10].ne(0).all()
    assert gradient[10:].eq(0).all()


def test_a_mask_removes_places_from_the_loss() -> None:
    mask = torch.arange(50) < 10
    want = loss(raws()[:10], Targets(*(x[:10] for x in targets())))
    torch.testing.assert_close(loss(raws(), targets(), mask=mask).total, want.total)


def test_no_target_at_all_is_a_loss_of_zero() -> None:
    nothing = torch.full((50,), torch.nan)
    assert loss(raws(), Targets(nothing, nothing, nothing)).total == 0


def test_return_losses_have_no_gradient_for_the_variance() -> None:
    r = raws().requires_grad_()
    only_returns = LossWeights(rv_nll=0, rv_qlike=0, ret_short_nll=1, ret_long_nll=1)
    (gradient,) = torch.autograd.grad(loss(r, targets(), only_returns).total, r)
    assert gradient[:, :2].eq(0).all()
    assert gradient[:, 2:].ne(0).all()


def test_the_loss_is_least_at_the_truth() -> None:
    rng = np.random.default_rng(0)
    log_rv = torch.tensor(rng.normal(-10, 0.5, 20_000))
    t = Targets(log_rv.exp(), torch.full((20_000,), torch.nan), torch.full((20_000,), torch.nan))

    def total(mu: float, sigma: float) -> float:
        r = torch.tensor([mu, math.log(sigma), 0, 0, 0, 0], dtype=torch.float64).expand(20_000, 6)
        return float(loss(r, t).total)

    best = total(-10, 0.5)
    assert all(total(*other) > best for other in [(-10.1, 0.5), (-9.9, 0.5), (-10, 0.45), (-10, 0.55)])
