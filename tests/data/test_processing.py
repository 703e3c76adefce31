from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, PowerTransformer, RobustScaler, StandardScaler

from recolib.data.processing import process_data, split_multi_value

SCALERS = {
    "min_max": MinMaxScaler,
    "standard": StandardScaler,
    "robust": RobustScaler,
    "power": PowerTransformer,
}


@pytest.fixture
def people():
    return pd.DataFrame(
        {"user": range(6), "age": [18, 25, 1, 56, 35, 45], "income": [9.5, 0.0, 3.25, 8.0, 1.0, 2.0]},
        index=[5, 5, 4, 3, 2, 1],
    )


@pytest.fixture
def movies():
    return pd.DataFrame(
        {
            "item": [1, 2, 3, 4, 5, 6],
            "genre": ["Crime|Film noir", " Drama | Crime|War|", None, "", "Drama", "Crime|Film noir"],
            "tags": ["a, b", "c", "a", "b,,c", "a,a", "a"],
            "year": [1999.0, np.nan, 1950.0, 1980.0, np.nan, 2000.0],
            "title": pd.Series(["A", None, "C", "D", "E", "F"]),
        }
    )


@pytest.mark.parametrize("normalizer", [*SCALERS, "Min_Max", "STANDARD"])
def test_scaled_columns_are_those_of_scikit_learn(people, normalizer):
    data, names = process_data(people, ["income", "age"], normalizer, transformer=None)
    expected = SCALERS[normalizer.lower()]().fit_transform(people[["income", "age"]])
    np.testing.assert_allclose(data[["income", "age"]], expected, rtol=1e-6, atol=1e-6)
    assert names == ["income", "age"]
    assert data.columns.tolist() == ["user", "age", "income"]
    assert data["user"].equals(people["user"])
    assert (data[["income", "age"]].dtypes == np.float32).all()


@pytest.mark.parametrize("normalizer", SCALERS)
def test_statistics_come_from_the_first_frame(people, normalizer):
    train, later = people.iloc[:4], people.iloc[4:]
    (_, scaled), _ = process_data((train, later), ["age"], normalizer, transformer=None)
    expected = SCALERS[normalizer]().fit(train[["age"]].to_numpy()).transform(later[["age"]].to_numpy())
    np.testing.assert_allclose(scaled[["age"]], expected, rtol=1e-5)


def test_transforms_of_the_scaled_values_are_added_after_all_columns(people):
    data, names = process_data(people, ["income", "age"])
    added = [f"{column}_{name}" for column in ("income", "age") for name in ("log", "sqrt", "square")]
    assert names == ["income", "age", *added]
    assert data.columns.tolist() == ["user", "age", "income", *added]
    for column in ("income", "age"):
        low, high = people[column].min(), people[column].max()
        scaled = (people[column] - low) / (high - low)
        np.testing.assert_allclose(data[f"{column}_log"], np.log1p(scaled), rtol=1e-6)
        np.testing.assert_allclose(data[f"{column}_sqrt"], np.sqrt(scaled), rtol=1e-6)
        np.testing.assert_allclose(data[f"{column}_square"], np.square(scaled), rtol=1e-6)


def test_only_the_transforms_asked_for_are_added(people):
    assert process_data(people, ["age"], transformer=["square", "log"])[1] == ["age", "age_log", "age_square"]
    assert process_data(people, ["age"], transformer=[])[1] == ["age"]


def test_column_below_zero_gets_no_transform_and_a_warning(people):
    with pytest.warns(UserWarning, match=r"columns \['age', 'income'\] have values below zero once scaled"):
        data, names = process_data(people, ["age", "income"], "standard")
    assert names == ["age", "income"]
    assert data.columns.tolist() == people.columns.tolist()


def test_column_below_zero_in_a_later_frame_gets_no_transform_in_any(people):
    later = people.assign(age=people["age"] - 10)
    with pytest.warns(UserWarning, match=r"columns \['age'\] have values below zero"):
        frames, names = process_data([people, later], ["age", "income"], transformer=["sqrt"])
    assert names == ["age", "income", "income_sqrt"]
    assert [frame.columns.tolist() for frame in frames] == [["user", "age", "income", "income_sqrt"]] * 2


def test_nothing_is_warned_of_when_no_transform_is_asked_for(people):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        process_data(people, ["age"], "standard", transformer=None)


def test_frame_list_and_tuple_come_back_as_they_came(people):
    assert isinstance(process_data(people, ["age"])[0], pd.DataFrame)
    assert isinstance(process_data([people, people], ["age"])[0], list)
    frames, _ = process_data((people, people, people), ["age"])
    assert isinstance(frames, tuple)
    assert len(frames) == 3


