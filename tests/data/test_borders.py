from __future__ import annotations

import datetime as dt
import uuid
import warnings
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from recolib.data import DatasetFeat, DatasetPure

COLUMNS: dict[str, Any] = {
    "user_col": ["sex", "age"],
    "item_col": ["genre1", "genre2", "tags"],
    "context_col": ["hour"],
    "sparse_col": ["sex", "hour"],
    "dense_col": ["age"],
    "multi_sparse_col": [["genre1", "genre2"], "tags"],
}
WITH_ZIP = COLUMNS | {"user_col": ["sex", "age", "zip"], "sparse_col": ["sex", "hour", "zip"]}
RESERVED = ("user", "item", "label")
NEEDED = ("user", "item")
MISSING = {"None": None, "NaN": float("nan"), "pd.NA": pd.NA}


def log(**columns: object) -> pd.DataFrame:
    """Six good events, but for ``columns``."""
    frame = pd.DataFrame(
        {
            "user": [1, 1, 2, 2, 3, 3],
            "item": ["a", "b", "a", "c", "b", "c"],
            "label": [1, 2, 3, 4, 5, 1],
            "sex": list("mmffmm"),
            "age": [20.0, 20.0, 30.0, 30.0, 40.0, 40.0],
            "genre1": list("xyxzyz"),
            "genre2": list("yzyxzx"),
            "hour": [1, 2, 3, 1, 2, 3],
            "tags": [["p"], ["q", "p"], ["p"], ["q"], ["q", "p"], ["q"]],
        }
    )
    return frame.assign(**columns)


def mixed(first: object, *others: object) -> pd.Series:
    """A column of objects: ``first`` on top of good values of its kind, or ``others``."""
    return pd.Series([first, *(others or (1, 2, 2, 3, 3))], dtype=object)


def without(*names: str) -> pd.DataFrame:
    return log().drop(columns=list(names))


def twice(name: str) -> pd.DataFrame:
    return pd.concat([log(), log()[[name]]], axis=1)


def zips(**columns: object) -> pd.DataFrame:
    """A good frame of user features, but for ``columns``."""
    return pd.DataFrame({"user": [1, 2, 3], "zip": ["a", "b", "c"]}).assign(**columns)


def arrow(name: str, values: pa.Array) -> pa.Table:
    table = pa.Table.from_pandas(log())
    return table.set_column(table.schema.get_field_index(name), name, values)


def polars(**columns: object) -> pl.DataFrame:
    return pl.from_pandas(log()).with_columns(**columns)


def same(frame: object, other: object) -> bool:
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_frame_equal(frame, other)
        return True
    if isinstance(frame, pl.DataFrame):
        return frame.equals(other, null_equal=True)
    return frame.equals(other) if isinstance(frame, pa.Table) else True


Case = tuple[str, Callable[[], object], str]

