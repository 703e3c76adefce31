"""Relevant items that users consumed in training are told of, since lists leave them out."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd
import pytest

from recolib.algorithms import FM
from recolib.data import DatasetPure, random_split
from recolib.datasets import make_movies
from recolib.evaluation import evaluate
from recolib.exceptions import ConsumedItemsWarning, OverfittingWarning

FRAME = make_movies(n_users=40, n_items=30, n_ratings=500).drop_duplicates(["user", "item"])
TRAIN, TEST = random_split(FRAME, test_size=0.3, seed=1)
DATA, INFO = DatasetPure.build_trainset(TRAIN)


def new_model(**settings: Any) -> FM:
    return FM("ranking", INFO, **{"n_epochs": 2, "lr": 0.01, **settings})


@pytest.fixture(scope="module")
def model() -> FM:
    return new_model().fit(DATA, True, verbose=0)


def told(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(one.message) for one in caught if one.category is ConsumedItemsWarning]


def warnings_of(call: Any, *arguments: Any, **named: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*arguments, **named)
    return told(caught)


@pytest.mark.parametrize("data", [TRAIN, DATA])
def test_training_rows_are_told_of_as_a_whole(model: FM, data: object) -> None:
    n = len(TRAIN)
    (message,) = warnings_of(evaluate, model, data, True, metrics=["ndcg", "recall"])
    assert message.startswith(f"{n} of {n} relevant items (100 %) are among those that their users consumed")
    assert "pass filter_consumed=False" in message


def test_a_part_is_told_of_with_its_share(model: FM) -> None:
    both = pd.concat([TEST, TRAIN.head(20), TRAIN.head(20)])  # a pair counts once
    (message,) = warnings_of(evaluate, model, both, True, metrics="ndcg")
    assert message.startswith(f"20 of {len(TEST) + 20} relevant items ({100 * 20 / (len(TEST) + 20):.0f} %)")


def test_one_pair_of_many_is_told_of(model: FM) -> None:
    (message,) = warnings_of(evaluate, model, pd.concat([TEST, TRAIN.head(1)]), True, metrics="ndcg")
    assert message.startswith(f"1 of {len(TEST) + 1} relevant items (0.")


def test_what_was_shown_with_label_0_is_told_of_where_it_counts_as_consumed() -> None:
    train = TRAIN.assign(label=[0, *[1] * (len(TRAIN) - 1)])
    data, info = DatasetPure.build_trainset(train, consumed="all")
    with pytest.warns(match="label 0"):
        model = FM("ranking", info, n_epochs=1, lr=0.01).fit(data, True, verbose=0)
    (message,) = warnings_of(evaluate, model, train.head(1).assign(label=1), True, metrics="ndcg")
    assert message.startswith("1 of 1 relevant items (100 %)")


@pytest.mark.parametrize(
    ("data", "how"),
    [
        (TEST, {"metrics": "ndcg"}),
        (TEST.assign(user="new"), {"metrics": "ndcg"}),
        (TEST.assign(item="new"), {"metrics": "ndcg"}),
        (pd.concat([TEST, TRAIN.assign(label=0)]), {"metrics": "ndcg"}),
        (TRAIN, {"metrics": "ndcg", "filter_consumed": False}),
        (TRAIN, {"metrics": ["roc_auc", "loss"]}),
    ],
    ids=["new pairs", "new users", "new items", "label 0", "not filtered", "no lists"],
)
def test_nothing_is_told_where_nothing_relevant_is_left_out(model: FM, data: pd.DataFrame, how: Any) -> None:
    assert not warnings_of(evaluate, model, data, True, **how)


def test_only_users_in_the_sample_count(model: FM) -> None:
    (message,) = warnings_of(evaluate, model, TRAIN, True, metrics="ndcg", sample_user_num=1)
    n = int(message.split()[0])
    assert n in set(TRAIN.groupby("user").size())


def test_fit_tells_once_and_not_each_epoch() -> None:
    how: dict[str, Any] = {"verbose": 0, "eval_data": TRAIN, "metrics": ["ndcg"]}
    assert len(warnings_of(new_model(n_epochs=3).fit, DATA, True, **how)) == 1
    assert not warnings_of(new_model().fit, DATA, True, **how, filter_consumed=False)


def test_a_figure_that_is_0_in_each_epoch_is_not_called_worse() -> None:
    model = new_model(n_epochs=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", OverfittingWarning)
        model.fit(DATA, True, verbose=0, eval_data=TRAIN, metrics=["ndcg"])
    assert model.history_["eval_ndcg"].tolist() == [0] * 6


def test_a_fit_that_chooses_its_epochs_tells_nothing_of_rows_that_it_held_out_itself() -> None:
    twice = pd.concat([FRAME, FRAME.sample(300, random_state=0)], ignore_index=True)
    data, info = DatasetPure.build_trainset(twice)
    assert not warnings_of(FM("ranking", info, n_epochs=None).fit, data, True, verbose=0)
