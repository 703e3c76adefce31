"""How a training went, epoch by epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from recolib.evaluation.metrics import less_is_better
from recolib.exceptions import NotFittedError
from recolib.plots.canvas import BLACK, BLUE, ORANGE, new_figure, require_columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS_A_ROW = 3


class Trained(Protocol):
    """A model with a history."""

    @property
    def history_(self) -> pd.DataFrame:
        """A row for each epoch."""
        ...


def training_curves(model_or_history: Trained | pd.DataFrame, figure: Figure | None = None) -> Figure:
    """The training loss and each metric of ``eval_data`` by epoch, a panel each, with the best epoch of each metric.

    Parameters
    ----------
    model_or_history
        A fitted model, or its ``history_``.
    figure
        Where to draw; by default a new one.

    Returns
    -------
    Figure
        With a panel for ``train_loss`` and for each column ``eval_…``. The best epoch is the lowest of losses and
        errors and the highest of all else.

    Raises
    ------
    NotFittedError
        If there is no epoch to draw.
    ImportError
        If there is no matplotlib, as all functions of this module.

    Examples
    --------
    >>> import pandas as pd
    >>> from recolib.plots import training_curves
    >>> history = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.6, 0.5], "eval_roc_auc": [0.7, 0.8]})
    >>> [panel.get_title() for panel in training_curves(history).axes]
    ['train_loss', 'eval_roc_auc: best 0.8 in epoch 2']
    """
    history = model_or_history if isinstance(model_or_history, pd.DataFrame) else model_or_history.history_
    if history.empty:
        raise NotFittedError("there is no epoch to draw: call fit first")
    require_columns(history, ["epoch", "train_loss"], "the history")
    names = ["train_loss", *(name for name in history if str(name).startswith("eval_"))]
    n_columns = min(len(names), PANELS_A_ROW)
    n_rows = math.ceil(len(names) / n_columns)
    figure = figure or new_figure(max(4.0 * n_columns, 5), 3.0 * n_rows)
    epochs = history["epoch"].to_numpy()
    for at, name in enumerate(names, start=1):
        panel, values = figure.add_subplot(n_rows, n_columns, at), history[name].to_numpy(float)
        panel.plot(epochs, values, color=BLUE, marker="o", markersize=4)
        title = name
        lower = less_is_better(name)
        if at > 1 and lower is not None and not np.isnan(values).all():
            best = int(np.nanargmin(values) if lower else np.nanargmax(values))
            panel.plot(epochs[best], values[best], marker="*", markersize=15, color=ORANGE, markeredgecolor=BLACK)
            title = f"{name}: best {values[best]:.4g} in epoch {epochs[best]}"
        panel.set_title(title, fontsize="medium")
        panel.set_xlabel("epoch")
        panel.locator_params(axis="x", integer=True)
        panel.grid(alpha=0.3)
    return figure
