"""What a DataInfo's file promises: all of it comes back, and nothing that contradicts itself gets in."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_files import closed, forged, opened
from worlds import two_tastes

from recolib.data import DataInfo, DatasetFeat, DatasetPure

LONG = "x" * 10_000
Entry = dict[str, Any]
Arrays = dict[str, np.ndarray]
Edit = Callable[[Entry, Arrays], object]


def rich() -> DataInfo:
    """Every kind of column, features that change, context of a list, and ids that only feature frames have."""
    frame = two_tastes().drop(columns=["sex", "price"])
    frame["age"] = frame["age"] + (frame["time"] > frame["time"].median()) * 1.0
    frame["device"] = [[["phone", "tv", 3][at % 3]] * (1 + at % 2) for at in range(len(frame))]
    users = pd.DataFrame({"user": [*range(100, 124), 999], "sex": ["F", "M"] * 12 + ["X"]})
    items = pd.DataFrame({"item": [f"i{at}" for at in range(20)] + ["only here"], "price": np.arange(21) * 1.5})
    return DatasetFeat.build_trainset(
        frame,
        user_col=["sex", "age"],
        item_col=["genre1", "genre2", "price", "tags"],
        context_col=["hour", "device"],
        sparse_col=["sex", "hour"],
        dense_col=["age", "price"],
        multi_sparse_col=[["genre1", "genre2"], "tags", "device"],
        user_features=users,
        item_features=items,
    )[1]


@pytest.fixture(scope="module")
def info() -> DataInfo:
    return rich()


@pytest.fixture(scope="module")
def content(info: DataInfo, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return info.save(tmp_path_factory.mktemp("info"), "rich").read_bytes()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rich_data_info.safetensors"


def assert_equal(one: object, other: object, where: str = "data_info") -> None:
    """Assert that two data of recolib's are equal in all parts, their types included."""
    assert type(one) is type(other), where
    if hasattr(one, "__dataclass_fields__"):
        for field in fields(one):  # type: ignore[arg-type]
            assert_equal(getattr(one, field.name), getattr(other, field.name), f"{where}.{field.name}")
    elif isinstance(one, dict):
        assert list(one) == list(other), where  # type: ignore[call-overload]
        for name, value in one.items():
            assert_equal(value, other[name], f"{where}[{name!r}]")  # type: ignore[index]
    elif isinstance(one, np.ndarray) and one.dtype != object:
        assert (one.dtype, one.shape) == (other.dtype, other.shape), where  # type: ignore[attr-defined]
        assert one.tobytes() == other.tobytes(), where  # type: ignore[attr-defined]
    elif hasattr(one, "numpy"):
        assert_equal(one.numpy(), other.numpy(), where)  # type: ignore[attr-defined]
    elif isinstance(one, np.ndarray | tuple | list):
        assert len(one) == len(other), where  # type: ignore[arg-type]
        for at, (mine, theirs) in enumerate(zip(one, other, strict=True)):  # type: ignore[call-overload]
            assert_equal(mine, theirs, f"{where}[{at}]")
    else:
        assert one == other, where


def assert_same_data(one: DataInfo, other: DataInfo) -> None:
    assert_equal(one, other)
    assert one.fingerprint == other.fingerprint
    assert repr(one) == repr(other)
    for name in ("user2id", "item2id", "id2user", "id2item", "user_consumed", "item_consumed"):
        mine, theirs = dict(getattr(one, name)), dict(getattr(other, name))
        assert [*map(type, mine)] == [*map(type, theirs)]
        assert_equal(mine, theirs, name)
    for name in ("popular_items", "min_max_rating", "global_mean", "data_size", "n_users", "n_items", "trained_items"):
        assert_equal(getattr(one, name), getattr(other, name), name)
    for side in ("user", "item"):
        assert_equal(one.table(side).n_ids, other.table(side).n_ids)
    assert (one.sparse_col, one.dense_col, one.context_col) == (other.sparse_col, other.dense_col, other.context_col)


# ---- what is saved is what is loaded


def test_a_rich_data_info_has_all_that_there_is_to_save(info):
    assert {(field.side, field.kind) for field in info.schema.fields} >= {
        ("user", "sparse"), ("user", "dense"), ("item", "multi_sparse"), ("item", "dense"),
        ("context", "sparse"), ("context", "multi_sparse"),
    }  # fmt: skip
    assert len(info.users.history.codes) > 20
    assert len(info.users.rows) > info.n_users + 1
    assert (999 in info.user2id, "only here" in info.item2id) == (True, True)
    assert info.vocabs["device"].values.tolist() == [3, "phone", "tv"]


