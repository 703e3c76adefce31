"""The page on operating, and the image of the example: what they say is run, parsed or looked up."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer", reason='there is no typer: pip install "recolib[cli]"')

from starlette.testclient import TestClient

import recolib
from recolib.cli import main
from recolib.cli.inference import infer_plan
from recolib.datasets import make_movies
from recolib.recommender import Recommender
from recolib.serving import Event, create_app, open_history, publish, read_pointer
from tests.servers import ROOT, ask, served
from tests.serving.test_server_history import TOOLS, start_postgres

PAGE = (ROOT / "docs" / "operating.md").read_text("utf-8")
PIECES = dict(re.findall(r"```\w*\n# ([\w.-]+)\n(.*?)```", PAGE, re.DOTALL))
DOCKERFILE = ROOT / "examples" / "app" / "Dockerfile"
WRAPPER = f'#!/bin/sh\nexec "{sys.executable}" -m recolib.cli "$@"\n'

pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")


@pytest.fixture(scope="module")
def model() -> Recommender:
    data, info = recolib.DatasetPure.build_trainset(make_movies(n_users=60, n_items=50, n_ratings=1200))
    return recolib.FM("ranking", info, n_epochs=2, embed_size=8).fit(data, neg_sampling=True, verbose=0)


@pytest.fixture
def place(model: Recommender, tmp_path: Path) -> Path:
    """A folder as the page has it: a model, the store with two events of a user, and what runs recolib."""
    publish(tmp_path / "models" / "CURRENT", model.save(tmp_path / "models", "movies-1"), 1e9)
    user, items = model.data_info.id2user[1], model.recommend_user(model.data_info.id2user[1], 2)
    with open_history(tmp_path / "models" / "events.sqlite") as history:
        history.add(Event(user, item, 1.1e9 + n) for n, item in enumerate(items[user].tolist()))
    (tmp_path / "recolib").write_text(WRAPPER)
    (tmp_path / "recolib").chmod(0o755)
    return tmp_path


def run(folder: Path, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=folder, env=environment | variables, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def run_piece(folder: Path, name: str) -> None:
    run(folder, sys.executable, "-W", "ignore", "-c", PIECES[name])


def n_stored(folder: Path) -> int:
    with open_history(folder / "models" / "events.sqlite") as history:
        return len(history)


def test_all_pieces_are_tested() -> None:
    units = {"recolib.service", "recolib-nightly.service", "recolib-nightly.timer"}
    programs = {"nightly.py", "back.py", "backup.sh", "restore.sh", "postgres.sh"}
    assert PIECES.keys() == units | programs | {"recolib.yaml"}


def test_a_night_and_the_way_back(place: Path, model: Recommender) -> None:
    pointer = place / "models" / "CURRENT"
    run_piece(place, "nightly.py")
    version = read_pointer(pointer)
    assert version.name != "movies-1"
    assert version.data_until == 1.1e9 + 1
    assert recolib.load(version.file).data_info.data_size == model.data_info.data_size + 2
    with TestClient(create_app(pointer, history=place / "models" / "events.sqlite")):
        assert n_stored(place) == 0
    run_piece(place, "nightly.py")  # nothing has happened
    assert read_pointer(pointer) == version
    run_piece(place, "back.py")
    assert read_pointer(pointer) == read_pointer(place / "models" / "movies-1.pointer")
    assert read_pointer(pointer).data_until == 1e9
    assert n_stored(place) == 2


def test_a_copy_that_is_made_while_events_come_answers_as_the_server(place: Path) -> None:
    if shutil.which("sqlite3") is None:
        pytest.skip("there is no sqlite3: apt-get install sqlite3")
    publish(place / "models" / "movies-1.pointer", "movies-1.safetensors", 1e9)
    body = {"users": [1, read_user(place)], "n_rec": 5}
    with open_history(place / "models" / "events.sqlite") as open_store:  # its newest events are in a log beside it
        open_store.add([Event(read_user(place), 1, 1.2e9)])
        run(place, "bash", "-ec", PIECES["backup.sh"])
        with TestClient(create_app(place / "models" / "CURRENT", history=place / "models" / "events.sqlite")) as client:
            expected = client.post("/v1/recommend", json=body).json()
    *copies, serve = PIECES["restore.sh"].strip().splitlines()
    run(place, "bash", "-ec", "\n".join(copies))
    arguments = shlex.split(serve)[1:]
    with served(place, "-m", "recolib.cli", *arguments, "--port", "{port}") as (url, _):
        assert ask(f"{url}/v1/recommend", body) == (200, expected)
    with open_history(place / "restored" / "events.sqlite") as history:
        assert len(history) == 3


def read_user(place: Path) -> Any:
    return recolib.load(place / "models" / "movies-1.safetensors").data_info.id2user[1]


@pytest.fixture
def postgres() -> Iterator[str]:
    pytest.importorskip("psycopg", reason='there is no psycopg: pip install "recolib[postgres]"')
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:
        url, stop = start_postgres(Path(folder))
        yield url
        subprocess.run(stop, cwd="/", capture_output=True, timeout=60, check=True)


def test_a_dump_brings_events_back(postgres: str, tmp_path: Path) -> None:
    dump, restore = PIECES["postgres.sh"].strip().splitlines()
    (tmp_path / "backup").mkdir()
    path = os.pathsep.join([*map(str, TOOLS), os.environ["PATH"]])
    with open_history(postgres) as history:
        history.add([Event("Zoë", 7, 1.0), Event(7, "7", 2.0)])
        before = history.events()
        run(tmp_path, "bash", "-ec", dump, RECOLIB_HISTORY=postgres, PATH=path)
        history.forget(user=7)
    run(tmp_path, "bash", "-ec", restore, RECOLIB_HISTORY=postgres, PATH=path)
    with open_history(postgres) as history:
        assert history.events() == before
        assert history.add([Event(7, "7", 3.0)]) == 1


def test_a_release_is_tried_beside_and_a_person_is_forgotten(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = re.search(r"`recolib (serve models/movies-1.*?)`", PAGE, re.DOTALL)
    assert arguments is not None
    command = [part if part != "8001" else "{port}" for part in shlex.split(arguments[1])]
    with served(place, "-m", "recolib.cli", *command) as (url, _):
        assert ask(f"{url}/readyz")[1]["model_version"] == "movies-1"
    with open_history(place / "models" / "events.sqlite") as history:
        history.add([Event(36, 7, 1.2e9)])
    found = re.search(r"`recolib (forget .*?)`", PAGE)
    assert found is not None
    monkeypatch.chdir(place)
    assert main(shlex.split(found[1])) == 2  # the model was not made by recolib fit
    assert "there is no plan" in capsys.readouterr().err
    assert n_stored(place) == 3  # nothing was done by half
    infer_plan(make_movies(n_users=60, n_items=50, n_ratings=1200), {}).write(place / "models" / "movies-1.toml")
    assert main(shlex.split(found[1])) == 0
    assert n_stored(place) == 2
    assert 36 not in recolib.load(read_pointer("models/CURRENT").file).data_info.user2id


def units() -> list[str]:
    return [name for name in PIECES if name.endswith((".service", ".timer"))]


def test_systemd_finds_no_fault_with_the_units(place: Path) -> None:
    """Where systemd is; the program of the page is put where this machine has one."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    for name in units():
        text = PIECES[name].replace("/opt/recolib/bin/recolib", str(place / "recolib"))
        (place / name).write_text(text.replace("/opt/recolib/bin/python", sys.executable))
    run(place, "systemd-analyze", "verify", "--man=no", *(place / name for name in units()))


