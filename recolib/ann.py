"""Retriever: lists out of catalogues of millions, by vectors first and by the model's own scores then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.checks import check_choice, check_integer
from recolib.inference.engine import Engine, UserBatch
from recolib.inference.features import Feats
from recolib.inference.ids import Ids, as_list
from recolib.inference.scoring import Encoded, encode_rows, score_catalogue, users_per_block
from recolib.inference.toplists import NO_ITEMS, TopLists, choose
from recolib.recommender import Recommender

INDEXES = ("exact", "hnsw")
N_LINKS = 32
"""Neighbours that an item has in each layer of the graph of ``"hnsw"``."""
N_MORE = 100
"""How many more items than requested a search of the graph keeps in view."""
USERS_AT_ONCE = 128
SIZE_STEP = 256
"""Users who need about as many items, up to a multiple of this, are searched for together."""
Search = Callable[[Tensor, int], NDArray[np.int64]]
"""From users' vectors (U, V) and a number n to items (U, n), numbered from 1, best first, 0 where fewer were found."""


class Retriever:
    """An index of a fitted model's item vectors, for ``recommend_user(..., retriever=retriever)``.

    A list is made in two steps: the items of the largest inner products with the user's vector are found, as many as
    ``n_candidates`` beyond those that the user consumed; then the model scores these and no others. Items without any
    interaction are not in the index. So the scores of a
    list are the model's own, and the one possible error is that an item was not found; ``recall`` measures how often.
    For ``FM`` inner products are the scores. For other models they come near them; see ``Recommender.item_vectors``.

    Parameters
    ----------
    model
        A fitted model. When it is trained further, or features of its data are assigned, build a new retriever: this
        one is refused.
    index
        ``"exact"`` compares the user's vector with those of all items. ``"hnsw"`` goes through a graph of them and
        sees few, but may miss some; it needs faiss: ``pip install "recolib[ann]"``.
    n_candidates
        How many items the model scores for a list; if lists are longer, as many as these are long.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    ImportError
        If ``index="hnsw"`` and there is no faiss.

    See Also
    --------
    recolib.recommender.Recommender.item_vectors : the vectors, for an index of one's own.

    References
    ----------
    Malkov and Yashunin, *Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small
    World graphs*, TPAMI 2020; with inner products as distances by Bachrach et al., *Speeding Up the Xbox Recommender
    System Using a Euclidean Transformation for Inner-Product Spaces*, RecSys 2014.

    Examples
    --------
    >>> from recolib.algorithms import FM
    >>> from recolib.ann import Retriever
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    >>> retriever = Retriever(model, n_candidates=10)
    >>> user = info.id2user[1]
    >>> len(model.recommend_user(user, n_rec=5, retriever=retriever)[user])
    5
    >>> retriever.recall([user], n_rec=5)
    1.0
    """

    def __init__(self, model: Recommender, index: str = "exact", n_candidates: int = 1000) -> None:
        check_choice("index", index, INDEXES)
        check_integer("n_candidates", n_candidates, 1)
        self.model, self.index, self.n_candidates = model, index, n_candidates
        self._engine = model.engine
        make = exact if index == "exact" else hnsw
        self._vectors = self._engine.vectors()
        trained = self._engine.data_info.trained_items
        self._codes = np.append(np.int32(0), trained)
        has_cold = len(trained) < len(self._vectors.items)
        self._search = make(self._vectors.items[torch.from_numpy(trained - 1)] if has_cold else self._vectors.items)

    def __reduce__(self) -> tuple[type[Retriever], tuple[Recommender, str, int]]:
        """A pickle is the model, and the index is built anew."""
        return Retriever, (self.model, self.index, self.n_candidates)

    def __repr__(self) -> str:
        """The model, the index and its size."""
        n_items, size = self._vectors.items.shape
        how = f"index={self.index!r}, n_candidates={self.n_candidates}"
        return f"Retriever({self.model.model_name}, {how}; {n_items} vectors of {size})"

    def recall(self, users: Ids, n_rec: int = 10, *, context: Feats | None = None) -> float:
        """The share of users' true lists that is found.

        Parameters
        ----------
        users
            User ids.
        n_rec
            The length of the lists.
        context
            As in ``recommend_user``.
        """
        asked = as_list(users, "users")
        true = self.model.recommend_user(asked, n_rec, context=context)
        found = self.model.recommend_user(asked, n_rec, context=context, retriever=self)
        hits = [np.isin(items, found[user]) for user, items in true.items()]
        return float(np.concatenate(hits).mean())

    def retrieve(self, engine: Engine, batch: UserBatch, k: int) -> TopLists:
        """What ``Engine.top_k`` gives, as far as it is found.

        Lists of some candidates alone or with items that have no interactions, with limits, or drawn at random are made
        by the engine itself.
        """
        if engine is not self._engine:
            raise ValueError("the retriever is of another model, or of this one before it changed: build a new one")
        network, info, item_filter = engine.network, engine.data_info, batch.item_filter
        n_found = len(self._codes) - 1
        has_cold = item_filter.include_cold and n_found < info.n_items
        needs_all = item_filter.candidates is not None or item_filter.generator is not None or item_filter.limits
        if needs_all or has_cold:
            return engine.top_k(batch, k)
        width = min(k, info.n_items)
        lists = TopLists.empty(len(batch), width)
        shared = NO_ITEMS if item_filter.exclude is None else item_filter.exclude
        for start in range(0, len(batch), USERS_AT_ONCE):
            some = batch.of(slice(start, start + USERS_AT_ONCE))
            own = some.item_filter.exclude_each or [NO_ITEMS] * len(some)
            consumed = [
                info.user_consumed[code] if code and item_filter.filter_consumed else NO_ITEMS for code in some.codes
            ]
            excluded = [np.concatenate([shared, *parts]) for parts in zip(own, consumed, strict=True)]
            sizes = np.array([max(self.n_candidates, width) + len(parts) for parts in excluded])
            found = self._found(self._vectors.of_users(network, some.rows), np.minimum(sizes, n_found))
            for at, (row, left_out) in enumerate(zip(found, excluded, strict=True), start):
                items = np.setdiff1d(self._codes[row], np.append(left_out, 0))
                user = batch.of(slice(at, at + 1))
                if len(items) < width:  # nothing is left, or a graph has dead ends
                    lists.put(slice(at, at + 1), engine.top_k(user, k))
                    continue
                candidates = Encoded(engine.items, torch.from_numpy(items).to(network.device))
                states = encode_rows(network, "item", candidates)[None]
                scores = score_catalogue(network, user.rows, states, len(items))
                if item_filter.below_min_score is not None:
                    scores = scores.masked_fill(item_filter.below_min_score(scores), -torch.inf)
                lists.put(slice(at, at + 1), choose(scores, items, width))
        return lists

    def _found(self, users: Tensor, sizes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """As many items as each user needs, numbered from 1, whoever else is in the batch."""
        found: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(sizes)
        rounded = np.minimum(-(-sizes // SIZE_STEP) * SIZE_STEP, len(self._codes) - 1)
        for size in np.unique(rounded):
            at = np.flatnonzero(rounded == size)
            for one, row in zip(at, self._search(users[torch.from_numpy(at).to(users.device)], int(size)), strict=True):
                found[one] = row[: sizes[one]]
        return found


def exact(items: Tensor) -> Search:
    """A search through all item vectors (n_items, V)."""

    def search(users: Tensor, n: int) -> NDArray[np.int64]:
        blocks = users.split(users_per_block(len(items)))
        return torch.cat([(block @ items.T).topk(n).indices for block in blocks]).cpu().numpy() + 1

    return search


def hnsw(items: Tensor) -> Search:
    """A search through a graph of item vectors (n_items, V).

    Each gets a number more that makes all equally long, and each user's vector a 0. The nearest items are then those
    of the largest inner products; a graph of inner products themselves misses a tenth and more of the best.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError('index="hnsw" needs faiss: pip install "recolib[ann]"') from error
    squares = items.square().sum(1, keepdim=True)
    graph: Any = faiss.IndexHNSWFlat(items.shape[1] + 1, N_LINKS)
    graph.add(torch.cat([items, (squares.max() - squares).clamp_min(0).sqrt()], 1).cpu().numpy())

    def search(users: Tensor, n: int) -> NDArray[np.int64]:
        how = cast("Any", faiss).SearchParametersHNSW(efSearch=n + N_MORE)
        return graph.search(torch.nn.functional.pad(users, (0, 1)).cpu().numpy(), n, params=how)[1] + 1

    return search
