from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from recolib.data import DatasetFeat, random_split
from recolib.data.consumed import interactions
from recolib.data.frame import factorize
from recolib.data.order import last_of, rows_by_code, rows_by_code_and_time
from recolib.data.table import changing_events

N = 5
LOG = st.lists(st.tuples(st.integers(0, N - 1), st.integers(-3, 3)), min_size=1, max_size=20)


@given(LOG)
def test_rows_by_code_keep_their_order(log):
    codes = np.array([code for code, _ in log], np.int32)
    assert rows_by_code(codes, N).tolist() == sorted(range(len(log)), key=lambda row: codes[row])


@given(LOG, st.sampled_from([np.int64, np.float64]), st.sampled_from([1, 2**58]), st.booleans())
@example([(1, 3), (0, -3), (1, -3), (1, 3)], np.int64, 2**60, False)
def test_rows_by_code_and_time_are_those_of_two_stable_sorts(log, dtype, unit, ascending):
    codes = np.array([code for code, _ in log], np.int32)
    times = np.array([time * unit for _, time in log], dtype)
    if ascending:
        times.sort()
    rows = rows_by_code_and_time(codes, times, N)
    assert rows.tolist() == sorted(range(len(log)), key=lambda row: (codes[row], times[row]))


@given(LOG)
def test_the_last_row_of_each_code(log):
    codes = np.array([code for code, _ in log], np.int32)
    expected = [max((row for row in range(len(log)) if codes[row] == code), default=-1) for code in range(N)]
    assert last_of(codes, N).tolist() == expected


@given(LOG, st.lists(st.sampled_from([0.0, -0.0, 1.0]), min_size=20, max_size=20))
def test_the_events_of_ids_whose_features_change(log, numbers):
    codes = np.array([code for code, _ in log], np.int32)
    slots = np.array([[0, feature // 3] for _, feature in log], np.int32)
    dense = np.array(numbers[: len(log)], np.float32)
    shown = [(*slot, number.tobytes()) for slot, number in zip(slots.tolist(), dense, strict=True)]
    features = {code: {what for of, what in zip(codes, shown, strict=True) if of == code} for code in range(N)}
    expected = [row for row in range(len(log)) if len(features[codes[row]]) > 1]
    assert changing_events(codes, last_of(codes, N), [slots, dense]).tolist() == expected


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), st.booleans()), min_size=1, max_size=20))
def test_meetings_are_distinct_pairs_and_an_item_is_liked_by_who_liked_it_once(events):
    users, items = (np.array([event[side] for event in events], np.int32) for side in (0, 1))
    by_user, by_item, some = interactions(users, items, np.array([liked for *_, liked in events]), 3, 4)
    assert {user: by_user[user].tolist() for user in by_user} == {
        user: sorted({item for who, item, _ in events if who == user}) for user in (1, 2, 3)
    }
    assert {item: by_item[item].tolist() for item in by_item} == {
        item: sorted({user for user, what, _ in events if what == item}) for item in (1, 2, 3, 4)
    }
    pairs = [(user, item) for user in by_user for item in by_user[user].tolist()]
    assert some.tolist() == [(*pair, True) in {(u, i, bool(liked)) for u, i, liked in events} for pair in pairs]


# ---- integers without hashes


@given(
    st.lists(st.integers(-100, 100), max_size=30),
    st.sampled_from([1, 3, 2**54]),
    st.sampled_from([0, -(2**62), 2**62]),
    st.sampled_from([np.int64, np.int8]),
)
@example([-1, 1] * 3, 2**62, 0, np.int64)
@example([-100, 100] * 200, 1, 0, np.int8)
def test_integers_are_factorized_as_pandas_does(values, step, offset, dtype):
    numbers = np.array([value * step + offset for value in values] if dtype == np.int64 else values, dtype)
    expected, uniques = pd.factorize(numbers)
    codes, found = factorize(pd.Series(numbers), "c")
    assert codes.tolist() == expected.tolist()
    assert found.tolist() == uniques.tolist()
    assert (codes.dtype, found.dtype) == (np.int64, np.int64)


