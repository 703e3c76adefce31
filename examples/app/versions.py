"""Versions: each model has a pointer of its own, which says up to when it knows events; CURRENT repeats one of them.

``python versions.py`` lists them, and ``python versions.py rollback`` puts the one before into service again.
"""

import sys
from pathlib import Path

import pandas as pd
from places import ARCHIVE, HISTORY, MODELS, POINTER

from recolib.recommender import Recommender
from recolib.serving import Event, open_history, publish, read_pointer

KEPT = 5


def names() -> list[str]:
    """All versions, the newest last."""
    return sorted(file.stem for file in MODELS.glob("*.pointer"))


def current() -> str:
    """The one in service."""
    return read_pointer(POINTER).name


def serve_version(model: Recommender, events: pd.DataFrame) -> str:
    """Write a version, the events that it knows beyond the one before, and let servers change over to it."""
    name = f"cinema-{int((names() or ['0'])[-1].rpartition('-')[2]) + 1:04d}"
    events[["user", "item", "time"]].to_csv(ARCHIVE / f"{name}.csv", index=False)
    file, until = model.save(MODELS, name), float(events["time"].max())
    publish(MODELS / f"{name}.pointer", file, until)
    publish(POINTER, file, until)  # servers now remove these events from the history store
    for old in names()[:-KEPT]:
        if old != current():
            Path(MODELS, f"{old}.pointer").unlink()
            Path(MODELS, f"{old}.safetensors").unlink()
    return name


def rollback() -> str:
    """Put the version before the one in service there, and give the store back what that one does not know."""
    older = [name for name in names() if name < current()]
    if not older:
        raise SystemExit(f"{current()} is the oldest version that was kept")
    version = read_pointer(MODELS / f"{older[-1]}.pointer")
    frames = [pd.read_csv(file) for file in sorted(ARCHIVE.glob("*.csv")) if file.stem > version.name]
    with open_history(HISTORY) as history:
        history.add(Event(*row) for row in pd.concat(frames).itertuples(index=False))
    publish(POINTER, version.file, version.data_until)
    return version.name


if __name__ == "__main__":
    if sys.argv[1:] == ["rollback"]:
        rollback()
    print(*(f"{name}{' *' * (name == current())}" for name in names()), sep="\n")
