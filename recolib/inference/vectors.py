"""Users and items as vectors whose inner products are a model's logits, or nearly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.data.encoding import blank_rows
from recolib.data.info import DataInfo
from recolib.data.rows import Rows
from recolib.inference.scoring import SCORES_PER_BLOCK, Encoded, encode_rows, score_catalogue
from recolib.nn.network import Network, NetworkState

N_USERS = 256
"""Users whose scores of the catalogue are taken apart into directions."""
N_DIRECTIONS = 64
"""Size of the vectors, but for a constant."""
N_SEEN = 1024
"""Items that the directions are found from."""
N_ANCHORS = 512
"""Items from whose scores a user's vector is found: half of them the most popular, half drawn."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """Item vectors, and what makes a user's.

    Attributes
    ----------
    items
        The vectors of codes 1 to n, (n_items, V).
    states
        The states of codes 0 to n that they were made of.
    anchors
        States of the items whose scores a user's vector is a linear map of; None where inner products are exact.
    solver
        That map, (V, number of anchors).
    """

    items: Tensor
    states: NetworkState
    anchors: NetworkState | None = None
    solver: Tensor | None = None

    @torch.inference_mode()
    def of_users(self, network: Network, users: Rows | Encoded) -> Tensor:
        """The vectors of U users, (U, V)."""
        if self.anchors is None or self.solver is None:
            vectors = network.vectors("user", encode_rows(network, "user", users))
            assert vectors is not None
            return vectors
        return score_catalogue(network, users, self.anchors[None], self.solver.shape[1]) @ self.solver.T


@torch.inference_mode()
def make_vectors(network: Network, states: NetworkState, info: DataInfo, seed: int) -> Vectors:
    """The vectors of a network: exact where its score is an inner product, else those that come nearest.

    A factorization machine's score is an inner product. Any other score is taken for what it is to some users drawn at
    random: their scores of the catalogue, without each user's mean, have a few directions that say most, and an
    item's vector is its place along them and a 1. A new user's vector is the one whose inner products with some anchor
    items come nearest to the scores of these, where numbers as large as those of the users drawn are likely.

    Parameters
    ----------
    network, states
        The network, and its item states of codes 0 to n.
    info
        The data.
    seed
        Of which users and items are drawn.

    References
    ----------
    Yadav et al., *Efficient Nearest Neighbor Search for Cross-Encoder Models using Matrix Factorization*, EMNLP 2022,
    has scores of some queries as items' vectors; here they are reduced to their principal directions.
    """
    exact = network.vectors("item", states[1:])
    if exact is not None:
        return Vectors(exact, states)
    rng = np.random.default_rng(seed)
    users = sample_users(info, rng)
    drawn = 1 + rng.permutation(info.n_items)
    seen = _codes(drawn[:N_SEEN], network)
    scores = score_catalogue(network, users, encode_rows(network, "item", Encoded(states, seen))[None], len(seen))
    means = scores.mean(1, keepdim=True)
    directions, lengths, _ = torch.linalg.svd((scores - means).double(), full_matrices=False)
    basis = directions[:, :N_DIRECTIONS].float()
    items = torch.ones(info.n_items, basis.shape[1] + 1, device=network.device)
    size = max(1, SCORES_PER_BLOCK // len(users))
    for start in range(0, info.n_items, size):
        part = items[start : start + size]
        scores = score_catalogue(network, users, states[None, 1 + start : 1 + start + size], len(part))
        part[:, :-1] = (scores - means).T @ basis
    half = N_ANCHORS // 2
    anchors = _codes(np.union1d(info.ranked_items[:half], drawn[: N_ANCHORS - half]), network)
    known = items[anchors - 1].double()
    # A user drawn has numbers of variance 1 / n_users along each direction: so are those of others expected to be, and
    # what the directions do not say is noise.
    penalty = lengths[N_DIRECTIONS:].square().sum() / len(seen)
    weights = penalty.expand(items.shape[1]).clone()
    weights[-1] = 0.0
    gram = known.T @ known
    gram += torch.diag(weights + 1e-9 * gram.diagonal().mean())
    solver = torch.linalg.solve(gram, known.T).float()
    return Vectors(items, states, encode_rows(network, "item", Encoded(states, anchors)), solver)


def sample_users(info: DataInfo, rng: np.random.Generator) -> Rows:
    """Rows of some users drawn at random, each in a context drawn at random."""
    codes = 1 + rng.permutation(info.n_users)[:N_USERS]
    context_rows = blank_rows(info.schema, "context", len(codes))
    for field in info.schema.codes("context"):
        values = rng.integers(0, len(info.vocabs[field.name]) + 1, len(codes))
        context_rows.codes[:, info.schema.span(field).start] = torch.from_numpy(values)
    for field in info.schema.dense("context"):  # the absolute numbers of a vector come to about 1, as one number is
        numbers = context_rows.dense[:, info.schema.span(field)]
        numbers += torch.from_numpy(rng.standard_normal(numbers.shape) / numbers.shape[1]).float()
    return info.users.rows[torch.from_numpy(codes)].join(context_rows)


def _codes(codes: NDArray[np.integer], network: Network) -> Tensor:
    return torch.from_numpy(codes.astype(np.int64)).to(network.device)


def as_array(vectors: Tensor) -> NDArray[np.float32]:
    """Vectors as an array that cannot be written to: they may be the model's own."""
    array = vectors.cpu().numpy()
    array.flags.writeable = False
    return array
