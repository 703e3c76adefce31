"""Sample weights: the column that ``weight_col`` names says how much each row counts in training."""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from worlds import make_world, two_tastes

from recolib.algorithms import FM
from recolib.data import DatasetFeat, DatasetPure
from recolib.evaluation import evaluate
from recolib.exceptions import UndeclaredWeightWarning
from recolib.recommender import Recommender
from recolib.sampling import SAMPLERS
from recolib.training.batches import Examples
from recolib.training.losses import NEED_NEGATIVES, RANKING_LOSSES, RATING_LOSS, Loss
from recolib.training.order import batch_bounds

CPU = torch.device("cpu")
LOSSES: dict[str, Loss] = {**RANKING_LOSSES, "squared": RATING_LOSS}


def loss_by_hand(name: str, scores: list[float], labels: list[float]) -> list[float]:
    """The losses of one row."""
    positive, *negatives = scores
    if name == "squared":
        return [(s - y) ** 2 for s, y in zip(scores, labels, strict=True)]
    if name == "hinge":
        return [max(0.0, 1 - s * (2 * y - 1)) for s, y in zip(scores, labels, strict=True)]
    if name == "bpr":
        return [math.log1p(math.exp(other - positive)) for other in negatives]
    if name == "max_margin":
        return [max(0.0, 1 - (positive - other)) for other in negatives]
    if name == "softmax":
        return [math.log(sum(map(math.exp, scores))) - positive]
    right = [1 / (1 + math.exp(-s if y else s)) for s, y in zip(scores, labels, strict=True)]
    if name == "cross_entropy":
        return [-math.log(p) for p in right]
    return [-(0.25 if y else 0.75) * (1 - p) ** 2 * math.log(p) for p, y in zip(right, labels, strict=True)]


def batch(seed: int = 0, b: int = 6, n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(b, n, generator=generator) < 0.4).double()
    return 2 * torch.randn(b, n, dtype=torch.float64, generator=generator), labels


# ---- losses


@pytest.mark.parametrize("name", LOSSES)
@given(weights=hnp.arrays(np.float64, 6, elements=st.floats(0, 10)))
def test_a_weighted_loss_is_that_of_a_loop(name, weights):
    scores, labels = batch()
    rows = [loss_by_hand(name, s, y) for s, y in zip(scores.tolist(), labels.tolist(), strict=True)]
    expected = np.mean([weight * loss for weight, row in zip(weights, rows, strict=True) for loss in row])
    found = LOSSES[name](scores, labels, torch.from_numpy(weights).unsqueeze(1))
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", LOSSES)
def test_weights_of_1_give_the_plain_loss(name):
    scores, labels = batch()
    one = LOSSES[name](scores, labels, torch.ones(len(scores), 1, dtype=torch.float64))
    assert one.item() == pytest.approx(LOSSES[name](scores, labels).item())


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_weighted_losses_are_those_of_finite_differences(name):
    scores, labels = batch(b=3, n=2)
    weights = torch.tensor([[0.0], [0.5], [2.5]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: LOSSES[name](s, labels, weights), (scores.requires_grad_(),))


@pytest.mark.parametrize("name", LOSSES)
def test_a_row_of_weight_0_gets_no_gradient(name):
    scores, labels = batch()
    weights = torch.tensor([0.0, 1, 2, 0, 1, 1], dtype=torch.float64).unsqueeze(1)
    LOSSES[name](scores.requires_grad_(), labels, weights).backward()
    assert not scores.grad[[0, 3]].any()
    assert scores.grad[[1, 2]].any()


# ---- the column


def frame_of(weights: Any, **columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"user": [1, 1, 2, 2], "item": ["a", "b", "a", "c"], "label": [1, 1, 1, 1], **columns})
    return frame if weights is None else frame.assign(weight=pd.Series(weights))


