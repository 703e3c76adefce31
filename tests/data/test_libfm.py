from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, cast

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_svmlight_file

from recolib.algorithms import FM
from recolib.data import (
    DataInfo,
    DatasetFeat,
    DatasetPure,
    Interactions,
    libfm_offsets,
    libfm_reader,
    libfm_writer,
    read_libfm,
    write_libfm,
)

FRAPPE = {
    "user": 0,
    "item": 957,
    "daytime": 5039,
    "weekday": 5046,
    "isweekend": 5053,
    "homework": 5055,
    "cost": 5058,
    "weather": 5060,
    "country": 5069,
    "city": 5149,
}
FRAPPE_ROWS = {"train.rebuilt": 202027, "validation": 57722, "test": 28860}
OFFSETS = {"user": 0, "item": 10, "age": 20, "hour": 21}
LARGEST = 2**63 - 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.libfm"


def read(file: Path, text: str | bytes, offsets: dict[str, Any] | None = None) -> pd.DataFrame:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_libfm(file, offsets)


def written(frame: Any, file: Path, offsets: dict[str, Any] | None = None) -> str:
    assert write_libfm(frame, file, offsets) == file
    return file.read_text()


def columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {name: [None if pd.isna(value) else value for value in frame[name]] for name in frame}


@pytest.fixture
def frappe(data_home: Path) -> Path:
    if not (data_home / "frappe").is_dir():
        pytest.skip("frappe is not in RECOLIB_DATA_HOME")
    return data_home / "frappe"


@pytest.mark.parametrize("part", FRAPPE_ROWS)
@pytest.mark.parametrize("offsets", [FRAPPE, None], ids=["named", "numbered"])
def test_frappe_comes_back_byte_by_byte(frappe: Path, tmp_path: Path, part: str, offsets: Any) -> None:
    source = frappe / f"frappe.{part}.libfm.gz"
    frame = read_libfm(source, offsets)
    assert len(frame) == FRAPPE_ROWS[part]
    assert list(frame) == ["label", *(offsets or (f"field_{i}" for i in range(10)))]
    assert (frame.drop(columns="label").dtypes == np.int64).all()
    assert set(frame["label"]) == {-1.0, 1.0}
    copy = write_libfm(frame, tmp_path / "copy.gz", offsets)
    assert gzip.decompress(copy.read_bytes()) == gzip.decompress(source.read_bytes())


def test_frappe_is_read_as_scikit_learn_reads_it(frappe: Path) -> None:
    source = frappe / "frappe.test.libfm.gz"
    features, labels = cast("Any", load_svmlight_file)(str(source), zero_based=True)
    frame = read_libfm(source)
    assert frame["label"].tolist() == labels.tolist()
    assert frame.drop(columns="label").to_numpy().ravel().tolist() == features.indices.tolist()


def test_frappe_frame_trains_a_model(frappe: Path) -> None:
    context = list(FRAPPE)[2:]
    frame = read_libfm(frappe / "frappe.test.libfm.gz", FRAPPE)
    data, info = DatasetFeat.build_trainset(frame, context_col=context, sparse_col=context)
    assert info.n_users == frame["user"].nunique()
    fm = FM("rating", info, embed_size=4, n_epochs=1, batch_size=1024, lr=0.05)
    fm.fit(data, neg_sampling=False, verbose=0)
    predicted = fm.predict(frame["user"].tolist()[:500], frame["item"].tolist()[:500], feats=frame[context].head(500))
    assert isinstance(predicted, np.ndarray)
    assert ((predicted >= -1) & (predicted <= 1)).all()
    assert predicted.std() > 0


