"""Tables that are written part by part."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from recolib.data.frame import Values
from recolib.files import local_path, replacing

ROWS_AT_ONCE = 2**18
"""Rows of a row group: as many as readers like to take at once, and a few MB."""


def check_parquet(path: str | os.PathLike[str]) -> None:
    """Raise unless Parquet can be written, and the path can be a file."""
    try:
        import pyarrow.parquet  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise ImportError('recommend_to needs pyarrow: pip install "recolib[parquet]"') from error
    if local_path(path).is_dir():
        raise ValueError(f"path must be a file, and {os.fspath(path)!r} is a folder: give a name in it")


def schema_of(users: Values, items: Values, shown: pd.DataFrame) -> Any:
    """The columns of a table of lists, and of what is shown of the items.

    Raises
    ------
    ValueError
        If ids, or values of a column, are integers and strings: a column of Parquet holds one kind.
    """
    import pyarrow as arrow

    kinds: dict[str, Any] = {}
    for name, ids in (("user", users), ("item", items)):
        found = {type(one) for one in ids.tolist()} if ids.dtype == object else {int}
        if len(found) > 1:
            raise ValueError(
                f"{name} ids are integers and strings, and a Parquet column holds one kind: ask for users of one kind, "
                "train with ids that are all strings, or take the DataFrame of recommend"
            )
        kinds[name] = arrow.int64() if found == {int} else arrow.string()
    kinds |= {"score": arrow.float32(), "rank": arrow.int64()}
    for name, values in shown.items():
        try:
            kinds[str(name)] = arrow.Array.from_pandas(values).type
        except (arrow.ArrowInvalid, arrow.ArrowTypeError):
            raise ValueError(
                f"the values of columns={[name]} are integers and strings, and a Parquet column holds one kind: leave "
                "it out, or take the DataFrame of recommend"
            ) from None
    return arrow.schema(kinds)


def write_parquet(path: str | os.PathLike[str], tables: Iterable[pd.DataFrame], schema: Any) -> Path:
    """Write tables of one schema end to end to a Parquet file, which appears when it is whole."""
    import pyarrow as arrow
    from pyarrow.parquet import ParquetWriter

    parts: list[Any] = []
    with replacing(local_path(path)) as stream, ParquetWriter(stream, schema) as writer:
        for table in tables:
            parts.append(arrow.Table.from_pandas(table, schema, preserve_index=False))
            if sum(map(len, parts)) >= ROWS_AT_ONCE:
                writer.write_table(arrow.concat_tables(parts))
                parts.clear()
        if parts:
            writer.write_table(arrow.concat_tables(parts))
    return local_path(path)
