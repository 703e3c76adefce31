"""The pointer: a file of text that names the model that is to be served, and is replaced at once."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from recolib.files import SUFFIX, local_path, replacing

MAX_POINTER_BYTES = 4096


@dataclass(frozen=True)
class Version:
    """What a pointer says.

    Attributes
    ----------
    file
        The model's.
    data_until
        When the last event happened that the model was trained on, in seconds since 1970; None where that is unknown.
    """

    file: Path
    data_until: float | None = None

    @property
    def name(self) -> str:
        """The name of the file without its ending."""
        return self.file.stem


def publish(pointer: str | os.PathLike[str], file: str | os.PathLike[str], data_until: float | None = None) -> Path:
    """Let a pointer name a model; servers that watch it change over.

    Parameters
    ----------
    pointer
        A file such as ``models/CURRENT``. It is replaced at once, so that nobody reads half of it.
    file
        The model's file, in the folder of the pointer.
    data_until
        When the last event happened that the model was trained on, in seconds since 1970. A server then removes what
        its history store has up to there.

    Returns
    -------
    Path
        The pointer.

    Raises
    ------
    FileNotFoundError
        If there is no such model beside the pointer.
    ValueError
        If ``data_until`` is not in the past.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "m1.safetensors").write_bytes(b"a model")
    ...     publish(Path(folder, "CURRENT"), "m1.safetensors").read_text().strip()
    'm1.safetensors'
    """
    place = local_path(pointer, "pointer")
    target = place.parent / local_path(file, "file").name
    if not target.is_file():
        raise FileNotFoundError(f"there is no model {target}: a pointer names a file of its own folder")
    lines = [target.name]
    if data_until is not None:
        if not 0 <= data_until <= time.time():
            raise ValueError(f"data_until must be a moment of the past, in seconds since 1970, got {data_until!r}")
        moment = datetime.fromtimestamp(data_until, UTC)
        if moment.timestamp() < data_until:  # rounded down, so that the last event would be left
            moment += timedelta(microseconds=1)
        lines.append(moment.isoformat())
    with replacing(place) as stream:
        stream.write("".join(f"{line}\n" for line in lines).encode())
    return place


def read_pointer(pointer: str | os.PathLike[str]) -> Version:
    """What a pointer names; a model's own file names itself.

    Raises
    ------
    FileNotFoundError
        If there is no pointer.
    ValueError
        If it does not hold the name of a file, and after that a moment or nothing.
    """
    place = local_path(pointer, "pointer")
    if place.suffix == SUFFIX:
        return Version(place)
    if not place.is_file():
        raise FileNotFoundError(f"there is no pointer {place}: recolib fit writes one, and so does publish")
    with place.open("rb") as stream:
        content = stream.read(MAX_POINTER_BYTES + 1)
    try:
        name, *more = content.decode().split("\n", 2)
        name = name.strip()
        if len(content) > MAX_POINTER_BYTES or not name or Path(name).name != name or "\0" in name:
            raise ValueError
        moment = more[0].strip() if more else ""
        until = datetime.fromisoformat(moment) if moment else None
    except ValueError:
        raise ValueError(
            f"{place} must hold the name of a model's file in its folder, and in a second line nothing or a moment"
        ) from None
    return Version(place.parent / name, None if until is None else until.timestamp())