def test_read_frame_trains_a_model_and_predictions_stay_between_the_labels(file: Path) -> None:
    rng = np.random.default_rng(0)
    rows = zip(
        rng.integers(0, 10, 300),
        rng.integers(10, 20, 300),
        rng.normal(size=300),
        rng.integers(21, 24, 300),
        strict=True,
    )
    text = "".join(f"{1 if u % 2 else -1} {u}:1 {i}:1 20:{x:.3f} {h}:1\n" for u, i, x, h in rows)
    frame = read(file, text, OFFSETS)
    data, info = DatasetFeat.build_trainset(frame, context_col=["age", "hour"], sparse_col=["hour"], dense_col=["age"])
    fm = FM("rating", info, embed_size=4, n_epochs=20, batch_size=32, lr=0.1)
    fm.fit(data, neg_sampling=False, verbose=0)
    predicted = fm.predict(frame["user"].tolist(), frame["item"].tolist(), feats=frame[["age", "hour"]])
    assert isinstance(predicted, np.ndarray)
    assert predicted.min() == -1
    assert predicted.max() == 1
    assert (np.sign(predicted) == frame["label"]).mean() > 0.9


def test_indices_go_to_their_fields_in_the_order_of_the_mapping(file: Path) -> None:
    offsets = {"item": 10, "user": 0, "hour": 21, "age": 20}
    frame = read(file, "1 0:1 10:1 20:1 21:1\n-0.5 9:1 19:1 20:-2.5e1 921:1\n", offsets)
    assert columns(frame) == {
        "label": [1.0, -0.5],
        "item": [0, 9],
        "user": [0, 9],
        "hour": [0, 900],
        "age": [1.0, -25.0],
    }
    assert list(frame) == ["label", *offsets]
    assert frame.dtypes.astype(str).tolist() == ["float64", "int64", "int64", "int64", "float64"]
    assert frame.index.tolist() == [0, 1]


def test_offsets_of_numpy_are_taken(file: Path) -> None:
    assert columns(read(file, "1 0:1 5:1\n", {"a": np.int64(0), "b": np.int32(4)})) == {
        "label": [1],
        "a": [0],
        "b": [1],
    }


def test_without_offsets_each_position_is_a_field(file: Path) -> None:
    frame = read(file, "1 7:1 3:1\n0 2:1\n0\n1 1:1 2:1 2:0.5\n")
    assert columns(frame) == {
        "label": [1, 0, 0, 1],
        "field_0": [7, 2, None, 1],
        "field_1": [3, None, None, 2],
        "field_2": [None, None, None, 2],
        "field_2_value": [None, None, None, 0.5],
    }
    assert frame["field_0"].dtype == "Int64"


def test_missing_fields_are_missing_and_missing_numbers_are_0(file: Path) -> None:
    frame = read(file, "1 1:1 21:1\n1 10:1 20:0\n1\n", OFFSETS)
    assert columns(frame) == {
        "label": [1, 1, 1],
        "user": [1, None, None],
        "item": [None, 0, None],
        "age": [0, 0, 0],
        "hour": [0, None, None],
    }
    assert frame.dtypes.astype(str).tolist() == ["float64", "Int64", "Int64", "float64", "Int64"]


def test_lines_of_labels_alone_are_rows(file: Path) -> None:
    assert columns(read(file, "1\n-1\n")) == {"label": [1, -1]}
    assert columns(read(file, "1\n-1\n", {"user": 0})) == {"label": [1, -1], "user": [None, None]}
    assert written(read_libfm(file), file) == "1\n-1\n"


def test_values_that_are_not_1_stand_behind_their_field(file: Path) -> None:
    frame = read(file, "1 0:1 10:0.5\n1 1:1\n1 2:1 11:0\n", {"user": 0, "item": 10})
    assert list(frame) == ["label", "user", "item", "item_value"]
    assert columns(frame)["item_value"] == [0.5, None, 0.0]
    assert written(frame, file, {"user": 0, "item": 10}) == "1 0:1 10:0.5\n1 1:1\n1 2:1 11:0\n"


def test_last_field_is_no_number(file: Path) -> None:
    assert columns(read(file, "1 0:1 1:2.5 9:3\n", {"a": 0, "b": 1, "c": 2})) == {
        "label": [1],
        "a": [1.0],
        "b": [2.5],
        "c": [7],
        "c_value": [3.0],
    }


