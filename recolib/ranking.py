"""From scores to lists."""

from __future__ import annotations

import torch
from torch import Tensor


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
