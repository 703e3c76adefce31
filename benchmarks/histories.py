"""What a history adds, and how long it should be: ``python -m benchmarks.histories [auc|lengths]``.

``auc``
    DeepFM without and with a history, and DIN, with one budget and DeepFM's settings of ``benchmarks/experiments.py``,
    but for what a model does not have. ``frappe``: the split of He and Chua, which has no times, so that a history is
    all other uses of the training part. ``ml-1m``: a fifth of the users of MovieLens 1M, positive above three stars,
    with sex, age, occupation and genres; each user's earliest 80 % train, the next 10 % validate, the last 10 % test,
    and a history is what was liked before. The epoch that validates best is tested.
``lengths``
    FM with a history of each length on the task of ``benchmarks.sequences``, where the epoch that validates best of
    those that are measured is tested.

What was measured is kept in ``benchmarks/results/histories.json``, and put into ``docs/sequences.md``.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.accuracy import mean_and_deviation, run
from benchmarks.experiments import (
    DEEPFM_WITH_FEATURES,
    FEATURES,
    FRAPPE_DEEPFM,
    RATIOS,
    Entry,
    Experiment,
    Parts,
    encoded,
    liked,
    uses_of_frappe,
)
from benchmarks.next_item import Items
from benchmarks.page import RESULTS, filled
from benchmarks.protocol import ROOT, ask
from benchmarks.sequences import CATALOGUE, OURS, figures, leave_one_out
from recolib.algorithms import DIN, DeepFM
from recolib.data import split_by_ratio_chrono
from recolib.recommender import Recommender

RESULT, PAGE = RESULTS / "histories.json", ROOT / "docs" / "sequences.md"
TABLES = "auc", "lengths"
LENGTHS = 10, 20, 50, 100, 200, 4000
"""The most items of a history; 4,000 are more than any user has."""
N_EPOCHS, STEP = 30, 15
"""Epochs of a length, and from one measurement to the next."""
Results = dict[str, dict[str, Any]]


def by_time(split: int) -> Parts:
    """A fifth of the users of MovieLens 1M, with features; what each rated last tests."""
    frame = liked()
    return encoded(split_by_ratio_chrono(frame[frame["user"] % 5 == 0], multi_ratios=RATIOS), FEATURES, 0)


MODELS: dict[str, tuple[type[Recommender], dict[str, Any]]] = {
    "DeepFM": (DeepFM, {}),
    "DeepFM, history": (DeepFM, {"history": True}),
    "DIN": (DIN, {}),
}
"""What each has beside the settings of the data."""
DATA: dict[str, tuple[Callable[[int], Parts], dict[str, Any], int]] = {
    "frappe": (uses_of_frappe, FRAPPE_DEEPFM, 3),
    "ml-1m": (by_time, DEEPFM_WITH_FEATURES, 2),
}
"""The parts of each, DeepFM's settings on it, those of ``benchmarks.accuracy``, and how many epochs without a better
figure end a run."""


def aucs(parts: Parts, name: str, settings: dict[str, Any], patience: int, n_runs: int) -> list[dict[str, Any]]:
    """The figures of a model with each seed."""
    algorithm, own = MODELS[name]
    known = {field.name for field in fields(algorithm)}
    entry = Entry(algorithm, {key: value for key, value in settings.items() if key in known} | own)
    experiment = Experiment("", "", ("roc_auc", "log_loss"), (entry,), lambda _: parts, fixed=True, patience=patience)
    found = [run(entry, experiment, parts, seed) for seed in range(n_runs)]
    return [
        {key: one[key] for key in ("epoch", "valid", "roc_auc", "log_loss")} | {"seconds": float(one["seconds"])}
        for one in found
    ]


def of_length(task: dict[str, Items], length: int) -> dict[str, Any]:
    """FM with a history of so many items at the epoch that validates best."""
    settings = {**CATALOGUE, "n_epochs": N_EPOCHS, "history": True, "max_history": length}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "task.npz"
        np.savez(file, **task)  # pyright: ignore[reportArgumentType]
        asked: dict[str, Any] = OURS | {
            "model": "FM",
            "settings": settings,
            "step": STEP,
            "file": str(file),
            "limit_s": math.inf,
        }
        _, *records, _ = ask(asked["module"], asked)
    for record in records:
        record |= {part: figures(record[part], task[part]) for part in ("valid", "test")}
    return {"way": records} | max(records, key=lambda record: record["valid"]["ndcg"])


def as_tables(results: Results) -> dict[str, str]:
    """The tables of the page."""
    tables: dict[str, str] = {}
    if found := results.get("auc"):
        rows = ["| test AUC | " + " | ".join(found) + " |", "|---" * (1 + len(found)) + "|"]
        for name in [one for one in MODELS if any(one in of_data for of_data in found.values())]:
            cells = [
                mean_and_deviation(pd.Series([one["roc_auc"] for one in of_data[name]])) if name in of_data else ""
                for of_data in found.values()
            ]
            rows.append(f"| {name} | {' | '.join(cells)} |")
        tables["auc"] = "\n".join(rows)
    if found := results.get("lengths"):
        rows = ["| `max_history` | HR@10 | nDCG@10 | epochs |", "|---|---|---|---|"]
        for length, one in sorted(found.items(), key=lambda pair: int(pair[0])):
            shown = "all" if int(length) == LENGTHS[-1] else length
            test = one["test"]
            rows.append(f"| {shown} | {test['hit_rate']:.4f} | {test['ndcg']:.4f} | {one['epoch']} |")
        tables["lengths"] = "\n".join(rows)
    return tables


def keep(value: object, *names: str) -> None:
    """Put what was measured beside all else that was."""
    results: Results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    place: dict[str, Any] = results
    for name in names[:-1]:
        place = place.setdefault(name, {})
    place[names[-1]] = value
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    print(*names, value, flush=True)


def main() -> None:
    """Run what was asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}; by default both")
    parser.add_argument("--data", nargs="+", choices=DATA, default=[*DATA], help="for auc; by default all")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS], help="for auc; by default all")
    parser.add_argument("--runs", type=int, default=1, help="for auc: seeds of the model")
    parser.add_argument("--lengths", nargs="+", type=int, default=LENGTHS, help="the most items of a history")
    parser.add_argument("--pages", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.tables if name not in TABLES]:
        parser.error(f"{', '.join(unknown)}: TABLE must be of {', '.join(TABLES)}")
    asked = [] if arguments.pages else arguments.tables or TABLES
    torch.set_num_threads(1)
    for data in arguments.data if "auc" in asked else []:
        make, settings, patience = DATA[data]
        parts = make(0)
        for name in arguments.models:
            keep(aucs(parts, name, settings, patience, arguments.runs), "auc", data, name)
    if "lengths" in asked:
        task = leave_one_out()
        for length in arguments.lengths:
            keep(of_length(task, length), "lengths", str(length))
    PAGE.write_text(filled(PAGE.read_text(), as_tables(json.loads(RESULT.read_text()))))


if __name__ == "__main__":
    main()
