"""Columns that are hashed to buckets: the hash, the codes, and all that is made of such data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from worlds import COLUMNS, two_tastes

from recolib import load
from recolib.algorithms import FM, DeepFM
from recolib.artifacts import onnx
from recolib.data import DataInfo, DatasetFeat, Vocab, libfm_offsets, write_libfm
from recolib.data.buckets import Buckets, stable_hash
from recolib.data.field import MAX_BUCKETS
from recolib.data.frame import as_values, read_frame
from recolib.data.hashed_columns import N_BUCKETS
from recolib.data.kinds import KINDS, sparse
from recolib.data.packing import unpack_schema
from recolib.data.rows import ABSENT, AVERAGE, UNKNOWN
from recolib.evaluation import evaluate
from recolib.exceptions import MixedTypesWarning
from recolib.recommender import Recommender
from recolib.serving.columns import describe_features, user_features

INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NAMES = st.builds("bucket {} of {}".format, st.integers(0, 60), st.integers(0, 60))
VALUES = st.lists(INTEGERS | TEXTS | INTEGERS.map(str) | NAMES, max_size=12) | st.lists(INTEGERS, max_size=12)
SIZES = st.integers(1, 60) | st.just(2**20) | st.just(MAX_BUCKETS)
ALL: dict[str, Any] = {**(COLUMNS["all kinds"] or {}), "encoding": "hash", "n_buckets": 50}
SEX: dict[str, Any] = {**(COLUMNS["all kinds"] or {}), "encoding": {"sex": "hash"}, "n_buckets": 50}


def mixed(z: int) -> int:
    """SplitMix64's mixing, in Python's own integers."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def bucket(value: int | str, n: int) -> int:
    """The code as docs/exporting.md says that applications make it."""
    z = crc32(value.encode()) + 2**63 if isinstance(value, str) else value % 2**64
    return 1 + mixed(z) % n


def codes_of(column: Any, n_buckets: int = MAX_BUCKETS, **arguments: Any) -> list[int]:
    """The codes of a hashed context column."""
    n = len(column)
    frame = pd.DataFrame({"user": range(n), "item": range(n), "label": 1}).assign(x=column)
    kind = arguments.pop("kind", "sparse_col")
    data, _ = DatasetFeat.build_trainset(
        frame, context_col=["x"], **{kind: ["x"]}, encoding="hash", n_buckets=n_buckets, **arguments
    )
    return data.context.codes.squeeze(1).tolist()


# ---- the hash


def test_the_hash_is_that_of_the_papers():
    golden = 0x9E3779B97F4A7C15
    states = np.array([golden, 2 * golden % 2**64, 3 * golden % 2**64], np.uint64).view(np.int64)
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]  # the first of SplitMix64 from seed 0
    assert stable_hash(states).tolist() == published
    assert stable_hash(as_values(["123456789"])).tolist() == [mixed(2**63 + 0xCBF43926)]  # CRC-32's check value


def test_codes_never_change():
    values = as_values([0, 7, "7", "", "phone", "é", -1, 2**63 - 1, -(2**63), "a\x00"])
    codes = [1, 605, 595, 51, 119, 926, 68, 534, 51, 610]
    assert Buckets(1000).encode(values).tolist() == codes == [bucket(value, 1000) for value in values.tolist()]


@given(VALUES, SIZES)
def test_each_value_has_the_bucket_of_its_hash_whatever_stands_beside_it(values, n):
    codes = Buckets(n).encode(as_values(values))
    assert codes.dtype == np.int32
    names = {f"bucket {code} of {n}": code for code in range(1, min(n, 60) + 1)}
    assert codes.tolist() == [names.get(str(v), bucket(v, n)) if isinstance(v, str) else bucket(v, n) for v in values]
    assert codes.tolist() == [Buckets(n).code(value) for value in values]


