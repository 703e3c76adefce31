"""Forked workers answer, whatever their parent did before and holds at the moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from forks import forked
from tqdm.auto import tqdm  # of which recolib's bars are

from recolib import evaluate
from recolib.algorithms import FM, DeepFM
from recolib.caching import KeyedCache, Lock
from recolib.data import DatasetPure
from recolib.datasets import make_movies
from recolib.randomness import seeded

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),  # of Python, from 3.12 on
]
TIMEOUT_S = 30


def in_child(work: Callable[[], Any]) -> int | None:
    """The exit code of a forked process that does some work: 0 if it went well; None if it hung."""
    child = forked(work)
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@pytest.fixture(scope="module")
def world() -> Any:
    frame = make_movies(n_users=100, n_items=300, n_ratings=3000)
    return frame, *DatasetPure.build_trainset(frame)


@pytest.fixture(scope="module")
def model(world: Any) -> DeepFM:
    _, data, info = world
    return DeepFM("ranking", info, n_epochs=1, hidden_units=(16,)).fit(data, neg_sampling=True, verbose=0)


PARENT = """
import os, sys, warnings
import torch
from recolib import evaluate
from recolib.algorithms import FM, DeepFM
from recolib.ann import Retriever
from recolib.data import DatasetPure
from recolib.datasets import make_movies

warnings.simplefilter("ignore")
torch.set_num_threads(2)
frame = make_movies(n_users=200, n_items=2000, n_ratings=5000)
data, info = DatasetPure.build_trainset(frame)
x = torch.rand(1000, 1000)
x @ x  # the threads of torch are there
users = list(info.id2user.values())
"""
FITTED = """
model = DeepFM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
lists = model.recommend(n_rec=5, verbose=0)
"""
WORK = {
    "lists": FITTED
    + "work = lambda: (model.recommend(n_rec=5, verbose=0)['item'] == lists['item']).mean() > 0.99 or 1 / 0",  # ties
    "pairs": FITTED + "work = lambda: model.predict(users, info.popular_items[:1] * len(users))",
    "evaluate": FITTED + "work = lambda: evaluate(model, frame.head(1000), True, metrics=['loss', 'ndcg'])",
    "fit": FITTED + "work = lambda: model.fit(data, True, verbose=1)",
    "update": FITTED + "work = lambda: model.update(frame.head(99), True, verbose=0)",
    "a first fit": "work = lambda: FM('ranking', info, n_epochs=1).fit(data, True, verbose=0)",
    "data": "work = lambda: DatasetPure.build_trainset(frame)",
    "index": FITTED
    + """
retriever = Retriever(model, index="hnsw", n_candidates=100)
model.recommend_user(users, 5, retriever=retriever)
work = lambda: (model.recommend_user(users, 5, retriever=retriever), Retriever(model, index="hnsw"))
""",
}
CHILD = """
if os.fork() == 0:
    work()
    print("well", torch.get_num_threads(), flush=True)
    os._exit(0)
print(os.wait()[1], torch.get_num_threads())
"""


@pytest.mark.parametrize("name", WORK)
def test_a_child_of_a_parent_with_two_threads_works_with_one(name: str) -> None:
    if name == "index":
        pytest.importorskip("faiss")
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    before = "import faiss\n" if name == "index" else ""  # which then has an OpenMP of its own
    command = [sys.executable, "-c", before + PARENT + WORK[name] + CHILD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout.split() == ["well", "1", "0", "2"], done.stderr


def test_a_child_may_have_more_threads_if_it_says_so() -> None:
    """Those of torch were not started before."""
    code = textwrap.dedent("""
        import os, torch, recolib
        torch.set_num_threads(2)
        if os.fork() == 0:
            torch.set_num_threads(2)
            x = torch.rand(1000, 1000)
            (x @ x).sum()
            print(torch.get_num_threads(), flush=True)
            os._exit(0)
        os.wait()
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["2"], done.stderr


# ---- a fork while another thread holds a lock


