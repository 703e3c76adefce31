"""Searching: ids that have a text in them, found among millions."""

from __future__ import annotations

import unicodedata

import numpy as np
from numpy.typing import NDArray

from recolib.data.vocab import Vocab

MAX_DIGITS = 20
END = "\0"


class IdSearch:
    """The ids of a vocabulary as one text, so that a search stops at the last id that it is to give.

    Parameters
    ----------
    vocab
        The ids.
    order
        Their codes, those first that are to be found first.
    """

    def __init__(self, vocab: Vocab, order: NDArray[np.integer]) -> None:
        texts = [folded(str(value)).replace(END, " ") for value in vocab.decode(order).tolist()]
        self._vocab, self._order, self._text = vocab, order, END.join(texts)
        sizes = np.fromiter((len(text) + 1 for text in texts), np.int64, len(texts))
        self._starts = np.cumsum(sizes) - sizes

    def find(self, query: str, limit: int) -> list[int]:
        """The codes of ids that have a text in them, without case and accents; the id itself first."""
        text = folded(query).replace(END, " ")
        if not text:
            return self._order[:limit].tolist()
        found = dict.fromkeys(code for code in self._exact(query) if code)
        at = self._text.find(text)
        while at >= 0 and len(found) < limit:
            row = int(np.searchsorted(self._starts, at, "right")) - 1
            found[int(self._order[row])] = None
            if row + 1 == len(self._starts):
                break
            at = self._text.find(text, int(self._starts[row + 1]))
        return [*found][:limit]

    def _exact(self, query: str) -> list[int]:
        """The codes of the text and of the integer that a query is."""
        codes = [self._vocab.code(query)]
        if len(query) <= MAX_DIGITS and query.removeprefix("-").isdecimal() and abs(int(query)) < 2**63:
            codes.append(self._vocab.code(int(query)))
        return codes


def folded(text: str) -> str:
    """A text without case and accents."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in parts if not unicodedata.combining(char))
