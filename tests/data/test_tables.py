from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from recolib.data import DatasetFeat, DatasetPure, Rows
from recolib.data.table import Table, table_of_events

N_IDS = 4
# (code, feature, number, time): few values each, so that features flip back and times tie
EVENT = st.tuples(st.integers(1, N_IDS), st.integers(0, 2), st.sampled_from([0.0, 0.5]), st.integers(-2, 3))
LOGS = st.lists(EVENT, min_size=1, max_size=14)
FLIP = [(1, 0, 0.0, 0), (1, 1, 0.0, 1), (1, 0, 0.0, 2), (2, 0, 0.0, 1)]
Features = tuple[int, float]


def blank() -> Rows:
    """What is known of the ids without events: nothing of 0, something of the others."""
    codes = torch.tensor([[code, 7 * (code > 0)] for code in range(N_IDS + 1)], dtype=torch.int32)
    return Rows(codes, torch.full((N_IDS + 1, 1), 9.0))


def built(log: Sequence[tuple[int, int, float, int]]) -> tuple[Table, np.ndarray]:
    codes = np.array([code for code, *_ in log], np.int32)
    features = Rows(
        torch.tensor([[code, feature] for code, feature, *_ in log], dtype=torch.int32),
        torch.tensor([[number] for *_, number, _ in log]),
    )
    return table_of_events(blank(), codes, features, np.array([float(time) for *_, time in log]))


def features_at(table: Table, row: int) -> Features:
    return int(table.rows.codes[row, 1]), float(table.rows.dense[row, 0])


def true_at(log: Sequence[tuple[int, int, float, int]], code: int, time: float) -> Features:
    """What is true of an id at a time, by going through its events one by one."""
    mine = sorted((event for event in log if event[0] == code), key=lambda event: event[3])  # stable: ties by place
    if not mine:
        return (7 * (code > 0), 9.0)
    found = mine[0]
    for event in mine:
        if event[3] <= time:
            found = event
    return found[1], found[2]


@given(LOGS)
@example(FLIP)
def test_each_event_points_at_a_row_of_its_id_with_its_own_features(log):
    table, rows = built(log)
    assert [int(table.owner[row]) for row in rows] == [code for code, *_ in log]
    assert [int(table.rows.codes[row, 0]) for row in rows] == [code for code, *_ in log]
    assert [features_at(table, row) for row in rows] == [(feature, number) for _, feature, number, _ in log]


@given(LOGS)
@example(FLIP)
def test_the_current_row_is_that_of_the_greatest_time_and_of_ties_the_last(log):
    table, _ = built(log)
    assert table.n_ids == N_IDS
    assert table.current.codes[:, 0].tolist() == list(range(N_IDS + 1))
    expected = [true_at(log, code, float("inf")) for code in range(N_IDS + 1)]
    assert [features_at(table, code) for code in range(N_IDS + 1)] == expected
    assert table.current.dense[:, 0].tolist() == [number for _, number in expected]


@given(LOGS)
@example(FLIP)
def test_a_table_has_one_row_for_each_id_and_its_distinct_features(log):
    table, _ = built(log)
    rows = [(int(owner), *features_at(table, row)) for row, owner in enumerate(table.owner)]
    assert len(rows) == len(set(rows))
    seen = {(code, feature, number) for code, feature, number, _ in log}
    without = {(code, 7 * (code > 0), 9.0) for code in range(N_IDS + 1) if code not in {event[0] for event in log}}
    assert set(rows) == seen | without


@given(LOGS, st.lists(st.tuples(st.integers(0, N_IDS), st.sampled_from([-9, -2, -1, -0.5, 0, 1, 2.5, 3, 9]))))
@example(FLIP, [(1, time) for time in (-1, 0, 0.5, 1, 1.5, 2, 3)])
def test_the_row_at_a_time_is_what_was_true_then(log, questions):
    table, _ = built(log)
    codes = np.array([code for code, _ in questions], np.int32)
    rows = table.at(codes, np.array([time for _, time in questions], np.float64))
    assert rows.dtype == np.int32
    assert rows.shape == codes.shape
    assert [int(table.owner[row]) for row in rows] == codes.tolist()
    assert [features_at(table, row) for row in rows] == [true_at(log, code, time) for code, time in questions]


