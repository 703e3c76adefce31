from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from recolib.data.split import split_by_ratio_chrono
from recolib.datasets import make_movies
from recolib.datasets.movies import GENRES

COLUMNS = ["user", "item", "label", "time", "sex", "age", "occupation", "genre1", "genre2", "genre3", "year"]
USER_COLUMNS, ITEM_COLUMNS = COLUMNS[4:7], COLUMNS[7:]


@pytest.fixture(scope="module")
def data():
    return make_movies()


def genre_flags(data):
    names = data[["genre1", "genre2", "genre3"]].to_numpy()
    return np.stack([(names == genre).any(1) for genre in GENRES], 1).astype(float)


def taste_features(data):
    """The genres, once for each sex and each age: what a factorization machine would find by itself."""
    groups = pd.get_dummies(data[["sex", "age"]].astype(str)).to_numpy(float)
    genres = genre_flags(data)
    pairs = (groups[:, :, None] * genres[:, None, :]).reshape(len(data), -1)
    return np.column_stack([pairs, groups, genres, (data["year"] - 1985) / 15])


def test_frame_has_the_columns_of_movielens(data):
    assert data.shape == (50_000, 11)
    assert data.columns.tolist() == COLUMNS
    assert data.notna().all(axis=None)
    assert (data[["user", "item", "label", "time", "age", "year"]].dtypes == np.int64).all()
    assert data.index.equals(pd.RangeIndex(50_000))


def test_values_stay_in_their_ranges(data):
    assert set(data["label"]) == {1, 2, 3, 4, 5}
    assert set(data["sex"]) == {"F", "M"}
    assert set(data["age"]) == {1, 18, 25, 35, 45, 50, 56}
    assert data["year"].between(1930, 2000).all()
    assert set(data["genre1"]) <= set(GENRES)
    assert set(data["genre2"]) | set(data["genre3"]) <= {*GENRES, "missing"}
    assert all(name == name.lower() for name in GENRES)


def test_mean_rating_is_about_three_and_a_half(data):
    assert data["label"].mean() == pytest.approx(3.5, abs=0.1)
    assert 0.9 < data["label"].std() < 1.3


def test_ids_start_above_zero_and_have_gaps(data):
    for name in ("user", "item"):
        assert data[name].min() >= 1
        assert data[name].max() > data[name].nunique()


def test_features_belong_to_their_user_or_item(data):
    assert len(data[["user", *USER_COLUMNS]].drop_duplicates()) == data["user"].nunique() == 1000
    assert len(data[["item", *ITEM_COLUMNS]].drop_duplicates()) == data["item"].nunique()


def test_genres_of_a_movie_are_distinct_and_padded_at_the_end(data):
    one, two, three = (data[name] for name in ("genre1", "genre2", "genre3"))
    assert ((one != two) & (one != three)).all()
    assert ((two != three) | (two == "missing")).all()
    assert (three[two == "missing"] == "missing").all()


def test_most_movies_are_recent(data):
    years = data.drop_duplicates("item")["year"]
    assert years.median() > 1985
    assert years.min() < 1960


@pytest.mark.parametrize("sizes", [(1000, 500, 50_000), (300, 20, 3000), (50, 2000, 10_000), (2000, 3000, 20_000)])
def test_pairs_are_distinct(sizes):
    data = make_movies(*sizes)
    assert len(data) == sizes[2]
    assert not data.duplicated(["user", "item"]).any()


def test_every_user_gives_ten_ratings_where_they_suffice(data):
    assert data["user"].value_counts().min() >= 10
    few = make_movies(100, 200, 600)["user"].value_counts()
    assert len(few) == 100
    assert few.min() >= 3


