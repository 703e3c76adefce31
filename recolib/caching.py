"""What is made on first use and then shared by all threads, and locks that a forked process finds open."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

T = TypeVar("T")
P = ParamSpec("P")


class cached(functools.cached_property[T]):
    """A property that is computed on first use, and then kept, without a lock.

    Of two threads that come at once, each computes it, and both get what the first one kept. Before Python 3.12
    ``functools.cached_property`` lets all instances wait for one lock, for ever in a process that is forked meanwhile.
    """

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Any:
        """The value of an instance; of the class, the property itself."""
        if instance is None:
            return self
        assert self.attrname is not None
        return vars(instance).setdefault(self.attrname, self.func(instance))


class Lock:
    """A lock that a thread may take again while it holds it; open in a copy, and in a process that was forked."""

    def __init__(self) -> None:
        self._of_process: dict[int, threading.RLock] = {}

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        """Another one."""
        return Lock, ()

    @contextmanager
    def held(self) -> Generator[None]:
        """Wait until no other thread of this process holds it."""
        with self._of_process.setdefault(os.getpid(), threading.RLock()):
            yield


class KeyedCache(Generic[T]):
    """Values that are each made on first use, by one thread, and then shared by all.

    Parameters
    ----------
    size
        How many values are cached; beyond that, the oldest goes.
    """

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._lock = Lock()
        self._values: dict[Hashable, T] = {}

    def __reduce__(self) -> tuple[type[KeyedCache[T]], tuple[int]]:
        """Nothing is copied: values are made again on first use."""
        return type(self), (self._size,)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of ``key``, made now if there is none; threads that need it meanwhile wait."""
        return self.get_each([key], lambda missing: [make()])[0]

    def get_each(self, keys: Sequence[Hashable], make: Callable[[list[int]], Sequence[T]]) -> list[T]:
        """The value of each key; those that are missing are made together, from their positions."""
        values = self._values  # one read: another thread may swap it
        if not all(key in values for key in keys):
            with self._lock.held():
                values = self._values
                missing = {key: at for at, key in enumerate(keys) if key not in values}
                if missing:
                    made = make([*missing.values()])
                    values = {**self._values, **dict(zip(missing, made, strict=True))}
                    self._values = dict([*values.items()][-self._size :])
        return [values[key] for key in keys]


class _Changing(Protocol):
    changing: Lock


M = TypeVar("M", bound=_Changing)


def one_at_a_time(method: Callable[Concatenate[M, P], T]) -> Callable[Concatenate[M, P], T]:
    """Let a method that changes its object wait until no other thread changes it."""

    @functools.wraps(method)
    def waiting(self: M, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.changing.held():
            return method(self, *args, **kwargs)

    return waiting
