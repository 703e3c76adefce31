"""Accuracy: ``python -m benchmarks.accuracy --data frappe --models FM IFM``.

``ml-1m``
    ``ids``: users and movies of MovieLens 1M alone, positive above three stars, random 80/10/10. ``features``: the
    same, with sex, age and occupation of the user and the genres of the movie. ``rating``: stars with these features;
    each user's earliest 80 % train, the next 10 % validate, the last 10 % test.
``frappe``
    The split of He and Chua, vectors of 64 numbers. ``rmse``: labels of −1 and 1, squared error, predictions clipped to
    them. ``auc``: labels of 0 and 1, cross-entropy.

A random split is drawn anew for each run; of a split that is fixed, runs differ by the seed of the model. In each run
the validation part chooses the epoch, and the test part is only measured. Settings were chosen on the validation part
of the first split and seed: ``--search`` trains all that were tried, and shows validation figures alone. ``rating``
takes the settings of ``features`` as they are.

Without ``--data`` all are run. Frappe is read from the folder ``frappe`` of ``RECOLIB_DATA_HOME``, MovieLens as
``recolib.datasets.fetch_movielens`` finds it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm.auto import trange

from benchmarks.experiments import EXPERIMENTS, PARTS, Entry, Experiment, Parts, file_of_frappe
from recolib.algorithms import FM
from recolib.data.interactions import Interactions
from recolib.evaluation import evaluate
from recolib.evaluation.metrics import roc_auc


def run(entry: Entry, experiment: Experiment, parts: Parts, seed: int, with_test: bool = True) -> dict[str, Any]:
    """Train a model, and give the figures of the epoch that validates best, or of the last if their number is fixed."""
    metric = experiment.metrics[0]
    sign = -1 if metric == "rmse" else 1
    info, n_of_fm, start = parts.train.data_info, 0, {}
    if entry.fm is not None:
        fm = FM(experiment.task, info, seed=seed, **entry.fm).fit(parts.train, neg_sampling=False, verbose=0)
        n_of_fm, start = fm.history_["seconds"].sum(), {"init_from": fm}
    model = entry.algorithm(experiment.task, info, n_epochs=1, seed=seed, **entry.settings)
    best: dict[str, Any] = {}
    epochs = trange(
        1, (entry.n_epochs or entry.at_most) + 1, desc=f"{entry.name}, run {seed}", unit="epoch", leave=False
    )
    for epoch in epochs:
        model.fit(parts.train, neg_sampling=False, verbose=0, **(start if epoch == 1 else {}))  # or goes on
        valid = evaluate(model, parts.valid, neg_sampling=False, metrics=metric)[metric]
        epochs.set_postfix(valid=f"{valid:.4f}")
        if entry.n_epochs or not best or sign * valid > sign * best["valid"]:
            best = {"epoch": epoch, "valid": valid}
            if with_test:
                best |= evaluate(model, parts.test, neg_sampling=False, metrics=experiment.metrics)
        elif epoch - best["epoch"] == experiment.patience:
            break
    n_weights = sum(weight.numel() for weight in model.engine.network.parameters())
    seconds = n_of_fm + model.history_["seconds"].sum()
    return {"model": entry.name, "run": seed, **best, "seconds": seconds, "parameters": n_weights}


def baselines(parts: Parts) -> dict[str, float]:
    """Test RMSE of the mean rating, and of the mean with an item's and a user's mean departure from it."""
    train, test = parts.train, parts.test
    mean = train.labels.mean(dtype=np.float64)
    of_item = mean_by(train.item_indices, train.labels - mean)
    of_user = mean_by(train.user_indices, train.labels - mean - of_item[train.item_indices])
    biased = np.clip(mean + of_item[test.item_indices] + of_user[test.user_indices], *train.data_info.min_max_rating)
    return {
        "mean rating": float(np.sqrt(np.mean((test.labels - mean) ** 2))),
        "user and item means": float(np.sqrt(np.mean((test.labels - biased) ** 2))),
    }


def seen_and_popular(parts: Parts, metric: str) -> dict[str, float]:
    """The test figure of two facts: whether training has the user with the item, liked, and how many liked the item.

    Each is a cell of a table whose mean label the validation part tells.
    """
    train = parts.train
    liked = train.labels > 0
    stride = train.data_info.n_items + 1
    known = np.unique(train.user_indices[liked].astype(np.int64) * stride + train.item_indices[liked])
    popularity = np.bincount(train.item_indices[liked], minlength=stride)
    bounds = np.unique(np.quantile(popularity[train.item_indices], np.linspace(0, 1, 41)[1:-1]))

    def cells(data: Interactions) -> np.ndarray:
        seen = np.isin(data.user_indices.astype(np.int64) * stride + data.item_indices, known)
        return seen * (len(bounds) + 1) + np.searchsorted(bounds, popularity[data.item_indices], side="right")

    rate = mean_by(np.append(cells(parts.valid), 2 * len(bounds) + 1), np.append(parts.valid.labels, 0.0))
    predictions, labels = rate[cells(parts.test)], parts.test.labels.astype(np.float64)
    if metric == "rmse":
        return {"seen before, and popularity": float(np.sqrt(np.mean((labels - predictions) ** 2)))}
    return {"seen before, and popularity": float(roc_auc(labels, predictions))}


def mean_by(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mean of the values of each code; 0 for a code without any."""
    return np.bincount(codes, values) / np.maximum(np.bincount(codes), 1)


