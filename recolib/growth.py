"""Networks grown to more users, items and values, with what training keeps of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from recolib.data.info import DataInfo
from recolib.nn.embedding import SideLayout
from recolib.nn.fields import Side
from recolib.settings import Settings
from recolib.training import Plan, Trainer
from recolib.wiring import Components, build_network, side_layout

TABLES = "vectors.weight", "weights.weight"
OF_WEIGHTS = "network", "average"
"""The parts of a state that hold weights; all others are what an optimiser keeps of them."""


def grown_trainer(
    settings: Settings, components: Components, plan: Plan, state: Mapping[str, Tensor], old: DataInfo
) -> Trainer:
    """A trainer of the settings' data that goes on from a ``Trainer.state`` of data with less in it."""
    layouts = zip(_layouts(old), _layouts(settings.data_info), strict=True)
    for side, (narrow, wide) in zip(("user", "item"), layouts, strict=True):
        if narrow != wide:
            state = grown(state, side, narrow, wide, settings.initial_accumulator_value)
    trainer = Trainer(build_network(settings, components), plan)
    trainer.restore(state)
    return trainer


def grown(
    state: Mapping[str, Tensor], side: Side, old: SideLayout, new: SideLayout, accumulator: float = 0.0
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
