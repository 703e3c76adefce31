from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))  # a process a core, each with one thread
if os.environ.get("RECOLIB_TESTS_ON", "cpu") == "cpu":  # most tests compute what they expect, and do so there
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
settings.register_profile("suite", deadline=None)  # a busy machine is no failure
settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """Thousands of tests and all modules stay until the end: do not search them for garbage again and again."""
    gc.freeze()


@pytest.fixture(scope="session")
def data_home() -> Path:
    """The directory that holds the real data sets; without it the test is skipped."""
    home = os.environ.get("RECOLIB_DATA_HOME")
    if not home:
        pytest.skip("RECOLIB_DATA_HOME is not set: no real data sets here")
    if not Path(home).is_dir():
        pytest.skip(f"RECOLIB_DATA_HOME={home!r} is not a directory")
    return Path(home)