# (what is wrong, the frame, what the message names), for any training set
INTERACTIONS: list[Case] = [
    *((f"no {name}", partial(without, name), f"'{name}'.* not in train_data") for name in NEEDED),
    *(
        (f"{name} twice", partial(twice, name), f"'{name}'.* more than once in train_data")
        for name in (*RESERVED, "age")
    ),
    ("user twice in Arrow", lambda: pa.Table.from_arrays([pa.array([1])] * 2, ["user", "user"]), "'user' 2 times"),
    *(
        (f"{what} as {name}", partial(log, **{name: mixed(value)}), f"'{name}' has 1 missing")
        for name in RESERVED
        for what, value in MISSING.items()
    ),
    *((f"all of {name} missing", partial(log, **{name: None}), f"'{name}' has 6 missing") for name in RESERVED),
    ("NaT as user", lambda: log(user=mixed(pd.NaT)), "'user' has 1 missing"),
    ("null as user in polars", lambda: polars(user=pl.Series([None, 1, 1, 2, 2, 3])), "'user' has 1 missing"),
    ("null as item in Arrow", lambda: arrow("item", pa.array(["a", None] * 3)), "'item' has 3 missing"),
    ("infinite user", lambda: log(user=[np.inf, 1, 1, 2, 2, 3]), "'user' has infinite"),
    ("infinite item among text", lambda: log(item=mixed(-np.inf, *"abcde")), "'item' has infinite"),
    ("infinite labels", lambda: log(label=[np.inf, -np.inf, 1, 2, 2, 3]), "'label' has 2 infinite"),
    ("text as label", lambda: log(label=list("abcdef")), "'label' must hold numbers, found text such as 'a'"),
    ("numerals as label", lambda: log(label=list("123456")), "'label' must hold numbers, found text such as '1'"),
    ("one text as label", lambda: log(label=mixed("x")), "'label' must hold numbers, found text such as 'x'"),
    ("bytes as label", lambda: log(label=mixed(*[b"1"] * 6)), "'label' must hold numbers"),
    ("dates as label", lambda: log(label=pd.date_range("2020", periods=6)), "'label' must hold numbers"),
    ("dates of Python as label", lambda: log(label=mixed(*[dt.date(2020, 1, 1)] * 6)), "'label' must hold numbers"),
    ("spans of time as label", lambda: log(label=pd.to_timedelta(range(6))), "'label' must hold numbers"),
    ("complex label", lambda: log(label=np.arange(6) * 1j), "'label' must hold numbers"),
    ("lists as label", lambda: log(label=mixed(*[[1]] * 6)), "'label' must hold numbers"),
    ("lists as label in Arrow", lambda: arrow("label", pa.array([[1]] * 6)), "'label' must hold numbers"),
    ("booleans as user", lambda: log(user=[True, False] * 3), "'user' holds booleans"),
    ("one boolean as user", lambda: log(user=mixed(True)), "'user' holds booleans"),
    ("one numpy boolean as item", lambda: log(item=mixed(np.True_, *"abcde")), "'item' holds booleans"),
    ("nullable booleans as item", lambda: log(item=pd.array([True, False] * 3, "boolean")), "'item' holds booleans"),
    ("categories that are booleans", lambda: log(user=pd.Categorical([True, False] * 3)), "'user' holds booleans"),
    ("booleans as user in polars", lambda: polars(user=True), "'user' holds booleans"),
    ("booleans as item in Arrow", lambda: arrow("item", pa.array([True, False] * 3)), "'item' holds booleans"),
    ("fraction as user", lambda: log(user=[1.5, 1, 1, 2, 2, 3]), "'user' has the number 1.5"),
    ("fraction as item among text", lambda: log(item=mixed(0.1, *"abcde")), "'item' has the number 0.1"),
    ("float above 2**53 as user", lambda: log(user=[2.0**60, 1, 1, 2, 2, 3]), "'user' has the number 1.15"),
    ("decimal as user", lambda: log(user=mixed(Decimal("1.5"))), "'user' must hold integers or strings"),
    ("dates as user", lambda: log(user=pd.date_range("2020", periods=6)), "'user' must hold integers or strings"),
    ("dates of Python as item", lambda: log(item=mixed(dt.date(2020, 1, 1))), "'item' must hold integers or strings"),
    ("complex user", lambda: log(user=np.arange(6) * 1j), "'user' must hold integers or strings"),
    ("bytes as item", lambda: log(item=mixed(*[b"x"] * 6)), "'item' must hold integers or strings"),
    ("lists as user", lambda: log(user=mixed(*[[1]] * 6)), "'user' holds lists"),
    ("tuples as user", lambda: log(user=mixed(*[(1,)] * 6)), "'user' must hold integers or strings"),
    ("2**63 as user", lambda: log(user=mixed(2**63)), "'user' has the integer 9223372036854775808"),
    ("-2**63 - 1 as item", lambda: log(item=mixed(-(2**63) - 1)), "'item' has the integer -9223372036854775809"),
    ("2**63 as unsigned user", lambda: log(user=np.array([2**63, 1, 1, 2, 2, 3], np.uint64)), "'user' has an integer"),
    ("2**63 as nullable item", lambda: log(item=pd.array([2**63, 1, 1, 2, 2, 3], "UInt64")), "'item' has an integer"),
    ("2**63 as user in Arrow", lambda: arrow("user", pa.array([2**63] * 6, pa.uint64())), "'user' has an integer"),
    ("lone surrogate as user", lambda: log(user=mixed("\ud800", *"abcde")), r"'user' has the value '\\ud800'"),
    ("lone surrogate as item", lambda: log(item=mixed("a\udfff")), r"'item' has the value 'a\\udfff'"),
    ("missing time", lambda: log(time=mixed(None)), "'time' has 1 missing"),
    ("missing date as time", lambda: log(time=pd.to_datetime(["2020", None] * 3)), "'time' has 3 missing"),
    ("text as time", lambda: log(time=list("abcdef")), "'time' must hold numbers"),
    ("text categories as label", lambda: log(label=pd.Categorical(list("123456"))), "'label' must hold numbers"),
    ("label beyond float32", lambda: log(label=[1e300, 1, 2, 3, 4, 5]), "'label'"),
    ("infinite time", lambda: log(time=[1, 2, np.inf, 4, 5, 6]), "'time' has 1 infinite"),
    ("no rows", lambda: log().iloc[:0], "train_data has no rows"),
    ("no rows in polars", lambda: polars().clear(), "train_data has no rows"),
    ("a list", lambda: [1, 2, 3], "train_data must be a pandas, polars or pyarrow frame, got list"),
    ("a dict", lambda: {"user": [1], "item": [1], "label": [1]}, "train_data must be .* got dict"),
    ("an array", lambda: np.zeros((2, 3)), "train_data must be .* got ndarray"),
    ("a column", lambda: log()["user"], "train_data must be .* got Series"),
    ("nothing", lambda: None, "train_data must be .* got NoneType"),
    (
        "a lazy frame",
        lambda: polars().lazy(),
        r"train_data .*call \.collect\(\)",
    ),
]

