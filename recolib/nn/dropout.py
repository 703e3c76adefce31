"""Dropout from raw random bits, which is where a training step would else spend a third of its time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 2**16
"""Rates are exact to 1/65,536: an element is kept by 16 bits of its own."""


def dropout(input: Tensor, rate: float, training: bool = True) -> Tensor:
    """Hide each element with chance ``rate`` in training, and scale the others by 1 / (1 − rate)."""
    if not (rate and training):
        return input
    if input.device.type != "cpu":
        return F.dropout(input, rate)
    bits = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = bits.view(torch.int16)[: input.numel()].view(input.shape)
    kept = bits >= round(rate * STEPS) - STEPS // 2
    return input * kept.to(input.dtype).mul_(1 / (1 - rate))


class Dropout(nn.Module):
    """``dropout`` as a layer."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, input: Tensor) -> Tensor:
        """Hide elements in training."""
        return dropout(input, self.rate, self.training)
