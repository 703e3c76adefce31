"""What the tests of the server and of the command line share: small models, and servers in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recolib.algorithms import FM
from recolib.data import DatasetFeat
from recolib.recommender import Recommender

ROOT = Path(__file__).parents[1]
N_USERS, N_ITEMS = 60, 40
STARTS_S = 90


def shop(prefix: str = "", seed: int = 0) -> pd.DataFrame:
    """Events of a shop with features of all kinds, and ids of both kinds: 7 and "7" are two users."""
    rng = np.random.default_rng(seed)
    users: list[int | str] = [*range(1, N_USERS // 2), "7", "Zoë", *(f"u{n}" for n in range(N_USERS // 2))]
    items: list[int | str] = (
        [*range(100, 100 + N_ITEMS // 2), *(f"i{n}" for n in range(N_ITEMS // 2))]
        if not prefix
        else [f"{prefix}{n}" for n in range(N_ITEMS)]
    )
    frame = pd.DataFrame(
        {
            "user": pd.Series([users[n] for n in rng.integers(len(users), size=1500)], dtype=object),
            "item": pd.Series([items[n] for n in rng.integers(len(items), size=1500)], dtype=object),
            "label": 1,
            "hour": rng.integers(0, 24, 1500),
        }
    ).drop_duplicates(["user", "item"])
    age = {user: int(rng.integers(18, 70)) for user in users}
    kinds = {item: n for n, item in enumerate(items)}
    code = frame["item"].map(kinds)
    return frame.assign(
        age=frame["user"].map(age),
        genre=code.map(lambda n: ["drama", "comedy", "war"][n % 3]),
        tags=code.map(lambda n: [f"t{n % 4}", "all"]),
        price=code.map(lambda n: 1.5 * n),
        title=code.map(lambda n: f"The Café No. {n}"),
    )


def shop_model(frame: pd.DataFrame, seed: int = 42) -> Recommender:
    """A model of a shop, hardly trained."""
    data, info = DatasetFeat.build_trainset(
        frame,
        user_col=["age"],
        item_col=["genre", "tags", "price"],
        context_col=["hour"],
        sparse_col=["genre", "hour"],
        dense_col=["age", "price"],
        multi_sparse_col=["tags"],
        display_col=["title"],
    )
    return FM("ranking", info, n_epochs=3, embed_size=8, seed=seed).fit(data, neg_sampling=True, verbose=0)


@contextmanager
def served(
    folder: Path, *command: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address at which a command serves, once it is ready, and its process. ``{port}`` in it is the port's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *(part.format(port=port) for part in command)],
            cwd=folder,
            env=variables | dict(environment or {}),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + STARTS_S
        while True:
            try:
                if ask(f"{url}/readyz")[0] == 200:
                    break
            except OSError:
                pass
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.1)
        yield url, process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def ask(url: str, body: object = None, token: str | None = None) -> tuple[int, Any]:
    """Status and answer of a request."""
    headers = {"Content-Type": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
            content, status = answer.read(), answer.status
    except urllib.error.HTTPError as error:
        content, status = error.read(), error.code
    try:
        return status, json.loads(content)
    except ValueError:
        return status, content.decode()
