"""The multilayer perceptron over all fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recolib.nn.components.component import Component
from recolib.nn.fields import Fields, FieldSpec, Side, State
from recolib.nn.mlp import after_linear, glorot, mlp


@dataclass(frozen=True, eq=False)
class DeepState(State):
    """A side's share of the first layer's pre-activations, shape (..., H)."""

    hidden: Tensor


class Deep(Component[DeepState]):
    """MLP([e_1; …; e_F]), its first layer cut between the sides.

    W·[e_user; e_item] = W_user·e_user + W_item·e_item: each side's product is made once. There is one weight
    of which each side uses its columns, so that fan-in and initialisation are those of the uncut layer.

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
    plain_last
        Leave batch norm, activation and dropout off the last hidden layer, as in LibRecommender's head.
    """

    def __init__(
        self,
        spec: FieldSpec,
        hidden_units: Sequence[int],
        use_bn: bool = True,
        dropout: float = 0.0,
        plain_last: bool = False,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.first = glorot(nn.Linear(spec.n_positions * spec.dim, hidden_units[0]))
        first_is_last = plain_last and len(hidden_units) == 1
        after = [] if first_is_last else after_linear(hidden_units[0], use_bn, dropout)
        self.rest = nn.Sequential(*after, *mlp(hidden_units, use_bn, dropout, plain_last))

    @torch.no_grad()
    def start_as_fm(self, scale: Tensor) -> bool:
        """Say nothing at first, so that the pairs beside it are heard alone."""
        last = self.rest[-1]
        assert isinstance(last, nn.Linear)
        last.weight.zero_()
        return False

    def encode(self, side: Side, fields: Fields) -> DeepState:
        """The side's columns of the first layer; the bias goes with the user."""
        span, dim = self.spec.span(side), self.spec.dim
        weight = self.first.weight[:, span.start * dim : span.stop * dim]
        return DeepState(F.linear(fields.vectors.flatten(-2), weight, self.first.bias if side == "user" else None))

    def score(self, user: DeepState, item: DeepState) -> Tensor:
        """The remaining layers of the pair, (B, n)."""
        return self.rest(user.hidden + item.hidden).squeeze(-1)
