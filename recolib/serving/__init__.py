"""An HTTP server of lists, predictions, neighbours and reasons, whose model can be replaced while it answers."""

try:
    from recolib.serving.app import create_app, from_environment
except ModuleNotFoundError as error:
    if (error.name or "").startswith("recolib"):
        raise
    raise ImportError(f'the server needs {error.name}: pip install "recolib[serving]"') from error
from recolib.serving.history import Event, History, HistoryError, open_history
from recolib.serving.pointer import Version, publish, read_pointer

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
