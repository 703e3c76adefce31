"""Scores of pairs and of whole catalogues, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

import numpy as np
import torch
from torch import Tensor

from recolib.data.rows import Rows
from recolib.nn.fields import NetworkSide
from recolib.nn.network import Network, NetworkState

T = TypeVar("T")
NUMBERS_PER_BLOCK = 2**20
"""Numbers of hidden layers held at once, 4 MB: those of a block of pairs stay near a core."""
SCORES_PER_BLOCK = 2**23
"""Scores held at once, 32 MB: how many users go through a catalogue together."""
KEPT_NUMBERS = 2**25
"""Numbers up to which the states of all ids of a side are kept, 128 MB."""


@dataclass(frozen=True, eq=False)
class Known:
    """Rows of ids whose states are there.

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

    def __getitem__(self, block: slice | Tensor) -> Known:
        """Some of them."""
        return Known(self.states, self.codes[block])


@torch.inference_mode()
def score_pairs(network: Network, users: Rows | Known, items: Rows | Known) -> Tensor:
    """Logits (n,) of n users with n items."""
    size = pairs_per_block(network)
    if len(users) <= size:
        return _scores(network, users, items)
    blocks = [slice(at, at + size) for at in range(0, len(users), size)]
    return torch.cat([_scores(network, users[block], items[block]) for block in blocks])


def _scores(network: Network, users: Rows | Known, items: Rows | Known) -> Tensor:
    return network.score(_column(network, "user", users), _column(network, "item", items)).squeeze(1)


def _column(network: Network, side: NetworkSide, rows: Rows | Known) -> NetworkState:
    """The states of n rows, (n, 1, …)."""
    if isinstance(rows, Known):
        return rows.states.map(lambda state: state.index_select(0, rows.codes).unsqueeze(1))
    return network.encode(side, rows[:, None].to(network.device))


@torch.inference_mode()
def states_of(network: Network, side: NetworkSide, rows: Rows | Known) -> NetworkState:
    """The states of n rows of a side, of those that are not there encoded block by block into one allocation."""
    if isinstance(rows, Known):
        return rows.states.map(lambda state: state.index_select(0, rows.codes))
    size = pairs_per_block(network)
    first = network.encode(side, rows[:size].to(network.device))
    if len(rows) <= size:
        return first
    whole = first.map(lambda state: state.new_empty(len(rows), *state.shape[1:]))
    for start in range(0, len(rows), size):
        block = slice(start, start + size)
        whole[block].put(network.encode(side, rows[block].to(network.device)))
    return whole


@torch.inference_mode()
def score_catalogue(network: Network, users: Rows | Known, items: NetworkState, n_items: int) -> Tensor:
    """Logits (U, M) of users with a whole catalogue."""
    size = pairs_per_block(network)
    logits = torch.empty(len(users), n_items, device=network.device)
    users_at_once = max(1, min(len(users), size // max(n_items, 1)))
    items_at_once = max(1, size // users_at_once)
    states = states_of(network, "user", users)[:, None]
    blocks = [slice(start, start + items_at_once) for start in range(0, n_items, items_at_once)]
    of_blocks = [items[None, block] for block in blocks]
    for first in range(0, len(users), users_at_once):
        some = slice(first, first + users_at_once)
        state = states[some]
        for block, of_block in zip(blocks, of_blocks, strict=True):
            logits[some, block] = network.score(state, of_block)
    return logits


def pairs_per_block(network: Network) -> int:
    """How many pairs are scored at once."""
    return max(1, NUMBERS_PER_BLOCK // network.numbers_per_pair)


def users_per_block(n_items: int) -> int:
    """How many users' scores of a whole catalogue are held at once."""
    return max(1, SCORES_PER_BLOCK // max(n_items, 1))


@dataclass(frozen=True, eq=False)
class Cached(Generic[T]):
    """What was made, and what of."""

    key: Hashable
    made: T


class Kept(Generic[T]):
    """What is made once for each key and then shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cached: Cached[T] | None = None

    def __reduce__(self) -> NoReturn:
        """A model is saved, not pickled."""
        raise TypeError("models are not pickled: use model.save and recolib.load")

    def __deepcopy__(self, memo: object) -> Kept[T]:
        """Nothing is copied: a lock cannot be, and what was made is made again when it is asked for."""
        return type(self)()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made for ``key``, if it is there, or is made now."""
        cached = self._cached  # one read: another thread may swap it
        if cached is None or cached.key != key:
            with self._lock:
                cached = self._cached
                if cached is None or cached.key != key:
                    cached = Cached(key, make())
                    self._cached = cached
        return cached.made


class EncodedCache(Kept[NetworkState]):
    """The states of all ids of a side."""

    def __init__(self, side: NetworkSide) -> None:
        super().__init__()
        self.side: NetworkSide = side
        self._numbers_per_row = 0

    def __deepcopy__(self, memo: object) -> EncodedCache:
        """As of any."""
        return EncodedCache(self.side)

    def of(self, network: Network, ids: Rows, key: Hashable, at_any_size: bool = False) -> NetworkState | None:
        """The states of all ids, that of code 0 as the average; None if they are too many to be kept."""
        if not at_any_size and len(ids) * self._count(network, ids) > KEPT_NUMBERS:
            return None
        return self.get(key, lambda: states_of(network, self.side, ids.averaged(np.arange(len(ids)))))

    def _count(self, network: Network, ids: Rows) -> int:
        """The numbers of a row's state."""
        if not self._numbers_per_row:
            sizes: list[int] = []
            states_of(network, self.side, ids[:1]).map(lambda tensor: sizes.append(tensor.numel()) or tensor)
            self._numbers_per_row = sum(sizes)
        return self._numbers_per_row
