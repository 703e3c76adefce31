"""Processes of which one has a bad file or a full disk: an error that says which and where, and no work is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.protocol import ROOT
from recolib.datasets import make_movies
from tests.disks import mounted
from tests.together.test_together import HERE, LIMIT_S, end, start, torchrun

pq = pytest.importorskip("pyarrow.parquet")
SCRIPT = str(HERE / "train_on_bad_days.py")


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> Path:
    """Ten files of two row groups."""
    folder, frame = tmp_path_factory.mktemp("data") / "events", make_movies(n_users=61, n_items=47, n_ratings=1000)
    folder.mkdir()
    for number in range(10):
        frame[100 * number : 100 * number + 100].to_parquet(folder / f"{number:02}.parquet", row_group_size=50)
    return folder


def place(folder: Path, events: Path) -> Path:
    """A folder with the data of two processes, each of which may read its own."""
    for rank in range(2):
        shutil.copytree(events, folder / f"of-{rank}" / "events")
    return folder


def failed(folder: Path) -> str:
    job = start(torchrun(2), SCRIPT, str(folder))
    output, _ = job.communicate(timeout=LIMIT_S)
    assert job.returncode != 0
    return output


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "of-0" / "model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(events, tmp_path_factory) -> Path:
    folder = place(tmp_path_factory.mktemp("undisturbed"), events)
    end(start(torchrun(2), SCRIPT, str(folder)))
    return folder


def ends_as(folder: Path, undisturbed: Path) -> bool:
    """Whether a job goes on and comes to the same weights."""
    end(start(torchrun(2), SCRIPT, str(folder)))
    found, expected = weights(folder), weights(undisturbed)
    return found.keys() == expected.keys() and all(torch.equal(one, expected[name]) for name, one in found.items())


def test_a_damaged_file_of_one_process_is_named_and_the_job_goes_on_when_it_is_mended(events, undisturbed, tmp_path):
    folder = place(tmp_path, events)
    file = folder / "of-1" / "events" / "07.parquet"
    content = file.read_bytes()
    column = pq.ParquetFile(file).metadata.row_group(1).column(0)
    begin = column.dictionary_page_offset or column.data_page_offset
    file.write_bytes(content[:begin] + b"\xff" * 16 + content[begin + 16 :])
    output = failed(folder)
    assert "of-1/events/07.parquet, row group 1 cannot be read" in output
    assert "rank      : 1 (local_rank: 1)" in output
    parts = folder / "of-1" / "encoded" / "parts"
    assert len(list(parts.iterdir())) == 15
    file.write_bytes(content)
    (parts / "part-000014.safetensors").unlink()  # of what the file was
    assert ends_as(folder, undisturbed)


def test_a_disk_that_is_full_at_a_checkpoint_ends_all_and_the_job_goes_on_when_there_is_room(
    events, undisturbed, tmp_path
):
    folder, size = place(tmp_path, events), (undisturbed / "disk" / "run.safetensors").stat().st_size
    with mounted(folder / "disk", 3 * size // 2048) as disk:  # room for one and a half
        output = failed(folder)
        assert f"No space left on device: '{disk / 'run.safetensors'}'" in output
        assert "rank      : 0 (local_rank: 0)" in output
        assert [file.name for file in disk.iterdir()] == ["run.safetensors"]  # that of the first epoch
        subprocess.run(["mount", "-o", "remount,size=10m", str(disk)], check=True)
        assert ends_as(folder, undisturbed)


@pytest.mark.slow
def test_jobs_that_are_killed_at_random_moments_leave_the_same_files():
    """Building, training, saving and lists, each killed once; ``python -m benchmarks.worst_days`` kills 30 times."""
    command = [sys.executable, "-m", "benchmarks.worst_days", "--kills", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    phases = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["phase"] for one in phases] == ["build", "train", "save", "score"]
    assert [(one["kills"], one["differing"]) for one in phases] == [(1, [])] * 4
