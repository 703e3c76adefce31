"""From a table of interactions to recommendations: the first thing to run. Needs no download."""

from recolib.algorithms import DeepFM
from recolib.data import DatasetFeat, split_by_ratio_chrono
from recolib.datasets import make_movies
from recolib.evaluation import evaluate

# user, item, label and time, and what is known of users and movies
frame = make_movies(n_users=1000, n_items=500, n_ratings=50_000)
print(frame.head(3).to_string(index=False), "\n")

train, test = split_by_ratio_chrono(frame, test_size=0.2)
train_data, data_info = DatasetFeat.build_trainset(
    train,
    user_col=["sex", "age", "occupation"],
    item_col=["genre1", "genre2", "genre3", "year"],
    sparse_col=["sex", "occupation"],
    dense_col=["age", "year"],
    multi_sparse_col=[["genre1", "genre2", "genre3"]],
)
print(data_info, "\n")

model = DeepFM(task="ranking", data_info=data_info, n_epochs=5, hidden_units=(64, 32))
model.fit(train_data, neg_sampling=True, eval_data=test, metrics=["loss", "roc_auc"])
print("\n", model.history_[["epoch", "train_loss", "eval_loss", "eval_roc_auc"]].round(4).to_string(index=False), "\n")

user, movie = frame["user"].iloc[0], frame["item"].iloc[0]
print(f"user {user} would watch movie {movie}: {model.predict(user, movie):.3f}")
print(f"the best 7 movies for user {user}:", model.recommend_user(user, n_rec=7)[user].tolist())
print("someone new, the average:", model.recommend_user("nobody", n_rec=7)["nobody"].tolist())
of_features = model.recommend_user("nobody", n_rec=7, user_feats={"sex": "F", "age": 18})
print("someone new, a young woman:", of_features["nobody"].tolist())
print("test:", evaluate(model, test, neg_sampling=True, metrics=["roc_auc", "roc_gauc"]))
