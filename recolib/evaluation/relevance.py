"""What lists are measured against: for whom they are made, and which items are relevant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.caching import cached
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.data.order import blocks_of
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.data.streaming.sorting import ranges
from recolib.exceptions import ConsumedItemsWarning, warn

ROWS_OF_QUERIES = 2**21
"""Positive rows whose users' lists are measured together."""


@dataclass(frozen=True, eq=False)
class EvalQueries:
    """Q queries for a list: the distinct pairs of a user's row and a context in the positive rows of a set.

    Attributes
    ----------
    users
        For each query a row of the user's side with the context, (Q, C): the features are those that its events show.
        Unknown users are scored as the average, as ``cold_start="average"`` does it.
    codes
        The users' codes, 0 for unknown users, (Q,).
    n_relevant
        How many items are relevant to each query, (Q,). Unknown items count, though no list can have them.
    """

    users: Rows
    codes: Codes
    n_relevant: NDArray[np.int64]
    _stride: int
    _pairs: NDArray[np.int64]  # query * stride + relevant item, ascending

    @classmethod
    def of(cls, data: Interactions) -> EvalQueries:
        """The queries of some rows, all of which are positive."""
        first, query = _distinct(data)
        stride = data.data_info.n_items + 1 - min(int(data.item_keys.min()), 0)
        item = data.item_keys.astype(np.int64)
        item[item < 0] += stride  # unknown items stand behind the known
        pairs = np.unique(query * stride + item)
        asking = data.take(first)
        codes = asking.user_indices
        rows = data.users.rows[torch.from_numpy(asking.user_rows)].averaged(codes).join(asking.context)
        return cls(rows, codes, np.bincount(pairs // stride, minlength=len(first)), stride, pairs)

    def consumed(self, info: DataInfo) -> tuple[int, int]:
        """How many relevant items a user consumed in training, and how many there are."""
        query, item = np.divmod(self._pairs, self._stride)
        user, stride = self.codes[query].astype(np.int64), info.n_items + 1
        known = (user > UNKNOWN) & (item < stride)
        pairs = user[known] * stride + item[known]
        users = np.unique(user[known])
        whose, consumed = info.user_consumed.of(users)
        pairs_consumed = users[whose] * stride + consumed  # ascending
        at = np.minimum(np.searchsorted(pairs_consumed, pairs), max(len(pairs_consumed) - 1, 0))
        return (int((pairs_consumed[at] == pairs).sum()) if len(pairs_consumed) else 0), len(self._pairs)

    def hits(self, items: Codes) -> NDArray[np.bool_]:
        """Which items of each query's list (Q, k) are relevant; 0 is no item."""
        wanted = np.arange(len(items))[:, None] * self._stride + items
        at = np.minimum(np.searchsorted(self._pairs, wanted), len(self._pairs) - 1)
        return self._pairs[at] == wanted  # no item is 0, and no pair has it


@dataclass(frozen=True, eq=False)
class QueryBlocks:
    """The queries of a set, those of some users at a time.

    Attributes
    ----------
    data
        The set.
    sizes
        How many positive rows each user has who is asked for, by their key less that of the first one.
    first
        The lowest key.
    """

    data: Interactions
    sizes: NDArray[np.int64]
    first: int

    @classmethod
    def of(cls, data: Interactions, n_users: int | None = None, seed: int = 42) -> QueryBlocks:
        """The queries of a set, or of ``n_users`` of its users, drawn by the seed.

        Raises
        ------
        ValueError
            If no row is positive.
        """
        first = int(data.users.owner.min(initial=0))
        sizes = np.zeros(int(data.users.owner.max(initial=0)) - first + 1, np.int64)
        for _, keys in _positive(data, first):
            sizes += np.bincount(keys[keys >= 0], minlength=len(sizes))
        if not sizes.any():
            raise ValueError("metrics of lists need rows with a label above 0, and the data has none")
        who = np.flatnonzero(sizes)
        if n_users is not None and n_users < len(who):
            asked = np.random.default_rng(seed).choice(who, n_users, replace=False)
            sizes[np.setdiff1d(who, asked)] = 0
        return cls(data, sizes, first)

    def __iter__(self) -> Iterator[EvalQueries]:
        """The queries of some users after another; those of all, where they are few, are kept."""
        blocks = list(ranges(self.sizes, ROWS_OF_QUERIES))
        return iter([self._whole]) if len(blocks) == 1 else (self._of(*block) for block in blocks)

    @cached
    def _whole(self) -> EvalQueries:
        return self._of(0, len(self.sizes))

    def _of(self, low: int, high: int) -> EvalQueries:
        rows = list[NDArray[np.int64]]()
        for at, keys in _positive(self.data, self.first):
            inside = (keys >= low) & (keys < high)
            inside[inside] = self.sizes[keys[inside]] > 0
            rows.append(at.start + np.flatnonzero(inside))
        return EvalQueries.of(self.data.take(np.concatenate(rows)))

    def warn_of_consumed(self) -> None:
        """Warn of the relevant items that a user consumed in training, since lists are to leave these out."""
        n, n_all = np.sum([queries.consumed(self.data.data_info) for queries in self], 0).tolist()
        if n:
            share = 100 * n / n_all
            warn(
                f"{n} of {n_all} relevant items ({share:.{0 if share >= 1 else 2}f} %) are among those that "
                "their users consumed in training, and lists leave these out: hold other events out, or "
                "pass filter_consumed=False if users are to get what they know",
                ConsumedItemsWarning,
            )


def _positive(data: Interactions, first: int) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """The keys of the users less the first one, block by block; −1 where the row is not positive."""
    for at in blocks_of(len(data)):
        keys = data.users.owner[data.user_rows[at]].astype(np.int64) - first
        yield at, np.where(data.labels[at] <= 0, -1, keys)


def _distinct(data: Interactions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A row of each distinct (row of a user, context), and the number of each row's."""
    dense = data.context.dense.numpy() + 0.0  # no zero is negative
    number = np.unique(data.user_rows, return_inverse=True)[1].reshape(-1)
    for column in np.hstack([data.context.codes.numpy(), dense.view(np.int32)]).T:
        number = np.unique(number * 2**32 + column, return_inverse=True)[1].reshape(-1)
    return np.unique(number, return_index=True)[1], number
