"""What every algorithm promises, whatever the task and the kinds of columns.

What algorithms of one's own must do, too, is in ``recolib.testing``, and is checked first.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from worlds import FLOAT32, KINDS, N_ITEMS, World, assert_same_list, make_world

import recolib
from recolib import EarlyStopping, NotFittedError, UnknownIdWarning
from recolib.algorithms import (
    AFM,
    ALS,
    DIN,
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
from recolib.evaluation import evaluate
from recolib.evaluation.metrics import METRICS
from recolib.exceptions import OutOfRangeWarning
from recolib.recommender import Recommender
from recolib.testing.algorithms import PROMISES, Case, check_promise

SETTINGS: dict[type[Recommender], list[dict[str, Any]]] = {
    FM: [{"use_bn": False}, {"use_bn": True, "dropout_rate": 0.1}, {"history": "recent", "max_history": 4}],
    NFM: [
        {"hidden_units": (16,)},
        {"hidden_units": (16, 8), "use_bn": False, "dropout_rate": 0.1, "pair_dropout": 0.1},
    ],
    AFM: [{"attention_size": 4, "pair_dropout": 0.1}],
    IFM: [{"field_factors": 3, "temperature": 1.0, "pair_dropout": 0.1}],
    INN: [
        {"field_factors": 3, "temperature": 1.0, "hidden_units": (6,), "init_std": 0.1}
    ],  # from 0.01 it starts slowly
    DeepIFM: [{"hidden_units": (16,), "field_factors": 3, "pair_share": 0.5, "warmup_steps": 2}],
    DeepFM: [
        {"hidden_units": (16, 8)},
        {"hidden_units": (16,), "use_bn": False, "dropout_rate": 0.1, "pair_dropout": 0.1},
        {"hidden_units": (16, 8), "combine": "concat"},
    ],
    ALS: [{"prior": 1.0}],
    WideDeep: [{"hidden_units": (16, 8), "dropout_rate": 0.1}],
    DCNv2: [
        {"hidden_units": (16, 8), "cross_layers": 2},
        {"hidden_units": (16,), "cross_layers": 2, "cross_rank": 3, "use_bn": False, "init_std": 0.1},
    ],
    AutoInt: [
        {"att_embed_size": 16},
        {"att_embed_size": (8, 4), "num_heads": 1, "use_residual": False, "hidden_units": (16,), "init_std": 0.1},
    ],
    TwoTower: [{"hidden_units": (16,), "dropout_rate": 0.1}],
    YouTubeRetrieval: [{"hidden_units": (16,), "max_history": 6}],
    SASRec: [{"n_layers": 1, "max_history": 6}],
    DIN: [{"hidden_units": (16, 8), "attention_units": 6, "max_history": 6}],
    FinalMLP: [
        {"hidden_units": (16, 8), "second_hidden_units": (8,), "dropout_rate": 0.1},
        {"hidden_units": (16,), "second_hidden_units": (8, 4), "num_heads": 2, "gate_units": (6,)},
    ],
}
READ_THE_PAST = (YouTubeRetrieval, SASRec, DIN)
"""Algorithms whose answers for a user change with what the user consumed."""
ALGORITHMS = [(algorithm, settings) for algorithm, variants in SETTINGS.items() for settings in variants]
COMMON = {"embed_size": 8, "n_epochs": 3, "lr": 0.02, "batch_size": 64}

pytestmark = pytest.mark.filterwarnings("ignore:no context given", "ignore:.*lists are shorter")


Variant = tuple[type[Recommender], dict[str, Any], str, str]
"""An algorithm with its settings, a task, and the kind of world."""
TYPICAL = [(cls, SETTINGS[cls][at]) for cls, at in ((FM, 1), (AFM, 0), (DeepFM, 1))]
"""With and without batch norm, dropout, attention and a perceptron: for promises that the algorithm has no part in."""
FEW: list[Variant] = [
    (*one, task, kind) for kind in reversed(KINDS) for one in TYPICAL for task in ("ranking", "rating")
]
SOME_WORLDS = [("ranking", "pure"), ("rating", "sparse"), ("ranking", "all kinds")]
ALL: list[Variant] = FEW + [(*one, *world) for one in ALGORITHMS if one not in TYPICAL for world in SOME_WORLDS]
"""The typical ones in every world, every other variant in each kind of world and with each task."""


def vid(variant: Variant) -> str:
    cls, settings, task, kind = variant
    return f"{cls.__name__}-{'-'.join(map(str, settings.values()))}-{task}-{kind}"


every_algorithm = pytest.mark.parametrize("variant", ALL, ids=vid, indirect=True, scope="module")
"""Of a promise that an algorithm's own code can break; all others are tested with the typical ones."""
typical_alone = pytest.mark.parametrize("variant", FEW[: 2 * len(TYPICAL)], ids=vid, indirect=True, scope="module")
"""Of a promise that is tested with many arguments: the typical ones in the world of all kinds.

Both lists begin as ``FEW`` does, since pytest puts tests with the same model in a row by their number in it.
"""


