"""ConsumedLog: what each user consumed, in the order in which they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.caching import cached
from recolib.data.consumed import Consumed
from recolib.data.order import rows_by_code_and_time
from recolib.data.rows import UNKNOWN, Codes, Past
from recolib.data.times import Times

NO_TIMES = np.empty(0, np.int64)
"""Times of a log whose events have an order and no times."""


@dataclass(frozen=True, eq=False)
class ConsumedLog:
    """The items that each user consumed, end to end, as often as they did; of one user the earliest first.

    Attributes
    ----------
    starts
        Where each user's part of ``items`` begins, shape (n_users + 2,): code c has ``items[starts[c]:starts[c + 1]]``.
    items
        The codes of the items, shape (T,).
    times
        When each was consumed, shape (T,); empty where that is not known, and items stand in the order of the rows.
    """

    starts: NDArray[np.int64]
    items: Codes
    times: Times

    def __len__(self) -> int:
        """How many events there are."""
        return len(self.items)

    @property
    def has_times(self) -> bool:
        """Whether it is known when items were consumed."""
        return len(self.times) > 0

    @classmethod
    def of(cls, users: Codes, items: Codes, times: Times, n_users: int) -> ConsumedLog:
        """The log of N events of known users and items; ``times`` may be empty."""
        order = rows_by_code_and_time(users, times if len(times) else np.arange(len(users)), n_users + 1)
        starts = np.append(0, np.cumsum(np.bincount(users, minlength=n_users + 1)))
        return cls(starts, items[order].astype(np.int32, copy=False), times[order] if len(times) else times)

    @classmethod
    def of_consumed(cls, consumed: Consumed) -> ConsumedLog:
        """The log where no more is known than which items each user consumed."""
        return cls(consumed.starts, consumed.codes, NO_TIMES)

    def owners(self) -> Codes:
        """The user of each event, shape (T,)."""
        return np.repeat(np.arange(len(self.starts) - 1, dtype=np.int32), np.diff(self.starts))

    def followed_by(self, users: Codes, items: Codes, times: Times, n_users: int) -> ConsumedLog:
        """The log with more events, of more users maybe; without times of their own they are later than all before."""
        if self.has_times and not len(times):
            times = np.full(len(users), self.times.max())
        elif not self.has_times:
            times = NO_TIMES
        users, items = np.concatenate([self.owners(), users]), np.concatenate([self.items, items])
        return ConsumedLog.of(users, items, np.concatenate([self.times, times]), n_users)

    def kept(self, users: Codes, items: Codes, n_users: int) -> ConsumedLog:
        """The log by the new codes of users and items, 0 for those that are gone."""
        of, what = users[self.owners()], items[self.items]
        both = (of > UNKNOWN) & (what > UNKNOWN)
        return ConsumedLog.of(of[both], what[both], self.times[both] if self.has_times else NO_TIMES, n_users)

    def latest(self, code: int) -> Codes:
        """The items of a user, the earliest first; none of an unknown one."""
        return self.items[self.starts[code] : self.starts[code + 1]]

    def times_of(self, users: Codes, items: Codes) -> Times:
        """When users last consumed items, (n,); the pairs stand in the log, which has times."""
        n_items = int(self.items.max()) + 1
        pairs, last = np.unique((self.owners().astype(np.int64) * n_items + self.items)[::-1], return_index=True)
        return self.times[::-1][last[np.searchsorted(pairs, users.astype(np.int64) * n_items + items)]]

    def past_of(self, codes: NDArray[np.integer]) -> Past:
        """All that users consumed, by their codes (n,); nothing where they are unknown."""
        known = np.maximum(codes, UNKNOWN)
        spans = np.stack([self.starts[known], self.starts[known + 1], np.full(len(codes), -1)], -1)
        return Past(self.tensor, torch.from_numpy(spans))

    def past_before(self, users: Codes, items: Codes, times: Times) -> Past:
        """What users had consumed before some events, (N,); without times, all but the events themselves.

        An event that stands in the log has before it what stands before it there. Any other has what is earlier.
        """
        at = self._find(users, items, times)
        begin, end, hole = self.starts[users], self.starts[users + 1], np.full(len(users), -1)
        if self.has_times:
            moments = np.unique(self.times)
            stride = len(moments) + 1
            in_order = self.owners().astype(np.int64) * stride + np.searchsorted(moments, self.times)
            earlier = np.searchsorted(in_order, users.astype(np.int64) * stride + np.searchsorted(moments, times))
            end = np.where(at >= 0, at, earlier)
        else:
            hole = at
        return Past(self.tensor, torch.from_numpy(np.stack([begin, end, hole], -1)))

    def _find(self, users: Codes, items: Codes, times: Times) -> NDArray[np.int64]:
        """Where events stand in the log, (N,); −1 for those that do not. Equal events are found one after another."""
        n_items = max(int(self.items.max(initial=0)), int(items.max(initial=0))) + 1
        of_log = self.owners().astype(np.int64) * n_items + self.items
        wanted = users.astype(np.int64) * n_items + items
        if self.has_times:
            pairs, moments = np.unique(of_log), np.unique(self.times)
            n_moments = len(moments) + 1
            at, when = np.searchsorted(pairs, wanted), np.searchsorted(moments, times)
            is_there = (pairs[np.minimum(at, len(pairs) - 1)] == wanted) & (
                moments[np.minimum(when, len(moments) - 1)] == times
            )
            of_log = np.searchsorted(pairs, of_log) * n_moments + np.searchsorted(moments, self.times)
            wanted = np.where(is_there, at * n_moments + when, -1)
        by_key, order = np.argsort(of_log, kind="stable"), np.argsort(wanted, kind="stable")
        keys, found = of_log[by_key], np.full(len(wanted), -1)
        in_order = wanted[order]
        first = np.searchsorted(keys, in_order) + np.arange(len(order)) - np.searchsorted(in_order, in_order)
        there = first < len(keys)
        there[there] = keys[first[there]] == in_order[there]
        found[order[there]] = by_key[first[there]]
        return found

    @cached
    def tensor(self) -> Tensor:
        """The items as a tensor, which is a view of them."""
        return torch.from_numpy(self.items if self.items.flags.writeable else self.items.copy())


def past_of_lists(lists: Sequence[NDArray[np.integer]]) -> Past:
    """The past of some users who each bring a list of item codes, the earliest first."""
    ends = np.cumsum([len(one) for one in lists], dtype=np.int64)
    begins = np.append(0, ends[:-1])
    spans = torch.from_numpy(np.stack([begins, ends, np.full(len(lists), -1)], -1))
    return Past(torch.from_numpy(np.concatenate(lists).astype(np.int32)), spans)
