"""Values and ids that the vocabularies do not have are told of, on every way in, with the nearest known one."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from recolib.algorithms import FM
from recolib.data import DatasetFeat, DatasetPure
from recolib.data.unseen import nearest
from recolib.data.vocab import Vocab
from recolib.evaluation import evaluate
from recolib.exceptions import MixedTypesWarning, UnknownIdWarning, UnseenValueWarning
from recolib.testing.worlds import two_tastes

COLUMNS = {
    "user_col": ["sex", "decade"],
    "item_col": ["genre1", "genre2", "tags"],
    "context_col": ["hour"],
    "sparse_col": ["sex", "decade", "hour"],
    "multi_sparse_col": [["genre1", "genre2"], "tags"],
}


def log():
    return two_tastes().assign(decade=lambda frame: frame["age"].astype(int) // 5 * 10)


@pytest.fixture(scope="module")
def model():
    data, info = DatasetFeat.build_trainset(log(), **COLUMNS)
    return FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)


UNSEEN = [
    (
        "sex",
        "f",
        "column 'sex' has 1 values that training did not see, such as 'f'.*; the nearest known value is 'F'",
    ),
    ("sex", " F ", "such as ' F ': they count as unknown; the nearest known value is 'F'"),
    ("decade", "40", "such as '40': they count as unknown; the nearest known value is 40"),
    ("decade", 47, "such as 47: they count as unknown; the nearest known value is 50"),
    ("decade", "old", "such as 'old': they count as unknown; all known values are integers"),
    ("genre1", "Even", "column 'genre1' has 1 .*; the nearest known value is 'even'"),
    ("genre2", "thrid", "column 'genre2' has 1 .*; the nearest known value is 'third'"),
    ("tags", ["x", "Y", "q"], "column 'tags' has 2 values .* such as 'Y': .*; the nearest known value is 'y'"),
    ("hour", "2", "column 'hour' has 1 .*; the nearest known value is 2"),
]


def warned(call, category=UnseenValueWarning):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(one.message) for one in caught if one.category is category]


@pytest.mark.parametrize(("name", "value", "message"), UNSEEN)
def test_a_category_that_training_did_not_see_is_told_of_by_predict(model, name, value, message):
    feats = {"hour": 1} | {name: value}
    with pytest.warns(UnseenValueWarning, match=message):
        model.predict(100, "i3", feats=feats)


@pytest.mark.parametrize("carry", [lambda frame: frame, pl.from_pandas, pa.Table.from_pandas])
def test_unseen_categories_are_told_of_wherever_features_come_in(model, carry):
    info = model.data_info
    feats = carry(pd.DataFrame({"user": [100, 101], "sex": ["f", "m"]}))
    assert "has 2 values" in warned(lambda: model.recommend_user([100, 101], 2, feats, context={"hour": 1}))[0]
    assert "'hour' has 2 values" in warned(lambda: model.recommend_user([100, 101], 2, context={"hour": 99}))[0]
    assert "'hour' has 1 values" in warned(lambda: model.user_vectors([100], context={"hour": "1"}))[0]
    assert "'sex'" in warned(lambda: info.assign_user_features(feats))[0]
    assert "'genre1'" in warned(lambda: info.assign_item_features(pd.DataFrame({"item": ["i1"], "genre1": "ODD"})))[0]
    later = log().assign(hour="1")
    n = len(later)
    assert f"'hour' has {n} values" in warned(lambda: DatasetFeat.build_testset(carry(later), data_info=info))[0]
    assert f"'hour' has {n} values" in warned(lambda: evaluate(model, carry(later), neg_sampling=True))[0]
    strangers = carry(log().assign(user=999, sex="f"))
    assert "'sex'" in warned(lambda: DatasetFeat.build_testset(strangers, data_info=info))[0]
    new = carry(pd.DataFrame({"item": ["new"], "genre1": ["Odd"], "genre2": ["missing"]}))
    assert "'Odd': they are untrained until an update; the nearest known value is 'odd'" in str(
        warned(lambda: FM("ranking", info).add_items(new))
    )


def test_rows_that_nobody_asked_for_are_not_told_of(model):
    feats = pd.DataFrame({"user": [100, 101, 102], "sex": ["F", "f", "f"]})
    assert not warned(lambda: model.recommend_user([100], 2, feats, context={"hour": 1}))
    assert "has 1 values" in warned(lambda: model.recommend_user([100, 101, 7], 2, feats, context={"hour": 1}))[0]


def test_what_is_known_missing_or_a_pad_is_not_told_of(model):
    rows = [
        {"sex": "F", "decade": 40, "genre1": "even", "genre2": "missing", "tags": ["x"], "hour": 1},
        {"sex": None, "decade": np.nan, "genre1": None, "genre2": "third", "tags": None, "hour": 0},
    ]
    with warnings.catch_warnings(action="error"):
        model.predict([100, 101], ["i3", "i4"], feats=rows)
        model.predict([100, 101], ["i3", "i4"], feats=pd.DataFrame(rows).convert_dtypes())


@pytest.mark.parametrize(
    ("users", "message"),
    [
        (
            [7, "7", 8, 8, 8, 8],
            "column 'user' has 5 integers and 1 strings, .* each other, such as 7 and '7'",
        ),
        (
            [7, "guest", 8, 8, 8, 8],
            "column 'user' has 5 integers and 1 strings, .* each other; make them",
        ),
    ],
)
def test_integers_beside_text_in_a_column_of_ids_are_told_of_with_both_counts(users, message):
    frame = pd.DataFrame({"user": pd.Series(users, dtype=object), "item": list("ababab"), "label": 1})
    with pytest.warns(MixedTypesWarning, match=message):
        DatasetPure.build_trainset(frame)
    with pytest.warns(MixedTypesWarning, match=message.replace("user", "item")):
        DatasetPure.build_trainset(frame.rename(columns={"user": "item", "item": "user"}))


def test_ids_of_a_type_that_the_data_does_not_have_are_told_of_when_they_come_later():
    frame = pd.DataFrame({"user": [7, 8, 8], "item": ["a", "b", "a"], "label": 1})
    data, info = DatasetPure.build_trainset(frame)
    text = frame.astype({"user": str})
    beside = "column 'user' has 0 integers and 3 strings beside 2 known integers and 0 known strings.* 7 and '7'"
    with pytest.warns(MixedTypesWarning, match=beside):
        merged = DatasetPure.merge_trainset(text, info)[1]
    with warnings.catch_warnings(action="error"):
        DatasetPure.merge_trainset(text, merged)
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    with pytest.warns(MixedTypesWarning, match="column 'user'"):
        model.update(text, neg_sampling=True, verbose=0)
    with pytest.warns(MixedTypesWarning, match="column 'item'"):
        model.add_items(pd.DataFrame({"item": [5]}))
    with pytest.warns(MixedTypesWarning, match="column 'user' has 2 unknown ids that are known in .* '7' as 7"):
        DatasetPure.build_testset(text, data_info=info)
    features = pd.DataFrame({"user": ["7", "8"], "age": [1, 2]})
    with pytest.warns(MixedTypesWarning, match="column 'user' has 0 integers and 2 strings beside 2 known integers"):
        DatasetFeat.build_trainset(frame, user_col=["age"], dense_col=["age"], user_features=features)


def test_an_id_of_the_other_type_in_a_request_is_told_of(model):
    told = "has 1 unknown ids that are known in the other type, such as '100' as 100"
    with pytest.warns(MixedTypesWarning, match=f"argument 'user' {told}"), pytest.warns(UnknownIdWarning):
        model.predict("100", "i3", feats={"hour": 1})
    with pytest.warns(MixedTypesWarning, match=told), pytest.warns(UnknownIdWarning, match="known values are integers"):
        model.recommend_user("100", 3, context={"hour": 1})
    with pytest.warns(UnknownIdWarning, match="1 of the exclude are unknown items: .*; all known values are strings"):
        model.recommend_user(100, 3, exclude=[3], context={"hour": 1})


def test_a_category_of_both_types_is_told_of_where_they_hold_the_same():
    frame = pd.DataFrame(
        {"user": [1, 2, 3], "item": [4, 5, 6], "label": 1, "zip": pd.Series([10, "10", 11], dtype=object)}
    )
    columns = {"user_col": ["zip"], "sparse_col": ["zip"]}
    with pytest.warns(MixedTypesWarning, match="column 'zip' has 2 integers and 1 strings.* such as 10 and '10'"):
        info = DatasetFeat.build_trainset(frame, **columns)[1]
    other = frame.assign(zip=pd.Series([10, "x", 11], dtype=object))
    with warnings.catch_warnings(action="error"):
        info = DatasetFeat.build_trainset(other, **columns)[1]
    with warnings.catch_warnings(action="error"):
        DatasetFeat.merge_trainset(frame.assign(zip=12), info)


@pytest.mark.parametrize(
    ("known", "value", "near"),
    [
        ([1, 5, 9], 6, 5),
        ([1, 5, 9], "5", 5),
        ([1, 5, 9], "5.0", 5),
        ([1, 5, 9], "five", None),
        (["a", "B"], "b", "B"),
        (["a", "1"], 1, "1"),
        (["comedy", "drama"], "Comdey ", "comedy"),
        (["comedy"], 3, None),
        ([f"Value {n}" for n in range(5000)], "value 17", "Value 17"),
        ([2**63 - 1], "9" * 30, None),
        ([1], "²", None),
    ],
)
def test_the_nearest_known_value(known, value, near):
    assert nearest(value, Vocab.of(np.array(known, object if isinstance(known[0], str) else np.int64))) == near
