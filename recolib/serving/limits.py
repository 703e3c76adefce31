"""Limits: what stands between a socket and the routes: a token, the size of a body, and how many may wait."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from recolib.serving.metrics import ServerMetrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Direct = Callable[[bytes, dict[str, Any]], Awaitable[bytes | None]]
"""From the body of a request, in JSON, and what is logged of it, to the answer; None leaves it to the routes."""

LOG = logging.getLogger("recolib.serving")
BODY_S = 10.0
"""How long a body may take to come."""
RETRY_S = 1
JSON = b"application/json"
OPEN = "/", "/healthz", "/readyz", "/openapi.json"
"""Paths that need no token: what watches a server has none, the page asks for it, and they hold no data."""


class RefusedBody(Exception):
    """A body that is too long, too slow or was cut off."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes
    ----------
    token
        What each request must bring as ``Authorization: Bearer``; None: nothing.
    max_body
        The most bytes of a body.
    most
        How many requests may wait or be answered at once.
    """

    token: str | None
    max_body: int
    most: int


class Gate:
    """An ASGI application before another: it refuses what is too much, counts, measures and logs.

    What is asked most often it answers itself, since the other takes three times as long to find a function.

    Parameters
    ----------
    app
        The other.
    limits
        What is let through.
    metrics
        Where requests are counted.
    routes
        Paths that are counted by name; others are "other".
    direct
        What answers requests to a path without the other.
    """

    def __init__(
        self,
        app: AsgiApp,
        limits: Limits,
        metrics: ServerMetrics,
        routes: Collection[str],
        direct: Mapping[str, Direct],
    ) -> None:
        self._app, self._limits, self._metrics, self._direct = app, limits, metrics, direct
        self._routes = frozenset(routes)
        self._n_inside = 0
        self._token = None if limits.token is None else f"Bearer {limits.token}".encode()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or let it be answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        path: str = scope["path"]
        route = path if path in self._routes else "other"
        fields: dict[str, Any] = {}
        scope["recolib"] = fields
        status = 500

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._admit(scope, receive, watching)
        finally:
            seconds = time.perf_counter() - begin
            self._metrics.requests.labels(route, status).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            if LOG.isEnabledFor(logging.INFO):
                about = {"route": route, "method": scope["method"], "status": status, "ms": round(1000 * seconds, 2)}
                LOG.info("request", extra={"fields": about | fields})

    async def _admit(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        is_open = scope["path"] in OPEN
        given = headers.get(b"authorization", b"")
        if self._token is not None and not is_open and not hmac.compare_digest(given, self._token):
            await _refuse(send, 401, "a token is needed: Authorization: Bearer …", (b"www-authenticate", b"Bearer"))
            return
        try:
            body = await self._read(headers, receive)
        except RefusedBody as refused:
            await _refuse(send, refused.status, refused.detail, (b"connection", b"close"))
            return
        if self._n_inside >= self._limits.most and not is_open:
            retry = b"retry-after", str(RETRY_S).encode()
            await _refuse(send, 503, "too many requests wait: come again", retry)
            return
        self._n_inside += 1
        self._metrics.in_flight.inc()
        try:
            direct = self._direct.get(scope["path"]) if headers.get(b"content-type") == JSON else None
            answer = None if direct is None or scope["method"] != "POST" else await direct(body, scope["recolib"])
            if answer is None:
                await self._app(scope, _replayed(body, receive), send)
            else:
                await _send(send, 200, answer)
        finally:
            self._n_inside -= 1
            self._metrics.in_flight.dec()

    async def _read(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """The whole body, of which no more than what is allowed is ever held."""
        too_long = RefusedBody(413, f"the body may have at most {self._limits.max_body} bytes")
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > self._limits.max_body):
            raise too_long
        if declared == b"0" and b"transfer-encoding" not in headers:
            return b""
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RefusedBody(400, "the body was cut off")
                    body += message.get("body", b"")
                    if len(body) > self._limits.max_body:
                        raise too_long
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise RefusedBody(408, f"the body did not come within {BODY_S:g} s") from None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What gives the body once, and then what comes after it."""
    is_read = False

    async def replay() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(send: Send, status: int, detail: str, header: tuple[bytes, bytes]) -> None:
    await _send(send, status, json.dumps({"detail": detail}).encode(), header)


async def _send(send: Send, status: int, body: bytes, *header: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", JSON), (b"content-length", str(len(body)).encode()), *header]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
