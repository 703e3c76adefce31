"""Splits of what is read in parts: a number for each row, by which parts are read when they are needed."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.checks import check_choice
from recolib.data.kinds import kind_of
from recolib.data.order import blocks_of, rows_by_code, rows_by_code_and_time
from recolib.data.schema import make_schema
from recolib.data.split_rows import (
    Cut,
    check_flags,
    cut_at_ratios,
    cut_last,
    later_starts,
    parts_of_users,
    read_ratios,
    refuse_all_rows,
    refuse_empty,
    tell_of_left_out,
)
from recolib.data.streaming.array_files import ArrayFiles
from recolib.data.streaming.sorting import EVENTS_AT_ONCE, ranges
from recolib.data.streaming.sources import SplitPart, source_of
from recolib.data.streaming.spooling import Spool, Wanted, spool
from recolib.data.times import Times
from recolib.exceptions import telling_once
from recolib.files import scratch
from recolib.randomness import uniforms

SplitBy = Literal["random", "time", "user"]
Moment = float | str | dt.date | np.datetime64
PartOfRow = NDArray[np.int8]
MAX_PARTS = 100


def split_in_parts(
    data: object,
    by: SplitBy,
    test_size: float | None = None,
    multi_ratios: Sequence[float] | None = None,
    *,
    at: Moment | Sequence[Moment] | None = None,
    filter_unknown: bool = True,
    seed: int = 42,
) -> list[SplitPart]:
    """Split data that is read in parts, without copying it.

    The data is read once, for its users, items and times. A byte for each row is kept; the rest is read when a part of
    the split is used.

    Parameters
    ----------
    data
        The path of a Parquet file or of a folder of such, a ``pyarrow.dataset.Dataset``, or a function that returns an
        iterator of frames, the same ones each time. It has the columns ``user`` and ``item``.
    by
        What decides which part a row belongs to.

        * ``"random"``: a hash of (``seed``, number of the row), whoever the row belongs to. Parts have about their
          shares
        * ``"time"``: the column ``time``. Later parts begin at the moments ``at``, or where the rows before have their
          share; rows of that moment are in the later part
        * ``"user"``: the place among the user's rows, in order of ``time`` or without that column as they stand. Parts
          have the rows that ``split_by_ratio_chrono``, ``split_by_num_chrono``, ``split_by_ratio`` and
          ``split_by_num`` give, in the order of the data
    test_size
        The share of the last of two parts, between 0 and 1; or by ``"user"`` an integer, how many of each user's rows.
    multi_ratios
        The share of every part, two or more; they are divided by their sum.
    at
        Of ``"time"``, the moment at which the second of two parts begins, or in rising order those of all later parts:
        numbers, or dates, as the column has them. Dates without a zone are in UTC, on either side.
    filter_unknown
        Whether later parts lose the rows whose user or item is not in the first part.
    seed
        Seed of ``"random"``.

    Returns
    -------
    list of parts
        What ``build_trainset``, ``build_evalset``, ``evaluate`` and ``eval_data`` take as data. ``n_rows`` says how
        many rows a part has.

    Raises
    ------
    ValueError
        If an argument does not fit the others, a column is missing or has a bad value, no row is left for the first
        part, or the data is a frame or can be read only once.
    TypeError
        If a share is no number, or a moment is of another type than the times.

    See Also
    --------
    random_split, split_by_ratio_chrono : splits of a frame.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"user": [1, 1, 2, 2, 2], "item": [7, 8, 7, 8, 7], "time": [10, 20, 30, 40, 50]})
    >>> def frames():
    ...     return (frame[start : start + 2] for start in range(0, len(frame), 2))
    >>> split_in_parts(frames, "time", at=30, filter_unknown=False)
    [SplitPart(2 of 5 rows), SplitPart(3 of 5 rows)]
    """
    check_choice("by", by, get_args(SplitBy))
    check_flags(seed, ("filter_unknown", filter_unknown))
    cut, ratios = _read_sizes(by, test_size, multi_ratios, at)
    if isinstance(data, Iterator):
        raise ValueError("data is an iterator, which can be read once: give a function that returns one")
    source = source_of(data, "data")
    if source is None:
        raise ValueError("data is a frame: split it by random_split, split_by_ratio_chrono or another function")
    there = source.columns
    absent = [name for name in ("user", "item", *(["time"] if by == "time" else [])) if name not in there]
    if absent:
        raise ValueError(f"columns {absent} are not in data: {list(there)}")
    fields = {field.name: field for field in make_schema().fields}
    columns = ["user", "item", *(["time"] if "time" in there and by != "random" else [])]
    with tempfile.TemporaryDirectory(prefix="recolib-", ignore_cleanup_errors=True) as folder, telling_once():
        log = _Log.of(spool(source, Wanted(fields, columns, None), Path(folder)), Path(folder))
        part_of_row = scratch(log.n, np.int8)
        if by == "random":
            _at_random(part_of_row, ratios, seed)
        elif by == "time":
            _by_time(part_of_row, log, ratios, at)
        else:
            if test_size is not None and not ratios:
                refuse_all_rows(int(test_size), log.n)
            _by_user(part_of_row, log, cut)
        _leave_out(part_of_row, log, filter_unknown)
        n_parts = len(ratios) or (2 if at is None else 1 + len(_several(at)))
        return [SplitPart(data, number, part_of_row, log.keys, list(there), source.root) for number in range(n_parts)]


def _read_sizes(by: SplitBy, test_size: Any, multi_ratios: Any, at: Any) -> tuple[Cut, list[float]]:
    """How each user's rows are cut, and the shares of parts if that is how they are given."""
    if at is not None:
        if by != "time" or test_size is not None or multi_ratios is not None:
            raise ValueError("at is for by='time', without test_size and multi_ratios")
        return cut_last(1), []
    is_number = isinstance(test_size, int | np.integer) and not isinstance(test_size, bool)
    if by == "user" and is_number and multi_ratios is None:
        return cut_last(test_size), []
    ratios = read_ratios(test_size, multi_ratios)
    if len(ratios) > MAX_PARTS:
        raise ValueError(f"multi_ratios must name at most {MAX_PARTS} parts, got {len(ratios)}")
    return cut_at_ratios(ratios), ratios


