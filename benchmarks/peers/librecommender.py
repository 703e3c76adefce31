"""LibRecommender's DeepFM, scored after each epoch; runs in LibRecommender's own environment.

``benchmarks.librecommender`` starts it. A JSON request comes in by standard input:

    {"train": "train.csv", "pairs": "pairs.csv", "columns": {"user_col": [...], ...}, "settings": {"lr": 0.0001, ...}}

and a line of JSON goes out after each epoch:

    {"epoch": 1, "log_loss": 0.65, "roc_auc": 0.70}
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TextIO

import pandas as pd
from libreco.algorithms import DeepFM
from libreco.data import DatasetFeat
from libreco.training import tf_trainer
from sklearn.metrics import log_loss, roc_auc_score

ONE_THREAD = {"intra_op_parallelism_threads": 1, "inter_op_parallelism_threads": 1}


def score_after_epochs(model: DeepFM, pairs: pd.DataFrame, out: TextIO) -> None:
    """Make the trainer score the pairs where it prints its own metrics: ``fit`` takes no callback."""
    users, items, labels = (pairs[name].tolist() for name in ("user", "item", "label"))
    records: list[dict[str, float]] = []

    def print_metrics(**_: object) -> None:
        probabilities = model.predict(users, items)
        measured = {"log_loss": log_loss(labels, probabilities), "roc_auc": roc_auc_score(labels, probabilities)}
        records.append({"epoch": len(records) + 1, **measured})
        print(json.dumps(records[-1]), file=out, flush=True)

    tf_trainer.print_metrics = print_metrics


def main() -> None:
    """Train as the request says."""
    request = json.load(sys.stdin)
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # the library prints as it goes
        data, info = DatasetFeat.build_trainset(pd.read_csv(request["train"]), **request["columns"])
        model = DeepFM("ranking", info, tf_sess_config=ONE_THREAD, **request["settings"])
        score_after_epochs(model, pd.read_csv(request["pairs"]), out)
        model.fit(data, neg_sampling=True, verbose=2, shuffle=True)  # below 2 there are no metrics to print


if __name__ == "__main__":
    main()
