"""Tables: files of CSV and Parquet as frames."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, cast

import pandas as pd

from recolib.files import local_path

PARQUET = ".parquet", ".pq"
DELIMITERS = ",\t;|"
INTEGER = r"-?(0|[1-9]\d{0,17})"
NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
NO_NUMBER = r"[-+]?(0\d|\d{19})"
"""What looks like a number and would lose digits as one: a code with leading zeros, or an id that is too long."""


def read_table(path: str | Path) -> pd.DataFrame:
    """A file of CSV, with any usual delimiter and possibly compressed, or of Parquet, as a frame.

    Whole numbers written without leading zeros are integers in CSV, if all values of their column are; others are text.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read.
    """
    file = local_path(path, "data")
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    if file.suffix.lower() in PARQUET:
        try:
            return pd.read_parquet(file)
        except ImportError as error:
            raise ImportError('Parquet needs pyarrow: pip install "recolib[parquet]"') from error
        except Exception as error:
            raise ValueError(f"{file} cannot be read as Parquet: {error}") from error
    try:
        delimiter = delimiter_of(file)
        frame = pd.read_csv(file, sep=delimiter, dtype=str, keep_default_na=True)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError, EOFError) as error:
        raise ValueError(f"{file} cannot be read as CSV: {error}") from error
    if frame.columns.has_duplicates or len(frame.columns) < 2:
        raise ValueError(f"{file} must have a first line of column names, each once: found {frame.columns.tolist()}")
    return pd.DataFrame({name: numbers_of(column(frame, name)) for name in frame.columns})


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """A column of a frame whose names are all different."""
    return cast("pd.Series", frame[name])


def numeric(values: pd.Series) -> pd.Series:
    """A column of numbers, or of texts that are numbers, as numbers."""
    return cast("pd.Series", pd.to_numeric(cast("Any", values)))


def delimiter_of(file: Path) -> str:
    """What stands between the names in the first line."""
    head = pd.read_csv(file, sep="\0", header=None, nrows=1, dtype=str, quoting=csv.QUOTE_NONE, engine="python")
    line = str(head.iloc[0, 0])
    return max(DELIMITERS, key=line.count)


def numbers_of(texts: pd.Series) -> pd.Series:
    """A column of text as numbers, if that changes none of them."""
    present = texts.dropna()
    if not len(present):
        return texts
    text = present.astype(object)
    if text.str.fullmatch(INTEGER).all():
        return numeric(texts).astype("Int64" if len(present) < len(texts) else "int64")
    if text.str.fullmatch(NUMBER).all() and not text.str.match(NO_NUMBER).any():
        return numeric(texts)
    if text.str.lower().isin(["true", "false"]).all():
        return texts.astype(object).str.lower().map({"true": True, "false": False})
    return texts
