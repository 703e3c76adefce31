"""libFM's text format, which svmlight's tools read too: one line for each event, ``label index:value …``."""

from __future__ import annotations

import gzip
import math
import os
import re
import secrets
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Any, NamedTuple, cast

import narwhals as nw
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from recolib.checks import check_integer
from recolib.data.frame import Frame, factorize, read_column, read_frame, read_numbers
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.data.rows import ABSENT
from recolib.data.schema import Side

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Entries = tuple[Floats, Integers, Floats, Bools]
"""What to write: labels (n,), and (n, k) indices, their values and which of them there are."""

GZIP = b"\x1f\x8b"
NUMBER = rb"[+-]?+(?:\d{1,99}+(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d\d?+)?+"
LINE = re.compile(rb"\s*+(?:%b(?:\s++\d{1,18}+:%b)*+\s*+)?+" % (NUMBER, NUMBER))
"""Lines that can be read without a further look: indices fit 64 bits, and numbers are finite."""
BYTES_AT_ONCE = 2**22
ROWS_AT_ONCE = 2**14
"""What is read and written at once; bounds the memory of texts."""
LARGEST = 2**63 - 1
"""The greatest index."""
ORDER: tuple[Side, ...] = ("user", "context", "item")
"""In which the fields of an encoded set stand."""


class _Lines(NamedTuple):
    """Lines taken apart: label, number in the file and count of indices of each; all indices and values."""

    labels: Floats
    numbers: Integers
    counts: Integers
    indices: Integers
    values: Floats


class _Span(NamedTuple):
    """A field's name, its offset and its last index; if these are the same, the field is a number."""

    name: str
    offset: int
    last: int


def read_libfm(path: str | os.PathLike[str], field_offsets: Mapping[str, int] | None = None) -> pd.DataFrame:
    r"""A file of libFM's text format as a frame with one column for each field.

    Each line is a label and indices with their values, ``1 3:1 957:1 5046:0.5``: indices count from 0 and stand in
    any order. What follows ``#`` is a comment; blank lines are skipped. A file packed by gzip is known by its first
    bytes, whatever it is called.

    Parameters
    ----------
    path
        The file.
    field_offsets
        The first index of each field, such as ``{"user": 0, "item": 957}``. An index belongs to the field with the
        greatest offset that is not above it, and the column has the index less that offset. Without it each
        position on the line is a field: the columns ``field_0``, ``field_1`` and so on have the indices themselves.

    Returns
    -------
    pandas.DataFrame
        One row for each line: ``label`` (float64), then the fields in the order of ``field_offsets``.

        * A field is int64, or pandas' ``Int64`` where rows lack it.
        * A field with one index only, because the next offset is the next integer, is a number: its column has the
          value itself (float64), and 0.0 where it is left out, as libFM has it. The last field is none, since
          nothing bounds it.
        * Any other field of which some value is not 1 has a second column right behind it, ``item_value`` for
          ``item`` (float64, NaN where rows lack the field). Values of 0 are kept like any other.

    Raises
    ------
    ValueError
        If the offsets are not distinct and at least 0, or a name is taken; if a line is malformed, has an index below
        the first offset or two of one field, with its number; if the file is cut off, no text, or without rows.
    TypeError
        If ``field_offsets`` is no mapping from names to integers.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "train.libfm"
    ...     written = file.write_text("1 0:1 3:1 5:2.5\n-1 1:1 4:1  # no number\n")
    ...     read_libfm(file, {"user": 0, "item": 2, "age": 5, "hour": 6})
       label  user  item  age  hour
    0    1.0     0     1  2.5  <NA>
    1   -1.0     1     2  0.0  <NA>
    """
    spans = None if field_offsets is None else _spans(field_offsets)
    file = Path(path)
    lines = _read_lines(file)
    row = np.repeat(np.arange(len(lines.labels)), lines.counts)
    if spans is None:
        field = np.arange(len(row)) - np.repeat(np.cumsum(lines.counts) - lines.counts, lines.counts)
        spans = [_Span(f"field_{i}", 0, LARGEST) for i in range(lines.counts.max())]
    else:
        by_offset = np.argsort([span.offset for span in spans])
        rank = np.searchsorted(np.array([span.offset for span in spans])[by_offset], lines.indices, side="right")
        if not rank.all():
            below, first = int((rank == 0).argmax()), spans[by_offset[0]]
            raise ValueError(
                f"{file}, line {lines.numbers[row[below]]}: index {lines.indices[below]} is below the first offset, "
                f"{first.offset} of field {first.name!r}"
            )
        field = by_offset[rank - 1]

    entry = np.arange(len(row))
    entry_of = np.full((len(spans), len(lines.labels)), -1)
    entry_of[field, row] = entry
    overwritten = np.flatnonzero(entry_of[field, row] != entry)
    if len(overwritten):
        first = overwritten[0]
        raise ValueError(
            f"{file}, line {lines.numbers[row[first]]}: the two values of field {spans[field[first]].name!r} cannot be "
            "one column: mend field_offsets, or read the file without them"
        )
    columns: dict[str, object] = {"label": lines.labels}
    for span, of_row in zip(spans, entry_of, strict=True):
        columns |= _columns(span, lines, of_row)
    return pd.DataFrame(columns)


