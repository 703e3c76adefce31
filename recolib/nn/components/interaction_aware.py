"""Attentive pairs whose directions depend on the two fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from recolib.nn.components.attentive import Activation, AttentivePairs
from recolib.nn.fields import Fields, FieldSpec
from recolib.nn.mlp import glorot, mlp
from recolib.randomness import generator


class InteractionAware(AttentivePairs):
    r"""Σ_p T_p ⟨F_ij, e_p⟩, F_ij = (u_i ∘ u_j) D: each two fields have a direction of their own.

    Parameters
    ----------
    spec, attention_size, temperature, pair_dropout, activation, within_fields, attention_reg
        As in ``AttentivePairs``.
    field_factors
        The size of the fields' vectors u; F_ij has low rank, so that few numbers describe all pairs of fields.
    pair_share
        The share of pairs that a training batch uses: drawn in proportion to ‖F_ij‖² without replacement, once per
        batch. 1 uses all, as predictions do.
    warmup_steps
        The number of batches that use all pairs before any is left out.
    field_reg
        Squared-norm penalty on u and D.

    References
    ----------
    Hong et al., *Interaction-aware Factorization Machines for Recommender Systems*, AAAI 2019.
    """

    steps: Tensor
    drawn: Tensor

    def __init__(
        self,
        spec: FieldSpec,
        attention_size: int,
        field_factors: int,
        temperature: float = 1.0,
        pair_dropout: float = 0.0,
        activation: Activation = "relu",
        within_fields: bool = True,
        pair_share: float = 1.0,
        warmup_steps: int = 0,
        attention_reg: float = 0.0,
        field_reg: float = 0.0,
    ) -> None:
        super().__init__(spec, attention_size, temperature, pair_dropout, activation, within_fields, attention_reg)
        self.field_reg = field_reg
        self.fields = nn.Parameter(torch.randn(max(*spec.user, *spec.item) + 1, field_factors))
        self.mixture = nn.Parameter(torch.randn(field_factors, spec.dim))
        self.pair_share, self.warmup_steps = pair_share, warmup_steps
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("drawn", self.allowed, persistent=False)

    def directions(self, left: Tensor, right: Tensor) -> Tensor:
        """F of each pair."""
        return (self._products(left, right) @ self.mixture).unsqueeze(-2)

    def penalty(self) -> Tensor | float:
        """attention_reg · ‖W‖² + field_reg · (‖u‖² + ‖D‖²)."""
        if not self.field_reg:
            return super().penalty()
        return super().penalty() + self.field_reg * (self.fields.square().sum() + self.mixture.square().sum())

    def _point(self, direction: Tensor) -> None:
        self.fields[:, 0] = 1.0
        self.mixture.zero_()
        self.mixture[0] = direction

    def basis(self) -> Tensor | None:
        """D."""
        return self.mixture

    def mix(self, components: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """⟨u_i ∘ u_j, D e⟩."""
        return (components * self._products(left, right)).sum(-1, keepdim=True)

    def _products(self, left: Tensor, right: Tensor) -> Tensor:
        """u_i ∘ u_j."""
        return self.fields[self.numbers[left]] * self.fields[self.numbers[right]]

    def pairs(self) -> Tensor:
        """In training, the pairs drawn for this batch; else all."""
        return self.drawn if self.training else self.allowed

    @torch.no_grad()
    def begin_batch(self) -> None:
        """Draw the pairs of a training batch."""
        self.steps += 1
        if self.pair_share == 1.0 or self.steps <= self.warmup_steps:
            self.drawn = self.allowed
            return
        n = self.spec.n_positions
        i, j = torch.triu_indices(n, n, 1, device=self.numbers.device)
        i, j = i[self.allowed[i, j]], j[self.allowed[i, j]]
        logits = self.directions(i, j).squeeze(-2).square().sum(-1).log()
        exponential = torch.empty_like(logits).exponential_(generator=generator(logits.device))
        gumbel = -exponential.log()  # the top k of logits + gumbel are such a draw
        top = (logits + gumbel).topk(max(1, round(self.pair_share * len(i)))).indices
        drawn = torch.zeros_like(self.allowed)
        drawn[i[top], j[top]] = drawn[j[top], i[top]] = True
        self.drawn = drawn


class InteractionLayers(InteractionAware):
    r"""MLP([T_p e_p ∘ F_ij over all p]): layers over the pairs' products, instead of their sum.

    The first layer is linear in the pairs: each pair has H directions, its columns of that layer times F_ij.

    Parameters
    ----------
    spec, attention_size, field_factors, temperature, pair_dropout, attention_reg, field_reg
        As in ``InteractionAware``.
    hidden_units
        Layer widths.
    """

    pair_number: Tensor

    def __init__(
        self,
        spec: FieldSpec,
        attention_size: int,
        field_factors: int,
        hidden_units: Sequence[int],
        temperature: float = 1.0,
        pair_dropout: float = 0.0,
        attention_reg: float = 0.0,
        field_reg: float = 0.0,
    ) -> None:
        super().__init__(
            spec,
            attention_size,
            field_factors,
            temperature,
            pair_dropout,
            attention_reg=attention_reg,
            field_reg=field_reg,
        )
        n = spec.n_positions
        i, j = np.triu_indices(n, 1)
        numbers = np.zeros((n, n), np.int64)
        numbers[i, j] = numbers[j, i] = np.arange(len(i))
        self.register_buffer("pair_number", torch.tensor(numbers), persistent=False)
        first = glorot(nn.Linear(len(i) * spec.dim, hidden_units[0]))
        by_pair = first.weight.detach().view(hidden_units[0], len(i), spec.dim).transpose(0, 1)
        self.weight = nn.Parameter(by_pair.contiguous())  # (P, H, K)
        self.bias = nn.Parameter(first.bias.detach())
        self.rest = nn.Sequential(nn.ReLU(), *mlp(hidden_units, use_bn=False, dropout=0.0))

    def _point(self, direction: Tensor) -> None:
        """Let two units of each layer carry the sum through ReLU: x = relu(x) − relu(−x)."""
        super()._point(direction)
        layers = [layer for layer in self.rest if isinstance(layer, nn.Linear)]
        if min(self.bias.shape[0], *(layer.in_features for layer in layers)) < 2:
            raise ValueError("init_from needs at least 2 units in each hidden layer: see hidden_units")
        signs = torch.tensor([1.0, -1.0], device=direction.device)
        self.weight[:, :2] = signs[:, None]
        for number, layer in enumerate(layers, start=1):
            n_out = 1 if number == len(layers) else 2
            layer.weight[:n_out] = 0.0
            layer.weight[:n_out, :2] = signs[:n_out, None] * signs

    def directions(self, left: Tensor, right: Tensor) -> Tensor:
        """Each pair's columns of the first layer, times F."""
        return super().directions(left, right) * self.weight[self.pair_number[left, right]]

    def basis(self) -> Tensor | None:
        """None: each pair has directions of its own."""
        return None

    def contributions(self, fields: Fields) -> None:
        """None: the layers are no sum over pairs."""
        return

    def finish(self, pooled: Tensor) -> Tensor:
        """The bias of the first layer, and the layers after it."""
        return self.rest(pooled + self.bias).squeeze(-1)
