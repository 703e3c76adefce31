"""Network: an embedding per side, and a sum of components."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recolib.caching import cached
from recolib.data.rows import Rows
from recolib.nn.components import Component
from recolib.nn.embedding import FieldEmbedding
from recolib.nn.fields import Fields, NetworkSide, State
from recolib.nn.past import PaddedItems, PastItems, PooledPast
from recolib.randomness import drawing_for, own_rows

Precision = Literal["float32", "bf16"]


@dataclass(frozen=True, eq=False)
class NetworkState(State):
    """The state of each component, in their order."""

    parts: tuple[State, ...]


@dataclass(frozen=True)
class Systems:
    """What vectors are solved by that stand for all pairs: how much those without a row count, and the penalty."""

    unobserved_weight: float
    prior: float

    def gram(self, others: Tensor) -> Tensor:
        """What each vector has beside its own pairs, (K, K), of the other side's vectors (M, K)."""
        gram = self.unobserved_weight * (others.T @ others)
        gram.diagonal().add_(self.prior)
        return gram


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
    pooled
        What makes a field of what a user consumed; None: there is no such field.
    max_history
        The most items that a user's past has: the latest count.

    Attributes
    ----------
    precision
        The type of all matrix products in training, and in evaluation of those in ``score``. Weights and sums are
        float32 in any case.
    """

    def __init__(
        self,
        user: FieldEmbedding,
        item: FieldEmbedding,
        components: Sequence[Component[Any]],
        bias: float = 0.0,
        pooled: PooledPast | None = None,
        max_history: int = 50,
    ) -> None:
        super().__init__()
        self.user, self.item = user, item
        self.components = nn.ModuleList(components)
        self.terms = tuple(components)  # the same, for loops: a ModuleList is slower, and typed as Modules
        self.bias = nn.Parameter(torch.tensor(float(bias)))
        self.precision: Precision = "float32"
        self.pooled, self.max_history = pooled, max_history
        self.systems: Systems | None = None
        self.reads_past = pooled is not None or any(component.reads_past for component in components)

    def encode(self, side: NetworkSide, rows: Rows) -> NetworkState:
        """Each component's state of rows (..., C), (..., D) of one side."""
        if not self.reads_past:
            return self.encode_fields(side, self.embedding(side)(rows))
        return self.encode_fields(side, *self.fields(side, rows))

    def fields(self, side: NetworkSide, rows: Rows, padded: Tensor | None = None) -> tuple[Fields, PastItems | Tensor]:
        """All that components read of rows: the embedded fields, and the past of users, or the codes of items.

        ``padded`` is what users consumed as a matrix, which an exported graph needs; see ``PaddedItems``.
        """
        fields = self.embedding(side)(rows)
        if side == "item" or not self.reads_past:
            return fields, rows.codes[..., 0]
        lead = rows.codes.shape[:-1]
        if padded is not None:
            past = PaddedItems.of_matrix(padded, lead, self.item)
        else:
            past = PastItems.of(rows.past, lead, self.max_history, self.item)
        return fields if self.pooled is None else fields.join(self.pooled(past)), past

    def encode_fields(
        self, side: NetworkSide, fields: Fields, beside: PastItems | Tensor | None = None
    ) -> NetworkState:
        """Each component's state of embedded fields (..., F, K) of one side, and of what stands beside them."""
        if beside is None:
            states = [component.encode(side, fields) for component in self.terms]
        else:
            states = [state_of(component, side, fields, beside) for component in self.terms]
        if self.precision == "bf16" and not self.training:
            states = [component.to_bf16(state) for component, state in zip(self.terms, states, strict=True)]
        return NetworkState(tuple(states))

    def score(self, user: NetworkState, item: NetworkState) -> Tensor:
        """Logits (B, n) of users (B, 1, …) and items (B or 1, n, …)."""
        if self.precision == "float32":  # which spares a request the calls of a context
            return self._sum(user, item)
        with self._autocast():
            return self._sum(user, item)

    def _sum(self, user: NetworkState, item: NetworkState) -> Tensor:
        total = bias = self.bias
        for component, of_user, of_item in zip(self.terms, user.parts, item.parts, strict=True):
            total = total + component.score(of_user, of_item).to(bias.dtype)
        return total

    def forward(self, user: Rows, item: Rows) -> Tensor:
        """Logits (B, n) of user rows (B, 1, C) and item rows (B or 1, n, C)."""
        if not self.training:  # sides are encoded once, and exactly
            return self.score(self.encode("user", user), self.encode("item", item))
        return self.score(*self._encode_batch(user, item))

    def product(self, user: Rows, item: Rows) -> tuple[Tensor, Tensor]:
        """In training, vectors of both sides whose inner products are the logits, if ``trains_as_product``."""
        user_state, item_state = self._encode_batch(user, item)
        of_user, of_item = self.vectors("user", user_state), self.vectors("item", item_state)
        assert of_user is not None
        assert of_item is not None
        return of_user, of_item

    @property
    def trains_on_past(self) -> bool:
        """Whether training needs what users consumed before each event."""
        return self.pooled is not None or any(term.reads_past and not term.is_solved for term in self.terms)

    @property
    def in_one_pass(self) -> bool:
        """Whether the states after each of a user's items come from one pass; see ``Component``."""
        return any(component.in_one_pass for component in self.terms)

    @property
    def trains_in_order(self) -> bool:
        """Whether training needs an order of users' items: where data has no times, that of its rows."""
        return self.in_one_pass or self.by_recency

    @property
    def by_recency(self) -> bool:
        """Whether items that were consumed close to each other count more for each other."""
        return self.pooled is not None and self.pooled.by_recency

    @property
    def trains_as_product(self) -> bool:
        """Whether logits are inner products of both sides in training, too."""
        return all(component.trains_as_product for component in self.terms)

    def _encode_batch(self, user: Rows, item: Rows) -> tuple[NetworkState, NetworkState]:
        for component in self.terms:
            component.begin_batch()
        rows = own_rows()
        with self._autocast():
            of_user = self.encode("user", user)
            with nullcontext() if rows is None or not rows.has_catalogue else drawing_for(None):
                return of_user, self.encode("item", item)

    def _autocast(self) -> AbstractContextManager[Any]:
        """Matrix products in bfloat16, if that is the precision."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def vectors(self, side: NetworkSide, state: NetworkState) -> Tensor | None:
        """Vectors (..., V) of a side whose inner products with the other's are the logits, if there are; else None."""
        parts = [component.inner_product(side, of_it) for component, of_it in zip(self.terms, state.parts, strict=True)]
        exact = [part for part in parts if part is not None]
        if len(exact) < len(parts):
            return None
        constant = sum((part.constant for part in exact), self.bias if side == "user" else torch.zeros_like(self.bias))
        ends = [constant, torch.ones_like(constant)]
        return torch.cat([*(part.vector for part in exact), torch.stack(ends[:: 1 if side == "user" else -1], -1)], -1)

    @cached
    def numbers_per_pair(self) -> int:
        """About how many numbers ``score`` holds in evaluation for each pair at once: those of the widest component."""
        return max(component.numbers_per_pair for component in self.terms)

    def embedding(self, side: NetworkSide) -> FieldEmbedding:
        """The embedding of a side."""
        return self.user if side == "user" else self.item

    def penalty(self) -> Tensor | float:
        """The sum of the components' penalties, which is added to the loss."""
        return sum((component.penalty() for component in self.terms), start=0.0)

    def tables(self) -> list[tuple[nn.Embedding, ...]]:
        """The embedding tables of each side, which are looked up together."""
        return [(side.vectors, side.weights) for side in (self.user, self.item)]

    def embedding_weights(self) -> list[nn.Parameter]:
        """The weights that do not belong to a component: vectors, linear weights and w0."""
        return [*self.user.parameters(), *self.item.parameters(), self.bias]

    def linear_weights(self) -> list[Tensor]:
        """The linear weights of both sides, and w0."""
        of_sides = [one for side in (self.user, self.item) for one in (side.weights.weight, side.dense_weights)]
        return [*of_sides, self.bias]

    def refresh_averages(self) -> None:
        """Refresh the averages of both sides' columns; see ``FieldEmbedding.refresh_averages``."""
        self.user.refresh_averages()
        self.item.refresh_averages()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.bias.device


def state_of(component: Component[Any], side: NetworkSide, fields: Fields, beside: PastItems | Tensor) -> State:
    """A component's state of fields, and of the past of users, or the codes of items."""
    if not component.reads_past:
        return component.encode(side, fields)
    if isinstance(beside, PastItems):
        return component.encode_user(fields, beside)
    return component.encode_item(fields, beside)
