"""Top-N lists over the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.data.frame import Values
from recolib.data.info import DataInfo
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.inference.scoring import Known, score_catalogue, users_per_block
from recolib.inference.top_k import GroupLimit, gumbel, limited_top_k, top_k
from recolib.nn.network import Network, NetworkState


@dataclass(frozen=True, eq=False)
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
    exclude_each
        Items that may not be in the list of each user, of as many as are asked for; None is none.
    include_cold
        Whether items that have no interactions may, where there are no ``candidates``.
    too_low
        From logits to whether they are too low for a list; None if none is.
    limits
        How many items of a kind may be.
    """

    candidates: Codes | None = None
    exclude: Codes | None = None
    filter_consumed: bool = True
    generator: torch.Generator | None = None
    exclude_each: Sequence[Codes] | None = None
    include_cold: bool = False
    too_low: Callable[[Tensor], Tensor] | None = None
    limits: Sequence[GroupLimit] = ()

    def of(self, users: NDArray[np.int64] | slice) -> Rules:
        """The rules for some of the users, by position."""
        if self.exclude_each is None:
            return self
        at = range(*users.indices(len(self.exclude_each))) if isinstance(users, slice) else users.tolist()
        return replace(self, exclude_each=[self.exclude_each[one] for one in at])

    def without(self, histories: Sequence[Codes]) -> Rules:
        """The rules with what each user met left out, if what users consumed is."""
        if not self.filter_consumed:
            return self
        others = self.exclude_each or [NOTHING] * len(histories)
        return replace(self, exclude_each=[np.append(*both) for both in zip(others, histories, strict=True)])

    def offered(self, info: DataInfo) -> tuple[Codes | None, Codes]:
        """The items to score, ascending, or None for all; and those among them that may be in no list.

        If more than half of the catalogue may, all of it is scored: to leave items out then costs less than to pick
        the states of the others.
        """
        items = None if self.candidates is None else np.unique(self.candidates)
        if items is None and not self.include_cold and len(info.trained_items) < info.n_items:
            items = info.trained_items
        barred = NOTHING if self.exclude is None else self.exclude
        if items is not None and 2 * len(items) > info.n_items:
            left = np.ones(info.n_items + 1, bool)
            left[0] = left[items] = False
            items, barred = None, np.append(barred, np.flatnonzero(left)).astype(np.int32)
        return items, barred


@dataclass(frozen=True)
class TopList:
    """Item codes, best first, and their logits, both (k,)."""

    items: Codes
    logits: NDArray[np.float32]


NOTHING: Codes = np.empty(0, np.int32)


@dataclass(frozen=True)
class TopLists:
    """Lists of U users: item codes, best first, 0 where a list ends early, and their logits, both (U, k)."""

    items: Codes
    logits: NDArray[np.float32]

    @classmethod
    def empty(cls, n_users: int, k: int) -> TopLists:
        """Lists with nothing in them."""
        return cls(np.zeros((n_users, k), np.int32), np.full((n_users, k), -np.inf, np.float32))

    @classmethod
    def joined(cls, lists: Sequence[TopLists]) -> TopLists:
        """Lists of as many entries, end to end."""
        return cls(np.concatenate([some.items for some in lists]), np.concatenate([some.logits for some in lists]))

    def __len__(self) -> int:
        """How many users there are."""
        return len(self.items)

    def each(self) -> list[TopList]:
        """The lists, each as long as it is."""
        sizes = np.count_nonzero(self.items, axis=1)
        return [TopList(i[:n], s[:n]) for i, s, n in zip(self.items, self.logits, sizes, strict=True)]

    def n_short(self, n_rec: int) -> int:
        """How many have less than n_rec items."""
        return int((np.count_nonzero(self.items, axis=1) < n_rec).sum())

    def put(self, at: NDArray[np.integer] | slice, others: TopLists) -> None:
        """Set some users' lists, which may be narrower."""
        width = others.items.shape[1]
        self.items[at, :width], self.logits[at, :width] = others.items, others.logits


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
    users: Rows | Known,
    codes: Codes,
    n_rec: int,
    rules: Rules,
    strangers: Callable[[NDArray[np.int64]], TopLists] | None,
    find: Callable[[Rows | Known, Codes, int, Rules], TopLists],
) -> TopLists:
    """A list for each user; those of unknown users, at such positions, are made by ``strangers`` if it is there."""
    if strangers is None or codes.all():
        return find(users, codes, n_rec, rules)
    unknown, known = np.flatnonzero(codes == UNKNOWN), np.flatnonzero(codes)
    of_strangers = strangers(unknown)
    if not len(known):
        return of_strangers
    found = find(users[torch.from_numpy(known)], codes[known], n_rec, rules.of(known))
    lists = TopLists.empty(len(codes), max(found.items.shape[1], of_strangers.items.shape[1]))
    lists.put(unknown, of_strangers)
    lists.put(known, found)
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
    items, barred = rules.offered(info)
    states = states[1:] if items is None else states[torch.from_numpy(items).long().to(network.device)]
    n_items = info.n_items if items is None else len(items)
    limits = [limit.among(items) for limit in rules.limits]
    lists: list[TopLists] = []
    for start in range(0, len(codes), users_per_block(n_items)):
        block = slice(start, start + users_per_block(n_items))
        scores = score_catalogue(network, users[block], states, n_items)
        bar(scores, info, codes[block], items, barred, rules.of(block))
        lists.append(choose(scores, items, min(n_rec, n_items), limits, rules.generator))
    return lists[0] if len(lists) == 1 else TopLists.joined(lists)


