"""The folder in which a set is built: one that stays, or one whose files lose their names once the set is made."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from recolib.data.streaming.array_files import ArrayFiles
from recolib.data.streaming.finished import FINISHED, entries_of
from recolib.data.streaming.sources import Source
from recolib.files import UNFINISHED, alone_with, local_path, replacing

MANIFEST, LOCK = "manifest.json", "lock"
FORMAT = 1


@contextmanager
def folder_of(source: Source, cache_dir: str | os.PathLike[str] | None, digest: Callable[[], str]) -> Generator[Path]:
    """The folder to build a set in, which no other process builds in meanwhile.

    Parameters
    ----------
    source
        What the set is built of.
    cache_dir
        The folder, which stays. By default a temporary one: its files have no name once the set is made, so that their
        room is free when nothing uses the set any more.
    digest
        Gives a hash of all that the set is made of beside its source.

    Raises
    ------
    ValueError
        If the folder cannot be one of files, lies in that of the source, or has files of other arguments or others.
    """
    if cache_dir is None:
        folder = Path(tempfile.mkdtemp(prefix="recolib-"))
        try:
            yield folder
        finally:
            # what is mapped stays until it is no longer used; Windows removes no file that is
            shutil.rmtree(folder, ignore_errors=True)
        return
    folder = _made(cache_dir, source)
    with nullcontext() if (folder / FINISHED).is_file() else alone_with(folder / LOCK):
        _prepare(folder, digest())
        yield folder


def check_cached(folder: Path, header: Mapping[str, Any], source: Source, columns: Sequence[str]) -> None:
    """Raise unless a finished set is of this source as it is now, and its arrays are whole."""
    if header["keys"] != [part.key for part in source.parts(columns)]:
        raise ValueError(
            f"{folder} has a set of another {source.argument}, or of what it was before: give another cache_dir, or "
            "remove it"
        )
    ArrayFiles(folder, entries_of(header)).check()


def _made(cache_dir: str | os.PathLike[str], source: Source) -> Path:
    """The folder, made if there is none."""
    folder, given = local_path(cache_dir, "cache_dir"), os.fspath(cache_dir)
    if source.root is not None and folder.resolve().is_relative_to(source.root.resolve()):
        raise ValueError(
            f"cache_dir={given!r} is in the folder {source.argument}={str(source.root)!r}, whose files are all read as "
            "data: give a folder beside it"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ValueError(f"cache_dir={given!r} is a file: give a folder") from None
    except NotADirectoryError:
        raise ValueError(f"cache_dir={given!r} is below a file: give another folder") from None
    return folder


def _prepare(folder: Path, digest: str) -> None:
    """Note in a folder what it is of; raise if it has files of something else."""
    manifest, wanted = folder / MANIFEST, {"recolib": FORMAT, "arguments": digest}
    if not manifest.is_file():
        if any(file.name != LOCK and not file.name.endswith(UNFINISHED) for file in folder.iterdir()):
            raise ValueError(f"cache_dir={str(folder)!r} has other files: give an empty folder, or a new one")
        with replacing(manifest) as stream:
            stream.write(json.dumps(wanted).encode())
    elif _manifest_of(manifest) != wanted:
        raise ValueError(
            f"cache_dir={str(folder)!r} has a set of other arguments or features: give another folder, or remove it"
        )


def _manifest_of(file: Path) -> object:
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}; remove the folder cache_dir") from None
