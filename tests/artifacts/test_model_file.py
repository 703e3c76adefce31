"""What a model's file promises: the model as it was, or a refusal; and that files of format 1 can be read for ever."""

from __future__ import annotations

import errno
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_files import forged
from worlds import COLUMNS, FLOAT32, make_world, rated, two_tastes

import recolib
from recolib import NotFittedError, files
from recolib.algorithms import (
    AFM,
    ALS,
    DIN,
    EASE,
    FM,
    IFM,
    INN,
    NFM,
    AutoInt,
    DCNv2,
    DeepFM,
    DeepIFM,
    FinalMLP,
    SASRec,
    TwoTower,
    WideDeep,
    YouTubeRetrieval,
)
from recolib.data import DataInfo, DatasetFeat, DatasetPure, Interactions
from recolib.loading import ALGORITHMS
from recolib.nn import Fields, FieldSpec, Joined
from recolib.recommender import Recommender

pytestmark = pytest.mark.filterwarnings(
    "ignore:no context given",
    "ignore:.*lists are shorter",
    "ignore:.*unknown",
    "ignore:.*longer than in training",
    "ignore:.*copying from a non-meta parameter",
)

GOLDEN = Path(__file__).parents[1] / "golden"
COMMON: dict[str, Any] = {"embed_size": 4, "n_epochs": 2, "lr": 0.02, "batch_size": 64, "device": "cpu"}
OWN: dict[type[Recommender], dict[str, Any]] = {
    FM: {"use_bn": True, "dropout_rate": 0.2},
    NFM: {"hidden_units": (6,), "dropout_rate": 0.2, "pair_dropout": 0.1},
    DeepFM: {"hidden_units": (6, 4), "dropout_rate": 0.2, "pair_dropout": 0.1},
    AFM: {"attention_size": 3, "pair_dropout": 0.2},
    IFM: {"attention_size": 3, "field_factors": 2},
    INN: {"attention_size": 3, "field_factors": 2, "hidden_units": (3,)},
    DeepIFM: {"attention_size": 3, "field_factors": 2, "hidden_units": (6,), "pair_share": 0.5, "warmup_steps": 3},
    WideDeep: {"hidden_units": (6, 4), "dropout_rate": 0.2},
    DCNv2: {"cross_layers": 2, "cross_rank": 3, "hidden_units": (6,), "dropout_rate": 0.2},
    AutoInt: {"att_embed_size": (3, 5), "hidden_units": (6,), "dropout_rate": 0.2},
    FinalMLP: {"hidden_units": (6, 4), "second_hidden_units": (4,), "num_heads": 2, "gate_units": (3,)},
    ALS: {"prior": 1.0},
    EASE: {"item_to_item_l2": 5.0},
    SASRec: {"n_layers": 1, "n_heads": 2, "max_history": 7},
    YouTubeRetrieval: {"hidden_units": (6,), "dropout_rate": 0.2},
    TwoTower: {"hidden_units": (6,), "history": True},
    DIN: {"hidden_units": (6, 4), "attention_units": 3, "max_history": 7},
}
SINCE_FORMAT_4 = ALS, EASE, SASRec, YouTubeRetrieval, TwoTower, DIN
"""Algorithms that earlier formats do not have."""
TRAINED = [cls for cls in OWN if cls.has_epochs]
"""Those that are trained; tests/test_history.py tries what is solved for."""
ALGORITHM = pytest.mark.parametrize("cls", TRAINED, ids=lambda cls: cls.__name__)
USERS = list(range(100, 124))
ITEMS = [f"i{number}" for number in range(20)]
Data = tuple[Interactions, DataInfo]


def rich_frame(task: str) -> pd.DataFrame:
    """The world with features that change: an age that rises, and tags that come."""
    frame = two_tastes() if task == "ranking" else rated(two_tastes())
    late = frame["time"] > frame["time"].median()
    return frame.assign(
        age=frame["age"] + late,
        device=[[["phone", "tv"][at % 2], 3][: 1 + at % 2] for at in range(len(frame))],
    )


def rich_data(task: str) -> Data:
    """Every kind of column, and feature frames that know more ids than there are events."""
    frame = rich_frame(task).drop(columns=["sex", "price"])
    return DatasetFeat.build_trainset(
        frame,
        user_col=["sex", "age"],
        item_col=["genre1", "genre2", "price", "tags"],
        context_col=["hour", "device"],
        sparse_col=["sex", "hour"],
        dense_col=["age", "price"],
        multi_sparse_col=[["genre1", "genre2"], "tags", "device"],
        user_features=pd.DataFrame({"user": [*USERS, 999], "sex": ["F", "M"] * 12 + ["X"]}),
        item_features=pd.DataFrame({"item": [*ITEMS, "only here"], "price": np.arange(21) * 1.5}),
    )


def build(task: str, kind: str) -> Data:
    return rich_data(task) if kind == "rich" else make_world(task, kind).build()


def train(model: Recommender, data: Interactions) -> Recommender:
    return model.fit(data, neg_sampling=model.task == "ranking", verbose=0)


def fitted(cls: type[Recommender], task: str = "ranking", kind: str = "rich", **more: Any) -> Recommender:
    data, info = build(task, kind)
    return train(cls(task, info, **{**COMMON, **OWN.get(cls, {}), **more}), data)