# (what is wrong, the frame, what the message names), where the columns are features
FEATURES: list[Case] = [
    *(
        (f"no {name}", partial(without, name), f"'{name}'.* not in train_data")
        for name in ("sex", "age", "genre2", "hour", "tags")
    ),
    *((f"{name} twice", partial(twice, name), f"'{name}'.* more than once in train_data") for name in ("sex", "hour")),
    *((f"empty {name}", partial(log, **{name: None}), f"'{name}' is empty") for name in ("sex", "age", "hour")),
    ("empty column of a group", lambda: log(genre2=None), "'genre2' is empty"),
    ("only empty lists", lambda: log(tags=[[]] * 6), "'tags' is empty"),
    ("no list", lambda: log(tags=None), "'tags'"),
    ("empty numbers", lambda: log(age=np.nan), "'age' is empty"),
    ("infinite number", lambda: log(age=[np.inf, -np.inf, 1, 2, 3, 4]), "'age' has 2 infinite"),
    ("text as number", lambda: log(age=list("abcdef")), "'age' must hold numbers, found text such as 'a'"),
    ("numerals as numbers", lambda: log(age=list("123456")), "'age' must hold numbers, found text such as '1'"),
    ("one text among numbers", lambda: log(age=mixed("x")), "'age' must hold numbers, found text such as 'x'"),
    ("dates as numbers", lambda: log(age=pd.date_range("2020", periods=6)), "'age' must hold numbers"),
    ("dates as numbers in Arrow", lambda: arrow("age", pa.array([dt.date(2020, 1, 1)] * 6)), "'age' must hold numbers"),
    ("complex number", lambda: log(age=np.arange(6) * 1j), "'age' must hold numbers"),
    ("lists as numbers", lambda: log(age=mixed(*[[1]] * 6)), "'age' must hold numbers"),
    (
        "lists as category",
        lambda: log(sex=mixed(*[["m"]] * 6)),
        "'sex' holds lists: name it, by itself, in multi_sparse_col",
    ),
    ("dicts as category", lambda: log(sex=mixed(*[{"a": 1}] * 6)), "'sex' holds dicts, such as {'a': 1}: give each of"),
    ("one dict as category", lambda: log(hour=mixed({"a": 1})), "'hour' holds dicts, such as {'a': 1}"),
    ("sets as category", lambda: log(sex=mixed(*[{"m"}] * 6)), "'sex' holds lists"),
    ("tuples as category", lambda: log(sex=mixed(*[("m",)] * 6)), "'sex' must .* in multi_sparse_col"),
    ("lists of dicts", lambda: log(tags=[[{"a": 1}]] * 6), "'tags' holds dicts"),
    ("one list as category", lambda: log(sex=mixed(["m"])), "'sex' holds lists"),
    ("lists as category in Arrow", lambda: arrow("sex", pa.array([["m"]] * 6)), "'sex' holds lists"),
    ("lists in a group", lambda: log(genre1=mixed(*[["x"]] * 6)), "'genre1' holds lists"),
    ("text where lists belong", lambda: log(tags=["p|q"] * 6), "'tags' must hold lists, found 'p|q'"),
    (
        "one text where lists belong",
        lambda: log(tags=mixed("p|q", *[["p"]] * 5)),
        r"'tags' must hold lists, found 'p\|q'",
    ),
    ("numbers where lists belong", lambda: log(tags=range(6)), "'tags' must hold lists"),
    ("dicts where lists belong", lambda: log(tags=mixed(*[{"p": 1}] * 6)), "'tags' must hold lists"),
    ("lists of lists", lambda: log(tags=[[["p"]]] * 6), "'tags' holds lists"),
    ("lists of fractions", lambda: log(tags=[[1.5]] * 6), "'tags' has the number 1.5"),
    ("lists of big integers", lambda: log(tags=[[2**63]] * 6), "'tags' has the integer"),
    ("text categories as numbers", lambda: log(age=pd.Categorical(list("123456"))), "'age' must hold numbers"),
    (
        "date categories as numbers",
        lambda: log(age=pd.Categorical(pd.date_range("2020", periods=6))),
        "'age' must hold numbers",
    ),
    ("number beyond float32", lambda: log(age=[1e300, -1e300, 1, 2, 3, 4]), "'age'"),
    ("number beyond float64", lambda: log(age=mixed(10**400)), "'age'"),
    ("structs as category", lambda: polars(sex=pl.struct("age")), "'sex'"),
    (
        "UUIDs as category",
        lambda: log(sex=mixed(*[uuid.UUID(int=n) for n in range(6)])),
        r"'sex' must hold .* data\['sex'\] = data\['sex'\].astype\(str\)",
    ),
    ("dates of Python as category", lambda: log(hour=mixed(*[dt.date(2020, 1, 1)] * 6)), r"= data\['hour'\].astype"),
    ("dates as category in polars", lambda: polars(hour=pl.lit(dt.date(2020, 1, 1))), r"= data\['hour'\].astype"),
    ("spans of time as category", lambda: log(hour=pd.to_timedelta(range(6))), r"= data\['hour'\].astype"),
    ("fractions as category", lambda: log(hour=[0.5, 1, 2, 3, 4, 5]), "'hour' has the number 0.5"),
    ("infinite category", lambda: log(hour=[np.inf, 1, 2, 3, 4, 5]), "'hour' has infinite"),
    ("dates as category", lambda: log(hour=pd.date_range("2020", periods=6)), "'hour' must hold integers or strings"),
    ("big integer as category", lambda: log(hour=mixed(2**64)), "'hour' has the integer"),
    ("lone surrogate as category", lambda: log(sex=mixed("\udc80", *"mmmff")), r"'sex' has the value '\\udc80'"),
]

