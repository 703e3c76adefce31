"""How long a large frame takes to be split and encoded, or its columns alone to be factorized by pandas."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Iterator

import pandas as pd
import torch

from benchmarks.generated import BIG_COLUMNS, big_frame
from benchmarks.measures import resident_mib
from benchmarks.protocol import Record, answer
from recolib import data


def settled_mib() -> float:
    """The memory that the process holds when what is free was given back."""
    gc.collect()
    try:
        import pyarrow

        pyarrow.default_memory_pool().release_unused()
    except ImportError:
        pass
    ctypes.CDLL(None).malloc_trim(0)
    return resident_mib()


def work(request: Record) -> Iterator[Record]:
    """The seconds, and the bytes of a training row that are kept when the frames are gone."""
    torch.set_num_threads(request["threads"])
    big_frame(1000)  # what pandas loads when first used is not data
    before = settled_mib()
    frame = big_frame(request["rows"])
    start = time.perf_counter()
    if request["split"] is None:
        columns = ["user", "item", *BIG_COLUMNS["sparse_col"]]
        kept = [pd.factorize(frame[column]) for column in columns]
        yield {"seconds": time.perf_counter() - start, "columns": len(kept)}
        return
    train, test = getattr(data, request["split"])(frame, test_size=0.2)
    between = time.perf_counter()
    encoded = data.DatasetFeat.build_trainset(train, **BIG_COLUMNS)
    end = time.perf_counter()
    yield {"seconds": end - start, "split_s": between - start, "encode_s": end - between}
    del frame, train, test
    yield {"bytes_a_row": (settled_mib() - before) * 2**20 / len(encoded[0])}


if __name__ == "__main__":
    answer(work, "recolib", "torch", "numpy", "pandas")
