"""Requests that are generated from the description of the routes, right and wrong ones, are answered as it says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from recolib.serving import create_app

schemathesis = pytest.importorskip("schemathesis", reason="there is no schemathesis: pip install schemathesis")

from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::recolib.exceptions.RecolibWarning")
N_CASES = int(os.environ.get("RECOLIB_GENERATED_CASES", "60"))
"""Of each route and mode."""


@pytest.fixture(scope="module")
def described(pointer: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    app = create_app(pointer, history=tmp_path_factory.mktemp("store") / "events.sqlite")
    return schemathesis.openapi.from_asgi("/openapi.json", app)


ROUTES = [
    *(("POST", f"/v1/{name}") for name in ("recommend", "predict", "similar", "explain", "events")),
    *(("GET", path) for path in ("/v1/items", "/v1/users", "/v1/model", "/healthz", "/readyz", "/metrics")),
]
N_WITH_INPUT = 7


CASES = [(*route, "POSITIVE") for route in ROUTES] + [(*route, "NEGATIVE") for route in ROUTES[:N_WITH_INPUT]]
"""What has no input cannot be asked wrongly."""


@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_generated_requests_are_answered_as_described(described: Any, method: str, path: str, mode: str) -> None:
    operation = described[path][method]
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
