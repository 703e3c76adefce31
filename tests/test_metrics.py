from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from recolib.metrics import (
    GROUPED_METRICS,
    RANKING_METRICS,
    RATING_METRICS,
    balanced_accuracy,
    log_loss,
    mae,
    pr_auc,
    r2,
    rmse,
    roc_auc,
    roc_gauc,
)

SHAPES = ["smooth", "few-values", "all-tied", "perfect", "inverted", "extreme"]


def binary(shape: str, seed: int, n: int = 300):
    """Labels with both classes, and probabilities of some shape."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < rng.uniform(0.02, 0.98)).astype(float)
    labels[:2] = 0.0, 1.0
    p = {
        "smooth": np.clip(rng.random(n) * 0.7 + labels * 0.3, 0, 1),
        "few-values": rng.integers(1, 5, n) / 5,
        "all-tied": np.full(n, 0.3),
        "perfect": 0.5 * labels + 0.4 * rng.random(n),
        "inverted": 0.5 * (1 - labels) + 0.4 * rng.random(n),
        "extreme": rng.choice([0.0, 1.0, 1e-30, 1 - 1e-16, 0.5], n),
    }[shape]
    return labels, p


ratings = pytest.mark.parametrize("seed", range(5))
shapes = pytest.mark.parametrize(("shape", "seed"), [(shape, seed) for shape in SHAPES for seed in range(3)])


@ratings
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(rmse, sk.root_mean_squared_error), (mae, sk.mean_absolute_error), (r2, sk.r2_score)],
    ids=["rmse", "mae", "r2"],
)
def test_rating_metrics_are_those_of_scikit_learn(ours, theirs, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 6, 500).astype(float)
    predictions = (labels + rng.normal(size=500)).astype(np.float32)
    assert ours(labels, predictions) == pytest.approx(theirs(labels, predictions), rel=1e-6)


def test_rating_metrics_by_hand():
    labels, predictions = np.array([1.0, 2.0, 6.0]), np.array([2.0, 2.0, 3.0])
    assert rmse(labels, predictions) == pytest.approx(math.sqrt(10 / 3))
    assert mae(labels, predictions) == pytest.approx(4 / 3)
    assert r2(labels, predictions) == pytest.approx(1 - 10 / 14)


def test_r2_of_the_mean_is_zero_and_of_the_labels_one():
    labels = np.array([1.0, 2.0, 6.0])
    assert r2(labels, np.full(3, 3.0)) == pytest.approx(0.0)
    assert r2(labels, labels) == 1.0


def test_r2_of_labels_that_do_not_vary_is_nan():
    assert math.isnan(r2(np.full(4, 3.0), np.arange(4.0)))


@pytest.mark.parametrize("n", [3, 6])
def test_r2_of_labels_that_do_not_vary_is_nan_though_their_mean_is_rounded(n):
    labels = np.full(n, 0.1)
    assert labels.mean() != 0.1
    assert math.isnan(r2(labels, np.arange(float(n))))


@shapes
def test_roc_auc_is_that_of_scikit_learn(shape, seed):
    labels, p = binary(shape, seed)
    assert roc_auc(labels, p) == pytest.approx(sk.roc_auc_score(labels, p), abs=1e-12)


@shapes
def test_pr_auc_is_the_average_precision_of_scikit_learn(shape, seed):
    labels, p = binary(shape, seed)
    assert pr_auc(labels, p) == pytest.approx(sk.average_precision_score(labels, p), abs=1e-12)


def logits(p):
    """The logits of probabilities; a certain one is 40, an e-17th from certainty."""
    with np.errstate(divide="ignore"):
        return np.clip(np.log(p) - np.log1p(-p), -40, 40)


@shapes
def test_balanced_accuracy_is_that_of_scikit_learn(shape, seed):
    labels, p = binary(shape, seed)
    assert balanced_accuracy(labels, logits(p)) == pytest.approx(
        sk.balanced_accuracy_score(labels, logits(p) > 0), abs=1e-12
    )


@shapes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_loss_is_that_of_scikit_learn(shape, seed, dtype):
    labels, p = binary(shape, seed)
    z = np.clip(logits(p), -16, 16).astype(dtype)
    p = 1 / (1 + np.exp(-z.astype(np.float64)))
    assert log_loss(labels, z) == pytest.approx(sk.log_loss(labels, p, labels=[0, 1]), rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_loss_of_a_sure_mistake_is_its_logit_and_of_a_sure_hit_nothing(dtype):
    assert log_loss(np.array([1.0, 0.0]), np.array([-60, 60], dtype)) == pytest.approx(60.0)
    assert log_loss(np.array([1.0, 0.0]), np.array([60, -60], dtype)) == pytest.approx(0.0, abs=1e-20)


def test_log_loss_of_a_single_class_is_defined():
    assert log_loss(np.ones(3), np.full(3, -math.log(3))) == pytest.approx(math.log(4))


def test_there_is_no_gauc_of_no_rows():
    assert math.isnan(roc_gauc(np.empty(0), np.empty(0), np.empty(0, int)))


@pytest.mark.parametrize("label", [0.0, 1.0])
@pytest.mark.filterwarnings("error")
def test_a_single_class_has_no_auc_and_no_balanced_accuracy(label):
    labels, scores = np.full(5, label), np.arange(5.0)
    assert math.isnan(roc_auc(labels, scores))
    assert math.isnan(balanced_accuracy(labels, scores))
    assert math.isnan(roc_gauc(labels, scores, np.array([1, 1, 2, 2, 3])))
    assert pr_auc(labels, scores) == 1.0 if label else math.isnan(pr_auc(labels, scores))


def test_ties_count_half():
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    assert roc_auc(labels, np.zeros(4)) == 0.5
    assert roc_auc(labels, np.array([2.0, 1.0, 1.0, 1.0])) == pytest.approx(0.75)
    assert pr_auc(labels, np.zeros(4)) == 0.5


def test_a_single_row_of_each_class_is_enough():
    assert roc_auc(np.array([0.0, 1.0]), np.array([0.1, 0.2])) == 1.0
    assert roc_auc(np.array([1.0, 0.0]), np.array([0.1, 0.2])) == 0.0


def gauc_by_hand(labels, scores, groups) -> float:
    values, sizes = [], []
    for group in np.unique(groups):
        own = groups == group
        if len(np.unique(labels[own])) == 2:
            values.append(sk.roc_auc_score(labels[own], scores[own]))
            sizes.append(own.sum())
    return float(np.average(values, weights=sizes)) if values else math.nan


@shapes
def test_roc_gauc_is_a_loop_over_users(shape, seed):
    labels, p = binary(shape, seed)
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.concatenate([rng.zipf(1.5, 200) % 40, rng.integers(0, 3, 100)]))
    assert roc_gauc(labels, p, groups) == pytest.approx(gauc_by_hand(labels, p, groups), abs=1e-12)


def test_roc_gauc_leaves_out_users_of_one_class_and_weighs_by_rows():
    labels = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    scores = np.array([2.0, 1.0, 9.0, 9.0, 5.0, 4.0, 3.0, 6.0])
    groups = np.array([7, 7, 3, 3, 1, 1, 1, 1])
    # user 7: 1.0 of 2 rows; user 3 has one class; user 1: 2 of its 4 pairs are right, of 4 rows
    assert roc_gauc(labels, scores, groups) == pytest.approx((2 * 1.0 + 4 * 0.5) / 6)


def test_equal_scores_of_different_users_are_no_tie():
    labels, scores = np.array([0.0, 1.0, 1.0, 0.0]), np.array([1.0, 2.0, 2.0, 3.0])
    assert roc_gauc(labels, scores, np.array([1, 1, 2, 2])) == pytest.approx(0.5)


labelled = st.lists(st.tuples(st.booleans(), st.integers(-3, 3), st.integers(0, 4)), min_size=1, max_size=40)


@given(labelled)
def test_roc_gauc_is_a_loop_over_users_whatever_comes(rows):
    labels, scores, groups = (np.array(column, float) for column in zip(*rows, strict=True))
    expected = gauc_by_hand(labels, scores, groups)
    assert roc_gauc(labels, scores, groups.astype(int)) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(labelled, st.randoms(use_true_random=False))
def test_metrics_do_not_care_in_which_order_rows_come(rows, random):
    mixed = random.sample(rows, len(rows))
    one, other = ([np.array(column, float) for column in zip(*some, strict=True)] for some in (rows, mixed))
    for metric in (roc_auc, pr_auc):
        assert metric(*one[:2]) == pytest.approx(metric(*other[:2]), nan_ok=True)
    assert roc_gauc(*one) == pytest.approx(roc_gauc(*other), nan_ok=True)


@given(labelled)
def test_auc_depends_on_the_order_of_scores_alone(rows):
    labels, scores, _ = (np.array(column, float) for column in zip(*rows, strict=True))
    for metric in (roc_auc, pr_auc):
        assert metric(labels, scores) == pytest.approx(metric(labels, np.exp(3 * scores) - 7), nan_ok=True)
    flipped = roc_auc(labels, -scores)
    assert roc_auc(labels, scores) == pytest.approx(1 - flipped, nan_ok=True)


def test_loss_is_an_alias_of_each_tasks_own_measure():
    assert RATING_METRICS["loss"] is RATING_METRICS["rmse"]
    assert RANKING_METRICS["loss"] is RANKING_METRICS["log_loss"]
    assert GROUPED_METRICS["roc_gauc"] is roc_gauc
