"""Predictions against what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.checks import check_integer
from recolib.evaluation.measurement import Measurement, Model
from recolib.evaluation.pairs import EvalPairs
from recolib.plots.canvas import BLACK, BLUE, GREY, new_axes, require_pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
Z95 = 1.959964
"""The normal distribution's quantile of 97.5 %."""


def calibration(
    model: Model, data: object, neg_sampling: bool, n_bins: int = 10, *, seed: int = 42, ax: Axes | None = None
) -> Axes:
    """What was predicted against what happened: whether 0.3 comes true three times in ten.

    Predictions are put into bins of equal width. The mean prediction of each bin stands against the observed share of
    positives, or for ratings the mean observed rating, with its 95 % interval; the bars above count the pairs. Points
    below the diagonal were predicted too high.

    Parameters
    ----------
    model
        A fitted model.
    data
        A frame or an encoded set, best one that was not trained on.
    neg_sampling
        As in ``evaluate``. Sampled negatives make up a rate of positives of their own: probabilities are then
        calibrated for data with ``num_neg`` negatives a positive, not for a real log.
    n_bins
        How many bins, between 0 and 1 or between the lowest and the highest predicted rating.
    seed
        For the negatives.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        The expected calibration error in its title is the mean distance from the diagonal, weighted by the pairs.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger, *On Calibration of Modern Neural Networks*, ICML 2017. The intervals of shares are
    Wilson's, *Probable Inference, the Law of Succession, and Statistical Inference*, JASA 1927.

    Examples
    --------
    >>> from recolib.algorithms import FM
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> from recolib.plots import calibration
    >>> frame = make_movies(n_users=50, n_items=40, n_ratings=800)
    >>> data, info = DatasetPure.build_trainset(frame)
    >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    >>> calibration(model, frame, neg_sampling=True).get_xlabel()
    'mean predicted probability'
    """
    check_integer("n_bins", n_bins, 2)
    if ax is None:
        require_pyplot()
    measurement = Measurement.of(model, data, neg_sampling, 8192, None, 10, None, seed, True)
    pairs = cast("EvalPairs", measurement.pairs)
    scores, labels = measurement.scores(model, pairs).astype(float), pairs.labels.astype(float)
    rating = model.task == "rating"
    predicted = scores if rating else torch.from_numpy(scores).sigmoid().numpy()
    low, high = (predicted.min(), predicted.max()) if rating else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, n_bins + 1)
    at = np.digitize(predicted, edges[1:-1])
    counts = np.bincount(at, minlength=n_bins)
    some = counts > 0
    means, observed, squares = (
        np.bincount(at, values, n_bins)[some] / counts[some] for values in (predicted, labels, labels**2)
    )
    n = counts[some]
    error = np.average(np.abs(means - observed), weights=n)
    ends = of_means(observed, squares, n) if rating else of_shares(observed, n)
    ax = ax or new_axes((5.5, 5.5))
    ax.plot(edges[[0, -1]], edges[[0, -1]], "--", color=BLACK, label="perfectly calibrated")
    distances = np.abs(np.stack(ends) - observed)
    ax.errorbar(means, observed, distances, color=BLUE, marker="o", capsize=3, label="observed, 95 % interval")
    what = "rating" if rating else "probability"
    ax.set(xlabel=f"mean predicted {what}", ylabel="mean observed rating" if rating else "observed share of positives")
    ax.grid(alpha=0.3)
    ax.legend(loc="upper left", fontsize="small")
    above = ax.inset_axes((0, 1.02, 1, 0.15), sharex=ax)
    above.bar(edges[:-1], counts, np.diff(edges), align="edge", color=GREY, edgecolor="white")
    above.set_ylabel("pairs", fontsize="small")
    above.yaxis.set_major_formatter("{x:,.10g}")
    above.tick_params(labelbottom=False, labelsize="small")
    above.spines[["top", "right"]].set_visible(False)
    title = f"predicted {predicted.mean():.3g} on average, observed {labels.mean():.3g}"
    ax.set_title(f"{title}\nexpected calibration error {error:.3g}", fontsize="medium")
    return ax


def of_shares(shares: Floats, n: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Wilson's 95 % intervals of shares of n."""
    middle = (shares + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * np.sqrt(shares * (1 - shares) / n + Z95**2 / (4 * n**2))
    return middle - half, middle + half


def of_means(means: Floats, squares: Floats, n: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """95 % intervals of means of n values, given also the means of their squares; a single value has none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        half = Z95 * np.sqrt(np.maximum(squares - means**2, 0) / (n - 1))
    return means - half, means + half
