"""Metrics: of predictions, of a user's predictions, of lists, and of all lists over the catalogue.

A ``Metric`` is a function, its name, what it is called with, and which way is better. ``METRICS`` has recolib's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from recolib.checks import check_bool, check_choice, check_integer, nearest, suggestion
from recolib.evaluation.prediction_metrics import (
    balanced_accuracy,
    log_loss,
    mae,
    pr_auc,
    r2,
    rmse,
    roc_auc,
    roc_gauc,
)

Hits = NDArray[np.bool_]
Counts = NDArray[np.integer]
Needs = Literal["predictions", "logits", "users", "hits", "catalogue"]
TRAIN_LOSS = "train_loss"


@dataclass(frozen=True)
class Metric:
    """A metric, for ``metrics=`` of ``evaluate``, ``fit`` and ``update``, and ``metric=`` of ``feature_importance``.

    Parameters
    ----------
    name
        What it is called in results; in ``history_`` the column is ``eval_`` and this name.
    function
        What computes it: arrays to a number.
    needs
        What the function is called with.

        * ``"predictions"``: labels (n,) and predictions (n,): ratings, or for ranking probabilities
        * ``"logits"``: labels (n,) and logits (n,), for ranking alone. In float32 a probability is exactly 1 from a
          logit of 17 on, so that ranks are those of logits
        * ``"users"``: labels (n,), ratings or logits (n,), and a number (n,) that says which rows are of one user
        * ``"hits"``: hits (Q, k), which items of Q lists are relevant, best rank first, and n_relevant (Q,), how many
          items are relevant to each, at least 1. A list that ends early is filled with misses. For ranking alone
        * ``"catalogue"``: the codes of the items in Q lists (Q, k), 0 where a list ends early, how many users consumed
          each code (n_items + 1,), and the number of users. For ranking alone
    lower_is_better
        Whether less is better.

    Raises
    ------
    ValueError
        If ``name`` is empty, or ``needs`` is none of these.
    TypeError
        If an argument is of another type.

    Examples
    --------
    >>> import numpy as np
    >>> from recolib.algorithms import FM
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> from recolib.evaluation import Metric, evaluate
    >>> frame = make_movies(n_users=50, n_items=40, n_ratings=800)
    >>> data, info = DatasetPure.build_trainset(frame)
    >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    >>> def mean_probability(labels, predictions):
    ...     return predictions[labels == 1].mean()
    >>> brier = Metric("brier", lambda labels, p: np.mean((labels - p) ** 2), lower_is_better=True)
    >>> first_hit = Metric("first_hit", lambda hits, n_relevant: hits[:, 0].mean(), needs="hits")
    >>> list(evaluate(model, frame, neg_sampling=True, metrics=["roc_auc", mean_probability, brier, first_hit]))
    ['roc_auc', 'mean_probability', 'brier', 'first_hit']
    """

    name: str
    function: Callable[..., Any]
    needs: Needs = "predictions"
    lower_is_better: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not isinstance(self.name, str) or not callable(self.function):
            raise TypeError(f"a Metric is a name and a function, got {self.name!r} and {self.function!r}")
        if not self.name:
            raise ValueError("a Metric needs a name, got ''")
        check_choice("needs", self.needs, get_args(Needs))
        check_bool("lower_is_better", self.lower_is_better)

    def __call__(self, *arrays: object) -> float:
        """The metric's value.

        Raises
        ------
        TypeError
            If the function does not give a number.
        """
        value = self.function(*arrays)
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
            raise TypeError(f"metric {self.name!r} must give a number, and gave {value!r}")
        return float(value)

    @property
    def is_own(self) -> bool:
        """Whether it is one of recolib's, which go through their arrays block by block."""
        return any(self.function is one.function for metrics in METRICS.values() for one in metrics.values())

    @property
    def of_lists(self) -> bool:
        """Whether it measures lists; all others measure predictions."""
        return self.needs in ("hits", "catalogue")


OneMetric = str | Metric | Callable[[Any, Any], Any]
"""The name of one of recolib's metrics, a function of labels and predictions, or a ``Metric``."""
Metrics = OneMetric | Sequence[OneMetric]
"""What ``metrics=`` takes."""


Lengths = int | Sequence[int]
"""What ``k=`` takes: the length of lists, or several."""


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
    """Mean discounted gain, divided by that of the best possible list.

    References
    ----------
    Järvelin and Kekäläinen, *Cumulated Gain-Based Evaluation of IR Techniques*, ACM TOIS 2002; gain 1 for a
    relevant item, discount log2(1 + rank).
    """
    gains = 1 / np.log2(np.arange(2, hits.shape[1] + 2))  # rank 1 is discounted by log2(2) = 1
    ideal = np.cumsum(gains)[np.minimum(n_relevant, hits.shape[1]) - 1]
    return float(np.mean(hits @ gains / ideal))


