"""Moving averages of weights over steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class MovingAverage:
    """A moving average of weights, of which a step costs as much as what it changed.

    While a row w of a table stands still for some steps, its average a comes nearer to it by their decays:
    w + (a − w) Π d. So rows without a gradient are left alone until they get one, or until the average is asked for.

    Parameters
    ----------
    weights
        What is averaged.
    values
        The averages to go on from; by default the weights as they are.
    """

    def __init__(self, weights: Sequence[Tensor], values: Sequence[Tensor] | None = None) -> None:
        self.weights = weights
        self.values = [one.detach().clone() for one in weights] if values is None else list(values)
        self._log_decay = 0.0  # of all steps since everything was up to date
        self._stamps: dict[int, Tensor] = {}  # what that was when a row was last brought up to date

    @torch.no_grad()
    def catch_up(self) -> None:
        """Before a step: bring the rows up to date that have a sparse gradient."""
        for at, rows in self._rows().items():
            if at not in self._stamps:
                self._stamps[at] = rows.new_zeros(len(self.weights[at]), dtype=torch.float64)
            weight = self.weights[at].index_select(0, rows)
            faded = self._faded(weight, self.values[at].index_select(0, rows), self._stamps[at].index_select(0, rows))
            self.values[at].index_copy_(0, rows, faded)

    @torch.no_grad()
    def mix(self, decay: float) -> None:
        """After a step: decay · average + (1 − decay) · weight."""
        self._log_decay += math.log(max(decay, 1e-300))
        of_rows = self._rows()
        for at, (value, weight) in enumerate(zip(self.values, self.weights, strict=True)):
            if at not in of_rows:
                if at not in self._stamps:
                    value.lerp_(weight, 1 - decay)
                continue
            rows = of_rows[at]
            mixed = value.index_select(0, rows).lerp_(weight.index_select(0, rows), 1 - decay)
            value.index_copy_(0, rows, mixed)  # a row that stands twice among them is written twice alike
            self._stamps[at].index_fill_(0, rows, self._log_decay)

    @torch.no_grad()
    def refresh(self) -> None:
        """Bring all rows up to date."""
        for at, stamps in self._stamps.items():
            self.values[at].copy_(self._faded(self.weights[at], self.values[at], stamps))
        self._stamps, self._log_decay = {}, 0.0

    def swap(self) -> None:
        """Exchange the weights with their averages; a second call undoes it."""
        for at, weight in enumerate(self.weights):
            weight.data, self.values[at] = self.values[at], weight.data

    def _rows(self) -> dict[int, Tensor]:
        """The rows of each weight that has a sparse gradient, some of them twice."""
        gradients = {at: weight.grad for at, weight in enumerate(self.weights)}
        return {at: one._indices()[0] for at, one in gradients.items() if one is not None and one.is_sparse}  # pyright: ignore[reportPrivateUsage]

    def _faded(self, weights: Tensor, values: Tensor, stamps: Tensor) -> Tensor:
        share = torch.exp(self._log_decay - stamps).to(values.dtype).unsqueeze(-1)
        return weights + (values - weights) * share
