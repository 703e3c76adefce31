"""Rows of embedding tables, and their gradients without a second table."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn


def lookup(vectors: nn.Embedding, weights: nn.Embedding, at: Tensor) -> tuple[Tensor, Tensor]:
    """The rows ``at`` (..., C) of two tables of as many rows: (..., C, K) and, of the one that is a column, (..., C).

    Their gradients are sparse where the tables say so, and name each row once. Dense gradients are added in place to
    those that a table has already, as ``zero_grad(set_to_none=False)`` leaves them, so that a step makes no table anew.
    """
    if vectors.weight.device.type != "cpu" and not vectors.sparse:
        return vectors(at), weights(at).squeeze(-1)
    if not torch.is_grad_enabled():
        found, weight = _rows(vectors.weight, weights.weight, at.reshape(-1))
        return found.view(*at.shape, vectors.embedding_dim), weight.view(at.shape)
    of_rows = _SparseLookup if vectors.sparse else _DenseLookup
    found, weight = cast("tuple[Tensor, Tensor]", of_rows.apply(vectors.weight, weights.weight, at.reshape(-1)))
    return found.view(*at.shape, vectors.embedding_dim), weight.view(at.shape)


def _rows(vectors: Tensor, weights: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    return vectors.index_select(0, at), weights.view(-1).index_select(0, at)


class _DenseLookup(torch.autograd.Function):
    """Gradients are added to those of the tables in place."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, weights: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Rows of both tables."""
        ctx.save_for_backward(vectors, weights, at)
        return _rows(vectors, weights, at)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """A table of gradients, or none where they went into that which was there."""
        *tables, at = ctx.saved_tensors
        new: list[Tensor | None] = []
        for table, gradient, is_needed in zip(tables, gradients, ctx.needs_input_grad, strict=False):
            if not is_needed:
                new.append(None)
                continue
            whole = torch.zeros_like(table) if table.grad is None else table.grad
            whole.view(-1, *gradient.shape[1:]).index_add_(0, at, gradient)  # numbers are faster than columns
            new.append(whole if table.grad is None else None)
        return *new, None


class _SparseLookup(torch.autograd.Function):
    """Gradients are sparse tensors of the distinct rows."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, weights: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Rows of both tables."""
        ctx.save_for_backward(at)
        ctx.n_rows = len(vectors)
        return _rows(vectors, weights, at)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The distinct rows are found once for both tables."""
        rows, place = ctx.saved_tensors[0].unique(return_inverse=True)
        sums = [
            gradient.new_zeros(len(rows), *gradient.shape[1:]).index_add_(0, place, gradient) if is_needed else None
            for gradient, is_needed in zip(gradients, ctx.needs_input_grad, strict=False)
        ]
        return *(None if one is None else _sparse(rows, one.view(len(rows), -1), ctx.n_rows) for one in sums), None


def _sparse(rows: Tensor, values: Tensor, n_rows: int) -> Tensor:
    return torch.sparse_coo_tensor(
        rows.unsqueeze(0), values, (n_rows, values.shape[1]), check_invariants=False, is_coalesced=True
    )