@pytest.fixture(scope="module", params=FEW, ids=vid)
def variant(request: pytest.FixtureRequest) -> Variant:
    return request.param


@pytest.fixture(scope="module")
def task(variant: Variant) -> str:
    return variant[2]


@pytest.fixture(scope="module")
def world(variant: Variant) -> World:
    return make_world(*variant[2:])


@pytest.fixture(scope="module")
def algorithm(variant: Variant) -> tuple[type[Recommender], dict[str, Any]]:
    return variant[:2]


Maker = Any


@pytest.fixture(scope="module")
def make(algorithm: tuple[type[Recommender], dict[str, Any]], task: str, world: World) -> Maker:
    """A function that makes a new model of this algorithm, task and world, fitted unless told otherwise."""
    cls, settings = algorithm

    def maker(fit: bool = True, world: World = world, **more: Any) -> Recommender:
        data, info = world.build()
        model = cls(task, info, **{**COMMON, **settings, **more})
        return model.fit(data, neg_sampling=task == "ranking", verbose=0) if fit else model

    return maker


@pytest.fixture(scope="module")
def case(algorithm: tuple[type[Recommender], dict[str, Any]], task: str, world: World) -> Case:
    return Case(algorithm[0], {**COMMON, **algorithm[1]}, task, world)


@pytest.fixture(scope="module")
def model(make: Maker) -> Recommender:
    return make()


@pytest.fixture(scope="module")
def trained(make: Maker) -> Recommender:
    """A model that was trained for longer, but not until it knows the rows by heart; its vectors start apart.

    From 0.01, one seed in sixteen ends in a poor optimum of so small a world.
    """
    return make(n_epochs=12, init_std=0.1)


@pytest.fixture(scope="module")
def said(model: Recommender, world: World) -> list[Any]:
    return answers(model, world)


def weights(model: Recommender) -> list[torch.Tensor]:
    return list(model.engine.network.state_dict().values())


def hours(world: World, frame: pd.DataFrame | None = None) -> dict[str, int] | pd.DataFrame | None:
    """A context for any question, or that of each row of a frame; None in worlds that have none."""
    if world.columns is None or "context_col" not in world.columns:
        return None
    return {"hour": 2} if frame is None else frame[["hour"]]


def answers(model: Recommender, world: World) -> list[Any]:
    """Predictions, lists and measures of people known and unknown, exactly as they come."""
    frame, context = world.frame.head(40), hours(world)
    neg_sampling = model.task == "ranking"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownIdWarning)
        lists = model.recommend_user([100, 107, "new"], 7, context=context, return_scores=True)
        return [
            model.predict(frame["user"], frame["item"], feats=hours(world, frame)).tolist(),
            model.predict([100, "new", 101], ["thing", "i3", "i4"], feats=context).tolist(),
            {user: (items.tolist(), scores.tolist()) for user, (items, scores) in lists.items()},
            model.recommend([100, "new"], 4, cold_start="popular", context=context).astype(str).to_dict("list"),
            model.default_recs.tolist(),
            evaluate(model, frame, neg_sampling, metrics=["loss", "ndcg"] if neg_sampling else "loss"),
        ]


def same(one: Recommender, other: Recommender) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


@every_algorithm
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_every_algorithm_keeps_the_promises_of_algorithms_of_ones_own(
    case: Case, promise: Callable[[Case], None]
) -> None:
    check_promise(promise, case, "a promise is broken")


