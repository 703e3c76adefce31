"""Attention of a candidate to what the user consumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recolib.data.rows import UNKNOWN
from recolib.nn.components.component import Component
from recolib.nn.fields import Fields, FieldSpec, NetworkSide, State
from recolib.nn.mlp import Perceptron, SideLinear, after_linear, glorot, mlp
from recolib.nn.past import PastItems


@dataclass(frozen=True, eq=False)
class TargetAttentionState(State):
    """A side's shares of both first layers, and the vectors that meet.

    Attributes
    ----------
    hidden
        The share of the perceptron's first layer, (..., H).
    attention
        The share of the attention's first layer, of an item (..., A), of a user's items (..., L, A).
    vectors
        The item's vector (..., K), or those of the user's items (..., L, K).
    present
        Which of the L places have an item, (..., L); of an item nothing, (..., 0).
    """

    hidden: Tensor
    attention: Tensor
    vectors: Tensor
    present: Tensor


class TargetAttention(Component[TargetAttentionState]):
    r"""MLP([e_1; …; e_F; Σ_j a(h_j, v) h_j]): the user's items count as much as the candidate makes them.

    .. math:: a(h, v) = w^T \mathrm{relu}(A_h h + A_v v + A_p (h \circ v) + b)

    A of the paper's [h; v; h − v; h ∘ v] is the same map, since h − v says nothing that h and v do not. All shares that
    are of one side are computed once; of each pair remain the products.

    Parameters
    ----------
    spec
        The fields.
    max_history
        L, the most items.
    hidden_units, attention_units
        Layer widths of the perceptron, and the width of the attention's hidden layer.
    use_bn
        Batch norm between each layer of the perceptron and its activation.
    dropout
        Dropout after each activation of the perceptron.

    References
    ----------
    Zhou et al., *Deep Interest Network for Click-Through Rate Prediction*, KDD 2018; weights are not normalised, as
    there, and activations are ReLU.
    """

    reads_past = True

    def __init__(
        self,
        spec: FieldSpec,
        max_history: int,
        hidden_units: Sequence[int],
        attention_units: int = 36,
        use_bn: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.max_history, self.attention_units = max_history, attention_units
        self.first = SideLinear(spec, hidden_units[0])
        self.of_interest = glorot(nn.Linear(spec.dim, hidden_units[0], bias=False))
        self.of_history = glorot(nn.Linear(spec.dim, attention_units))
        self.of_item = glorot(nn.Linear(spec.dim, attention_units, bias=False))
        self.of_product = glorot(nn.Linear(spec.dim, attention_units, bias=False))
        self.weigh = glorot(nn.Linear(attention_units, 1))
        after = after_linear(hidden_units[0], use_bn, dropout)
        self.rest = Perceptron(*after, *mlp(hidden_units, use_bn, dropout))

    @property
    def numbers_per_pair(self) -> int:
        """The attention's hidden layer of all places."""
        return max(self.max_history * self.attention_units, self.first.out_features)

    def start_at_zero(self) -> None:
        """Start with an output of zero."""
        self.rest.start_at_zero()

    def encode_user(self, fields: Fields, past: PastItems) -> TargetAttentionState:
        """The user's share of the perceptron, and their items with their share of the attention."""
        codes = past.matrix(self.max_history)
        vectors, present = past.vectors(codes), codes > UNKNOWN
        attention = self.of_history(vectors)
        hidden = self._hidden("user", fields)
        return TargetAttentionState(
            hidden,
            attention.view(*past.lead, *attention.shape[1:]),
            vectors.view(*past.lead, *vectors.shape[1:]),
            present.view(*past.lead, self.max_history),
        )

    def encode_item(self, fields: Fields, codes: Tensor) -> TargetAttentionState:
        """The item's shares, and the vector of its id."""
        vector = fields.vectors[..., 0, :]
        return TargetAttentionState(self._hidden("item", fields), self.of_item(vector), vector, fields.present[..., :0])

    def score(self, user: TargetAttentionState, item: TargetAttentionState) -> Tensor:
        """The perceptron over the fields and what the candidate makes of the user's items, (B, n)."""
        h, v = user.vectors, item.vectors  # (B, 1, L, K), (B or 1, n, K)
        product = torch.einsum("bxlk,bnk,ak->bnla", h, v.expand(h.shape[0], -1, -1), self.of_product.weight)
        weights = self.weigh(F.relu(user.attention + item.attention.unsqueeze(-2) + product)).squeeze(-1)
        weights = weights * user.present
        interest = weights @ h.squeeze(1)
        hidden = user.hidden + item.hidden + self.of_interest(interest)
        return self.rest(hidden).squeeze(-1)

    def _hidden(self, side: NetworkSide, fields: Fields) -> Tensor:
        return self.first.share(side, fields.vectors.flatten(-2))
