"""Dropout from raw random bits, which is where a training step would else spend a third of its time."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 2**16
"""Rates are rounded to 1/65,536: 16 bits of its own say whether an element is hidden."""


def dropout(input: Tensor, rate: float, training: bool = True) -> Tensor:
    """Hide each element with chance ``rate`` in training, and scale the others by 1 / (1 − rate)."""
    if not (rate and training):
        return input
    if input.device.type != "cpu":
        return F.dropout(input, rate)
    bits = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = bits.view(torch.int16)[: input.numel()].view(input.shape)
    hidden = min(round(rate * LEVELS), LEVELS - 1)
    return cast("Tensor", _Dropout.apply(input, bits >= hidden - LEVELS // 2, LEVELS / (LEVELS - hidden)))


class _Dropout(torch.autograd.Function):
    """``input`` where ``kept``, times ``scale``, else 0; a byte an element is kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, kept: Tensor, scale: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Hide elements."""
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return torch.where(kept, input, 0.0).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Hide their gradients."""
        (kept,) = ctx.saved_tensors
        return torch.where(kept, gradient, 0.0).mul_(ctx.scale), None, None


class Dropout(nn.Module):
    """``dropout`` as a layer."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, input: Tensor) -> Tensor:
        """Hide elements in training."""
        return dropout(input, self.rate, self.training)
