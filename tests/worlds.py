"""Small worlds for tests: two tastes that a model must find, with every kind of column."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from recolib.data import DataInfo, DatasetFeat, DatasetPure, Interactions
from recolib.nn import Network
from recolib.recommender import Recommender

N_USERS, N_ITEMS = 24, 20
PANDAS = int(pd.__version__.split(".")[0])
HASHES_NUL = PANDAS >= 3
"""Before pandas 3, text was hashed up to its first NUL: ids that differ behind one were one."""


def two_tastes(n_users: int = N_USERS, n_items: int = N_ITEMS, seed: int = 0) -> pd.DataFrame:
    """Even users like even items and odd users odd ones; each pair of one taste stands there with chance ¾.

    Ids are 100 + number for users and "i" + number for items, so that ids are never codes.
    """
    rng = np.random.default_rng(seed)
    pairs = [(u, i) for u in range(n_users) for i in range(n_items) if u % 2 == i % 2 and rng.random() < 0.75]
    users, items = (np.array(part) for part in zip(*pairs, strict=True))
    n = len(pairs)
    return pd.DataFrame(
        {
            "user": 100 + users,
            "item": [f"i{i}" for i in items],
            "label": 1,
            "time": rng.permutation(n),
            "sex": np.where(users % 2 == 0, "F", "M"),
            "age": 20.0 + users % 7,
            "genre1": np.where(items % 2 == 0, "even", "odd"),
            "genre2": np.where(items % 3 == 0, "third", "missing"),
            "price": items * 1.5,
            "hour": rng.integers(0, 4, n),
            "tags": [[["x", "y", "z"][i % 3]] * (i % 2) for i in items],
        }
    )


def rated(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The world with ratings: 5 within the taste, and rows across it rated 1."""
    rng = np.random.default_rng(seed)
    across = frame.sample(frac=0.5, random_state=seed).copy()
    flipped = {f"i{i}": f"i{i + 1 if i % 2 == 0 else i - 1}" for i in range(N_ITEMS)}
    of_item = frame.drop_duplicates("item").set_index("item")[["genre1", "genre2", "price", "tags"]]
    across["item"] = across["item"].map(flipped)
    across = across[across["item"].isin(of_item.index)]
    for column in of_item.columns:
        across[column] = across["item"].map(of_item[column])
    both = pd.concat([frame.assign(label=5), across.assign(label=1)], ignore_index=True)
    return both.iloc[rng.permutation(len(both))].reset_index(drop=True)


@dataclass(frozen=True)
class World:
    """A frame, and how to encode it; ``more`` are further arguments."""

    frame: pd.DataFrame
    columns: dict[str, Any] | None
    more: Mapping[str, Any] = field(default_factory=dict)

    def build(self, frame: pd.DataFrame | None = None) -> tuple[Interactions, DataInfo]:
        """The encoded set and the data of this frame, or of another with the same columns."""
        frame = self.frame if frame is None else frame
        return (
            DatasetPure.build_trainset(frame)
            if self.columns is None and not self.more
            else DatasetFeat.build_trainset(frame, **(self.columns or {}), **self.more)
        )

    def apart(self, step: int = 1) -> World:
        """The world with the features of users and items in frames of their own, whose rows stand in this order.

        Two users and two items more have features but no event.
        """
        columns = self.columns or {}
        sources: dict[str, pd.DataFrame] = {}
        for side, new in (("user", [5, "five"]), ("item", ["fresh", 0])):
            of_side = [side, *columns.get(f"{side}_col", [])]
            known = self.frame.drop_duplicates(side)[of_side]
            extra = known.head(2).assign(**{side: pd.Series(new, known.index[:2], dtype=object)})
            sources[f"{side}_features"] = pd.concat([known.astype({side: object}), extra]).iloc[::step]
        features = [name for source in sources.values() for name in source.columns[1:]]
        return World(self.frame.drop(columns=features), columns, sources)


COLUMNS: dict[str, dict[str, Any] | None] = {
    "pure": None,
    "sparse": {"user_col": ["sex"], "item_col": ["genre1"], "sparse_col": ["sex", "genre1"]},
    "all kinds": {
        "user_col": ["sex", "age"],
        "item_col": ["genre1", "genre2", "price", "tags"],
        "context_col": ["hour"],
        "sparse_col": ["sex", "hour"],
        "dense_col": ["age", "price"],
        "multi_sparse_col": [["genre1", "genre2"], "tags"],
    },
}
KINDS = list(COLUMNS)


def make_world(task: str, kind: str) -> World:
    """The world of a task, with the columns of ``kind``."""
    frame = two_tastes()
    return World(frame if task == "ranking" else rated(frame), COLUMNS[kind])


def with_network(model: Recommender, change: Callable[[Network], object]) -> Recommender:
    """Another model like this one, whose network was changed; the model itself never changes."""
    other, network = copy.copy(model), copy.deepcopy(model.engine.network)
    with torch.no_grad():
        change(network)
    other._engine = other._engine_of(network.eval())  # pyright: ignore[reportPrivateUsage]
    return other
