"""A list for one user over few items or a million, from a saved model with the tutorial's columns and layers."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch

from benchmarks.generated import tutorial_frame
from benchmarks.measures import median_seconds, peak_mib
from benchmarks.protocol import Record, answer
from recolib.algorithms import DeepFM
from recolib.data import DatasetFeat

N_CALLS = 20
N_PRODUCTS = 200


def flops_an_item(hidden_units: list[int]) -> int:
    """What the layers behind the first cost an item: of the first, each side's share is kept."""
    return sum(2 * width * following for width, following in pairwise([*hidden_units, 1]))


def flops_per_second() -> float:
    """How fast this process multiplies matrices of the size of the second layer's."""
    left, right = torch.randn(4096, 128), torch.randn(128, 64)
    product = left @ right
    spent = median_seconds(lambda _: torch.mm(left, right, out=product), range(N_PRODUCTS))
    return 2 * left.numel() * right.shape[1] / spent


def make(request: Record) -> Iterator[Record]:
    """Train a step, and save the model."""
    data, info = DatasetFeat.build_trainset(tutorial_frame(request["items"]), **request["columns"])
    few = data.take(np.arange(request["settings"]["batch_size"]))
    model = DeepFM("ranking", info, **request["settings"] | {"n_epochs": 1}).fit(few, neg_sampling=True, verbose=0)
    yield {"file": str(model.save(request["folder"], str(request["items"]), inference_only=True))}


def work(request: Record) -> Iterator[Record]:
    """What a call takes, against what its products must take, and the process's peak."""
    torch.set_num_threads(request["threads"])
    if request.get("make"):
        yield from make(request)
        return
    model = DeepFM.load(request["folder"], str(request["items"]))
    users = [int(model.data_info.id2user[code]) for code in range(1, N_CALLS + 2)]
    rate = statistics.median(flops_per_second() for _ in range(3))
    model.recommend_user(users[-1], n_rec=10)  # keeps the items' states
    call_ms = 1e3 * median_seconds(lambda user: model.recommend_user(user, n_rec=10), users[:-1])
    floor_ms = 1e3 * request["items"] * flops_an_item(request["settings"]["hidden_units"]) / rate
    yield {"call_ms": call_ms, "floor_ms": floor_ms, "times_floor": call_ms / floor_ms, "gflops": rate / 1e9}
    yield {"peak_mib": peak_mib()}


if __name__ == "__main__":
    answer(work, "recolib", "torch", "numpy", "pandas")
