"""implicit's ALS and BPR, an epoch at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking
from scipy import sparse

from benchmarks.lists.task import Task, Watch
from benchmarks.measures import peak_mib
from benchmarks.protocol import Record, answer

MODELS = {"als": AlternatingLeastSquares, "bpr": BayesianPersonalizedRanking}


def work(request: Record) -> Iterator[Record]:
    """The lists after each ``step`` of epochs, until they get no better."""
    task = Task.read(request["folder"])
    ones = np.ones(len(task.users), np.float32)
    seen = sparse.csr_matrix((ones, (task.users, task.items)), shape=(task.n_users, task.n_items))
    settings = dict(request["settings"])
    n_epochs, step = settings.pop("iterations"), settings.pop("step")
    model = MODELS[request["model"]](
        iterations=step,
        num_threads=request["threads"],
        random_state=np.random.default_rng(request["seed"]),  # goes on from call to call, which a number does not
        **settings,
    )
    asked, at = np.unique(task.queries, return_inverse=True)
    watch = Watch(task, request)
    for epoch in range(step, n_epochs + 1, step):
        model.fit(seen, show_progress=False)  # goes on from the factors that it has
        yield watch.measure(epoch, lambda: model.recommend(asked, seen[asked], N=20)[0][at].astype(np.int64))
        if watch.is_over:
            break
    yield {"peak_mib": peak_mib()}


if __name__ == "__main__":
    answer(work, "implicit", "numpy", "scipy")
