"""The facade: what it refuses, and what callers can lay over what is known."""

from __future__ import annotations

import copy
import inspect
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from worlds import make_world, two_tastes

from recolib import NotFittedError, UnknownIdWarning
from recolib.algorithms import FM, DeepFM
from recolib.data import DatasetFeat, DatasetPure
from recolib.data.rows import AVERAGE, UNKNOWN
from recolib.evaluation.measurement import evaluate
from recolib.evaluation.pairs import EvalPairs
from recolib.inference.features import user_rows
from recolib.nn import Component, FieldSpec, Linear
from recolib.recommender import Recommender
from recolib.training.losses import RANKING_LOSSES


@pytest.fixture(scope="module")
def model() -> DeepFM:
    """A ranking model with columns of every side and kind."""
    data, info = make_world("ranking", "all kinds").build()
    return DeepFM("ranking", info, embed_size=8, n_epochs=5, lr=0.02, hidden_units=(8,)).fit(data, True, verbose=0)


def refit(settings: dict[str, Any] | None = None, **arguments: Any) -> Recommender:
    data, info = make_world("ranking", "pure").build()
    model = FM("ranking", info, n_epochs=1, **(settings or {}))
    return model.fit(**{"train_data": data, "neg_sampling": True, "verbose": 0} | arguments)


BAD_SETTINGS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"task": "sorting"}, ValueError, "task must be one of"),
    ({"data_info": "info"}, TypeError, "data_info must be"),
    ({"loss_type": "unknown"}, ValueError, "loss_type must be one of"),
    ({"sampler": "clever"}, ValueError, "sampler must be one of"),
    ({"embed_size": 0}, ValueError, "embed_size must be at least 1"),
    ({"embed_size": 2.5}, TypeError, "embed_size must be an integer"),
    ({"n_epochs": True}, TypeError, "n_epochs must be an integer"),
    ({"batch_size": 1}, ValueError, "batch_size must be at least 2"),
    ({"num_neg": 0}, ValueError, "num_neg must be at least 1, got 0"),
    ({"seed": -1}, ValueError, "seed must be at least 0"),
    ({"lr": 0}, ValueError, "lr must be above 0"),
    ({"lr": "fast"}, TypeError, "lr must be a number"),
    ({"lr_decay": -1.0}, ValueError, "lr_decay must be above 0"),
    ({"reg": -0.1}, ValueError, "reg must be at least 0"),
    ({"ema": 1.0}, ValueError, "ema must be at least 0 and below 1"),
    ({"embed_dropout": 1.5}, ValueError, "embed_dropout"),
    ({"clip_norm": -1}, ValueError, "clip_norm"),
    ({"multi_sparse_combiner": "max"}, ValueError, "multi_sparse_combiner must be one of"),
    ({"optimizer": "lbfgs"}, ValueError, "optimizer must be one of"),
    ({"lower_upper_bound": 5}, ValueError, "lower_upper_bound must be"),
    ({"lower_upper_bound": ("1", "5")}, TypeError, "lower_upper_bound must be a number"),
    ({"device": "gpu"}, ValueError, "device must be 'auto' or a device that torch can use, got 'gpu'"),
    ({"lower_upper_bound": (5, 1)}, ValueError, "lower_upper_bound must be"),
    ({"dropout_rate": 1.0}, ValueError, "dropout_rate must be at least 0 and below 1"),
    ({"use_bn": "yes"}, TypeError, "use_bn must be True or False"),
    ({"hidden_units": "64,64"}, ValueError, "hidden_units must be a list of layer widths"),
    ({"hidden_units": [1, 2, "4"]}, ValueError, "hidden_units must be a list of integers"),
    ({"hidden_units": ()}, ValueError, "hidden_units must be a list of layer widths"),
    ({"combine": "multiply"}, ValueError, "combine must be one of"),
    ({"pair_dropout": -0.5}, ValueError, "pair_dropout"),
]


@pytest.mark.parametrize(("setting", "error", "message"), BAD_SETTINGS, ids=lambda v: str(v)[:40])
def test_bad_settings_are_refused_by_name(setting: dict[str, Any], error: type[Exception], message: str) -> None:
    _, info = make_world("ranking", "pure").build()
    with pytest.raises(error, match=message):
        DeepFM(**{"task": "ranking", "data_info": info, **setting})


def test_misspelt_setting_is_refused() -> None:
    _, info = make_world("ranking", "pure").build()
    with pytest.raises(TypeError, match="embed_dim"):
        DeepFM("ranking", info, embed_dim=8)  # pyright: ignore[reportCallIssue]


