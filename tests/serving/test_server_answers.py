"""What each route answers, beside what the model says."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from recolib.algorithms import FM
from recolib.data import DatasetFeat
from recolib.inference.folding import fold_in
from recolib.recommender import Recommender
from recolib.serving import create_app, from_environment
from recolib.serving.searching import folded
from tests.servers import shop

pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")


def post(client: TestClient, path: str, status: int = 200, **body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def lists(answer: Any) -> list[list[Any]]:
    return [[one["item"] for one in result["items"]] for result in answer["results"]]


def test_lists_are_the_models(client: TestClient, model: Recommender) -> None:
    users = [3, 7, "7", "Zoë", "nobody"]
    answer = post(client, "/v1/recommend", users=users, n_rec=6)
    assert answer["model_version"] == "m1"
    assert [one["user"] for one in answer["results"]] == users
    assert [one["known"] for one in answer["results"]] == [True] * 4 + [False]
    expected = model.recommend_user(users, 6, return_scores=True)
    assert lists(answer) == [expected[user][0].tolist() for user in users]
    scores = [[one["score"] for one in result["items"]] for result in answer["results"]]
    assert scores == [pytest.approx(expected[user][1].tolist(), rel=1e-5) for user in users]


def test_integer_and_text_are_two_ids(client: TestClient, model: Recommender) -> None:
    number, text = post(client, "/v1/recommend", users=[7, "7"], n_rec=10)["results"]
    assert number["user"] == 7
    assert text["user"] == "7"
    assert number["items"] != text["items"]
    kinds = {type(item) for item in lists(post(client, "/v1/recommend", users=[7], n_rec=30))[0]}
    assert kinds == {int, str}


def test_7_0_is_the_integer_7(client: TestClient) -> None:
    answer = client.post("/v1/recommend", content=b'{"users": [7.0]}', headers={"content-type": "application/json"})
    assert answer.json()["results"][0]["user"] == 7


def test_every_wish_reaches_the_model(client: TestClient, model: Recommender) -> None:
    popular = model.data_info.popular_items
    wishes: dict[str, Any] = {
        "candidates": popular[:30],
        "exclude": popular[:2],
        "max_per_group": {"genre": 2},
        "min_score": 0.01,
        "filter_consumed": False,
    }
    users: list[int | str] = [3, "u4"]
    answer = post(client, "/v1/recommend", users=users, n_rec=5, context={"hour": 9}, **wishes)
    expected = model.recommend_user(users, 5, context={"hour": 9}, **wishes)
    assert lists(answer) == [expected[user].tolist() for user in users]
    assert post(client, "/v1/recommend", users=users, n_rec=5, include_cold_items=True)["results"]


def test_features_and_history_of_one_user_and_of_several(client: TestClient, model: Recommender) -> None:
    items = model.data_info.popular_items
    one = post(client, "/v1/recommend", users=["new"], user_feats={"age": 19}, history=items[:3])
    expected = model.recommend_user("new", 10, {"age": 19}, history=items[:3])["new"].tolist()
    assert lists(one) == [expected]
    feats, history = [{"age": 19}, {"age": 60}], [items[:3], items[3:6]]
    both = post(client, "/v1/recommend", users=["new", "other"], user_feats=feats, history=history)
    assert lists(both)[0] == expected
    assert not set(lists(both)[1]) & set(items[3:6])
    for argument, value in {"user_feats": {"age": 19}, "history": items[:3]}.items():
        assert "for each user" in json.dumps(post(client, "/v1/recommend", 422, users=[1, 2], **{argument: value}))


def test_cold_start_by_popularity_has_no_scores(client: TestClient, model: Recommender) -> None:
    answer = post(client, "/v1/recommend", users=["new"], cold_start="popular", n_rec=4)
    assert lists(answer) == [model.data_info.popular_items[:4]]
    assert {one["score"] for one in answer["results"][0]["items"]} == {None}


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        ({"column": "genre", "op": "==", "value": "war"}, lambda row: row["genre"] == "war"),
        ({"column": "genre", "op": "!=", "value": "war"}, lambda row: row["genre"] != "war"),
        ({"column": "genre", "op": "in", "value": ["war", "drama"]}, lambda row: row["genre"] in ("war", "drama")),
        ({"column": "genre", "op": "not in", "value": ["war"]}, lambda row: row["genre"] != "war"),
        ({"column": "genre", "op": "<", "value": "d"}, lambda row: row["genre"] < "d"),
        ({"column": "price", "op": "<", "value": 10}, lambda row: row["price"] < 10),
        ({"column": "price", "op": "<=", "value": 9}, lambda row: row["price"] <= 9),
        ({"column": "price", "op": ">", "value": 9}, lambda row: row["price"] > 9),
        ({"column": "price", "op": ">=", "value": 9.0}, lambda row: row["price"] >= 9),
        ({"column": "title", "op": "contains", "value": "No. 3"}, lambda row: "No. 3" in row["title"]),
        ({"column": "tags", "op": "contains", "value": "t1"}, lambda row: "t1" in row["tags"]),
        ({"column": "item", "op": "in", "value": [100, "i3"]}, lambda row: row["item"] in (100, "i3")),
    ],
)
def test_conditions_filter_items(client: TestClient, model: Recommender, condition: Any, passes: Any) -> None:
    frame = model.data_info.item_frame()
    expected = {row["item"] for row in frame.to_dict("records") if passes(row)}
    answer = post(client, "/v1/recommend", users=["new"], n_rec=100, where=[condition])
    assert 0 < len(expected) < len(frame)
    assert set(lists(answer)[0]) == expected


def test_all_conditions_must_hold(client: TestClient) -> None:
    where = [{"column": "genre", "op": "==", "value": "war"}, {"column": "price", "op": ">", "value": 30}]
    answer = post(
        client, "/v1/recommend", users=[1], n_rec=100, where=where, columns=["genre", "price", "tags", "title"]
    )
    columns = [one["columns"] for one in answer["results"][0]["items"]]
    assert columns
    assert all(one["genre"] == "war" and one["price"] > 30 and one["tags"][1] == "all" for one in columns)


@pytest.mark.parametrize(
    "wish",
    [
        {"columns": ["secret"]},
        {"user_feats": {"secret": 1}},
        {"user_feats": {"genre": "war"}},
        {"user_feats": {"age": "secret"}},
        {"context": {"age": 3}},
        {"max_per_group": {"price": 2}},
        {"segment": ["age"], "cold_start": "popular"},
        {"segment": []} | {"segment": ["secret"]},
        {"min_score": 2},
        {"history": [1], "cold_start": "popular"},
        {"where": [{"column": "secret", "op": "==", "value": 1}]},
        {"where": [{"column": "price", "op": "==", "value": "secret"}]},
        {"where": [{"column": "price", "op": "contains", "value": 1}]},
        {"where": [{"column": "genre", "op": "<", "value": 1}]},
        {"where": [{"column": "genre", "op": "==", "value": ["secret"]}]},
        {"where": [{"column": "genre", "op": "in", "value": "secret"}]},
        {"where": [{"column": "tags", "op": "==", "value": "secret"}]},
        {"where": [{"column": "item", "op": "<", "value": "secret"}]},
    ],
)
def test_what_the_model_cannot_do_is_refused_without_an_echo(client: TestClient, wish: dict[str, Any]) -> None:
    answer = client.post("/v1/recommend", json={"users": [1], **wish})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][1] in {*wish}
    assert "secret" not in answer.text


def test_events_leave_lists_at_once_and_shape_them(client: TestClient, model: Recommender) -> None:
    before = lists(post(client, "/v1/recommend", users=["new", 3], n_rec=8))
    seen = [before[0][0], before[0][3]]
    events = [{"user": "new", "item": item} for item in seen] + [{"user": 3, "item": before[1][0], "time": 12.5}]
    assert post(client, "/v1/events", events=events) == {"stored": 3}
    after = lists(post(client, "/v1/recommend", users=["new", 3], n_rec=8))
    history: dict[Any, Any] = {"new": seen[::-1], 3: before[1][:1]}
    expected = model.recommend_user(["new", 3], 8, history=history)
    assert after == [expected["new"].tolist(), expected[3].tolist()]
    assert not set(after[0]) & set(seen)
    popular = lists(post(client, "/v1/recommend", users=["new"], cold_start="popular", n_rec=100))[0]
    assert not set(popular) & set(seen)
    everything = post(client, "/v1/recommend", users=["new"], filter_consumed=False, n_rec=100)
    assert set(seen) <= set(lists(everything)[0])


def test_vectors_are_given_and_not_shown(tmp_path: Path) -> None:
    frame = shop().drop(columns=["hour", "label"])
    taste = {user: [n / 7, 1.0, -n / 9] for n, user in enumerate(frame["user"].unique())}
    frame = frame.assign(taste=frame["user"].map(taste), cover=[[0.5, float(len(title))] for title in frame["title"]])
    columns = {"user_col": ["taste"], "item_col": ["cover"], "vector_col": ["taste", "cover"], "display_col": ["title"]}
    data, info = DatasetFeat.build_trainset(frame, **columns)
    model = FM("ranking", info, n_epochs=1, embed_size=4).fit(data, neg_sampling=True, verbose=0)
    with TestClient(create_app(model.save(tmp_path, "vectors"))) as client:
        answer = post(client, "/v1/recommend", users=["new"], user_feats={"taste": [1, 0.5, -2]}, n_rec=3)
        assert lists(answer) == [model.recommend_user("new", 3, {"taste": [1, 0.5, -2]})["new"].tolist()]
        assert "a list of 3 numbers" in json.dumps(
            post(client, "/v1/recommend", 422, users=["new"], user_feats={"taste": [1, 2]})
        )
        assert client.get("/v1/items").json()["items"][0]["columns"].keys() == {"title"}
        assert post(client, "/v1/recommend", 422, users=[1], where=[{"column": "cover", "op": "==", "value": 1}])


def test_without_a_store_events_are_refused(pointer: Path) -> None:
    with TestClient(create_app(pointer)) as client:
        assert post(client, "/v1/events", 404, events=[{"user": 1, "item": 2}])["detail"]


def test_lists_made_together_are_those_made_alone(pointer: Path, model: Recommender) -> None:
    app = create_app(pointer, threads=1)
    users = [model.data_info.id2user[code] for code in range(1, 50)]

    async def together() -> list[Any]:
        import asyncio

        import httpx

        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            asks = [
                client.post("/v1/recommend", json={"users": [user], "n_rec": 1 + n % 5, "columns": ["title"]})
                for n, user in enumerate(users)
            ]
            return [answer.json() for answer in await asyncio.gather(*asks)]

    import asyncio

    answers = asyncio.run(together())
    for n, (user, answer) in enumerate(zip(users, answers, strict=True)):
        assert lists(answer) == [model.recommend_user(user, 1 + n % 5)[user].tolist()]


def test_predictions_are_the_models(client: TestClient, model: Recommender) -> None:
    pairs = [{"user": 3, "item": 101}, {"user": "new", "item": "i3"}, {"user": 4, "item": "gone"}]
    answer = post(client, "/v1/predict", pairs=pairs, feats={"hour": 5, "tags": ["t1"]})
    assert [(one["known"], one["item_known"]) for one in answer["results"]] == [
        (True, True),
        (False, True),
        (True, False),
    ]
    users, items = [pair["user"] for pair in pairs], [pair["item"] for pair in pairs]
    expected = model.predict(users, items, [{"hour": 5, "tags": ["t1"]}] * 3)
    assert [one["score"] for one in answer["results"]] == pytest.approx(expected.tolist())
    assert post(client, "/v1/predict", 422, pairs=pairs, feats={"secret": 5})


def test_neighbours_are_the_models(client: TestClient, model: Recommender) -> None:
    answer = post(client, "/v1/similar", items=[101, "gone"], n=3, columns=["genre"])
    assert lists(answer) == [model.similar_items(101, 3)[101].tolist(), []]
    assert [one["known"] for one in answer["results"]] == [True, False]
    assert answer["results"][0]["items"][0]["columns"].keys() == {"genre"}
    assert post(client, "/v1/similar", 422, items=[101], columns=["secret"])


def test_reasons_add_up(client: TestClient, model: Recommender) -> None:
    answer = post(client, "/v1/explain", user=3, item=101, feats={"hour": 5}, n_terms=500)
    assert sum(term["contribution"] for term in answer["terms"]) == pytest.approx(answer["logit"], abs=1e-4)
    assert answer["prediction"] == pytest.approx(model.predict(3, 101, {"hour": 5}))
    assert len(post(client, "/v1/explain", user=3, item=101, n_terms=2)["terms"]) == 2
    assert not post(client, "/v1/explain", user=3, item=101, history=[7])["reads_history"]
    assert not post(client, "/v1/explain", user="new", item=101)["known"]


def test_items_are_found_by_words_of_ids_and_texts(client: TestClient, model: Recommender) -> None:
    found = client.get("/v1/items", params={"query": "CAFE 39"}).json()["items"]
    assert [one["columns"]["title"] for one in found] == ["The Café No. 39"]
    assert client.get("/v1/items", params={"query": "i3"}).json()["items"][0]["item"] == "i3"
    everything = client.get("/v1/items", params={"limit": 500}).json()["items"]
    assert [one["item"] for one in everything] == model.data_info.popular_items[: len(everything)]
    assert client.get("/v1/items", params={"query": "no such thing"}).json()["items"] == []


def test_text_is_searched_without_case_and_accents() -> None:
    assert folded("CAFÉ Straße") == "cafe strasse"


def test_a_token_is_needed_but_for_health(pointer: Path) -> None:
    with TestClient(create_app(pointer, token="tök")) as client:
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "tök".encode()}):
            answer = client.get("/v1/items", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/metrics").status_code == 401
        assert client.get("/v1/items", headers={"authorization": "Bearer tök".encode()}).status_code == 200


def test_the_environment_describes_a_server(pointer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="RECOLIB_POINTER must name"):
        from_environment()
    monkeypatch.setenv("RECOLIB_POINTER", str(pointer))
    monkeypatch.setenv("RECOLIB_HISTORY", str(tmp_path / "events.sqlite"))
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.setenv("RECOLIB_TOKEN_FILE", str(tmp_path / "token"))
    with TestClient(from_environment()) as client:
        assert client.get("/v1/items", headers={"authorization": "Bearer secret"}).status_code == 200
        assert client.get("/v1/items").status_code == 401
    monkeypatch.setenv("RECOLIB_TOKEN", "other")
    with pytest.raises(ValueError, match="not both"):
        from_environment()
    monkeypatch.delenv("RECOLIB_TOKEN_FILE")
    monkeypatch.setenv("RECOLIB_TOKEN", "")
    with pytest.raises(ValueError, match="token is empty"):
        from_environment()
    monkeypatch.setenv("RECOLIB_TOKEN", "other")
    monkeypatch.setenv("RECOLIB_THREADS", "two")
    with pytest.raises(ValueError, match="RECOLIB_THREADS must be a whole number"):
        from_environment()


@pytest.mark.parametrize("argument", [{"threads": 0}, {"queue": -1}, {"max_body": 10}])
def test_arguments_are_checked(pointer: Path, argument: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(argument))):
        create_app(pointer, **argument)
    with pytest.raises(ValueError, match="token must not be empty"):
        create_app(pointer, token="")


@pytest.mark.parametrize("log_ids", [False, True])
def test_logs_have_ids_only_if_asked(
    pointer: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], log_ids: bool
) -> None:
    caplog.set_level(logging.INFO, "recolib.serving")
    with TestClient(create_app(pointer, log_ids=log_ids)) as client:
        post(client, "/v1/recommend", users=["a secret", 7], n_rec=50)
        client.get("/v1/secret?secret=1")
    text = json.dumps([vars(record) for record in caplog.records], default=str)
    assert ("a secret" in text) == log_ids
    assert "v1/secret" not in text
    assert "secret" not in "".join(capfd.readouterr())
    fields = [record.fields for record in caplog.records if record.getMessage() == "request"]  # type: ignore[attr-defined]
    assert [(one["route"], one["status"]) for one in fields] == [("/v1/recommend", 200), ("other", 404)]
    assert fields[0]["n_users"] == 2


def test_metrics_count_requests_users_and_events(client: TestClient) -> None:
    post(client, "/v1/recommend", users=[3, "nobody"])
    post(client, "/v1/recommend", 422, users=[])
    post(client, "/v1/events", events=[{"user": 1, "item": 2}])
    text = client.get("/metrics").text
    for line in (
        'recolib_requests_total{route="/v1/recommend",status="200"} 1.0',
        'recolib_requests_total{route="/v1/recommend",status="422"} 1.0',
        'recolib_users_total{known="true"} 1.0',
        'recolib_users_total{known="false"} 1.0',
        "recolib_events_total 1.0",
        'recolib_model_served{model_version="m1"} 1.0',
        "recolib_requests_in_flight 1.0",
    ):
        assert line in text


def test_plain_requests_are_answered_alike_with_and_without_the_detour(client: TestClient) -> None:
    for body in ({"users": [1, "Zoë", "new"]}, {"users": ["7"], "n_rec": 3, "columns": ["title"]}):
        direct = client.post("/v1/recommend", json=body)
        routed = client.post("/v1/recommend", json=body, headers={"content-type": "application/json; charset=utf-8"})
        assert direct.status_code == routed.status_code == 200
        assert direct.content == routed.content
        assert direct.headers["content-type"] == routed.headers["content-type"]
    refused = [
        client.post("/v1/recommend", json={"users": [1], "columns": ["none"]}, headers=more)
        for more in ({}, {"content-type": "application/vnd.x+json"})
    ]
    assert refused[0].status_code == refused[1].status_code == 422
    assert refused[0].content == refused[1].content


def test_a_user_with_events_is_folded_in_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    n_folded: list[int] = []

    def counting(network: Any, info: Any, items: Any, users: Any, histories: Any, *more: Any) -> Any:
        n_folded.append(len(histories))
        return fold_in(network, info, items, users, histories, *more)

    monkeypatch.setattr("recolib.inference.recommend.fold_in", counting)

    def ask(*users: int | str) -> Any:
        return client.post("/v1/recommend", json={"users": users, "n_rec": 5}).json()["results"]

    client.post("/v1/events", json={"events": [{"user": 3, "item": 101}, {"user": "new", "item": "i3"}]})
    (first,) = ask(3)
    assert ask(3) == [first]
    assert ask(1, 3)[1] == first
    assert n_folded == [1]
    both = ask(3, "new")
    assert both[0] == first
    assert n_folded == [1, 1]
    client.post("/v1/events", json={"events": [{"user": 3, "item": first["items"][0]["item"]}]})
    assert ask(3) != [first]
    assert n_folded == [1, 1, 1]