def test_nothing_is_asked_before_fit(make: Maker, world: World, task: str, tmp_path: Path) -> None:
    model = make(fit=False)
    with pytest.raises(NotFittedError, match="call fit first"):
        model.predict(100, "i0")
    with pytest.raises(NotFittedError):
        model.recommend_user(100, 3)
    with pytest.raises(NotFittedError):
        model.recommend(n_rec=3)
    with pytest.raises(NotFittedError):
        evaluate(model, world.frame, neg_sampling=task == "ranking")
    with pytest.raises(NotFittedError):
        model.save(tmp_path, "model")
    assert not list(tmp_path.iterdir())
    assert not len(model.history_)


def test_fit_returns_the_model_itself(make: Maker, world: World, task: str) -> None:
    model = make(fit=False, n_epochs=1)
    assert model.fit(world.build()[0], neg_sampling=task == "ranking", verbose=0) is model


def test_a_history_has_a_row_for_each_epoch(model: Recommender) -> None:
    assert model.history_["epoch"].tolist() == [1, 2, 3]
    assert np.isfinite(model.history_).all(axis=None)


@every_algorithm
def test_loss_falls(trained: Recommender) -> None:
    losses = trained.history_["train_loss"]
    assert losses.iloc[-1] < 0.85 * losses.iloc[0]


def test_same_seed_gives_same_bits(make: Maker, model: Recommender) -> None:
    assert same(make(), model)


def test_another_seed_gives_other_weights(make: Maker, model: Recommender) -> None:
    assert not same(make(seed=43), model)


@every_algorithm
def test_one_epoch_and_two_more_are_three(make: Maker, model: Recommender, world: World, task: str) -> None:
    """To the bit, and so the same seed gives the same bits."""
    assert_one_and_two_are_three(make, model, world, task, {})


@typical_alone
@pytest.mark.parametrize("more", [{"ema": 0.9}, {"lr_decay": True}])
def test_one_epoch_and_two_more_are_three_whatever_the_trainer_remembers(
    make: Maker, world: World, task: str, more: dict[str, Any]
) -> None:
    assert_one_and_two_are_three(make, make(**more), world, task, more)


def assert_one_and_two_are_three(
    make: Maker, whole: Recommender, world: World, task: str, more: dict[str, Any]
) -> None:
    data, _ = world.build()
    parts = make(n_epochs=1, **more)
    parts.n_epochs = 2
    parts.fit(data, neg_sampling=task == "ranking", verbose=0)
    assert same(parts, whole)
    assert parts.history_["train_loss"].tolist() == whole.history_["train_loss"].tolist()


def test_a_plain_device_is_what_auto_means(make: Maker, model: Recommender) -> None:
    found = model.engine.network.device.type  # pyright: ignore[reportPrivateUsage]
    assert found == ("cuda" if torch.cuda.is_available() else "cpu")
    assert same(make(device=found), model)


@every_algorithm
def test_bfloat16_trains_and_keeps_weights_whole(make: Maker, model: Recommender) -> None:
    half = make(precision="bf16")
    assert np.isfinite(half.history_["train_loss"]).all()
    assert half.history_["train_loss"].iloc[-1] < 1.2 * model.history_["train_loss"].iloc[-1] + 0.05
    assert [one.dtype for one in weights(half)] == [one.dtype for one in weights(model)]
    assert torch.bfloat16 not in {one.dtype for one in half._state.values()}  # pyright: ignore


@every_algorithm
def test_bfloat16_scores_about_the_same(model: Recommender, world: World) -> None:
    user, items = world.frame["user"][0], [f"i{number}" for number in range(N_ITEMS)]
    exact = [model.predict(user, item) for item in items]
    model.precision = "bf16"
    try:
        rough = [model.predict(user, item) for item in items]
        best = model.recommend_user(user, N_ITEMS, filter_consumed=False, return_scores=True)[user]
    finally:
        model.precision = "float32"
    np.testing.assert_allclose(rough, exact, atol=0.02 * (np.ptp(exact) + 1))
    assert set(best[0]) == set(items)
    if not model.data_info.context_col:
        np.testing.assert_allclose(best[1], [rough[items.index(item)] for item in best[0]], atol=0.02)
    assert [model.predict(user, item) for item in items] == exact


