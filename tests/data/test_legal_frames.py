from __future__ import annotations

import datetime as dt
import tracemalloc
import unicodedata
import warnings
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from worlds import HASHES_NUL, PANDAS

from recolib.algorithms import FM
from recolib.data import DatasetFeat, DatasetPure, Interactions
from recolib.data.kinds import multi_sparse
from recolib.data.rows import ABSENT, UNKNOWN
from recolib.exceptions import LongListWarning, MixedTypesWarning, NoLabelWarning, OutOfRangeWarning

LONG = "x" * 10_000
COMPOSED, DECOMPOSED = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")


def objects(*values: object) -> pd.Series:
    return pd.Series(values, dtype=object)


def log(users: object, **columns: object) -> pd.DataFrame:
    """One event for each of ``users``, with an item of its own."""
    frame = pd.DataFrame({"user": users})
    return frame.assign(item=np.arange(len(frame)) + 100, label=1.0).assign(**columns)


def dense_of(frame: object, **settings: Any) -> list[float]:
    """The number of each event of a frame with the user column ``age``."""
    data, info = DatasetFeat.build_trainset(frame, user_col=["age"], dense_col=["age"], **settings)
    return info.users.rows.dense[:, 0].numpy()[data.user_rows].tolist()


def slots_of(frame: object, name: str = "tags", **settings: Any) -> list[list[object]]:
    """The values of each item's slots, with None for an empty slot and "?" for an unknown value."""
    group = settings.pop("group", name)
    columns = [name] if group == name else list(group)
    info = DatasetFeat.build_trainset(frame, item_col=columns, multi_sparse_col=[group], **settings)[1]
    field = next(field for field in info.schema.codes("item") if field.name == name)
    return readable(info.items.current.codes[1:, info.schema.span(field)], info.vocabs[name])


def readable(codes: Any, vocab: Any) -> list[list[object]]:
    names = {ABSENT: None, UNKNOWN: "?"} | dict(enumerate(vocab.values.tolist(), start=1))
    return [[names[code] for code in row] for row in codes.tolist()]


# (what is odd, the frame's users, the ids that come back, in the order of their codes)
IDS: list[tuple[str, Callable[[], object], list[int | str]]] = [
    ("integers out of order", lambda: [30, 10, 20, 10], [10, 20, 30]),
    ("negative integers", lambda: [5, -7, 0, -7], [-7, 0, 5]),
    ("the ends of 64 bits", lambda: [2**63 - 1, -(2**63), 2**63 - 2], [-(2**63), 2**63 - 2, 2**63 - 1]),
    ("the ends of 64 bits among text", lambda: objects(2**63 - 1, "a", -(2**63)), [-(2**63), 2**63 - 1, "a"]),
    ("unsigned integers", lambda: np.array([2**63 - 1, 7], np.uint64), [7, 2**63 - 1]),
    ("uint8", lambda: np.array([255, 0, 3], np.uint8), [0, 3, 255]),
    ("int8", lambda: np.array([127, -128, 3], np.int8), [-128, 3, 127]),
    ("integers among text", lambda: objects("b", 2, "a", 10, 1), [1, 2, 10, "a", "b"]),
    ("1 beside its numeral", lambda: objects("1", 1, "1", 1), [1, "1"]),
    ("numerals", lambda: ["10", "9", "010", "1e1"], ["010", "10", "1e1", "9"]),
    ("empty and blank text", lambda: ["", " ", "a", "a "], ["", " ", "a", "a "]),
    *([("NUL within text", lambda: ["a", "a\x00", "a\x00b"], ["a", "a\x00", "a\x00b"])] if HASHES_NUL else []),
    ("words that look like missing values", lambda: ["nan", "None", "NA", ""], ["", "NA", "None", "nan"]),
    ("composed and combining accents", lambda: [COMPOSED, DECOMPOSED, "e"], ["e", DECOMPOSED, COMPOSED]),
    ("letters beyond 16 bits", lambda: ["🎬", "z", "日本"], ["z", "日本", "🎬"]),
    ("an id of 10,000 letters", lambda: ["y", LONG], [LONG, "y"]),
    ("integers of Python as objects", lambda: objects(3, 1, 2), [1, 2, 3]),
    ("integers of numpy as objects", lambda: objects(np.int64(3), np.uint8(1), 2), [1, 2, 3]),
    ("strings of numpy as objects", lambda: objects(np.str_("b"), "a", np.str_("a")), ["a", "b"]),
    ("categories of text, one unused", lambda: pd.Categorical(["b", "a", "b"], ["z", "b", "a"]), ["a", "b"]),
    ("categories of integers", lambda: pd.Categorical([3, 1, 3]), [1, 3]),
    ("categories of both kinds", lambda: pd.Categorical(objects(3, "a", 3)), [3, "a"]),
    ("nullable integers", lambda: pd.array([3, 2**60 + 1], "Int64"), [3, 2**60 + 1]),
    ("nullable unsigned integers", lambda: pd.array([3, 1], "UInt8"), [1, 3]),
    ("string[python]", lambda: pd.array(["b", "a"], "string[python]"), ["a", "b"]),
    ("string[pyarrow]", lambda: pd.array(["b", "a"], "string[pyarrow]"), ["a", "b"]),
    ("Arrow strings", lambda: pd.array(["b", "a"], pd.ArrowDtype(pa.string())), ["a", "b"]),
    ("Arrow large strings", lambda: pd.array(["b", "a"], pd.ArrowDtype(pa.large_string())), ["a", "b"]),
    ("Arrow integers", lambda: pd.array([2**60 + 1, -3], pd.ArrowDtype(pa.int64())), [-3, 2**60 + 1]),
    ("sparse integers", lambda: pd.arrays.SparseArray([0, 5, 0]), [0, 5]),
]

