"""The items that each user consumed, and the users of each item, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Counting = Literal["all", "positive"]
"""Which rows say that a user consumed an item: all, or those with a label above 0."""


@dataclass(frozen=True, eq=False)
class Consumed(Mapping[int, NDArray[np.int32]]):
    """A read-only mapping from a user's code to the distinct items they consumed, or from an item's code to its users.

    The codes of each are ascending.

    Attributes
    ----------
    starts
        Where each code's part of ``codes`` begins, shape (n + 2,): code c has ``codes[starts[c]:starts[c + 1]]``.
    codes
        The parts end to end.
    """

    starts: NDArray[np.int64]
    codes: NDArray[np.int32]

    def __getitem__(self, code: int) -> NDArray[np.int32]:
        """What interacted with ``code``; KeyError for code 0 and for codes that do not exist."""
        if not 1 <= code < len(self.starts) - 1:
            raise KeyError(code)
        return self.codes[self.starts[code] : self.starts[code + 1]]

    def __iter__(self) -> Iterator[int]:
        """All known codes."""
        return iter(range(1, len(self.starts) - 1))

    def __len__(self) -> int:
        """How many codes are known."""
        return len(self.starts) - 2

    def __eq__(self, other: object) -> bool:
        """Whether both have the same interactions."""
        if not isinstance(other, Consumed):
            return NotImplemented
        return np.array_equal(self.starts, other.starts) and np.array_equal(self.codes, other.codes)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def counts(self) -> NDArray[np.int64]:
        """How many distinct interactions each code has, that of the unknown code 0 first."""
        return np.diff(self.starts)

    def of(self, codes: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """All interactions of ``codes`` (n,) as pairs: a position within ``codes``, and the code of the other side."""
        sizes = self.starts[codes + 1] - self.starts[codes]
        positions = np.repeat(np.arange(len(codes)), sizes)
        offsets = np.arange(len(positions)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return positions, self.codes[self.starts[codes][positions] + offsets]


def consumed_by(
    users: NDArray[np.int32], items: NDArray[np.int32], n_users: int, n_items: int
) -> tuple[Consumed, Consumed]:
    """The distinct pairs of a log, by user and by item; pairs with an unknown side are left out."""
    known = (users > 0) & (items > 0)
    if not known.all():
        users, items = users[known], items[known]
    return interactions(users, items, np.ones(len(users), bool), n_users, n_items)[:2]


def counting_of(labels: NDArray[np.float32]) -> Counting:
    """What counts where nobody says: what was shown and not clicked is not consumed, and what was rated low is.

    Labels of 0 and 1 alone are answers to something that was shown; others are ratings.
    """
    return "positive" if bool(np.isin(labels, (0.0, 1.0)).all()) else "all"


def counted_interactions(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    labels: NDArray[np.float32],
    n_users: int,
    n_items: int,
    counting: Counting,
) -> tuple[Consumed, Consumed, NDArray[np.bool_]]:
    """The distinct pairs of those rows that count as consumed; see ``interactions``."""
    liked = labels > 0
    if counting == "positive":
        users, items, liked = users[liked], items[liked], liked[liked]
    return interactions(users, items, liked, n_users, n_items)


def interactions(
    users: NDArray[np.int32], items: NDArray[np.int32], liked: NDArray[np.bool_], n_users: int, n_items: int
) -> tuple[Consumed, Consumed, NDArray[np.bool_]]:
    """The distinct pairs of a log of known users and items.

    Parameters
    ----------
    users, items
        Codes from 1 on, shape (N,).
    liked
        Whether the user liked the item, shape (N,).
    n_users, n_items
        How many codes there are.

    Returns
    -------
    tuple of Consumed, Consumed and array
        The distinct pairs by user and by item, and whether the user liked each of the pairs by user at least once.
    """
    by_user = pairs_by_user(users, items, liked, n_users, n_items)
    by_item = by_user.tocsc()
    some = np.asarray(by_user.data, bool)
    some.flags.writeable = False
    return _consumed(by_user), _consumed(by_item), some


def pairs_by_user(
    users: NDArray[np.int32], items: NDArray[np.int32], liked: NDArray[np.bool_], n_users: int, n_items: int
) -> sparse.csr_array:
    """The distinct pairs of a log as a matrix with a row for each user; its entries are whether they liked the item."""
    pairs = sparse.coo_array((liked, (users, items)), (n_users + 1, n_items + 1))
    by_user = pairs.tocsr()  # sums duplicates, which of booleans is "or"; sorts within each row
    by_user.sum_duplicates()
    return by_user


def _consumed(matrix: sparse.csr_array | sparse.csc_array) -> Consumed:
    starts, codes = np.asarray(matrix.indptr, np.int64), np.asarray(matrix.indices, np.int32)
    starts.flags.writeable = codes.flags.writeable = False
    return Consumed(starts, codes)


def liked_of(consumed: Consumed, liked: NDArray[np.bool_], code: int) -> NDArray[np.int32]:
    """Those of a user's items that they liked; ``liked`` says it of each of ``consumed.codes``."""
    span = slice(*consumed.starts[code : code + 2])
    return consumed.codes[span][liked[span]]
