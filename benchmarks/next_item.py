"""What a side of ``benchmarks.sequences`` gets, and how its time is kept.

NumPy alone: sides run in environments of other libraries, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Items = NDArray[np.int64]
Record = dict[str, Any]
Lists = list[list[int]]

K = 10
PARTS = "valid", "test"
USERS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Task:
    """Users and items are codes from 0.

    Attributes
    ----------
    user, item
        The training events, in order of time.
    valid, test
        The last item but one, and the last item, of each user.
    """

    user: Items
    item: Items
    valid: Items
    test: Items

    @classmethod
    def read(cls, file: str | Path) -> Task:
        """What ``benchmarks.sequences`` wrote."""
        with np.load(file) as arrays:
            return cls(**{name: arrays[name] for name in ("user", "item", "valid", "test")})

    @property
    def n_users(self) -> int:
        """How many users there are."""
        return len(self.test)

    @property
    def n_items(self) -> int:
        """How many items there are, those without a training event included."""
        return 1 + int(max(self.item.max(), self.valid.max(), self.test.max()))

    def known(self, part: str) -> tuple[Items, Items]:
        """Users and items of the events before a part, in order: the item that validates comes before the test."""
        if part == "valid":
            return self.user, self.item
        return np.append(self.user, np.arange(self.n_users)), np.append(self.item, self.valid)

    def top(self, part: str, score: Callable[[Items], NDArray[np.floating[Any]]]) -> Lists:
        """The best items by scores (users) -> (B, M), without those that a user had before the part."""
        users, items = self.known(part)
        had = np.zeros((self.n_users, self.n_items), bool)
        had[users, items] = True
        lists: Lists = []
        for start in range(0, self.n_users, USERS_AT_ONCE):
            asked = np.arange(start, min(start + USERS_AT_ONCE, self.n_users))
            scores = np.where(had[asked], -np.inf, score(asked))
            best = np.argpartition(-scores, K - 1, axis=1)[:, :K]
            order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
            lists += np.take_along_axis(best, order, 1).tolist()
        return lists


class Watch:
    """The seconds of a training, without those of the lists that are made on the way.

    Parameters
    ----------
    limit_s
        Seconds of training after which it is over.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.begun, self.aside = time.perf_counter(), 0.0

    @property
    def train_s(self) -> float:
        """The seconds of training until now."""
        return time.perf_counter() - self.begun - self.aside

    @property
    def is_over(self) -> bool:
        """Whether the training is to end."""
        return self.train_s > self.limit_s

    def measure(self, epoch: float, lists: Callable[[str], Lists]) -> Record:
        """A record of the lists (part) after so many epochs."""
        train_s, start = self.train_s, time.perf_counter()
        made = {part: lists(part) for part in PARTS}
        spent = time.perf_counter() - start
        self.aside += spent
        return {"epoch": epoch, "train_s": train_s, "lists_s": spent / len(PARTS), **made}