@given(VALUES, SIZES)
@example(["bucket 3 of 60", "bucket 03 of 60", "bucket 61 of 60", "bucket 0 of 60", "a bucket 3 of 60"], 60)
def test_what_a_bucket_is_shown_as_has_its_code(values, n):
    buckets = Buckets(n)
    codes = buckets.encode(as_values(values))
    assert buckets.encode(buckets.decode(codes)).tolist() == codes.tolist()
    assert buckets.extend(as_values(values)) is buckets
    assert len(buckets) == n
    assert not len(buckets.values)


@pytest.mark.parametrize("codes", [[0], [-1], [1, 8]])
def test_only_buckets_that_there_are_can_be_decoded(codes):
    with pytest.raises(IndexError, match=r"codes must be in 1\.\.7"):
        Buckets(7).decode(np.array(codes))


@pytest.mark.parametrize("value", [None, 1.5, True, b"x"])
def test_what_no_column_holds_is_unknown(value):
    assert Buckets(7).code(value) == UNKNOWN


def test_a_process_with_other_hashes_has_the_same_codes():
    values = ["a", "é", 7]
    script = "from recolib.data.buckets import *; print(Buckets(10**6).encode(as_values(['a', '\\u00e9', 7])).tolist())"
    for seed in "12":
        found = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(found.stdout) == Buckets(10**6).encode(as_values(values)).tolist()


@pytest.mark.parametrize("make", [list, np.array, pd.Series, lambda x: pd.Series(x, dtype="category")])
def test_buckets_are_filled_evenly(make):
    n = 1000
    counts = np.bincount(codes_of(make([f"device-{i:06}" for i in range(20_000)]), n), minlength=n + 1)[1:]
    assert not np.bincount(codes_of(make([""]), n))[0]
    assert counts.sum() == 20_000
    assert 0.8 < counts.var() / 20 < 1.25  # of a Poisson distribution mean and variance are 20


# ---- values are those that sparse columns have


SEVENS: list[Any] = [
    np.array([7, 8], np.int32),
    np.array([7, 8], np.int64),
    np.array([7, 8], np.uint8),
    np.array([7.0, 8.0]),
    pd.array([7, 8], "Int16"),
    pd.array([7, 8], "int64[pyarrow]"),
    pd.Series([7, 8], dtype=object),
    pd.Series([7, 8], dtype="category"),
    pd.Series([np.int8(7), np.uint64(8)], dtype=object),
]


@pytest.mark.parametrize("column", SEVENS, ids=lambda column: f"{type(column).__name__} {column.dtype}")
def test_a_number_has_one_bucket_whatever_its_type(column):
    assert codes_of(column) == [bucket(7, MAX_BUCKETS), bucket(8, MAX_BUCKETS)]


def test_booleans_count_as_numbers_and_text_does_not():
    assert codes_of([True, False]) == codes_of([1, 0]) != codes_of(["1", "0"])
    assert codes_of(pd.array([True, None], "boolean")) == [bucket(1, MAX_BUCKETS), UNKNOWN]


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "categories"])
def test_text_has_one_bucket_whatever_the_frame(library, monkeypatch):
    monkeypatch.setattr(sparse, "BLOCK", 2)
    frame = pd.DataFrame({"user": [1, 2, 3], "item": [1, 2, 3], "label": 1, "x": ["a", None, "é"]})
    native = {
        "pandas": frame,
        "polars": pl.from_pandas(frame),
        "pyarrow": pa.Table.from_pandas(frame),
        "categories": frame.astype({"x": "category"}),
    }[library]
    data, _ = DatasetFeat.build_trainset(native, context_col=["x"], sparse_col=["x"], encoding="hash", n_buckets=10**6)
    assert data.context.codes[:, 0].tolist() == [bucket("a", 10**6), UNKNOWN, bucket("é", 10**6)]


@pytest.mark.parametrize("value", [1.5, np.inf, (1, 2), b"x"])
def test_what_no_sparse_column_can_hold_is_refused_here_as_well(value):
    with pytest.raises(ValueError, match="column 'x'"):
        codes_of(pd.Series([value, 1], dtype=object))


