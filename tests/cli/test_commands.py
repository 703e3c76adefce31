"""The commands, from a table to answers, as people and programs give them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("typer", reason='there is no typer: pip install "recolib[cli]"')

import recolib
from recolib.cli import app as application
from recolib.cli import main
from recolib.cli.plan import Plan
from recolib.cli.servers import demo_movies
from recolib.datasets import make_movies
from recolib.serving import Event, open_history, read_pointer

FAST = ["--set", "n_epochs=2", "--set", "embed_size=8"]


def run(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    """What a command prints."""
    assert main([*map(str, arguments)]) == code
    out, error = capsys.readouterr()
    assert "Traceback" not in error
    return out if code == 0 else error


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """What a command prints for programs."""
    return json.loads(run(capsys, *arguments, "--json"))


@pytest.fixture(scope="module")
def movies() -> pd.DataFrame:
    frame = make_movies(n_users=80, n_items=60, n_ratings=2000)
    return frame.assign(title="Movie " + frame["item"].astype(str))


@pytest.fixture(scope="module")
def fitted(movies: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, and a model in models/."""
    folder = tmp_path_factory.mktemp("cli")
    movies.head(1800).to_csv(folder / "movies.csv", index=False)
    movies.tail(200).to_csv(folder / "new.csv", index=False)
    assert main(["fit", str(folder / "movies.csv"), "--out", str(folder / "models/CURRENT"), *FAST, "--json"]) == 0
    return folder


