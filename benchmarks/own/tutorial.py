"""recolib's DeepFM on LibRecommender's tutorial, scored after each epoch."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import torch

from benchmarks.protocol import Record, answer
from recolib.algorithms import DeepFM
from recolib.data import DatasetFeat
from recolib.evaluation import evaluate


def work(request: Record) -> Iterator[Record]:
    """The speed of each epoch, drawing of negatives included, and how well the pairs are scored after it."""
    torch.set_num_threads(request["threads"])
    data, info = DatasetFeat.build_trainset(pd.read_csv(request["train"]), **request["columns"])
    pairs = pd.read_csv(request["pairs"])
    settings = request["settings"] | request["changes"]
    model = DeepFM("ranking", info, **settings | {"n_epochs": 1, "seed": request["seed"]})
    for _ in range(settings["n_epochs"]):
        model.fit(data, neg_sampling=True, verbose=0)
        last = model.history_.iloc[-1]
        scored = evaluate(model, pairs, neg_sampling=False, metrics=["log_loss", "roc_auc"])
        rows_per_s = 2 * len(data) / last["seconds"]
        yield {"epoch": int(last["epoch"]), "seconds": last["seconds"], "rows_per_s": rows_per_s, **scored}


if __name__ == "__main__":
    answer(work, "recolib", "torch", "numpy", "pandas")
