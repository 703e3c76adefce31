"""A model's data and what it learnt, without some users and items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.field import Side
from recolib.data.forgetting import NO_CODES, Forgotten, without
from recolib.data.info import DataInfo
from recolib.data.rows import Codes
from recolib.fitting.wiring import TABLES, with_items_moved
from recolib.inference.ids import Ids, read_codes
from recolib.nn.embedding import N_SPECIAL
from recolib.nn.fields import NetworkSide
from recolib.training.state import TrainState

SIDES: tuple[tuple[NetworkSide, tuple[Side, ...]], ...] = (("user", ("user", "context")), ("item", ("item",)))
"""The sides of the network, and those of the data that each joins."""


def forgotten_data(info: DataInfo, users: Ids | None, items: Ids | None) -> Forgotten:
    """The data without some users and items, by their ids; of those that are not known there is a warning.

    Raises
    ------
    ValueError
        If nothing is named, or no user or no item would be left.
    """
    if users is None and items is None:
        raise ValueError("forget needs users or items: name whom to forget")
    return without(info, _codes(info, "user", users), _codes(info, "item", items))


def forgotten_state(state: TrainState, old: DataInfo, new: Forgotten) -> TrainState:
    """A ``Trainer.state`` with the rows of what stayed alone, in weights, averages and moments alike."""
    result = dict(state)
    for side, of_data in SIDES:
        rows = torch.from_numpy(_rows(old, of_data, new.kept))
        for name, tensor in state.items():
            weight = name.partition(".")[2]
            is_table = weight.startswith(tuple(f"{side}.{table}" for table in TABLES))
            if tensor.dim() and (is_table or name == f"network.{side}.trained"):
                result[name] = tensor[rows.to(tensor.device)]
    field = next(field for field in old.schema.codes("item") if field.is_id)
    kept = new.kept["item"]
    return with_items_moved(result, torch.from_numpy(np.append(0, kept[kept <= old.n_values(field)])))


def _codes(info: DataInfo, side: Side, ids: Ids | None) -> Codes:
    return NO_CODES if ids is None else read_codes(info, side, ids, False, "there is nothing to forget of them")[1]


def _rows(info: DataInfo, sides: Sequence[Side], kept: Mapping[str, Codes]) -> NDArray[np.int64]:
    """The rows of a network's table that stay: of each field the special ones, then those of the codes that stay."""
    fields = [field for side in sides for field in info.schema.codes(side)]
    sizes = [info.n_values(field) for field in fields]
    starts = [0, *accumulate(size + N_SPECIAL for size in sizes)]
    codes = (kept.get(field.name, np.arange(1, size + 1)) for field, size in zip(fields, sizes, strict=True))
    parts = [
        start + np.append(np.arange(N_SPECIAL), some[some <= size] + N_SPECIAL - 1)  # ids behind share the unknown's
        for some, size, start in zip(codes, sizes, starts, strict=False)
    ]
    return np.concatenate(parts).astype(np.int64)
