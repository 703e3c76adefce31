"""Rows of embedding tables, and their gradients without a second table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def lookup(
    vectors: nn.Embedding,
    weights: nn.Embedding,
    at: Tensor,
    decay: Tensor | float = 0.0,
    decay_weights: bool = True,
) -> tuple[Tensor, Tensor]:
    """The rows ``at`` (..., C) of both tables: vectors (..., C, K) and weights (..., C).

    The gradients are sparse if the tables' ``sparse`` flag is set. Dense gradients are added in place to a table's
    ``grad``, which ``zero_grad(set_to_none=False)`` leaves there, so that a step allocates no table. Each row that is
    looked up adds ``decay`` times itself to its gradient, as a penalty of decay/2 · ‖row‖² would.

    Parameters
    ----------
    vectors, weights
        The tables.
    at
        Row numbers, int64.
    decay
        A number, or one for each row looked up, of the shape of ``at``.
    decay_weights
        Whether it is of the linear weights, too, and not of the vectors alone.
    """
    tables, flat = (vectors.weight, weights.weight), at.reshape(-1)
    if not torch.is_grad_enabled():
        found, weight = _rows(*tables, flat)
    else:
        is_many = isinstance(decay, Tensor)
        of_tables = _SparseLookup if vectors.sparse else _DenseLookup
        found, weight = cast(
            "Any", of_tables.apply(*tables, flat, decay.reshape(-1) if is_many else decay, decay_weights)
        )
    return found.view(*at.shape, vectors.embedding_dim), weight.view(at.shape)


def lookup_elsewhere(
    vectors: Callable[[Tensor], Tensor],
    weights: nn.Embedding,
    at: Tensor,
    decay: Tensor | float = 0.0,
    decay_weights: bool = True,
) -> tuple[Tensor, Tensor]:
    """The same of vectors (n, K) that a function has of row numbers (n,), which takes their gradients itself."""
    flat = at.reshape(-1)
    found, weight = vectors(flat), F.embedding(flat, weights.weight, sparse=weights.sparse)
    by_row = decay.reshape(-1, 1) if isinstance(decay, Tensor) else decay
    found, weight = Decayed.apply(found, by_row), Decayed.apply(weight, by_row if decay_weights else 0.0)
    return found.view(*at.shape, -1), weight.view(at.shape)


class Decayed(torch.autograd.Function):
    """Weights as they are; in the backward pass each adds a part of itself to its gradient."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, decay: Tensor | float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The weights."""
        ctx.save_for_backward(weights)
        ctx.decay = decay
        return weights.view_as(weights)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The gradient, and the penalty's."""
        return gradient + ctx.decay * ctx.saved_tensors[0], None


def _rows(vectors: Tensor, weights: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    return vectors.index_select(0, at), weights.view(-1).index_select(0, at)


def _decayed(gradient: Tensor, rows: Tensor, decay: Tensor | float) -> Tensor:
    if isinstance(decay, Tensor):
        return torch.addcmul(gradient, rows, decay if rows.dim() == 1 else decay.unsqueeze(-1))
    return gradient.add(rows, alpha=decay) if decay else gradient


class _Lookup(torch.autograd.Function):
    """Rows of both tables."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, vectors: Tensor, weights: Tensor, at: Tensor, decay: Tensor | float, decay_weights: bool
    ) -> tuple[Tensor, Tensor]:
        """Look up."""
        found = _rows(vectors, weights, at)
        ctx.save_for_backward(vectors, weights, at, *(found if isinstance(decay, Tensor) or decay else ()))
        ctx.decays = decay, decay if decay_weights else 0.0
        return found

    @staticmethod
    def tables_with_gradients(ctx: Any, gradients: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor] | None]:
        """Each table that needs a gradient, with the gradient of the rows that were looked up; else None."""
        tables, rows = ctx.saved_tensors[:2], ctx.saved_tensors[3:]
        if rows:
            gradients = tuple(map(_decayed, gradients, rows, ctx.decays))
        needed = zip(tables, gradients, ctx.needs_input_grad, strict=False)
        return [(table, gradient) if is_needed else None for table, gradient, is_needed in needed]


class _DenseLookup(_Lookup):
    """Gradients are added to ``grad`` of the tables in place."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the tables; None where they were added in place."""
        at, new = ctx.saved_tensors[2], list[Tensor | None]()
        for needed in _Lookup.tables_with_gradients(ctx, gradients):
            if needed is None:
                new.append(None)
                continue
            table, gradient = needed
            whole = torch.zeros_like(table) if table.grad is None else table.grad
            whole_rows = whole.view(-1, *gradient.shape[1:])  # numbers are faster than columns
            if whole.device.type == "cpu":
                whole_rows.index_add_(0, at, gradient)
            else:  # which sorts first, so that sums do not depend on the order of threads
                whole_rows.index_put_((at,), gradient, accumulate=True)
            new.append(whole if table.grad is None else None)
        return *new, None, None, None


class _SparseLookup(_Lookup):
    """Gradients are sparse tensors with an entry for each lookup, so that a row can have several."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of both tables, on the same indices."""
        indices, new = ctx.saved_tensors[2].unsqueeze(0), list[Tensor | None]()
        for needed in _Lookup.tables_with_gradients(ctx, gradients):
            if needed is not None:
                table, gradient = needed
                values = gradient.view(-1, table.shape[1])
                new.append(torch.sparse_coo_tensor(indices, values, table.shape, check_invariants=False))
            else:
                new.append(None)
        return *new, None, None, None
