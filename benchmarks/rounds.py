"""Rounds: all sides in turn, again and again, and what comes out as medians and ratios."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.protocol import ROOT, Record, ask

ENVIRONMENTS = ROOT / ".venv-peers"
"""Where ``make peers`` puts the other libraries."""


@dataclass(frozen=True)
class Side:
    """Who does the work.

    Attributes
    ----------
    module
        What is run.
    request
        What it is asked beyond what all sides of the table are asked.
    environment
        The name of the environment under ``.venv-peers`` that has its library; None for this one.
    """

    module: str
    request: Mapping[str, Any] = field(default_factory=dict)
    environment: str | None = None


@dataclass(frozen=True, eq=False)
class Figure:
    """A thing that is measured.

    Attributes
    ----------
    name
        What the sides call it.
    title
        What a reader calls it, with its unit.
    goals
        By side, what its ratio to the reference should be. With "≤" the ratio says how many times as much it is; else
        it says how many times better.
    more
        Whether more is better.
    of_run
        One number of what a run measured several times.
    is_race
        Whether sides race in it: then a side has the number of threads with which it is best, and a ratio. Else it has
        that of the table's first figure.
    """

    name: str
    title: str
    goals: Mapping[str, str] = field(default_factory=dict)
    more: bool = False
    of_run: Callable[[Sequence[float]], float] = statistics.median
    is_race: bool = True


@dataclass(frozen=True)
class Table:
    """Sides, and what is measured of them.

    Attributes
    ----------
    title
        What the work is.
    sides
        By name.
    figures
        What is measured.
    prepare
        Writes what the sides read into a folder; gives what all of them are asked.
    references
        The sides that others are compared with: in each figure the best of them.
    epochs, rows
        How much work, where the table has a say in it.
    """

    title: str
    sides: Mapping[str, Side]
    figures: Sequence[Figure]
    prepare: Callable[[Table, Path], dict[str, Any]]
    references: Sequence[str] = ()
    epochs: int | None = None
    rows: int | None = None


def machine() -> dict[str, Any]:
    """What the figures depend on, beside the packages that each side names."""
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT)
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "as it comes"),
        "revision": done.stdout.strip() or "unknown",
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")


def run_rounds(
    table: Table, n_rounds: int, threads: Sequence[int], pythons: Mapping[str | None, str], folder: Path
) -> Iterator[dict[str, Any]]:
    """The results after each round, all that came before included.

    Parameters
    ----------
    table
        What to measure.
    n_rounds
        How often each side is run with each number of threads.
    threads
        The numbers of threads.
    pythons
        The interpreter of each environment.
    folder
        Where the sides' files are put.
    """
    asked = {"epochs": table.epochs, "rows": table.rows} | table.prepare(table, folder)
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "work": {"epochs": table.epochs, "rows": table.rows},
        "versions": {},
        "rounds": [],
    }
    for number in range(n_rounds):
        load, runs = [os.getloadavg()[0]], []
        for name, side in table.sides.items():
            for n_threads in threads:
                request = asked | {"seed": number} | side.request
                python = pythons[side.environment]
                (about, *records), said = ask(side.module, request, python, n_threads), f"round {number + 1}, {name}"
                results["versions"][name] = about["versions"]
                runs.append({"side": name, "threads": n_threads, "records": records})
                print(f"{said}, threads {n_threads}: {short_figures(table, records)}", flush=True)
        results["rounds"].append({"load": [*load, os.getloadavg()[0]], "runs": runs})
        yield results


def figures_of(table: Table, records: Sequence[Record]) -> dict[str, float]:
    """The figures of one run."""
    measured = {one: [record[one.name] for record in records if one.name in record] for one in table.figures}
    return {one.name: float(one.of_run(values)) for one, values in measured.items() if values}


def short_figures(table: Table, records: Sequence[Record]) -> str:
    """The figures of one run, in one line."""
    return ", ".join(f"{name} {significant(value)}" for name, value in figures_of(table, records).items())


@dataclass(frozen=True)
class Row:
    """What came out for a side in a figure: each round's value, and its ratio to the reference's if there is one."""

    figure: Figure
    side: str
    threads: int
    values: tuple[float, ...]
    ratios: tuple[float, ...] = ()
    is_reference: bool = False


def summary(table: Table, results: Mapping[str, Any]) -> list[Row]:
    """A row for each side in each figure, at the number of threads that suits it best."""
    by_run = {
        (run["side"], run["threads"]): [
            figures_of(table, again["records"])
            for one in results["rounds"]
            for again in one["runs"]
            if (again["side"], again["threads"]) == (run["side"], run["threads"])
        ]
        for run in results["rounds"][0]["runs"]
    }
    rows: list[Row] = []
    for figure in table.figures:
        best: dict[str, Row] = {}
        for (side, threads), runs in by_run.items():
            if all(figure.name in values for values in runs):
                row = Row(figure, side, threads, tuple(values[figure.name] for values in runs))
                if side not in best or _better(table, row, best[side], by_run):
                    best[side] = row
        rows += _with_ratios(table, figure, best)
    return rows


def _better(table: Table, row: Row, than: Row, by_run: Mapping[tuple[str, int], list[dict[str, float]]]) -> bool:
    judge = row.figure if row.figure.is_race else table.figures[0]
    one, other = (statistics.median(v[judge.name] for v in by_run[r.side, r.threads]) for r in (row, than))
    return one > other if judge.more else one < other


def _with_ratios(table: Table, figure: Figure, best: Mapping[str, Row]) -> Iterator[Row]:
    candidates = [best[name] for name in table.references if name in best]
    if not figure.is_race or not candidates:
        yield from best.values()
        return
    choose = max if figure.more else min
    reference = choose(candidates, key=lambda row: statistics.median(row.values))
    for row in best.values():
        upwards = figure.more or figure.goals.get(row.side, "").startswith("≤")
        pairs = zip(row.values, reference.values, strict=True)
        ratios = tuple(own / other if upwards else other / own for own, other in pairs)
        yield Row(figure, row.side, row.threads, row.values, ratios, row.side == reference.side)


def significant(value: float, digits: int = 3) -> str:
    """A number rounded to so many digits, never with an exponent."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:#.{digits}g}"


