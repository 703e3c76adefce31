"""Accuracy on MovieLens 1M: ``python -m benchmarks.accuracy --experiment all --splits 3``.

``ids``
    Users and movies alone, positive above three stars, random 80/10/10.
``features``
    The same labels and splits, with sex, age and occupation of the user and the genres of the movie.
``rating``
    Stars with these features: each user's earliest 80 % train, the next 10 % validate, the last 10 % test.

A random split is drawn anew for each run; the split by time is fixed, and runs differ by the seed of the model. In each
run the validation part chooses the epoch, and the test part is only measured. Settings were chosen on the validation
part of the first split: ``--search`` trains all that were tried, and shows validation figures alone. ``rating`` takes
the settings of ``features`` as they are.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from tqdm.auto import trange

from recolib.algorithms import FM, NFM, DeepFM
from recolib.data import DatasetFeat, random_split, split_by_ratio, split_by_ratio_chrono
from recolib.data.interactions import Interactions
from recolib.datasets import fetch_movielens
from recolib.evaluation import evaluate
from recolib.recommender import Recommender

RATIOS = [0.8, 0.1, 0.1]
USER_COL = ["sex", "age", "occupation"]
GENRES = [f"genre{number}" for number in range(1, 7)]
FEATURES: dict[str, Any] = {
    "user_col": USER_COL,
    "item_col": GENRES,
    "sparse_col": USER_COL,
    "multi_sparse_col": [GENRES],
}
PATIENCE = 2
"""Epochs without a better validation figure before a run ends."""
MAX_EPOCHS = 40


@dataclass(frozen=True)
class Entry:
    """A model in an experiment."""

    algorithm: type[Recommender]
    settings: dict[str, Any]
    tried: tuple[dict[str, Any], ...] = ()
    """Changes of the settings that were tried and did not validate better."""
    n_epochs: int | None = None
    """How many epochs, of which the last counts; None: as many as help, of which the best on validation counts."""
    published: str = ""
    """The test AUC that others report for these sizes."""


@dataclass(frozen=True)
class Experiment:
    """Data, their split, and the models that are measured on them."""

    title: str
    metrics: tuple[str, ...]
    """What is measured; the first chooses epochs and settings."""
    entries: tuple[Entry, ...]
    features: bool = True
    by_time: bool = False

    @property
    def task(self) -> Literal["rating", "ranking"]:
        """The models' task."""
        return "rating" if self.metrics[0] == "rmse" else "ranking"


@dataclass(frozen=True, eq=False)
class Parts:
    """A split, encoded once for all models."""

    train: Interactions
    valid: Interactions
    test: Interactions
    n_unknown: int
    """Rows of the test part that were left out because training lacks their user or movie."""


FM_WITH_FEATURES: dict[str, Any] = {
    "embed_size": 32,
    "dropout_rate": 0.2,
    "embed_dropout": 0.3,
    "lr": 4e-3,
    "batch_size": 4096,
    "ema": 0.995,
}
NFM_WITH_FEATURES: dict[str, Any] = {
    "embed_size": 64,
    "hidden_units": (64,),
    "dropout_rate": 0.2,
    "pair_dropout": 0.2,
    "embed_dropout": 0.3,
    "lr": 2e-3,
    "batch_size": 4096,
    "ema": 0.995,
}
DEEPFM_WITH_FEATURES: dict[str, Any] = {
    "embed_size": 32,
    "hidden_units": (128, 64),
    "dropout_rate": 0.4,
    "embed_dropout": 0.2,
    "init_std": 0.05,
    "lr": 5e-3,
    "batch_size": 4096,
    "ema": 0.995,
}
NOTEBOOK: dict[str, Any] = {
    "embed_size": 16,
    "hidden_units": (16, 16),
    "dropout_rate": 0.5,
    "lr": 1e-3,
    "batch_size": 1024,
}