@pytest.mark.parametrize("kind", ["sparse_col", "multi_sparse_col"])
def test_an_empty_column_is_refused_here_as_well(kind):
    with pytest.raises(ValueError, match="column 'x' is empty"):
        codes_of(pd.Series([None, None], dtype=object), kind=kind)


def test_integers_beside_the_same_text_are_told_of():
    with pytest.warns(MixedTypesWarning, match="column 'x' has 1 integers and 1 strings, which never match") as caught:
        codes_of(pd.Series([7, "7"], dtype=object))
    assert len(caught) == 1


@pytest.mark.parametrize("size", [1, 3, 100])
def test_blocks_of_any_size_give_the_codes_of_the_whole(size, monkeypatch):
    column = pd.Series(["a", None, 7, "b", "a", 7.0, "", "c", "7"], dtype=object)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MixedTypesWarning)
        whole = codes_of(column)
        monkeypatch.setattr(sparse, "BLOCK", size)
        assert codes_of(column) == whole
    assert whole == [UNKNOWN if v is None else bucket(int(v) if v == 7.0 else v, MAX_BUCKETS) for v in column]


WORDS = st.sampled_from(["a", "b", "c", 1, 2, None])
CELLS: dict[str, Any] = {
    "sparse": ("x", WORDS),
    "multi_sparse": ("x", st.lists(st.sampled_from(["a", "pad", 1, 2]), max_size=4) | st.none()),
    "multi_sparse group": (("x", "y"), WORDS | st.just("pad")),
}


@pytest.mark.parametrize("what", CELLS)
@pytest.mark.filterwarnings("ignore::recolib.exceptions.MixedTypesWarning")
@given(st.data())
def test_cells_are_those_of_a_vocabulary_but_for_their_numbers(what: str, data: st.DataObject):
    (group, values), name = CELLS[what], what.split()[0]
    n = data.draw(st.integers(1, 8))
    frame = pd.DataFrame()
    for column in (group,) if isinstance(group, str) else group:
        some = st.lists(values, min_size=n, max_size=n).filter(lambda some: any(v for v in some))
        frame[column] = pd.Series(data.draw(some), dtype=object)
    kind, read = KINDS[name], read_frame(frame)
    plain = kind.field(group, "item", "pad" if name == "multi_sparse" else None)
    hashed, buckets, cells = kind.learn(read, replace(plain, n_buckets=MAX_BUCKETS), "standard")
    field, vocab, codes = kind.learn(read, plain, "standard")
    assert isinstance(buckets, Buckets)
    assert isinstance(vocab, Vocab)
    assert hashed == replace(field, n_buckets=MAX_BUCKETS)
    number_of = {0: UNKNOWN, ABSENT: ABSENT} | {
        code: bucket(value, MAX_BUCKETS) for code, value in enumerate(vocab.values.tolist(), start=1)
    }
    assert cells.tolist() == [[number_of[code] for code in row] for row in codes.tolist()]
    again, expected = kind.encode(read, hashed, buckets), kind.encode(read, field, vocab)
    np.testing.assert_array_equal(again.given, expected.given)
    assert (cells == again.cells).all()
    assert kind.extend(read, hashed, buckets)[0] is buckets
    shown = pd.DataFrame(kind.decode(cells, hashed, buckets))
    back = kind.encode(read_frame(shown), hashed, buckets).cells
    known = cells > UNKNOWN
    assert np.sort(back[back > UNKNOWN]).tolist() == np.sort(cells[known]).tolist()


# ---- what can be asked for


def build(**arguments: Any) -> DataInfo:
    return DatasetFeat.build_trainset(two_tastes(), **{**(COLUMNS["all kinds"] or {}), **arguments})[1]


def sizes(info: DataInfo) -> dict[str, int]:
    return {field.name: field.n_buckets for field in info.schema.fields if field.n_buckets}


