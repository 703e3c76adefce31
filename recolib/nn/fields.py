"""What components see: the embedded fields of a side, and the states they keep of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor

NetworkSide = Literal["user", "item"]
"""A side of the network. The context of an event is part of the user's side."""

Index = int | slice | Tensor | None | tuple[slice | Tensor | None, ...]


@dataclass(frozen=True, eq=False)
class State:
    """Tensors, and states of tensors, that share their leading dimensions.

    Subclasses add the tensors as fields. Every method reaches all of them.
    """

    __iter__ = None  # else __getitem__ would let `a, b = state` unpack rows in silence

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The state with ``function`` applied to each tensor."""
        return type(self)(*[_map(function, part) for part in vars(self).values()])

    def __getitem__(self, index: Index) -> Self:
        """The state at an index of the leading dimensions; ``None`` adds one."""
        return self.map(lambda tensor: tensor[index])

    def put(self, other: Self) -> None:
        """Overwrite the tensors with those of ``other``, which is of the same shape."""
        _over_tensors(lambda mine, theirs: mine.copy_(theirs), self, other)

    def to(self, device: torch.device | str) -> Self:
        """The state on another device."""
        return self.map(lambda tensor: tensor.to(device))

    @classmethod
    def cat(cls, states: Sequence[Self]) -> Self:
        """States end to end along the first dimension."""
        return _over_tensors(lambda *tensors: torch.cat(tensors), *states)


def _map(function: Callable[[Tensor], Tensor], part: Any) -> Any:
    if isinstance(part, Tensor):
        return function(part)
    return tuple(state.map(function) for state in part) if isinstance(part, tuple) else part.map(function)


def _over_tensors(function: Callable[..., Tensor], *states: Any) -> Any:
    first = states[0]
    if isinstance(first, Tensor):
        return function(*states)
    if isinstance(first, tuple):
        return tuple(_over_tensors(function, *parts) for parts in zip(*cast("Any", states), strict=True))
    values = [vars(state).values() for state in states]
    return type(first)(*(_over_tensors(function, *parts) for parts in zip(*values, strict=True)))


@dataclass(frozen=True, eq=False)
class Fields(State):
    """The embedded fields of one side.

    Attributes
    ----------
    vectors
        e = x·v, or the pooled vector of a multi-sparse field; zero where absent. Shape (..., F, K).
    weights
        The linear weights, scaled and pooled likewise. Shape (..., F).
    present
        Whether there is a value, unknown or not. Shape (..., F), bool.
    """

    vectors: Tensor
    weights: Tensor
    present: Tensor

    def join(self, other: Fields) -> Fields:
        """These fields and, behind them, those of ``other``; leading dimensions broadcast."""
        lead, its_lead = self.present.shape[:-1], other.present.shape[:-1]
        lead = lead if lead == its_lead else torch.broadcast_shapes(lead, its_lead)
        return _over_tensors(lambda a, b: torch.cat([_lead(a, lead), _lead(b, lead)], len(lead)), self, other)


def _lead(tensor: Tensor, lead: torch.Size) -> Tensor:
    return tensor.expand(*lead, *tensor.shape[len(lead) :])


@dataclass(frozen=True)
class FieldSpec:
    """Static facts about the fields, that of the user's side first.

    Attributes
    ----------
    user, item
        For each position on a side, the number of the field that stands there. A multi-sparse field that
        is not pooled takes several positions of one number.
    dim
        The size K of the vectors.
    """

    user: tuple[int, ...]
    item: tuple[int, ...]
    dim: int

    @property
    def n_positions(self) -> int:
        """How many vectors a pair has, F."""
        return len(self.user) + len(self.item)

    def span(self, side: NetworkSide) -> slice:
        """The positions of a side among all."""
        return slice(0, len(self.user)) if side == "user" else slice(len(self.user), self.n_positions)
