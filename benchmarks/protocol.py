"""How a side of a comparison is asked.

A side is a module that runs as a process of its own: ``python -m benchmarks.own.training``. A JSON request comes in by
standard input, and lines of JSON go out: first the versions of its packages, then what was measured, as it comes.

The standard library alone: sides run in environments of other libraries, too.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TAIL = 10_000  # characters of a failed side's messages that are shown
Record = dict[str, Any]


def answer(work: Callable[[Record], Iterable[Record]], *packages: str) -> None:
    """Do the work that standard input asks for, and write a line for each record; what libraries print goes aside."""
    request, out = json.load(sys.stdin), sys.stdout

    def write(record: Record) -> None:
        print(json.dumps(record), file=out, flush=True)

    with contextlib.redirect_stdout(sys.stderr):
        write({"versions": {"python": sys.version.split()[0]} | {name: version(name) for name in packages}})
        for record in work(request):
            write(record)


def ask(
    module: str,
    request: Mapping[str, object],
    python: str | Path = sys.executable,
    threads: int = 1,
    limit_s: float | None = None,
) -> list[Record]:
    """What a side answers, in a new process of that interpreter with that many threads.

    Raises
    ------
    RuntimeError
        If the process fails; with the end of its messages.
    subprocess.TimeoutExpired
        If it takes longer than the limit. It is killed then.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [str(python), "-m", module],
        input=json.dumps({**request, "threads": threads}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=limit_s,
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-TAIL:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]
