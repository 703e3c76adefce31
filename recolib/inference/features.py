"""Features and context as a caller gives them, and the rows that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import narwhals as nw
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from recolib.checks import check_names
from recolib.data.encoding import blank_rows, overlay
from recolib.data.frame import Frame, factorize, read_column, read_frame
from recolib.data.info import DataInfo
from recolib.data.kinds import kind_of, layout_of
from recolib.data.rows import Codes, Rows
from recolib.data.schema import SIDES, Field, Side
from recolib.exceptions import warn
from recolib.inference.ids import Id, Ids, codes_of, is_single

Feats = Mapping[str, object] | pd.Series | Sequence[Mapping[str, object]] | object
"""Features: one mapping for all, a list with one mapping each, or a frame."""


def coded_fields(info: DataInfo, side: Side, names: Sequence[str], argument: str) -> list[Field]:
    """The fields of some columns of a side, each of which has values that one can count.

    Raises
    ------
    ValueError
        If one is no column of that side, or holds numbers.
    """
    check_names(names, info.schema.columns(side), f"a column of {side}s that {argument} can have")
    of_column = {column: field for field in info.schema.features(side) for column in field.columns}
    dense = [name for name in names if layout_of(of_column[name]).part == "dense"]
    if dense:
        raise ValueError(
            f"{argument} needs values that are groups, and {dense[0]!r} is a {of_column[dense[0]].kind} column: use a "
            "sparse one"
        )
    return [of_column[name] for name in names]


def read_once(feats: Feats | None, argument: str, key: str | None = None) -> Feats | None:
    """Features whose frame, if it is one, can be read more than once."""
    if feats is None or isinstance(feats, Mapping | pd.Series | list | tuple):
        return feats
    return read_frame(feats, [] if key is None else [key], argument)


def describes(feats: Feats | None, columns: Sequence[str]) -> bool:
    """Whether features, after ``read_once``, have one of these columns."""
    if feats is None:
        return False
    if isinstance(feats, list | tuple):
        return any(describes(one, columns) for one in cast("Sequence[Feats]", feats))
    names: Any = feats.keys() if isinstance(feats, Mapping | pd.Series) else getattr(feats, "columns", ())
    return not set(columns).isdisjoint(map(str, names))


def pair_codes(
    info: DataInfo, user: Ids, item: Ids, feats: Feats | None, inner_id: bool = False
) -> tuple[Codes, Codes, Feats | None]:
    """The codes of users and items, as many of one as of the other, and the features as ``read_once`` gives them."""
    feats = read_once(feats, "feats")
    users = codes_of(info, "user", user, inner_id, described=describes(feats, info.user_col))[1]
    items = codes_of(info, "item", item, inner_id, described=describes(feats, info.item_col))[1]
    if len(users) == len(items):
        return users, items, feats
    if not (is_single(user) or is_single(item)):
        raise ValueError(f"user has {len(users)} ids and item has {len(items)}")
    users, items = (np.ascontiguousarray(codes) for codes in np.broadcast_arrays(users, items))
    return users, items, feats


def described_users(feats: Feats | None, history: object, ids: list[Id]) -> NDArray[np.bool_]:
    """For which users, by their ids, a request brings features, after ``read_once``, or a history."""
    in_feats, in_history = np.full(len(ids), feats is not None), np.full(len(ids), history is not None)
    if feats is not None and not isinstance(feats, Mapping | pd.Series | list | tuple):
        column = read_column(cast("Frame", feats), "user")
        in_feats = pd.Index(ids, dtype=object).isin(factorize(column, "user", ids=True)[1].tolist())
    if nw.dependencies.is_into_dataframe(history):
        brought = read_frame(history, [], "history")
        if "user" in brought.columns:
            in_history = np.isin(ids, factorize(read_column(brought, "user"), "user", ids=True)[1])
    elif isinstance(history, Mapping):
        in_history = np.array([one in history for one in ids], bool)
    return in_feats | in_history


def user_rows(
    info: DataInfo, ids: Sequence[Id], codes: Codes, feats: Feats | None, context: Feats | None, average: bool
) -> Rows:
    """Rows of the user's side, (U, C): the users', with ``feats`` laid over them, and the context's.

    What is not given of an unknown user is the average, or with ``average=False`` code 0.
    """
    rows = info.users.rows[torch.from_numpy(codes)]
    if feats is not None:
        frame, where = _aligned(info, feats, ids, "user", "user_feats", info.user_col)
        rows = overlay(rows, frame, info.schema, info.vocabs, "user", where)
    context_rows = blank_rows(info.schema, "context", len(codes))
    if context is not None:
        frame, where = _aligned(info, context, ids, "user", "context", info.context_col)
        context_rows = overlay(context_rows, frame, info.schema, info.vocabs, "context", where)
    else:
        _warn_of_missing_context(info, set())
    return (rows.averaged(codes) if average else rows).join(context_rows)


def pair_rows(info: DataInfo, users: Codes, items: Codes, feats: Feats | None, average: bool) -> tuple[Rows, Rows]:
    """Rows of n users (with their context) and n items, ``feats`` of any side laid over them."""
    of_users, of_items = info.users.rows[torch.from_numpy(users)], info.items.rows[torch.from_numpy(items)]
    context_rows = blank_rows(info.schema, "context", len(users))
    given: set[str] = set()
    if feats is not None:
        frame = _in_order(info, feats, len(users), "feats", [*info.user_col, *info.item_col, *info.context_col])
        given = set(frame.columns)
        of_users = overlay(of_users, frame, info.schema, info.vocabs, "user")
        of_items = overlay(of_items, frame, info.schema, info.vocabs, "item")
        context_rows = overlay(context_rows, frame, info.schema, info.vocabs, "context")
    _warn_of_missing_context(info, given)
    if average:
        of_users, of_items = of_users.averaged(users), of_items.averaged(items)
    return of_users.join(context_rows), of_items


def _warn_of_missing_context(info: DataInfo, given: set[str]) -> None:
    if info.context_col and not given & set(info.context_col):
        warn(f"no context given: columns {info.context_col} count as unknown")


def _in_order(info: DataInfo, feats: Feats, n: int, argument: str, columns: Sequence[str]) -> Frame:
    """Features as a frame of n rows, one for each of n users or pairs."""
    what = f"a column that {argument} can have"
    if isinstance(feats, Mapping | pd.Series):
        of_all = _mapping(feats, argument)
        check_names(of_all, columns, what)
        feats = _as_frame(_columns(info, of_all, n, argument), pd.RangeIndex(n))
    if isinstance(feats, list | tuple):
        of_each = [_mapping(one, argument) for one in cast("Sequence[object]", feats)]
        check_names(dict.fromkeys(name for one in of_each for name in one), columns, what)
        feats = _as_frame(of_each)
    frame = read_frame(feats, (), argument)
    check_names(frame.columns, columns, what)
    if len(frame) != n:
        raise ValueError(f"{argument} has {len(frame)} rows for {n}")
    return frame


def _as_frame(rows: Any, index: pd.Index | None = None) -> pd.DataFrame:
    """A frame; text that pandas cannot keep as such is left to whoever reads its column, and refuses it by name."""
    try:
        return pd.DataFrame(rows, index)
    except UnicodeEncodeError:
        return pd.DataFrame(rows, index, dtype=object)


def _columns(info: DataInfo, feats: Mapping[str, object], n: int, argument: str) -> dict[str, list[object]]:
    """A mapping's values as columns of n rows: a list is one value a row, any other value is each row's.

    Where a row's value is a list itself, a list of lists is one a row.
    """
    fields = [field for side in SIDES for field in info.schema.features(side) if kind_of(field).takes_lists(field)]
    of_lists = {name for field in fields for name in field.columns}
    columns: dict[str, list[object]] = {}
    for name, value in feats.items():
        several = _several(value)
        if name in of_lists and several is not None:
            is_one = not several or not all(one is None or _several(one) is not None for one in several)
            several = None if is_one else several
        if several is not None and len(several) != n:
            raise ValueError(f"{argument}[{name!r}] has {len(several)} values for {n}: give one, or one for each")
        columns[name] = [value] * n if several is None else several
    return columns


def _several(value: object) -> list[object] | None:
    """Values that have an order, as a list; None for a single one, and for a set."""
    if isinstance(value, list | tuple | pd.Index) or (isinstance(value, np.ndarray) and value.ndim):
        return list(cast("Any", value))
    if isinstance(value, str | int | float) or not nw.dependencies.is_into_series(value):
        return None
    return nw.from_native(cast("Any", value), series_only=True).to_list()


def _mapping(feats: object, argument: str) -> dict[str, object]:
    if isinstance(feats, Mapping | pd.Series):
        return {str(name): value for name, value in cast("Mapping[object, object]", feats).items()}
    raise ValueError(f"{argument} must be a mapping from columns to values, a list of such, or a frame, got {feats!r}")


def _aligned(
    info: DataInfo, feats: Feats, ids: Sequence[Id], key: str, argument: str, columns: Sequence[str]
) -> tuple[Frame, NDArray[np.bool_] | None]:
    """Features as a frame with a row for each id, and for which ids it says anything."""
    if isinstance(feats, Mapping | pd.Series) and len(ids) > 1 and argument == "user_feats":
        raise ValueError("user_feats of several users must be a frame keyed by 'user', or a list with one dict each")
    if isinstance(feats, list | tuple) and len(set(ids)) < len(ids):
        raise ValueError(
            f"{key}s stand twice, each with {argument} of its own, and an answer is keyed by {key}: ask in turn"
        )
    if isinstance(feats, Mapping | pd.Series | list | tuple):
        return _in_order(info, feats, len(ids), argument, columns), None
    frame = read_frame(feats, [key], argument)
    check_names(frame.columns, [*columns, key], f"a column that {argument} can have")
    positions, keys = factorize(read_column(frame, key), key, ids=True)
    twice = sorted({one for one in keys[np.bincount(positions) > 1].tolist() if one in set(ids)}, key=repr)
    if twice:
        raise ValueError(
            f"{argument} has several rows of {key} {twice[0]!r}, and an answer is keyed by {key}: ask in turn"
        )
    row_of = dict(zip(keys[positions].tolist(), range(len(positions)), strict=True))
    at = np.array([row_of.get(one, -1) for one in ids])
    if (at < 0).all():
        warn(f"{argument} has no row for any of the {key}s asked for, such as {ids[0]!r}")
    return frame[np.maximum(at, 0).tolist()], at >= 0
