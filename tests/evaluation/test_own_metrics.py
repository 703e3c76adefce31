"""Metrics of one's own: functions, and ``Metric``s."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss
from worlds import World, make_world

from recolib import EarlyStopping
from recolib.algorithms import FM
from recolib.evaluation import Metric, evaluate
from recolib.evaluation.metrics import METRICS, less_is_better, log_loss, ndcg
from recolib.plots import training_curves


def model_of(task: str = "ranking", **settings: Any) -> tuple[FM, World, Any]:
    world = make_world(task, "sparse")
    data, info = world.build()
    return FM(task, info, **{"embed_size": 4, "n_epochs": 1, "lr": 0.05, **settings}), world, data


@pytest.fixture(scope="module")
def ranking() -> tuple[FM, pd.DataFrame]:
    model, world, data = model_of(n_epochs=2)
    return model.fit(data, True, verbose=0), world.frame


@pytest.fixture(scope="module")
def rating() -> tuple[FM, pd.DataFrame]:
    model, world, data = model_of("rating")
    return model.fit(data, False, verbose=0), world.frame


def mean_prediction(labels: Any, predictions: Any) -> float:
    return predictions.mean()


def test_a_function_gets_labels_and_probabilities(ranking: tuple[FM, pd.DataFrame]) -> None:
    model, frame = ranking
    half = frame.head(60).assign(label=np.arange(60) % 2)
    predictions = model.predict(half["user"], half["item"])
    assert isinstance(predictions, np.ndarray)
    measured = evaluate(model, half, False, metrics=[brier_score_loss, "loss", mean_prediction])
    assert list(measured) == ["brier_score_loss", "loss", "mean_prediction"]
    assert measured["brier_score_loss"] == pytest.approx(brier_score_loss(half["label"], predictions), rel=1e-5)
    assert measured["mean_prediction"] == pytest.approx(predictions.mean(), rel=1e-5)


def test_a_function_gets_labels_and_ratings(rating: tuple[FM, pd.DataFrame]) -> None:
    model, frame = rating
    predictions = model.predict(frame["user"], frame["item"])
    assert isinstance(predictions, np.ndarray)
    assert evaluate(model, frame, False, metrics=mean_prediction)["mean_prediction"] == pytest.approx(
        predictions.mean(), rel=1e-5
    )


@pytest.mark.parametrize("name", METRICS["ranking"])
def test_a_metric_gets_what_recolibs_own_of_its_kind_gets(ranking: tuple[FM, pd.DataFrame], name: str) -> None:
    """Each of recolib's, by its name and under another one, gives the same number."""
    model, frame = ranking
    own = METRICS["ranking"][name]
    again = Metric("again", own.function, own.needs, own.lower_is_better)
    measured = evaluate(model, frame, True, metrics=[name, again], k=3, filter_consumed=False)
    assert measured["again"] == measured[name]


def test_history_has_a_column_for_a_metric_of_ones_own() -> None:
    model, world, data = model_of(n_epochs=2)
    model.fit(data, True, verbose=0, eval_data=world.frame, metrics=[mean_prediction, "loss"])
    assert [name for name in model.history_ if name.startswith("eval_")] == ["eval_mean_prediction", "eval_loss"]
    measured = evaluate(model, world.frame, True, metrics=mean_prediction, seed=model.seed)
    assert model.history_["eval_mean_prediction"].iloc[-1] == measured["mean_prediction"]


def test_update_measures_a_metric_of_ones_own(ranking: tuple[FM, pd.DataFrame]) -> None:
    model, world, data = model_of()
    model.fit(data, True, verbose=0)
    model.update(world.frame.head(20), True, verbose=0, eval_data=world.frame, metrics=mean_prediction)
    assert np.isfinite(model.history_["eval_mean_prediction"].iloc[-1])


def test_importance_is_of_a_metric_of_ones_own(ranking: tuple[FM, pd.DataFrame]) -> None:
    model, frame = ranking
    how: dict[str, Any] = {"n_repeats": 2, "verbose": 0}
    own = Metric("own", METRICS["ranking"]["log_loss"].function, "logits", lower_is_better=True)
    table = model.feature_importance(frame, True, own, **how)
    pd.testing.assert_frame_equal(table, model.feature_importance(frame, True, "log_loss", **how))
    assert table.attrs["metric"] == "own"
    opposite = Metric("own", METRICS["ranking"]["log_loss"].function, "logits")
    turned = model.feature_importance(frame, True, opposite, **how).set_index("column")["importance"]
    pd.testing.assert_series_equal(-turned, table.set_index("column")["importance"], check_like=True)
    assert model.feature_importance(frame, True, mean_prediction, **how).attrs["metric"] == "mean_prediction"


@pytest.mark.parametrize(
    ("lower", "says", "best"), [(False, None, 1), (True, None, 3), (True, False, 1), (False, True, 3)]
)
def test_stopping_knows_the_direction_from_the_metric(lower: bool, says: bool | None, best: int) -> None:
    values = iter([0.3, 0.2, 0.1])
    falling = Metric("falling", lambda labels, predictions: next(values), lower_is_better=lower)
    model, world, data = model_of(n_epochs=3)
    stopping = EarlyStopping("falling", patience=3, lower_is_better=says)
    model.fit(data, True, 0, eval_data=world.frame, metrics=["loss", falling], early_stopping=stopping)
    assert repr(model).endswith(f"trained for {best} epochs)")