@given(LOGS)
@example(FLIP)
def test_the_row_of_an_id_at_the_time_of_its_only_event_then_is_that_events(log):
    table, rows = built(log)
    at = table.at(np.array([code for code, *_ in log], np.int32), np.array([float(time) for *_, time in log]))
    for row, found, (code, *_, time) in zip(rows, at, log, strict=True):
        if sum(other[0] == code and other[3] == time for other in log) == 1:
            assert found == row


@given(LOGS)
def test_candidates_of_any_shape_are_taken_at_the_time_of_their_event(log):
    table, _ = built(log)
    times = np.array([float(time) for *_, time in log])
    candidates = np.arange(len(log) * 3, dtype=np.int32).reshape(len(log), 3) % (N_IDS + 1)
    rows = table.at(candidates, times)
    assert rows.shape == candidates.shape
    for column in range(3):
        assert rows[:, column].tolist() == table.at(candidates[:, column], times).tolist()


def test_what_flips_back_has_two_rows():
    table, rows = built(FLIP)
    assert rows.tolist() == [1, N_IDS + 1, 1, 2]
    assert len(table.rows) == N_IDS + 2
    assert table.at(np.array([1, 1, 1, 1], np.int32), np.array([-5.0, 0, 1, 2])).tolist() == [1, 1, N_IDS + 1, 1]


def test_a_log_in_which_nothing_changes_has_no_history():
    log = [(1, 0, 0.0, 3), (2, 1, 0.5, 1), (1, 0, 0.0, 2)]
    table, rows = built(log)
    assert rows.tolist() == [1, 2, 1]
    assert len(table.rows) == N_IDS + 1
    assert len(table.history.codes) == 0
    assert table.at(np.array([[4, 0]], np.int32), np.array([2.0])).tolist() == [[4, 0]]


def test_building_a_table_leaves_its_arguments_alone():
    before = blank()
    codes, times = np.array([1, 1], np.int32), np.array([2.0, 1.0])
    features = Rows(torch.tensor([[1, 5], [1, 6]], dtype=torch.int32), torch.zeros(2, 1))
    table_of_events(before, codes, features, times)
    assert before.codes.tolist() == blank().codes.tolist()
    assert codes.tolist() == [1, 1]
    assert times.tolist() == [2, 1]


# ---- through the front door


FLIPS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from("mf"), st.sampled_from([1, 2]), st.integers(0, 4)),
    min_size=1,
    max_size=12,
)


def frame_of(events: Sequence[tuple[int, int, str, int, int]], with_time: bool) -> pd.DataFrame:
    """Events whose label is their place, so that they are known again after a shuffle."""
    frame = pd.DataFrame(events, columns=["user", "item", "sex", "price", "time"])
    frame["label"] = np.arange(len(frame))
    return frame if with_time else frame.drop(columns="time")


def encoded(frame: pd.DataFrame, **settings: Any) -> Any:
    return DatasetFeat.build_trainset(
        frame,
        user_col=["sex"],
        item_col=["price"],
        sparse_col=["sex"],
        dense_col=["price"],
        dense_scaling="none",
        **settings,
    )


def latest(frame: pd.DataFrame, side: str, feature: str) -> dict[int, object]:
    """Each id's feature of the greatest time, or of the last row, by a loop over the events."""
    time = frame["time"] if "time" in frame.columns else pd.Series(range(len(frame)))
    found: dict[int, tuple[int, object]] = {}
    for owner, value, moment in zip(frame[side], frame[feature], time, strict=True):
        if owner not in found or moment >= found[owner][0]:
            found[owner] = (moment, value)
    return {owner: value for owner, (_, value) in found.items()}


def sexes(info: Any, rows: np.ndarray) -> list[str]:
    return info.vocabs["sex"].decode(info.users.rows.codes[torch.from_numpy(rows), 1].numpy()).tolist()


def prices(info: Any, rows: np.ndarray) -> list[float]:
    return info.items.rows.dense[torch.from_numpy(rows), 0].tolist()


