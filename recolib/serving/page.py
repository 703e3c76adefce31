"""Page: a file of HTML that shows what a model answers, and the headers that hold it to this server."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from fastapi import FastAPI, Response

FILE = Path(__file__).with_name("page.html")
INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def add_page(app: FastAPI) -> None:
    """Add the page at ``/``. It has no data of its own: what it shows it asks of the other routes."""
    content = FILE.read_text("utf-8")
    headers = {
        "Content-Security-Policy": content_policy(content),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(content, headers=headers, media_type="text/html")


def content_policy(content: str) -> str:
    """What a browser lets the page do: run its own script, have its own style, and ask this server alone."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in INLINE.findall(content):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(hashes["script"]),
        "style-src": " ".join(hashes["style"]),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {rule}" for name, rule in rules.items())