@pytest.mark.parametrize(
    "text",
    [
        "1 0:1 12:0.5 20:3\n-1 3:1 11:1\n",
        "1 0:1 12:0.5 20:3\r\n-1 3:1 11:1\r\n",
        "1 20:3 12:0.5 0:1\n-1 11:1 3:1",
        "\n# heading 1:2:3\n  \t\n1 \t 0:1\t12:0.5 20:3 # ünd\n\n-1  3:1 11:1#\n\n#",
        "+1.0e0 00:+1 0000000000000000000000012:.5 20:30E-1\n-1. 3:1.000 11:1\n",
        "1 0:1 12:5e-0001 20:3\n-1 3:1 11:" + "0" * 200 + "1\n",
    ],
)
def test_same_rows_written_otherwise_are_read_alike(file: Path, text: str) -> None:
    assert columns(read(file, text, OFFSETS)) == {
        "label": [1, -1],
        "user": [0, 3],
        "item": [2, 1],
        "item_value": [0.5, 1],
        "age": [3, 0],
        "hour": [None, None],
    }


def test_greatest_index_is_read_and_written(file: Path) -> None:
    text = f"1 {10**18 - 1}:1 {10**18}:1 {LARGEST}:1\n"
    frame = read(file, text)
    assert columns(frame) == {"label": [1], "field_0": [10**18 - 1], "field_1": [10**18], "field_2": [LARGEST]}
    assert written(frame, file) == text
    offsets = {"a": 3, "b": LARGEST - 1}
    frame = read(file, f"1 {LARGEST}:1\n", offsets)
    assert columns(frame) == {"label": [1], "a": [None], "b": [1]}
    assert written(frame, file, offsets) == f"1 {LARGEST}:1\n"


def test_gzip_is_known_by_its_bytes(tmp_path: Path) -> None:
    packed, plain = tmp_path / "packed.txt", tmp_path / "plain.gz"
    packed.write_bytes(gzip.compress(b"1 0:1\n") + gzip.compress(b"0 1:1\n"))
    plain.write_bytes(b"1 0:1\n0 1:1\n")
    assert columns(read_libfm(packed)) == columns(read_libfm(str(plain))) == {"label": [1, 0], "field_0": [0, 1]}


