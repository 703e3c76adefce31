"""Interactions: an encoded set, for training and evaluation alike."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from recolib.data.info import DataInfo
from recolib.data.order import blocks_of
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.data.table import Table
from recolib.data.times import Times


def equal_weights(n: int) -> NDArray[np.float32]:
    """A weight of 1 for each of n events, read-only, in the memory of one."""
    return np.broadcast_to(np.float32(1), n)


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """An encoded set of N events: each is a user, an item, a label, a time and a context.

    Events hold no features. They point at rows of the tables of users and items.

    Attributes
    ----------
    data_info
        The data that the codes belong to.
    users, items
        The feature rows of the data when the set was made. In an evaluation set rows follow of what its events show
        and these do not, and of unknown ids.
    user_rows, item_rows
        Row numbers in these tables, shape (N,).
    labels
        An array, float32, shape (N,), that may be edited before ``fit``. NaN if the frame of an evaluation set has
        no ``label`` column: then the interactions were observed, and their labels are unknown.
    context
        The context of each event, shape (N, ...); zero columns without context columns.
    times
        When each event happened, shape (N,).
    weights
        How much each event counts in training, float32, at least 0, shape (N,). All are 1, and read-only,
        without ``weight_col``, and in evaluation sets.
    part_starts
        Where the parts begin that the set was read in, such as row groups of Parquet, and where the last one ends,
        shape (P + 1,). Empty if it was read as one, or if its rows were taken in another order.
    """

    data_info: DataInfo
    users: Table
    items: Table
    user_rows: Codes
    item_rows: Codes
    labels: NDArray[np.float32]
    context: Rows
    times: Times
    weights: NDArray[np.float32]
    part_starts: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        """The number of events."""
        return len(self.labels)

    def __getitem__(self, index: int | slice | NDArray[np.int64]) -> tuple[Codes, Codes, NDArray[np.float32]]:
        """Users' codes, items' codes and labels at ``index``, as LibRecommender gives them."""
        users, items = self.users.owner[self.user_rows[index]], self.items.owner[self.item_rows[index]]
        return np.maximum(users, UNKNOWN), np.maximum(items, UNKNOWN), self.labels[index]

    def __repr__(self) -> str:
        """The number of events and the data they belong to."""
        return f"{type(self).__name__}({len(self)} rows; {self.data_info!r})"

    def refuse_other(self, info: DataInfo) -> None:
        """Raise a ValueError unless the set was encoded for ``info``, or before more was merged into that."""
        if not info.extends(self.data_info):
            raise ValueError(
                f"the set is of other data ({self.data_info}) than the model ({info}): without data_info=, "
                "build_evalset and build_testset take the data built last; pass data_info=model.data_info"
            )

    def take(self, order: NDArray[np.integer]) -> Interactions:
        """The events numbered ``order``, in that order."""
        return replace(
            self,
            user_rows=self.user_rows[order],
            item_rows=self.item_rows[order],
            labels=self.labels[order],
            context=self.context[torch.from_numpy(order)],
            times=self.times[order],
            weights=equal_weights(len(order)) if self.weights.strides == (0,) else self.weights[order],
            part_starts=np.empty(0, np.int64),
        )

    def with_items_of(self, info: DataInfo) -> Interactions:
        """The set with rows of the items that were merged into its data since, so that they can be its negatives."""
        items, moved = self.items.with_ids(info.items.current[self.items.n_ids + 1 :])
        return replace(self, items=items, item_rows=moved(self.item_rows))

    def digest(self) -> str:
        """A hash of all that training and evaluation use of the set; equal sets have the same."""
        hashed = hashlib.sha256(self.data_info.fingerprint.encode())
        tensors = [
            part for rows in (self.users.rows, self.items.rows, self.context) for part in (rows.codes, rows.dense)
        ]
        consumed = self.data_info.user_consumed
        known = consumed.codes, consumed.counts(), self.data_info.popularity
        events = self.user_rows, self.item_rows, self.labels, self.times, self.weights
        for array in (*(tensor.numpy() for tensor in tensors), *known, *events):
            hashed.update(f"{array.dtype.str} {array.shape}".encode())
            for at in blocks_of(len(array)):
                hashed.update(np.ascontiguousarray(array[at]).view(np.uint8).data)
        return hashed.hexdigest()

    @property
    def user_keys(self) -> Codes:
        """A number for each user, shape (N,): the code of a known one, −1, −2, … for unknown ones."""
        return self.users.owner[self.user_rows]

    @property
    def item_keys(self) -> Codes:
        """A number for each item, shape (N,): the code of a known one, −1, −2, … for unknown ones."""
        return self.items.owner[self.item_rows]

    @property
    def user_indices(self) -> Codes:
        """The users' codes, 0 where unknown, shape (N,)."""
        return np.maximum(self.user_keys, UNKNOWN)

    @property
    def item_indices(self) -> Codes:
        """The items' codes, 0 where unknown, shape (N,)."""
        return np.maximum(self.item_keys, UNKNOWN)

    @property
    def positives(self) -> NDArray[np.int64]:
        """The numbers of the events with a label above 0, or without a label: these count as observed."""
        return np.flatnonzero(~(self.labels <= 0))

    @property
    def has_times(self) -> bool:
        """Whether the events have times, and not only the order of their rows."""
        return any(not np.array_equal(self.times[at], np.arange(at.start, at.stop)) for at in blocks_of(len(self)))

    @property
    def sparse_interaction(self) -> sparse.csr_matrix:
        """Labels by user code and item code; of repeated pairs the last label."""
        info, users, items = self.data_info, self.user_indices, self.item_indices
        pairs = users.astype(np.int64) * (info.n_items + 1) + items
        _, from_the_end = np.unique(pairs[::-1], return_index=True)
        last = len(pairs) - 1 - from_the_end
        shape = (info.n_users + 1, info.n_items + 1)
        return sparse.csr_matrix((self.labels[last], (users[last], items[last])), shape)
