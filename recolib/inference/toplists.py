"""Top-N lists: which items they may have, and how they are chosen by scores or taken in a given order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.data.frame import Values
from recolib.data.info import DataInfo
from recolib.data.rows import UNKNOWN, Codes
from recolib.inference.top_k import GroupLimit, gumbel, limited_top_k, top_k


@dataclass(frozen=True, eq=False)
class ItemFilter:
    """Which items a list may have.

    Attributes
    ----------
    candidates
        The only items that may be recommended, by code; None is all.
    exclude
        Items that may not; None is none.
    filter_consumed
        Leave out what the user consumed in training.
    generator
        Draw lists at random, items in proportion to exp(logit), instead of taking the best.
    exclude_each
        For each user, the items that their list may not have; None is none.
    include_cold
        Whether items without any interaction may be recommended, where there are no ``candidates``.
    below_min_score
        From logits to whether they are too low for a list; None if none is.
    limits
        At most how many items of a group a list has.
    """

    candidates: Codes | None = None
    exclude: Codes | None = None
    filter_consumed: bool = True
    generator: torch.Generator | None = None
    exclude_each: Sequence[Codes] | None = None
    include_cold: bool = False
    below_min_score: Callable[[Tensor], Tensor] | None = None
    limits: Sequence[GroupLimit] = ()

    def of(self, users: NDArray[np.int64] | slice) -> ItemFilter:
        """The filter for some of the users, by position."""
        if self.exclude_each is None:
            return self
        at = range(*users.indices(len(self.exclude_each))) if isinstance(users, slice) else users.tolist()
        return replace(self, exclude_each=[self.exclude_each[one] for one in at])

    def without(self, histories: Sequence[Codes]) -> ItemFilter:
        """The filter with each user's history excluded, if what users consumed is."""
        if not self.filter_consumed:
            return self
        return self.excluding(histories)

    def excluding(self, items: Sequence[Codes]) -> ItemFilter:
        """The filter with further items of each user excluded."""
        others = self.exclude_each or [NO_ITEMS] * len(items)
        return replace(self, exclude_each=[np.append(*both) for both in zip(others, items, strict=True)])

    def scored(self, info: DataInfo) -> tuple[Codes | None, Codes]:
        """The items to score, ascending, or None for all; and those among them that no list may have.

        If more than half of the catalogue may be recommended, all of it is scored: to mask the others then costs less
        than to gather the states of these.
        """
        items = None if self.candidates is None else np.unique(self.candidates)
        if items is None and not self.include_cold and len(info.trained_items) < info.n_items:
            items = info.trained_items
        excluded = NO_ITEMS if self.exclude is None else self.exclude
        if items is not None and 2 * len(items) > info.n_items:
            left = np.ones(info.n_items + 1, bool)
            left[0] = left[items] = False
            items, excluded = None, np.append(excluded, np.flatnonzero(left)).astype(np.int32)
        return items, excluded


NO_ITEMS: Codes = np.empty(0, np.int32)


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

    def n_short(self, n_rec: int) -> int:
        """How many have less than n_rec items."""
        return int((np.count_nonzero(self.items, axis=1) < n_rec).sum())

    def merged(self, others: TopLists, k: int) -> TopLists:
        """The k best of these lists and of others of the same users, whose items have higher codes."""
        items = np.concatenate([self.items, others.items], 1)
        logits = torch.from_numpy(np.concatenate([self.logits, others.logits], 1))
        at, best = top_k(logits, min(k, items.shape[1]))
        return TopLists(np.take_along_axis(items, at.numpy(), 1), best.numpy())

    def put(self, at: NDArray[np.integer] | slice, others: TopLists) -> None:
        """Set some users' lists, which may be narrower."""
        width = others.items.shape[1]
        self.items[at, :width], self.logits[at, :width] = others.items, others.logits


def mask_excluded(
    scores: Tensor, info: DataInfo, codes: Codes, items: Codes | None, excluded: Codes, item_filter: ItemFilter
) -> None:
    """Set −inf, in scores (U, M) of ascending items, or of all, where a user's list may not have an item."""
    if item_filter.filter_consumed:
        who, what = info.user_consumed.of(codes)
        _mask(scores, who, items, what)
    if len(excluded):
        column, there = _columns(items, excluded)
        scores[:, torch.from_numpy(column[there])] = -torch.inf
    if item_filter.exclude_each is not None:
        who = np.repeat(np.arange(len(codes)), [len(own) for own in item_filter.exclude_each])
        _mask(scores, who, items, np.concatenate([NO_ITEMS, *item_filter.exclude_each]))
    if item_filter.below_min_score is not None:
        scores[item_filter.below_min_score(scores)] = -torch.inf


def _mask(scores: Tensor, who: NDArray[np.int64], items: Codes | None, what: Codes) -> None:
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


def ranked_lists(
    info: DataInfo, orders: Sequence[Codes], n_rec: int, item_filter: ItemFilter, from_callback: bool = False
) -> TopLists:
    """The first n_rec of each user's order of items that the filter lets through; they have no logits, but NaN.

    Parameters
    ----------
    info
        Which items have interactions.
    orders
        Items, best first, for each of U users; many may share one.
    n_rec
        The length of the lists.
    item_filter
        Which items lists may have. Nothing is drawn, and no score is too low.
    from_callback
        Whether the orders come from the app, which may name items without interactions.
    """
    items, excluded = (replace(item_filter, include_cold=True) if from_callback else item_filter).scored(info)
    allowed = np.full(info.n_items + 1, items is None)
    allowed[0] = False
    if items is not None:
        allowed[items] = True
    allowed[excluded] = False
    lists = TopLists.empty(len(orders), min(n_rec, info.n_items))
    shared: dict[int, Codes] = {}
    for at, order in enumerate(orders):
        own = NO_ITEMS if item_filter.exclude_each is None else item_filter.exclude_each[at]
        found = shared.get(id(order)) if not len(own) else None
        if found is None:
            found = order[allowed[order]]
            found = _limited(found[~np.isin(found, own)] if len(own) else found, n_rec, item_filter.limits)
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
