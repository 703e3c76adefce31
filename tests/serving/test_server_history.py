"""The store of events, in SQLite and, where there is one, in PostgreSQL."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from recolib.algorithms import SASRec
from recolib.data import DatasetPure
from recolib.datasets import make_movies
from recolib.serving import Event, History, HistoryError, create_app, open_history, publish, read_pointer

TOOLS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
ROOT = Path(__file__).parents[2]


def start_postgres(folder: Path) -> tuple[str, list[str | Path]]:
    """The address of a private PostgreSQL that runs in a folder, as another user where this is root."""
    found = shutil.which("pg_ctl", path=os.pathsep.join([*map(str, TOOLS), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip("there is no pg_ctl: apt-get install postgresql; or set RECOLIB_POSTGRES to a server's address")
    tools = Path(found).resolve().parent
    if os.name == "posix" and os.getuid() == 0:
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no runuser")
        shutil.chown(folder, "nobody")
        prefix = ["runuser", "-u", "nobody", "--"]
    else:
        prefix = []
    data, options = folder / "data", f"-c listen_addresses='' -k {folder} -c fsync=off"
    commands = (
        [tools / "initdb", "-D", data, "-U", "recolib", "-A", "trust", "-E", "UTF8"],
        [tools / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"],
    )
    for command in commands:
        done = subprocess.run([*prefix, *command], cwd="/", capture_output=True, text=True, timeout=120)
        if done.returncode:
            pytest.skip(f"{command[0].name} fails: {done.stderr.strip()[-300:]}")
    return f"postgresql://recolib@/postgres?host={folder}", [
        *prefix,
        tools / "pg_ctl",
        "-D",
        data,
        "-m",
        "fast",
        "stop",
    ]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server."""
    pytest.importorskip("psycopg", reason='there is no psycopg: pip install "recolib[postgres]"')
    if "RECOLIB_POSTGRES" in os.environ:
        yield os.environ["RECOLIB_POSTGRES"]
        return
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:  # the path of a socket must be short
        url, stop = start_postgres(Path(folder))
        yield url
        subprocess.run(stop, cwd="/", capture_output=True, timeout=60, check=True)


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "events.sqlite")
    import psycopg

    url = request.getfixturevalue("postgres")
    schema = f"s{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"


@pytest.fixture
def history(where: str) -> Iterator[History]:
    with open_history(where) as history:
        yield history


def test_the_newest_come_first_and_once(history: History) -> None:
    assert history.get([1]) == {}
    assert history.add([Event(1, "a", 1.0), Event(1, 7, 3.0), Event(1, "a", 2.0), Event("1", "b", 9.0)]) == 4
    assert history.get([1, "1", "nobody"]) == {1: [7, "a"], "1": ["b"]}
    history.add([Event(1, "a", 5.0), Event(1, 7, 0.5)])
    assert history.get([1]) == {1: ["a", 7]}
    assert len(history) == 3


def test_events_are_pruned_and_forgotten(history: History) -> None:
    history.add([Event(user, item, float(item)) for user in (1, "1", 2) for item in range(5)])
    assert history.prune(1.0) == 6
    assert history.get([2]) == {2: [4, 3, 2]}
    assert history.forget(user=1) == 3
    assert history.get([1, "1"]) == {"1": [4, 3, 2]}
    assert history.forget(item=4) == 2
    assert len(history) == 4


def test_events_come_back_in_the_order_of_their_times(history: History) -> None:
    events = [Event("1", "b", 4.5), Event(2, 7, 1.0), Event(1, "a", 3.0), Event(1, 7, 3.0)]
    history.add(events)
    assert history.events() == sorted(events, key=lambda event: (event.time, event.item != "a"))
    assert history.events(since=3.0) == [events[0]]
    assert history.events(since=4.5) == []


def test_ids_of_any_text_come_back(history: History) -> None:
    ids: list[int | str] = [
        -(2**63),
        2**63 - 1,
        "",
        "Zoë",
        "\0",
        "'; DROP TABLE recolib_events; --",
        "%s",
        "?",
        "😀" * 64,
    ]
    history.add([Event(one, one, 1.0) for one in ids])
    assert history.get(ids) == {one: [one] for one in ids}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 9)), max_size=20))
def test_a_store_is_a_dict_of_latest_times(history: History, events: list[tuple[int, int, int]]) -> None:
    history.prune(1e9)
    latest: dict[tuple[int, int], int] = {}
    for user, item, time in events:
        history.add([Event(user, item, float(time))])
        latest[user, item] = max(time, latest.get((user, item), 0))
    found = history.get(range(4))
    for user in range(4):
        own = [item for one, item in latest if one == user]
        assert found.get(user, []) == sorted(own, key=lambda item: (-latest[user, item], str(item)))


