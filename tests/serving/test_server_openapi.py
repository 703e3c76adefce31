"""The description of the routes: its examples run, and it names what may be answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from recolib.serving import create_app

pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")


def test_each_example_runs(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    n_run = 0
    for path, methods in document["paths"].items():
        if "post" not in methods:
            continue
        reference = methods["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
        for example in schema["examples"]:
            assert client.post(path, json=example).status_code == 200, path
            n_run += 1
    assert n_run == 5


def test_the_description_names_every_refusal_and_the_token(pointer: Path, client: TestClient) -> None:
    post = client.get("/openapi.json").json()["paths"]["/v1/recommend"]["post"]
    assert {"200", "400", "401", "408", "413", "422", "503"} <= set(post["responses"])
    assert "security" not in post
    document = create_app(pointer, token="secret").openapi()
    assert document["paths"]["/v1/recommend"]["post"]["security"] == [{"token": []}]
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "secret" not in str(document["components"]["securitySchemes"])
