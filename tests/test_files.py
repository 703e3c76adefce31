"""What a file promises: it is whole or refused, whatever happened to its bytes or to the process that wrote them."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
import random
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from worlds import make_world

import recolib
from recolib import files
from recolib.algorithms import FM
from recolib.data import DataInfo, DatasetPure, read_libfm, write_libfm
from recolib.datasets import fetch_movielens
from recolib.files import FORMAT, UNFINISHED, file_of, read_file, write_file

fcntl = pytest.importorskip("fcntl")

DIGEST = re.compile(rb'\\"sha256\\": \\"([0-9a-f]{64})\\"')
BIG = 2**20


# ---- files from another hand: what the format's description says, without recolib's own code


def sealed(content: bytes) -> bytes:
    """These bytes with the checksum that belongs to them."""
    place = DIGEST.search(content)
    assert place is not None
    begin, end = place.span(1)
    digest = hashlib.sha256(content[:begin] + b"0" * 64 + content[end:]).hexdigest()
    return content[:begin] + digest.encode() + content[end:]


def opened(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The metadata entry and the arrays of a file, all of which may be changed."""
    length = int.from_bytes(content[:8], "little")
    entry = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["recolib"])
    return entry, {name: array.copy() for name, array in safetensors.numpy.load(content).items()}


def closed(entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """The file of an entry and arrays, with a right checksum."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return sealed(safetensors.numpy.save(contiguous, {"recolib": json.dumps(entry)}))


def forged(content: bytes, edit: Callable[[dict[str, Any], dict[str, np.ndarray]], object]) -> bytes:
    """The file with its entry and arrays edited in place, and a right checksum."""
    entry, arrays = opened(content)
    edit(entry, arrays)
    return closed(entry, arrays)


def with_header(content: bytes, edit: Callable[[bytes], bytes]) -> bytes:
    """The file with the text of its safetensors header edited, and a right checksum."""
    length = int.from_bytes(content[:8], "little")
    header = edit(content[8 : 8 + length])
    return sealed(len(header).to_bytes(8, "little") + header + content[8 + length :])


@pytest.fixture(scope="module")
def model() -> FM:
    data, info = make_world("ranking", "pure").build()
    return FM("ranking", info, embed_size=4, n_epochs=1, batch_size=64).fit(data, neg_sampling=True, verbose=0)


@pytest.fixture(scope="module")
def content(model: FM, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a small model's file."""
    return model.save(tmp_path_factory.mktemp("small"), "small").read_bytes()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "victim.safetensors"


def refused(file: Path, content: bytes, match: str | None = None) -> None:
    """Assert that a file of these bytes is refused, with its name and for this reason."""
    file.write_bytes(content)
    with pytest.raises(ValueError, match=match) as caught:
        recolib.load(file)
    assert str(file) in str(caught.value)


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(UNFINISHED)]


# ---- damage


def test_another_hand_that_knows_the_format_writes_what_recolib_reads(content, file, model):
    file.write_bytes(forged(content, lambda entry, arrays: None))
    assert recolib.load(file).predict(100, "i1") == model.predict(100, "i1")
    assert sealed(content) == content
    file.write_bytes(with_header(content, lambda text: text + b" " * 8))
    assert recolib.load(file).predict(100, "i1") == model.predict(100, "i1")


def test_every_flipped_bit_is_noticed(content, file):
    rng = random.Random(0)
    digest = DIGEST.search(content)
    assert digest is not None
    bits = [(at, rng.randrange(8)) for at in [*range(200), *range(digest.start() - 2, digest.end() + 2)]]
    bits += [(rng.randrange(len(content)), rng.randrange(8)) for _ in range(300)]
    bits += [(len(content) - 1, bit) for bit in range(8)]
    for at, bit in bits:
        damaged = bytearray(content)
        damaged[at] ^= 1 << bit
        refused(file, bytes(damaged))


