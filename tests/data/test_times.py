"""Times in whatever form logs bring them: read alike by data sets and by splits, or refused by both."""

from __future__ import annotations

import datetime as dt
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from recolib.data import DatasetFeat, DatasetPure, split_by_num_chrono, split_by_ratio_chrono

ZONES = ("Asia/Tokyo", "America/New_York", "UTC")


def log(n=400, seed=0):
    """Events in no order, each a day and some hours after another."""
    rng = np.random.default_rng(seed)
    moments = pd.Timestamp("2021-01-05") + pd.to_timedelta(rng.permutation(n) * 29, unit="h")
    columns = {"user": rng.integers(0, 20, n), "item": rng.integers(0, 15, n), "label": 1, "true": moments}
    return pd.DataFrame(columns)


def in_zones(moments):
    return [moment.tz_localize("UTC").tz_convert(ZONES[at % 3]) for at, moment in enumerate(moments)]


def arrow(values, dtype):
    return pd.Series(pd.arrays.ArrowExtensionArray(pa.array(values.dt.to_pydatetime()).cast(dtype, safe=False)))


READ = {
    "dates": lambda true: true,
    "dates in seconds": lambda true: true.astype("datetime64[s]"),
    "dates with a zone": lambda true: true.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
    "seconds": lambda true: true.astype("datetime64[s]").astype("int64"),
    "unsigned seconds": lambda true: true.astype("datetime64[s]").astype("int64").astype("uint64"),
    "nanoseconds as objects": lambda true: true.astype("datetime64[ns]").astype("int64").astype(object),
    "nullable integers": lambda true: true.astype("datetime64[s]").astype("int64").astype("Int64"),
    "floats": lambda true: true.astype("datetime64[s]").astype("int64") / 8,
    "spans of time": lambda true: true - true.min(),
    "periods": lambda true: true.dt.to_period("h"),
    "datetimes of Python": lambda true: pd.Series(list(true.dt.to_pydatetime()), dtype=object),
    "datetimes of Python in several zones": lambda true: pd.Series(in_zones(true), dtype=object),
    "categories": lambda true: pd.Categorical(true),
    "ISO text": lambda true: true.dt.strftime("%Y-%m-%dT%H:%M:%S"),
    "ISO text with a blank": lambda true: true.dt.strftime("%Y-%m-%d %H:%M"),
    "ISO text of some fractions": lambda true: [
        f"{one.isoformat()}.25" if one.day % 2 else one.isoformat() for one in true
    ],
    "ISO text with offsets": lambda true: [one.isoformat() for one in in_zones(true)],
    "ISO text in UTC": lambda true: true.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "ISO text as categories": lambda true: pd.Categorical(true.dt.strftime("%Y-%m-%dT%H:%M:%S")),
    "ISO text of Arrow": lambda true: true.dt.strftime("%Y-%m-%dT%H:%M").astype(pd.ArrowDtype(pa.string())),
    "Arrow timestamps": lambda true: arrow(true, pa.timestamp("ms")),
    "Arrow timestamps with a zone": lambda true: arrow(true, pa.timestamp("us", "Asia/Tokyo")),
}
DAYS = {
    "days of Python": lambda true: pd.Series(list(true.dt.date), dtype=object),
    "ISO days": lambda true: true.dt.strftime("%Y-%m-%d"),
    "Arrow date32": lambda true: arrow(true, pa.date32()),
    "Arrow date64": lambda true: arrow(true.dt.normalize(), pa.date64()),
}
REFUSED = {
    "day/month/year": (lambda true: true.dt.strftime("%d/%m/%Y"), "text such as"),
    "month-day-year": (lambda true: true.dt.strftime("%m-%d-%Y"), "text such as"),
    "days without zeros": (lambda true: [f"{one.year}-{one.month}-{one.day}" for one in true], "text such as"),
    "numbers as text": (lambda true: true.astype("datetime64[s]").astype("int64").astype(str), "text such as"),
    "years as text": (lambda true: true.dt.strftime("%Y"), "text such as '202"),
    "clocks": (lambda true: true.dt.strftime("%H:%M"), "text such as"),
    "text of Arrow": (lambda true: true.dt.strftime("%d/%m/%Y").astype(pd.ArrowDtype(pa.string())), "text such as"),
    "text as categories": (lambda true: pd.Categorical(true.dt.strftime("%d/%m/%Y")), "text such as"),
    "one text among numbers": (lambda true: pd.Series([*range(len(true) - 1), "7"], dtype=object), "text such as '7'"),
    "one empty text": (lambda true: ["", *true.dt.strftime("%Y-%m-%d")[1:]], "text such as ''"),
    "two forms": (lambda true: ["2021-01-05", *true.dt.strftime("%Y-%m-%dT%H:%M")[1:]], "dates of several forms"),
    "some offsets": (lambda true: ["2021-01-05T10:00Z", *true.dt.strftime("%Y-%m-%dT%H:%M")[1:]], "of several forms"),
    "some zones": (lambda true: pd.Series([*in_zones(true)[:9], *true[9:]], dtype=object), "time zone"),
    "no such day": (lambda true: ["2021-02-30", *true.dt.strftime("%Y-%m-%d")[1:]], "dates that cannot be read"),
    "clocks of Python": (lambda true: pd.Series(list(true.dt.time), dtype=object), "must hold numbers"),
    "bytes": (lambda true: pd.Series([b"2021-01-05"] * len(true), dtype=object), "must hold numbers"),
}


