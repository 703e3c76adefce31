"""What a method gets, and what its lists are worth.

NumPy alone: sides run in environments of other libraries, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]
Record = dict[str, Any]

K, N_LISTED = 10, 20
"""nDCG and coverage are of lists of K, recall is of N_LISTED, which is what is asked for."""
MISSING = -1
"""An item that training does not have, and a place of a list that is empty."""
USERS_AT_ONCE = 512
FILE = "task.npz"


@dataclass(frozen=True, eq=False)
class Relevant:
    """The relevant items of each list: those of list q are ``items[starts[q] : starts[q + 1]]``."""

    starts: Ints
    items: Ints

    @classmethod
    def of(cls, per_list: Iterable[Iterable[int]]) -> Relevant:
        """From some items for each list."""
        found = [sorted(items) for items in per_list]
        starts = np.cumsum([0, *map(len, found)])
        return cls(starts, np.array([item for items in found for item in items], np.int64))

    def hits(self, lists: Ints) -> NDArray[np.bool_]:
        """Which places of the lists are relevant, (Q, n)."""
        stride = int(max(self.items.max(initial=0), lists.max(initial=0))) + 1
        rows = np.repeat(np.arange(len(lists)), np.diff(self.starts))
        is_known = self.items != MISSING
        wanted = rows[is_known] * stride + self.items[is_known]
        return np.isin(np.arange(len(lists))[:, None] * stride + lists, wanted) & (lists != MISSING)


def ndcg(hits: NDArray[np.bool_], n_relevant: Ints, k: int) -> float:
    """The mean over lists that have something relevant; the ideal list has min(k, relevant) hits at its head."""
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.append(0, np.cumsum(discounts))[np.minimum(n_relevant, k)]
    asked = n_relevant > 0
    return float(np.mean((hits[asked, :k] @ discounts[: hits.shape[1]]) / ideal[asked]))


def recall(hits: NDArray[np.bool_], n_relevant: Ints, k: int) -> float:
    """The mean share of min(k, relevant) that was hit, over lists that have something relevant."""
    asked = n_relevant > 0
    return float(np.mean(hits[asked, :k].sum(1) / np.minimum(n_relevant, k)[asked]))


@dataclass(frozen=True, eq=False)
class Task:
    """Users and items are codes from 0; both have a training pair each.

    Attributes
    ----------
    users, items
        The training pairs, each once.
    queries
        The user of each list.
    valid, test
        What is relevant in each list.
    """

    users: Ints
    items: Ints
    queries: Ints
    valid: Relevant
    test: Relevant

    @classmethod
    def read(cls, folder: str | Path) -> Task:
        """What ``write`` wrote."""
        with np.load(Path(folder) / FILE) as file:
            parts = {part: Relevant(file[f"{part}_starts"], file[f"{part}_items"]) for part in ("valid", "test")}
            return cls(file["users"], file["items"], file["queries"], **parts)

    def write(self, folder: str | Path) -> None:
        """Write it to a folder."""
        arrays = {"users": self.users, "items": self.items, "queries": self.queries}
        for part, relevant in (("valid", self.valid), ("test", self.test)):
            arrays |= {f"{part}_starts": relevant.starts, f"{part}_items": relevant.items}
        np.savez(Path(folder) / FILE, allow_pickle=False, **arrays)

    @property
    def n_users(self) -> int:
        """How many users there are."""
        return int(self.users.max()) + 1

    @property
    def n_items(self) -> int:
        """How many items there are."""
        return int(self.items.max()) + 1

    @cached_property
    def _by_user(self) -> tuple[Ints, Ints]:
        order = np.argsort(self.users, kind="stable")
        return np.append(0, np.cumsum(np.bincount(self.users, minlength=self.n_users))), self.items[order]

    def top(self, score: Callable[[Ints], Floats]) -> Ints:
        """The lists of the best items by scores (users) -> (B, M); without those of the user's training."""
        starts, items = self._by_user
        asked, at = np.unique(self.queries, return_inverse=True)
        n = min(N_LISTED, self.n_items)
        lists = np.empty((len(asked), n), np.int64)
        for start in range(0, len(asked), USERS_AT_ONCE):
            users = asked[start : start + USERS_AT_ONCE]
            scores = np.array(score(users), copy=True)
            for row, user in enumerate(users):
                scores[row, items[starts[user] : starts[user + 1]]] = -np.inf
            best = np.argpartition(-scores, n - 1, axis=1)[:, :n]
            best_scores = np.take_along_axis(scores, best, 1)
            order = np.argsort(-best_scores, axis=1, kind="stable")
            ranked = np.take_along_axis(best, order, 1)
            ranked[np.isneginf(np.take_along_axis(best_scores, order, 1))] = MISSING
            lists[start : start + len(users)] = ranked
        return lists[at]

    def padded(self, lists: Sequence[Sequence[int]]) -> Ints:
        """Lists, some of them shorter than others, as an array."""
        result = np.full((len(lists), N_LISTED), MISSING, np.int64)
        for row, items in enumerate(lists):
            result[row, : len(items)] = items
        return result

    def figures(self, lists: Ints) -> Record:
        """What the lists are worth; ``valid`` is the validation part's nDCG."""
        sizes = {part: np.diff(relevant.starts) for part, relevant in (("valid", self.valid), ("test", self.test))}
        hits = self.test.hits(lists)
        shown = np.unique(lists[:, :K])
        return {
            "valid": ndcg(self.valid.hits(lists), sizes["valid"], K),
            "ndcg": ndcg(hits, sizes["test"], K),
            "recall": recall(hits, sizes["test"], N_LISTED),
            "coverage": int((shown != MISSING).sum()) / self.n_items,
        }


class Watch:
    """Measures training and lists at some moments, and says when a training is to end.

    Seconds are the processor's if there is one thread: other work on the machine changes them less than the clock's.

    Parameters
    ----------
    task
        What the lists are of.
    request
        ``threads``: how many compute. ``patience``: moments without a better validation figure before the end.
        ``limit_s``: seconds of training and lists after which no more training begins.
    """

    def __init__(self, task: Task, request: Mapping[str, Any]) -> None:
        self.task = task
        self.patience, self.limit_s = request["patience"], request["limit_s"]
        self.clock = time.process_time if request["threads"] == 1 else time.perf_counter
        self.begun = self.resumed = self.clock()
        self.train_s = 0.0
        self.records: list[Record] = []

    def measure(self, epoch: int, lists: Callable[[], Ints]) -> Record:
        """A record of the lists after so many epochs; what came before, but for earlier lists, was training."""
        start = self.clock()
        self.train_s += start - self.resumed
        made = lists()
        seconds = {"train_s": self.train_s, "lists_s": self.clock() - start}
        self.records.append({"epoch": epoch, **seconds, **self.task.figures(made)})
        self.resumed = self.clock()
        return self.records[-1]

    @property
    def is_over(self) -> bool:
        """Whether training is to end, which it does not before its first record."""
        valid = [record["valid"] for record in self.records]
        if not valid:
            return False
        waited = len(valid) - 1 - int(np.argmax(valid))
        return waited >= self.patience or self.clock() - self.begun > self.limit_s
