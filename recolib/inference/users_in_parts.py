"""Users who are read part by part, such as those of Parquet files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch

from recolib.data.arrow import ArrowStream
from recolib.data.frame import factorize, read_column, read_frame
from recolib.data.rows import UNKNOWN
from recolib.data.streaming.part_files import SameTypes, naming
from recolib.data.streaming.sources import Source, SplitPart, families_of, source_of
from recolib.exceptions import telling_once
from recolib.inference.engine import Engine, UserBatch
from recolib.inference.features import read_once
from recolib.inference.histories import Histories
from recolib.inference.ids import Id, Ids
from recolib.inference.parquet import schema_of, write_parquet
from recolib.inference.recommend import recommend_blocks, table_of
from recolib.inference.request import Request

UsersInParts = os.PathLike[str] | SplitPart | Iterator[object] | Callable[[], Iterator[object]]
"""What has a column of users: Parquet files, frames, or a part of a split."""


def write_lists(
    path: str | os.PathLike[str],
    engine: Engine,
    request: Request,
    users: Ids | UsersInParts | None,
    generator: torch.Generator,
    model: object,
    verbose: int,
    shown: pd.DataFrame,
    items_at_once: int | None,
) -> Path:
    """Write the lists of users to a Parquet file, with these columns of the items; see ``Recommender.recommend_to``."""
    batches, vocab = user_batches(engine, request, users, generator), engine.data_info.vocabs["item"]
    with telling_once():
        first = next(batches)
        items = np.arange(1, len(vocab) + 1) if request.inner_id else vocab.values
        tables = _tables_of(engine, request, chain([first], batches), model, verbose, shown, items_at_once)
        return write_parquet(path, tables, schema_of(first.ids, items, shown))


def user_batches(
    engine: Engine, request: Request, users: Ids | UsersInParts | None, generator: torch.Generator
) -> Iterator[UserBatch]:
    """The users of an argument, all together, or those of each part who were in none before.

    Raises
    ------
    ValueError
        If there is no column of users, a part holds what are no ids, or there are no rows.
    """
    source, ids = _source_or_ids(users)
    if source is not None:
        yield from _of_parts(engine, request, source, generator)
    else:
        yield request.resolve(engine, request.known_users(engine) if ids is None else ids, generator, once=True)


def _tables_of(
    engine: Engine,
    request: Request,
    batches: Iterable[UserBatch],
    model: object,
    verbose: int,
    shown: pd.DataFrame,
    items_at_once: int | None,
) -> Iterator[pd.DataFrame]:
    """The lists of all batches as tables, with these columns of the items."""
    for batch in batches:
        for block, lists in recommend_blocks(engine, request, batch, model, verbose, items_at_once):
            yield table_of(engine, batch.ids[block], lists, request.inner_id, shown)


def _source_or_ids(users: Ids | UsersInParts | None) -> tuple[Source | None, Ids | None]:
    """What reads an argument part by part, or its ids; text is an id, and no path."""
    if isinstance(users, Iterator):
        first = next(users, None)
        whole = chain([] if first is None else [first], users)
        if first is None or isinstance(first, str | int | float | np.integer | np.floating):
            return None, cast("list[Id]", list(whole))
        return source_of(whole, "users"), None
    source = None if users is None or isinstance(users, str) else source_of(users, "users")
    return source, None if source is not None else cast("Ids | None", users)


def _of_parts(engine: Engine, request: Request, source: Source, generator: torch.Generator) -> Iterator[UserBatch]:
    if "user" not in source.columns:
        raise ValueError(f"columns ['user'] are not in users: {list(source.columns)}")
    info, same, seen, unknown = engine.data_info, SameTypes(), np.zeros(engine.data_info.n_users + 1, bool), set[Id]()
    request = replace(
        request,
        user_feats=read_once(request.user_feats, "user_feats", "user"),
        history=_read_once(request.history, "history"),
        seq=_read_once(request.seq, "seq"),
    )
    for part in source.parts(["user"]):
        if not part.n_rows:
            continue
        frame = part.read(["user"])
        with naming(part):
            _, ids = factorize(read_column(frame, "user"), "user", ids=True)
        same.check(part.name, families_of(frame, ["user"]), "")
        codes = ids if request.inner_id else info.vocabs["user"].encode(ids)
        is_code = (codes > UNKNOWN) & (codes <= info.n_users) if codes.dtype != object else np.zeros(len(ids), bool)
        numbers = np.where(is_code, codes, UNKNOWN).astype(np.int64)
        is_new = ~seen[numbers] | ~is_code
        seen[numbers[is_code]] = True
        others = [one for one in ids[~is_code].tolist() if one not in unknown]
        unknown.update(others)
        if unknown:
            is_new &= is_code | pd.Series(ids).isin(others).to_numpy()
        if is_new.any():
            yield request.resolve(engine, ids[is_new], generator)
    if not seen.any() and not unknown:
        raise ValueError("users has no rows")


def _read_once(history: Histories | None, argument: str) -> Histories | None:
    return read_frame(history, [], argument) if isinstance(history, ArrowStream) else history