def test_every_truncation_is_noticed(content, file):
    rng = random.Random(1)
    ends = [0, 1, 7, 8, 9, len(content) - 1, *(rng.randrange(len(content)) for _ in range(100))]
    for end in ends:
        refused(file, content[:end])


@pytest.mark.parametrize("more", [b"\0", b"\n", b"0" * 64, b"x" * 1000])
def test_appended_bytes_are_noticed(content, file, more):
    refused(file, content + more, "checksum")


def test_exchanged_parts_are_noticed(content, file):
    refused(file, content[:-64] + content[-32:] + content[-64:-32], "checksum")


def test_a_swapped_digest_of_another_file_is_noticed(content, file):
    other = forged(content, lambda entry, arrays: entry["header"]["settings"].update(lr=0.5))
    mine, theirs = DIGEST.search(content), DIGEST.search(other)
    assert mine is not None
    assert theirs is not None
    refused(file, content[: mine.start(1)] + theirs[1] + content[mine.end(1) :], "checksum")


# ---- files of others


class Payload:
    """Whoever unpickles it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)


def test_files_of_others_are_refused(file):
    refused(file, b"", "not a file of recolib's")
    refused(file, b"user,item,label\n1,2,3\n", "not a file of recolib's")
    refused(file, safetensors.numpy.save({"weight": np.zeros(3)}), "not a file of recolib's")
    refused(file, safetensors.numpy.save({"weight": np.zeros(3)}, {"format": "pt"}), "not a file of recolib's")
    refused(file, random.Random(2).randbytes(5000), "not a file of recolib's")


def test_a_pickle_is_refused_and_its_code_does_not_run(file, tmp_path):
    payload = Payload(tmp_path / "ran")
    refused(file, pickle.dumps(payload), "not a file of recolib's")
    stream = io.BytesIO()
    torch.save({"weights": torch.zeros(3), "payload": payload}, stream)
    refused(file, stream.getvalue(), "not a file of recolib's")
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(payload))
    assert (tmp_path / "ran").exists()  # the payload is a real one


def test_a_pickle_within_a_sealed_file_is_refused(content, file, tmp_path):
    payload = pickle.dumps(Payload(tmp_path / "ran"))
    refused(file, forged(content, lambda entry, arrays: entry["header"].update(settings=payload.hex())), "settings")
    assert not (tmp_path / "ran").exists()


def test_a_newer_format_asks_for_an_update(content, file):
    newer = forged(content, lambda entry, arrays: entry.update(format=FORMAT + 1))
    refused(file, newer, f"its format is {FORMAT + 1}, and this recolib reads up to {FORMAT}: update recolib")


def test_a_directory_or_a_missing_file_is_not_found_and_the_folder_is_listed(content, file):
    file.with_name("here.safetensors").write_bytes(content)
    with pytest.raises(FileNotFoundError, match=re.escape(f"there is no file {file}; the folder has ['here']")):
        recolib.load(file)
    with pytest.raises(ValueError, match=r"is a folder: give the file, such as .*name\.safetensors"):
        recolib.load(file.parent)
    with pytest.raises(FileNotFoundError, match=r"the folder has \[\]"):
        recolib.load(file.parent / "nowhere" / "model.safetensors")
    file.mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        recolib.load(file)


# ---- hostile headers, of which the checksum is right


def nested(depth: int) -> Callable[[bytes], bytes]:
    return lambda text: text[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"


def offsets(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """The header with the first match of a pattern replaced."""

    def edit(text: bytes) -> bytes:
        changed, n = re.subn(old, new, text, count=1)
        assert n == 1
        return changed

    return edit


PROGRESS = rb'"state.progress":{"dtype":"I64","shape":\[2\],"data_offsets":\[(\d+),(\d+)\]}'
HEADERS: dict[str, Callable[[bytes], bytes]] = {
    "JSON that is nested 100,000 deep": nested(100_000),
    "a shape whose product overflows": offsets(rb'"shape":\[2\]', b'"shape":[4611686018427387904,4,2]'),
    "a shape of 2**63": offsets(rb'"shape":\[2\]', b'"shape":[9223372036854775808]'),
    "a negative shape": offsets(rb'"shape":\[2\]', b'"shape":[-2]'),
    "a shape that is larger than its bytes": offsets(rb'"shape":\[2\]', b'"shape":[3]'),
    "overlapping offsets": offsets(PROGRESS, rb'"state.progress":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}'),
    "offsets beyond the file": offsets(rb'"data_offsets":\[0,', rb'"data_offsets":[99999999999,'),
    "an unknown type": offsets(rb'"dtype":"I64"', b'"dtype":"OBJECT"'),
    "a type that numpy lacks": offsets(rb'"dtype":"I64"', b'"dtype":"BF16"'),
    "metadata twice": lambda text: text[:-1] + b',"__metadata__":{"recolib":"{}"}}',
    "metadata that is no text": offsets(rb'{"recolib":', rb'{"other":1,"recolib":'),
    "a header that is no JSON": lambda text: b"[" + text,
    "a header that is a list": lambda text: b"[" + text + b"]",
    "a header that is no UTF-8": offsets(rb'"state.progress"', b'"state.\xff\xfe"'),
}  # fmt: skip


@pytest.mark.parametrize("what", HEADERS)
def test_a_hostile_header_is_refused(content, file, what):
    begin = time.perf_counter()
    refused(file, with_header(content, HEADERS[what]))
    assert time.perf_counter() - begin < 5


@pytest.mark.parametrize("what", ["an array", "a setting"])
def test_a_name_that_stands_twice_is_refused(content, file, what):
    twice = {"an array": offsets(PROGRESS, rb"\g<0>,\g<0>"), "a setting": offsets(rb'(\\"lr\\": )', rb"\g<1>9, \g<1>")}
    refused(file, with_header(content, twice[what]))


@pytest.mark.parametrize("length", [0, 1, 7, 2**31, 2**63, 2**64 - 1])
def test_a_wrong_length_of_the_header_is_refused(content, file, length):
    wrong = length.to_bytes(8, "little") + content[8:]
    refused(file, sealed(wrong))


ENTRIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no format": lambda entry: entry.pop("format"),
    "a format that is text": lambda entry: entry.update(format="1"),
    "a format that is null": lambda entry: entry.update(format=None),
    "a format that is NaN": lambda entry: entry.update(format=float("nan")),
    "no kind": lambda entry: entry.pop("kind"),
    "another kind": lambda entry: entry.update(kind="virus"),
    "a kind that is a list": lambda entry: entry.update(kind=["model"]),
    "no header": lambda entry: entry.pop("header"),
    "a header that is text": lambda entry: entry.update(header="x"),
    "a header that is null": lambda entry: entry.update(header=None),
}


@pytest.mark.parametrize("what", ENTRIES)
def test_a_hostile_entry_is_refused(content, file, what):
    refused(file, forged(content, lambda entry, arrays: ENTRIES[what](entry)))


@pytest.mark.parametrize("number", [0, -1, 0.5])
def test_a_format_that_never_was_is_refused(content, file, number):
    refused(file, forged(content, lambda entry, arrays: entry.update(format=number)))


def test_deep_json_within_the_entry_is_refused(content, file):
    deep = "[" * 100_000 + "]" * 100_000

    def edit(text: bytes) -> bytes:
        return text.replace(b'\\"records\\": [', b'\\"records\\": [' + deep.encode() + b",", 1)

    assert len(with_header(content, edit)) > len(content) + 200_000
    refused(file, with_header(content, edit))


# ---- what is written is what is read

DTYPES = [np.bool_, np.uint8, np.int32, np.int64, np.float32, np.float64]
TEXT = st.text(st.characters(), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
ARRAYS = st.dictionaries(
    st.from_regex(r"[a-z]{1,5}(\.[a-z0-9]{1,5}){0,2}", fullmatch=True),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=5,
)


@given(st.dictionaries(TEXT, JSON, max_size=5), ARRAYS)
@settings(max_examples=60)
def test_header_and_arrays_come_back_bit_by_bit(tmp_path_factory, header, arrays):
    file = tmp_path_factory.getbasetemp() / "any" / "thing.safetensors"
    assert write_file(file, "thing", header, arrays) == file
    again, back = read_file(file, "other", "thing")
    assert again == header
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert back[name].tobytes() == array.tobytes()


def test_lone_surrogates_in_a_header_come_back(file):
    write_file(file, "thing", {"\ud800": "\udfff\0\n\"\\"}, {})  # fmt: skip
    assert read_file(file, "thing")[0] == {"\ud800": '\udfff\0\n"\\'}


def test_a_header_that_looks_like_the_digest_does_not_confuse(file):
    header = {"sha256": "0" * 64, "text": '"sha256": "' + "f" * 64 + '"'}
    write_file(file, "thing", header, {"zeros": np.zeros(64, np.uint8) + ord("0")})
    assert read_file(file, "thing")[0] == header


def test_arrays_of_any_order_in_memory_are_written(file):
    square = np.arange(12.0).reshape(3, 4)
    write_file(file, "thing", {}, {"t": square.T, "step": square[::2, ::3], "scalar": np.float32(3)})
    back = read_file(file, "thing")[1]
    assert back["t"].tolist() == square.T.tolist()
    assert back["step"].tolist() == square[::2, ::3].tolist()
    assert back["scalar"].shape == ()


def test_what_is_read_can_be_changed(file):
    """Arrays become tensors, and torch warns of memory that may not be written."""
    write_file(file, "thing", {}, {"a": np.zeros(3)})
    read_file(file, "thing")[1]["a"][0] = 1


# ---- names


NAMES = [
    "../x",
    "a/b",
    "a\\b",
    "/etc/passwd",
    "",
    ".",
    "..",
    ".hidden",
    "a\0b",
    "a\nb",
    "x\n",
    "C:x",
    "a" * 1000,
    "\ud800",
    7,
]


@pytest.mark.parametrize("name", [*NAMES, None, b"bytes", ["list"], True], ids=lambda name: repr(name)[:12])
def test_names_that_are_not_plain_are_refused(model, tmp_path, name):
    actions: list[Callable[[], object]] = [
        lambda: model.save(tmp_path / "folder", name),
        lambda: FM.load(tmp_path / "folder", name),
        lambda: model.data_info.save(tmp_path / "folder", name),
        lambda: DataInfo.load(tmp_path / "folder", name),
    ]
    for action in actions:
        with pytest.raises(ValueError, match="model_name must be a plain file name"):
            action()
    assert not list(tmp_path.iterdir())


def test_the_ending_of_files_is_no_part_of_a_name(model, tmp_path):
    with pytest.raises(ValueError, match=r"model_name 'x\.safetensors' must come without '\.safetensors'"):
        model.save(tmp_path, "x.safetensors")
    with pytest.raises(ValueError, match="must come without"):
        FM.load(tmp_path, "x.safetensors")


@pytest.mark.parametrize(
    "name", ["modèle 1", "a.b", "模型", "x..y", "-rf", "a" * 180, "m.safetensor"], ids=lambda name: name[:12]
)
def test_plain_names_are_taken(model, tmp_path, name):
    file = model.save(tmp_path, name)
    assert file == tmp_path / f"{name}.safetensors"
    assert model.data_info.save(tmp_path, name) == tmp_path / f"{name}_data_info.safetensors"
    assert FM.load(tmp_path, name).predict(100, "i1") == model.predict(100, "i1")
    assert len(list(tmp_path.iterdir())) == 2


def test_paths_that_are_no_text_are_refused(model, tmp_path):
    for path in (tmp_path / "a\ud800b", f"{tmp_path}/\udfff"):
        for action in (model.save, FM.load, model.data_info.save, DataInfo.load):
            with pytest.raises(ValueError, match=r"path must be a path, got .*\\ud.* no valid text"):
                action(path, "name")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_paths_that_are_bytes_are_taken(model, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    assert model.save(folder, "name").is_file()
    assert FM.load(folder, "name").predict(100, "i1") == model.predict(100, "i1")


@pytest.mark.parametrize("name", ["a" * 200, "模" * 100], ids=["200 letters", "300 bytes"])
def test_names_that_no_disk_takes_are_refused_as_names(model, tmp_path, name):
    try:
        model.data_info.save(tmp_path, name)
        model.save(tmp_path, name)
    except ValueError as error:
        assert "model_name" in str(error)  # noqa: PT017


def test_a_name_with_a_dot_keeps_its_dots(tmp_path):
    assert file_of(tmp_path, "v1.2") == tmp_path / "v1.2.safetensors"


def test_the_path_is_text_or_a_path_and_folders_are_made(model, tmp_path):
    assert model.save(str(tmp_path / "a" / "b"), "m") == tmp_path / "a" / "b" / "m.safetensors"
    assert model.save(tmp_path / "c", "m") == tmp_path / "c" / "m.safetensors"
    for folder in (str(tmp_path / "a" / "b"), tmp_path / "c"):
        assert FM.load(folder, "m").predict(100, "i1") == model.predict(100, "i1")
    assert recolib.load(str(tmp_path / "c" / "m.safetensors")).predict(100, "i1") == model.predict(100, "i1")


def test_a_tilde_is_the_home(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert model.save("~/models", "movies") == tmp_path / "home" / "models" / "movies.safetensors"
    assert recolib.load("~/models/movies.safetensors").n_epochs == model.n_epochs
    assert type(model).load(Path("~/models"), "movies").n_epochs == model.n_epochs
    assert model.data_info.save("~/models", "movies").parent == tmp_path / "home" / "models"
    assert DataInfo.load("~/models", "movies").n_users == model.data_info.n_users
    assert model.recommend_to("~/lists.parquet", n_rec=2, verbose=0) == tmp_path / "home" / "lists.parquet"
    assert model.model_card("~/card.md") == tmp_path / "home" / "card.md"
    frame = pd.DataFrame({"label": [1], "field_0": [3]})
    assert len(read_libfm(write_libfm(frame, "~/train.libfm"))) == len(read_libfm("~/train.libfm")) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize(
    "address", ["s3://bucket/models", "gs://a/b", "hdfs://a/b", "file:///tmp/x", Path("s3://bucket/x")]
)
def test_an_address_is_refused_by_all_that_read_or_write_files(model, tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    data, info = DatasetPure.build_trainset(pd.DataFrame({"user": [1, 2], "item": [3, 4], "label": 1}))
    calls = [
        lambda: model.save(address, "movies"),
        lambda: type(model).load(address, "movies"),
        lambda: recolib.load(address),
        lambda: model.data_info.save(address, "movies"),
        lambda: DataInfo.load(address, "movies"),
        lambda: model.recommend_to(address),
        lambda: model.model_card(address),
        lambda: FM("ranking", info).fit(data, True, checkpoint=address),
        lambda: FM("ranking", info).fit(data, True, resume=address),
        lambda: write_libfm(data, address),
        lambda: read_libfm(address),
        lambda: fetch_movielens("latest-small", home=address),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"is an address, and recolib reads and writes files of this machine"):
            call()
    assert not [*tmp_path.iterdir()]


def test_a_model_is_found_without_the_ending_of_its_file(model, tmp_path):
    file = model.save(tmp_path, "movies")
    for path in (tmp_path / "movies", str(tmp_path / "movies"), file):
        assert recolib.load(path).n_epochs == model.n_epochs
    (tmp_path / "movies").mkdir()
    assert recolib.load(tmp_path / "movies").n_epochs == model.n_epochs
    with pytest.raises(FileNotFoundError, match=r"there is no file .*series; the folder has"):
        recolib.load(tmp_path / "series")
    with pytest.raises(TypeError, match="file must be a path, got None"):
        recolib.load(None)


def test_a_path_that_is_a_file_is_an_error_that_names_it(model, tmp_path):
    (tmp_path / "taken").write_text("precious")
    with pytest.raises(OSError, match="taken"):
        model.save(tmp_path / "taken", "m")
    with pytest.raises(OSError, match="taken"):
        model.save(tmp_path / "taken" / "below", "m")
    assert (tmp_path / "taken").read_text() == "precious"


# ---- how it is written


@pytest.mark.parametrize("n", [1, BIG])
def test_bytes_reach_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch, n):
    file, steps = tmp_path / "model.safetensors", []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(descriptor: int) -> None:
        of = os.fstat(descriptor)
        if stat.S_ISDIR(of.st_mode):
            steps.append(("folder", of.st_ino == tmp_path.stat().st_ino, file.exists()))
        else:
            steps.append(("file", of.st_size, file.exists()))
        fsync(descriptor)

    def recorded_replace(self: Path, target: Path) -> Path:
        steps.append(("rename", self.parent == tmp_path, self.stat().st_size, Path(target)))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    write_file(file, "thing", {}, {"a": np.ones(n, np.uint8)})
    size = file.stat().st_size
    assert size > n
    assert steps == [("file", size, False), ("rename", True, size, file), ("folder", True, True)]


class Stop(BaseException):
    """Stands for KeyboardInterrupt, which would stop pytest."""


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), Stop()], ids=["full", "stopped"])
@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error, place):
    file = write_file(tmp_path / "a.safetensors", "thing", {"old": True}, {"a": np.zeros(3)})
    before = file.read_bytes()

    def fail(*_: object) -> None:
        assert len(leftovers(tmp_path)) == 1
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", fail) if place == "fsync" else (Path, "replace", fail)))
        with pytest.raises(type(error)):
            write_file(file, "thing", {"old": False}, {"a": np.ones(3)})
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    """Not patched: the system refuses to let a file grow beyond a limit."""
    file = write_file(tmp_path / "a.safetensors", "thing", {"old": True}, {"a": np.zeros(3)})
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BIG // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_file(file, "thing", {"old": False}, {"a": np.ones(BIG, np.uint8)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_target_that_is_a_folder_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_file(tmp_path / "a.safetensors", "thing", {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_who_may_read_a_file_is_what_the_umask_says(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        file = write_file(tmp_path / "a.safetensors", "thing", {}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_an_unfinished_file_is_never_taken_for_a_model(content, tmp_path):
    unfinished = tmp_path / f".m.safetensors.0{UNFINISHED}"
    unfinished.write_bytes(content)
    with pytest.raises(FileNotFoundError, match=r"the folder has \[\]"):
        FM.load(tmp_path, "m")


def test_leftovers_are_swept_but_for_those_of_the_living(tmp_path):
    dead, living = (tmp_path / f".{name}.safetensors.0{UNFINISHED}" for name in ("dead", "living"))
    others = [tmp_path / name for name in (".hidden", "mine.txt", f"visible{UNFINISHED}", "old.safetensors")]
    for path in (dead, living, *others):
        path.write_bytes(b"x")
    with living.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        write_file(tmp_path / "a.safetensors", "thing", {}, {})
        assert not dead.exists()
        assert living.exists()
    write_file(tmp_path / "b.safetensors", "thing", {}, {})
    assert not living.exists()
    assert all(path.read_bytes() == b"x" for path in others)


def test_a_file_that_is_being_written_is_locked(tmp_path, monkeypatch):
    """Else another saver would take it for a leftover."""
    seen = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        for path in leftovers(tmp_path):
            with path.open("rb") as stream, pytest.raises(BlockingIOError):
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            seen.append(path)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    write_file(tmp_path / "a.safetensors", "thing", {}, {})
    assert len(seen) == 1


def test_a_saver_that_sweeps_before_the_lock_is_held_does_no_harm(tmp_path, monkeypatch):
    flock, swept = fcntl.flock, []

    def late(stream: Any, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not swept:  # someone else saves just now
            swept.append(True)
            write_file(tmp_path / "b.safetensors", "thing", {}, {})
        flock(stream, operation)

    monkeypatch.setattr(files.fcntl, "flock", late)
    write_file(tmp_path / "a.safetensors", "thing", {}, {})
    assert swept
    assert read_file(tmp_path / "a.safetensors", "thing")[0] == {}


def test_savers_of_one_name_at_once_leave_a_whole_file(tmp_path):
    file, errors = tmp_path / "a.safetensors", []
    write_file(file, "thing", {"who": -1}, {"a": np.full(BIG // 8, -1.0)})

    def save(who: int) -> None:
        for _ in range(8):
            try:
                write_file(file, "thing", {"who": who}, {"a": np.full(BIG // 8, float(who))})
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=save, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):  # a reader sees a whole file at any moment
        header, arrays = read_file(file, "thing")
        assert (arrays["a"] == header["who"]).all()
    for thread in threads:
        thread.join()
    assert not errors
    header, arrays = read_file(file, "thing")
    assert header["who"] in range(4)
    assert (arrays["a"] == header["who"]).all()
    assert not leftovers(tmp_path)


# ---- killed

N_KILLS = 30
SAVER = """
import os, sys, time
import torch
torch.set_num_threads(1)
import recolib

