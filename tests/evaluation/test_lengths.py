"""Lists are measured at several lengths at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recolib.algorithms import FM
from recolib.data import DatasetPure, random_split
from recolib.datasets import make_movies
from recolib.evaluation import Metric, evaluate
from recolib.training import stopping

TRAIN, TEST = random_split(make_movies(n_users=40, n_items=30, n_ratings=500), test_size=0.3, seed=1)
DATA, INFO = DatasetPure.build_trainset(TRAIN)
OF_LISTS = ["precision", "recall", "hit_rate", "mrr", "map", "ndcg", "coverage", "novelty"]


def new_model() -> FM:
    return FM("ranking", INFO, n_epochs=3, lr=0.01)


@pytest.fixture(scope="module")
def model() -> FM:
    return new_model().fit(DATA, True, verbose=0)


@pytest.mark.parametrize("lengths", [[3, 10], (10, 3), range(1, 4), [50, 1], [np.int64(5), 7], [4]])
def test_several_lengths_are_what_each_gives_alone(model: FM, lengths: Any) -> None:
    metrics = ["roc_auc", *OF_LISTS]
    found = evaluate(model, TEST, True, metrics=metrics, k=lengths)
    assert list(found) == ["roc_auc", *(f"{name}@{k}" for name in OF_LISTS for k in lengths)]
    for k in lengths:
        alone = evaluate(model, TEST, True, metrics=metrics, k=k)
        assert {name: found[f"{name}@{k}"] for name in OF_LISTS} == {name: alone[name] for name in OF_LISTS}
        assert found["roc_auc"] == alone["roc_auc"]


def test_a_metric_of_ones_own_has_several_lengths_too(model: FM) -> None:
    width = Metric("width", lambda hits, n_relevant: hits.shape[1], needs="hits")
    assert evaluate(model, TEST, True, metrics=width, k=[2, 5]) == {"width@2": 2, "width@5": 5}
    assert evaluate(model, TEST, True, metrics=width, k=5) == {"width": 5}


def test_fit_and_update_measure_several_lengths() -> None:
    how: dict[str, Any] = {"verbose": 0, "eval_data": TEST, "metrics": ["ndcg", "loss"], "k": [2, 5]}
    model = new_model().fit(DATA, True, **how)
    assert [name for name in model.history_ if name.startswith("eval_")] == [
        "eval_ndcg@2",
        "eval_ndcg@5",
        "eval_loss",
    ]
    now = evaluate(model, TEST, True, metrics=["ndcg"], k=[2, 5])
    assert now == model.history_.iloc[-1][["eval_ndcg@2", "eval_ndcg@5"]].rename(lambda name: name[5:]).to_dict()
    assert "eval_ndcg@5" in model.update(TEST, True, **how).history_


def test_early_stopping_goes_by_one_of_the_lengths() -> None:
    how: dict[str, Any] = {"verbose": 0, "eval_data": TEST, "metrics": ["ndcg"], "k": [2, 5]}
    model = new_model().fit(DATA, True, **how, early_stopping=stopping.EarlyStopping("ndcg@5"))
    assert len(model.history_) >= 1
    with pytest.raises(ValueError, match="goes by 'ndcg', which is not measured: did you mean 'ndcg@2'"):
        new_model().fit(DATA, True, **how, early_stopping=stopping.EarlyStopping("ndcg"))


def test_a_checkpoint_of_several_lengths_is_resumed(tmp_path: Any) -> None:
    how: dict[str, Any] = {"verbose": 0, "eval_data": TEST, "metrics": ["ndcg"], "k": [2, 5]}
    whole = new_model().fit(DATA, True, **how, checkpoint=tmp_path / "run")
    again = new_model().fit(DATA, True, **how, resume=tmp_path / "run")
    assert again.history_["eval_ndcg@5"].tolist() == whole.history_["eval_ndcg@5"].tolist()
    with pytest.raises(ValueError, match="k"):
        new_model().fit(DATA, True, **{**how, "k": [2, 6]}, resume=tmp_path / "run")


@pytest.mark.parametrize("k", [[], [3, 3], [0, 5], (5, -1)])
def test_lengths_must_be_distinct_and_at_least_1(model: FM, k: Any) -> None:
    with pytest.raises(ValueError, match=r"^k must be"):
        evaluate(model, TEST, True, metrics="ndcg", k=k)


@pytest.mark.parametrize("k", ["10", [True, 2], 2.0, [1.5], {3, 4}, None])
def test_lengths_must_be_integers(model: FM, k: Any) -> None:
    with pytest.raises(TypeError, match=r"^k must be an integer"):
        evaluate(model, TEST, True, metrics="ndcg", k=k)


def test_a_name_that_a_length_makes_twice_is_refused(model: FM) -> None:
    taken = Metric("ndcg@2", lambda labels, predictions: 0.0)
    with pytest.raises(ValueError, match=r"metrics has \['ndcg@2'\] twice"):
        evaluate(model, TEST, True, metrics=["ndcg", taken], k=[2, 5])
