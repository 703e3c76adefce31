"""Losses of scores (B, 1+N), the observed item first, against labels of the same shape.

Those of ``NEED_NEGATIVES`` compare the observed item with its N negatives, and do not look at the labels. Weights
(B, 1) multiply the losses of their rows. The sum is still divided by the number of rows: weights have mean 1 over the
data, not in each batch.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from recolib.checks import SavedFunction, function_name
from recolib.randomness import seeded
from recolib.training.catalogue_losses import IMPLICIT


class Loss(Protocol):
    """Scores (B, 1+N), labels (B, 1+N), and weights (B, 1) or None -> a scalar.

    A function of this kind can be a model's ``loss_type``. The scores of a row are logits, or for rating ratings before
    they are clipped: first that of the observed item, then those of its N negatives, whose labels are 0. N is 0 without
    ``neg_sampling``. A loss that has no value or no gradient for N = 0 needs negatives: ``fit`` then refuses
    ``neg_sampling=False``.

    Examples
    --------
    >>> from recolib.algorithms import FM
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> def hardest_negative(scores, labels, weights=None):
    ...     losses = (1 + scores[:, 1:].max(1, keepdim=True).values - scores[:, :1]).relu()
    ...     return losses.mean() if weights is None else (losses * weights).mean()
    >>> model = FM("ranking", info, loss_type=hardest_negative, num_neg=4, n_epochs=1)
    >>> len(model.fit(data, neg_sampling=True, verbose=0).history_)
    1
    """

    def __call__(self, scores: Tensor, labels: Tensor, weights: Tensor | None = None, /) -> Tensor:
        """The loss of a batch."""
        ...


FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
MARGIN = 1.0
"""How far apart hinge and max-margin loss want scores to be."""


def _mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of losses (B, n), each times its row's weight."""
    return losses.mean() if weights is None else (losses * weights).mean()


def squared(scores: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(scores, labels) if weights is None else _mean((scores - labels).square(), weights)


def cross_entropy(scores: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy of logits."""
    return F.binary_cross_entropy_with_logits(scores, labels, weights)


def focal(scores: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean focal loss, α = 0.25 and γ = 2: cross-entropy in which pairs count less the better they are predicted.

    References
    ----------
    Lin et al., *Focal Loss for Dense Object Detection*, ICCV 2017.
    """
    entropy = F.binary_cross_entropy_with_logits(scores, labels, reduction="none")
    right = scores.sigmoid() * labels + (-scores).sigmoid() * (1 - labels)
    alpha = FOCAL_ALPHA * labels + (1 - FOCAL_ALPHA) * (1 - labels)
    return _mean(alpha * (1 - right) ** FOCAL_GAMMA * entropy, weights)


def hinge(scores: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of max(0, 1 − y·score), y = ±1."""
    return _mean(F.relu(MARGIN - scores * (2 * labels - 1)), weights)


def bpr(scores: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of −log σ(positive − negative) over the pairs of an observed item and a negative.

    References
    ----------
    Rendle et al., *BPR: Bayesian Personalized Ranking from Implicit Feedback*, UAI 2009.
    """
    return _mean(F.softplus(scores[:, 1:] - scores[:, :1]), weights)


def max_margin(scores: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of max(0, 1 − (positive − negative)) over the pairs of an observed item and a negative."""
    return _mean(F.relu(MARGIN - (scores[:, :1] - scores[:, 1:])), weights)


def softmax(scores: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of −log of the observed item's share of a softmax over itself and its negatives."""
    return _mean(scores.logsumexp(-1, keepdim=True) - scores[:, :1], weights)


RATING_LOSS: Loss = squared
RANKING_LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "hinge": hinge,
    "bpr": bpr,
    "max_margin": max_margin,
    "softmax": softmax,
}
NEED_NEGATIVES = ("bpr", "max_margin", "softmax")
"""Losses that need negatives beside each observed item."""
PROBE_ROWS, PROBE_NEGATIVES = 4, 2
"""The size of the scores that a function is tried with."""


def loss_of(loss_type: str | Loss, task: str) -> Loss:
    """The loss of a task by its name, or a function as it is; for rating each name stands for squared error."""
    if not isinstance(loss_type, str):
        return loss_type
    return RATING_LOSS if task == "rating" else RANKING_LOSSES[loss_type]


def needs_negatives(loss_type: str | Loss, task: str) -> bool:
    """Whether a loss compares the observed item with negatives: a function does if it has no gradient without them.

    Raises
    ------
    ValueError
        If it is a function of a saved model, of which only the name is known.
    """
    if isinstance(loss_type, str):
        return task == "ranking" and loss_type in (*NEED_NEGATIVES, IMPLICIT)
    if isinstance(loss_type, SavedFunction):
        loss_type()
    try:
        _try(loss_type, 0, None)
    except (TypeError, ValueError):
        return True
    return False


def check_loss(loss: Loss, task: str) -> None:
    """Raise unless a function gives a finite scalar with a gradient, with weights and without.

    Raises
    ------
    TypeError
        If it cannot be called with scores, labels and weights, or does not give a scalar.
    ValueError
        If the scalar is infinite or NaN, or does not depend on the scores.
    """
    if isinstance(loss, SavedFunction):
        return
    for weights in (None, torch.linspace(0.5, 1.5, PROBE_ROWS).unsqueeze(1)):
        _try(loss, 0 if task == "rating" else PROBE_NEGATIVES, weights)


def _try(loss: Loss, n_negatives: int, weights: Tensor | None) -> None:
    """Call a loss with scores that differ, (4, 1 + n_negatives)."""
    name = f"loss_type={function_name(loss)}"
    scores = torch.linspace(-0.9, 0.8, PROBE_ROWS * (1 + n_negatives)).view(PROBE_ROWS, -1).requires_grad_()
    labels = torch.zeros(PROBE_ROWS, 1 + n_negatives)
    labels[:: 1 if n_negatives else 2, 0] = 1.0  # without negatives, rows bring labels of their own
    with torch.enable_grad(), seeded(torch.device("cpu"), 0, all_code=True):
        try:
            value: object = loss(scores, labels, weights)
        except Exception as error:
            raise TypeError(
                f"{name} must take scores (B, 1+N), labels (B, 1+N), and weights (B, 1) or None; it raised {error!r}"
            ) from error
        if not isinstance(value, Tensor) or value.dim():
            raise TypeError(f"{name} must give a tensor of one number without dimensions, and gave {value!r}")
        if not bool(value.isfinite()):
            raise ValueError(f"{name} must give a finite number, and gave {float(value.detach())}")
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value, scores, allow_unused=True)
            if gradient is not None and bool(gradient.isfinite().all()) and bool(gradient.any()):
                return
        raise ValueError(f"{name} must have a finite gradient by the scores, and has none")
