"""Arrow: whatever gives its rows as a stream of Arrow's, and types that neither pyarrow nor pandas can work with."""

from __future__ import annotations

from typing import Any, Protocol, cast, runtime_checkable

import narwhals as nw
import numpy as np
import pandas as pd


@runtime_checkable
class ArrowStream(Protocol):
    """What gives its rows by Arrow's interface, such as a relation of DuckDB or a ``RecordBatchReader``."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The rows, which some objects can give once only."""
        ...


def read_stream(data: ArrowStream) -> Any:
    """All rows as a pyarrow table, or where there is no pyarrow as a polars frame.

    Raises
    ------
    TypeError
        If it holds no columns, such as a single one that is no struct.
    """
    for backend in ("pyarrow", "polars"):
        try:
            return nw.from_arrow(cast("Any", data), backend=backend).to_native()
        except ModuleNotFoundError:
            continue
        except Exception as error:  # each library has its own
            raise TypeError(f"it gives no rows: {error}") from error
    raise TypeError("to read it, install pyarrow or polars")


def without_views(data: Any) -> Any:
    """A pyarrow table or a pandas frame whose text, bytes and lists are none of Arrow's "views"; others as they are.

    ``pyarrow.table(polars_frame)`` makes such views, of which no rows can be taken.
    """
    if isinstance(data, pd.DataFrame):
        views = [name for name, dtype in data.dtypes.items() if _is_view(dtype)]
        data = data.copy(deep=False) if views else data
        for name in views:
            data[name] = _plain_column(data[name])
        return data
    if isinstance(data, nw.DataFrame) or not nw.dependencies.is_pyarrow_table(data):
        return data
    for place, field in enumerate(data.schema):
        if _is_view(field.type):
            data = data.set_column(place, field.name, _cast(data.column(place)))
    return data


def _is_view(dtype: object) -> bool:
    name = str(dtype)
    return "_view" in name and not name.startswith("dictionary")


def _plain_column(column: pd.Series) -> pd.Series:
    values: Any = column.array
    return pd.Series(pd.arrays.ArrowExtensionArray(_cast(values.__arrow_array__())), column.index)


def _cast(values: Any) -> Any:
    lists = _end_to_end(values) if "list_view" in str(values.type).partition("<")[0] else values
    return lists.cast(_plain(values.type))


def _end_to_end(values: Any) -> Any:
    """A "view" of lists as lists; Arrow's own cast of one in which a list is missing loses the lists behind it."""
    import pyarrow as pa  # there is an array of it

    lists: list[Any] = []
    for chunk in values.chunks if isinstance(values, pa.ChunkedArray) else [values]:
        ends = np.cumsum(chunk.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
        lists.append(pa.LargeListArray.from_arrays(np.append(0, ends), chunk.flatten(), mask=chunk.is_null()))
    return pa.chunked_array(lists, pa.large_list(values.type.value_type))


def _plain(dtype: Any) -> Any:
    """The type without views, also within lists and structs."""
    import pyarrow as pa  # there is a table of it

    if pa.types.is_string_view(dtype):
        return pa.large_string()
    if pa.types.is_binary_view(dtype):
        return pa.large_binary()
    if "list" in str(dtype).partition("<")[0]:
        return pa.large_list(_plain(dtype.value_type))
    if pa.types.is_struct(dtype):
        return pa.struct([(field.name, _plain(field.type)) for field in dtype])
    return dtype
