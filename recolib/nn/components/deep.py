"""The multilayer perceptron over all fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from recolib.nn.blocks import Sums, n_kept, over_pairs, pays
from recolib.nn.components.component import Component
from recolib.nn.fields import Fields, FieldSpec, NetworkSide, State
from recolib.nn.mlp import BatchNorm, Perceptron, SideLinear, after_linear, mlp


@dataclass(frozen=True, eq=False)
class DeepState(State):
    """A side's share of the first layer's pre-activations, shape (..., H)."""

    hidden: Tensor


class Deep(Component[DeepState]):
    """MLP([e_1; …; e_F]), its first layer cut between the sides.

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
        Leave batch norm, activation and dropout off the last hidden layer.
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
        self.first = SideLinear(spec, hidden_units[0])
        first_is_last = plain_last and len(hidden_units) == 1
        after = [] if first_is_last else after_linear(hidden_units[0], use_bn, dropout)
        self.rest = Perceptron(*after, *mlp(hidden_units, use_bn, dropout, plain_last))
        self.norm_is_first = isinstance(self.rest[0], BatchNorm)

    @torch.no_grad()
    def start_as_pairs(self, factors: Tensor) -> bool:
        """Start with an output of zero, so that the pairs beside it are the whole score."""
        self.start_at_zero()
        return False

    def start_at_zero(self) -> None:
        """Start with an output of zero."""
        self.rest.start_at_zero()

    @property
    def numbers_per_pair(self) -> int:
        """The width of the first hidden layer; in training what blocks keep."""
        blocks = self.training and self.first.weight.device.type == "cpu"
        return n_kept([*self.rest][1:]) if blocks else self.first.out_features

    def encode(self, side: NetworkSide, fields: Fields) -> DeepState:
        """The side's share of the first layer, in evaluation after its batch norm; the constants go with the user."""
        lead, rows = fields.vectors.shape[:-2], fields.vectors.flatten(0, -3).flatten(-2)
        norm = self.rest[0]
        if isinstance(norm, BatchNorm) and not self.training:
            scale, shift = norm.scale_and_shift()
            hidden = F.linear(rows, self.first.columns(side))
            hidden = hidden * scale if side == "item" else torch.addcmul(shift, hidden + self.first.bias, scale)
        else:
            hidden = self.first.share(side, rows)
        return DeepState(hidden.view(*lead, hidden.shape[-1]))

    def to_bf16(self, state: DeepState) -> DeepState:
        """All of it."""
        return DeepState(state.hidden.bfloat16())

    def score(self, user: DeepState, item: DeepState) -> Tensor:
        """The remaining layers of the pair, (B, n)."""
        if pays(self.training, user.hidden, item.hidden):
            return self._over_pairs(user.hidden, item.hidden).squeeze(-1)
        hidden = user.hidden + item.hidden
        rest = self.rest(hidden) if self.training else self.rest.folded(hidden, start=int(self.norm_is_first))
        return rest.squeeze(-1)

    def _over_pairs(self, user: Tensor, item: Tensor) -> Tensor:
        """The remaining layers in blocks. Over all pairs, u + i has the mean and variance of u and i, added up."""
        norm = self.rest[0]
        if not isinstance(norm, BatchNorm):
            return over_pairs(self.rest, Sums(), user, item)
        user, item = user.to(norm.weight.dtype), item.to(norm.weight.dtype)
        (u_variance, u_mean), (i_variance, i_mean) = (
            torch.var_mean(side.flatten(0, 1), 0, correction=0) for side in (user, item)
        )
        n = len(user) * item.shape[1]
        scale, shift = norm.scale_and_shift_of(u_mean + i_mean, u_variance + i_variance, n)
        return over_pairs([*self.rest][1:], Sums(), torch.addcmul(shift, user, scale), item * scale)
