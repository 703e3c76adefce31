"""Sums over pairs of fields, weighted by attention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from recolib.nn.components.component import Component, Contributions, cross_fields
from recolib.nn.dropout import dropout
from recolib.nn.fields import Fields, FieldSpec, NetworkSide, State

Activation = Literal["relu", "tanh"]
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}
MASKED_LOGIT = -1e30
"""The logit of a pair that takes no attention: finite, so that a side without pairs gives no NaN."""


@dataclass(frozen=True, eq=False)
class AttentiveState(State):
    """A side's fields, and its own pairs summed up as one pair.

    Attributes
    ----------
    vectors, present
        The fields, (..., F, K), and which of them have a value, (..., F).
    mass
        The logit of that one pair: log Σ exp(a_p / τ) over the side's own pairs, (...).
    value
        The value of that one pair: the mean of theirs, weighted by attention among themselves, (..., H).
    """

    vectors: Tensor
    present: Tensor
    mass: Tensor
    value: Tensor


class AttentivePairs(Component[AttentiveState]):
    r"""finish(Σ_p T_p D_p e_p) over all pairs p = (i, j) of present fields, e_p = e_i ∘ e_j, T = softmax_p(a_p / τ).

    The attention logit is a_p = q · act(W e_p + b). A subclass defines D_p: H directions on which a pair's product is
    projected. One softmax runs over all pairs. The own pairs of a side enter it as one, whose logit is their log-mass
    and whose value is their weighted mean, so that they are computed once per user and once per item. Each product is
    reduced to a few numbers before anything is summed.

    Parameters
    ----------
    spec
        The fields.
    attention_size
        The number A of rows of W.
    temperature
        τ; the higher, the more equal the weights.
    pair_dropout
        Dropout on the elements of e_p in the sum; attention sees all of them.
    activation
        ``"relu"`` or ``"tanh"``.
    within_fields
        Whether two positions of one field, the values of a multi-sparse column that is not pooled, are a pair.
    attention_reg
        Squared-norm penalty on W.
    """

    numbers: Tensor
    allowed: Tensor
    made_of_pairs = True

    def __init__(
        self,
        spec: FieldSpec,
        attention_size: int,
        temperature: float = 1.0,
        pair_dropout: float = 0.0,
        activation: Activation = "relu",
        within_fields: bool = True,
        attention_reg: float = 0.0,
    ) -> None:
        super().__init__()
        self.spec, self.temperature, self.pair_dropout = spec, temperature, pair_dropout
        self.attention_reg = attention_reg
        self.activation = ACTIVATIONS[activation]
        self.attention = nn.Linear(spec.dim, attention_size)
        self.query = nn.Parameter(torch.randn(attention_size))
        for parameter in self.attention.parameters():
            nn.init.normal_(parameter, std=(2 / (spec.dim + attention_size)) ** 0.5)
        numbers = [*spec.user, *spec.item]
        allowed = [[one != other or within_fields for other in numbers] for one in numbers]
        self.register_buffer("numbers", torch.tensor(numbers), persistent=False)
        self.register_buffer("allowed", torch.tensor(allowed), persistent=False)

    def directions(self, left: Tensor, right: Tensor) -> Tensor:
        """D of the pairs of positions ``left`` and ``right``, (..., H, K), of size 1 where all pairs have the same."""
        raise NotImplementedError

    def basis(self) -> Tensor | None:
        """A few vectors (R, K) of which ``mix`` makes all directions; None if there are none."""
        return None

    def mix(self, components: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """D e of the products' components along ``basis``, (..., P, R) -> (..., P, H)."""
        raise NotImplementedError

    def measure(self, products: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """W e and D e of pairs, (..., P, K) -> (..., P, A) and (..., P, H).

        With a ``basis``, one matrix product gives both, so that the products are read once.
        """
        basis, weight = self.basis(), self.attention.weight
        dropped = self._drop(products)
        if basis is None:
            return F.linear(products, weight), self.project(dropped, self.directions(left, right))
        if dropped is not products:  # attention sees all elements
            return F.linear(products, weight), self.mix(F.linear(dropped, basis), left, right)
        hidden, components = F.linear(products, torch.cat([weight, basis])).split([len(weight), len(basis)], -1)
        return hidden, self.mix(components, left, right)

    def project(self, products: Tensor, directions: Tensor) -> Tensor:
        """D e of pairs that have directions of their own, (..., P, K) and (P, H, K) -> (..., P, H)."""
        return torch.einsum("...pk,phk->...ph", products, directions)

    def finish(self, pooled: Tensor) -> Tensor:
        """The score of the pooled values, (..., H) -> (...)."""
        return pooled.squeeze(-1)

    def penalty(self) -> Tensor | float:
        """‖W‖²."""
        return self.attention_reg * self.attention.weight.square().sum() if self.attention_reg else 0.0

    @torch.no_grad()
    def start_as_pairs(self, factors: Tensor) -> bool:
        """Give each of the P pairs 1/P of the attention, and P times the factors as its direction."""
        self.query.zero_()
        self._point(factors * self.allowed.triu(1).sum())
        return True

    def _point(self, direction: Tensor) -> None:
        """Give all pairs one direction (K,), so that the score is the sum of the products' components along it."""
        raise NotImplementedError

    def encode(self, side: NetworkSide, fields: Fields) -> AttentiveState:
        """The side's fields, and its own pairs summed up."""
        at = self._positions(side)
        if len(at) == 1 and not self.training:  # no pairs, and ONNX Runtime multiplies no empty matrices
            lead, width = fields.present.shape[:-1], self.directions(at, at).shape[-2]
            mass, value = (
                fields.vectors.new_full(shape, of) for shape, of in ((lead, MASKED_LOGIT), ((*lead, width), 0.0))
            )
            return AttentiveState(fields.vectors, fields.present, mass, value)
        i, j = torch.triu_indices(len(at), len(at), 1, device=at.device)
        hidden, values = self.measure(own_products(fields.vectors), at[i], at[j])
        logits = self._logits(hidden, fields.present[..., i] & fields.present[..., j] & self.pairs()[at[i], at[j]])
        mass = logits.logsumexp(-1) if len(i) else logits.new_full(logits.shape[:-1], MASKED_LOGIT)
        return AttentiveState(fields.vectors, fields.present, mass, _pool(logits, values))

    def score(self, user: AttentiveState, item: AttentiveState) -> Tensor:
        """One softmax over the pairs across and the own pairs of both sides, (B, n)."""
        of_item, of_user = self._positions("item")[:, None], self._positions("user")
        present = item.present.unsqueeze(-1) & user.present.unsqueeze(-2) & self.pairs()[of_item, of_user]
        if item.vectors.shape[0] == 1 and not self.training:
            hidden = cross_fields(user.vectors, item.vectors, self.attention.weight[None, None])
            values = cross_fields(user.vectors, item.vectors, self.directions(of_item, of_user))
        else:
            products = item.vectors.unsqueeze(-2) * user.vectors.unsqueeze(-3)  # (B, n, Fi, Fu, K)
            left, right = (at.flatten() for at in torch.broadcast_tensors(of_item, of_user))
            hidden, values = self.measure(products.flatten(-3, -2), left, right)
            hidden, values = (one.unflatten(-2, products.shape[-3:-1]) for one in (hidden, values))
        across = self._logits(hidden, present).flatten(-2)  # (B, n, Fi·Fu)
        own = (state.mass.expand(across.shape[:-1]).unsqueeze(-1) for state in (user, item))
        of_own = (state.value.expand(*across.shape[:-1], -1).unsqueeze(-2) for state in (user, item))
        return self.finish(_pool(torch.cat([*own, across], -1), torch.cat([*of_own, values.flatten(-3, -2)], -2)))

    def contributions(self, fields: Fields) -> Contributions | None:
        """Each pair's value, weighted by attention."""
        i, j = torch.triu_indices(self.spec.n_positions, self.spec.n_positions, 1, device=self.numbers.device)
        hidden, values = self.measure(own_products(fields.vectors), i, j)
        weights = _weights(self._logits(hidden, fields.present[..., i] & fields.present[..., j] & self.pairs()[i, j]))
        pairs = weights.new_zeros(*weights.shape[:-1], *self.numbers.shape, *self.numbers.shape)
        pairs[..., i, j] = weights * values.squeeze(-1)
        return Contributions(pairs=pairs)

    def pairs(self) -> Tensor:
        """Which pairs of positions count, (F, F)."""
        return self.allowed

    def _positions(self, side: NetworkSide) -> Tensor:
        return torch.arange(self.spec.n_positions, device=self.numbers.device)[self.spec.span(side)]

    def _logits(self, hidden: Tensor, present: Tensor) -> Tensor:
        logits = self.activation(hidden + self.attention.bias) @ self.query / self.temperature
        return torch.where(present, logits, MASKED_LOGIT)

    def _drop(self, products: Tensor) -> Tensor:
        return dropout(products, self.pair_dropout, self.training)


class OwnProducts(torch.autograd.Function):
    """e_i ∘ e_j of all pairs i < j, (..., F, K) -> (..., P, K); only the vectors are saved for the gradient."""

    @staticmethod
    def forward(ctx: FunctionCtx, vectors: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Multiply each field with those after it."""
        ctx.save_for_backward(vectors)
        n = vectors.shape[-2]
        products = vectors.new_empty(*vectors.shape[:-2], n * (n - 1) // 2, vectors.shape[-1])
        for i, span in _spans(n):
            torch.mul(vectors[..., i : i + 1, :], vectors[..., i + 1 :, :], out=products[..., span, :])
        return products

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The gradient of the vectors, added up in one tensor."""
        (vectors,) = ctx.saved_tensors
        total = torch.zeros_like(vectors)
        for i, span in _spans(vectors.shape[-2]):
            part = gradient[..., span, :]
            total[..., i, :] += (part * vectors[..., i + 1 :, :]).sum(-2)
            total[..., i + 1 :, :].addcmul_(part, vectors[..., i : i + 1, :])
        return total


def own_products(vectors: Tensor) -> Tensor:
    """e_i ∘ e_j of all pairs i < j, (..., F, K) -> (..., P, K)."""
    return cast("Tensor", OwnProducts.apply(vectors))


def _spans(n: int) -> Iterator[tuple[int, slice]]:
    """For each of n fields but the last, the span of its products with those after it."""
    start = 0
    for i in range(n - 1):
        yield i, slice(start, start + n - 1 - i)
        start += n - 1 - i


def _pool(logits: Tensor, values: Tensor) -> Tensor:
    """Values (..., P, H) averaged by attention, (..., H); 0 where there is no pair."""
    return (_weights(logits).unsqueeze(-2) @ values).squeeze(-2)


def _weights(logits: Tensor) -> Tensor:
    """Attention (..., P); 0 for masked pairs."""
    return logits.softmax(-1) * (logits > MASKED_LOGIT / 2)


class Attention(AttentivePairs):
    r"""p · Σ_p T_p e_p: all pairs have one direction.

    Parameters
    ----------
    spec, attention_size, attention_reg
        As in ``AttentivePairs``.
    dropout
        Dropout on the pooled vector Σ_p T_p e_p.
    """

    def __init__(self, spec: FieldSpec, attention_size: int, dropout: float = 0.0, attention_reg: float = 0.0) -> None:
        super().__init__(spec, attention_size, attention_reg=attention_reg)
        self.direction = nn.Parameter(torch.ones(spec.dim))
        self.dropout = dropout

    def directions(self, left: Tensor, right: Tensor) -> Tensor:
        """The one direction of all pairs."""
        return self.direction.expand(*[1] * torch.broadcast_tensors(left, right)[0].dim(), 1, -1)

    def project(self, products: Tensor, directions: Tensor) -> Tensor:
        """The vectors that dropout must see, (..., P, K)."""
        return products * self.direction

    def basis(self) -> Tensor | None:
        """The direction; None where dropout needs vectors."""
        return None if self._pools_vectors else self.direction[None]

    def mix(self, components: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """The components themselves."""
        return components

    def finish(self, pooled: Tensor) -> Tensor:
        """The sum of the pooled vector's elements, after dropout."""
        return dropout(pooled, self.dropout).sum(-1) if self._pools_vectors else super().finish(pooled)

    def _point(self, direction: Tensor) -> None:
        self.direction.copy_(direction)

    @property
    def _pools_vectors(self) -> bool:
        return self.training and self.dropout > 0