def test_threads_share_a_store(history: History) -> None:
    def write(n: int) -> None:
        for k in range(20):
            history.add([Event(n, k, float(k)), Event("all", 100 * n + k, float(k))])
        history.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(history) == 6 * 40
    assert len(history.get(["all"])["all"]) == 120


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no forks")
def test_a_forked_process_opens_a_connection_of_its_own(history: History) -> None:
    history.add([Event("parent", 1, 1.0)])
    child = multiprocessing.get_context("fork").Process(target=history.add, args=([Event("child", 2, 1.0)],))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert history.get(["parent", "child"]) == {"parent": [1], "child": [2]}


WRITER = """
import sys
from recolib.serving import Event, open_history
history = open_history(sys.argv[1])
n = 0
while True:
    history.add([Event("killed", n, float(n)), Event("twin", n, float(n))])
    print(n, flush=True)
    n += 1
"""


def test_a_pointer_says_no_earlier_moment_than_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "m1.safetensors").touch()
    for n in range(50):
        moment = 1.7e9 + n * 2**-22  # the resolution of such a number, finer than microseconds
        until = read_pointer(publish(tmp_path / "CURRENT", "m1.safetensors", moment)).data_until
        assert until is not None
        assert moment <= until < moment + 2e-6


def test_a_model_of_sequences_has_stored_items_in_their_order_and_those_of_the_request_behind(tmp_path: Path) -> None:
    data, info = DatasetPure.build_trainset(make_movies(n_users=60, n_items=50, n_ratings=1200).assign(label=1))
    model = SASRec("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0)
    pointer = publish(tmp_path / "CURRENT", model.save(tmp_path, "m1"))
    items = [info.id2item[code] for code in (5, 40, 20, 33, 12)]
    with open_history(tmp_path / "events.sqlite") as history:
        history.add(Event("new", item, float(n)) for n, item in enumerate(items[:3]))
    with TestClient(create_app(pointer, history=tmp_path / "events.sqlite")) as client:
        answer = client.post("/v1/recommend", json={"users": ["new"], "history": items[3:]}).json()
        asked = {"user": "new", "item": info.id2item[7], "history": items[3:]}
        reasons = client.post("/v1/explain", json=asked).json()
    assert reasons["reads_history"]
    logit = model.explain("new", info.id2item[7], history=items).attrs["logit"]
    assert reasons["logit"] == pytest.approx(logit, abs=1e-4)
    shown = [one["item"] for one in answer["results"][0]["items"]]
    expected, reverse = (model.recommend_user("new", 10, history=one)["new"].tolist() for one in (items, items[::-1]))
    assert shown == expected != reverse


def test_kill_9_leaves_each_stored_event_whole(where: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, where],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(200)]
        writer.kill()
    with open_history(where) as history:
        found = history.get(["killed", "twin"])
    assert found["killed"] == found["twin"]
    assert set(map(int, told)) <= set(found["killed"])


def test_a_newer_schema_is_refused(where: str) -> None:
    with open_history(where) as history:
        history._run(lambda cursor: cursor.execute("INSERT INTO recolib_schema (version) VALUES (2)"))
    with pytest.raises(ValueError, match="schema 2, and this recolib reads 1"):
        open_history(where)


def test_a_failing_store_says_so_without_its_address(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but text of more than a hundred bytes. " * 4)
    with pytest.raises(HistoryError, match="the history store fails: DatabaseError"):
        open_history(tmp_path / "text")
    with pytest.raises(ValueError, match="is an address"):
        open_history("s3://bucket/events")


def test_a_lost_connection_is_opened_again(postgres: str, where: str, history: History) -> None:
    if not where.startswith("postgresql"):
        pytest.skip("SQLite has no server that could go")
    history.add([Event(1, 2, 3.0)])
    import psycopg

    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'recolib'"

    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(end)
    assert history.get([1]) == {1: [2]}


def test_sqlite_is_read_while_it_is_written(tmp_path: Path) -> None:
    with open_history(tmp_path / "events.sqlite") as history:
        history.add([Event(1, 2, 3.0)])
        other = sqlite3.connect(tmp_path / "events.sqlite")
        other.execute("BEGIN IMMEDIATE")
        assert history.get([1]) == {1: [2]}
        other.close()
