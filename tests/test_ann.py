"""Vectors whose inner products are scores, and lists made of what they find."""

from __future__ import annotations

import builtins
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from worlds import KINDS, World, make_world

import recolib
from benchmarks import retrieval
from recolib import UnknownIdWarning
from recolib.algorithms import AFM, FM, NFM, AutoInt, DeepFM, WideDeep
from recolib.ann import Retriever
from recolib.data import DatasetFeat
from recolib.datasets import make_movies
from recolib.inference import vectors
from recolib.recommender import Recommender

needs_faiss = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss-cpu is not installed")
COMMON: dict[str, Any] = {"embed_size": 8, "lr": 0.02, "batch_size": 64}
DEEP: dict[type[Recommender], dict[str, Any]] = {
    NFM: {"hidden_units": (8,)},
    DeepFM: {"hidden_units": (16, 8)},
    WideDeep: {"hidden_units": (8,)},
    AFM: {"attention_size": 4},
    AutoInt: {"att_embed_size": 8},
}

pytestmark = pytest.mark.filterwarnings("ignore:no context given", "ignore:.*lists are shorter")


def fitted(algorithm: type[Recommender], world: World, task: str = "ranking", **settings: Any) -> Recommender:
    data, info = world.build()
    model = algorithm(task, info, n_epochs=2, **COMMON | settings)
    return model.fit(data, neg_sampling=task == "ranking", verbose=0)


@pytest.fixture(scope="module")
def movies() -> tuple[Any, Any]:
    """Enough items that most are not among the candidates."""
    frame = make_movies(n_users=150, n_items=400, n_ratings=6000)
    return DatasetFeat.build_trainset(frame, user_col=["sex"], item_col=["genre1"], sparse_col=["sex", "genre1"])


@pytest.fixture(scope="module")
def deep(movies: tuple[Any, Any]) -> Recommender:
    data, info = movies
    return DeepFM("ranking", info, n_epochs=2, hidden_units=(16,), **COMMON).fit(data, neg_sampling=True, verbose=0)


def logits(model: Recommender, n_users: int, **asked: Any) -> np.ndarray:
    """Of the first users with all items, from their lists."""
    users = [model.data_info.id2user[code] for code in range(1, n_users + 1)]
    n_items = model.data_info.n_items
    table = np.empty((n_users, n_items))
    lists = model.recommend_user(users, n_items, filter_consumed=False, return_scores=True, **asked)
    for row, (items, scores) in enumerate(lists.values()):
        scores = scores.astype(float)
        table[row, [model.data_info.item2id[item] - 1 for item in items]] = np.log(scores / (1 - scores))
    return table


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use_bn", [False, True])
def test_inner_products_of_a_factorization_machine_are_its_logits(kind: str, use_bn: bool) -> None:
    model = fitted(FM, make_world("ranking", kind), use_bn=use_bn)
    users, items = model.user_vectors(), model.item_vectors()
    assert users.dtype == items.dtype == np.float32
    assert users.shape == (model.data_info.n_users, 8 + 2)
    assert items.shape == (model.data_info.n_items, 8 + 2)
    assert_allclose(users[:5] @ items.T, logits(model, 5), atol=1e-5)


def test_inner_products_of_weighted_pairs_are_logits_without_the_perceptron() -> None:
    model = fitted(DeepFM, make_world("ranking", "all kinds"), hidden_units=(4,), combine="concat")
    network = model.engine.network
    del network.components[2]
    codes = np.arange(1, 6, dtype=np.int32)
    table = logits(model, 5)
    assert_allclose(
        model.user_vectors([model.data_info.id2user[c] for c in codes]) @ model.item_vectors().T, table, atol=1e-5
    )


def test_context_and_features_are_in_a_users_vector() -> None:
    model = fitted(FM, make_world("ranking", "all kinds"))
    asked: dict[str, Any] = {"context": {"hour": 2}}
    user = model.data_info.id2user[1]
    there = model.user_vectors([user], **asked) @ model.item_vectors().T
    assert_allclose(there, logits(model, 1, **asked), atol=1e-5)
    assert np.abs(there - model.user_vectors([user]) @ model.item_vectors().T).max() > 1e-3
    asked["user_feats"] = {"sex": "M", "age": 60.0}
    assert_allclose(model.user_vectors([user], **asked) @ model.item_vectors().T, logits(model, 1, **asked), atol=1e-5)


