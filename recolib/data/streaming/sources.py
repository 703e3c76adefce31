"""Sources: what gives a frame part by part, such as the row groups of Parquet files."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePath
from typing import Any, Protocol, cast

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from recolib.data.arrow import ArrowStream
from recolib.data.frame import Frame, read_part
from recolib.data.order import blocks_of
from recolib.files import local_path

OPTIONAL = "label", "time"
"""Columns that are read where they are, though no argument names them."""
N_SAMPLED = 16
"""Rows of a frame that tell it from another one."""


@dataclass(frozen=True)
class Part:
    """A part of a frame.

    Attributes
    ----------
    name
        What messages call it.
    key
        What tells it from another part of the same number, such as that of a file that was written again.
    n_rows
        How many rows it has; there may be none.
    read
        Gives some of its columns.
    """

    name: str
    key: str
    n_rows: int
    read: Callable[[Sequence[str]], Frame]


class Source(Protocol):
    """What gives a frame part by part."""

    @property
    def columns(self) -> list[str]:
        """The columns of all parts."""
        ...

    @property
    def argument(self) -> str:
        """What messages call all of it: the argument that it was given as."""
        ...

    @property
    def root(self) -> Path | None:
        """The folder whose files it reads, if that is what was given."""
        ...

    def parts(self, columns: Sequence[str]) -> Iterator[Part]:
        """The parts in order; of some sources they can be had once only. Those that are not read cost little.

        Raises
        ------
        ValueError
            If a part lacks one of ``columns``.
        """
        ...


def source_of(data: object, argument: str = "train_data") -> Source | None:
    """What reads an argument part by part; None for a frame.

    Raises
    ------
    ImportError
        If it is a path and there is no pyarrow.
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If a folder has no Parquet files, or an iterator gives no frames.
    """
    if isinstance(data, SplitPart):
        return replace(data, argument=argument)
    if isinstance(data, str | os.PathLike):
        return _open_parquet(data, argument)
    if "pyarrow.dataset" in sys.modules and isinstance(data, sys.modules["pyarrow.dataset"].Dataset):
        return ParquetSource(data, argument)
    if isinstance(data, ArrowStream):
        return None
    if callable(data):
        data = data()
        if not isinstance(data, Iterable) or hasattr(data, "columns"):
            raise ValueError(f"{argument} is a function, which must return an iterator of frames, got {type(data)}")
        return FrameSource.of(cast("Iterable[object]", data), argument)
    return FrameSource.of(cast("Iterator[object]", data), argument) if isinstance(data, Iterator) else None


def _open_parquet(path: str | os.PathLike[str], argument: str) -> ParquetSource:
    try:
        import pyarrow.dataset
    except ImportError as error:
        raise ImportError(f'{argument} as a path needs pyarrow: pip install "recolib[parquet]"') from error
    file = local_path(path, argument)
    if not file.exists():
        raise FileNotFoundError(f"{argument}={os.fspath(path)!r}: there is no such file or folder")
    try:
        dataset = pyarrow.dataset.dataset(os.fspath(file), format="parquet", partitioning="hive")
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, OSError) as error:
        raise ValueError(
            f"{argument}={os.fspath(path)!r} is no Parquet, and other files must come as frames: {error}"
        ) from None
    if not dataset.files:
        raise ValueError(f"{argument}={os.fspath(path)!r} has no Parquet files")
    return ParquetSource(dataset, argument, file if file.is_dir() else None)


@dataclass(frozen=True)
class ParquetSource:
    """A dataset of pyarrow's: each row group of its files is a part, and each file of another format."""

    dataset: Any
    argument: str
    root: Path | None = None

    @property
    def columns(self) -> list[str]:
        """The columns of the first file, and those that the names of folders give."""
        return list(self.dataset.schema.names)

    def parts(self, columns: Sequence[str]) -> Iterator[Part]:
        """The row groups, in the order of the files."""
        try:
            fragments = self.dataset.get_fragments()
        except ValueError as error:
            raise ValueError(
                f"{self.argument} cannot be read in parts, write it by pyarrow.dataset.write_dataset and give that: "
                f"{error}"
            ) from None
        first = list[str]()
        for number, fragment in enumerate(fragments):
            file = getattr(fragment, "path", "") or f"fragment {number} of {self.argument}"
            try:
                schema = self._schema_of(fragment)
                pieces = _pieces(fragment)
            except (ValueError, OSError) as error:
                raise ValueError(f"{file} cannot be read: {error}") from error
            first = first or schema.names
            _check_columns(file, schema.names, columns, first)
            for name, n_rows, piece in pieces:
                key = f"{PurePath(file).name} {_state_of(fragment)} {name} {n_rows}"
                yield Part(f"{file}{name}", key, n_rows, _reader(f"{file}{name}", piece, schema))

    def _schema_of(self, fragment: Any) -> Any:
        """The columns of a file as they are in it: pyarrow would turn text into numbers to make files alike."""
        import pyarrow as arrow
        import pyarrow.dataset as of_arrow

        own = fragment.physical_schema
        from_names = of_arrow.get_partition_keys(fragment.partition_expression)
        known = self.dataset.schema
        return arrow.schema([*own, *(known.field(name) for name in from_names if name not in own.names)])


def _check_columns(part: str, there: Sequence[str], wanted: Sequence[str], first: Sequence[str]) -> None:
    """Raise if a part lacks a column, or has one that counts where it is, and that the first part lacks."""
    absent = [name for name in wanted if name not in there]
    if absent:
        raise ValueError(f"columns {absent} are not in {part}: {list(there)}")
    late = [name for name in OPTIONAL if name in there and name not in first]
    if late:
        raise ValueError(f"columns {late} are in {part} and not in the first part: all parts must have the same")


