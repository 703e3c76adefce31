"""The example of an app: what a visitor does, what the night makes of it, and the way back."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("fastapi", reason='there is no fastapi: pip install "recolib[serving]"')
pytest.importorskip("httpx", reason='there is no httpx: pip install "recolib[examples]"')

from starlette.testclient import TestClient

import recolib
from recolib.serving import Event, create_app, open_history, read_pointer

APP = Path(__file__).parents[1] / "examples" / "app"
FILES = sorted(APP.glob("*.py"))
MODULES = [file.stem for file in FILES]
ROW = re.compile(r'name="item" value="(\d+)">Watch</button> ([^<]*)<')
VERSION = re.compile(r"by (cinema-\d+)")

pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")


def load(home: Path, patch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The modules of the app, which read where it is when they are imported."""
    patch.setenv("CINEMA_HOME", str(home))
    patch.syspath_prepend(str(APP))
    for name in MODULES:
        patch.delitem(sys.modules, name, raising=False)
    return {name: importlib.import_module(name) for name in MODULES}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cinema on its first day."""
    home = tmp_path_factory.mktemp("cinema")
    with pytest.MonkeyPatch.context() as patch:
        assert load(home, patch)["first"].first() == "cinema-0001"
    return home


@pytest.fixture
def app(opened: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    shutil.copytree(opened, tmp_path / "cinema")
    yield load(tmp_path / "cinema", monkeypatch)
    for name in MODULES:
        sys.modules.pop(name, None)


def sign_up(client: TestClient, sex: str, age: int) -> list[tuple[int, str]]:
    client.cookies.clear()
    answer = client.post("/sign-up", data={"sex": sex, "age": age})
    assert answer.status_code == 200
    return rows(answer.text)


def rows(text: str) -> list[tuple[int, str]]:
    return [(int(item), unescape(title)) for item, title in ROW.findall(text)]


def watch(client: TestClient, item: int, by: str = "list") -> list[int]:
    answer = client.post("/watch", data={"item": item, "by": by})
    assert answer.status_code == 200
    return [item for item, _ in rows(answer.text)]


def wait_for(client: TestClient, version: str) -> list[int]:
    """The list of the version, which the server takes over by itself."""
    end = time.monotonic() + 60
    while True:
        text = client.get("/").text
        if VERSION.findall(text) == [version]:
            return [item for item, _ in rows(text)]
        assert time.monotonic() < end, text
        time.sleep(0.02)


def test_the_whole_loop(app: dict[str, ModuleType]) -> None:
    nightly, versions, places = app["nightly"], app["versions"], app["places"]
    with TestClient(app["cinema"].create()) as client:
        assert "Sign up" in client.get("/").text
        old_man = sign_up(client, "M", 56)
        girl = sign_up(client, "F", 1)
        assert len(girl) == 10
        assert girl != old_man  # by features alone

        first, second = girl[0][0], girl[1][0]
        after = watch(client, first)
        assert first not in after
        assert after[0] != second or after[1:9] != [item for item, _ in girl[2:10]]  # not merely the next ten
        watched = {first}
        for word in ("drama", "comedy", "no"):
            found = rows(client.get("/search", params={"query": word}).text)
            assert all(word in title.lower() for _, title in found)
            item = next(item for item, _ in found if item not in watched)
            watch(client, item, "search")
            watched.add(item)
        shown = [item for item, _ in rows(client.get("/").text)]
        assert not watched & set(shown)

        report = nightly.nightly()
        assert report["published"] == versions.current() == "cinema-0002"
        assert report["events"] == 4
        assert report["compared_on"] == 2  # the later part, of which all were searched for
        assert report["hit_rate"].keys() == {"current", "candidate", "popularity"}
        user = app["first"].FIRST_NEW_USER + 1  # the second who signed up
        model = recolib.load(read_pointer(places.POINTER).file)
        assert {model.data_info.id2item[code] for code in model.user_consumed[model.data_info.user2id[user]]} == watched
        assert not watched & set(wait_for(client, "cinema-0002"))
        with open_history(places.HISTORY) as history:
            assert len(history) == 0  # the model knows them
        latest = wait_for(client, "cinema-0002")[0]
        assert latest not in watch(client, latest)

        assert versions.rollback() == "cinema-0001"
        assert not {*watched, latest} & set(wait_for(client, "cinema-0001"))  # the store knows them again
        assert user not in recolib.load(read_pointer(places.POINTER).file).data_info.user2id
        with pytest.raises(SystemExit, match="oldest version"):
            versions.rollback()


def test_a_night_plays_back_what_the_server_would_have_listed(app: dict[str, ModuleType]) -> None:
    nightly, places = app["nightly"], app["places"]
    with places.database() as tables:
        tables.execute("INSERT INTO users (sex, age) VALUES ('F', 18)")
        users = tables.execute("SELECT user, sex, age FROM users ORDER BY user DESC LIMIT 4").fetchall()
        items = [item for (item,) in tables.execute("SELECT item FROM movies")]
    events, hits = [], []
    with TestClient(create_app(places.POINTER, history=places.HISTORY)) as server:
        for n in range(20):
            user, sex, age = users[n % 4]
            wish = {"users": [user], "user_feats": {"sex": sex, "age": age}, "cold_start": "features"}
            shown = [one["item"] for one in server.post("/v1/recommend", json=wish).json()["results"][0]["items"]]
            item = shown[n % 10] if n % 3 else items[n]
            events.append({"user": user, "sex": sex, "age": age, "item": item})
            hits.append(item in shown)
            server.post("/v1/events", json={"events": [{"user": user, "item": item}]})
    frame = pd.DataFrame(events)
    model = recolib.load(read_pointer(places.POINTER).file)
    assert nightly.hits(model, frame.head(8), frame.tail(12)).tolist() == hits[8:]
    assert len({*hits[8:]}) == 2


def test_a_worse_candidate_is_not_published(app: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    nightly, versions, places = app["nightly"], app["versions"], app["places"]
    with open_history(places.HISTORY) as history:
        history.add(Event(user, item, time.time()) for user, item in some_pairs(places))
    monkeypatch.setattr(nightly, "is_worse", lambda new, old: True)
    assert nightly.nightly()["published"] is None
    assert versions.names() == ["cinema-0001"]
    with open_history(places.HISTORY) as history:
        assert len(history) == 6  # the next night has them again


def test_the_last_versions_are_kept(app: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    nightly, versions, places = app["nightly"], app["versions"], app["places"]
    assert nightly.nightly() == {"published": None, "events": 0}
    monkeypatch.setattr(versions, "KEPT", 2)
    pairs = some_pairs(places)
    for night in range(3):
        with open_history(places.HISTORY) as history:  # no server prunes it
            history.add(Event(user, item, time.time()) for user, item in pairs[2 * night : 2 * night + 2])
        assert nightly.nightly()["events"] == 2
    assert versions.names() == ["cinema-0003", "cinema-0004"]
    assert sorted(file.name for file in places.MODELS.glob("*.safetensors")) == [
        "cinema-0003.safetensors",
        "cinema-0004.safetensors",
    ]
    assert len(list(places.ARCHIVE.glob("*.csv"))) == 4


def some_pairs(places: ModuleType) -> list[tuple[int, int]]:
    with places.database() as tables:
        users = [user for (user,) in tables.execute("SELECT user FROM users LIMIT 6")]
        items = [item for (item,) in tables.execute("SELECT item FROM movies LIMIT 6")]
    return [*zip(users, items, strict=True)]


def test_what_visitors_send_is_checked_and_stays_text(app: dict[str, ModuleType]) -> None:
    with TestClient(app["cinema"].create()) as client:
        assert client.post("/sign-up", data={"sex": "<", "age": "18"}).status_code == 422
        assert client.post("/sign-up", content=b"\xff\xfe").status_code == 422
        assert client.post("/watch", data={"item": "7"}).status_code == 422  # nobody's
        sign_up(client, "F", 18)
        assert client.post("/watch", data={"item": "²"}).status_code == 422
        assert rows(client.get("/search", params={"query": "<script>"}).text) == []
    page = app["cinema"].movie_page([{"item": 7, "columns": {"title": "<b>&"}}], "list", "")
    assert "&lt;b&gt;&amp;" in page.body.decode()


def test_a_cinema_without_a_model_says_so(app: dict[str, ModuleType]) -> None:
    app["places"].POINTER.write_text("gone.safetensors")
    with TestClient(app["cinema"].create()) as client:
        client.post("/sign-up", data={"sex": "F", "age": 18}, follow_redirects=False)
        answer = client.get("/")
        assert answer.status_code == 503
        assert "come again soon" in answer.text


def test_each_file_can_be_read_at_one_sitting() -> None:
    assert sum(len(file.read_text("utf-8").splitlines()) for file in FILES) < 400
    assert len((APP / "README.md").read_text("utf-8").splitlines()) <= 60


@pytest.mark.parametrize(
    ("lost", "won", "worse"),
    [(0, 0, False), (4, 0, False), (5, 0, True), (20, 12, False), (30, 12, True), (0, 30, False)],
)
def test_a_candidate_is_worse_if_it_loses_more_than_chance_explains(
    app: dict[str, ModuleType], lost: int, won: int, worse: bool
) -> None:
    old = np.array([True] * lost + [False] * won + [True, False] * 5)
    new = np.array([False] * lost + [True] * won + [True, False] * 5)
    assert app["nightly"].is_worse(new, old) is worse
