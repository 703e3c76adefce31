"""Memory: ``python -m benchmarks.memory catalogue``, ``python -m benchmarks.memory step``.

``catalogue``
    Trains DeepFM for one epoch on a catalogue in which every item has one user, recommends for some users, and prints
    the process's peak, training and libraries included.
``step``
    What each algorithm keeps of a batch between the forward and the backward pass, weights aside, where the user's side
    has nine columns and the item's has its id.
"""

from __future__ import annotations

import argparse
import time
from inspect import signature

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.measures import peak_mib
from recolib import algorithms
from recolib.algorithms import DeepFM
from recolib.data import DatasetFeat, DatasetPure
from recolib.fitting.wiring import build_network
from recolib.training.batches import Examples


def catalogue(n_items: int, n_users: int, embed_size: int) -> None:
    """Print the peak after each stage."""
    users = np.random.default_rng(0).integers(0, 1000, n_items)
    frame = pd.DataFrame({"user": users, "item": np.arange(n_items), "label": 1})
    data, info = DatasetPure.build_trainset(frame)
    print(f"encoded: {peak_mib():.0f} MiB")
    model = DeepFM("ranking", info, n_epochs=1, batch_size=65_536, embed_size=embed_size)
    model.fit(data, neg_sampling=True, verbose=0)
    print(f"trained: {peak_mib():.0f} MiB")
    start = time.perf_counter()
    model.recommend_user(frame["user"].drop_duplicates().head(n_users), n_rec=10)
    seconds = time.perf_counter() - start
    print(f"{n_users} users x {n_items} items: {peak_mib():.0f} MiB, {seconds:.1f} s with item states")


def step(batch_size: int, embed_size: int) -> None:
    """Print what each algorithm keeps for the backward pass, in MiB."""
    rng = np.random.default_rng(0)
    columns = [f"column{number}" for number in range(8)]
    frame = pd.DataFrame({name: rng.integers(0, 50, batch_size) for name in ("user", "item", *columns)})
    data, info = DatasetFeat.build_trainset(frame.assign(label=1), context_col=columns, sparse_col=columns)
    for name in algorithms.__all__:
        for dropout in (0.0, 0.2):
            algorithm = getattr(algorithms, name)
            own = "pair_dropout" if "pair_dropout" in signature(algorithm).parameters else "dropout_rate"
            model = algorithm("ranking", info, embed_size=embed_size, **{own: dropout})
            network = build_network(model, model.components).train()
            examples = Examples.of(data, None, 0, network.device)
            users, items, _ = examples.batch(torch.arange(batch_size), examples.candidates(0, 0, np.arange(batch_size)))
            weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
            kept: dict[int, int] = {}

            def keep(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
                storage = tensor.untyped_storage()
                kept[storage.data_ptr()] = storage.nbytes()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                scores = network(users, items)
            size = sum(n for at, n in kept.items() if at not in weights) / 2**20
            print(f"{name}, {own}={dropout}: {size:.1f} MiB for {batch_size} rows of {embed_size} numbers a vector")
            del scores


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["catalogue", "step"])
    parser.add_argument("--items", type=int, default=1_000_000, help="of the catalogue")
    parser.add_argument("--users", type=int, default=20, help="users in one call")
    parser.add_argument("--batch-size", type=int, default=1024, help="rows of the step")
    parser.add_argument("--embed-size", type=int, help="16 for the catalogue, 256 for the step")
    arguments = parser.parse_args()
    if arguments.what == "catalogue":
        catalogue(arguments.items, arguments.users, arguments.embed_size or 16)
    else:
        step(arguments.batch_size, arguments.embed_size or 256)


if __name__ == "__main__":
    main()
