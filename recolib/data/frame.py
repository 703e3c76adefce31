"""Frames in: the columns of any eager frame as checked arrays.

Errors in a frame are raised here, before any work, and name the column.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, cast

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.checks import is_text
from recolib.data.arrow import ArrowStream, read_stream, without_views
from recolib.exceptions import warn

Frame = nw.DataFrame[Any]
Values = NDArray[Any]
"""Distinct ids or category values: int64, or objects that are int or str."""
BLOCK = 2**16
"""Rows that are processed at a time, so that they fit the processor's cache."""


def read_frame(data: object, columns: Sequence[str] = (), name: str = "data") -> Frame:
    """A checked view of an eager frame; nothing is copied, but for what comes as a stream or as views of Arrow's.

    Parameters
    ----------
    data
        A pandas, polars or pyarrow frame, whatever else narwhals reads eagerly, or an object that gives its rows by
        Arrow's ``__arrow_c_stream__``.
    columns
        The columns that must be there, each once.
    name
        What the caller's argument is called, for the messages.

    Raises
    ------
    ValueError
        If it is no frame, has no rows, lacks one of ``columns``, or has a column twice.
    """
    frame = read_part(data, name)
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise ValueError(f"columns {absent} are not in {name}: {list(frame.columns)}")
    if not len(frame):
        raise ValueError(f"{name} has no rows")
    return frame


def read_part(data: object, name: str) -> Frame:
    """A view of an eager frame that may have no rows; see ``read_frame``."""
    if isinstance(data, pd.DataFrame) and not data.columns.is_unique:
        twice = sorted({str(column) for column in data.columns[data.columns.duplicated()]})
        raise ValueError(f"columns {twice} stand more than once in {name}")
    try:
        frame = _as_frame(data)
    except TypeError:
        kind = type(data).__name__
        hint = ": call .collect() first" if kind == "LazyFrame" else ""
        raise ValueError(f"{name} must be a pandas, polars or pyarrow frame, got {kind}{hint}") from None
    except Exception as error:
        raise ValueError(f"{name} is no frame that can be read: {error}") from error
    return frame


def _as_frame(data: object) -> Frame:
    data = without_views(data)
    try:
        return cast("Frame", nw.from_native(cast("Any", data), eager_only=True))
    except TypeError:
        if not isinstance(data, ArrowStream):
            raise
    return cast("Frame", nw.from_native(without_views(read_stream(data)), eager_only=True))


def read_column(frame: Frame, name: str) -> pd.Series:
    """One column as a pandas Series that keeps integers exact where values are missing."""
    column = frame[name]
    if frame.implementation.is_pandas_like():
        return _without_arrow_traps(column.to_pandas())
    if isinstance(column.dtype, nw.Struct):
        raise ValueError(f"column {name!r} holds structs: give each of their fields a column")
    if frame.implementation.is_pyarrow() and isinstance(column.dtype, nw.String):
        return pd.Series(pd.arrays.ArrowExtensionArray(column.to_native()))
    if not (column.dtype.is_numeric() or column.dtype.is_temporal() or isinstance(column.dtype, nw.Boolean)):
        # lists, and text: an array would be as wide as its longest value
        return pd.Series(column.to_list(), dtype=object)
    missing = column.is_null().to_numpy()
    if column.dtype.is_integer() and missing.any():
        filled = column.fill_null(0).to_numpy()
        return pd.Series(pd.arrays.IntegerArray(np.ascontiguousarray(filled), np.ascontiguousarray(missing)))
    return pd.Series(column.to_numpy())


def _without_arrow_traps(column: pd.Series) -> pd.Series:
    """A pandas column whose missing values are missing to ``factorize``, and whose dictionaries are values."""
    if not isinstance(column.dtype, pd.ArrowDtype):
        return column
    if pd.api.types.is_float_dtype(column.dtype):
        return pd.Series(column.to_numpy(np.float64, na_value=np.nan))
    return column.astype(object) if "dictionary" in str(column.dtype) else column


def factorize(column: pd.Series, name: str, ids: bool = False) -> tuple[NDArray[np.int64], Values]:
    """The position of each row's value among the distinct values, −1 where it is missing.

    Parameters
    ----------
    column
        Integers or strings, mixed or not, of any dtype that holds them; booleans, which are no ids, are 0 and 1.
    name
        The column's name, for the messages.
    ids
        Whether the values are user or item ids: then a missing value is an error and a whole
        number that comes as a float is converted with a warning.

    Raises
    ------
    ValueError
        If a value is neither an integer nor a string, or does not fit 64 bits.
    """
    _refuse_kinds(column, name, ids)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "i":
        return _factorize_integers(column.to_numpy())
    try:
        codes, uniques = pd.factorize(cast("Any", column))
    except TypeError:
        _refuse_unhashable(column, name)
        raise
    if ids:
        refuse_missing(int((codes < 0).sum()), name)
    return codes.astype(np.int64, copy=False), _exact(uniques, name, ids)


