"""Order: how an epoch goes through the examples, window by window, and in which batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

WINDOW = 2**22
"""About how many examples an epoch looks at together: what it draws for them is held at once."""
SHUFFLED_WHOLE = 2**24
"""Examples up to which any two can change places. More are shuffled by blocks, which lie together on a disk."""
BLOCK = 2**16
"""Examples of a block."""

Bounds = Sequence[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Window:
    """The numbers of some examples in the order of an epoch, and where their batches begin and end."""

    order: Tensor
    bounds: Bounds


@dataclass(frozen=True)
class Order:
    """The order of an epoch. It follows from these numbers alone.

    Attributes
    ----------
    n, batch_size
        How many examples there are, and how many a batch has.
    seed, epoch
        What the order is drawn from.
    shuffle
        Whether it is drawn; else examples stay as they are.
    """

    n: int
    batch_size: int
    seed: int = 0
    epoch: int = 0
    shuffle: bool = True

    @property
    def n_batches(self) -> int:
        """How many batches there are."""
        if not self._is_by_blocks:
            return len(batch_bounds(self.n, self.batch_size))
        return sum(len(batch_bounds(min(WINDOW, self.n - at), self.batch_size)) for at in range(0, self.n, WINDOW))

    def windows(self) -> Iterator[Window]:
        """The windows, one after the other.

        More than ``SHUFFLED_WHOLE`` examples come in blocks, whose order is drawn; those of the blocks of a window are
        then shuffled among themselves.
        """
        lots = np.random.default_rng([self.seed, self.epoch])
        if not self._is_by_blocks:
            whole = lots.permutation(self.n) if self.shuffle else np.arange(self.n)
            for bounds in together(batch_bounds(self.n, self.batch_size), WINDOW):
                first, last = bounds[0][0], bounds[-1][1]
                yield Window(torch.from_numpy(whole[first:last]), [(a - first, b - first) for a, b in bounds])
            return
        n_blocks = -(-self.n // BLOCK)
        blocks = lots.permutation(n_blocks)
        blocks = np.append(blocks[blocks != n_blocks - 1], n_blocks - 1)  # the last one may be short
        for at in range(0, n_blocks, WINDOW // BLOCK):
            rows = [np.arange(one * BLOCK, min((one + 1) * BLOCK, self.n)) for one in blocks[at : at + WINDOW // BLOCK]]
            order = lots.permutation(np.concatenate(rows))
            yield Window(torch.from_numpy(order), batch_bounds(len(order), self.batch_size))

    @property
    def _is_by_blocks(self) -> bool:
        return self.shuffle and self.n > SHUFFLED_WHOLE


def batch_bounds(n: int, size: int) -> Bounds:
    """Where batches of ``size`` begin and end; a last batch of one joins the one before it, if there is one.

    Batch norm cannot take a single row.
    """
    bounds = [(begin, min(begin + size, n)) for begin in range(0, n, size)]
    if len(bounds) > 1 and n - bounds[-1][0] == 1:
        bounds[-2:] = [(bounds[-2][0], n)]
    return bounds


def together(bounds: Bounds, n: int) -> Iterator[Bounds]:
    """Bounds in groups that reach over about n rows."""
    size = max(1, n // (bounds[0][1] - bounds[0][0]))
    return (bounds[at : at + size] for at in range(0, len(bounds), size))
