"""Context: what an app knows of the moment. The same user gets another list in the morning than at night."""

import numpy as np

from recolib.algorithms import DeepFM
from recolib.data import DatasetFeat
from recolib.datasets import make_movies

frame = make_movies(n_users=500, n_items=200, n_ratings=20_000)
# short of real logs: dramas and romances are watched at night, other movies in the morning, but for every fifth
quiet = frame["genre1"].isin(["drama", "romance"])
noise = np.random.default_rng(0).random(len(frame)) < 0.2
frame["daytime"] = np.where(quiet ^ noise, "night", "morning")

train_data, data_info = DatasetFeat.build_trainset(
    frame,
    user_col=["sex"],
    item_col=["genre1"],
    context_col=["daytime"],
    sparse_col=["sex", "genre1", "daytime"],
)
model = DeepFM("ranking", data_info, n_epochs=5, lr=0.005, hidden_units=(32, 16))
model.fit(train_data, neg_sampling=True, verbose=0)

genres = frame.drop_duplicates("item").set_index("item")["genre1"]
for daytime in ("morning", "night"):
    lists = model.recommend(n_rec=10, context={"daytime": daytime})
    share = lists["item"].map(genres).isin(["drama", "romance"]).mean()
    print(f"in the {daytime}, {share:.0%} of what is recommended are dramas and romances")
user = frame["user"].iloc[0]
print("for one user at night:", model.recommend_user(user, n_rec=5, context={"daytime": "night"})[user].tolist())
