"""KeyedCache: what is made once and then shared by all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")


class KeyedCache(Generic[T]):
    """Values that are each made on first use, and then shared by all threads.

    Parameters
    ----------
    size
        How many values are cached; beyond that, the oldest goes.
    """

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._lock = threading.RLock()
        self._values: dict[Hashable, T] = {}

    def __reduce__(self) -> NoReturn:
        """A model is saved, not pickled."""
        raise TypeError("models are not pickled: use model.save and recolib.load")

    def __deepcopy__(self, memo: object) -> KeyedCache[T]:
        """Nothing is copied: values are made again on first use."""
        return type(self)(self._size)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of ``key``, made now if there is none; threads that need it meanwhile wait."""
        values = self._values  # one read: another thread may swap it
        if key in values:
            return values[key]
        with self._lock:
            values = self._values
            if key not in values:
                value = make()
                values = {**self._values, key: value}
                self._values = dict([*values.items()][-self._size :])
            return values[key]
