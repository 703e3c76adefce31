"""Network: an embedding per side, and a sum of components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from recolib.data.rows import Rows
from recolib.nn.components import Component
from recolib.nn.embedding import FieldEmbedding
from recolib.nn.fields import Side, State


@dataclass(frozen=True, eq=False)
class NetworkState(State):
    """The state of each component, in their order."""

    parts: tuple[State, ...]


class Network(nn.Module):
    """w0 + Σ components, scored from two sides.

    ``encode`` and ``score`` serve training, prediction and whole catalogues alike; nothing else computes a score.

    Parameters
    ----------
    user, item
        The embeddings of the sides.
    components
        The terms.
    bias
        The starting value of w0.
    """

    def __init__(
        self, user: FieldEmbedding, item: FieldEmbedding, components: Sequence[Component[Any]], bias: float = 0.0
    ) -> None:
        super().__init__()
        self.user, self.item = user, item
        self.components = nn.ModuleList(components)
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def encode(self, side: Side, rows: Rows) -> NetworkState:
        """What each component keeps of rows (..., C), (..., D) of one side."""
        fields = self.embedding(side)(rows)
        return NetworkState(tuple(component.encode(side, fields) for component in self.terms))

    def score(self, user: NetworkState, item: NetworkState) -> Tensor:
        """Logits (B, n) of users (B, 1, …) and items (B or 1, n, …)."""
        parts = zip(self.terms, user.parts, item.parts, strict=True)
        total = self.bias
        for component, of_user, of_item in parts:
            total = total + component.score(of_user, of_item)
        return total

    def forward(self, user: Rows, item: Rows) -> Tensor:
        """Logits (B, n) of user rows (B, 1, C) and item rows (B or 1, n, C)."""
        if self.training:
            for component in self.terms:
                component.begin_batch()
        return self.score(self.encode("user", user), self.encode("item", item))

    @property
    def numbers_per_pair(self) -> int:
        """How many numbers scoring holds of a pair at once, about."""
        return max(component.numbers_per_pair for component in self.terms)

    def embedding(self, side: Side) -> FieldEmbedding:
        """The embedding of a side."""
        return self.user if side == "user" else self.item

    def squared_norm(self, user: Rows, item: Rows) -> Tensor:
        """‖v‖² + w² of the embedding rows that a batch touches: the mean of users' rows plus that of items' rows."""
        of_user = self.user.squared_norm(user) / user.codes[..., 0].numel()
        return of_user + self.item.squared_norm(item) / item.codes[..., 0].numel()

    def penalty(self) -> Tensor | float:
        """What components add to the loss to hold their weights down."""
        return sum((component.penalty() for component in self.terms), start=0.0)

    def tables(self) -> list[tuple[nn.Embedding, ...]]:
        """The embedding tables of each side, which are looked up together."""
        return [(side.vectors, side.weights) for side in (self.user, self.item)]

    def fm_weights(self) -> list[nn.Parameter]:
        """What a factorization machine consists of: vectors, linear weights and w0."""
        return [*self.user.parameters(), *self.item.parameters(), self.bias]

    def settle(self) -> None:
        """Refresh the averages of both sides' columns; see ``FieldEmbedding.settle``."""
        self.user.settle()
        self.item.settle()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.bias.device

    @property
    def terms(self) -> Sequence[Component[Any]]:
        """The components."""
        return cast("Sequence[Component[Any]]", self.components)  # a ModuleList knows only Modules
