"""What users consumed, of a log in files: sorted range by range of users and of items, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recolib.data.consumed import Counting, pairs_by_user
from recolib.data.log import NO_TIMES, ConsumedLog
from recolib.data.order import rows_by_code
from recolib.data.streaming.array_files import ArrayFiles

EVENTS_AT_ONCE = 2**23
"""Events that are sorted together, but for those of a single user or item that has more."""

Starts = NDArray[np.int64]


def sort_log(files: ArrayFiles, n_users: int, n_items: int, counting: Counting, has_times: bool) -> dict[str, Starts]:
    """Write what each user consumed and who consumed each item, as ``build_training`` has it.

    Parameters
    ----------
    files
        Has ``user_codes``, ``item_codes``, ``labels`` and ``times``; gets ``log_items``, ``log_times``,
        ``user_consumed``, ``liked`` and ``item_consumed``.
    n_users, n_items
        How many codes there are.
    counting
        Which events count.
    has_times
        Whether events have times, or only an order.

    Returns
    -------
    dict
        Where the part of each code begins in ``log``, ``user_consumed`` and ``item_consumed``.
    """
    sizes = np.zeros(n_users + 1, np.int64)
    for _, (users, labels) in files.blocks("user_codes", "labels"):
        sizes += np.bincount(users[labels > 0] if counting == "positive" else users, minlength=len(sizes))
    names = ["user_codes", "item_codes", "labels", *(["times"] if has_times else [])]
    time_type = files.entries["times"].dtype if has_times else NO_TIMES.dtype.str
    columns = {"log_items": "<i4", "log_times": time_type, "user_consumed": "<i4", "liked": "|b1"}
    n_pairs = np.zeros(n_users + 1, np.int64)
    with files.writing({name: (dtype, ()) for name, dtype in columns.items()}) as writing:
        for low, high in ranges(sizes, EVENTS_AT_ONCE):
            users, items, labels, *times = _within(files, names, low, high)
            liked = labels > 0
            if counting == "positive":
                users, items, times, liked = users[liked], items[liked], [one[liked] for one in times], liked[liked]
            log = ConsumedLog.of(users - low, items, times[0] if has_times else NO_TIMES, high - low - 1)
            pairs = pairs_by_user(users - low, items, liked, high - low - 1, n_items)
            n_pairs[low:high] = np.diff(pairs.indptr)
            writing.write(
                log_items=log.items,
                log_times=log.times,
                user_consumed=pairs.indices,
                liked=np.asarray(pairs.data, bool),
            )
    by_user = np.append(0, np.cumsum(n_pairs))
    of_log = np.append(0, np.cumsum(sizes))
    return {"log": of_log, "user_consumed": by_user, "item_consumed": _sort_pairs(files, by_user, n_items)}


def _sort_pairs(files: ArrayFiles, by_user: Starts, n_items: int) -> Starts:
    """Write the users of each item, ascending."""
    sizes = np.zeros(n_items + 1, np.int64)
    for _, (items,) in files.blocks("user_consumed"):
        sizes += np.bincount(items, minlength=len(sizes))
    with files.writing({"item_consumed": ("<i4", ())}) as writing:
        for low, high in ranges(sizes, EVENTS_AT_ONCE):
            users, items = list[NDArray[np.int32]](), list[NDArray[np.int32]]()
            for at, (block,) in files.blocks("user_consumed"):
                some = _in_range(block, low, high)
                items.append(block[some] - low)
                users.append((np.searchsorted(by_user, some + at.start, "right") - 1).astype(np.int32))
            order = rows_by_code(np.concatenate(items), high - low)
            writing.write(item_consumed=np.concatenate(users)[order])
    return np.append(0, np.cumsum(sizes))


def ranges(sizes: NDArray[np.int64], at_once: int) -> Iterator[tuple[int, int]]:
    """Ranges of codes that together have at most so many events, or a single one that has more."""
    ends, low = np.cumsum(sizes), 0
    while low < len(sizes):
        before = int(ends[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + at_once, "right")))
        yield low, high
        low = high


def _within(files: ArrayFiles, names: list[str], low: int, high: int) -> list[NDArray[Any]]:
    """The rows of those users, in their order."""
    found: list[list[NDArray[Any]]] = [[] for _ in names]
    for _, arrays in files.blocks(*names):
        some = _in_range(arrays[0], low, high)
        for mine, array in zip(found, arrays, strict=True):
            mine.append(array[some])
    return [np.concatenate(mine) for mine in found]


def _in_range(codes: NDArray[np.int32], low: int, high: int) -> NDArray[np.int64]:
    return np.flatnonzero((codes - np.int32(low)).view(np.uint32) < high - low)
