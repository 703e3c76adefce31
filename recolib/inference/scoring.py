"""Scores of pairs and of whole catalogues, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recolib.data.rows import Rows
from recolib.nn.blocks import at_once
from recolib.nn.fields import NetworkSide
from recolib.nn.network import Network, NetworkState

NUMBERS_PER_BLOCK = 2**20
"""Numbers of hidden layers held at once, 4 MB: those of a block of pairs stay near a core."""
ITEMS_PER_BLOCK = 2**12
"""Items that are enough for a block: products of matrices take several users at less cost than one by one."""
SCORES_PER_BLOCK = 2**23
"""Scores held at once, 32 MB: how many users go through a catalogue together."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Users or items whose states are encoded already.

    Attributes
    ----------
    states
        Of all ids of the side, by code.
    codes
        The ids that are meant, (n,).
    """

    states: NetworkState
    codes: Tensor

    def __len__(self) -> int:
        """How many ids are meant."""
        return len(self.codes)

    def __getitem__(self, block: slice | Tensor) -> Encoded:
        """Some of them."""
        return Encoded(self.states, self.codes[block])


@torch.inference_mode()
def score_pairs(network: Network, users: Rows | Encoded, items: Rows | Encoded) -> Tensor:
    """Logits (n,) of n users with n items."""
    size = pairs_per_block(network)
    if len(users) <= size:
        return _scores(network, users, items)
    blocks = [slice(at, at + size) for at in range(0, len(users), size)]
    return torch.cat([_scores(network, users[block], items[block]) for block in blocks])


def _scores(network: Network, users: Rows | Encoded, items: Rows | Encoded) -> Tensor:
    return network.score(_column(network, "user", users), _column(network, "item", items)).squeeze(1)


def _column(network: Network, side: NetworkSide, rows: Rows | Encoded) -> NetworkState:
    """The states of n rows, (n, 1, …)."""
    if isinstance(rows, Encoded):
        return rows.states.take(rows.codes)[:, None]
    return network.encode(side, rows[:, None].to(network.device))


@torch.inference_mode()
def encode_rows(network: Network, side: NetworkSide, rows: Rows | Encoded) -> NetworkState:
    """The states (n, …) of n rows of a side; those that are not encoded yet are, block by block, in one allocation."""
    if isinstance(rows, Encoded):
        return rows.states.take(rows.codes)
    size = rows_per_block(network, side, rows)
    first = network.encode(side, rows[:size].to(network.device))
    if len(rows) <= size:
        return first
    whole = first.map(lambda state: state.new_empty(len(rows), *state.shape[1:]))
    for start in range(0, len(rows), size):
        block = slice(start, start + size)
        whole[block].put(network.encode(side, rows[block].to(network.device)))
    return whole


@torch.inference_mode()
def numbers_of_state(network: Network, side: NetworkSide, row: Rows) -> int:
    """How many numbers the state of a row has."""
    sizes: list[int] = []
    encode_rows(network, side, row).map(lambda tensor: sizes.append(tensor.numel()) or tensor)
    return sum(sizes)


@torch.inference_mode()
def score_catalogue(network: Network, users: Rows | Encoded, items: NetworkState, n_items: int) -> Tensor:
    """Logits (U, M) of users with M items, whose states are (1, M, …)."""
    size = pairs_per_block(network)
    if len(users) * n_items <= size:
        return network.score(_column(network, "user", users), items)
    logits = torch.empty(len(users), n_items, device=network.device)
    users_at_once = max(1, min(len(users), size // max(1, min(n_items, ITEMS_PER_BLOCK))))
    items_at_once = max(1, size // users_at_once)
    states = encode_rows(network, "user", users)[:, None]
    blocks = [slice(start, start + items_at_once) for start in range(0, n_items, items_at_once)]
    of_blocks = [items[:, block] for block in blocks]
    for first in range(0, len(users), users_at_once):
        some = slice(first, first + users_at_once)
        state = states[some]
        for block, of_block in zip(blocks, of_blocks, strict=True):
            logits[some, block] = network.score(state, of_block)
    return logits


def pairs_per_block(network: Network) -> int:
    """How many pairs are scored at once."""
    return max(1, at_once(NUMBERS_PER_BLOCK, network.bias.device) // network.numbers_per_pair)


def rows_per_block(network: Network, side: NetworkSide, rows: Rows) -> int:
    """How many rows are encoded at once: of each there are the vectors of all columns, and of what a user consumed."""
    n_columns = rows.codes.shape[-1] + rows.dense.shape[-1]
    if network.reads_past and rows.past is not None:
        n_columns += network.max_history
    width = network.embedding(side).vectors.embedding_dim
    numbers = at_once(NUMBERS_PER_BLOCK, network.device)
    return max(1, numbers // max(network.numbers_per_pair, n_columns * width))


def users_per_block(n_items: int) -> int:
    """How many users' scores of a whole catalogue are held at once."""
    return max(1, SCORES_PER_BLOCK // max(n_items, 1))
