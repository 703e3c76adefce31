"""Engine: a network and its data, which takes and returns codes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, overload

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.caching import KeyedCache, cached
from recolib.data.frame import Values
from recolib.data.info import DataInfo
from recolib.data.rows import Codes, Rows
from recolib.inference.cold_start import Segments
from recolib.inference.features import user_rows
from recolib.inference.neighbours import Neighbourhood, make_neighbourhood
from recolib.inference.scoring import (
    Encoded,
    encode_rows,
    numbers_of_state,
    score_catalogue,
    score_pairs,
    users_per_block,
)
from recolib.inference.toplists import ItemFilter, TopLists, choose, mask_excluded
from recolib.inference.vectors import Vectors, make_vectors
from recolib.nn import Network, NetworkSide, NetworkState, Precision

MAX_CACHED_NUMBERS = 2**25
"""Numbers up to which the states of all ids of a side are cached for pairs, 128 MB."""
N_PASTS = 128
"""Users who bring a history whose states are cached, the latest."""
N_FOLDED = 1024
"""Users whose states with a history folded in are cached, the latest."""
N_DEFAULT_RECS = 100
Predictions = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class UserBatch:
    """Users to make lists for.

    Attributes
    ----------
    ids, codes
        Who they are, (U,).
    rows
        What they are scored from.
    item_filter
        Which items their lists may have.
    histories
        The codes of what each consumed after training, each once; None if nothing is given.
    """

    ids: Values
    codes: Codes
    rows: Rows | Encoded
    item_filter: ItemFilter
    histories: list[Codes] | None = None

    def __len__(self) -> int:
        """How many users there are."""
        return len(self.codes)

    def of(self, some: NDArray[np.int64] | slice) -> UserBatch:
        """Some of them, by position."""
        at = some if isinstance(some, slice) else torch.from_numpy(some)
        histories = self.histories
        if histories is not None:
            histories = histories[some] if isinstance(some, slice) else [histories[one] for one in some.tolist()]
        return UserBatch(self.ids[some], self.codes[some], self.rows[at], self.item_filter.of(some), histories)


class Retriever(Protocol):
    """What finds the best items without going through the whole catalogue; see ``recolib.ann.Retriever``."""

    def retrieve(self, engine: Engine, batch: UserBatch, k: int) -> TopLists:
        """The k best items of each user, as ``Engine.top_k`` gives them, as far as they are found."""
        ...


class Engine:
    """A network and its data, which takes and returns codes; it never changes.

    Whatever changes a model, a fit, more data, other features, makes a new engine, and takes over by one assignment.
    What is expensive is made once, on first use, and cached: the states of items and users, vectors, neighbours. Any
    number of threads may use an engine.

    Parameters
    ----------
    network
        The network, ready to predict. Nothing may train it any more.
    source
        The data that it was trained on. Its tables are taken as they are now.
    to_predictions
        From logits to ratings or probabilities.
    task
        ``"rating"`` or ``"ranking"``.
    seed
        For what is drawn in making vectors and neighbours.

    Attributes
    ----------
    data_info
        The data as it was when the engine was made.
    history_weight
        How much an item of a history says; see ``choose_history_weight``.
    gram
        What each user has beside their own items, where users are solved for; see ``solve_in``.
    """

    def __init__(
        self, network: Network, source: DataInfo, to_predictions: Callable[[Tensor], Tensor], task: str, seed: int
    ) -> None:
        self.network, self.source, self.data_info = network, source, copy.copy(source)
        self.to_predictions, self.task, self.seed = to_predictions, task, seed
        self.device = network.device
        self._encoded: KeyedCache[NetworkState | None] = KeyedCache()
        self._of_pasts: KeyedCache[NetworkState] = KeyedCache(N_PASTS)
        self._folded: KeyedCache[NetworkState] = KeyedCache(N_FOLDED)
        self._vectors: KeyedCache[Vectors] = KeyedCache()
        self._neighbourhoods: KeyedCache[Neighbourhood] = KeyedCache()
        self._segments: KeyedCache[Segments] = KeyedCache()
        self.history_weight: KeyedCache[float] = KeyedCache()
        self.gram: KeyedCache[Tensor] = KeyedCache()
        self._latest = self

    def __deepcopy__(self, memo: dict[int, object]) -> Engine:
        """An engine of a copy of the data; the network is shared, since it never changes."""
        return Engine(self.network, copy.deepcopy(self.source, memo), self.to_predictions, self.task, self.seed)

    def current(self, precision: Precision) -> Engine:
        """The engine itself, or one with the features that were assigned to its data since, and with this precision."""
        latest, source = self._latest, self.source
        if (
            latest.data_info.users is not source.users
            or latest.data_info.items is not source.items
            or latest.network.precision != precision
        ):
            network = copy.copy(self.network)  # the same weights
            network.precision = precision
            latest = Engine(network, source, self.to_predictions, self.task, self.seed)
            latest.history_weight = self.history_weight  # which goes by the weights, and takes a second to choose
            self._latest = latest  # of two threads that come here at once, either one's will do
        return latest

    # ---- what is cached

    def encoded(self, side: NetworkSide) -> NetworkState | None:
        """The states of all ids of a side by code, that of code 0 as the average; None if there are too many."""
        return self._encoded.get(side, lambda: self._encode(side, MAX_CACHED_NUMBERS))

    @cached
    def items(self) -> NetworkState:
        """The states of all items by code, however many there are: lists need them."""
        states = self.encoded("item")
        if states is None:
            states = self._encoded.get("all items", lambda: self._encode("item"))
        assert states is not None
        return states

    @property
    def holds_items(self) -> bool:
        """Whether the states of all items are cached."""
        return "items" in vars(self)

    def encode_items(self, codes: Codes) -> NetworkState:
        """The states of some items, made for the call."""
        rows = self.data_info.items.rows[torch.from_numpy(codes)]
        return encode_rows(self.network, "item", rows.averaged(codes))

    def item_states(self, codes: Codes) -> NetworkState:
        """The states of some items, of those of all where these are cached."""
        if not self.holds_items:
            return self.encode_items(codes)
        return self.items[torch.from_numpy(codes).long().to(self.device)]

    @cached
    def catalogue(self) -> NetworkState:
        """The states of the known items, (1, n_items, …)."""
        return self.items[None, 1:]

    @cached
    def item_frame(self) -> pd.DataFrame:
        """The features of all items; see ``DataInfo.item_frame``."""
        return self.data_info.item_frame()

    def vectors(self) -> Vectors:
        """The item vectors, and what makes users' vectors."""
        return self._vectors.get("", lambda: make_vectors(self.network, self.items, self.data_info, self.seed))

    def neighbourhood(self, side: NetworkSide) -> Neighbourhood:
        """How similar items are to each other, or users."""
        vectors = self.vectors()
        return self._neighbourhoods.get(
            side, lambda: make_neighbourhood(vectors, self.network, self.data_info, side, self.seed)
        )

    def segments(self, columns: tuple[int, ...]) -> Segments:
        """What users liked who share the codes in some columns."""
        return self._segments.get(columns, lambda: Segments.of(self.data_info, columns))

    @overload
    def _encode(self, side: NetworkSide) -> NetworkState: ...
    @overload
    def _encode(self, side: NetworkSide, at_most: int) -> NetworkState | None: ...
    def _encode(self, side: NetworkSide, at_most: int | None = None) -> NetworkState | None:
        ids = self.data_info.table(side).current
        if at_most is not None and len(ids) * numbers_of_state(self.network, side, ids[:1]) > at_most:
            return None
        return encode_rows(self.network, side, ids.averaged(np.arange(len(ids))))

    def encoded_once(self, rows: Rows) -> Rows | Encoded:
        """The state of a single user's row with what they consumed, made once as long as that is the same.

        Rows of several users are given back as they are.
        """
        if len(rows) != 1 or rows.past is None:
            return rows
        begin, end, _ = rows.past.spans[0].tolist()
        key = (rows.past.items[begin:end].numpy().tobytes(), rows.codes.numpy().tobytes(), rows.dense.numpy().tobytes())
        states = self._of_pasts.get(key, lambda: encode_rows(self.network, "user", rows))
        return Encoded(states, torch.zeros(1, dtype=torch.int64, device=self.device))

    def folded_once(self, batch: UserBatch, fold: Callable[[list[int]], Encoded]) -> Encoded:
        """The states of users with their histories, each folded in once as long as it is the same.

        Parameters
        ----------
        batch
            The users; their codes say how firmly each stands where they are.
        fold
            From positions in the batch to states.
        """
        rows, histories = batch.rows, batch.histories
        assert isinstance(rows, Rows)
        assert histories is not None
        of_each = zip(batch.codes.tolist(), rows.codes.numpy(), rows.dense.numpy(), histories, strict=True)
        keys = [(code, codes.tobytes(), dense.tobytes(), own.tobytes()) for code, codes, dense, own in of_each]

        def states(missing: list[int]) -> list[NetworkState]:
            found = fold(missing)
            whole = found.states.take(found.codes)
            return [whole[at : at + 1].map(torch.clone) for at in range(len(missing))]

        some = NetworkState.cat(self._folded.get_each(keys, states))
        return Encoded(some, torch.arange(len(batch), device=self.device))

    # ---- what is answered

    def rows_of(self, side: NetworkSide, codes: Codes) -> Rows | Encoded:
        """Ids as the data has them, the average for code 0: their cached states, or rows where none are cached."""
        at, states = torch.from_numpy(codes), self.encoded(side)
        if states is not None:
            return Encoded(states, at.to(self.device))
        return self.data_info.table(side).rows[at].averaged(codes)

    def predict_pairs(self, users: Rows | Encoded, items: Rows | Encoded) -> Predictions:
        """Ratings or probabilities (n,) of n users and n items."""
        return self.to_predictions(score_pairs(self.network, users, items)).cpu().numpy()

    def predictions_of(self, logits: NDArray[np.float32]) -> Predictions:
        """Ratings or probabilities of logits, to the last digit those that a least one is held against."""
        return self.to_predictions(torch.from_numpy(logits).to(self.device)).cpu().numpy()

    @torch.inference_mode()
    def top_k(self, batch: UserBatch, k: int, retriever: Retriever | None = None) -> TopLists:
        """The k best items of each user; fewer where the filter or the catalogue leaves fewer."""
        if retriever is not None:
            return retriever.retrieve(self, batch, k)
        network, info, item_filter = self.network, self.data_info, batch.item_filter
        items, excluded = item_filter.scored(info)
        n_items, states = info.n_items, self.catalogue
        if items is not None:
            n_items, states = len(items), self.item_states(items)[None]
        limits = [limit.among(items) for limit in item_filter.limits]

        def chosen(some: UserBatch) -> TopLists:
            scores = score_catalogue(network, some.rows, states, n_items)
            mask_excluded(scores, info, some.codes, items, excluded, some.item_filter)
            return choose(scores, items, min(k, n_items), limits, item_filter.generator)

        n_users, size = len(batch.codes), users_per_block(n_items)
        if n_users <= size:
            return chosen(batch)
        lists = TopLists.empty(n_users, min(k, n_items))  # small arrays of each block would lie between those of scores
        for start in range(0, n_users, size):
            block = slice(start, start + size)
            lists.put(block, chosen(batch.of(block)))
        return lists

    def score_rows(self, users: Rows, items: Rows) -> Predictions:
        """Ratings, or for ranking logits, (n,) of n user rows, with their context, and n item rows."""
        logits = score_pairs(self.network, users, items)
        return (self.to_predictions(logits) if self.task == "rating" else logits).cpu().numpy()

    def rank_items(
        self, users: Rows, codes: Codes, k: int, filter_consumed: bool, include_cold_items: bool = False
    ) -> Codes:
        """The codes of the k best items of each user row, best first, 0 where a list ends early, (U, at most k)."""
        item_filter = ItemFilter(filter_consumed=filter_consumed, include_cold=include_cold_items)
        return self.top_k(UserBatch(codes, codes, users, item_filter), k).items

    @cached
    def default_recs(self) -> Codes:
        """The codes of the mean user's 100 best items, best first."""
        unknown = np.zeros(1, np.int32)
        rows = user_rows(self.data_info, [0], unknown, None, {}, average=True)
        best = self.rank_items(rows, unknown, N_DEFAULT_RECS, filter_consumed=True)[0]
        return best[best > 0]
