"""How much an item of a history says, chosen by folding in known users from some of their own items."""

from __future__ import annotations

import numpy as np

from recolib.data.consumed import liked_of
from recolib.data.rows import Codes
from recolib.evaluation.metrics import ndcg
from recolib.inference.engine import Engine, UserBatch
from recolib.inference.features import user_rows
from recolib.inference.folding import fold_in
from recolib.inference.item_shards import best_items
from recolib.inference.toplists import ItemFilter

CANDIDATES = 0.1, 0.3, 1.0, 3.0, 10.0
"""The weights that are tried."""
DEFAULT = 1.0
"""The weight where too few users are known, or where trying takes too long: between what FM and deep models want."""
N_HISTORY = 5
"""Items of each user that are folded in. Their others are what lists should have, and must be as many at least."""
MIN_USERS, N_USERS = 50, 200
"""The fewest users to choose by, and the most."""
NEAR = 0.95
"""The least weight is taken whose lists are as good as this share of the best. Items that come first, which a site
shows to everybody, say less of a user than those drawn here; and known users were trained with theirs."""
LIST_LENGTH = 10


def choose_history_weight(engine: Engine, items_at_once: int | None = None) -> float:
    """β of ``fold_in``: the least candidate whose nDCG@10 of known users, folded in as new ones, is nearly the best.

    Each brings some of the items that they liked, drawn by the engine's seed, and is scored without an id or features;
    the other items that they liked are relevant. Candidates are tried where scores are inner products, so that this
    takes less than a second; another network folds users in a hundred times slower. ``items_at_once`` is that of
    ``best_items``.
    """
    if engine.network.vectors("item", engine.item_states(np.zeros(1, np.int32))) is None:
        return DEFAULT
    histories, others = _halves(engine)
    if len(others) < MIN_USERS:
        return DEFAULT
    figures = [_figure(engine, histories, others, weight, items_at_once) for weight in CANDIDATES]
    return next(weight for weight, figure in zip(CANDIDATES, figures, strict=True) if figure >= NEAR * max(figures))


def _halves(engine: Engine) -> tuple[list[Codes], list[Codes]]:
    """For some users, some of the items that they liked, and the others."""
    consumed, liked = engine.data_info.user_consumed, engine.data_info.liked
    n_liked = np.diff(np.append(0, np.cumsum(liked))[consumed.starts])
    enough = np.flatnonzero(n_liked >= 2 * N_HISTORY)
    rng = np.random.default_rng(engine.seed)
    drawn = rng.choice(enough, min(N_USERS, len(enough)), replace=False)
    of_each = [rng.permutation(liked_of(consumed, liked, user)) for user in drawn]
    return [items[:N_HISTORY] for items in of_each], [items[N_HISTORY:] for items in of_each]


def _figure(
    engine: Engine, histories: list[Codes], others: list[Codes], weight: float, items_at_once: int | None
) -> float:
    """nDCG@10 of users who bring histories, if these have a weight, by the other items that they liked."""
    info, cold = engine.data_info, np.zeros(len(others), np.int32)
    rows = user_rows(info, cold.tolist(), cold, None, {}, average=True)
    folded = fold_in(engine.network, info, engine.item_states, rows, histories, np.ones(len(others)), weight)
    batch = UserBatch(cold, cold, folded, ItemFilter(filter_consumed=True).without(histories))
    lists = best_items(engine, batch, LIST_LENGTH, items_at_once).items
    hits = np.array([np.isin(items, relevant) for items, relevant in zip(lists, others, strict=True)])
    return ndcg(hits, np.array([len(relevant) for relevant in others]))
