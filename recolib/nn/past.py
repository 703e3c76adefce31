"""What the users of a batch consumed, as vectors of the items."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recolib.caching import cached
from recolib.data.rows import UNKNOWN, Past
from recolib.nn.dropout import dropout
from recolib.nn.embedding import N_SPECIAL, FieldEmbedding
from recolib.nn.fields import Fields
from recolib.nn.lookup import lookup
from recolib.randomness import generator, own_rows

MIX = -7046029254386353131
"""An odd number of 64 bits whose multiples look random: 2^64 divided by the golden ratio."""


@dataclass(frozen=True, eq=False)
class PastItems:
    """The items that the users of n rows consumed, end to end: nothing is padded.

    Attributes
    ----------
    items
        Codes of items, of one user together and the earliest first, (T,).
    begin, end, hole
        Where each row's items begin and end among them, and the place of one that does not count, or −1, (n,).
    lead
        The leading dimensions of the rows.
    embedding
        The items' vectors.
    """

    items: Tensor
    begin: Tensor
    end: Tensor
    hole: Tensor
    lead: torch.Size
    embedding: FieldEmbedding

    @classmethod
    def of(cls, past: Past | None, lead: torch.Size, longest: int, embedding: FieldEmbedding) -> PastItems:
        """The latest items, at most ``longest`` of each row; none where rows come without a past."""
        device = embedding.offsets.device
        if past is None:
            nothing = torch.zeros(lead.numel(), dtype=torch.int64, device=device)
            return cls(nothing[:0], nothing, nothing, nothing - 1, lead, embedding)
        begin, end, hole = past.spans.to(device).reshape(-1, 3).unbind(-1)
        first = end - longest
        begin = torch.maximum(begin, first - ((hole >= 0) & (hole >= first)).long())  # a hole takes no place
        return cls(past.items.to(device), begin, end, hole, lead, embedding)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.begin)

    @cached
    def pairs(self) -> tuple[Tensor, Tensor]:
        """The row of each item that has a vector of its own, ascending, and the item's code, (E,)."""
        sizes = self.end - self.begin
        rows = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
        at = torch.arange(len(rows), device=rows.device) + (self.begin - sizes.cumsum(0) + sizes)[rows]
        codes = self.codes(at)
        counts = (codes > UNKNOWN) & (at != self.hole[rows])
        return (rows, codes) if bool(counts.all()) else (rows[counts], codes[counts])

    @cached
    def recencies(self) -> Tensor:
        """How much each of the items counts where what came last counts most, (E,)."""
        rows = self.pairs[0]
        ends = torch.bincount(rows, minlength=len(self)).cumsum(0)
        return recency(ends[rows] - 1 - torch.arange(len(rows), device=rows.device))

    def codes(self, at: Tensor) -> Tensor:
        """The codes of the items at some places; 0 of those that have no vector of their own."""
        codes = self.items[at].long()
        return torch.where(codes <= self.embedding.layout.code_fields[0].n_values, codes, UNKNOWN)

    def vectors(self, codes: Tensor) -> Tensor:
        """The vectors of the ids of some items, by code, (..., K)."""
        return lookup(self.embedding.vectors, self.embedding.weights, codes + (N_SPECIAL - 1))[0]

    def sums(self, rows: Tensor, codes: Tensor, weights: Tensor | None = None) -> Tensor:
        """Of each row the sum of the vectors of its items, each as often as its weight says, (n, K)."""
        vectors = self.vectors(codes)
        vectors = vectors if weights is None else vectors * weights.unsqueeze(1)
        return vectors.new_zeros(len(self), vectors.shape[-1]).index_add(0, rows, vectors)

    def matrix(self, length: int) -> Tensor:
        """The codes of each row's items, the earliest first, then zeros, (n, length)."""
        rows, codes = self.pairs
        counts = torch.bincount(rows, minlength=len(self))
        places = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
        matrix = codes.new_zeros(len(self) * length)
        return matrix.index_copy(0, rows * length + places, codes).view(len(self), length)


