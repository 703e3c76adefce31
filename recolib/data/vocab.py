"""Vocab: values to codes and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.caching import cached
from recolib.data.frame import Values, as_values
from recolib.data.rows import Codes

N_SHOWN = 5
"""Entries that a mapping shows of itself."""


@dataclass(frozen=True, eq=False)
class Vocab:
    """The known values of a column, each with a code that never changes.

    Code 0 is no value: it means "never seen". A value's code is its position in ``values`` plus one.
    Integers and strings never match each other: ``1`` is not ``"1"``.

    Attributes
    ----------
    values
        Distinct integers and strings, in the order of their codes.

    Examples
    --------
    >>> import numpy as np
    >>> vocab = Vocab.of(np.array([30, 10]))
    >>> vocab.encode(np.array([10, 30, 99])).tolist()
    [1, 2, 0]
    >>> vocab.extend(np.array([20, 30])).decode(np.array([1, 2, 3])).tolist()
    [10, 30, 20]
    """

    values: Values

    @classmethod
    def of(cls, values: Values) -> Vocab:
        """The vocabulary of these values: integers in order, then strings in order."""
        return Vocab(as_values(())).extend(values)

    def __len__(self) -> int:
        """How many values are known; codes run from 0 to ``len(vocab)``."""
        return len(self.values)

    def encode(self, values: Values) -> NDArray[np.int32]:
        """The code of each value, 0 where it is unknown."""
        return (self._index.get_indexer(_index(values)) + 1).astype(np.int32)

    def code(self, value: int | str) -> int:
        """The code of one value, 0 if it is unknown."""
        if isinstance(value, bool) or not isinstance(value, int | str | np.integer):
            return 0
        try:
            return int(self._index.get_loc(value)) + 1  # type: ignore[arg-type]
        except KeyError:
            return 0

    def decode(self, codes: NDArray[np.integer]) -> Values:
        """The value of each code, all of which must be known ones."""
        self._check(codes)
        return self.values[np.asarray(codes) - 1]

    def extend(self, values: Values) -> Vocab:
        """A vocabulary with the new ones of ``values`` behind these; no code moves."""
        new = pd.unique(values[self.encode(values) == 0]) if len(values) else values
        if not len(new):
            return self
        if new.dtype == object:
            integers = sorted(value for value in new if isinstance(value, int))
            strings = sorted(value for value in new if isinstance(value, str))
            new = as_values([*integers, *strings])
        else:
            new = np.sort(new)
        if not len(self):
            return Vocab(new)
        if self.values.dtype != new.dtype:
            return Vocab(np.concatenate([self.values.astype(object), new.astype(object)]))
        return Vocab(np.concatenate([self.values, new]))

    def without(self, codes: Codes) -> tuple[Vocab, Codes]:
        """The vocabulary without the values of some codes, and the code that each of its values had in this one."""
        kept = np.setdiff1d(np.arange(1, len(self) + 1, dtype=np.int32), codes)
        values = self.values[kept - 1]
        return Vocab(values if values.dtype != object else as_values(values.tolist())), kept

    def _check(self, codes: NDArray[np.integer]) -> None:
        if len(codes) and not 1 <= int(np.min(codes)) <= int(np.max(codes)) <= len(self):
            raise IndexError(f"codes must be in 1..{len(self)}, got {np.min(codes)} to {np.max(codes)}")

    @cached
    def _index(self) -> pd.Index:
        return _index(self.values)


def _index(values: Values) -> pd.Index:
    return pd.Index(values, dtype=values.dtype)


class IdToCode(Mapping[int | str, int]):
    """A vocabulary as a read-only mapping from ids to codes."""

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab

    def __repr__(self) -> str:
        """The first few of all."""
        return _shown(self)

    def __getitem__(self, value: int | str) -> int:
        """The code of an id; KeyError if it is unknown."""
        code = self._vocab.code(value)
        if not code:
            raise KeyError(value)
        return code

    def __iter__(self) -> Iterator[int | str]:
        """The ids in the order of their codes."""
        return iter(self._vocab.values.tolist())

    def __len__(self) -> int:
        """How many ids are known."""
        return len(self._vocab)


class CodeToId(Mapping[int, int | str]):
    """A vocabulary as a read-only mapping from codes to ids."""

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab

    def __repr__(self) -> str:
        """The first few of all."""
        return _shown(self)

    def __getitem__(self, code: int) -> int | str:
        """The id of a code; KeyError for code 0 and for codes that do not exist."""
        if not isinstance(code, int | np.integer) or not 1 <= code <= len(self._vocab):
            raise KeyError(code)
        return self._vocab.values[code - 1 : code].tolist()[0]

    def __iter__(self) -> Iterator[int]:
        """All known codes."""
        return iter(range(1, len(self._vocab) + 1))

    def __len__(self) -> int:
        """How many codes are known."""
        return len(self._vocab)


def _shown(mapping: Mapping[Any, Any]) -> str:
    first = [f"{key!r}: {mapping[key]!r}" for key in islice(mapping, N_SHOWN)]
    rest = [f"… of {len(mapping)}"] if len(mapping) > N_SHOWN else []
    return f"{type(mapping).__name__}({{{', '.join(first + rest)}}})"
