"""Splits of what is read in parts: the rows that the functions for frames give, and nothing copied."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pandas as pd
import pytest

from recolib.algorithms import FM
from recolib.data import (
    DatasetPure,
    split_by_num,
    split_by_num_chrono,
    split_by_ratio,
    split_by_ratio_chrono,
    split_in_parts,
)
from recolib.data.streaming import splitting
from recolib.data.streaming.sources import source_of
from recolib.evaluation import evaluate
from recolib.exceptions import LeftOutRowsWarning
from tests.data.test_streaming import cut, same

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
ds = pytest.importorskip("pyarrow.dataset")

N = 300
pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")


def log(n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "user": rng.choice([f"u{number}" for number in range(40)], n, p=np.arange(1, 41) / 820),
            "item": rng.integers(0, 30, n),
            "label": rng.integers(0, 2, n),
            "time": rng.integers(0, 200, n),
            "row": np.arange(n),
        }
    )


def rows_of(part) -> list[int]:
    """The numbers of a part's rows, in its order."""
    columns = ["user", "item", "row"]
    return [row for one in source_of(part).parts(columns) for row in one.read(columns)["row"].to_list()]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "events"
    path.mkdir()
    table = pa.Table.from_pandas(log(), preserve_index=False)
    pq.write_table(table[:200], path / "a.parquet", row_group_size=30)
    pq.write_table(table[200:200], path / "b.parquet")
    pq.write_table(table[200:], path / "c.parquet", row_group_size=45)
    return path


@pytest.mark.parametrize(
    ("function", "sizes", "drop"),
    [
        (split_by_ratio_chrono, {"test_size": 0.3}, []),
        (split_by_ratio_chrono, {"multi_ratios": [6, 3, 1]}, []),
        (split_by_num_chrono, {"test_size": 2}, []),
        (split_by_ratio, {"multi_ratios": [0.5, 0.25, 0.25]}, ["time"]),
        (split_by_num, {"test_size": 3}, ["time"]),
    ],
)
def test_by_user_parts_have_the_rows_of_the_function_for_frames(function, sizes, drop, monkeypatch):
    monkeypatch.setattr(splitting, "EVENTS_AT_ONCE", 40)  # several ranges of users
    frame = log().drop(columns=drop)
    expected = [sorted(part["row"]) for part in function(frame, **sizes)]
    for size in (7, 100, N):
        parts = split_in_parts(lambda size=size: cut(frame, size), "user", **sizes)
        assert [rows_of(part) for part in parts] == expected
        assert [part.n_rows for part in parts] == [len(rows) for rows in expected]


def test_unknown_ids_may_stay():
    frame = log().drop(columns="time")
    expected = [sorted(part["row"]) for part in split_by_num(frame, test_size=1, filter_unknown=False)]
    assert [
        rows_of(part) for part in split_in_parts(lambda: cut(frame, 50), "user", 1, filter_unknown=False)
    ] == expected


def test_what_is_left_out_is_told_of():
    frame = pd.DataFrame({"user": [1, 1, 2, 3], "item": [1, 2, 2, 9], "time": [1, 2, 3, 4]})
    with pytest.warns(LeftOutRowsWarning, match="2 of 2 rows are left out .* 2 have a user and 1 an item"):
        parts = split_in_parts(lambda: iter([frame]), "time", at=2.5, filter_unknown=True)
    assert [part.n_rows for part in parts] == [2, 0]


@pytest.mark.parametrize("size", [1, 7, N])
def test_random_parts_follow_from_seed_and_row(size):
    frame = log()
    parts = split_in_parts(lambda: cut(frame, size), "random", multi_ratios=[0.5, 0.3, 0.2], filter_unknown=False)
    rows = [rows_of(part) for part in parts]
    assert sorted(chain(*rows)) == list(range(N))
    assert [len(one) / N for one in rows] == pytest.approx([0.5, 0.3, 0.2], abs=0.08)
    half = split_in_parts(lambda: cut(frame[:150], size), "random", multi_ratios=[0.5, 0.3, 0.2], filter_unknown=False)
    assert [rows_of(part) for part in half] == [[row for row in one if row < 150] for one in rows]
    other = split_in_parts(lambda: cut(frame, size), "random", test_size=0.5, filter_unknown=False, seed=1)
    assert rows_of(other[0]) != rows[0]


def test_by_time_rows_of_the_moment_and_later_are_in_the_later_part():
    frame = log()
    for part, is_later in zip(
        split_in_parts(lambda: cut(frame, 70), "time", at=120, filter_unknown=False), (False, True), strict=True
    ):
        assert rows_of(part) == frame.index[(frame["time"] >= 120) == is_later].tolist()
    moment = np.sort(frame["time"])[N - 30]
    _, later = split_in_parts(lambda: cut(frame, 70), "time", 0.1, filter_unknown=False)
    assert rows_of(later) == frame.index[frame["time"] >= moment].tolist()
    three = split_in_parts(lambda: cut(frame, 70), "time", at=[50, 120], filter_unknown=False)
    places = np.searchsorted([50, 120], frame["time"], "right")
    assert [rows_of(part) for part in three] == [np.flatnonzero(places == number).tolist() for number in range(3)]