def test_missing_numbers_stay_missing(people):
    data, _ = process_data(people.assign(age=[18, np.nan, 1, 56, 35, np.nan]), ["age"])
    for name in ("age", "age_log", "age_sqrt", "age_square"):
        assert data[name].isna().tolist() == [False, True, False, False, False, True]


@pytest.mark.parametrize("convert", [pl.from_pandas, pa.Table.from_pandas])
def test_polars_and_pyarrow_are_processed_as_pandas(people, convert):
    people = people.reset_index(drop=True)
    (expected, _), names = process_data((people, people), ["age", "income"])
    (data, _), other_names = process_data((convert(people), convert(people)), ["age", "income"])
    assert isinstance(data, type(convert(people)))
    assert other_names == names
    assert data.to_pandas().equals(expected)


@pytest.mark.parametrize("normalizer", SCALERS)
def test_processing_changes_neither_input_nor_index(people, normalizer):
    before, columns = people.copy(deep=True), ["age"]
    data, _ = process_data(people, columns, normalizer, transformer=None)
    assert people.equals(before)
    assert columns == ["age"]
    assert data.index.equals(people.index)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dense_col": None}, "dense_col must be a list of names, got None"),
        ({"dense_col": "age"}, "dense_col must be a list of names, got 'age'"),
        ({"dense_col": [1]}, "dense_col must be a list of names, got \\[1\\]"),
        ({"dense_col": []}, "dense_col must name at least one column"),
        ({"dense_col": ["age", "age"]}, "dense_col has \\['age'\\] more than once"),
        ({"dense_col": ["height"]}, "columns \\['height'\\] are not in data"),
        ({"dense_col": ["name"]}, "column 'name' must hold numbers, found text such as 'x'"),
        (
            {"dense_col": ["age"], "normalizer": "unknown"},
            "normalizer='unknown' is unknown: choose from \\['min_max', 'standard', 'robust', 'power'\\]",
        ),
        ({"dense_col": ["age"], "normalizer": None}, "normalizer=None is unknown"),
        ({"dense_col": ["age"], "transformer": "log"}, "transformer must be a list of names, got 'log'"),
        (
            {"dense_col": ["age"], "transformer": ["cube"]},
            "unknown names \\['cube'\\]: choose from \\['log', 'sqrt', 'square'\\]",
        ),
        (
            {"dense_col": ["age"], "transformer": ["log"]},
            "columns \\['age_log'\\] are to be added, but the data has them",
        ),
    ],
)
def test_wrong_arguments_of_process_data_are_refused(people, options, message):
    with pytest.raises(ValueError, match=message):
        process_data(people.assign(name="x", age_log=1.0), **options)


def test_frame_at_fault_is_named(people):
    with pytest.raises(ValueError, match=r"columns \['age'\] are not in data\[1\]"):
        process_data((people, people[["user"]]), ["age"])
    with pytest.raises(ValueError, match="data has no frames"):
        process_data([], ["age"])


def test_texts_of_several_values_become_columns_padded_at_the_end(movies):
    data, groups, of_users, of_items = split_multi_value(
        movies, multi_value_col=["genre"], sep="|", user_col=["sex"], item_col=["genre", "year"]
    )
    assert groups == [["genre_1", "genre_2", "genre_3"]]
    assert (of_users, of_items) == ([], groups[0])
    assert data.columns.tolist() == ["item", "tags", "year", "title", *groups[0]]
    assert data[groups[0]].to_numpy().tolist() == [
        ["Crime", "Film noir", "missing"],
        ["Drama", "Crime", "War"],
        ["missing", "missing", "missing"],
        ["missing", "missing", "missing"],
        ["Drama", "missing", "missing"],
        ["Crime", "Film noir", "missing"],
    ]


def test_only_the_new_columns_are_padded(movies):
    data, *_ = split_multi_value(movies, ["genre"], "|")
    assert data["year"].equals(movies["year"])
    assert data["title"].equals(movies["title"])


def test_each_column_has_its_own_length_padding_and_side(movies):
    tags = movies.assign(genre=movies["genre"].str.replace("|", ","))
    data, groups, of_users, of_items = split_multi_value(
        tags, ["tags", "genre"], ",", max_len=[1, 4], pad_val=["none", "?"], user_col=["tags"], item_col=["genre"]
    )
    assert groups == [["tags_1"], ["genre_1", "genre_2", "genre_3", "genre_4"]]
    assert (of_users, of_items) == (groups[0], groups[1])
    assert data["tags_1"].tolist() == ["a", "c", "a", "b", "a", "a"]
    assert data["genre_4"].tolist() == ["?"] * 6


def test_separator_that_does_not_occur_leaves_texts_whole(movies):
    data, *_ = split_multi_value(movies, ["genre"], sep="/", max_len=[3])
    assert data["genre_1"].tolist()[:2] == ["Crime|Film noir", "Drama | Crime|War|"]
    assert (data[["genre_2", "genre_3"]] == "missing").all(axis=None)


