"""Commands that serve: ``serve`` and ``demo``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from recolib import serving
from recolib.checks import check_integer
from recolib.cli.events import Events
from recolib.cli.inference import infer_plan
from recolib.cli.output import show
from recolib.cli.training import train, with_choices, with_item_to_item
from recolib.cli.versions import CURRENT
from recolib.datasets import make_movies
from recolib.files import local_path
from recolib.serving.environment import BESIDE, HISTORY, LOG_IDS, MAX_BODY, POINTER, QUEUE, THREADS, read_token
from recolib.serving.logs import write_logs

NO_HISTORY = "none"
EVENTS = "events.sqlite"
GRACE_S = 30
LOCAL = "127.0.0.1", "localhost", "::1"
Host = Annotated[str, typer.Option(help="The address to listen at.")]
Port = Annotated[int, typer.Option(help="The port to listen at.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("serve")(serve)
    app.command("demo")(demo)


def serve(
    pointer: Annotated[Path, typer.Argument(help="A pointer such as models/CURRENT, or a model's file.")] = CURRENT,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(help="Processes that answer.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of each that compute.")] = 2,
    queue: Annotated[int, typer.Option(help="Requests of each that may wait.")] = 256,
    max_body: Annotated[int, typer.Option(help="The most bytes of a body.")] = 65536,
    history: Annotated[
        str, typer.Option(envvar=HISTORY, help="The history store: a file, a PostgreSQL address, or none.")
    ] = "",
    token_file: Annotated[Path | None, typer.Option(help="A file with the token; or set RECOLIB_TOKEN.")] = None,
    beside: Annotated[Path | None, typer.Option(help="The pointer of a second model, to compare with.")] = None,
    log_ids: Annotated[bool, typer.Option("--log-ids", help="Write ids of users to the log.")] = False,
) -> None:
    """Serve a model over HTTP, and take over a new one when the pointer changes."""
    check_integer("workers", workers, 1)
    place = local_path(pointer, "pointer")
    for one in (place, *([] if beside is None else [beside])):
        serving.read_pointer(one)  # a wrong name is told at once
    store = None if history == NO_HISTORY else history or str(place.parent / EVENTS)
    environment = dict(os.environ) | ({} if token_file is None else {"RECOLIB_TOKEN_FILE": str(token_file)})
    token = read_token(environment)
    if token is None and host not in LOCAL:
        raise ValueError(
            f"a server at {host} needs a token, since others can reach it: set RECOLIB_TOKEN or --token-file"
        )
    write_logs()
    if workers == 1:
        app = serving.create_app(place, token, store, max_body, threads, queue, log_ids=log_ids, beside=beside)
        listen(app, host, port)
        return
    numbers = {THREADS: threads, QUEUE: queue, MAX_BODY: max_body, LOG_IDS: int(log_ids)}
    os.environ |= {name: str(number) for name, number in numbers.items()}
    os.environ |= {POINTER: str(place.resolve()), HISTORY: store or ""}
    if beside is not None:
        os.environ[BESIDE] = str(beside.resolve())
    if token_file is not None:
        os.environ["RECOLIB_TOKEN_FILE"] = str(token_file.resolve())
    listen("recolib.serving:from_environment", host, port, workers)


def listen(app: object, host: str, port: int, workers: int = 1) -> None:
    """Answer until a signal comes, and then what was accepted."""
    import uvicorn

    uvicorn.run(
        app,  # pyright: ignore[reportArgumentType]
        host=host,
        port=port,
        workers=workers,
        factory=isinstance(app, str),
        log_config=None,
        access_log=False,
        http="recolib.serving.protocol:BoundedHttp",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )


def demo(
    folder: Annotated[Path | None, typer.Option(help="Where to put data and model; by default a new one.")] = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    model: Annotated[str, typer.Option(help="The algorithm.")] = "fm",
    n_epochs: Annotated[int, typer.Option(help="Epochs to train for.")] = 12,
) -> None:
    """Make up movies and ratings, train a model, serve it, and print the address."""
    place = Path(tempfile.mkdtemp(prefix="recolib-demo-")) if folder is None else local_path(folder, "folder")
    place.mkdir(parents=True, exist_ok=True)
    frame = demo_movies()
    frame.to_csv(place / "movies.csv", index=False)
    chosen = with_choices(infer_plan(frame, {}), model, "", None, [f"n_epochs={n_epochs}"])
    events = Events.of(chosen.prepared(frame))
    plan = with_item_to_item(chosen, events)
    pointer = place / "models" / CURRENT.name
    show(train(events, plan, pointer, "movies", 0.2, False, 10, False), False)
    address = f"http://{host}:{port}"
    user = int(frame["user"].iloc[0])
    body = f'{{"users": [{user}, "someone new"], "n_rec": 5, "columns": ["title"]}}'
    print(f"\nserving at {address}, with a page for a browser\n")
    print(f"  curl {address}/v1/recommend -H 'Content-Type: application/json' -d '{body}'\n", flush=True)
    serve(pointer, host, port)


def demo_movies() -> pd.DataFrame:
    """Made-up ratings of movies, with titles."""
    frame = make_movies()
    names = (
        frame["genre1"].str.capitalize() + " No. " + frame["item"].astype(str) + " (" + frame["year"].astype(str) + ")"
    )
    return frame.assign(title=names)
