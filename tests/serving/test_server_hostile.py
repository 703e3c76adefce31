"""Requests that nobody sends by mistake."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from recolib.serving import create_app, limits
from recolib.serving.service import Service

pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")
JSON = {"content-type": "application/json"}
DEEP = 60_000


@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP,
        b'{"users":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"users":[1],"user_feats":' + b'{"age":' * 5000 + b"1" + b"}" * 5000 + b"}",
        b'{"users":["\\ud800"]}',
        b'{"users":[1],"\\ud800":1}',
        b'{"users":[1],"user_feats":{"\\udfff":1}}',
        b'{"users":[1],"user_feats":{"age":"\\ud800"}}',
        b'{"users":[1],"columns":["\\ud800"]}',
        b'{"users":["\xff"]}',
        b'{"users":[9223372036854775808]}',
        b'{"users":[-9223372036854775809]}',
        b'{"users":[' + b"9" * 5000 + b"]}",
        b'{"users":[1e400]}',
        b'{"users":[NaN]}',
        b'{"users":[1],"min_score":NaN}',
        b'{"users":[1],"min_score":-Infinity}',
        b'{"users":[1],"user_feats":{"age":NaN}}',
        b'{"users":[1],"user_feats":{"age":1e400}}',
        b'{"users":[1.5]}',
        b'{"users":[true]}',
        b'{"users":[null]}',
        b'{"users":[[1]]}',
        b'{"users":{"1":2}}',
        b'{"users":[]}',
        b'{"users":[1],"n_rec":0}',
        b'{"users":[1],"n_rec":501}',
        b'{"users":[1],"n_rec":true}',
        b'{"users":[1],"n_rec":"5"}',
        b'{"users":[1],"n_rec":1e9}',
        json.dumps({"users": list(range(65))}).encode(),
        json.dumps({"users": ["a" * 257]}).encode(),
        json.dumps({"users": [1], "candidates": list(range(5001))}).encode(),
        json.dumps({"users": [1], "history": list(range(201))}).encode(),
        b'{"users":[1],"cold_start":"__import__"}',
        b'{"users":[1],"retriever":"x"}',
        b'{"users":[1],"where":[{"column":"genre","op":"==","value":{"a":1}}]}',
        b'{"users":[1],"where":"genre == 1"}',
        b'{"users":[1]} {"users":[2]}',
        b"\x00\x01\x02",
        b"",
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
def test_is_refused_and_not_echoed(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/recommend", content=body, headers=JSON)
    assert answer.status_code in (400, 422), answer.text[:300]
    assert len(answer.content) < 20_000
    assert "__import__" not in answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"users":[9223372036854775807,-9223372036854775808]}',
        b'{"users":["", "\\u0000", "<img src=x onerror=alert(1)>", "\\u202e", "\xf0\x9f\x98\x80"]}',
        json.dumps({"users": ["a" * 256] * 64, "n_rec": 500}).encode(),
        b'{"users":[1],"users":[2]}',
        b'{"users":[1],"user_feats":{"age":1e38}}',
        b'{"users":[1],"user_feats":{"age":null}}',
        b'{"users":[1],"history":[],"candidates":[],"exclude":[]}',
        b'{"users":[1],"candidates":["gone"]}',
        b'{"users":[1, 1, 1]}',
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
def test_odd_but_legal_is_answered(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/recommend", content=body, headers=JSON)
    assert answer.status_code == 200, answer.text
    assert [one["user"] for one in answer.json()["results"]] == json.loads(body)["users"]


def test_beyond_the_range_of_float32_is_refused(client: TestClient) -> None:
    for number in ("1e39", "-1e300", "1" + "0" * 300):
        answer = client.post("/v1/recommend", content=f'{{"users":[1],"user_feats":{{"age":{number}}}}}', headers=JSON)
        assert answer.status_code == 422, number


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/similar", "/v1/explain", "/v1/events"])
def test_other_routes_take_no_rubbish_either(client: TestClient, path: str) -> None:
    for body in (b"[" * DEEP, b'{"\\ud800":1}', b"null", b'{"events":[{"user":1,"item":2,"time":NaN}]}', b"1" * 5000):
        answer = client.post(path, content=body, headers=JSON)
        assert answer.status_code in (400, 422)
    for when in ("-1", "1e300", '"now"', "true"):
        body = f'{{"events":[{{"user":1,"item":2,"time":{when}}}]}}'
        assert client.post("/v1/events", content=body, headers=JSON).status_code == 422


def test_queries_of_any_text_are_answered(client: TestClient) -> None:
    for query in ("%00", "%ff", "a" * 256, "%F0%9F%98%80", ".*[", "(" * 100):
        assert client.get(f"/v1/items?query={query}").status_code == 200
    for query in ("query=" + "a" * 257, "limit=0", "limit=1e9", "limit=" + "9" * 5000):
        assert client.get(f"/v1/items?{query}").status_code == 422


def test_other_paths_and_methods_are_not_found(client: TestClient) -> None:
    assert client.get("/nothing").status_code == 404
    assert client.get("/docs").status_code == 404
    assert client.get("/v1/recommend").status_code == 405
    assert client.get("/v1/../../etc/passwd").status_code == 404


def test_long_bodies_are_refused_declared_or_in_chunks(client: TestClient) -> None:
    body = b'{"users":[1],"exclude":[' + b"1," * 5_000_000 + b"1]}"
    assert client.post("/v1/recommend", content=body, headers=JSON).status_code == 413
    chunks = (body[start : start + 65_000] for start in range(0, len(body), 65_000))
    assert client.post("/v1/recommend", content=chunks, headers=JSON).status_code == 413


class Server(threading.Thread):
    """A server of this process, with a socket."""

    def __init__(self, app: Any, http: str) -> None:
        super().__init__(daemon=True)
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False, http=http))

    def run(self) -> None:
        self.server.run()

    @property
    def address(self) -> tuple[str, int]:
        return self.server.servers[0].sockets[0].getsockname()


BOUNDED = "recolib.serving.protocol:BoundedHttp"


@pytest.fixture(params=["h11", BOUNDED])
def address(
    pointer: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(limits, "BODY_S", 0.5)
    thread = Server(create_app(pointer), request.param)
    thread.start()
    while not thread.server.started:
        time.sleep(0.01)
    yield thread.address
    thread.server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def say(address: tuple[str, int], *parts: bytes, pause_s: float = 0) -> bytes:
    """What a server answers to bytes; nothing if it hangs up."""
    with socket.create_connection(address, timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_s)
        answer = b""
        try:
            while b"\r\n\r\n" not in answer and (more := connection.recv(65536)):
                answer += more
        except ConnectionError:
            pass
        return answer


POST = b"POST /v1/recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_slow_bodies_end_and_do_not_keep_others_waiting(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=20) as slow:
        slow.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        body = b'{"users":[1]}'
        head = POST + b"Content-Length: %d\r\n\r\n" % len(body)
        assert say(address, head, body).startswith(b"HTTP/1.1 200")
        assert slow.recv(65536).startswith(b"HTTP/1.1 408")


def test_rubbish_on_the_wire_is_refused(address: tuple[str, int]) -> None:
    rubbish = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /nothing HTTP/9.9\r\n\r\n",
        POST + b"Content-Length: -5\r\n\r\n",
        POST + b"Content-Length: 99999999999999999999999999\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
        b"A" * 200_000,
        b"GET /healthz HTTP/1.1\r\n" + b"X: " + b"a" * 200_000,
    ]
    for one in rubbish:
        answer = say(address, one + b"\r\n\r\n")
        assert not answer or answer.split()[1].startswith(b"4"), one[:40]
    assert say(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("address", [BOUNDED], indirect=True)
@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"GET /", b"a" * 1000),
        (b"GET /healthz HTTP/1.1\r\nX: ", b"a" * 1000),
        (b"GET /healthz HTTP/1.1\r\n", b"X: a\r\n" * 200),
        (b"GET /healthz HTTP/1.1\r\nX: a\r\n", b" a\r\n" * 200),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n" * 200),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 1000),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 200),
    ],
    ids=["path", "value", "headers", "folded", "trailers", "extension", "chunks"],
)
def test_heads_that_do_not_end_are_refused(address: tuple[str, int], head: bytes, piece: bytes) -> None:
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(head)
        sent, answer = 0, b""
        with suppress(ConnectionError):
            while sent < 10_000_000:
                sent += connection.send(piece)
        with suppress(ConnectionError):
            answer = connection.recv(65536)
    assert sent < 10_000_000
    assert not answer or answer.split()[1] in (b"400", b"408", b"413", b"431"), answer
    assert say(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("address", [BOUNDED], indirect=True)
def test_a_head_is_counted_for_each_request(address: tuple[str, int]) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n"
    with socket.create_connection(address, timeout=20) as connection:
        for _ in range(5):
            connection.sendall(head)
            answer = b""
            while b"alive" not in answer:
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")
    assert say(address, b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 431")
    body = b'{"users":[' + b"1," * 30_000 + b"1]}"  # which is no head
    answer = say(address, POST + b"Content-Length: %d\r\n\r\n" % len(body), body)
    assert answer.startswith(b"HTTP/1.1 422")


def test_a_client_that_hangs_up_harms_nobody(address: tuple[str, int]) -> None:
    body = json.dumps({"users": list(range(64)), "n_rec": 500}).encode()
    for _ in range(20):
        with socket.create_connection(address) as gone:
            gone.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    with socket.create_connection(address) as cut:
        cut.sendall(POST + b"Content-Length: 100\r\n\r\n{")
    assert say(address, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_more_than_may_wait_get_503_and_come_again(pointer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_open = threading.Event()
    answers_of = Service._answers

    def held(self: Service, batch: Any) -> Any:
        is_open.wait(20)
        return answers_of(self, batch)

    monkeypatch.setattr(Service, "_answers", held)
    app = create_app(pointer, threads=1, queue=4)

    async def crowd() -> list[Any]:
        import httpx

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            asks = [asyncio.create_task(client.post("/v1/recommend", json={"users": [n]})) for n in range(20)]
            await asyncio.sleep(0.3)
            assert (await client.get("/healthz")).status_code == 200
            is_open.set()
            return await asyncio.gather(*asks)

    answers = asyncio.run(crowd())
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 5 + [503] * 15
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 503)
