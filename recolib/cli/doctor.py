"""The command ``doctor``: what is installed, what is missing, and what the machine has."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path

import torch
import typer

from recolib.cli.output import Json, show
from recolib.version import __version__

EXTRAS = {
    "parquet": "Parquet files: recommend-all, and data",
    "ann": "search in large catalogues",
    "plots": "pictures of training and of reasons",
    "onnx": "models without torch",
    "serving": "the server",
    "postgres": "the history store in PostgreSQL",
    "cli": "this command line",
}
PACKAGE = re.compile(r"[A-Za-z0-9_.-]+")
DATA_HOME = "RECOLIB_DATA_HOME"
THREADS = "OMP_NUM_THREADS", "OMP_WAIT_POLICY"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(as_json: Json = False) -> None:
    """Say which versions there are, what is missing for which extra, and what computes."""
    show(
        {
            "recolib": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "environment": ", ".join(f"{name}={os.environ.get(name, '(not set)')}" for name in THREADS),
            "devices": ", ".join(devices()),
            "data_home": data_home(),
            "encoding": sys.stdout.encoding,
            "extras": [about_extra(extra, use) for extra, use in EXTRAS.items()],
        },
        as_json,
    )


def devices() -> list[str]:
    """What torch can compute on."""
    found = ["cpu"]
    found += (
        [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    return found + (["mps"] if torch.backends.mps.is_available() else [])


def data_home() -> str:
    """Where data sets are looked for."""
    home = os.environ.get(DATA_HOME)
    if home is None:
        return f"the platform's cache; {DATA_HOME} is not set"
    return home if Path(home).is_dir() else f"{home}, which is no folder: create it, or set {DATA_HOME} otherwise"


def about_extra(extra: str, use: str) -> dict[str, str]:
    """Whether the packages of an extra are there."""
    missing = [name for name in packages_of(extra) if not is_installed(name)]
    return {
        "extra": extra,
        "for": use,
        "missing": f'{", ".join(missing)}: pip install "recolib[{extra}]"' if missing else "",
    }


def packages_of(extra: str) -> list[str]:
    """The packages that an extra names, those of recolib's own extras in their place."""
    found: list[str] = []
    marker = re.compile(rf"""extra\s*==\s*['"]{extra}['"]""")
    for requirement in importlib.metadata.requires("recolib") or ():
        name, _, condition = requirement.partition(";")
        package = PACKAGE.match(name.strip())
        if package is None or not marker.search(condition):
            continue
        if package[0] == "recolib":
            inner = re.search(r"\[(.*?)\]", name)
            found += [one for part in (inner[1].split(",") if inner else ()) for one in packages_of(part.strip())]
        else:
            found.append(package[0])
    return found


def is_installed(package: str) -> bool:
    """Whether a package is there."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
