"""How much an item of a history says is chosen by the known users."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import recolib
from recolib.algorithms import FM, DeepFM
from recolib.data import DatasetFeat, DatasetPure
from recolib.inference import history_weight
from recolib.inference.history_weight import CANDIDATES, DEFAULT, MIN_USERS, N_HISTORY, choose_history_weight
from recolib.recommender import Recommender

pytestmark = pytest.mark.filterwarnings("ignore::recolib.UnknownIdWarning")
SETTINGS: dict[str, Any] = {"embed_size": 8, "n_epochs": 30, "num_neg": "all", "batch_size": 32, "lr": 0.02}
N_ITEMS = 60


def events(n_users: int = 120, size: int = 16, seed: int = 0) -> pd.DataFrame:
    """Each user has items of one of six tastes."""
    rng, rows = np.random.default_rng(seed), list[tuple[int, int]]()
    shares = 1 / (5.0 + np.arange(N_ITEMS))
    for user in range(n_users):
        fit = np.where(np.arange(N_ITEMS) % 6 == user % 6, 1.0, 0.02)
        chosen = rng.choice(N_ITEMS, size, replace=False, p=shares * fit / (shares * fit).sum())
        rows += [(user, item) for item in chosen.tolist()]
    return pd.DataFrame(rows, columns=["user", "item"]).assign(label=1)


def trained(frame: pd.DataFrame, algorithm: type[Recommender] = FM, **settings: Any) -> Recommender:
    data, info = DatasetPure.build_trainset(frame)
    return algorithm("ranking", info, **SETTINGS | settings).fit(data, neg_sampling=True, verbose=0)


@pytest.fixture(scope="module")
def model() -> Recommender:
    return trained(events())


def test_items_say_much_where_users_have_tastes(model: Recommender) -> None:
    assert choose_history_weight(model.engine) >= 3


def test_new_users_get_lists_by_the_weight_that_was_chosen(model: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    history, scores = [0, 6, 12], dict[float, list[float]]()
    for weight in CANDIDATES:
        monkeypatch.setattr("recolib.inference.recommend.choose_history_weight", lambda *_, weight=weight: weight)
        model.engine.history_weight = type(model.engine.history_weight)()
        model.engine._folded = type(model.engine._folded)()
        scores[weight] = model.recommend_user("new", 5, history=history, return_scores=True)["new"][1].tolist()
    monkeypatch.undo()
    model.engine.history_weight = type(model.engine.history_weight)()
    model.engine._folded = type(model.engine._folded)()
    chosen = choose_history_weight(model.engine)
    assert model.recommend_user("new", 5, history=history, return_scores=True)["new"][1].tolist() == scores[chosen]
    assert len({tuple(each) for each in scores.values()}) == len(CANDIDATES)


def test_the_least_candidate_with_nearly_the_best_lists_is_chosen(
    model: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    for best in CANDIDATES:
        monkeypatch.setattr(
            history_weight, "_figure", lambda *arguments, best=best: 1.0 if arguments[3] == best else 0.94
        )
        assert choose_history_weight(model.engine) == best
        monkeypatch.setattr(
            history_weight, "_figure", lambda *arguments, best=best: 1.0 if arguments[3] == best else 0.96
        )
        assert choose_history_weight(model.engine) == CANDIDATES[0]


def test_users_bring_some_liked_items_and_are_judged_by_their_others(
    model: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = events()
    frame["label"] = (np.arange(len(frame)) % 4 > 0).astype(int)
    disliking, seen = trained(frame), list[tuple[list[Any], list[Any]]]()
    monkeypatch.setattr(
        history_weight, "_figure", lambda _, histories, others, *__: seen.append((histories, others)) or 0
    )
    assert choose_history_weight(disliking.engine) == CANDIDATES[0]
    info, (histories, others) = disliking.data_info, seen[0]
    assert len(histories) == frame["user"].nunique()
    assert {len(items) for items in histories} == {N_HISTORY}
    liked = {
        tuple(sorted(info.item2id[item] for item in items))
        for _, items in frame[frame["label"] > 0].groupby("user")["item"]
    }
    assert {tuple(sorted([*brought, *rest])) for brought, rest in zip(histories, others, strict=True)} == liked


@pytest.mark.parametrize("case", ["few users", "short histories", "a network with hidden layers"])
def test_the_default_is_taken_where_nothing_can_be_chosen(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if case == "few users":
        other = trained(events(MIN_USERS - 1), n_epochs=1)
    elif case == "short histories":
        other = trained(events(size=2 * N_HISTORY - 1), n_epochs=1)
    else:
        other = trained(events(), DeepFM, n_epochs=1, hidden_units=(4,))
    monkeypatch.setattr(history_weight, "_figure", lambda *_: pytest.fail("candidates were tried"))
    assert choose_history_weight(other.engine) == DEFAULT


def test_one_choice_serves_an_engine_and_what_is_asked_of_its_copies_with_other_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = events(n_users=60)
    frame["sex"] = np.where(frame["user"] % 2, "F", "M")
    data, info = DatasetFeat.build_trainset(frame, user_col=["sex"], sparse_col=["sex"])
    model = FM("ranking", info, **SETTINGS | {"n_epochs": 2}).fit(data, neg_sampling=True, verbose=0)
    calls = list[object]()
    monkeypatch.setattr(
        "recolib.inference.recommend.choose_history_weight", lambda engine, _: calls.append(engine) or 1.0
    )
    for _ in range(2):
        model.recommend_user("new", 3, history=[0, 6])
    info.assign_user_features(pd.DataFrame({"user": [0], "sex": ["F"]}))
    model.recommend_user("new", 3, history=[0, 6])
    assert len(calls) == 1
    model.fit(data, neg_sampling=True, verbose=0)
    model.recommend_user("new", 3, history=[0, 6])
    assert len(calls) == 2


def test_the_choice_repeats_and_survives_a_file(model: Recommender, tmp_path: Any) -> None:
    back = recolib.load(model.save(tmp_path, "m"))
    assert choose_history_weight(back.engine) == choose_history_weight(model.engine)
    figures = [
        [history_weight._figure(one.engine, *history_weight._halves(one.engine), weight, None) for weight in CANDIDATES]  # pyright: ignore[reportPrivateUsage]
        for one in (model, back)
    ]
    assert figures[0] == figures[1]
    assert len(set(figures[0])) > 1
