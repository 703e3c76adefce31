from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks import cold_start
from benchmarks.cold_start import (
    APP_COLUMNS,
    EXPERIMENTS,
    HISTORIES,
    ITEMS,
    N_BROUGHT,
    OF_APPS,
    PAGE,
    SITUATION,
    USERS,
    WHEN,
    Contender,
    K,
    Newcomers,
    as_markdown,
    cut,
    interval,
    keep,
    popular_in_segments,
    train,
    with_moments,
    with_unused,
    write_page,
)
from recolib.algorithms import FM
from recolib.data import DatasetFeat
from recolib.datasets import make_movies

pytestmark = [
    pytest.mark.filterwarnings("ignore::recolib.UnknownIdWarning"),
    pytest.mark.filterwarnings("ignore:.*lists are shorter"),
]
SMALL: dict[str, Any] = {"batch_size": 256, "embed_size": 4}


def small(contender: Contender) -> Contender:
    return Contender(contender.algorithm, contender.settings | SMALL, 2)


def with_groups(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{cold_start.GROUP: frame["sex"].astype(str) + frame["age"].astype(str)})


@pytest.fixture(scope="module")
def movies() -> pd.DataFrame:
    return make_movies(n_users=120, n_items=80, n_ratings=3000)


def uses() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 1500
    frame = pd.DataFrame({"user": rng.integers(0, 60, n), "item": rng.integers(0, 50, n), "label": 1})
    for column in APP_COLUMNS:
        frame[column] = (frame["item"] % 5).astype(str)
    frame["stars"] = frame["item"] % 4 + 1.0
    return frame.assign(**{column: rng.integers(0, 3, n).astype(str) for column in SITUATION})


def test_a_fifth_is_held_out_and_nobody_stands_twice():
    test, valid, rest = cut(np.repeat(np.arange(100), 3), seed=0)
    assert (len(test), len(valid), len(rest)) == (20, 10, 70)
    assert sorted([*test, *valid, *rest]) == list(range(100))
    assert sorted(cut(np.arange(100), seed=1)[0]) != sorted(test)


def test_newcomers_bring_their_first_items_in_time_or_some_at_random(movies: pd.DataFrame):
    users = np.unique(movies["user"])[:20]
    new, drawn, again, other = (Newcomers.of(with_groups(movies), users, seed) for seed in (None, 3, 3, 4))
    assert drawn.brought == again.brought != other.brought
    for user in new.users:
        own = movies[movies["user"] == user].sort_values("time", kind="stable")["item"].tolist()
        assert new.brought[user] == own[:N_BROUGHT]
        for one in (new, drawn):
            assert one.rest[user] == set(own) - set(one.brought[user])
            assert one.met[user] == set(own)
            assert len(set(one.brought[user])) == N_BROUGHT
    perfect = {user: list(new.rest[user]) for user in new.users}
    assert new.ndcg(perfect, new.rest) == pytest.approx(1.0)
    assert new.ndcg({user: new.brought[user] for user in new.users}, new.rest) == 0.0
    assert new.beside({user: [*new.brought[user], *perfect[user]] for user in new.users}) == pytest.approx(1.0)


def test_moments_are_what_was_known_then(movies: pd.DataFrame):
    found = with_moments(movies)
    user = movies["user"].iloc[0]
    own = found[found["user"] == user].sort_values("time", kind="stable")
    np.testing.assert_allclose(own["n_before"], np.log1p(np.arange(len(own))))
    np.testing.assert_allclose(own["days"], np.log1p((own["time"] - own["time"].min()) / 86_400))
    assert set(WHEN) <= set(found)


def test_popularity_is_that_of_the_segment_first():
    rows = pd.DataFrame({"user": [1, 2, 3, 4, 5], "item": ["a", "a", "b", "b", "b"], "sex": list("FFMMM")})
    people = pd.DataFrame({"user": [8, 9, 10], "sex": ["F", "M", "X"]})
    assert popular_in_segments(rows, people, []) == {8: ["b", "a"], 9: ["b", "a"], 10: ["b", "a"]}
    assert popular_in_segments(rows, people, ["sex"]) == {8: ["a", "b"], 9: ["b", "a"], 10: ["b", "a"]}


def test_test_figures_are_those_of_the_epoch_that_validates_best():
    data, info = DatasetFeat.build_trainset(make_movies(n_users=30, n_items=20, n_ratings=200))
    valid, model = iter([0.3, 0.5, 0.4]), FM("ranking", info, n_epochs=3)
    found = train(model, data, True, lambda: next(valid), lambda: {"figure": 10.0 * model.history_["epoch"].max()})
    assert found == {"valid": 0.5, "epoch": 2, "figure": 20.0}


def test_unused_apps_are_as_many_others_with_their_own_features():
    frame = uses()
    rows = frame[frame["item"] < 20]
    both = with_unused(rows, frame.groupby("user")["item"].agg(set), [0])
    others = both[both["label"] == 0]
    assert len(others) == len(rows)
    used = set(zip(frame["user"], frame["item"], strict=True))
    assert not used & set(zip(others["user"], others["item"], strict=True))
    assert (others["category"] == (others["item"] % 5).astype(str)).all()
    assert (others["stars"] == others["item"] % 4 + 1).all()


def test_the_interval_is_students():
    values = [1.0, 1.2, 0.9, 1.1]
    mean, half = interval(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))


@pytest.fixture(scope="module")
def results(movies: pd.DataFrame) -> dict[str, Any]:
    frames = {"users": movies, "items": movies, "apps": uses()}
    return {
        name: [experiment(frames[name], small(contender), seed) for seed in (0, 1)]
        for name, (_, experiment, contender) in EXPERIMENTS.items()
    }


def test_all_experiments_run(results: dict[str, Any]):
    for outcomes in results.values():
        for figures in outcomes:
            assert all(0 <= value <= 1 for name, value in figures.items() if "epoch" not in name and name != "valid")


def test_what_was_tried_validates(movies: pd.DataFrame):
    for name, contender in (("users", USERS), ("items", ITEMS)):
        figures = EXPERIMENTS[name][1](movies, small(contender), 0, with_test=False)
        assert {"valid", "features, valid"} & set(figures)
        assert "features, no id_dropout" not in figures


def test_settings_are_settings(movies: pd.DataFrame):
    _, info = DatasetFeat.build_trainset(movies)
    for _, _, contender in EXPERIMENTS.values():
        for changes in ({}, *contender.tried):
            assert contender.algorithm("ranking", info, **contender.settings | changes).id_dropout
    assert FM in {contender.algorithm for _, _, contender in EXPERIMENTS.values()}
    assert K > N_BROUGHT
    assert len(HISTORIES) == 2
    assert set(OF_APPS["sparse_col"]) <= {*APP_COLUMNS, *SITUATION}


def test_results_are_kept_beside_those_of_others_and_shown(results: dict[str, Any], tmp_path: Path):
    file, page = tmp_path / "results" / "cold_start.json", tmp_path / "page.md"
    keep({"users": results["users"]}, file)
    merged = keep({"items": results["items"], "apps": results["apps"]}, file)
    assert list(merged) == ["users", "items", "apps"]
    assert json.loads(file.read_text("utf-8")) == results
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    write_page(merged, page)
    text = page.read_text("utf-8")
    for name, outcomes in results.items():
        assert as_markdown(name, outcomes) in text
    assert "<svg" in (tmp_path / "page.svg").read_text("utf-8")


def test_the_page_shows_what_was_kept():
    for name, outcomes in json.loads(cold_start.RESULT.read_text("utf-8")).items():
        assert as_markdown(name, outcomes) in PAGE.read_text("utf-8")
