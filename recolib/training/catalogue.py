"""Training against the catalogue: each positive stands against every item, or against those drawn for its batch.

One random negative says "this item above that one", and is noise. The network is two-sided, so that a batch of user
rows is scored against all items with each row and each item encoded once; a factorization machine needs one matrix
product for it. A catalogue that is too large for this is stood for by the batch's own positives and items drawn for
the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.data.interactions import Interactions
from recolib.data.rows import UNKNOWN, Past, Rows
from recolib.nn.blocks import at_once
from recolib.nn.network import Network
from recolib.nn.past import recency
from recolib.process_group import ProcessGroup
from recolib.randomness import uniforms
from recolib.training.batches import DROPPING_IDS, Part, own_rows, weights_of
from recolib.training.catalogue_losses import CatalogueLoss, Implicit, Positives, softmax, softmax_of_vectors
from recolib.training.order import Order
from recolib.training.pasts import EventPasts, cuts

DRAWING_ITEMS = (2,)
"""Sets what is drawn for batches apart from other draws."""
NUMBERS_AT_ONCE = 2**24
"""Numbers of one hidden layer that are held at once, 64 MB: more user rows go through the network part by part."""
MANY_SCORES = 2**21
"""Scores of a batch beyond which it is faster not to make them, if the loss can do without: they leave the cache."""


@dataclass(frozen=True, eq=False)
class CatalogueExamples:
    """N positives as tensors on a device, by the user row (user and context) that they are of.

    An item that changes over time stands in the catalogue as it is now.

    Attributes
    ----------
    user_rows, context
        The G distinct user rows.
    starts
        Where the positives of each user row begin among all, (G + 1,).
    columns, weights
        The items of the N positives, as columns of the catalogue, and how much each counts.
    items
        The M items that have interactions.
    n_drawn
        How many items are drawn for each batch; None: all items are there.
    n_liked
        How many pairs of a user and an item are positive in all of the data.
    pasts
        What came before each positive, if the network reads that. Each epoch cuts the positives of each user row at
        one of them: what is before the cut is the past of the row, and the others are its positives.
    in_one_pass
        Whether instead each positive is a row of its own, with all that came before it.
    by_recency
        Whether of the positives after a cut each counts the less, the more others come between.
    """

    n_events: int
    user_table: Rows
    user_rows: Tensor
    context: Rows
    starts: Tensor
    columns: Tensor
    weights: Tensor | None
    items: Rows
    id_dropout_rates: tuple[float, float]
    n_drawn: int | None = None
    n_liked: int = 0
    pasts: EventPasts | None = None
    in_one_pass: bool = False
    by_recency: bool = False

    @classmethod
    def of(
        cls,
        data: Interactions,
        device: torch.device,
        id_dropout_rates: tuple[float, float] = (0.0, 0.0),
        n_drawn: int | None = None,
        reads_past: bool = False,
        in_one_pass: bool = False,
        by_recency: bool = False,
    ) -> CatalogueExamples:
        """Take a set of positives to the device; ``reads_past``, with what came before each."""
        trained = data.data_info.trained_items
        first, group = distinct_rows(data)
        pasts = EventPasts.of(data, by_row=in_one_pass or by_recency) if reads_past else None
        order = np.argsort(group, kind="stable") if pasts is None else pasts.sorted_within(group)
        starts = np.append(0, np.cumsum(np.bincount(group, minlength=len(first))))
        columns = np.searchsorted(trained, data.item_indices[order])
        weights = weights_of(data, device)
        return cls(
            len(data),
            data.users.rows.with_past(None).to(device),
            torch.from_numpy(data.user_rows[first]).to(device),
            data.context[torch.from_numpy(first)].to(device),
            torch.from_numpy(starts).to(device),
            torch.from_numpy(columns).to(device),
            None if weights is None else weights.squeeze(1)[torch.from_numpy(order).to(device)],
            data.items.rows[torch.from_numpy(trained)].to(device).wide(),
            id_dropout_rates,
            n_drawn,
            int(data.data_info.liked.sum()),
            None if pasts is None else replace(pasts, spans=pasts.spans[order]),
            in_one_pass,
            by_recency,
        )

    def __len__(self) -> int:
        """How many user rows there are: what an epoch goes through."""
        return len(self.user_rows)

    @property
    def n_pairs(self) -> int:
        """How many pairs an epoch scores, those of drawn items without the batches' own positives."""
        return len(self) * min(len(self.items), self.n_drawn or len(self.items))

    def mark_trained(self, network: Network) -> None:
        """Note in the network which of its embedding rows training will touch."""
        users = self.user_table.codes[self.user_rows]
        network.user.mark_trained(users)
        network.user.mark_trained(self.context.codes, first=users.shape[-1])
        network.item.mark_trained(self.items.codes)
        for embedding, rate, rows in zip(
            (network.user, network.item), self.id_dropout_rates, (users, self.items.codes), strict=True
        ):
            if rate:
                embedding.mark_trained(torch.full_like(rows[:1, :1], UNKNOWN))

    def set_prior(self, network: Network, prior: float, batch_size: int) -> None:
        """Penalise each vector once an epoch, beside the sum of all events' losses.

        Linear weights are left free: their level is that of a softmax, and an item's share of the events. An epoch of
        some of the data's positives has their share of the penalty.
        """
        n_steps = Order(len(self), batch_size).n_batches
        prior *= n_steps / max(self.n_events, self.n_liked)
        users = [(self.user_table.codes[self.user_rows], 1.0), (self.context.codes, 1.0)]
        network.user.set_prior(prior, users, of_weights=False)
        times = n_steps * self._rates(n_steps)
        network.item.set_prior(prior, [(self.items.codes, times)], of_weights=False)

    def epoch(self, network: Network, loss: CatalogueLoss, order: Order, group: ProcessGroup) -> Iterator[list[Part]]:
        """The batches of an epoch, each in parts whose hidden layers fit into memory."""
        seed, epoch, device, n_batches = order.seed, order.epoch, self.user_rows.device, order.n_batches
        width = max(term.numbers_per_pair for term in network.terms)
        drop, dim, is_product = None, network.user.vectors.embedding_dim, network.trains_as_product
        if self.id_dropout_rates[0]:
            of_user = uniforms(seed, epoch, np.arange(len(self)), 1, purpose=DROPPING_IDS)[:, 0]
            drop = torch.from_numpy(of_user < self.id_dropout_rates[0]).to(device)
        drawing = None if self.n_drawn is None else (self.n_drawn, self._mass(), self._rates(n_batches))
        cutting = None if self.pasts is None else self._cutting(seed, epoch)
        chosen = (window.order[begin:end] for window in order.windows() for begin, end in window.bounds)
        for step, rows in enumerate(chosen):
            batch = (self if cutting is None else cutting).batch(rows.to(device))
            if drawing is not None:
                n, mass, rates = drawing
                point = uniforms(seed, epoch, np.arange(n), 1, purpose=(*DRAWING_ITEMS, step))[:, 0]
                drawn = np.searchsorted(mass, point * mass[-1], side="right").clip(max=len(mass) - 1)
                batch = batch.among(torch.from_numpy(drawn).to(device), rates)
            items = self._items(batch.items, seed, epoch, step)
            n_rows = len(batch.groups)
            n_scores = n_rows * items.codes.shape[1]
            without_scores = isinstance(loss, Implicit) and 2 * n_rows >= dim
            if n_scores > MANY_SCORES and is_product and (without_scores or loss is softmax):
                of_product = loss.of_vectors if isinstance(loss, Implicit) else softmax_of_vectors
                yield [self._part(_of_vectors(of_product), batch, slice(0, n_rows), items, drop, group)]
                continue
            size = max(1, at_once(NUMBERS_AT_ONCE, device) // (width * items.codes.shape[1]))
            parts = [slice(at, min(at + size, n_rows)) for at in range(0, n_rows, size)]
            yield [self._part(_of_scores(loss), batch, part, items, drop, group) for part in parts]

    def batch(self, groups: Tensor) -> _Batch:
        """Some user rows, and their positives."""
        begin, sizes = self.starts[groups], self.starts[groups + 1] - self.starts[groups]
        rows = torch.arange(len(groups), device=groups.device).repeat_interleave(sizes)
        at = torch.arange(len(rows), device=groups.device) + (begin - sizes.cumsum(0) + sizes)[rows]
        weights = None if self.weights is None else self.weights[at]
        return _Batch(groups, Positives(rows, self.columns[at], weights))

    def _part(
        self, loss: _BatchLoss, batch: _Batch, part: slice, items: Rows, drop: Tensor | None, group: ProcessGroup
    ) -> Part:
        """A part of a batch, and of it the rows of this process."""
        n_rows, positives, own = part.stop - part.start, batch.positives.of(part), None
        n = len(positives)
        if not group.is_alone:
            own = own_rows(n_rows, group, has_catalogue=True, starts=self._starts(batch.groups[part]))
            part = slice(part.start + own.first, part.start + own.first + own.n)
            positives = batch.positives.of(part)
        of_part = partial(loss, users=self._users(batch, part, drop), items=items, positives=positives)
        return Part(n_rows, n, of_part, own, len(positives), has_catalogue=True)

    def _starts(self, groups: Tensor) -> NDArray[np.int64] | None:
        """Where the rows begin that are computed in one pass; None where each is computed by itself."""
        if not self.in_one_pass:
            return None
        user = groups.cpu().numpy()
        return np.flatnonzero(np.append(True, user[1:] != user[:-1]))

    def _users(self, batch: _Batch, part: slice, drop: Tensor | None) -> Rows:
        groups = batch.groups[part]
        users = self.user_table[self.user_rows[groups].unsqueeze(1)].join(self.context[groups.unsqueeze(1)]).wide()
        if drop is not None:
            users.codes[..., 0].masked_fill_(drop[groups].unsqueeze(1), UNKNOWN)
        return users if batch.past is None else users.with_past(Past(batch.past.items, batch.past.spans[part]))

    def _cutting(self, seed: int, epoch: int) -> _Cutting:
        """The positives in the order of an epoch, with their pasts."""
        assert self.pasts is not None
        pasts, columns, weights = self.pasts.of_epoch(seed, epoch), self.columns, self.weights
        if not self.pasts.in_order:
            group = torch.arange(len(self), device=columns.device).repeat_interleave(self.starts.diff())
            order = pasts.sorted_within(group.cpu().numpy())
            pasts, at = replace(pasts, spans=pasts.spans[order]), torch.from_numpy(order).to(columns.device)
            columns, weights = columns[at], None if weights is None else weights[at]
        return _Cutting(replace(self, columns=columns, weights=weights), pasts.past(columns.device), seed, epoch)

    def _items(self, chosen: Tensor | None, seed: int, epoch: int, step: int) -> Rows:
        items, rate = self.items if chosen is None else self.items[chosen], self.id_dropout_rates[1]
        if not rate:
            return _one(items)
        of_item = uniforms(seed, epoch, np.arange(len(self.items)), 1, purpose=(*DROPPING_IDS, step))[:, 0]
        dropped = torch.from_numpy(of_item < rate).to(items.codes.device)
        items = Rows(items.codes.clone(), items.dense)
        items.codes[:, 0].masked_fill_(dropped if chosen is None else dropped[chosen], UNKNOWN)
        return _one(items)

    def _mass(self) -> NDArray[np.float64]:
        """How much of a draw falls on the items up to each: half by their share of the events, half alike."""
        counts = torch.bincount(self.columns, minlength=len(self.items)).cpu().numpy()
        return np.cumsum(0.5 * counts / counts.sum() + 0.5 / len(counts))

    def _rates(self, n_batches: int) -> Tensor:
        """How likely each item is to be drawn, or a positive, in one of an epoch's batches, (M,)."""
        if self.n_drawn is None:
            return torch.ones(len(self.items), device=self.columns.device)
        counts = torch.bincount(self.columns, minlength=len(self.items)).double()
        not_drawn = self.n_drawn * torch.log1p(-(0.5 * counts / counts.sum() + 0.5 / len(counts)))
        n_rows, size = float(len(self)), len(self) / n_batches  # a batch takes its rows without putting any back
        others = n_rows - counts
        not_own = torch.lgamma(others + 1) - torch.lgamma((others - size).clamp_min(0) + 1)
        not_own += math.lgamma(n_rows - size + 1) - math.lgamma(n_rows + 1)
        missing = torch.where(others < size, -math.inf, not_drawn + not_own)
        return -torch.expm1(missing).float()


@dataclass(frozen=True, eq=False)
class _Batch:
    """Some user rows, their positives, and the items that these stand against; None: all."""

    groups: Tensor
    positives: Positives
    items: Tensor | None = None
    past: Past | None = None

    def among(self, drawn: Tensor, rates: Tensor) -> _Batch:
        """The batch with the items that were drawn for it and its own positives, instead of all."""
        items = torch.cat([drawn, self.positives.columns]).unique()
        columns = torch.searchsorted(items, self.positives.columns)
        return replace(self, positives=replace(self.positives, columns=columns, rates=rates[items]), items=items)


@dataclass(frozen=True, eq=False)
class _Cutting:
    """An epoch's positives with what came before them, by user row, the earliest first."""

    examples: CatalogueExamples
    past: Past
    seed: int
    epoch: int

    def batch(self, groups: Tensor) -> _Batch:
        """Some user rows with what is before their cut as past and the rest as positives; or each positive as a row."""
        examples, spans = self.examples, self.past.spans
        begin, sizes = examples.starts[groups], examples.starts[groups + 1] - examples.starts[groups]
        if not examples.in_one_pass:
            n_before = cuts(sizes, self.seed, self.epoch, groups)
            begin, sizes = begin + n_before, sizes - n_before
        rows = torch.arange(len(groups), device=groups.device).repeat_interleave(sizes)
        at = torch.arange(len(rows), device=groups.device) + (begin - sizes.cumsum(0) + sizes)[rows]
        weights = None if examples.weights is None else examples.weights[at]
        first = begin
        if examples.by_recency:
            own = recency(at - begin[rows])
            weights = own if weights is None else weights * own
            weights = weights * (len(weights) / weights.sum().clamp_min(1e-12))
        if examples.in_one_pass:
            groups, rows, first = groups[rows], torch.arange(len(rows), device=rows.device), at
        past = Past(self.past.items, spans[first].unsqueeze(1))
        return _Batch(groups, Positives(rows, examples.columns[at], weights), past=past)


class _BatchLoss(Protocol):
    """The loss of user rows beside items."""

    def __call__(self, network: Network, users: Rows, items: Rows, positives: Positives) -> Tensor: ...


def _of_scores(loss: CatalogueLoss) -> _BatchLoss:
    """By all scores."""

    def of(network: Network, users: Rows, items: Rows, positives: Positives) -> Tensor:
        return loss(network(users, items), positives)

    return of


def _of_vectors(loss: Callable[[Tensor, Tensor, Positives], Tensor]) -> _BatchLoss:
    """By vectors, whose scores are not made, or never all at once."""

    def of(network: Network, users: Rows, items: Rows, positives: Positives) -> Tensor:
        user, item = network.product(users, items)
        return loss(user.squeeze(1), item.squeeze(0), positives)

    return of


def _one(items: Rows) -> Rows:
    """A catalogue (M, C) as that of every user row, (1, M, C)."""
    return Rows(items.codes[None], items.dense[None])


def distinct_rows(data: Interactions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first event of each distinct user row and context, and the number of each event's, (N,)."""
    number = data.user_rows.astype(np.int64)
    dense = data.context.dense.numpy() + 0.0  # no zero is negative
    for column in np.hstack([data.context.codes.numpy(), dense.view(np.int32)]).T:
        number = np.unique(number, return_inverse=True)[1].reshape(-1) * 2**32 + column
    _, first, number = np.unique(number, return_index=True, return_inverse=True)
    return first, number.reshape(-1)