# (what is odd, the frame), all of them with the users 3, 1, 3
WHOLE_FLOATS: list[tuple[str, Callable[[], object]]] = [
    ("floats", lambda: log([3.0, 1.0, 3.0])),
    ("floats of 32 bits", lambda: log(np.array([3, 1, 3], np.float32))),
    ("floats as objects", lambda: log(objects(3.0, 1, 3))),
    ("categories of floats", lambda: log(pd.Categorical([3.0, 1.0, 3.0]))),
    ("nullable floats", lambda: log(pd.array([3.0, 1.0, 3.0], "Float64"))),
    ("Arrow floats", lambda: log(pd.array([3.0, 1.0, 3.0], pd.ArrowDtype(pa.float64())))),
    ("floats in polars", lambda: pl.from_pandas(log([3.0, 1.0, 3.0]))),
    ("floats in Arrow", lambda: pa.Table.from_pandas(log([3.0, 1.0, 3.0]))),
]


def named(table: list[Any]) -> list[Any]:
    return [pytest.param(*rest, id=name.replace(" ", "_")) for name, *rest in table]


@pytest.mark.parametrize(("build", "expected"), named(IDS))
def test_odd_ids_come_back_as_they_were(build, expected):
    frame = log(build())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("default" if len({*map(type, expected)}) > 1 else "error", MixedTypesWarning)
        data, info = DatasetPure.build_trainset(frame)
    assert list(info.user2id) == expected
    assert [type(user) for user in info.user2id] == [type(user) for user in expected]
    given = [str(user) if isinstance(user, str) else int(user) for user in frame["user"]]
    assert [info.id2user[code] for code in data.user_indices.tolist()] == given
    assert [info.user2id[user] for user in given] == data.user_indices.tolist()
    assert DatasetPure.build_testset(frame).user_indices.tolist() == data.user_indices.tolist()


@pytest.mark.parametrize("build", named(WHOLE_FLOATS))
def test_whole_floats_are_integer_ids_with_a_warning(build):
    with pytest.warns(UserWarning, match="column 'user' holds whole numbers as floats: read as integers"):
        data, info = DatasetPure.build_trainset(build())
    assert list(info.user2id) == [1, 3]
    assert [type(user) for user in info.user2id] == [int, int]
    assert data.user_indices.tolist() == [2, 1, 2]


@pytest.mark.parametrize("build", named(WHOLE_FLOATS)[:1] + named(WHOLE_FLOATS)[-2:])
def test_the_warning_about_whole_floats_points_at_its_caller(build):
    frame = build()
    with pytest.warns(UserWarning, match="whole numbers as floats") as caught:
        DatasetPure.build_trainset(frame)
    assert caught[0].filename == __file__


def test_ids_of_one_type_do_not_match_those_of_the_other():
    _, info = DatasetPure.build_trainset(log([1, 2, 3]))
    assert DatasetPure.build_testset(log(["1", "2", "3"])).user_indices.tolist() == [0, 0, 0]
    assert DatasetPure.build_testset(log(objects("1", 2, "x"))).user_indices.tolist() == [0, 2, 0]
    assert "1" not in info.user2id
    DatasetPure.build_trainset(log(["1", "2", "3"]))
    assert DatasetPure.build_testset(log([1, 2, 3])).user_indices.tolist() == [0, 0, 0]


def test_ids_of_other_widths_are_the_same_ids():
    DatasetPure.build_trainset(log(np.array([1, 2, 3], np.int8)))
    for dtype in (np.uint8, np.int64, object, "Int32", "int16[pyarrow]", "category"):
        assert DatasetPure.build_testset(log(pd.Series([3, 2, 1]).astype(dtype))).user_indices.tolist() == [3, 2, 1]


def test_user_item_and_label_are_found_by_name_wherever_they_stand():
    frame = log([3, 1, 3], item=["b", "a", "a"], label=[1, 2, 3], note=["x", "y", "z"])
    data, info = DatasetPure.build_trainset(frame)
    moved, moved_info = DatasetPure.build_trainset(frame[["note", "label", "item", "user"]])
    assert info.fingerprint == moved_info.fingerprint
    for one, other in zip(data[:], moved[:], strict=True):
        assert one.tolist() == other.tolist()
    assert data.labels.tolist() == [1, 2, 3]


