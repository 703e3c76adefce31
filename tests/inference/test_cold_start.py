"""Cold starts that score nothing: lists of the app's own, and what is popular in a segment."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import make_world

from recolib import UnknownIdWarning
from recolib.algorithms import FM
from recolib.ann import Retriever
from recolib.data import DatasetFeat
from recolib.recommender import Recommender

pytestmark = [
    pytest.mark.filterwarnings("ignore:no context given", "ignore:.*lists are shorter"),
    pytest.mark.filterwarnings("ignore::recolib.UnknownIdWarning"),
]


@pytest.fixture(scope="module")
def model() -> Recommender:
    data, info = make_world("ranking", "all kinds").build()
    return FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)


# ---- functions


def test_a_function_answers_for_unknown_users_alone(model: Recommender) -> None:
    calls: list[Any] = []

    def mine(asked: Recommender, users: list[Any], n_rec: int) -> list[Any]:
        calls.append((asked, users, n_rec))
        return [np.array(["i3", "i1"]), ["i5"]]

    found = model.recommend_user(["new", 100, -7, 101], 3, cold_start=mine, return_scores=True)
    assert calls == [(model, ["new", -7], 3)]
    assert [*found] == ["new", 100, -7, 101]
    assert (found["new"][0].tolist(), found[-7][0].tolist()) == (["i3", "i1"], ["i5"])
    assert np.isnan(found["new"][1]).all()
    assert found["new"][1].dtype == np.float32
    plain = model.recommend_user([100, 101], 3)
    assert all(found[user][0].tolist() == plain[user].tolist() for user in (100, 101))
    model.recommend_user([100, 101], 3, cold_start=mine)
    assert len(calls) == 1


def test_a_table_has_the_lists_of_a_function(model: Recommender) -> None:
    table = model.recommend(["new", 100], 2, cold_start=lambda _, users, n: [["i7", "i2"] for _ in users])
    assert table["item"].tolist()[:2] == ["i7", "i2"]
    assert table["score"].isna().tolist() == [True, True, False, False]


def test_rules_leave_items_out_of_the_lists_of_a_function(model: Recommender) -> None:
    def mine(_: Any, users: list[Any], n_rec: int) -> list[list[str]]:
        return [["i3", "i1", "i5", "i4", "i0"]] * len(users)

    def lists(**rules: Any) -> list[list[str]]:
        return [items.tolist() for items in model.recommend_user(["a", "b"], 5, cold_start=mine, **rules).values()]

    assert lists(exclude=["i1"]) == [["i3", "i5", "i4", "i0"]] * 2
    assert lists(exclude={"b": ["i3", "i0"]}) == [["i3", "i1", "i5", "i4", "i0"], ["i1", "i5", "i4"]]
    assert lists(candidates=["i0", "i3", "i9"]) == [["i3", "i0"]] * 2
    assert lists(where=lambda items: items["genre1"] == "even") == [["i4", "i0"]] * 2
    assert lists(max_per_group={"genre1": 1}, candidates=["i1", "i4", "i5"]) == [["i1", "i4"]] * 2
    assert lists(min_score=1.0) == lists()
    with pytest.warns(UserWarning, match="2 lists are shorter than n_rec=5"):
        lists(exclude=["i1"])


def test_a_function_may_name_items_without_interactions() -> None:
    data, info = make_world("ranking", "all kinds").apart().build()
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    assert model.recommend_user("x", 2, cold_start=lambda *_: [["fresh", 0]])["x"].tolist() == ["fresh", 0]


def test_inner_ids_are_returned_of_the_ids_that_a_function_gives(model: Recommender) -> None:
    found = model.recommend_user(0, 2, inner_id=True, cold_start=lambda *_: [["i3", "i1"]])
    assert found[0].tolist() == [model.data_info.item2id["i3"], model.data_info.item2id["i1"]]


def named(answer: Callable[[list[Any], int], Any]) -> Callable[..., Any]:
    def my_lists(model: Any, users: list[Any], n_rec: int) -> Any:
        return answer(users, n_rec)

    return my_lists


BAD: list[tuple[Callable[[list[Any], int], Any], type[Exception], str]] = [
    (lambda users, n: None, TypeError, "cold_start=my_lists must return a list with the item ids.*got No"),
    (lambda users, n: {"new": ["i1"]}, TypeError, "cold_start=my_lists must return a list.*got dict"),
    (lambda users, n: [["i1"]], ValueError, "cold_start=my_lists returned 1 lists for 2 users"),
    (lambda users, n: ["i1", "i2"], TypeError, "must return a list of item ids for each user, got 'i1' for 'new'"),
    (lambda users, n: [{"i1"}, {"i2"}], TypeError, "must return a list of item ids for each user"),
    (lambda users, n: [["i1"], ["i2", "zzz"]], ValueError, "returned unknown items for 'newer', such as 'zzz'"),
    (lambda users, n: [["i1", "i2", "i1"], []], ValueError, "returned an item twice for 'new'"),
    (lambda users, n: [[], ["i1", "i2", "i3", "i4"]], ValueError, "returned 4 items for 'newer', more than n_rec=3"),
    (lambda users, n: [[1.5], []], ValueError, "cold_start=my_lists.*1.5"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "error", "message"), BAD)
def test_what_a_function_gives_is_checked(
    model: Recommender, answer: Callable[[list[Any], int], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        model.recommend_user(["new", 100, "newer"], 3, cold_start=named(answer))


def test_empty_lists_of_a_function_are_lists(model: Recommender) -> None:
    assert model.recommend_user("new", 3, cold_start=lambda *_: [[]])["new"].tolist() == []
    assert len(model.recommend(["new"], 3, cold_start=lambda *_: [[]])) == 0


def test_a_function_predicts_nothing(model: Recommender) -> None:
    with pytest.raises(ValueError, match="a function as cold_start makes lists: predict needs a name"):
        model.predict(100, "i1", cold_start=lambda *_: [])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="cold_start must be one of"):
        model.recommend_user(100, 3, cold_start="random")


# ---- segments


def segment_world(seed: int) -> tuple[pd.DataFrame, Recommender]:
    """Some users of two columns, some of whose values are missing, some of whom like nothing that they met."""
    rng = np.random.default_rng(seed)
    users = pd.DataFrame(
        {
            "user": range(20),
            "sex": rng.choice(np.array(["F", "M", None], object), 20, p=[0.5, 0.3, 0.2]),
            "job": rng.integers(0, 3, 20),
            "age": rng.random(20) * 50,
            "tags": [["x"], []] * 10,
        }
    )
    users.loc[0, "sex"] = "F"
    events = pd.DataFrame(
        {"user": rng.integers(0, 20, 120), "item": rng.integers(0, 15, 120), "label": rng.integers(0, 2, 120)}
    )
    events.loc[0, "label"] = 1
    data, info = DatasetFeat.build_trainset(
        events,
        user_col=["sex", "job", "age", "tags"],
        sparse_col=["sex", "job"],
        dense_col=["age"],
        multi_sparse_col=["tags"],
        user_features=users,
    )
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=False, verbose=0)
    return events.merge(users, on="user"), model


def popular_by_loop(frame: pd.DataFrame, model: Recommender, wanted: dict[str, Any]) -> list[int]:
    """Items by how many users of the segment liked them, then how many at all, then code."""
    liked = frame[frame["label"] > 0].drop_duplicates(["user", "item"])
    info = model.data_info
    known = all(name in frame and (frame[name] == value).any() for name, value in wanted.items())
    inside = liked
    for name, value in wanted.items():
        inside = inside[inside[name] == value]
    in_segment = inside["item"].value_counts() if known else {}
    overall = liked["item"].value_counts()
    items = [info.id2item[code] for code in info.trained_items]
    return sorted(items, key=lambda one: (-in_segment.get(one, 0), -overall.get(one, 0), info.item2id[one]))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 4),
    segment=st.sampled_from(["sex", "job", ["sex"], ["sex", "job"], ["job", "sex"]]),
    strangers=st.lists(
        st.fixed_dictionaries(
            {"sex": st.sampled_from(["F", "M", None, "never seen"]), "job": st.sampled_from([0, 1, 2, None, 9])}
        ),
        min_size=1,
        max_size=4,
    ),
    n_rec=st.integers(1, 20),
    with_known=st.booleans(),
)
def test_a_segment_ranks_as_a_loop_over_its_users(
    seed: int, segment: Any, strangers: list[dict[str, Any]], n_rec: int, with_known: bool
) -> None:
    frame, model = segment_world(seed)
    users = [f"new {n}" for n in range(len(strangers))]
    asked: dict[str, Any] = {"cold_start": "popular", "segment": segment}
    feats = strangers + [{}] * with_known
    found = model.recommend_user([*users, *[3] * with_known], n_rec, feats, return_scores=True, **asked)
    for user, values in zip(users, strangers, strict=True):
        wanted = {name: values[name] for name in ([segment] if isinstance(segment, str) else segment)}
        assert found[user][0].tolist() == popular_by_loop(frame, model, wanted)[:n_rec]
        assert np.isnan(found[user][1]).all()
    if with_known:
        assert found[3][0].tolist() == model.recommend_user(3, n_rec)[3].tolist()
        assert not np.isnan(found[3][1]).any()


def test_a_segment_follows_features_that_are_assigned() -> None:
    frame, model = segment_world(1)
    asked: dict[str, Any] = {"cold_start": "popular", "segment": "sex"}
    before = model.recommend_user("new", 15, {"sex": "M"}, **asked)["new"].tolist()
    assert before == popular_by_loop(frame, model, {"sex": "M"})
    model.data_info.assign_user_features(pd.DataFrame({"user": range(20), "sex": "M"}))
    after = model.recommend_user("new", 15, {"sex": "M"}, **asked)["new"].tolist()
    assert after == popular_by_loop(frame.assign(sex="M"), model, {"sex": "M"}) != before


def test_rules_hold_in_segments() -> None:
    frame, model = segment_world(2)
    asked: dict[str, Any] = {"cold_start": "popular", "segment": "sex"}
    ranked = popular_by_loop(frame, model, {"sex": "F"})
    found = model.recommend_user("new", 3, {"sex": "F"}, exclude=ranked[:2], **asked)["new"]
    assert found.tolist() == ranked[2:5]
    of_each = model.recommend_user(
        ["a", "b"], 3, pd.DataFrame({"user": ["a"], "sex": ["F"]}), exclude={"a": [ranked[0]]}, **asked
    )
    assert of_each["a"].tolist() == ranked[1:4]
    assert of_each["b"].tolist() == model.data_info.popular_items[:3]  # of whom nothing is given
    with_retriever = model.recommend_user("new", 3, {"sex": "F"}, retriever=Retriever(model), **asked)["new"]
    assert with_retriever.tolist() == ranked[:3]


def test_a_segment_without_features_is_told() -> None:
    _, model = segment_world(0)
    asked: dict[str, Any] = {"cold_start": "popular", "segment": "sex"}
    with pytest.warns(UserWarning, match="segment without user_feats: unknown users get what"):
        found = model.recommend_user("new", 3, **asked)["new"]
    assert found.tolist() == model.data_info.popular_items[:3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UnknownIdWarning)
        model.recommend_user(3, 3, **asked)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"segment": "sex"}, "segment is of cold_start='popular', got cold_start='average'"),
        ({"segment": "sex", "cold_start": lambda *_: [[]]}, "segment is of cold_start='popular'"),
        ({"segment": "sx", "cold_start": "popular"}, "'sx' is not a column of users.*did you mean 'sex'"),
        ({"segment": "item", "cold_start": "popular"}, "'item' is not a column of users that segment can have"),
        ({"segment": "age", "cold_start": "popular"}, "segment needs.*'age' is.*dense"),
        ({"segment": ["sex", "tags"], "cold_start": "popular"}, "segment needs one value a user, and 'tags' is multi"),
        ({"segment": [], "cold_start": "popular"}, "segment must be a column of users, or a list of such"),
        ({"segment": 3, "cold_start": "popular"}, "segment must be a column of users, or a list of such, got 3"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_segments_are_refused_whoever_asks(ask: dict[str, Any], message: str) -> None:
    _, model = segment_world(0)
    for user in (3, "new"):
        with pytest.raises(ValueError, match=message):
            model.recommend_user(user, 3, **ask)
