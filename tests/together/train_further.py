"""Trains as a job does that can be killed: ``torchrun train_further.py FOLDER [EPOCHS]``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from recolib import FM, DatasetPure
from recolib.datasets import make_movies

folder = Path(sys.argv[1])
torch.set_num_threads(1)
data, info = DatasetPure.build_trainset(make_movies(n_users=61, n_items=47, n_ratings=900))
model = FM("ranking", info, num_neg=2, n_epochs=12, batch_size=64)
run = folder / "run"


def slowly(record: dict[str, float]) -> None:
    """Leave time to be killed."""
    (folder / "epoch").write_text(str(record["epoch"]))
    time.sleep(0.2)


model.fit(data, neg_sampling=True, verbose=0, checkpoint=run, resume=run, callbacks=[slowly])
model.save(folder, "model")
