"""Vector: numbers that mean something together, such as an embedding of a text, and that are projected as one field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.data.field import MAX_WIDTH, Field, Group, Side
from recolib.data.frame import BLOCK, Frame, read_column, refuse_empty
from recolib.data.kinds.dense import MAX_DEVIATIONS
from recolib.data.kinds.kind import Cells, Encoded, Facts, Kind, Layout, Learnt
from recolib.data.vocab import Vocab
from recolib.exceptions import OutOfRangeWarning, warn
from recolib.files import require

N_SHOWN = 3
"""Numbers of a vector that an explanation shows."""
BLOCK_NUMBERS = 64 * BLOCK
"""Numbers that are scaled at a time."""

Numbers = NDArray[np.number[Any]]
Bools = NDArray[np.bool_]


class Vector(Kind):
    """A column of lists or arrays of as many numbers each. A missing one is the training mean.

    The mean of each number is subtracted, and all are divided by one scalar, so that directions stay what they were. It
    is such that the sum of a vector's absolute numbers has mean 1, as a standardised number's is about 1: a step of
    Adam, which moves all weights as far, then moves a projected vector as far as that of a category or a number.
    """

    name = "vector"

    def field(self, group: Group, side: Side, pad_val: int | str | None) -> Field:
        """A field that learns its width, 0 so far."""
        return replace(super().field(group, side, pad_val), width=0)

    def layout(self, field: Field) -> Layout:
        """All numbers, which together are one vector."""
        return Layout("dense", field.width, projected=True)

    def takes_lists(self, field: Field) -> bool:
        """Each value is a list."""
        return True

    def blank(self, field: Field) -> Cells:
        """The training mean."""
        return np.zeros(field.width, np.float32)

    def learn(self, frame: Frame, field: Field, scaling: str) -> Learnt:
        """The width, the mean of each number and the scale, and the scaled vectors; missing ones are the mean.

        Vectors are scaled whatever ``scaling`` says: it is of single numbers, whose units differ.
        """
        numbers, given = _read(frame, field)
        refuse_empty(int(given.sum()), field.name)
        width, n = numbers.shape[1], int(given.sum())
        if width > MAX_WIDTH:
            raise ValueError(
                f"column {field.name!r} has vectors of {width} numbers, and at most {MAX_WIDTH} fit: reduce them, such "
                "as by sklearn.decomposition.PCA"
            )
        first = numbers[int(given.argmax())].astype(np.float64)
        total = np.zeros(width)
        for part in _blocks(numbers):
            total += (numbers[part] - first)[given[part]].sum(0)  # so that the mean of equal numbers equals them
        means = first + total / n
        size = sum(float(np.abs((numbers[part] - means)[given[part]]).sum()) for part in _blocks(numbers)) / n
        field = replace(field, width=width, means=tuple(means.tolist()), scale=size or 1.0)
        return Learnt(field, None, _scale(numbers, given, field))

    def extend(self, frame: Frame, field: Field, vocab: Vocab | None) -> tuple[None, Cells]:
        """The vectors, scaled as in training; missing ones are the training mean."""
        return None, _scale(*_read(frame, field), field)

    def encode(self, frame: Frame, field: Field, vocab: Vocab | None) -> Encoded:
        """The vectors, scaled as in training, and which rows have one."""
        numbers, given = _read(frame, field)
        return Encoded(_scale(numbers, given, field), given[:, None])

    def decode(self, cells: Cells, field: Field, vocab: Vocab | None) -> dict[str, pd.Series]:
        """The vectors as they came, as arrays of float32."""
        vectors = np.empty(len(cells), object)
        vectors[:] = list((cells * np.float64(field.scale) + field.means).astype(np.float32))
        return {field.name: pd.Series(vectors)}

    def show(self, cells: list[Any], field: Field, vocab: Vocab | None, special: dict[int, str]) -> str:
        """The first numbers, and how many there are."""
        decimals = 3 - int(np.floor(np.log10(field.scale)))  # so that what float32 made of 0 is 0
        few = [
            round(x * field.scale + mean, decimals) + 0.0 for x, mean in zip(cells[:N_SHOWN], field.means, strict=False)
        ]
        more = f", … {field.width} numbers" if field.width > N_SHOWN else ""
        return f"[{', '.join(f'{x:.3g}' for x in few)}{more}]"

    def describe(self, field: Field, vocab: Vocab | None, cells: Cells) -> Facts:
        """How many numbers there are."""
        return Facts(n_numbers=field.width)

    def manifest(self, field: Field, start: int) -> dict[str, Any]:
        """The width and the scale, and what stands for a missing vector."""
        scaled = {"start": start, "width": field.width, "means": list(field.means), "scale": field.scale}
        rest = {"unknown": self.blank(field).tolist(), "limit": MAX_DEVIATIONS}
        return super().manifest(field, start) | scaled | rest

    def check(self, field: Field) -> None:
        """Raise unless there is one column, and a finite mean for each number."""
        require(len(field.columns) == 1, f"field {field.name!r} is read from one column")
        require(len(field.means) == field.width, f"field {field.name!r} has a mean for each of its numbers")
        are_numbers = all(isinstance(mean, int | float) for mean in field.means)
        require(are_numbers and bool(np.isfinite(field.means).all()), f"field {field.name!r} has finite means")


def _blocks(numbers: Numbers) -> list[slice]:
    """The rows in parts that float64 takes little room for."""
    size = max(1, BLOCK_NUMBERS // max(1, numbers.shape[1]))
    return [slice(start, start + size) for start in range(0, len(numbers), size)]


def _scale(numbers: Numbers, given: Bools, field: Field) -> NDArray[np.float32]:
    """Vectors (n, width) as the network takes them; those that are missing are zero."""
    scaled, n_beyond = np.zeros(numbers.shape, np.float32), 0
    for part in _blocks(numbers):
        block = (numbers[part] - np.array(field.means)) / field.scale
        beyond = (np.abs(block) > MAX_DEVIATIONS) & given[part, None]
        n_beyond += int(beyond.any(1).sum())
        scaled[part] = np.where(given[part, None], block.clip(-MAX_DEVIATIONS, MAX_DEVIATIONS), 0)
    if n_beyond:
        warn(
            f"column {field.name!r} has {n_beyond} vectors far outside training's range, more than {MAX_DEVIATIONS:g} "
            "times as large: their numbers are cut",
            OutOfRangeWarning,
        )
    return scaled


def _read(frame: Frame, field: Field) -> tuple[Numbers, Bools]:
    """The vectors (n, width) of a field's column, and which of them there are (n,); the others are zero.

    Raises
    ------
    ValueError
        If a value is no list of numbers, if these are not finite, or if vectors have different lengths.
    """
    numbers, given = _of_arrow(frame[field.name]) or _of_objects(read_column(frame, field.name), field.name)
    width = field.width or numbers.shape[1]
    if not given.any():
        return np.zeros((len(given), width)), given
    if numbers.shape[1] != width:
        raise ValueError(
            f"column {field.name!r} has vectors of {numbers.shape[1]} numbers, and those of training have {width}: "
            "make them by the same model"
        )
    finite = np.isfinite(numbers).all(1) & (np.abs(numbers) <= np.finfo(np.float32).max).all(1)
    if not finite.all():
        raise ValueError(
            f"column {field.name!r} has {int((~finite).sum())} vectors with numbers that are missing, infinite or "
            "beyond 3.4e38: fill these, or let the whole vector be missing (None)"
        )
    if given.all():
        return numbers, given
    whole = np.zeros((len(given), width), numbers.dtype)
    whole[given] = numbers
    return whole, given


def _of_arrow(column: nw.Series[Any]) -> tuple[Numbers, Bools] | None:
    """The vectors that there are, and which rows have one, of a column of Arrow's lists of numbers; else None."""
    if not isinstance(column.dtype, nw.List | nw.Array):
        return None
    try:
        values: Any = column.to_arrow()
    except ModuleNotFoundError:  # polars without pyarrow
        return None
    import pyarrow as pa  # there is an array of it

    if not (pa.types.is_integer(values.type.value_type) or pa.types.is_floating(values.type.value_type)):
        return None
    given = np.asarray(values.is_valid().to_numpy(zero_copy_only=False), bool)
    flat = np.asarray(values.drop_null().flatten().to_numpy(zero_copy_only=False))
    lengths = np.asarray(values.drop_null().value_lengths().to_numpy(zero_copy_only=False))
    return flat.reshape(len(lengths), _one_length(lengths, column.name)), given


