"""Trains algorithms, or all, in several ways, and writes the weights: ``[torchrun] train_all.py FOLDER [NAMES]``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from recolib import algorithms
from recolib.data import DatasetFeat
from recolib.datasets import make_movies
from recolib.process_group import ProcessGroup
from recolib.recommender import Recommender
from recolib.training.stopping import EarlyStopping

STEADY = {"epsilon": 1e-3, "n_epochs": 2, "embed_size": 8}
"""Adam divides a gradient that is rounding alone by itself; a larger ε keeps it small."""
SAMPLED = STEADY | {"num_neg": 2, "batch_size": 256, "use_bn": False}
CATALOGUE = STEADY | {"num_neg": "all", "batch_size": 32}
OF_ALL: dict[str, dict[str, Any]] = {"sampled": SAMPLED, "catalogue": CATALOGUE}
OF_SOME: dict[str, dict[str, Any]] = {
    "norm": SAMPLED | {"use_bn": True},
    "catalogue_norm": CATALOGUE | {"use_bn": True},
    "shared": CATALOGUE | {"num_neg": 20, "sampler": "shared"},
    "implicit": CATALOGUE | {"loss_type": "implicit"},
    "sparse": SAMPLED | {"optimizer": "lazy_adam", "clip_norm": 0.1},
    "rowwise": SAMPLED | {"optimizer": "rowwise_adagrad"},
    "average": SAMPLED | {"ema": 0.9, "reg": 1e-3, "id_dropout": (0.2, 0.1), "embed_dropout": 0.3},
    "tail": SAMPLED | {"batch_size": 3 * 449},  # 900 rows: the last batch has 2
    "history": CATALOGUE | {"history": True},
}
SOME = "FM", "DeepFM"
UNLIKE = {"SASRec": {"dropout_rate": 0.0}, "DIN": {"lr": 1e-3}}
"""Sequences are no rows of a batch: each process draws what it drops of its own. DIN's first steps are steep."""


def models(only: Collection[str]) -> dict[str, tuple[type[Recommender], dict[str, Any]]]:
    """The algorithm and the settings of each case, of all algorithms if none is named."""
    names = [name for name in algorithms.__all__ if getattr(algorithms, name).has_epochs and name in (only or [name])]
    cases = [(name, case, settings) for name in names for case, settings in OF_ALL.items()]
    cases = [one for one in cases if one[1] == "catalogue" or not getattr(algorithms, one[0]).alternates]
    cases += [(name, case, settings) for name in SOME for case, settings in OF_SOME.items()]
    return {
        f"{name}-{case}": (getattr(algorithms, name), settings | UNLIKE.get(name, {})) for name, case, settings in cases
    }


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    frame = make_movies(n_users=61, n_items=47, n_ratings=900)
    frame["weight"] = 1.0 + frame["label"] / 5
    columns = {"user_col": ["sex", "age"], "sparse_col": ["sex"], "dense_col": ["age"]}
    data, info = DatasetFeat.build_trainset(frame, **columns, weight_col="weight")
    found = dict[str, torch.Tensor]()
    for case, (algorithm, settings) in models(sys.argv[2:]).items():
        own = {name: value for name, value in settings.items() if hasattr(algorithm, name)}
        model = algorithm("ranking", info, seed=3, **own).fit(data, neg_sampling=True, verbose=0)
        found |= {f"{case}.{name}": one.contiguous() for name, one in model._state.items() if name[:7] == "network"}
        found[f"{case}.loss"] = torch.tensor(model.history_["train_loss"].to_numpy())
    model = algorithms.FM("rating", info, lr=0.05, n_epochs=30, epsilon=1e-3)
    stopping = EarlyStopping("rmse", patience=2)
    model.fit(data, False, 0, eval_data=frame, metrics=["rmse"], early_stopping=stopping)
    found["stopped.loss"] = torch.tensor(model.history_["train_loss"].to_numpy())
    found["stopped.rmse"] = torch.tensor(model.history_["eval_rmse"].to_numpy())
    group = ProcessGroup.current()
    save_file(found, Path(sys.argv[1]) / f"{group.size}-{group.rank}.safetensors")


if __name__ == "__main__":
    main()
