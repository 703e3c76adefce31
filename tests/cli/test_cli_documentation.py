"""The pages on the command line and the server: their commands run in order, as a reader runs them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("typer", reason='there is no typer: pip install "recolib[cli]"')

from recolib.cli import main
from recolib.cli.plan import Plan
from recolib.cli.servers import demo_movies
from recolib.serving import read_pointer
from tests.servers import ROOT, ask, served

BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
SERVERS = "serve", "demo"
FAST = ["--set", "n_epochs=2", "--set", "embed_size=8"]


def blocks(page: str, language: str = "") -> Iterator[str]:
    for found, text in BLOCK.findall((ROOT / "docs" / page).read_text("utf-8")):
        if found == language:
            yield text


def commands(page: str, program: str) -> list[list[str]]:
    """The arguments of a program in the blocks of a page."""
    lines = [line for text in blocks(page) for line in text.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"{program} ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tables of the page."""
    folder = tmp_path_factory.mktemp("page")
    frame = demo_movies().head(8000)
    frame.head(7800).to_csv(folder / "movies.csv", index=False)
    frame.tail(200).to_csv(folder / "new.csv", index=False)
    frame[["user"]].head(20).to_parquet(folder / "users.parquet")
    return folder


def test_commands_of_the_page_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    done: set[str] = set()
    for arguments in commands("command_line.md", "recolib"):
        done.add(arguments[0])
        if arguments[0] in SERVERS or arguments[0].startswith("--"):
            continue
        fast = FAST if arguments[0] == "fit" and "--only-plan" not in arguments else []
        assert main([*arguments, *fast]) == 0, (arguments, capsys.readouterr().err)
    assert done >= {"fit", "recommend", "similar", "explain", "evaluate", "update", "forget", "doctor", *SERVERS}


def test_the_plan_of_the_page_is_one(tmp_path: Path) -> None:
    (text,) = blocks("command_line.md", "toml")
    (tmp_path / "plan.toml").write_text(text)
    plan = Plan.read(tmp_path / "plan.toml")
    assert plan.algorithm == "DeepFM"
    assert set(plan.features) == set(tomllib.loads(text)["features"])


def test_the_server_of_the_page_answers_its_requests(place: Path, tmp_path: Path) -> None:
    table, pointer = str(place / "movies.csv"), tmp_path / "models" / "CURRENT"
    assert main(["fit", table, "--out", str(pointer), "--test", "0", "--json", *FAST]) == 0
    arguments = next(one for one in commands("serving.md", "recolib") if len(one) == 2)
    with served(tmp_path, "-m", "recolib.cli", *arguments, "--port", "{port}") as (url, process):
        requests = commands("serving.md", "curl")
        assert len(requests) == 2
        for address, *more in requests:
            path = address.removeprefix("http://127.0.0.1:8000")
            assert ask(f"{url}{path}", more[more.index("-d") + 1].encode())[0] == 200
        assert (tmp_path / "models" / "events.sqlite").is_file()
        version = ask(f"{url}/readyz")[1]["model_version"]
    assert version == read_pointer(pointer).name
    assert process.returncode in (0, -15)
    assert '"message": "request"' in (tmp_path / "log").read_text()


def test_code_of_the_page_publishes_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("serving.md", "python")
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert read_pointer("models/CURRENT").name == "movies-1"


def test_workers_of_the_command_line_answer(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "models", tmp_path / "models")
    token = tmp_path / "token"
    token.write_text("secret")
    options = ["--workers", "2", "--port", "{port}", "--token-file", str(token), "--history", "none"]
    options += ["--beside", "models/CURRENT"]
    with served(tmp_path, "-m", "recolib.cli", "serve", *options) as (url, _):
        assert ask(f"{url}/v1/recommend", {"users": [1]})[0] == 401
        assert ask(f"{url}/v1/recommend", {"users": [1]}, "secret")[0] == 200
        assert ask(f"{url}/v1/recommend", {"users": [1], "version": "beside"}, "secret")[0] == 200
        assert ask(f"{url}/v1/events", {"events": [{"user": 1, "item": 1}]}, "secret")[0] == 404


def test_the_demo_serves_what_it_says(tmp_path: Path) -> None:
    options = ["--folder", str(tmp_path / "demo"), "--n-epochs", "1", "--port", "{port}"]
    with served(tmp_path, "-m", "recolib.cli", "demo", *options) as (url, _):
        text = (tmp_path / "log").read_text()
        assert f"serving at {url}" in text
        body = re.search(r"-d '(.*)'", text)
        assert body is not None
        status, answer = ask(f"{url}/v1/recommend", body[1].encode())
        assert status == 200
        assert [one["known"] for one in answer["results"]] == [True, False]
        assert "No." in answer["results"][0]["items"][0]["columns"]["title"]
