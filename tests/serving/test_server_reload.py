"""A model is replaced while the server answers."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from recolib.recommender import Recommender
from recolib.serving import Event, History, create_app, open_history, publish, read_pointer
from recolib.serving.metrics import ServerMetrics
from recolib.serving.models import Models, Watcher
from recolib.serving.service import Service
from tests.servers import shop, shop_model

pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, a and b; every id of a model's items begins with its name."""
    folder = tmp_path_factory.mktemp("versions")
    for name in ("a", "b"):
        shop_model(shop(name), seed=ord(name)).save(folder, name)
    return folder


@pytest.fixture
def folder(files: Path, tmp_path: Path) -> Path:
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    publish(tmp_path / "CURRENT", "a.safetensors")
    return tmp_path


def version_of(client: TestClient) -> Any:
    return client.get("/readyz").json()


def wait_for(client: TestClient, condition: Any) -> None:
    end = time.monotonic() + 30
    while not condition(version_of(client)):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_no_answer_mixes_versions(folder: Path) -> None:
    with TestClient(create_app(folder / "CURRENT", threads=3)) as client:
        seen: set[str] = set()
        wrong: list[Any] = []
        is_over = threading.Event()

        def check(path: str, body: dict[str, Any]) -> None:
            while not is_over.is_set():
                answer = client.post(path, json=body)
                content = answer.json()
                version = content["model_version"]
                items = [one["item"] for result in content["results"] for one in result["items"]]
                seen.add(version)
                if answer.status_code != 200 or {item[0] for item in items} - {version}:
                    wrong.append((version, items))

        users = [1, 2, "Zoë", "new"]
        bodies = [{"users": users}, {"users": users, "columns": ["title"], "max_per_group": {"genre": 2}}]
        threads = [threading.Thread(target=check, args=("/v1/recommend", body)) for body in bodies * 2]
        for thread in threads:
            thread.start()
        for name in "babab":
            publish(folder / "CURRENT", f"{name}.safetensors")
            wait_for(client, lambda ready, name=name: ready["model_version"] == name)
        is_over.set()
        for thread in threads:
            thread.join()
        assert not wrong
        assert seen == {"a", "b"}


def test_a_broken_version_leaves_the_one_before(folder: Path) -> None:
    content = bytearray((folder / "b.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "c.safetensors").write_bytes(content)
    with TestClient(create_app(folder / "CURRENT")) as client:
        publish(folder / "CURRENT", "c.safetensors")
        wait_for(client, lambda ready: ready["error"] is not None)
        ready = version_of(client)
        assert ready["ready"]
        assert ready["model_version"] == "a"
        assert "c.safetensors cannot be read: its checksum" in ready["error"]
        assert str(folder) not in ready["error"]
        assert client.post("/v1/recommend", json={"users": [1]}).json()["model_version"] == "a"
        assert "recolib_model_failed_loads_total 1.0" in client.get("/metrics").text
        publish(folder / "CURRENT", "b.safetensors")
        wait_for(client, lambda ready: ready["model_version"] == "b")
        assert version_of(client)["error"] is None
        text = client.get("/metrics").text
        assert 'recolib_model_served{model_version="a"} 0.0' in text
        assert 'recolib_model_served{model_version="b"} 1.0' in text


def test_a_server_may_start_before_its_model(files: Path, tmp_path: Path) -> None:
    with TestClient(create_app(tmp_path / "CURRENT")) as client:
        assert client.get("/healthz").status_code == 200
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["error"].startswith("there is no pointer CURRENT")
        refused = client.post("/v1/recommend", json={"users": [1]})
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        (tmp_path / "CURRENT").write_text("a.safetensors\n")
        wait_for(client, lambda ready: "there is no file a.safetensors" in (ready["error"] or ""))
        shutil.copy(files / "a.safetensors", tmp_path / "a.safetensors")
        wait_for(client, lambda ready: ready["ready"])


def test_a_models_own_file_can_be_served(files: Path) -> None:
    with TestClient(create_app(files / "a.safetensors")) as client:
        assert version_of(client)["model_version"] == "a"


def test_what_the_new_model_was_trained_on_leaves_the_store(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "events.sqlite"
    with open_history(store) as history:
        history.add([Event(1, "a1", 100.0), Event(1, "a2", 300.0)])
    with TestClient(create_app(folder / "CURRENT", history=store)) as client:
        publish(folder / "CURRENT", "b.safetensors", data_until=200.0)
        wait_for(client, lambda ready: ready["model_version"] == "b")
    with open_history(store) as history:
        assert history.get([1]) == {1: ["a2"]}


def test_a_store_that_fails_leaves_lists(folder: Path, tmp_path: Path) -> None:
    class Failing(History):
        def __init__(self) -> None:
            pass

        def _run(self, work: Any) -> Any:
            from recolib.serving import HistoryError

            raise HistoryError("the history store fails")

    metrics = ServerMetrics()
    service = Service(folder / "CURRENT", Failing(), 1, metrics)
    assert service.consumed([1]).items == {}
    assert b"recolib_history_failures_total 1.0" in metrics.text()


def test_a_pointer_says_what_it_was_told(folder: Path) -> None:
    version = read_pointer(publish(folder / "CURRENT", folder / "b.safetensors", data_until=1.5e9))
    assert (version.name, version.file, version.data_until) == ("b", folder / "b.safetensors", 1.5e9)
    assert read_pointer(folder / "a.safetensors").name == "a"
    with pytest.raises(FileNotFoundError, match="there is no model"):
        publish(folder / "CURRENT", "none.safetensors")
    with pytest.raises(ValueError, match="a moment of the past"):
        publish(folder / "CURRENT", "a.safetensors", data_until=1.5e12)
    with pytest.raises(FileNotFoundError, match="there is no pointer"):
        read_pointer(folder / "LATEST")


@pytest.mark.parametrize("text", ["", "../a.safetensors", "a.safetensors\nyesterday", "/etc/passwd", "a\0", "a" * 5000])
def test_pointers_of_other_text_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "CURRENT").write_text(text)
    with pytest.raises(ValueError, match="must hold the name of a model's file"):
        read_pointer(tmp_path / "CURRENT")
    (tmp_path / "CURRENT").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="must hold the name of a model's file"):
        read_pointer(tmp_path / "CURRENT")


def test_an_unchanged_pointer_loads_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    models = Models(folder / "CURRENT", served.append, lambda: None)
    models.refresh()
    models.refresh()
    assert len(served) == 1


def test_a_served_model_gets_warmer(folder: Path) -> None:
    models = Models(folder / "CURRENT", lambda served: None, lambda: None)
    models.refresh()
    watcher = Watcher(models, poll_s=0.01)
    end = time.monotonic() + 30
    while models.current is None or "texts" not in vars(models.current):
        assert time.monotonic() < end
        time.sleep(0.01)
    watcher.stop()


def test_a_model_is_warm_before_it_is_served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    models = Models(folder / "CURRENT", lambda served: asked.append("served"), lambda: None)
    for name in ("recommend_user", "predict"):
        method = getattr(Recommender, name)

        def noting(*args: Any, _name: str = name, _method: Any = method, **more: Any) -> Any:
            asked.append(_name)
            return _method(*args, **more)

        monkeypatch.setattr(Recommender, name, noting)
    models.refresh()
    assert asked[-1] == "served"
    assert {"recommend_user", "predict"} < set(asked)