def test_columns_and_groups_are_hashed_as_named():
    assert sizes(build()) == {}
    assert sizes(build(encoding={"sex": "vocabulary"})) == {}
    assert sizes(build(encoding={"sex": "hash"})) == {"sex": N_BUCKETS}
    assert sizes(build(encoding={"genre1": "hash"}, n_buckets=9)) == {"genre1": 9}
    assert sizes(build(encoding={("genre1", "genre2"): "hash"}, n_buckets={"genre1": 9})) == {"genre1": 9}
    every = {"sex": 9, "genre1": 9, "tags": 9, "hour": 9}
    assert sizes(build(encoding="hash", n_buckets=9)) == every
    assert sizes(build(encoding="hash", n_buckets={"tags": np.int64(9)})) == dict.fromkeys(every, N_BUCKETS) | {
        "tags": 9
    }


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"encoding": {"user": "hash"}}, ValueError, "encoding cannot have 'user': ids need a vocabulary, since lists"),
    ({"encoding": {"item": "hash"}}, ValueError, "each item by itself; leave it out, and declare a copy"),
    ({"encoding": "hash", "n_buckets": {"item": 5}}, ValueError, "n_buckets cannot have 'item'"),
    ({"encoding": {"age": "hash"}}, ValueError, "encoding names 'age', which is 'dense' and is not hashed"),
    ({"encoding": {"cover": "hash"}}, ValueError, "encoding names 'cover', which is 'vector'"),
    ({"encoding": {"genre2": "hash"}}, ValueError, r"'genre2' of the group \['genre1', 'genre2'\]: name 'genre1'"),
    ({"encoding": {"genre1": "hash", ("genre1", "genre2"): "vocabulary"}}, ValueError, "names 'genre1' twice"),
    ({"encoding": {"tag": "hash"}}, ValueError, "'tag' is not a sparse or .* column.*; did you mean 'tags'"),
    ({"encoding": {3: "hash"}}, ValueError, "'3' is not a sparse or multi-sparse column"),
    ({"encoding": "hashing"}, ValueError, "encoding must be one of .*'hash'.*, got 'hashing'"),
    ({"encoding": None}, ValueError, "encoding must be one of .*, got None"),
    ({"encoding": {"sex": "hashed"}}, ValueError, "encoding of 'sex' must be one of .*, got 'hashed'"),
    ({"encoding": "hash", "n_buckets": 0}, ValueError, "n_buckets must be at least 1, got 0"),
    ({"encoding": "hash", "n_buckets": 2**31}, ValueError, "n_buckets must be below 2147483648"),
    ({"encoding": "hash", "n_buckets": 1e6}, TypeError, "n_buckets must be an integer, got 1000000.0"),
    ({"encoding": "hash", "n_buckets": {"sex": True}}, TypeError, "n_buckets of 'sex' must be an integer, got True"),
    ({"n_buckets": 5}, ValueError, "n_buckets is for hashed columns, and none is: say such as encoding="),
    ({"n_buckets": {"sex": 5}}, ValueError, r"\['sex'\] are not: say such as encoding=\{'sex': 'hash'\}"),
    ({"encoding": {"sex": "hash"}, "n_buckets": {"hour": 5}}, ValueError, r"\['hour'\] are not"),
]


@pytest.mark.parametrize(("arguments", "error", "match"), REFUSED)
def test_what_cannot_be_hashed_is_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        build(**arguments)


@pytest.mark.parametrize("columns", [{}, {"user_col": ["age"], "dense_col": ["age"]}])
def test_there_must_be_something_to_hash(columns):
    with pytest.raises(ValueError, match="encoding='hash' finds nothing to hash: there is no sparse_col"):
        DatasetFeat.build_trainset(two_tastes(), **columns, encoding="hash")
    with pytest.raises(ValueError, match="n_buckets is for hashed columns"):
        DatasetFeat.build_trainset(two_tastes(), **columns, n_buckets=5)


