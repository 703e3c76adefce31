"""The application: all commands, and what becomes of errors."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

import typer
from typer.exceptions import Abort, TyperException

from recolib.cli import answers, doctor, forgetting, servers, training
from recolib.exceptions import RecolibWarning
from recolib.version import __version__

TRACEBACK = "RECOLIB_TRACEBACK"
EXIT_OF_ERRORS, EXIT_OF_INTERRUPTS = 2, 130
EXPECTED = (ValueError, TypeError, OSError, ImportError, FloatingPointError, MemoryError, RuntimeError, TyperException)
"""What says by its message alone what to do."""

app = typer.Typer(
    name="recolib",
    help="Train recommenders from a table, ask them, and serve them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (training, answers, forgetting, servers, doctor):
    module.register(app)


def show_version(wanted: bool) -> None:
    """Print the version, and end."""
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def start(
    version: bool = typer.Option(False, "--version", callback=show_version, is_eager=True, help="Print the version."),
) -> None:
    """Train recommenders from a table, ask them, and serve them."""
    warnings.showwarning = show_warning
    warnings.simplefilter("once", RecolibWarning)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    """Print what a library warns of as a line."""
    if issubclass(category, RecolibWarning):
        print(f"warning: {one_line(message)}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and give its exit code: 2 after an error, of which a line is printed."""
    try:
        code = app(arguments, standalone_mode=False)
    except (KeyboardInterrupt, Abort):
        return EXIT_OF_INTERRUPTS
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        said = error.format_message() if isinstance(error, TyperException) else str(error)
        if not isinstance(error, EXPECTED):
            said = f"{type(error).__name__}: {said}; {TRACEBACK}=1 shows where"
        print(f"error: {one_line(said) or type(error).__name__}", file=sys.stderr)
        return EXIT_OF_ERRORS
    return code if isinstance(code, int) else 0


def one_line(message: object) -> str:
    """A message without breaks, and without what would steer a terminal."""
    text = " ".join(str(message).split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
