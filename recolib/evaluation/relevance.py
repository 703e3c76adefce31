"""What lists are measured against: for whom they are made, and which items are relevant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.exceptions import ConsumedItemsWarning, warn


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
    def of(cls, data: Interactions, n_users: int | None = None, seed: int = 42) -> EvalQueries:
        """The queries of a set, or of ``n_users`` of its users, drawn by the seed.

        Raises
        ------
        ValueError
            If no row is positive.
        """
        data = data.take(data.positives)
        if not len(data):
            raise ValueError("metrics of lists need rows with a label above 0, and the data has none")
        who = np.unique(data.user_keys)
        if n_users is not None and n_users < len(who):
            who = np.random.default_rng(seed).choice(who, n_users, replace=False)
            data = data.take(np.flatnonzero(np.isin(data.user_keys, who)))
        first, query = _distinct(data)
        stride = data.data_info.n_items + 1 - min(int(data.item_keys.min()), 0)
        item = data.item_keys.astype(np.int64)
        item[item < 0] += stride  # unknown items stand behind the known
        pairs = np.unique(query * stride + item)
        asking = data.take(first)
        codes = asking.user_indices
        rows = data.users.rows[torch.from_numpy(asking.user_rows)].averaged(codes).join(asking.context)
        return cls(rows, codes, np.bincount(pairs // stride, minlength=len(first)), stride, pairs)

    def warn_of_consumed(self, info: DataInfo) -> None:
        """Warn of the relevant items that a user consumed in training, since lists are to leave these out."""
        query, item = np.divmod(self._pairs, self._stride)
        user, stride = self.codes[query].astype(np.int64), info.n_items + 1
        known = (user > UNKNOWN) & (item < stride)
        pairs = user[known] * stride + item[known]
        users = np.unique(user[known])
        whose, consumed = info.user_consumed.of(users)
        pairs_consumed = users[whose] * stride + consumed  # ascending
        at = np.minimum(np.searchsorted(pairs_consumed, pairs), max(len(pairs_consumed) - 1, 0))
        n = int((pairs_consumed[at] == pairs).sum()) if len(pairs_consumed) else 0
        if n:
            share = 100 * n / len(self._pairs)
            warn(
                f"{n} of {len(self._pairs)} relevant items ({share:.{0 if share >= 1 else 2}f} %) are among those that "
                "their users consumed in training, and lists leave these out: hold other events out, or "
                "pass filter_consumed=False if users are to get what they know",
                ConsumedItemsWarning,
            )

    def hits(self, items: Codes) -> NDArray[np.bool_]:
        """Which items of each query's list (Q, k) are relevant; 0 is no item."""
        wanted = np.arange(len(items))[:, None] * self._stride + items
        at = np.minimum(np.searchsorted(self._pairs, wanted), len(self._pairs) - 1)
        return self._pairs[at] == wanted  # no item is 0, and no pair has it


def _distinct(data: Interactions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A row of each distinct (row of a user, context), and the number of each row's."""
    dense = data.context.dense.numpy() + 0.0  # no zero is negative
    number = np.unique(data.user_rows, return_inverse=True)[1].reshape(-1)
    for column in np.hstack([data.context.codes.numpy(), dense.view(np.int32)]).T:
        number = np.unique(number * 2**32 + column, return_inverse=True)[1].reshape(-1)
    return np.unique(number, return_index=True)[1], number