@given(FLIPS, st.booleans(), st.booleans(), st.integers(0, 3))
def test_interactions_point_at_the_features_that_were_true_and_tables_hold_the_latest(events, with_time, shuffle, seed):
    frame = frame_of(events, with_time)
    data, info = encoded(frame, shuffle=shuffle, seed=seed)
    place = data.labels.astype(int)
    assert sorted(place) == list(range(len(frame)))
    assert sexes(info, data.user_rows) == frame["sex"].to_numpy()[place].tolist()
    assert prices(info, data.item_rows) == frame["price"].to_numpy()[place].tolist()
    assert [info.id2user[code] for code in data.user_indices.tolist()] == frame["user"].to_numpy()[place].tolist()
    assert [info.id2item[code] for code in data.item_indices.tolist()] == frame["item"].to_numpy()[place].tolist()
    if with_time:
        assert data.times.tolist() == frame["time"].to_numpy()[place].tolist()
    rows = torch.from_numpy(data.user_rows), torch.from_numpy(data.item_rows)
    assert data.users.rows.codes[rows[0]].tolist() == info.users.rows.codes[rows[0]].tolist()
    assert data.items.rows.dense[rows[1]].tolist() == info.items.rows.dense[rows[1]].tolist()
    now = latest(frame, "user", "sex")
    assert sexes(info, np.arange(1, info.n_users + 1)) == [now[user] for user in info.user2id]
    now = latest(frame, "item", "price")
    assert prices(info, np.arange(1, info.n_items + 1)) == [now[item] for item in info.item2id]


@given(FLIPS, st.booleans(), st.integers(0, 3))
def test_shuffling_changes_the_order_of_the_events_alone(events, with_time, seed):
    frame = frame_of(events, with_time)
    data, info = encoded(frame)
    shuffled, other = encoded(frame, shuffle=True, seed=seed)
    assert other.fingerprint == info.fingerprint
    for side in ("user", "item"):
        assert other.table(side).rows.codes.tolist() == info.table(side).rows.codes.tolist()
        assert other.table(side).rows.dense.tolist() == info.table(side).rows.dense.tolist()
        assert other.table(side).history.rows.tolist() == info.table(side).history.rows.tolist()
        assert other.table(side).history.times.tolist() == info.table(side).history.times.tolist()
    back = shuffled.take(np.argsort(shuffled.labels))
    for name in ("user_rows", "item_rows", "times", "labels"):
        assert getattr(back, name).tolist() == getattr(data, name).tolist()


@given(FLIPS, st.booleans())
def test_a_negative_has_the_features_that_were_true_at_its_positives_time_else_its_first(events, with_time):
    frame = frame_of(events, with_time)
    data, info = encoded(frame)
    times = frame["time"].tolist() if with_time else list(range(len(frame)))
    log = list(zip(frame["item"], frame["price"], [0.0] * len(frame), times, strict=True))
    items = np.arange(1, info.n_items + 1, dtype=np.int32)
    rows = info.items.at(np.tile(items, (len(frame), 1)), data.times)
    for found, moment in zip(rows, times, strict=True):
        assert prices(info, found) == [true_at(log, item, moment)[0] for item in info.item2id]


def test_without_time_the_last_row_of_the_frame_is_current_also_after_a_shuffle():
    frame = pd.DataFrame({"user": [1] * 20, "item": range(20), "label": 1, "sex": ["m"] * 19 + ["f"]})
    for seed in range(3):
        _, info = DatasetFeat.build_trainset(frame, user_col=["sex"], sparse_col=["sex"], shuffle=True, seed=seed)
        assert sexes(info, np.array([1])) == ["f"]


def test_the_greatest_time_is_current_wherever_its_row_stands():
    frame = pd.DataFrame(
        {"user": [1, 1, 1], "item": [1, 2, 3], "label": 1, "sex": ["a", "b", "c"], "time": pd.to_datetime([5, 9, 7])}
    )
    data, info = DatasetFeat.build_trainset(frame, user_col=["sex"], sparse_col=["sex"])
    assert sexes(info, np.array([1])) == ["b"]
    assert sexes(info, data.user_rows) == ["a", "b", "c"]
    assert sexes(info, info.users.at(np.array([1, 1, 1], np.int32), data.times)) == ["a", "b", "c"]


def test_times_a_nanosecond_apart_are_two():
    now = 1_700_000_000_000_000_000
    frame = pd.DataFrame({"user": [1, 1], "item": [1, 2], "label": 1, "sex": ["f", "m"], "time": [now + 1, now]})
    assert sexes(DatasetFeat.build_trainset(frame, user_col=["sex"], sparse_col=["sex"])[1], np.array([1])) == ["f"]


