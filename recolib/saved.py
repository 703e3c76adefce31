"""SavedModel: what a model's file holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recolib.data.info import DataInfo
from recolib.files import prefixed, read_file, refusing, require, under, write_file


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A trained model without its code.

    Attributes
    ----------
    algorithm
        The name of its class.
    settings
        Its settings, as JSON has them.
    data_info
        Its data.
    records
        The rows of its ``history_``.
    state
        What training changes, by name; see ``Trainer.state``.
    """

    algorithm: str
    settings: Mapping[str, object]
    data_info: DataInfo
    records: Sequence[Mapping[str, float]]
    state: Mapping[str, Tensor]

    def write(self, file: Path) -> Path:
        """Write the file; the old one stays until the new one is whole.

        Raises
        ------
        TypeError
            If a setting is of a type that JSON does not have.
        ValueError
            If a weight is infinite or NaN.
        """
        _require_finite(self.state)
        info, arrays = self.data_info.packed()
        header = {
            "algorithm": self.algorithm,
            "settings": {name: _plain(name, value) for name, value in self.settings.items()},
            "records": list(self.records),
            "data_info": info,
        }
        weights = {name: tensor.cpu().numpy() for name, tensor in self.state.items()}
        return write_file(file, "model", header, {**arrays, **prefixed("state", weights)})

    @classmethod
    def read(cls, file: Path) -> SavedModel:
        """Read a file and check it.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If it is damaged, of a newer format, no model's, or contradicts itself.
        """
        header, arrays = read_file(file, "model")
        with refusing(file):
            state = {name: torch.from_numpy(array) for name, array in under("state", arrays).items()}
            _require_finite(state)
            require(isinstance(header["algorithm"], str), "the algorithm has a name")
            require(isinstance(header["settings"], dict), "settings have names")
            records = [{str(name): float(value) for name, value in one.items()} for one in header["records"]]
            info = DataInfo.unpacked(header["data_info"], arrays)
            return cls(header["algorithm"], header["settings"], info, records, state)


def _plain(name: str, value: object) -> object:
    """A setting as JSON has it."""
    try:
        return json.loads(json.dumps(value, default=_scalar))
    except TypeError:
        raise TypeError(
            f"the setting {name}={value!r} cannot be saved: it is no number, string, or list of them"
        ) from None


def _scalar(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.device):
        return str(value)
    raise TypeError


def _require_finite(state: Mapping[str, Tensor]) -> None:
    for name, tensor in state.items():
        require(not tensor.is_floating_point() or bool(tensor.isfinite().all()), f"the numbers of {name!r} are finite")
