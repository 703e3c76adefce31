from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from recolib.recommender import Recommender
from tests.servers import shop, shop_model

pytest.importorskip("fastapi", reason='there is no fastapi: pip install "recolib[serving]"')

from starlette.testclient import TestClient

from recolib.serving import create_app, publish


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return shop()


@pytest.fixture(scope="session")
def model(frame: pd.DataFrame) -> Recommender:
    return shop_model(frame)


@pytest.fixture(scope="session")
def pointer(model: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return publish(folder / "CURRENT", model.save(folder, "m1"))


@pytest.fixture
def client(pointer: Path, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(pointer, history=tmp_path / "events.sqlite")) as client:
        yield client
