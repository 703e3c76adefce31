"""Losses of scores (B, 1+N), the observed item first, against labels of the same shape.

Those of ``NEED_NEGATIVES`` set the observed item against its N negatives, and do not look at the labels. Weights (B, 1)
multiply the losses of their rows. The mean is over rows as before: weights have mean 1 over the data, not in a batch.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor
from torch.nn import functional as F


class Loss(Protocol):
    """Logits (B, 1+N), labels (B, 1+N), and weights (B, 1) or none -> a scalar."""

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
    """Mean focal loss, α = 0.25 and γ = 2: cross-entropy that counts pairs less the surer they are right.

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
