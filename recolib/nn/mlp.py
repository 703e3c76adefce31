"""Layers: Linear, batch norm, activation, dropout."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recolib.nn.dropout import Dropout


class BatchNorm(nn.BatchNorm1d):
    """Batch norm over every dimension but the last: (B, n, H) is B·n rows.

    eps 1e-3 and momentum 0.1 are what the papers' TensorFlow code used.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-3, momentum=0.1)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each of the last dimension's features."""
        if not self.training:
            scale, shift = self.scale_and_shift()
            return torch.addcmul(shift, input, scale)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        rows = input.flatten(0, -2)
        normed = F.batch_norm(
            rows, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum or 0.0, self.eps
        )
        return normed.view(input.shape)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Scale and shift, both (H,), of what it does in evaluation: x·scale + shift."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale


def glorot(layer: nn.Linear) -> nn.Linear:
    """The layer with Glorot-uniform weights and a bias of 0."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        nn.init.zeros_(layer.bias)
    return layer


def fold(norm: BatchNorm | None, layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias of batch norm and the layer behind it as one layer, as they are in evaluation."""
    if norm is None:
        return layer.weight, layer.bias
    scale, shift = norm.scale_and_shift()
    return layer.weight * scale, layer.bias + layer.weight @ shift


def fold_behind(layer: nn.Linear, norm: BatchNorm | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer and the batch norm behind it as one layer, as they are in evaluation."""
    if norm is None:
        return layer.weight, layer.bias
    scale, shift = norm.scale_and_shift()
    return layer.weight * scale.unsqueeze(1), torch.addcmul(shift, layer.bias, scale)


class Perceptron(nn.Sequential):
    """Layers in a row, those of ``after_linear`` and ``mlp``."""

    def forward(self, input: Tensor) -> Tensor:
        """The layers' output for ``input``, which in evaluation they may overwrite."""
        return super().forward(input) if self.training else self.folded(input)

    def folded(self, input: Tensor, start: int = 0) -> Tensor:
        """What the layers from ``start`` on make of ``input`` in evaluation, each batch norm as part of its Linear."""
        layers = [layer for layer in self if not isinstance(layer, Dropout)][start:]
        for layer, before, after in zip(layers, [None, *layers], [*layers[1:], None], strict=False):
            if isinstance(layer, nn.Linear):
                input = F.linear(input, *fold_behind(layer, after if isinstance(after, BatchNorm) else None))
            elif isinstance(layer, nn.ReLU):
                input = input.relu_()
            elif before is None:  # a batch norm behind no Linear
                input = layer(input)
        return input


def after_linear(width: int, use_bn: bool, dropout: float) -> list[nn.Module]:
    """What follows a hidden layer: batch norm, ReLU, dropout."""
    return [*([BatchNorm(width)] if use_bn else []), nn.ReLU(), *([Dropout(dropout)] if dropout else [])]


def mlp(widths: Sequence[int], use_bn: bool, dropout: float, plain_last: bool = False) -> list[nn.Module]:
    """Hidden layers from ``widths[0]`` inputs on, each as in ``after_linear``, and a last Linear to one output.

    With ``plain_last`` nothing follows the last hidden layer.
    """
    layers: list[nn.Module] = []
    for number, (n_in, n_out) in enumerate(pairwise(widths), start=2):
        layers.append(glorot(nn.Linear(n_in, n_out)))
        if not (plain_last and number == len(widths)):
            layers += after_linear(n_out, use_bn, dropout)
    return [*layers, glorot(nn.Linear(widths[-1], 1))]
