"""What all pictures share: colours, new figures, labels, and checks of frames."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, BLACK, GREY = "#0072B2", "#E69F00", "#222222", "#767676"
"""Of Okabe and Ito's palette, for all kinds of sight; in black and white the first is dark and the second light."""


def require_pyplot() -> ModuleType:
    """``matplotlib.pyplot``; raises where it is not installed, before any work."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError('recolib.plots needs matplotlib: pip install "recolib[plots]"') from error
    return pyplot


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that notebooks show and that ``pyplot.show`` shows."""
    return require_pyplot().figure(figsize=(width, height), layout="constrained")


def new_axes(size: tuple[float, float] = (7, 5)) -> Axes:
    """The one panel of a new figure."""
    return new_figure(*size).add_subplot()


def require_columns(frame: pd.DataFrame, names: Sequence[str], what: str) -> None:
    """Raise unless ``frame`` is a DataFrame that has rows and these columns."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"{what} must be a pandas DataFrame, got {type(frame).__name__}")
    absent = [name for name in names if name not in frame]
    if absent:
        raise ValueError(f"columns {absent} are not in {what}: {list(frame.columns)}")
    if frame.empty:
        raise ValueError(f"{what} has no rows to draw")


def percent(share: float) -> str:
    """A share with as many digits as one reads."""
    return f"{100 * share:.3g} %" if share < 0.01 else f"{100 * share:.0f} %"


def label_bars(ax: Axes, names: Sequence[str], texts: Sequence[str], ends: Sequence[float]) -> None:
    """Names beside horizontal bars, texts at their ends, the first bar on top."""
    for place, (text, end) in enumerate(zip(texts, ends, strict=True)):
        side, offset = ("left", 4) if end >= 0 else ("right", -4)
        ax.annotate(text, (end, place), (offset, 0), textcoords="offset points", ha=side, va="center", fontsize="small")
    ax.axvline(0, color=BLACK, linewidth=0.8)
    ax.set_yticks(range(len(texts)), list(names))
    ax.set_ylim(len(texts) - 0.5, -0.5)
    ax.margins(x=0.2)
