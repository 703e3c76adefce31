"""Examples: what the training loop is fed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions, check_labels
from recolib.data.rows import ABSENT, Rows
from recolib.exceptions import warn
from recolib.nn.network import Network
from recolib.sampling import Draw, uniforms


@dataclass(frozen=True, eq=False)
class Examples:
    """N events as tensors on a device, beside what their negatives are drawn from.

    With a ``draw``, each event is a positive and gets ``num_neg`` negatives; without, its label counts.
    """

    data: Interactions
    draw: Draw | None
    num_neg: int
    user_table: Rows
    item_table: Rows
    user_rows: Tensor
    item_rows: Tensor
    context: Rows
    labels: Tensor

    @classmethod
    def of(cls, data: Interactions, draw: Draw | None, num_neg: int, device: torch.device) -> Examples:
        """Take a set to the device."""
        labels = torch.from_numpy(np.ascontiguousarray(data.labels, np.float32)).to(device)
        positive = torch.zeros(1, 1 + num_neg, device=device)
        positive[0, 0] = 1.0
        return cls(
            data,
            draw,
            num_neg if draw else 0,
            data.user_table.to(device),
            data.item_table.to(device),
            torch.from_numpy(data.user_rows).to(device),
            torch.from_numpy(data.item_rows).to(device),
            data.context.to(device),
            positive if draw else labels.unsqueeze(1),
        )

    def candidates(self, seed: int, epoch: int) -> Tensor:
        """The item rows of each event, its own first, then an epoch's negatives, (N, 1 + num_neg)."""
        own = self.item_rows.unsqueeze(1)
        if self.draw is None:
            return own
        data = self.data
        negatives = self.draw(data.user_indices, data.item_indices, uniforms(seed, epoch, len(data), self.num_neg))
        rows = data.data_info.items.at(negatives, data.times)
        return torch.cat([own, torch.from_numpy(rows).to(own.device)], 1)

    def mark_trained(self, network: Network) -> None:
        """Note in the network which of its embedding rows training will touch."""
        users = self.user_table[self.user_rows.unique()]
        nowhere = Rows(torch.full_like(users.codes[:1], ABSENT), torch.zeros_like(users.dense[:1]))
        around = self.context[:1]
        no_context = Rows(torch.full_like(around.codes, ABSENT), torch.zeros_like(around.dense))
        network.user.mark_trained(_beside(users, no_context))
        network.user.mark_trained(_beside(nowhere, self.context))
        items = self.item_table if self.draw else self.item_table[self.item_rows.unique()]
        network.item.mark_trained(items if self.draw is None else items[items.codes[:, 0].nonzero().squeeze(1)])

    def batch(self, at: Tensor, candidates: Tensor) -> tuple[Rows, Rows, Tensor]:
        """User rows (B, 1, C), item rows (B, 1+N, C) and labels (B, 1+N) of the events numbered ``at``."""
        users = self.user_table[self.user_rows[at].unsqueeze(1)].join(self.context[at.unsqueeze(1)])
        labels = self.labels.expand(len(at), -1) if self.draw else self.labels[at]
        return users, self.item_table[candidates[at]], labels


def _beside(one: Rows, other: Rows) -> Rows:
    """Rows joined, the one that is single repeated for the other."""
    n = max(len(one), len(other))
    return Rows(*(part.expand(n, -1) for part in (one.codes, one.dense))).join(
        Rows(*(part.expand(n, -1) for part in (other.codes, other.dense)))
    )


def training_rows(data: Interactions, info: DataInfo, task: str, neg_sampling: bool) -> Interactions:
    """The rows to train on: all, or with sampling those whose label is not 0.

    Raises
    ------
    TypeError
        If ``data`` is not an encoded set.
    ValueError
        If it is one of other data, has unknown ids, or its labels do not suit the task.
    """
    if not isinstance(data, Interactions):
        raise TypeError(f"train_data must be what build_trainset returned, got {type(data).__name__}")
    data.refuse_other(info)
    if not (data.user_indices.all() and data.item_indices.all()):
        raise ValueError("train_data has users or items that data_info does not know: build it with build_trainset")
    check_labels(data, task, neg_sampling)
    if neg_sampling:
        unobserved = data.labels == 0
        if unobserved.all():
            raise ValueError("all labels are 0: with neg_sampling=True there is no positive row")
        if unobserved.any():
            warn(f"{int(unobserved.sum())} rows with label 0 are left out: neg_sampling=True draws negatives")
            data = data.take(np.flatnonzero(~unobserved))
    if len(data) < 2:
        raise ValueError(f"training needs at least 2 rows, got {len(data)}")
    return data
