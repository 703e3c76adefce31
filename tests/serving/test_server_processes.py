"""Servers in processes of their own: workers, forked or spawned, and how they end."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import recolib
from recolib.serving import open_history, publish
from tests.servers import ask, served

SERVERS = {
    "uvicorn": ["-m", "uvicorn", "--factory", "recolib.serving:from_environment", "--port", "{port}"],
    "uvicorn with spawned workers": [
        *["-m", "uvicorn", "--factory", "recolib.serving:from_environment", "--port", "{port}", "--workers", "2"],
    ],
    "gunicorn with forked workers": [
        *["-m", "gunicorn", "--preload", "-k", "asgi", "--workers", "2", "--bind", "127.0.0.1:{port}"],
        "recolib.serving:from_environment()",
    ],
}


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
@pytest.mark.parametrize("name", [name for name in SERVERS if "workers" in name])
def test_every_worker_answers_stores_and_changes_over(pointer: Path, tmp_path: Path, name: str) -> None:
    program = SERVERS[name][1]
    if importlib.util.find_spec(program) is None:
        pytest.skip(f"{program} is not installed: pip install {program}")
    model = recolib.load(pointer.parent / "m1.safetensors")
    own = publish(tmp_path / "CURRENT", model.save(tmp_path, "m1"))
    numbers = tmp_path / "numbers"
    numbers.mkdir()
    environment = {"RECOLIB_POINTER": str(own), "RECOLIB_HISTORY": str(tmp_path / "events.sqlite")}
    environment["PROMETHEUS_MULTIPROC_DIR"] = str(numbers)
    users = [model.data_info.id2user[code] for code in range(1, 31)]
    with served(tmp_path, *SERVERS[name], environment=environment) as (url, _):
        for user in users:
            status, answer = ask(f"{url}/v1/recommend", {"users": [user], "n_rec": 5})
            assert status == 200
            items = [one["item"] for one in answer["results"][0]["items"]]
            assert items == model.recommend_user(user, 5)[user].tolist()
            assert ask(f"{url}/v1/events", {"events": [{"user": user, "item": items[0]}]}) == (200, {"stored": 1})
            answer = ask(f"{url}/v1/recommend", {"users": [user], "n_rec": 5})[1]  # of any worker
            assert items[0] not in [one["item"] for one in answer["results"][0]["items"]]
        text = ask(f"{url}/metrics")[1]  # of any worker, for all of them
        assert f'recolib_requests_total{{route="/v1/recommend",status="200"}} {2 * len(users)}.0' in text
        assert f"recolib_events_total {len(users)}.0" in text
        publish(own, model.save(tmp_path, "m2"))
        end = time.monotonic() + 30
        n_new = 0
        while n_new < 20:  # in a row: of all workers
            n_new = n_new + 1 if ask(f"{url}/readyz")[1]["model_version"] == "m2" else 0
            assert time.monotonic() < end


def test_what_was_accepted_before_sigterm_is_answered(pointer: Path, tmp_path: Path) -> None:
    body = json.dumps({"users": [3], "n_rec": 5, "history": [101, "i3"]}).encode()
    head = b"POST /v1/recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    environment = {"RECOLIB_POINTER": str(pointer)}
    with served(tmp_path, *SERVERS["uvicorn"], environment=environment) as (url, process):
        host, port = url.removeprefix("http://").split(":")
        connections = [socket.create_connection((host, int(port)), timeout=30) for _ in range(40)]
        for connection in connections:
            connection.sendall(head % len(body) + body)
        while ask(f"{url}/metrics")[1].count("recolib_requests_in_flight 1.0") and not _n_done(url):
            time.sleep(0.01)  # the first of them are read
        process.send_signal(signal.SIGTERM)
        answers = [_read(connection) for connection in connections]
        assert process.wait(30) in (0, -signal.SIGTERM)
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 40
    with pytest.raises(ConnectionError):
        socket.create_connection((host, int(port)))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_kill_9_leaves_what_was_acknowledged(pointer: Path, tmp_path: Path) -> None:
    store = tmp_path / "events.sqlite"
    environment = {"RECOLIB_POINTER": str(pointer), "RECOLIB_HISTORY": str(store)}
    told: list[int] = []
    with served(tmp_path, *SERVERS["uvicorn"], environment=environment) as (url, process):

        def write() -> None:
            with suppress(OSError, http.client.HTTPException):
                while True:
                    body = {"events": [{"user": len(told), "item": f"a{n}"} for n in range(5)]}
                    assert ask(f"{url}/v1/events", body) == (200, {"stored": 5})
                    told.append(len(told))

        thread = threading.Thread(target=write)
        thread.start()
        while len(told) < 20:
            time.sleep(0.01)
        process.kill()
        thread.join()
    with open_history(store) as history:
        assert all(len(history.get([user])[user]) == 5 for user in told)
        assert len(history) in (5 * len(told), 5 * len(told) + 5)  # all or none of the last one's
    recolib.load(pointer.parent / "m1.safetensors")
    with served(tmp_path, *SERVERS["uvicorn"], environment=environment) as (url, _):
        assert ask(f"{url}/v1/recommend", {"users": [1]})[0] == 200


def _n_done(url: str) -> int:
    text: str = ask(f"{url}/metrics")[1]
    return text.count('recolib_requests_total{route="/v1/recommend"')


def _read(connection: socket.socket) -> bytes:
    answer = b""
    with connection:
        while b'"items"' not in answer and (more := connection.recv(65536)):
            answer += more
    return answer


@pytest.mark.slow
def test_a_crowd_gets_200_or_503_and_memory_stays(pointer: Path, tmp_path: Path) -> None:
    environment = {"RECOLIB_POINTER": str(pointer), "RECOLIB_QUEUE": "64"}
    codes: dict[int, int] = {}
    lock = threading.Lock()

    def come(url: str, n: int) -> None:
        for k in range(20):
            status, _ = ask(f"{url}/v1/recommend", {"users": [n, f"x{k}"], "n_rec": 20, "max_per_group": {"genre": 9}})
            with lock:
                codes[status] = codes.get(status, 0) + 1

    def resident_kb(process: Any) -> int:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])

    if not os.path.exists("/proc/self/status"):
        pytest.skip("there is no /proc")
    with served(tmp_path, *SERVERS["uvicorn"], environment=environment) as (url, process):
        sizes = []
        for _ in range(4):
            threads = [threading.Thread(target=come, args=(url, n)) for n in range(150)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            sizes.append(resident_kb(process))
        assert set(codes) <= {200, 503}
        assert codes[200] > 0
        assert sizes[-1] < 1.05 * sizes[1]
