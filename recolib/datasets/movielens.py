"""MovieLens as GroupLens publishes it: read from disk or downloaded once, and merged into one frame.

The licence allows research; redistribution and commercial use need GroupLens's permission. So no part of the data is
in this library. Files are read from the zip, which is not unpacked.
"""

from __future__ import annotations

import csv
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from recolib.checks import check_choice
from recolib.files import local_path

SOURCE = "https://files.grouplens.org/datasets/movielens/"
TIMEOUT_S = 30
MISSING = "missing"
NO_GENRES = "(no genres listed)"
FLAGS = [
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
]
"""Genres in the order in which MovieLens 100K has a 0 or 1 for each, after one for "unknown"."""
YEAR_OF_TITLE = r"\((\d{4})(?:\D\d{0,4})?\)\s*$"  # of a series, "(2006-2007)", the first year
YEAR_OF_DATE = r"(\d{4})$"
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
"""What is raised by a damaged zip, or by text that is not a table."""


@dataclass(frozen=True)
class Table:
    """A text file with one row a line."""

    file: str
    sep: str
    columns: list[str]


@dataclass(frozen=True)
class Publication:
    """How one of the data sets is published."""

    folder: str
    """The folder in the zip; with ``.zip``, the zip."""
    md5: str | None
    """Of the zip; None where it changes as the data do."""
    encoding: str
    is_csv: bool
    """Whether tables have a header and quoted texts."""
    ratings: Table
    users: Table | None
    movies: Table
    genres: Callable[[pd.DataFrame], list[list[str]]]
    """The genres of each row of ``movies``."""
    year: tuple[str, str]
    """The column of ``movies`` that has the year, and the pattern that it stands in."""


def _listed_genres(movies: pd.DataFrame) -> list[list[str]]:
    return [[] if text == NO_GENRES else text.split("|") for text in movies["genres"]]


def _flagged_genres(movies: pd.DataFrame) -> list[list[str]]:
    return [[genre for genre, flag in zip(FLAGS, row, strict=True) if flag] for row in movies[FLAGS].to_numpy()]


RATING = ["user", "item", "label", "time"]
PUBLICATIONS = {
    "1m": Publication(
        folder="ml-1m",
        md5="c4d9eecfca2ab87c1945afe126590906",
        encoding="latin-1",
        is_csv=False,
        ratings=Table("ratings.dat", "::", RATING),
        users=Table("users.dat", "::", ["user", "sex", "age", "occupation", "zip"]),
        movies=Table("movies.dat", "::", ["item", "title", "genres"]),
        genres=_listed_genres,
        year=("title", YEAR_OF_TITLE),
    ),
    "100k": Publication(
        folder="ml-100k",
        md5="0e33842e24a9c977be4e0107933c0723",
        encoding="latin-1",
        is_csv=False,
        ratings=Table("u.data", "\t", RATING),
        users=Table("u.user", "|", ["user", "age", "sex", "occupation", "zip"]),
        movies=Table("u.item", "|", ["item", "title", "date", "video_date", "url", "unknown", *FLAGS]),
        genres=_flagged_genres,
        year=("date", YEAR_OF_DATE),
    ),
    "latest-small": Publication(
        folder="ml-latest-small",
        md5=None,
        encoding="utf-8",
        is_csv=True,
        ratings=Table("ratings.csv", ",", RATING),
        users=None,
        movies=Table("movies.csv", ",", ["item", "title", "genres"]),
        genres=_listed_genres,
        year=("title", YEAR_OF_TITLE),
    ),
}


def fetch_movielens(name: Literal["1m", "100k", "latest-small"], *, home: str | Path | None = None) -> pd.DataFrame:
    """The ratings of MovieLens with the features of users and movies.

    The data are read from the publisher's unpacked folder in ``home`` (such as ``ml-1m``) or else from its zip
    (``ml-1m.zip``). If there is neither, the zip is downloaded to ``home``. The data may be used for research.
    Redistribution and commercial use need the permission of GroupLens; the README in the zip has the terms.

    Parameters
    ----------
    name
        ``"1m"`` (1,000,209 ratings of 3,706 movies by 6,040 users, of 2000 to 2003), ``"100k"`` (100,000 ratings of
        1,682 movies by 943 users, of 1997 and 1998) or ``"latest-small"`` (about 100,000 ratings by about 600 users;
        it changes now and then).
    home
        The folder to look in; by default the environment variable ``RECOLIB_DATA_HOME``, or without that the
        platform's cache folder.

    Returns
    -------
    pandas.DataFrame
        One row for each rating, in the published order: ``user``, ``item``, ``label`` (1 to 5, in ``"latest-small"``
        half stars from 0.5) and ``time`` (in seconds since 1970). Of users, except in ``"latest-small"``: ``sex``
        (``"F"`` or ``"M"``), ``age`` (in ``"1m"`` the first year of a bracket) and ``occupation`` (in ``"1m"`` a
        number from 0 to 20 that the README explains, in ``"100k"`` a word). Of movies: ``genre1``, ``genre2`` and so
        on, as many as any movie has (``"missing"`` where a movie has fewer), ``year`` (a float, NaN where it is not
        known; of the title, in ``"100k"`` of the release date) and ``title``. Zip codes are left out.

    Raises
    ------
    ValueError
        If ``name`` is unknown, or the files in ``home`` are damaged or incomplete.
    ConnectionError
        If the data are not there and cannot be downloaded. An incomplete or damaged download is deleted.

    References
    ----------
    Harper and Konstan, *The MovieLens Datasets: History and Context*, ACM TiiS 2015: cite it where you use the data.

    Examples
    --------
    .. code-block:: python

        frame = fetch_movielens("1m")
        genres = [column for column in frame if column.startswith("genre")]
        data, data_info = DatasetFeat.build_trainset(
            frame,
            user_col=["sex", "age", "occupation"],
            item_col=[*genres, "year"],
            sparse_col=["sex", "age", "occupation"],
            dense_col=["year"],
            multi_sparse_col=[genres],
        )
    """
    check_choice("name", name, PUBLICATIONS)
    publication = PUBLICATIONS[name]
    folder = _home(home)
    path = _find(folder, publication) or _download(folder, publication)
    try:
        return _merge(path, publication)
    except PermissionError:
        raise
    except (*BROKEN, KeyError, OSError) as error:  # a file is absent, or an offset leads nowhere
        raise ValueError(
            f"{path} is damaged or incomplete ({error}): delete it, and the next call downloads it anew"
        ) from error


