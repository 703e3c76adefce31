"""What is soon written without a library: the most popular items, and EASE."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from benchmarks.lists.task import Floats, Ints, Task, Watch
from benchmarks.measures import peak_mib
from benchmarks.protocol import Record, answer

Score = Callable[[Ints], Floats]


def popular(task: Task) -> Score:
    """The number of users of each item, for everyone."""
    counts = np.bincount(task.items, minlength=task.n_items).astype(np.float32)
    return lambda users: np.tile(counts, (len(users), 1))


def ease(task: Task, reg: float) -> Score:
    """Steck, *Embarrassingly Shallow Autoencoders for Sparse Data*, WWW 2019; the inverse by Cholesky's factors."""
    ones = np.ones(len(task.users), np.float32)
    seen = sparse.csr_array((ones, (task.users, task.items)), shape=(task.n_users, task.n_items))
    gram = np.asfortranarray((seen.T @ seen).toarray(), np.float64)
    gram[np.diag_indices(task.n_items)] += reg
    factor, _ = lapack.dpotrf(gram, lower=True, overwrite_a=True)
    inverse, _ = lapack.dpotri(factor, lower=True, overwrite_c=True)  # its lower triangle
    weights = inverse.astype(np.float32)
    del gram, factor, inverse
    diagonal = weights.diagonal().copy()
    weights += np.tril(weights, -1).T
    weights /= -diagonal
    weights[np.diag_indices(task.n_items)] = 0
    return lambda users: seen[users] @ weights


def work(request: Record) -> Iterator[Record]:
    """One model, and its lists."""
    task = Task.read(request["folder"])
    watch = Watch(task, request)
    score = ease(task, **request["settings"]) if request["model"] == "ease" else popular(task)
    yield watch.measure(1, lambda: task.top(score))
    yield {"peak_mib": peak_mib()}


if __name__ == "__main__":
    answer(work, "numpy", "scipy")
