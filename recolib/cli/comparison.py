"""Comparison: what popularity and EASE make of the same data, so that one sees what a model is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from recolib.data.info import DataInfo
from recolib.data.rows import Rows
from recolib.evaluation.measurement import evaluate
from recolib.recommender import Recommender

MAX_EASE_ITEMS = 8000
"""Items up to which EASE is compared: it inverts a matrix of all of them by all."""
RIDGE = 200.0
MAX_USERS = 10_000
LISTS = "ndcg", "recall", "hit_rate", "coverage"
USERS_AT_ONCE = 256
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Baseline:
    """What makes lists of what users liked alone, as ``evaluate`` asks a model.

    Attributes
    ----------
    data_info
        The data.
    scores
        Items by items: what a liked item says of each other, (n_items, n_items); or of all, (1, n_items).
    """

    data_info: DataInfo
    scores: Floats
    task: str = "ranking"
    num_neg: int | str = 1
    has_catalogue: bool = True

    def score_rows(self, users: Rows, items: Rows) -> NDArray[np.float32]:
        """Nothing: lists alone are compared."""
        raise NotImplementedError("baselines make lists alone")

    def rank_items(
        self, users: Rows, codes: NDArray[np.int32], k: int, filter_consumed: bool, include_cold_items: bool
    ) -> NDArray[np.int32]:
        """The best items of users by their codes, (U, k)."""
        liked, info = liked_matrix(self.data_info), self.data_info
        found: list[NDArray[np.int32]] = []
        for start in range(0, len(codes), USERS_AT_ONCE):
            block = codes[start : start + USERS_AT_ONCE]
            is_general = len(self.scores) == 1
            scores = np.repeat(self.scores, len(block), 0) if is_general else liked[block] @ self.scores
            if filter_consumed:
                users_at, items = info.user_consumed.of(block)
                scores[users_at, items - 1] = -np.inf
            best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            is_left_out = np.isneginf(np.take_along_axis(scores, best, 1))
            found.append(np.where(is_left_out, 0, best + 1).astype(np.int32))
        return np.concatenate(found)


def liked_matrix(info: DataInfo) -> sparse.csr_array:
    """Whether each user liked each item, (n_users + 1, n_items)."""
    parts = info.liked.astype(np.float32), info.user_consumed.codes, info.user_consumed.starts
    return sparse.csr_array(parts, shape=(info.n_users + 1, info.n_items + 1))[:, 1:]


def baselines(info: DataInfo) -> dict[str, Baseline]:
    """Popularity, and EASE (Steck, WWW 2019) where the catalogue is small enough."""
    found = {"popularity": Baseline(info, info.popularity[None, 1:].astype(np.float64))}
    if info.n_items <= MAX_EASE_ITEMS:
        liked = liked_matrix(info)
        gram = (liked.T @ liked).toarray().astype(np.float64)
        gram[np.diag_indices_from(gram)] += RIDGE
        inverse = np.linalg.inv(gram)
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0)
        found["EASE"] = Baseline(info, weights.astype(np.float32))
    return found


def compare(model: Recommender, test: pd.DataFrame, k: int) -> list[Mapping[str, object]]:
    """A row of metrics of lists for each: the model, popularity and EASE."""
    methods = {model.model_name: model, **baselines(model.data_info)}
    n_users = MAX_USERS if len(test["user"].unique()) > MAX_USERS else None
    return [{"method": name, **measured(one, test, LISTS, k, n_users)} for name, one in methods.items()]


def measured(
    model: Recommender | Baseline, test: pd.DataFrame, metrics: Sequence[str], k: int, n_users: int | None
) -> dict[str, float]:
    """Metrics by name, those of lists with their length."""
    scored = cast("Any", model)  # a model's engine is what makes its lists, a baseline makes them itself
    is_ranking = model.task == "ranking"
    found = evaluate(scored, test, neg_sampling=is_ranking, metrics=list(metrics), k=k, sample_user_num=n_users)
    return {f"{name}@{k}" if name in LISTS else name: value for name, value in found.items()}