@pytest.fixture
def place(fitted: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(fitted, tmp_path, dirs_exist_ok=True)
    return tmp_path / "models/CURRENT"


def test_fit_saves_a_model_a_card_a_plan_and_a_pointer(
    movies: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    movies.to_parquet(tmp_path / "movies.parquet")
    pointer = tmp_path / "models/CURRENT"
    answer = ask(capsys, "fit", tmp_path / "movies.parquet", "--model", "deepfm", "--out", pointer, *FAST)
    version = read_pointer(pointer)
    assert answer["model"] == str(version.file)
    assert version.name.startswith("movies-")
    assert version.data_until == pytest.approx(float(movies["time"].max()), abs=1)
    model = recolib.load(version.file)
    assert model.model_name == "DeepFM"
    assert model.data_info.n_users == movies["user"].nunique()
    assert model.data_info.data_size == len(movies)
    assert model.get_params()["embed_size"] == 8
    assert Path(answer["card"]).read_text().startswith("# Model card: DeepFM")
    assert Plan.read(Path(answer["plan"])).algorithm == "DeepFM"
    assert [one["method"] for one in answer["metrics"]] == ["DeepFM", "popularity", "EASE"]
    assert all(0 <= one["ndcg@10"] <= 1 for one in answer["metrics"])


def test_people_see_tables(movies: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    movies.to_csv(tmp_path / "movies.csv", index=False)
    pointer = tmp_path / "CURRENT"
    text = run(capsys, "fit", tmp_path / "movies.csv", "--out", pointer, *FAST, "-k", 5, "--no-refit")
    for line in ("genre1 multi_sparse item genre", "method ndcg@5 recall@5", "popularity 0.", "title display item"):
        assert line in " ".join(text.split())


def test_a_plan_is_edited_and_given_again(
    movies: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    movies.rename(columns={"user": "customer no", "item": "movieId"}).to_csv(tmp_path / "movies.csv", index=False)
    pointer, data = tmp_path / "CURRENT", tmp_path / "movies.csv"
    plan = ask(capsys, "fit", data, "--user", "customer no", "--out", pointer, "--only-plan")["plan"]
    text = Path(plan).read_text()
    assert '"sex" = { side = "user", kind = "sparse" }' in text
    Path(plan).write_text(
        text.replace(
            '"occupation" = { side = "user", kind = "sparse" }', '"occupation" = { side = "user", kind = "ignore" }'
        )
    )
    ask(capsys, "fit", data, "--plan", plan, "--out", pointer, *FAST, "--test", 0)
    info = recolib.load(read_pointer(pointer).file).data_info
    assert "occupation" not in info.user_col
    assert "sex" in info.user_col


def test_ratings_can_be_predicted(movies: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    movies.to_csv(tmp_path / "movies.csv", index=False)
    pointer = tmp_path / "CURRENT"
    answer = ask(capsys, "fit", tmp_path / "movies.csv", "--task", "rating", "--out", pointer, *FAST)
    assert answer["metrics"][0].keys() == {"method", "rmse", "mae"}
    assert ask(capsys, "evaluate", tmp_path / "movies.csv", "-m", pointer)["metrics"][0]["rmse"] > 0
    user, item = movies["user"].iloc[0], movies["item"].iloc[0]
    assert 1 <= ask(capsys, "explain", user, item, "-m", pointer)["prediction"] <= 5


def test_lists_are_the_models(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = recolib.load(read_pointer(place).file)
    user = model.data_info.id2user[3]
    rows = ask(capsys, "recommend", user, "nobody", "-m", place, "-n", 4, "--column", "title")["lists"]
    assert [row["user"] for row in rows] == [user] * 4 + ["nobody"] * 4
    assert [row["known"] for row in rows] == [True] * 4 + [False] * 4
    assert [row["item"] for row in rows[:4]] == model.recommend_user(user, 4)[user].tolist()
    assert rows[0]["title"] == f"Movie {rows[0]['item']}"
    items = model.data_info.popular_items[:2]
    with_more = ["--feat", "sex=F", "--feat", "age=18", "--history", items[0], "--history", items[1]]
    rows = ask(capsys, "recommend", "nobody", "-m", place, "-n", 4, *with_more)["lists"]
    expected = model.recommend_user("nobody", 4, {"sex": "F", "age": 18}, history=items)["nobody"]
    assert [row["item"] for row in rows] == expected.tolist()
    assert "rank" in run(capsys, "recommend", user, "-m", place)


def test_lists_of_all_neighbours_and_reasons(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = recolib.load(read_pointer(place).file)
    info = model.data_info
    answer = ask(capsys, "recommend-all", "--out", place.parent / "lists.parquet", "-m", place, "-n", 3)
    table = pd.read_parquet(answer["file"])
    assert len(table) == 3 * info.n_users == 3 * answer["users"]
    item = info.popular_items[0]
    rows = ask(capsys, "similar", item, "-m", place, "-n", 3, "--column", "title")["similar"]
    assert [row["similar"] for row in rows] == model.similar_items(item, 3)[item].tolist()
    assert rows[0]["title"].startswith("Movie")
    answer = ask(capsys, "explain", info.id2user[1], item, "-m", place, "-n", 500)
    assert sum(term["contribution"] for term in answer["terms"]) == pytest.approx(answer["logit"], abs=1e-4)


def test_a_model_is_measured_on_other_events(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = ask(capsys, "evaluate", place.parents[1] / "new.csv", "-m", place, "-k", 5)
    assert answer["events"] == 200
    assert [one["method"] for one in answer["metrics"]] == ["FM", "popularity", "EASE"]
    assert {"ndcg@5", "recall@5", "hit_rate@5", "coverage@5"} < answer["metrics"][0].keys()


def test_update_makes_a_new_version(place: Path, movies: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_pointer(place)
    content = before.file.read_bytes()
    answer = ask(capsys, "update", place.parents[1] / "new.csv", "-m", place)
    after = read_pointer(place)
    assert after.file != before.file
    assert before.file.read_bytes() == content
    assert answer["events"] == 200
    assert recolib.load(after.file).data_info.data_size == 2000
    assert before.data_until is not None
    assert after.data_until == pytest.approx(float(movies["time"].max()), abs=1)
    assert after.data_until > before.data_until
    assert after.file.with_suffix(".toml").is_file()


def test_forget_leaves_model_and_store_without_a_user(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_pointer(place)
    user = recolib.load(before.file).data_info.id2user[1]
    with open_history(place.parent / "events.sqlite") as history:
        history.add([Event(user, 1, 1.0), Event(str(user), 1, 1.0)])
    answer = ask(capsys, "forget", "--user", user, "-m", place, "--history", place.parent / "events.sqlite")
    assert (answer["forgotten"], answer["events"]) == (1, 1)
    assert before.file.name in answer["older_files"]
    assert user not in recolib.load(read_pointer(place).file).data_info.user2id
    assert "older files" in run(capsys, "forget", "--user", "nobody", "-m", place)


def test_integer_and_text_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = make_movies(n_users=40, n_items=30, n_ratings=500)[["user", "item"]].astype(str)
    (frame + "x").assign(user=frame["user"]).to_csv(tmp_path / "log.csv", index=False)
    frame.assign(item="00" + frame["item"]).to_csv(tmp_path / "zeros.csv", index=False)
    for name, kind in (("log", int), ("zeros", int)):
        pointer = tmp_path / name / "CURRENT"
        ask(capsys, "fit", tmp_path / f"{name}.csv", "--out", pointer, *FAST, "--test", 0)
        info = recolib.load(read_pointer(pointer).file).data_info
        assert {type(user) for user in info.user2id} == {kind}
        assert {type(item) for item in info.item2id} == {str}
        user = ask(capsys, "recommend", info.id2user[1], "-m", pointer)["lists"][0]
        assert user["known"]
        assert not ask(capsys, "recommend", f'"{info.id2user[1]}"', "-m", pointer)["lists"][0]["known"]


def test_doctor_names_versions_and_extras(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOLIB_DATA_HOME", "/no/such/folder")
    answer = ask(capsys, "doctor")
    assert answer["recolib"] == recolib.__version__
    assert "is no folder" in answer["data_home"]
    assert {"parquet", "serving", "cli"} <= {one["extra"] for one in answer["extras"]}
    assert run(capsys, "--version").strip() == recolib.__version__


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fit", "gone.csv"], "there is no file gone.csv"),
        (["fit", "few.csv"], "which column is the item"),
        (["fit", "binary.csv"], "binary.csv cannot be read as CSV"),
        (["fit", "empty.csv"], "empty.csv cannot be read as CSV"),
        (["fit", "text.parquet"], "text.parquet cannot be read as Parquet"),
        (["fit", "log.csv", "--model", "deepfn"], "deepfm"),
        (["fit", "log.csv", "--set", "embedding_size=3"], "embed_size"),
        (["fit", "log.csv", "--set", "lr"], "--set takes such as"),
        (["fit", "log.csv", "--user", "customer"], "columns ['customer'] are not in the data"),
        (["fit", "log.csv", "--test", "1"], "test must be a share below 1"),
        (["fit", "log.csv", "--plan", "few.csv"], "few.csv is no TOML"),
        (["fit", "log.csv", "--unknown"], "No such option"),
        (["fit"], "Missing argument"),
        (["evaluate", "log.csv"], "there is no pointer"),
        (["recommend", "1", "-m", "few.csv"], "must hold the name of a model's file"),
        (["forget"], "forget needs --user or --item"),
        (["serve", "models/NONE"], "there is no pointer"),
        (["serve", "--workers", "0"], "workers must be at least 1"),
        (["nonsense"], "No such command"),
    ],
)
def test_errors_are_a_line_and_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_movies(n_users=30, n_items=20, n_ratings=200)[["user", "item"]].to_csv("log.csv", index=False)
    Path("few.csv").write_text("user,price\n1,2\n")
    Path("binary.csv").write_bytes(bytes(range(256)))
    Path("empty.csv").write_bytes(b"")
    Path("text.parquet").write_text("text")
    error = run(capsys, *arguments, code=2)
    assert says in error
    lines = [line for line in error.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")


def test_a_server_that_others_reach_needs_a_token(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "needs a token" in run(capsys, "serve", place, "--host", "0.0.0.0", code=2)


def test_what_nobody_expects_is_a_line_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise KeyError("a\nb\x1b")

    monkeypatch.setattr(application, "app", fail)
    error = run(capsys, "doctor", code=2)
    assert error == "error: KeyError: 'a\\nb\\x1b'; RECOLIB_TRACEBACK=1 shows where\n"
    monkeypatch.setenv("RECOLIB_TRACEBACK", "1")
    with pytest.raises(KeyError):
        main(["doctor"])


def test_the_demo_has_titles() -> None:
    frame = demo_movies()
    assert frame.groupby("item")["title"].nunique().eq(1).all()


def test_lists_of_all_are_made_once_in_parts(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, n_users = tmp_path / "lists", recolib.load(read_pointer(place).file).data_info.n_users
    made = ["recommend-all", "--out", folder, "-m", place, "-n", 3, "--parts"]
    assert ask(capsys, *made, 4)["written_here"] == 4
    whole = ask(capsys, "recommend-all", "--out", tmp_path / "lists.parquet", "-m", place, "-n", 3)["file"]
    parts = sorted(folder.glob("*.parquet"))
    assert len(parts) == 4
    pd.testing.assert_frame_equal(pd.concat(map(pd.read_parquet, parts), ignore_index=True), pd.read_parquet(whole))
    parts[1].unlink()
    assert ask(capsys, *made, 4)["written_here"] == 1
    for wrong, said in ((3, "has parts of n_parts 4"), (n_users + 1, "more than there are users"), (0, "parts")):
        assert main([*map(str, made), str(wrong)]) == 2
        assert said in capsys.readouterr().err


def test_processes_share_the_parts(place: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "recolib"]
    command += ["recommend-all", "--out", str(tmp_path), "-m", str(place), "-n", "3", "--parts", "5", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=True)
    assert json.loads(done.stdout)["written_here"] == 3
    assert len([*tmp_path.glob("*.parquet")]) == 5
