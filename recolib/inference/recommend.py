"""From a request and its users to lists, and from lists to tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from recolib.checks import check_names
from recolib.data.field import read_names
from recolib.data.frame import Values
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.exceptions import warn
from recolib.inference.cold_start import SCORED_COLD_STARTS, from_callback, segment_columns
from recolib.inference.engine import Engine, Predictions, UserBatch
from recolib.inference.folding import fold_in
from recolib.inference.history_weight import choose_history_weight
from recolib.inference.item_shards import best_items
from recolib.inference.request import Request
from recolib.inference.scoring import Encoded, users_per_block
from recolib.inference.solving import solve_in
from recolib.inference.toplists import TopLists, as_table, ranked_lists

USERS_AT_ONCE = 2**14
"""Users whose lists are made between two updates of the progress bar, where their lists and the catalogue are small."""
ENTRIES_AT_ONCE = 2**20
"""Entries that their lists have at most, 8 MB."""

N_FOLDED_AT_ONCE = 128
"""Users with histories up to which what these fold to is kept."""

OF_TABLE = "user", "item", "score", "rank"
"""The columns that a table of lists has in any case."""


def recommend(
    engine: Engine, request: Request, batch: UserBatch, model: object, items_at_once: int | None = None
) -> TopLists:
    """A list for each user of a batch.

    Unknown users' lists are scored as all others, unless ``cold_start`` says that theirs are in a given order.

    Parameters
    ----------
    engine
        What scores.
    request, batch
        What is wanted, and the users it was resolved for.
    model
        What a function as ``cold_start`` is called with.
    items_at_once
        How many items' states are held at once; None: of all.
    """
    codes = batch.codes
    if batch.histories is not None:
        batch = with_history(engine, batch, items_at_once)
    if codes.all() or request.cold_start in SCORED_COLD_STARTS:
        return _scored(engine, request, batch, items_at_once)
    cold, known = np.flatnonzero(codes == UNKNOWN), np.flatnonzero(codes)
    of_cold = cold_lists(engine, request, batch.of(cold), model)
    if not len(known):
        return of_cold
    of_known = _scored(engine, request, batch.of(known), items_at_once)
    lists = TopLists.empty(len(codes), max(of_known.items.shape[1], of_cold.items.shape[1]))
    lists.put(cold, of_cold)
    lists.put(known, of_known)
    return lists


def _scored(engine: Engine, request: Request, batch: UserBatch, items_at_once: int | None) -> TopLists:
    """Lists of the items that score best, of those that a retriever finds or of all."""
    if request.retriever is not None:
        return engine.top_k(batch, request.n_rec, request.retriever)
    return best_items(engine, batch, request.n_rec, items_at_once)


def with_history(engine: Engine, batch: UserBatch, items_at_once: int | None = None) -> UserBatch:
    """The users with their histories folded in; who is known stays the nearer, the more they consumed in training.

    What a few users' histories fold to is kept, and made once as long as each stays the same.
    """
    assert batch.histories is not None
    users, histories = batch.rows, batch.histories
    assert isinstance(users, Rows)
    prior_weight = 1.0 + engine.data_info.user_consumed.counts()[batch.codes]

    def folded(at: Sequence[int]) -> Encoded:
        some = np.array(at)
        rows, own = users[torch.from_numpy(some)], [histories[one] for one in at]
        if engine.network.systems is not None:
            return solve_in(engine, engine.network.systems, rows, batch.codes[some], own)
        weight = engine.history_weight.get("", lambda: choose_history_weight(engine, items_at_once))
        return fold_in(engine.network, engine.data_info, engine.item_states, rows, own, prior_weight[some], weight)

    rows = folded(range(len(batch))) if len(batch) > N_FOLDED_AT_ONCE else engine.folded_once(batch, folded)
    return replace(batch, rows=rows, item_filter=batch.item_filter.without(histories), histories=None)


def cold_lists(engine: Engine, request: Request, batch: UserBatch, model: object) -> TopLists:
    """Lists of unknown users in an order that is given: by popularity, or by the app's own function."""
    info, is_callback = engine.data_info, callable(request.cold_start)
    orders: list[Codes]
    if callable(request.cold_start):
        orders = from_callback(request.cold_start, model, batch.ids.tolist(), request.n_rec, info)
    elif request.segment is None or isinstance(batch.rows, Encoded):
        orders = [info.ranked_items] * len(batch)
    else:
        orders = engine.segments(segment_columns(info, request.segment)).orders(info, batch.rows)
    return ranked_lists(info, orders, request.n_rec, batch.item_filter, is_callback)


