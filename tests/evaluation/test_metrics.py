"""Each metric against scikit-learn or ranx, and against its textbook definition in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from recolib.evaluation.metrics import (
    METRICS,
    balanced_accuracy,
    coverage,
    log_loss,
    mae,
    novelty,
    pr_auc,
    r2,
    rmse,
    roc_auc,
    roc_gauc,
)

SHAPES = ["smooth", "few-values", "all-tied", "perfect", "inverted", "extreme"]


def binary(shape: str, seed: int, n: int = 300):
    """Labels with both classes, and probabilities of some shape."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < rng.uniform(0.02, 0.98)).astype(float)
    labels[:2] = 0.0, 1.0
    p = {
        "smooth": np.clip(rng.random(n) * 0.7 + labels * 0.3, 0, 1),
        "few-values": rng.integers(1, 5, n) / 5,
        "all-tied": np.full(n, 0.3),
        "perfect": 0.5 * labels + 0.4 * rng.random(n),
        "inverted": 0.5 * (1 - labels) + 0.4 * rng.random(n),
        "extreme": rng.choice([0.0, 1.0, 1e-30, 1 - 1e-16, 0.5], n),
    }[shape]
    return labels, p


ratings = pytest.mark.parametrize("seed", range(5))
shapes = pytest.mark.parametrize(("shape", "seed"), [(shape, seed) for shape in SHAPES for seed in range(3)])


@ratings
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(rmse, sk.root_mean_squared_error), (mae, sk.mean_absolute_error), (r2, sk.r2_score)],
    ids=["rmse", "mae", "r2"],
)
def test_rating_metrics_are_those_of_scikit_learn(ours, theirs, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 6, 500).astype(float)
    predictions = (labels + rng.normal(size=500)).astype(np.float32)
    assert ours(labels, predictions) == pytest.approx(theirs(labels, predictions), rel=1e-6)


def test_rating_metrics_by_hand():
    labels, predictions = np.array([1.0, 2.0, 6.0]), np.array([2.0, 2.0, 3.0])
    assert rmse(labels, predictions) == pytest.approx(math.sqrt(10 / 3))
    assert mae(labels, predictions) == pytest.approx(4 / 3)
    assert r2(labels, predictions) == pytest.approx(1 - 10 / 14)


def test_r2_of_the_mean_is_zero_and_of_the_labels_one():
    labels = np.array([1.0, 2.0, 6.0])
    assert r2(labels, np.full(3, 3.0)) == pytest.approx(0.0)
    assert r2(labels, labels) == 1.0


def test_r2_of_labels_that_do_not_vary_is_nan():
    assert math.isnan(r2(np.full(4, 3.0), np.arange(4.0)))


@pytest.mark.parametrize("n", [3, 6])
def test_r2_of_labels_that_do_not_vary_is_nan_though_their_mean_is_rounded(n):
    labels = np.full(n, 0.1)
    assert labels.mean() != 0.1
    assert math.isnan(r2(labels, np.arange(float(n))))


@shapes
def test_roc_auc_is_that_of_scikit_learn(shape, seed):
    labels, p = binary(shape, seed)
    assert roc_auc(labels, p) == pytest.approx(sk.roc_auc_score(labels, p), abs=1e-12)


@shapes
def test_pr_auc_is_the_average_precision_of_scikit_learn(shape, seed):
    labels, p = binary(shape, seed)
    assert pr_auc(labels, p) == pytest.approx(sk.average_precision_score(labels, p), abs=1e-12)


def logits(p):
    """The logits of probabilities; a certain one is 40, an e-17th from certainty."""
    with np.errstate(divide="ignore"):
        return np.clip(np.log(p) - np.log1p(-p), -40, 40)


@shapes
def test_balanced_accuracy_is_that_of_scikit_learn(shape, seed):
    labels, p = binary(shape, seed)
    assert balanced_accuracy(labels, logits(p)) == pytest.approx(
        sk.balanced_accuracy_score(labels, logits(p) > 0), abs=1e-12
    )


