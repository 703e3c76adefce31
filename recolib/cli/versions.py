"""Versions: models in a folder, each in a file of its own that never changes, and the pointer to the one in use."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from recolib import loading
from recolib.cli.plan import Plan
from recolib.data.info import DataInfo
from recolib.data.rows import UNKNOWN
from recolib.data.schema import Side
from recolib.data.times import read_times
from recolib.files import SUFFIX, local_path
from recolib.recommender import Recommender
from recolib.serving import publish, read_pointer

Pointer = Annotated[Path, typer.Option("--model", "-m", help="A pointer such as models/CURRENT, or a model's file.")]
CURRENT = Path("models/CURRENT")
STAMP = "%Y%m%d-%H%M%S"
PLAN, CARD = ".toml", ".md"
UNITS = 1, 1e3, 1e6, 1e9
"""How many of a unit of time make a second."""
EARLIEST = 5e8
"""Seconds since 1970 from which on numbers are taken for moments: 1985."""


@dataclass(frozen=True, eq=False)
class Version:
    """A model, and what was written beside it.

    Attributes
    ----------
    file
        Its file.
    model
        Loaded.
    data_until
        When its newest event happened, in seconds since 1970; None where that is unknown.
    """

    file: Path
    model: Recommender
    data_until: float | None

    @property
    def plan(self) -> Plan:
        """The plan that it was trained by.

        Raises
        ------
        FileNotFoundError
            If it does not stand beside the model.
        """
        file = self.file.with_suffix(PLAN)
        if not file.is_file():
            raise FileNotFoundError(f"there is no plan {file}, which says which column of the data is what")
        return Plan.read(file)


def open_version(pointer: Path, mapped: bool = False) -> Version:
    """The model that a pointer names; ``mapped``, its weights stay in the file."""
    version = read_pointer(pointer)
    return Version(version.file, loading.load(version.file, mapped=mapped), version.data_until)


def save_version(model: Recommender, plan: Plan, pointer: Path, name: str, data_until: float | None) -> Version:
    """Write a new version of a model, its plan and its card, and let the pointer name it."""
    folder = local_path(pointer, "model").parent
    file = model.save(folder, free_name(folder, name))
    plan.write(file.with_suffix(PLAN))
    model.model_card(file.with_suffix(CARD))
    publish(folder / pointer.name, file, data_until)
    return Version(file, model, data_until)


def free_name(folder: Path, name: str) -> str:
    """A name with the moment in it, which no file has yet."""
    stamped = f"{name}-{datetime.now(UTC).strftime(STAMP)}"
    found, n = stamped, 1
    while (folder / f"{found}{SUFFIX}").exists():
        n += 1
        found = f"{stamped}-{n}"
    return found


def name_without_moment(file: Path) -> str:
    """The name of a version without its moment."""
    parts = file.stem.split("-")
    while len(parts) > 1 and parts[-1].isdigit():
        parts.pop()
    return "-".join(parts)


def newest_moment(frames: Iterable[pd.DataFrame]) -> float | None:
    """When the newest event of some frames happened, in seconds since 1970; None where times do not say it."""
    newest = max(
        (float(read_times(pd.Series(one["time"]), "time").max()) for one in frames if "time" in one.columns),
        default=np.nan,
    )
    moments = [newest / unit for unit in UNITS if EARLIEST <= newest / unit <= time.time()]
    return moments[0] if moments else None


def id_of(info: DataInfo, side: Side, text: str) -> int | str:
    """The id that a text of the command line means: of the known ones, or of their kind.

    ``'"7"'`` is the text, where 7 is an integer as well.
    """
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    vocab = info.vocabs[side]
    number = int(text) if text.lstrip("-").isdecimal() and len(text) < 19 else None
    if number is not None and vocab.code(number) != UNKNOWN:
        return number
    if number is not None and vocab.code(text) == UNKNOWN and vocab.values.dtype != object:
        return number
    return text
