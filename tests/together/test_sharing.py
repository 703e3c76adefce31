"""Processes that share out the rows of tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from recolib import FM
from recolib.datasets import make_movies

pytest.importorskip("torchrec", reason="shard='rows' needs torchrec: make torchrec")
SCRIPT = str(Path(__file__).parent / "train_sharing.py")
LIMIT_S = 500


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What one, two and three processes trained."""
    folder = tmp_path_factory.mktemp("sharing")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    commands = [[sys.executable], *([*torchrun, f"--nproc-per-node={n}"] for n in (2, 3))]
    runs = [
        subprocess.Popen([*one, SCRIPT, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for one in commands
    ]
    for run in runs:
        output, _ = run.communicate(timeout=LIMIT_S)
        assert run.returncode == 0, output
    return folder


@pytest.mark.parametrize("n", [2, 3])
def test_weights_and_sums_are_those_of_one_process(folder, n):
    alone = load_file(folder / "1-0.safetensors")
    assert sum(name.endswith("vectors.weight.sum") for name in alone) == 2 * 8
    for rank in range(n):
        shared = load_file(folder / f"{n}-{rank}.safetensors")
        # AutoInt has no linear weights: where they are shared out, nothing is kept of them, not even a zero
        unused = {name for name in alone if name.startswith("slots.") and ".weights.weight." in name}
        assert alone.keys() - shared.keys() == unused
        assert not any(alone[name].any() for name in unused if name.endswith("sum"))
        differences = {
            name: float((alone[name].double() - one.double()).abs().max())
            for name, one in shared.items()
            if one.numel()
        }
        assert not {name: by for name, by in differences.items() if by > 1e-6}


def test_a_second_fit_goes_on_from_the_rows_of_all(folder):
    shared = load_file(folder / "2-0.safetensors")
    ends = {name.removeprefix("further."): one for name, one in shared.items() if name.startswith("further.")}
    for name, one in ends.items():
        assert torch.equal(one, shared[f"at_once.{name}"]), name


def test_files_are_those_of_any_model(folder):
    of_one, of_two = (FM.load(folder, f"model-{n}") for n in (1, 2))
    assert of_two.shard == "rows"
    users = make_movies(n_users=61, n_items=47, n_ratings=900)["user"].unique()[:20].tolist()
    for user, ranked in of_one.recommend_user(users, 5).items():
        assert list(of_two.recommend_user([user], 5)[user]) == list(ranked)
