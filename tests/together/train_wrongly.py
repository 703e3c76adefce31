"""Goes wrong in process 1 in the way that it is told: ``torchrun train_wrongly.py raise|data|print``."""

from __future__ import annotations

import sys

from recolib import FM, DatasetPure
from recolib.datasets import make_movies
from recolib.process_group import ProcessGroup

rank = ProcessGroup.current().rank
frame = make_movies(n_users=61, n_items=47, n_ratings=900)
if sys.argv[1] == "data" and rank == 1:
    frame = frame.head(800)
data, info = DatasetPure.build_trainset(frame)
n_calls = 0


def loss(scores, labels, weights=None):
    global n_calls
    n_calls += 1
    if sys.argv[1] == "raise" and rank == 1 and n_calls > 20:
        raise RuntimeError("the disk of process 1 is full")
    return (scores - labels).square().mean()


FM("ranking", info, loss, num_neg=2, n_epochs=50, batch_size=64).fit(data, neg_sampling=True, verbose=1)
