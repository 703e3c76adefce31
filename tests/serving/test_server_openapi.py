"""The description of the routes: its examples run, and what is generated from it is answered as it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.testclient import TestClient

from recolib.serving import create_app

pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")
N_CASES = 60
"""A route."""


@pytest.fixture(scope="module")
def described(pointer: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    app = create_app(pointer, history=tmp_path_factory.mktemp("store") / "events.sqlite")
    return schemathesis.openapi.from_asgi("/openapi.json", app)


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


ROUTES = [
    *(("POST", f"/v1/{name}") for name in ("recommend", "predict", "similar", "explain", "events")),
    *(("GET", path) for path in ("/v1/items", "/healthz", "/readyz", "/metrics")),
]


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_generated_requests_are_answered_as_described(described: Any, method: str, path: str, mode: str) -> None:
    operation = described[path][method]
    has_input = method == "POST" or path == "/v1/items"
    if not has_input and mode == "NEGATIVE":
        pytest.skip("a request without input cannot be wrong")
    strategy = operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode])

    @settings(
        max_examples=N_CASES, deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck]
    )
    @given(case=strategy)
    def check(case: Any) -> None:
        response = case.call()
        # which columns there are the model says, not the description
        is_models = response.status_code == 422 and response.json()["detail"][0].get("type") == "refused"
        excluded = [positive_data_acceptance] if is_models else []
        if response.status_code == 413:  # which schemathesis does not count as a refusal
            excluded.append(negative_data_rejection)
        case.validate_response(response, excluded_checks=excluded)

    check()


def test_all_routes_are_generated_for(described: Any) -> None:
    found = {(result.ok().method.upper(), result.ok().path) for result in described.get_all_operations()}
    assert found == {*ROUTES}
