"""Hidden layers over all pairs of users and a catalogue, in blocks of pairs that stay in the processor's cache.

A hidden layer of G users and M items is a tensor (G, M, H) of hundreds of megabytes, and to write and read it takes
longer than its products. ``over_pairs`` goes through some thousand pairs at a time, from what the sides give to the
output, and keeps nothing else; the gradient computes each block again. Only batch norm behind the first layer needs a
layer as a whole, since its mean and variance are those over all pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from recolib.nn.dropout import Dropout, PairDropout
from recolib.nn.mlp import BatchNorm
from recolib.nn.products import linear, weight_gradient

N_USERS, N_ITEMS = 16, 384
"""Users and items of a block in float32, 1.5 MB of 64 numbers; in bfloat16 twice as many items."""
N_PAIRS = 4096
"""Pairs from which on blocks pay."""
ON_ACCELERATOR = 2**26
"""Numbers that are held at once on an accelerator, 256 MB: it has no use for a cache, and each call of it costs."""


def at_once(numbers: int, device: torch.device) -> int:
    """How many numbers to hold at once: so many, which stay in a processor's cache, or what fills an accelerator."""
    return numbers if device.type == "cpu" else max(numbers, ON_ACCELERATOR)


class Join(Protocol):
    """What begins a block: the first tensor of pairs (g, m, H), from its parts.

    Parts of three dimensions are of users (g, 1, ...), items (1, m, ...) or pairs (g, m, ...); others are whole.
    """

    def __call__(self, *parts: Tensor) -> Tensor:
        """The tensor, new."""
        ...

    def gradients(self, gradient: Tensor, *parts: Tensor) -> Sequence[Tensor]:
        """Of each part, from the tensor's, which may be overwritten."""
        ...


def summed(pairs: Tensor, axis: int | tuple[int, int]) -> Tensor:
    """The sum over users (0), items (1) or both, with as many dimensions as before unless over both."""
    return pairs.sum(axis, keepdim=isinstance(axis, int), dtype=_wide(pairs.dtype))


class Sums:
    """u + i."""

    def __call__(self, *parts: Tensor) -> Tensor:
        """Of users (g, 1, H) and items (1, m, H)."""
        user, item = parts
        return user + item

    def gradients(self, gradient: Tensor, *parts: Tensor) -> Sequence[Tensor]:
        """The sums over the other side."""
        return summed(gradient, 1), summed(gradient, 0)


class Affine:
    """x · scale + shift, of pairs."""

    def __call__(self, *parts: Tensor) -> Tensor:
        """Of pairs (g, m, H), scale and shift (H,)."""
        pairs, scale, shift = parts
        return torch.addcmul(shift, pairs.to(scale.dtype), scale).to(pairs.dtype)

    def gradients(self, gradient: Tensor, *parts: Tensor) -> Sequence[Tensor]:
        """Of all three."""
        pairs, scale, _ = parts
        gradient = gradient.to(scale.dtype)  # in bfloat16, what cancels in both sums would be lost
        return gradient * scale, (gradient * pairs).sum((0, 1)), gradient.sum((0, 1))


class Weights(NamedTuple):
    """A linear layer's weight (H', H) and bias (H',)."""

    weight: Tensor
    bias: Tensor


Layer = nn.Module | Weights


