"""What a model takes for similar movies: ``python -m benchmarks.neighbours``, on MovieLens 1M.

For movies that at least 50 people saw, the ten most similar by three definitions: ``similar_items``; the cosine of what
``item_vectors`` gives, without its constants; the cosine of the network's vectors of the items' ids. Of each ten it is
counted how many are among the ten by the correlation of the model's own scores over 2,000 users, and how many among the
ten by the cosine of who saw what; and how much of their genres they share, the intersection over the union.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse

from recolib.algorithms import FM, DeepFM
from recolib.data import DataInfo, DatasetFeat
from recolib.datasets import fetch_movielens
from recolib.inference.scoring import encode_rows, score_catalogue
from recolib.recommender import Recommender

N = 10
N_SEEN_BY = 50
MOVIES = {260: "Star Wars", 1: "Toy Story", 593: "The Silence of the Lambs"}
Lists = NDArray[np.int64]
HEADER = "| model | similar by | own scores | audience | genres |\n|---|---|--:|--:|--:|"


def nearest(similarities: NDArray[np.floating], counted: NDArray[np.bool_]) -> Lists:
    """Positions of the ten most similar others that count, of those that count."""
    ranked = np.where(counted, similarities, -np.inf)
    np.fill_diagonal(ranked, -np.inf)
    return np.argsort(-ranked[counted], 1, kind="stable")[:, :N]


def cosines(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return unit @ unit.T


def audiences(info: DataInfo) -> NDArray[np.floating]:
    """The cosine of who saw what."""
    met = info.user_consumed
    seen = sparse.csr_array((np.ones(len(met.codes)), met.codes, met.starts), (info.n_users + 1, info.n_items + 1))
    both = (seen.T @ seen).toarray()[1:, 1:]
    return both / np.sqrt(np.outer(both.diagonal(), both.diagonal()))


def correlations(model: Recommender) -> NDArray[np.floating]:
    """Of items' scores over some users, when each user's mean is taken off."""
    info, network = model.data_info, model.engine.network
    users = 1 + np.random.default_rng(0).permutation(info.n_users)[:2000]
    items = encode_rows(network, "item", info.items.current[1:])
    scores = score_catalogue(network, info.users.rows[torch.from_numpy(users)], items[None], info.n_items).cpu().numpy()
    return np.corrcoef(scores - scores.mean(1, keepdims=True), rowvar=False)


def definitions(model: Recommender, counted: NDArray[np.bool_]) -> Iterator[tuple[str, Lists]]:
    info, embedding = model.data_info, model.engine.network.item
    codes = np.flatnonzero(counted) + 1
    found = model.similar_items(codes, info.n_items - 1, inner_id=True)
    yield "`similar_items`", np.array([near[counted[near - 1]][:N] - 1 for near in found.values()])
    n_constants = 2 if model.engine.vectors().anchors is None else 1
    yield "vectors", nearest(cosines(model.item_vectors()[:, :-n_constants]), counted)
    of_ids = embedding.vectors.weight.detach()[embedding.blocks[0]][-info.n_items :]
    yield "vectors of ids", nearest(cosines(of_ids.numpy()), counted)


def report(frame: pd.DataFrame, n_epochs: int) -> None:
    genres = [name for name in frame.columns if name.startswith("genre")]
    people = ["sex", "age", "occupation"]
    data, info = DatasetFeat.build_trainset(
        frame, user_col=people, item_col=genres, sparse_col=people, multi_sparse_col=[genres]
    )
    counted = info.item_consumed.counts()[1:] >= N_SEEN_BY
    known = frame.drop_duplicates("item").set_index("item").loc[info.vocabs["item"].values]
    of_item = [set(row) - {"missing"} for row in known[genres].to_numpy().tolist()]
    by_audience = nearest(audiences(info), counted)
    print(HEADER, flush=True)
    lists: dict[str, Lists] = {}
    for algorithm, lr in ((FM, 3e-3), (DeepFM, 1e-3)):
        model = algorithm("ranking", info, n_epochs=n_epochs, batch_size=2048, lr=lr)
        model.fit(data, neg_sampling=True, verbose=0)
        by_scores = nearest(correlations(model), counted)
        for name, found in definitions(model, counted):
            lists[f"{model.model_name}, {name}"] = found
            shared = [
                len(of_item[i] & of_item[j]) / max(1, len(of_item[i] | of_item[j]))
                for i, near in zip(np.flatnonzero(counted), found, strict=True)
                for j in near
            ]
            shares = overlap(found, by_scores), overlap(found, by_audience), np.mean(shared)
            print(f"| {model.model_name} | {name} | {' | '.join(f'{share:.0%}' for share in shares)} |", flush=True)
    place = np.cumsum(counted) - 1
    for movie, title in MOVIES.items():
        for name, found in (lists | {"audience": by_audience}).items():
            print(f"\n{title}; {name}: {'; '.join(known['title'].iloc[found[place[info.item2id[movie] - 1]]])}")


def overlap(lists: Lists, others: Lists) -> float:
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(lists, others, strict=True)]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    report(fetch_movielens("1m"), chosen.epochs)


if __name__ == "__main__":
    main()
