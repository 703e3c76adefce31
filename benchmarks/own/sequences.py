"""What comes next, by recolib's algorithms."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.measures import peak_mib
from benchmarks.next_item import K, Lists, Task, Watch
from benchmarks.protocol import Record, answer
from recolib import algorithms
from recolib.data import DatasetPure
from recolib.recommender import Recommender


class EndOfTrainingError(Exception):
    """Ends ``fit``, which keeps the epochs that were made."""


def lists(model: Recommender, task: Task, part: str) -> Lists:
    """The best items of all users; before the test, what validates came after training."""
    valid = {user: [item] for user, item in enumerate(task.valid.tolist())}
    history = valid if part == "test" and model.engine.network.reads_past else None
    table = model.recommend(np.arange(task.n_users), K, history=history, verbose=0)
    return table["item"].to_numpy().reshape(task.n_users, -1).tolist()


def work(request: Record) -> Iterator[Record]:
    """Lists for what validates and for what tests, every few epochs, until the time is over."""
    torch.set_num_threads(request["threads"])
    warnings.simplefilter("ignore")
    task = Task.read(request["file"])
    train = pd.DataFrame({"user": task.user, "item": task.item, "label": 1, "time": np.arange(len(task.user))})
    data, info = DatasetPure.build_trainset(train)
    model: Recommender = getattr(algorithms, request["model"])(
        "ranking", info, seed=request["seed"], **request["settings"]
    )
    records = list[Record]()

    def measured(epoch: int) -> Record:
        return watch.measure(epoch, lambda part: lists(model, task, part))

    def after_epoch(record: dict[str, Any]) -> None:
        is_over = watch.is_over
        if is_over or record["epoch"] % request["step"] == 0:
            records.append(measured(int(record["epoch"])))
        if is_over:
            raise EndOfTrainingError

    watch = Watch(request["limit_s"])
    with contextlib.suppress(EndOfTrainingError):
        model.fit(data, neg_sampling=True, verbose=0, callbacks=[after_epoch])
    yield from records or [measured(model.n_epochs)]
    yield {"peak_mib": peak_mib()}


if __name__ == "__main__":
    answer(work, "recolib", "torch", "numpy", "pandas")
