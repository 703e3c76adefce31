"""What holds for any data and any question: files, lists, measures, splits and negatives."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import assert_same_list

import recolib
from recolib import FM, DataInfo, DatasetFeat, evaluate
from recolib.data import Interactions, split_by_num, split_by_num_chrono, split_by_ratio, split_by_ratio_chrono
from recolib.data.rows import Rows
from recolib.sampling import SAMPLERS
from recolib.training.batches import Examples

IDS: list[int | str] = [7, -3, 2**60, "7", "", "é", "a b"]
ITEMS: list[int | str] = [1, 2, 10, "1", "zz", "\u202e"]
VALUES = st.sampled_from([None, 1, "1", "a", 0, "missing"])
NUMBERS = st.none() | st.floats(-1e3, 1e3)
LISTS = st.none() | st.lists(st.sampled_from([1, "1", "a"]), max_size=3)
SIDES = ("user", "item", "context")
ALL_METRICS = ["log_loss", "roc_auc", "roc_gauc", "pr_auc", "precision", "recall", "ndcg", "map", "coverage", "novelty"]


@dataclass(frozen=True)
class Data:
    """A random frame, and how to encode it."""

    frame: pd.DataFrame
    columns: Mapping[str, Any]

    def build(self) -> tuple[Interactions, DataInfo]:
        return DatasetFeat.build_trainset(self.frame, **self.columns)

    def fitted(self, **settings: Any) -> FM:
        """A ranking model after one epoch."""
        data, info = self.build()
        model = FM("ranking", info, **{"embed_size": 3, "n_epochs": 1, "batch_size": 8, "init_std": 0.5} | settings)
        return model.fit(data, neg_sampling=True, verbose=0)


def column(draw: st.DrawFn, values: st.SearchStrategy[Any], present: object, n: int) -> pd.Series:
    """A column of n values, of which the first is ``present``."""
    return pd.Series([present, *draw(st.lists(values, min_size=n - 1, max_size=n - 1))], dtype=object)


@st.composite
def data_sets(draw: st.DrawFn, context: bool = True, numbers: bool = True) -> Data:
    """A few events of a few users and items, with any columns of any kind on any side."""
    n = draw(st.integers(4, 16))
    some = lambda ids: draw(st.lists(st.sampled_from(ids), min_size=n - 2, max_size=n - 2))  # noqa: E731
    frame = pd.DataFrame(
        {
            "user": pd.Series([*some(IDS), 7, "7"], dtype=object),
            "item": pd.Series([1, "1", *some(ITEMS)], dtype=object),
            "label": 1.0,
        }
    )
    if draw(st.booleans()):
        frame["time"] = draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n))
    columns: dict[str, list[Any]] = {
        name: [] for name in ("user_col", "item_col", "context_col", "sparse_col", "dense_col", "multi_sparse_col")
    }
    for side in SIDES[: 3 if context else 2]:
        for kind in draw(st.lists(st.sampled_from(["sparse", "lists", "group", *["dense"] * numbers]), max_size=3)):
            name = f"{side}.{kind}.{len(frame.columns)}"
            if kind == "dense":
                frame[name] = column(draw, NUMBERS, 1.5, n).astype(float)
                columns["dense_col"].append(name)
            elif kind == "group":
                for member in (f"{name}.1", f"{name}.2"):
                    frame[member] = column(draw, VALUES, "a", n)
                columns["multi_sparse_col"].append([f"{name}.1", f"{name}.2"])
                columns[f"{side}_col"] += [f"{name}.1", f"{name}.2"]
                continue
            else:
                frame[name] = column(draw, VALUES, "a", n) if kind == "sparse" else column(draw, LISTS, ["a"], n)
                columns["sparse_col" if kind == "sparse" else "multi_sparse_col"].append(name)
            columns[f"{side}_col"].append(name)
    return Data(frame, columns)


def of_rows(rows: Rows) -> tuple[list[Any], list[Any]]:
    return rows.codes.tolist(), rows.dense.tolist()


def of_info(info: DataInfo) -> dict[str, Any]:
    """All that a DataInfo knows, as plain values with their types."""
    return {
        "schema": info.schema,
        "vocabs": {n: [(type(one), one) for one in vocab.values.tolist()] for n, vocab in info.vocabs.items()},
        "tables": [
            (of_rows(table.rows), table.owner.tolist(), *(part.tolist() for part in vars(table.history).values()))
            for table in (info.users, info.items)
        ],
        "consumed": [
            {code: met.tolist() for code, met in by.items()} for by in (info.user_consumed, info.item_consumed)
        ],
        "numbers": (info.liked.tolist(), info.popularity.tolist(), info.data_size, info.labels),
        "fingerprint": info.fingerprint,
    }


# ---- files


@settings(max_examples=50)
@given(data_sets())
def test_what_is_known_of_any_data_survives_its_file(data: Data) -> None:
    _, info = data.build()
    with tempfile.TemporaryDirectory() as folder:
        info.save(folder, "any")
        back = DataInfo.load(folder, "any")
    assert of_info(back) == of_info(info)
    assert {array.dtype for array in (back.liked, back.items.owner)} == {
        array.dtype for array in (info.liked, info.items.owner)
    }
    again, once = (DatasetFeat.build_testset(data.frame, data_info=one) for one in (back, info))
    assert of_rows(again.users.rows) == of_rows(once.users.rows)
    assert of_rows(again.context) == of_rows(once.context)


@settings(max_examples=40)
@given(data_sets(), st.booleans(), st.sampled_from([None, 0.9]))
@pytest.mark.filterwarnings(
    "ignore:no context", "ignore:.*lists are shorter", "ignore:the model was saved with inference_only=True"
)
def test_a_model_of_any_data_survives_its_file(data: Data, inference_only: bool, ema: float | None) -> None:
    model = data.fitted(ema=ema)
    with tempfile.TemporaryDirectory() as folder:
        back = recolib.load(model.save(folder, "any", inference_only=inference_only))
    users, items = data.frame["user"].tolist(), data.frame["item"].tolist()
    assert back.predict(users, items).tolist() == model.predict(users, items).tolist()
    assert back.recommend().to_dict("list") == model.recommend().to_dict("list")
    assert repr(back) == repr(model)
    pd.testing.assert_frame_equal(back.history_, model.history_)
    if not inference_only:  # and it trains on as if it had never stopped
        for one in (model, back):
            one.fit(DatasetFeat.build_testset(data.frame, data_info=one.data_info), neg_sampling=True, verbose=0)
        assert back.predict(users, items).tolist() == model.predict(users, items).tolist()


# ---- order


@settings(max_examples=50)
@given(data_sets(numbers=False), st.data())
def test_the_order_of_rows_does_not_matter_where_times_tell_them_apart(data: Data, draw: st.DataObject) -> None:
    n = len(data.frame)
    frame = data.frame.assign(time=draw.draw(st.permutations(range(n))))
    order = draw.draw(st.permutations(range(n)))
    (rows, info), (moved, of_moved) = (
        DatasetFeat.build_trainset(one, **data.columns) for one in (frame, frame.iloc[order])
    )
    assert of_info(of_moved) == of_info(info)
    assert moved.user_rows.tolist() == rows.user_rows[order].tolist()
    assert moved.item_rows.tolist() == rows.item_rows[order].tolist()
    assert of_rows(moved.context) == of_rows(rows.take(np.array(order)).context)


# ---- lists

STRANGERS: list[int | str] = [999, "new", "-3"]
SOME_ITEMS = st.none() | st.lists(st.sampled_from([*ITEMS, "nothing", 999]), max_size=6)


@settings(max_examples=80)
@given(
    data=data_sets(context=False),
    users=st.lists(st.sampled_from([*IDS, *STRANGERS]), min_size=1, max_size=5),
    n_rec=st.integers(1, 8),
    filter_consumed=st.booleans(),
    candidates=SOME_ITEMS,
    exclude=SOME_ITEMS,
    cold_start=st.sampled_from(["average", "popular"]),
    random_rec=st.booleans(),
)
def test_any_list_keeps_the_rules_and_has_the_best_that_they_leave(
    data: Data,
    users: list[int | str],
    n_rec: int,
    filter_consumed: bool,
    candidates: list[int | str] | None,
    exclude: list[int | str] | None,
    cold_start: str,
    random_rec: bool,
) -> None:
    model = data.fitted()
    info = model.data_info
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lists = model.recommend_user(
            users,
            n_rec,
            filter_consumed=filter_consumed,
            candidates=candidates,
            exclude=exclude,
            cold_start=cold_start,
            random_rec=random_rec,
            return_scores=True,
        )
    told = [str(warning.message) for warning in caught]
    assert [*lists] == list(dict.fromkeys(users))
    consumed = data.frame.groupby(data.frame["user"].map(repr))["item"].agg(list).to_dict()
    n_short = 0
    for user in users:
        items, scores = (part.tolist() for part in lists[user])
        popular = cold_start == "popular" and user not in info.user2id
        allowed = [item for item in info.item2id if candidates is None or item in candidates]
        allowed = [item for item in allowed if item not in (exclude or [])]
        if filter_consumed:
            allowed = [item for item in allowed if item not in consumed.get(repr(user), [])]
        assert len(set(items)) == len(items) == min(n_rec, len(allowed))
        assert set(items) <= set(allowed)
        n_short += len(items) < n_rec
        if popular:
            ranked = [info.id2item[code] for code in info.ranked_items.tolist()]
            assert items == [item for item in ranked if item in allowed][:n_rec]
            assert all(np.isnan(scores))
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", recolib.UnknownIdWarning)
            of_all = {item: model.predict(user, item) for item in allowed}
        np.testing.assert_allclose(scores, [of_all[item] for item in items], rtol=1e-4, atol=1e-6)
        if not random_rec:
            assert scores == sorted(scores, reverse=True)
            rest = [of_all[item] for item in allowed if item not in items]
            assert not rest or max(rest) <= min(scores) + 1e-5
    assert any(f"{n_short} lists are shorter than n_rec={n_rec}" in one for one in told) == bool(n_short)


@settings(max_examples=30)
@given(data_sets(context=False), st.integers(1, 6), st.lists(st.sampled_from(ITEMS), max_size=3))
@pytest.mark.filterwarnings("ignore:.*lists are shorter", "ignore:.*are unknown items")
def test_any_table_is_its_lists_end_to_end(data: Data, n_rec: int, exclude: list[int | str]) -> None:
    model = data.fitted()
    table = model.recommend(n_rec=n_rec, exclude=exclude)
    lists = model.recommend_user([*model.data_info.user2id], n_rec, exclude=exclude, return_scores=True)
    assert [*dict.fromkeys(table["user"].tolist())] == [user for user, (items, _) in lists.items() if len(items)]
    for user, (items, scores) in lists.items():
        own = table[[one == user and type(one) is type(user) for one in table["user"].tolist()]]
        assert own["rank"].tolist() == list(range(1, len(items) + 1))
        if len(items):
            assert_same_list((own["item"].tolist(), own["score"]), (items.tolist(), scores))
        assert {type(item) for item in own["item"].tolist()} <= {int, str}


# ---- measures


@settings(max_examples=40)
@given(
    data=data_sets(),
    strangers=st.lists(st.tuples(st.integers(0, 15), st.sampled_from(["user", "item"])), max_size=6),
    labels=st.lists(st.integers(0, 1), min_size=16, max_size=16),
    neg_sampling=st.booleans(),
    k=st.integers(1, 8),
    filter_consumed=st.booleans(),
)
@pytest.mark.filterwarnings("ignore")
def test_any_frame_and_its_encoded_set_measure_alike(
    data: Data,
    strangers: list[tuple[int, str]],
    labels: list[int],
    neg_sampling: bool,
    k: int,
    filter_consumed: bool,
) -> None:
    model = data.fitted()
    test = data.frame.assign(label=[1, *labels][: len(data.frame)])
    for row, name in strangers:
        test.loc[row % len(test), name] = f"new {row % 3}"
    before = test.to_dict("list")
    encoded = DatasetFeat.build_testset(test, data_info=model.data_info)
    how: dict[str, Any] = {"metrics": ALL_METRICS, "k": k, "filter_consumed": filter_consumed}
    of_frame, of_set = (evaluate(model, one, neg_sampling, **how) for one in (test, encoded))
    np.testing.assert_equal(of_frame, of_set)
    assert [*of_frame] == ALL_METRICS
    assert all(0 <= of_frame[name] <= 1 for name in ("precision", "recall", "ndcg", "map", "coverage"))
    np.testing.assert_equal(test.to_dict("list"), before)


# ---- splits


def by_loop(users: list[int], order: list[int], take: Callable[[int], list[int]]) -> list[set[int]]:
    """The rows of each part: user by user, in order, cut where ``take`` says; three rows or fewer stay whole."""
    parts: list[set[int]] = []
    for user in set(users):
        mine = [row for row in order if users[row] == user]
        cuts = [0, *(take(len(mine)) if len(mine) > 3 else [len(mine)] * len(take(len(mine)))), len(mine)]
        for at, (begin, end) in enumerate(pairwise(cuts)):
            parts += [set()] * (at == len(parts))
            parts[at] = parts[at] | set(mine[begin:end])
    return parts


@settings(max_examples=50)
@given(
    users=st.lists(st.integers(0, 4), min_size=2, max_size=40),
    times=st.lists(st.integers(0, 9), min_size=40, max_size=40),
    size=st.integers(1, 8),
    shuffle=st.booleans(),
)
def test_the_last_rows_of_each_user_are_those_of_a_loop(
    users: list[int], times: list[int], size: int, shuffle: bool
) -> None:
    frame = pd.DataFrame({"user": users, "item": 1, "time": times[: len(users)], "label": [*map(float, users)]})
    frame.index = pd.Index([f"r{n}" for n in range(len(frame))], name="row")
    size = min(size, len(frame) - 1)
    rows, by_time = [*range(len(users))], sorted(range(len(users)), key=times.__getitem__)

    def take(n: int) -> list[int]:
        return [n - size if n > size else n - 1]

    for split, order, more in (
        (split_by_num, rows, {"filter_unknown": False}),
        (split_by_num_chrono, by_time, {}),
    ):
        parts = split(frame, test_size=size, shuffle=shuffle, **more)
        assert [{int(label[1:]) for label in part.index} for part in parts] == by_loop(users, order, take)
        for part in parts:
            pd.testing.assert_frame_equal(part, frame.loc[part.index])


SHARES = [[4, 4], [6, 1, 1], [2, 1, 1], [4, 2, 1, 1], [1, 3], [1, 6, 1]]
"""Shares that binary fractions hold exactly, so that cuts between two rows are ties."""


@settings(max_examples=50)
@given(
    users=st.lists(st.integers(0, 3), min_size=2, max_size=40),
    times=st.lists(st.integers(0, 9), min_size=40, max_size=40),
    ratios=st.sampled_from(SHARES),
)
def test_the_shares_of_each_user_are_those_of_a_loop(users: list[int], times: list[int], ratios: list[int]) -> None:
    frame = pd.DataFrame({"user": users, "item": 1, "time": times[: len(users)]})
    rows, by_time = [*range(len(users))], sorted(range(len(users)), key=times.__getitem__)

    def near(n: int) -> list[int]:
        return [round(sum(ratios[:at]) * n / sum(ratios)) for at in range(1, len(ratios))]  # half to even

    for split, order in ((split_by_ratio, rows), (split_by_ratio_chrono, by_time)):
        expected = by_loop(users, order, near)
        if not expected[0]:
            with pytest.raises(ValueError, match="left for the first part"):
                split(frame, multi_ratios=ratios)
            continue
        known = {row for row in rows if users[row] in {users[one] for one in expected[0]}}
        assert [set(part.index) for part in split(frame, multi_ratios=ratios)] == [part & known for part in expected]


# ---- negatives


@settings(max_examples=50)
@given(
    data=data_sets(),
    sampler=st.sampled_from([*SAMPLERS]),
    epoch=st.integers(0, 3),
    num_neg=st.integers(1, 3),
    at_once=st.integers(1, 16),
)
def test_negatives_do_not_depend_on_how_many_rows_draw_together(
    data: Data, sampler: str, epoch: int, num_neg: int, at_once: int
) -> None:
    rows, info = data.build()
    examples = Examples.of(rows, SAMPLERS[sampler](info), num_neg, torch.device("cpu"))
    whole = examples.candidates(42, epoch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recolib.training.batches.ROWS_AT_ONCE", at_once)
        parts = examples.candidates(42, epoch)
    assert torch.equal(whole, parts)
    owners = info.items.owner[whole.numpy()]
    assert (owners[:, 0] == rows.item_indices).all()
    assert (owners[:, 1:] != owners[:, :1]).all()
    for user, drawn in zip(rows.user_indices.tolist(), owners[:, 1:].tolist(), strict=True):
        mine = set(info.user_consumed[user].tolist())
        assert sampler != "unconsumed" or not mine & set(drawn) or len(mine) == len(info.trained_items)
