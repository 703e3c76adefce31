from __future__ import annotations

import json
import math
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.generated import tastes_frame
from benchmarks.lists import page, runs
from benchmarks.lists.methods import LARGE, METHODS, OURS, Method
from benchmarks.lists.runs import Kept, make, mean, missing, seconds_to, to_run
from benchmarks.lists.sets import SETS, DataSet, Frames, by_user, liked, write
from benchmarks.lists.task import MISSING, Relevant, Task, Watch, ndcg, recall
from benchmarks.own import baselines
from benchmarks.own import lists as own
from benchmarks.protocol import Record, ask
from recolib import algorithms
from recolib.data import DatasetPure
from recolib.datasets import make_movies


@pytest.fixture
def made() -> DataSet:
    """Few made-up movies."""
    columns = {"user_col": ["sex"], "item_col": ["genre1"], "sparse_col": ["sex", "genre1"]}
    return DataSet("made", lambda: by_user(liked(make_movies(n_users=60, n_items=40, n_ratings=900))), columns)


def request(folder: Path, **told: Any) -> Record:
    """What a side is asked."""
    asked = {"folder": str(folder), "columns": {}, "settings": {}, "seed": 0, "threads": 1}
    return asked | {"patience": 5, "limit_s": 60} | told


# ---- what lists are worth


def test_metrics_are_those_worked_by_hand() -> None:
    lists = np.array([[3, 1, 2], [0, 1, 2], [5, 4, MISSING], [0, 1, 2]])
    relevant = Relevant.of([[1], [0, 2, 9, MISSING], [MISSING], []])
    hits = relevant.hits(lists)
    assert hits.tolist() == [[False, True, False], [True, False, True], [False] * 3, [False] * 3]
    sizes = np.diff(relevant.starts)
    first = 1 / math.log2(3)
    second = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3) + 1 / math.log2(4))
    assert ndcg(hits, sizes, 3) == pytest.approx((first + second + 0) / 3)  # the last list has nothing relevant
    assert recall(hits, sizes, 3) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_an_item_that_training_lacks_hits_no_empty_place() -> None:
    assert not Relevant.of([[MISSING], [MISSING]]).hits(np.full((2, 4), MISSING)).any()


def test_lists_leave_out_training_and_end_where_nothing_is_left() -> None:
    task = Task(
        np.array([0, 1, 1, 1]), np.array([2, 0, 1, 2]), np.array([1, 0]), Relevant.of([[], []]), Relevant.of([[], []])
    )
    scores = np.array([[0.1, 0.3, 0.2], [0.1, 0.3, 0.2]])
    lists = task.top(lambda users: scores[users])
    assert lists.tolist() == [[MISSING] * 3, [1, 0, MISSING]]


def test_a_task_comes_back_from_its_file(tmp_path: Path, made: DataSet) -> None:
    sizes = write(made, tmp_path)
    task = Task.read(tmp_path)
    assert (task.n_users, task.n_items, len(task.users)) == (sizes["users"], sizes["items"], sizes["pairs"])
    assert (len(task.valid.items), len(task.test.items)) == (sizes["valid"], sizes["test"])


def test_a_training_ends_after_its_patience_or_its_time(made: DataSet, tmp_path: Path) -> None:
    write(made, tmp_path)
    task = Task.read(tmp_path)
    watch = Watch(task, {"threads": 1, "patience": 2, "limit_s": 60})
    lists = task.top(lambda users: np.random.default_rng(0).random((len(users), task.n_items)))
    over = list[bool]()
    for epoch in range(3):
        assert not watch.is_over
        watch.measure(epoch, lambda: lists)
        over.append(watch.is_over)
    assert over == [False, False, True]  # the first is the best of equals
    watch = Watch(task, {"threads": 1, "patience": 2, "limit_s": 0})
    assert not watch.is_over
    watch.measure(1, lambda: lists)
    assert watch.is_over


# ---- data sets