def answers(model: Recommender) -> dict[str, Any]:
    """What a model says to all kinds of questions, as JSON has it; floats are exact."""
    users, items = np.repeat(USERS, len(ITEMS)).tolist(), ITEMS * len(USERS)
    said: dict[str, Any] = {
        "predict": model.predict(users, items).tolist(),
        "strangers": model.predict(["new", 100, "new"], ["i1", "thing", "thing"]).tolist(),
        "popular": model.predict(["new", 100], ["i1", "thing"], cold_start="popular").tolist(),
        "lists": {user: found.tolist() for user, found in model.recommend_user([*USERS, "new"], 7).items()},
        "popular lists": model.recommend_user("new", 5, cold_start="popular")["new"].tolist(),
        "default": model.default_recs.tolist(),
        "history": model.history_.to_dict("list"),
        "repr": repr(model),
    }
    if model.data_info.context_col:
        feats = {"age": 30, "hour": 2, "price": 3.5, "tags": ["x", "z"], "sex": "F"}
        said["features"] = model.predict(USERS, "i2", feats=feats).tolist()
        asked = {"user_feats": {"sex": "M", "age": 25}, "context": {"hour": 1}, "return_scores": True}
        said["stranger's lists"] = [part.tolist() for part in model.recommend_user("new", 5, **asked)["new"]]
    return said


def state(model: Recommender) -> dict[str, torch.Tensor]:
    return model._state


def same_state(one: Recommender, other: Recommender) -> bool:
    mine, theirs = state(one), state(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def settings(model: Recommender) -> dict[str, Any]:
    return {field.name: getattr(model, field.name) for field in fields(model) if field.name != "data_info"}


# ---- what is saved is what is loaded


def test_every_algorithm_is_tried():
    assert {*ALGORITHMS.values()} == {*OWN}
    assert set(COLUMNS) >= {"pure", "all kinds"}


@ALGORITHM
@pytest.mark.parametrize(("task", "kind"), [("ranking", "pure"), ("rating", "all kinds"), ("ranking", "rich")])
def test_a_loaded_model_is_the_saved_one(cls, task, kind, tmp_path):
    model = fitted(cls, task, kind)
    before = answers(model)
    file = model.save(tmp_path, "it")
    assert file == tmp_path / "it.safetensors"
    for again in (cls.load(tmp_path, "it"), recolib.load(str(file))):
        assert type(again) is cls
        assert answers(again) == before
        assert settings(again) == settings(model)
        assert same_state(again, model)
        assert again.history_.dtypes.to_dict() == model.history_.dtypes.to_dict()
        assert again.data_info.fingerprint == model.data_info.fingerprint
    assert answers(model) == before  # saving changed nothing


def test_saving_twice_gives_the_same_bytes(tmp_path):
    model = fitted(DeepFM, ema=0.9)
    assert model.save(tmp_path, "one").read_bytes() == model.save(tmp_path, "two").read_bytes()


def test_saving_what_was_loaded_gives_the_same_bytes(tmp_path):
    file = fitted(DeepFM, ema=0.9).save(tmp_path, "one")
    assert recolib.load(file).save(tmp_path, "two").read_bytes() == file.read_bytes()


def test_the_worlds_models_can_tell_their_answers_apart():
    """Else equal answers would say nothing."""
    said = answers(fitted(DeepFM))
    assert len(set(said["predict"])) > 300
    assert len({tuple(items) for items in said["lists"].values()}) > 5
    assert said["features"] != said["predict"][2::20]


@pytest.mark.parametrize("cls", [FM, DeepFM, SASRec])
def test_a_mapped_model_is_the_saved_one_whatever_becomes_of_it_or_its_name(cls, tmp_path):
    model = fitted(cls, "ranking", "rich")
    file = model.save(tmp_path, "it")
    before, content = answers(model), file.read_bytes()
    mapped = recolib.load(file, mapped=True)
    fitted(cls, "ranking", "pure").save(
        tmp_path, "it"
    )  # another model gets the name, and the mapped one keeps the file
    assert answers(mapped) == before
    assert settings(mapped) == settings(model)
    file.write_bytes(content)
    mapped, copy = recolib.load(file, mapped=True), recolib.load(file)
    data, _ = rich_data("ranking")
    assert same_state(train(mapped, data), train(copy, data))
    assert file.read_bytes() == content


def test_a_damaged_file_is_refused_before_it_is_mapped(tmp_path):
    file = fitted(FM, "ranking", "pure").save(tmp_path, "it")
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="its checksum does not match"):
        recolib.load(file, mapped=True)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="it is not a file of recolib's"):
        recolib.load(file, mapped=True)
    with pytest.raises(TypeError, match="mapped must be True or False"):
        recolib.load(file, mapped="yes")


def test_a_fresh_process_gives_the_same_bits(tmp_path):
    models = {cls.__name__: fitted(cls, "rating" if cls is NFM else "ranking") for cls in OWN}
    saved = [str(model.save(tmp_path, name)) for name, model in models.items()]
    program = (
        "import sys, recolib\n"
        "for file in sys.argv[1:]:\n"
        "    print(recolib.load(file).predict([100, 101, 'new'], ['i1', 'i2', 'i3']).tobytes().hex())"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *saved], capture_output=True, text=True, check=True
    )
    expected = [model.predict([100, 101, "new"], ["i1", "i2", "i3"]).tobytes().hex() for model in models.values()]
    assert ran.stdout.split() == expected
    assert len(set(expected)) == len(OWN)


