"""What a DataInfo is made of as arrays, and back, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from recolib.data.buckets import Buckets
from recolib.data.consumed import Consumed, consumed_by
from recolib.data.field import MAX_BUCKETS, MAX_WIDTH, SIDES, Side
from recolib.data.frame import Values, as_values
from recolib.data.kinds import KINDS, kind_of, layout_of
from recolib.data.log import ConsumedLog
from recolib.data.rows import ABSENT, UNKNOWN, Rows
from recolib.data.schema import Schema
from recolib.data.table import History, Table
from recolib.data.vocab import Vocab
from recolib.files import Arrays, prefixed, require, under

Packed = dict[str, NDArray[Any]]


class Parts(NamedTuple):
    """The first fields of a DataInfo, in their order."""

    schema: Schema
    vocabs: Mapping[str, Vocab]
    users: Table
    items: Table
    user_consumed: Consumed
    item_consumed: Consumed
    liked: NDArray[np.bool_]
    log: ConsumedLog


def pack(parts: Parts) -> tuple[str, Packed]:
    """The schema as JSON, and all the rest as arrays; who consumed an item follows from what users consumed."""
    arrays: Packed = {"liked": parts.liked}
    arrays |= pack_vocabs(parts.vocabs)
    arrays |= prefixed("users", pack_table(parts.users)) | prefixed("items", pack_table(parts.items))
    consumed = {"starts": parts.user_consumed.starts, "codes": parts.user_consumed.codes}
    log = {"starts": parts.log.starts, "items": parts.log.items, "times": parts.log.times}
    return parts.schema.to_json(), arrays | prefixed("consumed", consumed) | prefixed("log", log)


def unpack(schema_json: str, arrays: Arrays) -> Parts:
    """What ``pack`` gave.

    Raises
    ------
    ValueError, KeyError
        If it contradicts itself, or is not all there.
    """
    schema = unpack_schema(schema_json)
    vocabs = unpack_vocabs(schema, arrays)
    sizes = {name: len(vocab) for name, vocab in vocabs.items()}
    users = unpack_table("user", under("users", arrays), schema, sizes)
    items = unpack_table("item", under("items", arrays), schema, sizes)
    consumed = unpack_consumed(under("consumed", arrays), sizes["user"], sizes["item"])
    is_format_1 = "popularity" in arrays
    liked = _liked_of_format_1(arrays, *consumed) if is_format_1 else _flat(arrays, "liked", np.bool_)
    require(len(liked) == len(consumed[0].codes), "each pair was liked or not")
    log = under("log", arrays)
    log = unpack_log(log, sizes["user"], sizes["item"]) if log else ConsumedLog.of_consumed(consumed[0])
    return Parts(schema, vocabs, users, items, *consumed, liked, log)


def _liked_of_format_1(arrays: Arrays, user_consumed: Consumed, item_consumed: Consumed) -> NDArray[np.bool_]:
    """Who liked what, where a file says only how many did: of an item's users, the first."""
    popularity, counts = _flat(arrays, "popularity"), item_consumed.counts()
    require(popularity.shape == counts.shape, "each item has its popularity")
    require(((popularity >= 0) & (popularity <= counts)).all(), "popularities are numbers of users")
    by_item = np.argsort(user_consumed.codes, kind="stable")
    rank = np.arange(len(by_item)) - np.repeat(np.cumsum(counts) - counts, counts)
    liked = np.empty(len(by_item), bool)
    liked[by_item] = rank < np.repeat(popularity, counts)
    return liked


