"""The experiments of ``benchmarks.accuracy``: data, their split, models, settings, and what others report."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from recolib.algorithms import AFM, FM, IFM, INN, NFM, AutoInt, DCNv2, DeepFM, DeepIFM, FinalMLP, WideDeep
from recolib.data import DatasetFeat, random_split, read_libfm, split_by_ratio, split_by_ratio_chrono
from recolib.data.interactions import Interactions
from recolib.datasets import fetch_movielens
from recolib.recommender import Recommender

MAX_EPOCHS = 60
PATIENCE = 4


@dataclass(frozen=True)
class Entry:
    """A model in an experiment.

    Attributes
    ----------
    algorithm, settings
        What is trained.
    tried
        Changes of the settings that were tried and did not validate better.
    n_epochs
        How many epochs, of which the last counts; None: as many as help, of which the best on validation counts.
    fm
        Settings of an FM to start from, its ``n_epochs`` among them; None: there is none.
    published
        The test figure that others report, and where.
    """

    algorithm: type[Recommender]
    settings: dict[str, Any]
    tried: tuple[dict[str, Any], ...] = ()
    n_epochs: int | None = None
    fm: dict[str, Any] | None = None
    published: str = ""

    @property
    def name(self) -> str:
        """The algorithm's name."""
        return self.algorithm.__name__


@dataclass(frozen=True, eq=False)
class Parts:
    """A split, encoded once for all models.

    Attributes
    ----------
    train, valid, test
        The parts.
    n_unknown
        Rows of the test part that were left out because training lacks their user or item.
    """

    train: Interactions
    valid: Interactions
    test: Interactions
    n_unknown: int = 0


@dataclass(frozen=True)
class Experiment:
    """Data, how they are split, and the models that are measured on them.

    Attributes
    ----------
    data
        The name of the data.
    title
        What it is.
    metrics
        What is measured; the first chooses epochs and settings.
    entries
        The models.
    parts
        The split of a number.
    n_splits
        How many splits there are; None: as many as are asked for, and one run of each. Else runs differ by the seed
        of the model.
    patience
        Epochs without a better validation figure before a run ends.
    """

    data: str
    title: str
    metrics: tuple[str, ...]
    entries: tuple[Entry, ...]
    parts: Callable[[int], Parts]
    n_splits: int | None = None
    patience: int = PATIENCE

    @property
    def task(self) -> Literal["rating", "ranking"]:
        """The models' task."""
        return "rating" if self.metrics[0] == "rmse" else "ranking"


# ---- MovieLens 1M

RATIOS = [0.8, 0.1, 0.1]
USER_COL = ["sex", "age", "occupation"]
GENRES = [f"genre{number}" for number in range(1, 7)]
FEATURES: dict[str, Any] = {
    "user_col": USER_COL,
    "item_col": GENRES,
    "sparse_col": USER_COL,
    "multi_sparse_col": [GENRES],
}


def liked() -> pd.DataFrame:
    """The ratings as labels of 1, above three stars, and 0."""
    frame = fetch_movielens("1m")
    return frame.assign(label=(frame["label"] > 3).astype(np.int64))


def encoded(parts: list[pd.DataFrame], columns: dict[str, Any], n_test: int) -> Parts:
    """The parts of a frame; ``n_test`` is how many rows the test part had before unknown ids were left out."""
    train, info = DatasetFeat.build_trainset(parts[0], **columns)
    valid, test = (DatasetFeat.build_evalset(part, data_info=info) for part in parts[1:])
    return Parts(train, valid, test, n_test - len(test))


def ids_of_movielens(split: int) -> Parts:
    """Users and movies alone, split at random."""
    return at_random(split, {})


def features_of_movielens(split: int) -> Parts:
    """With features, split at random."""
    return at_random(split, FEATURES)


def at_random(split: int, columns: dict[str, Any]) -> Parts:
    """A random split of what was liked."""
    frame = liked()
    whole = random_split(frame, multi_ratios=RATIOS, seed=split, filter_unknown=False)
    return encoded(random_split(frame, multi_ratios=RATIOS, seed=split), columns, len(whole[2]))


def stars_by_time(split: int) -> Parts:
    """Stars with features; each user's latest rows are the test part."""
    frame = fetch_movielens("1m")
    in_time = frame.sort_values("time", kind="stable")
    whole = split_by_ratio(in_time, multi_ratios=RATIOS, filter_unknown=False)
    return encoded(split_by_ratio_chrono(frame, multi_ratios=RATIOS), FEATURES, len(whole[2]))


# ---- Frappe

OFFSETS = {
    "user": 0, "item": 957, "daytime": 5039, "weekday": 5046, "isweekend": 5053, "homework": 5055, "cost": 5058,
    "weather": 5060, "country": 5069, "city": 5149,
}  # fmt: skip
CONTEXT = list(OFFSETS)[2:]


def frappe(part: str) -> pd.DataFrame:
    """A part of the split of He and Chua, in libFM's format, from the folder ``frappe`` of the data home.

    Of the training part one with negatives drawn anew is taken where the original is not there.
    """
    folder = Path(os.environ.get("RECOLIB_DATA_HOME", ".")) / "frappe"
    for name in (f"frappe.{part}.libfm", f"frappe.{part}.libfm.gz", f"frappe.{part}.rebuilt.libfm.gz"):
        if (folder / name).exists():
            return read_libfm(folder / name, OFFSETS)
    raise SystemExit(f"put frappe.{part}.libfm into {folder.resolve()}, or set RECOLIB_DATA_HOME to the folder above")


def frappe_stars(split: int) -> Parts:
    """Labels of −1 and 1."""
    columns = {"context_col": CONTEXT, "sparse_col": CONTEXT}
    parts = [frappe(part) for part in ("train", "validation", "test")]
    return encoded(parts, columns, len(parts[2]))


def frappe_clicks(split: int) -> Parts:
    """Labels of 0 and 1."""
    columns = {"context_col": CONTEXT, "sparse_col": CONTEXT}
    parts = [frappe(part) for part in ("train", "validation", "test")]
    return encoded([part.assign(label=(part["label"] > 0).astype(int)) for part in parts], columns, len(parts[2]))


# ---- settings

FM_WITH_FEATURES: dict[str, Any] = {
    "embed_size": 32, "dropout_rate": 0.2, "embed_dropout": 0.3, "lr": 4e-3, "batch_size": 4096, "ema": 0.995,
}  # fmt: skip
NFM_WITH_FEATURES: dict[str, Any] = {
    "embed_size": 64, "hidden_units": (64,), "dropout_rate": 0.2, "pair_dropout": 0.2, "embed_dropout": 0.3, "lr": 2e-3,
    "batch_size": 4096, "ema": 0.995,
}  # fmt: skip
DEEPFM_WITH_FEATURES: dict[str, Any] = {
    "embed_size": 32, "hidden_units": (128, 64), "dropout_rate": 0.4, "embed_dropout": 0.2, "init_std": 0.05, "lr": 5e-3,
    "batch_size": 4096, "ema": 0.995,
}  # fmt: skip
NOTEBOOK: dict[str, Any] = {
    "embed_size": 16, "hidden_units": (16, 16), "dropout_rate": 0.5, "lr": 1e-3, "batch_size": 1024
}  # fmt: skip

# Frappe, of vectors of 64 numbers
FRAPPE: dict[str, Any] = {"embed_size": 64, "lr": 3e-3, "batch_size": 1024, "ema": 0.998}
FRAPPE_FM: dict[str, Any] = FRAPPE | {"dropout_rate": 0.3}
