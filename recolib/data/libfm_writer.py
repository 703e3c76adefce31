"""libFM's text format written from a frame or an encoded set."""

from __future__ import annotations

import gzip
import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.field import Side
from recolib.data.frame import Frame, factorize, read_column, read_frame, read_numbers
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.data.kinds import layout_of
from recolib.data.libfm_reader import MAX_INDEX, Floats, Integers, Span, read_offsets
from recolib.data.rows import ABSENT
from recolib.files import local_path

Bools = NDArray[np.bool_]
Entries = tuple[Floats, Integers, Floats, Bools]
"""What to write: labels (n,), and (n, k) indices, their values and which of them there are."""

ROWS_AT_ONCE = 2**14
"""Rows that are written at once; bounds the memory of their text."""
ORDER: tuple[Side, ...] = ("user", "context", "item")
"""In which the fields of an encoded set stand."""


def write_libfm(data: Any, path: str | os.PathLike[str], field_offsets: Mapping[str, int] | None = None) -> Path:
    """Write a frame, or an encoded set, as libFM's text format: what :func:`read_libfm` reads.

    On each line indices ascend. Numbers are written as short as can be read back exactly. The file is made beside
    and then renamed, so that an old one stays whole if anything fails.

    Parameters
    ----------
    data
        A pandas, polars or pyarrow frame with ``label`` and the fields' columns, as :func:`read_libfm` gives it; or
        a set that ``build_trainset``, ``build_evalset`` or ``build_testset`` made.
    path
        The file; it is packed by gzip if its name ends in ``.gz``.
    field_offsets
        Of a frame, the first index of each field; an index is the offset and the column's integer. These columns
        are written, with their values where there is ``item_value`` beside ``item``, and no others. Without it those
        called ``field_0``, ``field_1`` and so on are, which hold indices. What is missing is left out, and so are
        numbers that are 0. An encoded set has offsets of its own, :func:`libfm_offsets`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If a column is missing or holds what cannot be written, such as an integer that would run into the next field;
        if there is no row, or a row without a label; or for offsets as :func:`read_libfm` does.
    TypeError
        If ``field_offsets`` is no mapping from names to integers.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"label": [1, -1], "user": [0, 1], "item": [1, 2], "age": [2.5, 0.0]})
    >>> with TemporaryDirectory() as folder:
    ...     file = write_libfm(frame, Path(folder) / "train.libfm", {"user": 0, "age": 2, "item": 3})
    ...     print(file.read_text())
    1 0:1 2:2.5 4:1
    -1 1:1 5:1
    <BLANKLINE>
    """
    spans = None if field_offsets is None else read_offsets(field_offsets)
    if isinstance(data, Interactions):
        if spans is not None:
            raise ValueError("field_offsets goes with a frame: an encoded set has offsets of its own")
        n_rows, entries = len(data), _entries_of_set(data)
    else:
        frame = read_frame(data, ["label", *(span.name for span in spans or ())])
        n_rows, entries = len(frame), _entries_of_frame(frame, _numbered(frame) if spans is None else spans)
    target = local_path(path).resolve()  # a link stays one
    beside = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with ExitStack() as stack:
            stream: BufferedIOBase = stack.enter_context(beside.open("xb"))
            if local_path(path).suffix.lower() == ".gz":
                stream = stack.enter_context(gzip.GzipFile("", "wb", 6, stream, mtime=0))
            for start in range(0, n_rows, ROWS_AT_ONCE):
                stream.write(_text(*entries(slice(start, start + ROWS_AT_ONCE))))
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return local_path(path)


def libfm_offsets(data_info: DataInfo) -> dict[str, int]:
    """The first index of each field where :func:`write_libfm` writes an encoded set of this data.

    First ``user`` and ``item``, then the sparse and multi-sparse fields of users, of the context and of items, each
    with an index for every code, 0 for "unknown" included; then the dense fields in the same order, with one each.

    To read such a file with a dense field at its end, bound that by one name more, ``{**offsets, "end": last + 1}``: a
    field is known as a number by the next offset.

    Examples
    --------
    >>> import pandas as pd
    >>> from recolib.data import DatasetFeat
    >>> frame = pd.DataFrame({"user": [7, 7, 9], "item": ["a", "b", "a"], "label": [1, 1, 1], "age": [30, 30, 50]})
    >>> _, info = DatasetFeat.build_trainset(frame, user_col=["age"], dense_col=["age"])
    >>> libfm_offsets(info)
    {'user': 0, 'item': 3, 'age': 6}
    """
    schema = data_info.schema
    coded = ["user", "item", *(field.name for side in ORDER for field in schema.codes(side) if not field.is_id)]
    names = coded + [field.name for side in ORDER for field in schema.dense(side)]
    sizes = [len(data_info.vocabs[name]) + 1 for name in coded]
    sizes += [layout_of(field).width for side in ORDER for field in schema.dense(side)]
    return dict(zip(names, [0, *np.cumsum(sizes[:-1]).tolist()], strict=True))


