"""Runs of a method on a data set: what was tried, what was chosen, and a file that keeps them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.lists.methods import Method, Settings
from benchmarks.page import RESULTS
from benchmarks.protocol import Record, ask
from benchmarks.rounds import machine

FOLDER = RESULTS / "lists"
FIRST_SEED = 0
"""The seed with which settings are tried."""
KILLED_AFTER_S = 3600
DIGITS = 5
Run = dict[str, Any]
"""``settings``, ``seed``, ``load``; ``best`` (the record of the moment that validates best), ``curve`` (epoch, seconds,
validation and test nDCG of each moment), ``peak_mib`` and, if it was no processor, ``device``; or ``failed``."""


@dataclass
class Kept:
    """The runs of a method on a data set, and what they were run with."""

    file: Path
    about: dict[str, Any] = field(default_factory=dict[str, Any])
    runs: list[Run] = field(default_factory=list[Run])

    @classmethod
    def read(cls, data_set: str, method: str, folder: Path = FOLDER) -> Kept:
        """What there is, which may be nothing."""
        file = folder / data_set / f"{method}.json"
        content = json.loads(file.read_text("utf-8")) if file.exists() else {"about": {}, "runs": []}
        return cls(file, content["about"], content["runs"])

    def add(self, run: Run, about: Mapping[str, Any]) -> None:
        """Keep a run, in the place of one with the same settings and seed; a run is a line of the file."""
        new = json.loads(json.dumps(run))  # as it will be read: with lists for tuples
        places = [at for at, old in enumerate(self.runs) if all(old[key] == new[key] for key in ("settings", "seed"))]
        at = places[0] if places else len(self.runs)
        self.runs[at : at + 1] = [new]
        self.about |= about
        self.file.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(one) for one in self.runs)
        self.file.write_text(f'{{"about": {json.dumps(self.about)},\n"runs": [\n{lines}\n]}}\n', "utf-8")

    def run(self, settings: Settings, seed: int) -> Run | None:
        """The run with these settings and this seed, if there is one."""
        wanted = json.loads(json.dumps(settings))  # a tuple is a list there
        return next((run for run in self.runs if run["settings"] == wanted and run["seed"] == seed), None)

    def tried(self, settings: Sequence[Settings]) -> list[Run]:
        """Those of the settings that were run with the first seed."""
        return [run for one in settings if (run := self.run(one, FIRST_SEED)) is not None]

    def chosen(self, settings: Sequence[Settings]) -> list[Run]:
        """The runs, one for each seed, with the settings that validate best; none if all failed."""
        whole = [run for run in self.tried(settings) if "best" in run]
        if not whole:
            return []
        best = max(whole, key=lambda run: run["best"]["valid"])
        return [run for run in self.runs if run["settings"] == best["settings"] and "best" in run]


def missing(kept: Kept, method: Method, data_set: str, n_seeds: int) -> Iterator[tuple[Settings, int]]:
    """Settings and seeds that are still to run; which come last depends on what the first ones measure."""
    tried = method.tried(data_set)
    for settings in tried:
        if kept.run(settings, FIRST_SEED) is None:
            yield settings, FIRST_SEED
    for run in kept.chosen(tried)[:1]:
        for seed in range(FIRST_SEED + 1, n_seeds if method.is_random else 0):
            if kept.run(run["settings"], seed) is None:
                yield run["settings"], seed


def to_run(
    kept: Kept, method: Method, data_set: str, n_seeds: int, again: bool = False
) -> Iterator[tuple[Settings, int]]:
    """What is missing, one after the other while it is added; or the chosen runs once more, for their seconds."""
    if again:
        yield from [(run["settings"], run["seed"]) for run in kept.chosen(method.tried(data_set))]
        return
    while (one := next(missing(kept, method, data_set, n_seeds), None)) is not None:
        yield one


def make(
    method: Method, request: Record, python: str, threads: int, limit_s: float | None = None
) -> tuple[Run, dict[str, Any]]:
    """Run a side once, and say what with."""
    run: Run = {"settings": request["settings"], "seed": request["seed"], "load": round(os.getloadavg()[0], 1)}
    told = {"model": method.model, "patience": method.patience, "limit_s": limit_s or method.limit_s}
    try:
        records = ask(method.module, told | request, python, threads, KILLED_AFTER_S)
    except subprocess.TimeoutExpired:
        return run | {"failed": f"killed after {KILLED_AFTER_S} s"}, {}
    moments = [rounded(record) for record in records if "epoch" in record]
    best = max(moments, key=lambda record: record["valid"])
    curve = [[one[name] for name in ("epoch", "train_s", "valid", "ndcg")] for one in moments]
    about = {"machine": machine(), "threads": threads, "versions": records[0]["versions"]}
    end = records[-1] | {"peak_mib": round(records[-1]["peak_mib"])}
    return run | end | {"best": best, "curve": curve}, about


def rounded(record: Record) -> Record:
    """A record with fewer digits."""
    return {name: round(value, DIGITS) if isinstance(value, float) else value for name, value in record.items()}


def mean(runs: Sequence[Run], name: str) -> float:
    """The mean of a figure at the best moment; of ``peak_mib`` over whole runs."""
    return statistics.mean(run[name] if name in run else run["best"][name] for run in runs)


def seconds_to(runs: Sequence[Run], ndcg: float) -> float | None:
    """The least seconds of training in which one of the runs has that nDCG of the test part; None if none has."""
    reached = (next((moment[1] for moment in run.get("curve", []) if moment[3] >= ndcg), None) for run in runs)
    return min((seconds for seconds in reached if seconds is not None), default=None)
