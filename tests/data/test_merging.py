"""Data that is merged is what it would be if it had come at once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import COLUMNS, rated, two_tastes

from recolib.data import DataInfo, DatasetFeat, DatasetPure, Interactions
from recolib.data.rows import ABSENT

ALL = {name: [one for one in columns if one != "cover"] for name, columns in (COLUMNS["all kinds"] or {}).items()}
"""All kinds of columns but vectors, which tests/data/test_vectors.py merges."""
USER, ITEM = ["sex", "age"], ["genre1", "genre2", "price", "tags"]


def decoded(info: DataInfo, side: Any, rows: Any) -> list[dict[str, Any]]:
    """Rows as the values that they mean."""
    found: list[dict[str, Any]] = []
    for codes, dense in zip(rows.codes.tolist(), rows.dense.tolist(), strict=True):
        one: dict[str, Any] = {}
        for field in info.schema.codes(side):
            values = codes[info.schema.span(field)]
            of_vocab = info.vocabs[field.name].values.tolist()
            one[field.name] = [of_vocab[code - 1] if code > 0 else code for code in values if code != ABSENT]
        numbers = zip(info.schema.dense(side), dense, strict=True)
        one |= {field.name: round(number * field.scale + field.offset, 3) for field, number in numbers}
        found.append(one)
    return found


def meaning(info: DataInfo) -> dict[str, Any]:
    """All that is known, without codes."""
    users, items = info.vocabs["user"].values.tolist(), info.vocabs["item"].values.tolist()
    known: dict[str, Any] = {"labels": tuple(round(label, 5) for label in info.labels), "size": info.data_size}
    known["users"] = dict(zip(users, decoded(info, "user", info.users.rows[1 : len(users) + 1]), strict=True))
    known["items"] = dict(zip(items, decoded(info, "item", info.items.rows[1 : len(items) + 1]), strict=True))
    known["consumed"] = {
        users[user - 1]: {items[item - 1] for item in info.user_consumed[user]} for user in info.user_consumed
    }
    known["consumers"] = {
        items[item - 1]: {users[user - 1] for user in info.item_consumed[item]} for item in info.item_consumed
    }
    known["popularity"] = dict(zip(items, info.popularity[1:].tolist(), strict=True))
    known["vocabs"] = {name: set(vocab.values.tolist()) for name, vocab in info.vocabs.items()}
    known["values"] = {name: len(vocab) for name, vocab in info.vocabs.items()}
    return known


def as_of(info: DataInfo, times: list[int]) -> dict[Any, Any]:
    """What was true of each id at each time."""
    found: dict[Any, Any] = {}
    for side in ("user", "item"):
        table, vocab = info.table(side), info.vocabs[side]
        codes = np.arange(1, len(vocab) + 1, dtype=np.int32)
        for time in times:
            rows = table.at(codes, np.full(len(codes), time))
            of_time = decoded(info, side, table.rows[torch.from_numpy(rows.astype(np.int64))])
            found |= {(side, value, time): one for value, one in zip(vocab.values.tolist(), of_time, strict=True)}
    return found


def shown(data: Interactions) -> list[Any]:
    """The events as they are encoded, without codes."""
    info = data.data_info
    users = decoded(info, "user", data.users.rows[torch.from_numpy(data.user_rows)])
    items = decoded(info, "item", data.items.rows[torch.from_numpy(data.item_rows)])
    context = decoded(info, "context", data.context)
    return list(zip(users, items, context, data.labels.tolist(), strict=True))


def log(seed: int, n: int, changing: bool) -> pd.DataFrame:
    """Events by time, of people and things whose features change now and then."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 8, n), rng.integers(0, 7, n)
    era = np.arange(n) * 3 // n if changing else np.zeros(n, int)
    frame = pd.DataFrame(
        {
            "user": [f"u{one}" if one % 2 else one for one in user.tolist()],
            "item": [f"i{one}" for one in item],
            "label": rng.integers(0, 6, n),
            "time": np.sort(rng.integers(0, 4 * n, n)),
            "sex": np.where((user + era) % 3 == 0, "F", "M"),
            "age": 20.0 + user + era,
            "genre1": [f"g{one % 3}" for one in item + era],
            "genre2": np.where(item % 2 == 0, "missing", "g9"),
            "price": item * 1.5 + era,
            "tags": [["x", "y", "z"][: one % 4] for one in (item + era).tolist()],
            "hour": rng.integers(0, 5, n),
        }
    )
    frame.at[0, "tags"] = ["x", "y", "z"]  # the longest list comes first
    return frame


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(4, 60),
    st.lists(st.integers(1, 59), max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_any_number_of_merges_is_one_build(seed: int, n: int, cuts: list[int], changing: bool, with_time: bool) -> None:
    frame = log(seed, n, changing)
    frame = frame if with_time else frame.drop(columns="time")
    bounds = [0, *sorted({cut for cut in cuts if 1 < cut < n}), n]
    parts = [frame.iloc[a:b] for a, b in pairwise(bounds)]
    # what counts as consumed goes by the labels of the first part, if it is not said
    at_once = DatasetFeat.build_trainset(frame, **ALL, dense_scaling="none", consumed="all")
    data, info = DatasetFeat.build_trainset(parts[0], **ALL, dense_scaling="none", consumed="all")
    sets = [data]
    for part in parts[1:]:
        before = {name: vocab.values.tolist() for name, vocab in info.vocabs.items()}
        data, merged = DatasetFeat.merge_trainset(part, info, merge_behavior=True)
        for name, values in before.items():
            assert merged.vocabs[name].values.tolist()[: len(values)] == values  # no code moves
        assert merged.extends(info)
        sets.append(data)
        info = merged
    assert meaning(info) == meaning(at_once[1])
    assert [event for one in sets for event in shown(one)] == shown(at_once[0])
    times = frame["time"].tolist() if with_time else list(range(n))
    assert as_of(info, sorted({-1, *times, times[-1] + 1})) == as_of(at_once[1], sorted({-1, *times, times[-1] + 1}))
    back = DataInfo.unpacked(*info.packed())
    assert meaning(back) == meaning(info)


def test_frames_of_features_come_with_a_merge_and_hold_for_all_time():
    frame = log(3, 40, changing=True).assign(tags=lambda frame: [[f"t{item}"] for item in frame["item"]])
    events = frame.drop(columns=["genre1", "genre2", "price", "tags"])
    of_items = frame.drop_duplicates("item", keep="last")[["item", *ITEM]]
    first, more = of_items.iloc[:4], of_items.iloc[4:]
    known = events[events["item"].isin(first["item"])]
    new = events[~events["item"].isin(first["item"])]
    assert len(new) > 3
    info = DatasetFeat.build_trainset(known, **ALL, item_features=first, dense_scaling="none")[1]
    more = pd.concat([more, more.tail(1).assign(item="none has met")])
    data, info = DatasetFeat.merge_trainset(new, info, item_features=more)
    together = pd.concat([known, new])
    whole = DatasetFeat.build_trainset(
        together.sort_values("time", kind="stable"), **ALL, item_features=pd.concat([first, more]), dense_scaling="none"
    )[1]
    assert meaning(info)["items"] == meaning(whole)["items"]
    assert info.items.rows.codes[info.item2id["none has met"], 0] == 0
    assert len(data) == len(new)


def test_an_item_without_events_gets_a_code_of_its_own_with_its_first_event():
    frame = log(3, 40, changing=False)
    of_items = frame.drop_duplicates("item")[["item", *ITEM]]
    fresh = of_items.tail(1).assign(item="fresh")
    events = frame.drop(columns=ITEM)
    info = DatasetFeat.build_trainset(events, **ALL, item_features=pd.concat([of_items, fresh]))[1]
    code = info.item2id["fresh"]
    assert info.items.rows.codes[code, 0] == 0
    features = info.items.rows.codes[code, 1:].tolist()
    _, merged = DatasetFeat.merge_trainset(events.head(2).assign(item="fresh"), info)
    assert merged.items.rows.codes[code].tolist() == [code, *features]
    assert code in merged.trained_items
    assert code not in info.trained_items


def test_features_may_stay_away_and_then_stay_as_they_are():
    frame = log(5, 40, changing=False)
    info = DatasetFeat.build_trainset(frame, **ALL)[1]
    bare = frame[["user", "item", "label", "time", "hour"]].tail(5)
    merged = DatasetFeat.merge_trainset(bare, info)[1]
    assert meaning(merged)["users"] == meaning(info)["users"]
    with pytest.warns(UserWarning, match=r"1 new users come without \['sex', 'age'\]: these features"):
        merged = DatasetFeat.merge_trainset(bare.tail(1).assign(user="somebody"), info)[1]
    assert meaning(merged)["users"]["somebody"]["sex"] == [0]


def test_assigned_features_survive():
    frame = log(5, 40, changing=False)
    info = DatasetFeat.build_trainset(frame, **ALL)[1]
    info.assign_item_features(pd.DataFrame({"item": ["i1"], "price": [99.0], "genre1": ["g2"], "genre2": ["g9"]}))
    merged = DatasetFeat.merge_trainset(frame[frame["item"] != "i1"].tail(9), info)[1]
    assert meaning(merged)["items"]["i1"] == meaning(info)["items"]["i1"]
    assert meaning(merged)["items"]["i1"]["price"] == 99.0


def test_what_was_consumed_before_can_be_left_behind():
    frame = two_tastes()
    info = DatasetPure.build_trainset(frame)[1]
    data, merged = DatasetPure.merge_trainset(frame.tail(3), info, merge_behavior=False)
    assert sum(merged.user_consumed.counts()) == len(frame.tail(3)) == len(data)
    assert merged.popularity.sum() == 3
    assert merged.data_size == len(frame) + 3
    both = DatasetPure.merge_trainset(frame.tail(3), info)[1]
    assert both.user_consumed == info.user_consumed


def test_bounds_are_united_and_the_mean_is_of_all():
    frame = rated(two_tastes())
    info = DatasetPure.build_trainset(frame[frame["label"] == 5])[1]
    merged = DatasetPure.merge_trainset(frame[frame["label"] == 1], info)[1]
    assert merged.min_max_rating == (1, 5)
    assert merged.global_mean == pytest.approx(frame["label"].mean())


def test_scales_stay_as_they_were():
    frame = log(5, 40, changing=False)
    info = DatasetFeat.build_trainset(frame, **ALL)[1]
    merged = DatasetFeat.merge_trainset(frame.assign(age=1000.0, price=np.nan), info)[1]
    assert merged.schema == info.schema
    row = decoded(merged, "user", merged.users.rows[1:2])[0]
    assert row["age"] == 1000.0
    prices = [one["price"] for one in meaning(merged)["items"].values()]
    assert prices == pytest.approx([frame["price"].mean()] * len(prices), abs=1e-3)  # what is missing is the mean


def test_sets_of_before_stay_good_and_others_do_not():
    frame = two_tastes()
    data, info = DatasetPure.build_trainset(frame)
    _, merged = DatasetPure.merge_trainset(frame.assign(user=frame["user"] + 50), info)
    data.refuse_other(merged)
    later = DatasetPure.build_evalset(frame, data_info=merged)
    with pytest.raises(ValueError, match="the set is of other data"):
        later.refuse_other(info)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drop": "label"}, "label"),
        ({"drop": "hour"}, "hour"),
        ({"drop": "price"}, r"columns \['price'\] are missing: give all features of items"),
        ({"drop": "genre2"}, "genre2"),
        ({"user": None}, "user"),
        ({"label": np.inf}, "label"),
        ({"price": np.inf}, "price"),
    ],
)
def test_a_bad_frame_is_refused_by_name(change: dict[str, Any], message: str):
    frame = log(5, 40, changing=False)
    info = DatasetFeat.build_trainset(frame, **ALL)[1]
    known = meaning(info)
    bad = frame.drop(columns=change["drop"]) if "drop" in change else frame.assign(**change)
    with pytest.raises(ValueError, match=message):
        DatasetFeat.merge_trainset(bad, info)
    assert meaning(info) == known


def test_a_feature_stands_in_one_place():
    frame = log(5, 40, changing=False)
    info = DatasetFeat.build_trainset(frame, **ALL)[1]
    with pytest.raises(ValueError, match="stand in train_data and in a feature frame"):
        DatasetFeat.merge_trainset(frame, info, user_features=frame.drop_duplicates("user")[["user", *USER]])
    with pytest.raises(TypeError, match="data_info must be what build_trainset returned"):
        DatasetFeat.merge_trainset(frame, frame)  # type: ignore[arg-type]


def test_polars_and_arrow_merge_alike():
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    frame = log(9, 40, changing=True).assign(user=lambda f: f["user"].astype(str))
    info = DatasetFeat.build_trainset(frame.head(25), **ALL)[1]
    later = frame.tail(15)
    wanted = meaning(DatasetFeat.merge_trainset(later, info)[1])
    for other in (pl.from_pandas(later), pa.Table.from_pandas(later)):
        assert meaning(DatasetFeat.merge_trainset(other, info)[1]) == wanted
