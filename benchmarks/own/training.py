"""recolib's DeepFM on MovieLens 1M, users and movies alone."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.protocol import Record, answer
from recolib.algorithms import DeepFM
from recolib.data import DatasetPure


def work(request: Record) -> Iterator[Record]:
    """The speed of each epoch, and the test AUC after the last."""
    torch.set_num_threads(request["threads"])
    frame = pd.read_csv(request["ratings"])[["user", "item", "label"]]
    n_train, n_valid, _ = request["sizes"]
    train, test = frame[:n_train], frame[n_train + n_valid :]
    data, info = DatasetPure.build_trainset(train)
    settings = request["settings"]
    model = DeepFM("ranking", info, n_epochs=request["epochs"], seed=request["seed"], **settings)
    model.fit(data, neg_sampling=False, verbose=0)
    for epoch, spent in model.history_[["epoch", "seconds"]].itertuples(index=False):
        yield {"epoch": epoch, "seconds": spent, "rows_per_s": n_train / spent}
    yield {"auc": roc_auc_score(test["label"], model.predict(test["user"], test["item"]))}


if __name__ == "__main__":
    answer(work, "recolib", "torch", "numpy", "pandas")
