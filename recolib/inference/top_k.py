"""From scores to the k best: of all, drawn at random, or at most so many of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.data.rows import Codes

CHUNK = 64
"""Neighbouring scores of which the greatest is taken first: one pass over a row costs less than to choose among all."""
FEW_SCORES = 2**16
"""Scores below which to choose among all costs less."""


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best entries of each row, best first, ties by the lower position.

    Parameters
    ----------
    scores
        Shape (U, M); −inf marks what must not be chosen, and comes last.
    k
        At most M.

    Returns
    -------
    tuple of Tensor
        Positions and scores, both (U, k).
    """
    n = scores.shape[-1]
    if not k:
        return scores.topk(0, -1).indices, scores[..., :0]
    best, at = _topk(scores, min(k + 1, n))
    bound = best[:, k - 1 : k]
    tied = (best[:, -1:] == bound) & (bound > -torch.inf) if n > k else torch.zeros_like(bound, dtype=torch.bool)
    at = at[:, :k]
    for row in tied.flatten().nonzero().flatten().tolist():  # topk chose among equals at will
        reach = (scores[row] >= bound[row]).nonzero().flatten()
        at[row] = reach[torch.sort(scores[row, reach], descending=True, stable=True).indices[:k]]
    at = at.sort(-1).values
    best, order = torch.sort(scores.gather(-1, at), dim=-1, descending=True, stable=True)
    return at.gather(-1, order), best


def _topk(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As ``Tensor.topk``; of long rows only the k chunks with the greatest maxima are gone through."""
    n = scores.shape[-1]
    n_chunks = n // CHUNK
    if n_chunks < 4 * k or scores.numel() < FEW_SCORES:
        return scores.topk(k, -1)
    chunks = scores[:, : n_chunks * CHUNK].unflatten(-1, (n_chunks, CHUNK))
    first = chunks.amax(-1).topk(k, -1).indices.unsqueeze(-1) * CHUNK
    at = (first + torch.arange(CHUNK, device=scores.device)).flatten(1)
    rest = torch.arange(n_chunks * CHUNK, n, device=scores.device).expand(len(at), -1)
    at = torch.cat([at, rest], -1)
    best, of_these = scores.gather(-1, at).topk(k, -1)
    return best, at.gather(-1, of_these)


def gumbel(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Scores such that their order is a draw without replacement in proportion to exp(score).

    References
    ----------
    Kool et al., *Stochastic Beams and Where to Find Them*, ICML 2019.
    """
    exponential = torch.empty(scores.shape).exponential_(generator=generator)
    return scores - exponential.clamp_min(torch.finfo(torch.float32).tiny).log().to(scores.device)


@dataclass(frozen=True, eq=False)
class GroupLimit:
    """At most ``most`` items of each value in a list.

    Attributes
    ----------
    values
        The values of each item, numbered from 1, by item code, (n_items + 1, W); 0 is none, and is not limited.
    most
        How many items of a value may be.
    """

    values: Codes
    most: int

    def among(self, items: Codes | None) -> GroupLimit:
        """The limit for some items alone, (M, W), their values numbered anew; all from code 1 on without any."""
        if items is None:
            return GroupLimit(self.values[1:], self.most)
        values = self.values[items]
        numbers = np.unique(np.append(0, values), return_inverse=True)[1][1:]  # 0 stays 0
        return GroupLimit(numbers.reshape(values.shape).astype(np.int32), self.most)


def limited_top_k(scores: Tensor, k: int, limits: Sequence[GroupLimit]) -> Tensor:
    """The k best entries of each row that the limits allow, best first: of two that exclude each other the better.

    Entries are taken from the best on, unless one of their values was taken as often as it may be. The k best are gone
    through first; where they do not fill a row, what is full by then is left out, and the k best of the rest come next.

    Parameters
    ----------
    scores
        Shape (U, M); −inf marks what must not be chosen. They are overwritten.
    k
        At most M.
    limits
        With the values of the M entries, (M, W).

    Returns
    -------
    Tensor
        Positions (U, k); −1 where a row ends early.
    """
    lists = LimitedLists(len(scores), k, limits)
    rows = np.arange(len(scores))  # those that are not full
    while k and len(rows):
        some = scores[torch.from_numpy(rows)]
        best, logits = top_k(some, k)
        left = lists.fill(rows, best.cpu().numpy(), logits.cpu().numpy())
        rows, some, best = rows[left], some[torch.from_numpy(left)], best[torch.from_numpy(left)]
        some.scatter_(1, best, -torch.inf)
        lists.mask_full(some, rows)
        scores[torch.from_numpy(rows)] = some
    return torch.from_numpy(lists.chosen).to(scores.device)


class LimitedLists:
    """Lists that are filled from the best entry on, as far as limits allow.

    Parameters
    ----------
    n_rows, k
        How many lists there are, and of what length.
    limits
        With the values of all that can be an entry, (M, W).

    Attributes
    ----------
    chosen
        The entries of each list, (U, k); −1 where there is none yet.
    logits
        Their scores; −inf where there is none.
    """

    def __init__(self, n_rows: int, k: int, limits: Sequence[GroupLimit]) -> None:
        self.chosen, self.logits = np.full((n_rows, k), -1), np.full((n_rows, k), -np.inf, np.float32)
        self.limits = limits
        self._sizes = np.zeros(n_rows, np.int64)
        self._counts = [np.zeros((n_rows, int(limit.values.max(initial=0)) + 1), np.int32) for limit in limits]

    def fill(self, rows: NDArray[np.int64], best: NDArray[Any], logits: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Put the k best entries of what is left (R, k) into some lists where they fit; say which want more.

        Where one is −inf there are no more.
        """
        k = self.chosen.shape[1]
        for column, scores in zip(best.T, logits.T, strict=True):
            fits = (scores > -np.inf) & (self._sizes[rows] < k)
            for limit, count in zip(self.limits, self._counts, strict=True):
                own = limit.values[column]
                fits &= ((own == 0) | (count[rows[:, None], own] < limit.most)).all(1)
            taken, items = rows[fits], column[fits]
            self.chosen[taken, self._sizes[taken]] = items
            self.logits[taken, self._sizes[taken]] = scores[fits]
            self._sizes[taken] += 1
            for limit, count in zip(self.limits, self._counts, strict=True):
                count[taken[:, None], limit.values[items]] += 1  # once for a value that an item has twice
        return (self._sizes[rows] < k) & (logits[:, -1] > -np.inf)

    def mask_full(self, scores: Tensor, rows: NDArray[np.int64], entries: Codes | slice = slice(None)) -> None:
        """Set −inf, in scores (R, …) of some lists, for entries of which a value is there as often as it may be."""
        for limit, count in zip(self.limits, self._counts, strict=True):
            full = count[rows] >= limit.most
            full[:, 0] = False
            for own in limit.values[entries].T:
                scores.masked_fill_(torch.from_numpy(full[:, own]).to(scores.device), -torch.inf)
