"""Processes that train one model together, as ``torchrun`` starts them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from recolib.process_group import NEEDED, ProcessGroup

HERE = Path(__file__).parent
ALONE = [sys.executable]
LIMIT_S = 500


def torchrun(n: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}", *more]


def start(command: list[str], *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def end(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, output
    return output


def test_weights_do_not_depend_on_the_number_of_processes(tmp_path):
    """Three train all algorithms, two those that try every setting."""
    arguments = str(HERE / "train_all.py"), str(tmp_path)
    runs = [start(command, *arguments) for command in (ALONE, torchrun(3))]
    runs.append(start(torchrun(2), *arguments, "FM", "DeepFM"))
    for run in runs:
        end(run)
    alone = {name: one for name, one in load_file(tmp_path / "1-0.safetensors").items() if one.numel()}
    assert len({name.split(".")[0] for name in alone}) > 40
    for n in (2, 3):
        first, *others = (load_file(tmp_path / f"{n}-{rank}.safetensors") for rank in range(n))
        for other in others:
            different = [name for name, one in first.items() if not torch.equal(one, other[name])]
            assert not [name for name in different if not name.endswith(".loss")]
        tried = {name for name in alone if n == 3 or name.startswith(("FM-", "DeepFM-", "stopped."))}
        assert first.keys() >= tried
        differences = {name: float((alone[name].double() - first[name].double()).abs().max()) for name in tried}
        bounds = {name: 1e-6 * max(1.0, float(one.double().abs().max())) for name, one in alone.items()}
        assert not {name: by for name, by in differences.items() if by > bounds[name]}


def test_a_job_whose_processes_are_killed_ends_with_the_same_bits(tmp_path):
    script, folders = str(HERE / "train_further.py"), [tmp_path / name for name in ("whole", "killed")]
    for folder in folders:
        folder.mkdir()
    end(start(torchrun(2), script, str(folders[0])))
    job = start(torchrun(2, "--max-restarts=10", "--monitor-interval=0.1"), script, str(folders[1]))
    draw, n_killed, epoch = random.Random(7), 0, folders[1] / "epoch"
    deadline = time.monotonic() + LIMIT_S
    while job.poll() is None and n_killed < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
        if epoch.exists() and epoch.read_text() in {"2", "5", "8"}:
            workers = children(job.pid)
            if len(workers) == 2:
                os.kill(draw.choice(workers), signal.SIGKILL)
                n_killed += 1
                epoch.unlink(missing_ok=True)
    end(job)
    assert n_killed == 3
    whole, killed = (load_file(folder / "model.safetensors") for folder in folders)
    assert whole.keys() == killed.keys()
    assert not [name for name, one in whole.items() if not torch.equal(one, killed[name])]


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_an_error_in_one_process_ends_all_with_its_message(tmp_path):
    job = start(torchrun(2), str(HERE / "train_wrongly.py"), "raise", str(tmp_path))
    output, _ = job.communicate(timeout=LIMIT_S)
    assert job.returncode != 0
    assert "the disk of process 1 is full" in output


def test_all_processes_raise_the_same_and_go_on(tmp_path):
    """What callbacks and metrics of the first one raise, and what differs between them."""
    output = end(start(torchrun(2), str(HERE / "train_wrongly.py"), "caught", str(tmp_path)))
    for rank in range(2):
        assert f"process {rank} has 2 epochs" in output
        assert f"process {rank} has 3 epochs and no positives" in output
        for what in ("train_data", "shuffle", "trained epochs or checkpoint"):
            assert f"process {rank} is told: process 1 has other {what} than process 0" in output
        assert f"process {rank} trains 1 epoch" in output


def test_a_group_that_was_made_for_gpus_alone_serves(tmp_path):
    end(start(torchrun(2), str(HERE / "train_wrongly.py"), "gpus", str(tmp_path)))


@pytest.mark.parametrize(
    "values", [("", "", "", ""), ("1", "2", "", ""), ("1", "1", "localhost", "29500"), ("0", "1", "localhost", "29500")]
)
def test_a_process_whose_environment_names_no_others_is_alone(values, monkeypatch):
    for name, value in zip(NEEDED, values, strict=True):
        monkeypatch.setenv(name, value)
    assert ProcessGroup.current() == ProcessGroup()


def test_only_the_first_process_prints(tmp_path):
    script = str(HERE / "train_wrongly.py")
    of_two, of_one = (end(start(command, script, "print", str(tmp_path))) for command in (torchrun(2), ALONE))
    assert of_two.count("epoch 50/50: 100%") == of_one.count("epoch 50/50: 100%") == 1