@shapes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_loss_is_that_of_scikit_learn(shape, seed, dtype):
    labels, p = binary(shape, seed)
    z = np.clip(logits(p), -16, 16).astype(dtype)
    p = 1 / (1 + np.exp(-z.astype(np.float64)))
    assert log_loss(labels, z) == pytest.approx(sk.log_loss(labels, p, labels=[0, 1]), rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_loss_of_a_sure_mistake_is_its_logit_and_of_a_sure_hit_nothing(dtype):
    assert log_loss(np.array([1.0, 0.0]), np.array([-60, 60], dtype)) == pytest.approx(60.0)
    assert log_loss(np.array([1.0, 0.0]), np.array([60, -60], dtype)) == pytest.approx(0.0, abs=1e-20)


def test_log_loss_of_a_single_class_is_defined():
    assert log_loss(np.ones(3), np.full(3, -math.log(3))) == pytest.approx(math.log(4))


def test_there_is_no_gauc_of_no_rows():
    assert math.isnan(roc_gauc(np.empty(0), np.empty(0), np.empty(0, int)))


@pytest.mark.parametrize("label", [0.0, 1.0])
@pytest.mark.filterwarnings("error")
def test_a_single_class_has_no_auc_and_no_balanced_accuracy(label):
    labels, scores = np.full(5, label), np.arange(5.0)
    assert math.isnan(roc_auc(labels, scores))
    assert math.isnan(balanced_accuracy(labels, scores))
    assert math.isnan(roc_gauc(labels, scores, np.array([1, 1, 2, 2, 3])))
    assert pr_auc(labels, scores) == 1.0 if label else math.isnan(pr_auc(labels, scores))


def test_ties_count_half():
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    assert roc_auc(labels, np.zeros(4)) == 0.5
    assert roc_auc(labels, np.array([2.0, 1.0, 1.0, 1.0])) == pytest.approx(0.75)
    assert pr_auc(labels, np.zeros(4)) == 0.5


def test_a_single_row_of_each_class_is_enough():
    assert roc_auc(np.array([0.0, 1.0]), np.array([0.1, 0.2])) == 1.0
    assert roc_auc(np.array([1.0, 0.0]), np.array([0.1, 0.2])) == 0.0


def gauc_by_hand(labels, scores, groups) -> float:
    values, sizes = [], []
    for group in np.unique(groups):
        own = groups == group
        if len(np.unique(labels[own])) == 2:
            values.append(sk.roc_auc_score(labels[own], scores[own]))
            sizes.append(own.sum())
    return float(np.average(values, weights=sizes)) if values else math.nan


@shapes
def test_roc_gauc_is_a_loop_over_users(shape, seed):
    labels, p = binary(shape, seed)
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.concatenate([rng.zipf(1.5, 200) % 40, rng.integers(0, 3, 100)]))
    assert roc_gauc(labels, p, groups) == pytest.approx(gauc_by_hand(labels, p, groups), abs=1e-12)


def test_roc_gauc_leaves_out_users_of_one_class_and_weighs_by_rows():
    labels = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    scores = np.array([2.0, 1.0, 9.0, 9.0, 5.0, 4.0, 3.0, 6.0])
    groups = np.array([7, 7, 3, 3, 1, 1, 1, 1])
    # user 7: 1.0 of 2 rows; user 3 has one class; user 1: 2 of its 4 pairs are right, of 4 rows
    assert roc_gauc(labels, scores, groups) == pytest.approx((2 * 1.0 + 4 * 0.5) / 6)


def test_equal_scores_of_different_users_are_no_tie():
    labels, scores = np.array([0.0, 1.0, 1.0, 0.0]), np.array([1.0, 2.0, 2.0, 3.0])
    assert roc_gauc(labels, scores, np.array([1, 1, 2, 2])) == pytest.approx(0.5)


