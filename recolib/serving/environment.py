"""Environment variables that a server is told by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

TOKEN, TOKEN_FILE = "RECOLIB_TOKEN", "RECOLIB_TOKEN_FILE"
POINTER, HISTORY, LOG_IDS = "RECOLIB_POINTER", "RECOLIB_HISTORY", "RECOLIB_LOG_IDS"
BESIDE = "RECOLIB_BESIDE"
THREADS, QUEUE, MAX_BODY = "RECOLIB_THREADS", "RECOLIB_QUEUE", "RECOLIB_MAX_BODY"


def read_token(environment: Mapping[str, str]) -> str | None:
    """The token that the environment has, or the file that it names; None if neither is there.

    Raises
    ------
    ValueError
        If there are both, or the token is empty.
    """
    token, file = environment.get(TOKEN), environment.get(TOKEN_FILE)
    if token is not None and file is not None:
        raise ValueError(f"give {TOKEN} or {TOKEN_FILE}, not both")
    if file is not None:
        token = Path(file).read_text("utf-8").strip()
    if token is not None and not token:
        raise ValueError("the token is empty")
    return token