def _numbered(frame: Frame) -> list[Span]:
    """The columns that hold indices."""
    names = [name for name in frame.columns if re.fullmatch(r"field_\d+", name)]
    if not names and frame.columns != ["label"]:
        raise ValueError("data has no column 'field_0': pass field_offsets, or what build_trainset returned")
    return [Span(name, 0, MAX_INDEX) for name in names]


def _entries_of_frame(frame: Frame, spans: list[Span]) -> Callable[[slice], Entries]:
    """What to write of a slice of the rows; all columns are read and checked here."""
    labels = _floats(frame, "label", missing=False)
    shape = len(labels), len(spans)
    index, value, present = np.empty(shape, np.int64), np.ones(shape), np.empty(shape, bool)
    for i, span in enumerate(spans):
        if span.offset == span.last:
            index[:, i], value[:, i] = span.offset, _floats(frame, span.name)
            present[:, i] = ~np.isnan(value[:, i]) & (value[:, i] != 0)
            continue
        index[:, i], present[:, i] = _integers(frame, span)
        if f"{span.name}_value" in frame.columns:
            value[:, i] = _floats(frame, f"{span.name}_value")
            if (np.isnan(value[:, i]) == present[:, i]).any():
                raise ValueError(f"columns {span.name!r} and '{span.name}_value' must be missing in the same rows")
    return lambda rows: (labels[rows], index[rows], value[rows], present[rows])


def _floats(frame: Frame, name: str, missing: bool = True) -> Floats:
    numbers = read_numbers(read_column(frame, name), name, missing)
    return _shortest(numbers.astype(np.float32)) if frame[name].dtype == nw.Float32 else numbers


def _shortest(numbers: NDArray[np.float32]) -> Floats:
    """The float64 whose decimal digits are those of the float32: 0.1, not 0.10000000149."""
    return numbers.astype(np.str_).astype(np.float64)


def _integers(frame: Frame, span: Span) -> tuple[Integers, Bools]:
    """The indices of a column, and in which rows there is one."""
    positions, values = factorize(read_column(frame, span.name), span.name)
    room = span.last - span.offset
    for value in values.tolist():
        if isinstance(value, str) or not 0 <= value <= room:
            raise ValueError(f"column {span.name!r} has the value {value!r}, not an integer from 0 to {room}")
    return np.append(values, 0).astype(np.int64)[positions] + span.offset, positions >= 0


def _entries_of_set(data: Interactions) -> Callable[[slice], Entries]:
    """What to write of a slice of the events."""
    n_without = int((~np.isfinite(data.labels)).sum())
    if n_without:
        raise ValueError(f"{n_without} of {len(data)} rows have no label: give the frame one, or set data.labels")
    schema, offsets = data.data_info.schema, libfm_offsets(data.data_info)
    of_codes = [offsets[field.name] for side in ORDER for field in schema.codes(side) for _ in range(field.width)]
    of_dense = [
        offsets[field.name] + column
        for side in ORDER
        for field in schema.dense(side)
        for column in range(layout_of(field).width)
    ]

    def entries(rows: slice) -> Entries:
        users = data.users.rows[torch.from_numpy(data.user_rows[rows])]
        items = data.items.rows[torch.from_numpy(data.item_rows[rows])]
        event = users.join(data.context[rows]).join(items)
        codes, dense = event.codes.numpy(), _shortest(event.dense.numpy())
        # a value that a multi-sparse field has twice is one index with the value 2
        index = np.sort(np.where(codes == ABSENT, -1, codes + np.array(of_codes, np.int64)), 1)
        is_new = np.diff(index, axis=1, prepend=-2) > 0
        first = np.flatnonzero(is_new)
        times = np.zeros(index.shape)
        times.flat[first] = np.diff(first, append=index.size)
        return (
            _shortest(np.asarray(data.labels[rows], np.float32)),
            np.hstack([index, np.broadcast_to(np.array(of_dense, np.int64), dense.shape)]),
            np.hstack([times, dense]),
            np.hstack([is_new & (index >= 0), dense != 0]),
        )

    return entries


def _text(labels: Floats, indices: Integers, values: Floats, present: Bools) -> bytes:
    """Lines of text."""
    row, _ = np.nonzero(present)
    index, value = indices[present], values[present]
    order = np.lexsort((index, row))
    pairs = zip(index[order].tolist(), value[order].tolist(), strict=True)
    tokens = [f"{i}:1" if x == 1 else f"{i}:{_short(x)}" for i, x in pairs]
    ends = np.cumsum(present.sum(1)).tolist()
    rows = zip(labels.tolist(), [0, *ends[:-1]], ends, strict=True)
    return "".join([" ".join([_short(label), *tokens[start:end]]) + "\n" for label, start, end in rows]).encode()


def _short(number: float) -> str:
    return repr(number).removesuffix(".0")
