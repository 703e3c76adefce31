from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F
from worlds import KINDS, make_world, two_tastes

import recolib
from recolib import AFM, FM, NFM, DatasetFeat, DatasetPure, DeepFM, EarlyStopping
from recolib.data.rows import Rows
from recolib.evaluation import evaluate
from recolib.nn import blocks
from recolib.process_group import ProcessGroup
from recolib.training import catalogue
from recolib.training.batches import Examples
from recolib.training.catalogue import CatalogueExamples, distinct_rows
from recolib.training.catalogue_losses import CATALOGUE_LOSSES, LEVEL, Implicit, Positives, catalogue_loss, softmax
from recolib.training.order import Order, batch_bounds

CPU = torch.device("cpu")
WEIGHT = 0.3
SETTINGS: dict[str, Any] = {"num_neg": "all", "loss_type": "softmax", "embed_size": 6, "lr": 0.05, "batch_size": 8}
SETTINGS |= {"prior": 0, "embed_dropout": 0}


def fitted(cls: Any = FM, kind: str = "pure", **more: Any) -> Any:
    data, info = make_world("ranking", kind).build()
    return cls("ranking", info, **{**SETTINGS, "n_epochs": 3, **more}).fit(data, neg_sampling=True, verbose=0)


def same(one: Any, other: Any) -> bool:
    mine, theirs = one.engine.network.state_dict(), other.engine.network.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


# ---- losses


