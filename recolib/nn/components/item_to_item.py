"""What the items that a user consumed say of another item, by a table of weights from item to item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from recolib.data.rows import UNKNOWN
from recolib.nn.components.component import Component, InnerProduct
from recolib.nn.fields import Fields, NetworkSide, State
from recolib.nn.past import PaddedItems, PastItems

MAX_DENSE = 10_000
"""Items up to which the table is dense, 400 MB. Beyond, each row keeps its ``N_KEPT`` weights of the largest size."""
N_KEPT = 512


@dataclass(frozen=True, eq=False)
class ItemToItemState(State):
    """Of a user what their items say of each code, (..., n + 1); of an item its code, (...)."""

    part: Tensor


class ItemToItem(Component[ItemToItemState]):
    """w Σ_j x_j B[j, i] over the items j that the user consumed, each once.

    B is solved for, not trained (``recolib.training.closed_form``), and w is chosen on rows that are held out. In
    training the term is 0: on the pairs that B was made of it would explain what it cannot explain of others.

    Parameters
    ----------
    n_items
        The items that have a row and a column. Code 0, what is unknown, says nothing.
    weight
        w.
    by_recency
        Whether x_j is 1 / (1 + k) for the item before k others; of an item that was consumed several times the latest
        counts. Else it is 1.
    """

    reads_past = True
    is_solved = True
    weight: Tensor
    values: Tensor
    columns: Tensor

    def __init__(self, n_items: int, weight: float = 1.0, by_recency: bool = False) -> None:
        super().__init__()
        self.by_recency = by_recency
        n = n_items + 1
        self.n, self.is_dense = n, n <= MAX_DENSE
        width = n if self.is_dense else N_KEPT
        self.register_buffer("weight", torch.tensor(float(weight)))
        self.register_buffer("values", torch.zeros(n, width))
        self.register_buffer("columns", torch.zeros((n, 0 if self.is_dense else width), dtype=torch.int32))

    @property
    def trains_as_product(self) -> bool:
        """Nothing is an inner product."""
        return True

    def encode_user(self, fields: Fields, past: PastItems) -> ItemToItemState:
        """What the user's items say of all items."""
        if self.training:
            return ItemToItemState(fields.weights[..., :0])
        return ItemToItemState(self._sums(past).view(*past.lead, self.n))

    def distinct(self, past: PastItems) -> tuple[Tensor, Tensor, Tensor]:
        """The row of each item, ascending, its code, and how much it counts: each item of a row once, (E,)."""
        rows, codes = past.pairs
        distinct, which = (rows * self.n + codes).unique(return_inverse=True)
        counts = self.values.new_ones(len(distinct))
        if self.by_recency:
            counts = counts.scatter_reduce(0, which, past.recencies.to(counts), "amax", include_self=False)
        return distinct // self.n, distinct % self.n, counts

    def _sums(self, past: PastItems) -> Tensor:
        """Σ_j x_j B[j] over the items of each of n rows, (n, n_items + 1)."""
        if isinstance(past, PaddedItems):
            places = past.recencies if self.by_recency else (past.padded > UNKNOWN).float()
            had = self.values.new_zeros(past.padded.shape[0], self.n)
            return had.scatter_reduce(1, past.padded, places, "amax") @ self.values
        rows, codes, counts = self.distinct(past)
        if self.is_dense:
            starts = torch.searchsorted(rows, torch.arange(len(past), device=rows.device))
            return F.embedding_bag(codes, self.values, starts, mode="sum", per_sample_weights=counts)
        sums = self.values.new_zeros(len(past) * self.n)
        places, said = rows.unsqueeze(1) * self.n + self.columns[codes], self.values[codes] * counts.unsqueeze(1)
        return sums.index_add_(0, places.flatten(), said.flatten()).view(len(past), self.n)

    def of_each(self, past: PastItems, item: Tensor) -> tuple[NDArray[np.int32], Tensor]:
        """Of one row: the codes of the user's items, each once, and what each says of the item of a code."""
        _, codes, counts = self.distinct(past)
        said = self.values.new_zeros(len(codes), self.n)
        if self.is_dense:
            said = self.values[codes]
        else:
            said.scatter_add_(1, self.columns[codes].long(), self.values[codes])
        return codes.cpu().numpy().astype(np.int32), self.weight * counts * said[:, max(int(item), 0)]

    def encode_item(self, fields: Fields, codes: Tensor) -> ItemToItemState:
        """The item's code."""
        if self.training:
            return ItemToItemState(fields.weights[..., :0])
        return ItemToItemState(codes.clamp_min(0).long())

    def inner_product(self, side: NetworkSide, state: ItemToItemState) -> InnerProduct | None:
        """Nothing in training; in evaluation vectors would be as long as there are items."""
        return InnerProduct(state.part, state.part.sum(-1)) if self.training else None

    def score(self, user: ItemToItemState, item: ItemToItemState) -> Tensor:
        """What a user's items say of each item, (B, n)."""
        if self.training:
            return user.part.new_zeros(())
        of_all, codes = user.part.squeeze(1), item.part
        if codes.shape[0] == 1:
            return self.weight * of_all.index_select(1, codes.squeeze(0))
        return self.weight * of_all.gather(1, codes)


def moved(values: Tensor, columns: Tensor, origin: Tensor) -> tuple[Tensor, Tensor]:
    """The table of other items, (n, …): row and column i are those of ``origin[i]``, or zeros where that is −1."""
    n, there = len(origin), origin >= 0
    rows = torch.where(there.unsqueeze(1), values[origin.clamp_min(0)], 0.0)
    if not columns.shape[1]:
        rows = torch.where(there, rows[:, origin.clamp_min(0)], 0.0)
        if n <= MAX_DENSE:
            return rows, columns.new_zeros(n, 0)
        _, largest = rows.abs().topk(N_KEPT, 1)
        return rows.gather(1, largest), largest.to(columns.dtype)
    new = columns.new_zeros(int(max(columns.max(), origin.max())) + 1)
    new[origin[there]] = there.nonzero().squeeze(-1).to(new)
    places = new[columns[origin.clamp_min(0)].long()]
    rows = torch.where(places > 0, rows, 0.0)
    if n > MAX_DENSE:
        return rows, places
    return rows.new_zeros(n, n).scatter_add_(1, places.long(), rows), columns.new_zeros(n, 0)
