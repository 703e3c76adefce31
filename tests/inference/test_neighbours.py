from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from test_contract import ALGORITHMS, COMMON
from worlds import KINDS, World, make_world, with_network

from benchmarks import neighbours
from recolib import NotFittedError, UnknownIdWarning
from recolib.algorithms import FM, DeepFM
from recolib.datasets import make_movies
from recolib.inference.scoring import score_catalogue
from recolib.nn import Network
from recolib.recommender import Recommender

pytestmark = pytest.mark.filterwarnings("ignore:no context given")
IDS = [f"{cls.__name__}-{'-'.join(map(str, settings.values()))}" for cls, settings in ALGORITHMS]


def fitted(cls: type[Recommender], world: World, task: str = "ranking", **settings: Any) -> Recommender:
    data, info = world.build()
    model = cls(task, info, **{**COMMON, "n_epochs": 12, "init_std": 0.1, **settings})
    return model.fit(data, neg_sampling=task == "ranking", verbose=0)


@pytest.fixture(scope="module")
def fm() -> Recommender:
    return fitted(FM, make_world("ranking", "sparse"))


@pytest.fixture(scope="module")
def with_strangers() -> Recommender:
    """Two users and two items have features but no event: their codes are the last."""
    return fitted(FM, make_world("ranking", "sparse").apart())


def logits(model: Recommender) -> NDArray[np.float64]:
    """Those of all users, in an unknown context, with all items."""
    info, network = model.data_info, model.engine.network
    rows = info.users.current[1:]
    around = torch.zeros(len(rows), info.schema.n_codes("context"), dtype=torch.int32)
    users = type(rows)(torch.cat([rows.codes, around], 1), rows.dense, rows.past)
    with torch.no_grad():
        items = network.encode("item", info.items.current[1:])
    return score_catalogue(network, users, items[None], info.n_items).double().numpy()


def correlations(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the columns, when the rows' means are taken off."""
    return np.corrcoef(scores - scores.mean(1, keepdims=True), rowvar=False)


def similarities(model: Recommender, side: str, n: int) -> NDArray[np.float64]:
    """What the model says of all pairs, 1 on the diagonal."""
    codes = list(range(1, n + 1))
    ask = model.similar_items if side == "item" else model.similar_users
    found = np.eye(n)
    for one, (near, values) in ask(codes, n - 1, inner_id=True, return_scores=True).items():
        assert sorted([*near.tolist(), one]) == codes
        found[int(one) - 1, near - 1] = values
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["ranking", "rating"])
@pytest.mark.parametrize("use_bn", [False, True])
def test_similarities_of_an_fm_are_correlations_of_its_scores(kind: str, task: str, use_bn: bool) -> None:
    model = fitted(FM, make_world(task, kind), task, use_bn=use_bn)
    scores = logits(model)
    assert similarities(model, "item", scores.shape[1]) == pytest.approx(correlations(scores), abs=2e-4)
    assert similarities(model, "user", scores.shape[0]) == pytest.approx(correlations(scores.T), abs=2e-4)


@pytest.mark.parametrize(("cls", "settings"), ALGORITHMS, ids=IDS)
def test_similarities_of_any_model_come_near_them_and_tell_tastes_apart(cls: Any, settings: Any) -> None:
    model = fitted(cls, make_world("ranking", "all kinds"), **{**settings, "init_std": 0.1})
    scores = logits(model)
    for side, truth in (("item", correlations(scores)), ("user", correlations(scores.T))):
        found = similarities(model, side, len(truth))
        off = ~np.eye(len(truth), dtype=bool)
        assert np.abs(found - truth)[off].mean() < 0.05, side
        assert np.corrcoef(found[off], truth[off])[0, 1] > 0.98, side
    near = model.similar_items([f"i{i}" for i in range(20)], 5)
    alike = [int(one[1:]) % 2 == int(str(item)[1:]) % 2 for item, found in near.items() for one in found]
    assert np.mean(alike) > 0.8
    of_users = model.similar_users(list(range(100, 124)), 5)
    assert np.mean([one % 2 == int(user) % 2 for user, found in of_users.items() for one in found]) > 0.8


def test_an_answer_is_keyed_by_id_best_first_and_never_the_item_itself(fm: Recommender) -> None:
    found = fm.similar_items(["i3", "i4"], 6, return_scores=True)
    assert list(found) == ["i3", "i4"]
    for item, (near, values) in found.items():
        assert len(near) == len(set(near.tolist())) == 6
        assert item not in near
        assert (np.diff(values) <= 0).all()
        assert (np.abs(values) <= 1).all()
        assert values.dtype == np.float32
    assert fm.similar_items("i3", 6)["i3"].tolist() == found["i3"][0].tolist()
    info = fm.data_info
    inner = fm.similar_items(info.item2id["i3"], 6, inner_id=True)[info.item2id["i3"]]
    assert info.vocabs["item"].decode(inner).tolist() == found["i3"][0].tolist()
    assert len(fm.similar_users(100)[100]) == 10


