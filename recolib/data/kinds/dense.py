"""Dense: a number that multiplies a vector, standardised by training statistics."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.data.field import Field
from recolib.data.frame import Frame, read_column, read_numbers, refuse_empty
from recolib.data.kinds.kind import Cells, Encoded, Facts, Kind, Layout, Learnt, Seen, Spooled
from recolib.data.order import regrouped
from recolib.data.vocab import Vocab
from recolib.exceptions import OutOfRangeWarning, warn

MAX_DEVIATIONS = 1e6
"""Standard deviations from the training mean beyond which a number counts as that far: the square of a vector sum, and
products of several layers, then stay finite in float32. Training rows are never as far out, but for 10¹² of them."""
MAX_RAW = 1e9
"""The same for numbers that are not standardised, or ten times their mean if that is more."""


class Dense(Kind):
    """A column of numbers. A missing one is the training mean, and one far outside training's range is cut."""

    name = "dense"
    in_parts = True

    def layout(self, field: Field) -> Layout:
        """One number."""
        return Layout("dense")

    def blank(self, field: Field) -> Cells:
        """The training mean."""
        return np.array([field.missing], np.float32)

    def learn(self, frame: Frame, field: Field, scaling: str) -> Learnt:
        """The mean and the deviation, and the scaled numbers; missing ones are the mean."""
        spooled = self.spool(frame, field)
        field, _ = self.learn_parts(field, Seen(None, np.empty(0, np.int64), lambda: iter([spooled.cells])), scaling)
        return Learnt(field, None, self.settle(spooled, field, None))

    def spool(self, frame: Frame, field: Field) -> Spooled:
        """The numbers as they are."""
        return Spooled(read_numbers(read_column(frame, field.name), field.name)[:, None], None)

    def learn_parts(self, field: Field, seen: Seen, scaling: str) -> tuple[Field, None]:
        """The mean and the deviation, of sums that are the same however the rows are divided into parts."""
        n, total, low, high = 0, 0.0, np.inf, -np.inf
        for block in regrouped(map(_present, seen.cells())):
            n, total = n + len(block), total + float(block.sum())
            low, high = min(low, float(block.min())), max(high, float(block.max()))
        refuse_empty(n, field.name)
        varies = low < high  # rounded, the mean of equal numbers need not equal them
        field = replace(field, mean=total / n if varies else low)
        if scaling == "standard":
            blocks = regrouped(map(_present, seen.cells()))
            squares = sum(float(np.square(block - field.mean).sum()) for block in blocks)
            field = replace(field, offset=field.mean, scale=(math.sqrt(squares / n) if varies else 0.0) or 1.0)
        return field, None

    def settle(self, spooled: Spooled, field: Field, vocab: Vocab | None) -> Cells:
        """The scaled numbers; missing ones are the mean."""
        return _scale(spooled.cells[:, 0], field, field.missing)

    def extend(self, frame: Frame, field: Field, vocab: Vocab | None) -> tuple[None, Cells]:
        """The numbers, scaled as in training; missing ones are the training mean."""
        return None, _scale(read_numbers(read_column(frame, field.name), field.name), field, field.missing)

    def encode(self, frame: Frame, field: Field, vocab: Vocab | None) -> Encoded:
        """The numbers, scaled as in training, NaN where they are missing."""
        numbers = _scale(read_numbers(read_column(frame, field.name), field.name), field, np.nan)
        return Encoded(numbers, ~np.isnan(numbers))

    def decode(self, cells: Cells, field: Field, vocab: Vocab | None) -> dict[str, pd.Series]:
        """The numbers as they came, rounded to the decimals that float32 kept."""
        numbers = cells[:, 0].astype(np.float64) * field.scale + field.offset
        lost = max(float(np.abs(numbers - field.offset).max(initial=0)), abs(field.scale)) * 2.0**-23
        return {field.name: pd.Series(np.round(numbers, int(np.floor(-np.log10(2 * lost)))) + 0.0)}  # no −0

    def show(self, cells: list[Any], field: Field, vocab: Vocab | None, special: dict[int, str]) -> float:
        """The number, as short as float32 can tell it from its neighbours."""
        return float(str(np.float32(cells[0] * field.scale + field.offset)))

    def describe(self, field: Field, vocab: Vocab | None, cells: Cells) -> Facts:
        """The mean, and the range as far as float32 says something of it."""
        if not len(cells):
            return Facts(mean=field.mean)
        step = 1e-6 * field.scale
        low, high = (
            round((float(end) * field.scale + field.offset) / step) * step for end in (cells.min(), cells.max())
        )
        return Facts(mean=field.mean, range=(low, high))

    def manifest(self, field: Field, start: int) -> dict[str, Any]:
        """The scale, and what stands for a missing number."""
        scaled = {"start": start, "offset": field.offset, "scale": field.scale, "unknown": field.missing}
        scaled["limit"] = _limit(field)
        return super().manifest(field, start) | scaled


def _present(cells: Cells) -> NDArray[Any]:
    missing = np.isnan(cells[:, 0])
    return cells[~missing, 0] if missing.any() else cells[:, 0]


def _limit(field: Field) -> float:
    """How far from 0 a scaled number may be."""
    is_raw = (field.offset, field.scale) == (0.0, 1.0)
    return max(MAX_RAW, 10 * abs(field.mean)) if is_raw else MAX_DEVIATIONS


def _scale(numbers: NDArray[np.float64], field: Field, missing: float) -> NDArray[np.float32]:
    scaled = (numbers - field.offset) / field.scale
    limit = _limit(field)
    beyond = np.abs(scaled) > limit
    if beyond.any():
        low, high = (end * field.scale + field.offset for end in (-limit, limit))
        warn(
            f"column {field.name!r} has {int(beyond.sum())} values far outside training's range, such as "
            f"{numbers[beyond][0]:g} where the mean is {field.mean:g}: they count as {low:.3g} or {high:.3g}",
            OutOfRangeWarning,
        )
        scaled = np.clip(scaled, -limit, limit)
    return np.where(np.isnan(scaled), missing, scaled).astype(np.float32)[:, None]  # (n, 1)
