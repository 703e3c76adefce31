"""Columns of items that are kept to be shown: no model sees them, and results can have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import narwhals as nw
import pandas as pd
import pytest
import torch

import recolib
from recolib.algorithms import FM
from recolib.data import DataInfo, DatasetFeat
from recolib.recommender import Recommender

EVENTS = pd.DataFrame({"user": [1, 1, 2, 2, 3], "item": ["a", "b", "a", "c", "b"], "label": [1, 1, 1, 1, 1]})
ITEMS = pd.DataFrame(
    {
        "item": ["a", "b", "c", "d"],
        "kind": ["x", "y", "x", "y"],
        "title": ["Alien", "Brazil", None, "Dune: Part Two"],
        "year": pd.array([1979, None, 1942, 2024], "Int64"),
    }
)
COLUMNS: dict[str, Any] = {"item_col": ["kind"], "sparse_col": ["kind"], "item_features": ITEMS}
QUIET = pytest.mark.filterwarnings("ignore")


def shown(info: DataInfo, name: str = "title") -> dict[Any, Any]:
    frame = info.item_frame()
    return {item: None if pd.isna(one) else one for item, one in zip(frame["item"], frame[name], strict=True)}


def fitted(**more: Any) -> Recommender:
    data, info = DatasetFeat.build_trainset(EVENTS, **COLUMNS, display_col=["title", "year"], **more)
    return FM("ranking", info, n_epochs=1, embed_size=4).fit(data, neg_sampling=True, verbose=0)


@QUIET
def test_tables_show_titles_that_no_model_sees(tmp_path: Path) -> None:
    model = fitted()
    ask: dict[str, Any] = {"n_rec": 4, "filter_consumed": False, "include_cold_items": True, "verbose": 0}
    table = model.recommend(columns=["title", "year", "kind"], **ask)
    titles, years = shown(model.data_info), shown(model.data_info, "year")
    assert titles == {"a": "Alien", "b": "Brazil", "c": None, "d": "Dune: Part Two"}
    assert years == {"a": 1979, "b": None, "c": 1942, "d": 2024}
    assert len(table) == 12
    assert [None if pd.isna(one) else one for one in table["title"]] == [titles[item] for item in table["item"]]
    read = pd.read_parquet(model.recommend_to(tmp_path / "lists", columns=["title", "year"], **ask))
    assert [None if pd.isna(one) else int(one) for one in read["year"]] == [years[item] for item in read["item"]]
    new = model.recommend(where=nw.col("year") > 1950, **ask)
    assert set(new["item"]) == {"a", "d"}
    plain = DatasetFeat.build_trainset(EVENTS, **COLUMNS)[1]
    assert model.data_info.fingerprint == plain.fingerprint
    assert model.data_info.item_col == ["kind"]
    other = FM("ranking", plain, n_epochs=1, embed_size=4)
    other.fit(DatasetFeat.build_trainset(EVENTS, **COLUMNS)[0], neg_sampling=True, verbose=0)
    for mine, theirs in zip(model.engine.network.parameters(), other.engine.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_titles_may_stand_in_the_events() -> None:
    events = EVENTS.assign(title=["Alien", "Brazil", "Alien (1979)", None, None])
    info = DatasetFeat.build_trainset(events, display_col=["title"])[1]
    assert shown(info) == {"a": "Alien (1979)", "b": "Brazil", "c": None}


@QUIET
def test_titles_are_added_assigned_merged_and_saved(tmp_path: Path) -> None:
    model = fitted()
    before = model.data_info
    model.add_items(pd.DataFrame({"item": ["e", "c"], "title": ["Eraserhead", "Casablanca"]}))
    assert shown(model.data_info) == {**shown(before), "c": "Casablanca", "e": "Eraserhead"}
    assert shown(before)["c"] is None
    model.data_info.assign_item_features(pd.DataFrame({"item": ["a"], "title": ["Aliens"]}))
    assert shown(model.data_info)["a"] == "Aliens"
    assert model.recommend([2], 9, columns="title", filter_consumed=False)["title"].tolist().count("Aliens") == 1
    more = pd.DataFrame({"item": ["f", "b"], "kind": "x", "title": ["Fargo", None]})
    model.update(EVENTS.assign(item="f"), neg_sampling=True, verbose=0, item_features=more)
    titles = shown(model.data_info)
    assert (titles["f"], titles["b"], titles["a"]) == ("Fargo", "Brazil", "Aliens")
    back = recolib.load(model.save(tmp_path, "films"))
    assert shown(back.data_info) == titles
    assert shown(back.data_info, "year") == shown(model.data_info, "year")
    model.add_users(pd.DataFrame({"user": [77]}))
    assert shown(model.data_info) == titles


@QUIET
def test_a_title_is_forgotten_with_its_item(tmp_path: Path) -> None:
    model = fitted()
    file = model.save(tmp_path, "films")
    assert b"Brazil" in file.read_bytes()
    model.forget(items="b")
    assert shown(model.data_info) == {"a": "Alien", "c": None, "d": "Dune: Part Two"}
    assert b"Brazil" not in model.save(tmp_path, "films").read_bytes()


@pytest.mark.parametrize(
    ("display_col", "message"),
    [
        (["kind"], r"columns \['kind'\] of display_col have another use"),
        (["item"], r"columns \['item'\] of display_col have another use"),
        (["titel"], r"columns \['titel'\] of display_col are not in the data"),
        ("title", "display_col must be a list of column names"),
    ],
)
def test_columns_that_cannot_be_shown_are_refused(display_col: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DatasetFeat.build_trainset(EVENTS, **COLUMNS, display_col=display_col)


def test_files_without_columns_to_show_are_read_and_wrong_ones_refused() -> None:
    info = DatasetFeat.build_trainset(EVENTS, **COLUMNS, display_col=["title"])[1]
    header, arrays = info.packed()
    assert not DataInfo.unpacked({name: one for name, one in header.items() if name != "display"}, arrays).display
    name = "data_info.display.0.codes"
    for wrong, message in (
        (arrays[name] + 9, "what is shown as 'title' is there"),
        (arrays[name][1:], "has its 'title'"),
    ):
        with pytest.raises(ValueError, match=message):
            DataInfo.unpacked(header, {**arrays, name: wrong})
