"""The rows that a split gives to each of its frames, and the frames of these rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, cast

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.checks import check_bool, check_integer
from recolib.data.frame import Frame, Values, factorize, read_column, read_frame, refuse_missing
from recolib.data.order import RowNumbers, rows_by_code, rows_by_code_and_time
from recolib.data.rows import Codes
from recolib.data.times import Times, read_times
from recolib.exceptions import LeftOutRowsWarning, warn

Counts = NDArray[np.int64]
Cut = Callable[[Counts], list[Counts]]
"""From the number of rows of each user to the ranks at which the second and later parts begin."""

SAMPLE = 10_000
"""Rows that are looked at to tell whether the values of a column of text recur."""
RARE = 3
"""Users with at most so many rows stay whole in the first part."""


@dataclass(frozen=True)
class UnknownIds:
    """What happens to users and items of later parts that are not in the first part."""

    drop: bool = True
    pads: tuple[object, object] | None = None

    @classmethod
    def read(cls, filter_unknown: bool, pad_unknown: bool, pad_val: object) -> UnknownIds:
        """The arguments of a split, checked."""
        check_bool("filter_unknown", filter_unknown)
        check_bool("pad_unknown", pad_unknown)
        if filter_unknown or not pad_unknown:
            return cls(filter_unknown)
        if pad_val is None:
            raise ValueError("pad_unknown=True needs a pad_val: one value, or a pair for users and items")
        if not isinstance(pad_val, list | tuple):
            return cls(False, (pad_val, pad_val))
        pads = cast("Sequence[object]", pad_val)
        if len(pads) != 2:
            raise ValueError(f"pad_val must be one value or a pair for users and items, got {pad_val!r}")
        return cls(False, (pads[0], pads[1]))


@dataclass(frozen=True)
class Log:
    """A frame with its users and items as codes from 0, users in the order in which a split lists them."""

    frame: Frame
    users: Codes
    items: Codes
    n_users: int
    n_items: int
    times: Times | None
    """None for a log whose order is that of its rows."""

    @classmethod
    def read(cls, data: object, unknown: UnknownIds, by_time: bool = False) -> Log:
        """A checked frame, its ids coded."""
        frame = read_frame(data, ("user", "item", "time") if by_time else ("user", "item"))
        for name, pad in zip(("user", "item"), unknown.pads or (), strict=False):
            _refuse_pad(frame, name, pad)
        users, user_values = _read_ids(frame, "user")
        items, item_values = _read_ids(frame, "item")
        users = _rank_values(user_values)[users]
        times = read_times(read_column(frame, "time"), "time") if by_time else None
        return cls(frame, users, items, len(user_values), len(item_values), times)


def _read_ids(frame: Frame, name: str) -> tuple[Codes, Values]:
    codes, values = factorize(read_column(frame, name), name)
    refuse_missing(int((codes < 0).sum()), name)
    return codes.astype(np.int32), values


def _rank_values(values: Values) -> Codes:
    """The place of each value when sorted, or its own place if integers and strings cannot be compared."""
    if values.dtype == object and any(isinstance(value, int) for value in values):
        return np.arange(len(values), dtype=np.int32)
    ranks = np.empty(len(values), np.int32)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def refuse_all_rows(test_size: int, n: int) -> None:
    """Raise if a later part would take every row of n."""
    if test_size >= n:
        raise ValueError(f"test_size must be below the number of rows, {n}, got {test_size}")


def _refuse_pad(frame: Frame, name: str, pad: object) -> None:
    if isinstance(pad, bool) or not isinstance(pad, int | np.integer | str):
        raise ValueError(f"pad_val must be an int or a str like the ids, got {pad!r}")
    dtype = frame[name].dtype
    wrong = dtype.is_numeric() if isinstance(pad, str) else isinstance(dtype, nw.String | nw.Categorical | nw.Enum)
    if wrong:
        kind = "int" if isinstance(pad, str) else "str"
        raise ValueError(f"pad_val={pad!r} does not fit column {name!r}, which is {dtype}: pass a value of type {kind}")


def read_ratios(test_size: Any, multi_ratios: Any) -> list[float]:
    """The share of each part; their sum is 1."""
    if test_size is not None:
        _refuse_no_number(test_size, "test_size")
        if not 0 < test_size < 1:
            raise ValueError(f"test_size must be a share between 0 and 1, got {test_size!r}")
        return [1 - float(test_size), float(test_size)]
    if multi_ratios is None:
        raise ValueError("neither test_size nor multi_ratios is given: pass one of them, such as test_size=0.2")
    if isinstance(multi_ratios, str) or not isinstance(multi_ratios, Sequence | np.ndarray):
        raise TypeError(f"multi_ratios must be a list of numbers, got {multi_ratios!r}")
    for ratio in multi_ratios:
        _refuse_no_number(ratio, "multi_ratios")
    ratios = [float(ratio) for ratio in multi_ratios]
    if len(ratios) < 2:
        raise ValueError(f"multi_ratios must name at least two parts, got {ratios}")
    if not all(0 < ratio < math.inf for ratio in ratios):
        raise ValueError(f"multi_ratios must all be above 0 and finite, got {ratios}")
    return [ratio / math.fsum(ratios) for ratio in ratios]


def _refuse_no_number(value: Any, name: str) -> None:
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise TypeError(f"{name} must be given as numbers, got {value!r}")


def cut_at_ratios(ratios: Sequence[float]) -> Cut:
    """Cuts at shares of each user's rows, rounded half to even."""
    sums = np.cumsum(ratios)[:-1].tolist()
    return lambda counts: [np.rint(total * counts).astype(np.int64) for total in sums]


