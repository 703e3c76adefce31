"""What every kind of column promises, and that one more kind needs nothing but a class and its registration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recolib import load
from recolib.algorithms import FM
from recolib.data import DataInfo, DatasetFeat
from recolib.data.field import Field
from recolib.data.frame import read_column, read_frame, read_numbers
from recolib.data.kinds import KINDS, Cells, Encoded, Facts, Kind, Layout, Learnt, kind_of, layout_of
from recolib.data.rows import ABSENT, UNKNOWN
from recolib.data.vocab import Vocab

BIN = 10


class Binned(Kind):
    """A number as the code of its bin of ten."""

    name = "binned"

    def layout(self, field: Field) -> Layout:
        return Layout("codes")

    def blank(self, field: Field) -> Cells:
        return np.array([UNKNOWN], np.int32)

    def learn(self, frame: Any, field: Field, scaling: str) -> Learnt:
        vocab, values = self.extend(frame, field, Vocab.of(np.empty(0, np.int64)))
        return Learnt(field, vocab, values)

    def extend(self, frame: Any, field: Field, vocab: Vocab | None) -> tuple[Vocab, Cells]:
        bins = self._bins(frame, field)
        assert vocab is not None
        vocab = vocab.extend(bins[~np.isnan(bins)].astype(np.int64))
        return vocab, self.encode(frame, field, vocab).cells

    def encode(self, frame: Any, field: Field, vocab: Vocab | None) -> Encoded:
        bins = self._bins(frame, field)
        assert vocab is not None
        given = ~np.isnan(bins)
        codes = np.where(given, vocab.encode(np.where(given, bins, 0).astype(np.int64)), UNKNOWN)
        return Encoded(codes.astype(np.int32)[:, None], given[:, None])

    def decode(self, values: Cells, field: Field, vocab: Vocab | None) -> dict[str, pd.Series]:
        assert vocab is not None
        bins = np.append(vocab.values, 0)[values[:, 0] - 1] * float(BIN)
        return {field.name: pd.Series(np.where(values[:, 0] > UNKNOWN, bins, np.nan))}

    def show(self, values: list[Any], field: Field, vocab: Vocab | None, special: dict[int, str]) -> float | str:
        assert vocab is not None
        return vocab.values[values[0] - 1] * float(BIN) if values[0] > UNKNOWN else special[values[0]]

    def describe(self, field: Field, vocab: Vocab | None, values: Cells) -> Facts:
        assert vocab is not None
        return Facts(n_values=len(vocab))

    def _bins(self, frame: Any, field: Field) -> np.ndarray:
        return np.floor(read_numbers(read_column(frame, field.name), field.name) / BIN)


@pytest.fixture
def binned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "binned", Binned())


words = st.sampled_from(["a", "b", "c", 1, 2, None])
COLUMNS: dict[str, Any] = {
    "sparse": ("x", words),
    "multi_sparse": ("x", st.lists(st.sampled_from(["a", "b", 1, 2]), max_size=4) | st.none()),
    "multi_sparse group": (("x", "y"), words),
    "dense": ("x", st.floats(-1000, 1000, width=32) | st.none()),
    "vector": ("x", st.lists(st.floats(-1000, 1000, width=32), min_size=3, max_size=3) | st.none()),
    "binned": ("x", st.integers(-1000, 1000).map(lambda n: n * float(BIN)) | st.none()),
}


@st.composite
def columns(draw: st.DrawFn, what: str) -> tuple[Kind, Field, Any]:
    """A kind, a field of it and a frame of at least one value."""
    name = what.split()[0]
    kind = Binned() if name == "binned" else KINDS[name]
    group, values = COLUMNS[what]
    n = draw(st.integers(1, 8))
    frame = pd.DataFrame()
    for column in (group,) if isinstance(group, str) else group:
        some = draw(st.lists(values, min_size=n, max_size=n).filter(lambda some: any(v or v == 0 for v in some)))
        frame[column] = pd.Series(some, dtype=float if what in ("dense", "binned") else object)
    return kind, kind.field(group, "item", "pad" if name == "multi_sparse" else None), read_frame(frame)


EACH = pytest.mark.parametrize("what", COLUMNS)


def test_all_kinds_are_among_those_tested():
    assert {what.split()[0] for what in COLUMNS} == {*KINDS, "binned"}
    assert all(kind.name == name for name, kind in KINDS.items())


@EACH
@given(st.data())
def test_what_was_learnt_is_what_is_encoded_and_the_frame_that_it_came_from(what: str, data: st.DataObject):
    kind, field, frame = data.draw(columns(what))
    field, vocab, values = kind.learn(frame, field, "standard")
    layout = kind.layout(field)
    assert values.dtype == (np.int32 if layout.part == "codes" else np.float32)
    assert values.shape == (len(frame), layout.width)
    again = kind.encode(frame, field, vocab)
    given = np.broadcast_to(again.given, values.shape)
    assert (values[given] == again.cells[given]).all()
    same, values_again = kind.extend(frame, field, vocab)
    assert same is vocab
    assert (values_again == values).all()
    back = kind.decode(values, field, vocab)
    assert list(back) == list(field.columns)
    for name, column in back.items():
        original = frame[name].to_list()
        if what == "dense":
            expected = np.array([field.mean if pd.isna(x) else x for x in original])
            lost = max(np.abs(expected - field.offset).max(), field.scale) * 2.0**-23
            assert np.abs(column - expected).max() <= 11 * lost  # rounded to a decimal of at most 20 times that
        elif what == "vector":
            expected = np.array([field.means if x is None else x for x in original])
            assert np.abs(np.stack(column) - expected).max() <= 2.0**-21 * max(1.0, np.abs(expected).max(), field.scale)
        elif field.lists:
            assert column.tolist() == [x or [] for x in original]
        else:
            assert [None if pd.isna(x) else x for x in column] == [None if pd.isna(x) else x for x in original]


@EACH
@given(st.data())
def test_further_values_get_codes_behind_those_that_are_there(what: str, data: st.DataObject):
    kind, field, frame = data.draw(columns(what))
    field, vocab, _ = kind.learn(frame, field, "standard")
    more, wide = data.draw(columns(what))[2], kind.layout(field).width
    if field.lists:
        more = read_frame(pd.DataFrame({"x": pd.Series([x and x[:wide] for x in more["x"].to_list()], dtype=object)}))
    longer, _ = kind.extend(more, field, vocab)
    before, after = (kind.encode(frame, field, one).cells for one in (vocab, longer))
    assert np.array_equal(before, after, equal_nan=what in ("dense", "vector"))
    if longer is not None:
        assert longer.values[: len(vocab)].tolist() == vocab.values.tolist()
        assert (kind.encode(more, field, longer).cells != UNKNOWN)[kind.encode(more, field, longer).given[:, 0]].all()


@EACH
@given(st.data())
def test_a_blank_row_has_the_width_of_the_layout_and_is_not_changed_by_missing_values(what: str, data: st.DataObject):
    kind, field, frame = data.draw(columns(what))
    field, vocab, _ = kind.learn(frame, field, "standard")
    blank = kind.blank(field)
    assert blank.shape == (kind.layout(field).width,)
    assert (
        (blank[0] == UNKNOWN and (blank[1:] == ABSENT).all()) if vocab else (blank == np.float32(field.missing)).all()
    )
    empty = read_frame(pd.DataFrame({name: pd.Series([None] * 3, dtype=object) for name in field.columns}))
    assert not kind.encode(empty, field, vocab).given.any()


@pytest.mark.usefixtures("binned")
@EACH
@given(st.data())
def test_a_field_comes_back_from_a_file(what: str, data: st.DataObject):
    _, field, frame = data.draw(columns(what))
    events = frame.to_native().assign(user=1, item=np.arange(len(frame)), label=1)
    group = field.columns[0] if field.lists else list(field.columns)
    groups = [group] if field.kind == "multi_sparse" else group
    arguments: dict[str, Any] = (
        {"other_col": {"binned": groups}} if field.kind == "binned" else {f"{field.kind}_col": groups}
    )
    info = DatasetFeat.build_trainset(events, item_col=list(field.columns), **arguments)[1]
    again = DataInfo.unpacked(*info.packed())
    assert again.schema == info.schema
    assert again.fingerprint == info.fingerprint
    assert torch.equal(again.items.rows.codes, info.items.rows.codes)
    pd.testing.assert_frame_equal(again.item_frame(), info.item_frame())
    broken = replace(info.schema.features("item")[0], width=info.schema.features("item")[0].width + 1)
    if not field.lists:
        with pytest.raises(ValueError, match=r"field 'x' has a (slot for each column|mean for each of its numbers)"):
            kind_of(broken).check(broken)


def log() -> pd.DataFrame:
    """Users of even ids like what costs less than 30, the others what costs more."""
    users, items = (grid.ravel() for grid in np.meshgrid(np.arange(20), np.arange(24), indexing="ij"))
    frame = pd.DataFrame({"user": users, "item": items, "price": items * 2.5})
    frame["label"] = (users % 2 == (frame["price"] >= 30)).astype(float)
    return frame[(users * 7 + items) % 4 > 0]


@pytest.mark.usefixtures("binned")
@pytest.mark.filterwarnings("ignore::recolib.exceptions.UnknownIdWarning")
def test_a_kind_that_is_registered_works_from_the_frame_to_a_loaded_model(tmp_path):
    data, info = DatasetFeat.build_trainset(log(), item_col=["price"], other_col={"binned": ["price"]})
    field = info.schema.features("item")[0]
    assert (field.kind, layout_of(field).part, info.item_sparse_col.name) == ("binned", "codes", ["price"])
    assert info.item_frame()["price"].tolist() == [price // 10 * 10 for price in np.arange(24) * 2.5]
    assert DatasetFeat.build_evalset(log(), data_info=info).items.rows.codes.shape == (25, 2)

    model = FM("ranking", info, n_epochs=20, lr=0.02, batch_size=32, seed=1).fit(data, neg_sampling=False, verbose=0)
    more = pd.DataFrame({"item": [100, 101], "price": [0.5, 55.0]})
    merged = DatasetFeat.merge_trainset(log().tail(1).assign(item=100, price=70.0), info)[1]
    assert merged.vocabs["price"].values.tolist() == [0, 1, 2, 3, 4, 5, 7]

    model.save(tmp_path, "binned")
    again = load(tmp_path / "binned.safetensors")
    assert again.data_info.schema == info.schema
    seen = log()[["user", "item"]].head(50)
    assert np.array_equal(again.predict(seen["user"], seen["item"]), model.predict(seen["user"], seen["item"]))
    assert set(again.recommend_user(0, n_rec=4, filter_consumed=False)[0]) < set(range(12))
    cheap, dear = (again.predict([0, 1], [-1, -1], feats=more[["price"]].iloc[[at, at]]) for at in (0, 1))
    assert cheap[0] > dear[0]
    assert dear[1] > cheap[1]


def test_a_column_of_a_kind_that_is_not_registered_is_refused():
    with pytest.raises(ValueError, match=r"'binned' is not a kind of column"):
        DatasetFeat.build_trainset(log(), item_col=["price"], other_col={"binned": ["price"]})


def test_data_of_a_kind_that_is_not_registered_is_refused(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(KINDS, "binned", Binned())
        info = DatasetFeat.build_trainset(log(), item_col=["price"], other_col={"binned": ["price"]})[1]
        packed = info.packed()
    with pytest.raises(ValueError, match="field 'price' has a side and a kind"):
        DataInfo.unpacked(*packed)
