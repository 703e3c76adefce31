"""Two towers: a perceptron for each side, and the inner product of what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from recolib.nn.components.component import Component, InnerProduct, cross
from recolib.nn.fields import Fields, FieldSpec, NetworkSide, State
from recolib.nn.mlp import Perceptron, after_linear, glorot


@dataclass(frozen=True, eq=False)
class TowersState(State):
    """A side's vector, (..., K)."""

    vector: Tensor


class Towers(Component[TowersState]):
    r"""⟨MLP([e_1; …] of the user), MLP([e_1; …] of the item)⟩ / τ.

    Parameters
    ----------
    spec
        The fields.
    hidden_units
        Layer widths of each perceptron; its last layer, without activation, has the size of the vectors.
    dropout
        Dropout after each activation.
    temperature
        τ: both vectors then have length 1, and scores are cosines by it. None: vectors as they come out.
    item_tower
        Whether items have a perceptron; without, an item's vector is the sum of those of its fields.
    with_user_id
        Whether the user's id is among the fields of their tower. Without, a user is what they consumed and their
        features, and a new user is as good as any.
    """

    def __init__(
        self,
        spec: FieldSpec,
        hidden_units: Sequence[int],
        dropout: float = 0.0,
        temperature: float | None = None,
        item_tower: bool = True,
        with_user_id: bool = True,
    ) -> None:
        super().__init__()
        self.temperature, self.first_field = temperature, 0 if with_user_id else 1
        n_user = len(spec.user) - self.first_field
        self.user = tower(n_user * spec.dim, hidden_units, spec.dim, dropout)
        self.item = tower(len(spec.item) * spec.dim, hidden_units, spec.dim, dropout) if item_tower else None

    @property
    def trains_as_product(self) -> bool:
        """In training, too, the term is an inner product."""
        return True

    def encode(self, side: NetworkSide, fields: Fields) -> TowersState:
        """What comes out of the side's tower."""
        vectors = fields.vectors
        if side == "user":
            vector = self.user(vectors[..., self.first_field :, :].flatten(-2))
        else:
            vector = vectors.sum(-2) if self.item is None else self.item(vectors.flatten(-2))
        if self.temperature is not None:
            vector = F.normalize(vector, dim=-1)
            vector = vector / self.temperature if side == "user" else vector
        return TowersState(vector)

    def score(self, user: TowersState, item: TowersState) -> Tensor:
        """Inner products, (B, n)."""
        return cross(user.vector, item.vector)

    def inner_product(self, side: NetworkSide, state: TowersState) -> InnerProduct:
        """The vectors are all of it."""
        return InnerProduct(state.vector, state.vector.new_zeros(state.vector.shape[:-1]))


def tower(n_inputs: int, hidden_units: Sequence[int], n_outputs: int, dropout: float) -> Perceptron:
    """A perceptron whose last layer has no activation."""
    layers, width = list[nn.Module](), n_inputs
    for units in hidden_units:
        layers += [glorot(nn.Linear(width, units)), *after_linear(units, False, dropout)]
        width = units
    return Perceptron(*layers, glorot(nn.Linear(width, n_outputs)))