def test_vectors_of_users_without_context_warn() -> None:
    model = fitted(FM, make_world("ranking", "all kinds"))
    with pytest.warns(UserWarning, match="no context given"):
        model.user_vectors()


def test_vectors_of_an_unknown_user_are_the_averages() -> None:
    model = fitted(FM, make_world("ranking", "pure"))
    with pytest.warns(UnknownIdWarning):
        there = model.user_vectors(["nobody"])
    with pytest.warns(UnknownIdWarning):
        expected = model.recommend_user("nobody", 3, filter_consumed=False)["nobody"]
    best = np.argsort(-(there @ model.item_vectors().T)[0])[:3] + 1
    assert [model.data_info.id2item[code] for code in best] == expected.tolist()


@pytest.mark.parametrize("algorithm", DEEP)
def test_inner_products_of_other_models_come_near(algorithm: type[Recommender]) -> None:
    """With as many users drawn as there are, and all directions kept, nothing is left out but rounding."""
    model = fitted(algorithm, make_world("ranking", "sparse"), **DEEP[algorithm])
    table = logits(model, 10)
    assert table.std() > 0.05
    assert_allclose(model.user_vectors()[:10] @ model.item_vectors().T, table, atol=0.02 * table.std())


def test_contexts_are_among_what_vectors_are_made_for() -> None:
    model = fitted(DeepFM, make_world("ranking", "all kinds"), hidden_units=(8,))
    users = [model.data_info.id2user[code] for code in range(1, 11)]
    asked: dict[str, Any] = {"context": {"hour": 1}}
    near, table = model.user_vectors(users, **asked) @ model.item_vectors().T, logits(model, 10, **asked)
    assert np.corrcoef(near.ravel(), table.ravel())[0, 1] > 0.99


def test_users_drawn_are_distinct_and_in_all_contexts() -> None:
    _, info = make_world("ranking", "all kinds").build()
    rows = vectors.sample_users(info, np.random.default_rng(0))
    assert sorted(rows.codes[:, 0].tolist()) == list(range(1, info.n_users + 1))
    assert set(rows.codes[:, -1].tolist()) == set(range(len(info.vocabs["hour"]) + 1))


def test_vectors_cannot_be_written_to() -> None:
    model = fitted(FM, make_world("ranking", "pure"))
    with pytest.raises(ValueError, match="read-only"):
        model.item_vectors()[0] = 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["ranking", "rating"])
def test_lists_of_a_factorization_machine_are_the_exhaustive_ones(kind: str, task: str) -> None:
    model = fitted(FM, make_world(task, kind), task)
    retriever = Retriever(model, n_candidates=5)
    pd.testing.assert_frame_equal(model.recommend(n_rec=5, retriever=retriever), model.recommend(n_rec=5))
    assert retriever.recall(model.data_info.vocabs["user"].values.tolist(), 5) == 1.0


@pytest.mark.parametrize("algorithm", DEEP)
def test_lists_from_all_candidates_are_the_exhaustive_ones(algorithm: type[Recommender]) -> None:
    model = fitted(algorithm, make_world("ranking", "all kinds"), **DEEP[algorithm])
    retriever = Retriever(model, n_candidates=model.data_info.n_items)
    pd.testing.assert_frame_equal(model.recommend(n_rec=6, retriever=retriever), model.recommend(n_rec=6))


def test_scores_of_retrieved_items_are_the_models(deep: Recommender) -> None:
    user = deep.data_info.id2user[1]
    items, scores = deep.recommend_user(user, 5, return_scores=True, retriever=Retriever(deep, n_candidates=20))[user]
    assert_allclose(scores, deep.predict(user, items), rtol=1e-5)


