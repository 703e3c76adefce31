"""Replay: events that are known beside the new ones of an update, so that these alone do not say where weights go.

A step on two events goes where these two pull, and by Adam as far as a step on thousands. Among as many others as a
step of training has, they pull as much as they did there. A model keeps no events, but which pairs there were. A known
pair is a positive where negatives are drawn; else its label is what the model predicts, which holds it where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions, equal_weights
from recolib.data.rows import AVERAGE, UNKNOWN, Rows
from recolib.randomness import uniforms

REPLAYING = (4,)
"""Sets what is replayed apart from other draws."""


@dataclass(frozen=True, eq=False, repr=False)
class Replayed(Interactions):
    """New events that were checked, and known ones behind them, whose labels may be predictions."""


def users_to_replay(data: Interactions, known: DataInfo, n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Which known pairs are what the users of new events liked, and n other users.

    A user with a new event stands against the catalogue with all that they liked: with the new event alone, their
    other items would count as not liked.

    Returns
    -------
    array
        Positions among ``known.user_consumed.codes``.
    """
    users, owners = np.unique(data.user_indices), _owners(known)
    n_liked = np.bincount(owners[known.liked], minlength=known.n_users + 1)
    others = np.setdiff1d(np.flatnonzero(n_liked), users)
    lots = uniforms(seed, epoch, others, 1, purpose=REPLAYING)[:, 0]
    chosen = np.zeros(max(known.n_users, int(users.max())) + 1, bool)
    chosen[users] = chosen[others[np.argsort(lots, kind="stable")[:n]]] = True
    return np.flatnonzero(known.liked & chosen[owners])


def pairs_to_replay(known: DataInfo, n: int, liked: bool, seed: int, epoch: int) -> NDArray[np.int64]:
    """Positions among ``known.user_consumed.codes`` of n pairs, of those that were liked or of all, some twice."""
    pairs = np.flatnonzero(known.liked) if liked else np.arange(len(known.user_consumed.codes))
    lots = uniforms(seed, epoch, np.arange(n if len(pairs) else 0), 1, purpose=REPLAYING)[:, 0]
    return pairs[np.minimum((lots * len(pairs)).astype(np.int64), len(pairs) - 1)]


def with_known(
    data: Interactions,
    known: DataInfo,
    pairs: NDArray[np.int64],
    labels_of: Callable[[Interactions], NDArray[np.float32]],
) -> Replayed:
    """New events with known pairs behind them: with what is true now, in the mean context, and each of mean weight.

    Their times are those at which users consumed the items last, so that what they had consumed before is known.

    Parameters
    ----------
    data
        The new events.
    known
        The data before them.
    pairs
        Positions among ``known.user_consumed.codes``.
    labels_of
        The labels of the known pairs, given as events with a label of 1.
    """
    n, blank, log = len(pairs), data.data_info.schema.blank("context"), known.log
    users, items = _owners(known)[pairs].astype(np.int32), known.user_consumed.codes[pairs]
    context = Rows(torch.where(blank.codes == UNKNOWN, AVERAGE, blank.codes).repeat(n, 1), blank.dense.repeat(n, 1))
    old = replace(
        data,
        user_rows=users,
        item_rows=items,
        labels=np.ones(n, np.float32),
        context=context,
        times=log.times_of(users, items) if log.has_times else np.full(n, data.times.max()),
        weights=np.full(n, data.weights.mean(dtype=np.float64), np.float32),
    )
    is_weighted = data.weights.strides != (0,)
    return Replayed(
        data.data_info,
        data.users,
        data.items,
        np.concatenate([data.user_rows, old.user_rows]),
        np.concatenate([data.item_rows, old.item_rows]),
        np.concatenate([data.labels, labels_of(old)]),
        Rows.cat([data.context, context]),
        np.concatenate([data.times, old.times]),
        np.concatenate([data.weights, old.weights]) if is_weighted else equal_weights(len(data) + n),
    )


def _owners(known: DataInfo) -> NDArray[np.int64]:
    """The user of each of ``known.user_consumed.codes``."""
    return np.repeat(np.arange(len(known.user_consumed.starts) - 1), known.user_consumed.counts())