@pytest.mark.parametrize("weights", [[1, 2, 0, 3], [0.5, 1.5, 0.0, 3e30], np.array([1, 2, 3, 4], np.int8)])
def test_the_column_is_read_as_it_is(weights):
    for data in (
        DatasetPure.build_trainset(frame_of(weights), weight_col="weight")[0],
        DatasetFeat.build_trainset(
            frame_of(weights, age=[1, 1, 2, 2]), user_col=["age"], dense_col=["age"], weight_col="weight"
        )[0],
        DatasetPure.build_trainset(pl.from_pandas(frame_of(weights)), weight_col="weight")[0],
    ):
        assert data.weights.dtype == np.float32
        assert data.weights.tolist() == np.asarray(weights, np.float32).tolist()


def test_without_the_column_all_weights_are_1_and_take_no_memory():
    data, _ = DatasetPure.build_trainset(two_tastes())
    for some in (
        data,
        data.take(np.arange(5)),
        data.take(np.arange(0)),
        data.take(np.arange(5)).take(np.array([1, 1])),
    ):
        assert some.weights.shape == (len(some),)
        assert (some.weights == 1).all()
        assert some.weights.strides == (0,)


def test_weights_go_with_their_rows():
    data, _ = DatasetPure.build_trainset(frame_of([1, 2, 3, 4]), weight_col="weight")
    assert data.take(np.array([3, 0, 0])).weights.tolist() == [4, 1, 1]
    shuffled = DatasetPure.build_trainset(frame_of([1, 2, 3, 4]), shuffle=True, seed=0, weight_col="weight")[0]
    rows = {
        (int(u), int(i)): float(w) for u, i, w in zip(data.user_indices, data.item_indices, data.weights, strict=True)
    }
    assert shuffled.weights.tolist() != data.weights.tolist()
    for at in range(4):
        assert rows[int(shuffled.user_indices[at]), int(shuffled.item_indices[at])] == shuffled.weights[at]


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ([1, 2, -0.5, 3], r"column 'weight' must not be negative, found -0\.5"),
        ([0, 0, 0, 0], "column 'weight' is 0 in all rows: leave weight_col out"),
        ([1e-60, 0, 0, 0], "column 'weight' is 0 in all rows"),  # in float32
        ([1, 2, np.nan, 3], "column 'weight' .*missing"),
        ([1, 2, np.inf, 3], "column 'weight' has 1 infinite values"),
        ([1, 2, 1e39, 3], "column 'weight' has 1 values beyond"),
        (["a", "b", "c", "d"], "column 'weight' must hold numbers, found text such as 'a'"),
    ],
)
def test_bad_weights_are_refused_by_their_column(weights, match):
    with pytest.raises(ValueError, match=match):
        DatasetPure.build_trainset(frame_of(weights), weight_col="weight")


def test_a_declared_feature_is_no_weight():
    frame = frame_of([-1.0, -1.0, 5.0, 5.0])
    data, info = DatasetFeat.build_trainset(frame, user_col=["weight"], dense_col=["weight"])
    assert data.weights.tolist() == [1, 1, 1, 1]
    assert info.user_dense_col.name == ["weight"]
    groups = {"item_col": ["weight", "other"], "multi_sparse_col": [["weight", "other"]]}
    data, _ = DatasetFeat.build_trainset(frame_of(["x", "y", "x", "z"], other=["y", "z", "y", "x"]), **groups)
    assert data.weights.tolist() == [1, 1, 1, 1]


def test_a_feature_of_a_frame_of_its_own_is_no_weight():
    users = pd.DataFrame({"user": [1, 2], "weight": [-60.0, 80.0]})
    data, _ = DatasetFeat.build_trainset(frame_of(None), user_col=["weight"], dense_col=["weight"], user_features=users)
    assert data.weights.tolist() == [1, 1, 1, 1]


# ---- training


