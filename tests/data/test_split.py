from __future__ import annotations

import math
import warnings

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recolib.data.split import (
    random_split,
    split_by_num,
    split_by_num_chrono,
    split_by_ratio,
    split_by_ratio_chrono,
)
from recolib.exceptions import LeftOutRowsWarning

SPLITS = [random_split, split_by_ratio, split_by_num, split_by_ratio_chrono, split_by_num_chrono]
RATIO_SPLITS = [random_split, split_by_ratio, split_by_ratio_chrono]
NUM_SPLITS = [split_by_num, split_by_num_chrono]
USER_SPLITS = [split_by_ratio, split_by_num]
CHRONO_SPLITS = [split_by_ratio_chrono, split_by_num_chrono]


@pytest.fixture
def twelve():
    """Twelve rows: user 4617 has four of them, nobody else has more than two."""
    return pd.DataFrame(
        {
            "user": [4617, 4617, 4617, 1298, 4585, 3706, 2137, 4617, 1298, 4585, 263, 5184],
            "item": [296, 296, 296, 208, 1769, 1136, 1215, 208, 1769, 208, 1136, 1215],
            "label": [2, 2, 2, 4, 4, 5, 3, 4, 3, 4, 2, 5],
            "time": [
                *(964138229, 964138221, 964138222, 974849526, 964322774, 966376465),
                *(974640099, 974170662, 977854274, 974607346, 976651827, 961735308),
            ],
        }
    )


def make_log(n_rows=400, n_users=20, n_items=15, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "user": rng.integers(0, n_users, n_rows) * 3 + 1,
            "item": rng.integers(0, n_items, n_rows) * 7,
            "label": rng.random(n_rows),
            "time": rng.integers(0, n_rows // 4, n_rows),  # ties
        },
        index=rng.permutation(n_rows) + 1000,
    )


def arguments(split, **others):
    return ({"test_size": 2} if split in NUM_SPLITS else {"test_size": 0.3}) | others


def rows_of(parts):
    """The index labels of each part."""
    return [part.index.tolist() for part in parts]


# slow and plain versions to compare with


def cut_each_user(data, cut):
    """Index labels of each part; ``cut`` gives where the later parts of a user with n > 3 rows begin."""
    parts: list[list[int]] = []
    for user in sorted(data["user"].unique()):
        labels = data.index[data["user"] == user].tolist()
        n = len(labels)
        bounds = [0, *(cut(n) if n > 3 else [n] * len(cut(4))), n]
        parts = parts or [[] for _ in bounds[1:]]
        for part, start, stop in zip(parts, bounds, bounds[1:], strict=False):
            part += labels[start:stop]
    return parts


def drop_unknown(data, parts):
    first = data.loc[parts[0]]
    users, items = set(first["user"]), set(first["item"])
    known = {label for label, row in data.iterrows() if row["user"] in users and row["item"] in items}
    return [parts[0], *([label for label in part if label in known] for part in parts[1:])]


def last_of(size):
    return lambda n: [n - 1 if n <= size else n - size]


RATIOS = [(0.5, 0.5), (0.8, 0.2), (0.9, 0.1), (0.6, 0.2, 0.2), (0.25, 0.25, 0.25, 0.25)]


@pytest.mark.parametrize("ratios", RATIOS)
@pytest.mark.parametrize("seed", range(3))
def test_split_by_ratio_equals_a_loop_over_users(ratios, seed):
    data = make_log(n_users=40, seed=seed)
    sums = np.cumsum(ratios)[:-1].tolist()
    expected = cut_each_user(data, lambda n: [round(total * n) for total in sums])
    assert rows_of(split_by_ratio(data, multi_ratios=ratios, filter_unknown=False)) == expected
    assert rows_of(split_by_ratio(data, multi_ratios=ratios)) == drop_unknown(data, expected)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 30])
def test_split_by_num_equals_a_loop_over_users(size):
    data = make_log(n_users=60)
    expected = cut_each_user(data, last_of(size))
    assert rows_of(split_by_num(data, test_size=size, filter_unknown=False)) == expected
    assert rows_of(split_by_num(data, test_size=size)) == drop_unknown(data, expected)