def as_text(figures: dict[str, Any]) -> str:
    """Figures with their names, in one line."""
    values = (f"{value:#.4g}" if isinstance(value, float) else value for value in figures.values())
    return ", ".join(f"{name} {value}" for name, value in zip(figures, values, strict=True))


def mean_and_deviation(values: pd.Series) -> str:
    """The mean of runs ± their standard deviation; of a single run its figure."""
    return f"{values.mean():.4f} ± {values.std():.4f}" if len(values) > 1 else f"{values.mean():.4f}"


def summary(outcomes: list[dict[str, Any]], experiment: Experiment) -> pd.DataFrame:
    """A row for each model: figures at the best epochs, which epochs these were, and what a run takes."""
    columns: dict[str, Any] = dict.fromkeys(("valid", *experiment.metrics), mean_and_deviation)
    columns |= {
        "epoch": lambda epochs: ", ".join(map(str, epochs)),
        "seconds": lambda times: f"{times.mean():.0f}",
        "parameters": "first",
    }
    table = pd.DataFrame(outcomes).groupby("model", sort=False).agg(columns)
    published = {entry.name: entry.published for entry in experiment.entries}
    return table.assign(published=[published[name] for name in table.index])


def runs(experiment: Experiment, n_runs: int) -> Iterator[tuple[Parts, int]]:
    """The splits, and the seeds of the models on them."""
    for split in range(1 if experiment.fixed else n_runs):
        parts = experiment.parts(split)
        left_out = f"; {parts.n_unknown} more test rows, of users or items that training lacks, are not counted"
        sizes = f"{len(parts.train)} rows train, {len(parts.valid)} validate, {len(parts.test)} test"
        print(f"split {split}: {sizes}{left_out if parts.n_unknown else ''}")
        metric = experiment.metrics[0]
        known = baselines(parts) if metric == "rmse" else {}
        print(f"test {metric} of less: {as_text(known | seen_and_popular(parts, metric))}")
        for seed in range(n_runs) if experiment.fixed else [split]:
            yield parts, seed


def report(experiment: Experiment, n_runs: int) -> None:
    """Print a line for each run, and a table of their means."""
    outcomes: list[dict[str, Any]] = []
    for parts, seed in runs(experiment, n_runs):
        for entry in experiment.entries:
            outcomes.append(run(entry, experiment, parts, seed))
            print(as_text(outcomes[-1]), flush=True)
    print(f"\n{summary(outcomes, experiment).to_string()}\n")
    for entry in experiment.entries:
        start = f", from an FM of {entry.fm}" if entry.fm else ""
        print(f"{entry.name}: {entry.settings}{start}")


def search(experiment: Experiment) -> None:
    """Print the validation figures of all settings that were tried, on the first split; the chosen settings first."""
    parts, seed = next(runs(experiment, 1))
    for entry in experiment.entries:
        print(f"{entry.name}: {entry.settings}")
        for changes in ({}, *entry.tried):
            figures = run(replace(entry, settings=entry.settings | changes), experiment, parts, seed, with_test=False)
            print(f"  {changes or 'as above'}: {as_text(figures)}", flush=True)


def chosen(data: str | None, experiment: str | None, models: list[str] | None) -> Iterator[tuple[str, Experiment]]:
    """The experiments that were asked for, with the models that were asked for."""
    for name, one in EXPERIMENTS.items():
        if (data is None or one.data == data) and (experiment is None or name == experiment):
            entries = tuple(entry for entry in one.entries if models is None or entry.name in models)
            if entries:
                yield name, replace(one, entries=entries)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted({entry.name for one in EXPERIMENTS.values() for entry in one.entries})
    parser.add_argument("--data", choices=sorted({one.data for one in EXPERIMENTS.values()}), help="by default all")
    parser.add_argument("--experiment", choices=EXPERIMENTS, help="by default all of the data")
    parser.add_argument(
        "--models", nargs="+", choices=names, metavar="MODEL", help=f"of {', '.join(names)}; by default all"
    )
    parser.add_argument("--runs", type=int, default=3, help="random splits, or of a fixed split seeds of the model")
    parser.add_argument("--search", action="store_true", help="train the settings that were tried, on the first split")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; on a shared machine more are slower")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    start = time.perf_counter()
    experiments = [*chosen(arguments.data, arguments.experiment, arguments.models)]
    if not experiments or arguments.runs < 1:
        parser.error("--runs must be at least 1, and some experiment must have that data and one of these models")
    if any(experiment.data == "frappe" for _, experiment in experiments):
        for part in PARTS:
            file_of_frappe(part)  # before any work
    for name, experiment in experiments:
        print(f"{name}: {experiment.title}", flush=True)
        if arguments.search:
            search(experiment)
        else:
            report(experiment, arguments.runs)
    print(f"{(time.perf_counter() - start) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
