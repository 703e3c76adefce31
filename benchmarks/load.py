"""Load: many clients at once that ask a server for lists, as a process of their own: ``python -m benchmarks.load``.

Each client has a connection that it keeps, and asks again when it is answered. The standard library alone, and no more
work for a request than to find its end, so that the server is what is measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from benchmarks.protocol import Record, answer

HEAD = "POST {path} HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
LIMIT_S = 300
RETRY_S = 1
"""How long a client waits that was told to come again."""


@dataclass
class Load:
    """What is still to be asked, and what came.

    Attributes
    ----------
    path, users, n_rec
        Where, for whom and how long lists are asked.
    left
        How many requests are still to be made.
    """

    path: str
    users: list[Any]
    n_rec: int
    left: int
    seconds: list[float] = field(default_factory=list[float])
    codes: Counter[str] = field(default_factory=Counter[str])
    versions: Counter[str] = field(default_factory=Counter[str])
    expected: dict[str, dict[str, list[Any]]] = field(default_factory=dict[str, dict[str, list[Any]]])
    n_wrong: int = 0

    def take(self, content: bytes, user: object) -> None:
        """Look at an answer: the list must be that of the version that it names."""
        told = json.loads(content)
        version = told["model_version"]
        self.versions[version] += 1
        if version in self.expected:
            items = [one["item"] for one in told["results"][0]["items"]]
            self.n_wrong += items != self.expected[version][str(user)]


class Client(asyncio.Protocol):
    """A client that asks for one user after another."""

    def __init__(self, load: Load, number: int, done: asyncio.Future[None]) -> None:
        self._load, self._done, self._random = load, done, random.Random(number)
        self._buffer = b""
        self._begin = 0.0
        self._user: object = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        if not self._load.left:
            self._user = None
            self._transport.close()
            return
        self._load.left -= 1
        self._user = self._random.choice(self._load.users)
        body = json.dumps({"users": [self._user], "n_rec": self._load.n_rec})
        self._begin = time.perf_counter()
        self._transport.write((HEAD.format(path=self._load.path, length=len(body)) + body).encode())

    def data_received(self, data: bytes) -> None:
        """Take the answer when it is whole, and ask again."""
        self._buffer += data
        head, found, content = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:") + 15
        if len(content) < int(head[at : at + 20].split(b"\r\n")[0]):
            return
        self._buffer = b""
        code = head[9:12].decode()
        self._load.codes[code] += 1
        if code == "200":
            self._load.seconds.append(time.perf_counter() - self._begin)
            if self._load.expected:
                self._load.take(content, self._user)
        if b"connection: close" in head.lower():
            self._user = None
            self._transport.close()
        elif code == "503":
            asyncio.get_running_loop().call_later(RETRY_S, self._ask)
        else:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; with a request that is not answered, if there is one."""
        if self._user is not None:
            self._load.codes["none"] += 1
        if not self._done.done():
            self._done.set_result(None)


async def run(load: Load, port: int, n_clients: int) -> float:
    """All requests by so many clients; the seconds that they took."""
    loop = asyncio.get_running_loop()

    async def client(number: int) -> None:
        done: asyncio.Future[None] = loop.create_future()
        try:
            await loop.create_connection(lambda: Client(load, number, done), "127.0.0.1", port)
        except OSError:
            load.codes["refused"] += 1
            return
        await done

    begin = time.perf_counter()
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*(client(number) for number in range(n_clients)))
    return time.perf_counter() - begin


def work(request: Record) -> Iterator[Record]:
    """Ask, and say how fast and with which codes it was answered."""
    if request["core"] is not None:
        os.sched_setaffinity(0, {request["core"]})
    load = Load(request["path"], request["users"], request["n_rec"], request["n_requests"])
    load.expected = request["expected"]
    seconds = asyncio.run(run(load, request["port"], request["n_clients"]))
    times = sorted(load.seconds)
    n = len(times)
    yield {
        "requests_per_s": n / seconds,
        "p50_ms": 1e3 * times[n // 2] if n else None,
        "p99_ms": 1e3 * times[99 * n // 100] if n else None,
        "codes": dict(load.codes),
        "versions": dict(load.versions),
        "n_wrong": load.n_wrong,
    }


if __name__ == "__main__":
    answer(work)
