"""Lists of recolib and of others on six data sets: ``python -m benchmarks.lists``.

A list is of the whole catalogue without what its user has in training. nDCG@10 has the ideal of min(10, relevant),
recall@20 is divided by min(20, relevant), and coverage is the share of the catalogue that stands in some list of ten.
Positives are ratings of four stars or more, or uses; of each user with five or more 70 % train, 10 % validate and 20 %
test.

``ml-1m-random``, ``ml-1m-time``, ``ml-100k-random``
    MovieLens, read as ``recolib.datasets.fetch_movielens`` finds it.
``frappe``
    Apps in their contexts, from the folder ``frappe`` of ``RECOLIB_DATA_HOME``. Each app that a user has in the
    validation or test part is asked for once, in one of its contexts.
``movies``, ``catalogue``
    Generated: few ratings of few movies by ``recolib.datasets.make_movies``; and many items, some of them popular.

Settings and epochs are those with the best nDCG@10 on the validation part. All settings of ``benchmarks.lists.methods``
are tried with the first seed, and the chosen ones run with the others. Each run is a process, in an environment of its
own if it is another library (``make peers``), begins no epoch after five minutes, and is killed after an hour. With one
thread, seconds are the processor's. Runs are kept in ``benchmarks/results/lists``, and what is there is not run again:
remove a file to search anew, or pass ``--again`` to time what was chosen. At the end the tables and the picture are put
into ``docs/choosing.md`` and ``docs/list_quality.md``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.lists.methods import METHODS, OTHERS, OURS
from benchmarks.lists.page import write_pages
from benchmarks.lists.runs import Kept, make, missing, to_run
from benchmarks.lists.sets import SETS, write
from benchmarks.rounds import ENVIRONMENTS

GROUPS = {"ours": OURS, "others": OTHERS}


def measure(
    name: str,
    methods: list[str],
    environments: Path,
    n_seeds: int,
    threads: int,
    again: bool,
    limit_s: float | None = None,
) -> None:
    """Run what is missing of the methods on a data set, or once more what was chosen."""
    data_set = SETS[name]
    with tempfile.TemporaryDirectory() as folder:
        written = False
        for method_name in methods:
            method, kept = METHODS[method_name], Kept.read(name, method_name)
            python = environments / method.environment / "bin" / "python" if method.environment else sys.executable
            if not Path(python).exists():
                print(f"{name}, {method_name}: {python} is not there, so that it is left out: make peers", flush=True)
                continue
            for settings, seed in to_run(kept, method, name, n_seeds, again):
                if not written:
                    print(f"{name}: {write(data_set, Path(folder))}", flush=True)
                    written = True
                columns = data_set.columns if method.has_columns else {}
                request = {"folder": folder, "columns": columns, "settings": settings, "seed": seed}
                start = time.perf_counter()
                run, about = make(method, request, str(python), threads, limit_s)
                kept.add(run, about)
                shown = run.get("best", run.get("failed"))
                spent = time.perf_counter() - start
                print(f"{name}, {method_name}, seed {seed}, {settings}: {shown}, {spent:.0f} s", flush=True)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; by default all")
    parser.add_argument("--methods", nargs="+", help=f"of {', '.join([*GROUPS, *METHODS])}; by default all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="on a shared machine more are slower")
    parser.add_argument("--peers", type=Path, default=ENVIRONMENTS, help="the folder of the other environments")
    parser.add_argument("--limit-s", type=float, help="seconds of training and lists after which no epoch begins")
    parser.add_argument("--again", action="store_true", help="run the chosen settings once more, for their seconds")
    parser.add_argument("--left", action="store_true", help="only say what is still to run")
    parser.add_argument("--pages", action="store_true", help="only write the pages of what there is")
    arguments = parser.parse_args()
    sets, methods = arguments.sets or [*SETS], list[str]()
    for name in arguments.methods or [*METHODS]:
        methods += GROUPS.get(name, [name])
    if unknown := [name for name in sets if name not in SETS] + [name for name in methods if name not in METHODS]:
        parser.error(f"{', '.join(unknown)}: SET must be of {', '.join(SETS)}, METHODS of {', '.join(METHODS)}")
    if arguments.left:
        for name in sets:
            for method in methods:
                kept = Kept.read(name, method)
                n_left = len([*missing(kept, METHODS[method], name, arguments.seeds)])
                if n_left:
                    print(f"{name}, {method}: {n_left} to run, {len(kept.runs)} there")
        return
    if not arguments.pages:
        for name in sets:
            how = arguments.peers, arguments.seeds, arguments.threads, arguments.again, arguments.limit_s
            measure(name, methods, *how)
    write_pages()


if __name__ == "__main__":
    main()