def _home(home: str | Path | None) -> Path:
    chosen = home or os.environ.get("RECOLIB_DATA_HOME")
    if not chosen:
        import pooch

        chosen = pooch.os_cache("recolib")
    return local_path(chosen, "folder")


def _find(folder: Path, publication: Publication) -> Path | None:
    """The unpacked folder or else the zip, if there is one."""
    unpacked, packed = folder / publication.folder, folder / f"{publication.folder}.zip"
    return next((path for path in (unpacked, packed) if path.exists()), None)


def _download(folder: Path, publication: Publication) -> Path:
    """Download the publisher's zip. It gets its name only when it is complete."""
    import pooch  # slow to import, as is requests
    from requests import RequestException

    file = f"{publication.folder}.zip"
    md5 = publication.md5 and f"md5:{publication.md5}"
    store = pooch.create(folder, SOURCE, registry={file: md5})
    try:
        return Path(store.fetch(file, downloader=cast("Any", _load_whole)))  # typed there as what unpacks
    except (RequestException, *BROKEN) as error:
        raise ConnectionError(
            f"{SOURCE}{file} could not be downloaded: put {file} or its unpacked folder {publication.folder} "
            f"into {folder}, or set RECOLIB_DATA_HOME to the folder that has it ({error})"
        ) from None


def _load_whole(url: str, file: str, store: object) -> None:
    """Write a zip to a file that pooch has made, and raise unless all of it came."""
    import pooch

    Path(file).unlink()  # only its owner may read it; a new one has the folder's permissions
    pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT_S)(url, file, store)
    with zipfile.ZipFile(file) as archive:
        if (bad := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{bad} does not match its checksum")


def _merge(path: Path, publication: Publication) -> pd.DataFrame:
    """Ratings beside their users and movies."""
    ratings = _read(path, publication, publication.ratings)
    sides = {"item": _movies(path, publication)}
    if publication.users is not None:
        users = _read(path, publication, publication.users)
        sides = {"user": users[["user", "sex", "age", "occupation"]], **sides}
    frame = ratings
    for key, table in sides.items():
        unknown = np.setdiff1d(ratings[key], table[key])
        if len(unknown):
            raise ValueError(f"nothing is said of {key} {unknown[0]}")
        if len(np.unique(table[key])) < len(table):
            raise ValueError(f"one {key} has two lines")
        frame = frame.merge(table, how="left", on=key)
    return frame


def _movies(path: Path, publication: Publication) -> pd.DataFrame:
    movies = _read(path, publication, publication.movies)
    genres = zip_longest(*publication.genres(movies), fillvalue=MISSING)
    columns = {f"genre{i}": column for i, column in enumerate(genres, start=1)}
    column, pattern = publication.year
    years = movies[column].str.extract(pattern, expand=False).astype("float64")
    return pd.DataFrame({"item": movies["item"], **columns, "year": years, "title": movies["title"]})


def _read(path: Path, publication: Publication, table: Table) -> pd.DataFrame:
    if path.is_dir():
        content = (path / table.file).read_bytes()
    else:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(f"{publication.folder}/{table.file}")
    sep = table.sep
    if len(sep) > 1:  # pandas' fast parser takes a single character
        content, sep = content.replace(sep.encode(), b"\t"), "\t"
    return pd.read_csv(
        BytesIO(content),
        sep=sep,
        names=table.columns,
        header=0 if publication.is_csv else None,
        dtype=dict.fromkeys({"user", "item", "time"} & set(table.columns), "int64"),
        encoding=publication.encoding,
        quoting=csv.QUOTE_MINIMAL if publication.is_csv else csv.QUOTE_NONE,
        index_col=False,  # a further column is at the end and not ours
        na_filter=False,  # a movie may be called "None"
    )
