"""Files: a header and named arrays, checked when they are read, and whole whenever a process dies.

A file is of the safetensors format. Its one metadata entry is JSON: a SHA-256 of the file, in which the digest itself
counts as zeros; the format's number; the version that wrote it; the kind of thing; and its header. Nothing in it is
ever executed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import safetensors.numpy
import safetensors.torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from recolib.version import __version__

try:
    import fcntl
except ImportError:  # Windows, where a file that someone has open cannot be removed: no lock is needed
    fcntl = None

Arrays = Mapping[str, NDArray[Any]]
T = TypeVar("T")

FORMAT = 4
"""Raised when a file of this version cannot be read by earlier ones. Formats 1 and 2 were never released."""
OLDEST_FORMAT = 3
SUFFIX = ".safetensors"
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""How an address begins, also one of which ``Path`` took a slash; the name of a disk has one letter."""
MAX_IN_MEMORY = 2**26
"""Bytes up to which an array is in memory."""
UNFINISHED = ".recolib-unfinished"
MAX_NAME_BYTES = 180
"""Bytes that file systems leave for a name, with all that is put around it."""
DIGEST = re.compile(rb'\\"sha256\\": \\"([0-9a-f]{64})\\"')
NO_DIGEST = b"0" * 64
REFUSED = (IndexError, TypeError, AttributeError, OverflowError, RuntimeError)
"""What wrong contents can make a reader raise beside ValueError and KeyError."""


def local_path(path: str | os.PathLike[str], argument: str = "path") -> Path:
    """A path on this machine; ``~`` is the home.

    Raises
    ------
    TypeError
        If it is no path.
    ValueError
        If it is an address such as ``s3://bucket/models``, or no valid text.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise TypeError(f"{argument} must be a path, got {path!r}")
    if not _can_be_a_name(os.fspath(path)):
        raise ValueError(f"{argument} must be a path, got {path!r}, which is no valid text")
    if SCHEME.match(os.fspath(path)):
        raise ValueError(
            f"{argument}={os.fspath(path)!r} is an address, and recolib reads and writes files of this machine: copy "
            "them, for instance with fsspec, or mount the bucket"
        )
    return Path(path).expanduser()


def scratch(shape: int | tuple[int, ...], dtype: type[Any] | np.dtype[Any]) -> NDArray[Any]:
    """An array of zeros. If it is large, the system writes it to the disk when it needs the memory.

    Raises
    ------
    OSError
        If the disk of ``tempfile.gettempdir()`` has no room for it.
    """
    n_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if n_bytes <= MAX_IN_MEMORY:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(prefix="recolib-") as file:
        with naming_file(Path(tempfile.gettempdir())):
            if hasattr(os, "posix_fallocate"):  # a write to a mapped page of a full disk ends the process
                os.posix_fallocate(file.fileno(), 0, n_bytes)
            else:
                file.truncate(n_bytes)
        return np.asarray(np.memmap(file, dtype, "r+", shape=shape))


def file_of(path: str | os.PathLike[str], name: str, ending: str = "", argument: str = "model_name") -> Path:
    """The file of a name in a folder.

    Raises
    ------
    ValueError
        If the name is not the plain name of a file.
    """
    plain = isinstance(name, str) and re.fullmatch(r"[^\x00-\x1f/\\:.][^\x00-\x1f/\\:]*", name) and _can_be_a_name(name)
    if plain and name.endswith(SUFFIX):
        raise ValueError(f"{argument} {name!r} must come without {SUFFIX!r}, which is added")
    if not plain or len(os.fsencode(name)) > MAX_NAME_BYTES:
        raise ValueError(
            f"{argument} must be a plain file name of at most {MAX_NAME_BYTES} bytes, without folders and not starting "
            f"with '.', got {name!r}"
        )
    return local_path(path) / f"{name}{ending}{SUFFIX}"


def _can_be_a_name(text: str) -> bool:
    """Whether the file system takes it; what Python reads from one always goes back."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def write_file(file: Path, kind: str, header: Mapping[str, object], arrays: Arrays) -> Path:
    """Write a file, its folder too if there is none. The old one stays until the new one is on the disk.

    Returns
    -------
    Path
        The file.
    """
    parts = packed(kind, header, arrays)
    with replacing(file) as stream:
        for part in parts:
            stream.write(part)
    return file


def packed(kind: str, header: Mapping[str, object], arrays: Arrays) -> tuple[memoryview | bytes, ...]:
    """The contents of a file, in parts."""
    about = {"format": FORMAT, "version": __version__, "kind": kind}
    entry = json.dumps({"sha256": NO_DIGEST.decode(), **about, "header": header})
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content = safetensors.numpy.save(contiguous, {"recolib": entry})
    at = content.index(NO_DIGEST)  # the entry comes first, and the digest first in it
    digest = hashlib.sha256(content).hexdigest().encode()
    view = memoryview(content)
    return view[:at], digest, view[at + len(digest) :]