labelled = st.lists(st.tuples(st.booleans(), st.integers(-3, 3), st.integers(0, 4)), min_size=1, max_size=40)


@given(labelled)
def test_roc_gauc_is_a_loop_over_users_whatever_comes(rows):
    labels, scores, groups = (np.array(column, float) for column in zip(*rows, strict=True))
    expected = gauc_by_hand(labels, scores, groups)
    assert roc_gauc(labels, scores, groups.astype(int)) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(labelled, st.randoms(use_true_random=False))
def test_metrics_do_not_care_in_which_order_rows_come(rows, random):
    mixed = random.sample(rows, len(rows))
    one, other = ([np.array(column, float) for column in zip(*some, strict=True)] for some in (rows, mixed))
    for metric in (roc_auc, pr_auc):
        assert metric(*one[:2]) == pytest.approx(metric(*other[:2]), nan_ok=True)
    assert roc_gauc(*one) == pytest.approx(roc_gauc(*other), nan_ok=True)


@given(labelled)
def test_auc_depends_on_the_order_of_scores_alone(rows):
    labels, scores, _ = (np.array(column, float) for column in zip(*rows, strict=True))
    for metric in (roc_auc, pr_auc):
        assert metric(labels, scores) == pytest.approx(metric(labels, np.exp(3 * scores) - 7), nan_ok=True)
    flipped = roc_auc(labels, -scores)
    assert roc_auc(labels, scores) == pytest.approx(1 - flipped, nan_ok=True)


def test_loss_is_an_alias_of_each_tasks_own_measure():
    assert METRICS["rating"]["loss"].function is METRICS["rating"]["rmse"].function
    assert METRICS["ranking"]["loss"].function is METRICS["ranking"]["log_loss"].function


