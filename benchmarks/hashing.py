"""Hashed columns beside vocabularies: ``python -m benchmarks.hashing accuracy`` and ``… build``.

``accuracy``
    Generated events in which a device has a taste of its own, few devices have many events and many have few. What FM
    makes of later events, by how many buckets there are for each device of the training data.
``build``
    Seconds of the processor and memory of ``build_trainset`` where each row has a device of its own, each in a process
    of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measures import growth_mib
from recolib.algorithms import FM
from recolib.data import DatasetFeat
from recolib.data.buckets import Buckets
from recolib.data.frame import as_values
from recolib.evaluation import evaluate

N_USERS, N_ITEMS, K = 3000, 1000, 8
SHARES = 0.1, 0.5, 1.0, 2.0
"""Buckets for each distinct value."""
COLUMNS: dict[str, Any] = {"context_col": ["device"], "sparse_col": ["device"]}


def events(n: int, n_devices: int, seed: int = 0) -> pd.DataFrame:
    """Ratings of users, items and devices: each has a level and a vector; a label is whether a rating is above 0."""
    rng = np.random.default_rng(seed)
    devices = (n_devices * rng.random(n) ** 3).astype(np.int64)  # the first ones are in most of the events
    codes = [rng.integers(0, N_USERS, n), rng.integers(0, N_ITEMS, n), devices]
    sizes = N_USERS, N_ITEMS, n_devices
    levels = sum(rng.normal(0, 0.7, size)[code] for size, code in zip(sizes, codes, strict=True))
    user, item, device = (rng.normal(0, 0.5, (size, K))[code] for size, code in zip(sizes, codes, strict=True))
    rating = levels + (user * item).sum(1) + (device * item).sum(1) + rng.normal(0, 0.5, n)
    return pd.DataFrame({"user": codes[0], "item": codes[1], "rating": rating, "device": names(devices)})


def names(devices: Sequence[int] | np.ndarray) -> list[str]:
    """Devices as text."""
    return [f"device-{number:012}" for number in np.asarray(devices).tolist()]


def accuracy(n: int, n_devices: int) -> None:
    """Print a table."""
    frame = events(n, n_devices)
    train, test = frame.iloc[: n * 4 // 5], frame.iloc[n * 4 // 5 :]
    known = as_values(train["device"].unique().tolist())
    print(f"{len(train):,} events of {len(known):,} devices; {len(test):,} later ones")
    print("| encoding | values that share a bucket | weights of the column | AUC | RMSE |\n|---|--:|--:|--:|--:|")
    ways: dict[str, dict[str, Any]] = {"no such column": {}, "vocabulary": COLUMNS}
    for share in SHARES:
        ways[f"hash, {share:.0%} buckets"] = COLUMNS | {"encoding": "hash", "n_buckets": int(share * len(known))}
    for name, arguments in ways.items():
        found = dict[str, float]()
        for task, metric in (("ranking", "roc_auc"), ("rating", "rmse")):
            parts = [part.assign(label=_labels(part, task)) for part in (train, test)]
            data, info = DatasetFeat.build_trainset(parts[0], **arguments)
            model = FM(task, info, n_epochs=8, embed_size=K, lr=0.005, reg=1e-4).fit(
                data, neg_sampling=False, verbose=0
            )
            found[metric] = evaluate(model, parts[1], neg_sampling=False, metrics=[metric])[metric]
        n_buckets = arguments.get("n_buckets", 0)
        shared = _shared(known, n_buckets) if n_buckets else 0.0
        size = (n_buckets or len(known)) * 4 * (K + 1) / 1e6 if arguments else 0.0
        figures = f"{found['roc_auc']:.3f} | {found['rmse']:.3f}"
        print(f"| {name} | {shared:.0%} | {size:.1f} MB | {figures} |", flush=True)


def _labels(frame: pd.DataFrame, task: str) -> Any:
    return frame["rating"] if task == "rating" else (frame["rating"] > 0).astype(int)


def _shared(values: Any, n_buckets: int) -> float:
    """The share of values whose bucket has another one, too."""
    codes = Buckets(n_buckets).encode(values)
    return float((np.bincount(codes)[codes] > 1).mean())


def build(encoding: str, source: str, n: int) -> None:
    """Print what one build takes."""
    rng = np.random.default_rng(0)
    ids = {"user": rng.integers(0, n // 50, n), "item": rng.integers(0, n // 500, n), "label": np.ones(n)}
    frame = pd.DataFrame(ids).assign(device=pd.Series(names(rng.permutation(n)), dtype=object))
    train_data: object = frame
    with tempfile.TemporaryDirectory() as folder:
        if source == "parts":
            train_data = Path(folder) / "events.parquet"
            frame.to_parquet(train_data, row_group_size=n // 10)
            del frame
        taken = list[float]()

        def call() -> None:
            start = time.process_time()
            DatasetFeat.build_trainset(train_data, **COLUMNS, encoding=encoding)
            taken.append(time.process_time() - start)

        growth = growth_mib(call)
    print(f"| {n:,} | {source} | {encoding} | {taken[0]:.0f} s | {growth:.0f} MiB |", flush=True)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["accuracy", "build"])
    parser.add_argument("--rows", type=int, help="by default 250,000 of accuracy, and 5 million of build")
    parser.add_argument("--devices", type=int, default=10_000, help="of accuracy")
    parser.add_argument("--encoding", choices=["vocabulary", "hash"], help="of build: this one alone, in this process")
    parser.add_argument("--source", choices=["frame", "parts"], default="frame", help="with --encoding")
    asked = parser.parse_args()
    if asked.what == "accuracy":
        accuracy(asked.rows or 250_000, asked.devices)
    elif asked.encoding:
        build(asked.encoding, asked.source, asked.rows or 5_000_000)
    else:
        print("| distinct values | from | encoding | time | memory of its own |\n|--:|---|---|--:|--:|", flush=True)
        for source in ("frame", "parts"):
            for encoding in ("vocabulary", "hash"):
                options = ["--encoding", encoding, "--source", source, "--rows", str(asked.rows or 5_000_000)]
                command = [sys.executable, "-W", "ignore", "-m", "benchmarks.hashing", "build", *options]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
