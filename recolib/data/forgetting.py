"""Users and items taken out of the data: vocabularies, tables and consumed lists without them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.consumed import interactions
from recolib.data.field import Side
from recolib.data.info import DataInfo
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.data.table import NO_HISTORY, History, Table

SIDES: tuple[Side, Side] = ("user", "item")
NO_CODES = np.empty(0, np.int32)


@dataclass(frozen=True, eq=False)
class Forgotten:
    """The data without some ids.

    Attributes
    ----------
    data_info
        The data.
    kept
        For each field with codes what stayed: the new code c was ``kept[field][c - 1]``, and ``AVERAGE`` is a bucket
        of values that nobody else has.
    """

    data_info: DataInfo
    kept: Mapping[str, Codes]


def without(info: DataInfo, users: Codes, items: Codes) -> Forgotten:
    """The data without some users and items, and without the feature values that nobody else has.

    Codes move up, so that sets that were encoded before are sets of other data. The values of context columns, the
    scale of numbers, and the mean, range and number of labels stay: they are of no one in particular.

    Raises
    ------
    ValueError
        If no user or no item would be left.
    """
    codes = {"user": users[users > UNKNOWN], "item": items[items > UNKNOWN]}
    kept, vocabs = dict[str, Codes](), dict(info.vocabs)
    rows_kept: dict[Side, NDArray[np.int64]] = {}
    for side in SIDES:
        table = info.table(side)
        rows_kept[side] = np.flatnonzero(~np.isin(table.owner, codes[side]))
        for name, lost in (_values_lost(info, side, rows_kept[side]) | {side: codes[side]}).items():
            vocabs[name], kept[name] = info.vocabs[name].without(lost)
        if not len(kept[side]):
            raise ValueError(f"no {side} would be left: train a new model")
    moved = {name: _moved(len(info.vocabs[name]), codes) for name, codes in kept.items()}
    tables = {f"{side}s": _table(info, side, rows_kept[side], moved) for side in SIDES}
    owners = np.repeat(np.arange(info.n_users + 1), info.user_consumed.counts())
    of, what = moved["user"][owners], moved["item"][info.user_consumed.codes]
    both = (of > UNKNOWN) & (what > UNKNOWN)
    by_user, by_item, liked = interactions(of[both], what[both], info.liked[both], len(kept["user"]), len(kept["item"]))
    new = replace(
        info,
        vocabs=vocabs,
        **tables,
        user_consumed=by_user,
        item_consumed=by_item,
        liked=liked,
        log=info.log.kept(moved["user"], moved["item"], len(kept["user"])),
        ancestors=(),
        display={name: column.kept(kept["item"]) for name, column in info.display.items()},
        n_vectors=_n_vectors(info, kept),
    )
    return Forgotten(new, kept)


def _n_vectors(info: DataInfo, kept: Mapping[str, Codes]) -> tuple[int, int] | None:
    """How many of the users and of the items that stay have a vector of their own."""
    if info.n_vectors is None:
        return None
    n_users, n_items = (int((kept[side] <= n).sum()) for side, n in zip(SIDES, info.n_vectors, strict=True))
    return n_users, n_items


def _values_lost(info: DataInfo, side: Side, rows: NDArray[np.int64]) -> dict[str, Codes]:
    """For each feature of a side the codes that rows have which go, and no row has that stays."""
    table = info.table(side).rows.codes.numpy()
    gone = np.delete(table, rows, axis=0)
    lost: dict[str, Codes] = {}
    for field in info.schema.codes(side):
        if not field.is_id:
            span = info.schema.span(field)
            codes = np.setdiff1d(gone[:, span], table[rows][:, span])
            lost[field.name] = codes[codes > UNKNOWN]
    return lost


def _moved(n_values: int, kept: Codes) -> Codes:
    """The new code of each old one, 0 for those that are gone."""
    moved, now = np.zeros(n_values + 1, np.int32), np.flatnonzero(kept > UNKNOWN)
    moved[kept[now]] = now + 1
    return moved


def _table(info: DataInfo, side: Side, rows: NDArray[np.int64], moved: Mapping[str, Codes]) -> Table:
    table, history = info.table(side), info.table(side).history
    codes = table.rows.codes[torch.from_numpy(rows)]
    for field in info.schema.codes(side):
        span = info.schema.span(field)
        cells = codes[:, span].numpy()
        codes[:, span] = torch.from_numpy(np.where(cells > UNKNOWN, moved[field.name][np.maximum(cells, 0)], cells))
    row_of = np.full(len(table.owner), -1)
    row_of[rows] = np.arange(len(rows))
    stays = row_of[history.rows] >= 0
    owner = table.owner[rows]
    owner = np.where(owner > 0, moved[side][np.maximum(owner, 0)], owner).astype(table.owner.dtype)
    changes = moved[side][history.codes[stays]].astype(np.int64), history.times[stays], row_of[history.rows[stays]]
    return Table(
        Rows(codes, table.rows.dense[torch.from_numpy(rows)]), owner, History(*changes) if stays.any() else NO_HISTORY
    )