def cut_last(n: Any) -> Cut:
    """A cut before the last n rows of each user, or before the last one of those who have no more than n."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise TypeError(f"test_size must be an int, the number of rows of each user, got {n!r}")
    if n < 1:
        raise ValueError(f"test_size must be at least 1, got {n}")
    return lambda counts: [np.where(counts <= n, counts - 1, counts - n)]


def check_flags(seed: int, *flags: tuple[str, bool]) -> None:
    """Raise unless the seed is an integer from 0 on and each flag, by its name, is True or False."""
    check_integer("seed", seed, 0)
    for name, value in flags:
        check_bool(name, value)


def split_users(log: Log, cut: Cut, order: bool, shuffle: bool, unknown: UnknownIds, seed: int) -> list[Any]:
    """The frames that cuts within each user's rows give."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(log.users, minlength=log.n_users)
    part, n_parts = parts_of_users(counts, cut), 1 + len(cut(counts))
    rows = _rows_by_user(log, order, rng)
    parts = [rows[part == p] for p in range(n_parts)]
    return take_parts(log, [rng.permutation(part) for part in parts] if shuffle else parts, unknown)


def parts_of_users(counts: Counts, cut: Cut) -> NDArray[np.int16]:
    """The part of each row, of rows that stand user by user, which have so many each."""
    cuts = [np.where(counts <= RARE, counts, ranks) for ranks in cut(counts)]
    sizes = np.diff([np.zeros_like(counts), *cuts, counts], axis=0)  # of each part, of each user
    return np.repeat(np.tile(np.arange(len(sizes), dtype=np.int16), len(counts)), sizes.T.ravel())


def _rows_by_user(log: Log, order: bool, rng: np.random.Generator) -> RowNumbers:
    """All rows user by user; each user's by time, as they stand, or drawn at random."""
    if log.times is not None:
        return rows_by_code_and_time(log.users, log.times, log.n_users)
    if order:
        return rows_by_code(log.users, log.n_users)
    start = rng.permutation(len(log.frame))
    return start[rows_by_code(log.users[start], log.n_users)]


def take_parts(log: Log, parts: Sequence[RowNumbers], unknown: UnknownIds) -> list[Any]:
    """The frames of the given rows, the later ones without users and items that are not in the first."""
    first, *later = parts
    refuse_empty(len(first), len(log.frame))
    is_first = np.zeros(len(log.frame), bool)
    is_first[first] = True
    known_users, known_items = np.zeros(log.n_users, bool), np.zeros(log.n_items, bool)
    known_users[log.users[is_first]] = known_items[log.items[is_first]] = True
    source = Source.of(log.frame)
    frames = [source.take(first)]
    if unknown.drop:
        _warn_of_left_out(np.concatenate(later), log, known_users, known_items)
    for rows in later:
        has_user, has_item = known_users[log.users[rows]], known_items[log.items[rows]]
        if unknown.drop:
            rows = rows[has_user & has_item]
        frame = source.take(rows)
        if unknown.pads is not None:
            frame = _pad(_pad(frame, "user", ~has_user, unknown.pads[0]), "item", ~has_item, unknown.pads[1])
        frames.append(frame)
    return [frame.to_native() for frame in frames]


def refuse_empty(n_first: int, n: int) -> None:
    """Raise if the first part has none of n rows."""
    if not n_first:
        raise ValueError(f"no row of {n} is left for the first part: give it a larger share")


