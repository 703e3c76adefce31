"""From the columns of the data to the layout of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch

from recolib.data.info import DataInfo
from recolib.data.schema import Side
from recolib.nn import CodeField, Component, FieldEmbedding, FieldSpec, Network, SideLayout
from recolib.nn.embedding import Combiner, field_numbers
from recolib.randomness import seeded
from recolib.settings import Settings


def side_layout(info: DataInfo, *sides: Side) -> SideLayout:
    """The columns of joined sides as the network sees them."""
    code_fields = [
        CodeField(len(info.vocabs[field.name]), field.width, field.kind == "multi_sparse")
        for side in sides
        for field in info.schema.codes(side)
    ]
    return SideLayout(tuple(code_fields), sum(len(info.schema.dense(side)) for side in sides))


def build_network(settings: Settings, components: Callable[[FieldSpec], Sequence[Component[Any]]]) -> Network:
    """A fresh network for the settings' data, on their device.

    Its weights are drawn from their seed; the global generator is left alone. A rating starts at the mean label.
    """
    info, dim, combiner = settings.data_info, settings.embed_size, cast("Combiner", settings.multi_sparse_combiner)
    user, item = side_layout(info, "user", "context"), side_layout(info, "item")
    spec = FieldSpec(*field_numbers(user, item, combiner), dim)
    with seeded(torch.device("cpu"), settings.seed):
        of_user, of_item = (
            FieldEmbedding(layout, dim, combiner, settings.embed_dropout, settings.init_std) for layout in (user, item)
        )
        bias = info.global_mean if settings.task == "rating" else 0.0
        network = Network(of_user, of_item, components(spec), bias)
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    return network.to(automatic if settings.device == "auto" else settings.device)