def coverage(items: Counts, n_consumers: Counts, n_users: int) -> float:
    """Share of the catalogue that is in any list.

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


def _by_name(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


METRICS: Mapping[str, Mapping[str, Metric]] = {
    "rating": _by_name(
        Metric("loss", rmse, lower_is_better=True),
        Metric("rmse", rmse, lower_is_better=True),
        Metric("mae", mae, lower_is_better=True),
        Metric("r2", r2),
    ),
    "ranking": _by_name(
        Metric("loss", log_loss, "logits", lower_is_better=True),
        Metric("log_loss", log_loss, "logits", lower_is_better=True),
        Metric("balanced_accuracy", balanced_accuracy, "logits"),
        Metric("roc_auc", roc_auc, "logits"),
        Metric("pr_auc", pr_auc, "logits"),
        Metric("roc_gauc", roc_gauc, "users"),
        Metric("precision", precision, "hits"),
        Metric("recall", recall, "hits"),
        Metric("hit_rate", hit_rate, "hits"),
        Metric("mrr", mean_reciprocal_rank, "hits"),
        Metric("map", mean_average_precision, "hits"),
        Metric("ndcg", ndcg, "hits"),
        Metric("coverage", coverage, "catalogue"),
        Metric("novelty", novelty, "catalogue"),
    ),
}
"""recolib's metrics, by task and name. A name means the same way of better in both tasks."""
ALL = METRICS["rating"] | METRICS["ranking"]
FOR_RANKING = ("logits", "hits", "catalogue")
"""What a rating has none of."""


def as_metrics(metrics: Metrics | None, task: str) -> list[Metric]:
    """Metrics by what a caller gave; ``loss`` by default.

    Raises
    ------
    ValueError
        If a name is not that of a metric of the task, a name stands there twice, or a function has none.
    TypeError
        If one is no name, no function and no ``Metric``.
    """
    if metrics is None or isinstance(metrics, str | Metric) or callable(metrics):
        given: list[object] = ["loss" if metrics is None else metrics]
    elif isinstance(metrics, Sequence):
        given = list(metrics) or ["loss"]
    else:
        given = [metrics]
    wrong = [one for one in given if not (isinstance(one, str | Metric) or callable(one))]
    if wrong:
        raise TypeError(f"metrics must be a list of names, functions or Metrics, got {metrics!r}")
    known = METRICS[task]
    unknown = [one for one in given if isinstance(one, str) and one not in known]
    unknown += [one.name for one in given if isinstance(one, Metric) and task == "rating" and one.needs in FOR_RANKING]
    if unknown:
        raise ValueError(
            f"metrics {unknown} are not of task={task!r}, which has {list(known)}{_instead(unknown[0], known)}"
        )
    found = [known[one] if isinstance(one, str) else _own(one) for one in given]
    _refuse_twice(found)
    return found


def at_lengths(metrics: Sequence[Metric], k: object) -> dict[Metric, int]:
    """Metrics with the length of their lists; those of lists once for each of several, by names such as ``ndcg@10``.

    Raises
    ------
    ValueError, TypeError
        If a length is no integer of at least 1, there is none, or one stands there twice.
    """
    if not isinstance(k, list | tuple | range):
        check_integer("k", k, 1)
        return dict.fromkeys(metrics, cast("int", k))
    lengths = list(cast("Sequence[int]", k))
    for length in lengths:
        check_integer("k", length, 1)
    if not lengths or len(set(lengths)) < len(lengths):
        raise ValueError(f"k must be the length of lists, or several distinct ones, got {k!r}")
    found: dict[Metric, int] = {}
    for metric in metrics:
        for length in lengths if metric.of_lists else lengths[:1]:
            found[replace(metric, name=f"{metric.name}@{length}") if metric.of_lists else metric] = int(length)
    _refuse_twice(list(found))
    return found


def _refuse_twice(metrics: Sequence[Metric]) -> None:
    names = [metric.name for metric in metrics]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"metrics has {twice} twice: leave one out, or give it another name with Metric(name, ...)")


def _instead(name: str, known: Mapping[str, Metric]) -> str:
    """What to ask for instead of a name that is not of the task."""
    if name in ALL:
        is_of_lists = ALL[name].of_lists
        return (
            "; lists need task='ranking': docs/choosing.md says how, under 'Lists from ratings'" if is_of_lists else ""
        )
    at = re.fullmatch(r"(.*?)(?:@|_at_)k?(\d*)", name)
    if at is None:
        return suggestion(name, known)
    near = nearest(at[1], known)
    return "" if near is None else f"; did you mean {near!r} with k={at[2] or 10}?"


def _own(given: object) -> Metric:
    """A metric of the caller's own, whose name is not one of recolib's."""
    name = given.name if isinstance(given, Metric) else getattr(given, "__name__", "<lambda>")
    if not isinstance(given, Metric) and not name.isidentifier():
        raise ValueError(f"a metric needs a name, and {given!r} has none: pass Metric(name, function)")
    if name in ALL and not any(given is metrics.get(name) for metrics in METRICS.values()):
        raise ValueError(f"{name!r} is a metric of recolib's: pass the name, or another one with Metric(name, ...)")
    return given if isinstance(given, Metric) else Metric(name, cast("Callable[..., Any]", given))


def less_is_better(column: str) -> bool | None:
    """Whether less is better in a column of ``history_``; None for a metric of one's own, of which it is not known."""
    name = column.removeprefix("eval_").partition("@")[0]
    return True if column == TRAIN_LOSS else ALL[name].lower_is_better if name in ALL else None