@shapes
@pytest.mark.parametrize("metric", [roc_auc, pr_auc, log_loss, balanced_accuracy])
def test_labels_and_logits_may_be_float32(metric, shape, seed):
    labels, p = binary(shape, seed)
    z = logits(p).astype(np.float32)
    assert metric(labels.astype(np.float32), z) == pytest.approx(metric(labels, z.astype(np.float64)), rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_extreme_logits_neither_overflow_nor_tie(dtype):
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    z = np.array([1e30, 9e29, 90.0, -1e30], dtype)
    assert roc_auc(labels, z) == sk.roc_auc_score(labels, z) == 0.75
    assert pr_auc(labels, z) == sk.average_precision_score(labels, z)
    assert balanced_accuracy(labels, z) == 0.75
    assert log_loss(labels, z) == pytest.approx(float(z[1]) / 4, rel=1e-6)
    assert log_loss(labels[[0, 3]], z[[0, 3]]) == 0.0


@pytest.mark.filterwarnings("error")
def test_zero_and_minus_zero_are_a_tie():
    labels, z = np.array([1.0, 0.0]), np.array([0.0, -0.0])
    assert roc_auc(labels, z) == roc_auc(labels, -z) == 0.5
    assert pr_auc(labels, z) == pr_auc(labels, -z) == 0.5


@pytest.mark.filterwarnings("error")
def test_one_row_is_measured_where_that_makes_sense():
    one, half = np.ones(1), np.full(1, 0.5)
    assert rmse(one, half) == mae(one, half) == 0.5
    assert log_loss(one, half) == pytest.approx(math.log1p(math.exp(-0.5)))
    assert pr_auc(one, half) == 1.0
    assert all(math.isnan(metric(one, half)) for metric in (r2, roc_auc, balanced_accuracy))
    assert math.isnan(roc_gauc(one, half, np.array([7])))
    assert math.isnan(pr_auc(np.zeros(1), half))


def test_a_user_whose_scores_are_all_tied_counts_half_beside_users_of_one_class():
    labels = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    scores = np.array([3.0, 3.0, 3.0, 9.0, 0.0, 2.0, 1.0])
    groups = np.array([5, 5, 5, -1, -2, 8, 8])  # user 5 tied: ½ of 3 rows; −1 and −2 have one class; user 8: 1 of 2
    assert roc_gauc(labels, scores, groups) == pytest.approx((3 * 0.5 + 2 * 1.0) / 5)


# ---- metrics of lists


def textbook_precision(ranked: list, relevant: set, k: int) -> float:
    return sum(item in relevant for item in ranked[:k]) / k


def textbook_recall(ranked: list, relevant: set, k: int) -> float:
    return len(relevant.intersection(ranked[:k])) / len(relevant)


def textbook_hit_rate(ranked: list, relevant: set, k: int) -> float:
    return 1.0 if relevant.intersection(ranked[:k]) else 0.0


def textbook_reciprocal_rank(ranked: list, relevant: set, k: int) -> float:
    return next((1 / rank for rank, item in enumerate(ranked[:k], 1) if item in relevant), 0.0)


def textbook_average_precision(ranked: list, relevant: set, k: int) -> float:
    """Σ precision at the rank of each relevant item, by the number of relevant items (Manning et al., section 8.4)."""
    ranks = [rank for rank, item in enumerate(ranked[:k], 1) if item in relevant]
    return sum(textbook_precision(ranked, relevant, rank) for rank in ranks) / len(relevant)


def textbook_ndcg(ranked: list, relevant: set, k: int) -> float:
    gain = sum(1 / math.log2(1 + rank) for rank, item in enumerate(ranked[:k], 1) if item in relevant)
    return gain / sum(1 / math.log2(1 + rank) for rank in range(1, min(k, len(relevant)) + 1))


TEXTBOOK: dict[str, Callable[[list, set, int], float]] = {
    "precision": textbook_precision,
    "recall": textbook_recall,
    "hit_rate": textbook_hit_rate,
    "mrr": textbook_reciprocal_rank,
    "map": textbook_average_precision,
    "ndcg": textbook_ndcg,
}
Queries = list[tuple[list[int], set[int]]]
"""Lists of items, best first, that may end early, each with the items that are relevant to it."""

BEYOND = {901, 902, 903}
"""Items that no list can have: unknown, or left out by the filter."""
FIRST_TEN = list(range(1, 11))
CASES: dict[str, tuple[Queries, int]] = {
    "one relevant item at each rank": ([(FIRST_TEN, {item}) for item in FIRST_TEN], 10),
    "one relevant item that is beyond": ([(FIRST_TEN, {901})], 10),
    "one hit at rank 1 of ten relevant": ([([1, *range(20, 29)], set(FIRST_TEN))], 10),
    "one hit at the last rank of ten": ([([*range(20, 29), 1], set(FIRST_TEN))], 10),
    "more relevant than k": ([(FIRST_TEN[:3], {1, 3, 5, 7, 9, *BEYOND}), (FIRST_TEN[:3], {2, 4, 6, 8})], 3),
    "all hits, as many as relevant": ([(FIRST_TEN, set(FIRST_TEN))], 10),
    "all hits, more relevant": ([(FIRST_TEN, set(FIRST_TEN) | BEYOND)], 10),
    "all hits, fewer relevant than k": ([([1, 2, 3], {1, 2, 3})], 10),
    "no hit at all": ([(FIRST_TEN, {20, 30}), (FIRST_TEN, {901})], 10),
    "lists that end early": ([([4], {4, 5}), ([4, 5], {5}), ([1, 2, 3, 4, 5], {5, 901}), ([6], {7})], 8),
    "an empty list": ([([], {1, 2}), ([3, 2], {2})], 4),
    "k of one": ([([1], {1}), ([1], {1, 2}), ([1], {2}), ([], {901})], 1),
    "k far above the catalogue": ([([3, 1, 2], {1}), ([2, 3, 1], {1, 2, 3, 901})], 500),
}


def random_queries(seed: int) -> tuple[Queries, int]:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 25))
    lists = [rng.permutation(np.arange(1, 16))[: rng.integers(0, k + 1)].tolist() for _ in range(12)]
    return [(ranked, set(rng.choice(np.arange(1, 19), rng.integers(1, 18)).tolist())) for ranked in lists], k