@pytest.mark.parametrize("seed", range(3))
def test_chronological_splits_equal_a_loop_over_users_after_a_stable_sort(seed):
    data = make_log(seed=seed)
    by_time = data.sort_values("time", kind="stable")
    expected = cut_each_user(by_time, lambda n: [round(0.7 * n)])
    assert rows_of(split_by_ratio_chrono(data, test_size=0.3)) == drop_unknown(by_time, expected)
    expected = cut_each_user(by_time, last_of(3))
    assert rows_of(split_by_num_chrono(data, test_size=3)) == drop_unknown(by_time, expected)


@pytest.mark.parametrize("ratios", RATIOS)
@pytest.mark.parametrize("n_rows", [8, 9, 50, 101])
def test_random_split_has_the_sizes_of_scikit_learn(ratios, n_rows):
    from sklearn.model_selection import train_test_split

    rest, shares, expected = np.arange(n_rows), list(ratios), []
    while len(shares) > 1:
        rest, part = train_test_split(rest, test_size=shares.pop(), shuffle=False)
        expected.insert(0, part.tolist())
        shares = [share / math.fsum(shares) for share in shares]
    expected.insert(0, rest.tolist())
    data = make_log(n_rows).reset_index(drop=True)
    parts = random_split(data, multi_ratios=ratios, shuffle=False, filter_unknown=False)
    assert rows_of(parts) == expected
    shuffled = random_split(data, multi_ratios=ratios, filter_unknown=False)
    assert [len(part) for part in shuffled] == [len(part) for part in expected]


def test_twelve_rows_are_split_as_by_librecommender(twelve):
    assert [len(part) for part in split_by_ratio(twelve, test_size=0.5)] == [10, 2]
    assert [len(part) for part in split_by_num(twelve, test_size=1)] == [11, 1]
    assert [len(part) for part in split_by_ratio_chrono(twelve, test_size=0.5)] == [10, 2]
    assert [len(part) for part in split_by_num_chrono(twelve, test_size=1)] == [11, 1]
    assert len(random_split(twelve, multi_ratios=[0.8, 0.1, 0.1])) == 3
    assert [len(part) for part in random_split(twelve, test_size=0.5, shuffle=False)] == [6, 3]


def test_shuffled_parts_of_twelve_rows_keep_their_sizes(twelve):
    options = {"shuffle": True, "filter_unknown": False, "pad_unknown": True, "pad_val": 0}
    assert [len(part) for part in split_by_ratio(twelve, test_size=0.5, **options)] == [10, 2]
    assert [len(part) for part in split_by_num(twelve, test_size=1, **options)] == [11, 1]


@pytest.mark.parametrize(("pad_val", "user", "item"), [(0, 0, 0), ([-1, -2], -1, -2), ((-1, 0), -1, 0)])
def test_unknown_ids_of_twelve_rows_become_the_pad_value(twelve, pad_val, user, item):
    first, second = random_split(
        twelve, test_size=0.5, shuffle=False, filter_unknown=False, pad_unknown=True, pad_val=pad_val
    )
    assert first.equals(twelve.iloc[:6])
    assert second["user"].tolist() == [user, 4617, 1298, 4585, user, user]
    assert second["item"].tolist() == [item, 208, 1769, 208, 1136, item]
    assert second["label"].tolist() == twelve["label"].tolist()[6:]


def test_pad_value_of_text_replaces_unknown_text(twelve):
    data = twelve.assign(user="u" + twelve["user"].astype(str), item="i" + twelve["item"].astype(str))
    options = {"test_size": 0.5, "shuffle": False, "filter_unknown": False, "pad_unknown": True}
    for frame in (data, pl.from_pandas(data), pa.Table.from_pandas(data)):
        second = nw.from_native(random_split(frame, **options, pad_val="?")[1], eager_only=True)
        assert second["user"].to_list() == ["?", "u4617", "u1298", "u4585", "?", "?"]


def test_padding_is_left_out_when_unknown_rows_are_dropped_or_kept(twelve):
    dropped = random_split(twelve, test_size=0.5, shuffle=False, pad_unknown=True, pad_val=0)
    kept = random_split(twelve, test_size=0.5, shuffle=False, filter_unknown=False, pad_val=0)
    assert [len(dropped[1]), len(kept[1])] == [3, 6]
    assert dropped[1]["user"].min() > 0
    assert kept[1].equals(twelve.iloc[6:])


