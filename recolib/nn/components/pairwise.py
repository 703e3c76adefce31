"""The sum over all pairs of fields of their inner products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from recolib.nn.components.component import Component, Contributions, InnerProduct, cross
from recolib.nn.dropout import Dropout
from recolib.nn.fields import Fields, FieldSpec, NetworkSide, State
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
    if vectors.shape[-2] == 1:
        total = vectors.squeeze(-2)
        return total, torch.zeros_like(total)
    return cast("tuple[Tensor, Tensor]", _OwnPairs.apply(vectors))


class _OwnPairs(torch.autograd.Function):
    """``own_pairs`` with its gradient by hand: that of a field is the sum of the other fields."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Sum and pairs."""
        total = vectors.sum(-2)
        ctx.save_for_backward(vectors, total)
        return total, (total * total).sub_((vectors * vectors).sum(-2)).mul_(0.5)

    @staticmethod
    def backward(ctx: Any, of_total: Tensor, of_own: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Of each vector."""
        vectors, total = ctx.saved_tensors
        alike = torch.addcmul(of_total, of_own, total)
        return torch.addcmul(alike.unsqueeze(-2), of_own.unsqueeze(-2), vectors, value=-1)


@dataclass(frozen=True, eq=False)
class PairwiseState(State):
    """The sum of a side's vectors, (..., K), and the sum of its own pairs.

    The latter is one number, (...), or in training the vector that batch norm and dropout must see, (..., K).
    """

    total: Tensor
    own: Tensor


class Pairwise(Component[PairwiseState]):
    """Σ_{i<j} ⟨v_i, v_j⟩ x_i x_j: the pairs within each side by themselves, those across as s_user · s_item.

    In evaluation batch norm and weights are a linear map of the pair vector. Their factors go into the user's vector
    sum, so that scoring a catalogue is one matrix product in any case.

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

    ones: Tensor
    made_of_pairs = True

    def __init__(self, spec: FieldSpec, use_bn: bool = False, dropout: float = 0.0, weighted: bool = False) -> None:
        super().__init__()
        self.norm = BatchNorm(spec.dim) if use_bn else None
        self.dropout = Dropout(dropout)
        self.weight = nn.Parameter(torch.ones(spec.dim)) if weighted else None
        self.register_buffer("ones", torch.ones(spec.dim), persistent=False)
        self.needs_vector = use_bn or dropout > 0
        self.norm_is_all = use_bn and not dropout

    @torch.no_grad()
    def start_as_pairs(self, factors: Tensor) -> bool:
        """Take the factors as the elements' weights, if there are any."""
        if self.weight is None:
            return False
        self.weight.copy_(factors)
        return True

    @property
    def trains_as_product(self) -> bool:
        """Without batch norm and dropout of the pair vector."""
        return not self.needs_vector

    @property
    def numbers_per_pair(self) -> int:
        """The inner product; in training the pair vector, where it must be made."""
        return len(self.ones) if self.training and self.needs_vector and not self.norm_is_all else 1

    def encode(self, side: NetworkSide, fields: Fields) -> PairwiseState:
        """The side's vector sum and its own pairs."""
        total, own = own_pairs(fields.vectors)
        if self.training and self.needs_vector:
            return PairwiseState(total, own)
        if self.norm is None and self.weight is None:
            return PairwiseState(
                total, own.sum(-1) if fields.vectors.shape[-2] > 1 else total.new_zeros(total.shape[:-1])
            )
        factors, shift = self.pair_factors()
        if side == "item":
            return PairwiseState(total, own @ factors)
        return PairwiseState(total * factors, own @ factors + shift)

    def score(self, user: PairwiseState, item: PairwiseState) -> Tensor:
        """All pairs: the user's own, the item's own, and across, (B, n)."""
        if not (self.training and self.needs_vector):
            return cross(user.total, item.total) + user.own + item.own
        if self.norm is not None and self.norm_is_all and item.total.shape[0] == 1:
            return self._normed(self.norm, user, item)
        pairs = torch.addcmul(user.own + item.own, user.total, item.total)  # (B, n, K)
        pairs = self.dropout(pairs if self.norm is None else self.norm(pairs))
        return pairs.sum(-1) if self.weight is None else pairs @ self.weight

    def _normed(self, norm: BatchNorm, user: PairwiseState, item: PairwiseState) -> Tensor:
        """Scores in training of all users with all items, (B, n), by batch norm over these B·n pairs.

        Mean and variance of the pair vectors a + b + u ∘ v follow from those of each side, since every user meets every
        item: no pair vector is made, and what is left is a matrix product.
        """
        sides = user.total[:, 0], user.own[:, 0], item.total[0], item.own[0]  # u, a: (B, K); v, b: (n, K)
        means = [part.mean(0) for part in sides]
        u, a, v, b = (part - mean for part, mean in zip(sides, means, strict=True))
        u_mean, _, v_mean, _ = means
        u_square, v_square = u.square().mean(0), v.square().mean(0)
        variance = a.square().mean(0) + b.square().mean(0) + u_square * v_square
        variance = variance + u_square * v_mean.square() + v_square * u_mean.square()
        variance = variance + 2 * ((a * u).mean(0) * v_mean + (b * v).mean(0) * u_mean)
        n = user.total.shape[0] * item.total.shape[1]
        scale, shift = norm.scale_and_shift_of(means[1] + means[3] + u_mean * v_mean, variance, n)
        weight = self.ones if self.weight is None else self.weight
        factors = scale * weight
        return cross(user.total * factors, item.total) + user.own @ factors + item.own @ factors + shift @ weight

    def inner_product(self, side: NetworkSide, state: PairwiseState) -> InnerProduct:
        """The vector sum, and the own pairs as a constant."""
        return InnerProduct(state.total, state.own)

    def contributions(self, fields: Fields) -> Contributions:
        """Each pair's inner product with the factors; batch norm's shift is a constant."""
        factors, shift = self.pair_factors()
        return Contributions(constant=shift, pairs=(fields.vectors * factors @ fields.vectors.mT).triu(1))

    def pair_factors(self) -> tuple[Tensor, Tensor]:
        """The factors (K,) of batch norm and weights, and the constant of batch norm."""
        weight = self.ones if self.weight is None else self.weight
        if self.norm is None:
            return weight, weight.new_zeros(())
        scale, shift = self.norm.scale_and_shift()
        return scale * weight, shift @ weight
