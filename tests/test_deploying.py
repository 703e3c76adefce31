"""The pieces of the page on threads and workers, as a reader runs them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import recolib
from recolib.algorithms import DeepFM
from recolib.data import DatasetPure
from recolib.datasets import make_movies

PAGE = Path(__file__).parents[1] / "docs" / "deploying.md"
PIECES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
N_USERS = 250


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pieces and the model that they read."""
    folder = tmp_path_factory.mktemp("app")
    data, info = DatasetPure.build_trainset(make_movies(n_users=N_USERS, n_items=2000, n_ratings=5000))
    model = DeepFM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    model.save(folder / "models", "movies")
    for name, code in PIECES.items():
        (folder / name).write_text(code, "utf-8")
    return folder


@contextmanager
def served(folder: Path, *command: str) -> Iterator[str]:
    """The address at which a server listens that a command starts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = tuple(part.format(address=address, port=address.rpartition(":")[2]) for part in command)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield f"http://{address}/"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def ask(url: str, timeout_s: float = 60) -> Any:
    """What a server answers, which may have to start first."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


SERVERS: dict[str, Sequence[str]] = {
    "gunicorn": ["gunicorn", "--preload", "--workers", "2", "--bind", "{address}", "app:app"],
    "gunicorn in threads": [
        *["gunicorn", "--preload", "--workers", "2", "--threads", "4", "--bind", "{address}", "app:app"],
    ],
    "uvicorn": ["uvicorn", "--workers", "2", "--lifespan", "off", "--port", "{port}", "service:app"],
}


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
@pytest.mark.parametrize("name", SERVERS)
def test_every_worker_of_a_server_answers(folder: Path, name: str) -> None:
    program = SERVERS[name][0]
    if importlib.util.find_spec(program) is None:
        pytest.skip(f"{program} is not installed: pip install {program}")
    model = recolib.load(folder / "models" / "movies.safetensors")
    users = [model.data_info.id2user[code] for code in range(1, 41)]
    with served(folder, *SERVERS[name]) as url:
        for user in users:
            assert ask(f"{url}?user={user}") == model.recommend_user(user, 5)[user].tolist()


def test_pools_answer_however_they_are_started(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "lists.py"], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=180
    )
    assert set(done.stdout.split()) == {str(N_USERS)}, done.stderr


def test_joblib_sends_models(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "search.py"], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=180
    )
    assert done.stdout.split() == [str(5 * N_USERS)] * 3, done.stderr


def test_all_pieces_are_run() -> None:
    assert PIECES.keys() == {"app.py", "service.py", "lists.py", "search.py"}