@pytest.mark.parametrize("index", [[7, 7, 7], ["c", "a", "b"], pd.date_range("2020", periods=3), [np.nan, 2, 1]])
def test_the_index_does_not_matter(index):
    frame = log([3, 1, 3], label=[1, 2, 3], age=[9.0, np.nan, 9.0], item=["a", "b", "c"], tags=[["p"], None, ["q"]])
    columns = {"user_col": ["age"], "dense_col": ["age"], "item_col": ["tags"], "multi_sparse_col": ["tags"]}
    data, info = DatasetFeat.build_trainset(frame, **columns)
    moved, moved_info = DatasetFeat.build_trainset(frame.set_axis(index), **columns)
    assert info.fingerprint == moved_info.fingerprint
    assert moved.labels.tolist() == data.labels.tolist()
    assert moved.user_rows.tolist() == data.user_rows.tolist()
    assert moved_info.items.rows.codes.tolist() == info.items.rows.codes.tolist()


def test_columns_that_nobody_named_may_hold_anything():
    frame = log([3, 1, 3], blob=objects(b"x", [1], None), when=pd.date_range("2020", periods=3))
    frame[7] = 1j
    assert DatasetPure.build_trainset(frame)[1].n_users == 2


def test_one_user_may_meet_one_item_twice():
    data, info = DatasetPure.build_trainset(log([8, 8, 8], item=5, label=[1, 2, 3]))
    assert len(data) == 3
    assert repr(info) == "n_users: 1, n_items: 1, data density: 100.0000 %"
    assert info.user_consumed[1].tolist() == [1]
    assert info.popularity.tolist() == [0, 1]
    assert data.sparse_interaction.toarray().tolist() == [[0, 0], [0, 3]]


def test_a_single_event_is_data():
    data, info = DatasetPure.build_trainset(log([8]))
    assert (len(data), info.n_users, info.n_items) == (1, 1, 1)


@pytest.mark.parametrize("label", [0, 1, -2.5])
def test_labels_may_all_be_equal(label):
    data, info = DatasetPure.build_trainset(log([1, 2, 3], label=label))
    assert data.labels.tolist() == [label] * 3
    assert info.min_max_rating == (label, label)
    assert info.global_mean == label


@pytest.mark.parametrize(
    "labels",
    [
        [5, 0, 3],
        [True, False, True],
        np.array([5, 0, 255], np.uint8),
        np.array([5, 0, -128], np.int8),
        pd.array([5, 0, 3], "Int64"),
        pd.array([0.5, 0, 3], "Float32"),
        pd.array([5, 0, 3], pd.ArrowDtype(pa.int16())),
        pd.Categorical([5, 0, 3]),
        [Decimal("0.5"), Decimal(0), Decimal(3)],
        objects(5, 0.5, np.float32(3)),
    ],
    ids=lambda labels: str(getattr(labels, "dtype", type(labels[0]).__name__)),
)
def test_numbers_of_any_dtype_are_labels(labels):
    data, _ = DatasetPure.build_trainset(log([1, 2, 3], label=labels))
    assert data.labels.dtype == np.float32
    assert data.labels.tolist() == [float(label) for label in labels]


@pytest.mark.parametrize(
    "values",
    [
        objects("b", None, "a"),
        objects("b", np.nan, "a"),
        objects("b", pd.NA, 1),
        objects(2, None, 1),
        [2.0, np.nan, 1.0],
        *([pd.array(["b", None, "a"], "str")] if PANDAS >= 3 else []),
        pd.array(["b", None, "a"], "string[pyarrow]"),
        pd.array(["b", None, "a"], pd.ArrowDtype(pa.string())),
        pd.array([2, None, 1], "Int64"),
        pd.array([2, None, 1], pd.ArrowDtype(pa.int8())),
        pd.Categorical(["b", None, "a"]),
    ],
    ids=lambda values: str(getattr(values, "dtype", "list")),
)
def test_a_missing_category_is_the_unknown_one(values):
    frame = log([1, 2, 3], sex=values)
    info = DatasetFeat.build_trainset(frame, user_col=["sex"], sparse_col=["sex"])[1]
    assert info.users.rows.codes[:, 1].tolist() == [0, 2, 0, 1]
    assert len(info.vocabs["sex"]) == 2
    assert set(map(type, info.vocabs["sex"].values.tolist())) <= {int, str}


def test_a_missing_category_of_an_event_is_the_unknown_one():
    data, _ = DatasetFeat.build_trainset(log([1, 1, 1], hour=[7, np.nan, 5]), context_col=["hour"], sparse_col=["hour"])
    assert data.context.codes.tolist() == [[2], [0], [1]]


