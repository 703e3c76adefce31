"""From a model's settings and data to its network, to how it is trained, and to a wider network for more data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor

from recolib.annotations import RECENT
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.data.kinds import layout_of
from recolib.data.schema import Side
from recolib.files import under
from recolib.nn import CodeField, Component, FieldEmbedding, FieldSpec, ItemToItem, Network, SideLayout
from recolib.nn.components.item_to_item import moved
from recolib.nn.embedding import Combiner, field_numbers
from recolib.nn.fields import NetworkSide
from recolib.nn.network import Systems
from recolib.nn.past import PooledPast
from recolib.nn.pretraining import start_from_pairs
from recolib.process_group import ProcessGroup
from recolib.randomness import Undrawn, seeded
from recolib.sampling import SAMPLERS, sampler_of
from recolib.settings import Settings
from recolib.training.alternating import AlternatingExamples
from recolib.training.batches import Examples
from recolib.training.catalogue import CatalogueExamples
from recolib.training.catalogue_losses import IMPLICIT, catalogue_loss
from recolib.training.losses import loss_of
from recolib.training.schedules import Schedule
from recolib.training.start import start_from_counts, start_from_shares
from recolib.training.state import TrainState, check_state, check_weights
from recolib.training.trainer import AnyExamples, Plan

Components = Callable[[FieldSpec], Sequence[Component[Any]]]
"""What an algorithm says of its terms."""
HIDDEN = 0.5
"""The share of a user's items that training hides from the field that they make."""
HIDDEN_OF_RECENT = 0.2
"""That share where few items make most of the field."""
LR_DECAY = 0.96
"""Factor of the learning rate an epoch of ``lr_decay=True``, LibRecommender's."""
TABLES = "vectors.weight", "weights.weight"
OF_WEIGHTS = "network", "average"
"""The parts of a state that hold weights; all others are an optimiser's moments."""
EVENLY = "random", "unconsumed", SAMPLERS["random"], SAMPLERS["unconsumed"]
"""Samplers whose negatives say nothing of how popular items are."""


def side_layout(info: DataInfo, *sides: Side) -> SideLayout:
    """The columns of joined sides as the network sees them."""
    code_fields = [
        CodeField(info.n_values(field), layout_of(field).width, layout_of(field).slots)
        for side in sides
        for field in info.schema.codes(side)
    ]
    dense = [layout_of(field) for side in sides for field in info.schema.dense(side)]
    ends = [*accumulate(layout.width for layout in dense)]
    vectors = [(end - layout.width, end) for layout, end in zip(dense, ends, strict=True) if layout.projected]
    return SideLayout(tuple(code_fields), sum(layout.width for layout in dense), tuple(vectors))


def build_network(settings: Settings, components: Components, fm: Network | None = None) -> Network:
    """A fresh network for the settings' data, on their device, that starts from an FM if one is given.

    Its weights are drawn from their seed; the global generator is left alone.
    """
    with seeded(torch.device("cpu"), settings.seed, all_code=True):
        network = _network(settings, components)
    if fm is not None:
        start_from_pairs(network, fm)
    return network.to(device_of(settings))


def started_network(
    settings: Settings, components: Components, data: Interactions, neg_sampling: bool, fm: Network | None
) -> Network:
    """The network that a first ``fit`` on some data begins with."""
    network = build_network(settings, components, fm)
    if fm is None and (not neg_sampling or settings.has_catalogue or settings.sampler in EVENLY):
        if settings.loss_type == IMPLICIT:
            start_from_shares(network, data, settings.unobserved_weight)
            return network
        num_neg = settings.num_neg if isinstance(settings.num_neg, int) and not settings.has_catalogue else 1
        start_from_counts(network, data, settings.task, num_neg if neg_sampling else None)
    return network


def network_of_state(settings: Settings, components: Components, state: TrainState) -> Network:
    """The network for the settings' data with the weights of a ``Trainer.state``, ready to predict.

    They are no copies, but for those that lie otherwise in the network's memory.
    """
    with Undrawn():
        network = _network(settings, components)
    check_weights(state, network)
    own = network.state_dict()
    weights = {
        name: one if one.stride() == own[name].stride() else torch.empty_like(own[name]).copy_(one)
        for name, one in under("network", state).items()
    }
    network.load_state_dict(weights, assign=True)
    return network.to(device_of(settings)).eval()


