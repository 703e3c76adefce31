"""Ratings: how many stars would a user give? Users and movies come with frames of their own."""

from recolib.algorithms import FM
from recolib.data import DatasetFeat, random_split
from recolib.datasets import make_movies
from recolib.evaluation import evaluate

frame = make_movies(n_users=1000, n_items=500, n_ratings=50_000)
users = frame[["user", "sex", "age"]].drop_duplicates("user")
movies = frame[["item", "genre1", "genre2", "genre3"]].drop_duplicates("item")
train, test = random_split(frame[["user", "item", "label"]], test_size=0.2)

train_data, data_info = DatasetFeat.build_trainset(
    train,
    user_col=["sex", "age"],
    item_col=["genre1", "genre2", "genre3"],
    sparse_col=["sex", "age"],  # seven brackets: categories rather than a number
    multi_sparse_col=[["genre1", "genre2", "genre3"]],
    user_features=users,
    item_features=movies,
)

model = FM("rating", data_info, n_epochs=3, lr=0.005, use_bn=False, embed_dropout=0.2)
model.fit(train_data, neg_sampling=False, verbose=0, eval_data=test, metrics=["rmse", "mae"])
print(model.history_[["epoch", "train_loss", "eval_rmse", "eval_mae"]].round(3).to_string(index=False))

print("test:", evaluate(model, test, neg_sampling=False, metrics=["rmse", "mae", "r2"]))
print("five pairs:", model.predict(test["user"].head(), test["item"].head()).round(2))
