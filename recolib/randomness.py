"""Randomness of our own: drawn from a seed, while the global generators stay as they were found."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(device: torch.device, *seed: int) -> Generator[None]:
    """Let torch draw from ``seed`` on the CPU and on ``device``; afterwards restore their generators."""
    value = int(np.random.SeedSequence(seed).generate_state(1, np.uint32)[0])
    cuda = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda):
        torch.default_generator.manual_seed(value)  # torch.manual_seed would reach every other device too
        for index in cuda:
            torch.cuda.default_generators[index].manual_seed(value)
        yield