@every_algorithm
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_trains_and_scores_as_the_cpu_does(make: Maker, model: Recommender, world: World) -> None:
    there = make(device="cuda")
    assert {one.device.type for one in weights(there)} == {"cuda"}
    np.testing.assert_allclose(there.history_["train_loss"], model.history_["train_loss"], rtol=0.05)
    users = world.frame["user"].unique()[:3].tolist()
    assert [len(there.recommend_user(users, 3, context=hours(world))[user]) for user in users] == [3, 3, 3]
    assert np.isfinite(there.predict(users[0], "i0"))


def test_the_order_of_columns_changes_no_bit(make: Maker, world: World) -> None:
    """Neither in the frame, nor in the lists that say which side a column is of."""
    users = world.frame["user"]
    frame = world.frame.assign(city=users % 3, team=users % 5, weight=users % 7, height=users % 4)
    columns: dict[str, Any] = {name: list(value) for name, value in (world.columns or {}).items()}
    for name, more in (
        ("user_col", "city team weight height"),
        ("sparse_col", "city team"),
        ("dense_col", "weight height"),
    ):
        columns[name] = columns.get(name, []) + more.split()
    moved = {
        name: value[::-1] if name in ("user_col", "item_col", "context_col") else value
        for name, value in columns.items()
    }
    one, other = World(frame, columns), World(frame[frame.columns[::-1]], moved)
    assert (one.build()[0].weights == 1).all()  # the column is a feature here
    assert same(make(world=one, n_epochs=1), make(world=other, n_epochs=1))


@every_algorithm
def test_the_order_of_columns_of_a_kind_changes_no_shape(make: Maker, model: Recommender, world: World) -> None:
    columns = world.columns and {name: value[::-1] for name, value in world.columns.items()}
    other = make(world=World(world.frame, columns), n_epochs=6)
    assert [weight.shape for weight in weights(other)] == [weight.shape for weight in weights(model)]
    assert other.history_["train_loss"].min() < other.history_["train_loss"].iloc[0]
    assert np.isfinite(other.predict(world.frame["user"], world.frame["item"])).all()
    assert [*other.data_info.user2id] == [*model.data_info.user2id]


def test_the_order_of_rows_in_feature_frames_changes_no_bit(make: Maker, world: World) -> None:
    one, other = (make(world=world.apart(order), n_epochs=1) for order in (1, -1))
    assert one.n_users == other.n_users == 26  # two of them without events
    assert same(one, other)
    assert answers(one, world) == answers(other, world)


@pytest.mark.parametrize("number", [np.float64, np.int16, "Float32"])
def test_numbers_of_any_width_train_the_same_bits(
    make: Maker, model: Recommender, world: World, number: type | str
) -> None:
    frame = world.frame.astype({"label": number, "age": number, "hour": "int8", "time": "int32"})
    assert same(make(world=World(frame, world.columns)), model)


