"""The command line: ``recolib fit data.csv``, and what one asks of a model then."""

try:
    from recolib.cli.app import main
except ModuleNotFoundError as error:
    if (error.name or "").startswith("recolib"):
        raise
    raise ImportError(f'the command line needs {error.name}: pip install "recolib[cli]"') from error

__all__ = ["main"]
