"""Trains models with shared out tables, and writes the weights: ``[torchrun] train_sharing.py FOLDER``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from recolib import algorithms
from recolib.data import DatasetFeat
from recolib.datasets import make_movies
from recolib.process_group import ProcessGroup
from recolib.training import shards

SHARED: dict[str, Any] = {
    "optimizer": "rowwise_adagrad",
    "shard": "rows",
    "epsilon": 1e-3,
    "embed_size": 8,
    "n_epochs": 2,
}
SAMPLED = SHARED | {"num_neg": 2, "batch_size": 256, "use_bn": False}
CATALOGUE = SHARED | {"num_neg": "all", "batch_size": 32, "epsilon": 1e-2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "sampled": ("FM", SAMPLED),
    "deep": ("DeepFM", SAMPLED | {"reg": 1e-3, "id_dropout": (0.2, 0.1), "embed_dropout": 0.3}),
    "tail": ("NFM", SAMPLED | {"batch_size": 3 * 449}),  # 900 rows: the last batch has 2, so that one of 3 has none
    "catalogue": ("FM", CATALOGUE | {"prior": 3.0, "initial_accumulator_value": 0.01}),
    "drawn": ("FM", CATALOGUE | {"num_neg": 20, "sampler": "shared"}),
    "slots": ("AutoInt", SAMPLED | {"multi_sparse_combiner": "mean", "lr_decay": True}),
}


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder, group = Path(sys.argv[1]), ProcessGroup.current()
    shards.NUMBERS_AT_ONCE = 64  # so that tables are sent in several parts
    frame = make_movies(n_users=61, n_items=47, n_ratings=900)
    columns: dict[str, Any] = {"user_col": ["sex", "age"], "sparse_col": ["sex"], "dense_col": ["age"]}
    genres = [name for name in frame if str(name).startswith("genre")]
    columns |= {"item_col": genres, "multi_sparse_col": [genres]}
    hashed: dict[str, Any] = {"encoding": {genres[0]: "hash"}, "n_buckets": 40}  # more than there are genres
    data, info = DatasetFeat.build_trainset(frame, **columns, **hashed)
    found = dict[str, torch.Tensor]()
    for case, (name, settings) in CASES.items():
        algorithm = getattr(algorithms, name)
        own = {name: value for name, value in settings.items() if hasattr(algorithm, name)}
        model = algorithm("ranking", info, seed=3, **own).fit(data, neg_sampling=True, verbose=0)
        found |= {f"{case}.{name}": one.contiguous() for name, one in model._state.items() if name != "progress"}
        found[f"{case}.loss"] = torch.tensor(model.history_["train_loss"].to_numpy())
    of_fm = {name: value for name, value in SAMPLED.items() if name != "use_bn"}
    for case, n_epochs in (("at_once", (4,)), ("further", (2, 2))):
        model = algorithms.FM("ranking", info, seed=3, **of_fm | {"n_epochs": n_epochs[0]})
        for _ in n_epochs:
            model.fit(data, neg_sampling=True, verbose=0)
        found |= {f"{case}.{name}": one.contiguous() for name, one in model._state.items() if name != "progress"}
    if group.is_first:
        model.save(folder, f"model-{group.size}")
    save_file(found, folder / f"{group.size}-{group.rank}.safetensors")


if __name__ == "__main__":
    main()
