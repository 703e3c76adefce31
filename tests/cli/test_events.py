"""Tables that are read part by part give what they give as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("typer", reason='there is no typer: pip install "recolib[cli]"')

import recolib
from recolib.cli import events as reading
from recolib.cli import main
from recolib.cli.events import Events
from recolib.cli.inference import infer_plan
from recolib.datasets import make_movies
from recolib.serving import read_pointer

FAST = ["--set", "n_epochs=2", "--set", "embed_size=8"]
PLAIN = ["user", "item", "label", "time", "sex", "age", "genre1", "genre2", "year"]


@pytest.fixture(scope="module")
def movies() -> pd.DataFrame:
    frame = make_movies(n_users=60, n_items=50, n_ratings=1500)
    titles = "Movie " + frame["item"].astype(str)
    tags = [f"{genre}|x" for genre in frame["genre1"]]
    return frame.assign(title=titles, tags=tags, cover=[[item / 2, 1.5] for item in frame["item"].tolist()])


@pytest.fixture
def folder(movies: pd.DataFrame, tmp_path: Path) -> Path:
    """A folder of three files with row groups of 200 rows."""
    return written(movies, tmp_path / "log")


def written(frame: pd.DataFrame, folder: Path) -> Path:
    folder.mkdir()
    for number, start in enumerate(range(0, len(frame), 500)):
        part = pa.Table.from_pandas(frame.iloc[start : start + 500], preserve_index=False)
        pq.write_table(part, folder / f"{number}.parquet", row_group_size=200)
    return folder


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ROWS", 300)
    monkeypatch.setattr(reading, "SAMPLED_ROWS", 800)


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_folder_is_one_table(movies: pd.DataFrame, folder: Path) -> None:
    whole = Events.read(folder)
    assert whole.is_whole
    pd.testing.assert_frame_equal(whole.whole().drop(columns="cover"), movies.drop(columns="cover"))


@pytest.mark.usefixtures("in_parts")
def test_a_large_table_is_read_row_group_by_row_group(movies: pd.DataFrame, folder: Path, tmp_path: Path) -> None:
    events = Events.read(folder)
    assert not events.is_whole
    assert events.n_rows == len(movies)
    assert [len(frame) for frame in events.parts()] == [200, 200, 100] * 3
    assert len(events.head()) == 900
    pd.testing.assert_frame_equal(events.whole().drop(columns="cover"), movies.drop(columns="cover"))
    assert events.more_than(movies["user"].nunique() - 1, "user")
    assert not events.more_than(movies["user"].nunique(), "user")
    movies.to_parquet(tmp_path / "movies.parquet")
    assert not Events.read(tmp_path / "movies.parquet").is_whole


@pytest.mark.parametrize("most", [10_000, 300])
def test_numbers_of_rows_are_no_column(
    movies: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(reading, "MAX_ROWS", most)
    chosen = movies[PLAIN].sample(frac=0.5, random_state=0)  # of which pandas writes the numbers of rows
    (tmp_path / "log").mkdir()
    chosen.to_parquet(tmp_path / "log" / "0.parquet")
    for path in (tmp_path / "log", tmp_path / "log" / "0.parquet"):
        events = Events.read(path)
        assert events.is_whole == (most > len(chosen))
        assert events.whole().columns.tolist() == PLAIN
        assert events.head().columns.tolist() == PLAIN


def test_integers_stay_integers_where_some_are_missing(
    movies: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = pd.array(movies["user"] % 7 + 2**60, "Int64")  # floats would be one
    devices[400:700] = pd.NA  # of the first file, and of the next
    table = movies[PLAIN].assign(device=devices)
    folder = written(table, tmp_path / "log")
    table.to_parquet(tmp_path / "log.parquet")
    for most in (10_000, 300):
        monkeypatch.setattr(reading, "MAX_ROWS", most)
        for path in (folder, tmp_path / "log.parquet"):
            events = Events.read(path)
            pd.testing.assert_frame_equal(events.whole(), table)
            assert infer_plan(events.head(), {}).features["device"].kind == "sparse"


def test_a_folder_without_rows_is_named(movies: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    movies.iloc[:0].to_parquet(tmp_path / "log" / "0.parquet")
    with pytest.raises(ValueError, match=r"log has no rows"):
        Events.read(tmp_path / "log")


@pytest.mark.usefixtures("in_parts")
def test_a_split_is_that_of_the_whole_table(movies: pd.DataFrame, folder: Path) -> None:
    plan = infer_plan(movies, {})
    in_parts = Events.read(folder).prepared(plan).split(0.2)
    whole = Events.of(movies).prepared(plan).split(0.2)
    for one, other in zip(in_parts, whole, strict=True):
        rows = ["user", "item", "time", "label"]
        mine, its = (part.whole()[rows].sort_values(rows, ignore_index=True) for part in (one, other))
        pd.testing.assert_frame_equal(mine, its)
        assert one.n_rows == len(mine)


def test_fit_in_parts_comes_to_the_model_of_the_whole_table(
    movies: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = movies[PLAIN]
    folder, pointers = written(table, tmp_path / "log"), [tmp_path / name / "CURRENT" for name in ("whole", "parts")]
    plan = tmp_path / "plan.toml"
    infer_plan(table, {}).write(plan)
    answers: list[Any] = []
    for pointer, most in zip(pointers, (10_000, 300), strict=True):
        monkeypatch.setattr(reading, "MAX_ROWS", most)
        answers.append(ask(capsys, "fit", folder, "--plan", plan, "--out", pointer, *FAST))
        answers[-1]["evaluated"] = ask(capsys, "evaluate", folder, "-m", pointer)["metrics"]
    assert answers[0]["metrics"] == answers[1]["metrics"]
    assert answers[0]["evaluated"] == answers[1]["evaluated"]
    models = [recolib.load(read_pointer(pointer).file) for pointer in pointers]
    np.testing.assert_array_equal(*(model.predict([1, 2, 3], [4, 5, 6]) for model in models))
    assert read_pointer(pointers[0]).data_until == read_pointer(pointers[1]).data_until


@pytest.mark.usefixtures("in_parts")
def test_lists_and_titles_of_a_large_table_become_tables_of_items(
    movies: pd.DataFrame, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pointer = tmp_path / "models/CURRENT"
    answer = ask(capsys, "fit", folder, "--out", pointer, *FAST)
    assert [row["method"] for row in answer["metrics"]] == ["FM", "popularity", "EASE"]
    info = recolib.load(read_pointer(pointer).file).data_info
    assert info.n_items == movies["item"].nunique()
    frame, known = info.item_frame().set_index("item"), movies.drop_duplicates("item").set_index("item")
    assert frame["title"].to_dict() == known["title"].to_dict()
    assert {item: sorted(tags) for item, tags in frame["tags"].items()} == {
        item: sorted(tags.split("|")) for item, tags in known["tags"].items()
    }
    np.testing.assert_allclose(np.stack(frame["cover"]), np.stack(known.loc[frame.index, "cover"]), rtol=1e-6)
    assert ask(capsys, "evaluate", folder, "-m", pointer)["events"] == len(movies)
    assert ask(capsys, "update", folder, "-m", pointer)["events"] == len(movies)


@pytest.mark.usefixtures("in_parts")
def test_lists_of_events_are_refused_in_parts(
    movies: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baskets = [["a", "b"][: 1 + number % 2] for number in range(len(movies))]
    folder = written(movies[PLAIN].assign(basket=baskets), tmp_path / "log")
    assert main(["fit", str(folder), "--out", str(tmp_path / "models/CURRENT"), *FAST]) == 2
    assert "columns ['basket'] are lists of the events" in capsys.readouterr().err


def test_lists_for_the_users_of_a_table(
    movies: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pointer, users = tmp_path / "models/CURRENT", tmp_path / "users"
    movies[PLAIN].to_parquet(tmp_path / "movies.parquet")
    ask(capsys, "fit", tmp_path / "movies.parquet", "--out", pointer, *FAST)
    users.mkdir()
    for number, some in enumerate(([3, 5, 3], [1, 5])):
        pd.DataFrame({"user": some}).to_parquet(users / f"{number}.parquet")
    made = ["recommend-all", "-m", pointer, "-n", 4, "--users", users, "--out"]
    lists = pd.read_parquet(ask(capsys, *made, tmp_path / "lists.parquet")["file"])
    assert lists["user"].unique().tolist() == [3, 5, 1]
    in_shards = pd.read_parquet(ask(capsys, *made, tmp_path / "shards.parquet", "--items-at-once", 7)["file"])
    assert in_shards["item"].tolist() == lists["item"].tolist()
    assert main([*map(str, made), str(tmp_path / "parts"), "--parts", "2"]) == 2
    assert "--users is for one file of lists" in capsys.readouterr().err
