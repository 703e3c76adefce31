"""What makes a score, and what a model looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recolib.checks import check_integer
from recolib.plots.canvas import BLACK, BLUE, GREY, ORANGE, label_bars, new_axes, require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def explanation(frame: pd.DataFrame, n: int = 10, ax: Axes | None = None) -> Axes:
    """What of a score speaks for an item and what against it, as bars.

    Parameters
    ----------
    frame
        What ``model.explain(user, item)`` returns: a row for each ``term`` with its ``contribution``.
    n
        How many terms are drawn, the largest; the others are added up to one bar.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        The largest contribution first, the sum of all last. What speaks for the item goes to the right and is dark,
        what speaks against it goes to the left and is light and hatched.

    Raises
    ------
    ValueError
        If a column is missing, or ``n`` is below 1.

    Examples
    --------
    >>> import pandas as pd
    >>> from recolib.plots import explanation
    >>> frame = pd.DataFrame({"term": ["bias", "sex", "sex × genre1"], "contribution": [-0.5, 0.1, 0.9]})
    >>> [label.get_text() for label in explanation(frame, n=2).get_yticklabels()]
    ['sex × genre1', 'bias', '1 other', 'sum']
    """
    check_integer("n", n, 1)
    require_columns(frame, ["term", "contribution"], "the explanation")
    ax = ax or new_axes((7, 1.2 + 0.35 * (min(n + 1, len(frame)) + 1)))
    contributions, terms = frame["contribution"].to_numpy(float), terms_with_values(frame)
    order = np.argsort(-np.abs(contributions), kind="stable")
    values, names = contributions[order[:n]].tolist(), [terms[at] for at in order[:n]]
    if n < len(order):
        values.append(contributions[order[n:]].sum())
        names.append(f"{len(order) - n} other{'s' if len(order) > n + 1 else ''}")
    values.append(contributions.sum())
    colours = [*(BLUE if value >= 0 else ORANGE for value in values[:-1]), GREY]
    bars = ax.barh(range(len(values)), values, color=colours, edgecolor=BLACK)
    for bar, colour in zip(bars, colours, strict=True):
        bar.set_hatch("//" if colour == ORANGE else "")
    label_bars(ax, [*names, "sum"], [f"{value:+.3g}" for value in values], values)
    ax.axhline(len(values) - 1.5, color=BLACK, linewidth=0.8)
    ax.set_xlabel("contribution to the score")
    if {"logit", "prediction"} <= frame.attrs.keys():
        of = frame.attrs
        ax.set_title(f"prediction {of['prediction']:.3g} from a score of {of['logit']:.3g}")
    return ax


def importance(frame: pd.DataFrame, n: int = 20, ax: Axes | None = None) -> Axes:
    """How much each column matters to a model, as bars with their deviations.

    Parameters
    ----------
    frame
        What ``model.feature_importance(data)`` returns: a row for each ``column`` with its ``importance`` and, over the
        shuffles, its standard ``deviation``.
    n
        How many columns are drawn, the most important.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        The most important column first.

    Raises
    ------
    ValueError
        If a column of the frame is missing, or ``n`` is below 1.

    Examples
    --------
    >>> import pandas as pd
    >>> from recolib.plots import importance
    >>> frame = pd.DataFrame({"column": ["sex", "age"], "importance": [0.01, 0.03], "deviation": [0.002, 0.004]})
    >>> [label.get_text() for label in importance(frame).get_yticklabels()]
    ['age', 'sex']
    """
    check_integer("n", n, 1)
    require_columns(frame, ["column", "importance", "deviation"], "the importances")
    ax = ax or new_axes((7, 1.2 + 0.35 * min(n, len(frame))))
    order = np.argsort(-frame["importance"].to_numpy(), kind="stable")[:n]
    values, deviations = (frame[name].to_numpy(float)[order] for name in ("importance", "deviation"))
    ax.barh(range(len(order)), values, xerr=deviations, color=BLUE, ecolor=BLACK, capsize=3)
    texts = [f"{value:.3g} ± {deviation:.2g}" for value, deviation in zip(values, deviations, strict=True)]
    ends = np.maximum(values + deviations, 0).tolist()
    label_bars(ax, frame["column"].astype(str).to_numpy()[order].tolist(), texts, ends)
    metric = frame.attrs.get("metric", "the metric")
    ax.set_xlabel(f"how much worse {metric} gets when the column is shuffled")
    if "value" in frame.attrs:
        ax.set_title(f"{metric} {frame.attrs['value']:.4g} with all columns")
    return ax


def terms_with_values(frame: pd.DataFrame) -> list[str]:
    """What an explanation's bars are called: "sex = F × genre1 = drama" where it says the values of the columns."""
    terms = frame["term"].astype(str).tolist()
    if not {"first", "first_value", "second", "second_value"} <= {*frame.columns}:
        return terms
    sides = [zip(frame[side], frame[f"{side}_value"], strict=True) for side in ("first", "second")]
    told = (
        " × ".join(f"{column} = {short(value)}" for column, value in pair if isinstance(column, str))  # noqa: RUF001
        for pair in zip(*sides, strict=True)
    )
    return [new or old for new, old in zip(told, terms, strict=True)]


def short(value: object) -> object:
    """A whole number without its ".0"."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
