"""Columns of items that are kept to be shown beside them, and that no model sees."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.data.field import read_names
from recolib.data.frame import Frame, as_values, factorize, read_column
from recolib.data.kinds.sparse import codes_at, values_of
from recolib.data.packing import pack_vocab, unpack_vocab
from recolib.data.rows import UNKNOWN, Codes
from recolib.data.schema import Schema
from recolib.data.vocab import Vocab
from recolib.files import Arrays, prefixed, require, under

RESERVED = "user", "item", "label", "time"
NO_CODES = np.empty(0, np.int32)


@dataclass(frozen=True, eq=False)
class DisplayColumn:
    """What is shown of each item: integers or text.

    Attributes
    ----------
    vocab
        The distinct values.
    codes
        The code of each item's, in the order of items' codes from 1 on, 0 where it is missing, shape (n_items,).
    """

    vocab: Vocab
    codes: Codes

    def series(self) -> pd.Series:
        """The values, in the order of items' codes."""
        if not len(self.vocab):
            return pd.Series([None] * len(self.codes), dtype=object)
        return values_of(self.codes, self.vocab)

    def kept(self, items: Codes) -> DisplayColumn:
        """That of some items alone, with no value that none of them has."""
        codes = self.codes[items - 1]
        vocab, used = self.vocab.without(np.setdiff1d(np.arange(1, len(self.vocab) + 1), codes).astype(np.int32))
        at = np.where(codes > UNKNOWN, np.searchsorted(used, codes) + 1, UNKNOWN).astype(np.int32)
        return DisplayColumn(vocab, at)


Display = Mapping[str, DisplayColumn]
"""The columns by name."""


def read_display_col(display_col: object, schema: Schema, present: Collection[str]) -> list[str]:
    """The names of columns to show, checked against those that there are and that have another use."""
    names = read_names(display_col, "display_col")
    features = [column for side in ("user", "item", "context") for column in schema.columns(side)]
    used = [name for name in names if name in (*RESERVED, *features)]
    if used:
        raise ValueError(f"columns {used} of display_col have another use: features of items can be shown as they are")
    missing = [name for name in names if name not in present]
    if missing:
        raise ValueError(f"columns {missing} of display_col are not in the data: {list(present)}")
    return list(dict.fromkeys(names))


def display_with(display: Display, names: Iterable[str], items: Vocab, frames: Sequence[Frame]) -> dict[str, Any]:
    """What is shown of all items, of which the first of these frames that has a column says more.

    Of several rows of an item the last counts, and a missing value changes nothing.
    """
    result: dict[str, DisplayColumn] = {}
    for name in names:
        known = display.get(name, DisplayColumn(Vocab.of(as_values(())), NO_CODES))
        vocab, codes = known.vocab, np.zeros(len(items), np.int32)
        codes[: len(known.codes)] = known.codes
        frame = next((one for one in frames if name in one.columns), None)
        if frame is not None:
            positions, values = factorize(read_column(frame, name), name)
            vocab = vocab.extend(values)
            own, whose = codes_at(positions, values, vocab), _items_of(frame, items)
            there = (own > UNKNOWN) & (whose > UNKNOWN)
            codes[whose[there] - 1] = own[there]
        result[name] = DisplayColumn(vocab, codes)
    return result


def _items_of(frame: Frame, items: Vocab) -> NDArray[np.int32]:
    positions, ids = factorize(read_column(frame, "item"), "item", ids=True)
    return items.encode(ids)[positions]


def pack_display(display: Display) -> Arrays:
    """The columns as arrays, by their number."""
    return {
        name: array
        for number, column in enumerate(display.values())
        for name, array in prefixed(f"display.{number}", {**pack_vocab(column.vocab), "codes": column.codes}).items()
    }


def unpack_display(names: object, arrays: Arrays, n_items: int) -> Display:
    """What ``pack_display`` gave; raises a ValueError where it contradicts itself."""
    display: dict[str, DisplayColumn] = {}
    for number, name in enumerate(read_names(names, "the columns to show")):
        own = under(f"display.{number}", arrays)
        vocab, codes = unpack_vocab(name, own), own["codes"]
        require(codes.shape == (n_items,) and codes.dtype == np.int32, f"each item has its {name!r}")
        require(not n_items or (codes.min() >= 0 and codes.max() <= len(vocab)), f"what is shown as {name!r} is there")
        display[name] = DisplayColumn(vocab, codes)
    return display
