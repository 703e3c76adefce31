"""Models as objects: copies, pickles and parameters."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
import pickletools
import sys
import threading
import time
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from recolib.algorithms import FM, DeepFM
from recolib.ann import Retriever
from recolib.checks import SavedFunction
from recolib.data import DatasetFeat
from recolib.datasets import make_movies
from recolib.exceptions import NotFittedError
from recolib.files import SUFFIX
from recolib.training.losses import cross_entropy


@pytest.fixture(scope="module")
def world() -> Any:
    frame = make_movies(n_users=60, n_items=40, n_ratings=900)
    return DatasetFeat.build_trainset(frame, user_col=["sex"], item_col=["genre1"], sparse_col=["sex", "genre1"])


@pytest.fixture(scope="module")
def model(world: Any) -> DeepFM:
    data, info = world
    return DeepFM("ranking", info, n_epochs=2, hidden_units=(8, 4), ema=0.9).fit(data, neg_sampling=True, verbose=0)


def same_answers(one: FM | DeepFM, other: FM | DeepFM) -> bool:
    return one.recommend(n_rec=3, verbose=0).equals(other.recommend(n_rec=3, verbose=0))


# ---- pickles


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_model_answers_and_trains_on_alike(world: Any, model: DeepFM, protocol: int) -> None:
    back = pickle.loads(pickle.dumps(model, protocol))
    assert type(back) is DeepFM
    assert same_answers(back, model)
    assert back.history_.equals(model.history_)
    mine, its = (copy.deepcopy(one).fit(world[0], neg_sampling=True, verbose=0) for one in (model, back))
    for name, tensor in mine.engine.network.state_dict().items():
        assert torch.equal(tensor, its.engine.network.state_dict()[name]), name


def test_a_pickle_names_nothing_but_the_class_and_the_bytes_of_a_file(model: DeepFM, tmp_path: Any) -> None:
    content = pickle.dumps(model)
    named = {arg for op, arg, _ in pickletools.genops(content) if isinstance(arg, str)}
    assert named == {"recolib.persistence", "_from_bytes", "recolib.algorithms.deepfm", "DeepFM"}
    (whole,) = (arg for op, arg, _ in pickletools.genops(content) if isinstance(arg, bytes))
    file = tmp_path / f"model{SUFFIX}"
    file.write_bytes(whole)
    assert same_answers(DeepFM.load(tmp_path, "model"), model)


def test_a_damaged_pickle_is_refused(model: DeepFM) -> None:
    content = bytearray(pickle.dumps(model))
    content[len(content) // 2] ^= 1
    with pytest.raises(ValueError, match=r"the pickle of a model cannot be read: its checksum"):
        pickle.loads(bytes(content))


def test_a_pickle_of_another_class_is_refused(model: DeepFM) -> None:
    function, (_, content) = model.__reduce__()
    with pytest.raises(ValueError, match="holds DeepFM, not FM"):
        function(FM, content)


def test_a_model_that_was_never_trained_is_pickled_with_its_settings(world: Any) -> None:
    back = pickle.loads(pickle.dumps(FM("ranking", world[1], lr=0.03, loss_type=cross_entropy)))
    assert (back.lr, back.loss_type) == (0.03, cross_entropy)
    assert back.data_info.fingerprint == world[1].fingerprint
    with pytest.raises(NotFittedError):
        back.recommend_user(1, 3)


def test_a_function_among_the_settings_is_its_name_as_in_a_file(world: Any) -> None:
    data, info = world
    model = FM("ranking", info, n_epochs=1, loss_type=cross_entropy).fit(data, neg_sampling=True, verbose=0)
    assert isinstance(pickle.loads(pickle.dumps(model)).loss_type, SavedFunction)


def test_a_model_and_its_index_stay_together(model: DeepFM) -> None:
    back, retriever = pickle.loads(pickle.dumps((model, Retriever(model, n_candidates=20))))
    user = model.data_info.id2user[1]
    assert len(back.recommend_user(user, 3, retriever=retriever)[user]) == 3


def top(model: DeepFM, user: int) -> list[Any]:
    return model.recommend_user(user, 3)[user].tolist()


def test_other_processes_get_a_model_and_answer(model: DeepFM) -> None:
    users = [model.data_info.id2user[code] for code in (1, 2, 3)]
    expected = [top(model, user) for user in users]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.starmap(top, [(model, user) for user in users]) == expected
    for backend in ("loky", "multiprocessing", "threading"):
        assert joblib.Parallel(2, backend=backend)(joblib.delayed(top)(model, user) for user in users) == expected


def test_joblib_writes_and_reads_a_model(model: DeepFM) -> None:
    stream = io.BytesIO()
    joblib.dump(model, stream)
    stream.seek(0)
    assert same_answers(joblib.load(stream), model)


# ---- copies


def test_a_copy_is_the_model_as_it_was(world: Any) -> None:
    data, info = world
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    shallow, deep, before = copy.copy(model), copy.deepcopy(model), model.recommend(n_rec=3, verbose=0)
    model.fit(data, neg_sampling=True, verbose=0)
    for other in (shallow, deep):
        assert other.recommend(n_rec=3, verbose=0).equals(before)
        assert len(other.history_) == 1


# ---- parameters


def test_parameters_make_an_equal_model(world: Any) -> None:
    model = DeepFM("rating", world[1], hidden_units=[8, 4], lr=np.float64(0.02), embed_dropout=[0.1, 0])
    same = DeepFM(**model.get_params())
    assert repr(same) == repr(model)
    assert same.data_info is model.data_info
    assert {"task", "data_info", "hidden_units", "lr"} <= model.get_params().keys()


def test_a_clone_has_the_settings_and_the_data_and_is_not_trained(model: DeepFM) -> None:
    for one in (model, DeepFM("ranking", model.data_info, hidden_units=[8, 4], embed_dropout=[0.1, 0])):
        other = clone(one)
        assert other.get_params() == one.get_params()
        assert other.data_info is one.data_info
        with pytest.raises(NotFittedError):
            _ = other.engine


def test_parameters_are_set_together_or_not_at_all(world: Any) -> None:
    model = FM("ranking", world[1])
    assert model.set_params(lr=0.5, n_epochs=2) is model
    assert (model.lr, model.n_epochs) == (0.5, 2)
    with pytest.raises(ValueError, match="n_epochs must be at least 1"):
        model.set_params(lr=0.1, n_epochs=0)
    assert (model.lr, model.n_epochs) == (0.5, 2)
    with pytest.raises(ValueError, match=r"'epochs' is not a setting of FM; did you mean 'n_epochs'"):
        model.set_params(epochs=1)
    assert model.set_params() is model


def test_a_trained_model_keeps_what_shapes_its_weights(world: Any) -> None:
    data, info = world
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    with pytest.raises(ValueError, match=r"trained with its embed_size: make a new one"):
        model.set_params(embed_size=3)
    assert model.set_params(lr=0.5, embed_size=model.embed_size).fit(data, neg_sampling=True, verbose=0).lr == 0.5


def test_copies_are_whole_beside_a_thread_that_changes_the_model(world: Any) -> None:
    data, info = world
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    stop, errors, interval = threading.Event(), list[Exception](), sys.getswitchinterval()

    def change() -> None:
        number = 10**6
        while not stop.is_set():
            number += 1
            model.add_users(pd.DataFrame({"user": [number], "sex": ["F"]}))
            event = pd.DataFrame({"user": [number], "item": info.popular_items[:1], "label": [1], "sex": ["F"]})
            model.grow(DatasetFeat.merge_trainset(event, model.data_info)[1])  # which gives them a row of their own
            if number % 20 == 0:
                model.forget(users=range(number - 19, number + 1))

    def copies() -> None:
        while not stop.is_set():
            other = copy.copy(model)
            info, n_rows = other.data_info, len(other._state["network.user.trained"])
            same = info.n_users == other.engine.data_info.n_users and info.n_vectors == (n_rows - 6, 40)
            if not same:
                errors.append(AssertionError(f"{info} in the data, and others in weights or engine"))

    threads = [threading.Thread(target=work) for work in (change, copies, copies)]
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        time.sleep(3)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not errors, errors[0]


def test_nothing_of_a_former_state_is_freed_before_the_new_one_is_whole(world: Any) -> None:
    """To free a tensor lets other threads go on, which then saw half of a change."""
    model, seen = FM("ranking", world[1]), list[Any]()

    class Freed:
        def __del__(self) -> None:
            seen.append(vars(model)["second"])

    model._take({"first": Freed(), "second": "old"})
    model._take({"first": None, "second": "new"})
    assert seen == ["new"]
