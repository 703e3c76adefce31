"""What counts as consumed follows one choice: in lists, in negatives, in merges and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recolib.algorithms import FM
from recolib.data import DataInfo, DatasetFeat, DatasetPure
from recolib.data.forgetting import without
from recolib.evaluation import evaluate
from recolib.evaluation.pairs import EvalPairs
from recolib.fitting.defaults import hold_out
from recolib.randomness import uniforms
from recolib.sampling import popular

SHOWN = pd.DataFrame(
    {
        "user": [1, 1, 1, 2, 2, 2, 3, 3],
        "item": ["a", "b", "c", "a", "b", "d", "c", "d"],
        "label": [1, 0, 0, 0, 1, 1, 1, 0],
    }
)


def consumed_of(info: DataInfo) -> dict[Any, set[Any]]:
    return {info.id2user[user]: {info.id2item[item] for item in items} for user, items in info.user_consumed.items()}


@pytest.mark.parametrize("dataset", [DatasetPure, DatasetFeat])
def test_what_was_shown_and_not_clicked_is_not_consumed(dataset: Any) -> None:
    info = dataset.build_trainset(SHOWN)[1]
    assert info.consumed == "positive"
    assert consumed_of(info) == {1: {"a"}, 2: {"b", "d"}, 3: {"c"}}
    assert info.trained_items.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("labels", [[1, 2, 5, 3, 4, 2, 1, 1], [-9.5, 0, 1, 0, 1, 1, 0, 0], [0.5, 0, 1, 0, 1, 1, 0, 0]])
def test_what_was_rated_is_consumed_however_low(labels: list[float]) -> None:
    info = DatasetPure.build_trainset(SHOWN.assign(label=labels))[1]
    assert info.consumed == "all"
    assert consumed_of(info) == SHOWN.groupby("user")["item"].agg(set).to_dict()


@pytest.mark.parametrize("dataset", [DatasetPure, DatasetFeat])
def test_the_choice_can_be_made(dataset: Any) -> None:
    info = dataset.build_trainset(SHOWN, consumed="all")[1]
    assert consumed_of(info) == SHOWN.groupby("user")["item"].agg(set).to_dict()
    rated = SHOWN.assign(label=SHOWN["label"] * 5 - 1)
    assert consumed_of(dataset.build_trainset(rated, consumed="positive")[1]) == {1: {"a"}, 2: {"b", "d"}, 3: {"c"}}
    with pytest.raises(ValueError, match=r"consumed must be one of \['all', 'positive'\], got 'liked'"):
        dataset.build_trainset(SHOWN, consumed="liked")


def test_what_was_clicked_once_is_consumed_whatever_followed() -> None:
    again = pd.concat([SHOWN, SHOWN.assign(label=0)])
    assert consumed_of(DatasetPure.build_trainset(again)[1]) == {1: {"a"}, 2: {"b", "d"}, 3: {"c"}}


@pytest.mark.parametrize("counting", ["all", "positive"])
def test_lists_leave_out_what_counts_as_consumed(counting: Any) -> None:
    data, info = DatasetPure.build_trainset(SHOWN, consumed=counting)
    model = FM("ranking", info, n_epochs=1, num_neg=1).fit(data, neg_sampling=False, verbose=0)
    lists = {user: set(items) for user, items in model.recommend_user([1, 2, 3], 4).items()}
    assert lists == {user: set("abcd") - items for user, items in consumed_of(info).items()}
    test = pd.DataFrame({"user": [1], "item": ["b"], "label": [1]})
    assert evaluate(model, test, True, metrics="hit_rate", k=4) == {"hit_rate": float(counting == "positive")}


@pytest.mark.parametrize(("counting", "possible"), [("all", {"d"}), ("positive", {"b", "d"})])
def test_negatives_of_an_evaluation_are_what_does_not_count_and_does_not_stand_there(
    counting: Any, possible: set[str]
) -> None:
    info = DatasetPure.build_trainset(SHOWN, consumed=counting)[1]
    test = DatasetPure.build_testset(pd.DataFrame({"user": [1], "item": ["c"], "label": [1]}), data_info=info)
    drawn = {
        item for seed in range(20) for item in EvalPairs.with_negatives(test, 2, seed).whole().item_indices[1:].tolist()
    }
    assert {info.id2item[item] for item in drawn} == possible


def test_the_choice_is_kept_by_merges_held_out_rows_and_forgetting() -> None:
    data, info = DatasetPure.build_trainset(SHOWN)
    merged = DatasetPure.merge_trainset(pd.DataFrame({"user": [3, 3], "item": ["a", "b"], "label": [0, 1]}), info)[1]
    assert consumed_of(merged) == {1: {"a"}, 2: {"b", "d"}, 3: {"c", "b"}}
    rest = hold_out(data, 0.4, by_time=True, seed=0)[0]
    pairs = zip(rest.user_indices.tolist(), rest.item_indices.tolist(), rest.labels, strict=True)
    clicked = {(user, item) for user, item, label in pairs if label}
    assert 0 < len(clicked) < len(rest) < len(data)
    assert {(user, item) for user, items in rest.data_info.user_consumed.items() for item in items} == clicked
    fewer = without(info, np.array([2]), np.array([info.item2id["a"]])).data_info
    assert (fewer.consumed, consumed_of(fewer)) == ("positive", {1: set(), 3: {"c"}})


@pytest.mark.parametrize("counting", ["all", "positive"])
def test_the_choice_is_in_the_file(counting: Any, tmp_path: Path) -> None:
    info = DatasetPure.build_trainset(SHOWN, consumed=counting)[1]
    info.save(tmp_path, "shown")
    loaded = DataInfo.load(tmp_path, "shown")
    assert (loaded.consumed, consumed_of(loaded)) == (counting, consumed_of(info))
    header, arrays = info.packed()
    del header["consumed"]  # as in files of recolib 0.1.0
    assert DataInfo.unpacked(header, arrays).consumed == "all"
    with pytest.raises(ValueError, match="what is consumed is all rows, or the positive ones"):
        DataInfo.unpacked(header | {"consumed": "some"}, arrays)
    if counting == "all":
        with pytest.raises(ValueError, match="what is consumed was liked"):
            DataInfo.unpacked(header | {"consumed": "positive"}, arrays)


def test_popular_negatives_are_drawn_even_where_nothing_was_clicked() -> None:
    info = DatasetPure.build_trainset(SHOWN.assign(label=0))[1]
    assert info.density == 0.0
    drawn = popular(info)(np.array([1], np.int32), np.array([1], np.int32), uniforms(0, 0, np.arange(1), 300))
    assert set(drawn.reshape(-1).tolist()) == {2, 3, 4}


def test_users_who_clicked_nothing_have_neighbours() -> None:
    data, info = DatasetPure.build_trainset(SHOWN.assign(label=[0, 0, 0, 0, 1, 1, 1, 0]))
    model = FM("ranking", info, n_epochs=1, num_neg=1).fit(data, neg_sampling=False, verbose=0)
    assert not consumed_of(info)[1]
    assert 1 in model.similar_users(2, 5)[2]
