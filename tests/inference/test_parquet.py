"""Lists of all users, some at a time, as a table or a file."""

from __future__ import annotations

import builtins
import io
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tqdm.auto import tqdm
from worlds import KINDS, assert_same_list, make_world

from recolib import NotFittedError, UnknownIdWarning
from recolib.algorithms import FM
from recolib.data import DatasetFeat, DatasetPure, split_in_parts
from recolib.inference import parquet as streaming
from recolib.inference import recommend as lister
from recolib.recommender import Recommender

pytestmark = pytest.mark.filterwarnings("ignore:no context given", "ignore:.*lists are shorter")


def fitted(kind: str = "all kinds", task: str = "ranking") -> Recommender:
    data, info = make_world(task, kind).build()
    return FM(task, info, n_epochs=1, init_std=0.3).fit(data, neg_sampling=task == "ranking", verbose=0)


@pytest.fixture(scope="module")
def model() -> Recommender:
    return fitted()


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of five users, row groups of at least twelve rows."""
    monkeypatch.setattr(lister, "USERS_AT_ONCE", 5)
    monkeypatch.setattr(streaming, "ROWS_AT_ONCE", 12)


ASKS: list[dict[str, Any]] = [
    {},
    {"context": {"hour": 2}, "n_rec": 100},
    {"users": [105, "new", 101, 105, -3, 100, 119], "context": {"hour": 1}},
    {
        "users": [105, "new", 101, -3, 100, 119, 110],
        "user_feats": pd.DataFrame({"user": pd.Series([119, "new"], dtype=object), "sex": ["F", "M"]}),
        "cold_start": "popular",
        "segment": "sex",
    },
    {
        "exclude": {100: ["i1", "i3"], 119: ["i2"]},
        "where": lambda items: items["price"] < 20,
        "max_per_group": {"tags": 2},
        "min_score": 0.3,
    },
]


@pytest.mark.parametrize("at", range(len(ASKS)))
@pytest.mark.usefixtures("few_at_once")
@pytest.mark.filterwarnings("ignore::recolib.UnknownIdWarning")
def test_blocks_give_what_all_at_once_gives(model: Recommender, at: int, tmp_path: Path) -> None:
    ask = dict(ASKS[at])
    users = ask.pop("users", model.data_info.vocabs["user"].values.tolist())
    expected = model.recommend_user(users, return_scores=True, **{"n_rec": 10, **ask})
    table = model.recommend(users, verbose=0, **ask)
    assert table["score"].dtype == np.float32
    places = [(user, rank) for user, (items, _) in expected.items() for rank in range(1, len(items) + 1)]
    assert [*zip(table["user"].tolist(), table["rank"].tolist(), strict=True)] == places
    for user, whole in expected.items():
        assert_same_list([table.loc[table["user"] == user, name] for name in ("item", "score")], whole)
    if "new" not in users:
        file = model.recommend_to(tmp_path / "lists.parquet", users, verbose=0, **ask)
        pd.testing.assert_frame_equal(pd.read_parquet(file), table)


@pytest.mark.usefixtures("few_at_once")
def test_the_warning_of_short_lists_counts_all_blocks(model: Recommender) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.recommend(n_rec=50, verbose=0, context={"hour": 1})
    assert [str(one.message) for one in caught] == [
        "24 lists are shorter than n_rec=50: no more items may be recommended"
    ]
    assert caught[0].filename == __file__


@pytest.mark.usefixtures("few_at_once")
def test_a_strategy_is_asked_block_by_block(model: Recommender) -> None:
    asked: list[list[Any]] = []

    def mine(_: Any, users: list[Any], n_rec: int) -> list[list[str]]:
        asked.append(users)
        return [["i1", "i2"][: n_rec - at % 2] for at, _ in enumerate(users)]

    with pytest.warns(UnknownIdWarning, match="7 unknown users"):
        table = model.recommend([-1, -2, 100, -3, -4, -5, -6, -7], 2, cold_start=mine, verbose=0)
    assert asked == [[-1, -2, -3, -4], [-5, -6, -7]]
    assert table["user"].tolist() == [-1, -1, -2, 100, 100, -3, -3, -4, -5, -5, -6, -7, -7]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["ranking", "rating"])
def test_a_file_is_the_table(kind: str, task: str, tmp_path: Path) -> None:
    model = fitted(kind, task)
    file = model.recommend_to(tmp_path / "new" / "folder" / "lists.parquet", n_rec=4)
    assert file == tmp_path / "new" / "folder" / "lists.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(file), model.recommend(n_rec=4))


@pytest.mark.usefixtures("few_at_once")
def test_a_file_comes_in_row_groups(model: Recommender, tmp_path: Path) -> None:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(model.recommend_to(str(tmp_path / "lists.parquet"), n_rec=3)) as file:
        sizes = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
        assert [str(kind) for kind in file.schema_arrow.types] == ["int64", "string", "float", "int64"]
    assert sizes == [15, 15, 15, 15, 12]


def test_a_file_of_empty_lists_has_its_columns(model: Recommender, tmp_path: Path) -> None:
    table = pd.read_parquet(model.recommend_to(tmp_path / "none", n_rec=3, candidates=[]))
    assert len(table) == 0
    assert list(table.columns) == ["user", "item", "score", "rank"]


@pytest.mark.usefixtures("few_at_once")
def test_an_interrupted_file_leaves_the_old_one(
    model: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = model.recommend_to(tmp_path / "lists.parquet", n_rec=2, verbose=0)
    before, real, calls = file.read_bytes(), lister.recommend, []

    def interrupted(engine: Any, request: Any, batch: Any, *more: Any) -> Any:
        calls.append(len(batch))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(engine, request, batch, *more)

    monkeypatch.setattr(lister, "recommend", interrupted)
    for path in (file, tmp_path / "other.parquet"):
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            model.recommend_to(path, n_rec=5, verbose=0)
    assert calls == [5, 5, 5, 5]
    assert file.read_bytes() == before
    assert [*tmp_path.iterdir()] == [file]


def test_ids_of_two_kinds_need_a_table(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": [1, 1, 2, 2], "item": pd.Series(["a", 5, "b", 6], dtype=object), "label": 1})
    data, info = DatasetPure.build_trainset(frame)
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    with pytest.raises(ValueError, match="item ids are integers and strings, and a Parquet column holds one kind"):
        model.recommend_to(tmp_path / "lists")
    assert [type(item) for item in model.recommend([1], 2)["item"]] == [int, str]
    plain = fitted("pure")
    with (
        pytest.warns(UnknownIdWarning),
        pytest.raises(ValueError, match=r"user ids are integers and strings, .* ask for users of one kind"),
    ):
        plain.recommend_to(tmp_path / "lists", [100, "new"])
    assert not [*tmp_path.iterdir()]


def test_what_is_wrong_is_said_before_a_file_is_begun(model: Recommender, tmp_path: Path) -> None:
    file = tmp_path / "folder" / "lists.parquet"
    for ask, error, message in (
        ({"n_rec": 0}, ValueError, "n_rec must be at least 1"),
        ({"verbose": -1}, ValueError, "verbose must be at least 0"),
        ({"where": "x"}, TypeError, "where must be"),
        ({"users": []}, ValueError, "user is empty"),
    ):
        with pytest.raises(error, match=message):
            model.recommend_to(file, **ask)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"path must be a file, and .* is a folder"):
        model.recommend_to(tmp_path)
    with pytest.raises(NotFittedError):
        FM("ranking", model.data_info).recommend_to(file)
    assert not [*tmp_path.iterdir()]


def test_without_pyarrow_a_file_says_what_to_install(
    model: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r'recommend_to needs pyarrow: pip install "recolib\[parquet\]"'):
        model.recommend_to(tmp_path / "lists.parquet")


@pytest.mark.usefixtures("few_at_once")
def test_a_bar_shows_users_and_is_silent_if_told_or_if_it_is_over_soon(
    model: Recommender, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model.recommend(n_rec=2)
    assert not capsys.readouterr().err
    shown = io.StringIO()

    def impatient(**how: Any) -> Any:
        return tqdm(**{**how, "delay": 0, "file": shown, "mininterval": 0})

    monkeypatch.setattr(lister, "tqdm", impatient)
    model.recommend(n_rec=2, verbose=0)
    assert not shown.getvalue()
    model.recommend(n_rec=2, verbose=1)
    assert "24.0/24.0" in shown.getvalue()


# ---- columns of the items


def test_tables_have_columns_of_the_items(model: Recommender, tmp_path: Path, few_at_once: None) -> None:
    items = model.data_info.item_frame().set_index("item")
    plain = model.recommend(n_rec=4, verbose=0)
    table = model.recommend(n_rec=4, columns=["price", "genre1", "tags", "price"], verbose=0)
    assert table.columns.tolist() == ["user", "item", "score", "rank", "price", "genre1", "tags"]
    pd.testing.assert_frame_equal(table[plain.columns.tolist()], plain)
    for name in ("price", "genre1", "tags"):
        assert table[name].dtype == items[name].dtype
        assert [*map(str, table[name])] == [str(items.loc[item, name]) for item in table["item"]]
    assert table["genre1"].equals(model.recommend(n_rec=4, columns="genre1", inner_id=True, verbose=0)["genre1"])
    file = model.recommend_to(tmp_path / "lists", n_rec=4, columns=["price", "genre1", "tags"], verbose=0)
    read = pd.read_parquet(file)
    assert read.columns.tolist() == table.columns.tolist()
    for name in ("price", "genre1"):
        assert read[name].tolist() == table[name].tolist()
    assert [[*one] if one is not None else None for one in read["tags"]] == [
        one if isinstance(one, list) else None for one in table["tags"]
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["prise"], "'prise' is not a column of items; did you mean 'price'"),
        (["sex"], "'sex' is not a column of items"),
        (["item"], "'item' is not a column of items"),
        (5, "columns must be a list of column names, got 5"),
    ],
)
def test_columns_that_items_do_not_have_are_refused(
    model: Recommender, tmp_path: Path, columns: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.recommend(columns=columns)
    with pytest.raises(ValueError, match=message):
        model.recommend_to(tmp_path / "lists", columns=columns)
    assert not [*tmp_path.iterdir()]


def test_columns_that_the_table_has_or_parquet_cannot_hold_are_refused(tmp_path: Path) -> None:
    frame = make_world("ranking", "pure").frame.assign(score=lambda rows: rows["price"])
    frame["code"] = pd.Series([7 if item == "i0" else item for item in frame["item"]], dtype=object)
    columns: dict[str, Any] = {"dense_col": ["score"], "sparse_col": ["code"], "item_col": ["score", "code"]}
    with warnings.catch_warnings(action="ignore"):
        data, info = DatasetFeat.build_trainset(frame, **columns)
        model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    with pytest.raises(ValueError, match=r"columns \['score'\] would stand twice in the table"):
        model.recommend(columns=["score"])
    assert 7 in model.recommend(n_rec=20, filter_consumed=False, columns=["code"])["code"].tolist()
    with pytest.raises(ValueError, match=r"columns=\['code'\] are integers and strings"):
        model.recommend_to(tmp_path / "lists", columns=["code"])


def test_columns_show_what_is_true_now(tmp_path: Path) -> None:
    model = fitted()
    model.data_info.assign_item_features(pd.DataFrame({"item": ["i1"], "genre1": ["third"]}))
    model.add_items(pd.DataFrame({"item": ["new"], "price": [3.0]}))
    table = model.recommend(n_rec=21, filter_consumed=False, include_cold_items=True, columns=["genre1"], verbose=0)
    shown = table.drop_duplicates("item").set_index("item")["genre1"]
    assert shown["i1"] == "third"
    assert pd.isna(shown["new"])
    file = model.recommend_to(
        tmp_path / "a", n_rec=21, filter_consumed=False, include_cold_items=True, columns=["genre1"], verbose=0
    )
    assert pd.read_parquet(file)["genre1"].isna().sum() == (table["item"] == "new").sum() > 0


def in_parts(tmp_path: Path, users: list[Any]) -> list[Any]:
    """The same users in each form that is read in parts, some of them twice."""
    frames = [pd.DataFrame({"user": users[at : at + 3], "item": 1}) for at in range(0, len(users), 2)]
    folder = tmp_path / "users"
    folder.mkdir()
    for number, frame in enumerate(frames):
        frame.to_parquet(folder / f"{number}.parquet")
    dataset = pytest.importorskip("pyarrow.dataset").dataset(folder)
    return [folder, dataset, iter(frames), lambda: iter(frames), split_in_parts(folder, "random", 1e-9)[0]]


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("ask", [{}, {"inner_id": True}, {"history": {100: ["i1"]}, "cold_start": "features"}])
def test_users_may_be_read_in_parts(model: Recommender, ask: dict[str, Any], tmp_path: Path) -> None:
    known = model.data_info.vocabs["user"].values.tolist()
    users = [*range(1, 8)] if ask.get("inner_id") else [-5, known[3], known[0], -7, *known[:9]]
    with pytest.warns(UnknownIdWarning) if -5 in users else nullcontext():
        expected = model.recommend(list(dict.fromkeys(users)), n_rec=3, verbose=0, **ask)
    for number, source in enumerate(in_parts(tmp_path, users)):
        with pytest.warns(UnknownIdWarning, match="1 unknown users") if -5 in users else nullcontext():
            file = model.recommend_to(tmp_path / f"{number}.parquet", source, n_rec=3, verbose=0, **ask)
        found = pd.read_parquet(file)
        pd.testing.assert_frame_equal(found.drop(columns="score"), expected.drop(columns="score"), check_dtype=False)
        np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-5)


def test_bad_parts_of_users_are_refused(model: Recommender, tmp_path: Path) -> None:
    file = tmp_path / "lists.parquet"
    for frames, message in (
        ([pd.DataFrame({"id": [1]})], r"columns \['user'\] are not in users: \['id'\]"),
        ([pd.DataFrame({"user": [1]}), pd.DataFrame({"user": ["a"]})], "'user' holds text in frame 1 of users"),
        ([pd.DataFrame({"user": [1]}), pd.DataFrame({"user": [1.5]})], "frame 1 of users: "),
        ([pd.DataFrame({"user": []})], "users has no rows"),
    ):
        with pytest.raises(ValueError, match=message):
            model.recommend_to(file, iter(frames), verbose=0)
    with pytest.raises(FileNotFoundError, match="users="):
        model.recommend_to(file, tmp_path / "nothing", verbose=0)
    assert not file.exists()
    assert len(pd.read_parquet(model.recommend_to(file, iter([100, 100]), n_rec=2, verbose=0))) == 2  # ids, as before
