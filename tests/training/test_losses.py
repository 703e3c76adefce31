from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from recolib.training.losses import (
    NEED_NEGATIVES,
    RANKING_LOSSES,
    RATING_LOSS,
    bpr,
    cross_entropy,
    focal,
    hinge,
    max_margin,
    softmax,
    squared,
)

LOGITS = hnp.arrays(np.float64, (4, 3), elements=st.floats(-30, 30))


def random_batch(seed=0, b=16, n=5):
    torch.manual_seed(seed)
    return 3 * torch.randn(b, n, dtype=torch.float64), (torch.rand(b, n) < 0.3).double()


def test_squared_is_that_of_scikit_learn():
    scores, labels = random_batch()
    assert squared(scores, labels).item() == pytest.approx(sk.mean_squared_error(labels.numpy(), scores.numpy()))


def test_squared_of_the_worked_pair():
    """y = (1, −1), ŷ = (.5, −.25): the sum of halved squares is .40625, as is the mean of two squares."""
    scores, labels = torch.tensor([[0.5, -0.25]]), torch.tensor([[1.0, -1.0]])
    assert squared(scores, labels).item() == pytest.approx(0.40625)
    assert squared(scores, labels).sqrt().item() == pytest.approx(0.6373774, abs=1e-7)


def test_cross_entropy_is_that_of_scikit_learn():
    scores, labels = random_batch()
    expected = sk.log_loss(labels.flatten().numpy(), scores.sigmoid().flatten().numpy())
    assert cross_entropy(scores, labels).item() == pytest.approx(expected)


def test_cross_entropy_of_the_worked_pair():
    """log(1 + e^{−yŷ}) with labels ±1 is (.4740770, .5759394)."""
    value = cross_entropy(torch.tensor([[0.5, -0.25]]), torch.tensor([[1.0, 0.0]])).item()
    assert value == pytest.approx((0.4740770 + 0.5759394) / 2, abs=1e-7)


@pytest.mark.parametrize("size", [50.0, 1e4])
def test_cross_entropy_of_a_sure_mistake_is_its_logit(size):
    """Where a sigmoid would have been rounded to 0 or 1."""
    scores, labels = torch.tensor([[size, -size]], requires_grad=True), torch.tensor([[0.0, 1.0]])
    loss = cross_entropy(scores, labels)
    assert loss.item() == pytest.approx(size)
    loss.backward()
    torch.testing.assert_close(scores.grad, torch.tensor([[0.5, -0.5]]))


def focal_by_hand(score: float, label: float) -> float:
    """−α (1 − p)^γ log p of the true class, α = .25 for positives and .75 for negatives, γ = 2."""
    p = 1 / (1 + math.exp(-score))
    return -0.25 * (1 - p) ** 2 * math.log(p) if label else -0.75 * p**2 * math.log(1 - p)


def test_focal_is_the_papers_formula():
    scores, labels = random_batch()
    terms = [focal_by_hand(s, y) for s, y in zip(scores.flatten().tolist(), labels.flatten().tolist(), strict=True)]
    assert focal(scores, labels).item() == pytest.approx(np.mean(terms))


def test_focal_of_even_odds_is_a_sixteenth_of_the_entropy_for_positives():
    assert focal(torch.zeros(1, 1), torch.ones(1, 1)).item() == pytest.approx(0.25 * 0.25 * math.log(2))
    assert focal(torch.zeros(1, 1), torch.zeros(1, 1)).item() == pytest.approx(0.75 * 0.25 * math.log(2))


def test_focal_cares_less_than_entropy_for_what_is_already_right():
    labels = torch.ones(1, 1)
    easy, hard = torch.full((1, 1), 3.0), torch.full((1, 1), -3.0)
    of_focal = focal(easy, labels) / focal(hard, labels)
    of_entropy = cross_entropy(easy, labels) / cross_entropy(hard, labels)
    assert of_focal < 0.01 * of_entropy


def test_hinge_of_the_worked_pair():
    """y = (1, −1), ŷ = (.5, −.25): (.5, .75)."""
    assert hinge(torch.tensor([[0.5, -0.25]]), torch.tensor([[1.0, 0.0]])).item() == pytest.approx((0.5 + 0.75) / 2)


def test_hinge_is_that_of_scikit_learn():
    scores, labels = random_batch()
    expected = sk.hinge_loss(2 * labels.flatten().numpy() - 1, scores.flatten().numpy())
    assert hinge(scores, labels).item() == pytest.approx(expected)