def _several(at: Any) -> list[Any]:
    return list(at) if isinstance(at, Sequence | np.ndarray | pd.Index) and not isinstance(at, str) else [at]


class _Log:
    """The users, items and times of all rows, in files."""

    def __init__(self, files: ArrayFiles, spooled: Spool, n_users: int, n_items: int) -> None:
        self.files, self.n, self.n_users, self.n_items = files, len(spooled), n_users, n_items
        self.keys, self.has_times, self.time_form = spooled.keys, spooled.wanted.has_times, spooled.time_form

    @classmethod
    def of(cls, spooled: Spool, folder: Path) -> _Log:
        files, fields, vocabs = ArrayFiles(folder), spooled.wanted.fields, dict[str, Any]()
        for name, field in fields.items():
            _, vocabs[name] = kind_of(field).learn_parts(field, spooled.seen[name], "none")
        columns = {"user": ("<i4", ()), "item": ("<i4", ())}
        times = {"time": (spooled.time_type, ())} if spooled.wanted.has_times else {}
        with files.writing(columns | times) as writing:
            for _, part in spooled.parts():
                for name, field in fields.items():
                    codes = kind_of(field).settle(part.field(name), field, vocabs[name])
                    writing.write(**{name: codes.reshape(-1)})
                if times:
                    writing.write(time=part.array("times"))
                part.file.unlink()
        return cls(files, spooled, len(vocabs["user"]) + 1, len(vocabs["item"]) + 1)

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.int32], NDArray[np.int32]]]:
        """The rows with the codes of their users and items, block by block."""
        return ((at, users, items) for at, (users, items) in self.files.blocks("user", "item"))