@every_algorithm
def test_fit_leaves_frame_and_global_randomness_alone(make: Maker, world: World) -> None:
    before, state, numpy_state = world.frame.copy(), torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    make(n_epochs=1)
    pd.testing.assert_frame_equal(world.frame, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


@every_algorithm
def test_best_new_item_is_of_the_users_taste(trained: Recommender, task: str) -> None:
    best = trained.recommend_user(list(range(100, 124)), 1, filter_consumed=task == "ranking")
    fitting = [int(items[0][1:]) % 2 == user % 2 for user, items in best.items() if len(items)]
    assert np.mean(fitting) > (0.8 if isinstance(trained, (*READ_THE_PAST, TwoTower)) else 0.9)  # three epochs are few


def test_consumed_items_stay_out_even_if_the_list_gets_short(model: Recommender, world: World) -> None:
    lists = model.recommend_user(list(range(100, 124)), N_ITEMS)
    consumed = world.frame.groupby("user")["item"].agg(set)
    for user, items in lists.items():
        assert len(set(items)) == len(items) == N_ITEMS - len(consumed[user])
        assert not set(items) & consumed[user]


def test_a_user_who_consumed_everything_gets_an_empty_list(make: Maker, world: World) -> None:
    everything = world.frame.drop_duplicates("item").assign(user=999)
    everything["label"] = world.frame["label"].max()
    glutton = make(world=World(pd.concat([world.frame, everything], ignore_index=True), world.columns), n_epochs=1)
    assert len(everything) == N_ITEMS
    with pytest.warns(UserWarning, match=r"1 lists are shorter than n_rec=3: no more items may be recommended"):
        lists = glutton.recommend_user([999, 100], 3)
    assert [len(lists[user]) for user in (999, 100)] == [0, 3]
    assert len(glutton.recommend_user(999, 3, filter_consumed=False)[999]) == 3
    assert glutton.recommend([999, 100], 3)["user"].tolist() == [100] * 3


def test_lists_without_filter_have_every_item(model: Recommender) -> None:
    with pytest.warns(UserWarning, match="1 lists are shorter than n_rec=1000000"):
        items = model.recommend_user(100, 1_000_000, filter_consumed=False)[100]
    assert sorted(items) == sorted(f"i{i}" for i in range(N_ITEMS))


def test_unknown_users_get_the_average_users_list(model: Recommender) -> None:
    with pytest.warns(UnknownIdWarning, match="2 unknown users"):
        lists = model.recommend_user(["new", -5], 6)
    assert lists["new"].tolist() == lists[-5].tolist()
    inner = [model.data_info.item2id[item] for item in lists["new"]]
    assert len(set(inner)) == 6
    assert inner == model.default_recs[:6].tolist()


def test_popular_cold_start_is_the_popularity_ranking(model: Recommender) -> None:
    with pytest.warns(UnknownIdWarning):
        lists = model.recommend_user([100, "new"], 5, cold_start="popular", return_scores=True)
    assert lists["new"][0].tolist() == model.data_info.popular_items[:5]
    assert_same_list(lists[100], model.recommend_user(100, 5, return_scores=True)[100])


@every_algorithm
def test_unknown_pairs_are_predicted(model: Recommender) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownIdWarning)
        assert model.predict("new", "thing") == model.predict("newer", "other thing")
        assert model.predict("new", "i1", cold_start="popular") == pytest.approx(model.default_pred)
        assert model.predict(100, "thing", cold_start="popular") == pytest.approx(model.default_pred)
    with pytest.warns(UnknownIdWarning, match="1 unknown items, such as 'thing'"):
        model.predict(100, "thing")


@every_algorithm
def test_answers_stay_finite_however_far_out_a_number_is(model: Recommender, world: World) -> None:
    if "dense_col" not in (world.columns or {}):
        return
    for sign in (1, -1):
        with pytest.warns(OutOfRangeWarning, match="column 'age' has 1 values far outside training's range"):
            lists = model.recommend_user(100, 4, {"age": sign * 1e38}, return_scores=True, context=hours(world))
        with pytest.warns(OutOfRangeWarning, match="column 'price' has 1 values far outside training's range"):
            prediction = model.predict(100, "i3", feats={"age": sign * 1e25, "price": sign * 1e38, "hour": 2})
        assert np.isfinite(prediction)
        assert np.isfinite(lists[100][1]).all()
    with pytest.raises(ValueError, match="column 'age' has 1 infinite values"):
        model.predict(100, "i3", feats={"age": np.inf, "hour": 2})


@every_algorithm
def test_average_user_scores_what_mean_vectors_score(model: Recommender) -> None:
    """The average row is the mean of the trained rows: by hand, on the id column."""
    embedding = model.engine.network.user  # pyright: ignore[reportPrivateUsage]
    block = embedding.vectors.weight[embedding.blocks[0]]
    torch.testing.assert_close(block[0], block[2:].mean(0))


@pytest.mark.filterwarnings("ignore:.*rows have an unknown item")
def test_a_wholly_unknown_test_frame_is_measured(model: Recommender, world: World, task: str) -> None:
    strangers = world.frame.assign(user=world.frame["user"].astype(str), item="z" + world.frame["item"])
    metrics = ["loss", "ndcg", "recall", "coverage"] if task == "ranking" else ["loss", "mae", "r2"]
    with pytest.warns(UnknownIdWarning, match=f"{len(strangers)} of {len(strangers)} rows have an unknown user"):
        result = evaluate(model, strangers, neg_sampling=task == "ranking", metrics=metrics)
    assert np.isfinite([*result.values()]).all()
    if task == "ranking":
        assert result["ndcg"] == result["recall"] == 0  # no list has what was never seen
        assert result["coverage"] > 0  # and yet there are lists


