"""DeepFM beside LibRecommender's, on the same pairs: ``python -m benchmarks.librecommender --peer PYTHON``.

LibRecommender draws the negatives of an evaluation anew, and may draw what a user met in training. Here both libraries
score one file, ``user,item,label``: the test rows of LibRecommender's tutorial, each with one item that its user met
neither in training nor in the test. Both train on the rows of one split; LibRecommender's own has the same sizes, but
its unstable sort takes other rows where times are equal.

PYTHON is the interpreter of an environment that has LibRecommender: after ``make peers`` that is
``.venv-peers/librecommender/bin/python``. The data is a sample of MovieLens 1M,
``ml1m_sample_merged.csv`` in the folder that RECOLIB_DATA_HOME names. It may not be redistributed: leave the file of
pairs outside the project.

What is chosen, settings and epochs, is chosen on the last tenth of each user's training rows, never on the file.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.protocol import ask
from recolib.data import split_by_ratio_chrono

COLUMNS = {
    "user_col": ["sex", "age", "occupation"],
    "item_col": ["genre1", "genre2", "genre3"],
    "sparse_col": ["sex", "occupation", "genre1", "genre2", "genre3"],
    "dense_col": ["age"],
}
METRICS = ["log_loss", "roc_auc"]
SEED = 42
"""Of the file's negatives, and the first of training: LibRecommender's default."""

Settings = Mapping[str, Any]
TUTORIAL: Settings = {
    "embed_size": 64,
    "n_epochs": 10,
    "lr": 1e-4,
    "batch_size": 512,
    "use_bn": True,
    "hidden_units": (128, 64, 32),
}
TRIED: Sequence[Settings] = (
    {},
    {"combine": "concat"},
    {"sampler": "unconsumed"},
    {"ema": 0.998},
    {"dropout_rate": 0.2},
    {"embed_dropout": 0.2},
    {"reg": 1e-3},
    {"use_bn": False, "lr": 1e-3},
    {"use_bn": False},
    {"embed_size": 16, "lr": 1e-3},
    {"embed_size": 16},
    {"lr": 1e-3, "embed_dropout": 0.2, "dropout_rate": 0.2, "ema": 0.998},
    {"lr": 1e-3, "embed_dropout": 0.2, "dropout_rate": 0.2, "ema": 0.998, "use_bn": False},
    {"lr": 1e-3, "embed_dropout": 0.5, "dropout_rate": 0.2, "ema": 0.998},
    {"lr": 1e-3, "embed_dropout": 0.3, "dropout_rate": 0.4, "ema": 0.998, "embed_size": 32},
    {"lr": 1e-3, "embed_dropout": 0.4, "dropout_rate": 0.4, "ema": 0.998, "sampler": "unconsumed"},
    {"lr": 1e-3, "embed_dropout": 0.3, "dropout_rate": 0.3, "ema": 0.998, "reg": 1e-3},
    {"lr": 1e-3, "embed_dropout": 0.5, "ema": 0.998},
    {"lr": 1e-3, "embed_dropout": 0.6, "dropout_rate": 0.2, "ema": 0.998},
)
"""What ``--search`` compares: changes to the tutorial's settings."""
CHOSEN: Settings = {"lr": 1e-3, "embed_dropout": 0.5, "dropout_rate": 0.2, "ema": 0.998}
"""The one of them with the least log loss on the validation pairs, at its best epoch, first seed."""


@dataclass(frozen=True)
class Task:
    """Rows to train on, and the pairs to score after each epoch."""

    train: pd.DataFrame
    pairs: pd.DataFrame


Run = Callable[[Task, int], pd.DataFrame]
"""A task and a seed -> the metrics of each epoch."""


def make_task(data: pd.DataFrame, test_size: float) -> Task:
    """Each user's last rows as the pairs, with negatives, and the rows before them to train on."""
    train, test = split_by_ratio_chrono(data, test_size=test_size)  # drops test rows of unknown users and items
    return Task(train, add_negatives(train, test))


