"""What a forked process needs: one thread for computing, since the threads of its parent are not there."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import torch
import tqdm.std


def watch_forks() -> None:
    """Prepare each process that is forked from now on."""
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=_prepare_child)


def _prepare_child() -> None:
    """Let a forked process compute in one thread, until it says otherwise by ``torch.set_num_threads``.

    It would wait for ever for the OpenMP threads of its parent, torch's or faiss's, and for the lock of progress bars
    where another thread held it. Locks of recolib's own are made anew for each process; see ``caching.Lock``.
    """
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)
    faiss = sys.modules.get("faiss")
    if faiss is not None:
        faiss.omp_set_num_threads(1)
    _open_bars(tqdm.std)


def _open_bars(bars: Any) -> None:
    """Renew the locks of progress bars that another thread held; the others are shared with the parent on."""
    default = bars.TqdmDefaultWriteLock
    if _is_held(default.th_lock):
        default.th_lock = threading.RLock()
    if _is_held(vars(default).get("mp_lock")):
        default.mp_lock = None
    classes = [bars.tqdm]
    for one in classes:  # each class of bars may have a lock of its own
        classes += one.__subclasses__()
        current = vars(one).get("_lock")
        if isinstance(current, default):
            current.locks = [lock for lock in (vars(default).get("mp_lock"), default.th_lock) if lock is not None]
        elif _is_held(current):
            one.set_lock(threading.RLock())


def _is_held(lock: Any) -> bool:
    """Whether a thread that is not there holds a lock, which then nobody releases."""
    if lock is None:
        return False
    semaphore = getattr(lock, "_semlock", None)
    if semaphore is not None:
        return semaphore._count() > 0
    if lock.acquire(blocking=False):
        lock.release()
        return False
    return True
