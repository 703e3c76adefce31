"""The table of what ``benchmarks.server`` kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.rounds import significant

Found = Mapping[str, Any]
Rows = list[tuple[str, str, str]]
"""What is measured, what came out, and the goal."""


def of_speed(found: Found) -> Rows:
    """A model each."""
    goals = {"FM": "≥ 2,000/s, 99 % within 15 ms", "DeepFM": "≥ 600/s"}
    return [(f"{model}, 10,000 requests, 16 clients", fast(one), goals[model]) for model, one in found.items()]


def of_swap(found: Found) -> Rows:
    """Versions, and whether lists were of those that were named."""
    said = f"{fast(found)}; {found['n_swaps']} swaps; {found['n_wrong']} lists not of the version named"
    return [("FM and DeepFM in turn, a new one every second", said, "no errors, none mixed")]


def of_crowd(found: Found) -> Rows:
    """Many at once."""
    held = f"{significant(found['before_mib'])} MiB before, {significant(found['after_mib'])} after"
    return [("FM, 20,000 requests, 1,000 clients", f"{fast(found)}; {held}", "200 and 503 alone")]


def of_memory(found: Found) -> Rows:
    """What is held after each 10,000."""
    held = ", ".join(significant(one) for one in found["resident_mib"])
    return [("FM, 100,000 requests: MiB after each 10,000", f"{coded(found['codes'])}; {held}", "flat")]


def of_events(found: Found) -> Rows:
    """Reads and writes."""
    wrote = f"{found['events_stored']:,} of {found['events_sent']:,} events, {significant(found['events_per_s'])}/s"
    return [("FM, 10,000 requests beside 500 events a second", f"{fast(found)}; {wrote}", "all stored")]


def of_folding(found: Found) -> Rows:
    """Users with events, a model each."""
    return [(f"{name}: 200 users with five events each", fast(one), "") for name, one in found.items()]


def of_end(found: Found) -> Rows:
    """What SIGTERM leaves."""
    return [("SIGTERM while 64 clients ask a DeepFM", f"{coded(found['codes'])}; exit {found['exit']}", "all answered")]


def of_kill(found: Found) -> Rows:
    """What kill -9 leaves."""
    lost = f"{found['events_lost']} of {found['events_acknowledged']:,} events lost; models {found['models']}"
    return [(f"kill -9 while events are written, {found['kills']} times", lost, "none lost")]


OF_SCENARIO: dict[str, Callable[[Found], Rows]] = {
    "speed": of_speed,
    "swap": of_swap,
    "crowd": of_crowd,
    "memory": of_memory,
    "events": of_events,
    "folding": of_folding,
    "end": of_end,
    "kill": of_kill,
}


def fast(one: Found) -> str:
    """Requests a second, and how long one waits."""
    rate, half, most = (significant(one[name]) for name in ("requests_per_s", "p50_ms", "p99_ms"))
    if "rates" in one:
        rate = f"{rate} ({significant(min(one['rates']))} to {significant(max(one['rates']))})"
    took = f", {significant(one['cpu_ms'])} ms of the processor's each" if one["cpu_ms"] > 0 else ""
    return f"{rate}/s{took}; half within {half} ms, 99 % within {most} ms; {coded(one['codes'])}"


def coded(codes: Mapping[str, int]) -> str:
    """How many answers of each status."""
    names = {"none": "not answered", "refused": "not connected"}
    return ", ".join(f"{names.get(code, code)}: {number:,}" for code, number in sorted(codes.items()))


def server_section(results: Mapping[str, Any]) -> str:
    """All scenarios, and where they were measured."""
    lines = ["| | measured | goal |", "|---|---|---|"]
    for name, rows in OF_SCENARIO.items():
        if name in results:
            lines += [f"| {what} | {said} | {goal} |" for what, said, goal in rows(results[name]["found"])]
    abouts = [*results.values()]
    loads = [load for one in abouts for load in one["load"]]
    about = abouts[0]["machine"]
    where = f"{about['cores']} cores ({about['cpu']}), {about['memory_gib']} GiB, {about['system']}"
    revisions = ", ".join(sorted({one["machine"]["revision"] for one in abouts}))
    lines += [
        "",
        f"{abouts[0]['date']}, revision {revisions}, on {where}; load average {min(loads):.1f} to {max(loads):.1f}.",
    ]
    return "\n".join(lines)
