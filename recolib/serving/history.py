"""History: what users consumed since the model was trained, in SQLite or PostgreSQL, by the same statements."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from recolib.files import local_path

Id = int | str
T = TypeVar("T")

SCHEMA_VERSION = 1
MAX_READ = 1000
"""The newest events of a user that are read."""
WAIT_S = 5
"""How long a write waits for another one, or a connection for a server."""
TABLES = (
    "CREATE TABLE IF NOT EXISTS recolib_schema (version INTEGER PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS recolib_events "
    "(user_id TEXT NOT NULL, item_id TEXT NOT NULL, time DOUBLE PRECISION NOT NULL, PRIMARY KEY (user_id, item_id))",
    "CREATE INDEX IF NOT EXISTS recolib_events_time ON recolib_events (time)",
)
ADD = (
    "INSERT INTO recolib_events (user_id, item_id, time) VALUES (%s, %s, %s) "
    "ON CONFLICT (user_id, item_id) DO UPDATE SET time = excluded.time WHERE excluded.time > recolib_events.time"
)
GET = "SELECT item_id FROM recolib_events WHERE user_id = %s ORDER BY time DESC, item_id LIMIT %s"
WHO = "SELECT DISTINCT user_id FROM recolib_events WHERE user_id IN ({})"
SINCE = "SELECT user_id, item_id, time FROM recolib_events WHERE time > %s ORDER BY time, user_id, item_id"
PRUNE = "DELETE FROM recolib_events WHERE time <= %s"
FORGET = {
    "user": "DELETE FROM recolib_events WHERE user_id = %s",
    "item": "DELETE FROM recolib_events WHERE item_id = %s",
}
COUNT = "SELECT COUNT(*) FROM recolib_events"


class HistoryError(RuntimeError):
    """The store cannot be read or written now."""


@dataclass(frozen=True)
class Event:
    """A user consumed an item.

    Attributes
    ----------
    user, item
        Ids.
    time
        When, in seconds since 1970.
    """

    user: Id
    item: Id
    time: float


class History:
    """A store of events; threads and processes may share it.

    Each thread of each process has a connection of its own, opened when it is first needed.

    Parameters
    ----------
    connect
        Opens a connection.
    failures
        What it raises where the database cannot be reached, or fails.
    mark
        How a statement marks a value.
    """

    def __init__(self, connect: Callable[[], Any], failures: type[Exception], mark: str) -> None:
        self._connect, self._failures, self._mark = connect, failures, mark
        self._of_thread = threading.local()
        self._prepare()
        self.close()  # none is open when a server forks

    def add(self, events: Iterable[Event]) -> int:
        """Store events; of several of a user and an item the latest stays.

        Returns
        -------
        int
            How many events came.

        Raises
        ------
        HistoryError
            If the database fails; then none of them is stored.
        """
        rows = [(_text(event.user), _text(event.item), event.time) for event in events]
        rows.sort()  # two writers that come at once wait for each other in the same order

        def insert(cursor: Any) -> int:
            cursor.executemany(self._marked(ADD), rows)
            return len(rows)

        return self._run(insert)

    def get(self, users: Sequence[Id]) -> dict[Id, list[Id]]:
        """The items that users consumed, the newest first, of users who consumed any; at most ``MAX_READ`` of each.

        Raises
        ------
        HistoryError
            If the database fails.
        """
        texts = {_text(user): user for user in users}

        def select(cursor: Any) -> dict[Id, list[Id]]:
            cursor.execute(self._marked(WHO.format(", ".join(["%s"] * len(texts)))), list(texts))
            found: dict[Id, list[Id]] = {}
            for (text,) in cursor.fetchall():
                cursor.execute(self._marked(GET), (text, MAX_READ))
                found[texts[text]] = [json.loads(item) for (item,) in cursor.fetchall()]
            return found

        return self._run(select) if texts else {}

    def events(self, since: float = 0) -> list[Event]:
        """All events after a moment, in seconds since 1970, the oldest first: what a model does not know yet.

        Raises
        ------
        HistoryError
            If the database fails.
        """

        def select(cursor: Any) -> list[Event]:
            cursor.execute(self._marked(SINCE), (since,))
            return [Event(json.loads(user), json.loads(item), time) for user, item, time in cursor.fetchall()]

        return self._run(select)

    def prune(self, until: float) -> int:
        """Remove the events up to a moment, in seconds since 1970, and say how many there were."""
        return self._change(PRUNE, until)

    def forget(self, user: Id | None = None, item: Id | None = None) -> int:
        """Remove all events of a user, or of an item, and say how many there were."""
        of = {"user": user, "item": item}
        return sum(self._change(FORGET[side], _text(one)) for side, one in of.items() if one is not None)

    def __len__(self) -> int:
        """How many events there are."""

        def count(cursor: Any) -> int:
            cursor.execute(COUNT)
            return int(cursor.fetchone()[0])

        return self._run(count)

    def close(self) -> None:
        """Close this thread's connection; another use opens it again."""
        mine = self._of_thread.__dict__
        connection = mine.pop("connection", None)
        if connection is not None and mine.pop("pid") == os.getpid():
            with suppress(self._failures):
                connection.close()

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close this thread's connection."""
        self.close()

    def _change(self, statement: str, value: object) -> int:
        def change(cursor: Any) -> int:
            cursor.execute(self._marked(statement), (value,))
            return int(cursor.rowcount)

        return self._run(change)

    def _prepare(self) -> None:
        """Make the tables, which another process may do at the same moment."""
        for pause_s in (0.1, 0.5, 0):
            try:
                return self._run(self._migrate)
            except HistoryError:
                if not pause_s:
                    raise
                time.sleep(pause_s)

    def _migrate(self, cursor: Any) -> None:
        for statement in TABLES:
            cursor.execute(statement)
        cursor.execute("SELECT MAX(version) FROM recolib_schema")
        version = cursor.fetchone()[0]
        if version is None:
            statement = "INSERT INTO recolib_schema (version) VALUES (%s) ON CONFLICT (version) DO NOTHING"
            cursor.execute(self._marked(statement), (SCHEMA_VERSION,))
        elif version > SCHEMA_VERSION:
            raise ValueError(
                f"the history store has schema {version}, and this recolib reads {SCHEMA_VERSION}: update recolib"
            )

    def _run(self, work: Callable[[Any], T]) -> T:
        """The result of some statements, all or none of which take effect; a lost connection is opened once more."""
        while True:
            mine = self._of_thread.__dict__
            is_new = mine.get("pid") != os.getpid()
            try:
                if is_new:
                    mine.update(connection=self._connect(), pid=os.getpid())
                result = work(mine["connection"].cursor())
                mine["connection"].commit()
                return result
            except BaseException as error:
                self.close()
                if not isinstance(error, self._failures):
                    raise
                if is_new:
                    raise HistoryError(f"the history store fails: {type(error).__name__}") from error

    def _marked(self, statement: str) -> str:
        return statement.replace("%s", self._mark)