def spread(values: Sequence[float], digits: int = 3) -> str:
    """The median of rounds, the least and the most."""
    middle, *ends = (significant(value, digits) for value in (statistics.median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({ends[0]} to {ends[1]})"


def as_markdown(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    lines = ["| | side | threads | median (min to max) | ratio | goal |", "|---|---|---|---|---|---|"]
    before = None
    for row in rows:
        title = "" if row.figure is before else row.figure.title
        before = row.figure
        value = spread(row.values, 3 if row.figure.is_race else 4)
        ratio = "reference" if row.is_reference else spread(row.ratios) if row.ratios else ""
        lines.append(
            f"| {title} | {row.side} | {row.threads} | {value} | {ratio} | {row.figure.goals.get(row.side, '')} |"
        )
    return "\n".join(lines)


def conditions(results: Mapping[str, Any]) -> str:
    """Where and with what it was measured, in a few sentences."""
    about, rounds = results["machine"], results["rounds"]
    loads = [load for one in rounds for load in one["load"]]
    by_versions: dict[str, list[str]] = {}
    for side, versions in results["versions"].items():
        named = ", ".join(f"{name} {number}" for name, number in versions.items())
        by_versions.setdefault(named, []).append(side)
    of_all = len(by_versions) == 1
    packages = "; ".join(f"{'all' if of_all else ', '.join(sides)}: {named}" for named, sides in by_versions.items())
    count = f"{len(rounds)} round{'s' * (len(rounds) > 1)}"
    where = f"{about['cores']} cores ({about['cpu']}), {about['memory_gib']} GiB, {about['system']}"
    return (
        f"{results['date']}, revision {about['revision']}, {count} on {where}; load average {min(loads):.1f} to "
        f"{max(loads):.1f}; OMP_WAIT_POLICY {about['wait_policy']}. {packages}."
    )
