"""recolib's training against the whole catalogue, on generated positives."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from benchmarks.generated import users_frame
from benchmarks.measures import peak_mib
from benchmarks.protocol import Record, answer
from recolib import algorithms
from recolib.data import DatasetPure


def work(request: Record) -> Iterator[Record]:
    """Million pairs a second of each epoch but the first; over all epochs, of the processor's time."""
    torch.set_num_threads(request["threads"])
    frame = users_frame(request["rows"], request["users"], request["items"]).drop_duplicates(["user", "item"])
    data, info = DatasetPure.build_trainset(frame.assign(label=1))
    pairs = info.n_users * info.n_items / 1e6
    settings = request["common"] | request["settings"] | {"n_epochs": 1 + request["epochs"]}
    model = getattr(algorithms, request["algorithm"])("ranking", info, **settings)
    start = time.process_time()
    model.fit(data, neg_sampling=True, verbose=0)
    yield {"pairs_per_cpu_s": pairs * settings["n_epochs"] / (time.process_time() - start)}
    for epoch, spent in model.history_[["epoch", "seconds"]].iloc[1:].itertuples(index=False):
        yield {"epoch": epoch, "pairs_per_s": pairs / spent}
    yield {"peak_mib": peak_mib()}


if __name__ == "__main__":
    answer(work, "recolib", "torch", "numpy", "pandas")
