"""Top-N lists over the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.info import DataInfo
from recolib.data.rows import Rows
from recolib.nn.network import Network, NetworkState
from recolib.ranking import gumbel, top_k
from recolib.scoring import score_catalogue, users_per_block

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
    """Item codes, best first, and their logits."""

    items: Codes
    logits: NDArray[np.float32]


@torch.inference_mode()
def top_lists(
    network: Network, states: NetworkState, info: DataInfo, users: Rows, codes: Codes, n_rec: int, rules: Rules
) -> list[TopList]:
    """The n_rec best items of each user; fewer where the rules leave fewer.

    Parameters
    ----------
    network, states
        The network, and its item states of codes 1..M.
    info
        What users consumed.
    users, codes
        User rows (U, C) and their codes (U,).
    n_rec
        The length of the lists.
    rules
        What may be in them.
    """
    items = _allowed(info, rules)
    if len(items) < info.n_items:
        chosen = torch.from_numpy(items).long().to(network.device) - 1
        states = states[chosen]
    column = np.full(info.n_items + 1, -1, np.int64)
    column[items] = np.arange(len(items))
    lists: list[TopList] = []
    for start in range(0, len(codes), users_per_block(len(items))):
        block = slice(start, start + users_per_block(len(items)))
        scores = score_catalogue(network, users[block], states, len(items))
        if rules.filter_consumed:
            who, what = info.user_consumed.of(codes[block])
            at = column[what]
            scores[torch.from_numpy(who[at >= 0]), torch.from_numpy(at[at >= 0])] = -torch.inf
        order = scores if rules.generator is None else gumbel(scores, rules.generator)
        best = top_k(order, min(n_rec, len(items)))[0]
        best, logits = best.cpu().numpy(), scores.gather(1, best).cpu().numpy()
        lists += [TopList(items[b[s > -np.inf]], s[s > -np.inf]) for b, s in zip(best, logits, strict=True)]
    return lists


def popular_list(info: DataInfo, n_rec: int, rules: Rules) -> Codes:
    """The n_rec most popular of the items that may be in a list, most popular first."""
    allowed = np.zeros(info.n_items + 1, bool)
    allowed[_allowed(info, rules)] = True
    return info.ranked_items[allowed[info.ranked_items]][:n_rec]


def _allowed(info: DataInfo, rules: Rules) -> Codes:
    items = np.arange(1, info.n_items + 1, dtype=np.int32) if rules.candidates is None else np.unique(rules.candidates)
    return items if rules.exclude is None else items[~np.isin(items, rules.exclude)]