EXPERIMENTS = {
    "ids": Experiment(
        "users and movies alone, positive above three stars, random 80/10/10",
        metrics=("roc_auc", "log_loss"),
        features=False,
        entries=(
            Entry(
                NFM,
                NFM_WITH_FEATURES | {"embed_dropout": 0.4},
                tried=({"embed_dropout": 0.0}, {"embed_dropout": 0.2}),
                published="0.7589 (100 epochs)",
            ),
            Entry(DeepFM, NOTEBOOK, n_epochs=10, published="0.7920; five libraries 0.7864 to 0.7988"),
        ),
    ),
    "features": Experiment(
        "with sex, age, occupation and genres, positive above three stars, random 80/10/10",
        metrics=("roc_auc", "log_loss"),
        entries=(
            Entry(FM, FM_WITH_FEATURES, ({"embed_dropout": 0.2, "lr": 2e-3, "reg": 3e-4},)),
            Entry(NFM, NFM_WITH_FEATURES, ({"embed_dropout": 0.2, "reg": 3e-4},)),
            Entry(DeepFM, DEEPFM_WITH_FEATURES, ({"embed_dropout": 0.1, "lr": 2e-3, "init_std": 0.01},)),
        ),
    ),
    "rating": Experiment(
        "stars with the same features, each user's earliest 80 % train, the next 10 % validate, the last 10 % test",
        metrics=("rmse", "mae"),
        by_time=True,
        entries=(Entry(FM, FM_WITH_FEATURES), Entry(NFM, NFM_WITH_FEATURES), Entry(DeepFM, DEEPFM_WITH_FEATURES)),
    ),
}


def read(experiment: Experiment) -> pd.DataFrame:
    """The ratings, with labels as the experiment's task has them."""
    frame = fetch_movielens("1m")
    return frame if experiment.task == "rating" else frame.assign(label=(frame["label"] > 3).astype(np.int64))


def encode(frame: pd.DataFrame, experiment: Experiment, split: int) -> Parts:
    """A split of the ratings, encoded."""
    if experiment.by_time:
        parts = split_by_ratio_chrono(frame, multi_ratios=RATIOS)
        unfiltered = split_by_ratio(frame.sort_values("time", kind="stable"), multi_ratios=RATIOS, filter_unknown=False)
    else:
        parts = random_split(frame, multi_ratios=RATIOS, seed=split)
        unfiltered = random_split(frame, multi_ratios=RATIOS, seed=split, filter_unknown=False)
    train, info = DatasetFeat.build_trainset(parts[0], **(FEATURES if experiment.features else {}))
    valid, test = (DatasetFeat.build_evalset(part, data_info=info) for part in parts[1:])
    return Parts(train, valid, test, len(unfiltered[2]) - len(test))


def run(entry: Entry, experiment: Experiment, parts: Parts, seed: int, with_test: bool = True) -> dict[str, Any]:
    """Train a model, and give the figures of the epoch that validates best, or of the last if their number is fixed."""
    metric, name = experiment.metrics[0], entry.algorithm.__name__
    sign = -1 if metric == "rmse" else 1
    model = entry.algorithm(experiment.task, parts.train.data_info, n_epochs=1, seed=seed, **entry.settings)
    best: dict[str, Any] = {}
    epochs = trange(1, (entry.n_epochs or MAX_EPOCHS) + 1, desc=f"{name}, run {seed}", unit="epoch", leave=False)
    for epoch in epochs:
        model.fit(parts.train, neg_sampling=False, verbose=0)  # goes on where the last call ended
        valid = evaluate(model, parts.valid, neg_sampling=False, metrics=metric)[metric]
        epochs.set_postfix(valid=f"{valid:.4f}")
        if entry.n_epochs or not best or sign * valid > sign * best["valid"]:
            best = {"epoch": epoch, "valid": valid}
            if with_test:
                best |= evaluate(model, parts.test, neg_sampling=False, metrics=experiment.metrics)
        elif epoch - best["epoch"] == PATIENCE:
            break
    return {"model": name, "run": seed, **best, "seconds": model.history_["seconds"].sum()}


