"""Metrics of predictions, which go through their arrays block by block: these may be larger than memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recolib.data.order import blocks_of
from recolib.data.streaming.sorting import ranges
from recolib.files import scratch

Floats = NDArray[np.floating]
SORTED_AT_ONCE = 2**21
"""Pairs that are sorted together, but for those of one user who has more."""


def _sum(function: Callable[..., Any], *arrays: Floats) -> float:
    """The sum of a function of arrays, block by block, in 64 bits."""
    blocks = ((one[at].astype(np.float64) for one in arrays) for at in blocks_of(len(arrays[0])))
    return sum(float(np.sum(function(*block))) for block in blocks)


def _mean(function: Callable[..., Any], *arrays: Floats) -> float:
    n = len(arrays[0])
    return _sum(function, *arrays) / n if n else float("nan")


def rmse(labels: Floats, predictions: Floats) -> float:
    """Root of the mean squared error."""
    return math.sqrt(_mean(_squares, labels, predictions))


def _squares(labels: Floats, predictions: Floats) -> Floats:
    return (labels - predictions) ** 2


def mae(labels: Floats, predictions: Floats) -> float:
    """Mean absolute error."""
    return _mean(lambda y, x: np.abs(y - x), labels, predictions)


def r2(labels: Floats, predictions: Floats) -> float:
    """Share of the labels' variance that the predictions explain; NaN where the labels do not vary."""
    if labels.min() == labels.max():
        return float("nan")
    mean = _mean(lambda y: y, labels)
    return 1 - _sum(_squares, labels, predictions) / _sum(lambda y: (y - mean) ** 2, labels)


def log_loss(labels: Floats, logits: Floats) -> float:
    """Mean binary cross-entropy, exact where a probability would round to 0 or 1."""
    return _mean(lambda y, x: np.logaddexp(0, x) - y * x, labels, logits)


def balanced_accuracy(labels: Floats, logits: Floats) -> float:
    """Mean of the shares of positives and of negatives on their side of even odds; NaN with a single class."""
    n_positive = _sum(lambda y: y > 0.5, labels)
    n_negative = len(labels) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    right = _sum(lambda y, x: (y > 0.5) & (x > 0), labels, logits)
    rejected = _sum(lambda y, x: (y <= 0.5) & (x <= 0), labels, logits)
    return (right / n_positive + rejected / n_negative) / 2


def roc_auc(labels: Floats, scores: Floats) -> float:
    """The chance that a positive scores above a negative, a tie counting half; NaN with a single class."""
    positives, negatives = _by_class(labels, scores)
    if not len(positives) or not len(negatives):
        return float("nan")
    wins = 0
    for at in blocks_of(len(positives)):
        wins += sum(int(np.searchsorted(negatives, positives[at], side).sum()) for side in ("left", "right"))
    return wins / 2 / (len(positives) * len(negatives))


def pr_auc(labels: Floats, scores: Floats) -> float:
    """Average precision: the area under the stepwise precision-recall curve; NaN without positives.

    The trapezoid rule, which LibRecommender uses, gives too much for a curve of few points (Davis and Goadrich,
    *The Relationship Between Precision-Recall and ROC Curves*, ICML 2006).
    """
    positives, negatives = _by_class(labels, scores)
    n, total = len(positives), 0.0
    for at in blocks_of(n):
        found = n - np.searchsorted(positives, positives[at])  # as many positives score as high
        total += float(np.sum(found / (found + len(negatives) - np.searchsorted(negatives, positives[at]))))
    return total / n if n else float("nan")


def _by_class(labels: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """The scores of positives and of negatives, each in order."""
    n, n_positive = len(labels), int(_sum(lambda y: y > 0.5, labels))
    both = scratch(n, scores.dtype)
    ends = [0, n_positive]
    for at in blocks_of(n):
        positive = labels[at] > 0.5
        for number, some in enumerate((scores[at][positive], scores[at][~positive])):
            both[ends[number] : ends[number] + len(some)] = some
            ends[number] += len(some)
    positives, negatives = both[:n_positive], both[n_positive:]
    positives.sort()
    negatives.sort()
    return positives, negatives


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
    total = weight = 0.0
    for rows in _rows_by_group(groups):
        value, n = _gauc(labels[rows], scores[rows], groups[rows])
        total, weight = total + value, weight + n
    return total / weight if weight else float("nan")


def _rows_by_group(groups: NDArray[np.integer]) -> Iterator[slice | NDArray[np.int64]]:
    """The rows of some groups at a time, so that they can be sorted; all where they are few."""
    first, last = (int(groups.min()), int(groups.max())) if len(groups) else (0, 0)
    if len(groups) <= SORTED_AT_ONCE or last - first > 4 * len(groups):
        yield slice(None)
        return
    sizes = np.zeros(last - first + 1, np.int64)
    for at in blocks_of(len(groups)):
        sizes += np.bincount(groups[at] - first, minlength=len(sizes))
    for low, high in ranges(sizes, SORTED_AT_ONCE):
        inside = ((groups[at] >= low + first) & (groups[at] < high + first) for at in blocks_of(len(groups)))
        yield np.flatnonzero(np.concatenate(list(inside)))


def _gauc(labels: Floats, scores: Floats, groups: NDArray[np.integer]) -> tuple[float, float]:
    """The sum of the groups' ``roc_auc`` times their rows, and the number of these rows."""
    if not len(labels):
        return 0.0, 0.0
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
    return float(np.sum(wins[both] / n_pairs[both] * n[both])), float(n[both].sum())
