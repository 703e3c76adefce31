"""Lists of recolib's algorithms."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.lists.task import N_LISTED, Ints, Task, Watch
from benchmarks.measures import peak_mib
from benchmarks.protocol import Record, answer
from recolib import algorithms
from recolib.data import DatasetFeat, DatasetPure
from recolib.recommender import Recommender


class EndOfTrainingError(Exception):
    """Ends ``fit``, which keeps the epochs that were made."""


def lists_of(model: Recommender, task: Task, contexts: pd.DataFrame | None) -> Ints:
    """The lists of all users; with contexts, of all with the first of theirs, then with the second, and so on."""
    if contexts is None:
        asked, at = np.unique(task.queries, return_inverse=True)
        found = model.recommend_user(asked.tolist(), N_LISTED)
        return task.padded([found[user] for user in asked.tolist()])[at]
    lists = task.padded([[]] * len(contexts))
    for _, rows in contexts.groupby(contexts.groupby("user").cumcount()):
        users = rows["user"].tolist()
        found = model.recommend_user(users, N_LISTED, context=rows)
        lists[rows.index] = task.padded([found[user] for user in users])
    return lists


def work(request: Record) -> Iterator[Record]:
    """The lists after each epoch until they get no better; with default settings or no epochs those after ``fit``."""
    torch.set_num_threads(request["threads"])
    warnings.simplefilter("ignore")
    task, folder = Task.read(request["folder"]), Path(request["folder"])
    columns, contexts = request["columns"], None
    if columns:
        frame = pd.read_csv(folder / "train.csv")
        data, info = DatasetFeat.build_trainset(frame, **columns)
        if "context_col" in columns:
            contexts = pd.read_csv(folder / "queries.csv")
    else:
        data, info = DatasetPure.build_trainset(pd.DataFrame({"user": task.users, "item": task.items, "label": 1}))
    model: Recommender = getattr(algorithms, request["model"])(
        "ranking", info, seed=request["seed"], **request["settings"]
    )

    def after_epoch(record: dict[str, Any]) -> None:
        watch.measure(record["epoch"], lambda: lists_of(model, task, contexts))
        if watch.is_over:
            raise EndOfTrainingError

    watch = Watch(task, request)
    with contextlib.suppress(EndOfTrainingError):
        model.fit(data, neg_sampling=True, verbose=0, callbacks=[after_epoch] if request["settings"] else [])
    if not watch.records:
        watch.measure(max(1, len(model.history_)), lambda: lists_of(model, task, contexts))
    yield from watch.records
    device = model.engine.network.device
    yield {"peak_mib": peak_mib()} | ({} if device.type == "cpu" else {"device": torch.cuda.get_device_name(device)})


if __name__ == "__main__":
    answer(work, "recolib", "torch", "numpy", "pandas")
