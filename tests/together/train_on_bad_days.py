"""Trains on what each process has for itself: ``torchrun train_on_bad_days.py FOLDER``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch

from recolib import FM, DatasetFeat
from recolib.process_group import ProcessGroup

warnings.simplefilter("ignore")
torch.set_num_threads(1)
folder = Path(sys.argv[1])
own, run = folder / f"of-{ProcessGroup.current().rank}", folder / "disk" / "run"
data, info = DatasetFeat.build_trainset(own / "events", user_col=["sex"], sparse_col=["sex"], cache_dir=own / "encoded")
model = FM("ranking", info, num_neg=1, n_epochs=4, batch_size=512)
model.fit(data, neg_sampling=True, verbose=0, checkpoint=run, resume=run)
model.save(own, "model")