def test_users_with_three_rows_stay_whole_in_the_first_part():
    data = pd.DataFrame({"user": [1] * 3 + [2] * 4, "item": 5, "time": range(7)})
    assert rows_of(split_by_ratio(data, test_size=0.5)) == [[0, 1, 2, 3, 4], [5, 6]]
    assert rows_of(split_by_num_chrono(data, test_size=3)) == [[0, 1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(("size", "n_taken"), [(1, 1), (3, 3), (4, 4), (5, 1), (6, 1)])
def test_user_with_no_more_rows_than_wanted_gives_the_last_one_only(size, n_taken):
    data = pd.DataFrame({"user": [1] * 5 + [2, 2], "item": 5})
    first, second = split_by_num(data, test_size=size)
    assert second.index.tolist() == list(range(5 - n_taken, 5))
    assert len(first) + len(second) == 7


def test_cut_points_round_half_to_even():
    data = pd.DataFrame({"user": [1] * 5 + [2] * 7, "item": 5})
    assert rows_of(split_by_ratio(data, test_size=0.5))[0] == [0, 1, *range(5, 9)]  # 2.5 -> 2, 3.5 -> 4


def test_parts_stand_user_by_user_sorted_by_id():
    data = make_log(n_users=5)
    for ids in (data["user"], data["user"].astype(str), data["user"].astype("category"), data["user"].astype("Int32")):
        for part in split_by_ratio(data.assign(user=ids), test_size=0.3):
            assert part["user"].drop_duplicates().tolist() == sorted(set(ids))


def test_users_of_mixed_types_stand_in_order_of_appearance():
    data = pd.DataFrame({"user": pd.Series(["b", 2, "a", 1, "1"] * 4, dtype=object), "item": 5})
    first, second = split_by_num(data)
    assert first["user"].drop_duplicates().tolist() == ["b", 2, "a", 1, "1"]
    assert second["user"].tolist() == ["b", 2, "a", 1, "1"]


@st.composite
def logs(draw):
    n_rows = draw(st.integers(2, 40))
    column = lambda most: draw(st.lists(st.integers(0, most), min_size=n_rows, max_size=n_rows))  # noqa: E731
    return pd.DataFrame({"user": column(5), "item": column(9), "time": column(20)})


@settings(deadline=None, max_examples=80)
@given(
    data=logs(),
    split=st.sampled_from([random_split, *USER_SPLITS]),
    ratios=st.lists(st.floats(0.05, 1), min_size=2, max_size=5),
    size=st.integers(1, 6),
    order=st.booleans(),
    shuffle=st.booleans(),
)
def test_parts_are_disjoint_and_together_the_data(data, split, ratios, size, order, shuffle):
    options = {"shuffle": shuffle, "filter_unknown": False}
    options |= {} if split is random_split else {"order": order}
    options |= {"test_size": min(size, len(data) - 1)} if split is split_by_num else {"multi_ratios": [4, *ratios]}
    try:
        parts = split(data, **options)
    except ValueError as error:
        assert "left for the first part" in str(error)  # noqa: PT017
        return
    assert len(parts) == (2 if split is split_by_num else len(ratios) + 1)
    joined = pd.concat(parts)
    assert joined.index.is_unique
    assert joined.sort_index().equals(data)


@settings(deadline=None, max_examples=50)
@given(data=logs(), split=st.sampled_from(SPLITS))
def test_later_parts_hold_known_users_and_items_only(data, split):
    try:
        first, *later = split(data, **({"test_size": 1} if split in NUM_SPLITS else {"multi_ratios": [4, 1, 1]}))
    except ValueError as error:
        assert "left for the first part" in str(error)  # noqa: PT017
        return
    for part in later:
        assert set(part["user"]) <= set(first["user"])
        assert set(part["item"]) <= set(first["item"])


@settings(deadline=None, max_examples=50)
@given(data=logs(), split=st.sampled_from(CHRONO_SPLITS), order=st.booleans())
def test_no_later_row_of_a_user_is_earlier_than_one_in_the_first_part(data, split, order):
    first, second = split(data, order=order, **({"test_size": 1} if split in NUM_SPLITS else {"test_size": 0.3}))
    latest = first.groupby("user")["time"].max()
    assert (second["time"].to_numpy() >= latest[second["user"]].to_numpy()).all()


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("shuffle", [False, True])
def test_pandas_polars_and_pyarrow_are_split_alike(split, shuffle):
    data = make_log().reset_index(drop=True)
    expected = split(data, **arguments(split, shuffle=shuffle))
    for native, kind in ((pl.from_pandas(data), pl.DataFrame), (pa.Table.from_pandas(data), pa.Table)):
        parts = split(native, **arguments(split, shuffle=shuffle))
        assert isinstance(parts, list)
        assert all(isinstance(part, kind) for part in parts)
        for part, other in zip(parts, expected, strict=True):
            assert part.to_pandas().equals(other.reset_index(drop=True))


@pytest.mark.parametrize("split", SPLITS)
def test_index_labels_columns_and_types_are_kept(split):
    data = make_log().assign(extra=pd.Categorical(["x", "y"] * 200), when=pd.Timestamp("2001-01-01"))
    for part in split(data, **arguments(split)):
        assert part.equals(data.loc[part.index])
        assert part.dtypes.equals(data.dtypes)


@pytest.mark.parametrize("split", SPLITS)
def test_labels_that_repeat_are_no_obstacle(split):
    data = make_log()
    parts, again = split(data, **arguments(split)), split(data.set_index(np.zeros(len(data))), **arguments(split))
    for part, other in zip(parts, again, strict=True):
        assert (part.to_numpy() == other.to_numpy()).all()


@pytest.mark.parametrize("split", SPLITS)
def test_input_is_not_changed(split):
    data = make_log()
    before = data.copy(deep=True)
    first, *_ = split(data, **arguments(split))
    first["label"] = -1.0
    first.loc[:, "item"] = 0
    assert data.equals(before)


@pytest.mark.parametrize("split", [random_split, *USER_SPLITS])
def test_padding_does_not_change_the_input(split):
    data = make_log(60, n_users=4, n_items=500)
    before = data.copy(deep=True)
    _, second = split(data, **arguments(split, filter_unknown=False, pad_unknown=True, pad_val=-5))
    assert (second["item"] == -5).any()
    assert second["item"].dtype == data["item"].dtype
    assert data.equals(before)


def test_list_of_ratios_is_not_changed():
    ratios = [0.8, 0.1, 0.1]
    random_split(make_log(), multi_ratios=ratios)
    assert ratios == [0.8, 0.1, 0.1]


def test_ratios_are_divided_by_their_sum():
    data = make_log()
    for split in RATIO_SPLITS:
        assert rows_of(split(data, multi_ratios=[8, 1, 1])) == rows_of(split(data, multi_ratios=(0.8, 0.1, 0.1)))
        assert rows_of(split(data, multi_ratios=np.array([3, 1]))) == rows_of(split(data, test_size=0.25))


def test_test_size_goes_before_ratios():
    data = make_log()
    for split in RATIO_SPLITS:
        assert rows_of(split(data, test_size=0.2, multi_ratios=[1, 1, 1])) == rows_of(split(data, test_size=0.2))


@pytest.mark.parametrize("split", SPLITS)
def test_same_seed_gives_the_same_shuffle_and_another_seed_another(split):
    data = make_log()
    one, two, three = (rows_of(split(data, **arguments(split, shuffle=True, seed=seed))) for seed in (1, 1, 2))
    assert one == two
    assert one != three


@pytest.mark.parametrize("split", [*USER_SPLITS, *CHRONO_SPLITS])
def test_shuffling_changes_the_order_within_parts_only(split):
    data = make_log()
    plain, shuffled = split(data, **arguments(split)), split(data, **arguments(split, shuffle=True))
    assert rows_of(plain) != rows_of(shuffled)
    assert [sorted(part) for part in rows_of(plain)] == [sorted(part) for part in rows_of(shuffled)]


@pytest.mark.parametrize("split", USER_SPLITS)
def test_without_order_as_many_rows_of_each_user_are_drawn_at_random(split):
    data = make_log()
    drawn = split(data, **arguments(split, order=False, filter_unknown=False))
    last = split(data, **arguments(split, filter_unknown=False))
    other = split(data, **arguments(split, order=False, filter_unknown=False, seed=1))
    assert drawn[1]["user"].value_counts().sort_index().equals(last[1]["user"].value_counts().sort_index())
    assert len({frozenset(parts[1].index) for parts in (drawn, last, other)}) == 3


@pytest.mark.parametrize("split", CHRONO_SPLITS)
def test_chronological_cut_is_by_time_with_or_without_order(split):
    data = make_log()
    assert rows_of(split(data, **arguments(split, order=False))) == rows_of(split(data, **arguments(split)))


@pytest.mark.parametrize(
    "convert",
    [
        lambda time: pd.to_datetime(time, unit="D"),
        lambda time: pd.to_datetime(time, unit="D", utc=True),
        lambda time: pd.to_datetime(time, unit="D").dt.strftime("%Y-%m-%d"),
        lambda time: time.astype("Int64"),
        lambda time: time / 8,
    ],
)
def test_time_may_be_numbers_dates_or_texts_that_sort(convert):
    data = make_log()
    expected = rows_of(split_by_num_chrono(data, test_size=2))
    assert rows_of(split_by_num_chrono(data.assign(time=convert(data["time"])), test_size=2)) == expected


def test_polars_dates_sort():
    data = make_log().reset_index(drop=True)
    dated = pl.from_pandas(data).with_columns(pl.from_epoch("time", time_unit="d"))
    expected = split_by_num_chrono(data, test_size=2)[1]
    assert split_by_num_chrono(dated, test_size=2)[1]["label"].to_list() == expected["label"].tolist()


def test_whole_floats_as_ids_are_split_without_a_warning():
    data = make_log()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = split_by_ratio(data.astype({"user": float}), test_size=0.3)
    assert rows_of(parts) == rows_of(split_by_ratio(data, test_size=0.3))


@pytest.mark.parametrize("split", RATIO_SPLITS)
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "neither test_size nor multi_ratios is given"),
        ({"test_size": 0}, ValueError, "test_size must be a share between 0 and 1, got 0"),
        ({"test_size": 1}, ValueError, "test_size must be a share between 0 and 1, got 1"),
        ({"test_size": -0.1}, ValueError, "between 0 and 1, got -0.1"),
        ({"test_size": math.nan}, ValueError, "between 0 and 1, got nan"),
        ({"test_size": "0.2"}, TypeError, "test_size must be given as numbers, got '0.2'"),
        ({"test_size": True}, TypeError, "test_size must be given as numbers, got True"),
        ({"multi_ratios": "0.8"}, TypeError, "multi_ratios must be a list of numbers, got '0.8'"),
        ({"multi_ratios": 0.8}, TypeError, "multi_ratios must be a list of numbers, got 0.8"),
        ({"multi_ratios": [0.8, "0.2"]}, TypeError, "multi_ratios must be given as numbers, got '0.2'"),
        ({"multi_ratios": []}, ValueError, "at least two parts, got \\[\\]"),
        ({"multi_ratios": [1.0]}, ValueError, "at least two parts, got \\[1.0\\]"),
        ({"multi_ratios": [0.8, 0.2, 0]}, ValueError, "must all be above 0"),
        ({"multi_ratios": [0.8, math.inf]}, ValueError, "must all be above 0 and finite"),
    ],
)
def test_wrong_shares_are_refused(split, options, error, message):
    with pytest.raises(error, match=message):
        split(make_log(), **options)


