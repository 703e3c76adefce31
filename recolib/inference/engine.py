"""Scorer: a model's network, asked in codes."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.data.rows import Codes, Rows
from recolib.exceptions import NotFittedError
from recolib.inference.cold_start import Segments
from recolib.inference.neighbours import Neighbourhood, make_neighbourhood
from recolib.inference.queries import Feats, Id, user_rows
from recolib.inference.scoring import EncodedCache, Kept, Known, score_pairs
from recolib.inference.toplists import Finder, Rules, TopLists, top_lists
from recolib.inference.vectors import Vectors, make_vectors
from recolib.nn import Network, NetworkSide, NetworkState, Precision
from recolib.settings import Settings
from recolib.training.trainer import Trainer

N_DEFAULT_RECS = 100
Predictions = NDArray[np.float32]


class Scorer(Settings):
    """Settings with a network, and what is kept of it between questions: states of users and items, and vectors.

    Whatever is kept goes by the versions of the weights and of the data, and is made again when they change.
    """

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        self._trainer: Trainer | None = None
        self._version = 0
        self._kept = {"user": EncodedCache("user"), "item": EncodedCache("item")}
        self._vectors: Kept[Vectors] = Kept()
        self._neighbours: dict[NetworkSide, Kept[Neighbourhood]] = {"user": Kept(), "item": Kept()}
        self._item_frame: Kept[pd.DataFrame] = Kept()
        self._segments: Kept[Segments] = Kept()
        self._generator = torch.Generator().manual_seed(self.seed)

    def score_rows(self, users: Rows, items: Rows) -> Predictions:
        """Ratings, or for ranking logits, (n,) of n user rows, with their context, and n item rows."""
        scores = score_pairs(self._fitted(), users, items).cpu().numpy()
        return self._finished(scores) if self.task == "rating" else scores

    def rank_items(
        self, users: Rows, codes: Codes, k: int, filter_consumed: bool, include_cold_items: bool = False
    ) -> Codes:
        """The codes of the k best items of each user row, best first, 0 where a list ends early, (U, at most k)."""
        rules = Rules(filter_consumed=filter_consumed, include_cold=include_cold_items)
        return self._top_lists(users, codes, k, rules).items

    def vectors(self) -> Vectors:
        """The item vectors, and what makes users' vectors; made when first asked for."""
        network, states = self._fitted(), self._states("item", at_any_size=True)
        assert states is not None
        return self._vectors.get(states, lambda: make_vectors(network, states, self.data_info, self.seed))

    def neighbourhood(self, side: NetworkSide) -> Neighbourhood:
        """How similar items are to each other, or users; made when first asked for."""
        network, vectors = self._fitted(), self.vectors()
        return self._neighbours[side].get(
            vectors, lambda: make_neighbourhood(vectors, network, self.data_info, side, self.seed)
        )

    @property
    def default_recs(self) -> Codes:
        """The codes of the mean user's 100 best items, best first."""
        nobody = np.zeros(1, np.int32)
        rows = user_rows(self.data_info, [0], nobody, None, {}, average=True)
        best = self.rank_items(rows, nobody, N_DEFAULT_RECS, filter_consumed=True)[0]
        return best[best > 0]

    def _fitted(self) -> Network:
        if self._trainer is None:
            raise NotFittedError(f"{self.model_name} has no weights yet: call fit first")
        if self._trainer.network.training:
            raise RuntimeError(f"{self.model_name} is being trained: ask before or after fit, or ask a loaded copy")
        self._trainer.network.precision = cast("Precision", self.precision)
        return self._trainer.network

    def _states(self, side: NetworkSide, at_any_size: bool = False) -> NetworkState | None:
        network, info = self._fitted(), self.data_info
        ids = info.users.current if side == "user" else info.items.current
        return self._kept[side].of(
            network, ids, (self._version, info.version, network.device, self.precision), at_any_size
        )

    def _known(self, side: NetworkSide, codes: Codes) -> Rows | Known:
        """Ids as they are in the data, of strangers the average: their states, or if these are not kept, rows."""
        at, states = torch.from_numpy(codes), self._states(side)
        if states is not None:
            return Known(states, at.to(self._fitted().device))
        table = self.data_info.users if side == "user" else self.data_info.items
        return table.rows[at].averaged(codes)

    def _asked(
        self, ids: list[Id], codes: Codes, feats: Feats | None, context: Feats | None, average: bool
    ) -> Rows | Known:
        as_average = average or bool(codes.all())
        if feats is None and context is None and as_average and not self.data_info.context_col:
            return self._known("user", codes)
        return user_rows(self.data_info, ids, codes, feats, context, average)

    def _top_lists(
        self, users: Rows | Known, codes: Codes, n_rec: int, rules: Rules, finder: Finder | None = None
    ) -> TopLists:
        states = self._states("item", at_any_size=True)
        assert states is not None
        find = top_lists if finder is None else finder.find
        return find(self._fitted(), states, self.data_info, users, codes, n_rec, rules)

    def _finished(self, logits: Predictions) -> Predictions:
        return self._predictions(torch.from_numpy(logits)).numpy()

    def _predictions(self, logits: Tensor) -> Tensor:
        return logits.clamp(self.lower_bound, self.upper_bound) if self.task == "rating" else logits.sigmoid()