@pytest.mark.parametrize("moment", ["2024-03-01", pd.Timestamp("2024-03-01"), np.datetime64("2024-03-01")])
@pytest.mark.parametrize("unit", ["ns", "us", "text"])
def test_moments_may_be_dates(moment, unit):
    frame = log()
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["time"], "D")
    frame["time"] = days.dt.strftime("%Y-%m-%d") if unit == "text" else days.astype(f"datetime64[{unit}]")
    _, later = split_in_parts(lambda: cut(frame, 70), "time", at=moment, filter_unknown=False)
    assert rows_of(later) == frame.index[days >= pd.Timestamp("2024-03-01")].tolist()


@pytest.mark.parametrize("missing", [pd.NaT, None, np.datetime64("NaT"), "NaT", float("nan")])
def test_a_moment_that_is_missing_is_refused(missing):
    frame = log()
    if not isinstance(missing, float):
        frame["time"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["time"], "D")
    with pytest.raises(ValueError, match=r"at must be moments, and one is missing \(NaN or NaT\)"):
        split_in_parts(lambda: cut(frame, 70), "time", at=[missing])


def test_parts_are_trained_on_and_evaluated_like_frames(folder, tmp_path):
    frames = split_by_ratio_chrono(log(), test_size=0.3)
    in_order = [frame.sort_values("row") for frame in frames]
    for data in (folder, ds.dataset(folder)):
        train, test = split_in_parts(data, "user", 0.3)
        built = DatasetPure.build_trainset(train, cache_dir=tmp_path / type(data).__name__)
        same(built, DatasetPure.build_trainset(in_order[0]))
        same(DatasetPure.build_trainset(train, cache_dir=tmp_path / type(data).__name__), built)
    model = FM("ranking", built[1], n_epochs=1).fit(built[0], neg_sampling=True, verbose=0, eval_data=test)
    assert evaluate(model, test, True) == evaluate(model, in_order[1], True)
    assert model.history_["eval_loss"].tolist() == [evaluate(model, test, True)["loss"]]


def test_a_part_is_split_again(folder):
    train, test = split_in_parts(folder, "random", 0.2, filter_unknown=False)
    first, second = split_in_parts(train, "random", 0.5, filter_unknown=False, seed=7)
    assert sorted(rows_of(first) + rows_of(second) + rows_of(test)) == list(range(N))


def test_another_part_of_the_split_is_another_set(folder, tmp_path):
    train, test = split_in_parts(folder, "random", 0.2)
    DatasetPure.build_trainset(train, cache_dir=tmp_path / "cache")
    with pytest.raises(ValueError, match="set of another train_data"):
        DatasetPure.build_trainset(test, cache_dir=tmp_path / "cache")


def test_data_that_changed_since_is_refused(folder):
    train, _ = split_in_parts(folder, "random", 0.2)
    pq.write_table(pa.Table.from_pandas(log(50), preserve_index=False), folder / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet, row group 0 is not what it was when the data was split"):
        DatasetPure.build_trainset(train)
    frames = [log(20), log(30)]
    train, _ = split_in_parts(lambda: iter(frames), "random", 0.2)
    frames.pop()
    with pytest.raises(ValueError, match="train_data has 20 rows, and had 50 when it was split"):
        DatasetPure.build_trainset(train)
    frames.append(log(40))
    with pytest.raises(ValueError, match="frame 1 of train_data is not what it was"):
        DatasetPure.build_trainset(train)


def test_what_does_not_fit_is_refused(folder):
    def frames():
        return cut(log(), 50)

    for arguments, message in (
        ({"by": "item"}, "by must be one of"),
        ({"by": "random"}, "neither test_size nor multi_ratios"),
        ({"by": "random", "at": 3}, "at is for by='time'"),
        ({"by": "time", "at": 3, "test_size": 0.2}, "at is for by='time', without test_size"),
        ({"by": "time", "at": [7, 3]}, "at must be in rising order"),
        ({"by": "time", "at": -1}, "no row of 300 is left for the first part"),
        ({"by": "user", "test_size": 300}, "test_size must be below the number of rows, 300"),
        ({"by": "user", "test_size": 1.5}, "test_size must be a share"),
    ):
        with pytest.raises(ValueError, match=message):
            split_in_parts(frames, **arguments)
    with pytest.raises(TypeError, match="at must be numbers, as column 'time' holds numbers"):
        split_in_parts(frames, "time", at="2024-01-01")
    with pytest.raises(ValueError, match="an iterator, which can be read once"):
        split_in_parts(frames(), "random", 0.2)
    with pytest.raises(ValueError, match="data is a frame: split it by random_split"):
        split_in_parts(log(), "random", 0.2)
    with pytest.raises(ValueError, match=r"columns \['time'\] are not in data"):
        split_in_parts(lambda: iter([log().drop(columns="time")]), "time", 0.2)
    with pytest.raises(FileNotFoundError, match="data="):
        split_in_parts(folder / "nothing", "random", 0.2)