def baselines(parts: Parts) -> dict[str, float]:
    """Test RMSE of the mean rating, and of the mean with a movie's and a user's mean departure from it."""
    train, test = parts.train, parts.test
    mean = train.labels.mean(dtype=np.float64)
    of_item = mean_by(train.item_indices, train.labels - mean)
    of_user = mean_by(train.user_indices, train.labels - mean - of_item[train.item_indices])
    biased = np.clip(mean + of_item[test.item_indices] + of_user[test.user_indices], *train.data_info.min_max_rating)
    return {
        "mean rating": float(np.sqrt(np.mean((test.labels - mean) ** 2))),
        "user and movie means": float(np.sqrt(np.mean((test.labels - biased) ** 2))),
    }


def mean_by(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mean of the values of each code; 0 for a code without any."""
    return np.bincount(codes, values) / np.maximum(np.bincount(codes), 1)


def as_text(figures: dict[str, Any]) -> str:
    """Figures with their names, in one line."""
    values = (f"{value:#.4g}" if isinstance(value, float) else value for value in figures.values())
    return ", ".join(f"{name} {value}" for name, value in zip(figures, values, strict=True))


def mean_and_deviation(values: pd.Series) -> str:
    """The mean of runs ± their standard deviation."""
    return f"{values.mean():.4f} ± {values.std():.4f}"


def summary(outcomes: list[dict[str, Any]], experiment: Experiment) -> pd.DataFrame:
    """A row for each model: figures at the best epochs, which epochs these were, and the seconds of a run."""
    columns: dict[str, Any] = dict.fromkeys(("valid", *experiment.metrics), mean_and_deviation)
    columns |= {"epoch": lambda epochs: ", ".join(map(str, epochs)), "seconds": lambda times: f"{times.mean():.0f}"}
    table = pd.DataFrame(outcomes).groupby("model", sort=False).agg(columns)
    published = [entry.published for entry in experiment.entries]
    return table.assign(published=published) if any(published) else table


def report(experiment: Experiment, n_runs: int) -> None:
    """Print a line for each run, and a table of their means."""
    frame = read(experiment)
    outcomes: list[dict[str, Any]] = []
    for split in range(1 if experiment.by_time else n_runs):
        parts = encode(frame, experiment, split)
        print(
            f"split {split}: {len(parts.train)} rows train, {len(parts.valid)} validate, {len(parts.test)} test; "
            f"{parts.n_unknown} more test rows, of users or movies that training lacks, are not counted"
        )
        if experiment.task == "rating":
            print(f"test rmse: {as_text(baselines(parts))}")
        for seed in range(n_runs) if experiment.by_time else [split]:
            for entry in experiment.entries:
                outcomes.append(run(entry, experiment, parts, seed))
                print(as_text(outcomes[-1]), flush=True)
    print(f"\n{summary(outcomes, experiment).to_string()}\n")


def search(experiment: Experiment) -> None:
    """Print the validation figures of all settings that were tried, on the first split; the chosen settings first."""
    parts = encode(read(experiment), experiment, 0)
    for entry in experiment.entries:
        print(f"{entry.algorithm.__name__}: {entry.settings}")
        for changes in ({}, *entry.tried):
            tried = replace(entry, settings=entry.settings | changes)
            figures = run(tried, experiment, parts, 0, with_test=False)
            print(f"  {changes or 'as above'}: {as_text(figures)}", flush=True)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", choices=[*EXPERIMENTS, "all"], default="all")
    parser.add_argument("--splits", type=int, default=3, help="random splits; of the split by time, seeds of the model")
    parser.add_argument("--search", action="store_true", help="train the settings that were tried, on the first split")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; on a shared machine more are slower")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    start = time.perf_counter()
    for name in EXPERIMENTS if arguments.experiment == "all" else [arguments.experiment]:
        print(f"{name}: {EXPERIMENTS[name].title}", flush=True)
        if arguments.search:
            search(EXPERIMENTS[name])
        else:
            report(EXPERIMENTS[name], arguments.splits)
    print(f"{(time.perf_counter() - start) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
