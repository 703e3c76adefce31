"""Bad files, full disks, folders of others, kills and clocks: the same bits afterwards, or an error that says where."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recolib import files
from recolib.algorithms import FM
from recolib.cli.parts import PartsOfLists
from recolib.data import DatasetFeat, Interactions
from recolib.evaluation import evaluate
from recolib.process_group import ProcessGroup
from tests.data.test_streaming import COLUMNS, cut, events
from tests.disks import mounted
from tests.forks import forked

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
resource = pytest.importorskip("resource")  # Windows has none, and no such kills and mounts

N, N_PARTS = 1200, 12
pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")


def write(folder: Path, frame: pd.DataFrame) -> Path:
    """A file for each hundred rows, of two row groups."""
    folder.mkdir()
    for number, part in enumerate(cut(frame, N // N_PARTS)):
        table = pa.Table.from_pandas(part, preserve_index=False)
        pq.write_table(table, folder / f"{number:02}.parquet", row_group_size=50, compression="none")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "events", events(0, N))


@pytest.fixture(scope="module")
def whole() -> str:
    """The digest of the set of all rows."""
    return DatasetFeat.build_trainset(events(0, N), **COLUMNS)[0].digest()


def build(source: object, cache: Path | None = None) -> Interactions:
    return DatasetFeat.build_trainset(source, **COLUMNS, cache_dir=cache)[0]


def n_kept(cache: Path) -> int:
    return len(list((cache / "parts").glob("part-*.safetensors")))


# ---- bad files


def test_a_cut_off_file_is_named_and_nothing_that_was_read_is_lost(folder, tmp_path, whole):
    file, cache = folder / "07.parquet", tmp_path / "cache"
    content = file.read_bytes()
    file.write_bytes(content[:-300])
    with pytest.raises(ValueError, match=r"07\.parquet cannot be read"):
        build(folder, cache)
    assert n_kept(cache) == 14
    file.write_bytes(content)
    assert build(folder, cache).digest() == whole


def test_an_evaluation_set_and_users_name_a_file_that_is_cut_off(folder, tmp_path):
    data, info = DatasetFeat.build_trainset(events(), **COLUMNS)
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    whole = DatasetFeat.build_evalset(folder, data_info=info).digest()
    file, cache, lists = folder / "07.parquet", tmp_path / "cache", tmp_path / "lists.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:-300])
    with pytest.raises(ValueError, match=r"07\.parquet cannot be read"):
        DatasetFeat.build_evalset(folder, data_info=info, cache_dir=cache)
    assert n_kept(cache) == 14
    with pytest.raises(ValueError, match=r"07\.parquet cannot be read"):
        evaluate(model, folder, True)
    with pytest.raises(ValueError, match=r"07\.parquet cannot be read"):
        model.recommend_to(lists, folder, 3, verbose=0)
    assert not lists.exists()
    file.write_bytes(content)
    assert DatasetFeat.build_evalset(folder, data_info=info, cache_dir=cache).digest() == whole


def test_a_first_file_that_is_cut_off_is_named(folder):
    (folder / "00.parquet").write_bytes((folder / "00.parquet").read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"is no Parquet.*00\.parquet"):
        build(folder)


def test_a_damaged_row_group_is_named(folder, tmp_path, whole):
    file, cache = folder / "07.parquet", tmp_path / "cache"
    content = file.read_bytes()
    column = pq.ParquetFile(file).metadata.row_group(1).column(0)
    begin = column.dictionary_page_offset or column.data_page_offset
    damaged = bytearray(content)
    damaged[begin : begin + 16] = b"\xff" * 16  # the head of a page
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"07\.parquet, row group 1 cannot be read"):
        build(folder, cache)
    assert n_kept(cache) == 15
    file.write_bytes(content)
    os.utime(file, ns=(0, 0))  # its first row group was read from what the file was
    with pytest.raises(ValueError, match=r"part-000014\.safetensors was made of another .*07\.parquet, row group 0"):
        build(folder, cache)
    (cache / "parts" / "part-000014.safetensors").unlink()
    assert build(folder, cache).digest() == whole


@pytest.mark.parametrize("column", ["user", "hour", "time"])
def test_a_column_that_changes_its_type_in_part_7_costs_that_part_alone(column, folder, tmp_path, whole):
    file, cache = folder / "07.parquet", tmp_path / "cache"
    content = file.read_bytes()
    frame = pd.read_parquet(file)
    as_text = frame[column].astype(str) if column != "time" else pd.to_datetime(frame[column], unit="D")
    pq.write_table(pa.Table.from_pandas(frame.assign(**{column: as_text}), preserve_index=False), file)
    with pytest.raises(ValueError, match=rf"column '{column}' holds .* in .*07\.parquet, row group 0 and numbers in"):
        build(folder, cache)
    assert n_kept(cache) == 14
    file.write_bytes(content)
    assert build(folder, cache).digest() == whole


def test_a_cache_in_the_folder_of_the_data_is_refused_at_once(folder):
    before = sorted(folder.rglob("*"))
    for cache in (folder, folder / "cache", folder / "deep" / "cache", folder / ".." / "events" / "cache"):
        with pytest.raises(ValueError, match=r"cache_dir=.* is in the folder train_data=.* give a folder beside it"):
            build(folder, cache)
        info = DatasetFeat.build_trainset(events(), **COLUMNS)[1]
        with pytest.raises(ValueError, match=r"cache_dir=.* is in the folder eval_data="):
            DatasetFeat.build_evalset(folder, data_info=info, cache_dir=cache)
    assert sorted(folder.rglob("*")) == before
    assert len(build(folder / "01.parquet", folder / "cache")) == 100  # beside a file is where it may be


# ---- full disks


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_file_that_may_grow_no_further_is_named_and_the_build_goes_on_afterwards(share, folder, tmp_path, whole):
    """Not patched: the system refuses to let a file grow beyond a limit."""
    cache = tmp_path / "cache"
    build(folder, tmp_path / "other")
    largest = max(file.stat().st_size for file in (tmp_path / "other").iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * largest), limits[1]))
    try:
        with pytest.raises(OSError, match="too large") as refused:
            build(folder, cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert Path(refused.value.filename).is_relative_to(cache)
    assert build(folder, cache).digest() == whole


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many kilobytes."""
    with ExitStack() as stack:
        yield lambda kilobytes: stack.enter_context(mounted(tmp_path / "disk", kilobytes))