def test_users_with_five_positives_are_split_in_order() -> None:
    frame = pd.DataFrame({"user": [1] * 10 + [2] * 4 + [3] * 5, "item": range(19), "time": range(18, -1, -1)})
    for by_time in (False, True):
        parts = by_user(frame, by_time)
        counts = [part.groupby("user").size().to_dict() for part in parts]
        assert counts == [{1: 7, 3: 4}, {1: 1}, {1: 2, 3: 1}]
        assert sorted(pd.concat(parts)["item"]) == [*range(10), *range(14, 19)]
    latest = by_user(frame, True)
    assert latest.test.query("user == 1")["item"].tolist() == [1, 0]
    assert by_user(frame).test.query("user == 1")["item"].tolist() != [1, 0]


def test_files_have_codes_and_a_list_for_each_user_and_context(tmp_path: Path) -> None:
    train = pd.DataFrame({"user": [7, 7, 9], "item": [20, 20, 30], "hour": [1, 2, 1], "label": 1})
    valid = pd.DataFrame({"user": [7], "item": [30], "hour": [2], "label": 1})
    test = pd.DataFrame({"user": [7, 9, 9, 11], "item": [30, 20, 99, 20], "hour": [2, 5, 5, 1], "label": 1})
    write(DataSet("", lambda: Frames(train, valid, test), {"context_col": ["hour"]}), tmp_path)
    task = Task.read(tmp_path)
    assert [*zip(task.users, task.items, strict=True)] == [(0, 0), (1, 1)]  # a pair is there once
    assert len(pd.read_csv(tmp_path / "train.csv")) == 3
    assert pd.read_csv(tmp_path / "queries.csv").to_numpy().tolist() == [[0, 2], [1, 5]]
    assert np.diff(task.valid.starts).tolist() == [1, 0]
    assert task.test.items.tolist() == [1, MISSING, 0]  # 99 is relevant, but nobody can have it in a list


def test_tastes_are_pairs_that_follow_popularity_and_category() -> None:
    frame = tastes_frame(n_users=200, n_items=400, mean_size=30)
    assert not frame.duplicated(["user", "item"]).any()
    counts = np.sort(np.bincount(frame["item"], minlength=400))[::-1]
    assert counts[:40].sum() > 0.2 * counts.sum()
    of_segment = frame.groupby("segment")["category"].agg(lambda values: values.value_counts(normalize=True).iloc[0])
    assert of_segment.mean() > 0.1  # of 40 categories


# ---- sides


def answers(work: Any, asked: Record) -> list[Record]:
    """What a side yields."""
    return [*work(asked)]


def test_ease_is_its_closed_form_and_popularity_counts(tmp_path: Path, made: DataSet) -> None:
    write(made, tmp_path)
    task = Task.read(tmp_path)
    seen = np.zeros((task.n_users, task.n_items))
    seen[task.users, task.items] = 1
    inverse = np.linalg.inv(seen.T @ seen + 50 * np.eye(task.n_items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    everyone = np.arange(task.n_users)
    np.testing.assert_allclose(baselines.ease(task, reg=50)(everyone), seen @ weights, atol=1e-5)
    np.testing.assert_array_equal(baselines.popular(task)(everyone[:2]), np.tile(seen.sum(0), (2, 1)))
    record, last = answers(baselines.work, request(tmp_path, model="ease", settings={"reg": 50}))
    assert 0 < record["ndcg"] < 1
    assert 0 < record["coverage"] <= 1
    assert last["peak_mib"] > 0


def test_ours_is_measured_after_each_epoch_and_with_defaults_at_the_end(tmp_path: Path, made: DataSet) -> None:
    write(made, tmp_path)
    settings = {"num_neg": "all", "loss_type": "softmax", "embed_size": 4, "lr": 0.05, "n_epochs": 3}
    *records, _ = answers(own.work, request(tmp_path, model="FM", settings=settings))
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert records[0]["train_s"] < records[1]["train_s"] < records[2]["train_s"]
    *stopped, _ = answers(own.work, request(tmp_path, model="FM", settings=settings, limit_s=0))
    assert len(stopped) == 1
    *records, _ = answers(own.work, request(tmp_path, model="FM"))
    assert len(records) == 1
    *records, _ = answers(own.work, request(tmp_path, model="NFM", settings=settings, columns=made.columns))
    assert len(records) == 3
    *records, _ = answers(own.work, request(tmp_path, model="EASE", settings={"history": "recent"}))
    assert [record["epoch"] for record in records] == [1]


def test_lists_are_asked_for_with_their_contexts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"user": np.repeat(np.arange(40), 12), "hour": np.tile([0, 1], 240), "label": 1})
    frame["item"] = frame["hour"] * 20 + rng.integers(0, 20, len(frame))  # an hour has its own items
    frame = frame.drop_duplicates(["user", "item"])
    data_set = DataSet("", lambda: by_user(frame), {"context_col": ["hour"], "sparse_col": ["hour"]})
    write(data_set, tmp_path)
    task, queries = Task.read(tmp_path), pd.read_csv(tmp_path / "queries.csv")
    data, info = own.DatasetFeat.build_trainset(pd.read_csv(tmp_path / "train.csv"), **data_set.columns)
    model = algorithms.FM("ranking", info, lr=0.05, n_epochs=20, num_neg="all", loss_type="softmax", use_bn=False)
    lists = own.lists_of(model.fit(data, True, 0), task, queries)
    items = np.unique(by_user(frame).train["item"])
    assert (np.where(items[lists[:, 0]] >= 20, 1, 0) == queries["hour"]).mean() > 0.9