@pytest.mark.parametrize("sep", ["|", ".", "::", "(", "\\d", " "])
def test_separator_is_literal(sep):
    data, groups, *_ = split_multi_value(pd.DataFrame({"tags": [f"a1{sep}B2{sep}c"]}), ["tags"], sep)
    assert data.to_numpy().tolist() == [["a1", "B2", "c"]]
    assert groups == [["tags_1", "tags_2", "tags_3"]]


def test_texts_without_any_value_give_one_padded_column():
    data, groups, *_ = split_multi_value(pd.DataFrame({"tags": ["", " | ", None]}), ["tags"], "|")
    assert groups == [["tags_1"]]
    assert data["tags_1"].tolist() == ["missing"] * 3


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.lists(st.text("abXY é.", min_size=1).map(str.strip).filter(bool), max_size=5), min_size=1),
    blanks=st.sampled_from(["", " ", "  "]),
)
def test_values_come_back_in_their_order(rows, blanks):
    texts = [f"{blanks}|{blanks}".join(row) for row in rows]
    data, groups, *_ = split_multi_value(pd.DataFrame({"v": pd.Series(texts, dtype=object)}), ["v"], "|", pad_val="-")
    width = max(1, max(map(len, rows)))
    assert len(groups[0]) == width
    assert data.to_numpy().tolist() == [row + ["-"] * (width - len(row)) for row in rows]


@pytest.mark.parametrize("convert", [pl.from_pandas, pa.Table.from_pandas])
def test_polars_and_pyarrow_are_split_as_pandas(movies, convert):
    expected, *columns = split_multi_value(movies, ["genre", "tags"], "|", item_col=["genre"])
    data, *other_columns = split_multi_value(convert(movies), ["genre", "tags"], "|", item_col=["genre"])
    assert isinstance(data, type(convert(movies)))
    assert other_columns == columns
    pd.testing.assert_frame_equal(data.to_pandas(), expected, check_dtype=False)


def test_categorical_texts_are_split(movies):
    expected, *_ = split_multi_value(movies, ["genre"], "|")
    data, *_ = split_multi_value(movies.astype({"genre": "category"}), ["genre"], "|")
    assert data.equals(expected)


def test_taking_texts_apart_changes_neither_input_nor_index(movies):
    movies = movies.set_index(np.array([3, 3, 1, 0, -1, 8]))
    before = movies.copy(deep=True)
    data, *_ = split_multi_value(movies, ["genre"], "|")
    assert movies.equals(before)
    assert data.index.equals(movies.index)
    assert data["genre_1"].tolist()[-1] == "Crime"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"multi_value_col": "genre"}, ValueError, "multi_value_col must be a list of names, got 'genre'"),
        ({"multi_value_col": []}, ValueError, "multi_value_col must name at least one column"),
        ({"multi_value_col": ["actors"]}, ValueError, "columns \\['actors'\\] are not in data"),
        ({"multi_value_col": ["year"]}, ValueError, "column 'year' must hold text, found 1999"),
        (
            {"multi_value_col": ["lists"]},
            ValueError,
            "column 'lists' holds lists: name it, by itself, in multi_sparse_col",
        ),
        ({"user_col": "genre"}, ValueError, "user_col must be a list of names, got 'genre'"),
        ({"item_col": "genre"}, ValueError, "item_col must be a list of names, got 'genre'"),
        ({"user_col": ["genre"], "item_col": ["genre"]}, ValueError, "\\['genre'\\] are in user_col and in item_col"),
        ({"sep": ""}, ValueError, "sep must not be empty"),
        ({"sep": None}, TypeError, "sep must be a str, got None"),
        ({"max_len": 3}, TypeError, "max_len must be a list with one int for each column, got 3"),
        ({"max_len": [3.0]}, TypeError, "max_len must be a list with one int for each column, got \\[3.0\\]"),
        ({"max_len": [3, 3]}, ValueError, "max_len must have one entry for each of 1 columns"),
        ({"max_len": [0]}, ValueError, "max_len must be at least 1, got 0"),
        ({"pad_val": ["a", "b"]}, ValueError, "pad_val must have one entry for each of 1 columns"),
        ({"pad_val": 0}, TypeError, "pad_val must be a str like the values, got 0"),
        ({"multi_value_col": ["tags"]}, ValueError, "columns \\['tags_1'\\] are to be added, but the data has them"),
    ],
)
def test_wrong_arguments_of_split_multi_value_are_refused(movies, options, error, message):
    data = movies.assign(lists=[["a"]] * 6, tags_1="x")
    with pytest.raises(error, match=message):
        split_multi_value(data, **({"multi_value_col": ["genre"], "sep": "|"} | options))
