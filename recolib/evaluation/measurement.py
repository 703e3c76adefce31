"""Evaluation of a model on data that it did not see."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from recolib.checks import check_bool, check_integer
from recolib.data.building import encode_evaluation
from recolib.data.frame import read_frame
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.data.order import blocks_of
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.data.streaming.evaluating import stream_evaluation
from recolib.data.streaming.sources import source_of
from recolib.evaluation.metrics import Lengths, Metric, Metrics, as_metrics, at_lengths
from recolib.evaluation.pairs import EvalPairs
from recolib.evaluation.relevance import QueryBlocks
from recolib.exceptions import UnknownIdWarning, warn
from recolib.files import scratch

PAIRS_PER_BLOCK = 8192
"""Pairs that are scored together. In other blocks, float32 sums come out otherwise in their last bits, and nearly equal
scores change places: blocks are the same whatever ``eval_batch_size`` is."""


class Scorer(Protocol):
    """What answers while a model is measured, such as its ``engine``."""

    task: str
    data_info: DataInfo

    def score_rows(self, users: Rows, items: Rows) -> NDArray[np.float32]:
        """Ratings, or for ranking logits, of n user rows (with their context) and n item rows."""
        ...

    def rank_items(
        self, users: Rows, codes: NDArray[np.int32], k: int, filter_consumed: bool, include_cold_items: bool
    ) -> NDArray[np.int32]:
        """The codes of the k best items of each user, best first, 0 where a list ends early, (U, at most k)."""
        ...


class Model(Scorer, Protocol):
    """What ``evaluate`` needs of a model."""

    num_neg: int | str

    @property
    def has_catalogue(self) -> bool:
        """Whether it was trained against the catalogue, and not some negatives for each positive."""
        ...


def evaluate(
    model: Model,
    data: object,
    neg_sampling: bool,
    eval_batch_size: int = 8192,
    metrics: Metrics | None = None,
    k: Lengths = 10,
    sample_user_num: int | None = None,
    seed: int = 42,
    *,
    filter_consumed: bool = True,
    include_cold_items: bool = False,
    num_neg: int | None = None,
) -> dict[str, float]:
    """Measure a fitted model.

    Parameters
    ----------
    model
        A fitted model.
    data
        A frame, a set that ``build_evalset`` or ``build_testset`` made, or what is read in parts, as in
        ``DatasetFeat.build_trainset``: the path of Parquet files, a ``pyarrow.dataset.Dataset``, an iterator of frames
        or a function that returns one. It is not changed. Weights are ignored: each row counts once.
    neg_sampling
        Whether to add negatives for metrics of predictions: for each row with a label above 0, ``model.num_neg`` items
        that its user did not consume in training, and that do not stand beside them in ``data``. Rows with label 0 stay
        negatives. A user who consumed every item gets none, with a warning.
    eval_batch_size
        Pairs whose features are gathered at once, rounded up to a multiple of 8192. No value depends on it.
    metrics
        For rating: ``loss`` (= ``rmse``), ``rmse``, ``mae``, ``r2``. For ranking, of predictions: ``loss``
        (= ``log_loss``), ``log_loss``, ``balanced_accuracy``, ``roc_auc``, ``roc_gauc`` (the mean of the users'
        own, weighted by their rows), ``pr_auc``; of lists over the whole catalogue: ``precision``, ``recall``,
        ``hit_rate``, ``mrr``, ``map``, ``ndcg``, ``coverage``, ``novelty``. By default ``loss``. A function of one's
        own, ``f(labels, predictions)``, is a metric of predictions (ratings, or for ranking probabilities), goes by its
        ``__name__``, and more of it is better; a ``Metric`` says another name, that less is better, or that it measures
        logits, users or lists.
    k
        The length of the lists; or several, such as ``[10, 20]``: metrics of lists are then called ``ndcg@10`` and
        ``ndcg@20``.
    sample_user_num
        How many users to make lists for, drawn by ``seed``; by default all that have a row with a label above 0.
    seed
        For the negatives and for the users.
    filter_consumed
        Leave out of lists what the user consumed in training, as ``recommend_user`` does. If items that are left out
        are relevant, a ``ConsumedItemsWarning`` says how many. Where users consume the same items again, False measures
        what they would get.
    include_cold_items
        Whether lists may have items with features and no interaction, as in ``recommend_user``.
    num_neg
        How many negatives ``neg_sampling`` adds. By default as many as the model was trained with, and one where it was
        trained against the catalogue; models that are compared must have the same.

    Returns
    -------
    dict
        The value of each metric. Users and items are scored by the features that their rows show, and where the data
        has none, by what training knew last; items in lists by the latter. One list is made for each user, or for each
        distinct set of features and context that the user's rows show. Its relevant items are those that the user
        consumed then with a label above 0; unknown items, and items that the filter leaves out, count among them.
        Unknown users are scored as ``cold_start="average"`` does it.

    Raises
    ------
    ValueError
        If a metric is not one of the task, two have one name, the data was encoded for other data, the labels do not
        suit the task, a rating is to be measured without labels, or the catalogue has not as many items as negatives.

    Examples
    --------
    >>> from recolib.algorithms import FM
    >>> from recolib.data import DatasetPure, random_split
    >>> from recolib.datasets import make_movies
    >>> train, test = random_split(make_movies(n_users=50, n_items=40, n_ratings=800), test_size=0.2)
    >>> data, info = DatasetPure.build_trainset(train)
    >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    >>> sorted(evaluate(model, test, neg_sampling=True, metrics=["roc_auc", "ndcg"], k=5))
    ['ndcg', 'roc_auc']
    """
    if "__copy__" in dir(type(model)):
        model = copy(model)  # which another thread may change meanwhile
    return Measurement.of(
        model,
        data,
        neg_sampling,
        eval_batch_size,
        metrics,
        k,
        sample_user_num,
        seed,
        filter_consumed,
        include_cold_items,
        num_neg,
    ).measure(model)


@dataclass(frozen=True, eq=False)
class Measurement:
    """What to measure and on what, prepared once and used after each epoch.

    Attributes
    ----------
    metrics
        What is measured, those of lists once for each length.
    pairs
        The rows that metrics of predictions are measured on, with their negatives; None where no metric needs them.
    queries
        What lists are measured against; None where no metric needs them.
    lengths
        The length of the lists of each metric, by its name.
    """

    metrics: list[Metric]
    pairs: EvalPairs | None
    queries: QueryBlocks | None
    eval_batch_size: int
    lengths: Mapping[str, int]
    filter_consumed: bool
    include_cold_items: bool

    @classmethod
    def of(
        cls,
        model: Model,
        data: object,
        neg_sampling: bool,
        eval_batch_size: int,
        metrics: Metrics | None,
        k: Lengths,
        sample_user_num: int | None,
        seed: int,
        filter_consumed: bool,
        include_cold_items: bool = False,
        num_neg: int | None = None,
    ) -> Measurement:
        """Check the arguments of ``evaluate``, and prepare the data; of the model only settings are used."""
        lengths = check_measure(model.task, eval_batch_size, metrics, k, sample_user_num, seed, filter_consumed)
        measured = list(lengths)
        check_bool("include_cold_items", include_cold_items)
        if num_neg is not None:
            check_integer("num_neg", num_neg, 1)
        encoded = as_encoded(data, model.data_info)
        of_lists = any(metric.of_lists for metric in measured)
        of_pairs = not all(metric.of_lists for metric in measured)
        check_labels(encoded, model.task, neg_sampling, need_labels=of_pairs)
        queries = QueryBlocks.of(encoded, sample_user_num, seed) if of_lists else None
        if queries is not None and filter_consumed:
            queries.warn_of_consumed()
        pairs = EvalPairs(encoded) if of_pairs else None
        if of_pairs and neg_sampling:
            pairs = EvalPairs.with_negatives(encoded, num_neg or _n_negatives(model), seed)
        by_name = {metric.name: length for metric, length in lengths.items()}
        return cls(measured, pairs, queries, eval_batch_size, by_name, filter_consumed, include_cold_items)

    def measure(self, model: Scorer) -> dict[str, float]:
        """The value of each metric, in their order."""
        values = self._of_pairs(model) | self._of_lists(model)
        return {metric.name: values[metric.name] for metric in self.metrics}

    def scores(self, model: Scorer, pairs: EvalPairs) -> NDArray[np.float32]:
        """Ratings, or for ranking logits, of pairs."""
        step = -(-self.eval_batch_size // PAIRS_PER_BLOCK) * PAIRS_PER_BLOCK
        scores = scratch(len(pairs), np.float32)
        for some in blocks_of(len(pairs), step):
            users, items = pair_rows(pairs.at(some))
            for at in blocks_of(len(users), PAIRS_PER_BLOCK):
                scores[some.start + at.start : some.start + at.stop] = model.score_rows(users[at], items[at])
        return scores

    def _of_pairs(self, model: Scorer) -> dict[str, float]:
        if self.pairs is None:
            return {}
        data, scores = self.pairs, self.scores(model, self.pairs)
        of_pairs = [metric for metric in self.metrics if not metric.of_lists]
        return {metric.name: measure_pairs(model.task, metric, data, scores) for metric in of_pairs}

    def _of_lists(self, model: Scorer) -> dict[str, float]:
        if self.queries is None:
            return {}
        info, k = model.data_info, max(self.lengths.values())
        lists, of_hits, relevant = list[Codes](), list[NDArray[np.bool_]](), list[NDArray[np.int64]]()
        for queries in self.queries:
            found = model.rank_items(queries.users, queries.codes, k, self.filter_consumed, self.include_cold_items)
            filled = np.zeros((len(found), k), np.int32)
            filled[:, : found.shape[1]] = found
            lists.append(filled)
            of_hits.append(queries.hits(filled))
            relevant.append(queries.n_relevant)
        items, hits, n_relevant = np.concatenate(lists), np.concatenate(of_hits), np.concatenate(relevant)
        consumers = info.item_consumed.counts()
        values: dict[str, float] = {}
        for metric in self.metrics:
            if metric.of_lists:
                best = slice(self.lengths[metric.name])
                is_of_hits = metric.needs == "hits"
                arrays = (hits[:, best], n_relevant) if is_of_hits else (items[:, best], consumers, info.n_users)
                values[metric.name] = metric(*arrays)
        return values


def measure_pairs(task: str, metric: Metric, data: EvalPairs | Interactions, scores: NDArray[np.float32]) -> float:
    """A metric of predictions, whose scores are there: ratings, or for ranking logits."""
    labels = data.labels if metric.is_own else data.labels.astype(np.float64)
    if metric.needs == "users":
        return metric(labels, scores, data.user_keys)
    if metric.needs == "predictions" and task == "ranking":
        return metric(labels, expit(scores.astype(np.float64)))
    return metric(labels, scores)


def pair_rows(data: Interactions) -> tuple[Rows, Rows]:
    """The rows of both sides, the context on the user's; unknown ids as ``cold_start="average"`` scores them."""
    users = data.users.rows[torch.from_numpy(data.user_rows)].averaged(data.user_indices)
    items = data.items.rows[torch.from_numpy(data.item_rows)].averaged(data.item_indices)
    return users.join(data.context), items


