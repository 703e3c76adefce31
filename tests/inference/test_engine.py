from __future__ import annotations

import copy
import inspect
import os
import sys
import threading
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from worlds import make_world, two_tastes

import recolib
from recolib import FM, DatasetPure, DeepFM
from recolib.inference import engine as engine_module
from recolib.inference.request import Request
from recolib.inference.scoring import encode_rows
from recolib.recommender import Recommender

SETTINGS: dict[str, Any] = {"embed_size": 4, "n_epochs": 1, "lr": 0.05}


@pytest.fixture
def model() -> Recommender:
    data, info = make_world("ranking", "sparse").build()
    return DeepFM("ranking", info, hidden_units=(8,), **SETTINGS).fit(data, True, verbose=0)


def tensors(state: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    state.map(lambda tensor: found.append(tensor) or tensor)
    return found


# ---- what is cached


def test_states_are_cached_once(model):
    assert model.engine.encoded("user") is model.engine.encoded("user")
    assert model.engine.items is model.engine.encoded("item")


def test_the_states_of_too_many_ids_are_not_cached_but_those_of_items_when_lists_need_them(model, monkeypatch):
    of_user = sum(tensor.numel() for tensor in tensors(model.engine.encoded("user")))
    answers = model.predict([100, 103], ["i1", "i2"]).tolist(), model.recommend_user([100, 103], 4)
    monkeypatch.setattr(engine_module, "MAX_CACHED_NUMBERS", of_user)
    assert copy.deepcopy(model).engine.encoded("user") is not None
    monkeypatch.setattr(engine_module, "MAX_CACHED_NUMBERS", 1)
    other = copy.deepcopy(model)
    assert other.engine.encoded("user") is None
    assert other.engine.encoded("item") is None
    assert other.engine.items is other.engine.items
    assert other.predict([100, 103], ["i1", "i2"]).tolist() == pytest.approx(answers[0], abs=1e-6)
    lists = other.recommend_user([100, 103], 4)
    assert {user: items.tolist() for user, items in lists.items()} == {
        user: items.tolist() for user, items in answers[1].items()
    }


def test_the_state_of_code_0_is_that_of_the_average(model):
    engine = model.engine
    average = encode_rows(engine.network, "item", engine.data_info.items.current[:1].averaged(np.zeros(1, int)))
    for one, other in zip(tensors(engine.items), tensors(average), strict=True):
        torch.testing.assert_close(one[:1], other)


# ---- one assignment


def test_what_changes_a_model_makes_a_new_engine_and_leaves_the_old_one_alone(model):
    data = make_world("ranking", "sparse").build()[0]
    changes = {
        "fit": lambda: model.fit(data, True, verbose=0),
        "update": lambda: model.update(two_tastes().head(30).assign(user=7), True, verbose=0),
        "add_items": lambda: model.add_items(pd.DataFrame({"item": ["new"], "genre1": ["odd"]})),
        "assign": lambda: model.data_info.assign_item_features(pd.DataFrame({"item": ["i1"], "genre1": ["even"]})),
        "precision": lambda: setattr(model, "precision", "bf16"),
    }
    for name, change in changes.items():
        old = model.engine
        weights = {key: tensor.clone() for key, tensor in old.network.state_dict().items()}
        n_items, features = old.data_info.n_items, old.data_info.item_frame()
        change()
        assert model.engine is not old, name
        assert model.engine is model.engine, name
        assert all(torch.equal(tensor, weights[key]) for key, tensor in old.network.state_dict().items()), name
        assert old.data_info.n_items == n_items, name
        pd.testing.assert_frame_equal(old.data_info.item_frame(), features)


def test_an_update_that_dies_of_anything_changes_nothing(model, monkeypatch):
    for error in (MemoryError, KeyboardInterrupt, RuntimeError):

        def dies(*_: Any, error: type[BaseException] = error) -> Any:
            raise error

        before = model.engine, model.data_info, repr(model), len(model.history_)
        with monkeypatch.context() as patch:
            patch.setattr("recolib.training.trainer.Trainer._step", dies)
            with pytest.raises(error):
                model.update(two_tastes().head(30).assign(user=7), True, verbose=0)
        assert (model.engine, model.data_info, repr(model), len(model.history_)) == before


@pytest.mark.filterwarnings("ignore:.*lists are shorter")
def test_readers_see_the_old_or_the_new_and_never_half(model):
    stop, errors, seen = threading.Event(), [], set()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add(len(model.recommend_user(100, 40, filter_consumed=False, include_cold_items=True)[100]))
                other = copy.deepcopy(model)
                other.predict(100, "i1")
                assert other.engine.source is other.data_info
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(12):
        model.add_items(pd.DataFrame({"item": [f"new{number}"], "genre1": ["odd"]}))
        model.data_info.assign_user_features(pd.DataFrame({"user": [100], "sex": ["FM"[number % 2]]}))
        model.update(two_tastes().sample(20, random_state=number), True, verbose=0)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert seen <= set(range(20, 33))


def test_a_copy_shares_the_weights_and_nothing_else(model):
    other = copy.deepcopy(model)
    assert other.engine.network is model.engine.network
    before = model.predict(100, "i1")
    other.fit(make_world("ranking", "sparse").build()[0], True, verbose=0)
    other.data_info.assign_item_features(pd.DataFrame({"item": ["i1"], "genre1": ["even"]}))
    assert other.predict(100, "i1") != before
    assert model.predict(100, "i1") == before


def test_loading_makes_no_optimiser(model, tmp_path, monkeypatch):
    file = model.save(tmp_path, "it")
    monkeypatch.setattr("recolib.training.optimizers.Optimizer.__init__", None)
    assert recolib.load(file).predict(100, "i1") == model.predict(100, "i1")


# ---- the request


@pytest.mark.parametrize(
    ("method", "others"),
    [
        ("recommend_user", {"user", "return_scores"}),
        ("recommend", {"users", "columns", "verbose"}),
        ("recommend_to", {"path", "users", "columns", "items_at_once", "verbose"}),
    ],
)
def test_each_way_to_ask_for_lists_takes_what_a_request_is(method, others):
    parameters = inspect.signature(getattr(Recommender, method)).parameters
    assert set(parameters) - {"self"} - others == {one.name for one in fields(Request)}
    defaults = {one.name: one.default for one in fields(Request)}
    for name in defaults:
        if (method, name) != ("recommend_user", "n_rec"):
            assert parameters[name].default == defaults[name], name


def test_tables_take_histories_codes_and_draws(model):
    history = {100: ["i1", "i3"], "someone new": ["i2"]}
    table = model.recommend([100, "someone new"], 4, history=history)
    for user, items in model.recommend_user([100, "someone new"], 4, history=history).items():
        assert table.loc[table["user"] == user, "item"].tolist() == items.tolist()
    codes = model.recommend([1, 2], 4, inner_id=True)
    assert codes["user"].unique().tolist() == [1, 2]
    assert codes["item"].tolist() == [
        code for items in model.recommend_user([1, 2], 4, inner_id=True).values() for code in items.tolist()
    ]
    everybody = model.recommend(n_rec=2, inner_id=True)
    assert everybody["user"].unique().tolist() == list(range(1, model.n_users + 1))
    drawn = [tuple(model.recommend([100], 4, random_rec=True)["item"]) for _ in range(8)]
    assert len(set(drawn)) > 1


def test_a_warm_request_passes_few_functions_and_files(model):
    """Half of what it was with five stacked classes: 257 calls and 78 moves between files."""
    root, calls = os.path.dirname(recolib.__file__), []
    model.recommend_user(100, 5)

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(root):
            calls.append(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        model.recommend_user(100, 5)
    finally:
        sys.setprofile(None)
    moves = sum(one != other for one, other in pairwise(calls))
    assert len(calls) <= 121
    assert moves <= 38


def test_one_fit_is_one_assignment(monkeypatch):
    data, info = DatasetPure.build_trainset(two_tastes())
    model, assigned = FM("ranking", info, **SETTINGS | {"n_epochs": 3}), []
    take = Recommender._take
    monkeypatch.setattr(Recommender, "_take", lambda self, values: (assigned.append({*values}), take(self, values)))
    model.fit(data, True, verbose=0, eval_data=data, metrics=["ndcg"])
    assert assigned == [{"_engine", "_state", "_records", "_is_whole"}]