def test_a_kind_of_ones_own_is_not_hashed(monkeypatch):
    class Own(sparse.Sparse):
        name = "own"
        hashes = False

    monkeypatch.setitem(KINDS, "own", Own())
    arguments: dict[str, Any] = {"context_col": ["hour"], "other_col": {"own": ["hour"]}}
    with pytest.raises(ValueError, match="encoding names 'hour', which is 'own'"):
        DatasetFeat.build_trainset(two_tastes(), **arguments, encoding={"hour": "hash"})


# ---- the data


def test_data_without_hashing_is_as_it_was():
    data, info = DatasetFeat.build_trainset(two_tastes(), **(COLUMNS["all kinds"] or {}))
    assert info.fingerprint == "1a575f8439960565be296085024ed57a47b80e6509555685553cbf114dade31b"
    assert data.digest() == "26b1861860d6d571755d5f43e06147c62e83546488e45044c78507be39d63288"
    assert "n_buckets" not in info.schema.to_json()


def test_fingerprints_tell_buckets_apart():
    found = {build(encoding={"sex": "hash"}, n_buckets=n).fingerprint for n in (2, 3)} | {build().fingerprint}
    assert len(found) == 3


def test_a_file_holds_no_value_and_the_same_buckets(tmp_path):
    info = build(encoding="hash", n_buckets=50)
    file = info.save(tmp_path, "hashed")
    assert b"even" not in file.read_bytes()
    assert b"even" in build().save(tmp_path, "plain").read_bytes()
    loaded = DataInfo.load(tmp_path, "hashed")
    assert loaded.fingerprint == info.fingerprint
    assert sizes(loaded) == sizes(info)
    pd.testing.assert_frame_equal(loaded.item_frame(), info.item_frame())


@pytest.mark.parametrize(
    ("name", "n"), [("sex", -1), ("sex", True), ("sex", 2.0), ("sex", 2**31), ("user", 9), ("age", 9), ("cover", 9)]
)
def test_a_damaged_number_of_buckets_is_refused(name, n):
    entries = json.loads(build().schema.to_json())
    next(entry for entry in entries if entry["name"] == name)["n_buckets"] = n
    with pytest.raises(ValueError, match=f"field '{name}' has"):
        unpack_schema(json.dumps(entries))


def test_codes_beyond_the_buckets_are_refused():
    info = build(encoding="hash", n_buckets=50)
    header, arrays = info.packed()
    header["schema"] = header["schema"].replace('"n_buckets": 50', '"n_buckets": 2')
    with pytest.raises(ValueError, match=r"codes of 'sex' are 0 to 2|codes of 'genre1' are -2 to 2"):
        DataInfo.unpacked(header, arrays)


def test_features_that_are_shown_can_be_given_again():
    info = build(**ALL)
    before = info.items.rows.codes.clone()
    shown = info.item_frame()
    assert shown["genre1"].str.fullmatch(r"bucket \d+ of 50").all()
    info.assign_item_features(shown.drop(columns=["price", "cover"]))
    assert torch.equal(info.items.rows.codes, before)
    info.assign_item_features(pd.DataFrame({"item": ["i0"], "genre1": ["new"], "genre2": [None]}))
    assert info.items.rows.codes[info.item2id["i0"], 1] == bucket("new", 50)


def test_a_frame_of_features_gives_the_codes_of_events():
    frame = two_tastes()
    items = frame.drop_duplicates("item")[["item", "genre1", "genre2"]]
    columns: dict[str, Any] = {"item_col": ["genre1", "genre2"], "multi_sparse_col": [["genre1", "genre2"]]}
    hashed: dict[str, Any] = {"encoding": "hash", "n_buckets": 50}
    info = DatasetFeat.build_trainset(frame, **columns, **hashed)[1]
    apart = DatasetFeat.build_trainset(frame[["user", "item", "label"]], item_features=items, **columns, **hashed)[1]
    assert torch.equal(info.items.rows.codes, apart.items.rows.codes)


