from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recolib import UnknownIdWarning
from recolib.data import DataInfo, DatasetFeat, DatasetPure, Feature, Interactions
from recolib.data.rows import ABSENT, UNKNOWN

COLUMNS: dict[str, Any] = {
    "user_col": ["age", "sex", "job"],
    "item_col": ["genre1", "genre2", "tags", "year"],
    "context_col": ["hour", "heat"],
    "sparse_col": ["hour", "sex", "job"],
    "dense_col": ["year", "heat", "age"],
    "multi_sparse_col": [["genre1", "genre2"], "tags"],
    "dense_scaling": "none",
}
PAIRS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(-1, 2)), min_size=1, max_size=30)


def log(**columns: object) -> pd.DataFrame:
    """Seven events of three users and three items, but for ``columns``."""
    frame = pd.DataFrame(
        {
            "user": [7, 7, 7, 5, 5, 9, 7],
            "item": ["b", "a", "b", "a", "c", "b", "b"],
            "label": [2.0, 0.0, 1.0, 5.0, 4.0, -1.0, 0.5],
            "sex": ["m", "m", "m", "f", "f", "m", "m"],
            "age": [30, 30, 30, 20, 20, 40, 30],
            "job": [1, 1, 1, 2, 2, 3, 1],
            "genre1": ["x", "y", "x", "y", "x", "x", "x"],
            "genre2": ["y", "z", "y", "z", "missing", "y", "y"],
            "tags": [["s", "t"], ["s"], ["s", "t"], ["s"], [], ["s", "t"], ["s", "t"]],
            "year": [2000, 1990, 2000, 1990, 1980, 2000, 2000],
            "hour": [8, 9, 8, 9, 8, 9, 8],
            "heat": [0.5, 1.5, 0.5, 1.5, 0.5, 1.5, 0.5],
        }
    )
    return frame.assign(**columns)


def build(**columns: object) -> tuple[Interactions, DataInfo]:
    return DatasetFeat.build_trainset(log(**columns), **COLUMNS)


@pytest.fixture
def data():
    return build()[0]


@pytest.fixture
def info(data):
    return data.data_info


# ---- what it says of the data


