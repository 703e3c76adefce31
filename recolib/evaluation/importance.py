"""How much worse a model's predictions get when a column is shuffled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from recolib.checks import check_integer, suggestion
from recolib.data.field import Side
from recolib.data.interactions import Interactions
from recolib.data.rows import Rows
from recolib.data.schema import Schema
from recolib.evaluation.measurement import Measurement, Model, measure_pairs, pair_rows
from recolib.evaluation.metrics import METRICS, Metric, OneMetric, as_metrics

PAIRS_AT_ONCE = 8192
Permutation = NDArray[np.integer]


@dataclass(frozen=True)
class Place:
    """Where a column is in the rows: on the user's side (with the context) or the item's, as codes or as numbers."""

    name: str
    is_item: bool
    codes: slice
    dense: slice

    def exchanged(self, rows: Rows, others: Rows) -> Rows:
        """Rows with this column's values taken from other rows."""
        codes, dense = rows.codes.clone(), rows.dense.clone()
        codes[:, self.codes] = others.codes[:, self.codes]
        dense[:, self.dense] = others.dense[:, self.dense]
        return Rows(codes, dense, rows.past)


def importance(
    model: Model, data: object, neg_sampling: bool, metric: OneMetric | None, n_repeats: int, seed: int, verbose: int
) -> pd.DataFrame:
    """The importance of each column as a table, greatest first; see ``Predictor.feature_importance``."""
    measure = metric_of_predictions(metric, model.task)
    check_integer("n_repeats", n_repeats, 1)
    check_integer("verbose", int(verbose) if isinstance(verbose, bool) else verbose, 0)
    measured = Measurement.of(model, data, neg_sampling, PAIRS_AT_ONCE, measure, 1, None, seed, False).pairs
    assert measured is not None
    pairs = measured.whole()
    as_it_is = _measured(model, measure, pairs)
    columns = list(places(model.data_info.schema))
    permutations = [np.random.default_rng([seed, repeat]).permutation(len(pairs)) for repeat in range(n_repeats)]
    lost = np.empty((len(columns), n_repeats))
    with tqdm(total=lost.size, desc="importance", unit="permutation", disable=not verbose, leave=False) as bar:
        for row, column in zip(lost, columns, strict=True):
            for repeat, permutation in enumerate(permutations):
                row[repeat] = as_it_is - _measured(model, measure, pairs, column, permutation)
                bar.update()
    if measure.lower_is_better:
        lost = -lost
    found = {"column": [one.name for one in columns], "importance": lost.mean(1), "deviation": lost.std(1)}
    frame = pd.DataFrame(found).sort_values("importance", ascending=False, kind="stable", ignore_index=True)
    frame.attrs.update(metric=measure.name, value=as_it_is)
    return frame


def metric_of_predictions(metric: OneMetric | None, task: str) -> Metric:
    """The metric to lose; by default ``roc_auc``, or ``rmse`` for a task of rating."""
    given = metric if metric is not None else ("rmse" if task == "rating" else "roc_auc")
    known = [one.name for one in METRICS[task].values() if not one.of_lists]
    if isinstance(given, str) and given not in known:
        raise ValueError(f"metric must be one of {known} or a function, got {given!r}{suggestion(given, known)}")
    found = as_metrics(given, task)
    if len(found) > 1 or found[0].of_lists:
        raise ValueError(f"metric must be one of predictions, such as {known}, got {metric!r}")
    return found[0]


def places(schema: Schema) -> Iterator[Place]:
    """The places of all columns; a multi-sparse group is one column."""
    nowhere = slice(0, 0)
    both: tuple[tuple[Side, ...], ...] = (("user", "context"), ("item",))
    for sides in both:
        n_codes = n_dense = 0
        for side in sides:
            for field in schema.codes(side):
                yield Place(field.name, side == "item", _behind(n_codes, schema.span(field)), nowhere)
            for field in schema.dense(side):
                yield Place(field.name, side == "item", nowhere, _behind(n_dense, schema.span(field)))
            n_codes, n_dense = n_codes + schema.n_codes(side), n_dense + schema.n_dense(side)


def _behind(n: int, span: slice) -> slice:
    return slice(n + span.start, n + span.stop)


def _measured(
    model: Model,
    metric: Metric,
    pairs: Interactions,
    column: Place | None = None,
    permutation: Permutation | None = None,
) -> float:
    """The metric on pairs; with a column, on pairs whose values of it are permuted."""
    scores = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        block = np.arange(start, min(start + PAIRS_AT_ONCE, len(pairs)))
        users, items = pair_rows(pairs.take(block))
        if column is not None and permutation is not None:
            other_users, other_items = pair_rows(pairs.take(permutation[block]))
            if column.is_item:
                items = column.exchanged(items, other_items)
            else:
                users = column.exchanged(users, other_users)
        scores[block] = model.score_rows(users, items)
    return measure_pairs(model.task, metric, pairs, scores)
