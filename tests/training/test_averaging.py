from __future__ import annotations

import pytest
import torch
from torch import nn

from recolib.training.averaging import MovingAverage

N_ROWS, DIM, N_STEPS = 9, 3, 40


def run(sparse: bool, decays: list[float], settle_at: int | None = None) -> tuple[MovingAverage, nn.ParameterList]:
    """Steps that change some rows of a table, some of them named twice, and all of another weight."""
    generator = torch.Generator().manual_seed(0)
    weights = nn.ParameterList([torch.randn(N_ROWS, DIM, generator=generator), torch.randn(2, generator=generator)])
    average = MovingAverage(list(weights))
    for step, decay in enumerate(decays):
        rows = torch.randint(0, N_ROWS - 2, (3,), generator=generator)  # the last two never
        moves, other = torch.randn(3, DIM, generator=generator), torch.randn(2, generator=generator)
        if sparse:
            weights[0].grad = torch.sparse_coo_tensor(rows[None], moves, weights[0].shape, check_invariants=False)
        else:
            weights[0].grad = torch.zeros_like(weights[0]).index_add_(0, rows, moves)
        weights[1].grad = other
        average.catch_up()
        with torch.no_grad():
            for weight in weights:
                weight += weight.grad.to_dense()
        average.mix(decay)
        if step == settle_at:
            average.refresh()
    average.refresh()
    return average, weights


DECAYS = {
    "constant": [0.9] * N_STEPS,
    "growing": [min(0.99, step / (step + 9)) for step in range(1, N_STEPS + 1)],
    "none": [0.0] * N_STEPS,
    "almost all": [0.999999] * N_STEPS,
}


@pytest.mark.parametrize("name", DECAYS)
@pytest.mark.parametrize("settle_at", [None, 0, 17])
def test_rows_left_alone_have_the_average_of_all_steps(name, settle_at):
    lazy, weights = run(True, DECAYS[name], settle_at)
    dense, others = run(False, DECAYS[name])
    for one, other in zip(weights, others, strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(lazy.values, dense.values, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_the_average_is_that_of_the_definition():
    weights = nn.ParameterList([torch.zeros(1)])
    average = MovingAverage(list(weights))
    for value in (1.0, 2.0, 4.0):
        with torch.no_grad():
            weights[0].fill_(value)
        average.mix(0.5)
    assert average.values[0].item() == pytest.approx((0.5 * 1 * 0.5 + 0.5 * 2) * 0.5 + 0.5 * 4)


def test_a_swap_is_undone_by_another():
    average, weights = run(True, DECAYS["constant"])
    own, mean = weights[0].detach().clone(), average.values[0].clone()
    average.swap()
    assert torch.equal(weights[0], mean)
    average.swap()
    assert torch.equal(weights[0], own)
