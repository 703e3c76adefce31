"""Columns prepared before a data set is built: numbers scaled, text of several values split.

Nothing is changed in place: each function returns new frames, of the same library as its input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from recolib.checks import suggestion
from recolib.data.frame import Frame, factorize, read_column, read_frame, read_numbers
from recolib.exceptions import warn

FrameT = TypeVar("FrameT")
Floats = NDArray[np.float64]

TRANSFORMERS: dict[str, Callable[[Floats], Floats]] = {"log": np.log1p, "sqrt": np.sqrt, "square": np.square}
NORMALIZERS = {
    "min_max": "MinMaxScaler",
    "standard": "StandardScaler",
    "robust": "RobustScaler",
    "power": "PowerTransformer",
}
"""The class of scikit-learn behind each name."""


class _Scaler(Protocol):
    def fit(self, X: Floats) -> object: ...
    def transform(self, X: Floats) -> Floats: ...


def process_data(
    data: Any,
    dense_col: Sequence[str] | None = None,
    normalizer: str = "min_max",
    transformer: Sequence[str] | None = ("log", "sqrt", "square"),
) -> tuple[Any, list[str]]:
    """Scaled dense columns, and their logarithms, roots and squares as further columns.

    Parameters
    ----------
    data
        A pandas, polars or pyarrow frame, or a list or tuple of them, the training part first: it alone
        gives the statistics. No frame is changed.
    dense_col
        The columns to scale. Missing values stay missing.
    normalizer
        ``"min_max"`` (to the range 0 to 1), ``"standard"`` (mean 0, variance 1), ``"robust"`` (median and
        quartiles) or ``"power"`` (Yeo-Johnson), each as scikit-learn has it.
    transformer
        Which of ``"log"`` (of 1 + x), ``"sqrt"`` and ``"square"`` to add as columns ``age_log`` and so on, taken
        of the scaled values; None for none. A column with values below zero in one of the frames gets none of
        them in any frame, with a warning: that is every column under the other normalizers.

    Returns
    -------
    data
        The new frame, or the new frames in a list or tuple as they came. Scaled columns are float32.
    dense_col_transformed
        ``dense_col`` and the added columns.

    Raises
    ------
    ValueError
        If ``dense_col`` is no list of names, a name is unknown, a column does not hold numbers, or a column to be
        added exists.

    Examples
    --------
    >>> import pandas as pd
    >>> data = pd.DataFrame({"age": [18, 25, 46]})
    >>> scaled, dense_col = process_data(data, ["age"], transformer=["square"])
    >>> dense_col
    ['age', 'age_square']
    >>> scaled["age"].tolist()
    [0.0, 0.25, 1.0]
    """
    columns = _names(dense_col, "dense_col")
    chosen = _names(transformer, "transformer") if transformer else []
    unknown = sorted(set(chosen) - set(TRANSFORMERS))
    if unknown:
        hint = suggestion(unknown[0], TRANSFORMERS)
        raise ValueError(f"transformer has the unknown names {unknown}: choose from {list(TRANSFORMERS)}{hint}")
    scaler = _scaler(normalizer)
    frames = _read_frames(data, columns)
    numbers = [_numbers(frame, columns) for frame in frames]
    scaler.fit(numbers[0])
    scaled = [scaler.transform(part) for part in numbers]

    below_zero = [any(np.nanmin(part[:, j]) < 0 for part in scaled) for j in range(len(columns))]
    skipped = [column for column, negative in zip(columns, below_zero, strict=True) if negative]
    if skipped and chosen:
        warn(f"columns {skipped} have values below zero once scaled: no {chosen} of them")
    added = [
        (f"{column}_{name}", j, function)
        for j, column in enumerate(columns)
        for name, function in TRANSFORMERS.items()
        if name in chosen and not below_zero[j]
    ]
    results: list[Any] = []
    for frame, part in zip(frames, scaled, strict=True):
        new = {column: part[:, j] for j, column in enumerate(columns)}
        derived = {name: function(part[:, j]) for name, j, function in added}
        _refuse_taken(frame, derived)
        results.append(_with_numbers(frame, new | derived).to_native())
    transformed = columns + [name for name, _, _ in added]
    if isinstance(data, list | tuple):
        return (results if isinstance(data, list) else tuple(results)), transformed
    return results[0], transformed


def split_multi_value(
    data: FrameT,
    multi_value_col: Sequence[str],
    sep: str,
    max_len: Sequence[int] | None = None,
    pad_val: str | Sequence[str] = "missing",
    user_col: Sequence[str] | None = None,
    item_col: Sequence[str] | None = None,
) -> tuple[FrameT, list[list[str]], list[str], list[str]]:
    """Texts such as ``"crime|drama"`` taken apart into the columns of a multi-sparse group.

    Parameters
    ----------
    data
        A pandas, polars or pyarrow frame. It is not changed.
    multi_value_col
        The columns to take apart. In the result ``genre_1``, ``genre_2`` and so on stand for ``genre``.
    sep
        What stands between values, literally. Blanks around values and empty values are dropped; case and blanks
        within values are kept.
    max_len
        For each column how many values to keep, the first ones; by default as many as the longest text has.
    pad_val
        What fills the columns that a text has no value for: one for all of ``multi_value_col``, or a list with
        one for each. Other columns are left as they are.
    user_col
        Names of user columns, to tell apart what belongs to users.
    item_col
        Names of item columns.

    Returns
    -------
    data
        The new frame.
    multi_sparse_col
        The new columns, one list for each of ``multi_value_col``, as
        :class:`~recolib.data.DatasetFeat` takes them.
    user_sparse_col
        Those of the new columns whose old one is in ``user_col``.
    item_sparse_col
        Those of the new columns whose old one is in ``item_col``.

    Raises
    ------
    ValueError
        If an argument is no list of names, a name is unknown, a column does not hold text, ``max_len`` or
        ``pad_val`` does not have one entry for each column, or a new column exists.
    TypeError
        If ``sep``, ``pad_val`` or ``max_len`` is of the wrong type.

    Examples
    --------
    >>> import pandas as pd
    >>> data = pd.DataFrame({"item": [7, 8], "genre": ["Crime|Film noir", "Drama"]})
    >>> data, multi_sparse_col, _, item_sparse_col = split_multi_value(data, ["genre"], "|", item_col=["genre"])
    >>> multi_sparse_col, item_sparse_col
    ([['genre_1', 'genre_2']], ['genre_1', 'genre_2'])
    >>> data["genre_2"].tolist()
    ['Film noir', 'missing']
    """
    columns = _names(multi_value_col, "multi_value_col")
    of_users = _names(user_col, "user_col") if user_col else []
    of_items = _names(item_col, "item_col") if item_col else []
    both = [column for column in columns if column in of_users and column in of_items]
    if both:
        raise ValueError(f"columns {both} are in user_col and in item_col: a column belongs to one side")
    if not isinstance(cast("object", sep), str):
        raise TypeError(f"sep must be a str, got {sep!r}")
    if not sep:
        raise ValueError("sep must not be empty")
    lengths, pads = _lengths(max_len, len(columns)), _pads(pad_val, len(columns))

    frame = read_frame(data, columns)
    groups: list[list[str]] = []
    new: list[nw.Series[Any]] = []
    for column, length, pad in zip(columns, lengths, pads, strict=True):
        codes, values = _split_column(frame, column, sep)
        width = length or max(1, max(map(len, values)))
        groups.append([f"{column}_{i + 1}" for i in range(width)])
        for i, name in enumerate(groups[-1]):
            ith = [value[i] if i < len(value) else pad for value in values]
            new.append(nw.new_series(name, ith, nw.String, backend=frame.implementation)[codes])
    _refuse_taken(frame, [column for group in groups for column in group])
    result: Any = frame.with_columns(*new).drop(columns).to_native()
    sides = [
        [name for column, group in zip(columns, groups, strict=True) if column in side for name in group]
        for side in (of_users, of_items)
    ]
    return result, groups, sides[0], sides[1]


def _names(value: Any, argument: str) -> list[str]:
    """A list of distinct names."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"{argument} must be a list of names, got {value!r}")
    names = list(cast("Sequence[Any]", value))
    if not names:
        raise ValueError(f"{argument} must name at least one column")
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{argument} must be a list of names, got {value!r}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{argument} has {twice} more than once")
    return names


