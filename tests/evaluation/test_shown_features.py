"""Users and items are measured by the features that the rows of the measured data show."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recolib.algorithms import FM
from recolib.data import DatasetFeat, Interactions
from recolib.evaluation import Metric, evaluate
from recolib.evaluation.pairs import EvalPairs
from recolib.evaluation.relevance import QueryBlocks
from recolib.exceptions import UnseenValueWarning

COLUMNS: dict[str, Any] = {
    "user_col": ["mood", "age"],
    "item_col": ["kind", "price", "tags"],
    "context_col": ["hour"],
    "sparse_col": ["mood", "kind", "hour"],
    "dense_col": ["age", "price"],
    "multi_sparse_col": ["tags"],
}
FEATURES = ["mood", "age", "kind", "price", "tags", "hour"]


def log(n: int = 1200, n_users: int = 20) -> pd.DataFrame:
    """Events of users and 16 items: users in a calm mood want items below 8, and prices rise."""
    rng = np.random.default_rng(0)
    mood = rng.choice(["calm", "wild"], n)
    item = np.where(mood == "calm", rng.integers(0, 8, n), rng.integers(8, 16, n))
    frame = pd.DataFrame(
        {"user": rng.integers(0, n_users, n), "item": item, "label": 1, "time": np.arange(n), "mood": mood}
    )
    frame["age"] = 20.0 + frame["user"]
    frame["kind"] = np.where(item < 8, "quiet", "loud")
    frame["price"] = np.arange(n) / 100 + item
    frame["tags"] = [["a"] if one % 2 else ["a", "b"] for one in item]
    return frame.assign(hour=rng.integers(0, 3, n))


TRAIN, TEST = log().iloc[:900], log().iloc[900:].reset_index(drop=True)


@pytest.fixture(scope="module")
def model() -> FM:
    data, info = DatasetFeat.build_trainset(TRAIN, **COLUMNS)
    return FM("ranking", info, n_epochs=8, lr=0.02, num_neg=1, batch_size=64).fit(data, True, verbose=0)


def predictions(model: FM, frame: object) -> np.ndarray:
    """What ``evaluate`` measures for each row."""
    seen: list[np.ndarray] = []
    spy = Metric("spy", lambda labels, predicted: seen.append(predicted) or 0.0)
    evaluate(model, frame, False, metrics=spy)
    return seen[0]


def by_predict(model: FM, frame: pd.DataFrame, columns: list[str]) -> np.ndarray:
    return np.array([model.predict(row["user"], row["item"], dict(row[columns])) for _, row in frame.iterrows()])


# ---- pairs


def test_pairs_are_scored_by_the_features_of_their_rows(model: FM) -> None:
    lies = TEST.assign(mood=TEST["mood"].map({"calm": "wild", "wild": "calm"}), age=33.0, price=1.5)
    for frame in (TEST, lies):
        assert predictions(model, frame) == pytest.approx(by_predict(model, frame, FEATURES), abs=1e-6)
    assert np.abs(predictions(model, TEST) - predictions(model, lies)).max() > 0.1


def test_a_frame_and_a_set_of_it_measure_the_same(model: FM) -> None:
    metrics = ["roc_auc", "ndcg", "coverage"]
    for shuffle in (False, True):
        data = DatasetFeat.build_evalset(TEST, shuffle=shuffle, data_info=model.data_info)
        found = evaluate(model, data, True, metrics=metrics, filter_consumed=False)
        assert found["ndcg"] == evaluate(model, TEST, True, metrics="ndcg", filter_consumed=False)["ndcg"]


@pytest.mark.parametrize("left_out", [["mood"], ["price", "kind"], ["mood", "age", "kind", "price", "tags"]])
def test_columns_that_the_frame_lacks_are_what_training_knew_last(model: FM, left_out: list[str]) -> None:
    frame = TEST.drop(columns=left_out)
    shown = [column for column in FEATURES if column not in left_out]
    assert predictions(model, frame) == pytest.approx(by_predict(model, frame, shown), abs=1e-6)


def test_a_missing_value_is_what_training_knew_last(model: FM) -> None:
    frame = TEST.assign(mood=TEST["mood"].where(TEST.index % 2 == 0), price=TEST["price"].where(TEST.index % 3 > 0))
    expected = [
        model.predict(row["user"], row["item"], {c: row[c] for c in FEATURES if c == "tags" or not pd.isna(row[c])})
        for _, row in frame.iterrows()
    ]
    assert predictions(model, frame) == pytest.approx(expected, abs=1e-6)


def test_a_value_never_seen_is_told_of_and_unknown(model: FM) -> None:
    frame = TEST.assign(mood="sad")
    with pytest.warns(UnseenValueWarning, match="column 'mood' has 300 values that training did not see"):
        found = predictions(model, frame)
    with pytest.warns(UnseenValueWarning):
        assert found == pytest.approx(by_predict(model, frame, FEATURES), abs=1e-6)


@pytest.mark.parametrize(("column", "value"), [("mood", 3.5), ("age", "old"), ("tags", "a")])
def test_a_value_of_a_wrong_type_is_refused_and_its_column_named(model: FM, column: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"column '{column}'"):
        evaluate(model, TEST.assign(**{column: value}), True)


def test_the_figure_shows_whether_features_that_change_are_used(model: FM) -> None:
    other = TEST.assign(mood=TEST["mood"].map({"calm": "wild", "wild": "calm"}))
    right, wrong = (evaluate(model, frame, True, metrics="roc_auc")["roc_auc"] for frame in (TEST, other))
    assert right > 0.65
    assert wrong < 0.4


# ---- lists


def test_lists_are_made_for_each_mood_that_a_user_was_in(model: FM) -> None:
    frame = TEST.assign(hour=1, age=TEST["user"] + 20.0)
    data = DatasetFeat.build_evalset(frame, data_info=model.data_info)
    assert len(next(iter(QueryBlocks.of(data))).codes) == len(frame.drop_duplicates(["user", "mood"]))
    total = 0.0
    for (user, mood), rows in frame.groupby(["user", "mood"]):
        best = model.recommend_user(user, 1, {"mood": mood}, context={"hour": 1}, filter_consumed=False)[user]
        total += best[0] in set(rows["item"])
    n = len(frame.drop_duplicates(["user", "mood"]))
    assert evaluate(model, frame, True, metrics="hit_rate", k=1, filter_consumed=False) == {
        "hit_rate": pytest.approx(total / n)
    }


def test_lists_of_unknown_users_are_made_for_each_of_their_features(model: FM) -> None:
    frame = TEST.head(6).assign(user=[900, 900, 900, 901, 901, 902], hour=0, age=30.0)
    frame["mood"] = ["calm", "calm", "wild", "calm", None, "wild"]
    data = DatasetFeat.build_evalset(frame, data_info=model.data_info)
    assert len(next(iter(QueryBlocks.of(data))).codes) == 5
    assert len(set(data.user_keys.tolist())) == 3


# ---- sets


def test_features_that_do_not_change_take_no_rows_and_give_no_history() -> None:
    frame = log().assign(mood="calm", price=1.0, age=lambda f: f["user"] + 20.0)
    info = DatasetFeat.build_trainset(frame.iloc[:900], **COLUMNS)[1]
    data = DatasetFeat.build_evalset(frame.iloc[900:], data_info=info)
    assert len(data.users.rows) == len(info.users.rows) == info.n_users + 1
    assert len(data.items.rows) == len(info.items.rows) == info.n_items + 1
    assert not len(data.items.history.codes)


def prices(data: Interactions, rows: np.ndarray) -> np.ndarray:
    schema = data.data_info.schema
    (field,) = (one for one in schema.dense("item") if one.name == "price")
    return data.items.rows.dense[rows, schema.span(field)][:, 0].numpy() * field.scale + field.offset


@pytest.mark.parametrize("with_time", [True, False])
def test_negatives_have_the_features_that_were_true_at_their_positives_time(with_time: bool) -> None:
    """Else a price that rises would tell positives from negatives."""
    frame = log(n_users=300)
    train, test = (frame.iloc[::2], frame.iloc[1::2]) if with_time else (frame.iloc[:900], frame.iloc[900:])
    if not with_time:
        train, test = train.drop(columns="time"), test.drop(columns="time")
    info = DatasetFeat.build_trainset(train, **COLUMNS)[1]
    data = DatasetFeat.build_evalset(test, data_info=info)
    both, n = EvalPairs.with_negatives(data, 1, 0).whole(), len(data)
    assert len(both) == 2 * n
    known = pd.concat([train, test]) if not with_time else frame  # in the order in which all of it happened
    now = np.arange(len(train), len(known)) if not with_time else np.arange(1, len(known), 2)
    for item, at, price in zip(both.item_indices[n:], now, prices(both, both.item_rows[n:]), strict=True):
        own = known["price"][known["item"] == info.id2item[item]]
        before = own[own.index <= at]
        assert price == pytest.approx(before.iloc[-1] if len(before) else own.iloc[0], abs=1e-3)
    assert prices(both, both.item_rows[:n]) == pytest.approx(test["price"].to_numpy(), abs=1e-3)


def test_a_set_from_before_an_update_is_measured_by_its_own_features(model: FM) -> None:
    data, grown = DatasetFeat.build_evalset(TEST, data_info=model.data_info), copy.deepcopy(model)
    before = predictions(model, data)
    new = TEST.tail(20).assign(user=77, item=99, mood="wild")
    info = DatasetFeat.merge_trainset(new, grown.data_info)[1]
    grown.grow(info)
    assert predictions(grown, data) == pytest.approx(before, abs=1e-6)
    assert 0 < evaluate(grown, data, True, metrics="roc_auc")["roc_auc"] < 1