def test_bpr_and_max_margin_of_the_worked_pair():
    """A positive of 2 and a negative of 1.5."""
    scores, labels = torch.tensor([[2.0, 1.5]]), torch.tensor([[1.0, 0.0]])
    assert bpr(scores, labels).item() == pytest.approx(0.4740770, abs=1e-7)
    assert max_margin(scores, labels).item() == pytest.approx(0.5)


def test_losses_of_pairs_are_means_over_all_of_them():
    scores, labels = random_batch()
    gaps = [(row[0] - other).item() for row in scores for other in row[1:]]
    assert bpr(scores, labels).item() == pytest.approx(np.mean([math.log(1 + math.exp(-gap)) for gap in gaps]))
    assert max_margin(scores, labels).item() == pytest.approx(np.mean([max(0.0, 1 - gap) for gap in gaps]))


def test_softmax_is_cross_entropy_of_the_first_class():
    scores, labels = random_batch()
    expected = torch.nn.functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64))
    assert softmax(scores, labels).item() == pytest.approx(expected.item())


def test_softmax_and_bpr_of_one_negative_are_the_same():
    scores, labels = random_batch(n=2)
    assert softmax(scores, labels).item() == pytest.approx(bpr(scores, labels).item())


@pytest.mark.parametrize("name", NEED_NEGATIVES)
def test_losses_of_pairs_see_only_differences(name):
    scores, labels = random_batch()
    shifted = scores + torch.randn(len(scores), 1, dtype=torch.float64)
    torch.testing.assert_close(RANKING_LOSSES[name](scores, labels), RANKING_LOSSES[name](shifted, 1 - labels))


@pytest.mark.parametrize("name", NEED_NEGATIVES)
def test_losses_of_pairs_do_not_care_in_which_order_negatives_come(name):
    scores, labels = random_batch()
    order = [0, *(1 + np.random.default_rng(0).permutation(scores.shape[1] - 1))]
    torch.testing.assert_close(RANKING_LOSSES[name](scores, labels), RANKING_LOSSES[name](scores[:, order], labels))


@pytest.mark.parametrize("name", RANKING_LOSSES)
def test_a_step_down_the_gradient_parts_the_observed_item_from_its_negatives(name):
    scores = torch.zeros(3, 4, requires_grad=True)
    labels = torch.tensor([1.0, 0, 0, 0]).expand(3, 4)
    RANKING_LOSSES[name](scores, labels).backward()
    assert (scores.grad[:, 0] < 0).all()
    assert (scores.grad[:, 1:] > 0).all()


@pytest.mark.parametrize("loss", RANKING_LOSSES.values(), ids=RANKING_LOSSES)
@pytest.mark.parametrize("size", [0.0, 20.0, 90.0, 1e4])
def test_losses_and_their_gradients_are_finite_for_extreme_logits(loss, size):
    scores = torch.tensor([[size, -size, size, -size]], requires_grad=True)
    value = loss(scores, torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
    value.backward()
    assert value.isfinite()
    assert value >= 0
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("loss", [*RANKING_LOSSES.values(), RATING_LOSS], ids=[*RANKING_LOSSES, "squared"])
def test_gradients_are_those_of_finite_differences(loss):
    scores, labels = random_batch(b=3, n=2)
    assert torch.autograd.gradcheck(lambda s: loss(s, labels), (scores.requires_grad_(),))


@given(LOGITS, st.integers(0, 2**12 - 1))
def test_losses_do_not_care_in_which_order_pairs_come(scores, bits):
    labels = np.array([bits >> i & 1 for i in range(12)], float).reshape(4, 3)
    order = np.random.default_rng(bits).permutation(12)
    for loss in (*(RANKING_LOSSES[name] for name in RANKING_LOSSES if name not in NEED_NEGATIVES), RATING_LOSS):
        whole = loss(torch.from_numpy(scores), torch.from_numpy(labels))
        mixed = [torch.from_numpy(part.reshape(-1)[order].reshape(2, 6)) for part in (scores, labels)]
        torch.testing.assert_close(whole, loss(*mixed))


@given(LOGITS)
def test_focal_is_never_above_entropy(scores):
    for labels in (torch.zeros(4, 3).double(), torch.ones(4, 3).double()):
        assert focal(torch.from_numpy(scores), labels) <= cross_entropy(torch.from_numpy(scores), labels)
