"""Gradients of processes that train together: each has those of its own rows, and gets the sum of all.

Dense gradients are summed as one tensor. Of tables that are stepped by rows, the rows that processes looked up are
gathered: traffic follows the batch and not the table. torch's DistributedDataParallel knows tables by their class, and
would miss gradients that are added in place; see ``nn/lookup.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recolib.process_group import ProcessGroup


@torch.no_grad()
def sum_gradients(weights: Sequence[Tensor], group: ProcessGroup) -> None:
    """Put into each weight's ``grad`` the sum of those of all processes, the same to the bit in each.

    A weight that has no gradient in any process keeps none.
    """
    sparse = [one.grad is not None and one.grad.is_sparse for one in weights]
    dense = [one for one, is_sparse in zip(weights, sparse, strict=True) if not is_sparse]
    has_one = torch.tensor([float(one.grad is not None) for one in dense], device=weights[0].device)
    parts = [torch.zeros_like(one).reshape(-1) if one.grad is None else one.grad.reshape(-1) for one in dense]
    *sums, has_one = group.sum(torch.cat([*parts, has_one])).split([*map(len, parts), len(dense)])
    for weight, total, there in zip(dense, sums, has_one.tolist(), strict=True):
        if not there:
            continue
        if weight.grad is None:
            weight.grad = total.view_as(weight).clone()
        else:
            weight.grad.copy_(total.view_as(weight))
    _gather([one for one, is_sparse in zip(weights, sparse, strict=True) if is_sparse], group)


def _gather(tables: Sequence[Tensor], group: ProcessGroup) -> None:
    """Give each table the rows of all processes; tables that were looked up together keep one tensor of indices."""
    if not tables:
        return
    gradients = [table.grad for table in tables if table.grad is not None]
    counts = group.stack(torch.tensor([one._nnz() for one in gradients], device=tables[0].device)).tolist()
    gathered: dict[int, Tensor] = {}
    for number, (table, gradient) in enumerate(zip(tables, gradients, strict=True)):
        lengths = [of_one[number] for of_one in counts]
        indices, values = gradient._indices(), gradient._values()
        if indices.data_ptr() not in gathered:
            gathered[indices.data_ptr()] = _joined(indices[0], lengths, group).unsqueeze(0)
        rows = gathered[indices.data_ptr()]
        table.grad = torch.sparse_coo_tensor(rows, _joined(values, lengths, group), table.shape, check_invariants=False)


def _joined(own: Tensor, lengths: Sequence[int], group: ProcessGroup) -> Tensor:
    """The rows of all processes, of which each has another number."""
    padded = own.new_zeros(max(lengths), *own.shape[1:])
    padded[: len(own)] = own
    return torch.cat([part[:length] for part, length in zip(group.stack(padded), lengths, strict=True)])
