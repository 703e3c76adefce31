"""recolib's tutorial model, asked as an app asks."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import torch

from benchmarks.protocol import Record, answer
from benchmarks.serving import METRICS, serve
from recolib.algorithms import DeepFM
from recolib.data import DatasetFeat
from recolib.evaluation import evaluate


def work(request: Record) -> Iterator[Record]:
    """Train, and measure the calls."""
    torch.set_num_threads(request["threads"])
    train, test = pd.read_csv(request["train"]), pd.read_csv(request["test"])
    data, info = DatasetFeat.build_trainset(train, **request["columns"])
    settings = request["settings"] | request["changes"]
    model = DeepFM("ranking", info, **settings, seed=request["seed"]).fit(data, neg_sampling=True, verbose=0)
    asked = DatasetFeat.build_testset(test)
    yield from serve(
        model,
        "recolib.algorithms",
        train,
        lambda: evaluate(model, asked, neg_sampling=True, metrics=METRICS, k=10),
        request["chunk"],
    )


if __name__ == "__main__":
    answer(work, "recolib", "torch", "numpy", "pandas")
