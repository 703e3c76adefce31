"""The perceptron over the pooled pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recolib.nn.components.component import Component, linear_of_products
from recolib.nn.components.pairwise import own_pairs
from recolib.nn.dropout import Dropout
from recolib.nn.fields import Fields, FieldSpec, NetworkSide, State
from recolib.nn.mlp import BatchNorm, Perceptron, after_linear, fold, glorot, mlp


@dataclass(frozen=True, eq=False)
class PooledState(State):
    """The sum of a side's vectors, (..., K), and the sum of its own pairs.

    In training the latter is the vector that batch norm must see, (..., K); in evaluation its share of the first
    layer, (..., H).
    """

    total: Tensor
    own: Tensor


class Pooled(Component[PooledState]):
    """MLP(Σ_{i<j} e_i ∘ e_j): batch norm and dropout on the bi-interaction vector, then hidden layers.

    In evaluation batch norm is x·scale + shift, so that norm and first layer are one linear map W, b of
    own_user + own_item + s_user ∘ s_item. Each side's own share is computed once. The pairs across, of a user with a
    whole catalogue, are one matrix product, s_item · (W ∘ s_user)ᵀ.

    Parameters
    ----------
    spec
        The fields.
    hidden_units
        Layer widths.
    use_bn
        Batch norm on the bi-interaction vector, and between each layer and its activation.
    dropout
        Dropout after each activation.
    pair_dropout
        Dropout on the bi-interaction vector, after batch norm.
    """

    made_of_pairs = True

    def __init__(
        self,
        spec: FieldSpec,
        hidden_units: Sequence[int],
        use_bn: bool = True,
        dropout: float = 0.0,
        pair_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm = BatchNorm(spec.dim) if use_bn else None
        self.dropout = Dropout(pair_dropout)
        self.first = glorot(nn.Linear(spec.dim, hidden_units[0]))
        after = after_linear(hidden_units[0], use_bn, dropout)
        self.rest = Perceptron(*after, *mlp(hidden_units, use_bn, dropout))

    def start_at_zero(self) -> None:
        """Start with an output of zero."""
        self.rest.start_at_zero()

    @property
    def numbers_per_pair(self) -> int:
        """The width of the first hidden layer."""
        return self.first.out_features

    def encode(self, side: NetworkSide, fields: Fields) -> PooledState:
        """The side's vector sum and own pairs; the bias goes with the user."""
        total, own = own_pairs(fields.vectors)
        if self.training:
            return PooledState(total, own)
        weight, bias = fold(self.norm, self.first)
        return PooledState(total, F.linear(own, weight, bias if side == "user" else None))

    def score(self, user: PooledState, item: PooledState) -> Tensor:
        """The layers over all pairs, (B, n)."""
        return self.rest(self._hidden(user, item)).squeeze(-1)

    def _hidden(self, user: PooledState, item: PooledState) -> Tensor:
        """The first layer before its activation, (B, n, H)."""
        own = user.own + item.own
        if self.training:
            pairs = torch.addcmul(own, user.total, item.total)
            return self.first(self.dropout(pairs if self.norm is None else self.norm(pairs)))
        weight, _ = fold(self.norm, self.first)
        return own + linear_of_products(user.total, item.total, weight)
