"""Goes wrong in one process in the way that it is told: ``torchrun train_wrongly.py HOW FOLDER``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch.distributed as dist

from recolib import FM, DatasetPure
from recolib.datasets import make_movies
from recolib.process_group import ALONE, ProcessGroup

how, rank = sys.argv[1], ProcessGroup.current().rank
frame = make_movies(n_users=61, n_items=47, n_ratings=900)
data, info = DatasetPure.build_trainset(frame)
n_calls = 0


class Enough(Exception):
    """Ends a fit."""


def loss(scores, labels, weights=None):
    """Squares, until the disk is full."""
    global n_calls
    n_calls += 1
    if how == "raise" and rank == 1 and n_calls > 20:
        raise RuntimeError("the disk of process 1 is full")
    return (scores - labels).square().mean()


def stop(record: dict[str, float]) -> None:
    """Have enough of the second epoch."""
    if record["epoch"] == 2:
        raise Enough


def broken(labels, scores):
    """A metric that cannot be had."""
    raise ZeroDivisionError("no positives")


model = FM("ranking", info, loss, num_neg=2, n_epochs=50, batch_size=64)
if how == "caught":
    try:
        model.fit(data, neg_sampling=True, verbose=0, callbacks=[stop])
    except Enough:
        print(f"process {rank} has {len(model.history_)} epochs")
    try:
        model.fit(data, neg_sampling=True, verbose=0, eval_data=frame, metrics=[broken])
    except ZeroDivisionError as error:
        print(f"process {rank} has {len(model.history_)} epochs and {error}")
    other, its = DatasetPure.build_trainset(frame.head(800)) if rank == 1 else (data, info)
    file = Path(sys.argv[2]) / f"of-{rank}"  # as on disks of their own
    if rank == 0:
        os.environ[ALONE] = "1"
        with suppress(Enough):
            replace(model).fit(data, neg_sampling=True, verbose=0, callbacks=[stop], checkpoint=file)
        del os.environ[ALONE]
    for one, train_data, more in [
        (replace(model, data_info=its), other, {}),
        (replace(model), data, {"shuffle": rank == 1}),
        (replace(model), data, {"checkpoint": file, "resume": file}),
    ]:
        try:
            one.fit(train_data, neg_sampling=True, verbose=0, **more)
        except ValueError as error:
            print(f"process {rank} is told: {error}")
    print(f"process {rank} trains {len(replace(model, n_epochs=1).fit(data, True, 0).history_)} epoch")
elif how == "gpus":
    dist.init_process_group("cuda:gloo")  # as nccl alone
    replace(model, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
else:
    model.fit(data, neg_sampling=True, verbose=1)