# (what is wrong, the arguments, what the message names), with a good frame
ARGUMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("a name for a list of sparse columns", {"sparse_col": "sex"}, "sparse_col must be a list .* got 'sex'"),
    ("a name for a list of dense columns", {"dense_col": "age"}, "dense_col must be a list .* got 'age'"),
    ("a name for a list of user columns", {"user_col": "sex"}, "user_col must be a list .* got 'sex'"),
    ("a name for a list of item columns", {"item_col": "tags"}, "item_col must be a list .* got 'tags'"),
    ("a name for a list of context columns", {"context_col": "hour"}, "context_col must be a list .* got 'hour'"),
    ("a name for a list of groups", {"multi_sparse_col": "tags"}, "multi_sparse_col must be a list .* got 'tags'"),
    ("numbers as names", {"sparse_col": ["sex", 3]}, r"sparse_col must be a list of column names, got \['sex', 3\]"),
    ("a group without columns", {"multi_sparse_col": [[]]}, "multi_sparse_col must be a list of column names"),
    ("numbers as names in a group", {"multi_sparse_col": [["genre1", 2]]}, "multi_sparse_col must be a list"),
    ("two kinds", {"dense_col": ["age", "hour"]}, "'hour'.* two kinds: sparse and dense"),
    ("a group's column of two kinds", {"sparse_col": ["sex", "hour", "genre1"]}, "'genre1'.* two kinds"),
    ("two sides", {"context_col": ["hour", "sex"]}, "'sex'.* two sides: user and context"),
    ("no side", {"user_col": ["age"]}, r"\['sex'\] have no side"),
    ("no kind", {"dense_col": None}, r"\['age'\] have no kind"),
    ("twice in one kind", {"sparse_col": ["sex", "sex", "hour"]}, "'sex'.* twice in the sparse columns"),
    ("twice in one side", {"user_col": ["sex", "age", "age"]}, "'age'.* twice in the user columns"),
    ("in two groups", {"multi_sparse_col": [["genre1", "genre2"], ["genre2"], "tags"]}, "'genre2'.* twice"),
    ("twice in a group", {"multi_sparse_col": [["genre1", "genre2", "genre1"], "tags"]}, "'genre1'.* twice"),
    (
        "a group on two sides",
        {"user_col": ["sex", "age", "genre2"], "item_col": ["genre1", "tags"]},
        r"\['genre1', 'genre2'\] of one multi_sparse_col group lie on two sides",
    ),
    (
        "user as a feature",
        {"user_col": ["sex", "age", "user"], "sparse_col": ["sex", "hour", "user"]},
        "'user'.* itself",
    ),
    ("item as a feature", {"item_col": ["genre1", "genre2", "tags", "item"]}, "'item'.* itself"),
    ("label as a feature", {"user_col": ["sex", "age", "label"], "dense_col": ["age", "label"]}, "'label'.* itself"),
    ("too many pads", {"pad_val": ["a", "b", "c"]}, "pad_val must be one value or one for each .*: 3 != 2"),
    ("too few pads", {"pad_val": ["a"]}, "pad_val must be one value or one for each .*: 1 != 2"),
    ("no pads", {"pad_val": []}, "pad_val must be one value or one for each .*: 0 != 2"),
    ("an unknown scaling", {"dense_scaling": "min_max"}, "dense_scaling must be one of .* got 'min_max'"),
    ("no scaling", {"dense_scaling": None}, "dense_scaling must be one of .* got None"),
]

