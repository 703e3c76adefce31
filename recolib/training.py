"""The training loop."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions, check_labels
from recolib.data.rows import ABSENT, Rows
from recolib.losses import Loss
from recolib.nn.network import Network
from recolib.sampling import Draw, uniforms

CHECK_EVERY = 64
"""Steps between looks at the loss: a look waits for the device."""
DECAY = 0.96
"""Learning-rate factor an epoch of ``lr_decay=True``, LibRecommender's."""


@dataclass(frozen=True)
class Plan:
    """How to train. Sizes are in positives a step; see the settings of ``Recommender``."""

    loss: Loss
    batch_size: int
    lr: float
    lr_decay: float
    epsilon: float
    reg: float
    clip_norm: float | None
    ema: float | None
    seed: int
    shuffle: bool


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


class Trainer:
    """A network, its optimiser, and where they stand. It outlives ``fit``, which continues it.

    Parameters
    ----------
    network
        What is trained, in place.
    plan
        How.
    """

    def __init__(self, network: Network, plan: Plan) -> None:
        self.network, self.plan = network, plan
        self.parameters = list(network.parameters())
        self.epoch = 0
        self._fresh_optimizer()
        self._predicts = False  # whether the network holds the weights to predict with

    @property
    def lr(self) -> float:
        """The learning rate of the next epoch."""
        return self.plan.lr * self.plan.lr_decay**self.epoch

    def run_epoch(self, examples: Examples, bar: tqdm[Any]) -> tuple[float, float]:
        """One pass over the examples; afterwards the network is ready to predict.

        Returns
        -------
        tuple of float
            The mean training loss and the seconds that it took.

        Raises
        ------
        FloatingPointError
            If the loss becomes infinite or NaN.
        """
        start = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        candidates = examples.candidates(self.plan.seed, self.epoch)
        order = torch.from_numpy(self._order(len(examples.data))).to(candidates.device)
        total = torch.zeros((), device=candidates.device)
        self._begin()
        try:
            with _own_randomness(self.plan.seed, self.epoch, candidates.device):
                for step, (begin, end) in enumerate(batch_bounds(len(order), self.plan.batch_size), start=1):
                    users, items, labels = examples.batch(order[begin:end], candidates)
                    total += self._step(users, items, labels) * (end - begin)
                    if step % CHECK_EVERY == 0:
                        self._check(total)
                    bar.update(end - begin)
            self._check(total)
        finally:
            self._end()
        self.epoch += 1
        return float(total) / len(order), time.perf_counter() - start

    def _begin(self) -> None:
        if self._predicts:
            self._swap_average()
        self._predicts = False
        self.network.train()

    def _end(self) -> None:
        self._swap_average()
        self._predicts = True
        self.network.settle()
        self.network.eval()

    def _step(self, users: Rows, items: Rows, labels: Tensor) -> Tensor:
        plan = self.plan
        self.optimizer.zero_grad(set_to_none=True)
        loss = plan.loss(self.network(users, items), labels)
        objective = loss
        if plan.reg:
            objective = loss + plan.reg / labels.numel() * self.network.squared_norm(users, items)
        objective.backward()
        if plan.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, plan.clip_norm)
        self.optimizer.step()
        if self.average is not None and plan.ema is not None:
            with torch.no_grad():
                for average, weight in zip(self.average, self.parameters, strict=True):
                    average.lerp_(weight, 1 - plan.ema)
        return loss.detach()

    def _order(self, n: int) -> NDArray[np.int64]:
        if not self.plan.shuffle:
            return np.arange(n)
        return np.random.default_rng([self.plan.seed, self.epoch]).permutation(n)

    def _check(self, total: Tensor) -> None:
        if not math.isfinite(float(total)):
            raise FloatingPointError(
                f"the loss became {float(total)} in epoch {self.epoch + 1}: lower lr={self.plan.lr:g}, "
                "or set clip_norm, and look for extreme values in the dense columns"
            )

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of what the network predicts with."""
        return {name: value.clone() for name, value in self.network.state_dict().items()}

    def restore(self, snapshot: dict[str, Tensor]) -> None:
        """Go back to a snapshot, with a fresh optimiser."""
        self.network.load_state_dict(snapshot)
        self._fresh_optimizer()
        self._predicts = True

    def _fresh_optimizer(self) -> None:
        self.optimizer = torch.optim.Adam(self.parameters, self.plan.lr, eps=self.plan.epsilon, fused=True)
        keeps_average = self.plan.ema is not None
        self.average = [weight.detach().clone() for weight in self.parameters] if keeps_average else None

    def _swap_average(self) -> None:
        """Exchange the weights with their moving average, if one is kept; a second call undoes it."""
        if self.average is None:
            return
        with torch.no_grad():
            for weight, average in zip(self.parameters, self.average, strict=True):
                kept = weight.clone()
                weight.copy_(average)
                average.copy_(kept)


def _beside(one: Rows, other: Rows) -> Rows:
    """Rows joined, the one that is single repeated for the other."""
    n = max(len(one), len(other))
    return Rows(*(part.expand(n, -1) for part in (one.codes, one.dense))).join(
        Rows(*(part.expand(n, -1) for part in (other.codes, other.dense)))
    )


def batch_bounds(n: int, size: int) -> Sequence[tuple[int, int]]:
    """Where batches of ``size`` begin and end; a last batch of one joins the one before it.

    Batch norm cannot take a single row.

    Raises
    ------
    ValueError
        If there is only one row in all.
    """
    if n < 2:
        raise ValueError(f"training needs at least 2 rows, got {n}")
    bounds = [(begin, min(begin + size, n)) for begin in range(0, n, size)]
    if n - bounds[-1][0] == 1:
        bounds[-2:] = [(bounds[-2][0], n)]
    return bounds


@contextmanager
def _own_randomness(seed: int, epoch: int, device: torch.device) -> Generator[None]:
    """Dropout draws of (seed, epoch); the global generators are left as they were found."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence([seed, epoch, 1]).generate_state(1, np.uint32)[0]))
        yield


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
    if len(data.new_users) or len(data.new_items):
        raise ValueError("train_data has users or items that data_info does not know: build it with build_trainset")
    check_labels(data, task, neg_sampling)
    if not neg_sampling:
        return data
    unobserved = data.labels == 0
    if unobserved.all():
        raise ValueError("all labels are 0: with neg_sampling=True there is no positive row")
    if unobserved.any():
        warnings.warn(
            f"{int(unobserved.sum())} rows with label 0 are left out: neg_sampling=True draws negatives", stacklevel=3
        )
        return data.take(np.flatnonzero(~unobserved))
    return data
