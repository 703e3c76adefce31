"""SavedModel: what a model's file holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from recolib.checks import SavedFunction, check_device, function_name
from recolib.data.info import DataInfo
from recolib.files import Arrays, packed, prefixed, read_file, refusing, require, under, unpacked, write_file
from recolib.settings import Settings, sizes_of

PICKLE = "the pickle of a model"
MAX_NESTING = 10
"""Lists within lists that a setting may have."""
UNSAVED = ("data_info", "tf_sess_config")
"""Settings that are not saved as such: the data has a place of its own, and the other one is ignored."""
MAY_BE_FUNCTIONS = ("loss_type", "sampler")
"""Settings of which, if they are functions, the name is saved: ``{"function": "module.name"}``."""


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A trained model without its code.

    Attributes
    ----------
    algorithm
        The name of its class; of a class that is not recolib's, with its module.
    settings
        Its settings, as JSON has them.
    data_info
        Its data.
    records
        The rows of its ``history_``.
    state
        What training changes, by name; see ``Trainer.state``.
    file
        Where it was read from.
    run
        Of a checkpoint, what the ``fit`` was to do that wrote it, as JSON has it; see ``Run``.
    best
        Of a checkpoint, the ``state`` after the best epoch so far, where that is another than the last.
    inference_only
        Whether the state lacks what only training needs.
    """

    algorithm: str
    settings: Mapping[str, object]
    data_info: DataInfo
    records: Sequence[Mapping[str, float]]
    state: Mapping[str, Tensor]
    file: Path | None = None
    run: Mapping[str, Any] | None = None
    best: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    inference_only: bool = False

    @classmethod
    def of(
        cls,
        model: Settings,
        records: Sequence[Mapping[str, float]],
        state: Mapping[str, Tensor],
        run: Mapping[str, Any] | None = None,
        best: Mapping[str, Tensor] | None = None,
        inference_only: bool = False,
    ) -> SavedModel:
        """A model of these settings.

        Raises
        ------
        TypeError
            If a setting is of a type that JSON does not have.
        ValueError
            If a setting that shapes the network was changed since ``fit``.
        """
        settings = plain_settings(model)
        _refuse_sizes(type(model), settings, state)
        name, state = name_of(type(model)), predicting(state) if inference_only else state
        return cls(name, settings, model.data_info, records, state, None, run, best or {}, inference_only)

    def write(self, file: Path) -> Path:
        """Write the file; the old one stays until the new one is whole.

        Raises
        ------
        ValueError
            If a weight is infinite or NaN.
        """
        return write_file(file, "model", *self._contents())

    def to_bytes(self) -> bytes:
        """What ``write`` would write."""
        return b"".join(packed("model", *self._contents()))

    def _contents(self) -> tuple[dict[str, object], Arrays]:
        for state in (self.state, self.best):
            _refuse_infinite(state)
        info, arrays = self.data_info.packed()
        header: dict[str, object] = {
            "algorithm": self.algorithm,
            "settings": dict(self.settings),
            "records": list(self.records),
            "data_info": info,
            "inference_only": self.inference_only,
        }
        if self.run is not None:
            header["run"] = dict(self.run)
        for prefix, state in (("state", self.state), ("best", self.best)):
            arrays = {**arrays, **prefixed(prefix, {name: tensor.cpu().numpy() for name, tensor in state.items()})}
        return header, arrays

    @classmethod
    def read(cls, file: Path, mapped: bool = False) -> SavedModel:
        """Read a file and check it; ``mapped``, weights stay in it until they are looked at.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If it is damaged, of a newer format, no model's, or contradicts itself.
        """
        return cls._of_contents(*read_file(file, "model", mapped=mapped), file)

    @classmethod
    def from_bytes(cls, content: bytes) -> SavedModel:
        """What ``to_bytes`` gave, checked as ``read`` checks a file."""
        return cls._of_contents(*unpacked(content, PICKLE, "model"), None)

    @classmethod
    def _of_contents(cls, header: dict[str, Any], arrays: Arrays, file: Path | None) -> SavedModel:
        with refusing(file or PICKLE):
            state, best = (
                {name: torch.from_numpy(array) for name, array in under(prefix, arrays).items()}
                for prefix in ("state", "best")
            )
            for one in (state, best):
                _refuse_infinite(one)
            require(isinstance(header["algorithm"], str), "the algorithm has a name")
            require(isinstance(header["settings"], dict), "settings have names")
            for one in header["records"]:
                require(isinstance(one["epoch"], int), "each record has its epoch")
                require(all(isinstance(value, int | float) for value in one.values()), "records are numbers")
                np.array(list(one.values()), np.float64)  # which not every integer fits
            run, inference_only = header.get("run"), header["inference_only"]
            require(isinstance(inference_only, bool), "inference_only is true or false")
            require(run is None or isinstance(run, dict), "what a run is has names")
            require(run is not None or not best, "only a run has a best epoch")
            info = DataInfo.unpacked(header["data_info"], arrays)
            records = header["records"]
            return cls(header["algorithm"], header["settings"], info, records, state, file, run, best, inference_only)

    def same_data(self, data_info: object) -> DataInfo:
        """A DataInfo, if it is one of the model's data.

        Raises
        ------
        TypeError, ValueError
            If it is none, or one of other data.
        """
        if not isinstance(data_info, DataInfo):
            raise TypeError(f"data_info must be a DataInfo, got {type(data_info).__name__}")
        if data_info.fingerprint != self.data_info.fingerprint:
            raise ValueError(f"data_info ({data_info}) is of other data than the saved model ({self.data_info})")
        return data_info

    def settings_for(self, algorithm: type[Settings], device: str | None) -> dict[str, object]:
        """The settings of an algorithm, on another device if one is given.

        Raises
        ------
        ValueError
            If the algorithm has no such setting, a size is not that of the weights, or the device is not there.
        """
        wrong = sorted(self.settings.keys() - {one.name for one in fields(algorithm)})
        if wrong:
            raise ValueError(f"the saved {self.algorithm} has settings {wrong}, which this one has not")
        with refusing(self.file):
            _refuse_sizes(algorithm, self.settings, self.state)
            functions = {
                name: SavedFunction(name, _function_in(self.settings[name]))
                for name in MAY_BE_FUNCTIONS
                if isinstance(self.settings.get(name), dict)
            }
        settings = dict(self.settings) | functions | ({} if device is None else {"device": device})
        try:
            check_device(settings.get("device", "auto"))
        except ValueError as error:
            raise ValueError(f"{error}: pass device= to load the model elsewhere") from None
        return settings

    @property
    def is_of_recolib(self) -> bool:
        """Whether the algorithm is one of recolib's own."""
        return "." not in self.algorithm

    def refuse_other_algorithm(self, algorithm: type) -> None:
        """Raise a ValueError unless the model is one of this class; see ``is_of``."""
        if not self.is_of(algorithm):
            where = "" if self.file is None else f"{self.file.stem!r} in {self.file.parent} "
            raise ValueError(f"{where}holds {self.algorithm}, not {algorithm.__name__}: use its load")

    def is_of(self, algorithm: type) -> bool:
        """Whether a class has the name of the model's; the module of one's own class may be another by now."""
        own, name = name_of(algorithm), self.algorithm
        return own == name or ("." in own and "." in name and own.rpartition(".")[2] == name.rpartition(".")[2])