@pytest.mark.parametrize("n", [2**16 - 1, 2**16, 2**16 + 1, 3 * 2**16 + 5])
def test_integers_of_several_blocks_are_factorized_as_pandas_does(n):
    numbers = np.random.default_rng(n).integers(-(n // 3), n // 3, n)
    expected, uniques = pd.factorize(numbers)
    codes, found = factorize(pd.Series(numbers), "c")
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_array_equal(found, uniques)


@pytest.mark.parametrize("value", [True, np.bool_(False)])
def test_a_boolean_among_other_objects_is_found(value):
    for others in ([1, 2], ["a", None], [None, 1.5], []):
        with pytest.raises(ValueError, match="column 'c' holds booleans"):
            factorize(pd.Series([*others, value], dtype=object), "c", ids=True)


# ---- through the front door


def test_of_zeros_of_both_signs_the_latest_is_current():
    frame = pd.DataFrame({"user": [1, 1, 2, 2], "item": 1, "label": 1, "age": [0.0, -0.0, -0.0, 0.0]})
    frame["time"] = [2, 1, 2, 1]
    _, info = DatasetFeat.build_trainset(frame, user_col=["age"], dense_col=["age"], dense_scaling="none")
    assert torch.signbit(info.users.rows.dense[1:, 0]).tolist() == [False, True]
    assert len(info.users.rows) == 3


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_encoded_times_do_not_change_with_the_frame(dtype):
    frame = pd.DataFrame({"user": [1, 2], "item": [1, 2], "label": 1, "time": np.array([5, 6], dtype)})
    data, _ = DatasetFeat.build_trainset(frame)
    assert not np.shares_memory(data.times, frame["time"].to_numpy())


COLUMNS = {
    "text": pd.Series(["a", None, "b", "a"] * 5, dtype="string"),
    "text that never recurs": pd.Series([f"t{i}" for i in range(20)], dtype="string"),
    "plain text": pd.Series(["a", None, "b", "a"] * 5),
    "text as objects": pd.Series(["a", None, "b", "a"] * 5, dtype=object),
    "only text as objects": pd.Series(["a", "b"] * 10, dtype=object),
    "objects": pd.Series([1, "1", None, 1.5, ["x"]] * 4, dtype=object),
    "nullable": pd.Series([1, None] * 10, dtype="Int64"),
    "category": pd.Series(["x", "y"] * 10, dtype="category"),
    "moments": pd.date_range("2020-01-01", periods=20, tz="Europe/Paris").to_series(index=range(20)),
    "dates": pd.date_range("2020-01-01", periods=20).to_series(index=range(20)),
    "numbers": pd.Series(np.linspace(0, 1, 20), dtype=np.float32),
    3: pd.Series([True, False] * 10),
}


@pytest.mark.parametrize("index", [range(20), [f"row {i}" for i in range(20)], [7] * 20])
def test_parts_are_what_pandas_takes_whatever_the_columns_hold(index):
    frame = pd.DataFrame({"user": [1, 2] * 10, "item": [1, 1, 2, 2] * 5, **COLUMNS}).set_axis(list(index), axis=0)
    frame.attrs = {"from": "here"}
    frame.columns.name = "of"
    before = frame.copy()
    order = np.random.default_rng(3).permutation(20)
    for part, rows in zip(random_split(frame, test_size=0.25, seed=3), (order[:15], order[15:]), strict=True):
        pd.testing.assert_frame_equal(part, frame.iloc[rows])
        assert part.attrs == frame.attrs
        assert list(part.dtypes) == list(frame.dtypes)
    pd.testing.assert_frame_equal(frame, before)


def test_parts_keep_the_class_of_the_frame():
    class Mine(pd.DataFrame):
        @property
        def _constructor(self):
            return Mine

    assert all(type(part) is Mine for part in random_split(Mine({"user": [1] * 4, "item": [1] * 4}), test_size=0.5))
