"""The second-order term of factorization machines."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recolib.nn.components.component import Component, cross
from recolib.nn.fields import Fields, FieldSpec, Side, State
from recolib.nn.mlp import BatchNorm


def own_pairs(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of vectors, and the sum of the elementwise products of all their pairs, in O(F).

    Parameters
    ----------
    vectors
        Shape (..., F, K).

    Returns
    -------
    tuple of Tensor
        s = Σ e_i and ½ (s² − Σ e_i²), both of shape (..., K).

    References
    ----------
    Rendle, *Factorization Machines*, ICDM 2010, lemma 3.1.
    """
    total = vectors.sum(-2)
    return total, 0.5 * (total.square() - vectors.square().sum(-2))


@dataclass(frozen=True, eq=False)
class PairwiseState(State):
    """The sum of a side's vectors, (..., K), and its own pairs: (..., K), or (...) where only their sum counts."""

    total: Tensor
    own: Tensor


class Pairwise(Component[PairwiseState]):
    """Σ_{i<j} ⟨v_i, v_j⟩ x_i x_j, the pairs within a side kept per side, those across as s_user · s_item.

    Parameters
    ----------
    spec
        The fields.
    use_bn
        Batch norm on the pair vector Σ e_i ∘ e_j before it is summed.
    dropout
        Dropout on the pair vector.
    weighted
        Whether the pair vector's elements have trained weights, instead of being summed.
    """

    def __init__(self, spec: FieldSpec, use_bn: bool = False, dropout: float = 0.0, weighted: bool = False) -> None:
        super().__init__()
        self.norm = BatchNorm(spec.dim) if use_bn else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(spec.dim, 1, bias=False) if weighted else None
        self.keeps_vector = use_bn or dropout > 0 or weighted
        if self.head is not None:
            nn.init.ones_(self.head.weight)

    def encode(self, side: Side, fields: Fields) -> PairwiseState:
        """The side's vector sum and its own pairs."""
        total, own = own_pairs(fields.vectors)
        return PairwiseState(total, own if self.keeps_vector else own.sum(-1))

    def score(self, user: PairwiseState, item: PairwiseState) -> Tensor:
        """All pairs: the user's own, the item's own, and across, (B, n)."""
        if not self.keeps_vector:
            return cross(user.total, item.total) + user.own + item.own
        pairs = torch.addcmul(user.own + item.own, user.total, item.total)  # (B, n, K)
        pairs = self.dropout(self.norm(pairs))
        return pairs.sum(-1) if self.head is None else self.head(pairs).squeeze(-1)
