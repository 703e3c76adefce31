from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.accuracy import chosen, report, search
from benchmarks.experiments import EXPERIMENTS, Entry, Experiment, Parts, encoded
from recolib.algorithms import FM
from recolib.data import DatasetPure, random_split
from recolib.datasets import make_movies

ENTRIES = [(name, entry) for name, one in EXPERIMENTS.items() for entry in one.entries]


@pytest.fixture(scope="module")
def parts() -> dict[str, Parts]:
    """A split of made-up ratings for each task."""
    frame = make_movies(n_users=90, n_items=50, n_ratings=1500)
    liked = frame.assign(label=(frame["label"] > 3).astype(int))
    return {
        task: encoded(random_split(one, multi_ratios=[0.8, 0.1, 0.1]), {}, 150)
        for task, one in (("rating", frame), ("ranking", liked))
    }


@pytest.mark.parametrize(("name", "entry"), ENTRIES, ids=[f"{name}-{entry.name}" for name, entry in ENTRIES])
def test_all_settings_are_settings(name: str, entry: Entry) -> None:
    _, info = DatasetPure.build_trainset(make_movies(n_users=40, n_items=30, n_ratings=300))
    for changes in ({}, *entry.tried):
        model = entry.algorithm(EXPERIMENTS[name].task, info, **entry.settings | changes)
        assert model.model_name == entry.name
    if entry.fm is not None:
        assert FM(EXPERIMENTS[name].task, info, **entry.fm).embed_size == model.embed_size


def small(entry: Entry) -> Entry:
    """The entry with one epoch of few numbers."""
    sizes: dict[str, Any] = {"embed_size": 4, "batch_size": 256}
    fm = None if entry.fm is None else entry.fm | sizes | {"n_epochs": 1}
    return replace(entry, settings=entry.settings | sizes, fm=fm, n_epochs=1, tried=entry.tried[:1])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_prints_a_table(name: str, parts: dict[str, Parts], capsys: pytest.CaptureFixture[str]) -> None:
    experiment = EXPERIMENTS[name]
    made = replace(
        experiment, entries=tuple(map(small, experiment.entries)), parts=lambda split: parts[experiment.task]
    )
    report(made, 2)
    text = capsys.readouterr().out
    for entry in experiment.entries:
        assert text.count(f"model {entry.name}, run") == 2
        assert entry.published in text
    assert "±" in text
    search(replace(made, entries=made.entries[:1]))
    assert "test" not in capsys.readouterr().out.partition("as above")[2]


def test_models_and_data_are_chosen() -> None:
    def names(*asked: Any) -> list[tuple[str, list[str]]]:
        return [(name, [entry.name for entry in one.entries]) for name, one in chosen(*asked)]

    assert [name for name, _ in names(None, None, None)] == [*EXPERIMENTS]
    assert names("frappe", None, ["IFM"]) == [("rmse", ["IFM"])]
    assert names(None, "ids", ["NFM", "AFM"]) == [("ids", ["NFM"])]
    assert isinstance(next(chosen("ml-1m", None, None))[1], Experiment)
