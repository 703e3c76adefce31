"""Vectors as a kind of column: how they are read, scaled and refused, and that models learn from them."""

from __future__ import annotations

import json
import re
import warnings
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recolib import load
from recolib.algorithms import FM, DeepFM
from recolib.data import DataInfo, DatasetFeat, Interactions, libfm_offsets, write_libfm
from recolib.data.kinds.dense import MAX_DEVIATIONS
from recolib.exceptions import OutOfRangeWarning
from recolib.fitting.wiring import side_layout
from recolib.recommender import Recommender

N_USERS, N_ITEMS, WIDTH = 20, 30, 5
COLUMNS: dict[str, Any] = {"item_col": ["text"], "vector_col": ["text"]}
pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.UnknownIdWarning")


def vectors(n: int = N_ITEMS) -> np.ndarray:
    """Vectors in a scale of their own whose first number says which users like an item."""
    texts = 100 + 7 * np.random.default_rng(0).normal(size=(n, WIDTH))
    texts[:, 0] = 100 + 20 * (-1.0) ** np.arange(n)
    return texts


def log() -> pd.DataFrame:
    """Users of even numbers like even items, whose first number is high, and the others those of odd ones."""
    users, items = (grid.ravel() for grid in np.meshgrid(np.arange(N_USERS), np.arange(N_ITEMS), indexing="ij"))
    frame = pd.DataFrame({"user": users, "item": items, "label": (users % 2 == items % 2).astype(float)})
    return frame[(users * 7 + items) % 4 > 0].reset_index(drop=True)


def texts() -> pd.DataFrame:
    return pd.DataFrame({"item": np.arange(N_ITEMS), "text": list(vectors())})


def built(**more: Any) -> tuple[Interactions, DataInfo]:
    return DatasetFeat.build_trainset(log(), **COLUMNS, **({"item_features": texts()} | more))


def fitted(cls: type[Recommender] = FM, **settings: Any) -> Recommender:
    data, info = built()
    chosen: dict[str, Any] = {"n_epochs": 15, "lr": 0.02, "batch_size": 64, "id_dropout": (0.0, 0.5), "seed": 1}
    return cls("ranking", info, **(chosen | settings)).fit(data, neg_sampling=False, verbose=0)


def opposite() -> pd.DataFrame:
    """New texts, of which even users like the first and odd ones the second."""
    return pd.DataFrame({"text": [[120.0, 100, 100, 100, 100], [80.0, 100, 100, 100, 100]]})


# ---- frames


def forms() -> dict[str, Any]:
    """The same vectors, the second of them missing, as columns of several libraries."""
    rows = vectors().tolist()
    rows[1] = None
    ids = {"item": np.arange(N_ITEMS)}
    values = pa.array(rows, pa.list_(pa.float64()))
    fixed = pa.array(rows, pa.list_(pa.float64(), WIDTH))
    return {
        "lists": pd.DataFrame({**ids, "text": pd.Series(rows, dtype=object)}),
        "tuples": pd.DataFrame({**ids, "text": pd.Series([row and tuple(row) for row in rows], dtype=object)}),
        "arrays": pd.DataFrame({**ids, "text": pd.Series([row and np.array(row) for row in rows], dtype=object)}),
        "NaN": pd.DataFrame({**ids, "text": pd.Series([row or np.nan for row in rows], dtype=object)}),
        "pandas of Arrow": pd.DataFrame({**ids, "text": pd.Series(values, dtype=pd.ArrowDtype(values.type))}),
        "polars lists": pl.DataFrame({**ids, "text": pl.Series(rows, dtype=pl.List(pl.Float64))}),
        "polars arrays": pl.DataFrame({**ids, "text": pl.Series(rows, dtype=pl.Array(pl.Float64, WIDTH))}),
        "Arrow lists": pa.table({**ids, "text": values}),
        "Arrow lists in chunks": pa.table({**ids, "text": pa.chunked_array([values[:7], values[7:]])}),
        "Arrow lists of fixed size": pa.table({**ids, "text": fixed}),
        "a part of an Arrow array": pa.table({**ids, "text": pa.concat_arrays([fixed[:3], fixed])[3:]}),
    }


