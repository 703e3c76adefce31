"""From the columns of the data to the layout of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch

from recolib.data.info import DataInfo
from recolib.data.schema import Side
from recolib.nn import CodeField, Component, FieldEmbedding, FieldSpec, Network, SideLayout
from recolib.nn.embedding import Combiner, field_numbers
from recolib.nn.pretraining import start_from_fm
from recolib.randomness import seeded
from recolib.settings import Settings

Components = Callable[[FieldSpec], Sequence[Component[Any]]]
"""What an algorithm says of its terms."""
MUST_AGREE = ("task", "embed_size", "multi_sparse_combiner")
"""Settings that a model shares with the FM that it starts from."""


def side_layout(info: DataInfo, *sides: Side) -> SideLayout:
    """The columns of joined sides as the network sees them."""
    code_fields = [
        CodeField(len(info.vocabs[field.name]), field.width, field.kind == "multi_sparse")
        for side in sides
        for field in info.schema.codes(side)
    ]
    return SideLayout(tuple(code_fields), sum(len(info.schema.dense(side)) for side in sides))


def check_start(settings: Settings, fm: object, freeze_fm: bool, is_new: bool) -> None:
    """Raise unless ``fm`` is nothing, or for a new model one of the settings' task, data and vectors."""
    if freeze_fm and fm is None and is_new:
        raise ValueError("freeze_fm=True needs init_from, or a model that was trained before")
    if fm is None:
        return
    if not isinstance(fm, Settings):
        raise TypeError(f"init_from must be a fitted FM, got {type(fm).__name__}")
    if not is_new:
        raise ValueError("init_from is for a model that was not trained before: make a new one")
    for name in MUST_AGREE:
        own, other = getattr(settings, name), getattr(fm, name)
        if own != other:
            raise ValueError(f"init_from has {name}={other!r}, and this model {own!r}: they must be the same")
    if settings.data_info.fingerprint != fm.data_info.fingerprint:
        raise ValueError(f"init_from was trained on other data ({fm.data_info}) than this model's")


def build_network(settings: Settings, components: Components, fm: Network | None = None) -> Network:
    """A fresh network for the settings' data, on their device, that starts from an FM if one is given.

    Its weights are drawn from their seed; the global generator is left alone. A rating starts at the mean label.
    """
    with seeded(torch.device("cpu"), settings.seed):
        network = _network(settings, components)
    if fm is not None:
        start_from_fm(network, fm)
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    return network.to(automatic if settings.device == "auto" else settings.device)


def network_without_memory(settings: Settings, components: Components) -> Network:
    """The network that ``build_network`` would make, as names, shapes and types alone."""
    with torch.device("meta"):
        return _network(settings, components)


def _network(settings: Settings, components: Components) -> Network:
    info, dim, combiner = settings.data_info, settings.embed_size, cast("Combiner", settings.multi_sparse_combiner)
    user, item = side_layout(info, "user", "context"), side_layout(info, "item")
    spec = FieldSpec(*field_numbers(user, item, combiner), dim)
    of_user, of_item = (
        FieldEmbedding(layout, dim, combiner, settings.embed_dropout, settings.init_std) for layout in (user, item)
    )
    bias = info.global_mean if settings.task == "rating" else 0.0
    return Network(of_user, of_item, components(spec), bias)
