"""Rows: the features of users, items or events, encoded; one type for all three."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Codes = NDArray[np.int32]
"""Codes of users, items or values: 1, 2, … are known."""
Part = Literal["codes", "dense"]
"""A part of ``Rows``."""
UNKNOWN = 0
"""Code of a value that training did not see. Its vector is trained where training rows have missing values."""
AVERAGE = -1
"""Code of the mean of a column's trained vectors, which ``cold_start="average"`` uses."""
ABSENT = -2
"""Code of an empty slot of a multi-sparse group: it has no vector and is not counted."""


@dataclass(frozen=True, eq=False)
class Past:
    """What the users of some rows consumed: a part of a log of items for each row.

    Nothing is copied and nothing is padded: an event's past is where it begins and ends in the log of its data.

    Attributes
    ----------
    items
        Codes of items, those of one user together and the earliest first, int32, shape (T,).
    spans
        Where each row's items begin and end among them, and the place of one among these that does not count, or −1,
        int64, shape (..., 3).
    """

    items: Tensor
    spans: Tensor

    def to(self, device: torch.device | str) -> Past:
        """The same on another device."""
        return Past(self.items.to(device), self.spans.to(device))

    @staticmethod
    def cat(pasts: list[Past]) -> Past:
        """Pasts end to end."""
        if all(past.items is pasts[0].items for past in pasts):
            return Past(pasts[0].items, torch.cat([past.spans for past in pasts]))
        spans, n = list[Tensor](), 0
        for past in pasts:
            spans.append(torch.where(past.spans >= 0, past.spans + n, past.spans))
            n += len(past.items)
        return Past(torch.cat([past.items for past in pasts]), torch.cat(spans))


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded features, one row for each user, item or event: integer codes beside numbers.

    Without features of a kind, that part has zero columns; it is never ``None``.

    Attributes
    ----------
    codes
        Codes within each column, int32, shape (..., C). The first column of a user or an item is its id.
    dense
        Standardised numbers, float32, shape (..., D).
    past
        Of users what they consumed; None where that is nothing to the rows, such as those of items.
    """

    codes: Tensor
    dense: Tensor
    past: Past | None = None

    def __len__(self) -> int:
        """The size of the first dimension."""
        return self.codes.shape[0]

    @property
    def width(self) -> int:
        """How many columns a row has, codes and numbers together."""
        return self.codes.shape[-1] + self.dense.shape[-1]

    def part(self, name: Part) -> Tensor:
        """The codes, or the numbers."""
        return self.codes if name == "codes" else self.dense

    def __getitem__(self, index: Tensor | slice | tuple[slice, None]) -> Rows:
        """Rows at ``index``: a slice, row numbers of any shape, or ``[:, None]`` for one more dimension."""
        past = self.past
        if isinstance(index, Tensor):
            taken = None if past is None else Past(past.items, _take(past.spans, index))
            return Rows(_take(self.codes, index), _take(self.dense, index), taken)
        taken = None if past is None else Past(past.items, past.spans[index])
        return Rows(self.codes[index], self.dense[index], taken)

    def join(self, other: Rows) -> Rows:
        """These columns and, behind them, those of ``other``; same leading dimensions."""
        if not other.codes.shape[-1] and not other.dense.shape[-1]:
            return self
        return Rows(torch.cat([self.codes, other.codes], -1), torch.cat([self.dense, other.dense], -1), self.past)

    def to(self, device: torch.device | str) -> Rows:
        """The same rows on another device."""
        return Rows(self.codes.to(device), self.dense.to(device), None if self.past is None else self.past.to(device))

    def wide(self) -> Rows:
        """The same rows with codes of 64 bits, as row numbers of tables are."""
        return Rows(self.codes.long(), self.dense, self.past)

    def averaged(self, ids: NDArray[np.integer]) -> Rows:
        """Unknown codes replaced by the column's average, in the rows whose id is unknown; ``ids`` has shape (n,)."""
        unknown = torch.from_numpy(ids == UNKNOWN).unsqueeze(-1)
        return Rows(torch.where(unknown & (self.codes == UNKNOWN), AVERAGE, self.codes), self.dense, self.past)

    def with_past(self, past: Past | None) -> Rows:
        """The same rows with what their users consumed."""
        return Rows(self.codes, self.dense, past)

    @staticmethod
    def cat(rows: list[Rows]) -> Rows:
        """Rows end to end; with their pasts if all have one."""
        pasts = [r.past for r in rows if r.past is not None]
        past = Past.cat(pasts) if len(pasts) == len(rows) else None
        return Rows(torch.cat([r.codes for r in rows]), torch.cat([r.dense for r in rows]), past)


def _take(table: Tensor, index: Tensor) -> Tensor:
    taken = table.index_select(0, index.reshape(-1))
    return taken.view(*index.shape, *table.shape[1:])