def test_save_and_load_change_nothing(info, tmp_path):
    assert info.save(tmp_path, "rich") == tmp_path / "rich_data_info.safetensors"
    assert_same_data(DataInfo.load(tmp_path, "rich"), info)


def test_assigned_features_are_saved(tmp_path):
    info = rich()
    info.assign_item_features(pd.DataFrame({"item": ["i3"], "price": [77.0], "tags": [["z"]]}))
    info.assign_user_features(pd.DataFrame({"user": [101], "sex": ["X"]}))
    info.save(tmp_path, "rich")
    again = DataInfo.load(tmp_path, "rich")
    assert_same_data(again, info)
    again.assign_user_features(pd.DataFrame({"user": [101], "sex": ["F"]}))  # and it can go on


def test_saving_twice_gives_the_same_arrays(info, tmp_path):
    one, two = (info.save(tmp_path, name).read_bytes() for name in "ab")
    assert opened(one)[0]["header"] == opened(two)[0]["header"]
    assert_equal(*(dict(sorted(opened(content)[1].items())) for content in (one, two)))


IDS = st.integers(-(2**63), 2**63 - 1) | st.text(max_size=6) | st.sampled_from(
    [-(2**63), 2**63 - 1, 0, "", "\0", "a\0b", "a\0c", "é", "é", LONG, "1", 1, "ש", "😀"]
)  # fmt: skip
NUMBERS = st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([0.0, -0.0, 1e-38, 3e38, -3e38]) | st.none()


@st.composite
def frames(draw: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    n = draw(st.integers(2, 8))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=n, max_size=n))

    ids = draw(st.lists(IDS, min_size=1, max_size=4))
    frame = pd.DataFrame(
        {
            "user": pd.Series(column(st.sampled_from(ids)), dtype=object),
            "item": pd.Series(column(IDS), dtype=object),
            "label": column(st.floats(-1e6, 1e6, width=32)),
            "time": column(st.integers(-(2**62), 2**62) if draw(st.booleans()) else st.floats(-1e9, 1e9)),
            "plain": pd.Series(column(IDS), dtype=object),
            "left": pd.Series(column(IDS), dtype=object),
            "right": pd.Series(column(IDS | st.just("missing")), dtype=object),
            "lists": pd.Series([*column(st.lists(IDS, max_size=3))[:-1], ["never empty"]], dtype=object),
            "number": [*column(NUMBERS)[:-1], 1.0],
            "where": pd.Series(column(IDS), dtype=object),
        }
    )
    side = draw(st.sampled_from(["user_col", "item_col", "context_col"]))
    sides: dict[str, list[str]] = {"user_col": ["plain"], "item_col": ["left", "right"], "context_col": ["where"]}
    sides[side] = [*sides[side], "lists", "number"]
    return frame, {
        **sides,
        "sparse_col": ["plain", "where"],
        "dense_col": ["number"],
        "multi_sparse_col": [["left", "right"], "lists"],
        "dense_scaling": draw(st.sampled_from(["standard", "none"])),
    }