def name_of(algorithm: type) -> str:
    """The name of recolib's own algorithms; of others with their module, so that they are not taken for one."""
    own = algorithm.__module__.startswith("recolib.algorithms.")
    return algorithm.__name__ if own else f"{algorithm.__module__}.{algorithm.__name__}"


def predicting(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state without what only training needs."""
    return {name: tensor for name, tensor in state.items() if name.partition(".")[0] in ("progress", "network")}


def plain_settings(settings: Settings) -> dict[str, object]:
    """A model's settings as JSON has them, but for its data.

    Raises
    ------
    TypeError
        If one is of a type that JSON does not have.
    """
    names = [one.name for one in fields(settings) if one.name not in UNSAVED]
    values = {name: getattr(settings, name) for name in names}
    functions = {name: {"function": function_name(values[name])} for name in MAY_BE_FUNCTIONS if callable(values[name])}
    return {name: functions[name] if name in functions else _plain(value, name) for name, value in values.items()}


def _function_in(setting: object) -> str:
    """The name of a function that was a setting."""
    name = cast("Mapping[str, object]", setting).get("function")
    require(isinstance(name, str), "a function has a name")
    return cast("str", name)


def _plain(value: object, name: str, depth: int = 0) -> object:
    """A setting as JSON has it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, list | tuple) and depth < MAX_NESTING:
        return [_plain(one, name, depth + 1) for one in cast("Sequence[object]", value)]
    if isinstance(value, Mapping) and depth < MAX_NESTING:
        parts = cast("Mapping[object, object]", value)
        if all(isinstance(part, str) for part in parts):
            return {str(part): _plain(one, name, depth + 1) for part, one in parts.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"the setting {name}={value!r} cannot be saved: it is no number, no string, and no list of such")


def _refuse_infinite(state: Mapping[str, Tensor]) -> None:
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name!r} has infinite numbers or NaN")


def _refuse_sizes(algorithm: type[Settings], settings: Mapping[str, object], state: Mapping[str, Tensor]) -> None:
    """Raise unless each size is one that the weights have: no file says how much memory a network takes."""
    there = {size for tensor in under("network", state).values() for size in tensor.shape}
    for name in sizes_of(algorithm):
        value = settings.get(name)
        sizes = cast("Sequence[object]", value) if isinstance(value, list | tuple) else [value]
        if any(isinstance(size, int) and size not in there for size in sizes):
            raise ValueError(f"{name}={value!r} is no size of the weights, which were made with other settings")
