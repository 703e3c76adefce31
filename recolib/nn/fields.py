"""The embedded fields of a side, and the states that components encode them to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter, methodcaller
from typing import Any, Literal, Self, TypeVar

import torch
from torch import Tensor

NetworkSide = Literal["user", "item"]
"""A side of the network. The context of an event is part of the user's side."""

Index = int | slice | Tensor | None | tuple[slice | Tensor | None, ...]


@dataclass(frozen=True, eq=False)
class State:
    """Tensors, and states of tensors, that share their leading dimensions.

    Subclasses add the tensors as fields, or states, or tuples of states. Every method reaches all tensors. A request is
    a few dozen calls, so that a method is one Python call a state and none a tensor.
    """

    __iter__ = None  # else __getitem__ would let `a, b = state` unpack rows in silence

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The state with ``function`` applied to each tensor, in the order of the fields."""
        mapped = object.__new__(type(self))
        into = mapped.__dict__  # which a frozen class leaves open
        for name, part in self.__dict__.items():
            if isinstance(part, Tensor):
                into[name] = function(part)
            elif isinstance(part, State):
                into[name] = part.map(function)
            else:
                into[name] = tuple(map(methodcaller("map", function), part))
        return mapped

    def __getitem__(self, index: Index) -> Self:
        """The state at an index of the leading dimensions; ``None`` adds one."""
        return self.map(itemgetter(index))

    def take(self, rows: Tensor) -> Self:
        """The state at these rows, (n,) int64, of the first dimension."""
        return self.map(methodcaller("index_select", 0, rows))

    def put(self, other: Self) -> None:
        """Overwrite the tensors with those of ``other``, which is of the same shape."""
        _over_tensors(_overwrite, [self, other])

    def to(self, device: torch.device | str) -> Self:
        """The state on another device."""
        return self.map(methodcaller("to", device))

    @classmethod
    def cat(cls, states: Sequence[Self]) -> Self:
        """States end to end along the first dimension."""
        return _over_tensors(torch.cat, states)


S = TypeVar("S", bound=State)


def _over_tensors(function: Callable[[list[Tensor]], Tensor], states: Sequence[S]) -> S:
    """The state whose tensors are ``function`` of the states' tensors at the same place."""
    first = states[0]
    made = object.__new__(type(first))
    for name, part in first.__dict__.items():
        parts: list[Any] = [state.__dict__[name] for state in states]
        if isinstance(part, Tensor):
            value = function(parts)
        elif isinstance(part, State):
            value = _over_tensors(function, parts)
        else:
            value = tuple([_over_tensors(function, alike) for alike in zip(*parts, strict=True)])
        made.__dict__[name] = value
    return made


def _overwrite(tensors: list[Tensor]) -> Tensor:
    mine, other = tensors
    return mine.copy_(other)


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
        """These fields, then those of ``other``; leading dimensions broadcast."""
        lead, its_lead = self.present.shape[:-1], other.present.shape[:-1]
        lead = lead if lead == its_lead else torch.broadcast_shapes(lead, its_lead)
        return _over_tensors(lambda both: torch.cat([_lead(one, lead) for one in both], len(lead)), [self, other])


def _lead(tensor: Tensor, lead: torch.Size) -> Tensor:
    return tensor.expand(*lead, *tensor.shape[len(lead) :])


@dataclass(frozen=True)
class FieldSpec:
    """Which fields there are, and where their vectors stand: the user's side first.

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
