"""From ids, features and context, as a caller names them, to codes and rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import narwhals as nw
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from recolib.checks import check_names
from recolib.data.encoding import blank_rows, overlay
from recolib.data.frame import Frame, Values, factorize, read_column, read_frame, read_ids
from recolib.data.info import DataInfo
from recolib.data.kinds import kind_of, layout_of
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.data.schema import SIDES, Field, Side
from recolib.data.unseen import of_other_type, warn_of_twins
from recolib.exceptions import UnknownIdWarning, warn

Id = int | str
Ids = Id | Sequence[Id] | NDArray[Any] | pd.Series
Feats = Mapping[str, object] | pd.Series | Sequence[Mapping[str, object]] | object
"""Features: one mapping for all, a list with one mapping each, or a frame."""

NO_IDS = (Mapping, np.ndarray, pd.DataFrame, bytes, bytearray)
"""What has elements that are no ids, or no order."""
Strategy = Callable[[Any, list[Id], int], Sequence[Ids]]
"""A cold start of the app's own: from a model, unknown users and a length to a list of item ids for each user."""


def is_single(ids: object) -> bool:
    """Whether an argument is one id rather than several."""
    return isinstance(ids, str | int | np.integer | float | np.floating)


def as_list(ids: object, argument: str) -> Any:
    """Several ids as something with an order: arrays and columns as they are, sets and iterators as lists."""
    if is_single(ids):
        return [ids]
    if isinstance(ids, np.ndarray | pd.Series | pd.Index) and ids.ndim == 1:
        return ids
    if isinstance(ids, NO_IDS) or not isinstance(ids, Iterable):
        raise ValueError(f"{argument} must be an id, or a flat list of ids, got {type(ids).__name__}: {ids!r}")
    return sorted(ids, key=repr) if isinstance(ids, set | frozenset) else list(cast("Iterable[object]", ids))


def codes_of(
    info: DataInfo, side: Side, ids: Ids, inner_id: bool, fate: str = "answered by cold_start", described: bool = False
) -> tuple[list[Id], Codes]:
    """Ids as Python scalars, and their codes; see ``read_codes``."""
    values, codes = read_codes(info, side, ids, inner_id, fate, lambda ids: np.full(len(ids), described))
    return values.tolist(), codes


def read_codes(
    info: DataInfo,
    side: Side,
    ids: Ids,
    inner_id: bool,
    fate: str = "answered by cold_start",
    described: Callable[[list[Id]], NDArray[np.bool_]] | None = None,
) -> tuple[Values, Codes]:
    """Ids as an array, and their codes, 0 for those never seen, of whose fate there is a warning.

    ``described`` says of which ids the caller brings features or a history: these may well be unknown.

    Raises
    ------
    ValueError
        If an id is neither an integer nor a string, or an inner id does not exist.
    """
    vocab = info.vocabs[side]
    values = read_ids(ids if is_single(ids) else as_list(ids, side), side)
    if not len(values):
        raise ValueError(f"{side} is empty: give at least one id")
    if inner_id:
        codes = _inner(values, side, len(vocab), side)
    elif len(values) == 1:  # spares a single request the detour over an array
        codes = np.array([vocab.code(values.tolist()[0])], np.int32)
    else:
        codes = vocab.encode(values)
    if not codes.all():
        unknown = values[codes == UNKNOWN]
        if not inner_id:
            warn_of_twins(f"argument {side!r}", unknown, info.vocabs[side])
        if described is not None:
            unknown = unknown[~described(unknown.tolist())]
        if not len(unknown):
            return values, codes
        what = f"{len(unknown)} unknown {side}s, such as {unknown[:1].tolist()[0]!r}: {fate}"
        warn_of_unknown(what, side, unknown, info, inner_id)
    return values, codes


def item_codes(info: DataInfo, argument: str, items: Ids, inner_id: bool) -> Codes:
    """The codes of the known ones of some items; of the others there is a warning."""
    codes = _item_codes(info, argument, as_list(items, argument), inner_id)
    return codes[codes > UNKNOWN]


def item_codes_each(
    info: DataInfo, argument: str, items: Mapping[Any, Ids], users: Sequence[Id], inner_id: bool
) -> list[Codes]:
    """For each user the codes of the known ones of the items that a mapping has for this one."""
    own = [as_list(items[user], f"{argument}[{user!r}]") if user in items else () for user in users]
    sizes = [len(some) for some in own]
    if items and not any(user in items for user in users):
        warn(f"{argument} has no entry of any of the users asked for, such as {users[0]!r}")
    codes = _item_codes(info, argument, [one for some in own for one in some], inner_id)
    return [part[part > UNKNOWN] for part in np.split(codes, np.cumsum(sizes)[:-1])]


def _item_codes(info: DataInfo, argument: str, items: Any, inner_id: bool) -> Codes:
    values = read_ids(items, argument)
    codes = _inner(values, argument, info.n_items, "item") if inner_id else info.vocabs["item"].encode(values)
    n_unknown = int((codes == UNKNOWN).sum())
    if n_unknown:
        unknown = values[codes == UNKNOWN]
        warn_of_twins(f"argument {argument!r}", unknown if not inner_id else unknown[:0], info.vocabs["item"])
        what = f"{n_unknown} of the {argument} are unknown items: they are left out"
        warn_of_unknown(what, "item", unknown, info, inner_id)
    return codes


def warn_of_unknown(what: str, side: Side, unknown: Values, info: DataInfo, inner_id: bool) -> None:
    """Warn of unknown ids, and say if all that are known are of the other type."""
    if not inner_id:
        what += of_other_type(unknown[:1].tolist()[0], info.vocabs[side])
    warn(what, UnknownIdWarning)


def _inner(values: NDArray[Any], argument: str, n: int, side: Side) -> Codes:
    """Inner ids as codes, if there are such."""
    if len(values) and (values.dtype == object or values.min() < 0 or values.max() > n):
        raise ValueError(f"{argument} must hold inner ids of {side}s, 0 (unknown) to {n}, got {values.tolist()}")
    return values.astype(np.int32)


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