def test_repr_is_one_line_of_users_items_and_density():
    frame = pd.DataFrame({"user": np.arange(160) % 50, "item": np.arange(160) // 4, "label": 1})
    assert repr(DatasetPure.build_trainset(frame)[1]) == "n_users: 50, n_items: 40, data density: 8.0000 %"


def test_density_is_the_share_of_pairs_however_often_they_met():
    frame = pd.DataFrame({"user": [1, 1, 1, 2], "item": [7, 7, 7, 8], "label": 1})
    info = DatasetPure.build_trainset(frame)[1]
    assert info.density == 0.5
    assert repr(info) == "n_users: 2, n_items: 2, data density: 50.0000 %"
    assert DatasetPure.merge_trainset(frame, info)[1].density == 0.5


def test_ids_and_codes_map_onto_each_other(info):
    assert dict(info.user2id) == {5: 1, 7: 2, 9: 3}
    assert dict(info.item2id) == {"a": 1, "b": 2, "c": 3}
    assert dict(info.id2user) == {1: 5, 2: 7, 3: 9}
    assert dict(info.id2item) == {1: "a", 2: "b", 3: "c"}
    assert (info.n_users, info.n_items, info.data_size) == (3, 3, 7)
    assert 0 not in info.id2user
    assert 6 not in info.user2id


def test_label_statistics_are_those_of_the_training_rows(info):
    assert info.global_mean == pytest.approx(11.5 / 7)
    assert info.min_max_rating == (-1, 5)


def test_consumed_items_are_distinct_and_ascending_whatever_their_label(info):
    assert {user: items.tolist() for user, items in info.user_consumed.items()} == {1: [1, 3], 2: [1, 2], 3: [2]}
    assert {item: users.tolist() for item, users in info.item_consumed.items()} == {1: [1, 2], 2: [2, 3], 3: [1]}
    assert info.user_consumed[1].dtype == np.int32
    assert len(info.user_consumed) == 3
    assert list(info.user_consumed) == [1, 2, 3]
    assert info.trained_items.tolist() == [1, 2, 3]


@pytest.mark.parametrize("absent", [-999, -1, 0, 4])
def test_consumed_of_a_code_that_does_not_exist_is_a_key_error(info, absent):
    for consumed in (info.user_consumed, info.item_consumed):
        assert absent not in consumed
        assert consumed.get(absent) is None
        with pytest.raises(KeyError, match=str(absent)):
            consumed[absent]


def test_consumed_items_are_read_only(info):
    with pytest.raises(ValueError, match="read-only"):
        info.user_consumed[1][0] = 3


def test_consumed_items_can_be_compared(info):
    assert info.user_consumed == build()[1].user_consumed


@given(PAIRS, st.sampled_from(["all", "positive"]))
def test_consumed_and_popularity_are_those_of_a_loop(events, counting):
    frame = pd.DataFrame(events, columns=["user", "item", "label"])
    _, info = DatasetPure.build_trainset(frame, consumed=counting)
    by_user: dict[int, set[int]] = {user: set() for user in info.id2user}
    by_item: dict[int, set[int]] = {item: set() for item in info.id2item}
    likes: dict[int, set[int]] = {item: set() for item in info.id2item}
    for user, item, label in events:
        if counting == "all" or label > 0:
            by_user[info.user2id[user]].add(info.item2id[item])
            by_item[info.item2id[item]].add(info.user2id[user])
        if label > 0:
            likes[info.item2id[item]].add(user)
    assert {user: items.tolist() for user, items in info.user_consumed.items()} == {
        user: sorted(items) for user, items in by_user.items()
    }
    assert {item: users.tolist() for item, users in info.item_consumed.items()} == {
        item: sorted(users) for item, users in by_item.items()
    }
    assert info.popularity.tolist() == [0, *(len(likes[item]) for item in sorted(likes))]
    ranking = sorted(likes, key=lambda item: (-len(likes[item]), item))
    assert info.ranked_items.tolist() == ranking
    assert info.popular_items == [info.id2item[item] for item in ranking]


def test_popularity_counts_the_distinct_users_who_liked_an_item_and_ties_go_by_code(info):
    assert info.popularity.tolist() == [0, 1, 1, 1]  # a: 5; b: 7, thrice; c: 5
    assert info.ranked_items.tolist() == [1, 2, 3]
    assert info.popular_items == ["a", "b", "c"]


def test_popular_items_are_the_hundred_most_popular_of_a_full_ranking():
    pairs = [(user, item) for item in range(150) for user in range(item % 7 + 1)]
    _, info = DatasetPure.build_trainset(pd.DataFrame(pairs, columns=["user", "item"]).assign(label=1))
    expected = sorted(range(150), key=lambda item: (-(item % 7), item))
    assert info.popular_items == expected[:100]
    assert {type(item) for item in info.popular_items} == {int}
    assert info.ranked_items.tolist() == [item + 1 for item in expected]


def test_columns_have_names_and_positions_among_those_of_their_kind(info):
    assert info.sparse_col == Feature(["sex", "job", "genre1", "genre2", "tags", "hour"], [0, 1, 2, 3, 4, 5])
    assert info.dense_col == Feature(["age", "year", "heat"], [0, 1, 2])
    assert info.user_sparse_col == Feature(["sex", "job"], [0, 1])
    assert info.item_sparse_col == Feature(["genre1", "genre2", "tags"], [2, 3, 4])
    assert info.user_dense_col == Feature(["age"], [0])
    assert info.item_dense_col == Feature(["year"], [1])
    assert info.user_col == ["sex", "job", "age"]
    assert info.item_col == ["genre1", "genre2", "tags", "year"]
    assert info.context_col == ["hour", "heat"]


def test_without_features_there_are_no_columns():
    _, info = DatasetPure.build_trainset(log())
    for feature in (info.sparse_col, info.dense_col, info.user_sparse_col, info.item_dense_col):
        assert feature == Feature([], [])
    assert info.user_col == info.item_col == info.context_col == []


# ---- fingerprints


def test_equal_data_has_an_equal_fingerprint(info):
    assert build()[1].fingerprint == info.fingerprint
    assert DatasetFeat.build_trainset(log()[::-1], **COLUMNS)[1].fingerprint == info.fingerprint


OTHERS: dict[str, Callable[[], DataInfo]] = {
    "another user": lambda: build(user=[7, 7, 7, 5, 5, 8, 7])[1],
    "users as text": lambda: build(user=list("7775597"))[1],
    "another category": lambda: build(sex=["m", "m", "m", "x", "x", "m", "m"])[1],
    "categories as text": lambda: build(job=list("1112231"))[1],
    "another mean": lambda: build(age=[30, 30, 30, 20, 20, 41, 30])[1],
    "longer lists": lambda: build(tags=[["s", "t", "t"], *log()["tags"][1:]])[1],
    "another pad": lambda: DatasetFeat.build_trainset(log(), **COLUMNS, pad_val=["missing", "s"])[1],
    "another scaling": lambda: DatasetFeat.build_trainset(log(), **(COLUMNS | {"dense_scaling": "standard"}))[1],
    "another kind": lambda: DatasetFeat.build_trainset(
        log(), **(COLUMNS | {"sparse_col": ["hour", "sex", "job", "age"], "dense_col": ["year", "heat"]})
    )[1],
    "another order": lambda: DatasetFeat.build_trainset(log(), **(COLUMNS | {"sparse_col": ["hour", "job", "sex"]}))[1],
    "one column less": lambda: DatasetFeat.build_trainset(
        log(), **(COLUMNS | {"user_col": ["age", "sex"], "sparse_col": ["hour", "sex"]})
    )[1],
    "no columns": lambda: DatasetPure.build_trainset(log())[1],
}


@pytest.mark.parametrize("other", OTHERS)
def test_data_that_is_encoded_otherwise_has_another_fingerprint(info, other):
    assert OTHERS[other]().fingerprint != info.fingerprint


def test_labels_are_no_part_of_the_fingerprint(info):
    assert build(label=1)[1].fingerprint == info.fingerprint


# ---- encoded sets


def test_a_set_has_a_length_and_gives_users_items_and_labels(data):
    assert len(data) == 7
    users, items, label = data[3]
    assert (users, items, label) == (1, 1, 5.0)
    users, items, labels = data[1:4]
    assert (users.tolist(), items.tolist(), labels.tolist()) == ([2, 2, 1], [1, 2, 1], [0, 1, 5])
    assert repr(data) == "Interactions(7 rows; n_users: 3, n_items: 3, data density: 55.5556 %)"


def test_labels_may_be_edited_without_touching_the_frame():
    for label in (log()["label"], log()["label"].astype(np.float32)):
        frame = log(label=label)
        data, info = DatasetFeat.build_trainset(frame, **COLUMNS)
        data.labels[data.labels > 1] = 9
        data.labels[0] = -5
        assert data.labels.tolist() == [-5, 0, 1, 9, 9, -1, 0.5]
        assert frame["label"].tolist() == log()["label"].tolist()
        assert info.min_max_rating == (-1, 5)


@pytest.mark.parametrize("convert", [pl.from_pandas, pa.Table.from_pandas, pd.DataFrame])
def test_labels_may_be_edited_without_touching_the_frame_of_any_carrier(convert):
    frame = convert(pd.DataFrame({"user": [1, 2], "item": [1, 2], "label": np.array([1, 2], np.float32)}))
    for data in (DatasetPure.build_trainset(frame)[0], DatasetPure.build_testset(frame)):
        data.labels[:] = 7
        assert list(frame["label"].to_numpy()) == [1, 2]


def test_sparse_interaction_holds_the_last_label_of_each_pair(data):
    matrix = data.sparse_interaction
    assert matrix.shape == (4, 4)
    assert matrix.toarray().tolist() == [[0, 0, 0, 0], [0, 5, 0, 4], [0, 0, 0.5, 0], [0, 0, -1, 0]]
    assert matrix.nnz == 5  # a label of 0 is stored


def test_shuffling_moves_the_rows_as_a_whole(data):
    shuffled, _ = DatasetFeat.build_trainset(log(), **COLUMNS, shuffle=True, seed=1)
    again, _ = DatasetFeat.build_trainset(log(), **COLUMNS, shuffle=True, seed=1)
    other, _ = DatasetFeat.build_trainset(log(), **COLUMNS, shuffle=True, seed=2)
    assert shuffled.labels.tolist() == again.labels.tolist() != data.labels.tolist()
    assert other.labels.tolist() != shuffled.labels.tolist()

    def rows(events: Interactions) -> list[tuple[Any, ...]]:
        context = events.context.codes[:, 0].tolist(), events.context.dense[:, 0].tolist()
        return sorted(zip(events.labels, events.user_indices, events.item_indices, *context, strict=True))

    assert rows(shuffled) == rows(data)


def test_taking_rows_keeps_them_whole(data):
    taken = data.take(np.array([4, 0]))
    assert taken.labels.tolist() == [4, 2]
    assert taken.user_indices.tolist() == [1, 2]
    assert taken.item_indices.tolist() == [3, 2]
    assert taken.times.tolist() == [4, 0]
    assert taken.context.dense[:, 0].tolist() == [0.5, 0.5]
    assert taken.data_info is data.data_info


# ---- evaluation


def test_known_ids_have_what_the_frame_says_and_their_current_rows_stay(data):
    info = data.data_info
    later = log(sex="f", age=1, genre1="z", tags=[["s", "s", "s"]] * 7, year=1)
    test = DatasetFeat.build_testset(later, data_info=info)
    assert test.user_keys.tolist() == [2, 2, 2, 1, 1, 3, 2]
    assert test.item_keys.tolist() == [2, 1, 2, 1, 3, 2, 2]
    assert info.vocabs["sex"].decode(test.users.rows.codes[test.user_rows][:, 1].numpy()).tolist() == ["f"] * 7
    assert test.users.rows.codes[: len(info.users.rows)].tolist() == info.users.rows.codes.tolist()
    assert len(test.users.rows) == len(info.users.rows) + 3  # each once


def test_known_ids_need_no_features_but_context_columns(data):
    test = DatasetFeat.build_testset(log()[["user", "item", "label", "hour", "heat"]], data_info=data.data_info)
    assert test.context.codes.tolist() == [[1], [2], [1], [2], [1], [2], [1]]
    assert test.context.dense[:, 0].tolist() == [0.5, 1.5, 0.5, 1.5, 0.5, 1.5, 0.5]


def test_known_ids_of_a_frame_without_features_use_the_row_that_is_current_not_an_older_one():
    _, info = build(sex=["m", "m", "f", "f", "f", "m", "f"])
    assert len(info.users.rows) == 5
    test = DatasetFeat.build_testset(log().drop(columns="sex"), data_info=info)
    sexes = info.vocabs["sex"].decode(test.users.rows.codes[:, 1][test.user_rows].numpy())
    assert sexes.tolist() == ["f", "f", "f", "f", "f", "m", "f"]


def test_unknown_ids_are_the_unknown_row_with_the_features_of_the_frame(data):
    info = data.data_info
    later = log(
        user=[99, 7, 98, 99, "7", 9, 5], sex=["f", "f", "?", None, "m", "f", "f"], age=[50, 1, np.nan, 60, 70, 1, 1]
    )
    test = DatasetFeat.build_testset(later, data_info=info)
    assert test.user_indices.tolist() == [0, 2, 0, 0, 0, 3, 1]
    is_new = test.user_indices == 0
    new = test.users.rows[torch.from_numpy(test.user_rows[is_new])]
    assert (test.user_rows[is_new] >= len(info.users.rows)).all()
    assert new.codes.tolist() == [[0, 1, 1], [0, UNKNOWN, 1], [0, UNKNOWN, 2], [0, 2, 2]]
    assert new.dense[:, 0].tolist() == [50, pytest.approx(200 / 7), 60, 70]
    assert test.users.rows.codes[test.user_rows[0]].tolist() == [0, 1, 1]
    assert info.users.rows.codes.tolist() == build()[1].users.rows.codes.tolist()


def test_rows_of_unknown_ids_stand_behind_the_older_rows_of_known_ones():
    _, info = build(sex=["m", "m", "f", "f", "f", "m", "f"])
    test = DatasetFeat.build_testset(log(user=[98, 5, 99, 5, 5, 5, 5], sex=["f", *"mmmmmm"]), data_info=info)
    assert len(info.users.rows) == 5
    assert (test.user_rows[[0, 2]] >= 5).all()
    assert test.user_indices.tolist() == [0, 1, 0, 1, 1, 1, 1]
    assert test.users.rows.codes[test.user_rows][:3, :2].tolist() == [[0, 1], [1, 2], [0, 2]]


def test_unknown_items_take_their_groups_and_lists_from_the_frame(data):
    info = data.data_info
    new = {"item": ["new", "b", 5, "b", "b", "b", "b"], "genre1": ["z", *["x"] * 6], "genre2": ["missing", *["?"] * 6]}
    test = DatasetFeat.build_testset(log(**new, tags=[[], ["t"], ["?", "t"], *[[]] * 4]), data_info=info)
    assert test.item_indices.tolist() == [0, 2, 0, 2, 2, 2, 2]
    # id, genre1, genre2, two tags
    new = test.items.rows[torch.from_numpy(test.item_rows[test.item_indices == 0])]
    assert new.codes.tolist() == [[0, 3, ABSENT, ABSENT, ABSENT], [0, 1, UNKNOWN, UNKNOWN, 2]]


def test_a_frame_with_some_columns_of_a_group_gives_those_slots(data):
    info = data.data_info
    later = log(item=["new", *log()["item"][1:]], genre2="z").drop(columns="genre1")
    test = DatasetFeat.build_testset(later, data_info=info)
    assert test.items.rows.codes[test.item_rows[0]].tolist() == [0, UNKNOWN, 3, 1, 2]
    info.assign_item_features(pd.DataFrame({"item": ["b", "a"], "genre2": ["z", None]}))
    assert info.items.rows.codes[1:3, 1:3].tolist() == [[2, 3], [1, 3]]


def test_unknown_ids_without_features_are_the_unknown_row(data):
    info = data.data_info
    later = pd.DataFrame({"user": [1, 2], "item": ["q", "r"], "hour": [8, 8], "heat": [0.5, 0.5]})
    test = DatasetFeat.build_testset(later, data_info=info)
    new = test.users.rows[len(info.users.rows) :]
    assert new.codes.tolist() == [info.users.rows.codes[0].tolist()] * 2 == [[0, 0, 0]] * 2
    new = test.items.rows[len(info.items.rows) :]
    assert new.codes.tolist() == [[0, UNKNOWN, ABSENT, UNKNOWN, ABSENT]] * 2
    assert test.users.rows[len(info.users.rows) :].dense[:, 0].tolist() == [pytest.approx(200 / 7)] * 2


def test_context_never_seen_is_unknown_and_missing_numbers_are_the_mean(data):
    later = log(hour=[8, 23, None, "8", 9, 9, 9], heat=[np.nan, 7, 1, 1, 1, 1, 1])
    test = DatasetFeat.build_testset(later, data_info=data.data_info)
    assert test.context.codes[:, 0].tolist() == [1, 0, 0, 0, 2, 2, 2]
    assert test.context.dense[:2, 0].tolist() == [pytest.approx(6.5 / 7), 7]


def test_rows_without_a_label_column_were_observed_and_no_more(data):
    test = DatasetFeat.build_testset(log().drop(columns="label"), data_info=data.data_info)
    assert len(test) == 7
    assert np.isnan(test.labels).all()
    assert test.labels.dtype == np.float32


def test_an_evaluation_set_leaves_data_and_frame_as_they_were(data):
    info = data.data_info
    later = log(user=[99, *log()["user"][1:]])
    before = info.fingerprint, info.users.rows.codes.tolist(), info.data_size
    DatasetFeat.build_testset(later, data_info=info).labels[:] = 0
    assert (info.fingerprint, info.users.rows.codes.tolist(), info.data_size) == before
    pd.testing.assert_frame_equal(later, log(user=[99, *log()["user"][1:]]))
    assert data.labels.tolist() == log()["label"].tolist()


def test_a_shuffled_evaluation_set_has_the_same_rows(data):
    test = DatasetFeat.build_testset(log(), shuffle=True, seed=5, data_info=data.data_info)
    assert test.labels.tolist() != data.labels.tolist()
    assert sorted(zip(test.labels, test.user_indices, strict=True)) == sorted(
        zip(data.labels, data.user_indices, strict=True)
    )
    again = DatasetFeat.build_testset(log(), shuffle=True, seed=5, data_info=data.data_info)
    assert again.labels.tolist() == test.labels.tolist()


def test_the_set_built_last_is_the_default_but_data_info_comes_first(data):
    _, other = build(user=[1, 2, 3, 4, 5, 6, 7])
    assert DatasetFeat.build_testset(log()).data_info is other
    assert DatasetFeat.build_evalset(log(), data_info=data.data_info).data_info is data.data_info


# ---- assigned features


def test_assigned_features_are_those_of_the_known_ids_alone(info):
    with pytest.warns(UnknownIdWarning, match="2 unknown users, such as 6: they are left out"):
        info.assign_user_features(pd.DataFrame({"user": [5, 6, "7"], "sex": ["m", "m", "f"], "age": [1.0, 2.0, 3.0]}))
    assert info.users.rows.codes.tolist() == [[0, 0, 0], [1, 2, 2], [2, 2, 1], [3, 2, 3]]
    assert info.users.rows.dense[1:, 0].tolist() == [1, 30, 40]
    assert list(info.user2id) == [5, 7, 9]


def test_each_assignment_raises_the_version(info):
    items = info.items.rows.codes.tolist()
    info.assign_user_features(pd.DataFrame({"user": [5], "sex": ["m"]}))
    assert info.items.rows.codes.tolist() == items
    info.assign_item_features(pd.DataFrame({"item": ["a"], "year": [2]}))
    assert info.items.rows.dense[:, 0].tolist() == [pytest.approx(info.schema.dense("item")[0].mean), 2, 2000, 1980]


def test_of_several_rows_of_one_id_the_last_counts(info):
    info.assign_user_features(pd.DataFrame({"user": [5, 7, 5, 5], "sex": ["m", "f", "f", "m"], "age": [1, 2, 3, 4]}))
    assert info.users.rows.codes[1:3, 1].tolist() == [2, 1]
    assert info.users.rows.dense[1:3, 0].tolist() == [4, 2]


def test_an_assigned_value_never_seen_is_the_unknown_code(info):
    info.assign_user_features(pd.DataFrame({"user": [5, 7], "sex": ["?", 1]}))
    assert info.users.rows.codes[:, 1].tolist() == [0, 0, 0, 2]


def test_an_assigned_missing_value_changes_nothing(info):
    info.assign_user_features(pd.DataFrame({"user": [5, 7], "sex": [None, "f"], "age": [np.nan, 3.0]}))
    assert info.users.rows.codes[1:3, 1].tolist() == [1, 1]
    assert info.users.rows.dense[1:3, 0].tolist() == [20, 3]


def test_groups_and_lists_can_be_assigned(info):
    films = pd.DataFrame(
        {"item": ["b", "c"], "genre1": ["missing", "z"], "genre2": ["z", "y"], "tags": [["t"], ["t", "?"]]}
    )
    info.assign_item_features(films)
    assert info.items.rows.codes.tolist() == [
        [0, UNKNOWN, ABSENT, UNKNOWN, ABSENT],
        [1, 2, 3, 1, ABSENT],
        [2, ABSENT, 3, 2, ABSENT],
        [3, 3, 2, 2, UNKNOWN],
    ]


@pytest.mark.parametrize(
    "convert", [pl.from_pandas, pa.Table.from_pandas, lambda frame: frame.set_axis([3, 3], axis=0)]
)
def test_features_are_assigned_whoever_carries_them(info, convert):
    info.assign_user_features(convert(pd.DataFrame({"user": [5, 5], "sex": ["f", "m"], "age": [None, 7.0]})))
    assert info.users.rows.codes[1].tolist() == [1, 2, 2]
    assert info.users.rows.dense[1].tolist() == [7]


def test_assigned_numbers_are_scaled_as_in_training():
    _, info = DatasetFeat.build_trainset(log(), **(COLUMNS | {"dense_scaling": "standard"}))
    ages = log()["age"]
    info.assign_user_features(pd.DataFrame({"user": [5], "age": [100]}))
    assert info.users.rows.dense[1].tolist() == [pytest.approx((100 - ages.mean()) / ages.std(ddof=0))]


def test_assigning_keeps_older_rows_and_the_fingerprint():
    data, info = build(sex=["m", "m", "f", "f", "f", "m", "f"])
    before = info.fingerprint
    info.assign_user_features(pd.DataFrame({"user": [7], "sex": ["?"]}))
    assert info.users.rows.codes[:, 1].tolist() == [0, 1, 0, 2, 2]
    assert info.users.owner.tolist() == [0, 1, 2, 3, 2]
    assert data.user_indices.tolist() == [2, 2, 2, 1, 1, 3, 2]
    assert info.users.at(np.array([2], np.int32), np.array([0.0])).tolist() == [4]
    assert info.fingerprint == before


def test_new_sets_see_assigned_features(info):
    info.assign_user_features(pd.DataFrame({"user": [5], "sex": ["m"]}))
    test = DatasetFeat.build_testset(log(), data_info=info)
    assert test.users.rows.codes[1].tolist() == [1, 2, 2]


BAD: list[Any] = [
    pytest.param(pd.DataFrame({"sex": ["m"]}), "'user'.* not in user_data", id="no ids"),
    pytest.param(pd.DataFrame({"user": [None, 5], "sex": "m"}), "'user' has 1 missing", id="missing id"),
    pytest.param(pd.DataFrame({"user": [True], "sex": "m"}), "'user' holds booleans", id="boolean id"),
    pytest.param(pd.DataFrame({"user": [5], "sex": [0.5]}), "'sex' has the number 0.5", id="fraction as category"),
    pytest.param(pd.DataFrame({"user": [5], "age": ["x"]}), "'age' must hold numbers", id="text as number"),
    pytest.param(pd.DataFrame({"user": [5], "age": [np.inf]}), "'age' has 1 infinite", id="infinite number"),
    pytest.param(pd.DataFrame({"user": []}), "user_data has no rows", id="no rows"),
    pytest.param([5], "user_data must be .* got list", id="a list"),
    pytest.param(pd.DataFrame([[5, "m", "f"]], columns=["user", "sex", "sex"]), "'sex'.* more than once", id="twice"),
]


@pytest.mark.parametrize(("frame", "match"), BAD)
def test_bad_features_are_refused_and_change_nothing(info, frame, match):
    before = info.users.rows.codes.tolist(), info.users.rows.dense.tolist()
    with pytest.raises(ValueError, match=match):
        info.assign_user_features(frame)
    assert (info.users.rows.codes.tolist(), info.users.rows.dense.tolist()) == before


def test_misspelt_columns_are_refused_with_the_nearest_name(info):
    before = info.users.rows.codes.tolist()
    with pytest.raises(ValueError, match=r"'sexx' is not a column .*; did you mean 'sex'"):
        info.assign_user_features(pd.DataFrame({"user": [5], "sexx": ["m"], "job": [3]}))
    with pytest.raises(ValueError, match=r"'yaer' is not a column .*; did you mean 'year'"):
        info.assign_item_features(pd.DataFrame({"item": ["a"], "yaer": [1]}))
    assert info.users.rows.codes.tolist() == before


def test_columns_of_the_other_sides_change_nothing(info):
    users, items = info.users.rows, info.items.rows.codes.tolist()
    info.assign_user_features(log(genre1="?", hour=99, time=3)[["user", "label", "time", "genre1", "hour", "item"]])
    assert info.users.rows.codes.tolist() == users.codes.tolist()
    assert info.users.rows.dense.tolist() == users.dense.tolist()
    assert info.items.rows.codes.tolist() == items


def test_unknown_ids_alone_are_ignored(info):
    before = info.users.rows.codes.tolist()
    with pytest.warns(UnknownIdWarning, match="1 unknown users, such as 99"):
        info.assign_user_features(pd.DataFrame({"user": [99], "sex": ["m"]}))
    assert info.users.rows.codes.tolist() == before


def test_missing_lists_alone_change_nothing(info):
    before = info.items.rows.codes.tolist()
    info.assign_item_features(pd.DataFrame({"item": ["b"], "tags": [None], "year": [1]}))
    assert info.items.rows.codes.tolist() == before
    assert info.items.rows.dense[2].tolist() == [1]


def test_a_bad_value_is_refused_wherever_it_stands(info):
    with pytest.raises(ValueError, match="'age'"):
        info.assign_user_features(pd.DataFrame({"user": [5, 5], "age": [np.inf, 1]}))


def test_assigning_leaves_the_features_of_past_events(data):
    before = data.users.rows.codes[data.user_rows].tolist()
    data.data_info.assign_user_features(pd.DataFrame({"user": [5], "sex": ["m"]}))
    assert data.users.rows.codes[data.user_rows].tolist() == before
