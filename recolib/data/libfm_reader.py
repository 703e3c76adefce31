"""libFM's text format read as a frame: one line for each event, ``label index:value …``, as svmlight has it."""

from __future__ import annotations

import gzip
import math
import os
import re
import zlib
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.checks import check_integer
from recolib.files import local_path

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

GZIP = b"\x1f\x8b"
NUMBER = rb"[+-]?+(?:\d{1,99}+(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d\d?+)?+"
LINE = re.compile(rb"\s*+(?:%b(?:\s++\d{1,18}+:%b)*+\s*+)?+" % (NUMBER, NUMBER))
"""Lines that can be read without a further look: indices fit 64 bits, and numbers are finite."""
BYTES_AT_ONCE = 2**22
"""Text that is read at once; bounds the memory."""
MAX_INDEX = 2**63 - 1


class _Lines(NamedTuple):
    """Lines taken apart: label, number in the file and count of indices of each; all indices and values."""

    labels: Floats
    numbers: Integers
    counts: Integers
    indices: Integers
    values: Floats


class Span(NamedTuple):
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
    spans = None if field_offsets is None else read_offsets(field_offsets)
    file = local_path(path)
    lines = _read_lines(file)
    row = np.repeat(np.arange(len(lines.labels)), lines.counts)
    if spans is None:
        field = np.arange(len(row)) - np.repeat(np.cumsum(lines.counts) - lines.counts, lines.counts)
        spans = [Span(f"field_{i}", 0, MAX_INDEX) for i in range(lines.counts.max())]
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


def read_offsets(field_offsets: Mapping[str, int]) -> list[Span]:
    """The fields that the caller names, checked, in the caller's order."""
    if not isinstance(field_offsets, Mapping) or not all(isinstance(name, str) for name in field_offsets):
        raise TypeError(f"field_offsets must map names to integers, got {field_offsets!r}")
    if not field_offsets:
        raise ValueError("field_offsets must name at least one field")
    taken = {"label", *(f"{name}_value" for name in field_offsets)} & set(field_offsets)
    if taken:
        raise ValueError(f"field_offsets must not name fields {sorted(taken)}: such columns have another meaning")
    for name, offset in field_offsets.items():
        check_integer(f"field_offsets[{name!r}]", offset, 0, MAX_INDEX)
    offsets = sorted(int(offset) for offset in field_offsets.values())
    if len(set(offsets)) < len(offsets):
        raise ValueError(f"field_offsets must be distinct, got {dict(field_offsets)}")
    last = dict(zip(offsets, [*(offset - 1 for offset in offsets[1:]), MAX_INDEX], strict=True))
    return [Span(name, int(offset), last[int(offset)]) for name, offset in field_offsets.items()]


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
            fits = index.isdigit() and int(index) <= MAX_INDEX and b"_" not in value and math.isfinite(float(value))
        except ValueError:
            fits = False
        if not fits:
            rule = "index:value, an integer below 2**63 and a finite number" if i else "a label, a finite number"
            raise ValueError(f"{where}: {token[:40].decode(errors='replace')!r} is not {rule}")


def _columns(span: Span, lines: _Lines, entry: Integers) -> dict[str, object]:
    """A field's columns, where ``entry`` is where each row's index stands, −1 in rows without one."""
    present = entry >= 0
    index, value = np.zeros(len(entry), np.int64), np.full(len(entry), 0.0 if span.offset == span.last else np.nan)
    index[present], value[present] = lines.indices[entry[present]] - span.offset, lines.values[entry[present]]
    if span.offset == span.last:
        return {span.name: value}
    columns: dict[str, object] = {span.name: index if present.all() else pd.arrays.IntegerArray(index, ~present)}
    return columns if (value[present] == 1).all() else columns | {f"{span.name}_value": value}