def unpack_schema(text: str) -> Schema:
    """The schema of its JSON, its fields checked one by one."""
    schema = Schema.from_json(text)
    names = [field.name for field in schema.fields]
    require(len(set(names)) == len(names), "fields have names of their own")
    for field in schema.fields:
        name, numbers = field.name, (field.mean, field.offset, field.scale)
        require(field.side in SIDES and field.kind in KINDS, f"field {name!r} has a side and a kind")
        require(all(isinstance(column, str) for column in field.columns), f"field {name!r} has columns")
        require(field.columns[:1] == (name,), f"field {name!r} is called by its first column")
        require(isinstance(field.width, int) and 1 <= field.width <= MAX_WIDTH, f"field {name!r} has a width")
        kind_of(field).check(field)
        require(all(isinstance(number, int | float) for number in numbers), f"field {name!r} has numbers")
        require(np.isfinite(numbers).all() and field.scale > 0, f"field {name!r} has finite numbers")
        n, hashes = field.n_buckets, kind_of(field).hashes and not field.is_id
        require(type(n) is int and 0 <= n <= (MAX_BUCKETS if hashes else 0), f"field {name!r} has buckets")
    for side in ("user", "item"):
        ids = [field.name for field in schema.codes(side)][:1]
        require(ids == [side], f"the first field of the {side}s is their id")
    return schema


def pack_vocabs(vocabs: Mapping[str, Vocab]) -> Packed:
    """The values of each vocabulary; buckets have none."""
    arrays: Packed = {}
    for name, vocab in vocabs.items():
        arrays |= prefixed(f"vocab.{name}", pack_vocab(vocab))
    return arrays


def unpack_vocabs(schema: Schema, arrays: Arrays) -> dict[str, Vocab]:
    """The vocabulary of each field with codes."""
    return {
        field.name: Buckets(field.n_buckets)
        if field.n_buckets
        else unpack_vocab(field.name, under(f"vocab.{field.name}", arrays))
        for field in schema.fields
        if layout_of(field).part == "codes"
    }


def pack_vocab(vocab: Vocab) -> Packed:
    """Integers; and text as UTF-8, end to end, with the place where each ends; and which of all values are text."""
    if vocab.values.dtype != object:
        no_text = {"text": np.empty(0, np.uint8), "ends": np.empty(0, np.int64)}
        return {"is_text": np.zeros(len(vocab.values), np.bool_), "integers": vocab.values, **no_text}
    values = vocab.values.tolist()
    is_text = np.fromiter((isinstance(value, str) for value in values), np.bool_, len(values))
    text = [value.encode() for value in values if isinstance(value, str)]
    return {
        "is_text": is_text,
        "integers": np.array([value for value in values if not isinstance(value, str)], np.int64),
        "text": np.frombuffer(b"".join(text), np.uint8),
        "ends": np.cumsum([len(value) for value in text], dtype=np.int64),
    }


def unpack_vocab(name: str, arrays: Arrays) -> Vocab:
    """The vocabulary of a field."""
    values = unpack_values(name, arrays)
    require(len(pd.unique(values)) == len(values), f"the values of {name!r} are distinct")
    return Vocab(values)


def unpack_values(name: str, arrays: Arrays) -> Values:
    """The values of a vocabulary."""
    is_text, integers, ends = _flat(arrays, "is_text", bool), _flat(arrays, "integers"), _flat(arrays, "ends")
    text = _flat(arrays, "text", np.uint8).tobytes()
    starts = np.append(0, ends)
    require(_rises(starts) and starts[-1] == len(text), f"text of {name!r} ends where it should")
    require(is_text.sum() == len(ends) and (~is_text).sum() == len(integers), f"{name!r} has all its values")
    if not len(ends):
        return integers
    values = np.empty(len(is_text), object)
    values[is_text] = [text[a:b].decode() for a, b in zip(starts[:-1].tolist(), ends.tolist(), strict=True)]
    values[~is_text] = integers.tolist()
    return as_values(values.tolist())


def pack_table(table: Table) -> Packed:
    """The rows, whose they are, and what was true when."""
    history = table.history
    return {
        "codes": table.rows.codes.numpy(),
        "dense": table.rows.dense.numpy(),
        "owner": table.owner,
        "history_codes": history.codes,
        "history_times": history.times,
        "history_rows": history.rows,
    }


