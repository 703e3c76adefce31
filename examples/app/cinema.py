"""A small cinema: sign up, choose among ten movies or search for one, and the next ten know it.

``uvicorn --factory cinema:create`` serves it. It asks a recolib server at the address in RECOMMENDER; without one it
has its own inside.
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from html import escape
from typing import Annotated, Any
from urllib.parse import parse_qsl

import httpx
from fastapi import Cookie, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from places import HISTORY, POINTER, database

from recolib.serving import create_app
from recolib.serving.environment import read_token

Session = Annotated[str, Cookie()]
AGES = 1, 18, 25, 35, 45, 50, 56
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Cinema</title>
<meta name="viewport" content="width=device-width"><style>body {{ font: 1.1rem system-ui; max-width: 40rem;
margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }} button {{ font: inherit }}</style>
<h1>Cinema</h1>{body}</html>"""
SIGN_UP = """<form method="post" action="/sign-up"><p><label>Sex <select name="sex"><option>F<option>M</select></label>
<label>Age from <select name="age">{ages}</select></label> <button>Sign up</button></form>"""
SEARCH = """<form action="/search"><label>Search <input name="query"></label> <button>Search</button></form>"""
MOVIE = """<li><form method="post" action="/watch"><input type="hidden" name="by" value="{by}">
<button name="item" value="{item}">Watch</button> {title}</form>"""


def create() -> FastAPI:
    """The application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            address, transport, token = os.environ.get("RECOMMENDER"), None, read_token(os.environ)
            if address is None:
                inside = create_app(POINTER, token, history=HISTORY)
                await stack.enter_async_context(inside.router.lifespan_context(inside))
                transport = httpx.ASGITransport(inside)
            client = httpx.AsyncClient(base_url=address or "http://inside", transport=transport, timeout=2)
            client.headers["Authorization"] = f"Bearer {token}"
            app.state.recommender = await stack.enter_async_context(client)
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    async def ask(method: str, path: str, json: object = None, params: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = await app.state.recommender.request(method, path, json=json, params=params)
        answer.raise_for_status()
        return answer.json()

    @app.exception_handler(httpx.HTTPError)
    async def sorry(request: Request, error: Exception) -> HTMLResponse:
        """What people see while the recommender does not answer."""
        return page("<p>No suggestions at the moment: come again soon.", 503)

    @app.get("/")
    async def movies(session: Session = "") -> HTMLResponse:
        """Ten movies for whoever signed up, and a form for all others."""
        account = account_of(session)
        if account is None:
            ages = "".join(f"<option>{age}" for age in AGES)
            return page(SIGN_UP.format(ages=ages))
        user, sex, age = account
        body = {
            "users": [user],
            "user_feats": {"sex": sex, "age": age},
            "cold_start": "features",
            "columns": ["title"],
        }
        answer = await ask("POST", "/v1/recommend", json=body)
        return movie_page(
            answer["results"][0]["items"], "list", f"<p><small>by {escape(answer['model_version'])}</small>"
        )

    @app.get("/search")
    async def search(query: str = "") -> HTMLResponse:
        """Movies whose titles have all words of a query."""
        answer = await ask("GET", "/v1/items", params={"query": query[:256], "limit": 10})
        return movie_page(answer["items"], "search", '<p><a href="/">Back</a>')

    @app.post("/sign-up")
    async def sign_up(request: Request) -> RedirectResponse:
        """A new account: what it says of itself is all that is known."""
        form, session = await form_of(request), secrets.token_urlsafe()
        if form.get("sex") not in ("F", "M") or form.get("age") not in map(str, AGES):
            raise HTTPException(422, "sex and age are needed")
        with database() as tables:
            tables.execute(
                "INSERT INTO users (sex, age, session) VALUES (?, ?, ?)", (form["sex"], int(form["age"]), session)
            )
        answer = RedirectResponse("/", 303)
        answer.set_cookie("session", session, httponly=True, samesite="lax")
        return answer

    @app.post("/watch")
    async def watch(request: Request, session: Session = "") -> RedirectResponse:
        """A click: an event, which the next list knows. Those by search can tell which version is better."""
        account, form = account_of(session), await form_of(request)
        item = form.get("item", "")
        if account is None or not (item.isascii() and item.isdecimal()):
            raise HTTPException(422, "a session and a movie are needed")
        await ask("POST", "/v1/events", json={"events": [{"user": account[0], "item": int(item)}]})
        if form.get("by") == "search":
            with database() as tables:
                tables.execute("INSERT OR IGNORE INTO searched VALUES (?, ?)", (account[0], int(item)))
        return RedirectResponse("/", 303)

    return app


def account_of(session: str) -> tuple[int, str, int] | None:
    """The user of a session, with their features."""
    with database() as tables:
        return tables.execute("SELECT user, sex, age FROM users WHERE session = ?", (session,)).fetchone()


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form."""
    return dict(parse_qsl((await request.body()).decode(errors="replace")))


def movie_page(items: list[dict[str, Any]], by: str, more: str) -> HTMLResponse:
    """Movies with a button each, and the search."""
    rows = [MOVIE.format(by=by, item=one["item"], title=escape(one["columns"]["title"])) for one in items]
    return page(f"{SEARCH}<ol>{''.join(rows)}</ol>{more}")


def page(body: str, status: int = 200) -> HTMLResponse:
    """A page."""
    return HTMLResponse(PAGE.format(body=body), status, {"Cache-Control": "no-store"})
