"""Lists of a catalogue that is gone through shard by shard are those of all items at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import assert_same_list, make_world, with_network

from recolib.algorithms import DIN, EASE, FM, AutoInt, DCNv2, DeepFM, SASRec, TwoTower, YouTubeRetrieval
from recolib.ann import Retriever
from recolib.inference import item_shards
from recolib.inference import recommend as lister
from recolib.inference.engine import Engine, UserBatch
from recolib.inference.item_shards import best_items
from recolib.inference.top_k import GroupLimit
from recolib.inference.toplists import ItemFilter
from recolib.nn import Network
from recolib.recommender import Recommender

pytestmark = pytest.mark.filterwarnings(
    "ignore:no context given", "ignore:.*lists are shorter", "ignore::recolib.UnknownIdWarning"
)
SHARDS = 1, 7, 19, 20, 1000
ALGORITHMS: list[tuple[type[Recommender], dict[str, Any]]] = [
    (FM, {}),
    (FM, {"use_bn": True, "history": "recent"}),
    (DeepFM, {"hidden_units": (8,), "item_to_item": True}),
    (DCNv2, {"hidden_units": (8,), "cross_layers": 2}),
    (AutoInt, {"att_embed_size": 8}),
    (TwoTower, {"hidden_units": (8,)}),
    (YouTubeRetrieval, {"hidden_units": (8,), "max_history": 6}),
    (SASRec, {"n_layers": 1, "max_history": 6}),
    (DIN, {"hidden_units": (8,), "attention_units": 6, "max_history": 6}),
    (EASE, {}),
]
TAGS_AND_GENRES = {"tags": 1, "genre1": 2}
ASKS: list[dict[str, Any]] = [
    {},
    {"n_rec": 100, "filter_consumed": False},
    {"candidates": ["i2", "i19", "i3", "i5", "i8"]},
    {"candidates": []},
    {"exclude": ["i0", "i7"], "where": nw.col("price") > 3, "min_score": 0.4},
    {"exclude": {100: ["i1", "i3"], 119: ["i2"]}, "max_per_group": {"tags": 2}},
    {"max_per_group": TAGS_AND_GENRES, "n_rec": 6, "filter_consumed": False},
    {"max_per_group": TAGS_AND_GENRES, "where": lambda items: items["price"] < 20, "min_score": 0.3, "n_rec": 3},
    {"include_cold_items": True, "n_rec": 30},
    {"cold_start": "features", "user_feats": [{"sex": "F"}] * 6},
    {"cold_start": "popular", "max_per_group": {"genre1": 3}},
    {"cold_start": lambda model, users, n_rec: [["i1", "i2"]] * len(users)},
    {"history": {105: ["i1", "i3"], 2: ["i0", "i2", "i4"], 101: ["i6"]}, "n_rec": 5},
    {"inner_id": True, "users": [3, 0, 1]},
]
USERS = [105, 2, 101, -3, 100, 119]


def trained(algorithm: type[Recommender], settings: dict[str, Any], kind: str = "all kinds") -> Recommender:
    world = make_world("ranking", kind).apart()  # two items have features alone
    of_one_kind = {"user": {"five": 6}, "item": {0: "frozen"}}
    more = {name: frame.replace(of_one_kind) for name, frame in world.more.items()}
    data, info = replace(world, more=more).build()
    own: dict[str, Any] = {} if algorithm is EASE else {"embed_size": 8, "n_epochs": 2, **settings}
    return algorithm("ranking", info, **own).fit(data, neg_sampling=True, verbose=0)


@pytest.fixture(scope="module")
def model() -> Recommender:
    return trained(FM, {"init_std": 0.3})


@pytest.fixture(scope="module")
def with_ties() -> Recommender:
    """A model whose weights are small whole numbers, so that sums are exact and many scores equal."""
    generator = torch.Generator().manual_seed(0)

    def whole(network: Network) -> None:
        for weight in network.parameters():
            weight.copy_(torch.randint(-1, 2, weight.shape, generator=generator).float())

    return with_network(trained(FM, {"embed_size": 2}, "sparse"), whole)


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of five users, of which three meet the shards together."""
    monkeypatch.setattr(lister, "USERS_AT_ONCE", 5)
    monkeypatch.setattr(item_shards, "_users_at_once", lambda *_: 3)


def assert_same_lists(one: pd.DataFrame, other: pd.DataFrame) -> None:
    assert one[["user", "rank"]].to_numpy().tolist() == other[["user", "rank"]].to_numpy().tolist()
    for user in one["user"].unique():
        lists = [
            (own["item"].tolist(), own["score"].tolist()) for own in (one[one.user == user], other[other.user == user])
        ]
        assert_same_list(*lists)


@pytest.mark.parametrize(("algorithm", "settings"), ALGORITHMS, ids=lambda one: getattr(one, "__name__", ""))
def test_each_algorithm_gives_the_lists_of_all_items_at_once(
    algorithm: type[Recommender], settings: dict[str, Any], tmp_path: Path
) -> None:
    model = trained(algorithm, settings)
    for n_rec in (4, 50):
        expected = model.recommend(n_rec=n_rec, verbose=0)
        for items_at_once in SHARDS:
            file = model.recommend_to(tmp_path / "lists", n_rec=n_rec, items_at_once=items_at_once, verbose=0)
            assert_same_lists(pd.read_parquet(file), expected)


