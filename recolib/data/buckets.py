"""Buckets: hashed values in place of a vocabulary, for columns of more values than a table can have rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from recolib.data.field import Field
from recolib.data.frame import BLOCK, Values, as_values
from recolib.data.rows import AVERAGE, Codes
from recolib.data.vocab import Vocab

TEXT = -(2**63)
"""Text counts as this integer and its CRC-32: far from the integers that columns hold."""


@dataclass(frozen=True, eq=False)
class Buckets(Vocab):
    """A vocabulary that knows no value: each has one of n codes by its hash, and shares it with others.

    The hash is a function of the value alone, on each machine and in each version. Nothing is learnt and nothing is
    stored, so that there are no new values. A code is shown as the text ``"bucket 3 of 1000"``, which has that code
    itself: what was decoded can be encoded again.

    Attributes
    ----------
    values
        None.
    n
        How many buckets there are.

    Examples
    --------
    >>> import numpy as np
    >>> buckets = Buckets(1000)
    >>> codes = buckets.encode(np.array([7, "7", "phone"], object))
    >>> codes.tolist()
    [605, 595, 119]
    >>> buckets.decode(codes).tolist()
    ['bucket 605 of 1000', 'bucket 595 of 1000', 'bucket 119 of 1000']
    """

    values: Values = field(init=False, default_factory=lambda: as_values(()))
    n: int

    def __len__(self) -> int:
        """How many buckets there are; codes run from 0 to ``len(buckets)``."""
        return self.n

    def encode(self, values: Values) -> Codes:
        """The bucket of each value, from 1 on."""
        codes = np.empty(len(values), np.int32)
        for start in range(0, len(values), BLOCK):
            at = slice(start, start + BLOCK)
            codes[at] = stable_hash(values[at]) % np.uint64(self.n)
        codes += 1
        if values.dtype == object:
            named = [at for at, one in enumerate(values.tolist()) if isinstance(one, str) and "bucket " in one]
            codes[named] = [self._named(value) or code for value, code in zip(values[named], codes[named], strict=True)]
        return codes

    def code(self, value: int | str) -> int:
        """The bucket of one value, 0 if it is none that a column can have."""
        if isinstance(value, bool) or not isinstance(value, int | str | np.integer):
            return 0
        return int(self.encode(as_values([value if isinstance(value, str) else int(value)]))[0])

    def decode(self, codes: NDArray[np.integer]) -> Values:
        """The name of each bucket."""
        self._check(codes)
        names = np.empty(len(codes), object)
        names[:] = [f"bucket {code} of {self.n}" for code in codes.tolist()]
        return names

    def extend(self, values: Values) -> Buckets:
        """The same: each value has its bucket."""
        return self

    def without(self, codes: Codes) -> tuple[Buckets, Codes]:
        """The same; buckets of these codes are as if they had never been trained."""
        kept = np.arange(1, self.n + 1, dtype=np.int32)
        kept[codes - 1] = AVERAGE
        return self, kept

    def _named(self, name: str) -> int:
        """The bucket of a name that ``decode`` gives; 0 for other text."""
        found = re.fullmatch(r"bucket ([1-9][0-9]{0,9}) of ([1-9][0-9]{0,9})", name)
        number, n = map(int, found.groups()) if found else (0, 0)
        return number if n == self.n and number <= n else 0


def stable_hash(values: Values) -> NDArray[np.uint64]:
    """A hash of 64 bits of each value, the same wherever and whenever it is computed.

    An integer is itself, in two's complement; text is −2⁶³ and the CRC-32 of its UTF-8, which one in 43 of 100 million
    texts shares with another. Both are mixed as SplitMix64 mixes its state, so that each bit depends on all.

    References
    ----------
    Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014.
    """
    if values.dtype == object:
        numbers = (crc32(value.encode()) + TEXT if isinstance(value, str) else value for value in values.tolist())
        values = np.fromiter(numbers, np.int64, len(values))
    z = values.astype(np.int64, copy=False).view(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def vocab_of(field: Field, values: Values) -> Vocab:
    """The vocabulary of a field that has these values: of themselves, or of the field's buckets."""
    return Buckets(field.n_buckets) if field.n_buckets else Vocab.of(values)