def unpack_table(side: Side, arrays: Arrays, schema: Schema, sizes: dict[str, int]) -> Table:
    """The table of a side, whose vocabularies have these sizes."""
    codes, dense = arrays["codes"], arrays["dense"]
    owner = _flat(arrays, "owner", np.int32)
    n_rows, n_ids = len(owner), sizes[side]
    require(codes.shape == (n_rows, schema.n_codes(side)) and codes.dtype == np.int32, f"{side} rows have their codes")
    require(
        dense.shape == (n_rows, schema.n_dense(side)) and dense.dtype == np.float32,
        f"{side} rows have their numbers",
    )
    require(np.isfinite(dense).all(), f"numbers of {side}s are finite")
    for field in schema.codes(side):
        lowest = ABSENT if layout_of(field).slots else UNKNOWN
        _within(codes[:, schema.span(field)], lowest, sizes[field.name], f"codes of {field.name!r}")
    _within(owner, 0, n_ids, f"owners of {side} rows")
    require(np.array_equal(owner[: n_ids + 1], np.arange(n_ids + 1)), f"the first {side} rows are those of now")
    ids = codes[:, 0]  # 0 where the id has no vector of its own
    require(((ids == UNKNOWN) | (ids == owner)).all(), f"{side} rows have their own {side}'s id")
    whose, rows, times = _flat(arrays, "history_codes"), _flat(arrays, "history_rows"), arrays["history_times"]
    require(whose.shape == rows.shape == times.shape, f"each change of a {side} has a time and a row")
    require(times.dtype.name in ("int64", "float64") and (times == times).all(), f"times of {side}s are numbers")
    _within(whose, 1, n_ids, f"changed {side}s")
    _within(rows, 1, n_rows - 1, f"rows of changed {side}s")
    same, later = whose[1:] == whose[:-1], times[1:] >= times[:-1]
    require(((whose[1:] > whose[:-1]) | (same & later)).all(), f"changes of {side}s are in order")
    require((owner[rows] == whose).all(), f"the rows of changed {side}s are their own")
    return Table(Rows(torch.from_numpy(codes), torch.from_numpy(dense)), owner, History(whose, times, rows))


def unpack_consumed(arrays: Arrays, n_users: int, n_items: int) -> tuple[Consumed, Consumed]:
    """What each user consumed, and who consumed each item."""
    starts, codes = _flat(arrays, "starts"), _flat(arrays, "codes", np.int32)
    require(len(starts) == n_users + 2 and starts[0] == starts[1] == 0, "each user has a list of items")
    require(_rises(starts) and starts[-1] == len(codes), "the lists of items end where they should")
    _within(codes, 1, n_items, "consumed items")
    users = np.repeat(np.arange(n_users + 1, dtype=np.int32), np.diff(starts))
    both = consumed_by(users, codes, n_users, n_items)
    require(both[0] == Consumed(starts, codes), "a user's items are distinct and in order")
    return both


def unpack_log(arrays: Arrays, n_users: int, n_items: int) -> ConsumedLog:
    """What each user consumed, in order; a file of a time before there were logs has none."""
    starts, items, times = _flat(arrays, "starts"), _flat(arrays, "items", np.int32), arrays["times"]
    require(len(starts) == n_users + 2 and starts[0] == starts[1] == 0, "each user has a log")
    require(_rises(starts) and starts[-1] == len(items), "the logs of users end where they should")
    _within(items, 1, n_items, "items of logs")
    require(times.ndim == 1 and times.dtype.name in ("int64", "float64"), "times of logs are numbers")
    require(len(times) in (0, len(items)) and bool((times == times).all()), "each event of a log has a time, or none")
    log = ConsumedLog(starts, items, times)
    if log.has_times:
        owners = log.owners()
        require(bool(((owners[1:] > owners[:-1]) | (times[1:] >= times[:-1])).all()), "logs are in order of time")
    return log


def _flat(arrays: Arrays, name: str, dtype: type[Any] = np.int64) -> NDArray[Any]:
    require(arrays[name].ndim == 1 and arrays[name].dtype == dtype, f"{name!r} is a flat array of {dtype.__name__}")
    return arrays[name]


def _rises(numbers: NDArray[Any]) -> bool:
    """Whether none is below the one before it; their differences could overflow."""
    return bool((numbers[1:] >= numbers[:-1]).all())


def _within(codes: NDArray[Any], low: int, high: int, what: str) -> None:
    require(not codes.size or (low <= codes.min() and codes.max() <= high), f"{what} are {low} to {high}")