CASES |= {f"random {seed}": random_queries(seed) for seed in range(8)}
cases = pytest.mark.parametrize(("queries", "k"), CASES.values(), ids=list(CASES))
names = pytest.mark.parametrize("name", TEXTBOOK)


def of_lists(name: str, queries: Queries, k: int) -> float:
    """Our metric of some queries."""
    hits = np.zeros((len(queries), k), bool)
    for row, (ranked, relevant) in enumerate(queries):
        hits[row, : len(ranked)] = [item in relevant for item in ranked]
    return METRICS["ranking"][name](hits, np.array([len(relevant) for _, relevant in queries]))


def textbook(name: str, queries: Queries, k: int) -> float:
    return sum(TEXTBOOK[name](ranked, relevant, k) for ranked, relevant in queries) / len(queries)


@pytest.fixture(scope="module")
def ranx() -> Iterator[ModuleType]:
    """The library, uncompiled: numba would take a minute and a half for these small arrays."""
    numba = pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "DISABLE_JIT", True)
        yield pytest.importorskip("ranx")


@names
@cases
def test_metrics_of_lists_are_those_of_ranx(ranx, name, queries, k):
    # ranx sorts by score, so that equal scores would leave the order to it: scores fall with the rank. It divides
    # precision by k though a list ends early, recall and map by all relevant items, and the ideal of ndcg has
    # min(k, relevant) items, as here. A list without items is none to it: such a one gets an item that never hits.
    qrels = {str(q): {str(item): 1 for item in relevant} for q, (_, relevant) in enumerate(queries)}
    run = {str(q): {str(i): 1 / r for r, i in enumerate(ranked or [-1], 1)} for q, (ranked, _) in enumerate(queries)}
    theirs = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), f"{name}@{k}")
    assert of_lists(name, queries, k) == pytest.approx(theirs, abs=1e-12)


@names
@cases
def test_metrics_of_lists_are_those_of_the_textbook(name, queries, k):
    assert of_lists(name, queries, k) == pytest.approx(textbook(name, queries, k), abs=1e-12)


@cases
def test_ndcg_is_that_of_scikit_learn(queries, k):
    expected = []
    for ranked, relevant in queries:
        # a list that ends early is filled with misses; the relevant items that it lacks stand behind
        ranked = [*ranked, *[-1] * (k - len(ranked)), *(relevant - set(ranked)), -1]
        truth = np.array([[item in relevant for item in ranked]], float)
        expected.append(sk.ndcg_score(truth, -np.arange(len(ranked), dtype=float)[None], k=k))
    assert of_lists("ndcg", queries, k) == pytest.approx(np.mean(expected), abs=1e-12)


def test_one_hit_at_rank_one_of_ten_relevant_is_far_from_perfect():
    """LibRecommender divides by the hits found, which makes both 1."""
    queries, k = CASES["one hit at rank 1 of ten relevant"]
    assert of_lists("ndcg", queries, k) == pytest.approx(1 / sum(1 / math.log2(1 + rank) for rank in range(1, 11)))
    assert of_lists("ndcg", queries, k) == pytest.approx(0.22, abs=0.001)
    assert of_lists("map", queries, k) == pytest.approx(0.1)


@names
def test_all_hits_are_perfect_and_none_is_nothing(name):
    assert of_lists(name, *CASES["all hits, as many as relevant"]) == pytest.approx(1.0)
    assert of_lists(name, *CASES["no hit at all"]) == 0.0


