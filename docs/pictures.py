"""The plots of ``plots.md``: ``python docs/pictures.py`` draws them again, from made-up movies."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import numpy as np
import pandas as pd
from matplotlib import pyplot

from recolib import EarlyStopping, plots
from recolib.algorithms import FM, DeepFM
from recolib.data import DatasetFeat, split_by_ratio_chrono
from recolib.datasets import make_movies

HERE = Path(__file__).parent
COLUMNS = {
    "user_col": ["sex", "age"],
    "item_col": ["genre1", "year"],
    "sparse_col": ["sex", "age", "genre1"],
    "dense_col": ["year"],
}


def save(name: str) -> None:
    """Write the current figure, the same bytes for the same numbers."""
    pyplot.gcf().savefig(HERE / f"plots_{name}.svg", metadata={"Date": None}, dpi=150)
    pyplot.close()


def cold_start() -> pd.DataFrame:
    """How much of what is recommended to users held out whole they watched, by strategy, five times."""
    rows: list[tuple[str, int, float]] = []
    for run in range(5):
        frame = make_movies(n_users=600, n_items=200, n_ratings=20_000, seed=run)
        cold_users = frame["user"].drop_duplicates().sample(frac=0.2, random_state=run)
        is_new = frame["user"].isin(cold_users)
        data, info = DatasetFeat.build_trainset(frame[~is_new], **COLUMNS)
        model = FM("ranking", info, n_epochs=6, lr=0.01, id_dropout=0.3, seed=run).fit(data, True, verbose=0)
        watched = frame[is_new].groupby("user")["item"].agg(set)
        feats = frame[is_new].drop_duplicates("user")[["user", "sex", "age"]]
        strategies = {
            "popular": {"cold_start": "popular"},
            "popular by sex": {"cold_start": "popular", "segment": "sex", "user_feats": feats},
            "average": {},
            "features": {"cold_start": "features", "user_feats": feats},
        }
        for strategy, how in strategies.items():
            lists = model.recommend_user(watched.index.tolist(), 10, **how)
            hits = [len(watched[user] & set(items.tolist())) / 10 for user, items in lists.items()]
            rows.append((strategy, run, float(np.mean(hits))))
    return pd.DataFrame(rows, columns=["strategy", "run", "value"])


def main() -> None:
    """Draw them all."""
    train, test = split_by_ratio_chrono(make_movies(), test_size=0.2)
    data, info = DatasetFeat.build_trainset(train, **COLUMNS)
    deep = DeepFM("ranking", info, n_epochs=20, hidden_units=(64, 32))
    deep.fit(
        data,
        neg_sampling=True,
        verbose=0,
        eval_data=test,
        metrics="loss",
        early_stopping=EarlyStopping("loss", patience=3),
    )
    fm = FM("ranking", info, n_epochs=5, lr=0.005).fit(data, neg_sampling=True, verbose=0)
    user, item = test["user"].iloc[0], test["item"].iloc[0]
    with pyplot.rc_context({"svg.hashsalt": "recolib"}):
        plots.training_curves(deep)
        save("training")
        plots.popularity_against_exposure(deep)
        save("exposure")
        plots.calibration(deep, test, neg_sampling=True)
        save("calibration")
        plots.explanation(fm.explain(user, item))
        save("explanation")
        plots.importance(deep.feature_importance(test, neg_sampling=True, verbose=0))
        save("importance")
        plots.cold_start_comparison(cold_start(), "share of ten recommendations that were watched", reference="popular")
        save("cold_start")


if __name__ == "__main__":
    main()