fsync = os.fsync
def slow(descriptor):  # a slow disk: half of the kills come before the name is given, however busy the machine
    time.sleep(0.02)
    fsync(descriptor)
os.fsync = slow

folder, a, b = sys.argv[1:]
models = recolib.load(a), recolib.load(b)
print("warm", flush=True)
for line in sys.stdin:  # each line asks for a child that saves until it is killed; a fork spares it the imports
    models = models[::-1]
    child = os.fork()
    if child == 0:
        while True:
            for model in models:
                model.save(folder, "model")
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


@pytest.fixture
def saver(tmp_path: Path, large: dict[str, FM]) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that forks savers of the large models into a folder."""
    folder = tmp_path / "models"
    kept = [str(model.save(tmp_path / "kept", name)) for name, model in large.items()]
    command = [sys.executable, "-c", SAVER, str(folder), *kept]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "warm\n"
        yield process, folder
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module")
def large() -> dict[str, FM]:
    """Two models of a few MB that predict differently."""
    data, info = make_world("ranking", "pure").build()
    of_both: dict[str, Any] = {"embed_size": 8192, "n_epochs": 1, "lr": 1e-4, "init_std": 0.001}
    return {
        name: FM("ranking", info, seed=seed, **of_both).fit(data, neg_sampling=True, verbose=0)
        for seed, name in enumerate("AB")
    }


def test_a_saver_that_is_killed_at_any_moment_leaves_one_whole_model(saver, large):
    process, folder = saver
    rng = random.Random(3)
    expected = {name: model.predict([100, 101, 102], "i1").tolist() for name, model in large.items()}
    assert expected["A"] != expected["B"]
    file = large["A"].save(folder, "model")
    assert file.stat().st_size > 3 * BIG
    begin = time.perf_counter()
    for name in "BA":
        large[name].save(folder, "model")
    one_round = time.perf_counter() - begin + 4 * 0.02  # each save syncs file and folder, slowly
    found: list[str] = []
    unfinished: set[str] = set()
    for _ in range(N_KILLS):
        process.stdin.write("go\n")
        process.stdin.flush()
        child = int(process.stdout.readline())
        time.sleep(rng.uniform(0, 1.5 * one_round))
        os.kill(child, signal.SIGKILL)
        assert process.stdout.readline() == "dead\n"
        unfinished |= {path.name for path in leftovers(folder)}
        answers = recolib.load(file).predict([100, 101, 102], "i1").tolist()
        found += [name for name, answer in expected.items() if answer == answers]
        assert len(leftovers(folder)) <= 1
    assert len(found) == N_KILLS  # each time wholly one of them
    assert set(found) == {"A", "B"}
    assert len(unfinished) >= 3  # else no kill hit the middle of a write, and nothing was tested
    large["A"].save(folder, "model")
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]