@pytest.mark.parametrize("bytes_at_once", [1, 7, 100])
def test_pieces_of_any_size_give_the_same_frame(
    file: Path, monkeypatch: pytest.MonkeyPatch, bytes_at_once: int
) -> None:
    text = "# a\n\n" + "".join(f"{i} {i}:1 1{i}:1 20:0.{i}\n# b\n" for i in range(10))
    whole = read(file, text, OFFSETS)
    monkeypatch.setattr(libfm_reader, "BYTES_AT_ONCE", bytes_at_once)
    pd.testing.assert_frame_equal(read_libfm(file, OFFSETS), whole)
    with pytest.raises(ValueError, match="line 23: 'x' is not a label"):
        read(file, text + "x 1:1\n")
    with pytest.raises(ValueError, match="line 23: the two values of field 'user'"):
        read(file, text + "1 1:1 2:1\n", OFFSETS)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("5:1 6:1", "'5:1' is not a label, a finite number"),
        ("yes 5:1", "'yes' is not a label"),
        ("nan 5:1", "'nan' is not a label"),
        ("-inf 5:1", "'-inf' is not a label"),
        ("1e999 5:1", "'1e999' is not a label"),
        ("1_0 5:1", "'1_0' is not a label"),
        ("0x1 5:1", "'0x1' is not a label"),
        ("1,2 5:1", "'1,2' is not a label"),
        ("1 5", "'5' is not index:value, an integer below 2\\*\\*63 and a finite number"),
        ("1 5:", "'5:' is not index:value"),
        ("1 :1", "':1' is not index:value"),
        ("1 5 :1", "'5' is not index:value"),
        ("1 5: 1", "'5:' is not index:value"),
        ("1 :", "':' is not index:value"),
        ("1 4:1 a:1 b:1", "'a:1' is not index:value"),
        ("1 5:b", "'5:b' is not index:value"),
        ("1 5:1:1", "'5:1:1' is not index:value"),
        ("1 -5:1", "'-5:1' is not index:value"),
        ("1 +5:1", "'\\+5:1' is not index:value"),
        ("1 5.0:1", "'5.0:1' is not index:value"),
        ("1 1_0:1", "'1_0:1' is not index:value"),
        ("1 ٣:1", "'٣:1' is not index:value"),
        ("1 5:1_0", "'5:1_0' is not index:value"),
        ("1 5:nan", "'5:nan' is not index:value"),
        ("1 5:inf", "'5:inf' is not index:value"),
        ("1 5:-1e999", "'5:-1e999' is not index:value"),
        ("1 5:" + "9" * 400, "'5:9{38}' is not index:value"),
        ("1 5:.", "'5:.' is not index:value"),
        ("1 5:1e", "'5:1e' is not index:value"),
        ("1 5:1,6:1", "'5:1,6:1' is not index:value"),
        (f"1 {2**63}:1", f"'{2**63}:1' is not index:value"),
        (f"1 {'9' * 5000}:1", "'9{40}' is not index:value"),
        ("1 qid:3 5:1", "'qid:3' is not index:value"),
    ],
)
def test_malformed_line_is_an_error_with_its_number(file: Path, line: str, problem: str) -> None:
    for text in (f"1 1:1\n\n# no\n0 2:1 3:1\n{line}\n1 x\n", f"1 1:1\r\n\r\n#\r\n0 2:1\r\n{line}"):
        with pytest.raises(ValueError, match=rf"data\.libfm, line 5: {problem}"):
            read(file, text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 0:1\n\n1 3:1 14:1 10:1\n1 0:1 1:1\n", "line 3: the two values of field 'item' cannot be one column"),
        ("1 0:1\n1 20:1 20:1\n", "line 2: the two values of field 'age' cannot be one column"),
        ("1 21:1 22:1\n", "line 1: the two values of field 'hour' cannot be one column"),
    ],
)
def test_two_indices_of_a_field_are_an_error(file: Path, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.libfm, {problem}: mend field_offsets, or read the file without"):
        read(file, text, OFFSETS)


def test_index_below_the_first_offset_is_an_error(file: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.libfm, line 3: index 4 is below the first offset, 5 of field 'user'"):
        read(file, "1 5:1\n\n1 10:1 4:1\n1 3:1\n", {"item": 10, "user": 5})


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", " \r\n\t"])
def test_file_without_rows_is_an_error(file: Path, text: str) -> None:
    for content in (text.encode(), gzip.compress(text.encode())):
        with pytest.raises(ValueError, match=r"data\.libfm has no rows"):
            read(file, content)


def test_what_is_no_text_is_an_error_that_names_the_file(file: Path) -> None:
    packed = gzip.compress(b"1 0:1 5:1\n" * 100)
    flipped = packed[:20] + bytes([packed[20] ^ 255]) + packed[21:]
    no_block = packed[:10] + b"\xff" * 20
    other_method = b"\x1f\x8bno"
    for content in (packed[:2], packed[:-1], packed[:20], flipped, no_block, packed + b"rest", other_method):
        with pytest.raises(ValueError, match=r"data\.libfm cannot be unpacked, it is cut off or damaged"):
            read(file, content)
    for content in (b"\x80\x02\0\1", b"PAR1\x15\x04", "1 0:1".encode("utf-16"), gzip.compress(packed)):
        with pytest.raises(ValueError, match=r"data\.libfm, line 1: '.* is not a label"):
            read(file, content)


def test_missing_file_is_missing(file: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_libfm(file)
    with pytest.raises(FileNotFoundError):
        write_libfm(pd.DataFrame({"label": [1]}), file / "no" / "folder")


@pytest.mark.parametrize(
    ("offsets", "kind", "problem"),
    [
        ([0, 1], TypeError, r"field_offsets must map names to integers, got \[0, 1\]"),
        ("user", TypeError, "field_offsets must map names to integers, got 'user'"),
        ({0: "user"}, TypeError, "field_offsets must map names to integers, got"),
        ({}, ValueError, "field_offsets must name at least one field"),
        ({"user": 0.0}, TypeError, r"field_offsets\['user'\] must be an integer, got 0.0"),
        ({"user": True}, TypeError, r"field_offsets\['user'\] must be an integer, got True"),
        ({"user": "0"}, TypeError, r"field_offsets\['user'\] must be an integer, got '0'"),
        ({"user": -1}, ValueError, r"field_offsets\['user'\] must be at least 0, got -1"),
        ({"user": LARGEST}, ValueError, rf"field_offsets\['user'\] must be below {LARGEST}"),
        ({"a": 3, "b": 0, "c": 3}, ValueError, "field_offsets must be distinct, got {'a': 3, 'b': 0, 'c': 3}"),
        ({"label": 0}, ValueError, r"field_offsets must not name fields \['label'\]"),
        ({"a": 0, "a_value": 3}, ValueError, r"field_offsets must not name fields \['a_value'\]"),
    ],
)
def test_wrong_offsets_are_refused_before_any_work(
    file: Path, offsets: Any, kind: type[Exception], problem: str
) -> None:
    with pytest.raises(kind, match=problem):
        read_libfm(file, offsets)  # there is no such file
    with pytest.raises(kind, match=problem):
        write_libfm(None, file, offsets)
    assert not file.exists()


def test_name_that_ends_in_value_is_a_name_like_any_other(file: Path) -> None:
    assert columns(read(file, "1 0:1 3:1\n", {"a_value": 0, "b": 3})) == {"label": [1], "a_value": [0], "b": [0]}


frames = [pd.DataFrame, pl.DataFrame, pa.table]


@pytest.mark.parametrize("make", frames)
def test_frames_of_any_library_are_written(file: Path, make: Callable[..., Any]) -> None:
    frame = make(
        {
            "ignored": ["x", "y", "z"],
            "hour": [5, None, 0],
            "label": [1, 0, -1],
            "age": [0.5, None, 0.0],
            "user": [9, 0, 3],
            "item": [0, 1, 9],
            "item_value": [1.0, 2.0, 1e-7],
        }
    )
    assert written(frame, file, OFFSETS) == "1 9:1 10:1 20:0.5 26:1\n0 0:1 11:2\n-1 3:1 19:1e-07 21:1\n"
    assert written(make({"label": [2.5], "field_0": [7], "field_1": [3], "x": [0]}), file) == "2.5 3:1 7:1\n"


@pytest.mark.parametrize(
    "make",
    [lambda x: pd.DataFrame({"label": x}), lambda x: pl.DataFrame({"label": x}), lambda x: pa.table({"label": x})],
)
def test_numbers_are_as_short_as_they_can_be(file: Path, make: Callable[..., Any]) -> None:
    wide = np.array([1, -1, 0.1, 1 / 3, 1e-30, 1e22, 12345678, 16777217, -0.0])
    assert written(make(wide), file).split() == [
        *("1", "-1", "0.1", "0.3333333333333333", "1e-30", "1e+22", "12345678", "16777217", "-0")
    ]
    narrow = np.array([1, -1, 0.1, 1 / 3, 1e-30, 123456.7, 3.4e38], np.float32)
    assert written(make(narrow), file).split() == [*("1", "-1", "0.1", "0.33333334", "1e-30", "123456.7", "3.4e+38")]
    assert (read_libfm(file)["label"].to_numpy(np.float32) == narrow).all()


def test_whole_floats_with_missing_values_are_integers(file: Path) -> None:
    frame = pd.DataFrame({"label": [1, 1], "user": [3.0, np.nan], "item": pd.array([None, 2], "Int64")})
    assert written(frame, file, {"user": 0, "item": 5}) == "1 3:1\n1 7:1\n"


def test_column_without_any_value_is_left_out(file: Path) -> None:
    frame = pd.DataFrame({"label": [1, 2], "user": pd.array([None, None], "Int64"), "item": [0, 1]})
    assert written(frame, file, {"user": 0, "item": 5}) == "1 5:1\n2 6:1\n"


@pytest.mark.parametrize(
    ("frame", "offsets", "problem"),
    [
        ({"user": [1]}, {"user": 0}, r"columns \['label'\] are not in data"),
        ({"label": [1]}, {"user": 0}, r"columns \['user'\] are not in data"),
        (
            {"label": [1], "user": [10], "item": [0]},
            {"user": 0, "item": 10},
            "column 'user' has the value 10, not an integer from 0 to 9",
        ),
        (
            {"label": [1], "user": [-1]},
            {"user": 0},
            f"column 'user' has the value -1, not an integer from 0 to {LARGEST}",
        ),
        (
            {"label": [1], "user": [LARGEST]},
            {"user": 1},
            f"column 'user' has the value {LARGEST}, not an integer from 0 to {LARGEST - 1}",
        ),
        ({"label": [1], "user": ["a"]}, {"user": 0}, "column 'user' has the value 'a', not an integer from 0"),
        ({"label": [1], "user": [0.5]}, {"user": 0}, "column 'user' has the number 0.5"),
        ({"label": [1], "age": ["old"], "x": [0]}, {"age": 0, "x": 1}, "column 'age' must hold numbers"),
        ({"label": [1], "age": [np.inf], "x": [0]}, {"age": 0, "x": 1}, "column 'age' has 1 infinite values"),
        ({"label": [np.nan], "user": [0]}, {"user": 0}, "column 'label' has 1 missing values"),
        ({"label": ["x"], "user": [0]}, {"user": 0}, "column 'label' must hold numbers"),
        (
            {"label": [1], "user": [0], "user_value": [np.nan]},
            {"user": 0},
            "columns 'user' and 'user_value' must be missing in the same rows",
        ),
        (
            {"label": [1], "user": [None], "user_value": [2.0]},
            {"user": 0},
            "columns 'user' and 'user_value' must be missing in the same rows",
        ),
        (
            {"label": [1], "user": [0], "item": [0]},
            None,
            "data has no column 'field_0': pass field_offsets, or what build_trainset returned",
        ),
        ({"label": [1], "field_0": [-3]}, None, "column 'field_0' has the value -3"),
        ({"label": [], "field_0": []}, None, "data has no rows"),
        ([1, 2], None, "data must be a pandas, polars or pyarrow frame, got list"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_written(
    file: Path, frame: Any, offsets: Any, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        write_libfm(pd.DataFrame(frame) if isinstance(frame, dict) else frame, file, offsets)
    assert not os.listdir(file.parent)


def test_packed_files_have_no_date(tmp_path: Path) -> None:
    frame = pd.DataFrame({"label": [1, 0], "field_0": [3, 4]})
    one, other = write_libfm(frame, str(tmp_path / "a.libfm.gz")), write_libfm(frame, tmp_path / "b.GZ")
    assert one.read_bytes() == other.read_bytes()
    assert one.read_bytes()[4:8] == bytes(4)
    assert gzip.decompress(one.read_bytes()) == b"1 3:1\n0 4:1\n"
    assert sorted(os.listdir(tmp_path)) == ["a.libfm.gz", "b.GZ"]


def test_failure_leaves_the_old_file_and_nothing_else(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"label": [1, 0], "field_0": [3, 4]})
    before = written(frame, file)
    monkeypatch.setattr(libfm_writer, "ROWS_AT_ONCE", 1)
    calls: list[int] = []

    def fail_later(*_: object) -> bytes:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return b"new"

    monkeypatch.setattr(libfm_writer, "_text", fail_later)
    with pytest.raises(KeyboardInterrupt):
        write_libfm(frame, file)
    assert file.read_text() == before
    assert os.listdir(file.parent) == [file.name]


def test_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    assert write_libfm(pd.DataFrame({"label": [1]}), link) == link
    assert link.is_symlink()
    assert target.read_text() == "1\n"


@pytest.mark.parametrize("rows_at_once", [1, 3, 10])
def test_pieces_of_any_size_give_the_same_file(file: Path, monkeypatch: pytest.MonkeyPatch, rows_at_once: int) -> None:
    frame = pd.DataFrame({"label": range(10), "user": range(10), "item": [None, 1] * 5})
    whole = written(frame, file, {"user": 0, "item": 10})
    monkeypatch.setattr(libfm_writer, "ROWS_AT_ONCE", rows_at_once)
    assert written(frame, file, {"user": 0, "item": 10}) == whole


@pytest.fixture
def events() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user": ["u", "v", "u"],
            "item": [30, 10, 20],
            "label": np.array([0.1, -1, 2], np.float32),
            "hour": [8, 9, 8],
            "wind": [1.0, 3.0, 2.0],
            "sex": ["f", "m", "f"],
            "genre": [["a", "b"], ["b"], ["a", "a"]],
            "price": [5.0, 1.0, 3.0],
        }
    )


def encode(events: pd.DataFrame) -> tuple[Interactions, DataInfo]:
    return DatasetFeat.build_trainset(
        events,
        user_col=["sex"],
        item_col=["genre", "price"],
        context_col=["hour", "wind"],
        sparse_col=["sex", "hour"],
        multi_sparse_col=["genre"],
        dense_col=["wind", "price"],
        dense_scaling="none",
    )


def test_encoded_set_is_written_with_codes_and_offsets(file: Path, events: pd.DataFrame) -> None:
    data, info = encode(events)
    offsets = {"user": 0, "item": 3, "sex": 7, "hour": 10, "genre": 13, "wind": 16, "price": 17}
    assert libfm_offsets(info) == offsets
    assert list(libfm_offsets(info)) == list(offsets)
    assert written(data, file) == (
        "0.1 1:1 6:1 8:1 11:1 14:1 15:1 16:1 17:5\n"
        "-1 2:1 4:1 9:1 12:1 15:1 16:3 17:1\n"
        "2 1:1 5:1 8:1 11:1 14:2 16:2 17:3\n"
    )


def test_set_of_unknown_ids_and_values_is_written_with_index_0_of_their_fields(
    file: Path, events: pd.DataFrame
) -> None:
    _, info = encode(events)
    later = pd.DataFrame({"user": ["w", "v"], "item": [10, 99], "label": [1, 0], "hour": [7, 9], "wind": [0.0, 0.25]})
    data = DatasetFeat.build_evalset(later, data_info=info)
    price = np.float32(info.schema.dense("item")[0].missing)
    assert written(data, file) == f"1 0:1 4:1 7:1 10:1 15:1 17:1\n0 2:1 3:1 9:1 12:1 13:1 16:0.25 17:{price:g}\n"


def test_events_are_written_as_they_were_when_they_happened(file: Path) -> None:
    frame = pd.DataFrame({"user": [1, 1, 2], "item": [1, 2, 1], "label": [1, 1, 1], "age": [10, 11, 12]})
    data, _ = DatasetFeat.build_trainset(frame, user_col=["age"], sparse_col=["age"])
    assert written(data, file) == "1 1:1 4:1 7:1\n1 1:1 5:1 8:1\n1 2:1 4:1 9:1\n"
    assert written(data.take(np.array([2, 0])), file) == "1 2:1 4:1 9:1\n1 1:1 4:1 7:1\n"


def test_standardised_numbers_are_written_as_float32_and_read_back(file: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"user": rng.integers(0, 9, 99), "item": rng.integers(0, 9, 99), "label": 1.0})
    frame["x"], frame["y"] = rng.normal(size=(2, 99))
    data, info = DatasetFeat.build_trainset(frame, context_col=["x", "y"], dense_col=["x", "y"])
    back = read_libfm(write_libfm(data, file), libfm_offsets(info))
    assert back["user"].tolist() == data.user_indices.tolist()
    assert back["item"].tolist() == data.item_indices.tolist()
    assert (back[["x", "y_value"]].to_numpy(np.float32) == data.context.dense.numpy()).all()


def test_pure_set_is_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, info = DatasetPure.build_trainset(pd.DataFrame({"user": [5, 6, 5], "item": [1, 1, 2], "label": [1, 0, 1]}))
    assert libfm_offsets(info) == {"user": 0, "item": 3}
    monkeypatch.setattr(libfm_writer, "ROWS_AT_ONCE", 2)
    assert written(data, file) == "1 1:1 4:1\n0 2:1 4:1\n1 1:1 5:1\n"


def test_set_without_labels_or_with_offsets_is_refused(file: Path) -> None:
    _, info = DatasetPure.build_trainset(pd.DataFrame({"user": [5, 6], "item": [1, 1], "label": [1, 0]}))
    data = DatasetPure.build_evalset(pd.DataFrame({"user": [5, 6], "item": [1, 1]}), data_info=info)
    with pytest.raises(ValueError, match=r"2 of 2 rows have no label: give the frame one, or set data\.labels"):
        write_libfm(data, file)
    with pytest.raises(ValueError, match="field_offsets goes with a frame"):
        write_libfm(data, file, {"user": 0})
    assert not file.exists()
    data.labels[:] = 1
    assert written(data, file) == "1 1:1 4:1\n1 2:1 4:1\n"


texts = st.floats(-3e38, 3e38).map(lambda x: repr(x).removesuffix(".0"))
values = st.one_of(st.just("1"), st.just("0"), texts)


@st.composite
def lines(draw: st.DrawFn) -> list[list[str]]:
    """Lines as lists of tokens, the indices ascending, at most one for each of OFFSETS."""
    found: list[list[str]] = []
    for _ in range(draw(st.integers(1, 6))):
        tokens = [draw(texts)]
        for low, high in ((0, 9), (10, 19), (20, 20), (21, 10**19 // 2)):
            value = draw(st.none() | values)
            if value is not None and (low != 20 or float(value)):
                tokens.append(f"{draw(st.integers(low, high))}:{value}")
        found.append(tokens)
    return found


def text_of(lines: list[list[str]]) -> str:
    return "".join(" ".join(tokens) + "\n" for tokens in lines)


@given(lines())
def test_what_is_read_is_written_alike(tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]]) -> None:
    file = tmp_path_factory.mktemp("libfm") / "data.gz"
    for offsets in (OFFSETS, None):
        frame = read(file, text_of(lines), offsets)
        copy = write_libfm(frame, file, offsets)
        assert gzip.decompress(copy.read_bytes()).decode() == text_of(lines)
        pd.testing.assert_frame_equal(read_libfm(copy, offsets), frame)
        for convert in (pl.from_pandas, pa.Table.from_pandas):
            write_libfm(convert(frame), file, offsets)
            assert gzip.decompress(copy.read_bytes()).decode() == text_of(lines)


@given(lines(), st.randoms(use_true_random=False))
def test_order_and_blanks_and_comments_say_nothing(
    tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]], random: Random
) -> None:
    file = tmp_path_factory.mktemp("libfm") / "data"
    frame = read(file, text_of(lines), OFFSETS)
    messy = ""
    for label, *tokens in lines:
        random.shuffle(tokens)
        blanks = [random.choice([" ", "\t", "  \t "]) for _ in tokens]
        messy += random.choice(["", "\n", "# 1 2:3\n", " "]) + label
        messy += "".join(blank + token for blank, token in zip(blanks, tokens, strict=True))
        messy += random.choice(["\n", "\r\n", " \n", "#x\n", " # 5:1\r\n"])
    pd.testing.assert_frame_equal(read(file, messy, OFFSETS), frame)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_float32_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, labels: list[float]) -> None:
    file = tmp_path_factory.mktemp("libfm") / "data"
    frame = pd.DataFrame({"label": np.array(labels, np.float32)})
    written(frame, file)
    assert (read_libfm(file)["label"].to_numpy(np.float32) == frame["label"]).all()


@given(st.text(alphabet="01 \t\n\r:#.-+e_", max_size=30) | st.binary(max_size=30))
def test_any_text_is_read_or_refused_with_a_value_error(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes
) -> None:
    file = tmp_path_factory.mktemp("libfm") / "data"
    for offsets in (None, {"a": 1, "b": 2, "c": 10}):
        with contextlib.suppress(ValueError):
            assert np.isfinite(read(file, text, offsets)["label"]).all()