def test_metrics_of_lists_by_hand():
    queries: Queries = [([10, 11, 12, 13], {11, 13, 99}), ([10, 11, 12], {10})]  # the second ends early
    values = {name: of_lists(name, queries, 4) for name in TEXTBOOK}
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert values == pytest.approx(
        {
            "precision": (2 / 4 + 1 / 4) / 2,
            "recall": (2 / 3 + 1) / 2,
            "hit_rate": 1.0,
            "mrr": (1 / 2 + 1) / 2,
            "map": ((1 / 2 + 2 / 4) / 3 + 1) / 2,
            "ndcg": ((1 / math.log2(3) + 1 / math.log2(5)) / ideal + 1) / 2,
        }
    )


@st.composite
def any_queries(draw: st.DrawFn) -> tuple[Queries, int]:
    k = draw(st.integers(1, 12))
    ranked = st.lists(st.integers(1, 9), unique=True, max_size=k)
    return draw(st.lists(st.tuples(ranked, st.sets(st.integers(1, 12), min_size=1)), min_size=1, max_size=5)), k


@given(any_queries())
def test_metrics_of_lists_are_those_of_the_textbook_whatever_comes(case):
    queries, k = case
    for name in TEXTBOOK:
        value = of_lists(name, queries, k)
        assert value == pytest.approx(textbook(name, queries, k), abs=1e-12)
        assert 0 <= value <= 1 + 1e-12


def catalogue_arrays(lists: list[list[int]], k: int, consumers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Lists as codes filled with 0, and how many consumed each code, that of the unknown code 0 first."""
    items = np.zeros((len(lists), k), np.int32)
    for row, ranked in enumerate(lists):
        items[row, : len(ranked)] = ranked
    return items, np.array([0, *consumers])


def test_coverage_and_novelty_by_hand():
    items, consumers = catalogue_arrays([[1, 2], [1], []], 3, [4, 1, 8, 0])
    assert coverage(items, consumers, 8) == 2 / 4
    assert novelty(items, consumers, 8) == pytest.approx((1 + 3 + 1) / 3)  # −log2 of 4/8, 1/8 and 4/8


@pytest.mark.filterwarnings("error")
def test_an_item_that_nobody_consumed_is_as_new_as_one_that_one_user_did():
    items, consumers = catalogue_arrays([[4], [2]], 1, [4, 1, 8, 0])
    assert novelty(items, consumers, 8) == 3.0


def test_an_item_that_all_consumed_is_no_news():
    items, consumers = catalogue_arrays([[3], [3]], 2, [4, 1, 8, 0])
    assert novelty(items, consumers, 8) == 0.0
    assert coverage(items, consumers, 8) == 1 / 4


@pytest.mark.filterwarnings("error")
def test_empty_lists_cover_nothing_and_have_no_novelty():
    items, consumers = catalogue_arrays([[], []], 3, [1, 1])
    assert coverage(items, consumers, 2) == 0.0
    assert math.isnan(novelty(items, consumers, 2))


@given(st.lists(st.lists(st.integers(1, 6), unique=True, max_size=4), min_size=1, max_size=6), st.integers(0, 99))
def test_coverage_and_novelty_are_loops_over_lists(lists, seed):
    consumers = np.random.default_rng(seed).integers(0, 9, 6).tolist()
    items, counts = catalogue_arrays(lists, 4, consumers)
    listed = [item for ranked in lists for item in ranked]
    assert coverage(items, counts, 9) == pytest.approx(len(set(listed)) / 6)
    bits = [-math.log2(max(consumers[item - 1], 1) / 9) for item in listed]
    assert novelty(items, counts, 9) == pytest.approx(sum(bits) / len(bits) if bits else math.nan, nan_ok=True)


def test_every_metric_of_lists_has_its_name():
    of_hits = [name for name, metric in METRICS["ranking"].items() if metric.needs == "hits"]
    of_the_catalogue = {name: m.function for name, m in METRICS["ranking"].items() if m.needs == "catalogue"}
    assert of_hits == list(TEXTBOOK)
    assert of_the_catalogue == {"coverage": coverage, "novelty": novelty}
    assert METRICS["ranking"]["roc_gauc"].function is roc_gauc
