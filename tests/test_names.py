"""Names that other libraries have are refused with the one that is meant."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest

from recolib import algorithms
from recolib.algorithms import FM, NFM
from recolib.checks import SAME, nearest
from recolib.data import DatasetPure, process_data
from recolib.datasets import make_movies
from recolib.evaluation import evaluate
from recolib.exceptions import RatingsAsListsWarning

FRAME = make_movies(n_users=40, n_items=30, n_ratings=500)
DATA, INFO = DatasetPure.build_trainset(FRAME)


@pytest.fixture(scope="module")
def model() -> FM:
    return FM("ranking", INFO, n_epochs=1).fit(DATA, True, verbose=0)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("embedding_size", "embed_size"),
        ("n_factors", "embed_size"),
        ("embedsize", "embed_size"),
        ("learning_rate", "lr"),
        ("epochs", "n_epochs"),
        ("num_epochs", "n_epochs"),
        ("weight_decay", "reg"),
        ("num_negatives", "num_neg"),
        ("random_state", "seed"),
        ("batchsize", "batch_size"),
        ("loss", "loss_type"),
        ("dropout", "dropout_rate"),
        ("batch_norm", "use_bn"),
        ("layers", "hidden_units"),
    ],
)
def test_settings_have_their_nearest(given: str, meant: str) -> None:
    with pytest.raises(TypeError, match=rf"NFM\(\) got an unexpected .* argument '{given}'; did you mean '{meant}'"):
        NFM("ranking", INFO, **{given: 1})
    with pytest.raises(ValueError, match=f"'{given}' is not a setting of NFM; did you mean '{meant}'"):
        NFM("ranking", INFO).set_params(**{given: 1})


def test_a_setting_like_no_other_has_no_nearest() -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'zzz'$"):
        FM("ranking", INFO, zzz=1)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("name", algorithms.__all__)
def test_constructors_keep_their_signatures(name: str) -> None:
    parameters = inspect.signature(getattr(algorithms, name)).parameters
    assert [*parameters][:3] == ["task", "data_info", "loss_type"]
    assert all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in parameters.values())


def test_an_algorithm_with_a_constructor_of_its_own_keeps_it() -> None:
    class Own(FM):
        def __init__(self, info: Any) -> None:
            super().__init__("ranking", info, embed_size=3)

    assert Own(INFO).embed_size == 3


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("auc", "'roc_auc'"),
        ("AUC", "'roc_auc'"),
        ("NDCG", "'ndcg'"),
        ("hr", "'hit_rate'"),
        ("hit", "'hit_rate'"),
        ("mean_average_precision", "'map'"),
        ("logloss", "'log_loss'"),
        ("recall@10", "'recall' with k=10"),
        ("hr@5", "'hit_rate' with k=5"),
        ("NDCG@20", "'ndcg' with k=20"),
        ("precision_at_3", "'precision' with k=3"),
        ("map@k", "'map' with k=10"),
    ],
)
def test_metrics_have_their_nearest(model: FM, given: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"not of task='ranking', .*; did you mean {meant}\?$"):
        evaluate(model, DATA, True, metrics=given)


def test_metrics_of_ratings_have_their_nearest() -> None:
    model = FM("rating", INFO, n_epochs=1).fit(DATA, False, verbose=0)
    with pytest.raises(ValueError, match="did you mean 'rmse'"):
        evaluate(model, DATA, False, metrics="mse")


@pytest.mark.parametrize(
    ("setting", "given", "meant"),
    [
        ("loss_type", "BPR", "bpr"),
        ("loss_type", "bce", "cross_entropy"),
        ("optimizer", "adamw", "adam"),
        ("optimizer", "Adagrad", "adagrad"),
        ("sampler", "popularity", "popular"),
        ("multi_sparse_combiner", "sqrt", "sqrtn"),
        ("precision", "bfloat16", "bf16"),
        ("task", "rank", "ranking"),
    ],
)
def test_values_of_settings_have_their_nearest(setting: str, given: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} must be one of .*, got '{given}'; did you mean '{meant}'"):
        FM(**{"task": "ranking", "data_info": INFO, setting: given})


def test_arguments_of_methods_have_their_nearest(model: FM) -> None:
    with pytest.raises(ValueError, match=r"cold_start must be one of .*did you mean 'popular'"):
        model.recommend_user(1, 3, cold_start="popularity")
    with pytest.raises(ValueError, match=r"cold_start must be one of .*did you mean 'average'"):
        model.predict(1, 3, cold_start="mean")
    with pytest.raises(ValueError, match=r"lr_schedule must be one of .*did you mean 'cosine'"):
        model.fit(DATA, True, verbose=0, lr_schedule="cosin")
    with pytest.raises(ValueError, match=r"normalizer='minmax' is unknown: .*did you mean 'min_max'"):
        process_data(FRAME, ["age"], normalizer="minmax")


def test_each_word_means_one_thing_among_names_of_a_kind() -> None:
    metrics = ["roc_auc", "pr_auc", "roc_gauc", "hit_rate", "map", "mrr", "ndcg", "log_loss", "balanced_accuracy"]
    for line in SAME:
        first, *others = line.split()
        assert all(nearest(other, [first]) == first for other in others)
        if first in metrics:
            assert all(nearest(other, metrics) == first for other in others)


# ---- lists of a model of ratings


def test_a_model_of_ratings_tells_once_that_its_lists_go_by_ratings(tmp_path: Any) -> None:
    model = FM("rating", INFO, n_epochs=1).fit(DATA, False, verbose=0)
    user = INFO.id2user[1]
    with pytest.warns(RatingsAsListsWarning, match="train task='ranking' with neg_sampling=True on the liked rows"):
        model.recommend_user(user, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RatingsAsListsWarning)
        model.recommend_user(user, 3)
        model.recommend(n_rec=2, verbose=0)
        model.predict(user, INFO.id2item[1])
    with pytest.warns(RatingsAsListsWarning):
        FM("rating", INFO, n_epochs=1).fit(DATA, False, verbose=0).recommend(n_rec=2, verbose=0)


def test_metrics_of_lists_say_what_a_model_of_ratings_lacks() -> None:
    model = FM("rating", INFO, n_epochs=1).fit(DATA, False, verbose=0)
    with pytest.raises(ValueError, match=r"lists need task='ranking': docs/choosing.md says how"):
        evaluate(model, DATA, False, metrics="ndcg")


def test_a_model_of_ranking_tells_nothing(model: FM) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RatingsAsListsWarning)
        model.recommend_user(INFO.id2user[1], 3)
