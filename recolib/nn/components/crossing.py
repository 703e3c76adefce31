"""Layers that multiply all features with the output of the layer before."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recolib.nn.components.component import Component
from recolib.nn.fields import Fields, FieldSpec, NetworkSide, State
from recolib.nn.mlp import SideLinear, glorot
from recolib.nn.products import linear


@dataclass(frozen=True, eq=False)
class CrossState(State):
    """A side of x_0, and its share of the first layer's product.

    Attributes
    ----------
    vectors
        The side's fields end to end, (..., F·K).
    product
        Its share of W_0 x_0 + b_0, (..., d); with a rank, of V_0ᵀ x_0, (..., R).
    """

    vectors: Tensor
    product: Tensor


class CrossLayers(Component[CrossState]):
    r"""w · x_L, where x_{l+1} = x_0 ∘ (W_l x_l + b_l) + x_l and x_0 = [e_1; …; e_F], d numbers long.

    The first product is cut between the sides: W_0 x_0 is the sum of each side's columns times its vectors. x_1 has
    products of both sides in it, so that all later layers need the whole x of each pair.

    Parameters
    ----------
    spec
        The fields.
    n_layers
        L.
    rank
        R: each W is U Vᵀ, of 2·d·R numbers; None is a whole W, of d².

    References
    ----------
    Wang et al., *DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning to Rank
    Systems*, WWW 2021.
    """

    def __init__(self, spec: FieldSpec, n_layers: int, rank: int | None = None) -> None:
        super().__init__()
        width = spec.n_positions * spec.dim
        self.first = SideLinear(spec, rank or width, bias=rank is None)
        self.behind = nn.Sequential(*([] if rank is None else [glorot(nn.Linear(rank, width))]))
        self.later = nn.ModuleList(nn.Sequential(*_affine(width, rank)) for _ in range(1, n_layers))
        self.direction = glorot(nn.Linear(width, 1, bias=False))

    def encode(self, side: NetworkSide, fields: Fields) -> CrossState:
        """The side's vectors and its share of the first product; the bias goes with the user."""
        vectors = fields.vectors.flatten(-2)
        return CrossState(vectors, self.first.share(side, vectors))

    def score(self, user: CrossState, item: CrossState) -> Tensor:
        """All layers of the pair, (B, n)."""
        product = user.product + item.product
        x0 = torch.cat([state.vectors.expand(*product.shape[:-1], -1) for state in (user, item)], -1)  # (B, n, d)
        x = torch.addcmul(x0, x0, _through(self.behind, product))
        for layer in self.later:
            x = torch.addcmul(x, x0, _through(layer, x))
        return self.direction(x).squeeze(-1)


def _through(layers: nn.Module, x: Tensor) -> Tensor:
    for layer in layers.children():
        assert isinstance(layer, nn.Linear)
        x = linear(x, layer.weight, layer.bias)
    return x


def _affine(width: int, rank: int | None) -> list[nn.Linear]:
    """W x + b as one layer, or with a rank as two: Vᵀ, then U and b."""
    if rank is None:
        return [glorot(nn.Linear(width, width))]
    return [glorot(nn.Linear(width, rank, bias=False)), glorot(nn.Linear(rank, width))]