@pytest.mark.parametrize(
    "ages",
    [
        [1.0, np.nan, 3.0],
        objects(1, None, 3),
        objects(Decimal(1), pd.NA, Decimal(3)),
        pd.array([1, None, 3], "Int64"),
        pd.array([1, None, 3], "Float32"),
        pd.array([1, None, 3], pd.ArrowDtype(pa.int8())),
        pd.array([1, None, 3], pd.ArrowDtype(pa.float64())),
        pd.Categorical([1, None, 3]),
    ],
    ids=lambda ages: str(getattr(ages, "dtype", "list")),
)
def test_a_missing_number_is_the_mean_whatever_the_scaling(ages):
    assert dense_of(log([1, 2, 3], age=ages)) == [-1, 0, 1]
    assert dense_of(log([1, 2, 3], age=ages), dense_scaling="none") == [1, 2, 3]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_small_integers_do_not_overflow(dtype):
    ages = np.array([0, 127, 127, 0], dtype)
    assert dense_of(log([1, 2, 3, 4], age=ages)) == [-1, 1, 1, -1]
    info = DatasetFeat.build_trainset(log([1, 2, 3, 4], age=ages), user_col=["age"], sparse_col=["age"])[1]
    assert info.vocabs["age"].values.tolist() == [0, 127]


def test_a_number_that_never_changes_becomes_zero():
    assert dense_of(log([1, 2, 3], age=7.0)) == [0, 0, 0]


@pytest.mark.parametrize("age", [0.1, 1_700_000_000.1])
def test_a_number_that_never_changes_becomes_zero_even_if_its_mean_is_rounded(age):
    frame = log(range(6), age=age)
    assert dense_of(frame) == [0] * 6
    new = DatasetFeat.build_testset(frame.assign(user=99, age=age + 1))
    assert new.users.rows.dense[new.user_rows, 0].tolist() == pytest.approx([1] * 6)


def test_tiny_numbers_stay_finite():
    assert np.isfinite(dense_of(log([1, 2], age=[1e-170, 0.0]))).all()


@pytest.mark.parametrize("scaling", ["standard", "none"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, object])
def test_a_number_far_outside_trainings_range_is_cut_with_a_warning_on_every_way_in(dtype, scaling):
    frame = log([1, 2, 3], age=[20.0, 30.0, 40.0], price=[1.0, 2.0, 3.0], hour=[1.0, 2.0, 3.0])
    columns = {
        "user_col": ["age"],
        "item_col": ["price"],
        "context_col": ["hour"],
        "dense_col": ["age", "price", "hour"],
    }
    info = DatasetFeat.build_trainset(frame, **columns, dense_scaling=scaling)[1]
    far = frame.assign(user=[1, 2, 9], item=["x", *frame["item"][1:]])
    far = far.assign(**{name: np.array([1e30, -1e30, 25.0], dtype) for name in ("age", "price", "hour")})
    limit = 1e6 if scaling == "standard" else 1e9
    for build in (DatasetFeat.merge_trainset, lambda frame, info: DatasetFeat.build_testset(frame, data_info=info)):
        with pytest.warns(OutOfRangeWarning) as caught:
            later = build(far, info)
        later = later if isinstance(later, Interactions) else later[0]
        assert later.context.dense[:2, 0].tolist() == [limit, -limit]
        assert later.items.rows.dense.abs().max() == limit
        assert "column 'hour' has 2 values far outside training's range, such as 1e+30 where the mean is 2: " in str(
            [str(one.message) for one in caught]
        )
    with pytest.warns(OutOfRangeWarning, match="column 'age' has 1 values"):
        info.assign_user_features(pd.DataFrame({"user": [1], "age": np.array([-1e30], dtype)}))
    assert info.users.current.dense.min() == -limit


def test_numbers_of_training_are_not_cut_however_rare():
    with warnings.catch_warnings(action="error"):
        ages = dense_of(log(range(100_000), age=[1e30] + [1.0] * 99_999))
        seconds = dense_of(log([1, 2], age=[1.7e9, 1.8e9]), dense_scaling="none")
    assert ages[0] == pytest.approx(99_999**0.5)
    assert seconds == pytest.approx([1.7e9, 1.8e9])


def test_lists_may_be_empty_missing_and_of_any_length():
    tags = objects(["a", "b", "c"], [], None, np.nan, ["c"], ("b", "a"), np.array(["a"]))
    assert slots_of(log(range(7), tags=tags)) == [
        ["a", "b", "c"],
        [None, None, None],
        [None, None, None],
        [None, None, None],
        ["c", None, None],
        ["b", "a", None],
        ["a", None, None],
    ]


def test_equal_sets_have_equal_slots():
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other)
    slots = slots_of(log([1, 2], tags=objects(one, other)))
    assert slots[0] == slots[1]


def test_a_missing_value_and_the_pad_of_a_list_are_empty_slots():
    tags = [["a", None], ["missing", "b"]]
    assert slots_of(log([1, 2], tags=tags)) == [["a", None], [None, "b"]]