@pytest.mark.parametrize("form", forms())
def test_vectors_come_in_columns_of_any_library(form: str):
    rows = built(item_features=forms()["lists"])[1].items.rows.dense
    assert torch.equal(built(item_features=forms()[form])[1].items.rows.dense, rows)
    known = np.delete(vectors(), 1, axis=0)
    of_known = (known - known.mean(0)) / np.abs(known - known.mean(0)).sum(1).mean()
    np.testing.assert_allclose(np.delete(rows[1:], 1, axis=0), of_known, atol=1e-6)
    assert not rows[2].any()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint8, bool])
def test_numbers_of_any_type_are_taken(dtype: type[Any]):
    numbers = (vectors() > 100).astype(dtype)
    with_floats = built(item_features=texts().assign(text=list(numbers.astype(float))))[1].items.rows.dense
    assert torch.equal(built(item_features=texts().assign(text=list(numbers)))[1].items.rows.dense, with_floats)


def test_vectors_may_stand_in_the_events_and_are_of_any_side():
    frame = log()
    frame["text"] = [vectors()[item] for item in frame["item"]]
    frame["bio"] = [[float(user), user**2] for user in frame["user"].tolist()]
    frame["query"] = [[float(user), item, 1.0] for user, item in zip(frame["user"], frame["item"], strict=True)]
    frame["age"], frame["hour"] = frame["user"] * 1.0, frame["item"] * 1.0
    data, info = DatasetFeat.build_trainset(
        frame,
        user_col=["age", "bio"],
        item_col=["text"],
        context_col=["hour", "query"],
        dense_col=["age", "hour"],
        vector_col=["text", "bio", "query"],
    )
    assert info.dense_col.name == ["age", "bio", "text", "hour", "query"]
    layout = side_layout(info, "user", "context")
    assert (layout.n_dense, layout.vectors, layout.numbers("sqrtn")) == (7, ((1, 3), (4, 7)), (0, 1, 2, 3, 4))
    model = DeepFM("ranking", info, n_epochs=1, embed_size=4).fit(data, neg_sampling=False, verbose=0)
    terms = model.explain(3, 5, feats={"hour": 5.0, "query": [3.0, 5.0, 1.0]})
    by_column = terms[terms["kind"] == "column"].set_index("first")["first_value"]
    assert by_column["bio"] == "[3, 9]"
    assert by_column["query"] == "[3, 5, 1]"
    assert by_column["text"].startswith("[80, ")
    assert by_column["text"].endswith(", … 5 numbers]")


@hypothesis.settings(max_examples=20)
@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_the_scale_of_vectors_makes_no_difference(shift: float, scale: float):
    moved = texts().assign(text=[vector * scale + shift for vector in vectors()])
    before, after = (built(item_features=frame)[1].items.rows.dense for frame in (texts(), moved))
    assert (before - after).abs().max() < 1e-9 * (1e3 + abs(shift)) / scale + 1e-5
    assert np.abs(before[1:]).sum(1).mean() == pytest.approx(1.0, abs=1e-5)


def test_equal_vectors_are_zero():
    numbers = built(item_features=texts().assign(text=[[0.1, 1e9, -3.3]] * N_ITEMS))[1].items.rows.dense
    assert not numbers.any()


def test_no_other_scaling_is_of_vectors():
    assert torch.equal(built(dense_scaling="none")[1].items.rows.dense, built()[1].items.rows.dense)


def test_frames_have_the_vectors_again():
    info = built(item_features=forms()["arrays"])[1]
    back = np.stack(info.item_frame()["text"].tolist())
    expected = vectors()
    expected[1] = np.delete(expected, 1, axis=0).mean(0)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, expected, rtol=1e-5)


