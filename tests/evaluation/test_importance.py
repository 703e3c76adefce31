from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score
from test_contract import ALGORITHMS, COMMON
from worlds import KINDS, World, make_world, near_ties

from recolib import NotFittedError, UnknownIdWarning
from recolib.algorithms import FM, DeepFM
from recolib.data import DatasetFeat
from recolib.evaluation import evaluate
from recolib.recommender import Recommender

GROUPS = {"genre1": ["genre1", "genre2"]}
"""The frame's columns of a group; any other column is its own."""


def fitted(cls: type[Recommender], world: World, task: str = "ranking", **settings: Any) -> Recommender:
    data, info = world.build()
    model = cls(task, info, **{**COMMON, "n_epochs": 4, "init_std": 0.1, **settings})
    return model.fit(data, neg_sampling=task == "ranking", verbose=0)


def labelled(world: World, seed: int = 3) -> pd.DataFrame:
    """Rows of the world, whose features are those of its users and items, and labels drawn at random."""
    frame = world.frame.sample(60, random_state=seed).reset_index(drop=True)
    return frame.assign(label=np.random.default_rng(seed).integers(0, 2, 60))


def columns_of(world: World) -> list[str]:
    given = world.columns or {}
    features = [name for side in ("user", "item", "context") for name in given.get(f"{side}_col", [])]
    return ["user", "item", *(name for name in features if name != "genre2")]


def predictions(model: Recommender, frame: pd.DataFrame, world: World) -> Any:
    features = [name for side in ("user", "item", "context") for name in (world.columns or {}).get(f"{side}_col", [])]
    return model.predict(frame["user"], frame["item"], frame[features] if features else None)


MEASURES = {
    "roc_auc": (roc_auc_score, 1),
    "log_loss": (lambda labels, predicted: log_loss(labels, predicted.astype(float)), -1),
    "mae": (mean_absolute_error, -1),
}


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "mae"])
@pytest.mark.parametrize("kind", KINDS)
def test_importance_is_what_a_permuted_frame_loses(kind: str, metric: str) -> None:
    task = "rating" if metric == "mae" else "ranking"
    world = make_world(task, kind)
    model, frame = fitted(DeepFM, world, task, hidden_units=(8,)), labelled(world)
    table = model.feature_importance(frame, False, metric, n_repeats=3, seed=5, verbose=0).set_index("column")
    measure, sign = MEASURES[metric]
    scores = predictions(model, frame, world)
    base, slack = measure(frame["label"], scores), 1e-5
    assert sorted(table.index) == sorted(columns_of(world))
    for column in columns_of(world):
        losses = []
        for repeat in range(3):
            order = np.random.default_rng([5, repeat]).permutation(len(frame))
            permuted = frame.copy()
            for name in GROUPS.get(column, [column]):
                permuted[name] = frame[name].to_numpy()[order]
            of_permuted = predictions(model, permuted, world)
            losses.append(sign * (base - measure(frame["label"], of_permuted)))
            if metric == "roc_auc":
                slack = max(slack, near_ties(frame["label"], scores) + near_ties(frame["label"], of_permuted) + 1e-5)
        assert table["importance"][column] == pytest.approx(np.mean(losses), abs=slack)
        assert table["deviation"][column] == pytest.approx(np.std(losses), abs=slack)
    assert table.attrs["metric"] == metric
    assert table.attrs["value"] == pytest.approx(base, abs=slack)


@pytest.mark.parametrize(
    ("cls", "settings"), ALGORITHMS, ids=[f"{a.__name__}-{'-'.join(map(str, s.values()))}" for a, s in ALGORITHMS]
)
def test_every_model_has_a_table_greatest_first(cls: Any, settings: Any) -> None:
    world = make_world("ranking", "all kinds")
    model = fitted(cls, world, **settings, n_epochs=4)
    table = model.feature_importance(world.frame, True, n_repeats=2, verbose=0)
    assert table.columns.tolist() == ["column", "importance", "deviation"]
    assert sorted(table["column"]) == sorted(columns_of(world))
    assert table["importance"].is_monotonic_decreasing
    assert np.isfinite(table[["importance", "deviation"]]).all(axis=None)
    assert (table["deviation"] >= 0).all()
    assert table.attrs == {
        "metric": "roc_auc",
        "value": evaluate(model, world.frame, True, metrics="roc_auc")["roc_auc"],
    }
    assert table["importance"].iloc[0] > 0.01


