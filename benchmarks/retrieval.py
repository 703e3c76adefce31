"""What an index of item vectors finds, and how fast: ``python -m benchmarks.retrieval``.

Recall is the share of the ten best items of the exhaustive lists that is in the lists of a ``Retriever``; a user who is
asked about alone has consumed items left out, as ever. The catalogue is generated; with ``--movielens`` it is a sample
of MovieLens 1M, ``ml1m_sample_merged.csv`` in the folder that RECOLIB_DATA_HOME names.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.librecommender import COLUMNS
from benchmarks.measures import median_seconds, seconds
from recolib.algorithms import FM, NFM, DeepFM
from recolib.ann import INDEXES, Retriever
from recolib.data import DatasetFeat
from recolib.datasets import make_movies
from recolib.recommender import Recommender

N_REC = 10
N_CANDIDATES = (100, 1000)
MODELS: dict[type[Recommender], dict[str, Any]] = {
    FM: {},
    DeepFM: {"hidden_units": (128, 64, 32)},
    NFM: {"hidden_units": (64, 32)},
}
HEADER = "| model | index | candidates | recall@10 | ms a user | built in s |\n|---|---|--:|--:|--:|--:|"


def indexes() -> Sequence[str]:
    """Those that can be built here."""
    return INDEXES if importlib.util.find_spec("faiss") else [index for index in INDEXES if index != "hnsw"]


def measured(model: Recommender, n_users: int) -> Iterator[str]:
    """A row of the table for each way to make a list."""
    ids = model.data_info.id2user
    step = max(1, model.data_info.n_users // n_users)
    users = [ids[code] for code in range(1, model.data_info.n_users + 1, step)][:n_users]

    def ms(retriever: Retriever | None) -> float:
        def ask(user: int | str) -> object:
            return model.recommend_user(user, N_REC, retriever=retriever)

        ask(users[0])  # what the first call prepares is not the call
        return 1e3 * median_seconds(ask, users)

    name = model.model_name
    yield f"| {name} | none | all | 1 | {ms(None):.2f} | |"
    took = seconds(model.engine.vectors)
    for index in indexes():
        built: list[Retriever] = []
        spent = took + seconds(lambda index=index, built=built: built.append(Retriever(model, index)))
        for n_candidates in N_CANDIDATES:
            built[0].n_candidates = n_candidates
            recall, each = built[0].recall(users, N_REC), ms(built[0])
            yield f"| {name} | {index} | {n_candidates} | {recall:.3f} | {each:.2f} | {spent:.1f} |"


def report(frame: pd.DataFrame, n_epochs: int, n_users: int) -> None:
    """Train each model, and print its rows."""
    data, info = DatasetFeat.build_trainset(frame, **COLUMNS)
    print(f"{info.n_items} items, {info.n_users} users, {len(data)} rows, {n_epochs} epochs\n\n{HEADER}", flush=True)
    for algorithm, settings in MODELS.items():
        model = algorithm("ranking", info, n_epochs=n_epochs, batch_size=2048, lr=2e-3, **settings)
        for row in measured(model.fit(data, neg_sampling=True, verbose=0), n_users):
            print(row, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000, help="of the generated catalogue; some nobody meets")
    parser.add_argument("--users", type=int, default=5_000, help="of the generated catalogue")
    parser.add_argument("--rows", type=int, default=500_000, help="of the generated catalogue")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--asked", type=int, default=200, help="how many users are asked about")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--movielens", action="store_true")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {chosen.threads} threads")
    if chosen.movielens:
        frame = pd.read_csv(Path(os.environ["RECOLIB_DATA_HOME"]) / "ml1m_sample_merged.csv")
    else:
        frame = make_movies(chosen.users, chosen.items, chosen.rows)
    report(frame, chosen.epochs, chosen.asked)


if __name__ == "__main__":
    main()
