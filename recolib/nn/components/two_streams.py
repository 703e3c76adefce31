"""Two perceptrons whose last hidden layers are joined by a bilinear form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recolib.nn.components.component import Component, linear_of_products
from recolib.nn.fields import Fields, FieldSpec, NetworkSide, State
from recolib.nn.mlp import Perceptron, SideLinear, after_linear, glorot, mlp
from recolib.nn.products import linear

S = TypeVar("S", bound=State)


@dataclass(frozen=True, eq=False)
class TwoStreamsState(State):
    """A side's shares of the first layers' pre-activations, (..., H) of each stream."""

    left: Tensor
    right: Tensor


@dataclass(frozen=True, eq=False)
class GatedStreamsState(State):
    """One side's part of the stream that it gates, and the factors of the other stream.

    Attributes
    ----------
    own
        Its gated vectors' share of the first layer of its own stream, (..., H).
    gate
        Its gate on the other side's vectors, (..., F·K of the other).
    vectors
        Its vectors, for the gate of the other side to multiply, (..., F·K).
    """

    own: Tensor
    gate: Tensor
    vectors: Tensor


class Stream(nn.Module):
    """Hidden layers, the first of which is cut between the sides, and a last Linear of their output to one number.

    Parameters
    ----------
    spec
        The fields.
    hidden_units
        Layer widths.
    use_bn
        Batch norm between each layer and its activation.
    dropout
        Dropout after each activation.
    """

    def __init__(self, spec: FieldSpec, hidden_units: Sequence[int], use_bn: bool, dropout: float) -> None:
        super().__init__()
        self.first = SideLinear(spec, hidden_units[0])
        *layers, self.last = mlp(hidden_units, use_bn, dropout)
        self.rest = Perceptron(*after_linear(hidden_units[0], use_bn, dropout), *layers)


class Streams(Component[S]):
    """w_1 · o_1 + w_2 · o_2 + Σ_h o_1hᵀ W_h o_2h, of the last hidden layers o_1 and o_2 of two perceptrons.

    W has a block for each head, which joins that head's slices of o_1 and o_2.

    Parameters
    ----------
    spec
        The fields.
    left_units, right_units
        Layer widths of the two streams.
    n_heads
        The number of heads, a divisor of both last widths.
    use_bn
        Batch norm between each layer and its activation.
    dropout
        Dropout after each activation.

    References
    ----------
    Mao et al., *FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction*, AAAI 2023.
    """

    def __init__(
        self,
        spec: FieldSpec,
        left_units: Sequence[int],
        right_units: Sequence[int],
        n_heads: int = 1,
        use_bn: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.left = Stream(spec, left_units, use_bn, dropout)
        self.right = Stream(spec, right_units, use_bn, dropout)
        self.heads = nn.Parameter(torch.empty(n_heads, left_units[-1] // n_heads, right_units[-1] // n_heads))
        nn.init.xavier_uniform_(self.heads.detach().view(1, -1))  # a linear layer over all the products

    def fuse(self, left: Tensor, right: Tensor) -> Tensor:
        """The score of a pair, (B, n), from the outputs of both first layers, (B, n, H) each."""
        left, right = self.left.rest(left), self.right.rest(right)
        parts = left.split(self.heads.shape[1], -1)
        turned = torch.cat([linear(part, head.T) for part, head in zip(parts, self.heads, strict=True)], -1)
        return (self.left.last(left) + self.right.last(right)).squeeze(-1) + (turned * right).sum(-1)


class TwoStreams(Streams[TwoStreamsState]):
    """Streams whose input is the vectors [e_1; …; e_F], as that of ``Deep``.

    Parameters are those of ``Streams``.
    """

    def encode(self, side: NetworkSide, fields: Fields) -> TwoStreamsState:
        """The side's share of both first layers; the biases go with the user."""
        vectors = fields.vectors.flatten(-2)
        return TwoStreamsState(self.left.first.share(side, vectors), self.right.first.share(side, vectors))

    def score(self, user: TwoStreamsState, item: TwoStreamsState) -> Tensor:
        """The remaining layers of the pair, (B, n)."""
        return self.fuse(user.left + item.left, user.right + item.right)


class GatedStreams(Streams[GatedStreamsState]):
    """Streams whose input is the gated vectors g ∘ x, x = [e_1; …; e_F]: one gate is the user's, one the item's.

    The left stream has the gate g = 2·σ(MLP(the user's vectors)), and the right one likewise that of the item. The
    user's gate multiplies both sides' vectors: W(g ∘ x) = W_user(g_user ∘ e_user) + W_item(g_item ∘ e_item). The first
    part is computed once per user; the second depends on the pair. For a whole catalogue it is one matrix product, with
    the user's gate folded into W_item. The right stream is the mirror image.

    Parameters
    ----------
    spec, left_units, right_units
        As in ``Streams``.
    gate_units
        Widths of the hidden layers of the gates' perceptrons.
    n_heads, use_bn, dropout
        As in ``Streams``; gates have neither batch norm nor dropout.
    """

    def __init__(
        self,
        spec: FieldSpec,
        left_units: Sequence[int],
        right_units: Sequence[int],
        gate_units: Sequence[int],
        n_heads: int = 1,
        use_bn: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(spec, left_units, right_units, n_heads, use_bn, dropout)
        self.sizes = [len(spec.user) * spec.dim, len(spec.item) * spec.dim]
        self.left_gate, self.right_gate = (_gate([size, *gate_units, sum(self.sizes)]) for size in self.sizes)

    def encode(self, side: NetworkSide, fields: Fields) -> GatedStreamsState:
        """The side's gate, and its own vectors through it; the bias of a stream goes with the side that gates it."""
        vectors = fields.vectors.flatten(-2)
        stream, gate = (self.left, self.left_gate) if side == "user" else (self.right, self.right_gate)
        own, other = (2 * gate(vectors).sigmoid()).split(self.sizes, -1)
        if side == "item":
            own, other = other, own
        return GatedStreamsState(F.linear(own * vectors, stream.first.columns(side), stream.first.bias), other, vectors)

    def score(self, user: GatedStreamsState, item: GatedStreamsState) -> Tensor:
        """The vectors gated by the other side, and the remaining layers, (B, n)."""
        left = user.own + linear_of_products(user.gate, item.vectors, self.left.first.columns("item"))
        right = item.own + linear_of_products(user.vectors, item.gate, self.right.first.columns("user"))
        return self.fuse(left, right)


def _gate(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.ReLU(), glorot(nn.Linear(n_in, n_out))]
    return nn.Sequential(*layers[1:])
