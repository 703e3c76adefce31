"""Top-N lists over the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from recolib.data.info import DataInfo
from recolib.data.rows import UNKNOWN, Rows
from recolib.exceptions import warn
from recolib.nn.network import Network, NetworkState
from recolib.ranking import gumbel, top_k
from recolib.scoring import Known, score_catalogue, users_per_block

Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Rules:
    """What may be in a list.

    Attributes
    ----------
    candidates
        The only items that may, by code; None is all.
    exclude
        Items that may not; None is none.
    filter_consumed
        Leave out what the user consumed in training.
    generator
        Draw lists at random, items in proportion to exp(logit), instead of taking the best.
    """

    candidates: Codes | None = None
    exclude: Codes | None = None
    filter_consumed: bool = True
    generator: torch.Generator | None = None


@dataclass(frozen=True)
class TopList:
    """Item codes, best first, and their logits, both (k,)."""

    items: Codes
    logits: NDArray[np.float32]


NOTHING = TopList(np.empty(0, np.int32), np.empty(0, np.float32))


@dataclass(frozen=True)
class TopLists:
    """Lists of U users: item codes, best first, 0 where a list ends early, and their logits, both (U, k)."""

    items: Codes
    logits: NDArray[np.float32]

    def each(self) -> list[TopList]:
        """The lists, each as long as it is."""
        sizes = np.count_nonzero(self.items, axis=1)
        return [TopList(i[:n], s[:n]) for i, s, n in zip(self.items, self.logits, sizes, strict=True)]


class Finder(Protocol):
    """What makes lists without going through the whole catalogue; see ``recolib.ann.Retriever``."""

    def find(
        self,
        network: Network,
        states: NetworkState,
        info: DataInfo,
        users: Rows | Known,
        codes: Codes,
        n_rec: int,
        rules: Rules,
    ) -> TopLists:
        """The n_rec best items of each user; see ``top_lists``."""
        ...


def lists_for(
    info: DataInfo,
    users: Rows | Known,
    codes: Codes,
    n_rec: int,
    rules: Rules,
    popular: bool,
    find: Callable[[Rows | Known, Codes, int, Rules], TopLists],
) -> list[TopList]:
    """A list for each user; with ``popular`` the most popular items for those who are unknown."""
    scored = np.flatnonzero(codes) if popular else np.arange(len(codes))
    some = len(scored) < len(codes)
    lists = [popular_list(info, n_rec, rules) if some else NOTHING] * len(codes)  # who is not scored keeps it
    best = find(users[torch.from_numpy(scored)] if some else users, codes[scored], n_rec, rules)
    for at, top in zip(scored, best.each(), strict=True):
        lists[at] = top
    n_short = sum(len(top.items) < n_rec for top in lists)
    if n_short:
        warn(f"{n_short} lists are shorter than n_rec={n_rec}: no more items may be recommended")
    return lists


@torch.inference_mode()
def top_lists(
    network: Network, states: NetworkState, info: DataInfo, users: Rows | Known, codes: Codes, n_rec: int, rules: Rules
) -> TopLists:
    """The n_rec best items of each user; fewer where the rules or the catalogue leave fewer.

    Parameters
    ----------
    network, states
        The network, and its item states of codes 0..M.
    info
        What users consumed.
    users, codes
        What users are scored from, and their codes (U,).
    n_rec
        The length of the lists.
    rules
        What may be in them.
    """
    items = None if rules.candidates is None else np.unique(rules.candidates)
    states = states[1:] if items is None else states[torch.from_numpy(items).long().to(network.device)]
    n_items = info.n_items if items is None else len(items)
    width = min(n_rec, n_items)
    lists = TopLists(np.zeros((len(codes), width), np.int32), np.zeros((len(codes), width), np.float32))
    for start in range(0, len(codes), users_per_block(n_items)):
        block = slice(start, start + users_per_block(n_items))
        scores = score_catalogue(network, users[block], states, n_items)
        if rules.filter_consumed:
            who, what = info.user_consumed.of(codes[block])
            column, there = _columns(items, what)
            scores[torch.from_numpy(who[there]), torch.from_numpy(column[there])] = -torch.inf
        if rules.exclude is not None:
            column, there = _columns(items, rules.exclude)
            scores[:, torch.from_numpy(column[there])] = -torch.inf
        order = scores if rules.generator is None else gumbel(scores, rules.generator)
        best = top_k(order, width)[0]
        logits = scores.gather(1, best).cpu().numpy()
        chosen = best.cpu().numpy()
        lists.items[block] = np.where(logits > -np.inf, chosen + 1 if items is None else items[chosen], UNKNOWN)
        lists.logits[block] = logits
    return lists


def _columns(items: Codes | None, codes: Codes) -> tuple[NDArray[np.int64], NDArray[np.bool_] | slice]:
    """The position of each code among ascending items, all without any, and which of them are there."""
    if items is None:
        return codes.astype(np.int64) - 1, slice(None)
    column = np.searchsorted(items, codes)
    there = column < len(items)
    there[there] = items[column[there]] == codes[there]
    return column, there


def popular_list(info: DataInfo, n_rec: int, rules: Rules) -> TopList:
    """The n_rec most popular of the items that may be in a list, most popular first; they have no logits, but NaN."""
    items = info.ranked_items
    if rules.candidates is not None:
        items = items[np.isin(items, rules.candidates)]
    if rules.exclude is not None:
        items = items[~np.isin(items, rules.exclude)]
    items = items[:n_rec]
    return TopList(items, np.full(len(items), np.nan, np.float32))


def as_table(lists: Mapping[int | str, tuple[NDArray[Any], NDArray[np.float32]]]) -> pd.DataFrame:
    """Lists of items and scores by user as a table of ``user``, ``item``, ``score`` and ``rank``."""
    sizes = [len(items) for items, _ in lists.values()]
    return pd.DataFrame(
        {
            "user": pd.Series(list(lists), dtype=object).repeat(sizes).infer_objects().to_numpy(),
            "item": np.concatenate([items for items, _ in lists.values()]),
            "score": np.concatenate([scores for _, scores in lists.values()]),
            "rank": np.concatenate([np.arange(1, size + 1) for size in sizes]),
        }
    )