def test_many_are_answered_as_one(fm: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recolib.inference.neighbours.users_per_block", lambda n_items: 3)
    monkeypatch.setattr("recolib.inference.neighbours.USERS_AT_ONCE", 5)
    users = list(range(100, 124))
    fresh = fitted(FM, make_world("ranking", "sparse"))
    together, alone = fresh.similar_users(users, 4), {user: fm.similar_users(user, 4)[user] for user in users}
    assert {user: near.tolist() for user, near in together.items()} == {u: near.tolist() for u, near in alone.items()}


def test_unknown_ids_are_warned_of_and_have_no_neighbours(fm: Recommender) -> None:
    with pytest.warns(UnknownIdWarning, match="1 unknown items, such as 'nothing': they have no neighbours") as caught:
        found = fm.similar_items(["nothing", "i3"], 2, return_scores=True)
    assert len(caught) == 1
    assert [len(part) for part in found["nothing"]] == [0, 0]
    assert len(found["i3"][0]) == 2


def test_short_lists_are_warned_of(fm: Recommender) -> None:
    with pytest.warns(UserWarning, match="1 lists are shorter than n=50: there are no more"):
        assert len(fm.similar_items("i3", 50)["i3"]) == fm.data_info.n_items - 1


def test_who_has_no_events_is_a_neighbour_only_if_asked_for(with_strangers: Recommender) -> None:
    model, n = with_strangers, 15
    assert {"fresh", 0}.isdisjoint(model.similar_items("i0", n)["i0"].tolist())
    assert {5, "five"}.isdisjoint(model.similar_users(100, n)[100].tolist())
    items = model.similar_items("i0", 21, include_cold_items=True)["i0"].tolist()
    users = model.similar_users(100, 25, include_cold_users=True)[100].tolist()
    assert {"fresh", 0} <= set(items)
    assert {5, "five"} <= set(users)
    of_a_stranger = model.similar_items("fresh", n)["fresh"]
    assert len(of_a_stranger) == n
    features = model.data_info.items.rows.codes[:, 1].tolist()
    near = [model.data_info.item2id[item] for item in of_a_stranger.tolist()]
    own = features[model.data_info.item2id["fresh"]]
    assert np.mean([features[code] == own for code in near[:5]]) == 1


def test_those_alike_in_all_are_ties_by_code() -> None:
    world = make_world("ranking", "sparse")
    source = World(
        world.frame.drop(columns="genre1"),
        world.columns,
        {
            "item_features": pd.DataFrame(
                {
                    "item": [*world.frame["item"].unique(), "x", "y", "z"],
                    "genre1": [*world.frame.drop_duplicates("item")["genre1"], "odd", "odd", "odd"],
                }
            )
        },
    )
    model = fitted(FM, source)
    near, values = model.similar_items("y", 2, include_cold_items=True, return_scores=True)["y"]
    assert near.tolist() == ["x", "z"]
    assert values == pytest.approx(1.0, abs=1e-5)


def test_what_differs_in_nothing_from_the_mean_is_alike_to_none() -> None:
    def make_alike(network: Network) -> None:
        rows = network.item.vectors.weight
        rows[2:] = rows[2]

    model = with_network(fitted(FM, make_world("ranking", "pure")), make_alike)
    near, values = model.similar_items("i0", 3, return_scores=True)["i0"]
    assert near.tolist() == model.data_info.vocabs["item"].values[1:4].tolist()
    assert values.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("cls", [FM, DeepFM])
def test_what_is_kept_follows_weights_and_features(cls: Any) -> None:
    world = make_world("ranking", "sparse")
    model = fitted(cls, world)
    kept = model.engine.neighbourhood("item"), model.engine.neighbourhood("user")
    assert (model.engine.neighbourhood("item"), model.engine.neighbourhood("user")) == kept  # the same objects
    model.data_info.assign_user_features(pd.DataFrame({"user": [100], "sex": ["M"]}))
    assert model.engine.neighbourhood("user") is not kept[1]
    before = model.engine.neighbourhood("item")
    model.fit(world.build()[0], neg_sampling=True, verbose=0)
    assert model.engine.neighbourhood("item") is not before
    assert similarities(model, "item", 20) == pytest.approx(correlations(logits(model)), abs=2e-4 if cls is FM else 0.3)


def test_threads_see_one_neighbourhood() -> None:
    model = fitted(FM, make_world("ranking", "sparse"))
    generator, answers = torch.get_rng_state(), list[Any]()
    threads = [threading.Thread(target=lambda: answers.append(model.similar_items("i3", 5)["i3"])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tuple(answer) for answer in answers}) == 1
    assert len(answers) == 6
    assert torch.equal(torch.get_rng_state(), generator)


def test_bad_questions_are_refused(fm: Recommender) -> None:
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        fm.similar_items("i3", 0)
    with pytest.raises(TypeError, match="include_cold_items must be True or False"):
        fm.similar_items("i3", include_cold_items=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="include_cold_users must be True or False"):
        fm.similar_users(100, include_cold_users="no")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="return_scores must be True or False"):
        fm.similar_users(100, return_scores=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="item is empty"):
        fm.similar_items([])
    with pytest.raises(ValueError, match="must hold inner ids of items"):
        fm.similar_items(99, inner_id=True)
    world = make_world("ranking", "pure")
    with pytest.raises(NotFittedError, match="call fit first"):
        FM("ranking", world.build()[1]).similar_items("i3")


def test_the_benchmark_prints_a_row_for_each_definition(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = make_movies(n_users=120, n_items=60, n_ratings=3000)
    favourite = int(frame["item"].mode()[0])
    monkeypatch.setattr(neighbours, "N_SEEN_BY", 30)
    monkeypatch.setattr(neighbours, "MOVIES", {favourite: "favourite"})
    neighbours.report(frame.assign(title="movie " + frame["item"].astype(str)), n_epochs=3)
    lines = capsys.readouterr().out.splitlines()
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in lines if line.startswith(("| FM", "| DeepFM"))]
    assert [row[1] for row in rows] == ["`similar_items`", "vectors", "vectors of ids"] * 2
    share = {(row[0], row[1]): int(row[2].rstrip("%")) for row in rows}
    assert share["FM", "`similar_items`"] > max(90, share["FM", "vectors of ids"])
    assert len([line for line in lines if line.startswith("favourite; ")]) == 7