def _refuse_unhashable(column: pd.Series, name: str) -> None:
    """Raise what a value is that can be no id or category: a list, a dict or the like."""
    value = next((one for one in column if type(one).__hash__ is None), None)
    if isinstance(value, dict):
        raise ValueError(f"column {name!r} holds dicts, such as {value!r}: give each of their keys a column")
    if isinstance(value, list | set | np.ndarray):
        raise ValueError(f"column {name!r} holds lists: name it, by itself, in multi_sparse_col")
    raise ValueError(f"column {name!r} must hold integers or strings, found {value!r} ({type(value).__name__})")


def _factorize_integers(numbers: NDArray[np.signedinteger]) -> tuple[NDArray[np.int64], Values]:
    """What ``pandas.factorize`` gives; by tables in place of hashes where the numbers lie close together."""
    n = len(numbers)
    low, high = (int(numbers.min()), int(numbers.max())) if n else (0, 0)
    if high - low >= n:
        codes, values = pd.factorize(numbers)
        return codes.astype(np.int64, copy=False), np.asarray(values, np.int64)
    blocks = [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]
    first = np.full(high - low + 1, n, np.int64)  # the row in which each number stands first
    for block in reversed(blocks):
        part = numbers[block].astype(np.int64) - low
        first[part[::-1]] = np.arange(block.start + len(part) - 1, block.start - 1, -1)  # the last write stays
    values = np.flatnonzero(first < n)
    values = values[np.argsort(first[values])]
    code_of = first
    code_of[values] = np.arange(len(values))
    codes = np.empty(n, np.int64)
    for block in blocks:
        codes[block] = code_of[numbers[block].astype(np.int64) - low]
    return codes, values + low


