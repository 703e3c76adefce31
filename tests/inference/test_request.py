"""What may be in a list: every rule against plain loops over predictions."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_contract import COMMON, TYPICAL
from worlds import FLOAT32, make_world

from recolib import UnknownIdWarning
from recolib.algorithms import FM, DeepFM
from recolib.ann import Retriever
from recolib.data import DatasetFeat
from recolib.evaluation import evaluate
from recolib.inference.top_k import GroupLimit, limited_top_k
from recolib.recommender import Recommender

pytestmark = pytest.mark.filterwarnings("ignore:.*lists are shorter", "ignore:no context given")
N_ITEMS, N_COLD = 24, 5
USERS: list[int | str] = [100, 101, 102, 103, 104, "nobody", "someone"]
COLUMNS: dict[str, Any] = {
    "user_col": ["sex"],
    "item_col": ["genre", "actor1", "actor2", "tags", "price", "year"],
    "sparse_col": ["sex", "genre", "year"],
    "multi_sparse_col": [["actor1", "actor2"], "tags"],
    "dense_col": ["price"],
}


@dataclass(frozen=True)
class Shop:
    """A fitted model and what its items really are, by id, in the order of codes."""

    model: Recommender
    items: dict[int | str, dict[str, Any]]
    consumed: dict[int | str, set[int | str]]
    cold: set[int | str]


@cache
def shop(number: int) -> Shop:
    """A model of random items, some of which nobody met; values are missing here and there."""
    rng, task = np.random.default_rng(number), ("ranking", "rating")[number % 2]
    ids: list[int | str] = [*range(N_ITEMS // 2), *(f"i{n}" for n in range(N_ITEMS // 2))]
    genres, actors = [*"abc", None], ["x", "y", "z", "none", None]
    table: Any = pd.DataFrame(
        {
            "item": pd.Series(ids, dtype=object),
            "genre": rng.choice(np.array(genres, object), N_ITEMS),
            "actor1": rng.choice(np.array(actors, object), N_ITEMS),
            "actor2": rng.choice(np.array(actors, object), N_ITEMS),
            "tags": [rng.permutation(["p", "q", "r"])[: rng.integers(0, 4)].tolist() for _ in ids],
            "price": rng.permutation(N_ITEMS) * 1.37 + 0.01,
            "year": pd.array(np.where(rng.random(N_ITEMS) < 0.2, pd.NA, rng.integers(1990, 1994, N_ITEMS)), "Int64"),
        }
    )
    cold = {ids[at] for at in rng.permutation(N_ITEMS)[:N_COLD]}
    pairs = [(100 + u, i) for u in range(16) for i in ids if i not in cold and rng.random() < 0.3]
    pairs += [(100 + n % 16, i) for n, i in enumerate(ids) if i not in cold]
    frame = pd.DataFrame(pairs, columns=["user", "item"]).drop_duplicates()
    frame = frame.assign(sex=frame["user"] % 2, label=rng.integers(1, 6, len(frame)) if task == "rating" else 1)
    data, info = DatasetFeat.build_trainset(frame, **COLUMNS, pad_val="none", item_features=table)
    how: dict[str, Any] = {"embed_size": 4, "n_epochs": 2, "lr": 0.05, "init_std": 0.3}
    how |= {"lower_upper_bound": (-99, 99)} if task == "rating" else {}  # what is clipped is tied
    model = FM(task, info, **how) if number % 4 < 2 else DeepFM(task, info, hidden_units=(8,), **how)
    model.fit(data, neg_sampling=task == "ranking", verbose=0)
    rows = {row["item"]: row for row in table.to_dict("records")}
    consumed = {user: set(items) for user, items in frame.groupby("user")["item"]}
    return Shop(model, {item: rows[item] for item in info.item2id}, consumed, cold)


def missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


def values_of(row: dict[str, Any], column: str) -> set[Any]:
    """The values of an item that a limit counts; a column of a group stands for the group."""
    found = [row["actor1"], row["actor2"]] if column.startswith("actor") else row[column]
    found = found if isinstance(found, list) else [found]
    return {value for value in found if not missing(value) and value != "none"}


WHERE: dict[str, tuple[Any, Callable[[dict[str, Any]], bool]]] = {
    "cheap": (lambda items: items["price"] < 15.0, lambda row: row["price"] < 15),
    "exactly": (lambda items: items.price.isin([1.38, 15.08]), lambda row: round(row["price"], 2) in (1.38, 15.08)),
    "both": ((nw.col("price") > 9) & (nw.col("genre") == "a"), lambda row: row["price"] > 9 and row["genre"] == "a"),
    "array": (lambda items: (items["genre"] == "b").to_numpy(), lambda row: row["genre"] == "b"),
    "missing": (lambda items: items["year"] >= 1992, lambda row: not missing(row["year"]) and row["year"] >= 1992),
    "lists": (lambda items: ["p" in tags for tags in items["tags"]], lambda row: "p" in row["tags"]),
    "ids": (nw.col("item").is_in([0, "i3", 5, 7, "i9"]), lambda row: row["item"] in [0, "i3", 5, 7, "i9"]),
    "nothing": (lambda items: items["price"] < 0, lambda row: False),
}  # fmt: skip


def by_loop(
    shop: Shop,
    user: int | str,
    n_rec: int,
    filter_consumed: bool,
    candidates: list[Any] | None,
    exclude: Any,
    where: str | None,
    max_per_group: dict[str, int] | None,
    min_score: float | None,
    include_cold_items: bool,
) -> list[int | str]:
    """The list that one user must get."""
    with warnings.catch_warnings(action="ignore"):
        scores = shop.model.predict([user] * N_ITEMS, [*shop.items])
    own = (exclude.get(user, []) if isinstance(exclude, dict) else exclude) or []
    counts: dict[tuple[str, Any], int] = Counter()
    found: list[int | str] = []
    for at in np.argsort(-np.asarray(scores), kind="stable"):
        item = [*shop.items][at]
        row = shop.items[item]
        if (
            (filter_consumed and item in shop.consumed.get(user, ()))
            or (candidates is not None and item not in candidates)
            or (candidates is None and not include_cold_items and item in shop.cold)
            or item in own
            or (where is not None and not WHERE[where][1](row))
            or (min_score is not None and scores[at] < min_score)
        ):
            continue
        keys = [(name, value) for name in max_per_group or {} for value in values_of(row, name)]
        if any(counts[key] >= (max_per_group or {})[key[0]] for key in keys):
            continue
        counts.update(keys)
        found.append(item)
    return found[:n_rec]


ITEMS: list[int | str] = [*range(N_ITEMS // 2), *(f"i{n}" for n in range(N_ITEMS // 2))]
SOME = st.lists(st.sampled_from(ITEMS), max_size=14)
RULES = {
    "filter_consumed": st.booleans(),
    "candidates": st.none() | SOME,
    "exclude": st.none() | SOME | st.dictionaries(st.sampled_from(USERS), SOME, max_size=5),
    "where": st.none() | st.sampled_from([*WHERE]),
    "max_per_group": st.none()
    | st.dictionaries(st.sampled_from(["genre", "actor1", "actor2", "tags", "year"]), st.integers(1, 3)),
    "include_cold_items": st.booleans(),
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    number=st.integers(0, 3),
    users=st.lists(st.sampled_from(USERS), min_size=1, max_size=5, unique=True),
    n_rec=st.integers(1, 30),
    share=st.none() | st.floats(0, 1),
    **RULES,
)
@pytest.mark.filterwarnings("ignore:exclude has no entry", "ignore::recolib.UnknownIdWarning")
def test_any_rules_leave_what_loops_over_predictions_leave(
    number: int, users: list[int | str], n_rec: int, share: float | None, **rules: Any
) -> None:
    here = shop(number)
    least = None
    if share is not None:  # between two predictions, so that rounding cannot decide
        predictions = np.sort(np.asarray(here.model.predict(users[:1] * N_ITEMS, [*here.items]), np.float64))
        least = float(predictions[(at := int(share * (N_ITEMS - 2))) : at + 2].mean())
        others = np.concatenate([here.model.predict([user] * N_ITEMS, [*here.items]) for user in users])
        least = None if np.abs(others - least).min() < 1e-6 else least
    asked = {**rules, "where": None if rules["where"] is None else WHERE[rules["where"]][0]}
    found = here.model.recommend_user(users, n_rec, min_score=least, **asked)
    for user in users:
        assert found[user].tolist() == by_loop(here, user, n_rec, min_score=least, **rules)


CASE: dict[str, Any] = {
    "where": lambda items: items["price"] > 3,
    "max_per_group": {"genre1": 1, "tags": 2},
    "exclude": {100: ["i1", "i2"], "new": ["i4"]},
}


@pytest.mark.parametrize(("algorithm", "how"), TYPICAL)
def test_rules_hold_for_any_algorithm(algorithm: type[Recommender], how: dict[str, Any]) -> None:
    data, info = make_world("ranking", "all kinds").build()
    model = algorithm("ranking", info, **{**COMMON, **how, "n_epochs": 1}).fit(data, True, verbose=0)
    items, users = info.item_frame().set_index("item"), [100, 101, "new"]
    with warnings.catch_warnings(action="ignore"):
        every = model.recommend_user(users, 100, context={"hour": 1}, return_scores=True)
        least = float(every[101][1][len(every[101][1]) // 2])
        found = model.recommend_user(users, 6, context={"hour": 1}, min_score=least, **CASE)
    for user in users:
        expected: list[str] = []
        counts: Counter[Any] = Counter()
        for item, score in zip(*every[user], strict=True):
            row = items.loc[item]
            groups = {("g", one) for one in (row["genre1"], row["genre2"]) if one in ("even", "odd", "third")}
            tags = {("t", tag) for tag in row["tags"]}
            fits = row["price"] > 3 and item not in CASE["exclude"].get(user, []) and score >= least
            if fits and all(counts[one] < 1 for one in groups) and all(counts[one] < 2 for one in tags):
                counts.update([*groups, *tags])
                expected.append(item)
        assert found[user].tolist() == expected[:6]
    assert len(found[101]) >= 1


# ---- limits


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_users=st.integers(1, 4),
    n_items=st.integers(1, 30),
    k=st.integers(1, 30),
    shape=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 4)), max_size=3),
)
def test_limited_lists_are_those_of_a_greedy_loop(
    seed: int, n_users: int, n_items: int, k: int, shape: list[tuple[int, int, int]]
) -> None:
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.integers(0, 12, (n_users, n_items))).float()  # with ties
    scores[torch.from_numpy(rng.random((n_users, n_items)) < 0.2)] = -torch.inf
    limits = [
        GroupLimit(rng.integers(0, n_values + 1, (n_items, width)).astype(np.int32), most)
        for width, n_values, most in shape
    ]
    k = min(k, n_items)
    found = limited_top_k(scores.clone(), k, limits).tolist()
    for user in range(n_users):
        expected: list[int] = []
        counts: Counter[tuple[int, int]] = Counter()
        for at in torch.sort(scores[user], descending=True, stable=True).indices.tolist():
            keys = {(n, int(v)) for n, limit in enumerate(limits) for v in limit.values[at] if v}
            if scores[user, at] > -torch.inf and all(counts[key] < limits[key[0]].most for key in keys):
                counts.update(keys)
                expected.append(at)
        assert found[user] == (expected[:k] + [-1] * k)[:k]


def test_random_lists_keep_all_rules_and_differ() -> None:
    here = shop(0)
    least = float(np.quantile(here.model.predict([101] * N_ITEMS, [*here.items]), 0.25))
    found: set[tuple[Any, ...]] = set()
    for _ in range(20):
        items, scores = here.model.recommend_user(
            101, 6, random_rec=True, max_per_group={"genre": 1}, min_score=least, where=WHERE["cheap"][0],
            return_scores=True,
        )[101]  # fmt: skip
        assert (scores >= np.float32(least)).all()
        genres = [genre for item in items for genre in values_of(here.items[item], "genre")]
        assert len(genres) == len(set(genres))
        assert all(here.items[item]["price"] < 15 for item in items)
        found.add(tuple(items))
    assert len(found) > 1


# ---- least predictions


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_an_item_with_just_the_least_prediction_stays(number: int) -> None:
    here = shop(number)
    items, scores = here.model.recommend_user(102, 10, return_scores=True)[102]
    assert here.model.recommend_user(102, 10, min_score=scores[4])[102].tolist() == items[scores >= scores[4]].tolist()
    above = float(np.nextafter(scores[4], np.float32(10)))
    assert here.model.recommend_user(102, 10, min_score=above)[102].tolist() == items[scores > scores[4]].tolist()


def test_lists_without_predictions_have_no_least_one() -> None:
    here = shop(0)
    with pytest.warns(UnknownIdWarning):
        found = here.model.recommend_user([101, "nobody"], 5, cold_start="popular", min_score=1.0)
    assert len(found[101]) == 0
    assert found["nobody"].tolist() == here.model.data_info.popular_items[:5]


# ---- items without interactions


def test_items_without_interactions_are_left_out_unless_asked_for() -> None:
    here = shop(2)
    model, info = here.model, here.model.data_info
    assert {info.id2item[code] for code in set(range(1, N_ITEMS + 1)) - set(info.trained_items.tolist())} == here.cold
    assert not here.cold & set(model.recommend_user(100, N_ITEMS, filter_consumed=False)[100])
    everything = model.recommend_user(100, N_ITEMS, filter_consumed=False, include_cold_items=True)[100]
    assert set(everything) == set(here.items)
    assert set(model.recommend_user(100, N_ITEMS, candidates=sorted(here.cold, key=str))[100]) == here.cold
    assert not here.cold & {info.id2item[code] for code in model.default_recs}
    assert set(model.default_recs) == set(info.trained_items.tolist())
    with warnings.catch_warnings(action="ignore"):
        for cold_start in ("average", "popular"):
            asked: dict[str, Any] = {"cold_start": cold_start, "n_rec": N_ITEMS}
            assert set(model.recommend_user("new", **asked)["new"]) == set(here.items) - here.cold
            assert set(model.recommend_user("new", include_cold_items=True, **asked)["new"]) == set(here.items)
    assert set(model.recommend(n_rec=N_ITEMS, include_cold_items=True)["item"]) == set(here.items)
    assert set(model.recommend(n_rec=N_ITEMS)["item"]) == set(here.items) - here.cold


def test_measures_of_lists_are_of_items_with_interactions() -> None:
    here = shop(0)
    frame = pd.DataFrame({"user": list(range(100, 116)), "item": "i0", "label": 1})
    coverage = evaluate(here.model, frame, True, metrics="coverage", k=N_ITEMS, filter_consumed=False)["coverage"]
    assert coverage == pytest.approx((N_ITEMS - N_COLD) / N_ITEMS)


@pytest.mark.parametrize("more", ["many", "few"])
def test_whether_most_of_a_catalogue_is_cold_makes_no_difference(more: str) -> None:
    """Scores are made of all items and some left out, or of some items alone."""
    n_cold = {"many": 40, "few": 3}[more]
    frame = pd.DataFrame({"user": [1, 1, 2, 2, 3], "item": [0, 1, 2, 3, 4], "label": 1})
    features = pd.DataFrame({"item": range(5 + n_cold), "kind": [n % 3 for n in range(5 + n_cold)]})
    data, info = DatasetFeat.build_trainset(frame, item_col=["kind"], sparse_col=["kind"], item_features=features)
    model = FM("ranking", info, n_epochs=1).fit(data, True, verbose=0)
    found = model.recommend_user([1, 2], 10, return_scores=True)
    for user, seen in ((1, {0, 1}), (2, {2, 3})):
        items, scores = found[user]
        assert set(items) == set(range(5)) - seen
        np.testing.assert_allclose(scores, model.predict([user] * 3, items), **FLOAT32)
    allowed = model.recommend_user(1, 10, candidates=list(range(4 + n_cold)), filter_consumed=False)[1]
    assert len(allowed) == min(10, 4 + n_cold)


# ---- a retriever


@pytest.mark.parametrize("number", [0, 2])
def test_lists_of_a_retriever_keep_the_same_rules(number: int) -> None:
    here = shop(number)
    retriever = Retriever(here.model, n_candidates=N_ITEMS)
    users: list[Any] = [100, 101, 104]
    least = float(np.median(here.model.predict([100] * N_ITEMS, [*here.items])))
    asks: list[dict[str, Any]] = [
        {},
        {"exclude": {100: ITEMS[:4], 104: ["i1"]}},
        {"exclude": ["i2", 3]},
        {"min_score": least},
        {"include_cold_items": True},
        {"max_per_group": {"genre": 1}},
        {"where": WHERE["cheap"][0]},
        {"candidates": sorted(here.cold, key=str)},
    ]
    for ask in asks:
        true = here.model.recommend_user(users, 6, **ask)
        found = here.model.recommend_user(users, 6, retriever=retriever, **ask)
        assert {user: items.tolist() for user, items in found.items()} == {u: i.tolist() for u, i in true.items()}


def test_a_retriever_of_few_candidates_leaves_the_cold_ones_out() -> None:
    here = shop(0)
    retriever = Retriever(here.model, n_candidates=6)
    found = here.model.recommend_user([100, 101, 102], 5, retriever=retriever)
    assert all(len(items) == 5 and not here.cold & set(items) for items in found.values())


# ---- popular lists


@pytest.mark.parametrize(
    "rules",
    [
        {"max_per_group": {"genre": 1}},
        {"max_per_group": {"tags": 1, "actor1": 2}},
        {"where": WHERE["cheap"][0]},
        {"exclude": {"one": [0, 1, 2, "i1"]}},
        {"candidates": ITEMS[4:16], "exclude": ["i2"]},
    ],
    ids=" and ".join,
)
@pytest.mark.filterwarnings("ignore::recolib.UnknownIdWarning")
def test_rules_hold_for_lists_of_the_most_popular(rules: dict[str, Any]) -> None:
    here = shop(1)
    info = here.model.data_info
    found = here.model.recommend_user(["one", "other"], 7, cold_start="popular", **rules)
    frame = info.item_frame().set_index("item")
    mask = rules["where"](frame) if "where" in rules else pd.Series(True, frame.index)
    for user in ("one", "other"):
        exclude = rules.get("exclude", [])
        left_out = exclude.get(user, []) if isinstance(exclude, dict) else exclude
        allowed = rules.get("candidates", [item for item in ITEMS if item not in here.cold])
        expected: list[Any] = []
        counts: Counter[Any] = Counter()
        for code in info.ranked_items:
            item = info.id2item[code]
            limits = rules.get("max_per_group", {})
            keys = [(name, one) for name in limits for one in values_of(here.items[item], name)]
            fits = item in allowed and item not in left_out and mask[item]
            if fits and all(counts[key] < limits[key[0]] for key in keys):
                counts.update(keys)
                expected.append(item)
        assert found[user].tolist() == expected[:7]


# ---- the frame of items


@pytest.mark.parametrize("number", range(4))
def test_the_frame_of_items_has_what_was_given(number: int) -> None:
    here = shop(number)
    frame = here.model.data_info.item_frame()
    assert frame["item"].tolist() == [*here.items]
    assert list(frame.columns) == ["item", "genre", "year", "actor1", "actor2", "tags", "price"]
    for found, true in zip(frame.to_dict("records"), here.items.values(), strict=True):
        for name in ("genre", "actor1", "actor2", "year"):
            assert missing(found[name]) if missing(true[name]) or true[name] == "none" else found[name] == true[name]
        assert found["price"] == round(true["price"], 2)  # to the bit
        assert found["tags"] == true["tags"]


def test_frames_follow_features_that_are_assigned() -> None:
    frame = pd.DataFrame({"user": [7, 9], "item": ["a", "b"], "label": [1, 1], "sex": ["F", "M"], "kind": [1, 2]})
    data, info = DatasetFeat.build_trainset(frame, user_col=["sex"], item_col=["kind"], sparse_col=["sex", "kind"])
    model = FM("ranking", info, n_epochs=1).fit(data, True, verbose=0)
    assert model.recommend_user(7, 5, where=nw.col("kind") == 1, filter_consumed=False)[7].tolist() == ["a"]
    info.assign_item_features(pd.DataFrame({"item": ["b"], "kind": [1]}))
    assert info.item_frame()["kind"].tolist() == [1, 1]
    assert len(model.recommend_user(7, 5, where=nw.col("kind") == 1, filter_consumed=False)[7]) == 2
    assert info.user_frame().to_dict("list") == {"user": [7, 9], "sex": ["F", "M"]}


def test_a_condition_cannot_change_the_frame_for_the_next() -> None:
    def spoil(items: pd.DataFrame) -> Any:
        items["price"] = -1.0
        return items["price"] < 0

    model = shop(0).model
    model.recommend_user(100, 3, where=spoil)
    assert len(model.recommend_user(100, 3, where=lambda items: items["price"] < 0)[100]) == 0


# ---- what is refused


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"where": "price < 3"}, TypeError, "where must be a function of the item frame, or a narwhals.*, got str"),
    ({"where": lambda items: items["prise"] < 3}, ValueError, "'prise' is not a column of items.*did you mean 'price'"),
    ({"where": lambda items: items.prise < 3}, ValueError, "'prise' is not a column of items.*did you mean 'price'"),
    ({"where": nw.col("prise") < 3}, ValueError, "where names a column that items do not have: .*prise"),
    ({"where": lambda items: items["price"].head(3) < 3}, ValueError, f"where gave 3 values for {N_ITEMS} items"),
    ({"where": lambda items: items["price"]}, ValueError, "where must give a boolean for each item, got float64"),
    ({"where": lambda items: True}, ValueError, "where must give a boolean for each item, got bool"),
    ({"where": lambda items: items[["price"]].to_numpy() < 3}, ValueError, "where must give a boolean"),
    ({"where": nw.col("price").mean() < 3}, ValueError, f"where gave 1 values for {N_ITEMS} items"),
    ({"max_per_group": ["genre"]}, TypeError, "max_per_group must map item columns"),
    ({"max_per_group": {"gendre": 1}}, ValueError, "'gendre' is not a column of items.*did you mean 'genre'"),
    ({"max_per_group": {"sex": 1}}, ValueError, "'sex' is not a column of items"),
    ({"max_per_group": {"price": 1}}, ValueError, "max_per_group needs.*'price' is.*dense"),
    ({"max_per_group": {"genre": 0}}, ValueError, r"max_per_group\['genre'\] must be at least 1, got 0"),
    ({"max_per_group": {"genre": 1.5}}, TypeError, r"max_per_group\['genre'\] must be an integer"),
    ({"min_score": "high"}, TypeError, "min_score must be a number"),
    ({"min_score": float("nan")}, ValueError, "min_score must be"),
    ({"min_score": 3}, ValueError, "min_score must be at most 1, since predictions are probabilities: 3"),
    ({"include_cold_items": 1}, TypeError, "include_cold_items must be True or False"),
    ({"exclude": {100: {"a": 1}}}, ValueError, r"exclude\[100\] must be an id, or a flat list of ids"),
    ({"candidates": {100: ["i1"]}}, ValueError, "candidates must be an id, or a flat list"),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "error", "message"), BAD)
def test_bad_rules_are_refused(ask: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        shop(0).model.recommend_user(100, 3, **ask)
    with pytest.raises(error, match=message):
        shop(0).model.recommend(n_rec=3, **ask)


def test_errors_of_the_callers_own_function_come_through() -> None:
    def broken(items: pd.DataFrame) -> Any:
        return {"price": 1}["colour"]

    with pytest.raises(KeyError, match="'colour'"):
        shop(0).model.recommend_user(100, 3, where=broken)

    def divided(items: pd.DataFrame) -> Any:
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        shop(0).model.recommend_user(100, 3, where=divided)


def test_what_is_excluded_for_users_is_told_apart_by_their_ids() -> None:
    here = shop(0)
    with pytest.warns(UserWarning, match="exclude has no entry of any of the users asked for, such as 100"):
        found = here.model.recommend_user(100, 3, exclude={"100": [*here.items]})
    assert len(found[100]) == 3
    with pytest.warns(UnknownIdWarning, match="1 of the exclude are unknown items"):
        here.model.recommend_user(100, 3, exclude={100: ["strange", "i1"]})
    assert len(here.model.recommend_user(100, 3, exclude={100: "i1"})[100]) == 3
    code, item = here.model.data_info.user2id[100], here.model.data_info.item2id["i1"]
    assert item not in here.model.recommend_user(code, N_ITEMS, inner_id=True, exclude={code: [item]})[code]


def test_models_with_rules_are_asked_by_threads_alike() -> None:
    here = shop(2)

    def ask(user: int) -> list[Any]:
        rules: dict[str, Any] = {"where": WHERE["cheap"][0], "max_per_group": {"genre": 1}}
        return here.model.recommend_user(user, 6, exclude={user: ["i1"]}, **rules)[user].tolist()

    users = [100 + n % 10 for n in range(60)]
    alone = {user: ask(user) for user in set(users)}
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(ask, users)] == [alone[user] for user in users]