def open_history(where: str | os.PathLike[str]) -> History:
    """Open a store of events; it is made if there is none.

    Parameters
    ----------
    where
        A file, for SQLite; or the address of a PostgreSQL database, such as ``postgresql://recolib@db/shop``, which
        needs psycopg 3: ``pip install "recolib[postgres]"``.

    Raises
    ------
    HistoryError
        If the database cannot be reached.
    ImportError
        If there is no psycopg.
    ValueError
        If a newer recolib made the store.

    Examples
    --------
    >>> import tempfile
    >>> from recolib.serving.history import Event
    >>> with tempfile.TemporaryDirectory() as folder, open_history(f"{folder}/events.sqlite") as history:
    ...     _ = history.add([Event("bob", 7, time=1.0), Event("bob", "b", time=2.0)])
    ...     history.get(["bob", "eve"])
    {'bob': ['b', 7]}
    """
    text = os.fspath(where)
    if text.startswith(("postgresql://", "postgres://")):
        return _open_postgres(text)
    file = local_path(where, "history")
    file.parent.mkdir(parents=True, exist_ok=True)

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(file, timeout=WAIT_S, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    return History(connect, sqlite3.Error, "?")


def _open_postgres(url: str) -> History:
    try:
        import psycopg
    except ImportError as error:
        raise ImportError('PostgreSQL needs psycopg: pip install "recolib[postgres]"') from error

    def connect() -> Any:
        return psycopg.connect(url, connect_timeout=WAIT_S, application_name="recolib")

    return History(connect, psycopg.Error, "%s")


def now() -> float:
    """Seconds since 1970."""
    return time.time()


def _text(one: Id) -> str:
    """An id as JSON, so that 7 and "7" are two."""
    return json.dumps(one)