def bar(scores: Tensor, info: DataInfo, codes: Codes, items: Codes | None, barred: Codes, rules: Rules) -> None:
    """Set −inf, in scores (U, M) of ascending items, or of all, where a user's list may not have an item."""
    if rules.filter_consumed:
        who, what = info.user_consumed.of(codes)
        _bar(scores, who, items, what)
    if len(barred):
        column, there = _columns(items, barred)
        scores[:, torch.from_numpy(column[there])] = -torch.inf
    if rules.exclude_each is not None:
        who = np.repeat(np.arange(len(codes)), [len(own) for own in rules.exclude_each])
        _bar(scores, who, items, np.concatenate([NOTHING, *rules.exclude_each]))
    if rules.too_low is not None:
        scores[rules.too_low(scores)] = -torch.inf


def _bar(scores: Tensor, who: NDArray[np.int64], items: Codes | None, what: Codes) -> None:
    column, there = _columns(items, what)
    scores[torch.from_numpy(who[there]), torch.from_numpy(column[there])] = -torch.inf


def _columns(items: Codes | None, codes: Codes) -> tuple[NDArray[np.int64], NDArray[np.bool_] | slice]:
    """The position of each code among ascending items, all without any, and which of them are there."""
    if items is None:
        return codes.astype(np.int64) - 1, slice(None)
    column = np.searchsorted(items, codes)
    there = column < len(items)
    there[there] = items[column[there]] == codes[there]
    return column, there


def choose(
    scores: Tensor,
    items: Codes | None,
    k: int,
    limits: Sequence[GroupLimit] = (),
    generator: torch.Generator | None = None,
) -> TopLists:
    """The k best of some items, or of all, by scores (U, M), of which −inf is not taken."""
    order = scores if generator is None else gumbel(scores, generator)
    if not limits:
        best = top_k(order, k)[0]
        logits = scores.gather(1, best).cpu().numpy()
    else:
        best = limited_top_k(order.clone() if order is scores else order, k, limits)
        logits = scores.gather(1, best.clamp_min(0)).masked_fill(best < 0, -torch.inf).cpu().numpy()
    chosen = best.cpu().numpy()
    codes = chosen.astype(np.int32) + np.int32(1) if items is None else items[chosen].astype(np.int32, copy=False)
    codes[logits == -np.inf] = UNKNOWN
    return TopLists(codes, logits)


def ranked_lists(info: DataInfo, orders: Sequence[Codes], n_rec: int, rules: Rules, of_app: bool = False) -> TopLists:
    """The first n_rec of each user's order of items that may be in the list; they have no logits, but NaN.

    Parameters
    ----------
    info
        Which items have interactions.
    orders
        Items, best first, for each of U users; many may have the same one.
    n_rec
        The length of the lists.
    rules
        What may be in them. Nothing is drawn, and nothing is too low.
    of_app
        Whether the orders come from the app, which may name items without interactions.
    """
    items, barred = (rules if not of_app else replace(rules, include_cold=True)).offered(info)
    offered = np.full(info.n_items + 1, items is None)
    offered[0] = False
    if items is not None:
        offered[items] = True
    offered[barred] = False
    lists = TopLists.empty(len(orders), min(n_rec, info.n_items))
    shared: dict[int, Codes] = {}
    for at, order in enumerate(orders):
        own = NOTHING if rules.exclude_each is None else rules.exclude_each[at]
        found = shared.get(id(order)) if not len(own) else None
        if found is None:
            found = order[offered[order]]
            found = _limited(found[~np.isin(found, own)] if len(own) else found, n_rec, rules.limits)
            if not len(own):
                shared[id(order)] = found
        lists.items[at, : len(found)] = found
    lists.logits[lists.items > UNKNOWN] = np.nan
    return lists


def _limited(items: Codes, k: int, limits: Sequence[GroupLimit]) -> Codes:
    """The first k of some items that the limits allow."""
    if not limits:
        return items[:k]
    places = -torch.arange(len(items), dtype=torch.float64)[None]
    at = limited_top_k(places, min(k, len(items)), [limit.among(items) for limit in limits])[0].numpy()
    return items[at[at >= 0]]


def as_table(ids: Values, sizes: NDArray[np.int64], items: Values, scores: NDArray[np.float32]) -> pd.DataFrame:
    """Lists of users as a table of ``user``, ``item``, ``score`` and ``rank``.

    Parameters
    ----------
    ids, sizes
        The users' ids and the lengths of their lists, (U,).
    items, scores
        The entries of all lists, end to end.
    """
    rank = np.arange(1, len(items) + 1) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return pd.DataFrame({"user": ids.repeat(sizes), "item": items, "score": scores, "rank": rank}, copy=False)
