from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from recolib.inference.caching import KeyedCache


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


def test_a_copy_is_empty_and_none_is_pickled():
    cache = KeyedCache()
    cache.get("key", lambda: "value")
    assert copy.deepcopy(cache).get("key", lambda: "another") == "another"
    with pytest.raises(TypeError, match=r"model\.save"):
        pickle.dumps(cache)