@ALGORITHM
@pytest.mark.parametrize("more", [{}, {"ema": 0.5, "lr_decay": 0.5, "reg": 0.01}])
def test_training_goes_on_as_if_it_had_never_stopped(cls, more, tmp_path):
    data, info = rich_data("ranking")
    model = train(cls("ranking", info, **{**COMMON, **OWN[cls], **more}), data)
    model.save(tmp_path, "half")
    again = cls.load(tmp_path, "half", info)
    half = answers(model)["predict"]
    train(model, data)
    train(again, data)
    assert same_state(again, model)
    assert again.history_["train_loss"].tolist() == model.history_["train_loss"].tolist()
    assert again.history_["epoch"].tolist() == [1, 2, 3, 4]
    assert answers(again)["predict"] == answers(model)["predict"] != half


def test_training_goes_on_with_data_that_is_encoded_anew(tmp_path):
    """In a later process the frame is encoded again; the data of the file is as good as that."""
    model = fitted(DeepFM)
    model.save(tmp_path, "half")
    again = DeepFM.load(tmp_path, "half")
    data = rich_data("ranking")[0]
    assert again.data_info is not data.data_info
    assert same_state(train(again, data), train(model, data))


@pytest.mark.parametrize(
    ("cls", "more"), [*((cls, {}) for cls in TRAINED if not cls.alternates), (DeepFM, {"ema": 0.9})]
)
def test_inference_only_predicts_the_same_and_is_smaller(cls, more, tmp_path):
    data, info = rich_data("ranking")
    model = train(cls("ranking", info, **{**COMMON, **OWN[cls], "embed_size": 64, **more}), data)
    whole, small = model.save(tmp_path, "whole"), model.save(tmp_path, "small", inference_only=True)
    assert small.stat().st_size < 0.7 * whole.stat().st_size
    again = recolib.load(small)
    assert answers(again) == answers(model)
    with pytest.warns(UserWarning, match="its optimiser starts anew"):
        train(again, data)
    assert again.history_["epoch"].tolist() == [1, 2, 3, 4]
    assert np.isfinite(again.history_["train_loss"]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(recolib.load(whole), data)  # and the whole one says nothing


def test_what_was_saved_for_inference_can_be_saved_again(tmp_path):
    model = fitted(DeepFM, ema=0.9)
    once = recolib.load(model.save(tmp_path, "once", inference_only=True))
    twice = recolib.load(once.save(tmp_path, "twice"))
    assert answers(twice) == answers(model)
    with pytest.warns(UserWarning, match="its optimiser starts anew"):
        train(twice, rich_data("ranking")[0])


def test_a_loaded_model_predicts_in_evaluation_mode(tmp_path):
    model = fitted(DeepFM, dropout_rate=0.5, pair_dropout=0.5, embed_dropout=0.5)
    again = recolib.load(model.save(tmp_path, "it"))
    assert not any(module.training for module in again.engine.network.modules())
    assert (
        again.predict(USERS, "i1").tolist()
        == again.predict(USERS, "i1").tolist()
        == model.predict(USERS, "i1").tolist()
    )


def test_loading_leaves_the_global_randomness_alone(tmp_path):
    file = fitted(DeepFM).save(tmp_path, "it")
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(3).tolist(), np.random.rand(3).tolist()  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    recolib.load(file).save(tmp_path, "again")
    assert (torch.rand(3).tolist(), np.random.rand(3).tolist()) == expected  # noqa: NPY002


def test_loading_warns_of_nothing(tmp_path):
    file = fitted(DeepFM).save(tmp_path, "it")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recolib.load(file)


def test_measurements_are_part_of_the_history(tmp_path):
    world = make_world("ranking", "pure")
    data, info = world.build()
    model = FM("ranking", info, **COMMON).fit(
        data, neg_sampling=True, verbose=0, eval_data=world.frame, metrics=["loss", "ndcg"], eval_user_num=10
    )
    again = recolib.load(model.save(tmp_path, "it"))
    assert {"eval_loss", "eval_ndcg"} <= set(again.history_.columns)
    pd.testing.assert_frame_equal(again.history_, model.history_)


def test_a_file_is_overwritten_by_a_later_save(tmp_path):
    model = fitted(FM, kind="pure")
    model.save(tmp_path, "it")
    other = fitted(FM, kind="pure", seed=7)
    other.save(tmp_path, "it")
    assert answers(FM.load(tmp_path, "it")) == answers(other) != answers(model)


# ---- its data


def test_assigned_features_are_in_the_file(tmp_path):
    model = fitted(DeepFM)
    before = model.predict(USERS, "i3").tolist()
    model.data_info.assign_item_features(pd.DataFrame({"item": ["i3"], "price": [99.0], "tags": [["z"]]}))
    model.data_info.assign_user_features(pd.DataFrame({"user": USERS, "sex": ["X"] * len(USERS)}))
    again = recolib.load(model.save(tmp_path, "it"))
    assert again.predict(USERS, "i3").tolist() == model.predict(USERS, "i3").tolist() != before


def test_data_is_shared_where_it_is_given(tmp_path):
    model = fitted(FM)
    file = model.save(tmp_path, "it")
    same = rich_data("ranking")[1]
    for again in (FM.load(tmp_path, "it", same), recolib.load(file, same), recolib.load(file, data_info=same)):
        assert again.data_info is same
        assert answers(again) == answers(model)
    assert FM.load(tmp_path, "it").data_info is not model.data_info


def test_other_data_is_refused(tmp_path):
    file = fitted(FM).save(tmp_path, "it")
    frame = rich_frame("ranking")
    others = [build("ranking", "all kinds")[1], DatasetPure.build_trainset(frame[frame["user"] > 100])[1]]
    for other in others:
        with pytest.raises(ValueError, match="is of other data than the saved model"):
            FM.load(tmp_path, "it", other)
        with pytest.raises(ValueError, match="is of other data than the saved model"):
            recolib.load(file, other)


def test_what_is_no_data_is_refused_by_its_type(tmp_path):
    file = fitted(FM).save(tmp_path, "it")
    with pytest.raises(TypeError, match="data_info must be"):
        recolib.load(file, "data.csv")  # type: ignore[arg-type]


def test_a_models_file_and_a_data_infos_file_are_not_the_same(tmp_path):
    model = fitted(FM)
    model.save(tmp_path, "it")
    info = DataInfo.load(tmp_path, "it")  # the model's file has its data
    assert info.fingerprint == model.data_info.fingerprint
    assert FM.load(tmp_path, "it", info).data_info is info
    file = model.data_info.save(tmp_path, "data")
    with pytest.raises(ValueError, match="it holds a data_info, not a model"):
        recolib.load(file)
    (tmp_path / "data_data_info.safetensors").rename(tmp_path / "data.safetensors")
    with pytest.raises(ValueError, match="it holds a data_info, not a model"):
        FM.load(tmp_path, "data")
    assert DataInfo.load(tmp_path, "data").fingerprint == info.fingerprint
    with pytest.raises(FileNotFoundError, match="'data', 'it'"):
        DataInfo.load(tmp_path, "nothing")


def test_data_of_its_own_file_goes_before_that_of_the_model(tmp_path):
    model = fitted(FM)
    model.save(tmp_path, "it")
    model.data_info.assign_item_features(pd.DataFrame({"item": ["i3"], "price": [99.0]}))
    model.data_info.save(tmp_path, "it")


# ---- settings


def test_the_device_may_be_another(tmp_path):
    model = fitted(FM, kind="pure")
    file = model.save(tmp_path, "it")
    assert recolib.load(file, device="cpu").device == "cpu"
    assert recolib.load(file, device="auto").device == "auto"
    assert answers(recolib.load(file, device="cpu")) == answers(model)
    for load in (lambda: recolib.load(file, device="abacus"), lambda: FM.load(tmp_path, "it", device="abacus")):
        with pytest.raises(ValueError, match="device must be 'auto' or a device that torch can use, got 'abacus'"):
            load()


def test_manual_is_accepted_and_other_arguments_are_checked(tmp_path):
    model = fitted(FM, kind="pure")
    model.save(tmp_path, "it", manual=False)
    model.save(str(tmp_path), "it", True, False)
    assert answers(FM.load(tmp_path, "it", None, True)) == answers(FM.load(tmp_path, "it", manual=False))
    with pytest.raises(TypeError, match="inference_only must be True or False"):
        model.save(tmp_path, "it", inference_only=1)  # type: ignore[arg-type]


def test_settings_of_numpy_are_saved(tmp_path):
    model = fitted(
        DeepFM,
        "rating",
        "pure",
        embed_size=np.int64(4),
        lr=np.float32(0.02),
        hidden_units=[np.int32(6)],
        lower_upper_bound=[np.float64(1), np.int8(5)],
    )
    again = recolib.load(model.save(tmp_path, "it"))
    assert (again.embed_size, again.lr, again.lower_upper_bound) == (4, float(np.float32(0.02)), (1.0, 5.0))
    assert {type(again.embed_size), type(again.lr)} == {int, float}
    assert again.predict(USERS, "i1").tolist() == model.predict(USERS, "i1").tolist()
    data = build("rating", "pure")[0]
    assert same_state(train(again, data), train(model, data))


def test_a_seed_of_numpy_is_a_seed(tmp_path):
    model = fitted(FM, kind="pure", seed=np.int64(3))
    assert recolib.load(model.save(tmp_path, "it")).seed == 3


def test_a_range_is_shown_as_it_was(tmp_path):
    model = fitted(FM, "rating", "pure", lower_upper_bound=(0, 6))
    assert repr(recolib.load(model.save(tmp_path, "it"))) == repr(model)


class Bilinear(FM):
    """An algorithm of one's own."""

    extra: object = None


class Sub(DeepFM):
    """Another, with a setting of numbers."""

    shape: object = (1, 2)


def test_an_algorithm_of_ones_own_is_loaded_by_its_own_class(tmp_path):
    model = fitted(Sub, hidden_units=(6,), shape=[3, 4])
    file = model.save(tmp_path, "it")
    again = Sub.load(tmp_path, "it")
    assert type(again) is Sub
    assert again.shape == [3, 4]
    assert answers(again) == answers(model)
    with pytest.raises(
        ValueError, match=r"test_model_file\.Sub, none of \['AFM', 'ALS', .*\]: load it with that class"
    ):
        recolib.load(file)


def test_a_class_of_ones_own_is_not_taken_for_recolibs_of_that_name(tmp_path):
    own = type("FM", (Sub,), {"__module__": "elsewhere", "__annotations__": {}})
    file = fitted(own, hidden_units=(6,), shape=[3, 4]).save(tmp_path, "it")
    with pytest.raises(ValueError, match=r"holds a elsewhere\.FM, none of"):
        recolib.load(file)
    with pytest.raises(ValueError, match=r"holds elsewhere\.FM, not FM"):
        FM.load(tmp_path, "it")
    assert type(own.load(tmp_path, "it")) is own


def test_a_device_that_is_not_there_is_told_with_the_remedy(tmp_path):
    file = fitted(FM).save(tmp_path, "it")
    file.write_bytes(forged(file.read_bytes(), setting(device="meta")))
    with pytest.raises(ValueError, match="pass device= to load the model elsewhere"):
        recolib.load(file)
    assert recolib.load(file, device="cpu").device == "cpu"


def test_a_component_that_computes_when_it_is_made_can_be_saved(tmp_path):
    class Computing(FM):
        def components(self, spec):
            assert torch.linspace(0, 1, 3)[1].item() == 0.5
            return super().components(spec)

    model = fitted(Computing)
    assert answers(Computing.load(tmp_path, model.save(tmp_path, "it").stem)) == answers(model)


def test_settings_that_no_longer_fit_the_weights_are_not_saved(tmp_path):
    model = fitted(FM)
    model.embed_size += 1
    with pytest.raises(ValueError, match=r"embed_size=\d+ is no size of the weights"):
        model.save(tmp_path, "it")
    assert not list(tmp_path.iterdir())


def test_a_file_in_nobodys_way_is_written_where_there_are_no_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "no locks here")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    assert fitted(FM).save(tmp_path, "it").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["it.safetensors"]