# (what is wrong, the events, the users' features, what the message names)
SEPARATE: list[tuple[str, Callable[[], object], Callable[[], object], str]] = [
    ("an id twice", log, lambda: zips(user=[1, 2, 2]), r"user_features must have one row for each user.*\[2\]"),
    ("no ids", log, lambda: zips().drop(columns="user"), "'user'.* not in user_features"),
    ("a missing id", log, lambda: zips(user=mixed(None, 2, 3)), "'user' has 1 missing"),
    ("a boolean id", log, lambda: zips(user=[True, False, True]), "'user' holds booleans"),
    ("no such column anywhere", log, lambda: zips().drop(columns="zip"), "'zip'.* not in train_data"),
    ("a column in both frames", lambda: log(zip="a"), zips, r"\['zip'\] stand in train_data and in a feature frame"),
    ("a column twice", log, lambda: pd.concat([zips(), zips()[["zip"]]], axis=1), "'zip'.* once in user_features"),
    ("an empty column", log, lambda: zips(zip=None), "'zip' is empty"),
    ("a column of lists", log, lambda: zips(zip=[["a"]] * 3), "'zip' holds lists"),
    ("no rows", log, lambda: zips().iloc[:0], "user_features has no rows"),
    ("no frame", log, lambda: {1: "a", 2: "b"}, "user_features must be .* got dict"),
    ("a context column", lambda: without("hour"), lambda: zips(hour=1), "'hour'.* not in train_data"),
]

# (what is wrong, the frame, what the message names)
EVALUATION: list[Case] = [
    *((f"no {name}", partial(without, name), f"'{name}'.* not in eval_data") for name in ("user", "item", "hour")),
    *(
        (f"{name} twice", partial(twice, name), f"'{name}'.* more than once in eval_data")
        for name in ("user", "hour", "age")
    ),
    *(
        (f"missing {name}", partial(log, **{name: mixed(None)}), f"'{name}' has 1 missing")
        for name in ("user", "item", "label")
    ),
    ("infinite label", lambda: log(label=[np.inf, 1, 2, 3, 4, 5]), "'label' has 1 infinite"),
    ("text as label", lambda: log(label=list("abcdef")), "'label' must hold numbers"),
    ("booleans as user", lambda: log(user=[True, False] * 3), "'user' holds booleans"),
    ("fraction as item", lambda: log(item=[1.5, 1, 2, 3, 4, 5]), "'item' has the number 1.5"),
    ("big integer as user", lambda: log(user=mixed(2**63)), "'user' has the integer"),
    ("lone surrogate as item", lambda: log(item=mixed("\ud800")), "'item' has the value"),
    ("lists as context", lambda: log(hour=mixed(*[[1]] * 6)), "'hour' holds lists"),
    ("text as a new user's number", lambda: log(user=99, age="x"), "'age' must hold numbers"),
    ("infinite number of a new user", lambda: log(user=99, age=np.inf), "'age' has 6 infinite"),
    ("lists as a new user's category", lambda: log(user=99, sex=mixed(*[["m"]] * 6)), "'sex' holds lists"),
    ("text as a new item's lists", lambda: log(item="new", tags="p|q"), "'tags' must hold lists"),
    ("no rows", lambda: log().iloc[:0], "eval_data has no rows"),
    ("a list", lambda: [1], "eval_data must be .* got list"),
    (
        "a lazy frame",
        lambda: polars().lazy(),
        r"eval_data .*call \.collect\(\)",
    ),
]

