"""Accuracy on MovieLens 1M: ``python -m benchmarks.accuracy --data ml-1m --splits 3``.

Ids only, positive above three stars, random 80/10/10: the protocol of public DeepFM notebooks. The data set is the
publisher's ``ml-1m.zip`` in the folder that RECOLIB_DATA_HOME names.
"""

from __future__ import annotations

import argparse
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from recolib.algorithms import DeepFM
from recolib.data import DatasetPure, random_split
from recolib.evaluation import evaluate

PUBLISHED = "0.7920 (the notebook); RecBole, FuxiCTR, DeepCTR-Torch, torch-rechub, pytorch-fm: 0.7864 to 0.7988"


def read_ml_1m() -> pd.DataFrame:
    """Users, movies, and whether there were more than three stars."""
    with zipfile.ZipFile(Path(os.environ["RECOLIB_DATA_HOME"]) / "ml-1m.zip") as archive:
        lines = archive.read("ml-1m/ratings.dat").splitlines()
    ratings = np.array([line.split(b"::")[:3] for line in lines]).astype(np.int64)
    return pd.DataFrame({"user": ratings[:, 0], "item": ratings[:, 1], "label": (ratings[:, 2] > 3).astype(np.int64)})


def run_split(frame: pd.DataFrame, split: int) -> dict[str, float]:
    """Train on one split; the settings are the notebook's, nothing is chosen on the test part."""
    train, valid, test = random_split(frame, multi_ratios=[0.8, 0.1, 0.1], seed=split)
    data, info = DatasetPure.build_trainset(train)
    model = DeepFM(
        "ranking",
        info,
        embed_size=16,
        hidden_units=(16, 16),
        dropout_rate=0.5,
        batch_size=1024,
        n_epochs=10,
        lr=1e-3,
        seed=split,
    )
    model.fit(data, neg_sampling=False, eval_data=valid, metrics=["roc_auc"])
    measured = evaluate(model, test, neg_sampling=False, metrics=["roc_auc", "log_loss"])
    return {
        "split": split,
        "valid AUC": model.history_["eval_roc_auc"].iloc[-1],
        "test AUC": measured["roc_auc"],
        "test log loss": measured["log_loss"],
        "seconds": model.history_["seconds"].sum(),
        "rows/s": model.history_["rows_per_second"].median(),
    }


def main() -> None:
    """Print a table of the splits, their mean and deviation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=["ml-1m"], default="ml-1m")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument(
        "--threads", type=int, default=1, help="torch threads; waiting threads cost a shared machine much"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    frame = read_ml_1m()
    table = pd.DataFrame([run_split(frame, split) for split in range(arguments.splits)])
    print(table.round(4).to_string(index=False))
    print(f"DeepFM test AUC: {table['test AUC'].mean():.4f} ± {table['test AUC'].std():.4f}; published: {PUBLISHED}")


if __name__ == "__main__":
    main()
