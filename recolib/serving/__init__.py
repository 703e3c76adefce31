"""An HTTP server of lists, predictions, neighbours and reasons, whose model can be replaced while it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recolib.serving.history import Event, History, HistoryError, open_history
from recolib.serving.pointer import Version, publish, read_pointer

if TYPE_CHECKING:
    from recolib.serving.app import create_app, from_environment

__all__ = [
    "Event",
    "History",
    "HistoryError",
    "Version",
    "create_app",
    "from_environment",
    "open_history",
    "publish",
    "read_pointer",
]


def __getattr__(name: str) -> Any:
    """The application. FastAPI is imported when it is asked for: that takes a while, and most commands do without."""
    if name not in ("create_app", "from_environment"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from recolib.serving import app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("recolib"):
            raise
        raise ImportError(f'the server needs {error.name}: pip install "recolib[serving]"') from error
    return getattr(app, name)
