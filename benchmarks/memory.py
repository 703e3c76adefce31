"""Memory of a large catalogue: ``python -m benchmarks.memory --items 1000000 --users 20``.

Trains DeepFM for one epoch on a catalogue in which every item has one user, recommends for some users, and prints the
process's peak, training and libraries included.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd

from recolib.algorithms import DeepFM
from recolib.data import DatasetPure


def peak_mib() -> float:
    """The process's highest resident memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the peak after each stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=20, help="users in one call")
    parser.add_argument("--embed-size", type=int, default=16)
    arguments = parser.parse_args()
    users = np.random.default_rng(0).integers(0, 1000, arguments.items)
    frame = pd.DataFrame({"user": users, "item": np.arange(arguments.items), "label": 1})
    data, info = DatasetPure.build_trainset(frame)
    print(f"encoded: {peak_mib():.0f} MiB")
    model = DeepFM("ranking", info, n_epochs=1, batch_size=65_536, embed_size=arguments.embed_size)
    model.fit(data, neg_sampling=True, verbose=0)
    print(f"trained: {peak_mib():.0f} MiB")
    start = time.perf_counter()
    model.recommend_user(frame["user"].drop_duplicates().head(arguments.users), n_rec=10)
    seconds = time.perf_counter() - start
    print(f"{arguments.users} users x {arguments.items} items: {peak_mib():.0f} MiB, {seconds:.1f} s with item states")


if __name__ == "__main__":
    main()
