"""A model as ONNX graphs, with all that a serving process needs beside them."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import secrets
import shutil
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recolib.data.encoding import blank_rows
from recolib.data.info import DataInfo
from recolib.data.kinds import kind_of, layout_of
from recolib.data.rows import ABSENT, AVERAGE, UNKNOWN, Rows
from recolib.files import local_path, write_file
from recolib.nn import Network, NetworkSide, NetworkState
from recolib.nn.past import PastItems
from recolib.settings import Settings
from recolib.version import __version__

FORMAT = 1
"""Raised when a reader of an earlier folder would misread one."""
MANIFEST = "vocabularies.json"
ROWS = "rows.safetensors"
NEEDED = ("onnx", "onnxscript")
N_USERS, N_ITEMS = 3, 5
"""Rows that graphs are traced with: neither is 1, which torch would take for a size that never changes."""


class Encoder(nn.Module):
    """From rows of a side to its state, tensor by tensor."""

    def __init__(self, network: Network, side: NetworkSide) -> None:
        super().__init__()
        self.network = network
        self.side: NetworkSide = side

    def forward(self, rows: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Codes (B, C), if there are numbers these (B, D), and what users consumed (B, L), if the network reads it."""
        (codes, *rest), network = rows, self.network
        history = rest.pop() if self.side == "user" and network.reads_past else None
        both = Rows(codes, rest[0] if rest else torch.empty(codes.shape[0], 0))
        if not network.reads_past:
            state = network.encode(self.side, both)
        else:
            state = network.encode_fields(self.side, *network.fields(self.side, both, history))
        return tuple(tensors_of(state, self.side).values())


class Joint(nn.Module):
    """From the states of users and items, tensor by tensor, to logits.

    Parameters
    ----------
    network
        Whose states they are.
    user, item
        States of these kinds, for their shape.
    by_pair
        Whether user b goes with item b, (B,), instead of with all items, (B, n).
    """

    def __init__(self, network: Network, user: NetworkState, item: NetworkState, by_pair: bool) -> None:
        super().__init__()
        self.network, self.user, self.item, self.by_pair = network, user, item, by_pair

    def forward(self, users: Sequence[Tensor], items: Sequence[Tensor]) -> Tensor:
        """States of B users, and of B or n items."""
        user, item = _filled(self.user, users), _filled(self.item, items)
        if self.by_pair:
            return self.network.score(user[:, None], item[:, None]).squeeze(1)
        return self.network.score(user[:, None], item[None])


