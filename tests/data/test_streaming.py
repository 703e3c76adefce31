from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from recolib.algorithms import FM
from recolib.data import DataInfo, DatasetFeat, DatasetPure, Interactions
from recolib.data.order import regrouped
from recolib.data.streaming import sides, sorting, spooling
from recolib.exceptions import MixedTypesWarning, NoLabelWarning, RecolibWarning, UndeclaredWeightWarning
from recolib.files import UNFINISHED, write_file

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
ds = pytest.importorskip("pyarrow.dataset")

N = 60
COLUMNS = {
    "user_col": ["sex", "age"],
    "item_col": ["genre1", "genre2", "price"],
    "context_col": ["hour", "heat", "tags"],
    "sparse_col": ["sex", "hour"],
    "dense_col": ["age", "price", "heat"],
    "multi_sparse_col": [["genre1", "genre2"], "tags"],
    "max_list_len": 2,
}


def events(seed: int = 0, n: int = N) -> pd.DataFrame:
    """Events with every kind of column that parts can have: ages stay, prices change, and some values are missing."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "user": rng.integers(0, 9, n) * 7 - 3,
            "item": rng.choice([*"abcdef", "é"], n),
            "label": rng.integers(0, 2, n),
            "time": rng.integers(0, 30, n),
            "hour": rng.integers(0, 24, n),
            "heat": rng.normal(15, 8, n),
            "tags": [["x", "y", "z"][: rng.integers(0, 4)] for _ in range(n)],
            "count": rng.integers(0, 3, n) + 0.5,
        }
    )
    frame["sex"] = np.where(frame["user"] % 2 == 0, "f", "m")
    frame["age"] = frame["user"] * 1.1 + 20
    frame["genre1"] = frame["item"].map({"a": "drama", "b": "none", "c": "crime"}).fillna("war")
    frame["genre2"] = np.where(frame["item"] < "d", "none", "drama")
    frame["price"] = np.round(rng.random(n), 1)
    frame.loc[rng.random(n) < 0.2, "heat"] = np.nan
    return frame


def cut(frame: pd.DataFrame, size: int) -> Iterator[pd.DataFrame]:
    return (frame.iloc[start : start + size] for start in range(0, len(frame), size))


def same(one: tuple[Interactions, DataInfo], other: tuple[Interactions, DataInfo]) -> None:
    """Hold that two sets and their data are the same, to the last bit."""
    (data, info), (as_data, as_info) = one, other
    assert data.digest() == as_data.digest()
    assert info.fingerprint == as_info.fingerprint
    assert info.user_consumed == as_info.user_consumed
    assert info.item_consumed == as_info.item_consumed
    assert info.consumed == as_info.consumed
    assert (info.data_size, info.labels, info.n_vectors) == (as_info.data_size, as_info.labels, as_info.n_vectors)
    for mine, theirs in (
        (info.liked, as_info.liked),
        (info.log.starts, as_info.log.starts),
        (info.log.items, as_info.log.items),
        (info.log.times, as_info.log.times),
        (data.times, as_data.times),
        (data.user_rows, as_data.user_rows),
        (data.item_rows, as_data.item_rows),
        (info.users.history.rows, as_info.users.history.rows),
        (info.items.history.times, as_info.items.history.times),
    ):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype
    pd.testing.assert_frame_equal(info.item_frame(), as_info.item_frame())
    pd.testing.assert_frame_equal(info.user_frame(), as_info.user_frame())


@pytest.fixture
def folder(tmp_path):
    """Two files of several row groups, of which one is empty."""
    path = tmp_path / "events"
    path.mkdir()
    table = pa.Table.from_pandas(events(), preserve_index=False)
    pq.write_table(table[:40], path / "a.parquet", row_group_size=15)
    pq.write_table(table[40:40], path / "b.parquet")
    pq.write_table(table[40:], path / "c.parquet", row_group_size=7)
    return path


# ---- the same as in memory


@pytest.mark.parametrize("size", [1, 7, N])
def test_parts_of_any_size_give_the_set_of_the_whole_frame(size, monkeypatch):
    monkeypatch.setattr(sorting, "EVENTS_AT_ONCE", 10)  # several ranges of users
    frame = events()
    whole = DatasetFeat.build_trainset(frame, **COLUMNS, weight_col="count")
    data, info = DatasetFeat.build_trainset(lambda: cut(frame, size), **COLUMNS, weight_col="count")
    same((data, info), whole)
    assert data.part_starts.tolist() == [*range(0, N, size), N]
    assert not len(whole[0].part_starts)
    assert not len(data.take(np.arange(3)).part_starts)


@pytest.mark.parametrize("size", [1, 7, N])
def test_hashed_parts_of_any_size_give_the_set_of_the_whole_frame(size, tmp_path):
    frame = events()
    hashed = COLUMNS | {"encoding": "hash", "n_buckets": {"sex": 5, "hour": 40, "genre1": 3, "tags": 9}}
    whole = DatasetFeat.build_trainset(frame, **hashed)
    assert [len(whole[1].vocabs[name]) for name in ("sex", "hour", "genre1", "tags")] == [5, 40, 3, 9]
    same(DatasetFeat.build_trainset(lambda: cut(frame, size), **hashed), whole)
    for _ in range(2):  # the second is opened
        same(DatasetFeat.build_trainset(lambda: cut(frame, size), **hashed, cache_dir=tmp_path / "set"), whole)
    with pytest.raises(ValueError, match="has a set of other arguments"):
        DatasetFeat.build_trainset(lambda: cut(frame, size), **hashed | {"n_buckets": 9}, cache_dir=tmp_path / "set")


def test_hashed_files_give_models_of_the_same_weights_and_evaluations(folder):
    hashed = COLUMNS | {"encoding": {"sex": "hash", "tags": "hash"}, "n_buckets": 9}
    models = []
    for train_data, eval_data in ((events(), events(1)), (str(folder), lambda: cut(events(1), 9))):
        data, info = DatasetFeat.build_trainset(train_data, **hashed)
        model = FM("ranking", info, n_epochs=2, embed_size=4)
        models.append(model.fit(data, neg_sampling=True, verbose=0, eval_data=eval_data, metrics=["roc_auc"]))
    one, other = models
    pd.testing.assert_series_equal(one.history_["eval_roc_auc"], other.history_["eval_roc_auc"])
    pd.testing.assert_series_equal(one.history_["train_loss"], other.history_["train_loss"])


def test_of_hashed_columns_no_values_are_collected(monkeypatch):
    collected: dict[str, int] = {}
    seen = spooling._seen

    def watched(name, *rest):
        found = seen(name, *rest)
        collected[name] = -1 if found.values is None else len(found.values)
        return found

    monkeypatch.setattr(spooling, "_seen", watched)
    DatasetFeat.build_trainset(lambda: cut(events(), 30), **COLUMNS, encoding={"hour": "hash", "genre1": "hash"})
    assert collected["hour"] <= 2  # one of each part
    assert collected["genre1"] <= 2
    assert collected["sex"] == 2
    assert collected["item"] == 7


@pytest.mark.parametrize("encoding", ["vocabulary", "hash"])
@pytest.mark.parametrize("empty", [{"sex": None}, {"tags": [[]] * N}])
def test_a_column_that_is_empty_in_all_parts_is_refused(empty, encoding):
    frame = events().assign(**empty)
    with pytest.raises(ValueError, match=f"column '{next(iter(empty))}' is empty"):
        DatasetFeat.build_trainset(lambda: cut(frame, 7), **COLUMNS, encoding=encoding)


@pytest.mark.parametrize("size", [1, 7, N])
@pytest.mark.parametrize("consumed", ["all", "positive", None])
def test_parts_without_times_keep_the_order_of_rows(size, consumed):
    frame = events(1).drop(columns="time")
    whole = DatasetPure.build_trainset(frame, consumed=consumed)
    same(DatasetPure.build_trainset(cut(frame, size), consumed=consumed), whole)
    assert not whole[0].has_times


@pytest.mark.parametrize("seed", range(3))
def test_ratings_and_dates_are_as_in_memory(seed):
    frame = events(seed)
    frame["label"] = frame["count"] + 1 / 3
    frame["time"] = pd.Timestamp("2024-02-28") + pd.to_timedelta(frame["time"], "h")
    same(DatasetPure.build_trainset(cut(frame, 11)), DatasetPure.build_trainset(frame))
    frame["time"] = frame["time"].astype(str)
    same(DatasetPure.build_trainset(cut(frame, 11)), DatasetPure.build_trainset(frame))


def test_features_and_titles_in_frames_of_their_own_are_as_in_memory():
    frame, rng = events()[["user", "item", "label", "time", "hour"]], np.random.default_rng(0)
    users = pd.DataFrame({"user": [-3, 4, 11, 999], "sex": ["m", "f", None, "f"]})
    items = pd.DataFrame({"item": [*"abcdefg", "é"], "tags": [["x"], [], ["y", "z"]] * 2 + [["x"], None]})
    items["text"] = list(rng.normal(size=(len(items), 3)))
    items["title"] = [f"Title {number}" for number in range(len(items))]
    columns = {
        "user_col": ["sex"],
        "item_col": ["tags", "text"],
        "context_col": ["hour"],
        "sparse_col": ["sex", "hour"],
    }
    columns |= {"multi_sparse_col": ["tags"], "vector_col": ["text"], "display_col": ["title"]}
    columns |= {"user_features": users, "item_features": items}
    with pytest.warns(RecolibWarning, match="6 users of the data are not in user_features"):
        whole = DatasetFeat.build_trainset(frame, **columns)
    with pytest.warns(RecolibWarning, match="6 users of the data are not in user_features"):
        same(DatasetFeat.build_trainset(cut(frame, 13), **columns), whole)


def test_a_file_a_folder_and_a_dataset_are_as_their_rows_in_memory(folder):
    whole = DatasetFeat.build_trainset(pq.read_table(folder), **COLUMNS)
    data, info = DatasetFeat.build_trainset(folder, **COLUMNS)
    same((data, info), whole)
    assert data.part_starts.tolist() == [0, 15, 30, 40, 47, 54, 60]
    same(DatasetFeat.build_trainset(str(folder), **COLUMNS), whole)
    same(DatasetFeat.build_trainset(ds.dataset(folder), **COLUMNS), whole)
    one = folder / "c.parquet"
    same(DatasetFeat.build_trainset(one, **COLUMNS), DatasetFeat.build_trainset(pq.read_table(one), **COLUMNS))


def test_names_of_folders_are_columns(tmp_path):
    table = pa.Table.from_pandas(events()[["user", "item", "label", "hour"]], preserve_index=False)
    pq.write_to_dataset(table, tmp_path / "by_hour", partition_cols=["hour"])
    data, info = DatasetFeat.build_trainset(tmp_path / "by_hour", context_col=["hour"], sparse_col=["hour"])
    assert info.vocabs["hour"].values.tolist() == sorted(set(table["hour"].to_pylist()))
    assert len(data) == N


def test_a_model_of_parts_is_that_of_the_frame():
    frame = events()
    scores = []
    for source in (frame, cut(frame, 7)):
        data, info = DatasetFeat.build_trainset(source, **COLUMNS)
        model = FM("ranking", info, n_epochs=2, embed_size=4, lr=0.01, history=True)
        scores.append(model.fit(data, neg_sampling=True, verbose=0).predict([-3, 4], ["a", "b"]))
    np.testing.assert_array_equal(*scores)


def test_labels_of_a_set_in_files_can_be_edited(folder, tmp_path):
    data = DatasetPure.build_trainset(folder, cache_dir=tmp_path / "cache")[0]
    data.labels[:] = 5
    assert set(DatasetPure.build_trainset(folder, cache_dir=tmp_path / "cache")[0].labels.tolist()) == {0.0, 1.0}


def test_sums_do_not_depend_on_how_numbers_are_divided():
    numbers = np.random.default_rng(0).normal(size=1000)
    blocks = [block.tolist() for block in regrouped([numbers], 64)]
    for size in (1, 63, 64, 65, 200, 1000):
        parts = np.split(numbers, range(size, 1000, size))
        assert [block.tolist() for block in regrouped([numbers[:0], *parts], 64)] == blocks


# ---- files


def test_files_without_a_folder_leave_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    data, _ = DatasetFeat.build_trainset(folder, **COLUMNS)
    with pytest.raises(ValueError, match="'label'"):
        DatasetPure.build_trainset(cut(events().assign(label="high"), 7))
    assert set(tmp_path.iterdir()) == before
    assert data.labels.sum() == events()["label"].sum()


def test_a_folder_is_used_again(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = DatasetFeat.build_trainset(folder, **COLUMNS, cache_dir=cache)
    monkeypatch.setattr("recolib.data.streaming.building.spool", None)  # nothing is read a second time
    same(DatasetFeat.build_trainset(folder, **COLUMNS, cache_dir=cache), first)
    assert not (cache / "parts").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="has no locks of this kind")
def test_builds_that_begin_at_once_in_a_folder_wait_for_one_another(folder, tmp_path):
    def build(_: int) -> str:
        return DatasetFeat.build_trainset(folder, cache_dir=tmp_path / "encoded", **COLUMNS)[0].digest()

    with ThreadPoolExecutor(4) as threads:
        digests = set(threads.map(build, range(4)))
    assert digests == {DatasetFeat.build_trainset(pq.read_table(folder), **COLUMNS)[0].digest()}


def test_a_folder_whose_first_file_was_never_finished_is_used(folder, tmp_path):
    encoded = tmp_path / "encoded"
    encoded.mkdir()
    (encoded / f".manifest.json.0123456789abcdef{UNFINISHED}").touch()
    assert len(DatasetFeat.build_trainset(folder, cache_dir=encoded, **COLUMNS)[0]) == N


def test_frames_of_a_function_are_used_again_if_they_are_the_same(tmp_path):
    frame, cache = events(), tmp_path / "cache"
    first = DatasetPure.build_trainset(lambda: cut(frame, 7), cache_dir=cache)
    same(DatasetPure.build_trainset(lambda: cut(frame, 7), cache_dir=cache), first)
    with pytest.raises(ValueError, match="set of another train_data"):
        DatasetPure.build_trainset(lambda: cut(frame, 8), cache_dir=cache)


def test_an_interrupted_build_goes_on_at_its_part(tmp_path, monkeypatch):
    frame, cache, read = events(), tmp_path / "cache", list[int]()

    def interrupted() -> Iterator[pd.DataFrame]:
        yield from list(cut(frame, 7))[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DatasetFeat.build_trainset(interrupted, **COLUMNS, cache_dir=cache)
    assert len(list((cache / "parts").iterdir())) == 3

    def writing(file, *content):
        read.append(int(file.stem.removeprefix("part-")))
        return write_file(file, *content)

    monkeypatch.setattr("recolib.data.streaming.part_files.write_file", writing)
    data = DatasetFeat.build_trainset(lambda: cut(frame, 7), **COLUMNS, cache_dir=cache)
    same(data, DatasetFeat.build_trainset(frame, **COLUMNS))
    assert read == [3, 4, 5, 6, 7, 8]


def test_a_build_that_was_killed_in_its_second_pass_reads_nothing_again(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    with monkeypatch.context() as patch:
        patch.setattr("recolib.data.streaming.building.sort_log", None)
        with pytest.raises(TypeError):
            DatasetFeat.build_trainset(folder, **COLUMNS, cache_dir=cache)
    with monkeypatch.context() as patch:
        patch.setattr("recolib.data.streaming.part_files.write_file", None)
        same(
            DatasetFeat.build_trainset(folder, **COLUMNS, cache_dir=cache),
            DatasetFeat.build_trainset(pq.read_table(folder), **COLUMNS),
        )


def interrupted_build(frame, cache):
    def frames() -> Iterator[pd.DataFrame]:
        yield from list(cut(frame, 7))[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DatasetPure.build_trainset(frames, cache_dir=cache)


def test_a_damaged_part_is_named(tmp_path):
    frame, cache = events(), tmp_path / "cache"
    interrupted_build(frame, cache)
    file = cache / "parts" / "part-000001.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"part-000001\.safetensors cannot be read: its checksum"):
        DatasetPure.build_trainset(lambda: cut(frame, 7), cache_dir=cache)
    file.write_bytes(content[:100])
    with pytest.raises(ValueError, match=r"part-000001\.safetensors cannot be read"):
        DatasetPure.build_trainset(lambda: cut(frame, 7), cache_dir=cache)


def test_a_part_of_other_rows_is_refused(tmp_path):
    interrupted_build(events(), tmp_path / "cache")
    with pytest.raises(ValueError, match="made of another frame 0 of train_data"):
        DatasetPure.build_trainset(lambda: cut(events(1), 7), cache_dir=tmp_path / "cache")


def test_a_damaged_array_is_named(folder, tmp_path):
    cache = tmp_path / "cache"
    DatasetPure.build_trainset(folder, cache_dir=cache)
    file = cache / "labels.array"
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"labels\.array is damaged: its checksum"):
        DatasetPure.build_trainset(folder, cache_dir=cache)
    file.write_bytes(content[:10])
    with pytest.raises(ValueError, match=r"labels\.array is damaged: it has 10 bytes in place of 240"):
        DatasetPure.build_trainset(folder, cache_dir=cache)
    file.unlink()
    with pytest.raises(ValueError, match=r"labels\.array is damaged: it has nothing"):
        DatasetPure.build_trainset(folder, cache_dir=cache)


def test_a_folder_of_something_else_is_refused(folder, tmp_path):
    cache, other = tmp_path / "cache", tmp_path / "other"
    DatasetPure.build_trainset(folder, cache_dir=cache)
    with pytest.raises(ValueError, match="set of other arguments or features"):
        DatasetFeat.build_trainset(folder, context_col=["hour"], sparse_col=["hour"], cache_dir=cache)
    pq.write_table(pa.Table.from_pandas(events(1), preserve_index=False), folder / "d.parquet")
    with pytest.raises(ValueError, match="set of another train_data"):
        DatasetPure.build_trainset(folder, cache_dir=cache)
    (cache / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        DatasetPure.build_trainset(folder, cache_dir=cache)
    other.mkdir()
    (other / "mine.txt").touch()
    with pytest.raises(ValueError, match="has other files: give an empty folder"):
        DatasetPure.build_trainset(folder, cache_dir=other)
    with pytest.raises(ValueError, match="is a file: give a folder"):
        DatasetPure.build_trainset(folder, cache_dir=other / "mine.txt")
    with pytest.raises(ValueError, match="cache_dir is for train_data that is read in parts"):
        DatasetPure.build_trainset(events(), cache_dir=tmp_path / "new")


# ---- what is refused or told


def test_a_column_that_changes_its_type_is_refused_by_part_and_row_group(folder):
    frame = events().assign(hour=lambda data: data["hour"].astype(str))
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "d.parquet", row_group_size=20)
    with pytest.raises(ValueError, match=r"'hour' holds text in .*d\.parquet, row group 0 and numbers in the parts"):
        DatasetFeat.build_trainset(folder, context_col=["hour"], sparse_col=["hour"])


def test_integers_of_other_widths_and_missing_values_change_no_type(tmp_path):
    one = pa.table({"user": pa.array([1, 2], pa.int32()), "item": ["a", "b"], "x": pa.array([None, None], pa.null())})
    two = pa.table({"user": pa.array([3, 2], pa.int64()), "item": ["a", "c"], "x": pa.array([2.5, None])})
    pq.write_table(one, tmp_path / "1.parquet")
    pq.write_table(two, tmp_path / "2.parquet")
    with pytest.warns(NoLabelWarning, match="each of its 4 rows"):
        data, info = DatasetFeat.build_trainset(tmp_path, context_col=["x"], dense_col=["x"])
    assert info.vocabs["user"].values.tolist() == [1, 2, 3]
    assert info.schema.features("context")[0].mean == 2.5
    assert data.labels.tolist() == [1, 1, 1, 1]


def test_times_of_several_kinds_are_refused():
    frame = pd.DataFrame({"user": [1, 2], "item": [1, 2], "label": 1, "time": ["2024-01-01", "2024-01-02 10:00"]})
    with pytest.raises(ValueError, match=r"text of dates and hours in ns in frame 1 .* and text of dates in ns in"):
        DatasetPure.build_trainset(cut(frame, 1))
    frame["time"] = [datetime(2024, 1, 1), datetime(2900, 1, 1)]
    frame["time"] = frame["time"].astype("datetime64[us]")
    with pytest.raises(ValueError, match="dates in us in frame 1 of train_data and dates in ns"):
        DatasetPure.build_trainset(cut(frame, 1))


def test_a_bad_value_is_told_of_with_its_part(folder):
    frame = events().assign(heat=np.inf)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "d.parquet", row_group_size=20)
    with pytest.raises(ValueError, match=r"d\.parquet, row group 0: column 'heat' has 20 infinite values"):
        DatasetFeat.build_trainset(folder, context_col=["heat"], dense_col=["heat"])


def test_a_part_that_lacks_a_column_is_named(folder):
    frame = events().drop(columns="label")
    with pytest.raises(ValueError, match=r"columns \['label'\] are not in frame 1 of train_data"):
        DatasetPure.build_trainset(iter([events(), frame]))
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "d.parquet")
    with pytest.raises(ValueError, match=r"columns \['label'\] are not in .*d\.parquet"):
        DatasetPure.build_trainset(folder)


@pytest.mark.parametrize("column", ["label", "time"])
def test_a_column_that_the_first_part_lacks_is_not_passed_over(column, tmp_path):
    frame = events().drop(columns="tags")
    parts = [frame.head(30).drop(columns=column), frame.tail(30)]
    with pytest.raises(ValueError, match=f"columns \\['{column}'\\] are in frame 1 of train_data and not in the first"):
        DatasetPure.build_trainset(iter(parts))
    for number, part in enumerate(parts):
        part.to_parquet(tmp_path / f"{number}.parquet")
    with pytest.raises(ValueError, match=f"columns \\['{column}'\\] are in .*1.parquet and not in the first part"):
        DatasetPure.build_trainset(tmp_path)


def test_a_dataset_with_a_filter_is_refused(folder):
    with pytest.raises(ValueError, match=r"train_data cannot be read in parts, write it by pyarrow\.dataset"):
        DatasetPure.build_trainset(ds.dataset(folder).filter(ds.field("user") > 0))


def test_a_folder_whose_name_is_a_column_of_its_files_is_refused(tmp_path):
    for user in (1, 2):
        (tmp_path / f"user={user}").mkdir()
        pq.write_table(pa.table({"user": [user], "item": [1]}), tmp_path / f"user={user}" / "a.parquet")
    with pytest.raises(ValueError, match=r"train_data=.*user has incompatible types"):
        DatasetPure.build_trainset(tmp_path)


def test_what_cannot_be_had_of_parts_is_refused_by_its_argument():
    frame = events()
    frame["text"] = [[1.0, 2.0]] * N
    for columns, message in (
        ({"item_col": ["tags"], "multi_sparse_col": ["tags"]}, "multi_sparse_col=.* say by max_list_len"),
        ({"item_col": ["text"], "vector_col": ["text"]}, "vector_col=.* give it in user_features or item_features"),
        ({"display_col": ["genre1"]}, "display_col=.* must be in item_features"),
        ({"shuffle": True}, "shuffle=True takes a frame"),
    ):
        with pytest.raises(ValueError, match=message):
            DatasetFeat.build_trainset(cut(frame, 7), **columns)


def test_sources_that_give_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match="iterator gives no frames"):
        DatasetPure.build_trainset(iter([]))
    with pytest.raises(ValueError, match="train_data has no rows"):
        DatasetPure.build_trainset(iter([events()[:0]]))
    with pytest.raises(ValueError, match="must return an iterator of frames"):
        DatasetPure.build_trainset(events)
    with pytest.raises(FileNotFoundError, match="there is no such file or folder"):
        DatasetPure.build_trainset(tmp_path / "nothing")
    with pytest.raises(ValueError, match="has no Parquet files"):
        DatasetPure.build_trainset(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"no")
    with pytest.raises(ValueError, match="is no Parquet, and other files must come as frames"):
        DatasetPure.build_trainset(tmp_path)
    with pytest.raises(ValueError, match="column 'heat' is empty"):
        DatasetFeat.build_trainset(cut(events().assign(heat=np.nan), 7), context_col=["heat"], dense_col=["heat"])
    with pytest.raises(ValueError, match="'genre2' is empty"):
        DatasetFeat.build_trainset(cut(events().assign(genre2=None), 7), **COLUMNS)
    with pytest.raises(ValueError, match="'count' is 0 in all rows"):
        DatasetPure.build_trainset(cut(events().assign(count=0), 7), weight_col="count")


def test_too_many_events_of_changing_features_are_refused(monkeypatch):
    monkeypatch.setattr(sides, "MAX_CHANGING", 50)
    with pytest.raises(ValueError, match=r"features of items, \['price'\], change, and more than 50 events"):
        DatasetFeat.build_trainset(cut(events(), 7), item_col=["price"], dense_col=["price"])


def test_integers_beside_text_are_told_of_once(recwarn):
    frame = events().astype({"user": object})
    frame.loc[frame.index % 2 == 0, "user"] = "4"
    frame["weight"] = 1
    DatasetPure.build_trainset(cut(frame, 7))
    told = [(one.category, str(one.message)) for one in recwarn if issubclass(one.category, RecolibWarning)]
    assert [category for category, _ in told] == [UndeclaredWeightWarning, MixedTypesWarning]
    assert "has 30 integers and 30 strings" in told[1][1]


def test_a_path_needs_pyarrow(folder, monkeypatch):
    for name in [one for one in sys.modules if one.split(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'needs pyarrow: pip install "recolib\[parquet\]"'):
        DatasetPure.build_trainset(folder)
