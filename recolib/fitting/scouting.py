"""Scouting: what held-out rows say of settings that are left open, by models that are trained on the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from tqdm.auto import tqdm

from recolib.data.interactions import Interactions
from recolib.evaluation import evaluate
from recolib.evaluation.metrics import less_is_better
from recolib.fitting.defaults import (
    FIRST_PRIOR,
    LIST_LENGTH,
    MOST_EPOCHS,
    N_MEASURED,
    PRIORS_OF_ALS,
    metric_of,
    patience_of,
)
from recolib.fitting.item_to_item import WITHOUT, chosen_by_rows
from recolib.fitting.search import best_on_the_way, between
from recolib.settings import Settings
from recolib.training.stopping import EarlyStopping

ModelT = TypeVar("ModelT", bound=Settings)


def scout(
    model: ModelT, rest: Interactions, held: Interactions, neg_sampling: bool, verbose: int, **how: object
) -> ModelT:
    """A model of the same settings, trained on some rows for as long as it gets better on the others.

    Where the prior is open, each of some is tried for all epochs instead, and the best of these models is returned.

    Parameters
    ----------
    model
        What is to be fitted.
    rest, held
        The rows to train on, and those that are held out.
    neg_sampling, verbose, how
        As in ``fit``.
    """
    metric = metric_of(model.task, neg_sampling)
    if verbose:
        tqdm.write(f"{len(held)} rows are held out to choose {chosen_by_rows(model)}")
    if model.prior is None:
        return _of_priors(model, rest, held, neg_sampling, verbose, metric, how)
    measured = {"metrics": [metric], "k": LIST_LENGTH, "eval_user_num": N_MEASURED}
    stopping = EarlyStopping(metric, patience_of(model))
    n_epochs = MOST_EPOCHS if model.n_epochs is None else model.n_epochs
    found: Any = replace(model, data_info=rest.data_info, n_epochs=n_epochs, **WITHOUT)
    return found.fit(rest, neg_sampling, verbose, eval_data=held, early_stopping=stopping, **measured, **how)


def _of_priors(
    model: ModelT,
    rest: Interactions,
    held: Interactions,
    neg_sampling: bool,
    verbose: int,
    metric: str,
    how: Mapping[str, object],
) -> ModelT:
    """The best of some models, each of another prior."""
    best, figures = (-math.inf, model), dict[float, float]()

    def figure(prior: float) -> float:
        nonlocal best
        found: Any = replace(model, data_info=rest.data_info, prior=prior, **WITHOUT)
        found.fit(rest, neg_sampling, 0, **how)
        measured = evaluate(found, held, neg_sampling, metrics=[metric], k=LIST_LENGTH, sample_user_num=N_MEASURED)
        if verbose:
            tqdm.write(f"prior={prior:.3g}: {metric} {measured[metric]:.4f}")
        value = -measured[metric] if less_is_better(metric) else measured[metric]
        figures[prior] = value
        best = max(best, (value, cast("ModelT", found)), key=lambda one: one[0])
        return value

    best_on_the_way(PRIORS_OF_ALS, FIRST_PRIOR, figure)
    if (top := between(figures)) is not None:
        figure(top)
    return best[1]
