"""What columns are taken for, and how plans are written and read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("typer", reason='there is no typer: pip install "recolib[cli]"')

from recolib.cli.inference import infer_plan
from recolib.cli.output import cell, table
from recolib.cli.plan import FeatureColumn, Plan, parts_of
from recolib.cli.tables import numbers_of, read_table
from recolib.cli.versions import newest_moment
from recolib.data import DatasetFeat
from recolib.datasets import make_movies
from tests.servers import shop

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)


def test_movies_are_understood() -> None:
    frame = make_movies(n_users=300, n_items=200, n_ratings=6000)
    plan = infer_plan(frame.assign(title="Movie " + frame["item"].astype(str)), {})
    assert plan.columns == {"user": "user", "item": "item", "label": "label", "time": "time"}
    assert plan.liked == 4
    assert plan.features == {
        "sex": FeatureColumn("user", "sparse"),
        "age": FeatureColumn("user", "sparse"),
        "occupation": FeatureColumn("user", "sparse"),
        **dict.fromkeys(["genre1", "genre2", "genre3"], FeatureColumn("item", "multi_sparse", group="genre")),
        "year": FeatureColumn("item", "dense"),
        "title": FeatureColumn("item", "display"),
    }


@pytest.mark.parametrize("kind", ["float64", "Int64"])
def test_a_missing_rating_is_not_a_low_one(kind: str) -> None:
    frame = make_movies(n_users=30, n_items=20, n_ratings=300).rename(columns={"label": "stars"})
    plan = infer_plan(frame, {})
    frame["stars"] = frame["stars"].astype(kind)
    assert set(plan.prepared(frame)["label"]) == {0, 1}
    frame.loc[5, "stars"] = None
    with pytest.raises(ValueError, match="column 'stars' has 1 missing values"):
        plan.prepared(frame)


def test_a_shop_is_understood() -> None:
    plan = infer_plan(shop().drop(columns="label"), {})
    assert plan.liked is None
    assert plan.features == {
        "hour": FeatureColumn("context", "sparse"),
        "age": FeatureColumn("user", "dense"),
        "genre": FeatureColumn("item", "sparse"),
        "tags": FeatureColumn("item", "multi_sparse"),
        "price": FeatureColumn("item", "dense"),
        "title": FeatureColumn("item", "display"),
    }


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (["userId", "movieId", "rating", "timestamp"], ["user", "item", "label", "time"]),
        (["user_id", "product_id", "Score", "date"], ["user", "item", "label", "time"]),
        (["CustomerID", "SKU"], ["user", "item"]),
    ],
)
def test_usual_names_are_known(names: list[str], roles: list[str]) -> None:
    frame = pd.DataFrame({name: [1, 2, 3] for name in names})
    assert infer_plan(frame, {}).columns == dict(zip(roles, names, strict=True))


def test_texts_with_separators_are_several_values() -> None:
    frame = pd.DataFrame({"user": range(9), "item": [*"abcabcabc"], "genres": ["x|y", "y", "z | x"] * 3})
    plan = infer_plan(frame, {})
    assert plan.features["genres"] == FeatureColumn("item", "multi_sparse", "|")
    assert plan.prepared(frame)["genres"].tolist()[:3] == [["x", "y"], ["y"], ["z", "x"]]
    assert parts_of(None, "|") is None


def test_lists_of_numbers_are_vectors() -> None:
    frame = pd.DataFrame(
        {"user": range(9), "item": [*"abcabcabc"], "cover": [np.arange(3) / 2] * 9, "ids": [[1, 2]] * 9}
    )
    plan = infer_plan(frame, {})
    assert [plan.features[name].kind for name in ("cover", "ids")] == ["vector", "multi_sparse"]
    assert plan.arguments()["vector_col"] == ["cover"]


def test_free_text_constants_and_dates_are_ignored() -> None:
    frame = pd.DataFrame({"user": [n // 10 for n in range(400)], "item": [n % 40 for n in range(400)]})
    frame = frame.assign(review=[f"text {n}" for n in range(400)], source="web", seen=pd.Timestamp("2024-01-01"))
    plan = infer_plan(frame.assign(flag=[n % 3 == 0 for n in range(400)]), {})
    kinds = {name: one.kind for name, one in plan.features.items()}
    assert kinds == {"review": "ignore", "source": "ignore", "seen": "ignore", "flag": "sparse"}


def test_what_is_inferred_can_be_trained_on() -> None:
    for frame in (shop(), make_movies(n_users=60, n_items=50, n_ratings=900)):
        plan = infer_plan(frame, {})
        data, info = DatasetFeat.build_trainset(plan.prepared(frame), **plan.arguments())
        assert len(data) == len(frame)
        assert {*info.user_col, *info.item_col, *info.context_col} >= {
            name for name, one in plan.features.items() if one.kind not in ("display", "ignore")
        }


def test_a_plan_says_what_is_hashed() -> None:
    frame = make_movies(n_users=60, n_items=50, n_ratings=900)
    plan = infer_plan(frame, {})
    assert plan.arguments()["encoding"] == {}
    hashed = {name: 9 if name == "sex" or name.startswith("genre") else None for name in plan.features}
    features = {name: replace(one, n_buckets=hashed[name]) for name, one in plan.features.items()}
    plan = replace(plan, features=features)
    _, info = DatasetFeat.build_trainset(plan.prepared(frame), **plan.arguments())
    assert {field.name for field in info.schema.fields if field.n_buckets == 9} == {"sex", "genre1"}


@given(
    columns=st.fixed_dictionaries({"user": TEXTS, "item": TEXTS}, optional={"label": TEXTS, "time": TEXTS}),
    features=st.dictionaries(
        TEXTS,
        st.builds(
            FeatureColumn,
            st.just("item"),
            st.sampled_from(["sparse", "dense", "multi_sparse", "display", "ignore"]),
            st.none() | TEXTS,
            st.none() | TEXTS,
            st.none() | st.integers(1, 2**31),
        ),
        max_size=4,
    ),
    liked=st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9),
    settings=st.dictionaries(
        st.sampled_from(["lr", "n_epochs", "hidden_units"]), st.integers(0, 9) | st.lists(st.integers(0, 9)) | TEXTS
    ),
)
def test_a_plan_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, **parts: object) -> None:
    plan = Plan(**parts)  # type: ignore[arg-type]
    file = tmp_path_factory.getbasetemp() / "plan.toml"
    assert Plan.read(plan.write(file)) == plan


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = ", "is no TOML"),
        ("[columns]\nuser = 'u'", "must name the columns of user and item"),
        ("[columns]\nuser = 'u'\nitem = 'i'\nlabels = 'l'", "did you mean 'label'"),
        ("features = 3\n[columns]\nuser = 'u'\nitem = 'i'", "must be a section"),
        ("[columns]\nuser='u'\nitem='i'\n[features]\na = 'user'", "must be such as"),
        ("[columns]\nuser='u'\nitem='i'\n[features]\na = {side='users', kind='dense'}", "side of 'a'"),
        ("[columns]\nuser='u'\nitem='i'\n[features]\na = {side='user', kind='display'}", "columns of items alone"),
        (
            "[columns]\nuser='u'\nitem='i'\n[features]\na = {side='user', kind='sparse', n_buckets='9'}",
            "n_buckets of 'a'",
        ),
        ("liked = 'much'\n[columns]\nuser='u'\nitem='i'", "liked in"),
        ("task = 'sorting'\n[columns]\nuser='u'\nitem='i'", "task"),
    ],
)
def test_wrong_plans_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(ValueError, match=says):
        Plan.read(tmp_path / "plan.toml")


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_tables_of_any_delimiter_are_read(tmp_path: Path, delimiter: str) -> None:
    frame = pd.DataFrame({"user": [1, 2], "item": ["a", "b"], "price": [1.5, 2.0]})
    frame.to_csv(tmp_path / "t.csv", sep=delimiter, index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), frame, check_dtype=False)
    frame.to_csv(tmp_path / "t.csv.gz", sep=delimiter, index=False)
    assert read_table(tmp_path / "t.csv.gz")["user"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (["1", "2"], [1, 2]),
        (["-1", "0"], [-1, 0]),
        (["007", "8"], ["007", "8"]),
        (["1.5", "2"], [1.5, 2.0]),
        (["1", "a"], ["1", "a"]),
        (["9" * 25, "1"], ["9" * 25, "1"]),
        (["9" * 25, "1.5"], ["9" * 25, "1.5"]),
        (["True", "false"], [True, False]),
        (["1e3", ".5"], [1000.0, 0.5]),
    ],
)
def test_numbers_are_read_where_nothing_is_lost(values: list[str], read: list[object]) -> None:
    assert numbers_of(pd.Series(values)).tolist() == read


@pytest.mark.parametrize(
    ("times", "moment"),
    [
        ([1_000_000_000, 9e8], 1e9),
        ([1_000_000_000_000], 1e9),
        (["2001-09-09T01:46:40Z"], 1e9),
        ([17, 3], None),
        ([1e13], None),
    ],
)
def test_moments_are_told_from_other_numbers(times: list[object], moment: float | None) -> None:
    assert newest_moment([pd.DataFrame({"time": times})]) == moment
    assert newest_moment([pd.DataFrame({"user": [1]})]) is None


def test_cells_are_safe_and_short() -> None:
    assert cell("a\x1b[31m\n") == "a�[31m�"
    assert cell(None) == cell(np.nan) == "-"
    assert len(cell("a" * 500)) == 72
    assert cell(0.123456) == "0.1235"
    assert table([{"a": "日本", "b": 1}, {"a": "x", "b": 22}]) == ["  a      b", "  日本   1", "  x     22"]
