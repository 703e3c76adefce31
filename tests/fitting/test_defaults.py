from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from worlds import two_tastes

import recolib
from recolib import EASE, FM, NFM, DatasetFeat, DatasetPure, DeepFM, EarlyStopping, FinalMLP, SASRec, WideDeep
from recolib.data import random_split
from recolib.datasets import make_movies
from recolib.evaluation import evaluate
from recolib.fitting.defaults import LARGE_CATALOGUE, MOST_EPOCHS, N_SHARED, choose, hold_out, in_order
from recolib.settings import MAY_BE_OPEN


def movies(n_users: int = 120, n_items: int = 60, n_ratings: int = 2400) -> pd.DataFrame:
    return make_movies(n_users=n_users, n_items=n_items, n_ratings=n_ratings)


def popularity_ndcg(train: pd.DataFrame, test: pd.DataFrame, k: int = 10) -> float:
    ranked = train["item"].value_counts().index
    values = []
    for user, part in test[test["user"].isin(train["user"])].groupby("user"):
        seen, wanted = set(train["item"][train["user"] == user]), set(part["item"])
        hits = np.array([item in wanted for item in ranked if item not in seen][:k])
        ideal = (1 / np.log2(np.arange(2, min(k, len(wanted)) + 2))).sum()
        values.append((hits / np.log2(np.arange(2, len(hits) + 2))).sum() / ideal)
    return float(np.mean(values))


@pytest.mark.parametrize("algorithm", [FM, NFM, DeepFM, FinalMLP])
def test_with_nothing_set_lists_are_better_than_popularity_and_predictions_than_a_constant(algorithm):
    train, test = random_split(movies(), test_size=0.2, seed=1)
    data, info = DatasetPure.build_trainset(train)
    model = algorithm("ranking", info).fit(data, neg_sampling=True, verbose=0)
    measured = evaluate(model, test, neg_sampling=True, metrics=["ndcg", "log_loss"])
    assert measured["ndcg"] > popularity_ndcg(train, test)
    assert measured["log_loss"] < np.log(2)


@pytest.mark.parametrize("algorithm", [FM, NFM, DeepFM])
def test_with_nothing_set_ratings_are_no_worse_than_biases(algorithm):
    train, test = random_split(movies(), test_size=0.2, seed=1)
    data, info = DatasetPure.build_trainset(train)
    model = algorithm("rating", info).fit(data, neg_sampling=False, verbose=0)
    mean, low = train["label"].mean(), np.inf
    for of_items, of_users in ((3, 5), (5, 10), (10, 15)):
        item = (train["label"] - mean).groupby(train["item"]).sum() / (train.groupby("item").size() + of_items)
        rest = train["label"] - mean - train["item"].map(item)
        user = rest.groupby(train["user"]).sum() / (train.groupby("user").size() + of_users)
        predicted = mean + test["item"].map(item).fillna(0) + test["user"].map(user).fillna(0)
        low = min(low, float(((predicted - test["label"]) ** 2).mean() ** 0.5))
    assert evaluate(model, test, neg_sampling=False)["loss"] < low * 1.005


@pytest.mark.parametrize("algorithm", [NFM, WideDeep])
def test_vectors_that_reach_a_rating_through_a_perceptron_alone_are_not_taken_to_zero(algorithm):
    users, items = np.divmod(np.arange(40 * 30), 30)
    frame = pd.DataFrame({"user": users, "item": items, "label": np.where((users + items) % 2, 5.0, 1.0)})
    train, test = random_split(frame, test_size=0.2, seed=1)  # means say nothing, pairs all
    data, info = DatasetPure.build_trainset(train)
    model = algorithm("rating", info).fit(data, neg_sampling=False, verbose=0)
    assert evaluate(model, test, neg_sampling=False)["loss"] < 1.0


# ---- what is chosen


def chosen_for(task: str, neg_sampling: bool, **given: Any) -> dict[str, Any]:
    data, info = DatasetPure.build_trainset(two_tastes())
    return choose(FM(task, info, **given), data, neg_sampling)


