"""Alternating least squares: the vectors of users and of items, solved for in turn instead of stepped.

Where items' vectors stand, the squared error of all pairs is a system of K equations for each user, and the other way
round. A few steps of conjugate gradients from the vectors that there are do for each system, since the next sweep goes
on from there. They are made for all users at once, by two passes over the pairs: no user has a matrix.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from recolib.data.interactions import Interactions
from recolib.nn.blocks import at_once
from recolib.nn.components.linear import Linear
from recolib.nn.embedding import FieldEmbedding
from recolib.nn.network import Network, Systems
from recolib.process_group import ProcessGroup

N_STEPS = 3
"""Steps of conjugate gradients a sweep. With two more sweeps are needed, and with five a sweep takes longer."""
NUMBERS_AT_ONCE = 2**21
"""Numbers of the vectors that are solved for at once, 8 MB."""
TINY = 1e-30
"""Keeps a system that is solved already from dividing 0 by 0."""


@dataclass(frozen=True, eq=False)
class PairsByRow:
    """Pairs of one side's codes, the rows, with those of the other, each once.

    Attributes
    ----------
    starts
        Where the pairs of each row begin, (R + 1,).
    columns, targets, weights
        The other side's code of each pair, what it is to be, and how much it counts, (P,).
    """

    starts: Tensor
    columns: Tensor
    targets: Tensor
    weights: Tensor

    @classmethod
    def of(
        cls,
        rows: NDArray[Any],
        columns: NDArray[Any],
        labels: NDArray[Any],
        weights: NDArray[Any],
        shape: tuple[int, int],
        device: torch.device,
    ) -> PairsByRow:
        """Of events: a pair has the sum of their weights, and the mean of their labels by these."""
        counted, summed = (
            sparse.coo_array((each.astype(np.float64), (rows, columns)), shape).tocsr()
            for each in (weights, weights * labels)
        )  # which have their pairs at the same places, those of a label of 0 as well
        means: NDArray[np.float64] = np.divide(summed.data, counted.data)
        arrays = counted.indptr, counted.indices, means, counted.data
        dtypes = np.int64, np.int64, np.float32, np.float32
        tensors = (torch.from_numpy(one.astype(dtype)) for one, dtype in zip(arrays, dtypes, strict=True))
        return cls(*(one.to(device) for one in tensors))

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self.columns)

    @property
    def counts(self) -> Tensor:
        """How many each row has, (R,)."""
        return self.starts.diff()

    def block(self, first: int, last: int) -> PairsByRow:
        """Those of some rows, which count from 0 then."""
        begin, end = self.starts[[first, last]].tolist()
        parts = (one[begin:end] for one in (self.columns, self.targets, self.weights))
        return PairsByRow(self.starts[first : last + 1] - begin, *parts)

    def products(self, own: Tensor, other: Tensor) -> Tensor:
        """The inner product of each pair's vectors, (P,)."""
        shape, anything = (len(own), len(other)), self.weights  # which beta=0 leaves out
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            where = torch.sparse_csr_tensor(self.starts, self.columns, anything, shape, check_invariants=False)
            return torch.sparse.sampled_addmm(where, own, other.T, beta=0.0).values()

    def sums(self, values: Tensor, other: Tensor) -> Tensor:
        """The sum of each row's vectors of the other side, times the values (P,) of the pairs, (R, K)."""
        bag = partial(F.embedding_bag, mode="sum", include_last_offset=True)
        return bag(self.columns, other, self.starts, per_sample_weights=values)


def solve(pairs: PairsByRow, own: Tensor, other: Tensor, gram: Tensor, n_steps: int = N_STEPS) -> Tensor:
    r"""Move vectors, in place, towards where the squared error of their pairs is least.

    .. math:: \min_x \sum_i w_i (t_i - \langle x, q_i \rangle)^2 + x^T G x

    Parameters
    ----------
    pairs
        Of each row: the others i, what they are to be, t, and how much they count, w.
    own
        x, (R, K).
    other
        q, (M, K).
    gram
        G, (K, K): what is not observed, and the penalty.
    n_steps
        How many steps of conjugate gradients; K of them reach the minimum.

    Returns
    -------
    Tensor
        ⟨x, q⟩ of each pair, (P,).

    References
    ----------
    Takács et al., *Applications of the Conjugate Gradient Method for Implicit Feedback Collaborative Filtering*,
    RecSys 2011.
    """
    found, row = pairs.products(own, other), torch.repeat_interleave(pairs.counts)
    rest = pairs.sums(pairs.weights * (pairs.targets - found), other) - own @ gram
    way, square = rest.clone(), rest.square().sum(1, keepdim=True)
    for _ in range(n_steps):
        along = pairs.products(way, other)
        image = pairs.sums(pairs.weights * along, other).addmm_(way, gram)
        length = square / (way * image).sum(1, keepdim=True).clamp_min(TINY)
        own.addcmul_(length, way)
        found.addcmul_(length.squeeze(1)[row], along)
        rest.addcmul_(length, image, value=-1)
        before, square = square, rest.square().sum(1, keepdim=True)
        way = torch.addcmul(rest, square / before.clamp_min(TINY), way)
    return found