def write_libfm(data: Any, path: str | os.PathLike[str], field_offsets: Mapping[str, int] | None = None) -> Path:
    """Write a frame, or an encoded set, as libFM's text format: what :func:`read_libfm` reads.

    On each line indices ascend. Codes are written as short as can be read back exactly. The file is made beside
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
    >>> frame = pd.DataFrame({"label": [1, -1], "user": [0, 1], "item": [1, 2], "age": [2.5, 0.0]})
    >>> with TemporaryDirectory() as folder:
    ...     file = write_libfm(frame, Path(folder) / "train.libfm", {"user": 0, "age": 2, "item": 3})
    ...     print(file.read_text())
    1 0:1 2:2.5 4:1
    -1 1:1 5:1
    <BLANKLINE>
    """
    spans = None if field_offsets is None else _spans(field_offsets)
    if isinstance(data, Interactions):
        if spans is not None:
            raise ValueError("field_offsets goes with a frame: an encoded set has offsets of its own")
        n_rows, entries = len(data), _entries_of_set(data)
    else:
        frame = read_frame(data, ["label", *(span.name for span in spans or ())])
        n_rows, entries = len(frame), _entries_of_frame(frame, _numbered(frame) if spans is None else spans)
    target = Path(path).resolve()  # a link stays one
    beside = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with ExitStack() as stack:
            stream: BufferedIOBase = stack.enter_context(beside.open("xb"))
            if Path(path).suffix.lower() == ".gz":
                stream = stack.enter_context(gzip.GzipFile("", "wb", 6, stream, mtime=0))
            for start in range(0, n_rows, ROWS_AT_ONCE):
                stream.write(_text(*entries(slice(start, start + ROWS_AT_ONCE))))
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return Path(path)


def libfm_offsets(data_info: DataInfo) -> dict[str, int]:
    """The first index of each field where :func:`write_libfm` writes an encoded set of this data.

    First ``user`` and ``item``, then the sparse and multi-sparse fields of users, of the context and of items, each
    with an index for every code, 0 for "unknown" included; then the dense fields in the same order, with one each.

    To read such a file with a dense field at its end, bound that by one name more, ``{**offsets, "end": last + 1}``: a
    field is known as a number by the next offset.

    Examples
    --------
    >>> from recolib.data import DatasetFeat
    >>> frame = pd.DataFrame({"user": [7, 7, 9], "item": ["a", "b", "a"], "label": [1, 1, 1], "age": [30, 30, 50]})
    >>> _, info = DatasetFeat.build_trainset(frame, user_col=["age"], dense_col=["age"])
    >>> libfm_offsets(info)
    {'user': 0, 'item': 3, 'age': 6}
    """
    schema = data_info.schema
    coded = ["user", "item", *(field.name for side in ORDER for field in schema.codes(side) if not field.is_id)]
    names = coded + [field.name for side in ORDER for field in schema.dense(side)]
    sizes = [len(data_info.vocabs[name]) + 1 for name in coded] + [1] * (len(names) - len(coded))
    return dict(zip(names, [0, *np.cumsum(sizes[:-1]).tolist()], strict=True))


