"""Arrays to work with, of which large ones lie in files without a name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recolib.files import naming_file

MAX_IN_MEMORY = 2**26
"""Bytes up to which an array is in memory."""


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
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(
                    file.fileno(), 0, n_bytes
                )  # a write to a mapped page of a full disk ends the process
            else:
                file.truncate(n_bytes)
        return np.asarray(np.memmap(file, dtype, "r+", shape=shape))