def add_negatives(train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """The pairs of the test rows, label 1, and beside each an item of train that its user never met, label 0."""
    generator = np.random.default_rng(SEED)
    items = np.unique(train["item"])
    met = pd.concat([train, test]).groupby("user")["item"].unique()
    negatives = test["item"].copy()
    for user, rows in test.groupby("user").groups.items():
        negatives[rows] = generator.choice(np.setdiff1d(items, met[user]), len(rows))
    positives = test[["user", "item"]].assign(label=1)
    return pd.concat([positives, positives.assign(item=negatives, label=0)], ignore_index=True)


def write_task(task: Task, folder: Path) -> dict[str, str]:
    """The task's frames as files, by name."""
    files: dict[str, str] = {}
    for name, frame in (("train", task.train), ("pairs", task.pairs)):
        files[name] = str(folder / f"{name}.csv")
        frame.to_csv(files[name], index=False)
    return files


def run_side(module: str, python: str, settings: Settings, task: Task, seed: int) -> pd.DataFrame:
    """Train for ``n_epochs`` in a process of its own, and score the pairs after each."""
    with tempfile.TemporaryDirectory() as folder:
        request = {"columns": COLUMNS, "settings": {**settings}, "changes": {}, "seed": seed}
        records = ask(module, request | write_task(task, Path(folder)), python)
    return pd.DataFrame([record for record in records if "epoch" in record])


def run_recolib(settings: Settings, task: Task, seed: int) -> pd.DataFrame:
    """Ours."""
    return run_side("benchmarks.own.tutorial", sys.executable, settings, task, seed)


def run_peer(python: str, settings: Settings, task: Task, seed: int) -> pd.DataFrame:
    """The same in LibRecommender's environment."""
    return run_side("benchmarks.peers.librecommender", python, settings, task, seed)


def run_seeds(run: Run, task: Task, n_seeds: int) -> pd.DataFrame:
    """The metrics by seed and epoch."""
    runs = [run(task, seed).assign(seed=seed) for seed in range(SEED, SEED + n_seeds)]
    return pd.concat(runs).set_index(["seed", "epoch"])


def best_epoch(runs: pd.DataFrame) -> int:
    """The epoch of the least log loss, a mean over seeds."""
    return int(runs["log_loss"].groupby("epoch").mean().idxmin())


def spread(values: pd.Series) -> str:
    """Mean and standard deviation."""
    return f"{values.mean():.4f} ± {values.std():.4f}" if len(values) > 1 else f"{values.mean():.4f}"


def search(valid: Task) -> None:
    """Print the best epoch of each tried setting on the validation pairs."""
    for changes in TRIED:
        measured = run_recolib({**TUTORIAL, **changes}, valid, SEED).set_index("epoch")
        epoch = measured["log_loss"].idxmin()
        log_loss, roc_auc = measured.loc[epoch, METRICS]
        print(f"log loss {log_loss:.4f}, AUC {roc_auc:.4f}, epoch {epoch:2}: {dict(changes)}", flush=True)


def summary(name: str, on_file: pd.DataFrame, epoch: int) -> dict[str, object]:
    """The best over epochs, and the figures at an epoch that was chosen elsewhere."""
    by_seed = on_file.groupby("seed")
    there = on_file.xs(epoch, level="epoch")
    return {
        "": name,
        "best log loss": spread(by_seed["log_loss"].min()),
        "best AUC": spread(by_seed["roc_auc"].max()),
        "validated epoch": epoch,
        "log loss there": spread(there["log_loss"]),
        "AUC there": spread(there["roc_auc"]),
    }


def main() -> None:
    """Print the figures epoch by epoch, and a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", metavar="PYTHON", help="the interpreter that has LibRecommender")
    parser.add_argument("--file", type=Path, help="where to keep the pairs; by default they are not kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--search", action="store_true", help="only print the validation figures of all tried settings")
    arguments = parser.parse_args()
    if not (arguments.peer or arguments.search):
        parser.error("pass --peer PYTHON or --search")

    data = pd.read_csv(Path(os.environ["RECOLIB_DATA_HOME"]) / "ml1m_sample_merged.csv")
    final = make_task(data, test_size=0.2)
    valid = make_task(final.train, test_size=0.1)
    content = final.pairs.to_csv(index=False, lineterminator="\n").encode()
    if arguments.file:
        arguments.file.write_bytes(content)
    print(f"{len(final.train)} training rows, {len(final.pairs)} pairs, sha256 {hashlib.sha256(content).hexdigest()}")
    if arguments.search:
        search(valid)
        return

    runs: dict[str, Run] = {
        "LibRecommender": lambda task, seed: run_peer(arguments.peer, TUTORIAL, task, seed),
        "recolib": lambda task, seed: run_recolib(TUTORIAL, task, seed),
        "recolib, chosen": lambda task, seed: run_recolib({**TUTORIAL, **CHOSEN}, task, seed),
    }
    on_file = {name: run_seeds(run, final, arguments.seeds) for name, run in runs.items()}
    by_epoch = {
        (name, metric): measured[metric].groupby("epoch").apply(spread)
        for name, measured in on_file.items()
        for metric in METRICS
    }
    print(pd.DataFrame(by_epoch).to_string(), flush=True)
    epochs = {name: best_epoch(run_seeds(run, valid, arguments.seeds)) for name, run in runs.items()}
    rows = [summary(name, measured, epochs[name]) for name, measured in on_file.items()]
    print(pd.DataFrame(rows).to_string(index=False))
    best = [f"{row['']} {row['best log loss']} and {row['best AUC']}" for row in rows]
    print(f"best log loss and AUC: {'; '.join(best)}")


if __name__ == "__main__":
    main()
