"""Layers: Linear, batch norm, activation, dropout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recolib.nn.dropout import Dropout
from recolib.nn.fields import FieldSpec, NetworkSide
from recolib.nn.products import linear
from recolib.process_group import ProcessGroup
from recolib.randomness import OwnRows, own_rows

Step = Callable[[Tensor], Tensor]


class BatchNorm(nn.BatchNorm1d):
    """Batch norm over every dimension but the last: (B, n, H) is B·n rows, those of other processes among them.

    eps 1e-3 and momentum 0.1 are those of the papers' TensorFlow code.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-3, momentum=0.1)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each of the last dimension's features."""
        if not self.training:
            scale, shift = self.scale_and_shift()
            return torch.addcmul(shift, input, scale)
        assert self.num_batches_tracked is not None
        rows = input if input.dim() == 2 else input.flatten(0, -2)
        if own_rows() is not None:
            variance, mean = torch.var_mean(rows.to(self.weight.dtype), 0, correction=0)
            scale, shift = self.scale_and_shift_of(mean, variance, len(rows))
            return torch.addcmul(shift, input, scale)
        self.num_batches_tracked.add_(1)
        normed = F.batch_norm(
            rows, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum or 0.0, self.eps
        )
        return normed if input.dim() == 2 else normed.view(input.shape)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, n: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum or 0.0)
        self.running_var.lerp_(variance * (n / (n - 1)), self.momentum or 0.0)

    def scale_and_shift_of(self, mean: Tensor, variance: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Scale and shift, both (H,), of what it does in training with n rows of this mean and variance, (H,)."""
        own = own_rows()
        if own is not None:
            mean, variance, n = _of_all_processes(mean, variance, n, own)
        self._track(mean.detach(), variance.detach(), n)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return scale, self.bias - mean * scale

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Scale and shift, both (H,): in evaluation, batch norm is x·scale + shift."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale


def _of_all_processes(mean: Tensor, variance: Tensor, n: int, own: OwnRows) -> tuple[Tensor, Tensor, int]:
    """The mean and variance of the rows of all processes, and how many there are, with gradients."""
    group = ProcessGroup.current()
    n_here = mean.new_full((1,), float(n * own.counts))
    of_all = group.stack_with_gradients(torch.cat([n_here, mean, variance]))
    n_all = of_all[:, :1].sum()
    shares, means, variances = of_all[:, :1] / n_all, *of_all[:, 1:].chunk(2, 1)
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0), int(n_all)


def glorot(layer: nn.Linear) -> nn.Linear:
    """The layer with Glorot-uniform weights and a bias of 0."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        nn.init.zeros_(layer.bias)
    return layer


class SideLinear(nn.Linear):
    """A linear layer over the vectors of all fields, cut between the sides.

    W [e_user; e_item] = W_user e_user + W_item e_item: each side's product is computed once. There is one weight, of
    which each side uses its columns, so that fan-in and initialisation are those of the uncut layer.

    Parameters
    ----------
    spec
        The fields.
    width
        The number of outputs H.
    bias
        Whether there is a bias.
    """

    def __init__(self, spec: FieldSpec, width: int, bias: bool = True) -> None:
        super().__init__(spec.n_positions * spec.dim, width, bias)
        self.spec = spec
        glorot(self)

    def columns(self, side: NetworkSide) -> Tensor:
        """The side's columns of the weight, (H, F·K of the side)."""
        span, dim = self.spec.span(side), self.spec.dim
        return self.weight[:, span.start * dim : span.stop * dim]

    def share(self, side: NetworkSide, vectors: Tensor) -> Tensor:
        """A side's share of the output, (..., F·K of the side) -> (..., H); the bias goes with the user."""
        return F.linear(vectors, self.columns(side), self.bias if side == "user" else None)


def fold(norm: BatchNorm | None, layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias of a batch norm and the layer after it, as one layer in evaluation."""
    if norm is None:
        return layer.weight, layer.bias
    scale, shift = norm.scale_and_shift()
    return layer.weight * scale, layer.bias + layer.weight @ shift


def fold_after(layer: nn.Linear, norm: BatchNorm | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer and the batch norm after it, as one layer in evaluation."""
    if norm is None:
        return layer.weight, layer.bias
    scale, shift = norm.scale_and_shift()
    return layer.weight * scale.unsqueeze(1), torch.addcmul(shift, layer.bias, scale)


class Perceptron(nn.Sequential):
    """Layers in a row, those of ``after_linear`` and ``mlp``.

    In evaluation each batch norm is folded into its Linear. Without gradients the folded layers are cached until
    weights can have changed: ``train``, ``eval``, ``load_state_dict`` and moves to another device or type clear the
    cache, and a copy starts with an empty one. Code that writes weights in place in evaluation must call ``eval()``
    afterwards.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self._folded: dict[int, list[Step]] = {}
        self.register_load_state_dict_post_hook(_clear_folded)

    def forward(self, input: Tensor) -> Tensor:
        """The layers' output for ``input``, which in evaluation they may overwrite."""
        if not self.training:
            return self.folded(input)
        rows = super().forward(input.flatten(0, -2))  # as rows once, not at each layer
        return rows.view(*input.shape[:-1], rows.shape[-1])

    @torch.no_grad()
    def start_at_zero(self) -> None:
        """Let the output be zero: the last Linear learns first, and the others from it."""
        last = self[-1]
        assert isinstance(last, nn.Linear)
        last.weight.zero_()

    def folded(self, input: Tensor, start: int = 0) -> Tensor:
        """The output of the layers from ``start`` on in evaluation, each batch norm folded into its Linear."""
        folded = self._folded  # read before the weights: if they change meanwhile, this is no longer the cache
        if torch.is_grad_enabled():
            steps = self._fold(start)
        elif start in folded:
            steps = folded[start]
        else:
            steps = folded[start] = self._fold(start)
        for step in steps:
            input = step(input)
        return input

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation, and clear the cache."""
        self._folded = {}
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._folded = {}
        return self

    def __getstate__(self) -> dict[str, Any]:
        """All but the cache."""
        return self.__dict__ | {"_folded": {}}

    def _fold(self, start: int) -> list[Step]:
        layers = [layer for layer in self if not isinstance(layer, Dropout)][start:]
        steps: list[Step] = []
        for layer, before, after in zip(layers, [None, *layers], [*layers[1:], None], strict=False):
            if isinstance(layer, nn.Linear):
                weight, bias = fold_after(layer, after if isinstance(after, BatchNorm) else None)
                steps.append(partial(linear, weight=weight, bias=bias))
            elif isinstance(layer, nn.ReLU):
                if steps and isinstance(steps[-1], partial):
                    steps[-1] = partial(steps[-1], relu=True)  # pyright: ignore[reportCallIssue]
                else:
                    steps.append(torch.relu_)
            elif before is None:  # a batch norm after no Linear
                steps.append(layer)
        return steps


def _clear_folded(module: nn.Module, _keys: object) -> None:
    assert isinstance(module, Perceptron)
    module._folded = {}  # pyright: ignore[reportPrivateUsage]


def after_linear(width: int, use_bn: bool, dropout: float) -> list[nn.Module]:
    """The layers after a hidden Linear: batch norm, ReLU, dropout."""
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
