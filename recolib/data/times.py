"""Times: when events happened, as numbers that sort."""

from __future__ import annotations

import datetime as dt
import re
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.data.frame import read_numbers, refuse_missing

Times = NDArray[Any]
"""Moments that sort: int64 or float64."""
ISO_8601 = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(Z|[+-]\d\d(?::?\d\d)?)?")
"""A date, a clock or none, and an offset from UTC or none."""
CONVERT = "convert it to dates by pandas.to_datetime, or to numbers by pandas.to_numeric"


class Moments(NamedTuple):
    """Times, and what they are: numbers, durations, or dates of a unit and, where they were text, of a form."""

    times: Times
    form: str


def read_times(column: pd.Series, name: str) -> Times:
    """A column of times, of any unit that sorts: numbers, or dates as nano- or microseconds; integers stay exact.

    See ``read_moments``.
    """
    return read_moments(column, name).times


def read_moments(column: pd.Series, name: str) -> Moments:
    """A column of times, and what they are: those of two frames compare where that is the same.

    Text is read as dates where all of it is ISO 8601 of one form.

    Raises
    ------
    ValueError
        If a time is missing or infinite, or the column holds other text, or moments of which some have a time zone.
    """
    refuse_missing(int(column.isna().sum()), name)
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.dtype.categories.dtype)
    if pd.api.types.is_integer_dtype(column.dtype):
        with suppress(OverflowError):
            return Moments(_integers(column), "numbers")
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    dates = _dates(column, name)
    if dates is not None:
        times, unit = _moments(dates[0], name)
        return Moments(times, f"{dates[1]} in {unit}")
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        return Moments(pd.to_timedelta(column).to_numpy("timedelta64[ns]").astype(np.int64), "durations")
    if pd.api.types.is_object_dtype(column.dtype) and set(map(type, column)) == {int}:
        with suppress(OverflowError):
            return Moments(np.array(column.tolist(), np.int64), "numbers")
    # a view would keep the frame alive and change with it
    return Moments(read_numbers(column, name, missing=False).copy(), "numbers")


def _integers(column: pd.Series) -> Times:
    if pd.api.types.is_unsigned_integer_dtype(column.dtype) and int(column.max()) >= 2**63:
        raise OverflowError
    return column.to_numpy(np.int64, copy=True)


def _dates(column: pd.Series, name: str) -> tuple[pd.Series, str] | None:
    """The column as dates of pandas', and what they were; None if it holds something else."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return (pd.to_datetime(column) if isinstance(column.dtype, pd.ArrowDtype) else column), "dates"
    is_object = pd.api.types.is_object_dtype(column.dtype)
    types = set(map(type, column)) if is_object else set[type]()
    if any(issubclass(one, str) for one in types) or (not is_object and pd.api.types.is_string_dtype(column.dtype)):
        return _of_text(column, name)
    if not types or not all(issubclass(one, dt.date | np.datetime64) for one in types):
        return None
    has_zone = {isinstance(value, dt.datetime) and value.tzinfo is not None for value in column}
    if len(has_zone) > 1:
        raise ValueError(
            f"column {name!r} has moments with a time zone and others without: give all of them one, or none"
        )
    return _parsed(column, name, utc=True in has_zone), "dates"


def _of_text(column: pd.Series, name: str) -> tuple[pd.Series, str]:
    """Dates of ISO 8601 text, and its form."""
    positions, values = pd.factorize(column)
    texts: list[Any] = list(values)
    matches = [ISO_8601.fullmatch(text) if isinstance(text, str) else None for text in texts]
    wrong = next((text for text, match in zip(texts, matches, strict=True) if match is None), None)
    if wrong is not None:
        text = next((one for one in texts if isinstance(one, str) and not ISO_8601.fullmatch(one)), wrong)
        raise ValueError(f"column {name!r} must hold numbers or dates, found text such as {text!r}: {CONVERT}")
    forms = {tuple(part is not None for part in match.groups()): match[0] for match in matches if match is not None}
    if len(forms) > 1:
        first, second, *_ = forms.values()
        raise ValueError(f"column {name!r} has dates of several forms, such as {first!r} and {second!r}: {CONVERT}")
    ((has_clock, has_zone),) = forms
    dates = _parsed(pd.Series(texts, dtype=object), name, utc=has_zone, format="ISO8601")
    return dates.take(positions), f"text of dates{' and hours' * has_clock}{' with offsets' * has_zone}"


def _parsed(column: pd.Series, name: str, utc: bool, format: str | None = None) -> pd.Series:
    try:
        return pd.to_datetime(column, utc=utc, format=format)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"column {name!r} has dates that cannot be read: {error}") from None


def _moments(dates: pd.Series, name: str) -> tuple[Times, str]:
    for unit in ("ns", "us"):  # nanoseconds reach from 1677 to 2262
        with suppress(ValueError, OverflowError):
            return dates.dt.as_unit(unit).to_numpy(f"datetime64[{unit}]").astype(np.int64), unit
    raise ValueError(f"column {name!r} has dates that 64 bits of microseconds do not reach")


def before_all(times: Times) -> int | float:
    """A moment before all others of this type."""
    return np.iinfo(np.int64).min if times.dtype.kind == "i" else -np.inf