def _of_objects(column: pd.Series, name: str) -> tuple[Numbers, Bools]:
    """The same of a column of lists, tuples or arrays."""
    given = np.fromiter((_is_vector(value, name) for value in column), bool, len(column))
    vectors: list[Any] = [value for value, there in zip(column, given, strict=True) if there]
    width = _one_length(np.fromiter(map(len, vectors), np.int64, len(vectors)), name)
    try:
        numbers = np.asarray(vectors) if vectors else np.empty((0, width))
    except ValueError:  # lists of different lengths within the vectors
        numbers = np.empty((0, 0, 0))
    if numbers.dtype == object and numbers.ndim == 2:
        numbers = _with_missing(numbers)
    if numbers.ndim != 2 or numbers.dtype.kind not in "iufb":
        sample = next(iter(vectors))
        raise ValueError(f"column {name!r} must hold flat lists of numbers, found {_short(sample)}")
    return numbers, given


def _with_missing(numbers: Any) -> Any:
    """Numbers among which there is None or Decimal, NaN where one is missing; else as they are."""
    try:
        return np.where(pd.isna(numbers), np.nan, numbers).astype(np.float64)
    except (TypeError, ValueError):
        return numbers


def _one_length(lengths: NDArray[np.integer[Any]], name: str) -> int:
    """The length of all vectors, 0 if there are none."""
    if not len(lengths):
        return 0
    low, high = int(lengths.min()), int(lengths.max())
    if low == 0:
        raise ValueError(
            f"column {name!r} has {int((lengths == 0).sum())} vectors without numbers: a missing one is None"
        )
    if low < high:
        raise ValueError(
            f"column {name!r} has vectors of {low} and of {high} numbers: all need as many; for lists of categories "
            "use multi_sparse_col"
        )
    return low


def _is_vector(value: object, name: str) -> bool:
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
        return True
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return False
    hint = ": a single number goes into dense_col" if isinstance(value, int | float | np.number) else ""
    raise ValueError(f"column {name!r} must hold lists or arrays of numbers, found {_short(value)}{hint}")


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]}…"