# (what is wrong, the arguments, what the message names), where the kind is wrong and TypeError may say so
KINDS: list[tuple[str, dict[str, Any], str]] = [
    ("a number for a list of columns", {"sparse_col": 3}, "sparse_col"),
    ("a number for a list of groups", {"multi_sparse_col": 3}, "multi_sparse_col"),
    ("a number for a group", {"multi_sparse_col": [3]}, "multi_sparse_col"),
    ("a set, which has no order", {"user_col": {"sex", "age"}}, "user_col"),
    ("a set as a group", {"multi_sparse_col": [{"genre1", "genre2"}, "tags"]}, "multi_sparse_col"),
    ("a generator, which can be read once", {"user_col": iter(["sex", "age"])}, "user_col"),
    ("a fraction as pad", {"pad_val": 1.5}, "pad_val"),
    ("nothing as pad", {"pad_val": None}, "pad_val"),
    ("nothing as a group's pad", {"pad_val": [None, "missing"]}, "pad_val"),
    ("a boolean as pad", {"pad_val": True}, "pad_val"),
    ("a list as a group's pad", {"pad_val": [["a"], "missing"]}, "pad_val"),
    ("pads by name", {"pad_val": {"genre1": "a", "tags": "b"}}, "pad_val"),
    ("text as shuffle", {"shuffle": "no"}, "shuffle"),
    ("text as seed", {"shuffle": True, "seed": "x"}, "seed"),
    ("negative seed", {"shuffle": True, "seed": -1}, "seed"),
]


def cases(table: list[Any]) -> list[Any]:
    return [pytest.param(*rest, id=name.replace(" ", "_")) for name, *rest in table]


@pytest.fixture(autouse=True)
def _own_last(monkeypatch):
    """What the classes remember is as it was after each test."""
    monkeypatch.setattr(DatasetFeat, "_last", None)
    monkeypatch.setattr(DatasetPure, "_last", None)


@pytest.fixture
def info():
    return DatasetFeat.build_trainset(log(), **COLUMNS)[1]


@pytest.mark.parametrize(("build", "match"), cases(INTERACTIONS))
def test_bad_interactions_are_refused_by_the_columns_name(build, match):
    frame = build()
    with pytest.raises(ValueError, match=match):
        DatasetPure.build_trainset(frame)
    assert same(frame, build())
    assert DatasetPure._last is None


@pytest.mark.parametrize(("build", "match"), cases(INTERACTIONS + FEATURES))
def test_bad_frames_with_features_are_refused_by_the_columns_name(build, match):
    frame = build()
    with pytest.raises(ValueError, match=match):
        DatasetFeat.build_trainset(frame, **COLUMNS)
    assert same(frame, build())
    assert DatasetFeat._last is None


@pytest.mark.parametrize(("arguments", "match"), cases(ARGUMENTS))
def test_bad_arguments_are_refused_by_their_name(arguments, match):
    frame = log()
    with pytest.raises(ValueError, match=match):
        DatasetFeat.build_trainset(frame, **(COLUMNS | arguments))
    assert same(frame, log())
    assert DatasetFeat._last is None


@pytest.mark.parametrize(("arguments", "match"), cases(KINDS))
def test_arguments_of_a_wrong_kind_are_refused_by_their_name(arguments, match):
    with pytest.raises((ValueError, TypeError), match=match):
        DatasetFeat.build_trainset(log(), **(COLUMNS | arguments))