@cache
def _keep_freed_memory() -> None:
    """Let the C library keep what a block frees for the next one, up to 64 MB.

    To give it back to the system and to ask for it again takes as long as a block's products. glibc keeps twice as much
    as the largest piece of up to 32 MB that was freed so far.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)


@dataclass(frozen=True)
class _Step:
    """A linear layer, and what comes before it: ReLU or none, and dropout or none."""

    relu: bool
    dropout: PairDropout | None


def pays(training: bool, user: Tensor, item: Tensor) -> bool:
    """Whether to go block by block: in training, on a processor, for users (G, 1, H) and a catalogue (1, M, H)."""
    n_pairs = user.shape[0] * item.shape[1]
    return training and item.shape[0] == 1 and n_pairs >= N_PAIRS and user.device.type == "cpu"


def n_kept(layers: Iterable[nn.Module]) -> int:
    """How many numbers of each pair layers keep in training: those that a batch norm sees, and the output."""
    return 1 + sum(layer.num_features for layer in layers if isinstance(layer, BatchNorm))


def over_pairs(layers: Iterable[Layer], join: Join, *parts: Tensor) -> Tensor:
    """Layers over the joined parts of every pair in training, (G, M, H).

    Parameters
    ----------
    layers
        ReLU, dropout, linear and batch norm, in the order of ``mlp``; a batch norm is neither the first nor the last.
    join
        Makes what the first of them sees.
    parts
        What it makes that of: users (G, 1, ...) and items (1, M, ...).
    """
    device = parts[0].device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else parts[0].dtype
    n_users, n_items = torch.broadcast_shapes(*[part.shape[:2] for part in parts])
    _keep_freed_memory()
    with torch.autocast(device, enabled=False):
        piece = _Piece(join, list(parts))
        relu, dropout = False, None
        for layer in layers:
            if isinstance(layer, BatchNorm):
                pairs, mean, variance = piece.run(dtype, moments=True)
                scale, shift = layer.scale_and_shift_of(mean, variance, n_users * n_items)
                piece = _Piece(Affine(), [pairs, scale, shift])
            elif isinstance(layer, nn.ReLU):
                relu = True
            elif isinstance(layer, Dropout):
                if layer.rate:
                    dropout = PairDropout.draw(layer.rate, n_users, n_items, piece.width, parts[0].device)
            else:
                assert isinstance(layer, (nn.Linear, Weights))
                piece.add(_Step(relu, dropout), layer.weight, layer.bias)
                relu, dropout = False, None
        return piece.run(dtype, moments=False)[0]


class _Piece:
    """Steps that a block goes through without a look at all pairs, and their tensors.

    The scale of dropout goes into the weights behind it.
    """

    def __init__(self, join: Join, parts: list[Tensor]) -> None:
        self.join, self.parts = join, parts
        self.steps: list[_Step] = []
        self.weights: list[Tensor] = []
        self.width = parts[0].shape[-1]

    def add(self, step: _Step, weight: Tensor, bias: Tensor) -> None:
        if step.dropout is not None:
            weight = weight * step.dropout.scale
        self.steps.append(step)
        self.weights += [weight, bias]
        self.width = len(weight)

    def run(self, dtype: torch.dtype, moments: bool) -> tuple[Tensor, Tensor, Tensor]:
        parts = [part.to(dtype) if part.dim() == 3 else part for part in self.parts]
        tensors = *parts, *(weight.to(dtype) for weight in self.weights)
        return cast("tuple[Tensor, Tensor, Tensor]", _Blocks.apply(self.join, self.steps, moments, *tensors))


def _blocks(shape: Sequence[int], dtype: torch.dtype) -> Iterator[tuple[slice, slice]]:
    for users in _spans(shape[0], N_USERS):
        for items in _spans(shape[1], N_ITEMS * 4 // dtype.itemsize):
            yield users, items


def _spans(n: int, size: int) -> list[slice]:
    """0 to n in spans of ``size`` or somewhat more, or one that is less."""
    n_spans = max(1, n // size)
    bounds = [n * number // n_spans for number in range(n_spans + 1)]
    return [slice(begin, end) for begin, end in pairwise(bounds)]


def _cut(tensor: Tensor, users: slice, items: slice) -> Tensor:
    """A block's part of a tensor; what has one row or no rows is whole."""
    if tensor.dim() < 3:
        return tensor
    return tensor[users if tensor.shape[0] > 1 else slice(None), items if tensor.shape[1] > 1 else slice(None)]


