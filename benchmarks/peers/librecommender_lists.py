"""LibRecommender's DeepFM, from users and items alone; its lists after some of its epochs."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from libreco.data import DatasetFeat
from libreco.training import tf_trainer

from benchmarks.lists.task import N_LISTED, Ints, Task, Watch
from benchmarks.measures import peak_mib
from benchmarks.peers.librecommender import PACKAGES, deepfm
from benchmarks.protocol import Record, answer

USERS_AT_ONCE = 16


class EndOfTrainingError(Exception):
    """Ends ``fit``, which knows no other end than that of its epochs."""


def work(request: Record) -> Iterator[Record]:
    """The lists after each ``step`` of epochs, until they get no better."""
    task = Task.read(request["folder"])
    settings = dict(request["settings"])
    step = settings.pop("step")
    data, info = DatasetFeat.build_trainset(pd.DataFrame({"user": task.users, "item": task.items, "label": 1}))
    model = deepfm(info, request | {"settings": settings})
    asked, at = np.unique(task.queries, return_inverse=True)

    def lists() -> Ints:
        made: list[Any] = []
        for start in range(0, len(asked), USERS_AT_ONCE):
            users = asked[start : start + USERS_AT_ONCE].tolist()
            found = model.recommend_user(users, N_LISTED)
            made += [found[user] for user in users]
        return task.padded(made)[at]

    epochs = itertools.count(1)

    def print_metrics(**_: Any) -> None:  # which is called after each epoch
        epoch = next(epochs)
        if epoch % step == 0:
            watch.measure(epoch, lists)
        if watch.is_over:
            raise EndOfTrainingError

    tf_trainer.print_metrics = print_metrics
    watch = Watch(task, request)
    with contextlib.suppress(EndOfTrainingError):
        model.fit(data, neg_sampling=True, verbose=2, shuffle=True)  # below 2 there are no metrics to print
    yield from watch.records
    yield {"peak_mib": peak_mib()}


if __name__ == "__main__":
    answer(work, *PACKAGES)
