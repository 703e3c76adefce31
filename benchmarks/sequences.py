"""What comes next: ``python -m benchmarks.sequences [METHOD ...]``, on MovieLens 1M, leave-one-out.

Items with five events or more; of each user, events in order of time, equal times as they stand in the file. The last
item tests, the one before validates, and all others train. A list is of the whole catalogue without what its user had
before. A method is trained until its time is over; of the epochs that were measured the one with the best nDCG@10 on
what validates is tested, with the item that validates as the latest of the user's history.

Other libraries run in environments of their own (``make peers``), with the settings that their authors publish for this
data, or their defaults: RecTools' SASRec as in its benchmark (the softmax over the catalogue), RecBole's EASE and
SASRec as in its search on MovieLens 1M. An epoch of RecBole's SASRec has a row for each event, and is measured in
tenths.

What was measured is kept in ``benchmarks/results/sequences.json``, and put into ``docs/sequences.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.next_item import Items, Lists
from benchmarks.page import RESULTS, filled
from benchmarks.protocol import ROOT, ask
from benchmarks.rounds import ENVIRONMENTS
from recolib.datasets import fetch_movielens

RESULT, PAGE = RESULTS / "sequences.json", ROOT / "docs" / "sequences.md"
LEAST = 5
MINUTES = 40
"""The time of a training."""
CATALOGUE = {"num_neg": "all", "n_epochs": 200}
OURS: dict[str, Any] = {"module": "benchmarks.own.sequences", "environment": "", "settings": {}, "step": 1, "seed": 0}
RECTOOLS: dict[str, Any] = {"module": "benchmarks.peers.rectools_sequences", "environment": "rectools"}
RECBOLE: dict[str, Any] = {"module": "benchmarks.peers.recbole_sequences", "environment": "recbole"}
RECTOOLS_SASREC: dict[str, Any] = {
    "n_blocks": 2, "n_heads": 4, "n_factors": 256, "dropout_rate": 0.2, "session_max_len": 100, "loss": "softmax",
    "lr": 1e-3, "batch_size": 128,
}  # fmt: skip
RECBOLE_SASREC: dict[str, Any] = {
    "n_layers": 2, "n_heads": 2, "hidden_size": 64, "inner_size": 256, "hidden_dropout_prob": 0.5,
    "attn_dropout_prob": 0.5, "MAX_ITEM_LIST_LENGTH": 50, "loss_type": "CE", "train_neg_sample_args": None,
    "learning_rate": 5e-4, "train_batch_size": 4096, "epochs": 500,
}  # fmt: skip
METHODS: dict[str, dict[str, Any]] = {
    "EASE": {"model": "EASE"},
    "EASE, recent history": {"model": "EASE", "settings": {"history": "recent"}},
    "FM, ids": {"model": "FM", "settings": CATALOGUE, "step": 5},
    "FM, history": {"model": "FM", "settings": {**CATALOGUE, "history": True}, "step": 5},
    "FM, recent history": {"model": "FM", "settings": {**CATALOGUE, "history": "recent"}, "step": 10},
    "DeepFM, history": {"model": "DeepFM", "settings": {**CATALOGUE, "history": True}, "step": 2},
    "YouTubeRetrieval": {"model": "YouTubeRetrieval", "settings": CATALOGUE, "step": 5},
    "TwoTower, history": {"model": "TwoTower", "settings": {**CATALOGUE, "history": True}, "step": 5},
    "SASRec": {"model": "SASRec", "settings": CATALOGUE, "step": 3},
    "EASE (RecTools)": RECTOOLS | {"model": "EASE", "settings": {"regularization": 500.0}},
    "SASRec (RecTools)": RECTOOLS | {"model": "SASRec", "settings": RECTOOLS_SASREC},
    "EASE (RecBole)": RECBOLE | {"model": "EASE", "settings": {"reg_weight": 1000.0}},
    "SASRec (RecBole)": RECBOLE | {"model": "SASRec", "settings": RECBOLE_SASREC, "step": 0.1},
}
"""What else is left open is the module's default. ``step`` counts epochs from one measurement to the next."""


