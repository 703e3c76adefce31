"""Table: the feature rows of all users, or of all items."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.caching import cached
from recolib.data.order import last_of, rows_by_code_and_time
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.data.times import Times, before_all


@dataclass(frozen=True, eq=False)
class History:
    """When features changed: from ``times[i]`` on, code ``codes[i]`` has row ``rows[i]``. Sorted by code, then time."""

    codes: NDArray[np.int64]
    times: Times
    rows: NDArray[np.int64]

    def behind(self, always: Codes, codes: Codes, times: Times, rows: Codes) -> History:
        """The history with more changes, and with codes that had their present row until then."""
        before = np.full(len(always), before_all(times), times.dtype)
        whose, since = np.concatenate([self.codes, always, codes]), [self.times, before, times]
        when = np.concatenate([some for some in since if len(some)])
        which = np.concatenate([self.rows, always, rows]).astype(np.int64)
        order = np.lexsort((when, whose))  # stable: of equal times the later row of the log counts as later
        return History(whose[order].astype(np.int64), when[order], which[order])


NO_HISTORY = History(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))


@dataclass(frozen=True, eq=False)
class Table:
    """Feature rows: row c has the present features of code c; rows with earlier features follow.

    Attributes
    ----------
    rows
        All rows; row 0 is of an unknown id. The id column holds 0 for an id without interactions, since it has no
        trained vector.
    owner
        The code that each row belongs to, shape (R,); −1, −2, … number unknown ids.
    history
        The changes of ids that have earlier rows; empty if no features ever changed.
    """

    rows: Rows
    owner: Codes
    history: History

    @cached
    def n_ids(self) -> int:
        """How many ids are known."""
        return int(self.owner.max(initial=0))

    @property
    def current(self) -> Rows:
        """The present features, in the order of codes, those of the unknown id first."""
        return self.rows[: self.n_ids + 1]

    def with_events(self, owners: Codes, shown: Rows, times: Times, keep_history: bool) -> tuple[Table, Codes]:
        """The table with what the events of an evaluation set show, and the row of each.

        What is true now stays row c of code c. Rows of events that show anything else follow, each once.

        Parameters
        ----------
        owners
            The code of each event, −1, −2, … of unknown ids, shape (N,).
        shown
            The features that the event shows, shape (N, ...).
        times
            When it happened, shape (N,).
        keep_history
            Whether the history so far counts. Without it, row c held until the first of the events.
        """
        own = self.differing(owners, shown)
        rows = np.maximum(owners, UNKNOWN)
        bits = bits_of(owners[own], shown[torch.from_numpy(own)])
        versions, version = np.unique(bits, axis=0, return_inverse=True)
        rows[own] = len(self.rows) + version.reshape(-1)
        changing = self.changing(versions, keep_history)
        events = np.flatnonzero(np.isin(owners, changing)) if len(changing) else np.empty(0, np.int64)
        return self.with_versions(versions, owners[events], times[events], rows[events], keep_history), rows

    def differing(self, owners: Codes, shown: Rows) -> NDArray[np.int64]:
        """Which events show another row than that of now, or are of unknown ids."""
        now = self.rows[torch.from_numpy(np.maximum(owners, UNKNOWN))]
        return np.flatnonzero((owners < 0) | differ(shown, now))

    def changing(self, versions: NDArray[np.int32], keep_history: bool) -> NDArray[np.int64]:
        """The codes whose history has the events of an evaluation set: of versions, and those that have one."""
        owners = versions[:, 0]
        changed = np.unique(owners[owners > UNKNOWN]).astype(np.int64)
        return np.union1d(changed, self.history.codes) if keep_history else changed

    def with_versions(
        self, versions: NDArray[np.int32], codes: Codes, times: Times, rows: Codes, keep_history: bool
    ) -> Table:
        """The table with more rows behind it, and with what the events of an evaluation set say of when each held.

        Parameters
        ----------
        versions
            The rows as ``bits_of`` has them.
        codes, times, rows
            The codes, times and rows of those events whose codes are ``changing``.
        keep_history
            Whether the history so far counts.
        """
        history, owners = self.history if keep_history else NO_HISTORY, versions[:, 0]
        if len(codes) or len(history.codes):
            fresh = np.setdiff1d(owners[owners > UNKNOWN], history.codes)
            history = history.behind(fresh.astype(np.int32), codes, times, rows)
        if not len(versions):
            return replace(self, history=history)
        n_codes = self.rows.codes.shape[-1]
        own = np.ascontiguousarray(versions[:, 1:])
        new = Rows(
            torch.from_numpy(own[:, :n_codes].copy()), torch.from_numpy(own[:, n_codes:].copy().view(np.float32))
        )
        past = self.rows.past
        if past is not None:
            spans = past.spans[torch.from_numpy(np.maximum(owners, UNKNOWN))]
            new = new.with_past(replace(past, spans=spans))
        return Table(Rows.cat([self.rows, new]), np.append(self.owner, owners), history)

    def at(self, codes: Codes, times: Times) -> Codes:
        """The row of each code at each time; its first row if the time is earlier.

        Parameters
        ----------
        codes
            Codes, shape (n, ...).
        times
            The time of each of the n entries, shape (n,).
        """
        history = self.history
        if not len(history.codes):
            return codes
        moments = np.unique(history.times)
        stride = len(moments) + 1
        changes = history.codes * stride + np.searchsorted(moments, history.times, side="right")
        rank = np.searchsorted(moments, times, side="right").reshape(-1, *[1] * (codes.ndim - 1))
        found = np.searchsorted(changes, codes.astype(np.int64) * stride + rank, side="right") - 1
        first = np.searchsorted(history.codes, codes, side="left")
        found = np.minimum(np.maximum(found, first), len(history.codes) - 1)
        return np.where(history.codes[found] == codes, history.rows[found], codes).astype(np.int32)

    def with_ids(self, new: Rows) -> tuple[Table, Callable[[NDArray[Any]], NDArray[Any]]]:
        """A table of more ids, whose rows come behind the present ones, and where rows of this table are in it."""
        if not len(new):
            return self, lambda rows: rows
        n, more = self.n_ids + 1, len(new)

        def moved(rows: NDArray[Any]) -> NDArray[Any]:
            return np.where(rows < n, rows, rows + more).astype(rows.dtype)

        codes = np.arange(n, n + more, dtype=self.owner.dtype)
        rows = Rows.cat([self.rows[:n], new, self.rows[n:]])
        owner = np.concatenate([self.owner[:n], codes, self.owner[n:]])
        return Table(rows, owner, replace(self.history, rows=moved(self.history.rows))), moved

    @classmethod
    def of(cls, current: Rows) -> Table:
        """A table in which nothing has changed: row c is that of code c."""
        return cls(current, np.arange(len(current), dtype=np.int32), NO_HISTORY)


def table_of_events(blank: Rows, codes: Codes, rows: Rows, times: Times) -> tuple[Table, Codes]:
    """The table that a log of events makes, and each event's row in it.

    Parameters
    ----------
    blank
        The row of each code without the log, shape (n_ids + 1, ...); ids without events keep it.
    codes
        The user or the item of each event, shape (N,).
    rows
        The features of the event, all columns of the side, shape (N, ...).
    times
        When it happened, shape (N,); of equal times the later row of the log counts as later.
    """
    events = rows_by_code_and_time(codes, times, len(blank))
    current = Rows(blank.codes.clone(), blank.dense.clone())
    last = last_of(codes[events], len(blank))
    latest, seen = events[last], np.flatnonzero(last >= 0)
    newest = rows[torch.from_numpy(latest[seen])]
    current.codes[seen], current.dense[seen] = newest.codes, newest.dense
    changed = differ(rows, rows[torch.from_numpy(latest[codes])])
    if not changed.any():
        return Table.of(current), codes

    varying = np.isin(codes, np.unique(codes[changed]))
    events = events[varying[events]]
    own = np.column_stack([codes[events], _bytes(rows[torch.from_numpy(events)])])
    begins = np.append(True, (own[1:] != own[:-1]).any(1))
    _, one, version = np.unique(own[begins], axis=0, return_index=True, return_inverse=True)
    one = events[begins][one]
    row_of_version = np.empty(len(one), np.int64)
    is_current = ~changed[one]
    row_of_version[is_current] = codes[one[is_current]]
    older = one[~is_current]
    row_of_version[~is_current] = len(blank) + np.arange(len(older))

    row = codes.copy()
    row[events] = row_of_version[version.reshape(-1)][np.cumsum(begins) - 1]
    ids, at = codes[events].astype(np.int64), row[events].astype(np.int64)
    begins = np.append(True, (ids[1:] != ids[:-1]) | (at[1:] != at[:-1]))
    history = History(ids[begins], times[events][begins], at[begins])
    table = Table(
        Rows.cat([current, rows[torch.from_numpy(older)]]),
        np.concatenate([np.arange(len(blank), dtype=np.int32), codes[older]]),
        history,
    )
    return table, row


def changing_events(
    codes: Codes, some: NDArray[np.integer], features: Iterable[Codes | NDArray[np.float32]]
) -> NDArray[np.integer]:
    """The events of those ids whose events do not all have the same features.

    Parameters
    ----------
    codes
        The user or the item of each event, shape (N,).
    some
        An event of each code, shape (n_ids + 1,).
    features
        The cells of each field, shape (N, width).
    """
    differs = np.zeros(len(codes), bool)
    for values in features:
        bits = values.view(np.int32).reshape(len(codes), -1)  # so that −0 differs from 0
        for column in bits.T:
            differs |= column != column[some][codes]
    changes = np.zeros(len(some), bool)
    changes[codes[differs]] = True
    return np.flatnonzero(changes[codes]) if differs.any() else np.empty(0, np.int64)


def differ(rows: Rows, others: Rows) -> NDArray[np.bool_]:
    """Which of n rows differ, shape (n,)."""
    return ((rows.codes != others.codes).any(-1) | (rows.dense != others.dense).any(-1)).numpy()


def bits_of(owners: Codes, rows: Rows) -> NDArray[np.int32]:
    """Rows and whose they are as bits, shape (n, 1 + columns)."""
    return np.column_stack([owners, _bytes(rows)])


def _bytes(rows: Rows) -> NDArray[np.int32]:
    return np.hstack([rows.codes.numpy(), rows.dense.numpy().view(np.int32)])
