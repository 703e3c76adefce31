"""Memory and traffic of two processes that train together, beside the formulas: ``python -m benchmarks.scaling``.

An FM with vectors of 16 numbers and tables of so many users trains on 131,072 events in batches of 16,384, with
dense gradients and Adam, by rows with lazy Adam, and with the rows of tables shared out. Memory is what the process has
for itself beyond what it had before the model, at the most; files that are mapped do not count. Traffic is what a step
sends through the loopback device for both processes: the difference of two epochs and one, halved by the steps, so that
what is sent but once does not count. Linux tells both. Results go to ``benchmarks/results/scaling.json``, and the table
and the plot to ``docs/scaling.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measures import own_mib, with_peak
from benchmarks.page import RESULTS, filled
from benchmarks.protocol import ROOT
from benchmarks.rounds import machine

FILE, PAGE = RESULTS / "scaling.json", ROOT / "docs" / "scaling.md"
SIZES = 10**5, 10**6, 10**7
DIM, N_EVENTS, BATCH, N_PROCESSES = 16, 131_072, 16_384, 2
PAIRS = 2 * BATCH
"""Pairs of a batch, with one negative for each positive: so many rows of each side are looked up."""
WAYS: dict[str, dict[str, Any]] = {
    "dense": {"optimizer": "adam"},
    "by rows": {"optimizer": "lazy_adam"},
    "shared out": {"optimizer": "rowwise_adagrad", "shard": "rows"},
}
N_ITEMS = 1000
FLOAT = 4


def memory_bytes(way: str, n_rows: float, n_processes: int = N_PROCESSES) -> float:
    """What a process needs for tables of so many rows: weights, gradients, and what the optimiser keeps."""
    row = FLOAT * (DIM + 1)
    if way == "dense":
        return 4 * row * n_rows
    if way == "by rows":
        return 3 * row * n_rows
    return FLOAT * n_rows * ((DIM + 1) / n_processes + 2)  # vectors and their sums, linear weights and theirs


def traffic_bytes(way: str, n_rows: float, n_processes: int = N_PROCESSES) -> float:
    """What a process sends in a step, once the other n_processes − 1 have what they need."""
    share, others = PAIRS / n_processes, n_processes - 1
    if way == "dense":
        return 2 * others / n_processes * FLOAT * (DIM + 1) * n_rows
    looked_up = share / 2 + share  # of a positive and its negative one user, and two items
    if way == "by rows":
        return others * looked_up * (8 + FLOAT * (DIM + 1))
    return looked_up * (others / n_processes * (8 + 2 * FLOAT * DIM) + others * (8 + FLOAT))


# ---- a process


def train(way: str, n_rows: int, n_epochs: int) -> None:
    """Train in this process and the others, and print what the first one measured."""
    import torch

    from recolib import FM
    from recolib.data import DatasetPure
    from recolib.process_group import ProcessGroup

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    users = np.arange(n_rows)
    frame = pd.DataFrame({"user": users, "item": users % N_ITEMS, "label": 1})
    data, info = DatasetPure.build_trainset(frame)
    data = data.take(np.random.default_rng(0).integers(0, n_rows, N_EVENTS))
    settings = {"embed_size": DIM, "batch_size": PAIRS, "num_neg": 1, "n_epochs": n_epochs, "lr": 0.01, "prior": 0.0}
    model = FM("ranking", info, embed_dropout=0.0, **settings, **WAYS[way])
    group = ProcessGroup.current()
    group.meet()
    before, sent = own_mib(), sent_bytes()
    _, peak = with_peak(lambda: model.fit(data, neg_sampling=True, verbose=0))
    sent = sent_bytes() - sent
    if group.is_first:
        seconds = model.history_["seconds"].to_numpy()[-1]
        print(json.dumps({"memory": round((peak - before) * 2**20), "sent": sent, "seconds": round(float(seconds), 2)}))


def sent_bytes() -> int:
    """What went through the loopback device since the machine started."""
    line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[8])


# ---- all of them


def measure(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Each way with each size."""
    found = list[dict[str, Any]]()
    for n_rows in sizes:
        for way in WAYS:
            once, twice = (_run(way, n_rows, n_epochs) for n_epochs in (1, 2))
            collected = 0.0
            if way == "shared out":  # all get the whole table after each epoch
                collected = 2 * (N_PROCESSES - 1) / N_PROCESSES * FLOAT * (DIM + 1) * n_rows
            per_step = (twice["sent"] - once["sent"] - collected) / (N_EVENTS // BATCH) / N_PROCESSES
            one = {"way": way, "rows": n_rows, "memory": twice["memory"], "traffic": per_step}
            found.append(one | {"seconds": twice["seconds"], "collected": collected})
            print(found[-1], flush=True)
    return found


def _run(way: str, n_rows: int, n_epochs: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={N_PROCESSES}"]
    side = ["-m", "benchmarks.scaling", "--side", way, str(n_rows), str(n_epochs)]
    done = subprocess.run([*command, *side], cwd=ROOT, capture_output=True, text=True, timeout=3600)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(done.stderr)
    return json.loads(lines[-1])


def shown(n_bytes: float) -> str:
    """A size, in two figures."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.2g} {unit}" if n_bytes / size < 100 else f"{n_bytes / size:.0f} {unit}"
    return f"{n_bytes:.0f} B"


def as_table(results: Mapping[str, Any]) -> str:
    """What was measured, beside the formulas."""
    lines = [
        "| rows | way | memory | by formula | sent a step | by formula | seconds an epoch |",
        "|--:|---|--:|--:|--:|--:|--:|",
    ]
    for one in results["found"]:
        way, n = one["way"], one["rows"]
        figures = one["memory"], memory_bytes(way, n), one["traffic"], traffic_bytes(way, n)
        lines.append(f"| {n:,} | {way} | {' | '.join(map(shown, figures))} | {one['seconds']} |")
    where = results["machine"]
    return "\n".join(lines) + (
        f"\n\n`python -m benchmarks.scaling`, {results['date']}, revision {where['revision']}, {where['cores']} cores "
        f"({where['cpu']}), {where['memory_gib']} GiB. Two processes, K = {DIM}, batches of {BATCH:,} positives."
    )


def plot(results: Mapping[str, Any], file: Path) -> None:
    """Draw what was measured as points, and the formulas as lines, up to a billion rows."""
    from matplotlib import rc_context  # all else does without
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "recolib", "font.size": 9}):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        rows = np.logspace(5, 9, 50)
        panels = figure.subplots(1, 2)
        for panel, name, formula in zip(panels, ("memory", "traffic"), (memory_bytes, traffic_bytes), strict=True):
            for way, color in zip(WAYS, ("tab:gray", "tab:blue", "tab:orange"), strict=True):
                some = [one for one in results["found"] if one["way"] == way]
                panel.plot(rows, [formula(way, n) / 1e9 for n in rows], color=color, label=way)
                panel.plot([one["rows"] for one in some], [one[name] / 1e9 for one in some], "o", color=color)
            panel.set(xscale="log", yscale="log", xlabel="rows of tables", ylabel="GB")
            panel.grid(alpha=0.3)
        panels[0].set_title("Memory of each of two processes", fontsize=9)
        panels[1].set_title("Sent by each in a step", fontsize=9)
        panels[0].legend(frameon=False)
        figure.savefig(file, metadata={"Date": None}, dpi=150)


def write_page(results: Mapping[str, Any]) -> None:
    """Put the table and the plot into the page."""
    picture = PAGE.with_suffix(".svg")
    plot(results, picture)
    content = f"{as_table(results)}\n\n![Memory and traffic against rows]({picture.name})"
    PAGE.write_text(filled(PAGE.read_text("utf-8"), {"measured": content}), "utf-8")


def main() -> None:
    """Measure, and write the page; or only the page, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--page", action="store_true", help="only write the page of what there is")
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        way, n_rows, n_epochs = arguments.side
        train(way, int(n_rows), int(n_epochs))
        return
    if not arguments.page:
        results = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "found": measure(arguments.sizes)}
        FILE.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    write_page(json.loads(FILE.read_text("utf-8")))


if __name__ == "__main__":
    main()
