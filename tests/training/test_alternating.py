from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from recolib import ALS, EASE, FM, DatasetFeat, DatasetPure
from recolib.datasets import make_movies
from recolib.evaluation import evaluate
from recolib.training.alternating import AlternatingExamples, PairsByRow, solve

CPU = torch.device("cpu")


def some_pairs(rng, n_rows=7, n_columns=9, n=30):
    rows, columns = rng.integers(0, n_rows, n), rng.integers(0, n_columns, n)
    return rows, columns, rng.normal(size=n), rng.uniform(0.5, 2, n)


def whole(rows, columns, labels, weights, shape):
    """Weights and weighted mean labels as whole matrices, by a loop."""
    total, summed = np.zeros(shape), np.zeros(shape)
    for row, column, label, weight in zip(rows, columns, labels, weights, strict=True):
        total[row, column] += weight
        summed[row, column] += weight * label
    return total, np.divide(summed, total, out=np.zeros(shape), where=total > 0)


def test_pairs_that_stand_twice_count_as_often_with_their_mean_label():
    rng = np.random.default_rng(0)
    events = some_pairs(rng)
    pairs, (total, mean) = PairsByRow.of(*events, (7, 9), CPU), whole(*events, (7, 9))
    row = np.repeat(np.arange(7), pairs.counts.numpy())
    assert len(pairs) == (total > 0).sum() < len(events[0])
    np.testing.assert_allclose(pairs.weights.numpy(), total[row, pairs.columns.numpy()], rtol=1e-6)
    np.testing.assert_allclose(pairs.targets.numpy(), mean[row, pairs.columns.numpy()], rtol=1e-5)


def test_products_and_sums_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    events = some_pairs(rng)
    pairs = PairsByRow.of(*events, (7, 9), CPU)
    own, other = torch.randn(7, 4), torch.randn(9, 4)
    row = torch.repeat_interleave(pairs.counts)
    expected = torch.stack([own[at] @ other[column] for at, column in zip(row, pairs.columns, strict=True)])
    torch.testing.assert_close(pairs.products(own, other), expected)
    sums = torch.zeros(7, 4)
    for at, column, weight in zip(row, pairs.columns, pairs.weights, strict=True):
        sums[at] += weight * other[column]
    torch.testing.assert_close(pairs.sums(pairs.weights, other), sums)


@pytest.mark.parametrize("unobserved", [0.0, 0.3])
def test_as_many_steps_as_numbers_solve_the_system_of_each_row(unobserved):
    rng = np.random.default_rng(2)
    events, k = some_pairs(rng, n=40), 5
    pairs, (total, mean) = PairsByRow.of(*events, (7, 9), CPU), whole(*events, (7, 9))
    other = torch.randn(9, k)
    gram = unobserved * other.T @ other + 0.7 * torch.eye(k)
    own = torch.randn(7, k)
    found = solve(pairs, own, other, gram, n_steps=k + 2)
    q = other.double().numpy()
    for row in range(7):
        matrix = q.T @ (total[row][:, None] * q) + unobserved * q.T @ q + 0.7 * np.eye(k)
        expected = np.linalg.solve(matrix, q.T @ (total[row] * mean[row]))
        np.testing.assert_allclose(own[row].numpy(), expected, atol=2e-4)
    torch.testing.assert_close(found, pairs.products(own, other), atol=1e-4, rtol=1e-4)


def test_rows_without_pairs_stay_where_they_are():
    pairs = PairsByRow.of(np.array([0]), np.array([1]), np.ones(1), np.ones(1), (3, 2), CPU)
    assert pairs.counts.tolist() == [1, 0, 0]
    assert pairs.block(1, 3).counts.tolist() == [0, 0]


@torch.no_grad()
def objective(model, liked, weight):
    """The objective of the equations, from predictions of all pairs."""
    info = model.data_info
    users, items = model.engine.network.user, model.engine.network.item
    p = users.vectors.weight[users.offsets[0] + 1 :][: info.n_users].double()
    q = items.vectors.weight[items.offsets[0] + 1 :][: info.n_items].double()
    scores = (p @ q.T).numpy()
    at = [[info.user2id[u] - 1, info.item2id[i] - 1] for u, i in zip(liked["user"], liked["item"], strict=True)]
    own = scores[tuple(np.array(at).T)]
    norms = float(p.square().sum() + q.square().sum())
    return ((1 - own) ** 2).sum() + weight * (scores**2).sum(), norms


@pytest.fixture(scope="module")
def liked() -> pd.DataFrame:
    frame = make_movies(n_users=60, n_items=40, n_ratings=900, seed=3)
    return frame[["user", "item"]].drop_duplicates().assign(label=1)


