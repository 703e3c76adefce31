"""A finished set in a folder: a file with what is small, and a file for each large array, mapped into memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from recolib.data.consumed import Consumed, Counting
from recolib.data.display import unpack_display
from recolib.data.field import Side
from recolib.data.info import DataInfo, LabelStats
from recolib.data.interactions import Interactions, equal_weights
from recolib.data.log import ConsumedLog
from recolib.data.packing import unpack_schema, unpack_table, unpack_vocabs
from recolib.data.rows import Rows
from recolib.data.streaming.array_files import ArrayFiles, Entry
from recolib.files import Arrays, read_file, refusing, under, write_file

FINISHED = "set.safetensors"


@dataclass(frozen=True)
class SetHeader:
    """What a set is made of beside arrays.

    Attributes
    ----------
    schema
        The schema as JSON.
    keys
        What tells each part of the source from others.
    rows
        The names of the arrays that say which row of a side's table each event has.
    data_size, labels, n_vectors, consumed, display
        As in ``DataInfo``; of what is shown the names.
    has_times
        Whether events have times, or only an order.
    entries
        The arrays in files.
    """

    schema: str
    keys: Sequence[str]
    rows: Mapping[Side, str]
    data_size: int
    labels: LabelStats
    n_vectors: tuple[int, int]
    consumed: Counting
    display: Sequence[str]
    has_times: bool
    entries: Mapping[str, Entry]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return asdict(self)


def entries_of(header: Mapping[str, Any]) -> dict[str, Entry]:
    """The arrays in files that a header names."""
    return {name: Entry(one["dtype"], tuple(one["shape"]), one["crc"]) for name, one in header["entries"].items()}


def write_finished(folder: Path, kind: str, header: Mapping[str, Any], arrays: Arrays) -> None:
    """Note in a folder that its set, of this kind, is whole."""
    write_file(folder / FINISHED, kind, header, arrays)


def read_finished(folder: Path, kind: str) -> tuple[dict[str, Any], Arrays]:
    """What ``write_finished`` wrote."""
    return read_file(folder / FINISHED, kind)


def open_set(folder: Path, header: Mapping[str, Any], arrays: Arrays) -> tuple[Interactions, DataInfo]:
    """The set of a folder and its data; the large arrays are mapped."""
    files = ArrayFiles(folder, entries_of(header))
    with refusing(folder / FINISHED):
        info = _info(files, header, arrays)
    rows: dict[Side, str] = header["rows"]
    n = info.data_size
    context = Rows(torch.from_numpy(files.mapped("context_codes")), torch.from_numpy(files.mapped("context_dense")))
    data = Interactions(
        info,
        info.users,
        info.items,
        files.mapped(rows["user"]),
        files.mapped(rows["item"]),
        files.mapped("labels"),
        context,
        files.mapped("times"),
        files.mapped("weights") if "weights" in files.entries else equal_weights(n),
        arrays["starts.parts"],
    )
    return data, info


def _info(files: ArrayFiles, header: Mapping[str, Any], arrays: Arrays) -> DataInfo:
    schema = unpack_schema(header["schema"])
    vocabs = unpack_vocabs(schema, arrays)
    sizes = {name: len(vocab) for name, vocab in vocabs.items()}
    items = unpack_table("item", under("items", arrays), schema, sizes)
    starts = under("starts", arrays)
    n_users, n_items = header["n_vectors"]
    return DataInfo(
        schema,
        vocabs,
        unpack_table("user", under("users", arrays), schema, sizes),
        items,
        Consumed(starts["user_consumed"], files.mapped("user_consumed")),
        Consumed(starts["item_consumed"], files.mapped("item_consumed")),
        files.mapped("liked"),
        ConsumedLog(starts["log"], files.mapped("log_items"), files.mapped("log_times")),
        header["data_size"],
        LabelStats(*header["labels"]),
        n_vectors=(n_users, n_items),
        consumed=header["consumed"],
        display=unpack_display(header["display"], arrays, items.n_ids),
    )