def test_a_file_of_another_algorithm_is_refused_by_name(tmp_path):
    fitted(FM).save(tmp_path, "it")
    for cls in (DeepFM, NFM, Bilinear, Recommender):
        with pytest.raises(ValueError, match=f"'it' in .* holds FM, not {cls.__name__}: use its load"):
            cls.load(tmp_path, "it")


def test_a_model_that_was_not_fitted_is_not_saved(tmp_path):
    model = FM("ranking", rich_data("ranking")[1])
    with pytest.raises(NotFittedError, match="call fit first"):
        model.save(tmp_path / "folder", "it")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"bytes", np.zeros(3), Path("x"), [1, object()], 1j],
    ids=lambda value: type(value).__name__,
)
def test_a_setting_that_cannot_be_saved_is_named(tmp_path, value):
    model = fitted(Bilinear, extra=value)
    with pytest.raises(TypeError, match=r"the setting extra=.* cannot be saved"):
        model.save(tmp_path / "folder", "it")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("what", ["circle", "keys"])
def test_a_setting_that_would_not_come_back_as_it_was_is_named(tmp_path, what):
    circle: list[Any] = []
    circle.append(circle)
    model = fitted(Bilinear, kind="pure", extra=circle if what == "circle" else {1: 2})
    with pytest.raises(TypeError, match=r"the setting extra=.* cannot be saved"):
        model.save(tmp_path, "it")


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = fitted(FM, kind="pure")
    model.save(tmp_path, "it")
    before = (tmp_path / "it.safetensors").read_bytes()
    with torch.no_grad():
        model.engine.network.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"'network.bias' has infinite numbers or NaN"):
        model.save(tmp_path, "it")
    assert (tmp_path / "it.safetensors").read_bytes() == before


