"""A training step of recolib's DeepFM, with few users or millions, the same rows a step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.generated import SEED, users_frame
from benchmarks.measures import peak_mib
from benchmarks.protocol import Record, answer
from recolib.algorithms import DeepFM
from recolib.data import DatasetPure


def work(request: Record) -> Iterator[Record]:
    """What a step takes, a mean over each epoch, after one epoch to warm up."""
    torch.set_num_threads(request["threads"])
    whole, info = DatasetPure.build_trainset(users_frame(request["known_rows"], request["users"], request["items"]))
    data = whole.take(np.random.default_rng(SEED).permutation(len(whole))[: request["rows"]])
    settings = request["settings"]
    n_steps = -(-len(data) // settings["batch_size"])
    model = DeepFM("ranking", info, n_epochs=1 + request["epochs"], **settings)
    model.fit(data, neg_sampling=False, verbose=0)
    for epoch, spent in model.history_[["epoch", "seconds"]].iloc[1:].itertuples(index=False):
        yield {"epoch": epoch, "step_ms": 1e3 * spent / n_steps}
    yield {"peak_mib": peak_mib()}


if __name__ == "__main__":
    answer(work, "recolib", "torch", "numpy", "pandas")