@pytest.mark.parametrize("name", [*READ, *DAYS])
def test_no_event_of_a_test_part_is_before_one_of_the_training_part(name):
    frame = log()
    frame["true"] = frame["true"].dt.normalize() if name in DAYS else frame["true"]
    frame["time"] = (READ | DAYS)[name](frame["true"])
    for split, size in ((split_by_ratio_chrono, 0.3), (split_by_num_chrono, 3)):
        train, test = split(frame, test_size=size)
        last, first = train.groupby("user")["true"].max(), test.groupby("user")["true"].min()
        assert len(first) == 20
        assert (last.reindex(first.index) <= first).all()


@pytest.mark.parametrize("name", [*READ, *DAYS])
def test_a_data_set_has_the_order_of_the_times(name):
    frame = log()
    frame["true"] = frame["true"].dt.normalize() if name in DAYS else frame["true"]
    data, info = DatasetPure.build_trainset(frame.assign(time=(READ | DAYS)[name](frame["true"])))
    true = frame["true"].astype("int64").to_numpy()
    assert (np.diff(true[np.argsort(data.times, kind="stable")]) >= 0).all()
    more = DatasetPure.merge_trainset(frame.assign(time=(READ | DAYS)[name](frame["true"])), info)[0]
    evaluated = DatasetPure.build_testset(frame.assign(time=(READ | DAYS)[name](frame["true"])), data_info=info)
    assert more.times.tolist() == evaluated.times.tolist() == data.times.tolist()


@pytest.mark.parametrize("name", REFUSED)
def test_times_that_do_not_say_their_order_are_refused_by_all_who_read_them(name):
    make, message = REFUSED[name]
    frame, info = log(), DatasetPure.build_trainset(log())[1]
    frame["time"] = make(frame["true"])
    calls = [
        lambda: split_by_ratio_chrono(frame, test_size=0.3),
        lambda: split_by_num_chrono(frame),
        lambda: DatasetPure.build_trainset(frame),
        lambda: DatasetPure.merge_trainset(frame, info),
        lambda: DatasetPure.build_testset(frame, data_info=info),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"column 'time' .*{re.escape(message)}"):
            call()


def test_a_refused_text_is_met_with_the_way_to_convert_it():
    frame = log().assign(time="31/12/2022")
    with pytest.raises(ValueError, match=r"'31/12/2022': convert it to dates by pandas.to_datetime, or to numbers by"):
        split_by_num_chrono(frame)


@pytest.mark.parametrize("carry", [pl.from_pandas, pa.Table.from_pandas])
@pytest.mark.parametrize("name", ["dates", "ISO text with offsets", "days of Python", "ISO text in UTC"])
def test_polars_and_pyarrow_frames_have_the_same_times(carry, name):
    frame = log().assign(time=lambda frame: (READ | DAYS)[name](frame["true"]))
    expected = DatasetPure.build_trainset(frame)[0].times
    carried = carry(frame.drop(columns="true"))
    assert DatasetPure.build_trainset(carried)[0].times.tolist() == expected.tolist()
    parts = [split_by_num_chrono(one, test_size=3)[1] for one in (frame, carried)]
    assert parts[0]["item"].tolist() == list(
        parts[1]["item"].to_pylist() if carry is not pl.from_pandas else parts[1]["item"]
    )


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%Y%m%d"])
def test_polars_text_that_is_no_date_is_refused(form):
    frame = pl.from_pandas(log()).with_columns(time=pl.col("true").dt.strftime(form))
    with pytest.raises(ValueError, match=r"'time' must hold numbers or dates, found text such as"):
        split_by_num_chrono(frame)


def test_features_of_dates_of_python_are_those_of_the_latest_date():
    days = [dt.date(2022, 12, 31), dt.date(2023, 1, 1), dt.date(2021, 5, 5)]
    frame = pd.DataFrame({"user": 1, "item": [1, 2, 3], "label": 1, "age": [2.0, 3.0, 1.0], "time": days})
    info = DatasetFeat.build_trainset(frame, user_col=["age"], dense_col=["age"])[1]
    assert info.user_frame()["age"].tolist() == [3.0]
