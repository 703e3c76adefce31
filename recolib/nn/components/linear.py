"""The first-order term."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recolib.nn.components.component import Component, Contributions, InnerProduct
from recolib.nn.fields import Fields, FieldSpec, NetworkSide, State


@dataclass(frozen=True, eq=False)
class LinearState(State):
    """The sum of a side's linear weights, shape (...)."""

    total: Tensor


class Linear(Component[LinearState]):
    """Σ w_i x_i.

    Parameters
    ----------
    spec
        The fields.
    per_field
        Whether each field has a trained factor, which multiplies its weights.
    """

    def __init__(self, spec: FieldSpec, per_field: bool = False) -> None:
        super().__init__()
        self.spec = spec
        self.factors = nn.Parameter(torch.ones(spec.n_positions)) if per_field else None

    @property
    def trains_as_product(self) -> bool:
        """It does."""
        return True

    @property
    def numbers_per_pair(self) -> int:
        """The sum."""
        return 1

    def encode(self, side: NetworkSide, fields: Fields) -> LinearState:
        """The side's part of the sum."""
        if self.factors is not None:
            return LinearState(fields.weights @ self.factors[self.spec.span(side)])
        return LinearState(fields.weights.squeeze(-1) if fields.weights.shape[-1] == 1 else fields.weights.sum(-1))

    def score(self, user: LinearState, item: LinearState) -> Tensor:
        """The whole sum, (B, n)."""
        return user.total + item.total

    def inner_product(self, side: NetworkSide, state: LinearState) -> InnerProduct:
        """The sum, as a constant."""
        return InnerProduct(state.total.new_zeros(*state.total.shape, 0), state.total)

    def contributions(self, fields: Fields) -> Contributions:
        """Each field's weight."""
        return Contributions(alone=fields.weights if self.factors is None else fields.weights * self.factors)