# ---- contents that contradict themselves, of which the checksum is right

Edit = Callable[[dict[str, Any], dict[str, np.ndarray]], object]


@pytest.fixture(scope="module")
def victim() -> Recommender:
    return fitted(DeepFM, kind="all kinds", ema=0.9)


@pytest.fixture(scope="module")
def content(victim: Recommender, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return victim.save(tmp_path_factory.mktemp("victim"), "it").read_bytes()


def setting(**values: object) -> Edit:
    return lambda entry, _: entry["header"]["settings"].update(values)


def top(**values: object) -> Edit:
    return lambda entry, _: entry["header"].update(values)


def array(name: str, function: Callable[[np.ndarray], np.ndarray]) -> Edit:
    return lambda _, arrays: arrays.update({f"state.{name}": function(arrays[f"state.{name}"])})


def gone(name: str) -> Edit:
    return lambda _, arrays: arrays.pop(f"state.{name}")


def more(name: str, value: np.ndarray) -> Edit:
    return lambda _, arrays: arrays.update({f"state.{name}": value})


def one_of_another(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def edit(values: np.ndarray) -> np.ndarray:
        values.reshape(-1)[0] = value
        return values

    return edit


VECTORS = "network.user.vectors.weight"
MOMENT, SQUARES = "adam.item.vectors.weight.exp_avg", "adam.user.vectors.weight.exp_avg_sq"
FORGERIES: dict[str, tuple[Edit, str]] = {
    # settings
    "vectors that are huge": (setting(embed_size=10**9), "no size of the weights"),
    "vectors beyond all memory": (setting(embed_size=10**18), "cannot be read"),
    "vectors beyond all integers": (setting(embed_size=10**30), "cannot be read"),
    "vectors of a size that a tensor without numbers has": (
        lambda entry, arrays: [
            setting(embed_size=10**6)(entry, arrays), more("empty", np.zeros((10**6, 0)))(entry, arrays)
        ],
        "the weights",
    ),
    "layers of a size that a tensor without numbers has": (
        lambda entry, arrays: [
            setting(hidden_units=[10**5] * 3)(entry, arrays), more("empty", np.zeros((10**5, 0)))(entry, arrays)
        ],
        "the weights",
    ),
    "vectors of no size": (setting(embed_size=0), "embed_size=0 is no size of the weights"),
    "vectors of a size that is text": (setting(embed_size="4"), "embed_size must be an integer"),
    "vectors of another size": (setting(embed_size=5), "no size of the weights"),
    "a layer that is huge": (setting(hidden_units=[10**9]), "the weights"),
    "layers that are huge": (setting(hidden_units=[10**9, 10**9]), "the weights"),
    "a layer more": (setting(hidden_units=[6, 4, 4]), "the weights are of another network"),
    "no layers": (setting(hidden_units=[]), "hidden_units must be"),
    "layers that are an object": (setting(hidden_units={"a": 1}), "hidden_units must be"),
    "no batch norm": (setting(use_bn=False), "the weights are of another network"),
    "another combination": (setting(combine="concat"), "the weights"),
    "an unknown setting": (setting(code="import os"), r"has settings \['code'\]"),
    "the data as a setting": (setting(data_info="x"), "cannot be read"),
    "a private attribute as a setting": (setting(_state=None), r"has settings \['_state'\]"),
    "no task": (lambda entry, _: entry["header"]["settings"].pop("task"), "task"),
    "an unknown task": (setting(task="theft"), "task must be one of"),
    "a task that is a list": (setting(task=["ranking"]), "task must be one of"),
    "a seed that is huge": (setting(seed=2**70), "cannot be read"),
    "a seed that is text": (setting(seed="x"), "seed must be an integer"),
    "a learning rate that is NaN": (setting(lr=float("nan")), "lr must be above 0"),
    "a decay that is infinite": (setting(lr_decay=float("inf")), "lr_decay must be above 0"),
    "an average of 1": (setting(ema=1.0), "ema must be"),
    "a range that is half": (setting(lower_upper_bound=[1]), "lower_upper_bound must be"),
    "a device that does not exist": (setting(device="abacus"), "device must be"),
    "a device that is a number": (setting(device=-7), "device must be"),
    "a loss that is a list": (setting(loss_type=[]), "cannot be read"),
    "a sampler that does not exist": (setting(sampler="os.system"), "sampler must be one of"),
    "settings that are a list": (top(settings=[]), "settings have names"),
    "settings that are null": (top(settings=None), "settings have names"),
    "settings of nothing": (top(settings={}), "task"),
    "no settings": (lambda entry, _: entry["header"].pop("settings"), "it lacks 'settings'"),
    # algorithm
    "an algorithm that is a function": (top(algorithm="os.system"), "holds a os.system, none of"),
    "an algorithm that is a class of recolib's": (top(algorithm="Recommender"), "holds a Recommender, none of"),
    "another algorithm": (top(algorithm="NFM"), "the saved NFM has settings"),
    "an algorithm that is null": (top(algorithm=None), "the algorithm has a name"),
    "an algorithm that is a list": (top(algorithm=["DeepFM"]), "the algorithm has a name"),
    "no algorithm": (lambda entry, _: entry["header"].pop("algorithm"), "it lacks 'algorithm'"),
    # weights
    "weights of another shape": (array(VECTORS, lambda a: a[:-1]), "the weights"),
    "weights turned round": (array(VECTORS, lambda a: a.T), "the weights"),
    "weights of another type": (array(VECTORS, lambda a: a.astype(np.float64)), "the weights"),
    "weights of half precision": (array(VECTORS, lambda a: a.astype(np.float16)), "the weights"),
    "weights that are integers": (array(VECTORS, lambda a: a.astype(np.int32)), "the weights"),
    "weights that are missing": (gone(VECTORS), "the weights are of another network"),
    "weights that are too many": (more("network.evil", np.zeros(3, np.float32)), "the weights are of another network"),
    "a weight that is NaN": (array(VECTORS, one_of_another(np.nan)), f"'{VECTORS}' has infinite numbers or NaN"),
    "a weight that is infinite": (array("network.bias", one_of_another(np.inf)), "'network.bias' has infinite"),
    "a running variance that is NaN": (
        array("network.components.2.rest.0.running_var", one_of_another(np.nan)), "infinite numbers or NaN",
    ),
    "no weights": (
        lambda _, arrays: [arrays.pop(name) for name in [*arrays] if name.startswith("state.network.")],
        "is no size of the weights",
    ),
    # optimiser and average
    "a moment of another shape": (array("adam.item.vectors.weight.exp_avg", lambda a: a[:-1]), "the weights"),
    "a moment of another type": (array(SQUARES, lambda a: a.astype(np.float64)), "the weights"),
    "a moment that is missing": (gone("adam.user.vectors.weight.exp_avg"), "the optimiser keeps"),
    "a moment that is NaN": (array(MOMENT, one_of_another(np.nan)), "infinite numbers or NaN"),
    "a moment of no weight": (more("adam.nowhere.exp_avg", np.zeros(3, np.float32)), "cannot be read"),
    "a moment of a number that is text": (more("adam.x.exp_avg", np.zeros(3, np.float32)), "cannot be read"),
    "a step that is missing": (gone("adam.user.vectors.weight.step"), "the optimiser keeps"),
    "an average of another shape": (array("average.item.vectors.weight", lambda a: a[:-1]), "the weights"),
    "an average that is missing": (gone("average.user.vectors.weight"), "the weights are of another network"),
    "an average that is NaN": (array("average.user.vectors.weight", one_of_another(np.nan)), "infinite numbers or NaN"),
    # progress
    "no progress": (gone("progress"), "it lacks 'progress'"),
    "progress of one number": (array("progress", lambda a: a[:1]), "cannot be read"),
    "progress of three numbers": (array("progress", lambda a: a[[0, 1, 1]]), "cannot be read"),
    "progress of pairs": (array("progress", lambda a: a[None].repeat(2, 0)), "cannot be read"),
    # history
    "records that are text": (top(records=[{"epoch": "one"}]), "cannot be read"),
    "records that are null": (top(records=None), "cannot be read"),
    "records of null": (top(records=[{"epoch": None}]), "cannot be read"),
    "records of numbers": (top(records=[1.0]), "cannot be read"),
    "records beyond all floats": (top(records=[{"epoch": 10**400}]), "cannot be read"),
    "no records": (lambda entry, _: entry["header"].pop("records"), "it lacks 'records'"),
    # data, of which tests/data/test_persist.py has more
    "data without an array": (lambda _, arrays: arrays.pop("data_info.liked"), "it lacks 'liked'"),
    "no data": (lambda entry, _: entry["header"].pop("data_info"), "it lacks 'data_info'"),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGERIES)
def test_a_model_that_contradicts_itself_is_refused_at_once(content, tmp_path, what):
    edit, match = FORGERIES[what]
    file = tmp_path / "it.safetensors"
    file.write_bytes(forged(content, edit))
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=match):
        recolib.load(file)
    assert time.perf_counter() - begin < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KB


@pytest.mark.parametrize("cls", [AutoInt, FinalMLP], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("value", [7, 64, 65, 10**9])
def test_heads_are_refused_before_they_are_made(cls, value, tmp_path):
    file = fitted(cls, kind="pure").save(tmp_path, "it")
    file.write_bytes(forged(file.read_bytes(), setting(num_heads=value)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="cannot be read"):
        recolib.load(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KB


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (AutoInt, "att_embed_size"),
        (AutoInt, "hidden_units"),
        (FinalMLP, "second_hidden_units"),
        (FinalMLP, "gate_units"),
    ],
)
@pytest.mark.parametrize("value", [[10**9], [], 3.5])
def test_layers_of_every_kind_are_checked_against_the_weights(cls, name, value, tmp_path):
    file = fitted(cls, kind="pure").save(tmp_path, "it")
    file.write_bytes(forged(file.read_bytes(), setting(**{name: value})))
    with pytest.raises(ValueError, match=f"{name}|weights are of another network"):
        recolib.load(file)


def test_nothing_forged_loads(content, tmp_path, victim):
    file = tmp_path / "it.safetensors"
    file.write_bytes(forged(content, lambda entry, arrays: None))
    assert answers(recolib.load(file)) == answers(victim)


ACCEPTED: dict[str, Edit] = {
    "a step of several numbers": array("adam.user.vectors.weight.step", lambda a: np.zeros(5, np.float32)),
    "a step that is negative": array("adam.user.vectors.weight.step", lambda a: a - 100),
    "steps without moments": lambda _, arrays: [arrays.pop(name) for name in [*arrays] if ".exp_avg" in name],
    "a second moment that is negative": array("adam.user.vectors.weight.exp_avg_sq", lambda a: a - 1),
    "a running variance that is negative": array("network.components.2.rest.0.running_var", lambda a: a - 100),
    "progress that is negative": array("progress", lambda a: -a),
    "progress that is a fraction": array("progress", lambda a: a + 0.5),
    "records without an epoch": top(records=[{"train_loss": 1.0}]),
    "records of an epoch that is NaN": top(records=[{"epoch": float("nan")}]),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_a_model_that_contradicts_itself_in_rarer_ways_is_refused(content, tmp_path, what):
    file = tmp_path / "it.safetensors"
    file.write_bytes(forged(content, ACCEPTED[what]))
    with pytest.raises(ValueError, match="cannot be read"):
        recolib.load(file)


def test_a_thousand_layers_are_refused_before_they_are_made(content, tmp_path, monkeypatch):
    made, make = [], torch.nn.Linear.__init__

    def counted(self: torch.nn.Linear, *args: Any, **more: Any) -> None:
        made.append(args)
        make(self, *args, **more)

    monkeypatch.setattr(torch.nn.Linear, "__init__", counted)
    file = tmp_path / "it.safetensors"
    file.write_bytes(forged(content, setting(hidden_units=[1] * 1000)))
    with pytest.raises(ValueError, match="cannot be read"):
        recolib.load(file)
    assert len(made) < 500


CROSSES: dict[str, tuple[dict[str, object], str]] = {
    "layers that are many": ({"cross_layers": 10**9}, "cross_layers must be below 101"),
    "layers beyond all integers": ({"cross_layers": 10**30}, "cross_layers must be below 101"),
    "a layer more": ({"cross_layers": 3}, "the weights are of another network"),
    "no layers": ({"cross_layers": 0}, "cross_layers must be at least 1"),
    "layers that are null": ({"cross_layers": None}, "cross_layers must be an integer"),
    "a rank that is huge": ({"cross_rank": 10**9}, "cross_rank=1000000000 is no size of the weights"),
    "a rank beyond all integers": ({"cross_rank": 10**30}, "is no size of the weights"),
    "a rank of another size": ({"cross_rank": 4}, "the weights 'components.0"),
    "a rank of nothing": ({"cross_rank": 0}, "cross_rank must be at least 1"),
    "a rank that is a fraction": ({"cross_rank": 2.5}, "cross_rank must be an integer"),
    "no rank": ({"cross_rank": None}, "the weights are of another network"),
}


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return fitted(DCNv2, kind="pure").save(tmp_path_factory.mktemp("crossed"), "it").read_bytes()


@pytest.mark.parametrize("what", CROSSES)
def test_cross_layers_that_the_weights_are_not_of_are_refused_at_once(crossed, tmp_path, what):
    values, match = CROSSES[what]
    file = tmp_path / "it.safetensors"
    file.write_bytes(forged(crossed, setting(**values)))
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=match):
        recolib.load(file)
    assert time.perf_counter() - begin < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KB


def test_a_refusal_names_the_file(content, tmp_path):
    file = tmp_path / "it.safetensors"
    file.write_bytes(forged(content, setting(embed_size=5)))
    with pytest.raises(ValueError, match=r"it\.safetensors"):
        recolib.load(file)


class TorchsAttention(Joined):
    """The number of whose heads is no size of any of its weights."""

    def __init__(self, spec: FieldSpec, n_heads: int) -> None:
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(spec.dim, n_heads, batch_first=True)

    def forward(self, fields: Fields) -> torch.Tensor:
        x = fields.vectors.flatten(0, 1)
        return self.attention(x, x, x)[0].sum((-2, -1)).view(fields.vectors.shape[:2])


class Heads(Recommender):
    """An algorithm of one's own."""

    num_heads: int = 6

    def components(self, spec: FieldSpec) -> list[TorchsAttention]:
        return [TorchsAttention(spec, self.num_heads)]


def test_an_algorithm_of_ones_own_with_heads_is_saved(tmp_path):
    data, info = make_world("ranking", "sparse").build()
    model = Heads("ranking", info, embed_size=12, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    model.save(tmp_path, "heads")
    assert Heads.load(tmp_path, "heads").predict(100, "i0") == model.predict(100, "i0")


# ---- files of earlier versions


def golden_answers(model: Recommender) -> dict[str, Any]:
    feats = {"age": 30, "hour": 2, "price": 3.5, "tags": ["x", "z"], "sex": "F"}
    asked: dict[str, Any] = {"user_feats": {"sex": "M", "age": 25}, "context": {"hour": 1}}
    users = [*USERS[:6], 999, "new"]
    everything: dict[str, Any] = {"include_cold_items": True}
    return {
        "predict": [model.predict(user, [*ITEMS, "only here", "thing"]).tolist() for user in users],
        "features": model.predict(USERS, "i2", feats=feats).tolist(),
        "lists": [found.tolist() for found in model.recommend_user(users, 8, **everything).values()],
        "cold user": model.recommend_user("new", 8, **asked, **everything)["new"].tolist(),
        "popular": model.recommend_user("new", 8, cold_start="popular", **everything)["new"].tolist(),
        "default": model.default_recs.tolist(),
        "train_loss": model.history_["train_loss"].tolist(),
        "epoch": model.history_["epoch"].tolist(),
    }


def write_golden(folder: Path, number: int) -> None:
    """Write the golden files of a format that are not there; none is ever written again."""
    for cls in OWN:
        more: dict[str, Any] = {"ema": 0.9, "hidden_units": (4,)} if cls is DeepFM else {}
        name = f"format{number}-{cls.__name__.lower()}"
        if (folder / f"{name}.safetensors").exists():
            continue
        model = fitted(cls, "rating" if cls is NFM else "ranking", n_epochs=3, embed_size=2, init_std=0.3, **more)
        model.save(folder, name, inference_only=cls not in (FM, DeepFM))
        (folder / f"{name}.json").write_text(json.dumps(golden_answers(model)) + "\n")


@pytest.mark.filterwarnings("ignore:.*optimiser starts anew")
@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("format*.safetensors")))
def test_a_golden_file_answers_as_it_did_when_it_was_written(name, tmp_path):
    model = recolib.load(GOLDEN / f"{name}.safetensors")
    expected, said = json.loads((GOLDEN / f"{name}.json").read_text()), golden_answers(model)
    assert said.keys() == expected.keys()
    for part in ("predict", "features", "train_loss"):
        np.testing.assert_allclose(said[part], expected[part], **FLOAT32)
    for part in ("lists", "cold user", "popular", "epoch"):
        assert said[part] == expected[part]
    trained = set(model.data_info.trained_items.tolist())  # the others are left out by now
    assert said["default"] == [item for item in expected["default"] if item in trained]
    again = recolib.load(model.save(tmp_path, "again"))  # and it can be saved and trained on
    assert answers(again) == answers(model)
    log = pd.DataFrame(
        {"user": [100, 101, 102, 103], "item": ["i0", "i1", "i2", "i3"], "label": [5, 1, 2, 4], "hour": 1}
    )
    more = DatasetFeat.build_evalset(log.assign(device=[["tv"], [3], [], ["tv"]]), data_info=again.data_info)
    assert train(again, more).history_["epoch"].tolist() == ([1, 2, 3, 4, 5, 6] if again.has_epochs else [])


def test_there_is_a_golden_file_of_each_algorithm_in_each_format():
    for number in range(files.OLDEST_FORMAT, files.FORMAT + 1):
        sizes = {path.stem: path.stat().st_size for path in GOLDEN.glob(f"format{number}-*.safetensors")}
        then = [cls for cls in OWN if number >= 4 or cls not in SINCE_FORMAT_4]
        assert sizes.keys() == {f"format{number}-{cls.__name__.lower()}" for cls in then}
        assert max(sizes.values()) < 150_000