def gradients(weights: Any, rows: Any, task: str, neg_sampling: bool, loss: str, num_neg: int = 2) -> torch.Tensor:
    """The gradient of the first full-batch step on these rows of the world, whose negatives are given by their rows."""
    world = make_world(task, "all kinds")
    frame = world.frame.head(40)
    if task == "ranking" and not neg_sampling:
        frame = frame.assign(label=np.arange(40) % 2)
    data, info = world.build(frame)
    model = FM(task, info, loss, embed_size=4, init_std=0.3, num_neg=1, prior=0)
    draw = SAMPLERS["random"](info) if neg_sampling else None
    model.n_epochs, model.lr, model.batch_size = 1, 1e-30, 10_000
    model.fit(data, neg_sampling, verbose=0)
    network = copy.deepcopy(model.engine.network).train()
    negatives = Examples.of(data, draw, num_neg, CPU).candidates(1, 0)
    some = replace(data.take(np.asarray(rows)), weights=np.asarray(weights, np.float32))
    examples = Examples.of(some, draw, num_neg, CPU)
    ((users, items, labels, of_rows),) = examples.batches(
        torch.arange(len(some)), negatives[torch.as_tensor(rows)], batch_bounds(len(some), 10_000)
    )
    LOSSES[loss](network(users, items), labels, of_rows).backward()
    return torch.cat([weight.grad.flatten() for weight in network.parameters() if weight.grad is not None])


CASES = [("rating", False, "squared")] + [
    ("ranking", sampled, name)
    for name in RANKING_LOSSES
    for sampled in (True, False)
    if sampled or name not in NEED_NEGATIVES
]


@pytest.mark.parametrize(("task", "neg_sampling", "loss"), CASES)
def test_a_weight_of_3_is_3_rows(task, neg_sampling, loss):
    weights = np.random.default_rng(0).integers(0, 4, 40)
    once = gradients(weights, np.arange(40), task, neg_sampling, loss)
    repeated = np.repeat(np.arange(40), weights)
    torch.testing.assert_close(once, gradients(np.ones(len(repeated)), repeated, task, neg_sampling, loss))
    assert once.norm() > 1e-3
    assert (once - gradients(np.ones(40), np.arange(40), task, neg_sampling, loss)).norm() > 1e-2 * once.norm()


@pytest.mark.parametrize(("task", "neg_sampling", "loss"), CASES)
def test_the_scale_of_the_weights_is_nothing(task, neg_sampling, loss):
    weights = np.random.default_rng(1).random(40)
    one, other = (gradients(scale * weights, np.arange(40), task, neg_sampling, loss) for scale in (1, 1000))
    torch.testing.assert_close(one, other)


def examples_of(weights: Any, draw: bool = False) -> Examples:
    data, info = DatasetPure.build_trainset(two_tastes().assign(weight=weights), weight_col="weight")
    return Examples.of(data, SAMPLERS["random"](info) if draw else None, 2, CPU)


def test_weights_have_mean_1_over_the_rows_to_train_on():
    n = len(two_tastes())
    examples = examples_of(np.arange(n) % 5)
    assert examples.weights.shape == (n, 1)
    assert examples.weights.mean().item() == pytest.approx(1)
    torch.testing.assert_close(examples.weights[:10, 0] / examples.weights[1, 0], torch.arange(10).float() % 5)


def test_weights_that_are_all_the_same_are_none():
    assert examples_of(1.0).weights is examples_of(7.5).weights is None


@pytest.mark.parametrize("at_once", [1, 2**20])
def test_batches_carry_the_weights_of_their_rows(monkeypatch, at_once):
    monkeypatch.setattr("recolib.training.batches.NUMBERS_AT_ONCE", at_once)
    examples = examples_of(np.arange(len(two_tastes())) % 5, draw=True)
    n = len(examples.data)
    order, bounds = torch.randperm(n), batch_bounds(n, 50)
    batches = list(examples.batches(order, examples.candidates(1, 0)[order], bounds))
    assert torch.equal(torch.cat([weights for *_, weights in batches]), examples.weights[order])
    assert {tuple(weights.shape[1:]) for *_, weights in batches} == {(1,)}


