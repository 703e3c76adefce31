from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recolib.inference import top_k as choosing
from recolib.inference.top_k import gumbel, top_k


def by_lexsort(scores: torch.Tensor, k: int) -> np.ndarray:
    """The k best of each row, ties by the lower position."""
    positions = np.arange(scores.shape[-1])
    return np.stack([np.lexsort((positions, -row))[:k] for row in scores.double().numpy()])


@pytest.mark.parametrize("k", [1, 2, 7, 49, 50])
@pytest.mark.parametrize("n_values", [1, 2, 5, 10_000])
def test_top_k_is_a_sort_with_ties_by_the_lower_position(k, n_values):
    torch.manual_seed(k)
    scores = torch.randint(0, n_values, (200, 50)).float() - n_values / 2
    at, best = top_k(scores, k)
    assert at.numpy().tolist() == by_lexsort(scores, k).tolist()
    assert torch.equal(best, scores.gather(-1, at))


@pytest.mark.parametrize("k", [1, 5, 20])
def test_what_is_marked_comes_last(k):
    torch.manual_seed(k)
    scores = torch.randint(0, 4, (300, 20)).float()
    scores[torch.rand(scores.shape) < torch.rand(300, 1)] = -torch.inf
    scores[:3] = -torch.inf
    at, best = top_k(scores, k)
    expected = by_lexsort(scores, k)
    for row, chosen, values, wanted in zip(scores, at.tolist(), best, expected.tolist(), strict=True):
        n_allowed = min(k, int(row.isfinite().sum()))
        assert chosen[:n_allowed] == wanted[:n_allowed]
        assert (values[n_allowed:] == -torch.inf).all()
        assert len(set(chosen)) == k


@given(st.data())
def test_top_k_is_a_sort_whatever_comes(data):
    n_rows, n_items = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 12))
    values = st.sampled_from([-1e30, -1.0, -0.0, 0.0, 1e-45, 1.0, 3.0, 1e30])
    row = st.lists(values, min_size=n_items, max_size=n_items)
    scores = torch.tensor(data.draw(st.lists(row, min_size=n_rows, max_size=n_rows)))
    k = data.draw(st.integers(1, n_items))
    assert top_k(scores, k)[0].tolist() == by_lexsort(scores, k).tolist()


@pytest.mark.parametrize("n_items", [1000, 1023, 1024, 1089])
@pytest.mark.parametrize("n_values", [2, 60, 10**6])
def test_long_rows_are_sorted_with_ties_by_the_lower_position(
    n_items: int, n_values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows whose chunks are looked at first."""
    monkeypatch.setattr(choosing, "FEW_SCORES", 0)
    monkeypatch.setattr(choosing, "CHUNK", 16)
    generator = torch.Generator().manual_seed(n_items)
    scores = torch.randint(0, n_values, (50, n_items), generator=generator).float()
    scores[torch.rand(scores.shape, generator=generator) < torch.rand(50, 1, generator=generator)] = -torch.inf
    scores[0] = -torch.inf
    scores[1, n_items - 3 :] = n_values + 1.0  # behind the last whole chunk
    for k in (1, 2, 5, 13):
        at, best = top_k(scores, k)
        order = np.stack([np.lexsort((np.arange(n_items), -row))[:k] for row in scores.double().numpy()])
        assert torch.equal(best, scores.gather(-1, torch.from_numpy(order)))
        allowed = (best > -torch.inf).numpy()
        assert at.numpy()[allowed].tolist() == order[allowed].tolist()


def test_ties_across_the_border_of_a_long_row_go_to_the_lower_positions():
    scores = torch.zeros(3, 5000)
    scores[:, ::2] = 1.0
    at, _ = top_k(scores, 100)
    assert at.tolist() == [list(range(0, 200, 2))] * 3


def test_scores_are_left_as_they_were():
    scores = torch.tensor([[1.0, 1.0, 0.0]])
    top_k(scores, 1)
    assert scores.tolist() == [[1.0, 1.0, 0.0]]


def test_ties_at_plus_infinity_go_to_the_lower_positions_too():
    at, _ = top_k(torch.full((1, 50), torch.inf), 3)
    assert at.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("n_items", [0, 5])
def test_the_best_none_of_several_rows_are_none(n_items):
    at, best = top_k(torch.zeros(2, n_items), 0)
    assert at.shape == best.shape == (2, 0)


def test_gumbel_scores_are_finite_where_scores_are():
    scores = torch.randn(100, 1000)
    scores[0] = -torch.inf
    noisy = gumbel(scores, torch.Generator().manual_seed(0))
    assert noisy[1:].isfinite().all()
    assert (noisy[0] == -torch.inf).all()


def test_the_first_of_a_gumbel_draw_is_as_frequent_as_exp_of_its_score():
    n, p = 40_000, np.array([0.05, 0.15, 0.3, 0.5])
    scores = torch.tensor(p).log().float().expand(n, 4)
    first = gumbel(scores, torch.Generator().manual_seed(1)).argmax(-1)
    observed = np.bincount(first.numpy(), minlength=4)
    statistic = ((observed - n * p) ** 2 / (n * p)).sum()
    assert statistic < 16.27  # chi-square, 3 degrees of freedom, one in a thousand


def test_a_gumbel_order_is_a_draw_without_replacement():
    n, p = 40_000, np.array([0.2, 0.3, 0.5])
    noisy = gumbel(torch.tensor(p).log().float().expand(n, 3), torch.Generator().manual_seed(2))
    observed = Counter(map(tuple, noisy.argsort(-1, descending=True).tolist()))
    statistic = 0.0
    for a, b, c in permutations(range(3)):
        expected = n * p[a] * p[b] / (1 - p[a])
        statistic += (observed[a, b, c] - expected) ** 2 / expected
    assert statistic < 20.52  # 5 degrees of freedom, one in a thousand


def test_gumbel_noise_has_the_mean_and_variance_of_a_gumbel():
    noise = gumbel(torch.zeros(1, 200_000), torch.Generator().manual_seed(3))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.02)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.05)


def test_gumbel_draws_from_its_generator_alone():
    scores, state = torch.randn(4, 6), torch.get_rng_state()
    one, other = (gumbel(scores, torch.Generator().manual_seed(5)) for _ in range(2))
    torch.testing.assert_close(one, other, equal_nan=True)
    assert torch.equal(torch.get_rng_state(), state)
