"""Early stopping: when it stops, and what model it leaves."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from worlds import make_world

import recolib
from recolib import EarlyStopping
from recolib.algorithms import FM, DeepFM
from recolib.evaluation.measurement import Measurement
from recolib.evaluation.metrics import METRICS
from recolib.exceptions import OverfittingWarning
from recolib.recommender import Recommender

WORLD = make_world("ranking", "pure")
NAN = math.nan


def model_of(n_epochs: int = 8, algorithm: type[Recommender] = DeepFM, **settings: Any) -> Recommender:
    common: dict[str, Any] = {"embed_size": 4, "lr": 0.05, "batch_size": 64, "ema": 0.9, "n_epochs": n_epochs}
    if algorithm is DeepFM:
        common |= {"hidden_units": (6,), "dropout_rate": 0.2}
    return algorithm("ranking", WORLD.build()[1], **{**common, **settings})


def fit(model: Recommender, **arguments: Any) -> Recommender:
    return model.fit(WORLD.build()[0], True, **{"verbose": 0, "eval_data": WORLD.frame, **arguments})


def play(monkeypatch: pytest.MonkeyPatch, values: list[float], name: str = "ndcg") -> None:
    """Let the measure of each epoch be one of these."""
    told = iter(values)
    monkeypatch.setattr(Measurement, "measure", lambda self, model: {name: next(told)})


def state(model: Recommender) -> dict[str, torch.Tensor]:
    return model._state


def same(one: Recommender, other: Recommender) -> bool:
    mine, theirs = state(one), state(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


# ---- the rule


@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "best", "stops"),
    [
        ([0.5], 1, 0.0, 0, False),
        ([0.5, 0.4], 1, 0.0, 0, True),
        ([0.5, 0.5], 1, 0.0, 0, True),  # as good is no improvement
        ([0.5, 0.4], 2, 0.0, 0, False),
        ([0.5, 0.4, 0.6], 2, 0.0, 2, False),
        ([0.5, 0.4, 0.45], 2, 0.0, 0, True),  # better than the last is not better than the best
        ([0.5, 0.55], 1, 0.1, 0, True),
        ([0.5, 0.55, 0.65], 3, 0.1, 2, False),  # from the best, not from the last
        ([NAN], 1, 0.0, None, True),
        ([NAN, NAN], 3, 0.0, None, False),
        ([NAN, 0.1], 2, 0.0, 1, False),
        ([0.5, NAN, NAN], 2, 0.0, 0, True),
        ([], 1, 0.0, None, False),
    ],
)
def test_more_is_better_cases(values, patience, min_delta, best, stops):
    stopping = EarlyStopping("ndcg", patience, min_delta)
    assert (stopping.best(values), stopping.stops(values)) == (best, stops)
    for metric in ("loss", "train_loss"):
        mirrored = EarlyStopping(metric, patience, min_delta)
        assert mirrored.best([-value for value in values]) == best


@given(st.lists(st.floats(-1, 1) | st.just(NAN), max_size=12), st.integers(1, 4), st.sampled_from([0.0, 0.1]))
def test_the_rule_is_that_of_a_loop(values, patience, min_delta):
    stopping, best, at, waited = EarlyStopping("recall", patience, min_delta), None, None, 0
    for place, value in enumerate(values):
        if not math.isnan(value) and (best is None or value > best + min_delta):
            best, at, waited = value, place, 0
        else:
            waited += 1
        assert stopping.best(values[: place + 1]) == at
        assert stopping.stops(values[: place + 1]) == (waited >= patience)


def test_each_metric_has_the_right_direction():
    """By what a perfect and a poor prediction score, as far as metrics of predictions go; lists by their meaning."""
    better = {"r2": 1, "balanced_accuracy": 1, "roc_auc": 1, "roc_gauc": 1, "pr_auc": 1}
    better |= dict.fromkeys(["precision", "recall", "hit_rate", "mrr", "map", "ndcg", "coverage", "novelty"], 1)
    better |= {"loss": -1, "rmse": -1, "mae": -1, "log_loss": -1}
    found = {(name, -1 if one.lower_is_better else 1) for of_task in METRICS.values() for name, one in of_task.items()}
    assert found == set(better.items())


# ---- in a fit


def test_it_stops_and_leaves_the_model_of_its_best_epoch(monkeypatch):
    three = fit(model_of(3))
    play(monkeypatch, [0.1, 0.2, 0.4, 0.3, 0.35, 0.9])
    model = fit(model_of(), metrics="ndcg", early_stopping=EarlyStopping("ndcg", 2))
    assert model.history_["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert model.history_["eval_ndcg"].tolist() == [0.1, 0.2, 0.4, 0.3, 0.35]
    assert "trained for 3 epochs" in repr(model)
    assert same(model, three)
    users, items = WORLD.frame["user"], WORLD.frame["item"]
    assert model.predict(users, items).tolist() == three.predict(users, items).tolist()
    assert model.recommend(n_rec=5).equals(three.recommend(n_rec=5))


def test_what_was_asked_before_the_best_came_back_is_forgotten(monkeypatch):
    """Lists are kept between questions by the version of the weights."""
    three = fit(model_of(3))
    play(monkeypatch, [0.1, 0.2, 0.4, 0.3, 0.35])
    model = model_of()
    fit(model, metrics="ndcg", early_stopping=EarlyStopping("ndcg"), callbacks=[lambda _: model.recommend(n_rec=3)])
    assert model.recommend(n_rec=5).equals(three.recommend(n_rec=5))


def test_without_restoring_the_model_is_that_of_the_last_epoch(monkeypatch):
    five = fit(model_of(5))
    play(monkeypatch, [0.1, 0.2, 0.4, 0.3, 0.35])
    model = fit(model_of(), metrics="ndcg", early_stopping=EarlyStopping("ndcg", 2, restore_best=False))
    assert same(model, five)


def test_the_best_comes_back_where_the_epochs_run_out_first(monkeypatch):
    two = fit(model_of(2))
    play(monkeypatch, [0.1, 0.4, 0.3])
    model = fit(model_of(3), metrics="ndcg", early_stopping=EarlyStopping("ndcg", 5))
    assert model.history_["epoch"].tolist() == [1, 2, 3]
    assert same(model, two)


def test_the_next_fit_goes_on_from_the_best_epoch_and_drops_the_rows_beyond(monkeypatch):
    with monkeypatch.context() as patch:
        play(patch, [0.1, 0.4, 0.3, 0.2])
        model = fit(model_of(), metrics="ndcg", early_stopping=EarlyStopping("ndcg"))
    assert len(model.history_) == 4
    model.n_epochs = 2
    fit(model)
    four = fit(model_of(4))
    assert model.history_["epoch"].tolist() == [1, 2, 3, 4]
    assert model.history_["train_loss"].tolist() == four.history_["train_loss"].tolist()
    assert same(model, four)


def test_only_the_epochs_of_the_fit_itself_count(monkeypatch):
    model = model_of(2)
    with monkeypatch.context() as patch:
        play(patch, [0.9, 0.8])
        fit(model, metrics="ndcg")
    play(monkeypatch, [0.1, 0.2])
    fit(model, metrics="ndcg", early_stopping=EarlyStopping("ndcg", 1))
    assert model.history_["epoch"].tolist() == [1, 2, 3, 4]
    assert "trained for 4 epochs" in repr(model)


def test_a_stopped_model_is_saved_and_goes_on(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        play(patch, [0.1, 0.4, 0.3, 0.2])
        model = fit(model_of(), metrics="ndcg", early_stopping=EarlyStopping("ndcg"))
    again = recolib.load(model.save(tmp_path, "it"))
    pd.testing.assert_frame_equal(again.history_, model.history_)
    model.n_epochs = again.n_epochs = 1
    assert same(fit(again), fit(model))
    assert again.history_["epoch"].tolist() == [1, 2, 3]


def test_a_metric_that_is_never_a_number_stops_and_leaves_the_last_epoch(monkeypatch):
    two = fit(model_of(2))
    play(monkeypatch, [NAN, NAN, 0.5])
    assert same(fit(model_of(), metrics="ndcg", early_stopping=EarlyStopping("ndcg", 2)), two)


def test_the_training_loss_needs_no_data_to_measure():
    model = model_of(60, FM, lr=0.5, ema=None)
    fit(model, eval_data=None, early_stopping=EarlyStopping("train_loss", 2))
    losses = model.history_["train_loss"]
    assert len(losses) < 60
    assert losses.idxmin() == len(losses) - 3
    assert model._n_epochs_done == losses.idxmin() + 1


def test_a_real_measure_stops_at_its_best():
    model = model_of(40, FM, ema=None)
    fit(model, metrics=["loss", "roc_auc"], early_stopping=EarlyStopping("roc_auc", 3))
    assert model._n_epochs_done == model.history_["eval_roc_auc"].idxmax() + 1
    measured = recolib.evaluate(model, WORLD.frame, True, metrics="roc_auc")["roc_auc"]
    assert measured == model.history_["eval_roc_auc"].max()


def test_it_says_where_it_stopped(monkeypatch, capsys):
    for verbose, stopping, expected in (
        (
            1,
            EarlyStopping("ndcg", 1),
            "epoch 3 was the last: ndcg was best after epoch 2, 0.4; the model is that of epoch 2",
        ),
        (1, EarlyStopping("ndcg", 1, restore_best=False), "best after epoch 2, 0.4; the model is that of epoch 3"),
        (0, EarlyStopping("ndcg", 1), None),
    ):
        with monkeypatch.context() as patch:
            play(patch, [0.1, 0.4, 0.3])
            fit(model_of(), metrics="ndcg", early_stopping=stopping, verbose=verbose)
        said = capsys.readouterr()
        assert expected in said.out + said.err if expected else not said.out + said.err
    play(monkeypatch, [NAN, NAN])
    fit(model_of(), metrics="ndcg", early_stopping=EarlyStopping("ndcg"), verbose=1)
    said = capsys.readouterr()
    assert "epoch 2 was the last: ndcg was never a number" in said.out + said.err


# ---- what is refused


@pytest.mark.parametrize(
    ("arguments", "kind", "match"),
    [
        ({"metric": None}, TypeError, "metric must be the name of one, got None"),
        ({"metric": "ndcg", "patience": 0}, ValueError, "patience must be at least 1"),
        ({"metric": "ndcg", "patience": 1.5}, TypeError, "patience must be an integer"),
        ({"metric": "ndcg", "min_delta": -0.1}, ValueError, "min_delta must be at least 0"),
        ({"metric": "ndcg", "min_delta": NAN}, ValueError, "min_delta must be at least 0"),
        ({"metric": "ndcg", "restore_best": 1}, TypeError, "restore_best must be True or False"),
        ({"metric": "ndcg", "lower_is_better": 1}, TypeError, "lower_is_better must be True or False"),
    ],
)
def test_arguments_are_checked_when_it_is_made(arguments, kind, match):
    with pytest.raises(kind, match=match):
        EarlyStopping(**arguments)


@pytest.mark.parametrize(
    ("arguments", "kind", "match"),
    [
        ({"metrics": ["loss"]}, ValueError, r"goes by 'ndcg', which is not measured: add it to metrics=\['loss'\]"),
        ({}, ValueError, r"add it to metrics=\['loss'\]"),
        ({"eval_data": None}, ValueError, "which is not measured: pass eval_data to measure it on"),
        ({"metrics": "ndcg", "early_stopping": EarlyStopping("ndgc")}, ValueError, "did you mean 'ndcg'?"),
        ({"metrics": "ndcg", "early_stopping": EarlyStopping("eval_ndcg")}, ValueError, "did you mean 'ndcg'?"),
        ({"early_stopping": "ndcg"}, TypeError, "early_stopping must be an EarlyStopping, got 'ndcg'"),
        ({"early_stopping": EarlyStopping}, TypeError, "early_stopping must be an EarlyStopping"),
    ],
)
def test_a_fit_that_does_not_measure_it_is_refused_before_any_work(arguments, kind, match):
    model = model_of()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(kind, match=match):
            fit(model, **{"early_stopping": EarlyStopping("ndcg"), **arguments})
    assert not model._state


def test_it_is_frozen():
    with pytest.raises(AttributeError):
        EarlyStopping("ndcg").patience = 3  # type: ignore[misc]
    assert EarlyStopping("ndcg", np.int64(3)).patience == 3


# ---- without it


@pytest.mark.parametrize(
    ("name", "values", "worse"),
    [
        ("ndcg", [0.3, 0.5, 0.4, 0.4, 0.4], True),
        ("ndcg", [0.3, 0.5, 0.4, 0.4, 0.6], False),
        ("ndcg", [0.3, 0.4, 0.5, 0.4, 0.4], False),
        ("log_loss", [0.5, 0.3, 0.4, 0.4, 0.4], True),
        ("log_loss", [0.5, 0.4, 0.3, 0.2, 0.1], False),
        ("mine", [0.5, 0.4, 0.3, 0.2, 0.1], False),
    ],
)
def test_epochs_that_made_it_worse_are_told_of_where_nothing_stops_them(name, values, worse, monkeypatch):
    play(monkeypatch, values, name)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fit(model_of(len(values)), metrics=["ndcg"])
    messages = [str(one.message) for one in told if one.category is OverfittingWarning]
    assert len(messages) == worse
    if worse:
        assert f"eval_{name} was best after epoch 2" in messages[0]
        assert f"EarlyStopping('{name}')" in messages[0]


def test_with_early_stopping_nothing_is_told(monkeypatch):
    play(monkeypatch, [0.5, 0.4, 0.4, 0.4, 0.4])
    with warnings.catch_warnings():
        warnings.simplefilter("error", OverfittingWarning)
        fit(model_of(5), metrics=["ndcg"], early_stopping=EarlyStopping("ndcg", patience=4))


def test_the_bar_of_an_epoch_shows_what_the_one_before_was_measured_as(monkeypatch, capsys):
    play(monkeypatch, [0.25, 0.5])
    fit(model_of(2), metrics=["ndcg"], verbose=1)
    assert "eval_ndcg=0.25" in capsys.readouterr().err
