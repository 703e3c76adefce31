"""What a fit is given: plain arguments and a model to start from, checked, and the rows to train on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from recolib.checks import check_bool, check_integer, check_number, check_verbose, readable
from recolib.data.interactions import Interactions
from recolib.evaluation.measurement import check_labels
from recolib.exceptions import warn
from recolib.sampling import check_num_neg
from recolib.settings import Settings
from recolib.training.losses import needs_negatives
from recolib.training.replay import Replayed

MUST_AGREE = ("task", "embed_size", "multi_sparse_combiner")
"""Settings that a model shares with the FM that it starts from."""


def check_arguments(
    flags: Mapping[str, object],
    validation: object,
    num_workers: object,
    verbose: object,
    eval_user_num: object,
    callbacks: object,
) -> None:
    """Raise unless those arguments of ``fit`` that nothing else reads are of their kind."""
    for name, flag in flags.items():
        check_bool(name, flag)
    check_number("validation", validation, 0, 0.5, open_low=True)
    check_integer("num_workers", num_workers, 0)
    check_verbose(verbose)
    if eval_user_num is not None:
        check_integer("eval_user_num", eval_user_num, 1)
    if not isinstance(callbacks, Sequence) or not all(callable(one) for one in cast("Sequence[object]", callbacks)):
        raise TypeError(f"callbacks must be a list of functions, got {callbacks!r}")


def check_start(settings: Settings, fm: object, freeze_fm: bool, is_new: bool) -> None:
    """Raise unless ``fm`` is nothing, or for a new model one of the settings' task, data and vectors."""
    if freeze_fm and fm is None and is_new:
        raise ValueError("freeze_fm=True needs init_from, or a model that was trained before")
    if fm is None:
        return
    if not isinstance(fm, Settings):
        raise TypeError(f"init_from must be a fitted FM, got {type(fm).__name__}")
    if not is_new:
        raise ValueError("init_from is for a model that was not trained before: make a new one")
    for name in MUST_AGREE:
        own, other = getattr(settings, name), getattr(fm, name)
        if own != other:
            mine = "leaves it open" if own is None else repr(own)
            raise ValueError(f"init_from has {name}={other!r}, and this model {mine}: pass {name}={other!r}")
    if settings.data_info.fingerprint != fm.data_info.fingerprint:
        raise ValueError(f"init_from was trained on other data ({fm.data_info}) than this model's")


def training_rows(data: Interactions, settings: Settings, neg_sampling: bool, alone: bool = True) -> Interactions:
    """The rows to train on: all, or with sampling those whose label is above 0.

    Parameters
    ----------
    data, settings, neg_sampling
        What is to be trained, and how.
    alone
        Whether these are all. If known events are to stand beside them, they may be a single one, and alike.

    Raises
    ------
    TypeError
        If ``data`` is not an encoded set.
    ValueError
        If it is one of other data or has unknown ids, or its labels or the settings do not suit ``neg_sampling``.
    """
    if not isinstance(data, Interactions):
        raise TypeError(f"train_data must be what build_trainset returned, got {type(data).__name__}")
    if isinstance(data, Replayed):
        return data
    data.refuse_other(settings.data_info)
    if not (data.user_indices.all() and data.item_indices.all()):
        raise ValueError("train_data has users or items that data_info does not know: build it with build_trainset")
    if settings.alternates and settings.task == "ranking" and not neg_sampling:
        raise ValueError(
            f"{settings.model_name} sets what was observed against all that was not, and has no labels of 0: pass "
            "neg_sampling=True, or choose another algorithm"
        )
    if neg_sampling and settings.sampler is None:
        raise ValueError("neg_sampling=True needs a sampler, got sampler=None")
    if settings.loss_type is not None and needs_negatives(settings.loss_type, settings.task) and not neg_sampling:
        raise ValueError(
            f"loss_type={readable(settings.loss_type)} sets an observed item against negatives: pass neg_sampling=True"
        )
    check_labels(data, settings.task, neg_sampling)
    if neg_sampling and isinstance(settings.num_neg, int):
        check_num_neg(settings.num_neg, settings.data_info)
    if neg_sampling:
        unobserved = data.labels <= 0
        if unobserved.all():
            raise ValueError("no label is above 0: with neg_sampling=True there is no positive row")
        if unobserved.any():
            n_left_out = int(unobserved.sum())
            warn(f"{n_left_out} rows with label 0 or below are left out: neg_sampling=True draws negatives")
            data = data.take(np.flatnonzero(~unobserved))
    elif alone and settings.task == "ranking" and data.labels.min() == data.labels.max():
        warn(f"all labels are {data.labels[0]:g}: there is nothing to tell apart, or neg_sampling=True is meant")
    if alone and len(data) < 2:
        raise ValueError(f"training needs at least 2 rows, got {len(data)}")
    if not (data.weights.min() >= 0 and 0 < data.weights.max() < np.inf):
        raise ValueError("weights must be finite, at least 0, and above 0 in some of the rows to train on")
    return data
