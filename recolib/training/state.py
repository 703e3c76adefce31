"""All that training changes, and whether it is of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from recolib.files import under
from recolib.nn.network import Network
from recolib.training.optimizers import read_moments

TrainState = Mapping[str, Tensor]
"""All that training changes, by name: the weights that predict under ``network``, those behind an average under
``average``, an optimiser's moments under its family, and under ``progress`` the numbers of epochs and steps."""


def check_state(state: TrainState, network: Network, optimizer: str) -> None:
    """Raise a ValueError unless a ``Trainer.state`` is one of this network, and does not contradict itself."""
    check_weights(state, network)
    progress = state["progress"]
    if progress.shape != (2,) or progress.dtype != torch.int64 or bool((progress < 0).any()):
        raise ValueError("progress must be the numbers of epochs and steps")
    averages = under("average", state)
    if averages:
        _refuse_other(averages, dict(network.named_parameters()))
    read_moments(network, network.tables(), optimizer, state)


def check_weights(state: TrainState, network: Network) -> None:
    """Raise a ValueError unless a ``Trainer.state`` has the weights of this network, by name, shape and type."""
    _refuse_other(under("network", state), network.state_dict())
    for name, tensor in state.items():
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise ValueError(f"{name!r} must not be negative")


def _refuse_other(state: Mapping[Any, Tensor], own: Mapping[Any, Tensor]) -> None:
    """Raise unless the tensors are called, shaped and typed as the own ones."""
    if state.keys() != own.keys():
        raise ValueError(f"the weights are of another network: {sorted(map(str, state.keys() ^ own.keys()))[:3]}")
    for name, tensor in state.items():
        if tensor.shape != own[name].shape or tensor.dtype != own[name].dtype:
            raise ValueError(
                f"the weights {name!r} are {tensor.dtype} {list(tensor.shape)}, "
                f"and the network needs {own[name].dtype} {list(own[name].shape)}"
            )