@pytest.mark.parametrize("kilobytes", [16, 64, 128, 200])
def test_a_full_disk_is_an_error_and_the_build_goes_on_when_there_is_room(kilobytes, folder, small_disk, whole):
    disk = small_disk(kilobytes)
    with pytest.raises(OSError, match="No space left") as refused:
        build(folder, disk / "cache")
    assert Path(refused.value.filename).is_relative_to(disk)
    subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
    assert build(folder, disk / "cache").digest() == whole


def test_a_full_disk_leaves_models_and_lists_as_they_were(small_disk):
    disk = small_disk(200)
    data, info = DatasetFeat.build_trainset(events(), **COLUMNS)
    model = FM("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0)
    files_there = [model.save(disk, "model"), model.recommend_to(disk / "lists.parquet", n_rec=3, verbose=0)]
    before = [file.read_bytes() for file in files_there]
    with suppress(OSError), (disk / "full").open("wb", buffering=0) as stream:
        while stream.write(bytes(1024)):
            pass
    run = DatasetFeat.build_trainset(events(), **COLUMNS)[0]
    for write_again in (
        lambda: model.save(disk, "model"),
        lambda: model.recommend_to(disk / "lists.parquet", n_rec=3, verbose=0),
        lambda: model.recommend_to(disk / "more.parquet", n_rec=3, verbose=0),
        lambda: FM("ranking", run.data_info, n_epochs=2).fit(run, True, 0, checkpoint=disk / "run"),
    ):
        with pytest.raises(OSError, match="No space left") as refused:
            write_again()
        assert Path(refused.value.filename).is_relative_to(disk)
    assert [file.read_bytes() for file in files_there] == before
    assert sorted(file.name for file in disk.iterdir()) == ["full", "lists.parquet", "model.safetensors"]


def test_a_full_disk_refuses_a_large_array_before_it_is_written_to(small_disk, monkeypatch):
    disk = small_disk(64)
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    monkeypatch.setattr(files, "MAX_IN_MEMORY", 0)
    with pytest.raises(OSError, match="No space left") as refused:
        files.scratch(100_000, np.float32)
    assert refused.value.filename == str(disk)


# ---- folders that cannot be written to


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder in which this process may not write, while the test runs."""
    folder = Path(tempfile.mkdtemp())
    (folder / "below").mkdir()
    folder.chmod(0o555)
    (folder / "below").chmod(0o555)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)  # root may write everywhere
    try:
        yield folder
    finally:
        if was_root:
            os.seteuid(0)
        for one in (folder, folder / "below"):
            one.chmod(0o755)
        shutil.rmtree(folder)


def test_a_folder_that_may_not_be_written_to_is_named(closed):
    data, info = DatasetFeat.build_trainset(events(), **COLUMNS)
    model = FM("ranking", info, n_epochs=1)
    for cache in (closed / "below", closed / "new"):
        with pytest.raises(PermissionError) as refused:
            build(lambda: cut(events(), 20), cache)
        assert str(closed) in str(refused.value)
        with pytest.raises(PermissionError) as refused:
            DatasetFeat.build_evalset(cut(events(), 20), data_info=info, cache_dir=cache)
        assert str(closed) in str(refused.value)
    with pytest.raises(PermissionError, match="checkpoint="):
        model.fit(data, neg_sampling=True, verbose=0, checkpoint=closed / "below" / "run")
    model.fit(data, neg_sampling=True, verbose=0)
    with pytest.raises(PermissionError) as refused:
        model.save(closed / "below", "model")
    assert str(closed) in str(refused.value)
    parts = PartsOfLists(closed / "lists", 2, "model", 3)
    for write_lists in (
        lambda: model.recommend_to(closed / "below" / "lists.parquet", n_rec=3, verbose=0),
        lambda: parts.write(model, ProcessGroup(), {"n_rec": 3, "verbose": 0}),
    ):
        with pytest.raises(PermissionError) as refused:
            write_lists()
        assert str(closed) in str(refused.value)
    assert sorted(closed.rglob("*")) == [closed / "below"]


def test_a_cache_below_a_file_is_refused(folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cache_dir=.* is below a file: give another folder"):
        build(folder, tmp_path / "file" / "cache")


# ---- kills


def in_child(work: Callable[[], object], seconds: float) -> bool:
    """Whether a forked process that works came to its end before it was killed."""
    child = forked(work)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has threads")
def test_a_build_that_is_killed_at_any_moment_ends_with_the_same_bits(tmp_path, whole):
    def frames() -> Iterator[pd.DataFrame]:
        return cut(events(0, N), 40)

    begin = time.perf_counter()
    build(frames, tmp_path / "undisturbed")
    duration, draw, ended = time.perf_counter() - begin, random.Random(0), 0
    for number in range(4):
        cache = tmp_path / f"cache-{number}"
        for _ in range(4):
            ended += in_child(lambda cache=cache: build(frames, cache), draw.uniform(0, 0.9 * duration))
        assert build(frames, cache).digest() == whole
        assert not list(cache.rglob("*.recolib-unfinished"))
    assert ended < 16  # else no kill hit a build, and nothing was tested


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has threads")
def test_an_evaluation_set_whose_build_is_killed_ends_with_the_same_bits(tmp_path):
    info = DatasetFeat.build_trainset(events(), **COLUMNS)[1]

    def evalset(cache: Path | None) -> Interactions:
        return DatasetFeat.build_evalset(lambda: cut(events(1, N), 40), data_info=info, cache_dir=cache)

    begin = time.perf_counter()
    expected = evalset(None).digest()
    duration, draw = time.perf_counter() - begin, random.Random(1)
    for _ in range(6):
        in_child(lambda: evalset(tmp_path / "cache"), draw.uniform(0, duration))
    assert evalset(tmp_path / "cache").digest() == expected


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has threads")
def test_lists_in_parts_whose_process_is_killed_are_the_same_files(tmp_path):
    data, info = DatasetFeat.build_trainset(events(0, N), **COLUMNS)
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)

    def lists(folder: Path) -> dict[str, bytes]:
        PartsOfLists(folder, 9, "model", 3).write(model, ProcessGroup(), {"n_rec": 3, "verbose": 0})
        return {file.name: file.read_bytes() for file in folder.iterdir()}

    begin = time.perf_counter()
    whole = lists(tmp_path / "undisturbed")
    duration, draw, n_ended = time.perf_counter() - begin, random.Random(2), 0
    for number in range(3):
        folder = tmp_path / f"killed-{number}"
        for _ in range(4):
            n_ended += in_child(lambda folder=folder: lists(folder), draw.uniform(0, 0.7 * duration))
            there = {file.name: file.read_bytes() for file in folder.glob("part-*.parquet")}
            assert there.items() <= whole.items()  # what has a name is whole
        assert lists(folder) == whole
    assert n_ended < 12


# ---- clocks


@pytest.mark.parametrize("step", [-3600.0, 0.0, 86_400.0])
def test_clocks_that_stand_or_jump_change_nothing(step, folder, tmp_path, whole, monkeypatch):
    def trained(place: Path, stop_at: int | None) -> FM:
        data, info = DatasetFeat.build_trainset(folder, **COLUMNS, cache_dir=place / "cache")
        assert data.digest() == whole

        def stop(record: dict[str, float]) -> None:
            if record["epoch"] == stop_at:
                raise KeyboardInterrupt

        model = FM("ranking", info, n_epochs=3, embed_size=4)
        run = place / "run"
        model.fit(data, True, 0, eval_data=events(1), checkpoint=run, resume=run, callbacks=[stop])
        return model

    undisturbed = trained(tmp_path / "undisturbed", None)
    now = [1e9]

    def clock() -> float:
        now[0] += step
        return now[0]

    for name in ("time", "perf_counter", "monotonic"):
        monkeypatch.setattr(time, name, clock)
    monkeypatch.setattr(time, "time_ns", lambda: int(clock() * 1e9))
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "disturbed", 2)
    resumed = trained(tmp_path / "disturbed", None)
    assert resumed.history_["epoch"].tolist() == [1, 2, 3]
    assert (resumed.history_["seconds"] > 0).all()
    assert resumed.history_["eval_loss"].tolist() == undisturbed.history_["eval_loss"].tolist()
    assert evaluate(resumed, events(1), True) == evaluate(undisturbed, events(1), True)
