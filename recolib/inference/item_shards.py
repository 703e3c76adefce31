"""The best items of a catalogue that is gone through shard by shard: the states of all items are never held together.

A block of users meets all shards before the next block does. So an item is encoded once a block, which costs little
beside scoring it for thousands of users, and users who come part by part are read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.checks import check_integer
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.inference.engine import Engine, UserBatch
from recolib.inference.request import Request
from recolib.inference.scoring import Encoded, encode_rows, numbers_of_state, score_catalogue, users_per_block
from recolib.inference.top_k import GroupLimit, LimitedLists
from recolib.inference.toplists import TopLists, choose, mask_excluded

MAX_ITEM_NUMBERS = 2**26
"""Numbers of items' states up to which these are held together, 256 MB."""
ITEMS_PER_SHARD = 2**17
"""Items of a shard at most: of more, only few users' scores are held at once, and products of matrices are slow."""
MAX_USER_NUMBERS = 2**25
"""Numbers of the states of users who meet the shards together, and of what is counted for each, 128 MB."""


def items_per_shard(engine: Engine) -> int | None:
    """How many items' states to hold at once; None for all: they are few enough, or are held already."""
    if engine.holds_items:
        return None
    width = numbers_of_state(engine.network, "item", engine.data_info.items.rows[:1])
    n_items, most = engine.data_info.n_items, max(1, MAX_ITEM_NUMBERS // max(1, width))
    return None if n_items <= most else min(most, ITEMS_PER_SHARD)


def read_items_at_once(engine: Engine, request: Request, given: int | None) -> int | None:
    """How many items' states lists are to be made with; None for all.

    Raises
    ------
    ValueError
        If it is no number of items, or the request does not go through all items in turn.
    """
    if given is not None:
        check_integer("items_at_once", given, 1)
    for name, is_given in (("random_rec", request.random_rec is True), ("retriever", request.retriever is not None)):
        if is_given and given is not None:
            raise ValueError(f"items_at_once goes through all items in turn, and {name} does not: leave one out")
        if is_given:
            return None
    return items_per_shard(engine) if given is None else given


@torch.inference_mode()
def best_items(engine: Engine, batch: UserBatch, k: int, items_at_once: int | None) -> TopLists:
    """The k best items of each user, as ``Engine.top_k`` gives them, with so many items' states held at once.

    Without ``items_at_once`` it is ``Engine.top_k``.
    """
    if items_at_once is None:
        return engine.top_k(batch, k)
    items, excluded = batch.item_filter.scored(engine.data_info)
    if items is None:
        items = np.arange(1, engine.data_info.n_items + 1, dtype=np.int32)
    shards = [items[start : start + items_at_once] for start in range(0, len(items), items_at_once)]
    k, excluded = min(k, len(items)), np.unique(excluded)
    limits = batch.item_filter.limits if k else ()
    lists, size = [TopLists.empty(0, k)], _users_at_once(engine, batch, limits)
    for start in range(0, len(batch), size):
        some = batch.of(slice(start, start + size))
        if isinstance(some.rows, Rows):  # each is encoded once for all shards
            states = encode_rows(engine.network, "user", some.rows)
            some = replace(some, rows=Encoded(states, torch.arange(len(some), device=engine.device)))
        best = _limited if limits else _best
        lists.append(best(engine, some, k, shards, excluded))
    return TopLists.joined(lists)


def _users_at_once(engine: Engine, batch: UserBatch, limits: Sequence[GroupLimit]) -> int:
    """How many users meet the shards together."""
    widest = max([1, *(int(limit.values.max(initial=0)) + 1 for limit in limits)])
    if isinstance(batch.rows, Rows):
        widest = max(widest, numbers_of_state(engine.network, "user", batch.rows[:1]))
    return max(1, MAX_USER_NUMBERS // widest)


def _best(
    engine: Engine,
    batch: UserBatch,
    k: int,
    shards: Sequence[Codes],
    excluded: Codes,
    full_of: tuple[LimitedLists, NDArray[np.int64]] | None = None,
) -> TopLists:
    """The k best items of all shards; with ``full_of``, but for those that some of these lists have no room for."""
    best = TopLists.empty(len(batch), 0)
    for items in shards:
        states = engine.encode_items(items)[None]
        out = excluded[slice(*np.searchsorted(excluded, [items[0], items[-1] + 1]))]
        found, size = TopLists.empty(len(batch), min(k, len(items))), users_per_block(len(items))
        for start in range(0, len(batch), size):
            block = slice(start, start + size)
            some = batch.of(block)
            scores = score_catalogue(engine.network, some.rows, states, len(items))
            mask_excluded(scores, engine.data_info, some.codes, items, out, some.item_filter)
            if full_of is not None:
                lists, rows = full_of
                lists.mask_full(scores, rows[block], items)
            found.put(block, choose(scores, items, min(k, len(items))))
        best = best.merged(found, k)
        del states  # before those of the next shard are made
    return best


def _limited(engine: Engine, batch: UserBatch, k: int, shards: Sequence[Codes], excluded: Codes) -> TopLists:
    """The k best items of all shards that the limits allow: what ``limited_top_k`` gives, a pass for each of its turns.

    Lists of shards cannot be merged here: which items of one are allowed depends on those of the others.
    """
    lists, rows = LimitedLists(len(batch), k, batch.item_filter.limits), np.arange(len(batch))
    full_of = None
    while len(rows):
        best = _best(engine, batch, k, shards, excluded, full_of)
        left = lists.fill(rows, best.items, best.logits)
        rows, batch = rows[left], batch.of(np.flatnonzero(left))
        batch = replace(batch, item_filter=batch.item_filter.excluding(list(best.items[left])))
        full_of = lists, rows
    return TopLists(np.maximum(lists.chosen, UNKNOWN).astype(np.int32), lists.logits)
