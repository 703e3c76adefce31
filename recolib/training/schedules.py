"""Schedules: the learning rate's factor as a function of progress, the share of a fit's steps that are done."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from recolib.checks import suggestion

Schedule = Callable[[float], float]
"""Progress, from 0 to below 1 -> a factor of the learning rate, at least 0."""

WARMUP = 0.05
"""The share of the steps in which ``warmup_cosine`` rises."""
PROBES = tuple(at / 8 for at in range(8))
"""The progress at which schedules are checked and compared."""


def linear(progress: float) -> float:
    """Down from 1 to 0 in a straight line."""
    return 1.0 - progress


def cosine(progress: float) -> float:
    """Down from 1 to 0 along half a cosine: slowly at the beginning and at the end.

    References
    ----------
    Loshchilov and Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*, ICLR 2017; without restarts.
    """
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def warmup_cosine(progress: float) -> float:
    """Up from 0 to 1 in the first 5 % of the steps, then as ``cosine``.

    References
    ----------
    Goyal et al., *Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour*, 2017, for the rise.
    """
    return progress / WARMUP if progress < WARMUP else cosine((progress - WARMUP) / (1.0 - WARMUP))


SCHEDULES: dict[str, Schedule] = {"linear": linear, "cosine": cosine, "warmup_cosine": warmup_cosine}


def as_schedule(schedule: object) -> Schedule | None:
    """The schedule of a name, or a function as it is, if its factors are numbers; None is none.

    Raises
    ------
    ValueError
        If there is no schedule of that name, or a factor is negative, infinite or NaN.
    TypeError
        If it is neither a name nor a function of one number to another.
    """
    if schedule is None:
        return None
    if isinstance(schedule, str) and schedule in SCHEDULES:
        return SCHEDULES[schedule]
    if isinstance(schedule, str) or not callable(schedule):
        kind = ValueError if isinstance(schedule, str) else TypeError
        hint = suggestion(schedule, SCHEDULES)
        raise kind(f"lr_schedule must be one of {list(SCHEDULES)} or a function, got {schedule!r}{hint}")
    for progress, factor in zip(PROBES, (cast("Any", schedule)(at) for at in PROBES), strict=True):
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            raise TypeError(f"lr_schedule must give a number, and gave {factor!r} for {progress:g}")
        if not (math.isfinite(factor) and factor >= 0):
            raise ValueError(
                f"lr_schedule must give finite numbers of at least 0, and gave {factor!r} for {progress:g}"
            )
    return cast("Schedule", schedule)
