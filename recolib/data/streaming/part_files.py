"""Parts in files: what is read of each, in a file of its own, so that a build which was interrupted goes on there."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from recolib.data.frame import Frame
from recolib.data.streaming.sources import Part, Source, families_of
from recolib.files import Arrays, read_file, require, write_file

FOLDER = "parts"
"""Where the files are, in the folder that a set is built in."""


class SameTypes:
    """Whether the columns of all parts hold the same."""

    def __init__(self) -> None:
        self._families, self.form = dict[str, str](), ""

    def check(self, part: str, families: Mapping[str, str], form: str) -> None:
        """Raise if a column holds something else in this part than before.

        Parameters
        ----------
        part
            The name of the part.
        families
            What its columns hold, as ``families_of`` has it.
        form
            What its times are, as ``read_moments`` has it; empty without times.
        """
        for column, family in families.items():
            before = self._families.setdefault(column, family)
            if before != family:
                raise ValueError(
                    f"column {column!r} holds {family} in {part} and {before} in the parts before: make it one type"
                )
        self.form = self.form or form
        if form != self.form:
            raise ValueError(
                f"column 'time' holds {form} in {part} and {self.form} in the parts before: give all parts times of "
                "one kind, such as numbers"
            )


@contextmanager
def naming(part: Part) -> Generator[None]:
    """Name the part in errors of what it holds."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{part.name}: {error}") from error


@dataclass(frozen=True)
class PartFiles:
    """The files of the parts of a source.

    Attributes
    ----------
    files
        Those of the parts that have rows, once they were ``written``.
    keys
        What tells each part from others, those without rows too.
    sizes
        How many rows each part with rows has.
    types
        What the columns of all parts hold.
    """

    files: list[Path] = field(default_factory=list[Path])
    keys: list[str] = field(default_factory=list[str])
    sizes: list[int] = field(default_factory=list[int])
    types: SameTypes = field(default_factory=SameTypes)

    def starts(self) -> NDArray[np.int64]:
        """Where the rows of each part with rows begin, and where the last one ends, shape (P + 1,)."""
        return np.append(0, np.cumsum(self.sizes, dtype=np.int64))

    def written(
        self,
        source: Source,
        columns: Sequence[str],
        folder: Path,
        kind: str,
        arrays_of: Callable[[Frame], tuple[str, Arrays]],
    ) -> Iterator[Arrays]:
        """Write each part of a source to a file, but for those that have one from before; give its arrays.

        Parameters
        ----------
        source, columns
            What is read.
        folder
            Where the files are.
        kind
            What the files say that they are.
        arrays_of
            Gives of a frame what its times are, as ``read_moments`` has it, and the arrays.

        Raises
        ------
        ValueError
            If a part holds what it must not, or what it has from before is of other data or damaged, or there are no
            rows; the message names the part or the file.
        """
        for number, part in enumerate(source.parts(columns)):
            self.keys.append(part.key)
            if not part.n_rows:
                continue
            file = folder / f"part-{number:06d}.safetensors"
            is_there = file.is_file()
            header, arrays = _from_before(file, part, kind) if is_there else _read(part, columns, arrays_of)
            self.types.check(part.name, header["families"], header["form"])
            if not is_there:  # of a part that fits the others: one that is mended has a key of its own
                write_file(file, kind, header, arrays)
            self.files.append(file)
            self.sizes.append(part.n_rows)
            yield arrays
        if not self.files:
            raise ValueError(f"{source.argument} has no rows")


def read_arrays(file: Path, wanted: Callable[[str], bool]) -> dict[str, NDArray[Any]]:
    """Some arrays of a part, by their names."""
    with safe_open(file, "numpy") as content:
        return {name: content.get_tensor(name) for name in content.keys() if wanted(name)}  # noqa: SIM118


def _from_before(file: Path, part: Part, kind: str) -> tuple[dict[str, Any], Arrays]:
    header, arrays = read_file(file, kind)
    if header["key"] != part.key:
        raise ValueError(
            f"{file} was made of another {part.name}: the data has changed since; remove this file to have that read "
            "again, or give another cache_dir"
        )
    return header, arrays


def _read(
    part: Part, columns: Sequence[str], arrays_of: Callable[[Frame], tuple[str, Arrays]]
) -> tuple[dict[str, Any], Arrays]:
    frame = part.read(columns)
    with naming(part):
        require(len(frame) == part.n_rows, f"it has {part.n_rows} rows")
        form, arrays = arrays_of(frame)
    return {"key": part.key, "families": families_of(frame, columns), "form": form}, arrays
