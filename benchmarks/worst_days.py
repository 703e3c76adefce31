"""Jobs of two processes that are killed at random moments: ``python -m benchmarks.worst_days``.

``torchrun`` starts two processes that build sets of Parquet in parts, train with checkpoints, save models, and make the
lists of all users in parts. One of them is killed (SIGKILL) at random moments of its work, 30 in all, whereupon both
start again. What is left is compared with what an undisturbed job leaves, files byte by byte, those of models array by
array; models and lists also after each kill: each that has a name must be whole.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from benchmarks.protocol import ROOT
from recolib import FM, load
from recolib.cli.parts import PartsOfLists
from recolib.data import DatasetFeat
from recolib.datasets import make_movies
from recolib.process_group import ALONE, ProcessGroup

N_PARTS = 40
COLUMNS = {"user_col": ["sex"], "sparse_col": ["sex"]}
GROUP = ProcessGroup.current()


def build(common: Path, folder: Path) -> None:
    """Encode a training set and an evaluation set; one process does, and the other waits."""
    _, info = DatasetFeat.build_trainset(common / "events", **COLUMNS, cache_dir=folder / "train")
    DatasetFeat.build_testset(common / "later", data_info=info, cache_dir=folder / "test")


def train(common: Path, folder: Path) -> None:
    """Train from the last checkpoint on, and save."""
    data, info = DatasetFeat.build_trainset(common / "events", **COLUMNS, cache_dir=common / "train")
    model, run = FM("ranking", info, n_epochs=20, batch_size=8192, num_neg=1), folder / "run"
    model.fit(data, neg_sampling=True, verbose=0, checkpoint=run, resume=run).save(folder, "model")


def save(common: Path, folder: Path) -> None:
    """Save a model again and again; each process under names of its own, and one that both have."""
    os.environ[ALONE] = "1"  # else the first process saves for all
    model = load(common / "model.safetensors")
    for number in range(60):
        model.save(folder, f"model-{GROUP.rank}-{number}")
        model.save(folder, "model-of-both")


def score(common: Path, folder: Path) -> None:
    """Make the lists of all users, as ``recommend-all`` does."""
    model = load(common / "model.safetensors", mapped=True)
    PartsOfLists(folder / "lists", N_PARTS, "model", 50).write(model, GROUP, {"n_rec": 50, "verbose": 0})


PHASES = {phase.__name__: phase for phase in (build, train, save, score)}


def job(phase: str, place: Path, folder: Path, moments: Iterable[float], whole: Mapping[str, str]) -> dict[str, Any]:
    """Let a job come to its end, and kill a process at a moment after both began, each time that they did."""
    begun, left, before = folder.with_suffix(".begun"), iter(moments), set[int]()
    begun.mkdir()
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["--max-restarts=1000", "--monitor-interval=0.1"]
    command += ["-m", "benchmarks.worst_days", "--work", phase, str(place), str(folder)]
    found: dict[str, Any] = {"kills": 0, "begun": 0.0, "differing": set[str]()}
    with (place / "messages").open("ab") as messages:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=messages)
    while process.poll() is None:
        time.sleep(0.02)
        now = {int(file.name) for file in begun.iterdir()} - before
        if len(now) < 2:
            continue
        found["begun"], before = found["begun"] or time.monotonic(), before | now
        with suppress(StopIteration, ProcessLookupError):  # it is enough, or the process is done with its work
            time.sleep(next(left))
            os.kill(random.choice(sorted(now)), signal.SIGKILL)
            found["kills"] += 1
            there = contents(folder, "model*.safetensors") | contents(folder, "part-*.parquet")
            found["differing"] |= {name for name, one in there.items() if whole[name] != one}
    if process.returncode:
        raise RuntimeError(f"{folder}: a job ended with an error, see {place / 'messages'}")
    return found | {"seconds": time.monotonic() - found["begun"]}


def contents(folder: Path, names: str = "*") -> dict[str, str]:
    """A hash of each file; of those of models, of the arrays in it."""
    found = dict[str, str]()
    for file in folder.rglob(names):
        if file.is_file() and file.name not in ("lock", "run.safetensors"):
            arrays = load_file(file).items() if file.name.startswith("model") else ()
            parts = [name.encode() + array.numpy().tobytes() for name, array in sorted(arrays)] or [file.read_bytes()]
            found[str(file.relative_to(folder))] = hashlib.sha256(b"".join(parts)).hexdigest()
    return found


def disturbed(phase: str, place: Path, n_kills: int) -> dict[str, Any]:
    """Kill jobs of a phase until it is enough, and compare each with one that nobody disturbed."""
    seconds = job(phase, place, place / f"{phase}-0", (), {})["seconds"]
    whole, n_killed, n_jobs, differing = contents(place / f"{phase}-0"), 0, 0, set[str]()
    while n_killed < n_kills:
        n_jobs, folder = n_jobs + 1, place / f"{phase}-{n_jobs + 1}"
        moments = [random.uniform(0, 0.5 * seconds) for _ in range(n_kills - n_killed)]
        found, left = job(phase, place, folder, moments, whole), contents(folder)
        differing |= found["differing"] | {name for name in {**whole, **left} if whole.get(name) != left.get(name)}
        n_killed += found["kills"]
    return {"phase": phase, "kills": n_killed, "jobs": n_jobs, "files": len(whole), "differing": sorted(differing)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=list(PHASES))
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.work:
        phase, place, folder = arguments.work[0], *map(Path, arguments.work[1:])
        (folder.with_suffix(".begun") / str(os.getpid())).touch()
        PHASES[phase](place, folder)
        return
    place, frame = Path(tempfile.mkdtemp(prefix="worst-days-")), make_movies(10_000, 2000, 400_000)
    for name, rows in (("events", frame[:300_000]), ("later", frame[300_000:])):
        (place / name).mkdir()
        for number in range(N_PARTS):
            rows.iloc[number::N_PARTS].to_parquet(place / name / f"{number:03}.parquet")
    data, info = DatasetFeat.build_trainset(place / "events", **COLUMNS, cache_dir=place / "train")
    FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0).save(place, "model")
    for number, phase in enumerate(arguments.phases):
        print(json.dumps(disturbed(phase, place, (arguments.kills + number) // len(arguments.phases))), flush=True)
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
