"""Training on more rows than memory holds: ``python -m benchmarks.in_parts --folder FOLDER``.

Clicks of six columns (user, item, label, time, a category, a number) are made as files of Parquet of two million rows,
where they are not there yet. A process builds the training set of them in parts and trains an FM for an epoch. Before
that the first rows are trained on from a frame in memory and in parts, each in a process of its own, for their speeds.
Memory is what the process has for itself at the most, mapped files and what it had after its imports aside.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measures import own_mib, with_peak
from benchmarks.protocol import ROOT

ROWS, FEW_ROWS, PART = 100_000_000, 6_000_000, 2_000_000
N_USERS, N_ITEMS, N_GENRES = 1_000_000, 100_000, 50
SETTINGS: dict[str, Any] = {"n_epochs": 1, "batch_size": 4096, "embed_size": 16}
COLUMNS: dict[str, Any] = {"context_col": ["hour", "price"], "sparse_col": ["hour"], "dense_col": ["price"]}


def part(number: int) -> pd.DataFrame:
    """Two million clicks: items by Zipf's law, of which an hour and a price say a little."""
    rng = np.random.default_rng(number)
    item = (N_ITEMS ** rng.random(PART)).astype(np.int64) - 1
    hour, price = rng.integers(0, 24, PART), rng.random(PART, np.float32)
    chance = 1 / (1 + np.exp(1 + 0.5 * np.sin(item) + 0.5 * np.cos(hour / 4) + price))
    return pd.DataFrame(
        {
            "user": rng.integers(0, N_USERS, PART),
            "item": item,
            "label": (rng.random(PART) < chance).astype(np.int8),
            "time": number * PART + np.arange(PART),
            "hour": hour,
            "price": price,
        }
    )


def write_parts(folder: Path, n_rows: int) -> Path:
    """The folder of so many rows, made where it is not there."""
    to = folder / f"clicks-{n_rows}"
    to.mkdir(parents=True, exist_ok=True)
    for number in range(-(-n_rows // PART)):
        file = to / f"part-{number:05}.parquet"
        if not file.exists():
            part(number).to_parquet(file)
    return to


def train(source: Path, in_memory: bool) -> dict[str, Any]:
    """Build and train in this process, and say how long it took and what memory it had."""
    import torch

    from recolib import FM
    from recolib.data import DatasetFeat

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    before = own_mib()
    begun = time.perf_counter()

    def work() -> dict[str, Any]:
        frame = pd.read_parquet(source) if in_memory else source
        data, info = DatasetFeat.build_trainset(frame, **COLUMNS)
        del frame
        built = time.perf_counter() - begun
        model = FM("ranking", info, **SETTINGS).fit(data, neg_sampling=False, verbose=0)
        epoch = float(model.history_["seconds"].iloc[-1])
        return {
            "rows": len(data),
            "in": "memory" if in_memory else "parts",
            "build_s": round(built, 1),
            "epoch_s": round(epoch, 1),
            "rows_per_s": round(len(data) / epoch),
            "loss": round(float(model.history_["train_loss"].iloc[-1]), 5),
        }

    found, peak = with_peak(work)
    return found | {"own_gib": round((peak - before) / 1024, 2)}


def main() -> None:
    """Make the data, and measure each way in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the data is made, 2 GB for all of it")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--few-rows", type=int, default=FEW_ROWS, help="rows that are trained on both ways")
    parser.add_argument("--rounds", type=int, default=2, help="of few rows")
    parser.add_argument("--side", choices=["memory", "parts"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(train(arguments.folder, arguments.side == "memory")), flush=True)
        return
    runs = [(arguments.few_rows, side) for _ in range(arguments.rounds) for side in ("memory", "parts")]
    for n_rows, side in [*runs, (arguments.rows, "parts")]:
        source = write_parts(arguments.folder, n_rows)
        command = [sys.executable, "-m", "benchmarks.in_parts", "--folder", str(source), "--side", side]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        print(done.stdout.strip() or done.stderr, flush=True)


if __name__ == "__main__":
    main()
