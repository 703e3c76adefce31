"""Speed and memory, side by side: ``python -m benchmarks.speed training``.

``training``
    DeepFM on MovieLens 1M, users and movies alone, against RecBole, pytorch-fm and plain PyTorch.
``tutorial``
    LibRecommender's tutorial against LibRecommender.
``serving``
    Lists, predictions, an evaluation, the import and memory, of the same.
``loading``
    Splitting and encoding generated rows against ``pandas.factorize`` of their columns.
``vocabulary``
    A training step with few users or millions, against itself.
``catalogue``
    A list over few items or a million, against what its matrix products must take.
``catalogue_training``
    FM, NFM and DeepFM in training with ``num_neg="all"``: pairs a second.

Each side is a process, in an environment of its own if it is another library (``make peers``). Rounds run all sides in
turn, with each number of threads; a side's better one counts. A ratio is of one round, and its median, least and most
are shown. ``python -m benchmarks.page`` makes the page of what ``--json`` kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.rounds import ENVIRONMENTS, Table, as_markdown, conditions, run_rounds, summary
from benchmarks.tables import TABLES


def pythons(table: Table, told: Mapping[str, str]) -> dict[str | None, str]:
    """The interpreter of each environment that the table needs.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    found: dict[str | None, str] = {None: sys.executable}
    for name in {side.environment for side in table.sides.values()} - {None}:
        found[name] = told.get(name, str(ENVIRONMENTS / name / "bin" / "python"))
        if not Path(found[name]).exists():
            raise FileNotFoundError(f"{found[name]} is not there: make peers, or pass --peer-python {name}=PYTHON")
    return found


def chosen(name: str, sides: Sequence[str] | None, epochs: int | None, rows: int | None) -> Table:
    """A table with less or more work than it has by default."""
    table = TABLES[name]
    unknown = set(sides or ()) - set(table.sides)
    if unknown:
        raise ValueError(f"{name} has no sides {sorted(unknown)}, but {[*table.sides]}")
    kept = {side: one for side, one in table.sides.items() if sides is None or side in sides}
    return replace(table, sides=kept, epochs=epochs or table.epochs, rows=rows or table.rows)


def main() -> None:
    """Run a table, print it, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sides", nargs="+", metavar="SIDE", help="by default all of the table")
    parser.add_argument("--epochs", type=int, help="of training; by default as the table says")
    parser.add_argument("--rows", type=int, help="of the data; by default as the table says")
    parser.add_argument("--json", type=Path, help="where to keep what was measured, after each round")
    parser.add_argument(
        "--peer-python", action="append", default=[], metavar="NAME=PYTHON", help="the interpreter of an environment"
    )
    arguments = parser.parse_args()
    try:
        table = chosen(arguments.table, arguments.sides, arguments.epochs, arguments.rows)
        interpreters = pythons(table, dict(one.split("=", 1) for one in arguments.peer_python))
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    if min(arguments.rounds, *arguments.threads) < 1:
        parser.error("--rounds and --threads must be at least 1")
    print(table.title, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for results in run_rounds(table, arguments.rounds, arguments.threads, interpreters, Path(folder)):
            if arguments.json:
                arguments.json.parent.mkdir(parents=True, exist_ok=True)
                arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{as_markdown(summary(table, results))}\n\n{conditions(results)}")


if __name__ == "__main__":
    main()