def test_each_sweep_makes_the_objective_less_and_says_what_it_is(liked):
    data, info = DatasetPure.build_trainset(liked)
    values = []
    for n_epochs in range(1, 7):
        model = ALS("ranking", info, n_epochs=n_epochs, embed_size=8, prior=2.0, unobserved_weight=0.2)
        model.fit(data, neg_sampling=True, verbose=0)
        errors, norms = objective(model, liked, 0.2)
        assert model.history_["train_loss"].iloc[-1] == pytest.approx(errors / len(liked), rel=1e-4)
        values.append(errors + 2.0 * norms)
    assert all(after < before for before, after in itertools.pairwise(values))


def test_two_starts_end_at_the_same_objective(liked):
    data, info = DatasetPure.build_trainset(liked)
    solved = ALS("ranking", info, n_epochs=60, embed_size=8, prior=2.0, unobserved_weight=0.2, seed=1)
    solved.fit(data, neg_sampling=True, verbose=0)
    errors, norms = objective(solved, liked, 0.2)
    more = ALS("ranking", info, n_epochs=120, embed_size=8, prior=2.0, unobserved_weight=0.2, seed=2)
    more.fit(data, neg_sampling=True, verbose=0)
    again = objective(more, liked, 0.2)
    assert errors + 2 * norms == pytest.approx(again[0] + 2 * again[1], rel=0.01)


