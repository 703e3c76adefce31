"""The server under load: ``python -m benchmarks.server speed``, on MovieLens 1M, by loopback alone.

``speed``
    10,000 requests from 16 clients, to an FM and to a DeepFM: requests a second, and how long one waits; the middle one
    of three runs.
``swap``
    The same while the model is replaced every second: each list must be that of the version which the answer names.
``crowd``
    1,000 clients at once.
``memory``
    100,000 requests: how much memory the server holds after each tenth.
``events``
    500 events a second, written beside 10,000 requests.
``folding``
    Requests for users with stored events: each for the first time, and again.
``end``
    SIGTERM while 64 clients ask: what they sent before is answered.
``kill``
    kill -9 while events are written: which of those that were acknowledged the store has, and whether the models load.

The server is ``recolib serve`` with one worker, a process of its own, and so are the clients; ``--cores`` gives each a
core. Models are trained where ``--folder`` does not have them. ``--json`` keeps what came out of each scenario, and
``python -m benchmarks.page`` puts it into ``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import recolib
from benchmarks.experiments import USER_COL, liked
from benchmarks.protocol import ROOT, Record, ask
from benchmarks.rounds import machine
from recolib.algorithms import FM, DeepFM
from recolib.data import DatasetFeat
from recolib.serving import open_history, publish

ALGORITHMS = {"FM": FM, "DeepFM": DeepFM}
N_REC = 10
STARTS_S = 120


@dataclass(frozen=True)
class Bench:
    """Where the models are, and on which cores server and clients run; None for any.

    Attributes
    ----------
    folder
        Of the models.
    users
        Whom lists are asked for.
    server_core, client_core
        One each.
    """

    folder: Path
    users: list[Any]
    server_core: int | None
    client_core: int | None

    @contextlib.contextmanager
    def server(self, model: str, *options: str) -> Generator[Server]:
        """``recolib serve`` of a model, ready."""
        with tempfile.TemporaryDirectory() as own:
            pointer = Path(own, "CURRENT")
            for name in ALGORITHMS:
                os.link(self.folder / f"{name}.safetensors", Path(own, f"{name}.safetensors"))
            publish(pointer, f"{model}.safetensors")
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port: int = free.getsockname()[1]
            code = "import sys; from recolib.cli import main; sys.exit(main())"
            command = [sys.executable, "-c", code, "serve", str(pointer), "--port", str(port), *options]
            environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
            if self.server_core is not None:
                os.sched_setaffinity(process.pid, {self.server_core})
            try:
                wait_until(lambda: get(port, "/readyz")["ready"])
                time.sleep(1)  # what warms up behind the first requests
                yield Server(self, pointer, port, process)
            finally:
                process.terminate()
                process.wait(60)


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    bench: Bench
    pointer: Path
    port: int
    process: subprocess.Popen[bytes]

    def load(
        self,
        n_requests: int,
        n_clients: int = 16,
        users: list[Any] | None = None,
        expected: Mapping[str, Mapping[str, list[Any]]] | None = None,
    ) -> Record:
        """What comes of so many requests."""
        request = {
            "port": self.port,
            "path": "/v1/recommend",
            "users": users or self.bench.users,
            "n_rec": N_REC,
            "n_requests": n_requests,
            "n_clients": n_clients,
            "core": self.bench.client_core,
            "expected": expected or {},
        }
        before = self.cpu_s()
        found = ask("benchmarks.load", request)[1]
        answered = sum(number for code, number in found["codes"].items() if code.isdecimal())
        return found | {"cpu_ms": 1e3 * (self.cpu_s() - before) / max(1, answered)}

    def cpu_s(self) -> float:
        """The processor's time that it took so far; none where it has ended."""
        file = Path(f"/proc/{self.process.pid}/stat")
        fields = file.read_text().rpartition(")")[2].split() if self.process.poll() is None else ["0"] * 13
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """The memory that it holds."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024

    def send(self, events: list[dict[str, Any]]) -> bool:
        """Store events; whether the server said that it did."""
        body = json.dumps({"events": events}).encode()
        address = f"http://127.0.0.1:{self.port}/v1/events"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(address, body, {"Content-Type": "application/json"}), timeout=30
            ) as answer:
                return json.load(answer)["stored"] == len(events)
        except OSError:
            return False


def get(port: int, path: str) -> Any:
    """What the server says of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return json.load(answer)


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that may fail until then."""
    end = time.monotonic() + STARTS_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if holds():
                return
        time.sleep(0.1)
    raise TimeoutError(f"the server is not ready after {STARTS_S} s")


def speed(bench: Bench) -> Record:
    """Requests a second."""
    found: Record = {}
    for model in ALGORITHMS:
        with bench.server(model, "--history", "none") as server:
            server.load(1_000)
            rounds = sorted((server.load(10_000) for _ in range(3)), key=lambda one: one["requests_per_s"])
            found[model] = rounds[1] | {"rates": [one["requests_per_s"] for one in rounds]}
    return found


def swap(bench: Bench) -> Record:
    """Versions that are replaced."""
    expected = {name: lists_of(bench.folder / f"{name}.safetensors", bench.users[:200]) for name in ALGORITHMS}
    over = threading.Event()
    n_swaps = 0
    with bench.server("FM", "--history", "none") as server:

        def replace() -> None:
            nonlocal n_swaps
            while not over.wait(1):
                n_swaps += 1
                publish(server.pointer, f"{[*ALGORITHMS][n_swaps % 2]}.safetensors")

        thread = threading.Thread(target=replace)
        thread.start()
        found = server.load(10_000, users=bench.users[:200], expected=expected)
        over.set()
        thread.join()
    return found | {"n_swaps": n_swaps}


def lists_of(file: Path, users: list[Any]) -> dict[str, list[Any]]:
    """The lists that a model has for users."""
    lists = recolib.load(file).recommend_user(users, N_REC)
    return {str(user): items.tolist() for user, items in lists.items()}


def crowd(bench: Bench) -> Record:
    """Many clients at once."""
    with bench.server("FM", "--history", "none") as server:
        before = server.resident_mib()
        found = server.load(20_000, 1_000)
        return found | {"before_mib": before, "after_mib": server.resident_mib()}


def memory(bench: Bench) -> Record:
    """Memory over many requests."""
    with bench.server("FM", "--history", "none") as server:
        server.load(1_000)
        held, codes = [server.resident_mib()], []
        for _ in range(10):
            codes.append(server.load(10_000)["codes"])
            held.append(server.resident_mib())
    return {"resident_mib": held, "codes": {"200": sum(one.get("200", 0) for one in codes)}}


def events(bench: Bench) -> Record:
    """Events beside reads."""
    over = threading.Event()
    sent, stored = 0, 0
    with bench.server("FM") as server:

        def write() -> None:
            nonlocal sent, stored
            rng, begin = random.Random(0), time.monotonic()
            while not over.is_set():
                some = [{"user": f"visitor {rng.randrange(10_000)}", "item": rng.randrange(4_000)} for _ in range(10)]
                sent += len(some)
                stored += len(some) * server.send(some)
                time.sleep(max(0.0, begin + sent / 500 - time.monotonic()))

        thread = threading.Thread(target=write)
        begin = time.monotonic()
        thread.start()
        found = server.load(10_000)
        over.set()
        thread.join()
        seconds = time.monotonic() - begin
    return found | {"events_sent": sent, "events_stored": stored, "events_per_s": stored / seconds}


def folding(bench: Bench) -> Record:
    """Users with stored events."""
    found: Record = {}
    for model in ALGORITHMS:
        users = bench.users[:200]
        with bench.server(model) as server:
            items = lists_of(bench.folder / f"{model}.safetensors", users)
            server.send([{"user": user, "item": item} for user in users for item in items[str(user)][:5]])
            found[f"{model}, first"] = server.load(300, users=users)
            server.load(1_000, users=users)
            found[f"{model}, again"] = server.load(2_000, users=users)
    return found


def end(bench: Bench) -> Record:
    """SIGTERM under load."""
    with bench.server("DeepFM", "--history", "none") as server:
        timer = threading.Timer(3, server.process.send_signal, [signal.SIGTERM])
        timer.start()
        found = server.load(1_000_000, 64)
        return found | {"exit": server.process.wait(60)}


def kill(bench: Bench) -> Record:
    """kill -9 while events are written."""
    n_kills, acknowledged, lost = 5, 0, 0
    for number in range(n_kills):
        with bench.server("FM") as server:
            told: list[tuple[str, int]] = []

            def write(server: Server = server, told: list[tuple[str, int]] = told) -> None:
                for at in range(1_000_000):
                    if not server.send([{"user": f"user {at}", "item": at}]):
                        return
                    told.append((f"user {at}", at))

            thread = threading.Thread(target=write)
            thread.start()
            time.sleep(0.5 + 0.3 * number)
            server.process.kill()
            thread.join()
            with open_history(server.pointer.parent / "events.sqlite") as history:
                lost += sum(history.get([user]) != {user: [item]} for user, item in told)
            acknowledged += len(told)
            for model in ALGORITHMS:
                recolib.load(server.pointer.parent / f"{model}.safetensors")
    return {"kills": n_kills, "events_acknowledged": acknowledged, "events_lost": lost, "models": "whole"}


SCENARIOS = {one.__name__: one for one in (speed, swap, crowd, memory, events, folding, end, kill)}


def made(folder: Path) -> list[Any]:
    """Train what is not there, and give some of the users."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, algorithm in ALGORITHMS.items():
        file = folder / f"{name}.safetensors"
        if not file.exists():
            data, info = DatasetFeat.build_trainset(liked(), user_col=USER_COL, sparse_col=USER_COL)
            algorithm("ranking", info, n_epochs=1).fit(data, neg_sampling=True).save(folder, name)
    users = [*recolib.load(folder / "FM.safetensors").data_info.user2id]
    return random.Random(0).sample(users, min(5_000, len(users)))


def main() -> None:
    """Run some scenarios, print what comes out, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", default=[*SCENARIOS], help="by default all")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "recolib-server"), help="of models")
    parser.add_argument("--cores", type=int, nargs=2, default=None, help="of the server, and of the clients")
    parser.add_argument("--json", type=Path, help="where to keep what came out")
    arguments = parser.parse_args()
    if unknown := set(arguments.scenarios) - set(SCENARIOS):
        parser.error(f"there are no scenarios {sorted(unknown)}, but {[*SCENARIOS]}")
    bench = Bench(arguments.folder, made(arguments.folder), *(arguments.cores or (None, None)))
    file: Path | None = arguments.json
    results: dict[str, Any] = json.loads(file.read_text()) if file and file.exists() else {}
    for name in arguments.scenarios:
        load = os.getloadavg()[0]
        found = SCENARIOS[name](bench)
        about = {"date": datetime.now(UTC).date().isoformat(), "load": [load, os.getloadavg()[0]], "machine": machine()}
        print(f"{name}: {json.dumps(found)}", flush=True)
        results[name] = about | {"found": found}
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