def some_positives() -> tuple[torch.Tensor, Positives, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(4, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    rows, columns = torch.tensor([0, 0, 1, 3, 3, 3, 3]), torch.tensor([2, 5, 0, 1, 4, 6, 4])  # one of them twice
    weights = torch.linspace(0.5, 1.5, 7, dtype=torch.float64)
    return scores, Positives(rows, columns, weights), weights.numpy()


@pytest.mark.parametrize("name", CATALOGUE_LOSSES)
def test_losses_are_those_of_a_loop_over_positives_and_items(name):
    scores, positives, weights = some_positives()
    expected = []
    for row, column in zip(positives.rows.tolist(), positives.columns.tolist(), strict=True):
        own, others = scores[row, column], scores[row][torch.arange(7) != column]
        if name == "softmax":
            level = scores[row].logsumexp(0) - math.log(7)
            expected.append(LEVEL * level.square() - F.log_softmax(scores[row], 0)[column])
        elif name == "implicit":
            expected.append((1 - own).square())
        else:
            expected.append((F.softplus(-own) + F.softplus(others).mean()) / 2)
    every = WEIGHT * scores.square().sum() / 7 if name == "implicit" else 0.0
    mean = (torch.stack(expected) * torch.from_numpy(weights)).mean() + every
    torch.testing.assert_close(catalogue_loss(name, WEIGHT)(scores, positives), mean)
    (gradient,) = torch.autograd.grad(catalogue_loss(name, WEIGHT)(scores, positives), scores)
    torch.testing.assert_close(gradient, torch.autograd.grad(mean, scores)[0])
    plain = catalogue_loss(name, WEIGHT)(scores, replace(positives, weights=None))
    torch.testing.assert_close(plain, torch.stack(expected).mean() + every)


@pytest.mark.parametrize("is_drawn", [False, True])
def test_squared_error_of_inner_products_needs_no_scores(is_drawn):
    generator = torch.Generator().manual_seed(1)
    users, items = (torch.randn(n, 3, generator=generator, dtype=torch.float64, requires_grad=True) for n in (4, 7))
    _, positives, _ = some_positives()
    if is_drawn:
        positives = replace(positives, rates=torch.linspace(0.2, 1, 7, dtype=torch.float64))
    loss = Implicit(WEIGHT)
    by_scores, by_vectors = loss(users @ items.T, positives), loss.of_vectors(users, items, positives)
    torch.testing.assert_close(by_vectors, by_scores)
    for mine, theirs in zip(
        torch.autograd.grad(by_vectors, (users, items)), torch.autograd.grad(by_scores, (users, items)), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_cross_entropy_is_what_one_random_negative_gives_on_average():
    data, info = DatasetPure.build_trainset(two_tastes())
    model = FM("ranking", info, embed_size=4, n_epochs=1, init_std=0.5, lr=1e-30, num_neg=1, seed=0)
    losses = []
    for seed in range(40):
        model.seed = seed
        model.fit(data, neg_sampling=True, verbose=0)
        losses.append(model.history_["train_loss"].iloc[-1])
    settings: dict[str, Any] = {"embed_size": 4, "n_epochs": 1, "init_std": 0.5, "lr": 1e-30, "embed_dropout": 0}
    whole = FM("ranking", info, "cross_entropy", num_neg="all", seed=0, **settings)
    whole.fit(data, neg_sampling=True, verbose=0)
    error = np.std(losses) / len(losses) ** 0.5
    assert whole.history_["train_loss"].iloc[0] == pytest.approx(np.mean(losses), abs=4 * error)


# ---- user rows and their positives


@pytest.mark.parametrize("kind", KINDS)
def test_each_user_row_has_the_positives_of_its_user_and_context(kind):
    data, info = make_world("ranking", kind).build()
    examples = CatalogueExamples.of(data, CPU)
    found = set()
    context = data.context.codes.numpy()
    for group, (begin, end) in enumerate(zip(examples.starts[:-1].tolist(), examples.starts[1:].tolist(), strict=True)):
        own = examples.context.codes[group].tolist()
        for column in examples.columns[begin:end].tolist():
            found.add((int(examples.user_rows[group]), tuple(own), int(info.trained_items[column])))
    rows = zip(data.user_rows.tolist(), map(tuple, context.tolist()), data.item_indices.tolist(), strict=True)
    assert found == set(rows)
    assert int(examples.starts[-1]) == len(data)
    assert len(examples) == len({(row, codes) for row, codes, _ in found})


def test_users_that_differ_by_a_number_of_the_context_are_two_rows():
    frame = two_tastes().assign(speed=lambda rows: np.where(rows["time"] % 2, 0.5, -0.0))
    data, _ = DatasetFeat.build_trainset(frame, context_col=["speed"], dense_col=["speed"])
    first, group = distinct_rows(data)
    pairs = set(zip(data.user_rows.tolist(), data.context.dense[:, 0].tolist(), strict=True))
    assert len(first) == group.max() + 1 == len(pairs)


@pytest.mark.parametrize("cls", [FM, DeepFM])
def test_a_batch_in_parts_steps_as_a_whole_one(cls, monkeypatch):
    settings = {"use_bn": False, "reg": 0.01, "n_epochs": 2, "optimizer": "sgd", "lr": 0.5, "init_std": 0.1}
    whole = fitted(cls, "all kinds", **settings)
    monkeypatch.setattr(catalogue, "NUMBERS_AT_ONCE", 1)
    parts = fitted(cls, "all kinds", **settings)
    for name, tensor in whole.engine.network.state_dict().items():
        torch.testing.assert_close(parts.engine.network.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)
    assert parts.history_["train_loss"].tolist() == pytest.approx(whole.history_["train_loss"].tolist(), rel=1e-4)


@pytest.mark.parametrize("more", [{}, {"sampler": "shared", "num_neg": 4}, {"id_dropout": 0.3, "reg": 0.01}])
def test_a_batch_without_its_scores_steps_as_one_with_them(more, monkeypatch):
    settings = {"loss_type": "implicit", "n_epochs": 2, "optimizer": "sgd", "lr": 0.01, "init_std": 0.1, **more}
    with_scores = fitted(FM, "all kinds", **settings)
    made = []
    monkeypatch.setattr(Implicit, "__call__", lambda *args: made.append(args))
    monkeypatch.setattr(catalogue, "MANY_SCORES", 0)
    without = fitted(FM, "all kinds", **settings)
    assert not made
    for name, tensor in with_scores.engine.network.state_dict().items():
        torch.testing.assert_close(without.engine.network.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)
    assert without.history_["train_loss"].tolist() == pytest.approx(with_scores.history_["train_loss"].tolist())


@pytest.mark.parametrize(("cls", "more"), [(DeepFM, {}), (FM, {"use_bn": True}), (FM, {"dropout_rate": 0.2})])
def test_what_is_no_inner_product_in_training_has_its_scores_made(cls, more, monkeypatch):
    monkeypatch.setattr(catalogue, "MANY_SCORES", 0)
    model = fitted(cls, "all kinds", loss_type="implicit", lr=0.02, **more)
    assert not model.engine.network.train().trains_as_product
    assert model.history_["train_loss"].iloc[-1] < model.history_["train_loss"].iloc[0]


def test_squared_error_of_all_pairs_starts_where_items_alone_have_it_least():
    data, info = DatasetPure.build_trainset(two_tastes())
    settings = {**SETTINGS, "loss_type": "implicit", "init_std": 1e-8, "optimizer": "sgd"}
    model = FM("ranking", info, **{**settings, "n_epochs": 1, "lr": 1e-12}).fit(data, neg_sampling=True, verbose=0)
    events = np.bincount(data.item_indices, minlength=info.n_items + 1)[1:]
    start = model.engine.network.item.weights.weight.detach()[2 : 2 + info.n_items, 0]
    np.testing.assert_allclose(start.numpy(), events / (events + model.unobserved_weight * info.n_users), rtol=1e-5)


@pytest.mark.parametrize("use_bn", [False, True])
@pytest.mark.parametrize("cls", [NFM, DeepFM])
def test_layers_in_blocks_of_pairs_train_as_uncut_ones(cls, use_bn, monkeypatch):
    settings = {"use_bn": use_bn, "dropout_rate": 0.0, "n_epochs": 2, "optimizer": "sgd", "lr": 0.1, "init_std": 0.1}
    uncut = fitted(cls, "all kinds", **settings)
    monkeypatch.setattr(blocks, "N_PAIRS", 1)
    monkeypatch.setattr(blocks, "N_ITEMS", 3)
    cut = fitted(cls, "all kinds", **settings)
    assert cut.history_["train_loss"].tolist() == pytest.approx(uncut.history_["train_loss"].tolist(), rel=1e-4)
    assert not same(cut, uncut)  # but for the order of sums


# ---- a fit


@pytest.mark.parametrize(
    ("cls", "loss"),
    [*((FM, loss) for loss in CATALOGUE_LOSSES), *zip([NFM, AFM, DeepFM], CATALOGUE_LOSSES, strict=True)],
)
def test_both_tastes_are_found(cls, loss):
    model = fitted(cls, "all kinds", loss_type=loss, n_epochs=25, init_std=0.1, lr=0.02)
    assert model.history_["train_loss"].iloc[-1] < model.history_["train_loss"].iloc[0]
    lists = model.recommend_user([100, 101], 4, context={"hour": 1}, filter_consumed=False)
    assert all(int(item[1:]) % 2 == 0 for item in lists[100])
    assert all(int(item[1:]) % 2 == 1 for item in lists[101])


@pytest.mark.parametrize("more", [{}, {"ema": 0.9}, {"id_dropout": 0.3}, {"embed_dropout": (0.5, 0.0)}])
def test_one_epoch_and_two_more_are_three_to_the_bit(more, tmp_path):
    data, _ = make_world("ranking", "all kinds").build()
    parts = fitted(DeepFM, "all kinds", n_epochs=1, **more)
    parts = recolib.load(parts.save(tmp_path, "it"))
    assert parts.num_neg == "all"
    parts.n_epochs = 2
    parts.fit(data, neg_sampling=True, verbose=0)
    assert same(parts, fitted(DeepFM, "all kinds", **more))


def test_weights_count_and_rows_of_weight_0_do_not():
    frame = two_tastes()
    odd = frame["user"] % 2 == 1
    twice = pd.concat([frame, frame[odd]], ignore_index=True)
    weighted = DatasetPure.build_trainset(frame.assign(weight=1 + odd.astype(int)), weight_col="weight")[0]
    repeated, info = DatasetPure.build_trainset(twice)
    one, other = CatalogueExamples.of(weighted, CPU), CatalogueExamples.of(repeated, CPU)
    scores = torch.randn(len(one), info.n_items, generator=torch.Generator().manual_seed(0))

    def loss(examples: CatalogueExamples) -> float:
        rows = torch.repeat_interleave(torch.arange(len(examples)), examples.starts.diff())
        return float(softmax(scores, Positives(rows, examples.columns, examples.weights)))

    assert loss(one) == pytest.approx(loss(other), rel=1e-5)


def test_dropped_ids_leave_a_trained_unknown_id():
    model = fitted(FM, "sparse", id_dropout=0.5, n_epochs=2)
    embedding = model.engine.network.user
    assert bool(embedding.trained[1])  # the row of the unknown id
    assert model.recommend_user("new", 3, {"sex": "F"}, cold_start="features")["new"].size == 3


def test_dropout_may_be_of_one_side():
    model = fitted(FM, "pure", embed_dropout=(0.5, 0.0), n_epochs=1)
    assert (model.engine.network.user.dropout, model.engine.network.item.dropout) == (0.5, 0.0)
    with pytest.raises(ValueError, match="embed_dropout must be a share, or a pair of shares"):
        FM("ranking", model.data_info, embed_dropout=(0.1, 0.2, 0.3))


def test_it_stops_early_and_measures_as_ever():
    data, info = DatasetPure.build_trainset(two_tastes())
    model = FM("ranking", info, **SETTINGS, n_epochs=30)
    model.fit(
        data, True, 0, eval_data=two_tastes(seed=1), metrics=["ndcg", "roc_auc"], early_stopping=EarlyStopping("ndcg")
    )
    assert {"eval_ndcg", "eval_roc_auc"} <= set(model.history_)
    assert len(model.history_) < 30


def test_items_that_change_stand_in_the_catalogue_as_they_are_now():
    frame = two_tastes().assign(price=lambda rows: rows["time"].astype(float))
    data, info = DatasetFeat.build_trainset(frame, item_col=["price"], dense_col=["price"])
    examples = CatalogueExamples.of(data, CPU)
    assert torch.equal(examples.items.dense, info.items.current.dense[info.trained_items])
    FM("ranking", info, **SETTINGS, n_epochs=1).fit(data, True, verbose=0)


@pytest.mark.parametrize("more", [{}, {"num_neg": 4, "sampler": "shared"}])
@pytest.mark.parametrize("cls", [FM, AFM, DeepFM])
def test_one_user_row_is_enough(cls, more):
    model = fitted(cls, **more)
    before = model.predict(100, "i0")
    model.update(pd.DataFrame({"user": 100, "item": ["i0", "i1", "i2"], "label": 1}), neg_sampling=True, verbose=0)
    assert model.predict(100, "i0") != before
    assert all(tensor.isfinite().all() for tensor in model.engine.network.state_dict().values())


# ---- what is refused


@pytest.mark.parametrize("loss", ["bpr", "max_margin", "hinge", "focal", lambda scores, labels, weights: scores.mean()])
def test_losses_without_a_form_over_the_catalogue_are_refused(loss):
    _, info = DatasetPure.build_trainset(two_tastes())
    with pytest.raises(ValueError, match="num_neg='all' has loss_type 'softmax' or 'cross_entropy' or 'implicit', got"):
        FM("ranking", info, loss, num_neg="all")


def test_another_word_than_all_is_no_number_of_negatives():
    _, info = DatasetPure.build_trainset(two_tastes())
    with pytest.raises(TypeError, match="num_neg must be an integer, got 'every'"):
        FM("ranking", info, num_neg="every")


@pytest.mark.parametrize("cls", [FM, NFM, DeepFM])
def test_one_user_is_enough(cls):
    data, info = DatasetPure.build_trainset(pd.DataFrame({"user": 1, "item": [*"abcabd"], "label": 1}))
    model = cls("ranking", info, **SETTINGS | {"lr": 1e-3}, n_epochs=1, use_bn=True)
    model.fit(data, neg_sampling=True, verbose=0)
    assert {*model.recommend_user(1, 2, filter_consumed=False)[1]} == {"a", "b"}


def test_a_perceptron_over_products_of_small_vectors_grows_them_against_a_prior():
    model = fitted(NFM, embed_size=128, n_epochs=30, prior=1, lr=0.02, init_std=0.03, use_bn=False)
    assert model.engine.network.user.vectors.weight.std() > 0.03


# ---- items drawn for the batch


@pytest.mark.parametrize("name", CATALOGUE_LOSSES)
def test_drawn_items_estimate_the_loss_of_the_whole_catalogue(name):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(1, 40, generator=generator, dtype=torch.float64)
    rows, columns = torch.zeros(4, dtype=torch.int64), torch.tensor([3, 9, 9, 30])
    rates = torch.linspace(0.2, 0.9, 40, dtype=torch.float64)
    whole = catalogue_loss(name, WEIGHT)(scores, Positives(rows, columns))
    estimates = []
    for _ in range(3000):
        there = torch.rand(40, generator=generator) < rates
        there[columns] = True  # the row's own positives are always among them
        items = there.nonzero().squeeze(1)
        at = torch.searchsorted(items, columns)
        estimates.append(catalogue_loss(name, WEIGHT)(scores[:, items], Positives(rows, at, rates=rates[items])))
    assert float(torch.stack(estimates).mean()) == pytest.approx(float(whole), rel=0.05)


@pytest.mark.parametrize("name", CATALOGUE_LOSSES)
def test_items_that_are_sure_to_be_there_make_the_loss_of_the_whole_catalogue(name):
    scores, positives, _ = some_positives()
    sure = replace(positives, rates=torch.ones(7, dtype=torch.float64))
    torch.testing.assert_close(
        catalogue_loss(name, WEIGHT)(scores, sure), catalogue_loss(name, WEIGHT)(scores, positives)
    )


def test_an_item_is_among_those_of_a_batch_as_often_as_its_rate_says():
    data, _ = DatasetPure.build_trainset(two_tastes(n_users=60, n_items=40))
    examples = CatalogueExamples.of(data, CPU, n_drawn=6)
    network = FM("ranking", data.data_info, **SETTINGS, n_epochs=1).fit(data, True, verbose=0).engine.network
    n, seen = 600, torch.zeros(len(examples.items))
    for epoch in range(n // len(examples)):
        for parts in examples.epoch(network, softmax, Order(len(examples), 1, 0, epoch), ProcessGroup()):

            def scored(users: Rows, items: Rows) -> torch.Tensor:
                seen[torch.searchsorted(examples.items.codes[:, 0], items.codes[0, :, 0])] += 1
                return torch.zeros(len(users), items.codes.shape[1])

            parts[0].loss(cast("Any", scored))
    expected = examples._rates(Order(len(examples), 1).n_batches)
    assert (seen / n - expected).abs().max() < 0.12
    assert float(seen.mean() / n) == pytest.approx(float(expected.mean()), rel=0.1)


@pytest.mark.parametrize("cls", [FM, NFM, DeepFM, AFM])
def test_tastes_are_found_with_items_drawn_for_each_batch(cls):
    data, info = DatasetPure.build_trainset(two_tastes())
    model = cls("ranking", info, sampler="shared", num_neg=6, lr=0.02, batch_size=8, n_epochs=40, prior=0)
    model.fit(data, neg_sampling=True, verbose=0)
    found = evaluate(model, two_tastes(), True, metrics=["roc_auc"], filter_consumed=False)
    assert found["roc_auc"] > 0.85


def test_what_is_drawn_for_a_batch_goes_by_seed_epoch_and_step_alone():
    one, same_again, other = (fitted(num_neg=3, sampler="shared", seed=seed) for seed in (1, 1, 2))
    assert same(one, same_again)
    assert not same(one, other)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"num_neg": "all", "sampler": "shared"}, "num_neg='all' draws nothing"),
        ({"loss_type": "implicit", "num_neg": 4}, "'implicit' is of all pairs, and num_neg=4 are negatives of each"),
        ({"loss_type": "implicit", "sampler": "popular"}, "'implicit' is of all pairs, and sampler='popular' draws"),
        ({"loss_type": "bpr", "sampler": "shared", "num_neg": 4}, "sampler='shared' has loss_type 'softmax' or"),
    ],
)
def test_what_has_no_items_drawn_for_a_batch_is_refused(settings, match):
    _, info = DatasetPure.build_trainset(two_tastes())
    with pytest.raises(ValueError, match=match):
        FM("ranking", info, **settings)