def test_the_column_that_decides_matters_and_noise_does_not() -> None:
    rng = np.random.default_rng(0)
    n = 3000
    frame = pd.DataFrame({"user": rng.integers(0, 30, n), "item": rng.integers(0, 30, n), "label": 0})
    frame["shown"] = rng.choice(["big", "small"], n)
    frame["noise"] = rng.choice(["a", "b"], n)
    frame["label"] = (frame["shown"] == "big").astype(int)
    data, info = DatasetFeat.build_trainset(frame, context_col=["shown", "noise"], sparse_col=["shown", "noise"])
    model = FM("ranking", info, n_epochs=8, lr=0.03).fit(data, neg_sampling=False, verbose=0)
    table = model.feature_importance(frame, False, verbose=0).set_index("column")["importance"]
    assert table.index[0] == "shown"
    assert table["shown"] == pytest.approx(0.5, abs=0.05)  # without it the ranks are as good as drawn
    assert table.drop("shown").abs().max() < 0.01


def test_defaults_are_auc_for_ranks_and_rmse_for_ratings() -> None:
    world = make_world("rating", "sparse")
    model = fitted(FM, world, "rating")
    table = model.feature_importance(world.frame, False, verbose=0)
    assert table.attrs == {"metric": "rmse", "value": evaluate(model, world.frame, False, metrics="rmse")["rmse"]}
    assert table["importance"].iloc[0] > 0.1  # a rise of the loss is positive


def test_blocks_and_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world("ranking", "all kinds")
    model = fitted(FM, world)
    whole = model.feature_importance(world.frame, True, n_repeats=1, seed=1, verbose=0)
    assert not whole.equals(model.feature_importance(world.frame, True, n_repeats=1, seed=2, verbose=0))
    monkeypatch.setattr("recolib.evaluation.importance.PAIRS_AT_ONCE", 100)
    pd.testing.assert_frame_equal(model.feature_importance(world.frame, True, n_repeats=1, seed=1, verbose=0), whole)


def test_nothing_is_changed(capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world("ranking", "all kinds")
    model = fitted(FM, world)
    data = DatasetFeat.build_evalset(world.frame, data_info=model.data_info)
    rows = [t.clone() for table in (data.users, data.items) for t in (table.rows.codes, table.rows.dense)]
    kept = data.context.codes.clone(), data.labels.copy(), torch.get_rng_state()
    of_set = model.feature_importance(data, True, verbose=0)
    after = [t for table in (data.users, data.items) for t in (table.rows.codes, table.rows.dense)]
    assert all(torch.equal(a, b) for a, b in zip(rows, after, strict=True))
    assert torch.equal(data.context.codes, kept[0])
    assert np.array_equal(data.labels, kept[1])
    assert torch.equal(torch.get_rng_state(), kept[2])
    assert capsys.readouterr() == ("", "")
    pd.testing.assert_frame_equal(model.feature_importance(world.frame, True, verbose=1), of_set)
    assert "importance" in capsys.readouterr().err


def test_strangers_count_as_the_average() -> None:
    world = make_world("ranking", "sparse")
    model = fitted(FM, world)
    frame = labelled(world)
    frame.loc[::3, "user"] = 999
    with pytest.warns(UnknownIdWarning):
        table = model.feature_importance(frame, False, n_repeats=1, seed=4, verbose=0).set_index("column")
    permuted = frame.assign(user=frame["user"].to_numpy()[np.random.default_rng([4, 0]).permutation(len(frame))])
    whole, without = (roc_auc_score(frame["label"], predictions(model, one, world)) for one in (frame, permuted))
    assert table["importance"]["user"] == pytest.approx(whole - without, abs=1e-6)


def test_bad_arguments_are_refused() -> None:
    world = make_world("ranking", "pure")
    model = fitted(FM, world)
    with pytest.raises(ValueError, match=r"metric must be one of .*roc_auc.*, got 'ndcg'"):
        model.feature_importance(world.frame, True, "ndcg", verbose=0)
    with pytest.raises(ValueError, match=r"metric must be one of .*, got 'rmse'"):
        model.feature_importance(world.frame, True, "rmse", verbose=0)
    with pytest.raises(ValueError, match="n_repeats must be at least 1, got 0"):
        model.feature_importance(world.frame, True, n_repeats=0, verbose=0)
    with pytest.raises(ValueError, match="seed must be at least 0"):
        model.feature_importance(world.frame, True, seed=-1, verbose=0)
    with pytest.raises(TypeError, match="verbose must be an integer"):
        model.feature_importance(world.frame, True, verbose="yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="neg_sampling must be True or False"):
        model.feature_importance(world.frame, 1, verbose=0)  # type: ignore[arg-type]
    with pytest.raises(NotFittedError, match="call fit first"):
        FM("ranking", world.build()[1]).feature_importance(world.frame, True)
