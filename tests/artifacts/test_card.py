"""Model cards say what is so, and no name can break them."""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import torch
from markdown_it import MarkdownIt
from worlds import make_world, two_tastes

import recolib
from recolib import DatasetFeat, NotFittedError
from recolib.algorithms import FM, DeepFM
from recolib.artifacts.card import shown
from recolib.nn import Component, FieldSpec, Linear
from recolib.recommender import Recommender

CHECKSUM = re.compile(r"SHA-256 of the weights \| `([0-9a-f]{64})`")
HOSTILE = ["a|b", "`x`", "<script>", "line\nbreak", "\\", "||", "*[a](b)*", "$x$", "\u202eright", "``|", " ", "é ß 漢"]


def fitted(
    cls: type[Recommender] = DeepFM, task: str = "ranking", measured: bool = True, **settings: Any
) -> Recommender:
    world = make_world(task, "all kinds")
    data, info = world.build()
    model = cls(task, info, **{"n_epochs": 3, "embed_size": 8, **settings})
    if not measured:
        return model.fit(data, task == "ranking", verbose=0)
    metrics = ["rmse"] if task == "rating" else ["roc_auc", "ndcg"]
    return model.fit(data, task == "ranking", verbose=0, eval_data=world.frame, metrics=metrics)


def cells(text: str) -> list[list[str]]:
    """The rows of all tables as a reader of Markdown sees them, each a list of texts."""
    rows: list[list[str]] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for before, token in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        if before.type in ("th_open", "td_open"):
            kinds = {child.type for child in token.children or ()}
            assert kinds <= {"text", "text_special", "code_inline", "strong_open", "strong_close"}
            rows[-1].append("".join(child.content for child in token.children or ()))
    return rows


def checksum(card: Path) -> str:
    found = CHECKSUM.search(card.read_text("utf-8"))
    assert found
    return found[1]


@pytest.fixture(scope="module")
def model() -> Recommender:
    return fitted(hidden_units=(16, 8))


