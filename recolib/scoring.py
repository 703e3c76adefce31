"""Scores of pairs and of whole catalogues, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from recolib.data.rows import Rows
from recolib.nn.fields import Side
from recolib.nn.network import Network, NetworkState

PAIRS_PER_BLOCK = 4096
"""Pairs scored at once: the hidden layers of a block stay in a core's cache."""
SCORES_PER_BLOCK = 2**23
"""Scores held at once, 32 MB: how many users go through a catalogue together."""


@torch.inference_mode()
def score_pairs(network: Network, users: Rows, items: Rows, batch_size: int = PAIRS_PER_BLOCK) -> Tensor:
    """Logits (n,) of n user rows with n item rows."""
    logits = torch.empty(len(users))
    for start in range(0, len(users), batch_size):
        block = slice(start, start + batch_size)
        logits[block] = network(_column(users[block], network), _column(items[block], network)).squeeze(1)
    return logits


@torch.inference_mode()
def encode_rows(network: Network, side: Side, rows: Rows) -> NetworkState:
    """The states of n rows of a side, encoded block by block into one allocation."""
    first = network.encode(side, rows[:PAIRS_PER_BLOCK].to(network.device))
    if len(rows) <= PAIRS_PER_BLOCK:
        return first
    whole = first.map(lambda state: state.new_empty(len(rows), *state.shape[1:]))
    for start in range(0, len(rows), PAIRS_PER_BLOCK):
        block = slice(start, start + PAIRS_PER_BLOCK)
        whole[block].put(network.encode(side, rows[block].to(network.device)))
    return whole


@torch.inference_mode()
def score_catalogue(network: Network, users: Rows, items: NetworkState, n_items: int) -> Tensor:
    """Logits (U, M) of user rows with a whole catalogue."""
    logits = torch.empty(len(users), n_items, device=network.device)
    users_at_once = max(1, min(len(users), PAIRS_PER_BLOCK // max(n_items, 1)))
    items_at_once = max(1, PAIRS_PER_BLOCK // users_at_once)
    states = encode_rows(network, "user", users)
    for first in range(0, len(users), users_at_once):
        some = slice(first, first + users_at_once)
        state = states[some][:, None]
        for start in range(0, n_items, items_at_once):
            block = slice(start, start + items_at_once)
            logits[some, block] = network.score(state, items[None, block])
    return logits


def users_per_block(n_items: int) -> int:
    """How many users' scores of a whole catalogue are held at once."""
    return max(1, SCORES_PER_BLOCK // max(n_items, 1))


@dataclass(frozen=True, eq=False)
class Cached:
    """Item states and what they were made of."""

    key: Hashable
    states: NetworkState


class ItemStates:
    """The catalogue's item states, made once for each key and then shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cached: Cached | None = None

    def __reduce__(self) -> NoReturn:
        """A model is saved, not pickled."""
        raise TypeError("models are not pickled: use model.save and recolib.load")

    def __deepcopy__(self, memo: object) -> ItemStates:
        """None are copied: a lock cannot be, and states are made again when they are asked for."""
        return ItemStates()

    def get(self, key: Hashable, make: Callable[[], NetworkState]) -> NetworkState:
        """The states for ``key``: those that are there, or new ones."""
        cached = self._cached  # one read: another thread may swap it
        if cached is None or cached.key != key:
            with self._lock:
                cached = self._cached
                if cached is None or cached.key != key:
                    cached = Cached(key, make())
                    self._cached = cached
        return cached.states


def _column(rows: Rows, network: Network) -> Rows:
    return rows.to(network.device)[:, None]