def _spans(field_offsets: Mapping[str, int]) -> list[_Span]:
    """The fields that the caller names, checked, in the caller's order."""
    if not isinstance(field_offsets, Mapping) or not all(isinstance(name, str) for name in field_offsets):
        raise TypeError(f"field_offsets must map names to integers, got {field_offsets!r}")
    if not field_offsets:
        raise ValueError("field_offsets must name at least one field")
    taken = {"label", *(f"{name}_value" for name in field_offsets)} & set(field_offsets)
    if taken:
        raise ValueError(f"field_offsets must not name fields {sorted(taken)}: such columns have another meaning")
    for name, offset in field_offsets.items():
        check_integer(f"field_offsets[{name!r}]", offset, 0, LARGEST)
    offsets = sorted(int(offset) for offset in field_offsets.values())
    if len(set(offsets)) < len(offsets):
        raise ValueError(f"field_offsets must be distinct, got {dict(field_offsets)}")
    last = dict(zip(offsets, [*(offset - 1 for offset in offsets[1:]), LARGEST], strict=True))
    return [_Span(name, int(offset), last[int(offset)]) for name, offset in field_offsets.items()]


def _read_lines(file: Path) -> _Lines:
    parts: list[_Lines] = []
    n_lines = 0
    with file.open("rb") as raw:
        packed = raw.peek(2)[:2] == GZIP
        stream = BufferedReader(cast("Any", gzip.GzipFile(fileobj=raw))) if packed else raw
        try:
            while lines := stream.readlines(BYTES_AT_ONCE):
                parts.append(_parse(lines, file, n_lines + 1))
                n_lines += len(lines)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{file} cannot be unpacked, it is cut off or damaged: {error}") from None
    if not sum(len(part.labels) for part in parts):
        raise ValueError(f"{file} has no rows")
    return _Lines(*map(np.concatenate, zip(*parts, strict=True)))


def _parse(lines: list[bytes], file: Path, first: int) -> _Lines:
    """Take lines apart, the first of which is the file's line ``first``."""
    labels: list[float] = []
    numbers: list[int] = []
    counts: list[int] = []
    indices: list[bytes] = []
    values: list[bytes] = []
    for number, line in enumerate(lines, first):
        data = line.partition(b"#")[0]
        if not LINE.fullmatch(data):
            _check(data, f"{file}, line {number}")
        tokens = data.replace(b":", b" ").split()
        if tokens:
            labels.append(float(tokens[0]))
            numbers.append(number)
            counts.append(len(tokens) // 2)
            indices += tokens[1::2]
            values += tokens[2::2]
    return _Lines(
        np.array(labels, np.float64),
        np.array(numbers, np.int64),
        np.array(counts, np.int64),
        np.fromiter(map(int, indices), np.int64, len(indices)),
        np.fromiter(map(float, values), np.float64, len(values)),
    )


def _check(data: bytes, where: str) -> None:
    """Raise a ValueError that names the first token that is wrong, if one is; what LINE does not match may be right."""
    for i, token in enumerate(data.split()):
        index, _, value = token.partition(b":") if i else (b"0", b"", token)
        try:
            fits = index.isdigit() and int(index) <= LARGEST and b"_" not in value and math.isfinite(float(value))
        except ValueError:
            fits = False
        if not fits:
            rule = "index:value, an integer below 2**63 and a finite number" if i else "a label, a finite number"
            raise ValueError(f"{where}: {token[:40].decode(errors='replace')!r} is not {rule}")


def _columns(span: _Span, lines: _Lines, entry: Integers) -> dict[str, object]:
    """A field's columns, where ``entry`` is where each row's index stands, −1 in rows without one."""
    present = entry >= 0
    index, value = np.zeros(len(entry), np.int64), np.full(len(entry), 0.0 if span.offset == span.last else np.nan)
    index[present], value[present] = lines.indices[entry[present]] - span.offset, lines.values[entry[present]]
    if span.offset == span.last:
        return {span.name: value}
    columns: dict[str, object] = {span.name: index if present.all() else pd.arrays.IntegerArray(index, ~present)}
    return columns if (value[present] == 1).all() else columns | {f"{span.name}_value": value}


def _numbered(frame: Frame) -> list[_Span]:
    """The columns that hold indices."""
    names = [name for name in frame.columns if re.fullmatch(r"field_\d+", name)]
    if not names and frame.columns != ["label"]:
        raise ValueError("data has no column 'field_0': pass field_offsets, or what build_trainset returned")
    return [_Span(name, 0, LARGEST) for name in names]


def _entries_of_frame(frame: Frame, spans: list[_Span]) -> Callable[[slice], Entries]:
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


def _integers(frame: Frame, span: _Span) -> tuple[Integers, Bools]:
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
    of_dense = [offsets[field.name] for side in ORDER for field in schema.dense(side)]

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
