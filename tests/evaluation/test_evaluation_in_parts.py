"""Evaluation of what is read in parts: as of the whole frame, however small the blocks are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recolib import files
from recolib.algorithms import FM
from recolib.data import DatasetFeat
from recolib.datasets import make_movies
from recolib.evaluation import Metric, evaluate, measurement, pairs, prediction_metrics, relevance
from recolib.evaluation.metrics import METRICS
from recolib.exceptions import ConsumedItemsWarning, NoNegativesWarning, UnknownIdWarning

COLUMNS = {"user_col": ["sex"], "context_col": ["hour"], "sparse_col": ["sex", "hour"]}
MOVIES = make_movies(n_users=100, n_items=40, n_ratings=1500).assign(hour=lambda data: data["time"] % 3)
TRAIN, TEST = MOVIES[:1200], pd.concat([MOVIES[1150:], MOVIES[1200:1210].assign(user="new", item="newer")])
pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")


def cut(frame: pd.DataFrame, size: int):
    return (frame.iloc[start : start + size] for start in range(0, len(frame), size))


@pytest.fixture(scope="module")
def ranking() -> FM:
    data, info = DatasetFeat.build_trainset(TRAIN, **COLUMNS)
    return FM("ranking", info, n_epochs=2, lr=0.05, embed_size=4).fit(data, neg_sampling=True, verbose=0)


@pytest.fixture(scope="module")
def rating() -> FM:
    data, info = DatasetFeat.build_trainset(TRAIN, **COLUMNS)
    return FM("rating", info, n_epochs=2, lr=0.05, embed_size=4).fit(data, neg_sampling=False, verbose=0)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that a set of a few hundred rows has many."""
    monkeypatch.setattr("recolib.data.order.blocks_of.__defaults__", (64,))
    for module, name, size in (
        (pairs, "ROWS_COUNTED", 64),
        (pairs, "CONSUMED_AT_ONCE", 100),
        (relevance, "ROWS_OF_QUERIES", 50),
        (prediction_metrics, "SORTED_AT_ONCE", 70),
        (files, "MAX_IN_MEMORY", 100),
    ):
        monkeypatch.setattr(module, name, size)


def probability(labels: np.ndarray, predictions: np.ndarray) -> float:
    return float(np.mean(predictions * labels))


FIRST = Metric("first_hit", lambda hits, n_relevant: np.mean(hits[:, 0] / n_relevant), needs="hits")


@pytest.mark.parametrize("neg_sampling", [True, False])
def test_all_metrics_of_rankings_are_those_of_the_whole_frame(neg_sampling, ranking, request):
    frame = TEST.assign(label=(TEST["label"] > 0).astype(int))
    names = [*METRICS["ranking"], probability, FIRST]
    whole = evaluate(ranking, frame, neg_sampling, metrics=names, k=[3, 10])
    request.getfixturevalue("small_blocks")
    for size in (37, len(frame)):
        found = evaluate(ranking, cut(frame, size), neg_sampling, metrics=names, k=[3, 10])
        assert list(found) == list(whole)
        np.testing.assert_allclose(list(found.values()), list(whole.values()), rtol=1e-6)
    assert evaluate(ranking, cut(frame, 37), neg_sampling, metrics="ndcg", sample_user_num=7, seed=3) == pytest.approx(
        evaluate(ranking, frame, neg_sampling, metrics="ndcg", sample_user_num=7, seed=3)
    )


def test_all_metrics_of_ratings_are_those_of_the_whole_frame(rating, request):
    names = list(METRICS["rating"])
    whole = evaluate(rating, TEST, False, metrics=names)
    request.getfixturevalue("small_blocks")
    found = evaluate(rating, cut(TEST, 37), False, metrics=names)
    np.testing.assert_allclose(list(found.values()), list(whole.values()), rtol=1e-6)


def test_negatives_do_not_depend_on_blocks(ranking, request):
    data = measurement.as_encoded(TEST, ranking.data_info)
    whole = pairs.EvalPairs.with_negatives(data, 3, 5)
    items, labels, keys = whole.whole().item_indices, whole.labels, whole.user_keys
    request.getfixturevalue("small_blocks")
    parts = pairs.EvalPairs.with_negatives(measurement.as_encoded(cut(TEST, 41), ranking.data_info), 3, 5)
    np.testing.assert_array_equal(
        np.concatenate([parts.at(slice(at, at + 7)).item_indices for at in range(0, len(parts), 7)]), items
    )
    np.testing.assert_array_equal(parts.labels, labels)
    np.testing.assert_array_equal(parts.user_keys, keys)


def test_warnings_count_the_rows_of_all_parts(ranking, small_blocks):
    everything = pd.DataFrame({"user": TRAIN["user"].iloc[0], "item": MOVIES["item"].unique(), "label": 1, "hour": 1})
    with (
        pytest.warns(UnknownIdWarning, match=f"10 of {len(TEST)} rows have an unknown item"),
        pytest.warns(ConsumedItemsWarning, match="relevant items"),
    ):
        evaluate(ranking, cut(TEST, 37), True, metrics="ndcg")
    with pytest.warns(NoNegativesWarning, match=f"{len(everything)} of {len(everything)} rows .* their 1 users"):
        evaluate(ranking, cut(everything, 7), True)


def test_a_folder_is_evaluated_after_each_epoch(ranking, tmp_path):
    folder = tmp_path / "test"
    folder.mkdir()
    for number, part in enumerate(cut(TEST.astype({"user": str, "item": str}), 100)):
        part.to_parquet(folder / f"{number}.parquet")
    train = TRAIN.astype({"user": str, "item": str})
    data, info = DatasetFeat.build_trainset(train, **COLUMNS)
    histories = []
    for eval_data in (folder, pd.read_parquet(folder)):
        model = FM("ranking", info, n_epochs=2, lr=0.05, embed_size=4)
        model.fit(data, neg_sampling=True, verbose=0, eval_data=eval_data, metrics=["loss", "roc_auc", "ndcg"])
        histories.append(model.history_.filter(like="eval_"))
    pd.testing.assert_frame_equal(*histories)


def test_a_large_array_lies_in_a_file_without_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(files, "MAX_IN_MEMORY", 7)
    array = files.scratch((2, 3), np.float32)
    array[1] = 2
    assert isinstance(array.base, np.memmap)
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(array, [[0] * 3, [2] * 3])