def test_the_server_of_the_unit_starts(place: Path) -> None:
    lines = [line.partition("=") for line in PIECES["recolib.service"].splitlines() if "=" in line]
    settings = {name: value for name, _, value in lines}
    environment = dict(
        part.split("=", 1) for name, _, value in lines if name == "Environment" for part in value.split()
    )
    (place / "token").write_text("secret")
    folders = {
        "/srv/recolib": str(place),
        "/var/lib/recolib": str(place / "state"),
        "/run/recolib": str(place / "run"),
        "${CREDENTIALS_DIRECTORY}": str(place),
    }
    for folder in ("state", "run"):
        (place / folder).mkdir()

    def here(text: str) -> str:
        for there, mine in folders.items():
            text = text.replace(there, mine)
        return text

    _, *arguments = shlex.split(here(settings["ExecStart"]))
    environment = {name: here(value) for name, value in environment.items()}
    with served(place, "-m", "recolib.cli", *arguments, "--port", "{port}", environment=environment) as (url, _):
        event = {"events": [{"user": 1, "item": 2}]}
        assert ask(f"{url}/v1/events", event)[0] == 401
        assert ask(f"{url}/v1/events", event, "secret") == (200, {"stored": 1})
        assert "recolib_events_total 1.0" in ask(f"{url}/metrics", token="secret")[1]
    assert (place / "state" / "events.sqlite").is_file()


def test_the_manifest_is_whole() -> None:
    yaml = pytest.importorskip("yaml", reason="there is no yaml: pip install pyyaml")
    deployment, service = yaml.safe_load_all(PIECES["recolib.yaml"])
    assert len(PIECES["recolib.yaml"].splitlines()) <= 60
    pod, labels = deployment["spec"]["template"]["spec"], deployment["spec"]["template"]["metadata"]["labels"]
    (container,) = pod["containers"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["containerPort"] == 8000
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    probes = {container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert probes == {"/readyz", "/healthz"}
    image = image_of()
    assert pod["securityContext"]["runAsUser"] == int(image["USER"][-1])
    mounts = [one["mountPath"] for one in container["volumeMounts"]]
    environment = variables_of(image)
    assert str(Path(environment["RECOLIB_TOKEN_FILE"]).parent) in mounts
    assert str(Path(json.loads(image["CMD"][-1])[2]).parent) in mounts
    assert [one["name"] for one in container["env"]] == ["RECOLIB_HISTORY"]


def table(heading: str) -> list[list[str]]:
    """The rows of the table under a heading, without the names of its columns."""
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:]]


