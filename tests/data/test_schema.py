from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recolib.data import Field, Schema
from recolib.data.schema import KINDS, SIDES, make_schema

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5).filter(
    lambda name: name not in ("user", "item", "label")
)
PADS = st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
EVERYTHING: dict[str, Any] = {
    "user_col": ["age", "sex", "hobby1", "hobby2"],
    "item_col": ["year", "tags", "genre2", "studio", "genre1", "genre3"],
    "context_col": ["hour", "heat"],
    "sparse_col": ["hour", "studio", "sex"],
    "dense_col": ["heat", "year", "age"],
    "multi_sparse_col": [["genre1", "genre2", "genre3"], "tags", ["hobby2", "hobby1"]],
    "pad_val": ["none", 0, "-"],
}


@st.composite
def column_lists(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of ``make_schema`` that are right: each column has one side and one kind."""
    groups = draw(st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=8, unique_by=tuple))
    seen: set[str] = set()
    lists: dict[str, Any] = {f"{side}_col": [] for side in SIDES} | {f"{kind}_col": [] for kind in KINDS}
    for group in groups:
        columns = [name for name in dict.fromkeys(group) if name not in seen]
        seen.update(columns)
        if not columns:
            continue
        lists[f"{draw(st.sampled_from(SIDES))}_col"] += columns
        kind = draw(st.sampled_from(list(KINDS)))
        lists[f"{kind}_col"] += [columns if len(columns) > 1 else columns[0]] if kind == "multi_sparse" else columns
    for side in SIDES:
        lists[f"{side}_col"] = draw(st.permutations(lists[f"{side}_col"]))
    n_groups = len(lists["multi_sparse_col"])
    lists["pad_val"] = draw(PADS | st.lists(PADS, min_size=n_groups, max_size=n_groups))
    return lists


def test_each_side_has_its_id_then_sparse_then_groups_then_numbers_in_the_order_of_the_kinds():
    schema = make_schema(**EVERYTHING)
    assert [field.name for field in schema.fields] == [
        *("user", "sex", "hobby2", "age"),
        *("item", "studio", "genre1", "tags", "year"),
        *("hour", "heat"),
    ]
    assert [field.name for field in schema.codes("item")] == ["item", "studio", "genre1", "tags"]
    assert [field.name for field in schema.features("item")] == ["studio", "genre1", "tags", "year"]
    assert [field.name for field in schema.dense("user")] == ["age"]
    assert [field.name for field in schema.codes("context")] == ["hour"]
    assert schema.columns("user") == ["sex", "hobby2", "hobby1", "age"]
    assert schema.columns("item") == ["studio", "genre1", "genre2", "genre3", "tags", "year"]
    assert schema.columns("context") == ["hour", "heat"]


def test_a_group_is_one_field_as_wide_as_its_columns_with_a_pad_of_its_own():
    fields = {field.name: field for field in make_schema(**EVERYTHING).fields}
    assert fields["genre1"] == Field(
        "genre1", "item", "multi_sparse", ("genre1", "genre2", "genre3"), pad_val="none", width=3
    )
    assert fields["tags"] == Field("tags", "item", "multi_sparse", ("tags",), lists=True, pad_val=0, width=0)
    assert fields["hobby2"].pad_val == "-"
    assert [name for name, field in fields.items() if field.lists] == ["tags"]
    assert fields["sex"].pad_val is None


def test_one_pad_is_every_groups():
    schema = make_schema(**(EVERYTHING | {"pad_val": 7}))
    assert {field.pad_val for field in schema.fields if field.kind == "multi_sparse"} == {7}


def test_spans_count_the_slots_of_a_side():
    schema = make_schema(**EVERYTHING)
    spans = {field.name: schema.span(field) for side in SIDES for field in schema.codes(side)}
    assert spans == {
        "user": slice(0, 1),
        "sex": slice(1, 2),
        "hobby2": slice(2, 4),
        "item": slice(0, 1),
        "studio": slice(1, 2),
        "genre1": slice(2, 5),
        "tags": slice(5, 5),
        "hour": slice(0, 1),
    }
    assert [schema.n_codes(side) for side in SIDES] == [4, 5, 1]


def test_without_columns_there_are_two_ids():
    schema = make_schema()
    assert schema.fields == (Field("user", "user", "sparse", ("user",)), Field("item", "item", "sparse", ("item",)))
    assert schema.n_codes("context") == 0
    assert schema.columns("user") == schema.columns("item") == schema.columns("context") == []


@given(column_lists())
def test_every_column_has_its_side_its_kind_and_the_order_of_its_kind(lists):
    schema = make_schema(**lists)
    for side in SIDES:
        assert sorted(schema.columns(side)) == sorted(lists[f"{side}_col"])
        kinds = [field.kind for field in schema.features(side)]
        assert kinds == sorted(kinds, key=["sparse", "multi_sparse", "dense", "vector"].index)
        for kind in KINDS:
            given_order = [(group,) if isinstance(group, str) else tuple(group) for group in lists[f"{kind}_col"]]
            mine = [columns for columns in given_order if columns[0] in lists[f"{side}_col"]]
            assert [field.columns for field in schema.features(side) if field.kind == kind] == mine
    assert [field.name for field in schema.fields if field.name in ("user", "item")] == ["user", "item"]


@given(column_lists())
def test_spans_part_the_code_columns_of_a_side(lists):
    schema = make_schema(**lists)
    for side in SIDES:
        columns = [column for field in schema.codes(side) for column in range(schema.n_codes(side))[schema.span(field)]]
        assert columns == list(range(schema.n_codes(side)))
        assert all(schema.span(field).stop - schema.span(field).start == field.width for field in schema.codes(side))
        if side != "context":
            assert schema.span(schema.codes(side)[0]) == slice(0, 1)


@given(column_lists(), NUMBERS, NUMBERS, NUMBERS, st.integers(1, 99))
def test_a_schema_survives_json(lists, mean, offset, scale, width):
    schema = make_schema(**lists)
    learnt = Field("\x00learnt", "item", "dense", ("\x00learnt",), mean=mean, offset=offset, scale=scale)
    wide = Field("\x00wide", "item", "multi_sparse", ("\x00wide",), pad_val=0, width=width)
    schema = Schema((*schema.fields, learnt, wide))
    text = schema.to_json()
    back = Schema.from_json(text)
    assert back == schema
    assert [type(field.pad_val) for field in back.fields] == [type(field.pad_val) for field in schema.fields]
    assert back.to_json() == text
    json.loads(text, parse_constant=pytest.fail)  # no NaN or Infinity, which are no JSON


def test_a_missing_number_enters_as_the_mean_whatever_the_scaling():
    assert Field("age", "user", "dense", ("age",), mean=30, offset=30, scale=5).missing == 0
    assert Field("age", "user", "dense", ("age",), mean=30).missing == 30


def test_a_pad_of_numpy_survives_json():
    schema = make_schema(item_col=["tags"], multi_sparse_col=["tags"], pad_val=[np.int64(0)])
    assert Schema.from_json(schema.to_json()) == schema