def test_weights_of_rows_are_those_of_their_pairs(liked):
    n = len(liked)
    heavy = liked.assign(weight=np.where(np.arange(n) < n // 2, 2.0, 1.0))
    twice = pd.concat([liked, liked.head(n // 2)])
    models = []
    for frame, weight_col in ((heavy, "weight"), (twice, None)):
        data, info = DatasetFeat.build_trainset(frame, weight_col=weight_col)
        scale = 3 * n / 2 / n if weight_col else 1.0  # weights have mean 1, so that the others count the less
        model = ALS("ranking", info, n_epochs=3, embed_size=8, prior=3.0 / scale, unobserved_weight=0.15 / scale)
        models.append(model.fit(data, neg_sampling=True, verbose=0))
    one, other = (model.predict(liked["user"].tolist(), liked["item"].tolist()) for model in models)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_rows_of_weight_0_count_for_nothing(liked):
    weighted = liked.assign(weight=[0.0, *[1.0] * (len(liked) - 1)])
    data, info = DatasetFeat.build_trainset(weighted, weight_col="weight")
    network = ALS("ranking", info, n_epochs=1, prior=1.0).fit(data, neg_sampling=True, verbose=0).engine.network
    assert len(AlternatingExamples.of(data, network, 0.1)) == len(liked) - 1


def test_features_and_context_have_no_part_in_it():
    frame = make_movies(n_users=40, n_items=30, n_ratings=500, seed=1).assign(label=1)
    frame = frame[["user", "item", "label", "sex", "age"]]
    plain_data, plain_info = DatasetPure.build_trainset(frame[["user", "item", "label"]])
    data, info = DatasetFeat.build_trainset(frame, user_col=["sex", "age"], sparse_col=["sex"], dense_col=["age"])
    settings = {"n_epochs": 3, "embed_size": 8, "prior": 2.0}
    one = ALS("ranking", info, **settings).fit(data, neg_sampling=True, verbose=0)
    users = frame["user"].unique().tolist()
    before = one.recommend_user(users, 5)
    features = one.engine.network.user
    assert not features.dense_vectors.any()
    assert not features.vectors.weight[features.blocks[1]].any()
    other = ALS("ranking", plain_info, **settings).fit(plain_data, neg_sampling=True, verbose=0)
    shared = np.mean(
        [len({*before[user].tolist()} & {*other.recommend_user(user, 5)[user].tolist()}) for user in users]
    )
    assert shared > 4  # the vectors begin at other draws


def test_the_prior_is_chosen_and_lists_are_better_than_popularity_and_near_ease():
    frame = make_movies(n_users=300, n_items=120, n_ratings=9000, seed=0)
    frame = frame[frame["label"] >= 4].assign(label=1)
    held = frame.groupby("user").sample(frac=0.2, random_state=0)
    data, info = DatasetPure.build_trainset(frame.drop(held.index))
    model = ALS("ranking", info).fit(data, neg_sampling=True, verbose=0)
    assert model.prior is not None
    assert model.n_epochs == len(model.history_)
    ndcg = {
        one.model_name: evaluate(one, held, neg_sampling=True, metrics=["ndcg"])["ndcg"]
        for one in (model, EASE("ranking", info).fit(data, neg_sampling=True, verbose=0))
    }
    assert ndcg["ALS"] > 0.9 * ndcg["EASE"]


def test_an_update_moves_those_who_have_something_new(liked):
    data, info = DatasetPure.build_trainset(liked.head(-40))
    model = ALS("ranking", info, n_epochs=10, embed_size=8, prior=2.0).fit(data, neg_sampling=True, verbose=0)
    new = pd.DataFrame({"user": ["new"] * 4, "item": liked["item"].unique()[:4], "label": 1})
    whole_data, whole_info = DatasetPure.build_trainset(pd.concat([liked.head(-40), new]))
    expected = ALS("ranking", whole_info, n_epochs=60, embed_size=8, prior=2.0)
    expected.fit(whole_data, neg_sampling=True, verbose=0)
    model.update(new, neg_sampling=True, verbose=0)
    for _ in range(3):
        model.fit(whole_data_of(model, liked.head(-40), new), neg_sampling=True, verbose=0)
    items = [item for item in liked["item"].unique().tolist() if item in model.data_info.item2id]
    one, other = (each.predict(["new"] * len(items), items) for each in (model, expected))
    assert np.corrcoef(one, other)[0, 1] > 0.95


def test_an_update_of_ratings_keeps_more_of_the_others_than_biases():
    frame = make_movies(n_users=80, n_items=50, n_ratings=1500, seed=2)[["user", "item", "label"]]
    data, info = DatasetPure.build_trainset(frame.head(1400))
    of_biases = ALS("rating", info, n_epochs=1, embed_size=4, prior=1e6).fit(data, neg_sampling=False, verbose=0)
    model = ALS("rating", info, n_epochs=30, embed_size=4, prior=3.0).fit(data, neg_sampling=False, verbose=0)
    user = frame["user"].iloc[-1]
    new = frame.tail(100)[frame.tail(100)["user"] == user]
    others = frame.head(1400)[frame.head(1400)["user"] != user]
    model.update(new, neg_sampling=False, verbose=0)
    errors = [
        np.abs(np.array(one.predict(others["user"].tolist(), others["item"].tolist())) - others["label"]).mean()
        for one in (model, of_biases)
    ]
    assert errors[0] < errors[1]


def whole_data_of(model, *frames):
    return DatasetPure.build_testset(pd.concat(frames), data_info=model.data_info)


def test_ratings_are_what_biases_leave():
    frame = make_movies(n_users=200, n_items=80, n_ratings=6000, seed=2)[["user", "item", "label"]]
    test = frame.sample(frac=0.2, random_state=0)
    data, info = DatasetPure.build_trainset(frame.drop(test.index))
    flat = ALS("rating", info, n_epochs=10, prior=1e6).fit(data, neg_sampling=False, verbose=0)
    model = ALS("rating", info).fit(data, neg_sampling=False, verbose=0)
    rmse = [evaluate(one, test, neg_sampling=False, metrics=["rmse"])["rmse"] for one in (flat, model)]
    assert rmse[1] < rmse[0]


def test_what_it_cannot_do_is_refused(liked):
    data, info = DatasetPure.build_trainset(liked)
    with pytest.raises(ValueError, match="pass neg_sampling=True"):
        ALS("ranking", info).fit(data, neg_sampling=False, verbose=0)
    with pytest.raises(ValueError, match="loss_type='softmax' cannot be solved for"):
        ALS("ranking", info, loss_type="softmax")
    with pytest.raises(ValueError, match=r"num_neg must be one of \['all'\]"):
        ALS("ranking", info, num_neg=4)
    with pytest.raises(ValueError, match=r"FM\(loss_type='implicit', history=True\)"):
        ALS("ranking", info, history=True)
    assert FM("ranking", info, loss_type="implicit", history=True).history


def test_who_brings_a_history_is_one_more_system(liked):
    data, info = DatasetPure.build_trainset(liked)
    model = ALS("ranking", info, n_epochs=40, embed_size=8, prior=2.0, unobserved_weight=0.2)
    model.fit(data, neg_sampling=True, verbose=0)
    items = model.engine.network.item
    q = items.vectors.weight[int(items.offsets[0]) + 1 :][: info.n_items].detach().double().numpy()
    user, history = liked["user"].iloc[0], liked["item"].unique()[:5].tolist()
    known = liked["item"][liked["user"] == user].tolist()
    for asked, own in (("new", history), (user, [*{*known, *history}])):
        h = q[[info.item2id[item] - 1 for item in own]]
        p = np.linalg.solve(h.T @ h + 0.2 * q.T @ q + 2.0 * np.eye(8), h.sum(0))
        rest = [item for item in info.item2id if item not in {*own, *(known if asked == user else [])}]
        best = sorted(rest, key=lambda item: -(q[info.item2id[item] - 1] @ p))
        assert model.recommend_user(asked, 6, history=history)[asked].tolist() == best[:6]
    nothing_new = model.recommend_user(user, 6, history=known[:1])[user].tolist()  # what is known already
    assert nothing_new == model.recommend_user(user, 6)[user].tolist()


def test_lists_with_and_without_histories_go_together(liked):
    data, info = DatasetPure.build_trainset(liked)
    model = ALS("ranking", info, n_epochs=5, embed_size=8, prior=2.0).fit(data, neg_sampling=True, verbose=0)
    histories = {"new": liked["item"].unique()[:3].tolist(), "nobody": []}
    lists = model.recommend_user(["new", "nobody"], 4, history=histories)
    assert lists["nobody"].tolist() == model.recommend_user("nobody", 4)["nobody"].tolist()
    assert lists["new"].tolist() == model.recommend_user("new", 4, history=histories["new"])["new"].tolist()
