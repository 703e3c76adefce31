"""From scores to the k best: of all, drawn at random, or at most so many of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recolib.data.rows import Codes


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
    best, at = scores.topk(k, -1)
    if not k:
        return at, best
    bound = best[:, -1:]
    tied = ((scores >= bound).sum(-1) > k) & (bound.squeeze(-1) > -torch.inf)
    for row in tied.nonzero().flatten().tolist():  # topk chose among equals at will
        reach = (scores[row] >= bound[row]).nonzero().flatten()
        at[row] = reach[torch.sort(scores[row, reach], descending=True, stable=True).indices[:k]]
    at = at.sort(-1).values
    best, order = torch.sort(scores.gather(-1, at), dim=-1, descending=True, stable=True)
    return at.gather(-1, order), best


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
    chosen = np.full((len(scores), k), -1)
    sizes = np.zeros(len(scores), np.int64)
    counts = [np.zeros((len(scores), int(limit.values.max(initial=0)) + 1), np.int32) for limit in limits]
    rows = np.arange(len(scores))  # those that are not full
    while k and len(rows):
        some = scores[torch.from_numpy(rows)]
        best, logits = top_k(some, k)
        positions, allowed = best.cpu().numpy(), (logits > -torch.inf).cpu().numpy()
        for column, there in zip(positions.T, allowed.T, strict=True):
            fits = there & (sizes[rows] < k)
            for limit, count in zip(limits, counts, strict=True):
                own = limit.values[column]
                fits &= ((own == 0) | (count[rows[:, None], own] < limit.most)).all(1)
            taken, items = rows[fits], column[fits]
            chosen[taken, sizes[taken]] = items
            sizes[taken] += 1
            for limit, count in zip(limits, counts, strict=True):
                count[taken[:, None], limit.values[items]] += 1  # once for a value that an item has twice
        left = (sizes[rows] < k) & allowed[:, -1]
        rows, some, best = rows[left], some[torch.from_numpy(left)], best[torch.from_numpy(left)]
        some.scatter_(1, best, -torch.inf)
        for limit, count in zip(limits, counts, strict=True):
            full = count[rows] >= limit.most
            full[:, 0] = False
            for own in limit.values.T:
                some.masked_fill_(torch.from_numpy(full[:, own]).to(scores.device), -torch.inf)
        scores[torch.from_numpy(rows)] = some
    return torch.from_numpy(chosen).to(scores.device)