def test_lists_may_hold_integers_and_text():
    assert slots_of(log([1, 2], tags=[["1", 1], [2]])) == [["1", 1], [2, None]]


def test_lists_longer_than_in_training_are_cut_with_a_warning():
    columns = {"item_col": ["tags"], "multi_sparse_col": ["tags"]}
    _, info = DatasetFeat.build_trainset(log([1, 2], tags=[["a", "b"], ["b"]]), **columns)
    later = log([1, 1, 1, 1], item=[7, 8, 9, 10], tags=[["b", "a", "b"], ["?", "a"], [], None])
    with pytest.warns(UserWarning, match="'tags' has 1 lists longer than in training: only 2 values each count"):
        data = DatasetFeat.build_testset(later)
    assert readable(data.items.rows.codes[data.item_rows, 1:], info.vocabs["tags"]) == [
        ["b", "a"],
        ["?", "a"],
        [None, None],
        ["?", None],
    ]


def long_lists(longest):
    """Many short lists and a long one."""
    return log(range(10_000), tags=[["a", "b"]] * 9_999 + [[f"t{n}" for n in range(longest)]])


def test_a_long_list_is_taken_whole_where_padding_is_cheap():
    columns = {"item_col": ["tags"], "multi_sparse_col": ["tags"]}
    with warnings.catch_warnings(action="error"):
        info = DatasetFeat.build_trainset(long_lists(2_000), **columns)[1]
    assert len(info.item_frame()["tags"].iloc[-1]) == 2_000


def test_a_list_that_would_make_all_rows_too_wide_is_cut_with_the_counts_and_the_argument_that_lifts_it():
    columns = {"item_col": ["tags"], "multi_sparse_col": ["tags"]}
    told = "column 'tags' has 1 of 10000 lists with more than 3355 values: .* 645 of 23998 values are cut.*_len=4000"
    with pytest.warns(LongListWarning, match=told) as caught:
        info = DatasetFeat.build_trainset(long_lists(4_000), **columns)[1]
    assert len(caught) == 1
    assert info.item_frame()["tags"].iloc[-1] == [f"t{n}" for n in range(3_355)]
    with warnings.catch_warnings(action="error"):
        info = DatasetFeat.build_trainset(long_lists(4_000), **columns, max_list_len=4_000)[1]
        DatasetFeat.build_trainset(log([1, 2], tags=[["a"] * 300] * 2), **columns)
    assert len(info.item_frame()["tags"].iloc[-1]) == 4_000
    with pytest.warns(LongListWarning, match="1 of 10000 lists with more than 2 values: .* 98 of 20098 values are cut"):
        info = DatasetFeat.build_trainset(long_lists(100), **columns, max_list_len=2)[1]
    assert info.schema.codes("item")[1].width == 2
    for length, error in ((0, ValueError), (2**16 + 1, ValueError), ("2", TypeError)):
        with pytest.raises(error, match="max_list_len must be"):
            DatasetFeat.build_trainset(long_lists(3), **columns, max_list_len=length)


def test_lists_that_are_all_long_are_not_cut(monkeypatch):
    monkeypatch.setattr(multi_sparse, "MAX_PADDING", 100)
    columns = {"item_col": ["tags"], "multi_sparse_col": ["tags"]}
    with warnings.catch_warnings(action="error"):
        DatasetFeat.build_trainset(log(range(50), tags=[[f"t{n}" for n in range(90)]] * 50), **columns)


def test_all_lists_of_new_items_may_be_missing():
    columns = {"item_col": ["tags"], "multi_sparse_col": ["tags"]}
    DatasetFeat.build_trainset(log([1, 2], tags=[["a", "b"], ["b"]]), **columns)
    known_and_new = log([1, 1], item=[100, 999], tags=objects(["a"], None))
    test = DatasetFeat.build_testset(known_and_new)
    assert test.items.rows.codes[test.item_rows].tolist() == [[1, 1, ABSENT], [0, UNKNOWN, ABSENT]]


def test_a_group_has_one_vocabulary_and_its_pad_is_an_empty_slot():
    frame = log([1, 2, 3], genre1=["b", "missing", "c"], genre2=["a", "b", None])
    info = DatasetFeat.build_trainset(frame, item_col=["genre1", "genre2"], multi_sparse_col=[["genre1", "genre2"]])[1]
    assert list(info.vocabs["genre1"].values) == ["a", "b", "c"]
    assert slots_of(frame, "genre1", group=["genre1", "genre2"]) == [["b", "a"], [None, "b"], ["c", None]]


def test_a_group_of_which_nothing_is_there_has_empty_slots():
    frame = log([1, 2], genre1=["missing", "a"], genre2=[None, "b"])
    assert slots_of(frame, "genre1", group=["genre1", "genre2"]) == [[None, None], ["a", "b"]]


@pytest.mark.parametrize("pad_val", [0, [0]])
def test_a_pad_may_be_an_integer(pad_val):
    frame = log([1, 2, 3], genre1=[5, 0, 7], genre2=np.array([0, 5, 5], np.uint8))
    assert slots_of(frame, "genre1", group=["genre1", "genre2"], pad_val=pad_val) == [[5, None], [None, 5], [7, 5]]


