"""Lists of models that know what validates, too: ``python -m benchmarks.lists.refit [METHOD ...]``.

In ``benchmarks.lists`` a model knows 70 % of each user's events, so that by time the events right before those that
test are unknown to it. Here what was chosen there, settings and number of epochs, is trained once more on both parts,
and its lists are measured on the same test part. Results are kept in ``benchmarks/results/lists_refit.json``, and put
into ``docs/list_quality.md``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.lists.methods import METHODS
from benchmarks.lists.page import LISTS, table
from benchmarks.lists.runs import Kept, rounded
from benchmarks.lists.sets import SETS, Frames, write
from benchmarks.page import RESULTS, filled
from benchmarks.protocol import ask
from benchmarks.rounds import machine, significant

FILE = RESULTS / "lists_refit.json"
DATA_SET = "ml-1m-time"
SHOWN = "popular", "ease", "fm-defaults", "ease-recent", "fm-recent", "fm-items-recent", "sasrec"
"""Methods of our own environment; their first runs must be there."""


def both_parts() -> Frames:
    """What trains and validates together, and what tests in the place of both others."""
    parts = SETS[DATA_SET].frames()
    return Frames(pd.concat([parts.train, parts.valid]), parts.test, parts.test)


def again(name: str, folder: str) -> dict[str, Any]:
    """The figures of a method that is trained on both parts, for as many epochs as were best."""
    method = METHODS[name]
    chosen, *_ = Kept.read(DATA_SET, name).chosen(method.tried(DATA_SET))
    settings, epoch = chosen["settings"], chosen["best"]["epoch"]
    if "n_epochs" in settings:
        settings = settings | {"n_epochs": epoch}
    told = {"model": method.model, "patience": sys.maxsize, "limit_s": math.inf, "seed": chosen["seed"]}
    request = told | {"folder": folder, "columns": {}, "settings": settings}
    *_, last, _ = ask(method.module, request)
    return rounded(last) | {"settings": settings}


def as_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures of each method."""
    rows = [
        [
            METHODS[name].title,
            *(f"{one[figure]:.4f}" for figure in ("ndcg", "recall")),
            f"{one['coverage']:.3f}",
            f"{one['ndcg'] / found['ease']['ndcg']:.2f}",
            str(one["epoch"]) if one["epoch"] > 1 else "",
            significant(one["train_s"], 2),
        ]
        for name in SHOWN
        if (one := found.get(name))
    ]
    return table(["", "nDCG@10", "recall@20", "coverage", "of EASE's nDCG", "epochs", "training, s"], rows)


def main() -> None:
    """Train what was asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(SHOWN)}; by default all")
    parser.add_argument("--pages", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.methods if name not in SHOWN]:
        parser.error(f"{', '.join(unknown)}: METHOD must be of {', '.join(SHOWN)}")
    kept: dict[str, Any] = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {"about": {}, "found": {}}
    with tempfile.TemporaryDirectory() as folder:
        names = [] if arguments.pages else arguments.methods or SHOWN
        if names:
            write(replace(SETS[DATA_SET], frames=both_parts), Path(folder))
        for name in names:
            kept["found"][name], kept["about"] = again(name, folder), machine()
            print(name, kept["found"][name], flush=True)
            FILE.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    LISTS.write_text(filled(LISTS.read_text("utf-8"), {"refit": as_table(kept["found"])}), "utf-8")


if __name__ == "__main__":
    main()
