"""Training against the whole catalogue: each positive stands against every item, and nothing is drawn.

One random negative says "this item above that one", and is noise. The network is two-sided, so that a batch of user
rows is scored against all items with each row and each item encoded once; a factorization machine needs one matrix
product for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from recolib.data.interactions import Interactions
from recolib.data.rows import UNKNOWN, Rows
from recolib.nn.network import Network
from recolib.sampling import uniforms
from recolib.training.batches import DROPPING_IDS, Part, weights_of

NUMBERS_AT_ONCE = 2**24
"""Numbers of one hidden layer that are held at once, 64 MB: more user rows go through the network part by part."""


@dataclass(frozen=True, eq=False)
class Positives:
    """The positives of some user rows.

    Attributes
    ----------
    rows, columns
        The user row and the item of each, as a row and a column of the scores, (P,).
    weights
        How much each counts, (P,); None where all count alike.
    """

    rows: Tensor
    columns: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        """How many there are."""
        return len(self.rows)


CatalogueLoss = Callable[[Tensor, Positives], Tensor]
"""Scores (G, M) of user rows with all items, and which are positive -> a scalar, the mean over the positives."""


def softmax(scores: Tensor, positives: Positives) -> Tensor:
    """Mean of −log of the positive's share of a softmax over all items: the exact multinomial likelihood.

    References
    ----------
    Liang et al., *Variational Autoencoders for Collaborative Filtering*, WWW 2018.
    """
    own = scores[positives.rows, positives.columns]
    return _mean(scores.logsumexp(1)[positives.rows] - own, positives)


def cross_entropy(scores: Tensor, positives: Positives) -> Tensor:
    """Mean binary cross-entropy of each positive beside the mean over the other items.

    It has the expectation of one random negative for each positive, without its noise.
    """
    own = scores[positives.rows, positives.columns]
    others = (F.softplus(scores).sum(1)[positives.rows] - F.softplus(own)) / (scores.shape[1] - 1)
    return _mean(0.5 * (F.softplus(-own) + others), positives)


def _mean(losses: Tensor, positives: Positives) -> Tensor:
    return losses.mean() if positives.weights is None else (losses * positives.weights).mean()


CATALOGUE_LOSSES: dict[str, CatalogueLoss] = {"softmax": softmax, "cross_entropy": cross_entropy}


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

    @classmethod
    def of(
        cls,
        data: Interactions,
        device: torch.device,
        id_dropout_rates: tuple[float, float] = (0.0, 0.0),
    ) -> CatalogueExamples:
        """Take a set of positives to the device."""
        trained = data.data_info.trained_items
        first, group = distinct_rows(data)
        order = np.argsort(group, kind="stable")
        starts = np.append(0, np.cumsum(np.bincount(group, minlength=len(first))))
        columns = np.searchsorted(trained, data.item_indices[order])
        weights = weights_of(data, device)
        return cls(
            len(data),
            data.users.rows.to(device),
            torch.from_numpy(data.user_rows[first]).to(device),
            data.context[torch.from_numpy(first)].to(device),
            torch.from_numpy(starts).to(device),
            torch.from_numpy(columns).to(device),
            None if weights is None else weights.squeeze(1)[torch.from_numpy(order).to(device)],
            data.items.rows[torch.from_numpy(trained)].to(device).wide(),
            id_dropout_rates,
        )

    def __len__(self) -> int:
        """How many user rows there are: what an epoch goes through."""
        return len(self.user_rows)

    @property
    def n_pairs(self) -> int:
        """How many pairs an epoch scores."""
        return len(self) * len(self.items)

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

    def epoch(
        self,
        network: Network,
        loss: CatalogueLoss,
        seed: int,
        epoch: int,
        order: Tensor,
        bounds: Sequence[tuple[int, int]],
    ) -> Iterator[list[Part]]:
        """The batches of the user rows ``order[begin:end]``, each in parts whose hidden layers fit into memory."""
        numbers = len(self.items) * max(term.numbers_per_pair for term in network.terms)
        size, drop = max(1, NUMBERS_AT_ONCE // numbers), None
        if self.id_dropout_rates[0]:
            of_user = uniforms(seed, epoch, np.arange(len(self)), 1, purpose=DROPPING_IDS)[:, 0]
            drop = torch.from_numpy(of_user < self.id_dropout_rates[0]).to(order.device)
        for step, (begin, end) in enumerate(bounds):
            items = self._items(seed, epoch, step)
            starts = range(begin, end, size)
            yield [self._part(loss, order[start : min(start + size, end)], items, drop) for start in starts]

    def _part(self, loss: CatalogueLoss, groups: Tensor, items: Rows, drop: Tensor | None) -> Part:
        users = self.user_table[self.user_rows[groups].unsqueeze(1)].join(self.context[groups.unsqueeze(1)]).wide()
        if drop is not None:
            users.codes[..., 0].masked_fill_(drop[groups].unsqueeze(1), UNKNOWN)
        begin, sizes = self.starts[groups], self.starts[groups + 1] - self.starts[groups]
        rows = torch.arange(len(groups), device=groups.device).repeat_interleave(sizes)
        at = torch.arange(len(rows), device=groups.device) + (begin - sizes.cumsum(0) + sizes)[rows]
        positives = Positives(rows, self.columns[at], None if self.weights is None else self.weights[at])
        return Part(users, items, len(rows), lambda scores: loss(scores, positives))

    def _items(self, seed: int, epoch: int, step: int) -> Rows:
        rate = self.id_dropout_rates[1]
        if not rate:
            return _one(self.items)
        of_item = uniforms(seed, epoch, np.arange(len(self.items)), 1, purpose=(*DROPPING_IDS, step))[:, 0]
        items = Rows(self.items.codes.clone(), self.items.dense)
        items.codes[:, 0].masked_fill_(torch.from_numpy(of_item < rate).to(items.codes.device), UNKNOWN)
        return _one(items)


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
