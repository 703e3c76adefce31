"""Comparison: what popularity and EASE make of the same data, so that one sees what a model is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.algorithms import EASE
from recolib.cli.events import Events
from recolib.data import DatasetPure
from recolib.data.info import DataInfo
from recolib.data.rows import Rows
from recolib.evaluation.measurement import evaluate
from recolib.recommender import Recommender

MAX_EASE_ITEMS = 8000
"""Items up to which EASE is compared: it inverts matrices of all of them by all."""
MAX_USERS = 10_000
LISTS = "ndcg", "recall", "hit_rate", "coverage"
USERS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Popularity:
    """What lists the same items for all users, most popular first, as ``evaluate`` asks a model."""

    data_info: DataInfo
    task: str = "ranking"
    num_neg: int | str = 1
    has_catalogue: bool = True

    def score_rows(self, users: Rows, items: Rows) -> NDArray[np.float32]:
        """Nothing: lists alone are compared."""
        raise NotImplementedError("popularity makes lists alone")

    def rank_items(
        self, users: Rows, codes: NDArray[np.int32], k: int, filter_consumed: bool, include_cold_items: bool
    ) -> NDArray[np.int32]:
        """The most popular items that users did not consume, by their codes, (U, k)."""
        info = self.data_info
        ranked = info.ranked_items
        place = np.argsort(ranked)  # of each item, by code - 1
        found: list[NDArray[np.int32]] = []
        for start in range(0, len(codes), USERS_AT_ONCE):
            block = codes[start : start + USERS_AT_ONCE]
            is_left_out = np.zeros((len(block), len(ranked)), bool)
            if filter_consumed:
                users_at, items = info.user_consumed.of(block)
                is_left_out[users_at, place[items - 1]] = True
            first = np.argsort(is_left_out, axis=1, kind="stable")[:, :k]
            found.append(np.where(np.take_along_axis(is_left_out, first, 1), 0, ranked[first]).astype(np.int32))
        return np.concatenate(found)


def consumed_frame(info: DataInfo) -> pd.DataFrame:
    """What users consumed in training, labelled by whether they liked it."""
    users = np.repeat(np.arange(info.n_users + 1), info.user_consumed.counts())
    items = info.user_consumed.codes
    decode = {side: info.vocabs[side].decode for side in ("user", "item")}
    return pd.DataFrame(
        {
            "user": pd.Series(decode["user"](users)),
            "item": pd.Series(decode["item"](items)),
            "label": info.liked.astype(np.int64),
        }
    )


def baselines(info: DataInfo) -> dict[str, Popularity | Recommender]:
    """Popularity, and EASE where the catalogue is small enough."""
    found: dict[str, Popularity | Recommender] = {"popularity": Popularity(info)}
    if info.n_items <= MAX_EASE_ITEMS:
        data, consumed = DatasetPure.build_trainset(consumed_frame(info), consumed="all")
        found["EASE"] = EASE("ranking", consumed).fit(data, neg_sampling=True, verbose=0)
    return found


def compare(model: Recommender, test: Events, k: int) -> list[Mapping[str, object]]:
    """A row of metrics of lists for each: the model, popularity and EASE."""
    methods = baselines(model.data_info)
    methods = {model.model_name: model} | {name: one for name, one in methods.items() if name != model.model_name}
    n_users = MAX_USERS if test.more_than(MAX_USERS, "user") else None
    return [{"method": name, **measured(one, test, LISTS, k, n_users)} for name, one in methods.items()]


def measured(
    model: Recommender | Popularity, test: Events, metrics: Sequence[str], k: int, n_users: int | None
) -> dict[str, float]:
    """Metrics by name, those of lists with their length."""
    scored = cast("Any", model)  # a model's engine is what makes its lists, popularity makes them itself
    is_ranking = model.task == "ranking"
    found = evaluate(
        scored, cast("Any", test.data), neg_sampling=is_ranking, metrics=list(metrics), k=k, sample_user_num=n_users
    )
    return {f"{name}@{k}" if name in LISTS else name: value for name, value in found.items()}
