"""Checks of arguments and settings, each with a message that names it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

import numpy as np
import torch

from recolib.exceptions import NotBoolError

MAX_LAYERS = 100
BEYOND_SEEDS = 2**63
"""Above all seeds that torch's generators take."""


def check_integer(name: str, value: object, low: int, high: int | None = None) -> None:
    """Raise unless ``value`` is an integer of at least ``low``, and below ``high`` if there is one."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value}")
    if high is not None and value >= high:
        raise ValueError(f"{name} must be below {high}, got {value}")


def check_number(name: str, value: object, low: float, high: float = float("inf"), open_low: bool = False) -> None:
    """Raise unless ``value`` is a number with low ≤ value < high, or low < value < high with ``open_low``."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not (low < value if open_low else low <= value) or not value < high:
        bounds = f"{'above' if open_low else 'at least'} {low:g}" + (
            f" and below {high:g}" if high < float("inf") else ""
        )
        raise ValueError(f"{name} must be {bounds}, got {value!r}")


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise unless ``value`` is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}, got {value!r}{suggestion(value, choices)}")


def check_choice_or_function(name: str, value: object, choices: Collection[str]) -> None:
    """Raise unless ``value`` is one of ``choices``, or a function."""
    if not (value in choices if isinstance(value, str) else callable(value)):
        hint = suggestion(value, choices)
        raise ValueError(f"{name} must be one of {list(choices)} or a function, got {value!r}{hint}")


def check_bool(name: str, value: object) -> None:
    """Raise unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise NotBoolError(f"{name} must be True or False, got {value!r}")


def check_verbose(verbose: object) -> None:
    """Raise unless it is a number from 0 on; True and False are 1 and 0."""
    check_integer("verbose", int(verbose) if isinstance(verbose, bool) else verbose, 0)


def is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: half of a surrogate pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_device(device: object) -> None:
    """Raise unless ``device`` is ``"auto"`` or a device that this torch can use."""
    if device == "auto":
        return
    if str(device).startswith("meta"):
        raise ValueError(
            f"device must be 'auto' or a device that torch can use, got {device!r}, which holds no numbers"
        )
    try:
        torch.empty(0, device=cast("str", device))
    except (RuntimeError, AssertionError, TypeError) as error:
        problem = str(error).splitlines()[0]
        raise ValueError(f"device must be 'auto' or a device that torch can use, got {device!r}: {problem}") from None


def check_names(names: Collection[str], known: Sequence[str], what: str) -> None:
    """Raise unless each name is a known one; the message suggests the nearest."""
    for name in names:
        if name not in known:
            near = nearest(str(name), known)
            hint = f"did you mean {near!r}?" if near is not None else f"there are {list(known)}"
            raise ValueError(f"{name!r} is not {what}; {hint}")


SAME = (
    "embed_size embedding_size embedding_dim embed_dim emb_size emb_dim factors n_factors num_factors latent_dim dim",
    "n_epochs epochs epoch num_epochs max_epochs n_iter num_iter iterations",
    "lr learning_rate eta alpha",
    "reg l2 l2_reg weight_decay regularization lambda",
    "num_neg n_neg neg_num num_negatives n_negatives negatives neg_ratio num_negs",
    "seed random_state random_seed",
    "hidden_units hidden_size hidden_sizes hidden_layers layers layer_sizes dnn_hidden_units mlp_dims",
    "batch_size bs batch train_batch_size",
    "loss_type loss loss_fn objective criterion",
    "use_bn batch_norm batchnorm bn",
    "dropout_rate dropout drop_rate dropout_prob",
    "clip_norm grad_clip max_grad_norm gradient_clip",
    "device cuda gpu use_gpu",
    "multi_sparse_combiner combiner pooling",
    "epsilon eps",
    "precision amp dtype fp16",
    "roc_auc auc auroc roc_auc_score",
    "roc_gauc gauc",
    "pr_auc ap average_precision auprc",
    "hit_rate hr hit hits hit_ratio",
    "map mean_average_precision",
    "mrr reciprocal_rank mean_reciprocal_rank",
    "ndcg dcg normalized_dcg",
    "log_loss logloss logistic_loss bce cross_entropy",
    "balanced_accuracy accuracy acc",
    "rmse mse root_mean_squared_error",
    "mae mean_absolute_error l1",
    "bf16 bfloat16 half",
    "cross_entropy bce binary_cross_entropy log_loss logloss logistic",
    "squared mse l2 squared_error",
    "max_margin margin triplet warp hinge_rank",
    "softmax sampled_softmax multinomial ce",
    "unconsumed unseen unobserved",
    "popular popularity frequency",
    "random uniform",
    "average mean",
    "ranking rank implicit classification",
    "rating ratings explicit regression",
)
"""What libraries call the same; the first word is recolib's, where it has it."""


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that a wrong one means: in other libraries' words, as one of its words, or closest in letters."""
    word = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    same = next((one for one in known if one.lower() == word), None)
    if same is not None:
        return same
    for line in SAME:
        first, *others = line.split()
        if word in others and first in known:
            return first
    found = next((one for one in known if word in one.lower().split("_")), None)
    return found or next(iter(get_close_matches(name, known, 1) or get_close_matches(word, known, 1)), None)


def suggestion(name: object, known: Collection[str]) -> str:
    """What to add to a message that refuses a name: the known one that is nearest, if there is one."""
    near = nearest(name, known) if isinstance(name, str) else None
    return "" if near is None else f"; did you mean {near!r}?"


def as_widths(name: str, value: object) -> tuple[int, ...]:
    """Layer widths as a tuple; a single integer is one layer."""
    widths = (value,) if isinstance(value, int | np.integer) else value
    if not isinstance(widths, Sequence) or isinstance(widths, str) or not widths:
        raise ValueError(f"{name} must be a list of layer widths, at least one, got {value!r}")
    if not all(isinstance(w, int | np.integer) and not isinstance(w, bool) and w >= 1 for w in widths):
        raise ValueError(f"{name} must be a list of integers of at least 1, got {value!r}")
    if len(widths) > MAX_LAYERS:
        raise ValueError(f"{name} must have at most {MAX_LAYERS} layers, got {len(widths)}")
    return tuple(int(width) for width in widths)


@dataclass(frozen=True, repr=False)
class SavedFunction:
    """The name of a function that was a setting of a saved model. The function itself is not in the file."""

    setting: str
    name: str

    def __repr__(self) -> str:
        """The name."""
        return self.name

    def __call__(self, *arguments: object) -> Any:
        """Refuse to stand in for the function.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(
            f"{self.setting} was the function {self.name} when the model was saved: "
            f"set model.{self.setting} = ... before fit"
        )


def readable(value: object) -> str:
    """A setting as code has it; a function by its name."""
    return function_name(value) if callable(value) else repr(value)


def function_name(function: object) -> str:
    """The name of a function with its module; of an object that can be called, that of its class."""
    if isinstance(function, SavedFunction):
        return function.name
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{cast('Any', named).__qualname__}"