def test_consumed_and_excluded_items_stay_out_of_full_lists(deep: Recommender) -> None:
    info = deep.data_info
    retriever = Retriever(deep, n_candidates=10)
    users = [info.id2user[code] for code in range(1, info.n_users + 1)]
    exclude = info.popular_items[:20]
    for user, items in deep.recommend_user(users, 10, exclude=exclude, retriever=retriever).items():
        consumed = {info.id2item[code] for code in info.user_consumed[info.user2id[user]]}
        assert len(set(items) - consumed - set(exclude)) == 10
    assert any(
        set(items) & set(exclude)
        for items in deep.recommend_user(users, 10, filter_consumed=False, retriever=retriever).values()
    )


def test_recall_is_the_share_of_the_exhaustive_lists(deep: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "N_USERS", 3)
    monkeypatch.setattr(vectors, "N_ANCHORS", 8)
    data_info, users = deep.data_info, [deep.data_info.id2user[code] for code in range(1, 51)]
    retriever = Retriever(deep, n_candidates=10)
    monkeypatch.setattr(
        retriever, "_vectors", vectors.make_vectors(deep.engine.network, deep.engine.vectors().states, data_info, 0)
    )
    retriever._search = recolib.ann.exact(retriever._vectors.items)
    true, found = (deep.recommend_user(users, 5, retriever=one) for one in (None, retriever))
    share = np.mean([len(set(true[user]) & set(found[user])) / 5 for user in users])
    assert 0 < retriever.recall(users, 5) < 1
    assert retriever.recall(users, 5) == pytest.approx(share)
    assert Retriever(deep, n_candidates=10**6).recall(users, 5) == 1.0


def test_few_candidates_find_most(deep: Recommender) -> None:
    users = [deep.data_info.id2user[code] for code in range(1, 101)]
    assert Retriever(deep, n_candidates=40).recall(users, 10) > 0.9


@pytest.mark.parametrize("index", ["exact", pytest.param("hnsw", marks=needs_faiss)])
def test_many_users_get_what_each_gets_alone(deep: Recommender, index: str) -> None:
    retriever = Retriever(deep, index, n_candidates=10)
    users = [deep.data_info.id2user[code] for code in range(1, 51)]
    together = deep.recommend_user(users, 8, retriever=retriever)
    for user in users:
        assert (together[user] == deep.recommend_user(user, 8, retriever=retriever)[user]).all()


def test_unknown_users_get_their_lists(deep: Recommender) -> None:
    retriever = Retriever(deep, n_candidates=400)
    known = deep.data_info.id2user[1]
    for cold_start in ("average", "popular"):
        asked = [known, "nobody"]
        with pytest.warns(UnknownIdWarning):
            found = deep.recommend_user(asked, 5, cold_start=cold_start, retriever=retriever)
        with pytest.warns(UnknownIdWarning):
            true = deep.recommend_user(asked, 5, cold_start=cold_start)
        assert all((found[user] == true[user]).all() for user in asked)


def test_candidates_and_random_lists_are_made_as_ever(deep: Recommender) -> None:
    retriever = Retriever(deep, n_candidates=5)
    user, some = deep.data_info.id2user[1], deep.data_info.popular_items[:30]
    found = deep.recommend_user(user, 5, candidates=some, filter_consumed=False, retriever=retriever)[user]
    assert (found == deep.recommend_user(user, 5, candidates=some, filter_consumed=False)[user]).all()
    assert len(set(deep.recommend_user(user, 50, random_rec=True, retriever=retriever)[user])) == 50


def test_lists_longer_than_the_candidates_are_whole(deep: Recommender) -> None:
    user = deep.data_info.id2user[1]
    assert len(deep.recommend_user(user, 30, retriever=Retriever(deep, n_candidates=1))[user]) == 30


