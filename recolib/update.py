"""What an update trains on: new events, and what of that which is known stands beside them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.fitting.defaults import n_replayed
from recolib.fitting.wiring import batch_size_of
from recolib.inference.engine import Engine
from recolib.settings import Settings
from recolib.training.catalogue import distinct_rows
from recolib.training.replay import Replayed, pairs_to_replay, users_to_replay, with_known

LEAST_WHERE_PREDICTED = None, "squared", "cross_entropy"
"""Losses that are least where a label is what is predicted."""


def with_replay(
    settings: Settings,
    engine: Engine,
    data: Interactions,
    known: DataInfo,
    neg_sampling: bool,
    n: int | None,
    epoch: int,
) -> Replayed:
    """New events with known ones behind them.

    Parameters
    ----------
    settings, engine
        The model of the grown data, and what answers for it before it is trained on the new events.
    data
        The new events.
    known
        The data before them.
    neg_sampling
        Whether negatives are drawn beside them.
    n
        How many users, or events, to replay; None: as ``n_replayed`` says.
    epoch
        How many epochs the model was trained for.
    """
    size, whole_users = batch_size_of(settings, neg_sampling), neg_sampling and settings.has_catalogue
    if whole_users:
        n = known.n_users if settings.alternates else n  # a system is of all pairs
        n_new = len(distinct_rows(data)[0]) + len(np.unique(data.user_indices)) * known.has_context
        pairs = users_to_replay(data, known, n_replayed(n_new, size) if n is None else n, settings.seed, epoch)
    else:
        n = n_replayed(len(data), size) if n is None else n
        pairs = pairs_to_replay(known, n, neg_sampling, settings.seed, epoch)

    def labels_of(old: Interactions) -> NDArray[np.float32]:
        if neg_sampling:
            return old.labels
        if settings.task == "ranking" and settings.loss_type not in LEAST_WHERE_PREDICTED:
            return known.liked[pairs].astype(np.float32)
        users, items = (torch.from_numpy(rows) for rows in (old.user_rows, old.item_rows))
        return engine.predict_pairs(old.users.rows[users].join(old.context), old.items.rows[items])

    return with_known(data, known, pairs, labels_of)
