"""Logs: a line of JSON for each request, without ids unless they are asked for."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from datetime import UTC, datetime
from typing import TextIO

from recolib.exceptions import RecolibWarning

LOG = logging.getLogger("recolib.serving")


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": moment, "level": record.levelname.lower(), "message": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def write_logs(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Write the server's logs, and uvicorn's, as lines of JSON; once, however often it is called."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("recolib.serving", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False


def silence_warnings() -> None:
    """Leave out what recolib warns of requests: it holds their ids, and answers say ``known``."""
    warnings.filterwarnings("ignore", category=RecolibWarning)