def test_a_pad_of_the_other_type_is_a_value():
    frame = log([1, 2], genre1=["0", "a"], genre2=[0, 0])
    assert slots_of(frame, "genre1", group=["genre1", "genre2"], pad_val=0) == [["0", None], ["a", None]]


def test_the_pad_of_one_group_is_a_value_of_another():
    frame = log([1, 2], a1=["x", "b"], a2="b", b1=["y", "x"], b2="c")
    columns = ["a1", "a2", "b1", "b2"]
    info = DatasetFeat.build_trainset(
        frame, item_col=columns, multi_sparse_col=[columns[:2], columns[2:]], pad_val=["x", "y"]
    )[1]
    assert info.vocabs["a1"].values.tolist() == ["b"]
    assert info.vocabs["b1"].values.tolist() == ["c", "x"]


def test_a_group_may_be_one_column():
    frame = log([1, 2], genre=["a", "missing"])
    assert slots_of(frame, "genre", group=["genre"]) == [["a"], [None]]


def test_part_of_a_group_is_encoded_for_new_items_as_in_training():
    columns = {"item_col": ["genre1", "genre2"], "multi_sparse_col": [["genre1", "genre2"]]}
    frame = log([1, 2], genre1=["a", None], genre2=["b", "b"])
    _, info = DatasetFeat.build_trainset(frame, **columns)
    new = DatasetFeat.build_testset(frame.assign(item=[998, 999]))
    assert new.items.rows.codes[new.item_rows, 1:].tolist() == info.items.current.codes[1:, 1:].tolist()


# ---- the same data, whoever carries it

COLUMNS: dict[str, Any] = {
    "user_col": ["sex", "age", "zip"],
    "item_col": ["genre1", "genre2", "tags", "price"],
    "context_col": ["hour", "temperature"],
    "sparse_col": ["sex", "zip", "hour"],
    "dense_col": ["age", "price", "temperature"],
    "multi_sparse_col": [["genre1", "genre2"], "tags"],
}