def test_signature_shows_every_setting_with_librecommenders_names_and_what_is_chosen_as_none() -> None:
    parameters = inspect.signature(DeepFM).parameters
    expected = {
        "loss_type": None, "embed_size": None, "n_epochs": None, "lr": None, "lr_decay": False, "epsilon": 1e-5,
        "reg": None, "batch_size": None, "sampler": "random", "num_neg": None, "use_bn": None, "dropout_rate": None,
        "hidden_units": None, "multi_sparse_combiner": "sqrtn", "seed": 42, "lower_upper_bound": None,
        "tf_sess_config": None,
    }  # fmt: skip
    assert list(parameters)[:3] == ["task", "data_info", "loss_type"]
    assert {name: parameters[name].default for name in expected} == expected
    assert all(
        p.kind is p.KEYWORD_ONLY for name, p in parameters.items() if name not in ("task", "data_info", "loss_type")
    )


def test_fit_and_recommend_keep_librecommenders_order_of_arguments() -> None:
    assert list(inspect.signature(DeepFM.fit).parameters)[1:11] == [
        "train_data", "neg_sampling", "verbose", "shuffle", "eval_data", "metrics", "k", "eval_batch_size",
        "eval_user_num", "num_workers",
    ]  # fmt: skip
    assert list(inspect.signature(DeepFM.recommend_user).parameters)[1:9] == [
        "user", "n_rec", "user_feats", "seq", "cold_start", "inner_id", "filter_consumed", "random_rec",
    ]  # fmt: skip
    assert list(inspect.signature(DeepFM.predict).parameters)[1:6] == [
        "user",
        "item",
        "feats",
        "cold_start",
        "inner_id",
    ]


BAD_FITS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"neg_sampling": None}, TypeError, "neg_sampling must be True or False"),
    ({"train_data": two_tastes()}, TypeError, "train_data must be what build_trainset returned"),
    ({"metrics": ["loss", "ndgc"]}, ValueError, r"metrics \['ndgc'\] are not of task='ranking'"),
    ({"metrics": ["rmse"]}, ValueError, r"metrics \['rmse'\]"),
    ({"eval_data": [1, 2]}, ValueError, "data must be a pandas, polars or pyarrow frame"),
    ({"eval_data": two_tastes().drop(columns="item")}, ValueError, r"columns \['item'\] are not in data"),
    ({"eval_batch_size": 0}, ValueError, "eval_batch_size must be at least 1"),
    ({"k": "a"}, TypeError, "k must be an integer"),
    ({"shuffle": "x"}, TypeError, "shuffle must be True or False"),
    ({"num_workers": -1}, ValueError, "num_workers must be at least 0"),
    ({"verbose": -1}, ValueError, "verbose must be at least 0"),
    ({"settings": {"sampler": None}}, ValueError, "needs a sampler"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_FITS, ids=lambda v: str(v)[:40])
