from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import next_item, sequences
from benchmarks.next_item import PARTS, K, Record, Task, Watch
from benchmarks.own import sequences as own
from benchmarks.protocol import ROOT

N_USERS, N_ITEMS = 30, 25


@pytest.fixture
def task() -> Task:
    """Each user has six distinct items: four train, and one each validates and tests."""
    rng = np.random.default_rng(0)
    items = np.stack([rng.permutation(N_ITEMS)[:6] for _ in range(N_USERS)])
    order = rng.permutation(4 * N_USERS)
    return Task(np.repeat(np.arange(N_USERS), 4)[order], items[:, :4].ravel()[order], items[:, 4], items[:, 5])


@pytest.mark.parametrize("part", PARTS)
def test_lists_are_the_best_of_what_a_user_did_not_have(task: Task, part: str) -> None:
    scores = np.random.default_rng(1).normal(size=(N_USERS, N_ITEMS))
    lists = task.top(part, lambda users: scores[users])
    for user, found in enumerate(lists):
        had = {*task.item[task.user == user].tolist()} | ({int(task.valid[user])} if part == "test" else set())
        assert found == sorted({*range(N_ITEMS)} - had, key=lambda item: -scores[user, item])[:K]


def test_what_validates_is_the_latest_before_the_test(task: Task) -> None:
    users, items = task.known("test")
    assert [items[users == user][-1] for user in range(N_USERS)] == task.valid.tolist()
    assert len(task.known("valid")[0]) == 4 * N_USERS


def test_lists_do_not_count_as_training(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(next_item.time, "perf_counter", lambda: now[0])
    watch = Watch(limit_s=5)

    def lists(_: str) -> list[list[int]]:
        now[0] += 10
        return [[1]]

    now[0] += 4
    assert watch.measure(1, lists) == {"epoch": 1, "train_s": 4, "lists_s": 10, "valid": [[1]], "test": [[1]]}
    assert (watch.train_s, watch.is_over) == (4, False)
    now[0] += 2
    assert watch.is_over


@pytest.mark.parametrize(("model", "settings"), [("EASE", {}), ("SASRec", {"num_neg": "all", "n_epochs": 1})])
def test_our_side_answers_with_lists_of_both_parts(task: Task, tmp_path: Path, model: str, settings: Record) -> None:
    file = tmp_path / "task.npz"
    np.savez(file, user=task.user, item=task.item, valid=task.valid, test=task.test)
    how = {"settings": settings, "seed": 0, "step": 1, "threads": 1, "limit_s": 60, "file": str(file)}
    record, memory = own.work({**how, "model": model})
    assert [np.shape(record[part]) for part in PARTS] == [(N_USERS, K)] * 2
    assert memory["peak_mib"] > 0
    for part in PARTS:
        users, items = task.known(part)
        assert not any({*items[users == user].tolist()} & {*found} for user, found in enumerate(record[part]))


def test_each_method_has_its_module_and_environment(tmp_path: Path) -> None:
    for name, method in sequences.METHODS.items():
        module, environment = ((sequences.OURS | method)[key] for key in ("module", "environment"))
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists()
        python = sequences.interpreter(name, tmp_path)
        if environment:
            assert (ROOT / "benchmarks" / "peers" / f"{environment}.txt").exists()
            assert python == tmp_path / environment / "bin" / "python"
        else:
            assert str(python) == sys.executable
            assert importlib.util.find_spec(module) is not None


def test_the_table_shows_parts_of_epochs() -> None:
    cost = {"train_s": 1234.5, "lists_s": 2.0, "test": {"hit_rate": 0.25, "ndcg": 0.125}}
    table = sequences.as_table({"a": {"epoch": 130, **cost}, "b": {"epoch": 0.412, **cost}})
    assert "| a | 0.2500 | 0.1250 | 130 | 1,234 | 2 s |" in table
    assert "| b | 0.2500 | 0.1250 | 0.412 | 1,234 | 2 s |" in table
