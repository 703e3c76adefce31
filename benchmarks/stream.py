"""What a model has of events that come one by one: ``python -m benchmarks.stream``, on MovieLens 100K and made-up ones.

Ratings of four stars or more, a fifth of them at random to be found. Of the others the last 200 come by time: in one
update, by two, or each in its own; among known events (``replay``) or alone. Then newcomers: 60 users that training
does not have send their first five events, two in an update, and what they like later is to be found. Beside it are
folding in by ``history=`` and lists of the mean user. Seconds are the processor's.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from benchmarks.lists.sets import USER_COL, liked
from recolib.algorithms import FM, DeepFM
from recolib.data import DatasetFeat
from recolib.datasets import fetch_movielens, make_movies
from recolib.evaluation import evaluate
from recolib.recommender import Recommender

K = 10
N_LATER = 200
N_NEWCOMERS, N_FIRST, N_EVENTS = 60, 5, 15
"""How many new users; how many of their events are told; and the fewest that each of them has."""
MODELS: dict[str, tuple[type[Recommender], dict[str, Any]]] = {
    "FM": (FM, {}),
    "DeepFM": (DeepFM, {}),
    "FM, one negative": (FM, {"num_neg": 1}),
    "DeepFM, one negative": (DeepFM, {"num_neg": 1}),
}
SETS = {
    "MovieLens 100K": lambda: fetch_movielens("100k"),
    "made-up movies": lambda: make_movies(n_users=600, n_items=400, n_ratings=40_000, seed=0),
}
WAYS = {"one update": (N_LATER, None), "by two": (2, None), "one by one": (1, None), "by two, alone": (2, 0)}
"""Events in an update, and ``replay``."""


class Parts(NamedTuple):
    """Events to train on, those that come later, and those to be found."""

    train: pd.DataFrame
    later: pd.DataFrame
    test: pd.DataFrame


def by_time(frame: pd.DataFrame) -> Parts:
    """A fifth to be found, at random, and of the others the last to come later."""
    is_test = np.random.default_rng(0).random(len(frame)) < 0.2
    rest = frame[~is_test]
    return Parts(rest.iloc[:-N_LATER], rest.iloc[-N_LATER:], frame[is_test])


def by_newcomers(frame: pd.DataFrame) -> Parts:
    """Some users with their first events, one user after the other, and what they liked later."""
    sizes = frame.groupby("user").size()
    users = np.random.default_rng(1).permutation(sizes[sizes >= N_EVENTS].index.to_numpy())[:N_NEWCOMERS]
    is_new, place = frame["user"].isin(users), frame.groupby("user").cumcount()
    train = frame[~is_new]
    known = frame["item"].isin(train["item"])
    first = frame[is_new & known & (place < N_FIRST)].sort_values("user", kind="stable")
    return Parts(train, first, frame[is_new & known & (place >= N_FIRST) & frame["user"].isin(first["user"])])


def fitted(algorithm: type[Recommender], settings: Mapping[str, Any], train: pd.DataFrame) -> tuple[Recommender, float]:
    data, info = DatasetFeat.build_trainset(train, user_col=USER_COL, sparse_col=USER_COL)
    start = time.process_time()
    model = algorithm("ranking", info, **settings).fit(data, neg_sampling=True, verbose=0)
    return model, time.process_time() - start


def updated(model: Recommender, later: pd.DataFrame, size: int, replay: int | None) -> tuple[Recommender, float]:
    """A copy of a model after updates of so many events each, and the seconds that they took."""
    model, start = copy.deepcopy(model), time.process_time()
    for at in range(0, len(later), size):
        model.update(later.iloc[at : at + size], neg_sampling=True, verbose=0, replay=replay)
    return model, time.process_time() - start


def ndcg(lists: Mapping[Any, Sequence[Any]], test: pd.DataFrame) -> float:
    """The mean nDCG of lists by user."""
    gains = 1 / np.log2(np.arange(2, K + 2))
    wanted = test.groupby("user")["item"].agg(set)
    return float(
        np.mean([gains[np.isin(lists[user], list(of))].sum() / gains[: len(of)].sum() for user, of in wanted.items()])
    )


def report_stream(name: str, frame: pd.DataFrame) -> None:
    print(f"\n{name}: nDCG@{K}, and seconds of the processor, after {N_LATER} later events\n")
    print(f"| model | fit | before | {' | '.join(WAYS)} |\n|---|--:|--:|{'--:|' * len(WAYS)}", flush=True)
    parts = by_time(frame)
    for title, (algorithm, settings) in MODELS.items():
        model, seconds = fitted(algorithm, settings, parts.train)
        cells = [f"{seconds:.1f} s", f"{measured(model, parts.test):.3f}"]
        for size, replay in WAYS.values():
            after, seconds = updated(model, parts.later, size, replay)
            cells.append(f"{measured(after, parts.test):.3f} ({seconds:.2f} s)")
        print(f"| {title} | {' | '.join(cells)} |", flush=True)


def measured(model: Recommender, test: pd.DataFrame) -> float:
    return evaluate(model, test, neg_sampling=True, metrics=["ndcg"], k=K)["ndcg"]


def report_newcomers(name: str, frame: pd.DataFrame) -> None:
    print(f"\n{name}: nDCG@{K} of {N_NEWCOMERS} new users after their first {N_FIRST} events\n")
    print(
        "| model | mean user | `history=` | updates of two | alone | one update |\n|---|--:|--:|--:|--:|--:|",
        flush=True,
    )
    parts = by_newcomers(frame)
    told: dict[Any, list[Any]] = parts.later.groupby("user")["item"].agg(list).to_dict()
    users = list(told)
    for title, (algorithm, settings) in MODELS.items():
        model, _ = fitted(algorithm, settings, parts.train)
        longer = model.recommend_user(users, K + N_FIRST)
        lists = [
            {user: [item for item in longer[user] if item not in told[user]][:K] for user in users},
            model.recommend_user(users, K, history=told),
        ]
        for size, replay in ((2, None), (2, 0), (len(parts.later), None)):
            lists.append(updated(model, parts.later, size, replay)[0].recommend_user(users, K))
        print(f"| {title} | {' | '.join(f'{ndcg(some, parts.test):.3f}' for some in lists)} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    for name in chosen.sets:
        frame = liked(SETS[name]()).sort_values("time", kind="stable", ignore_index=True)
        report_stream(name, frame)
        report_newcomers(name, frame)


if __name__ == "__main__":
    main()
