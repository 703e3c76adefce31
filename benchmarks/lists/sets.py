"""The data sets of ``benchmarks.lists``, and how they are split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.experiments import CONTEXT, PARTS, frappe
from benchmarks.generated import tastes_frame
from benchmarks.lists.task import MISSING, Relevant, Task
from recolib.datasets import fetch_movielens, make_movies

LEAST, TRAIN, TRAIN_AND_VALID = 5, 0.7, 0.8
USER_COL = ["sex", "age", "occupation"]


class Frames(NamedTuple):
    """The parts of a split: positives, with all columns."""

    train: pd.DataFrame
    valid: pd.DataFrame
    test: pd.DataFrame


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes
    ----------
    title
        What it is.
    frames
        Reads or makes its parts.
    columns
        What ``DatasetFeat.build_trainset`` is told of its features, or of its context.
    """

    title: str
    frames: Callable[[], Frames]
    columns: dict[str, Any]

    @property
    def context(self) -> list[str]:
        """The context columns, which a list is asked for with."""
        return self.columns.get("context_col", [])


def by_user(frame: pd.DataFrame, by_time: bool = False) -> Frames:
    """Of each user with five positives or more 70 % to train, 10 % to validate, 20 % to test, at random or by time."""
    frame = frame[frame.groupby("user")["item"].transform("size") >= LEAST]
    keys = frame["time"] if by_time else np.random.default_rng(0).random(len(frame))
    frame = frame.assign(key=keys).sort_values(["user", "key"], kind="stable").drop(columns="key")
    share = frame.groupby("user").cumcount() / frame.groupby("user")["user"].transform("size")
    is_train, is_test = share < TRAIN, share >= TRAIN_AND_VALID
    return Frames(frame[is_train], frame[~is_train & ~is_test], frame[is_test])


def liked(frame: pd.DataFrame) -> pd.DataFrame:
    """Ratings of four stars or more."""
    return frame[frame["label"] >= 4].assign(label=1)


def frames_of_frappe() -> Frames:
    """Each user's apps split at random. Training has all uses of a training app; each other app is asked for once."""
    uses = pd.concat([frappe(part).query("label > 0") for part in PARTS], ignore_index=True).assign(label=1)
    once = uses.sample(frac=1, random_state=0).drop_duplicates(["user", "item"]).sort_values(["user", "item"])
    pairs = by_user(once)
    train = uses.merge(pairs.train[["user", "item"]])
    return Frames(train, pairs.valid, pairs.test)


def genres(n: int) -> dict[str, Any]:
    """The columns of movies with as many genres."""
    names = [f"genre{number}" for number in range(1, n + 1)]
    return {"user_col": USER_COL, "item_col": names, "sparse_col": USER_COL, "multi_sparse_col": [names]}


SETS = {
    "ml-1m-random": DataSet("MovieLens 1M, at random", lambda: by_user(liked(fetch_movielens("1m"))), genres(6)),
    "ml-1m-time": DataSet("MovieLens 1M, by time", lambda: by_user(liked(fetch_movielens("1m")), True), genres(6)),
    "ml-100k-random": DataSet("MovieLens 100K, at random", lambda: by_user(liked(fetch_movielens("100k"))), genres(6)),
    "frappe": DataSet("Frappe", frames_of_frappe, {"context_col": CONTEXT, "sparse_col": CONTEXT}),
    "movies": DataSet(
        "made-up movies, few and sparse",
        lambda: by_user(liked(make_movies(n_users=3000, n_items=2000, n_ratings=60_000, seed=0))),
        genres(3),
    ),
    "catalogue": DataSet(
        "made-up tastes, many items",
        lambda: by_user(tastes_frame(n_users=5000, n_items=10_000, mean_size=50)),
        {"user_col": ["segment"], "item_col": ["category"], "sparse_col": ["segment", "category"]},
    ),
}


def write(data_set: DataSet, folder: Path) -> dict[str, int]:
    """Write the task of a data set, its training rows and what its lists are asked for with; say how large it is.

    Users and items of all files are codes: places among those of the training part, in order.
    """
    parts = data_set.frames()
    users, items = (np.unique(parts.train[name]) for name in ("user", "item"))

    def encoded(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame[frame["user"].isin(users)]
        at = np.searchsorted(items, frame["item"]).clip(max=len(items) - 1)
        codes = np.where(items[at] == frame["item"], at, MISSING)
        return frame.assign(user=np.searchsorted(users, frame["user"]), item=codes)

    train, valid, test = map(encoded, parts)
    keys = ["user", *data_set.context]
    queries = pd.concat([valid, test])[keys].drop_duplicates().sort_values(keys).reset_index(drop=True)
    place = queries.assign(query=np.arange(len(queries)))
    relevant: list[Relevant] = []
    for part in (valid, test):
        wanted = part.merge(place, on=keys).groupby("query")["item"].agg(list)
        relevant.append(Relevant.of(wanted.get(query, []) for query in range(len(queries))))
    pairs = train[["user", "item"]].drop_duplicates()
    task = Task(pairs["user"].to_numpy(), pairs["item"].to_numpy(), queries["user"].to_numpy(), *relevant)
    task.write(folder)
    train.to_csv(folder / "train.csv", index=False)
    queries.to_csv(folder / "queries.csv", index=False)
    sizes = {"users": task.n_users, "items": task.n_items, "pairs": len(pairs), "lists": len(queries)}
    return sizes | {"valid": len(valid), "test": len(test)}
