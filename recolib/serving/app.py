"""The application: routes of HTTP, and what each asks the service."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from recolib.checks import check_integer
from recolib.serving.answers import explain, predict, search, search_users, similar
from recolib.serving.arguments import RefusedRequest
from recolib.serving.environment import BESIDE, HISTORY, LOG_IDS, MAX_BODY, POINTER, QUEUE, THREADS, read_token
from recolib.serving.history import Event, HistoryError, now, open_history
from recolib.serving.limits import Direct, Gate, Limits
from recolib.serving.metrics import ServerMetrics
from recolib.serving.models import Served
from recolib.serving.openapi import REFUSALS, described, loc_without_input
from recolib.serving.page import add_page
from recolib.serving.schemas import (
    MAX_QUERY,
    MAX_REC,
    MAX_USERS,
    EventsAnswer,
    EventsRequest,
    ExplainAnswer,
    ExplainRequest,
    ItemsAnswer,
    ModelAnswer,
    PredictAnswer,
    PredictRequest,
    Ready,
    RecommendAnswer,
    RecommendRequest,
    SimilarAnswer,
    SimilarRequest,
    UsersAnswer,
)
from recolib.serving.service import Service, is_plain

ANSWER = TypeAdapter(dict[str, Any])


def create_app(
    pointer: str | os.PathLike[str],
    token: str | None = None,
    history: str | os.PathLike[str] | None = None,
    max_body: int = 65536,
    threads: int = 2,
    queue: int = 256,
    *,
    log_ids: bool = False,
    beside: str | os.PathLike[str] | None = None,
) -> FastAPI:
    """An ASGI application that answers for a model, and takes over a new one while it does.

    Parameters
    ----------
    pointer
        A file such as ``models/CURRENT`` that names the model's; see ``publish``. Or a model's file.
    token
        What requests must bring as ``Authorization: Bearer``, but those of health; None lets everybody in.
    history
        Where events are stored: a file, for SQLite, or the address of a PostgreSQL database; None stores none.
    max_body
        The most bytes that a request's body may have.
    threads
        How many threads compute, each on one core.
    queue
        How many requests may wait for them; further ones get 503 with ``Retry-After``.
    log_ids
        Whether logs have the ids of users.
    beside
        The pointer of a second model, for requests that say ``version="beside"``: to compare it with the one served.

    Returns
    -------
    FastAPI
        For ``uvicorn.run`` or any other ASGI server. The model is loaded now; if that fails, ``/readyz`` says why,
        and the pointer is watched for a better one.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range.
    HistoryError
        If the history store cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> import recolib
    >>> from recolib.datasets import make_movies
    >>> from recolib.serving import create_app, publish
    >>> data, info = recolib.DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = recolib.FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     app = create_app(publish(f"{folder}/CURRENT", model.save(folder, "m1")))
    >>> sorted(path for path in app.openapi()["paths"] if path.startswith("/v1"))[:3]
    ['/v1/events', '/v1/explain', '/v1/items']
    """
    for name, value, least in (("max_body", max_body, 1024), ("threads", threads, 1), ("queue", queue, 0)):
        check_integer(name, value, least)
    if token is not None and not token:
        raise ValueError("token must not be empty: None lets everybody in")
    metrics = ServerMetrics()
    store = None if history is None else open_history(history)
    service = Service(pointer, store, threads, metrics, beside)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(title="recolib", version="1", lifespan=lifespan, docs_url=None, redoc_url=None, responses=REFUSALS)
    _add_lists(app, service, log_ids)
    _add_more(app, service)
    _add_catalogue(app, service)
    _add_state(app, service)
    add_page(app)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(RefusedRequest, _refused)
    app.add_exception_handler(HistoryError, _no_history)
    paths = [path for route in app.routes if (path := getattr(route, "path", None))]
    limits, direct = Limits(token, max_body, threads + queue), {"/v1/recommend": _direct_lists(service, log_ids)}
    app.add_middleware(Gate, limits=limits, metrics=metrics, routes=paths, direct=direct)
    described(app, needs_token=token is not None)
    return app


def _add_lists(app: FastAPI, service: Service, log_ids: bool) -> None:
    """Lists, and what was consumed since the model was trained."""

    @app.post("/v1/recommend", response_model=RecommendAnswer)
    async def recommend(ask: RecommendRequest, request: Request) -> Response:
        """The best items for each of up to 64 users, best first."""
        served = _served(service, ask.version)
        return _json(await _lists(service, served, ask, request.scope["recolib"], log_ids))

    @app.post("/v1/events", response_model=EventsAnswer)
    async def events(ask: EventsRequest) -> Response:
        """Store what users consumed: from now on it is left out of their lists, which it also shapes."""
        if service.history is None:
            raise HTTPException(404, "this server has no history store")
        moment = now()
        some = [Event(one.user, one.item, moment if one.time is None else one.time) for one in ask.events]
        return _json({"stored": await service.run(lambda: service.add(some))})


def _direct_lists(service: Service, log_ids: bool) -> Direct:
    """Answers requests that wish nothing but lists; faults are left to the routes, which name them."""

    async def answer(body: bytes, fields: dict[str, Any]) -> bytes | None:
        served = service.models.current
        try:
            ask = RecommendRequest.model_validate_json(body)
            if served is None or ask.version != "current" or not is_plain(served, ask):
                return None
            return ANSWER.dump_json(await _lists(service, served, ask, fields, log_ids))
        except (ValidationError, RefusedRequest):
            return None

    return answer


async def _lists(
    service: Service, served: Served, ask: RecommendRequest, fields: dict[str, Any], log_ids: bool
) -> dict[str, Any]:
    """Lists, counted, and what the log says of them."""
    answer = await service.recommend(served, ask)
    n_known = sum(one["known"] for one in answer["results"])
    if n_known:
        service.metrics.users.labels("true").inc(n_known)
    if n_known < len(ask.users):
        service.metrics.users.labels("false").inc(len(ask.users) - n_known)
    fields.update(model_version=served.version.name, n_users=len(ask.users))
    if log_ids:
        fields["users"] = ask.users
    return answer


def _add_more(app: FastAPI, service: Service) -> None:
    """Predictions, neighbours and reasons."""

    @app.post("/v1/predict", response_model=PredictAnswer)
    async def predict_pairs(ask: PredictRequest) -> Response:
        """How much users would like items: a probability, or a rating."""
        served = _served(service, ask.version)
        return _json(await service.run(lambda: predict(served, ask)))

    @app.post("/v1/similar", response_model=SimilarAnswer)
    async def similar_items(ask: SimilarRequest) -> Response:
        """The items that the same users like."""
        served = _served(service, ask.version)
        return _json(await service.run(lambda: similar(served, ask)))

    @app.post("/v1/explain", response_model=ExplainAnswer)
    async def explain_pair(ask: ExplainRequest) -> Response:
        """What adds up to a score."""
        served = _served(service, ask.version)
        return _json(await service.run(lambda: explain(served, ask, service.consumed([ask.user]))))


def _add_catalogue(app: FastAPI, service: Service) -> None:
    """What the model is, and whom and what it knows."""

    @app.get("/v1/model", response_model=ModelAnswer)
    async def model() -> Response:
        """What the model is, and what requests may name: columns, their kinds and some of their values."""
        served = _served(service)
        beside = None if service.beside is None else service.beside.current
        about = await service.run(lambda: served.about)
        more = {"beside": None if beside is None else beside.version.name, "history": service.history is not None}
        return _json(about | more)

    @app.get("/v1/users", response_model=UsersAnswer)
    async def users(
        query: Annotated[str, Query(max_length=MAX_QUERY, description="A part of an id.")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_USERS)] = 20,
    ) -> Response:
        """Known users whose id has a text in it: first the id itself, then who consumed most."""
        served = _served(service)
        return _json(await service.run(lambda: search_users(served, query, limit)))

    @app.get("/v1/items", response_model=ItemsAnswer)
    async def items(
        query: Annotated[str, Query(max_length=MAX_QUERY, description="Words of an id or of any text.")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_REC)] = 20,
    ) -> Response:
        """Items whose id or texts have all words of a query, the most popular first."""
        served = _served(service)
        return _json(await service.run(lambda: search(served, query, limit)))


def _add_state(app: FastAPI, service: Service) -> None:
    """What watches a server asks."""

    @app.get("/healthz")
    async def healthz() -> dict[str, bool]:
        """Whether the process answers."""
        return {"alive": True}

    @app.get("/readyz", response_model=Ready, responses={503: {"model": Ready}})
    async def readyz() -> Response:
        """Whether a model is served, which, and why the newest is not."""
        served, error = service.models.current, service.models.error
        version = None if served is None else served.version.name
        answer: dict[str, Any] = {"ready": served is not None, "model_version": version, "error": error, "beside": None}
        if (models := service.beside) is not None:
            name = None if models.current is None else models.current.version.name
            answer["beside"] = {"model_version": name, "error": models.error}
        return _json(answer, 503 * (not served) or 200)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """The numbers of this server, as Prometheus reads them."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def from_environment() -> FastAPI:
    """The application that environment variables describe, for servers that start workers of their own.

    ``RECOLIB_POINTER`` is needed. ``RECOLIB_TOKEN``, or the file ``RECOLIB_TOKEN_FILE``, has the token;
    ``RECOLIB_HISTORY`` is the history store; ``RECOLIB_BESIDE`` the pointer of a second model; ``RECOLIB_THREADS``,
    ``RECOLIB_QUEUE``, ``RECOLIB_MAX_BODY`` and ``RECOLIB_LOG_IDS`` are the other arguments of ``create_app``.

    Examples
    --------
    ``RECOLIB_POINTER=models/CURRENT uvicorn --factory recolib.serving:from_environment --workers 2``

    Raises
    ------
    ValueError
        If a variable is missing or wrong.
    """
    pointer = os.environ.get(POINTER)
    if not pointer:
        raise ValueError(f"{POINTER} must name the pointer, such as models/CURRENT")
    numbers = {"threads": THREADS, "queue": QUEUE, "max_body": MAX_BODY}
    given = {argument: _number(name) for argument, name in numbers.items() if name in os.environ}
    history = os.environ.get(HISTORY) or None
    token, log_ids, beside = read_token(os.environ), os.environ.get(LOG_IDS) == "1", os.environ.get(BESIDE) or None
    return create_app(pointer, token, history, **given, log_ids=log_ids, beside=beside)