def _scaler(normalizer: str) -> _Scaler:
    known = NORMALIZERS.get(str(normalizer).lower())
    if known is None:
        hint = suggestion(normalizer, NORMALIZERS)
        raise ValueError(f"normalizer={normalizer!r} is unknown: choose from {list(NORMALIZERS)}{hint}")
    from sklearn import preprocessing  # slow to import

    return getattr(preprocessing, known)()


def _read_frames(data: Any, columns: Sequence[str]) -> list[Frame]:
    if not isinstance(data, list | tuple):
        return [read_frame(data, columns)]
    parts = cast("Sequence[object]", data)
    if not parts:
        raise ValueError("data has no frames")
    return [read_frame(part, columns, f"data[{i}]") for i, part in enumerate(parts)]


def _numbers(frame: Frame, columns: Sequence[str]) -> Floats:
    return np.column_stack([read_numbers(read_column(frame, column), column) for column in columns])


def _refuse_taken(frame: Frame, names: Sequence[str] | dict[str, Floats]) -> None:
    taken = [name for name in names if name in frame.columns]
    if taken:
        raise ValueError(f"columns {taken} are to be added, but the data has them: rename or drop them")


def _with_numbers(frame: Frame, numbers: dict[str, Floats]) -> Frame:
    return frame.with_columns(
        *(
            nw.new_series(name, values.astype(np.float32), backend=frame.implementation)
            for name, values in numbers.items()
        )
    )


