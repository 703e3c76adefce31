"""Events go into a model as they come, among known ones, and leave what was learnt."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_contract import ALGORITHMS, TYPICAL
from worlds import COLUMNS, World, rated, two_tastes

from benchmarks import stream
from recolib import FM, DatasetFeat, DatasetPure, DeepFM
from recolib.data.interactions import Interactions
from recolib.data.rows import AVERAGE, UNKNOWN
from recolib.datasets import make_movies
from recolib.evaluation import evaluate
from recolib.recommender import Recommender
from recolib.training.replay import pairs_to_replay, users_to_replay, with_known
from recolib.update import epochs_of_update, lr_of_update, n_replayed

pytestmark = pytest.mark.filterwarnings("ignore:no context given", "ignore:.*lists are shorter")
ALL = World(two_tastes(), COLUMNS["all kinds"])
COMMON: dict[str, Any] = {"embed_size": 4, "n_epochs": 2, "lr": 0.02, "batch_size": 64}
CATALOGUE: dict[str, Any] = {**COMMON, "num_neg": "all", "batch_size": 16}


def fitted(algorithm: type[Recommender] = FM, task: str = "ranking", **settings: Any) -> Recommender:
    frame = two_tastes() if task == "ranking" else rated(two_tastes())
    data, info = World(frame, ALL.columns).build()
    return algorithm(task, info, **{**COMMON, **settings}).fit(data, neg_sampling=task == "ranking", verbose=0)


def state(model: Recommender) -> dict[str, torch.Tensor]:
    return model._state  # pyright: ignore[reportPrivateUsage]


def event(n: int = 1) -> pd.DataFrame:
    return two_tastes().tail(n).assign(time=5000)


@pytest.mark.parametrize(
    ("algorithm", "task"),
    [(one, "ranking") for one in ALGORITHMS] + [(one, "rating") for one in TYPICAL],
    ids=lambda p: p if isinstance(p, str) else f"{p[0].__name__}-{'-'.join(map(str, p[1].values()))}",
)
def test_every_algorithm_takes_a_single_event(algorithm: tuple[type[Recommender], dict[str, Any]], task: str):
    cls, settings = algorithm
    model = fitted(cls, task, **settings)
    size, frame = model.data_info.data_size, two_tastes()
    before = model.predict(frame["user"].tolist(), frame["item"].tolist(), feats=frame[["hour"]])
    one = event() if task == "ranking" else event().assign(label=5)
    model.update(one.assign(user=999, item="fresh"), neg_sampling=task == "ranking", verbose=0)
    after = model.predict(frame["user"].tolist(), frame["item"].tolist(), feats=frame[["hour"]])
    assert model.data_info.data_size == size + 1
    assert np.isfinite(model.predict(999, "fresh"))
    assert (after != before).any()
    assert np.abs(after - before).mean() < 0.1 * max(1.0, before.std())


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [(FM, {"n_epochs": 40}), (DeepFM, {"n_epochs": 15, "num_neg": 1})],
    ids=["catalogue", "one negative"],
)
def test_many_updates_of_two_events_are_as_good_as_one_of_all(algorithm: Any, settings: dict[str, Any]):
    frame = stream.liked(make_movies(n_users=300, n_items=200, n_ratings=12_000)).sort_values("time")
    parts = stream.by_time(frame.reset_index(drop=True))
    data, info = DatasetPure.build_trainset(parts.train)
    model = algorithm("ranking", info, **settings).fit(data, neg_sampling=True, verbose=0)

    def after(size: int, replay: int | None = None) -> float:
        return stream.measured(stream.updated(model, parts.later, size, replay)[0], parts.test)

    whole = after(stream.N_LATER)
    assert after(2) > 0.98 * whole
    assert after(2, replay=0) < after(2)  # what replay is for


def test_labels_of_small_updates_do_not_spoil_what_was_learnt():
    frame = make_movies(n_users=200, n_items=120, n_ratings=9000).sort_values("time", ignore_index=True)
    frame["label"] = (frame["label"] >= 4).astype(int)
    parts = stream.by_time(frame)
    data, info = DatasetPure.build_trainset(parts.train)
    model = DeepFM("ranking", info, n_epochs=4).fit(data, neg_sampling=False, verbose=0)
    before = evaluate(model, parts.test, False, metrics=["roc_auc"])["roc_auc"]
    for at in range(0, 100, 2):
        model.update(parts.later.iloc[at : at + 2], neg_sampling=False, verbose=0)
    assert evaluate(model, parts.test, False, metrics=["roc_auc"])["roc_auc"] > before - 0.005


@pytest.mark.parametrize("settings", [COMMON, CATALOGUE], ids=["one negative", "catalogue"])
def test_the_same_events_give_the_same_bits(settings: dict[str, Any]):
    model = fitted(**settings)
    one, other = copy.deepcopy(model), copy.deepcopy(model)
    for some in (one, other):
        for at in range(3):
            some.update(event(6).iloc[2 * at : 2 * at + 2], neg_sampling=True, verbose=0)
    assert all(torch.equal(tensor, state(other)[name]) for name, tensor in state(one).items())
    assert one.recommend(n_rec=3).equals(other.recommend(n_rec=3))
    draws = [users_to_replay(events(model), model.data_info, 9, seed=0, epoch=epoch).tolist() for epoch in (4, 4, 5)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("settings", [COMMON, CATALOGUE], ids=["one negative", "catalogue"])
def test_updates_of_an_event_keep_settings_and_moments(settings: dict[str, Any]):
    model = fitted(**settings)
    chosen = {name: getattr(model, name) for name in ("lr", "n_epochs", "batch_size", "num_neg")}
    steps = float(state(model)["adam.user.vectors.weight.step"])
    model.update(event(2), neg_sampling=True, verbose=0)
    assert {name: getattr(model, name) for name in chosen} == chosen
    assert model.history_["epoch"].tolist() == [1, 2, 3]
    assert float(state(model)["adam.user.vectors.weight.step"]) == steps + 1


@pytest.mark.parametrize(
    ("change", "replay", "error"),
    [
        (lambda frame: frame.assign(label=0), None, "no label is above 0"),
        (lambda frame: frame, 0, "at least 2 rows, got 1"),
        (lambda frame: frame, -1, "replay"),
        (lambda frame: frame, 1.5, "replay"),
    ],
)
def test_a_single_event_that_is_refused_changes_nothing(change: Any, replay: Any, error: str):
    model = fitted()
    info, before = model.data_info, dict(state(model))
    with pytest.raises((ValueError, TypeError), match=error):
        model.update(change(event()), neg_sampling=True, verbose=0, replay=replay)
    assert model.data_info is info
    assert all(torch.equal(tensor, state(model)[name]) for name, tensor in before.items())


@pytest.mark.parametrize("name", ["n_epochs", "lr", "batch_size", "num_neg"])
def test_an_update_names_a_setting_that_it_needs_and_is_none(name: str):
    model = fitted()
    setattr(model, name, None)
    with pytest.raises(ValueError, match=rf"settings \['{name}'\] are None, and the first fit alone chooses them"):
        model.update(event(), neg_sampling=True, verbose=0)


def test_an_update_of_an_event_that_dies_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    def die(*_: object) -> None:
        raise MemoryError

    model = fitted()
    info, before = model.data_info, dict(state(model))
    monkeypatch.setattr("recolib.recommender.with_replay", die)
    with pytest.raises(MemoryError):
        model.update(event(), neg_sampling=True, verbose=0)
    assert (model.data_info, model.lr, model.n_epochs) == (info, 0.02, 2)
    assert all(torch.equal(tensor, state(model)[name]) for name, tensor in before.items())


# ---- what is replayed


def events(model: Recommender, n: int = 2) -> Interactions:
    return DatasetFeat.merge_trainset(event(n), model.data_info)[0]


def pairs_of(model: Recommender, at: Any) -> set[tuple[int, int]]:
    consumed = model.data_info.user_consumed
    owners = np.repeat(np.arange(len(consumed.starts) - 1), consumed.counts())
    return set(zip(owners[at].tolist(), consumed.codes[at].tolist(), strict=True))


def disliking() -> Recommender:
    frame = two_tastes().assign(label=lambda f: (f.index % 3 > 0).astype(int))
    data, info = World(frame, ALL.columns).build()
    return FM("ranking", info, **COMMON).fit(data, neg_sampling=False, verbose=0)


def test_users_of_new_events_and_others_are_replayed_with_all_that_they_liked():
    model = disliking()
    info, data = model.data_info, events(model)
    at = users_to_replay(data, info, 5, seed=0, epoch=0)
    users = {user for user, _ in pairs_of(model, at)}
    assert set(data.user_indices.tolist()) <= users
    assert len(users) == len(set(data.user_indices.tolist())) + 5
    liked = pairs_of(model, info.liked)
    assert pairs_of(model, at) == {pair for pair in liked if pair[0] in users}
    assert len(users_to_replay(data, info, 10**6, seed=0, epoch=0)) == info.liked.sum()


def test_pairs_are_replayed_that_were_liked_or_all():
    model = disliking()
    info = model.data_info
    liked = pairs_to_replay(info, 5000, True, seed=0, epoch=0)
    assert len(liked) == 5000
    assert pairs_of(model, liked) == pairs_of(model, info.liked)
    assert pairs_of(model, pairs_to_replay(info, 20_000, False, 0, 0)) == pairs_of(model, slice(None))


def test_known_pairs_stand_behind_the_new_events_with_their_times_in_the_mean_context_and_of_mean_weight():
    model = fitted()
    data = events(model, 4)
    data.labels[:] = [1, 2, 3, 4]
    weighted = Interactions(**{**vars(data), "weights": np.array([1, 2, 3, 6], np.float32)})
    at = pairs_to_replay(model.data_info, 7, True, seed=0, epoch=0)
    for some, weights in ((data, [1.0] * 11), (weighted, [1, 2, 3, 6, *[3] * 7])):
        both = with_known(some, model.data_info, at, lambda old: old.labels * 9)
        assert both.labels.tolist() == [1, 2, 3, 4, *[9] * 7]
        assert both.weights.tolist() == weights
        assert set(zip(both.user_indices[4:].tolist(), both.item_indices[4:].tolist(), strict=True)) == pairs_of(
            model, at
        )
        assert (both.user_rows[4:] <= some.data_info.n_users).all()  # rows behind those are history
        log = model.data_info.log
        whose, what = both.user_indices[4:].tolist(), both.item_indices[4:].tolist()
        for user, item, moment in zip(whose, what, both.times[4:].tolist(), strict=True):
            own = log.items[log.starts[user] : log.starts[user + 1]]
            assert moment == log.times[log.starts[user] : log.starts[user + 1]][own == item].max()
        assert torch.equal(both.context.codes[:4], data.context.codes)
        assert both.context.codes.shape[1]
        assert (both.context.codes[4:, 0] == AVERAGE).all()
        assert not (both.context.codes[4:] == UNKNOWN).any()


@pytest.mark.parametrize("settings", [COMMON, CATALOGUE], ids=["one negative", "catalogue"])
def test_the_unknown_context_stays_the_mean_after_a_replay(settings: dict[str, Any]):
    model = fitted(**settings)
    model.update(event(2), neg_sampling=True, verbose=0)
    user = model.engine.network.user
    block = user.blocks[-1]
    trained = user.trained[block]
    assert not trained[:2].any()  # the average's row, and the unknown one's
    mean = user.vectors.weight[block][trained].mean(0)
    torch.testing.assert_close(user.vectors.weight[block][:2], mean.expand(2, -1))


@pytest.mark.parametrize("task", ["rating", "ranking"])
def test_without_negatives_a_known_pair_has_the_label_that_is_predicted(task: str, monkeypatch: pytest.MonkeyPatch):
    model = fitted(task="rating") if task == "rating" else disliking()
    seen: list[Interactions] = []
    fit = Recommender.fit

    def spy(self: Recommender, data: Interactions, *args: Any, **kwargs: Any) -> Recommender:
        seen.append(data)
        return fit(self, data, *args, **kwargs)

    before = copy.deepcopy(model)
    monkeypatch.setattr(Recommender, "fit", spy)
    one = event().assign(label=5 if task == "rating" else 0)
    model.update(one, neg_sampling=False, verbose=0)
    data = seen[-1]
    assert data.labels[0] == one["label"].iloc[0]
    assert len(data) == COMMON["batch_size"]
    expected = before.predict(data.user_indices[1:], data.item_indices[1:], cold_start="average", inner_id=True)
    np.testing.assert_allclose(data.labels[1:], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n_new", "n"), [(1, 63), (2, 62), (32, 32), (33, 95), (64, 64), (65, 127)])
def test_as_much_is_replayed_as_is_new_and_batches_are_full(n_new: int, n: int):
    assert n_replayed(n_new, 64) == n
    assert (n_new + n) % 64 == 0


@pytest.mark.parametrize(("share", "n_epochs"), [(1e-6, 1), (0.01, 2), (0.05, 10), (0.1, 20), (0.9, 20)])
def test_few_new_events_are_trained_for_few_epochs(share: float, n_epochs: int):
    assert epochs_of_update(20, share) == n_epochs


@pytest.mark.parametrize(("share", "lr"), [(1e-6, 0.1), (0.1, 0.1), (0.3, 0.3), (1.0, 1.0)])
def test_the_fewer_events_the_lower_is_the_learning_rate(share: float, lr: float):
    assert lr_of_update(1.0, share) == pytest.approx(lr)


@pytest.mark.filterwarnings("ignore:.* rows with label 0")
def test_rows_without_a_click_count_among_the_new_events_as_among_all():
    frame = make_movies(n_users=40, n_items=30, n_ratings=400)[["user", "item"]]
    shown = frame.assign(label=(np.arange(400) % 10 == 0).astype(int))
    data, info = DatasetPure.build_trainset(shown.iloc[:300])
    model = FM("ranking", info, embed_size=4, n_epochs=8).fit(data, neg_sampling=True, verbose=0)
    model.update(shown.iloc[300:], neg_sampling=True, verbose=0)  # a quarter of all: as many epochs as training
    assert len(model.history_) == 8 + 8


def test_the_benchmark_reports_streams_and_newcomers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(stream, "MODELS", {"FM": (FM, {"n_epochs": 3, "embed_size": 4})})
    monkeypatch.setattr(stream, "N_LATER", 20)
    monkeypatch.setattr(stream, "SETS", {"made-up movies": lambda: make_movies(n_users=90, n_items=80, n_ratings=3000)})
    threads = torch.get_num_threads()
    stream.main(["--sets", "made-up movies", "--threads", str(threads)])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| FM")]
    assert [row.count("|") for row in rows] == [8, 7]
