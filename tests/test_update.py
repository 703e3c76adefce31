"""A model goes on with more data: what it knew stays, what is new begins at the mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_contract import ALGORITHMS, TYPICAL
from worlds import COLUMNS, World, rated, two_tastes

import recolib
from recolib import FM, DataInfo, DatasetFeat, DatasetPure, DeepFM, NotFittedError
from recolib.exceptions import UnseenValueWarning
from recolib.recommender import Recommender
from recolib.update import lr_of_update

pytestmark = pytest.mark.filterwarnings("ignore:no context given", "ignore:.*lists are shorter")
ALL = World(two_tastes(), COLUMNS["all kinds"])
COMMON: dict[str, Any] = {"embed_size": 4, "n_epochs": 2, "lr": 0.02, "batch_size": 64}
KEPT = ["adam", "lazy_adam", "adagrad", "rowwise_adagrad", "sgd"]


def later(frame: pd.DataFrame | None = None) -> pd.DataFrame:
    """Events after those of the world, of people, things and values known and new."""
    frame = two_tastes() if frame is None else frame
    known = frame.tail(20).assign(time=lambda f: f["time"] + 1000)
    new = frame.head(20).assign(user=lambda f: f["user"] + 500, item=lambda f: "n" + f["item"], sex="X", hour=9)
    return pd.concat([known, new.assign(time=np.arange(2000, 2020))], ignore_index=True)


def fitted(algorithm: type[Recommender] = FM, task: str = "ranking", **settings: Any) -> Recommender:
    frame = two_tastes() if task == "ranking" else rated(two_tastes())
    data, info = World(frame, ALL.columns).build()
    return algorithm(task, info, **{**COMMON, **settings}).fit(data, neg_sampling=task == "ranking", verbose=0)


def kept(model: Recommender) -> dict[str, torch.Tensor]:
    return model._state


def origin(old: DataInfo, new: DataInfo, side: Any) -> torch.Tensor:
    """Where each row of a grown table was before; −1 for new ones. Counted field by field."""
    rows: list[int] = []
    start = 0
    for part in (side, "context") if side == "user" else (side,):
        for field in old.schema.codes(part):
            n, more = len(old.vocabs[field.name]) + 2, len(new.vocabs[field.name]) + 2
            rows += [*range(start, start + n), *[-1] * (more - n)]
            start += n
    return torch.tensor(rows)


@pytest.mark.parametrize("optimizer", KEPT)
@pytest.mark.parametrize("ema", [None, 0.9])
def test_old_rows_stay_new_ones_are_the_mean_and_the_optimiser_goes_on(optimizer: str, ema: float | None):
    model = fitted(DeepFM, optimizer=optimizer, ema=ema, hidden_units=(6,), initial_accumulator_value=0.1)
    before, info = kept(model), model.data_info
    merged = DatasetFeat.merge_trainset(later(), info)[1]
    after = kept(model.grow(merged))
    assert model.data_info is merged
    assert before.keys() == after.keys()
    grown = 0
    for name, tensor in before.items():
        side = next(
            (side for side in ("user", "item") if f".{side}.vectors" in name or f".{side}.weights" in name), None
        )
        if side is None or tensor.dim() == 0:
            assert name.endswith(".trained") or torch.equal(tensor, after[name]), name
            continue
        came_from = origin(info, merged, side)
        assert torch.equal(after[name][came_from >= 0], tensor), name
        new = after[name][came_from < 0]
        assert len(new)
        grown += 1
        if not name.startswith(("network", "average")):
            assert (new == (0.1 if name.endswith("sum") else 0.0)).all(), name
            continue
        first_block = tensor[: len(info.vocabs[side]) + 2]
        trained = before[f"network.{side}.trained"][: len(first_block)]
        mean = first_block[trained].mean(0)
        n_new = len(merged.vocabs[side]) - len(info.vocabs[side])
        torch.testing.assert_close(after[name][len(first_block) : len(first_block) + n_new], mean.expand(n_new, -1))
    assert grown >= 4
    for side in ("user", "item"):
        was, now = before[f"network.{side}.trained"], after[f"network.{side}.trained"]
        came_from = origin(info, merged, side)
        assert torch.equal(now[came_from >= 0], was)
        assert not now[came_from < 0].any()


@pytest.mark.parametrize(
    ("algorithm", "task"),
    [(one, "ranking") for one in ALGORITHMS] + [(one, "rating") for one in TYPICAL],
    ids=lambda p: p if isinstance(p, str) else f"{p[0].__name__}-{'-'.join(map(str, p[1].values()))}",
)
def test_every_algorithm_says_the_same_of_what_it_knew_and_learns_the_new(
    algorithm: tuple[type[Recommender], dict[str, Any]], task: str
):
    cls, more = algorithm
    model = fitted(cls, task, **more)
    frame = two_tastes()
    asked = frame["user"].tolist(), frame["item"].tolist()
    before = model.predict(*asked, feats=frame[["hour"]])
    data, info = DatasetFeat.merge_trainset(later(), model.data_info)
    model.grow(info)
    went_on = frame["user"].isin(later()["user"]).to_numpy()  # whose past is longer now
    alike = ~went_on if model.engine.network.trains_on_past else slice(None)
    np.testing.assert_array_equal(model.predict(*asked, feats=frame[["hour"]])[alike], before[alike])
    new = model.predict(600, ["ni0", "ni2", "i0"])
    assert np.isfinite(new).all()
    model.fit(data, neg_sampling=task == "ranking", verbose=0)
    assert (model.predict(600, ["ni0", "ni2", "i0"]) != new).all()
    assert model.history_["epoch"].tolist() == [1, 2, 3, 4]


def test_without_replay_update_is_merge_grow_and_fit_at_the_rate_of_an_update():
    one, other = fitted(), fitted()
    data, info = DatasetFeat.merge_trainset(later(), one.data_info)
    one.lr = lr_of_update(one.lr, len(data) / info.data_size)
    one.grow(info).fit(data, neg_sampling=True, verbose=0)
    assert other.update(later(), neg_sampling=True, verbose=0, replay=0) is other
    for name, tensor in kept(one).items():
        assert torch.equal(tensor, kept(other)[name]), name
    assert (other.n_users, other.n_items) == (info.n_users, info.n_items)
    assert (other.lr, other.n_epochs) == (COMMON["lr"], COMMON["n_epochs"])
    assert one.lr < other.lr


@pytest.mark.parametrize("sampler", ["random", "unconsumed", "popular"])
def test_a_set_from_before_an_update_trains_and_is_measured_with_new_items_as_negatives(sampler: str):
    frame = two_tastes()
    frame.loc[frame.index % 3 == 0, "price"] += 1.0  # earlier rows stand behind those of the items
    data, info = World(frame, ALL.columns).build()
    assert len(data.items.rows) > info.n_items + 1
    strange = DatasetFeat.build_evalset(frame.tail(40).assign(item=lambda f: "s" + f["item"]), data_info=info)
    model = FM("ranking", info, sampler=sampler, **COMMON).fit(data, neg_sampling=True, verbose=0)
    model.update(later(frame), neg_sampling=True, verbose=0)

    for one in (data, strange):
        wider = one.with_items_of(model.data_info)
        assert wider.items.n_ids == model.data_info.n_items > info.n_items
        assert (wider.item_keys == one.item_keys).all()
        both = [some.items.rows[torch.from_numpy(some.item_rows)] for some in (one, wider)]
        assert torch.equal(both[0].codes, both[1].codes)
        assert torch.equal(both[0].dense, both[1].dense)
        every = np.arange(1, model.data_info.n_items + 1, dtype=np.int32)
        for time in (-1.0, 1e9):
            rows = wider.items.at(every, np.full(len(every), time))
            assert (wider.items.owner[rows] == every).all()
        assert np.isfinite(recolib.evaluate(model, one, neg_sampling=True)["loss"])

    before = model.item_vectors().copy()
    model.fit(data, neg_sampling=True, verbose=0)
    assert np.isfinite(model.history_["train_loss"]).all()
    new = [model.data_info.item2id[item] - 1 for item in later(frame)["item"] if item[0] == "n"]
    assert (model.item_vectors()[new] != before[new]).any(1).all()


def test_updates_follow_each_other_through_files(tmp_path: Path):
    frame = two_tastes(60, 40).sort_values("time")
    parts = [frame.iloc[at : at + 200] for at in range(0, len(frame), 200)]
    assert len(parts) >= 4
    data, info = World(parts[0], ALL.columns).build()
    alone = FM("ranking", info, **COMMON).fit(data, neg_sampling=True, verbose=0)
    stored = recolib.load(alone.save(tmp_path, "m"))
    for part in parts[1:]:
        alone.update(part, neg_sampling=True, verbose=0)
        stored.update(part, neg_sampling=True, verbose=0)
        stored = recolib.load(stored.save(tmp_path, "m"))
    for name, tensor in kept(alone).items():
        assert torch.equal(tensor, kept(stored)[name]), name
    assert stored.data_info.data_size == sum(map(len, parts))
    assert alone.recommend(n_rec=3).equals(stored.recommend(n_rec=3))


def test_what_was_updated_learns_the_taste_of_those_who_came():
    first, rest = two_tastes(40, 30).pipe(lambda f: (f[f["user"] < 120], f[f["user"] >= 120]))
    data, info = DatasetPure.build_trainset(first)
    model = FM("ranking", info, embed_size=8, n_epochs=25, lr=0.02, batch_size=64).fit(data, True, verbose=0)
    model.update(rest, neg_sampling=True, verbose=0)
    lists = model.recommend_user(list(range(120, 140)), 3)
    right = [int(item[1:]) % 2 == user % 2 for user, items in lists.items() for item in items]
    assert np.mean(right) > 0.75
    assert not any(set(items) & set(rest.loc[rest["user"] == user, "item"]) for user, items in lists.items())


def test_rating_bounds_are_united():
    data, info = DatasetPure.build_trainset(rated(two_tastes()).query("label == 1"))
    model = FM("rating", info, **COMMON).fit(data, neg_sampling=False, verbose=0)
    assert (model.lower_bound, model.upper_bound) == (1, 1)
    model.update(rated(two_tastes()).query("label == 5"), neg_sampling=False, verbose=0)
    assert (model.lower_bound, model.upper_bound) == (1, 5)
    own = FM("rating", info, lower_upper_bound=(0, 10), **COMMON).fit(data, neg_sampling=False, verbose=0)
    own.update(rated(two_tastes()).query("label == 5"), neg_sampling=False, verbose=0)
    assert (own.lower_bound, own.upper_bound) == (0, 10)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda frame: frame.drop(columns="item"), ValueError),
        (lambda frame: frame.assign(label=0), ValueError),  # no positive row
        (lambda frame: frame.assign(age=np.inf), ValueError),
        (lambda frame: frame.drop(columns="price"), ValueError),
    ],
)
def test_an_update_that_is_refused_leaves_the_model_as_it_was(change: Any, error: type[Exception]):
    model = fitted()
    info, before, history = model.data_info, kept(model), model.history_
    lists = model.recommend(n_rec=3)
    with pytest.raises(error):
        model.update(change(later()), neg_sampling=True, verbose=0)
    assert model.data_info is info
    assert all(torch.equal(tensor, kept(model)[name]) for name, tensor in before.items())
    assert model.history_.equals(history)
    assert model.recommend(n_rec=3).equals(lists)


def test_an_update_that_explodes_leaves_the_model_as_it_was():
    model = fitted(DeepFM, hidden_units=(6,))
    info, before = model.data_info, kept(model)
    model.lr = 1e30
    with pytest.raises(FloatingPointError):
        model.update(later(), neg_sampling=True, verbose=0)
    assert model.data_info is info
    assert all(torch.equal(tensor, kept(model)[name]) for name, tensor in before.items())
    assert np.isfinite(model.predict(100, "i0"))


def test_a_model_grows_into_what_its_data_became_and_nothing_else():
    model = fitted()
    other = World(two_tastes(seed=5), ALL.columns).build()[1]
    with pytest.raises(ValueError, match="with more merged into it"):
        model.grow(other)
    with pytest.raises(TypeError, match="data_info must be a DataInfo"):
        model.grow(two_tastes())  # type: ignore[arg-type]
    with pytest.raises(NotFittedError):
        FM("ranking", model.data_info).update(later(), neg_sampling=True)


# ---- as LibRecommender's users do it


@pytest.mark.parametrize("full_assign", [True, False])
def test_a_rebuilt_model_is_the_saved_one_grown(tmp_path: Path, full_assign: bool):
    model = fitted(ema=0.9)
    model.save(tmp_path, "m")
    data, info = DatasetFeat.merge_trainset(later(), DataInfo.load(tmp_path, "m"))
    rebuilt = FM("ranking", info, ema=0.9, **COMMON)
    assert rebuilt.rebuild_model(tmp_path, "m", full_assign) is rebuilt
    model.grow(info)
    names = [name for name in kept(model) if full_assign or name.startswith("network")]
    assert full_assign == any(name.startswith("adam") for name in kept(rebuilt))
    for name in names:
        assert torch.equal(kept(rebuilt)[name], kept(model)[name]), name
    assert rebuilt.history_["epoch"].tolist() == [1, 2]
    rebuilt.fit(data, neg_sampling=True, verbose=0)
    assert rebuilt.history_["epoch"].tolist() == [1, 2, 3, 4]
    if full_assign:
        model.fit(data, neg_sampling=True, verbose=0)
        assert all(torch.equal(tensor, kept(rebuilt)[name]) for name, tensor in kept(model).items())


def test_what_cannot_be_rebuilt_is_refused(tmp_path: Path):
    model = fitted()
    model.save(tmp_path, "m")
    info = DatasetFeat.merge_trainset(later(), model.data_info)[1]
    with pytest.raises(FileNotFoundError):
        FM("ranking", info, **COMMON).rebuild_model(tmp_path, "other")
    with pytest.raises(ValueError, match="holds FM, not DeepFM"):
        DeepFM("ranking", info, **COMMON).rebuild_model(tmp_path, "m")
    with pytest.raises(ValueError, match="trained already"):
        model.rebuild_model(tmp_path, "m")
    with pytest.raises(ValueError, match="does not go on from"):
        FM("ranking", World(two_tastes(seed=5), ALL.columns).build()[1], **COMMON).rebuild_model(tmp_path, "m")
    with pytest.raises(ValueError, match="the weights"):
        FM("ranking", info, **{**COMMON, "embed_size": 5}).rebuild_model(tmp_path, "m")


# ---- ids by their features alone


def test_items_and_users_are_added_without_training():
    model = fitted(id_dropout=0.3, n_epochs=15)
    frame, history = two_tastes(), model.history_
    asked = frame["user"].tolist(), frame["item"].tolist()
    before = model.predict(*asked)
    plain = {"genre2": "missing", "price": 3.0, "tags": [[], []]}
    model.add_items(pd.DataFrame({"item": ["e", "o"], "genre1": ["even", "odd"], **plain}))
    model.add_users(pd.DataFrame({"user": [900, 901], "sex": ["F", "M"], "age": 22.0}))
    np.testing.assert_array_equal(model.predict(*asked), before)
    assert model.history_.equals(history)
    with pytest.warns(UserWarning, match="no context given"):
        scores = model.predict([900, 901, 900, 901], ["e", "e", "o", "o"])
    assert scores[0] > scores[1]
    assert scores[3] > scores[2]
    lists = model.recommend_user([900, 901], 5)
    right = [int(item[1:]) % 2 == user % 2 for user, items in lists.items() for item in items]
    assert np.mean(right) == 1
    assert not {"e", "o"} & {item for items in lists.values() for item in items}
    shown = model.recommend_user([900, 901], 22, include_cold_items=True)
    assert all({"e", "o"} <= set(items) for items in shown.values())


def test_who_was_added_is_what_a_frame_of_features_would_have_said(tmp_path: Path):
    columns = {"user_col": ["sex"], "item_col": ["genre1"], "sparse_col": ["sex", "genre1"]}
    frame = two_tastes()
    of_items = frame.drop_duplicates("item")[["item", "genre1"]]
    fresh = pd.DataFrame({"item": ["fresh"], "genre1": ["odd"]})
    events = frame.drop(columns="genre1")
    both = pd.concat([of_items, fresh])
    known = DatasetFeat.build_trainset(events, **columns, item_features=both)[1]
    data, info = DatasetFeat.build_trainset(events, **columns, item_features=of_items)
    model = FM("ranking", info, id_dropout=0.2, **COMMON).fit(data, neg_sampling=True, verbose=0).add_items(fresh)
    assert model.data_info.fingerprint == known.fingerprint
    assert torch.equal(model.data_info.items.rows.codes, known.items.rows.codes)
    assert recolib.load(model.save(tmp_path, "m")).predict(100, "fresh") == model.predict(100, "fresh")
    stranger = model.predict(100, "unheard of", feats={"genre1": "odd"}, cold_start="features")
    assert model.predict(100, "fresh") == pytest.approx(stranger, rel=1e-5)


def test_new_values_of_those_who_are_added_begin_at_the_mean():
    model = fitted()
    model.add_users(pd.DataFrame({"user": [900, 901], "sex": ["X", "F"], "age": 22.0}))
    info = model.data_info
    assert info.vocabs["sex"].code("X") == 3
    stranger = model.predict("new", "i2", feats={"age": 22.0, "hour": 1})
    assert model.predict(900, "i2", feats={"hour": 1}) == pytest.approx(stranger, rel=1e-5)


def test_who_was_added_gets_a_vector_with_the_first_events():
    model = fitted()
    model.add_items(two_tastes().head(1).assign(item="fresh")[["item", "genre1", "genre2", "price", "tags"]])
    code = model.data_info.item2id["fresh"]
    assert model.data_info.items.rows.codes[code, 0] == 0
    model.update(two_tastes().head(9).assign(item="fresh"), neg_sampling=True, verbose=0)
    assert model.data_info.items.rows.codes[code, 0] == code
    embedding = model.engine.network.item  # pyright: ignore[reportPrivateUsage]
    assert embedding.trained[code + 1]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"item": ["n", "n"], "price": [1.0, 2.0]}), "several rows of"),
        (pd.DataFrame({"item": ["i0", "n", "i0"], "price": [1.0, 2.0, 3.0]}), "several rows of"),
        (pd.DataFrame({"item": ["i0", "n"], "price": [5.0, np.inf]}), "price"),
        (pd.DataFrame({"item": ["n"], "prise": [1.0]}), "prise.*price"),
        (pd.DataFrame({"item": ["n"], "sex": ["F"]}), "sex"),
        (pd.DataFrame({"item": ["n"], "genre1": ["odd"]}), "genre2"),
        (pd.DataFrame({"item": ["n"], "price": [np.inf]}), "price"),
        (pd.DataFrame({"thing": ["n"]}), "item"),
        (pd.DataFrame({"item": [None]}), "item"),
    ],
)
def test_items_that_cannot_be_added_are_refused(frame: pd.DataFrame, message: str):
    model = fitted()
    info = model.data_info
    with pytest.raises(ValueError, match=message):
        model.add_items(frame)
    assert model.data_info is info


def test_known_and_new_items_are_given_at_once_and_twice_is_once(tmp_path: Path):
    model = fitted()
    before, data = model.data_info, DatasetFeat.build_testset(two_tastes(), data_info=model.data_info)
    nightly = pd.DataFrame({"item": ["i3", "new", "i1"], "price": [50.0, 7.5, None], "tags": [["w"], ["y"], None]})
    with pytest.warns(UnseenValueWarning, match="untrained until an update"):
        model.add_items(nightly)
    once = model.data_info.item_frame().set_index("item")
    assert once.loc[["i3", "new"], "price"].tolist() == [50.0, 7.5]
    assert [once["tags"][item] for item in ("i3", "new")] == [["w"], ["y"]]
    was = before.item_frame().set_index("item")
    assert once.loc["i3", "genre1"] == was.loc["i3", "genre1"]
    pd.testing.assert_frame_equal(once.drop(index=["i3", "new"]), was.drop(index="i3"))  # missing changes nothing
    score = model.predict(100, "i3", feats={"hour": 1})
    by_hand = model.predict(100, "i3", feats={"hour": 1, "price": 50.0})
    assert score == pytest.approx(by_hand, rel=1e-5)
    ancestors = model.add_items(nightly).data_info.ancestors
    pd.testing.assert_frame_equal(model.data_info.item_frame().set_index("item"), once)
    assert model.add_items(nightly).data_info.ancestors == ancestors
    assert model.predict(100, "i3", feats={"hour": 1}) == score
    assert recolib.load(model.save(tmp_path, "m")).predict(100, "i3", feats={"hour": 1}) == score
    assert before.item_frame().set_index("item").equals(was)
    model.fit(data, neg_sampling=True, verbose=0)


def test_known_users_are_given_new_features_beside_new_users():
    model = fitted()
    model.add_users(pd.DataFrame({"user": [100, 900], "age": [70.0, 20.0]}))
    users = model.data_info.user_frame().set_index("user")
    assert users.loc[[100, 900], "age"].tolist() == [70.0, 20.0]
    assert users.loc[100, "sex"] == "F"


def test_what_was_true_of_events_stays_when_items_get_new_features():
    frame = two_tastes()
    frame.loc[frame["time"] > frame["time"].median(), "price"] += 100.0
    data, info = World(frame, ALL.columns).build()
    model = FM("ranking", info, **COMMON).fit(data, neg_sampling=True, verbose=0)
    table = model.data_info.items
    model.add_items(pd.DataFrame({"item": ["new", "i3"], "price": [1.0, 2.0]}))
    now, n = model.data_info.items, model.n_items + 1
    assert now.owner[n:].tolist() == table.owner[n - 1 :].tolist()
    assert torch.equal(now.rows.dense[n:], table.rows.dense[n - 1 :])
    code = model.data_info.item2id["i3"]
    rows = now.at(np.full(3, code), np.array([-1, 100, 10**6]))
    assert np.array_equal(np.where(rows < n, rows, rows - 1), table.at(np.full(3, code), np.array([-1, 100, 10**6])))


def test_assigned_features_are_saved_and_survive_an_update(tmp_path: Path):
    model = fitted()
    model.data_info.assign_item_features(pd.DataFrame({"item": ["i1"], "price": [99.0]}))
    before = model.predict(100, "i1", feats={"hour": 1})
    back = recolib.load(model.save(tmp_path, "m"))
    assert back.predict(100, "i1", feats={"hour": 1}) == before
    back.grow(DatasetFeat.merge_trainset(later().query("item != 'i1'"), back.data_info)[1])
    assert back.predict(100, "i1", feats={"hour": 1}) == before


def test_ids_without_events_have_no_rows_in_the_tables_of_vectors(tmp_path):
    frame = two_tastes()
    known = frame.drop_duplicates("item")[["item", "genre1"]]
    fresh = pd.DataFrame({"item": [f"fresh{n}" for n in range(5000)], "genre1": "odd"})
    columns: dict[str, Any] = {"item_col": ["genre1"], "sparse_col": ["genre1"]}
    events = frame.drop(columns="genre1")
    data, info = DatasetFeat.build_trainset(events, **columns, item_features=pd.concat([known, fresh]))
    model = FM("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0)

    def n_rows(model):
        return len(model.engine.network.item.vectors.weight)

    expected = len(known) + 2 + info.vocabs["genre1"].values.size + 2
    assert n_rows(model) == expected
    assert all(len(part) < 100 for name, part in model._state.items() if "item" in name and part.dim())
    loaded = recolib.load(model.save(tmp_path, "model"))
    assert n_rows(loaded) == expected
    pairs = [100] * 4, ["i3", "fresh0", "fresh4999", "fresh7"]
    assert loaded.predict(*pairs).tolist() == model.predict(*pairs).tolist()
    assert len({*model.predict(*pairs)[1:].tolist()}) == 1
    for one in (model, loaded):
        one.add_items(fresh.assign(item=[f"new{n}" for n in range(5000)]))
        assert n_rows(one) == expected
        one.update(events.head(30), neg_sampling=True, verbose=0)
        assert n_rows(one) == expected
        tenth, eleventh = (info.id2item[len(known) + n] for n in (10, 11))
        one.update(events.head(30).assign(item=tenth), neg_sampling=True, verbose=0)
        assert n_rows(one) == expected + 10
        assert one.predict(100, tenth) != one.predict(100, eleventh)
    assert loaded.predict(*pairs).tolist() == model.predict(*pairs).tolist()
    small = DatasetFeat.build_trainset(events, **columns, item_features=known)[1]
    assert info.fingerprint != small.fingerprint


@pytest.mark.parametrize("n_vectors", [[24, 0], [24, 5021], [0, 20], [24], "no", [24, 20.0]])
def test_a_file_that_says_wrong_numbers_of_vectors_is_refused(n_vectors):
    info = DatasetFeat.build_trainset(two_tastes())[1]
    header, arrays = info.packed()
    assert DataInfo.unpacked(header, arrays).n_vectors == info.n_vectors == (info.n_users, info.n_items)
    with pytest.raises((ValueError, TypeError)):
        DataInfo.unpacked(header | {"n_vectors": n_vectors}, arrays)
