"""The pairs that metrics of predictions are measured on: the rows of a set and, behind them, their negatives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recolib.caching import cached
from recolib.data.consumed import Consumed, consumed_by
from recolib.data.interactions import Interactions
from recolib.data.order import blocks_of
from recolib.data.rows import UNKNOWN, Codes
from recolib.data.streaming.sorting import ranges
from recolib.exceptions import NoNegativesWarning, warn
from recolib.files import scratch
from recolib.randomness import uniforms
from recolib.sampling import check_num_neg, unconsumed

ROWS_COUNTED = 2**16
"""Rows whose negatives are counted together, and looked through to find one."""
CONSUMED_AT_ONCE = 2**21
"""Rows, of training and of the set, whose users' negatives are drawn together."""


@dataclass(frozen=True, eq=False)
class EvalPairs:
    """Pairs of a user and an item with their labels; what a set has in files is read when it is needed.

    Attributes
    ----------
    data
        The set, whose rows come first.
    negatives
        The items beside each row, shape (N, num_neg), 0 beside those that have none. Labels are then 1 for rows whose
        label is above 0 or missing, and 0 for others. None: the rows are measured as they are.
    """

    data: Interactions
    negatives: Codes | None = None

    @classmethod
    def with_negatives(cls, data: Interactions, num_neg: int, seed: int) -> EvalPairs:
        """The rows of a set, and ``num_neg`` unconsumed items beside each of its positives.

        Rows without labels count as positives. What unknown users consumed is known from the data alone. A user who
        consumed every item has no negatives.
        """
        check_num_neg(num_neg, data.data_info)
        data = data.with_items_of(data.data_info)
        return cls(data, _drawn(data, num_neg, seed))

    def __len__(self) -> int:
        """How many pairs there are."""
        num_neg = 0 if self.negatives is None else self.negatives.shape[1]
        return len(self.data) + num_neg * int(self._upto[-1])

    @cached
    def _upto(self) -> NDArray[np.int64]:
        """How many rows have negatives up to each block of rows."""
        if self.negatives is None:
            return np.zeros(1, np.int64)
        counts = [np.count_nonzero(self.negatives[at, 0]) for at in blocks_of(len(self.data), ROWS_COUNTED)]
        return np.append(0, np.cumsum(counts, dtype=np.int64))

    def at(self, pairs: slice) -> Interactions:
        """Some consecutive pairs."""
        n = len(self.data)
        rows = np.arange(pairs.start, min(pairs.stop, n))
        if self.negatives is None:
            return self.data.take(rows)
        positions = np.arange(max(pairs.start, n), min(pairs.stop, len(self))) - n
        beside, column = self._beside(positions // self.negatives.shape[1]), positions % self.negatives.shape[1]
        both = self.data.take(np.concatenate([rows, beside]))
        drawn = self.negatives[beside, column]
        both.item_rows[len(rows) :] = self.data.items.at(drawn, self.data.times[beside])
        labels = np.zeros(len(both), np.float32)
        labels[: len(rows)] = ~(both.labels[: len(rows)] <= 0)
        return replace(both, labels=labels)

    def _beside(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows beside which negatives stand, by their place among all such rows."""
        assert self.negatives is not None
        if not len(ranks):
            return ranks
        first, last = np.searchsorted(self._upto, ranks[[0, -1]], "right") - 1
        some = slice(int(first) * ROWS_COUNTED, (int(last) + 1) * ROWS_COUNTED)
        return (some.start + np.flatnonzero(self.negatives[some, 0]))[ranks - self._upto[first]]

    def whole(self) -> Interactions:
        """All pairs as a set in memory."""
        return self.at(slice(0, len(self)))

    @cached
    def labels(self) -> NDArray[np.float32]:
        """The label of each pair."""
        if self.negatives is None:
            return self.data.labels
        labels = scratch(len(self), np.float32)
        for at in blocks_of(len(self.data)):
            labels[at] = ~(self.data.labels[at] <= 0)
        return labels

    @cached
    def user_keys(self) -> Codes:
        """A number for each user, as in a set."""
        keys = scratch(len(self), np.int32)
        for at in blocks_of(len(self)):
            keys[at] = self.at(at).user_keys
        return keys


def _drawn(data: Interactions, num_neg: int, seed: int) -> Codes:
    """The negatives beside each row; those of each user are drawn together, of as many users as fit."""
    info, drawn = data.data_info, scratch((len(data), num_neg), np.int32)
    sizes = np.zeros(max(info.n_users, info.n_users - int(data.users.owner.min(initial=0))) + 1, np.int64)
    sizes[: info.n_users + 1] = info.user_consumed.counts()
    for _, users in _users(data):
        sizes += np.bincount(users, minlength=len(sizes))
    n_full, n_positive, full_users = 0, 0, 0
    for low, high in ranges(sizes, CONSUMED_AT_ONCE):
        rows = np.concatenate(
            [at.start + np.flatnonzero((users >= low) & (users < high)) for at, users in _users(data)]
        )
        if not len(rows):
            continue
        some = data.take(rows)
        users = np.where(some.user_keys >= UNKNOWN, some.user_keys, info.n_users - some.user_keys)
        own = np.where(users == UNKNOWN, UNKNOWN, users - low + 1).astype(np.int32)  # by their place in the range
        consumed = _consumed_with(some, own, low, high)
        positive = some.positives
        has = _have_negatives(own[positive], consumed, some)
        n_positive, n_full = n_positive + len(has), n_full + int((~has).sum())
        full_users += len(np.unique(own[positive][~has]))
        beside = positive[has]
        draw = unconsumed(info, consumed)
        uniform = uniforms(seed, 0, rows[beside], num_neg)
        drawn[rows[beside]] = draw(own[beside], some.item_indices[beside], uniform)
    if n_full:
        warn(
            f"{n_full} of {n_positive} rows get no negatives: their {full_users} users consumed every item",
            NoNegativesWarning,
        )
    return drawn


def _users(data: Interactions) -> Iterator[tuple[slice, Codes]]:
    """The user of each row, block by block; unknown ones have codes behind the known ones'."""
    for at in blocks_of(len(data)):
        keys = data.users.owner[data.user_rows[at]]
        yield at, np.where(keys >= UNKNOWN, keys, data.data_info.n_users - keys)


def _consumed_with(some: Interactions, own: Codes, low: int, high: int) -> Consumed:
    """What the users of a range consumed in training, or have in the set; they are numbered from 1."""
    info = some.data_info
    starts = info.user_consumed.starts
    of_range = np.arange(max(low, 1), max(min(high, info.n_users + 1), max(low, 1)))
    of_training = np.repeat((of_range - low + 1).astype(np.int32), np.diff(starts)[of_range])
    items = (
        info.user_consumed.codes[starts[of_range[0]] : starts[of_range[-1] + 1]]
        if len(of_range)
        else np.empty(0, np.int32)
    )
    seen_users = np.concatenate([of_training, own])
    return consumed_by(seen_users, np.concatenate([items, some.item_indices]), high - low, info.n_items)[0]


def _have_negatives(users: Codes, consumed: Consumed, data: Interactions) -> NDArray[np.bool_]:
    """Which users have an item that they did not consume, (n,)."""
    info = data.data_info
    is_trained = np.zeros(info.n_items + 1, bool)
    is_trained[info.trained_items] = True
    upto = np.append(0, np.cumsum(is_trained[consumed.codes]))
    n_consumed = upto[consumed.starts[1:]] - upto[consumed.starts[:-1]]
    return n_consumed[users] < len(info.trained_items)