def _number(name: str) -> int:
    value = os.environ[name]
    if not value.isdecimal():
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return int(value)


def _served(service: Service, version: str = "current") -> Served:
    models = service.models if version == "current" else service.beside
    if models is None:
        raise RefusedRequest(("version",), "it must be 'current': this server has no model beside that one")
    served = models.current
    if served is None:
        raise HTTPException(503, "no model is served: see /readyz", {"Retry-After": "1"})
    return served


def _json(answer: dict[str, Any], status: int = 200) -> Response:
    return Response(ANSWER.dump_json(answer), status, media_type="application/json")


async def _invalid(request: Request, error: Exception) -> Response:
    """What is wrong and where, without what came: it may be anything, and logs and pages would show it."""
    assert isinstance(error, RequestValidationError)
    detail = [{"loc": loc_without_input(one["loc"]), "msg": one["msg"], "type": one["type"]} for one in error.errors()]
    return _json({"detail": detail}, 422)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedRequest)
    detail = {"loc": ["body", *error.where], "msg": error.rule, "type": "refused"}
    return _json({"detail": [detail]}, 422)


async def _no_history(request: Request, error: Exception) -> Response:
    response = _json({"detail": "the history store fails: come again"}, 503)
    response.headers["Retry-After"] = "1"
    return response
