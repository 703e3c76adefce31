"""OpenAPI: what the description of the routes says beyond what FastAPI finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from recolib.serving import schemas
from recolib.serving.limits import OPEN

REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": schemas.Refusal, "description": "The body is no JSON, or was cut off."},
    401: {"model": schemas.Refusal, "description": "A token is needed."},
    408: {"model": schemas.Refusal, "description": "The body came too slowly."},
    413: {"model": schemas.Refusal, "description": "The body is too long."},
    503: {"model": schemas.Refusal, "description": "Too many requests wait, or no model is served."},
}
NAMES = frozenset(
    name
    for thing in vars(schemas).values()
    if isinstance(thing, type) and issubclass(thing, BaseModel)
    for name in thing.model_fields
)
MOST_PARTS = 8


def loc_without_input(loc: Sequence[str | int]) -> list[str | int]:
    """Where an error is: names of our own and positions; a name that came with the request is ``*``."""
    known = {"body", "query", *NAMES}
    return [part if isinstance(part, int) or part in known else "*" for part in loc[:MOST_PARTS]]


def described(app: FastAPI, needs_token: bool) -> None:
    """Complete the description: exact bounds of integers, the token, and what the history store answers."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            _exact(document)
            document["paths"]["/v1/events"]["post"]["responses"]["404"] = {
                "description": "The server has no history store.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
            }
            if needs_token:
                schemes = document.setdefault("components", {})
                schemes["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                for path, methods in document["paths"].items():
                    for method in methods.values():
                        method["security"] = [] if path in OPEN else [{"token": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi


def _exact(node: Any) -> None:
    """Undo the rounding of bounds to floats, in place: 2^63 is no bound of 64 bits."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "maximum" and isinstance(value, float) and value.is_integer():
                node[name] = min(int(value), schemas.MAX_INT)
            elif name == "minimum" and isinstance(value, float) and value.is_integer():
                node[name] = int(value)
            else:
                _exact(value)
    elif isinstance(node, list):
        for value in node:
            _exact(value)
