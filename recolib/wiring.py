"""From the columns of the data to the layout of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from recolib.data.info import DataInfo
from recolib.data.schema import Side
from recolib.nn import CodeField, Component, FieldEmbedding, FieldSpec, Network, SideLayout
from recolib.nn.embedding import Combiner, field_numbers


def side_layout(info: DataInfo, *sides: Side) -> SideLayout:
    """The columns of joined sides as the network sees them."""
    code_fields = [
        CodeField(len(info.vocabs[field.name]), field.width, field.kind == "multi_sparse")
        for side in sides
        for field in info.schema.codes(side)
    ]
    return SideLayout(tuple(code_fields), sum(len(info.schema.dense(side)) for side in sides))


def build_network(
    info: DataInfo,
    components: Callable[[FieldSpec], Sequence[Component[Any]]],
    dim: int,
    combiner: Combiner,
    embed_dropout: float,
    init_std: float,
    bias: float,
    seed: int,
) -> Network:
    """A fresh network for this data; its weights are drawn from ``seed``, the global generator is left alone."""
    user, item = side_layout(info, "user", "context"), side_layout(info, "item")
    spec = FieldSpec(*field_numbers(user, item, combiner), dim)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        embeddings = (FieldEmbedding(layout, dim, combiner, embed_dropout, init_std) for layout in (user, item))
        return Network(*embeddings, components=components(spec), bias=bias)
