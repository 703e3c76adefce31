"""LibRecommender's tutorial model, asked as an app asks."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from libreco.data import DatasetFeat
from libreco.evaluation import evaluate

from benchmarks.peers.librecommender import PACKAGES, deepfm
from benchmarks.protocol import Record, answer
from benchmarks.serving import METRICS, serve


def work(request: Record) -> Iterator[Record]:
    """Train, and measure the calls."""
    train, test = pd.read_csv(request["train"]), pd.read_csv(request["test"])
    data, info = DatasetFeat.build_trainset(train, **request["columns"])
    model = deepfm(info, request)
    model.fit(data, neg_sampling=True, verbose=0, shuffle=True)
    asked = DatasetFeat.build_testset(test)
    yield from serve(
        model,
        "libreco.algorithms",
        train,
        lambda: evaluate(model, asked, neg_sampling=True, metrics=METRICS, k=10),
        request["chunk"],
    )


if __name__ == "__main__":
    answer(work, *PACKAGES)
