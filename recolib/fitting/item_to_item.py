"""The weights from item to item that a model has: what they are solved from, their penalty, and their own weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from recolib.caching import KeyedCache
from recolib.data.encoding import blank_rows
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.data.rows import UNKNOWN
from recolib.evaluation.metrics import ndcg
from recolib.fitting.search import best_on_the_way
from recolib.inference.engine import Engine
from recolib.inference.scoring import score_catalogue
from recolib.nn import ItemToItem, Network
from recolib.nn.past import PastItems
from recolib.process_group import ProcessGroup
from recolib.settings import Settings
from recolib.training.catalogue_losses import IMPLICIT
from recolib.training.closed_form import fill, item_to_item

PENALTIES = 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0
"""The values of λ that are tried, from ``FIRST`` on towards the better side."""
FIRST = 200.0
WEIGHTS = 0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0
"""The values of w that are tried beside other terms: these are logits, and what items say of an item is 0 to 1."""
WEIGHTS_OF_SHARES = 0.25, 0.5, 1.0, 2.0, 4.0
"""The values that are tried beside terms which are 0 to 1, too: some of both was better than one on every set."""
N_USERS = 2000
"""The most users whose lists are made to choose."""
LIST_LENGTH = 20
WITHOUT = {"item_to_item_l2": 1.0, "item_to_item_weight": 0.0}
"""Settings of a model whose other terms are trained first."""


def solve(network: Network, info: DataInfo, settings: Settings) -> None:
    """Give a network the weights from item to item that explain best what users liked, where it has such a term."""
    for term in network.terms:
        if isinstance(term, ItemToItem) and settings.item_to_item_weight:
            fill(term, item_to_item(liked_matrix(info), settings.item_to_item_l2), info.trained_items)
            term.weight.fill_(settings.item_to_item_weight)


def liked_matrix(info: DataInfo) -> sparse.csr_array:
    """1 where a user liked an item, by the user's code and the item's place among ``info.trained_items``."""
    consumed = info.user_consumed
    columns = np.searchsorted(info.trained_items, consumed.codes)
    shape = info.n_users + 1, len(info.trained_items)
    matrix = sparse.csr_array((info.liked.astype(np.float32), columns, consumed.starts.copy()), shape)
    matrix.eliminate_zeros()
    return matrix


def is_open(settings: Settings) -> bool:
    """Whether λ or w are to be chosen."""
    return settings.item_to_item and any(getattr(settings, name) is None for name in WITHOUT)


def chosen_by_rows(settings: Settings) -> str:
    """The names of the settings that rows are held out for."""
    names = "n_epochs", "prior", *(WITHOUT if settings.item_to_item else ())
    return ", ".join(name for name in names if getattr(settings, name) is None)


def choose(settings: Settings, engine: Engine, held: Interactions) -> None:
    """Choose λ and w that are open, in place: the lists of some users then have most of what was held out.

    Parameters
    ----------
    settings
        The model's.
    engine
        A model of the same settings, trained on the other rows.
    held
        The rows that were held out.
    """
    if not is_open(settings):
        return
    trial, l2, weight = _Trial.of(engine, held), settings.item_to_item_l2, settings.item_to_item_weight
    if l2 is None:
        l2 = best_on_the_way(PENALTIES, PENALTIES.index(FIRST), lambda one: trial.figure(one, None))
    weights = WEIGHTS_OF_SHARES if settings.loss_type == IMPLICIT else WEIGHTS
    if weight is None:
        weight = max(weights, key=lambda one: trial.figure(l2, one)) if settings.has_epochs else 1.0
    settings.item_to_item_l2, settings.item_to_item_weight = ProcessGroup.current().of_first([l2, weight])


@dataclass(frozen=True, eq=False)
class _Trial:
    """Some users with what they consumed, what lists should have of them, and what the other terms say.

    Attributes
    ----------
    info
        The data without what was held out.
    scores
        What the other terms say of each trained item, (U, M).
    counts
        How much each item that they consumed counts for the weights from item to item, (U, M).
    consumed, relevant
        What lists leave out and what they should have, (U, M).
    """

    info: DataInfo
    scores: Tensor
    counts: sparse.csr_array
    consumed: sparse.csr_array
    relevant: sparse.csr_array
    solved: KeyedCache[Tensor]

    @classmethod
    def of(cls, engine: Engine, held: Interactions) -> _Trial:
        """A sample of the users of whom something was held out."""
        info, positive = engine.data_info, held.positives
        n_users, trained = info.n_users + 1, info.trained_items
        whose, what = held.user_indices[positive], held.item_indices[positive]
        there = (whose > UNKNOWN) & np.isin(what, trained)
        users = np.unique(whose[there])
        users = users[:: -(-len(users) // N_USERS)]
        columns = np.searchsorted(trained, what[there])
        relevant = sparse.coo_array((np.ones(len(columns), bool), (whose[there], columns)), (n_users, len(trained)))
        consumed = info.user_consumed
        ones, places = np.ones(len(consumed.codes), bool), np.searchsorted(trained, consumed.codes)
        seen = sparse.csr_array((ones, places, consumed.starts), (n_users, len(trained)))
        rows = info.users.rows[torch.from_numpy(users)].join(blank_rows(info.schema, "context", len(users)))
        network, shape = engine.network, (len(users), len(trained))
        term = next(one for one in network.terms if isinstance(one, ItemToItem))
        past = PastItems.of(rows.past, torch.Size([len(users)]), network.max_history, network.item)
        of, codes, counts = (one.cpu().numpy() for one in term.distinct(past))
        counts = sparse.csr_array((counts, (of, np.searchsorted(trained, codes))), shape)
        scores = score_catalogue(network, rows, engine.item_states(trained)[None], len(trained)).cpu()
        return cls(info, scores, counts, seen[users], relevant.tocsr()[users], KeyedCache(1))

    def figure(self, l2: float, weight: float | None) -> float:
        """NDCG of the users' lists; with no weight, of those by the weights from item to item alone."""
        said = self.solved.get(l2, lambda: self._said(l2))
        scores = said.clone() if weight is None else self.scores + weight * said
        scores[self.consumed.nonzero()] = -torch.inf
        best = scores.topk(min(LIST_LENGTH, scores.shape[1]), 1).indices.numpy()
        return ndcg(self._hits(best), np.diff(self.relevant.indptr))

    def _said(self, l2: float) -> Tensor:
        """What the users' items say of each item, (U, M)."""
        return torch.from_numpy(self.counts @ item_to_item(liked_matrix(self.info), l2).numpy())

    def _hits(self, best: NDArray[np.int64]) -> NDArray[np.bool_]:
        n = len(self.info.trained_items)
        pairs = np.repeat(np.arange(len(best)), np.diff(self.relevant.indptr)) * n + self.relevant.indices
        return np.isin(np.arange(len(best))[:, None] * n + best, pairs)
