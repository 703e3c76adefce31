"""A second model beside the one served, and what a page or a program asks before it asks for lists."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from recolib.data.vocab import Vocab
from recolib.recommender import Recommender
from recolib.serving import Event, create_app, from_environment, open_history, publish
from recolib.serving.metrics import ServerMetrics
from recolib.serving.searching import IdSearch, folded
from tests.servers import shop_model

pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")
BODIES: dict[str, dict[str, Any]] = {
    "recommend": {"users": [3, "nobody"], "n_rec": 5},
    "predict": {"pairs": [{"user": 3, "item": 104}]},
    "similar": {"items": [104], "n": 3},
    "explain": {"user": 3, "item": 104},
}


@pytest.fixture(scope="module")
def other(frame: pd.DataFrame) -> Recommender:
    return shop_model(frame, seed=7)


@pytest.fixture
def folder(pointer: Path, other: Recommender, tmp_path: Path) -> Path:
    """The pointer CURRENT of m1, and CANDIDATE of m2."""
    shutil.copy(pointer.parent / "m1.safetensors", tmp_path)
    publish(tmp_path / "CURRENT", "m1.safetensors")
    publish(tmp_path / "CANDIDATE", other.save(tmp_path, "m2"))
    return tmp_path


@pytest.fixture
def both(folder: Path) -> Iterator[TestClient]:
    app = create_app(folder / "CURRENT", history=folder / "events.sqlite", beside=folder / "CANDIDATE")
    with TestClient(app) as client:
        yield client


def wait_for(client: TestClient, condition: Any) -> Any:
    end = time.monotonic() + 30
    while not condition(ready := client.get("/readyz").json()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return ready


def test_a_request_chooses_whose_answer_it_gets(both: TestClient, model: Recommender, other: Recommender) -> None:
    for version, name, one in (("current", "m1", model), ("beside", "m2", other)):
        answer = both.post("/v1/recommend", json=BODIES["recommend"] | {"version": version}).json()
        assert answer["model_version"] == name
        lists = one.recommend_user([3, "nobody"], 5)
        assert [[row["item"] for row in result["items"]] for result in answer["results"]] == [
            lists[user].tolist() for user in (3, "nobody")
        ]
        score = both.post("/v1/predict", json=BODIES["predict"] | {"version": version}).json()["results"][0]["score"]
        assert score == pytest.approx(float(one.predict(3, 104)), rel=1e-5)
    assert both.post("/v1/recommend", json=BODIES["recommend"]).json()["model_version"] == "m1"


@pytest.mark.parametrize("route", BODIES)
def test_every_route_knows_both_versions(both: TestClient, client: TestClient, route: str) -> None:
    body = BODIES[route] | {"version": "beside"}
    answer = both.post(f"/v1/{route}", json=body)
    assert (answer.status_code, answer.json()["model_version"]) == (200, "m2")
    refused = client.post(f"/v1/{route}", json=body)
    assert refused.status_code == 422
    (detail,) = refused.json()["detail"]
    assert detail["loc"] == ["body", "version"]
    assert detail["msg"] == "it must be 'current': this server has no model beside that one"
    assert both.post(f"/v1/{route}", json=BODIES[route] | {"version": "m2"}).status_code == 422


def test_the_one_beside_is_replaced_by_itself(both: TestClient, folder: Path, other: Recommender) -> None:
    ready = both.get("/readyz").json()
    assert ready["model_version"] == "m1"
    assert ready["beside"] == {"model_version": "m2", "error": None}
    other.save(folder, "m3")
    publish(folder / "CANDIDATE", "m3.safetensors")
    assert wait_for(both, lambda ready: ready["beside"]["model_version"] == "m3")["model_version"] == "m1"
    text = both.get("/metrics").text
    assert [f'recolib_model_served{{model_version="{name}"}}' in text for name in ("m1", "m2", "m3")] == [True] * 3
    assert 'recolib_model_served{model_version="m2"} 0.0' in text
    (folder / "CANDIDATE").write_text("none.safetensors\n")
    ready = wait_for(both, lambda ready: ready["beside"]["error"])
    assert ready["ready"]
    assert "none.safetensors" in ready["beside"]["error"]
    body = BODIES["recommend"] | {"version": "beside"}
    assert both.post("/v1/recommend", json=body).json()["model_version"] == "m3"


def test_none_beside_yet_leaves_the_current_one(folder: Path) -> None:
    with TestClient(create_app(folder / "CURRENT", beside=folder / "LATER")) as client:
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["beside"]["error"].startswith("there is no pointer LATER")
        assert client.post("/v1/recommend", json=BODIES["recommend"]).status_code == 200
        assert client.post("/v1/recommend", json=BODIES["recommend"] | {"version": "beside"}).status_code == 503


def test_retention_follows_the_current_one_alone(folder: Path) -> None:
    store = folder / "events.sqlite"
    with open_history(store) as history:
        history.add([Event(1, 104, 100.0), Event(1, 105, 300.0)])
    publish(folder / "CANDIDATE", "m2.safetensors", data_until=400.0)
    publish(folder / "CURRENT", "m1.safetensors", data_until=200.0)
    with TestClient(create_app(folder / "CURRENT", history=store, beside=folder / "CANDIDATE")):
        pass
    with open_history(store) as history:
        assert history.get([1]) == {1: [105]}


def test_one_version_at_both_places_is_counted_until_both_left_it() -> None:
    metrics = ServerMetrics()
    metrics.count_model("a")
    metrics.count_model("a", "beside")
    metrics.count_model("b")
    assert b'recolib_model_served{model_version="a"} 1.0' in metrics.text()
    metrics.count_model("b", "beside")
    assert b'recolib_model_served{model_version="a"} 0.0' in metrics.text()


def test_the_environment_names_the_one_beside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOLIB_POINTER", str(folder / "CURRENT"))
    monkeypatch.setenv("RECOLIB_BESIDE", str(folder / "CANDIDATE"))
    with TestClient(from_environment()) as client:
        assert client.get("/v1/model").json()["beside"] == "m2"


def test_the_model_says_what_requests_may_name(both: TestClient, client: TestClient, model: Recommender) -> None:
    about = both.get("/v1/model").json()
    assert (about["model_version"], about["beside"], about["algorithm"], about["task"]) == ("m1", "m2", "FM", "ranking")
    assert (about["n_users"], about["n_items"], about["history"]) == (model.data_info.n_users, 40, True)
    assert about["score_range"] == [0, 1]
    assert client.get("/v1/model").json()["beside"] is None
    frame, ages = model.data_info.item_frame(), model.data_info.user_frame()["age"]
    (age,) = about["user_columns"]
    assert (age["name"], age["kind"], age["groups"]) == ("age", "number", False)
    assert (age["low"], age["high"]) == (pytest.approx(ages.min()), pytest.approx(ages.max()))
    (hour,) = about["context_columns"]
    assert (hour["kind"], hour["n_values"], set(hour["values"])) == ("category", 24, set(range(24)))
    items = {one["name"]: one for one in about["item_columns"]}
    assert {name: one["kind"] for name, one in items.items()} == {
        "genre": "category",
        "tags": "list",
        "price": "number",
        "title": "category",
    }
    assert items["genre"]["values"] == frame["genre"].value_counts().index.tolist()
    assert items["tags"]["values"][0] == "all"
    assert (items["price"]["low"], items["price"]["high"]) == (frame["price"].min(), frame["price"].max())
    assert [name for name, one in items.items() if one["groups"]] == ["genre", "tags"]
    for name in ("genre", "tags"):  # what it names can be asked for
        op = "contains" if name == "tags" else "=="
        where = [{"column": name, "op": op, "value": items[name]["values"][0]}]
        body = {"users": [3], "where": where, "max_per_group": {name: 2}}
        assert both.post("/v1/recommend", json=body).status_code == 200


def test_users_are_found_by_a_part_of_their_id(client: TestClient, model: Recommender, frame: pd.DataFrame) -> None:
    info = model.data_info

    def found(query: str, limit: int = 20) -> list[Any]:
        return client.get("/v1/users", params={"query": query, "limit": limit}).json()["users"]

    assert {one["user"] for one in found("7")[:2]} == {7, "7"}  # the id itself first
    assert [one["user"] for one in found("ZOE")] == ["Zoë"]
    assert found("nobody of this name") == []
    counts = [one["n_consumed"] for one in found("")]
    assert counts == sorted(info.user_consumed.counts()[1:].tolist(), reverse=True)[:20]
    (zoe,) = found("zoë")
    rows = frame[frame["user"] == "Zoë"]
    assert zoe["columns"]["age"] == rows["age"].iloc[0]
    assert zoe["n_consumed"] == rows["item"].nunique()
    latest = info.vocabs["item"].decode(info.log.latest(info.user2id["Zoë"])[::-1]).tolist()
    assert [one["item"] for one in zoe["latest"]] == latest[:10]
    assert zoe["latest"][0]["columns"]["title"].startswith("The Café No. ")
    assert client.get("/v1/users", params={"limit": 65}).status_code == 422


IDS = st.lists(st.integers(-20, 120) | st.text("ab1\0 É", max_size=4), min_size=1, max_size=12, unique_by=repr)


@given(ids=IDS, query=st.text("ab1\0 é", max_size=2), limit=st.integers(1, 5), data=st.data())
def test_a_search_finds_what_looking_at_each_id_finds(ids: list[Any], query: str, limit: int, data: Any) -> None:
    vocab = Vocab.of(np.array(ids, object))
    order = np.array(data.draw(st.permutations(range(1, len(ids) + 1))))
    text = folded(query).replace("\0", " ")
    is_itself = [code for code in order if str(vocab.values[code - 1]) == query]
    has = [code for code in order if text in folded(str(vocab.values[code - 1])).replace("\0", " ")]
    found = IdSearch(vocab, order).find(query, limit)
    assert len(set(found)) == len(found) == min(limit, len(has))
    assert set(found) <= set(has)
    if text:
        assert set(found[: len(is_itself)]) == set(is_itself[:limit]) or set(found) <= set(is_itself)
    rest = [code for code in found if code not in is_itself]
    assert rest == [code for code in has if code not in is_itself][: len(rest)] or not text
