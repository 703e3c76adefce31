"""``evaluate`` against a brute force that asks ``predict`` alone, and its negatives against what users met."""

from __future__ import annotations

import copy
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk
from test_metrics import TEXTBOOK
from worlds import COLUMNS, FLOAT32, make_world, two_tastes, with_network

from recolib import NotFittedError, UnknownIdWarning
from recolib.algorithms import FM, DeepFM
from recolib.data import DataInfo, DatasetFeat, DatasetPure, Interactions
from recolib.data.building import encode_evaluation
from recolib.data.frame import read_frame
from recolib.data.rows import Rows
from recolib.evaluation import measurement
from recolib.evaluation.measurement import Measurement, as_encoded, evaluate
from recolib.evaluation.metrics import METRICS
from recolib.evaluation.pairs import EvalPairs
from recolib.exceptions import NoNegativesWarning
from recolib.recommender import Recommender

pytestmark = [
    pytest.mark.filterwarnings("ignore::recolib.UnknownIdWarning"),
    pytest.mark.filterwarnings("ignore:.*rows with label 0 or below are left out"),
]

LISTWISE = sorted(name for name, metric in METRICS["ranking"].items() if metric.of_lists)
POINTWISE = ["loss", "log_loss", "balanced_accuracy", "roc_auc", "roc_gauc", "pr_auc"]
STRANGERS: dict[int, dict[str, Any]] = {
    900: {"sex": "F", "age": 21.0},
    901: {"sex": "M", "age": 26.0},
    902: {"sex": "never seen", "age": 35.0},
    903: {},
}
"""Users never seen, with the features that a frame gives of them."""


