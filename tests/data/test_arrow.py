"""Frames that come over Arrow: views of text, streams that can be read once, and objects of other libraries."""

from __future__ import annotations

import datetime as dt
import warnings

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from recolib.algorithms import FM
from recolib.data import DatasetFeat, DatasetPure, random_split, split_by_ratio, split_multi_value
from recolib.datasets import make_movies
from recolib.evaluation import evaluate

COLUMNS = {"user_col": ["sex"], "item_col": ["tags"], "sparse_col": ["sex"], "multi_sparse_col": ["tags"]}


def log():
    movies = make_movies(n_users=30, n_items=30, n_ratings=400)
    tags = [[f"t{item % 3}", f"t{item % 5}"] for item in movies["item"]]
    frame = movies.assign(user=movies["user"].map("u{}".format), tags=tags)
    return frame[["user", "item", "label", "time", "sex", "tags"]]


def of_views(frame):
    table = pa.table(pl.from_pandas(frame))
    assert "string_view" in str(table.schema)
    return table


class Relation:
    """What an object of another library gives: a stream, and nothing else."""

    def __init__(self, frame):
        self.table = of_views(frame)

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def stream(frame):
    table = of_views(frame)
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=50))


CARRIERS = {
    "a table of views": of_views,
    "views in pandas": lambda frame: of_views(frame).to_pandas(types_mapper=pd.ArrowDtype),
    "a stream": stream,
    "a batch": lambda frame: of_views(frame).combine_chunks().to_batches()[0],
    "another library's object": Relation,
    "a collected frame of polars": lambda frame: pl.from_pandas(frame).lazy().collect(),
}


@pytest.mark.parametrize("carry", CARRIERS.values(), ids=CARRIERS)
def test_what_comes_over_arrow_is_encoded_as_a_pandas_frame_is(carry):
    frame = log()
    data, info = DatasetFeat.build_trainset(frame, **COLUMNS)
    same, same_info = DatasetFeat.build_trainset(carry(frame), **COLUMNS)
    assert same.digest() == data.digest()
    assert same_info.fingerprint == info.fingerprint
    assert (
        DatasetFeat.build_testset(carry(frame), data_info=info).digest()
        == DatasetFeat.build_testset(frame, data_info=info).digest()
    )
    merged, same_merged = (DatasetFeat.merge_trainset(one, info)[0] for one in (frame, carry(frame)))
    assert same_merged.digest() == merged.digest()
    assert DatasetPure.build_trainset(carry(frame))[0].digest() == DatasetPure.build_trainset(frame)[0].digest()


@pytest.mark.parametrize("carry", CARRIERS.values(), ids=CARRIERS)
def test_what_comes_over_arrow_is_split_as_a_pandas_frame_is(carry):
    frame = log()
    for split in (random_split, split_by_ratio):
        expected = [part["item"].tolist() for part in split(frame, test_size=0.2)]
        parts = split(carry(frame), test_size=0.2)
        assert [list(map(int, pl.from_arrow(pa.table(part))["item"])) for part in parts] == expected
        assert [list(map(str, pa.table(part)["user"].to_pylist()[:1])) for part in parts] != [[], []]


@pytest.mark.parametrize("carry", CARRIERS.values(), ids=CARRIERS)
def test_features_of_requests_and_new_items_may_come_over_arrow(carry):
    frame = log()
    data, info = DatasetFeat.build_trainset(frame, **COLUMNS)
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0, eval_data=carry(frame))
    feats = pd.DataFrame({"user": ["u1", "new"], "sex": ["F", "M"]})
    lists, same = (model.recommend_user(["u1", "new"], 3, user_feats=some) for some in (feats, carry(feats)))
    assert [lists[user].tolist() for user in lists] == [same[user].tolist() for user in lists]
    assert evaluate(model, carry(frame), neg_sampling=True) == evaluate(model, frame, neg_sampling=True)
    items = pd.DataFrame({"item": ["x", "y"], "tags": [["t1"], ["t2", "t0"]]})
    model.add_items(carry(items)).update(carry(frame), neg_sampling=True, verbose=0)
    assert model.data_info.item_frame()["tags"].tolist()[-2:] == [["t1"], ["t2", "t0"]]


def test_text_of_several_values_may_come_as_views():
    frame = pl.DataFrame({"item": [1, 2], "genre": ["a|b", "c"]})
    table = split_multi_value(pa.table(frame), ["genre"], "|", item_col=["genre"])[0]
    assert table["genre_1"].to_pylist() == ["a", "c"]


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.timestamp("ms"), pa.timestamp("us", "UTC")])
def test_dates_of_arrow_are_times(kind):
    frame = log()
    days = [dt.datetime(2024, 1, 1) + dt.timedelta(days=at * 37 % 400) for at in range(len(frame))]
    expected = DatasetPure.build_trainset(frame.assign(time=pd.to_datetime(pd.Series(days))))[0].times
    column = pa.array(days).cast(kind, safe=False)
    table = of_views(frame).set_column(3, "time", column)
    in_pandas = frame.assign(time=pd.Series(pd.arrays.ArrowExtensionArray(column)))
    for one in (table, in_pandas, pl.from_arrow(table)):
        assert DatasetPure.build_trainset(one)[0].times.tolist() == expected.tolist()


def test_reading_warns_of_nothing():
    with warnings.catch_warnings(action="error"):
        for carry in CARRIERS.values():
            DatasetFeat.build_trainset(carry(log()), **COLUMNS)


@pytest.mark.parametrize("data", [pa.chunked_array([[1, 2]]), pl.Series([1, 2]), pd.Series([1, 2])])
def test_a_column_is_no_frame(data):
    with pytest.raises(ValueError, match="train_data must be a pandas, polars or pyarrow frame, got"):
        DatasetPure.build_trainset(data)


@pytest.mark.parametrize("as_pandas", [False, True])
def test_lists_that_come_as_views_may_be_missing(as_pandas):
    tags = [["a", "b"], None, ["b"], [], ["c", "a"]]
    views = pa.chunked_array([pa.array(some, pa.list_view(pa.string())) for some in (tags[:3], tags[3:])])
    table = pa.table({"user": range(5), "item": range(5), "label": [1] * 5, "tags": views})
    frame = table.to_pandas(types_mapper=pd.ArrowDtype) if as_pandas else table
    info = DatasetFeat.build_trainset(frame, item_col=["tags"], multi_sparse_col=["tags"])[1]
    assert info.item_frame()["tags"].tolist() == [["a", "b"], [], ["b"], [], ["c", "a"]]
