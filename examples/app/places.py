"""Places: the folder of the cinema, and its database of accounts and movies."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

HOME = Path(os.environ.get("CINEMA_HOME", "cinema"))
MODELS, POINTER = HOME / "models", HOME / "models" / "CURRENT"
ARCHIVE = HOME / "archive"
"""What each version was trained on beyond the one before."""
HISTORY = os.environ.get("RECOLIB_HISTORY") or HOME / "events" / "events.sqlite"
"""What happened since: a file, or the address of a PostgreSQL database."""


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """The accounts with what they say of themselves, and the movies. What is done within takes effect at the end."""
    with closing(sqlite3.connect(HOME / "cinema.sqlite")) as tables, tables:
        yield tables