def test_positives_stand_against_the_whole_catalogue_unless_something_else_is_set():
    assert chosen_for("ranking", True)["num_neg"] == "all"
    assert chosen_for("ranking", True)["loss_type"] == "softmax"
    assert chosen_for("ranking", True, loss_type="cross_entropy")["num_neg"] == "all"
    assert chosen_for("ranking", True, loss_type="bpr")["num_neg"] == 1
    assert chosen_for("ranking", True, sampler="popular")["num_neg"] == 1
    assert "num_neg" not in chosen_for("ranking", True, num_neg=4)
    assert chosen_for("ranking", True, num_neg=4)["loss_type"] == "cross_entropy"
    assert chosen_for("ranking", True, sampler="shared")["num_neg"] == N_SHARED
    assert chosen_for("ranking", False)["loss_type"] == "cross_entropy"
    assert chosen_for("rating", False)["loss_type"] == "squared"


def test_layers_over_the_vectors_of_ids_are_narrow_and_mostly_dropped_against_the_catalogue():
    data, info = DatasetPure.build_trainset(two_tastes())
    against_all = choose(DeepFM("ranking", info), data, True)
    assert (against_all["hidden_units"], against_all["dropout_rate"], against_all["embed_size"]) == ((64,), 0.8, 128)
    for others in (choose(DeepFM("ranking", info, num_neg=1), data, True), choose(DeepFM("rating", info), data, False)):
        assert (others["hidden_units"], others["dropout_rate"]) == ((128, 64, 32), 0.0)
    assert choose(NFM("ranking", info), data, True)["dropout_rate"] == 0.0
    assert "hidden_units" not in choose(DeepFM("ranking", info, hidden_units=(8,)), data, True)


def test_a_large_catalogue_is_stood_for_by_items_drawn_for_each_batch():
    n = LARGE_CATALOGUE + 1
    frame = pd.DataFrame({"user": np.arange(n) % 50, "item": np.arange(n), "label": 1})
    data, info = DatasetPure.build_trainset(frame)
    chosen = choose(FM("ranking", info), data, True)
    assert (chosen["num_neg"], chosen["sampler"], chosen["loss_type"]) == (N_SHARED, "shared", "softmax")


def test_what_is_set_stays_as_it_is():
    given = {"loss_type": "cross_entropy", "embed_size": 3, "n_epochs": 2, "lr": 0.1, "prior": 0.5}
    given |= {"batch_size": 7, "num_neg": 2, "embed_dropout": 0.1}
    assert set(MAY_BE_OPEN) - set(given) == {
        "use_bn", "dropout_rate", "hidden_units", "item_to_item_l2", "item_to_item_weight",
    }  # fmt: skip
    data, info = DatasetPure.build_trainset(two_tastes())
    model = FM("ranking", info, **given).fit(data, neg_sampling=True, verbose=0)
    assert {name: getattr(model, name) for name in given} == given


def test_what_was_chosen_stands_in_the_model_and_in_its_file(tmp_path):
    data, info = DatasetPure.build_trainset(two_tastes())
    model = FM("ranking", info).fit(data, neg_sampling=True, verbose=0)
    chosen = [name for name in MAY_BE_OPEN if hasattr(model, name) and not name.startswith("item_to_item")]
    assert all(getattr(model, name) is not None for name in chosen)
    assert len(model.history_) == model.n_epochs
    model.save(tmp_path, "tastes")
    again = recolib.load(tmp_path / "tastes.safetensors")
    assert all(getattr(again, name) == getattr(model, name) for name in MAY_BE_OPEN if hasattr(model, name))


def test_a_fit_that_fails_chooses_nothing(tmp_path):
    data, info = DatasetPure.build_trainset(two_tastes())
    model = FM("ranking", info, lr=1e30)
    with pytest.raises(FloatingPointError):
        model.fit(data, neg_sampling=True, verbose=0)
    assert model.num_neg is None
    assert model.n_epochs is None


# ---- the number of epochs


def test_rows_that_are_held_out_are_a_share_of_each_users_latest():
    frame = movies().assign(time=lambda f: np.random.default_rng(0).permutation(len(f)))
    data, _ = DatasetPure.build_trainset(frame)
    rest, held = hold_out(data, 0.1, data.has_times, 42)
    assert len(rest) + len(held) == len(data)
    assert len(held) == pytest.approx(0.1 * len(data), rel=0.15)
    latest = {user: held.times[held.user_indices == user].min() for user in set(held.user_indices.tolist())}
    assert all((rest.times[rest.user_indices == user] < first).all() for user, first in latest.items())
    assert set(held.user_indices.tolist()) <= set(rest.user_indices.tolist())


