"""Pictures show the numbers: what is drawn is read back and compared with what was computed another way."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recolib.algorithms import FM
from recolib.data import DatasetFeat, Interactions
from recolib.evaluation import evaluate
from recolib.exceptions import NotFittedError, UnknownIdWarning
from recolib.recommender import Recommender
from tests.worlds import make_world

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from recolib import plots  # noqa: E402
from recolib.plots.canvas import BLUE, GREY, ORANGE, percent  # noqa: E402
from recolib.plots.exposure import gini  # noqa: E402
from recolib.plots.reliability import of_means, of_shares  # noqa: E402

Fitted = tuple[Recommender, Interactions, pd.DataFrame]
HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3, 4],
        "train_loss": [0.9, 0.7, 0.6, 0.5],
        "seconds": 1.0,
        "rows_per_second": 10.0,
        "eval_loss": [0.8, 0.6, 0.65, 0.7],
        "eval_ndcg": [0.1, 0.2, 0.3, float("nan")],
    }
)
EXPLANATION = pd.DataFrame(
    {
        "term": ["bias", "sex", "sex × genre1", "age"],  # noqa: RUF001
        "first": [None, "sex", "sex", "age"],
        "second": [None, None, "genre1", None],
        "first_value": [None, "F", "F", 18.0],
        "second_value": [None, None, "odd", None],
        "contribution": [0.25, -1.0, 0.5, 0.125],
    }
)
IMPORTANCE = pd.DataFrame({"column": ["a", "b", "c"], "importance": [0.1, 0.4, -0.2], "deviation": [0.01, 0.02, 0.03]})
RUNS = pd.DataFrame({"strategy": ["x", "y"] * 3, "run": [0, 0, 1, 1, 2, 2], "value": [1.0, 2.0, 2.0, 4.0, 3.0, 9.0]})


@pytest.fixture(autouse=True)
def no_figure_is_left() -> Iterator[None]:
    yield
    pyplot.close("all")


@pytest.fixture(scope="module", params=["ranking", "rating"])
def fitted(request: pytest.FixtureRequest) -> Fitted:
    world = make_world(request.param, "sparse")
    data, info = world.build()
    model = FM(request.param, info, n_epochs=3, lr=0.05, embed_size=4)
    return model.fit(data, neg_sampling=request.param == "ranking", verbose=0), data, world.frame


@pytest.fixture(scope="module")
def ranker() -> Fitted:
    frame = make_world("ranking", "sparse").frame
    data, info = DatasetFeat.build_trainset(frame, user_col=["sex"], item_col=["genre1"], sparse_col=["sex", "genre1"])
    return FM("ranking", info, n_epochs=3, lr=0.05, embed_size=4).fit(data, neg_sampling=True, verbose=0), data, frame


def widths(ax: Any) -> list[float]:
    return [bar.get_width() for bar in ax.patches]


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


def names(ax: Any) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def intervals(container: Any) -> np.ndarray:
    """The ends of error bars, (n, 2, 2): low and high, x and y."""
    return np.array(container.lines[2][0].get_segments())


# ---- training curves


def test_each_metric_has_a_panel_with_its_values_and_its_best_epoch() -> None:
    figure = plots.training_curves(HISTORY)
    titles = [panel.get_title() for panel in figure.axes]
    assert titles == ["train_loss", "eval_loss: best 0.6 in epoch 2", "eval_ndcg: best 0.3 in epoch 3"]
    for panel, name in zip(figure.axes, ("train_loss", "eval_loss", "eval_ndcg"), strict=True):
        np.testing.assert_array_equal(panel.lines[0].get_data(), (HISTORY["epoch"], HISTORY[name]))
    stars = [panel.lines[1].get_xydata().tolist() for panel in figure.axes[1:]]
    assert stars == [[[2, 0.6]], [[3, 0.3]]]
    assert len(figure.axes[0].lines) == 1


def test_a_model_is_drawn_by_its_history(ranker: Fitted) -> None:
    panel = plots.training_curves(ranker[0]).axes[0]
    np.testing.assert_array_equal(panel.lines[0].get_ydata(), ranker[0].history_["train_loss"])


def test_metrics_of_no_epoch_have_no_best_one() -> None:
    figure = plots.training_curves(HISTORY.assign(eval_ndcg=float("nan")))
    assert figure.axes[2].get_title() == "eval_ndcg"


def test_what_was_not_trained_has_no_curves(ranker: Fitted) -> None:
    with pytest.raises(NotFittedError, match="no epoch to draw: call fit first"):
        plots.training_curves(FM("ranking", ranker[0].data_info))
    with pytest.raises(ValueError, match=r"columns \['train_loss'\] are not in the history"):
        plots.training_curves(HISTORY.drop(columns="train_loss"))


# ---- popularity against exposure


@pytest.mark.parametrize("filter_consumed", [True, False])
def test_each_item_stands_where_its_likes_and_its_lists_are(ranker: Fitted, filter_consumed: bool) -> None:
    model, _, frame = ranker
    ax = plots.popularity_against_exposure(model, n_rec=3, filter_consumed=filter_consumed)
    lists = model.recommend(n_rec=3, filter_consumed=filter_consumed)
    likes, given = frame.groupby("item")["user"].nunique(), lists["item"].value_counts()
    items = [model.data_info.id2item[code] for code in range(1, model.n_items + 1)]
    expected = [[likes[item], given.get(item, 0)] for item in items]
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), expected)

    n_same = 0
    for user, rows in lists.groupby("user"):
        seen = set(frame.loc[frame["user"] == user, "item"]) if filter_consumed else set()
        charts = [item for item in model.data_info.popular_items if item not in seen][:3]
        n_same += len(set(charts) & set(rows["item"]))
    legend = ax.get_legend()
    assert legend.get_title().get_text() == f"{percent(n_same / len(lists))} of recommendations repeat the charts"


def test_the_title_compares_the_head_of_likes_with_that_of_lists(ranker: Fitted) -> None:
    model, _, frame = ranker
    ax = plots.popularity_against_exposure(model, n_rec=3, head=0.25)
    head, lists = model.data_info.popular_items[:5], model.recommend(n_rec=3)
    liked, given = frame["item"].isin(head).mean(), lists["item"].isin(head).mean()
    assert f"25 % most popular items: {percent(liked)} of likes, {percent(given)} of FM's" in ax.get_title()
    never = 1 - lists["item"].nunique() / model.n_items
    assert f"{percent(never)} of items in no list" in ax.get_title()
    line = ax.lines[0].get_xydata()
    np.testing.assert_allclose(line[:, 1] / line[:, 0], len(lists) / len(frame))  # each pair stands there once


def test_a_sample_of_users_is_drawn_by_its_seed_and_users_may_be_named(ranker: Fitted) -> None:
    model, _, frame = ranker

    def places(**how: Any) -> np.ndarray:
        return np.asarray(plots.popularity_against_exposure(model, n_rec=2, **how).collections[0].get_offsets())

    assert places(sample_user_num=5)[:, 1].sum() == 10
    np.testing.assert_array_equal(places(sample_user_num=5, seed=1), places(sample_user_num=5, seed=1))
    seeds = [places(sample_user_num=5, seed=seed).tolist() for seed in range(5)]
    assert any(seed != seeds[0] for seed in seeds)
    assert places(users=frame["user"].unique()[:3])[:, 1].sum() == 6
    with pytest.warns(UnknownIdWarning):
        assert places(users=["nobody"])[:, 1].sum() == 2


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"n_rec": 0}, "n_rec must be at least 1"),
        ({"head": 0}, "head must be above 0"),
        ({"head": 1.0}, "head must be above 0 and below 1"),
        ({"sample_user_num": 0}, "sample_user_num must be at least 1"),
    ],
)
def test_bad_arguments_of_exposure_are_named(ranker: Fitted, how: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        plots.popularity_against_exposure(ranker[0], **how)
    assert not pyplot.get_fignums()


def test_gini_is_its_double_sum() -> None:
    amounts = np.random.default_rng(0).pareto(1, 50)
    double = np.abs(amounts[:, None] - amounts).sum() / (2 * 50**2 * amounts.mean())
    assert gini(amounts) == pytest.approx(double)
    assert gini(np.zeros(3)) == 0
    assert gini(np.ones(3)) == pytest.approx(0)


# ---- calibration


def test_bins_have_mean_prediction_mean_label_and_count(fitted: Fitted) -> None:
    model, _, frame = fitted
    if model.task == "ranking":
        other = frame["item"].map(dict(zip(frame["item"], frame["item"].iloc[::-1], strict=True)))
        frame = pd.concat([frame, frame.assign(item=other, label=0)], ignore_index=True)
    frame = frame[["user", "item", "label"]]  # features as they are now, as predict has them
    ax = plots.calibration(model, frame, neg_sampling=False, n_bins=5)
    predicted = np.asarray(model.predict(frame["user"], frame["item"]), float)
    low, high = (predicted.min(), predicted.max()) if model.task == "rating" else (0.0, 1.0)
    table = pd.DataFrame({"predicted": predicted, "label": frame["label"], "bin": 0})
    for number in range(1, 5):
        table.loc[predicted >= low + number * (high - low) / 5, "bin"] = number
    bins = table.groupby("bin").agg({"predicted": "mean", "label": ["mean", "size"]})
    points = ax.containers[0].lines[0].get_xydata()
    np.testing.assert_allclose(points, bins[[("predicted", "mean"), ("label", "mean")]], rtol=1e-5)
    counts = [bar.get_height() for bar in ax.child_axes[0].patches]
    assert counts == table["bin"].value_counts().reindex(range(5), fill_value=0).tolist()
    error = np.average(np.abs(points[:, 0] - points[:, 1]), weights=bins[("label", "size")])
    assert f"expected calibration error {error:.3g}" in ax.get_title()
    assert f"predicted {predicted.mean():.3g} on average, observed {table['label'].mean():.3g}" in ax.get_title()


def test_drawn_negatives_are_those_of_the_measure(ranker: Fitted) -> None:
    model, data, _ = ranker
    ax = plots.calibration(model, data, neg_sampling=True, n_bins=2)
    assert sum(bar.get_height() for bar in ax.child_axes[0].patches) == 2 * len(data)
    assert "observed 0.5\n" in ax.get_title()


def test_intervals_are_those_of_scipy() -> None:
    hits, n = np.array([0, 3, 10]), np.array([4, 9, 10])
    for low, high, k, total in zip(*of_shares(hits / n, n), hits, n, strict=True):
        wilson = stats.binomtest(int(k), int(total)).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((wilson.low, wilson.high), abs=1e-6)
    values = np.array([1.0, 2.0, 5.0])
    low, high = of_means(np.array([values.mean()]), np.array([np.mean(values**2)]), np.array([3]))
    expected = stats.norm.interval(0.95, values.mean(), stats.sem(values))
    assert (low[0], high[0]) == pytest.approx(expected, rel=1e-6)


def test_calibration_needs_bins_and_labels(ranker: Fitted) -> None:
    model, data, frame = ranker
    with pytest.raises(ValueError, match="n_bins must be at least 2, got 1"):
        plots.calibration(model, data, neg_sampling=True, n_bins=1)
    with pytest.raises(ValueError, match="no label column"):
        plots.calibration(model, frame.drop(columns="label"), neg_sampling=False)
    with pytest.raises(NotFittedError):
        plots.calibration(FM("ranking", model.data_info), data, neg_sampling=True)
    assert not pyplot.get_fignums()


# ---- strategies


def test_runs_are_drawn_with_their_mean_and_students_interval() -> None:
    ax = plots.cold_start_comparison(RUNS, "nDCG@10", reference="x")
    assert names(ax) == ["x", "y"]
    means = ax.containers[0].lines[0].get_xydata().tolist()
    assert means == [[2, 0], [5, 1]]
    for drawn, of in zip(intervals(ax.containers[0]), ([1, 2, 3], [2, 4, 9]), strict=True):
        expected = stats.t.interval(0.95, 2, np.mean(of), stats.sem(of))
        np.testing.assert_allclose(drawn[:, 0], expected)
    assert ax.collections[0].get_offsets()[:, 0].tolist() == RUNS["value"].tolist()
    assert texts(ax) == ["2", "5 (2.50 × x)"]  # noqa: RUF001
    assert ax.get_xlabel() == "nDCG@10"
    assert ax.get_title() == "means of 3 runs, and their 95 % intervals"


def test_given_intervals_are_drawn_as_they_are() -> None:
    results = pd.DataFrame({"strategy": ["x", "y"], "value": [1.0, 2.0], "low": [0.5, 1.9], "high": [1.1, 2.4]})
    ax = plots.cold_start_comparison(results)
    np.testing.assert_allclose(intervals(ax.containers[0])[:, :, 0], results[["low", "high"]])
    assert texts(ax) == ["1", "2"]


def test_a_single_run_has_no_interval() -> None:
    ax = plots.cold_start_comparison(RUNS.head(2))
    assert not intervals(ax.containers[0]).size
    assert ax.containers[0].lines[0].get_xdata().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("results", "error"),
    [
        (RUNS.drop(columns="value"), r"columns \['value'\] are not in results"),
        (RUNS.assign(low=0.0), r"columns \['high'\] are not in results"),
        (RUNS.assign(low=0.0, high=9.0), "strategy 'x' has 3 rows: give one"),
        (RUNS.head(2).assign(low=1.5, high=9.0), "must be the ends of an interval around 'value'"),
        (RUNS.assign(value=float("nan")), "'value' of results has 6 missing values"),
        (RUNS.head(0), "results has no rows to draw"),
    ],
)
def test_results_that_cannot_be_drawn_are_refused(results: pd.DataFrame, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        plots.cold_start_comparison(results)
    assert not pyplot.get_fignums()


def test_the_reference_must_be_a_strategy_and_results_a_frame() -> None:
    with pytest.raises(ValueError, match=r"reference must be one of \['x', 'y'\], got 'z'"):
        plots.cold_start_comparison(RUNS, reference="z")
    with pytest.raises(TypeError, match="results must be a pandas DataFrame, got dict"):
        plots.cold_start_comparison(RUNS.to_dict())  # type: ignore[arg-type]


# ---- reasons


def test_bars_are_the_largest_terms_the_sum_of_the_others_and_the_total() -> None:
    frame = EXPLANATION.copy()
    frame.attrs |= {"logit": -0.125, "prediction": 0.469}
    ax = plots.explanation(frame, n=2)
    assert widths(ax) == [-1.0, 0.5, 0.375, -0.125]
    assert names(ax) == ["sex = F", "sex = F × genre1 = odd", "2 others", "sum"]  # noqa: RUF001
    assert [to_hex(bar.get_facecolor()).upper() for bar in ax.patches] == [ORANGE, BLUE, BLUE, GREY]
    assert [bar.get_hatch() or "" for bar in ax.patches] == ["//", "", "", ""]
    assert texts(ax) == ["-1", "+0.5", "+0.375", "-0.125"]
    assert ax.get_title() == "prediction 0.469 from a score of -0.125"
    low, high = ax.get_ylim()
    assert low > high  # the first on top


def test_all_terms_fit_where_there_are_few_of_them() -> None:
    ax = plots.explanation(EXPLANATION[["term", "contribution"]])
    assert names(ax) == ["sex", "sex × genre1", "bias", "age", "sum"]  # noqa: RUF001
    assert widths(ax) == [-1.0, 0.5, 0.25, 0.125, -0.125]
    assert names(plots.explanation(EXPLANATION))[2:4] == ["bias", "age = 18"]


def test_importances_are_in_order_with_their_deviations() -> None:
    frame = IMPORTANCE.copy()
    frame.attrs |= {"metric": "roc_auc", "value": 0.75}
    ax = plots.importance(frame, n=2)
    assert names(ax) == ["b", "a"]
    assert widths(ax) == [0.4, 0.1]
    np.testing.assert_allclose(intervals(ax.containers[0])[:, :, 0], [[0.38, 0.42], [0.09, 0.11]])
    assert texts(ax) == ["0.4 ± 0.02", "0.1 ± 0.01"]
    assert ax.get_xlabel() == "how much worse roc_auc gets when the column is shuffled"
    assert names(plots.importance(IMPORTANCE)) == ["b", "a", "c"]


@pytest.mark.parametrize("draw", [plots.explanation, plots.importance])
def test_frames_of_another_kind_are_refused(draw: Any) -> None:
    with pytest.raises(ValueError, match="are not in the"):
        draw(RUNS)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        draw(EXPLANATION, n=0)


# ---- all


def everything(model: Recommender, data: Interactions, figure: Figure) -> list[Any]:
    panels = iter(figure.subplots(1, 5))
    return [
        plots.popularity_against_exposure(model, 2, ax=next(panels)),
        plots.calibration(model, data, neg_sampling=True, ax=next(panels)),
        plots.cold_start_comparison(RUNS, ax=next(panels)),
        plots.explanation(EXPLANATION, ax=next(panels)),
        plots.importance(IMPORTANCE, ax=next(panels)),
    ]


def test_what_is_given_is_drawn_into_and_nothing_else_changes(ranker: Fitted) -> None:
    model, data, _ = ranker
    settings = dict(matplotlib.rcParams)
    figure, curves = Figure(), Figure()
    assert everything(model, data, figure) == figure.axes
    assert plots.training_curves(model, curves) is curves
    for one in (figure, curves):
        one.canvas.draw()
    assert not pyplot.get_fignums()  # pyplot knows nothing of them
    assert dict(matplotlib.rcParams) == settings


def test_a_new_figure_is_one_of_pyplot_and_stays_open() -> None:
    ax = plots.importance(IMPORTANCE)
    assert pyplot.gcf() is ax.figure


def test_drawing_changes_nothing_of_the_model(ranker: Fitted) -> None:
    model, data, _ = ranker
    before = evaluate(model, data, neg_sampling=True)
    everything(model, data, Figure())
    assert evaluate(model, data, neg_sampling=True) == before


def test_the_page_shows_each_function_and_its_picture() -> None:
    docs = Path(__file__).parents[1] / "docs"
    page = (docs / "plots.md").read_text()
    assert set(re.findall(r"`(\w+)\(", page)) >= set(plots.__all__)
    pictures = re.findall(r"!\[.+\]\((\w+\.svg)\)", page)
    assert len(pictures) == len(plots.__all__)
    assert all((docs / picture).stat().st_size < 80_000 for picture in pictures)


def test_without_matplotlib_the_extra_is_named_and_the_package_does_not_need_it() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import pandas as pd, recolib\n"
        "from recolib.plots import importance\n"
        "importance(pd.DataFrame({'column': ['a'], 'importance': [1.0], 'deviation': [0.0]}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'ImportError: recolib.plots needs matplotlib: pip install "recolib[plots]"' in done.stderr