def test_activity_and_popularity_have_long_tails(data):
    for name, share in (("user", 0.3), ("item", 0.3)):
        counts = data[name].value_counts().to_numpy()
        assert counts[: len(counts) // 10].sum() > share * len(data)
        assert counts.max() > 4 * np.median(counts)


def test_nobody_has_seen_nearly_all_movies(data):
    assert data["user"].value_counts().max() <= 0.8 * 500


def test_good_movies_are_seen_somewhat_more(data):
    movies = data.groupby("item")["label"].agg(["size", "mean"])
    assert 0.1 < movies["size"].corr(movies["mean"], method="spearman") < 0.8


def test_time_grows_with_each_rating_of_a_user_over_three_years(data):
    assert data["time"].is_monotonic_increasing
    assert (data.groupby("user")["time"].diff().dropna() > 0).all()
    days = (data["time"].max() - data["time"].min()) / 86_400
    assert 1000 < days < 1096


def test_ratings_come_in_sessions(data):
    gaps = data.groupby("user")["time"].diff().dropna()
    assert 0.8 < (gaps < 180).mean() < 0.95
    assert (gaps > 86_400).mean() > 0.03


def test_features_predict_held_out_ratings_better_than_the_mean(data):
    features, labels = taste_features(data), data["label"].to_numpy()
    new_user = data["user"].to_numpy() % 5 == 0
    model = Ridge(10.0).fit(features[~new_user], labels[~new_user])
    error = ((model.predict(features[new_user]) - labels[new_user]) ** 2).mean()
    assert error < 0.9 * labels[new_user].var()


def test_pairs_of_features_tell_more_of_ratings_than_features_alone(data):
    features, labels = taste_features(data), data["label"].to_numpy()
    n_pairs = 9 * len(GENRES)
    held_out = np.random.default_rng(0).random(len(data)) < 0.2
    errors = []
    for columns in (features, features[:, n_pairs:]):
        model = Ridge(10.0).fit(columns[~held_out], labels[~held_out])
        errors.append(((model.predict(columns[held_out]) - labels[held_out]) ** 2).mean())
    assert errors[0] < 0.97 * errors[1]


def test_ids_tell_of_ratings_what_features_do_not(data):
    features, labels = taste_features(data), data["label"].to_numpy()
    held_out = np.random.default_rng(0).random(len(data)) < 0.2
    guess = Ridge(10.0).fit(features[~held_out], labels[~held_out]).predict(features)
    rest = pd.Series(labels - guess)
    errors = [(rest[held_out] ** 2).mean()]
    for name in ("user", "item"):
        rest -= data[name].map(rest[~held_out].groupby(data[name][~held_out]).mean()).fillna(0)
        errors.append((rest[held_out] ** 2).mean())
    assert errors[1] < 0.95 * errors[0]
    assert errors[2] < 0.95 * errors[1]


def test_users_choose_what_suits_them(data):
    """Of movies as popular as those chosen, a new user's features tell which are chosen."""
    rng = np.random.default_rng(0)
    data = data.iloc[rng.permutation(len(data))[:20_000]].reset_index(drop=True)
    other = data[ITEM_COLUMNS].iloc[rng.permutation(len(data))].reset_index(drop=True)
    features = np.concatenate([taste_features(data), taste_features(data[USER_COLUMNS].join(other))])
    chosen = np.arange(len(features)) < len(data)
    new_user = np.tile(data["user"].to_numpy() % 5 == 0, 2)
    model = LogisticRegression(C=0.1, max_iter=100).fit(features[~new_user], chosen[~new_user])
    assert roc_auc_score(chosen[new_user], model.decision_function(features[new_user])) > 0.6


def test_what_similar_users_chose_ranks_better_than_popularity(data):
    """Nearest neighbours of movies find more of what users chose last than a list of the most popular."""
    train, test = split_by_ratio_chrono(data, test_size=0.2)
    users, items = np.unique(train["user"]), np.unique(train["item"])
    seen, wanted = np.zeros((2, len(users), len(items)))
    seen[np.searchsorted(users, train["user"]), np.searchsorted(items, train["item"])] = 1
    wanted[np.searchsorted(users, test["user"]), np.searchsorted(items, test["item"])] = 1
    popularity = seen.sum(0)
    cosine = seen.T @ seen / np.sqrt(np.outer(popularity, popularity))
    np.fill_diagonal(cosine, 0)
    hits = []
    for scores in (seen @ cosine, np.tile(popularity, (len(users), 1))):
        top = np.argsort(np.where(seen > 0, -np.inf, scores), 1)[:, -10:]
        hits.append(np.take_along_axis(wanted, top, 1).sum())
    assert hits[0] > 1.2 * hits[1]


def test_same_seed_gives_the_same_frame_and_another_seed_another():
    one, two, three = (make_movies(100, 80, 2000, seed=seed) for seed in (7, 7, 8))
    assert one.equals(two)
    assert not one.equals(three)


@settings(deadline=None, max_examples=60)
@given(n_users=st.integers(1, 30), n_items=st.integers(1, 30), share=st.floats(0, 0.5), seed=st.integers(0, 99))
def test_worlds_of_any_size_are_made(n_users, n_items, share, seed):
    n_ratings = max(1, int(n_users * n_items * share))
    if 2 * n_ratings > n_users * n_items:
        return
    data = make_movies(n_users, n_items, n_ratings, seed)
    assert len(data) == n_ratings
    assert not data.duplicated(["user", "item"]).any()
    assert (data.groupby("user")["time"].diff().dropna() > 0).all()
    assert data["user"].value_counts().max() <= -(-4 * n_items // 5)


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ({"n_users": 0}, ValueError, "n_users must be at least 1, got 0"),
        ({"n_items": -3}, ValueError, "n_items must be at least 1, got -3"),
        ({"n_ratings": 0}, ValueError, "n_ratings must be at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        (
            {"n_ratings": 250_001},
            ValueError,
            "n_ratings must be at most half of n_users \\* n_items, 250000, got 250001",
        ),
        ({"n_users": 10.0}, TypeError, "n_users must be an integer, got 10.0"),
        ({"n_items": "9"}, TypeError, "n_items must be an integer, got '9'"),
        ({"n_ratings": True}, TypeError, "n_ratings must be an integer, got True"),
    ],
)
def test_wrong_sizes_are_refused(sizes, error, message):
    with pytest.raises(error, match=message):
        make_movies(**sizes)