@pytest.mark.parametrize("split", NUM_SPLITS)
@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (0, ValueError, "test_size must be at least 1, got 0"),
        (-1, ValueError, "test_size must be at least 1, got -1"),
        (400, ValueError, "test_size must be below the number of rows, 400, got 400"),
        (0.2, TypeError, "test_size must be an int, the number of rows of each user, got 0.2"),
        (True, TypeError, "test_size must be an int"),
    ],
)
def test_wrong_numbers_are_refused(split, size, error, message):
    with pytest.raises(error, match=message):
        split(make_log(), test_size=size)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", ["user", "item", "time"])
def test_absent_columns_and_missing_values_are_refused(split, name):
    if name == "time" and split not in CHRONO_SPLITS:
        return
    data = make_log()
    with pytest.raises(ValueError, match=f"columns \\['{name}'\\] are not in data"):
        split(data.drop(columns=name), **arguments(split))
    holes = data.astype({name: object})
    holes.iloc[[3, 5], holes.columns.get_loc(name)] = None
    for hollow in (holes, holes.astype({name: float}), pl.from_pandas(holes.astype({name: "Int64"}))):
        with pytest.raises(ValueError, match=f"column '{name}' has 2 missing values"):
            split(hollow, **arguments(split))


def test_what_is_no_frame_is_refused():
    with pytest.raises(ValueError, match="data must be a pandas, polars or pyarrow frame, got list"):
        random_split([1, 2], test_size=0.5)
    with pytest.raises(ValueError, match="data has no rows"):
        random_split(make_log().iloc[:0], test_size=0.5)