# ---- methods and runs


@pytest.mark.parametrize("name", OURS)
def test_all_settings_are_settings(name: str) -> None:
    _, info = DatasetPure.build_trainset(make_movies(n_users=40, n_items=30, n_ratings=300))
    method = METHODS[name]
    for settings in {data_set: method.tried(data_set) for data_set in SETS}.values():
        for one in settings:
            getattr(algorithms, method.model)("ranking", info, **one)


def test_large_sets_have_their_own_settings_where_there_are_any() -> None:
    assert set(LARGE) < set(SETS)
    for method in METHODS.values():
        assert method.tried("frappe") == method.settings
        assert method.tried(LARGE[0]) == (method.on_large or method.settings)
        assert Path(method.module.replace(".", "/") + ".py").exists()


MADE = Method("made", "side", "model", ({"a": (1, 2)}, {"a": (3, 4)}))


def run_of(settings: Any, seed: int, valid: float, test: float = 0.5) -> Record:
    """A run as a file has it."""
    best = {"epoch": 2, "train_s": 4.0, "lists_s": 1.0, "valid": valid, "ndcg": test, "recall": 0.4, "coverage": 0.3}
    curve = [[1, 2.0, valid / 2, test / 2], [2, 4.0, valid, test]]
    return {"settings": settings, "seed": seed, "load": 1.0, "peak_mib": 100, "best": best, "curve": curve}


def test_what_is_there_is_not_run_again_and_validation_chooses(tmp_path: Path) -> None:
    def left() -> list[Any]:
        return [*missing(Kept.read("set", "made", tmp_path), MADE, "frappe", 3)]

    assert left() == [({"a": (1, 2)}, 0), ({"a": (3, 4)}, 0)]
    Kept.read("set", "made", tmp_path).add(run_of({"a": (1, 2)}, 0, valid=0.3, test=0.9), {})
    assert left()[0] == ({"a": (3, 4)}, 0)
    Kept.read("set", "made", tmp_path).add(run_of({"a": (3, 4)}, 0, valid=0.4, test=0.1), {"threads": 1})
    assert left() == [({"a": [3, 4]}, 1), ({"a": [3, 4]}, 2)]
    Kept.read("set", "made", tmp_path).add(run_of({"a": (3, 4)}, 2, valid=0.4, test=0.2), {})
    kept = Kept.read("set", "made", tmp_path)
    assert left() == [({"a": [3, 4]}, 1)]
    assert mean(kept.chosen(MADE.settings), "ndcg") == pytest.approx(0.15)
    assert kept.about == {"threads": 1}
    assert kept.chosen(({"a": (1, 2)},))[0]["best"]["ndcg"] == 0.9  # of what is still tried
    assert [*missing(kept, replace(MADE, is_random=False), "frappe", 3)] == []