def device_of(settings: Settings) -> str:
    """Where a network of these settings is."""
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    return automatic if settings.device == "auto" else settings.device


def check_file_state(settings: Settings, components: Components, state: TrainState, inference_only: bool) -> None:
    """Raise a ValueError unless a state suits the settings, before anything as large as these say is allocated."""
    with torch.device("meta"), Undrawn():
        network = _network(settings, components)
    check_weights(state, network)
    if not inference_only:
        check_state(state, network, settings.optimizer)


def to_predictions(settings: Settings) -> Callable[[Tensor], Tensor]:
    """From logits to what is predicted: a rating within its bounds, or a probability."""
    if settings.task == "rating":
        return partial(torch.clamp, min=settings.lower_bound, max=settings.upper_bound)
    return torch.sigmoid


def _network(settings: Settings, components: Components) -> Network:
    info, dim, combiner = settings.data_info, settings.embed_size, cast("Combiner", settings.multi_sparse_combiner)
    user, item = side_layout(info, "user", "context"), side_layout(info, "item")
    spec = FieldSpec(*field_numbers(user, item, combiner, bool(settings.history)), dim)
    on_disk = settings.shard is not None and not ProcessGroup.current().is_alone
    of_user, of_item = (
        FieldEmbedding(layout, dim, combiner, rate, settings.init_std, on_disk)
        for layout, rate in zip((user, item), settings.embed_dropout_rates, strict=True)
    )
    bias = info.global_mean if settings.task == "rating" else 0.0
    terms, pooled, recent = [*components(spec)], None, settings.history == RECENT
    if settings.history and terms:
        pooled = PooledPast(HIDDEN_OF_RECENT if recent else HIDDEN, settings.embed_dropout_rates[0], recent)
    if settings.item_to_item:
        terms.append(ItemToItem(item.code_fields[0].n_values, settings.item_to_item_weight or 0.0, recent))
    network = Network(of_user, of_item, terms, bias, pooled, settings.max_history)
    if settings.alternates and settings.task == "ranking" and settings.prior is not None:
        network.systems = Systems(settings.unobserved_weight, settings.prior)
    return network


def plan_of(
    settings: Settings,
    neg_sampling: bool,
    shuffle: bool,
    freeze_fm: bool = False,
    schedule: Schedule | None = None,
    first_epoch: int = 0,
) -> Plan:
    """The plan that a model's settings make for a ``fit``."""
    decay, whole = settings.lr_decay, neg_sampling and settings.has_catalogue
    named = str(settings.loss_type)
    lr: Any = settings.lr
    deep_lr, wide_lr = (lr["deep"], lr["wide"]) if isinstance(lr, Mapping) else (lr, None)
    return Plan(
        loss=catalogue_loss(named, settings.unobserved_weight) if whole else loss_of(settings.loss_type, settings.task),
        batch_size=batch_size_of(settings, neg_sampling),
        lr=deep_lr,
        wide_lr=wide_lr,
        lr_decay=decay if not isinstance(decay, bool) else LR_DECAY if decay else 1.0,
        epsilon=settings.epsilon,
        reg=settings.reg or 0.0,
        prior=settings.prior,
        clip_norm=settings.clip_norm,
        ema=None if settings.alternates else settings.ema,  # which is one of steps
        seed=settings.seed,
        shuffle=shuffle,
        optimizer=settings.optimizer,
        shard=settings.shard,
        initial_accumulator_value=settings.initial_accumulator_value,
        freeze_fm=freeze_fm,
        schedule=schedule,
        first_epoch=first_epoch,
        n_epochs=settings.n_epochs,
    )


