"""Ids as a caller names them, and their codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.data.frame import Values, read_ids
from recolib.data.info import DataInfo
from recolib.data.rows import UNKNOWN, Codes
from recolib.data.schema import Side
from recolib.data.unseen import of_other_type, warn_of_twins
from recolib.exceptions import UnknownIdWarning, warn

Id = int | str
Ids = Id | Sequence[Id] | NDArray[Any] | pd.Series
NO_IDS = (Mapping, np.ndarray, pd.DataFrame, bytes, bytearray)
"""What has elements that are no ids, or no order."""


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