def test_missing_values_are_features_that_change_too():
    frame = pd.DataFrame(
        {"user": [1, 1, 1], "item": [1, 2, 3], "label": 1, "sex": ["m", None, "m"], "age": [np.nan, 10.0, np.nan]}
    )
    data, info = DatasetFeat.build_trainset(frame, user_col=["sex", "age"], sparse_col=["sex"], dense_col=["age"])
    assert data.user_rows.tolist() == [1, 2, 1]
    assert info.users.rows.codes[:, 1].tolist() == [0, 1, 0]


def test_lists_may_change_over_time():
    frame = pd.DataFrame({"user": [1, 1, 1, 2], "item": 1, "label": 1, "likes": [["a"], ["a", "b"], [], ["b"]]})
    data, info = DatasetFeat.build_trainset(frame, user_col=["likes"], multi_sparse_col=["likes"])
    assert info.users.rows.codes[torch.from_numpy(data.user_rows), 1:].tolist() == [[1, -2], [1, 2], [-2, -2], [2, -2]]
    assert info.users.current.codes.tolist() == [[0, 0, -2], [1, -2, -2], [2, 2, -2]]


# ---- features in frames of their own

RATINGS = pd.DataFrame({"user": [5, 3, 5], "item": ["b", "b", "a"], "label": [1, 2, 3]})
PEOPLE = pd.DataFrame({"user": [9, 3, 5, 1], "sex": ["m", "f", None, "m"], "age": [10.0, 20.0, 30.0, np.nan]})
FILMS = pd.DataFrame({"item": ["z", "a", "b"], "tags": [["t"], ["s", "t"], None], "year": [2000, 1990, 1980]})
SEPARATE: dict[str, Any] = {
    "user_col": ["sex", "age"],
    "item_col": ["tags", "year"],
    "sparse_col": ["sex"],
    "dense_col": ["age", "year"],
    "multi_sparse_col": ["tags"],
    "dense_scaling": "none",
}


@pytest.mark.parametrize("carry", [lambda frame: frame, pl.from_pandas, pa.Table.from_pandas])
def test_ids_without_interaction_have_a_row_but_no_id_of_their_own(carry):
    data, info = DatasetFeat.build_trainset(
        RATINGS, **SEPARATE, user_features=carry(PEOPLE), item_features=carry(FILMS)
    )
    assert list(info.user2id) == [3, 5, 1, 9]  # those of the interactions first
    assert info.users.rows.codes.tolist() == [[0, 0], [1, 1], [2, 0], [0, 2], [0, 2]]
    assert info.users.rows.dense.tolist() == [[20], [20], [30], [20], [10]]
    assert list(info.item2id) == ["a", "b", "z"]
    assert info.items.rows.codes.tolist() == [[0, 0, -2], [1, 1, 2], [2, -2, -2], [0, 2, -2]]
    assert info.items.rows.dense.tolist() == [[1990], [1990], [1980], [2000]]
    assert data.user_rows.tolist() == [2, 1, 2]
    assert data.item_rows.tolist() == [2, 2, 1]
    assert data.user_indices.tolist() == [2, 1, 2]


def test_ids_without_interaction_are_known_but_not_trained_and_consumed_nothing():
    _, info = DatasetFeat.build_trainset(RATINGS, **SEPARATE, user_features=PEOPLE, item_features=FILMS)
    assert (info.n_users, info.n_items) == (4, 3)
    assert info.trained_items.tolist() == [1, 2]
    assert [info.user_consumed[info.user2id[user]].tolist() for user in (3, 5, 1, 9)] == [[2], [1, 2], [], []]
    assert info.item_consumed[info.item2id["z"]].tolist() == []
    assert info.popularity.tolist() == [0, 1, 2, 0]
    assert info.popular_items == ["b", "a", "z"]
    test = DatasetFeat.build_testset(pd.DataFrame({"user": [9], "item": ["z"]}))
    assert (test.user_rows.tolist(), test.item_rows.tolist()) == ([4], [3])
    assert len(test.users.rows) == len(info.users.rows)
    assert len(test.items.rows) == len(info.items.rows)