def test_each_vector_has_its_prior_once_an_epoch():
    data, _ = make_world("ranking", "all kinds").build()
    for examples in (CatalogueExamples.of(data, CPU), Examples.of(data, None, 0, CPU)):
        network = fitted(kind="all kinds", n_epochs=1).engine.network
        examples.set_prior(network, 2.0, batch_size=8)
        n_steps = len(batch_bounds(len(examples), 8))
        users = network.user.offsets[0] + examples.user_table.codes[examples.user_rows][:, 0].long()
        looked_up = torch.bincount(users)
        total = network.user.prior[: len(looked_up)] * looked_up
        expected = 2.0 * n_steps / len(data)  # in the scale of a step, in which each loss counts as much
        torch.testing.assert_close(total[looked_up > 0], torch.full_like(total[looked_up > 0], expected))


def test_an_epoch_of_some_rows_has_their_share_of_the_prior():
    data, info = make_world("ranking", "pure").build()
    few = data.take(np.arange(10))
    network = fitted(n_epochs=1).engine.network
    for some in (CatalogueExamples.of(few, CPU), Examples.of(few, None, 0, CPU)):
        some.set_prior(network, 2.0, batch_size=1000)
        looked_up = torch.bincount(network.user.offsets[0] + some.user_table.codes[some.user_rows][:, 0].long())
        total = float((network.user.prior[: len(looked_up)] * looked_up)[looked_up > 0][0])
        assert total == pytest.approx(2.0 / info.data_size)
