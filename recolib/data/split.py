"""Splits of interactions into a training part and later parts.

A later part is made of rows that the first must predict. :func:`random_split` draws them from all rows,
``split_by_ratio`` and ``split_by_num`` from each user's, and the ``_chrono`` forms take each user's latest.
No function loops over users: rows are sorted by user and their rank is compared with the user's cut points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from recolib.data.split_rows import (
    Log,
    UnknownIds,
    check_flags,
    cut_at_ratios,
    cut_last,
    later_starts,
    read_ratios,
    refuse_all_rows,
    split_users,
    take_parts,
)

FrameT = TypeVar("FrameT")


def random_split(
    data: FrameT,
    shuffle: bool = True,
    test_size: float | None = None,
    multi_ratios: Sequence[float] | None = None,
    filter_unknown: bool = True,
    pad_unknown: bool = False,
    pad_val: object = None,
    seed: int = 42,
) -> list[FrameT]:
    """Parts drawn from all rows, whoever they belong to.

    Parameters
    ----------
    data
        A pandas, polars or pyarrow frame with the columns ``user`` and ``item``. It is not changed.
    shuffle
        Whether the rows are drawn at random; otherwise each part is a stretch of the frame.
    test_size
        The share of the last of two parts, between 0 and 1. ``multi_ratios`` is then ignored.
    multi_ratios
        The share of every part, two or more; they are divided by their sum.
    filter_unknown
        Whether later parts lose the rows whose user or item is not in the first part.
    pad_unknown
        Whether such users and items are replaced by ``pad_val`` instead. Ignored with ``filter_unknown``.
    pad_val
        What replaces them: one value, or one for users and one for items.
    seed
        Seed of the draw.

    Returns
    -------
    list of frames
        Of the same library as ``data``, with its columns and index labels. A later part has the share of
        the rows asked for, rounded up, before unknown users and items leave it.

    Raises
    ------
    ValueError
        If a share is out of range, a column is missing or has missing values, ``pad_val`` does not fit, or no
        row is left for the first part.
    TypeError
        If a share is no number.

    Examples
    --------
    >>> import pandas as pd
    >>> data = pd.DataFrame({"user": [1, 1, 2, 2, 3], "item": [7, 8, 7, 8, 7]})
    >>> train, test = random_split(data, test_size=0.4, shuffle=False)
    >>> train.index.tolist(), test.index.tolist()  # user 3 is unknown to the first part
    ([0, 1, 2], [3])
    """
    check_flags(seed, ("shuffle", shuffle))
    ratios = read_ratios(test_size, multi_ratios)
    unknown = UnknownIds.read(filter_unknown, pad_unknown, pad_val)
    log = Log.read(data, unknown)
    rows = np.arange(len(log.frame), dtype=np.int32)
    rows = np.random.default_rng(seed).permutation(rows) if shuffle else rows
    return take_parts(log, np.split(rows, later_starts(len(rows), ratios)), unknown)


def split_by_ratio(
    data: FrameT,
    order: bool = True,
    shuffle: bool = False,
    test_size: float | None = None,
    multi_ratios: Sequence[float] | None = None,
    filter_unknown: bool = True,
    pad_unknown: bool = False,
    pad_val: object = None,
    seed: int = 42,
) -> list[FrameT]:
    """A share of each user's rows in every part.

    A user's rows are cut at the shares' running sums times their number, rounded half to even. Users with
    three rows or fewer stay whole in the first part.

    Parameters
    ----------
    data
        A pandas, polars or pyarrow frame with the columns ``user`` and ``item``. It is not changed.
    order
        Whether a user's first rows go to the first part and the last ones to the last; otherwise they are
        drawn at random.
    shuffle
        Whether the rows of each part are shuffled; otherwise they stand user by user, sorted by id (in order of
        first appearance if ids are of mixed types).
    test_size
        The share of the last of two parts, between 0 and 1. ``multi_ratios`` is then ignored.
    multi_ratios
        The share of every part, two or more; they are divided by their sum.
    filter_unknown
        Whether later parts lose the rows whose user or item is not in the first part.
    pad_unknown
        Whether such users and items are replaced by ``pad_val`` instead. Ignored with ``filter_unknown``.
    pad_val
        What replaces them: one value, or one for users and one for items.
    seed
        Seed of ``shuffle`` and of ``order=False``.

    Returns
    -------
    list of frames
        Of the same library as ``data``, with its columns and index labels.

    Raises
    ------
    ValueError
        If a share is out of range, a column is missing or has missing values, ``pad_val`` does not fit, or no
        row is left for the first part.
    TypeError
        If a share is no number.

    See Also
    --------
    split_by_ratio_chrono : The same after sorting by time.

    Examples
    --------
    >>> import pandas as pd
    >>> data = pd.DataFrame({"user": [1] * 5 + [2], "item": [7, 8, 9, 8, 7, 9]})
    >>> train, test = split_by_ratio(data, test_size=0.4)
    >>> train.index.tolist(), test.index.tolist()
    ([0, 1, 2, 5], [3, 4])
    """
    check_flags(seed, ("order", order), ("shuffle", shuffle))
    cut = cut_at_ratios(read_ratios(test_size, multi_ratios))
    unknown = UnknownIds.read(filter_unknown, pad_unknown, pad_val)
    return split_users(Log.read(data, unknown), cut, order, shuffle, unknown, seed)


def split_by_num(
    data: FrameT,
    order: bool = True,
    shuffle: bool = False,
    test_size: int = 1,
    filter_unknown: bool = True,
    pad_unknown: bool = False,
    pad_val: object = None,
    seed: int = 42,
) -> list[FrameT]:
    """The last rows of each user in the second part, the others in the first.

    Users with three rows or fewer stay whole in the first part. Of a user with more, but no more than
    ``test_size``, only the last row goes to the second.

    Parameters
    ----------
    data
        A pandas, polars or pyarrow frame with the columns ``user`` and ``item``. It is not changed.
    order
        Whether the rows taken are the user's last; otherwise they are drawn at random.
    shuffle
        Whether the rows of each part are shuffled; otherwise they stand user by user, sorted by id (in order of
        first appearance if ids are of mixed types).
    test_size
        How many rows of each user the second part takes, at least 1 and below the number of rows.
    filter_unknown
        Whether the second part loses the rows whose user or item is not in the first.
    pad_unknown
        Whether such users and items are replaced by ``pad_val`` instead. Ignored with ``filter_unknown``.
    pad_val
        What replaces them: one value, or one for users and one for items.
    seed
        Seed of ``shuffle`` and of ``order=False``.

    Returns
    -------
    list of frames
        Two, of the same library as ``data``, with its columns and index labels.

    Raises
    ------
    ValueError
        If ``test_size`` is out of range, a column is missing or has missing values, or ``pad_val`` does not fit.
    TypeError
        If ``test_size`` is no integer.

    See Also
    --------
    split_by_num_chrono : The same after sorting by time.

    Examples
    --------
    >>> import pandas as pd
    >>> data = pd.DataFrame({"user": [1] * 5 + [2], "item": [7, 8, 9, 8, 7, 9]})
    >>> train, test = split_by_num(data, test_size=1)
    >>> train.index.tolist(), test.index.tolist()
    ([0, 1, 2, 3, 5], [4])
    """
    check_flags(seed, ("order", order), ("shuffle", shuffle))
    cut = cut_last(test_size)
    unknown = UnknownIds.read(filter_unknown, pad_unknown, pad_val)
    log = Log.read(data, unknown)
    refuse_all_rows(test_size, len(log.frame))
    return split_users(log, cut, order, shuffle, unknown, seed)


def split_by_ratio_chrono(
    data: FrameT,
    order: bool = True,
    shuffle: bool = False,
    test_size: float | None = None,
    multi_ratios: Sequence[float] | None = None,
    seed: int = 42,
) -> list[FrameT]:
    """A share of each user's rows in every part, the earliest in the first.

    As :func:`split_by_ratio` after a stable sort by ``time``. Rows of later parts whose user or item is not in
    the first part are dropped.

    Parameters
    ----------
    data
        A pandas, polars or pyarrow frame with the columns ``user``, ``item`` and ``time``. It is not changed.
    order
        Taken for LibRecommender's sake and of no effect: the cut is by time either way.
    shuffle
        Whether the rows of each part are shuffled; otherwise they stand user by user, by time.
    test_size
        The share of the last of two parts, between 0 and 1. ``multi_ratios`` is then ignored.
    multi_ratios
        The share of every part, two or more; they are divided by their sum.
    seed
        Seed of ``shuffle``.

    Returns
    -------
    list of frames
        Of the same library as ``data``, with its columns and index labels.

    Raises
    ------
    ValueError
        If a share is out of range, a column is missing or has missing values, times cannot be sorted, or no row
        is left for the first part.
    TypeError
        If a share is no number.

    Examples
    --------
    >>> import pandas as pd
    >>> data = pd.DataFrame({"user": [1] * 5, "item": [7, 8, 7, 8, 7], "time": [50, 40, 30, 20, 10]})
    >>> train, test = split_by_ratio_chrono(data, test_size=0.4)
    >>> train.index.tolist(), test.index.tolist()
    ([4, 3, 2], [1, 0])
    """
    check_flags(seed, ("order", order), ("shuffle", shuffle))
    cut = cut_at_ratios(read_ratios(test_size, multi_ratios))
    log = Log.read(data, UnknownIds(), by_time=True)
    return split_users(log, cut, True, shuffle, UnknownIds(), seed)


def split_by_num_chrono(
    data: FrameT,
    order: bool = True,
    shuffle: bool = False,
    test_size: int = 1,
    seed: int = 42,
) -> list[FrameT]:
    """The latest rows of each user in the second part, the others in the first.

    As :func:`split_by_num` after a stable sort by ``time``. Rows of the second part whose item is not in the
    first are dropped.

    Parameters
    ----------
    data
        A pandas, polars or pyarrow frame with the columns ``user``, ``item`` and ``time``. It is not changed.
    order
        Taken for LibRecommender's sake and of no effect: the cut is by time either way.
    shuffle
        Whether the rows of each part are shuffled; otherwise they stand user by user, by time.
    test_size
        How many rows of each user the second part takes, at least 1 and below the number of rows.
    seed
        Seed of ``shuffle``.

    Returns
    -------
    list of frames
        Two, of the same library as ``data``, with its columns and index labels.

    Raises
    ------
    ValueError
        If ``test_size`` is out of range, a column is missing or has missing values, or times cannot be sorted.
    TypeError
        If ``test_size`` is no integer.

    Examples
    --------
    >>> import pandas as pd
    >>> data = pd.DataFrame({"user": [1] * 4, "item": [7, 8, 7, 8], "time": [40, 10, 30, 20]})
    >>> train, test = split_by_num_chrono(data)
    >>> train.index.tolist(), test.index.tolist()
    ([1, 3, 2], [0])
    """
    check_flags(seed, ("order", order), ("shuffle", shuffle))
    cut = cut_last(test_size)
    log = Log.read(data, UnknownIds(), by_time=True)
    refuse_all_rows(test_size, len(log.frame))
    return split_users(log, cut, True, shuffle, UnknownIds(), seed)