def test_of_a_plain_function_more_is_better() -> None:
    values = iter([0.3, 0.2, 0.1])

    def falling(labels: Any, predictions: Any) -> float:
        return next(values)

    model, world, data = model_of(n_epochs=3)
    model.fit(data, True, 0, eval_data=world.frame, metrics=falling, early_stopping=EarlyStopping("falling", 3))
    assert repr(model).endswith("trained for 1 epochs)")


def test_a_run_with_a_metric_of_ones_own_is_resumed(tmp_path: Any) -> None:
    def stop(record: dict[str, float]) -> None:
        if record["epoch"] == 1:
            raise InterruptedError

    how: dict[str, Any] = {"metrics": [mean_prediction], "early_stopping": EarlyStopping("mean_prediction", 3)}
    whole, world, data = model_of(n_epochs=3)
    whole.fit(data, True, 0, eval_data=world.frame, **how)
    with pytest.raises(InterruptedError):
        model_of(n_epochs=3)[0].fit(
            data, True, 0, eval_data=world.frame, **how, checkpoint=tmp_path / "it", callbacks=[stop]
        )
    back = model_of(n_epochs=3)[0].fit(data, True, 0, eval_data=world.frame, **how, resume=tmp_path / "it")
    column = "eval_mean_prediction"
    assert back.history_[column].tolist() == whole.history_[column].tolist()


def test_of_a_metric_of_ones_own_plots_and_cards_name_no_best_epoch(tmp_path: Any) -> None:
    model, world, data = model_of(n_epochs=2)
    model.fit(data, True, 0, eval_data=world.frame, metrics=[mean_prediction, "roc_auc"])
    titles = [panel.get_title() for panel in training_curves(model).axes]
    assert titles[1] == "eval_mean_prediction"
    assert "best" in titles[2]
    page = model.model_card(tmp_path / "card.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")] for line in page.splitlines() if line.startswith("|")]
    best = {row[1].replace("\\", "").strip("`"): row[3:5] for row in rows if "eval" in row[1]}
    assert best["eval_mean_prediction"] == ["", ""]
    assert "" not in best["eval_roc_auc"]
    assert less_is_better("eval_mean_prediction") is None


class Callable:
    def __call__(self, labels: Any, predictions: Any) -> float:
        return 0.0


def test_wrong_metrics_are_refused(ranking: tuple[FM, pd.DataFrame], rating: tuple[FM, pd.DataFrame]) -> None:
    model, frame = ranking
    named = Metric("mean_prediction", mean_prediction)
    of_lists = Metric("own", ndcg, "hits")
    for metrics, error, message in (
        ("auc", ValueError, "did you mean 'roc_auc'?"),
        ("nDCG", ValueError, "did you mean 'ndcg'?"),
        (["loss", "hitrate"], ValueError, "did you mean 'hit_rate'?"),
        (["loss", "loss"], ValueError, "metrics has ['loss'] twice"),
        ([mean_prediction, named], ValueError, "metrics has ['mean_prediction'] twice"),
        (lambda labels, predictions: 0.0, ValueError, "pass Metric(name, function)"),
        (partial(mean_prediction), ValueError, "pass Metric(name, function)"),
        (Callable(), ValueError, "pass Metric(name, function)"),
        (log_loss, ValueError, "'log_loss' is a metric of recolib's"),
        (Metric("ndcg", ndcg, "hits"), ValueError, "'ndcg' is a metric of recolib's"),
        ([3], TypeError, "metrics must be a list of names, functions or Metrics, got [3]"),
        ({"loss"}, TypeError, "metrics must be a list of names, functions or Metrics"),
        (Metric("none", lambda labels, predictions: None), TypeError, "metric 'none' must give a number"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            evaluate(model, frame, True, metrics=metrics)  # pyright: ignore[reportArgumentType]
    for metric, message in ((of_lists, "must be one of predictions"), ("auc", "did you mean 'roc_auc'?")):
        with pytest.raises(ValueError, match=re.escape(message)):
            model.feature_importance(frame, True, metric, verbose=0)
    for one in (of_lists, Metric("own", log_loss, "logits")):
        with pytest.raises(ValueError, match=re.escape("metrics ['own'] are not of task='rating'")):
            evaluate(rating[0], rating[1], False, metrics=one)


def test_recolibs_own_metrics_can_be_passed_as_they_are(
    ranking: tuple[FM, pd.DataFrame], rating: tuple[FM, pd.DataFrame]
) -> None:
    for (model, frame), task in ((ranking, "ranking"), (rating, "rating")):
        sampled = task == "ranking"
        by_name = evaluate(model, frame, sampled, metrics=list(METRICS[task]))
        assert evaluate(model, frame, sampled, metrics=list(METRICS[task].values())) == by_name


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("", mean_prediction), ValueError, "a Metric needs a name"),
        ((mean_prediction, "x"), TypeError, "a Metric is a name and a function"),
        (("x", mean_prediction, "ranks"), ValueError, "needs must be one of"),
        (("x", mean_prediction, "logits", "yes"), TypeError, "lower_is_better must be True or False"),
    ],
)
def test_a_metric_is_checked_when_it_is_made(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Metric(*arguments)
