"""Sums over pairs of fields that attend to some pairs more than to others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recolib.nn.components.component import Component, cross_fields
from recolib.nn.fields import Fields, FieldSpec, Side, State

Activation = Literal["relu", "tanh"]
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}
NOTHING = -1e30
"""The logit of a pair that takes no attention: finite, so that a side without pairs is no NaN."""


@dataclass(frozen=True, eq=False)
class AttentiveState(State):
    """A side's fields, and its own pairs as if they were one.

    Attributes
    ----------
    vectors, present
        The fields, (..., F, K), and which of them have a value, (..., F).
    mass
        log Σ exp(a_p / τ) over the side's own pairs, (...): the logit of the one pair that stands for them.
    value
        What they contribute, weighted by attention among themselves, (..., H).
    """

    vectors: Tensor
    present: Tensor
    mass: Tensor
    value: Tensor


class AttentivePairs(Component[AttentiveState]):
    r"""finish(Σ_p T_p D_p e_p) over all pairs p = (i, j) of present fields, e_p = e_i ∘ e_j, T = softmax_p(a_p / τ).

    The attention logit is a_p = q · act(W e_p + b). D_p is what a subclass says: H directions in which a pair's
    product counts. There is one softmax over all pairs; the own pairs of a side enter it as one, whose logit
    is their log-mass and whose value their weighted mean, so that they are gone through once per user and once
    per item. Scalars are made of each pair before anything is summed: no product outlives its pair.

    Parameters
    ----------
    spec
        The fields.
    attention_size
        A, the rows of W.
    temperature
        τ; the higher, the more equal the weights.
    pair_dropout
        Dropout on the elements of e_p, behind attention.
    activation
        ``"relu"`` or ``"tanh"``.
    within_fields
        Whether two positions of one field, the values of a multi-sparse column that is not pooled, are a pair.
    """

    numbers: Tensor
    allowed: Tensor

    def __init__(
        self,
        spec: FieldSpec,
        attention_size: int,
        temperature: float = 1.0,
        pair_dropout: float = 0.0,
        activation: Activation = "relu",
        within_fields: bool = True,
    ) -> None:
        super().__init__()
        self.spec, self.temperature, self.pair_dropout = spec, temperature, pair_dropout
        self.activation = ACTIVATIONS[activation]
        self.attention = nn.Linear(spec.dim, attention_size)
        self.query = nn.Parameter(torch.randn(attention_size))
        for parameter in self.attention.parameters():
            nn.init.normal_(parameter, std=(2 / (spec.dim + attention_size)) ** 0.5)
        numbers = torch.tensor([*spec.user, *spec.item])
        self.register_buffer("numbers", numbers, persistent=False)
        self.register_buffer("allowed", (numbers[:, None] != numbers) | within_fields, persistent=False)

    def directions(self, left: Tensor, right: Tensor) -> Tensor:
        """D of the pairs of positions ``left`` and ``right``, (..., H, K); 1 for what all pairs have in common."""
        raise NotImplementedError

    def project(self, products: Tensor, directions: Tensor) -> Tensor:
        """D e of pairs, (..., P, K) and (P or 1, H, K) -> (..., P, H)."""
        if directions.shape[0] == 1:
            return F.linear(products, directions[0])
        if directions.shape[1] == 1:
            return (products * directions.squeeze(1)).sum(-1, keepdim=True)
        return torch.einsum("...pk,phk->...ph", products, directions)

    def finish(self, pooled: Tensor) -> Tensor:
        """The score of what attention has pooled, (..., H) -> (...)."""
        return pooled.squeeze(-1)

    def encode(self, side: Side, fields: Fields) -> AttentiveState:
        """The side's fields, and its own pairs gone through."""
        at = self._positions(side)
        i, j = torch.triu_indices(len(at), len(at), 1, device=at.device)
        products = own_products(fields.vectors)
        logits = self._logits(
            F.linear(products, self.attention.weight),
            fields.present[..., i] & fields.present[..., j] & self.pairs()[at[i], at[j]],
        )
        values = self.project(self._drop(products), self.directions(at[i], at[j]))
        mass = logits.logsumexp(-1) if len(i) else logits.new_full(logits.shape[:-1], NOTHING)
        return AttentiveState(fields.vectors, fields.present, mass, _pool(logits, values))

    def score(self, user: AttentiveState, item: AttentiveState) -> Tensor:
        """The pairs across and those within both sides, in one softmax, (B, n)."""
        of_item, of_user = self._positions("item")[:, None], self._positions("user")
        directions = self.directions(of_item, of_user)  # (Fi or 1, Fu or 1, H, K)
        present = item.present.unsqueeze(-1) & user.present.unsqueeze(-2) & self.pairs()[of_item, of_user]
        if item.vectors.shape[0] == 1 and not self.training:
            hidden = cross_fields(user.vectors, item.vectors, self.attention.weight[None, None])
            values = cross_fields(user.vectors, item.vectors, directions)
        else:
            products = item.vectors.unsqueeze(-2) * user.vectors.unsqueeze(-3)  # (B, n, Fi, Fu, K)
            hidden = F.linear(products, self.attention.weight)
            values = self.project(self._drop(products).flatten(-3, -2), directions.flatten(0, 1))
            values = values.unflatten(-2, hidden.shape[-3:-1])
        across = self._logits(hidden, present).flatten(-2)  # (B, n, Fi·Fu)
        own = (state.mass.expand(across.shape[:-1]).unsqueeze(-1) for state in (user, item))
        of_own = (state.value.expand(*across.shape[:-1], -1).unsqueeze(-2) for state in (user, item))
        return self.finish(_pool(torch.cat([*own, across], -1), torch.cat([*of_own, values.flatten(-3, -2)], -2)))

    def pairs(self) -> Tensor:
        """Which pairs of positions count, (F, F)."""
        return self.allowed

    def _positions(self, side: Side) -> Tensor:
        return torch.arange(self.spec.n_positions, device=self.numbers.device)[self.spec.span(side)]

    def _logits(self, hidden: Tensor, present: Tensor) -> Tensor:
        logits = self.activation(hidden + self.attention.bias) @ self.query / self.temperature
        return torch.where(present, logits, NOTHING)

    def _drop(self, products: Tensor) -> Tensor:
        return F.dropout(products, self.pair_dropout, self.training) if self.pair_dropout else products


