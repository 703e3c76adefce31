"""Generated interactions for tables of size: rows with features that are functions of the ids."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SEED = 42
SECONDS_A_YEAR = 31_536_000
TUTORIAL_VALUES = {"sex": 2, "age": 60, "occupation": 21, "genre1": 18, "genre2": 18, "genre3": 18}
"""How many values the columns of LibRecommender's tutorial have."""


def codes(ids: NDArray[np.int64], column: int, n_values: int) -> NDArray[np.int64]:
    """A value for each id, the same wherever the id stands."""
    return np.random.default_rng([SEED, column]).integers(0, n_values, ids.max() + 1)[ids]


def words(name: str, values: NDArray[np.int64]) -> pd.Series:
    """Values as strings."""
    known = pd.Series([f"{name} {number}" for number in range(values.max() + 1)])
    return known.take(values).reset_index(drop=True)


def big_frame(n_rows: int, n_users: int = 200_000, n_items: int = 50_000) -> pd.DataFrame:
    """Users, items, labels and times, and three columns of strings and three of integers."""
    rng = np.random.default_rng(SEED)
    users, items = rng.integers(0, n_users, n_rows), (n_items * rng.random(n_rows) ** 2).astype(np.int64)
    return pd.DataFrame(
        {
            "user": users,
            "item": items,
            "label": rng.integers(1, 6, n_rows),
            "time": rng.integers(0, SECONDS_A_YEAR, n_rows),
            "city": words("city", codes(users, 0, 5000)),
            "age": codes(users, 1, 80),
            "segment": codes(users, 2, 300),
            "brand": words("brand", codes(items, 3, 3000)),
            "category": words("category", codes(items, 4, 200)),
            "price": codes(items, 5, 1000),
        }
    )


BIG_COLUMNS = {
    "user_col": ["city", "age", "segment"],
    "item_col": ["brand", "category", "price"],
    "sparse_col": ["city", "age", "segment", "brand", "category", "price"],
}
"""What the columns of ``big_frame`` are."""


def covering(n_rows: int, n_ids: int) -> NDArray[np.int64]:
    """The ids 0 to n_ids − 1 in random order, each as often as the others, or once more."""
    return np.random.default_rng(SEED).permutation(np.arange(n_rows) % n_ids)


def users_frame(n_rows: int, n_users: int, n_items: int) -> pd.DataFrame:
    """Users of whom each has a row, items and labels at random."""
    rng = np.random.default_rng(SEED)
    items, labels = rng.integers(0, n_items, n_rows), rng.integers(0, 2, n_rows)
    return pd.DataFrame({"user": covering(n_rows, n_users), "item": items, "label": labels})


def tutorial_frame(n_items: int, n_users: int = 6000) -> pd.DataFrame:
    """Items of which each has a row, with the columns of LibRecommender's tutorial."""
    n_rows = max(n_items, n_users)
    ids = {"user": covering(n_rows, n_users), "item": covering(n_rows, n_items)[::-1]}
    features = {
        name: codes(ids["item" if name.startswith("genre") else "user"], number, n_values)
        for number, (name, n_values) in enumerate(TUTORIAL_VALUES.items())
    }
    return pd.DataFrame(ids | features | {"label": 1})


def tastes_frame(n_users: int, n_items: int, mean_size: int, n_factors: int = 16, n_tastes: int = 40) -> pd.DataFrame:
    """Choices from a skewed catalogue by tastes that lie around some centres, each pair once.

    A user's ``segment`` and an item's ``category`` tell the centre. A choice follows the fit of both vectors and the
    item's popularity, which falls with its rank; the number of choices has a long tail.
    """
    rng = np.random.default_rng(SEED)
    centres = rng.normal(0, 1, (n_tastes, n_factors))
    segments, categories = (rng.integers(0, n_tastes, n) for n in (n_users, n_items))
    users, items = (0.7 * centres[of] + 0.7 * rng.normal(0, 1, (len(of), n_factors)) for of in (segments, categories))
    popularity = -0.8 * np.log(10 + rng.permutation(n_items))
    sizes = np.clip(rng.lognormal(np.log(mean_size) - 0.32, 0.8, n_users), 8, n_items // 4).astype(np.int64)
    rows: list[NDArray[np.int64]] = []
    for user in range(n_users):
        scores = 2 * items @ users[user] / np.sqrt(n_factors) + popularity + rng.gumbel(0, 1, n_items)
        rows.append(np.argpartition(-scores, sizes[user])[: sizes[user]])
    chosen, owners = np.concatenate(rows), np.repeat(np.arange(n_users), sizes)
    frame = {"user": owners, "item": chosen, "label": 1, "segment": segments[owners], "category": categories[chosen]}
    return pd.DataFrame(frame)
