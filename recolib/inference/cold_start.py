"""Cold starts that score nothing: the most popular items, those of a segment, and lists of the app's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recolib.checks import check_choice
from recolib.data.frame import read_ids
from recolib.data.info import DataInfo
from recolib.data.kinds import layout_of
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.inference.features import coded_fields
from recolib.inference.ids import Id, Ids, as_list, is_single

Strategy = Callable[[Any, list[Id], int], Sequence[Ids]]
"""A cold start of the app's own: from a model, unknown users and a length to a list of item ids for each user."""
COLD_STARTS = ("average", "popular", "features")
SCORED_COLD_STARTS = ("average", "features")
"""Those that score unknown users as all others; the rest are orders of items."""


def check_cold_start(cold_start: object, segment: object) -> None:
    """Raise unless it is one of ``COLD_STARTS`` or a function, and a segment goes with it."""
    if not callable(cold_start):
        check_choice("cold_start", cold_start, COLD_STARTS)
    if segment is not None and cold_start != "popular":
        raise ValueError(f"segment is of cold_start='popular', got cold_start={cold_start!r}: leave one of them out")


def from_callback(strategy: Strategy, model: object, users: list[Id], n_rec: int, info: DataInfo) -> list[Codes]:
    """The codes of the items that a strategy has for each unknown user, best first.

    Raises
    ------
    TypeError, ValueError
        If it gives anything but a list for each user, of at most n_rec known item ids, each once.
    """
    name = f"cold_start={getattr(strategy, '__name__', repr(strategy))}"
    lists = cast("object", strategy(model, users, n_rec))
    if not isinstance(lists, list | tuple | np.ndarray):
        raise TypeError(f"{name} must return a list with the item ids for each user, got {type(lists).__name__}")
    if len(lists) != len(users):
        raise ValueError(f"{name} returned {len(lists)} lists for {len(users)} users")
    return [_checked(items, user, name, n_rec, info) for items, user in zip(lists, users, strict=True)]


def _checked(items: object, user: Id, name: str, n_rec: int, info: DataInfo) -> Codes:
    if is_single(items) or isinstance(items, set | frozenset):
        raise TypeError(f"{name} must return a list of item ids for each user, got {items!r} for {user!r}")
    values = read_ids(as_list(items, name), name)
    codes = info.vocabs["item"].encode(values)
    if (codes == UNKNOWN).any():
        raise ValueError(
            f"{name} returned unknown items for {user!r}, such as {values[codes == UNKNOWN].tolist()[0]!r}"
        )
    if len(np.unique(codes)) < len(codes):
        raise ValueError(f"{name} returned an item twice for {user!r}: {values.tolist()}")
    if len(codes) > n_rec:
        raise ValueError(f"{name} returned {len(codes)} items for {user!r}, more than n_rec={n_rec}")
    return codes


@dataclass(frozen=True, eq=False)
class Segments:
    """How many users of each segment liked each item.

    Attributes
    ----------
    columns
        Where the codes of the segment's columns stand in a row of the user's side.
    numbers
        The row of ``liked`` of each combination of codes that a user has.
    liked
        Counts of users, (segments, n_items + 1).
    place
        The place of each item by overall popularity, (n_items + 1,).
    """

    columns: tuple[int, ...]
    numbers: Mapping[tuple[int, ...], int]
    liked: sparse.csr_array
    place: NDArray[np.int64]

    @classmethod
    def of(cls, info: DataInfo, columns: tuple[int, ...]) -> Segments:
        """The segments of the known users by what is true of them now; who has a missing value is in none."""
        codes = info.users.current.codes.numpy()[:, columns]
        known = np.flatnonzero((codes > UNKNOWN).all(1))
        found, number = np.unique(codes[known], axis=0, return_inverse=True)
        segment = np.full(len(codes), -1)
        segment[known] = number.reshape(-1)
        who = np.repeat(segment, info.user_consumed.counts())[info.liked]
        what = info.user_consumed.codes[info.liked]
        pairs = who[who >= 0], what[who >= 0]
        shape = len(found), info.n_items + 1
        liked = sparse.coo_array((np.ones(len(pairs[0]), np.int64), pairs), shape).tocsr()
        place = np.zeros(info.n_items + 1, np.int64)
        place[info.ranked_items] = np.arange(info.n_items)
        return cls(columns, {tuple(row): at for at, row in enumerate(found.tolist())}, liked, place)

    def orders(self, info: DataInfo, users: Rows) -> list[Codes]:
        """For each user row all items, the most popular in the segment first, and those that nobody there liked last.

        Ties, and the latter, go by overall popularity; so does everything for a user in no segment.
        """
        made: dict[int | None, Codes] = {None: info.ranked_items}
        found: list[Codes] = []
        for key in map(tuple, users.codes.numpy()[:, self.columns].tolist()):
            number = self.numbers.get(key)
            if number not in made:
                made[number] = self._order(info, cast("int", number))
            found.append(made[number])
        return found

    def _order(self, info: DataInfo, number: int) -> Codes:
        row = slice(*self.liked.indptr[number : number + 2])
        items, counts = self.liked.indices[row], self.liked.data[row]
        first = items[np.lexsort((self.place[items], np.negative(counts)))].astype(np.int32)
        rest = np.ones(info.n_items + 1, bool)
        rest[first] = False
        return np.concatenate([first, info.ranked_items[rest[info.ranked_items]]])


def segment_columns(info: DataInfo, segment: str | Sequence[str]) -> tuple[int, ...]:
    """Where the codes of the columns of a segment stand in a row of the user's side.

    Raises
    ------
    ValueError
        If one is not a sparse column of users.
    """
    names: Any = [segment] if isinstance(segment, str) else segment
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"segment must be a column of users, or a list of such, got {segment!r}")
    fields = coded_fields(info, "user", names, "segment")
    several = [field.name for field in fields if layout_of(field).slots]
    if several:
        raise ValueError(f"segment needs one value a user, and {several[0]!r} is multi-sparse: use a sparse column")
    return tuple(info.schema.span(field).start for field in fields)