def test_bad_fits_are_refused_before_any_work(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        refit(**arguments)


def test_rating_refuses_negatives() -> None:
    data, info = make_world("rating", "pure").build()
    with pytest.raises(ValueError, match="task='rating' has no negatives"):
        FM("rating", info).fit(data, neg_sampling=True)


def test_ranking_without_negatives_needs_binary_labels() -> None:
    data, info = make_world("rating", "pure").build()
    with pytest.raises(ValueError, match="labels of 0 and 1"):
        FM("ranking", info).fit(data, neg_sampling=False)
    data.labels[:] = data.labels > 3  # a plain array that may be edited
    FM("ranking", info, n_epochs=1).fit(data, neg_sampling=False, verbose=0)


def test_a_set_of_other_data_is_refused() -> None:
    data, _ = make_world("ranking", "pure").build()
    _, info = DatasetPure.build_trainset(two_tastes(n_users=10))
    with pytest.raises(ValueError, match="the set is of other data"):
        FM("ranking", info).fit(data, neg_sampling=True)
    with pytest.raises(ValueError, match="the set is of other data"):
        evaluate(refit(), DatasetPure.build_testset(two_tastes(), data_info=info), neg_sampling=True)


@pytest.mark.parametrize("label", [0, -1])
def test_rows_labelled_zero_or_below_are_no_positives(label: int) -> None:
    frame = two_tastes()
    frame.loc[:9, "label"] = label
    data, info = DatasetPure.build_trainset(frame)
    with pytest.warns(UserWarning, match="10 rows with label 0 or below are left out"):
        FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    none, info = DatasetPure.build_trainset(frame.assign(label=label))
    with pytest.raises(ValueError, match="no label is above 0"):
        FM("ranking", info).fit(none, neg_sampling=True)


@pytest.mark.parametrize("more", [{}, {"ema": 0.99}])
def test_divergence_is_an_error_and_loses_nothing(more: dict[str, Any]) -> None:
    data, info = make_world("ranking", "all kinds").build()
    model = DeepFM("ranking", info, n_epochs=2, hidden_units=(8,), **more).fit(data, neg_sampling=True, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, n_epochs = model.predict(100, "i1"), len(model.history_)
        model.lr = 1e30
        with pytest.raises(FloatingPointError, match=r"the loss became (nan|inf) in epoch \d+: lower lr=1e\+30"):
            model.fit(data, neg_sampling=True, verbose=0)
        assert model.predict(100, "i1") == before
        assert len(model.history_) == n_epochs
        model.lr = 0.001
        model.fit(data, neg_sampling=True, verbose=0)
        assert np.isfinite(model.predict(100, "i1"))


def test_verbose_tells_more_and_more(capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for verbose in (0, 1, 2):
        refit(verbose=verbose, eval_data=two_tastes(), metrics="roc_auc")
        said.append("".join(capsys.readouterr()))
    assert said[0] == ""
    assert "epoch 1/1" in said[1]
    assert "eval_roc_auc" not in said[1]
    assert "eval_roc_auc: 0." in said[2]


BAD_QUESTIONS: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("recommend_user", {"n_rec": 0}, ValueError, "n_rec must be at least 1, got 0"),
    ("recommend_user", {"n_rec": 2.0}, TypeError, "n_rec must be an integer"),
    ("recommend_user", {"cold_start": "sss"}, ValueError, "cold_start must be one of"),
    ("recommend_user", {"seq": [1, 2]}, ValueError, "doesn't support arbitrary seq inference: EASE, SASRec"),
    ("recommend_user", {"user": []}, ValueError, "user is empty"),
    ("recommend_user", {"user": None}, ValueError, "user must be an id, or a flat list of ids, got NoneType"),
    ("recommend_user", {"user": {"a": 1}}, ValueError, "user must be an id"),
    ("recommend_user", {"user": np.zeros((2, 2), int)}, ValueError, "user must be an id"),
    ("recommend_user", {"filter_consumed": "no"}, TypeError, "filter_consumed must be True or False"),
    (
        "recommend_user",
        {"user_feats": [{"sex": "F"}, None], "user": [1, 2]},
        ValueError,
        "user_feats must be a mapping",
    ),
    ("recommend_user", {"user": 1.5}, ValueError, "'user' has the number 1.5"),
    ("recommend_user", {"user": 99, "inner_id": True}, ValueError, "user must hold inner ids of users, 0"),
    ("recommend_user", {"user_feats": {"sexx": "F"}}, ValueError, "'sexx' is not a column.*did you mean 'sex'"),
    ("recommend_user", {"user_feats": {"price": 3}}, ValueError, "'price' is not a column that user_feats can have"),
    ("recommend_user", {"user": [100, 101], "user_feats": {"sex": "F"}}, ValueError, "must be a frame keyed by 'user'"),
    ("recommend_user", {"user": [100, 101], "user_feats": [{"sex": "F"}]}, ValueError, "user_feats has 1 rows for 2"),
    (
        "recommend_user",
        {"user_feats": pd.DataFrame({"sex": ["F"]})},
        ValueError,
        r"columns \['user'\] are not in user_feats",
    ),
    ("recommend_user", {"user_feats": {"age": "old"}}, ValueError, "'age' must hold numbers"),
    ("recommend_user", {"context": {"minute": 3}}, ValueError, "'minute' is not a column that context can have"),
    ("predict", {"cold_start": "sss"}, ValueError, "cold_start must be one of"),
    ("predict", {"user": [100, 101], "item": ["i1", "i2", "i3"]}, ValueError, "user has 2 ids and item has 3"),
    ("predict", {"feats": {"colour": 1}}, ValueError, "'colour' is not a column that feats can have"),
    ("predict", {"feats": {"tags": "x|y"}}, ValueError, "'tags' must hold lists"),
]


@pytest.mark.parametrize(("method", "arguments", "error", "message"), BAD_QUESTIONS, ids=lambda v: str(v)[:40])
@pytest.mark.filterwarnings("ignore:no context")
def test_bad_questions_are_refused(
    model: DeepFM, method: str, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    usual: dict[str, Any] = {"user": 100, "n_rec": 3} if method == "recommend_user" else {"user": 100, "item": "i1"}
    with pytest.raises(error, match=message):
        getattr(model, method)(**usual | arguments)


def test_features_are_laid_over_known_ones(model: DeepFM) -> None:
    plain = model.predict(100, "i1", feats={"hour": 2})
    same = model.predict(
        100, "i1", feats={"hour": 2, "sex": "F", "age": 20.0, "price": 1.5, "genre1": "odd", "tags": ["y"]}
    )
    assert same == plain  # what is known of both
    for other in ({"sex": "M"}, {"age": 60}, {"price": 100.0}, {"genre1": "even"}, {"tags": ["x"]}, {"hour": 3}):
        assert model.predict(100, "i1", feats={"hour": 2, **other}) != plain
    assert model.predict(100, "i1", feats=pd.Series({"hour": 2})) == plain


def test_one_mapping_serves_all_pairs_and_a_frame_each_its_own(model: DeepFM) -> None:
    users, items = [100, 101, 102], ["i1", "i2", "i3"]
    hours = [0, 3, 1]
    each = [model.predict(u, i, feats={"hour": h}) for u, i, h in zip(users, items, hours, strict=True)]
    np.testing.assert_allclose(model.predict(users, items, feats=pd.DataFrame({"hour": hours})), each, rtol=1e-5)
    np.testing.assert_allclose(model.predict(users, items, feats=[{"hour": h} for h in hours]), each, rtol=1e-5)
    np.testing.assert_allclose(
        model.predict(users, items, feats={"hour": 3}),
        [model.predict(u, i, feats={"hour": 3}) for u, i in zip(users, items, strict=True)],
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    "many",
    [list, tuple, np.array, pd.Series, pd.Index, pl.Series, pa.chunked_array],
    ids=lambda many: f"{many.__module__}.{many.__name__}",
)
def test_a_list_in_a_mapping_is_one_value_for_each_pair(model: DeepFM, many: Any) -> None:
    users, items, hours, ages = [100, 101, 102], ["i1", "i2", "i3"], [1, 2, 3], [20.0, None, 26.0]
    ages = [20.0, 23.0, 26.0] if many in (np.array, pa.chunked_array) else ages
    wrap = (lambda values: many([values])) if many is pa.chunked_array else many
    expected = model.predict(
        users, items, feats=[{"hour": h, "age": a, "sex": "F"} for h, a in zip(hours, ages, strict=True)]
    )
    found = model.predict(users, items, feats={"hour": wrap(hours), "age": wrap(ages), "sex": "F"})
    np.testing.assert_array_equal(found, expected)
    assert model.predict(100, "i1", feats={"hour": wrap([1])}) == model.predict(100, "i1", feats={"hour": 1})
    lists = model.recommend_user(users, 4, context={"hour": wrap(hours)})
    for user, hour in zip(users, hours, strict=True):
        assert lists[user].tolist() == model.recommend_user(user, 4, context={"hour": hour})[user].tolist()
    with pytest.raises(ValueError, match=r"feats\['hour'\] has 3 values for 2: give one, or one for each"):
        model.predict(users[:2], items[:2], feats={"hour": wrap(hours)})
    with pytest.raises(ValueError, match=r"context\['hour'\] has 3 values for 1"):
        model.recommend_user(100, 4, context={"hour": wrap(hours)})


def test_a_list_is_one_value_where_a_column_holds_lists(model: DeepFM) -> None:
    users, items = [100, 101], ["i1", "i3"]
    each = model.predict(users, items, feats=[{"tags": ["x", "y"], "hour": 1}, {"tags": ["z"], "hour": 1}])
    assert model.predict(users, items, feats={"tags": [["x", "y"], ["z"]], "hour": 1}).tolist() == each.tolist()
    for tags in (["x", "y"], ("x", "y"), {"x", "y"}, np.array(["x", "y"]), []):
        same = [{"tags": tags, "hour": 1}] * 2
        np.testing.assert_array_equal(
            model.predict(users, items, feats={"tags": tags, "hour": 1}), model.predict(users, items, feats=same)
        )


def test_an_unknown_user_is_scored_from_the_features_given(model: DeepFM) -> None:
    lists = {sex: model.recommend_user("new", 20, user_feats={"sex": sex}, context={"hour": 1})["new"] for sex in "FM"}
    assert lists["F"].tolist() != lists["M"].tolist()
    even = [np.mean([int(item[1:]) % 2 == 0 for item in lists[sex][:8]]) for sex in "FM"]
    assert even[0] > even[1]  # the even items are those that F like


def test_no_features_at_all_may_be_given(model: DeepFM) -> None:
    hour = {"hour": 1}
    plain = model.recommend_user(100, 5, context=hour)[100].tolist()
    assert model.recommend_user(100, 5, user_feats={}, context=hour)[100].tolist() == plain
    assert model.recommend_user(100, 5, user_feats={"sex": None, "age": np.nan}, context=hour)[100].tolist() == plain


def test_user_feats_of_many_come_as_frame_or_list(model: DeepFM) -> None:
    users = ["new", 100, "newer"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        singles = {user: model.recommend_user(user, 5, user_feats={"sex": "M"})[user].tolist() for user in users}
        as_list = model.recommend_user(users, 5, user_feats=[{"sex": "M"}] * 3)
        frame = pd.DataFrame({"user": ["newer", 100, "new"], "sex": "M"})
        as_frame = model.recommend_user(users, 5, user_feats=frame)
        part = model.recommend_user(users, 5, user_feats=frame.head(1))
        plain = model.recommend_user(100, 5)[100].tolist()
    for user in users:
        assert as_list[user].tolist() == as_frame[user].tolist() == singles[user]
    assert part["newer"].tolist() == singles["newer"]
    assert part[100].tolist() == plain


def test_context_is_one_mapping_for_all_or_a_frame_by_user(model: DeepFM) -> None:
    alone = {u: model.recommend_user(u, 4, context={"hour": h}, return_scores=True)[u] for u, h in ((100, 0), (101, 3))}
    frame = pd.DataFrame({"user": [101, 100], "hour": [3, 0]})
    both = model.recommend_user([100, 101], 4, context=frame, return_scores=True)
    for user in (100, 101):
        assert both[user][0].tolist() == alone[user][0].tolist()
        np.testing.assert_allclose(both[user][1], alone[user][1], rtol=1e-5)
    shared = model.recommend_user([100, 101], 4, context={"hour": 0}, return_scores=True)
    np.testing.assert_allclose(shared[100][1], alone[100][1], rtol=1e-5)
    for ask in (lambda: model.recommend_user(100, 4), lambda: model.predict(100, "i1", feats={"sex": "M"})):
        with pytest.warns(UserWarning, match=r"no context given: columns \['hour'\]"):
            ask()


def test_an_unseen_value_counts_as_unknown(model: DeepFM) -> None:
    one, other = (model.predict(100, "i1", feats={"sex": value, "hour": 1}) for value in ("divers", "unheard of"))
    assert one == other


def test_new_features_reach_the_cached_items() -> None:
    data, info = make_world("ranking", "all kinds").build()
    model = FM("ranking", info, n_epochs=5, lr=0.02).fit(data, neg_sampling=True, verbose=0)
    before = model.recommend_user(100, 20, filter_consumed=False, context={"hour": 1}, return_scores=True)[100]
    info.assign_item_features(pd.DataFrame({"item": ["i3"], "price": [500.0]}))
    after = model.recommend_user(100, 20, filter_consumed=False, context={"hour": 1}, return_scores=True)[100]
    old, new = (dict(zip(*answer, strict=True)) for answer in (before, after))
    changed = {item for item in old if abs(old[item] - new[item]) > 1e-7}
    assert changed == {"i3"}


def test_users_and_items_without_interactions_are_scored_by_their_features() -> None:
    frame = two_tastes()
    items = frame.drop_duplicates("item")[["item", "genre1"]]
    items = pd.concat([items, pd.DataFrame({"item": ["fresh even", "fresh odd"], "genre1": ["even", "odd"]})])
    users = pd.DataFrame({"user": [*frame["user"].unique(), 7], "sex": [*frame.groupby("user")["sex"].first(), "F"]})
    users = users.drop_duplicates("user")
    data, info = DatasetFeat.build_trainset(
        frame[["user", "item", "label"]], user_col=["sex"], item_col=["genre1"], sparse_col=["sex", "genre1"],
        user_features=users, item_features=items,
    )  # fmt: skip
    model = FM("ranking", info, n_epochs=40, lr=0.05, use_bn=False, embed_size=8).fit(
        data, neg_sampling=True, verbose=0
    )
    assert model.predict(100, "fresh even") > model.predict(100, "fresh odd")
    assert model.predict(101, "fresh odd") > model.predict(101, "fresh even")
    assert "fresh even" not in model.recommend_user(7, 22)[7]
    assert "fresh even" in model.recommend_user(7, 22, include_cold_items=True)[7]
    assert int(model.recommend_user(7, 1)[7][0][1:]) % 2 == 0  # F like even items


def test_rating_bounds_clip_predictions() -> None:
    data, info = make_world("rating", "pure").build()
    model = FM("rating", info, n_epochs=3, lr=0.05, lower_upper_bound=(2, 3)).fit(data, neg_sampling=False, verbose=0)
    predictions = model.predict(data.user_indices, data.item_indices, inner_id=True)
    assert (model.lower_bound, model.upper_bound) == (2.0, 3.0)
    assert np.min(predictions) >= 2
    assert np.max(predictions) <= 3


def test_a_single_layer_may_be_an_integer() -> None:
    _, info = make_world("ranking", "pure").build()
    assert DeepFM("ranking", info, hidden_units=32).hidden_units == (32,)  # pyright: ignore[reportArgumentType]


def test_an_algorithm_outside_the_library_needs_its_components_alone() -> None:
    class Weights(Recommender):
        """First-order weights alone."""

        scale: float = 1.0

        def components(self, spec: FieldSpec) -> list[Component[Any]]:
            return [Linear(spec)]

    data, info = make_world("ranking", "sparse").build()
    model = Weights("ranking", info, n_epochs=1, scale=2.0).fit(data, neg_sampling=True, verbose=0)
    assert "scale=2.0" in repr(model)
    assert len(model.recommend_user(100, 3)[100]) == 3


@pytest.mark.parametrize("sampler", ["random", "unconsumed", "popular"])
@pytest.mark.parametrize(
    "more", [{}, {"num_neg": 3, "reg": 1e-4, "clip_norm": 1.0, "embed_dropout": 0.1, "loss_type": "focal"}]
)
def test_every_sampler_and_setting_trains(sampler: str, more: dict[str, Any]) -> None:
    data, info = make_world("ranking", "all kinds").build()
    model = DeepFM("ranking", info, sampler=sampler, n_epochs=2, hidden_units=(8,), **more).fit(data, True, verbose=0)
    assert np.isfinite(model.history_["train_loss"]).all()


@pytest.mark.parametrize("loss_type", RANKING_LOSSES)
@pytest.mark.parametrize("num_neg", [1, 3])
def test_every_loss_finds_the_taste(loss_type: str, num_neg: int) -> None:
    """Even users like even items; a list of ten has hardly another."""
    data, info = make_world("ranking", "sparse").build()
    settings: dict[str, Any] = {"n_epochs": 25, "lr": 0.02, "batch_size": 64, "init_std": 0.1, "use_bn": True}
    model = FM("ranking", info, loss_type, num_neg=num_neg, **settings).fit(data, neg_sampling=True, verbose=0)
    labels = torch.tensor([[1.0] + [0.0] * num_neg])
    of_nothing = float(RANKING_LOSSES[loss_type](torch.zeros_like(labels), labels))
    assert model.history_["train_loss"].iloc[-1] < 0.7 * of_nothing
    lists = model.recommend(n_rec=10, filter_consumed=False)
    right = lists["user"] % 2 == lists["item"].str[1:].astype(int) % 2
    assert right.mean() > 0.85


@pytest.mark.parametrize("loss_type", ["bpr", "max_margin", "softmax"])
def test_losses_of_pairs_say_that_they_need_negatives(loss_type: str) -> None:
    frame = two_tastes()
    data, info = DatasetPure.build_trainset(frame.assign(label=np.arange(len(frame)) % 2))
    model = FM("ranking", info, loss_type)
    with pytest.raises(ValueError, match=f"loss_type='{loss_type}' .* neg_sampling=True"):
        model.fit(data, neg_sampling=False)
    assert FM("rating", info, loss_type, n_epochs=1).fit(data, neg_sampling=False, verbose=0).history_.shape[0] == 1


def test_labels_of_plus_and_minus_one_are_a_rating() -> None:
    frame = two_tastes()
    data, info = DatasetPure.build_trainset(frame.assign(label=np.where(np.arange(len(frame)) % 3, -1, 1)))
    model = FM("rating", info, "squared", n_epochs=3, lr=0.5).fit(data, neg_sampling=False, verbose=0)
    predictions = model.predict(frame["user"], frame["item"])
    assert -1 == predictions.min() < predictions.max() == 1
    assert (model.lower_bound, model.upper_bound) == (-1, 1)


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn", "normal"])
def test_every_combiner_trains(combiner: str) -> None:
    data, info = make_world("ranking", "all kinds").build()
    model = DeepFM("ranking", info, multi_sparse_combiner=combiner, n_epochs=2, hidden_units=(8,)).fit(
        data, True, verbose=0
    )
    assert len(model.recommend_user(100, 3, context={"hour": 1})[100]) == 3


def test_evaluation_draws_negatives_that_were_never_consumed() -> None:
    frame = two_tastes()
    train, test = frame.iloc[::2], frame.iloc[1::2]
    _, info = DatasetPure.build_trainset(train)
    test_set = DatasetPure.build_testset(test)
    labelled = EvalPairs.with_negatives(test_set, 2, seed=1).whole()
    assert len(labelled) == 3 * len(test)
    negative = labelled.labels == 0
    assert negative.sum() == 2 * len(test)
    consumed = set(zip(frame["user"], frame["item"], strict=True))
    drawn = {
        (info.id2user[u], info.id2item[i])
        for u, i in zip(labelled.user_indices[negative], labelled.item_indices[negative], strict=True)
    }
    assert not drawn & consumed
    assert len(test_set) == len(test)


def test_label_zero_stays_a_negative_beside_the_sampled_ones() -> None:
    frame = two_tastes()
    _, info = DatasetPure.build_trainset(frame)
    some = DatasetPure.build_testset(frame.head(10).assign(label=[0, 1] * 5), data_info=info)
    labelled = EvalPairs.with_negatives(some, 1, seed=0).whole()
    assert labelled.labels.tolist() == [0, 1] * 5 + [0] * 5
    assert some.labels.tolist() == [0, 1] * 5


def test_torch_threads_are_left_alone() -> None:
    n_threads = torch.get_num_threads()
    refit()
    assert torch.get_num_threads() == n_threads


def test_metrics_of_ranks_tell_sure_scores_apart() -> None:
    """In float32 the sigmoids of 20 and 25 are both 1."""
    data, info = make_world("ranking", "pure").build()
    model = FM("ranking", info, n_epochs=1, use_bn=False).fit(data, neg_sampling=True, verbose=0)
    with torch.no_grad():
        network = model.engine.network
        network.bias.fill_(20.0)
        network.item.weights.weight[network.item.blocks[0]][2 + info.item2id["i1"] - 1 :][:1] += 5
    frame = pd.DataFrame({"user": [101, 101], "item": ["i1", "i3"], "label": [1, 0]})
    assert model.predict([101, 101], ["i1", "i3"]).tolist() == [1.0, 1.0]
    assert evaluate(model, frame, neg_sampling=False, metrics=["roc_auc"])["roc_auc"] == 1.0


def test_evaluation_warns_of_unknown_ids_and_tells_strangers_apart() -> None:
    model, frame = refit(), two_tastes()
    strange = frame.assign(user=frame["user"].astype(str))
    with pytest.warns(UnknownIdWarning, match=f"{len(frame)} of {len(frame)} rows have an unknown user"):
        measured = evaluate(model, strange, neg_sampling=True, metrics=["roc_auc", "roc_gauc"])
    assert 0 < measured["roc_gauc"] < 1
    assert measured["roc_gauc"] != measured["roc_auc"]  # one group would be the whole


def test_negatives_of_events_in_the_past_have_the_features_of_then() -> None:
    frame = pd.DataFrame(
        {"user": [1, 2, 1, 2], "item": ["a", "b", "b", "a"], "label": 1, "time": [1, 2, 3, 4], "price": [1, 2, 20, 10]}
    )
    more = pd.DataFrame({"user": [3, 3], "item": ["c", "d"], "label": 1, "time": [0, 5], "price": [3, 4]})
    data, info = DatasetFeat.build_trainset(pd.concat([frame, more]), item_col=["price"], dense_col=["price"])
    labelled = EvalPairs.with_negatives(data, 1, seed=0).whole()
    for row in range(len(data), len(labelled)):
        at, code = labelled.times[row], labelled.item_indices[row : row + 1]
        assert labelled.item_rows[row] == info.items.at(code, np.array([at]))[0]
    assert set(labelled.item_rows.tolist()) > {5}  # rows of the past are among them


def test_a_model_can_be_copied() -> None:
    model = refit()
    before = model.recommend_user(101, 5)[101].tolist()
    other = copy.deepcopy(model)
    assert other.recommend_user(101, 5)[101].tolist() == before
    other.fit(DatasetPure.build_trainset(two_tastes())[0], neg_sampling=True, verbose=0)
    assert model.recommend_user(101, 5)[101].tolist() == before


def test_ids_may_come_as_sets_series_and_iterators(model: DeepFM) -> None:
    expected = {
        user: items.tolist() for user, items in model.recommend_user([100, 101], 3, context={"hour": 1}).items()
    }
    for users in ({100, 101}, iter([100, 101]), pd.Series([100, 101]), np.array([100, 101]), (100, 101)):
        lists = model.recommend_user(users, 3, context={"hour": 1})
        assert {user: items.tolist() for user, items in lists.items()} == expected
    items = model.recommend_user(100, 9, candidates={"i1", "i3"}, filter_consumed=False, context={"hour": 1})[100]
    assert set(items) == {"i1", "i3"}


@pytest.mark.filterwarnings("ignore:.*lists are shorter", "ignore:no context given")
def test_nobody_who_is_asked_for_with_features_or_a_history_is_told_of_as_unknown(model: DeepFM) -> None:
    hour = {"hour": 1}
    frame = pd.DataFrame({"user": ["new", "newer"], "sex": ["F", "M"]})
    stream = pa.RecordBatchReader.from_batches
    table = pa.Table.from_pandas(frame)
    with warnings.catch_warnings(action="error", category=UnknownIdWarning):
        model.predict("new", "i1", feats=hour | {"sex": "F"})
        model.predict("new", "thing", feats=[hour | {"sex": "F", "price": 3.0}])
        model.predict(100, "thing", feats=pd.DataFrame({"hour": [1], "genre1": ["odd"]}))
        model.explain("new", "i1", feats=hour | {"age": 21})
        model.recommend_user("new", 3, {"sex": "F"}, context=hour)
        model.recommend_user(["new", "newer"], 3, [{"sex": "F"}, {"age": 21}], context=hour)
        model.recommend_user(["new", 100, "newer"], 3, frame, context=hour)
        model.recommend_user(["new", "newer"], 3, stream(table.schema, table.to_batches()), context=hour)
        model.recommend_user("new", 3, history=["i1"], context=hour)
        model.recommend(["new", "newer"], 3, history={"new": ["i1"], "newer": ["i2"]}, context=hour, verbose=0)
        model.recommend(
            ["new", "newer"], 3, user_feats=frame.head(1), history={"newer": ["i2"]}, context=hour, verbose=0
        )
        model.user_vectors(["new"], {"sex": "F"}, context=hour)
    for told, call in {
        "1 unknown users, such as 'new'": lambda: model.predict("new", "i1", feats=hour | {"price": 1.0}),
        "1 unknown items, such as 'thing'": lambda: model.predict("new", "thing", feats=hour | {"sex": "F"}),
        "1 unknown users, such as 'newer'": lambda: model.recommend_user(
            ["new", "newer"], 3, frame.head(1), context=hour
        ),
        "1 unknown users, such as 'newest'": lambda: model.recommend_user(
            ["new", "newest"], 3, history={"new": ["i1"]}, context=hour
        ),
        "2 unknown users, such as 'new'": lambda: model.recommend_user(["new", "newer"], 3, context=hour),
    }.items():
        with pytest.warns(UnknownIdWarning, match=told):
            call()


def test_unknown_candidates_are_left_out_with_a_warning(model: DeepFM) -> None:
    with pytest.warns(UnknownIdWarning, match="1 of the candidates are unknown items: they are left out"):
        items = model.recommend_user(100, 2, candidates=["i1", "nothing"], filter_consumed=False, context={"hour": 1})
    assert items[100].tolist() == ["i1"]


def test_features_may_be_a_row_of_a_frame(model: DeepFM) -> None:
    row = pd.DataFrame({"sex": ["M"], "age": [33]}).iloc[0]
    as_row = model.recommend_user(100, 5, user_feats=row, context=pd.Series({"hour": 1}))[100].tolist()
    assert as_row == model.recommend_user(100, 5, user_feats={"sex": "M", "age": 33}, context={"hour": 1})[100].tolist()


def test_a_frame_that_says_nothing_of_the_users_asked_for_warns(model: DeepFM) -> None:
    with pytest.warns(UserWarning, match="user_feats has no row for any of the users asked for, such as 100"):
        model.recommend_user(100, 3, user_feats=pd.DataFrame({"user": ["100"], "sex": ["M"]}), context={"hour": 1})


def test_arrow_frames_give_features(model: DeepFM) -> None:
    hours = pa.table({"hour": [0, 3]})
    np.testing.assert_array_equal(
        model.predict([100, 101], ["i1", "i2"], feats=hours),
        model.predict([100, 101], ["i1", "i2"], feats=hours.to_pandas()),
    )


def test_context_of_strangers_counts_as_that_of_others(model: DeepFM) -> None:
    """What is not known of the event is code 0, whoever asks."""
    codes = np.array([0, 1], np.int32)
    rows = user_rows(model.data_info, ["new", 100], codes, None, {}, average=True)
    assert rows.codes[:, -1].tolist() == [UNKNOWN, UNKNOWN]
    assert rows.codes[0, :-1].tolist() == [AVERAGE] * (rows.codes.shape[-1] - 1)


def test_labels_of_one_kind_warn() -> None:
    data, info = make_world("ranking", "pure").build()
    with pytest.warns(UserWarning, match="all labels are 1: there is nothing to tell apart"):
        FM("ranking", info, n_epochs=1).fit(data, neg_sampling=False, verbose=0)


def test_the_repr_says_how_far_a_model_was_trained() -> None:
    _, info = make_world("ranking", "pure").build()
    assert "not trained" in repr(FM("ranking", info))
    assert "trained for 1 epochs" in repr(refit())


def test_a_model_that_is_being_trained_answers_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = refit({"num_neg": 1}), refit({"num_neg": 1})
    before, lists, answers = model.predict(100, "i1"), model.recommend_user(100, 3)[100].tolist(), []
    loss = RANKING_LOSSES["cross_entropy"]

    def asking(scores: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        answers.append((model.predict(100, "i1"), model.recommend_user(100, 3)[100].tolist()))
        return loss(scores, labels)

    data = DatasetPure.build_trainset(two_tastes())[0]
    other.fit(data, neg_sampling=True, verbose=0)
    monkeypatch.setitem(RANKING_LOSSES, "cross_entropy", asking)
    model.fit(data, neg_sampling=True, verbose=0)
    assert len(answers) > 1
    assert all(answer == (before, lists) for answer in answers)
    assert model.predict(100, "i1") == other.predict(100, "i1") != before


def test_a_model_that_was_never_fitted_answers_nothing_while_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    data, info = DatasetPure.build_trainset(two_tastes())
    model, loss = FM("ranking", info, n_epochs=1, num_neg=1), RANKING_LOSSES["cross_entropy"]
    n_asked = 0

    def asking(scores: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        nonlocal n_asked
        n_asked += 1
        with pytest.raises(NotFittedError):
            model.predict(100, "i1")
        return loss(scores, labels)

    monkeypatch.setitem(RANKING_LOSSES, "cross_entropy", asking)
    assert 0 < model.fit(data, neg_sampling=True, verbose=0).predict(100, "i1") < 1
    assert n_asked > 0


def test_one_answer_a_user_is_not_asked_for_two_contexts(model: DeepFM) -> None:
    with pytest.raises(ValueError, match="users stand twice, each with context of its own"):
        model.recommend_user([100, 100], 2, context=[{"hour": 1}, {"hour": 2}])
    frame = pd.DataFrame({"user": [100, 100], "hour": [1, 2]})
    with pytest.raises(ValueError, match="context has several rows of user 100"):
        model.recommend_user([100, 101], 2, context=frame)
    assert model.recommend_user([100, 100], 2, context={"hour": 1}).keys() == {100}


def test_metrics_without_data_to_measure_are_told() -> None:
    data, info = DatasetPure.build_trainset(two_tastes())
    with pytest.warns(UserWarning, match="metrics without eval_data: nothing is measured"):
        FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0, metrics=["loss"])