def fitted(frame: pd.DataFrame, **more: Any) -> Recommender:
    data, info = DatasetPure.build_trainset(frame, weight_col="weight" if "weight" in frame else None)
    settings: dict[str, Any] = {"embed_size": 4, "n_epochs": 3, "lr": 0.05, "batch_size": 64, "ema": 0.9, **more}
    return FM("ranking", info, num_neg=1, **settings).fit(data, neg_sampling=True, verbose=0)


def same(one: Recommender, other: Recommender) -> bool:
    mine, theirs = one._state, other._state
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_equal_weights_change_no_bit():
    plain = fitted(two_tastes())
    assert same(fitted(two_tastes().assign(weight=3)), plain)
    other = fitted(two_tastes().assign(weight=np.arange(len(two_tastes())) % 3))
    assert not same(other, plain)


def test_the_scale_of_weights_changes_no_bit():
    weights = np.arange(len(two_tastes())) % 3
    assert same(fitted(two_tastes().assign(weight=weights)), fitted(two_tastes().assign(weight=weights * 2.0**20)))


def test_the_loss_of_an_epoch_is_the_weighted_mean():
    """With a learning rate of nothing, against the losses of the rows one by one."""
    frame = make_world("rating", "pure").frame
    weights = np.random.default_rng(3).integers(0, 5, len(frame))
    data, info = DatasetPure.build_trainset(frame.assign(weight=weights), weight_col="weight")
    model = FM("rating", info, n_epochs=1, lr=1e-30, use_bn=False).fit(data, neg_sampling=False, verbose=0)
    errors = (model.predict(frame["user"], frame["item"]) - frame["label"]) ** 2
    assert model.history_["train_loss"][0] == pytest.approx(np.average(errors, weights=weights), rel=1e-4)


def test_heavy_rows_are_learnt_and_rows_of_weight_0_are_not():
    """Two raters who disagree: the model follows the one whose rows count."""
    frame = make_world("rating", "pure").frame
    flipped = frame.assign(label=6 - frame["label"])
    both = pd.concat([frame.assign(weight=0.0), flipped.assign(weight=1.0)], ignore_index=True)
    data, info = DatasetPure.build_trainset(both, weight_col="weight")
    model = FM("rating", info, n_epochs=60, lr=0.05).fit(data, neg_sampling=False, verbose=0)
    assert evaluate(model, flipped, False)["loss"] < 0.7
    assert evaluate(model, frame, False)["loss"] > 2


def test_weights_that_are_0_in_all_positives_are_refused():
    frame = two_tastes().assign(label=lambda frame: np.arange(len(frame)) % 2)
    data, info = DatasetPure.build_trainset(frame.assign(weight=1 - frame["label"]), weight_col="weight")
    model = FM("ranking", info, num_neg=1)
    with (
        pytest.warns(UserWarning, match="rows with label 0 or below are left out"),
        pytest.raises(
            ValueError, match="weights must be finite, at least 0, and above 0 in some of the rows to train on"
        ),
    ):
        model.fit(data, neg_sampling=True, verbose=0)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_weights_that_were_edited_are_checked_again(bad):
    data, info = DatasetPure.build_trainset(two_tastes().assign(weight=2.0), weight_col="weight")
    data.weights[3] = bad
    with pytest.raises(ValueError, match="weights must be finite, at least 0"):
        FM("ranking", info, num_neg=1).fit(data, neg_sampling=True, verbose=0)


def test_measuring_ignores_weights():
    frame = two_tastes()
    model = fitted(frame)
    metrics = ["loss", "roc_auc", "ndcg"]
    plain = evaluate(model, frame, True, metrics=metrics)
    for weight in (np.arange(len(frame)), "heavy", -1, np.nan):
        assert evaluate(model, frame.assign(weight=weight), True, metrics=metrics) == plain
    known = DatasetPure.build_evalset(frame.assign(weight=5), data_info=model.data_info)
    assert known.weights.strides == (0,)
    trained_on = DatasetPure.build_trainset(frame.assign(weight=np.arange(len(frame))), weight_col="weight")[0]
    assert evaluate(model, trained_on, True, metrics=metrics) == plain