@typical_alone
@pytest.mark.parametrize("k", [1, 10, 1000])
@pytest.mark.parametrize("filter_consumed", [True, False])
def test_measures_of_lists_lie_between_none_and_all(
    model: Recommender, world: World, task: str, k: int, filter_consumed: bool
) -> None:
    if task == "rating":
        with pytest.raises(ValueError, match=r"metrics \['ndcg'\] are not of task='rating'"):
            evaluate(model, world.frame, neg_sampling=False, metrics="ndcg")
        return
    lists = sorted(name for name, metric in METRICS[task].items() if metric.of_lists)
    result = evaluate(model, world.frame, True, metrics=lists, k=k, filter_consumed=filter_consumed)
    novelty = result.pop("novelty")
    assert [*result] == ["coverage", "hit_rate", "map", "mrr", "ndcg", "precision", "recall"]
    assert all(0 <= value <= 1 for value in result.values())
    assert novelty >= 0
    if filter_consumed:  # all that is relevant was consumed in training
        assert result["recall"] == result["ndcg"] == 0
    elif k == 1000:
        assert result["recall"] == result["hit_rate"] == result["coverage"] == 1


def test_evaluation_changes_nothing_and_repeats(model: Recommender, world: World, task: str) -> None:
    before = world.frame.copy()
    once, twice = (evaluate(model, world.frame, neg_sampling=task == "ranking") for _ in range(2))
    assert once == twice
    pd.testing.assert_frame_equal(world.frame, before)


def test_random_lists_differ_but_keep_the_rules(model: Recommender) -> None:
    lists = [model.recommend_user(100, 5, random_rec=True)[100].tolist() for _ in range(8)]
    assert len({tuple(items) for items in lists}) > 1
    consumed = {model.data_info.id2item[code] for code in model.user_consumed[model.data_info.user2id[100]]}
    assert all(len(set(items)) == 5 and not set(items) & consumed for items in lists)


def test_candidates_and_exclusions_hold(model: Recommender) -> None:
    allowed = ["i1", "i3", "i4", "i5", "i6"]
    items = model.recommend_user(100, 10, candidates=allowed, exclude=["i3"], filter_consumed=False)[100]
    assert sorted(items) == ["i1", "i4", "i5", "i6"]
    free = [item for item in model.recommend_user(100, 100, filter_consumed=False)[100] if item in items]
    assert items.tolist() == free


def test_inner_ids_ask_the_same(model: Recommender) -> None:
    code = model.data_info.user2id[103]
    inner = model.recommend_user(code, 4, inner_id=True)[code]
    assert [model.data_info.id2item[item] for item in inner.tolist()] == model.recommend_user(103, 4)[103].tolist()
    item = model.data_info.item2id["i3"]
    assert model.predict(code, item, inner_id=True) == model.predict(103, "i3")


def test_recommend_is_recommend_user_as_a_table(model: Recommender) -> None:
    table = model.recommend(n_rec=3)
    assert list(table.columns) == ["user", "item", "score", "rank"]
    assert set(table["user"]) == set(range(100, 124))
    mine = table[table["user"] == 105]
    assert mine["rank"].tolist() == [1, 2, 3]
    assert_same_list([mine["item"], mine["score"]], model.recommend_user(105, 3, return_scores=True)[105])


