"""What a request says that users consumed: after training, or in the place of what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import narwhals as nw
import numpy as np

from recolib.checks import check_names
from recolib.data.frame import factorize, read_column, read_frame
from recolib.data.info import DataInfo
from recolib.data.log import past_of_lists
from recolib.data.rows import Codes, Rows
from recolib.data.times import read_times
from recolib.exceptions import UnorderedHistoryWarning, warn
from recolib.inference.ids import Id, Ids, item_codes_each

Histories = Ids | Mapping[Any, Ids] | object
"""Items of one user; a mapping from users to theirs; or a frame of ``item``, for several users with ``user``, and
``time`` if rows are not in order."""


def read_histories(
    info: DataInfo, argument: str, given: Histories, users: Sequence[Id], inner_id: bool
) -> list[Codes] | None:
    """The codes of each user's items, in order; None if there is nothing of any.

    Raises
    ------
    ValueError
        If it does not say whose the items are.
    """
    if nw.dependencies.is_into_dataframe(given):
        given = _of_frame(argument, given, users)
    if not isinstance(given, Mapping):
        if len(users) > 1:
            raise ValueError(f"{argument} of several users must map each user to their items, got {given!r}")
        given = {users[0]: given}
    codes = item_codes_each(info, argument, cast("Mapping[Any, Ids]", given), users, inner_id)
    return codes if any(len(own) for own in codes) else None


def _of_frame(argument: str, given: object, users: Sequence[Id]) -> Mapping[Any, Ids]:
    """Each user's items of a frame, by time where it has times."""
    frame = read_frame(given, ["item"] if len(users) == 1 else ["item", "user"], argument)
    check_names(frame.columns, ["user", "item", "time"], f"a column that {argument} can have")
    items = read_column(frame, "item")
    owners = np.zeros(len(items), np.int64)
    ids: list[Any] = [users[0]]
    if "user" in frame.columns:
        owners, values = factorize(read_column(frame, "user"), "user", ids=True)
        ids = values.tolist()
    order = np.argsort(owners, kind="stable")
    if "time" in frame.columns:
        times = read_times(read_column(frame, "time"), "time")
        falls = np.diff(times[order]) < 0
        n_earlier = int((falls & (np.diff(owners[order]) == 0)).sum())
        if n_earlier:
            what = f"{n_earlier} rows of {argument} are earlier than the row before them"
            warn(f"{what}: sorted by time", UnorderedHistoryWarning)
        order = np.lexsort((times, owners))
    ends = np.cumsum(np.bincount(owners, minlength=len(ids)))[:-1]
    parts = np.split(order, ends)
    return {one: items.iloc[part] for one, part in zip(ids, parts, strict=True)}


def rows_with(info: DataInfo, rows: Rows, codes: Codes, histories: Sequence[Codes], is_all: bool) -> Rows:
    """Rows of users who consumed these items, behind what is known of them or, if ``is_all``, instead of it."""
    if not is_all:
        histories = [np.append(info.log.latest(code), own) for code, own in zip(codes, histories, strict=True)]
    return rows.with_past(past_of_lists(histories))
