"""Examples: what the training loop is fed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.data.interactions import Interactions
from recolib.data.rows import UNKNOWN, Past, Rows
from recolib.nn.network import Network
from recolib.process_group import ProcessGroup
from recolib.randomness import OwnRows, uniforms
from recolib.sampling import NegativeSampler
from recolib.training.losses import Loss
from recolib.training.order import Bounds, Order, Window, together
from recolib.training.pasts import EventPasts

ROWS_AT_ONCE = 2**18
"""Rows whose negatives are drawn together: bounds the memory of a draw."""
DROPPING_IDS = (1,)
"""Sets what ``id_dropout`` draws apart from the negatives."""
NUMBERS_AT_ONCE = 2**20
"""Codes and numbers that are gathered together for the batches to come, 4 MB."""


@dataclass(frozen=True, eq=False)
class Part:
    """Rows that go through the network together.

    Attributes
    ----------
    n_rows
        How many rows of users there are.
    n
        How many events they are of.
    loss
        From a network to the mean loss of the events.
    own
        Where processes share the rows: which are this one's. ``loss`` is then of these.
    n_own
        How many events these are of.
    has_catalogue
        Whether items are looked up once for all rows, and not for each.
    """

    n_rows: int
    n: int
    loss: Callable[[Network], Tensor]
    own: OwnRows | None = None
    n_own: int = 0
    has_catalogue: bool = False

    @property
    def n_events_here(self) -> int:
        """How many events count in this process."""
        return self.n if self.own is None else self.n_own * self.own.counts

    @property
    def n_rows_here(self) -> int:
        """How many rows count in this process."""
        return self.n_rows if self.own is None else self.own.n * self.own.counts


@dataclass(frozen=True, eq=False)
class Examples:
    """N events as tensors on a device, beside what their negatives are drawn from.

    With a ``draw``, each event is a positive and gets ``num_neg`` negatives; without, its label counts. ``weights``
    (N, 1) have mean 1; where all events count alike there are none.
    """

    data: Interactions
    draw: NegativeSampler | None
    num_neg: int
    user_table: Rows
    item_table: Rows
    user_rows: Tensor
    item_rows: Tensor
    context: Rows
    labels: Tensor
    weights: Tensor | None = None
    id_dropout_rates: tuple[float, float] = (0.0, 0.0)
    past: Past | None = None

    @classmethod
    def of(
        cls,
        data: Interactions,
        draw: NegativeSampler | None,
        num_neg: int,
        device: torch.device,
        id_dropout_rates: tuple[float, float] = (0.0, 0.0),
        reads_past: bool = False,
        in_order: bool = False,
    ) -> Examples:
        """Take a set to the device; ``reads_past``, with what came before each event, ``in_order`` by their rows."""
        labels = torch.from_numpy(np.ascontiguousarray(data.labels, np.float32)).to(device)
        positive = torch.zeros(1, 1 + num_neg, device=device)
        positive[0, 0] = 1.0
        return cls(
            data,
            draw,
            num_neg if draw else 0,
            data.users.rows.with_past(None).to(device),
            data.items.rows.to(device),
            torch.from_numpy(data.user_rows).to(device),
            torch.from_numpy(data.item_rows).to(device),
            data.context.to(device),
            positive if draw else labels.unsqueeze(1),
            weights_of(data, device),
            id_dropout_rates,
            EventPasts.of(data, by_row=in_order).past(device) if reads_past else None,
        )

    def __len__(self) -> int:
        """How many rows an epoch goes through."""
        return len(self.data)

    @property
    def n_events(self) -> int:
        """How many events there are."""
        return len(self.data)

    @property
    def n_pairs(self) -> int:
        """How many pairs an epoch scores."""
        return len(self.data) * (1 + self.num_neg)

    def epoch(self, network: Network, loss: Loss, order: Order, group: ProcessGroup) -> Iterator[list[Part]]:
        """The batches of an epoch, each in one part, with the epoch's negatives."""
        seed, epoch = order.seed, order.epoch
        for window in order.windows():
            whole, bounds, owns = _of_process(window, group)
            rows, at = whole.numpy(), whole.to(self.labels.device)
            batches = self.batches(at, self.candidates(seed, epoch, rows), bounds, self.dropped_ids(seed, epoch, rows))
            for (users, items, labels, weights), own in zip(batches, owns, strict=True):
                n = len(labels) if own is None else own.n_all
                yield [Part(n, n, _loss(loss, users, items, labels, weights), own, len(labels))]

    def candidates(self, seed: int, epoch: int, rows: NDArray[np.int64] | None = None) -> Tensor:
        """The item rows of some events, or all, each with its own first, then the negatives, (n, 1 + num_neg)."""
        data, device = self.data, self.item_rows.device
        rows = np.arange(len(data)) if rows is None else rows
        own = self.item_rows[torch.from_numpy(rows).to(device)].unsqueeze(1)
        if self.draw is None:
            return own
        negatives = np.empty((len(rows), self.num_neg), np.int32)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            users, items, _ = data[some]
            drawn = self.draw(users, items, uniforms(seed, epoch, some, self.num_neg))
            negatives[start : start + len(some)] = data.items.at(drawn, data.times[some])
        return torch.cat([own, torch.from_numpy(negatives).to(device)], 1)

    def dropped_ids(self, seed: int, epoch: int, rows: NDArray[np.int64] | None = None) -> Tensor | None:
        """Which ids an epoch hides of some events, or all, (n, 2 + num_neg); None where it hides none.

        Each event's user, then its item and the negatives.
        """
        if not any(self.id_dropout_rates):
            return None
        of_user, of_item = self.id_dropout_rates
        rows = np.arange(len(self.data)) if rows is None else rows
        uniform = uniforms(seed, epoch, rows, 2 + self.num_neg, purpose=DROPPING_IDS)
        below = np.array([of_user, *[of_item] * (1 + self.num_neg)])
        return torch.from_numpy(uniform < below).to(self.labels.device)

    def mark_trained(self, network: Network) -> None:
        """Note in the network which of its embedding rows training will touch."""
        users = self.user_table.codes[_distinct(self.user_rows, len(self.user_table))]
        network.user.mark_trained(users)
        network.user.mark_trained(self.context.codes, first=users.shape[-1])
        items = self.item_table.codes
        items = items[items[:, 0] != UNKNOWN] if self.draw else items[_distinct(self.item_rows, len(items))]
        network.item.mark_trained(items)
        for embedding, share, rows in zip(
            (network.user, network.item), self.id_dropout_rates, (users, items), strict=True
        ):
            if share:
                embedding.mark_trained(torch.full_like(rows[:1, :1], UNKNOWN))

    def set_prior(self, network: Network, prior: float, batch_size: int) -> None:
        """Penalise each vector and linear weight once an epoch, beside the sum of all events' losses.

        An epoch of some of the data's rows has their share of the penalty.
        """
        prior *= Order(len(self), batch_size).n_batches / max(self.n_events, self.data.data_info.data_size)
        users = self.user_table.codes, torch.bincount(self.user_rows, minlength=len(self.user_table))
        network.user.set_prior(prior, [users, (self.context.codes, 1.0)])
        negatives = 0.0 if self.draw is None else self.num_neg * self.n_events / len(self.item_table)
        times = torch.bincount(self.item_rows, minlength=len(self.item_table)) + negatives
        network.item.set_prior(prior, [(self.item_table.codes, times)])

    def batches(
        self, order: Tensor, candidates: Tensor, bounds: Bounds, dropped: Tensor | None = None
    ) -> Iterator[tuple[Rows, Rows, Tensor, Tensor | None]]:
        """The batches of events ``order[begin:end]``, gathered many at a time: a step then only cuts.

        ``candidates`` and ``dropped`` are those of the events in this order. User rows, item rows and labels as
        ``batch`` has them, and weights (B, 1) if there are any.
        """
        width = self.user_table.width + self.context.width + candidates.shape[1] * self.item_table.width
        for group in together(bounds, NUMBERS_AT_ONCE // width):
            first, last = group[0][0], group[-1][1]
            users, items, labels = self.batch(order[first:last], candidates[first:last])
            users, items = users.wide(), items.wide()
            if dropped is not None:
                hide = dropped[first:last]
                users.codes[..., 0].masked_fill_(hide[:, :1], UNKNOWN)
                items.codes[..., 0].masked_fill_(hide[:, 1:], UNKNOWN)
            weights = None if self.weights is None else self.weights[order[first:last]]
            for begin, end in group:
                cut = slice(begin - first, end - first)
                yield users[cut], items[cut], labels[cut], None if weights is None else weights[cut]

    def batch(self, at: Tensor, candidates: Tensor) -> tuple[Rows, Rows, Tensor]:
        """User rows (B, 1, C), item rows (B, 1+N, C) and labels (B, 1+N) of the events ``at``, and their candidates."""
        users = self.user_table[self.user_rows[at].unsqueeze(1)].join(self.context[at.unsqueeze(1)])
        if self.past is not None:
            users = users.with_past(Past(self.past.items, self.past.spans[at.unsqueeze(1)]))
        labels = self.labels.expand(len(at), -1) if self.draw else self.labels[at]
        return users, self.item_table[candidates], labels


def _loss(loss: Loss, users: Rows, items: Rows, labels: Tensor, weights: Tensor | None) -> Callable[[Network], Tensor]:
    return lambda network: loss(network(users, items), labels, weights)


def own_rows(
    n: int, group: ProcessGroup, has_catalogue: bool = False, starts: NDArray[np.int64] | None = None
) -> OwnRows:
    """Which of n rows are this process's.

    Where there are too few, it has one that another process has, too, and that does not count: so all do the same.
    Rows that are computed together begin at ``starts``, and stay in one process.
    """
    first, last = group.own(n)
    if starts is not None:
        first, last = np.append(starts, n)[np.searchsorted(starts, [first, last])].tolist()
    counts = last > first
    return OwnRows(first if counts else min(first, n - 1), last - first if counts else 1, n, counts, has_catalogue)


def _of_process(window: Window, group: ProcessGroup) -> tuple[Tensor, Bounds, Sequence[OwnRows | None]]:
    """Which events of a window this process has, the bounds of its batches, and which rows of each batch they are."""
    if group.is_alone:
        return window.order, window.bounds, [None] * len(window.bounds)
    owns = [own_rows(end - begin, group) for begin, end in window.bounds]
    parts = [window.order[begin + own.first :][: own.n] for (begin, _), own in zip(window.bounds, owns, strict=True)]
    ends = [0, *accumulate(own.n for own in owns)]
    return torch.cat(parts), [*pairwise(ends)], owns


def _distinct(rows: Tensor, n: int) -> Tensor:
    """The numbers below n that there are, a part of them at a time."""
    there = torch.zeros(n, dtype=torch.bool, device=rows.device)
    for some in rows.split(ROWS_AT_ONCE):
        there[some.long()] = True
    return there.nonzero().squeeze(1)


def weights_of(data: Interactions, device: torch.device) -> Tensor | None:
    """How much each event counts beside the others, with mean 1, (N, 1); None where all count alike."""
    weights = data.weights
    if weights.strides == (0,) or weights.min() == weights.max():
        return None
    return torch.from_numpy((weights / weights.mean(dtype=np.float64)).astype(np.float32)).unsqueeze(1).to(device)
