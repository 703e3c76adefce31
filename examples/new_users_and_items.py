"""Cold start: users and movies that training never saw, from features alone and from a few clicks."""

import warnings

import numpy as np

from recolib.algorithms import FM
from recolib.data import DatasetFeat
from recolib.datasets import make_movies
from recolib.exceptions import UnknownIdWarning

warnings.simplefilter("ignore", UnknownIdWarning)  # that users are unknown is the point here
frame = make_movies(n_users=1000, n_items=300, n_ratings=30_000).sort_values("time")
new_users = frame["user"].drop_duplicates().sample(200, random_state=0)
new_movies = frame["item"].drop_duplicates().sample(30, random_state=0)
of_new_user, of_new_movie = frame["user"].isin(new_users), frame["item"].isin(new_movies)
train_data, data_info = DatasetFeat.build_trainset(
    frame[~of_new_user & ~of_new_movie],
    user_col=["sex", "age"],
    item_col=["genre1", "year"],
    sparse_col=["sex", "age", "genre1"],
    dense_col=["year"],
)
# id_dropout hides the ids of some training rows, so that the model learns to speak from features alone
model = FM("ranking", data_info, n_epochs=6, lr=0.01, id_dropout=0.3)
model.fit(train_data, neg_sampling=True, verbose=0)

# what new users watch first, and what they watch later
watched = frame[of_new_user & ~of_new_movie].groupby("user")["item"].agg(list)
first, later = watched.map(lambda items: items[:5]).to_dict(), watched.map(lambda items: items[5:])
feats = frame[of_new_user].drop_duplicates("user")[["user", "sex", "age"]]
users = watched.index.tolist()


def share(lists: dict[int, np.ndarray]) -> str:
    """The share of what is recommended that they watch later."""
    return f"{np.mean([np.isin(items, later[user]).mean() for user, items in lists.items()]):.3f}"


rules = {"n_rec": 10, "user_feats": feats, "exclude": first}
print("popular:                    ", share(model.recommend_user(users, cold_start="popular", **rules)))
# in this small world sex and age say nearly all of taste, so that such charts are hard to beat
segment = {"cold_start": "popular", "segment": ["sex", "age"]}
print("popular among users like me:", share(model.recommend_user(users, **segment, **rules)))
print("features:                   ", share(model.recommend_user(users, cold_start="features", **rules)))
print("features and five movies:   ", share(model.recommend_user(users, cold_start="features", history=first, **rules)))

# new movies become known by their features, and can be recommended at once
movies = frame[of_new_movie].drop_duplicates("item")[["item", "genre1", "year"]]
model.add_items(movies)
lists = model.recommend(n_rec=10, include_cold_items=True)
new = lists[lists["item"].isin(new_movies)]
pairs = set(zip(frame["user"], frame["item"], strict=True))
hit = np.mean([pair in pairs for pair in zip(new["user"], new["item"], strict=True)])
by_chance = of_new_movie.sum() / (frame["user"].nunique() * len(new_movies))
print(f"{len(new)} places in lists hold a new movie: {hit:.0%} of these were watched, by chance {by_chance:.0%}")