def test_more_data_brings_no_new_codes():
    _, info = DatasetFeat.build_trainset(two_tastes(), **ALL)
    later = two_tastes(seed=1).assign(sex="X", hour=99, tags=[["q"]] * len(two_tastes(seed=1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        more, merged = DatasetFeat.merge_trainset(later, info)
    assert merged.vocabs["sex"] is info.vocabs["sex"]
    assert merged.extends(info)
    assert set(more.context.codes[:, 0].tolist()) == {bucket(99, 50)}
    assert set(merged.users.current.codes[1:, 1].tolist()) == {bucket("X", 50)}


def test_an_evaluation_set_has_a_bucket_for_each_value():
    _, info = DatasetFeat.build_trainset(two_tastes(), **ALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = DatasetFeat.build_testset(two_tastes().assign(hour=99), data_info=info)
    assert set(data.context.codes[:, 0].tolist()) == {bucket(99, 50)}


def test_libfm_files_have_an_index_for_each_bucket(tmp_path):
    data, info = DatasetFeat.build_trainset(two_tastes(), **SEX)
    offsets = libfm_offsets(info)
    names = list(offsets)
    assert offsets[names[names.index("sex") + 1]] - offsets["sex"] == 51
    first = write_libfm(data, tmp_path / "data.libfm").read_text().splitlines()[0].split()
    assert f"{offsets['sex'] + bucket(two_tastes()['sex'][0], 50)}:1" in first


# ---- models


def trained(**arguments: Any) -> Recommender:
    data, info = DatasetFeat.build_trainset(two_tastes(), **{**ALL, **arguments})
    settings: dict[str, Any] = {"n_epochs": 3, "embed_size": 4, "hidden_units": (8,), "id_dropout": 0.2}
    return DeepFM("ranking", info, **settings).fit(data, neg_sampling=True, verbose=0)


@pytest.fixture(scope="module")
def model() -> Recommender:
    return trained()


def free(info: DataInfo, name: str) -> str:
    """A value whose bucket no training row has."""
    assert sizes(info)[name] == 50
    used = {bucket(value, 50) for value in two_tastes()[name].explode().dropna().tolist()}
    return next(f"never {n}" for n in range(999) if bucket(f"never {n}", 50) not in used)


def test_a_value_whose_bucket_was_never_trained_counts_as_unknown(model):
    user, item = 100, "i3"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        never = model.predict(user, item, feats={"hour": free(model.data_info, "hour")})
        known = [model.predict(user, item, feats={"hour": hour}) for hour in range(4)]
    assert never == model.predict(user, item, feats={"hour": None})
    assert never not in known
    shared = next(f"new {n}" for n in range(999) if bucket(f"new {n}", 50) == bucket(2, 50))
    assert model.predict(user, item, feats={"hour": shared}) == known[2]


@pytest.mark.parametrize("cold_start", ["average", "features"])
def test_cold_users_are_scored_by_their_buckets(model, cold_start):
    def score(sex: str | None) -> float:
        return model.predict("new", "i3", feats={"sex": sex, "hour": 1}, cold_start=cold_start)

    women, men, others, nobody = map(score, ("F", "M", free(model.data_info, "sex"), None))
    assert len({women, men, others}) == 3
    assert others == nobody
    assert score(f"bucket {bucket('F', 50)} of 50") == women


def test_files_give_the_same_answers(model, tmp_path):
    loaded = load(model.save(tmp_path, "m"))
    feats = {"hour": 3}
    for user in (100, 101):
        assert loaded.predict(user, "i3", feats=feats) == model.predict(user, "i3", feats=feats)
    assert loaded.data_info.fingerprint == model.data_info.fingerprint


def test_explanations_name_the_bucket(model):
    said = model.explain(100, "i3", feats={"hour": 3})
    columns = said[said["kind"] == "column"].set_index("first")["first_value"]
    assert columns["sex"] == f"bucket {bucket('F', 50)} of 50"
    assert columns["hour"] == f"bucket {bucket(3, 50)} of 50"


def test_evaluation_and_updates_take_new_values():
    model, later = trained(), two_tastes(seed=1).assign(hour=99)
    before = model.predict(101, "i3", feats={"hour": 99})
    assert 0 < evaluate(model, later, neg_sampling=True, metrics=["roc_auc"])["roc_auc"] <= 1
    rows = model.engine.network.user.layout.n_rows
    new = later.assign(user=later["user"].replace(100, 999))
    model.update(new, neg_sampling=True, verbose=0)
    assert model.engine.network.user.layout.n_rows == rows + 1  # of the user
    assert model.predict(101, "i3", feats={"hour": 99}) != before


def test_new_items_have_buckets():
    model = trained()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.add_items(pd.DataFrame({"item": ["new"], "genre1": ["noir"], "genre2": ["third"], "tags": [["q"]]}))
    codes = model.data_info.items.current.codes[-1].tolist()
    assert codes[1:3] == [bucket("noir", 50), bucket("third", 50)]
    assert bucket("q", 50) in codes


def test_what_the_forgotten_alone_had_is_forgotten():
    frame = two_tastes()
    frame["sex"] = np.where(frame["user"] == 100, "alone", frame["sex"])
    data, info = DatasetFeat.build_trainset(frame, **SEX)
    model = FM("ranking", info, n_epochs=3, embed_size=4).fit(data, neg_sampling=True, verbose=0)
    others = model.predict(101, "i3", feats={"hour": 1})
    sex = next(field for field in info.schema.fields if field.name == "sex")

    def vectors(value: str) -> tuple[torch.Tensor, bool]:
        embedding = model.engine.network.user
        row = embedding.blocks[model.data_info.schema.codes("user").index(sex)].start + bucket(value, 50) - AVERAGE
        return embedding.vectors.weight[row].clone(), bool(embedding.trained[row])

    kept, (alone, was_trained) = vectors("F"), vectors("alone")
    assert was_trained
    model.forget(users=100)
    assert torch.equal(vectors("F")[0], kept[0])
    assert not torch.equal(vectors("alone")[0], alone)
    assert torch.equal(vectors("alone")[0], vectors(free(info, "sex"))[0])
    assert not vectors("alone")[1]
    assert model.predict(101, "i3", feats={"hour": 1}) == others
    assert model.data_info.user_frame()["sex"].tolist() == info.user_frame()["sex"].tolist()[1:]
    model.fit(DatasetFeat.build_testset(frame[frame["user"] != 100], data_info=model.data_info), True, verbose=0)


def test_the_card_says_how_many_buckets(model, tmp_path):
    text = model.model_card(tmp_path / "card.md").read_text()
    assert "| sex | user | sparse | 50 buckets |" in text.replace("`", "")
    assert "50 buckets, up to 2 at once" in text


def test_a_server_names_no_values_of_hashed_columns(model):
    about = {one["name"]: one for one in describe_features(model.data_info, "item")}
    assert (about["genre1"]["kind"], about["genre1"]["values"], about["genre1"]["n_values"]) == ("category", [], None)
    assert about["tags"]["kind"] == "list"
    assert user_features(model.data_info, [1])[0]["sex"] == f"bucket {bucket('F', 50)} of 50"


def test_applications_are_told_how_many_buckets_there_are(model):
    about = onnx._about(model, model.engine.network)
    assert about["vocabularies"]["sex"] == []
    assert len(about["vocabularies"]["user"]) == model.data_info.n_users
    sex = next(one for one in about["user"]["codes"] if one["name"] == "sex")
    assert (sex["n_buckets"], about["user"]["codes"][0]["n_buckets"]) == (50, 0)


def test_lists_can_be_limited_by_bucket(model):
    lists = model.recommend_user(101, 5, context={"hour": 1}, max_per_group={"genre1": 3}, filter_consumed=False)
    groups = model.data_info.item_frame().set_index("item")["genre1"]
    assert groups[lists[101].tolist()].value_counts().max() <= 3