def test_each_run_decides_what_comes_next_and_takes_the_place_of_its_like(tmp_path: Path) -> None:
    kept, made = Kept.read("set", "made", tmp_path), list[Any]()
    for settings, seed in to_run(kept, MADE, "frappe", 2):
        made.append((settings, seed))
        kept.add(run_of(settings, seed, valid=-max(settings["a"])), {})
    assert made == [({"a": (1, 2)}, 0), ({"a": (3, 4)}, 0), ({"a": [1, 2]}, 1)]
    for settings, seed in to_run(kept, MADE, "frappe", 2, again=True):
        kept.add(run_of(settings, seed, valid=9), {})
    assert [run["best"]["valid"] for run in Kept.read("set", "made", tmp_path).runs] == [9, -4, 9]


def test_a_run_that_takes_too_long_is_killed_and_kept_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        ask("timeit", {}, limit_s=0.01)

    def slow(*_: object) -> list[Record]:
        raise subprocess.TimeoutExpired("side", 3600)

    monkeypatch.setattr(runs, "ask", slow)
    run, about = make(MADE, {"settings": {"a": (1, 2)}, "seed": 0}, "python", 1)
    kept = Kept.read("set", "made", tmp_path)
    kept.add(run, about)
    assert run["failed"] == "killed after 3600 s"
    assert kept.chosen(MADE.settings) == []
    assert next(missing(kept, MADE, "frappe", 3)) == ({"a": (3, 4)}, 0)


def test_a_run_keeps_the_moment_that_validates_best(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"lists_s": 1.0, "recall": 0.1, "coverage": 0.1}
    moments = [
        {"epoch": at, "train_s": at * 1.0, "valid": valid, "ndcg": at / 10, **figures}
        for at, valid in ((1, 0.2), (2, 0.3), (3, 0.1))
    ]
    answered: list[Record] = [{"versions": {"python": "3"}}, *moments, {"peak_mib": 99.7}]
    monkeypatch.setattr(runs, "ask", lambda *_: answered)
    run, about = make(MADE, {"settings": {}, "seed": 0}, "python", 1)
    assert (run["best"]["epoch"], run["best"]["ndcg"], run["peak_mib"]) == (2, 0.2, 100)
    assert about["versions"] == {"python": "3"}
    assert seconds_to([run], 0.2) == 2.0
    assert seconds_to([run, {"failed": "killed"}], 0.25) == 3.0
    assert seconds_to([run], 0.4) is None


def test_pages_show_what_was_measured(tmp_path: Path) -> None:
    about = {
        "machine": {"cpu": "a cpu", "cores": 2, "memory_gib": 8, "revision": "abc"},
        "threads": 1,
        "versions": {"numpy": "2"},
    }
    for name in SETS:
        for method, score in {"popular": 0.1, "ease": 0.3, "ials": 0.25, "fm-ids": 0.31, "fm-defaults": 0.2}.items():
            settings = METHODS[method].tried(name)[0]
            Kept.read(name, method, tmp_path).add(run_of(settings, 0, 0.2, score), about)
    choosing, lists = tmp_path / "choosing.md", tmp_path / "list_quality.md"
    choosing.write_text(page.CHOOSING.read_text("utf-8"), "utf-8")
    lists.write_text(page.LISTS.read_text("utf-8"), "utf-8")
    page.write_pages(tmp_path, choosing, lists)
    assert "| FM, ids, tuned |" + " **.3100** |" * 6 + " 4.0 | 1.0 |" in choosing.read_text("utf-8")
    text = lists.read_text("utf-8")
    assert "| FM, ids, tuned |" + " 4.0 |" * 6 in text
    assert "| iALS (implicit) |" + " - |" * 6 in text  # .25 is below 97 % of .3
    assert "numpy 2" in text
    assert (tmp_path / "list_quality.svg").read_text("utf-8").count("<svg") == 1


def test_the_pages_are_those_of_the_results() -> None:
    results = page.read()
    assert page.summary(results) in page.CHOOSING.read_text("utf-8")
    text = page.LISTS.read_text("utf-8")
    assert page.conditions(results) in text
    for name in SETS:
        assert page.details(results, name) in text
    for file in runs.FOLDER.glob("*/*.json"):
        assert json.loads(file.read_text("utf-8"))["runs"]