def batch_size_of(settings: Settings, neg_sampling: bool) -> int:
    """Events a step, or against the catalogue user rows."""
    if neg_sampling and not settings.has_catalogue:
        return max(1, settings.batch_size // (1 + int(settings.num_neg)))
    return settings.batch_size


def examples_of(settings: Settings, data: Interactions, neg_sampling: bool, network: Network) -> AnyExamples:
    """What the loop is fed: events with drawn negatives or none, user rows beside the whole catalogue, or all pairs."""
    if settings.alternates:
        return AlternatingExamples.of(data, network, settings.unobserved_weight if neg_sampling else 0.0)
    num_neg = settings.num_neg if isinstance(settings.num_neg, int) else 0
    rates, reads_past = settings.id_dropout_rates, network.trains_on_past
    if neg_sampling and settings.has_catalogue:
        how = network.in_one_pass, network.by_recency
        return CatalogueExamples.of(data, network.device, rates, num_neg or None, reads_past, *how)
    sampler = sampler_of(settings.sampler)(settings.data_info) if neg_sampling and settings.sampler else None
    data = data.with_items_of(settings.data_info) if sampler else data  # the sampler draws what is known by now
    return Examples.of(data, sampler, num_neg, network.device, rates, reads_past, network.trains_in_order)


def grown_state(settings: Settings, state: TrainState, old: DataInfo, new: DataInfo) -> TrainState:
    """A ``Trainer.state`` of data as that of data into which more was merged."""
    layouts = zip(_layouts(old), _layouts(new), strict=True)
    for side, (narrow, wide) in zip(("user", "item"), layouts, strict=True):
        if narrow != wide:
            state = grown(state, side, narrow, wide, settings.initial_accumulator_value)
    n_old, n_new = (layouts[1].code_fields[0].n_values for layouts in (_layouts(old), _layouts(new)))
    return with_items_moved(state, torch.tensor([*range(n_old + 1), *[-1] * (n_new - n_old)]))


def with_items_moved(state: TrainState, origin: Tensor) -> TrainState:
    """A ``Trainer.state`` whose weights from item to item are those of other items.

    Parameters
    ----------
    state
        What a trainer gave.
    origin
        For each code from 0 on, the one that the item had, or −1 where it is new.
    """
    result = dict(state)
    for name in state:
        part, _, last = name.rpartition(".")
        if last == "columns" and part.startswith("network.components."):
            values = f"{part}.values"
            result[values], result[name] = moved(state[values], state[name], origin.to(state[name].device))
    return result


def grown(
    state: TrainState, side: NetworkSide, old: SideLayout, new: SideLayout, accumulator: float = 0.0
) -> dict[str, Tensor]:
    """A ``Trainer.state`` with the tables of a side grown.

    Each field's block of rows moves as a whole to where it now begins. Rows of new values are the mean of those of
    their field that were trained, and the optimiser knows nothing of them yet.

    Parameters
    ----------
    state
        What a trainer gave.
    side, old, new
        The side, and its columns as they were and as they are.
    accumulator
        What sums of squared gradients start from.
    """
    trained = state[f"network.{side}.trained"]
    origin = torch.full((new.n_rows,), -1, device=trained.device)
    for narrow, wide in zip(old.blocks, new.blocks, strict=True):
        rows = torch.arange(narrow.start, narrow.stop, device=trained.device)
        origin[wide.start : wide.start + len(rows)] = rows
    is_new, origin = origin < 0, origin.clamp_min(0)
    result = {**state, f"network.{side}.trained": trained[origin] & ~is_new}
    for name, tensor in state.items():
        part, _, weight = name.partition(".")
        if not weight.startswith(tuple(f"{side}.{table}" for table in TABLES)) or not tensor.dim():
            continue
        result[name] = table = tensor[origin]
        if part not in OF_WEIGHTS:
            table[is_new] = accumulator if name.endswith(".sum") else 0.0
            continue
        for narrow, wide in zip(old.blocks, new.blocks, strict=True):
            learnt = tensor[narrow][trained[narrow]]
            table[wide][is_new[wide]] = learnt.sum(0) / max(1, len(learnt))
    return result


def _layouts(info: DataInfo) -> tuple[SideLayout, SideLayout]:
    return side_layout(info, "user", "context"), side_layout(info, "item")
