"""Order: the rows of a log by code and by time. Ties stay as they stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

RowNumbers = NDArray[np.integer]
ROWS_AT_ONCE = 2**20
"""Rows of a log that are gone through together, so that what is made of them takes little room."""


def blocks_of(n: int, size: int = ROWS_AT_ONCE) -> Iterator[slice]:
    """The numbers 0 to n − 1 as slices of this many, the last one of what is left."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def count_codes(codes: NDArray[np.int32], which: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    """How often each code below n stands among some of the codes."""
    counts = np.zeros(n, np.int64)
    for at in blocks_of(len(codes)):
        counts += np.bincount(codes[at][which[at]], minlength=n)
    return counts


def regrouped(parts: Iterable[NDArray[Any]], size: int = 2**16) -> Iterator[NDArray[Any]]:
    """The entries of some arrays in blocks of this many, the last one of what is left.

    What is summed by them does not depend on how the entries were divided into arrays.
    """
    waiting, n = list[NDArray[Any]](), 0
    for part in parts:
        start = min(size - n, len(part)) if n else 0
        if n:
            waiting, n = [*waiting, part[:start]], n + start
            if n < size:
                continue
            yield np.concatenate(waiting)
        whole = start + (len(part) - start) // size * size
        yield from (part[at : at + size] for at in range(start, whole, size))
        waiting, n = [part[whole:]], len(part) - whole
    if n:
        yield np.concatenate(waiting)


def rows_by_code(codes: NDArray[np.int32], n: int) -> RowNumbers:
    """The rows in the order of their codes, which are below ``n``."""
    return _by_code(codes, n).indices


def rows_by_code_and_time(codes: NDArray[np.int32], times: NDArray[Any], n: int) -> RowNumbers:
    """The rows in the order of their codes, which are below ``n``, and of one code by time."""
    if (times[1:] >= times[:-1]).all():
        return rows_by_code(codes, n)
    row_bits = len(times).bit_length()
    if times.dtype.kind != "i" or (int(times.max()) - int(times.min())).bit_length() + row_bits > 62:
        by_time = np.argsort(times, kind="stable")
        return by_time[rows_by_code(codes[by_time], n)]
    # One number for both, the time in its upper bits: sorted code by code that is faster than all rows by time.
    keys = (times.astype(np.int64) - int(times.min()) << row_bits) + np.arange(len(times))
    groups = _by_code(codes, n)
    shape = (n, int(keys.max()) + 1)
    sorted_keys = sparse.csr_array((groups.data, keys[groups.indices], groups.indptr), shape)
    sorted_keys.sort_indices()
    return sorted_keys.indices & ((1 << row_bits) - 1)


def last_of(codes: NDArray[np.int32], n: int) -> RowNumbers:
    """The last row of each code below ``n``; −1 for those that have none."""
    last = np.full(n, -1)
    last[codes] = np.arange(len(codes))  # the last write stays
    return last


def _by_code(codes: NDArray[np.int32], n: int) -> sparse.csr_array:
    """A matrix with a row for each code, whose entries stand in the columns numbered as the code's rows of the log.

    Turning the matrix with one entry a column counts instead of comparing.
    """
    starts = np.arange(len(codes) + 1, dtype=np.int32)
    return sparse.csc_array((np.ones(len(codes), bool), codes, starts), (n, len(codes))).tocsr()
