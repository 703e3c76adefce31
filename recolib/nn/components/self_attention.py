"""Self-attention among fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recolib.nn.components.attentive import MASKED_LOGIT
from recolib.nn.components.component import Component
from recolib.nn.fields import Fields, FieldSpec, NetworkSide, State
from recolib.nn.mlp import glorot


@dataclass(frozen=True, eq=False)
class SelfAttentionState(State):
    """The first layer's projections of a side's fields.

    Attributes
    ----------
    projected
        Queries, keys, values and residuals of the fields, (..., F, P, H, A).
    present
        Which fields have a value, (..., F).
    """

    projected: Tensor
    present: Tensor


class SelfAttention(Component[SelfAttentionState]):
    r"""w · [x_1; …; x_F], x the output of layers of multi-head self-attention over the fields e.

    A layer's output for field m is relu([Σ_k T_mk V e_k of each head] + R e_m), T_mk = softmax_k⟨Q e_m, K e_k⟩ over
    the present fields, with Q, K, V of each head. An absent field takes no attention, and its output is zero.

    The first layer's Q, K, V and R apply to one field at a time, so that they are computed once per user and once per
    item. After its softmax each field depends on all others: the later layers cannot be cut.

    Parameters
    ----------
    spec
        The fields.
    sizes
        The size A of a head, for each layer.
    n_heads
        The number of heads H.
    residual
        Whether layers have R.

    References
    ----------
    Song et al., *AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural Networks*, CIKM 2019.
    """

    def __init__(self, spec: FieldSpec, sizes: Sequence[int], n_heads: int, residual: bool = True) -> None:
        super().__init__()
        widths = [spec.dim, *(n_heads * size for size in sizes)]
        self.layers = nn.ModuleList(AttentionLayer(*ends, n_heads, residual) for ends in pairwise(widths))
        self.last = glorot(nn.Linear(spec.n_positions * widths[-1], 1, bias=False))

    def encode(self, side: NetworkSide, fields: Fields) -> SelfAttentionState:
        """The first layer's projections of the side's fields."""
        return SelfAttentionState(self._layers[0].project(fields.vectors), fields.present)

    def score(self, user: SelfAttentionState, item: SelfAttentionState) -> Tensor:
        """The first layer's attention, and the layers after it, (B, n)."""
        present = _side_by_side(user.present, item.present)
        first, *later = self._layers
        hidden = first.attend(_side_by_side(user.projected, item.projected), present)
        for layer in later:
            hidden = layer.attend(layer.project(hidden), present)
        return self.last((hidden * present.unsqueeze(-1)).flatten(-2)).squeeze(-1)

    @property
    def _layers(self) -> list[AttentionLayer]:
        return [layer for layer in self.layers if isinstance(layer, AttentionLayer)]  # a ModuleList is typed as Modules


class AttentionLayer(nn.Module):
    """One layer: projections of each field by itself, then attention among the fields.

    Parameters
    ----------
    n_in, n_out
        The size of a field before and after it.
    n_heads
        The number of heads H; a head has the size A = n_out / H.
    residual
        Whether a field's own projection is added.
    """

    def __init__(self, n_in: int, n_out: int, n_heads: int, residual: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4 if residual else 3, n_heads, n_out // n_heads, n_in))
        for projection in self.weight.detach().flatten(1, 2):
            nn.init.xavier_uniform_(projection)

    def project(self, fields: Tensor) -> Tensor:
        """Queries, keys, values and residuals of fields, (..., F, n_in) -> (..., F, P, H, A)."""
        return F.linear(fields, self.weight.flatten(0, 2)).unflatten(-1, self.weight.shape[:-1])

    def attend(self, projected: Tensor, present: Tensor) -> Tensor:
        """The output for each field, (..., F, P, H, A) and (..., F) -> (..., F, n_out)."""
        query, key, value, *residual = projected.movedim(-4, -2).unbind(-4)  # (..., H, F, A) each
        weights = attention(query, key, present.unsqueeze(-2))
        attended = (weights.mT @ value).transpose(-3, -2).flatten(-2)
        return torch.relu(sum((part.transpose(-3, -2).flatten(-2) for part in residual), attended))


def attention(query: Tensor, key: Tensor, present: Tensor) -> Tensor:
    """The weight of each key for each query, (..., F, A) twice and (..., F) -> (..., keys, queries).

    Keys come before queries, since torch computes a softmax over eight numbers four times as fast if they are not
    adjacent in memory.
    """
    return torch.where(present.unsqueeze(-1), key @ query.mT, MASKED_LOGIT).softmax(-2)


def _side_by_side(user: Tensor, item: Tensor) -> Tensor:
    """The fields of both sides, user's first: (B, 1, Fu, …) and (B or 1, n, Fi, …) -> (B, n, Fu + Fi, …)."""
    lead = torch.broadcast_shapes(user.shape[:2], item.shape[:2])
    return torch.cat([part.expand(*lead, *part.shape[2:]) for part in (user, item)], 2)