def recommend_blocks(
    engine: Engine, request: Request, batch: UserBatch, model: object, verbose: int, items_at_once: int | None = None
) -> Iterator[tuple[slice, TopLists]]:
    """The lists of all users, some users at a time, with a progress bar where it takes more than a second."""
    n_items, n_short = engine.data_info.n_items, 0
    size = min(USERS_AT_ONCE, ENTRIES_AT_ONCE // min(request.n_rec, n_items))
    if items_at_once is None:
        size = min(size, 8 * users_per_block(n_items))
    size = max(1, size)
    with tqdm(total=len(batch), desc="recommend", unit=" users", unit_scale=True, disable=not verbose, delay=1) as bar:
        for start in range(0, len(batch), size):
            block = slice(start, min(start + size, len(batch)))
            lists = recommend(engine, request, batch.of(block), model, items_at_once)
            n_short += lists.n_short(request.n_rec)
            yield block, lists
            bar.update(len(lists))
    warn_of_short(n_short, request.n_rec)


def columns_shown(engine: Engine, columns: str | Sequence[str] | None) -> pd.DataFrame:
    """These columns of the frame of items, in the order of codes.

    Raises
    ------
    ValueError
        If items have no such column, or a table of lists has one of this name already.
    """
    names = [columns] if isinstance(columns, str) else list(dict.fromkeys(read_names(columns, "columns")))
    if names:
        check_names(names, [name for name in engine.item_frame.columns if name != "item"], "a column of items")
        taken = [name for name in names if name in OF_TABLE]
        if taken:
            raise ValueError(f"columns {taken} would stand twice in the table, which has {list(OF_TABLE)}: rename them")
    return pd.DataFrame(engine.item_frame, columns=names) if names else pd.DataFrame()


def each_of(engine: Engine, lists: TopLists, inner_id: bool) -> tuple[list[Values], list[Predictions]]:
    """The items of each list, as ids or codes, and their predictions."""
    there = lists.items > UNKNOWN
    codes = lists.items[there]
    items = codes if inner_id else engine.data_info.vocabs["item"].decode(codes)
    scores = engine.predictions_of(lists.logits[there])
    ends = np.cumsum(there.sum(1)).tolist()
    spans = [slice(*both) for both in pairwise([0, *ends])]
    return [items[span] for span in spans], [scores[span] for span in spans]


def table_of(engine: Engine, ids: Values, lists: TopLists, inner_id: bool, shown: pd.DataFrame) -> pd.DataFrame:
    """Lists as a table of ``user``, ``item``, ``score`` and ``rank``, and of columns of the items."""
    there = lists.items > UNKNOWN
    items = lists.items[there] if inner_id else engine.data_info.vocabs["item"].decode(lists.items[there])
    table = as_table(ids, there.sum(1), items, engine.predictions_of(lists.logits[there]))
    if not len(shown.columns):
        return table
    return pd.concat([table, shown.take(lists.items[there] - 1).set_axis(table.index)], axis=1)


def warn_of_short(n_short: int, n_rec: int) -> None:
    """Warn where lists are shorter than ``n_rec``."""
    if n_short:
        warn(f"{n_short} lists are shorter than n_rec={n_rec}: no more items may be recommended")