@pytest.mark.parametrize("at", range(len(ASKS)))
@pytest.mark.usefixtures("few_at_once")
def test_what_is_asked_holds_over_all_shards(model: Recommender, at: int, tmp_path: Path) -> None:
    ask = {"context": {"hour": 1}, "users": USERS, "n_rec": 7, **ASKS[at]}
    expected = model.recommend(verbose=0, **ask)
    assert len(expected) or not ask.get("candidates", True)
    for items_at_once in SHARDS:
        file = model.recommend_to(tmp_path / "lists", items_at_once=items_at_once, verbose=0, **ask)
        assert_same_lists(pd.read_parquet(file), expected)


def test_users_who_are_read_part_by_part_meet_all_shards(model: Recommender, tmp_path: Path) -> None:
    parts = [pd.DataFrame({"user": some}) for some in ([105, 101], [100, 105], [-3, 119])]
    ask: dict[str, Any] = {"n_rec": 5, "context": {"hour": 2}, "verbose": 0}
    file = model.recommend_to(tmp_path / "lists", iter(parts), items_at_once=6, **ask)
    assert_same_lists(pd.read_parquet(file), model.recommend([105, 101, 100, -3, 119], **ask))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_ties_and_limits_are_those_of_all_items_at_once(with_ties: Recommender, data: st.DataObject) -> None:
    engine, info = with_ties.engine, with_ties.data_info
    items, users = st.integers(1, info.n_items), st.integers(0, info.n_users)
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    codes = np.array(data.draw(st.lists(users, min_size=1, max_size=6)), np.int32)
    some_items = st.none() | st.lists(items, max_size=30).map(lambda own: np.array(own, np.int32))
    shape = data.draw(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 3)), max_size=2))
    item_filter = ItemFilter(
        candidates=data.draw(some_items),
        exclude=data.draw(some_items),
        filter_consumed=data.draw(st.booleans()),
        exclude_each=data.draw(
            st.none() | st.just([rng.integers(1, info.n_items + 1, 3).astype(np.int32) for _ in codes])
        ),
        include_cold=data.draw(st.booleans()),
        below_min_score=data.draw(st.none() | st.just(lambda logits: logits < 0)),
        limits=[
            GroupLimit(rng.integers(0, n_values + 1, (info.n_items + 1, width)).astype(np.int32), most)
            for width, n_values, most in shape
        ],
    )
    batch = UserBatch(codes, codes, engine.rows_of("user", codes), item_filter)
    k = data.draw(st.integers(1, 25))
    expected, found = engine.top_k(batch, k), best_items(engine, batch, k, data.draw(st.integers(1, 25)))
    assert found.items.tolist() == expected.items.tolist()
    assert found.logits.tolist() == expected.logits.tolist()


@pytest.mark.parametrize("ask", [{}, {"history": {105: ["i1"]}}, {"max_per_group": {"genre1": 1}}])
def test_no_more_items_are_encoded_than_were_asked_for(
    ask: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, encoded = trained(FM, {}), list[int]()
    real = Engine.encode_items
    monkeypatch.setattr(Engine, "encode_items", lambda self, codes: encoded.append(len(codes)) or real(self, codes))
    monkeypatch.setattr("recolib.inference.folding.HEAD", 2)
    monkeypatch.setattr("recolib.inference.folding.TAIL", 2)
    model.recommend_to(tmp_path / "lists", n_rec=3, items_at_once=6, verbose=0, **ask)
    assert max(encoded) == 6
    assert not model.engine.holds_items


def test_shards_are_chosen_for_states_that_need_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = trained(FM, {}), list[int | None]()
    expected = trained(FM, {}).recommend(n_rec=3, verbose=0)
    real = lister.best_items

    def noted(engine: Engine, batch: UserBatch, k: int, items_at_once: int | None) -> Any:
        seen.append(items_at_once)
        return real(engine, batch, k, items_at_once)

    monkeypatch.setattr(lister, "best_items", noted)

    def lists(**ask: Any) -> pd.DataFrame:
        return pd.read_parquet(model.recommend_to(tmp_path / "lists", n_rec=3, verbose=0, **ask))

    monkeypatch.setattr(item_shards, "MAX_ITEM_NUMBERS", 100)  # a state has the vector, own pairs and a linear weight
    width = 8 + 1 + 1
    n_items = model.data_info.n_items
    assert n_items == 22
    assert_same_lists(lists(), expected)
    assert seen == [100 // width] == [10]
    lists(random_rec=True)
    assert seen[1:] == [None]
    assert_same_lists(lists(), expected)
    assert seen[2:] == [None]  # all are held since
    assert_same_lists(lists(items_at_once=4), expected)
    assert seen[3:] == [4]


def test_what_does_not_go_through_all_items_in_turn_is_refused(model: Recommender, tmp_path: Path) -> None:
    def refused(match: str, **ask: Any) -> None:
        with pytest.raises(ValueError, match=match):
            model.recommend_to(tmp_path / "lists", verbose=0, **ask)

    refused("items_at_once must be at least 1, got 0", items_at_once=0)
    refused("items_at_once goes through all items in turn, and random_rec does not", items_at_once=5, random_rec=True)
    retriever = Retriever(model)
    refused("and retriever does not: leave one out", items_at_once=5, retriever=retriever)
    assert not (tmp_path / "lists").exists()