def later_starts(n: int, ratios: Sequence[float]) -> list[int]:
    """Where the later of several stretches of n rows begin, each of which has its share, rounded up."""
    ratios, starts = list(ratios), list[int]()
    while len(ratios) > 1:
        n -= math.ceil(ratios.pop() * n)
        starts.insert(0, n)
        ratios = [ratio / math.fsum(ratios) for ratio in ratios]
    return starts


def _warn_of_left_out(
    rows: RowNumbers, log: Log, known_users: NDArray[np.bool_], known_items: NDArray[np.bool_]
) -> None:
    """Warn of the rows of later parts whose user or item is unknown, with the counts."""
    no_user, no_item = ~known_users[log.users[rows]], ~known_items[log.items[rows]]
    tell_of_left_out(int((no_user | no_item).sum()), len(rows), int(no_user.sum()), int(no_item.sum()))


def tell_of_left_out(n_left_out: int, n: int, n_no_user: int, n_no_item: int) -> None:
    """Warn of rows of later parts that are left out."""
    if n_left_out:
        warn(
            f"{n_left_out} of {n} rows are left out of the later parts: {n_no_user} have a user and {n_no_item} an "
            "item that is not in the first part; filter_unknown=False, where a split has it, keeps them",
            LeftOutRowsWarning,
        )


def _pad(frame: Frame, name: str, where: NDArray[np.bool_], pad: object) -> Frame:
    (rows,) = where.nonzero()
    if not len(rows):
        return frame
    try:
        column = frame[name].scatter(rows.tolist(), [pad] * len(rows))
    except Exception as error:  # each library has its own
        raise ValueError(f"pad_val={pad!r} does not fit column {name!r}: {error}") from None
    if column.dtype != frame[name].dtype or column[int(rows[0])] != pad:
        raise ValueError(f"pad_val={pad!r} does not fit column {name!r}, which is {frame[name].dtype}")
    return frame.with_columns(column)


@dataclass(frozen=True)
class Text:
    """A column of text as positions among its distinct values, −1 where it is missing: numbers are taken faster."""

    positions: NDArray[np.int32]
    values: Any

    @classmethod
    def of(cls, column: pd.Series) -> Text | None:
        """The column, if its values recur."""
        sample = column.iloc[:: len(column) // SAMPLE + 1]
        if sample.nunique() > len(sample) / 2:
            return None
        positions, values = column.array.factorize()
        return cls(positions.astype(np.int32), values)

    def take(self, rows: RowNumbers) -> Any:
        """The rows as an array of the column's own type."""
        return self.values.take(_at(self.positions, rows), allow_fill=True)


@dataclass(frozen=True)
class Source:
    """A frame of which rows are taken several times."""

    frame: Frame
    texts: dict[object, Text]
    """The columns of text whose values recur."""

    @classmethod
    def of(cls, frame: Frame) -> Source:
        """The frame, and the text in it made ready."""
        native = frame.to_native()
        if type(native) is not pd.DataFrame:  # narwhals keeps what a subclass of DataFrame adds
            return cls(frame, {})
        columns = {name: cast("pd.Series", native[name]) for name in native.columns}
        texts = {name: Text.of(column) for name, column in columns.items() if isinstance(column.dtype, pd.StringDtype)}
        return cls(frame, {name: text for name, text in texts.items() if text is not None})

    def take(self, rows: RowNumbers) -> Frame:
        """The rows, in that order, with the frame's columns and index labels."""
        native = self.frame.to_native()
        if type(native) is not pd.DataFrame:
            return self.frame[rows]
        rows = rows.astype(np.intp, copy=False)
        index = native.index.take(rows)
        taken: dict[int, pd.Series] = {}
        for place, name in enumerate(native.columns):
            column = cast("pd.Series", native[name])
            # with its dtype, so that text that came as objects stays objects
            taken[place] = pd.Series(self._values(column, rows), index, dtype=column.dtype, copy=False)
        frame = pd.DataFrame(taken, index=index, copy=False).__finalize__(native)
        frame.columns = native.columns
        return cast("Frame", nw.from_native(frame, eager_only=True))

    def _values(self, column: pd.Series, rows: RowNumbers) -> Any:
        if column.name in self.texts:
            return self.texts[column.name].take(rows)
        return _at(column.to_numpy(), rows) if isinstance(column.dtype, np.dtype) else column.array.take(rows)


def _at(values: NDArray[Any], rows: RowNumbers) -> NDArray[Any]:
    return values.take(rows, mode="clip")  # the fastest mode; no row is out of range
