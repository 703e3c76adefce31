"""Examples: what the training loop is fed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recolib.data.interactions import Interactions
from recolib.data.rows import UNKNOWN, Past, Rows
from recolib.nn.network import Network
from recolib.sampling import NegativeSampler, uniforms
from recolib.training.losses import Loss
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
    """

    n_rows: int
    n: int
    loss: Callable[[Network], Tensor]


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
        in_one_pass: bool = False,
    ) -> Examples:
        """Take a set to the device; ``reads_past``, with what came before each event, ``in_one_pass`` by their rows."""
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
            EventPasts.of(data, by_row=in_one_pass).past(device) if reads_past else None,
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

    def epoch(
        self, network: Network, loss: Loss, seed: int, epoch: int, order: Tensor, bounds: Sequence[tuple[int, int]]
    ) -> Iterator[list[Part]]:
        """The batches of the events ``order[begin:end]``, each in one part, with an epoch's negatives."""
        batches = self.batches(order, self.candidates(seed, epoch), bounds, self.dropped_ids(seed, epoch))
        for users, items, labels, weights in batches:
            yield [_part(loss, users, items, labels, weights)]

    def candidates(self, seed: int, epoch: int) -> Tensor:
        """The item rows of each event, its own first, then an epoch's negatives, (N, 1 + num_neg)."""
        own = self.item_rows.unsqueeze(1)
        if self.draw is None:
            return own
        data = self.data
        users, items = data.user_indices, data.item_indices
        negatives = np.empty((len(data), self.num_neg), np.int32)
        for start in range(0, len(data), ROWS_AT_ONCE):
            rows = np.arange(start, min(start + ROWS_AT_ONCE, len(data)))
            drawn = self.draw(users[rows], items[rows], uniforms(seed, epoch, rows, self.num_neg))
            negatives[rows] = data.items.at(drawn, data.times[rows])
        return torch.cat([own, torch.from_numpy(negatives).to(own.device)], 1)

    def dropped_ids(self, seed: int, epoch: int) -> Tensor | None:
        """Which ids an epoch hides, (N, 2 + num_neg): each event's user, then its item and the negatives; or None."""
        if not any(self.id_dropout_rates):
            return None
        of_user, of_item = self.id_dropout_rates
        uniform = uniforms(seed, epoch, np.arange(len(self.data)), 2 + self.num_neg, purpose=DROPPING_IDS)
        below = np.array([of_user, *[of_item] * (1 + self.num_neg)])
        return torch.from_numpy(uniform < below).to(self.labels.device)

    def mark_trained(self, network: Network) -> None:
        """Note in the network which of its embedding rows training will touch."""
        users = self.user_table.codes[self.user_rows.unique()]
        network.user.mark_trained(users)
        network.user.mark_trained(self.context.codes, first=users.shape[-1])
        items = self.item_table.codes
        items = items[items[:, 0] != UNKNOWN] if self.draw else items[self.item_rows.unique()]
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
        prior *= len(batch_bounds(len(self), batch_size)) / max(self.n_events, self.data.data_info.data_size)
        users = self.user_table.codes[self.user_rows]
        network.user.set_prior(prior, [users, self.context.codes])
        negatives = 0.0 if self.draw is None else self.num_neg * self.n_events / len(self.item_table)
        times = torch.bincount(self.item_rows, minlength=len(self.item_table)) + negatives
        network.item.set_prior(prior, [self.item_table.codes], times)

    def batches(
        self, order: Tensor, candidates: Tensor, bounds: Sequence[tuple[int, int]], dropped: Tensor | None = None
    ) -> Iterator[tuple[Rows, Rows, Tensor, Tensor | None]]:
        """The batches of events ``order[begin:end]``, gathered many at a time: a step then only cuts.

        User rows, item rows and labels as ``batch`` has them, and weights (B, 1) if there are any.
        """
        width = self.user_table.width + self.context.width + candidates.shape[1] * self.item_table.width
        for group in _together(bounds, NUMBERS_AT_ONCE // width):
            first, last = group[0][0], group[-1][1]
            users, items, labels = self.batch(order[first:last], candidates)
            users, items = users.wide(), items.wide()
            if dropped is not None:
                hide = dropped[order[first:last]]
                users.codes[..., 0].masked_fill_(hide[:, :1], UNKNOWN)
                items.codes[..., 0].masked_fill_(hide[:, 1:], UNKNOWN)
            weights = None if self.weights is None else self.weights[order[first:last]]
            for begin, end in group:
                cut = slice(begin - first, end - first)
                yield users[cut], items[cut], labels[cut], None if weights is None else weights[cut]

    def batch(self, at: Tensor, candidates: Tensor) -> tuple[Rows, Rows, Tensor]:
        """User rows (B, 1, C), item rows (B, 1+N, C) and labels (B, 1+N) of the events numbered ``at``."""
        users = self.user_table[self.user_rows[at].unsqueeze(1)].join(self.context[at.unsqueeze(1)])
        if self.past is not None:
            users = users.with_past(Past(self.past.items, self.past.spans[at.unsqueeze(1)]))
        labels = self.labels.expand(len(at), -1) if self.draw else self.labels[at]
        return users, self.item_table[candidates[at]], labels


def _part(loss: Loss, users: Rows, items: Rows, labels: Tensor, weights: Tensor | None) -> Part:
    return Part(len(labels), len(labels), lambda network: loss(network(users, items), labels, weights))


def batch_bounds(n: int, size: int) -> Sequence[tuple[int, int]]:
    """Where batches of ``size`` begin and end; a last batch of one joins the one before it, if there is one.

    Batch norm cannot take a single row.
    """
    bounds = [(begin, min(begin + size, n)) for begin in range(0, n, size)]
    if len(bounds) > 1 and n - bounds[-1][0] == 1:
        bounds[-2:] = [(bounds[-2][0], n)]
    return bounds


def weights_of(data: Interactions, device: torch.device) -> Tensor | None:
    """How much each event counts beside the others, with mean 1, (N, 1); None where all count alike."""
    weights = data.weights
    if weights.strides == (0,) or weights.min() == weights.max():
        return None
    return torch.from_numpy((weights / weights.mean(dtype=np.float64)).astype(np.float32)).unsqueeze(1).to(device)


def _together(bounds: Sequence[tuple[int, int]], n: int) -> Iterator[Sequence[tuple[int, int]]]:
    """Bounds in groups that reach over about n rows."""
    size = max(1, n // (bounds[0][1] - bounds[0][0]))
    return (bounds[at : at + size] for at in range(0, len(bounds), size))
