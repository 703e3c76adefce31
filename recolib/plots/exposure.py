"""How often items are recommended, against how popular they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.checks import check_bool, check_integer, check_number
from recolib.data.frame import read_ids
from recolib.data.info import DataInfo
from recolib.plots.canvas import BLACK, BLUE, ORANGE, new_axes, percent, require_pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Recommends(Protocol):
    """A model that gives lists."""

    @property
    def model_name(self) -> str:
        """The algorithm."""
        ...

    @property
    def data_info(self) -> DataInfo:
        """The data."""
        ...

    def recommend(
        self, users: Any = None, n_rec: int = 10, *, filter_consumed: bool = True, context: Any = None
    ) -> pd.DataFrame:
        """The best items for users, with the columns ``user`` and ``item``."""
        ...


def popularity_against_exposure(
    model: Recommends,
    n_rec: int = 10,
    users: Any = None,
    *,
    head: float = 0.1,
    filter_consumed: bool = True,
    context: Any = None,
    sample_user_num: int = 1000,
    seed: int = 42,
    ax: Axes | None = None,
) -> Axes:
    """How often each item is recommended against how popular it is: whether a model only repeats the charts.

    Each item is a point. Were items recommended in proportion to their popularity, all would be on the dashed line;
    what is above is pushed, what is below is held back. The title compares the share that the most popular items have
    of all recommendations with their share of what users liked, and the Gini coefficients, 0 if all items were equal
    and 1 if one had all. The legend says how many recommendations are what the charts, without what the user consumed,
    would put in that user's list.

    Parameters
    ----------
    model
        A fitted model.
    n_rec
        The length of the lists.
    users
        User ids; by default ``sample_user_num`` known users, drawn by ``seed``, or all if there are fewer.
    head
        The share of the catalogue that counts as the most popular.
    filter_consumed, context
        As in ``recommend``.
    sample_user_num, seed
        See ``users``.
    ax
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        Popularity, how many distinct users liked an item in training, against the number of lists that it is in. Both
        axes are logarithmic from 1 on.

    References
    ----------
    Abdollahpouri, Burke and Mobasher, *Managing Popularity Bias in Recommender Systems with Personalized Re-ranking*,
    FLAIRS 2019.

    Examples
    --------
    >>> from recolib.algorithms import FM
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> from recolib.plots import popularity_against_exposure
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    >>> popularity_against_exposure(model, n_rec=5).get_ylabel()
    'lists of 5 that have the item'
    """
    for name, value in (("n_rec", n_rec), ("sample_user_num", sample_user_num)):
        check_integer(name, value, 1)
    check_integer("seed", seed, 0)
    check_number("head", head, 0, 1, open_low=True)
    check_bool("filter_consumed", filter_consumed)
    if ax is None:
        require_pyplot()
    info = model.data_info
    if users is None:
        users = info.vocabs["user"].values
        drawn = np.random.default_rng(seed).permutation(len(users))[:sample_user_num]
        users = users[np.sort(drawn)]
    lists = model.recommend(users, n_rec, filter_consumed=filter_consumed, context=context)
    items = info.vocabs["item"].encode(read_ids(lists["item"], "item"))
    popularity = info.popularity[1:].astype(float)
    exposure = np.bincount(items, minlength=info.n_items + 1)[1:].astype(float)
    of_head = info.ranked_items[: math.ceil(head * info.n_items)] - 1
    as_charts = in_charts(info, lists, items, filter_consumed).mean()
    ax = ax or new_axes()
    most = max(popularity.max(), 1.0)
    slope = exposure.sum() / max(popularity.sum(), 1.0)
    shade = popularity[of_head].min(), most * 1.2
    line = np.array([min(max(1.0, 1 / slope), most), most])  # straight where both axes are logarithmic
    ax.axvspan(*shade, color=ORANGE, alpha=0.25, linewidth=0, label=f"the most popular {percent(head)} of items")
    ax.plot(line, line * slope, "--", color=BLACK, label="in proportion to popularity")
    ax.scatter(popularity, exposure, s=18, color=BLUE, alpha=0.6, linewidths=0, label="an item", rasterized=True)
    ax.set_xscale("symlog", linthresh=1, linscale=0.4)
    ax.set_yscale("symlog", linthresh=1, linscale=0.4)
    ax.set_xlim(popularity.min() * 0.8, most * 1.2)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:,.10g}")
    ax.set(xlabel="users who liked the item", ylabel=f"lists of {n_rec} that have the item")
    given, liked = (percent(amounts[of_head].sum() / max(amounts.sum(), 1.0)) for amounts in (exposure, popularity))
    never = percent(np.mean(exposure == 0))
    title = f"The {percent(head)} most popular items: {liked} of likes, {given} of {model.model_name}'s recommendations"
    more = f"Gini {gini(popularity):.2f} of likes, {gini(exposure):.2f} of recommendations; {never} of items in no list"
    ax.set_title(f"{title}\n{more}", fontsize="medium")
    charts = f"{percent(as_charts)} of recommendations repeat the charts"
    ax.legend(title=charts, loc="upper left", fontsize="small", title_fontsize="small", alignment="left")
    return ax


def gini(amounts: NDArray[np.float64]) -> float:
    """Gini's coefficient of amounts (n,): 0 where all are equal or nothing, nearly 1 where one has all."""
    n, total = len(amounts), amounts.sum()
    return float(2 * (np.arange(1, n + 1) @ np.sort(amounts)) / (n * total) - (n + 1) / n) if total else 0.0


def in_charts(
    info: DataInfo, lists: pd.DataFrame, items: NDArray[np.int32], filter_consumed: bool
) -> NDArray[np.bool_]:
    """Whether each place of users' lists, whose items have these codes, holds what the charts would put there."""
    same = np.zeros(len(items), bool)
    for user, rows in lists.groupby("user", sort=False).indices.items():
        code = info.vocabs["user"].code(cast("int | str", user)) if filter_consumed else 0
        consumed = info.user_consumed[code] if code else np.empty(0, np.int32)
        charts = info.ranked_items[: len(rows) + len(consumed)]
        same[rows] = np.isin(items[rows], charts[~np.isin(charts, consumed)][: len(rows)])
    return same
