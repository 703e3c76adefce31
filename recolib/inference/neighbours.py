"""Items that the same users like, and users who like the same items, as a model sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.data.encoding import blank_rows
from recolib.data.info import DataInfo
from recolib.data.rows import UNKNOWN, Codes
from recolib.exceptions import warn
from recolib.inference.scoring import users_per_block
from recolib.inference.top_k import top_k
from recolib.inference.vectors import Vectors
from recolib.nn import Network, NetworkSide

N_USERS = 2048
"""Users, drawn at random, over whom items are compared."""
USERS_AT_ONCE = 2**14
"""Users whose vectors are made together."""
ROUNDING = 1e-6
"""A difference from the mean this small beside the largest is none."""
Similarities = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """How users, or items, stand to each other.

    Attributes
    ----------
    directions
        Of codes 1 to n a vector of length 1 each, whose inner products are similarities; 0 for what is as the mean.
        Shape (n, V).
    trained
        Which of them have interactions, (n,).
    """

    directions: Tensor
    trained: Tensor

    @torch.inference_mode()
    def nearest(self, codes: Codes, n: int, include_cold: bool) -> list[tuple[Codes, Similarities]]:
        """For each code the codes of the n others that are most similar, most similar first, and how similar.

        Code 0 has no neighbours.
        """
        answers: list[tuple[Codes, Similarities]] = []
        size = users_per_block(len(self.directions))
        for start in range(0, len(codes), size):
            at = torch.from_numpy(codes[start : start + size].astype(np.int64) - 1).to(self.directions.device)
            similarities = (self.directions[at] @ self.directions.T).clamp_(-1.0, 1.0)
            if not include_cold:
                similarities[:, ~self.trained] = -torch.inf
            similarities[torch.arange(len(at), device=at.device), at] = -torch.inf
            found, values = (part.cpu().numpy() for part in top_k(similarities, min(n, len(self.directions))))
            for code, one, of_it in zip(codes[start : start + size], found, values, strict=True):
                there = (of_it > -np.inf) & (code > UNKNOWN)
                answers.append(((one[there] + 1).astype(np.int32), of_it[there]))
        n_short = sum(len(near) < n for near, _ in answers) - np.count_nonzero(codes == UNKNOWN)
        if n_short:
            warn(f"{n_short} lists are shorter than n={n}: there are no more to be similar")
        return answers


@torch.inference_mode()
def make_neighbourhood(
    vectors: Vectors, network: Network, info: DataInfo, side: NetworkSide, seed: int
) -> Neighbourhood:
    """The similarities of all items, or of all users.

    Two items are as similar as their scores are correlated over users, once each item's and each user's mean is
    taken from them. Scores are inner products of ``vectors``: with means taken from these, the covariance of two
    items' scores is b · S b', where S is the covariance of the users' vectors. With S = M Mᵀ, the correlation is the
    cosine of b M and b' M. Users likewise, with S of the items.

    Parameters
    ----------
    vectors, network
        The network, and vectors whose inner products are its logits, or nearly.
    info
        The data. Means and S are of users and items that have interactions.
    side
        Who is compared.
    seed
        Of which users are drawn for S.
    """
    users, items = (np.flatnonzero(table.current.codes[:, 0].numpy()) for table in (info.users, info.items))
    if side == "item":
        drawn = np.random.default_rng(seed).permutation(users)[:N_USERS]
        own, trained, others = vectors.items, items, _of_users(vectors, network, info, drawn)
    else:
        own, trained = _of_users(vectors, network, info, np.arange(1, info.n_users + 1)), users
        others = vectors.items[_positions(items, own.device)]
    known = _positions(trained, own.device)
    spread = others.double() - others.double().mean(0)
    sizes, axes = torch.linalg.eigh(spread.T @ spread)
    metric = (axes * sizes.clamp_min(0.0).sqrt()).float()
    moved = (own - own[known].double().mean(0).float()) @ metric
    lengths = moved.norm(dim=1, keepdim=True)
    differs = lengths > ROUNDING * lengths.max()
    has_events = torch.zeros(len(own), dtype=torch.bool, device=own.device)
    has_events[known] = True
    return Neighbourhood(torch.where(differs, moved / lengths, 0.0), has_events)


def _positions(codes: NDArray[np.integer], device: torch.device) -> Tensor:
    return torch.from_numpy(codes.astype(np.int64) - 1).to(device)


def _of_users(vectors: Vectors, network: Network, info: DataInfo, codes: NDArray[np.integer]) -> Tensor:
    """The vectors of known users, in a context of which nothing is known."""
    context_rows = blank_rows(info.schema, "context", 1)
    blocks = (torch.from_numpy(codes[at : at + USERS_AT_ONCE]) for at in range(0, len(codes), USERS_AT_ONCE))
    return torch.cat(
        [
            vectors.of_users(network, info.users.rows[block].join(context_rows[torch.zeros_like(block)]))
            for block in blocks
        ]
    )
