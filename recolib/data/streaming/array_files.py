"""Arrays in files: written end to end, and mapped into memory."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from recolib.data.order import blocks_of
from recolib.files import naming_file

BYTES_AT_ONCE = 2**24
"""Bytes of a file that are checked together."""


@dataclass(frozen=True)
class Entry:
    """The type and shape of an array in a file, and the CRC-32 of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    crc: int

    @property
    def n_bytes(self) -> int:
        """How long the file is."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class ArrayWriter:
    """Writes the rows of an array to a file, as they come. Closing brings them to the disk."""

    def __init__(self, file: Path, dtype: str, width: tuple[int, ...]) -> None:
        self._file, self._stream = file, cast("BinaryIO", file.open("wb"))
        self._dtype, self._width, self._n, self._crc = np.dtype(dtype), width, 0, 0

    def write(self, rows: NDArray[Any]) -> None:
        """Write rows behind those before, shape (n, *width)."""
        rows = np.ascontiguousarray(rows, self._dtype)
        assert rows.shape[1:] == self._width
        content = rows.reshape(-1).view(np.uint8).data
        self._crc = zlib.crc32(content, self._crc)
        self._n += len(rows)
        with naming_file(self._file):
            self._stream.write(content)

    def close(self) -> Entry:
        """The array's entry; all of it is on the disk then."""
        with naming_file(self._file), self._stream as stream:
            stream.flush()
            os.fsync(stream.fileno())
        return Entry(self._dtype.str, (self._n, *self._width), self._crc)

    def abandon(self) -> None:
        """Close the file as it is."""
        with suppress(OSError):  # a full disk has no room for what is left to write
            self._stream.close()


@dataclass(frozen=True)
class ArrayFiles:
    """Arrays by name, each in a file of its own in a folder.

    Attributes
    ----------
    folder
        The folder.
    entries
        What is known of each array.
    """

    folder: Path
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])

    def file(self, name: str) -> Path:
        """The file of an array."""
        return self.folder / f"{name}.array"

    def writing(self, columns: Mapping[str, tuple[str, tuple[int, ...]]]) -> Writing:
        """Write arrays of these types and widths; they have entries when all are whole."""
        return Writing(self, {name: ArrayWriter(self.file(name), *of) for name, of in columns.items()})

    def blocks(self, *names: str) -> Iterator[tuple[slice, list[NDArray[Any]]]]:
        """The rows of some arrays of one length, block by block, with the numbers of these rows."""
        entries = [self.entries[name] for name in names]
        streams = [self.file(name).open("rb") for name in names]
        try:
            for at in blocks_of(entries[0].shape[0]):
                n = at.stop - at.start
                yield at, [_read(stream, entry, n) for stream, entry in zip(streams, entries, strict=True)]
        finally:
            for stream in streams:
                stream.close()

    def mapped(self, name: str) -> NDArray[Any]:
        """An array as it lies in its file; what is changed in it is changed in memory alone."""
        entry = self.entries[name]
        if not entry.n_bytes:
            return np.empty(entry.shape, entry.dtype)
        return np.asarray(np.memmap(self.file(name), np.dtype(entry.dtype), "c", shape=entry.shape))

    def check(self) -> None:
        """Raise a ValueError that names the file if one was cut off or changed since it was written."""
        for name, entry in self.entries.items():
            file, crc = self.file(name), 0
            size = file.stat().st_size if file.is_file() else -1
            if size != entry.n_bytes:
                there = f"{size} bytes" if size >= 0 else "nothing"
                raise ValueError(f"{file} is damaged: it has {there} in place of {entry.n_bytes} bytes{_REMOVE}")
            with file.open("rb") as stream:
                while content := stream.read(BYTES_AT_ONCE):
                    crc = zlib.crc32(content, crc)
            if crc != entry.crc:
                raise ValueError(f"{file} is damaged: its checksum does not match its contents{_REMOVE}")


_REMOVE = "; remove the folder cache_dir, and it is built again"


class Writing:
    """Arrays that are being written; as a context, they get their entries when it ends without an error."""

    def __init__(self, files: ArrayFiles, writers: dict[str, ArrayWriter]) -> None:
        self._files, self._writers = files, writers

    def __enter__(self) -> Writing:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close all files."""
        entries = dict[str, Entry]()
        try:
            if kind is None:
                entries = {name: writer.close() for name, writer in self._writers.items()}
        finally:
            for writer in self._writers.values():
                writer.abandon()
        self._files.entries.update(entries)

    def write(self, **rows: NDArray[Any]) -> None:
        """Write rows of some of the arrays behind those before."""
        for name, some in rows.items():
            self._writers[name].write(some)


def _read(stream: BinaryIO, entry: Entry, n: int) -> NDArray[Any]:
    width = math.prod(entry.shape[1:])
    return np.fromfile(stream, np.dtype(entry.dtype), n * width).reshape(n, *entry.shape[1:])
