"""Strategies side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.checks import check_choice
from recolib.plots.canvas import BLACK, BLUE, GREY, new_axes, require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]


def cold_start_comparison(
    results: pd.DataFrame, label: str = "value", reference: str | None = None, ax: Axes | None = None
) -> Axes:
    """Strategies side by side, each with its 95 % interval.

    Parameters
    ----------
    results
        A row for each ``strategy`` with its ``value`` and, if wanted, the ends ``low`` and ``high`` of its interval; or
        several rows for each, such as one for each ``run``. Of several rows the mean is drawn with Student's interval,
        and each run as a small point. Strategies are drawn in the order of their first rows.
    label
        What the value is, for the axis.
    reference
        A strategy that the others are compared with: a line is drawn at its value, and the others say how many times as
        much they reach.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        Values run to the right, strategies downwards.

    Raises
    ------
    ValueError
        If a column is missing, a value is, ``low`` stands without ``high`` or beyond the value, a strategy with an
        interval has several rows, or ``reference`` is no strategy.

    Examples
    --------
    >>> import pandas as pd
    >>> from recolib.plots import cold_start_comparison
    >>> results = pd.DataFrame({"strategy": ["popular", "features"] * 2, "value": [0.30, 0.36, 0.32, 0.37]})
    >>> ax = cold_start_comparison(results, "nDCG@10", reference="popular")
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['popular', 'features']
    """
    require_columns(results, ["strategy", "value"], "results")
    names, values, low, high, n_runs = intervals(results)
    if reference is not None:
        check_choice("reference", reference, names)
    ax = ax or new_axes((6.5, 1.2 + 0.55 * len(names)))
    places = range(len(names))
    title = "95 % intervals"
    if n_runs.max() > 1:
        least, most = n_runs.min(), n_runs.max()
        title = f"means of {most if least == most else f'{least} to {most}'} runs, and their 95 % intervals"
        ax.scatter(results["value"], [names.index(str(one)) + 0.25 for one in results["strategy"]], s=14, color=GREY)
    ends = np.stack([values - low, high - values])
    ax.errorbar(values, places, xerr=ends, fmt="o", color=BLUE, capsize=4, linewidth=2)
    texts = [f"{value:.4g}" for value in values]
    if reference is not None:
        against = values[names.index(reference)]
        ax.axvline(against, color=BLACK, linestyle="--", linewidth=1, zorder=0)
        for at in (at for at in places if against > 0 and names[at] != reference):
            texts[at] += f" ({values[at] / against:.2f} × {reference})"  # noqa: RUF001
    for at, text in enumerate(texts):
        ax.annotate(text, (1.02, at), xycoords=("axes fraction", "data"), va="center", annotation_clip=False)
    ax.set_yticks(places, names)
    ax.set(ylim=(len(names) - 0.5, -0.5), xlabel=label, title=title)
    ax.grid(axis="x", alpha=0.3)
    return ax


def intervals(results: pd.DataFrame) -> tuple[list[str], Floats, Floats, Floats, NDArray[np.int64]]:
    """Strategies, values, both ends of their intervals, as given or Student's around the mean, and numbers of rows."""
    from scipy.special import stdtrit  # not at the top: recolib shall be imported fast

    codes, names = pd.factorize(results["strategy"].astype(str))
    n, values = np.bincount(codes), results["value"].to_numpy(float)
    n_missing = int(np.isnan(values).sum())
    if n_missing:
        raise ValueError(f"column 'value' of results has {n_missing} missing values: leave these rows out")
    if {"low", "high"} & {*results.columns}:
        require_columns(results, ["low", "high"], "results")
        if n.max() > 1:
            raise ValueError(f"strategy {names[n.argmax()]!r} has {n.max()} rows: give one, or leave out low and high")
        low, high = (results[name].to_numpy(float) for name in ("low", "high"))
        if (low > values).any() or (values > high).any():
            raise ValueError("columns 'low' and 'high' of results must be the ends of an interval around 'value'")
        return list(names), values, low, high, n
    means = np.bincount(codes, values) / n
    squares = np.bincount(codes, (values - means[codes]) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        half = stdtrit(n - 1, 0.975) * np.sqrt(squares / (n - 1) / n)
    return list(names), means, means - half, means + half, n
