"""LibRecommender's DeepFM on its tutorial, scored after each epoch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pandas as pd
from libreco.algorithms import DeepFM
from libreco.data import DataInfo, DatasetFeat
from libreco.training import tf_trainer
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks.protocol import Record, answer

PACKAGES = "LibRecommender", "tensorflow-cpu", "torch", "numpy", "pandas"


def deepfm(info: DataInfo, request: Record) -> DeepFM:
    """The model that the request describes, with as many threads for TensorFlow."""
    threads = dict.fromkeys(("intra_op_parallelism_threads", "inter_op_parallelism_threads"), request["threads"])
    return DeepFM("ranking", info, tf_sess_config=threads, seed=request["seed"], **request["settings"])


def record_epochs(model: DeepFM, pairs: pd.DataFrame, n_rows: int) -> list[Record]:
    """A list that grows by an epoch's speed and scores: ``fit`` takes no callback, but times and reports its epochs."""
    users, items, labels = (pairs[name].tolist() for name in ("user", "item", "label"))
    records: list[Record] = []

    @contextlib.contextmanager
    def time_block(*_: object) -> Iterator[None]:
        start = time.perf_counter()
        yield
        spent = time.perf_counter() - start
        records.append({"epoch": len(records) + 1, "seconds": spent, "rows_per_s": n_rows / spent})

    def print_metrics(**_: Any) -> None:
        probabilities = model.predict(users, items)
        records[-1]["log_loss"] = log_loss(labels, probabilities)
        records[-1]["roc_auc"] = roc_auc_score(labels, probabilities)

    tf_trainer.time_block, tf_trainer.print_metrics = time_block, print_metrics
    return records


def work(request: Record) -> Iterator[Record]:
    """The speed of each epoch, drawing of negatives included, and how well the pairs are scored after it."""
    data, info = DatasetFeat.build_trainset(pd.read_csv(request["train"]), **request["columns"])
    model = deepfm(info, request)
    records = record_epochs(model, pd.read_csv(request["pairs"]), 2 * len(data))
    model.fit(data, neg_sampling=True, verbose=2, shuffle=True)  # below 2 there are no metrics to print
    yield from records


if __name__ == "__main__":
    answer(work, *PACKAGES)
