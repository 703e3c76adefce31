"""Users and items that a model forgets."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recolib import load
from recolib.algorithms import FM, DeepFM
from recolib.data import DatasetFeat
from recolib.exceptions import UnknownIdWarning

N = 3000


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Features that change, lists, contexts, and values that one user or one item alone has."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 60, N), rng.integers(0, 40, N)
    tags = [["new", f"tag{i % 5}"] if at > N // 2 else [f"tag{i % 5}", f"only-{i:02}-tag"] for at, i in enumerate(item)]
    return pd.DataFrame(
        {
            "user": [f"person-{u:02}@example.org" for u in user],
            "item": [f"thing-{i:02}" for i in item],
            "label": 1,
            "time": np.arange(N),
            "town": [f"street-{u:02}" for u in user],
            "age": user % 7 + 20.0,
            "kind": item % 4,
            "tags": tags,
            "hour": rng.integers(0, 24, N),
        }
    )


COLUMNS: dict[str, Any] = {
    "user_col": ["town", "age"],
    "item_col": ["kind", "tags"],
    "context_col": ["hour"],
    "sparse_col": ["town", "kind", "hour"],
    "multi_sparse_col": ["tags"],
    "dense_col": ["age"],
}
USER, OTHER, ITEM = "person-07@example.org", "person-08@example.org", "thing-11"


@pytest.fixture(params=["plain", "average", "rows"])
def model(frame: pd.DataFrame, request: Any) -> DeepFM:
    how = {"plain": {}, "average": {"ema": 0.9, "id_dropout": 0.1}, "rows": {"optimizer": "rowwise_adagrad"}}
    data, info = DatasetFeat.build_trainset(frame, **COLUMNS)
    settings = {"n_epochs": 2, "hidden_units": (8,), "embed_size": 4, **how[request.param]}
    return DeepFM("ranking", info, **settings).fit(data, neg_sampling=True, verbose=0)


def test_the_forgotten_are_unknown_and_in_no_file(model: DeepFM, tmp_path: Any) -> None:
    before = model.save(tmp_path, "before").read_bytes()
    names = [USER, ITEM, "street-07", "only-11-tag"]
    assert all(name.encode() in before for name in names)
    assert model.forget(users=USER, items=[ITEM]) is model
    info, file = model.data_info, model.save(tmp_path, "after")
    for content in (file.read_bytes(), pickle.dumps(model), pickle.dumps(info), repr(vars(model)).encode()):
        assert not [name for name in names if name.encode() in content]
    assert (info.n_users, info.n_items) == (59, 39)
    for one in (model, load(file)):
        assert USER not in one.data_info.user2id
        assert ITEM not in one.data_info.item2id
        with pytest.warns(UnknownIdWarning, match="1 unknown users"):
            lists = one.recommend_user(USER, 39, context={"hour": 3}, filter_consumed=False)
        assert ITEM not in lists[USER]
    assert not any(name in str(table) for table in (info.user_frame(), info.item_frame()) for name in names)


def test_all_others_keep_what_was_learnt_of_them(model: DeepFM, frame: pd.DataFrame) -> None:
    rest = frame[(frame["user"] != USER) & (frame["item"] != ITEM)]
    users, items = rest["user"].to_numpy()[:300], rest["item"].to_numpy()[:300]
    info, before = model.data_info, model.predict(users, items, feats={"hour": 3})
    consumed = {info.id2user[u]: {info.id2item[i] for i in some} - {ITEM} for u, some in info.user_consumed.items()}
    model.forget(users=USER, items=ITEM)
    np.testing.assert_allclose(model.predict(users, items, feats={"hour": 3}), before, atol=1e-6)
    now = model.data_info
    kept = {now.id2user[u]: {now.id2item[i] for i in some} for u, some in now.user_consumed.items()}
    assert kept == {user: some for user, some in consumed.items() if user != USER}
    assert {now.id2item[i] for i in now.item_consumed} == {*rest["item"]}
    columns = ["user", "town", "age"]
    old = info.user_frame()[columns]
    assert now.user_frame()[columns].equals(old[old["user"] != USER].reset_index(drop=True))


def test_moments_stay_with_their_rows(model: DeepFM) -> None:
    def rows(model: DeepFM, side: str, name: str) -> dict[Any, torch.Tensor]:
        vocab = model.data_info.vocabs[side].values
        return {one: model._state[name][2 + at] for at, one in enumerate(vocab.tolist())}  # the ids come first

    names = [
        (side, name)
        for name, tensor in model._state.items()
        for side in ("user", "item")
        if f".{side}.vectors.weight" in name and tensor.dim()
    ]
    assert len(names) >= 4
    before = {name: rows(model, side, name) for side, name in names}
    model.forget(users=[USER, OTHER], items=ITEM)
    for side, name in names:
        now = rows(model, side, name)
        assert all(torch.equal(tensor, before[name][one]) for one, tensor in now.items()), name
        assert len(now) == len(before[name]) - (2 if side == "user" else 1)


def test_a_model_without_them_trains_on(model: DeepFM, frame: pd.DataFrame) -> None:
    data = DatasetFeat.build_trainset(frame, **COLUMNS)[0]
    model.forget(users=USER, items=ITEM)
    with pytest.raises(ValueError, match="other data"):
        model.fit(data, neg_sampling=True, verbose=0)
    model.update(frame.tail(50), neg_sampling=True, verbose=0)
    rest = frame[(frame["user"] != USER) & (frame["item"] != ITEM)]
    again = DatasetFeat.build_testset(rest, data_info=model.data_info)
    assert len(model.history_) == 3  # two epochs, and one of few events
    model.fit(again, neg_sampling=True, verbose=0)
    assert len(model.history_) == 3 + model.n_epochs


def test_who_comes_back_is_new(model: DeepFM, frame: pd.DataFrame) -> None:
    model.forget(users=USER)
    own = frame[frame["user"] == USER]
    model.update(own, neg_sampling=True, verbose=0)
    info = model.data_info
    assert {info.id2item[item] for item in info.user_consumed[info.user2id[USER]]} == {*own["item"]}


def test_unknown_ids_are_told_and_nothing_changes(model: DeepFM) -> None:
    before = model.recommend(n_rec=3, context={"hour": 3}, verbose=0)
    with pytest.warns(UnknownIdWarning, match="1 unknown users, such as 'nobody': there is nothing to forget"):
        model.forget(users="nobody")
    assert model.recommend(n_rec=3, context={"hour": 3}, verbose=0).equals(before)
    with pytest.raises(ValueError, match="name whom to forget"):
        model.forget()
    with pytest.raises(ValueError, match="no user would be left"):
        model.forget(users=list(model.data_info.user2id))
    assert model.recommend(n_rec=3, context={"hour": 3}, verbose=0).equals(before)


def test_ids_without_a_vector_of_their_own_are_forgotten_too(frame: pd.DataFrame, tmp_path: Any) -> None:
    """Those have features and no event."""
    known = frame.drop_duplicates("item")[["item", "kind"]]
    fresh = pd.DataFrame({"item": ["fresh-0", "fresh-1", "fresh-2"], "kind": [0, 1, 2]})
    columns: dict[str, Any] = {"item_col": ["kind"], "sparse_col": ["kind"]}
    events = frame[["user", "item", "label", "time"]]
    data, info = DatasetFeat.build_trainset(events, **columns, item_features=pd.concat([known, fresh]))
    model = FM("ranking", info, n_epochs=2, num_neg=1).fit(data, neg_sampling=True, verbose=0)
    users, items = [OTHER] * 4, ["thing-01", "thing-39", "fresh-0", "fresh-2"]
    before = model.predict(users, items)
    model.forget(users=USER, items="fresh-1")
    assert (model.data_info.n_vectors, model.data_info.n_items) == ((59, 40), 42)
    for one in (model, load(model.save(tmp_path, "after"))):
        np.testing.assert_allclose(one.predict(users, items), before, atol=1e-6)
    model.forget(items=[ITEM, "fresh-0"])
    np.testing.assert_allclose(model.predict(users[:2], items[:2]), before[:2], atol=1e-6)
    model.update(events[events["user"] == OTHER].assign(item="fresh-2"), neg_sampling=True, verbose=0)
    assert model.data_info.n_vectors == (59, 40) == (model.data_info.n_users, model.data_info.n_items)


def test_ids_of_both_types_and_models_that_were_never_trained() -> None:
    frame = pd.DataFrame({"user": [1, "1", 2, "b", 2], "item": [1, 2, 3, 4, "x"], "label": 1})
    info = DatasetFeat.build_trainset(frame)[1]
    model = FM("ranking", info).forget(users=["1", "b"], items="x")
    assert list(model.data_info.user2id) == [1, 2]
    assert list(model.data_info.item2id) == [1, 2, 3, 4]
    assert model.data_info.user_consumed[2].tolist() == [3]
    assert info.n_users == 4


def test_readers_are_served_meanwhile(model: DeepFM) -> None:
    engine = model.engine
    model.forget(users=USER)
    code = engine.data_info.user2id[USER]
    assert engine is not model.engine
    assert engine.data_info.id2user[code] == USER
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.recommend_user(OTHER, 3, context={"hour": 1})