@given(frames(), st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_data_comes_back_from_its_file(tmp_path_factory, made, pure):
    frame, columns = made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        info = (DatasetPure.build_trainset(frame) if pure else DatasetFeat.build_trainset(frame, **columns))[1]
    header, arrays = info.packed()
    assert_same_data(DataInfo.unpacked(json.loads(json.dumps(header)), dict(arrays)), info)
    folder = tmp_path_factory.getbasetemp() / "any"
    info.save(folder, "data")
    assert_same_data(DataInfo.load(folder, "data"), info)


@pytest.mark.parametrize(
    "ids", [["é", "é"], ["", "a"], [" a\n", "a"], [LONG, LONG + "y"], [-(2**63), 2**63 - 1], ["7", 7]]
)
def test_odd_ids_come_back(tmp_path, ids):
    frame = pd.DataFrame({"user": pd.Series(ids, dtype=object), "item": [1, 2], "label": 1})
    info = DatasetPure.build_trainset(frame)[1]
    assert set(info.user2id) == set(ids)
    info.save(tmp_path, "odd")
    assert_same_data(DataInfo.load(tmp_path, "odd"), info)


# ---- contents that contradict themselves, of which the checksum is right


def put(name: str, at: Any, value: object) -> Edit:
    def edit(_: Entry, arrays: Arrays) -> None:
        assert (arrays[name][at] != value).any() or np.isnan(value)  # type: ignore[call-overload]
        arrays[name][at] = value

    return edit


def change(name: str, function: Callable[[np.ndarray], np.ndarray]) -> Edit:
    return lambda _, arrays: arrays.update({name: function(arrays[name])})


def as_format_1(function: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """How many users like each item, as format 1 said it, and not who."""

    def edit(_: Entry, arrays: Arrays) -> None:
        codes = arrays["data_info.consumed.codes"][arrays.pop("data_info.liked")]
        arrays["data_info.popularity"] = function(np.bincount(codes, minlength=len(arrays["data_info.items.owner"])))

    return edit


def header(**values: object) -> Edit:
    return lambda entry, _: entry["header"]["data_info"].update(values)


def of_field(name: str, **values: object) -> Edit:
    """Other properties of a field of the schema."""

    def edit(entry: Entry, _: Arrays) -> None:
        schema = json.loads(entry["header"]["data_info"]["schema"])
        [field] = [field for field in schema if field["name"] == name]
        field.update(values)
        entry["header"]["data_info"]["schema"] = json.dumps(schema)

    return edit


def of_schema(function: Callable[[list[Entry]], object]) -> Edit:
    def edit(entry: Entry, _: Arrays) -> None:
        schema = json.loads(entry["header"]["data_info"]["schema"])
        changed = function(schema)
        entry["header"]["data_info"]["schema"] = json.dumps(schema if changed is None else changed)

    return edit


def swapped(entry: Entry, arrays: Arrays) -> None:
    """What users did as what items did."""
    for name in [name for name in arrays if name.startswith("data_info.users.")]:
        other = name.replace("users", "items")
        arrays[name], arrays[other] = arrays[other], arrays[name]


def dropped(name: str) -> Edit:
    return lambda _, arrays: arrays.pop(f"data_info.{name}")


def more_times(_: Entry, arrays: Arrays) -> None:
    arrays["data_info.users.history_times"][:2] = [2**40, 0]


CONTRADICTIONS: dict[str, tuple[Edit, str]] = {
    # tables
    "an item's code that is too high": (put("data_info.items.codes", (5, 0), 10**6), "codes of 'item' are 0 to 21"),
    "an item's code that is negative": (put("data_info.items.codes", (5, 0), -1), "codes of 'item'"),
    "a user's code that is just too high": (put("data_info.users.codes", (3, 0), 26), "codes of 'user' are 0 to 25"),
    "a category's code that is too high": (put("data_info.users.codes", (3, 1), 4), "codes of 'sex' are 0 to 3"),
    "a category's code that is absent": (put("data_info.users.codes", (3, 1), -2), "codes of 'sex'"),
    "a group's code that is too high": (put("data_info.items.codes", (3, 2), 9), "codes of 'genre1'"),
    "a group's code below absent": (put("data_info.items.codes", (3, 1), -3), "codes of 'genre1' are -2"),
    "a list's code that is too high": (put("data_info.items.codes", (3, 3), 99), "codes of 'tags'"),
    "codes of another type": (change("data_info.items.codes", lambda a: a.astype(np.int64)), "item rows have"),
    "codes of too few columns": (change("data_info.items.codes", lambda a: a[:, :-1]), "item rows have their codes"),
    "codes of too few rows": (change("data_info.items.codes", lambda a: a[:-1]), "item rows have their codes"),
    "codes without a second dimension": (change("data_info.items.codes", np.ravel), "item rows have their codes"),
    "a number that is NaN": (put("data_info.items.dense", (1, 0), np.nan), "numbers of items are finite"),
    "a number that is infinite": (put("data_info.users.dense", (1, 0), np.inf), "numbers of users are finite"),
    "numbers of too many columns": (change("data_info.items.dense", lambda a: a[:, [0, 0]]), "item rows have"),
    "numbers of another type": (change("data_info.items.dense", lambda a: a.astype(np.float64)), "item rows have"),
    "users' rows as items' rows": (swapped, "rows"),
    "an owner that is too high": (put("data_info.users.owner", -1, 26), "owners of user rows are 0 to 25"),
    "an owner that is negative": (put("data_info.users.owner", -1, -1), "owners of user rows are 0 to 25"),
    "an owner in the wrong place": (put("data_info.users.owner", 3, 4), "the first user rows are those of now"),
    "owners that are too few": (change("data_info.items.owner", lambda a: a[:-1]), "item"),
    "no owners": (change("data_info.items.owner", lambda a: a[:0]), "item"),
    "owners of another type": (change("data_info.items.owner", lambda a: a.astype(np.int64)), "'owner' is a flat"),
    # history
    "changes out of order": (change("data_info.users.history_codes", lambda a: a[::-1]), "changes of users are in"),
    "times out of order": (more_times, "changes of users are in order"),
    "times that are too few": (change("data_info.users.history_times", lambda a: a[:-1]), "a time and a row"),
    "rows that are too few": (change("data_info.users.history_rows", lambda a: a[:-1]), "a time and a row"),
    "times that are NaN": (
        change("data_info.users.history_times", lambda a: np.full(a.shape, np.nan)), "times of users are numbers",
    ),
    "times of another type": (
        change("data_info.users.history_times", lambda a: a.astype(np.int32)), "times of users are numbers",
    ),
    "a change of the unknown user": (put("data_info.users.history_codes", 0, 0), "changed users are 1 to 25"),
    "a change of a user beyond all": (put("data_info.users.history_codes", -1, 26), "changed users are 1 to 25"),
    "a changed row beyond the table": (put("data_info.users.history_rows", 0, 10**6), "rows of changed users are 1 to"),
    "a changed row just beyond": (
        lambda e, a: put("data_info.users.history_rows", 0, len(a["data_info.users.owner"]))(e, a), "rows of changed",
    ),
    "a changed row below the table": (put("data_info.users.history_rows", 0, 0), "rows of changed users are 1 to"),
    # consumed
    "lists that begin late": (put("data_info.consumed.starts", 0, 1), "each user has a list of items"),
    "lists that go back": (put("data_info.consumed.starts", 3, 0), "end where they should"),
    "lists that end late": (put("data_info.consumed.starts", -1, 10**6), "end where they should"),
    "lists that end early": (
        change("data_info.consumed.codes", lambda a: np.append(a, a[:1])), "end where they should",
    ),
    "a list of the unknown user": (put("data_info.consumed.starts", 1, 1), "each user has a list of items"),
    "too few lists": (change("data_info.consumed.starts", lambda a: np.delete(a, 3)), "each user has a list of items"),
    "no lists": (change("data_info.consumed.starts", lambda a: a[:0]), "each user has a list of items"),
    "lists of another type": (
        change("data_info.consumed.starts", lambda a: a.astype(np.int32)), "'starts' is a flat array of int64",
    ),
    "a consumed item beyond all": (put("data_info.consumed.codes", 4, 22), "consumed items are 1 to 21"),
    "a consumed item below all": (put("data_info.consumed.codes", 0, 0), "consumed items are 1 to 21"),
    "a consumed item twice": (
        lambda _, a: a["data_info.consumed.codes"].__setitem__(1, a["data_info.consumed.codes"][0]), "distinct and in",
    ),
    "consumed items out of order": (
        lambda _, a: a["data_info.consumed.codes"].__setitem__(slice(0, 3), a["data_info.consumed.codes"][2::-1]),
        "distinct and in order",
    ),
    # vocabularies
    "an id twice": (put("data_info.vocab.user.integers", 1, 100), "the values of 'user' are distinct"),
    "a text twice": (
        lambda _, a: a["data_info.vocab.item.text"].__setitem__(slice(0, 4), np.frombuffer(b"i0i0", np.uint8)),
        "cannot be read",
    ),
    "text that ends beyond": (put("data_info.vocab.item.ends", -1, 10**9), "text of 'item' ends where it should"),
    "text that ends early": (change("data_info.vocab.item.text", lambda a: np.append(a, a)), "text of 'item' ends"),
    "text that goes back": (put("data_info.vocab.item.ends", 2, 0), "text of 'item' ends where it should"),
    "text that ends before it begins": (put("data_info.vocab.item.ends", 0, -5), "text of 'item' ends where it should"),
    "text that is no UTF-8": (put("data_info.vocab.item.text", 1, 0xFF), "decode"),
    "text that is half a letter": (put("data_info.vocab.item.text", 1, 0xC3), "decode"),
    "text that is a surrogate": (
        lambda _, a: a["data_info.vocab.item.text"].__setitem__(slice(-3, None), [0xED, 0xA0, 0x80]), "decode",
    ),
    "text that is missing": (change("data_info.vocab.item.ends", lambda a: a[[*range(19), -1]]), "has all its values"),
    "integers that are missing": (change("data_info.vocab.user.integers", lambda a: a[:-1]), "has all its values"),
    "integers that are text": (put("data_info.vocab.user.is_text", 0, True), "has all its values"),
    "flags of another type": (
        change("data_info.vocab.user.is_text", lambda a: a.astype(np.uint8)), "'is_text' is a flat array of bool",
    ),
    "integers of another type": (
        change("data_info.vocab.user.integers", lambda a: a.astype(np.float64)), "'integers' is a flat array",
    ),
    "an empty vocabulary": (
        lambda _, a: a.update({name: a[name][:0] for name in a if name.startswith("data_info.vocab.sex.")}), "codes of",
    ),
    "a vocabulary of one more value": (
        lambda _, a: a.update(
            {
                "data_info.vocab.user.integers": np.append(a["data_info.vocab.user.integers"], 7),
                "data_info.vocab.user.is_text": np.append(a["data_info.vocab.user.is_text"], False),
            }
        ),
        "user",
    ),
    # what was liked
    "too few likes": (change("data_info.liked", lambda a: a[:-1]), "each pair was liked or not"),
    "likes of another type": (
        change("data_info.liked", lambda a: a.astype(np.uint8)), "'liked' is a flat array of bool",
    ),
    # what format 1 had in its place
    "a popularity that is negative": (as_format_1(lambda a: a - 1), "popularities are numbers of users"),
    "a popularity above all users": (as_format_1(lambda a: a + 26), "popularities are numbers of users"),
    "too few popularities": (as_format_1(lambda a: a[:-1]), "each item has its popularity"),
    "popularities of another type": (as_format_1(lambda a: a.astype(np.float64)), "'popularity' is a flat array"),
    # the schema
    "an unknown kind": (of_field("sex", kind="virus"), "field 'sex' has a side and a kind"),
    "a kind that is null": (of_field("sex", kind=None), "field 'sex' has a side and a kind"),
    "an unknown side": (of_field("sex", side="nobody"), "field 'sex' has a side and a kind"),
    "a width of 0": (of_field("tags", width=0), "field 'tags' has a width"),
    "a width that is no integer": (of_field("tags", width=1.5), "field 'tags' has a width"),
    "a width of 10**9": (of_field("tags", width=10**9), "field 'tags' has a width"),
    "a width of 10**30": (of_field("tags", width=10**30), "field 'tags' has a width"),
    "a scale of 0": (of_field("price", scale=0), "field 'price' has finite numbers"),
    "a scale that is negative": (of_field("price", scale=-1.0), "field 'price' has finite numbers"),
    "a scale that is NaN": (of_field("price", scale=float("nan")), "field 'price' has finite numbers"),
    "a mean that is infinite": (of_field("price", mean=float("inf")), "field 'price' has finite numbers"),
    "an offset that is null": (of_field("price", offset=None), "cannot be read"),
    "columns that are numbers": (of_field("sex", columns=[1]), "field 'sex' has columns"),
    "columns that are null": (of_field("sex", columns=None), "cannot be read"),
    "a field with something more": (of_field("sex", code="import os"), "unexpected keyword"),
    "a field without a name": (of_schema(lambda schema: schema[1].pop("name") and None), "cannot be read"),
    "no fields": (of_schema(lambda schema: []), "the first field of the users is their id"),
    "a schema that is a number": (of_schema(lambda schema: 7), "cannot be read"),
    "users without their id": (of_schema(lambda schema: schema[1:]), "the first field of the users is their id"),
    "items without their id": (
        of_schema(lambda schema: [field for field in schema if field["name"] != "item"]), "the first field of",
    ),
    "an id that is not first": (
        of_schema(lambda schema: [schema[1], schema[0], *schema[2:]]), "the first field of the users is their id",
    ),
    "a field more": (
        of_schema(lambda schema: schema.append({**schema[1], "name": "new", "columns": ["new"]})), "it lacks 'is_text'",
    ),
    "a schema that is no JSON": (header(schema="["), "cannot be read"),
    "a schema that is null": (header(schema=None), "cannot be read"),
    "a schema that is nested deep": (header(schema="[" * 100_000), "cannot be read"),
    # the rest
    "labels that are NaN": (header(labels=[float("nan"), 0.0, 1.0]), "labels have a range"),
    "labels that are infinite": (header(labels=[0.5, 0.0, float("inf")]), "labels have a range"),
    "labels the wrong way round": (header(labels=[0.5, 1.0, 0.0]), "labels have a range"),
    "too few labels": (header(labels=[0.5, 1.0]), "cannot be read"),
    "too many labels": (header(labels=[0.5, 1.0, 2.0, 3.0]), "cannot be read"),
    "labels that are null": (header(labels=None), "cannot be read"),
    "no rows": (header(data_size=0), "there are rows"),
    "a number of rows that is infinite": (header(data_size=float("inf")), "cannot be read"),
    "a number of rows that is a list": (header(data_size=[1]), "cannot be read"),
    "no data": (lambda entry, _: entry["header"].pop("data_info"), "it lacks 'data_info'"),
    "data that is text": (lambda entry, _: entry["header"].update(data_info="x"), "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_data_that_contradicts_itself_is_refused(content, file, what):
    edit, match = CONTRADICTIONS[what]
    file.write_bytes(forged(content, edit))
    with pytest.raises(ValueError, match=match) as caught:
        DataInfo.load(file.parent, "rich")
    assert str(file) in str(caught.value)


def test_no_array_may_be_missing_or_of_another_shape(content, file):
    names = list(opened(content)[1])
    assert len(names) > 40
    for name in names:
        file.write_bytes(forged(content, lambda _, arrays, name=name: arrays.pop(name)))
        with pytest.raises(ValueError, match="cannot be read: it lacks"):
            DataInfo.load(file.parent, "rich")
        for wrong in (lambda a: a.reshape(1, *a.shape), lambda a: a.astype(np.float16), lambda a: np.zeros(())):
            file.write_bytes(forged(content, change(name, wrong)))
            with pytest.raises(ValueError, match="cannot be read"):
                DataInfo.load(file.parent, "rich")


def wrapped(_: Entry, arrays: Arrays) -> None:
    """Lists whose lengths are positive only because their differences overflow."""
    starts = arrays["data_info.consumed.starts"]
    starts[2], starts[3], starts[4:-1] = 2**63 - 1, -(2**63), -1


def test_lists_whose_lengths_overflow_do_not_crash(content, file):
    """In a process of its own: what came of it was a segmentation fault."""
    file.write_bytes(forged(content, wrapped))
    program = f"from recolib.data import DataInfo; DataInfo.load({str(file.parent)!r}, 'rich')"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "ValueError" in ran.stderr


def doubled(schema: list[Entry]) -> None:
    """Two fields of one name: codes of the second are looked for among those of the first."""
    [tags] = [field for field in schema if field["name"] == "tags"]
    tags.update(name="genre1")


def beyond(entry: Entry, arrays: Arrays) -> None:
    of_schema(doubled)(entry, arrays)
    arrays["data_info.items.codes"][:, 3] = 10**6


ACCEPTED: dict[str, Edit] = {
    "two fields of one name, the second of unchecked codes": beyond,
    "a context of width 10**6": of_field("device", width=10**6),
    "a plain field of two slots in a context": of_field("hour", width=2),
    "a mean that is text": of_field("price", mean="1.5"),
    "labels that are text": header(labels="123"),
    "a number of rows that is text": header(data_size="5"),
    "a row of another user's id": put("data_info.users.codes", (3, 0), 4),
    "a change that leads to another user's row": put("data_info.users.history_rows", 0, 20),
    "a mean label beyond the labels": header(labels=[9.0, 0.0, 1.0]),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_data_that_contradicts_itself_in_rarer_ways_is_refused(content, file, what):
    file.write_bytes(forged(content, ACCEPTED[what]))
    with pytest.raises(ValueError, match="cannot be read"):
        DataInfo.load(file.parent, "rich")


def test_what_the_tables_forge_loads_when_nothing_is_forged(content, info, file):
    """Else every row of the tables would pass for a reason of its own."""
    file.write_bytes(closed(*opened(content)))
    assert_same_data(DataInfo.load(file.parent, "rich"), info)
    file.write_bytes(forged(content, lambda _, arrays: arrays.update(extra=np.zeros(3))))
    assert_same_data(DataInfo.load(file.parent, "rich"), info)  # a later version may add arrays