def _lengths(max_len: Any, n_columns: int) -> list[int] | list[None]:
    if max_len is None:
        return [None] * n_columns
    if isinstance(max_len, str) or not isinstance(max_len, Sequence):
        raise TypeError(f"max_len must be a list with one int for each column, got {max_len!r}")
    lengths = list(cast("Sequence[Any]", max_len))
    if len(lengths) != n_columns:
        raise ValueError(f"max_len must have one entry for each of {n_columns} columns, got {max_len!r}")
    for length in lengths:
        if isinstance(length, bool) or not isinstance(length, int | np.integer):
            raise TypeError(f"max_len must be a list with one int for each column, got {max_len!r}")
        if length < 1:
            raise ValueError(f"max_len must be at least 1, got {length}")
    return lengths


def _pads(pad_val: Any, n_columns: int) -> list[str]:
    pads: list[Any] = list(pad_val) if isinstance(pad_val, list | tuple) else [pad_val] * n_columns
    if len(pads) != n_columns:
        raise ValueError(f"pad_val must have one entry for each of {n_columns} columns, got {pad_val!r}")
    if not all(isinstance(pad, str) for pad in pads):
        raise TypeError(f"pad_val must be a str like the values, got {pad_val!r}")
    return pads


def _split_column(frame: Frame, column: str, sep: str) -> tuple[NDArray[np.int64], list[list[str]]]:
    """Where each row's text stands among the distinct texts, and the values of each of those.

    The last of them has no values and stands for what is missing.
    """
    codes, texts = factorize(read_column(frame, column), column)
    other = next((text for text in texts.tolist() if not isinstance(text, str)), None)
    if other is not None:
        raise ValueError(f"column {column!r} must hold text, found {other!r}")
    values = [[value.strip() for value in text.split(sep) if value.strip()] for text in texts]
    return np.where(codes < 0, len(values), codes), [*values, []]