def test_old_text_of_a_schema_is_what_it_was():
    assert "means" not in DatasetFeat.build_trainset(log())[1].schema.to_json()


# ---- errors


BAD: dict[str, tuple[Any, str]] = {
    "two widths": ([[1.0, 2.0], [1.0]], r"'text' has vectors of 1 and of 2 numbers: all need as many"),
    "two widths in arrays": ([np.ones(2), np.ones(3)], r"vectors of 2 and of 3 numbers"),
    "no numbers": ([[], []], r"'text' has \d+ vectors without numbers: a missing one is None"),
    "text": ([["a", "b"], ["c", "d"]], r"'text' must hold flat lists of numbers, found \['a', 'b'\]"),
    "text among numbers": ([[1.0, "b"], [1.0, 2.0]], r"must hold flat lists of numbers, found \[1.0, 'b'\]"),
    "lists of lists": ([[[1.0], [2.0]], [[1.0], [2.0]]], r"must hold flat lists of numbers"),
    "lists of other lists": ([[[1.0], [2.0, 3.0]], [[1.0], [2.0]]], r"must hold flat lists of numbers"),
    "complex numbers": ([np.ones(2, complex), np.ones(2, complex)], r"must hold flat lists of numbers"),
    "numbers": ([1.0, 2.0], r"must hold lists or arrays of numbers, found 1.0: a single number goes into dense_col"),
    "a string": (["1 2", "3 4"], r"must hold lists or arrays of numbers, found '1 2'"),
    "NaN": ([[1.0, np.nan], [1.0, 2.0]], r"'text' has \d+ vectors with numbers that are missing, infinite"),
    "None": ([[1.0, None], [1.0, 2.0]], r"'text' has \d+ vectors with numbers that are missing, infinite"),
    "infinity": ([[1.0, np.inf], [1.0, 2.0]], r"let the whole vector be missing \(None\)"),
    "beyond float32": ([[1.0, 1e39], [1.0, 2.0]], r"beyond 3.4e38"),
    "nothing": ([None, None], r"'text' is empty: all of its values are missing"),
    "too many numbers": ([np.zeros(2**16 + 1)] * 2, r"vectors of 65537 numbers, and at most 65536 fit"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_column_of_vectors_is_refused(what: str):
    values, message = BAD[what]
    bad = texts().assign(text=pd.Series((values * N_ITEMS)[:N_ITEMS], dtype=object))
    with pytest.raises(ValueError, match=message):
        built(item_features=bad)


@pytest.mark.parametrize("what", ["two widths", "no numbers", "text", "NaN", "None", "infinity", "nothing"])
def test_bad_vectors_of_arrow_are_refused_alike(what: str):
    values, message = BAD[what]
    bad = pa.table({"item": np.arange(N_ITEMS), "text": pa.array((values * N_ITEMS)[:N_ITEMS])})
    with pytest.raises(ValueError, match="must hold flat" if what == "text" else message):
        built(item_features=bad)


def test_vectors_of_another_width_than_in_training_are_refused():
    model, wide = fitted(n_epochs=1), pd.DataFrame({"text": [[1.0] * 6]})
    message = r"column 'text' has vectors of 6 numbers, and those of training have 5: make them by the same model"
    with pytest.raises(ValueError, match=message):
        model.predict([0], [-1], feats=wide)
    with pytest.raises(ValueError, match=message):
        model.add_items(wide.assign(item=[100]))
    with pytest.raises(ValueError, match=message):
        model.data_info.assign_item_features(wide.assign(item=[0]))


def test_a_column_of_vectors_needs_a_side_and_one_kind():
    with pytest.raises(ValueError, match=r"\['text'\] have no side"):
        DatasetFeat.build_trainset(log(), vector_col=["text"], item_features=texts())
    with pytest.raises(ValueError, match=r"\['text'\] are of two kinds"):
        DatasetFeat.build_trainset(log(), **COLUMNS, multi_sparse_col=["text"], item_features=texts())
    with pytest.raises(ValueError, match=r"vector_col must be a list of column names, got 'text'"):
        DatasetFeat.build_trainset(log(), item_col=["text"], vector_col="text", item_features=texts())


def test_a_vector_far_outside_training_is_cut():
    model = fitted(n_epochs=1)
    with pytest.warns(OutOfRangeWarning, match=r"'text' has 1 vectors far outside training's range"):
        far = model.predict([0], [-1], feats={"text": [1e30, 0, 0, 0, 0]})
    assert np.isfinite(far).all()
    assert MAX_DEVIATIONS < 1e30


# ---- models


@pytest.mark.parametrize("cls", [FM, DeepFM])
@pytest.mark.parametrize("how", ["features", "average"])
def test_new_items_are_ranked_by_their_vectors(cls: type[Recommender], how: str):
    model = fitted(cls)
    high, low = (model.predict([0, 1], [-1, -1], feats=opposite().iloc[[at, at]], cold_start=how) for at in (0, 1))
    assert high[0] > low[0] + 0.5
    assert low[1] > high[1] + 0.5


def test_a_feature_of_a_request_is_one_vector_or_one_a_row():
    model = fitted(n_epochs=2)
    one = opposite()["text"][0]
    same = model.predict([0, 1], [-1, -1], feats={"text": one})
    for several in ([one, one], np.array([one, one]), pd.Series([one, one]), pl.Series([one, one])):
        assert np.array_equal(model.predict([0, 1], [-1, -1], feats={"text": several}), same)
    assert np.array_equal(model.predict([0, 1], [-1, -1], feats={"text": np.array(one)}), same)
    assert np.array_equal(model.predict([0, 1], [-1, -1], feats=[{"text": one}, {"text": one}]), same)


def test_a_missing_vector_is_the_mean_and_changes_nothing_that_is_known():
    model = fitted(n_epochs=2)
    mean = vectors().mean(0)
    unknown = model.predict([0, 1], [-1, -1], feats={"text": None})
    np.testing.assert_allclose(model.predict([0, 1], [-1, -1], feats={"text": mean}), unknown, atol=1e-6)
    assert np.array_equal(model.predict([0, 1], [3, 4], feats={"text": None}), model.predict([0, 1], [3, 4]))


def test_training_against_the_catalogue_finds_new_items_by_their_vectors():
    frame = log()
    data, info = DatasetFeat.build_trainset(frame[frame["label"] > 0], **COLUMNS, item_features=texts())
    model = FM("ranking", info, n_epochs=60, id_dropout=(0.0, 0.5)).fit(data, neg_sampling=True, verbose=0)
    model.add_items(opposite().assign(item=["even", "odd"]))
    scores = model.predict([0, 0, 1, 1], ["even", "odd", "even", "odd"])
    assert scores[0] > scores[1]
    assert scores[3] > scores[2]


def test_users_have_vectors_too():
    frame = log()
    bios = pd.DataFrame({"user": np.arange(N_USERS), "bio": [[float(user % 2), 0.5] for user in range(N_USERS)]})
    data, info = DatasetFeat.build_trainset(frame, user_col=["bio"], vector_col=["bio"], user_features=bios)
    model = FM("ranking", info, n_epochs=30, lr=0.02, batch_size=64, id_dropout=(0.5, 0.0))
    model.fit(data, neg_sampling=False, verbose=0)
    for parity in (0, 1):
        found = model.recommend_user("new", 5, user_feats={"bio": [float(parity), 0.5]}, cold_start="features")
        assert {item % 2 for item in found["new"]} == {parity}


def test_a_saved_model_answers_bit_for_bit_and_trains_on(tmp_path):
    model = fitted()
    model.save(tmp_path, "vectors")
    again = load(tmp_path / "vectors.safetensors")
    pairs = np.arange(N_USERS), np.arange(N_USERS)
    assert again.data_info.schema == model.data_info.schema
    assert again.data_info.fingerprint == model.data_info.fingerprint
    assert np.array_equal(again.predict(*pairs), model.predict(*pairs))
    feats = opposite().iloc[:1]
    assert np.array_equal(again.predict([0], [-1], feats=feats), model.predict([0], [-1], feats=feats))
    data = built()[0]
    for one in (model, again):
        one.fit(data, neg_sampling=False, verbose=0)
    assert np.array_equal(again.predict(*pairs), model.predict(*pairs))


@pytest.mark.parametrize("means", [[], [1.0] * 4, [1.0] * 4 + [None], [1.0] * 4 + [float("inf")]])
def test_a_file_whose_field_contradicts_itself_is_refused(means: list[Any]):
    header, arrays = built()[1].packed()
    entries = json.loads(header["schema"])
    entries[-1]["means"] = means
    with pytest.raises(ValueError, match=r"field 'text' has (a mean for each of its numbers|finite means)"):
        DataInfo.unpacked(header | {"schema": json.dumps(entries)}, arrays)


def test_merged_items_have_their_vectors_and_an_update_trains_on():
    model = fitted()
    new = pd.DataFrame({"item": [100, 101], "text": opposite()["text"]})
    later = pd.DataFrame({"user": [0, 1, 2], "item": [100, 101, 100], "label": [1.0, 1.0, 1.0]})
    schema, (field,) = model.data_info.schema, model.data_info.schema.features("item")
    weights = model.engine.network.item.dense_vectors.clone()
    model.update(later, neg_sampling=False, verbose=0, item_features=new)
    assert model.data_info.schema == schema
    expected = (np.array(new["text"].tolist()) - field.means) / field.scale
    np.testing.assert_allclose(model.data_info.items.current.dense[-2:], expected, rtol=1e-5)
    assert not torch.equal(model.engine.network.item.dense_vectors, weights)
    scores = model.predict([2, 2, 3, 3], [100, 101, 100, 101])
    assert scores[0] > scores[1]
    assert scores[3] > scores[2]


def test_new_vectors_of_known_items_count_from_now_on():
    model = fitted()
    before = model.predict([0, 1], [1, 1])
    model.data_info.assign_item_features(pd.DataFrame({"item": [1], "text": [vectors()[0]]}))
    after = model.predict([0, 1], [1, 1])
    assert after[0] > before[0]
    assert after[1] < before[1]


def test_importance_is_of_the_whole_vector():
    model = fitted()
    found = model.feature_importance(built()[0], neg_sampling=False, n_repeats=2).set_index("column")["importance"]
    assert set(found.index) == {"user", "item", "text"}
    assert found["text"] > 0.1


def test_a_vector_cannot_group_items_or_users():
    model = fitted(n_epochs=1)
    with pytest.raises(ValueError, match=r"max_per_group needs values that are groups, and 'text' is a vector column"):
        model.recommend_user(0, 3, max_per_group={"text": 1})


def test_cards_and_libfm_say_how_many_numbers_there_are(tmp_path):
    model = fitted(n_epochs=1)
    data, info = built()
    card = model.model_card(tmp_path / "card.md").read_text()
    assert re.search(r"\| `?text`? +\| item +\| vector +\| +\| 5 a row +\|", card), card
    assert libfm_offsets(info) == {"user": 0, "item": N_USERS + 1, "text": N_USERS + N_ITEMS + 2}
    line = write_libfm(data, tmp_path / "data.libfm").read_text().splitlines()[0]
    values = dict(token.split(":") for token in line.split()[1:])
    numbers = [float(values[str(N_USERS + N_ITEMS + 2 + at)]) for at in range(WIDTH)]
    np.testing.assert_allclose(numbers, data.items.rows.dense[data.item_rows[0]], rtol=1e-6)


def test_vectors_stay_quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built()
