"""What comes next, by recolib's algorithms."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.measures import peak_mib
from benchmarks.protocol import Record, answer
from recolib import algorithms
from recolib.data import DatasetPure
from recolib.recommender import Recommender

K = 10


class EndOfTrainingError(Exception):
    """Ends ``fit``, which keeps the epochs that were made."""


def lists(model: Recommender, n_users: int, history: dict[int, list[int]] | None) -> list[list[int]]:
    """The best items of all users, of which these came after training."""
    reads = model.engine.network.reads_past
    table = model.recommend(np.arange(n_users), K, history=history if reads else None, verbose=0)
    return table["item"].to_numpy().reshape(n_users, -1).tolist()


def work(request: Record) -> Iterator[Record]:
    """Lists for what validates and for what tests, every few epochs, until the time is over."""
    torch.set_num_threads(request["threads"])
    warnings.simplefilter("ignore")
    task = np.load(request["file"])
    train = pd.DataFrame({"user": task["user"], "item": task["item"], "label": 1, "time": np.arange(len(task["user"]))})
    data, info = DatasetPure.build_trainset(train)
    valid = {user: [item] for user, item in enumerate(task["valid"].tolist())}
    model: Recommender = getattr(algorithms, request["model"])(
        "ranking", info, seed=request["seed"], **request["settings"]
    )
    start, aside, records = time.perf_counter(), 0.0, list[Record]()

    def measured(epoch: int) -> Record:
        nonlocal aside
        begin = time.perf_counter()
        both = {"valid": lists(model, len(valid), None), "test": lists(model, len(valid), valid)}
        aside += time.perf_counter() - begin
        return {"epoch": epoch, "train_s": begin - start - aside, "lists_s": (time.perf_counter() - begin) / 2, **both}

    def after_epoch(record: dict[str, Any]) -> None:
        is_over = time.perf_counter() - start - aside > request["limit_s"]
        if is_over or record["epoch"] % request["step"] == 0:
            records.append(measured(int(record["epoch"])))
        if is_over:
            raise EndOfTrainingError

    aside = time.perf_counter() - start
    with contextlib.suppress(EndOfTrainingError):
        model.fit(data, neg_sampling=True, verbose=0, callbacks=[after_epoch])
    yield from records or [measured(model.n_epochs)]
    yield {"peak_mib": peak_mib()}


if __name__ == "__main__":
    answer(work, "recolib", "torch", "numpy", "pandas")
