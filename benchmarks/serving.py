"""What an app waits for: lists, predictions, an evaluation, the import, and memory; LibRecommender's calls are ours.

Both libraries' sides train, and hand their model to ``serve``, so that both are asked the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measures import growth_mib, import_seconds, median_seconds, peak_mib, seconds
from benchmarks.protocol import Record

METRICS = ["loss", "roc_auc", "precision", "recall", "map", "ndcg"]
N_REC = 10
N_USERS = 1000


def serve(
    model: Any, package: str, train: pd.DataFrame, evaluation: Callable[[], object], chunk: int
) -> Iterator[Record]:
    """What the calls of a fitted model take.

    Parameters
    ----------
    model
        Either library's: it has ``recommend_user`` and ``predict``.
    package
        The module whose import is timed.
    train
        The rows that the model was trained on.
    evaluation
        Measures ``METRICS`` of the test rows.
    chunk
        How many of the thousand users a call may have.
    """
    yield {"fit_peak_mib": peak_mib()}
    rng = np.random.default_rng(0)
    users = rng.permutation(train["user"].unique())[:N_USERS].tolist()
    pairs = train.sample(10_000, replace=True, random_state=0)[["user", "item"]]
    known, items = pairs["user"].tolist(), pairs["item"].tolist()

    def recommend(asked: object) -> None:
        model.recommend_user(user=asked, n_rec=N_REC)

    def recommend_to_all() -> None:
        for start in range(0, len(users), chunk):
            recommend(users[start : start + chunk])

    def predict(number: int) -> None:
        model.predict(user=known[number], item=items[number])

    recommend(users[0])  # what the first call prepares is not the call
    yield {"recommend_1_ms": 1e3 * median_seconds(recommend, users[:200])}
    spent: list[float] = []
    yield {"recommend_1000_mib": growth_mib(lambda: spent.append(seconds(recommend_to_all)))}
    yield {"recommend_1000_ms": 1e3 * spent[0]}
    hundreds = [users[start : start + 100] for start in range(0, min(len(users), 300), 100)]
    yield {"recommend_100_mib": growth_mib(lambda: recommend(hundreds[0]))}
    yield {"recommend_100_ms": 1e3 * median_seconds(recommend, hundreds)}
    predict(0)
    yield {"predict_1_ms": 1e3 * median_seconds(predict, range(500))}
    yield {"predict_10000_ms": 1e3 * median_seconds(lambda items: model.predict(user=known, item=items), [items] * 11)}
    yield {"evaluate_s": seconds(evaluation)}
    yield {"import_s": import_seconds(package)}
