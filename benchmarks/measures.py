"""Seconds and memory of what runs in this process.

Memory is read where Linux tells it. The standard library alone, as sides of all libraries use it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
N_IMPORTS = 5


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median_seconds(call: Callable[[T], object], arguments: Iterable[T]) -> float:
    """How long a call takes, the median over its arguments."""
    return statistics.median(seconds(lambda argument=argument: call(argument)) for argument in arguments)


def import_seconds(module: str) -> float:
    """How long an import takes in a fresh process, the median of some."""
    script = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    times = [subprocess.run([sys.executable, "-c", script], capture_output=True, check=True) for _ in range(N_IMPORTS)]
    return statistics.median(float(one.stdout.split()[-1]) for one in times)


def resident_mib() -> float:
    """The memory that the process holds now, in MiB."""
    return _status("VmRSS")


def peak_mib() -> float:
    """The most memory that the process held, in MiB."""
    return _status("VmHWM")


def own_mib() -> float:
    """The memory that the process has for itself now, mapped files aside, in MiB."""
    return _status("RssAnon")


def with_peak(call: Callable[[], T]) -> tuple[T, float]:
    """What a call gives, and the most memory that the process had for itself meanwhile, in MiB."""
    peak, is_over = own_mib(), threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_over.wait(0.01):
            peak = max(peak, own_mib())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        return call(), peak
    finally:
        is_over.set()
        watching.join()


def growth_mib(call: Callable[[], object]) -> float:
    """How far the process's memory rises above what it is now while a call runs, in MiB."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from what is resident now
    before = resident_mib()
    call()
    return peak_mib() - before


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024
