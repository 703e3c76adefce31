"""Negative items, drawn for all rows at once.

A draw is a function of (seed, epoch, row) alone: an epoch's negatives do not depend on what was drawn before, nor on
how its rows are divided.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recolib.checks import SavedFunction, function_name
from recolib.data.consumed import Consumed
from recolib.data.info import DataInfo
from recolib.data.rows import Codes
from recolib.randomness import Uniforms

NegativeSampler = Callable[[Codes, Codes, Uniforms], Codes]
"""Users' codes (n,), their positive items' codes (n,), uniform numbers (n, N) -> negative items' codes (n, N)."""
Sampler = Callable[[DataInfo], NegativeSampler]
"""What makes a ``NegativeSampler`` of the data; a function of this kind can be a model's ``sampler``."""

POPULARITY_POWER = 0.75


def random(info: DataInfo) -> NegativeSampler:
    """Any trained item but the positive one, each with the same chance."""
    items = info.trained_items
    _refuse_single(items)

    def draw(users: Codes, positives: Codes, uniform: Uniforms) -> Codes:
        rank, is_trained = _ranks(items, positives)
        pick = _integers(uniform, (len(items) - is_trained)[:, None])
        pick += (pick >= rank[:, None]) & is_trained[:, None]  # step over the positive
        return items[pick]

    return draw


def unconsumed(info: DataInfo, consumed: Consumed | None = None) -> NegativeSampler:
    """Any trained item that the user did not consume, each with the same chance.

    A user who consumed every item, or none, gets any item but the positive one.

    Parameters
    ----------
    info
        The data.
    consumed
        What counts as consumed, by user; by default the training rows.
    """
    items, consumed = info.trained_items, consumed or info.user_consumed
    rank, is_trained = _ranks(items, consumed.codes)
    owners = np.repeat(np.arange(len(consumed.starts) - 1), consumed.counts())[is_trained]
    rank = rank[is_trained]
    counts = np.bincount(owners, minlength=len(consumed.starts) - 1)
    starts = np.cumsum(counts) - counts
    # of a user's consumed ranks r_0 < r_1 < …, r_k - k items before r_k are free; within a user this grows
    free_before = rank - (np.arange(len(rank)) - starts[owners])
    stride = len(items) + 1
    keys = owners * stride + free_before
    fallback = random(info)

    def draw(users: Codes, positives: Codes, uniform: Uniforms) -> Codes:
        n_free = (len(items) - counts)[users]
        pick = _integers(uniform, np.maximum(n_free, 1)[:, None])  # the pick-th free item
        wanted = users.astype(np.int64)[:, None] * stride + pick
        skipped = np.searchsorted(keys, wanted, side="right") - starts[users][:, None]
        drawn = items[np.minimum(pick + skipped, len(items) - 1)]
        # a user who consumed everything has no free item; one who consumed nothing could draw the positive
        other = (n_free == 0) | (counts[users] == 0)
        if other.any():
            drawn[other] = fallback(users[other], positives[other], uniform[other])
        return drawn

    return draw


def popular(info: DataInfo) -> NegativeSampler:
    """A trained item other than the positive one, in proportion to its number of users to the power ¾.

    An item that was shown and that nobody consumed counts as one with one user.

    The power is that of word2vec (Mikolov et al., 2013).
    """
    items = info.trained_items
    _refuse_single(items)
    mass = np.maximum(info.item_consumed.counts()[items], 1) ** POPULARITY_POWER
    upto = np.cumsum(mass)

    def draw(users: Codes, positives: Codes, uniform: Uniforms) -> Codes:
        rank, is_trained = _ranks(items, positives)
        rank = np.minimum(rank, len(items) - 1)
        own = np.where(is_trained, mass[rank], 0.0)[:, None]
        before = (upto[rank] - mass[rank])[:, None]
        point = uniform * (upto[-1] - own)
        point += np.where(point >= before, own, 0.0)  # step over the positive's mass
        pick = np.minimum(np.searchsorted(upto, point, side="right"), len(items) - 1)
        clash = (pick == rank[:, None]) & is_trained[:, None]  # a rounding error away
        return items[np.where(clash, (pick + 1) % len(items), pick)]

    return draw


SAMPLERS: dict[str, Sampler] = {"random": random, "unconsumed": unconsumed, "popular": popular}


def sampler_of(sampler: str | Sampler) -> Sampler:
    """The sampler of a name, or a function whose first draw is checked.

    Raises
    ------
    TypeError
        When the sampler is made, if a function does not give a function that draws whole numbers.
    ValueError
        When the sampler is made, if a function draws another shape, or codes of no item; or if it is a function of a
        saved model, of which only the name is known.

    Examples
    --------
    >>> import numpy as np
    >>> from recolib.algorithms import FM
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> def long_tail(info):
    ...     counts = info.item_consumed.counts()[1:]
    ...     rare = 1 + np.argsort(counts, kind="stable")[: len(counts) // 2]
    ...     return lambda users, positives, uniform: rare[(uniform * len(rare)).astype(int)]
    >>> model = FM("ranking", info, sampler=long_tail, n_epochs=1)
    >>> len(model.fit(data, neg_sampling=True, verbose=0).history_)
    1
    """
    if isinstance(sampler, str):
        return SAMPLERS[sampler]
    if isinstance(sampler, SavedFunction):
        sampler()

    def checked(info: DataInfo) -> NegativeSampler:
        draw = sampler(info)
        _check_draw(draw, info, f"sampler={function_name(sampler)}")
        return draw

    return checked


def check_num_neg(num_neg: int, info: DataInfo) -> None:
    """Raise unless the data has as many other items for each positive."""
    n_others = len(info.trained_items) - 1
    if num_neg > n_others > 0:
        raise ValueError(
            f"num_neg must be at most {n_others}, the number of items with interactions beside a positive one, got "
            f"{num_neg}"
        )


def _check_draw(draw: object, info: DataInfo, name: str) -> None:
    """Draw three negatives for each of two rows."""
    if not callable(draw):
        raise TypeError(f"{name} must give a function of users, positives and uniform numbers, and gave {draw!r}")
    users, positives = np.ones(2, np.int32), info.trained_items[[0, -1]]
    uniform = np.array([[0.1, 0.5, 0.9], [0.2, 0.6, 0.999]])
    drawn: object = draw(users, positives, uniform)
    if not isinstance(drawn, np.ndarray) or not np.issubdtype(drawn.dtype, np.integer):
        raise TypeError(f"{name} must draw an array of item codes, and drew {drawn!r}")
    if drawn.shape != uniform.shape:
        raise ValueError(f"{name} must draw as many codes as there are uniform numbers, (n, N), and drew {drawn.shape}")
    if drawn.min() < 1 or drawn.max() > info.n_items:
        raise ValueError(f"{name} must draw codes from 1 to {info.n_items}, and drew {drawn.min()} to {drawn.max()}")


def _ranks(items: Codes, codes: Codes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The position of each code among the trained items, and whether it is one."""
    rank = np.searchsorted(items, codes)
    return rank, items[np.minimum(rank, len(items) - 1)] == codes


def _integers(uniform: Uniforms, below: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.minimum((uniform * below).astype(np.int64), below - 1)


def _refuse_single(items: Codes) -> None:
    if len(items) < 2:
        raise ValueError("the data has a single item: there is no other to draw as a negative")
