"""What is chosen for settings that are left open, and the rows that the number of epochs is chosen by.

Each value was judged by its worst case over sets of different size, sparsity and kind; docs/choosing.md has figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from recolib.annotations import RECENT
from recolib.data.consumed import counted_interactions
from recolib.data.interactions import Interactions
from recolib.data.log import NO_TIMES, ConsumedLog
from recolib.data.order import rows_by_code_and_time
from recolib.randomness import uniforms
from recolib.settings import ALL_ITEMS, MAY_BE_OPEN, SHARED, Settings
from recolib.training.catalogue import distinct_rows
from recolib.training.catalogue_losses import CATALOGUE_LOSSES, IMPLICIT

LARGE_CATALOGUE = 20_000
"""Items from which on negatives are drawn for each batch instead of all items being there."""
N_SHARED = 4096
"""How many are drawn then."""
HELD_OUT = 0.1
"""The share of the rows by which the number of epochs is chosen."""
MOST_EPOCHS = 100
"""The most epochs that are tried."""
FEW_EPOCHS, ITEM_TO_ITEM_L2 = 20, 200.0
"""Epochs, and the penalty of weights from item to item, on data of which too little could be held out."""
PATIENCE, LESS_PATIENCE = 20, 8
"""Epochs without a better figure after which none is expected: against the catalogue without hidden layers or with one,
where an epoch costs little and figures are noise, and else."""
N_MEASURED = 10_000
"""The most users whose lists are made to choose the number of epochs."""
PRIOR = 3.0
"""The prior against the catalogue."""
PRIORS_OF_ALS = tuple(2 ** (power / 2) for power in range(-2, 15))
"""The values of ALS's λ that are tried, from ``FIRST_PRIOR`` on towards the better side. The best were 4 to 10 for
lists, and one of half or twice as much cost up to a fifth of nDCG."""
FIRST_PRIOR = PRIORS_OF_ALS.index(4.0)
SWEEPS_OF_ALS = 15
"""Epochs of ALS: at the right λ more change nothing."""
RATING_PRIOR = 3.5
"""The prior of ratings by their standard deviation: vectors grow with its root, and losses with its square."""
NORM_HOLDS_VECTORS = "NFM", "WideDeep"
"""Models whose vectors reach a rating through a perceptron alone: a prior takes them to zero without batch norm."""
LEARNS_IDS = ("DeepFM",)
"""Models with layers over the vectors of ids beside their products: against the catalogue these learn ids by heart
unless most units are dropped."""
LIST_LENGTH = 100
"""The length of these lists: longer than what is recommended, since figures of ten items are noise on small data."""
HOLDING_OUT = (3,)
"""Sets what is held out apart from other draws."""


def open_settings(settings: Settings) -> list[str]:
    """The names of the settings that a first ``fit`` has still to choose."""
    return [name for name in MAY_BE_OPEN if hasattr(settings, name) and getattr(settings, name) is None]


def settle(
    settings: Settings, data: Interactions, neg_sampling: bool, stops: bool, saved: Mapping[str, object]
) -> None:
    """Choose the settings that are left open, in place.

    Parameters
    ----------
    settings
        A model's.
    data
        The rows to train on.
    neg_sampling
        Whether negatives are drawn beside them.
    stops
        Whether something else will end the training. The number of epochs is then the most that are tried; else it
        stays open, to be chosen by training, unless too few rows can be held out for that.
    saved
        What they were in the run that is to be resumed.
    """
    chosen = {name: saved[name] for name in MAY_BE_OPEN if name in saved} or choose(settings, data, neg_sampling)
    if not settings.has_epochs:
        settings.n_epochs = 0
    elif stops:
        chosen.setdefault("n_epochs", MOST_EPOCHS)
    if len(data) * HELD_OUT < 2 or int(np.bincount(data.user_indices).max()) < 2:
        chosen = {"n_epochs": FEW_EPOCHS, "prior": PRIORS_OF_ALS[FIRST_PRIOR]} | chosen
        if settings.item_to_item:
            chosen |= {"item_to_item_l2": ITEM_TO_ITEM_L2, "item_to_item_weight": 1.0} | chosen
    for name, value in chosen.items():
        if getattr(settings, name) is None or name == "sampler":
            setattr(settings, name, tuple(value) if isinstance(value, list) else value)


def choose(settings: Settings, data: Interactions, neg_sampling: bool) -> dict[str, Any]:
    """Values for the settings that are left open, but for the number of epochs."""
    negatives = _negatives(settings, data) if neg_sampling else {}
    sampler, num_neg = negatives.get("sampler", settings.sampler), negatives.get("num_neg", settings.num_neg)
    has_catalogue = neg_sampling and (num_neg == ALL_ITEMS or sampler == SHARED)
    if settings.alternates:
        values = _of_systems(settings)
    else:
        values = _of_catalogue(settings, data) if has_catalogue else _of_rows(settings, data)
    return {name: values[name] for name in open_settings(settings) if name in values} | negatives


def _negatives(settings: Settings, data: Interactions) -> dict[str, Any]:
    """How many negatives; and that they are drawn for a whole batch, where the catalogue is large."""
    if settings.num_neg is not None:
        return {}
    if settings.sampler == SHARED:
        return {"num_neg": N_SHARED}
    counts_pairs = settings.batch_size is not None and settings.loss_type != IMPLICIT
    if (
        settings.is_of_pairs
        or counts_pairs
        or settings.sampler != "random"
        or settings.loss_type not in (None, *CATALOGUE_LOSSES)
    ):
        return {"num_neg": 1}
    if len(data.data_info.trained_items) <= LARGE_CATALOGUE:
        return {"num_neg": ALL_ITEMS}
    return {"num_neg": N_SHARED, "sampler": SHARED}


def _of_catalogue(settings: Settings, data: Interactions) -> Mapping[str, Any]:
    n_rows = len(distinct_rows(data)[0])
    if settings.has_sequences:
        small = {"embed_size": 64, "lr": 0.001, "prior": 0.0, "embed_dropout": 0.0}
        return {"loss_type": "softmax", "batch_size": _batch_size(n_rows / 64, 8, 32), "use_bn": False, **small}
    learns_ids = settings.model_name in LEARNS_IDS
    return {
        "loss_type": "softmax",
        "embed_size": 64 if hasattr(settings, "hidden_units") and not learns_ids else 128,
        "hidden_units": (64,),
        "dropout_rate": 0.8 if learns_ids else 0.0,
        "lr": 0.005,
        "batch_size": _batch_size(n_rows / 16, 16),
        "prior": PRIOR if settings.reg is None else 0.0,
        "embed_dropout": 0.0 if settings.loss_type == IMPLICIT else (0.5, 0.0),
        "use_bn": False,
    }


def _of_systems(settings: Settings) -> Mapping[str, Any]:
    """Of what is solved for, all but λ; the last three say nothing to it."""
    is_rating, rest = settings.task == "rating", {"lr": 0.001, "batch_size": 256, "embed_dropout": 0.0}
    loss, size = ("squared", 16) if is_rating else (IMPLICIT, 128)
    return {"loss_type": loss, "embed_size": size, "n_epochs": SWEEPS_OF_ALS, **rest}


def _of_rows(settings: Settings, data: Interactions) -> Mapping[str, Any]:
    is_rating = settings.task == "rating"
    has_norm = is_rating and settings.model_name in NORM_HOLDS_VECTORS
    return {
        "loss_type": "squared" if is_rating else "cross_entropy",
        "embed_size": 16,
        "lr": 0.003 if has_norm else 0.001,
        "batch_size": _batch_size(len(data) / 128, 32),
        "prior": RATING_PRIOR * float(data.labels.std()) if is_rating and settings.reg is None else 0.0,
        "embed_dropout": 0.4 if has_norm else 0.0,
        "use_bn": has_norm or not is_rating,
        "hidden_units": (128, 64, 32),
        "dropout_rate": 0.0,
        "num_neg": 1,
    }


def _batch_size(wanted: float, least: int, most: int = 256) -> int:
    """A power of 2 near what is wanted, so that an epoch of small data has some steps."""
    return min(most, max(least, 2 ** round(math.log2(max(1.0, wanted)))))


def patience_of(settings: Settings) -> int:
    """Epochs without a better figure after which training ends that is to choose the number of epochs."""
    has_fast_epochs = not hasattr(settings, "hidden_units") or settings.model_name in LEARNS_IDS
    return PATIENCE if settings.has_catalogue and has_fast_epochs else LESS_PATIENCE


def metric_of(task: str, neg_sampling: bool) -> str:
    """What the number of epochs is chosen by."""
    if task == "rating":
        return "rmse"
    return "ndcg" if neg_sampling else "log_loss"


def in_order(settings: Settings, data: Interactions) -> bool:
    """Whether rows have an order: that of their times, or for a model that reads it the one in which they stand."""
    return data.has_times or settings.has_sequences or settings.history == RECENT


def hold_out(
    data: Interactions, share: float, by_time: bool, seed: int, for_lists: bool = False
) -> tuple[Interactions, Interactions]:
    """The set without a share of each user's rows, and these: the latest, or some at random.

    Their data does not have them among what users consumed, so that lists can have them; ``for_lists``, rows of pairs
    that stand in other rows, too, are not held out, if there are others. Each user keeps a row.
    """
    users = data.user_indices
    each = uniforms(seed, 0, np.arange(len(data)), 1, purpose=HOLDING_OUT)[:, 0]
    n_users = data.data_info.n_users + 1
    order = rows_by_code_and_time(users, data.times if by_time else each, n_users)
    counts = np.bincount(users, minlength=n_users)
    n_rows = counts[users[order]]
    from_the_end = np.cumsum(counts)[users[order]] - 1 - np.arange(len(order))
    of_user = uniforms(seed, 1, np.arange(len(counts)), 1, purpose=HOLDING_OUT)[:, 0]
    n_held = np.minimum(np.floor(share * n_rows + of_user[users[order]]), n_rows - 1)
    is_held = np.zeros(len(data), bool)
    is_held[order] = from_the_end < n_held
    if for_lists:
        pairs = users.astype(np.int64) * (data.data_info.n_items + 1) + data.item_indices
        is_new = is_held & ~np.isin(pairs, pairs[~is_held])
        is_held = is_new if is_new.any() else is_held
    rest, held = data.take(np.flatnonzero(~is_held)), data.take(np.flatnonzero(is_held))
    info = data.data_info
    sizes = info.n_users, info.n_items
    known = counted_interactions(rest.user_indices, rest.item_indices, rest.labels, *sizes, info.consumed)
    counted = rest.labels > 0 if info.consumed == "positive" else np.ones(len(rest), bool)
    events = rest.user_indices[counted], rest.item_indices[counted]
    log = ConsumedLog.of(*events, rest.times[counted] if info.log.has_times else NO_TIMES, info.n_users)
    without = replace(info, user_consumed=known[0], item_consumed=known[1], liked=known[2], log=log)
    rest, held = (replace(part, data_info=without, users=without.with_log(part.users)) for part in (rest, held))
    return rest, held