@dataclass(frozen=True, eq=False)
class AlternatingExamples:
    """The pairs of a data set, both ways round.

    Attributes
    ----------
    n_events
        How many rows they are of.
    of_users, of_items
        The pairs by user and by item.
    unobserved_weight
        How much any pair of a user and an item counts, which is to be 0, beside those with a row, which are to be 1;
        0: those with a row alone count, and are to be their labels.
    """

    n_events: int
    of_users: PairsByRow
    of_items: PairsByRow
    unobserved_weight: float

    @classmethod
    def of(cls, data: Interactions, network: Network, unobserved_weight: float) -> AlternatingExamples:
        """Take a set to a network's device; ids without events at the end of all may be in no table."""
        data = data.take(np.flatnonzero(data.weights > 0))
        users, items = data.user_indices, data.item_indices
        weights = data.weights / data.weights.mean(dtype=np.float64)
        labels = np.ones(len(data)) if unobserved_weight else data.labels
        n_users, n_items = (len(IdVectors.of(side).weights) for side in (network.user, network.item))
        by_user = PairsByRow.of(users, items, labels, weights, (n_users, n_items), network.device)
        by_item = PairsByRow.of(items, users, labels, weights, (n_items, n_users), network.device)
        return cls(len(data), by_user, by_item, unobserved_weight)

    def __len__(self) -> int:
        """How many pairs have a row."""
        return len(self.of_users)

    @property
    def n_pairs(self) -> int:
        """How many pairs count."""
        n_users, n_items = (int((one.counts > 0).sum()) for one in (self.of_users, self.of_items))
        return n_users * n_items if self.unobserved_weight else len(self)

    @torch.no_grad()
    def mark_trained(self, network: Network) -> None:
        """Note in the network which of its embedding rows training will touch. Numbers beside the ids say nothing."""
        for side, pairs in ((network.user, self.of_users), (network.item, self.of_items)):
            side.mark_trained((pairs.counts > 0).nonzero())
            side.dense_vectors.zero_()

    def set_prior(self, network: Network, prior: float, batch_size: int) -> None:
        """Nothing: the penalty is one of the systems' terms."""

    @torch.no_grad()
    def sweep(self, network: Network, prior: float, group: ProcessGroup, bar: tqdm[Any]) -> Tensor:
        """Solve for the vectors of all users that have pairs, and then of all such items.

        Returns
        -------
        Tensor
            The sum of all squared errors.
        """
        level = network.bias if any(isinstance(term, Linear) for term in network.terms) else None
        users, items = IdVectors.of(network.user), IdVectors.of(network.item)
        systems = Systems(self.unobserved_weight, prior)
        _solve(self.of_users, users, items, level, systems.gram(items.known), group)
        loss = _solve(self.of_items, items, users, level, systems.gram(users.known), group)
        bar.update(self.n_events)
        return loss + (replace(systems, prior=0.0).gram(users.known) * (items.known.T @ items.known)).sum()


@dataclass(frozen=True, eq=False)
class IdVectors:
    """The rows of a side's ids by code: vectors, linear weights, and whether they are trained; views of its tables."""

    vectors: Tensor
    weights: Tensor
    trained: Tensor

    @classmethod
    def of(cls, side: FieldEmbedding) -> IdVectors:
        """Those of a side."""
        own = side.id_rows
        return cls(side.vectors.weight[own], side.weights.weight[own, 0], side.trained[own])

    @property
    def known(self) -> Tensor:
        """The vectors of those that are trained: all others are their mean."""
        return self.vectors[self.trained]


def _solve(
    pairs: PairsByRow, own: IdVectors, other: IdVectors, level: Tensor | None, gram: Tensor, group: ProcessGroup
) -> Tensor:
    """Solve for the vectors that have pairs, those of each process by itself, and sum the squared errors of all.

    With a level, w0, the linear weights of both sides are part of what is predicted.
    """
    size = max(1, at_once(NUMBERS_AT_ONCE, gram.device) // len(gram))
    begin, end = group.own(len(own.vectors))
    loss, solved = gram.new_zeros(()), torch.zeros_like(own.vectors)
    for first in range(begin, end, size):
        last = min(first + size, end)
        block, vectors = pairs.block(first, last), own.vectors[first:last].clone()
        if level is not None:
            of_rows = torch.repeat_interleave(own.weights[first:last], block.counts)
            block = replace(block, targets=block.targets - level - of_rows - other.weights[block.columns])
        found = solve(block, vectors, other.vectors, gram)
        loss += (block.weights * (block.targets - found).square()).sum()
        solved[first:last] = vectors
    has_any = pairs.counts > 0
    own.vectors[has_any] = group.sum(solved)[has_any]
    return group.sum(loss)
