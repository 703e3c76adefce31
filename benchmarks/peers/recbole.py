"""RecBole's DeepFM in RecBole's trainer, on files that are split already; what is timed is the trainer's epoch."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.context_aware_recommender.deepfm import DeepFM
from recbole.trainer import Trainer
from recbole.utils import init_seed
from sklearn.metrics import roc_auc_score

from benchmarks.protocol import Record, answer

PARTS = ["train", "valid", "test"]
TYPES = {"user": "user_id:token", "item": "item_id:token", "label": "label:float"}


class TimedTrainer(Trainer):
    """RecBole's trainer with the seconds of each epoch."""

    def __init__(self, config: Config, model: DeepFM) -> None:
        super().__init__(config, model)
        self.seconds: list[float] = []

    def _train_epoch(self, *arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        loss = super()._train_epoch(*arguments, **options)
        self.seconds.append(time.perf_counter() - start)
        return loss


def write_parts(ratings: str, sizes: list[int], folder: Path) -> None:
    """The parts as RecBole's atomic files."""
    frame, start = pd.read_csv(ratings), 0
    folder.mkdir()
    for part, size in zip(PARTS, sizes, strict=True):
        rows = frame[start : start + size][[*TYPES]].rename(columns=TYPES)
        rows.to_csv(folder / f"{folder.name}.{part}.inter", sep="\t", index=False)
        start += size


def work(request: Record) -> Iterator[Record]:
    """The speed of each epoch, and the test AUC after the last."""
    torch.set_num_threads(request["threads"])
    settings = request["settings"]
    told = {
        "benchmark_filename": PARTS,
        "load_col": {"inter": ["user_id", "item_id", "label"]},
        "LABEL_FIELD": "label",
        "embedding_size": settings["embed_size"],
        "mlp_hidden_size": settings["hidden_units"],
        "dropout_prob": settings["dropout_rate"],
        "learning_rate": settings["lr"],
        "weight_decay": settings["reg"],
        "train_batch_size": settings["batch_size"],
        "epochs": request["epochs"],
        "seed": request["seed"],
        "train_neg_sample_args": None,
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": None, "order": "RO", "mode": "labeled"},
        "metrics": ["AUC"],
        "valid_metric": "AUC",
        "use_gpu": False,
        "show_progress": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # where RecBole writes what it logs
        write_parts(request["ratings"], request["sizes"], Path(folder, "ratings"))
        config = Config(model="DeepFM", dataset="ratings", config_dict=told | {"data_path": folder})
        init_seed(config["seed"], config["reproducibility"])
        dataset = create_dataset(config)
        train, _, test = data_preparation(config, dataset)
        model = DeepFM(config, train.dataset)
        trainer = TimedTrainer(config, model)
        trainer.fit(train, saved=False, verbose=False)
        os.chdir("/")
    n_train = request["sizes"][0]
    for epoch, spent in enumerate(trainer.seconds, 1):
        yield {"epoch": epoch, "seconds": spent, "rows_per_s": n_train / spent}
    rows = test.dataset.inter_feat
    model.eval()
    with torch.no_grad():
        yield {"auc": roc_auc_score(rows["label"], model.predict(rows))}


if __name__ == "__main__":
    answer(work, "recbole", "torch", "numpy", "pandas")