def own_products(vectors: Tensor) -> Tensor:
    """e_i ∘ e_j of all pairs i < j, (..., F, K) -> (..., P, K), as views: the gradient keeps the vectors alone."""
    n = vectors.shape[-2]
    if n < 2:
        return vectors[..., :0, :]
    return torch.cat([vectors[..., i : i + 1, :] * vectors[..., i + 1 :, :] for i in range(n - 1)], -2)


def _pool(logits: Tensor, values: Tensor) -> Tensor:
    """Values (..., P, H) weighted by attention, (..., H); 0 where there is no pair."""
    weights = logits.softmax(-1) * (logits > NOTHING / 2)
    return (weights.unsqueeze(-2) @ values).squeeze(-2)


class Attention(AttentivePairs):
    r"""p · Σ_p T_p e_p: every pair counts in one direction.

    Parameters
    ----------
    spec, attention_size
        As in ``AttentivePairs``.
    dropout
        Dropout on the pooled vector Σ_p T_p e_p.
    """

    def __init__(self, spec: FieldSpec, attention_size: int, dropout: float = 0.0) -> None:
        super().__init__(spec, attention_size)
        self.direction = nn.Parameter(torch.ones(spec.dim))
        self.dropout = dropout

    def directions(self, left: Tensor, right: Tensor) -> Tensor:
        """The one direction of all pairs."""
        return self.direction.expand(*[1] * torch.broadcast_tensors(left, right)[0].dim(), 1, -1)

    def project(self, products: Tensor, directions: Tensor) -> Tensor:
        """In training the vectors that dropout has to see, (..., P, K); else their scalars."""
        return products * self.direction if self._keeps_vectors else super().project(products, directions)

    def finish(self, pooled: Tensor) -> Tensor:
        """The sum of what dropout leaves."""
        return F.dropout(pooled, self.dropout).sum(-1) if self._keeps_vectors else super().finish(pooled)

    @property
    def _keeps_vectors(self) -> bool:
        return self.training and self.dropout > 0