def check_measure(
    task: str,
    eval_batch_size: int,
    metrics: Metrics | None,
    k: Lengths,
    sample_user_num: int | None,
    seed: int,
    filter_consumed: bool,
) -> dict[Metric, int]:
    """The metrics, ``loss`` by default, with the length of their lists, if all is as it should be."""
    for name, value, low in (("eval_batch_size", eval_batch_size, 1), ("seed", seed, 0)):
        check_integer(name, value, low)
    if sample_user_num is not None:
        check_integer("sample_user_num", sample_user_num, 1)
    check_bool("filter_consumed", filter_consumed)
    return at_lengths(as_metrics(metrics, task), k)


def as_encoded(data: object, info: DataInfo) -> Interactions:
    """A frame encoded for evaluation, or an encoded set as it is, if it is one of this data."""
    if isinstance(data, Interactions):
        data.refuse_other(info)
        return replace(data, data_info=info, users=info.with_log(data.users))  # the model's data says who consumed what
    source = source_of(data, "data")
    if source is None:
        encoded = encode_evaluation(read_frame(data, ["user", "item", *info.context_col], "data"), info)
    else:
        encoded = stream_evaluation(source, info)
    for side, table, rows in (("user", encoded.users, encoded.user_rows), ("item", encoded.items, encoded.item_rows)):
        n_unknown = sum(int((table.owner[rows[at]] <= UNKNOWN).sum()) for at in blocks_of(len(rows)))
        if n_unknown:
            warn(f"{n_unknown} of {len(rows)} rows have an unknown {side}: scored as the average", UnknownIdWarning)
    return encoded


def check_labels(data: Interactions, task: str, neg_sampling: bool, need_labels: bool = True) -> None:
    """Raise if the task cannot be measured against these labels; lists need none: each row is an observation."""
    check_bool("neg_sampling", neg_sampling)
    if task == "rating" and neg_sampling:
        raise ValueError("task='rating' has no negatives: pass neg_sampling=False")
    if neg_sampling:
        return
    if any(np.isnan(data.labels[at]).any() for at in blocks_of(len(data))):
        if not need_labels:
            return
        raise ValueError("the data has no label column to measure against")
    is_binary = (np.isin(data.labels[at], (0.0, 1.0)).all() for at in blocks_of(len(data)))
    if task == "ranking" and not all(is_binary):
        raise ValueError(
            "task='ranking' without neg_sampling needs labels of 0 and 1: convert them, or pass neg_sampling=True"
        )


def _n_negatives(model: Model) -> int:
    """As many as in training; one where training has the catalogue."""
    return model.num_neg if isinstance(model.num_neg, int) and not model.has_catalogue else 1