class _Blocks(torch.autograd.Function):
    """A piece for all pairs: the output (G, M, H), and its mean and variance (H,) over the pairs, or zeros."""

    @staticmethod
    def forward(ctx: Any, join: Join, steps: Sequence[_Step], moments: bool, *tensors: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Block by block."""
        parts, weights = tensors[: -2 * len(steps)], tensors[-2 * len(steps) :]
        shape = torch.broadcast_shapes(*[part.shape[:2] for part in parts if part.dim() == 3])
        output = tensors[0].new_empty(*shape, len(weights[-1]))
        pivot = torch.zeros_like(weights[-1], dtype=_wide(output.dtype))
        sums, squares = torch.zeros_like(pivot), torch.zeros_like(pivot)
        for number, (users, items) in enumerate(_blocks(shape, output.dtype)):
            inputs = _inputs(join, steps, weights, [_cut(part, users, items) for part in parts], users, items)
            block = linear(inputs[-1], weights[-2], weights[-1])
            output[users, items] = block
            if moments:
                pivot = block.mean((0, 1), dtype=pivot.dtype) if number == 0 else pivot
                off = block - pivot  # so that no digits cancel
                sums += off.sum((0, 1))
                squares += off.square_().sum((0, 1))
        n = shape[0] * shape[1]
        mean, variance = pivot + sums / n, squares / n - (sums / n).square()
        ctx.join, ctx.steps, ctx.moments = join, steps, moments
        ctx.save_for_backward(*tensors, *((output, mean) if moments else ()))
        return output, mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, of_mean: Tensor, of_variance: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Each block again, and its gradient."""
        tensors, output = ctx.saved_tensors, None
        constant = slope = of_mean  # which are for moments alone
        if ctx.moments:
            *tensors, output, mean = tensors
            n = gradient.shape[0] * gradient.shape[1]
            slope = of_variance * (2 / n)
            constant = of_mean / n - slope * mean
        n_weights = 2 * len(ctx.steps)
        parts, weights = tensors[:-n_weights], tensors[-n_weights:]
        totals = [torch.zeros_like(tensor, dtype=_wide(tensor.dtype)) for tensor in tensors]
        of_parts, of_weights = totals[:-n_weights], totals[-n_weights:]
        for users, items in _blocks(gradient.shape, gradient.dtype):
            cut = [_cut(part, users, items) for part in parts]
            inputs = _inputs(ctx.join, ctx.steps, weights, cut, users, items)
            current = gradient[users, items]
            if output is not None:
                current = torch.addcmul(current + constant, output[users, items], slope).to(gradient.dtype)
            for number in reversed(range(len(inputs))):
                input, step, at = inputs[number], ctx.steps[number], 2 * number
                of_input, of_weight = _product_gradients(current, input, weights[at])
                of_weights[at] += of_weight
                of_weights[at + 1] += summed(current, (0, 1))
                current = of_input
                if step.relu:  # what dropout hid is 0, too
                    torch.ops.aten.threshold_backward.grad_input(current, input, 0, grad_input=current)
                elif step.dropout is not None:
                    current *= step.dropout.kept(users, items, current.dtype)
            for whole, part in zip(of_parts, ctx.join.gradients(current, *cut), strict=True):
                _cut(whole, users, items).add_(part)
        return None, None, None, *[whole.to(tensor.dtype) for whole, tensor in zip(totals, tensors, strict=True)]


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The type of sums."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


def _inputs(
    join: Join, steps: Sequence[_Step], weights: Sequence[Tensor], parts: Sequence[Tensor], users: slice, items: slice
) -> list[Tensor]:
    """What each linear layer of a block sees."""
    inputs: list[Tensor] = []
    for number, step in enumerate(steps):
        if inputs:
            current = linear(inputs[-1], weights[2 * number - 2], weights[2 * number - 1], step.relu)
        else:
            current = join(*parts)
            if step.relu:
                current.relu_()
        if step.dropout is not None:
            current *= step.dropout.kept(users, items, current.dtype)
        inputs.append(current)
    return inputs


def _product_gradients(gradient: Tensor, input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Of a linear layer's input and weight."""
    rows = gradient.flatten(0, 1)
    if len(weight) == 1:
        return gradient * weight, (rows.flatten() @ input.flatten(0, 1)).unsqueeze(0)
    return linear(gradient, weight.T), weight_gradient(rows, input.flatten(0, 1))