def test_times_that_cannot_be_compared_are_refused():
    data = make_log().astype({"time": object})
    data.iloc[0, data.columns.get_loc("time")] = "yesterday"
    with pytest.raises(ValueError, match="column 'time' must hold numbers or dates, found text such as 'yesterday'"):
        split_by_num_chrono(data)


def test_empty_first_part_is_refused():
    data = pd.DataFrame({"user": [1] * 4, "item": 5, "time": 0})
    with pytest.raises(ValueError, match="no row of 4 is left for the first part: give it a larger share"):
        split_by_ratio(data, test_size=0.95)
    with pytest.raises(ValueError, match="no row of 4 is left for the first part"):
        random_split(data, test_size=0.95)
    with pytest.raises(ValueError, match="no row of 1 is left for the first part"):
        random_split(data.iloc[:1], multi_ratios=[8, 1, 1])


@pytest.mark.parametrize("library", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
@pytest.mark.parametrize(
    ("pad_val", "message"),
    [
        (None, "pad_unknown=True needs a pad_val"),
        ([1, 2, 3], "pad_val must be one value or a pair for users and items, got \\[1, 2, 3\\]"),
        (0.5, "pad_val must be an int or a str like the ids, got 0.5"),
        ((0, True), "pad_val must be an int or a str like the ids, got True"),
        ("none", "pad_val='none' does not fit column 'user', which is Int16: pass a value of type int"),
        ((1, 2), "pad_val=2 does not fit column 'item', which is String: pass a value of type str"),
        ((2**40, "none"), f"pad_val={2**40} does not fit column 'user'"),
    ],
)
def test_pad_values_that_do_not_fit_are_refused(library, pad_val, message):
    data = make_log(60, n_users=4, n_items=50).sort_values("user").astype({"user": "int16", "item": str})
    with pytest.raises(ValueError, match=message):
        random_split(
            library(data), test_size=0.5, shuffle=False, filter_unknown=False, pad_unknown=True, pad_val=pad_val
        )


@pytest.mark.parametrize("carry", [lambda data: data, pl.from_pandas, pa.Table.from_pandas])
@pytest.mark.parametrize("split", SPLITS)
def test_rows_that_are_left_out_are_told_of_in_one_line_with_the_counts(split, carry):
    data = make_log(n_rows=300, n_users=150, n_items=100)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = split(carry(data), **arguments(split))
    n_left_out = len(data) - sum(len(part) for part in parts)
    assert n_left_out > 0
    told = [str(one.message) for one in caught if one.category is LeftOutRowsWarning]
    assert len(told) == 1
    kept = len(parts[1])
    assert told[0].startswith(f"{n_left_out} of {n_left_out + kept} rows are left out of the later parts: ")


def test_the_counts_are_of_users_and_items_that_the_first_part_lacks():
    data = pd.DataFrame({"user": [1, 1, 2, 3, 1, 4], "item": [7, 8, 7, 7, 9, 9]})
    told = "3 of 3 rows are left out of the later parts: 2 have a user and 2 an item that is not in the first part"
    with pytest.warns(LeftOutRowsWarning, match=told):
        random_split(data, multi_ratios=[3, 1, 2], shuffle=False)
    with warnings.catch_warnings(action="error"):
        random_split(data, multi_ratios=[3, 1, 2], shuffle=False, filter_unknown=False)
        random_split(data, test_size=0.5, filter_unknown=False, pad_unknown=True, pad_val=0)
        split_by_num(pd.DataFrame({"user": [1] * 5, "item": [7] * 5}))