def events() -> pd.DataFrame:
    """Twelve events with every kind of column, missing values and features that change."""
    items = ["b", "a", "é", "b", "c", "a", "b", "é", "c", "a", "b", "c"]
    tags = {"a": ["p", "q"], "b": ["q"], "c": [], "é": ["r", "p", "q"]}
    start = dt.datetime(2020, 1, 1, 12)
    return pd.DataFrame(
        {
            "user": [3, 1, 3, 2, 2, 1, 9, 9, 9, 1, 2, 3],
            "item": items,
            "label": [1, 0, 4, 5, 2.5, 3, 1, 2, 3, 1, 0, 5],
            "time": [start + dt.timedelta(minutes=minutes) for minutes in [5, 1, 9, 4, 4, 3, 8, 7, 6, 2, 11, 10]],
            "sex": ["m", None, "m", "f", "f", None, "m", "f", "m", None, "f", "m"],
            "age": [0.1, 35, 0.1, np.nan, 20.3, 35, 7, 7, 7.7, 35, 20.3, 0.1],
            "zip": pd.array([7, 2**60 + 1, 7, None, 5, 2**60 + 1, 1, 1, 1, 2**60 + 1, 5, 7], "Int64"),
            "genre1": [{"a": "x", "b": "y", "c": None, "é": "missing"}[item] for item in items],
            "genre2": [{"a": "y", "b": "missing", "c": "x", "é": "z"}[item] for item in items],
            "tags": [tags[item] for item in items],
            "price": [{"a": 3, "b": 2, "c": 1, "é": 9}[item] for item in items],
            "hour": [1, 2, 3, 3, 2, 1, 1, 2, 3, 1, 2, 3],
            "temperature": [-1.5, np.nan, 3.25, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        }
    )


def in_arrow(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


CARRIERS: dict[str, Callable[[pd.DataFrame], object]] = {
    "polars": pl.from_pandas,
    "pyarrow": in_arrow,
    "pandas objects": lambda frame: frame.astype({"sex": object, "item": object, "user": object, "genre1": object}),
    "pandas categories": lambda frame: frame.astype(
        dict.fromkeys(("sex", "item", "user", "genre1", "hour"), "category")
    ),
    "pandas nullable": lambda frame: frame.convert_dtypes(),
    "pandas on Arrow": lambda frame: in_arrow(frame).to_pandas(types_mapper=pd.ArrowDtype),
    "polars categories": lambda frame: pl.from_pandas(frame).with_columns(pl.col("sex", "item").cast(pl.Categorical)),
    "polars small": lambda frame: pl.from_pandas(frame).with_columns(pl.col("user", "hour", "price").cast(pl.UInt8)),
    "pyarrow dictionaries": lambda frame: in_arrow(
        frame.astype(dict.fromkeys(("sex", "item", "genre1", "genre2"), "category"))
    ),
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_same_data_is_encoded_alike_whoever_carries_it(carrier):
    data, info = DatasetFeat.build_trainset(events(), **COLUMNS)
    frame = CARRIERS[carrier](events())
    other, other_info = DatasetFeat.build_trainset(frame, **COLUMNS)
    assert other_info.fingerprint == info.fingerprint
    assert repr(other_info) == repr(info)
    assert other_info.labels == info.labels
    for name in ("user_rows", "item_rows", "labels", "times"):
        assert getattr(other, name).tolist() == getattr(data, name).tolist(), name
    for side in ("user", "item"):
        table, other_table = info.table(side), other_info.table(side)
        assert other_table.rows.codes.tolist() == table.rows.codes.tolist()
        assert other_table.rows.dense.tolist() == table.rows.dense.tolist()
        assert other_table.owner.tolist() == table.owner.tolist()
        assert other_table.history.times.tolist() == table.history.times.tolist()
    assert len(info.users.rows) > 5  # something did change
    assert other.context.codes.tolist() == data.context.codes.tolist()
    assert other.context.dense.tolist() == data.context.dense.tolist()
    assert other_info.popular_items == info.popular_items


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_same_evaluation_data_is_encoded_alike_whoever_carries_it(carrier):
    _, info = DatasetFeat.build_trainset(events(), **COLUMNS)
    later = events().replace({"user": {3: 77}, "item": {"a": "new"}})
    data = DatasetFeat.build_testset(later, data_info=info)
    other = DatasetFeat.build_testset(CARRIERS[carrier](later), data_info=info)
    assert other.user_rows.tolist() == data.user_rows.tolist()
    assert other.item_rows.tolist() == data.item_rows.tolist()
    assert other.labels.tolist() == data.labels.tolist()
    assert (data.user_indices == 0).sum() == (data.item_indices == 0).sum() == 3
    for table, other_table in ((data.users.rows, other.users.rows), (data.items.rows, other.items.rows)):
        assert other_table.codes.tolist() == table.codes.tolist()
        assert other_table.dense.tolist() == table.dense.tolist()
    assert other.context.codes.tolist() == data.context.codes.tolist()


@pytest.mark.parametrize("convert", [pl.from_pandas, in_arrow])
def test_shuffling_draws_the_same_order_whoever_carries_the_data(convert):
    data, _ = DatasetFeat.build_trainset(events(), **COLUMNS, shuffle=True, seed=3)
    other, _ = DatasetFeat.build_trainset(convert(events()), **COLUMNS, shuffle=True, seed=3)
    assert other.user_rows.tolist() == data.user_rows.tolist()
    assert other.labels.tolist() == data.labels.tolist()
    again = DatasetFeat.build_testset(convert(events()), shuffle=True, seed=3)
    assert again.labels.tolist() == DatasetFeat.build_testset(events(), shuffle=True, seed=3).labels.tolist()


@pytest.mark.parametrize("dates", ["datetime64[s]", "datetime64[ns]", "datetime64[us, UTC]"])
def test_the_unit_of_times_does_not_matter(dates):
    data, _ = DatasetFeat.build_trainset(events(), **COLUMNS)
    frame = events()
    frame["time"] = frame["time"].dt.tz_localize("UTC") if "UTC" in dates else frame["time"]
    other, _ = DatasetFeat.build_trainset(frame.astype({"time": dates}), **COLUMNS)
    assert other.times.tolist() == data.times.tolist()


def test_dates_that_nanoseconds_do_not_reach_keep_their_order():
    dates = np.array(["2999-01-01", "1500-01-01", "2000-01-01"], "datetime64[s]")
    frame = log([1, 1, 1]).assign(time=dates, price=[3.0, 1.0, 2.0])
    data, info = DatasetFeat.build_trainset(frame, user_col=["price"], dense_col=["price"], dense_scaling="none")
    assert np.argsort(data.times).tolist() == [1, 2, 0]
    assert info.users.current.dense[1].item() == 3.0  # what is true now is of the year 2999


def test_integers_in_an_arrow_dictionary_stay_integers():
    table = in_arrow(log([3, 1, 3]))
    table = table.set_column(0, "user", table["user"].combine_chunks().dictionary_encode())
    assert list(DatasetPure.build_trainset(table)[1].user2id) == [1, 3]


def test_pandas_may_hold_an_arrow_dictionary():
    users = pd.array(["b", "a"], pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())))
    assert list(DatasetPure.build_trainset(log(users))[1].user2id) == ["a", "b"]


def test_nan_in_an_arrow_column_is_missing():
    sex = pa.table({"sex": [2.0, float("nan"), 1.0]}).to_pandas(types_mapper=pd.ArrowDtype)["sex"]
    info = DatasetFeat.build_trainset(log([1, 2, 3], sex=sex), user_col=["sex"], sparse_col=["sex"])[1]
    assert info.users.rows.codes[:, 1].tolist() == [0, 2, 0, 1]


@pytest.mark.skipif(not HASHES_NUL, reason="before pandas 3, text was hashed up to its first NUL")
def test_polars_ids_that_differ_in_a_last_nul_are_two():
    frame = pl.DataFrame({"user": ["a", "a\x00"], "item": [1, 2], "label": [1, 1]})
    assert DatasetPure.build_trainset(frame)[1].n_users == 2


def test_one_long_id_does_not_make_all_rows_of_polars_long():
    assert peak_bytes(pl.from_pandas(log([LONG, *map(str, range(1_000))]))) < 10_000_000


@pytest.mark.parametrize("convert", [lambda frame: frame, in_arrow])
def test_one_long_id_does_not_make_all_rows_long(convert):
    assert peak_bytes(convert(log([LONG, *map(str, range(1_000))]))) < 10_000_000


def peak_bytes(frame: object) -> int:
    tracemalloc.start()
    try:
        DatasetPure.build_trainset(frame)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ---- logs without users or labels


@pytest.mark.parametrize("carry", [lambda frame: frame, pl.from_pandas, pa.Table.from_pandas])
def test_a_log_without_labels_is_one_of_interactions_and_told_of(carry):
    frame = log([1, 2, 3])
    bare = carry(frame.drop(columns="label"))
    told = "train_data has no column 'label': each of its 3 rows counts as an interaction, with label 1"
    for dataset in (DatasetPure, DatasetFeat):
        with pytest.warns(NoLabelWarning, match=told):
            data, info = dataset.build_trainset(bare)
        assert data.digest() == dataset.build_trainset(frame)[0].digest()
        with pytest.warns(NoLabelWarning, match=told):
            merged = dataset.merge_trainset(bare, info)[0]
        assert merged.labels.tolist() == [1, 1, 1]
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    with pytest.warns(NoLabelWarning):
        assert model.update(bare, neg_sampling=True, verbose=0).data_info.data_size == 6


def test_ratings_are_not_joined_by_rows_without_labels():
    info = DatasetPure.build_trainset(log([1, 2, 3], label=[1, 3, 5]))[1]
    with pytest.raises(ValueError, match=r"\['label'\] are not in train_data: labels so far are 1 to 5"):
        DatasetPure.merge_trainset(log([1, 2, 3]).drop(columns="label"), info)
    info = DatasetPure.build_trainset(log([1, 2, 3], label=[1, 0, 1]))[1]
    with pytest.warns(NoLabelWarning):
        DatasetPure.merge_trainset(log([1, 2, 3]).drop(columns="label"), info)


def test_a_log_without_users_is_refused_with_the_line_that_mends_it_and_then_works():
    frame = log(range(40), hour=np.arange(40) % 4).assign(item=np.arange(40) % 9).drop(columns="user")
    columns = {"context_col": ["hour"], "sparse_col": ["hour"]}
    with pytest.raises(ValueError, match=r"\['user'\] are not in train_data: .* train_data\['user'\] = 0") as refused:
        DatasetFeat.build_trainset(frame, **columns)
    exec(str(refused.value).rpartition(", ")[2], {"train_data": frame})
    data, info = DatasetFeat.build_trainset(frame, **columns)
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    assert len(model.recommend_user(0, 3, context={"hour": 2}, filter_consumed=False)[0]) == 3


@pytest.mark.parametrize(
    "values",
    [
        [True, False, True],
        objects(True, False, None),
        objects(np.True_, np.False_, np.True_),
        pd.array([True, None, False], "boolean"),
        pd.array([True, False, None], pd.ArrowDtype(pa.bool_())),
        pd.Categorical([True, False, True]),
    ],
    ids=lambda values: str(getattr(values, "dtype", "list")),
)
@pytest.mark.parametrize("carry", [lambda frame: frame, pl.from_pandas, pa.Table.from_pandas])
def test_booleans_are_the_categories_0_and_1(values, carry):
    frame = log([1, 2, 3], paid=values)
    columns = {"user_col": ["paid"], "sparse_col": ["paid"]}
    with warnings.catch_warnings(action="error"):
        data, info = DatasetFeat.build_trainset(carry(frame), **columns)
        assert info.vocabs["paid"].values.tolist() == [0, 1]
        given = [None if pd.isna(one) else int(one) for one in frame["paid"]]
        assert [None if pd.isna(one) else int(one) for one in info.user_frame()["paid"]] == given
        assert (
            DatasetFeat.merge_trainset(carry(frame), info)[0].users.rows.codes.tolist()
            == data.users.rows.codes.tolist()
        )
        model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
        assert model.predict(1, 100, feats={"paid": True}) == model.predict(1, 100, feats={"paid": 1})
        assert model.predict("new", 100, feats={"paid": np.False_}) == model.predict("new", 100, feats={"paid": 0})


def test_lists_and_groups_may_hold_booleans():
    assert slots_of(log([1, 2], tags=[[True, "a"], [False]])) == [[1, "a"], [0, None]]