def read_file(file: Path, *kinds: str, mapped: bool = False) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of a file of one of these kinds.

    ``mapped``, arrays stay in the file until they are looked at, a page at a time, and what is written to them is this
    process's alone.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is of another kind, of a newer format, damaged, or none of recolib's.
    """
    if file.is_dir():
        raise ValueError(f"{file} is a folder: give the file, such as {file / ('name' + SUFFIX)}")
    if not file.is_file():
        there = sorted(other.stem for other in file.parent.glob(f"*{SUFFIX}")) if file.parent.is_dir() else []
        raise FileNotFoundError(f"there is no file {file}; the folder has {there}")
    if not mapped or not file.stat().st_size:
        return unpacked(file.read_bytes(), file, *kinds)
    header = _checked(np.memmap(file, np.uint8, "r").data, file, *kinds)
    return header, {name: tensor.numpy() for name, tensor in safetensors.torch.load_file(file).items()}


def unpacked(whole: bytes, source: object, *kinds: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of the contents of a file, which messages call ``source``; see ``read_file``."""
    header = _checked(memoryview(whole), source, *kinds)
    with refusing(source):
        return header, safetensors.numpy.load(whole)


def _checked(content: memoryview, source: object, *kinds: str) -> dict[str, Any]:
    """The header of a file whose digest is right."""
    with refusing(source):
        length = int.from_bytes(content[:8], "little")
        digest = DIGEST.search(content[: 8 + length])
        if digest is None:
            raise ValueError("it is not a file of recolib's, or its beginning is damaged")
        begin, end = digest.span(1)
        actual = hashlib.sha256(content[:begin])
        actual.update(NO_DIGEST)
        actual.update(content[end:])
        if actual.hexdigest().encode() != digest[1]:
            raise ValueError("its checksum does not match its contents: it is damaged or was cut off")
        outer = json.loads(bytes(content[8 : 8 + length]), object_pairs_hook=_distinct)
        entry = json.loads(outer["__metadata__"]["recolib"], object_pairs_hook=_distinct)
        require(isinstance(entry["format"], int), "formats are numbers")
        if entry["format"] < OLDEST_FORMAT:
            raise ValueError(f"its format is {entry['format']}, of before the first release: train the model again")
        if entry["format"] > FORMAT:
            raise ValueError(f"its format is {entry['format']}, and this recolib reads up to {FORMAT}: update recolib")
        if entry["kind"] not in kinds:
            raise ValueError(f"it holds a {entry['kind']}, not a {' or a '.join(kinds)}")
        return entry["header"]


@contextmanager
def refusing(source: object) -> Generator[None]:
    """Turn whatever wrong contents raise into a ValueError that names their source."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{source} cannot be read: {error}") from None
    except KeyError as error:
        raise ValueError(f"{source} cannot be read: it lacks {error}") from error
    except (*REFUSED, SafetensorError) as error:
        raise ValueError(f"{source} cannot be read: {error}") from error


def require(condition: bool | np.bool_, rule: str) -> None:
    """Raise a ValueError that states the rule unless it holds."""
    if not condition:
        raise ValueError(f"its contents contradict each other: {rule}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    require(len(dict(pairs)) == len(pairs), "no name stands twice")
    return dict(pairs)


def under(prefix: str, parts: Mapping[str, T]) -> dict[str, T]:
    """The parts whose names begin with a prefix and a dot, named by what follows."""
    start = f"{prefix}."
    return {name.removeprefix(start): part for name, part in parts.items() if name.startswith(start)}


def prefixed(prefix: str, parts: Mapping[str, T]) -> dict[str, T]:
    """The parts with a prefix and a dot before their names."""
    return {f"{prefix}.{name}": part for name, part in parts.items()}


@contextmanager
def naming_file(file: Path) -> Generator[None]:
    """Name the file in errors of the system that name none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, os.strerror(error.errno), str(file)) from error
        raise


@contextmanager
def replacing(file: Path) -> Generator[BinaryIO]:
    """What to write a file to: it stands beside, is brought to the disk, and only then gets the name.

    The folder is made if there is none.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file = file.resolve()  # a link stays one
    _sweep(file.parent)
    stream, beside = _unfinished(file)
    try:
        with naming_file(file), stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if fcntl is None:
                stream.close()  # Windows renames no open file
            beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if os.name != "nt":  # the new name is on the disk when its folder is
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems sync no folders
                raise
        finally:
            os.close(folder)


@contextmanager
def alone_with(file: Path) -> Generator[None]:
    """Wait until no other process or thread has this file, and have it; one that dies gives it back.

    Where there are no locks, as on Windows, on some file systems of networks and in folders of others, nobody waits.
    """
    try:
        stream = None if fcntl is None else file.open("ab")
    except OSError:
        stream = None
    if fcntl is None or stream is None:
        yield
        return
    with stream:
        with suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _unfinished(file: Path) -> tuple[BinaryIO, Path]:
    """A new file beside, with a lock on it as long as it is open."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        beside = file.with_name(f".{file.name}.{secrets.token_hex(8)}{UNFINISHED}")
        stream = os.fdopen(os.open(beside, flags, 0o666), "wb")  # who may read it, the umask says
        if fcntl is None:
            return stream, beside
        with suppress(OSError):  # some file systems of networks have no locks: there, nothing is swept
            fcntl.flock(stream, fcntl.LOCK_EX)
        if os.fstat(stream.fileno()).st_nlink:
            return stream, beside
        stream.close()  # another saver swept it before it was locked


def _sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished: files of which nobody holds the lock."""
    for left in folder.glob(f".*{UNFINISHED}"):
        with suppress(OSError):
            if fcntl is None:
                left.unlink()
                continue
            with left.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
