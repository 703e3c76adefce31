"""The perceptron over the pooled pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recolib.nn.blocks import Weights, n_kept, over_pairs, pays, summed
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
        if not use_bn:  # all units are open: see start_at_zero
            nn.init.ones_(self.first.bias)

    @torch.no_grad()
    def start_at_zero(self) -> None:
        """Start with an output of zero; without batch norm, where no pair says anything.

        There products of small vectors are near zero, and layers of zeros behind them would leave them there. Their
        units are all open, since near zero a step of a bias opens or closes a unit for all pairs at once: were all
        closed, a prior would take the vectors to zero before they can grow.
        """
        if self.norm is not None:
            self.rest.start_at_zero()
            return
        last = self.rest[-1]
        assert isinstance(last, nn.Linear)
        self.rest.eval()
        last.bias -= self.rest(self.first.bias.clone().unsqueeze(0)).squeeze(0)
        self.rest.train()

    @property
    def numbers_per_pair(self) -> int:
        """The width of the first hidden layer; in training what blocks keep."""
        blocks = self.training and self.first.weight.device.type == "cpu"
        return n_kept([*self.rest][0 if self.dropout.rate else 1 :]) if blocks else self.first.out_features

    def encode(self, side: NetworkSide, fields: Fields) -> PooledState:
        """The side's vector sum and own pairs; the bias goes with the user."""
        total, own = own_pairs(fields.vectors)
        if self.training:
            return PooledState(total, own)
        weight, bias = fold(self.norm, self.first)
        return PooledState(total, F.linear(own, weight, bias if side == "user" else None))

    def score(self, user: PooledState, item: PooledState) -> Tensor:
        """The layers over all pairs, (B, n)."""
        if pays(self.training, user.total, item.total):
            return self._over_pairs(user, item).squeeze(-1)
        return self.rest(self._hidden(user, item)).squeeze(-1)

    def _hidden(self, user: PooledState, item: PooledState) -> Tensor:
        """The first layer before its activation, (B, n, H)."""
        own = user.own + item.own
        if self.training:
            pairs = torch.addcmul(own, user.total, item.total)
            return self.first(self.dropout(pairs if self.norm is None else self.norm(pairs)))
        weight, _ = fold(self.norm, self.first)
        return own.add_(linear_of_products(user.total, item.total, weight))

    def _over_pairs(self, user: PooledState, item: PooledState) -> Tensor:
        """All layers in blocks. The first two batch norms follow from the states, unless dropout is between them."""
        if self.norm is None:
            return over_pairs([self.dropout, self.first, *self.rest], _Pairs(), *_parts(user, item))
        with torch.autocast(user.total.device.type, enabled=False):
            u_own, i_own, u, i = _parts(user, item)
            n, (mean, covariance) = len(u) * i.shape[1], moments_of_pairs(u_own, i_own, u, i)
            scale, shift = self.norm.scale_and_shift_of(mean, covariance.diagonal(), n)
            parts = torch.addcmul(shift, u_own, scale), i_own * scale, u * scale, i
            if self.dropout.rate:
                layers = [self.dropout, self.first, *self.rest]
            else:
                mean, spread = self.first(mean * scale + shift), self.first.weight * scale
                after = self.rest[0]
                assert isinstance(after, BatchNorm)
                scale, shift = after.scale_and_shift_of(mean, (spread @ covariance * spread).sum(1), n)
                weight = self.first.weight * scale.unsqueeze(1)
                layers = [Weights(weight, torch.addcmul(shift, self.first.bias, scale)), *[*self.rest][1:]]
        return over_pairs(layers, _Pairs(), *parts)


def _parts(user: PooledState, item: PooledState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return user.own, item.own, user.total, item.total


class _Pairs:
    """a + b + u ∘ v, in blocks."""

    def __call__(self, *parts: Tensor) -> Tensor:
        """Of users a, u (g, 1, K) and items b, v (1, m, K)."""
        a, b, u, v = parts
        return (a + b).addcmul_(u, v)

    def gradients(self, gradient: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        """The sums over the other side, for u and v times what they are multiplied with."""
        *_, u, v = parts
        return summed(gradient, 1), summed(gradient, 0), summed(gradient * v, 1), summed(gradient * u, 0)


def moments_of_pairs(a: Tensor, b: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (K,) and covariance (K, K) of a + b + u ∘ v over all pairs of users and items.

    With all means taken off, it is a + v̄ ∘ u of the user, b + ū ∘ v of the item, and u ∘ v, which are uncorrelated.

    Parameters
    ----------
    a, u
        Of users, (G, 1, K).
    b, v
        Of items, (1, M, K).
    """
    means = [part.flatten(0, 1).mean(0) for part in (a, b, u, v)]
    a, b, u, v = (part.flatten(0, 1) - mean for part, mean in zip((a, b, u, v), means, strict=True))
    a_mean, b_mean, u_mean, v_mean = means
    covariance = _square(a + v_mean * u) + _square(b + u_mean * v) + _square(u) * _square(v)
    return a_mean + b_mean + u_mean * v_mean, covariance


def _square(centred: Tensor) -> Tensor:
    return centred.T @ centred / len(centred)
