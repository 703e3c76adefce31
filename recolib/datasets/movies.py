"""Generated ratings of movies, for a first run without a network and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.checks import check_integer

Ints = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

SEXES = ["F", "M"]
AGES = np.array([1, 18, 25, 35, 45, 50, 56])
"""The first year of each bracket, as MovieLens 1M writes them."""
AGE_SHARES = np.array([0.04, 0.18, 0.35, 0.20, 0.09, 0.08, 0.06])
OCCUPATIONS = ["artist", "clerk", "engineer", "manager", "retired", "student", "teacher", "writer"]
GENRES = [
    *("action", "adventure", "animation", "children", "comedy", "crime", "documentary", "drama", "fantasy"),
    *("film-noir", "horror", "musical", "mystery", "romance", "sci-fi", "thriller", "war", "western"),
]
GENRE_SHARES = np.array([13, 7, 3, 6, 31, 5, 3, 41, 2, 1, 9, 3, 3, 12, 7, 13, 4, 2]) / 165
MISSING = "missing"

FIRST_SECOND = 978_307_200  # 2001-01-01, when every movie is out
SPAN_S = 3 * 365 * 86_400
PAIRS_AT_ONCE = 1 << 14  # fits the cache
DRAWS_AT_ONCE = 1 << 22
URN_HEAD = 10_000  # how often the most popular movie is in the urn


def make_movies(n_users: int = 1000, n_items: int = 500, n_ratings: int = 50_000, seed: int = 42) -> pd.DataFrame:
    """Generated ratings in the style of MovieLens, which depend on the features.

    A rating is a sum: the user's bias, the movie's quality, the fit of its genres and year to the user's sex, age and
    own taste, a product of latent factors, and noise. Users choose movies that suit them and movies that are popular.
    Popularity and activity have long tails. So ratings can be learned from features and from ids, and rankings from
    the choices.

    Parameters
    ----------
    n_users
        How many users there are. Each gives at least ten ratings, or half the mean number if that is less.
    n_items
        How many movies there are. A movie without a rating does not appear.
    n_ratings
        How many rows to make, at most half of ``n_users * n_items``.
    seed
        Seed of everything drawn: the same numbers give the same frame.

    Returns
    -------
    pandas.DataFrame
        One row for each distinct pair, sorted by time: ``user`` and ``item`` (integers with gaps), ``label`` (1 to
        5, mean about 3.5), ``time`` (in seconds since 1970, distinct for a user, over three years); of users
        ``sex``, ``age`` (the first year of a bracket) and ``occupation``; of movies ``genre1``, ``genre2``,
        ``genre3`` (``"missing"`` where a movie has fewer) and ``year``.

    Raises
    ------
    ValueError
        If a number is below 1 (``seed``: 0), or ``n_ratings`` is more than half of all pairs.
    TypeError
        If a number is no integer.

    Examples
    --------
    >>> data = make_movies(n_users=50, n_items=40, n_ratings=600)
    >>> data.shape
    (600, 11)
    >>> data.columns.tolist()[:4]
    ['user', 'item', 'label', 'time']
    """
    for name, value in (("n_users", n_users), ("n_items", n_items), ("n_ratings", n_ratings)):
        check_integer(name, value, 1)
    check_integer("seed", seed, 0)
    if 2 * n_ratings > n_users * n_items:
        raise ValueError(
            f"n_ratings must be at most half of n_users * n_items, {n_users * n_items // 2}, got {n_ratings}"
        )
    rng = np.random.default_rng(seed)
    world = _World.draw(rng, n_users, n_items)
    counts = _activity(rng, n_users, n_items, n_ratings)
    users, items = _choose(rng, world, counts)
    labels = _rate(rng, world, users, items)
    times = _times(rng, counts)
    by_time = np.argsort(times, kind="stable")
    users, items = users[by_time], items[by_time]
    names = [*GENRES, MISSING]
    return pd.DataFrame(
        {
            "user": world.user_ids[users],
            "item": world.item_ids[items],
            "label": labels[by_time],
            "time": times[by_time],
            "sex": _text(SEXES, world.sexes[users]),
            "age": AGES[world.ages[users]],
            "occupation": _text(OCCUPATIONS, world.occupations[users]),
            "genre1": _text(names, world.genres[items, 0]),
            "genre2": _text(names, world.genres[items, 1]),
            "genre3": _text(names, world.genres[items, 2]),
            "year": world.years[items],
        }
    )


def _text(names: Sequence[str], codes: Ints) -> Any:
    return pd.Series(names).array.take(codes)


@dataclass(frozen=True)
class _World:
    """Users, movies and what the frame does not show: tastes and qualities.

    The taste of user u for movie i is ``tastes[u] @ traits[i]``, of variance about 1/2.
    """

    user_ids: Ints
    sexes: Ints
    ages: Ints
    occupations: Ints
    kindness: Floats
    tastes: Floats
    item_ids: Ints
    genres: Ints
    """Codes of GENRES, three for each movie, ``len(GENRES)`` where there is none."""
    years: Ints
    quality: Floats
    traits: Floats
    popularity: Ints
    """How often each movie is in the urn."""
    urn: Ints
    """Movies to draw from."""

    @classmethod
    def draw(cls, rng: np.random.Generator, n_users: int, n_items: int, n_factors: int = 4) -> _World:
        sexes = (rng.random(n_users) < 0.6).astype(np.int64)
        ages = rng.choice(len(AGES), n_users, p=AGE_SHARES)
        occupations = _occupations(rng, ages)
        genres, has_genre = _genres(rng, n_items)
        years = 2000 - np.floor(71 * rng.beta(0.9, 4.0, n_items)).astype(np.int64)

        # affinities of a group for a genre; a movie's genres share its trait, so that it has length 1
        of_sex = rng.normal(0, 0.45, (len(SEXES), len(GENRES)))
        of_age = rng.normal(0, 0.45, (len(AGES), len(GENRES)))
        of_user = rng.normal(0, 0.25, (n_users, len(GENRES)))
        genre_tastes = of_sex[sexes] + of_age[ages] + of_user
        genre_traits = has_genre / np.sqrt(has_genre.sum(1, keepdims=True))
        year_tastes = -0.2 * (ages - ages.mean()) + rng.normal(0, 0.2, n_users)  # the old like the old
        year_traits = (years - 1985) / 15
        factors = rng.normal(0, 0.4 / np.sqrt(n_factors), (n_users, n_factors))
        loadings = rng.normal(0, 1, (n_items, n_factors))

        quality = rng.normal(0, 0.4, n_items) + has_genre @ rng.normal(0, 0.2, len(GENRES)) - 0.1 * year_traits
        fame = np.argsort(np.argsort(-quality - rng.normal(0, 1, n_items)))  # rank 0 is the most famous
        popularity = np.ceil(URN_HEAD / (1 + fame / 10)).astype(np.int64)  # Zipf's law, as Mandelbrot bends its head
        return cls(
            user_ids=np.cumsum(rng.integers(1, 4, n_users)),
            sexes=sexes,
            ages=ages,
            occupations=occupations,
            kindness=rng.normal(0, 0.35, n_users),
            tastes=np.column_stack([genre_tastes, year_tastes, factors]).astype(np.float32),
            item_ids=np.cumsum(rng.integers(1, 4, n_items)),
            genres=genres,
            years=years,
            quality=quality,
            traits=np.column_stack([genre_traits, year_traits, loadings]).astype(np.float32),
            popularity=popularity,
            urn=np.repeat(np.arange(n_items), popularity),
        )

    def taste(self, users: Ints, items: Ints) -> Floats:
        """How well each movie suits its user beyond its quality, one number for each pair."""
        result = np.empty(len(users), np.float32)
        for start in range(0, len(users), PAIRS_AT_ONCE):
            stop = start + PAIRS_AT_ONCE
            tastes, traits = self.tastes[users[start:stop]], self.traits[items[start:stop]]
            result[start:stop] = np.einsum("ij,ij->i", tastes, traits)
        return result


def _occupations(rng: np.random.Generator, ages: Ints) -> Ints:
    """Codes of OCCUPATIONS: mostly students among the young and retired among the old."""
    weights = np.ones((len(AGES), len(OCCUPATIONS)))
    weights[:, OCCUPATIONS.index("student")] = [40, 14, 1.5, 0.3, 0.1, 0.1, 0.1]
    weights[:, OCCUPATIONS.index("retired")] = [0, 0, 0, 0.05, 0.2, 0.8, 9]
    thresholds = np.cumsum(weights / weights.sum(1, keepdims=True), 1)
    return (rng.random(len(ages))[:, None] > thresholds[ages, :-1]).sum(1)


def _genres(rng: np.random.Generator, n_items: int) -> tuple[Ints, NDArray[np.bool_]]:
    """One to three distinct genres of each movie, as codes (M, 3) in order of the alphabet, and as flags (M, G)."""
    arrivals = rng.exponential(1 / GENRE_SHARES, (n_items, len(GENRES)))
    genres = np.argsort(arrivals, 1)[:, :3]
    n_genres = rng.choice([1, 2, 3], n_items, p=[0.5, 0.35, 0.15])
    genres[np.arange(3) >= n_genres[:, None]] = len(GENRES)
    genres.sort(1)
    return genres, (genres[:, :, None] == np.arange(len(GENRES))).any(1)


def _activity(rng: np.random.Generator, n_users: int, n_items: int, n_ratings: int) -> Ints:
    """How many ratings each user gives, lognormal above a floor and up to four fifths of all movies."""
    most = -(-4 * n_items // 5)
    least = min(10, n_ratings // (2 * n_users), most)
    weights = rng.lognormal(0, 1, n_users)
    full = np.zeros(n_users, bool)
    while True:  # the others share what the most active cannot give
        rest = n_ratings - n_users * least - (most - least) * full.sum()
        shares = np.where(full, most - least, rest * weights / weights[~full].sum())
        over = shares > most - least
        if not over.any():
            break
        full |= over
    counts = least + np.floor(shares).astype(np.int64)
    missing = n_ratings - counts.sum()
    counts[np.argsort(np.floor(shares) - shares, kind="stable")[:missing]] += 1  # largest remainders first
    return counts


def _choose(rng: np.random.Generator, world: _World, counts: Ints) -> tuple[Ints, Ints]:
    """Distinct pairs, sorted by user, each user's movies in random order.

    Movies are offered by their popularity. A user takes one with a probability that grows with taste, never twice,
    and stops when they have enough. Users who take a large part of the catalogue would be offered the same movies many
    times. For them, and for users who did not get enough, each movie's time of arrival is drawn instead, which gives
    the same distribution at the cost of one number for each movie.
    """
    n_items = len(world.popularity)
    chosen: list[tuple[Ints, Ints]] = []
    waiting = np.flatnonzero(counts)
    for n_offers in (8, 32):  # for each movie taken
        n_draws = n_offers * counts + 20
        cheap = waiting[n_draws[waiting] < n_items]
        chosen += [_by_encounter(rng, world, users, n_draws, counts) for users in _blocks(cheap, n_draws[cheap])]
        waiting = np.setdiff1d(waiting, np.concatenate([users for users, _ in chosen]))
    chosen += [_by_arrival(rng, world, users, counts) for users in _blocks(waiting, np.full(len(waiting), n_items))]
    users, items = np.concatenate([users for users, _ in chosen]), np.concatenate([items for _, items in chosen])
    order = np.lexsort((rng.random(len(users)), users))
    return users[order], items[order]


def _blocks(users: Ints, n_draws: Ints) -> list[Ints]:
    """Users in blocks whose draws fit in memory."""
    return np.array_split(users, 1 + int(n_draws.sum()) // DRAWS_AT_ONCE)


def _by_encounter(
    rng: np.random.Generator, world: _World, users: Ints, n_draws: Ints, counts: Ints
) -> tuple[Ints, Ints]:
    """The choices of those users who are offered enough movies, sorted by user."""
    n_items = len(world.popularity)
    users = np.repeat(users, n_draws[users])
    items = world.urn[rng.integers(0, len(world.urn), len(users))]
    taken = rng.random(len(users)) < _appeal(world.taste(users, items))
    keys = users[taken] * n_items + items[taken]
    _, first = np.unique(keys, return_index=True)
    keys = keys[np.sort(first)]
    users, items = keys // n_items, keys % n_items
    found = np.bincount(users, minlength=len(counts))
    rank = np.arange(len(users)) - np.repeat(np.cumsum(found) - found, found)
    keep = (rank < counts[users]) & (found >= counts)[users]
    return users[keep], items[keep]


def _by_arrival(rng: np.random.Generator, world: _World, users: Ints, counts: Ints) -> tuple[Ints, Ints]:
    rates = world.popularity * _appeal(world.tastes[users] @ world.traits.T)
    order = np.argsort(rng.exponential(1, rates.shape) / rates, 1)
    early = np.arange(rates.shape[1]) < counts[users, None]
    return np.repeat(users, counts[users]), order[early]


def _appeal(taste: Floats) -> Floats:
    """The probability that a user takes a movie that is offered."""
    return 1 / (1 + np.exp(-4 * (taste - 1)))


def _rate(rng: np.random.Generator, world: _World, users: Ints, items: Ints) -> Ints:
    liking = world.kindness[users] + world.quality[items] + world.taste(users, items)
    noisy = liking - liking.mean() + rng.normal(0, 0.7, len(users))
    return np.clip(np.rint(3.55 + noisy), 1, 5).astype(np.int64)


def _times(rng: np.random.Generator, counts: Ints) -> Ints:
    """Seconds since 1970 of each user's ratings in turn: sessions at random moments, about a dozen ratings each."""
    n = int(counts.sum())
    users = np.repeat(np.arange(len(counts)), counts)
    first = np.r_[True, users[1:] != users[:-1]]
    session = np.cumsum(first | (rng.random(n) < 1 / 12)) - 1
    clock = np.cumsum(rng.integers(10, 180, n))
    busy = clock - np.repeat(clock[first], counts[counts > 0])  # seconds spent rating so far, of this user
    length = np.zeros(len(counts), np.int64)
    length[users] = busy  # the last one stays
    owner = users[np.r_[True, session[1:] != session[:-1]]]
    starts = rng.random(len(owner)) * np.maximum(SPAN_S - length[owner], 1)
    starts = starts[np.lexsort((starts, owner))]
    return FIRST_SECOND + starts[session].astype(np.int64) + busy