def split_log(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A log to train on, in which some rows have label 0, and one to test on that has everything.

    The second has pairs of the first again, strangers, items never seen, pairs that stand there twice and labels
    of 0, 1 and 2.5.
    """
    rng = np.random.default_rng(seed)
    frame = two_tastes()
    # a value that is missing in training has a vector of its own: to be unknown and to be the average differ
    frame["sex"] = frame["sex"].where(frame["user"] % 5 > 0)
    frame["genre1"] = frame["genre1"].where(~frame["item"].isin(["i4", "i7", "i12"]))
    held = rng.random(len(frame)) < 0.4
    train = frame[~held].assign(label=np.where(rng.random((~held).sum()) < 0.1, 0, 1))
    test = pd.concat([frame[held], train.sample(25, random_state=seed)], ignore_index=True)
    test = pd.concat([test, test.sample(20, random_state=seed)], ignore_index=True)
    test["user"] = np.where(rng.random(len(test)) < 0.2, rng.choice([*STRANGERS], len(test)), test["user"])
    test["item"] = np.where(rng.random(len(test)) < 0.15, rng.choice(["new1", "new2"], len(test)), test["item"])
    test["label"] = rng.choice([0, 1, 1, 2.5], len(test))
    return train, with_features_of_strangers(test)


def with_features_of_strangers(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.copy()
    for user, features in STRANGERS.items():
        for column in {"sex", "age"} & set(frame.columns):
            frame.loc[frame["user"] == user, column] = features.get(column)
    return frame


@dataclass
class Case:
    """A fitted model, the log that it knows, and what the brute force found so far."""

    model: Recommender
    train: pd.DataFrame
    test: pd.DataFrame
    features: list[str]
    context: list[str]
    rankings: dict[Any, list[Any]] = field(default_factory=dict)

    @property
    def info(self) -> DataInfo:
        return self.model.data_info

    def ranking(self, user: Any, around: dict[str, Any]) -> list[Any]:
        """The catalogue as ``predict`` orders it, best first."""
        key = user, *around.values()
        if key not in self.rankings:
            catalogue = sorted(set(self.train["item"]))
            feats = {c: v for c, v in STRANGERS.get(user, {}).items() if c in self.features} | around
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scores = self.model.predict(user, catalogue, feats=feats or None, cold_start="average")
            assert np.diff(np.sort(scores)).min() > 0, "a tie would leave the order open"
            self.rankings[key] = [catalogue[at] for at in np.argsort(-scores)]
        return self.rankings[key]

    def by_hand(self, frame: pd.DataFrame, k: int, filter_consumed: bool) -> dict[str, float]:
        """All metrics of lists."""
        if "label" in frame.columns:
            frame = frame[frame["label"] > 0]
        lists, relevant, liked = [], [], self.train[self.train["label"] > 0]
        for (user, *around), rows in frame.groupby(["user", *self.context]):
            ranked = self.ranking(user, dict(zip(self.context, around, strict=True)))
            if filter_consumed:
                met = set(liked.loc[liked["user"] == user, "item"])
                ranked = [item for item in ranked if item not in met]
            lists.append(ranked[:k])
            relevant.append(set(rows["item"]))
        both = list(zip(lists, relevant, strict=True))
        values = {name: sum(metric(*one, k) for one in both) / len(both) for name, metric in TEXTBOOK.items()}
        listed = [item for ranked in lists for item in ranked]
        n_users, consumers = self.train["user"].nunique(), liked.groupby("item")["user"].nunique()
        bits = [-math.log2(consumers.get(item, 1) / n_users) for item in listed]
        values["coverage"] = len(set(listed)) / self.train["item"].nunique()
        values["novelty"] = sum(bits) / len(bits) if bits else math.nan
        return values


def fitted(kind: str) -> Case:
    train, test = split_log()
    columns = COLUMNS[kind]
    settings: dict[str, Any] = {"embed_size": 8, "n_epochs": 4, "lr": 0.02, "num_neg": 2, "seed": 7}
    if columns is None:
        data, info = DatasetPure.build_trainset(train)
        return Case(FM("ranking", info, **settings).fit(data, True, verbose=0), train, test, [], [])
    data, info = DatasetFeat.build_trainset(train, **columns)
    model = DeepFM("ranking", info, hidden_units=(8,), **settings).fit(data, True, verbose=0)
    return Case(model, train, test, info.user_col, info.context_col)


@pytest.fixture(scope="module")
def pure() -> Case:
    return fitted("pure")


@pytest.fixture(scope="module")
def contextual() -> Case:
    """Columns of every side and kind; the context is the hour."""
    return fitted("all kinds")


@pytest.fixture(scope="module", params=["pure", "sparse", "all kinds"])
def case(request: pytest.FixtureRequest) -> Case:
    known = {"pure": "pure", "all kinds": "contextual"}.get(request.param)
    return request.getfixturevalue(known) if known else fitted(request.param)


# ---- lists, end to end


@pytest.mark.parametrize("filter_consumed", [True, False])
@pytest.mark.parametrize("k", [1, 5, 20, 50])
def test_lists_are_measured_as_a_brute_force_does(case: Case, k: int, filter_consumed: bool) -> None:
    measured = evaluate(case.model, case.test, True, metrics=LISTWISE, k=k, filter_consumed=filter_consumed)
    assert measured == pytest.approx(case.by_hand(case.test, k, filter_consumed), abs=1e-6)


def test_the_two_worlds_tell_what_matters_apart(contextual: Case) -> None:
    """What the tests below rely on: a brute force that gets one thing wrong gives another value."""
    test = contextual.test
    right = contextual.by_hand(test, 5, True)
    positive = test[test["label"] > 0]
    for wrong in (
        test.assign(label=1),
        positive[~positive["user"].isin([*STRANGERS])],
        positive[positive["item"].isin(contextual.train["item"])],
        positive.assign(user=positive["user"].where(~positive["user"].isin([*STRANGERS]), 903)),
        positive.drop_duplicates(["user", "hour"]),
    ):
        assert contextual.by_hand(wrong, 5, True)["recall"] != pytest.approx(right["recall"], abs=1e-4)
    assert contextual.by_hand(test, 5, False) != pytest.approx(right, abs=1e-4)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([100, 101, 102, 103, 900, 901, 902, 903]),
        st.sampled_from([*[f"i{i}" for i in range(20)], "new1", "new2", "new3"]),
        st.sampled_from([0, 1, 3]),
        st.sampled_from([0, 1, 99]),
    ),
    min_size=1,
    max_size=25,
)


def log_of(events: list[tuple[Any, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(events, columns=["user", "item", "label", "hour"])
    return with_features_of_strangers(frame.assign(sex=None, age=np.nan))


@settings(max_examples=60)
@given(events=EVENTS, k=st.integers(1, 25), filter_consumed=st.booleans(), labelled=st.booleans())
def test_lists_are_measured_as_a_brute_force_does_whatever_comes(
    pure: Case, contextual: Case, events: list[Any], k: int, filter_consumed: bool, labelled: bool
) -> None:
    frame = log_of(events)
    if not labelled:
        frame = frame.drop(columns="label")
    else:
        assume((frame["label"] > 0).any())
    for case in (pure, contextual):
        measured = evaluate(case.model, frame, True, metrics=LISTWISE, k=k, filter_consumed=filter_consumed)
        assert measured == pytest.approx(case.by_hand(frame, k, filter_consumed), abs=1e-6, nan_ok=True)


def test_one_user_in_two_contexts_asks_twice(contextual: Case) -> None:
    one = pd.DataFrame({"user": 100, "item": ["i2", "i4"], "label": 1, "hour": [0, 1]})
    both = evaluate(contextual.model, one, True, metrics=LISTWISE, k=20, filter_consumed=False)
    alone = [
        evaluate(contextual.model, one.iloc[[at]], True, metrics=LISTWISE, k=20, filter_consumed=False)
        for at in range(2)
    ]
    assert both["precision"] == pytest.approx(1 / 20)  # one relevant item each, and all are in the list
    for name in TEXTBOOK:
        assert both[name] == pytest.approx((alone[0][name] + alone[1][name]) / 2)
    assert evaluate(contextual.model, one.assign(hour=0), True, metrics="precision", k=20, filter_consumed=False) == {
        "precision": pytest.approx(2 / 20)
    }


def test_each_stranger_asks_for_a_list_of_his_own(pure: Case) -> None:
    best = pure.ranking(900, {})[0]
    frame = pd.DataFrame({"user": [900, 901, 901, 902], "item": [best, best, "new1", "new1"], "label": 1})
    measured = evaluate(pure.model, frame, True, metrics=["recall", "hit_rate"], k=1)
    assert measured == pytest.approx({"recall": (1 + 1 / 2 + 0) / 3, "hit_rate": 2 / 3})


def test_strangers_are_scored_from_what_the_frame_says_of_them(contextual: Case) -> None:
    one = pd.DataFrame({"user": ["?"], "item": ["i2"], "label": 1, "hour": 0, "sex": "F", "age": 21.0})
    found = {}
    for sex in ("F", "M"):
        for item in contextual.train["item"].unique():
            row = one.assign(sex=sex, item=item)
            found[sex, item] = evaluate(contextual.model, row, True, metrics="mrr", k=20)["mrr"]
    for sex in ("F", "M"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            feats = {"sex": sex, "age": 21.0}
            ranked = contextual.model.recommend_user("?", 20, feats, context={"hour": 0})["?"].tolist()
        assert [found[sex, item] for item in ranked] == pytest.approx([1 / rank for rank in range(1, 21)])
    assert len({round(found[key], 6) for key in found if key[1] == "i2"}) == 2


def test_known_users_and_items_need_no_features_in_the_frame(contextual: Case) -> None:
    known = of_known_users(contextual)
    known = known[known["item"].isin(contextual.train["item"])]
    bare = known[["user", "item", "label", "hour"]]
    assert evaluate(contextual.model, bare, True, metrics=LISTWISE) == evaluate(
        contextual.model, known, True, metrics=LISTWISE
    )


def test_items_never_seen_are_relevant_though_no_list_has_them(pure: Case) -> None:
    best = pure.ranking(100, {})[0]
    frame = pd.DataFrame({"user": 100, "item": [best, "new1", "new2", "new1"], "label": 1})
    measured = evaluate(pure.model, frame, True, metrics=["recall", "map", "ndcg"], k=5, filter_consumed=False)
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert measured == pytest.approx({"recall": 1 / 3, "map": 1 / 3, "ndcg": 1 / ideal})


def test_items_that_the_filter_leaves_out_are_relevant(pure: Case) -> None:
    met = pure.train.loc[(pure.train["user"] == 100) & (pure.train["label"] > 0), "item"].iloc[0]
    new = next(item for item in pure.ranking(100, {}) if item not in set(pure.train["item"][pure.train["user"] == 100]))
    frame = pd.DataFrame({"user": 100, "item": [met, new], "label": 1})
    assert evaluate(pure.model, frame, True, metrics="recall", k=20) == {"recall": 0.5}
    assert evaluate(pure.model, frame, True, metrics="recall", k=20, filter_consumed=False) == {"recall": 1.0}


def test_what_a_user_was_shown_and_did_not_like_is_not_consumed(pure: Case) -> None:
    shown = pure.train[pure.train["label"] == 0].iloc[[0]].assign(label=1)
    assert evaluate(pure.model, shown, True, metrics="hit_rate", k=20) == {"hit_rate": 1.0}


def test_a_pair_that_stands_there_twice_counts_once(case: Case) -> None:
    twice = pd.concat([case.test, case.test], ignore_index=True)
    assert evaluate(case.model, twice, True, metrics=LISTWISE) == evaluate(
        case.model, case.test, True, metrics=LISTWISE
    )


def test_rows_with_label_zero_are_not_relevant_and_ask_for_nothing(case: Case) -> None:
    frame = case.test[case.test["user"] != 105]
    more = case.test[case.test["user"] == 104].assign(user=105, label=0)
    measured = evaluate(case.model, pd.concat([frame, more]), True, metrics=LISTWISE)
    assert measured == evaluate(case.model, frame, True, metrics=LISTWISE)


def test_a_frame_without_labels_was_observed_row_by_row(case: Case) -> None:
    bare = case.test.drop(columns="label")
    metrics = LISTWISE + POINTWISE
    assert evaluate(case.model, bare, True, metrics=metrics) == evaluate(
        case.model, case.test.assign(label=1), True, metrics=metrics
    )


def test_lists_do_not_depend_on_neg_sampling(case: Case) -> None:
    binary = case.test.assign(label=(case.test["label"] > 0).astype(int))
    assert evaluate(case.model, binary, False, metrics=LISTWISE) == evaluate(
        case.model, case.test, True, metrics=LISTWISE
    )


def test_row_order_does_not_matter_to_lists(case: Case) -> None:
    mixed = case.test.sample(frac=1.0, random_state=1)
    measured = evaluate(case.model, mixed, True, metrics=LISTWISE, k=5)
    assert measured == pytest.approx(evaluate(case.model, case.test, True, metrics=LISTWISE, k=5), rel=1e-12)


def test_row_order_does_not_matter_to_lists_of_strangers_whose_features_change(contextual: Case) -> None:
    frame = pd.DataFrame({"user": 900, "item": ["i2", "i4"], "label": 1, "hour": 0, "sex": ["F", "M"], "age": 21.0})
    frame["time"] = [1, 2]
    one, other = (evaluate(contextual.model, f, True, metrics="map", k=20) for f in (frame, frame[::-1]))
    assert one == other


def test_lists_of_a_training_set_are_those_of_its_frame_though_features_changed() -> None:
    frame = two_tastes().sort_values("time")
    frame["sex"] = np.where(frame.groupby("user").cumcount() < 3, "M", frame["sex"])
    data, info = DatasetFeat.build_trainset(frame, user_col=["sex"], sparse_col=["sex"])
    model = FM("ranking", info, n_epochs=5, lr=0.05).fit(data, True, verbose=0)
    assert evaluate(model, data, True, metrics="map", filter_consumed=False) == pytest.approx(
        evaluate(model, frame, True, metrics="map", filter_consumed=False)
    )


def scores_of(model: Recommender, data: object) -> np.ndarray:
    """The logits that predictions on rows with labels are measured by; metrics of ranks turn where two nearly tie."""
    measurement = Measurement.of(model, data, False, 8192, POINTWISE, 10, None, 42, True)
    assert measurement.pairs is not None
    return measurement.scores(model.engine, measurement.pairs)


def test_row_order_does_not_matter_to_scores_of_rows_with_labels(case: Case) -> None:
    binary = case.test.assign(label=(case.test["label"] > 0).astype(int))
    order = np.random.default_rng(1).permutation(len(binary))
    mixed = scores_of(case.model, binary.iloc[order])
    np.testing.assert_allclose(mixed, scores_of(case.model, binary)[order], **FLOAT32)


def test_equal_scores_are_listed_in_the_order_of_codes(pure: Case) -> None:
    tied = with_network(pure.model, lambda network: [weight.zero_() for weight in network.parameters()])
    assert np.ptp(tied.predict(100, sorted(set(pure.train["item"])))) == 0
    for rank in range(1, 21):
        frame = pd.DataFrame({"user": [100, 999], "item": pure.info.id2item[rank], "label": 1})
        measured = evaluate(tied, frame, True, metrics=["mrr", "ndcg"], k=20, filter_consumed=False)
        assert measured == pytest.approx({"mrr": 1 / rank, "ndcg": 1 / math.log2(1 + rank)})


def test_a_user_who_consumed_everything_gets_an_empty_list() -> None:
    events = [(1, item, 1) for item in range(5)] + [(2, 0, 1), (2, 1, 1)]
    train = pd.DataFrame(events, columns=["user", "item", "label"])
    data, info = DatasetPure.build_trainset(train)
    model = FM("ranking", info, n_epochs=1).fit(data, True, verbose=0)
    frame = pd.DataFrame({"user": [1, 2], "item": [3, 3], "label": 1})
    measured = evaluate(model, frame, True, metrics=["hit_rate", "precision", "coverage"], k=5)
    assert measured == {"hit_rate": 0.5, "precision": 1 / 10, "coverage": 3 / 5}
    alone = evaluate(model, frame.head(1), True, metrics=["hit_rate", "coverage", "novelty"])
    assert alone == pytest.approx({"hit_rate": 0.0, "coverage": 0.0, "novelty": math.nan}, nan_ok=True)


def test_items_without_events_are_in_lists_if_asked_for() -> None:
    events = pd.DataFrame({"user": [1, 1, 2, 2], "item": [1, 2, 2, 3], "label": 1})
    features = pd.DataFrame({"item": [1, 2, 3, 4], "price": [1.0, 2.0, 3.0, 4.0]})
    data, info = DatasetFeat.build_trainset(events, item_col=["price"], dense_col=["price"], item_features=features)
    model = FM("ranking", info, n_epochs=1).fit(data, True, verbose=0)
    frame = pd.DataFrame({"user": [1], "item": [4], "label": 1})
    asked: dict[str, Any] = {"metrics": ["recall", "coverage", "novelty"], "k": 4}
    assert evaluate(model, frame, True, **asked)["recall"] == 0.0
    measured = evaluate(model, frame, True, **asked, include_cold_items=True)
    # the list is items 3 and 4: one user of two consumed the first; nobody the second, which counts as one
    assert measured == {"recall": 1.0, "coverage": 2 / 4, "novelty": 1.0}


def test_zero_and_minus_zero_are_one_context() -> None:
    train = two_tastes().assign(warmth=lambda frame: np.resize([-1.5, 0.0, 2.0], len(frame)))
    data, info = DatasetFeat.build_trainset(train, context_col=["warmth"], dense_col=["warmth"], dense_scaling="none")
    model = FM("ranking", info, n_epochs=1).fit(data, True, verbose=0)
    frame = pd.DataFrame({"user": 100, "item": ["i0", "i2"], "label": 1, "warmth": [0.0, -0.0]})
    measured = evaluate(model, frame, True, metrics="precision", k=20, filter_consumed=False)
    assert measured == pytest.approx({"precision": 2 / 20})


def test_numbers_of_a_context_tell_requests_apart() -> None:
    train = two_tastes().assign(warmth=lambda frame: np.resize([-1.5, 0.0, 2.0], len(frame)))
    data, info = DatasetFeat.build_trainset(train, context_col=["warmth"], dense_col=["warmth"])
    model = FM("ranking", info, n_epochs=1).fit(data, True, verbose=0)
    frame = pd.DataFrame({"user": 100, "item": ["i0", "i2", "i4"], "label": 1, "warmth": [0.25, 0.5, 0.5]})
    measured = evaluate(model, frame, True, metrics="precision", k=20, filter_consumed=False)
    assert measured == pytest.approx({"precision": 3 / 2 / 20})


# ---- what is the same, and what is left alone


def encoded(case: Case, frame: pd.DataFrame) -> Interactions:
    return DatasetFeat.build_testset(frame, data_info=case.info)


def test_a_frame_and_its_encoded_set_give_the_same(case: Case) -> None:
    metrics = LISTWISE + POINTWISE
    assert evaluate(case.model, encoded(case, case.test), True, metrics=metrics) == evaluate(
        case.model, case.test, True, metrics=metrics
    )


def test_a_polars_and_an_arrow_frame_give_the_same(case: Case) -> None:
    frame = pl.from_pandas(case.test)
    expected = evaluate(case.model, case.test, True, metrics=LISTWISE + POINTWISE)
    assert evaluate(case.model, frame, True, metrics=LISTWISE + POINTWISE) == expected
    assert evaluate(case.model, frame.to_arrow(), True, metrics=LISTWISE + POINTWISE) == expected


def arrays_of(data: Interactions) -> Iterator[bytes]:
    """Every array of a set and of its data."""
    info = data.data_info
    for rows in (data.context, *(table.rows for table in (data.users, data.items, info.users, info.items))):
        yield rows.codes.numpy().tobytes()
        yield rows.dense.numpy().tobytes()
    for array in (data.user_rows, data.item_rows, data.labels, data.times, data.users.owner, data.items.owner):
        yield array.tobytes()
    for consumed in (info.user_consumed, info.item_consumed):
        yield consumed.starts.tobytes()
        yield consumed.codes.tobytes()


@pytest.mark.parametrize("neg_sampling", [True, False])
def test_data_is_not_changed(case: Case, neg_sampling: bool) -> None:
    frame = case.test if neg_sampling else case.test.assign(label=(case.test["label"] > 0).astype(int))
    before, data = frame.copy(deep=True), encoded(case, frame)
    arrays = list(arrays_of(data))
    for what in (frame, data):
        evaluate(case.model, what, neg_sampling, metrics=LISTWISE + POINTWISE, sample_user_num=3)
    pd.testing.assert_frame_equal(frame, before)
    assert list(arrays_of(data)) == arrays
    assert len(data) == len(frame)


def test_global_randomness_and_weights_are_left_alone(pure: Case) -> None:
    weights = [w.clone() for w in pure.model.engine.network.state_dict().values()]  # pyright: ignore[reportPrivateUsage]
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    evaluate(pure.model, pure.test, True, metrics=LISTWISE + POINTWISE, sample_user_num=3)
    after = np.random.rand(), torch.rand(1).item()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    assert after == (np.random.rand(), torch.rand(1).item())  # noqa: NPY002
    now = pure.model.engine.network.state_dict().values()  # pyright: ignore[reportPrivateUsage]
    assert all(torch.equal(a, b) for a, b in zip(weights, now, strict=True))


@pytest.mark.parametrize("eval_batch_size", [1, 7, 40, 100_000])
def test_the_size_of_batches_changes_no_bit(case: Case, eval_batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "PAIRS_PER_BLOCK", 16)  # the pairs fill many
    metrics = LISTWISE + POINTWISE
    assert evaluate(case.model, case.test, True, eval_batch_size, metrics) == evaluate(
        case.model, case.test, True, metrics=metrics
    )


@pytest.mark.parametrize(("eval_batch_size", "n_gathered"), [(1, 16), (16, 16), (17, 32), (40, 48), (10**6, 10**6)])
def test_features_are_gathered_in_whole_blocks(
    pure: Case, eval_batch_size: int, n_gathered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "PAIRS_PER_BLOCK", 16)
    gathered: list[int] = []
    rows_of = measurement.pair_rows
    monkeypatch.setattr(measurement, "pair_rows", lambda pairs: (gathered.append(len(pairs)), rows_of(pairs))[1])
    evaluate(pure.model, pure.test, True, eval_batch_size)
    total = sum(gathered)
    assert total > 64
    assert gathered[0] == min(n_gathered, total)
    assert set(gathered[:-1]) <= {n_gathered}


def test_metrics_come_in_the_order_asked_for(pure: Case) -> None:
    names = ["ndcg", "loss", "coverage", "roc_gauc", "precision"]
    assert list(evaluate(pure.model, pure.test, True, metrics=names)) == names
    assert list(evaluate(pure.model, pure.test, True, metrics=tuple(names[::-1]))) == names[::-1]
    assert list(evaluate(pure.model, pure.test, True)) == ["loss"]
    assert evaluate(pure.model, pure.test, True, metrics="ndcg") == evaluate(
        pure.model, pure.test, True, metrics=["ndcg"], k=10
    )


@pytest.mark.filterwarnings("error")
def test_unknown_ids_are_told_once_and_known_ones_not_at_all(pure: Case) -> None:
    known = pure.train.assign(label=1)
    evaluate(pure.model, known, True, metrics=LISTWISE + POINTWISE, filter_consumed=False)
    strange = pd.concat([known.assign(item="new1").head(3), known.assign(user=900).head(2)])
    with pytest.warns(UnknownIdWarning) as caught:
        evaluate(pure.model, strange, True, metrics=LISTWISE + POINTWISE)
    assert [str(one.message) for one in caught] == [
        "2 of 5 rows have an unknown user: scored as the average",
        "3 of 5 rows have an unknown item: scored as the average",
    ]


# ---- a sample of users


@dataclass
class Listener:
    """A model that notes for whom lists were made."""

    model: Recommender
    asked: list[NDArray[np.int32]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def rank_items(
        self, users: Rows, codes: NDArray[np.int32], k: int, filter_consumed: bool, include_cold_items: bool = False
    ) -> NDArray[np.int32]:
        self.asked.append(codes)
        return self.model.rank_items(users, codes, k, filter_consumed, include_cold_items)


def sampled_users(case: Case, frame: pd.DataFrame, n: int | None, seed: int = 42) -> tuple[list[Any], dict[str, float]]:
    """The users for whom lists were made, by id, once for each list, and what came of it."""
    listener = Listener(case.model)
    measured = evaluate(listener, frame, True, metrics=LISTWISE, sample_user_num=n, seed=seed, k=5)
    (codes,) = listener.asked
    return [case.info.id2user[code] for code in codes.tolist()], measured


def of_known_users(case: Case) -> pd.DataFrame:
    return case.test[~case.test["user"].isin([*STRANGERS])]


@pytest.mark.parametrize("n", [1, 4, 11])
def test_a_sample_is_of_users_who_have_a_positive_row(case: Case, n: int) -> None:
    frame = of_known_users(case)
    frame = frame.assign(label=np.where(frame["user"] % 2 == 0, frame["label"], 0))  # half of them have none
    asked, measured = sampled_users(case, frame, n)
    assert len(set(asked)) == n
    assert set(asked) <= set(frame["user"][frame["label"] > 0])
    chosen = frame[frame["user"].isin(asked)]
    assert len(asked) == len(chosen[chosen["label"] > 0].drop_duplicates(["user", *case.context]))  # all his contexts
    assert measured == pytest.approx(case.by_hand(chosen, 5, True), abs=1e-6)


def test_a_sample_larger_than_the_users_there_are_is_all(case: Case) -> None:
    n = case.test["user"][case.test["label"] > 0].nunique()
    everyone = evaluate(case.model, case.test, True, metrics=LISTWISE)
    for size in (n, n + 1, 10_000):
        assert evaluate(case.model, case.test, True, metrics=LISTWISE, sample_user_num=size) == everyone
    assert evaluate(case.model, case.test, True, metrics=LISTWISE, sample_user_num=n - 1) != everyone


def test_the_seed_chooses_the_sample(pure: Case) -> None:
    frame = of_known_users(pure)
    assert sampled_users(pure, frame, 5, seed=1) == sampled_users(pure, frame, 5, seed=1)
    samples = [frozenset(sampled_users(pure, frame, 5, seed)[0]) for seed in range(20)]
    assert len(set(samples)) > 10
    assert set().union(*samples) == set(frame["user"][frame["label"] > 0])


def test_each_stranger_may_be_in_a_sample(pure: Case) -> None:
    best = pure.ranking(900, {})[0]
    frame = pd.DataFrame({"user": range(900, 910), "item": [best] * 4 + ["new1"] * 6, "label": 1})
    shares = {
        round(3 * evaluate(pure.model, frame, True, metrics="recall", sample_user_num=3, seed=seed)["recall"], 9)
        for seed in range(30)
    }
    assert shares == {0.0, 1.0, 2.0, 3.0}


def test_a_sample_is_for_lists_alone(pure: Case) -> None:
    assert evaluate(pure.model, pure.test, True, metrics=POINTWISE, sample_user_num=1) == evaluate(
        pure.model, pure.test, True, metrics=POINTWISE
    )


# ---- predictions, end to end


def predicted(case: Case, frame: pd.DataFrame) -> NDArray[np.float64]:
    """What ``predict`` says of each row, from the features that the frame has of strangers."""
    users, items = set(case.train["user"]), set(case.train["item"])
    scores = []
    for row in frame.to_dict("records"):
        columns = case.context + case.info.user_col * (row["user"] not in users)
        columns = columns + case.info.item_col * (row["item"] not in items)
        feats = {column: row[column] for column in columns if column in row}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores.append(case.model.predict(row["user"], row["item"], feats=feats or None))
    return np.array(scores, np.float64)


def gauc(labels: pd.Series, scores: NDArray[np.float64], users: pd.Series) -> float:
    total, n = 0.0, 0
    for user in users.unique():
        own = (users == user).to_numpy()
        if labels[own].nunique() == 2:
            total += own.sum() * sk.roc_auc_score(labels[own], scores[own])
            n += own.sum()
    return float(total / n)


def test_predictions_are_measured_as_scikit_learn_measures_those_of_predict(case: Case) -> None:
    frame = case.test.assign(label=(case.test["label"] > 0).astype(int))
    scores, labels = scores_of(case.model, frame), frame["label"]
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), predicted(case, frame), **FLOAT32)
    expected = {
        "loss": sk.log_loss(labels, 1 / (1 + np.exp(-scores.astype(float)))),
        "log_loss": sk.log_loss(labels, 1 / (1 + np.exp(-scores.astype(float)))),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, scores > 0),
        "roc_auc": sk.roc_auc_score(labels, scores),
        "roc_gauc": gauc(labels, scores, frame["user"]),
        "pr_auc": sk.average_precision_score(labels, scores),
    }
    assert evaluate(case.model, frame, False, metrics=POINTWISE) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["pure", "all kinds"])
def test_ratings_are_measured_as_scikit_learn_measures_those_of_predict(kind: str) -> None:
    world = make_world("rating", kind)
    train, test = world.frame.iloc[::2], world.frame.iloc[1::2].copy()
    test["user"] = test["user"].where(test["user"] != 103, 903)
    data, info = world.build(train)
    model = FM("rating", info, n_epochs=2, lr=0.05).fit(data, False, verbose=0)
    test = test.assign(sex=test["sex"].where(test["user"] != 903), age=test["age"].where(test["user"] != 903))
    scores = predicted(Case(model, train, test, info.user_col, info.context_col), test)
    expected = {
        "loss": sk.root_mean_squared_error(test["label"], scores),
        "rmse": sk.root_mean_squared_error(test["label"], scores),
        "mae": sk.mean_absolute_error(test["label"], scores),
        "r2": sk.r2_score(test["label"], scores),
    }
    assert evaluate(model, test, False, metrics=[*expected]) == pytest.approx(expected, rel=1e-4)


def with_negatives(data: Interactions, num_neg: int, seed: int) -> Interactions:
    return EvalPairs.with_negatives(data, num_neg, seed).whole()


def test_sampled_negatives_are_measured_beside_the_data(pure: Case) -> None:
    both = with_negatives(encoded(pure, pure.test), pure.model.num_neg, seed=3)
    scores = pure.model.predict(both.user_indices, both.item_indices, inner_id=True)
    measured = evaluate(pure.model, pure.test, True, metrics=["roc_auc", "log_loss"], seed=3)
    assert measured["roc_auc"] == pytest.approx(sk.roc_auc_score(both.labels, scores), abs=1e-5)
    assert measured["log_loss"] == pytest.approx(sk.log_loss(both.labels, scores), rel=1e-4)
    assert measured != evaluate(pure.model, pure.test, True, metrics=["roc_auc", "log_loss"], seed=4)
    assert measured == evaluate(pure.model, pure.test, True, metrics=["roc_auc", "log_loss"], seed=3)


# ---- negatives


def encode(frame: pd.DataFrame, info: DataInfo) -> Interactions:
    return encode_evaluation(read_frame(frame, ["user", "item"], "frame"), info)


PAIRS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 8), st.sampled_from([0, 1])), min_size=2, max_size=30)
MORE = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 11), st.sampled_from([0, 1, 4])), min_size=1, max_size=20
)  # users above 5 and items above 8 are never seen, and others may not be


@settings(max_examples=100)
@given(
    seen=PAIRS,
    events=MORE,
    num_neg=st.integers(1, 4),
    seed=st.integers(0, 3),
    labelled=st.booleans(),
    counting=st.sampled_from(["all", "positive"]),
)
def test_negatives_avoid_what_a_user_consumed_or_is_asked_about_known_or_not(
    seen: list[Any], events: list[Any], num_neg: int, seed: int, labelled: bool, counting: Any
) -> None:
    train, frame = (pd.DataFrame(rows, columns=["user", "item", "label"]) for rows in (seen, events))
    assume(train["item"].nunique() > num_neg)
    info = DatasetPure.build_trainset(train, consumed=counting)[1]
    data = encode(frame if labelled else frame[["user", "item"]], info)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoNegativesWarning)
        both, again = (with_negatives(data, num_neg, seed) for _ in range(2))

    positive = frame["label"] > 0 if labelled else frame["label"] >= 0
    n, catalogue = len(frame), set(train["item"])
    consumed = train if counting == "all" else train[train["label"] > 0]
    met = {user: set(rows["item"]) for user, rows in pd.concat([consumed, frame]).groupby("user")}
    beside = positive & np.array([bool(catalogue - met[user]) for user in frame["user"]], bool)
    assert len(both) == n + num_neg * beside.sum()
    assert both.labels.tolist() == [*positive.astype(float), *[0.0] * (num_neg * beside.sum())]
    np.testing.assert_array_equal(both.user_rows[:n], data.user_rows)
    np.testing.assert_array_equal(both.item_rows[:n], data.item_rows)
    np.testing.assert_array_equal(both.user_rows[n:], np.repeat(data.user_rows[beside.to_numpy()], num_neg))

    askers = frame[beside].loc[lambda rows: rows.index.repeat(num_neg)]
    for user, code in zip(askers["user"], both.item_indices[n:], strict=True):
        assert info.id2item[int(code)] in catalogue - met[user]
    np.testing.assert_array_equal(again.item_rows, both.item_rows)


def test_the_seed_chooses_the_negatives(pure: Case) -> None:
    data = encoded(pure, pure.test)
    one, same, other = (with_negatives(data, 2, seed).item_rows for seed in (0, 0, 1))
    assert one.tolist() == same.tolist() != other.tolist()
    sure = encoded(pure, pure.test.assign(label=1))
    everything = {int(code) for seed in range(10) for code in with_negatives(sure, 4, seed).item_indices[len(sure) :]}
    assert everything == set(range(1, pure.info.n_items + 1))


def test_a_strangers_negatives_avoid_his_own_history_and_no_other_strangers(pure: Case) -> None:
    items = sorted(set(pure.train["item"]))
    frame = pd.DataFrame({"user": [900] * 10 + [901] * 10, "item": items, "label": 1})  # between them they met all
    data = encode(frame, pure.info)
    drawn = {900: set(), 901: set()}
    for seed in range(5):
        both = with_negatives(data, 4, seed)
        names = [pure.info.id2item[int(code)] for code in both.item_indices[20:]]
        drawn[900] |= set(names[:40])
        drawn[901] |= set(names[40:])
    assert drawn == {900: set(items[10:]), 901: set(items[:10])}


def test_negatives_have_the_context_of_their_positive(contextual: Case) -> None:
    data = encoded(contextual, contextual.test)
    both = with_negatives(data, 3, seed=0)
    positive = np.flatnonzero(data.labels > 0)
    assert torch.equal(both.context.codes[len(data) :], data.context.codes[np.repeat(positive, 3)])
    assert len(both.context.codes.unique()) > 1


def test_negatives_avoid_what_the_model_knows_whichever_data_the_set_was_encoded_with() -> None:
    log = two_tastes()
    few = pd.concat([log.drop_duplicates("user"), log.drop_duplicates("item")])
    (data, info), (_, less) = (DatasetPure.build_trainset(train) for train in (pd.concat([few, log]), few))
    assert info.fingerprint == less.fingerprint  # of the same users and items, with another history
    model = FM("ranking", info, n_epochs=5, lr=0.05).fit(data, True, verbose=0)
    test = log.sample(30, random_state=0)
    measured = evaluate(model, DatasetPure.build_testset(test, data_info=less), True)
    assert measured == evaluate(model, test, True)


def test_data_without_positives_has_no_negatives_drawn(pure: Case) -> None:
    frame = pure.test.assign(label=0)
    assert len(with_negatives(encoded(pure, frame), 3, seed=0)) == len(frame)
    measured = evaluate(pure.model, frame, True, metrics=["loss", "roc_auc"])
    assert measured["loss"] == pytest.approx(evaluate(pure.model, frame, False)["loss"])
    assert math.isnan(measured["roc_auc"])


def test_the_model_says_how_many_negatives_there_are(pure: Case) -> None:
    model = copy.deepcopy(pure.model)
    losses = set()
    for num_neg in (1, 2, 5):
        model.num_neg = num_neg
        both = with_negatives(encoded(pure, pure.test), num_neg, seed=42)
        p = model.predict(both.user_indices, both.item_indices, inner_id=True)
        losses.add(round(evaluate(model, pure.test, True)["loss"], 6))
        assert evaluate(model, pure.test, True)["loss"] == pytest.approx(sk.log_loss(both.labels, p), rel=1e-4)
    assert len(losses) == 3


# ---- what is refused


def other_set() -> Interactions:
    other = two_tastes(n_users=10)
    return DatasetPure.build_testset(other, data_info=DatasetPure.build_trainset(other)[1])


UNFIT: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"metrics": ["ndcg", "rmse"]}, ValueError, r"metrics \['rmse'\] are not of task='ranking', which has \['loss',"),
    ({"metrics": "nDCG"}, ValueError, r"metrics \['nDCG'\] are not of task='ranking'"),
    ({"metrics": ["ndcg"], "k": 0}, ValueError, "k must be at least 1, got 0"),
    ({"metrics": ["ndcg"], "k": 2.5}, TypeError, "k must be an integer, got 2.5"),
    ({"eval_batch_size": 0}, ValueError, "eval_batch_size must be at least 1, got 0"),
    ({"metrics": ["ndcg"], "filter_consumed": "yes"}, TypeError, "filter_consumed must be True or False, got 'yes'"),
    ({"neg_sampling": "yes"}, TypeError, "neg_sampling must be True or False, got 'yes'"),
    ({"neg_sampling": False}, ValueError, "task='ranking' without neg_sampling needs labels of 0 and 1"),
]


def unfit_data(case: Case) -> list[tuple[object, bool, type[Exception], str]]:
    return [
        (case.test.assign(label=0), True, ValueError, "metrics of lists need rows with a label above 0"),
        (case.test.assign(label=0), False, ValueError, "metrics of lists need rows with a label above 0"),
        (case.test.drop(columns="label"), False, ValueError, "the data has no label column to measure against"),
        (other_set(), True, ValueError, "the set is of other data"),
        (case.test.drop(columns="item"), True, ValueError, r"columns \['item'\] are not in data"),
        ([1, 2], True, ValueError, "data must be a pandas, polars or pyarrow frame"),
    ]


@pytest.mark.parametrize(("arguments", "error", "message"), UNFIT, ids=lambda v: str(v)[:40])
def test_bad_evaluations_are_refused(
    pure: Case, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate(**{"model": pure.model, "data": pure.test, "neg_sampling": True} | arguments)


@pytest.mark.parametrize("number", range(6))
def test_bad_data_is_refused(pure: Case, number: int) -> None:
    data, neg_sampling, error, message = unfit_data(pure)[number]
    with pytest.raises(error, match=message):
        evaluate(pure.model, data, neg_sampling, metrics=["ndcg", "loss"])


def test_lists_need_no_labels(pure: Case) -> None:
    bare = pure.test[pure.test["label"] > 0].drop(columns="label")
    expected = evaluate(pure.model, bare, True, metrics=["ndcg"])
    assert evaluate(pure.model, bare, False, metrics=["ndcg"]) == expected


def test_a_sample_of_no_users_is_refused(pure: Case) -> None:
    for metrics in (["ndcg"], ["loss"]):
        with pytest.raises(ValueError, match="sample_user_num must be at least 1, got 0"):
            evaluate(pure.model, pure.test, True, metrics=metrics, sample_user_num=0)
    with pytest.raises(TypeError, match="sample_user_num must be an integer"):
        evaluate(pure.model, pure.test, True, metrics=["ndcg"], sample_user_num=0.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        evaluate(pure.model, pure.test, True, metrics=["ndcg"], seed=-1)


@pytest.mark.parametrize("name", [*LISTWISE, "roc_auc", "log_loss"])
def test_ratings_have_no_lists_and_no_odds(name: str) -> None:
    world = make_world("rating", "pure")
    data, info = world.build()
    with pytest.raises(ValueError, match=rf"metrics \['{name}'\] are not of task='rating', which has \['loss', 'rmse'"):
        evaluate(FM("rating", info), world.frame, False, metrics=[name])
    with pytest.raises(ValueError, match="task='rating' has no negatives"):
        evaluate(FM("rating", info), world.frame, True)
    model = FM("rating", info, n_epochs=1)
    with pytest.raises(ValueError, match=rf"metrics \['{name}'\] are not of task='rating'"):
        model.fit(data, False, verbose=0, eval_data=world.frame, metrics=["rmse", name])
    assert_untrained(model)


def test_a_model_must_be_fitted_to_be_measured(pure: Case) -> None:
    for metrics in ("loss", "ndcg"):
        with pytest.raises(NotFittedError, match="call fit first"):
            evaluate(FM("ranking", pure.info), pure.test, True, metrics=metrics)


def assert_untrained(model: Recommender) -> None:
    assert len(model.history_) == 0
    with pytest.raises(NotFittedError, match="call fit first"):
        model.predict(model.data_info.id2user[1], model.data_info.id2item[1])


@pytest.mark.parametrize(("arguments", "error", "message"), UNFIT, ids=lambda v: str(v)[:40])
def test_fit_refuses_bad_evaluations_before_it_trains(
    pure: Case, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    data, info = DatasetPure.build_trainset(pure.train)
    model = FM("ranking", info, n_epochs=1)
    with pytest.raises(error, match=message):
        model.fit(**{"train_data": data, "neg_sampling": True, "verbose": 0, "eval_data": pure.test} | arguments)
    assert_untrained(model)


@pytest.mark.parametrize("number", range(6))
def test_fit_refuses_bad_eval_data_before_it_trains(pure: Case, number: int) -> None:
    eval_data, neg_sampling, error, message = unfit_data(pure)[number]
    data, info = DatasetPure.build_trainset(pure.train)
    model = FM("ranking", info, n_epochs=1)
    with pytest.raises(error, match=message):
        model.fit(data, neg_sampling, verbose=0, eval_data=eval_data, metrics=["ndcg", "loss"])
    assert_untrained(model)


def test_fit_refuses_a_sample_of_no_users_before_it_trains(pure: Case) -> None:
    data, info = DatasetPure.build_trainset(pure.train)
    model = FM("ranking", info, n_epochs=1)
    with pytest.raises(ValueError, match="user_num must be at least 1, got 0"):
        model.fit(data, True, verbose=0, eval_data=pure.test, metrics=["ndcg"], eval_user_num=0)
    assert_untrained(model)


def test_fit_names_the_sample_of_users_as_its_caller_does(pure: Case) -> None:
    data, info = DatasetPure.build_trainset(pure.train)
    with pytest.raises(ValueError, match="eval_user_num must be at least 1, got 0"):
        FM("ranking", info, n_epochs=1).fit(data, True, verbose=0, eval_data=pure.test, eval_user_num=0)


@pytest.mark.parametrize(("argument", "value"), [("filter_consumed", "yes"), ("eval_user_num", 0)])
def test_fit_checks_how_to_evaluate_though_there_is_nothing_to_evaluate(
    pure: Case, argument: str, value: object
) -> None:
    data, info = DatasetPure.build_trainset(pure.train)
    with pytest.raises((ValueError, TypeError), match="must be"):
        FM("ranking", info, n_epochs=1).fit(**{"train_data": data, "neg_sampling": True, "verbose": 0, argument: value})


def test_the_metrics_there_are_are_told_in_their_order(pure: Case) -> None:
    names = [*METRICS["ranking"]]
    with pytest.raises(ValueError, match=re.escape(str(names))):
        evaluate(pure.model, pure.test, True, metrics="nDCG")


# ---- fit


def refit(case: Case, **arguments: Any) -> Recommender:
    """The case's model anew, with a seed that is not the default of ``evaluate``."""
    data, info = DatasetFeat.build_trainset(case.train, **(COLUMNS["all kinds"] if case.context else None) or {})
    model = FM("ranking", info, embed_size=8, n_epochs=3, lr=0.05, num_neg=2, seed=11)
    return model.fit(**{"train_data": data, "neg_sampling": True, "verbose": 0} | arguments)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"k": 3},
        {"filter_consumed": False},
        {"eval_user_num": 4},
        {"k": 1, "eval_user_num": 6, "eval_batch_size": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("world", ["pure", "contextual"])
def test_the_last_epoch_of_fit_is_measured_as_evaluate_measures(
    request: pytest.FixtureRequest, world: str, how: dict[str, Any]
) -> None:
    case = request.getfixturevalue(world)
    metrics = LISTWISE + POINTWISE
    model = refit(case, eval_data=case.test, metrics=metrics, **how)
    same = {"sample_user_num" if name == "eval_user_num" else name: value for name, value in how.items()}
    expected = evaluate(model, case.test, True, metrics=metrics, seed=model.seed, **same)
    assert model.history_[[f"eval_{name}" for name in metrics]].iloc[-1].tolist() == list(expected.values())
    assert [c for c in model.history_.columns if c.startswith("eval_")] == [f"eval_{name}" for name in metrics]
    if how:  # what was asked for matters
        assert expected != evaluate(model, case.test, True, metrics=metrics, seed=model.seed)


def test_every_epoch_is_measured_by_its_own_weights(pure: Case) -> None:
    history = refit(pure, eval_data=pure.test, metrics=["ndcg", "loss"]).history_
    data, info = DatasetFeat.build_trainset(pure.train)
    model = FM("ranking", info, embed_size=8, n_epochs=1, lr=0.05, num_neg=2, seed=11)
    for epoch in range(3):
        measured = evaluate(model.fit(data, True, verbose=0), pure.test, True, metrics=["ndcg", "loss"], seed=11)
        assert history[["eval_ndcg", "eval_loss"]].iloc[epoch].tolist() == pytest.approx(list(measured.values()))
    assert history["eval_ndcg"].nunique() == history["eval_loss"].nunique() == 3


def test_to_measure_lists_does_not_change_training(pure: Case) -> None:
    with_lists, without = refit(pure, eval_data=pure.test, metrics=LISTWISE, eval_user_num=3), refit(pure)
    assert with_lists.history_["train_loss"].tolist() == without.history_["train_loss"].tolist()
    users, items = pure.train["user"].tolist(), pure.train["item"].tolist()
    np.testing.assert_array_equal(with_lists.predict(users, items), without.predict(users, items))


def test_fit_measures_an_encoded_set_as_its_frame(pure: Case) -> None:
    _, info = DatasetPure.build_trainset(pure.train)
    data = DatasetPure.build_testset(pure.test, data_info=info)
    one, other = (refit(pure, eval_data=what, metrics=["ndcg", "roc_auc"]) for what in (pure.test, data))
    columns = ["eval_ndcg", "eval_roc_auc"]
    pd.testing.assert_frame_equal(one.history_[columns], other.history_[columns])


def test_fit_tells_of_unknown_ids_once_not_each_epoch(pure: Case) -> None:
    with pytest.warns(UnknownIdWarning) as caught:
        refit(pure, eval_data=pure.test, metrics=["ndcg", "loss"])
    assert sum("unknown user" in str(one.message) for one in caught) == 1


def test_loss_alone_is_measured_by_default(pure: Case) -> None:
    columns = refit(pure, eval_data=pure.test).history_.columns
    assert [column for column in columns if column.startswith("eval_")] == ["eval_loss"]
    assert not [column for column in refit(pure).history_.columns if column.startswith("eval_")]


# ---- users without negatives, catalogues without enough


def fitted_to(frame: pd.DataFrame, **settings):
    data, info = DatasetPure.build_trainset(frame)
    return FM("ranking", info, n_epochs=1, **settings).fit(data, neg_sampling=True, verbose=0)


SMALL = pd.DataFrame({"user": ["all"] * 4 + ["b", "b", "c"], "item": [1, 2, 3, 4, 1, 2, 3], "label": 1})


def test_a_user_who_consumed_everything_gets_no_negatives_and_is_told_of():
    model = fitted_to(SMALL)
    with pytest.warns(NoNegativesWarning, match="4 of 7 rows get no negatives: their 1 users consumed every item"):
        pairs = with_negatives(as_encoded(SMALL, model.data_info), 3, seed=1)
    names = model.data_info.id2user
    negatives = [names[user] for user, label in zip(pairs.user_indices, pairs.labels, strict=True) if not label]
    assert sorted(set(negatives)) == ["b", "c"]
    assert len(negatives) == 3 * 3
    assert pairs.labels.sum() == 7


def test_everything_may_be_consumed_in_training_and_in_the_test_together():
    train, test = SMALL.iloc[[0, 1, 4, 5, 6]], SMALL.iloc[[2, 3]]
    frame = pd.concat([train, pd.DataFrame({"user": "d", "item": [4, 3], "label": 1})])
    model = fitted_to(frame)
    with pytest.warns(NoNegativesWarning, match="2 of 2 rows"):
        evaluate(model, test, neg_sampling=True)
    new = pd.DataFrame({"user": "new", "item": [1, 2, 3, 4], "label": 1})
    with pytest.warns(NoNegativesWarning, match="4 of 4 rows"):
        evaluate(model, new, neg_sampling=True)


def test_more_negatives_than_the_catalogue_has_are_refused():
    model = fitted_to(SMALL, num_neg=3)
    model.num_neg = 4
    with pytest.raises(ValueError, match=r"num_neg must be at most 3, .*, got 4"):
        evaluate(model, SMALL, neg_sampling=True)


def test_models_of_different_negatives_are_measured_on_the_same_ones_when_asked(pure):
    metric = ["balanced_accuracy", "log_loss", "roc_auc"]
    by_three = evaluate(pure.model, pure.test, True, metrics=metric, num_neg=3)
    other = copy.copy(pure.model)
    other.num_neg = 3
    assert evaluate(other, pure.test, True, metrics=metric) == by_three
    assert evaluate(other, pure.test, True, metrics=metric, num_neg=pure.model.num_neg) != by_three


@pytest.mark.parametrize(
    ("num_neg", "error"), [(0, ValueError), (1.5, TypeError), ("all", TypeError), (10**6, ValueError)]
)
def test_what_is_no_number_of_negatives_is_refused(pure, num_neg, error):
    with pytest.raises(error, match="num_neg"):
        evaluate(pure.model, pure.test, True, num_neg=num_neg)