def test_without_times_rows_are_held_out_at_random():
    data, _ = DatasetPure.build_trainset(movies().drop(columns="time", errors="ignore"))
    assert not data.has_times
    one, other = (hold_out(data, 0.3, False, seed)[1] for seed in (1, 2))
    assert len(one) == pytest.approx(0.3 * len(data), rel=0.1)
    pairs = [set(zip(part.user_indices.tolist(), part.item_indices.tolist(), strict=True)) for part in (one, other)]
    assert pairs[0] != pairs[1]


def test_rows_that_a_model_reads_in_order_are_held_out_in_order():
    frame = movies().assign(time=lambda f: 10 + np.arange(len(f)))
    timed, untimed = (DatasetPure.build_trainset(one)[0] for one in (frame, frame.drop(columns="time")))
    for one, other in zip(hold_out(timed, 0.2, True, 42), hold_out(untimed, 0.2, True, 42), strict=True):
        assert np.array_equal(one.user_indices, other.user_indices)
        assert np.array_equal(one.item_indices, other.item_indices)
    info = untimed.data_info
    for model in (
        SASRec("ranking", info),
        FM("ranking", info, history="recent"),
        EASE("ranking", info, history="recent"),
    ):
        assert in_order(model, untimed)
    for model in (FM("ranking", info, history=True), EASE("ranking", info)):
        assert not in_order(model, untimed)
        assert in_order(model, timed)


def test_lists_may_have_the_items_that_are_held_out():
    data, info = DatasetPure.build_trainset(two_tastes())
    _, held = hold_out(data, 0.2, True, 42)
    for user, item in zip(held.user_indices, held.item_indices, strict=True):
        assert item in info.user_consumed[int(user)]
        assert item not in held.data_info.user_consumed[int(user)]


def test_the_last_model_is_that_of_a_fit_of_all_rows_for_as_many_epochs():
    data, info = DatasetPure.build_trainset(two_tastes())
    model = FM("ranking", info).fit(data, neg_sampling=True, verbose=0)
    assert 1 <= model.n_epochs <= MOST_EPOCHS
    same = FM("ranking", info, n_epochs=model.n_epochs).fit(data, neg_sampling=True, verbose=0)
    user = info.id2user[1]
    assert model.recommend_user(user, 5)[user].tolist() == same.recommend_user(user, 5)[user].tolist()


def test_without_a_refit_the_model_is_the_one_that_did_not_see_the_rows_held_out():
    data, info = DatasetPure.build_trainset(two_tastes())
    model = FM("ranking", info).fit(data, neg_sampling=True, verbose=0, refit=False)
    assert "eval_ndcg" in model.history_
    assert model.history_["epoch"].iloc[-1] >= model.n_epochs
    assert model.data_info is info


def test_early_stopping_of_ones_own_decides_instead():
    train, test = random_split(two_tastes(), test_size=0.2, seed=1)
    data, info = DatasetPure.build_trainset(train)
    stopping = EarlyStopping("ndcg", patience=1)
    model = FM("ranking", info)
    model.fit(data, True, 0, eval_data=test, metrics=["ndcg"], k=5, early_stopping=stopping)
    assert model.n_epochs == MOST_EPOCHS
    assert len(model.history_) < MOST_EPOCHS


def test_a_run_with_open_settings_is_resumed_with_what_it_chose(tmp_path):
    data, info = DatasetPure.build_trainset(two_tastes())
    whole = FM("ranking", info).fit(data, True, 0, checkpoint=tmp_path / "run")
    again = FM("ranking", info).fit(data, True, 0, resume=tmp_path / "run")
    assert again.n_epochs == whole.n_epochs
    assert len(again.history_) == whole.n_epochs


def test_contexts_and_features_train_with_nothing_set():
    frame = two_tastes()
    columns: dict[str, Any] = {"user_col": ["sex"], "item_col": ["genre1"], "sparse_col": ["sex", "genre1", "hour"]}
    data, info = DatasetFeat.build_trainset(frame, **columns, context_col=["hour"])
    model = FM("ranking", info).fit(data, neg_sampling=True, verbose=0)
    user = info.id2user[1]
    assert len(model.recommend_user(user, 3)[user]) == 3


def test_one_row_a_user_trains_for_a_fixed_number_of_epochs():
    frame = pd.DataFrame({"user": np.arange(30), "item": np.arange(30) % 7, "label": 1})
    data, info = DatasetPure.build_trainset(frame)
    assert len(FM("ranking", info).fit(data, neg_sampling=True, verbose=0).history_) == 20
