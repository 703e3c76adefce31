from __future__ import annotations

import pytest
import torch

from recolib.nn import dropout as dropout_module
from recolib.nn.dropout import Dropout, dropout

N = 400_000


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3, 0.5, 0.9])
def test_the_share_that_is_hidden_is_the_rate(rate):
    torch.manual_seed(0)
    kept = dropout(torch.ones(N), rate) != 0
    assert abs(1 - kept.double().mean().item() - rate) < 4 * (rate * (1 - rate) / N) ** 0.5


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_what_is_left_is_scaled_so_that_the_mean_stays(rate):
    torch.manual_seed(0)
    out = dropout(torch.ones(N), rate)
    torch.testing.assert_close(out[out != 0].unique(), torch.tensor([1 / (1 - rate)]), rtol=1e-4, atol=0)
    assert abs(out.mean().item() - 1) < 5 * (rate / (1 - rate) / N) ** 0.5


@pytest.mark.parametrize("rate", [0.9999, 0.99999, 0.999993, 1 - 1e-9])
def test_a_rate_of_almost_1_hides_almost_all(rate):
    torch.manual_seed(0)
    out = dropout(torch.ones(N), rate)
    assert (out == 0).double().mean() > 0.999
    assert out.max() <= 2**16


def test_neighbours_are_hidden_independently():
    """Four elements share a random word."""
    torch.manual_seed(0)
    hidden = (dropout(torch.ones(N), 0.3) == 0).double()
    for lag in (1, 2, 3, 4, 5, 8):
        together = (hidden[:-lag] * hidden[lag:]).mean().item()
        assert together == pytest.approx(0.09, abs=0.003), lag
    for place in range(4):
        assert hidden[place::4].mean().item() == pytest.approx(0.3, abs=0.005), place


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 7), (2, 0, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_any_shape_and_type(shape, dtype):
    out = dropout(torch.ones(shape, dtype=dtype), 0.5)
    assert out.shape == shape
    assert out.dtype == dtype
    assert set(out.flatten().tolist()) <= {0.0, 2.0}


def test_views_are_hidden_by_their_own_order():
    torch.manual_seed(0)
    across = dropout(torch.ones(6, 4).T, 0.5)
    torch.manual_seed(0)
    assert torch.equal(across, dropout(torch.ones(4, 6), 0.5))


@pytest.mark.parametrize("small", [0, 2**18])
def test_the_gradient_goes_where_the_values_went(monkeypatch, small):
    monkeypatch.setattr(dropout_module, "SMALL", small)
    x = torch.randn(50, requires_grad=True)
    out = dropout(x, 0.4)
    out.sum().backward()
    torch.testing.assert_close(x.grad, out.detach() / x.detach())


def test_same_seed_same_mask_and_the_next_another():
    torch.manual_seed(1)
    first, second = dropout(torch.ones(99), 0.5), dropout(torch.ones(99), 0.5)
    torch.manual_seed(1)
    assert torch.equal(first, dropout(torch.ones(99), 0.5))
    assert not torch.equal(first, second)


def test_nothing_is_hidden_in_evaluation_or_at_a_rate_of_0():
    x, state = torch.randn(9), torch.get_rng_state()
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0) is x
    assert Dropout(0.5).eval()(x) is x
    assert torch.equal(torch.get_rng_state(), state)
    assert (Dropout(0.5)(torch.ones(99)) == 0).any()
