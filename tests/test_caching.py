from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from recolib.caching import KeyedCache, Lock, cached


def test_a_value_is_made_once_for_a_key_by_many_threads():
    cache, made, n_threads = KeyedCache(), [], 8
    barrier = threading.Barrier(n_threads)

    def make():
        made.append(object())
        threading.Event().wait(0.02)  # others come meanwhile
        return made[-1]

    def ask(_):
        barrier.wait()
        return [cache.get(key, make) for key in ("one", "one")]

    with ThreadPoolExecutor(n_threads) as pool:
        got = [value for answer in pool.map(ask, range(n_threads)) for value in answer]
    assert len(made) == 1
    assert all(value is made[0] for value in got)


def test_every_thread_gets_the_value_of_its_own_key():
    cache = KeyedCache(size=2)

    def ask(key):
        return all(cache.get(key, lambda: ("of", key)) == ("of", key) for _ in range(200))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def test_the_oldest_value_goes():
    cache, made = KeyedCache(size=2), []
    for key in ("a", "b", "a", "c", "a"):
        assert cache.get(key, lambda key=key: made.append(key) or key) == key
    assert made == ["a", "b", "c", "a"]


def test_none_is_a_value():
    cache, made = KeyedCache(), []
    for _ in range(2):
        assert cache.get("key", lambda: made.append(1)) is None
    assert made == [1]


def test_a_value_that_could_not_be_made_is_made_when_asked_for_again():
    cache = KeyedCache()

    def fail():
        raise MemoryError

    with pytest.raises(MemoryError):
        cache.get("key", fail)
    assert cache.get("key", lambda: "value") == "value"


def test_copies_and_pickles_are_empty():
    cache = KeyedCache()
    cache.get("key", lambda: "value")
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert other.get("key", lambda: "another") == "another"


# ---- properties that are computed once


class Counted:
    def __init__(self) -> None:
        self.n = 0

    @cached
    def value(self) -> list[int]:
        """A list."""
        self.n += 1
        threading.Event().wait(0.02)  # others come meanwhile
        return [self.n]


def test_all_threads_get_the_value_that_is_kept():
    counted, barrier = Counted(), threading.Barrier(8)

    def ask(_):
        barrier.wait()
        return counted.value

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(ask, range(8)))
    assert all(value is counted.value for value in got)
    n = counted.n
    assert counted.value is got[0]
    assert counted.n == n
    assert Counted.value.__doc__ == "A list."


def test_a_property_does_not_wait_for_another_instance():
    """As it does with functools before Python 3.12, for ever in a process that is forked meanwhile."""
    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        @cached
        def value(self) -> int:
            if threading.current_thread() is not threading.main_thread():
                inside.set()
                go_on.wait(20)
            return 1

    thread = threading.Thread(target=lambda: Slow().value)
    thread.start()
    assert inside.wait(20)
    assert Slow().value == 1
    go_on.set()
    thread.join()


# ---- locks


def test_a_lock_keeps_other_threads_out_and_lets_its_own_in_again():
    lock, order = Lock(), list[str]()

    def wait():
        with lock.held():
            order.append("other")

    with lock.held():
        thread = threading.Thread(target=wait)
        thread.start()
        with lock.held():
            order.append("own")
        thread.join(0.05)
        order.append("still own")
    thread.join()
    assert order == ["own", "still own", "other"]


def test_a_copy_of_a_lock_is_open():
    lock = Lock()
    with lock.held():
        for other in (copy.copy(lock), copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))):
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(lambda other=other: other.held().__enter__()).result(20) is None