def test_users_that_are_not_in_the_feature_frame_are_unknown_with_a_warning():
    with pytest.warns(UserWarning, match="1 users of the data are not in user_features: their features are unknown"):
        _, info = DatasetFeat.build_trainset(
            RATINGS, user_col=["sex", "age"], sparse_col=["sex"], dense_col=["age"], user_features=PEOPLE.iloc[:2]
        )
    assert info.users.rows.codes.tolist() == [[0, 0], [1, 1], [2, 0], [0, 2]]
    assert info.users.rows.dense.tolist() == [[0], [1], [0], [-1]]


def test_columns_may_come_from_both_frames_and_those_of_the_events_may_change():
    events = RATINGS.assign(job=["x", "y", "z"], hour=[1, 2, 3])
    data, info = DatasetFeat.build_trainset(
        events,
        user_col=["job", "sex"],
        sparse_col=["sex", "job", "hour"],
        context_col=["hour"],
        user_features=PEOPLE[["sex", "user"]],
    )
    # id, sex, job: user 5 was an x, now a z
    assert info.users.rows.codes.tolist() == [[0, 0, 0], [1, 1, 2], [2, 0, 3], [0, 2, 0], [0, 2, 0], [2, 0, 1]]
    assert data.user_rows.tolist() == [5, 1, 2]
    assert info.users.owner.tolist() == [0, 1, 2, 3, 4, 2]
    assert data.context.codes.tolist() == [[1], [2], [3]]


def test_columns_of_the_other_side_or_of_nobody_are_not_read_from_a_feature_frame():
    people = PEOPLE.assign(year=1, note=1j)
    events = RATINGS.assign(year=[7, 7, 8])
    _, info = DatasetFeat.build_trainset(
        events, user_col=["sex"], item_col=["year"], sparse_col=["sex", "year"], user_features=people
    )
    assert info.vocabs["year"].values.tolist() == [7, 8]


def test_features_of_a_frame_are_learnt_from_all_its_rows():
    _, info = DatasetFeat.build_trainset(
        RATINGS, **(SEPARATE | {"dense_scaling": "standard"}), user_features=PEOPLE, item_features=FILMS
    )
    age, year = info.schema.dense("user")[0], info.schema.dense("item")[0]
    assert (age.mean, year.mean) == (20, 1990)
    assert age.scale == pytest.approx(np.std([10, 20, 30]))
    assert year.scale == pytest.approx(np.std([1980, 1990, 2000]))


def test_the_order_of_a_feature_frame_does_not_matter():
    _, info = DatasetFeat.build_trainset(RATINGS, **SEPARATE, user_features=PEOPLE, item_features=FILMS)
    _, other = DatasetFeat.build_trainset(RATINGS, **SEPARATE, user_features=PEOPLE[::-1], item_features=FILMS[::-1])
    assert other.fingerprint == info.fingerprint
    assert other.users.rows.codes.tolist() == info.users.rows.codes.tolist()
    assert other.items.rows.dense.tolist() == info.items.rows.dense.tolist()


def test_separate_features_are_the_same_as_joined_ones():
    joined = RATINGS.merge(PEOPLE, on="user").merge(FILMS, on="item")
    data, info = DatasetFeat.build_trainset(joined, **SEPARATE)
    with_events = PEOPLE[PEOPLE["user"].isin(RATINGS["user"])], FILMS[FILMS["item"].isin(RATINGS["item"])]
    other, other_info = DatasetFeat.build_trainset(
        joined[["user", "item", "label"]], **SEPARATE, user_features=with_events[0], item_features=with_events[1]
    )
    for one, two in ((data, info), (other, other_info)):
        assert one.user_rows.tolist() == data.user_rows.tolist()
        assert two.items.current.codes.tolist() == info.items.current.codes.tolist()
        assert two.users.current.codes.tolist() == info.users.current.codes.tolist()


def test_without_columns_a_table_is_its_ids():
    data, info = DatasetPure.build_trainset(RATINGS)
    assert info.users.rows.codes.tolist() == [[0], [1], [2]]
    assert info.users.rows.dense.shape == (3, 0)
    assert data.context.codes.shape == (3, 0)
    assert info.items.at(np.array([2, 1], np.int32), np.array([0.0, 1.0])).tolist() == [2, 1]
