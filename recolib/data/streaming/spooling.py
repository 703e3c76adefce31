"""The first pass: each part of a training frame as arrays in a file, and what all parts hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.data.building import labels_of, read_weights
from recolib.data.field import Field
from recolib.data.frame import Frame, Values, joined_values, read_column
from recolib.data.kinds import Seen, Spooled, kind_of
from recolib.data.packing import pack_vocab, unpack_values
from recolib.data.streaming.part_files import PartFiles, read_arrays
from recolib.data.streaming.sources import Source
from recolib.data.times import read_moments
from recolib.data.unseen import is_text_of, tell_of_mixed
from recolib.data.vocab import Vocab
from recolib.files import Arrays, prefixed, under

KIND = "part of a training set"
MAX_WAITING = 2**22
"""Values of parts that wait to be joined with those known, at least."""


@dataclass(frozen=True)
class Wanted:
    """What is read of each part.

    Attributes
    ----------
    fields
        Those fields that parts have, by name.
    columns
        All columns that are read.
    weight_col
        The column of weights, if there is one.
    """

    fields: Mapping[str, Field]
    columns: Sequence[str]
    weight_col: str | None

    @property
    def has_labels(self) -> bool:
        """Whether parts say the labels."""
        return "label" in self.columns

    @property
    def has_times(self) -> bool:
        """Whether parts say when events happened."""
        return "time" in self.columns


class _Union:
    """Distinct values, joined now and then, so that they take little more room than those that there are."""

    def __init__(self) -> None:
        self._parts, self._n, self._n_known = list[Values](), 0, 0

    def add(self, values: Values) -> None:
        self._parts.append(values)
        self._n += len(values)
        if self._n - self._n_known > max(MAX_WAITING, self._n_known):
            self.distinct()

    def distinct(self) -> Values:
        self._parts = [pd.unique(joined_values(self._parts))]
        self._n = self._n_known = len(self._parts[0])
        return self._parts[0]


class _FieldTotals:
    """What the parts so far have of a field."""

    def __init__(self, field: Field) -> None:
        self.n_kept = 1 if field.n_buckets else None  # that there are values is all that hashes need to know
        self.values, self.has_values = _Union(), False
        self.counts = np.zeros(0, np.int64)
        self.n_text = 0

    def add(self, spooled: Spooled) -> None:
        if spooled.values is None:
            return
        self.has_values = True
        there = spooled.cells >= 0
        counts = np.zeros(max(len(self.counts), there.shape[1]), np.int64)
        counts[: len(self.counts)] = self.counts
        counts[: there.shape[1]] += there.sum(0)
        self.counts = counts
        self.values.add(spooled.values[: self.n_kept])
        if spooled.values.dtype == object:
            self.n_text += int(is_text_of(spooled.values)[spooled.cells[there]].sum())


@dataclass(frozen=True)
class Spool:
    """All parts of a training frame, as files.

    Attributes
    ----------
    wanted
        What was read of them.
    files
        Those of the parts that have rows.
    keys
        What tells each part from others.
    starts
        Where the rows of each part with rows begin, and where the last one ends, shape (P + 1,).
    seen
        What all parts have of each field.
    is_binary
        Whether all labels are 0 or 1.
    time_type
        The type of all times together.
    time_form
        What they are, as ``read_moments`` has it.
    """

    wanted: Wanted
    files: Sequence[Path]
    keys: Sequence[str]
    starts: NDArray[np.int64]
    seen: Mapping[str, Seen]
    is_binary: bool
    time_type: str
    time_form: str

    def __len__(self) -> int:
        """How many rows there are."""
        return int(self.starts[-1])

    def parts(self) -> Iterator[tuple[slice, SpooledPart]]:
        """The parts with the numbers of their rows."""
        for number, file in enumerate(self.files):
            at = slice(int(self.starts[number]), int(self.starts[number + 1]))
            yield at, SpooledPart(self.wanted, file)


@dataclass(frozen=True)
class SpooledPart:
    """A part in its file, of which arrays are read when they are asked for."""

    wanted: Wanted
    file: Path

    def array(self, name: str) -> NDArray[Any]:
        """Labels, times or weights."""
        return read_arrays(self.file, name.__eq__)[name]

    def field(self, name: str) -> Spooled:
        """What the part has of a field."""
        place = _place(self.wanted, name)
        return _unpacked(place, read_arrays(self.file, lambda one: one.startswith(f"{place}.")))


def spool(source: Source, wanted: Wanted, folder: Path) -> Spool:
    """Write each part of a source to a file, but for those that have one from before.

    Raises
    ------
    ValueError
        As in ``PartFiles.written``.
    """
    totals = {name: _FieldTotals(field) for name, field in wanted.fields.items()}
    parts, is_binary, types = PartFiles(), True, set[str]()
    for arrays in parts.written(source, wanted.columns, folder, KIND, lambda frame: _arrays_of(frame, wanted)):
        for name, total in totals.items():
            total.add(_unpacked(_place(wanted, name), arrays))
        is_binary = is_binary and bool(np.isin(arrays["labels"], (0.0, 1.0)).all())
        if wanted.has_times:
            types.add(arrays["times"].dtype.str)
    time_type = np.result_type(*types).str if types else np.dtype(np.int64).str
    seen = {name: _seen(name, total, wanted, parts.files) for name, total in totals.items()}
    return Spool(wanted, parts.files, parts.keys, parts.starts(), seen, is_binary, time_type, parts.types.form)


def _seen(name: str, total: _FieldTotals, wanted: Wanted, files: Sequence[Path]) -> Seen:
    def cells() -> Iterator[NDArray[Any]]:
        return (SpooledPart(wanted, file).array(f"{_place(wanted, name)}.cells") for file in files)

    if not total.has_values:
        return Seen(None, total.counts, cells)
    values, n = total.values.distinct(), int(total.counts.sum())
    tell_of_mixed(name, values, None, wanted.fields[name].is_id, lambda: (n, total.n_text))
    return Seen(values, total.counts, cells)


def _place(wanted: Wanted, name: str) -> str:
    return f"field.{list(wanted.fields).index(name)}"


def _unpacked(place: str, arrays: Arrays) -> Spooled:
    own = under(place, arrays)
    values = unpack_values(place, under("values", own)) if len(own) > 1 else None
    return Spooled(own["cells"], values)


def _arrays_of(frame: Frame, wanted: Wanted) -> tuple[str, dict[str, NDArray[Any]]]:
    """What times are, and all arrays of a part."""
    arrays: dict[str, NDArray[Any]] = {
        "labels": labels_of(frame) if wanted.has_labels else np.ones(len(frame), np.float32)
    }
    form = ""
    if wanted.has_times:
        arrays["times"], form = read_moments(read_column(frame, "time"), "time")
    if wanted.weight_col is not None:
        arrays["weights"] = read_weights(frame, wanted.weight_col)
    for name, field in wanted.fields.items():
        cells, values = kind_of(field).spool(frame, field)
        own = {"cells": cells} | ({} if values is None else prefixed("values", pack_vocab(Vocab(values))))
        arrays |= prefixed(_place(wanted, name), own)
    return form, arrays
