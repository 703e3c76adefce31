"""Dropout from raw random bits: torch's own would take a third of a training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from recolib.randomness import generator, own_rows

LEVELS = 2**16
"""Rates are rounded to 1/65,536: each element is hidden or not by 16 random bits."""
SMALL = 2**18
"""Elements up to which the factors are saved for the gradient, four bytes each, instead of computed again."""


def dropout(input: Tensor, rate: float, training: bool = True) -> Tensor:
    """Hide each element with chance ``rate`` in training, and scale the others by 1 / (1 − rate)."""
    if not (rate and training):
        return input
    drawn_from, rows, shape = generator(input.device), own_rows(), input.shape
    if input.device.type == "cuda" and rows is None:
        return torch.ops.aten._fused_dropout(input, 1 - rate, generator=drawn_from)[0]  # F.dropout takes no generator
    if rows is not None:
        shape = torch.Size([rows.n_drawn(len(input)), *shape[1:]])
    bits = torch.empty(-(-shape.numel() // 4), dtype=torch.int64, device=input.device)
    bits.random_(-(2**63), None, generator=drawn_from)
    bits = bits.view(torch.int16)[: shape.numel()].view(shape)
    bits = bits if rows is None else rows.of(bits)
    n_hidden = min(round(rate * LEVELS), LEVELS - 1)
    if input.numel() <= SMALL:
        return input * _factors(bits, n_hidden, input.dtype)
    return cast("Tensor", _Dropout.apply(input, bits, n_hidden))


def _factors(bits: Tensor, n_hidden: int, dtype: torch.dtype) -> Tensor:
    """0 or the scale for each element, by float arithmetic: comparisons of bytes do not vectorise."""
    return bits.float().ge_(n_hidden - LEVELS // 2).mul_(LEVELS / (LEVELS - n_hidden)).to(dtype)


class _Dropout(torch.autograd.Function):
    """A large ``input`` times its factors; the gradient saves their bits, two bytes an element."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, bits: Tensor, n_hidden: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Hide elements."""
        ctx.save_for_backward(bits)
        ctx.n_hidden = n_hidden
        return _factors(bits, n_hidden, input.dtype).mul_(input)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Hide their gradients."""
        (bits,) = ctx.saved_tensors
        return _factors(bits, ctx.n_hidden, gradient.dtype).mul_(gradient), None, None


class Dropout(nn.Module):
    """``dropout`` as a layer."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, input: Tensor) -> Tensor:
        """Hide elements in training."""
        return dropout(input, self.rate, self.training)


@dataclass(frozen=True, eq=False)
class PairDropout:
    """Dropout of all pairs of users and a catalogue, the same whenever a block of them is computed.

    An element's 16 bits are the product of a random odd number of the user and one of the item. They take no memory
    and no generator; four elements of two users and two items are hidden together as often as chance has it.

    Attributes
    ----------
    user, item
        The numbers, (G, 1, H) and (1, M, H).
    n_hidden
        How many of ``LEVELS`` are hidden.
    """

    user: Tensor
    item: Tensor
    n_hidden: int

    @classmethod
    def draw(cls, rate: float, n_users: int, n_items: int, width: int, device: torch.device) -> PairDropout:
        """The numbers of a batch."""
        rows = own_rows()
        user, item = (
            torch.empty(shape, dtype=torch.int16, device=device).random_(-LEVELS // 2, LEVELS // 2).bitwise_or_(1)
            for shape in ((n_users if rows is None else rows.n_drawn(n_users), 1, width), (1, n_items, width))
        )
        return cls(user if rows is None else rows.of(user), item, min(round(rate * LEVELS), LEVELS - 1))

    @property
    def scale(self) -> float:
        """What makes up for the elements that are hidden."""
        return LEVELS / (LEVELS - self.n_hidden)

    def kept(self, users: slice, items: slice, dtype: torch.dtype) -> Tensor:
        """1 for each element of a block that is kept, and 0 for one that is hidden, (g, m, H)."""
        bits = self.user[users] * self.item[:, items]  # of which 16 bits are left
        return bits.ge_(self.n_hidden - LEVELS // 2).to(dtype)