@pytest.mark.parametrize(("build", "build_users", "match"), cases(SEPARATE))
def test_bad_feature_frames_are_refused_by_the_columns_name(build, build_users, match):
    frame, users = build(), build_users()
    with pytest.raises(ValueError, match=match):
        DatasetFeat.build_trainset(frame, **WITH_ZIP, user_features=users)
    assert same(frame, build())
    assert same(users, build_users())
    assert DatasetFeat._last is None


def test_item_features_name_themselves():
    columns = {"item_col": ["year"], "dense_col": ["year"]}
    years = pd.DataFrame({"item": ["a", "a"], "year": [1990, 1991]})
    with pytest.raises(ValueError, match=r"item_features must have one row for each item; several rows of \['a'\]"):
        DatasetFeat.build_trainset(log(), **columns, item_features=years)
    with pytest.raises(ValueError, match=r"'item'.* not in item_features"):
        DatasetFeat.build_trainset(log(), **columns, item_features=years[["year"]])
    with pytest.raises(ValueError, match="'year' has 1 infinite"):
        DatasetFeat.build_trainset(log(), **columns, item_features=pd.DataFrame({"item": ["a"], "year": [np.inf]}))


@pytest.mark.parametrize(("build", "match"), cases(EVALUATION))
def test_bad_evaluation_frames_are_refused_by_the_columns_name(info, build, match):
    frame = build()
    with pytest.raises(ValueError, match=match):
        DatasetFeat.build_evalset(frame, data_info=info)
    with pytest.raises(ValueError, match=match):
        DatasetFeat.build_testset(frame)
    assert same(frame, build())


def test_a_lazy_frame_is_refused_without_a_warning():
    frame = polars().lazy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"call \.collect\(\) first"):
            DatasetPure.build_trainset(frame)


@pytest.mark.parametrize("dataset", [DatasetPure, DatasetFeat])
def test_evaluation_before_training_is_refused(dataset):
    with pytest.raises(RuntimeError, match="build_trainset must be called before build_evalset or build_testset"):
        dataset.build_testset(log())
    with pytest.raises(RuntimeError, match="build_trainset must be called before"):
        dataset.build_evalset(log())


def test_what_one_class_built_is_not_the_others(info):
    with pytest.raises(RuntimeError, match="build_trainset must be called before"):
        DatasetPure.build_testset(log())
    assert DatasetFeat.build_testset(log()).data_info is info


def test_a_refused_frame_leaves_the_last_data_in_place(info):
    with pytest.raises(ValueError, match="'user' has 1 missing"):
        DatasetFeat.build_trainset(log(user=mixed(None)), **COLUMNS)
    assert DatasetFeat.build_testset(log()).data_info is info


def test_a_set_of_other_data_is_refused(info):
    data = DatasetFeat.build_testset(log())
    other = DatasetFeat.build_trainset(log(user=[0, 1, 2, 2, 3, 1]), **COLUMNS)[1]
    with pytest.raises(
        ValueError, match=r"the set is of other data .*n_users: 3.* than the model .*n_users: 4.*data_info="
    ):
        data.refuse_other(other)
    with pytest.raises(ValueError, match="the set is of other data"):
        DatasetFeat.build_testset(log()).refuse_other(info)


def test_a_set_of_data_that_is_encoded_alike_is_taken(info):
    again = DatasetFeat.build_trainset(log(), **COLUMNS)[1]
    DatasetFeat.build_testset(log(), data_info=again).refuse_other(info)


def test_bad_arguments_of_an_evaluation_are_refused_by_their_name(info):
    data = DatasetFeat.build_testset(log())
    for other in (data, "data"):
        with pytest.raises((ValueError, TypeError), match="data_info must be what build_trainset returned, got"):
            DatasetFeat.build_evalset(log(), data_info=other)
    with pytest.raises((ValueError, TypeError), match="shuffle"):
        DatasetFeat.build_evalset(log(), shuffle="no")
    with pytest.raises((ValueError, TypeError), match="seed"):
        DatasetFeat.build_testset(log(), shuffle=True, seed=0.5)


def test_a_misspelt_column_is_named_with_the_nearest_before_sides_and_kinds_are_compared():
    with pytest.raises(ValueError, match=r"columns \['agge'\] are not in train_data: .*did you mean 'age'\?"):
        DatasetFeat.build_trainset(log(), user_col=["agge"], dense_col=["age"])
