"""Lister: lists of items for users who are asked for by id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from recolib.checks import check_integer
from recolib.data.frame import Values
from recolib.data.rows import Codes, Rows
from recolib.exceptions import warn
from recolib.inference.cold_start import Segments, check_cold_start, of_app, segment_columns
from recolib.inference.engine import Scorer
from recolib.inference.folding import fold_in
from recolib.inference.queries import Id, Ids, read_codes, user_rows
from recolib.inference.request import Wish
from recolib.inference.scoring import Known, users_per_block
from recolib.inference.toplists import Rules, TopLists, as_table, lists_for, ranked_lists

USERS_AT_ONCE = 2**14
"""Users whose lists are made between two looks at the progress bar, where their lists and the catalogue are small."""
ENTRIES_AT_ONCE = 2**20
"""Entries that their lists have at most, 8 MB."""


@dataclass(frozen=True, eq=False)
class Asked:
    """Users who are asked for.

    Attributes
    ----------
    ids, codes
        Who they are, (U,).
    rows
        What they are scored from.
    rules
        What may be in their lists.
    """

    ids: Values
    codes: Codes
    rows: Rows | Known
    rules: Rules

    def __len__(self) -> int:
        """How many users there are."""
        return len(self.codes)

    def of(self, some: NDArray[np.int64] | slice) -> Asked:
        """Some of them, by position."""
        at = some if isinstance(some, slice) else torch.from_numpy(some)
        return Asked(self.ids[some], self.codes[some], self.rows[at], self.rules.of(some))


class Lister(Scorer):
    """A scorer whose lists are asked for by ids, features and wishes."""

    def _asked_for(self, users: Ids, wish: Wish) -> Asked:
        """The users, and what their lists are made from; all checks are made."""
        self._fitted()
        check_cold_start(wish.cold_start, wish.segment)
        wish.check(self.task)
        info = self.data_info
        columns = () if wish.segment is None else segment_columns(info, wish.segment)
        values, codes = read_codes(info, "user", users, wish.inner_id)
        ids: list[Id] = values.tolist()
        if columns and wish.user_feats is None and not codes.all():
            warn("segment without user_feats: unknown users get what is popular with everybody")
        histories, average = wish.histories(info, ids), wish.cold_start != "features"
        items = partial(self._item_frame.get, (info, info.version), info.item_frame)
        rules = wish.rules(info, ids, items, self._predictions, self._generator)
        if histories is None:
            rows = self._asked(ids, codes, wish.user_feats, wish.context, average)
        else:
            of_users = user_rows(info, ids, codes, wish.user_feats, wish.context, average)
            rows, rules = self._folded(of_users, codes, histories), rules.without(histories)
        return Asked(values, codes, rows, rules)

    def _folded(self, users: Rows, codes: Codes, histories: Sequence[Codes]) -> Known:
        """Users with what they met lately; one who is known is held where he is, the more he consumed in training."""
        network, states = self._fitted(), self._states("item", at_any_size=True)
        assert states is not None
        prior_weight = 1.0 + self.data_info.user_consumed.counts()[codes]
        return fold_in(network, self.data_info, states, users, histories, prior_weight)

    def _asked_for_each(self, users: Ids | None, wish: Wish) -> Asked:
        """The same, each user once; all that are known without any."""
        self._fitted()
        asked = self._asked_for(self.data_info.vocabs["user"].values if users is None else users, wish)
        twice = pd.Index(asked.ids, dtype=asked.ids.dtype).duplicated()
        return asked.of(np.flatnonzero(~twice)) if twice.any() else asked

    def _lists(self, asked: Asked, wish: Wish) -> TopLists:
        """Their lists; strangers get theirs without scores where the cold start says so."""

        def of_strangers(at: NDArray[np.int64]) -> TopLists:
            some = asked.of(at)
            orders = self._orders(some, wish)
            return ranked_lists(self.data_info, orders, wish.n_rec, some.rules, callable(wish.cold_start))

        scored = wish.cold_start in ("average", "features")
        find = partial(self._top_lists, finder=wish.retriever)
        strangers = None if scored else of_strangers
        return lists_for(asked.rows, asked.codes, wish.n_rec, asked.rules, strangers, find)

    def _orders(self, strangers: Asked, wish: Wish) -> list[Codes]:
        """Items for each unknown user, best first, by popularity or by the app's own strategy."""
        info = self.data_info
        if callable(wish.cold_start):
            return of_app(wish.cold_start, self, strangers.ids.tolist(), wish.n_rec, info)
        if wish.segment is None or isinstance(strangers.rows, Known):
            return [info.ranked_items] * len(strangers)
        columns = segment_columns(info, wish.segment)
        segments = self._segments.get((info, info.version, columns), lambda: Segments.of(info, columns))
        return segments.orders(info, strangers.rows)

    def _blocks(self, asked: Asked, wish: Wish, verbose: int) -> Iterator[tuple[slice, TopLists]]:
        """The lists of all users, some users at a time, with a progress bar where it takes more than a second."""
        n_items, n_short = self.data_info.n_items, 0
        size = min(USERS_AT_ONCE, 8 * users_per_block(n_items), ENTRIES_AT_ONCE // min(wish.n_rec, n_items))
        size = max(1, size)
        with tqdm(
            total=len(asked), desc="recommend", unit=" users", unit_scale=True, disable=not verbose, delay=1
        ) as bar:
            for start in range(0, len(asked), size):
                block = slice(start, min(start + size, len(asked)))
                lists = self._lists(asked.of(block), wish)
                n_short += lists.n_short(wish.n_rec)
                yield block, lists
                bar.update(len(lists))
        warn_of_short(n_short, wish.n_rec)

    def _table(self, ids: Values, lists: TopLists) -> pd.DataFrame:
        """Lists as a table of ``user``, ``item``, ``score`` and ``rank``."""
        there = lists.items > 0
        items = self.data_info.vocabs["item"].decode(lists.items[there])
        return as_table(ids, there.sum(1), items, self._finished(lists.logits[there]))


def check_verbose(verbose: object) -> None:
    """Raise unless it is a number from 0 on; True and False are 1 and 0."""
    check_integer("verbose", int(verbose) if isinstance(verbose, bool) else verbose, 0)


def warn_of_short(n_short: int, n_rec: int) -> None:
    """Warn where lists are shorter than they were to be."""
    if n_short:
        warn(f"{n_short} lists are shorter than n_rec={n_rec}: no more items may be recommended")