def leave_one_out() -> dict[str, Items]:
    """Users and items of the training events, in order, and the item of each user that validates, and that tests."""
    frame = fetch_movielens("1m").sort_values("time", kind="stable")
    frame = frame[frame.groupby("item")["user"].transform("size") >= LEAST]
    user, item = (pd.factorize(frame[name], sort=True)[0] for name in ("user", "item"))
    frame = pd.DataFrame({"user": user, "item": item})
    place = frame.groupby("user").cumcount(ascending=False)
    last = {part: frame[place == at].sort_values("user")["item"].to_numpy() for part, at in (("test", 0), ("valid", 1))}
    train = frame[place > 1]
    return {"user": train["user"].to_numpy(), "item": train["item"].to_numpy(), **last}


def figures(lists: Lists | Items, wanted: Items) -> dict[str, float]:
    """Hit rate and nDCG of lists, each of which should have one item."""
    hits = np.asarray(lists) == wanted[:, None]
    gains = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    return {"hit_rate": float(hits.any(1).mean()), "ndcg": float((hits @ gains).mean())}


def popular(task: dict[str, Items]) -> dict[str, Any]:
    """The most popular items that a user did not have."""
    seen = np.zeros((len(task["test"]), int(task["item"].max()) + 1), bool)
    seen[task["user"], task["item"]] = True
    counts = np.bincount(task["item"], minlength=seen.shape[1])
    found = {}
    for part in ("valid", "test"):
        found[part] = np.argsort(np.where(seen, -1, counts), 1, kind="stable")[:, ::-1][:, :10]
        seen[np.arange(len(seen)), task[part]] = True
    return {"test": figures(found["test"], task["test"]), "valid": figures(found["valid"], task["valid"])}


def interpreter(name: str, environments: Path) -> Path:
    """The Python of a method's environment."""
    environment = (OURS | METHODS.get(name, {}))["environment"]
    return environments.resolve() / environment / "bin" / "python" if environment else Path(sys.executable)


def run(name: str, task: dict[str, Items], minutes: float, threads: int, python: Path) -> dict[str, Any]:
    """The best epoch of a method, and what came on the way."""
    if name == "popular":
        return popular(task)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "task.npz"
        np.savez(file, **task)  # pyright: ignore[reportArgumentType]
        asked: dict[str, Any] = OURS | METHODS[name] | {"file": str(file), "limit_s": 60 * minutes}
        versions, *records, memory = ask(asked["module"], asked, python, threads)
    for record in records:
        record |= {part: figures(record[part], task[part]) for part in ("valid", "test")}
        print(name, record, flush=True)
    best = max(records, key=lambda record: record["valid"]["ndcg"])
    return {**best, **memory, **versions, "threads": threads, "way": records}


def as_table(results: dict[str, dict[str, Any]]) -> str:
    """The figures of all methods as a table of Markdown."""
    rows = ["| | HR@10 | nDCG@10 | epochs | seconds to train | all lists |", "|---|---|---|---|---|---|"]
    for name, found in results.items():
        cost = (
            f"{found['epoch']:g} | {found['train_s']:,.0f} | {found['lists_s']:.2g} s" if "epoch" in found else "| 0 |"
        )
        rows.append(f"| {name} | {found['test']['hit_rate']:.4f} | {found['test']['ndcg']:.4f} | {cost} |")
    return "\n".join(rows)


def main() -> None:
    """Run what was asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"of popular, {', '.join(METHODS)}")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="the most that a training takes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peers", type=Path, default=ENVIRONMENTS, help="the folder of the other environments")
    parser.add_argument("--pages", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    known = ["popular", *METHODS]
    if unknown := [name for name in arguments.methods if name not in known]:
        parser.error(f"{', '.join(unknown)}: METHOD must be of {', '.join(known)}")
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if not arguments.pages:
        task = leave_one_out()
        for name in arguments.methods or known:
            python = interpreter(name, arguments.peers)
            if not python.exists():
                print(f"{name}: {python} is not there, so that it is left out: make peers", flush=True)
                continue
            results[name] = run(name, task, arguments.minutes, arguments.threads, python)
            results = {one: results[one] for one in known if one in results}
            RESULT.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(filled(PAGE.read_text(), {"sequences": as_table(results)}))


if __name__ == "__main__":
    main()
