"""A model's life: trained once, then taught what happened since, from file to file, with new users and new movies."""

import tempfile

import numpy as np

import recolib
from recolib.algorithms import FM
from recolib.data import DatasetFeat
from recolib.datasets import make_movies
from recolib.evaluation import evaluate

frame = make_movies(n_users=1000, n_items=300, n_ratings=30_000).sort_values("time", ignore_index=True)
late = (frame["item"] % 5 == 0) & (frame.index < 1000 * (frame["item"] % 25))  # some movies come out as time goes by
frame = frame[~late]
start, *months = np.array_split(np.arange(len(frame)), [15_000, 18_000, 21_000, 24_000])
columns = {"user_col": ["sex", "age"], "item_col": ["genre1"], "sparse_col": ["sex", "genre1"], "dense_col": ["age"]}

train_data, data_info = DatasetFeat.build_trainset(frame.iloc[start], **columns)
folder = tempfile.mkdtemp()
model = FM("ranking", data_info, n_epochs=5, lr=0.01)
model.fit(train_data, neg_sampling=True, verbose=0)
file = model.save(folder, "movies")
untouched = recolib.load(file)

for month, rows in enumerate(months, start=1):
    events = frame.iloc[rows]
    model = recolib.load(file)  # another process, another day: optimiser and all that was learnt are in the file
    kept, old = (evaluate(one, events, neg_sampling=True, metrics="roc_auc")["roc_auc"] for one in (model, untouched))
    n_users, n_items = model.n_users, model.n_items
    model.n_epochs = 2  # of the new events alone
    model.update(events, neg_sampling=True, verbose=0)
    n_users, n_items = model.n_users - n_users, model.n_items - n_items
    print(f"month {month}: {n_users} new users, {n_items} new movies; its AUC {kept:.3f}, never retrained {old:.3f}")
    file = model.save(folder, "movies")  # the old file is whole until the new one is

print(len(model.history_), "epochs;", model.data_info)
