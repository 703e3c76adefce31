"""Metrics of predictions, and of lists.

Pointwise metrics measure labels (n,) against predicted ratings (n,), or for ranking against logits (n,): in
float32 a probability is exactly 1 from a logit of 17 on, so that ranks are those of logits.

Listwise metrics measure Q lists of k items: ``hits`` (Q, k) says which of them are relevant, best rank first, and
``n_relevant`` (Q,), at least 1, how many items would be. A list that ends early is filled with misses.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Hits = NDArray[np.bool_]
Counts = NDArray[np.integer]
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


def precision(hits: Hits, n_relevant: Counts) -> float:
    """Mean share of a list's k places that hold a relevant item."""
    return float(hits.mean())


def recall(hits: Hits, n_relevant: Counts) -> float:
    """Mean share of the relevant items that the list has."""
    return float(np.mean(hits.sum(1) / n_relevant))


def hit_rate(hits: Hits, n_relevant: Counts) -> float:
    """Share of the lists that have a relevant item."""
    return float(hits.any(1).mean())


def mean_reciprocal_rank(hits: Hits, n_relevant: Counts) -> float:
    """Mean of 1 / the rank of the first relevant item, 0 for a list without one."""
    return float(np.mean(np.where(hits.any(1), 1 / (1 + hits.argmax(1)), 0.0)))


def mean_average_precision(hits: Hits, n_relevant: Counts) -> float:
    """Mean of the precisions at the ranks of the relevant items, each list's sum over the number of relevant items."""
    at_rank = np.cumsum(hits, 1) / np.arange(1, hits.shape[1] + 1)
    return float(np.mean(np.sum(at_rank * hits, 1) / n_relevant))


def ndcg(hits: Hits, n_relevant: Counts) -> float:
    """Mean discounted gain, as a share of that of the list that has relevant items alone as long as there are any.

    References
    ----------
    Järvelin and Kekäläinen, *Cumulated Gain-Based Evaluation of IR Techniques*, ACM TOIS 2002; gain 1 for a
    relevant item, discount log2(1 + rank).
    """
    gains = 1 / np.log2(np.arange(2, hits.shape[1] + 2))  # rank 1 is discounted by log2(2) = 1
    ideal = np.cumsum(gains)[np.minimum(n_relevant, hits.shape[1]) - 1]
    return float(np.mean(hits @ gains / ideal))


def coverage(items: Counts, n_consumers: Counts, n_users: int) -> float:
    """Share of the catalogue that stands in a list at all.

    Parameters
    ----------
    items
        The codes in the lists, shape (Q, k), 0 where one ends early.
    n_consumers
        How many users consumed each code, shape (n_items + 1,).
    n_users
        How many users there are.
    """
    in_lists = np.bincount(items.ravel(), minlength=len(n_consumers))[1:]
    return float(np.count_nonzero(in_lists) / len(in_lists))


def novelty(items: Counts, n_consumers: Counts, n_users: int) -> float:
    """Mean self-information of the items in the lists, in bits; NaN without items.

    That of an item is −log2 of the share of users who consumed it; one that nobody consumed counts as if one had.

    Parameters
    ----------
    items, n_consumers, n_users
        As in ``coverage``.

    References
    ----------
    Zhou et al., *Solving the Apparent Diversity-Accuracy Dilemma of Recommender Systems*, PNAS 2010.
    """
    listed = items[items > 0]
    return float(-np.log2(np.maximum(n_consumers[listed], 1) / n_users).mean()) if len(listed) else float("nan")


RATING_METRICS: dict[str, Metric] = {"loss": rmse, "rmse": rmse, "mae": mae, "r2": r2}
RANKING_METRICS: dict[str, Metric] = {
    "loss": log_loss,
    "log_loss": log_loss,
    "balanced_accuracy": balanced_accuracy,
    "roc_auc": roc_auc,
    "pr_auc": pr_auc,
}
GROUPED_METRICS = {"roc_gauc": roc_gauc}
LISTWISE_METRICS: dict[str, Callable[[Hits, Counts], float]] = {
    "precision": precision,
    "recall": recall,
    "hit_rate": hit_rate,
    "mrr": mean_reciprocal_rank,
    "map": mean_average_precision,
    "ndcg": ndcg,
}
CATALOGUE_METRICS: dict[str, Callable[[Counts, Counts, int], float]] = {"coverage": coverage, "novelty": novelty}
LOWER_IS_BETTER = {"loss", "rmse", "mae", "log_loss"}
"""Of these less is better; of all others more."""
METRICS = [*dict.fromkeys([*RATING_METRICS, *RANKING_METRICS, *GROUPED_METRICS, *LISTWISE_METRICS, *CATALOGUE_METRICS])]
"""The names of all."""


def less_is_better(column: str) -> bool:
    """Whether less is better in a column of ``history_``: the training loss, or a metric as ``eval_...``."""
    return column == "train_loss" or column.removeprefix("eval_") in LOWER_IS_BETTER