def _at_random(part_of_row: PartOfRow, ratios: Sequence[float], seed: int) -> None:
    upto = np.cumsum(ratios)[:-1]
    for at in blocks_of(len(part_of_row)):
        drawn = uniforms(seed, 0, np.arange(at.start, at.stop), 1).reshape(-1)
        part_of_row[at] = np.searchsorted(upto, drawn, "right")


def _by_time(part_of_row: PartOfRow, log: _Log, ratios: Sequence[float], at: Any) -> None:
    times = log.files.mapped("time")
    if at is None:
        in_order, starts = scratch(log.n, times.dtype), later_starts(log.n, ratios)
        in_order[:] = times
        in_order.partition(starts)
        moments = in_order[starts]
    else:
        moments = _moments(_several(at), log.time_form, times)
    for some in blocks_of(log.n):
        part_of_row[some] = np.searchsorted(moments, times[some], "right")


def _moments(at: list[Any], form: str, times: Times) -> Times:
    """Moments as the times have them."""
    is_number = [isinstance(one, Real) and not isinstance(one, bool | np.bool_) for one in at]
    if not at or len(at) > MAX_PARTS or (form == "numbers") != all(is_number) or "durations" in form:
        wanted = "numbers" if form == "numbers" else "dates"
        raise TypeError(f"at must be {wanted}, as column 'time' holds {form}, got {at!r}")
    if form == "numbers":
        found = np.array(at, np.float64 if times.dtype.kind == "f" else None)
    else:
        unit = "us" if form.endswith("us") else "ns"
        try:
            found = np.array([pd.Timestamp(one).as_unit(unit).asm8 for one in at])
        except (TypeError, ValueError) as error:
            raise ValueError(f"at={at!r} cannot be read as dates: {error}") from None
    if pd.isna(found).any():
        raise ValueError(f"at must be moments, and one is missing (NaN or NaT): got {at!r}")
    if not (found[1:] > found[:-1]).all():
        raise ValueError(f"at must be in rising order, got {at!r}")
    return found if form == "numbers" else found.view(np.int64)


def _by_user(part_of_row: PartOfRow, log: _Log, cut: Cut) -> None:
    sizes = np.zeros(log.n_users, np.int64)
    for _, users, _ in log.blocks():
        sizes += np.bincount(users, minlength=log.n_users)
    times = log.files.mapped("time") if log.has_times else None
    for low, high in ranges(sizes, EVENTS_AT_ONCE):
        found = [(at.start + inside, users[inside] - low) for at, users, inside in _inside(log, low, high)]
        rows, users = (np.concatenate(one) for one in zip(*found, strict=True))
        users = users.astype(np.int32)
        n = high - low
        order = rows_by_code(users, n) if times is None else rows_by_code_and_time(users, times[rows], n)
        part_of_row[rows[order]] = parts_of_users(sizes[low:high], cut)


def _inside(log: _Log, low: int, high: int) -> Iterator[tuple[slice, NDArray[np.int32], NDArray[np.int64]]]:
    for at, users, _ in log.blocks():
        yield at, users, np.flatnonzero((users >= low) & (users < high))


def _leave_out(part_of_row: PartOfRow, log: _Log, filter_unknown: bool) -> None:
    """Take rows out of later parts whose user or item is not in the first one."""
    knows_user, knows_item, n_first = np.zeros(log.n_users, bool), np.zeros(log.n_items, bool), 0
    for at, users, items in log.blocks():
        is_first = part_of_row[at] == 0
        n_first += int(is_first.sum())
        knows_user[users[is_first]] = knows_item[items[is_first]] = True
    refuse_empty(n_first, log.n)
    if not filter_unknown:
        return
    counts = np.zeros(3, np.int64)
    for at, users, items in log.blocks():
        is_later = part_of_row[at] > 0
        no_user, no_item = is_later & ~knows_user[users], is_later & ~knows_item[items]
        part_of_row[at][no_user | no_item] = -1
        counts += [(no_user | no_item).sum(), no_user.sum(), no_item.sum()]
    n_left_out, n_no_user, n_no_item = counts.tolist()
    tell_of_left_out(n_left_out, log.n - n_first, n_no_user, n_no_item)