def test_merged_rows_have_weights_of_their_own():
    _, info = DatasetPure.build_trainset(frame_of([1, 2, 3, 4]), weight_col="weight")
    more = frame_of([0.5, 1.5, 2.5, 3.5]).assign(user=[2, 3, 3, 1])
    assert DatasetPure.merge_trainset(more, info, weight_col="weight")[0].weights.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert DatasetPure.merge_trainset(more.drop(columns="weight"), info)[0].weights.strides == (0,)
    with pytest.raises(ValueError, match="column 'weight' must not be negative"):
        DatasetPure.merge_trainset(more.assign(weight=-1), info, weight_col="weight")


def test_a_column_called_weight_that_nobody_declared_weighs_nothing_and_is_told_of():
    """A product's kilograms, merged into the log."""
    frame = two_tastes()
    heavy = frame.assign(weight=np.random.default_rng(0).lognormal(0, 2, len(frame)))
    told = "column 'weight' is not used: pass weight_col='weight' if it is how much a row counts"
    for dataset in (DatasetPure, DatasetFeat):
        for carry in (lambda one: one, pl.from_pandas):
            with pytest.warns(UndeclaredWeightWarning, match=told) as caught:
                data, info = dataset.build_trainset(carry(heavy))
            assert len(caught) == 1
            assert data.digest() == dataset.build_trainset(frame)[0].digest()
        with pytest.warns(UndeclaredWeightWarning, match=told):
            assert dataset.merge_trainset(heavy, info)[0].weights.strides == (0,)
    model = fitted(frame)
    with pytest.warns(UndeclaredWeightWarning, match=told):
        model.update(heavy, neg_sampling=True, verbose=0)
    assert same(model, fitted(frame).update(frame, neg_sampling=True, verbose=0))
    with warnings.catch_warnings(action="error", category=UndeclaredWeightWarning):
        evaluate(model, heavy, True)
        DatasetFeat.build_trainset(heavy, user_col=["weight"], dense_col=["weight"])
        DatasetPure.build_trainset(heavy, weight_col="weight")
        DatasetPure.build_trainset(heavy.rename(columns={"weight": "kilograms"}))


def test_weights_may_be_in_a_column_of_any_name():
    frame = two_tastes().assign(trust=np.arange(len(two_tastes())) % 3 + 0.5)
    data, info = DatasetPure.build_trainset(frame, weight_col="trust")
    assert data.weights.tolist() == frame["trust"].tolist()
    assert DatasetFeat.merge_trainset(frame, info, weight_col="trust")[0].weights.tolist() == frame["trust"].tolist()
    plain, weighed = (fitted(two_tastes()) for _ in range(2))
    weighed.update(frame, neg_sampling=True, verbose=0, weight_col="trust")
    assert not same(weighed, plain.update(frame, neg_sampling=True, verbose=0))


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("trust", ValueError, r"columns \['trust'\] are not in train_data"),
        ("label", ValueError, "weight_col='label' is a column of another use"),
        ("time", ValueError, "weight_col='time' is a column of another use"),
        ("price", ValueError, "weight_col='price' is a column of another use: a weight is no feature"),
        (["price"], TypeError, r"weight_col must be the name of a column, got \['price'\]"),
    ],
)
def test_a_weight_col_that_cannot_be_one_is_refused(name, error, match):
    columns: dict[str, Any] = {"item_col": ["price"], "dense_col": ["price"]}
    info = DatasetFeat.build_trainset(two_tastes(), **columns)[1]
    with pytest.raises(error, match=match):
        DatasetFeat.build_trainset(two_tastes(), **columns, weight_col=name)
    with pytest.raises(error, match=match):
        DatasetFeat.merge_trainset(two_tastes(), info, weight_col=name)