@pytest.fixture(scope="module")
def card(model: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.model_card(tmp_path_factory.mktemp("cards") / "new" / "my card.md")


@pytest.fixture(scope="module")
def text(card: Path) -> str:
    return card.read_text("utf-8")


def test_a_card_tells_what_the_model_is(model: Recommender, text: str) -> None:
    assert text.startswith("# Model card: DeepFM\n")
    assert "A factorization machine beside a multilayer perceptron, on the same vectors." in text
    assert r"$$" + "\n" + r"y = w_0 + \sum_i w_i x_i" in text
    assert "Guo et al., *DeepFM: A Factorization-Machine based Neural Network for CTR Prediction*, IJCAI 2017." in text
    facts = dict(row for row in cells(text) if len(row) == 2)
    n_weights = sum(weight.numel() for weight in model.engine.network.parameters())  # pyright: ignore[reportPrivateUsage]
    assert facts["task"] == "ranking"
    assert facts["weights"].startswith(f"{n_weights:,} numbers")
    assert facts["card written"] in {f"{datetime.now(UTC):%Y-%m-%d}"}
    for version in (recolib.__version__, torch.__version__, np.__version__, pd.__version__, platform.python_version()):
        assert version in facts["made with"]


def test_a_card_tells_of_the_data(model: Recommender, text: str) -> None:
    facts, info = dict(row for row in cells(text) if len(row) == 2), model.data_info
    assert (facts["users"], facts["items"], facts["rows"]) == ("24", "20", str(info.data_size))
    assert facts["density"] == f"{100 * info.data_size / 480:.4g} %"
    assert facts["labels"] == "1 to 1, mean 1"
    ages = make_world("ranking", "all kinds").frame["age"]
    assert [row for row in cells(text) if len(row) == 5][:10] == [
        ["columns", "side", "kind", "values", "numbers"],
        ["user", "user", "sparse", "24", ""],
        ["sex", "user", "sparse", "2", ""],
        ["age", "user", "dense", "", f"20 to 26, mean {ages.mean():.4g}"],
        ["item", "item", "sparse", "20", ""],
        ["genre1, genre2", "item", "multi-sparse", "3, up to 2 at once", ""],
        ["tags", "item", "multi-sparse", "3, up to 1 at once", ""],
        [
            "price",
            "item",
            "dense",
            "",
            f"0 to 28.5, mean {make_world('ranking', 'all kinds').frame['price'].mean():.4g}",
        ],
        ["cover", "item", "vector", "", "3 a row"],
        ["hour", "context", "sparse", "4", ""],
    ]


def test_a_card_marks_the_settings_that_were_changed(model: Recommender, text: str) -> None:
    settings = {row[0]: row[1:] for row in cells(text) if len(row) == 3}
    assert settings["embed_size"] == ["8", "None"]
    assert settings["lr"] == [str(model.lr), "None"]  # which fit chose
    assert settings["hidden_units"] == ["(16, 8)", "None"]
    assert settings["seed"] == ["42", ""]
    assert "| **`embed_size`** | **`8`** |" in text
    assert "| `seed` |" in text
    assert not {"data_info", "tf_sess_config"} & set(settings)


def test_a_card_tells_how_training_went(model: Recommender, card: Path, text: str) -> None:
    measures = {row[0]: row[1:] for row in cells(text) if len(row) == 5}
    history = model.history_
    for name in ("train_loss", "eval_roc_auc", "eval_ndcg"):
        values = history[name]
        best = values.min() if name == "train_loss" else values.max()
        at = values.idxmin() if name == "train_loss" else values.idxmax()
        assert measures[name] == [
            *(f"{value:.4g}" for value in (values.iloc[0], best)),
            str(at + 1),
            f"{values.iloc[-1]:.4g}",
        ]
    found = re.search(r"!\[(.+)\]\((\S+)\)", text)
    assert found
    assert "train loss" in found[1]
    picture = card.parent / unquote(found[2])
    assert picture.name == "my card_history.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_of_losses_the_lowest_is_the_best(tmp_path: Path) -> None:
    model = fitted(FM, "rating", lr=0.05)
    values = model.history_["eval_rmse"]
    row = next(row for row in cells(model.model_card(tmp_path / "card.md").read_text("utf-8")) if row[0] == "eval_rmse")
    assert row[2:4] == [f"{values.min():.4g}", str(values.idxmin() + 1)]


def test_a_card_tells_the_limits_of_cold_start(tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    assert "`id_dropout` was 0" in fitted(FM, n_epochs=1).model_card(card).read_text("utf-8")
    assert "hid users in 0.2 and items in 0.2 of the rows" in fitted(FM, n_epochs=1, id_dropout=0.2).model_card(
        card
    ).read_text("utf-8")
    data, info = make_world("rating", "pure").build()
    pure = FM("rating", info, n_epochs=1).fit(data, False, verbose=0).model_card(card).read_text("utf-8")
    assert "This data has none." in pure
    assert "clipped to 1 … 5" in pure


def test_a_loaded_model_has_the_same_card(model: Recommender, card: Path, text: str, tmp_path: Path) -> None:
    loaded = recolib.load(model.save(tmp_path, "saved"))
    again = loaded.model_card(tmp_path / "my card.md")
    assert checksum(again) == checksum(card)
    assert again.read_text("utf-8") == text


def test_the_checksum_is_the_same_for_the_same_weights_alone(tmp_path: Path) -> None:
    model = fitted(FM, n_epochs=2, ema=0.9)
    first = checksum(model.model_card(tmp_path / "card.md"))
    model.predict(100, "i3", feats={"hour": 1})
    assert checksum(model.model_card(tmp_path / "card.md")) == first
    assert checksum(recolib.load(model.save(tmp_path, "a", inference_only=True)).model_card(tmp_path / "b.md")) == first
    assert checksum(fitted(FM, n_epochs=2, ema=0.9).model_card(tmp_path / "card.md")) == first
    assert checksum(fitted(FM, n_epochs=2, ema=0.9, seed=1).model_card(tmp_path / "card.md")) != first


def test_without_evaluation_or_a_course_the_card_says_so(tmp_path: Path) -> None:
    model = fitted(FM, measured=False, n_epochs=1)
    text = model.model_card(tmp_path / "card.md").read_text("utf-8")
    assert "`fit` had no `eval_data`" in text
    assert "![" not in text
    assert [file.name for file in tmp_path.iterdir()] == ["card.md"]


def test_without_matplotlib_there_is_no_picture(
    model: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "![" not in model.model_card(tmp_path / "card.md").read_text("utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["card.md"]


def test_no_name_of_a_column_breaks_a_table(tmp_path: Path) -> None:
    frame = two_tastes()
    for name in HOSTILE:
        frame[name] = frame["sex"]
    data, info = DatasetFeat.build_trainset(frame, user_col=HOSTILE, sparse_col=HOSTILE)
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    text = model.model_card(tmp_path / "card.md").read_text("utf-8")
    columns = [row for row in cells(text) if len(row) == 5 and row[1] == "user"]
    visible = [name.replace("\n", r"\u000a").replace("\u202e", r"\u202e").strip() for name in HOSTILE]
    assert [row[0] for row in columns] == ["user", *visible]
    assert all(row[2:4] == ["sparse", "2"] for row in columns[1:])
    assert "<script>" not in MarkdownIt("commonmark").enable("table").render(text)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_as_it_is(name: str) -> None:
    (token,) = (one for one in MarkdownIt().parse(f"x {shown(name)} x") if one.type == "inline")
    content = "".join(child.content for child in token.children or ())
    assert content.removeprefix("x ").removesuffix(" x") == name.replace("\n", r"\u000a").replace("\u202e", r"\u202e")


class Undocumented(Recommender):
    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        return [Linear(spec)]


def test_an_algorithm_without_a_docstring_has_a_card(tmp_path: Path) -> None:
    text = fitted(Undocumented).model_card(tmp_path / "card.md").read_text("utf-8")
    assert "Undocumented, an algorithm without a description." in text
    assert "$$" not in text


def test_a_card_needs_a_fit_and_a_file(model: Recommender, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        FM("ranking", model.data_info).model_card(tmp_path / "card.md")
    with pytest.raises(ValueError, match="path must be a file"):
        model.model_card(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_card_leaves_the_model_as_it_is(model: Recommender, tmp_path: Path) -> None:
    before = hashlib.sha256(model.save(tmp_path, "before").read_bytes()).digest()
    model.model_card(tmp_path / "card.md")
    assert hashlib.sha256(model.save(tmp_path, "before").read_bytes()).digest() == before