@every_algorithm
def test_every_way_to_ask_gives_the_score_of_a_plain_forward_pass(model: Recommender, world: World, task: str) -> None:
    """One pair at a time, whole rows, nothing cached and nothing cut in blocks."""
    info, network, context = model.data_info, model.engine.network, hours(world)  # pyright: ignore[reportPrivateUsage]
    around = torch.tensor([[info.vocabs["hour"].code(2)]] if context else [[]], dtype=torch.int32)
    user = info.users.rows[torch.tensor([info.user2id[105]])]
    users = type(user)(torch.cat([user.codes, around], 1), user.dense, user.past)[:, None]
    naive: dict[Any, float] = {}
    for item, code in info.item2id.items():
        with torch.no_grad():
            logit = network(users, info.items.rows[torch.tensor([code])][:, None])
        assert logit.shape == (1, 1)
        naive[item] = float(logit.sigmoid() if task == "ranking" else logit.clamp(1, 5))
    items, scores = model.recommend_user(105, 100, filter_consumed=False, context=context, return_scores=True)[105]
    table = model.recommend([105], 100, filter_consumed=False, context=context)
    wanted = [naive[item] for item in items]
    assert sorted(items) == sorted(naive)
    assert scores.dtype == table["score"].dtype == np.float32
    np.testing.assert_allclose(scores, wanted, **FLOAT32)
    np.testing.assert_allclose(table["score"], wanted, **FLOAT32)
    np.testing.assert_allclose(model.predict(105, items, feats=context), wanted, **FLOAT32)
    singles = [model.predict(105, item, feats=context) for item in items]
    np.testing.assert_allclose(singles, wanted, **FLOAT32)


