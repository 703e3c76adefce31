"""What a vocabulary does not have: values and ids that are told of, with the known one that is nearest."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from recolib.data.frame import Values, as_values
from recolib.data.rows import UNKNOWN
from recolib.data.vocab import Vocab
from recolib.exceptions import MixedTypesWarning, UnseenValueWarning, warn

Id = int | str
MAX_COMPARED = 1000
"""Known values up to which the nearest in letters is looked for: a request must not wait for it."""

MAX_TWINS = 10_000
"""Unknown ids that are looked up in the other type."""


def warn_of_unseen(
    name: str, positions: NDArray[np.int64], values: Values, vocab: Vocab, fate: str = "they count as unknown"
) -> None:
    """Warn of the values of a column, given as positions among distinct values, that a vocabulary does not have."""
    is_unseen = vocab.encode(values) == UNKNOWN
    if not is_unseen.any():
        return
    n = int(np.append(is_unseen, False)[positions].sum())  # position −1 is missing
    if n:
        first: Id = values[is_unseen][:1].tolist()[0]
        warn(
            f"column {name!r} has {n} values that training did not see, such as {first!r}: {fate}{hint(first, vocab)}",
            UnseenValueWarning,
        )


def hint(value: Id, vocab: Vocab) -> str:
    """What to say of a value that is not known: the known one that is nearest, or that all are of another type."""
    near = nearest(value, vocab)
    if near is not None:
        return f"; the nearest known value is {near!r}"
    return of_other_type(value, vocab)


def of_other_type(value: Id, vocab: Vocab) -> str:
    """That all known values are of another type than a value; nothing where some are of its own."""
    if not isinstance(value, str):
        types = "strings" if all(isinstance(one, str) for one in vocab.values.tolist()) else ""
    else:
        types = "integers" if vocab.values.dtype != object else ""
    return f"; all known values are {types}" if types else ""


def twin(value: Id, vocab: Vocab) -> Id | None:
    """The known value that is the same in the other type: 18 for "18"."""
    other: Id = str(value)
    if isinstance(value, str):
        text = value.strip().removesuffix(".0")
        if not text.removeprefix("-").isdecimal() or len(text) > len(str(2**63)):
            return None
        other = int(text)
    return other if vocab.code(other) else None


def nearest(value: Id, vocab: Vocab) -> Id | None:
    """The known value that a wrong one may mean: of the other type, in other letters, or the next number."""
    same = twin(value, vocab)
    if same is not None:
        return same
    if not isinstance(value, str):
        numbers = np.array([one for one in vocab.values.tolist() if not isinstance(one, str)], np.int64)
        return int(numbers[np.argmin(np.abs(numbers - float(value)))]) if len(numbers) else None
    if len(vocab) > MAX_COMPARED:
        return next(
            (one for one in (value.strip(), value.lower(), value.upper(), value.title()) if vocab.code(one)), None
        )
    texts = {one.strip().casefold(): one for one in vocab.values.tolist() if isinstance(one, str)}
    near = get_close_matches(value.strip().casefold(), list(texts), 1)
    return texts[near[0]] if near else None


def warn_of_twins(name: str, unknown: Values, vocab: Vocab) -> None:
    """Warn of unknown ids that are known in the other type: "18" where 18 is."""
    twins = [(one, twin(one, vocab)) for one in unknown[:MAX_TWINS].tolist()]
    found = [(one, other) for one, other in twins if other is not None]
    if found:
        one, other = found[0]
        warn(
            f"{name} has {len(found)} unknown ids that are known in the other type, such as {one!r} as {other!r}: "
            "integers and strings never match each other",
            MixedTypesWarning,
        )


def warn_of_mixed(name: str, positions: NDArray[np.int64], values: Values, known: Vocab | None, is_id: bool) -> None:
    """Warn of integers beside text in one column, or beside what is known of it.

    Parameters
    ----------
    name
        The column.
    positions, values
        Its rows, as positions among its distinct values.
    known
        The vocabulary before, if there is one.
    is_id
        Whether it holds ids. Other columns are told of only where they hold the same in both types.
    """
    tell_of_mixed(name, values, known, is_id, lambda: _count_text(positions, values))


def _count_text(positions: NDArray[np.int64], values: Values) -> tuple[int, int]:
    """How many rows hold a value, and how many text."""
    counts = np.bincount(positions[positions >= 0], minlength=len(values))
    return int(counts.sum()), int(counts[is_text_of(values)].sum())


def tell_of_mixed(
    name: str, values: Values, known: Vocab | None, is_id: bool, count: Callable[[], tuple[int, int]]
) -> None:
    """Do as ``warn_of_mixed``, for rows of which ``count`` says how many hold a value, and how many text."""
    is_text, was_text = is_text_of(values), is_text_of(as_values(()) if known is None else known.values)
    before = set(was_text.tolist()) or set(is_text[:1].tolist())
    if set(is_text.tolist()) <= before:
        return
    every: list[Id] = [*values.tolist(), *([] if known is None else known.values.tolist())]
    texts = {one for one in every if isinstance(one, str)}
    same = next((one for one in every if not isinstance(one, str) and str(one) in texts), None)
    if same is None and not is_id:
        return
    n_rows, n_text = count()
    n_known, n_known_text = len(was_text), int(was_text.sum())
    beside = f" beside {n_known - n_known_text} known integers and {n_known_text} known strings" if n_known else ""
    example = "" if same is None else f", such as {same!r} and {str(same)!r}"
    warn(
        f"column {name!r} has {n_rows - n_text} integers and {n_text} strings{beside}, which never match "
        f"each other{example}; make them one type, such as data[{name!r}] = data[{name!r}].astype(str)",
        MixedTypesWarning,
    )


def is_text_of(values: Values) -> NDArray[np.bool_]:
    """Which of some values are text."""
    if values.dtype != object:
        return np.zeros(len(values), bool)
    return np.fromiter((isinstance(one, str) for one in values.tolist()), bool, len(values))