def test_the_page_has_each_metric_of_the_server_and_alerts_use_no_other(place: Path) -> None:
    with TestClient(create_app(place / "models" / "CURRENT", history=place / "models" / "events.sqlite")) as client:
        client.post("/v1/recommend", json={"users": [read_user(place), "new"]})
        text = client.get("/metrics").text
    families = set(re.findall(r"^# TYPE (recolib_\w+) ", text, re.MULTILINE))
    families = {name for name in families if not name.endswith("_created")}
    series: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*?)\})? ", text, re.MULTILINE):
        series.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    documented = {
        name: labels for row in table("Monitor") for name, labels in re.findall(r"`(\w+)(?:\{(.*?)\})?`", row[0])
    }
    assert families <= documented.keys()
    for name, labels in documented.items():
        found = series.get(name) or series.get(f"{name}_count")
        assert name in series or f"{name}_count" in series, name
        assert {*filter(None, labels.split(","))} <= (found or set())
    rows = table("Alerts")
    assert len(rows) >= 10
    for _, expression, *rest in rows:
        assert len(rest) == 2
        query = re.findall(r"`(.*?)`", expression)[0]
        assert query.count("(") == query.count(")")
        names = re.findall(r"\b(?:recolib|process)_\w+", query)
        assert names
        assert {*names} <= series.keys(), query
        for name, labels in re.findall(r"(\w+)\{(.*?)\}", query):
            assert {*re.findall(r"(\w+)=", labels)} <= series[name], query


def image_of() -> dict[str, list[str]]:
    """The instructions of the Dockerfile, by name."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in filter(None, text.splitlines()):
        name, _, rest = line.partition(" ")
        found.setdefault(name, []).append(rest.strip())
    return found


def variables_of(image: dict[str, list[str]]) -> dict[str, str]:
    return dict(part.split("=", 1) for line in image["ENV"] for part in shlex.split(line))


def test_the_image_is_built_of_what_is_there() -> None:
    image = image_of()
    makefile = (ROOT / "Makefile").read_text("utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    torch = re.findall(r"torch==[\d.]+", " ".join(image["RUN"]))
    assert torch == re.findall(r"^TORCH \?= (.*)$", makefile, re.MULTILINE)
    wanted = re.findall(r'"\.\[(.*?)\]"', " ".join(image["RUN"]))
    assert {*wanted[0].split(",")} <= extras.keys()
    ignored = (DOCKERFILE.with_name("Dockerfile.dockerignore")).read_text().split()
    for line in image["COPY"]:
        *sources, _ = [part for part in line.split() if not part.startswith("--")]
        if "--from=" not in line:
            assert all((ROOT / source).exists() for source in sources)
            assert all(f"!{source}" in ignored for source in sources)
    for line in image["RUN"]:
        for command in line.split("&&"):
            program = shlex.split(command)[0]
            assert program in ("python", "/opt/recolib/bin/pip", "useradd", "install")
            assert program.startswith("/opt") or shutil.which(program) or sys.platform != "linux"
    assert image["USER"] == ["10001"]  # a number: Kubernetes sees that it is not root
    assert "--uid 10001" in " ".join(image["RUN"])


def test_the_command_of_the_image_starts_a_server_that_is_healthy(place: Path) -> None:
    image = image_of()
    home = {"/cinema": str(place), "/etc/recolib": str(place)}

    def here(text: str) -> str:
        for there, mine in home.items():
            text = text.replace(there, mine)
        return text

    (place / "token").write_text("secret\n")
    variables = {name: here(value) for name, value in variables_of(image).items() if name != "PATH"}
    program, *arguments = json.loads(image["CMD"][-1])
    assert program == "recolib"
    assert "0.0.0.0" in arguments
    arguments = [here(part).replace("0.0.0.0", "127.0.0.1") for part in arguments]
    before = sorted(file.name for file in (place / "models").iterdir())
    health = json.loads(image["HEALTHCHECK"][0].partition("CMD ")[2])
    with served(place, "-m", "recolib.cli", *arguments, "--port", "{port}", environment=variables) as (url, _):
        assert ask(f"{url}/v1/recommend", {"users": [1]})[0] == 401
        assert ask(f"{url}/v1/events", {"events": [{"user": 1, "item": 2}]}, "secret")[0] == 200
        check = [part.replace("http://127.0.0.1:8000", url) for part in health]
        assert subprocess.run([sys.executable, *check[1:]], check=False).returncode == 0
    assert subprocess.run([sys.executable, *check[1:]], capture_output=True, check=False).returncode != 0
    assert sorted(file.name for file in (place / "models").iterdir()) == before  # a volume that is read only will do
    assert (place / "events" / "events.sqlite").is_file()
