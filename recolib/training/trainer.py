"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from recolib.files import prefixed, under
from recolib.nn.network import Network
from recolib.process_group import ProcessGroup
from recolib.randomness import drawing_for, is_own, seeded
from recolib.training.alternating import AlternatingExamples
from recolib.training.averaging import MovingAverage
from recolib.training.batches import Examples, Part
from recolib.training.catalogue import CatalogueExamples
from recolib.training.optimizers import Optimizer, Rates
from recolib.training.order import Order
from recolib.training.schedules import Schedule
from recolib.training.shards import Shards, check_network, share_out
from recolib.training.state import TrainState, check_state

CHECK_EVERY = 64
"""Steps between looks at the loss: a look waits for the device."""
AnyExamples = Examples | CatalogueExamples | AlternatingExamples
"""What an epoch goes through: rows, user rows against the catalogue, or all pairs at once."""
SHORTEST_S = 1e-9
"""Seconds that an epoch takes at least, where the clock stood or was set back."""


@dataclass(frozen=True)
class Plan:
    """How to train, from one epoch on for some epochs. The batch size is in positives; see ``Settings``."""

    loss: Any  # a Loss, or a CatalogueLoss
    batch_size: int
    lr: float
    lr_decay: float
    epsilon: float
    reg: float
    clip_norm: float | None
    ema: float | None
    seed: int
    shuffle: bool
    prior: float = 0.0
    optimizer: str = "auto"
    initial_accumulator_value: float = 0.0
    freeze_fm: bool = False
    schedule: Schedule | None = None
    first_epoch: int = 0
    n_epochs: int = 1
    shard: str | None = None
    wide_lr: float | None = None  # of linear weights and w0, where it is another

    def rates(self, epoch: int) -> Rates:
        """What the optimiser goes by in an epoch, counted from 0, before any schedule."""
        rates = Rates(self.lr, self.epsilon, self.initial_accumulator_value, self.wide_lr)
        return rates.scaled(self.lr_decay**epoch)

    def factor(self, epoch: int, share: float) -> float:
        """The schedule's factor of the learning rate after a share of an epoch's steps."""
        return 1.0 if self.schedule is None else self.schedule((epoch - self.first_epoch + share) / self.n_epochs)