def while_held(hold: Callable[[threading.Event, threading.Event], None], work: Callable[[], Any]) -> int | None:
    """``in_child`` while another thread is within something that it begins by an event, and ends by the other."""
    inside, go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=hold, args=(inside, go_on))
    thread.start()
    assert inside.wait(TIMEOUT_S)
    try:
        return in_child(work)
    finally:
        go_on.set()
        thread.join()


def test_a_value_that_another_thread_makes_is_made_by_the_child() -> None:
    cache: KeyedCache[int] = KeyedCache()

    def hold(inside: threading.Event, go_on: threading.Event) -> None:
        cache.get("key", lambda: inside.set() or go_on.wait(TIMEOUT_S) or 1)

    assert while_held(hold, lambda: cache.get("key", lambda: 2)) == 0


def test_a_lock_that_another_thread_holds_is_open_in_the_child_and_its_child() -> None:
    lock = Lock()

    def hold(inside: threading.Event, go_on: threading.Event) -> None:
        with lock.held():
            inside.set()
            go_on.wait(TIMEOUT_S)

    def take() -> None:
        with lock.held():
            assert in_child(lambda: lock.held().__enter__()) == 0

    assert while_held(hold, take) == 0


def test_a_child_answers_while_a_thread_of_the_parent_makes_states(world: Any, monkeypatch: Any) -> None:
    _, data, info = world
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    engine, encode = model.engine, type(model.engine)._encode
    main = threading.main_thread()
    inside, go_on = threading.Event(), threading.Event()

    def slow(self: Any, *args: Any) -> Any:
        if threading.current_thread() is not main:
            inside.set()
            go_on.wait(TIMEOUT_S)
        return encode(self, *args)

    monkeypatch.setattr(type(engine), "_encode", slow)
    user = info.id2user[1]
    thread = threading.Thread(target=model.recommend_user, args=(user, 3))
    thread.start()
    assert inside.wait(TIMEOUT_S)
    code = in_child(lambda: model.recommend_user(user, 3))
    go_on.set()
    thread.join()
    assert code == 0


def test_a_child_trains_and_measures_while_threads_of_the_parent_do(world: Any, model: DeepFM) -> None:
    frame, data, info = world
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            FM("ranking", info, n_epochs=1).fit(data.take(np.arange(200)), neg_sampling=True, verbose=1)
            model.recommend(n_rec=3, verbose=1)

    def work() -> None:
        model.fit(data, neg_sampling=True, verbose=1)
        model.add_items(pd.DataFrame({"item": [10**6]}))
        evaluate(model, frame.head(300), True, metrics=["loss", "ndcg"])
        with seeded(torch.device("cpu"), 1, all_code=True):
            torch.nn.functional.dropout(torch.ones(9), 0.5)

    threads = [threading.Thread(target=busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert [in_child(work) for _ in range(3)] == [0] * 3
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("held", ["th_lock", "mp_lock", "both"])
def test_a_bar_that_another_thread_draws_does_not_stop_the_child(world: Any, held: str) -> None:
    """Nor does the child keep the lock between processes, so that the parent waits for ever."""
    _, data, info = world
    tqdm(disable=True).close()
    lock = tqdm.get_lock() if held == "both" else getattr(tqdm.get_lock(), held)

    def hold(inside: threading.Event, go_on: threading.Event) -> None:
        with lock:
            inside.set()
            go_on.wait(TIMEOUT_S)

    fit = FM("ranking", info, n_epochs=1).fit
    assert while_held(hold, lambda: fit(data, neg_sampling=True, verbose=1)) == 0
    assert in_child(lambda: fit(data, neg_sampling=True, verbose=1)) == 0
    fit(data, neg_sampling=True, verbose=1)


def test_a_bars_lock_that_nobody_holds_stays_that_of_all_processes() -> None:
    tqdm(disable=True).close()
    ids = [id(lock) for lock in tqdm.get_lock().locks]
    assert in_child(lambda: [id(lock) for lock in tqdm.get_lock().locks] == ids or 1 / 0) == 0
