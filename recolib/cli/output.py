"""Output: tables for people, JSON for programs."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from recolib.serving.columns import as_json

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
MAX_WIDTH = 72
"""Characters of a cell that are shown."""
Row = Mapping[str, Any]


def show(answer: Mapping[str, Any], as_program: bool) -> None:
    """Print what a command found: lists of rows as tables, and the rest as lines of names and values."""
    if as_program:
        print(json.dumps(plain(answer), ensure_ascii=False))
        return
    rest = {name: value for name, value in answer.items() if not is_table(value)}
    width = max((len(name) for name in rest), default=0)
    for name, value in rest.items():
        print(f"{name:<{width}}  {cell(value, None)}")
    for name, value in answer.items():
        if is_table(value):
            print(f"\n{name}")
            print("\n".join(table(value)))


def say(text: str, as_program: bool) -> None:
    """Tell people how far it is."""
    if not as_program:
        print(text, flush=True)


def table(rows: Sequence[Row]) -> list[str]:
    """Rows as lines of columns; numbers stand to the right."""
    if not rows:
        return ["  (none)"]
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[cell(row.get(name, "")) for name in names] for row in rows]
    widths = [max(map(shown_width, column)) for column in zip(names, *cells, strict=True)]
    right = [all(isinstance(row.get(name, 0), int | float) for row in rows) for name in names]
    lines = [names, *cells]
    return ["  " + "  ".join(map(padded, line, widths, right)).rstrip() for line in lines]


def padded(text: str, width: int, to_the_right: bool) -> str:
    """A text with blanks before or behind it."""
    blanks = " " * (width - shown_width(text))
    return blanks + text if to_the_right else text + blanks


def shown_width(text: str) -> int:
    """How many places a text takes in a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def cell(value: object, most: int | None = MAX_WIDTH) -> str:
    """A value as people read it, of at most so many characters."""
    value = as_json(value)
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.1f}"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return text if most is None or len(text) <= most else f"{text[: most - 1]}…"


def is_table(value: object) -> bool:
    """Whether a value is a list of rows."""
    return isinstance(value, list) and all(isinstance(row, Mapping) for row in value)


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return as_json(value)