def read_numbers(column: pd.Series, name: str, missing: bool = True) -> NDArray[np.float64]:
    """A column of numbers, NaN where they are missing.

    Raises
    ------
    ValueError
        If it holds text, dates or complex numbers, infinity or, with ``missing=False``, a
        missing value.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind not in {"integer", "floating", "mixed-integer-float", "boolean", "decimal", "empty"}:
        sample = next((value for value in column if isinstance(value, str)), None)
        found = f"text such as {sample!r}" if sample is not None else f"{kind} values"
        raise ValueError(f"column {name!r} must hold numbers, found {found}{_way_to_numbers(kind, name)}")
    try:
        numbers = column.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"column {name!r} must hold numbers: {error}") from None
    largest = np.finfo(np.float32).max
    if len(numbers) and -largest <= numbers.min() <= numbers.max() <= largest:  # false where one is NaN
        return numbers
    n_infinite = int(np.isinf(numbers).sum())
    if n_infinite:
        raise ValueError(f"column {name!r} has {n_infinite} infinite values")
    n_beyond = int((np.abs(numbers) > largest).sum())
    if n_beyond:
        raise ValueError(f"column {name!r} has {n_beyond} values beyond 3.4e38, the range of float32")
    if not missing:
        refuse_missing(int(np.isnan(numbers).sum()), name)
    return numbers


def _way_to_numbers(kind: str, name: str) -> str:
    if kind in {"string", "mixed", "mixed-integer"}:
        return ": convert it by pandas.to_numeric"
    if kind in {"date", "datetime", "datetime64"}:
        return f": make days of it, such as (pandas.to_datetime(data[{name!r}]) - pandas.Timestamp(0)).dt.days"
    return ""


def refuse_missing(n_missing: int, name: str) -> None:
    """Raise if values are missing where each row needs one."""
    if n_missing:
        way = "fill them, or leave these rows out"
        raise ValueError(f"column {name!r} has {n_missing} missing values (NaN or None): {way}")


def refuse_empty(n_present: int, name: str) -> None:
    """Raise if a column that is to be learnt from holds nothing."""
    if not n_present:
        raise ValueError(f"column {name!r} is empty: all of its values are missing")


def read_ids(ids: object, name: str) -> Values:
    """Ids that an argument brings, one or many, as an array of integers and strings.

    Raises
    ------
    ValueError
        If one is neither an integer nor a string.
    """
    if isinstance(ids, str | int | float | np.integer | np.floating):
        return as_values([_exact_value(ids, name)])
    if isinstance(ids, list) and set(map(type, cast("list[object]", ids))) == {int}:
        with suppress(OverflowError):
            return np.array(ids, np.int64)
    dtype = getattr(ids, "dtype", np.dtype(object))
    as_objects = isinstance(dtype, np.dtype) and dtype.kind in "OU"  # which pandas would take for UTF-8
    column = pd.Series(cast("Any", ids), dtype=object if as_objects else None)
    if not pd.api.types.is_object_dtype(column.dtype):
        refuse_missing(int(column.isna().sum()), name)
    return _exact(column, name, ids=True)


def flatten_lists(column: pd.Series, name: str) -> tuple[pd.Series, NDArray[np.int64], NDArray[np.bool_]]:
    """The values of a column of lists, end to end, the length of each list, and whether there is one.

    A missing list has length 0.

    Raises
    ------
    ValueError
        If a value is not a list: a string such as ``"a|b"``, or a number.
    """
    present = np.fromiter((_is_list(value, name) for value in column), bool, len(column))
    lists = [_ordered(value) if there else () for value, there in zip(column, present, strict=True)]
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    return pd.Series(list(chain.from_iterable(lists)), dtype=object), lengths, present


def _ordered(values: Any) -> Any:
    """The values of a list as they come; those of a set in an order that does not depend on hashes."""
    return sorted(values, key=repr) if isinstance(values, set | frozenset) else values


def _is_list(value: object, name: str) -> bool:
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return True
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return False
    raise ValueError(f"column {name!r} must hold lists, found {value!r}: see split_multi_value, or use sparse_col")


def _refuse_kinds(column: pd.Series, name: str, ids: bool) -> None:
    """Dates and the like, and booleans as ids; in a column of objects by the type of each value, since True == 1."""
    dtype = column.dtype.categories.dtype if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
    if pd.api.types.is_bool_dtype(dtype):
        if ids:
            raise ValueError(f"column {name!r} holds booleans: convert them to int or str")
    elif pd.api.types.is_object_dtype(dtype):
        kind = pd.api.types.infer_dtype(column, skipna=True)  # far faster than looking at each value
        if ids and kind not in {"string", "integer"} and {bool, np.bool_} & set(map(type, column)):
            raise ValueError(f"column {name!r} holds booleans: convert them to int or str")
    elif not (
        pd.api.types.is_integer_dtype(dtype)
        or pd.api.types.is_float_dtype(dtype)
        or pd.api.types.is_string_dtype(dtype)
    ):
        raise ValueError(f"column {name!r} must hold integers or strings, found {dtype}{_as_text(name)}")


def _as_text(name: str) -> str:
    return f": make text of it, data[{name!r}] = data[{name!r}].astype(str)"


def _exact(uniques: Any, name: str, ids: bool) -> Values:
    """Distinct values as int64, or as objects that are exactly int or str."""
    if pd.api.types.is_integer_dtype(uniques.dtype):
        largest = np.iinfo(np.int64).max
        if pd.api.types.is_unsigned_integer_dtype(uniques.dtype) and len(uniques) and int(max(uniques)) > largest:
            raise ValueError(f"column {name!r} has an integer above 2**63 - 1: convert the column to str")
        return np.asarray(uniques, np.int64)
    exact = [_exact_value(value, name, ids) for value in uniques.tolist()]
    whole_floats = pd.api.types.is_float_dtype(uniques.dtype) or any(isinstance(v, float) for v in uniques.tolist())
    if ids and whole_floats:
        warn(f"column {name!r} holds whole numbers as floats: read as integers")
    return as_values(exact)


def _exact_value(value: object, name: str, ids: bool = True) -> int | str:
    if isinstance(value, str):
        if not is_text(value):
            raise ValueError(f"column {name!r} has the value {value!r}, which is no valid text")
        return str(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        if -(2**63) <= int(value) < 2**63:
            return int(value)
        raise ValueError(
            f"column {name!r} has the integer {value}, which does not fit 64 bits: convert the column to str"
        )
    if isinstance(value, bool | np.bool_) and not ids:
        return int(value)
    if isinstance(value, float | np.floating):
        if np.isinf(value):
            raise ValueError(f"column {name!r} has infinite values")
        if float(value).is_integer() and abs(value) <= 2**53:
            return int(value)
        raise ValueError(f"column {name!r} has the number {value!r}: ids and categories are integers or strings")
    is_list = isinstance(value, tuple | frozenset)
    hint = ": name it, by itself, in multi_sparse_col" if is_list else "" if isinstance(value, bool) else _as_text(name)
    raise ValueError(f"column {name!r} must hold integers or strings, found {value!r} ({type(value).__name__}){hint}")


def as_values(values: Sequence[int | str]) -> Values:
    """Ids or category values as an array: int64 where all are integers, else objects."""
    if all(isinstance(value, int) for value in values):
        return np.asarray(values, np.int64)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def joined_values(parts: Sequence[Values]) -> Values:
    """Values end to end: int64 where all parts hold integers alone, else objects."""
    if any(values.dtype == object for values in parts):
        parts = [values.astype(object) for values in parts]
    return np.concatenate(parts)
