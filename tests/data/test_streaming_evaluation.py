"""Evaluation sets of what is read in parts: those of the whole frame, bit for bit."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recolib.data import DataInfo, DatasetFeat, DatasetPure, Interactions
from recolib.data.streaming import evaluating
from recolib.exceptions import UnseenValueWarning
from tests.data.test_streaming import COLUMNS, cut, events

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
ds = pytest.importorskip("pyarrow.dataset")

N = 80
pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")


@pytest.fixture(scope="module")
def info() -> DataInfo:
    return DatasetFeat.build_trainset(events(), **COLUMNS)[1]


def later(seed: int) -> pd.DataFrame:
    """Events of known and of unknown users, with prices that change."""
    frame = events(seed, N)
    return frame.assign(user=frame["user"].where(np.arange(N) % 7 > 0, frame["user"] + 1000 + seed))


def same(one: Interactions, other: Interactions) -> None:
    assert one.digest() == other.digest()
    for mine, theirs in ((one.users, other.users), (one.items, other.items)):
        arrays = [
            (table.owner, table.history.codes, table.history.times, table.history.rows) for table in (mine, theirs)
        ]
        for a, b in zip(*arrays, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
    assert one.users.rows.past is not None
    assert other.users.rows.past is not None
    np.testing.assert_array_equal(one.users.rows.past.spans, other.users.rows.past.spans)


@pytest.mark.parametrize("size", [1, 7, 33, N])
@pytest.mark.parametrize(
    "without", [(), ("time",), ("price",), ("label",), ("sex", "age"), ("time", "genre1", "genre2")]
)
def test_parts_of_any_size_give_the_set_of_the_whole_frame(size, without, info, monkeypatch):
    monkeypatch.setattr(evaluating, "MAX_WAITING", 3)  # rows are joined again and again
    frame = later(size).drop(columns=list(without))
    whole = DatasetFeat.build_evalset(frame, data_info=info)
    data = DatasetFeat.build_evalset(cut(frame, size), data_info=info)
    same(data, whole)
    assert data.part_starts.tolist() == [*range(0, N, size), N]


def test_times_of_several_types_are_as_in_memory(info):
    frame = later(3)
    parts = [frame[:30], frame[30:].assign(time=frame["time"] + 0.5)]
    same(
        DatasetFeat.build_evalset(iter(parts), data_info=info),
        DatasetFeat.build_evalset(pd.concat(parts), data_info=info),
    )


def write(folder: Path, frame: pd.DataFrame) -> Path:
    folder.mkdir()
    pq.write_table(pa.Table.from_pandas(frame[:50], preserve_index=False), folder / "a.parquet", row_group_size=20)
    pq.write_table(pa.Table.from_pandas(frame[50:], preserve_index=False), folder / "b.parquet", row_group_size=20)
    return folder


def test_a_folder_a_dataset_and_a_function_are_as_their_rows(info, tmp_path):
    frame = later(1)
    folder, whole = write(tmp_path / "events", frame), DatasetFeat.build_evalset(frame, data_info=info)
    for source in (folder, str(folder), ds.dataset(folder), lambda: cut(frame, 9)):
        same(DatasetFeat.build_testset(source, data_info=info), whole)


def test_a_folder_of_files_is_used_again(info, tmp_path, monkeypatch):
    folder, cache = write(tmp_path / "events", later(1)), tmp_path / "cache"
    whole = DatasetFeat.build_evalset(folder, data_info=info, cache_dir=cache)
    with monkeypatch.context() as patch:
        patch.setattr(evaluating, "_encode", None)
        same(DatasetFeat.build_evalset(folder, data_info=info, cache_dir=cache), whole)
    with pytest.raises(ValueError, match="set of another eval_data"):
        DatasetFeat.build_evalset(lambda: cut(later(2), 20), data_info=info, cache_dir=cache)
    other = DatasetPure.build_trainset(events())[1]
    with pytest.raises(ValueError, match="set of other arguments or features"):
        DatasetFeat.build_evalset(folder, data_info=other, cache_dir=cache)


def test_a_set_of_features_that_were_assigned_since_is_refused(tmp_path):
    info = DatasetFeat.build_trainset(events(), **COLUMNS)[1]
    folder, cache = write(tmp_path / "events", later(1)), tmp_path / "cache"
    DatasetFeat.build_evalset(folder, data_info=info, cache_dir=cache)
    info.assign_item_features(pd.DataFrame({"item": ["a"], "price": [0.123]}))
    with pytest.raises(ValueError, match="set of other arguments or features"):
        DatasetFeat.build_evalset(folder, data_info=info, cache_dir=cache)


@pytest.mark.parametrize("without", [(), ("time", "label")])
def test_an_interrupted_build_goes_on_at_its_part(without, info, tmp_path, monkeypatch):
    frame, cache, encoded = later(1).drop(columns=list(without)), tmp_path / "cache", list[int]()

    def interrupted() -> Iterator[pd.DataFrame]:
        yield from list(cut(frame, 7))[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DatasetFeat.build_evalset(interrupted, data_info=info, cache_dir=cache)
    assert len(list((cache / "parts").iterdir())) == 3

    def encoding(part, *more):
        encoded.append(len(part))
        return shown_of(part, *more)

    shown_of = evaluating._shown_of
    monkeypatch.setattr(evaluating, "_shown_of", encoding)
    data = DatasetFeat.build_evalset(lambda: cut(frame, 7), data_info=info, cache_dir=cache)
    same(data, DatasetFeat.build_evalset(frame, data_info=info))
    assert encoded == [7] * 8 + [3]
    assert not (cache / "parts").exists()


def test_a_build_that_was_killed_in_its_second_pass_encodes_nothing_again(info, tmp_path, monkeypatch):
    folder, cache = write(tmp_path / "events", later(1)), tmp_path / "cache"
    with monkeypatch.context() as patch:
        patch.setattr(evaluating, "_number", None)
        with pytest.raises(TypeError):
            DatasetFeat.build_evalset(folder, data_info=info, cache_dir=cache)
    with monkeypatch.context() as patch:
        patch.setattr(evaluating, "_shown_of", None)
        data = DatasetFeat.build_evalset(folder, data_info=info, cache_dir=cache)
    same(data, DatasetFeat.build_evalset(later(1), data_info=info))


def test_parts_of_a_build_that_was_interrupted_are_checked(info, tmp_path, monkeypatch):
    folder, cache = write(tmp_path / "events", later(1)), tmp_path / "cache"
    monkeypatch.setattr(evaluating, "_number", None)
    with pytest.raises(TypeError):
        DatasetFeat.build_evalset(folder, data_info=info, cache_dir=cache)
    part = cache / "parts" / "part-000001.safetensors"
    content = part.read_bytes()
    part.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"part-000001\.safetensors cannot be read: its checksum"):
        DatasetFeat.build_evalset(folder, data_info=info, cache_dir=cache)
    part.write_bytes(content)
    os.utime(folder / "a.parquet", ns=(0, 0))
    with pytest.raises(ValueError, match=r"part-000000\.safetensors was made of another .*a\.parquet, row group 0"):
        DatasetFeat.build_evalset(folder, data_info=info, cache_dir=cache)


def test_files_without_a_folder_leave_nothing(info, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = DatasetFeat.build_evalset(cut(later(1), 9), data_info=info)
    assert not list(tmp_path.iterdir())
    assert len(data.labels) == N


def test_what_training_did_not_see_is_told_of_once(info):
    frame = later(1).assign(sex="other")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        DatasetFeat.build_evalset(cut(frame, 9), data_info=info)
    messages = [str(one.message) for one in told if one.category is UnseenValueWarning]
    assert [message[:25] for message in messages if "'sex'" in message] == ["column 'sex' has 9 values"]


def test_bad_parts_are_named(info, tmp_path):
    frame = later(1)
    with pytest.raises(ValueError, match="frame 1 of eval_data: column 'heat' has 1 infinite"):
        DatasetFeat.build_evalset(cut(frame.assign(heat=np.where(frame.index == 15, np.inf, 1)), 10), data_info=info)
    with pytest.raises(ValueError, match=r"columns \['hour'\] are not in eval_data"):
        DatasetFeat.build_evalset(cut(frame.drop(columns="hour"), 10), data_info=info)
    with pytest.raises(ValueError, match=r"columns \['sex'\] are not in frame 1 of eval_data"):
        DatasetFeat.build_evalset(iter([frame, frame.drop(columns="sex")]), data_info=info)
    with pytest.raises(ValueError, match="'user' holds text in frame 1 of eval_data and numbers in the parts before"):
        DatasetFeat.build_evalset(iter([frame, frame.astype({"user": str})]), data_info=info)
    with pytest.raises(ValueError, match="eval_data has no rows"):
        DatasetFeat.build_evalset(iter([frame[:0]]), data_info=info)
    with pytest.raises(ValueError, match="shuffle=True takes a frame"):
        DatasetFeat.build_evalset(cut(frame, 10), True, data_info=info)
    with pytest.raises(ValueError, match="cache_dir is for eval_data that is read in parts"):
        DatasetFeat.build_evalset(frame, data_info=info, cache_dir=tmp_path)


def test_too_many_rows_of_changing_features_are_refused(info, monkeypatch):
    monkeypatch.setattr(evaluating, "MAX_CHANGING", 50)
    with pytest.raises(ValueError, match="features of items change in the rows, and more than 50"):
        DatasetFeat.build_evalset(cut(later(1), 10), data_info=info)