def _lots(rows: Tensor, codes: Tensor, n: int) -> Tensor:
    """A number in [0, 1) for each item of n rows, which follows from one that is drawn for the row, and the code."""
    own, device = own_rows(), rows.device
    drawn = torch.empty(n if own is None else own.n_drawn(n), dtype=torch.int64, device=device)
    drawn.random_(-(2**63), None, generator=generator(device))
    of_rows = (drawn if own is None else own.of(drawn))[rows]
    mixed = (of_rows ^ (codes * MIX)) * MIX  # multiplication mixes into the upper bits, of which 24 are taken
    mixed = (mixed ^ (mixed >> 32)) * MIX
    return (mixed >> 40 & 2**24 - 1).float() / 2**24


@dataclass(frozen=True, eq=False)
class PaddedItems(PastItems):
    """The items as a matrix, which an exported graph needs.

    Attributes
    ----------
    padded
        Codes, the earliest first, then zeros, (n, L).
    """

    padded: Tensor

    @classmethod
    def of_matrix(cls, codes: Tensor, lead: torch.Size, embedding: FieldEmbedding) -> PaddedItems:
        """Those of a matrix of codes."""
        return cls(codes, codes, codes, codes, lead, embedding, codes)

    @cached
    def recencies(self) -> Tensor:
        """How much each place of the matrix counts where what came last counts most, (n, L)."""
        present = self.padded > UNKNOWN
        return recency(present.sum(1, keepdim=True) - present.cumsum(1)) * present

    def matrix(self, length: int) -> Tensor:
        """The matrix, which has this length."""
        return self.padded


def recency(n_between: Tensor) -> Tensor:
    """How much an event counts from which others separate the moment that is looked from."""
    return 1 / (1 + n_between)


class PooledPast(nn.Module):
    """What a user consumed as one more field of their side: Σ v_i / √n, of the vectors that the items have anyway.

    Parameters
    ----------
    hidden
        The share of the items that training hides, so that none is relied on.
    dropout
        The share of vector elements that training drops.
    by_recency
        Whether the item before k others counts 1 / (1 + k): Σ w_i v_i / √(Σ w_i²).

    References
    ----------
    Koren, *Factorization meets the Neighborhood*, KDD 2008: SVD++, whose items have vectors of their own for it.
    """

    def __init__(self, hidden: float = 0.0, dropout: float = 0.0, by_recency: bool = False) -> None:
        super().__init__()
        self.hidden, self.dropout, self.by_recency = hidden, dropout, by_recency

    def forward(self, past: PastItems) -> Fields:
        """The field, (..., 1, K); absent where nothing was consumed."""
        if isinstance(past, PaddedItems):
            present = past.padded > UNKNOWN
            counts, weights = present.sum(1), past.recencies if self.by_recency else present.float()
            pooled, squares = (past.vectors(past.padded) * weights.unsqueeze(-1)).sum(1), weights.square().sum(1)
        else:
            rows, codes = past.pairs
            weights = past.recencies if self.by_recency else None
            if self.training and self.hidden:
                stays = _lots(rows, codes, len(past)) >= self.hidden
                rows, codes, weights = rows[stays], codes[stays], None if weights is None else weights[stays]
            pooled, counts = past.sums(rows, codes, weights), torch.bincount(rows, minlength=len(past))
            squares = counts if weights is None else pooled.new_zeros(len(past)).index_add(0, rows, weights.square())
        pooled = pooled * squares.where(counts > 0, 1).to(pooled.dtype).rsqrt().unsqueeze(-1)
        pooled = dropout(pooled, self.dropout, self.training)
        shape = (*past.lead, 1)
        return Fields(pooled.view(*shape, -1), pooled.new_zeros(shape), (counts > 0).view(shape))
