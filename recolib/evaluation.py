"""The measure of a model on data that it did not see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.checks import check_bool, check_integer
from recolib.data.building import encode_evaluation
from recolib.data.consumed import consumed_by
from recolib.data.frame import read_frame
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.data.rows import UNKNOWN, Rows
from recolib.exceptions import UnknownIdWarning, warn
from recolib.metrics import GROUPED_METRICS, RANKING_METRICS, RATING_METRICS
from recolib.sampling import unconsumed, uniforms


class Model(Protocol):
    """What a model must offer to be evaluated."""

    task: str
    data_info: DataInfo
    num_neg: int

    def score_rows(self, users: Rows, items: Rows, batch_size: int) -> NDArray[np.float32]:
        """Ratings, or for ranking logits, of n user rows (with their context) and n item rows."""
        ...


def evaluate(
    model: Model,
    data: object,
    neg_sampling: bool,
    eval_batch_size: int = 8192,
    metrics: Sequence[str] | str | None = None,
    k: int = 10,
    sample_user_num: int | None = None,
    seed: int = 42,
) -> dict[str, float]:
    """Measure a fitted model.

    Parameters
    ----------
    model
        A fitted model.
    data
        A frame, or a set that ``build_evalset`` or ``build_testset`` made. It is not changed.
    neg_sampling
        Whether to add negatives: for each row with a label above 0, ``model.num_neg`` items that its
        user consumed neither in training nor in ``data``. Rows with label 0 stay negatives beside them.
    eval_batch_size
        Pairs scored at once.
    metrics
        For rating: ``loss`` (= ``rmse``), ``rmse``, ``mae``, ``r2``. For ranking: ``loss`` (= ``log_loss``),
        ``log_loss``, ``balanced_accuracy``, ``roc_auc``, ``roc_gauc`` (over the known users), ``pr_auc``. By
        default ``loss``.
    k, sample_user_num
        For metrics of lists, of which there are none yet.
    seed
        For the negatives.

    Returns
    -------
    dict
        The value of each metric.

    Raises
    ------
    ValueError
        If a metric is not one of the task, the data was encoded for other data, the labels do not suit
        the task, or a rating is to be measured without labels.

    Examples
    --------
    >>> from recolib.algorithms import FM
    >>> from recolib.data import DatasetPure, random_split
    >>> from recolib.datasets import make_movies
    >>> train, test = random_split(make_movies(n_users=50, n_items=40, n_ratings=800), test_size=0.2)
    >>> data, info = DatasetPure.build_trainset(train)
    >>> model = FM("rating", info, n_epochs=1).fit(data, neg_sampling=False, verbose=0)
    >>> sorted(evaluate(model, test, neg_sampling=False, metrics=["rmse", "mae"]))
    ['mae', 'rmse']
    """
    names = check_metrics(model.task, metrics)
    for name, value, low in (("eval_batch_size", eval_batch_size, 1), ("k", k, 1), ("seed", seed, 0)):
        check_integer(name, value, low)
    encoded = as_encoded(data, model.data_info)
    check_labels(encoded, model.task, neg_sampling)
    if neg_sampling:
        encoded = with_negatives(encoded, model.num_neg, seed)
    user_codes, item_codes = encoded.user_indices, encoded.item_indices
    users = encoded.users.rows[torch.from_numpy(encoded.user_rows)]
    items = encoded.items.rows[torch.from_numpy(encoded.item_rows)]
    # what cold_start="average" predicts
    users = users.averaged(user_codes).join(encoded.context)
    items = items.averaged(item_codes)
    scores = model.score_rows(users, items, eval_batch_size)
    labels, known = encoded.labels.astype(np.float64), user_codes != UNKNOWN  # who is unknown is no one group
    pointwise = RATING_METRICS if model.task == "rating" else RANKING_METRICS
    return {
        name: pointwise[name](labels, scores)
        if name in pointwise
        else GROUPED_METRICS[name](labels[known], scores[known], user_codes[known])
        for name in names
    }


def check_metrics(task: str, metrics: Sequence[str] | str | None) -> list[str]:
    """The metrics as a list, if all are metrics of the task; ``loss`` by default."""
    names = [metrics] if isinstance(metrics, str) else list(metrics or ["loss"])
    known = [*RATING_METRICS] if task == "rating" else [*RANKING_METRICS, *GROUPED_METRICS]
    wrong = [name for name in names if name not in known]
    if wrong:
        raise ValueError(f"metrics {wrong} are not of task={task!r}, which has {known}")
    return names


def as_encoded(data: object, info: DataInfo) -> Interactions:
    """A frame encoded for evaluation, or an encoded set as it is, if it is one of this data."""
    if isinstance(data, Interactions):
        data.refuse_other(info)
        return data
    encoded = encode_evaluation(read_frame(data, ["user", "item", *info.context_col], "data"), info)
    for side, codes in (("user", encoded.user_indices), ("item", encoded.item_indices)):
        n_unknown = int((codes == UNKNOWN).sum())
        if n_unknown:
            warn(f"{n_unknown} of {len(codes)} rows have an unknown {side}: scored as the average", UnknownIdWarning)
    return encoded


def check_labels(data: Interactions, task: str, neg_sampling: bool) -> None:
    """Refuse labels that the task cannot be measured against."""
    check_bool("neg_sampling", neg_sampling)
    if task == "rating" and neg_sampling:
        raise ValueError("task='rating' has no negatives: pass neg_sampling=False")
    if neg_sampling:
        return
    if np.isnan(data.labels).any():
        raise ValueError("the data has no label column to measure against")
    if task == "ranking" and not np.isin(data.labels, (0.0, 1.0)).all():
        raise ValueError(
            "task='ranking' without neg_sampling needs labels of 0 and 1: convert them, or pass neg_sampling=True"
        )


def with_negatives(data: Interactions, num_neg: int, seed: int) -> Interactions:
    """The set with ``num_neg`` unconsumed items beside each of its positives, whose label becomes 1.

    The rows of the data come first, then the negatives. Rows without labels count as positives.
    """
    info = data.data_info
    users, items = data.user_indices, data.item_indices
    of_training = np.repeat(np.arange(info.n_users + 1, dtype=np.int32), info.user_consumed.counts())
    seen_users = np.concatenate([of_training, users])
    seen_items = np.concatenate([info.user_consumed.codes, items])
    consumed, _ = consumed_by(seen_users, seen_items, info.n_users, info.n_items)
    positive = np.flatnonzero(~(data.labels <= 0))
    draw = unconsumed(info, consumed)
    drawn = draw(users[positive], items[positive], uniforms(seed, 0, positive, num_neg))
    both = data.take(np.concatenate([np.arange(len(data)), np.repeat(positive, num_neg)]))
    both.item_rows[len(data) :] = data.items.at(drawn, data.times[positive]).reshape(-1)
    both.labels[:] = 0.0
    both.labels[positive] = 1.0
    return both