def test_a_retriever_of_a_model_that_changed_is_refused(movies: tuple[Any, Any]) -> None:
    data, _ = movies
    frame = make_movies(n_users=50, n_items=40, n_ratings=800)
    columns: dict[str, Any] = {"user_col": ["sex"], "item_col": ["genre1"], "sparse_col": ["sex", "genre1"]}
    data, info = DatasetFeat.build_trainset(frame, **columns)
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    other = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    retriever, user = Retriever(model), info.id2user[1]
    with pytest.raises(ValueError, match="build a new one"):
        other.recommend_user(user, 3, retriever=retriever)
    model.recommend_user(user, 3, retriever=retriever)
    before = model.item_vectors().copy()
    model.fit(data, neg_sampling=True, verbose=0)
    with pytest.raises(ValueError, match="build a new one"):
        model.recommend_user(user, 3, retriever=retriever)
    with pytest.raises(ValueError, match="build a new one"):
        retriever.recall([user], 3)
    retriever = Retriever(model)
    assert np.abs(model.item_vectors() - before).max() > 1e-4
    model.recommend_user(user, 3, retriever=retriever)
    info.assign_item_features(frame[["item", "genre1"]].drop_duplicates("item").assign(genre1="drama"))
    with pytest.raises(ValueError, match="build a new one"):
        model.recommend_user(user, 3, retriever=retriever)


@pytest.mark.parametrize("algorithm", [FM, DeepFM])
def test_a_loaded_model_has_the_same_vectors_and_lists(algorithm: type[Recommender], tmp_path: Any) -> None:
    model = fitted(algorithm, make_world("ranking", "sparse"))
    model.save(tmp_path, "model", inference_only=True)
    same = recolib.load(tmp_path / "model.safetensors")
    assert (same.item_vectors() == model.item_vectors()).all()
    assert (same.user_vectors() == model.user_vectors()).all()
    lists = [one.recommend(n_rec=4, retriever=Retriever(one, n_candidates=6)) for one in (model, same)]
    pd.testing.assert_frame_equal(*lists)


def test_before_fit_there_are_no_vectors() -> None:
    _, info = make_world("ranking", "pure").build()
    for ask in (
        FM("ranking", info).item_vectors,
        FM("ranking", info).user_vectors,
        lambda: Retriever(FM("ranking", info)),
    ):
        with pytest.raises(recolib.NotFittedError):
            ask()


def test_what_a_retriever_is_told_is_checked(deep: Recommender) -> None:
    with pytest.raises(ValueError, match="index must be one of"):
        Retriever(deep, index="ivf")
    with pytest.raises(ValueError, match="n_candidates must be at least 1, got 0"):
        Retriever(deep, n_candidates=0)
    assert repr(Retriever(deep, n_candidates=7)).startswith("Retriever(DeepFM, index='exact', n_candidates=7; ")


def test_without_faiss_a_graph_says_what_to_install(deep: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "faiss":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r'pip install "recolib\[ann\]"'):
        Retriever(deep, index="hnsw")
    assert Retriever(deep, index="exact").recall([deep.data_info.id2user[1]], 3) > 0


@needs_faiss
def test_a_graph_finds_what_the_whole_finds(deep: Recommender) -> None:
    users = [deep.data_info.id2user[code] for code in range(1, 101)]
    graph, whole = (Retriever(deep, index, n_candidates=60) for index in ("hnsw", "exact"))
    assert graph.recall(users, 10) > whole.recall(users, 10) - 0.05


@needs_faiss
def test_what_a_graph_does_not_reach_is_looked_for_in_the_whole(deep: Recommender) -> None:
    retriever = Retriever(deep, index="hnsw", n_candidates=10)
    retriever._search = lambda users, n: np.zeros((len(users), n), np.int64)
    user = deep.data_info.id2user[1]
    assert (deep.recommend_user(user, 5, retriever=retriever)[user] == deep.recommend_user(user, 5)[user]).all()


def test_the_benchmark_prints_a_row_for_each_way_to_make_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"--items": 60, "--users": 40, "--rows": 900, "--epochs": 1, "--asked": 5}
    retrieval.main([str(part) for size in sizes.items() for part in size])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(retrieval.MODELS) * (1 + len(retrieval.indexes()) * len(retrieval.N_CANDIDATES))
    assert all(row.split("|")[4].strip() == "1.000" for row in rows if "1000" in row)


def test_code_of_the_page_on_large_catalogues_runs() -> None:
    page = Path(__file__).parents[1] / "docs" / "vectors_and_indexes.md"
    codes = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert codes
    if importlib.util.find_spec("faiss") is None:
        codes = [code.replace("hnsw", "exact") for code in codes]
    exec("\n".join(codes), {})
