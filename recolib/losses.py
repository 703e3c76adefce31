"""Losses of scores (B, 1+N), the observed item first, against labels of the same shape."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, 1+N) and labels (B, 1+N) -> a scalar."""

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


def squared(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(scores, labels)


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy of logits."""
    return F.binary_cross_entropy_with_logits(scores, labels)


def focal(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean focal loss, α = 0.25 and γ = 2: cross-entropy that counts pairs less the surer they are right.

    References
    ----------
    Lin et al., *Focal Loss for Dense Object Detection*, ICCV 2017.
    """
    entropy = F.binary_cross_entropy_with_logits(scores, labels, reduction="none")
    right = scores.sigmoid() * labels + (-scores).sigmoid() * (1 - labels)
    alpha = FOCAL_ALPHA * labels + (1 - FOCAL_ALPHA) * (1 - labels)
    return (alpha * (1 - right) ** FOCAL_GAMMA * entropy).mean()


RATING_LOSS: Loss = squared
RANKING_LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "focal": focal}
