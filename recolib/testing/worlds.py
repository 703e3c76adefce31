"""Small worlds for tests: two tastes that a model must find, with every kind of column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from recolib.data import DataInfo, DatasetFeat, DatasetPure, Interactions

N_USERS, N_ITEMS = 24, 20


def two_tastes(n_users: int = N_USERS, n_items: int = N_ITEMS, seed: int = 0) -> pd.DataFrame:
    """Even users like even items and odd users odd ones; each pair of one taste is in the frame with chance ¾.

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
            "cover": [[0.1 * i, 3.0 - i % 5, np.cos(i)] for i in items.tolist()],
        }
    )


def rated(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The frame with ratings: 5 within the taste, and rows across it rated 1."""
    rng = np.random.default_rng(seed)
    across = frame.sample(frac=0.5, random_state=seed).copy()
    flipped = {f"i{i}": f"i{i + 1 if i % 2 == 0 else i - 1}" for i in range(N_ITEMS)}
    known = frame.drop_duplicates("item")
    across["item"] = [flipped[item] for item in across["item"]]
    across = across[across["item"].isin(known["item"].tolist())]
    for column in ("genre1", "genre2", "price", "tags", "cover"):
        of_item = dict(zip(known["item"], known[column], strict=True))
        across[column] = [of_item[item] for item in across["item"]]
    both = pd.concat([frame.assign(label=5), across.assign(label=1)], ignore_index=True)
    return both.iloc[rng.permutation(len(both))].reset_index(drop=True)


@dataclass(frozen=True)
class World:
    """A frame, and how to encode it.

    Attributes
    ----------
    frame
        The interactions.
    columns
        Which columns are features, and of which kind, as ``DatasetFeat.build_trainset`` takes it; None is none.
    more
        Further arguments of ``build_trainset``.
    """

    frame: pd.DataFrame
    columns: dict[str, Any] | None
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def build(self, frame: pd.DataFrame | None = None) -> tuple[Interactions, DataInfo]:
        """The encoded set and the ``DataInfo`` of this frame, or of another with the same columns."""
        frame = self.frame if frame is None else frame
        return (
            DatasetPure.build_trainset(frame)
            if self.columns is None and not self.more
            else DatasetFeat.build_trainset(frame, **(self.columns or {}), **self.more)
        )

    def apart(self, step: int = 1) -> World:
        """The world with the features of users and items in frames of their own, in steps of ``step`` rows.

        Two more users and two more items have features but no event.
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
        "item_col": ["genre1", "genre2", "price", "tags", "cover"],
        "context_col": ["hour"],
        "sparse_col": ["sex", "hour"],
        "dense_col": ["age", "price"],
        "multi_sparse_col": [["genre1", "genre2"], "tags"],
        "vector_col": ["cover"],
    },
}
"""Columns to encode of the frame, by what there is of them."""
KINDS = list(COLUMNS)


def make_world(task: str, kind: str) -> World:
    """The world of a task, with the columns of a kind: ``"pure"`` ids, some ``"sparse"`` ones, or ``"all kinds"``."""
    frame = two_tastes()
    return World(frame if task == "ranking" else rated(frame), COLUMNS[kind])
