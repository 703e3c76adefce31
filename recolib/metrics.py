"""Pointwise metrics: labels (n,) against predicted ratings (n,), or for ranking against logits (n,).

In float32 a probability is exactly 1 from a logit of 17 on: ranks are those of logits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Metric = Callable[[Floats, Floats], float]


def rmse(labels: Floats, predictions: Floats) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean((labels - predictions) ** 2, dtype=np.float64)))


def mae(labels: Floats, predictions: Floats) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(labels - predictions), dtype=np.float64))


def r2(labels: Floats, predictions: Floats) -> float:
    """Share of the labels' variance that the predictions explain; NaN where the labels do not vary."""
    labels = labels.astype(np.float64)
    if labels.min() == labels.max():
        return float("nan")
    return float(1 - np.sum((labels - predictions) ** 2) / np.sum((labels - labels.mean()) ** 2))


def log_loss(labels: Floats, logits: Floats) -> float:
    """Mean binary cross-entropy, exact where a probability would round to 0 or 1."""
    logits = logits.astype(np.float64)
    return float(np.mean(np.logaddexp(0, logits) - labels * logits))


def balanced_accuracy(labels: Floats, logits: Floats) -> float:
    """Mean of the shares of positives and of negatives on their side of even odds; NaN with a single class."""
    right = (logits > 0) == (labels > 0.5)
    positive = labels > 0.5
    if positive.all() or not positive.any():
        return float("nan")
    return float((right[positive].mean() + right[~positive].mean()) / 2)


def roc_auc(labels: Floats, scores: Floats) -> float:
    """The chance that a positive scores above a negative, a tie counting half; NaN with a single class."""
    return roc_gauc(labels, scores, np.zeros(len(labels), np.int64))


def roc_gauc(labels: Floats, scores: Floats, groups: NDArray[np.integer]) -> float:
    """``roc_auc`` within each group, averaged by the groups' rows; groups of a single class are left out.

    Parameters
    ----------
    labels, scores
        Shape (n,).
    groups
        The group, such as the user's code, of each row, shape (n,).

    References
    ----------
    Zhu et al., *Optimized Cost per Click in Taobao Display Advertising*, KDD 2017.
    """
    if not len(labels):
        return float("nan")
    order = np.lexsort((scores, groups))
    group, score = groups[order], scores[order]
    starts_group = np.append(True, group[1:] != group[:-1])
    starts_tie = starts_group | np.append(True, score[1:] != score[:-1])
    tie = np.cumsum(starts_tie) - 1
    first = np.flatnonzero(starts_tie)
    size = np.diff(np.append(first, len(order)))
    number = np.cumsum(starts_group) - 1
    begin = np.flatnonzero(starts_group)
    rank = first[tie] + (size[tie] + 1) / 2 - begin[number]  # from 1, ties share their mean rank
    positive = labels[order] > 0.5
    n = np.bincount(number).astype(np.float64)
    n_positive = np.bincount(number, positive)
    n_pairs = n_positive * (n - n_positive)
    wins = np.bincount(number, rank * positive) - n_positive * (n_positive + 1) / 2
    both = n_pairs > 0
    return float(np.average(wins[both] / n_pairs[both], weights=n[both])) if both.any() else float("nan")


def pr_auc(labels: Floats, scores: Floats) -> float:
    """Average precision: the area under the stepwise precision-recall curve; NaN without positives.

    The trapezoid rule, which LibRecommender uses, is too kind to a curve of few points (Davis and Goadrich,
    *The Relationship Between Precision-Recall and ROC Curves*, ICML 2006).
    """
    order = np.argsort(-scores, kind="stable")
    positive = labels[order] > 0.5
    if not positive.any():
        return float("nan")
    last_of_tie = np.append(scores[order][1:] != scores[order][:-1], True)
    found = np.cumsum(positive)[last_of_tie]
    precision = found / (np.flatnonzero(last_of_tie) + 1)
    return float(np.sum(np.diff(found, prepend=0) * precision) / positive.sum())


RATING_METRICS: dict[str, Metric] = {"loss": rmse, "rmse": rmse, "mae": mae, "r2": r2}
RANKING_METRICS: dict[str, Metric] = {
    "loss": log_loss,
    "log_loss": log_loss,
    "balanced_accuracy": balanced_accuracy,
    "roc_auc": roc_auc,
    "pr_auc": pr_auc,
}
GROUPED_METRICS = {"roc_gauc": roc_gauc}