@every_algorithm
def test_questions_leave_the_model_and_global_randomness_alone(
    model: Recommender, world: World, said: list[Any]
) -> None:
    network = model.engine.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    history, shown, engine = model.history_, repr(model), model.engine
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    model.recommend_user(100, 3, random_rec=True)
    assert answers(model, world) == said
    assert not any(module.training for module in network.modules())
    assert all(weight.grad is None for weight in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    pd.testing.assert_frame_equal(model.history_, history)
    assert (repr(model), model.engine) == (shown, engine)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_random_lists_repeat_with_the_seed(make: Maker) -> None:
    one, again, other = make(n_epochs=1), make(n_epochs=1), make(fit=False, seed=43)
    other._engine = one.engine  # the same weights, another seed
    draws = [
        [items.tolist() for _ in range(3) for items in asked.recommend_user([100, 101], 4, random_rec=True).values()]
        for asked in (one, again, other)
    ]
    assert draws[0] == draws[1] != draws[2]


LOADS: dict[str, Callable[[Recommender, Path], Recommender]] = {
    "recolib.load": lambda model, file: recolib.load(file),
    "its class's load": lambda model, file: type(model).load(file.parent, file.stem),
    "with its data": lambda model, file: recolib.load(file, model.data_info, device="cpu"),
}


@every_algorithm
@pytest.mark.parametrize("inference_only", [False, True])
def test_save_and_load_change_no_bit(
    model: Recommender, world: World, said: list[Any], tmp_path: Path, inference_only: bool
) -> None:
    assert_loads_the_same(model, world, said, tmp_path, "recolib.load", inference_only)


@typical_alone
@pytest.mark.parametrize("how", LOADS)
def test_every_way_to_load_changes_no_bit(
    model: Recommender, world: World, said: list[Any], tmp_path: Path, how: str
) -> None:
    assert_loads_the_same(model, world, said, tmp_path, how, inference_only=False)
    assert answers(model, world) == said


def assert_loads_the_same(
    model: Recommender, world: World, said: list[Any], tmp_path: Path, how: str, inference_only: bool
) -> None:
    back = LOADS[how](model, model.save(tmp_path, "model", inference_only=inference_only))
    assert type(back) is type(model)
    assert repr(back) == repr(model).replace("device='auto'", f"device={back.device!r}")
    assert same(back, model)
    assert answers(back, world) == said
    pd.testing.assert_frame_equal(back.history_, model.history_)


@every_algorithm
def test_a_loaded_model_trains_on_as_if_it_had_never_stopped(
    make: Maker, world: World, task: str, tmp_path: Path
) -> None:
    assert_trains_on_from_its_file(make, world, task, tmp_path, {"ema": 0.9, "lr_decay": True, "seed": 7})


def test_a_loaded_model_without_more_trains_on_too(make: Maker, world: World, task: str, tmp_path: Path) -> None:
    assert_trains_on_from_its_file(make, world, task, tmp_path, {})


def assert_trains_on_from_its_file(make: Maker, world: World, task: str, tmp_path: Path, more: dict[str, Any]) -> None:
    data, _ = world.build()
    whole = make(n_epochs=2, **more)
    back = recolib.load(make(n_epochs=1, **more).save(tmp_path, "model"))
    back.fit(data, neg_sampling=task == "ranking", verbose=0)
    assert same(back, whole)
    assert answers(back, world) == answers(whole, world)


def test_a_run_that_was_broken_off_is_resumed_to_the_bit(make: Maker, world: World, task: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {"ema": 0.9, "lr_decay": True, "seed": 7}
    arguments: dict[str, Any] = {
        "neg_sampling": task == "ranking",
        "verbose": 0,
        "lr_schedule": "cosine",
        "early_stopping": EarlyStopping("loss", patience=1),
        "eval_data": world.frame.tail(50),
    }

    def stop(record: dict[str, float]) -> None:
        if record["epoch"] == 1:
            raise InterruptedError

    data, _ = world.build()
    whole = make(fit=False, **more).fit(data, **arguments)
    with pytest.raises(InterruptedError):
        make(fit=False, **more).fit(data, **arguments, checkpoint=tmp_path / "it", callbacks=[stop])
    back = make(fit=False, **more).fit(data, **arguments, resume=tmp_path / "it")
    states = [one._state for one in (back, whole)]  # pyright: ignore
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert back.history_["eval_loss"].tolist() == whole.history_["eval_loss"].tolist()
    assert answers(back, world) == answers(whole, world)


def test_threads_agree(model: Recommender) -> None:
    expected = {user: model.recommend_user(user, 5)[user].tolist() for user in range(100, 124)}
    wrong: list[int] = []

    def ask() -> None:
        wrong.extend(user for user in expected if model.recommend_user(user, 5)[user].tolist() != expected[user])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@every_algorithm
def test_weights_are_float32_and_finite(model: Recommender) -> None:
    floats = [weight for weight in weights(model) if weight.is_floating_point()]
    assert {weight.dtype for weight in floats} == {torch.float32}
    assert all(weight.isfinite().all() for weight in floats)


@every_algorithm
def test_the_whole_catalogue_stands_beside_each_positive(
    make: Maker, world: World, task: str, algorithm: Any, tmp_path: Path
) -> None:
    of_ranking = "implicit" if algorithm[0] is ALS else "softmax"
    more = {"num_neg": "all", "loss_type": of_ranking if task == "ranking" else "cross_entropy", "batch_size": 16}
    model = make(**more)
    losses = model.history_["train_loss"]
    assert np.isfinite(losses).all()
    assert losses.iloc[-1] < 1.05 * losses.iloc[0]
    assert same(make(**more), model)
    again = recolib.load(model.save(tmp_path, "it"))
    for one in (model, again):
        one.n_epochs = 1
        one.fit(world.build()[0], neg_sampling=task == "ranking", verbose=0)
    assert same(again, model)


@every_algorithm
def test_a_hundred_rows_are_learnt_by_heart(make: Maker, world: World, task: str, algorithm: Any) -> None:
    cls, settings = algorithm
    if cls in READ_THE_PAST or settings.get("history"):
        pytest.skip("what a row is learnt from is what came before it, and what it is predicted from is all there is")
    if cls is ALS and task == "ranking":
        pytest.skip("labels of 0 have no part in it")
    plain = {**settings, **{name: 0.0 for name in ("dropout_rate", "pair_dropout") if name in settings}}
    frame = world.frame.head(100)
    if task == "ranking":
        frame = frame.assign(label=np.random.default_rng(0).integers(0, 2, len(frame)))
    data, info = world.build(frame)
    calm = {"n_epochs": 80, "lr": 0.05, "lr_decay": 0.95, "embed_size": 16}  # no last steps that throw it about
    calm |= {"prior": 0.0, "epsilon": 1e-8}  # both keep vectors near 0, where their products' gradients are tiny
    model = cls(task, info, **{**COMMON, **plain, **calm}).fit(data, neg_sampling=False, verbose=0)
    if task == "ranking":
        assert evaluate(model, data, neg_sampling=False, metrics=["roc_auc"])["roc_auc"] > 0.99
    else:
        assert evaluate(model, data, neg_sampling=False, metrics=["rmse"])["rmse"] < 0.5