def export(settings: Settings, network: Network, path: str | os.PathLike[str]) -> Path:
    """Write the folder that ``Recommender.export_onnx`` describes.

    Raises
    ------
    ImportError
        If there is no onnx or onnxscript.
    ValueError
        If ``path`` is a file.
    """
    if any(find_spec(name) is None for name in NEEDED):
        raise ImportError('export_onnx needs onnx and onnxscript: pip install "recolib[onnx]"')
    folder = local_path(path).resolve()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"path must be a folder, and {path} is a file")
    parent = folder if folder.is_dir() else folder.parent  # on the file system that the files will be on
    beside = parent / f".{folder.name}.{secrets.token_hex(8)}"
    beside.mkdir(parents=True)
    try:
        about = _about(settings, network)
        about["graphs"] = _write_graphs(settings.data_info, _still(network), beside)
        write_file(beside / ROWS, "rows", {}, _rows(settings.data_info, network))
        about["files"] = {file.name: _digest(file) for file in sorted(beside.iterdir())}
        (beside / MANIFEST).write_text(json.dumps(about), "ascii")
        _move(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def fingerprint(network: Network) -> str:
    """A SHA-256 of the weights that predictions are made with: names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        array = tensor.cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def tensors_of(state: NetworkState, side: NetworkSide) -> dict[str, Tensor]:
    """The tensors of a state by names of their own, in the order in which ``State.map`` meets them."""

    def named(part: Any, name: str) -> dict[str, Tensor]:
        if isinstance(part, Tensor):
            return {name: part}
        parts = enumerate(part) if isinstance(part, tuple) else vars(part).items()
        return {full: one for key, inner in parts for full, one in named(inner, f"{name}_{key}").items()}

    return named(state.parts, side)


def _filled(like: NetworkState, tensors: Sequence[Tensor]) -> NetworkState:
    """A state of the shape of ``like`` that holds these tensors."""
    rest = iter(tensors)
    return like.map(lambda _: next(rest))


def _still(network: Network) -> Network:
    """A copy to be traced: on the CPU, in float32, without gradients."""
    network = copy.deepcopy(network).to("cpu").eval().requires_grad_(False)
    network.precision = "float32"
    return network


@dataclass(frozen=True, eq=False)
class Graph:
    """What is traced: a module, examples of its arguments by the names of their tensors, and the size that varies."""

    name: str
    module: nn.Module
    arguments: Sequence[Mapping[str, Tensor]]
    sizes: Sequence[Any]
    outputs: Sequence[str]

    @property
    def inputs(self) -> list[str]:
        """The names of all tensors that go in."""
        return [name for argument in self.arguments for name in argument]


def _graphs(info: DataInfo, network: Network) -> list[Graph]:
    users, items = torch.export.Dim("users"), torch.export.Dim("items")
    context = blank_rows(info.schema, "context", N_USERS)
    user_rows, item_rows = (
        blank_rows(info.schema, "user", N_USERS).join(context),
        blank_rows(info.schema, "item", N_ITEMS),
    )
    with torch.no_grad():
        user, item = network.encode("user", user_rows), network.encode("item", item_rows)
    of_user, of_item = tensors_of(user, "user"), tensors_of(item, "item")
    paired = {name: tensor[:N_USERS] for name, tensor in of_item.items()}
    by_pair, by_all = (Joint(network, user, item, by_pair) for by_pair in (True, False))
    of_rows = _columns_of(user_rows)
    if network.reads_past:
        of_rows["history"] = torch.zeros(N_USERS, network.max_history, dtype=torch.int64)
    return [
        Graph("encode_user", Encoder(network, "user"), [of_rows], [users], [*of_user]),
        Graph("encode_item", Encoder(network, "item"), [_columns_of(item_rows)], [items], [*of_item]),
        Graph("score", by_all, [of_user, of_item], [users, items], ["logits"]),
        Graph("score_pairs", by_pair, [of_user, paired], [users, users], ["logits"]),
    ]


def _columns_of(rows: Rows) -> dict[str, Tensor]:
    """Codes and, if there are any, numbers."""
    return {"codes": rows.codes} | ({"dense": rows.dense} if rows.dense.shape[1] else {})


def _write_graphs(info: DataInfo, network: Network, folder: Path) -> dict[str, Any]:
    """Write all graphs; what goes into them and comes out."""
    graphs = _graphs(info, network)
    for graph in graphs:
        torch.onnx.ONNXProgram.save(_traced(graph), folder / f"{graph.name}.onnx")
    return {graph.name: {"inputs": graph.inputs, "outputs": list(graph.outputs)} for graph in graphs}


def _traced(graph: Graph) -> torch.onnx.ONNXProgram:
    # With gradients, `Perceptron` folds its layers anew; else it would cache traced ones.
    with _quiet(), torch.enable_grad():
        program = torch.onnx.export(
            graph.module.eval(),
            tuple(list(argument.values()) for argument in graph.arguments),
            dynamo=True,
            dynamic_shapes=tuple(
                [{0: size}] * len(argument) for argument, size in zip(graph.arguments, graph.sizes, strict=True)
            ),
            input_names=graph.inputs,
            output_names=graph.outputs,
            verbose=False,
        )
    assert program is not None
    for node in program.model.graph:  # which knows the files and lines of this machine
        node.metadata_props.clear()
    return program


@contextmanager
def _quiet() -> Generator[None]:
    """Keep the exporter's notes to itself: they are about its own dependencies and names."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def _about(settings: Settings, network: Network) -> dict[str, Any]:
    info = settings.data_info
    is_rating = settings.task == "rating"
    bounds = {"low": settings.lower_bound, "high": settings.upper_bound}
    return {
        "format": FORMAT,
        "recolib": __version__,
        "algorithm": settings.model_name,
        "task": settings.task,
        "weights_sha256": fingerprint(network),
        "prediction": {"function": "clip", **bounds} if is_rating else {"function": "sigmoid"},
        "special_codes": {"unknown": UNKNOWN, "average": AVERAGE, "absent": ABSENT},
        "user": _columns(info, "user", "context"),
        "item": _columns(info, "item"),
        "vocabularies": {name: vocab.values.tolist() for name, vocab in info.vocabs.items()},
    }


def _columns(info: DataInfo, *sides: Any) -> dict[str, Any]:
    """The columns of joined sides, in the order of a row."""
    columns: dict[str, Any] = {}
    for part, fields_of in (("codes", info.schema.codes), ("dense", info.schema.dense)):
        fields = [field for side in sides for field in fields_of(side)]
        starts = accumulate((layout_of(field).width for field in fields), initial=0)
        columns[part] = [kind_of(field).manifest(field, start) for field, start in zip(fields, starts, strict=False)]
    return columns


def _rows(info: DataInfo, network: Network) -> dict[str, Any]:
    """The rows of all ids by code, the average for code 0, and what users consumed; the context is unknown.

    Of a network that reads what users consumed, too, the latest items of each in order, padded by zeros behind.
    """
    consumed = info.user_consumed
    users, items = (rows.averaged(np.arange(len(rows))) for rows in (info.users.current, info.items.current))
    users = users.join(blank_rows(info.schema, "context", len(users)))
    return {
        "user_codes": users.codes.numpy(),
        "user_dense": users.dense.numpy(),
        "item_codes": items.codes.numpy(),
        "item_dense": items.dense.numpy(),
        "consumed_starts": consumed.starts,
        "consumed_items": consumed.codes,
    } | ({"user_history": _histories(info, users, network)} if network.reads_past else {})


def _histories(info: DataInfo, users: Rows, network: Network) -> NDArray[np.int64]:
    past = PastItems.of(users.past, users.codes.shape[:-1], network.max_history, network.item)
    return past.matrix(network.max_history).numpy()


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _move(beside: Path, folder: Path) -> None:
    """Give a finished folder its name; into one that is there its files go one by one, the manifest last."""
    if not folder.exists():
        beside.rename(folder)
        return
    files = sorted(beside.iterdir(), key=lambda file: file.name == MANIFEST)
    for file in files:
        file.replace(folder / file.name)
