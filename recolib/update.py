"""What an update trains on, for how long and how fast: new events, and what of the known ones stands beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.checks import check_integer
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.fitting.wiring import batch_size_of
from recolib.inference.engine import Engine
from recolib.settings import Settings
from recolib.training.catalogue import distinct_rows
from recolib.training.replay import Replayed, pairs_to_replay, users_to_replay, with_known

UPDATED_SHARE = 0.1
"""The share of new events among all from which on an update trains for all of its epochs."""
NEEDED = "n_epochs", "lr", "batch_size", "num_neg"
"""Settings that say how much and how fast an update trains; it goes on with what they were."""
LEAST_LR = 0.1
"""The least share of the learning rate that an update has."""
LEAST_WHERE_PREDICTED = None, "squared", "cross_entropy"
"""Losses that are least where a label is what is predicted."""


def check_update(settings: Settings, replay: object) -> None:
    """Raise unless ``replay`` is a number, and the settings are chosen that an update needs."""
    if replay is not None:
        check_integer("replay", replay, 0)
    open_now = [name for name in NEEDED if getattr(settings, name) is None]
    if open_now:
        raise ValueError(f"settings {open_now} are None, and the first fit alone chooses them: set them for update")


def epochs_of_update(n_epochs: int, share: float) -> int:
    """How many epochs to train on new events that are a share of all: one where they are few."""
    return min(n_epochs, max(1, round(n_epochs * min(1.0, share / UPDATED_SHARE))))


def lr_of_update(lr: Any, share: float) -> Any:
    """The learning rate for new events that are a share of all.

    Training ended where steps of the whole rate go to and fro; the fewer events, the less they say. On MovieLens 100K,
    after 200 updates of an event each, DeepFM's nDCG@10 is .266 by a tenth of the rate, and .257 by three tenths; it is
    .271 after one update of all. 5,000 new events, 12 % of all, take FM from .272 to .251 by the whole rate, and to
    .274 by an eighth.
    """
    factor = max(LEAST_LR, share)
    return {name: one * factor for name, one in lr.items()} if isinstance(lr, Mapping) else lr * factor


def n_replayed(n_new: int, batch_size: int) -> int:
    """How much of what is known to mix into an update: as much as is new, or more, so that batches are full."""
    return -(-2 * n_new // batch_size) * batch_size - n_new


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
    if settings.alternates:  # a system is of all pairs of its row
        pairs = np.flatnonzero(known.liked) if neg_sampling else np.arange(len(known.liked))
    elif whole_users:
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