class Trainer:
    """A network in training, its optimiser, and where they stand; made for one ``fit``.

    Processes that train together have the same weights: each makes the same steps, by the sum of all gradients.

    Parameters
    ----------
    network
        What is trained, in place.
    plan
        How.

    Raises
    ------
    ValueError
        If the plan leaves nothing to train.
    """

    def __init__(self, network: Network, plan: Plan) -> None:
        if plan.freeze_fm and len(network.embedding_weights()) == len(list(network.parameters())):
            raise ValueError("freeze_fm=True leaves nothing to train: the model has no weights but those of an FM")
        self.network, self.plan, self.group = network, plan, ProcessGroup.current()
        if plan.shard is not None:
            check_network(network, plan.freeze_fm, self.group)
        self.group.take_over([*network.parameters(), *network.buffers()])
        self.parameters = list(network.parameters())
        self.epoch = self.steps = 0
        wide = () if plan.wide_lr is None else network.linear_weights()
        self.optimizer = Optimizer(network, network.tables(), plan.optimizer, plan.rates(0), wide)
        self.average = None if plan.ema is None else MovingAverage(self.parameters)
        self._shards: list[Shards] = []
        self._predicts = False  # whether the network holds the weights to predict with
        for weight in network.embedding_weights():
            weight.requires_grad_(not plan.freeze_fm)

    def run_epoch(self, examples: AnyExamples, bar: tqdm[Any]) -> tuple[float, float]:
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
        rates = self.plan.rates(self.epoch)
        self._begin(rates)
        try:
            if isinstance(examples, AlternatingExamples):
                total, n_seen = examples.sweep(self.network, self.plan.prior, self.group, bar), examples.n_events
            else:
                total, n_seen = self._step_through(examples, rates, bar)
            self._check(total)
            for shards in self._shards:  # after an epoch that failed the others may wait for something else
                shards.collect()
            for weight in self.parameters:  # the loss after the last step nobody saw
                self._check(weight.detach().sum())
        finally:
            self._end()
        self.epoch += 1
        return float(total) / max(n_seen, 1), max(time.perf_counter() - start, SHORTEST_S)

    def _step_through(self, examples: Examples | CatalogueExamples, rates: Rates, bar: tqdm[Any]) -> tuple[Tensor, int]:
        """A step on each batch: the sum of the losses of all processes, and how many events are in it."""
        plan, device, scheduled = self.plan, self.network.device, self.plan.schedule is not None
        order = Order(len(examples), plan.batch_size, plan.seed, self.epoch, plan.shuffle)
        total, n_seen = torch.zeros((), device=device), 0
        other_code = not all(map(is_own, (*self.network.terms, plan.loss)))
        with seeded(device, plan.seed, self.epoch, all_code=other_code):
            n_batches = order.n_batches
            for step, parts in enumerate(examples.epoch(self.network, plan.loss, order, self.group)):
                if scheduled:
                    self._set_rates(rates.scaled(plan.factor(self.epoch, step / n_batches)))
                n = sum(part.n for part in parts)
                total.add_(self._step(parts, n), alpha=n)
                n_seen += n  # of histories that are cut, events before a cut are in no loss
                if (step + 1) % CHECK_EVERY == 0:
                    self._check(total)
                bar.update(n)
        return self.group.sum(total), n_seen

    def _begin(self, rates: Rates) -> None:
        if self._predicts and self.average is not None:
            self.average.swap()
        self._predicts = False
        self.network.train()
        self.network.user.reg = self.network.item.reg = self.plan.reg
        if self.plan.shard is not None and not self.group.is_alone:
            self._shards = self._shards or share_out(self.network, self.optimizer, rates, self.group)
            for shards in self._shards:
                shards.begin()
        self._set_rates(rates)

    def _set_rates(self, rates: Rates) -> None:
        self.optimizer.set_rates(rates)
        for shards in self._shards:
            shards.set_rates(rates)

    def _end(self) -> None:
        for shards in self._shards:
            shards.end()
        self.optimizer.drop_grad()
        if self.average is not None:
            self.average.refresh()
            self.average.swap()
        self._predicts = True
        self.network.refresh_averages()
        self.network.eval()

    def _step(self, parts: Sequence[Part], n: int) -> Tensor:
        """One step on a batch of n events; the gradients of its parts are added up."""
        plan, network = self.plan, self.network
        if self._shards and len(parts) > 1:
            raise ValueError(
                f"shard={plan.shard!r} steps vectors once a batch, and one of batch_size={plan.batch_size} goes "
                f"through the network in {len(parts)} parts: lower batch_size, or draw negatives, such as num_neg=4"
            )
        self.optimizer.zero_grad()
        if len(parts) == 1 and self.group.is_alone:
            loss = self._backward(parts[0], 1.0)
        else:
            n_rows, losses = sum(part.n_rows for part in parts), list[Tensor]()
            for part in parts:
                share = part.n_rows_here / n_rows
                network.user.reg = network.item.reg = plan.reg * share
                network.user.prior_share = float(share > 0)
                network.item.prior_share = share if part.has_catalogue else float(share > 0)
                with drawing_for(part.own):
                    losses.append(self._backward(part, part.n_events_here / n))
            network.user.reg = network.item.reg = plan.reg
            network.user.prior_share = network.item.prior_share = 1.0
            loss = torch.stack(losses).sum()
            self.optimizer.sum_gradients(self.group)
        if plan.clip_norm is not None:
            self.optimizer.clip(plan.clip_norm)
        if self.average is not None:
            self.average.catch_up()
        self.optimizer.step()
        self.steps += 1
        if self.average is not None and plan.ema is not None:
            self.average.mix(min(plan.ema, self.steps / (self.steps + 9)))  # at first a plain mean: the start is noise
        return loss

    def _backward(self, part: Part, share: float) -> Tensor:
        """The loss of a part that is a share of its batch, after its gradient was added."""
        loss = objective = part.loss(self.network)
        penalty = self.network.penalty()
        if isinstance(penalty, Tensor):
            objective = objective + penalty
        if share != 1.0:
            loss, objective = loss * share, objective * share
        objective.backward()
        return loss.detach()

    def _check(self, total: Tensor) -> None:
        if not math.isfinite(float(total)):
            wide = "" if self.plan.wide_lr is None else f" and that of the wide part, {self.plan.wide_lr:g}"
            raise FloatingPointError(
                f"the loss became {float(total)} in epoch {self.epoch + 1}: lower lr={self.plan.lr:g}{wide}, "
                "or set clip_norm, and look for extreme values in the dense columns"
            )

    def state(self, copy: bool = True) -> dict[str, Tensor]:
        """All that training changes; without ``copy`` the tensors themselves, for when nothing is trained any more."""
        parts = {"progress": torch.tensor([self.epoch, self.steps])}
        parts |= prefixed("network", self.network.state_dict())
        parts |= self.optimizer.state()
        if self.average is not None:
            own = dict(self.network.named_parameters())
            parts |= prefixed("average", dict(zip(own, self.average.values, strict=True)))
        return {name: tensor.detach().clone() if copy else tensor.detach() for name, tensor in parts.items()}

    @torch.no_grad()
    def restore(self, state: TrainState) -> None:
        """Go on from a ``state`` that was taken between epochs, of this plan or another; the network can then predict.

        Of an average that the plan does not have, training goes on from the weights behind it; moments of another
        family of optimisers begin anew.

        Raises
        ------
        ValueError
            If it is the state of another network, or contradicts itself.
        """
        check_state(state, self.network, self.plan.optimizer)
        own = dict(self.network.named_parameters())
        averages = under("average", state)
        self.network.load_state_dict(under("network", state))
        self.epoch, self.steps = state["progress"].tolist()
        self.optimizer.restore(state, self.plan.rates(self.epoch))
        if self.plan.ema is not None:
            copies = {name: torch.empty_like(own[name]).copy_(one) for name, one in averages.items()}
            self.average = MovingAverage(self.parameters, [copies[name] for name in own] if copies else None)
        else:
            for name, weight in averages.items():
                own[name].copy_(weight)
        self._predicts = True
        self.network.eval()

    @torch.no_grad()
    def freeze_where_it_predicts(self) -> None:
        """Let weights that the plan freezes stand where their averages are, not where training left them."""
        if self.plan.freeze_fm and self.average is not None:
            frozen = {id(weight) for weight in self.network.embedding_weights()}
            for weight, value in zip(self.parameters, self.average.values, strict=True):
                if id(weight) in frozen:
                    value.copy_(weight)


def train(trainer: Trainer, examples: AnyExamples, verbose: int) -> Iterator[dict[str, float]]:
    """Run the epochs of a trainer's plan, or those of them that are left, and after each give a record of it.

    What the caller adds to a record as ``eval_...`` is shown beside the next epoch's progress.
    """
    plan, record = trainer.plan, dict[str, float]()
    examples.mark_trained(trainer.network)
    examples.set_prior(trainer.network, plan.prior, plan.batch_size)
    for number in range(trainer.epoch - plan.first_epoch + 1, plan.n_epochs + 1):
        with tqdm(
            total=examples.n_events,
            desc=f"epoch {number}/{plan.n_epochs}",
            postfix={name: value for name, value in record.items() if name.startswith("eval_")},
            unit=" rows",
            unit_scale=True,
            disable=not verbose,
        ) as bar:
            loss, seconds = trainer.run_epoch(examples, bar)
        record = {
            "epoch": trainer.epoch,
            "train_loss": loss,
            "seconds": seconds,
            "rows_per_second": examples.n_pairs / seconds,
        }
        yield record