def _pieces(fragment: Any) -> list[tuple[str, int, Any]]:
    """Of each row group its name, its number of rows and what reads it."""
    if not hasattr(fragment, "split_by_row_group"):
        return [("", fragment.count_rows(), fragment)]
    groups = ((one, one.row_groups[0]) for one in fragment.split_by_row_group())
    return [(f", row group {group.id}", group.num_rows, one) for one, group in groups]


def _state_of(fragment: Any) -> str:
    """Size and date of a file; a fragment in memory has none."""
    if not getattr(fragment, "path", ""):
        return ""
    info = fragment.filesystem.get_file_info(fragment.path)
    return f"{info.size} {info.mtime_ns}"


def _reader(name: str, piece: Any, schema: Any) -> Callable[[Sequence[str]], Frame]:
    def read(columns: Sequence[str]) -> Frame:
        try:
            table = piece.to_table(schema=schema, columns=list(columns), use_threads=False)
        except (ValueError, OSError) as error:
            raise ValueError(f"{name} cannot be read: {error}") from error
        return read_part(table, name)

    return read


@dataclass(frozen=True)
class FrameSource:
    """An iterator of frames: each is a part."""

    first: Frame
    others: Iterator[object]
    argument: str
    root: None = None

    @classmethod
    def of(cls, frames: Iterable[object], argument: str) -> FrameSource:
        """The source, of which the first frame is read."""
        frames = iter(frames)
        try:
            first = next(frames)
        except StopIteration:
            raise ValueError(f"{argument} has no rows: its iterator gives no frames") from None
        return cls(read_part(first, f"frame 0 of {argument}"), frames, argument)

    @property
    def columns(self) -> list[str]:
        """The columns of the first frame."""
        return list(self.first.columns)

    def parts(self, columns: Sequence[str]) -> Iterator[Part]:
        """The frames, once."""
        for number, one in enumerate(chain([self.first], self.others)):
            name = f"frame {number} of {self.argument}"
            frame = read_part(one, name)
            _check_columns(name, frame.columns, columns, self.columns)
            yield Part(name, _key_of(frame.select(columns)), len(frame), frame.select)


@dataclass(frozen=True, repr=False, eq=False)
class SplitPart:
    """Some rows of what can be read in parts again and again; see ``split_in_parts``.

    Attributes
    ----------
    data
        What has the rows.
    number
        Which part of the split this is.
    part_of_row
        The number of each row's part, shape (N,); −1 for those that are in none.
    keys
        What tells the parts of files from what they may become.
    columns, root
        As of the data.
    argument
        What messages call it.
    """

    data: object
    number: int
    part_of_row: NDArray[np.int8]
    keys: Sequence[str]
    columns: list[str]
    root: Path | None
    argument: str = "data"

    def __repr__(self) -> str:
        """How many rows it has."""
        return f"{type(self).__name__}({self.n_rows} of {len(self.part_of_row)} rows)"

    @property
    def n_rows(self) -> int:
        """How many rows it has."""
        return sum(
            int(np.count_nonzero(self.part_of_row[at] == self.number)) for at in blocks_of(len(self.part_of_row))
        )

    def parts(self, columns: Sequence[str]) -> Iterator[Part]:
        """The own rows of each part of the data."""
        source, n = cast("Source", source_of(self.data, self.argument)), 0
        keys = iter(self.keys)
        for part in source.parts(columns):
            is_own = self.part_of_row[n : n + part.n_rows] == self.number
            n += part.n_rows
            if len(is_own) < part.n_rows or (not isinstance(source, FrameSource) and part.key != next(keys, "")):
                raise ValueError(f"{part.name} is not what it was when the data was split: split it again")
            rows = np.flatnonzero(is_own)
            key = f"{part.key} {hashlib.sha256(np.packbits(is_own).tobytes()).hexdigest()[:16]}"
            yield Part(part.name, key, len(rows), _some(part, rows))
        if n < len(self.part_of_row):
            raise ValueError(f"{self.argument} has {n} rows, and had {len(self.part_of_row)} when it was split")


def _some(part: Part, rows: NDArray[np.int64]) -> Callable[[Sequence[str]], Frame]:
    return lambda columns: part.read(columns)[rows]


def _key_of(frame: Frame) -> str:
    """The number of rows of a frame, and a hash of some of them."""
    at = np.unique(np.linspace(0, len(frame) - 1, N_SAMPLED).astype(int)).tolist() if len(frame) else []
    rows = [frame.row(number) for number in at]
    return f"{len(frame)} rows {hashlib.sha256(repr(rows).encode()).hexdigest()[:16]}"


FAMILIES: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("text", (nw.String, nw.Categorical, nw.Enum)),
    ("dates", (nw.Date, nw.Datetime)),
    ("durations", (nw.Duration,)),
    ("lists", (nw.List, nw.Array)),
)


def families_of(frame: Frame, columns: Sequence[str]) -> dict[str, str]:
    """What the columns of a part hold: numbers, text, dates, …; nothing for objects of any type."""
    found: dict[str, str] = {}
    for name in columns:
        dtype = frame.schema[name]
        if dtype.is_numeric() or isinstance(dtype, nw.Boolean):
            found[name] = "numbers"
        for family, types in FAMILIES:
            if isinstance(dtype, types):
                found[name] = family
    return found
